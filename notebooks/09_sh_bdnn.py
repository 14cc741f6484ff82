# %% [markdown]
# # Learn binary codes from labels with SH-BDNN
#
# **What you will do.** Put class labels in the place of the reconstruction, train on all samples
# at once without the matrix of their pairs, and watch the objective come down to a floor that you
# can compute beforehand.
#
# **What you will learn**
#
# * how the pairwise term is derived, and why its $m\times m$ matrix never has to exist;
# * how low the term can go, and by which outputs of the code layer;
# * that the best codes for a given network are its signs, and that the code layer may be turned
#   until it suits them;
# * what a low precision after the first steps means: classes that share a code;
# * which start brings the objective to its floor soonest, and that the floor is not all.
#
# **What you need.** Notebooks 03 to 08. About 45 minutes to read; a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""SH-BDNN: supervised hashing with a binary deep neural network.

Source: Do, Doan and Cheung, "Learning to Hash with Binary Deep Neural Network", ECCV 2016.  Samples
stand in columns in the functions, and in rows at the face of the estimator.
"""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from tqdm import tqdm
from bdnn import losses
from numpy import ndarray as Array
from bdnn.base import check_hidden
from bdnn.checks import Seed, as_generator, check_number, check_option, check_whole_number, class_numbers
from bdnn.files import Checkpoint
from bdnn.hashing import Hasher
from bdnn.metrics import sgn
from bdnn.itq import itq_rotation, range_scaling, rotation_from_product, sample_mean
from bdnn.lbfgs import minimize
from bdnn.metrics import hamming_distances, mean_average_precision
from bdnn.network import flatten, forward, hidden_sizes, initial_weights, unflatten
from bdnn.sources import AnySamples, Samples, alongside, blockwise, drop, stored, take, total
from bdnn.uh_bdnn import (
    BlockwiseObjective,
    CodeSlope,
    EncoderObjective,
    Moments,
    code_terms,
    code_type,
    encoder_objective,
    encoder_terms,
    initial_codes,
    moments,
    principal_axes,
    share_of_flips,
)

# %%
import matplotlib.pyplot as plt

from bdnn import ITQCCA, metrics
from bdnn.data import load
from bdnn.network import backward, gradient_error
from bdnn.course.plotting import network_diagram, save_figure
from bdnn.course.records import read_folder
from bdnn.uh_bdnn import in_scaled_variables, variable_scales

# %% [markdown]
# ## One objective, with labels
#
# The network has $n=4$ layers now: $D\to h_1\to h_2\to L$. There is no decoder, as there is
# nothing to reconstruct; the code layer $H^{(n)}\in\mathbb R^{L\times m}$ is the last one. In the place
# of the samples stands the matrix $S$ of their pairs, $+1$ for the same class and $-1$ for
# different ones:
#
# $$
# \begin{aligned}
# J(W,c,B)={}&\underbrace{\tfrac1{2m}\big\|\tfrac1LH^{(n)\top}H^{(n)}-S\big\|^2}_{\text{similarity}}
# +\underbrace{\tfrac{\lambda_1}2\textstyle\sum_{l=1}^{n-1}\|W^{(l)}\|^2}_{\text{weight decay}}
# +\underbrace{\tfrac{\lambda_2}{2m}\|H^{(n)}-B\|^2}_{\text{equality}}\\
# &+\underbrace{\tfrac{\lambda_3}2\big\|\tfrac1mH^{(n)}H^{(n)\top}-I\big\|^2}_{\text{independence}}
# +\underbrace{\tfrac{\lambda_4}{2m}\|H^{(n)}\mathbf 1\|^2}_{\text{balance}},
# \qquad B\in\{-1,+1\}^{L\times m}.
# \end{aligned}
# \tag{1}
# $$

# %%
fig, ax = plt.subplots(figsize=(7.5, 3.4))
network_diagram(ax, supervised=True)
save_figure(fig, "09_network")

# %% [markdown]
# The encoder is that of UH-BDNN, the decoder is gone: what the codes have to say is no longer the picture but $S$, black where
# two samples have one class. The similarity pulls at the outputs $H^{(4)}$ of the code layer, and so do independence and
# balance; the equality ties the codes $B$ to them, and the decay holds all weights small.
#
# We write $H$ for $H^{(n)}$ from here on. Two blocks of variables are left:
#
# | step | variables | what is minimised | how |
# | --- | --- | --- | --- |
# | 1 | weights and biases | all five terms | L-BFGS (notebook 06) |
# | 2 | codes $B$ | equality | exact: $B=\operatorname{sgn}(H)$ |
#
# **Departure:** in the slides the similarity has no weight. The authors' program multiplies it by a
# $\lambda_5=10^{-2}$ and uses for the other terms the $\lambda$ of UH-BDNN. Divided by $\lambda_5$ these are, for the
# form of the slides, $\lambda_1=10^{-3}$, $\lambda_2=5$, $\lambda_3=1$ and
# $\lambda_4=0.5\cdot10^{-4}$. Our $\lambda_4$ is $10^{-4}$; after training balance is the smallest term by far.
#
# ## The data
#
# Notebook 01 scaled images by their minimum and their range. Labels are asked of features of other kinds too, and there the minimum does
# harm: subtract it from centred features and all samples sit far from the origin, side by side, so that the mean is all that
# a network sees at first. We subtract the mean, and divide by one number that makes the samples
# $\rho=10$ long in the root mean square, which is about the length of a digit with values in $[0,1]$.


# %% tags=["export"]
SAMPLE_LENGTH = 10.0


def centred_scaling(X: AnySamples) -> tuple[Array, float]:
    """Mean of the samples, and the number that makes what is left `SAMPLE_LENGTH` long.

    Parameters
    ----------
    X : array (D, m)
        Samples.

    Returns
    -------
    mean : array (D, 1)
    scale : float
        The root mean square length of the columns of (X - mean) / scale is `SAMPLE_LENGTH`; 1 for
        constant samples.
    """
    mean = sample_mean(X)
    (squares,) = total(lambda X: (np.square(X - mean).sum(),), X)
    variance = squares / X.shape[1]
    scale = np.sqrt(variance) / SAMPLE_LENGTH if variance > 0 else 1.0
    return mean.astype(X.dtype), X.dtype.type(scale)


# %%
dataset = load("mnist5k", ground_truth="labels")
rows = dataset.train.astype(np.float64)
shift, scale = centred_scaling(rows.T)
X = (rows.T - shift) / scale
classes, y = np.unique(dataset.labels.train, return_inverse=True)
counts = np.bincount(y)
(D, m), C = X.shape, len(classes)
print(f"D = {D}, m = {m}, {C} classes with {counts.min()} to {counts.max()} samples")

# %% [markdown]
# **Departure:** for CNN features the authors' program does not scale at all, and for images the paper's rule is that of
# notebook 01, `scaling="range"`.
#
# ## The matrix that never has to exist
#
# Let $V=\tfrac1LH^\top H-S$. On paper, with the differentials of notebook 04: $V$ is
# symmetric, so
#
# $$
# \mathrm d\,\tfrac1{2m}\|V\|^2=\tfrac1m\langle V,\mathrm dV\rangle
# =\tfrac1{mL}\langle V,\mathrm dH^\top H+H^\top\mathrm dH\rangle
# =\tfrac2{mL}\langle HV,\mathrm dH\rangle
# \quad\Longrightarrow\quad
# \frac{\partial}{\partial H}=\tfrac2{mL}HV. \tag{2}
# $$
#
# Written down as it stands, for a small case:


# %%
def explicit_similarity(H, y):
    L, m = H.shape
    S = np.where(y[:, None] == y, 1.0, -1.0)
    V = H.T @ H / L - S
    return np.sum(V**2) / (2 * m), 2 / (m * L) * H @ V


# %%
rng = np.random.default_rng(0)

# %%
H, few = rng.standard_normal((16, 1000)), y[:1000]
value, dH = explicit_similarity(H, few)
print(f"value {value:.4f}, from two matrices of {few.size**2:,} entries")
for samples in (30_000, 60_000, 1_000_000):
    print(f"m = {samples:9,d}: each of the two takes {8 * samples**2 / 1e9:8,.1f} GB")

# %% [markdown]
# The authors' program trains on 30,000 images of CIFAR-10, and they note that it takes about 40 GB. But $S$ is
# made of far fewer numbers than it has entries. With the one-hot labels
# $Y\in\{0,1\}^{C\times m}$, $Y^\top Y$ is 1 for two samples of the same class and 0 otherwise, so that
# $S=2Y^\top Y-\mathbf 1\mathbf 1^\top$. Put this into $\|V\|^2=\tfrac1{L^2}\|H^\top H\|^2-\tfrac2L\langle H^\top H,S\rangle+\|S\|^2$ and
# move factors around the trace:
#
# $$
# \begin{aligned}
# \|V\|^2&=\tfrac1{L^2}\|HH^\top\|^2-\tfrac2L\big(2\|HY^\top\|^2-\|H\mathbf 1\|^2\big)+m^2,\\
# HV&=\tfrac1L(HH^\top)H-2(HY^\top)Y+(H\mathbf 1)\mathbf 1^\top.
# \end{aligned} \tag{3}
# $$
#
# All products in brackets are small: $L\times L$, $L\times C$ and $L\times1$. Nothing is approximated. The time is
# $O(mL(L+C))$ with $Y$ as a matrix, and less if the columns of $H$ are added up by class; the memory is
# $O(mL)$. This is `losses.pairwise_similarity` of notebook 05, and it takes any labels:

# %%
exact_value, exact_dH = losses.pairwise_similarity(H, few)
error = np.linalg.norm(exact_dH - dH) / np.linalg.norm(dH)
print(f"values agree to 1e-10: {abs(exact_value / value - 1) < 1e-10}")
print(f"gradients agree to 1e-10: {error < 1e-10}")
names = np.array(["zero one two three four five six seven eight nine".split()]).T[few, 0]
print(f"the same with words as labels: {losses.pairwise_similarity(H, names)[0] == exact_value}")

# %% tags=["nbval-ignore-output"]
for size in (1000, 2000, 4000):
    H, seconds = rng.standard_normal((16, size)), []
    for similarity in (explicit_similarity, losses.pairwise_similarity):
        start = time.perf_counter()
        similarity(H, y[:size])
        seconds.append(time.perf_counter() - start)
    print(f"m = {size}: {1000 * seconds[0]:6.1f} ms explicit, {1000 * seconds[1]:6.2f} ms exact")

# %% [markdown]
# The one grows with $m^2$, the other with $m$. So the whole training set fits, and every label counts.
#
# ## The floor, and who stands on it
#
# In notebook 05 we saw that $\frac1LH^\top H$ is positive semidefinite and $S$ is not, so the
# similarity cannot vanish. For classes of any size, let $N=YY^\top$ be the diagonal matrix of the
# class counts $n_1,\dots,n_C$. The columns of $Y^\top N^{-1/2}$ are orthonormal, and
#
# $$
# S=Y^\top(2I-\mathbf 1\mathbf 1^\top)Y=(Y^\top N^{-1/2})\,M\,(Y^\top N^{-1/2})^\top,\qquad
# M=N^{1/2}(2I-\mathbf 1\mathbf 1^\top)N^{1/2}\in\mathbb R^{C\times C}. \tag{4}
# $$
#
# So the eigenvalues of $S$ are those of the small $M=U\operatorname{diag}(\mu)U^\top$, and zeros. The positive semidefinite
# matrix of rank at most $L$ that is nearest to $S$ keeps the $L$ largest of the positive ones. It is
# attained: give every sample of class $i$ the $i$-th column of
#
# $$
# A=\sqrt L\,\operatorname{diag}(\mu_+)^{1/2}U_+^\top N^{-1/2}\in\mathbb R^{L\times C}, \qquad
# \text{then}\qquad \tfrac1{2m}\|\tfrac1LH^\top H-S\|^2=\tfrac1{2m}\Big(m^2-\sum_{k\le L,\ \mu_k>0}\mu_k^2\Big). \tag{5}
# $$
#
# Here $\mu_+$ and $U_+$ hold the kept eigenvalues and their eigenvectors; missing rows of $A$ are 0.


# %% tags=["export"]
def class_vectors(counts: Array, L: int) -> tuple[Array, float]:
    """One output of the code layer for each class, with the similarity at its floor.

    Parameters
    ----------
    counts : array (C,)
        Samples of each class; a class without any has the vector 0.
    L : int
        Code length.

    Returns
    -------
    V : array (L, C)
        The matrix A of Eq. (5) of notebook 09.
    floor : float
        The similarity 1/(2m) ||H^T H / L - S||^2 that these outputs have; none have less.
    """
    n = np.asarray(counts, dtype=np.float64)
    root, m = np.sqrt(n), n.sum()
    mu, U = np.linalg.eigh(2 * np.diag(n) - np.outer(root, root))
    mu, U = np.maximum(mu[::-1], 0)[:L], U[:, ::-1][:, :L]
    V = np.zeros((L, len(n)))
    np.divide(np.sqrt(L * mu)[:, None] * U.T, root, out=V[: len(mu)], where=root > 0)
    return V, (m**2 - np.sum(mu**2)) / (2 * m)


# %%
L = 16
V, floor = class_vectors(counts, L)
print(f"similarity of the class vectors {losses.pairwise_similarity(V[:, y], y)[0]:.3f}")
print(f"floor by Eq. (5)                {floor:.3f} = {floor / m:.3f} m")
one_less = (class_vectors(counts, 8)[1] - class_vectors(counts, 9)[1]) / m
print(f"a class direction that is not used costs {one_less:.3f} m")

# %% [markdown]
# With ten classes of equal size the floor is $0.32\,m$, and nine directions suffice to stand on
# it. This is the yardstick for everything that follows: the height above the floor, counted in
# class directions of $0.02\,m$, says what the network has not learned yet. Two classes that share
# an output cost one direction.
#
# ## The objective and its gradient
#
# Four of the five terms are those of notebook 08; each adds its part to
# $\partial J/\partial H$, and backpropagation does the rest.


# %%
def plain_objective(theta, X, B, y, sizes, lambdas):
    lambda1, lambda2, lambda3, lambda4 = lambdas
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X)
    H = Hs[-1]
    J, dH = losses.pairwise_similarity(H, y)
    for weight, (value, gradient) in (
        (lambda2, losses.equality(H, B)),
        (lambda3, losses.independence(H)),
        (lambda4, losses.balance(H)),
    ):
        J += weight * value
        dH += weight * gradient
    decay, dWs_decay = losses.weight_decay(Ws)
    dWs, dcs = backward(Ws, Hs, dH)
    gradient = flatten([dW + lambda1 * d for dW, d in zip(dWs, dWs_decay)], dcs)
    return J + lambda1 * decay, gradient


# %%
lambdas = (1e-3, 5.0, 1.0, 1e-4)
P, e = principal_axes(X, energy=0.95)
A = P.T @ X
sizes = (len(e), *hidden_sizes(L), L)
theta0 = flatten(*initial_weights(A, sizes, rng))
B0 = initial_codes(X, L, rng)
error = gradient_error(
    lambda theta: plain_objective(theta, A, B0, y, sizes, lambdas), theta0, rng, 20
)
print(f"layers {sizes}, {theta0.size:,} parameters")
print(f"gradient against central differences, relative error below 1e-7: {error < 1e-7}")

# %% [markdown]
# As in notebook 08 a few sums over the samples are all that value and gradient need. The formulas of notebook 05 for
# the similarity hold them already: with $G=HH^\top$, the sum $s_c$ of the outputs of class $c$, and $h=\sum_cs_c$,
#
# $$
# \tfrac1{2m}\|\tfrac1LH^\top H-S\|^2=\tfrac1{2m}\Big(\tfrac1{L^2}\|G\|^2-\tfrac2L\big(2\textstyle\sum_c\|s_c\|^2-\|h\|^2\big)+m^2\Big),
# \qquad
# \frac\partial{\partial h_i}=\tfrac2{mL}\big(\tfrac1LG\,h_i+h-2s_{y_i}\big). \tag{6}
# $$
#
# The gradient of a sample has the form that it had there, $Mh_i+v-\beta b_i$, but for $v$, which now depends on the class.


# %% tags=["export"]
def supervised_terms(total: Moments, lambdas: Iterable[float]) -> tuple[float, CodeSlope]:
    """Similarity, equality, independence and balance, weighted, from the moments of all samples.

    Parameters
    ----------
    total : Moments
        With the sums of each class.
    lambdas : four floats
        lambda1, which has no part in it, to lambda4.

    Returns
    -------
    J : float
        Eq. (1) of notebook 09 without the weight decay.
    slope : CodeSlope
        Its gradient: Eq. (6) of notebook 09 and Eq. (6) of notebook 08.
    """
    J, (M, V, beta) = encoder_terms(total, lambdas)
    m, G, sums, _ = total
    L, h = len(G), sums.sum(axis=1, keepdims=True)
    agreement = 2 * np.sum(sums**2) - np.sum(h**2)
    similarity = (np.sum(G**2) / L**2 - 2 / L * agreement + m**2) / (2 * m)
    slope = CodeSlope(M + 2 / (m * L**2) * G, V + 2 / (m * L) * (h - 2 * sums), beta)
    return J + float(similarity), slope


class SupervisedObjective(EncoderObjective):
    """The objective of SH-BDNN for given codes: Eq. (1) of notebook 09.

    As `uh_bdnn.EncoderObjective`, with the similarity.

    Parameters
    ----------
    X : array (D, m)
        Samples.
    B : array (L, m)
        Codes.
    y : array-like (m,)
        Class labels of any type that sorts.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    lambdas : four floats
        lambda1 (weight decay), lambda2 (equality), lambda3 (independence), lambda4 (balance).
    """

    terms = staticmethod(supervised_terms)

    def __init__(
        self, X: Array, B: Array, y: ArrayLike, sizes: Sequence[int], lambdas: Sequence[float]
    ) -> None:
        super().__init__(X, B, sizes, lambdas, y=class_numbers(y, X.shape[1]))


# %% tags=["export"]
def supervised_objective(
    X: AnySamples,
    B: Any,
    y: Any,
    sizes: Sequence[int],
    lambdas: Sequence[float],
    n_classes: int,
) -> EncoderObjective:
    """`SupervisedObjective`, or for `sources.Samples` and whole numbers y the same block by block.

    `n_classes` is more than the largest of the numbers.
    """
    if isinstance(X, Samples):
        return BlockwiseObjective(X, B, sizes, lambdas, None, y, n_classes, supervised_terms)
    return SupervisedObjective(X, B, y, sizes, lambdas)


# %%
objective = SupervisedObjective(A, B0, y, sizes, lambdas)
for a, b in zip(plain_objective(theta0, A, B0, y, sizes, lambdas), objective(theta0)):
    assert np.allclose(a, b, rtol=1e-9, atol=1e-11)
print("value and gradient from moments agree with the plain ones")

# %% [markdown]
# As in notebook 08 the encoder sees the principal axes that hold 95 % of the variance, the weights
# start at eigenvectors and the codes at those of ITQ, which knows nothing of the labels. We look at what is in $J$ there:

# %%
H = forward(*unflatten(theta0, sizes), A)[-1]
terms = {
    "similarity": losses.pairwise_similarity(H, y)[0],
    "weight decay": lambdas[0] * losses.weight_decay(unflatten(theta0, sizes)[0])[0],
    "equality": lambdas[1] * losses.equality(H, B0)[0],
    "independence": lambdas[2] * losses.independence(H)[0],
    "balance": lambdas[3] * losses.balance(H)[0],
}
print(", ".join(f"{name} {value:.3f}" for name, value in terms.items()))

# %% [markdown]
# The similarity outweighs all others. It is a sum over $m^2$ pairs divided by $m$, and grows with $m$ where
# equality and independence do not; with 60,000 samples it will outweigh them fifteen times more. What the codes are
# is decided by the similarity, and the equality picks among the networks that are equally good for it.
# Which are those?
#
# ## The codes, and a turn of the code layer
#
# $B$ stands in the equality alone, a sum over single bits. Each is best at the sign of its
# output, so the exact minimiser is $B=\operatorname{sgn}(H)$. (A survey says that SH-BDNN's codes are *not* the
# sign of $H$. While L-BFGS runs they are not: they are the signs of the network before.)
#
# Now replace $H$ by $RH$ with an orthogonal $R\in\mathbb R^{L\times L}$, that is, $W^{(n-1)}$ by
# $RW^{(n-1)}$ and $c^{(n-1)}$ by $Rc^{(n-1)}$. Go through (1) term by term:
#
# * similarity: $(RH)^\top RH=H^\top H$;
# * weight decay: $\|RW^{(n-1)}\|=\|W^{(n-1)}\|$;
# * independence: $\|\frac1mRHH^\top R^\top-I\|=\|R(\frac1mHH^\top-I)R^\top\|=\|\frac1mHH^\top-I\|$;
# * balance: $\|RH\mathbf 1\|=\|H\mathbf 1\|$.
#
# **Only the equality sees the turn.** So before the codes are updated we may turn the code layer to where its outputs
# come closest to codes:
#
# $$
# \min_{R^\top R=I,\ B\in\{-1,+1\}^{L\times m}}\ \|RH-B\|^2, \tag{7}
# $$
#
# which is the problem of ITQ in notebook 03. Both halves are exact, so that $J$ falls and four of its
# terms stay as they are. L-BFGS could find the same turn, but only slowly: where the similarity is as strong as here, the
# equality is a whisper.


# %% tags=["export"]
def turn_to_codes(H: AnySamples, n_iter: int = 50) -> Array:
    """Turn the outputs of the code layer to where they are close to codes: Eq. (7) of notebook 09.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.
    n_iter : int
        Alternations between codes and rotation.

    Returns
    -------
    R : array (L, L)
        Orthogonal, in the precision of H. ||R H - sgn(R H)|| is at most ||H - sgn(H)||.
    """
    R = np.eye(len(H), dtype=H.dtype)
    for _ in range(n_iter):
        (BHt,) = total(lambda H, R=R: (sgn(R @ H).astype(H.dtype) @ H.T,), H)
        R = rotation_from_product(BHt).astype(H.dtype)
    return R


# %%
R = turn_to_codes(H)
for name, outputs in (("H", H), ("R H", R @ H)):
    equality = losses.equality(outputs, sgn(outputs))[0]
    others = losses.pairwise_similarity(outputs, y)[0], losses.independence(outputs)[0]
    print(f"{name:3}: equality {equality:.3f}, similarity {others[0]:.3f}, ", end="")
    print(f"independence {others[1]:.3f}")

# %% [markdown]
# **Departure:** the authors' program updates $B$ without a turn. `rotate=False` does the same.
#
# ## Alternate, and read the yardstick
#
# Encoder, turn, codes, and again. After every round we note $J$, the height of the similarity above its floor in class
# directions, and the precision of the queries.

# %%
scaled_queries = P.T @ ((dataset.query.T - shift) / scale)


def precision(theta):
    queries, database = (
        sgn(forward(*unflatten(theta, sizes), Z)[-1]).T for Z in (scaled_queries, A)
    )
    return metrics.precision_at_radius(queries, database, dataset.relevant)


def encoder_step(theta, B, scales=1.0, max_iter=60):
    objective = in_scaled_variables(SupervisedObjective(A, B, y, sizes, lambdas), scales)
    return scales * minimize(objective, theta / scales, max_iter=max_iter, history=100).x


# %%
def alternate(theta, B, scales, rounds):
    trace = []
    for _ in range(rounds):
        theta = encoder_step(theta, B, scales)
        Ws, cs = unflatten(theta, sizes)
        R = turn_to_codes(forward(Ws, cs, A)[-1])
        Ws[-1][:], cs[-1][:] = R @ Ws[-1], R @ cs[-1]  # views: this turns theta
        H = forward(Ws, cs, A)[-1]
        B = sgn(H).astype(float)
        above = (losses.pairwise_similarity(H, y)[0] - floor) / (0.02 * m)
        J = SupervisedObjective(A, B, y, sizes, lambdas)(theta)[0]
        trace.append((J, above, precision(theta), shared_codes(H)))
    return theta, trace


# %% [markdown]
# We also want to see *which* classes the network fails to tell apart. The code of a class is the majority of its
# samples, bit by bit; here are the distances between the codes of the ten classes.


# %%
def shared_codes(H):
    majority = np.array([sgn(sgn(H[:, y == c]).sum(axis=1)) for c in range(C)])
    return metrics.hamming_distances(majority, majority)


# %% tags=["nbval-ignore-output"]
runs = {"ITQ codes, plain": alternate(theta0.copy(), B0, 1.0, 6)[1]}
for k, (J, above, p2, distances) in enumerate(runs["ITQ codes, plain"]):
    close = np.sum(distances[np.triu_indices(C, 1)] <= 2)
    print(f"round {k}: J {J:7.1f}, {above:5.2f} directions above the floor, ", end="")
    print(f"precision {100 * p2:5.2f} %, pairs of classes within 2 bits: {close}")

# %%
trace = runs["ITQ codes, plain"]
assert all(later[0] <= earlier[0] + 1e-6 for earlier, later in zip(trace, trace[1:]))
assert trace[0][1] > 3 and trace[-1][1] < trace[0][1] - 2
print("J falls in every round, and the first round leaves more than three directions unused")

# %% [markdown]
# Read the columns together. Early on the network stands several class directions above the floor: pairs of classes have the
# same code, and every query of theirs finds the other class in its ball. As the directions come in, one by one, precision
# rises. A low figure after the first round says little about the method; it says that some classes have not been told
# apart *yet*.
#
# ## Why it takes so long: a saddle
#
# Let two classes share their output, $a_1=a_2$. Written with class vectors, the gradient (2) pulls the two apart in
# proportion to $a_1-a_2$ (Exercise 9.2): where they coincide, not at all. Sharing is a **saddle point**. The network leaves it
# exponentially, but from next to nothing, and from still less for classes that differ in the weak axes of the data only (4 and 9, or 3, 5 and 8).
#
# Two remedies, neither of which touches the objective:
#
# 1. **Start.** Begin at a network that tells all classes apart. We know who stands on the floor: the class vectors (5), and
#    every turn of them. Turn them towards codes, take the codes $B=\operatorname{sgn}(RA)$, one for each
#    class, and fit the encoder to these by least squares. It is (1) with the equality alone. From there on (1) as it is.
# 2. **Variables.** The stretched variables, Eq. (8) of notebook 08, make the weak axes as easy to
#    use as the strong ones.
#
# Of several random turns we take the one whose codes have the least similarity loss.


# %% tags=["export"]
def class_codes(counts: Array, L: int, rng: np.random.Generator, n_init: int = 50) -> Array:
    """One code for each class, chosen for a low similarity loss.

    Each of `n_init` random turns of the class vectors is brought close to codes by ITQ.

    Parameters
    ----------
    counts : array (C,)
        Samples of each class.
    L : int
        Code length.
    rng : numpy.random.Generator
        Draws the turns.
    n_init : int
        How many turns are tried.

    Returns
    -------
    array (L, C), entries -1 and +1
    """
    V, _ = class_vectors(counts, L)
    S = 2 * np.eye(len(counts)) - 1
    smallest = np.inf
    for _ in range(n_init):
        codes = sgn(itq_rotation(V, 50, rng)[0] @ V).astype(np.float64)
        loss = counts @ (codes.T @ codes / L - S) ** 2 @ counts
        if loss < smallest:
            smallest, best = loss, codes
    return best


# %%
codes = class_codes(counts, L, rng)
print(codes.shape, "codes of the ten classes, one per column")

# %%
distances = metrics.hamming_distances(codes.T, codes.T)[np.triu_indices(C, 1)]
loss = losses.pairwise_similarity(codes[:, y], y)[0]
assert distances.min() > 5 and loss / m < 0.39
print("similarity below 0.39 m; the floor for codes is 0.356 m (notebook 05)")
print("all classes are more than 5 bits apart: no ball of radius 2 holds two of them")

# %% [markdown]
# Least squares is the `EncoderObjective` of notebook 08 with $\lambda_2=m$ and no independence or balance:
# $\frac m{2m}\|H-B\|^2$ plus weight decay.

# %%
B1 = codes[:, y]
fit = minimize(
    EncoderObjective(A, B1, sizes, (lambdas[0], m, 0, 0)),
    theta0,
    max_iter=60,
    history=100,
)
assert precision(fit.x) > 0.8
print("after the fit to class codes more than 80 % of what is in the ball is right")

# %% tags=["nbval-ignore-output"]
sigma = variable_scales(e, sizes)
runs["class codes, plain"] = alternate(fit.x.copy(), B1, 1.0, 6)[1]
runs["ITQ codes, stretched"] = alternate(theta0.copy(), B0, sigma, 6)[1]
for name, trace in runs.items():
    print(f"{name:20}  directions above the floor:", " ".join(f"{t[1]:5.2f}" for t in trace))
    print(f"{'':20}  precision at radius 2, %:  ", " ".join(f"{100 * t[2]:5.2f}" for t in trace))

# %%
itq_plain, class_plain, itq_stretched = runs.values()
assert itq_plain[1][1] > class_plain[1][1] and itq_plain[1][1] > itq_stretched[1][1]
assert class_plain[0][2] > itq_plain[0][2] + 0.1
assert max(t[2] for t in class_plain) > max(t[2] for t in itq_stretched) + 0.01
print("both remedies come down to the floor sooner; the start from class codes also finds more")

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4))
for (name, trace), marker in zip(runs.items(), "os^"):
    _ = axes[0].semilogy([t[1] for t in trace], marker=marker, label=name)
    _ = axes[1].plot([100 * t[2] for t in trace], marker=marker, label=name)
_ = axes[0].set(xlabel="round", ylabel="class directions above the floor")
_ = axes[0].set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"], minor=False)
axes[0].minorticks_off()
_ = axes[1].set(xlabel="round", ylabel="precision at radius 2 (%)")
_ = axes[1].legend()
save_figure(fig, "09_yardstick")

# %% [markdown]
# Left, the height above the floor, on a logarithmic axis; right, the precision of the queries. Both remedies come down
# sooner. But look at the right: the stretched variables get lowest and find *less*. The weak axes that they make easy to use are
# also those in which every digit differs from every other; the network learns the four thousand by heart. The objective says nothing of that; queries do, which
# is why we hold some back. So take the start, and leave the variables alone.

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(1, 3, figsize=(8, 3))
pictures = {
    "ITQ codes, round 0": itq_plain[0][3],
    "ITQ codes, round 5": itq_plain[-1][3],
    "class codes, round 5": class_plain[-1][3],
}
for ax, (name, distances) in zip(axes, pictures.items()):
    image = ax.imshow(distances, vmin=0, vmax=L, cmap="gray")
    for i, j in np.argwhere((distances <= 2) & ~np.eye(C, dtype=bool)):
        _ = ax.text(j, i, distances[i, j], color="white", ha="center", va="center", fontsize=8)
    _ = ax.set(title=name, xticks=range(C), yticks=range(C), xlabel="class")
_ = fig.colorbar(image, ax=axes, label="Hamming distance")
save_figure(fig, "09_class_codes", png=True)

# %% [markdown]
# Distances between the codes of the ten classes; dark is close, and a number stands where two classes share a ball of
# radius 2. Those are the missing directions.
#
# **Departure:** the paper starts at ITQ codes. `init="itq"` does the same; the effect on `mnist5k` is recorded below. Another **departure:** a step has 60 iterations of L-BFGS where the authors' program allows 400; we alternate more often instead.
#
# ## The estimator
#
# What is left is to scale, to hold queries back for the stopping rule, and to keep the best state. The paper's authors stop
# when the mAP of 1,000 validation points no longer rises. A missing direction can take several rounds to come in, so
# we wait for `patience` rounds, and watch precision at radius 2, as in notebook 08.


# %% tags=["export"]
def _outputs(Ws, cs, X):
    """Outputs of the code layer (L, m)."""
    return forward(Ws, cs, X)[-1]


def _class_counts(codes, y_queries, B, y, radius=2):
    """For each query the samples of a block in its ball, and those of them of its class."""
    ball = hamming_distances(codes, B.T) <= radius
    return ball.sum(axis=1), (ball & (y_queries[:, None] == y)).sum(axis=1)


# %% tags=["export"]
def weighted_supervised_terms(
    H: AnySamples,
    B: AnySamples,
    y: Any,
    Ws: list[Array],
    lambdas: Sequence[float],
    n_classes: int | None = None,
) -> dict[str, float]:
    """Every term of Eq. (1) of notebook 09 times its weight, by name, and their sum `objective`.

    Parameters
    ----------
    H, B : arrays (L, m)
        Outputs of the code layer, and codes.
    y : array-like (m,)
        Class labels.
    Ws : list of arrays
        Weights.
    lambdas : four floats
    n_classes : int, optional
        Given, y holds whole numbers below it.

    Returns
    -------
    dict of str -> float
    """
    if n_classes is None:
        y = class_numbers(y, H.shape[1])
        n_classes = int(y.max()) + 1
    found = Moments(*total(partial(moments, n_classes=n_classes), H, B, y))
    terms = {
        "similarity": supervised_terms(found, (0, 0, 0, 0))[0],
        "weight_decay": lambdas[0] * losses.weight_decay(Ws)[0],
        **code_terms(found, lambdas),
    }
    return {"objective": sum(terms.values())} | terms


class _LabelledProblem(NamedTuple):
    """What stays as it is while SH-BDNN trains."""

    P: np.ndarray  # (D, r), principal axes
    A: np.ndarray  # (r, m), the samples along the axes: what the encoder sees
    y: np.ndarray  # (m,), their classes
    labels: np.ndarray  # the same, where the samples are
    Q: np.ndarray  # (r, q), the queries of the validation along the axes
    y_Q: np.ndarray  # (q,), their classes
    sizes: tuple  # units of the layers: r, ..., L
    lambdas: tuple  # the four weights of the terms


class SHBDNN(BaseHasher):
    """Supervised hashing with a binary deep neural network (Do et al., ECCV 2016).

    `fit` takes an option beyond the data. `checkpoint`, a path: the state is kept there after every
    alternation, and if the file is there, training goes on from it: `base.Checkpoint`.

    Parameters
    ----------
    n_bits : int
        Code length L.
    lambda1, lambda2, lambda3, lambda4 : float
        Weights of weight decay, equality, independence and balance: Eq. (1) of notebook 09. The
        similarity has weight 1 and grows with the number of samples.
    hidden : tuple of two int, optional
        Units of the hidden layers; None: the paper's sizes, `network.hidden_sizes`.
    max_alternations : int
        Updates of the codes at most; each is followed by an encoder step.
    max_iter, history : int
        Iterations of L-BFGS in an encoder step, and the pairs that it remembers.
    init : "classes", "itq" or "random"
        Codes to start from. "classes": `class_codes`, to which the encoder is fitted by least
        squares first. "itq": those of ITQ, as in the paper; "random": of random projections.
    rotate : bool
        Turn the code layer towards codes before the codes are updated: `turn_to_codes`.
    scaling : "centred" or "range"
        Scaling of the input: `centred_scaling`, or the paper's `itq.range_scaling`.
    energy : float
        The encoder sees the principal axes that hold this share of the mean square; 1: all.
    n_validation : int
        Samples held out of the training (at most every eighth), whose retrieval decides when to
        stop. With `n_validation=0` the objective decides.
    criterion : "precision" or "map"
        Measure of the validation: precision within radius 2, or mAP as in the authors' program.
    patience : int
        Stop after so many alternations without a better validation score.
    dtype : "float32" or "float64"
    random_state : int, Generator, RandomState or None
        The same seed, versions and data give the same codes.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Training codes B = sgn(H) of the network that was kept.
    history_ : list of dict
        For each `alternation`: `objective` and its weighted terms `similarity`, `weight_decay`,
        `equality`, `independence`, `balance`; `flips`, the share of bits that the update of the
        codes changed; `score` of the validation; `n_iter` of L-BFGS; `seconds`.
    floor_ : float
        The similarity cannot go below it: `class_vectors`.
    best_ : int
        The alternation whose state was kept.
    n_iter_ : int
        Iterations of L-BFGS in all.
    classes_ : array (n_classes,)
        The labels, sorted.
    Ws_, cs_ : lists of arrays
        The network, for scaled inputs.
    shift_, scale_ : array (D, 1), float
        Scaling of the input.
    """

    _requires_labels = True
    _takes_sources = True

    def __init__(
        self,
        n_bits: int = 16,
        *,
        lambda1: float = 1e-3,
        lambda2: float = 5.0,
        lambda3: float = 1.0,
        lambda4: float = 1e-4,
        hidden: Sequence[int] | None = None,
        max_alternations: int = 20,
        max_iter: int = 60,
        history: int = 100,
        init: str = "classes",
        rotate: bool = True,
        scaling: str = "centred",
        energy: float = 0.95,
        n_validation: int = 2000,
        criterion: str = "precision",
        patience: int = 5,
        dtype: DTypeLike = "float32",
        random_state: Seed = 0,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.lambda3 = lambda3
        self.lambda4 = lambda4
        self.hidden = hidden
        self.max_alternations = max_alternations
        self.max_iter = max_iter
        self.history = history
        self.init = init
        self.rotate = rotate
        self.scaling = scaling
        self.energy = energy
        self.n_validation = n_validation
        self.criterion = criterion
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self):
        for name in ("lambda1", "lambda2", "lambda3", "lambda4"):
            check_number(name, getattr(self, name))
        for name in ("max_iter", "history", "patience"):
            check_whole_number(name, getattr(self, name), 1)
        for name in ("max_alternations", "n_validation"):
            check_whole_number(name, getattr(self, name), 0)
        check_hidden(self.hidden)
        check_number("energy", self.energy)
        if not 0 < self.energy <= 1:
            raise ValueError(f"energy must lie in (0, 1], got {self.energy!r}")
        check_option("rotate", self.rotate, (True, False))
        check_option("criterion", self.criterion, ("precision", "map"))
        check_option("init", self.init, ("classes", "itq", "random"))
        check_option("scaling", self.scaling, ("centred", "range"))

    def _fit(self, X, y, checkpoint=None):
        self._check_parameters()
        checkpoint = Checkpoint(checkpoint, self, X, y)
        rng = as_generator(self.random_state)
        self.classes_, y = np.unique(y, return_inverse=True)
        held_out = rng.permutation(len(y))[: min(self.n_validation, len(y) // 8)]
        problem, theta = self._pose(X, y, held_out, rng)
        counts = np.bincount(problem.y)
        self.floor_ = class_vectors(counts, self.n_bits)[1]
        self.history_, self.n_iter_ = [], 0
        rounds = self.max_alternations + 1 + (self.init == "classes")
        with tqdm(total=rounds * self.max_iter, disable=not self.verbose, leave=False) as bar:
            bar.set_description(f"SHBDNN, {self.n_bits} bits")
            try:
                begin = checkpoint.read(self)
                if begin is None:
                    begin = (0, *self._start(problem, theta, rng, bar), -np.inf)
                self._alternate(problem, *begin, bar, checkpoint)
            except KeyboardInterrupt:
                if not self.history_:
                    raise
                stopped = f"interrupted after {len(self.history_)} alternations"
                told = f"{stopped}: the best of them, {self.best_}, is kept"
                self._stopped_early(told, stacklevel=4)
        self.codes_ = self._encoded(X, sgn, np.int8)

    def _pose(self, X, y, held_out, rng):
        """The problem without the samples held out, and the paper's start of the network."""
        rule = {"centred": centred_scaling, "range": range_scaling}[self.scaling]
        shift, scale = self.shift_, self.scale_ = rule(X)
        X = blockwise(lambda X: (X - shift) / scale, X)
        hidden = hidden_sizes(self.n_bits) if self.hidden is None else tuple(self.hidden)
        P, e = principal_axes(X, self.energy)
        P = P.astype(X.dtype)
        Z, kept = blockwise(lambda X: P.T @ X, X), np.delete(y, held_out)
        A, sizes = drop(Z, held_out), (len(e), *hidden, self.n_bits)
        theta = flatten(*initial_weights(A, sizes, rng))
        lambdas = (self.lambda1, self.lambda2, self.lambda3, self.lambda4)
        samples = A, kept, alongside(A, kept)
        queries = take(Z, held_out), y[held_out]
        return _LabelledProblem(P, *samples, *queries, sizes, lambdas), theta

    def _start(self, problem, theta, rng, bar):
        """Codes to start from, and the network, fitted to them if they are those of the classes."""
        A, y, sizes = problem.A, problem.y, problem.sizes
        if self.init != "classes":
            return initial_codes(A, self.n_bits, rng, self.init), theta
        codes = class_codes(np.bincount(y), self.n_bits, rng).astype(code_type(A))
        B = stored(lambda y: codes[:, y], problem.labels)
        lambdas = (self.lambda1, len(y), 0, 0)
        theta, _ = self._minimise(encoder_objective(A, B, sizes, lambdas), theta, bar)
        return B, theta

    def _minimise(self, objective, theta, bar):
        """L-BFGS from theta, and the iterations that it took."""
        found = minimize(
            objective,
            theta,
            max_iter=self.max_iter,
            history=self.history,
            callback=lambda _: bar.update(),
        )
        self.n_iter_ += found.nit
        return found.x, found.nit

    def _alternate(self, problem, begin, B, theta, best_score, bar, checkpoint):
        """Encoder, then codes, until the score no longer rises."""
        A, y, sizes, lambdas = problem.A, problem.labels, problem.sizes, problem.lambdas
        n_classes, dtype = int(problem.y.max()) + 1, code_type(A)
        bar.update(self.n_iter_ - bar.n)
        for t in range(begin, self.max_alternations + 1):
            started, old = time.perf_counter(), B
            objective = supervised_objective(A, B, y, sizes, lambdas, n_classes)
            theta, n_iter = self._minimise(objective, theta, bar)
            H = blockwise(partial(_outputs, *unflatten(theta.copy(), sizes)), A)
            Ws, cs = unflatten(theta, sizes)
            if self.rotate:
                R = turn_to_codes(H)
                Ws[-1][:], cs[-1][:] = R @ Ws[-1], R @ cs[-1]
                H = blockwise(lambda H, R=R: R @ H, H)
            B = stored(lambda H: sgn(H).astype(dtype), H)
            terms = weighted_supervised_terms(H, B, y, Ws, lambdas, n_classes)
            score = self._score(problem, Ws, cs, B) if problem.Q.size else -terms["objective"]
            progress = {"flips": share_of_flips(B, old), "score": score, "n_iter": n_iter}
            entry = {"alternation": t, **terms, **progress}
            entry["seconds"] = time.perf_counter() - started
            learned = {"history_": [*self.history_, entry]}
            if score > best_score:
                best_score = score
                learned["Ws_"] = [Ws[0] @ problem.P.T, *map(np.copy, Ws[1:])]
                learned |= {"cs_": [*map(np.copy, cs)], "best_": t}
            vars(self).update(learned)  # at once: an interruption finds all of it or nothing
            bar.set_postfix(objective=f"{terms['objective']:.5g}", score=f"{score:.4f}")
            if t - self.best_ >= self.patience:
                break
            checkpoint.write(self, (t + 1, B, theta, best_score))

    def _score(self, problem, Ws, cs, B):
        """How well the queries held out find their classes among the training samples."""
        queries = sgn(_outputs(Ws, cs, problem.Q)).T
        if self.criterion == "map":
            found = np.asarray(stored(sgn, B).T)
            return mean_average_precision(queries, found, (problem.y_Q, problem.y))
        size, hits = total(partial(_class_counts, queries, problem.y_Q), B, problem.labels)
        return float(np.mean(hits / np.maximum(size, 1)))

    def _project(self, X):
        return _outputs(self.Ws_, self.cs_, (X - self.shift_) / self.scale_)


