# %% [markdown]
# # Compare the losses of other hashing networks
#
# **Off the path.** No later notebook rests on this one. It takes up four papers of the slides' background pages: each of its four parts can be read alone, after "One gradient for all losses of distances" and "One network, one way to train it".
#
# **What you will do.** Take the losses of the slides' background pages, derive and verify each of them, and train the same small network with each, to see what a loss does to codes.
#
# **What you will learn**
#
# * to differentiate any loss made of distances between pairs, once and for all;
# * to sum a loss over all triplets of a batch without an array of $m^3$ entries;
# * what a margin is worth in bits, and that it has to be larger than the radius of the search;
# * how codes made of one-hot blocks are trained, stored and searched;
# * which wishes each loss of this course expresses, and which it leaves to luck.
#
# **What you need.** Notebooks 02, 04, 05, 06 and 10. About 30 minutes for each of the four papers; about a minute and a half to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""The losses of the background slides: pairs, triplets, one-hot blocks, attributes.

Each term returns its value, a mean over pairs, triplets or samples, and the gradient in the shape
of its variable; weights of terms are not applied. The functions that end in `_loss` put the terms
of one method together, weights included, and return (value, gradient of the code layer, gradient
of the head). Samples stand in columns. The arguments are::

    H (L, m), Z (M K, m)  outputs of the code layer; scores in front of M softmaxes over K rows
    y (m,)                class labels of any type that sorts
    theta (p,)            weights of a network with layers `sizes` = D, ..., L: `network.flatten`
    head                  weights behind the code layer, flat; of size 0 where there are none
    margin                of squared distances
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike

from bdnn.lbfgs import minimize
from bdnn.network import backward, flatten, forward, initial_weights, sigmoid, unflatten

# %%
import itertools
import time

import matplotlib.pyplot as plt
from scipy import ndimage
from scipy.special import entr

from bdnn import metrics
from bdnn.metrics import sgn
from bdnn.data import load
from bdnn.network import gradient_error, hidden_sizes
from bdnn.course.plotting import COLOURS, codes_image, save_figure
from bdnn.course.records import read_folder
from bdnn.uh_bdnn import principal_axes

# %% [markdown]
# ## Four ways to tell a network what is similar
#
# | slide | method | what it learns from | outputs of the code layer |
# |---|---|---|---|
# | Background 1/3 | DSH: Liu et al., CVPR 2016 | pairs: same class or not | real |
# | Background 2/3 | Lai et al., CVPR 2015 | triplets: $i$ is more similar to $i^+$ than to $i^-$ | in $[0,1]$ |
# | Background 3/3 | SUBIC: Jain et al., ICCV 2017 | points: the class of each sample | blocks of probabilities |
# | Review | Song et al., BMVC 2016 | triplets, and attributes of each sample | real |
#
# The last one is no hashing method: it searches photographs by sketches, with real vectors. We apply its losses to codes, because they add something new: attributes.
#
# As in notebook 05 every term becomes a function of value and gradient, without its weight. We verify it by central differences on five random cases with several classes:


# %%
def verify(name, case):
    worst = max(gradient_error(*case(np.random.default_rng(seed))) for seed in range(5))
    assert worst < 1e-7
    print(f"{name}: relative error in five random cases below 1e-7")


# %%
def random_outputs(rng):
    L, m = rng.integers([2, 8], [8, 20])
    y = np.concatenate([[0, 0, 1], rng.integers(0, 4, m - 3)])
    return rng.standard_normal((L, m)), np.array(["cat", "dog", "owl", "yak"])[y]


# %%
def on_outputs(term, **options):
    def case(rng):
        H, y = random_outputs(rng)
        return partial(term, y=y, **options), H

    return case


# %% [markdown]
# ## One gradient for all losses of distances
#
# Pairs and triplets enter through squared distances $d_{ij}=\|h_i-h_j\|^2$ alone, each with some weight:
#
# $$ J=\sum_{i,j}a_{ij}\,d_{ij}+\text{const},\qquad A=(a_{ij})\in\mathbb R^{m\times m}. \tag{1} $$
#
# *Derive the gradient.* From $\mathrm dd_{ij}=2\langle h_i-h_j,\ \mathrm dh_i-\mathrm dh_j\rangle$,
#
# $$ \begin{aligned} \mathrm dJ&=2\sum_{i,j}a_{ij}\langle h_i-h_j,\mathrm dh_i\rangle+2\sum_{i,j}a_{ij}\langle h_j-h_i,\mathrm dh_j\rangle&&\text{one sum for each of the two ends}\\ &=2\sum_k\Big\langle\sum_j(a_{kj}+a_{jk})(h_k-h_j),\ \mathrm dh_k\Big\rangle&&\text{call the moving end }k\text{ in both} \end{aligned} $$
#
# and with the row sums $r=A\mathbf 1$ and the column sums $s=A^\top\mathbf 1$
#
# $$ \frac{\partial J}{\partial H}=2H\big(\operatorname{diag}(r+s)-A-A^\top\big). \tag{2} $$
#
# A pair with a positive weight attracts, one with a negative weight repels. The bracket is the Laplacian of a graph whose edges are the pairs. Its rows add up to 0, so **the gradient sums to 0 over the samples: distances do not know where the origin is.** Keep this in mind; the bits are signs, and signs do.
#
# If the weights depend on $H$ only by *which* pairs count, as in a hinge $\max(0,\cdot)$, they are constant between the kinks and (2) holds there.
#
# $A$ has $m^2$ entries: losses of pairs are for batches.


# %% tags=["export"]
def _pair_distances(H):
    """d_ij (m, m) of all pairs of samples."""
    H = H - H.mean(axis=1, keepdims=True)  # distances stay, rounding errors shrink
    squares = np.square(H).sum(axis=0)
    return squares[:, None] + squares - 2 * (H.T @ H)


def _pair_gradient(H, A):
    """Gradient (L, m) of sum a_ij d_ij: Eq. (2) of notebook 13."""
    H, A = H - H.mean(axis=1, keepdims=True), A + A.T
    return 2 * (H * A.sum(axis=0) - H @ A)


# %% [markdown]
# ## DSH: pairs
#
# The slide has, for a pair of outputs with $y=0$ if they are similar and $y=1$ if not,
#
# $$ \tfrac12(1-y)\|b_1-b_2\|^2+\tfrac12\,y\max\big(\mu-\|b_1-b_2\|^2,0\big) \tag{3} $$
#
# and a regulariser, to which we come. (The slide calls the margin $m$; for us that is the number of samples.) Similar outputs attract each other, different ones repel until they are a squared distance $\mu$ apart, and then let go: a *contrastive* loss. For $\pm1$ codes two bits that differ are $2$ apart, so the squared distance is four times the Hamming distance. The authors' $\mu=2L$ lets go at half of the bits.
#
# We take the mean over all pairs of a batch. As weights of (1), with the class $y_i$ of sample $i$,
#
# $$ J=\frac1{m(m-1)}\sum_{i\ne j}\tfrac12\begin{cases}d_{ij}&y_i=y_j\\\max(\mu-d_{ij},0)&y_i\ne y_j\end{cases},\qquad a_{ij}=\frac1{2m(m-1)}\begin{cases}+1&y_i=y_j\\-1&y_i\ne y_j,\ d_{ij}<\mu\\\hphantom{+}0&\text{otherwise.}\end{cases} \tag{4} $$
#
# In Python that reads pair by pair:


# %%
def naive_contrastive(H, y, margin):
    total, pairs = 0.0, list(itertools.combinations(range(len(y)), 2))
    for i, j in pairs:
        d = np.sum((H[:, i] - H[:, j]) ** 2)
        total += d / 2 if y[i] == y[j] else max(margin - d, 0) / 2
    return total / len(pairs)


# %% tags=["export"]
def contrastive(H: Array, y: ArrayLike, margin: float | None = None) -> tuple[float, Array]:
    """Pairwise loss of DSH without its regulariser: Eqs. (2) to (4) of notebook 13.

    Mean over all pairs of half the squared distance, for samples of one class, or half of what the
    squared distance falls short of the margin. That is 2 L unless it is given, which for -1/+1
    codes is a Hamming distance of L/2. Where a distance equals the margin, the gradient is the
    slope towards larger distances. Time O(m^2 L), memory O(m^2).

    Source: Liu, Wang, Shan and Chen, CVPR 2016; slide "Background: Supervised codes (1/3)".
    """
    L, m = H.shape
    y, margin = np.asarray(y), 2 * L if margin is None else margin
    D, same = _pair_distances(H), y[:, None] == y  # (m, m)
    near = ~same & (D < margin)
    J = np.sum(D[same], dtype=np.float64) + np.sum(margin - D[near], dtype=np.float64)
    scale = 2 * m * (m - 1)
    return float(J) / scale, _pair_gradient(H, same.astype(H.dtype) - near) / scale  # Eq. (4)


# %%
verify("contrastive", on_outputs(contrastive, margin=5.0))
H, y = random_outputs(np.random.default_rng(0))
difference = abs(contrastive(H, y, 5.0)[0] - naive_contrastive(H, y, 5.0))
assert difference < 1e-12
print("the loop over pairs gives the same to 12 digits")

