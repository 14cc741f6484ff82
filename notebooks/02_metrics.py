# %% [markdown]
# # Measure a code by what it retrieves
#
# **What you will do.** You take binary codes of 5,000 handwritten digits and measure, in several ways and each of them exactly, how well they find neighbours.
#
# **What you will learn**
#
# * why the Hamming distance is a count of bits, an inner product, and fast;
# * how average precision is computed, in the two forms that are in use, and by hand;
# * what happens to a ranking in which hundreds of items share one distance, and the expected average precision over all their orders, in closed form;
# * how much the treatment of empty Hamming balls changes a published figure;
# * what balance and independence of bits mean, and what they do not mean.
#
# **What you need.** Notebook 01 (data and ground truth), means and probabilities. 45 minutes to read, about 10 seconds to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""Hamming distances, and the measures of a ranking and of a set of codes.

Codes stand in rows here, one sample per row: this is the form in which estimators return them.
Distances are counted on packed bits, block by block, so that memory stays bounded however many
queries and items there are.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from numpy import ndarray as Array
from bdnn.checks import check_option, check_whole_number
from bdnn.metrics import pack_codes
from bdnn.sources import each, with_blocks_in_threads

# %%
import itertools
import time

import matplotlib.pyplot as plt

from bdnn.metrics import sgn
from bdnn.data import load
from bdnn.course.plotting import COLOURS, MARKERS, save_figure

# %% [markdown]
# ## Codes to measure
#
# A measure is best learnt on codes that need no learning. We draw $L$ random hyperplanes through the mean of the training set and note for each vector on which side of each hyperplane it lies: bit $k$ of $x$ is $\operatorname{sgn}(w_k^\top(x-\bar x))$ with a normally distributed $w_k$. Everything below holds for codes of any origin.
#
# The data set has 4,000 training images, which are also the database, and 1,000 queries. For each query the database rows of its 50 nearest Euclidean neighbours count as relevant, and as *only* those count, a code is judged by how well it keeps the geometry of the pixels.

# %%
data = load("mnist5k")
X, X_query = data.database.astype(np.float64), data.query.astype(np.float64)
x_mean = X.mean(axis=0)
print(data)


# %%
def hyperplane_codes(L, seed=0, centre=x_mean):
    """Codes (n_query, L) and (n_database, L) from L random hyperplanes through the centre."""
    W = np.random.default_rng(seed).standard_normal((L, X.shape[1]))
    return sgn((X_query - centre) @ W.T), sgn((X - centre) @ W.T)


codes_query, codes_database = hyperplane_codes(16)
print("first query:", *codes_query[0])

# %% [markdown]
# ## Distance is counting
#
# The Hamming distance of two codes is the number of bits that differ. With bits stored as 0 and 1 the exclusive or $\oplus$ marks these bits, and the distance counts the ones:
#
# $$ d(a,b)=\sum_{k=1}^{L}[a_k\ne b_k]=\operatorname{popcount}(a\oplus b) \tag{1} $$
#
# With $a,b\in\{-1,+1\}^L$, as in the rest of this course, each product $a_kb_k$ is $+1$ where the bits agree and $-1$ where they differ. So $\langle a,b\rangle=(L-d)-d$, and therefore
#
# $$ d(a,b)=\tfrac12\big(L-\langle a,b\rangle\big) \tag{2} $$
#
# Eq. (2) is the reason why a loss may talk about Hamming distances and still be differentiated: $\langle a,b\rangle$ makes sense for real vectors, too. It also gives $\|a-b\|^2=2L-2\langle a,b\rangle=4\,d(a,b)$, so that Hamming distance and Euclidean distance rank codes alike. Both equations, as a double loop and as a matrix product:


# %%
def naive_distances(A, B):
    """Eq. (1), one pair and one bit at a time."""
    return np.array([[sum(x != y for x, y in zip(a, b)) for b in B] for a in A])


