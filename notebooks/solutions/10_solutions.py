# %% [markdown]
# # Solutions to notebook 10: Deep Hashing

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import warnings
from itertools import islice

import numpy as np

from bdnn import DeepHashing, SupervisedDeepHashing, losses, metrics
from bdnn.data import load
from bdnn.deep_hashing import descend, dh_objective, initial_network, orthogonality, scatter
from bdnn.itq import principal_directions
from bdnn.network import backward, flatten, forward, gradient_error, unflatten

dataset = load("mnist5k", ground_truth="labels")
rows, labels = dataset.train, dataset.labels.train

# %% [markdown]
# ## 10.1 Where a single output ends
#
# For $h\ne0$, $J_q=\frac12(|h|-1)^2$ has the slope $h-\operatorname{sgn}h$: $-1$ just right of 0 and
# $+1$ just left of it. So $J_q$ falls to both sides, and 0 is a local maximum, with a kink.
#
# With the variance the slope is $(1-\frac{\alpha_1}m)h-\operatorname{sgn}h$. For $\alpha_1<m$ it vanishes at
# $|h|=1/(1-\alpha_1/m)$, a minimum *outside* of $[-1,1]$. For $\alpha_1\ge m$ it never vanishes, and $|h|$
# grows without bound. Through tanh, which stays below 1, both cases look alike: the output creeps
# towards $\pm1$ on its own side, and its $Z$ towards infinity, held back by weight decay and orthogonality alone.

# %%
for ratio in (0.2, 0.9, 1.5):
    h = 0.01
    for _ in range(1000):
        h -= 0.1 * ((1 - ratio) * h - np.sign(h))
    where = f"h = {h:.3f}, formula {1 / (1 - ratio):.3f}" if ratio < 1 else f"h = {h:.0e}"
    print(f"alpha1/m = {ratio}: {where}")

# %% [markdown]
# ## 10.2 Variance about the mean
#
# $J=\frac1{2m}\|HP\|^2$, and $\mathrm dJ=\frac1m\langle HP,\mathrm dH\,P\rangle=\frac1m\langle HPP^\top,\mathrm dH\rangle=\frac1m\langle HP,\mathrm dH\rangle$,
# so the gradient is $\frac1mHP$: the outputs less their means. For a constant bit $HP=0$, value and gradient are 0:
# constancy is no longer rewarded, though not punished either.


# %%
def centred_variance(H):
    m = H.shape[1]
    HP = H - H.mean(axis=1, keepdims=True)
    return np.sum(HP**2) / (2 * m), HP / m


H = np.random.default_rng(0).standard_normal((4, 30))
assert gradient_error(centred_variance, H) < 1e-8
print("error of the gradient below 1e-8")
print(f"constant bit: {centred_variance(np.ones((1, 30)))[0]:.1f}")

# %% [markdown]
# ## 10.3 Scatter without labels
#
# With all $m(m-1)$ ordered pairs counted as different, $J_s=\frac{T}{m(m-1)}$ and by Eq. (10) of notebook 10
# $T=2mq-2\|s\|^2=2m\big(\|H\|^2-m\|\bar h\|^2\big)=2m\|HP\|^2$. So
# $J_s=\frac{2}{m-1}\|HP\|^2=\frac{m}{m-1}\cdot4\cdot\frac1{2m}\|HP\|^2$: four times the term of 10.2, times
# $\frac m{m-1}$. The scatter thus adds what exercise 10.2 asked for: it does not reward a constant bit.

# %%
m = H.shape[1]
pairs = [(i, j) for i in range(m) for j in range(m) if i != j]
mean = np.mean([np.sum((H[:, i] - H[:, j]) ** 2) for i, j in pairs])
by_formula = m / (m - 1) * 4 * centred_variance(H)[0]
print(f"mean over the pairs {mean:.6f}, by the variance {by_formula:.6f}")
y = np.arange(m) % 3
added = scatter(np.vstack([H, np.ones(m)]), y)[0] - scatter(H, y)[0]
assert abs(added) < 1e-12
print(f"a constant bit adds {abs(added):.3f} to J_s")

