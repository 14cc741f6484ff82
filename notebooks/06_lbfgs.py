# %% [markdown]
# # Minimise a function of 80,000 variables with 400 gradients
#
# **What you will do**: build L-BFGS, the method that trains the weights of BDNN, from one vector
# equation to a program that you can set beside SciPy's.
#
# **What you will learn**
#
# - what the difference of two gradients says about curvature, and why BFGS is the smallest
#   correction that agrees with it;
# - how two short loops over the last few steps replace a matrix that would fill 60 GB;
# - what the strong Wolfe conditions ask of a step, and how bracketing, zooming and a cubic find one;
# - what a program must do that a textbook may leave out: NaN, rounding, stopping.
#
# **What you need**: notebooks 04 (network) and 05 (loss terms) for the example at the end; linear
# algebra with positive definite matrices. 60 minutes to read, half a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""Limited-memory BFGS with a line search for the strong Wolfe conditions.

Minimises a smooth function of many variables from its values and gradients alone. Everything is
done with vectors: the direction by the two-loop recursion over the last few pairs (s, y), the
length of the step by bracketing and zooming with cubic interpolation.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import get_blas_funcs
from scipy.optimize import OptimizeResult

from numpy import ndarray as Array
from bdnn.base import Objective

# %%
import time

import matplotlib.pyplot as plt
import scipy.optimize
from scipy.optimize import rosen, rosen_der

from bdnn import losses
from bdnn.metrics import sgn
from bdnn.data import load
from bdnn.network import backward, flatten, forward, hidden_sizes, initial_weights, unflatten
from bdnn.course.plotting import COLOURS, save_figure

# %% [markdown]
# ## Eighty thousand variables
#
# In one half of its alternation BDNN keeps the codes $B$ fixed and minimises $J$ over all weights
# and biases. Notebooks 04 and 05 give us the value and the gradient of $J$; the paper leaves the
# rest to L-BFGS. How large is the problem?

# %%
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
A = np.array([[3.1, 1.6], [1.6, 1.3]])
b = np.array([1.0, -0.5])


def bowl(x):
    return x @ A @ x / 2 - b @ x, A @ x - b


# %%
x = np.array([-0.5, 0.5])
p = -np.linalg.solve(A, bowl(x)[1])
before, after = (np.abs(bowl(point)[1]).max() for point in (x, x + p))
print(f"gradient: {before:.2f} at x; below 1e-12 after one Newton step: {after < 1e-12}")

# %% [markdown]
# For BDNN, $A$ has $n^2/2$ entries to compute and to solve with, and need not be positive definite.
# What we want is its effect, a matrix that turns $g$ into a good direction, at the price of
# gradients alone.
#
# ## What one step tells about curvature
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
# matrices that satisfy (3) we look for the one nearest to $K$; Broyden, Fletcher, Goldfarb and Shanno found it in 1970, each alone. Nearest in which norm? Variables may
# have different units, so we measure in coordinates that the curvature itself makes natural: take any
# symmetric positive definite $M$ with $Ms=y$, and minimise
#
# $$
# \big\|M^{1/2}(K_+-K)M^{1/2}\big\|\quad\text{subject to}\quad K_+=K_+^\top,\; K_+y=s. \tag{4}
# $$
#
# Put $\tilde K=M^{1/2}KM^{1/2}$, the same for $K_+$, and $z=M^{1/2}s=M^{-1/2}y$.
#
# 1. Multiply (3) by $M^{1/2}$ from the left: $\tilde K_+z=z$. The secant condition now says that
#    $z$ is an eigenvector with eigenvalue 1. Note $z^\top z=s^\top y$.
# 2. Take an orthonormal basis whose first vector is $z/\|z\|$. In this basis $\tilde K_+$ has the
#    first column $(1,0,\dots,0)^\top$, and by symmetry the same first row. The other entries are
#    free, and the Frobenius norm in (4) is smallest if they stay those of $\tilde K$.
# 3. Without the basis: with the projector $P=I-zz^\top/z^\top z$ this reads
#    $\tilde K_+=P\tilde KP+zz^\top/z^\top z$.
# 4. Go back, $K_+=M^{-1/2}\tilde K_+M^{-1/2}$. From $M^{-1/2}z=s$ and
#    $M^{1/2}PM^{-1/2}=I-ys^\top/s^\top y$ follows, and $M$ has dropped out:
#
# $$
# K_+=V^\top K\,V+\rho\,ss^\top,\qquad V=I-\rho\,ys^\top,\qquad\rho=\frac1{s^\top y}. \tag{5}
# $$
#
# $K_+$ stays positive definite: $v^\top K_+v=(Vv)^\top K(Vv)+\rho\,(s^\top v)^2\ge0$, and if both terms
# vanish, then $s^\top v=0$ makes $Vv=v$, and $v=0$. So $-K_+g$ always leads downhill.


# %%
def dense_bfgs(K, s, y):
    rho = 1 / (s @ y)
    V = np.eye(len(s)) - rho * np.outer(y, s)
    return V.T @ K @ V + rho * np.outer(s, s)


# %%
s = np.array([1.0, 0.5])
K = dense_bfgs(np.eye(2), s, A @ s)
print(f"K y = s: {np.allclose(K @ (A @ s), s)}; eigenvalues of K: {np.linalg.eigvalsh(K).round(3)}")

# %% [markdown]
# On the bowl we walk along $-Kg$, always to the lowest point of the line (for a quadratic that is
# $\alpha=-g^\top p/p^\top Ap$), once with the $K$ that learns and once with $K=I$, which is steepest
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


