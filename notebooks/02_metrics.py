# %% [markdown]
# # Measure a code by what it retrieves
#
# **What you will do.** You take binary codes of 5,000 handwritten digits and measure how well they find neighbours.
#
# **What you will learn**
#
# * why the Hamming distance is a count of bits, an inner product, and fast;
# * what a ranking by Hamming distance is, and how average precision grades it;
# * what precision within radius 2 measures, and how much the rule for empty balls changes it;
# * what balance and independence of bits mean, and what they do not mean.
#
# **What you need.** Notebook 01 (data and ground truth), means. 45 minutes to read, about 10 seconds to run. Notebook 02b goes on from here; nothing on the path needs it.
#
# | symbol | meaning |
# |---|---|
# | $L$ | number of bits of a code |
# | $B\in\{-1,+1\}^{L\times m}$ | codes of $m$ samples, in columns |
# | $d(a,b)$ | Hamming distance of two codes |
# | $r_j$ | rank of the $j$-th of the $R$ relevant items of a query |
# | $\rho$ | radius of a Hamming ball |
#
# In code, `D` holds the distances of queries and items, a row for each query, and `R` tells in the same layout which items are relevant; the sum of a row of `R` is the $R$ of the formulas.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% [markdown]
# ## Draw codes to measure
#
# A measure is best learnt on codes that need no learning. We draw $L$ random hyperplanes through the mean $\bar x$ of the database. Bit $k$ of a vector $x$ says on which side of hyperplane $k$ it lies: $\operatorname{sgn}(w_k^\top(x-\bar x))$ with a normally distributed $w_k$. Everything below holds for codes of any origin.
#
# A code has no third value, so the sign of 0 must be decided. Throughout the course $\operatorname{sgn}(0)=+1$.