# %% [markdown]
# ## What it learns from 4,000 digits
#
# ITQ-CCA is the baseline, the supervised half of notebook 03. Both are asked for the digits of the query's class.


# %%
def measure(estimator):
    estimator.fit(dataset.train, dataset.labels.train)
    codes = (estimator.transform(Z) for Z in (dataset.query, dataset.database))
    return metrics.evaluate(*codes, dataset.relevant)


# %% tags=["nbval-ignore-output"]
results = {}
print("method  bits  P@r=2 %   mAP %  empty balls  imbalance  dependence")
for bits in (8, 16, 32):
    for estimator in (ITQCCA(bits), SHBDNN(bits, max_alternations=6)):
        row = results[type(estimator).__name__, bits] = measure(estimator)
        print(
            f"{type(estimator).__name__:6}  {bits:4d}  {100 * row['precision_at_2']:7.2f}", end=""
        )
        print(f"  {100 * row['map_standard']:6.2f}  {row['empty_share']:11.3f}", end="")
        print(f"  {row['balance']:9.4f}  {row['independence']:10.4f}")

# %%
for bits in (8, 16, 32):
    sh, cca = results["SHBDNN", bits], results["ITQCCA", bits]
    assert sh["precision_at_2"] > cca["precision_at_2"] + 0.1
    assert sh["map_standard"] > cca["map_standard"] + 0.05