# %%
path, estimates = walk(x, 2, learn=True)
plain_path, _ = walk(x, 12, learn=False)
ours, plain = (np.linalg.norm(end[-1] - np.linalg.solve(A, b)) for end in (path, plain_path))
print(f"after two steps of BFGS, K = inverse of A: {np.allclose(estimates[2], np.linalg.inv(A))}")
print(f"distance to the minimum below 1e-12: {ours < 1e-12}; steepest descent: {plain:.3f}")

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
# each step corrects the estimate in one direction; $K_2$ lies on the points of $A^{-1}$. In general,
# with exact line searches, BFGS ends on a quadratic in at most $n$ steps (exercise 6.4).
#
# ## Keep the pairs, not the matrix
#
# $K$ is as large as $A$. But $K$ is nothing except its start $K_0$ and the pairs $(s_j,y_j)$ that
# changed it. Keep the last $h$ of them, oldest first, forget the others (this makes it *limited-memory* BFGS, L-BFGS), and write (5) out:
#
# $$
# K_h=V_h^\top\big(\cdots V_2^\top\big(V_1^\top K_0V_1+\rho_1s_1s_1^\top\big)V_2+\rho_2s_2s_2^\top\cdots\big)V_h
# +\rho_hs_hs_h^\top. \tag{6}
# $$
#
# We need only the product $K_hg$. **On paper first:** follow $g$ through (6) from the right. Each
# $V_j$ acts on what the newer ones have left over. With $q_h=g$ and $j=h,\dots,1$
#
# $$
# \alpha_j=\rho_j\,s_j^\top q_j,\qquad q_{j-1}=V_jq_j=q_j-\alpha_jy_j,
# $$
#
# and $\alpha_j$ is at the same time what the term $\rho_js_js_j^\top$ needs: it gives $\alpha_js_j$.
# Innermost stands $r_0=K_0q_0$. On the way out, $j=1,\dots,h$,
#
# $$
# r_j=V_j^\top r_{j-1}+\alpha_js_j=r_{j-1}-\rho_j(y_j^\top r_{j-1})\,s_j+\alpha_js_j .
# $$
#
# ## Where the recursion starts
#
# With few pairs the start $K_0$ matters. Take $K_0=\gamma I$, with the one number that fits the newest
# pair best: $\min_\gamma\|\gamma y-s\|^2$ has the solution
#
# $$
# \gamma=\frac{s^\top y}{y^\top y}. \tag{7}
# $$
#
# What does it measure? With $y=As$ and $u=A^{1/2}s$ it is $\gamma=u^\top u/u^\top Au$, one over a Rayleigh
# quotient of $A$: it lies between $1/\lambda_{\max}$ and $1/\lambda_{\min}$. So the step $-\gamma g$ has the
# right order of magnitude, whatever the units of $J$ and $x$, and a step length of 1 is worth trying
# first. The whole, in five lines of mathematics:
#
# $$
# \begin{aligned}
# &q\leftarrow g\\
# &\text{for }j=h,\dots,1:\quad\alpha_j=\rho_js_j^\top q,\quad q\leftarrow q-\alpha_jy_j\\
# &q\leftarrow\gamma q\\
# &\text{for }j=1,\dots,h:\quad\beta_j=\rho_jy_j^\top q,\quad q\leftarrow q+(\alpha_j-\beta_j)s_j\\
# &\text{result: }q=K_hg
# \end{aligned} \tag{8}
# $$
#
# The scalars are Python floats, so that float32 vectors stay float32 and $\rho=1/s^\top y$ may be larger than
# float32 can hold. In the code $\gamma=1/(\rho\,y^\top y)$.


# %% tags=["export"]
@np.errstate(over="ignore", invalid="ignore")
def _dot(u, v):
    """The inner product as a Python float; infinity and nan come without a warning."""
    return float(np.dot(u, v))


def two_loop(g: Array, pairs: Sequence[tuple]) -> Array:
    """Multiply a vector by the limited-memory estimate of the inverse Hessian.

    Eq. (8) of notebook 06: the BFGS matrix that the pairs make of the start
    :math:`\\gamma I`, :math:`\\gamma = s^\\top y / y^\\top y` of the newest pair, without ever
    forming a matrix.

    Parameters
    ----------
    g : array (n,)
        The vector, usually a gradient; it is not modified.
    pairs : sequence of (s, y, rho)
        Steps s (n,), differences of gradients y (n,) and rho = 1 / s^T y > 0, oldest first.

    Returns
    -------
    array (n,)
        The product; `g` itself (a copy) if there are no pairs.
    """
    dot, axpy = get_blas_funcs(("dot", "axpy"), (g,))  # axpy(x, q, a=a): q += a x, in place
    q = g.copy()
    alphas = []
    for s, y, rho in reversed(pairs):
        alpha = rho * dot(s, q)
        q = axpy(y, q, a=-alpha)
        alphas.append(alpha)
    if pairs:
        s, y, rho = pairs[-1]
        q *= 1 / (rho * dot(y, y))
    for (s, y, rho), alpha in zip(pairs, reversed(alphas)):
        beta = rho * dot(y, q)
        q = axpy(s, q, a=alpha - beta)
    return q


# %% [markdown]
# The two lines with `axpy` could be `q -= alpha * y` and `q += (alpha - beta) * s`. They would do the same in twice the
# time, as each would write its product to new memory first. The vectors have 80,000 entries, there are two for each pair, and all of them
# are read twice in every iteration: memory is what this function waits for.
#
# Is it the same matrix? Ten pairs in 50 dimensions, against (5) applied ten times to $\gamma I$:

# %%
rng = np.random.default_rng(0)
M = rng.standard_normal((50, 50))
curvature = M @ M.T / 50 + 0.1 * np.eye(50)
pairs = [(s, curvature @ s, 1 / (s @ curvature @ s)) for s in rng.standard_normal((10, 50))]

# %%
s, y, rho = pairs[-1]
gamma = 1 / (rho * (y @ y))
K = gamma * np.eye(50)
for s, y, _ in pairs:
    K = dense_bfgs(K, s, y)
