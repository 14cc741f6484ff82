# %% [markdown]
# # Hash vectors of your own
#
# *This page lies off the path (00 to 10, 14, 15) and needs none of it.*
#
# **What you will do.** You take sentences without labels, which a language model has turned into vectors, and go from them to codes, to a search in two stages, and to figures that say how good the search is. First in Python, then with a few commands and no program at all. At the end new vectors arrive.
#
# **What you will learn**
#
# * to choose method and length from a curve, without labels, and what centring alone does;
# * to train, save, load, encode, search and re-rank, and to put the codes into faiss;
# * to append and remove items, and to see when a model no longer fits its vectors;
# * which files the commands read, and what their messages ask you to do.
#
# **What you need.** NumPy, and the extra `search` for the comparison with faiss. Notebook 02 explains the measures, 08 and 09 the methods, 19 the search in two stages. About 25 minutes to read, a minute or so to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import importlib.util
import shlex
import subprocess
import tempfile
import warnings
from pathlib import Path
from time import process_time
from timeit import repeat

import matplotlib.pyplot as plt
import numpy as np
import pandas

import bdnn
from bdnn.course.plotting import method_style, recall_axes, save_figure
from bdnn.course.records import course_folder
from bdnn.data import nearest_neighbours, read_vectors
from bdnn.metrics import balance, mean_average_precision, nearest, recall_at
from bdnn.search import rerank

# %% [markdown]
# ## Read vectors such as yours
#
# A hash function is learned from vectors: one row for each thing that you want to find again, one column for each number that describes it. The numbers may be pixels, measurements, or the output of a network that somebody else trained. All that counts is that *similar things have vectors that are close*.
#
# Ours come from text. The documentation of a function begins with a sentence that says what it does: "Compute the matrix exponential of an array." The language model all-MiniLM-L6-v2 has turned 5,000 such sentences, from Python and five of its packages, into **embeddings**: 384 numbers each, 1,536 bytes in single precision, a vector of length 1. Similar sentences get vectors that are close. The file `sentences.npz` ships with the course. It keeps a byte for each number, rounded, and the names of the functions; `tools/embed.py` has made it, and says how.
#
# We cut it into three files such as yours. `vectors.npz` is what there is today, `more.npz` arrives later, and `queries.npz` holds 400 sentences that no training will see.

# %%
with np.load(course_folder() / "sentences.npz") as file:
    sentences = dict(file)
folder = Path(tempfile.mkdtemp())
PARTS = {"vectors": slice(4000), "more": slice(4000, 4600), "queries": slice(4600, None)}
for part, rows in PARTS.items():
    np.savez(folder / f"{part}.npz", X=sentences["X"][rows], name=sentences["name"][rows])

# %%
database, more, query = (read_vectors(folder / f"{part}.npz")[0] for part in PARTS)
names = sentences["name"][:4000]
print(database.shape, more.shape, query.shape)
print(*names[:4], sep="\n")

# %% [markdown]
# These files are read. The ending tells the format; samples always stand in rows.
#
# | ending | vectors | labels, if there are any |
# |---|---|---|
# | `.npy` | a matrix | a file of their own |
# | `.npz`, `.mat`, `.h5`, `.hdf5` | the array `X`, or the one that you name | the array `y`, or the one that you name |
# | `.csv`, `.csv.gz`, `.tsv`, `.txt`, `.parquet` | all columns of numbers, or the one that you name | the column `label`, or the one that you name |
# | `.fvecs`, `.bvecs` | as in the TEXMEX corpus (SIFT1M and others) | none |
# | `.fbin`, `.u8bin` | as in the BIGANN benchmarks | none |
#
# Nothing is ever unpickled, so a file from a stranger can be wrong, but cannot run anything. Parquet needs `pip install ".[parquet]"`; HDF5, in which MATLAB 7.3 writes its `.mat`, needs `".[hdf5]"`. An array that you have in memory needs no file.
#
# ## Begin with signs
#
# In practice codes make a shortlist: its vectors are fetched and sorted by their true distance. What counts then is the share of the ten true neighbours that are on the list (Eq. (9) of notebook 02b). That needs no labels, only queries that were held out.
#
# The simplest code learns nothing: it keeps the sign of every number, 384 bits or 48 bytes, where the embedding has 1,536. Shorter ones keep the signs along $L$ random directions. Zero is then the border of every bit, and nobody has asked whether it lies in the middle of the vectors. So we also subtract the mean of the database first, which is **centring**.

