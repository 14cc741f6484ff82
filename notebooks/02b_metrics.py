# %% [markdown]
# # Closed forms of the measures
#
# This notebook is off the path: nothing from 03 to 10 needs it. Read it when you want to know what stands behind a published figure, or how the measures of the library are computed exactly and quickly.
#
# **What you will do.** You complete the measures of notebook 02: the second form of average precision, rankings cut after $k$ items, ties without luck, recall of a shortlist, and curves over all radii.
#
# **What you will learn**
#
# * why the trapezoid form of average precision is lower, and by how much;
# * the expected average precision over all orders of tied items, in closed form;
# * two denominators of mAP@k, and why figures that use different ones cannot be compared;
# * two meanings of recall@k;
# * how counting takes the place of sorting.
#
# **What you need.** Notebook 02; expectations, binomial coefficients. About 75 minutes to read, about 15 seconds to run.
#
# | symbol | meaning |
# |---|---|
# | $r_j$ | rank of the $j$-th of the $R$ relevant items of a query |
# | $T$, $S$ | items, and relevant items, at one distance from a query |
# | $N$, $K$ | items, and relevant items, that are nearer |
# | $\mathcal H_i$ | harmonic number $1+\frac12+\dots+\frac1i$ |
# | $n$, $k$ | length of a list, number of true neighbours |

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% [markdown]
# ## Integrate by trapezoids: the second form of average precision
#
# Notebook 02 takes the mean of the precisions at the relevant ranks, Eq. (3) of notebook 02: the area of rectangles under the curve of precision over recall. The evaluation program of the Oxford Buildings Dataset, which the authors of BDNN use for their mAP curves, integrates the same curve by the **trapezoid rule**. Between the recalls $(j-1)/R$ and $j/R$ it takes the mean of the precision just before the relevant item and at it:
#
# $$ \mathrm{AP}_{\text{trapezoid}}=\frac1R\sum_{j=1}^{R}\frac12\Big(\frac{j-1}{r_j-1}+\frac{j}{r_j}\Big),\qquad\text{the first fraction being 1 where } r_j=1 \tag{1} $$
#
# The six items of notebook 02, of which those at ranks 1, 3 and 6 are relevant, now need two more columns:
#
# | $j$ | $r_j$ | $j/r_j$ | $(j-1)/(r_j-1)$ | mean of both |
# |---|---|---|---|---|
# | 1 | 1 | 1 | 1 (by convention) | 1 |
# | 2 | 3 | 2/3 | 1/2 | 7/12 |
# | 3 | 6 | 1/2 | 2/5 | 9/20 |
#
# So $\mathrm{AP}_{\text{trapezoid}}=\frac13(1+\frac7{12}+\frac9{20})=\frac{61}{90}\approx0.6778$, where the standard form gave $\frac{13}{18}\approx0.7222$.

# %%
import itertools
import time

import matplotlib.pyplot as plt
import numpy as np
from numpy import ndarray as Array

from bdnn.course.plotting import COLOURS, MARKERS, save_figure
from bdnn.data import load

six = np.array([True, False, True, False, False, True])
ranks, hits = np.arange(1, 7), np.cumsum(six)
fig, ax = plt.subplots(figsize=(6, 3.2))
style = {"fill": False, "hatch": "..", "edgecolor": COLOURS["blue"], "align": "edge"}
_ = ax.bar((hits[six] - 1) / 3, (hits / ranks)[six], 1 / 3, label="standard: rectangles", **style)
curve = [(0, 1), *zip(hits / 3, hits / ranks)]
_ = ax.plot(*zip(*curve), color=COLOURS["vermillion"], ls="--", label="Eq. (1): trapezoids")
_ = ax.plot(*zip(*curve[1:]), color=COLOURS["black"], marker="o", ls="", label="ranks 1 to 6")
for r in ranks:
    _ = ax.annotate(f" {r}", (hits[r - 1] / 3, hits[r - 1] / r), va="bottom")
_ = ax.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.08), ylim=(0, 1.12))
_ = ax.legend()
save_figure(fig, "02b_trapezoids")

# %% [markdown]
# The dots are the six ranks. At an irrelevant item the dashed curve drops straight down; at a relevant one it moves to the right. The standard form is the area of the rectangles, Eq. (1) the area below the dashed curve.
#
# **Why the trapezoid is lower.** $j\le r_j$ implies $(j-1)\,r_j\le j\,(r_j-1)$, hence $\frac{j-1}{r_j-1}\le\frac j{r_j}$: each summand of Eq. (1) is at most that of the standard form, with equality only as long as everything seen is relevant. A trapezoid figure laid beside an ordinary one loses before the race begins.
#
# From notebook 02 we take ranks and counts of the relevant items (`_relevant_ranks`), the sum of the standard form, and the blocks of distances and relevance (`_scan`).

# %%
from typing import Any

from bdnn import checks
from bdnn.metrics import (
    _distances,
    _mean_ball_precision,
    _relevant_ranks,
    _row_blocks,
    _scan,
    _sum_of_precisions,
    _words,
    balance,
    hamming_distances,
    independence,
    precision_at_radius,
    sgn,
)