A, B = codes_query[:20].astype(int), codes_database[:30].astype(int)
assert np.array_equal(naive_distances(A, B), (16 - A @ B.T) // 2)
print("distances of the first query:", *naive_distances(A, B)[0, :12])

# %% [markdown]
# ### From signs to bytes
#
# One code of 32 bits fits four bytes, where the image takes 784 numbers. `pack_codes` stores bit $k$ of a code as bit $k \bmod 8$ of byte $\lfloor k/8\rfloor$: little-endian, lowest bit first, as the binary indexes of faiss expect it. The first byte of our first query, read from its lowest bit:

# %%
signs = codes_query[0, :8]
print("signs:", *signs)
print("bits: ", *(signs > 0).astype(int))
powers = " + ".join(str(2**k) for k in range(8) if signs[k] > 0)
print("byte: ", pack_codes(codes_query)[0, 0], "=", powers)

# %% [markdown]
# On packed codes Eq. (1) is one instruction for the exclusive or and one for the count, for up to 64 bits at a time. The module takes codes as signs, as booleans or packed, checks that it got codes at all (block by block, so that codes in a memory-mapped file may be many), and views the bytes as the widest machine words that fit. Unused bits of the last word are zero in both codes, so they never count.


# %% tags=["export"]
_MOST_BITS = np.iinfo(np.int16).max


def _only_signs(codes):
    """True for a matrix of codes that holds nothing but -1 and +1, or booleans."""
    blocks = (codes[rows] for rows in _row_blocks(*codes.shape))
    return codes.dtype == bool or all(np.all(np.abs(block) == 1) for block in blocks)


def _packed(codes, name):
    """Codes as packed bytes: uint8 is taken as packed already, -1/+1 and booleans get packed."""
    codes = np.asarray(codes)
    if codes.ndim != 2 or 0 in codes.shape:
        raise ValueError(f"{name} must be a matrix (n_samples, n_bits), got shape {codes.shape}")
    if codes.dtype == np.uint8:
        return codes
    if not _only_signs(codes):
        raise ValueError(f"{name} must hold only -1 and +1 (or booleans, or packed uint8)")
    return np.concatenate([pack_codes(codes[rows]) for rows in _row_blocks(*codes.shape)])


def _words(packed):
    """Packed bytes as the fewest machine words that hold them, filled up with zero bytes."""
    n_samples, n_bytes = packed.shape
    width = min(8, 1 << (n_bytes - 1).bit_length())
    filled = np.zeros((n_samples, -(-n_bytes // width) * width), dtype=np.uint8)
    filled[:, :n_bytes] = packed
    return filled.view(f"u{width}")


def _paired_words(A, B, names):
    """Words of two sets of codes, after a check that their lengths and forms agree."""
    A, B = np.asarray(A), np.asarray(B)
    packed_A, packed_B = _packed(A, names[0]), _packed(B, names[1])
    if A.shape[1] != B.shape[1] or (A.dtype == np.uint8) != (B.dtype == np.uint8):
        raise ValueError(
            f"{names[0]} ({A.shape[1]} columns of {A.dtype}) and {names[1]} ({B.shape[1]} columns "
            f"of {B.dtype}) do not hold codes of the same length and form"
        )
    n_bits = A.shape[1] * (8 if A.dtype == np.uint8 else 1)
    if n_bits > _MOST_BITS:
        raise ValueError(f"codes of {n_bits:,} bits are too long: distances are int16")
    return _words(packed_A), _words(packed_B)


# %% [markdown]
# A table of all distances between the queries and the database of full MNIST has $10{,}000\times60{,}000$ entries. It is never needed as a whole: every measure below treats one query at a time, so we work through blocks of queries and keep about a million pairs in memory.

# %% tags=["export"]
_BLOCK_ENTRIES = 2**20  # query-item pairs held in memory at a time


def _row_blocks(n_rows, n_columns, entries=None):
    """Slices of rows such that a block of n_columns columns has about so many entries."""
    step = max(1, (entries or _BLOCK_ENTRIES) // n_columns)
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def _word_distances(A, B):
    """Distances between rows of words: count the set bits of the exclusive or, Eq. (1)."""
    D = np.bitwise_count(A[:, :1] ^ B[:, 0])
    if A.shape[1] * A.itemsize > 31:  # 256 bits and more do not fit a byte
        D = D.astype(np.int16)
    for k in range(1, A.shape[1]):
        D += np.bitwise_count(A[:, k : k + 1] ^ B[:, k])
    return D


def hamming_distances(A: Array, B: Array) -> Array:
    """Hamming distances between all rows of A and all rows of B.

    Parameters
    ----------
    A, B : array (n_a, n_bits) and array (n_b, n_bits)
        Codes in {-1, +1} of any numeric type, or booleans; or both packed, as
        :func:`bdnn.base.pack_codes` returns them: (n, ceil(n_bits / 8)), uint8.

    Returns
    -------
    array (n_a, n_b), int16
        Number of bits that differ, Eqs. (1) and (2) of notebook 02.

    Raises
    ------
    ValueError
        If a matrix is empty or holds something else than codes, or if lengths or forms differ.
    """
    A, B = _paired_words(A, B, ("A", "B"))
    D = np.empty((len(A), len(B)), dtype=np.int16)
    for rows in _row_blocks(len(A), len(B)):
        D[rows] = _word_distances(A[rows], B)
    return D


# %%
rng = np.random.default_rng(0)
for L in (1, 7, 8, 9, 16, 63, 64, 65, 130, 300):
    A, B = (np.where(rng.random((n, L)) < 0.5, -1, 1) for n in (9, 11))
    for a, b in ((A, B), (A > 0, B > 0), (pack_codes(A), pack_codes(B))):
        assert np.array_equal(hamming_distances(a, b), naive_distances(A, B))
print("signs, booleans and packed bytes agree with the double loop at every length")

# %% [markdown]
# ## A ranking made of ties
#
# A search sorts the database by distance. But codes of $L$ bits know only $L+1$ distances: with 32 bits and the 60,000 items of MNIST, more than 1,800 items share a distance on average. This is the first thing to know about rankings by Hamming distance: they are mostly ties.

# %%
D16 = hamming_distances(codes_query, codes_database)
for L in (8, 16, 32, 64):
    D = hamming_distances(*hyperplane_codes(L))
    distance_50 = np.sort(D, axis=1)[:, 49:50]
    tied = np.sum(D == distance_50, axis=1).mean()
    print(f"{L:2d} bits: {tied:5.1f} items stand at the distance of the 50th item")

# %%
fig, ax = plt.subplots(figsize=(6, 2.8))
for query, colour, hatch in ((0, "blue", None), (1, "vermillion", "////")):
    at, counts = np.arange(17) + 0.4 * query - 0.2, np.bincount(D16[query], minlength=17)
    style = {"facecolor": "none", "edgecolor": COLOURS[colour], "hatch": hatch}
    _ = ax.bar(at, counts, width=0.4, label=f"query {query}", **style)
_ = ax.set(xlabel="Hamming distance (16 bits)", ylabel="items", xticks=range(0, 17, 2))
_ = ax.legend()
save_figure(fig, "02_ties")

# %% [markdown]
# Two queries, 4,000 items: each bar is a group of items that the code cannot tell apart. The nearest groups, which decide what a user sees, are small; the groups in the middle hold hundreds. Query 1 has more company nearby (and more far away) than query 0: the sizes of the groups differ from query to query.
#
# ## Average precision, by hand
#
# Number the ranks of a query's $R$ relevant items $r_1<r_2<\dots<r_R$. At rank $r_j$ the first $r_j$ items have been seen and $j$ of them are relevant: the precision there is $j/r_j$. **Average precision** (AP) is the mean of these precisions,
#
# $$ \mathrm{AP}=\frac1R\sum_{j=1}^{R}\frac{j}{r_j} \tag{3} $$
#
# and **mAP** its mean over all queries. The evaluation program of the Oxford Buildings Dataset, which the authors of BDNN use for their mAP curves, instead integrates the curve of precision over recall by the **trapezoid rule**. Between the recalls $(j-1)/R$ and $j/R$ it takes the mean of the precision just before the relevant item and at it:
#
# $$ \mathrm{AP}_{\text{trapezoid}}=\frac1R\sum_{j=1}^{R}\frac12\Big(\frac{j-1}{r_j-1}+\frac{j}{r_j}\Big),\qquad\text{the first fraction being 1 where } r_j=1 \tag{4} $$
#
# Take six items, of which those at ranks 1, 3 and 6 are relevant, and fill in the table with pencil and paper before you read on.
#
# | $j$ | $r_j$ | $j/r_j$ | $(j-1)/(r_j-1)$ | mean of both |
# |---|---|---|---|---|
# | 1 | 1 | 1 | 1 (by convention) | 1 |
# | 2 | 3 | 2/3 | 1/2 | 7/12 |
# | 3 | 6 | 1/2 | 2/5 | 9/20 |
#
# So $\mathrm{AP}=\frac13(1+\frac23+\frac12)=\frac{13}{18}\approx0.7222$ and $\mathrm{AP}_{\text{trapezoid}}=\frac13(1+\frac7{12}+\frac9{20})=\frac{61}{90}\approx0.6778$.


# %%
def naive_average_precision(ranked, form="standard"):
    """Eqs. (3) and (4) for one query; ranked[i] tells whether the item at rank i + 1 is relevant."""
    total, j = 0.0, 0
    for r in range(1, len(ranked) + 1):
        if ranked[r - 1]:
            j += 1
            before = 1.0 if r == 1 else (j - 1) / (r - 1)
            total += j / r if form == "standard" else (before + j / r) / 2
    return total / max(j, 1)


six = [True, False, True, False, False, True]
for f in ("standard", "trapezoid"):
    print(f"{f:9s} {naive_average_precision(six, f):.4f}")

# %%
ranks, hits = np.arange(1, 7), np.cumsum(six)
fig, ax = plt.subplots(figsize=(6, 3.2))
style = {"fill": False, "hatch": "..", "edgecolor": COLOURS["blue"], "align": "edge"}
_ = ax.bar((hits[six] - 1) / 3, (hits / ranks)[six], 1 / 3, label="Eq. (3): rectangles", **style)
curve = [(0, 1), *zip(hits / 3, hits / ranks)]
_ = ax.plot(*zip(*curve), color=COLOURS["vermillion"], ls="--", label="Eq. (4): trapezoids")
_ = ax.plot(*zip(*curve[1:]), color=COLOURS["black"], marker="o", ls="", label="ranks 1 to 6")
for r in ranks:
    _ = ax.annotate(f" {r}", (hits[r - 1] / 3, hits[r - 1] / r), va="bottom")
_ = ax.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.08), ylim=(0, 1.12))
_ = ax.legend()
save_figure(fig, "02_average_precision")

# %% [markdown]
# The dots are the six ranks. At an irrelevant item the dashed curve drops straight down; at a relevant one it moves to the right. Eq. (3) is the area of the rectangles, Eq. (4) the area below the dashed curve.
#
# **Why the trapezoid is lower.** From $j\le r_j$ follows $(j-1)\,r_j\le j\,(r_j-1)$, hence $\frac{j-1}{r_j-1}\le\frac j{r_j}$: each summand of Eq. (4) is at most that of Eq. (3), with equality only as long as everything seen is relevant. So a trapezoid figure laid beside an ordinary one loses before the race begins. How much it loses is Exercise 2.1; with 50 neighbours on MNIST it is 0.2 to 0.7 percentage points, as much as separates neighbouring rows of a table.
#
# ## What is relevant
#
# Three forms of ground truth are in use, and the module takes all three: a boolean matrix; for each query the indices of its relevant items, which may be fewer for one query than for another; or two vectors of class labels, relevant meaning "same label". Each is turned into boolean rows for one block of queries at a time.


# %% tags=["export"]
def _relevance(relevant, n_query, n_database):
    """A function from a slice of queries to its block of the boolean relevance matrix."""
    if hasattr(relevant, "to_numpy"):  # a table of pandas, whose rows are the queries
        relevant = relevant.to_numpy()
    if not isinstance(relevant, (np.ndarray, Sequence)):
        raise ValueError(
            f"relevant must be a matrix, a list or a pair, got {type(relevant).__name__}"
        )
    if isinstance(relevant, np.ndarray) and relevant.dtype == bool:
        if relevant.shape != (n_query, n_database):
            raise ValueError(
                f"relevant has shape {relevant.shape}, but there are {n_query} queries and "
                f"{n_database} items"
            )
        return lambda rows: relevant[rows]
    if len(relevant) == 2 and (isinstance(relevant, tuple) or n_query != 2):
        return _relevance_from_labels(*relevant, n_query, n_database)
    if len(relevant) != n_query:
        raise ValueError(
            f"relevant names items for {len(relevant)} queries, but there are {n_query}; give a "
            "boolean matrix, one array of indices per query, or (labels_query, labels_database)"
        )
    return lambda rows: _rows_from_indices(relevant[rows], n_database)


def _relevance_from_labels(labels_query, labels_database, n_query, n_database):
    """Relevant is what has the query's label."""
    labels_query, labels_database = np.asarray(labels_query), np.asarray(labels_database)
    if labels_query.shape != (n_query,) or labels_database.shape != (n_database,):
        raise ValueError(
            f"relevant holds labels of shapes {labels_query.shape} and {labels_database.shape}, "
            f"but there are {n_query} queries and {n_database} items"
        )
    kinds = {labels.dtype.kind for labels in (labels_query, labels_database)}
    if kinds & {*"US"} and kinds & {*"biuf"}:
        raise ValueError(
            f"relevant holds labels of {labels_query.dtype} and {labels_database.dtype}: strings "
            "and numbers are never equal"
        )
    both = np.concatenate([labels_query, labels_database])
    if any(label is None or label != label for label in both.tolist()):
        raise ValueError("relevant holds labels that are missing (NaN or None)")
    numbers = np.unique(both, return_inverse=True)[1].astype(np.int32)
    return lambda rows: numbers[:n_query][rows, None] == numbers[n_query:]


# %% [markdown]
# Indices become rows of a boolean block; a number outside the database, or one that comes twice, is a mistake in the ground truth and is said to be one. `_scan` then calls a function with the distances and the relevance of every block; the blocks are shared among the threads that NumPy's products may use.


# %% tags=["export"]
def _rows_from_indices(indices, n_database):
    """Boolean rows that are True at the given indices, one array of indices per row."""
    block = np.zeros((len(indices), n_database), dtype=bool)
    for row, index in zip(block, indices):
        index = np.asarray(index)
        if index.size == 0:
            continue
        if index.dtype.kind not in "iu" or index.min() < 0 or index.max() >= n_database:
            raise ValueError(f"relevant must hold whole numbers from 0 to {n_database - 1}")
        row[index] = True
        if np.count_nonzero(row) != index.size:
            raise ValueError("relevant names an item twice for the same query")
    return block


def _scan(fun, codes_query, codes_database, relevant):
    """Results of ``fun(distances, relevance)`` of one block of queries after the other."""
    A, B = _paired_words(codes_query, codes_database, ("codes_query", "codes_database"))
    relevance = _relevance(relevant, len(A), len(B))

    def of_block(rows):
        return fun(_word_distances(A[rows], B), relevance(rows))

    with with_blocks_in_threads():
        return list(each(of_block, _row_blocks(len(A), len(B))))


# %% [markdown]
# ### Eq. (3) and (4) for many queries at once
#
# Only the relevant items matter, and of these only rank and count. A stable sort leaves items of equal distance in the order of the database; `np.nonzero` then lists the relevant ranks query by query.


# %% tags=["export"]
def _relevant_ranks(D, R):
    """Query number, rank r and count j of every relevant item; ties in database order."""
    n_query, n_items = D.shape
    order = np.argsort(D, axis=1, kind="stable")
    order += n_items * np.arange(n_query)[:, None]  # places in R.ravel(), which is quick to index
    query, position = np.divmod(np.flatnonzero(R.ravel().take(order)), n_items)
    first = np.searchsorted(query, np.arange(n_query))  # where each query's ranks begin
    return query, position + 1, np.arange(1, len(query) + 1) - first[query]


def _stable_sum(query, r, j, n_query, form):
    """Sum of the precisions at the relevant items of each query: R times Eq. (3) or Eq. (4)."""
    precision = j / r
    if form == "trapezoid":
        before = np.where(r == 1, 1.0, (j - 1) / np.maximum(r - 1, 1))
        precision = (before + precision) / 2
    return np.bincount(query, weights=precision, minlength=n_query)


# %% [markdown]
# ## What ties do to average precision
#
# The stable order is one order among many. Nothing in the codes prefers it: it merely repeats how the database happens to be stored. How far can AP move if tied items change places? The extremes are easy: let relevant items win all ties, or lose them all. Adding half a unit to the distance of the losers does it; as our distances are whole numbers, we double them and add 1.


# %%
def to_matrix(indices, n_database):
    """Boolean relevance (n_query, n_database) from an integer matrix of indices."""
    R = np.zeros((len(indices), n_database), dtype=bool)
    np.put_along_axis(R, indices.astype(np.int64), True, axis=1)
    return R


R_knn = to_matrix(data.relevant, len(X))


# %%
def stable_ap(D, R):
    """Eq. (3) per query, ties in database order."""
    return _stable_sum(*_relevant_ranks(D, R), len(D), "standard") / R.sum(axis=1)


for L in (8, 16, 32, 64):
    D = 2 * hamming_distances(*hyperplane_codes(L))
    ap = [100 * stable_ap(d, R_knn).mean() for d in (D + R_knn, D, D + ~R_knn)]
    print("{:2d} bits: mAP {:5.2f} % worst, {:5.2f} % as stored, {:5.2f} % best".format(L, *ap))

# %% [markdown]
# With 8 bits the same codes may claim anything from 4.2 to 18.4 %. A database that is stored class by class gets such a gift without anybody's intention (Exercise 2.4). The remedy is to average over *all* orders of the tied items. This needs no sampling: it has a closed form.
#
# ### The expected average precision
#
# Sort the items into groups of equal distance and look at one group of one query: it has $T$ items, $S\ge1$ of them relevant; $N$ items stand nearer, $K$ of them relevant. The group fills the ranks $N+1,\dots,N+T$ in an order drawn uniformly from all $T!$.
#
# **Step 1: which position holds a relevant item?** By symmetry every item is equally likely to stand at position $t$ of the group:
#
# $$ \Pr[\text{position } t \text{ is relevant}]=\frac ST \tag{5} $$
#
# **Step 2: how many relevant items came before?** Given that position $t$ holds a relevant item, the other $T-1$ items, of which $S-1$ are relevant, fill the other positions in uniformly random order. The number of relevant items among the $t-1$ positions before is hypergeometric, and its mean is the number of draws times the share of relevant items:
#
# $$ \mathbb E\big[\text{relevant before } t \,\big|\, t \text{ relevant}\big]=(t-1)\,a,\qquad a=\frac{S-1}{T-1}\quad(a=0\text{ if }T=1) \tag{6} $$
#
# **Step 3: the sum.** If position $t$ is relevant, its rank is $r=N+t$ (not random) and its count is $j=K+1+\text{(relevant before)}$. As the denominator is fixed, the expectation of $j/r$ needs only the mean from Eq. (6). Write $t-1=(N+t)-(N+1)$ and let $h=\sum_{t=1}^T\frac1{N+t}$. Then the group contributes to $\mathbb E\sum_j j/r_j$
#
# $$ \frac ST\sum_{t=1}^{T}\frac{K+1+(t-1)\,a}{N+t}=\frac ST\Big[(K+1)\,h+a\,\big(T-(N+1)\,h\big)\Big] \tag{7} $$
#
# With harmonic numbers $\mathcal H_i=1+\frac12+\dots+\frac1i$, tabulated once, $h=\mathcal H_{N+T}-\mathcal H_N$ costs one subtraction.
#
# **Step 4: the trapezoid form** needs in addition the precision before each relevant item, $(j-1)/(r-1)$. In the same way, with $t-1=(N+t-1)-N$ and $h'=\mathcal H_{N+T-1}-\mathcal H_{N-1}$,
#
# $$ \frac ST\sum_{t=1}^{T}\frac{K+(t-1)\,a}{N+t-1}=\frac ST\Big[K\,h'+a\,\big(T-N\,h'\big)\Big]\qquad(N>0) \tag{8} $$
#
# For the nearest group, $N=K=0$, the first position counts 1 by convention and each of the others $a$: together $1+(T-1)\,a=S$, in place of the bracket.
#
# So the number of items $T$ and of relevant items $S$ at each distance tell everything; nothing has to be sorted. The sum over the groups divided by $R$ is the expected AP, and since expectations add, the mean over queries is the expected mAP.


# %% tags=["export"]
def _tie_counts(D, R):
    """Number of items T and of relevant items S of each query at each distance."""
    n_bins = int(D.max()) + 1
    T = [np.bincount(distances, minlength=n_bins) for distances in D]
    S = [np.bincount(distances[hits], minlength=n_bins) for distances, hits in zip(D, R)]
    return np.stack(T), np.stack(S)


@functools.lru_cache(maxsize=1)
def _harmonic_numbers(n):
    """The harmonic numbers H_0 to H_n, which all blocks of a database share."""
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n + 1))])


