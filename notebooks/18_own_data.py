# %% [markdown]
# # Hash vectors of your own
#
# *This page lies off the path (00 to 10, 14, 15) and needs none of it.*
#
# **What you will do.** You take a file of vectors without labels, such as a program or a neural network has left it, and go from it to codes, to a search in two stages, and to figures that say how good the search is. First in Python, then with a few commands and no program at all. At the end new vectors arrive.
#
# **What you will learn**
#
# * to choose method and length from a curve, without labels;
# * to train, save, load, encode, search and re-rank, and to put the codes into faiss;
# * to append and remove items, and to see when a model no longer fits its vectors;
# * which files the commands read, and what their messages ask you to do.
#
# **What you need.** NumPy. Notebook 02 explains the measures, 08 and 09 the methods, 19 the search in two stages. About 25 minutes to read, half a minute to run.

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

import matplotlib.pyplot as plt
import numpy as np
import pandas
from sklearn.datasets import load_digits

import bdnn
from bdnn.course.plotting import image_grid, save_figure
from bdnn.data import nearest_neighbours, read_vectors
from bdnn.metrics import balance, evaluate, nearest, recall_at
from bdnn.search import rerank

# %% [markdown]
# ## Read a file such as yours
#
# A hash function is learned from vectors: one row for each thing that you want to find again, one column for each number that describes it. The numbers may be pixels, measurements, or the output of a network that somebody else trained. All that counts is that *similar things have vectors that are close*.
#
# We write such files ourselves, from the 1,797 handwritten digits of scikit-learn: tables of 64 pixels, and a column that names each scan. `vectors.csv` is what there is today, `more.csv` arrives later, and `queries.csv` holds 200 scans that no training will see.

# %%
folder = Path(tempfile.mkdtemp())
X, digit = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(X))
table = pandas.DataFrame(X[order].astype(int)).add_prefix("pixel")
table.insert(0, "name", [f"scan{k}" for k in range(len(table))])
for name, rows in (
    ("vectors", table[:1200]),
    ("more", table[1200:-200]),
    ("queries", table[-200:]),
):
    rows.to_csv(folder / f"{name}.csv", index=False)

# %%
database, _ = read_vectors(folder / "vectors.csv", ignore=["name"])
more, _ = read_vectors(folder / "more.csv", ignore=["name"])
query, _ = read_vectors(folder / "queries.csv", ignore=["name"])
print(database.shape, more.shape, query.shape)

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
# ## Choose method and length from a curve
#
# In practice codes make a shortlist: its vectors are fetched and sorted by their true distance. What counts then is the share of the ten true neighbours that are on the list (Eq. (9) of notebook 02b), and how long the list has to be. That needs no labels, only queries that were held out. All methods are estimators of scikit-learn, so they also go into a `Pipeline`, a `GridSearchCV` and `clone`.

# %%
ten = nearest_neighbours(query, database, 10)
candidates = [bdnn.ITQ(n_bits, dtype="float64") for n_bits in (16, 32, 48)]
candidates += [bdnn.UHBDNN(n_bits) for n_bits in (16, 32)]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    models = {(type(m).__name__, m.n_bits): m.fit(database) for m in candidates}
LISTS = (10, 20, 50, 100, 200)
CURVES = {}
for key, model in models.items():
    pair = model.transform(query), model.transform(database)
    CURVES[key] = [recall_at(*pair, ten, k=10, shortlist=n) for n in LISTS]

# %% tags=["nbval-ignore-output"]
print("share of the ten, in percent, on a list of", *(f"{n:6}" for n in LISTS))
for (name, n_bits), curve in CURVES.items():
    print(f"{name:7} {n_bits:3} bits {'':25}", *(f"{100 * r:6.1f}" for r in curve))

# %%
assert all(CURVES["ITQ", 48][i] > CURVES["ITQ", 32][i] > CURVES["ITQ", 16][i] for i in range(4))
assert CURVES["UHBDNN", 16][0] > CURVES["ITQ", 16][0] + 0.02
assert CURVES["ITQ", 32][2] > 0.85 and CURVES["ITQ", 32][2] > CURVES["UHBDNN", 32][2]
print("16 bits: UH-BDNN ahead; 32 bits: ITQ ahead, and more than 85 % on a list of 50")