# %% [markdown]
# ## 10.4 Sum and mean, for different numbers of samples


# %% tags=["nbval-ignore-output"]
def score(method, m):
    method.fit(rows[:m], labels[:m])
    codes = method.transform(dataset.query), method.transform(dataset.database)
    return 100 * metrics.mean_average_precision(*codes, dataset.relevant)


gain = {}
for reduction in ("sum", "mean"):
    pair = [
        score(SupervisedDeepHashing(reduction=reduction, optimizer="lbfgs"), m) for m in (500, 4000)
    ]
    gain[reduction] = pair[1] - pair[0]
    print(f"{reduction:4}  500 digits: mAP {pair[0]:.1f} %   4,000 digits: {pair[1]:.1f} %")

# %%
assert gain["mean"] > 5 > gain["sum"]
print("more digits help with the mean, and do not with the sum")

# %% [markdown]
# With the sum the labels weigh $\alpha_1/m$: a fifth against 500 digits, a fortieth against 4,000. More data,
# less use of its labels.
#
# ## 10.5 A balance term against the collapse
#
# The gradient of the term is added to that of the outputs; backpropagation takes it from there.

# %%
L, alphas = 16, (100, 1e-3, 1e-3)
X = rows[:1000].T.astype(np.float32)
X -= X.mean(axis=1, keepdims=True)
X *= 0.15 / np.sqrt(np.mean((principal_directions(X, L)[1].T @ X) ** 2))
sizes = (len(X), 60, 30, L)
start = flatten(*initial_network(X, sizes, np.random.default_rng(0), "itq"))


def with_balance(theta, lambda4):
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X, "tanh", "tanh")
    J, gradient = dh_objective(theta, X, sizes, alphas=alphas)
    value, dH = losses.balance(Hs[-1])
    J, N = J + lambda4 * value, X.shape[1] + alphas[0]
    return J / N, (gradient + lambda4 * flatten(*backward(Ws, Hs, dH, "tanh", "tanh"))) / N


# %% tags=["nbval-ignore-output"]
imbalance = {}
for lambda4 in (0.0, 0.1, 1.0, 2.0):
    fun = lambda theta: with_balance(theta, lambda4)  # noqa: B023, E731
    *_, theta = islice(descend(fun, start, 0.1, 0), 301)
    H = forward(*unflatten(theta, sizes), X, "tanh", "tanh")[-1]
    imbalance[lambda4] = metrics.balance((H >= 0).T * 2 - 1)
    print(f"lambda4 = {lambda4:3.1f}: imbalance of the codes {imbalance[lambda4]:.2f}")

# %%
assert imbalance[0.0] > 0.95 and imbalance[2.0] < 0.2
print("lambda4 = 2 prevents the collapse")

# %% [markdown]
# Without the term all bits become constant, from balanced codes. Somewhere between 1 and 2 the balance
# begins to outweigh the pull of variance and quantisation, and the codes stay balanced. Like $\alpha_1$, this
# $\lambda_4$ stands beside a sum over 1,000 samples, and balance itself grows with their number (notebook 05).
#
# ## 10.6 A layer that widens
#
# With `hidden=(10, 40)` and 16 bits, $W^{(2)}$ has 40 rows in 10 dimensions: $W^{(2)}W^{(2)\top}$ has rank 10 at
# most, so $W^{(2)}W^{(2)\top}-I$ has the eigenvalue $-1$ at least 30 times, and the term is at least $\frac12\cdot30=15$. The
# other two layers narrow and can reach 0. Ten dimensions feed 16 bits, so `fit` warns of bits that are constant;
# here they do not matter.

# %%
options = {"hidden": (10, 40), "alpha2": 1e4, "learning_rate": 0.01, "dtype": "float64"}
with warnings.catch_warnings(action="ignore"):
    wide = DeepHashing(**options).fit(rows[:1000])
Ws = [wide.Ws_[0] / wide.scale_, *wide.Ws_[1:]]  # as in training
by_layer = [orthogonality([W])[0] for W in Ws]
print("orthogonality by layer: " + ", ".join(f"{value:.1f}" for value in by_layer))
assert by_layer[1] >= 15 - 1e-9