# %% tags=["export"]
def _sum_of_trapezoids(query, r, j, n_query):
    """R times the average precision of each query in trapezoid form, Eq. (1) of notebook 02b."""
    before = np.where(r == 1, 1.0, (j - 1) / np.maximum(r - 1, 1))
    return np.bincount(query, weights=(before + j / r) / 2, minlength=n_query)


# %%
data = load("mnist5k")
X, X_query = data.database.astype(np.float64), data.query.astype(np.float64)
R_knn = np.zeros((len(X_query), len(X)), dtype=bool)  # relevance as a matrix
np.put_along_axis(R_knn, data.relevant.astype(np.int64), True, axis=1)


def hyperplane_codes(L, seed=0):
    """Codes (n_query, L) and (n_database, L) from L random hyperplanes, as in notebook 02."""
    W = np.random.default_rng(seed).standard_normal((L, X.shape[1]))
    return sgn((X_query - X.mean(axis=0)) @ W.T), sgn((X - X.mean(axis=0)) @ W.T)


# %%
for L in (8, 16, 32, 64):
    relevant_ranks = _relevant_ranks(hamming_distances(*hyperplane_codes(L)), R_knn)
    standard, trapezoid = (
        100 * np.mean(total(*relevant_ranks, len(R_knn))) / 50
        for total in (_sum_of_precisions, _sum_of_trapezoids)
    )
    gap = standard - trapezoid
    print(f"{L:2d} bits: mAP {standard:.2f} %, by trapezoids {trapezoid:.2f} %, gap {gap:.2f}")

# %% [markdown]
# The gap depends on the code and on the data: here it is 0.4 to 0.7 points. That is as much as separates neighbouring rows of many tables. Exercise 2b.1 bounds it.
#
# ## Average over ties: the expected average precision
#
# The order of the database is one order among many. Nothing in the codes prefers it. How far can AP move if tied items change places? The extremes are easy: let relevant items win all ties, or lose them all. Adding half a unit to the distance of the losers does it; as our distances are whole numbers, we double them and add 1.

# %%
for L in (8, 16, 32, 64):
    D = 2 * hamming_distances(*hyperplane_codes(L))
    orders = (D + R_knn, D, D + ~R_knn)
    ap = [_sum_of_precisions(*_relevant_ranks(d, R_knn), len(D)) / 50 for d in orders]
    values = [100 * np.mean(row) for row in ap]
    print("{:2d} bits: mAP {:5.2f} % worst, {:5.2f} % as stored, {:5.2f} % best".format(L, *values))

# %% [markdown]
# With 8 bits the same codes may claim anything from 4.2 to 18.4 %. A database that is stored class by class gets such a gift without anybody's intention (Exercise 2.2 of notebook 02). The remedy is to average over *all* orders of the tied items. This needs no sampling: it has a closed form.
#
# Sort the items into groups of equal distance and look at one group of one query. It has $T$ items, $S\ge1$ of them relevant; $N$ items are nearer, $K$ of them relevant. The group fills the ranks $N+1,\dots,N+T$ in an order drawn uniformly from all $T!$.
#
# **Step 1: which position holds a relevant item?** By symmetry every item is equally likely to stand at position $t$ of the group:
#
# $$ \Pr[\text{position } t \text{ is relevant}]=\frac ST \tag{2} $$
#
# **Step 2: how many relevant items came before?** Given that position $t$ holds a relevant item, the other $T-1$ items, of which $S-1$ are relevant, fill the other positions in uniformly random order. The number of relevant items among the $t-1$ positions before is hypergeometric. Its mean is the number of draws times the share of relevant items:
#
# $$ \mathbb E\big[\text{relevant before } t \,\big|\, t \text{ relevant}\big]=(t-1)\,a,\qquad a=\frac{S-1}{T-1}\quad(a=0\text{ if }T=1) \tag{3} $$
#
# **Step 3: the sum.** If position $t$ is relevant, its rank is $r=N+t$ (not random) and its count is $j=K+1+\text{(relevant before)}$. As the denominator is fixed, the expectation of $j/r$ needs only the mean from Eq. (3). Let the ranking be cut after the first $s\le T$ positions of the group; $s=T$ if it is not cut. Write $t-1=(N+t)-(N+1)$ and $h=\sum_{t=1}^s\frac1{N+t}$. Then the group contributes to $\mathbb E\sum_j j/r_j$
#
# $$ \frac ST\sum_{t=1}^{s}\frac{K+1+(t-1)\,a}{N+t}=\frac ST\Big[(K+1)\,h+a\,\big(s-(N+1)\,h\big)\Big] \tag{4} $$
#
# With harmonic numbers, tabulated once, $h=\mathcal H_{N+s}-\mathcal H_N$ costs one subtraction.
#
# **Step 4: the trapezoid form** needs in addition the precision before each relevant item, $(j-1)/(r-1)$. In the same way, with $t-1=(N+t-1)-N$ and $h'=\mathcal H_{N+s-1}-\mathcal H_{N-1}$,
#
# $$ \frac ST\sum_{t=1}^{s}\frac{K+(t-1)\,a}{N+t-1}=\frac ST\Big[K\,h'+a\,\big(s-N\,h'\big)\Big]\qquad(N>0) \tag{5} $$
#
# For the nearest group, $N=K=0$, the first position counts 1 by convention and each of the others $a$: together $1+(s-1)\,a$ in place of the bracket.
#
# So the number of items $T$ and of relevant items $S$ at each distance tell everything; nothing has to be sorted. The sum over the groups divided by $R$ is the expected AP, and since expectations add, the mean over queries is the expected mAP.


