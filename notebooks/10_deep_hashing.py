# %% [markdown]
# # Relax the codes: Deep Hashing
#
# **What you will do.** Derive and train Deep Hashing and its supervised variant, the methods that BDNN set out to improve, and measure where their terms relax what BDNN does exactly.
#
# **What you will learn**
#
# * what happens if codes are not variables but signs of outputs, and where that objective has a kink;
# * that "variance" about 0 is no balance: a constant bit has the most of it;
# * why orthogonal weights do not make independent codes;
# * how a scatter over all pairs of samples is computed exactly from the sums of the classes;
# * to tell a model from its optimiser: a lower objective can mean worse codes.
#
# **What you need.** Notebooks 03 to 06 and 08. About 45 minutes to read; a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""Deep Hashing and its supervised variant: every term, the objective, the estimators.

Source: Liong, Lu, Wang, Moulin and Zhou, "Deep Hashing for Compact Binary Codes Learning", CVPR
2015, as on the slide "Background: Deep Hashing". Samples stand in columns in the functions, and in
rows at the face of the estimators.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from sklearn.utils.multiclass import check_classification_targets

from numpy import ndarray as Array
from bdnn.base import Layers, Objective, ProgressBar, check_hidden
from bdnn.checks import Seed, as_generator, check_number, check_option, check_whole_number, class_numbers
from bdnn.files import Checkpoint
from bdnn.hashing import Hasher
from bdnn.metrics import sgn
from bdnn.itq import itq_rotation, principal_directions
from bdnn.lbfgs import minimize
from bdnn.network import Workspace, backward, flatten, forward, unflatten
from bdnn.sources import AnySamples, Samples, alongside, blockwise, stored, total

# %%
import itertools

import matplotlib.pyplot as plt

from bdnn import ITQ, UHBDNN, metrics
from bdnn.data import load
from bdnn.network import gradient_error
from bdnn.course.plotting import COLOURS, save_figure
from bdnn.course.records import read_folder

# %% [markdown]
# ## Codes that are no variables
#
# UH-BDNN treats the codes $B$ as unknowns, next to the weights. Deep Hashing (DH), a year older, has the weights alone. Its network has no decoder: layers 1 to $n$, the last one with $L$ units, and **tanh in every layer, the code layer included**,
#
# $$ H^{(l+1)}=\tanh\!\big(W^{(l)}H^{(l)}+c^{(l)}\mathbf 1_{1\times m}\big),\qquad B=\operatorname{sgn}H^{(n)} . \tag{1} $$
#
# The codes are read off at the end. We write $H=H^{(n)}$. The slide "Background: Deep Hashing" has the objective
#
# $$ \min_{W,c}J=\underbrace{\tfrac12\|\operatorname{sgn}(H)-H\|^2}_{\text{quantisation}}-\alpha_1\underbrace{\tfrac1{2m}\operatorname{tr}(HH^\top)}_{\text{variance}}+\alpha_2\underbrace{\tfrac12\sum_{l=1}^{n-1}\|W^{(l)}W^{(l)\top}-I\|^2}_{\text{orthogonality}}+\alpha_3\underbrace{\tfrac12\sum_{l=1}^{n-1}\big(\|W^{(l)}\|^2+\|c^{(l)}\|^2\big)}_{\text{weight decay}} . \tag{2} $$
#
# A re-implementation of others documents $\alpha_1=100$, $\alpha_2=\alpha_3=0.001$; we use these. As in notebook 05 every term becomes a function that gives value and gradient, without its $\alpha$, and is verified on five random cases.


# %%
def verify(name, case):
    worst = max(gradient_error(*case(np.random.default_rng(seed))) for seed in range(5))
    print(f"{name}: worst error of five random cases below 1e-7: {worst < 1e-7}")


def random_outputs(rng):
    return np.tanh(rng.standard_normal(rng.integers([2, 6], [8, 20])))


# %% [markdown]
# ## Quantisation: outputs close to their own signs
#
# $$ J_q=\tfrac12\|\operatorname{sgn}(H)-H\|^2=\tfrac12\sum_{k,i}\big(|h_{ki}|-1\big)^2 . \tag{3} $$
#
# *Derive the gradient.* The derivative of sgn is 0 wherever it exists, so $B=\operatorname{sgn}(H)$ counts as a constant:
#
# $$ \mathrm dJ_q=\langle H-B,\ \mathrm dH-\mathrm dB\rangle=\langle H-B,\ \mathrm dH\rangle\quad\Longrightarrow\quad\frac{\partial J_q}{\partial H}=H-\operatorname{sgn}(H)\qquad(h_{ki}\ne0). \tag{4} $$
#
# This is no approximation. The second form of (3) shows that $J_q$ is continuous everywhere; only its slope jumps, from $+1$ to $-1$, where an output passes 0.


# %% tags=["export"]
def quantisation(H: Array) -> tuple[float, Array]:
    """Distance of the outputs from their own signs: Eqs. (3), (4) of notebook 10.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.

    Returns
    -------
    value : float
        1/2 ||sgn(H) - H||^2, a sum over the samples, not a mean.
    dH : array (L, m)
        H - sgn(H), with sgn(H) constant: right wherever no output is 0. Where one is, the slope
        jumps from +1 to -1, and this is the one-sided slope towards larger outputs.
    """
    dH = H - sgn(H).astype(H.dtype)
    return float(np.square(dH).sum(dtype=np.float64)) / 2, dH


# %%
verify("quantisation", lambda rng: (quantisation, random_outputs(rng)))

# %%
h = np.linspace(-1.6, 1.6, 401)
fig, axes = plt.subplots(1, 2, figsize=(7.0, 2.6))
_ = axes[0].plot(h, (np.abs(h) - 1) ** 2 / 2)
for side, style in ((h < 0, "-"), (h > 0, "-")):
    _ = axes[1].plot(h[side], (h - np.sign(h))[side], style, color=COLOURS["blue"])
for ax, title in zip(axes, ["quantisation of one output", "its slope"]):
    ax.axhline(0, color="0.8", lw=0.8, ls="-")
    ax.set(xlabel="output h", title=title)
save_figure(fig, "10_quantisation")

# %% [markdown]
# Left: the loss has its peak at 0. Right: just beside the peak the slope is largest, and it points away from 0. **Whatever sign an output has, the term pushes it further to that side.** Under BDNN's equality $\frac1{2m}\|H-B\|^2$ the same picture holds with one difference: $B$ may disagree with $\operatorname{sgn}(H)$, because reconstruction or labels wanted it so, and then the output is pulled *across* 0. Here nothing is ever pulled across.
#
# ## Variance: outputs far from 0
#
# $$ J_v=\tfrac1{2m}\operatorname{tr}(HH^\top)=\tfrac1{2m}\|H\|^2,\qquad\mathrm dJ_v=\tfrac1m\langle H,\mathrm dH\rangle\quad\Longrightarrow\quad\frac{\partial J_v}{\partial H}=\tfrac1mH . \tag{5} $$
#
# It stands in (2) with a minus sign: it is made *large*. Only tanh keeps it below $L/2$.


# %% tags=["export"]
def variance(H: Array) -> tuple[float, Array]:
    """Half the mean square of the outputs, summed over the bits: Eq. (5) of notebook 10.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.

    Returns
    -------
    value : float
        1/(2m) tr(H H^T). Deep Hashing makes it large, so it enters the objective with a minus.
    dH : array (L, m)
    """
    m = H.shape[1]
    return float(np.square(H).sum(dtype=np.float64)) / (2 * m), H / m


# %%
verify("variance", lambda rng: (variance, random_outputs(rng)))
for name, bit in (("half +1, half -1", [1.0, 1, -1, -1]), ("constant", [1.0, 1, 1, 1])):
    print(f"{name}: variance term {variance(np.array([bit]))[0]:.2f}")

