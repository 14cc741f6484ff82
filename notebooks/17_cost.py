# %% [markdown]
# # Count what a step costs
#
# **What you will do.** Count the arithmetic and the memory traffic of every step of BDNN as functions of $D$, $m$, $L$ and $C$, verify
# the count, and lay it beside recorded times.
#
# **What you will learn**
#
# * why the matrix products are the floor of an evaluation, and how near to it the library comes;
# * how to tell from two numbers whether a step waits for the processor or for the memory;
# * which of $D$, $m$ and $L$ a training pays for, and how much;
# * what limits each step, and what it would take to make it faster.
#
# **What you need.** Notebooks 04 and 06 to 09. About 30 minutes to read; a few seconds to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# %%
from bdnn.base import shortest_time
from bdnn.network import flatten, hidden_sizes
from bdnn.course.plotting import COLOURS, save_figure
from bdnn.sh_bdnn import SupervisedObjective
from bdnn.uh_bdnn import EncoderObjective

# %% [markdown]
# ## Operations
#
# A product of an $a\times b$ and a $b\times c$ matrix takes $2abc$ operations: for every entry $b$ multiplications and about as many additions.
# *Count first, then read on:* which products does an evaluation of notebook 08 contain, for layers of $h_0=D$, $h_1$, $h_2$ and
# $h_3=L$ units?
#
# | | product | operations per sample |
# | --- | --- | --- |
# | forward | $W^{(l)}H^{(l)}$ | $2h_{l-1}h_l$ for each of the three layers |
# | moments | $HH^\top$ | $2L^2$ |
# | slope | $MH$ | $2L^2$ |
# | gradient of the weights | $\Delta^{(l+1)}H^{(l)\top}$ | $2h_{l-1}h_l$ for each layer |
# | one layer back | $W^{(l)\top}\Delta^{(l+1)}$ | $2h_{l-1}h_l$, but not for the first layer |
#
# Together
#
# $$
# F=m\Big(6\sum_{l=1}^3h_{l-1}h_l-2Dh_1+4L^2\Big)\approx 4mDh_1\quad\text{for large }D. \tag{1}
# $$
#
# Labels add next to nothing: the class sums $HY^\top$ are $mL$ additions, whatever $C$ is.


# %%
def evaluation_operations(D, m, L):
    """Eq. (1): operations in the matrix products of one objective and gradient."""
    h = (D, *hidden_sizes(L), L)
    layers = sum(a * b for a, b in zip(h, h[1:]))
    return m * (6 * layers - 2 * D * h[1] + 4 * L**2)


# %%
print(
    f"MNIST's shape, m = 10,000, 16 bits: {evaluation_operations(784, 10_000, 16) / 1e9:.4f} G operations"
)
share = 4 * 784 * 90 * 10_000 / evaluation_operations(784, 10_000, 16)
print(f"the two products with X are {share:.1%} of them")

# %% [markdown]
# Is the count right? An array can count for itself: NumPy asks a subclass before it does anything with it. This one notes the operations of every
# product that it takes part in.


# %%
class Counted(np.ndarray):
    """An array that counts the operations of its matrix products."""

    operations = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        inputs = [np.asarray(a) for a in inputs]
        if out is not None:
            options["out"] = tuple(np.asarray(a) for a in out)
        if ufunc is np.matmul:
            (a, b), c = inputs[0].shape, inputs[1].shape[1]
            Counted.operations += 2 * a * b * c
        result = getattr(ufunc, method)(*inputs, **options)
        return result.view(Counted) if isinstance(result, np.ndarray) else result


# %%
def random_problem(D, m, L, rng):
    sizes = (D, *hidden_sizes(L), L)
    X, B = rng.random((D, m)), np.where(rng.random((L, m)) < 0.5, -1.0, 1.0)
    Ws = [rng.standard_normal((b, a)) / np.sqrt(a) for a, b in zip(sizes, sizes[1:])]
    theta = flatten(Ws, [np.zeros((len(W), 1)) for W in Ws])
    return X, B, rng.integers(0, 10, m), sizes, theta


# %%
def counted_operations(objective, theta):
    """Operations of one evaluation, as the arrays count them."""
    objective.workspace.outputs = [
        [H.view(Counted) for H in block] for block in objective.workspace.outputs
    ]
    Counted.operations = 0
    objective(theta.view(Counted))
    return Counted.operations


# %%
rng = np.random.default_rng(0)
for D, m, L in ((784, 300, 16), (50, 5000, 8), (128, 1000, 32)):
    X, B, y, sizes, theta = random_problem(D, m, L, rng)
    lambdas = (1e-3, 5.0, 1.0, 1e-4)
    for objective in (
        EncoderObjective(X, B, sizes, lambdas),
        SupervisedObjective(X, B, y, sizes, lambdas),
    ):
        counted = counted_operations(objective, theta)
        assert counted == evaluation_operations(D, m, L)
    print(f"D = {D}, m = {m}, L = {L}: {counted:,} operations, as by Eq. (1)")

