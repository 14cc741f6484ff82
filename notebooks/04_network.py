# %% [markdown]
# # Build the encoder and its backpropagation
#
# **What you will do.** You build the network that turns a vector into the real numbers whose signs are its code. Then you derive, implement and verify the gradient of any objective of these numbers with respect to all weights.
#
# **What you will learn**
#
# * how the paper counts layers, and what each of them computes;
# * differentials and traces: the gradient of a function of matrices, without a single index;
# * backpropagation as three equations, each beside the line of code that computes it;
# * how to check a gradient by central differences, and which step to take for them;
# * why the initial weights are eigenvectors, and what the sigmoids see at the start.
#
# **What you need.** Notebook 01 for the data; linear algebra (trace, eigenvectors) and the chain rule. About 90 minutes with paper and pencil, 15 seconds to run.
#
# | symbol | meaning |
# |---|---|
# | $W^{(l)},c^{(l)}$ | weights and biases that lead from layer $l$ to layer $l+1$ |
# | $Z^{(l)},H^{(l)}$ | inputs and outputs of the units of layer $l$, a column for each sample |
# | $\mathrm dW$ | a small change of $W$, a differential |
# | $\Delta^{(l)}$ | gradient of the objective $J$ with respect to $Z^{(l)}$ |
# | $\theta$ | all weights and biases in one vector |
#
# In code `dW` is the *gradient* $\partial J/\partial W$, and `dc`, `dH` likewise; differentials occur in formulas only.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% [markdown]
# ## Count the layers
#
# A layer $l+1$ takes the outputs $H^{(l)}$ of the layer before it, one sample per column, mixes them with weights $W^{(l)}$, adds a bias $c^{(l)}$ to every column and applies a function $f$ to each entry:
#
# $$ H^{(1)} = X, \qquad Z^{(l+1)} = W^{(l)} H^{(l)} + c^{(l)} \mathbf 1_{1\times m}, \qquad H^{(l+1)} = f^{(l+1)}\big(Z^{(l+1)}\big) \tag{1} $$
#
# The paper's $n$ counts **all** layers, input and output included, and $W^{(l)}$ leads from layer $l$ to layer $l+1$. So a network of $n$ layers has $n-1$ weight matrices.
#
# * **UH-BDNN** (unsupervised) has $n = 5$ layers, $D \to h_1 \to h_2 \to L \to D$. The code layer is layer $n-1 = 4$; layer 5 reconstructs the input.
# * **SH-BDNN** (supervised) has labels in place of the reconstruction. It has $n = 4$ layers, and the code layer is the last one.
#

