# %% [markdown]
# # Solutions to notebook 04: the network
#
# Backpropagation, gradient checks and initial weights. The exercises are at the end of `04_network`.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import matplotlib.pyplot as plt
import numpy as np

import bdnn.course.plotting  # noqa: F401, sets the look of the figures
from bdnn.data import load
from bdnn.network import (
    ACTIVATIONS,
    backward,
    flatten,
    forward,
    gradient_error,
    hidden_sizes,
    initial_weights,
    unflatten,
)

rng = np.random.default_rng(4)

# %% [markdown]
# ## 4.1 Derive the gradient of a tanh code layer
#
# With $J = \frac1{2m}\|H-B\|^2$ and $H = \tanh(Z)$:
#
# $$ \mathrm dJ = \tfrac1m\langle H-B,\ \mathrm dH\rangle = \tfrac1m\langle H-B,\ (1-H\odot H)\odot\mathrm dZ\rangle = \big\langle\tfrac1m(H-B)\odot(1-H\odot H),\ \mathrm dZ\big\rangle, $$
#
# the first step by the rule for $\frac12\|A\|^2$ (with $\mathrm dB=0$), the second by $\mathrm df(Z) = f'(Z)\odot\mathrm dZ$ and $\tanh' = 1-h^2$, the third by moving the factor. Hence
#
# $$ \Delta^{(N)} = \tfrac1m(H-B)\odot(1-H\odot H) . $$
#
# For one entry with $b = 1$ this is $-\frac1m(1-h)^2(1+h)$. It vanishes at $h = 1$, as it should, and at $h = -1$, as it should not: a unit that starts far on the wrong side gets almost no gradient and stays there. With the linear code layer the entry is $\frac1m(h-1)$, which is the stronger the more wrong the unit is.

# %%
print("b = 1:       h   tanh layer   linear layer")
for h in (-0.999, -0.9, 0.0, 0.9, 0.999):
    print(f"{h:14.3f} {(h - 1) * (1 - h * h):12.4f} {h - 1:14.4f}")

# %%
sizes = [4, 5, 3]
X, B = rng.standard_normal((4, 6)), rng.choice([-1.0, 1.0], (3, 6))


# %%
def objective(theta):
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X, last="tanh")
    E = (Hs[-1] - B) / B.shape[1]
    return np.sum(E * (Hs[-1] - B)) / 2, flatten(*backward(Ws, Hs, E, last="tanh"))


# %% tags=["nbval-ignore-output"]
error = gradient_error(objective, rng.standard_normal(5 * 5 + 3 * 6))
assert error < 1e-7
print(f"error of the gradient: {error:.0e}")

# %% [markdown]
# ## 4.2 Derive the gradient for the input
#
# In the step through the first layer, $\langle W^{(1)\top}\Delta^{(2)}, \mathrm dH^{(1)}\rangle$ was left over, and $H^{(1)} = X$. So
#
# $$ \frac{\partial J}{\partial X} = W^{(1)\top}\Delta^{(2)} . $$
#
# For a single sample, $\partial J/\partial c^{(1)} = \Delta^{(2)}\mathbf 1 = \Delta^{(2)}$: the gradient of the first bias is the Delta that we need.


# %%
def input_gradient(Ws, cs, x, dh):
    _, dcs = backward(Ws, forward(Ws, cs, x), dh)
    return Ws[0].T @ dcs[0]


# %%
data = load("mnist5k")
X = (data.train.T / 255).astype(np.float64)
Ws, cs = initial_weights(X, (784, *hidden_sizes(16), 16), rng)
second = np.zeros((16, 1))
second[1] = 1  # J is the value of bit 2


# %% tags=["nbval-ignore-output"]
def bit_2(x):
    return forward(Ws, cs, x)[-1][1, 0], input_gradient(Ws, cs, x, second)


three = X[:, np.flatnonzero(data.labels.train == 3)[:1]]
error = gradient_error(bit_2, three, rng, n_directions=20)
assert error < 1e-7
print(f"error along 20 directions: {error:.0e}")

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(5.0, 2.6))
left.imshow(three.reshape(28, 28))
left.set_title("a three")
G = input_gradient(Ws, cs, three, second).reshape(28, 28)
right.imshow(G, vmin=-np.abs(G).max(), vmax=np.abs(G).max())
right.set_title("black raises bit 2, white lowers it")
for ax in (left, right):
    ax.set_axis_off()

# %% [markdown]
# Bit 2 asks for ink in the middle of the image against ink around it: it tells ones from zeros.
#
# ## 4.3 Add the softplus
#
# From $h = \log(1+e^z)$ follows $e^z = e^h - 1$, and so
#
# $$ f'(z) = \frac{e^z}{1+e^z} = \frac{e^h-1}{e^h} = 1 - e^{-h} . $$
#
# $\log(e^0 + e^z)$ is `np.logaddexp(0, z)`, which does not overflow; `-expm1(-h)` is $1-e^{-h}$ without cancellation for small $h$.


# %%
def softplus(Z, out=None):
    return np.logaddexp(0, Z, out=out)


def slope(H, out=None):
    return np.negative(np.expm1(-H, out=out), out=out)


# %% tags=["nbval-ignore-output"]
z = np.linspace(-5, 5, 11)
error = gradient_error(lambda z: (softplus(z).sum(), slope(softplus(z))), z)
assert error < 1e-7
print(f"softplus: error {error:.0e}; at 1000: {softplus(1000.0):.0f}")

# %% tags=["nbval-ignore-output"]
ACTIVATIONS["softplus"] = softplus, slope
W, c, A = rng.standard_normal((3, 4)), rng.standard_normal((3, 1)), rng.standard_normal((4, 6))