g = rng.standard_normal(50)
print(f"two loops = dense product: {np.allclose(two_loop(g, pairs), K @ g, rtol=1e-10)}")

# %%
low, high = np.linalg.eigvalsh(np.linalg.inv(curvature))[[0, -1]]
print(f"1/lambda_max < gamma < 1/lambda_min: {low:.3f} < {gamma:.3f} < {high:.3f}")
print(f"memory for 20 pairs of n = {n:,} in float32: {2 * 20 * n * 4 / 1e6:.0f} MB")

# %% [markdown]
# $4hn$ multiplications instead of $n^2$, and 14 MB instead of 61 GB.
#
# ## How far to go
#
# The direction $p=-K_hg$ leads downhill. How far? Along it, $J$ is a function of one number,
#
# $$
# \varphi(\alpha)=J(x+\alpha p),\qquad\varphi'(\alpha)=\nabla J(x+\alpha p)^\top p,\qquad\varphi'(0)=g^\top p<0. \tag{9}
# $$
#
# Its exact minimum is not worth the evaluations. Two conditions say what is good enough, with
# $0<c_1<c_2<1$. The first (Armijo) asks for a fair share of the decrease that the slope promises;
# without it, steps could be too long to gain anything:
#
# $$
# \varphi(\alpha)\le\varphi(0)+c_1\,\alpha\,\varphi'(0). \tag{10}
# $$
#
# The second (strong curvature) asks that the slope has become flatter; without it, steps could be too
# short to get anywhere:
#
# $$
# |\varphi'(\alpha)|\le c_2\,|\varphi'(0)|. \tag{11}
# $$
#
# Together they are the **strong Wolfe conditions**. BDNN's authors, and we, take $c_1=10^{-4}$,
# $c_2=0.9$: lenient, since with a good $K$ the step $\alpha=1$ should nearly always pass. For the
# picture we are stricter.


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
_ = ax.plot(a, f, color="black", linestyle="-", label=r"$\varphi(\alpha)$")
_ = ax.plot(a, line, "--", color="0.4", label=r"$\varphi(0)+c_1\alpha\varphi'(0)$")
chosen = np.where(sets["both"], f, np.nan)
_ = ax.plot(a, chosen, "-", color=COLOURS["blue"], linewidth=5, label="accepted")
for row, (name, holds) in enumerate(sets.items()):
    height = -0.65 - 0.17 * row
    _ = ax.plot(a, np.where(holds, height, np.nan), "-", color=COLOURS["orange"], linewidth=6)
    _ = ax.text(4.65, height, name, va="center")
_ = ax.set(xlabel=r"$\alpha$", xlim=(0, 4.6), ylim=(-1.15, 1.6), title=f"$c_1={c1}$, $c_2={c2}$")
_ = ax.legend(loc="upper center")
save_figure(fig, "06_wolfe")

# %% [markdown]
# The bars below mark where (10), (11) and both hold; the thick parts of the curve are the steps that
# would be accepted. The deepest minimum is not among them: for so long a step the line asks for more.
#
# One consequence holds the method together. If (11) holds, then
#
# $$
# s^\top y=\alpha\,p^\top(g_+-g)=\alpha\big(\varphi'(\alpha)-\varphi'(0)\big)\ge\alpha\,(1-c_2)\,|\varphi'(0)|>0, \tag{12}
# $$
#
# and that is just what (5) needs: **every accepted step keeps $K$ positive definite.** And if $J$ is
# smooth and bounded below, such steps exist. The difference of $\varphi$ and the line in (10) is 0 at
# $\alpha=0$, negative at first (since $c_1<1$), and must come back to 0, because the line falls for ever.
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
    x: np.ndarray  # x + a p
    g: np.ndarray  # the gradient there


# %% [markdown]
# Two trials, at $\alpha_p$ and $\alpha_q$, give two values and two slopes: just enough for a cubic. Where is
# its minimum? **On paper first.** Let $h=\alpha_q-\alpha_p$ and $\tau=(\alpha-\alpha_p)/h$. The slope of
# a cubic is a parabola, and the parabola with the right ends is, with one open number $e$,
#
# $$
# c'(\tau)=d_p(1-\tau)^2-2e\,\tau(1-\tau)+d_q\tau^2 .
# $$
#
# The values fix $e$: $f_q-f_p=h\int_0^1c'(\tau)\,\mathrm d\tau=\tfrac h3(d_p-e+d_q)$, so
# $e=d_p+d_q-3(f_q-f_p)/h$. Multiplied out,
# $c'(\tau)=(d_p+2e+d_q)\tau^2-2(d_p+e)\tau+d_p$, with the roots
#
# $$
# \tau=\frac{d_p+e\pm\sqrt{e^2-d_pd_q}}{d_p+2e+d_q}.
# $$
#
# At a root the derivative of $c'$ with respect to $\tau$ is $\pm2\sqrt{e^2-d_pd_q}$. With respect to
# $\alpha$ this is divided by $h$, and at a minimum it is positive: the sign of the root is the sign of
# $h$. Let $w=\operatorname{sign}(h)\sqrt{e^2-d_pd_q}$. The denominator vanishes where the cubic is
# only a parabola, a common case; counted from the other end, $1-\tau$, the same root has a form that
# does not suffer from this (multiply out to check):
#
# $$
# \alpha^\star=\alpha_q-h\,\frac{d_q+w-e}{d_q-d_p+2w},\qquad
# e=d_p+d_q-3\,\frac{f_q-f_p}{h},\qquad w=\operatorname{sign}(h)\sqrt{e^2-d_pd_q}. \tag{13}
# $$
#
# If $e^2<d_pd_q$, the cubic has no minimum, and we answer nan.


