# %% [markdown]
# # Hash without a network: waves, balls, cells and an autoencoder
#
# **Off the path.** No later notebook rests on this one. It derives the unsupervised methods of the paper's tables: read it when you want to know what UH-BDNN is compared with.
#
# **What you will do.** You derive, build and check the four unsupervised methods that the BDNN paper compares itself with besides ITQ: spectral hashing, spherical hashing, K-means hashing and the binary autoencoder.
#
# **What you will learn**
#
# * how a graph cut over all pairs of samples turns into a handful of cosines;
# * why balls with median radii make balanced bits, and how forces between their centres make the bits uncorrelated;
# * how the centres of K-means get names such that close centres have close names;
# * how codes became variables before BDNN, with hyperplanes in the place of the network;
# * how good all this is, measured, and which of it BDNN kept.
#
# **What you need.** Notebooks 02, 03, 07 and 08. About 90 minutes to read, with the derivations; under a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""Classical unsupervised methods: spectral, spherical, K-means hashing, binary autoencoder.

Samples stand in columns in the functions, X is (D, m), and in rows at the face of the estimators.
What these share are parameters and attributes::

    n_bits, dtype  length L of the code; "float32" or "float64", the precision of the arithmetic
    random_state   int, Generator, RandomState or None; draws samples and start
    verbose        show a progress bar
    codes_         (n_samples, n_bits), int8, of the training samples
    n_iter_        rounds made

