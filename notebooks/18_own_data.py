# %% [markdown]
# # Hash vectors of your own
#
# *This page lies off the path (00 to 10, 14, 15) and needs none of it.*
#
# **What you will do.** You take a file of vectors, such as a program or a neural network has left it, with labels or without, and go from it to codes, to a search, and to figures that say how good the search is. First in Python, then with five commands and no program at all.
#
# **What you will learn**
#
# * to train, save, load, encode and search, and to put the codes into faiss;
# * to measure codes without labels, and to choose their length;
# * which method to take, by the runs of notebook 15 and not by its name;
# * which files the commands read, and what their messages ask you to do.
#
# **What you need.** NumPy. Notebook 02 explains the measures, 08 and 09 the methods. About 25 minutes to read, half a minute to run.

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
from bdnn.metrics import evaluate, nearest, recall_at

# %% [markdown]
# ## Read a file such as yours
#
# A hash function is learned from vectors: one row for each thing that you want to find again, one column for each number that describes it. The numbers may be pixels, measurements, or the output of a network that somebody else trained. All that counts is that *similar things have vectors that are close*.
#
# We write such files ourselves, from the 1,797 handwritten digits of scikit-learn: a table `digits.csv` of 64 pixels and a column that names the digit, and another, `queries.csv`, of 200 digits that the hash function will never see.

# %%
folder = Path(tempfile.mkdtemp())
X, digit = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(X))
table = pandas.DataFrame(X[order].astype(int)).add_prefix("pixel").assign(digit=digit[order])
table[:-200].to_csv(folder / "digits.csv", index=False)
table[-200:].to_csv(folder / "queries.csv", index=False)

# %%
database, y = read_vectors(folder / "digits.csv", labels="digit")
query, y_query = read_vectors(folder / "queries.csv", labels="digit")
print(database.shape, y.shape, query.shape)

# %% [markdown]
# These files are read. The ending tells the format; samples always stand in rows.
#
# | ending | vectors | labels, if there are any |
# |---|---|---|
# | `.npy` | a matrix | a file of their own |
# | `.npz` | the array `X` | the array `y` |
# | `.mat` (MATLAB, up to version 7) | the matrix `X` | the vector or cell array `y` |
# | `.csv`, `.parquet` | all columns of numbers | the column `label`, or the one that you name |
# | `.fvecs`, `.bvecs` | as in the TEXMEX corpus (SIFT1M and others) | none |
#
# Nothing is ever unpickled, so a file from a stranger can be wrong, but cannot run anything. Parquet needs `pip install ".[parquet]"`. An array that you have in memory needs no file.
#
# ## Train, save, load
#
# All methods are estimators of scikit-learn, so they also go into a `Pipeline`, a `GridSearchCV` and `clone`. Those that are supervised take the labels as well.

# %%
models = {
    "ITQ": bdnn.ITQ(n_bits=16, dtype="float64").fit(database),
    "UH-BDNN": bdnn.UHBDNN(n_bits=16).fit(database),
    "SH-BDNN": bdnn.SHBDNN(n_bits=16).fit(database, y),
}
models["ITQ"].save(folder / "itq.bdnn")
model = bdnn.load(folder / "itq.bdnn")
codes = model.encode(database)
print(codes.dtype, codes.shape, (codes == models["ITQ"].encode(database)).all())

# %% [markdown]
# `encode` gives packed bytes, two for 16 bits, where a vector had 64 numbers; `transform` gives the same codes as $-1$ and $+1$, one column for each bit. With `verbose=True` a network shows a progress bar, and **Ctrl-C ends its training early and keeps the best state so far**. What happened stands in `history_`, and `best_` says which round was kept:

# %% tags=["nbval-ignore-output"]
for entry in models["UH-BDNN"].history_[:3]:
    print({name: round(value, 4) for name, value in entry.items() if name != "seconds"})

# %% [markdown]
# Look at two things there. `score` is the retrieval of samples held out, and decides which round is kept. And `reconstruction` should be the largest term by far: where `equality` exceeds a tenth of it, the weights $\lambda$ are too heavy for your vectors, and `fit` says so. These digits with 32 bits are a case:

# %%
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    longer = bdnn.UHBDNN(n_bits=32).fit(database)
print(*(str(warning.message).partition(": ")[2] for warning in caught), sep="\n")

# %% [markdown]
# ## Search
#
# `nearest` of `bdnn.metrics` compares each query with every code and gives the rows of the nearest and their distances; of equal distances the lower row comes first.

# %%
indices, distances = nearest(model.encode(query), codes, 8)
images = table.drop(columns="digit").to_numpy().reshape(-1, 8, 8)
rows = [[len(codes) + q, *indices[q]] for q in range(5)]
right = [
    None if k == 0 else bool(table.digit[i] == table.digit[r[0]])
    for r in rows
    for k, i in enumerate(r)
]
titles = [text for q in range(5) for text in ("query", *map(str, distances[q]))]
fig = plt.figure(figsize=(7, 4.6))
_ = image_grid(fig, images[np.ravel(rows)], titles, columns=9, marks=right)
save_figure(fig, "18_search", png=True)

# %% [markdown]
# On the left a query, beside it what was found, with the Hamming distance above: a solid frame for the same digit, a dashed one for another. The codes know the strokes, not the digits: no label was used.
#
# The search is exact, and for some millions of codes fast enough. Beyond that, or for many queries a second, take a search engine. Bit $k$ of a code is bit $k\bmod 8$ of its byte $\lfloor k/8\rfloor$, counted from the lowest, and that is how the binary indexes of [faiss](https://github.com/facebookresearch/faiss) take bits. So our bytes are its bytes (`pip install faiss-cpu`; without it this cell does nothing):

# %% tags=["nbval-ignore-output"]
if importlib.util.find_spec("faiss"):
    import faiss

    index = faiss.IndexBinaryIDMap(faiss.IndexBinaryFlat(16))  # exact; codes with ids of your own
    index.add_with_ids(codes[:1000], np.arange(1000))
    index.add_with_ids(codes[1000:], np.arange(1000, len(codes)))  # append: same model, no training
    found, _ = index.search(model.encode(query), 8)
    assert (found == distances).all()
    print(f"faiss {faiss.__version__}: the same distances for all {len(query)} queries")
    index.remove_ids(np.arange(10))  # delete
    print(index.ntotal, "codes left of", len(codes))

# %% [markdown]
# ## Measure the codes
#
# Any figure needs queries whose right answers are known. **Take queries that the model has not seen in training**; otherwise you measure its memory. Without labels the right answers are the nearest vectors by Euclidean distance; with labels they may be all items of the same class. These are two different questions:

# %%
truths = {
    "50 neighbours": nearest_neighbours(query, database, 50),
    "same class": (y_query, y),
}
measured = {}
for name, m in models.items():
    pair = m.transform(query), m.transform(database)
    for truth, relevant in truths.items():
        measured[name, truth] = evaluate(*pair, relevant)

# %% tags=["nbval-ignore-output"]
for (name, truth), found in measured.items():
    shown = ("precision_at_2", "empty_share", "map_standard")
    print(f"{name:8} {truth:14}", *(f"{key} {found[key]:.3f}  " for key in shown))

# %%
by_class = {name: measured[name, "same class"]["map_standard"] for name in models}
kept = {name: measured[name, "50 neighbours"]["map_standard"] for name in models}
assert by_class["SH-BDNN"] > 0.9 > 0.8 > max(by_class["ITQ"], by_class["UH-BDNN"])
assert abs(kept["ITQ"] - kept["UH-BDNN"]) < 0.08
print("by class SH-BDNN is far ahead; by neighbours ITQ and UH-BDNN are close together")

# %% [markdown]
# If you look at one figure only, take `map_standard` when you show a ranking, and `precision_at_2` together with `empty_share` when you look up buckets within radius 2: a precise ball is of no use if most balls are empty.
#
# ## Choose the length
#
# In practice codes often make a shortlist only: its vectors are fetched and sorted by their true distance. What counts then is the share of the ten true neighbours that are on the list (Eq. (9) of notebook 02b), and how long the list has to be:

# %%
ten = nearest_neighbours(query, database, 10)
print("bits   bytes   in percent, on a list of 20     50    100    200")
for n_bits in (16, 32, 64):
    itq = bdnn.ITQ(n_bits, dtype="float64").fit(database)
    pair = itq.transform(query), itq.transform(database)
    recall = [recall_at(*pair, ten, k=10, shortlist=n) for n in (20, 50, 100, 200)]
    print(f"{n_bits:4} {n_bits // 8:7} {'':23}", *(f"{100 * r:5.1f}" for r in recall), sep="  ")

# %% [markdown]
# Read across for the price in time, downwards for the price in memory. More bits always help a ranking. For look-ups within radius 2 they do not: the balls become empty (Exercise 18.4).
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
# | labels, but little time or few vectors | `SupervisedDiscreteHashing` | two to seven points behind from 16 bits on; trains in seconds, encodes more slowly; on these 1,600 digits it is ahead |
#
# No table replaces a run on your vectors. That is what `compare` is for.
#
# ## Do the same without a program
#
# A small function stands for the terminal here: it runs a command in the folder of the files and shows what it prints. In a terminal you would write `python -m bdnn train digits.csv ...` yourself.


# %%
def run(line):
    """Run `python -m bdnn LINE` in the folder; show the output, and the exit code unless it is 0."""
    command = [sys.executable, "-m", "bdnn", *shlex.split(line)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    print(done.stdout + done.stderr, end="")
    if done.returncode:
        print("exit code", done.returncode)


# %%
run("""train digits.csv --labels digit --method itq --bits 16 --model my.bdnn
    --settings '{"dtype": "float64"}'""")
run("encode my.bdnn digits.csv --labels digit --output codes.npy")
run("search my.bdnn codes.npy queries.csv --encoded --labels digit -k 8 --output found.npz")
print((np.load(folder / "found.npz")["indices"] == indices).all())

# %% [markdown]
# `--labels` names the column that is no pixel, for ITQ too, which does not look at it. `--settings` takes any parameter of the method. A training of a network can be given `--checkpoint FILE`: after a crash the same command goes on where it was.
#
# `evaluate` prints the measures; `compare` trains several methods on nine tenths of a file and writes a page that you can send to a colleague, with the table, the curves, the settings and the command that makes it again:

# %% tags=["nbval-ignore-output"]
run("evaluate my.bdnn digits.csv queries.csv --labels digit")
run("""compare digits.csv --labels digit --methods itq sdh shbdnn --bits 8 16
    --settings '{"max_alternations": 3}' --report report.html""")

# %% [markdown]
# When something is wrong, the message says what, where, and what to do, and nothing is written. The exit code is 1 for input that cannot be used, 2 for a command line that cannot be understood, 130 for Ctrl-C.

# %%
table.to_csv(folder / "numbered.csv")
for line in (
    "train digit.csv",
    "train digits.csv --labels species",
    "train digits.csv --labels digit --bits 4000",
    "encode digits.csv queries.csv --labels digit",
    "train numbered.csv --labels digit",
):
    run(line)

# %% [markdown]
# The last one is the usual trap of a `.csv`: a column that counts the rows. As a feature it would drown all others.
#
# ## Before you trust it
#
# * **Scale.** A feature in millimetres beside one in kilometres decides alone. Bring the features to one unit, or put a `StandardScaler` before the hash function in a `Pipeline`. A common factor does not matter: each method scales its input as a whole.
# * **Duplicates** across training and queries make every figure look better. Remove them first.
# * **Missing values** are refused, not guessed. Decide what an empty cell means.
# * **More vectors than memory?** Train on a random sample of some ten thousand and encode the rest file by file; or open the file with `np.load(path, mmap_mode="r")`, which `fit` and `encode` take as it is (notebook 16).
# * **Drift.** Codes of different models cannot be compared. When you train anew, encode the database anew.
#
# ## What we have now
#
# A few lines of Python, or five commands, from a file to codes, a search and a report. Nothing is exported from this notebook; the commands are `bdnn/__main__.py`, the readers are in `bdnn/data.py`.
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