# %% [markdown]
# Read across for the price in time, downwards for the price in memory. More bits always help a ranking; for look-ups within radius 2 they do not, since the balls become empty (Exercise 18.4). We want nine of the ten and can pay for about 50 vectors a query: ITQ with 32 bits does it, four bytes where a vector has 64 numbers.
#
# One warning came with the networks, and it is right to be asked for:

# %%
print(*{str(warning.message).partition(": ")[2] for warning in caught}, sep="\n")

# %% [markdown]
# `history_` tells what happened round by round, and `best_` which round was kept. `reconstruction` should be the largest term by far: where `equality` exceeds a tenth of it, the weights $\lambda$ are too heavy for your vectors, as for these digits with 32 bits. With `verbose=True` a network shows a progress bar, and **Ctrl-C ends its training early and keeps the best state so far**.
#
# ## Choose a method
#
# By the tables of notebook 15, with default settings, three seeds, up to 32 bits:
#
# | you have | take | because |
# | --- | --- | --- |
# | no labels | `ITQ` first | it trains in seconds, and on the features of a CNN UH-BDNN was behind it at 24 and 32 bits |
# | no labels, 16 or 24 bits, pixels or descriptors | `UHBDNN` as well | ahead of ITQ on MNIST, HOG and SIFT, by half a point to six points of P@2; it takes about forty times as long to train |
# | no labels, 32 bits | whichever wins on *your* held-out queries | ahead by a point on MNIST, behind on HOG and on CNN features, undecided on SIFT |
# | no labels, features of a CNN | `KMeansHashing`, `ITQ` | k-means hashing led at 16 and 24 bits, ITQ and the binary autoencoder at 32 |
# | labels, and *similar* means *of the same class* | `SHBDNN` | first at every length on MNIST and on CNN features |
# | labels, but little time or few vectors | `SupervisedDiscreteHashing` | two to seven points behind from 16 bits on; trains in seconds, encodes more slowly; on these digits, with 16 bits, it is ahead |
#
# No table replaces a run on your vectors. That is what `compare` is for.
#
# ## Save, load, search
#
# `encode` gives packed bytes; `transform` gives the same codes as $-1$ and $+1$, one column for each bit. `nearest` of `bdnn.metrics` compares each query with every code and gives the rows of the nearest and their distances; of equal distances the lower row comes first. `rerank` of `bdnn.search` is the second stage.

# %%
models["ITQ", 32].save(folder / "itq.bdnn")
model = bdnn.load(folder / "itq.bdnn")
codes, codes_query = model.encode(database), model.encode(query)
shortlist, distances = nearest(codes_query, codes, 80)
found, _ = rerank(query, database, shortlist, 8)
print(codes.dtype, codes.shape)

# %%
images = table.drop(columns="name").to_numpy().reshape(-1, 8, 8)
names = digit[order]
rows = [[len(table) - 200 + q, *items[q]] for q in range(3) for items in (shortlist[:, :8], found)]
right = [None if k == 0 else bool(names[i] == names[r[0]]) for r in rows for k, i in enumerate(r)]
titles = [text for q in range(3) for stage in ("by code", "sorted") for text in (stage, *8 * [""])]
fig = plt.figure(figsize=(7, 5.2))
_ = image_grid(fig, images[np.ravel(rows)], titles, columns=9, marks=right)
save_figure(fig, "18_search", png=True)

# %% [markdown]
# On the left a query, beside it the first eight by code, and below these the eight that are nearest among 80: a solid frame for the same digit, a dashed one for another. The codes know the strokes, not the digits: no label was used.
#
# The search is exact, and for some millions of codes fast enough. Beyond that, or for many queries a second, take a search engine. Bit $k$ of a code is bit $k\bmod 8$ of its byte $\lfloor k/8\rfloor$, counted from the lowest, and that is how the binary indexes of [faiss](https://github.com/facebookresearch/faiss) take bits. So our bytes are its bytes (`pip install faiss-cpu`; without it this cell does nothing):