# %%
D = database.shape[1]
LENGTHS = (32, 64, 128, 256, 384)
ten = nearest_neighbours(query, database, 10)
mean = database.mean(axis=0)
R, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))  # directions in its columns
CURVES = {}


def measure(name, L, codes_query, codes):
    """The recall of ten neighbours, of the codes alone and after 100 items were re-ranked."""
    CURVES[name, L] = [recall_at(codes_query, codes, ten, k=10, shortlist=n) for n in (10, 100)]


for name, zero in (("signs", 0), ("signs, centred", mean)):
    for L in LENGTHS:
        along = R[:, :L] if L < D else np.eye(D)
        measure(name, L, *((A - zero) @ along >= 0 for A in (query, database)))
share = np.linalg.norm(mean) / np.sqrt(np.mean(np.sum(database**2, axis=1)))
print(f"length of the mean, beside that of a vector: {share:.2f}")
for name in ("signs", "signs, centred"):
    print(f"{name:16}", *(f"{L} bits: {100 * CURVES[name, L][0]:.0f} %  " for L in LENGTHS))

# %% [markdown]
# Centring is no cure here. The mean is a quarter as long as a vector, so most borders lie near the middle anyway, and centring moves no figure by more than two points, one run of each. It would be needed behind a ReLU, where no number is negative and all signs are equal.
#
# ## Choose method and length from a curve
#
# All methods are estimators of scikit-learn, so they also go into a `Pipeline`, a `GridSearchCV` and `clone`. They centre by themselves. We try ITQ, which rotates the first $L$ principal directions, in double precision so that this page prints the same on every processor, and the network.

# %% tags=["nbval-ignore-output"]
models = {("ITQ", L): bdnn.ITQ(L, dtype="float64").fit(database) for L in LENGTHS}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    models["UHBDNN", 32] = bdnn.UHBDNN(32).fit(database)
    longer = bdnn.UHBDNN(32, max_iter=300, max_alternations=2)
    models["UHBDNN, 300 steps", 32] = longer.fit(database)
for (name, L), model in models.items():
    measure(name, L, model.transform(query), model.transform(database))
print(caught[0].message)

# %% [markdown]
# A network may warn that it does not follow its codes; then look: `history_` tells what happened round by round, and `best_` which round was kept. `reconstruction` should be the largest term by far: where `equality` exceeds a tenth of it, try more steps of L-BFGS in a round than the default of 100, as we do in the second training, or lighter weights. (Two rounds keep this page short; of the default seven the same one is kept.) With `verbose=True` a network shows a progress bar, and **Ctrl-C ends its training early and keeps the best state so far**.
#
# Product quantisation, of notebook 19, is the rival at equal bytes (extra `search`; without faiss this cell does nothing).