def total(W):
    Hs = forward([W], [c], A, last="softplus")
    return Hs[-1].sum(), backward([W], Hs, np.ones((3, 6)), last="softplus")[0][0]


assert gradient_error(total, W) < 1e-7
print(f"in a network: error {gradient_error(total, W):.0e}")

# %% [markdown]
# $\max(0,z)$ has a kink at 0. Where $z-t < 0 < z+t$, the central difference averages the slopes of both sides, and no formula for the gradient agrees with it. The check is not wrong there; the function has no derivative. With random inputs and $t = 6\cdot10^{-6}$ it is met rarely, at $z = 0$ always:


# %%
def relu(z):
    return np.maximum(z, 0).sum(), (z > 0).astype(float)


assert gradient_error(relu, np.array([-1.0, 2.0])) < 1e-7  # away from 0
print(f"at 0: error {gradient_error(relu, np.array([0.0, 2.0])):.3f}")

# %% [markdown]
# ## 4.4 Prove that eigenvectors keep most
#
# Let $M = \sum_j\mu_jp_jp_j^\top$ with orthonormal $p_1,\dots,p_D$ and $\mu_1\ge\dots\ge\mu_D\ge0$. Then
#
# $$ \operatorname{tr}(WMW^\top) = \sum_j\mu_j\,\|Wp_j\|^2 = \sum_j\mu_j t_j, \qquad t_j = \|Wp_j\|^2 . $$
#
# *The weights $t_j$ lie between 0 and 1.* They are not negative. The rows of $W$ are orthonormal, so $W^\top W$ is the projection on their span, and $t_j = p_j^\top W^\top Wp_j\le\|p_j\|^2 = 1$.
#
# *They add up to $k$.* $\sum_jt_j = \operatorname{tr}\big(W(\sum_jp_jp_j^\top)W^\top\big) = \operatorname{tr}(WW^\top) = k$.
#
# A sum $\sum_j\mu_jt_j$ under these two conditions is largest when the full weight 1 goes to the $k$ largest $\mu_j$, and that is what $W = (p_1,\dots,p_k)^\top$ does. For $M = \frac1mHH^\top$ this is Eq. (15).
#
# *Reconstruction.* $P = W^\top W$ is a projection, $P^2=P=P^\top$, so
#
# $$ \|H-PH\|^2 = \|H\|^2 - 2\langle H, PH\rangle + \langle PH, PH\rangle = \|H\|^2 - \langle H, PH\rangle = \|H\|^2 - \|WH\|^2 . $$
#
# The first part does not depend on $W$: keeping most is losing least.

# %%
H = X[:, :500]
W = Ws[0]
Q = np.linalg.qr(rng.standard_normal((784, 90)))[0].T
for name, V in [("eigenvectors", W), ("random rows", Q)]:
    lost = np.sum((H - V.T @ (V @ H)) ** 2) / np.sum(H**2)
    kept = np.sum((V @ H) ** 2) / np.sum(H**2)
    print(f"{name:12s}: kept {kept:.3f}, lost {lost:.3f}, together {kept + lost:.3f}")

# %% [markdown]
# ## 4.5 Find the best step
#
# $E(t) = \frac{t^2}6|J'''| + \frac{\varepsilon|J|}t$ has the derivative $\frac t3|J'''| - \frac{\varepsilon|J|}{t^2}$, which vanishes at
#
# $$ t^* = \Big(\frac{3\varepsilon|J|}{|J'''|}\Big)^{1/3}, \qquad E(t^*) = \frac32\,\frac{\varepsilon|J|}{t^*} = \frac32\,(\varepsilon|J|)^{2/3}\Big(\frac{|J'''|}3\Big)^{1/3} . $$
#
# (By the first equation $\frac{t^2}6|J'''|$ is half of $\varepsilon|J|/t$ at $t^*$.) With $|J|$ and $|J'''|$ of size 1 the step is about $\varepsilon^{1/3}$ and the error about $\varepsilon^{2/3}$: $6\cdot10^{-6}$ and $4\cdot10^{-11}$ in float64, $5\cdot10^{-3}$ and $2\cdot10^{-5}$ in float32. A check in float32 can tell right from wrong, but it cannot see an error of $10^{-7}$; this is why `gradient_error` works in float64.

# %%
steps = np.logspace(-10, 0, 41)
theta = rng.standard_normal(5 * 5 + 3 * 6)
v = np.full(theta.size, theta.size**-0.5)
X = rng.standard_normal((4, 6))

# %% tags=["nbval-ignore-output"]
fig, ax = plt.subplots(figsize=(6.0, 3.2))
for dtype, style in [(np.float64, "o-"), (np.float32, "s--")]:
    X, B = X.astype(dtype), B.astype(dtype)
    slope = objective(theta.astype(dtype))[1].astype(float) @ v
    f = [[float(objective((theta + s * t * v).astype(dtype))[0]) for s in (1, -1)] for t in steps]
    error = np.abs(-np.diff(f)[:, 0] / (2 * steps) - slope) / abs(slope)
    eps = np.finfo(dtype).eps
    ax.loglog(steps, error, style, ms=3, lw=1, label=np.dtype(dtype).name)
    near = np.median(error[np.abs(np.log10(steps / eps ** (1 / 3))) < 0.5])
    assert near < 10 * eps ** (2 / 3)
    print(
        f"{np.dtype(dtype).name}: error near eps^(1/3) {near:.0e}, eps^(2/3) is {eps ** (2 / 3):.0e}"
    )
ax.set(xlabel="step t", ylabel="relative error of the difference", ylim=(1e-13, 1e3))
_ = ax.legend()

# %% [markdown]
# Two V's, the bottom of each near the cube root of its rounding unit.