# %% tags=["export-top"]
"""The encoder of the Binary Deep Neural Network: layers, backpropagation, initial weights.

Samples stand in columns: X is (D, m), the output of a layer with h units (h, m); weights Ws are
(h_out, h_in), biases cs (h_out, 1), and `sizes` the units of all layers, D first. Python counts
from 0 and the paper from 1: Hs[0] is its H(1) = X, Ws[0] its W(1), the weights that lead from layer
1 to layer 2. Everything works in the precision of its input.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy import ndarray as Array

from bdnn.itq import fixed_signs

# %%
from functools import partial

import matplotlib.pyplot as plt

from bdnn.course.plotting import COLOURS, save_figure
from bdnn.data import load

data = load("mnist5k")
X = data.train.T / 255  # samples in columns, pixels from 0 to 1
D, m = X.shape
print(f"{m} digits in {D} pixels, {X.dtype}")


# %%
def draw_layer(ax, x, units, label, colour):
    height = 0.16 * np.log2(units)
    ax.add_patch(plt.Rectangle((x - 0.16, -height / 2), 0.32, height, fc=colour, ec="black"))
    ax.text(x, -0.92, label, ha="center", va="top", fontsize=9)
    ax.text(x, height / 2 + 0.05, f"{units}", ha="center", fontsize=9)


# %%
fig, ax = plt.subplots(figsize=(7.0, 3.0))
layers = [
    (784, "layer 1\n$H^{(1)} = X$"),
    (90, "layer 2\nsigmoid"),
    (30, "layer 3\nsigmoid"),
    (16, "layer 4, code layer\nlinear, $H^{(4)}$"),
]
for k, (units, label) in enumerate(layers):
    draw_layer(ax, 1.3 * k, units, label, "white")
    if k:
        ax.annotate("", (1.3 * k - 0.2, 0), (1.3 * k - 1.1, 0), arrowprops={"arrowstyle": "->"})
        ax.text(1.3 * k - 0.65, 0.08, f"$W^{{({k})}}, c^{{({k})}}$", ha="center")
draw_layer(ax, 5.1, 16, "codes\n$B$", COLOURS["sky"])
draw_layer(ax, 6.4, 784, "layer 5 (UH only)\n$W^{(4)}B + c^{(4)}$", "0.85")
ax.text(4.5, 0, r"$\approx$", ha="center", va="center", fontsize=16)
ax.annotate("", (6.2, 0), (5.3, 0), arrowprops={"arrowstyle": "->"})
ax.text(5.75, 0.08, "$W^{(4)}, c^{(4)}$", ha="center")
ax.set(xlim=(-0.7, 7.2), ylim=(-1.35, 1.0))
ax.set_axis_off()
save_figure(fig, "04_layers")

# %% [markdown]
# The figure shows the network at 16 bits, the number of units above each layer. The encoder is white. The codes, in blue, are variables of their own, held close to $H^{(4)}$ by a penalty. The grey layer reconstructs; only UH-BDNN has it.
#
# How many hidden units? The authors' program has $(h_1, h_2)$ for four code lengths $L$ and refuses any other.
#
# **Departure:** for every other length we take straight lines through their four points (and never fewer than 90 units in the first layer),
#
# $$ h_1 = \max\!\big(90,\ \lceil\tfrac52 L\rceil + 40\big), \qquad h_2 = \lceil\tfrac54 L\rceil + 10 . \tag{2} $$


# %% tags=["export"]
def hidden_sizes(n_bits: int) -> tuple[int, int]:
    """Units of the two hidden layers in front of a code layer of `n_bits` units.

    max(90, 2.5 L + 40) and 1.25 L + 10, rounded up, Eq. (2) of notebook 04: a straight line through
    the sizes of the paper's authors at 8, 16, 24 and 32 bits.
    """
    return max(90, 40 + -(-5 * n_bits // 2)), 10 + -(-5 * n_bits // 4)


# %%
authors = {8: (90, 20), 16: (90, 30), 24: (100, 40), 32: (120, 50)}
print("   L    h1   h2")
for L in (4, 8, 12, 16, 24, 32, 48, 64):
    h1, h2 = hidden_sizes(L)
    print(f"{L:4d} {h1:5d} {h2:4d}   {'as the authors' if L in authors else 'Eq. (2)'}")
assert all(hidden_sizes(L) == sizes for L, sizes in authors.items())

# %% [markdown]
# ## Compute the sigmoid without overflow
#
# The hidden layers use the logistic sigmoid. Computed as textbooks write it, it overflows on the way: $e^{-z}$ leaves the range of float32 at $z = -89$, of float64 at $z = -710$.


# %%
def plain_sigmoid(z):
    return 1 / (1 + np.exp(-z))


# %%
try:
    with np.errstate(over="raise"):
        plain_sigmoid(np.float32(-100))
except FloatingPointError as error:
    print("plain form at -100:", error)
with np.errstate(over="ignore", invalid="ignore"):
    z = np.float32(100)
    print(f"its other form, e^z / (1 + e^z), at +100: {np.exp(z) / (1 + np.exp(z))}")

# %% [markdown]
# The first form still arrives at the right answer, $1/\infty = 0$, but it warns in the middle of a training, or stops it where warnings are errors. The second form loses the value. Multiply numerator and denominator by $e^{z/2}$ instead:
#
# $$ \sigma(z) = \frac1{1+e^{-z}} = \frac{e^{z/2}}{e^{z/2}+e^{-z/2}} = \tfrac12\Big(1 + \frac{e^{z/2}-e^{-z/2}}{e^{z/2}+e^{-z/2}}\Big) = \tfrac12\big(1+\tanh\tfrac z2\big) \tag{3} $$
#
# The hyperbolic tangent runs from $-1$ to $1$ and cannot overflow.
#
# Most functions of this module take an argument `out`, as NumPy's own functions do. It is memory to write the result to, so that a training need not ask for new large arrays in every step; it changes no number. Read past it at first: with `out=None`, `np.multiply(Z, 0.5, out=out)` is `Z * 0.5`.


# %% tags=["export"]
def sigmoid(Z: Array, out: Array | None = None) -> Array:
    """Logistic function 1 / (1 + exp(-Z)) without overflow: Eq. (3) of notebook 04.

    As in NumPy's own functions, `out=Z` overwrites Z.
    """
    H = np.tanh(np.multiply(Z, 0.5, out=out), out=out)
    return np.multiply(np.add(H, 1, out=out), 0.5, out=out)


def identity(Z: Array, out: Array | None = None) -> Array:
    """Return Z itself; `out` is there because the other activations have it."""
    return Z


# %%
z = np.linspace(-30, 30, 100_001)
np.testing.assert_allclose(sigmoid(z), plain_sigmoid(z), rtol=0, atol=1e-15)
print("at -1e30, -100, 0, 100, 1e30:", sigmoid(np.float32([-1e30, -100, 0, 100, 1e30])))

# %% [markdown]
# What Eq. (3) gives up is *relative* precision near 0: it returns $\sigma(-40) = 0$ instead of $4\cdot10^{-18}$. The next layer adds such a number to others of size 1, so nothing is lost that would have counted.
#
# Backpropagation needs $f'$ at every $Z$. For all our activations it can be written in terms of the **output** $h = f(z)$, so that $Z$ need not be kept:
#
# $$ \sigma'(z) = \frac{e^{-z}}{(1+e^{-z})^2} = h(1-h) = \tfrac14-\big(h-\tfrac12\big)^2, \qquad \tanh'(z) = 1-h^2, \qquad \operatorname{id}'(z) = 1 . \tag{4} $$
#
# The first holds because $1-h = e^{-z}/(1+e^{-z})$. Its last form shows that the slope is at most $\frac14$; since $h$ stands in it only once, it can be computed in place, too. The slope of $\tanh = \sinh/\cosh$ is $(\cosh^2-\sinh^2)/\cosh^2$. A table of (function, slope in terms of the output) is all that the network needs to know about an activation.


# %% tags=["export"]
def sigmoid_slope(H: Array, out: Array | None = None) -> Array:
    """The slope H (1 - H) = 1/4 - (H - 1/2)^2 of the sigmoid where its output is H."""
    S = np.subtract(H, 0.5, out=out)
    S *= S
    return np.subtract(0.25, S, out=S)


def tanh_slope(H: Array, out: Array | None = None) -> Array:
    """The slope 1 - H^2 of the hyperbolic tangent where its output is H."""
    return np.subtract(1, np.square(H, out=out), out=out)


def identity_slope(H: Array, out: Array | None = None) -> int:
    """The slope of the identity, 1 everywhere."""
    return 1


# %% tags=["export"]
# name -> (f, derivative of f at Z in terms of the output H = f(Z)): Eq. (4) of notebook 04
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "sigmoid": (sigmoid, sigmoid_slope),
    "tanh": (np.tanh, tanh_slope),
    "identity": (identity, identity_slope),
}


# %%
z = np.linspace(-6, 6, 300)
fig, axes = plt.subplots(1, 2, figsize=(7.0, 2.8))
for name, line in zip(ACTIVATIONS, ["-", "--", ":"]):
    f, slope = ACTIVATIONS[name]
    axes[0].plot(z, f(z), line, label=name)
    axes[1].plot(z, slope(f(z)) * np.ones_like(z), line, label=name)
axes[0].set(xlabel="z", ylabel="h = f(z)", ylim=(-1.5, 1.5), title="activation")
axes[1].set(xlabel="z", ylabel="f'(z)", title="its slope")
_ = axes[0].legend()

# %% [markdown]
# The slope of the sigmoid is at most 1/4 and below 0.02 from $|z| = 4$ on: a unit that sees large inputs is *saturated* and lets almost no gradient through. We come back to this when we choose the initial weights.
#
# The **code layer is linear** in the authors' settings, and so it is here. A tanh would keep $H$ between $-1$ and $1$ by construction; the linear layer leaves that to a loss term (equality, notebook 05). Exercise 4.1 looks at the tanh.
#
# ## Run forward
#
# **Stop.** Do exercise 4.A now, in [04_exercises](exercises/04_exercises.ipynb); what follows gives the answer.
#
# Before the matrix form, here is Eq. (1) in slow motion: one sample, one unit at a time.


# %%
def naive_forward(Ws, cs, x):
    h = x
    for l, (W, c) in enumerate(zip(Ws, cs), start=1):
        z = [sum(W[i, j] * h[j] for j in range(len(h))) + c[i, 0] for i in range(len(W))]
        h = [plain_sigmoid(v) for v in z] if l < len(Ws) else z
    return h


# %% [markdown]
# Eq. (1) says the same for all samples together. The bias is a column that NumPy repeats over the samples, which is the product $c\,\mathbf 1_{1\times m}$. `hidden` and `last` choose the activations. `out` is memory for the outputs; without it, `Z` is `W @ Hs[-1] + c`, and `f(Z)` is appended.


# %% tags=["export"]
def forward(
    Ws: list[Array],
    cs: list[Array],
    X: Array,
    hidden: str = "sigmoid",
    last: str = "identity",
    out: list[Array] | None = None,
) -> list[Array]:
    """Outputs (units, m) of all layers, [X, H2, H3, ...]: Eq. (1) of notebook 04.

    Activations of the hidden layers and of the last one are keys of `ACTIVATIONS`; the defaults are
    those of the paper's authors. `out` is memory for H2, H3, ...; new memory costs time.
    """
    Hs = [X]
    for l, (W, c) in enumerate(zip(Ws, cs)):
        f, _ = ACTIVATIONS[hidden if l < len(Ws) - 1 else last]
        Z = np.matmul(W, Hs[-1], out=out and out[l])  # (h_out, m)
        Z += c
        Hs.append(f(Z, out=Z))  # in the memory of Z, which nobody needs again
    return Hs


# %%
rng = np.random.default_rng(4)
tiny = [5, 4, 3, 2]  # units of a toy network: D, h1, h2, L
Ws = [rng.standard_normal((b, a)) for a, b in zip(tiny, tiny[1:])]
cs = [rng.standard_normal((b, 1)) for b in tiny[1:]]
A = rng.standard_normal((5, 7))  # seven samples

# %%
Hs = forward(Ws, cs, A)
slow = np.transpose([naive_forward(Ws, cs, x) for x in A.T])
np.testing.assert_allclose(Hs[-1], slow, rtol=1e-13)
print("shapes of the layers:", [H.shape for H in Hs])

# %% [markdown]
# The two forms agree to 13 digits; a cell that asserts something and prints nothing about it has passed.
#
# ## Differentials: gradients without indices
#
# An objective $J$ is a number that depends on matrices. We want its gradient with respect to each of them, and we want to derive it without writing sums over $i$ and $j$. Two tools are enough, and they serve for the rest of the course.
#
# **The inner product of matrices** of the same shape is the sum of the products of their entries,
#
# $$ \langle A, B\rangle = \sum_{ij} a_{ij}b_{ij} = \operatorname{tr}(A^\top B), \qquad \|A\|^2 = \langle A, A\rangle . \tag{5} $$
#
# **The differential** $\mathrm dJ$ is the part of the change $J(W+\mathrm dW) - J(W)$ that is linear in $\mathrm dW$. A linear function of a matrix is an inner product with a fixed matrix; that matrix is the gradient:
#
# $$ \mathrm dJ = \Big\langle \frac{\partial J}{\partial W},\ \mathrm dW\Big\rangle . \tag{6} $$
#
# (Choose a $\mathrm dW$ that is 1 at one place and 0 elsewhere, and Eq. (6) says that the entry of the gradient there is the ordinary partial derivative.) So a gradient is derived in three moves: take the differential, bring it to the form $\langle G, \mathrm dW\rangle$, read off $G$.
#
# *Taking* differentials follows the rules of derivatives, except that the order of factors is kept; $\odot$ is the product entry by entry:
#
# $$ \mathrm d(A+B) = \mathrm dA + \mathrm dB, \quad \mathrm d(AB) = (\mathrm dA)B + A\,\mathrm dB, \quad \mathrm df(Z) = f'(Z)\odot\mathrm dZ, \quad \mathrm d\,\tfrac12\|A\|^2 = \langle A, \mathrm dA\rangle . \tag{7} $$
#
# *Bringing* them to the form of Eq. (6) needs a way to move factors from one side to the other:
#
# $$ \langle A, BC\rangle = \langle B^\top A,\ C\rangle = \langle AC^\top,\ B\rangle, \qquad \langle A,\ B\odot C\rangle = \langle A\odot B,\ C\rangle . \tag{8} $$
#
# The first is $\operatorname{tr}(A^\top BC) = \operatorname{tr}\big((B^\top A)^\top C\big)$; the second uses that the trace may be rotated, $\operatorname{tr}(A^\top BC) = \operatorname{tr}(CA^\top B) = \operatorname{tr}\big((AC^\top)^\top B\big)$; the third is the same sum of $a_{ij}b_{ij}c_{ij}$ on both sides. Shapes guide you: only one order of the factors fits.
#
# A first use. Let $J = \frac12\|WA - T\|^2$. Then
#
# $$ \mathrm dJ \overset{(7)}= \langle WA-T,\ \mathrm d(WA-T)\rangle \overset{(7)}= \langle WA - T,\ (\mathrm dW)A\rangle \overset{(8)}= \langle (WA-T)A^\top,\ \mathrm dW\rangle, $$
#
# hence $\partial J/\partial W = (WA-T)A^\top$. In numbers: take a change $\mathrm dW=tE$ with a fixed matrix $E$ and a small $t$. The prediction $\langle G,tE\rangle$ should miss the true change of $J$ by a term that shrinks with $t^2$:

# %%
W, T = rng.standard_normal((3, 5)), rng.standard_normal((3, 7))
G = (W @ A - T) @ A.T
E = rng.standard_normal(W.shape)
J = [0.5 * np.sum(((W + t * E) @ A - T) ** 2) for t in (0, 0.1, 0.01, 0.001)]
for t, value in zip((0.1, 0.01, 0.001), J[1:]):
    change, predicted = value - J[0], t * np.sum(G * E)
    print(
        f"step {t:5.3f}: change {change:9.5f}, predicted {predicted:9.5f}, missed {change - predicted:.6f}"
    )

# %% [markdown]
# With a step ten times smaller the prediction misses a hundred times less.
#
# ## Propagate the gradient back: backpropagation
#
# Let $J$ depend on the network through the output $H^{(N)}$ of its last layer $N$ (the code layer: $N = n-1$ in UH-BDNN, $N = n$ in SH-BDNN), and let $\partial J/\partial H^{(N)}$ be given; notebook 05 derives it for every loss term. Take a sheet of paper and try the next step before you read on: what is the gradient with respect to $Z^{(N)}$?
#
# **At the top.** Call $\Delta^{(l)} = \partial J/\partial Z^{(l)}$. Then
#
# $$ \mathrm dJ = \Big\langle\frac{\partial J}{\partial H^{(N)}},\ \mathrm dH^{(N)}\Big\rangle \overset{(7)}= \Big\langle\frac{\partial J}{\partial H^{(N)}},\ f'(Z^{(N)})\odot\mathrm dZ^{(N)}\Big\rangle \overset{(8)}= \Big\langle\frac{\partial J}{\partial H^{(N)}}\odot f'(Z^{(N)}),\ \mathrm dZ^{(N)}\Big\rangle, $$
#
# $$ \Delta^{(N)} = \frac{\partial J}{\partial H^{(N)}}\odot f'(Z^{(N)}) . \tag{9} $$
#
# **Through a layer.** By Eq. (1) and the product rule, $\mathrm dZ^{(l+1)} = (\mathrm dW^{(l)})H^{(l)} + W^{(l)}\,\mathrm dH^{(l)} + (\mathrm dc^{(l)})\mathbf 1_{1\times m}$. Put this into $\mathrm dJ = \langle\Delta^{(l+1)}, \mathrm dZ^{(l+1)}\rangle$ and move the factors by Eq. (8):
#
# $$ \mathrm dJ = \langle\Delta^{(l+1)}H^{(l)\top},\ \mathrm dW^{(l)}\rangle + \langle W^{(l)\top}\Delta^{(l+1)},\ \mathrm dH^{(l)}\rangle + \langle\Delta^{(l+1)}\mathbf 1_{m\times1},\ \mathrm dc^{(l)}\rangle . $$
#
# $W^{(l)}$ and $c^{(l)}$ act on $J$ through $Z^{(l+1)}$ alone, so their gradients can be read off:
#
# $$ \frac{\partial J}{\partial W^{(l)}} = \Delta^{(l+1)}H^{(l)\top}, \qquad \frac{\partial J}{\partial c^{(l)}} = \Delta^{(l+1)}\mathbf 1_{m\times 1} . \tag{10} $$
#
# **Down to the next layer.** What is left, $\langle W^{(l)\top}\Delta^{(l+1)}, \mathrm dH^{(l)}\rangle$, says that $\partial J/\partial H^{(l)} = W^{(l)\top}\Delta^{(l+1)}$. With this in the place of $\partial J/\partial H^{(N)}$, Eq. (9) gives
#
# $$ \Delta^{(l)} = \big(W^{(l)\top}\Delta^{(l+1)}\big)\odot f'(Z^{(l)}) . \tag{11} $$
#
# Eqs. (9) to (11) are backpropagation. Here they are for the network of 16 bits, with the shape of every matrix:


# %%
def draw_matrix(ax, x, y, rows, columns, name, colour="white"):
    w, h = 0.13 * np.log2(columns + 1), 0.13 * np.log2(rows + 1)
    ax.add_patch(plt.Rectangle((x - w / 2, y - h / 2), w, h, fc=colour, ec="black"))
    shape = f"{rows} × {'m' if columns == m else columns}"
    ax.text(x, y, name, ha="center", va="center", fontsize=10)
    ax.text(x, y - h / 2 - 0.05, shape, ha="center", va="top", fontsize=8, color="0.3")


def draw_arrow(ax, start, end, label="", side=0.0, **style):
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "lw": 1.1} | style)
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.07
    ax.text(x + side, y, label, ha="center", va="bottom", fontsize=9)


# %%
units = (784, 90, 30, 16)
fig, ax = plt.subplots(figsize=(8.4, 4.6))
for l, h in enumerate(units, start=1):
    x = 3.2 * l
    draw_matrix(ax, x, 4.4, h, m, f"$H^{{({l})}}$")
    if l < 4:
        draw_arrow(ax, (x + 0.85, 4.4), (x + 2.35, 4.4), f"$W^{{({l})}}\\cdot,\\ f$")
        gradient = rf"$\frac{{\partial J}}{{\partial W^{{({l})}}}}$"
        draw_matrix(ax, x + 1.6, 2.5, units[l], h, gradient, COLOURS["sky"])
        draw_arrow(ax, (x + 0.2, 3.5), (x + 1.0, 2.8), ls=":")
        draw_arrow(ax, (x + 3.0, 1.2), (x + 2.2, 2.0), ls=":")
    if l > 1:
        draw_matrix(ax, x, 0.6, h, m, rf"$\Delta^{{({l})}}$", "0.9")
    if l > 2:
        label = rf"$W^{{({l - 1})\top}}\cdot,\ \odot f'$"
        draw_arrow(ax, (x - 0.85, 0.6), (x - 2.35, 0.6), label)
draw_arrow(ax, (12.8, 3.5), (12.8, 1.2), r"$\frac{\partial J}{\partial H^{(4)}}\odot f'$", 0.85)
ax.set(xlim=(2.2, 14.6), ylim=(-0.4, 5.3))
ax.set_axis_off()
save_figure(fig, "04_backward")

# %% [markdown]
# Above, from left to right: forward, Eq. (1). The outputs are kept. Below, from right to left: backward. Eq. (9) starts it, Eq. (11) takes it from layer to layer with the transposed weights. Between the rows, blue: the gradient of a weight matrix is the product of the $\Delta$ on its right and the transposed $H$ on its left, Eq. (10); the $m$ samples disappear in the product, which sums over them. It has the shape of $W^{(l)}$. No $\Delta^{(1)}$ is needed, for nobody asks for the gradient of the data.
#
# **Stop.** Do exercise 4.B now, in [04_exercises](exercises/04_exercises.ipynb); what follows gives the answer.
#
# Written out for the toy network and $J = \frac12\|H^{(4)} - T\|^2$, whose gradient at the top is $H^{(4)} - T$:

# %%
T = rng.standard_normal((2, 7))
(W1, W2, W3), (c1, c2, c3) = Ws, cs
H1, H2, H3, H4 = Hs

# %%
Delta4 = (H4 - T) * 1  # Eq. (9), linear code layer
dW3, dc3 = Delta4 @ H3.T, Delta4.sum(axis=1, keepdims=True)  # Eq. (10)
Delta3 = (W3.T @ Delta4) * (H3 * (1 - H3))  # Eq. (11), slope by Eq. (4)
dW2, dc2 = Delta3 @ H2.T, Delta3.sum(axis=1, keepdims=True)
Delta2 = (W2.T @ Delta3) * (H2 * (1 - H2))
dW1, dc1 = Delta2 @ H1.T, Delta2.sum(axis=1, keepdims=True)

# %% [markdown]
# The general function is a loop over the same lines. In it, `dH` is $\partial J/\partial H$ of the layer at hand: given at the top, $W^{(l)\top}\Delta^{(l+1)}$ below. `out` is memory for the $\Delta$ of the hidden layers; without it, the two long lines read `Delta = dH * slope(Hs[l + 1])` and `dH = Ws[l].T @ Delta`.


# %% tags=["export"]
def backward(
    Ws: list[Array],
    Hs: list[Array],
    dH: Array,
    hidden: str = "sigmoid",
    last: str = "identity",
    out: list[Array] | None = None,
) -> tuple[list[Array], list[Array]]:
    """Gradients dWs, dcs by backpropagation: Eqs. (9) to (11) of notebook 04.

    Hs are from :func:`forward` with the same activations, dH (h_last, m) is the gradient with
    respect to Hs[-1]. `out` is memory for the Deltas (units, m) of the hidden layers; with it,
    Hs[1:] is overwritten, too.
    """
    dWs, dcs, top = [], [], len(Ws) - 1
    for l in range(top, -1, -1):
        _, slope = ACTIVATIONS[hidden if l < top else last]
        S = slope(Hs[l + 1], out=out and Hs[l + 1])
        Delta = np.multiply(dH, S, out=dH if l < top else None)  # (h_out, m), Eqs. (9), (11)
        dWs.insert(0, Delta @ Hs[l].T)  # Eq. (10)
        dcs.insert(0, Delta.sum(axis=1, keepdims=True))
        if l > 0:  # nobody asks for the gradient of X
            dH = np.matmul(Ws[l].T, Delta, out=out and out[l - 1])
    return dWs, dcs


def layer_memory(X: Array, sizes: Sequence[int]) -> tuple[list[Array], list[Array]]:
    """Memory for `out` of :func:`forward` and for that of :func:`backward`."""
    Hs, Deltas = ([np.empty((h, X.shape[1]), X.dtype) for h in sizes[1:]] for _ in range(2))
    return Hs, Deltas


# %%
dWs, dcs = backward(Ws, Hs, H4 - T)
by_hand = [dW1, dW2, dW3, dc1, dc2, dc3]
for name, ours, hand in zip("dW1 dW2 dW3 dc1 dc2 dc3".split(), dWs + dcs, by_hand):
    np.testing.assert_allclose(ours, hand, rtol=1e-12)
    print(f"{name} {ours.shape}: as by hand")

# %% [markdown]
# Each layer costs two matrix products on the way back, as large as the one on the way forward (the first layer only one). Objective and gradient together therefore cost about three forward passes at most, *whatever the number of weights*.
#
# A word on `out`. For 60,000 samples the first hidden layer fills 24 MB, and to get new memory of that size at every evaluation costs a good part of the time of the products. A training evaluates hundreds of times with arrays of the same shapes. So `forward` and `backward` can be given arrays to write to, which `layer_memory` makes once; without them they make new ones, and the numbers are the same.
#
# ## Put all parameters into one vector
#
# An optimiser knows nothing of layers. It wants a function of one vector; here it holds layer after layer, first the rows of $W^{(l)}$ and then $c^{(l)}$:
#
# $$ \theta = \big(\operatorname{vec}W^{(1)},\ c^{(1)},\ \operatorname{vec}W^{(2)},\ c^{(2)},\ \dots\big) . \tag{12} $$
#
# The way back makes no copies: the matrices are *views*, other shapes of the same memory.


# %% tags=["export"]
def flatten(Ws: list[Array], cs: list[Array]) -> Array:
    """One vector of all parameters, layer by layer W, then c: Eq. (12) of notebook 04."""
    return np.concatenate([A.ravel() for pair in zip(Ws, cs) for A in pair])


def unflatten(theta: Array, sizes: Sequence[int]) -> tuple[list[Array], list[Array]]:
    """Undo :func:`flatten` for layers of these sizes, the input's first: views of the vector."""
    Ws, cs, start = [], [], 0
    for h_in, h_out in zip(sizes, sizes[1:]):
        stop = start + h_out * h_in
        Ws.append(theta[start:stop].reshape(h_out, h_in))
        cs.append(theta[stop : stop + h_out].reshape(h_out, 1))
        start = stop + h_out
    return Ws, cs