def _expected_sum(T, S, form):
    """Expectation of :func:`_stable_sum` over random orders of the tied items, Eqs. (7), (8)."""
    N, K = np.cumsum(T, axis=1) - T, np.cumsum(S, axis=1) - S  # items, relevant items nearer
    harmonic = _harmonic_numbers(int(T[0].sum()))
    a = (S - 1) / np.maximum(T - 1, 1)
    h = harmonic[N + T] - harmonic[N]
    total = (K + 1) * h + a * (T - (N + 1) * h)
    if form == "trapezoid":
        h = harmonic[np.maximum(N + T - 1, 0)] - harmonic[np.maximum(N - 1, 0)]
        before = np.where(N == 0, S, K * h + a * (T - N * h))
        total = (before + total) / 2
    return np.sum(np.where(S > 0, S / np.maximum(T, 1) * total, 0.0), axis=1)


# %% [markdown]
# Now both tie rules and both forms stand behind one function; the mean over queries goes through the blocks.


# %% tags=["export"]
def average_precision(D: Array, R: Array, form: str = "standard", ties: str = "stable") -> Array:
    """Average precision (AP) of each query over the ranking of the whole database.

    Parameters
    ----------
    D : array (n_query, n_database), whole numbers
        Distances; the ranking is by increasing distance.
    R : array (n_query, n_database), bool
        True where the item is relevant to the query.
    form : {"standard", "trapezoid"}
        Mean precision at the relevant ranks, Eq. (3) of notebook 02, or the trapezoid rule of the
        Oxford Buildings evaluation, Eq. (4), which the published mAP curves of BDNN use.
    ties : {"stable", "expected"}
        Items at the same distance in database order, or the expectation over all their orders,
        Eqs. (7) and (8).

    Returns
    -------
    array (n_query,)
        AP in [0, 1]; a query without any relevant item counts 0.

    Raises
    ------
    ValueError
        For an unknown option, shapes that differ, or distances that are not whole numbers.
    """
    check_option("form", form, ("standard", "trapezoid"))
    check_option("ties", ties, ("stable", "expected"))
    D, R = np.asarray(D), np.asarray(R)
    if D.shape != R.shape or D.ndim != 2 or 0 in D.shape or R.dtype != bool:
        raise ValueError(
            f"D {D.shape} and R {R.shape} must be matrices (n_query, n_database) of one shape, "
            f"R boolean, not {R.dtype}"
        )
    if D.dtype.kind not in "iu" or D.min() < 0:
        raise ValueError("D must hold whole numbers from 0 on: Hamming distances")
    if ties == "stable":
        query, r, j = _relevant_ranks(D, R)
        total = _stable_sum(query, r, j, len(D), form)
    else:
        T, S = _tie_counts(D, R)
        total = _expected_sum(T, S, form)
    return total / np.maximum(R.sum(axis=1), 1)


