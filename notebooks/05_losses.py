# %% [markdown]
# # Take the objective apart: every loss term alone
#
# **What you will do.** You take the objectives of UH-BDNN and SH-BDNN apart and, for every term, derive its gradient on paper, write it in NumPy, verify it, and look at what it does to codes.
#
# **What you will learn**
#
# * what reconstruction, weight decay, equality, independence, balance and pairwise similarity ask of a code;
# * to derive a matrix gradient in three or four lines;
# * how a term with an $m\times m$ matrix is computed exactly without that matrix;
# * why the supervised objective cannot reach zero, and where its floor lies;
# * which terms grow with the number of samples, so that a $\lambda$ depends on it.
#
# **What you need.** Notebook 04 (differentials, Eqs. (5) to (8) there; `gradient_error`), notebook 03 for the starting codes. About two hours with paper and pencil; 25 seconds to run.
#
# | symbol | meaning |
# |---|---|
# | $H\in\mathbb R^{L\times m}$ | outputs of the code layer for $m$ samples |
# | $B\in\{-1,+1\}^{L\times m}$ | their codes |
# | $W\in\mathbb R^{D\times L},\ c$ | the decoder, from bits to inputs |
# | $S\in\{-1,+1\}^{m\times m}$ | which pairs of samples are similar |
# | $Y\in\{0,1\}^{C\times m}$ | which of $C$ classes a sample has |

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% [markdown]
# ## The two objectives
#
# UH-BDNN looks for weights, biases and codes $B\in\{-1,1\}^{L\times m}$ that make small (the slides' page "Overview"; $H = H^{(n-1)}$ is the output of the code layer)
#
# $$ J = \underbrace{\tfrac1{2m}\|X - W^{(n-1)}B - c^{(n-1)}\mathbf 1_{1\times m}\|^2}_{\text{reconstruction}} + \lambda_1\underbrace{\tfrac12\sum_{l=1}^{n-1}\|W^{(l)}\|^2}_{\text{weight decay}} + \lambda_2\underbrace{\tfrac1{2m}\|H-B\|^2}_{\text{equality}} + \lambda_3\underbrace{\tfrac12\|\tfrac1mHH^\top - I\|^2}_{\text{independence}} + \lambda_4\underbrace{\tfrac1{2m}\|H\mathbf 1_{m\times1}\|^2}_{\text{balance}} . \tag{1} $$
#
# SH-BDNN has class labels. It replaces the reconstruction by $\frac1{2m}\|\frac1LH^\top H - S\|^2$, pairwise similarity, and keeps the rest. Six terms in all, then. Each becomes a function that returns its value and its gradient, **without** its $\lambda$. These functions are what trains: the objective that notebook 08 hands to the optimiser calls them as they stand here.

# %% tags=["export-top"]
"""Every term of the UH-BDNN and SH-BDNN objectives: value and gradient.

Samples stand in columns. Each function returns the term as the slides write it, without its weight
lambda, and the gradient in the shape of the variable. Values are summed in float64, so that they
are exact to about the precision of the input. The arguments are::

    X (D, m), B (L, m)  samples, and codes in {-1, +1}
    H (L, m)            outputs of the code layer
    W (D, L), c (D, 1)  decoder
    Ws                  weights (h_out, h_in) of all layers
    y                   labels (m,) of any type that sorts; or a 0/1 matrix (m, n_labels)
"""

from typing import NamedTuple

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike

# %%
import tracemalloc

import matplotlib.pyplot as plt
from scipy.optimize import minimize

from bdnn import network
from bdnn.course.plotting import COLOURS, save_figure
from bdnn.data import load
from bdnn.itq import itq_codes
from bdnn.network import gradient_error

# %%
data = load("mnist5k")
X, labels = data.train.T.astype(np.float64) / 255, data.labels.train
B = itq_codes(X, 16, np.random.default_rng(0))
D, m = X.shape
print(f"{m} digits in {D} pixels, codes of {len(B)} bits")

# %% [markdown]
# All terms are squared lengths, or sums of them. One helper computes them; it adds in float64, since a sum of millions of float32 numbers would lose digits that the optimiser of notebook 06 needs.


# %% tags=["export"]
def squared_norm(A: Array) -> float:
    """||A||^2, the sum of the squared entries, accumulated in float64."""
    return float(np.sum(np.square(A), dtype=np.float64))


# %% [markdown]
# To verify a gradient we draw random shapes and random numbers, five times, and take the worst error of Eq. (14) of notebook 04. It is rounding, $10^{-11}$ to $10^{-9}$, and differs a little from machine to machine; `verify` insists on less than $10^{-7}$.


# %%
def verify(name, case):
    worst = max(gradient_error(*case(np.random.default_rng(seed))) for seed in range(5))
    assert worst < 1e-7, worst
    print(f"{name}: worst error of five random cases {worst:.0e}")


def random_codes(rng):
    L, m = rng.integers(2, 8), rng.integers(3, 20)
    return rng.standard_normal((L, m)), rng.choice([-1.0, 1.0], (L, m))


# %% [markdown]
# ## Reconstruction: a code should tell what it stands for
#
# A linear decoder $W, c$ (from here on without the index $n-1$) paints a sample from its bits, as an autoencoder does:
#
# $$ J = \tfrac1{2m}\|R\|^2, \qquad R = X - WB - c\,\mathbf 1_{1\times m} . \tag{2} $$
#
# *Derive the gradients for $W$ and $c$ now.* Then compare:
#
# $$ \begin{aligned} \mathrm dJ &= \tfrac1m\langle R, \mathrm dR\rangle && \text{differential of } \tfrac12\|R\|^2\\ &= -\tfrac1m\langle R, (\mathrm dW)B\rangle - \tfrac1m\langle R, (\mathrm dc)\mathbf 1_{1\times m}\rangle && X, B \text{ are fixed}\\ &= -\tfrac1m\langle RB^\top, \mathrm dW\rangle - \tfrac1m\langle R\,\mathbf 1_{m\times1}, \mathrm dc\rangle && \text{move the right factor over} \end{aligned} $$
#
# $$ \frac{\partial J}{\partial W} = -\tfrac1mRB^\top, \qquad \frac{\partial J}{\partial c} = -\tfrac1mR\,\mathbf 1_{m\times 1} . \tag{3} $$
#
# Line by line:


# %% tags=["export"]
def reconstruction(X: Array, B: Array, W: Array, c: Array) -> tuple[float, tuple[Array, Array]]:
    """1/(2m) ||X - W B - c 1^T||^2, and (dW, dc): Eqs. (2), (3) of notebook 05."""
    m = X.shape[1]
    R = X - W @ B - c  # (D, m), what the decoder misses
    return squared_norm(R) / (2 * m), (-R @ B.T / m, -R.sum(axis=1, keepdims=True) / m)


# %% tags=["nbval-ignore-output"]
def case_reconstruction(rng):
    (_, B), D = random_codes(rng), rng.integers(2, 9)
    X, W = rng.standard_normal((D, B.shape[1])), rng.standard_normal((D, len(B)))

    def fun(packed):  # W and c side by side in one matrix
        value, (dW, dc) = reconstruction(X, B, packed[:, :-1], packed[:, -1:])
        return value, np.hstack([dW, dc])

    return fun, np.hstack([W, rng.standard_normal((D, 1))])


verify("reconstruction", case_reconstruction)

# %% [markdown]
# What does the term do? Take ITQ's 16 bits for 4,000 digits and minimise it over $W$ and $c$. At the minimum both gradients vanish. $\partial J/\partial c = 0$ makes $c$ the mean of $X - WB$; the rest is a least squares problem.

# %%
mean = X.mean(axis=1, keepdims=True)
solution = np.linalg.lstsq(np.vstack([B, np.ones(m)]).T, X.T, rcond=None)[0].T
W, c = solution[:, :-1], solution[:, -1:]
value, (dW, dc) = reconstruction(X, B, W, c)
np.testing.assert_allclose(dW, 0, atol=1e-10)
np.testing.assert_allclose(dc, 0, atol=1e-10)
without = reconstruction(X, B, 0 * W, mean)[0]
print(f"by the mean image alone {without:.3f}, with 16 bits {value:.3f}")

# %%
fig, axes = plt.subplots(3, 8, figsize=(7.0, 2.8))
pick = [np.flatnonzero(labels == digit)[0] for digit in range(8)]
rows = {"digit": X[:, pick], "from 16 bits": W @ B[:, pick] + c, "bits 1-8": W[:, :8]}
for line, (name, images) in zip(axes, rows.items()):
    for ax, image in zip(line, images.T):
        low, high = (0, 1) if name != "bits 1-8" else (-np.abs(image).max(), np.abs(image).max())
        ax.imshow(image.reshape(28, 28), vmin=low, vmax=high)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name, fontsize=9)
save_figure(fig, "05_reconstruction", png=True)

# %% [markdown]
# Top: digits, white is 0 and black is 1. Middle: what the decoder paints from their 16 bits, on the same scale; the kind of digit can mostly be guessed, the handwriting cannot. Bottom: the first eight columns of $W$, black positive, white negative, grey 0: each bit adds its image or takes it away. Codes with a small reconstruction error keep what tells the inputs apart in Euclidean distance, which is the unsupervised ground truth.
#
# The term has no $H$ in it. It acts on the encoder only through $B$: notebook 07 chooses the $B$ that reconstructs well *and* stays close to $H$.
#
# ## Weight decay: no weight larger than it needs to be
#
# $$ J = \tfrac12\sum_l\|W^{(l)}\|^2, \tag{4} $$
#
# $$ \mathrm dJ = \sum_l\langle W^{(l)}, \mathrm dW^{(l)}\rangle \quad\Longrightarrow\quad \frac{\partial J}{\partial W^{(l)}} = W^{(l)} . \tag{5} $$
#
# The sum runs over all $n-1$ weight matrices, the decoder's included. Biases are left out, in the slides as well as in the authors' program; exercise 5.2 shows why.


# %% tags=["export"]
def weight_decay(Ws: list[Array]) -> tuple[float, list[Array]]:
    """1/2 sum_l ||W_l||^2, and dWs, the weights themselves: Eqs. (4), (5) of notebook 05."""
    return sum(map(squared_norm, Ws)) / 2, Ws


# %% tags=["nbval-ignore-output"]
def case_weight_decay(rng):
    return lambda W: (weight_decay([W])[0], weight_decay([W])[1][0]), rng.standard_normal((3, 4))


verify("weight decay", case_weight_decay)

# %% [markdown]
# Together with the reconstruction it makes a **ridge regression**. Let us drop $c$ by subtracting the means from $X$ and $B$. The sum of Eqs. (3) and (5), $-\frac1m(X-WB)B^\top + \lambda_1W = 0$, is solved by
#
# $$ W = \tfrac1mXB^\top\big(\tfrac1mBB^\top + \lambda_1I\big)^{-1}, $$
#
# which multiplies the least squares solution by $\beta/(\beta+\lambda_1)$ along an eigenvector of $\frac1mBB^\top$ with eigenvalue $\beta$.