# %%
theta = flatten(Ws, cs)
views, _ = unflatten(theta, tiny)
print(f"{theta.size} parameters; after the round trip W2 differs by {abs(views[1] - Ws[1]).max()}")
views[0][0, 0] += 42  # written to the matrix ...
print(f"the first entry of the vector has changed by {theta[0] - Ws[0][0, 0]:.0f}")  # ... read here
theta = flatten(Ws, cs)


# %%
def toy_objective(theta, sizes, inputs, target, **activations):
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, inputs, **activations)
    E = Hs[-1] - target
    return 0.5 * np.sum(E**2), flatten(*backward(Ws, Hs, E, **activations))


toy = partial(toy_objective, sizes=tiny, inputs=A, target=T)

# %% [markdown]
# This is the form of every objective in the course: parameters in, value and gradient out.
#
# ## Check the gradient against central differences
#
# A derivation can be wrong, and so can the code. The witness against both is the definition of the derivative. Along a direction $v$, Taylor's formula gives
#
# $$ \frac{J(\theta+tv) - J(\theta-tv)}{2t} = \langle\nabla J, v\rangle + \frac{t^2}6J'''_v + \dots \tag{13} $$
#
# where $J'''_v$ is the third derivative along $v$. The even terms cancel; that is why the *central* difference is better than the one-sided $(J(\theta+tv)-J(\theta))/t$ with its error $\frac t2J''_v$. For a small $t$ another error takes over: each value of $J$ is rounded by up to about $\varepsilon|J|$, where $\varepsilon = 2.2\cdot10^{-16}$ in float64, and division by $t$ magnifies this to $\varepsilon|J|/t$. Look at both:

# %%
v = rng.standard_normal(theta.size)
v /= np.linalg.norm(v)
value, gradient = toy(theta)
slope = gradient @ v
steps = np.logspace(-13, 0, 53)
ahead = np.array([toy(theta + t * v)[0] for t in steps])
behind = np.array([toy(theta - t * v)[0] for t in steps])
central = np.abs((ahead - behind) / (2 * steps) - slope) / abs(slope)
one_sided = np.abs((ahead - value) / steps - slope) / abs(slope)

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(7.0, 3.2))
left.loglog(steps, central, "o-", ms=3, lw=1, label="central")
left.loglog(steps, one_sided, "s--", ms=3, lw=1, label="one-sided")
left.axvline(6e-6, color="0.5", lw=1, ls=":")
left.text(9e-6, 1.0, r"$t=\varepsilon^{1/3}$", va="top")
left.set(xlabel="step t", ylabel="relative error", title="error of the difference")
left.legend(loc="lower left")
for factor, style, label in [(1, "o-", "right gradient"), (1.01, "s--", "gradient 1 % off")]:
    missed = np.abs(ahead - value - factor * steps * slope)
    right.loglog(steps, missed, style, ms=3, lw=1, label=label)
right.set(xlabel="step t", ylabel=r"|change $-\ t\,\langle\nabla J, v\rangle$|")
right.set_title("what the gradient misses")
right.legend(loc="upper left")
save_figure(fig, "04_gradient_check")