# %% tags=["export"]
def cubic_minimiser(p: Trial, q: Trial) -> float:
    """Return where the cubic through two trials has its minimum, Eq. (13) of notebook 06.

    The cubic takes the values and the slopes of the trials `p` and `q`, which may stand in
    either order; nan if it has no minimum.
    """
    h = q.a - p.a
    e = p.d + q.d - 3 * (q.f - p.f) / h
    discriminant = e * e - p.d * q.d
    if not discriminant >= 0:
        return math.nan
    w = math.copysign(math.sqrt(discriminant), h)
    denominator = q.d - p.d + 2 * w
    return q.a - h * (q.d + w - e) / denominator if denominator else math.nan


# %%
def trials_of(phi, *lengths):
    """Trials of a function of one number."""
    return [Trial(a, *phi(a), np.array([a]), np.array([phi(a)[1]])) for a in lengths]


# %%
cubic = np.polynomial.Polynomial([1.0, -2.0, -1.0, 1.5])
slope = cubic.deriv()
p, q = trials_of(lambda a: (cubic(a), slope(a)), 0.2, 2.0)
found, backwards = cubic_minimiser(p, q), cubic_minimiser(q, p)
print(
    f"minimum at {max(slope.roots()):.6f}; from two trials: {found:.6f}, swapped: {backwards:.6f}"
)
p, q = trials_of(lambda a: ((a - 3) ** 2, 2 * (a - 3)), 0.0, 1.0)
print(f"a parabola with its minimum at 3: {cubic_minimiser(p, q):.6f}")

# %% [markdown]
# ## Bracket, then zoom
#
# The search keeps the trial `low`: the lowest so far among those that fulfil (10), at first $\alpha=0$.
# As soon as it knows, it also keeps `high`, so that an acceptable step lies between the two. Each
# new trial has one of four fates:
#
# | the new trial | what happens |
# | --- | --- |
# | fulfils (10) and (11) | it is the answer |
# | is not finite, or breaks (10), or is no lower than `low` | it becomes `high` |
# | is lower, and falls towards `high` (or `high` is not known, and it falls) | it becomes `low` |
# | is lower, but rises towards `high` (or it just rises) | it becomes `low`, the old `low` becomes `high` |
#
# Why there is always a step between them is exercise 6.1. The next length is the minimiser (13), with
# safeguards against a cubic that misleads: while `high` is unknown, go 2 to 10 times as far; in an
# interval, keep a tenth of its width away from the ends, and halve it if the last trial did not take
# a third of it away. If the function is not finite at `high` there is no cubic, and the domain may
# end anywhere in between: go back to a tenth.


# %% tags=["export"]
def _longer(previous, low):
    """The next step while nothing bounds it from above: 2 to 10 times the last one."""
    a = cubic_minimiser(previous, low)
    return min(max(a, 2 * low.a), 10 * low.a) if a > low.a else 10 * low.a


def _between(low, high, halve):
    """The next step inside an interval: the cubic's minimiser, kept off the ends."""
    width = high.a - low.a
    if not math.isfinite(high.f + high.d):
        return low.a + 0.1 * width
    a = cubic_minimiser(low, high)
    if halve or math.isnan(a):
        a = low.a + 0.5 * width
    return low.a + min(max((a - low.a) / width, 0.1), 0.9) * width


# %% tags=["export"]
MAX_TRIALS = 25


def strong_wolfe(
    phi: Callable[[float], Trial],
    start: Trial,
    a: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_trials: int = MAX_TRIALS,
) -> Trial | None:
    """Find a step that fulfils the strong Wolfe conditions, Eqs. (10) and (11) of notebook 06.

    Parameters
    ----------
    phi : callable
        Step length to :class:`Trial`. Values that are not finite are taken as too high.
    start : Trial
        The step of length 0; its slope must be negative.
    a : float
        The first length to try.
    c1, c2 : float
        How much of the decrease that the slope promises must come, and what share of the slope
        may be left; 0 < c1 < c2 < 1.
    max_trials : int
        The most evaluations of `phi`.

    Returns
    -------
    Trial or None
        None if `max_trials` found no such step, or if the decrease that the slope promises is
        smaller than the rounding error of the function's values.
    """
    eps = float(np.finfo(start.x.dtype).eps)
    previous, low, high, width = start, start, None, math.inf
    for _ in range(max_trials):
        trial = phi(a)
        enough = math.isfinite(trial.d) and start.f + c1 * a * start.d >= trial.f > -math.inf
        if enough and abs(trial.d) <= -c2 * start.d:
            return trial
        if not enough or (trial.f >= low.f and low is not start):
            high = trial
        else:
            ahead = 1.0 if high is None else high.a - low.a
            if trial.d * ahead >= 0:
                high = low
            previous, low = low, trial
        if high is None:
            a = _longer(previous, low)
            continue
        before, width = width, abs(high.a - low.a)
        if width <= eps * a or (low is start and width * abs(low.d) <= eps * abs(low.f)):
            return None
        a = _between(low, high, width > 2 / 3 * before)
    return None


# %% [markdown]
# Two ways out deserve a word. At the limit of precision, (10) compares numbers that differ by less
# than their rounding errors; if even the first interval promises less than that, more trials are
# noise, and the search says None. So it does after `MAX_TRIALS` trials.
#
# Does it find its step from everywhere? Three functions that are known to be hard: one with a flat
# far side, one whose slope at 0 is millions of times smaller than elsewhere, and our waves. The first
# trial is a thousandth to a thousand times as long as it should be.


# %%
def far(a):
    return -a / (a * a + 2), (a * a - 2) / (a * a + 2) ** 2


def steep(a, b=0.004):
    return (a + b) ** 5 - 2 * (a + b) ** 4, 5 * (a + b) ** 4 - 8 * (a + b) ** 3