# %% tags=["nbval-ignore-output"]
if importlib.util.find_spec("faiss"):
    import faiss

    index = faiss.IndexBinaryIDMap(faiss.IndexBinaryFlat(32))  # exact; codes with ids of your own
    index.add_with_ids(codes, np.arange(len(codes)))
    by_faiss, _ = index.search(codes_query, 80)
    assert (by_faiss == distances).all()
    print(f"faiss {faiss.__version__}: the same distances for all {len(query)} queries")
    ids = np.arange(len(codes), len(codes) + len(more))
    index.add_with_ids(model.encode(more), ids)  # append: same model, no training
    index.remove_ids(np.arange(10))
    print(index.ntotal, "codes: appended", len(more), "and removed 10")

# %% [markdown]
# ## Do the same without a program
#
# A small function stands for the terminal here: it runs a command in the folder of the files and shows what it prints. In a terminal you would write `python -m bdnn train vectors.csv ...` yourself.


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
_ = run("""train vectors.csv --id name --method itq --bits 32 --model my.bdnn
    --settings '{"dtype": "float64"}'""")
_ = run("encode my.bdnn vectors.csv --id name --output codes.npz")
_ = run("""search my.bdnn codes.npz queries.csv --encoded --id name -k 8
    --rerank vectors.csv --oversample 10 --output found.npz""")
with np.load(folder / "found.npz") as archive:
    print("first query:", *archive["ids"][0])
    assert (archive["indices"] == found).all()

# %% [markdown]
# `--id` names the column that is no pixel but the name of a row; `--ignore` leaves other columns out, and `--settings` takes any parameter of the method. The eight of every query are those that `rerank` gave. A training of a network can be given `--checkpoint FILE`: after a crash the same command goes on where it was.
#
# A file of codes in `.npz` keeps the names and knows its model. So vectors that arrive later can be appended, and items removed:

# %%
_ = run("encode my.bdnn more.csv --id name --output codes.npz --append")
_ = run("remove codes.npz scan0 scan7")
_ = run("encode my.bdnn more.csv --id name --output codes.npz --append")

# %% [markdown]
# A second time would be a mistake, and is refused. The rows have moved: a file for `--rerank` must hold the vectors in the rows of the codes.
#
# ## Check whether the model still fits
#
# A model is learned once, and vectors change: another camera, another network in front. No label says so, but the bits do. In training they divided the vectors into halves, nearly; `evaluate` prints their balance (0 is best, 1 is a bit that never changes) beside that of the training. We check the vectors that arrived, and the same ones under half the light, with the new vectors as the database:

# %% tags=["nbval-ignore-output"]
dark = pandas.read_csv(folder / "more.csv")
dark[dark.columns[1:]] //= 2
dark.to_csv(folder / "dark.csv", index=False)
for name in ("more", "dark"):
    print(name)
    _ = run(f"evaluate my.bdnn {name}.csv queries.csv --id name --recall 10")

