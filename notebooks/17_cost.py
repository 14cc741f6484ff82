# %% [markdown]
# # Count the cost of a training
#
# *This page lies off the path (00 to 10, 14, 15): nothing there needs it.*
#
# **What you will do.** Count the operations of every step of UH-BDNN, set the counts beside measured times, and try the optimiser that the paper does not use: minibatches.
#
# **What you will learn**
#
# * what a forward pass, a backward pass, the loss terms, DCC and L-BFGS cost in terms of $m$, $D$, $p$ and $L$;
# * why the same number of operations can take very different times;
# * whether L-BFGS can use parallel machines, which the slides doubt, and what it pays for that;
# * why a lower objective does not buy better retrieval, and what to take in practice.
#
# **What you need.** Notebooks 04 to 08. About 35 minutes to read; a minute to run.

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
from time import perf_counter
from timeit import repeat

import matplotlib.pyplot as plt
import numpy as np
from scipy import optimize
from threadpoolctl import threadpool_limits

# %%
from bdnn.course.plotting import COLOURS, save_figure
from bdnn.data import load, nearest_neighbours
from bdnn.dcc import coordinate_descent
from bdnn.itq import itq_codes, range_scaling
from bdnn.lbfgs import minimize, two_loop
from bdnn.losses import balance, equality, independence
from bdnn.metrics import precision_at_radius, sgn
from bdnn.network import (
    backward,
    flatten,
    forward,
    hidden_sizes,
    initial_weights,
    layer_memory,
    unflatten,
)
from bdnn.uh_bdnn import State, encoder_objective, principal_axes, ridge_decoder, terms

# %% [markdown]
# ## Count the operations of an evaluation
#
# The product of an $a\times b$ and a $b\times c$ matrix takes $2abc$ operations: for every entry $b$ multiplications and about as many additions. *Count first, then read on:* which products does one evaluation of the encoder's objective contain, for layers of $h_1=D$, $h_2$, $h_3$ and $h_4=L$ units?
#
# | | product | operations per sample |
# | --- | --- | --- |
# | forward pass | $W^{(l)}H^{(l)}$ | $2h_lh_{l+1}$ for each of the three layers |
# | independence | $HH^\top$, and $GH$ for its gradient | $4L^2$ |
# | backward pass, weights | $\Delta^{(l+1)}H^{(l)\top}$ | $2h_lh_{l+1}$ for each layer |
# | backward pass, one layer down | $W^{(l)\top}\Delta^{(l+1)}$ | $2h_lh_{l+1}$, but not for the first layer |
#
# Together
#
# $$
# F=m\Big(6\sum_{l=1}^3h_lh_{l+1}-2Dh_2+4L^2\Big). \tag{1}
# $$
#
# The other steps of a round are counted in the same way. L-BFGS, with $k$ pairs for $p$ parameters, the ridge decoder, and DCC with $n$ cycles take
#
# $$
# F_{\text{direction}}\approx 8kp,\qquad F_{\text{decoder}}\approx 2mL(D+L),\qquad F_{\text{DCC}}\approx 2mL(D+nL). \tag{2}
# $$
#
# Only the first of these does not grow with $m$. Equality and balance have no product; like the sigmoids, they are *elementwise*, a few operations for every entry of $H$.


# %%
def evaluation_operations(sizes, m):
    """Eq. (1)."""
    products = [a * b for a, b in zip(sizes, sizes[1:])]
    return m * (6 * sum(products) - 2 * products[0] + 4 * sizes[-1] ** 2)


# %% [markdown]
# Is the count right? An array can count for itself: NumPy asks a subclass before it does anything with it. This one notes the operations of every product in which it takes part, and, apart from them, one for every entry that any other function computes.


# %%
class Counted(np.ndarray):
    """An array that counts what is done with it: products, and everything else."""

    products = others = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        inputs = [np.asarray(a) for a in inputs]
        if out is not None:
            options["out"] = tuple(None if a is None else np.asarray(a) for a in out)
        result = getattr(ufunc, method)(*inputs, **options)
        if ufunc is np.matmul:
            Counted.products += 2 * inputs[0].size * inputs[1][0].size
        else:
            Counted.others += max(np.size(result), *(a.size for a in inputs))
        return result.view(Counted) if isinstance(result, np.ndarray) else result