# %% [markdown]
# **Slip:** the slide labels this term "balance loss". It is none. The word variance fits only if the mean is 0: with mean $\bar h$ of a bit, $\frac1m\sum_ih_i^2=\operatorname{Var}(h)+\bar h^2$, and the second part *rewards* imbalance. A bit that is constant $+1$ has as large a value as a bit that divides the data into halves. UH-BDNN's $\frac{\lambda_4}{2m}\|H\mathbf 1\|^2=\frac{\lambda_4m}2\|\bar h\|^2$ punishes just what is rewarded here.
#
# ## Orthogonality: weights, not codes
#
# $$ J_o=\tfrac12\sum_l\|G^{(l)}\|^2,\qquad G^{(l)}=W^{(l)}W^{(l)\top}-I . \tag{6} $$
#
# *Derive the gradient* for one layer; $G$ is symmetric, as in the independence term of notebook 05:
#
# $$ \begin{aligned}\mathrm dJ_o&=\langle G,(\mathrm dW)W^\top+W\,\mathrm dW^\top\rangle&&\text{product rule}\\&=\langle GW,\mathrm dW\rangle+\langle G^\top W,\mathrm dW\rangle&&\text{move the factors, transpose the second}\end{aligned}\quad\Longrightarrow\quad\frac{\partial J_o}{\partial W^{(l)}}=2\big(W^{(l)}W^{(l)\top}-I\big)W^{(l)} . \tag{7} $$
#
# The factor 2 is there because $W$ enters twice. Leave it out, and you train with half the $\alpha_2$ that you state. Note also that $WW^\top=I$ asks for $h_{l+1}$ orthonormal rows in $h_l$ dimensions: it can only be had if **every layer narrows**, $h_{l+1}\le h_l$.


# %% tags=["export"]
def orthogonality(Ws: Layers) -> tuple[float, Layers]:
    """Distance of the rows of all weights from orthonormal ones: Eqs. (6), (7) of notebook 10.

    Parameters
    ----------
    Ws : list of arrays (h_out, h_in)
        Weights. A layer that widens (h_out > h_in) cannot reach 0.

    Returns
    -------
    value : float
        1/2 sum_l ||W_l W_l^T - I||^2.
    dWs : list of arrays
    """
    value, dWs = 0.0, []
    for W in Ws:
        G = W @ W.T
        G.flat[:: len(G) + 1] -= 1
        value += float(np.square(G).sum(dtype=np.float64)) / 2
        dWs.append(2 * G @ W)
    return value, dWs


# %%
def of_first(term):
    def fun(W):
        value, gradients = term([W])
        return value, gradients[0]

    return fun


verify("orthogonality", lambda rng: (of_first(orthogonality), rng.standard_normal((3, 5))))
W = np.random.default_rng(0).standard_normal((3, 5))
half = lambda W: (orthogonality([W])[0], orthogonality([W])[1][0] / 2)  # noqa: E731
print(f"without the factor 2 the error is {gradient_error(half, W):.2f}")

# %%
W = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 3)))[0]  # orthonormal columns
print(
    f"3 rows in 5 dimensions: {orthogonality([W.T])[0]:.2f}, 5 rows in 3: {orthogonality([W])[0]:.2f}"
)

# %% [markdown]
# Five rows in three dimensions: $WW^\top$ has rank 3 at most, so at least two eigenvalues of $WW^\top-I$ are $-1$, and the term is at least $\frac12\cdot2$.
#
# ## Weight decay, biases included
#
# $$ J_d=\tfrac12\sum_l\big(\|W^{(l)}\|^2+\|c^{(l)}\|^2\big),\qquad\frac{\partial J_d}{\partial W^{(l)}}=W^{(l)},\quad\frac{\partial J_d}{\partial c^{(l)}}=c^{(l)} . \tag{8} $$
#
# Unlike BDNN, DH counts the biases too. It pulls $W$ towards 0 while orthogonality pulls its rows towards length 1.


# %% tags=["export"]
def weight_and_bias_decay(Ws: Layers, cs: Layers) -> tuple[float, tuple[Layers, Layers]]:
    """Squared length of all weights and biases: Eq. (8) of notebook 10.

    Parameters
    ----------
    Ws, cs : lists of arrays

    Returns
    -------
    value : float
        1/2 sum_l (||W_l||^2 + ||c_l||^2).
    (dWs, dcs) : pair of lists of arrays
        The gradients, which are copies of the variables.
    """
    value = sum(float(np.square(A).sum(dtype=np.float64)) for A in (*Ws, *cs)) / 2
    return value, ([W.copy() for W in Ws], [c.copy() for c in cs])


# %%
def decay_of_bias(c):
    value, (_, (dc,)) = weight_and_bias_decay([np.ones((2, 3))], [c])
    return value, dc


verify("decay of a bias", lambda rng: (decay_of_bias, rng.standard_normal((4, 1))))

# %% [markdown]
# ## With labels: scatter between and within classes
#
# The supervised variant wants outputs of different classes far apart and those of one class close together. Let $\mathcal S$ be the ordered pairs $i\ne j$ of one class, $N_S$ of them, and $\mathcal D$ the $N_D$ pairs of different classes. It adds to the variance
#
# $$ J_s=\operatorname{tr}(\Sigma_B-\Sigma_W)=\frac1{N_D}\sum_{(i,j)\in\mathcal D}\|h_i-h_j\|^2-\frac1{N_S}\sum_{(i,j)\in\mathcal S}\|h_i-h_j\|^2, \tag{9} $$
#
# so that $-\alpha_1J_v$ becomes $-\alpha_1\big(J_v+\frac\alpha2J_s\big)$, with $\alpha=1$. We take means over the pairs; the sources we could read leave the normalisation open.
#
# As it stands (9) runs over $m^2$ pairs, 3.6 billion for MNIST.


# %%
def naive_scatter(H, y):
    pairs = [(i, j) for i in range(len(y)) for j in range(len(y)) if i != j]
    square = {(i, j): np.sum((H[:, i] - H[:, j]) ** 2) for i, j in pairs}
    between = [square[i, j] for i, j in pairs if y[i] != y[j]]
    within = [square[i, j] for i, j in pairs if y[i] == y[j]]
    return np.mean(between) - np.mean(within)


# %% [markdown]
# *Find a form without pairs.* Take any set of $n_c$ samples, with $s_c=\sum_ih_i$ and $q_c=\sum_i\|h_i\|^2$. Since $\|h_i-h_j\|^2=\|h_i\|^2+\|h_j\|^2-2h_i^\top h_j$,
#
# $$ \sum_{i,j}\|h_i-h_j\|^2=2n_cq_c-2\|s_c\|^2 . \tag{10} $$
#
# Pairs $i=j$ add 0. Sum (10) over the classes and you have the pairs within, $T_W$; use it once for all samples together and you have all pairs, $T$; the difference are the pairs between. With $N_S=\sum_cn_c^2-m$ and $N_D=m^2-\sum_cn_c^2$
#
# $$ J_s=\frac{T-T_W}{N_D}-\frac{T_W}{N_S},\qquad T=2mq-2\|s\|^2,\quad T_W=2\sum_c\big(n_cq_c-\|s_c\|^2\big) . \tag{11} $$
#
# The differential of (10) with respect to $h_i$ is $\langle4n_ch_i-4s_c,\mathrm dh_i\rangle$. So, column by column, with $c=y_i$,
#
# $$ \frac{\partial J_s}{\partial h_i}=\frac{4(mh_i-s)-4(n_ch_i-s_c)}{N_D}-\frac{4(n_ch_i-s_c)}{N_S} . \tag{12} $$
#
# All that is needed are the sums $s_c$ and $q_c$: time and memory $O(mL)$. They make a function of their own, for samples that come block by block.


# %% tags=["export"]
def scatter_from_sums(n: Array, sums: Array, squares: Array) -> tuple[float, tuple[Array, Array]]:
    """Scatter from sums over the classes: Eqs. (11), (12) of notebook 10.

    Parameters
    ----------
    n : array (C,)
        Samples of each class.
    sums : array (L, C)
        Sums of the outputs of each class.
    squares : array (C,)
        Sums of their squared lengths.

    Returns
    -------
    value : float
    (a, V) : arrays (C,), (L, C)
        The gradient for a sample with outputs h, of class c: a_c h + V_c.

    Raises
    ------
    ValueError
        If there is only one class, or no class with two samples.
    """
    n = n.astype(np.float64)
    m, s, q = n.sum(), sums.sum(axis=1, keepdims=True), squares.sum()
    N_S, N_D = np.sum(n * n) - m, m * m - np.sum(n * n)
    if N_S == 0 or N_D == 0:
        what = "one class only" if N_D == 0 else "no class with two samples"
        raise ValueError(f"scatter needs at least 2 classes, and 2 samples in one; got {what}")
    T = 2 * m * q - 2 * np.square(s).sum()
    T_W = 2 * np.sum(n * squares) - 2 * np.square(sums).sum()
    within = 1 / N_D + 1 / N_S
    a, V = 4 * m / N_D - 4 * n * within, 4 * sums * within - 4 * s / N_D
    return float(T / N_D - T_W * within), (a, V)


