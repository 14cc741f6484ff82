# %% [markdown]
# # Solutions to notebook 02b: closed forms of the measures
#
# Try each exercise on paper or in a cell of your own before you read on. Equation numbers are those of notebook 02b; the standard form is Eq. (3) of notebook 02.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import numpy as np

from bdnn.data import load
from bdnn.metrics import average_precision, hamming_distances, sgn

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
# ## 2b.1 The difference between the two forms
#
# For $r_j=1$ both summands are 1. For $r_j>1$ the summand of the standard form minus that of Eq. (1) is half of
#
# $$ \frac j{r_j}-\frac{j-1}{r_j-1}=\frac{j(r_j-1)-(j-1)r_j}{r_j(r_j-1)}=\frac{r_j-j}{r_j(r_j-1)} $$
#
# which proves the formula. Since $j\ge1$, the fraction is at most $\frac{r_j-1}{r_j(r_j-1)}=\frac1{r_j}$. The ranks $r_j$ are distinct numbers from 2 to $n$, so the sum of these is at most $\frac12+\dots+\frac1n=\mathcal H_n-1$, and the difference at most $\frac1{2R}(\mathcal H_n-1)$. It shrinks with $R$: against class labels, with 400 relevant items per query, the two forms nearly agree; with 50 neighbours they do not.

# %%
D = hamming_distances(*hyperplane_codes(16))
ranked = np.take_along_axis(R, np.argsort(D, axis=1, kind="stable"), axis=1)
r = np.arange(1, D.shape[1] + 1)
j = np.cumsum(ranked, axis=1)
summands = np.where(ranked & (r > 1), (r - j) / (r * np.maximum(r - 1, 1)), 0.0)
by_formula = summands.sum(axis=1) / (2 * 50)

# %%
difference = average_precision(D, R) - average_precision(D, R, "trapezoid")
assert np.allclose(by_formula, difference, rtol=0, atol=1e-12)
bound = (np.sum(1 / r) - 1) / (2 * 50)
assert difference.max() <= bound
print(f"mean difference {100 * difference.mean():.2f} points, largest {100 * difference.max():.2f}")
print(f"bound {100 * bound:.2f} points")

# %% [markdown]
# ## 2b.2 A random ranking
#
# One group holds everything: $N=K=0$, $T=n$, $S=R$, $h=\mathcal H_n$, $a=\frac{R-1}{n-1}$. Eq. (4) divided by $R$ is
#
# $$ \mathbb E[\mathrm{AP}]=\frac1n\big[\mathcal H_n+a\,(n-\mathcal H_n)\big]=a+(1-a)\,\frac{\mathcal H_n}n $$
#
# To compare with $R/n$, go back to the sum: the summand at position $t$ is $\frac{1+(t-1)a}t=a+\frac{1-a}t$. It falls with $t$, and at the last position it equals $\frac{1+(n-1)a}n=\frac Rn$. So every summand is at least $R/n$, all but the last are greater (for $R<n$), and so is their mean. The reason is the lone 1: at a relevant rank, one relevant item is certain, namely this one; it weighs most where few items have been seen.

# %%
n, n_relevant = len(X), 50
harmonic = np.sum(1 / np.arange(1, n + 1))
a = (n_relevant - 1) / (n - 1)
expected = a + (1 - a) * harmonic / n
rng = np.random.default_rng(0)
some = R[rng.integers(0, len(R), 3000)]
shuffled = average_precision(np.zeros(some.shape, np.uint8), rng.permuted(some, axis=1))
error = shuffled.std() / np.sqrt(len(shuffled))
assert abs(shuffled.mean() - expected) < 4 * error
print(f"formula {expected:.5f}, shuffled {shuffled.mean():.5f} +- {error:.5f}, R/n {50 / n:.5f}")

# %% [markdown]
# ## 2b.3 How far a single order strays
#
# The groups before rank $n$ show all their items in every order, and those behind it none. So only the group that rank $n$ cuts varies: $s=n-N$ of its $T$ items are seen, and the number of relevant ones among them is that of $s$ draws without putting back from $T$ items of which $S$ are relevant. This is hypergeometric, with mean $sS/T$, as in Eq. (8), and variance
#
# $$ \operatorname{Var}[\mathrm P@n]=\frac1{n^2}\;s\,\frac ST\Big(1-\frac ST\Big)\frac{T-s}{T-1}\qquad(0\text{ if }T=1) $$
#
# It vanishes where rank $n$ falls between two groups ($s=T$). Within one group $s$ grows with $n$, and it falls about as $1/n$; beyond, the factor $1/n^2$ and the bounded size of the group that is cut leave little to luck in a long list.


# %%
def spread_of_precision_at(d, relevant, n):
    """Standard deviation of the precision among the first n over all orders of tied items."""
    T = np.bincount(d)
    S = np.bincount(d[relevant], minlength=len(T))
    s = np.clip(n - (np.cumsum(T) - T), 0, T)  # 0 or T but for the group that is cut
    share = S / np.maximum(T, 1)
    return np.sqrt(np.sum(s * share * (1 - share) * (T - s) / np.maximum(T - 1, 1))) / n


def sampled_precision_at(d, relevant, n, n_orders):
    """Precision among the first n for each of n_orders random orders of the database."""
    orders = rng.permuted(np.tile(np.arange(len(d)), (n_orders, 1)), axis=1)
    first = np.take_along_axis(orders, np.argsort(d[orders], axis=1, kind="stable")[:, :n], axis=1)
    return relevant[first].mean(axis=1)


# %%
for n in (5, 20, 100, 500):
    closed = spread_of_precision_at(D[0], R[0], n)
    sampled = sampled_precision_at(D[0], R[0], n, 2000).std()
    assert abs(sampled - closed) < 0.1 * closed
    print(f"first {n:3d}: standard deviation {closed:.4f}, of 2,000 orders {sampled:.4f}")