# %% tags=["nbval-ignore-output"]
faiss = None
if importlib.util.find_spec("faiss"):
    import faiss

    faiss.omp_set_num_threads(1)
    for L in LENGTHS:
        index = faiss.IndexPQ(D, L // 8, 8)
        index.pq.cp.min_points_per_centroid, index.pq.cp.niter = 1, 10
        index.train(database)
        index.add(database)
        _, found = index.search(query, 100)
        hits = [[np.isin(t, f[:n]) for t, f in zip(ten, found)] for n in (10, 100)]
        CURVES["product quantisation", L] = np.mean(hits, axis=(1, 2)).tolist()

METHODS = list(dict.fromkeys(name for name, _ in CURVES))
print("10-recall in percent   alone, bytes:                    100 items re-ranked:")
print(" " * 22, *2 * [*(f"{L // 8:6}" for L in LENGTHS), "   "])
for name in METHODS:
    row = [CURVES.get((name, L), (np.nan, np.nan)) for L in LENGTHS]
    print(
        f"{name:22}",
        *(f"{100 * r:6.1f}" for r, _ in row),
        "   ",
        *(f"{100 * r:6.1f}" for _, r in row),
    )

# %%
STYLES = {
    "signs": {"color": "0.6", "marker": "x", "ls": ":"},
    "signs, centred": {"color": "0.4", "marker": "+", "ls": "--"},
    "product quantisation": {"color": "#D55E00", "marker": "D", "ls": "-"},
    "UHBDNN, 300 steps": method_style("UHBDNN") | {"mfc": "none", "ms": 10},
}
fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
for i, ax in enumerate(axes):
    for name in METHODS:
        own = [L for L in LENGTHS if (name, L) in CURVES]
        style = STYLES[name] | {"label": name} if name in STYLES else method_style(name)
        _ = ax.plot([L // 8 for L in own], [100 * CURVES[name, L][i] for L in own], **style)
recall_axes(axes, LENGTHS)
save_figure(fig, "18_bytes")

# %% [markdown]
# Up to 16 bytes ITQ does with half of them what signs do, and re-ranking costs it little: with eight bytes, where a vector has 1,536, nearly nine of the ten neighbours are on a list of 100, with sixteen more than nine and a half. UH-BDNN is behind it with the default of 100 steps of L-BFGS in a round, of which it warns, and level with 300. (One seed, 32 bits: an anecdote.) Product quantisation finds most at every length, and from eight bytes on re-ranking narrows its lead; it is flattered, since its many centroids were trained on the very vectors that are searched, sixteen to a centroid (Exercise 19.3). If recall at equal bytes is all that counts, take it. Bits need no codebook, and their scan is a count of differing bits in any language or database; we go on with ITQ, 64 bits, and lists of about 100. That is for 4,000 items: a larger database needs a longer list or a longer code (notebook 19).

# %%
ALONE, LISTED = ({key: 100 * curve[i] for key, curve in CURVES.items()} for i in (0, 1))
for L in LENGTHS:
    assert abs(ALONE["signs, centred", L] - ALONE["signs", L]) < 3
    assert ALONE["ITQ", L] > ALONE["signs, centred", L] + (10 if L <= 128 else 2)
assert ALONE["ITQ", 32] > ALONE["UHBDNN", 32] + 2
assert abs(ALONE["ITQ", 32] - ALONE["UHBDNN, 300 steps", 32]) < 3
if faiss:
    assert all(ALONE["product quantisation", L] > ALONE["ITQ", L] + 4 for L in LENGTHS)
for L in (32, 64, 128):
    print(
        f"ITQ, {L // 8:2} bytes: {ALONE['ITQ', L]:.0f} % alone, {LISTED['ITQ', L]:.0f} % re-ranked"
    )

# %% [markdown]
# The other price is time. A scan of codes, in NumPy and on one core, beside the exact search; the re-ranking comes on top of the scan:

# %% tags=["nbval-ignore-output"]


def milliseconds(search, *arguments):
    """The shortest time of three, for one query, of one processor."""
    times = repeat(lambda: search(*arguments), number=1, repeat=3, timer=process_time)
    return 1e3 * min(times) / len(query)


for L in LENGTHS:
    pair = models["ITQ", L].encode(query), models["ITQ", L].encode(database)
    print(f"{L // 8:5} bytes: {milliseconds(nearest, *pair, 100):.3f} ms a query")
print(f"{4 * D:5} bytes: {milliseconds(nearest_neighbours, query, database, 10):.3f} ms, exact")

# %% [markdown]
# Four thousand items are few, and with the re-ranking two stages may well be slower than the exact search here. (Processor time, one machine; notebook 19 compares scans of 200,000 items with those of faiss.) That eight bytes stand for 1,536 needs no stopwatch.
#
# ## Choose a method
#
# By the means of notebook 15, precision within radius 2, default settings, up to 32 bits; none of the leads of UH-BDNN is confirmed by its tests:
#
# | you have | take | because |
# | --- | --- | --- |
# | no labels | `ITQ` first | it trains in seconds, and on the features of a CNN UH-BDNN was behind it from 16 bits on by its defaults (ahead at 24 with a fiftieth of each $\lambda$: notebook 15) |
# | no labels, 16 or 24 bits, pixels or descriptors | `UHBDNN` as well | ahead of ITQ in precision on MNIST, HOG and SIFT, by half a point to six points; in mAP, which is nearer to a shortlist, level or behind on HOG and SIFT at 24 bits; it takes some twenty to a hundred times as long to train |
# | no labels, 32 bits | whichever wins on *your* held-out queries | ahead of ITQ by two points on MNIST (of SH by one), behind on HOG and on CNN features, undecided on SIFT |
# | no labels, features of a CNN | `ITQ` | ahead in mAP; k-means hashing led in precision at 24 bits, in one run |
# | labels, and *similar* means *of the same class* | `SHBDNN` | first at every length on MNIST and on CNN features |
# | labels, but little time or few vectors | `SupervisedDiscreteHashing` | two to five points behind from 16 bits on; trains in seconds, but encodes far more slowly |
#
# No table replaces a run on your vectors. That is what `compare` is for.
#
# ## Save, load, search
#
# `encode` gives packed bytes; `transform` gives the same codes as $-1$ and $+1$, one column for each bit. `nearest` of `bdnn.metrics` compares each query with every code and gives the rows of the nearest and their distances; of equal distances the lower row comes first. `rerank` of `bdnn.search` is the second stage.

# %%
models["ITQ", 64].save(folder / "itq.bdnn")
model = bdnn.load(folder / "itq.bdnn")
codes, codes_query = model.encode(database), model.encode(query)
shortlist, distances = nearest(codes_query, codes, 80)
found, _ = rerank(query, database, shortlist, 8)
print(codes.dtype, codes.shape)

# %% [markdown]
# The file also has the embeddings of a few questions, as a user would type them. For each the three functions that are found by eight bytes an item and re-ranking, and those that the exact search finds:

# %%
questions = sentences["questions"].astype(np.float32)
listed, _ = nearest(model.encode(questions), codes, 80)
first, _ = rerank(questions, database, listed, 3)
exact = nearest_neighbours(questions, database, 3)
for asked, by_code, by_vector in zip(sentences["asked"], first, exact):
    print(asked)
    print("   two stages:", ", ".join(names[by_code]))
    if (by_code != by_vector).any():
        print("   exact:     ", ", ".join(names[by_vector]))

# %% [markdown]
# For three of the six questions the two stages give what the exact search gives; for the others they miss one or two of three. Whether an answer is *good* is another matter, and not one of hashing: the model finds `eigh` for the eigenvalue and the $t$-test for the means, and for "group similar points" it finds no clustering algorithm, not even by the exact search.
#
# The search is exact over the codes; for 200,000 of them it took about a millisecond a query (notebook 19), and the time grows with their number. Beyond some millions, or for many queries a second, take a search engine. Bit $k$ of a code is bit $k\bmod 8$ of its byte $\lfloor k/8\rfloor$, counted from the lowest, and that is how the binary indexes of [faiss](https://github.com/facebookresearch/faiss) take bits. So our bytes are its bytes:

# %% tags=["nbval-ignore-output"]
if faiss:
    index = faiss.IndexBinaryIDMap(faiss.IndexBinaryFlat(64))  # exact; codes with ids of your own
    index.add_with_ids(codes, np.arange(len(codes)))
    by_faiss, rows = index.search(codes_query, 80)
    assert (by_faiss == distances).all()
    print(f"faiss {faiss.__version__}: the same distances for all {len(query)} queries")
    index.add_with_ids(model.encode(more), len(codes) + np.arange(len(more)))  # append
    index.remove_ids(np.arange(10))
    print(index.ntotal, "codes: appended", len(more), "and removed 10")
    whole = np.vstack([codes, model.encode(more)])[10:]
    assert (index.search(codes_query, 80)[0] == nearest(codes_query, whole, 80)[1]).all()

# %% [markdown]
# Items are appended with the model that there is, without training.
#
# ## Do the same without a program
#
# A small function stands for the terminal here: it runs a command in the folder of the files and shows what it prints. In a terminal you would write `python -m bdnn train vectors.npz ...` yourself.


# %%
def run(line):
    """Run `python -m bdnn LINE` in the folder; show the output, and the exit code unless it is 0."""
    command = [sys.executable, "-m", "bdnn", *shlex.split(line)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    print(done.stdout + done.stderr, end="")
    if done.returncode:
        print("exit code", done.returncode)
    return done.stdout


# %%
_ = run("""train vectors.npz --id name --method itq --bits 64 --model my.bdnn
    --settings '{"dtype": "float64"}'""")
_ = run("encode my.bdnn vectors.npz --id name --output codes.npz")
_ = run("""search my.bdnn codes.npz queries.npz --encoded --id name -k 8
    --rerank vectors.npz --oversample 10 --output found.npz""")
with np.load(folder / "found.npz") as archive:
    print("first query:", *archive["ids"][0], sep="\n   ")
    assert (archive["indices"] == found).all()

# %% [markdown]
# `--id` names the array, or the column of a table, that holds the names of the rows; `--ignore` leaves other columns out, and `--settings` takes any parameter of the method. The eight of every query are those that `rerank` gave. A training of a network can be given `--checkpoint FILE`: after a crash the same command goes on where it was.
#
# A file of codes in `.npz` keeps the names and knows its model. So vectors that arrive later can be appended, and items removed:

# %%
_ = run("encode my.bdnn more.npz --id name --output codes.npz --append")
_ = run(f"remove codes.npz {names[0]} {names[7]}")
_ = run("encode my.bdnn more.npz --id name --output codes.npz --append")

# %% [markdown]
# A second time would be a mistake, and is refused where the rows have names (`--id`). The rows have moved: a file for `--rerank` must hold the vectors in the rows of the codes, so keep it in step, with `np.delete` and `np.concatenate`.
#
# ## Check whether the model still fits
#
# A model is learned once, and vectors change: other topics, another network in front. No label says so, but the bits do. In training they divided the vectors into halves, nearly; `evaluate` prints their balance (0 is best, 1 is a bit that never changes) beside that of the training. We check the vectors that arrived:

# %%
_ = run("evaluate my.bdnn more.npz queries.npz --recall 10")

# %% [markdown]
# And four changes of them: only the sentences of one package, as if the users asked for nothing else any more; the numbers in another order, as another network would give them; noise of the size of the vectors; and the same vectors twice as long.

# %%
about = sentences["y"][PARTS["more"]]
noise = np.random.default_rng(1).normal(0, database.std(), more.shape)
CHANGES = {
    "as they are": more,
    "matplotlib alone": more[about == "matplotlib"],
    "another network": more[:, ::-1],
    "with noise": more + noise,
    "twice as long": 2 * more,
}
imbalance = {name: balance(model.transform(A)) for name, A in CHANGES.items()}
for name, value in {"training": balance(model.codes_), **imbalance}.items():
    print(f"{name:18} {value:.2f}")
changed = imbalance["matplotlib alone"], imbalance["another network"]
assert max(imbalance["as they are"], imbalance["with noise"]) < 0.1 < 0.2 < min(changed)

# %% [markdown]
# The vectors that arrived are a little less balanced than those of the training, as any sample is: for $n$ vectors and perfect bits chance alone makes about $\sqrt{2/(\pi n)}$, 0.03 for 600 and 0.08 for the 111 sentences of one package. Beyond that, as where the numbers come in another order, train again, and encode the whole database anew, since **codes of different models cannot be compared**. The check does not catch everything. Noise as large as the vectors leaves the bits balanced, and so, nearly, does a wrong length. Beside `precision_at_2` of a network `evaluate` prints what it had in its validation.
#
# ## Use labels where there are any
#
# With labels the right answers may be all items of the same class. That is another question, and it has other winners. Our sentences have a label after all, the package that they come from:

# %% tags=["nbval-ignore-output"]
y, y_query = sentences["y"][PARTS["vectors"]], sentences["y"][PARTS["queries"]]
models["SHBDNN", 32] = bdnn.SHBDNN(n_bits=32).fit(database, y)
BY_CLASS = {}
for name in ("ITQ", "UHBDNN", "SHBDNN"):
    pair = models[name, 32].transform(query), models[name, 32].transform(database)
    measure(name, 32, *pair)
    BY_CLASS[name] = mean_average_precision(*pair, (y_query, y))
    kept = CURVES[name, 32][1]
    print(f"{name:8} mAP by package {BY_CLASS[name]:.2f}   neighbours on a list of 100 {kept:.2f}")

# %%
assert BY_CLASS["SHBDNN"] > 0.7 > 0.5 > max(BY_CLASS["ITQ"], BY_CLASS["UHBDNN"])
assert CURVES["SHBDNN", 32][1] < 0.2 < 0.6 < CURVES["UHBDNN", 32][1] < CURVES["ITQ", 32][1]
print("by package SH-BDNN is far ahead; of the neighbours it finds less than a fifth")

# %% [markdown]
# SH-BDNN learns packages: to it any two sentences on `scipy` are alike, whatever they say. So ask which question your users have before you give labels to a method. **Take queries that the model has not seen in training**; otherwise you measure its memory.
#
# `compare` trains several methods on nine tenths of a file and writes a page that you can send to a colleague, with recall over bytes as a table and a figure, the other measures, the settings and the command that makes it again:

# %% tags=["nbval-ignore-output"]
_ = run("compare vectors.npz --methods itq sh --bits 32 64 128 --report report.html")

# %% [markdown]
# When something is wrong, the message says what, where, and what to do, and nothing is written. The exit code is 1 for input that cannot be used, 2 for a command line that cannot be understood, 130 for Ctrl-C.

# %%
table = pandas.DataFrame(database[:300, :8]).add_prefix("number")
table.to_csv(folder / "numbered.csv")
table.assign(name=names[:300]).to_csv(folder / "named.csv", index=False)
for line in (
    "train vector.npz",
    "train named.csv",
    "train named.csv --id name --bits 4000",
    "encode vectors.npz queries.npz",
    "train numbered.csv",
):
    _ = run(line)

# %% [markdown]
# The last one is the usual trap of a `.csv`: a column that counts the rows. As a feature it would drown all others.
#
# ## Before you trust it
#
# * **Cosine or Euclid?** Embeddings are compared by their cosine. If all have length 1, the Euclidean distance ranks alike; else divide them by their lengths first.
# * **Scale.** A feature in millimetres beside one in kilometres decides alone. Bring the features to one unit, or put a `StandardScaler` before the hash function in a `Pipeline`. A common factor does not matter: each method scales its input as a whole. (How unequal the dimensions are does matter to a network: it may need more steps, `max_iter`.)
# * **Duplicates** across training and queries make every figure look better. Remove them first.
# * **Missing values** are refused, not guessed. Decide what an empty cell means.
# * **More vectors than memory?** `encode`, `search` and `evaluate` leave a `.npy`, `.fbin` or `.u8bin` file where it is and read it block by block. `train --sample 50000` reads no more than that of a `.npy`, drawn at random, which is enough for any method here; `compare` takes `--sample` too. To learn from all of a file, open it with `np.load(path, mmap_mode="r")`, which `fit` and `encode` take as it is (notebook 16).
#
# ## What we have now
#
# A few lines of Python, or a few commands, from a file to codes, a search in two stages, a check for drift and a report. Nothing is exported from this notebook; the commands are `bdnn/__main__.py`, the readers are in `bdnn/readers.py`.
#
# ## Exercises
#
# They take other vectors, the 1,797 handwritten digits of scikit-learn, 64 pixels each; the last 200 of a random order are queries, the others the database.
#
# **18.1** Save the pixels of the database, separated by semicolons, and the digits in a file of their own, `digits.npy`. Train ITQ on them with one command, and show that the codes are the same.
#
# <details><summary>Hint</summary> <code>np.savetxt(..., delimiter=";")</code>, and <code>--labels digits.npy</code>. </details>
#
# **18.2** Multiply pixel 20 by 1,000, as if it were in another unit, and evaluate ITQ again, by the Euclidean neighbours of the *original* vectors. What has happened to the codes, and what does a `StandardScaler` mend?
#
# <details><summary>Hint</summary> <code>nearest_neighbours</code> of <code>bdnn.data</code> gives the right answers; <code>make_pipeline</code> joins scaler and hash function. </details>
#
# **18.3** Copy the first 200 rows of the training file into the queries and evaluate ITQ with 32 bits again, by the 3 nearest Euclidean neighbours. By how much does mAP rise, and why is that no better model?
#
# <details><summary>Hint</summary> A copy finds itself at distance 0, in the first place. </details>
#
# **18.4** For the codes of ITQ, count how many database items lie within radius 2 of a query, for 8, 16 and 32 bits. Which length would you take for a look-up in buckets?
#
# <details><summary>Hint</summary> <code>hamming_distances</code> of <code>bdnn.metrics</code>; an empty ball finds nothing at all. </details>
#
# ## Further reading
#
# * M. Douze and others, *The Faiss library*, 2024, [arXiv:2401.08281](https://arxiv.org/abs/2401.08281): the search engine, its binary indexes among them.
# * M. Norouzi, A. Punjani, D. J. Fleet, *Fast search in Hamming space with multi-index hashing*, CVPR 2012: exact search in tables when codes are long.
# * H. Jégou, M. Douze, C. Schmid, *Product quantization for nearest neighbor search*, PAMI 2011: the corpus from which `.fvecs` and `.bvecs` come.