# %% [markdown]
# To the last operation, with and without labels, in one block and in two.
#
# ## Bytes
#
# A step can also wait for the memory. What has to come from there, or go there, at the least? With $b$ bytes a number (4 in float32):
#
# * an evaluation reads $X$ twice, once in each pass, and writes the outputs of the layers in the first and reads them in the second; codes
#   are read twice:
#
# $$
# T=mb\big(2D+2(h_1+h_2+L)+2L\big); \tag{2}
# $$
#
# * the two loops of L-BFGS read $s$ and $y$ of each of $k$ pairs twice, $4kpb$ bytes for $p$ parameters, and do $8kp$ operations;
# * DCC reads all codes for each of the $L$ bits of a cycle, $L^2mb$ bytes and $2L^2m$ operations; before that it does the product $W^\top X$;
# * the similarity in its explicit form has $m^2$ entries, and this is all that need be said; from moments it is in (1);
# * a Hamming distance of $L\le64$ bits reads one word and counts.
#
# What matters is the quotient: operations per byte. A processor that does 50 G operations in a second, and whose memory brings 10 GB, is balanced at
# 5 operations per byte. A step with more waits for the processor, a step with less for the memory.


# %%
def costs(D, m, L, bytes_each=4, pairs=100, queries=1000):
    """For every step (operations, least traffic in bytes)."""
    h1, h2 = hidden_sizes(L)
    p = D * h1 + h1 + h1 * h2 + h2 + h2 * L + L
    b = bytes_each
    return {
        "objective and gradient": (
            evaluation_operations(D, m, L),
            m * b * (2 * D + 2 * (h1 + h2 + L) + 2 * L),
        ),
        f"L-BFGS direction, {pairs} pairs": (8 * pairs * p, 4 * pairs * p * b),
        "decoder (ridge)": (2 * m * D * L + 2 * m * L**2, m * b * (D + 2 * L)),
        "DCC, its product W'X": (2 * m * D * L, m * b * (D + L)),
        "DCC, one cycle": (2 * L**2 * m, L**2 * m * b),
        "similarity, explicit": (4 * L * m**2, 3 * m**2 * b),
        "similarity, from moments": (4 * L**2 * m, 3 * L * m * b),
        "encoding": (2 * m * (D * h1 + h1 * h2 + h2 * L), m * (D * b + L // 8)),
        f"distances, {queries} queries": (3 * queries * m, queries * m * 1),
    }


# %%
print("D = 784, m = 10,000, L = 16, float32     M operations  M bytes  operations per byte")
for step, (operations, traffic) in costs(784, 10_000, 16).items():
    print(
        f"{step:38}  {operations / 1e6:14,.1f}  {traffic / 1e6:7,.1f}  {operations / traffic:12.2f}"
    )

# %% [markdown]
# Three kinds of steps. Evaluation, decoder, encoding and the product of DCC do tens of operations for each byte: they are bound by the
# **processor**, and their floor is the speed of its matrix products. The directions of L-BFGS do half an operation per byte, the cycles of DCC likewise:
# bound by the **memory**, or by the cache as long as $S$, $Y$ or the codes fit into it. The explicit similarity stands between, with far too much
# of both: no tuning would save it, and the moments do without it.
#
# And this machine? (Not checked, as it differs everywhere.)

# %% tags=["nbval-ignore-output"]
A, Z = rng.random((512, 512), dtype=np.float32), np.empty((512, 512), np.float32)
rate = 2 * 512**3 / shortest_time(lambda: np.matmul(A, A, out=Z), 20)
big = np.ones(32 * 2**20, np.float32)
bandwidth = big.nbytes / shortest_time(lambda: big.sum(), 5)
print(f"{rate / 1e9:.0f} G operations and {bandwidth / 1e9:.0f} GB in a second: ", end="")
print(f"balanced at {rate / bandwidth:.0f} operations per byte")

# %% [markdown]
# ## What was measured
#
# Times do not repeat from machine to machine, nor from hour to hour on a shared one. `python3 course.py bench` therefore measures *ratios*: our step and
# a reference in turn, pair by pair, and the median of the quotients. The rows below were recorded by
# `python3 course.py bench --record notebooks/results/bench.json`: on one thread, in processor time, which other programs lengthen least.

# %%
bench = json.loads(Path("results/bench.json").read_text())
print(f"{'':64}{'measured':>9}  {'goal':>7}")

# %%
for row in bench:
    if row["goal"] is not None:
        sign, mark = (">=" if row["at_least"] else "<="), "" if row["met"] else "  missed"
        print(
            f"{row['what'][:62]:62}\n    {row['case'][:58]:58}  {row['value']:9.3f}  {sign} {row['goal']:g}{mark}"
        )

# %% [markdown]
# What the table says is what the model expects where the processor is the limit: an evaluation costs little more than its products. The rest are the sigmoids and
# the passes over the layers, a share that is larger where the products are small: few dimensions, or float32, which halves the time of a product.
# Where a goal is missed, the reason is named further down.
#
# ## The model beside the measurement
#
# One number is open in (1), the speed of the processor. We take it from the products at the base point, $D=784$, $m=10{,}000$, $L=16$, and the model has to
# predict all other points.

# %%
sweeps = [row for row in bench if "sweep" in row["sizes"]]


def products_seconds(row):
    """Time of the products alone: that of the evaluation over the ratio of the two."""
    return row["seconds"] / row["value"]


# %%
def predicted(row):
    return evaluation_operations(*(row["sizes"][name] for name in ("D", "m", "L")))


# %%
at_base = [r for r in sweeps if tuple(r["sizes"][k] for k in ("m", "D", "L")) == (10_000, 784, 16)]
speed = np.median([predicted(row) / products_seconds(row) for row in at_base])
print(f"speed of the products when the bench ran: {speed / 1e9:.0f} G operations in a second")


# %%
def draw_panel(ax, name, label):
    rows = [row for row in sweeps if row["sizes"]["sweep"] == name]
    x = [row["sizes"][name] for row in rows]
    _ = ax.loglog(x, [1e3 * predicted(row) / speed for row in rows], color="0.6", label="Eq. (1)")
    for marker, colour, text, times in (
        ("s", "vermillion", "products alone", [products_seconds(row) for row in rows]),
        ("o", "blue", "objective and gradient", [row["seconds"] for row in rows]),
    ):
        milliseconds = np.multiply(1e3, times)
        _ = ax.plot(x, milliseconds, marker, ls="", color=COLOURS[colour], label=text)
    _ = ax.set(xlabel=label)
    _ = ax.set_xticks(x, [f"{value:,}" for value in x], fontsize=7)
    _ = ax.set_xticks([], minor=True)


# %%
fig, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, (name, label) in zip(axes, [("m", "samples m"), ("D", "dimensions D"), ("L", "bits L")]):
    draw_panel(ax, name, label)
_ = axes[0].set_ylabel("ms")
_ = axes[0].legend()
save_figure(fig, "17_cost")

# %% [markdown]
# The time of one SH-BDNN evaluation against $m$, $D$ and $L$, the other two at 10,000, 784 and 16. The grey line is Eq. (1) with one speed for all
# points; squares are the products alone and circles the whole evaluation. Circles stand a little above squares everywhere, and both follow the line. Against
# $m$ all is straight, of slope 1; against $D$ the line bends at the left, where what does not depend on $D$ takes over.

# %%
for row in sweeps:
    name = row["sizes"]["sweep"]
    quotient = products_seconds(row) * speed / predicted(row)
    print(f"{name} = {row['sizes'][name]:6,}: products {quotient:.2f} of the prediction, ", end="")
    print(f"evaluation {row['value']:.2f} of its products")

# %% [markdown]
# ## What limits each step
#
# | step | limit | what was done | what is left |
# | --- | --- | --- | --- |
# | objective and gradient | matrix products | two passes over blocks, kept memory, no $m\times m$ and no $m\times D$ array (notebooks 04, 08, 09) | sigmoids and slopes: 10 to 25 % |
# | L-BFGS | memory: $4kp$ numbers | vectors updated in place, inner products straight from BLAS (notebook 06) | with 100 pairs it reads 118 MB in an iteration, from memory, since the evaluation before it has displaced them from the cache |
# | decoder | the product $XB^\top$ | closed form in place of iterations (notebook 08) | nothing |
# | DCC | the product $W^\top X$, then the cache | $W^\top W$ and $W^\top X$ once for all cycles; stop when nothing changes (notebook 07) | nothing |
# | similarity | none | never formed (notebooks 05, 09) | nothing |
# | encoding | matrix products | blocks of samples, each in the memory of the one before; bits packed at once | check and scaling of the input, and the sigmoids: 40 % of the time; with tanh for the sigmoids, their factors in the weights, we came to 1.3 of the products at best |
# | evaluation of codes | the sort of each query's distances | a sort of bytes, which counts in place of comparing; blocks of queries; with numba a loop that counts and does not sort (notebook 02) | the distances: a quarter of the time |
#
# ## Beside PyTorch
#
# PyTorch does the same products with another library: Intel's MKL in its builds for these processors, where the builds of NumPy have OpenBLAS; autograd then pays for what it keeps
# and allocates. So two things are in a ratio to PyTorch, the libraries and the programs. To tell them apart, the bench was run a second time with a NumPy that was built over MKL (CONTRIBUTING says how),
# and it times the products alone in both. From our evaluation over PyTorch's, $a$, ours over our products, $b$, and our products over PyTorch's, $c$, follows what share of its own time PyTorch
# spends on products: $a/(bc)$. No program that does these products in that library can be below it.


# %%
def ratios(name, method="UH-BDNN"):
    """For each case (our time over PyTorch's, products' share of PyTorch's time)."""
    rows = json.loads(Path(f"results/{name}.json").read_text())
    value = {(row["what"], row["case"]): row["value"] for row in rows}
    found = {}
    for what, case in value:
        if what.startswith("products alone"):
            step = f"{method}, objective and gradient / "
            a, b = value[step + "PyTorch", case], value[step + "its products", case]
            found[case] = a, a / (b * value[what, case])
    return found


# %%
print(f"{'UH-BDNN over PyTorch':36}{'OpenBLAS':>9}{'MKL':>7}   products / PyTorch")
over_mkl = ratios("bench_mkl")
for case, (ratio, _) in ratios("bench").items():
    print(f"{case:36}{ratio:9.2f}{over_mkl[case][0]:7.2f}{over_mkl[case][1]:12.2f}")

# %% [markdown]
# With the same library below both we are ahead in every case, by 2 to 22 %. With the libraries as they are installed, PyTorch is ahead in float32, where OpenBLAS takes a fifth to a third more time for the same product, and we
# are ahead in float64 up to 16 bits. The goal of 0.8 was set on a machine where PyTorch spent six tenths of its time on products. Here it is seven to eight tenths; what 0.8 leaves for all else, sigmoids, slopes and sums, is then a
# few hundredths of the products, and at 64 bits in float64 less than nothing. An evaluation with other arithmetic would be needed, not another program for this one.
#
# ### On two threads
#
# Of two threads each does whole blocks of 2,048 samples (notebook 16), so that the result does not depend on their number; a reference shares every product.

# %%
for row in json.loads(Path("results/bench_two_threads.json").read_text()):
    if row["what"] == "UH-BDNN, objective and gradient / its products" and row["sizes"]["L"] == 16:
        print(f"{row['case']:36}{row['value']:6.2f}")

# %% [markdown]
# A thousand samples are one block, which keeps one thread busy and takes twice the time of shared products. Ten thousand are five, in three rounds of two threads where two and a half would do. At 60,000 both threads are busy to
# the end, and the ratio is nearly that of one thread. With 214 dimensions the products are small, all else weighs more, and this row varies most from run to run.
#
# ## What we have now
#
# A model of the cost with one free number, which predicts times across two orders of magnitude; and a table of recorded
# ratios with their goals. Nothing is exported.
#
# ## Exercises
#
# **17.1** (on paper) In (1) the first layer counts four products' worth of $h_0h_1$ and the others six. Why, and what would the gradient with respect to $X$ cost?
#
# <details><summary>Hint</summary> One of the three products of a layer is not needed for the first. </details>
#
# **17.2** `UHBDNN` gives the encoder $r$ principal axes in place of $D$ dimensions. After how many evaluations has this paid for the
# rotation $P^\top X$, and for the second moments $XX^\top$ before it? Compute it for $D=784$ and $r=214$.
#
# <details><summary>Hint</summary> Compare $2Drm$ and $2D^2m$ with the difference of (1) at $D$ and at $r$. </details>
#
# **17.3** How many pairs may L-BFGS remember for its direction to take at most 5 % of an evaluation? Use the balance of 5 operations per byte for a machine of 50 G operations
# per second, at $m=10{,}000$ and at $60{,}000$.
#
# <details><summary>Hint</summary> Time of the direction: $4kpb$ over 10 GB per second. Time of the evaluation: (1) over the speed. </details>
#
# **17.4** Give the explicit similarity the class `Counted`, and find the $m$ at which it costs as much as a whole evaluation from moments.
#
# <details><summary>Hint</summary> Two products, $H^\top H$ and $HV$: $4Lm^2$ operations. </details>
#
# ## Further reading
#
# * S. Williams, A. Waterman and D. Patterson, *Roofline: an insightful visual performance model for multicore architectures*, Communications of the ACM, 2009: operations per byte.
# * K. Goto and R. van de Geijn, *Anatomy of high-performance matrix multiplication*, ACM Transactions on Mathematical Software, 2008: how a product comes near the speed of the processor.
# * J. Nocedal and S. Wright, *Numerical Optimization*, chapter 7: the cost of the two loops.