# %%
def counted(step, *arrays):
    """Operations of a step on these arrays: (in products, in all else)."""
    Counted.products = Counted.others = 0
    step(*(A.view(Counted) for A in arrays))
    return Counted.products, Counted.others


# %%
LAMBDAS = (1e-5, 5e-2, 1e-2, 1e-6)
rng = np.random.default_rng(0)
for D, m, L in ((784, 300, 16), (50, 5000, 8), (128, 1000, 32)):
    sizes = (D, *hidden_sizes(L), L)
    X, B = rng.random((D, m)), sgn(rng.standard_normal((L, m)))
    theta = flatten(*initial_weights(X, sizes, rng))
    J = partial(encoder_objective, X=X, B=B, sizes=sizes, lambdas=LAMBDAS)
    found, _ = counted(J, theta)
    assert found == evaluation_operations(sizes, m)
    print(f"D = {D}, m = {m}, L = {L}: {found:,} operations in products, as by Eq. (1)")

# %% [markdown]
# ## Set times beside counts
#
# Now on real digits: 4,000 from MNIST, scaled and turned to their principal axes as `UHBDNN` does it. Of these, 500 are held out; they will be queries for validation. The test queries stay untouched on this page.

# %%
L = 16
train = load("mnist5k").train.T.astype(np.float32)
shift, scale = range_scaling(train)
V = (train - train.mean(axis=1, keepdims=True)) / np.float32(scale)
Z = principal_axes(V).T @ V  # (r, 4000)
SIZES = (len(Z), *hidden_sizes(L), L)
print(f"layers of {SIZES} units, {sum(a * b + b for a, b in zip(SIZES, SIZES[1:])):,} parameters")


# %%
def problem(seed):
    """Samples, queries held out, the queries' neighbours; codes and weights to start from."""
    rng = np.random.default_rng(seed)
    held, kept = np.split(rng.permutation(Z.shape[1]), [500])
    X, Q = Z[:, kept], Z[:, held]
    theta = flatten(*initial_weights(X, SIZES, rng))
    return X, Q, nearest_neighbours(Q.T, X.T, 50), itq_codes(X, L, rng), theta


# %% [markdown]
# The steps of one round, each on its own; the direction with 20 pairs, DCC with one cycle.

# %%
X, Q, relevant, B, theta = problem(0)
Ws, cs = unflatten(theta, SIZES)
Hs, (W, c) = forward(Ws, cs, X), ridge_decoder(X, B, LAMBDAS[0])
pairs = [(d, d + theta) for d in rng.random((20, theta.size), dtype=np.float32)]
STEPS = {
    "forward pass": (lambda X: forward(Ws, cs, X), X),
    "terms": (lambda H, B: (equality(H, B), independence(H), balance(H)), Hs[-1], B),
    "backward pass": (lambda *Hs: backward(Ws, Hs, Hs[-1] - B), *Hs),
    "L-BFGS direction": (lambda g: two_loop(g, pairs), theta),
    "ridge decoder": (lambda X, B: ridge_decoder(X, B, LAMBDAS[0]), X, B),
    "DCC, one cycle": (lambda X: coordinate_descent(X, W, c, Hs[-1], 0.05, B, cycles=1), X),
}


# %%
def seconds(call, *arguments, times=7):
    """The shortest time of several: what other programs do can only lengthen it."""
    return min(repeat(lambda: call(*arguments), number=1, repeat=times))


# %%
COUNTS = {name: counted(*step) for name, step in STEPS.items()}
print("M operations       in products  elsewhere")
for name, (products, others) in COUNTS.items():
    print(f"{name:18} {products / 1e6:11.1f}  {others / 1e6:9.1f}")

# %% tags=["nbval-ignore-output"]
with threadpool_limits(limits=1):
    TIMES = {name: seconds(*step) for name, step in STEPS.items()}
