# %% [markdown]
# # Fit kernels to labels: SDH, KSH and BRE
#
# **Off the path.** No later notebook rests on this one. It derives the supervised methods of the paper's tables: read it when you want to know what SH-BDNN is compared with.
#
# **What you will do.** You derive, build and check the three remaining supervised methods of the paper's tables. Two of them turn out to minimise the loss of SH-BDNN, with other functions and other optimisers.
#
# **What you will learn**
#
# * how a map to a thousand anchors turns every linear method into a non-linear one;
# * Supervised Discrete Hashing (SDH): two ridge regressions and the B step of notebook 07, and what its objective does not see;
# * how the best next bit looks when all other bits are given, again without the matrix of pairs;
# * Kernel Supervised Hashing (KSH): an eigenproblem of a thousand rows that shrinks to forty, then a smooth relaxation;
# * Binary Reconstructive Embedding (BRE): the exact best value of one weight, by sorting.
#
# **What you need.** Notebooks 06 (L-BFGS), 07 (DCC) and 09 (SH-BDNN). About 80 minutes to read, with the derivations; a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""Supervised hashing with kernels: SDH, KSH and BRE.

Samples stand in columns in the functions, and in rows at the face of the estimators. Arguments of
the functions are, where nothing else is said::

    X (D, m), A (D, p)  samples, anchors
    K (p, m)            their kernel, centred
    B (L, m)            codes
    T (r, m), tau (r,)  what `label_factors` or `unit_factors` give
    F (r, m), omega     what `residue_factors` give

and what the three estimators share are these parameters and attributes::

    n_bits, dtype       length L of the code; "float32" or "float64"
    width               sigma of the kernel; None: `anchor_width`
    random_state        int, Generator, RandomState or None; draws samples, anchors and start
    verbose             show a progress bar
    codes_              (n_samples, n_bits), int8, of the training samples
    W_, c_              (n_bits, n_anchors), (n_bits, 1), the hash function: Eq. (2) of notebook 12
    anchors_            (n_features, n_anchors)
    width_              sigma as used
    kernel_mean_        (n_anchors, 1)
    classes_            the labels, sorted; of a 0/1 matrix the columns in use

