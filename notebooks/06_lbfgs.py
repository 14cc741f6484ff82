# %% [markdown]
# # Train the weights by L-BFGS: 74,000 variables, 400 gradients
#
# **What you will do**: build L-BFGS, the method that trains the weights of BDNN. You start from one
# vector equation, train a network with a first, short program, see it fail, and end with one that
# stands comparison with SciPy's.
#
# **What you will learn**
#
# - what the difference of two gradients says about curvature, and why BFGS is the smallest
#   correction that agrees with it;
# - how two short loops over the last few steps replace a matrix that would fill 61 GB;
# - why it is not enough that a step goes down, and what the strong Wolfe conditions ask for;
# - how bracketing, zooming and a cubic find such a step;
# - what a program must do that a textbook may leave out: NaN, rounding, stopping.
#
# **What you need**: notebooks 04 (network) and 05 (loss terms) for the examples; linear algebra with
# positive definite matrices. 75 minutes to read, about a minute to run.
#
# | symbol | meaning |
# |---|---|
# | $x$, $g$ | all variables in one vector, and the gradient of $J$ there |
# | $p$, $a$ | a direction, and the length of a step along it |
# | $s$, $y$ | differences of $x$ and of $g$ over one step (labels, called $y$ before, do not occur here) |
# | $A$, $K$ | the Hessian, and an estimate of its inverse |
# | $r$ | the number of pairs $(s,y)$ that are kept |

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% [markdown]
# ## Count the variables
#
# In one half of its alternation BDNN keeps the codes $B$ fixed and minimises $J$ over all weights
# and biases. Notebooks 04 and 05 give us the value and the gradient of $J$; the paper leaves the
# rest to L-BFGS. How large is the problem?

# %%
from bdnn.network import hidden_sizes

L, D = 16, 784
sizes = (D, *hidden_sizes(L), L)
n_encoder = sum((inputs + 1) * units for inputs, units in zip(sizes, sizes[1:]))
n = n_encoder + (L + 1) * D
print(f"layers {sizes} and back to {D}: n = {n:,} variables, {n_encoder:,} of them in the encoder")
print(f"an n x n matrix of float64 fills {8 * n**2 / 1e9:.0f} GB")

# %% [markdown]
# The authors allow 400 iterations. So we may look at the function about 400 times, in a space of
# 87,204 dimensions, and must not store anything of size $n\times n$.
#
# ## What Newton would do
#
# Write $x\in\mathbb R^n$ for the vector of all variables and $g=\nabla J(x)$. Near $x$,
#
# $$
# J(x+p)\approx J(x)+g^\top p+\tfrac12p^\top A\,p,\qquad A=\nabla^2J(x). \tag{1}
# $$
#
# If $A$ is positive definite, the right-hand side is smallest where its gradient $g+Ap$ vanishes:
#
# $$
# p=-A^{-1}g. \tag{2}
# $$
#
# On a quadratic function (1) is exact and one step is enough. A bowl in two dimensions:

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
import scipy.optimize

from bdnn.course.plotting import COLOURS, save_figure

# %%
A = np.array([[3.1, 1.6], [1.6, 1.3]])
b = np.array([1.0, -0.5])


def bowl(x):
    return x @ A @ x / 2 - b @ x, A @ x - b


# %% tags=["nbval-ignore-output"]
x = np.array([-0.5, 0.5])
p = -np.linalg.solve(A, bowl(x)[1])
before, after = (np.abs(bowl(point)[1]).max() for point in (x, x + p))
assert after < 1e-12
print(f"largest entry of the gradient: {before:.2f} at x, {after:.0e} after one Newton step")

# %% [markdown]
# For BDNN, $A$ has $n^2/2$ entries to compute and to solve with, and need not be positive definite.
# What we want is its effect, a matrix that turns $g$ into a good direction, at the price of
# gradients alone.
#
# ## Learn curvature from two gradients: the secant condition
#
# After a step $s=x_+-x$ we know two gradients. For a quadratic their difference is
#
# $$
# y=g_+-g=A\,s,
# $$
#
# and in general $y=\big(\int_0^1\nabla^2J(x+ts)\,\mathrm dt\big)s$: the mean curvature along the step,
# applied to it. We keep an estimate $K$ of the *inverse* of $A$, because (2) needs the inverse.
# (Textbooks call it $H$; in this course $H$ is the output of a layer.) After the step it should
# satisfy the **secant condition**
#
# $$
# K_+\,y=s. \tag{3}
# $$
#
# These are $n$ equations for $n(n+1)/2$ unknowns. The rest of $K_+$ is ours to choose, and the
# careful choice is to leave as much as possible as it was.
#
# ## BFGS: the smallest change that fits
#
# **On paper first.** Assume $s^\top y>0$ (the line search will see to it). Among all symmetric
# matrices that satisfy (3) we look for the one nearest to $K$. Broyden, Fletcher, Goldfarb and Shanno
# found it in 1970, independently of each other. Nearest in which norm? Variables may have different
# units, so we measure in coordinates that the curvature itself makes natural: take any symmetric
# positive definite $M$ with $Ms=y$, and minimise
#
# $$
# \big\|M^{1/2}(K_+-K)M^{1/2}\big\|\quad\text{subject to}\quad K_+=K_+^\top,\; K_+y=s. \tag{4}
# $$
#
# *Is there such an $M$?* Yes: $M=I-\frac{ss^\top}{s^\top s}+\frac{yy^\top}{s^\top y}$ sends $s$ to
# $s-s+y=y$. And $v^\top Mv=\|v\|^2-\frac{(s^\top v)^2}{s^\top s}+\frac{(y^\top v)^2}{s^\top y}$ is not
# negative, by Cauchy and Schwarz. It is 0 only if $v$ is a multiple of $s$ and $y^\top v=0$; as
# $s^\top y>0$, that leaves $v=0$.
#
# Put $\tilde K=M^{1/2}KM^{1/2}$, the same for $K_+$, and $z=M^{1/2}s=M^{-1/2}y$.
#
# 1. Multiply (3) by $M^{1/2}$ from the left: $\tilde K_+z=z$. The secant condition now says that
#    $z$ is an eigenvector with eigenvalue 1. Note $z^\top z=s^\top y$.
# 2. Take an orthonormal basis whose first vector is $z/\|z\|$. The Frobenius norm in (4) does not
#    change: for orthogonal $U$, $\|U^\top CU\|^2=\operatorname{tr}(U^\top C^\top CU)=\|C\|^2$. In this basis
#    $\tilde K_+$ has the first column $(1,0,\dots,0)^\top$, and by symmetry the same first row. The
#    other entries are free, and the norm is smallest if they stay those of $\tilde K$.
# 3. Without the basis: with the projector $\Pi=I-zz^\top/z^\top z$ this reads
#    $\tilde K_+=\Pi\tilde K\Pi+zz^\top/z^\top z$.
# 4. Go back, $K_+=M^{-1/2}\tilde K_+M^{-1/2}$. With $M^{-1/2}z=s$ and
#    $M^{1/2}\Pi M^{-1/2}=I-ys^\top/s^\top y$ this becomes, without $M$,
#
# $$
# K_+=E^\top K\,E+\frac{ss^\top}{s^\top y},\qquad E=I-\frac{ys^\top}{s^\top y}. \tag{5}
# $$
#
# $K_+$ stays positive definite: $v^\top K_+v=(Ev)^\top K(Ev)+(s^\top v)^2/s^\top y\ge0$, and if both terms
# vanish, then $s^\top v=0$ makes $Ev=v$, and $v=0$. So $-K_+g$ always leads downhill.


# %%
def dense_bfgs(K, s, y):
    E = np.eye(len(s)) - np.outer(y, s) / (s @ y)
    return E.T @ K @ E + np.outer(s, s) / (s @ y)  # Eq. (5)


# %%
s = np.array([1.0, 0.5])
K = dense_bfgs(np.eye(2), s, A @ s)
print(
    f"K y = {(K @ (A @ s)).round(6)}, s = {s}; eigenvalues of K: {np.linalg.eigvalsh(K).round(3)}"
)