# %% [markdown]
# Left, read from the right end: the error of the central difference falls with $t^2$, that of the one-sided difference with $t$, until rounding takes over and the error rises as $1/t$. The bottom of the V lies near $t = \varepsilon^{1/3} \approx 6\cdot10^{-6}$ (exercise 4.5 derives it); there the check is good to nine or ten digits. Right: what a right gradient misses falls along a line of slope 2 down to the rounding; for a gradient that is 1 % off, the line bends to slope 1.

# %%
window = (steps > 1e-4) & (steps < 1e-1)
for name, error in [("central", central), ("one-sided", one_sided)]:
    order = np.polyfit(np.log(steps[window]), np.log(error[window]), 1)[0]
    print(f"{name:9s}: the error falls with t to the power {order:.1f}")

# %% tags=["nbval-ignore-output"]
error = central[np.argmin(np.abs(np.log(steps / 6e-6)))]
assert error < 1e-9
print(f"central difference at t = 6e-6: relative error {error:.0e}")

# %% [markdown]
# One number sums it up: the slopes $s_k = \langle\nabla J, v_k\rangle$ against the central differences $d_k$, along all coordinates or along some random directions, relative to their length.
#
# $$ \text{error} = \frac{\|s-d\|}{\max(\|s\|, \|d\|)} \tag{14} $$
#
# The vectors are compared, not the entries one by one: an entry that is nearly zero has no relative precision to speak of. A right gradient gives $10^{-11}$ to $10^{-8}$; we ask for less than $10^{-7}$. Every check of a gradient in later notebooks uses this function.