# %% tags=["export"]
def _tie_counts(D, R):
    """Number of items T and of relevant items S of each query at each distance."""
    n_bins = int(D.max()) + 1
    T = [np.bincount(distances, minlength=n_bins) for distances in D]
    S = [np.bincount(distances[hits], minlength=n_bins) for distances, hits in zip(D, R)]
    return np.stack(T), np.stack(S)


def _expected_sum(T, S, form, top):
    """Expectation of the sum of precisions over all orders of tied items; ranks up to top count.

    The closed forms are Eqs. (4) and (5) of notebook 02b, for all queries and distances at once.
    """
    N, K = np.cumsum(T, axis=1) - T, np.cumsum(S, axis=1) - S  # items, relevant items nearer
    s = np.clip(top - N, 0, T)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, T[0].sum() + 1))])
    a = (S - 1) / np.maximum(T - 1, 1)
    h = harmonic[N + s] - harmonic[N]
    total = (K + 1) * h + a * (s - (N + 1) * h)  # Eq. (4)
    if form == "trapezoid":
        h = harmonic[np.maximum(N + s - 1, 0)] - harmonic[np.maximum(N - 1, 0)]
        before = np.where(N == 0, 1 + (s - 1) * a, K * h + a * (s - N * h))  # Eq. (5)
        total = (before + total) / 2
    return np.sum(np.where((S > 0) & (s > 0), S / np.maximum(T, 1) * total, 0.0), axis=1)


# %% [markdown]
# ## Cut the ranking: mAP@k and its two denominators
#
# Many papers look at the first $k$ items only: mAP@1000, mAP@5000. The sum then stops at rank $k$, and what to divide it by is no longer obvious. Let $R_k$ be the number of relevant items among the first $k$. Two denominators are in use:
#
# $$ \mathrm{AP}@k=\frac1{\min(R,k)}\sum_{j:\,r_j\le k}\frac j{r_j}\qquad\text{or}\qquad\frac1{R_k}\sum_{j:\,r_j\le k}\frac j{r_j} \tag{6} $$
#
# The first divides by what a list of $k$ items **could** hold, as the function `apk` of the package `ml_metrics` does, which competitions on Kaggle use, and NVIDIA's Transformers4Rec. The second divides by what was **found**: so do the programs of HashNet and the collection DeepHash-pytorch, and with them the figures of many papers on hashing. The second has a flaw, which users of both programs have pointed out: relevant items that are missing cost nothing. Of three items, the ranking "relevant, not, not" has AP@3 = 1, and "relevant, not, relevant" only 5/6, although it found more.
#
# So the library divides by $\min(R,k)$ unless it is asked for `denominator="found"`, which is needed to lay a figure beside those of the hashing literature. With $k$ as large as the database, both are the AP of the whole ranking. Under `"found"` numerator and denominator both depend on the order of the ties, and the closed form above does not hold.


# %% tags=["export"]
def _check_options(form="standard", ties="stable", top=None, denominator="possible"):
    """Raise a ValueError unless the options of a measure are known and fit each other."""
    checks.check_option("form", form, ("standard", "trapezoid"))
    checks.check_option("ties", ties, ("stable", "expected"))
    checks.check_option("denominator", denominator, ("possible", "found"))
    if top is not None:
        checks.check_whole_number("top", top, 1)
    if ties == "expected" and denominator == "found":
        raise ValueError("denominator='found' has no closed form: it needs ties='stable'")


def average_precision(
    D: Array,
    R: Array,
    form: str = "standard",
    ties: str = "stable",
    top: int | None = None,
    denominator: str = "possible",
) -> Array:
    """Average precision (AP) of each query; one without any relevant item counts 0.

    Parameters
    ----------
    D, R : arrays (n_query, n_database)
        Distances, whole numbers, by which the items are ranked; relevance, booleans or 0 and 1.
    form : {"standard", "trapezoid"}
        Mean precision at the relevant ranks, Eq. (3) of notebook 02, or the trapezoid rule of the
        Oxford Buildings evaluation, Eq. (1) of notebook 02b, as in the published curves of BDNN.
    ties : {"stable", "expected"}
        By Eqs. (4) and (5) of notebook 02b.
    top : int or None
        Only the first `top` items of the ranking count: AP@k. None: all of them.
    denominator : {"possible", "found"}
        What the sum of AP@k is divided by, Eq. (6) of notebook 02b. "possible": the relevant items
        that the list could hold, min(R, top), as ml_metrics does. "found": those that it holds, as
        the programs of HashNet and DeepHash-pytorch do, and with them many papers on hashing; it
        forgives what is missing, and needs ties="stable".
    """
    _check_options(form, ties, top, denominator)
    D, R = np.asarray(D), checks.check_zero_one("R", R)
    if D.shape != R.shape or D.ndim != 2 or 0 in D.shape:
        raise ValueError(f"D {D.shape} and R {R.shape} must be matrices of one shape")
    if D.dtype.kind not in "iu" or D.min() < 0:
        raise ValueError("D must hold whole numbers from 0 on: Hamming distances")
    top = D.shape[1] if top is None else top
    n_relevant = np.minimum(np.count_nonzero(R, axis=1), top)
    if ties == "expected":
        T, S = _tie_counts(D, R)
        total = _expected_sum(T, S, form, top)
    else:
        query, r, j = _relevant_ranks(D, R)
        seen = r <= top
        add = _sum_of_trapezoids if form == "trapezoid" else _sum_of_precisions
        total = add(query[seen], r[seen], j[seen], len(D))
        if denominator == "found":
            n_relevant = np.bincount(query[seen], minlength=len(D))
    return total / np.maximum(n_relevant, 1)