def mean_average_precision(
    codes_query: Array,
    codes_database: Array,
    relevant: Any,
    form: str = "standard",
    ties: str = "stable",
) -> float:
    """Mean over all queries of the average precision (mAP).

    Parameters
    ----------
    codes_query, codes_database : array (n_query, n_bits) and array (n_database, n_bits)
        Codes as for :func:`hamming_distances`.
    relevant : boolean array, sequence of index arrays, or pair of label vectors
        What is relevant to each query: a matrix (n_query, n_database); or per query the indices
        of its relevant items, whose number may differ; or ``(labels_query, labels_database)``,
        where relevant means the same label.
    form, ties : str
        See :func:`average_precision`.

    Returns
    -------
    float
        mAP in [0, 1]; queries without any relevant item count 0.

    Raises
    ------
    ValueError
        For codes or relevance that do not fit each other, or an unknown option.
    """
    check_option("form", form, ("standard", "trapezoid"))
    check_option("ties", ties, ("stable", "expected"))
    of_block = functools.partial(average_precision, form=form, ties=ties)
    return float(np.mean(np.concatenate(_scan(of_block, codes_query, codes_database, relevant))))


# %% [markdown]
# ### Does the closed form hold?
#
# First the strictest test there is: small rankings with ties, where all orders of the items can be written out. Each of the $6!$ orders is a database in its own right, ranked with stable ties.


# %%
def enumerated(d, relevant, form):
    """Mean of the stable AP over all orders of the database."""
    orders = np.array(list(itertools.permutations(range(len(d)))))
    return average_precision(d[orders], relevant[orders], form).mean()


# %%
worst_gap = 0.0
for _ in range(50):
    d, relevant_six = rng.integers(0, 3, 6), rng.random(6) < 0.5
    for f in ("standard", "trapezoid"):
        closed = average_precision(d[None], relevant_six[None], f, ties="expected")[0]
        worst_gap = max(worst_gap, abs(closed - enumerated(d, relevant_six, f)))
print("50 random rankings, both forms, gap below 1e-12:", worst_gap < 1e-12)

# %% [markdown]
# Then a real ranking: one query, 4,000 digits at 8 bits, 2,000 random orders of the database. The average over the orders must lie within a few standard errors of the closed form.

# %%
D8 = hamming_distances(*hyperplane_codes(8))
shuffles = [rng.permutation(len(X)) for _ in range(2000)]
sampled = [average_precision(D8[:1, o], R_knn[:1, o])[0] for o in shuffles]
error = np.std(sampled) / np.sqrt(len(sampled))
closed = average_precision(D8[:1], R_knn[:1], ties="expected")[0]
assert abs(np.mean(sampled) - closed) < 4 * error
print(f"closed form {closed:.4f}, {len(sampled)} orders {np.mean(sampled):.4f} +- {error:.4f}")
print(f"single orders range from {min(sampled):.4f} to {max(sampled):.4f}")

# %%
fig, ax = plt.subplots(figsize=(6, 2.6))
_ = ax.hist(sampled, bins=40, color=COLOURS["sky"], edgecolor="white")
stored = average_precision(D8[:1], R_knn[:1])[0]
for value, colour, style, label in (
    (closed, "vermillion", "--", "expected, Eq. (7)"),
    (stored, "black", ":", "as stored"),
):
    _ = ax.axvline(value, color=COLOURS[colour], ls=style, label=label)
_ = ax.set(xlabel="AP of query 0 at 8 bits", ylabel="orders of the database")
_ = ax.legend()
save_figure(fig, "02_expected_ap")

# %% [markdown]
# One query's AP under 2,000 orders of the same database: the spread is luck, not quality. The small hump on the right are the orders in which a relevant item happens to stand first. The dashed line from Eq. (7) sits at the mean of the histogram; the order in which the data happen to be stored (dotted) is one more draw.
#
# Over 1,000 queries the luck mostly averages out, so that the stable rule is usable as long as the database is shuffled. We report both.
#
# ## Precision within radius 2
#
# With a hash table one does not rank: one looks up all codes within a small radius of the query's. The measure of the tables in the paper is the share of relevant items in this Hamming ball, for radius $\rho=2$, averaged over the queries:
#
# $$ \mathrm P@\rho=\frac1{n_{\text{query}}}\sum_{q}\frac{|\{i\text{ relevant to }q:\ d(q,i)\le\rho\}|}{|\{i:\ d(q,i)\le\rho\}|} \tag{9} $$
#
# The mean runs over queries, each with the same weight however full its ball is (a *macro* mean). And what if the ball is empty? The ball covers $1+L+\binom L2$ of the $2^L$ possible codes: 37 of 256 with 8 bits, 137 of 65,536 with 16, and 529 of more than four billion with 32. The share falls so fast that at 24 bits and beyond many balls hold nothing. Three rules are in use: an empty ball **counts 0** (a query without an answer is a failed query), it is **left out** of the mean, or hits and ball sizes are **pooled** over all queries before one division. The published tables of BDNN follow the first rule; we know it because the figures of spectral hashing, which involves no chance, come out digit by digit under it (at 8, 16 and 24 bits on MNIST), and under neither of the others.
#
# **Slip:** for spectral hashing with 32 bits the slides print 36.69 % where the same computation gives 37.69 %. The difference of exactly one suggests a misprint.