print("at each length more than ten points of precision above ITQ-CCA")

# %% [markdown]
# What happens to the independence of the bits? Ten classes span nine directions. Codes of 16 or 32 bits that say nothing but the class
# must depend on each other; the independence term has to give way to the similarity.
#
# Labels may be of any type that scikit-learn accepts for classes, and every sample needs one:

# %%
for labels in (np.zeros(m), [None, *dataset.labels.train[1:]], np.full(m, np.nan)):
    try:
        SHBDNN().fit(dataset.train, labels)
    except ValueError as message:
        print(str(message).splitlines()[0])

# %% [markdown]
# ## All of MNIST, beside the published figures
#
# Now with 60,000 labelled digits, of which 2,000 are held out to decide when to stop. The database is the training set, the 10,000
# queries are those of the test set, relevant is the query's class. The runs are recorded in
# `notebooks/results`, each with its settings, seed, versions, seconds and the command that makes it again.

# %%
PUBLISHED = {
    ("SHBDNN", "mnist"): {8: 84.26, 16: 94.67, 24: 94.69, 32: 95.51},
    ("ITQCCA", "mnist"): {8: 54.35, 16: 79.99, 24: 84.12, 32: 84.57},
    ("SHBDNN", "cifar10"): {8: 54.12, 16: 67.32, 24: 69.36, 32: 69.62},
    ("ITQCCA", "cifar10"): {8: 49.14, 16: 65.68, 24: 67.47, 32: 67.19},
}