# %%
for name in ("found", "possible"):
    more, less = (
        average_precision(np.arange(4)[None], [[*row, *rest]], top=3, denominator=name)[0]
        for row, rest in (([1, 0, 1], [0]), ([1, 0, 0], [1]))
    )
    print(f"{name:8s}: both relevant items in the first three {more:.3f}, one of them {less:.3f}")


# %% tags=["export"]
def mean_average_precision(
    codes_query: Array,
    codes_database: Array,
    relevant: Any,
    form: str = "standard",
    ties: str = "stable",
    top: int | None = None,
    denominator: str = "possible",
) -> float:
    """Mean over all queries of :func:`average_precision` (mAP); mAP@k with ``top=k``.

    Codes, and the forms that `relevant` may have, are described at the head of the module.
    """
    options = (form, ties, top, denominator)
    _check_options(*options)
    blocks = _scan(codes_query, codes_database, relevant)
    return float(np.mean(np.concatenate([average_precision(D, R, *options) for D, R in blocks])))


# %%
codes_query, codes_database = hyperplane_codes(16)
truths = {"50 neighbours": data.relevant, "class labels": (data.labels.query, data.labels.database)}
for truth, relevant in truths.items():
    for top in (100, 1000, 4000):
        possible, found = (
            mean_average_precision(
                codes_query, codes_database, relevant, top=top, denominator=denominator
            )
            for denominator in ("possible", "found")
        )
        print(f"{truth:13s}: mAP@{top:<4d} possible {possible:.3f}, found {found:.3f}")

# %% [markdown]
# Same codes, same ranking: mAP@100 is two and a half to three times as large with the second denominator as with the first. A table that prints mAP@k without it says little.
#
# ## Check the closed form
#
# First the strictest test there is: small rankings with ties, where all orders of the items can be written out. Each of the $6!$ orders is a database in its own right, ranked with stable ties.


# %%
def enumerated(d, relevant, form, top):
    """Mean of the stable AP over all orders of the database."""
    orders = np.array(list(itertools.permutations(range(len(d)))))
    return average_precision(d[orders], relevant[orders], form, top=top).mean()


# %%
rng = np.random.default_rng(0)
worst_gap = 0.0
for _ in range(50):
    d, relevant_six = rng.integers(0, 3, 6), rng.random(6) < 0.5
    for form, top in itertools.product(("standard", "trapezoid"), (2, 4, 6)):
        closed = average_precision(d[None], relevant_six[None], form, "expected", top)[0]
        worst_gap = max(worst_gap, abs(closed - enumerated(d, relevant_six, form, top)))
assert worst_gap < 1e-14
print("50 random rankings, both forms, cut at 2, 4 and 6: the gap is rounding, below 1e-14")

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
    (closed, "vermillion", "--", "expected, Eq. (4)"),
    (stored, "black", ":", "as stored"),
):
    _ = ax.axvline(value, color=COLOURS[colour], ls=style, label=label)
_ = ax.set(xlabel="AP of query 0 at 8 bits", ylabel="orders of the database")
_ = ax.legend()
save_figure(fig, "02b_expected_ap")

# %% [markdown]
# One query's AP under 2,000 orders of the same database: the spread is luck, not quality. The small hump on the right are the orders in which a relevant item happens to stand first. The dashed line from Eq. (4) sits at the mean of the histogram; the order in which the data happen to be stored (dotted) is one more draw. Over 1,000 queries the luck mostly averages out, so the stable rule is usable as long as the database is shuffled.
#
# ## Look at the first $n$: precision and recall of a list
#
# A page of results shows the first $n$ items, however far away they are. No ball can be empty then; only the ties within the one group that rank $n$ cuts through are left to luck. The **precision among the first $n$** is
#
# $$ \mathrm P@n=\frac1{n_{\text{query}}}\sum_{q}\frac{|\{i\text{ relevant to }q:\ i\text{ among the first } n\}|}{n} \tag{7} $$
#
# In the order of the database this counts the ranks up to $n$. Averaged over all orders of the tied items, a group behind $N$ nearer items shows its first $s=\min(\max(n-N,0),T)$ positions, and by Eq. (2) each of them holds a relevant item with probability $S/T$:
#
# $$ \mathbb E[\mathrm P@n]=\frac1{n_{\text{query}}}\sum_{q}\frac1n\sum_{\text{groups}}s\,\frac ST \tag{8} $$
#
# A database of fewer than $n$ items has no first $n$. The function then takes the whole database, which says nothing about the code, and warns.
#
# **Recall of a shortlist.** Where a code only picks a shortlist that is ranked anew by exact distances, the question is how many of the $k$ true nearest neighbours are in it:
#
# $$ \mathrm R=\frac1{n_{\text{query}}}\sum_{q}\frac{|\{i\text{ among the } k \text{ nearest to }q:\ i\text{ among the first } n\}|}{k} \tag{9} $$
#
# The literature calls this $k$-recall@$n$, and says "recall@$n$" for two special cases. In the papers on product quantisation and in the benchmarks of faiss, R@$n$ is 1-recall@$n$: is *the* nearest neighbour in a list of $n$? In ann-benchmarks recall is $n$-recall@$n$: which share of the true $n$ nearest is among the $n$ returned? At equal $n$ the second asks for more. Both are the same function, `recall_at` with `k=1` or with `k=n`.