# %% tags=["export"]
def _ball_precision(size, hits):
    """Share of relevant items in each ball; NaN where it is empty."""
    return np.where(size > 0, hits / np.maximum(size, 1), np.nan)


def precision_at_radius(
    codes_query: Array, codes_database: Array, relevant: Any, radius: int = 2, empty: float = 0.0
) -> float:
    """Mean over all queries of the precision within a Hamming ball, Eq. (9) of notebook 02.

    Parameters
    ----------
    codes_query, codes_database, relevant
        As for :func:`mean_average_precision`.
    radius : int
        Items at most this far from the query are in its ball.
    empty : float
        What a query counts whose ball is empty: 0 as in the published tables; NaN leaves such
        queries out of the mean.

    Returns
    -------
    float
        Precision in [0, 1]; NaN if every query is left out.

    Raises
    ------
    ValueError
        For codes or relevance that do not fit each other, or a radius that is no whole number
        from 0 on.
    """
    check_whole_number("radius", radius, 0)

    def of_block(D, R):
        ball = D <= radius
        return _ball_precision(ball.sum(axis=1), (ball & R).sum(axis=1))

    precision = np.concatenate(_scan(of_block, codes_query, codes_database, relevant))
    return _mean_with_empty(precision, empty)


def _mean_with_empty(precision, empty):
    """Mean precision where NaN, an empty ball, counts ``empty``; NaN there leaves it out."""
    if np.isnan(empty):
        precision = precision[~np.isnan(precision)]
    else:
        precision = np.nan_to_num(precision, nan=empty)
    return float(precision.mean()) if len(precision) else float("nan")


# %%
lengths = np.array([8, 12, 16, 20, 24, 28, 32, 40, 48])
rules = {"counts 0": [], "left out": [], "pooled": []}
empty_share = []
for L in lengths:
    D = hamming_distances(*hyperplane_codes(L))
    ball = D <= 2
    precision = _ball_precision(ball.sum(axis=1), (ball & R_knn).sum(axis=1))
    rules["counts 0"].append(_mean_with_empty(precision, 0.0))
    rules["left out"].append(_mean_with_empty(precision, np.nan))
    rules["pooled"].append(np.sum(ball & R_knn) / np.sum(ball))
    empty_share.append(np.isnan(precision).mean())
for row in zip(lengths, *rules.values(), empty_share):
    print("{:2d} bits: counts 0 {:.3f}, left out {:.3f}, pooled {:.3f}; empty {:.3f}".format(*row))

# %%
fig, (ax, ax_empty) = plt.subplots(1, 2, figsize=(8, 3.2), width_ratios=(3, 2))
for (label, values), marker in zip(rules.items(), MARKERS):
    _ = ax.plot(lengths, values, marker=marker, label=label)
_ = ax.set(xlabel="bits $L$", ylabel="precision within radius 2", xticks=lengths[::2])
_ = ax.legend(title="an empty ball")
_ = ax_empty.bar(lengths, empty_share, width=2.5, color=COLOURS["sky"])
_ = ax_empty.set(
    xlabel="bits $L$", ylabel="share of queries with an empty ball", xticks=lengths[::2]
)
save_figure(fig, "02_empty_balls")

# %% [markdown]
# The same codes, three stories. Left: under the rule of the paper precision climbs, peaks near 20 bits and falls, since more and more queries find nothing (right); the other two rules keep climbing towards 1, because the few queries that still have company are the easy ones. With 24 bits the rule alone doubles the figure. The peak is no property of hashing either: it moves to longer codes as the database grows, since a larger database fills more balls. That is why figures for 4,000 items and for 60,000 items must not be compared.
#
# ### The items of the ball
#
# Eq. (9) counts what a ball holds. A program that answers a query wants the items themselves: short lists, since the ball is small, out of many distances, which nobody wants to see. So we take fewer queries at a time than for a table of distances, few enough for the differing bits, their counts and the comparison to stay in the processor's cache, and keep the rows where the comparison holds.


# %% tags=["export"]
_CACHED_ENTRIES = 2**16  # query-item pairs whose distances stay in the cache


def items_within(A: Array, B: Array, radius: int = 2) -> list[Array]:
    """The items of a Hamming ball around every query: what a lookup by hash code finds.

    Parameters
    ----------
    A, B : array (n_query, n_bits) and array (n_items, n_bits)
        Codes of the queries and of the items, in a form that :func:`hamming_distances` takes.
    radius : int
        Items at most this far from the query are in its ball.

    Returns
    -------
    list of arrays, int64
        For each query the rows of B that are in its ball, in increasing order.

    Raises
    ------
    ValueError
        For codes that do not fit each other, or a radius that is no whole number from 0 on.
    """
    check_whole_number("radius", radius, 0)
    A, B = _paired_words(A, B, ("A", "B"))
    found: list[Array] = []
    for rows in _row_blocks(len(A), len(B), _CACHED_ENTRIES):
        found += map(np.flatnonzero, _word_distances(A[rows], B) <= radius)
    return found


# %%
codes = hyperplane_codes(24)
D, found = hamming_distances(*codes), items_within(*codes, radius=2)
for distances, items in zip(D, found, strict=True):
    assert np.array_equal(np.flatnonzero(distances <= 2), items)
sizes = np.array([len(items) for items in found])
q = int(np.flatnonzero(sizes == 5)[0])
print(f"24 bits: {np.mean(sizes == 0):.3f} of the balls are empty, the fullest holds {sizes.max()}")
print(f"in the ball of query {q}:", *found[q], "with distances", *D[q, found[q]])

# %% [markdown]
# ## Precision among the first $n$
#
# A page of results shows the first $n$ items, however far away they stand. No ball can be empty then; what is left to luck are again the ties, of the one group that rank $n$ cuts through. The **precision among the first $n$** is
#
# $$ \mathrm P@n=\frac1{n_{\text{query}}}\sum_{q}\frac{|\{i\text{ relevant to }q:\ i\text{ among the first } n\}|}{n} \tag{10} $$
#
# In the order of the database this counts the ranks up to $n$. Averaged over all orders of the tied items, a group of $T$ items, $S$ of them relevant, behind $N$ nearer ones shows its first $\min(\max(n-N,0),T)$ positions, and by Eq. (5) each of them holds a relevant item with probability $S/T$:
#
# $$ \mathbb E[\mathrm P@n]=\frac1{n_{\text{query}}}\sum_{q}\frac1n\sum_{\text{groups}}\min\big(\max(n-N,0),\,T\big)\,\frac ST \tag{11} $$


# %% tags=["export"]
def _stable_hits(query, r, n_query, n):
    """Number of relevant items among the first n of each query; ties in database order."""
    return np.bincount(query[r <= n], minlength=n_query)


def _expected_hits(T, S, n):
    """Expectation of :func:`_stable_hits` over random orders of the tied items, Eq. (11)."""
    N = np.cumsum(T, axis=1) - T
    return np.sum(np.clip(n - N, 0, T) * S / np.maximum(T, 1), axis=1)


def precision_at(
    codes_query: Array, codes_database: Array, relevant: Any, n: int = 500, ties: str = "stable"
) -> float:
    """Mean over all queries of the precision among the first n items, Eq. (10) of notebook 02.

    Parameters
    ----------
    codes_query, codes_database, relevant
        As for :func:`mean_average_precision`.
    n : int
        Length of the list that is looked at; if the database is shorter, it is all of it.
    ties : {"stable", "expected"}
        Items at the same distance in database order, or the expectation over all their orders,
        Eq. (11).

    Returns
    -------
    float
        Precision in [0, 1].

    Raises
    ------
    ValueError
        For codes or relevance that do not fit each other, an unknown option, or n below 1.
    """
    check_option("ties", ties, ("stable", "expected"))
    check_whole_number("n", n, 1)
    n = min(n, len(codes_database))

    def of_block(D, R):
        if ties == "expected":
            return _expected_hits(*_tie_counts(D, R), n)
        query, r, _ = _relevant_ranks(D, R)
        return _stable_hits(query, r, len(D), n)

    hits = np.concatenate(_scan(of_block, codes_query, codes_database, relevant))
    return float(hits.mean() / n)