# %%
WHOLE = {
    "mnist": "60000 train, 60000 database",
    "mnist5k": "4000 train, 4000 database",
    "cifar10": "50000 train, 50000 database",
}
recorded = [
    row
    for rows in read_folder("results").values()
    for row in rows
    if row["ground_truth"] == "labels" and row["split"] == WHOLE.get(row["data"])
]

# %%
default = SHBDNN().get_params()
for name in ("n_bits", "random_state", "verbose"):
    del default[name]


# %%
def rows_of(method, data, bits, **settings):
    """Recorded rows of a method: default settings, but for those named; one for each seed."""
    rows = [r for r in recorded if (r["method"], r["data"], r["bits"]) == (method, data, bits)]
    rows = [r for r in rows if method != "SHBDNN" or r["settings"] == default | settings]
    return list({r["seed"]: r for r in rows}.values())


def compare(data, lengths, **settings):
    print("method  bits  seeds  P@r=2 ours  published   mAP %  trapez.  empty  alternations  fit s")
    for method in ("ITQCCA", "SHBDNN"):
        for bits in lengths:
            rows = rows_of(method, data, bits, **settings)
            keys = ("precision_at_2", "map_standard", "map_trapezoid", "empty_share", "fit_seconds")
            p2, mAP, trapezoid, empty, seconds = (np.mean([r[key] for r in rows]) for key in keys)
            rounds = np.mean([len(r["history"]) for r in rows]) if method == "SHBDNN" else 0
            print(f"{method:6}  {bits:4d}  {len(rows):5d}  {p2:10.2f}", end="")
            print(f"  {PUBLISHED[method, data][bits]:9.2f}  {mAP:6.2f}  {trapezoid:7.2f}", end="")
            print(f"  {empty:5.3f}  {rounds:12.0f}  {seconds:5.0f}")