# %% tags=["export"]
def gradient_error(
    fun: Callable[[Array], tuple[float, Array]],
    theta: Array,
    rng: np.random.Generator | None = None,
    n_directions: int | None = None,
    step: float = 6e-6,
) -> float:
    """Relative error of a gradient against central differences: Eqs. (13), (14) of notebook 04.

    `fun` gives value and gradient, this in the shape of theta, any; it is taken in float64. Slopes
    are compared along all coordinates, or along `n_directions` unit vectors that `rng` draws. The
    default step is the cube root of the rounding unit. Returns the length of the error over the
    length of the slopes; 0 if all slopes vanish in both.
    """
    theta = np.array(theta, dtype=np.float64)
    if n_directions is None:
        directions = np.eye(theta.size)
    else:
        directions = np.random.default_rng(rng).standard_normal((n_directions, theta.size))
    gradient = np.array(fun(theta)[1], dtype=np.float64)
    slopes, differences = [], []
    for v in directions:
        v = (v / np.linalg.norm(v)).reshape(theta.shape)
        slopes.append(np.vdot(gradient, v))
        ahead, behind = fun(theta + step * v)[0], fun(theta - step * v)[0]
        differences.append((ahead - behind) / (2 * step))
    error = np.linalg.norm(np.subtract(slopes, differences))
    scale = max(np.linalg.norm(slopes), np.linalg.norm(differences))
    return float(error / scale) if scale > 0 else 0.0


# %% tags=["nbval-ignore-output"]
print(f"toy network: error {gradient_error(toy, theta):.0e}")
for seed in range(4):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 9, size=rng.integers(3, 7)).tolist()
    kinds = dict(zip(("hidden", "last"), rng.choice(list(ACTIVATIONS), size=2).tolist()))
    inputs, target = rng.standard_normal((sizes[0], 6)), rng.standard_normal((sizes[-1], 6))
    fun = partial(toy_objective, sizes=sizes, inputs=inputs, target=target, **kinds)
    p = sum(b * (a + 1) for a, b in zip(sizes, sizes[1:]))
    error = gradient_error(fun, rng.standard_normal(p))
    assert error < 1e-7
    print(f"units {sizes}, {' and '.join(kinds.values())}: error {error:.0e}")

# %% [markdown]
# The error itself is rounding and differs a little from machine to machine; that it is below $10^{-7}$ the cell asserts.
#
# Can the check fail? Forget the slope of the sigmoid, or one bias:


# %%
def forgets_the_slope(theta):
    Ws, cs = unflatten(theta, tiny)
    Hs = forward(Ws, cs, A)
    return toy(theta)[0], flatten(*backward(Ws, Hs, Hs[-1] - T, hidden="identity"))


def forgets_a_bias(theta):
    value, gradient = toy(theta)
    unflatten(gradient, tiny)[1][1][0] = 0
    return value, gradient


for wrong in (forgets_the_slope, forgets_a_bias):
    print(f"{wrong.__name__:18s} error {gradient_error(wrong, theta):.3f}")