# %% [markdown]
# ## DSH: the regulariser, as it is and as it is printed
#
# Outputs are real while the network learns. What is to bring them to $\pm1$ is the distance from the nearest corner, in absolute values,
#
# $$ J_r=\frac1m\sum_i\big\||h_i|-\mathbf 1\big\|_1=\frac1m\sum_{k,i}\big||h_{ki}|-1\big|,\qquad\frac{\partial J_r}{\partial h_{ki}}=\frac1m\operatorname{sgn}(|h_{ki}|-1)\operatorname{sgn}(h_{ki}), \tag{5} $$
#
# by the chain rule, wherever $h_{ki}\notin\{-1,0,1\}$. It is the quantisation loss of Deep Hashing (notebook 10) with absolute values in place of squares: the pull does not fade as an output comes close to its corner.
#
# **Slip:** the slide prints $\alpha(\|b_1\|_1-1+\|b_2\|_1-1)$. Absolute values have been lost: it should be $\alpha\big(\big\||b_1|-\mathbf 1\big\|_1+\big\||b_2|-\mathbf 1\big\|_1\big)$, as in the authors' program and in a survey (Luo et al., *A Survey on Deep Hashing Methods*, 2023). What is printed is a different loss, with the gradient $\frac1m\operatorname{sgn}(h_{ki})$: the $-1$ drops out, and all outputs are pulled to **0**, where a sign is a matter of chance.


# %% tags=["export"]
def corner_distance(H: Array) -> tuple[float, Array]:
    """L1 distance of the outputs from the nearest corner, 1/m sum_i || |h_i| - 1 ||_1: Eq. (5).

    The regulariser of DSH, for each sample once. The slide sums it over both samples of a pair, so
    that its mean over pairs is twice this value. The gradient is 0 where an output is -1 or +1, the
    minimum; where it is 0, the top between two valleys, the slope towards larger outputs.
    """
    m, E = H.shape[1], np.abs(H) - 1
    value = float(np.abs(E).sum(dtype=np.float64)) / m
    return value, np.sign(E) * np.where(H >= 0, 1, -1).astype(H.dtype) / m


# %%
def misprinted(H):
    """The slide's form, for each sample once."""
    m = H.shape[1]
    return (np.abs(H).sum() - m) / m, np.sign(H) / m


verify("distance from the corners", lambda rng: (corner_distance, random_outputs(rng)[0]))
verify("the misprint, a loss too", lambda rng: (misprinted, random_outputs(rng)[0]))

# %%
h = np.linspace(-2, 2, 401)
styles = {"as it is": (corner_distance, "-"), "as printed": (misprinted, "--")}
fig, axes = plt.subplots(1, 2, figsize=(7.0, 2.6))
for name, (term, line) in styles.items():
    pairs = [term(np.array([[v]])) for v in h]
    _ = axes[0].plot(h, [value for value, _ in pairs], line, label=name)
    _ = axes[1].plot(h, [dH[0, 0] for _, dH in pairs], line, label=name)
axes[0].set(xlabel="output $h$", title="regulariser of one output")
axes[1].set(xlabel="output $h$", title="its slope", yticks=[-1, 0, 1])
axes[0].legend()
save_figure(fig, "13_regulariser")

# %% [markdown]
# Left: two valleys at $\pm1$ (solid), or one at 0 (dashed). Right: the slopes agree outside of $[-1,1]$ and are opposite within.
#
# ### At a kink
#
# A gradient check has to keep away from kinks, and a function must return something there. Here are the slopes to the left and to the right of three kinks, and what ours return:

# %%
kinks = {
    "output at a corner, h = 1": (lambda h: corner_distance(np.array([[h]])), 1.0),
    "output at the top, h = 0": (lambda h: corner_distance(np.array([[h]])), 0.0),
    "pair at the margin, d = 4": (lambda h: contrastive(np.array([[h, 0]]), [0, 1], 4.0), 2.0),
}
for name, (fun, at) in kinks.items():
    left, right = ((fun(at + step)[0] - fun(at)[0]) / step for step in (-1e-6, 1e-6))
    print(f"{name}: left {left:+.2f}, right {right:+.2f}, ours {fun(at)[1][0, 0]:+.2f}")

# %% [markdown]
# At a corner and at the margin ours lies between the two slopes: it is a *subgradient*, and where it is 0 the point may stay, as it should. The top at $h=0$ has no such thing; there ours goes with the right side, as $\operatorname{sgn}(0)=+1$ does, for with 0 an output would rest on the peak. Central differences would give the mean of the two sides in each case. Random outputs meet a kink with probability 0, and a line search that steps across one sees the objective bend, no more.
#
# ## One network, one way to train it
#
# For all that follows: $D\to90\to30\to L$ as for SH-BDNN at 16 bits, sigmoids in the hidden layers, on 4,000 digits; the inputs are the principal axes with 95 % of the energy (notebook 08). The weights start from eigenvectors (notebook 04), and the code layer is shifted and scaled so that every output has mean 0 and variance 1 over the training digits, the same start for every loss.
#
# A method may have weights of its own behind the code layer, such as a classifier: its *head*, a vector appended to those of the network.


# %% tags=["export"]
def standardised_network(X: Array, sizes: Sequence[int], rng: np.random.Generator) -> Array:
    """Weights to start from: the code layer has mean 0 and variance 1 over the samples."""
    Ws, cs = initial_weights(X, sizes, rng)
    H = forward(Ws, cs, X)[-1]
    mean, deviation = H.mean(axis=1, keepdims=True), H.std(axis=1, keepdims=True)
    Ws[-1] /= deviation
    cs[-1] = (cs[-1] - mean) / deviation
    return flatten(Ws, cs)


def n_weights(sizes: Sequence[int]) -> int:
    """Number of weights and biases of a network with these layers."""
    return sum(b * (a + 1) for a, b in zip(sizes, sizes[1:]))


def code_outputs(theta: Array, X: Array, sizes: Sequence[int], code: str = "identity") -> Array:
    """Outputs of the code layer: sigmoids in the hidden layers, then `code`."""
    Ws, cs = unflatten(theta[: n_weights(sizes)], sizes)
    return forward(Ws, cs, X, last=code)[-1]


def network_objective(
    theta: Array,
    X: Array,
    y: Array,
    sizes: Sequence[int],
    code: str,
    loss: Callable[..., tuple[float, Array, Array]],
    decay: float = 1e-5,
) -> tuple[float, Array]:
    """A loss on the code layer as a function of all weights, and its gradient (p,).

    `code` is the activation of the code layer, a key of `network.ACTIVATIONS`; decay/2 ||theta||^2
    is added. theta holds the weights of the network and then those of the head, if any, which
    ``loss(H, y, head)``, a function of this module that ends in `_loss`, takes apart.
    """
    p = n_weights(sizes)
    Ws, cs = unflatten(theta[:p], sizes)
    Hs = forward(Ws, cs, X, last=code)
    J, dH, dhead = loss(Hs[-1], y, theta[p:])
    gradient = np.concatenate([flatten(*backward(Ws, Hs, dH, last=code)), dhead])
    return J + decay / 2 * float(theta @ theta), gradient + decay * theta


# %% [markdown]
# All pairs of 4,000 digits in every evaluation would be slow, and the authors of DSH do not do so either: their program takes batches of 200 images and all pairs in each. So do we, for every loss. On each batch we make five steps of our L-BFGS (notebook 06), which finds the length of its steps by itself; then comes the next batch; six times through the digits, in float32.
#
# **Departure:** the methods of this notebook are trained by stochastic gradient descent in their papers, on convolutional networks. Optimiser, network, start and number of steps are ours, and the same for all; so are all weights of terms, unless a source is named.


# %% tags=["export"]
def train_on_batches(
    loss: Callable[..., tuple[float, Array, Array]],
    theta: Array,
    X: Array,
    y: Array,
    sizes: Sequence[int],
    code: str = "identity",
    *,
    batch: int = 200,
    n_steps: int = 5,
    n_epochs: int = 6,
    rng: np.random.Generator | int | None = None,
) -> Array:
    """Minimise a loss by a few steps of L-BFGS on one batch after the other; the weights (p,).

    Arguments as for `network_objective`. An epoch takes the samples in an order that `rng` draws; a
    rest smaller than a batch is left out.
    """
    rng, m = np.random.default_rng(rng), X.shape[1]
    for _ in range(n_epochs):
        order = rng.permutation(m)
        for start in range(0, max(m - batch, 0) + 1, batch):
            part = order[start : start + batch]
            samples = {"X": X[:, part], "y": y[part], "sizes": sizes, "code": code}
            J = partial(network_objective, loss=loss, **samples)
            theta = minimize(J, theta, max_iter=n_steps).x
    return theta


# %%
dataset = load("mnist5k", ground_truth="labels")
digits, query_digits = dataset.labels.train, dataset.labels.query
mean = dataset.train.mean(axis=0, keepdims=True, dtype=np.float64).T
centred = dataset.train.T - mean
scale = np.sqrt(np.mean(np.sum(centred**2, axis=0))) / 10  # as for SH-BDNN: length 10, on average
axes_of_data = principal_axes(centred / scale, energy=0.95)