# %%
compare("mnist", (8, 16, 24, 32))

# %%
MNIST_COUNTS = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
m_kept = 58_000
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4))
for bits, marker in zip((8, 16, 24, 32), "os^D"):
    row = rows_of("SHBDNN", "mnist", bits)[0]
    lowest = class_vectors(MNIST_COUNTS * m_kept / 60_000, bits)[1]
    above = [(entry["similarity"] - lowest) / (0.02 * m_kept) for entry in row["history"]]
    score = [100 * entry["score"] for entry in row["history"]]
    _ = axes[0].semilogy(above, marker=marker, label=f"{bits} bits")
    _ = axes[1].plot(score, marker=marker)
_ = axes[0].set(xlabel="alternation", ylabel="class directions above the floor")
_ = axes[0].set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"], minor=False)
axes[0].minorticks_off()
_ = axes[1].set(xlabel="alternation", ylabel="precision of the validation (%)")
_ = axes[0].legend()
save_figure(fig, "09_mnist")

# %% [markdown]
# The published figures at 16, 24 and 32 bits are passed, with all of the labels (the authors' program takes a subset of 30,000 for CIFAR-10). At 8 bits two seeds of three pass 84.26 and the third
# has 78 %, so that the mean is 0.6 below; its similarity is as near the floor as theirs, which does not decide there. The curves are those of seed 0: the objective comes down to less than half a class direction
# above the floor of its code length, and precision rises with it until the last rounds. At 8 bits the objective still falls while the precision loses a point, which is why
# the best state is kept and not the last. (The floor is that of
# MNIST's class counts; which samples were held out shifts it by hundredths of a direction.)
#
# ## What each departure is worth
#
# Each is a setting, so its effect can be measured: five seeds at 16 bits on the 4,000 digits of `mnist5k`, where the differences are larger than on all of MNIST, giving up one
# departure each.