# %% [markdown]
# The check: Eq. (10) by a double loop over sorted items, and Eq. (11) against 300 random orders of the database, in which the deviation of the mean must stay within a few standard errors.


# %%
def naive_precision_at(D, R, n):
    """Eq. (10): sort, look at the first n, count."""
    order = [sorted(range(len(d)), key=lambda i: (d[i], i))[:n] for d in D.tolist()]
    return np.array([sum(relevant[i] for i in first) / n for first, relevant in zip(order, R)])


# %%
few = slice(0, 20)
D_few, R_few = D16[few], R_knn[few]
for n in (1, 50, 500):
    stored = naive_precision_at(D_few, R_few, n).mean()
    assert np.isclose(stored, precision_at(codes_query[few], codes_database, R_few, n))
    closed = precision_at(codes_query[few], codes_database, R_few, n, ties="expected")
    orders = [rng.permutation(len(X)) for _ in range(300)]
    sampled = [_stable_hits(*_relevant_ranks(D_few[:, o], R_few[:, o])[:2], 20, n) for o in orders]
    shuffled = np.mean(sampled, axis=1) / n
    assert abs(shuffled.mean() - closed) < 4 * shuffled.std() / np.sqrt(len(orders)) + 1e-12
    print(f"first {n:3d}: as stored {stored:.4f}, expected {closed:.4f}")

# %% [markdown]
# A perfect code reaches 1 only if a query has at least $n$ relevant items; with $R$ of them, $\min(R,n)/n$ is all that can be had. So $\mathrm P@500$ belongs to class labels:

# %%
truths = {"50 neighbours": data.relevant, "class labels": (data.labels.query, data.labels.database)}
per_class = np.bincount(data.labels.database)[data.labels.query]
n_relevant = {"50 neighbours": np.array([50]), "class labels": per_class}
for truth, relevant in truths.items():
    for n in (50, 500):
        found = precision_at(codes_query, codes_database, relevant, n)
        most = np.minimum(n_relevant[truth], n).mean() / n
        print(f"{truth:13s}: P@{n:<3d} {100 * found:5.2f} % of at most {100 * most:5.1f} %")

# %% [markdown]
# Against 50 neighbours $\mathrm P@500$ can be 10 % at best, and against labels about 80 %, as a digit has about 400 images in this database. On full MNIST it has about 6,000 and the ceiling is 1. The comparison with Deep Hashing uses $n=500$.
#
# ## Queries differ, ground truths differ
#
# The number of relevant items may change from query to query: every query gets its own AP with its own $R$, and then all queries weigh the same. A query to which nothing is relevant counts 0; it is not skipped in silence. Here the neighbours of each query are cut to a random number, and the first query loses all of them:

# %%
kept = rng.integers(1, 51, len(X_query))
kept[0] = 0
some = [neighbours[:k] for neighbours, k in zip(data.relevant, kept)]
order = np.argsort(D16, axis=1, kind="stable")
ap_some = [naive_average_precision(np.isin(o, s)) for o, s in zip(order, some)]
assert np.isclose(np.mean(ap_some), mean_average_precision(codes_query, codes_database, some))
print(
    f"0 to 50 relevant items: mAP {np.mean(ap_some):.4f}; the first query counts {ap_some[0]:.0f}"
)

# %% [markdown]
# A figure means nothing without its ground truth. The same 16-bit codes against Euclidean neighbours and against class labels, each beside the mAP of items in random order, which is about the share of relevant items:

# %%
for truth, relevant in truths.items():
    found = mean_average_precision(codes_query, codes_database, relevant, ties="expected")
    alike = np.ones_like(codes_query), np.ones_like(codes_database)  # all items tie
    chance = mean_average_precision(*alike, relevant, ties="expected")
    print(f"{truth:13s}: mAP {100 * found:5.2f} %, random order {100 * chance:5.2f} %")

# %% [markdown]
# Against labels the codes look better in absolute terms and worse in relation to chance. Note how we got the chance level: codes that are all alike tie everything, and Eq. (7) averages over all orders.
#
# ## Balance and independence of bits
#
# So far we asked what a code finds. One may also look at the bits themselves. Let $B\in\{-1,+1\}^{L\times m}$ hold the codes of $m$ samples in its columns.
#
# **Balance**: each bit divides the samples into halves. Then its mean is 0, and it carries the most information a bit can carry. We measure the mean distance from that:
#
# $$ \mathrm{balance}(B)=\frac1L\sum_{k=1}^{L}\Big|\frac1m\sum_{i=1}^{m}B_{ki}\Big| \tag{12} $$
#
# **Independence**: no bit repeats another. The matrix $\frac1mBB^\top$ has ones on its diagonal; off the diagonal stand the mean products of two bits, 0 for bits that agree as often as they differ:
#
# $$ \mathrm{independence}(B)=\frac1{L(L-1)}\sum_{k\ne k'}\Big|\frac1m\big(BB^\top\big)_{kk'}\Big| \tag{13} $$
#
# For both, 0 is best and 1 worst. They are the measured counterparts of two terms in the objective of BDNN, $\|\frac1mHH^\top-I\|^2$ and $\|H\mathbf 1\|^2$, which notebook 05 derives.


# %% tags=["export"]
def _signs(codes):
    """Codes (n_samples, n_bits), after a check that they are not packed."""
    codes = np.asarray(codes)
    if codes.ndim != 2 or 0 in codes.shape or not _only_signs(codes):
        raise ValueError("codes must be a matrix (n_samples, n_bits) of -1 and +1, or of booleans")
    return codes


def _mean(fun, codes):
    """``fun(B)``, a sum over the samples of codes of -1.0 and +1.0, by their number; in blocks."""
    codes = _signs(codes)
    blocks = (codes[rows] for rows in _row_blocks(*codes.shape))
    return sum(fun(np.where(block > 0, 1.0, -1.0)) for block in blocks) / len(codes)


def balance(codes: Array) -> float:
    """How far bits are from dividing the samples into halves: 0 is best, 1 worst.

    Parameters
    ----------
    codes : array (n_samples, n_bits)
        Codes in {-1, +1}, or booleans.

    Returns
    -------
    float
        Mean over the bits of the absolute mean of the bit, Eq. (12) of notebook 02.

    Raises
    ------
    ValueError
        If the matrix is empty or holds something else than codes.
    """
    return float(np.mean(np.abs(_mean(lambda B: B.sum(axis=0), codes))))


def independence(codes: Array) -> float:
    """How much bits repeat each other: 0 is best, 1 worst.

    Parameters
    ----------
    codes : array (n_samples, n_bits)
        Codes in {-1, +1}, or booleans.

    Returns
    -------
    float
        Mean absolute entry of (1/m) B B^T off its diagonal, Eq. (13) of notebook 02; 0 for one
        bit. It is the measure behind the independence term of BDNN: entries of a covariance
        around 0, so a bit that hardly ever changes counts as dependent, too.

    Raises
    ------
    ValueError
        If the matrix is empty or holds something else than codes.
    """
    products = _mean(lambda B: B.T @ B, codes)
    L = len(products)
    if L == 1:
        return 0.0
    off_diagonal = np.abs(products) - np.eye(L)
    return float(off_diagonal.sum() / (L * (L - 1)))


# %% [markdown]
# Four sets of 16-bit codes: hyperplanes through the mean; the same hyperplanes through the origin, where no pixel is ever negative; the signs of the 16 first principal components (notebook 03 explains them); and a set made badly on purpose, eight hyperplanes with each bit stored twice.

# %%
_, _, Vt = np.linalg.svd(X - x_mean, full_matrices=False)
principal = Vt[:16].T
eight = hyperplane_codes(8)
sets = {
    "through the mean": (codes_query, codes_database),
    "through the origin": hyperplane_codes(16, centre=0.0),
    "signs of PCA": tuple(sgn((Z - x_mean) @ principal) for Z in (X_query, X)),
    "each bit twice": tuple(np.repeat(c, 2, axis=1) for c in eight),
}
for name, (_, codes) in sets.items():
    print(f"{name:18s}: balance {balance(codes):.3f}, independence {independence(codes):.3f}")