# %%
def on_axes(rows):
    return (axes_of_data.T @ ((rows.T - mean) / scale)).astype(np.float32)


L, X, queries = 16, on_axes(dataset.train), on_axes(dataset.query)
sizes = (len(X), *hidden_sizes(L), L)
print(f"{X.shape[1]} digits on {len(X)} axes, layers {sizes}, {n_weights(sizes)} weights")

# %% [markdown]
# ## DSH, trained
#
# With the mean over pairs the regulariser of both samples becomes twice its mean over samples:
#
# $$ J_{\text{DSH}}=J+2\alpha J_r . \tag{6} $$
#
# $\alpha=0.01$ in the authors' settings. (Their program adds the regulariser once for each sample, which is half of the slide's.)


# %% tags=["export"]
def dsh_loss(
    H: Array, y: ArrayLike, head: Array, alpha: float = 0.01, margin: float | None = None
) -> tuple[float, Array, Array]:
    """DSH: Eq. (6) of notebook 13, pairs and the distance from the corners.

    H are outputs of an identity layer, whose signs are the bits. The weight 0.01 of the regulariser
    and the margin 2 L are the authors'.
    """
    value, dH = contrastive(H, y, margin)
    distance, dH_corner = corner_distance(H)
    return value + 2 * alpha * distance, dH + 2 * alpha * dH_corner, head


# %% [markdown]
# What will the pair term do alone, with $\alpha=0$? It cannot tell where the origin is. And with the misprint?


# %%
def misprinted_dsh(H, y, head, alpha):
    value, dH = contrastive(H, y)
    size, dH_size = misprinted(H)
    return value + 2 * alpha * size, dH + 2 * alpha * dH_size, head


def fit(loss, code="identity", sizes=sizes, n_head=0, seed=0):
    rng = np.random.default_rng(seed)
    head = 0.1 * rng.standard_normal(n_head, dtype=np.float32)
    theta = np.concatenate([standardised_network(X, sizes, rng), head])
    return train_on_batches(loss, theta, X, digits, sizes, code, rng=rng)


# %% [markdown]
# One run is one draw. So every loss is trained with three seeds: tables show the mean over the three and its range, pictures the first.

# %%
SEEDS, THRESHOLDS = range(3), {"sigmoid": 0.5, "identity": 0.0}  # a bit is 1 above this output
outputs, table, ranges = {}, {}, {}


def evaluate(name, runs):
    outputs[name] = runs[0]
    enter(name, [metrics.evaluate(*(sgn(H).T for H in run), dataset.relevant) for run in runs])


def enter(name, rows):
    values = {key: [row[key] for row in rows] for key in rows[0]}
    table[name] = {key: np.mean(found) for key, found in values.items()}
    ranges[name] = {key: (min(found), max(found)) for key, found in values.items()}


def train(name, loss, code="identity", n_head=0):
    thetas = [fit(loss, code, n_head=n_head, seed=seed) for seed in SEEDS]
    runs = [[code_outputs(theta, A, sizes, code) for A in (queries, X)] for theta in thetas]
    runs = [[H - THRESHOLDS[code] for H in run] for run in runs]
    evaluate(name, runs)
    return thetas, runs


# %%
COLUMNS = {"mAP": "map_standard", "P@r=2": "precision_at_2", "empty balls": "empty_share"}
COLUMNS |= {"imbalance": "balance", "dependence": "independence"}


def show(names):
    print("in %, mean (range)".ljust(25) + "".join(f"{title:>18}" for title in COLUMNS))
    for name in names:
        print(f"{name:25}", end="")
        for key in COLUMNS.values():
            low, high = ranges[name][key]
            print(
                f"{100 * table[name][key]:6.1f} {f'({100 * low:.0f} to {100 * high:.0f})':>11}",
                end="",
            )
        print()


# %% tags=["nbval-ignore-output"]
runs = {f"DSH, alpha = {alpha}": partial(dsh_loss, alpha=alpha) for alpha in (0, 0.01, 0.1, 1)}
runs["misprint, alpha = 0.1"] = partial(misprinted_dsh, alpha=0.1)
of_loss = {name: train(name, loss)[1] for name, loss in runs.items()}
show(runs)

# %%
fig, axes = plt.subplots(1, 5, figsize=(9.5, 2.4), sharey=True)
sample = np.concatenate([np.flatnonzero(digits == digit)[:20] for digit in range(10)])
for ax, name in zip(axes, runs):
    codes_image(ax, sgn(outputs[name][1][:, sample]), name.replace(", ", "\n"))
    ax.set(xlabel="digit", xticks=np.arange(10, 200, 20), xticklabels=range(10), ylabel="")
axes[0].set_ylabel("bit")
save_figure(fig, "13_dsh_codes", png=True)

# %% [markdown]
# 200 training digits, sorted by class; one column is a code. Where a row is black or white throughout, its bit is constant.


# %% tags=["nbval-ignore-output"]
for name in runs:
    H = outputs[name][1]
    print(
        f"{name:28} mean of |h| {np.abs(H).mean():.2f}, corner distance {corner_distance(H)[0] / L:.2f}"
    )
means = [H.mean(axis=1, keepdims=True) for _, H in of_loss["DSH, alpha = 0"]]
centred = [[H - mean for H in run] for run, mean in zip(of_loss["DSH, alpha = 0"], means)]
evaluate("alpha = 0, about the mean", centred)
show(["DSH, alpha = 0", "alpha = 0, about the mean"])

# %%
assert table["DSH, alpha = 0"]["balance"] > 0.7
assert table["alpha = 0, about the mean"]["precision_at_2"] > 0.5
assert table["DSH, alpha = 0"]["precision_at_2"] < 0.3
assert table["DSH, alpha = 0.01"]["precision_at_2"] > 0.4
print("without an origin nearly all bits are constant; about the mean they work")

# %% [markdown]
# Read the first rows together. With $\alpha=0$ nearly all bits are constant. Yet the network has learned what it was asked for: take the signs about the *mean* of the outputs, and precision at radius 2 rises from a tenth, which is chance, to that of good codes. What was missing is the origin. The regulariser supplies it, more or less well, and this may be more of its use than the quantisation: with the authors' $\alpha=0.01$ outputs still are about four tenths of a unit from their corners on average, and many bits are nearly constant.
#
# From $\alpha=0.1$ on the bits are balanced and depend little on each other, although no term asks for either, while mAP falls: the start made every bit so, and a strong pull to the nearest corner leaves bits where they start, as in Deep Hashing. The two measures do not agree on the best $\alpha$.
#
# The misprint centres the outputs, too, but draws them to the point where signs mean least.

# %%
assert (
    table["misprint, alpha = 0.1"]["map_standard"] < table["DSH, alpha = 0.1"]["map_standard"] - 0.3
)
size = {name: np.abs(outputs[name][1]).mean() for name in runs}
assert size["misprint, alpha = 0.1"] < size["DSH, alpha = 0.1"]
print("the misprint costs more than thirty points of mAP at alpha = 0.1")

# %% [markdown]
# ## Lai's triplets
#
# A pair needs an absolute judgement, similar or not. A triplet needs a comparison: $i$ is more similar to $i^+$ than to $i^-$. The outputs lie in $[0,1]^L$, here by a sigmoid, and the slide has, for one triplet,
#
# $$ \max\big(0,\ \|h_i-h_{i^+}\|^2-\|h_i-h_{i^-}\|^2+\mu\big),\qquad\mu=1. \tag{7} $$
#
# For bits 0 and 1 the squared distance *is* the Hamming distance. So (7) wants the wrong sample at least one bit farther away than the right one. We take as triplets all $i$, $i^+\ne i$ of its class, $i^-$ of another class, and the mean over all of them.


# %%
def naive_triplet_ranking(H, y, margin):
    D = np.square(H[:, :, None] - H[:, None, :]).sum(axis=0)
    triplets = itertools.permutations(range(len(y)), 3)
    triplets = [(i, p, n) for i, p, n in triplets if y[i] == y[p] != y[n]]
    return np.mean([max(0, D[i, p] - D[i, n] + margin) for i, p, n in triplets])


# %% [markdown]
# How many triplets are there? With ten classes of 20 in a batch of 200: $200\cdot19\cdot180=684{,}000$; of 4,000 digits, $5.7\cdot10^9$. An array of them is out of the question, and not needed.
#
# *Find the weights $a_{ij}$ of (1).* The differential of one active triplet is $\mathrm dd_{ii^+}-\mathrm dd_{ii^-}$. Collect by pairs: with $T$ triplets in all,
#
# $$ a_{ij}=\frac1T\begin{cases}+\#\{k:\ y_k\ne y_i,\ d_{ik}<d_{ij}+\mu\}&y_j=y_i,\ j\ne i\\-\#\{k\ne i:\ y_k=y_i,\ d_{ik}+\mu>d_{ij}\}&y_j\ne y_i,\end{cases}\qquad J=\sum_{i,j}a_{ij}d_{ij}+\mu\sum_{y_i=y_j}a_{ij}. \tag{8} $$
#
# For given $i$ both are *ranks*. Add $\mu$ to the distances of the same class, sort all distances of row $i$ together, and walk along: a sample of the class counts the others that came before it, one of another class counts those of the class that are still to come. One sort per row: $O(m^2(L+\log m))$ time for a loss with $O(m^3)$ terms, and exact.