# %%
DEPARTURES = {
    "all departures": {},
    "start at ITQ codes": {"init": "itq"},
    "no turn of the code layer": {"rotate": False},
    "scaling by minimum and range": {"scaling": "range"},
}

# %%
print("16 bits, mnist5k               seeds  directions above  P@r=2 %         mAP %")
for name, settings in DEPARTURES.items():
    rows = rows_of("SHBDNN", "mnist5k", 16, **settings)
    kept = [max(row["history"], key=lambda entry: entry["score"]) for row in rows]
    above = np.mean([(entry["similarity"] - 0.32 * 3500) / (0.02 * 3500) for entry in kept])
    print(f"{name:30} {len(rows):5d}  {above:16.2f}", end="")
    for values in ([r["precision_at_2"] for r in rows], [r["map_standard"] for r in rows]):
        print(f"  {np.mean(values):6.2f} ± {np.std(values, ddof=1):4.2f}", end="")
    print()

# %% [markdown]
# From ITQ codes, too, all five seeds arrive where the class codes arrive: the paper's start can do it. Class codes tell all classes apart from the first round. Two classes on one
# code come apart along the saddle, and whether that happens before the patience is spent is chance: an earlier version of this code, with other principal
# axes, stopped one seed of five at 82 % after ten alternations. With the present code no seed shows it. Several starts chosen on the validation would do as well; one start that tells the classes apart is
# cheaper. The turn lowers the equality in every round, as it must, and the precision hardly notices: the similarity alone
# decides what the codes are. The scaling of the paper is the better one for these digits, by more than a point. That ours is the default is
# due to features such as those of the next section.
#
# ## CNN features of CIFAR-10
#
# The paper's CIFAR-10 features are 800 principal components of AlexNet's layer fc7. Ours are 800 principal components of another
# network, EfficientNet-Lite0, and of images that went through JPEG: a better network on worse pictures. So the figures below are *not* to be
# compared with the published ones digit by digit; what can be compared is the gap between two methods on the same features.