# %% [markdown]
# On the bowl we walk along $-Kg$, always to the lowest point of the line (for a quadratic that is
# $a=-g^\top p/p^\top Ap$), once with the $K$ that learns and once with $K=I$, which is steepest
# descent.


# %%
def walk(x, steps, learn):
    K, g, path, estimates = np.eye(2), bowl(x)[1], [x], [np.eye(2)]
    for _ in range(steps):
        p = -K @ g
        s = -(g @ p) / (p @ A @ p) * p
        x, g, K = x + s, g + A @ s, dense_bfgs(K, s, A @ s) if learn else K
        path.append(x)
        estimates.append(K)
    return np.array(path), estimates


# %% tags=["nbval-ignore-output"]
path, estimates = walk(x, 2, learn=True)
plain_path, _ = walk(x, 12, learn=False)
ours, plain = (np.linalg.norm(end[-1] - np.linalg.solve(A, b)) for end in (path, plain_path))
error = np.abs(estimates[2] @ A - np.eye(2)).max()
assert max(ours, error) < 1e-12 and plain > 0.01
print(f"distance to the minimum: {ours:.0e} after 2 steps of BFGS, {plain:.2f} after 12 of descent")
print(f"K A after these two steps: the identity, up to {error:.0e}")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
grid = np.meshgrid(np.linspace(-0.7, 1.9, 60), np.linspace(-2.3, 0.8, 60))
points = np.stack(grid, axis=-1)
values = 0.5 * ((points @ A) * points).sum(axis=-1) - points @ b
_ = left.contour(*grid, values, 14, colors="0.8", linewidths=0.8)
_ = left.plot(*plain_path.T, "s--", color=COLOURS["vermillion"], label="steepest descent, 12 steps")
_ = left.plot(*path.T, "o-", color=COLOURS["blue"], label="BFGS, 2 steps")
_ = left.set(title="two ways down a bowl", xlabel="$x_1$", ylabel="$x_2$")
_ = left.legend(loc="lower left")
angle = np.linspace(0, 2 * np.pi, 97)
for k, (line, K) in enumerate(zip((":", "--", "-"), estimates)):
    ellipse = np.linalg.cholesky(K) @ [np.cos(angle), np.sin(angle)]
    _ = right.plot(*ellipse, color=COLOURS["blue"], linestyle=line, label=f"$K_{k}$")
ellipse = np.linalg.cholesky(np.linalg.inv(A)) @ [np.cos(angle), np.sin(angle)]
_ = right.plot(*ellipse[:, ::6], "o", color=COLOURS["green"], label="$A^{-1}$")
_ = right.set(title=r"the bowl as $K$ sees it: $v^\top K^{-1}v=1$", aspect="equal")
_ = right.legend(loc="upper right")
save_figure(fig, "06_bfgs")

# %% [markdown]
# Left: steepest descent goes to and fro in the valley, BFGS is at the bottom after two steps. Right:
# each step corrects the estimate by a matrix of rank two (multiply (5) out: what is added lives on $s$
# and $Ky$); $K_2$ lies on the points of $A^{-1}$. In general, with exact line searches, BFGS ends on a
# quadratic in at most $n$ steps (exercise 6.4).
#
# ## Keep the pairs, not the matrix: the two-loop recursion
#
# $K$ is as large as $A$. But $K$ is nothing except its start $K_0$ and the pairs $(s_j,y_j)$ that
# changed it. Keep the last $r$ of them, oldest first, forget the others (this makes it
# *limited-memory* BFGS, L-BFGS), and write (5) out:
#
# $$
# K_r=E_r^\top\Big(\cdots E_2^\top\Big(E_1^\top K_0E_1+\frac{s_1s_1^\top}{s_1^\top y_1}\Big)E_2
# +\frac{s_2s_2^\top}{s_2^\top y_2}\cdots\Big)E_r+\frac{s_rs_r^\top}{s_r^\top y_r}. \tag{6}
# $$
#
# We need only the product $K_rg$. **On paper first:** follow $g$ through (6) from the right. Each
# $E_j$ acts on what the newer ones have left over. With $q_r=g$ and $j=r,\dots,1$
#
# $$
# \alpha_j=\frac{s_j^\top q_j}{s_j^\top y_j},\qquad q_{j-1}=E_jq_j=q_j-\alpha_jy_j,
# $$
#
# and $\alpha_j$ is at the same time what the term $s_js_j^\top/s_j^\top y_j$ needs: it gives $\alpha_js_j$.
# Innermost stands $u_0=K_0q_0$. On the way out, $j=1,\dots,r$,
#
# $$
# u_j=E_j^\top u_{j-1}+\alpha_js_j=u_{j-1}+\Big(\alpha_j-\frac{y_j^\top u_{j-1}}{s_j^\top y_j}\Big)s_j .
# $$
#
# **Where the recursion starts.** With few pairs the start $K_0$ matters. Take $K_0=\gamma I$, with the
# one number that fits the newest pair best: $\min_\gamma\|\gamma y-s\|^2$ has the solution
#
# $$
# \gamma=\frac{s^\top y}{y^\top y}. \tag{7}
# $$
#
# What does it measure? With $y=As$ and $v=A^{1/2}s$ it is $\gamma=v^\top v/v^\top Av$, one over a Rayleigh
# quotient of $A$: it lies between $1/\lambda_{\max}$ and $1/\lambda_{\min}$. So the step $-\gamma g$ has the
# right order of magnitude, whatever the units of $J$ and $x$, and a step of length 1 is worth trying
# first. The whole, in five lines of mathematics:
#
# $$
# \begin{aligned}
# &q\leftarrow g\\
# &\text{for }j=r,\dots,1:\quad\alpha_j=\frac{s_j^\top q}{s_j^\top y_j},\quad q\leftarrow q-\alpha_jy_j\\
# &q\leftarrow\gamma q\\
# &\text{for }j=1,\dots,r:\quad q\leftarrow q+\Big(\alpha_j-\frac{y_j^\top q}{s_j^\top y_j}\Big)s_j\\
# &\text{result: }q=K_rg
# \end{aligned} \tag{8}
# $$
#
# **Stop.** Do exercise 6.A now, in [06_exercises](exercises/06_exercises.ipynb); the next cell gives the answer.
#
# Line by line (8) becomes the first function of the module `bdnn.lbfgs`, which begins here:

# %% tags=["export-top"]
"""Limited-memory BFGS with a line search for the strong Wolfe conditions.

Minimises a smooth function of many variables from its values and gradients alone. Everything is
done with vectors: the direction by the two-loop recursion over the last few pairs (s, y), the
length of the step by bracketing and zooming with cubic interpolation.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy import ndarray as Array
from scipy.optimize import OptimizeResult


# %% tags=["export"]
def two_loop(g: Array, pairs: Sequence[tuple[Array, Array]]) -> Array:
    """Multiply a vector g (n,) by the limited-memory estimate of the inverse Hessian.

    Eq. (8) of notebook 06: the BFGS matrix that the pairs make of the start gamma I, without ever
    forming a matrix. Pairs are (s, y), arrays (n,): steps and differences of gradients,
    s^T y > 0, oldest first. g is not modified; without pairs the product is a copy of it.
    """
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    if pairs:
        s, y = pairs[-1]
        q *= s @ y / (y @ y)  # gamma, Eq. (7)
    for (s, y), alpha in zip(pairs, reversed(alphas)):
        q += (alpha - y @ q / (s @ y)) * s
    return q


# %% [markdown]
# Is it the same matrix? Ten pairs in 50 dimensions, against (5) applied ten times to $\gamma I$:

# %%
rng = np.random.default_rng(0)
C = rng.standard_normal((50, 50))
curvature = C @ C.T / 50 + 0.1 * np.eye(50)
pairs = [(s, curvature @ s) for s in rng.standard_normal((10, 50))]
s, y = pairs[-1]
gamma = s @ y / (y @ y)
K = gamma * np.eye(50)
for s, y in pairs:
    K = dense_bfgs(K, s, y)

# %% tags=["nbval-ignore-output"]
g = rng.standard_normal(50)
error = np.linalg.norm(two_loop(g, pairs) - K @ g) / np.linalg.norm(K @ g)
assert error < 1e-10
print(f"two loops against the dense product: relative error {error:.0e}")

# %%
low, high = np.linalg.eigvalsh(np.linalg.inv(curvature))[[0, -1]]
print(f"1/lambda_max < gamma < 1/lambda_min: {low:.3f} < {gamma:.3f} < {high:.3f}")
print(f"memory for 20 pairs of n = {n:,} in float32: {2 * 20 * n * 4 / 1e6:.0f} MB")

# %% [markdown]
# About $6rn$ multiplications instead of $n^2$, and 14 MB instead of 61 GB.
#
# ## How far to go: backtracking
#
# The direction $p=-K_rg$ leads downhill. How far? Along it, $J$ is a function of one number,
#
# $$
# \varphi(a)=J(x+a\,p),\qquad\varphi'(a)=\nabla J(x+a\,p)^\top p,\qquad\varphi'(0)=g^\top p<0. \tag{9}
# $$
#
# Its exact minimum is not worth the evaluations. The least that we ask of a step is a fair share of
# the decrease that the slope promises, with some $0<c_1<1$. This is the **Armijo condition**:
#
# $$
# \varphi(a)\le\varphi(0)+c_1\,a\,\varphi'(0). \tag{10}
# $$
#
# Close to $a=0$ it holds, since $c_1<1$. So the simplest search tries $a=1$ and halves it until (10) holds:
# **backtracking**. Only the first step has no pairs and no $\gamma$, so that $-g$ may have the wrong length
# by far. We take the choice of BDNN's authors, $\min(1,1/\|g\|_1)$, which moves no variable by more
# than 1.
#
# **Stop.** Do exercise 6.B now, in [06_exercises](exercises/06_exercises.ipynb); the next cell gives the answer.
#
# With backtracking we already have L-BFGS:


# %%
def first_lbfgs(fun, x, max_iter, r=20):
    """L-BFGS with backtracking: yields x, its value and the pairs after every step."""
    f, g = fun(x)
    pairs = []
    for _ in range(max_iter):
        p = -two_loop(g, pairs)
        if g @ p >= 0:
            return  # uphill: no length will do
        a = 1.0 if pairs else min(1.0, 1 / np.abs(g).sum())
        while a > 1e-12 and fun(x + a * p)[0] > f + 1e-4 * a * (g @ p):  # Eq. (10)
            a /= 2
        f, g_new = fun(x + a * p)
        pairs = [*pairs, (a * p, g_new - g)][-r:]
        x, g = x + a * p, g_new
        yield x, f, pairs


# %% [markdown]
# ## Train an encoder with it
#
# Here is the network, with the terms of notebook 05 that contain the encoder's weights, for given codes.
# Notebook 08 exports the same function, as `encoder_objective`.

# %%
from bdnn.data import load
from bdnn.itq import ITQ
from bdnn.losses import balance, equality, independence, weight_decay
from bdnn.metrics import sgn
from bdnn.network import backward, flatten, forward, initial_weights, unflatten


# %%
def objective(theta, X, B, sizes, lambdas=(1e-5, 5e-2, 1e-2, 1e-6)):
    """J and its gradient as a function of all weights of the encoder."""
    lambda1, *weights = lambdas
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X)
    terms = equality(Hs[-1], B), independence(Hs[-1]), balance(Hs[-1])
    decay, dWs_decay = weight_decay(Ws)
    dWs, dcs = backward(Ws, Hs, sum(w * dH for w, (_, dH) in zip(weights, terms)))
    value = lambda1 * decay + sum(w * term for w, (term, _) in zip(weights, terms))
    return value, flatten([dW + lambda1 * d for dW, d in zip(dWs, dWs_decay)], dcs)


# %% [markdown]
# A small case first: 500 digits of 64 pixels, their ITQ codes of 8 bits, layers of 40 and 20 units, and the
# initial weights of notebook 04.

# %%
small, rows = (64, 40, 20, 8), load("digits").train[:500] / 16
X, B = rows.T, ITQ(8, dtype="float64").fit(rows).codes_.T.astype(float)
J = partial(objective, X=X, B=B, sizes=small)
theta0 = flatten(*initial_weights(X, small, np.random.default_rng(0)))
print(f"{X.shape[1]} digits, layers {small}: {theta0.size:,} variables, J = {J(theta0)[0]:.4f}")

# %%
path = list(first_lbfgs(J, theta0, max_iter=100))
assert path[-1][1] < 0.05
print("J after 10, 30, 50 steps:", ", ".join(f"{path[t - 1][1]:.2f}" for t in (10, 30, 50)))
agreement = np.mean(sgn(forward(*unflatten(path[-1][0], small), X)[-1]) == B)
assert agreement > 0.95
print("after 100 steps J is below 0.05, and more than 95 % of the bits are those of the codes")

# %% [markdown]
# This short program trains a network. Now start it from random weights, ten times, smaller than usual: normal
# numbers with the standard deviation $0.1/\sqrt{\text{inputs}}$.


# %%
def random_weights(seed, sizes, scale=0.1):
    rng = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes))
    Ws = [scale * rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes]
    return flatten(Ws, [np.zeros((units, 1)) for units, _ in shapes])


# %% tags=["nbval-ignore-output"]
starts = [random_weights(seed, small) for seed in range(10)]
runs = [list(first_lbfgs(J, theta, max_iter=100)) for theta in starts]
curvature = [np.array([s @ y for _, _, pairs in run for s, y in pairs[-1:]]) for run in runs]
print("steps made:         ", " ".join(f"{len(run):5d}" for run in runs))
print("J at the start:     ", " ".join(f"{J(theta)[0]:5.2f}" for theta in starts))
print("J at the end:       ", " ".join(f"{run[-1][1]:5.2f}" for run in runs))
print("first with s'y <= 0:", " ".join(f"{np.argmax(sy <= 0) + 1:5d}" for sy in curvature))

# %%
assert max(map(len, runs)) < 80 and min(run[-1][1] for run in runs) > 0.15
assert all(sy.min() <= 0 for sy in curvature)
print("10 of 10 runs end uphill with J above 0.15, and each has met s'y <= 0 before")

# %% [markdown]
# All ten end early, where $J$ has hardly fallen. From small weights $J$ is curved *downwards* at first: the
# function falls more and more steeply, and a step from one such place to the next has $s^\top y\le0$. (10) is
# content with it, as it goes down. But BFGS assumed $s^\top y>0$. With such a pair $K$ is no longer positive
# definite, $-Kg$ may lead *uphill*, and then no length is short enough. The fault is not in the direction: it
# lies in what we asked of the step before.
#
# ## Ask for more: the strong Wolfe conditions
#
# A second condition asks that the slope has become flatter, with $c_1<c_2<1$:
#
# $$
# |\varphi'(a)|\le c_2\,|\varphi'(0)|. \tag{11}
# $$
#
# Together, (10) and (11) are the **strong Wolfe conditions**. The first keeps steps from being too long to
# gain anything, the second from being too short to get anywhere. BDNN's authors, and we, take $c_1=10^{-4}$,
# $c_2=0.9$: lenient, since with a good $K$ the step $a=1$ should nearly always pass. For the picture we are
# stricter.


# %%
def waves(a):
    """A function of a step length with its slope."""
    return 0.25 * (a - 2) ** 2 - 0.3 * np.sin(3 * a), 0.5 * (a - 2) - 0.9 * np.cos(3 * a)


# %%
a, c1, c2 = np.linspace(0, 4.6, 2001), 0.3, 0.3
(f0, d0), (f, d) = waves(0.0), waves(a)
line = f0 + c1 * a * d0
sets = {"(10)": f <= line, "(11)": np.abs(d) <= c2 * abs(d0)}
sets["both"] = sets["(10)"] & sets["(11)"]
shares = ", ".join(f"{name}: {holds.mean():.0%}" for name, holds in sets.items())
print(f"slope at 0: {d0:.1f}; share of the steps up to 4.6 that pass {shares}")

# %%
fig, ax = plt.subplots(figsize=(7.5, 3.8))
_ = ax.plot(a, f, color="black", linestyle="-", label=r"$\varphi(a)$")
_ = ax.plot(a, line, "--", color="0.4", label=r"$\varphi(0)+c_1a\varphi'(0)$")
chosen = np.where(sets["both"], f, np.nan)
_ = ax.plot(a, chosen, "-", color=COLOURS["blue"], linewidth=5, label="accepted")
for row, (name, holds) in enumerate(sets.items()):
    height = -0.65 - 0.17 * row
    _ = ax.plot(a, np.where(holds, height, np.nan), "-", color=COLOURS["orange"], linewidth=6)
    _ = ax.text(4.65, height, name, va="center")
_ = ax.set(xlabel="$a$", xlim=(0, 4.6), ylim=(-1.15, 1.6), title=f"$c_1={c1}$, $c_2={c2}$")
_ = ax.legend(loc="upper center")
save_figure(fig, "06_wolfe")

# %% [markdown]
# The bars below mark where (10), (11) and both hold; the thick parts of the curve are the steps that
# would be accepted. The deepest minimum is not among them: for so long a step the line asks for more.
#
# One consequence holds the method together. If (11) holds, then
#
# $$
# s^\top y=a\,p^\top(g_+-g)=a\big(\varphi'(a)-\varphi'(0)\big)\ge a\,(1-c_2)\,|\varphi'(0)|>0, \tag{12}
# $$
#
# and that is just what (5) needs: **every accepted step keeps $K$ positive definite.** And if $J$ is
# smooth and bounded below, such steps exist. The difference of $\varphi$ and the line in (10) is 0 at
# $a=0$, negative at first (since $c_1<1$), and must come back to 0, because the line falls for ever.
# Somewhere between its derivative vanishes: there $\varphi$ is below the line, which is (10), and has the
# slope $c_1\varphi'(0)$, which is (11) since $c_1<c_2$.
#
# ## Two trials and a cubic
#
# A trial of a step costs one evaluation of $J$ and its gradient. This is what we learn from it:


# %% tags=["export"]
class Trial(NamedTuple):
    """One evaluation along the direction p: what a line search knows about a step."""

    a: float  # length of the step
    f: float  # phi(a) = J(x + a p)
    d: float  # phi'(a) = g^T p
    x: Array  # x + a p
    g: Array  # the gradient there


# %% [markdown]
# Two trials, $(a_1,f_1,d_1)$ and $(a_2,f_2,d_2)$, give two values and two slopes: just enough for a cubic.
# Where is its minimum? **The rest of this section may be skipped at a first reading.** Later sections need
# one fact only: `cubic_minimiser(p, q)` returns the length $a$ at which the cubic through the trials `p` and
# `q` has its minimum.
#
# **On paper first.** Let $\Delta=a_2-a_1$ and $\tau=(a-a_1)/\Delta$. The slope of
# a cubic is a parabola, and the parabola with the right ends is, with one open number $e$,
#
# $$
# d(\tau)=d_1(1-\tau)^2-2e\,\tau(1-\tau)+d_2\tau^2 .
# $$
#
# The values fix $e$: $f_2-f_1=\Delta\int_0^1d(\tau)\,\mathrm d\tau=\tfrac\Delta3(d_1-e+d_2)$, so
# $e=d_1+d_2-3(f_2-f_1)/\Delta$. Multiplied out, $d(\tau)=(d_1+2e+d_2)\tau^2-2(d_1+e)\tau+d_1$. At a root its
# derivative with respect to $\tau$ is $\pm2\sqrt{e^2-d_1d_2}$. With respect to $a$ this is divided by
# $\Delta$, and at a minimum it is positive: the sign of the square root is the sign of $\Delta$. Let
# $w=\operatorname{sign}(\Delta)\sqrt{e^2-d_1d_2}$; then
#
# $$
# \tau=\frac{d_1+e+w}{d_1+2e+d_2},\qquad 1-\tau=\frac{d_2+e-w}{d_1+2e+d_2}.
# $$
#
# This denominator vanishes where the cubic is only a parabola, a common case. Rationalise:
# $(d_2+e-w)(d_2+e+w)=(d_2+e)^2-w^2=d_2(d_1+2e+d_2)$, so that $1-\tau=d_2/(d_2+e+w)$ as well. If two
# fractions are equal, numerators and denominators may be subtracted; twice the second less the first is
#
# $$
# 1-\tau=\frac{2d_2-(d_2+e-w)}{2(d_2+e+w)-(d_1+2e+d_2)}=\frac{d_2+w-e}{d_2-d_1+2w}.
# $$
#
# Between a falling and a rising trial to its right, $d_1<0<d_2$ and $\Delta>0$, all parts of this denominator
# are positive; exchange the two trials, and all parts change their sign. So
#
# $$
# a^\star=a_2-\Delta\,\frac{d_2+w-e}{d_2-d_1+2w},\qquad
# e=d_1+d_2-3\,\frac{f_2-f_1}{\Delta},\qquad w=\operatorname{sign}(\Delta)\sqrt{e^2-d_1d_2}. \tag{13}
# $$
#
# If $e^2<d_1d_2$, the cubic has no minimum, and we answer nan.


# %% tags=["export"]
def cubic_minimiser(p: Trial, q: Trial) -> float:
    """Return where the cubic through two trials has its minimum, Eq. (13) of notebook 06.

    The cubic takes the values and the slopes of the trials, which may stand in either order; nan
    if it has no minimum.
    """
    width = q.a - p.a  # Delta
    e = p.d + q.d - 3 * (q.f - p.f) / width
    discriminant = e * e - p.d * q.d
    if not discriminant >= 0:
        return math.nan
    w = math.copysign(math.sqrt(discriminant), width)
    denominator = q.d - p.d + 2 * w
    return q.a - width * (q.d + w - e) / denominator if denominator else math.nan


# %%
def trial_of(phi, a):
    """A trial of a function of one number."""
    f, d = phi(a)
    return Trial(a, f, d, np.array([a]), np.array([d]))


# %%
cubic = np.polynomial.Polynomial([1.0, -2.0, -1.0, 1.5])
p, q = (trial_of(lambda a: (cubic(a), cubic.deriv()(a)), a) for a in (0.2, 2.0))
found, backwards = cubic_minimiser(p, q), cubic_minimiser(q, p)
lowest = max(cubic.deriv().roots())
print(f"minimum at {lowest:.6f}; from two trials: {found:.6f}, swapped: {backwards:.6f}")
p, q = (trial_of(lambda a: ((a - 3) ** 2, 2 * (a - 3)), a) for a in (0.0, 1.0))
print(f"a parabola with its minimum at 3: {cubic_minimiser(p, q):.6f}")

# %% [markdown]
# ## Bracket, then zoom
#
# The search keeps the trial `low`: the lowest so far among those that fulfil (10), at first $a=0$.
# As soon as it knows one, it also keeps `high`, so that an acceptable step lies between the two. Each
# new trial has one of four fates:
#
# | the new trial | what happens |
# | --- | --- |
# | fulfils (10) and (11) | it is the answer |
# | is not finite, or breaks (10), or is no lower than `low` | it becomes `high` |
# | is lower, and falls towards `high` (or `high` is not known, and it falls) | it becomes `low` |
# | is lower, but rises towards `high` (or it just rises) | it becomes `low`, the old `low` becomes `high` |
#
# Why there is always a step between them is exercise 6.1. The next length is the minimiser (13), within
# bounds: while `high` is unknown, go 2 to 10 times as far; in an interval, stay a tenth of its
# width away from the ends, and halve it if the last trial did not take a third of it away.


# %% tags=["export"]
def next_step(previous: Trial, low: Trial, high: Trial | None, halve: bool) -> float:
    """The length to try next: beyond `low` while nothing bounds it, else between low and high.

    The minimiser of the cubic, kept within 2 to 10 times `low`, or off the ends of the interval.
    """
    if high is None:
        a = cubic_minimiser(previous, low)
        return min(max(a, 2 * low.a), 10 * low.a) if a > low.a else 10 * low.a
    width = high.a - low.a
    if not math.isfinite(high.f + high.d):  # no cubic: the domain may end anywhere in between
        return low.a + 0.1 * width
    a = cubic_minimiser(low, high)
    share = 0.5 if halve or math.isnan(a) else (a - low.a) / width
    return low.a + min(max(share, 0.1), 0.9) * width


def strong_wolfe(
    phi: Callable[[float], Trial], start: Trial, a: float, c1: float = 1e-4, c2: float = 0.9
) -> Trial | None:
    """Find a step that fulfils the strong Wolfe conditions, Eqs. (10) and (11) of notebook 06.

    `phi` takes a step length to a :class:`Trial`; values that are not finite are taken as too high.
    `start` is the step of length 0, its slope negative, and `a` the first length to try. So much
    (c1) of the decrease that the slope promises must come, and such a share (c2) of the slope may
    be left; 0 < c1 < c2 < 1. None if 25 evaluations of `phi` found no such step, or if the decrease
    that the slope promises is smaller than the rounding error of the function's values.
    """
    eps = float(np.finfo(start.x.dtype).eps)
    previous, low, high, width = start, start, None, math.inf
    for _ in range(25):
        trial = phi(a)
        enough = math.isfinite(trial.d) and start.f + c1 * a * start.d >= trial.f > -math.inf
        if enough and abs(trial.d) <= -c2 * start.d:  # Eqs. (10) and (11)
            return trial
        if not enough or (trial.f >= low.f and low is not start):
            high = trial  # too long: the minimum lies between low and here
        else:
            ahead = 1.0 if high is None else high.a - low.a
            if trial.d * ahead >= 0:
                high = low  # the slope turned: the minimum lies behind
            previous, low = low, trial
        before = width
        if high is not None:
            width = abs(high.a - low.a)
            if width <= eps * a or (low is start and width * abs(low.d) <= eps * abs(low.f)):
                return None
        a = next_step(previous, low, high, halve=width > 2 / 3 * before)
    return None


# %% [markdown]
# Does it find its step from everywhere? Three functions that are known to be hard: one with a flat
# far side, one whose slope at 0 is millions of times smaller than elsewhere, and our waves. The first
# trial is a thousandth to a thousand times as long as it should be.


# %%
def far(a):
    return -a / (a * a + 2), (a * a - 2) / (a * a + 2) ** 2


def steep(a, b=0.004):
    return (a + b) ** 5 - 2 * (a + b) ** 4, 5 * (a + b) ** 4 - 8 * (a + b) ** 3


# %%
def search(phi, start, first, c2=0.9):
    """The trials of a line search for a function from step length to Trial; the last is accepted."""
    trials = []

    def logged(a):
        trials.append(phi(a))
        return trials[-1]

    assert strong_wolfe(logged, start, first, c2=c2) is trials[-1]
    assert trials[-1].f <= start.f + 1e-4 * trials[-1].a * start.d  # Eq. (10)
    assert abs(trials[-1].d) <= c2 * abs(start.d)  # Eq. (11)
    return trials


# %% tags=["nbval-ignore-output"]
for phi, c2 in ((far, 0.9), (far, 0.1), (steep, 0.9), (waves, 0.9), (waves, 0.1)):
    line = partial(trial_of, phi)
    counts = [len(search(line, line(0.0), first, c2)) for first in (1e-3, 1e-1, 1e1, 1e3)]
    print(f"{phi.__name__}, c2 = {c2}: {counts} trials from 0.001, 0.1, 10, 1000")
    assert max(counts) <= 20

# %% [markdown]
# Now two real ones, on the encoder above. Left: the step with which backtracking ran into $s^\top y\le0$, from
# the first random start. Right: the first step from the good start at which $a=1$ does not pass.


# %%
def along(J, x, p):
    """The function phi of Eq. (9), from step length to Trial."""

    def phi(a):
        f, g = J(x + a * p)
        return Trial(a, f, g @ p, x + a * p, g)

    return phi


def real_search(x, pairs):
    """phi, and the trials of its line search, for the L-BFGS step from x."""
    phi = along(J, x, -two_loop(J(x)[1], pairs))
    return phi, search(phi, phi(0.0), 1.0)


# %%
t = int(np.argmax(curvature[0] <= 0))
searches = [real_search(*runs[0][t - 1][::2])]
searches.append(next(s for x, _, pairs in path if len((s := real_search(x, pairs))[1]) > 1))

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for ax, (phi, trials), reach in zip(axes, searches, (1.4, 2.5)):
    start, last = phi(0.0), trials[-1]
    a = np.linspace(0, reach * last.a, 100)
    values = np.array([phi(step).f for step in a])
    _ = ax.plot(a, values, "-", color="0.6", label=r"$\varphi(a)$")
    _ = ax.plot(a, start.f + a * start.d, ":", color="0.3", label=r"$\varphi(0)+a\varphi'(0)$")
    for k, trial in enumerate(trials[:-1], start=1):
        if trial.a < a[-1]:
            _ = ax.plot(trial.a, trial.f, "o", color=COLOURS["blue"])
            _ = ax.annotate(f"{k}", (trial.a, trial.f), (0, 8), textcoords="offset points")
    label = f"accepted, trial {len(trials)}"
    _ = ax.plot(last.a, last.f, "s", color=COLOURS["vermillion"], markersize=9, label=label)
    margin = 0.15 * np.ptp(values)
    _ = ax.set(xlabel="$a$", ylabel="$J$", ylim=(values.min() - margin, values.max() + margin))
    _ = ax.legend(loc="best")
_ = axes[0].set(title=f"step {t + 1} from random weights")
_ = axes[1].set(title="a step where $a=1$ is too long")
save_figure(fig, "06_search")

# %%
phi, trials = searches[0]
slopes = [phi(step).d / phi(0.0).d for step in (1.0, trials[-1].a)]
assert slopes[0] >= 1 > slopes[1]
print(
    f"random start: slope at a = 1 is {slopes[0]:.1f} times that at 0; where accepted, {slopes[1]:.1f}"
)

# %% [markdown]
# The numbers give the order of the trials (some lie beyond the picture), the square is the accepted one. Left: at
# $a=1$, where backtracking stopped, $J$ falls more steeply than at 0. Strong Wolfe says "further", until the
# slope is flat enough; then $s^\top y>0$. Right: $a=1$ is too long, and the cubic leads back.
#
# ## The whole method
#
# Now we have all the parts. It is the same loop as before, with the better search, and with what a program needs
# if it has to cope with any function; we come to that below.


# %% tags=["export"]
MESSAGES = (
    "the largest entry of the gradient is at most gtol",
    "the relative decrease of the last step is at most ftol",
    "max_iter steps were made",
    "no step along -g fulfils the strong Wolfe conditions: limit of precision, or no minimum",
)


@np.errstate(over="ignore", invalid="ignore")  # a step that is too long is no fault
def minimize(
    fun: Callable[[Array], tuple[float, Array]],
    x0: Array,
    *,
    max_iter: int = 400,
    history: int = 20,
    gtol: float = 1e-5,
    ftol: float = 1e-9,
    c1: float = 1e-4,
    c2: float = 0.9,
    callback: Callable[[OptimizeResult], object] | None = None,
) -> OptimizeResult:
    """Minimise a smooth function by L-BFGS.

    Notebook 06 derives every part. BDNN trains its weights this way (Do et al., 2016; slide
    "Optimization").

    Parameters
    ----------
    fun : callable
        x (n,) to (value, gradient (n,)). It must not modify x. Outside the function's domain it
        may return NaN or infinity.
    x0 : array (n,)
        The start, not modified. float32 stays float32, everything else becomes float64.
    max_iter : int
        The most steps.
    history : int
        The number of pairs (s, y) kept: 2 * history vectors of memory.
    gtol : float
        Stop when no entry of the gradient is larger in magnitude.
    ftol : float
        Stop when a step from J to J' has `(J - J') / max(|J|, |J'|, 1) <= ftol`.
    c1, c2 : float
        Constants of the strong Wolfe conditions, which every accepted step fulfils.
    callback : callable, optional
        Called after every step with a result that holds x, fun, jac, nit and nfev.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, fun, jac (the gradient) of the last accepted step, which is the best one; nit steps,
        nfev = njev evaluations; status (an index of `MESSAGES`), message, success (True for status
        0 and 1: converged).

    Raises
    ------
    ValueError
        If an option is out of its range, if the gradient has another shape than x0, or if the
        value or the gradient at x0 is not finite.
    """
    if not (max_iter >= 0 and history >= 1 and gtol >= 0 and ftol >= 0 and 0 < c1 < c2 < 1):
        raise ValueError("needs max_iter, gtol, ftol >= 0, history >= 1 and 0 < c1 < c2 < 1")
    x0, nfev = np.asarray(x0), 0
    x0 = x0.astype(np.float32 if x0.dtype == np.float32 else np.float64)

    def trial(a, x, p):  # Eq. (9)
        nonlocal nfev
        nfev += 1
        x = x + a * p
        f, g = fun(x)
        g = np.array(g, dtype=x.dtype)  # a copy: fun may use the same memory again
        if g.shape != x.shape:
            raise ValueError(f"the gradient has shape {g.shape}, x0 has shape {x.shape}")
        return Trial(a, float(f), float(g @ p), x, g)

    now = trial(0.0, x0, np.zeros_like(x0))
    if not (math.isfinite(now.f) and np.isfinite(now.g).all()):
        raise ValueError("the value or the gradient at x0 is not finite")
    pairs, nit, decrease = deque(maxlen=history), 0, math.inf
    while True:
        rules = np.max(np.abs(now.g)) <= gtol, decrease <= ftol, nit >= max_iter
        if any(rules):
            status = rules.index(True)
            break
        p = -two_loop(now.g, pairs)
        slope = float(now.g @ p)
        if not -math.inf < slope < 0:  # rounding has spoiled the pairs
            pairs.clear()
            p, slope = -now.g, -float(now.g @ now.g)
        a = 1.0 if pairs else min(1.0, 1 / float(np.sum(np.abs(now.g))))
        phi, start = partial(trial, x=now.x, p=p), now._replace(a=0.0, d=slope)
        new = strong_wolfe(phi, start, a, c1, c2)
        if new is None and pairs:  # once more, along -g
            pairs.clear()
            continue
        if new is None:
            status = 3
            break
        s, y = new.x - now.x, new.g - now.g
        rounding = float(np.finfo(s.dtype).eps) * math.sqrt(float(s @ s) * float(y @ y))
        if s @ y > rounding > 0:
            pairs.append((s, y))
        decrease = (now.f - new.f) / max(abs(now.f), abs(new.f), 1.0)
        now, nit = new, nit + 1
        if callback:
            callback(OptimizeResult(x=now.x, fun=now.f, jac=now.g, nit=nit, nfev=nfev))
    counts = {"nit": nit, "nfev": nfev, "njev": nfev}
    verdict = {"status": status, "message": MESSAGES[status], "success": status < 2}
    return OptimizeResult(x=now.x, fun=now.f, jac=now.g, **counts, **verdict)


# %% [markdown]
# The ten random starts again, for as many steps as the others were allowed:

# %% tags=["nbval-ignore-output"]
results = [minimize(J, theta, max_iter=100, gtol=0, ftol=0) for theta in starts]
assert all(result.nit == 100 and result.fun < 0.08 for result in results)
print("J after 100 steps:", " ".join(f"{result.fun:.3f}" for result in results))
print("evaluations:      ", " ".join(f"{result.nfev:5d}" for result in results))

# %% [markdown]
# No run fails, and none needs many more evaluations than steps. (To throw away a pair with $s^\top y\le0$ is a
# repair, too: exercise 6.6.)
#
# A second run: Rosenbrock's function, a curved valley with its minimum at $(1,\dots,1)$. The callback
# sees every accepted step, and we check all of them against (10) and (11), recomputed with $s$ in
# place of $a\,p$.


# %%
def rosenbrock(x):
    return scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)


def steps_of(fun, x0, **options):
    """(x, value, gradient, evaluations so far) at the start and after every step; the result."""
    steps = [(x0, *fun(x0), 1)]
    options["callback"] = lambda r: steps.append((r.x, r.fun, r.jac, r.nfev))
    return steps, minimize(fun, x0, **options)


# %%
steps, result = steps_of(rosenbrock, np.array([-1.2, 1.0]))
for (x, f, g, _), (x_next, f_next, g_next, _) in zip(steps, steps[1:]):
    s = x_next - x
    assert f_next <= f + 1e-4 * (g @ s)
    assert abs(g_next @ s) <= 0.9 * abs(g @ s)
    assert s @ (g_next - g) > 0
print(f"{result.message}; x = ({result.x[0]:.4f}, {result.x[1]:.4f})")
print("all steps fulfil the strong Wolfe conditions")

# %% [markdown]
# For comparison, steepest descent with the same line search. Its first trial is twice the last
# accepted step.


# %%
def steepest_descent(fun, x, evaluations):
    f, g = fun(x)
    a, calls, steps = min(1.0, 1 / np.abs(g).sum()), 1, [(x, f, g, 1)]
    while calls < evaluations:
        phi = along(fun, x, -g)
        trials = search(phi, Trial(0.0, f, -g @ g, x, g), a)
        a, f, _, x, g = trials[-1]
        a, calls = 2 * a, calls + len(trials)
        steps.append((x, f, g, calls))
    return steps


# %%
down = steepest_descent(rosenbrock, np.array([-1.2, 1.0]), evaluations=result.nfev)
assert result.fun < 1e-9 and down[-1][1] > 1
fig, ax = plt.subplots(figsize=(7, 3.8))
grid = np.meshgrid(np.linspace(-1.6, 1.3, 150), np.linspace(-0.5, 1.6, 150))
levels = np.geomspace(0.05, 500, 14)
_ = ax.contour(*grid, rosenbrock(np.stack(grid))[0], levels, colors="0.8", linewidths=0.8)
for steps_drawn, line, colour, name in (
    (down, "s--", "vermillion", "steepest descent"),
    (steps, "o-", "blue", "L-BFGS"),
):
    points = np.array([x for x, *_ in steps_drawn])
    _ = ax.plot(*points.T, line, color=COLOURS[colour], label=name, markersize=4, linewidth=1.2)
_ = ax.plot(1, 1, "*", color="black", markersize=14)
_ = ax.set(xlabel="$x_1$", ylabel="$x_2$", title="Rosenbrock's valley from (-1.2, 1)")
_ = ax.legend(loc="lower center")
save_figure(fig, "06_rosenbrock")

# %% [markdown]
# With the same number of evaluations, steepest descent (squares) is still on the left side of the
# valley, while L-BFGS (circles) has followed it round the bend to the minimum (star).
#
# ## Against SciPy
#
# SciPy's L-BFGS-B is in wide use, and a serious measure. With equal history and equal tolerances we
# compare the minima and count evaluations, on two families: quadratics
# with condition numbers from 10 to $10^4$, and Rosenbrock's function in 2 to 100 dimensions from
# random starts.


# %%
def versus_scipy(fun, x0, history=10, gtol=1e-5, ftol=1e-9):
    ours = minimize(fun, x0, history=history, gtol=gtol, ftol=ftol, max_iter=10_000)
    options = dict(maxcor=history, gtol=gtol, ftol=ftol, maxiter=10_000, maxfun=100_000)
    peer = scipy.optimize.minimize(fun, x0, jac=True, method="L-BFGS-B", options=options)
    return ours.nfev, peer.nfev, (ours.fun - peer.fun) / max(1, abs(peer.fun))


# %%
def quadratic(n, condition, rng):
    Q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    A, b = (Q * np.geomspace(1, condition, n)) @ Q.T, rng.standard_normal(n)
    return (lambda x: (x @ A @ x / 2 - b @ x, A @ x - b)), rng.standard_normal(n)


# %%
rng, runs = np.random.default_rng(0), {}
for n_small in (5, 20, 100):
    for condition in (10, 100, 10_000):
        problems = [quadratic(n_small, condition, rng) for _ in range(5)]
        runs["quadratic", n_small, condition] = [versus_scipy(*problem) for problem in problems]
for n_small in (2, 5, 10, 30, 100):
    points = rng.uniform(-2, 2, (5, n_small))
    runs["Rosenbrock", n_small, ""] = [versus_scipy(rosenbrock, x0) for x0 in points]

# %% [markdown]
# The medians over five runs each (the last digits of the counts depend on the machine's rounding):

# %% tags=["nbval-ignore-output"]
print("function      n  condition   ours  SciPy  ratio")
for (name, n_small, condition), results in runs.items():
    ours, peer, _ = np.median(results, axis=0)
    print(f"{name:10} {n_small:4} {condition:10} {ours:6.0f} {peer:6.0f} {ours / peer:6.2f}")

# %%
ours, peer, excess = np.concatenate(list(runs.values())).T
assert np.median(ours / peer) <= 1.2 and (excess < 1e-5).mean() > 0.95
print(f"median ratio of evaluations over {len(ours)} runs: {np.median(ours / peer):.1f}")
print("in more than 95 % of the runs no higher than SciPy's minimum")

# %% [markdown]
# Minima no higher, with about as many evaluations. (On Rosenbrock's function from dimension 4 there is a
# second minimum; which one a run ends in is chance, for both programs.)
#
# ## How many pairs to keep
#
# On the encoder, from its usual start. Each curve shows $J$ against the number of evaluations.

# %%
curves = {f"L-BFGS, history {r}": [] for r in (1, 5, 20, 100)}
for name, curve in curves.items():
    steps, _ = steps_of(J, theta0, history=int(name.split()[-1]), max_iter=300)
    curve += [(calls, f) for _, f, _, calls in steps]
curves["steepest descent"] = [(calls, f) for _, f, _, calls in steepest_descent(J, theta0, 300)]
ends = [curve[-1][1] for curve in curves.values()]
assert max(ends[2:4]) < ends[1] < ends[0] < ends[4]

# %%
fig, ax = plt.subplots(figsize=(7.5, 3.8))
for (name, curve), line in zip(curves.items(), (":", "-.", "-", "--", (0, (1, 3)))):
    _ = ax.plot(*np.array(curve).T, linestyle=line, label=name)
_ = ax.set(xlabel="evaluations of $J$ and its gradient", ylabel="$J$", yscale="log", xlim=(0, 320))
_ = ax.legend(loc="upper right")
save_figure(fig, "06_history")

# %% [markdown]
# Already one pair is far better than the gradient alone, and more pairs help further. Our default of 20 is a
# compromise for memory and time; the authors keep 100.
#
# A network's $J$ has many minima, and two programs need not end in the same one. Near a given one they
# must. We let SciPy find one, move away from it, and let both return:

# %%
J_firm = partial(objective, X=X, B=B, sizes=small, lambdas=(1e-3, 5e-2, 1e-2, 1e-6))
options = dict(maxcor=20, gtol=1e-5, ftol=0, maxiter=5000, maxfun=10_000)
settings = dict(jac=True, method="L-BFGS-B", options=options)
peer = scipy.optimize.minimize(J_firm, theta0, **settings)
near = peer.x + 0.02 * rng.standard_normal(theta0.size)

# %% tags=["nbval-ignore-output"]
peer = scipy.optimize.minimize(J_firm, near, **settings)
ours = minimize(J_firm, near, history=20, gtol=1e-5, ftol=0, max_iter=5000)
away, apart = J_firm(near)[0] / peer.fun - 1, abs(ours.fun / peer.fun - 1)
assert away > 1e-3 and apart < 1e-4
print(f"moved away J is {away:.1%} higher; after the return ours and SciPy's differ by {apart:.0e}")

# %% [markdown]
# (We used $\lambda_1=10^{-3}$ here, a hundred times the paper's: with the smaller one the valley around a
# minimum is so flat that thousands of steps are needed to agree on four digits.)
#
# ## Four hundred gradients
#
# At last the question of the title, with the real sizes: 2,000 MNIST digits, float32, 400 iterations, and as
# codes the 16 bits of ITQ, with which UH-BDNN starts. ITQ is linear, and a network of sigmoids has to
# imitate it. There are 32,000 bits to fit and 73,876 weights to do it with: agreement on these digits shows only
# that the optimiser works. So we also ask for the codes of 1,000 digits that the training has not seen.

# %%
data = load("mnist5k")
itq = ITQ(L).fit(data.train[:2000])
digits = {"trained on": data.train[:2000], "held out": data.query}
codes = {name: itq.transform(rows).T for name, rows in digits.items()}
inputs = {name: rows.T.astype(np.float32) / 255 for name, rows in digits.items()}

# %%
pixels = inputs["trained on"]
large = partial(objective, X=pixels, B=codes["trained on"].astype(np.float32), sizes=sizes)
theta_large = flatten(*initial_weights(pixels, sizes, np.random.default_rng(0)))
began = time.perf_counter()
result = minimize(large, theta_large)
seconds = time.perf_counter() - began


# %%
def agreement(theta):
    """Share of the bits with sgn(H) = B."""
    outputs = {name: forward(*unflatten(theta, sizes), X)[-1] for name, X in inputs.items()}
    return [np.mean(sgn(outputs[name]) == codes[name]) for name in inputs]


before, after = agreement(theta_large), agreement(result.x)
assert result.x.dtype == np.float32 and result.nfev <= 1.1 * result.nit + 10
assert max(before) < 0.6 and after[0] > 0.99 and 0.94 < after[1] < after[0]

# %% tags=["nbval-ignore-output"]
print(f"{theta_large.size:,} variables", end=": ")
print(f"J from {large(theta_large)[0]:.3f} to {result.fun:.4f}", end=" ")
print(f"in {result.nit} steps and {result.nfev} evaluations, {seconds:.1f} s")
for name, b, a in zip(inputs, before, after):
    print(f"bits with sgn(H) = B, digits {name:10}: {b:.1%} at the start, {a:.1%} at the end")

# %% [markdown]
# About one evaluation per step: the trial $a=1$ nearly always passes, which is what $\gamma$ and the
# pairs are for. Held out, three to four bits in a hundred are wrong; at the start it is every second one, chance. Beside the
# evaluations the method costs memory traffic: the vectors of all pairs are read twice in
# every step.
#
# ## Make it safe
#
# `minimize` is the loop of `first_lbfgs` with a better line search, and with what a textbook may leave out.
#
# **NaN and infinity.** Objectives have edges: logarithms, overflow, a user's own bounds. A trial that is not
# finite counts as too high. As the domain may end anywhere in between, the next one goes back to a tenth. Take
# $J(x)=\sum_i\big(tx_i-\log(1-x_i^2)\big)$ with $t=100$. It is not defined beyond $|x_i|=1$, and its minimum,
# at $x_i=(1-\sqrt{1+t^2})/t=-0.990$, lies close to that edge:


# %%
def barrier(x, t=100):
    values.append(t * x.sum() - np.log(1 - x * x).sum())
    return values[-1], t + 2 * x / (1 - x * x)


# %%
values = []
result = minimize(barrier, np.array([0.0, 0.5, 0.9]), gtol=1e-6, ftol=0)
assert np.isnan(values).any() and result.success
lowest = (1 - np.sqrt(1 + 100**2)) / 100
print(f"NaN was met on the way; x = {result.x.round(6)}, exactly {lowest:.6f}")

# %% [markdown]
# **Rounding.** Near a minimum (10) compares numbers that differ by less than their rounding errors. If the
# first interval promises less than that, more trials are noise, and the search returns None, as it does after
# 25 trials. Then the pairs are forgotten and $-g$ is tried once. A pair is kept only if $s^\top y$ is
# more than rounding error, as (12) promises in exact arithmetic only. If all the same a direction does not lead
# downhill, $-g$ takes its place.
#
# **The gradient is copied,** because many objectives fill the same memory at every call, and $y=g_+-g$ would
# then be zero.
#
# **When to stop.** The run ends, in this order, when
#
# | status | rule | success |
# | --- | --- | --- |
# | 0 | no entry of the gradient is larger than `gtol` | yes |
# | 1 | the last step decreased $J$ by at most `ftol` $\cdot\max(\lvert J\rvert,\lvert J_+\rvert,1)$ | yes |
# | 2 | `max_iter` steps were made | no |
# | 3 | the line search failed, even along $-g$ | no |
#
# Status 3 is no defect of the program: it is what the end of float precision looks like, and also an
# unbounded function or a wrong gradient. In every case the result is the last accepted point, which is
# the lowest, since (10) never lets $J$ rise. All four, in float32:

# %%
cases = {
    "a start at the minimum": (lambda x: (x @ x, 2 * x), np.zeros(3), {}),
    "a loose tolerance": (rosenbrock, np.full(4, -1.2), {"ftol": 1e-2}),
    "five steps": (rosenbrock, np.full(4, -1.2), {"max_iter": 5}),
    "no minimum": (lambda x: (-x.sum(), -np.ones_like(x)), np.zeros(3), {}),
    "a wrong sign": (lambda x: (x @ x, -2 * x), np.ones(3), {}),
}
for name, (fun, start, options) in cases.items():
    result = minimize(fun, start.astype(np.float32), **options)
    print(f"{name:22}: status {result.status}, {result.message}")

# %% [markdown]
# **Departure:** from the authors' settings. They run minFunc with 100 corrections, at most 1,000
# evaluations and 400 iterations, tolerances $10^{-5}$ and $10^{-9}$, $c_1=10^{-4}$, $c_2=0.9$, and the
# first step $\min(1,1/\|g\|_1)$. We keep all of these except two: the history is 20 by default (the
# figure above shows what the other 80 may be worth), and the number of evaluations is not limited. Our
# $10^{-9}$ is the relative decrease in the rule of status 1.
#
# **Departure:** from the textbook algorithm for a line search that brackets and zooms. A trial that fulfils
# both conditions is accepted even if rounding makes it no lower than `low`. The cubic is kept away from the
# ends, and a slow interval is halved.
#
# ## What we have now
#
# `bdnn.lbfgs`: `minimize`, and the parts that you may want on their own: `two_loop`, `strong_wolfe`,
# `next_step`, `cubic_minimiser`, `Trial`, `MESSAGES`. Notebook 08 trains the encoder of UH-BDNN with `minimize`.
#
# ## Questions
#
# Answer before you unfold; nothing has to be run.
#
# **Question 1.** What would Newton's method have to store, and what does L-BFGS store?
#
# <details><summary>Answer</summary>
#
# Newton needs the Hessian, $n\times n$ numbers for $n$ variables, and has to solve with it. L-BFGS keeps the
# last $r$ pairs $(s_j,y_j)$, which it gets from gradients alone, and applies the matrix that they define by two
# short loops, Eq. (8).
#
# </details>
#
# **Question 2.** Every step of backtracking lowers $J$. How can the method fail all the same?
#
# <details><summary>Answer</summary>
#
# The Armijo condition is content with a step at whose end $J$ falls more steeply than before. Then $s^\top
# y\le0$, and with such a pair $K$ is no longer positive definite. The next direction $-Kg$ may lead uphill, and
# no step along it is short enough.
#
# </details>
#
# **Question 3.** Which of the two Wolfe conditions keeps $K$ positive definite, and how?
#
# <details><summary>Answer</summary>
#
# The second, Eq. (11). It makes the slope flatter, so that $s^\top y\ge a(1-c_2)|\varphi'(0)|>0$, Eq. (12).
# This is what the BFGS update assumed.
#
# </details>
#
# **Question 4.** What is the number $\gamma$ of Eq. (7) good for?
#
# <details><summary>Answer</summary>
#
# It is one over a Rayleigh quotient of the Hessian and gives the direction the right order of magnitude,
# whatever the units of $J$ and $x$. So a step of length 1 is worth trying first, and on the network it nearly
# always passes: about one evaluation per step.
#
# </details>
#
# **Question 5.** A training in float32 ends with status 3, the line search failed. Is something broken?
#
# <details><summary>Answer</summary>
#
# Not necessarily. This is what the end of float precision looks like. But an unbounded function and a wrong
# gradient end so, too, so look at the gradient. The result is the last accepted point, the lowest that was
# found.
#
# </details>
#
# ## Exercises
#
# **Write it yourself**, if you have not done so on the way: `two_loop` and `backtrack`, each with a cell that checks it, in [06_exercises](exercises/06_exercises.ipynb).
#
# **6.1** (paper) Show that between `low` and `high` there is always a step that fulfils (10) and (11),
# when `high` is finite. Treat `high` to the right and to the left of `low` apart.
#
# <details><summary>Hint</summary>To the right: minimise
# $\psi(a)=\varphi(a)-\varphi(0)-c_1a\varphi'(0)$ over the interval. To the left: minimise
# $\varphi$ itself. In both cases show first that the function is not lower at `high` than at `low`, and
# that it falls from `low` into the interval.</details>
#
# **6.2** (paper, hard) Other units: let $\hat x=Tx$ with an invertible $T$ and
# $\hat J(\hat x)=J(T^{-1}\hat x)$. Show that $\hat K=TKT^\top$ gives the same step in the new
# coordinates, and that (5) keeps this relation. For which $T$ does it also hold for $K_0=\gamma I$ with (7)?
#
# <details><summary>Hint</summary>$\hat g=T^{-\top}g$, $\hat s=Ts$, $\hat y=T^{-\top}y$, so
# $\hat s^\top\hat y=s^\top y$.</details>
#
# **6.3** (paper) Take history 1 and suppose that the last step went exactly to the minimum of its line,
# $g^\top s=0$ at the new point. Write out (8). Which well-known method is it?
#
# <details><summary>Hint</summary>$\alpha_1=0$. Compare with a direction $-g+\beta s$, where $\beta=g^\top y/s^\top y$.</details>
#
# **6.4** (code) Minimise a quadratic in 10 dimensions with exact line searches and (5), from $K_0=I$.
# Confirm that 10 steps suffice, and that every two steps satisfy $s_i^\top As_j=0$.
#
# <details><summary>Hint</summary>`dense_bfgs` of this notebook is two lines; the exact step is
# $-g^\top p/p^\top Ap$.</details>
#
# **6.5** (code) What is $\gamma$ worth? Run `minimize` on a quadratic with eigenvalues from 1 to $10^4$
# once as it is and once with $\gamma=1$, and compare evaluations per step.
#
# <details><summary>Hint</summary>Write `two_loop` without its middle line and put it in place of
# `bdnn.lbfgs.two_loop` with `unittest.mock.patch`.</details>
#
# **6.6** (code) Repair `first_lbfgs` in another way: keep a pair only if $s^\top y>0$. Run it from the ten random
# starts. Does it train? How does it compare with `minimize` after 100 steps?
#
# <details><summary>Hint</summary>One `if` is enough. What does $K$ know about the places where $J$ is curved
# downwards, if it never hears of them?</details>
#
# ## Further reading
#
# - Do, Doan and Cheung, "Learning to Hash with Binary Deep Neural Network", ECCV 2016, on the
#   alternating optimisation; in the slides the page "Optimization".
# - J. Nocedal and S. Wright, *Numerical Optimization*, 2nd ed.: the chapter on quasi-Newton methods for Eq. (5), the one
#   on large problems for Eq. (8), the one on line searches for Eq. (10), Eq. (11) and the zoom; its appendix on
#   interpolation goes with Eq. (13).
# - D. Liu and J. Nocedal, "On the limited memory BFGS method for large scale optimization", 1989: the
#   method and the scaling of Eq. (7).
# - J. Moré and D. Thuente, "Line search algorithms with guaranteed sufficient decrease", 1994: the search
#   in SciPy's program.