# %% tags=["export"]
def _triplet_counts(D, same, margin):
    """T a_ij (m, m) of Eq. (8) of notebook 13, of squared distances; `same`: of one class."""
    V = D + margin * same
    np.fill_diagonal(V, -np.inf)
    order = np.argsort(V, axis=1)[:, 1:]  # in each row all but the sample itself, nearest first
    positive = np.take_along_axis(same, order, axis=1)
    nearer = np.cumsum(~positive, axis=1, dtype=D.dtype)  # others that came before
    to_come = positive.sum(axis=1, keepdims=True) - np.cumsum(positive, axis=1, dtype=D.dtype)
    A = np.zeros_like(D)
    np.put_along_axis(A, order, np.where(positive, nearer, -to_come), axis=1)
    return A


def triplet_ranking(H: Array, y: ArrayLike, margin: float = 1.0) -> tuple[float, Array]:
    """Triplet ranking loss over all triplets: Eqs. (2), (7), (8) of notebook 13.

    Mean of max(0, d(i, i+) - d(i, i-) + margin) over all i, i+ of its class and i- of another,
    with squared distances d, which for codes of 0 and 1 are numbers of bits; 0 if there is no
    triplet. Where one meets its margin exactly, the gradient is a slope between those of the two
    sides. One sort per sample: time O(m^2 (L + log m)), memory O(m^2).

    Source: Lai, Pan, Liu and Yan, CVPR 2015; slide "Background: Supervised codes (2/3)".
    """
    y, n = np.asarray(y), np.unique(y, return_counts=True)[1]  # n: samples of each class
    n_triplets = max(1, int(np.sum(n * (n - 1) * (len(y) - n))))
    D, same = _pair_distances(H), y[:, None] == y  # (m, m)
    A = _triplet_counts(D, same, margin)
    J = np.sum(A * D, dtype=np.float64) + margin * np.sum(A[same], dtype=np.float64)
    return float(J) / n_triplets, _pair_gradient(H, A) / n_triplets  # Eq. (8)


def lai_loss(
    H: Array, y: ArrayLike, head: Array, margin: float = 1.0
) -> tuple[float, Array, Array]:
    """Triplet ranking of Lai et al.: `triplet_ranking` in the form of the other methods.

    H are outputs of a sigmoid layer; a bit is set where they are at least 1/2.
    """
    return *triplet_ranking(H, y, margin), head