# %%
fig, axes = plt.subplots(2, 4, figsize=(9, 4.2), height_ratios=(2, 3))
for (ax, ax_matrix), (name, (_, codes)) in zip(axes.T, sets.items()):
    _ = ax.stem(np.arange(1, 17), codes.mean(axis=0), basefmt="k-", markerfmt="o")
    _ = ax.set(title=name, ylim=(-1, 1), xticks=(1, 8, 16))
    second = codes.T.astype(np.float64) @ codes / len(codes)
    image = ax_matrix.imshow(np.abs(second), vmin=0, vmax=1, extent=(0.5, 16.5, 16.5, 0.5))
    _ = ax_matrix.set(xticks=(1, 8, 16), yticks=(1, 8, 16), xlabel="bit")
_ = axes[0, 0].set(ylabel="mean of the bit")
_ = axes[1, 0].set(ylabel="bit")
_ = fig.colorbar(image, ax=axes[1, :], label="$|BB^T/m|$")
save_figure(fig, "02_balance_independence")

# %% [markdown]
# Above: the mean of each bit; below: $|\frac1mBB^\top|$, white 0 and black 1. Through the mean, means are small and the matrix is pale. Through the origin, bits are one-sided, and one-sided bits agree with each other by that alone: Eq. (13) measures products around 0, not around the means, and so charges imbalance, too. PCA gives balanced, nearly uncorrelated bits. The repeated bits show as blocks of 2 by 2.
#
# What does it mean for retrieval?

# %%
for name, (q, codes) in sets.items():
    p2 = precision_at_radius(q, codes, data.relevant)
    expected = mean_average_precision(q, codes, data.relevant, ties="expected")
    print(f"{name:18s}: P@r=2 {100 * p2:5.2f} %, mAP {100 * expected:5.2f} %")

# %% [markdown]
# Balance and independence help: the two sets that lack them come last. But they are not the aim. Bits drawn by tossing coins are balanced and independent and find nothing; and notebook 03 turns the signs of PCA by a rotation that makes bits *more* dependent and finds more neighbours. Nor does Eq. (13) see everything: it looks at *pairs*. Three bits, the third the product of the other two, pass it perfectly although two of them decide the third.

# %%
pairs = np.array(list(itertools.product((-1, 1), repeat=2)))
parity = np.column_stack([pairs, pairs.prod(axis=1)])
assert balance(parity) == 0 and independence(parity) == 0
print("bits b1, b2, b1 b2: balance 0 and independence 0, yet only 4 of 8 codes occur")

# %% [markdown]
# ## The curve over all radii
#
# One radius is one point. A ball of radius $\rho$ finds more of what is relevant the larger it is, and what it finds is less pure. The share found is the **recall**
#
# $$ \mathrm R@\rho=\frac1{n_{\text{query}}}\sum_{q}\frac{|\{i\text{ relevant to }q:\ d(q,i)\le\rho\}|}{|\{i\text{ relevant to }q\}|} \tag{14} $$
#
# and the points $(\mathrm R@\rho,\mathrm P@\rho)$ for $\rho=0,\dots,L$ are the **precision-recall curve** of a code: $L+1$ points, exact, since a distance takes no other values. Empty balls count 0 as in Eq. (9), so the curve passes through the figure of the tables at $\rho=2$. It starts low where many balls of radius 0 are empty, and ends at recall 1 with the precision of the whole database. The counts of ties that Eq. (7) needs hold all of it.


# %% tags=["export"]
def _ball_curves(T, S, L):
    """Precision and recall of the balls of radius 0 to L, each (n_query, L + 1); empty balls: 0."""
    radii = np.minimum(np.arange(L + 1), T.shape[1] - 1)  # the largest distance's ball holds all
    size, hits = (np.cumsum(counts, axis=1)[:, radii] for counts in (T, S))
    return hits / np.maximum(size, 1), hits / np.maximum(hits[:, -1:], 1)


def radius_curve(codes_query: Array, codes_database: Array, relevant: Any) -> tuple[Array, Array]:
    """Precision and recall within Hamming balls of every radius, Eqs. (9) and (14) of notebook 02.

    Parameters
    ----------
    codes_query, codes_database : array (n_query, n_bits) and array (n_database, n_bits)
        Codes in {-1, +1}, or booleans; not packed, since the number of bits is the last radius.
    relevant
        As for :func:`mean_average_precision`.

    Returns
    -------
    precision, recall : arrays (n_bits + 1,)
        Means over the queries for the radii 0 to n_bits. An empty ball has precision 0, a query
        without any relevant item precision and recall 0.

    Raises
    ------
    ValueError
        For codes or relevance that do not fit each other, or packed codes.
    """
    L = _signs(codes_database).shape[1]

    def of_block(D, R):
        return np.sum(_ball_curves(*_tie_counts(D, R), L), axis=1)

    sums = _scan(of_block, codes_query, codes_database, relevant)
    return np.sum(sums, axis=0) / len(codes_query)


# %%
fig, ax = plt.subplots()
for L, marker in zip((8, 16, 32, 64), MARKERS):
    precision, recall = radius_curve(*hyperplane_codes(L), data.relevant)
    _ = ax.plot(recall, precision, marker=marker, label=f"{L} bits")
    _ = ax.plot(recall[2], precision[2], marker="o", ms=12, mfc="none", color="black", ls="")
    print(f"{L:2d} bits, radius 2: precision {precision[2]:.4f}, recall {recall[2]:.4f}")
_ = ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=0)
_ = ax.legend()
save_figure(fig, "02_precision_recall")

# %%
for L in (8, 16, 32, 64):
    codes = hyperplane_codes(L)
    precision, recall = radius_curve(*codes, data.relevant)
    assert abs(precision[2] - precision_at_radius(*codes, data.relevant)) < 1e-12
    assert np.all(np.diff(recall) >= 0) and recall[-1] == 1
print("the curves pass through the precision within radius 2, and end with everything found")

# %% [markdown]
# Rings mark radius 2. For recall above a tenth the longer code is better everywhere, and yet radius 2 lies at the left end of the curve for 32 and 64 bits, where most balls are empty: the table entry says how many balls are filled rather than how good the ranking is.
#
# ## Everything in one pass
#
# For tables we want all measures, and the distances only once. Here are the counts and sums of one block, from which all of them follow:


# %% tags=["export"]
def _ranked_counts(D, R, n):
    """T and S of each query, relevant items among the first n, sums of Eq. (3) and of Eq. (4)."""
    ranks = _relevant_ranks(D, R)
    sums = (_stable_sum(*ranks, len(D), form) for form in ("standard", "trapezoid"))
    return *_tie_counts(D, R), _stable_hits(*ranks[:2], len(D), n), *sums


# %% [markdown]
# For full MNIST, 600 million pairs, this takes some ten seconds on one core, and most of it is the sort. A loop needs none: while it passes over the database, it counts the items at each distance, and notes of every relevant item how many at its distance came before; what is nearer adds up in the end. Python is too slow for such a loop. `bdnn.engine.compiled` has it for the compiler numba, an optional extra (`pip install ".[fast]"` in the folder of the course): four times faster (32 bits, 60,000 items), and the same to the last bit, since it adds in the same order. `evaluate` takes it where it is installed and where there are enough pairs to repay the compiler its two or three seconds.


# %% tags=["export"]
_WORTH_COMPILING = 2 * 10**8  # query-item pairs: fewer are counted before the compiler is ready


def _fastest_count(n_pairs):
    """The faster way to the results of :func:`_ranked_counts`."""
    if n_pairs < _WORTH_COMPILING:
        return _ranked_counts
    try:
        from bdnn.engine.compiled import ranked_counts
    except ImportError:  # numba is not installed, or not for this NumPy
        return _ranked_counts
    return ranked_counts