print("one thread              ms   G operations in a second")
for name, time in TIMES.items():
    print(f"{name:18} {1e3 * time:7.2f}   {sum(COUNTS[name]) / time / 1e9:7.1f}")

# %% [markdown]
# Times differ from machine to machine, so this page asserts none. Look at the last column: the passes are the fastest, because a matrix product uses many times every number that it has fetched. The direction of L-BFGS uses each number once or twice and waits for memory. Within the passes the same is true of the sigmoids.
#
# Nor is the table the whole story: in one round the passes and the terms run a hundred times, the direction too, the decoder and DCC once. **A training consists of evaluations**; the rest hardly counts. That leaves two questions: how fast one evaluation can be, and how many it takes.
#
# ## Use more threads
#
# A library for matrix products shares large ones among threads. Everything elementwise runs on one thread in NumPy. Here is the whole evaluation for different numbers of samples:

# %% tags=["nbval-ignore-output"]
print("samples   1 thread            2 threads")
for n in (128, 1024, 3500, 14_000):
    part = np.resize(np.arange(3500), n)
    data = X[:, part], B[:, part], SIZES, LAMBDAS, layer_memory(X[:, part], SIZES)
    print(f"{n:7,}", end="")
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            time = seconds(encoder_objective, theta, *data, times=10)
        speed = evaluation_operations(SIZES, n) / time / 1e9
        print(f"   {1e3 * time:6.2f} ms {speed:4.0f} G/s", end="")
    print()

# %% [markdown]
# Read the columns downwards. Small batches are slower per sample: the calls and the parameters themselves have to be paid for each time, whatever $m$ is. Very large ones are slower again, because their layers no longer fit into the cache. Then read across. A second thread needs large products to be worth its while; it never doubles the speed, because everything elementwise stays on one thread; and where another program has the second core, as was the case when the stored output was made, the threads wait for each other and two can be far slower than one. More machines help better: an evaluation is a sum over samples, so each machine can take its part, sigmoids included. Notebook 16 does that, with two small reductions for each evaluation.
#
# ## Compare L-BFGS with minibatches
#
# The slides end with a doubt: L-BFGS does not use parallel machines as the optimisers do with which networks are trained today. The usual one is Adam (Kingma and Ba, 2015). It takes a few samples at a time, divides a running mean of the gradient by a running root mean square, entry by entry, and goes a step of the length that a schedule prescribes. It has no line search and never sees the objective. It takes ten lines:


# %%
def adam(objective, theta, m, rng, epochs, n=128, rate=1e-2):
    """Adam on batches of n samples; the rate falls to 0 along a cosine."""
    batches = [np.array_split(rng.permutation(m), m // n) for _ in range(epochs)]
    mean, square, n_steps = 0.0, 0.0, epochs * (m // n)
    for t, batch in enumerate((batch for epoch in batches for batch in epoch), start=1):
        _, g = objective(theta, batch)
        mean = 0.9 * mean + 0.1 * g
        square = 0.999 * square + 0.001 * g**2
        step = mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
        theta = theta - rate / 2 * (1 + np.cos(np.pi * t / n_steps)) * step
    return theta


# %% [markdown]
# **Departure.** Independence and balance are no sums over samples. A batch puts its own second moments in the place of those of all samples, and thereby minimises a slightly different objective: Eq. (6) of notebook 16.
#
# Its rivals are our own L-BFGS and SciPy's L-BFGS-B, which is compiled:


# %%
def lbfgs(objective, theta, m, rng, max_iter):
    return minimize(objective, theta, max_iter=max_iter).x


def lbfgs_of_scipy(objective, theta, m, rng, max_iter):
    def in_double_precision(x):
        J, g = objective(x.astype(np.float32))
        return J, g.astype(np.float64)

    options = {"maxiter": max_iter, "maxcor": 20}
    x0 = theta.astype(np.float64)
    found = optimize.minimize(in_double_precision, x0, jac=True, method="L-BFGS-B", options=options)
    return found.x.astype(np.float32)


# %% [markdown]
# All of them train the whole UH-BDNN: four rounds of decoder, encoder and codes (Eq. (1) of notebook 08). Only the encoder step differs.


# %%
def trained(encoder_step, seed, n_rounds=4):
    """Final objective, P@2 of the held-out queries, passes over the samples, and seconds."""
    X, Q, relevant, B, theta = problem(seed)
    rng, m, seen = np.random.default_rng(seed), X.shape[1], 0
    memory = layer_memory(X, SIZES)

    def objective(theta, batch=None):
        nonlocal seen
        seen += m if batch is None else len(batch)
        if batch is None:
            return encoder_objective(theta, X, B, SIZES, LAMBDAS, memory)
        return encoder_objective(theta, X[:, batch], B[:, batch], SIZES, LAMBDAS)

    started = perf_counter()
    for _ in range(n_rounds):
        W, c = ridge_decoder(X, B, LAMBDAS[0])
        theta = encoder_step(objective, theta, m, rng)
        H = forward(*unflatten(theta, SIZES), X)[-1]
        state = State(theta, W, c, H, B)
        B = coordinate_descent(X, W, c, H, LAMBDAS[1], B)
    spent = perf_counter() - started
    J = sum(terms(X, state, SIZES, LAMBDAS).values())
    codes = [sgn(forward(*unflatten(theta, SIZES), A)[-1]).T for A in (Q, X)]
    return J, 100 * precision_at_radius(*codes, relevant), seen / m, spent


# %%
RIVALS = {
    "L-BFGS": {n: partial(lbfgs, max_iter=n) for n in (20, 50, 100)},
    "SciPy's L-BFGS-B": {100: partial(lbfgs_of_scipy, max_iter=100)},
    "Adam": {n: partial(adam, epochs=n) for n in (5, 10, 20)},
}
with threadpool_limits(limits=1):
    RUNS = {
        (name, n): np.array([trained(step, seed) for seed in range(3)])  # (3 seeds, 4)
        for name, steps in RIVALS.items()
        for n, step in steps.items()
    }

# %% tags=["nbval-ignore-output"]
print("means of three seeds           passes  seconds   J        P@2 % (lowest to highest)")
for (name, n), runs in RUNS.items():
    J, P, passes, spent = runs.mean(axis=0)
    what = f"{name}, {n} {'epochs' if name == 'Adam' else 'iterations'}"
    print(f"{what:30} {passes:6.0f}  {spent:7.2f}   {J:.3f}   ", end="")
    print(f"{P:.1f} ({runs[:, 1].min():.1f} to {runs[:, 1].max():.1f})")

# %%
LOWEST = np.min([runs[:, 0] for runs in RUNS.values()], axis=0)  # of each seed
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
for (name, steps), marker, colour in zip(RIVALS.items(), "so^", ("blue", "sky", "vermillion")):
    runs = np.array([RUNS[name, n] for n in steps])  # (settings, seeds, 4)
    spent = runs[:, :, 3].mean(axis=1)
    style = {"marker": marker, "color": COLOURS[colour], "label": name, "capsize": 3}
    for ax, values in zip(axes, (runs[:, :, 0] - LOWEST, runs[:, :, 1])):
        mean = values.mean(axis=1)
        reach = abs(np.array([values.min(axis=1), values.max(axis=1)]) - mean)
        _ = ax.errorbar(spent, mean, reach, **style)
for ax in axes:
    _ = ax.set(xscale="log", xlabel="seconds of training")
    _ = ax.set_xticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    _ = ax.set_xticks([], minor=True)
_ = axes[0].set(title="objective above the lowest found", ylim=-0.004)
_ = axes[1].set(title="precision within radius 2 (%)")
_ = axes[0].legend()
save_figure(fig, "17_optimisers")

# %% [markdown]
# Means over three seeds, and bars from the lowest to the highest. The left panel keeps falling for all of them. The right panel is flat as soon as the left one is near its floor: from there on, the seed decides more than the optimiser does.


# %%
def mean_of(name, n):
    return RUNS[name, n].mean(axis=0)


full, half, few = mean_of("L-BFGS", 100), mean_of("L-BFGS", 50), mean_of("Adam", 5)
assert (RUNS["Adam", 5][:, 0] > RUNS["L-BFGS", 100][:, 0]).all()
assert abs(few[1] - full[1]) < 3 and abs(half[1] - full[1]) < 3
assert abs(mean_of("SciPy's L-BFGS-B", 100)[1] - full[1]) < 3
assert mean_of("L-BFGS", 20)[1] < few[1] and full[2] > 18 * few[2]
print(f"passes over the samples: Adam {few[2]:.0f}, L-BFGS more than 18 times as many")
print("objective, in every seed: higher with Adam. P@2: the same within three points")

# %% [markdown]
# Five epochs of Adam in each round find nearly what a hundred iterations of L-BFGS find, in a twentieth of the passes and at a higher objective. The time falls less, to about a sixth on our machine: small batches are slower per sample, and each has to update all parameters. **Part of the gain needs no other optimiser**: fifty iterations of L-BFGS in place of a hundred do as well, in half the time. But twenty do not, and where that border lies has to be found by trying, just like Adam's rate (Exercise 17.4). SciPy's program, from the same formulas, ends at the same height; it takes a little longer, because it keeps its vectors in double precision.
#
# ## Ask what the objective buys
#
# Why does a lower objective not retrieve better? The network imitates the codes $B$, so their own retrieval is what it can hope for, and the last bits that it learns to imitate are of little use. Train one encoder step for the codes of ITQ, look at the bits that it misses, and compare with as many bits that are wrong at random:


# %%
X, Q, relevant, _, theta = problem(0)
m, samples, rng = X.shape[1], np.hstack([X, Q]), np.random.default_rng(0)
B = itq_codes(samples, L, rng)  # of the queries, too, to see which of their bits are missed
J = partial(encoder_objective, X=X, B=B[:, :m], sizes=SIZES, lambdas=LAMBDAS)


# %%
def precision(codes):
    """P@2 of codes (L, samples and queries), in percent."""
    return 100 * precision_at_radius(codes[:, m:].T, codes[:, :m].T, relevant)


# %%
IMITATIONS = {}
for n in (50, 100, 400):
    H = forward(*unflatten(minimize(J, theta, max_iter=n).x, SIZES), samples)[-1]
    missed = sgn(H) != B
    at_random = np.where(rng.random(B.shape) < missed.mean(), -B, B)
    size = np.median(abs(H[missed])), np.median(abs(H[~missed]))
    IMITATIONS[n] = missed[:, m:].mean(), precision(sgn(H)), precision(at_random), *size

# %% tags=["nbval-ignore-output"]
print(f"codes of ITQ: P@2 {precision(B):.1f} %")
for n, (missed, P, P_random, wrong, right) in IMITATIONS.items():
    print(f"{n:3d} iterations: {100 * missed:4.1f} % of the queries' bits missed, ", end="")
    print(f"|h| {wrong:.2f} (others {right:.2f}), P@2 {P:.1f} %; at random {P_random:.1f} %")

# %%
_, P, P_random, wrong, right = IMITATIONS[100]
assert precision(B) - P < 3 < P - P_random and wrong < right / 3
print("after 100 iterations P@2 is within 3 points of the codes that are imitated;")
print("as many errors at random cost more than 3 points beyond that;")
print("|h| is less than a third as large where a bit is missed")

# %% [markdown]
# A bit that the network misses belongs to a sample near the border of that bit, where $h$ is close to 0. Its neighbours lie on both sides of the border anyway, so few of them are lost or won when the sample changes sides. A sum of squares works hardest on exactly these samples; a ranking hardly notices them. (One seed is an anecdote; two others looked the same.) What decides in the end is the codes, and those come from ITQ and DCC, whatever the optimiser.
#
# ## Answer the doubt
#
# Let $P$ processors share an evaluation, and let it take them $r$ seconds to add up what they found. With $n_e$ evaluations of all $m$ samples, or $n_s$ steps of $n$ samples, which are too few to be shared,
#
# $$
# T_{\text{L-BFGS}}=n_e\Big(\frac{m}{P}\,\tau+r\Big),\qquad T_{\text{Adam}}=n_s\,n\,\tau, \tag{3}
# $$
#
# where $\tau$ is the time for one sample. What no machine can shorten is the number of steps that have to wait for each other:

# %%
n_steps = 4 * 5 * (3500 // 128)
assert 400 < full[2] < 500
print("one after the other: L-BFGS 400 to 500 evaluations of 3,500 samples each,")
print(f"                     Adam {n_steps} steps of {3500 // (3500 // 128)} samples each")

# %% [markdown]
# So the doubt has the matter upside down. L-BFGS parallelises *better*: its work comes in fewer and much larger pieces. But it has twenty times as much of it. By Eq. (3), with $r=0$, twenty processors are needed merely to catch up with Adam on one. On one machine minibatches win.
#
# | you have | take |
# | --- | --- |
# | up to some ten thousand vectors | L-BFGS, as `UHBDNN` does: no rate to try, seconds to a few minutes. If that is too long, halve `max_iter`, unless `fit` then warns that the network does not follow its codes |
# | many more | a sample first: `UHBDNN` makes its first rounds on 20,000 of more than 40,000 vectors (notebook 08). If the rounds on all of them take too long, train on a random part |
# | millions, and retraining every day | this objective with Adam, in the framework of your choice. Try the rate on held-out queries, and make sure that there are enough steps: 3,500 samples in batches of 1,024 are three steps an epoch, and five epochs are then far too few |
# | a cluster on which the data lies anyway | L-BFGS with two small reductions for each evaluation (notebook 16) |
#
# L-BFGS stays the method of the course. It is the paper's, it shows every mistake in a gradient at once, and its result depends on no schedule. **What this page has not shown:** larger data, longer codes, SH-BDNN. Its comparison rests on three seeds, 500 queries and one data set.
#
# ## What we have now
#
# Counts of all steps that agree with the arrays' own, (1) and (2); times beside them; and an answer to the doubt, (3). Nothing is exported.
#
# ## Exercises
#
# **17.1** (on paper) In (1) the first layer counts four times $Dh_2$ and the others six times $h_lh_{l+1}$. Why? What would the gradient with respect to $X$ cost?
#
# <details><summary>Hint</summary> One of the three products of a layer is not needed for the first. </details>
#
# **17.2** (in code) `UHBDNN` gives the encoder $r$ principal axes in place of $D$ dimensions. After how many evaluations has this paid for the rotation $P^\top X$ and for the second moments $XX^\top$ before it? Compute it for $D=784$ and $r=204$.
#
# <details><summary>Hint</summary> Compare $2Drm+2D^2m$ with the difference of (1) at $D$ and at $r$. </details>
#
# **17.3** (on paper) Let the reductions of an evaluation take $r=1$ ms. Take the numbers of steps from above, $m=10^6$, batches of 129 and $\tau=2$ µs, and suppose that neither number of steps changes with $m$. From how many processors on is L-BFGS faster than Adam on one? What has become of the twenty?
#
# <details><summary>Hint</summary> Set the two times of (3) equal and solve for $P$. How many epochs does Adam make? </details>
#
# **17.4** (in code) Train with Adam for five epochs in one encoder step for the codes of ITQ, at the rates $10^{-3}$, $10^{-2}$, $10^{-1}$ and 1, in batches of 128. How wide is the range of rates that serve? How do you choose without looking at test queries?
#
# <details><summary>Hint</summary> The function `adam` of this page; the objective on all training samples, or P@2 of queries held out. </details>
#
# Solutions: `solutions/17_solutions`.
#
# ## Further reading
#
# * Williams, Waterman and Patterson, *Roofline: an Insightful Visual Performance Model for Multicore Architectures*, Communications of the ACM, 2009: operations per byte, and what a step waits for.
# * Kingma and Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015.
# * Le, Ngiam, Coates, Lahiri, Prochnow and Ng, *On Optimization Methods for Deep Learning*, ICML 2011: L-BFGS against stochastic gradients, and when parallel hardware helps which of them.
# * Bottou, Curtis and Nocedal, *Optimization Methods for Large-Scale Machine Learning*, SIAM Review 2018: why the first passes are worth most.