# %% tags=["export"]
def _first_hits(D, R, n, ties):
    """Relevant items among the first n of each query; their expectation is Eq. (8)."""
    if ties == "stable":
        query, r, _ = _relevant_ranks(D, R)
        return np.bincount(query[r <= n], minlength=len(D))
    T, S = _tie_counts(D, R)
    s = np.clip(n - (np.cumsum(T, axis=1) - T), 0, T)
    return np.sum(s * S / np.maximum(T, 1), axis=1)


def precision_at(
    codes_query: Array, codes_database: Array, relevant: Any, n: int = 500, ties: str = "stable"
) -> float:
    """Mean over all queries of the precision among the first n items, Eq. (7) of notebook 02b.

    Its expectation over ties is Eq. (8). A database of fewer than n items is looked at as a whole,
    with a warning: the result is then the share of relevant items, whatever the codes.
    """
    _check_options(ties=ties)
    checks.check_whole_number("n", n, 1)
    n = checks.capped("n", n, len(codes_database))
    blocks = _scan(codes_query, codes_database, relevant)
    return float(np.mean(np.concatenate([_first_hits(D, R, n, ties) for D, R in blocks])) / n)


def recall_at(
    codes_query: Array,
    codes_database: Array,
    relevant: Any,
    k: int | None = None,
    shortlist: int = 100,
    ties: str = "stable",
) -> float:
    """Share of the k nearest neighbours among the first items by code, Eq. (9) of notebook 02b.

    If k is given, ``relevant`` must hold the indices of the neighbours of each query, nearest
    first, as :func:`bdnn.data.nearest_neighbours` gives them. ``k=1`` is 1-recall@n, which faiss
    reports; ``k=shortlist`` is n-recall@n, which ann-benchmarks reports; None looks for all that is
    relevant. A query with fewer than k neighbours is judged by those it has; one without counts 0.
    """
    _check_options(ties=ties)
    checks.check_whole_number("shortlist", shortlist, 1)
    if k is not None:
        checks.check_whole_number("k", k, 1)
    recall = [
        _first_hits(D, R, shortlist, ties) / np.maximum(np.count_nonzero(R, axis=1), 1)
        for D, R in _scan(codes_query, codes_database, relevant, k)
    ]
    return float(np.mean(np.concatenate(recall)))


# %% [markdown]
# The checks: Eq. (7) by a double loop over sorted items, and Eq. (8) against 300 random orders of the database.


# %%
def naive_precision_at(D, R, n):
    """Eq. (7): sort, look at the first n, count."""
    order = [sorted(range(len(d)), key=lambda i: (d[i], i))[:n] for d in D.tolist()]
    return np.mean([sum(relevant[i] for i in first) / n for first, relevant in zip(order, R)])


# %%
few = slice(0, 20)
D_few, R_few = hamming_distances(codes_query[few], codes_database), R_knn[few]
for n in (1, 50, 500):
    stored = precision_at(codes_query[few], codes_database, R_few, n)
    loop = naive_precision_at(D_few, R_few, n)
    assert abs(stored - loop) < 1e-12
    closed = precision_at(codes_query[few], codes_database, R_few, n, ties="expected")
    orders = [rng.permutation(len(X)) for _ in range(300)]
    means = [_first_hits(D_few[:, o], R_few[:, o], n, "stable").mean() / n for o in orders]
    error = np.std(means) / np.sqrt(len(orders))
    assert abs(np.mean(means) - closed) < 4 * error + 1e-12
    print(f"first {n:3d}: stored {stored:.4f}, loop {loop:.4f}; expected {closed:.4f}, ", end="")
    print(f"300 orders {np.mean(means):.4f} +- {error:.5f}")

# %% [markdown]
# A perfect code reaches 1 only if a query has at least $n$ relevant items; with $R$ of them, $\min(R,n)/n$ is all that can be had. So $\mathrm P@500$ belongs to class labels:

# %%
per_class = np.bincount(data.labels.database)[data.labels.query]
n_relevant = {"50 neighbours": np.array([50]), "class labels": per_class}
for truth, relevant in truths.items():
    for n in (50, 500):
        found = precision_at(codes_query, codes_database, relevant, n)
        most = np.minimum(n_relevant[truth], n).mean() / n
        print(f"{truth:13s}: P@{n:<3d} {100 * found:5.2f} % of at most {100 * most:5.1f} %")