def evaluate(
    codes_query: Array, codes_database: Array, relevant: Any, radius: int = 2, curves: bool = False
) -> dict[str, Any]:
    """All measures of the course in one pass over the distances.

    With many pairs and numba installed the ranking is compiled: the results are the same bits.

    Parameters
    ----------
    codes_query, codes_database, relevant
        As for :func:`mean_average_precision`; codes not packed, since balance and independence
        need to know the number of bits.
    radius : int
        Radius of the Hamming ball; it is part of the name of the first measure.
    curves : bool
        Add the curves of :func:`radius_curve`.

    Returns
    -------
    dict
        ``precision_at_2`` (an empty ball counts 0), ``precision_at_500`` (ties in database order;
        of a database with fewer than 500 items, over all of them), ``map_standard`` and
        ``map_trapezoid`` (ties in database order), ``map_expected`` (standard form, expectation
        over ties),
        ``empty_share`` (queries with an empty ball), ``balance`` and ``independence`` of the
        database codes. All are fractions from 0 to 1. With ``curves`` also the arrays
        ``precision_by_radius`` and ``recall_by_radius``.

    Raises
    ------
    ValueError
        For codes or relevance that do not fit each other.
    """
    measures = {"balance": balance(codes_database), "independence": independence(codes_database)}
    check_whole_number("radius", radius, 0)
    n, L = min(500, len(codes_database)), np.shape(codes_database)[1]
    count = _fastest_count(np.size(codes_query) // L * len(codes_database))

    def of_block(D, R):
        T, S, hits, *sums = count(D, R, n)
        inside = np.arange(T.shape[1]) <= radius
        precision = _ball_precision(T[:, inside].sum(axis=1), S[:, inside].sum(axis=1))
        sums = np.array([*sums, _expected_sum(T, S, "standard")]) / np.maximum(S.sum(axis=1), 1)
        return np.vstack([precision, hits / n, sums]), np.sum(_ball_curves(T, S, L), axis=1)

    rows, sums_by_radius = zip(*_scan(of_block, codes_query, codes_database, relevant))
    precision, first, standard, trapezoid, expected = np.concatenate(rows, axis=1)
    if curves:
        by_radius = np.sum(sums_by_radius, axis=0) / len(codes_query)
        measures |= {"precision_by_radius": by_radius[0], "recall_by_radius": by_radius[1]}
    return {
        f"precision_at_{radius}": _mean_with_empty(precision, empty=0.0),
        "precision_at_500": float(first.mean()),
        "map_standard": float(standard.mean()),
        "map_trapezoid": float(trapezoid.mean()),
        "map_expected": float(expected.mean()),
        "empty_share": float(np.isnan(precision).mean()),
        **measures,
    }


# %%
table = {L: evaluate(*hyperplane_codes(L), data.relevant) for L in (8, 16, 32, 64)}
for name in table[8]:
    print(f"{name:16s}", *(f"{100 * row[name]:7.2f}" for row in table.values()))

# %%
for f in ("standard", "trapezoid"):
    naive = [naive_average_precision(R[o], f) for R, o in zip(R_knn, order)]
    assert abs(np.mean(naive) - table[16][f"map_{f}"]) < 1e-12
print("the blocked version equals the double loop in both forms")

# %% tags=["nbval-ignore-output"]
start = time.perf_counter()
naive_distances(codes_query[:20], codes_database[:30])
middle = time.perf_counter()
evaluate(codes_query, codes_database, data.relevant)
end = time.perf_counter()
print(f"double loop, distances alone: {(middle - start) / 600 * 1e9:6,.0f} ns per pair")
print(f"blocks, all measures:         {(end - middle) / D16.size * 1e9:6,.0f} ns per pair")

# %% [markdown]
# All figures in percent, for 8, 16, 32 and 64 random hyperplanes. Read the columns from left to right: mAP and precision among the first 500 grow from each length to the next, precision within radius 2 rises to 16 bits and then collapses as the balls run empty, and the trapezoid form stays below the standard form.
#
# ## How to report a result
#
# Many tables in the literature cannot be compared, because one of these is not said. Say them all:
#
# 1. **The split**: which vectors are training set, database and queries, and whether the queries were kept out of the other two.
# 2. **The ground truth**: $k$ Euclidean neighbours or class labels, and $k$.
# 3. **The form of AP**, Eq. (3) or Eq. (4), and how deep the ranking goes (here: the whole database); for precision among the first $n$, the $n$.
# 4. **The rule for ties**: database order (then shuffle the database) or expectation, Eq. (7).
# 5. **The rule for empty balls**, and the share of empty balls beside it.
# 6. **Chance**: how many seeds, and the spread between them.
#
# A sentence that does it: "mnist5k, 4,000 training images as database, 1,000 held-out queries, 50 Euclidean neighbours, 16 random hyperplanes: mAP 13.6 % (standard form, full ranking, expected ties), precision within radius 2 22.8 % (empty balls, 0.5 % of queries, count 0), one seed." The chance of point 6 is not small:

# %%
seeds = [evaluate(*hyperplane_codes(16, s), data.relevant) for s in range(5)]
for name in ("map_expected", "precision_at_2"):
    values = [100 * row[name] for row in seeds]
    print(f"{name:14s}: mean {np.mean(values):.2f}, from {min(values):.2f} to {max(values):.2f} %")

# %% [markdown]
# ## What we have now
#
# The module `bdnn.metrics`:
#
# | name | what it gives |
# |---|---|
# | `hamming_distances(A, B)` | all distances, Eqs. (1) and (2), from signs, booleans or packed bytes |
# | `average_precision(D, R, form, ties)` | AP per query, Eqs. (3), (4), (7), (8) |
# | `mean_average_precision(codes_query, codes_database, relevant, form, ties)` | its mean |
# | `precision_at_radius(codes_query, codes_database, relevant, radius, empty)` | Eq. (9) |
# | `items_within(A, B, radius)` | the items of the ball around each query |
# | `precision_at(codes_query, codes_database, relevant, n, ties)` | Eqs. (10) and (11) |
# | `balance(codes)`, `independence(codes)` | Eqs. (12) and (13) |
# | `radius_curve(codes_query, codes_database, relevant)` | Eqs. (9) and (14) for all radii |
# | `evaluate(codes_query, codes_database, relevant, radius, curves)` | all of them in one pass |
#
# ## Exercises
#
# **2.1** (on paper) Show that Eq. (3) minus Eq. (4) is $\frac1{2R}\sum_{j:\,r_j>1}\frac{r_j-j}{r_j(r_j-1)}$. Conclude that it is at most $\frac1{2R}\big(\mathcal H_n-1\big)$ for a database of $n$ items. Then compute it from the ranks of the 16-bit codes above and compare with the two mAP values.
#
# <details><summary>Hint</summary> Bring the two fractions to a common denominator. For the bound, drop $j$ down to 1 and let the sum run over all ranks from 2 on. </details>
#
# **2.2** (on paper) What does Eq. (7) say if all $n$ items tie, that is, if the ranking is random? Write the expected AP with $R$ relevant items in terms of $\mathcal H_n$, and show that it is greater than $R/n$. Check it by shuffling.
#
# <details><summary>Hint</summary> One group: $N=K=0$, $T=n$, $S=R$. For the comparison look at the lone summand in which an item counts itself. </details>
#
# **2.3** (on paper) Eq. (11) is a mean over all orders of the tied items. How far does a single order stray from it? Write the variance of one query's precision among the first $n$ in closed form, and compare it with random orders of the database.
#
# <details><summary>Hint</summary> Only one group is cut by rank $n$; of it the first $n-N$ positions are seen. The number of relevant items there is hypergeometric, too. </details>
#
# **2.4** Sort the database by class label and measure the 8-bit codes against labels, with stable and with expected ties. Which of the two notices, and which classes profit?
#
# <details><summary>Hint</summary> `np.argsort(labels, kind="stable")`; look at the mean AP of the queries of each class. </details>
#
# **2.5** A hash table answers a query by looking into all cells of the ball, a scan by computing all distances. From how many bits on does the ball of radius 2 have more cells than a database of 60,000 has items? And for radius 3?
#
# <details><summary>Hint</summary> The number of cells is $\sum_{i\le\rho}\binom Li$. </details>
#
# ## Further reading
#
# * The measures of the paper: its section on experiments. The two forms of AP are our Eqs. (3) and (4); the rule for empty balls is that of Eq. (9) with 0.
# * The idea behind Eqs. (5) to (8): F. McSherry and M. Najork, "Computing information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008.
# * Eq. (4): the program `compute_ap` that comes with the Oxford Buildings Dataset (J. Philbin, R. Arandjelović and A. Zisserman).
# * Next: notebook 03 learns a rotation that makes better codes than chance does.