Sources: Shen, Shen, Liu and Shen, "Supervised Discrete Hashing", CVPR 2015; Liu, Wang, Ji, Jiang
and Chang, "Supervised Hashing with Kernels", CVPR 2012; Kulis and Darrell, "Learning to Hash with
Binary Reconstructive Embeddings", NIPS 2009.
"""

import time
from dataclasses import KW_ONLY, dataclass
from functools import partial
from numbers import Integral

import numpy as np
from numpy import ndarray as Array
from numpy.typing import DTypeLike
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils._param_validation import StrOptions
from tqdm import tqdm

from bdnn.checks import numbered
from bdnn.dcc import coordinate_descent
from bdnn.hashing import Hasher, Seed, as_generator, at_least
from bdnn.lbfgs import minimize
from bdnn.losses import label_groups, squared_norm
from bdnn.metrics import sgn
from bdnn.sh_bdnn import class_codes
from bdnn.uh_bdnn import principal_axes

# %%
from itertools import product

import matplotlib.pyplot as plt
from scipy.linalg import cholesky, eigh

from bdnn import ITQCCA, SHBDNN, losses, metrics
from bdnn.data import load
from bdnn.course.plotting import COLOURS, MARKERS, save_figure
from bdnn.course.records import read_folder
from bdnn.sh_bdnn import class_vectors

# %% [markdown]
# **Two methods are called SDH.** The SDH of the paper's tables, and of this notebook, is *Supervised Discrete Hashing* by Shen and others. The *Supervised Deep Hashing* of Liong and others, in notebook 10, has the same initials; it is another method, and the paper compares with it elsewhere.
#
# We compute in float64 so that the printed numbers are the same on every machine.

# %%
dataset = load("mnist5k", ground_truth="labels")
X, X_query = (Z.T.astype(np.float64) / 255 for Z in (dataset.train, dataset.query))
classes, y = np.unique(dataset.labels.train, return_inverse=True)
counts = np.bincount(y)
(D, m), C = X.shape, len(classes)
print(f"X: {D} dimensions, {m:,} samples in columns, {C} classes")

# %% [markdown]
# ## A map to anchors
#
# ITQ-CCA cuts the space by hyperplanes; SH-BDNN has hidden layers. The methods of this notebook stand between the two. They draw $p$ training samples, the **anchors** $a_1,\dots,a_p$, describe a sample by how close it is to each of them, and then work linearly:
#
# $$ \kappa_i(x)=\exp\Big(-\frac{\|x-a_i\|^2}{2\sigma^2}\Big),\qquad i=1,\dots,p. \tag{1} $$
#
# It is a network with one fixed hidden layer. With $\|x-a\|^2=\|x\|^2-2a^\top x+\|a\|^2$ all distances are one matrix product. If the samples lie far from the origin, the three large numbers nearly cancel and little is left in float32; so we subtract the mean of the anchors from both sides first, which changes no distance.


# %% tags=["export"]
def squared_distances(A: Array, X: Array) -> Array:
    """Squared Euclidean distances (p, m) between the columns of A (D, p) and of X (D, m)."""
    origin = A.mean(axis=1, keepdims=True)
    return euclidean_distances((A - origin).T, (X - origin).T, squared=True)


def anchor_kernel(X: Array, A: Array, width: float) -> Array:
    """The map of samples X (D, m) to anchors A (D, p): Eq. (1) of notebook 12; (p, m)."""
    K = squared_distances(A, X)
    K *= -0.5 / width**2
    return np.exp(K, out=K)


# %%
def same(what, ours, theirs, bound=1e-8):
    error = np.linalg.norm(np.subtract(ours, theirs)) / np.linalg.norm(theirs)
    assert error < bound
    print(f"{what}: relative difference {error:.0e}")


# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(0)
A, few = X[:, :40], X[:, 40:50]
by_hand = [[np.exp(-np.sum((x - a) ** 2) / 50) for x in few.T] for a in A.T]
same("values by hand", anchor_kernel(few, A, 5.0), by_hand)

# %% tags=["nbval-ignore-output"]
far = (few + 3000).astype(np.float32), (A + 3000).astype(np.float32)
error = np.abs(anchor_kernel(*far, 5.0) - by_hand).max()
assert error < 1e-2
print(f"in float32, 3000 away from the origin: largest error {error:.0e}")

# %% [markdown]
# What should $\sigma$ be? If it is much smaller than the distance to the nearest anchor, a new sample is close to nothing; if much larger, it is close to everything. The authors of the BDNN paper used for SDH the mean distance of the samples to their nearest anchor. We must take care here: an anchor is its own nearest anchor, at distance 0, and where few samples are at hand all of them are anchors. As anchors are random samples, we measure the same thing among the anchors alone: **the mean distance of an anchor to the nearest anchor that differs from it.** That is the rule for any number of samples, and a factor on $X$ changes $\sigma$ in proportion, so that the map does not depend on units. If there are fewer samples than anchors asked for, every sample is an anchor.
#
# **Departure:** KSH's program takes for $\sigma^2$ the mean squared distance to *all* anchors, which makes the kernel about twice as wide. With our rule KSH comes out better on digits (Exercise 12.3), and one rule serves all three methods.


# %% tags=["export"]
def anchor_width(A: Array) -> float:
    """Mean distance of an anchor of A (D, p) to the nearest that differs; 1 if all are alike."""
    d2 = squared_distances(*2 * [A.astype(np.float64)])
    differ = d2 > 1e-12 * d2.max()
    nearest = np.min(d2, axis=0, where=differ, initial=np.inf)
    return float(np.sqrt(nearest).mean()) if differ.any() else 1.0


# %%
order = rng.permutation(m)
A, rest = X[:, order[:1000]], X[:, order[1000:]]
d = np.sqrt(squared_distances(A, rest))
sigma = anchor_width(A)
print(f"nearest anchor to other samples: {d.min(axis=0).mean():.3f} away; sigma {sigma:.3f}")
print(f"root mean square distance to all anchors: {np.sqrt(np.mean(d**2)):.3f}")


# %%
def mean_profile(digit):
    """Mean kernel values of 100 samples of a class, by the class of the anchors."""
    values = anchor_kernel(X[:, y == digit][:, :100], A, sigma).mean(axis=1)
    return [values[y[order[:1000]] == c].mean() for c in range(C)]


# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.2))
at = np.linspace(0, 15, 200)
for values, colour, name in ((d.min(axis=0), "blue", "nearest"), (d.ravel(), "orange", "all")):
    _ = axes[0].hist(values, 60, density=True, alpha=0.6, color=COLOURS[colour], label=name)
for width, line in ((sigma, "-"), (2 * sigma, "--"), (sigma / 2, ":")):
    _ = axes[0].plot(at, np.exp(-(at**2) / (2 * width**2)), "k", ls=line, lw=1.2)
_ = axes[0].set(xlabel="distance to anchors; kernel for $\\sigma/2$, $\\sigma$, $2\\sigma$")
_ = axes[0].legend()
for digit, marker, colour in zip((0, 1, 4, 9), MARKERS, COLOURS.values()):
    _ = axes[1].plot(mean_profile(digit), marker=marker, color=colour, label=f"digit {digit}")
_ = axes[1].set(xlabel="class of the anchors", ylabel="mean kernel value", xticks=range(C))
_ = axes[1].legend()
save_figure(fig, "12_kernel")

# %% [markdown]
# Left: distances to the nearest and to all anchors, and the kernel as a function of the distance. At $\sigma$ (solid) the nearest anchors are seen and most others are faint; at $2\sigma$ (dashed) all are seen, at $\sigma/2$ (dotted) hardly one. Right: the mean kernel values of four digits. Each is closest to anchors of its own class, but 4 and 9 have much the same profile: telling them apart is left to the weights.
#
# All three hash functions are then of one form. With $K\in\mathbb R^{p\times m}$, whose columns are the $\kappa(x_j)$ minus their mean over the training samples,
#
# $$ H=WK+c\mathbf 1^\top\in\mathbb R^{L\times m},\qquad \text{codes }\operatorname{sgn}(H). \tag{2} $$
#
# They differ in how $W\in\mathbb R^{L\times p}$ is found. Subtracting the mean makes bits with $c=0$ about balanced. What the three estimators share is a base class:


# %% tags=["export"]
class _KernelHasher(Hasher):
    """Signs of W (kappa(x) - mean) + c: Eq. (2) of notebook 12."""

    _requires_labels = _several_labels = True
    _parameter_constraints = {
        "n_anchors": at_least(2, Integral),
        "width": [*at_least(np.finfo(np.float32).tiny), None],
    }

    def _centred_kernel(self, X, A):
        """Kernel K (p, m) of the training samples, centred; remembers what `_project` needs."""
        self.anchors_ = np.ascontiguousarray(A)
        self.width_ = anchor_width(A) if self.width is None else float(self.width)
        K = anchor_kernel(X, self.anchors_, self.width_)
        self.kernel_mean_ = K.mean(axis=1, keepdims=True, dtype=np.float64).astype(K.dtype)
        K -= self.kernel_mean_
        return K

    def _project(self, X):
        K = anchor_kernel(X, self.anchors_, self.width_)
        K -= self.kernel_mean_
        return self.W_ @ K + self.c_


def one_hot(y: Array, n_classes: int, dtype: DTypeLike = np.float64) -> Array:
    """Labels 0, 1, ... (m,) as a matrix Y (n_classes, m) with a single 1 in each column."""
    Y = np.zeros((n_classes, len(y)), dtype)
    Y[y, np.arange(len(y))] = 1
    return Y


# %% [markdown]
# ## SDH: labels by regression from the codes
#
# Good codes, say Shen and others, are those from which a linear classifier reads the class. With one-hot labels $Y\in\{0,1\}^{C\times m}$ (or several ones in a column: nothing below asks for a single one), a classifier $G\in\mathbb R^{C\times L}$ and the hash function of Eq. (2):
#
# $$
# \min_{B,G,W,c}\ \|Y-GB\|^2+\lambda_G\|G\|^2+\nu\big(\|B-WK-c\mathbf 1^\top\|^2+\lambda_F\|W\|^2\big),\qquad B\in\{-1,+1\}^{L\times m}.
# \tag{3}
# $$
#
# Compare it with BDNN. The codes are variables of their own, kept discrete; a decoder $G$ leads from them to the labels instead of the samples; the last term is the equality term, with a kernel machine in the place of the encoder. The program of the authors has $\lambda_G=1$, $\lambda_F=10^{-2}$, $\nu=10^{-5}$, $p=1000$, and alternates five times. Three steps:
#
# **G step.** On paper: the differential of the first two terms is $2\langle GB-Y,\mathrm dG\,B\rangle+2\lambda_G\langle G,\mathrm dG\rangle=2\langle(GB-Y)B^\top+\lambda_GG,\,\mathrm dG\rangle$. It vanishes for all $\mathrm dG$ if
#
# $$ G=YB^\top(BB^\top+\lambda_GI)^{-1}. \tag{4} $$
#
# **F step.** Likewise in $c$: $\langle WK+c\mathbf 1^\top-B,\,\mathrm dc\,\mathbf 1^\top\rangle=0$ gives $mc=B\mathbf 1-WK\mathbf 1=B\mathbf 1$, because the rows of $K$ have mean 0: the constant is the mean code $\bar b$, whatever $W$ is. As $\bar b\mathbf 1^\top K^\top=0$ too, $W$ is again a ridge regression:
#
# $$ c=\bar b,\qquad W=BK^\top(KK^\top+\lambda_FI)^{-1}. \tag{5} $$
#
# Both are the same function of two matrices. The matrix in brackets of Eq. (5) never changes, so it is factorised once. It is summed in float64: with 60,000 samples its eigenvalues reach $10^6$, and in float32 the rounding alone would exceed $\lambda_F$.


# %% tags=["export"]
def ridge_factor(A: Array, ridge: float) -> tuple:
    """Cholesky factor, float64, of A A^T + ridge I for A (p, m): for `ridge_solution`."""
    A = A.astype(np.float64)
    return cho_factor(A @ A.T + ridge * np.eye(len(A)), lower=True)


def ridge_solution(factor: tuple, A: Array, B: Array) -> Array:
    """The W (L, p) that minimises ||B - W A||^2 + ridge ||W||^2: Eqs. (4), (5) of notebook 12.

    A is (p, m), B (L, m), the factor `ridge_factor(A, ridge)`.
    """
    return cho_solve(factor, (A @ B.T).astype(np.float64)).T.astype(A.dtype)


# %%
K = anchor_kernel(X, A, sigma)
K -= K.mean(axis=1, keepdims=True)
Y, L, nu = one_hot(y, C), 8, 1e-5

# %%
B = sgn(rng.standard_normal((L, m))).astype(np.float64)
factor_F = ridge_factor(K, 1e-2)
G, W = ridge_solution(ridge_factor(B, 1.0), B, Y), ridge_solution(factor_F, K, B)
c = B.mean(axis=1)

# %% [markdown]
# A ridge regression is an ordinary one with more rows: $\sqrt{\lambda}\,I$ below the regressors and zeros below the targets. So we can ask a solver of least squares that knows nothing of Eqs. (4) and (5). For the F step we add a row of ones for the constant, without a penalty.

# %% tags=["nbval-ignore-output"]
G_lstsq = np.linalg.lstsq(np.vstack([B.T, np.eye(L)]), np.vstack([Y.T, np.zeros((L, C))]))[0].T
same("G step by least squares", G, G_lstsq)

# %% tags=["nbval-ignore-output"]
ones = np.repeat([1.0, 0.0], [m, len(K)])
rows = np.vstack([K.T, np.sqrt(1e-2) * np.eye(len(K))])
F_lstsq = np.linalg.lstsq(np.c_[rows, ones], np.vstack([B.T, np.zeros((len(K), L))]))[0].T
same("F step by least squares", np.c_[W, c], F_lstsq, 1e-6)

# %% [markdown]
# **B step.** With $G,W,c$ given, what is left is
#
# $$ \min_{B\in\{-1,+1\}^{L\times m}}\ \|Y-GB\|^2+\nu\|F-B\|^2,\qquad F=WK+c\mathbf 1^\top, \tag{6} $$
#
# which is the problem of notebook 07 to the letter: $Y$ for $X$, $G$ for the decoder, $F$ for $H$, $\nu$ for $\lambda_2$. Historically it is the other way round: BDNN took DCC from SDH. So we call `dcc.coordinate_descent`. Against all $2^8$ codes of 300 samples:


# %%
def discrete_step(G, F, B):
    return coordinate_descent(Y, G, np.zeros((C, 1)), F, nu, B)


def step_cost(y, f, B):
    """Eq. (6) of one sample, for every column of B."""
    return np.sum((y[:, None] - G @ B) ** 2, axis=0) + nu * np.sum((f[:, None] - B) ** 2, axis=0)


# %%
F = W @ K + c[:, None]
B_1 = discrete_step(G, F, B)
codes = np.array(list(product((-1.0, 1.0), repeat=L))).T
best = np.array([step_cost(Y[:, i], F[:, i], codes).min() for i in range(300)])
found = np.array([step_cost(Y[:, i], F[:, i], B_1[:, [i]])[0] for i in range(300)])
assert np.all(found > best - 1e-12)
print(f"the best of 256 codes is found for {np.sum(found < best + 1e-12)} of 300 samples")

# %% [markdown]
# Now alternate. Every step minimises the same objective over its variables (DCC bit row by bit row), so it can never rise:

# %%
B, objective = sgn(rng.standard_normal((L, m))).astype(np.float64), []
for _ in range(5):
    G, W = ridge_solution(ridge_factor(B, 1.0), B, Y), ridge_solution(factor_F, K, B)
    F = W @ K + B.mean(axis=1, keepdims=True)
    decay = np.sum(G**2) + nu * 1e-2 * np.sum(W**2)
    objective.append(np.sum((Y - G @ B) ** 2) + nu * np.sum((B - F) ** 2) + decay)
    B = discrete_step(G, F, B)

# %%
assert np.all(np.diff(objective) < 1e-9)
print("objective", ", ".join(f"{value:.2f}" for value in objective))
print(f"different codes among {m:,} samples: {len(np.unique(B, axis=1).T)}")

# %% [markdown]
# After one alternation it is all over, and the second line tells why: the $\nu$ is so small that the kernel machine has no say. Equation (6) is then the same problem for all samples of a class, and each class ends up with **one code**. The classifier reads ten classes from ten codes without further ado, and what remains is to regress these codes on the kernel.
#
# ### What the objective does not see
#
# The ten codes come out of random signs, by a vote of random majorities. Are they good ones? The classifier asks that the codes be linearly independent, as far as they can. Retrieval asks for something else: that codes of different classes are more than two bits apart. We train from four random starts at 8 bits, from two at 16, and count the pairs of classes whose codes are at most two bits apart. The estimator first: it follows Eq. (3), and records every term.


# %% tags=["export"]
@dataclass(eq=False, repr=False)
class SupervisedDiscreteHashing(_KernelHasher):
    """Supervised Discrete Hashing (Shen et al., CVPR 2015): "SDH" in the tables of BDNN.

    Not to be confused with Supervised Deep Hashing, which has the same initials:
    `bdnn.SupervisedDeepHashing`.

    Parameters
    ----------
    n_bits, width, dtype, random_state : see :mod:`bdnn.baselines.kernels`
    n_anchors : int
        Training samples drawn as anchors of the kernel; if there are fewer, all of them.
    lambda_G, lambda_F : float
        Ridge of the classifier and of the hash function: Eq. (3) of notebook 12.
    nu : float
        Weight of the distance between codes and hash function.
    max_alternations, cycles : int
        Updates of the codes at most, and passes over the bits in each of them at most.
    init : "classes" or "random"
        Codes to start from: one for each class, far apart (`sh_bdnn.class_codes`), or random
        signs for every sample, as in the paper.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Training codes B as learned; the hash function comes close to them.
    G_ : array (n_classes, n_bits)
        Classifier of codes.
    history_ : list of dict
        For each `alternation`: `objective`, its weighted terms `classification`,
        `classifier_decay`, `equality`, `hash_decay`, the share of bits that changed (`flips`), and
        `seconds`.
    """

    _parameter_constraints = {
        **_KernelHasher._parameter_constraints,
        "lambda_G": at_least(1e-6),
        "lambda_F": at_least(1e-6),
        "nu": at_least(0),
        "cycles": at_least(1, Integral),
        "init": [StrOptions({"classes", "random"})],
    }

    n_bits: int = 16
    _: KW_ONLY
    n_anchors: int = 1000
    width: float | None = None
    lambda_G: float = 1.0
    lambda_F: float = 1e-2
    nu: float = 1e-5
    max_alternations: int = 5
    cycles: int = 10
    init: str = "classes"
    dtype: DTypeLike = "float32"
    random_state: Seed = 0

    def _fit(self, X, y):
        rng = as_generator(self.random_state)
        self.classes_, y = numbered(y)
        K = self._centred_kernel(X, X[:, rng.permutation(len(y))[: self.n_anchors]])
        if self.init == "classes":
            number, T = label_groups(y)
            B = class_codes(np.bincount(number), self.n_bits, rng, T=T)[:, number]
        else:
            B = sgn(rng.standard_normal((self.n_bits, len(y))))
        Y = one_hot(y, len(self.classes_), X.dtype) if y.ndim == 1 else y[:, self.classes_].T
        B = self._alternate(K, np.ascontiguousarray(Y, X.dtype), B.astype(X.dtype))
        self.codes_ = B.T.astype(np.int8)

    def _alternate(self, K, Y, B):
        """G step, F step, B step, until the codes stay; the last G and W belong to the codes."""
        self.history_, flips, factor_F = [], 0.0, ridge_factor(K, self.lambda_F)
        for t in range(self.max_alternations + 1):
            started = time.perf_counter()
            self.G_ = ridge_solution(ridge_factor(B, self.lambda_G), B, Y)
            self.W_ = ridge_solution(factor_F, K, B)
            self.c_ = B.mean(axis=1, keepdims=True)
            F = self.W_ @ K + self.c_
            entry = {"alternation": t, **self._terms(Y, B, F), "flips": flips}
            self.history_.append(entry | {"seconds": time.perf_counter() - started})
            self._so_far(codes_=B.T.astype(np.int8))
            if t == self.max_alternations:
                break
            old, zero = B, np.zeros((len(Y), 1), B.dtype)
            B = coordinate_descent(Y, self.G_, zero, F, self.nu, B, self.cycles)
            flips = float(np.mean(B != old))
            if flips == 0:
                break
        return B

    def _terms(self, Y, B, F):
        """The terms of Eq. (3) of notebook 12, weighted, and their sum `objective`."""
        terms = {
            "classification": squared_norm(Y - self.G_ @ B),
            "classifier_decay": self.lambda_G * squared_norm(self.G_),
            "equality": self.nu * squared_norm(B - F),
            "hash_decay": self.nu * self.lambda_F * squared_norm(self.W_),
        }
        return {"objective": sum(terms.values())} | terms


# %%
def close_pairs(model):
    codes = np.array([model.codes_[y == k][0] for k in range(C)])
    return np.sum(metrics.hamming_distances(codes, codes)[np.triu_indices(C, 1)] <= 2)


def precision(model):
    pair = [model.transform(Z) for Z in (dataset.query, dataset.database)]
    return 100 * metrics.precision_at_radius(*pair, dataset.relevant)


# %%
trained, SEEDS = {}, {8: range(4), 16: range(2)}
KINDS = list(product(SEEDS, ("random", "classes")))
for bits, init in KINDS:
    for seed in SEEDS[bits]:
        options = {"n_anchors": 500, "init": init, "random_state": seed, "dtype": "float64"}
        model = SupervisedDiscreteHashing(bits, **options).fit(dataset.train, y)
        objective = model.history_[-1]["objective"]
        trained[bits, init, seed] = close_pairs(model), precision(model), objective

# %% tags=["nbval-ignore-output"]
print("bits  start    close pairs of classes, precision in %, objective")
for bits, init in KINDS:
    rows = [trained[bits, init, seed] for seed in SEEDS[bits]]
    cells = [f"{close} {found:.1f} {J:.1f}" for close, found, J in rows]
    print(f"{bits:4d}  {init:7}", *(f"{cell:>15}" for cell in cells))

# %%
found = {key: [trained[*key, seed][1] for seed in SEEDS[key[0]]] for key in KINDS}
assert np.ptp(found[8, "random"]) > 20 > np.ptp(found[8, "classes"])
assert np.mean(found[8, "classes"]) > np.mean(found[8, "random"]) + 5
print("8 bits: random starts lie more than twenty points apart; class codes find more in the mean")

# %%
fig, ax = plt.subplots(figsize=(6, 3.2))
for (bits, init), marker in zip(KINDS, "oDsX"):
    close, found, _ = zip(*(trained[bits, init, seed] for seed in SEEDS[bits]))
    colour = COLOURS["blue" if init == "random" else "vermillion"]
    label = f"{bits} bits, {init}"
    _ = ax.plot(close, found, marker, color=colour, label=label, mfc="none", ms=7)
_ = ax.set(xlabel="pairs of classes at most 2 bits apart", ylabel="precision at radius 2 (%)")
_ = ax.legend()
save_figure(fig, "12_starts")

# %% [markdown]
# Each point is one training. Where two classes are at most two bits apart, queries of the one find the items of the other, and every such pair costs some points of precision: at 8 bits the random starts lie more than twenty points apart. The objective hardly tells them apart: with 8 bits it cannot fall below about 800 (ten codes in eight dimensions leave two classes unread, 400 samples each), most of the starts come within one percent of it, and their precision differs by more than ten points. So the published 36.49 % of SDH at 8 bits may be one draw of a wide distribution.
#
# **Departure:** our default starts from one code for each class, chosen for a low similarity loss (`class_codes` of notebook 09), and SDH keeps them. `init="random"` is the paper's start; both are compared on all of MNIST below.
#
# **Departure:** the authors' program starts the coordinate descent of every B step from $B=0$, as BDNN's does (notebook 08); ours goes on from the codes as they are, so that the objective cannot rise. At 8 bits this alone moves the result by some points. Their demonstration also leaves the kernel uncentred and penalises the constant with $W$.
#
# ## One loss for KSH and BRE
#
# KSH wants the inner products of codes to be $\pm L$, BRE wants Hamming distances to be like given distances. On paper: with codes $b_i,b_j$ the normalised distance is $\tilde d_{ij}=\frac12-\frac1{2L}b_i^\top b_j$. If the wanted distance is $d_{ij}$, and $s_{ij}=1-2d_{ij}$, then
#
# $$ \sum_{ij}\big(d_{ij}-\tilde d_{ij}\big)^2=\tfrac14\sum_{ij}\big(\tfrac1Lb_i^\top b_j-s_{ij}\big)^2=\tfrac14\,\big\|\tfrac1LB^\top B-S\big\|^2. \tag{7} $$
#
# With the distances 0 within a class and 1 between classes, $S$ is the $\pm1$ matrix of notebook 09. **Supervised BRE, KSH and SH-BDNN minimise one and the same loss** (SH-BDNN for real outputs, next to four other terms), over different functions and by different means. We write it as in notebook 09, and $S$ by a factor $T$ with a sign $\tau_r=\pm1$ for each of its rows, such that $d_{ij}=1-t_i^\top\operatorname{diag}(\tau)\,t_j$:
#
# $$ Q(B)=\tfrac1{2m}\big\|\tfrac1LB^\top B-S\big\|^2,\qquad S=2T^\top\operatorname{diag}(\tau)T-\mathbf 1\mathbf 1^\top. \tag{8} $$
#
# * With labels, $T=Y$ and $\tau=\mathbf 1$: $t_i^\top t_j$ is 1 in a class, 0 between classes.
# * Without labels, BRE keeps distances. For vectors of unit length, $\frac12\|x_i-x_j\|^2=1-x_i^\top x_j$: now $T$ is the data, each column divided by its length, and $\tau=\mathbf 1$ again.
# * With several labels for a sample, $d_{ij}=0$ if $i$ and $j$ share one. The 0/1 matrix that says which sets of labels share one (notebook 05) has eigenvalues $\theta_r$ of both signs, with eigenvectors $u_r$. A sample with set $c$ gets the entries $\sqrt{|\theta_r|}\,(u_r)_c$, and $\tau_r=\operatorname{sgn}(\theta_r)$.
#
# As in notebook 09 the squares can be multiplied out so that nothing is of size $m\times m$: $\|B^\top B\|=\|BB^\top\|$, and $\langle B^\top B,T^\top\operatorname{diag}(\tau)T\rangle=\sum_r\tau_r\|Bt^{(r)}\|^2$ with the rows $t^{(r)}$ of $T$.


# %% tags=["export"]
def label_factors(
    y: Array, n_classes: int, dtype: DTypeLike = np.float64
) -> tuple[Array, Array | float]:
    """T (r, m) and the signs tau (r,) of its rows for labels: Eq. (8) of notebook 12.

    Labels y are numbers 0, 1, ... (m,), for which tau is 1, or a 0/1 matrix (m, n_labels).
    """
    y, shared = label_groups(y)
    if shared is None:
        return one_hot(y, n_classes, dtype), 1.0
    theta, U = np.linalg.eigh(shared)
    T = np.sqrt(np.abs(theta))[:, None] * U.T  # a row for each eigenvalue, a column for each set
    return T[:, y].astype(dtype), np.sign(theta)


def similarity_loss(B: Array, T: Array, L: int | None = None, tau: Array | float = 1.0) -> float:
    """The loss 1/(2m) ||B^T B / L - S||^2 with S = 2 T^T diag(tau) T - 1 1^T.

    Eq. (8) of notebook 12; B (k, m) are codes, or the first k of L bits. Without the matrix of
    pairs it takes O(m (k + r)^2).
    """
    L, m = L or len(B), B.shape[1]
    crossed = 2 * np.sum(tau * np.square(B @ T.T), dtype=np.float64) - squared_norm(B.sum(axis=1))
    wanted = np.sum(tau * np.square(T @ T.T) * np.reshape(tau, (-1, 1)), dtype=np.float64)
    wanted = 4 * (wanted - np.sum(tau * np.square(T.sum(axis=1)), dtype=np.float64)) + m**2
    return float(squared_norm(B @ B.T) / L**2 - 2 / L * crossed + wanted) / (2 * m)


# %% tags=["nbval-ignore-output"]
B = sgn(rng.standard_normal((16, m))).astype(np.float64)
by_labels = losses.pairwise_similarity(B, y)[0]
same("the loss of notebook 05", similarity_loss(B, Y), by_labels)

# %% tags=["nbval-ignore-output"]
B_300, T = B[:, :300], X[:, :300] / np.linalg.norm(X[:, :300], axis=0)
d = np.sum((T[:, :, None] - T[:, None]) ** 2, axis=0) / 2
d_codes = np.mean(B_300[:, :, None] != B_300[:, None], axis=0)
by_distances = 4 * np.sum((d - d_codes) ** 2) / (2 * 300)
same("from distances, by hand", similarity_loss(B_300, T), by_distances)

# %% tags=["nbval-ignore-output"]
several = np.random.default_rng(1).random((300, 5)) < 0.3  # a row for each sample
T_several, tau = label_factors(several, 5)
S = np.where(several.astype(int) @ several.T > 0, 1.0, -1.0)
same("S of several labels", 2 * (T_several.T * tau) @ T_several - 1, S)
by_pairs = np.sum((B_300.T @ B_300 / 16 - S) ** 2) / (2 * 300)
same("its loss", similarity_loss(B_300, T_several, tau=tau), by_pairs)
print(f"{len(tau)} sets of labels; {np.sum(tau < 0)} of the signs are negative")

# %% [markdown]
# ### One bit, all others given
#
# Let $b$ be one row of $B$, written as a column of $m$ signs, and $B_{\setminus k}$ the rows that are given. Then $B^\top B=B_{\setminus k}^\top B_{\setminus k}+bb^\top$, and with the **residue** $R=LS-B_{\setminus k}^\top B_{\setminus k}$
#
# $$ 2mL^2\,Q=\|R-bb^\top\|^2=\|R\|^2-2\,b^\top Rb+m^2, \tag{9} $$
#
# because $\|bb^\top\|^2=(b^\top b)^2=m^2$ for every $b$. So **the best bit maximises $b^\top Rb$.** KSH does this once for each bit, with the bits found so far as the others. BRE does it again and again, with all others.
#
# $R$ is $m\times m$, but like $S$ it is made of little. Put everything that is known into one matrix with a weight for each row:
#
# $$ R=F^\top\operatorname{diag}(\omega)\,F,\qquad F=\begin{pmatrix}\mathbf 1^\top\\T\\B_{\setminus k}\end{pmatrix},\quad \omega=(-L,\;2L\tau_1,\dots,2L\tau_r,\;-1,\dots,-1),\qquad b^\top Rb=\sum_r\omega_r\,(Fb)_r^2. \tag{10} $$
#
# Read the sum: $b$ should agree with the targets, gather few samples on one side, and repeat no bit that is there. Balance and independence of the bits come out of the loss by themselves.


# %% tags=["export"]
def residue_factors(T: Array, B: Array, L: int, tau: Array | float = 1.0) -> tuple[Array, Array]:
    """The residue R = L S - B^T B as F^T diag(omega) F: Eq. (10) of notebook 12.

    B (k, m) are the other bits; F is (1 + r + k, m).
    """
    F = np.vstack([np.ones((1, T.shape[1]), T.dtype), T, B])
    omega = np.repeat([-L, 2 * L, -1.0], [1, len(T), len(B)])
    omega[1 : 1 + len(T)] *= tau
    return F, omega.astype(T.dtype)


# %% tags=["nbval-ignore-output"]
F, omega = residue_factors(Y[:, :300], B_300[1:], 16)
S = np.where(y[:300, None] == y[:300], 1.0, -1.0)
R, b = 16 * S - B_300[1:].T @ B_300[1:], B_300[0]
same("R", (F.T * omega) @ F, R)
same("b'Rb", omega @ (F @ b) ** 2, b @ R @ b)

# %% tags=["nbval-ignore-output"]
by_bit = (np.sum(R**2) - 2 * b @ R @ b + 300**2) / (2 * 300 * 16**2)
same("Eq. (9)", similarity_loss(B_300, Y[:, :300]), by_bit)

# %% [markdown]
# ## KSH: one bit after the other
#
# The bit is $b=\operatorname{sgn}(K^\top a)$ with $a\in\mathbb R^p$, one row of $W$. Signs have no gradient; KSH relaxes twice.
#
# **First without signs.** Allow $K^\top a$ itself for $b$, with the same length $\sqrt m$: maximise $a^\top KRK^\top a$ subject to $a^\top KK^\top a=m$. The gradient of $a^\top KRK^\top a-\mu\,a^\top KK^\top a$ vanishes where
#
# $$ KRK^\top a=\mu\,KK^\top a, \tag{11} $$
#
# and the value there is $\mu m$: the largest generalised eigenvalue wins. In this form it is a problem of size $p=1000$ for each bit. But $R$ has low rank. Take the Cholesky factor $\Lambda\Lambda^\top=KK^\top$ and put $a=\Lambda^{-\top}u$; then $u$ is an ordinary eigenvector of $V\operatorname{diag}(\omega)V^\top$ with $V=\Lambda^{-1}KF^\top$, a matrix with as many columns as $F$ has rows: for 10 classes and 32 bits never more than 42. Write $V=ZU$ with orthonormal columns in $Z$ and a small $U$ (the QR decomposition):
#
# $$ V\operatorname{diag}(\omega)V^\top=Z\,\big(U\operatorname{diag}(\omega)U^\top\big)\,Z^\top,\qquad a=\sqrt m\;\Lambda^{-\top}Ze, \tag{12} $$
#
# where $e$ is the leading eigenvector of the small matrix in brackets. One Cholesky factor serves all bits. Where samples are few, $KK^\top$ is singular (with all samples as anchors always, as the columns of $K$ sum to 0); we add $10^{-6}$ of its mean diagonal to the diagonal.


# %% tags=["export"]
def spectral_direction(KF: Array, omega: Array, factor: Array, m: int) -> Array:
    """The leading solution a (p,) of K R K^T a = mu K K^T a: Eqs. (11), (12) of notebook 12.

    KF (p, r) is K F^T for the residue R = F^T diag(omega) F, `factor` the lower Cholesky factor of
    K K^T, or of a matrix close to it. Scaled so that a^T K K^T a = m; the largest entry is
    positive.
    """
    V = solve_triangular(factor, KF.astype(np.float64), lower=True)
    Z, U = np.linalg.qr(V)
    _, E = np.linalg.eigh((U * omega) @ U.T)
    a = np.sqrt(m) * solve_triangular(factor, Z @ E[:, -1], lower=True, trans="T")
    return a if a[np.argmax(np.abs(a))] > 0 else -a


# %%
few = rng.permutation(m)[:400]
K_400 = anchor_kernel(X[:, few], X[:, few[:50]], sigma)
K_400 -= K_400.mean(axis=1, keepdims=True)
F, omega = residue_factors(Y[:, few], B[:5, few], 16)
R = 16 * np.where(y[few, None] == y[few], 1.0, -1.0) - B[:5, few].T @ B[:5, few]
mu, vectors = eigh(K_400 @ R @ K_400.T, K_400 @ K_400.T)

# %% tags=["nbval-ignore-output"]
a = spectral_direction(K_400 @ F.T, omega, cholesky(K_400 @ K_400.T, lower=True), 400)
along = np.abs(a @ (K_400 @ K_400.T) @ vectors[:, -1]) / np.sqrt(400)
same("cosine with SciPy's eigenvector, from the matrix of pairs, to 1", along, 1.0)
same("value mu m", a @ K_400 @ R @ K_400.T @ a, mu[-1] * 400)

# %% [markdown]
# **Then smooth signs.** Real values can be large for a few samples and small for the rest; a bit cannot. So KSH bends them to $\pm1$ with $\varphi(x)=\frac2{1+e^{-x}}-1=\tanh\frac x2$, and starts from the spectral solution. With $\varphi$ for $\varphi(K^\top a)$, and $\varphi'=\frac12(1-\varphi^2)$, on paper:
#
# $$ g(a)=-\tfrac1{m^2}\,\varphi^\top R\varphi,\qquad \mathrm dg=-\tfrac2{m^2}\,(R\varphi)^\top\mathrm d\varphi \quad\Longrightarrow\quad \frac{\partial g}{\partial a}=-\tfrac1{m^2}\,K\big[(R\varphi)\odot(1-\varphi\odot\varphi)\big]. \tag{13} $$
#
# $R\varphi=F^\top(\omega\odot F\varphi)$ costs as much as a few kernel rows.


# %% tags=["export"]
def relaxed_bit(a: Array, K: Array, F: Array, omega: Array) -> tuple[float, Array]:
    """The smooth stand-in for -b^T R b / m^2, and its gradient (p,): Eq. (13) of notebook 12.

    a (p,) are the weights of the bit; R is given by F and omega of `residue_factors`.
    """
    m = K.shape[1]
    phi = np.tanh(a @ K / 2)
    v = F @ phi
    slope = ((omega * v) @ F) * (1 - phi * phi)
    return -float(omega @ v**2) / m**2, K @ slope / K.dtype.type(-(m**2))


# %%
def difference(t, step=1e-6):
    e = step * np.eye(len(a))[t]
    return (relaxed_bit(a + e, *case)[0] - relaxed_bit(a - e, *case)[0]) / (2 * step)


# %% tags=["nbval-ignore-output"]
case = K_400, F, omega
gradient = relaxed_bit(a, *case)[1]
differences = np.array([difference(t) for t in range(len(a))])
same("gradient by central differences", gradient, differences, 1e-6)

# %% [markdown]
# The relaxed maximum need not be better for signs. KSH takes whichever of the two sign vectors has the larger $b^\top Rb$. And is that the best there is? With three anchors, all half-spaces can be tried: a hundred thousand random directions find nearly every sign vector that is possible.


# %%
K_3 = K_400[:3]
spectral = spectral_direction(K_3 @ F.T, omega, cholesky(K_3 @ K_3.T, lower=True), 400)
refined = minimize(lambda a: relaxed_bit(a, K_3, F, omega), spectral, max_iter=200).x

# %%
signs = sgn(rng.standard_normal((100_000, 3)) @ K_3).astype(np.float32)
best = np.max((signs @ F.T.astype(np.float32)).astype(np.float64) ** 2 @ omega)
shares = [omega @ (F @ sgn(a @ K_3)) ** 2 / best for a in (spectral, refined)]
print(f"share of the best value: spectral {shares[0]:.3f}, refined {shares[1]:.3f}")

# %% [markdown]
# So the second relaxation is worth its trouble. The estimator repeats this for each bit.
#
# **Departure:** KSH's program descends by Nesterov's accelerated gradient, up to 500 steps; we have an L-BFGS of our own, which needs 50. Our sources do not say how many labelled samples and anchors the paper gave to KSH; the program's demonstration has 2,000 samples and 300 anchors with an explicit $2000\times2000$ matrix. As nothing here is of size $m\times m$, we take 10,000 samples and 1,000 anchors.


# %% tags=["export"]
@dataclass(eq=False, repr=False)
class KernelSupervisedHashing(_KernelHasher):
    """Kernel Supervised Hashing (Liu et al., CVPR 2012): KSH.

    Parameters
    ----------
    n_bits, width, dtype, random_state, verbose : see :mod:`bdnn.baselines.kernels`
    n_samples : int
        Labelled samples drawn for the training; if there are fewer, all of them.
    n_anchors : int
        How many of these are anchors of the kernel; at most all of them.
    max_iter : int
        Iterations of L-BFGS for each bit; 0: the spectral solution alone.

    Attributes
    ----------
    history_ : list of dict
        For each bit (`iteration` counts them from 1): `objective`, the loss of Eq. (8) of notebook
        12 with the bits so far; `refined`, whether L-BFGS improved on the spectral solution;
        `seconds`.
    n_iter_ : int
        Iterations of L-BFGS in all.
    """

    _parameter_constraints = {
        **_KernelHasher._parameter_constraints,
        "n_samples": at_least(2, Integral),
        "max_iter": at_least(0, Integral),
    }

    n_bits: int = 16
    _: KW_ONLY
    n_samples: int = 10000
    n_anchors: int = 1000
    width: float | None = None
    max_iter: int = 50
    dtype: DTypeLike = "float32"
    random_state: Seed = 0
    verbose: bool = False

    def _fit(self, X, y):
        self.classes_, y = numbered(y)
        drawn = as_generator(self.random_state).permutation(len(y))[: self.n_samples]
        K = self._centred_kernel(X[:, drawn], X[:, drawn[: self.n_anchors]])
        self._learn_bits(K, *label_factors(y[drawn], len(self.classes_), K.dtype))

    def _learn_bits(self, K, T, tau):
        """One bit after the other, each the better of the spectral and the refined solution."""
        L, factor = self.n_bits, _stable_factor(K)
        self.W_, self.history_, self.n_iter_ = np.empty((0, len(K)), K.dtype), [], 0
        B = np.empty((0, K.shape[1]), K.dtype)
        for k in tqdm(range(L), f"KSH, {L} bits", disable=not self.verbose, leave=False):
            started = time.perf_counter()
            F, omega = residue_factors(T, B, L, tau)
            tried = [spectral_direction(K @ F.T, omega, factor, K.shape[1]).astype(K.dtype)]
            if self.max_iter > 0:
                g = partial(relaxed_bit, K=K, F=F, omega=omega)  # Eq. (13)
                refined = minimize(g, tried[0], max_iter=self.max_iter)
                tried.append(refined.x)
                self.n_iter_ += refined.nit
            bits = [sgn(a @ K).astype(K.dtype) for a in tried]
            best = int(np.argmax([omega @ (F @ b) ** 2 for b in bits]))
            self.W_, B = np.vstack([self.W_, tried[best]]), np.vstack([B, bits[best]])
            entry = {"iteration": k + 1, "objective": similarity_loss(B, T, L, tau)}
            entry |= {"refined": best == 1, "seconds": time.perf_counter() - started}
            self.history_.append(entry)
            self.c_ = np.zeros((len(B), 1), K.dtype)
            self._so_far()


def _stable_factor(K):
    """Lower Cholesky factor of K K^T with 1e-6 of its mean diagonal added to the diagonal."""
    ridge = 1e-6 * max(squared_norm(K) / len(K), 1e-6)
    return np.tril(ridge_factor(K, ridge)[0])


# %%
ksh = KernelSupervisedHashing(16, n_anchors=500, max_iter=30, dtype="float64")
ksh.fit(dataset.train, y)
print(f"refined better in {sum(entry['refined'] for entry in ksh.history_)} of 16 bits")
falls = ", ".join(f"{ksh.history_[k - 1]['objective'] / m:.3f} m" for k in (1, 4, 8, 16))
print(f"loss after 1, 4, 8, 16 bits: {falls}")
print(f"precision at radius 2: {precision(ksh):.1f} %")

# %% [markdown]
# ## BRE: one weight after the other
#
# KSH never returns to a bit. BRE takes all bits as given but one, and of this bit all weights but one. Let $z=K^\top w$ be the values of bit $k$ before the signs, and $\kappa\in\mathbb R^m$ row $s$ of $K$. If the weight $W_{ks}$ grows by $\delta$, the bit becomes
#
# $$ b(\delta)=\operatorname{sgn}(z+\delta\kappa), \qquad\text{and entry } i \text{ turns over at } \delta_i=-z_i/\kappa_i, \tag{14} $$
#
# to the sign of $\kappa_i$ as $\delta$ grows. So $b^\top Rb$, as a function of $\delta$, is a **staircase with at most $m+1$ steps**, and its exact maximum is found by looking at each. Sort the thresholds: $\delta_{(1)}\le\dots\le\delta_{(m)}$. Far to the left $b_i=-\operatorname{sgn}\kappa_i$; at every threshold one entry turns over. By Eq. (10) all that matters of $b$ is $v=Fb$, and it changes by one column:
#
# $$ v_{r}=v_0+\sum_{j=1}^{r}2\operatorname{sgn}(\kappa_{(j)})\,f_{(j)},\qquad b^\top Rb\ \text{ on step } r:\quad q_r=\sum_t\omega_t\,(v_{r})_t^2. \tag{15} $$
#
# A cumulative sum and a few squares: $O(m\log m)$ for the sorting and $O(m(L+C))$ for the rest. The new weight is the middle of the best step. Steps that are too narrow to be hit in float64 (samples that are alike have the same threshold) are left out.


# %% tags=["export"]
def best_step(z: Array, kappa: Array, F: Array, omega: Array) -> tuple[float, float]:
    """The change of one weight that is best for its bit: Eqs. (14), (15) of notebook 12.

    z (m,) are the values of the bit, b = sgn(z), and kappa (m,) what the weight multiplies:
    b(delta) = sgn(z + delta kappa). Returns the middle of the first of the best steps, 0 if kappa
    is 0, and the value b(delta)^T R b(delta) for R given by F and omega of `residue_factors`.
    """
    b = np.where(z >= 0, 1.0, -1.0)
    moving = np.flatnonzero(kappa)
    if not moving.size:
        return 0.0, float(omega @ (F @ b) ** 2)
    thresholds = -z[moving] / kappa[moving]
    order = np.argsort(thresholds)
    edges, moving = thresholds[order], moving[order]
    turned_to = np.sign(kappa[moving])
    b[moving] = -turned_to
    v0 = (F @ b)[:, None]
    v = np.hstack([v0, v0 + np.cumsum(2 * turned_to * F[:, moving], axis=1)])
    edges = np.concatenate([edges[:1] - 1, edges, edges[-1:] + 1])
    wide = np.diff(edges) > 1e-9 * np.median(np.abs(edges))
    q = np.where(wide, omega @ v**2, -np.inf)
    r = int(np.argmax(q))
    return float(edges[r] + edges[r + 1]) / 2, float(q[r])


# %% tags=["nbval-ignore-output"]
F, omega = residue_factors(Y[:, few], B[:15, few], 16)
z, kappa = rng.standard_normal(50) @ K_400, K_400[7]
delta, value = best_step(z, kappa, F, omega)
same("b'Rb at the step found", omega @ (F @ sgn(z + delta * kappa)) ** 2, value)

# %%
for points in (101, 1001, 10_001):
    grid = np.linspace(-60, 60, points)
    highest = np.max(omega @ (F @ sgn(z[:, None] + kappa[:, None] * grid)) ** 2)
    assert highest <= value * (1 + 1e-12)
    print(f"best of {points:6,d} grid points / the exact maximum: {highest / value:.4f}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.0))
for ax, reach in zip(axes, (60, 1.5)):
    at = np.linspace(-reach, reach, 4001) + (0 if reach == 60 else delta)
    values = omega @ (F @ sgn(z[:, None] + kappa[:, None] * at)) ** 2 / 400**2
    _ = ax.step(at, values, where="mid", lw=1)
    _ = ax.plot(delta, value / 400**2, "o", color=COLOURS["vermillion"])
    _ = ax.set(xlabel="$\\delta$", ylabel="$b^\\top Rb/m^2$")
_ = axes[0].axvline(0, color="black", ls=":", lw=1)
save_figure(fig, "12_staircase")

# %% [markdown]
# The value of one bit over one of its weights, from afar and near its maximum (the dot); the dotted line is the weight as it is. Between the thresholds nothing changes, so a gradient would be 0 everywhere; the sweep sees every step.
#
# A pass visits all weights of all bits once. A weight moves only if $b^\top Rb$, computed anew for the codes that result, is larger than before. By Eq. (9) the loss then falls, and it never rises.


# %% tags=["export"]
def unit_factors(X: Array, energy: float = 0.95) -> Array:
    """T (r, m) with t_i^T t_j = cos(x_i, x_j), nearly: for distances of unit vectors in Eq. (8).

    The samples X (D, m), scaled to unit length, are described by the principal axes that hold the
    share `energy` of their mean square; 1: exactly. A sample that is 0 has the factor 0.
    """
    X = X / (np.abs(X).max() or 1)
    length = np.sqrt(np.sum(np.square(X, dtype=np.float64), axis=0))
    U = X / np.where(length > 0, length, 1)
    P = principal_axes(U, energy)
    return P.T @ U


def improve_weights(W: Array, K: Array, T: Array, tau: Array | float = 1.0) -> int:
    """Give every weight of W (L, p) in turn its best value: one pass of BRE, in place.

    All in float64. Returns how many of the weights changed.
    """
    B, moved = np.where(W @ K >= 0, 1.0, -1.0), 0
    for k in range(len(W)):
        F, omega = residue_factors(T, np.delete(B, k, axis=0), len(W), tau)
        z, best = W[k] @ K, omega @ (F @ B[k]) ** 2
        for s, kappa in enumerate(K):
            delta, value = best_step(z, kappa, F, omega)
            if value <= best:
                continue
            b = np.where(z + delta * kappa >= 0, 1.0, -1.0)
            reached = omega @ (F @ b) ** 2
            if reached > best:
                W[k, s] += delta
                z, B[k], best, moved = z + delta * kappa, b, reached, moved + 1
    return moved


# %%
def losses_by_pass(T, n_anchors, L=8, passes=4, samples=500):
    rng, drawn = np.random.default_rng(0), order[:samples]
    K = anchor_kernel(X[:, drawn], X[:, drawn[:n_anchors]], sigma)
    K -= K.mean(axis=1, keepdims=True)
    W = rng.standard_normal((L, n_anchors))
    found = [similarity_loss(sgn(W @ K).astype(float), T)]
    for _ in range(passes):
        _ = improve_weights(W, K, T)
        found.append(similarity_loss(sgn(W @ K).astype(float), T))
    return np.array(found) / samples


# %%
drawn = order[:500]
unit = X[:, drawn] / np.linalg.norm(X[:, drawn], axis=0)
T = unit_factors(X[:, drawn])
error = np.linalg.norm(T.T @ T - unit.T @ unit) / np.linalg.norm(unit.T @ unit)
print(f"{len(T)} of {D} axes; relative error of all cosines {100 * error:.1f} %")

# %%
targets = {"labels": Y[:, drawn], "distances": T}
for name, p in (("labels", 20), ("labels", 100), ("distances", 20)):
    found = losses_by_pass(targets[name], p)
    assert np.all(np.diff(found) <= 1e-12)
    print(f"{name:9}, {p:3d} anchors:", *(f"{value:.3f}" for value in found), "times m")
lowest = class_vectors(np.bincount(y[drawn]), 8)[1] / 500
print(f"no codes of 8 bits can have less than {lowest:.3f} m, with labels")

# %% [markdown]
# Most is gained in the first pass; more anchors bring the loss lower; the floor of notebook 09 holds here too, as the loss is the same. The last block of the module is the estimator.
#
# **Departures:** the programs have a linear kernel, 20 kernel points of its own for each bit, 1,000 samples, and 5 % of their pairs. We take the RBF map, one set of 300 anchors, and all pairs of the 1,000 samples, which Eq. (10) gives for less. What BRE was given in the BDNN paper is not known.


# %% tags=["export"]
@dataclass(eq=False, repr=False)
class BinaryReconstructiveEmbedding(_KernelHasher):
    """Binary Reconstructive Embedding (Kulis and Darrell, NIPS 2009): BRE.

    It trains in float64; `dtype` is that of the hash function.

    Parameters
    ----------
    n_bits, width, dtype, random_state, verbose : see :mod:`bdnn.baselines.kernels`
    targets : "labels" or "distances"
        What the Hamming distances are to be like: 0 within a class and 1 between classes, which
        needs labels; or half the squared distances of the samples divided by their lengths, which
        does without.
    n_samples : int
        Samples drawn for the training; if there are fewer, all of them.
    n_anchors : int
        How many of these are anchors of the kernel; at most all of them.
    max_iter : int
        Passes over all weights at most.
    tol : float
        Stop after a pass that lowers the objective by no more than this share.

    Attributes
    ----------
    history_ : list of dict
        For each pass (`iteration` 0 is the start): `objective`, the loss of Eq. (8) of notebook 12,
        which never rises; `moved`, the share of the weights that changed; `seconds`.
    """

    _parameter_constraints = {
        **KernelSupervisedHashing._parameter_constraints,
        "targets": [StrOptions({"labels", "distances"})],
        "tol": at_least(0),
    }

    n_bits: int = 16
    _: KW_ONLY
    targets: str = "labels"
    n_samples: int = 1000
    n_anchors: int = 300
    width: float | None = None
    max_iter: int = 2
    tol: float = 1e-3
    dtype: DTypeLike = "float32"
    random_state: Seed = 0
    verbose: bool = False

    @property
    def _requires_labels(self):
        return self.targets == "labels"

    def _fit(self, X, y):
        rng = as_generator(self.random_state)
        drawn = rng.permutation(X.shape[1])[: self.n_samples]
        K = self._centred_kernel(X[:, drawn], X[:, drawn[: self.n_anchors]])
        if self.targets == "labels":
            self.classes_, y = numbered(y)
            T, tau = label_factors(y[drawn], len(self.classes_))
        else:
            T, tau = unit_factors(X[:, drawn]), 1.0
        W = rng.standard_normal((self.n_bits, len(K)))
        self.c_ = np.zeros((self.n_bits, 1), K.dtype)
        self._improve(W, K.astype(np.float64), T, tau)

    def _improve(self, W, K, T, tau):
        """Passes over the weights, until one lowers the loss by next to nothing."""
        self.history_, started = [], time.perf_counter()
        passes = range(self.max_iter + 1)
        for t in tqdm(passes, f"BRE, {self.n_bits} bits", disable=not self.verbose, leave=False):
            moved = improve_weights(W, K, T, tau) / W.size if t else 0.0
            J = similarity_loss(sgn(W @ K), T, tau=tau)
            seconds = time.perf_counter() - started
            entry = {"iteration": t, "objective": J, "moved": moved, "seconds": seconds}
            self.history_.append(entry)
            self.n_iter_ = t
            self.W_ = (W / np.linalg.norm(W, axis=1, keepdims=True)).astype(self.c_.dtype)
            self._so_far()
            if t and self.history_[-2]["objective"] - J <= self.tol * J:
                break


# %% [markdown]
# Without labels BRE is one of the unsupervised methods. Judged by Euclidean neighbours, at 16 bits, beside the random weights that it started from:


# %%
def neighbours(estimator):
    pair = [estimator.transform(Z) for Z in (dataset.query, dataset.database)]
    return 100 * metrics.mean_average_precision(*pair, neighbour_set.relevant)


neighbour_set = load("mnist5k")

# %%
options = {"targets": "distances", "n_samples": 500, "n_anchors": 100, "dtype": "float64"}
for passes in (0, 1):
    bre = BinaryReconstructiveEmbedding(16, max_iter=passes, **options).fit(dataset.train)
    print(f"BRE without labels, passes over the weights: {passes}, mAP {neighbours(bre):.1f} %")

# %% [markdown]
# ITQ stands at 37 % here (notebook 03). BRE learns, but its thousand samples and its greedy weights are no match for ITQ's rotation on all of the data.
#
# ## The methods side by side
#
# Now all supervised methods of the tables on the 4,000 digits, at 16 bits, with one seed each. The table has the loss of Eq. (8) too, in class directions above the floor as in notebook 09, computed for the codes of all training samples.

# %%
METHODS = {
    "ITQ-CCA": ITQCCA(16),
    "BRE": BinaryReconstructiveEmbedding(16),
    "KSH": KernelSupervisedHashing(16),
    "SDH": SupervisedDiscreteHashing(16),
    "SH-BDNN": SHBDNN(16, max_alternations=1, max_iter=50),
}


# %% tags=["nbval-ignore-output"]
floor = class_vectors(counts, 16)[1]
results = {}
for name, estimator in METHODS.items():
    _ = estimator.fit(dataset.train, dataset.labels.train)
    codes = [estimator.transform(Z) for Z in (dataset.query, dataset.database)]
    row = results[name] = metrics.evaluate(*codes, dataset.relevant)
    row["above"] = (similarity_loss(codes[1].T.astype(float), Y) - floor) / (0.02 * m)

# %% tags=["nbval-ignore-output"]
print("method    P@r=2 %   mAP %  empty balls  directions above the floor")
for name, row in results.items():
    print(f"{name:8}  {100 * row['precision_at_2']:7.2f}  {100 * row['map_standard']:6.2f}", end="")
    print(f"  {row['empty_share']:11.3f}  {row['above']:6.2f}")

# %%
p2 = {name: row["precision_at_2"] for name, row in results.items()}
assert min(p2["KSH"], p2["SDH"], p2["SH-BDNN"]) > 0.8 > p2["ITQ-CCA"] - 0.05 and p2["BRE"] > 0.5
print("KSH, SDH and SH-BDNN are above 80 %")


# %%
def class_distances(codes):
    """Mean Hamming distance between the samples of two classes, (C, C)."""
    means = np.array([codes[y == k].mean(axis=0) for k in range(C)])
    return (codes.shape[1] - means @ means.T) / 2


# %%
fig, axes = plt.subplots(1, 5, figsize=(9.5, 2.5))
for ax, (name, estimator) in zip(axes, METHODS.items()):
    image = ax.imshow(class_distances(estimator.transform(dataset.database)), vmin=0, vmax=12)
    _ = ax.set(title=name, xticks=(0, 5, 9), yticks=(0, 5, 9), xlabel="class")
_ = axes[0].set(ylabel="class")
_ = fig.colorbar(image, ax=axes, label="mean distance (bits)", shrink=0.8)
save_figure(fig, "12_distances")

# %% [markdown]
# Mean Hamming distances between classes, light is near. On the diagonal of ITQ-CCA and BRE even samples of one class are some bits apart, and neighbours such as 4 and 9 are grey spots off it. The other three have white diagonals: nearly one code for each class.
#
# Three things are worth keeping:
#
# * **Samples, anchors and optimiser decide a lot.** BRE and KSH share the loss and the kind of kernel, with 300 and 1,000 anchors here; 300 anchors, a thousand samples and weights taken one at a time do not get as low as 1,000 anchors, four times the labels and a smooth relaxation. Which of the three differences matters most was not measured.
#    KSH and SH-BDNN share the loss too, and come to similar places by a kernel and by a network.
# * **One can reach the lowest loss without minimising it.** SDH does not minimise this loss at all. From class codes it is a kernel ridge regression on ten fixed codes (compare Exercise 9.4), and on few samples nothing here does better.
# * **A baseline has settings, too.** SDH at 8 bits moves by tens of points with its start, KSH by three with its number of samples. Whoever compares methods compares these settings.
#
# ## All of MNIST, beside the published figures
#
# 60,000 training images are the database, the 10,000 test images the queries, relevant is the class. SDH learns from all 60,000, KSH from 10,000 and BRE from 1,000 of them; the numbers behind the published figures of KSH and BRE are not known. Each recorded row in `notebooks/results` has its settings, seed and the command that makes it again.

# %%
NAMES = {
    "SDH": SupervisedDiscreteHashing,
    "KSH": KernelSupervisedHashing,
    "BRE": BinaryReconstructiveEmbedding,
    "ITQ-CCA": ITQCCA,
    "SH-BDNN": SHBDNN,
}

# %%
PUBLISHED = {
    "SDH": {8: 36.49, 16: 93.00, 24: 93.98, 32: 94.43},
    "KSH": {8: 68.07, 16: 90.79, 24: 92.86, 32: 92.41},
    "BRE": {8: 37.67, 16: 69.80, 24: 83.24, 32: 84.61},
    "ITQ-CCA": {8: 54.35, 16: 79.99, 24: 84.12, 32: 84.57},
    "SH-BDNN": {8: 84.26, 16: 94.67, 24: 94.69, 32: 95.51},
}

# %%
recorded = [
    row
    for rows in read_folder().values()
    for row in rows
    if (row["data"], row["ground_truth"]) == ("mnist", "labels")
    and row["split"] == "60000 train, 60000 database"
]


# %%
def runs_by_settings(name):
    """Recorded rows of a method, grouped by what differs from its default settings."""
    groups, default = {}, NAMES[name]().get_params()
    for row in recorded:
        if row["method"] == NAMES[name].__name__:
            changed = {k: v for k, v in row["settings"].items() if v != default.get(k)}
            label = ", ".join(f"{key}={value}" for key, value in changed.items())
            groups.setdefault(label, {})[row["bits"], row["seed"]] = row  # the newest of a seed
    return {label: list(rows.values()) for label, rows in sorted(groups.items())}


# %%
def compare(name):
    print(f"{name}, published:".ljust(45), *(f"{v:11.2f}  " for v in PUBLISHED[name].values()))
    for label, rows in runs_by_settings(name).items():
        print(f"  ours {label}"[:44].ljust(45), end="")
        for bits in (8, 16, 24, 32):
            found = [row["precision_at_2"] for row in rows if row["bits"] == bits]
            spread = np.std(found, ddof=1) if len(found) > 1 else 0
            cell = f"{np.mean(found):6.2f} ± {spread:4.2f}" if found else "-"
            print(f" {cell:>13}", end="")
        seconds = max(row["fit_seconds"] for row in rows)
        print(f"  seeds {len({row['seed'] for row in rows})}, {seconds:.0f} s to fit at most")


# %%
print("precision at radius 2 (%)".ljust(45), *(f"{bits:6d} bits  " for bits in (8, 16, 24, 32)))
for name in NAMES:
    compare(name)

# %%
for name in ("SDH", "KSH", "BRE"):
    for row in runs_by_settings(name).get("", []):
        assert row["precision_at_2"] > 0.9 * PUBLISHED[name][row["bits"]]
        assert name != "SDH" or row["bits"] == 8 or row["precision_at_2"] >= 93.0
print("no run with the default settings is more than a tenth below the published figure")

# %% [markdown]
# SDH passes the published figures at 16 and 24 bits, ends a tenth of a point below at 32, and is above that of 8 bits from either start; the rows with `init=random` are the paper's start. KSH comes within two and a half points of the published figures at 8 bits and within about one from 16 on with 10,000 samples, and loses one or two more, at 8 bits three, with the 2,000 of its demonstration. BRE is above the published figure at 8 and 16 bits, and four to five points below it at 24 and 32, where ours hardly gains from further bits.
#
# ## What we have now
#
# The module `bdnn.baselines.kernels`:
#
# | name | what it gives |
# |---|---|
# | `anchor_kernel(X, A, width)`, `anchor_width(A)`, `squared_distances(A, X)` | the map to anchors, Eq. (1) |
# | `ridge_factor(A, ridge)`, `ridge_solution(factor, A, B)` | the steps of Eqs. (4) and (5) |
# | `similarity_loss(B, T)`, `residue_factors(T, B, L)` | the loss of Eq. (8), the residue of Eq. (10) |
# | `spectral_direction(…)`, `relaxed_bit(a, K, F, omega)` | KSH: Eqs. (12) and (13) |
# | `best_step(z, kappa, F, omega)`, `improve_weights(W, K, T)` | BRE: Eq. (15), and a pass of it |
# | `label_factors(y, n_classes)`, `unit_factors(X)` | the two kinds of targets $T$, $\tau$ |
# | `SupervisedDiscreteHashing`, `KernelSupervisedHashing`, `BinaryReconstructiveEmbedding` | estimators, also in `bdnn` |
#
# Labels may be of any type that scikit-learn takes for classes; every sample needs one, but for BRE with `targets="distances"`, which needs none. With this, every method in the paper's tables stands beside BDNN.
#
# ## Exercises
#
# **12.1** (on paper) Let there be $C$ classes of $n$ samples, $C$ even, and $k=0$: no bit is there yet. If every sign vector $b$ were possible, which ones maximise $b^\top Rb$, and what is the maximum? Check it in numbers.
#
# <details><summary>Hint</summary> Write $b^\top Rb$ in terms of the class sums $\sum_{i\in c}b_i$. </details>
#
# **12.2** (in code) Raise $\nu$ of SDH from $10^{-5}$ to $10^{-2}$ and to $1$ at 16 bits, with `init="random"`. How many different training codes are there, and what becomes of the precision? Explain both ends.
#
# <details><summary>Hint</summary> `codes_` are the training codes as learned. What does Eq. (6) look like when $\nu$ is very large? </details>
#
# **12.3** (in code) Vary the width of the kernel, $\sigma/2$, $\sigma$ and $2\sigma$, for KSH and SDH at 16 bits.
#
# <details><summary>Hint</summary> Fit once with the default and read `width_`. </details>
#
# **12.4** (on paper, then in code) BRE has no constants $c$. Show that the exact sweep finds the best constant of a bit, too, and add it to a pass. What does it bring?
#
# <details><summary>Hint</summary> What is $\kappa$ for a constant? Add a row to $K$. </details>
#
# **12.5** (in code) KSH never returns to a bit. Let BRE's passes go over KSH's weights. By how much does the loss fall, and does the precision follow?
#
# <details><summary>Hint</summary> `improve_weights` takes any $W$; give it 500 of the samples, or all of them and some patience. </details>
#
# Solutions: `solutions/12_solutions`.
#
# ## Further reading
#
# * Shen, Shen, Liu and Shen, *Supervised Discrete Hashing*, CVPR 2015: our Eq. (3), and the B step that BDNN took over.
# * Liu, Wang, Ji, Jiang and Chang, *Supervised Hashing with Kernels*, CVPR 2012: our Eqs. (11) and (13).
# * Kulis and Darrell, *Learning to Hash with Binary Reconstructive Embeddings*, NIPS 2009: our Eqs. (7) and (14).
# * Do, Doan and Cheung, *Learning to Hash with Binary Deep Neural Network*, ECCV 2016, the section on experiments: the published figures.
# * Next: notebook 13, the losses of the background slides.
