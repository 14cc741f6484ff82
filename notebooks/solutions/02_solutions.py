# %% [markdown]
# # Solutions to notebook 02: retrieval
#
# Try each exercise on paper or in a cell of your own before you read on. Equation numbers are those of notebook 02.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
from math import comb

import numpy as np

from bdnn.data import load
from bdnn.metrics import average_precision, balance, hamming_distances, independence, sgn

# %% [markdown]
# ## 2.1 Two neighbours change places
#
# Let the relevant item be the $j$-th and stand at rank $r_j=r$, directly behind one that is not. After the exchange it stands at rank $r-1$, still as the $j$-th, and no other relevant item moves. So one summand of Eq. (3) changes, and AP grows by
#
# $$ \frac1R\Big(\frac j{r-1}-\frac jr\Big)=\frac1R\,\frac j{r(r-1)}>0 $$
#
# An exchange at the top of the ranking is worth most. As long as some relevant item stands directly behind one that is not, AP can grow. So the largest AP belongs to the ranking with all relevant items first, where it is 1. By the same steps backwards the smallest belongs to the ranking with all of them last, where of $n$ items it is $\frac1R\sum_{j=1}^R\frac j{n-R+j}$, which is not 0.

# %%
rank = np.arange(6)[None]  # six items without ties
before, after = np.array([[1, 0, 1, 0, 0, 1]]), np.array([[1, 0, 1, 0, 1, 0]])
gain = average_precision(rank, after)[0] - average_precision(rank, before)[0]
print(f"the third relevant item from rank 6 to 5: AP grows by {gain:.4f} = 1/30")

# %%
data = load("mnist5k")
X, X_query = data.database.astype(np.float64), data.query.astype(np.float64)
R = np.zeros((len(X_query), len(X)), dtype=bool)
np.put_along_axis(R, data.relevant.astype(np.int64), True, axis=1)


def hyperplane_codes(L, seed=0):
    """The random hyperplanes of notebook 02."""
    W = np.random.default_rng(seed).standard_normal((L, X.shape[1]))
    return sgn((X_query - X.mean(axis=0)) @ W.T), sgn((X - X.mean(axis=0)) @ W.T)


# %% [markdown]
# ## 2.2 A database sorted by class
#
# Ties in the order of the database depend on that order. In a sorted database, the items of class 0 win every tie and those of class 9 lose every tie. Queries of the first classes see their relevant items moved to the front of each group, and their AP rises.

# %%
codes_query, codes = hyperplane_codes(8)
labels_query, labels = data.labels.query, data.labels.database
by_class = np.argsort(labels, kind="stable")
stored, moved = (
    average_precision(
        hamming_distances(codes_query, codes[order]), labels_query[:, None] == labels[order]
    )
    for order in (np.arange(len(X)), by_class)
)
print(f"mAP as stored {100 * stored.mean():.2f} %, sorted by class {100 * moved.mean():.2f} %")

# %%
gain = [100 * (moved - stored)[labels_query == c].mean() for c in range(10)]
print("points gained by digits 0 to 9:", *(f"{g:.1f}" for g in gain))

# %% [markdown]
# The mean rises although nothing was found better: the lucky classes gain more than the unlucky ones lose, because AP rewards the first ranks most. So shuffle the database, or average over all orders of the ties, as notebook 02b does.
#
# ## 2.3 Cells against items

# %%
for radius in (2, 3):
    cells = {L: sum(comb(L, i) for i in range(radius + 1)) for L in range(1, 400)}
    first = min(L for L in cells if cells[L] > 60_000)
    print(f"radius {radius}: {first} bits, {cells[first]:,} cells; at 32 bits {cells[32]:,} cells")

# %% [markdown]
# With radius 2 the ball stays cheaper than a scan of 60,000 items up to several hundred bits, but with radius 3 only up to about 70. The number of cells grows like $L^\rho/\rho!$, and nearly all of them are empty: at 32 bits $60{,}000$ items occupy at most a share of $1.4\cdot10^{-5}$ of all cells.

# %% [markdown]
# ## 2.4 How many bits can be perfect
#
# The $L$ rows of $B$ and the vector of ones are $L+1$ orthogonal vectors in $\mathbb R^m$, none of them 0. So $L+1\le m$: at most $m-1$ bits. For $m=4$ that is three, and the parity code of notebook 02 has them: $b_1$, $b_2$ and $b_1b_2$.

# %%
b1, b2 = np.array([-1, -1, 1, 1]), np.array([-1, 1, -1, 1])
codes = np.column_stack([b1, b2, b1 * b2])
print(f"3 bits, 4 samples: balance {balance(codes):.1f}, independence {independence(codes):.1f}")
print(np.column_stack([codes, np.ones(4, int)]).T @ np.column_stack([codes, np.ones(4, int)]))

# %% [markdown]
# The last matrix holds the inner products of the three rows of $B$ and the ones: 4 on the diagonal, 0 elsewhere. With 4,000 samples there is room for thousands of such bits. Few of them would find neighbours: both measures ask nothing about the data.