# %%
verify("triplet ranking", on_outputs(triplet_ranking, margin=2.0))
H, y = random_outputs(np.random.default_rng(0))
difference = abs(triplet_ranking(H, y, 2.0)[0] - naive_triplet_ranking(H, y, 2.0))
assert difference < 1e-12
print("the loop over triplets gives the same to 12 digits")

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(0)
for m in (200, 1000, 2000):
    start = time.perf_counter()
    _ = triplet_ranking(rng.random((16, m)), np.arange(m) % 10)
    n = m * (m // 10 - 1) * (m - m // 10)
    print(f"m = {m:4d}: {n:13,d} triplets in {1000 * (time.perf_counter() - start):8.1f} ms")

# %% [markdown]
# ## A margin, counted in bits
#
# We train with the slide's margin and with a larger one, 4 bits. The bits are read off at $\frac12$.


# %% tags=["nbval-ignore-output"]
margins = {f"Lai, margin {margin}": partial(lai_loss, margin=margin) for margin in (1.0, 4.0)}
of_margin = {name: train(name, loss, "sigmoid")[1] for name, loss in margins.items()}
show(margins)

# %%
fig, axes = plt.subplots(1, 2, figsize=(7.5, 2.6), sharey=True)
same = digits[:1000, None] == digits[:1000]
off = ~np.eye(1000, dtype=bool)
for ax, name in zip(axes, margins):
    codes = sgn(outputs[name][1][:, :1000]).T
    D = metrics.hamming_distances(codes, codes)
    for pairs, label, fill in ((same & off, "same digit", True), (~same, "other digit", False)):
        share = np.bincount(D[pairs], minlength=L + 1) / pairs.sum()
        style = {"color": COLOURS["blue"]} if fill else {"fc": "none", "ec": COLOURS["vermillion"]}
        ax.bar(range(L + 1), share, 0.9, label=label, **style)
    ax.axvline(2.5, color="black", ls=":")
    ax.set(title=name, xlabel="Hamming distance", xticks=range(0, L + 1, 2))
axes[0].set_ylabel("share of pairs")
axes[0].legend()
save_figure(fig, "13_margins")


# %% [markdown]
# Filled: pairs of the same digit; outlined: pairs of different digits; left of the dotted line lies the ball of radius 2. With the slide's margin some other digits keep a distance of one or two bits: as far as the loss is concerned they are far enough. We count them:

# %%
wrong = {}
for name in margins:
    codes = [sgn(H[:, :1000]).T for _, H in of_margin[name]]
    wrong[name] = [np.mean(~same[metrics.hamming_distances(B, B) <= 2]) for B in codes]
shares = {name: np.median(values) for name, values in wrong.items()}
assert 3 * shares["Lai, margin 4.0"] < shares["Lai, margin 1.0"]
print("wrong among the pairs within radius 2: with margin 4 less than a third of those with 1")

# %% [markdown]
# **A margin must be larger than the radius with which you are going to search.** mAP, which looks at the order alone, gains little by it, precision at radius 2 some points in the mean, though a single bad draw can undo that (see the ranges). (DSH has half of the bits as its margin, but in real outputs. With $\alpha=0.01$ the signs do not keep it: because many bits are constant, its balls hold more wrong digits than Lai's.)
#
# Nothing in (7) asks for outputs near 0 or 1, for balance or for independence. The sigmoid and the margin push outputs to the ends all the same, since that is where the distances are; bits are far from balanced.
#
# ## SUBIC: blocks
#
# Supervision by points: the network predicts the class of each sample, and the code is read off on the way. The code layer has $MK$ outputs $Z$ in $M$ blocks of $K$. A softmax in each block makes probabilities of them,
#
# $$ p_a=\frac{e^{z_a}}{\sum_be^{z_b}}\quad(a,b\text{ in one block}),\qquad\mathrm dp_a=p_a\Big(\mathrm dz_a-\sum_bp_b\,\mathrm dz_b\Big), \tag{9} $$
#
# and a code takes of each block the largest entry: $M$ one-hot blocks, that is, $M$ numbers from 0 to $K-1$, stored in $M\log_2K$ bits. Ours has $M=4$, $K=16$: again 16 bits.
#
# *Send a gradient back through (9).* Let $g=\partial J/\partial p$, for one block of one sample:
#
# $$ \mathrm dJ=\sum_ag_a\,\mathrm dp_a=\sum_ag_ap_a\,\mathrm dz_a-\Big(\sum_ag_ap_a\Big)\sum_bp_b\,\mathrm dz_b\quad\Longrightarrow\quad\frac{\partial J}{\partial z}=p\odot\big(g-\langle p,g\rangle\mathbf 1\big). \tag{10} $$


# %% tags=["export"]
def _log_softmax(T):
    """Logarithm of the softmax along the last axis but one; no exponential overflows."""
    T = T - T.max(axis=-2, keepdims=True)
    return T - np.log(np.exp(T).sum(axis=-2, keepdims=True))


def _blocks(Z, K):
    """Z (M K, m) as a view of shape (M, K, m)."""
    return Z.reshape(-1, K, Z.shape[1])


def block_softmax(Z: Array, K: int) -> Array:
    """Softmax (M K, m) in every block of K rows: Eq. (9) of notebook 13.

    Source: Jain, Zepeda, Perez and Gribonval, ICCV 2017 (SUBIC); slide "Background: Supervised
    codes (3/3)".
    """
    return np.exp(_log_softmax(_blocks(Z, K))).reshape(Z.shape)


def block_softmax_backward(P: Array, dP: Array, K: int) -> Array:
    """Gradient for the scores from the gradient for the probabilities: Eq. (10) of notebook 13."""
    P, dP = _blocks(P, K), _blocks(dP, K)
    return (P * (dP - np.sum(P * dP, axis=1, keepdims=True))).reshape(-1, P.shape[2])


# %%
def case_blocks(rng):
    M, K, m = rng.integers(2, 6, 3)
    G = rng.standard_normal((M * K, m))

    def fun(Z):
        P = block_softmax(Z, K)
        return np.sum(G * P), block_softmax_backward(P, G, K)

    return fun, rng.standard_normal((M * K, m))


# %%
verify("block softmax", case_blocks)
P = block_softmax(np.log([[1.0], [3], [1], [1]]), 2)
print("two blocks of two, from scores log 1, log 3; log 1, log 1:", *(f"{p:.2f}" for p in P[:, 0]))

# %% [markdown]
# ### Two entropies
#
# The entropy $E(p)=-\sum_ap_a\log p_a$ is 0 for a one-hot block and $\log K$ for an even one. It is used twice, in opposite directions.
#
# *Each sample* should have blocks that are nearly one-hot, so that little is lost when the largest entry is taken: the **mean entropy** is to be small,
#
# $$ J_E=\frac1{mM}\sum_{i}\sum_{\text{blocks}}E(p_i). \tag{11} $$
#
# *All samples together* should use all words of a block equally: the **batch entropy**, of the mean $\bar p=\frac1m\sum_ip_i$ of each block, is to be large,
#
# $$ J_B=\frac1M\sum_{\text{blocks}}E(\bar p). \tag{12} $$
#
# (The abstract names "batch-based entropy losses"; that one is made small and the other large follows from what they are for, and re-implementations by others have it so.) *Derive both gradients for $Z$*, with $\mathrm dE=-\sum_a(\log p_a+1)\,\mathrm dp_a$. For (11), $g=-(\log p+1)$ and $\langle p,g\rangle=E-1$, so that by (10)
#
# $$ \frac{\partial J_E}{\partial z_i}=-\frac1{mM}\,p_i\odot\big(\log p_i+E(p_i)\mathbf 1\big), \tag{13} $$
#
# which goes to 0 as a block becomes one-hot, though $\log p$ runs off. For (12), $\partial J_B/\partial p_i=-\frac1{mM}(\log\bar p+\mathbf 1)=\bar g$, the same for all samples, and
#
# $$ \frac{\partial J_B}{\partial z_i}=p_i\odot\big(\bar g-\langle p_i,\bar g\rangle\mathbf 1\big). \tag{14} $$


# %% tags=["export"]
def mean_entropy(Z: Array, K: int) -> tuple[float, Array]:
    """Mean entropy of the blocks of each sample: Eqs. (11), (13) of notebook 13.

    From 0, every block one-hot, to log K. SUBIC makes it small.
    """
    logs = _log_softmax(_blocks(Z, K))
    P = np.exp(logs)
    E = -np.sum(P * logs, axis=1, keepdims=True)
    dZ = P * (logs + E) / -E.size
    return float(E.mean(dtype=np.float64)), dZ.reshape(Z.shape)


def batch_entropy(Z: Array, K: int) -> tuple[float, Array]:
    """Entropy of the mean of each block over the samples: Eqs. (12), (14) of notebook 13.

    From 0, every sample in one and the same word, to log K, all words used equally. SUBIC makes it
    large, so it enters the objective with a minus.
    """
    P = np.exp(_log_softmax(_blocks(Z, K)))
    M, _, m = P.shape
    mean = P.mean(axis=2, keepdims=True)
    logs = np.log(np.maximum(mean, np.finfo(P.dtype).tiny))  # a word without any weight adds 0
    g = -(logs + 1) / (m * M)
    dZ = P * (g - np.sum(P * g, axis=1, keepdims=True))
    return float(-np.sum(mean * logs, dtype=np.float64)) / M, dZ.reshape(Z.shape)


# %%
def case_entropy(rng, term):
    M, K, m = rng.integers(2, 6, 3)
    return partial(term, K=K), rng.standard_normal((M * K, m))


# %%
verify("mean entropy", lambda rng: case_entropy(rng, mean_entropy))
verify("batch entropy", lambda rng: case_entropy(rng, batch_entropy))
P = block_softmax(np.random.default_rng(0).standard_normal((6, 5)), 3).reshape(2, 3, 5)
by_hand = -np.mean([p @ np.log(p) for block in P for p in block.T])
entropy = mean_entropy(np.log(P.reshape(6, 5)), 3)[0]
print(f"mean entropy {entropy:.6f}, sample by sample {by_hand:.6f}")

# %% [markdown]
# One block of $K=3$ is a point of a triangle. Follow each term from the same 60 points:


# %%
def follow(fun, Z, rate, n_steps):
    for _ in range(n_steps):
        Z = Z - rate * fun(Z)[1]
    return Z


# %%
def both(Z):
    (value, dZ), (spread, dZ_spread) = mean_entropy(Z, 3), batch_entropy(Z, 3)
    return value - spread, dZ - dZ_spread


Z0 = 0.7 * np.random.default_rng(1).standard_normal((3, 60)) + [[0.9], [0], [0.1]]
wishes = {
    "mean entropy down": partial(mean_entropy, K=3),
    "batch entropy up": lambda Z: (-batch_entropy(Z, 3)[0], -batch_entropy(Z, 3)[1]),
    "both": both,
}

# %%
corners = np.array([[0, 1, 0.5], [0, 0, np.sqrt(3) / 2]])
fig, axes = plt.subplots(1, 3, figsize=(7.5, 2.6))
for ax, (name, fun) in zip(axes, wishes.items()):
    start, end = (corners @ block_softmax(Z, 3) for Z in (Z0, follow(fun, Z0, 20.0, 60)))
    ax.fill(*corners, fc="none", ec="0.6", lw=1)
    ax.scatter(*start, s=9, color="0.7", marker="x", lw=0.8)
    ax.scatter(*end, s=10, color=COLOURS["blue"])
    ax.set_title(name)
    ax.set_aspect("equal")
    ax.set_axis_off()
save_figure(fig, "13_simplex")

# %%
first = block_softmax(follow(wishes["mean entropy down"], Z0, 20.0, 2000), 3).mean(axis=1)
last = block_softmax(follow(both, Z0, 20.0, 2000), 3).mean(axis=1)
print("use of the three words, mean entropy alone:", " ".join(f"{share:.2f}" for share in first))
print("use of the three words, both terms:        ", " ".join(f"{share:.2f}" for share in last))

# %% [markdown]
# Corners are words. Left: each point runs to its nearest corner, so the word that was ahead gets most of them. Middle: the cloud moves until its mean is in the middle; the points stay inside. Right: corners, and all of them used. The mean entropy is SUBIC's quantisation, the batch entropy its balance.
#
# ### Cross-entropy, and the whole
#
# A linear classifier, SUBIC's head, sits on the probabilities: scores $S=VP+v\mathbf 1_{1\times m}$, probabilities $q=\operatorname{softmax}(S)$ of the $C$ classes, and with the one-hot labels $Y$
#
# $$ J_C=-\frac1m\sum_i\log q_{y_i,i},\qquad\mathrm d(-\log q_y)=-\mathrm ds_y+\sum_cq_c\,\mathrm ds_c\quad\Longrightarrow\quad\frac{\partial J_C}{\partial S}=\frac1m(q-Y), \tag{15} $$
#
# $$ J_{\text{SUBIC}}=J_C+\gamma J_E-\mu J_B. \tag{16} $$


# %% tags=["export"]
def cross_entropy(S: Array, y: ArrayLike) -> tuple[float, Array]:
    """Cross-entropy of a softmax over all rows of S (C, m): Eq. (15) of notebook 13.

    Classes y are whole numbers from 0 to C - 1; a batch need not hold all of them.
    """
    m = S.shape[1]
    logs, at = _log_softmax(S), (y, np.arange(m))
    dS = np.exp(logs)
    dS[at] -= 1
    return -float(logs[at].mean(dtype=np.float64)), dS / m


def _split_head(head, H):
    """The flat head as weights (k, L) and biases (k, 1) of a linear layer on H (L, m)."""
    V = head.reshape(-1, len(H) + 1)
    return V[:, :-1], V[:, -1:]


def _head_gradient(dS, H):
    """Gradient for the flat head from that for its scores."""
    return np.hstack([dS @ H.T, dS.sum(axis=1, keepdims=True)]).ravel()


def subic_loss(
    Z: Array, y: ArrayLike, head: Array, K: int = 16, gamma: float = 0.5, mu: float = 0.5
) -> tuple[float, Array, Array]:
    """SUBIC: Eq. (16) of notebook 13, cross-entropy behind one-hot blocks.

    Z (M K, m) are outputs of an identity layer, and `block_indices(Z, K)` is the code; y are whole
    numbers from 0 to C - 1; the head (C (M K + 1),) is the classifier; gamma and mu are the weights
    of the mean entropy and of the batch entropy.
    """
    P = block_softmax(Z, K)
    V, v = _split_head(head, P)
    value, dS = cross_entropy(V @ P + v, y)
    (E, dZ_E), (B, dZ_B) = mean_entropy(Z, K), batch_entropy(Z, K)
    dZ = block_softmax_backward(P, V.T @ dS, K) + gamma * dZ_E - mu * dZ_B
    return value + gamma * E - mu * B, dZ, _head_gradient(dS, P)


# %%
def case_whole(rng, loss, code, rows, n_head, y):
    sizes = (4, 5, 3, rows)
    X = rng.standard_normal((4, len(y)))
    theta = rng.standard_normal(n_weights(sizes) + n_head)
    return lambda theta: network_objective(theta, X, y, sizes, code, loss, 0.1), theta


# %%
def case_subic(rng):
    loss = partial(subic_loss, K=3, gamma=0.7, mu=0.4)
    return case_whole(rng, loss, "identity", 6, 4 * 7, rng.integers(0, 4, 9))


# %%
verify(
    "cross-entropy", lambda rng: (partial(cross_entropy, y=[0, 2, 2, 1]), rng.normal(size=(4, 4)))
)
verify("SUBIC, all weights of network and head", case_subic)

# %% [markdown]
# ### Codes of blocks: encode, store, search
#
# The code of a sample is $M$ numbers. For our measures we write them as one-hot blocks of $\pm1$: two blocks that differ make *two* of these differ, so that the Hamming distance is twice the number of blocks that differ.


# %% tags=["export"]
def block_indices(Z: Array, K: int) -> Array:
    """The largest entry of each block, SUBIC's code: array (M, m) of numbers from 0 to K - 1."""
    return _blocks(Z, K).argmax(axis=1)


def one_hot_codes(indices: Array, K: int) -> Array:
    """Indices (M, m) as codes (M K, m) in {-1, +1}: one +1 in every block, int8.

    The Hamming distance of two such codes is twice the number of blocks in which they differ.
    """
    hot = indices[:, None] == np.arange(K)[:, None]
    return np.where(hot, 1, -1).astype(np.int8).reshape(-1, indices.shape[1])


# %%
M, K = 4, 16
rng = np.random.default_rng(0)
indices = rng.integers(0, K, (M, 50))
codes = one_hot_codes(indices, K).T
differing = np.sum(indices[:, :, None] != indices[:, None, :], axis=0)
assert np.array_equal(metrics.hamming_distances(codes, codes), 2 * differing)
print("50 random codes: the Hamming distance is twice the number of differing blocks")
print(f"one-hot: {codes.shape[1]} bits; stored: {M} x log2({K}) = {M * int(np.log2(K))} bits")
ball = 1 + M * (K - 1), sum(int(n) for n in (1, 16, 16 * 15 / 2))
print(f"of {2**16} codes, a ball of radius 2 holds {ball[0]}; with 16 plain bits, {ball[1]}")

# %% [markdown]
# A ball of radius 2 is now the codes in which at most one block differs. It is a smaller ball than that of 16 plain bits: keep that in mind when you compare columns.
#
# The same $\gamma$ and $\mu$ of our choice; each alone; and neither; three seeds, and five of the mean entropy alone, whose row depends on them:


# %%
def use_of_words(indices):
    shares = [np.bincount(block, minlength=K) / block.size for block in indices]
    return np.sum(entr(shares)) / (M * np.log(K))


# %% tags=["nbval-ignore-output"]
wide = (len(X), *hidden_sizes(L), M * K)
weights = {
    "neither": (0, 0),
    "mean entropy": (0.5, 0),
    "batch entropy": (0, 0.5),
    "both": (0.5, 0.5),
}
print(f"{'SUBIC':16} mAP %  P@r=2 %  mean entropy  use of words (range)   (1 = log K)")
spread = {}
for name, (gamma, mu) in weights.items():
    loss, n_head = partial(subic_loss, K=K, gamma=gamma, mu=mu), 10 * (M * K + 1)
    seeds = range(5 if name == "mean entropy" else 3)
    thetas = [fit(loss, sizes=wide, n_head=n_head, seed=seed) for seed in seeds]
    scores = [[code_outputs(theta, samples, wide) for samples in (queries, X)] for theta in thetas]
    evaluate(
        f"SUBIC, {name}", [[one_hot_codes(block_indices(Z, K), K) for Z in run] for run in scores]
    )
    spread[name] = [use_of_words(block_indices(Z, K)) for _, Z in scores]
    row = table[f"SUBIC, {name}"]
    row["use"] = np.mean(spread[name])
    row["mean_entropy"] = np.mean([mean_entropy(Z, K)[0] for _, Z in scores]) / np.log(K)
    print(f"{name:16} {100 * row['map_standard']:5.1f} {100 * row['precision_at_2']:8.1f}", end="")
    print(f" {row['mean_entropy']:13.2f} {row['use']:8.2f} ({min(spread[name]):.2f}", end="")
    print(f" to {max(spread[name]):.2f})")


# %%
assert np.median(spread["mean entropy"]) < 0.01 and max(spread["mean entropy"]) < 0.3
assert table["SUBIC, mean entropy"]["map_standard"] < 0.5
assert table["SUBIC, neither"]["use"] < 0.75 < 0.85 < table["SUBIC, both"]["use"]
assert table["SUBIC, both"]["mean_entropy"] < table["SUBIC, batch entropy"]["mean_entropy"] - 0.1
print("mean entropy alone mostly ends in one code for all; batch entropy makes every word count")

# %%
fig, axes = plt.subplots(1, 3, figsize=(9.0, 3.4), sharey=True)
for ax, name in zip(axes, ("neither", "batch entropy", "both")):
    codes_image(ax, outputs[f"SUBIC, {name}"][1][:, sample], name)
    ax.hlines([16.5, 32.5, 48.5], 0.5, 200.5, color=COLOURS["vermillion"], lw=1)
    ax.set(xlabel="digit", xticks=np.arange(10, 200, 20), xticklabels=range(10), ylabel="")
axes[0].set_ylabel("entry of the four blocks")
save_figure(fig, "13_subic_codes", png=True)

# %% [markdown]
# The 200 digits of before; lines divide the blocks. With neither term a block uses about a third of its words, and few of these often. With the batch entropy it uses all of them: some digits get two. With the mean entropy alone there would be nothing to see: **one code for all samples is a global minimum of it**, and with $\gamma=0.5$ it beats the classifier in three seeds of five; in the other two a few codes are left. You met this in notebook 10: a term that asks for outputs far from the threshold is content with a constant.
#
# No term asks the *blocks* to be independent of each other. Each may tell the same classes apart, and with ten classes and four blocks of sixteen words they do so largely: four times nearly the same number is a code that repeats itself.

# %%
indices = (outputs["SUBIC, both"][1].reshape(M, K, -1) == 1).argmax(axis=1)
joint = np.zeros((K, K))
np.add.at(joint, (indices[0], indices[1]), 1 / indices.shape[1])
independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
known = joint > 0
information = np.sum(joint[known] * np.log2(joint[known] / independent[known]))
assert 1.5 < information < np.log2(K)
print("of the 4 bits of block 1, block 2 tells more than 1.5")

# %% [markdown]
# ## Attributes
#
# Song et al. learn three tasks together: ranking by triplets, the prediction of attributes, and ranking on the level of attributes. What they want attributes for, the abstract says: rankings that mean something, and fewer annotated triplets. The sources that we could read name the tasks, not the formulas; the forms below are ours.
#
# Digits have attributes as well. **The table is ours**, made by looking at how they are usually written:

# %%
ATTRIBUTES = {
    "a closed loop": "0689",
    "a straight stroke down": "1479",
    "a horizontal stroke": "2457",
    "a round bottom": "03568",
    "a round top": "02389",
    "open to the left": "2357",
    "strokes that cross": "48",
}
of_digit = np.array([[str(digit) in has for digit in range(10)] for has in ATTRIBUTES.values()])
assert len({tuple(column) for column in of_digit.T}) == 10
for name, row in zip(ATTRIBUTES, of_digit):
    print(f"{name:24}", " ".join(str(digit) if has else "." for digit, has in enumerate(row)))

# %% [markdown]
# Every digit has a column of its own. Does it hold for the pictures? The first row can be counted: a loop is white that is shut in by ink.


# %%
def has_loop(image):
    white = np.pad(image < 0.4 * image.max(), 1, constant_values=True)
    return ndimage.label(white)[1] > 1


loops = np.array([has_loop(row.reshape(28, 28)) for row in dataset.query])
shares = [np.mean(loops[query_digits == digit]) for digit in range(10)]
assert min(shares[digit] for digit in (0, 6, 8, 9)) > 0.7 > shares[2] > 0.5
print("share with a loop: ", "  ".join(f"{d}: {share:.0%}" for d, share in enumerate(shares)))

# %% [markdown]
# The four digits of the table mostly have one, and most others do not. But twos: more than half of these hands close a loop at the foot. Attributes that are given to a class are right for what was meant, and wrong for many a single picture.
#
# ### Predicting them
#
# Seven yes-or-no questions, $t_{ai}\in\{0,1\}$, with scores $z_{ai}$ and $\sigma(z)=1/(1+e^{-z})$: the cross-entropy of each is $-t\log\sigma(z)-(1-t)\log(1-\sigma(z))=\log(1+e^z)-tz$, so
#
# $$ J_A=\frac1m\sum_{a,i}\big(\log(1+e^{z_{ai}})-t_{ai}z_{ai}\big),\qquad\frac{\partial J_A}{\partial Z}=\frac1m\big(\sigma(Z)-T\big), \tag{17} $$
#
# since $\frac{\mathrm d}{\mathrm dz}\log(1+e^z)=\frac{e^z}{1+e^z}=\sigma(z)$.
#
# ### Ranking by them
#
# The predictions $Q=\sigma(Z)$ are numbers in $[0,1]$, just as Lai's outputs. The same triplets, compared by predicted attributes: $J_R$ is (7) and (8) with $Q$ for $H$, and by the chain rule
#
# $$ \frac{\partial J_R}{\partial Z}=\frac{\partial J_R}{\partial Q}\odot Q\odot(1-Q). \tag{18} $$
#
# The margin of 1 now means one attribute.


# %% tags=["export"]
def attribute_prediction(Z: Array, T: Array) -> tuple[float, Array]:
    """Cross-entropy of yes-or-no attributes: Eq. (17) of notebook 13.

    Z (A, m) are scores, T (A, m) what holds, 0/1 or booleans. Sum over the attributes, mean over
    the samples. The task is that of Song et al., BMVC 2016; the form is ours.
    """
    m, T = Z.shape[1], T.astype(Z.dtype)
    value = np.sum(np.logaddexp(0, Z) - T * Z, dtype=np.float64) / m
    return float(value), (sigmoid(Z) - T) / m


def attribute_ranking(Z: Array, y: ArrayLike, margin: float = 1.0) -> tuple[float, Array]:
    """Triplet ranking by the attributes that scores Z (A, m) predict: Eq. (18) of notebook 13.

    The margin is a number of attributes. The task is that of Song et al., BMVC 2016; the form is
    ours.
    """
    Q = sigmoid(Z)
    value, dQ = triplet_ranking(Q, y, margin)
    return value, dQ * Q * (1 - Q)


def multitask_loss(
    H: Array,
    y: ArrayLike,
    head: Array,
    attributes: Array,
    weights: Sequence[float] = (1.0, 0.3, 0.3),
    margin: float = 1.0,
) -> tuple[float, Array, Array]:
    """The three tasks of Song et al. on a code layer: Eq. (19) of notebook 13.

    H are outputs of a sigmoid layer, where a bit is set if they are at least 1/2; y are whole
    numbers from 0 to C - 1; the head (A (L + 1),) predicts the attributes from H; `attributes`
    (A, C) tells which class has which; the weights are those of triplet ranking, attribute
    prediction and attribute ranking.
    """
    V, v = _split_head(head, H)
    Z = V @ H + v  # (A, m), scores of the attributes
    w1, w2, w3 = weights
    J_T, dH = triplet_ranking(H, y, margin)
    J_A, dZ_A = attribute_prediction(Z, attributes[:, y])
    J_R, dZ_R = attribute_ranking(Z, y, margin)
    dZ = w2 * dZ_A + w3 * dZ_R
    return w1 * J_T + w2 * J_A + w3 * J_R, w1 * dH + V.T @ dZ, _head_gradient(dZ, H)  # Eq. (19)


# %%
def case_prediction(rng):
    A, m = rng.integers([1, 3], [6, 15])
    T = rng.integers(0, 2, (A, m))
    return partial(attribute_prediction, T=T), 3 * rng.standard_normal((A, m))


verify("attribute prediction", case_prediction)
verify("attribute ranking", on_outputs(attribute_ranking, margin=0.5))


# %%
def case_multitask(rng):
    loss = partial(multitask_loss, attributes=of_digit[:, :4], weights=(1, 0.7, 0.4))
    return case_whole(rng, loss, "sigmoid", 6, 7 * 7, np.arange(9) % 4)


verify("three tasks, all weights of network and head", case_multitask)

# %% [markdown]
# ### Three tasks together
#
# $$ J_{\text{Song}}=w_1J_T+w_2J_A+w_3J_R, \tag{19} $$
#
# with the triplets $J_T$ of (7) on the code layer, and the attributes predicted from the code layer by a linear head, so that the code has to carry them. The first task alone is Lai's loss with margin 1, which we have trained. We add the second, then the third.


# %% tags=["nbval-ignore-output"]
tasks = {"Song, two tasks": (1, 0.3, 0), "Song, three tasks": (1, 0.3, 0.3)}
n_head, heads = len(of_digit) * (L + 1), {}
for name, weights in tasks.items():
    loss = partial(multitask_loss, attributes=of_digit, weights=weights)
    thetas, runs = train(name, loss, "sigmoid", n_head)
    Vs = [theta[-n_head:].reshape(-1, L + 1) for theta in thetas]
    heads[name] = [[V[:, :-1] @ (H + 0.5) + V[:, -1:] for H in run] for V, run in zip(Vs, runs)]
show(["Lai, margin 1.0", *tasks])

# %%
gain = [
    table[name]["precision_at_2"] - table["Lai, margin 1.0"]["precision_at_2"] for name in tasks
]
assert np.mean(gain) > 0 and abs(gain[1] - gain[0]) < 0.03
print("attributes raise precision at radius 2; the third task changes it by less than 3 points")

# %% [markdown]
# Attributes keep the codes of different digits apart by more than the one bit of the margin, and repair what the slide's margin spoils, as a larger margin did. The third task adds nothing that could be told from chance here: the same triplets have been asked for once already.
#
# The head is a code of its own, of seven bits that have *names*:

# %% tags=["nbval-ignore-output"]
evaluate("attributes, 7 named bits", heads["Song, three tasks"])
show(["attributes, 7 named bits", "Song, three tasks"])
Z_query = heads["Song, three tasks"][0][0]
right = np.mean((Z_query >= 0) == of_digit[:, query_digits], axis=1)
print("right predictions:", ", ".join(f"{n} {100 * r:.0f} %" for n, r in zip(ATTRIBUTES, right)))

# %%
assert right.min() > 0.9
predicted = [sigmoid(Z_query[:, query_digits == digit]).mean(axis=1) for digit in range(10)]
predicted = np.stack(predicted, axis=1)
assert np.array_equal(predicted > 0.5, of_digit)
fig, axes = plt.subplots(1, 2, figsize=(8.5, 2.7), sharey=True)
for ax, picture, title in zip(
    axes, (of_digit, predicted), ("given", "predicted, mean of the queries")
):
    image = ax.imshow(picture, vmin=0, vmax=1)
    ax.set(title=title, xticks=range(10), yticks=range(7), yticklabels=ATTRIBUTES, xlabel="digit")
fig.colorbar(image, ax=axes, label="share")
save_figure(fig, "13_attributes", png=True)

# %% [markdown]
# Black is yes. Every attribute is predicted for the right digits, and for more than nine queries in ten. (Look at the loops of the twos: predicted is what the table says, not what is on the picture.) Seven bits with a meaning rank nearly as well as sixteen without; in a ball of radius 2 they hardly separate anything, as digits that share five attributes of seven lie within.
#
# ## Side by side
#
# ### What was measured
#
# Mean and range of three seeds (SH-BDNN: five), 16 bits, 4,000 digits as training set and database, 1,000 queries, relevant is the same digit; an empty ball counts 0, ties in database order. SH-BDNN, on the same split, is from the recorded runs of `course.py run`. It has its own start, and trains on all samples at once. (Imbalance and dependence of SUBIC are those of one-hot bits, which are $-1$ fifteen times in sixteen: not to be compared.)

# %%
recorded = read_folder()["comparison.jsonl"]
wanted = ("SHBDNN", "mnist5k", L, "4000 train, 4000 database")
reference = [r for r in recorded if (r["method"], r["data"], r["bits"], r["split"]) == wanted]
assert len(reference) >= 3
percent = ("map_standard", "precision_at_2")  # as recorded
reference = [row | {key: row[key] / 100 for key in percent} for row in reference]
enter("SH-BDNN", [{key: row[key] for key in COLUMNS.values()} for row in reference])

# %% tags=["nbval-ignore-output"]
show(["DSH, alpha = 0.01", "DSH, alpha = 0.1", *margins, "SUBIC, both", *tasks, "SH-BDNN"])

# %%
close = ("Lai, margin 4.0", *tasks)
for key in percent:
    assert all(abs(table[name][key] - table["SH-BDNN"][key]) < 0.06 for name in close)
assert all(table[name]["balance"] > 1.5 * table["SH-BDNN"]["balance"] for name in close)
print("Lai, margin 4, and Song's tasks within six points of SH-BDNN; less balanced bits")

# %% [markdown]
# With the same labels, the better variants meet within a few points, and within what another seed or a longer training changes (exercise 13.6): nothing here ranks the *methods*. In their papers they differ by their convolutional networks, too. What does stand out is structure. DSH depends on $\alpha$ for an origin; Lai's margin decides on the balls; SUBIC has good balls and a lower mAP, for with four blocks there are five distances to rank by; and of those without a term for it only DSH from $\alpha=0.1$ on has bits about as balanced as those of SH-BDNN, by keeping its start.

# %%
fig, axes = plt.subplots(1, 4, figsize=(9.5, 2.6))
shown = ("DSH, alpha = 0.01", "Lai, margin 4.0", "SUBIC, both", "Song, three tasks")
for ax, name in zip(axes, shown):
    codes_image(ax, sgn(outputs[name][1][:, sample]), name)
    ax.set(xlabel="digit", xticks=np.arange(10, 200, 20), xticklabels=range(10))
save_figure(fig, "13_codes", png=True)

# %% [markdown]
# In every panel the ten digits are ten stripes: all four losses have learned classes. What differs is what they do with the freedom that classes leave: constant rows where nobody asks for balance, repeated blocks where nobody asks for independence.
#
# ### All losses of the course
#
# | method, notebook | supervision | how $\pm1$ is relaxed while learning | balance | independence | similarity, or what else is learned | quantisation |
# |---|---|---|---|---|---|---|
# | ITQ, 03 | none | not at all: $B$ and a rotation alternate | centred projections | uncorrelated projections | variance kept by PCA | $\|B-RV\|^2$ |
# | ITQ-CCA, 03 | classes | as ITQ | centred | as ITQ, with CCA | correlation with the labels | as ITQ |
# | UH-BDNN, 08 | none | not at all: $B$ is a variable | $\|H\mathbf 1\|^2$ | $\|\frac1mHH^\top-I\|^2$ | reconstruction from $B$ | equality $\|H-B\|^2$ |
# | SH-BDNN, 09 | classes, as all pairs | not at all: $B$ is a variable | as UH-BDNN | as UH-BDNN | pairs: $\frac1LH^\top H$ near $S$ | equality |
# | DH, 10 | none | $\operatorname{sgn}H$, constant in the gradient; tanh | none: variance about 0 | of weights: $\|WW^\top-I\|^2$ | none | $\|\operatorname{sgn}H-H\|^2$ |
# | supervised DH, 10 | classes, as all pairs | as DH | as DH | as DH | scatter of pairs | as DH |
# | SH, 11 | none | dropped: eigenfunctions, then signs | a constraint, relaxed | a constraint, relaxed | neighbours | none |
# | SpH, 11 | none | none needed: spheres in or out | radius at the median | overlaps of a quarter | none | none |
# | KMH, 11 | none | not at all: index of a centre | none | none | distances of centres near Hamming | error of k-means |
# | BA, 11 | none | not at all: $B$ is a variable | none | none | reconstruction from $B$ | $\|B-h(X)\|^2$ |
# | SDH, 12 | classes, as points | not at all: $B$ is a variable | none | none | labels regressed on $B$ | $\|B-F(X)\|^2$ |
# | KSH, 12 | classes, as all pairs | a smooth sign, one bit at a time | none | none | pairs: $B^\top B$ near $LS$ | none |
# | BRE, 12 | distances of pairs, or classes | not at all: exact sweeps of one weight | none | none | Hamming near given distances | none |
# | DSH, 13 | classes, as pairs | dropped: real outputs | none | none | contrastive pairs, margin $2L$ | L1 to the nearest corner |
# | Lai, 13 | classes, as triplets | $[0,1]$ by a sigmoid | none | none | triplets, margin 1 | none in the loss |
# | SUBIC, 13 | classes, as points | softmax in each block | batch entropy | none | classifier behind the code | mean entropy |
# | Song, 13 | triplets, attributes | no codes; ours as Lai | none | none | triplets, attributes | none |
#
# And what a step costs, over and above the network's own passes ($b$ samples in a batch, $T$ triplets of it never listed):
#
# | method | optimiser in this course | cost of the loss per step |
# |---|---|---|
# | ITQ | alternation of signs and an SVD | $O(mL^2)$ |
# | UH-BDNN | L-BFGS and coordinate descent on bits, in turns | $O(mL^2)$ and $O(mLD)$ for the decoder |
# | SH-BDNN | L-BFGS and signs, in turns | $O(mL^2)$, as $m\times m$ matrix $O(m^2L)$ |
# | DH, supervised DH | gradient descent; L-BFGS | $O(mL)$ |
# | SDH | regressions and coordinate descent on bits, in turns | $O(mL(L+C))$ for the bits |
# | KSH | spectral start and L-BFGS, bit after bit | $O(m(p+L+C))$ for $p$ anchors |
# | BRE | exact sweeps, one weight after the other | $O(m(\log m+L+C))$ for a weight |
# | DSH | L-BFGS on batches | $O(b^2L)$ |
# | Lai | L-BFGS on batches | $O(b^2(L+\log b))$ instead of $O(T)=O(b^3)$ |
# | SUBIC | L-BFGS on batches | $O(bMKC)$ |
# | Song | L-BFGS on batches | as Lai, twice |
#
# Read the columns from top to bottom. *Balance* and *independence* of the bits themselves, neither of weights nor of projections nor of a relaxed problem, are what SpH is made of, by construction and with no tie to the samples. As terms of an objective, on the outputs $H$ next to the codes, they stand in two of these seventeen rows, those of BDNN. Codes as binary variables are older: BA and SDH have them in this table, and Discrete Graph Hashing (Liu, Mu, Kumar and Chang, NIPS 2014), which is not in it, learned them directly from a graph of neighbours. *Quantisation* has been invented again and again. And where $B$ is a variable, codes are binary all the time and can disagree with the network; where they are read off at the end, the loss has to make up for it, or does not.
#
# ## What we have now
#
# | name, in `bdnn.baselines.background` | what | equations |
# |---|---|---|
# | `contrastive(H, y, margin)`, `corner_distance(H)`, `dsh_loss` | DSH: pairs, regulariser, both | (4), (5), (6) |
# | `triplet_ranking(H, y, margin)`, `lai_loss` | all triplets by one sort per sample | (7), (8) |
# | `block_softmax(Z, K)`, `block_softmax_backward(P, dP, K)` | blocks of probabilities | (9), (10) |
# | `mean_entropy(Z, K)`, `batch_entropy(Z, K)`, `cross_entropy(S, y)`, `subic_loss` | SUBIC | (11) to (16) |
# | `block_indices(Z, K)`, `one_hot_codes(indices, K)` | its codes | |
# | `attribute_prediction(Z, T)`, `attribute_ranking(Z, y)`, `multitask_loss` | Song's tasks | (17) to (19) |
# | `standardised_network`, `code_outputs`, `network_objective`, `train_on_batches`, `n_weights` | the network and its training | |
#
# ## Exercises
#
# **13.1** (on paper, then in code) Why did the authors of DSH not choose a margin above $2L$? Show that the mean squared distance of $C$ different $\pm1$ codes of $L$ bits, over all pairs, is at most $2L\frac C{C-1}$. What margin can ten classes meet at most?
# <details><summary>Hint</summary>The sum of all squared distances is 2C times the sum of squared lengths, less 2 times the squared length of the sum: Eq. (10) of notebook 10.</details>
#
# **13.2** (on paper, then in code) Show that the pair term of DSH gives the biases of an identity code layer the gradient 0. Replace the regulariser by the balance term of notebook 05, divided by $m$, and train. Which bits do you get, and what becomes of mAP?
# <details><summary>Hint</summary>What does the Laplacian of Eq. (2) do to a vector of ones? A loss for `train_on_batches` is a function of H, y and head.</details>
#
# **13.3** (in code) With attributes similarity comes in grades: $i$ shares more attributes with $j$ than with $k$. Write the mean ranking loss over all triplets with $s_{ij}>s_{ik}$, where $s$ counts the attributes that agree, first with loops, then by one sort per sample and grade. Verify value and gradient.
# <details><summary>Hint</summary>For each grade g, the positives are those with s = g and the negatives those with s below g. Add up the matrices of counts, then use Eq. (2).</details>
#
# **13.4** (in code) A query need not be quantised. Rank SUBIC's database by the sum, over the blocks, of the query's probabilities at the database's indices. How much mAP does it gain over one-hot queries? Why is that so cheap?
# <details><summary>Hint</summary>The sum is a product of a matrix of probabilities with a matrix of zeros and ones. `metrics.average_precision` wants whole numbers: give it ranks.</details>
#
# **13.5** (in code) Store SUBIC's indices as 16 plain bits, $\log_2K$ for each block, and rank by the Hamming distance of these. What goes wrong?
# <details><summary>Hint</summary>How many bits differ between the indices 7 and 8? And between 0 and 1?</details>
#
# **13.6** (in code) How much of the table is chance, and how much is impatience? Train Lai's loss with margins 1 and 4 from three seeds, with 4 epochs and with 8.
# <details><summary>Hint</summary>The seed draws the order of the batches. Print mean and range of both measures.</details>
#
# Solutions: `solutions/13_solutions`.
#
# ## Further reading
#
# * Liu, Wang, Shan and Chen, *Deep Supervised Hashing for Fast Image Retrieval*, CVPR 2016: our Eqs. (3) and (5).
# * Lai, Pan, Liu and Yan, *Simultaneous Feature Learning and Hash Coding with Deep Neural Networks*, CVPR 2015 (arXiv:1504.03410): our Eq. (7), and a network with a branch for each bit.
# * Jain, Zepeda, Pérez and Gribonval, *SUBIC: A Supervised, Structured Binary Code for Image Search*, ICCV 2017 (arXiv:1708.02932): the block softmax and the entropies, our Eqs. (9), (11) and (12).
# * Song, Song, Xiang, Hospedales and Ruan, *Deep Multi-task Attribute-driven Ranking for Fine-grained Sketch-based Image Retrieval*, BMVC 2016: the three tasks.
# * Luo et al., *A Survey on Deep Hashing Methods*, ACM Transactions on Knowledge Discovery from Data 17(1), 2023: many more losses, by pairs, triplets and points.