def class_sums(H: Array, y: Array, n_classes: int) -> tuple[Array, Array]:
    """Sums of the outputs H (L, m) of each class (L, C), and of their squared lengths (C,)."""
    sums = np.stack([np.bincount(y, weights=row, minlength=n_classes) for row in H])
    lengths = np.square(H).sum(axis=0, dtype=np.float64)
    return sums, np.bincount(y, weights=lengths, minlength=n_classes)


def scatter(H: Array, y: ArrayLike) -> tuple[float, Array]:
    """Scatter between minus scatter within classes: Eqs. (11), (12) of notebook 10.

    Mean squared distance of all pairs of samples of different classes, less that of all pairs of
    one class. Computed from sums over the classes: time and memory O(m L), exact.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.
    y : array-like (m,)
        Class labels of any type that sorts.

    Returns
    -------
    value : float
        tr(Sigma_B - Sigma_W).
    dH : array (L, m)

    Raises
    ------
    ValueError
        If there is only one class, or no class with two samples.
    """
    y = class_numbers(y, H.shape[1])
    n = np.bincount(y)
    value, (a, V) = scatter_from_sums(n, *class_sums(H, y, len(n)))
    return value, (a[y] * H + V[:, y]).astype(H.dtype)


# %%
def case_scatter(rng):
    H = random_outputs(rng)
    y = np.concatenate([[0, 0, 1], rng.integers(0, 4, H.shape[1] - 3)])
    return lambda H: scatter(H, y), H


verify("scatter", case_scatter)

# %%
rng = np.random.default_rng(0)
H, y = rng.standard_normal((5, 40)), rng.integers(0, 3, 40)
difference = abs(scatter(H, y)[0] - naive_scatter(H, y))
print(
    f"scatter {scatter(H, y)[0]:.6f}, differs from the loop by less than 1e-10: {difference < 1e-10}"
)

# %% [markdown]
# ## The whole objective
#
# What quantisation, variance and scatter say about $H$ is added up and sent back through the layers (notebook 04); with tanh the factor is $f'(Z)=1-H\odot H$:
#
# $$ \Delta^{(n)}=\Big[(H-B)-\tfrac{\alpha_1}mH-\tfrac{\alpha_1\alpha}2\tfrac{\partial J_s}{\partial H}\Big]\odot(1-H\odot H),\qquad\frac{\partial J}{\partial W^{(l)}}=\Delta^{(l+1)}H^{(l)\top}+2\alpha_2\big(W^{(l)}W^{(l)\top}-I\big)W^{(l)}+\alpha_3W^{(l)} . \tag{13} $$
#
# One thing in (2) needs a decision. Quantisation is a *sum* over samples, variance is a *mean*. Twice the data, and the first doubles while the second stays. We keep the sum as printed and add a second reading, `reduction="mean"`, with $\frac1m$ in front of the quantisation.


# %% tags=["export"]
def dh_terms(
    H: Array,
    Ws: Layers,
    cs: Layers,
    alphas: Sequence[float],
    y: Array | None = None,
    alpha: float = 1.0,
    reduction: str = "sum",
) -> dict[str, float]:
    """Every term of Eq. (2) of notebook 10 with its weight and sign, and their sum `objective`.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.
    Ws, cs : lists of arrays
    alphas : three floats
        alpha1 (variance), alpha2 (orthogonality), alpha3 (weight decay).
    y : array (m,), optional
        Class labels; with them, the scatter counts alpha1 alpha / 2.
    alpha : float
    reduction : "sum" or "mean"
        The quantisation summed over the samples, as printed, or divided by their number.

    Returns
    -------
    dict of str -> float
    """
    m = H.shape[1]
    numbers = np.zeros(m, int) if y is None else class_numbers(y, m)
    n, share = np.bincount(numbers), 1 / m if reduction == "mean" else 1.0
    sums = output_sums(H, numbers, len(n))
    return _weighted_dh_terms(n, sums, Ws, cs, alphas, None if y is None else alpha, share)


def output_sums(H: Array, y: Array, n_classes: int) -> tuple:
    """What the terms need to know of outputs H (L, m) of classes y: quantisation, `class_sums`."""
    return quantisation(H)[0], *class_sums(H, y, n_classes)


def _weighted_dh_terms(n, sums, Ws, cs, alphas, alpha, share):
    """`dh_terms` from the `output_sums` of all samples; without the scatter if alpha is None."""
    (loss, sums, squares), (alpha1, alpha2, alpha3) = sums, alphas
    terms = {"quantisation": float(share * loss)}
    terms["variance"] = -alpha1 / 2 * float(squares.sum() / n.sum())
    if alpha is not None:
        terms["scatter"] = -alpha1 * alpha / 2 * scatter_from_sums(n, sums, squares)[0]
    terms["orthogonality"] = alpha2 * orthogonality(Ws)[0]
    terms["weight_decay"] = alpha3 * weight_and_bias_decay(Ws, cs)[0]
    return {"objective": sum(terms.values())} | terms


# %%
def plain_objective(theta, X, sizes, alphas, y=None, alpha=1.0, reduction="sum"):
    Ws, cs = unflatten(theta, sizes)
    tanhs = ("tanh",) * len(Ws)
    Hs = forward(Ws, cs, X, tanhs)
    H, m = Hs[-1], X.shape[1]
    alpha1, alpha2, alpha3, alpha = map(float, (*alphas, alpha))  # leave float32 as it is
    share = 1 / m if reduction == "mean" else 1.0
    loss, dH = quantisation(H)
    spread, dH_spread = variance(H)
    J = share * loss - alpha1 * spread
    dH = share * dH - alpha1 * dH_spread
    if y is not None:
        apart, dH_apart = scatter(H, y)
        J -= alpha1 * alpha / 2 * apart
        dH -= alpha1 * alpha / 2 * dH_apart
    dWs, dcs = backward(Ws, Hs, dH, tanhs)
    angle, dWs_angle = orthogonality(Ws)
    decay, (dWs_decay, dcs_decay) = weight_and_bias_decay(Ws, cs)
    dWs = [d + alpha2 * a + alpha3 * b for d, a, b in zip(dWs, dWs_angle, dWs_decay)]
    dcs = [d + alpha3 * b for d, b in zip(dcs, dcs_decay)]
    return J + alpha2 * angle + alpha3 * decay, flatten(dWs, dcs)


# %%
def random_case(rng):
    sizes = rng.integers(2, 6, 4).tolist()
    X, y = rng.standard_normal((sizes[0], 12)), np.arange(12) % 3
    theta = rng.standard_normal(sum(b * (a + 1) for a, b in zip(sizes, sizes[1:])))
    alphas = rng.uniform(0.5, 2, 3)
    return theta, (X, sizes, alphas, y, 0.7)


def case_whole(rng):
    theta, case = random_case(rng)
    return lambda theta: plain_objective(theta, *case), theta


verify("the whole objective, all parameters", case_whole)

# %% [markdown]
# For training the same value and gradient are taken block by block, in memory that is kept, as notebook 08 does it: a pass forward for the sums, and
# a pass back, on which each sample gets $\tfrac{\partial J}{\partial h_i}=a_{y_i}h_i+v_{y_i}-\kappa\operatorname{sgn}(h_i)$. Without labels all samples are of
# one class, and $v=0$.


# %% tags=["export"]
def _dh_slope(a, V, kappa, H, y):
    """Gradient with respect to outputs H of samples of classes y: a_y h + V_y - kappa sgn(h)."""
    dH = a.take(y) * H
    dH += V.take(y, axis=1)
    dH -= kappa * sgn(H)
    return dH