# %%
fig, ax = plt.subplots(figsize=(6, 3.4))
lists = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
for L, marker in zip((16, 64), MARKERS):
    codes = hyperplane_codes(L)
    for k, style in ((1, "-"), (10, "--")):
        recall = [recall_at(*codes, data.relevant, k=k, shortlist=n) for n in lists]
        _ = ax.plot(lists, recall, ls=style, marker=marker, label=f"{L} bits, {k}-recall")
        print(
            f"{L} bits, {k:2d}-recall@10 {recall[3]:.3f}, @100 {recall[6]:.3f}, @1000 {recall[9]:.3f}"
        )
_ = ax.set(xscale="log", xlabel="length $n$ of the shortlist", ylabel="recall", ylim=(0, 1))
_ = ax.legend()
save_figure(fig, "02b_recall")

# %% [markdown]
# The nearest neighbour is easier to keep than the ten nearest: its curve lies above. Read the figure from the right: with 64 bits a shortlist of 1,000, a quarter of the database, keeps nearly all neighbours, so that exact distances need to be computed for a quarter of the items only.
#
# ## Draw the curve over all radii
#
# One radius is one point. A ball of radius $\rho$ finds more of what is relevant the larger it is, and what it finds is less pure. The share found is the recall within the ball
#
# $$ \mathrm R@\rho=\frac1{n_{\text{query}}}\sum_{q}\frac{|\{i\text{ relevant to }q:\ d(q,i)\le\rho\}|}{|\{i\text{ relevant to }q\}|} \tag{10} $$
#
# and the points $(\mathrm R@\rho,\mathrm P@\rho)$ for $\rho=0,\dots,L$ are the **precision-recall curve** of a code: $L+1$ points, exact, since a distance takes no other values. Empty balls count 0 as in Eq. (4) of notebook 02, so the curve passes through the figure of the tables at $\rho=2$. It starts low where many balls of radius 0 are empty, and ends at recall 1 with the precision of the whole database. The counts of ties hold all of it.


# %% tags=["export"]
def _ball_curves(T, S, L):
    """Precision and recall, Eq. (10), of the balls of radius 0 to L, each (n_query, L + 1)."""
    radii = np.minimum(np.arange(L + 1), T.shape[1] - 1)  # the largest distance's ball holds all
    size, hits = (np.cumsum(counts, axis=1)[:, radii] for counts in (T, S))
    return hits / np.maximum(size, 1), hits / np.maximum(hits[:, -1:], 1)


# %%
fig, ax = plt.subplots()
for L, marker in zip((8, 16, 32, 64), MARKERS):
    codes = hyperplane_codes(L)
    counts = _tie_counts(hamming_distances(*codes), R_knn)
    precision, recall = np.mean(_ball_curves(*counts, L), axis=1)
    assert abs(precision[2] - precision_at_radius(*codes, data.relevant)) < 1e-12
    _ = ax.plot(recall, precision, marker=marker, label=f"{L} bits")
    _ = ax.plot(recall[2], precision[2], marker="o", ms=12, mfc="none", color="black", ls="")
    print(f"{L:2d} bits, radius 2: precision {precision[2]:.4f}, recall {recall[2]:.4f}")
_ = ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=0)
_ = ax.legend()
save_figure(fig, "02b_precision_recall")

# %% [markdown]
# Rings mark radius 2. For recall above a tenth the longer code is better everywhere, and yet radius 2 lies at the left end of the curve for 32 and 64 bits, where most balls are empty: the table entry says how many balls are filled rather than how good the ranking is.
#
# ## Find the nearest codes by counting
#
# A program that answers a query wants the items themselves: all that are in the ball, or the $k$ nearest. For the ball we take so few queries at a time that their distances stay in the processor's cache, and keep the rows where the comparison holds.
#
# For the $k$ nearest nobody needs to sort 60,000 distances. The $k$-th smallest distance among the first few thousand items bounds the $k$-th smallest of all from above. What lies within that bound is a short list, and only this list is sorted.


# %% tags=["export"]
_CACHED_ENTRIES = 2**18  # query-item pairs whose distances, a byte each, stay in the cache


def items_within(A: Array, B: Array, radius: int = 2) -> list[Array]:
    """The items of a Hamming ball around every query: what a lookup by hash code finds.

    A list with an array of int64 for each row of A: the rows of B at most ``radius`` away, in
    increasing order.
    """
    checks.check_whole_number("radius", radius, 0)
    A, B = _words(A, B)
    found: list[Array] = []
    for rows in _row_blocks(len(A), len(B), _CACHED_ENTRIES):
        found += map(np.flatnonzero, _distances(A[rows], B) <= radius)
    return found


def _nearest(A, B, k):
    """Rows of B and distances (n_query, k) of the k nearest words; of equal ones the lower row."""
    D = _distances(A, B)
    n_query, n_items = D.shape
    some = min(n_items, max(2048, 8 * k))
    bound = np.partition(D[:, :some], k - 1, axis=1)[:, k - 1 : k]
    query, item = np.divmod(np.flatnonzero(D <= bound), n_items)  # in database order
    d = D[query, item].astype(np.int16)
    order = np.lexsort((d, query))  # stable
    first = np.searchsorted(query, np.arange(n_query))  # where the items of each query begin
    chosen = order[first[:, None] + np.arange(k)]
    return item[chosen], d[chosen]


