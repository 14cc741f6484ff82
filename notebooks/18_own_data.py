# %% [markdown]
# # Hash vectors of your own
#
# **What you will do.** You take a file of vectors, such as a program or a neural network has left it, and go from it to codes, to a search and to a figure for how good the search is, with five commands and without writing a program.
#
# **What you will learn**
#
# * which files are read, and where the labels stand in them;
# * `train`, `encode`, `search`, `evaluate` and `compare` on the command line, and the same in Python;
# * what a message of the program asks you to do, and what its exit code is;
# * how the codes get into a search engine such as faiss, and when you need one;
# * what to look at before you trust the codes of your own data.
#
# **What you need.** A terminal in which `python -m bdnn --help` prints something. No other notebook, though 02 explains the measures and 08 and 09 the methods. About 25 minutes to read, a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import shlex
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas
from sklearn.datasets import load_digits

import bdnn
from bdnn.data import read_vectors
from bdnn.metrics import evaluate
from bdnn.course.plotting import image_grid, save_figure

# %% [markdown]
# ## A file such as yours
#
# A hash function is learned from vectors: one row for each thing that you want to find again, one column for each number that describes it. The numbers may be pixels, measurements, or the output of a network that somebody else trained; all that counts is that *similar things have vectors that are close*.
#
# We write such files ourselves, from the 1,797 handwritten digits of scikit-learn: a table `digits.csv` of 64 pixels and a column that names the digit, and another, `queries.csv`, of 200 digits that the hash function will never see.

# %%
folder = Path(tempfile.mkdtemp())
X, digit = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(X))
table = pandas.DataFrame(X[order].astype(int)).add_prefix("pixel").assign(digit=digit[order])
table[:-200].to_csv(folder / "digits.csv", index=False)
table[-200:].to_csv(folder / "queries.csv", index=False)
print((folder / "digits.csv").read_text()[:60], "...")

# %% [markdown]
# These are the files that are read. The ending tells the format.
#
# | ending | vectors | labels, if there are any |
# |---|---|---|
# | `.npy` | a matrix | a file of their own |
# | `.npz` | the array `X` | the array `y` |
# | `.mat` (MATLAB, up to version 7) | the matrix `X` | the vector or cell array `y` |
# | `.csv`, `.parquet` | all columns of numbers | the column `label` |
# | `.fvecs`, `.bvecs` | as in the TEXMEX corpus (SIFT1M and others) | none |
#
# Samples always stand in rows. Where labels have another name, `--labels NAME` says so, and `--labels FILE` says that they stand in a file of their own. A `.csv` may be separated by commas, semicolons or tabs, with names in its first line or without. Parquet needs a package more, `pip install "bdnn[parquet]"`. Nothing is ever unpickled, so a file from a stranger can be wrong, but cannot run anything.
#
# ## Train
#
# On this page a small function stands for the terminal: it runs a command in the folder of the files and shows what it prints. In a terminal you would write `python -m bdnn train digits.csv ...` yourself.


