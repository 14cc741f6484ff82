# %% [markdown]
# # Solutions to notebook 06: L-BFGS

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
from functools import partial
from unittest.mock import patch

import numpy as np

import bdnn.lbfgs
from bdnn.data import load
from bdnn.itq import ITQ
from bdnn.lbfgs import minimize, two_loop
from bdnn.network import flatten
from bdnn.uh_bdnn import encoder_objective

# %% [markdown]
# ## 6.1 Between `low` and `high` there is always a step
#
# Write $a_l,a_h$ for the two lengths, $\varphi_0=\varphi(0)$, $\varphi_0'=\varphi'(0)<0$, and
# $\psi(a)=\varphi(a)-\varphi_0-c_1a\varphi_0'$. Condition (10) is $\psi\le0$; `low`
# fulfils it, so $\psi(a_l)\le0$. By the rules of the search $\varphi$ falls at `low` towards `high`.
#
# **`high` to the right,** $a_h>a_l$. Then $\varphi'(a_l)<0$, and since `low` was not accepted,
# $\varphi'(a_l)<-c_2|\varphi_0'|$, so that
# $\psi'(a_l)=\varphi'(a_l)+c_1|\varphi_0'|<(c_1-c_2)|\varphi_0'|<0$: $\psi$ falls at `low` into the
# interval. (If `low` is the start, $\psi'(0)=(1-c_1)\varphi_0'<0$.) Next, $\psi(a_h)\ge\psi(a_l)$. For either `high`
# breaks (10), and $\psi(a_h)>0\ge\psi(a_l)$; or $\varphi(a_h)\ge\varphi(a_l)$, which also holds if `high`
# is an old `low`, and
# $\psi(a_h)-\psi(a_l)=\varphi(a_h)-\varphi(a_l)+c_1(a_h-a_l)|\varphi_0'|>0$. So the minimum of $\psi$
# on the interval lies at an inner point $a^*$. There $\psi(a^*)<\psi(a_l)\le0$, which is (10), and
# $\psi'(a^*)=0$, that is $|\varphi'(a^*)|=c_1|\varphi_0'|<c_2|\varphi_0'|$, which is (11).
#
# **`high` to the left,** $a_h<a_l$. Then $\varphi'(a_l)>0$. And $\varphi(a_h)\ge\varphi(a_l)$: by the rule,
# or, if `high` breaks (10), since
# $\varphi(a_h)>\varphi_0+c_1a_h\varphi_0'\ge\varphi_0+c_1a_l\varphi_0'\ge\varphi(a_l)$. So the minimum of $\varphi$
# on the interval lies at an inner point $a^*$ with $\varphi'(a^*)=0$, which gives (11). It also gives (10):
# $\varphi(a^*)\le\varphi(a_l)\le\varphi_0+c_1a_l\varphi_0'\le\varphi_0+c_1a^*\varphi_0'$, because $a^*<a_l$.
#
# ## 6.2 Other units
#
# From $\hat J(\hat x)=J(T^{-1}\hat x)$: $\hat g=T^{-\top}g$, $\hat s=Ts$, $\hat y=T^{-\top}y$ and
# $\hat s^\top\hat y=s^\top y$. If $\hat K=TKT^\top$, the step is
# $-\hat K\hat g=-TKT^\top T^{-\top}g=T(-Kg)$: the same step in the new coordinates, with the same $\varphi$
# along it, hence the same $a$. And
#
# $$
# \hat E=I-\frac{\hat y\hat s^\top}{\hat s^\top\hat y}=I-\frac{T^{-\top}ys^\top T^\top}{s^\top y}=T^{-\top}ET^\top,\qquad
# \hat E^\top\hat K\hat E+\frac{\hat s\hat s^\top}{\hat s^\top\hat y}=T\Big(E^\top KE+\frac{ss^\top}{s^\top y}\Big)T^\top,
# $$
#
# so (5) keeps the relation. For $K_0=\gamma I$ it asks for $\hat\gamma I=\gamma TT^\top$: $T$ must be a multiple $tQ$ of
# an orthogonal matrix, with $\hat\gamma=t^2\gamma$, and (7) gives just that. So L-BFGS does not care about
# the unit in which all variables are measured together, but it does about units of single variables:
# scaling the columns of the data still matters. We check $t=1000$. The first step is not scaled by
# $\gamma$, so we compare from the same point with the same pairs:

# %%
rng = np.random.default_rng(0)
A = np.diag(np.geomspace(1, 100, 8))
pairs = [(s, A @ s) for s in rng.standard_normal((5, 8))]
g = rng.standard_normal(8)
for name, T in (("t = 1000", 1000 * np.eye(8)), ("single units", np.diag(np.arange(1.0, 9)))):
    other = [(T @ s, np.linalg.solve(T.T, y)) for s, y in pairs]
    step, same = two_loop(np.linalg.solve(T.T, g), other), T @ two_loop(g, pairs)
    difference = np.linalg.norm(step - same) / np.linalg.norm(same)
    print(f"{name}: the steps differ by {100 * difference:.1f} %")

# %% [markdown]
# ## 6.3 History 1 after an exact step
#
# $\alpha_1=s^\top g/s^\top y=0$, so $q$ stays $g$, then $q=\gamma g$, and with the second loop
#
# $$
# p=-K_1g=-\gamma\Big(g-\frac{y^\top g}{s^\top y}s\Big)=\gamma\Big(-g+\frac{g^\top y}{s^\top y}s\Big).
# $$
#
# Up to the positive factor $\gamma$, which an exact line search does not notice, this is the method of
# conjugate gradients in the form of Hestenes and Stiefel. L-BFGS with one pair is a conjugate gradient
# method that also survives inexact steps; with more pairs it remembers more than that method can.