# %% [markdown]
# Two gross faults, two errors that nobody can overlook. But a fault in a term that weighs little makes a small error. Give the toy objective the weight decay of notebook 05, with the weight $\lambda_1$ of the paper's authors, and forget its gradient:


# %%
def forgets_the_decay(theta, lambda1):
    value, gradient = toy(theta)
    Ws, _ = unflatten(theta, tiny)
    return value + lambda1 / 2 * sum(np.sum(W**2) for W in Ws), gradient


for lambda1 in (1, 1e-5):
    error = gradient_error(partial(forgets_the_decay, lambda1=lambda1), theta)
    print(f"lambda1 = {lambda1:g}: error {error:.1e}")

# %% [markdown]
# So no fixed bound tells right from wrong in every case. Two habits do: ask for as little as rounding allows ($10^{-7}$, not $10^{-3}$), and check every term alone, or with weights of size 1, before it is added to others.
#
# ## Start from the data: initial weights by PCA
#
# Before training, every layer should pass on as much of its input as its units can carry. Which $k$ directions, as orthonormal rows of $W$, keep most of the inputs $H$?
#
# $$ \max_{WW^\top = I}\ \tfrac1m\|WH\|^2 = \max_{WW^\top=I}\ \operatorname{tr}\big(W\,\tfrac1mHH^\top\,W^\top\big)\,: \quad W = (w_1,\dots,w_k)^\top,\ \ \tfrac1mHH^\top w_j = \mu_jw_j,\ \ \mu_1\ge\mu_2\ge\dots \tag{15} $$
#
# The answer is the eigenvectors of the second-moment matrix with the largest eigenvalues (exercise 4.4 proves it). This is principal component analysis **without taking the mean off**, as in the authors' program; it is done layer by layer, each layer on the outputs of the one before. Biases start at 0.
#
# **Departure:** an eigenvector has no sign of its own, so `fixed_signs` of notebook 03 makes its largest entry positive; the same data then give the same weights with every linear algebra library. Where a layer has more units than inputs, the eigenvectors run out and random unit vectors fill up.


# %% tags=["export"]
def initial_weights(
    X: Array, sizes: Sequence[int], rng: np.random.Generator
) -> tuple[list[Array], list[Array]]:
    """Weights Ws from the data, layer by layer; biases cs 0.

    The rows of each W are the eigenvectors with the largest eigenvalues of the uncentred
    second-moment matrix of the layer's input: Eq. (15) of notebook 04. A layer with more units
    than inputs gets random unit vectors for the rows that are left.
    """
    H, Ws, cs = X, [], []
    for units in sizes[1:]:
        M = (H @ H.T / H.shape[1]).astype(np.float64)  # (h_in, h_in)
        W = fixed_signs(np.linalg.eigh(M)[1][:, ::-1][:, :units]).T
        E = rng.standard_normal((units - len(W), len(H)))
        E /= np.linalg.norm(E, axis=1, keepdims=True)
        Ws.append(np.vstack([W, E]).astype(X.dtype))
        cs.append(np.zeros((units, 1), X.dtype))
        H = sigmoid(Ws[-1] @ H)
    return Ws, cs


# %%
sizes = (D, *hidden_sizes(16), 16)
Ws, cs = initial_weights(X, sizes, np.random.default_rng(0))
for l, W in enumerate(Ws, start=1):
    np.testing.assert_allclose(W @ W.T, np.eye(len(W)), atol=1e-5)  # float32
    print(f"W{l}: {W.shape}, {len(W)} orthonormal rows")

# %%
fig, axes = plt.subplots(2, 5, figsize=(7.0, 3.2))
for ax, k in zip(axes.flat, [1, 2, 3, 4, 5, 6, 7, 30, 60, 90]):
    w = Ws[0][k - 1].reshape(data.image_shape)
    ax.imshow(w, vmin=-np.abs(w).max(), vmax=np.abs(w).max())
    ax.set_title(f"unit {k}", fontsize=9, loc="center")
    ax.set_axis_off()
save_figure(fig, "04_filters", png=True)

# %% [markdown]
# Rows of $W^{(1)}$ as images: black is positive, white negative, grey zero. The first unit is the mean digit, because the mean was not taken off. The next ones compare regions as large as a stroke, the last ones look at fine detail. In numbers:

# %%
mean = X.mean(axis=1)
print(f"cosine between unit 1 and the mean image: {Ws[0][0] @ mean / np.linalg.norm(mean):.3f}")
Hs = forward(Ws, cs, X)
print("layer  kept of its input  by unit 1 alone  share |Z| > 4  mean slope")
for l, (W, H) in enumerate(zip(Ws, Hs), start=2):
    Z = W @ H
    kept, first = np.sum(Z**2) / np.sum(H**2), np.sum(Z[0] ** 2) / np.sum(H**2)
    slope = np.mean(sigmoid(Z) * (1 - sigmoid(Z))) if l < 4 else 1
    share = np.mean(np.abs(Z) > 4)
    print(f"{l:5d} {kept:18.1%} {first:16.1%} {share:14.1%} {slope:11.3f}")

# %% [markdown]
# The first 90 directions keep 94 % of the squared length of the images. The sigmoids start in their responsive middle: their mean slope is close to the maximum of 1/4. Orthonormal rows cannot make a vector longer, so the inputs of a layer's units are, as a vector, no longer than the outputs of the layer before. Random weights of variance 1 do:

# %%
random_weights = np.random.default_rng(0).standard_normal(Ws[0].shape, dtype=np.float32)
inputs = {"eigenvectors": Ws[0] @ X, "random, variance 1": random_weights @ X}
print(f"share |Z| > 4, random: {np.mean(np.abs(inputs['random, variance 1']) > 4):.0%}")

fig, ax = plt.subplots(figsize=(7.0, 2.8))
z = np.linspace(-15, 15, 121)
ax.fill_between(z, sigmoid(z) * (1 - sigmoid(z)), color="0.88", label="slope of the sigmoid")
for (label, Z), style in zip(inputs.items(), ["-", "--"]):
    heights, _ = np.histogram(Z, z, density=True)
    ax.plot((z[1:] + z[:-1]) / 2, heights, style, label=label)
ax.set(xlabel="input Z of layer 2", ylabel="density; slope", ylim=(0, 0.8))
_ = ax.legend()

# %% [markdown]
# The inputs of the eigenvector units fall under the grey hill, where the sigmoid responds; two thirds of those of the random units fall beside it, where no gradient comes through.
#
# The signs of layer 4 are the code. What would they be worth before any training?