Sources: Weiss, Torralba and Fergus, "Spectral Hashing", NIPS 2008; Heo, Lee, He, Chang and Yoon,
"Spherical Hashing", CVPR 2012; He, Wen and Sun, "K-means Hashing", CVPR 2013; Carreira-Perpinan
and Raziperchikolaei, "Hashing with Binary Autoencoders", CVPR 2015.
"""

import itertools
from dataclasses import KW_ONLY, dataclass
from numbers import Integral

import numpy as np
from numpy import ndarray as Array
from numpy.typing import DTypeLike
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.svm import LinearSVC
from tqdm import tqdm

from bdnn.dcc import coordinate_descent
from bdnn.hashing import Hasher, Seed, as_generator, at_least
from bdnn.itq import itq_rotation, principal_directions, range_scaling
from bdnn.losses import reconstruction
from bdnn.metrics import sgn
from bdnn.uh_bdnn import ridge_decoder

# %%
import matplotlib.pyplot as plt
from scipy.optimize import minimize
from sklearn.cluster import KMeans

from bdnn import ITQ
from bdnn.data import load
from bdnn.metrics import balance, evaluate, independence
from bdnn.course.plotting import COLOURS, MARKERS, save_figure
from bdnn.course.records import read_folder, usual_runs

# %% [markdown]
# All evidence in this notebook comes from small cases that can be worked out in another way, and from the 5,000 embedded MNIST digits. Grey values stay as they are, from 0 to 255: no method here needs another scale but the autoencoder, which makes its own.

# %%
data = load("mnist5k")
X, X_query = (Z.T.astype(np.float64) for Z in (data.train, data.query))
D, m = X.shape
mean, P = principal_directions(X, 64)
V = P.T @ X
print(f"X: {D} dimensions, {m:,} samples in columns; V: the first {len(V)} principal coordinates")

# %% [markdown]
# ## Spectral hashing: the wish
#
# What should a code do? Spectral hashing (SH, 2008) says it in one line. Let $a_{ij}\ge0$ be large where $x_i$ and $x_j$ are close, say $a_{ij}=\exp(-\|x_i-x_j\|^2/\varepsilon^2)$. Then
#
# $$ \min_{B\in\{-1,1\}^{L\times m}}\ \sum_{i,j}a_{ij}\|b_i-b_j\|^2\qquad\text{subject to}\quad B\mathbf 1=0,\quad\tfrac1mBB^\top=I . \tag{1} $$
#
# Close samples get close codes; every bit is balanced; no two bits are correlated. These are the wishes of BDNN as well, where the last two are its terms with $\lambda_4$ and $\lambda_3$; here they are constraints. To write (1) with matrices let $G=\operatorname{diag}(A\mathbf 1)-A$, the **graph Laplacian**. For a single bit, a row $b^\top$ of $B$,
#
# $$ \sum_{i,j}a_{ij}(b_i-b_j)^2=\sum_{i,j}a_{ij}(b_i^2+b_j^2)-2\sum_{i,j}a_{ij}b_ib_j=2\,b^\top\operatorname{diag}(A\mathbf 1)\,b-2\,b^\top A\,b=2\,b^\top Gb , \tag{2} $$
#
# so that (1) minimises $2\operatorname{tr}(BGB^\top)$. One bit alone is already hard: it is the cut of a graph in two equal halves across which as little affinity runs as possible, a classic NP-hard problem. So drop the signs. For real rows $h$ the minimum of $h^\top Gh$ under $h^\top\mathbf 1=0$ and $\frac1mh^\top h=1$ is an eigenvector: $G\mathbf 1=0$ takes the eigenvalue 0, which balance forbids, and the $L$ rows are the eigenvectors of the next smallest eigenvalues. The relaxed minimum is a lower bound for the true one. On 14 images every balanced bit can be tried:


# %%
def affinities(X, eps):
    squares = np.sum((X[:, :, None] - X[:, None, :]) ** 2, axis=0)
    return np.exp(-squares / eps**2)


def laplacian(A):
    return np.diag(A.sum(axis=1)) - A


def balanced_bits(n):
    """Every way to give n/2 of n samples a +1, the first sample among them."""
    for others in itertools.combinations(range(1, n), n // 2 - 1):
        b = -np.ones(n)
        b[[0, *others]] = 1
        yield b


# %%
G = laplacian(affinities(V[:, ::300], 1500.0))
n = len(G)
values, vectors = np.linalg.eigh(G)
rounded = np.where(vectors[:, 1] >= np.median(vectors[:, 1]), 1.0, -1.0)

# %%
cost, best = min(((b @ G @ b, b) for b in balanced_bits(n)), key=lambda pair: pair[0])
assert n * values[1] <= cost <= rounded @ G @ rounded
print(f"{n} images, {sum(1 for _ in balanced_bits(n))} balanced bits")
print(f"relaxed {n * values[1]:.3f} <= best bit {cost:.3f} <= rounded {rounded @ G @ rounded:.3f}")

# %% [markdown]
# ## From eigenvectors to waves
#
# The relaxation has two faults: an $m\times m$ matrix, and no code for an image that is not in it. SH's answer is to **assume a distribution** for which the eigenvectors are known as functions. Take one dimension, and samples that fill an interval $[0,R]$ evenly. Let the row $h$ hold the values $f(x_i)$ of a function. With many samples and a small $\varepsilon$ only close pairs count, there $f(x_i)-f(x_j)\approx f'(x_i)(x_i-x_j)$, and up to a constant factor the sum (2) becomes the integral in
#
# $$ \min_f\int_0^Rf'(x)^2\,\mathrm dx\qquad\text{subject to}\quad\int_0^Rf=0,\quad\tfrac1R\int_0^Rf^2=1 . \tag{3} $$
#
# *Derive the solutions.* With a multiplier $\mu$ for the second constraint, a small change $\delta f$ of a minimiser must not change $\int f'^2-\mu f^2$ at first order. Integrate by parts:
#
# $$ 0=\int_0^R\big(f'\,\delta f'-\mu f\,\delta f\big)\mathrm dx=\Big[f'\,\delta f\Big]_0^R-\int_0^R\big(f''+\mu f\big)\,\delta f\,\mathrm dx . \tag{4} $$
#
# This holds for every $\delta f$, so both parts vanish by themselves: $-f''=\mu f$ inside, and $f'(0)=f'(R)=0$ at the ends. (No condition was put on $f$ at the ends; the minimum chooses this one.) With $\mu=\omega^2$ the equation is solved by $\cos\omega x$ and $\sin\omega x$; $f'(0)=0$ leaves the cosine, and $f'(R)=-\omega\sin\omega R=0$ leaves
#
# $$ f_k(x)=\cos(\omega_kx),\qquad\omega_k=\frac{k\pi}R,\qquad\mu_k=\omega_k^2,\qquad k=0,1,2,\dots \tag{5} $$
#
# Wave $k$ puts $k$ half waves into the interval. $k=0$ is the constant, which balance excludes; all others have mean 0 and are orthogonal to each other.
#
# Two checks against explicit matrices. First a graph in which everything is known: a chain of $N$ points, each joined to its neighbours. At the middles of $N$ equal cells of $[0,R]$ the cosines (5) are its eigenvectors **exactly**, with eigenvalues $2-2\cos\frac{k\pi}N$, which for small $k/N$ are $\omega_k^2$ in units of the cell:

# %%
N = 50
chain = laplacian(np.eye(N, k=1) + np.eye(N, k=-1))
values, vectors = np.linalg.eigh(chain)
k = np.arange(N)
x = (np.arange(N) + 0.5) / N
waves = np.cos(np.pi * np.outer(x, k))

# %%
assert np.allclose(values, 2 - 2 * np.cos(np.pi * k / N), atol=1e-12)
cosine = np.sum(waves * vectors, axis=0) / np.linalg.norm(waves, axis=0)
assert np.allclose(np.abs(cosine), 1, atol=1e-9)
ratios = values[1:5] * N**2 / (np.pi * k[1:5]) ** 2
print("eigenvalue over omega^2:", *(f"{ratio:.4f}" for ratio in ratios))

# %% [markdown]
# Then the case that the argument is about: affinities between 1,000 points that are drawn at random.

# %%
x = np.sort(np.random.default_rng(0).random(1000))
_, vectors = np.linalg.eigh(laplacian(affinities(x[None], 0.1)))
waves = np.cos(np.pi * np.outer(x, np.arange(5)))
vectors = vectors[:, :5] * np.sqrt(500) * np.sign(np.sum(vectors[:, :5] * waves, axis=0))

# %%
for k in range(1, 4):
    r = np.corrcoef(vectors[:, k], waves[:, k])[0, 1]
    print(f"eigenvector {k}: correlation with cos({k} pi x) {r:.3f}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3), width_ratios=(3, 2))
for k, colour in zip((1, 2, 3), COLOURS.values()):
    _ = axes[0].plot(x[::20], vectors[::20, k], MARKERS[k], color=colour, ls="", ms=4)
    _ = axes[0].plot(x, waves[:, k], color=colour, label=f"$k={k}$")
_ = axes[0].set(xlabel="$x$", ylim=(-1.9, 2.4), title="eigenvectors (marks), cosines (lines)")
_ = axes[0].legend(loc="upper center", ncols=3)
_ = axes[1].hist(V[0], bins=40, color="0.75", density=True)
low, high = V[0].min(), V[0].max()
_ = axes[1].plot([low, low, high, high], [0, 1 / (high - low), 1 / (high - low), 0], "--")
_ = axes[1].set(xlabel="first principal coordinate of the digits", yticks=[], ylabel="density")
save_figure(fig, "11_waves")

# %% [markdown]
# Left: the marks follow the lines, apart from an effect of the ends, where a point has neighbours on one side only. The bits are the signs: wave 1 cuts the interval in the middle, wave 2 tells the inner half from the outer quarters, and so on. Right: what the digits look like along their first principal direction, and the even density that SH assumes there (dashed). It is no good fit, and the rest of this section lives with it.
#
# ## Many dimensions: a box
#
# Now let samples fill a box with sides $R_1,\dots,R_r$. In (3) the integrand becomes $\|\nabla f\|^2$ and in (4) $f''$ becomes $\sum_j\partial^2f/\partial x_j^2$. A product $f(x)=\prod_j\cos(\omega_jx_j)$ with $\omega_j=k_j\pi/R_j$ solves it, since each second derivative only multiplies it by $-\omega_j^2$:
#
# $$ \mu=\sum_j\omega_j^2=\sum_j\Big(\frac{k_j\pi}{R_j}\Big)^2 . \tag{6} $$
#
# The Laplacian of a grid is a sum of chains, and its spectrum says the same:

# %%
rows, columns = 12, 7
chains = [laplacian(np.eye(N, k=1) + np.eye(N, k=-1)) for N in (rows, columns)]
grid = np.kron(chains[0], np.eye(columns)) + np.kron(np.eye(rows), chains[1])
parts = [2 - 2 * np.cos(np.pi * np.arange(N) / N) for N in (rows, columns)]

# %%
assert np.allclose(np.linalg.eigvalsh(grid), np.sort(np.add.outer(*parts).ravel()), atol=1e-12)
wave = np.outer(*(np.cos(np.pi * 2 * (np.arange(N) + 0.5) / N) for N in (rows, columns))).ravel()
assert np.allclose(grid @ wave, (parts[0][2] + parts[1][2]) * wave)
print(f"all {rows * columns} eigenvalues of the grid are sums of two eigenvalues of chains")

# %% [markdown]
# **No products.** The sign of a product is the product of the signs. A bit $\operatorname{sgn}(\cos\omega_1x_1\cos\omega_2x_2)$ is known as soon as the bits of its two factors are: it is uncorrelated with each of them, as (1) asks, and yet says nothing new. And the factors have smaller $\mu$, so they are always among the bits before it. SH therefore keeps waves along a single direction: the $L$ smallest $\omega=k\pi/R_j$ over all $k\ge1$ and $j$.
#
# How far must $k$ go? Along the longest side alone there are $L$ waves with $\omega\le L\pi/R_{\max}$. So none of the $L$ smallest has a larger $\omega$, hence $k\le LR_j/R_{\max}\le L$, and a table of $L$ rows is enough.


# %% tags=["export"]
def slowest_waves(R: Array, L: int) -> tuple[Array, Array]:
    """The L slowest waves along the sides R (r,) of a box: the smallest omega = k pi / R_j.

    Numbers k (L,) of half waves, from 1 on, and the sides j (L,) that they run along: Eqs. (5) and
    (6) of notebook 11. Along a side of 0 there is no wave; one side at least is positive.
    """
    with np.errstate(divide="ignore"):
        omega = np.pi * np.arange(1, L + 1)[:, None] / R
    k, j = np.unravel_index(np.argsort(omega, axis=None, kind="stable")[:L], omega.shape)
    return k + 1, j


# %% [markdown]
# Checked against a count of *all* waves in a box of four random sides, products included, far beyond the last one that can matter: drop the products, sort, compare.

# %%
for seed in range(20):
    R = np.random.default_rng(seed).uniform(1, 4, size=4)
    everything = [
        (np.sum((np.array(ks) / R) ** 2), ks) for ks in itertools.product(range(9), repeat=4)
    ]
    single = sorted(mu for mu, ks in everything if np.count_nonzero(ks) == 1)
    k, j = slowest_waves(R, 8)
    assert np.allclose(single[:8], (k / R[j]) ** 2)
print("20 random boxes: the eight slowest waves are those of the full enumeration")

# %% [markdown]
# Which box? SH takes the principal directions of notebook 03, as many as bits, and along each the range of the training samples, $R_j=\max_iv_{ji}-\min_iv_{ji}$. With $\operatorname{lo}_j=\min_iv_{ji}$ a bit is
#
# $$ b=\operatorname{sgn}\cos\big(\omega\,(p_j^\top x-\operatorname{lo}_j)\big)=\operatorname{sgn}\cos(w^\top x+c),\qquad w=\omega\,p_j,\quad c=-\omega\operatorname{lo}_j . \tag{7} $$
#
# So SH is a network of a single layer: linear, with a cosine as its activation, and weights that are found in closed form. Nothing is drawn at random and nothing is iterated.


# %% tags=["export"]
@dataclass(eq=False, repr=False)
class SpectralHashing(Hasher):
    """Spectral hashing: signs of the slowest waves along principal directions.

    Weiss, Torralba and Fergus, NIPS 2008; derived in notebook 11. Deterministic: there is no
    random_state.

    Parameters
    ----------
    n_bits, dtype : see :mod:`bdnn.baselines.classical`

    Attributes
    ----------
    W_, c_ : arrays (n_bits, n_features), (n_bits, 1)
        The hash function: sgn(cos(W_ x + c_)), Eq. (7) of notebook 11.
    half_waves_, directions_ : arrays (n_bits,), int
        Number of half waves of each bit, and the principal direction that it runs along.
    history_ : list
        Empty: nothing is iterated.
    """

    n_bits: int = 16
    _: KW_ONLY
    dtype: DTypeLike = "float32"

    def _fit(self, X, y):
        _, P = principal_directions(X, min(self.n_bits, len(X)))
        V = P.T.astype(X.dtype) @ X
        low, R = V.min(axis=1).astype(np.float64), np.ptp(V, axis=1).astype(np.float64)
        if not R.any():
            R[:] = 1.0  # samples that are all the same: any box will do
        k, j = slowest_waves(R, self.n_bits)
        omega = np.pi * k / R[j]
        self.W_ = (omega * P[:, j]).T.astype(X.dtype)
        self.c_ = -(omega * low[j])[:, None].astype(X.dtype)
        self.half_waves_, self.directions_ = k, j
        self.history_ = []

    def _project(self, X):
        return np.cos(self.W_ @ X + self.c_)


# %%
sh = SpectralHashing(16, dtype="float64").fit(X.T)
k, j = sh.half_waves_, sh.directions_
box = (V - V.min(axis=1, keepdims=True)) / np.ptp(V, axis=1, keepdims=True)  # the unit box
assert np.array_equal(sgn(np.cos(np.pi * k[:, None] * box[j])), sh.codes_.T)

# %%
for L in (8, 16, 32, 64):
    est = SpectralHashing(L, dtype="float64").fit(X.T)
    n_directions, most = len(np.unique(est.directions_)), est.half_waves_.max()
    print(f"{L:2d} bits: along {n_directions:2d} directions, at most {most} half waves")

# %% [markdown]
# A direction gets its second wave before another one gets its first only where its range is more than twice as large. On digits the ranges fall slowly: up to 16 bits each direction has a single cut, in the middle of its range, and only the longer codes know a second wave. Is the cut in the middle a balanced one? It would be if the box were evenly filled.

# %%
rng = np.random.default_rng(0)
even = rng.random((4, 20_000)) * np.array([[8.0], [5], [3], [2]])
for name, samples in (("a box", even), ("digits", X)):
    codes = SpectralHashing(8, dtype="float64").fit(samples.T).codes_
    print(f"8 bits on {name}: imbalance {balance(codes):.3f}, dependence {independence(codes):.3f}")

# %% [markdown]
# Where the assumption holds the bits are balanced, and uncorrelated but for an effect of the signs (Exercise 11.1). On real data that is only roughly true: a single image far out stretches a range and moves the cut (Exercise 11.2).
#
# ## Spherical hashing: bits that are balls
#
# A hyperplane divides space in two unbounded halves. Spherical hashing (SpH, 2012) lets bit $k$ say whether $x$ lies inside a ball with centre $p_k$ and radius $r_k$:
#
# $$ b_k=\operatorname{sgn}\big(r_k-\|x-p_k\|\big) . \tag{8} $$
#
# Several bits that are $+1$ at once confine $x$ to an intersection of balls, a small bounded region; it takes $D+1$ half spaces to bound anything in $D$ dimensions.
#
# No objective of similarity stands behind it. What SpH asks for are the two constraints of (1), **balance and independence, and nothing else**: of $m$ samples half lie in each ball, and a quarter in both of any two,
#
# $$ \#\{i:b_{ki}=1\}=\tfrac m2,\qquad o_{kl}=\#\{i:b_{ki}=b_{li}=1\}=\tfrac m4\quad(k\ne l) . \tag{9} $$
#
# **The step for balance** is exact: given the centre, let $r_k$ be the **median** of the distances $\|x_i-p_k\|$.
#
# **The second demand in terms of codes.** If both bits are balanced, $o_{kl}$ samples are in both balls, $\frac m2-o_{kl}$ in the first alone, as many in the second alone, and so $o_{kl}$ in none. The product $b_{ki}b_{li}$ is $+1$ for $2o_{kl}$ of the samples and $-1$ for $m-2o_{kl}$:
#
# $$ r_{kl}=\frac1m\sum_ib_{ki}b_{li}=\frac{4\,o_{kl}}m-1=\frac{o_{kl}-m/4}{m/4} . \tag{10} $$
#
# The relative error of an overlap *is* the correlation of the two bits, the entry of $\frac1mBB^\top$ that BDNN's independence term squares.
#
# **The step for independence.** Two balls that overlap too much should move apart, two that overlap too little should approach. So ball $l$ exerts on the centre of ball $k$ the force
#
# $$ f_{k\leftarrow l}=\tfrac12\,r_{kl}\,(p_k-p_l),\qquad p_k\leftarrow p_k+\frac1L\sum_lf_{k\leftarrow l} , \tag{11} $$
#
# the mean of all forces on it. After the move the radii are set anew. With the centres as the columns of $P\in\mathbb R^{D\times L}$ and the symmetric matrix $r=(r_{kl})$, 0 on its diagonal, the sum in column $k$ is $\frac12\big(p_k\sum_lr_{kl}-\sum_lp_lr_{kl}\big)$, that is
#
# $$ P\leftarrow P+\tfrac1{2L}\,P\,\big(\operatorname{diag}(r\mathbf 1)-r\big) . \tag{12} $$
#
# You know the bracket: it is the Laplacian (2) of the graph in which the bits are the nodes and their correlations the affinities. By (2) $\sum_{k,l}r_{kl}\|p_k-p_l\|^2=2\operatorname{tr}\big(P\,(\operatorname{diag}(r\mathbf 1)-r)\,P^\top\big)$, whose gradient in $P$ is four times the product in (12). The forces therefore climb on that sum: centres of correlated balls apart, centres of anticorrelated ones together. It is a climb with $r$ held fixed for a step, then counted anew; that it ends in equilibrium is what one observes; we know no proof.


# %% tags=["export"]
def bit_correlations(B: Array) -> Array:
    """1/m B B^T with zeros on the diagonal (L, L), for codes B (L, m): Eq. (10) of notebook 11."""
    B = B.astype(np.float32)  # sums of +1 and -1: exact up to 16 million samples
    r = (B @ B.T).astype(np.float64) / B.shape[1]
    np.fill_diagonal(r, 0)
    return r


def repel(P: Array, r: Array) -> Array:
    """Move the centres P (D, L) by the mean forces between them, Eq. (12) of notebook 11."""
    return P + P @ (np.diag(r.sum(axis=1)) - r) / (2 * len(r))


# %% [markdown]
# By hand: four samples at 0, 1, 2, 3 on a line, centres at 0 and 0.9. The distances from the first are 0, 1, 2, 3 with median 1.5; from the second 0.9, 0.1, 1.1, 2.1 with median 1. Both balls hold the samples 0 and 1: $o_{12}=2$ where $m/4=1$ is asked for, so $r_{12}=1$. The force on the first centre is $\frac12\cdot1\cdot(0-0.9)=-0.45$, over $L=2$ makes a move of $-0.225$; the second moves by $+0.225$. Then on random balls: overlaps counted one by one, forces added up pair by pair.

# %%
line, centres = np.array([[0.0, 1, 2, 3]]), np.array([[0.0, 0.9]])
distances = euclidean_distances(centres.T, line.T)
radii = np.median(distances, axis=1, keepdims=True)
r = bit_correlations(sgn(radii - distances))

# %%
moved = repel(centres, r)
assert np.allclose(radii[:, 0], [1.5, 1.0]) and r[0, 1] == 1
assert np.allclose(moved, [[-0.225, 1.125]])
print(f"radii {radii[0, 0]:.1f} and {radii[1, 0]:.1f}, centres {moved[0, 0]} and {moved[0, 1]}")


# %%
def naive_forces(P, inside):
    """Eq. (11), ball by ball and pair by pair; inside: for each ball the set of its samples."""
    moved, L = P.copy(), P.shape[1]
    for k, l in itertools.permutations(range(L), 2):
        error = (len(inside[k] & inside[l]) - 500 / 4) / (500 / 4)
        moved[:, k] += error / 2 * (P[:, k] - P[:, l]) / L
    return moved


# %%
for seed in range(5):
    rng = np.random.default_rng(seed)
    cloud, centres = rng.standard_normal((3, 500)), rng.standard_normal((3, 6))
    distances = np.array([[np.linalg.norm(x - p) for x in cloud.T] for p in centres.T])
    radii = np.median(distances, axis=1, keepdims=True)
    inside = [set(np.flatnonzero(row <= radius)) for row, radius in zip(distances, radii)]
    assert all(len(samples) == 250 for samples in inside)
    r = bit_correlations(sgn(radii - euclidean_distances(centres.T, cloud.T)))
    assert np.allclose(repel(centres, r), naive_forces(centres, inside))
    assert np.allclose(repel(centres, r).sum(axis=1), centres.sum(axis=1))
print("five random cases: balanced, the same moves, and the mean of the centres stays")

# %% [markdown]
# A closed form, too. Seen from far away a large ball is a half space, and for half spaces through the middle of a normal cloud the correlation of the bits is known: with an angle $\theta$ between the two directions the signs differ with probability $\theta/\pi$, so $r=1-2\theta/\pi$.

# %%
cloud = np.random.default_rng(0).standard_normal((2, 100_000))
for degrees in (30, 60, 120, 150):
    theta = np.radians(degrees)
    far = 1000 * np.array([[1, np.cos(theta)], [0, np.sin(theta)]])
    distances = euclidean_distances(far.T, cloud.T)
    r = bit_correlations(sgn(np.median(distances, axis=1, keepdims=True) - distances))[0, 1]
    assert abs(r - (1 - 2 * theta / np.pi)) < 0.01
    print(f"{degrees:3d} degrees: counted {r:+.2f}, closed form {1 - 2 * theta / np.pi:+.2f}")

# %% [markdown]
# ## The equilibrium
#
# A run starts from centres that are means of five samples each, drawn at random, and stops when the correlations are small enough: mean of $|r_{kl}|$ over the pairs at most 0.1, and their standard deviation at most 0.15, the authors' tolerances. A subset of 20,000 samples is enough to count on.
#
# **Departure:** the authors' program goes on until the tolerances are met. Where no equilibrium exists, say with 64 balls in the plane, it would never end; ours stops after `max_iter` moves and keeps the state that came closest. Whenever the tolerances are met the two are the same.


# %% tags=["export"]
_SAMPLES_PER_CENTRE = 5  # whose mean is the centre that a ball starts from


def balanced_spheres(
    X: Array,
    L: int,
    rng: np.random.Generator,
    max_iter: int = 50,
    mean_tol: float = 0.1,
    std_tol: float = 0.15,
) -> tuple[Array, Array, list[dict]]:
    """Balls that hold half of the samples each, and any two of them a quarter in common.

    The L balls move `max_iter` times at most, until over all pairs the mean of |r| and the standard
    deviation of r, the correlations of Eq. (10) of notebook 11, are no larger than the tolerances.
    Returned are the centres P (D, L) that come closest to these, the last ones if they meet them;
    the radii (L, 1), medians of the distances; and `mean` of |r| and `std` of r before the first
    move and after each.
    """
    m = X.shape[1]
    draws = [rng.choice(m, min(_SAMPLES_PER_CENTRE, m), replace=False) for _ in range(L)]
    P = np.stack([X[:, draw].mean(axis=1) for draw in draws], axis=1)
    history, closest = [], np.inf
    for _ in range(max_iter + 1):
        distances = euclidean_distances(P.T, X.T)
        radii = np.median(distances, axis=1, keepdims=True)
        r = bit_correlations(sgn(radii - distances))
        pairs = r[np.triu_indices(L, 1)] if L > 1 else np.zeros(1)
        history.append({"mean": float(np.abs(pairs).mean()), "std": float(pairs.std())})
        excess = max(history[-1]["mean"] / mean_tol, history[-1]["std"] / std_tol)
        if excess < closest:
            closest, best = excess, (P, radii)
        if excess <= 1:
            break
        P = repel(P, r).astype(X.dtype)
    return *best, history


# %% tags=["export"]
@dataclass(eq=False, repr=False)
class SphericalHashing(Hasher):
    """Spherical hashing: every bit tells the inside of a ball from its outside.

    Heo, Lee, He, Chang and Yoon, CVPR 2012; derived in notebook 11. The authors also define a
    spherical Hamming distance; here codes are compared by the plain one, as all others are.

    Parameters
    ----------
    n_bits, dtype, random_state : see :mod:`bdnn.baselines.classical`
    n_samples : int
        Training samples, drawn at random, that the balls are fitted to; all if there are fewer.
    max_iter : int
        Moves of the centres at most.
    mean_tol, std_tol : float
        Stop when the mean absolute correlation of two bits, and the standard deviation of the
        correlations, are no larger.

    Attributes
    ----------
    centres_, radii_ : arrays (n_features, n_bits), (n_bits, 1)
        The hash function: bit k is sgn(radii_[k] - ||x - centres_[:, k]||), Eq. (8) of notebook 11.
    history_ : list of n_iter_ + 1 dicts
        As in `balanced_spheres`.
    """

    _parameter_constraints = {
        "n_samples": at_least(2, Integral),
        "mean_tol": at_least(1e-6),
        "std_tol": at_least(1e-6),
    }

    n_bits: int = 16
    _: KW_ONLY
    n_samples: int = 20_000
    max_iter: int = 50
    mean_tol: float = 0.1
    std_tol: float = 0.15
    dtype: DTypeLike = "float32"
    random_state: Seed = 0

    def _fit(self, X, y):
        rng = as_generator(self.random_state)
        m = X.shape[1]
        kept = np.sort(rng.choice(m, min(self.n_samples, m), replace=False))
        self.centres_, self.radii_, self.history_ = balanced_spheres(
            X[:, kept], self.n_bits, rng, self.max_iter, self.mean_tol, self.std_tol
        )
        self.n_iter_ = len(self.history_) - 1

    def _project(self, X):
        return self.radii_ - euclidean_distances(self.centres_.T, X.T)


# %%
sph = SphericalHashing(32, dtype="float64").fit(X.T)
first, last = sph.history_[0], sph.history_[-1]
assert last["mean"] <= 0.1 and last["std"] <= 0.15

# %%
print(f"at the start: mean |r| {first['mean']:.2f}, standard deviation {first['std']:.2f}")
print(f"after {sph.n_iter_} moves: mean |r| {last['mean']:.2f}, deviation {last['std']:.2f}")
print(f"imbalance of the codes: {balance(sph.codes_):.4f}")

# %%
# with tolerances that everything meets: no moves
start = SphericalHashing(32, mean_tol=9.0, std_tol=9.0, dtype="float64").fit(X.T)
fig, axes = plt.subplots(1, 2, figsize=(8, 2.8))
for key, label in (("mean", "mean of $|r_{kl}|$"), ("std", "standard deviation")):
    _ = axes[0].plot([entry[key] for entry in sph.history_], label=label)
_ = axes[0].set(xlabel="moves", ylim=0)
_ = axes[0].legend()
for est, label, colour in ((start, "at the start", "0.6"), (sph, "at the end", COLOURS["blue"])):
    pairs = bit_correlations(est.codes_.T)[np.triu_indices(32, 1)]
    bins = np.linspace(-0.5, 1, 31)
    line = "-" if est is sph else "--"
    _ = axes[1].hist(pairs, bins, histtype="step", lw=1.8, color=colour, ls=line, label=label)
_ = axes[1].set(xlabel="correlation $r_{kl}$ of two bits", ylabel="pairs")
_ = axes[1].legend()
save_figure(fig, "11_spheres")

# %% [markdown]
# Left: the mean falls all the way, the standard deviation after a small rise, until both are within the tolerances. Right: the 496 correlations. At the start all balls overlap too much, because their centres lie close together in the middle of the data; at the end the correlations lie around 0. Not all of them are small, a few reach 0.3: the tolerances speak of averages.
#

# %% [markdown]
# ## K-means hashing: cells with names
#
# Which division of space represents the samples best? For $K$ cells, each represented by its centre, K-means answers. K-means hashing (KMH, 2013) takes its cells for the code, $K=2^b$ of them, and gives each a name of $b$ bits. The names decide everything: the distance of two samples is to be estimated by the Hamming distance of the names of their cells, so **close centres need close names**. KMH learns centres and names at once. Centre $c_i$ has the fixed name $i$, and what is moved are the centres. With $q(x)$ the centre nearest to $x$,
#
# $$ E=\underbrace{\tfrac1m\sum_x\|x-q(x)\|^2}_{E_{\text{quan}}}+\lambda\underbrace{\sum_{i,j}w_{ij}\big(\|c_i-c_j\|-d_{ij}\big)^2}_{E_{\text{aff}}},\qquad w_{ij}=\frac{n_in_j}{m^2},\quad d_{ij}=2s\sqrt{h_{ij}} , \tag{13} $$
#
# where $n_i$ samples lie in cell $i$ and $h_{ij}$ is the Hamming distance of the names. $d_{ij}$ is the distance of the corners $\pm s$ of a cube that have these names. So KMH is K-means with a spring between any two centres, whose rest length is the distance of their names on the cube. With $\lambda\to\infty$ the centres form a cube (up to a rotation): that is a quantiser like ITQ's. With $\lambda=0$ they are those of K-means, and the names mean nothing.
#
# **The step that makes it work.** Move one centre $c=c_j$, with cells and all other centres fixed. With $\mu$ the mean of its $n_j$ samples, the terms that depend on $c$ are $\frac{n_j}m\|c-\mu\|^2$ and, since every pair stands twice in (13), $2\lambda\sum_{i\ne j}w_{ij}(\|c-c_i\|-d_i)^2$. Divide by $n_j/m$:
#
# $$ \phi(c)=\|c-\mu\|^2+2\lambda\sum_{i\ne j}w_i\big(\|c-c_i\|-d_i\big)^2,\qquad w_i=\frac{n_i}m,\quad d_i=d_{ij} . \tag{14} $$
#
# (Mind the factor 2, which the author's program once lacked.) Only the lengths $-2d_i\|c-c_i\|$ keep this from being quadratic. Let $u_i$ be the unit vector from $c_i$ to where $c$ is *now*. For every unit vector $\|c-c_i\|\ge u_i^\top(c-c_i)$, with equality now; therefore
#
# $$ \big(\|c-c_i\|-d_i\big)^2\le\|c-c_i\|^2-2d_iu_i^\top(c-c_i)+d_i^2=\|c-(c_i+d_iu_i)\|^2 . \tag{15} $$
#
# Put the right-hand side into (14): a quadratic function that lies above $\phi$ and touches it where we stand. Its minimum is a weighted mean,
#
# $$ c\leftarrow\frac{\mu+2\lambda\sum_{i\ne j}w_i(c_i+d_iu_i)}{1+2\lambda\sum_{i\ne j}w_i} , \tag{16} $$
#
# and **no such step can raise $\phi$**: it goes below the upper function, which started at $\phi$. An empty cell has no $\mu$, and the springs alone move its centre. (Moving samples to other cells changes the weights $w_{ij}$ as well, so $E$ as a whole may rise a little in that step.)


# %% tags=["export"]
def every_code(b: int) -> Array:
    """All codes of b bits, (b, 2^b) entries -1 and +1: bit k of code i is bit k of the number i."""
    return 2 * (np.arange(2**b) >> np.arange(b)[:, None] & 1) - 1


def cube_distances(b: int, s: float) -> Array:
    """Distances (2^b, 2^b) of the corners of the cube {-s, s}^b: d_ij of Eq. (13), notebook 11."""
    names = np.arange(2**b)
    return 2 * s * np.sqrt(np.bitwise_count(names[:, None] ^ names).astype(float))


def affinity_error(C: Array, w: Array, d: Array) -> float:
    """E_aff of Eq. (13) of notebook 11, for centres C (D, K) and shares w (K,) of the samples."""
    lengths = np.linalg.norm(C[:, :, None] - C[:, None, :], axis=0)
    return float(np.sum(np.outer(w, w) * (lengths - d) ** 2))


def move_centre(C: Array, j: int, mu: Array, w: Array, d: Array, lambda_: float) -> Array:
    """The centre j (D,) after one step of Eq. (16) of notebook 11.

    C (D, K) are the centres, w (K,) the shares of the samples in their cells, d (K, K) the rest
    lengths of the springs and lambda_ their weight; mu (D,) is the mean of the samples in cell j,
    not looked at where w[j] = 0.
    """
    others = np.arange(C.shape[1]) != j
    apart = C[:, [j]] - C[:, others]
    u = apart / np.maximum(np.linalg.norm(apart, axis=0), 1e-12)
    springs = 2 * lambda_ * w[others]
    total = (w[j] > 0) + springs.sum()
    if total == 0:
        return C[:, j]
    pull = (C[:, others] + d[j, others] * u) @ springs
    return (mu * (w[j] > 0) + pull) / total


# %% [markdown]
# Against a general optimiser: repeat the step for one centre, and compare with what SciPy finds for (14) from the same start.


# %%
def phi(c, C, j, mu, w, d, lambda_):
    others = np.arange(C.shape[1]) != j
    lengths = np.linalg.norm(c[:, None] - C[:, others], axis=0)
    return np.sum((c - mu) ** 2) + 2 * lambda_ * w[others] @ (lengths - d[j, others]) ** 2


# %%
for seed in range(5):
    rng = np.random.default_rng(seed)
    C, mu, w = rng.standard_normal((3, 8)), rng.standard_normal(3), rng.dirichlet(np.ones(8))
    case = (0, mu, w, cube_distances(3, 0.8), 2.0)
    theirs = minimize(phi, C[:, 0], args=(C.copy(), *case), options={"gtol": 1e-9}).fun
    values = [phi(C[:, 0], C, *case)]
    for _ in range(300):
        C[:, 0] = move_centre(C, *case)
        values.append(phi(C[:, 0], C, *case))
    assert all(b <= a + 1e-12 for a, b in zip(values, values[1:]))
    assert abs(values[-1] - theirs) < 1e-6
print("five random cases: never a rise, and the minimum that SciPy finds")

# %% [markdown]
# Where to start? At the corners of a cube along the $b$ leading principal directions of the samples. With the corners $\pm s$ the nearest one is given by the signs, and $\sum_{k,i}(|v_{ki}|-s)^2$ is smallest for $s$ = the mean of the $|v_{ki}|$. This $s$ then also sets the rest lengths.


# %% tags=["export"]
def nearest_centres(C: Array, V: Array) -> Array:
    """Index (m,) of the nearest of the centres C (D, K) for each sample of V (D, m)."""
    return np.argmin(np.sum(C * C, axis=0)[:, None] - 2 * (C.T.astype(V.dtype) @ V), axis=0)


_MOVES = 3  # steps of every centre in a round


def named_kmeans(
    V: Array, b: int, lambda_: float, max_iter: int, tol: float
) -> tuple[Array, list[tuple[float, float]]]:
    """Centres whose indices, as numbers of b bits, have distances like the centres: Eq. (13).

    V (D, m) are samples in principal coordinates, centred, by falling variance, D >= b; lambda_ is
    the weight of the affinity error. A round assigns the samples and moves every centre; the last
    one lowers the error by no more than the share `tol`. Returns C (D, 2^b), float64, bit k of
    the index i being ``(i >> k) & 1``, and quantisation and affinity error after each round.
    """
    names, m = np.arange(2**b), V.shape[1]
    s = float(np.abs(V[:b]).mean(dtype=np.float64))
    d, C = cube_distances(b, s), np.zeros((len(V), 2**b))
    C[:b] = s * every_code(b)
    square, history, E = np.square(V).sum(dtype=np.float64) / m, [], np.inf
    for _ in range(max_iter):
        cells = nearest_centres(C, V)
        w = np.bincount(cells, minlength=2**b) / m
        mus = (V @ (cells[:, None] == names).astype(V.dtype)).astype(np.float64)
        mus /= np.maximum(m * w, 1)
        for _, j in itertools.product(range(_MOVES), names):
            C[:, j] = move_centre(C, j, mus[:, j], w, d, lambda_)
        E_quan = square + w @ (np.sum(C * C, axis=0) - 2 * np.sum(C * mus, axis=0))
        history.append((float(E_quan), affinity_error(C, w, d)))
        before, E = E, E_quan + lambda_ * history[-1][1]
        if before - E <= tol * E:
            break
    return C, history


# %% [markdown]
# **Are the names good?** For $b=2$ there are 24 ways to give four names to four centres, and all can be tried. We let KMH learn four centres from the two leading coordinates of the digits, rename them in every way, and compare; and we do the same with the centres of plain K-means.

# %%
V_2 = (P[:, :2].T @ (X - mean)) / 255
C, history = named_kmeans(V_2, 2, 10.0, 50, 1e-5)
d = cube_distances(2, float(np.abs(V_2).mean()))
plain = KMeans(4, n_init=10, random_state=0).fit(V_2.T).cluster_centers_.T
orders = [list(order) for order in itertools.permutations(range(4))]

# %%
for name, centres in (("KMH", C), ("K-means", plain)):
    w = np.bincount(nearest_centres(centres, V_2), minlength=4) / m
    errors = [affinity_error(centres[:, order], w[order], d) for order in orders]
    assert name != "KMH" or np.isclose(errors[0], min(errors))
    print(f"{name:7} affinity error {min(errors):.3f} to {max(errors):.3f} over 24 namings")
print("the names that KMH learnt are the best of the 24")

# %% [markdown]
# **Long codes.** $2^{32}$ centres are out of the question. KMH cuts the space into $M=L/b$ orthogonal subspaces and learns $2^b$ centres in each: squared distances add up over subspaces, and so do Hamming distances. The axes are the principal directions, dealt out one by one, by falling variance: each to the subspace whose product of variances is the smallest so far, as long as it is not full. All subspaces then hold about as much.


# %% tags=["export"]
def deal_directions(variances: Array, M: int) -> list[list[int]]:
    """Deal principal directions to M subspaces such that the products of variances are alike.

    The variances (D,) fall. Each subspace gets at most ceil(D / M) directions: their indices,
    rising.
    """
    floor = max(1e-12 * variances[0], np.finfo(float).tiny)
    logs = np.log(np.maximum(variances, floor) / floor)  # at least 0: a product never shrinks
    hands, total = [[] for _ in range(M)], np.zeros(M)  # type: list[list[int]], Array
    for k, log in enumerate(logs):
        full = np.array([len(hand) >= -(-len(logs) // M) for hand in hands])
        chosen = int(np.argmin(np.where(full, np.inf, total)))
        hands[chosen].append(k)
        total[chosen] += log
    return hands


# %%
variances = np.array([8.0, 7, 4, 3, 2, 1])
hands = deal_directions(variances, 2)
print("variances in each hand:", *(variances[hand].tolist() for hand in hands))

# %% [markdown]
# The bit $k$ of the nearest centre's name as a decision value: the squared distance to the nearest centre whose bit $k$ is $-1$, less that to the nearest whose bit $k$ is $+1$. In the difference $\|x\|^2$ cancels, and $\|c\|^2-2c^\top x$ is linear: KMH is a linear layer with $2^b$ units for $b$ bits, and then minima over groups of units.


# %% tags=["export"]
@dataclass(eq=False, repr=False)
class KMeansHashing(Hasher):
    """K-means hashing: the name of the nearest centre, in each of n_bits / b subspaces.

    He, Wen and Sun, CVPR 2013; derived in notebook 11. Deterministic: there is no random_state.
    Bits beyond the number of features say nothing.

    Parameters
    ----------
    n_bits, dtype : see :mod:`bdnn.baselines.classical`
    bits_per_subspace : int
        Bits b of the names in a subspace; the last one has fewer if b does not divide n_bits.
    affinity_weight : float
        Weight lambda of the affinity error, Eq. (13) of notebook 11.
    max_iter : int
        Rounds in each subspace at most.
    tol : float
        Stop when a round lowers the error of a subspace by no more than this share.

    Attributes
    ----------
    W_, c_ : arrays (sum of 2^b, n_features), (sum of 2^b, 1)
        W_ x + c_ are the squared distances of x from all centres, in each subspace up to a number
        that is the same for all its centres.
    names_ : list of int
        Bits of the names in each subspace.
    history_ : list of n_iter_ dicts
        `quantisation`, `affinity` and `objective` after each round, summed over the subspaces; one
        that has stopped keeps its last values.
    """

    _parameter_constraints = {
        "bits_per_subspace": at_least(1, Integral),
        "affinity_weight": at_least(0),
        "tol": at_least(0),
    }

    n_bits: int = 16
    _: KW_ONLY
    bits_per_subspace: int = 2
    affinity_weight: float = 10.0
    max_iter: int = 50
    tol: float = 1e-5
    dtype: DTypeLike = "float32"

    def _fit(self, X, y):
        full, rest = divmod(self.n_bits, self.bits_per_subspace)
        self.names_ = [self.bits_per_subspace] * full + [rest] * bool(rest)
        mean, P = principal_directions(X, len(X))
        V = P.T.astype(X.dtype) @ X - (P.T @ mean).astype(X.dtype)
        hands = deal_directions(np.var(V, axis=1, dtype=np.float64), len(self.names_))
        W, c, histories = [], [], []
        for b, hand in zip(self.names_, hands):
            V_hand = np.pad(V[hand], ((0, max(b - len(hand), 0)), (0, 0)))
            C, history = named_kmeans(V_hand, b, self.affinity_weight, self.max_iter, self.tol)
            W.append(-2 * C[: len(hand)].T @ P[:, hand].T)
            c.append(np.sum(C * C, axis=0)[:, None] - W[-1] @ mean)
            histories.append(history)
        self.W_, self.c_ = np.vstack(W).astype(X.dtype), np.vstack(c).astype(X.dtype)
        self.n_iter_ = max(map(len, histories))
        self.history_ = [self._errors(histories, t) for t in range(self.n_iter_)]

    def _errors(self, histories, t):
        quantisation, affinity = np.sum([h[min(t, len(h) - 1)] for h in histories], axis=0)
        objective = float(quantisation + self.affinity_weight * affinity)
        errors = {"quantisation": float(quantisation), "affinity": float(affinity)}
        return errors | {"objective": objective}

    def _project(self, X):
        squares, H, start = self.W_ @ X + self.c_, [], 0
        for b in self.names_:
            unit = squares[start : start + 2**b]
            for bit in every_code(b):
                H.append(unit[bit < 0].min(axis=0) - unit[bit > 0].min(axis=0))
            start += 2**b
        return np.array(H)


# %%
kmh = KMeansHashing(16, dtype="float64").fit(X.T)
J = [entry["objective"] for entry in kmh.history_]
assert J[-1] < J[0]

# %%
print(f"objective from {J[0] / 1e6:.3f} to {J[-1] / 1e6:.3f} million in {kmh.n_iter_} rounds")
last = kmh.history_[-1]
print(f"affinity error {last['affinity'] / last['quantisation']:.2%} of the quantisation error")
print(f"imbalance {balance(kmh.codes_):.2f}, dependence {independence(kmh.codes_):.2f}")

# %% [markdown]
# A code is the concatenation of the nearest centres' names. Checked from outside: distances to all centres of a subspace, the index of the smallest, its bits.

# %%
squares = kmh.W_ @ X + kmh.c_
nearest = squares.reshape(8, 4, m).argmin(axis=1)

# %%
bits = np.stack([2 * (nearest & 1) - 1, 2 * (nearest >> 1) - 1], axis=1)
assert np.array_equal(bits.reshape(16, m), kmh.codes_.T)
print("all codes are the names of the nearest centres")

# %% [markdown]
# **Departure:** the step (16) is our way to lower (14). The author's program demands that the number of subspaces divides $D$, which ours does not, and has $b=4$ or 8 for some data and lengths; $b=2$ and $\lambda=10$, our defaults, are its settings for 32 bits on SIFT.

# %% [markdown]
# ## The binary autoencoder: codes as variables, before BDNN
#
# The last method (BA, 2015) is the closest relative of UH-BDNN. An autoencoder squeezes $x$ through a code and draws it again from there: $h(x)=\operatorname{sgn}(Ax+a)$ with $L$ hyperplanes encodes, $f(b)=Wb+c$ decodes, and $\|x-f(h(x))\|^2$ should be small. The signs inside make this hard. BA splits the problem: let the codes be variables, tied to the encoder by a constraint, and relax the constraint to a penalty,
#
# $$ \min_{W,c,h,B}\ E_\mu=\frac1m\Big(\|X-WB-c\mathbf 1^\top\|^2+\mu\,\|B-h(X)\|^2\Big),\qquad B\in\{-1,1\}^{L\times m} , \tag{17} $$
#
# with a $\mu$ that grows until $B=h(X)$. Put this beside UH-BDNN (notebook 08): the first term is the same, the second is its equality term with signs $h(X)$ in the place of real outputs $H$. There is no balance and no independence. Each of the three unknowns is updated with the others fixed:
#
# **Decoder.** Least squares, in closed form: `ridge_decoder` of notebook 08 without weight decay.
#
# **Codes.** Column by column, $\|x_i-Wb-c\|^2+\mu\|b-h(x_i)\|^2$: the problem of notebook 07 with $H=h(X)$ and $\lambda_2=\mu$. Up to ten bits all $2^L$ codes can be compared. Multiply out, drop what does not depend on $b$ (as $b^\top b=L$ does not):
#
# $$ b_i=\arg\min_{b\in\{-1,1\}^L}\ b^\top W^\top W\,b-2\,b^\top q_i,\qquad q_i=W^\top(x_i-c)+\mu\,h(x_i) . \tag{18} $$
#
# For longer codes we take the coordinate descent of notebook 07, from the codes as they are.
#
# **Departure:** the authors start longer codes from a relaxed problem, $b\in[-1,1]^L$, and alternate over bits from there.


# %% tags=["export"]
_ENUMERATED_BITS = 10  # up to this length all codes are compared


def nearest_codes(X: Array, W: Array, c: Array, H: Array, mu: float, B: Array) -> Array:
    """Codes (L, m) that lower ||X - W B - c 1^T||^2 + mu ||B - H||^2: Eq. (18) of notebook 11.

    X (D, m) are samples, W (D, L) and c (D, 1) the decoder, H (L, m) the encoder's codes. Up to ten
    bits the result is the global minimum. Beyond, codes start from B, no bit can be changed for the
    better, and the value is not above that of B.
    """
    if len(B) > _ENUMERATED_BITS:
        return coordinate_descent(X, W, c, H, mu, B)
    codes = every_code(len(B)).astype(X.dtype)  # (L, 2^L)
    Q = W.T @ (X - c) + mu * H  # (L, m)
    values = np.sum(codes * (W.T @ W @ codes), axis=0)[:, None] - 2 * codes.T @ Q  # Eq. (18)
    return codes[:, np.argmin(values, axis=0)]


# %% [markdown]
# Against a loop over all codes of all samples:

# %%
rng = np.random.default_rng(0)
points, W, c = rng.standard_normal((12, 60)), rng.standard_normal((12, 6)), np.zeros((12, 1))
H = sgn(rng.standard_normal((6, 60))).astype(float)
B = nearest_codes(points, W, c, H, 0.5, H)

# %%
every = [np.array(code) for code in itertools.product((-1.0, 1.0), repeat=6)]
for x, h, b in zip(points.T, H.T, B.T):
    values = [np.sum((x - W @ code) ** 2) + 0.5 * np.sum((code - h) ** 2) for code in every]
    assert np.array_equal(b, every[np.argmin(values)])
print("60 samples: the enumeration agrees with the loop")

# %% [markdown]
# What does the coordinate descent miss that the longer codes get? With eight bits on the digits, ITQ codes and their best decoder, both can be run:

# %%
digits = X / 255
H = ITQ(8, dtype="float64").fit(digits.T).codes_.T.astype(float)
W, c = ridge_decoder(digits, H, 0.0)
pair = nearest_codes(digits, W, c, H, 0.01, H), coordinate_descent(digits, W, c, H, 0.01, H)


# %%
def penalised(B):
    return (np.sum((digits - W @ B - c) ** 2) + 0.01 * np.sum((B - H) ** 2)) / m


gains = [penalised(H) - penalised(B) for B in pair]
missed = np.mean(np.any(pair[0] != pair[1], axis=0))
print(f"other than the best code: {missed:.1%} of the samples")
print(f"share of the possible gain: {gains[1] / gains[0]:.1%}")

# %% [markdown]
# **Encoder.** $\|B-h(X)\|^2$ is four times the number of wrong bits, and it falls apart into $L$ problems of classification: find the hyperplane that tells the samples with $b_k=+1$ from those with $-1$. Fewest errors is hard; BA trains a linear support vector machine, and so do we, with LIBLINEAR. To keep (17) from rising, a new hyperplane is taken only if it makes fewer errors than the old one.
#
# The machine sees the leading principal coordinates of a subset of the samples. A hyperplane in them is one in the full space: $u=Q^\top(x-\bar x)$ gives $w^\top u+w_0=(Qw)^\top x+(w_0-(Qw)^\top\bar x)$.


# %% tags=["export"]
def separating_hyperplane(U: Array, b: Array, C: float) -> tuple[Array, float]:
    """Linear support vector machine: w (r,) and w0 such that sgn(w^T u + w0) is mostly b.

    Samples U (n, r), float64, stand in rows, as LIBLINEAR takes them; b (n,) holds both -1 and +1.
    C is the weight of the squared hinge loss against the squared length of w.
    """
    svm = LinearSVC(C=C, dual=False, tol=0.1).fit(U, b)
    return svm.coef_[0], float(svm.intercept_[0])


# %% tags=["export"]
@dataclass(eq=False, repr=False)
class BinaryAutoencoder(Hasher):
    """Binary autoencoder: hyperplanes whose codes let a linear decoder draw the samples again.

    Carreira-Perpinan and Raziperchikolaei, CVPR 2015; derived in notebook 11.

    Parameters
    ----------
    n_bits, dtype, random_state, verbose : see :mod:`bdnn.baselines.classical`
    mu : float
        Weight of the penalty in the first round, for inputs scaled to a range of 1.
    growth : float
        Factor by which it grows from round to round.
    max_iter : int
        Rounds at most; training ends when the codes are those of the encoder, or when no
        hyperplane gets better.
    C : float
        Of the support vector machines, as for :class:`sklearn.svm.LinearSVC`.
    n_axes : int
        Principal coordinates that the support vector machines see.
    n_samples : int
        Samples, drawn at random, that they are trained on; all if there are fewer.

    Attributes
    ----------
    W_, c_ : arrays (n_bits, n_features), (n_bits, 1)
        The hash function: sgn(W_ x + c_).
    history_ : list of n_iter_ + 1 dicts
        `error` per sample with the encoder's codes and their best decoder; in each round also
        `mu`, `objective`, Eq. (17) of notebook 11 at its end, `disagreement`, the share of bits in
        which B and h(X) differ, and `improved`, how many hyperplanes did.
    """

    _parameter_constraints = {
        "mu": at_least(1e-12),
        "growth": at_least(1),
        "C": at_least(1e-12),
        "n_axes": at_least(1, Integral),
        "n_samples": at_least(1, Integral),
    }

    n_bits: int = 16
    _: KW_ONLY
    mu: float = 0.01
    growth: float = 3.0
    max_iter: int = 6
    C: float = 1.0
    n_axes: int = 100
    n_samples: int = 20_000
    dtype: DTypeLike = "float32"
    random_state: Seed = 0
    verbose: bool = False

    def _fit(self, X, y):
        rng, scale = as_generator(self.random_state), X.dtype.type(range_scaling(X)[1])
        mean, P = (
            Z.astype(X.dtype) for Z in principal_directions(X, max(self.n_axes, self.n_bits))
        )
        A, mean = X / scale, mean / scale
        V = P[:, : self.n_bits].T @ A - P[:, : self.n_bits].T @ mean
        R, _ = itq_rotation(V, 50, rng)
        self.W_ = R.astype(X.dtype) @ P[:, : self.n_bits].T
        self.c_ = -(self.W_ @ mean)
        axes, m = P[:, : min(self.n_axes, len(A))], A.shape[1]
        chosen = np.sort(rng.choice(m, min(self.n_samples, m), replace=False))
        U = (A[:, chosen] - mean).T @ axes
        self._alternate(A, chosen, (np.ascontiguousarray(U, np.float64), axes, mean), scale)
        self.W_ /= scale

    def _alternate(self, X, chosen, coordinates, scale):
        """Rounds of codes, decoder and encoder with growing mu."""
        H = sgn(self._project(X))
        B, mu = H.copy(), self.mu
        error, decoder = _reconstruct(X, B)
        self.history_ = [{"error": error}]
        with tqdm(total=self.max_iter * self.n_bits, disable=not self.verbose, leave=False) as bar:
            for _ in range(self.max_iter):
                B = nearest_codes(X, *decoder, H, mu, B)
                error, decoder = _reconstruct(X, B)
                improved = self._fit_encoder(X, B, H, chosen, coordinates, bar)
                wrong = float(np.mean(B != H))
                entry = {"error": _reconstruct(X, H)[0], "mu": mu, "disagreement": wrong}
                entry |= {"objective": error + mu * 4 * self.n_bits * wrong}
                self.history_.append(entry | {"improved": improved})
                self.n_iter_ = len(self.history_) - 1
                self._so_far(W_=self.W_ / scale)
                if wrong == 0 or improved == 0:
                    break
                mu *= self.growth

    def _fit_encoder(self, X, B, H, chosen, coordinates, bar):
        """Train every hyperplane anew, keep it if it errs less; H follows. Returns how many."""
        (U, axes, mean), improved = coordinates, 0
        for k, b in enumerate(B):
            bar.update()
            if np.all(b[chosen] == b[chosen][0]):
                continue  # a constant bit: nothing to separate
            w, w0 = separating_hyperplane(U, b[chosen], self.C)
            w = axes @ w.astype(X.dtype)
            c = X.dtype.type(w0) - w @ mean
            h = sgn(w @ X + c)
            if np.sum(h != b) < np.sum(H[k] != b):
                self.W_[k], self.c_[k], H[k] = w, c, h
                improved += 1
        return improved

    def _project(self, X):
        return self.W_ @ X + self.c_


def _reconstruct(X, B):
    """Error per sample of the best decoder of the codes, and the decoder (W, c)."""
    W, c = ridge_decoder(X, B, 0.0)
    return 2 * reconstruction(X, B, W, c)[0], (W, c)


# %%
ba = BinaryAutoencoder(16).fit(data.train)
for entry in ba.history_[1:]:
    assert entry["error"] < ba.history_[0]["error"]

# %% tags=["nbval-ignore-output"]
print(f"start: error {ba.history_[0]['error']:.3f}")
for entry in ba.history_[1:]:
    print(f"mu {entry['mu']:.2f}: error {entry['error']:.3f}, E {entry['objective']:.3f}", end="")
    print(f", B differs from h(X) in {entry['disagreement']:.1%}, {entry['improved']} better")

# %% [markdown]
# The error counts what the encoder's codes are worth: it starts at that of ITQ and falls. Most is gained in the first rounds; as $\mu$ grows the codes are drawn to the encoder, fewer hyperplanes find anything to improve, and training ends.
#
# **Departure:** the authors also watch the precision on held-out samples and undo a round in which it falls; they give their machines all coordinates and all samples, a larger $C$ and a finer tolerance (0.001, ours is 0.1), and take every new hyperplane, ours only one that errs less. A hundred coordinates make the training several times faster.

# %% [markdown]
# ## Five shapes of a bit
#
# Now all of them in one picture. The digits 0, 1, 3 and 4 again, in two principal coordinates as in notebook 03; every method learns four bits, and we draw where each bit changes its sign.

# %%
import warnings

warnings.filterwarnings("ignore", "2 of 4 bits")  # KMH has two that are constant: see below
chosen = np.isin(data.labels.train, (0, 1, 3, 4))
points, y_2 = V[:2, chosen].T / 255, data.labels.train[chosen]
methods = {"SH": SpectralHashing, "SpH": SphericalHashing, "KMH": KMeansHashing}
methods |= {"BA": BinaryAutoencoder, "ITQ": ITQ}
fitted = {name: method(4, dtype="float64").fit(points) for name, method in methods.items()}

# %%
low, high = points.min(axis=0) - 1, points.max(axis=0) + 1
across, up = (np.linspace(a, b, 301) for a, b in zip(low, high))
plane = np.stack(np.meshgrid(across, up), axis=-1)

# %%
fig, axes = plt.subplots(1, 5, figsize=(12, 2.9), sharey=True)
for ax, (name, est) in zip(axes, fitted.items()):
    values = est.decision_function(plane.reshape(-1, 2)).T.reshape(4, 301, 301)
    for digit, marker in zip((0, 1, 3, 4), MARKERS):
        _ = ax.scatter(*points[y_2 == digit].T, s=2, marker=marker, color="0.7")
    for H, colour, line in zip(values, COLOURS.values(), ("-", "--", "-.", ":")):
        _ = ax.contour(across, up, H, [0], colors=[colour], linestyles=[line], linewidths=2)
    codes = len(np.unique(est.codes_, axis=0))
    _ = ax.set(title=f"{name}, {codes} codes", xticks=[], yticks=[], aspect="equal")
save_figure(fig, "11_shapes", png=True)

# %% [markdown]
# Grey: the samples. Lines: where one of the four bits changes; above, how many different codes the samples get. Four bits in two dimensions are more than some methods can use. SH can: its second waves (parallel lines) come in. The balls of SpH overlap and close in on regions. KMH places its borders between centres, one bit for each of the two dimensions, and leaves two bits constant. ITQ draws lines through the mean, and here they end up in two coinciding pairs. BA starts from them, and its lines need not pass through the mean nor stay parallel.
#
# | method | a bit is | what the training minimises | balance | independence |
# |---|---|---|---|---|
# | SH | a wave along a principal direction | affinity times code distance, relaxed | if the box is even | if the box is even |
# | SpH | a ball | nothing: it fulfils the two constraints | exact, by medians | forced, by repulsion |
# | KMH | a union of cells of K-means | quantisation error and affinity error | not asked for | not asked for |
# | BA | a half space | reconstruction from the codes | not asked for | not asked for |
# | ITQ | a half space | quantisation error of rotated signs | not asked for | not asked for |
# | UH-BDNN | what a network makes of it | reconstruction from the codes | a term, $\lambda_4$ | a term, $\lambda_3$ |

# %% [markdown]
# ## Side by side
#
# The same 4,000 digits, the same 1,000 queries with their 50 Euclidean neighbours, one seed; ITQ is the baseline of notebook 03.


# %% tags=["nbval-ignore-output"]
def measure(est):
    est.fit(data.train)
    return evaluate(est.transform(data.query), est.transform(data.database), data.relevant)


# %% tags=["nbval-ignore-output"]
table = {(L, name): measure(method(L)) for L in (16, 32) for name, method in methods.items()}
print("            P@r=2 %   mAP %  empty balls  imbalance  dependence")
for (L, name), row in table.items():
    print(f"{L} bits, {name:4}", end="")
    print(f" {100 * row['precision_at_2']:6.2f}  {100 * row['map_expected']:6.2f}", end="")
    print(f"  {row['empty_share']:11.3f}  {row['balance']:9.4f}  {row['independence']:10.4f}")


# %%
mAP = {key: row["map_expected"] for key, row in table.items()}
for L in (16, 32):
    assert min(mAP[L, "BA"], mAP[L, "ITQ"]) > mAP[L, "KMH"] > mAP[L, "SH"] > mAP[L, "SpH"]
    assert table[L, "SpH"]["balance"] < 1e-3 < min(table[L, n]["balance"] for n in ("BA", "ITQ"))
print("in mAP: BA and ITQ, then KMH, SH, SpH; SpH alone has balanced bits")

# %% [markdown]
# Read it by mAP, the measure without empty balls. The two methods that fit the *values* of the samples, ITQ and BA, lead by far at 32 bits. SpH fulfils both constraints, the balance exactly, and is behind all others: **good bits one by one do not make a good code**, if nothing ties the codes to the samples. SH has the tie in its objective, but the box that it assumes is far from the data. KMH fits values, too; with its springs nearly at rest it is a turned square in each of its two-bit subspaces, where ITQ turns all directions together. Precision at radius 2 mixes this with the number of empty balls and gives another order at every length.

# %% [markdown]
# ### All of MNIST, beside the published figures
#
# As in notebook 08 such runs are recorded: 60,000 images to train on and to search in, 10,000 queries, the 50 nearest Euclidean neighbours relevant, empty balls count 0. The command of each row stands in `notebooks/results`.

# %%
PUBLISHED = {  # precision within radius 2 in %, at 8, 16, 24 and 32 bits
    "SpectralHashing": (0.43, 6.50, 27.08, 36.69),
    "SphericalHashing": (0.44, 5.02, 22.24, 30.80),
    "KMeansHashing": (0.50, 6.36, 25.68, 36.24),
    "BinaryAutoencoder": (0.51, 6.44, 27.65, 35.29),
    "ITQ": (0.51, 5.87, 23.92, 36.35),
}

# %%
recorded = [row for rows in read_folder().values() for row in rows]
runs = usual_runs(recorded, data="mnist", ground_truth="knn50")

# %%
print("ours (mean ± deviation over the seeds, their number) | published")
for method, figures in PUBLISHED.items():
    for bits, figure in zip((8, 16, 24, 32), figures):
        found = [row["precision_at_2"] for row in runs[method, bits]]
        assert np.mean(found) > 0.9 * figure, (method, bits)
        deviation = np.std(found, ddof=1) if len(found) > 1 else 0
        text = f"{np.mean(found):.2f} ± {deviation:.2f}  ({len(found)})"
        print(f"{method:18} {bits:2d} bits  {text:>19} | {figure:5.2f}")
print("no mean is more than a tenth below the published figure")

# %% [markdown]
# **Slip:** for SH at 32 bits the paper's table prints 36.69. SH draws nothing at random, and the other three figures agree with ours to the last digit; at 32 bits the same program gives 37.69, exactly 1.00 more. So the 36.69 is probably a misprint. Figures that agree so closely also settle the protocol: with empty balls left out in place of counted as 0, the one at 32 bits would be 53.84.
#
# The settings of the paper's runs of KMH and BA are not known to us, and ours are the defaults of the estimators; so it says something that both come within a tenth of the published figures, or above them: KMH by an eighth at 24 bits, BA by two points at 32. SpH is last from 16 bits on, in the paper as here. The order of the other four changes with the length, and from 16 bits on not in the paper's way: they lie within a few points of each other, and unknown settings move them by as much. Such a table does not rank them. UH-BDNN, whose published figures are 0.53, 6.80, 29.38 and 38.50, has its recorded runs in notebook 08.

# %% [markdown]
# ## What we have now
#
# The module `bdnn.baselines.classical`:
#
# | name | what it gives |
# |---|---|
# | `slowest_waves(R, L)` | the waves of a box, Eqs. (5) and (6) |
# | `bit_correlations`, `repel`, `balanced_spheres` | Eq. (10), Eq. (12), the equilibrium |
# | `every_code`, `cube_distances`, `affinity_error`, `move_centre`, `nearest_centres`, `named_kmeans`, `deal_directions` | the parts of KMH, Eqs. (13) to (16) |
# | `nearest_codes`, `separating_hyperplane` | the steps of BA, Eq. (18) |
# | `SpectralHashing`, `SphericalHashing`, `KMeansHashing`, `BinaryAutoencoder` | estimators in the manner of scikit-learn, also in `bdnn` |
#
# ## Exercises
#
# **11.1** (on paper, then in code) The waves (5) are orthogonal. Are their signs? Compute the correlation of the bits of waves 1 and 3, and of waves 1 and 2, on an evenly filled interval.
#
# <details><summary>Hint</summary> Put $\theta=\pi x/R$ and look at $0\le\theta\le\frac\pi2$: where is $\cos3\theta$ positive? </details>
#
# **11.2** (in code) A few samples far out decide the range of SH. Take the range between the quantiles $q$ and $1-q$ in place of minimum and maximum, with $q$ = 0.01, 0.05, 0.2. What happens to balance and to retrieval at 16 and 32 bits? Which measure do you trust?
#
# <details><summary>Hint</summary> `slowest_waves` takes any ranges. Print the share of empty balls, too. </details>
#
# **11.3** (in code) Let products of two waves take part in the selection by Eq. (6). How many of the 16 slowest are products, and what do they do to mAP?
#
# <details><summary>Hint</summary> If $b_3=b_1b_2$, how many bits change when $x$ crosses the border of $b_1$? </details>
#
# **11.4** (in code) Heo and colleagues compare codes of SpH by the spherical Hamming distance, the number of bits that differ divided by the number of balls that hold both samples. Rank by it, and compare the mAP with that of the plain distance.
#
# <details><summary>Hint</summary> `average_precision` takes whole numbers: pass the ranks of the distances among all distances. </details>
#
# **11.5** (in code) What do the springs of KMH cost? Train 16 bits with $\lambda$ = 0, 1, 10, 100 and print both errors beside the mAP.
#
# <details><summary>Hint</summary> Both errors stand in the last entry of `history_`. </details>
#
# **11.6** (on paper) With $L=1$, $W=w$ and $\mu=0$: which bit does (18) give a sample? Show that for a decoder $c=\bar x$ and a unit vector $w$ the first principal direction, scaled as you like, it is the bit of PCA. What does $\mu>0$ change?
#
# <details><summary>Hint</summary> $b^2=1$. Only the sign of $q_i$ counts. </details>
#
# Solutions: `solutions/11_solutions`.
#
# ## Further reading
#
# * Y. Weiss, A. Torralba and R. Fergus, "Spectral hashing", NIPS 2008: our Eqs. (1), (5) to (7).
# * J.-P. Heo, Y. Lee, J. He, S.-F. Chang and S.-E. Yoon, "Spherical hashing", CVPR 2012: our Eqs. (8), (9) and (11).
# * K. He, F. Wen and J. Sun, "K-means hashing: an affinity-preserving quantization method for learning binary compact codes", CVPR 2013: our Eqs. (13) and (14).
# * M. A. Carreira-Perpiñán and R. Raziperchikolaei, "Hashing with binary autoencoders", CVPR 2015: our Eqs. (17) and (18).
# * The BDNN paper compares itself with all of them in its section on experiments.