# %%
s = rng.standard_normal(8)
y = A @ s
g = rng.standard_normal(8)
g -= (g @ s) / (s @ s) * s  # as after an exact step
conjugate = -g + (g @ y) / (s @ y) * s
p = -two_loop(g, [(s, y)])
ratios = p / conjugate
print(f"p over the conjugate direction: {ratios.min():.6f} to {ratios.max():.6f}", end="; ")
print(f"gamma: {(s @ y) / (y @ y):.6f}")

# %% [markdown]
# ## 6.4 Ten steps for ten dimensions
#
# With exact steps each $K$ keeps all earlier secant conditions ($Ky_i=s_i$), the steps come out
# conjugate, and ten conjugate directions exhaust ten dimensions.

# %%
M = rng.standard_normal((10, 10))
A, b = M @ M.T + np.eye(10), rng.standard_normal(10)
x, K, S = np.zeros(10), np.eye(10), []
for _ in range(10):
    g = A @ x - b
    p = -K @ g
    s = -(g @ p) / (p @ A @ p) * p
    E = np.eye(10) - np.outer(A @ s, s) / (s @ A @ s)
    x, K = x + s, E.T @ K @ E + np.outer(s, s) / (s @ A @ s)
    S.append(s / np.sqrt(s @ A @ s))

# %% tags=["nbval-ignore-output"]
conjugacy = np.abs(np.array(S) @ A @ np.array(S).T - np.eye(10)).max()
gradient, error = np.abs(A @ x - b).max(), np.abs(K @ A - np.eye(10)).max()
assert max(gradient, conjugacy, error) < 1e-4
print(f"largest entry of the gradient after 10 steps: {gradient:.0e}")
print(f"largest s_i^T A s_j of two different steps: {conjugacy:.0e}")
print(f"K A is the identity up to {error:.0e}")

# %% [markdown]
# ## 6.5 What $\gamma$ is worth
#
# Only the middle line of the recursion changes.


# %%
def two_loop_without_scaling(g, pairs):
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    for (s, y), alpha in zip(pairs, reversed(alphas)):
        q += (alpha - y @ q / (s @ y)) * s
    return q


# %%
Q, _ = np.linalg.qr(rng.standard_normal((50, 50)))
A, b = (Q * np.geomspace(1, 1e4, 50)) @ Q.T, rng.standard_normal(50)
options = dict(gtol=1e-4, ftol=0, max_iter=5000)


def valley(x):
    return x @ A @ x / 2 - b @ x, A @ x - b


scaled = minimize(valley, np.ones(50), **options)
with patch.object(bdnn.lbfgs, "two_loop", two_loop_without_scaling):
    plain = minimize(valley, np.ones(50), **options)


# %% tags=["nbval-ignore-output"]
for name, run in (("with gamma", scaled), ("without", plain)):
    print(f"{name:10}: {run.nit} steps, {run.nfev} evaluations, {run.nfev / run.nit:.1f} per step")

# %%
assert plain.nfev / plain.nit > 1.5 > scaled.nfev / scaled.nit and plain.nfev > scaled.nfev
print("without gamma more than 1.5 evaluations per step, and more in all")

# %% [markdown]
# Without $\gamma$ the step along the directions that no pair has measured is $g$ itself, up to $10^4$
# times too long here; the line search repairs it at the price of more trials, in every iteration.
#
# ## 6.6 Throw the pair away
#
# One `if` more than `first_lbfgs`. The network and the starts are those of the notebook.

# %%
rows = load("digits").train[:500] / 16
X, B = rows.T, ITQ(8, dtype="float64").fit(rows).codes_.T.astype(float)
sizes = (64, 40, 20, 8)
J = partial(encoder_objective, X=X, B=B, sizes=sizes, lambdas=(1e-5, 5e-2, 1e-2, 1e-6))


def random_weights(seed):
    rng = np.random.default_rng(seed)
    Ws = [0.1 * rng.standard_normal((b, a)) / np.sqrt(a) for a, b in zip(sizes, sizes[1:])]
    return flatten(Ws, [np.zeros((units, 1)) for units in sizes[1:]])


# %%
def skipping_lbfgs(fun, x, max_iter, r=20):
    (f, g), pairs, evaluations = fun(x), [], 1
    for _ in range(max_iter):
        p = -two_loop(g, pairs)
        a = 1.0 if pairs else min(1.0, 1 / np.abs(g).sum())
        while True:
            new = fun(x + a * p)
            evaluations += 1
            if new[0] <= f + 1e-4 * a * (g @ p):
                break
            a /= 2
        s, y = a * p, new[1] - g
        if s @ y > 0:
            pairs = [*pairs, (s, y)][-r:]
        x, (f, g) = x + s, new
    return f, evaluations


# %% tags=["nbval-ignore-output"]
starts = [random_weights(seed) for seed in range(10)]
skipping = [skipping_lbfgs(J, theta, 100) for theta in starts]
wolfe = [minimize(J, theta, max_iter=100, gtol=0, ftol=0) for theta in starts]
print("skipping:", " ".join(f"{f:.3f}" for f, _ in skipping), "in", sum(n for _, n in skipping))
print(
    "Wolfe:   ", " ".join(f"{run.fun:.3f}" for run in wolfe), "in", sum(run.nfev for run in wolfe)
)

# %%
assert max(f for f, _ in skipping) < 0.06 and max(run.fun for run in wolfe) < 0.06
print("both train from all ten starts to below 0.06")

# %% [markdown]
# It trains, and nearly as well: after the first dozen steps $J$ is curved upwards along nearly every step, and
# the two programs do much the same. What (11) adds is a guarantee, and longer steps where they pay: a pair that
# is thrown away has told the next direction nothing.