# %%
def run(line):
    """Run `python -m bdnn LINE` in the folder; show the output, and the exit code unless it is 0."""
    command = [sys.executable, "-m", "bdnn", *shlex.split(line)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    print(done.stdout + done.stderr, end="")
    if done.returncode:
        print("exit code", done.returncode)


# %%
run("train digits.csv --labels digit --method uhbdnn --bits 32 --model uh.bdnn")

# %% [markdown]
# UH-BDNN learns from the vectors alone; the labels had to be named all the same, or else the column `digit` would count as one more number (that mistake has no message: the column holds numbers). In a terminal a bar shows how far the training is. **Ctrl-C ends it early, and the best state so far is kept and written**, with a line that says so. With `--checkpoint FILE` the state stands on disk all the time, and the same command goes on from it after a machine has stopped.
#
# Which method? Without labels `uhbdnn` is the best of this course and `itq` the quickest; with labels `shbdnn`, or `sdh`. `--settings` gives any parameter of the method, in JSON; here double precision, so that the codes below are the same on your machine as on ours. The default settings are those that the notebooks of the methods arrive at.

# %%
run("""train digits.csv --labels digit --method itq --bits 32 --model itq.bdnn
    --settings '{"dtype": "float64"}'""")
run("""train digits.csv --labels digit --method shbdnn --bits 32 --model sh.bdnn
    --settings '{"max_alternations": 5}'""")

# %% [markdown]
# ## When something is wrong
#
# Every message says what is wrong, where, and what to do; nothing is written in that case. A shell script can ask for the exit code: 0 for done, 1 for input that cannot be used, 2 for a command line that cannot be understood, 130 for Ctrl-C.

# %%
run("train digit.csv")
run("train digits.csv --labels species")
run("train digits.csv --labels digit --bits 4000")
run("encode digits.csv queries.csv --labels digit")

# %% [markdown]
# The usual trap of a `.csv` is a column that counts the rows, which pandas writes unless it is told not to. As a feature it would drown all others, so it is refused:

# %%
table.to_csv(folder / "numbered.csv")
run("train numbered.csv --labels digit")

# %% [markdown]
# ## Encode
#
# The model turns any file of vectors of the same width into codes. A code of 32 bits takes 4 bytes.

# %%
run("encode itq.bdnn digits.csv --labels digit --output codes.npy")
codes = np.load(folder / "codes.npy")
print(codes.dtype, codes.shape, f"{table[:-200].size / codes.size:.1f} pixels for each byte")

# %% [markdown]
# Bit $k$ of a code is bit $k \bmod 8$ of its byte $\lfloor k/8\rfloor$, counted from the lowest. That is the order in which the binary indexes of faiss take bits, so the file can be handed over as it is.
#
# ## Search
#
# For each query, the nearest codes of the database: the row in `digits.csv`, and the number of bits that differ. `--encoded` says that the database is encoded already.

# %%
run("""search itq.bdnn codes.npy queries.csv --encoded --labels digit -k 8
    --output found.npz""")
found = np.load(folder / "found.npz")
print(found["indices"].shape, found["distances"].shape)

# %%
images = table.drop(columns="digit").to_numpy().reshape(-1, 8, 8)
queries = [0, 1, 2, 3, 4]
rows = [[len(codes) + q, *found["indices"][q]] for q in queries]
labels = table["digit"].to_numpy()
right = [None if k == 0 else bool(labels[i] == labels[r[0]]) for r in rows for k, i in enumerate(r)]
titles = [text for q in queries for text in ("query", *map(str, found["distances"][q]))]
fig = plt.figure(figsize=(7, 4.6))
_ = image_grid(fig, images[np.ravel(rows)], titles, columns=9, marks=right)
save_figure(fig, "18_search", png=True)

# %% [markdown]
# On the left a query, beside it what was found, with the Hamming distance above: a solid frame for the same digit, a dashed one for another. The codes know the strokes, not the digits: no label was used.
#
# ## Evaluate
#
# How good is that? It takes queries whose right answers are known: items of the same class where both files have labels, else the 50 nearest by Euclidean distance, which ask how much of the original geometry the codes keep. **Take queries that the model has not seen in training**; otherwise you measure its memory.

# %% tags=["nbval-ignore-output"]
for model in ("itq", "uh", "sh"):
    run(f"evaluate {model}.bdnn digits.csv queries.csv --labels digit")

# %% [markdown]
# Notebook 02 explains each line. If you can look at one figure only, look at `map_standard` when you will show a ranking, and at `precision_at_2` together with `empty_share` when you will look up buckets within radius 2: a precise ball is of no use if most balls are empty. The same figures from Python, with the order that a reader may rely on:

# %%
database, y = read_vectors(folder / "digits.csv", labels="digit")
query, y_query = read_vectors(folder / "queries.csv", labels="digit")
mAP = {}
for name in ("itq", "uh", "sh"):
    model = bdnn.load(folder / f"{name}.bdnn")
    found = model.transform(query), model.transform(database)
    mAP[name] = evaluate(*found, (y_query, y))["map_standard"]
assert max(mAP["itq"], mAP["uh"]) + 0.2 < mAP["sh"] and mAP["sh"] > 0.9

# %% [markdown]
# ITQ and UH-BDNN are close together here: with 1,600 vectors and 64 features a rotation has nearly as much to say as a network; with ten thousand vectors and more the network leaves it behind (notebook 15). The supervised method wins by far when "similar" means "of the same class". It has been told the classes; whether it deserves the comparison depends on what your users call similar.
#
# ## Compare
#
# Rather than guess a method, let `compare` train several. It holds a tenth of the file out as queries, at most 1,000, and writes a page `report.html` that you can send to a colleague: the table, the curves, the settings, the versions and the command that makes it again.

# %% tags=["nbval-ignore-output"]
run("""compare digits.csv --labels digit --methods itq sdh shbdnn --bits 8 16 32
    --settings '{"max_alternations": 3}' --report report.html""")

# %%
page = (folder / "report.html").read_text()
print(page.count("<tr>") - 1, "runs,", page.count("<svg"), "figures,", "<script" in page, "scripts")

# %% [markdown]
# The page asks nothing of other machines and holds no program. How many bits? Read the curves from the left: where they become flat, more bits cost memory and buy nothing; for look-ups within radius 2, precision even falls again when the balls become empty.
#
# ## The same in Python
#
# The commands are a thin layer. Everything that they do is a few lines, and the estimators are those of scikit-learn: they go into a `Pipeline`, a `GridSearchCV`, `clone` and `joblib`.

# %%
model = bdnn.ITQ(n_bits=32, dtype="float64", random_state=0).fit(database)
print(model.encode(query).tobytes() == bdnn.load(folder / "itq.bdnn").encode(query).tobytes())

# %% [markdown]
# ## A search engine
#
# `search` compares a query with every code, and finds the `-k` nearest, or with `--radius 2` all that differ in at most two bits (`metrics.items_within` of notebook 02). That is exact, and for some millions of codes fast enough. Beyond that, or for many queries a second, take a search engine. With [faiss](https://github.com/facebookresearch/faiss) (`pip install faiss-cpu`), our bytes are its bytes:
#
# ```python
# import faiss
#
# index = faiss.IndexBinaryFlat(32)  # exact; IndexBinaryHash and IndexBinaryIVF visit fewer codes
# index.add(np.load("codes.npy"))
# distances, indices = index.search(model.encode(query), 8)
# ```
#
# What every such engine computes can be checked by hand in one line: exclusive or, and a count of the ones.

# %%
q = model.encode(query[:1])
distances = np.bitwise_count(codes ^ q).sum(axis=1)
nearest = np.argsort(distances, kind="stable")[:8]
print(nearest, distances[nearest])
assert (nearest == np.load(folder / "found.npz")["indices"][0]).all()

# %% [markdown]
# ## Before you trust it
#
# * **Scale.** A feature in millimetres beside one in kilometres decides alone. Bring the features to one unit, or put a `StandardScaler` before the hash function in a `Pipeline`. A common factor does not matter: each method scales its input as a whole.
# * **Duplicates** across training and queries make every figure look better. Remove them first.
# * **Missing values** are refused, not guessed. Decide what an empty cell means.
# * **How many vectors?** Networks want thousands; with a few hundred take `itq` or `sdh`.
# * **More data than memory?** Train on a random sample of some ten thousand vectors and encode the rest file by file; notebook 16 goes further.
# * **Drift.** Codes of different models cannot be compared. When you train anew, encode the database anew.
#
# ## What we have now
#
# Five commands from a file to codes, a search and a report, and the lines of Python behind them. Nothing is exported from this notebook; the commands are `bdnn/__main__.py`, the readers are in `bdnn/data.py`.
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