# %%
compare("cifar10", (8, 16, 24, 32))

# %%
for bits in (8, 16, 24, 32):
    ours = [
        np.mean([row["precision_at_2"] for row in rows_of(method, "cifar10", bits)])
        for method in ("SHBDNN", "ITQCCA")
    ]
    published = [PUBLISHED[method, "cifar10"][bits] for method in ("SHBDNN", "ITQCCA")]
    gap, published_gap = ours[0] - ours[1], published[0] - published[1]
    assert gap > published_gap
    print(f"{bits:2d} bits: SH-BDNN - ITQ-CCA {gap:+.2f} points, published {published_gap:+.2f}")
(row,) = rows_of("SHBDNN", "cifar10", 16, scaling="range")
print(f"16 bits, with the scaling by minimum and range: {row['precision_at_2']:.2f} %")

# %% [markdown]
# SH-BDNN is ahead of ITQ-CCA at every length, and by twice the published lead or more: by ten to twenty points at 8 bits, depending on the seed, and by five to seven and a half from there on. The class directions are the same nine for both; what SH-BDNN
# adds are hidden units, which these features reward, and an objective that gives every class a ball. (At most twenty alternations, and a stop when the validation has not risen for five.) The last line shows what the scaling decides: after the minimum is
# subtracted, nearly all of the mean square of these features is their mean, so that the axes which hold 95 % of it hold next to nothing of
# what tells the images apart.
#
# ## What we have now
#
# `bdnn.sh_bdnn` exports `SHBDNN` and its parts: `SupervisedObjective` with `supervised_terms`, `class_vectors`, `class_codes`, `turn_to_codes`,
# `centred_scaling`, `SAMPLE_LENGTH`, `weighted_supervised_terms`. `from bdnn import SHBDNN` is all that you need to hash your own labelled vectors.
#
# Notebook 10 looks back at Deep Hashing, from which BDNN departs.
#
# ## Exercises
#
# **9.1** (on paper) Show that two classes which share one output, with all other class vectors at the floor of the remaining problem, cost one
# class direction: $0.02\,m$ for ten equal classes.
#
# <details><summary>Hint</summary> Ten classes with one pair merged are nine classes, one of them twice as large. Which eigenvalue of $M$ is missing? </details>
#
# **9.2** (on paper, then in code) Show that an output shared by two classes is a saddle: write the gradient (2) in terms of class vectors, and find the rate at which their difference grows
# under gradient descent.
#
# <details><summary>Hint</summary> Put $a_1=a+\epsilon$, $a_2=a-\epsilon$ and keep what is linear in $\epsilon$. </details>
#
# **9.3** Train on all digits with two classes only, the fours and the rest: `y == 4`. What is the floor now, how many directions does the network use, and what do the codes of the nine other digits look like?
#
# <details><summary>Hint</summary> Two classes: write $S$ as $zz^\top$ with $z\in\{-1,+1\}^m$. </details>
#
# **9.4** Is the objective worth its trouble? Fit the class codes by least squares alone, for as many iterations, and compare the precision.
#
# <details><summary>Hint</summary> `EncoderObjective` with $\lambda_2=m$; 60 iterations times the number of alternations. </details>
#
# **9.5** (in code) Half of the labels are wrong: shuffle them. What happens to the similarity above its floor, to the training precision, and to the precision of queries?
#
# <details><summary>Hint</summary> The floor depends on the counts of the classes only. </details>
#
# Solutions: `solutions/09_solutions`.
#
# ## Further reading
#
# * Do, Doan, Cheung, *Learning to Hash with Binary Deep Neural Network*, ECCV 2016, the section on the supervised method: our Eq. (1).
# * Luo et al., *A Survey on Deep Hashing Methods*, ACM TKDD 17(1), 2023, section 3.2.1: the same objective, transposed.
# * Shen, Shen, Liu, Shen, *Supervised Discrete Hashing*, CVPR 2015: least squares between codes and labels; notebook 12.
# * Gong, Lazebnik, *Iterative Quantization*, CVPR 2011: the turn, and ITQ-CCA; notebook 03.