# %%
noise = np.random.default_rng(1).normal(0, 4, more.shape)
moved = np.roll(more.reshape(-1, 8, 8), 1, axis=2).reshape(more.shape)
changes = {"as they are": more, "half the light": more // 2, "one pixel aside": moved}
imbalance = {name: balance(model.transform(A)) for name, A in changes.items()}
imbalance["noise"] = balance(model.transform(more + noise))
for name, value in {"training": balance(model.codes_), **imbalance}.items():
    print(f"{name:16} {value:.1f}")
assert imbalance["as they are"] < 0.1 < 0.3 < imbalance["one pixel aside"]
assert imbalance["noise"] < 0.1

# %% [markdown]
# Less light, or a shift by one pixel, and the balance jumps to about a half: train again, and encode the whole database anew, since **codes of different models cannot be compared**. The check is not all-seeing. Noise on every pixel leaves the bits balanced. Beside `precision_at_2` stands what a network had in its validation.
#
# ## Use labels where there are any
#
# With labels the right answers may be all items of the same class. That is another question, and it has other winners:

# %%
y, y_query = digit[order][:1200], digit[order][-200:]
models["SHBDNN", 16] = bdnn.SHBDNN(n_bits=16).fit(database, y)
truths = {
    "50 neighbours": nearest_neighbours(query, database, 50),
    "same class": (y_query, y),
}
measured = {}
for name in ("ITQ", "UHBDNN", "SHBDNN"):
    pair = models[name, 16].transform(query), models[name, 16].transform(database)
    for truth, relevant in truths.items():
        measured[name, truth] = evaluate(*pair, relevant)

# %% tags=["nbval-ignore-output"]
for (name, truth), values in measured.items():
    shown = ("precision_at_2", "empty_share", "map_standard")
    print(f"{name:8} {truth:14}", *(f"{key} {values[key]:.3f}  " for key in shown))

# %%
by_class = {name: measured[name, "same class"]["map_standard"] for name, _ in measured}
kept = {name: measured[name, "50 neighbours"]["map_standard"] for name, _ in measured}
assert by_class["SHBDNN"] > max(by_class["ITQ"], by_class["UHBDNN"]) + 0.1
assert kept["SHBDNN"] < max(kept["ITQ"], kept["UHBDNN"])
print("by class SH-BDNN is far ahead; by neighbours it is not the best")

# %% [markdown]
# If you look at one figure only, take `map_standard` when you show a ranking, and `precision_at_2` together with `empty_share` when you look up buckets within radius 2: a precise ball is of no use if most balls are empty. **Take queries that the model has not seen in training**; otherwise you measure its memory.
#
# `compare` trains several methods on nine tenths of a file and writes a page that you can send to a colleague, with the table, the curves, the settings and the command that makes it again:

# %% tags=["nbval-ignore-output"]
np.save(folder / "digits.npy", y)
_ = run("""compare vectors.csv --id name --labels digits.npy --methods itq sdh shbdnn --bits 8 16
    --settings '{"max_alternations": 3}' --report report.html""")

# %% [markdown]
# When something is wrong, the message says what, where, and what to do, and nothing is written. The exit code is 1 for input that cannot be used, 2 for a command line that cannot be understood, 130 for Ctrl-C.

# %%
table.drop(columns="name").to_csv(folder / "numbered.csv")
for line in (
    "train vector.csv",
    "train vectors.csv",
    "train vectors.csv --id name --bits 4000",
    "encode vectors.csv queries.csv --id name",
    "train numbered.csv",
):
    _ = run(line)

# %% [markdown]
# The last one is the usual trap of a `.csv`: a column that counts the rows. As a feature it would drown all others.
#
# ## Before you trust it
#
# * **Scale.** A feature in millimetres beside one in kilometres decides alone. Bring the features to one unit, or put a `StandardScaler` before the hash function in a `Pipeline`. A common factor does not matter: each method scales its input as a whole.
# * **Duplicates** across training and queries make every figure look better. Remove them first.
# * **Missing values** are refused, not guessed. Decide what an empty cell means.
# * **More vectors than memory?** `encode`, `search` and `evaluate` leave a `.npy`, `.fbin` or `.u8bin` file where it is and read it block by block. `train` reads all of its file: give it a random sample of some ten thousand; or open the file with `np.load(path, mmap_mode="r")`, which `fit` and `encode` take as it is (notebook 16).
#
# ## What we have now
#
# A few lines of Python, or a few commands, from a file to codes, a search in two stages, a check for drift and a report. Nothing is exported from this notebook; the commands are `bdnn/__main__.py`, the readers are in `bdnn/data.py`.
#
# ## Exercises
#
# **18.1** Save the vectors without names, separated by semicolons, and the digits in a file of their own, `digits.npy`. Train ITQ on them with one command, and show that the codes are the same.
#
# <details><summary>Hint</summary> <code>np.savetxt(..., delimiter=";")</code>, and <code>--labels digits.npy</code>. </details>
#
# **18.2** Multiply `pixel20` by 1,000, as if it were in another unit, and evaluate ITQ again, by the Euclidean neighbours of the *original* vectors. What has happened to the codes, and what does a `StandardScaler` mend?
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