# %%
def search(phi, first, c1=1e-4, c2=0.9):
    """The trials of a search; the last one is accepted."""
    trials = []

    def logged(a):
        trials.extend(trials_of(phi, a))
        return trials[-1]

    (start,) = trials_of(phi, 0.0)
    assert strong_wolfe(logged, start, first, c1, c2) is trials[-1]
    assert trials[-1].f <= start.f + c1 * trials[-1].a * start.d
    assert abs(trials[-1].d) <= c2 * abs(start.d)
    return trials


# %% tags=["nbval-ignore-output"]
for phi, c2 in ((far, 0.9), (far, 0.1), (steep, 0.9), (waves, 0.9), (waves, 0.1)):
    lengths = [search(phi, first, c2=c2) for first in (1e-3, 1e-1, 1e1, 1e3)]
    counts = ", ".join(f"{len(trials)}" for trials in lengths)
    print(f"{phi.__name__}, c2 = {c2}: {counts} trials from 0.001, 0.1, 10, 1000")
    assert max(map(len, lengths)) <= 20

# %%
fig, axes = plt.subplots(1, 2, figsize=(9, 3.4))
for ax, first in zip(axes, (0.03, 4.5)):
    trials = search(waves, first, c2=0.2)
    a = np.linspace(-0.05, max(t.a for t in trials) + 0.15, 400)
    _ = ax.plot(a, waves(a)[0], "-", color="0.6")
    _ = ax.plot([t.a for t in trials], [t.f for t in trials], "o", color=COLOURS["blue"])
    _ = ax.plot(trials[-1].a, trials[-1].f, "s", color=COLOURS["vermillion"], markersize=9)
    for k, t in enumerate(trials, start=1):
        _ = ax.annotate(f"{k}", (t.a, t.f), (0, 9), textcoords="offset points", ha="center")
    _ = ax.set(
        title=f"first trial {first}, $c_2=0.2$", xlabel=r"$\alpha$", ylabel=r"$\varphi(\alpha)$"
    )
    ax.margins(y=0.15)
save_figure(fig, "06_search")

# %% [markdown]
# The numbers give the order of the trials, the square is the accepted one. Left: each trial says
# "further", until the slope is flat enough. Right: the first trial is far too high, and the cubics
# lead back into a valley, which need not be the nearest.
#
# ## The parts around it
#
# The objective is wrapped once: its evaluations are counted, and its gradient is **copied**, because
# many objectives fill the same buffer at every call, and $y=g_+-g$ would then be zero. `along` makes
# $\varphi$ of (9).


# %% tags=["export"]
class _Counted:
    """The objective with its evaluations counted and its answers checked and copied."""

    def __init__(self, fun, dtype):
        self.fun, self.dtype, self.calls = fun, dtype, 0

    def __call__(self, x):
        self.calls += 1
        f, g = self.fun(x)
        g = np.array(g, dtype=self.dtype)  # a copy: fun may fill the same buffer every time
        if g.shape != x.shape:
            raise ValueError(f"the gradient has shape {g.shape}, x0 has shape {x.shape}")
        return float(f), g

    def along(self, x, p):
        """The function phi of a line search from x along p."""

        def phi(a):
            with np.errstate(over="ignore", invalid="ignore"):
                xa = x + x.dtype.type(a) * p
            f, g = self(xa)
            return Trial(a, f, _dot(g, p), xa, g)

        return phi


def _direction(g, pairs):
    """The direction and the slope along it; without a usable one, forget the pairs: -g."""
    p = -two_loop(g, pairs)
    slope = _dot(g, p)
    if -math.inf < slope < 0:
        return p, slope
    pairs.clear()
    return -g, -_dot(g, g)


def _remember(pairs, s, y):
    """Append the pair unless rounding has eaten its curvature s^T y."""
    sy, rounding = _dot(s, y), float(np.finfo(s.dtype).eps)
    if sy > rounding * math.sqrt(_dot(s, s) * _dot(y, y)) > 0:
        pairs.append((s, y, 1 / sy))


def _report(x, f, g, nit, calls, pairs):
    """What is known after a step."""
    counts = {"nit": nit, "nfev": calls, "njev": calls}
    return OptimizeResult(x=x, fun=f, jac=g, pairs=list(pairs), **counts)


def _asks_to_stop(callback, report):
    """Call the callback; True if it raises StopIteration."""
    try:
        callback(report)
    except StopIteration:
        return True
    return False


# %% [markdown]
# Three safeguards stand in these lines. A direction that rounding has spoilt (its slope is not
# negative, or not finite) is replaced by $-g$, and the pairs that led to it are forgotten. A pair is
# remembered only if its curvature $s^\top y$ is more than rounding error: (12) promises that in exact
# arithmetic only. And inner products that overflow do so silently, since what follows is prepared for
# infinity.
#
# ## When to stop
#
# The run ends, in this order, when
#
# | status | rule | success |
# | --- | --- | --- |
# | 0 | no entry of the gradient is larger than `gtol` | yes |
# | 1 | the last step decreased $J$ by at most `ftol` $\cdot\max(\lvert J\rvert,\lvert J_+\rvert,1)$ | yes |
# | 2 | `max_iter` steps were made | no |
# | 3 | `max_evaluations` evaluations were made | no |
# | 4 | the line search failed, even along $-g$ | no |
# | 5 | the callback raised `StopIteration` | no |
#
# Status 4 is no defect of the program: it is what the end of float precision looks like, and also an
# unbounded function or a wrong gradient. In every case the result is the last accepted point, which is
# the lowest, since (10) never lets $J$ rise.

# %% tags=["export"]
MESSAGES = (
    "the largest entry of the gradient is at most gtol",
    "the relative decrease of the last step is at most ftol",
    "max_iter steps were made",
    "max_evaluations evaluations were made",
    "no step along -g fulfils the strong Wolfe conditions: limit of precision, or no minimum",
    "the callback asked to stop",
)