# %% [markdown]
# A loop is faster still: pass over the database once, note an item only if it is nearer than the $k$-th so far, and put the notes in order by counting. Python is too slow for such a loop. `bdnn.engine.compiled` has it for the compiler numba, an optional extra (`fast`), which compiles it once on a machine. `_compiled` takes the function of the same name from there where numba is installed and where there are enough pairs to repay about a second of loading. The results are the same.


# %% tags=["export"]
# Query-item pairs: fewer are counted before numba is loaded.
_WORTH_COMPILING = {"_ranked_counts": 10**8, "_nearest": 5 * 10**8}


def _compiled(plain, n_pairs):
    """The function itself, or its twin in `engine.compiled` where that pays and numba is there."""
    if n_pairs < _WORTH_COMPILING[plain.__name__]:
        return plain
    try:
        from bdnn.engine import compiled
    except (ImportError, RuntimeError):  # no numba, none for this NumPy, or no place for its cache
        return plain
    return getattr(compiled, plain.__name__.lstrip("_"))


def nearest(A: Array, B: Array, k: int) -> tuple[Array, Array]:
    """The k nearest rows of B to every row of A by Hamming distance.

    Indices and distances, arrays (n_query, k) of int64 and int16, nearest first; of equal distances
    the lower row first. B has at least k rows.
    """
    checks.check_whole_number("k", k, 1)
    A, B = _words(A, B)
    if k > len(B):
        raise ValueError(f"k={k} is more than the {len(B)} items of B")
    find = _compiled(_nearest, len(A) * len(B))
    blocks = _row_blocks(len(A), len(B), _CACHED_ENTRIES)
    indices, distances = zip(*(find(A[rows], B, k) for rows in blocks))
    return np.concatenate(indices), np.concatenate(distances)


# %%
codes = hyperplane_codes(24)
D, balls = hamming_distances(*codes), items_within(*codes, radius=2)
indices, distances = nearest(*codes, k=10)
by_sort = np.argsort(D, axis=1, kind="stable")[:, :10]
wrong = sum(not np.array_equal(np.flatnonzero(d <= 2), items) for d, items in zip(D, balls))
print(f"balls that differ from a scan: {wrong} of {len(D)}")
print(f"rows of 10 nearest that differ from a sort: {np.sum(np.any(indices != by_sort, axis=1))}")
print("nearest to query 0:", *(f"{i} ({d})" for i, d in zip(indices[0, :5], distances[0])))

# %% tags=["nbval-ignore-output"]
start = time.perf_counter()
np.argsort(hamming_distances(*codes), axis=1, kind="stable")[:, :10]
middle = time.perf_counter()
nearest(*codes, k=10)
end = time.perf_counter()
print(f"sort all: {(middle - start) / D.size * 1e9:.1f} ns per pair, ", end="")
print(f"bound first: {(end - middle) / D.size * 1e9:.1f} ns per pair")

# %% [markdown]
# ## Measure everything in one pass
#
# For tables we want all measures, and the distances only once. Here are the counts and sums of one block, from which all of them follow. This, too, is mostly a sort, and has a twin that counts: for full MNIST, 600 million pairs, it is several times faster, and the same to the last bit, since it adds in the same order.


# %% tags=["export"]
def _ranked_counts(D, R, n):
    """T and S of each query, relevant items among the first n, sums of precisions in both forms."""
    query, r, j = _relevant_ranks(D, R)
    hits = np.bincount(query[r <= n], minlength=len(D))
    sums = [total(query, r, j, len(D)) for total in (_sum_of_precisions, _sum_of_trapezoids)]
    return *_tie_counts(D, R), hits, *sums


def evaluate(
    codes_query: Array,
    codes_database: Array,
    relevant: Any,
    radius: int = 2,
    curves: bool = False,
    top: int | None = None,
) -> dict[str, Any]:
    """All measures of the course in one pass over the distances.

    With many pairs and numba installed the ranking is compiled: the results are the same bits.
    Arguments are described at the head of the module. Codes are not packed, since balance and
    independence need to know the number of bits.

    Returns
    -------
    dict
        ``precision_at_2`` (or another ``radius``; an empty ball counts 0), ``precision_at_500`` (of
        a database with fewer than 500 items, over all of them), ``map_standard`` and
        ``map_trapezoid``, all with ties in database order; ``map_expected`` (standard form,
        expectation over ties), ``empty_share`` (queries with an empty ball), ``balance`` and
        ``independence`` of the database codes. All are fractions from 0 to 1. With ``top=k`` also
        ``map_at_k``, as :func:`mean_average_precision` gives it by default, in a pass of its own;
        with ``curves`` also ``precision_by_radius`` and ``recall_by_radius``, Eq. (10) of notebook
        02b: arrays (n_bits + 1,); a query without any relevant item counts 0 in both.
    """
    checks.check_whole_number("radius", radius, 0)
    measures = {"balance": balance(codes_database), "independence": independence(codes_database)}
    if top is not None:
        name = f"map_at_{top}"
        measures[name] = mean_average_precision(codes_query, codes_database, relevant, top=top)
    (n_items, L), n_query = np.shape(codes_database), len(codes_query)
    count = _compiled(_ranked_counts, n_query * n_items)
    rows, by_radius = [], np.zeros((2, L + 1))
    for D, R in _scan(codes_query, codes_database, relevant):
        T, S, hits, *sums = count(D, R, min(500, n_items))
        size, within = (counts[:, : radius + 1].sum(axis=1) for counts in (T, S))
        expected = _expected_sum(T, S, "standard", n_items)
        ap = np.array([*sums, expected]) / np.maximum(S.sum(axis=1), 1)
        rows.append(np.vstack([size, within, hits, ap]))
        by_radius += np.sum(_ball_curves(T, S, L), axis=1) / n_query
    size, within, hits, standard, trapezoid, expected = np.concatenate(rows, axis=1)
    if curves:
        measures |= {"precision_by_radius": by_radius[0], "recall_by_radius": by_radius[1]}
    return {
        f"precision_at_{radius}": _mean_ball_precision(size, within),
        "precision_at_500": float(hits.mean() / min(500, n_items)),
        "map_standard": float(standard.mean()),
        "map_trapezoid": float(trapezoid.mean()),
        "map_expected": float(expected.mean()),
        "empty_share": float(np.mean(size == 0)),
        **measures,
    }