# %% tags=["export-top"]
"""Hamming distances, and the measures of a ranking and of a set of codes.

Codes stand in rows here, one sample per row: this is the form in which estimators return them.
Arguments are checked once, at the face of each measure; what does not fit is a ValueError that
names the argument. Distances are counted on packed bits, block by block, so that memory stays
bounded however many queries and items there are. The functions up to `independence` are those of
notebook 02, the others are those of notebook 02b. The measures take::

    codes_query, codes_database  codes (n_query, n_bits), (n_database, n_bits) in {-1, +1} of any
                                 number type or booleans; or both packed, by `pack_codes`
    relevant                     a 0/1 matrix (n_query, n_database) of any number type; or per query
                                 the indices of its relevant items, whose number may differ; or
                                 (labels_query, labels_database), relevant meaning the same label,
                                 or, of 0/1 matrices with a column for each label, one in common
    ties                         "stable", items at the same distance in database order, or
                                 "expected", the expectation over all their orders
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike

from bdnn import checks


# %% tags=["export"]
def sgn(Z: Array) -> Array:
    """Sign in {-1, +1}, with sgn(0) = +1 so that every code is legal; in the dtype of Z."""
    return np.where(Z >= 0, 1, -1).astype(Z.dtype)


# %% [markdown]
# The data set has 4,000 training images, which are also the database, and 1,000 queries. For each query, the database rows of its 50 nearest Euclidean neighbours count as relevant. A code is thus judged by how well it keeps the geometry of the pixels.

# %%
import matplotlib.pyplot as plt

from bdnn.course.plotting import COLOURS, MARKERS, save_figure
from bdnn.data import load

data = load("mnist5k")
X, X_query = data.database.astype(np.float64), data.query.astype(np.float64)
x_mean = X.mean(axis=0)
print(data)


# %%
def hyperplane_codes(L, seed=0):
    """Codes (n_query, L) and (n_database, L) from L random hyperplanes through the mean."""
    W = np.random.default_rng(seed).standard_normal((L, X.shape[1]))
    return sgn((X_query - x_mean) @ W.T), sgn((X - x_mean) @ W.T)


codes_query, codes_database = hyperplane_codes(16)
print("first query:", *codes_query[0].astype(int))

# %% [markdown]
# ## Measure distance: count differing bits
#
# The **Hamming distance** of two codes is the number of bits that differ. With bits stored as 0 and 1, the exclusive or $\oplus$ marks these bits, and the distance is their number:
#
# $$ d(a,b)=\sum_{k=1}^{L}[a_k\ne b_k]=\operatorname{popcount}(a\oplus b) \tag{1} $$
#
# With $a,b\in\{-1,+1\}^L$, as in the rest of this course, each product $a_kb_k$ is $+1$ where the bits agree and $-1$ where they differ. So $\langle a,b\rangle=(L-d)-d$, and therefore
#
# $$ d(a,b)=\tfrac12\big(L-\langle a,b\rangle\big) \tag{2} $$
#
# Eq. (2) is the reason why a loss may talk about Hamming distances and still be differentiated: $\langle a,b\rangle$ makes sense for real vectors, too. It also gives $\|a-b\|^2=2L-2\langle a,b\rangle=4\,d(a,b)$, so Hamming distance and Euclidean distance rank codes alike. Here are both equations, as a double loop and as a matrix product:


# %%
def naive_distances(A, B):
    """Eq. (1), one pair and one bit at a time."""
    return np.array([[sum(x != y for x, y in zip(a, b)) for b in B] for a in A])


A, B = codes_query[:20].astype(int), codes_database[:30].astype(int)
by_loop, by_product = naive_distances(A, B), (16 - A @ B.T) // 2
print("first query, Eq. (1):", *by_loop[0, :12])
print("first query, Eq. (2):", *by_product[0, :12])
print("pairs that differ:", np.count_nonzero(by_loop != by_product), "of", by_loop.size)

# %% [markdown]
# ### Pack bits into bytes
#
# A code of 32 bits fits four bytes, where the image takes 784 bytes as a file has it, and 3,136 in single precision. `pack_codes` stores bit $k$ of a code as bit $k \bmod 8$ of byte $\lfloor k/8\rfloor$: little-endian, lowest bit first, as the binary indexes of faiss expect it. Its first line is a check that the matrix holds codes at all. Such checks of arguments live in `bdnn.checks`; they give an error that names the argument, and are no part of the lesson.


# %% tags=["export"]
def pack_codes(codes: ArrayLike) -> np.ndarray:
    """Pack codes (n_samples, n_bits) into bytes, as faiss's binary indexes take them.

    Entries are -1 and +1, or booleans; +1 and True become set bits. The result is uint8,
    (n_samples, ceil(n_bits / 8)): bit k of a sample is bit ``k % 8`` of its byte ``k // 8``
    (little-endian), and unused bits of the last byte are 0.
    """
    bits = checks.check_codes("codes", codes, least=0) > 0
    bits = np.ascontiguousarray(bits)  # packbits is slow where the bits of a sample lie apart
    return np.packbits(bits, axis=1, bitorder="little")


def unpack_codes(packed: ArrayLike, n_bits: int) -> np.ndarray:
    """Undo :func:`pack_codes`: bytes to int8 codes (n_samples, n_bits) in {-1, +1}."""
    packed = np.asarray(packed)
    if packed.ndim != 2 or packed.dtype != np.uint8:
        raise ValueError(f"packed must be a matrix of uint8, got {packed.dtype} {packed.shape}")
    if not 0 < n_bits <= 8 * packed.shape[1]:
        raise ValueError(f"n_bits={n_bits} does not fit {packed.shape[1]} bytes per code")
    bits = np.unpackbits(packed, axis=1, count=n_bits, bitorder="little")
    return 2 * bits.astype(np.int8) - 1


# %%
signs = codes_query[0, :8].astype(int)
print("signs:", *signs)
print("bits: ", *(signs > 0).astype(int))
powers = " + ".join(str(2**k) for k in range(8) if signs[k] > 0)
print("byte: ", pack_codes(codes_query)[0, 0], "=", powers)

# %% [markdown]
# On packed codes Eq. (1) is one instruction for the exclusive or and one for the count, for up to 64 bits at a time. `_words` checks two sets of codes, packs them if need be, and views the bytes as the widest machine words that fit. Bits that fill up the last word are zero in both codes, so they never count. `_distances` is Eq. (1): `^` is $\oplus$, `bitwise_count` is popcount. The first word makes the table, the others add to it.


# %% tags=["export"]
def _words(A, B, names=("A", "B")):
    """Two sets of codes, (n_a, n_bits) and (n_b, n_bits), checked, as packed machine words."""
    A, B = checks.check_code_pair(A, B, names)
    if A.dtype != np.uint8:
        A, B = pack_codes(A), pack_codes(B)
    n_bytes = A.shape[1]
    width = min(8, 1 << (n_bytes - 1).bit_length())  # of a word: 1, 2, 4 or 8 bytes
    fill = ((0, 0), (0, -n_bytes % width))
    return [np.pad(codes, fill).view(f"u{width}") for codes in (A, B)]


def _distances(A, B):
    """Distances (n_a, n_b) between the rows of words A and B, Eq. (1)."""
    D = np.bitwise_count(A[:, :1] ^ B[:, 0])
    if A.shape[1] * A.itemsize > 31:  # 256 bits and more do not fit a byte
        D = D.astype(np.int16)
    for k in range(1, A.shape[1]):
        D += np.bitwise_count(A[:, k : k + 1] ^ B[:, k])
    return D


# %% [markdown]
# All distances between the queries and the database of full MNIST make a table of $10{,}000\times60{,}000$ entries. It is never needed as a whole: every measure treats one query at a time. So we work through blocks of queries, with about a million pairs in memory.


# %% tags=["export"]
_BLOCK_ENTRIES = 2**20  # query-item pairs held in memory at a time


def _row_blocks(n_rows, n_columns, entries=None):
    """Slices of rows such that a block of n_columns columns has about so many entries."""
    step = max(1, (entries or _BLOCK_ENTRIES) // n_columns)
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def hamming_distances(A: Array, B: Array) -> Array:
    """Hamming distances between all rows of A and all rows of B, Eqs. (1), (2) of notebook 02.

    Of codes (n_a, n_bits) and (n_b, n_bits), or of both packed; the result is (n_a, n_b), int16.
    """
    A, B = _words(A, B)
    D = np.empty((len(A), len(B)), dtype=np.int16)
    for rows in _row_blocks(len(A), len(B)):
        D[rows] = _distances(A[rows], B)
    return D


# %%
rng = np.random.default_rng(0)
lengths = (1, 7, 8, 9, 16, 63, 64, 65, 130, 300)
wrong = 0
for L in lengths:
    A, B = (np.where(rng.random((n, L)) < 0.5, -1, 1) for n in (9, 11))
    for a, b in ((A, B), (A > 0, B > 0), (pack_codes(A), pack_codes(B))):
        wrong += np.count_nonzero(hamming_distances(a, b) != naive_distances(A, B))
print(f"signs, booleans and bytes at {len(lengths)} lengths: {wrong} of 2,970 distances are wrong")

# %% [markdown]
# ## Rank by distance: a ranking made of ties
#
# A search sorts the database by distance. But codes of $L$ bits know only $L+1$ distances: with 32 bits and the 60,000 items of MNIST, more than 1,800 items share a distance on average. Rankings by Hamming distance are mostly ties.

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
# Two queries, 4,000 items: each bar is a group of items that the code cannot tell apart. The nearest groups, which decide what a user sees, are small; the groups in the middle hold hundreds.
#
# A ranking needs an order within each group, and here it is the **order of the database**, which a stable sort keeps. It is one order among many, so the database must not be sorted by anything that matters (Exercise 2.2). Notebook 02b averages over all orders.
#
# ## Grade a ranking: average precision
#
# Number the ranks of a query's $R$ relevant items $r_1<r_2<\dots<r_R$. At rank $r_j$ the first $r_j$ items have been seen, and $j$ of them are relevant: the **precision** there is $j/r_j$. **Average precision** (AP) is the mean of these precisions,
#
# $$ \mathrm{AP}=\frac1R\sum_{j=1}^{R}\frac{j}{r_j} \tag{3} $$
#
# and **mAP** is its mean over all queries. Take six items, of which those at ranks 1, 3 and 6 are relevant. Write down $r_j$ and $j/r_j$ for each, with pencil and paper, before you unfold the table.
#
# <details><summary>The table</summary>
#
# | $j$ | $r_j$ | $j/r_j$ |
# |---|---|---|
# | 1 | 1 | 1 |
# | 2 | 3 | 2/3 |
# | 3 | 6 | 1/2 |
#
# </details>
#
# So $\mathrm{AP}=\frac13(1+\frac23+\frac12)=\frac{13}{18}\approx0.7222$.
#
# **Stop.** Do exercise 2.A now, in [02_exercises](exercises/02_exercises.ipynb); what follows gives the answer.


# %%
def naive_average_precision(ranked):
    """Eq. (3) for one query; ranked[i] tells whether the item at rank i + 1 is relevant."""
    total, j = 0.0, 0
    for r in range(1, len(ranked) + 1):
        if ranked[r - 1]:
            j += 1
            total += j / r
    return total / max(j, 1)


six = [True, False, True, False, False, True]
print(f"AP {naive_average_precision(six):.4f}")

# %%
ranks, hits = np.arange(1, 7), np.cumsum(six)
fig, ax = plt.subplots(figsize=(6, 3))
style = {"fill": False, "hatch": "..", "edgecolor": COLOURS["blue"], "align": "edge"}
_ = ax.bar((hits[six] - 1) / 3, (hits / ranks)[six], 1 / 3, label="Eq. (3)", **style)
_ = ax.plot(hits / 3, hits / ranks, color=COLOURS["black"], marker="o", ls="", label="ranks 1 to 6")
for r in ranks:
    _ = ax.annotate(f" {r}", (hits[r - 1] / 3, hits[r - 1] / r), va="bottom")
_ = ax.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.08), ylim=(0, 1.12))
_ = ax.legend()
save_figure(fig, "02_average_precision")

# %% [markdown]
# The dots are the six ranks. Their height is the precision, and their place along the axis is the **recall**, the share of the relevant items found so far. AP is the area of the three rectangles. There is a second form of AP, which takes trapezoids instead; the mAP curves of the BDNN paper use it, and it gives lower figures for the same ranking. Notebook 02b compares the two.
#
# ### Many queries at once
#
# Only the relevant items matter, and of these only rank and count. A stable sort puts items of equal distance in the order of the database; `flatnonzero` then lists the relevant ones query by query, and `bincount` adds up what belongs to one query.


# %% tags=["export"]
def _relevant_ranks(D, R):
    """Query number, rank r and count j of every relevant item; ties in database order."""
    n_query, n_items = D.shape
    order = np.argsort(D, axis=1, kind="stable")
    order += n_items * np.arange(n_query)[:, None]  # places in R.ravel(), which is quick to index
    query, position = np.divmod(np.flatnonzero(R.ravel().take(order)), n_items)
    first = np.searchsorted(query, np.arange(n_query))  # where each query's ranks begin
    return query, position + 1, np.arange(1, len(query) + 1) - first[query]


def _sum_of_precisions(query, r, j, n_query):
    """R times the average precision of each query, Eq. (3)."""
    return np.bincount(query, weights=j / r, minlength=n_query)


# %% [markdown]
# Distances and relevance come in blocks of queries. `check_relevance` reads the ground truth in any of four forms and turns it into boolean rows:
#
# * a matrix $(n_\text{query},n_\text{database})$ of booleans, or of zeros and ones of any number type;
# * for each query the indices of its relevant items, which may be fewer for one query than for another;
# * two vectors of class labels, relevant meaning "same label";
# * two 0/1 matrices with a column for each label, where an item may have several labels: relevant means "at least one label in common".


# %% tags=["export"]
def _scan(codes_query, codes_database, relevant, k=None) -> Iterator[tuple[Array, Array]]:
    """Distances and boolean relevance of one block of queries after the other."""
    A, B = _words(codes_query, codes_database, ("codes_query", "codes_database"))
    relevance = checks.check_relevance(relevant, len(A), len(B), k)
    for rows in _row_blocks(len(A), len(B)):
        yield _distances(A[rows], B), relevance(rows)


# %%
def stable_ap(D, R):
    """AP of each query: Eq. (3) with the order of the database among ties."""
    return _sum_of_precisions(*_relevant_ranks(D, R), len(D)) / np.maximum(R.sum(axis=1), 1)


def mean_ap(codes_query, codes_database, relevant):
    """mAP over all queries."""
    blocks = _scan(codes_query, codes_database, relevant)
    return np.mean(np.concatenate([stable_ap(D, R) for D, R in blocks]))


# %%
order = np.argsort(D16, axis=1, kind="stable")
by_loop = np.mean([naive_average_precision(np.isin(o, s)) for o, s in zip(order, data.relevant)])
found = mean_ap(codes_query, codes_database, data.relevant)
print(f"16 bits: mAP {found:.4f}, by the double loop {by_loop:.4f}")
assert abs(found - by_loop) < 1e-12

# %% [markdown]
# The library's `mean_average_precision` is this mean; notebook 02b adds its options. A query to which nothing is relevant counts 0; it is not skipped in silence.
#
# ### A figure means nothing without its ground truth
#
# Here are the same codes against Euclidean neighbours and against class labels. Beside them stands what a random order gets: codes that are all alike tie everything, and the order of the database, which is shuffled here, decides.

# %%
truths = {"50 neighbours": data.relevant, "class labels": (data.labels.query, data.labels.database)}
alike = np.ones_like(codes_query), np.ones_like(codes_database)
for truth, relevant in truths.items():
    found = mean_ap(codes_query, codes_database, relevant)
    chance = mean_ap(*alike, relevant)
    print(f"{truth:13s}: mAP {100 * found:5.2f} %, random order {100 * chance:5.2f} %")

# %% [markdown]
# Against labels the codes look better in absolute terms, and worse in relation to chance.
#
# ## Look up codes: precision within radius 2
#
# With a hash table one does not rank: one looks up all codes within a small radius of the query's. These codes form a **Hamming ball**. The measure in the tables of the paper is the share of relevant items in the ball of radius $\rho=2$, averaged over the queries:
#
# $$ \mathrm P@\rho=\frac1{n_{\text{query}}}\sum_{q}\frac{|\{i\text{ relevant to }q:\ d(q,i)\le\rho\}|}{|\{i:\ d(q,i)\le\rho\}|} \tag{4} $$
#
# Each query has the same weight, however full its ball is. And what if the ball is empty? It covers $1+L+\binom L2$ of the $2^L$ possible codes: 37 of 256 with 8 bits, 137 of 65,536 with 16, and 529 of more than four billion with 32. The share falls so fast that at 24 bits and beyond many balls hold nothing. Three rules are in use: an empty ball **counts 0** (a query without an answer is a failed query), it is **left out** of the mean, or hits and ball sizes are **pooled** over all queries before one division. The published tables of BDNN follow the first rule. We know it because the figures of spectral hashing (notebook 11), which involves no chance, come out digit by digit under it at 8, 16 and 24 bits on MNIST. At 8 and 16 bits no ball is empty, and leaving out agrees as well; at 24 bits it does not, and pooling agrees at none of them. Notebook 15 sets them side by side.
#
# **Slip:** for spectral hashing with 32 bits the slides print 36.69 % where the same computation gives 37.69 %. The difference of exactly one suggests a misprint.
#
# **Stop.** Do exercise 2.B now, in [02_exercises](exercises/02_exercises.ipynb); what follows gives the answer.


# %% tags=["export"]
def _ball_counts(D, R, radius):
    """Number of items, and of relevant items, within the radius of each query."""
    ball = D <= radius
    return np.count_nonzero(ball, axis=1), np.count_nonzero(ball & R, axis=1)


def _mean_ball_precision(size, hits, empty=0.0):
    """Mean precision of balls, Eq. (4); an empty one counts ``empty``, NaN leaves it out."""
    precision = np.where(size > 0, hits / np.maximum(size, 1), empty)
    if np.isnan(empty):
        precision = precision[size > 0]
    return float(precision.mean()) if len(precision) else float("nan")


def precision_at_radius(
    codes_query: Array, codes_database: Array, relevant: Any, radius: int = 2, empty: float = 0.0
) -> float:
    """Mean over all queries of the precision within a Hamming ball, Eq. (4) of notebook 02.

    Items at most ``radius`` from the query are in its ball. ``empty`` is what a query counts whose
    ball is empty: 0 as in the published tables; NaN leaves such queries out of the mean (which is
    NaN if none is left).
    """
    checks.check_whole_number("radius", radius, 0)
    blocks = _scan(codes_query, codes_database, relevant)
    size, hits = np.concatenate([_ball_counts(D, R, radius) for D, R in blocks], axis=1)
    return _mean_ball_precision(size, hits, empty)


# %%
lengths = np.array([8, 12, 16, 20, 24, 28, 32, 40, 48])
rules = {"counts 0": [], "left out": [], "pooled": []}
empty_share = []
for L in lengths:
    blocks = _scan(*hyperplane_codes(L), data.relevant)
    size, hits = np.concatenate([_ball_counts(D, R, 2) for D, R in blocks], axis=1)
    rules["counts 0"].append(_mean_ball_precision(size, hits))
    rules["left out"].append(_mean_ball_precision(size, hits, np.nan))
    rules["pooled"].append(hits.sum() / size.sum())
    empty_share.append(np.mean(size == 0))
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
# The same codes, three stories. Left: under the rule of the paper precision climbs, peaks near 20 bits and falls, since more and more queries find nothing (right). The other two rules keep climbing towards 1, because the few queries that still have company are the easy ones. With 24 bits the rule alone doubles the figure. The peak is no property of hashing either: it moves to longer codes as the database grows, since a larger database fills more balls. Figures for 4,000 items and for 60,000 items must not be compared.
#
# **Recall@k.** In industry a code mostly picks a shortlist, which is then ranked anew by exact distances. What counts there is the share of the $k$ true nearest neighbours that the shortlist holds, whatever else is in it: the recall. `recall_at` of notebook 02b computes it.
#
# ## Judge the bits: balance and independence
#
# So far we asked what a code finds. We can also look at the bits themselves. Let $B\in\{-1,+1\}^{L\times m}$ hold the codes of $m$ samples in its columns.
#
# **Balance**: each bit divides the samples into halves. Then its mean is 0, and it carries the most information a bit can carry. We measure the mean distance from that:
#
# $$ \mathrm{balance}(B)=\frac1L\sum_{k=1}^{L}\Big|\frac1m\sum_{i=1}^{m}B_{ki}\Big| \tag{5} $$
#
# **Independence**: no bit repeats another. The matrix $\frac1mBB^\top$ has ones on its diagonal. Off the diagonal stand the mean products of two bits, 0 for bits that agree as often as they differ:
#
# $$ \mathrm{independence}(B)=\frac1{L(L-1)}\sum_{k\ne k'}\Big|\frac1m\big(BB^\top\big)_{kk'}\Big| \tag{6} $$
#
# For both, 0 is best and 1 is worst. They are the measured counterparts of two terms in the objective of BDNN, $\|\frac1mHH^\top-I\|^2$ and $\|H\mathbf 1\|^2$, which notebook 05 derives. In the code, samples stand in rows, so that $BB^\top$ is `S.T @ S`.


# %% tags=["export"]
def balance(codes: Array) -> float:
    """How far bits are from dividing the samples into halves: 0 is best, 1 worst.

    The mean over the bits of codes (n_samples, n_bits) of the absolute mean of the bit, Eq. (5) of
    notebook 02.
    """
    bits = checks.check_codes("codes", codes) > 0
    return float(np.mean(np.abs(2 * np.count_nonzero(bits, axis=0) - len(bits)) / len(bits)))


def independence(codes: Array) -> float:
    """How much bits repeat each other: 0 is best, 1 worst.

    The mean absolute entry of (1/m) B B^T off its diagonal, Eq. (6) of notebook 02; 0 for one bit.
    It is the measure behind the independence term of BDNN: entries of a covariance around 0, so a
    bit of codes (n_samples, n_bits) that hardly ever changes counts as dependent, too.
    """
    codes = checks.check_codes("codes", codes)
    m, L = codes.shape
    total = np.zeros((L, L))  # B B^T
    for rows in _row_blocks(m, L):
        S = np.where(codes[rows] > 0, 1.0, -1.0)
        total += S.T @ S
    off_diagonal = np.abs(total / m) - np.eye(L)
    return float(off_diagonal.sum() / max(L * (L - 1), 1))


# %% [markdown]
# What are they worth in retrieval? A fair answer changes one thing at a time. First balance: we keep the directions of the 16 hyperplanes and shift their thresholds, each by the same share of the spread of its projection, so that the bits become one-sided and nothing else changes. Five draws of the hyperplanes tell chance from effect.


# %%
def codes_of(W, shift=0.0):
    """Codes from the directions in the rows of W, thresholds moved by so many deviations."""
    V, V_query = (X - x_mean) @ W.T, (X_query - x_mean) @ W.T
    threshold = shift * V.std(axis=0)
    return sgn(V_query - threshold), sgn(V - threshold)


def table(name, made):
    """Print balance, independence, P@2 and mAP of several draws of codes: mean, and range."""
    rows = [
        (
            balance(codes[1]),
            independence(codes[1]),
            100 * precision_at_radius(*codes, data.relevant),
            100 * mean_ap(*codes, data.relevant),
        )
        for codes in made
    ]
    (b, i, p, q), low, high = (f(rows, axis=0) for f in (np.mean, np.min, np.max))
    spread = f"P@2 {p:4.1f} ({low[2]:.1f} to {high[2]:.1f}) %, mAP {q:4.1f} ({low[3]:.1f} to {high[3]:.1f}) %"
    print(f"{name}: balance {b:.2f}, independence {i:.2f}, {spread}")


directions = [np.random.default_rng(s).standard_normal((16, X.shape[1])) for s in range(5)]
for shift in (0.0, 0.5, 1.0, 1.5):
    table(f"shift {shift:.1f}", [codes_of(W, shift) for W in directions])

# %% [markdown]
# Unbalanced bits find less: every step loses mAP. Note that both numbers get worse together: they are 0 at best. Eq. (6) measures products around 0, not around the means, so two one-sided bits agree by that alone, and imbalance is charged twice.
#
# Now independence, with the thresholds at the mean. Each direction becomes a mixture of its own random vector and of one that all share. Every bit alone has the same distribution as before; only the dependence grows.

# %%
for share in (0.0, 0.3, 0.6, 0.9):
    mixed = [np.sqrt(1 - share) * W + np.sqrt(share) * W[:1] for W in directions]
    table(f"share {share:.1f}", [codes_of(W) for W in mixed])

# %%
eight = hyperplane_codes(8)
twice = [np.repeat(codes, 2, axis=1) for codes in eight]
fig, axes = plt.subplots(1, 3, figsize=(9, 3))
shown = {
    "16 hyperplanes": codes_database,
    "share 0.6": codes_of(np.sqrt(0.4) * directions[0] + np.sqrt(0.6) * directions[0][:1])[1],
    "8 bits, each twice": twice[1],
}
for ax, (name, codes) in zip(axes, shown.items()):
    second = codes.T @ codes / len(codes)
    image = ax.imshow(np.abs(second), vmin=0, vmax=1, extent=(0.5, 16.5, 16.5, 0.5))
    _ = ax.set(title=name, xticks=(1, 8, 16), yticks=(1, 8, 16), xlabel="bit")
_ = axes[0].set(ylabel="bit")
_ = fig.colorbar(image, ax=axes, label="$|BB^T/m|$", shrink=0.8)
save_figure(fig, "02_independence")

# %% [markdown]
# White is 0 and black is 1. Dependent bits find less, too: they are fewer bits than they seem. The extreme is on the right, where every bit is stored twice. Such a code takes 16 bits and ranks exactly like the 8 bits that it repeats:

# %%
print(f"8 bits:             mAP {100 * mean_ap(*eight, data.relevant):.2f} %")
print(f"8 bits, each twice: mAP {100 * mean_ap(*twice, data.relevant):.2f} %")

# %% [markdown]
# But balance and independence are not the aim. Bits drawn by tossing coins are balanced and independent and find nothing. Notebook 03 turns projections by a rotation that makes bits *more* dependent and finds more neighbours. Nor does Eq. (6) see everything, since it looks at *pairs*. Three bits, the third the product of the other two, pass it perfectly, although two of them decide the third.

# %%
pairs = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
parity = np.column_stack([pairs, pairs.prod(axis=1)])
print(f"bits b1, b2, b1 b2: balance {balance(parity):.1f}, independence {independence(parity):.1f}")
print(f"codes that occur: {len(np.unique(parity, axis=0))} of 8")

# %% [markdown]
# ## Report a result
#
# Many tables in the literature cannot be compared, because one of these is not said. Say them all:
#
# 1. **The split**: which vectors are training set, database and queries, and whether the queries were kept out of the other two.
# 2. **The ground truth**: $k$ Euclidean neighbours or class labels, and $k$.
# 3. **The measure**: the form of AP, how deep the ranking goes (here: the whole database), the radius.
# 4. **The rule for ties**: database order (then shuffle the database), or the expectation of notebook 02b.
# 5. **The rule for empty balls**, and the share of empty balls beside it.
# 6. **Chance**: how many seeds, and the spread between them.
#
# ## What we have now
#
# In the module `bdnn.metrics`:
#
# | name | what it gives |
# |---|---|
# | `sgn(Z)` | signs, with sgn(0) = +1 |
# | `pack_codes(codes)`, `unpack_codes(packed, n_bits)` | signs to bytes and back |
# | `hamming_distances(A, B)` | all distances, Eqs. (1) and (2), from signs, booleans or packed bytes |
# | `precision_at_radius(codes_query, codes_database, relevant, radius, empty)` | Eq. (4) |
# | `balance(codes)`, `independence(codes)` | Eqs. (5) and (6) |
# | `mean_average_precision(codes_query, codes_database, relevant)` | the mean of Eq. (3); notebook 02b |
# | `evaluate(codes_query, codes_database, relevant)` | all measures in one pass; notebook 02b |
#
# ## Questions
#
# Answer before you unfold; nothing has to be run.
#
# **Question 1.** Two codes of 32 bits have the inner product 20. How many bits differ?
#
# <details><summary>Answer</summary>
#
# By Eq. (2), $d=\frac12(32-20)=6$. Of the 32 products 26 are $+1$ and 6 are $-1$.
#
# </details>
#
# **Question 2.** Counting bits that differ has no derivative. How can a loss talk about Hamming distances all the same?
#
# <details><summary>Answer</summary>
#
# Through Eq. (2). The distance is a linear function of the inner product $\langle a,b\rangle$, and that makes sense for real vectors too, where it can be differentiated.
#
# </details>
#
# **Question 3.** The same codes of 32 bits have a precision within radius 2 of 0.1 in one program and of 0.8 in another. Name the most likely reason.
#
# <details><summary>Answer</summary>
#
# The rule for empty balls. At this length many balls hold nothing. Where they count 0, as in the published tables, the figure falls; where they are left out or the balls are pooled, only the easy queries that still have company count.
#
# </details>
#
# **Question 4.** A bit is $+1$ for 95 % of the samples, and so is another, which was drawn independently of it. Does Eq. (6) call them independent?
#
# <details><summary>Answer</summary>
#
# No. It measures mean products around 0, not around the means, so two one-sided bits agree by that alone. Imbalance is charged twice, in Eq. (5) and in Eq. (6).
#
# </details>
#
# **Question 5.** A code has balance 0 and independence 0. Is it good?
#
# <details><summary>Answer</summary>
#
# That does not follow. Bits drawn by tossing coins have both and find nothing. And Eq. (6) sees pairs only: a third bit that is the product of two others passes it.
#
# </details>
#
# ## Exercises
#
# **Write it yourself**, if you have not done so on the way: `average_precision` and `precision_in_ball`, each with a cell that checks it, in [02_exercises](exercises/02_exercises.ipynb).
#
# **2.1** (on paper) Take any ranking in which a relevant item stands directly behind one that is not, and let the two change places. Show that AP rises, and by how much. Which ranking has the largest AP, and which the smallest?
#
# <details><summary>Hint</summary> Only one summand of Eq. (3) changes: $j$ stays, $r_j$ becomes $r_j-1$. </details>
#
# **2.2** Sort the database by class label and measure the 8-bit codes against labels. What happens to mAP, and which classes profit? Nothing about the codes has changed.
#
# <details><summary>Hint</summary> `np.argsort(labels, kind="stable")`; look at the mean AP of the queries of each class. </details>
#
# **2.3** A hash table answers a query by looking into all cells of the ball, a scan by computing all distances. From how many bits on does the ball of radius 2 have more cells than a database of 60,000 has items? And for radius 3?
#
# <details><summary>Hint</summary> The number of cells is $\sum_{i\le\rho}\binom Li$. </details>
#
# **2.4** (on paper) Balance 0 and independence 0 together ask for $L$ rows of $B$ that are orthogonal to each other and to the vector of ones. How many bits can $m$ samples have at most if both are to be exactly 0? Give such codes for $m=4$.
#
# <details><summary>Hint</summary> How many orthogonal vectors does $\mathbb R^m$ hold? For $m=4$ look at the parity example. </details>
#
# ## Further reading
#
# * The measures of the paper: its section on experiments. The rule for empty balls is that of Eq. (4) with 0.
# * AP and its relatives: C. Manning, P. Raghavan and H. Schütze, "Introduction to Information Retrieval", chapter 8.
# * Notebook 02b: the trapezoid form, ties in closed form, the first $n$ items, recall of a shortlist, curves over all radii, and how the counting is made fast.
# * Next: notebook 03 learns a rotation that makes better codes than chance does.