def _begin(fun, x0):
    """The counted objective, a copy of x0 (float32 or float64), value and gradient there."""
    x0 = np.atleast_1d(x0)
    if x0.ndim != 1 or x0.size == 0 or not np.can_cast(x0.dtype, np.float64, "same_kind"):
        raise ValueError(f"x0 must be a vector of real numbers, got {x0.dtype} of {x0.shape}")
    x = np.array(x0, dtype=np.float32 if x0.dtype == np.float32 else np.float64)
    evaluate = _Counted(fun, x.dtype)
    f, g = evaluate(x)
    if not (math.isfinite(f) and np.isfinite(g).all()):
        raise ValueError("the value or the gradient at x0 is not finite")
    return evaluate, x, f, g


def _check_options(max_iter, history, max_evaluations, gtol, ftol, c1, c2):
    """Raise a ValueError that names the first option out of its range."""
    rules = {
        f"max_iter={max_iter} must be at least 0": max_iter >= 0,
        f"history={history} must be at least 1": history >= 1,
        f"max_evaluations={max_evaluations} must be at least 1": max_evaluations >= 1,
        f"gtol={gtol} must not be negative": gtol >= 0,
        f"ftol={ftol} must not be negative": ftol >= 0,
        f"c1={c1}, c2={c2} must fulfil 0 < c1 < c2 < 1": 0 < c1 < c2 < 1,
    }
    for message, holds in rules.items():
        if not holds:
            raise ValueError(message)


# %% [markdown]
# ## The whole method
#
# Everything is there. One question is left: the first step. Without pairs $K=I$, and $-g$ has the
# wrong length in general. We take BDNN's authors' choice, $\min(1,1/\|g\|_1)$, which moves no
# variable by more than 1; the search then lengthens it.


# %% tags=["export"]
def minimize(
    fun: Objective,
    x0: Array,
    *,
    max_iter: int = 400,
    history: int = 20,
    max_evaluations: int | None = None,
    gtol: float = 1e-5,
    ftol: float = 1e-9,
    c1: float = 1e-4,
    c2: float = 0.9,
    callback: Callable[[OptimizeResult], object] | None = None,
    pairs: Sequence[tuple] = (),
) -> OptimizeResult:
    """Minimise a smooth function by L-BFGS.

    Notebook 06 derives every part. BDNN trains its weights this way (Do et al., 2016; slide
    "Optimization").

    Parameters
    ----------
    fun : callable
        x (n,) to (value, gradient (n,)). It must not modify x; it may reuse the gradient's
        memory. Outside the function's domain it may return NaN or infinity.
    x0 : array (n,)
        The start, not modified. float32 stays float32, everything else becomes float64.
    max_iter : int
        The most steps.
    history : int
        The number of pairs (s, y) kept: 2 * history vectors of memory.
    max_evaluations : int or None
        The most evaluations of `fun`, those within a line search included.
    gtol : float
        Stop when no entry of the gradient is larger in magnitude.
    ftol : float
        Stop when a step from J to J' has `(J - J') / max(|J|, |J'|, 1) <= ftol`.
    c1, c2 : float
        Constants of the strong Wolfe conditions, which every accepted step fulfils.
    callback : callable, optional
        Called after every step with a result that holds x, fun, jac, nit, nfev, pairs and is not to
        be modified; it may raise StopIteration to end the run.
    pairs : sequence of (s, y, rho), optional
        The memory to begin with. With x and pairs of an earlier run, taken in its callback, the
        steps are those that it made next.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, fun, jac (the gradient) of the last accepted step, which is the best one; nit steps,
        nfev = njev evaluations; pairs, the memory; status (an index of `MESSAGES`), message,
        success (True for status 0 and 1: converged).

    Raises
    ------
    ValueError
        If x0 or an option is out of range, if the gradient has another shape than x0, or if the
        value or the gradient at x0 is not finite.
    """
    limit = math.inf if max_evaluations is None else max_evaluations
    _check_options(max_iter, history, limit, gtol, ftol, c1, c2)
    evaluate, x, f, g = _begin(fun, x0)
    pairs, nit, decrease, status = deque(pairs, maxlen=history), 0, math.inf, None
    while status is None:
        calls = evaluate.calls
        rules = np.max(np.abs(g)) <= gtol, decrease <= ftol, nit >= max_iter, calls >= limit
        if any(rules):
            status = rules.index(True)
            break
        p, slope = _direction(g, pairs)
        a = 1.0 if pairs else min(1.0, 1 / float(np.sum(np.abs(g))))
        start, trials = Trial(0.0, f, slope, x, g), min(MAX_TRIALS, limit - calls)
        new = strong_wolfe(evaluate.along(x, p), start, a, c1, c2, trials)
        if new is None:  # forget the pairs; steepest descent has failed if there are none
            status = 4 if not pairs and evaluate.calls < limit else None
            pairs.clear()
            continue
        _remember(pairs, new.x - x, new.g - g)
        decrease = (f - new.f) / max(abs(f), abs(new.f), 1.0)
        x, f, g, nit = new.x, new.f, new.g, nit + 1
        if callback and _asks_to_stop(callback, _report(x, f, g, nit, evaluate.calls, pairs)):
            status = 5
    result = _report(x, f, g, nit, evaluate.calls, pairs)
    result.update(status=status, message=MESSAGES[status], success=status < 2)
    return result


# %% [markdown]
# A first run: Rosenbrock's function, a curved valley with its minimum at $(1,\dots,1)$. The callback
# sees every accepted step, and we check all of them against (10) and (11), recomputed with $s$ in
# place of $\alpha p$.


# %%
def rosenbrock(x):
    return rosen(x), rosen_der(x)


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
    evaluate = _Counted(fun, x.dtype)
    f, g = evaluate(x)
    a, steps = min(1.0, 1 / np.abs(g).sum()), [(x, f, g, 1)]
    while evaluate.calls < evaluations:
        start = Trial(0.0, f, -_dot(g, g), x, g)
        new = strong_wolfe(evaluate.along(x, -g), start, a)
        if new is None:
            break
        a, x, f, g = 2 * new.a, new.x, new.f, new.g
        steps.append((x, f, g, evaluate.calls))
    return steps