# %% tags=["export"]
class DHObjective:
    """The objective of Deep Hashing and its gradient: Eqs. (2), (13) of notebook 10.

    ``objective(theta)`` gives (value, gradient) for the parameters (p,) of `network.flatten`. It
    costs little more than its matrix products, and after the first call takes no new memory that
    grows with m.

    Parameters
    ----------
    X : array (D, m)
        Samples, centred.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    alphas, y, alpha, reduction
        As for `dh_terms`.
    """

    def __init__(
        self,
        X: Array,
        sizes: Sequence[int],
        alphas: Sequence[float],
        y: Array | None = None,
        alpha: float = 1.0,
        reduction: str = "sum",
    ) -> None:
        m, labels = X.shape[1], np.zeros(X.shape[1], int) if y is None else y
        self.X, self.sizes, self.alphas = X, tuple(sizes), tuple(map(float, alphas))
        numbers = class_numbers(labels, m)
        self.y, self.n = alongside(X, numbers), np.bincount(numbers)
        self.alpha = None if y is None else float(alpha)
        self.share = 1 / m if reduction == "mean" else 1.0
        self.activations = ("tanh",) * (len(sizes) - 1)
        self._prepare()

    def _prepare(self):
        self.workspace = Workspace(self.sizes, len(self.y), self.X.dtype, self.activations)

    def _sums(self, Ws, cs):
        """Pass forward: the `output_sums` of all samples."""

        def of_block(samples, H):
            return output_sums(H, self.y[samples], len(self.n))

        return [sum(part) for part in zip(*self.workspace.forward(Ws, cs, self.X, of_block))]

    def _gradient(self, Ws, cs, slope):
        """Pass back, after `_sums`, for a slope (H, y) -> dH."""
        return self.workspace.backward(Ws, self.X, lambda samples, H: slope(H, self.y[samples]))

    def _slope(self, sums):
        """Value of the terms of H, and their gradient as a function (H, y) -> dH."""
        (loss, sums, squares), alpha1 = sums, self.alphas[0]
        m, n = self.n.sum(), self.n
        J = self.share * loss - alpha1 / (2 * m) * squares.sum()
        a, V = np.full(len(n), self.share - alpha1 / m), np.zeros_like(sums)
        if self.alpha:
            apart, (a_apart, V_apart) = scatter_from_sums(n, sums, squares)
            weight = alpha1 * self.alpha / 2
            J, a, V = J - weight * apart, a - weight * a_apart, -weight * V_apart
        parts = (np.asarray(A, self.X.dtype) for A in (a, V, self.share))
        return float(J), partial(_dh_slope, *parts)

    def terms(self, theta: Array) -> dict[str, float]:
        """`dh_terms` of these parameters."""
        Ws, cs = unflatten(theta, self.sizes)
        sums = self._sums(Ws, cs)
        return _weighted_dh_terms(self.n, sums, Ws, cs, self.alphas, self.alpha, self.share)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        _, alpha2, alpha3 = self.alphas
        Ws, cs = unflatten(theta, self.sizes)
        J, slope = self._slope(self._sums(Ws, cs))
        dWs, dcs = self._gradient(Ws, cs, slope)
        angle, dWs_angle = orthogonality(Ws)
        decay, (dWs_decay, dcs_decay) = weight_and_bias_decay(Ws, cs)
        dWs = [d + alpha2 * a + alpha3 * b for d, a, b in zip(dWs, dWs_angle, dWs_decay)]
        dcs = [d + alpha3 * b for d, b in zip(dcs, dcs_decay)]
        return J + alpha2 * angle + alpha3 * decay, flatten(dWs, dcs)


# %% tags=["export"]
class BlockwiseDHObjective(DHObjective):
    """The same for `sources.Samples`: both passes block by block, wherever the blocks are.

    What belongs to a block is made when it is needed: the pass back repeats the pass forward.
    """

    def _prepare(self):
        pass

    def _sums(self, Ws, cs):
        task = partial(_sums_of_block, Ws, cs, self.activations, len(self.n))
        return total(task, self.X, self.y)

    def _gradient(self, Ws, cs, slope):
        task = partial(_gradient_of_block, Ws, cs, self.activations, slope)
        sums = [A.astype(self.X.dtype) for A in total(task, self.X, self.y)]
        return sums[: len(Ws)], sums[len(Ws) :]


def _sums_of_block(Ws, cs, activations, n_classes, X, y):
    return output_sums(forward(Ws, cs, X, activations)[-1], y, n_classes)


def _gradient_of_block(Ws, cs, activations, slope, X, y):
    Hs = forward(Ws, cs, X, activations)
    dWs, dcs = backward(Ws, Hs, slope(Hs[-1], y), activations)
    return [*dWs, *dcs]


# %%
for seed in range(5):
    theta, case = random_case(np.random.default_rng(seed))
    for one, other in zip(plain_objective(theta, *case), DHObjective(*case)(theta)):
        assert np.allclose(one, other, rtol=1e-10, atol=1e-12)
print("value and gradient block by block agree with the plain ones")

# %% [markdown]
# ## The start
#
# Neither start nor layer sizes stand in the sources that we could read. From memory of the paper: $W^{(1)}$ begins with the top PCA directions, the other $W^{(l)}$ as rectangular identities $(I\ 0)$, all $c^{(l)}$ at 0; the input is centred. All rows are orthonormal, so orthogonality is exactly 0, and since tanh keeps signs, **the first codes are the signs of the $L$ leading principal components**. Notebook 03 showed how poor these are, and that ITQ's rotation mends it.
#
# **Departure:** by default we turn the $L$ leading directions in $W^{(1)}$ by ITQ's rotation (`init="itq"`). They span the same space and stay orthonormal, and the first codes are ITQ's, as they are for UH-BDNN. `init="pca"` is the paper's start. Its effect is measured below.
#
# The size of the input matters too, since tanh is linear near 0 and flat far from it. We scale so that the $L$ leading components have a root mean square of `input_scale`. Layers: 60 and 30 units at 16 bits, 80 and 50 at 32, 100 and 80 at 64; for other lengths $L+44$ and $L+16$, the medians of what these add to $L$.


# %% tags=["export"]
HIDDEN = {16: (60, 30), 32: (80, 50), 64: (100, 80)}


def narrowing_sizes(n_bits: int) -> tuple[int, int]:
    """Units of the hidden layers: `HIDDEN`, and (L + 44, L + 16) for other code lengths L."""
    return HIDDEN.get(n_bits, (n_bits + 44, n_bits + 16))


def initial_network(
    X: AnySamples, sizes: Sequence[int], rng: np.random.Generator, init: str = "itq"
) -> tuple[Layers, Layers]:
    """Weights to start from: PCA directions, then rectangular identities; biases 0.

    Parameters
    ----------
    X : array (D, m)
        Samples, centred.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    rng : numpy.random.Generator
        Draws the rotation that ITQ starts from.
    init : "itq" or "pca"
        "itq": the leading directions are turned so that the first codes are those of ITQ.

    Returns
    -------
    Ws : list of arrays (h_out, h_in)
    cs : list of arrays (h_out, 1)
    """
    P = principal_directions(X, sizes[1])[1].T.astype(X.dtype)
    k = min(sizes[1:])
    if init == "itq":
        leading = P[:k].copy()
        V = blockwise(lambda X: leading @ X, X)
        P[:k] = itq_rotation(V, 50, rng)[0].astype(X.dtype) @ leading
    Ws = [P, *(np.eye(b, a, dtype=X.dtype) for a, b in zip(sizes[1:], sizes[2:]))]
    return Ws, [np.zeros((len(W), 1), X.dtype) for W in Ws]


# %%
dataset = load("mnist5k", ground_truth="labels")
X = dataset.train.T.astype(np.float64)
X -= X.mean(axis=1, keepdims=True)
P = principal_directions(X, 16)[1]
X *= 1.5 / np.sqrt(np.mean((P.T @ X) ** 2))
sizes, alphas = (len(X), *narrowing_sizes(16), 16), (100, 1e-3, 1e-3)
Ws, cs = initial_network(X, sizes, np.random.default_rng(0))
terms = dh_terms(forward(Ws, cs, X, ("tanh",) * 3)[-1], Ws, cs, alphas)
assert terms["orthogonality"] < 1e-20
print("   ".join(f"{name} {terms[name]:.3g}" for name in ("objective", "quantisation", "variance")))

# %% [markdown]
# For 4,000 samples the quantisation is two hundred times the variance, whose weight of 100 sounds large. The weights $\alpha_2$ and $\alpha_3$ count for nothing. How does the ratio depend on $m$? The gradient with respect to an output is $(h-\operatorname{sgn}h)-\frac{\alpha_1}mh$: the variance has the weight $\alpha_1/m$ against 1.