# %%
H = Hs[-1]
for bit in (1, 2, 3, 16):
    h = H[bit - 1]
    print(
        f"bit {bit:2d}: +1 for {np.mean(h >= 0):4.0%} of the digits, |mean| {abs(h.mean()):.2f}, std {h.std():.2f}"
    )

# %% [markdown]
# Bit 1 is the same for every digit: outputs of a sigmoid are positive, so the mean dominates their second moments, and an uncentred eigenvector spends a whole unit on it. Such a bit is wasted. The other bits divide the digits in halves, but their values are some 0.05 in size and not close to $\pm1$. Both are for training to mend: notebook 05 gives each of these demands a term and a gradient.
#
# ## What we have now
#
# | name, in `bdnn.network` | what it is | equation |
# |---|---|---|
# | `hidden_sizes` | units of the hidden layers | (2) |
# | `sigmoid`, `identity`, `ACTIVATIONS` | functions with slopes in terms of their output | (3), (4) |
# | `forward` | outputs of all layers | (1) |
# | `backward` | gradients for all weights and biases, given $\partial J/\partial H$ at the top | (9)-(11) |
# | `flatten`, `unflatten` | matrices to vector and back | (12) |
# | `gradient_error` | the check against central differences | (13), (14) |
# | `initial_weights` | eigenvectors, layer by layer | (15) |
#
# ## Questions
#
# Answer before you unfold; nothing has to be run.
#
# **Question 1.** Why is the sigmoid computed as $\frac12(1+\tanh\frac z2)$, and what is lost?
#
# <details><summary>Answer</summary>
#
# The exponential of the textbook form leaves the range of the number type for large negative $z$; tanh cannot overflow. What is lost is relative precision near 0. The next layer adds such a number to others of size 1, so nothing is lost that would have counted.
#
# </details>
#
# **Question 2.** $\Delta^{(l+1)}$ and $H^{(l)}$ have a column for every sample, the gradient of $W^{(l)}$ has none. Where did the samples go?
#
# <details><summary>Answer</summary>
#
# Into the product of Eq. (10). $\Delta^{(l+1)}H^{(l)\top}$ has the inner dimension $m$, so it sums over the samples, and the result has the shape of $W^{(l)}$.
#
# </details>
#
# **Question 3.** Your gradient check in float64 returns $6\cdot10^{-5}$. Is the gradient right?
#
# <details><summary>Answer</summary>
#
# Do not believe it. A right gradient gives $10^{-11}$ to $10^{-8}$, and a fault in a term with a small weight makes a small error: forgotten weight decay is such a case. Check every term alone, or with weights of size 1.
#
# </details>
#
# **Question 4.** Why not take a step $t$ as small as the machine allows?
#
# <details><summary>Answer</summary>
#
# Rounding. Each value of $J$ is rounded by up to about $\varepsilon|J|$, and division by $t$ magnifies that. The error of the central difference falls with $t^2$ until rounding takes over; the bottom lies near $t=\varepsilon^{1/3}$.
#
# </details>
#
# **Question 5.** Before any training, bit 1 is the same for every digit. Why?
#
# <details><summary>Answer</summary>
#
# The eigenvectors are those of uncentred second moments, and outputs of a sigmoid are positive. So the mean dominates, and the first unit of the code layer is spent on it. Its output is far from 0 on one side, and its sign never changes.
#
# </details>
#
# ## Exercises
#
# **Write it yourself**, if you have not done so on the way: `forward` and `backward`, each with a cell that checks it, in [04_exercises](exercises/04_exercises.ipynb).
#
# **4.1** (on paper) Take the tanh for the code layer and $J = \frac1{2m}\|H - B\|^2$ with $b = \pm1$. Derive $\Delta^{(N)}$. What happens to a unit that starts far on the wrong side, $h\approx-b$? Compare with the linear code layer, and check your gradient.
# <details><summary>Hint</summary>Eq. (9) with the second slope of Eq. (4). Look at each factor as h approaches -b.</details>
#
# **4.2** (on paper, then in code) Derive $\partial J/\partial X$. `backward` does not return it; how do you get it for a single sample from what it does return? Draw, for one digit, which pixels would raise bit 2.
# <details><summary>Hint</summary>Eq. (10) for the first layer has one inner product that we left out. For m = 1 the gradient of a bias is a Delta.</details>
#
# **4.3** Add the softplus, $f(z) = \log(1+e^z)$, to a copy of `ACTIVATIONS`: its slope in terms of its output, a form without overflow, and the check. Why does the same check sometimes fail for $\max(0, z)$?
# <details><summary>Hint</summary>Solve h = log(1 + e^z) for e^z. NumPy has logaddexp. What does the central difference do when z - t and z + t lie on different sides of 0?</details>
#
# **4.4** (on paper) Prove Eq. (15): among all $W$ with $k$ orthonormal rows, $\operatorname{tr}(WMW^\top)$ with a symmetric positive semidefinite $M$ is largest for the eigenvectors of the $k$ largest eigenvalues. Show also that the same $W$ minimises $\|H - W^\top WH\|^2$.
# <details><summary>Hint</summary>Write M in its eigenvectors; the trace becomes a weighted sum of the eigenvalues with weights between 0 and 1 that add up to k.</details>
#
# **4.5** (on paper, then in code) Model the error of the central difference as $\frac{t^2}6|J'''| + \varepsilon|J|/t$. Which $t$ is best, how large is the error there, and what does float32 ($\varepsilon\approx1.2\cdot10^{-7}$) allow? Try it on the toy network.
# <details><summary>Hint</summary>Set the derivative with respect to t to zero. With |J| and |J'''| of size 1 only powers of epsilon are left.</details>
#
# Solutions: `solutions/04_solutions`.
#
# ## Further reading
#
# * Do, Doan and Cheung, *Learning to Hash with Binary Deep Neural Network*, ECCV 2016 (arXiv:1607.05140): the sections on UH-BDNN and SH-BDNN. Our Eqs. (9) to (11) are their gradients without the loss terms, which follow in notebook 05.
# * J. R. Magnus and H. Neudecker, *Matrix Differential Calculus*: the differentials of Eqs. (6) to (8) in full generality.
# * N. J. Higham, *Accuracy and Stability of Numerical Algorithms*: rounding in differences, Eq. (13).