# %%
down = steepest_descent(rosenbrock, np.array([-1.2, 1.0]), evaluations=result.nfev)
assert result.fun < 1e-9 and down[-1][1] > 1
fig, ax = plt.subplots(figsize=(7, 3.8))
grid = np.meshgrid(np.linspace(-1.6, 1.3, 150), np.linspace(-0.5, 1.6, 150))
levels = np.geomspace(0.05, 500, 14)
_ = ax.contour(*grid, rosen(np.stack(grid)), levels, colors="0.8", linewidths=0.8)
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
# ## NaN and infinity on the way
#
# Objectives have edges: logarithms, overflow, a user's own bounds. Take
# $J(x)=\sum_i\big(tx_i-\log(1-x_i^2)\big)$ with $t=100$. It is not defined beyond $|x_i|=1$, and its minimum,
# at $x_i=(1-\sqrt{1+t^2})/t=-0.990$, lies close to that edge:


# %%
def barrier(x, t=100):
    with np.errstate(invalid="ignore"):
        values.append(t * x.sum() - np.log(1 - x * x).sum())
    return values[-1], t + 2 * x / (1 - x * x)


# %%
values = []
result = minimize(barrier, np.array([0.0, 0.5, 0.9]), gtol=1e-6, ftol=0)
print(f"NaN met: {np.isnan(values).any()}; {result.message}")
print(f"at the minimum: {np.allclose(result.x, (1 - np.sqrt(1 + 100**2)) / 100)}")

# %% [markdown]
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
    starts = rng.uniform(-2, 2, (5, n_small))
    runs["Rosenbrock", n_small, ""] = [versus_scipy(rosenbrock, x0) for x0 in starts]

# %% [markdown]
# The medians over five runs each (the last digits of the counts depend on the machine's rounding):

# %% tags=["nbval-ignore-output"]
print("function      n  condition   ours  SciPy  ratio")
for (name, n_small, condition), results in runs.items():
    ours, peer, _ = np.median(results, axis=0)
    print(f"{name:10} {n_small:4} {condition:10} {ours:6.0f} {peer:6.0f} {ours / peer:6.2f}")

# %%
ours, peer, excess = np.concatenate(list(runs.values())).T
assert np.median(ours / peer) <= 1.2
print(f"median ratio of evaluations over {len(ours)} runs: {np.median(ours / peer):.1f}")
print(f"no higher than SciPy's minimum in at least 95 % of them: {(excess < 1e-5).mean() > 0.95}")

# %% [markdown]
# The same minima, with the same number of evaluations. (On Rosenbrock's function from dimension 4 there is a
# second minimum; which one a run ends in is chance, for both programs.)
#
# ## The network
#
# Now the encoder of notebooks 04 and 05: the terms of BDNN's $J$ that contain the encoder's weights, for
# given codes. As codes we take the signs of a random projection; notebook 08 will do better.


# %%
def encoder(X, B, sizes, lambdas=(1e-5, 5e-2, 1e-2, 1e-6)):
    """The function theta -> (J, gradient) of the encoder for codes B."""
    lambda1, *others = lambdas

    def J(theta):
        Ws, cs = unflatten(theta, sizes)
        Hs = forward(Ws, cs, X)
        decay, dWs = losses.weight_decay(Ws)
        terms = losses.equality(Hs[-1], B), losses.independence(Hs[-1]), losses.balance(Hs[-1])
        value = lambda1 * decay + sum(lam * term for lam, (term, _) in zip(others, terms))
        gradients, dcs = backward(Ws, Hs, sum(lam * dH for lam, (_, dH) in zip(others, terms)))
        return value, flatten([G + lambda1 * dW for G, dW in zip(gradients, dWs)], dcs)

    return J


# %%
def random_codes(X, L, rng):
    projection = rng.standard_normal((L, len(X))) @ (X - X.mean(axis=1, keepdims=True))
    return sgn(projection).astype(X.dtype)


# %%
rng, small = np.random.default_rng(0), (64, 40, 20, 8)
X = load("digits").train[:500].T.astype(np.float64) / 16
B = random_codes(X, 8, rng)
J = encoder(X, B, small)
theta0 = flatten(*initial_weights(X, small, rng))
print(f"{X.shape[1]} digits, layers {small}: {theta0.size:,} variables, J = {J(theta0)[0]:.4f}")

# %% [markdown]
# How many pairs are worth keeping? Each curve below shows $J$ against the number of evaluations.

# %%
curves = {f"L-BFGS, history {h}": [] for h in (1, 5, 20, 100)}
for name, curve in curves.items():
    steps, _ = steps_of(J, theta0, history=int(name.split()[-1]), max_iter=300)
    curve += [(calls, f) for _, f, _, calls in steps]
curves["steepest descent"] = [(calls, f) for _, f, _, calls in steepest_descent(J, theta0, 300)]
ends = [curve[-1][1] for curve in curves.values()]
assert ends[2] < ends[1] < ends[0] < ends[4] and ends[3] < ends[1]

# %%
fig, ax = plt.subplots(figsize=(7.5, 3.8))
for (name, curve), line in zip(curves.items(), (":", "-.", "-", "--", (0, (1, 3)))):
    _ = ax.plot(*np.array(curve).T, linestyle=line, label=name)
_ = ax.set(xlabel="evaluations of $J$ and its gradient", ylabel="$J$", yscale="log", xlim=(0, 320))
_ = ax.legend(loc="upper right")
save_figure(fig, "06_history")