# %%
table = {L: evaluate(*hyperplane_codes(L), data.relevant) for L in (8, 16, 32, 64)}
for name in table[8]:
    print(f"{name:16s}", *(f"{100 * row[name]:7.2f}" for row in table.values()))

# %% [markdown]
# All figures in percent, for 8, 16, 32 and 64 random hyperplanes. Read the columns from left to right: mAP and precision among the first 500 grow from each length to the next, precision within radius 2 rises to 16 bits and then collapses as the balls run empty, and the trapezoid form stays below the standard form.
#
# One draw of hyperplanes is an anecdote. Here are five of them:

# %%
seeds = [evaluate(*hyperplane_codes(16, s), data.relevant) for s in range(5)]
for name in ("map_expected", "precision_at_2"):
    values = [100 * row[name] for row in seeds]
    print(f"{name:14s}: mean {np.mean(values):.2f}, from {min(values):.2f} to {max(values):.2f} %")

# %% [markdown]
# ## What we have now
#
# With the functions of notebook 02, the module `bdnn.metrics` is complete:
#
# | name | what it gives |
# |---|---|
# | `average_precision(D, R, form, ties, top, denominator)` | AP per query, Eqs. (1), (4), (5) and (6) |
# | `mean_average_precision(codes_query, codes_database, relevant, ...)` | its mean, with the same options |
# | `precision_at(codes_query, codes_database, relevant, n, ties)` | Eqs. (7) and (8) |
# | `recall_at(codes_query, codes_database, relevant, k, shortlist, ties)` | Eq. (9) |
# | `items_within(A, B, radius)`, `nearest(A, B, k)` | the items of the ball, the $k$ nearest items |
# | `evaluate(codes_query, codes_database, relevant, radius, curves, top)` | all measures in one pass; with `curves`, Eq. (10) for all radii |
#
# ## Exercises
#
# **2b.1** (on paper) Show that the standard form minus Eq. (1) is $\frac1{2R}\sum_{j:\,r_j>1}\frac{r_j-j}{r_j(r_j-1)}$. Conclude that it is at most $\frac1{2R}\big(\mathcal H_n-1\big)$ for a database of $n$ items. Then compute it from the ranks of the 16-bit codes above and compare with the two mAP values.
#
# <details><summary>Hint</summary> Bring the two fractions to a common denominator. For the bound, drop $j$ down to 1 and let the sum run over all ranks from 2 on. </details>
#
# **2b.2** (on paper) What does Eq. (4) say if all $n$ items tie, that is, if the ranking is random? Write the expected AP with $R$ relevant items in terms of $\mathcal H_n$, and show that it is greater than $R/n$. Check it by shuffling.
#
# <details><summary>Hint</summary> One group: $N=K=0$, $T=s=n$, $S=R$. For the comparison look at the lone summand in which an item counts itself. </details>
#
# **2b.3** (on paper, harder) Eq. (8) is a mean over all orders of the tied items. How far does a single order stray from it? Write the variance of one query's precision among the first $n$ in closed form, and compare it with random orders of the database.
#
# <details><summary>Hint</summary> Only one group is cut by rank $n$; of it the first $n-N$ positions are seen. The number of relevant items there is hypergeometric, too. </details>
#
# ## Further reading
#
# * The idea behind Eqs. (2) to (5): F. McSherry and M. Najork, "Computing information retrieval performance measures efficiently in the presence of tied scores", ECIR 2008.
# * Eq. (1): the program `compute_ap` that comes with the Oxford Buildings Dataset (J. Philbin, R. Arandjelović and A. Zisserman).
# * Eq. (6), the two denominators: issue 25 of thuml/HashNet and issue 33 of swuxyj/DeepHash-pytorch on GitHub, where users compare them.
# * What mAP and precision at a radius leave out: Q.-Y. Jiang, M.-W. Li and W.-J. Li, "On the Evaluation Metric for Hashing", arXiv 1905.10951.
# * Eq. (9) with $k=1$: H. Jégou, M. Douze and C. Schmid, "Product Quantization for Nearest Neighbor Search", IEEE PAMI 2011.