# %%
Xc, Bc = X - mean, B - B.mean(axis=1, keepdims=True)
M = Bc @ Bc.T / m
beta = np.linalg.eigvalsh(M)
strengths = np.logspace(-6, 2, 33)
decoders = [np.linalg.solve(M + lam * np.eye(16), Bc @ Xc.T / m).T for lam in strengths]
print(f"eigenvalues of the codes' covariance: {beta[0]:.2f} to {beta[-1]:.2f}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(7.0, 2.6))
axes[0].semilogx(strengths, [np.linalg.norm(W) for W in decoders])
axes[1].semilogx(strengths, [reconstruction(Xc, Bc, W, np.zeros((D, 1)))[0] for W in decoders])
for ax, name in zip(axes, ["length of W", "reconstruction"]):
    ax.axvline(1e-5, color="0.5", ls=":", lw=1)
    ax.text(1.4e-5, 0.5, r"$10^{-5}$")
    ax.set(xlabel=r"$\lambda_1$", title=name, ylim=(0, None))
save_figure(fig, "05_decay")

# %% [markdown]
# The decoder gives way only where $\lambda_1$ comes near the eigenvalues of the codes' covariance, here from 0.1 on. At the authors' $10^{-5}$ it has no visible effect: bits are of size 1, so the decoder needs no taming. In the encoder, where nothing else bounds the weights of the hidden layers, it is a gentle brake.
#
# ## Equality: outputs close to the codes
#
# The network computes real numbers, the codes are $\pm1$. The two are tied by a penalty:
#
# $$ J = \tfrac1{2m}\|H-B\|^2. \tag{6} $$
#
# **Stop.** Do exercise 5.A now, in [05_exercises](exercises/05_exercises.ipynb); what follows gives the answer.
#
# $$ \mathrm dJ = \tfrac1m\langle H-B, \mathrm d(H-B)\rangle = \tfrac1m\langle H-B, \mathrm dH\rangle \quad\Longrightarrow\quad \frac{\partial J}{\partial H} = \tfrac1m(H-B) . \tag{7} $$
#
# $B$ is a variable of its own and fixed while the network learns. This is the point of the method: no $\operatorname{sgn}$ whose derivative is 0 wherever it exists stands in the way, and $B$ stays binary all the time.


# %% tags=["export"]
def equality(H: Array, B: Array) -> tuple[float, Array]:
    """1/(2m) ||H - B||^2, and dH: Eqs. (6), (7) of notebook 05."""
    m = H.shape[1]
    E = H - B
    value = squared_norm(E) / (2 * m)
    E /= m
    return value, E


# %%
value, dH = equality(np.array([[0.5, 3.0]]), np.array([[1.0, 1.0]]))
print(f"h = 0.5 and 3 against b = 1: value {value:.4f}, gradient {dH}")


# %% tags=["nbval-ignore-output"]
def case_equality(rng):
    H, B = random_codes(rng)
    return lambda H: equality(H, B), H


verify("equality", case_equality)

# %% [markdown]
# The second entry is on the right side and yet pulled back: 3 is not 1. The term asks for *values* of $\pm1$, not only for signs.
#
# ## Independence: each bit says something new
#
# $$ J = \tfrac12\|G\|^2, \qquad G = \tfrac1mHH^\top - I . \tag{8} $$
#
# The entry $(i,k)$ of $\frac1mHH^\top$ is the mean product of bits $i$ and $k$. The term asks it to be 0 for $i\ne k$, and 1 for $i = k$, which any $\pm1$ bit has by itself. Note that $G$ is symmetric.
#
# **Stop.** Do exercise 5.B now, in [05_exercises](exercises/05_exercises.ipynb); what follows gives the answer.
#
# $$ \begin{aligned} \mathrm dJ &= \langle G, \mathrm dG\rangle = \tfrac1m\langle G, (\mathrm dH)H^\top + H\,\mathrm dH^\top\rangle && \text{product rule}\\ &= \tfrac1m\langle GH, \mathrm dH\rangle + \tfrac1m\langle H^\top G, \mathrm dH^\top\rangle && \text{move the factors}\\ &= \tfrac1m\langle GH, \mathrm dH\rangle + \tfrac1m\langle G^\top H, \mathrm dH\rangle && \langle A^\top, B^\top\rangle = \langle A, B\rangle \end{aligned} $$
#
# $$ \frac{\partial J}{\partial H} = \tfrac2m\,GH = \tfrac2m\big(\tfrac1mHH^\top - I\big)H . \tag{9} $$


# %% tags=["export"]
def independence(H: Array) -> tuple[float, Array]:
    """1/2 ||H H^T / m - I||^2, and dH: Eqs. (8), (9) of notebook 05."""
    L, m = H.shape
    G = H @ H.T / m - np.eye(L, dtype=H.dtype)  # (L, L)
    return squared_norm(G) / 2, (2 / m * G) @ H


# %%
orthogonal = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
print(f"rows of a Hadamard matrix: {independence(orthogonal)[0]:.1f}")
print(f"a bit and its copy: {independence(orthogonal[[1, 1]])[0]:.1f}")
assert np.array_equal(orthogonal[3], orthogonal[1] * orthogonal[2])

# %% tags=["nbval-ignore-output"]
verify("independence", lambda rng: (independence, random_codes(rng)[0]))

# %% [markdown]
# The copy costs $\frac12(1+1) = 1$, one half for each of the two off-diagonal entries. The cost is the same for a bit and its negative: both say nothing new.
#
# Strictly speaking the term asks for *uncorrelated* bits; independence is more. The last row of the Hadamard matrix is the product of the two before it: it is determined by them, and the term does not see it.
#
# *On outputs, not on weights.* The slides stress that this is the **real** independence loss: it looks at the outputs $H$ that become the bits. Deep Hashing (notebook 10) asks for $WW^\top = I$ instead: orthogonal weights. That is not the same thing. Take weights with orthonormal rows, once at random and once the principal directions, and look at their outputs, each scaled to a mean square of 1:

# %%
rng = np.random.default_rng(0)
random_rows = np.linalg.qr(rng.standard_normal((D, 8)))[0].T
principal_rows = np.linalg.eigh(Xc @ Xc.T)[1][:, -8:].T
for name, rows in [("at random", random_rows), ("principal directions", principal_rows)]:
    np.testing.assert_allclose(rows @ rows.T, np.eye(8), atol=1e-12)
    H = rows @ Xc
    H /= np.sqrt(np.mean(H**2, axis=1, keepdims=True))
    print(f"orthonormal rows, {name}: independence of the outputs {independence(H)[0]:.2f}")

# %% [markdown]
# The outputs $WX$ have the second moments $W\,\frac1mXX^\top\,W^\top$. These are diagonal for *every* $W$ with orthonormal rows only if $\frac1mXX^\top$ is a multiple of $I$: if the inputs are white, and pixels are not. Some $W$ are an exception whatever the inputs, namely rows that are eigenvectors of $\frac1mXX^\top$, as those of PCA; but nothing in $WW^\top = I$ asks for them.
#
# ## Balance: each bit divides the data in halves
#
# $$ J = \tfrac1{2m}\|h\|^2, \qquad h = H\mathbf 1_{m\times1} . \tag{10} $$
#
# $h$ holds the sum of each bit over all samples; for $\pm1$ bits it is 0 when half of them are $+1$. Then a bit carries the most information.
#
# **Stop.** Do exercise 5.C now, in [05_exercises](exercises/05_exercises.ipynb); what follows gives the answer.
#
# $$ \mathrm dJ = \tfrac1m\langle h, (\mathrm dH)\mathbf 1_{m\times1}\rangle = \tfrac1m\langle h\,\mathbf 1_{1\times m}, \mathrm dH\rangle \quad\Longrightarrow\quad \frac{\partial J}{\partial H} = \tfrac1m\,h\,\mathbf 1_{1\times m} = \tfrac1mH\mathbf 1_{m\times1}\mathbf 1_{1\times m} . \tag{11} $$
#
# The gradient has the same column for every sample: it shifts all of them together.


# %% tags=["export"]
def balance(H: Array) -> tuple[float, Array]:
    """1/(2m) ||H 1||^2, and dH: Eqs. (10), (11) of notebook 05.

    dH is the same in every column, which is kept once: a view that cannot be written to.
    """
    m = H.shape[1]
    h = H.sum(axis=1, keepdims=True)  # (L, 1)
    return squared_norm(h) / (2 * m), np.broadcast_to(h / m, H.shape)


# %%
print("sums of the bits:", orthogonal.sum(axis=1), f"value {balance(orthogonal)[0]:.1f}")
print(f"without the constant bit: {balance(orthogonal[1:])[0]:.1f}")

# %% tags=["nbval-ignore-output"]
verify("balance", lambda rng: (balance, random_codes(rng)[0]))

# %% [markdown]
# **Slip:** the slides call a term of Deep Hashing "balance loss", and the abstract of Deep Hashing wants codes that "distribute evenly on each bit". The term rewards large outputs, $-\frac{\alpha_1}{2m}\operatorname{tr}(HH^\top)$. It cannot tell balanced codes from others: for any $\pm1$ codes it is $-\frac{\alpha_1}2L$.

# %%
constant, halves = np.ones((1, 100)), np.repeat([[1.0, -1.0]], 50, axis=1)
for name, code in [("constant bit", constant), ("balanced bit", halves)]:
    print(
        f"{name}: tr(H H^T)/m = {np.trace(code @ code.T) / 100:.1f}, our term {balance(code)[0]:.1f}"
    )

# %% [markdown]
# ## Three demands on one cloud of points
#
# Two bits, a cloud of outputs that are correlated and off the centre. Follow the gradient of each of the last three terms downhill. (For equality, $B = \operatorname{sgn}(H)$ at the start.) Then follow all three together; there $B = \operatorname{sgn}(H)$ is chosen anew before every step, as training will alternate between codes and outputs.


# %%
def descend(fun, H, rate, n_steps):
    for _ in range(n_steps):
        H = H - rate * fun(H)[1]
    return H


def together(H):
    """0.1 equality + independence + 0.1 balance, with the nearest codes."""
    terms = equality(H, np.where(H >= 0, 1.0, -1.0)), independence(H), balance(H)
    weights = 0.1, 1, 0.1
    return sum(w * J for w, (J, _) in zip(weights, terms)), sum(
        w * dH for w, (_, dH) in zip(weights, terms)
    )


# %%
rng = np.random.default_rng(3)
H0 = np.array([[0.9, 0.3], [0.6, 0.5]]) @ rng.standard_normal((2, 150)) + [[0.5], [0.2]]
B0 = np.where(H0 >= 0, 1.0, -1.0)
demands = {
    "equality, half way": (lambda H: equality(H, B0), 15, 5),
    "independence": (independence, 15, 500),
    "balance": (balance, 0.5, 500),
    "all three": (together, 5, 4000),
}
corners = np.array([[-1, -1, 1, 1], [-1, 1, -1, 1]])

# %%
fig, axes = plt.subplots(1, 4, figsize=(9.5, 2.9), sharex=True, sharey=True)
for ax, (name, (fun, rate, n_steps)) in zip(axes, demands.items()):
    H = descend(fun, H0, rate, n_steps)
    ax.scatter(*H0, s=9, color="0.7", marker="x", lw=0.8)
    ax.scatter(*H, s=6, color=COLOURS["blue"])
    ax.quiver(*H0[:, :25], *(H - H0)[:, :25], angles="xy", scale_units="xy", scale=1, width=0.005)
    ax.scatter(*corners, s=60, fc="none", ec=COLOURS["vermillion"], marker="s")
    ax.set(title=name, xlabel="bit 1", aspect="equal")
    used = [np.sum(np.all(np.where(H >= 0, 1, -1) == b[:, None], axis=0)) for b in corners.T]
    print(f"{name:18s}: {fun(H0)[0]:7.4f} -> {fun(H)[0]:.4f}, samples with each code", *used)
axes[0].set(ylabel="bit 2")
save_figure(fig, "05_demands", png=True)

# %% [markdown]
# Grey crosses: before; blue points: after; arrows for 25 of them; squares: the four codes. Equality draws every point straight to its corner, large ones inwards. Independence squeezes the long axis of the cloud and stretches the short one, until the second moments are those of a circle; it takes no notice of corners or of the mean. Balance shifts the whole cloud and leaves its shape alone. No term is enough: equality is content with one corner for all, independence and balance with outputs nowhere near a corner. Together they ask for corners, all of them used, and equally often, and on the right they get it: at the start one code had 89 of 150 samples and another 4; at the end the four have between 27 and 47, and the points have gathered at the corners. (The weights and the step length were chosen for this picture, and here every sample moves freely. In a network samples share the weights.)
#
# ## Pairwise similarity: labels in place of reconstruction
#
# SH-BDNN knows which samples belong together:
#
# $$ J = \tfrac1{2m}\|V\|^2,\quad V = \tfrac1LH^\top H - S, \qquad S_{ij} = \begin{cases} 1 & \text{same class}\\ -1 & \text{not the same class.}\end{cases} \tag{12} $$
#
# For $\pm1$ codes $\frac1Lb_i^\top b_j$ is 1 if all bits agree and $-1$ if none does; it is $1-\frac2L\,d$ with the Hamming distance $d$. So the term asks for distance 0 within a class and distance $L$ between classes.
#
# **Slip:** the slides label it "classification loss". No class is predicted; only pairs are compared, and codes of a class may land anywhere.
#
# The gradient, with $V$ symmetric and the same steps as for independence:
#
# $$ \mathrm dJ = \tfrac1m\langle V, \mathrm dV\rangle = \tfrac1{mL}\langle V, (\mathrm dH^\top)H + H^\top\mathrm dH\rangle = \tfrac2{mL}\langle HV, \mathrm dH\rangle \quad\Longrightarrow\quad \frac{\partial J}{\partial H} = \tfrac2{mL}HV . \tag{13} $$


# %%
def naive_pairwise_similarity(H, y):
    L, m = H.shape
    S = np.where(y[:, None] == y[None, :], 1, -1)
    V = H.T @ H / L - S  # (12)
    return np.sum(V**2) / (2 * m), 2 / (m * L) * H @ V  # (13)


# %%
def case_similarity(rng, fun):
    H, _ = random_codes(rng)
    y = rng.choice(["cat", "dog", "owl"], H.shape[1], p=[0.6, 0.3, 0.1])
    return lambda H: fun(H, y), H


# %% tags=["nbval-ignore-output"]
verify("naive form", lambda rng: case_similarity(rng, naive_pairwise_similarity))

# %% [markdown]
# The code is short, but it cannot be used as it is: $V$ and $S$ have $m^2$ entries. For $m = 30{,}000$ each of them takes 7.2 GB in float64; the authors' notes on their program ask for about 40 GB.
#
# **The matrix never has to exist.** Let $Y\in\{0,1\}^{C\times m}$ have a 1 where sample $j$ belongs to class $i$. Then $Y^\top Y$ has a 1 for pairs of the same class and 0 for others, so
#
# $$ S = 2\,Y^\top Y - \mathbf 1\mathbf 1^\top . $$
#
# Here are the matrices for nine samples of three classes:

# %%
y_9 = np.repeat([0, 1, 2], [4, 3, 2])
Y_9 = (y_9 == np.arange(3)[:, None]) * 1.0
blocks = {
    "$Y$": Y_9,
    "$2\\,Y^\\top Y$": 2 * Y_9.T @ Y_9,
    "$\\mathbf{1}\\mathbf{1}^\\top$": np.ones((9, 9)),
}
blocks["$S = 2\\,Y^\\top Y - \\mathbf{1}\\mathbf{1}^\\top$"] = 2 * Y_9.T @ Y_9 - 1
fig, axes = plt.subplots(1, 4, figsize=(9.0, 2.6))
for ax, (name, block) in zip(axes, blocks.items()):
    ax.imshow(block, vmin=-4, vmax=4, cmap="PuOr")
    for (i, j), value in np.ndenumerate(block):
        ax.text(j, i, f"{value:.0f}", ha="center", va="center", fontsize=7)
    ax.set(title=name, xticks=[], yticks=[])
save_figure(fig, "05_blocks")

# %% [markdown]
# A block of ones for every class, doubled, less a one everywhere: $+1$ within the blocks, $-1$ outside.
#
# **Stop.** Do exercise 5.D now, in [05_exercises](exercises/05_exercises.ipynb); what follows gives the answer.
#
# Multiply $\|V\|^2$ out, and turn each inner product of $m\times m$ matrices into a small one by rotating traces:
#
# $$ \begin{aligned} \|H^\top H\|^2 &= \operatorname{tr}(H^\top H\,H^\top H) = \operatorname{tr}(HH^\top\,HH^\top) = \|HH^\top\|^2 && L\times L\\ \langle H^\top H, Y^\top Y\rangle &= \operatorname{tr}(H^\top H\,Y^\top Y) = \operatorname{tr}(YH^\top\,HY^\top) = \|HY^\top\|^2 && L\times C\\ \langle H^\top H, \mathbf 1\mathbf 1^\top\rangle &= \operatorname{tr}(\mathbf 1^\top H^\top\,H\mathbf 1) = \|H\mathbf 1\|^2 && L\times1\\ \|S\|^2 &= m^2 && \text{every entry is } \pm1 \end{aligned} $$
#
# $$ \|V\|^2 = \tfrac1{L^2}\|H^\top H\|^2 - \tfrac2L\langle H^\top H, S\rangle + \|S\|^2 = \tfrac1{L^2}\|HH^\top\|^2 - \tfrac2L\big(2\|HY^\top\|^2 - \|H\mathbf 1\|^2\big) + m^2 . \tag{14} $$
#
# In the gradient, multiply out $HV$ and set the brackets so that no $m\times m$ product arises:
#
# $$ \frac{\partial J}{\partial H} = \tfrac2{mL}\Big[\tfrac1L(HH^\top)H - 2(HY^\top)Y + (H\mathbf 1)\mathbf 1^\top\Big] . \tag{15} $$
#
# Nothing has been approximated. Column $i$ of $HY^\top$ is the sum of the outputs of class $i$, and $(\cdot)Y$ hands each sample the column of its class. So even $Y$ need not be formed: `bincount` adds by class, `[:, y]` hands out. What is left costs $O(mL^2)$ time and $O(mL)$ memory (with $Y$ as a matrix it would be $O(mL(L+C))$).
#
# The library also takes **several labels** of a sample, as a row of a 0/1 matrix. Samples with the same set of labels then form a group, and $T\in\{0,1\}^{C\times C}$ has a 1 where two of the $C$ sets share a label. For classes $T=I$ and Eqs. (14) and (15) hold as they stand; notebook 09 derives what $T$ changes.


# %% tags=["export"]
class Groups(NamedTuple):
    """Samples by their labels, or by their sets of labels."""

    y: Array  # (m,), the label or the number of the set
    shared: Array | None  # T (C, C), 1 where two sets share a label; None is the identity


def label_groups(y: ArrayLike | Groups) -> Groups:
    """Labels as they are; of a 0/1 matrix the samples with the same set of labels as one group."""
    if isinstance(y, Groups):
        return y
    y = np.asarray(y)
    if y.ndim == 1:
        return Groups(y, None)
    packed = np.packbits(y == 1, axis=1)  # eight labels in a byte: fewer columns to sort by
    _, first, number = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    sets = (y[first] == 1).astype(np.float64)  # (C, n_labels)
    return Groups(number.ravel(), (sets @ sets.T > 0).astype(np.float64))


# %% tags=["export"]
def pairwise_similarity(H: Array, y: ArrayLike | Groups) -> tuple[float, Array]:
    """1/(2m) ||H^T H / L - S||^2, and dH: Eqs. (14), (15) of notebook 05.

    S_ij is +1 where samples i and j share a label and -1 where they do not; y are labels, or what
    `label_groups` makes of them. S has m x m entries and is never formed: time O(m L^2), memory
    O(m L), whatever the number of classes. For C sets of several labels these are Eqs. (8), (9) of
    notebook 09, with O(L C^2) and O(C^2) more.
    """
    L, m = H.shape
    y, T = label_groups(y)
    y = np.unique(y, return_inverse=True)[1]  # numbers 0, 1, ... of the classes
    K = (H @ H.T).astype(np.float64)  # (L, L)
    sums = np.stack([np.bincount(y, weights=row) for row in H])  # (L, C), H Y^T: by class
    h = sums.sum(axis=1, keepdims=True)  # (L, 1), H 1
    alike = sums if T is None else sums @ T  # (L, C)
    agreement = 2 * np.sum(sums * alike) - squared_norm(h)  # <H^T H, S>
    value = (squared_norm(K) / L**2 - 2 / L * agreement + m**2) / (2 * m)  # Eq. (14)
    dH = (K / L).astype(H.dtype) @ H + (h - 2 * alike).astype(H.dtype)[:, y]  # Eq. (15)
    return float(value), 2 / (m * L) * dH


# %%
rng = np.random.default_rng(0)
H, few = rng.standard_normal((16, 1000)), labels[:1000]
value, dH = pairwise_similarity(H, few)
naive_value, naive_dH = naive_pairwise_similarity(H, few)
np.testing.assert_allclose(value, naive_value, rtol=1e-10)
np.testing.assert_allclose(dH, naive_dH, rtol=0, atol=1e-10 * np.abs(dH).max())
print(f"values {value:.6f} and {naive_value:.6f}")


# %%
def peak_memory(fun, *arguments):
    tracemalloc.start()
    fun(*arguments)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


# %% tags=["nbval-ignore-output"]
verify("exact form", lambda rng: case_similarity(rng, pairwise_similarity))
for m_few in (500, 1000, 2000):
    arguments = rng.standard_normal((16, m_few)), labels[:m_few]
    naive, exact = (
        peak_memory(f, *arguments) for f in (naive_pairwise_similarity, pairwise_similarity)
    )
    print(f"{m_few:5d} samples: {naive:5.1f} MB with the matrix, {exact:.1f} MB without")

# %% [markdown]
# Twice the samples take four times the memory with the matrix, and twice without.
#
# ### The floor
#
# Can $\frac1LH^\top H$ equal $S$? The one is positive semidefinite of rank at most $L$, the other is not. Let all $C$ classes have $m/C$ samples. Three kinds of vectors $z\in\mathbb R^m$ are eigenvectors of $S = 2Y^\top Y-\mathbf 1\mathbf 1^\top$:
#
# * $z = \mathbf 1$: $Y^\top Y\mathbf 1 = \frac mC\mathbf 1$, so the eigenvalue is $\frac{2m}C - m$, negative for $C>2$;
# * $z$ constant on every class with sum 0 ($C-1$ dimensions): $Y^\top Yz = \frac mCz$ and $\mathbf 1^\top z = 0$, so the eigenvalue is $\frac{2m}C$;
# * $z$ with sum 0 within every class: $Yz = 0$, eigenvalue 0.
#
# Let $\mu_i$ be the eigenvalues of $S$ and $\gamma_i\ge0$ those of $\frac1LH^\top H$, both in falling order. Von Neumann's trace inequality, $\langle A,B\rangle\le\sum\gamma_i\mu_i$, gives $\|\frac1LH^\top H-S\|^2\ge\sum(\gamma_i-\mu_i)^2$. At best $\gamma_i = \mu_i$ for the $L$ largest positive $\mu_i$ and 0 elsewhere; what stays is the negative eigenvalue, and the positive ones beyond $L$:
#
# $$ J\ \ge\ \frac1{2m}\Big[\big(m-\tfrac{2m}C\big)^2 + \max(0, C-1-L)\,\big(\tfrac{2m}C\big)^2\Big] = \frac m2\big(1-\tfrac2C\big)^2 + \max(0, C-1-L)\,\frac{2m}{C^2} . \tag{16} $$
#
# For ten classes this is $0.32\,m$ if $L\ge9$, and $0.02\,m$ more for every class direction that a code does not use. At $L = 8$ one is always missing. At the floor, for $L\ge C-1$, $\frac1LH^\top H - S$ is the constant $1-\frac2C$, so that the similarities are $2-\frac2C$ within a class and $-\frac2C$ between classes: 1.8 and $-0.2$ for ten.


# %%
def floor(m, C, L):
    return m / 2 * (1 - 2 / C) ** 2 + max(0, C - 1 - L) * 2 * m / C**2


def flat_similarity(h, y):
    value, dH = pairwise_similarity(h.reshape(-1, len(y)), y)
    return value, dH.ravel()


# %%
y = np.repeat(np.arange(10), 20)  # 200 samples, sorted by class
free = {}
for L in (2, 8, 16):
    start = np.random.default_rng(L).standard_normal(L * 200)
    best = minimize(flat_similarity, start, args=(y,), jac=True, method="L-BFGS-B")
    free[L] = best.x.reshape(L, 200)
    print(f"L = {L:2d}: minimum found {best.fun:7.3f}, floor {floor(200, 10, L):7.3f}")
G = free[16].T @ free[16] / 16
print(f"L = 16: within a class {G[0, 1]:.2f}, between classes {G[0, -1]:.2f}")

# %%
pictures = {"S": np.where(y[:, None] == y, 1, -1)}
pictures |= {f"free H, L = {L}": free[L].T @ free[L] / L for L in (2, 16)}
fig, axes = plt.subplots(1, 3, figsize=(7.5, 2.7))
for ax, (name, picture) in zip(axes, pictures.items()):
    image = ax.imshow(picture, vmin=-2, vmax=2, extent=(-0.5, 9.5, 9.5, -0.5))
    ax.set(title=name, xticks=range(10), yticks=range(10), xlabel="class")
fig.colorbar(image, ax=axes, label=r"$H^\top H/L$")
save_figure(fig, "05_similarity", png=True)

# %% [markdown]
# Samples in order of class; black is similar, white opposite. Left: what is asked for. Middle: two dimensions do not suffice; some classes share a direction, others are left near 0. Right: sixteen reach the floor; the classes are told apart, but at 1.8 against $-0.2$ and not at 1 against $-1$: ten directions cannot all be opposite to each other.
#
# **The floor for real codes** is higher. A $\pm1$ code has $\frac1Lb^\top b = 1$, so similarities cannot exceed 1. Let $w\le1$ be the mean of $\frac1Lb_i^\top b_j$ over all pairs within a class, $i=j$ included, and $s$ the mean over all pairs of different classes. Of the $m^2$ pairs a share of $\frac1C$ lies within classes. Since $\|\sum_jb_j\|^2\ge0$, the mean over all pairs is not negative, $\frac1Cw + (1-\frac1C)s\ge0$, which says
#
# $$ s \ge -\frac w{C-1} . $$
#
# A mean of squares is at least the square of the mean (Jensen), within classes and between them. Therefore
#
# $$ J\ \ge\ \frac m2\Big[\frac1C(1-w)^2+\Big(1-\frac1C\Big)(1+s)^2\Big]\ \ge\ \frac m2\Big[\frac1C(1-w)^2+\Big(1-\frac1C\Big)\Big(1-\frac w{C-1}\Big)^2\Big]\ \ge\ \frac m2\,\frac{(C-2)^2}{C(C-1)}, \tag{17} $$
#
# the last step because the bracket falls with $w$ as long as $w\le1$. For ten classes this is $0.36\,m$, 11 % above the floor for free outputs. It is reached only if all samples of a class share one code. What do the signs of our free $H$ give?

# %%
bits = np.where(free[16] >= 0, 1, -1)
print(
    f"codes sgn(H): {pairwise_similarity(bits, y)[0]:.1f}, at least {100 * 64 / 90:.1f}, free {floor(200, 10, 16):.1f}"
)

# %% [markdown]
# More than they must. The term sees $H$ through $H^\top H$ alone, so $H$ may be rotated without changing $J$; but the signs change, and nothing in this term prefers a rotation with good signs. That is again the business of equality.
#
# ## What grows with the number of samples
#
# The slides put $\frac1{2m}$ before some terms and $\frac12$ before others. Does a $\lambda$ mean the same for 4,000 samples and for 60,000? Show every sample three times, and see:

# %%
rng = np.random.default_rng(5)
H, y = rng.standard_normal((16, 200)) + 0.2, labels[:200]
inputs, codes = X[:, :200], B[:, :200]
decoder = rng.standard_normal((D, 16)), rng.standard_normal((D, 1))
terms = {
    "reconstruction": lambda k: reconstruction(np.tile(inputs, k), np.tile(codes, k), *decoder),
    "equality": lambda k: equality(np.tile(H, k), np.tile(codes, k)),
    "independence": lambda k: independence(np.tile(H, k)),
    "balance": lambda k: balance(np.tile(H, k)),
    "pairwise similarity": lambda k: pairwise_similarity(np.tile(H, k), np.tile(y, k)),
}

# %%
for name, term in terms.items():
    print(f"{name:20s} grows by a factor of {term(3)[0] / term(1)[0]:.3f}")

# %% [markdown]
# Reconstruction and equality are means over samples; independence is a function of means. Balance is $\frac1{2m}\|H\mathbf 1\|^2 = \frac m2\|\bar h\|^2$ with the mean output $\bar h$, and pairwise similarity is $\frac1{2m}$ times a sum over $m^2$ pairs: **both grow with $m$**. A $\lambda_4$, and the $\lambda$'s that SH-BDNN sets against its similarity, hold for the number of samples for which they were chosen.
#
# ### The weights
#
# | | weight of | paper | authors' program | here, by default |
# |---|---|---|---|---|
# | **UH-BDNN** | reconstruction | 1 | 1 | 1 |
# | $\lambda_1$ | weight decay | $10^{-5}$ | $10^{-5}$ | $10^{-5}$ |
# | $\lambda_2$ | equality | $5\cdot10^{-2}$ | $5\cdot10^{-2}$ | $5\cdot10^{-2}$ |
# | $\lambda_3$ | independence | $10^{-2}$ | $10^{-2}$ | $10^{-2}$ |
# | $\lambda_4$ | balance | $10^{-6}$ | $0.5\cdot10^{-6}$ | $10^{-6}$ |
# | **SH-BDNN** | pairwise similarity | 1 | 1 ($\lambda_5 = 10^{-2}$) | 1 |
# | $\lambda_1$ | weight decay | $10^{-3}$ | $10^{-3}$ ($10^{-5}$) | $10^{-3}$ |
# | $\lambda_2$ | equality | 5 | 5 ($5\cdot10^{-2}$) | 5 |
# | $\lambda_3$ | independence | 1 | 1 ($10^{-2}$) | 1 |
# | $\lambda_4$ | balance | $10^{-4}$ | $0.5\cdot10^{-4}$ ($0.5\cdot10^{-6}$) | $10^{-4}$ |
#
# Sources. *Authors' program*: the settings in the two MATLAB programs that the second author has published (`dzungdoan6/uh-bdnn` and `dzungdoan6/sh-bdnn` on GitHub), read for these numbers. *Paper*: the full text was not at hand when this course was written; this column is quoted from memory and should be checked against the paper before it is cited. *Here*: the defaults of `UHBDNN` and `SHBDNN`.
#
# The authors' program departs from the slides: for SH-BDNN it gives the similarity a weight of its own, $\lambda_5 = 10^{-2}$, which the objective of the slides does not have. The numbers in brackets are those of the program; divided by $\lambda_5$ they have the slides' form and the same minimiser. `SHBDNN` has no $\lambda_5$.
#
# **Departure** of this course: our $\lambda_4$ is twice that of the program. At 4,000 samples the term weighs little (the table at the end of this notebook). But $\|H\mathbf 1\|^2$ grows with $m^2$: at 60,000 samples $\lambda_4m$ exceeds $\lambda_2$, and what the doubling does there was not measured.
#
# ## The whole objective
#
# A sum of terms has the sum of their gradients. What the terms say about $H$ is added up and goes through `backward` once; weight decay is added directly. In the words of this notebook and the last, the part of Eq. (1) that sees the encoder is
#
# ```python
# Hs = forward(Ws, cs, X)
# terms = equality(Hs[-1], B), independence(Hs[-1]), balance(Hs[-1])
# dH = sum(weight * dH for weight, (_, dH) in zip((lambda2, lambda3, lambda4), terms))
# dWs, dcs = backward(Ws, Hs, dH)  # and lambda1 times the gradients of weight_decay(Ws)
# ```
#
# Notebook 08 writes it out as `encoder_objective`. It is the function that trains, so we look ahead and check it from end to end: every parameter of a small network, central differences of $J$ against the assembled gradient. The $\lambda$'s are drawn at random and large, so that no term hides behind another (end of section "Check the gradient" in notebook 04).

# %% tags=["nbval-ignore-output"]
from bdnn.uh_bdnn import encoder_objective


def case_encoder(rng):
    sizes = rng.integers(2, 6, 4).tolist()
    X, B = rng.standard_normal((sizes[0], 9)), rng.choice([-1.0, 1.0], (sizes[3], 9))
    theta = rng.standard_normal(sum(b * (a + 1) for a, b in zip(sizes, sizes[1:])))
    lambdas = rng.uniform(0.5, 2, 4)
    return lambda theta: encoder_objective(theta, X, B, sizes, lambdas), theta


verify("encoder objective, all parameters", case_encoder)

# %% [markdown]
# How large are the terms where training starts, with ITQ's codes, the least squares decoder and the initial weights of notebook 04?

# %%
W, c = solution[:, :-1], solution[:, -1:]
sizes = (D, *network.hidden_sizes(16), 16)
Ws, cs = network.initial_weights(X, sizes, np.random.default_rng(0))
H = network.forward(Ws, cs, X)[-1]
start = {
    "reconstruction": reconstruction(X, B, W, c)[0],
    "1e-5 x decay": 1e-5 * weight_decay([*Ws, W])[0],
    "5e-2 x equality": 5e-2 * equality(H, B)[0],
    "1e-2 x independence": 1e-2 * independence(H)[0],
    "1e-6 x balance": 1e-6 * balance(H)[0],
}
for name, value in start.items():
    print(f"{name:20s} {value:9.5f}")

# %% [markdown]
# The decoder has the largest share and, given $B$, is already at its minimum. What the encoder has to learn is in the last three lines: fifteen bits are far too small and the first is large and constant (end of notebook 04), which offends all three terms. Balance weighs 0.1 % of the whole, and would with half of its $\lambda_4$ weigh half of that.
#
# ## What we have now
#
# | name, in `bdnn.losses` | value | gradient | growth with $m$ |
# |---|---|---|---|
# | `reconstruction(X, B, W, c)` | (2) | (3) | none |
# | `weight_decay(Ws)` | (4) | (5) | none |
# | `equality(H, B)` | (6) | (7) | none |
# | `independence(H)` | (8) | (9) | none |
# | `balance(H)` | (10) | (11) | $m$ |
# | `pairwise_similarity(H, y)` | (14) | (15) | $m$ |
#
# All return (value, gradient), scaled as in the slides, without $\lambda$. `label_groups(y)` finds the sets of several labels (notebook 09). The next two notebooks build what minimises their sum: L-BFGS for $W$ and $c$ (06), coordinate descent for $B$ (07).
#
# ## Questions
#
# Answer before you unfold; nothing has to be run.
#
# **Question 1.** Which terms see the outputs $H$, and which see the codes $B$?
#
# <details><summary>Answer</summary>
#
# Reconstruction sees $B$ and not $H$. Equality sees both, and is the only term that ties them. Independence, balance and pairwise similarity see $H$ alone; weight decay sees neither.
#
# </details>
#
# **Question 2.** An output is 3 and its bit is $+1$. Is the equality term content?
#
# <details><summary>Answer</summary>
#
# No. It asks for the value $+1$, not only for the sign, and pulls the output back. The gradient there is $\frac1m(3-1)$, Eq. (7).
#
# </details>
#
# **Question 3.** Why are equality alone, or independence and balance alone, not enough?
#
# <details><summary>Answer</summary>
#
# Equality is content if all samples sit at one corner. Independence and balance are content with outputs that are nowhere near a corner. Together they ask for corners, all of them used, and equally often.
#
# </details>
#
# **Question 4.** You train on 60,000 samples with the $\lambda_4$ that suited 4,000. What changes?
#
# <details><summary>Answer</summary>
#
# Balance grows with the number of samples: it is $\frac m2\|\bar h\|^2$. So it weighs 15 times as much against reconstruction, equality and independence, which do not grow.
#
# </details>
#
# **Question 5.** Why can the pairwise similarity of ten classes not become 0?
#
# <details><summary>Answer</summary>
#
# $\frac1LH^\top H$ is positive semidefinite, and $S$ has the negative eigenvalue $\frac{2m}C-m$. What belongs to it stays, Eq. (16). In a picture: ten directions cannot all be opposite to each other.
#
# </details>
#
# ## Exercises
#
# **Write it yourself**, if you have not done so on the way: `equality`, `independence`, `balance` and `pairwise_similarity`, each with a cell that checks it, in [05_exercises](exercises/05_exercises.ipynb).
#
# **5.1** (on paper, then in code) Replace balance by the sum of absolute values, $J = \frac1m\|H\mathbf 1\|_1$. Derive its gradient. Where does it not exist? How does its pull differ from that of Eq. (11) when a bit is nearly balanced?
# <details><summary>Hint</summary>The differential of |h| is sgn(h) dh except at 0.</details>
#
# **5.2** (on paper, then in code) Why are biases not regularised? Derive the optimal $c$ of the reconstruction for given $W$ and $B$. Then add the same vector $t$ to every sample and compare the minimum of reconstruction plus $\frac{\lambda_1}2\|W\|^2$ before and after, without and with a penalty $\frac{\lambda_1}2\|c\|^2$.
# <details><summary>Hint</summary>Set the second half of Eq. (3) to zero. A shift of the data should not change what is learned.</details>
#
# **5.3** (on paper, then in code) Some authors set the similarity of different classes to 0 instead of $-1$. Derive value and gradient without an $m\times m$ matrix for this $S$, and the floor for $C$ balanced classes.
# <details><summary>Hint</summary>Now S = Y^T Y, without the matrix of ones. Is it positive semidefinite?</details>
#
# **5.4** (on paper, then in code) Independence uses second moments *about 0*. Derive the gradient of $J = \frac12\|\frac1mHPH^\top - I\|^2$ with the centring matrix $P = I-\frac1m\mathbf 1\mathbf 1^\top$. When do both agree? What does a constant bit cost in each?
# <details><summary>Hint</summary>P is symmetric and P P = P, so the steps before Eq. (9) carry over with HP for H.</details>
#
# **5.5** (in code) Classes are seldom balanced. Show that the eigenvalues of $S$ other than 0 are those of the $C\times C$ matrix $N^{1/2}(2I-\mathbf 1\mathbf 1^\top)N^{1/2}$ with the class sizes in $N$, and compute the floor from it. How far is it from Eq. (16) for two classes of 900 and 100 samples?
# <details><summary>Hint</summary>A B and B A have the same eigenvalues other than 0. Write S as Y^T times a C x C matrix times Y.</details>
#
# Solutions: `solutions/05_solutions`.
#
# ## Further reading
#
# * Do, Doan and Cheung, *Learning to Hash with Binary Deep Neural Network*, ECCV 2016 (arXiv:1607.05140): the sections on UH-BDNN, for Eq. (1), and on SH-BDNN, for Eq. (12).
# * Liong, Lu, Wang, Moulin and Zhou, *Deep Hashing for Compact Binary Codes Learning*, CVPR 2015: the relaxed terms with which we compare balance and independence; notebook 10 takes them up.
# * Horn and Johnson, *Topics in Matrix Analysis*: von Neumann's trace inequality, used for Eq. (16).