# %% [markdown]
# Already one pair is far better than the gradient alone, and more pairs help further: on this
# function, with its long flat valleys, even from 20 to 100. On easier ones there is nothing left to gain.
# Our default of 20 is a compromise for memory and time; the authors keep 100, and where $J$ matters more
# than the minutes, so should you.
#
# A network's $J$ has many minima, and two programs need not end in the same one. Near a given one they
# must. We let SciPy find one, move away from it, and let both return:

# %%
J_firm = encoder(X, B, small, lambdas=(1e-3, 5e-2, 1e-2, 1e-6))
options = dict(maxcor=20, gtol=1e-5, ftol=0, maxiter=5000, maxfun=10_000)
settings = dict(jac=True, method="L-BFGS-B", options=options)
peer = scipy.optimize.minimize(J_firm, theta0, **settings)
near = peer.x + 0.02 * rng.standard_normal(theta0.size)

# %%
peer = scipy.optimize.minimize(J_firm, near, **settings)
ours = minimize(J_firm, near, history=20, gtol=1e-5, ftol=0, max_iter=5000)
away, apart = J_firm(near)[0] / peer.fun - 1, abs(ours.fun / peer.fun - 1)
print(f"moved away: J higher by more than 0.1 %: {away > 1e-3}")
print(f"back: J of ours and of SciPy apart by less than 0.01 %: {apart < 1e-4}")

# %% [markdown]
# (We used $\lambda_1=10^{-3}$ here, a hundred times the paper's: with the smaller one the valley around a
# minimum is so flat that thousands of steps are needed to agree on four digits.)
#
# ## Four hundred gradients
#
# At last the question of the title, with the real sizes: 1,000 MNIST digits, 16 bits, float32, 400
# iterations.

# %%
X = load("mnist5k").train[:1000].T / np.float32(255)
B = random_codes(X, L, rng)
J = encoder(X, B, sizes)
theta0 = flatten(*initial_weights(X, sizes, rng))

# %%
began = time.perf_counter()
result = minimize(J, theta0, max_iter=400)
seconds = time.perf_counter() - began
outputs = [forward(*unflatten(theta, sizes), X)[-1] for theta in (theta0, result.x)]
before, after = ((sgn(H) == B).mean() for H in outputs)
assert result.x.dtype == np.float32 and result.nfev <= 1.1 * result.nit + 10
assert before < 0.6 and after > 0.95

# %% tags=["nbval-ignore-output"]
print(f"{theta0.size:,} variables: J from {J(theta0)[0]:.3f} to {result.fun:.4f}", end=" ")
print(f"in {result.nit} steps and {result.nfev} evaluations, {seconds:.1f} s")
print(f"bits with sgn(H) = B: {before:.1%} at the start, {after:.1%} at the end")

# %% [markdown]
# About one evaluation per step: the trial $\alpha=1$ nearly always passes, which is what $\gamma$ and the
# pairs are for. And what does the method itself cost beside the evaluations? Two loops over 20 and over
# 100 pairs:

# %% tags=["nbval-ignore-output"]
vectors = rng.standard_normal((100, n)).astype(np.float32)
pairs = [(v, v, 1 / float(v @ v)) for v in vectors]
for h in (20, 100):
    began = time.perf_counter()
    for _ in range(10):
        _ = two_loop(vectors[0], pairs[:h])
    print(f"history {h}: {100 * (time.perf_counter() - began):.1f} ms per direction")

# %% [markdown]
# That is memory traffic, $4hn$ numbers read once. A list of pairs is also the fast form: a ring
# buffer of rows moves the same bytes.
#
# ## Departures
#
# **Departure:** from the authors' settings. They run minFunc with 100 corrections, at most 1,000
# evaluations and 400 iterations, tolerances $10^{-5}$ and $10^{-9}$, $c_1=10^{-4}$, $c_2=0.9$, and the
# first step $\min(1,1/\|g\|_1)$. We keep all of these except two: the history is 20 by default (the
# figure above shows what the other 80 may be worth), and the number of evaluations is not limited
# unless you ask. Our $10^{-9}$ is the relative decrease in the rule of status 1.
#
# **Departure:** from the textbook algorithms for the two-loop recursion and for a line search that
# brackets and zooms. Steps that are not finite count as too high. A trial that fulfils both conditions is
# accepted even if rounding makes it no lower than `low`. The cubic is kept away from the ends, and a
# slow interval is halved. A pair whose curvature is lost in rounding is skipped. A search that fails
# is repeated once along $-g$, without pairs. An interval that promises less than rounding error ends
# the search.
#
# ## What we have now
#
# `bdnn.lbfgs`: `minimize`, and the parts that you may want on their own: `two_loop`, `strong_wolfe`,
# `cubic_minimiser`, `Trial`, `MESSAGES`. Notebook 08 trains the encoder of UH-BDNN with `minimize`.
#
# ## Exercises
#
# **6.1** (paper) Show that between `low` and `high` there is always a step that fulfils (10) and (11),
# when `high` is finite. Treat `high` to the right and to the left of `low` apart.
#
# <details><summary>Hint</summary>To the right: minimise
# $\psi(\alpha)=\varphi(\alpha)-\varphi(0)-c_1\alpha\varphi'(0)$ over the interval. To the left: minimise
# $\varphi$ itself. In both cases show first that the function is not lower at `high` than at `low`, and
# that it falls from `low` into the interval.</details>
#
# **6.2** (paper) Other units: let $\hat x=Tx$ with an invertible $T$ and
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
# <details><summary>Hint</summary>`dense_bfgs` of this notebook is three lines; the exact step is
# $-g^\top p/p^\top Ap$.</details>
#
# **6.5** (code) What is $\gamma$ worth? Run `minimize` on a quadratic with eigenvalues from 1 to $10^4$
# once as it is and once with $\gamma=1$, and compare evaluations per step.
#
# <details><summary>Hint</summary>Write `two_loop` without its middle line and put it in place of
# `bdnn.lbfgs.two_loop` with `unittest.mock.patch`.</details>
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