# %%
for m in (500, 4000, 60000):
    H = np.tile([[0.5, -0.5]], m // 2)
    ratio = 100 * variance(H)[0] / quantisation(H)[0]
    print(f"m = {m:6d}: alpha1/m = {100 / m:.4f}, variance over quantisation {ratio:.4f}")

# %% [markdown]
# ## Gradient descent, as in the paper
#
# $$ \theta\leftarrow\theta-\frac{\eta}{N}\frac{\partial J}{\partial\theta},\qquad N=m+\alpha_1\ (\text{sum}),\quad N=1+\alpha_1\ (\text{mean}). \tag{14} $$
#
# **Departure:** the paper's step is $\eta\,\partial J/\partial\theta$. With the sum in (2) the gradient grows with $m$, so a step that suits 4,000 samples would diverge on 60,000. $N$ is the total weight of the data terms for a single sample; divided by it, the gradient has the same size for every $m$ and $\alpha_1$. The minimum is the same. A run ends after `max_iter` steps, or earlier when $|J_t-J_{t-1}|\le\mathtt{tol}\cdot N$.
#
# The estimator does no more than that. The other optimiser, `optimizer="lbfgs"`, minimises the same $J/N$ from the same start.


# %% tags=["export"]
class _Recorder:
    """Watches a training: history, the state with the lowest objective, when to stop."""

    def __init__(self, terms, stride, bar, keep):
        self.terms, self.stride, self.bar, self.keep = terms, stride, bar, keep
        self.started, self.history = time.perf_counter(), []
        self.iteration, self.best, self.theta, self.state = -1, np.inf, None, None

    def go_on_from(self, state):
        """Be as before that state, which will be noted again; return it and its memory."""
        iteration, theta, pairs, self.best, self.theta, self.history = state
        self.iteration = iteration - 1
        self.bar.update(iteration)
        return theta, pairs

    def __call__(self, theta, J, pairs=()):
        """Take note of the next state; the one before it is sound, since no rule ended there."""
        if self.state:
            self.keep(self.state)
        self.iteration += 1
        if J < self.best:
            self.best, self.theta = J, theta.copy()
        if self.iteration % self.stride == 0:
            self.note(theta)
        state = self.iteration, theta, list(pairs), self.best, self.theta
        self.state = *state, list(self.history)
        self.bar.update(self.iteration > 0)

    def note(self, theta):
        """Add the terms of a state to the history, unless they are there."""
        if self.history and self.history[-1]["iteration"] == self.iteration:
            return
        entry = {"iteration": self.iteration, **self.terms(theta)}
        self.history.append(entry | {"seconds": time.perf_counter() - self.started})
        self.bar.set_postfix(objective=f"{entry['objective']:.5g}")


def descend(
    fun: Objective,
    theta: Array,
    rate: float,
    max_iter: int,
    tol: float,
    watch: Callable[[Array, float], object],
) -> Array:
    """Full-batch gradient descent with a fixed step: Eq. (14) of notebook 10.

    Parameters
    ----------
    fun : callable
        ``fun(theta) -> (value, gradient)``.
    theta : array (p,)
        The start; not modified.
    rate : float
        Step length.
    max_iter : int
        Steps at most.
    tol : float
        Stop when a step changes the value by no more.
    watch : callable
        ``watch(theta, value)`` is called at the start and after every step.

    Returns
    -------
    array (p,)
        The last state whose value is finite.
    """
    theta, rate = theta.copy(), theta.dtype.type(rate)
    value, gradient = fun(theta)
    watch(theta, value)
    for _ in range(max_iter):
        new = theta - rate * gradient
        with np.errstate(over="ignore", invalid="ignore"):
            before, (value, gradient) = value, fun(new)
        if not np.isfinite(value):
            warnings.warn("the objective overflows: use a smaller learning_rate", stacklevel=5)
            break
        theta = new
        watch(theta, value)
        if abs(value - before) <= tol:
            break
    return theta


# %% tags=["export"]
def _network_of(start, sizes):
    """Weights and biases of a fitted estimator, whose layers must have these sizes."""
    theirs = (start.n_features_in_, *map(len, start.Ws_))
    if theirs != tuple(sizes):
        raise ValueError(
            f"start has layers of {theirs} units, this training {tuple(sizes)}: only an estimator "
            "with as many bits and units is a start"
        )
    return start.Ws_, start.cs_


# %% tags=["export"]
class DeepHashing(BaseHasher):
    """Deep Hashing (Liong et al., CVPR 2015), unsupervised.

    `fit` takes three options beyond the data. `start`, an estimator of this class that was fitted
    with as many bits and units: training goes on from its network. `callback`, a function: it is
    called after every step with the share of the most steps that is done; what it raises ends the
    training. `checkpoint`, a path: the state is kept there, and if the file is there, training goes
    on from it: `base.Checkpoint`.

    Parameters
    ----------
    n_bits : int
        Code length L.
    alpha1, alpha2, alpha3 : float
        Weights of variance, orthogonality and weight decay: Eq. (2) of notebook 10.
    hidden : tuple of int, optional
        Units of the hidden layers; None: `narrowing_sizes`.
    reduction : "sum" or "mean"
        The quantisation is summed over the samples, as printed, or averaged.
    init : "itq" or "pca"
        The first codes are those of ITQ, or the signs of principal components as in the paper:
        `initial_network`.
    input_scale : float
        The centred input is scaled so that its leading principal components, as many as bits,
        have this root mean square.
    optimizer : "gd" or "lbfgs"
        Gradient descent as in the paper, or L-BFGS.
    learning_rate : float
        Step of the gradient descent, for the objective divided by N: Eq. (14) of notebook 10.
    max_iter : int
        Steps of the optimiser.
    tol : float
        Stop when a step changes the objective by less than tol N (gradient descent), or
        by less than tol, relatively (L-BFGS).
    dtype : "float32" or "float64"
    random_state : int, Generator, RandomState or None
        The same seed, versions and data give the same codes.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Signs of the network's outputs for the training samples.
    history_ : list of dict
        `iteration`, `objective`, its weighted terms `quantisation`, `variance`, `orthogonality`,
        `weight_decay`, and `seconds` so far; every max_iter/100 iterations, and at the end.
    n_iter_ : int
        Steps made. The state with the lowest objective among them is kept.
    Ws_, cs_ : lists of arrays
        The network, from the input to the code layer.
    mean_, scale_ : array (D, 1), float
        The network sees scale_ (x - mean_).
    """

    _takes_sources = True

    def __init__(
        self,
        n_bits: int = 16,
        *,
        alpha1: float = 100,
        alpha2: float = 0.001,
        alpha3: float = 0.001,
        hidden: Sequence[int] | None = None,
        reduction: str = "sum",
        init: str = "itq",
        input_scale: float = 1.5,
        optimizer: str = "gd",
        learning_rate: float = 0.3,
        max_iter: int = 100,
        tol: float = 1e-6,
        dtype: DTypeLike = "float32",
        random_state: Seed = 0,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.alpha1 = alpha1
        self.alpha2 = alpha2
        self.alpha3 = alpha3
        self.hidden = hidden
        self.reduction = reduction
        self.init = init
        self.input_scale = input_scale
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self):
        for name in ("alpha1", "alpha2", "alpha3", "tol"):
            check_number(name, getattr(self, name))
        for name in ("input_scale", "learning_rate"):
            check_number(name, getattr(self, name), np.finfo(np.float32).tiny)
        check_whole_number("max_iter", self.max_iter, 0)
        check_hidden(self.hidden)
        check_option("reduction", self.reduction, ("sum", "mean"))
        check_option("init", self.init, ("itq", "pca"))
        check_option("optimizer", self.optimizer, ("gd", "lbfgs"))

    def _fit(self, X, y, start=None, callback=None, checkpoint=None):
        self._check_parameters()
        checkpoint = Checkpoint(checkpoint, self, X, start=start)
        self._learn(X, {"reduction": self.reduction}, start, callback, checkpoint)

    def _learn(self, X, options, start, callback, checkpoint):
        """Train the network on samples (D, m); `options` as for `DHObjective`."""
        hidden = narrowing_sizes(self.n_bits) if self.hidden is None else tuple(self.hidden)
        X, sizes = self._scale(X), (len(X), *hidden, self.n_bits)
        if start is None:
            network = initial_network(X, sizes, as_generator(self.random_state), self.init)
        else:
            network = _network_of(start, sizes)
        kind = BlockwiseDHObjective if isinstance(X, Samples) else DHObjective
        objective = kind(X, sizes, (self.alpha1, self.alpha2, self.alpha3), **options)
        scale = self.alpha1 + (X.shape[1] if self.reduction == "sum" else 1)

        def scaled(theta):
            J, gradient = objective(theta)
            return J / scale, gradient / theta.dtype.type(scale)

        with ProgressBar(self.max_iter, callback, self.verbose) as bar:
            bar.set_description(f"{type(self).__name__}, {self.n_bits} bits")
            stride = max(1, -(-self.max_iter // 100))
            keep = partial(checkpoint.write, self)
            watch = _Recorder(objective.terms, stride, bar, keep)
            theta, pairs = flatten(*network), ()
            if saved := checkpoint.read(self):
                theta, pairs = watch.go_on_from(saved)
            self._train(scaled, theta, pairs, watch)
        Ws, cs = self.Ws_, self.cs_ = unflatten(watch.theta, sizes)
        self.history_, self.n_iter_ = watch.history, watch.iteration
        self.codes_ = stored(lambda X: sgn(DeepHashing._outputs(Ws, cs, X)), X).T

    def _train(self, fun, theta, pairs, watch):
        """Minimise; an interruption keeps the best state, if a step was made."""
        last, steps = theta, self.max_iter - (watch.iteration + 1)
        try:
            if self.optimizer == "gd":
                last = descend(fun, theta, self.learning_rate, steps, self.tol, watch)
            else:
                watch(theta, fun(theta)[0], pairs)
                options = {"max_iter": steps, "ftol": self.tol, "gtol": 0, "pairs": pairs}
                note = {"callback": lambda r: watch(r.x, r.fun, r.pairs)}
                last = minimize(fun, theta, **options, **note).x
        except KeyboardInterrupt:
            if watch.iteration < 1:
                raise
            told = f"interrupted after {watch.iteration} iterations: the best state so far is kept"
            self._stopped_early(told, stacklevel=5)
            last = watch.theta
        watch.note(last)

    def _scale(self, X):
        """Centre and scale the training samples, and remember how."""
        mean, P = principal_directions(X, self.n_bits)
        mean, P = mean.astype(X.dtype), P.astype(X.dtype)
        (squares,) = total(lambda X: (np.square(P.T @ (X - mean)).sum(dtype=np.float64),), X)
        rms = np.sqrt(squares / (P.shape[1] * X.shape[1]))
        self.mean_, self.scale_ = mean, float(self.input_scale / rms) if rms > 0 else 1.0
        scale = X.dtype.type(self.scale_)
        return blockwise(lambda X: (X - mean) * scale, X)

    @staticmethod
    def _outputs(Ws, cs, X):
        return forward(Ws, cs, X, ("tanh",) * len(Ws))[-1]

    def _project(self, X):
        X = (X - self.mean_) * X.dtype.type(self.scale_)
        return self._outputs(self.Ws_, self.cs_, X)


# %% [markdown]
# The supervised variant adds the labels, and has other defaults: `reduction="mean"`, `init="pca"`, `optimizer="lbfgs"`. Why, is measured below.


# %% tags=["export"]
class SupervisedDeepHashing(DeepHashing):
    """Supervised Deep Hashing (Liong et al., CVPR 2015): variance and scatter of the classes.

    Parameters
    ----------
    n_bits : int
        Code length L.
    alpha : float
        Weight of the scatter inside the variance term: Eq. (9) of notebook 10.
    alpha1, alpha2, alpha3, hidden, init, input_scale, optimizer, learning_rate, max_iter, tol
        As for :class:`DeepHashing`.
    reduction : "sum" or "mean"
        As for :class:`DeepHashing`. With the printed "sum" the labels lose their weight as the
        number of samples grows.
    dtype, random_state, verbose
        As for :class:`DeepHashing`.

    Attributes
    ----------
    codes_, history_, n_iter_, Ws_, cs_, mean_, scale_
        As for :class:`DeepHashing`; the history has the term `scatter` too.
    """

    _requires_labels = True

    def __init__(
        self,
        n_bits: int = 16,
        *,
        alpha: float = 1.0,
        alpha1: float = 100,
        alpha2: float = 0.001,
        alpha3: float = 0.001,
        hidden: Sequence[int] | None = None,
        reduction: str = "mean",
        init: str = "pca",
        input_scale: float = 1.5,
        optimizer: str = "lbfgs",
        learning_rate: float = 1.0,
        max_iter: int = 100,
        tol: float = 1e-6,
        dtype: DTypeLike = "float32",
        random_state: Seed = 0,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            n_bits,
            alpha1=alpha1,
            alpha2=alpha2,
            alpha3=alpha3,
            hidden=hidden,
            reduction=reduction,
            init=init,
            input_scale=input_scale,
            optimizer=optimizer,
            learning_rate=learning_rate,
            max_iter=max_iter,
            tol=tol,
            dtype=dtype,
            random_state=random_state,
            verbose=verbose,
        )
        self.alpha = alpha

    def _fit(self, X, y, start=None, callback=None, checkpoint=None):
        self._check_parameters()
        checkpoint = Checkpoint(checkpoint, self, X, y, start)
        check_number("alpha", self.alpha)
        check_classification_targets(y)
        y = np.unique(y, return_inverse=True)[1]
        options = {"y": y, "alpha": self.alpha, "reduction": self.reduction}
        self._learn(X, options, start, callback, checkpoint)


# %% [markdown]
# ## What the paper leaves open
#
# Learning rate, number of steps and scale of the input are not in our sources, and $\alpha_1/m$ has two readings. **Procedure:** hold 500 of the 4,000 training digits out, train on 2,000 of the others, to keep this page quick, use the 500 as queries, their labels as ground truth, mAP as measure, 16 bits; change one setting at a time. Prefer the paper's way and fewer steps where a change wins less than a point. The 1,000 query digits of the data set are not touched.


# %%
order = np.random.default_rng(0).permutation(len(dataset.train))
held_out, rest = order[:500], order[500:2500]
rows, labels = dataset.train, dataset.labels.train


def validate(method):
    method.fit(rows[rest], labels[rest])
    codes = method.transform(rows[held_out]), method.codes_
    return 100 * metrics.mean_average_precision(*codes, (labels[held_out], labels[rest]))


def try_changes(method, changes):
    print(f"{method.__name__}: validation mAP in %")
    scores = {str(change): validate(method(**change)) for change in changes}
    for change, score in scores.items():
        print(f"  {'defaults' if change == '{}' else change[1:-1]:36} {score:5.1f}")
    return scores


# %% tags=["nbval-ignore-output"]
CHANGES = [
    {},
    {"input_scale": 0.5},
    {"input_scale": 3.0},
    {"learning_rate": 1.0},
    {"max_iter": 30},
    {"reduction": "mean"},
    {"init": "pca"},
]
dh_scores = try_changes(DeepHashing, CHANGES)

# %%
others = [dh_scores[str(change)] for change in CHANGES[2:5]]
assert max(abs(score - dh_scores["{}"]) for score in others) < 2
assert dh_scores["{'input_scale': 0.5}"] < dh_scores["{}"] - 2
assert dh_scores["{'init': 'pca'}"] < dh_scores["{}"] - 8

# %% [markdown]
# DH hardly notices step, number of steps, or an input larger than 1.5. A small input is bad (the section on balance below says why), and the mean does not help: with $\alpha_1=100$ against 1 the variance takes over. The start decides most: from plain principal components DH stays more than ten points behind. Labels were used to choose between settings here, by us; the training has not seen any.
#
# Now with labels:

# %% tags=["nbval-ignore-output"]
SUPERVISED_CHANGES = [
    {},
    {"reduction": "sum"},
    *({"init": "itq", "random_state": seed} for seed in range(5)),
    {"n_bits": 64},
    {"n_bits": 64, "optimizer": "gd"},
]
sdh_scores = try_changes(SupervisedDeepHashing, SUPERVISED_CHANGES)

# %%
assert sdh_scores["{}"] > dh_scores["{}"] + 25
assert sdh_scores["{'reduction': 'sum'}"] < sdh_scores["{}"] - 25
assert sdh_scores["{'n_bits': 64, 'optimizer': 'gd'}"] < sdh_scores["{'n_bits': 64}"] - 10
turned = [score for change, score in sdh_scores.items() if "'itq'" in change]
assert len(turned) == 5 and min(turned) < sdh_scores["{}"] - 10
print("with the printed sum, or with gradient descent at 64 bits, much of the labels' use is lost")

# %% [markdown]
# **Departure:** `SupervisedDeepHashing` takes the mean. As printed, the labels weigh $\alpha_1/m$, a twentieth here and two thousandths for 60,000 samples, and little comes of them: mAP rises from 28 at the start to 38 %, against 84 with the mean; divided by $m$ the quantisation leaves them the weight that 100 suggests.
#
# **Departure:** it is trained by L-BFGS. One step length of gradient descent does not suit all code lengths: what is good at 16 bits oscillates at 64. It starts as in the paper: what ITQ's start is worth hangs on its random rotation, and two of the five seeds lose more than ten points.
#
# ## The model, and its optimiser
#
# Two questions that get mixed up easily: how good is the model, and how well was it minimised? Here are both optimisers from the same start with 100 steps each; L-BFGS needs few evaluations more than steps. The last column counts the training bits that are other than at the start.

# %% tags=["nbval-ignore-output"]
runs = {}
print("                                objective J   mAP %  bits changed")
for method in (DeepHashing, SupervisedDeepHashing):
    start = method(max_iter=0).fit(rows[rest], labels[rest]).codes_
    for optimizer in ("gd", "lbfgs"):
        run = runs[method.__name__, optimizer] = method(optimizer=optimizer)
        score, J = validate(run), run.history_[-1]["objective"]
        changed = np.mean(run.codes_ != start)
        print(f"{method.__name__:22} {optimizer:6} {J:13.1f} {score:7.1f} {changed:12.1%}")

# %%
gd, lbfgs = (runs["DeepHashing", optimizer] for optimizer in ("gd", "lbfgs"))
assert lbfgs.history_[-1]["objective"] < gd.history_[-1]["objective"] - 100
print("DH: L-BFGS ends lower")

# %% tags=["nbval-ignore-output"]
fig, axes = plt.subplots(1, 2, figsize=(7.5, 3.0))
for (name, optimizer), run in runs.items():
    ax = axes[int(name != "DeepHashing")]
    J = [entry["objective"] for entry in run.history_]
    label, marker = {"gd": ("gradient descent", "o"), "lbfgs": ("L-BFGS", "s")}[optimizer]
    _ = ax.plot(J, marker=marker, markevery=10, label=label)
    ax.set(xlabel="step", ylabel="objective $J$", title=name)
axes[0].legend()
save_figure(fig, "10_optimisers")

# %% [markdown]
# In DH gradient descent creeps on the flat parts of tanh, and L-BFGS gets much lower, almost to the bound of $-800$. **In this run its codes are worse for it**: four times as many bits left the good start, and not for the better. A lower objective of DH does not promise better codes. The supervised objective moves a third of the bits, and for the better; there the two optimisers come to the same at 16 bits, gradient descent on a bumpy way, and differ at 64, where its step is too long.
#
# ## Where the terms relax what BDNN does exactly
#
# ### Signs of outputs, and codes as variables
#
# Nothing pulls an output across 0, so most bits stay what the start made them. We count them, on the 2,000 digits. In UH-BDNN, which starts from ITQ codes as well, we count something that cannot occur in DH: the bits where the code disagrees with the sign of its output.

# %% tags=["nbval-ignore-output"]
digits = rows[rest]
itq = ITQ().fit(digits)
dh = DeepHashing().fit(digits)
uh = UHBDNN(max_alternations=2, max_iter=40, n_init=1, n_validation=0).fit(digits)
H = uh.decision_function(digits)
print(f"DH: bits other than at the start {np.mean(dh.codes_ != itq.codes_):.1%}")
print(f"UH-BDNN: bits where B differs from sgn(H) {np.mean(uh.codes_ != sgn(H)):.1%}")

# %% [markdown]
# Each of those bits is an output that is pulled across 0, for the sake of the reconstruction.
#
# ### Variance, and balance
#
# If the variance rewards a constant bit and the quantisation is content with it, what keeps DH from making *all* bits constant? Only the start. Give the biases an advantage over the weights by a small input, a tenth of the default, and nothing else:

# %% tags=["nbval-ignore-output"]
collapsed = DeepHashing(input_scale=0.15).fit(digits)
for name, run in (("default", dh), ("small input", collapsed)):
    balance, J = metrics.balance(run.codes_), run.history_[-1]["objective"]
    print(f"{name:20} J = {J:8.1f}, imbalance of the codes {balance:.3f}")

# %%
assert collapsed.history_[-1]["objective"] < dh.history_[-1]["objective"]
assert metrics.balance(collapsed.codes_) > 0.95 and metrics.balance(dh.codes_) < 0.15
constant, terms = np.full((16, 1000), 1 - 1e-6), ("quantisation", "variance")
value = dh_terms(constant, [np.eye(16)], [np.zeros((16, 1))], (100, 0, 0))
print("all bits constant: " + ", ".join(f"{name} {value[name]:.2f}" for name in terms))

# %% [markdown]
# All bits constant at $+1$: quantisation 0, variance at its bound $-\alpha_1L/2=-800$. **The data terms of DH have a global minimum at every code whose outputs are saturated, and a code that says nothing is among them**, and training from ITQ's balanced codes can end there, with a *lower* objective than before. A lower objective is not a better code. In UH-BDNN such a code costs $\frac{\lambda_3}2\|\mathbf 1\mathbf 1^\top-I\|^2$, and reconstructs nothing but the mean.
#
# ### Orthogonal weights, and uncorrelated bits
#
# Orthogonality of the weights is meant to make bits independent. Take weights that are *exactly* orthonormal, in ten random rotations of the 16 leading principal components, and measure how far bits of the code depend on each other (notebook 02):

# %%
V = P.T @ X
dependence = []
for seed in range(10):
    R = np.linalg.qr(np.random.default_rng(seed).standard_normal((16, 16)))[0]
    assert orthogonality([R @ P.T])[0] < 1e-20
    dependence.append(metrics.independence(sgn(R @ V).T))
print(f"orthonormal weights: mean absolute correlation of two bits {np.mean(dependence):.3f}")
print(f"principal directions themselves: {metrics.independence(sgn(V).T):.3f}")

# %% [markdown]
# For $h=Wx$ the second moments are $\frac1mHH^\top=WCW^\top$ with the covariance $C$ of the input: $WW^\top=I$ makes them diagonal only where $C$ is a multiple of $I$, or where $W$ holds eigenvectors of $C$. Behind tanh and sgn not even that helps for certain. And a strong weight does not help either:

# %% tags=["nbval-ignore-output"]
strict = DeepHashing(alpha2=1000).fit(digits)
print("                     ||W W^T - I||  dependence of the bits")
for name, run in (("DH", dh), ("DH, alpha2 = 1000", strict), ("UH-BDNN", uh), ("ITQ", itq)):
    size = f"{np.sqrt(2 * orthogonality(run.Ws_)[0]):.2f}" if run in (dh, strict) else ""
    print(f"{name:20} {size:>13}  {metrics.independence(run.codes_):10.3f}")

# %% [markdown]
# With $\alpha_2=1000$ the weights stay close to orthonormal, and the bits depend on each other hardly less; more than those of ITQ in either case. The independence term of BDNN speaks of the outputs of the code layer themselves, and gets what it asks for: the lowest number of the column.

# %% [markdown]
# ## Side by side on digits
#
# The 1,000 queries come into play now, for the first time: class labels as ground truth, as DH's authors do it even for the unsupervised methods. UH-BDNN runs shortened.


# %% tags=["nbval-ignore-output"]
def measure(method):
    method.fit(rows, labels)
    codes = [method.transform(part) for part in (dataset.query, dataset.database)]
    return metrics.evaluate(*codes, dataset.relevant)


table = {}
print("method                 bits   mAP %  P@r=2 %  empty balls  imbalance  dependence")
for bits in (16, 32):
    short = UHBDNN(bits, max_alternations=1, max_iter=30, n_init=2)
    for method in (ITQ(bits), DeepHashing(bits), short, SupervisedDeepHashing(bits)):
        row = table[type(method).__name__, bits] = measure(method)
        print(f"{type(method).__name__:22} {bits:4d} {100 * row['map_standard']:7.2f}", end="")
        print(f" {100 * row['precision_at_2']:8.2f}  {row['empty_share']:11.3f}", end="")
        print(f"  {row['balance']:9.4f}  {row['independence']:10.4f}")

# %%
mAP = {name: row["map_standard"] for (name, bits), row in table.items() if bits == 16}
assert mAP["SupervisedDeepHashing"] > mAP["DeepHashing"] + 0.1
assert abs(mAP["DeepHashing"] - mAP["ITQ"]) < 0.05
print("16 bits: DH within five points of ITQ in mAP, supervised DH more than ten points above DH")

# %% [markdown]
# DH improves on its start in mAP: by a little at 16 bits, by more at 32. At 16 bits it pays with precision at radius 2. Labels are worth forty points of mAP. UH-BDNN, cut short here, has at 16 bits those that depend least on each other; how the methods compare in earnest, on all of MNIST and over several seeds, is a question for recorded runs.

# %% [markdown]
# ## The comparison
#
# One run is an anecdote. The rows of `results/comparison.jsonl` were recorded with `course.py run`: for each of five seeds the same data and the same split for
# every method. First in the protocol of Deep Hashing's authors: 100 queries of each class drawn with the seed, all other samples are database
# and training set, and relevant is the query's class, for methods with and without labels alike.

# %%
recorded = read_folder("results")["comparison.jsonl"]
METHODS = ("ITQ", "DeepHashing", "UHBDNN", "SupervisedDeepHashing", "SHBDNN")


def rows_of(data, protocol, method, bits):
    return [
        r
        for r in recorded
        if (r["data"], r["method"], r["bits"]) == (data, method, bits)
        and r["split"].startswith("dh") == (protocol == "dh")
    ]


def spread(values, digits=2):
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


# %%
COLUMNS = {"mAP %": "map_standard", "trapezoid": "map_trapezoid", "P@500": "precision_at_500"}
COLUMNS |= {"P@r=2 %": "precision_at_2", "imbalance": "balance", "dependence": "independence"}


def compare(data, protocol, lengths):
    print(f"{'method':22} bits" + "".join(f"{name:>15}" for name in COLUMNS) + "  fit s  encode s")
    for bits, method in itertools.product(lengths, METHODS):
        rows = rows_of(data, protocol, method, bits)
        if not rows:
            continue
        cells = [
            spread([r[key] for r in rows], 3 if key in ("balance", "independence") else 2)
            for key in COLUMNS.values()
        ]
        seconds = [np.mean([r[key] for r in rows]) for key in ("fit_seconds", "encode_seconds")]
        print(f"{method:22} {bits:4d}" + "".join(f"{cell:>15}" for cell in cells), end="")
        print(f"  {seconds[0]:5.1f}  {seconds[1]:8.3f}")


compare("mnist5k", "dh", (16, 32, 64))

# %% [markdown]
# And in the paper's own split of `mnist5k`, the same 1,000 queries for each seed, so that the deviation is that of the methods alone:

# %%
compare("mnist5k", "bdnn", (16, 32, 64))

# %% [markdown]
# As far as we remember (we could not read its text), the BDNN paper reports about two points of mAP over DH on MNIST. Pair the runs by seed, take the difference, and its standard error:

# %%
for protocol, bits in itertools.product(("dh", "bdnn"), (16, 32, 64)):
    pair = [rows_of("mnist5k", protocol, method, bits) for method in ("UHBDNN", "DeepHashing")]
    mAP_UH, mAP_DH = ({r["seed"]: r["map_standard"] for r in rows} for rows in pair)
    gap = [mAP_UH[seed] - mAP_DH[seed] for seed in sorted(mAP_UH.keys() & mAP_DH.keys())]
    error = np.std(gap, ddof=1) / np.sqrt(len(gap))
    print(
        f"{protocol:4} {bits} bits: UH-BDNN - DH = {np.mean(gap):+.2f} ± {error:.2f} points of mAP"
    )

# %% [markdown]
# The standard errors are some tenths of a point. **On these data that does not hold**: in mAP our UH-BDNN is behind our DH at every length, by one to three points. Precision at radius 2 is another matter:
# at 16 bits UH-BDNN leads, at 32 bits DH does, whose less independent bits leave fewer balls empty. Two things to keep in mind. Our DH starts at rotated directions, which is a departure in its
# favour: from the paper's start it is more than ten points of mAP behind. And relevant here is the class, which neither method is trained for, among 4,000 samples, where
# UH-BDNN has little to learn from; with Euclidean neighbours as the ground truth and all of MNIST it was ahead of ITQ in notebook 08.
#
# With labels SH-BDNN is ahead of supervised DH in mAP by two to six points, and in precision at radius 2 by
# eleven or more, because every class has a ball of its own. (Supervised DH draws nothing at random: with one split its deviation is 0.)
#
# What does the size of the data change? One seed on all of MNIST, 69,000 samples in the database:

# %%
compare("mnist", "dh", (16, 32))

# %% [markdown]
# One run each, so that a difference of a point says little; but the picture is that of the small data: in mAP DH leads, and UH-BDNN is not ahead of ITQ, while in
# precision at radius 2 UH-BDNN leads at 16 bits, by eight points before DH, and DH at 32. Whether five seeds on all of MNIST bear this out is left to longer runs.
#
# The objectives of one seed side by side, each in its own units and over its own steps:

# %%
rows = [rows_of("mnist5k", "dh", method, 16)[0] for method in METHODS[1:]]
fig, axes = plt.subplots(1, 4, figsize=(9, 2.6))
for ax, row in zip(axes, rows):
    step = "iteration" if "iteration" in row["history"][0] else "alternation"
    _ = ax.plot([e[step] for e in row["history"]], [e["objective"] for e in row["history"]])
    _ = ax.set(title=row["method"].replace("Supervised", "Supervised\n"), xlabel=step)
_ = axes[0].set(ylabel="objective $J$")
save_figure(fig, "10_objectives")

# %% [markdown]
# ## What we have now
#
# `bdnn.deep_hashing` exports the terms `quantisation`, `variance`, `orthogonality`, `weight_and_bias_decay` and `scatter`, each with value and gradient and without its weight; `dh_terms` and `DHObjective`, which put them together; `narrowing_sizes`, `initial_network` and `descend`; and the estimators `DeepHashing` and `SupervisedDeepHashing`, also as `from bdnn import DeepHashing, SupervisedDeepHashing`.
#
# | BDNN, exactly | Deep Hashing, relaxed | what the relaxation costs |
# |---|---|---|
# | codes $B$ are variables | $\operatorname{sgn}H$, constant in the gradient | bits stay on the side where they start |
# | balance $\|H\mathbf 1\|^2$ | variance about 0 | constant bits are a global minimum |
# | independence $\|\frac1mHH^\top-I\|^2$ | $\|WW^\top-I\|^2$ | bits may depend on each other as they like |
#
# ## Exercises
#
# **10.1** (on paper) Show that $J_q$ has a local maximum in $h_{ki}$ at 0, and compute where a single output ends under gradient descent on $J_q-\alpha_1J_v$ without tanh, for $\alpha_1<m$ and for $\alpha_1>m$.
#
# <details><summary>Hint</summary> Set $(h-\operatorname{sgn}h)-\frac{\alpha_1}mh$ to 0. What does tanh change? </details>
#
# **10.2** (on paper, then in code) Replace the variance about 0 by the variance about the mean, $\frac1{2m}\|HP\|^2$ with the centring matrix $P=I-\frac1m\mathbf 1\mathbf 1^\top$. Derive the gradient and check it. What is it for a constant bit?
#
# <details><summary>Hint</summary> $P$ is symmetric and $PP=P$. </details>
#
# **10.3** (on paper, then in code) Show that $J_s$ of Eq. (9) without labels, with all pairs counted as different, is twice the variance about the mean, times $\frac m{m-1}$.
#
# <details><summary>Hint</summary> Eq. (10) for all samples at once. </details>
#
# **10.4** (in code) Train from 500 and from 4,000 digits with `reduction="sum"` and `"mean"`, supervised. How does the mAP depend on $m$ in each?
#
# <details><summary>Hint</summary> In one of them the labels weigh $\alpha_1/m$ against the quantisation. </details>
#
# **10.5** (in code) Add the term that the slide's label promises: $\frac{\lambda_4}{2m}\|H\mathbf 1\|^2$ of notebook 05. Repeat the training that collapsed. How large must $\lambda_4$ be to prevent it?
#
# <details><summary>Hint</summary> Add `losses.balance` to the value, and send its gradient through `backward` with the same outputs. </details>
#
# **10.6** (in code) A layer that widens: use `hidden=(10, 40)` at 16 bits. What is the smallest value of the orthogonality term, on paper and after training with `alpha2=1e4`?
#
# <details><summary>Hint</summary> Rank of $WW^\top$ in each of the layers. Count the eigenvalues $-1$ of $WW^\top-I$. </details>
#
# Solutions: `solutions/10_solutions`.
#
# ## Further reading
#
# * Liong, Lu, Wang, Moulin and Zhou, *Deep Hashing for Compact Binary Codes Learning*, CVPR 2015: our Eq. (2), and the supervised variant; continued by Lu, Liong and Zhou, *Deep Hashing for Scalable Image Search*, IEEE Transactions on Image Processing 26(5), 2017.
# * Do, Doan and Cheung, *Learning to Hash with Binary Deep Neural Network*, ECCV 2016: what it changes, term by term, and its comparison with DH.
# * Gong and Lazebnik, *Iterative Quantization*, CVPR 2011: why rotated principal components quantise better; notebook 03.
