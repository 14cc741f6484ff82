# %% [markdown]
# # Train beyond memory, and beyond one machine
#
# **What you will do.** Answer the doubt that the slides end on: whether a method that needs the whole data set in every step, with L-BFGS and DCC, can use more than one machine. You train from a file that is never loaded, and on a cluster of two processes, one of which you kill.
#
# **What you will learn**
#
# * what the objective needs to know of a million samples: a few sums, small and exact;
# * why an evaluation takes two reductions, and why one is not enough;
# * how one trainer serves an array, a file and a cluster, with the same result;
# * what moves between machines, and what a billion vectors would cost;
# * what is lost when the sums of a mini-batch stand for those of all samples.
#
# **What you need.** Notebooks 03, 06, 07 and 08; an idea of what a process is. 40 minutes to read, about a minute to run. Dask comes with the extra `scale`.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""Distributed samples, and what a distributed training costs.

The trainers of the other modules see their samples through `bdnn.sources`; here is the form in
which the samples lie on the workers of a Dask cluster.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import dask
import numpy as np
from dask import array as da
from distributed import Client, Future, get_client
from distributed.comm.tcp import TCP
from numpy.typing import DTypeLike

from bdnn import sources
from bdnn.sources import Samples

# %%
import json
import os
import signal
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from distributed import LocalCluster

from bdnn import ITQ, UHBDNN
from bdnn.data import load
from bdnn.lbfgs import minimize
from bdnn.network import flatten, forward, hidden_sizes, initial_weights, unflatten
from bdnn.course.plotting import COLOURS, save_figure
from bdnn.sources import Blocks
from bdnn.uh_bdnn import (
    BlockwiseObjective,
    EncoderObjective,
    in_scaled_variables,
    moments,
    principal_axes,
    variable_scales,
)

# %% [markdown]
# ## What has to be known of all samples
#
# The slides close with a doubt: L-BFGS and DCC want the whole data set at once, and parallel machines are built for the opposite. Look at what they want it *for*. For given codes $B$, the encoder's part of the objective (notebook 08) is
#
# $$
# J_{\text{enc}}=\tfrac{\lambda_1}2\sum_l\|W^{(l)}\|^2+\tfrac{\lambda_2}{2m}\|H-B\|^2+\tfrac{\lambda_3}2\big\|\tfrac1mHH^\top-I\big\|^2+\tfrac{\lambda_4}{2m}\|H\mathbf 1\|^2 . \tag{1}
# $$
#
# The first term has no samples in it. The others see the $m$ columns of $H$ and $B$ through three sums only:
#
# $$
# G=HH^\top=\sum_{i=1}^mh_ih_i^\top\in\mathbb R^{L\times L},\qquad s=H\mathbf 1=\sum_ih_i\in\mathbb R^L,\qquad d=\|H-B\|^2=\sum_i\|h_i-b_i\|^2 . \tag{2}
# $$
#
# Cut the samples into parts, on as many machines as you like. Every part sums its own columns; the sums of the parts add up to those of the whole. This is no approximation: (1) is a function of (2) and of the weights, and addition does not care who adds. We call $(m,G,s,d)$ the **moments**; that is $L^2+L+2$ numbers, 274 for 16 bits, whether $m$ is a thousand or a billion.

# %%
data = load("mnist5k")
X = data.train.T.astype(np.float64) / 255
D, m = X.shape
L, lambdas = 16, (1e-5, 5e-2, 1e-2, 1e-6)
sizes = (D, *hidden_sizes(L), L)
theta = flatten(*initial_weights(X, sizes, np.random.default_rng(0)))
B = np.where(np.random.default_rng(1).random((L, m)) < 0.5, -1, 1).astype(np.int8)


# %%
def moments_of(columns):
    """The moments of some columns."""
    return moments(forward(*unflatten(theta, sizes), X[:, columns])[-1], B[:, columns])


thirds = [slice(0, 1000), slice(1000, 1700), slice(1700, m)]
parts = [moments_of(columns) for columns in thirds]
whole = moments_of(slice(None))

# %%
for name, *found, expected in zip(whole._fields, *parts, whole):
    assert np.allclose(sum(found), expected, rtol=1e-12)
    print(f"{name:8s} {str(np.shape(expected)):9s} adds up")

# %% [markdown]
# ## The gradient takes a second pass
#
# The value is settled by one reduction. What of the gradient? With (2), the gradient with respect to the output of sample $i$ is (notebook 08)
#
# $$
# \frac{\partial J_{\text{enc}}}{\partial h_i}=Mh_i+v-\beta b_i,\qquad M=\tfrac{\lambda_2}mI+\tfrac{2\lambda_3}m\big(\tfrac1mG-I\big),\quad v=\tfrac{\lambda_4}ms,\quad \beta=\tfrac{\lambda_2}m . \tag{3}
# $$
#
# Given $M$, $v$ and $\beta$, which are the same for all samples, a part can send its own columns back through the network, and the gradient of the weights is a sum again,
#
# $$
# \nabla_\theta J_{\text{enc}}=\lambda_1\theta_W+\sum_{i=1}^m\Big(\frac{\partial h_i}{\partial\theta}\Big)^{\!\top}\big(Mh_i+v-\beta b_i\big), \tag{4}
# $$
#
# where $\theta_W$ holds the weights, and 0 for the biases. But $M$ needs $G$, which is complete only when every part has finished its pass forward. So an evaluation takes **two reductions**:
#
# | | goes to every part | every part does | comes back, and is added |
# | --- | --- | --- | --- |
# | 1 | $\theta$: $p$ numbers | forward | moments: $L^2+L+2$ numbers |
# | 2 | $M,v,\beta$: $L^2+L+1$ numbers | forward again, then back | gradient: $p$ numbers |
#
# *Forward again*: a part may keep its $H$ from the first pass, if it has the memory ($h_1+h_2+L$ numbers for each sample; for an array in memory `EncoderObjective` does). Parts that keep nothing between the passes can be lost and made anew, and that will be worth more to us below.
#
# **Is one reduction possible?** The term in $G$ makes (4) quadratic in what is summed: $\sum_i(\partial h_i/\partial\theta)^\top Gh_i$ is linear in $G$, so in one pass a part would have to send this sum for every entry of $G$, $L^2$ gradients in place of one. Two small reductions are cheaper by far.
#
# Now by hand, with three parts, against the gradient of the whole:

# %%
objectives = [EncoderObjective(X[:, c], B[:, c], sizes, lambdas) for c in thirds]
Ws, cs = unflatten(theta, sizes)
first = [objective.moments(Ws, cs) for objective in objectives]  # reduction 1
total_of_parts = type(whole)(*map(sum, zip(*first)))
J, slope = objectives[0].terms(total_of_parts, lambdas)
second = [flatten(*objective.gradient(Ws, slope)) for objective in objectives]  # reduction 2

# %%
J_whole, gradient_whole = EncoderObjective(X, B, sizes, lambdas)(theta)
decay = flatten([lambdas[0] * W for W in Ws], [0 * c for c in cs])
J += lambdas[0] / 2 * sum(np.sum(W**2) for W in Ws)
error = np.linalg.norm(sum(second) + decay - gradient_whole) / np.linalg.norm(gradient_whole)
print(f"value of three parts {J:.6f}, of the whole {J_whole:.6f}")
print(f"relative error of the gradient below 1e-12: {error < 1e-12}")

# %% [markdown]
# ## Every other step is a sum, too, or concerns one sample alone
#
# | step | what it asks of the samples | size |
# | --- | --- | --- |
# | range and mean of the input | minimum, maximum, sum | $D$ |
# | principal axes; start of each layer | $HH^\top$ of its input | $D\times D$, $h_l\times h_l$ |
# | ITQ | $BV^\top$ and the loss, in every iteration | $L\times L$ |
# | decoder (ridge regression) | $X\mathbf 1,\ B\mathbf 1,\ XB^\top,\ BB^\top$ | $D\times L$, $L\times L$ |
# | codes (DCC) | nothing: $b_i$ depends on $x_i$ and $h_i$ alone | – |
# | similarity of SH-BDNN | $HY^\top$, the sum of each class | $L\times C$ |
# | scatter of supervised DH | the same, and $\sum\|h_i\|^2$ of each class | $L\times C$ |
# | validation | the $k$ nearest so far; samples in the ball, hits | $q\times k$, $q$ |
#
# DCC, that one had suspected, is the easiest: the sum over samples has no term that couples two of them once $W,c,H$ are given, so each part finds its own codes and tells nobody.
#
# So all trainers of this course reach their samples through four verbs of `bdnn.sources`: `total` sums a function over blocks, `blockwise` maps one, `take` and `drop` pick columns. An array is cut into blocks of 2,048 samples; so is everything else. Sums of blocks are accumulated in float64, in order. The arithmetic is then the same wherever the samples are, and so are the results.
#
# ## Out of core
#
# A file of vectors larger than memory is opened with `np.load(..., mmap_mode="r")`; where your vectors come from something else (many files, a database, a generator), `Blocks` takes a function that brings them block by block, as often as it is asked.

# %%
folder = tempfile.TemporaryDirectory()
path, images = Path(folder.name) / "digits.npy", data.train[:3000].astype(np.float32)
np.save(path, images)
mapped = np.load(path, mmap_mode="r")

# %%
halves = Blocks(lambda: [images[:1500], images[1500:]], *images.shape)

# %%
options = {"n_bits": 8, "n_init": 1, "max_alternations": 1, "max_iter": 10, "n_validation": 300}
in_memory = UHBDNN(**options).fit(images)

# %%
for name, source in (("file", mapped), ("blocks", halves)):
    model = UHBDNN(**options).fit(source)
    objectives = [entry["objective"] for entry in model.history_]
    expected = [entry["objective"] for entry in in_memory.history_]
    assert np.allclose(objectives, expected, rtol=1e-5)
    assert np.mean(model.codes_ != in_memory.codes_) < 1e-3
    print(f"{name:6s}", *(f"J = {J:.4f}" for J in objectives))

# %% [markdown]
# The same objective to the digits shown, from a file, from two blocks of another length, and from memory. What stays in memory is one block, the network, and one byte for each bit of a code ($mL$ bytes: 64 MB for four million samples and 16 bits). `transform`, `encode` and the validation work in the same way; values that are not finite are found when they are read, and named by their rows.
#
# Nothing is free: what the array keeps (scaled samples, their principal components, the outputs of the layers) is computed anew in every pass. And every pass reads the file, from disk if the system has not kept it.
#
# Full size is no matter for a notebook; the cell shows what has been recorded. `python3 course.py scale` makes a file of 4,000,000 SIFT descriptors with noise, 2 GB, trains each method on it for a few steps in a process of its own, and records the largest memory that was resident in that process, the libraries (about 175 MB) included. It trains each method on the first 40,000 of these samples once more, from the file and from memory, and it evaluates the codes of all samples, themselves in a file, with 1,000 of them as queries:

# %% tags=["nbval-ignore-output"]
record = Path("results/scale.jsonl")
rows = [json.loads(line) for line in record.open()] if record.exists() else []
for row in rows:
    kind, method = row["measurement"].split(":")
    if kind == "file":
        size = f"{row['n_samples']:,} x {row['n_features']}, {row['file_mb']:.0f} MB on disk"
        times = f"{row['fit_seconds']:.0f} s to train, {row['encode_seconds']:.0f} s to encode"
        print(f"{method:11s} {size}: {row['peak_mb']:.0f} MB resident at most, {times}")
    if kind == "same":
        values = f"{row['objective_from_file']:.7g} from file, {row['objective_in_memory']:.7g}"
        codes = "the same codes" if row["same_codes"] else "other codes"
        print(f"{method:11s} {row['trained_on']:,}: J = {values} in memory, {codes}")
    if kind == "evaluate":
        work = f"{row['n_queries']:,} queries x {row['n_samples']:,} codes"
        print(f"{work}: {row['evaluate_seconds']:.0f} s, {row['peak_mb']:.0f} MB resident at most")
if not rows:
    print("nothing recorded yet")

# %% [markdown]
# The evaluation ranks four thousand million pairs exactly, with all measures of notebook 02; what it holds are the packed codes and about a million pairs at a time.
#
# ## Distributed
#
# For more than one machine there are engines; we write none. [Dask](https://www.dask.org) places arrays in parts on workers, sends functions there, notices workers that die, and does their work again elsewhere. What is left to us is to say where the parts are: a kind of samples for the same four verbs.


# %% tags=["export"]
def _placed(rows, dtype, first_row):
    """A part as a worker holds it: checked, in columns, in the precision asked for."""
    with np.errstate(over="ignore"):  # it is an error below
        rows = np.ascontiguousarray(rows, dtype)
    if not np.isfinite(rows).all():
        where = f"rows {first_row} to {first_row + len(rows) - 1}"
        raise ValueError(
            f"Input X contains NaN or infinity in {where}, or a value too large for {rows.dtype}"
        )
    return rows.T


def _joined(*pieces):
    """Pieces of neighbouring parts as one."""
    return np.asfortranarray(np.concatenate(pieces, axis=-1))


def _cut(part, start, stop):
    """Some columns of a part, without the rest of it."""
    return part[..., start:stop].copy(order="F")


# %% tags=["export"]
class DaskSamples(Samples):
    """Samples in columns that lie in parts on the workers of a Dask cluster.

    What trainers do to them, through `bdnn.sources`, is done to every part where it lies; what
    comes back is a result per part. A part that is lost with its worker is made again.

    Parameters
    ----------
    client : distributed.Client
    parts : list of futures
        Arrays (rows, m_k), or (m_k,) for one value per sample.
    widths : list of int
        Their numbers of columns m_k: multiples of `sources.BLOCK`, but for the last part.
    probe : array (rows, 1) or (1,)
        A column in the shape and precision of the others.
    """

    def __init__(
        self, client: Client, parts: list[Future], widths: list[int], probe: np.ndarray
    ) -> None:
        self.client, self.parts, self.widths, self.probe = client, parts, widths, probe
        self.shape, self.dtype = (*probe.shape[:-1], sum(widths)), probe.dtype

    @classmethod
    def of(cls, X: da.Array, dtype: DTypeLike, n_parts: int | None = None) -> "DaskSamples":
        """The samples of a Dask array (m, D), in as many parts as the workers have threads."""
        client = _current_client()
        m, D = X.shape
        cuts = _cuts(m, n_parts or max(1, sum(client.nthreads().values())))
        widths = [stop - start for start, stop in cuts]
        rows = X.rechunk((tuple(widths), D)).to_delayed().ravel()
        place = dask.delayed(_placed, pure=True)
        parts = client.compute([place(r, dtype, start) for r, (start, _) in zip(rows, cuts)])
        return cls(client, parts, widths, np.zeros((D, 1), dtype))

    @property
    def T(self) -> da.Array:
        """The samples in rows, as a Dask array whose chunks stay where they are."""
        turn = dask.delayed(np.transpose)
        shapes = [(width, *self.shape[:-1]) for width in self.widths]
        pairs = zip(self.parts, shapes)
        rows = [da.from_delayed(turn(part), shape, dtype=self.dtype) for part, shape in pairs]
        return da.concatenate(rows)

    def _on_parts(self, task, samples):
        """Futures of ``task(*parts)``, a task for each part."""
        parts = zip(*(A.parts for A in samples))
        return [self.client.submit(task, *part, pure=False) for part in parts]

    def _merged(self, merge, fun, samples):
        task = functools.partial(sources.merged, merge, fun)
        return functools.reduce(merge, self.client.gather(self._on_parts(task, samples)))

    def _stored(self, fun, samples):
        task = functools.partial(sources.stored, fun)
        probe = fun(*(A.probe for A in samples))
        return DaskSamples(self.client, self._on_parts(task, samples), self.widths, probe)

    _blockwise = _stored

    def _alongside(self, values):
        values = np.asarray(values)
        pieces = np.split(values, np.cumsum(self.widths)[:-1], axis=-1)
        parts = [self.client.submit(np.array, piece, pure=False) for piece in pieces]
        return DaskSamples(self.client, parts, self.widths, values[..., :1])

    def _local(self, index):
        """For each part the numbers, within it, of those of the samples that it holds."""
        first = np.cumsum([0, *self.widths])
        return [index[(a <= index) & (index < b)] - a for a, b in zip(first, first[1:])]

    def _take(self, index):
        local = self._local(index)
        tasks = [self.client.submit(sources.take, *p, pure=False) for p in zip(self.parts, local)]
        taken = np.concatenate(self.client.gather(tasks), axis=-1)
        order = np.argsort(np.searchsorted(np.cumsum(self.widths), index, "right"), kind="stable")
        return taken[..., np.argsort(order)]

    def _drop(self, index):
        local = self._local(index)
        parts = [self.client.submit(sources.drop, *p, pure=False) for p in zip(self.parts, local)]
        widths = [width - len(i) for width, i in zip(self.widths, local)]
        left = DaskSamples(self.client, parts, widths, self.probe)
        cuts = _cuts(sum(widths), len(widths))
        new = [left._columns(start, stop) for start, stop in cuts]
        return DaskSamples(self.client, new, [b - a for a, b in cuts], self.probe)

    def _restore(self, index, values):
        order = np.argsort(index)
        index, values, new = index[order], values[:, order], []
        cuts = _cuts(self.shape[-1] + len(index), len(self.parts))
        for start, stop in cuts:
            i, j = np.searchsorted(index, (start, stop))
            part = self._columns(start - i, stop - j)
            task = self.client.submit(sources.restore, part, index[i:j] - start, values[:, i:j])
            new.append(task)
        return DaskSamples(self.client, new, [b - a for a, b in cuts], self.probe)

    def _columns(self, start, stop):
        """A future of neighbouring columns; where they lie in two parts, a piece of one moves."""
        first = np.cumsum([0, *self.widths])
        spans = [np.clip((start, stop), a, b) - a for a, b in zip(first, first[1:])]
        pieces = [
            self.client.submit(_cut, part, int(a), int(b), pure=False)
            for part, (a, b) in zip(self.parts, spans)
            if a < b
        ]
        return self.client.submit(_joined, *pieces, pure=False)


def _cuts(m, n_parts):
    """First column and end of each part: whole blocks, the same as an array is cut into."""
    blocks = -(-m // sources.BLOCK)
    width = sources.BLOCK * -(-blocks // n_parts)
    return [(start, min(start + width, m)) for start in range(0, m, width)]


def _current_client():
    try:
        return get_client()
    except ValueError:
        message = "a Dask array needs a running client: client = distributed.Client() starts one"
        raise ValueError(message) from None


# %% [markdown]
# A task is sent to where its part lies, and what returns is one result for each part, of a size that has nothing to do with $m$. There are as many parts as the workers have threads, cut where blocks begin, so that the blocks are those of an array. Where columns are taken out, the parts are cut anew, and only the pieces across a cut move. Codes and principal components stay beside their samples; each remembers, in Dask's books, how it was made.
#
# Two processes on this machine stand for two machines:

# %% tags=["nbval-ignore-output"]
options_cluster = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
cluster = LocalCluster(n_workers=2, **options_cluster)
client = Client(cluster)

# %%
chunked = da.from_array(images, chunks=(900, D))
placed = DaskSamples.of(chunked, "float32")
print(
    f"{placed.shape[1]:,} samples in parts of {placed.widths} on {len(client.nthreads())} workers"
)

# %% [markdown]
# `fit` on a Dask array uses the client that is there. The trainer runs here, and L-BFGS with it; only sums travel.

# %%
distributed_model = UHBDNN(**options).fit(chunked)
objectives = [entry["objective"] for entry in distributed_model.history_]
assert np.allclose(objectives, expected, rtol=1e-6)
assert np.array_equal(np.asarray(distributed_model.codes_), in_memory.codes_)
print("cluster", *(f"J = {J:.4f}" for J in objectives))

# %% [markdown]
# The codes are a Dask array again, in parts beside the samples; they are the same bits. With `verbose=True` a bar shows how far the training is; Dask's own dashboard (here switched off) shows every task.
#
# ### Kill one
#
# A third of the way into the training, one of the two processes gets the signal that cannot be refused. Its samples, their principal components and the codes found so far are gone.

# %%
workers_before = set(client.run(os.getpid).values())


def kill_one(share, killed=[]):  # noqa: B006 - remembers, from call to call, that it has been done
    if share > 0.3 and not killed:
        killed.append(max(workers_before))
        os.kill(killed[0], signal.SIGKILL)


# %%
survivor = UHBDNN(**options).fit(chunked, callback=kill_one)
client.wait_for_workers(2)
workers_after = set(client.run(os.getpid).values())
print(f"workers of the start that are still there: {len(workers_before & workers_after)} of 2")
assert [e["objective"] for e in survivor.history_] == objectives
assert np.array_equal(np.asarray(survivor.codes_), in_memory.codes_)
print("the result has not changed")

# %% [markdown]
# No line of the trainer knows of this. The scheduler saw the connection break, made the lost parts again from the chunks of the array, by the steps in its books, and repeated what had been under way; a new process took the place of the old. As a sum is taken in the order of the parts, not of their arrival, the result is the same to the last bit.
#
# ### What moves
#
# How many bytes does an evaluation send over the wires? We count them where Dask writes to its sockets, here and in the workers.


# %% tags=["export"]
def _count_sent_bytes():
    """Make this process count the bytes that Dask sends from it over TCP."""
    if hasattr(TCP, "sent_bytes"):
        return
    write = TCP.write

    async def counted(self, *args, **options):
        n = await write(self, *args, **options)
        TCP.sent_bytes += n
        return n

    TCP.sent_bytes, TCP.write = 0, counted


def _sent_bytes():
    return TCP.sent_bytes


class SentBytes:
    """Context manager: the bytes that client, scheduler and workers send while its block runs.

    Counts at Dask's own sockets, in this process and in all workers. After the block, `total` is
    the number of bytes; the signs of life that workers send all the time are among them.

    Parameters
    ----------
    client : distributed.Client
        Of a cluster whose scheduler runs in this process, such as a `LocalCluster`.
    """

    def __init__(self, client: Client) -> None:
        self.client, self.total = client, 0

    def _now(self):
        return _sent_bytes() + sum(self.client.run(_sent_bytes).values())

    def __enter__(self) -> "SentBytes":
        _count_sent_bytes()
        self.client.run(_count_sent_bytes)
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.total = self._now() - self._start


# %%
def spread_objective(m):
    """The encoder's objective on a cluster for m samples, and parameters to evaluate it at."""
    rows = np.random.default_rng(0).standard_normal((m, 32), dtype=np.float32)
    S = DaskSamples.of(da.from_array(rows, chunks=(4096, 32)), "float32")
    units = (32, *hidden_sizes(L), L)
    theta = flatten(*initial_weights(rows[:2000].T, units, np.random.default_rng(0)))
    codes = np.where(rows[:, :L] > 0, 1, -1).astype(np.int8).T
    return BlockwiseObjective(S, S._alongside(codes), units, lambdas), theta


# %% tags=["nbval-ignore-output"]
sent = {}
for m_spread in (3_000, 10_000, 30_000):
    spread, theta_spread = spread_objective(m_spread)
    counts = []
    for _ in range(10):
        with SentBytes(client) as count:
            spread(theta_spread)
        counts.append(count.total)
    sent[m_spread] = min(counts)  # signs of life add to the others
    print(f"m = {m_spread:6,}: {sent[m_spread] / 1000:.0f} kB for an evaluation")

# %%
p = theta_spread.size
assert max(sent.values()) < 1.1 * min(sent.values())
print(f"p = {p:,} parameters; 10 times the samples, the same bytes within a tenth")

# %% [markdown]
# **It does not grow with $m$**, as (2) and (4) say. What it is made of: the network goes to every worker twice (4 bytes a number), the gradient comes back (8 bytes, float64), the moments are small; and every message passes by the scheduler, so that the wire carries it twice.
#
# ### How much faster?
#
# Two processes can at best be twice as fast as one. `course.py scale` records evaluations of UH-BDNN's objective on SIFT descriptors, on one process and on two: the time on the clock, which tells of everything else that a machine does, and the processor time of the busiest worker, which tells how well the work is shared.

# %% tags=["nbval-ignore-output"]
for row in rows:
    for one, two in row.get("pairs", []):
        gain, share = one["seconds"] / two["seconds"], one["worker_seconds"] / two["worker_seconds"]
        clock = f"{one['seconds']:.2f} s and {two['seconds']:.2f} s, {gain:.2f} times as fast"
        print(f"m = {one['m']:7,}: {clock} ({gain / 2:.0%} efficient); ", end="")
        print(f"the busiest of two does 1/{share:.2f} of the work")
if not any("pairs" in row for row in rows):
    print("nothing recorded yet")

# %% [markdown]
# With few samples two processes are no faster than one: what an evaluation takes beside its arithmetic, messages and the scheduler, does not grow with $m$. With more samples the gain comes: 1.5 times at 80,000, 1.4 times at 160,000. The busiest worker then takes less than two thirds of the processor time of one alone, and not half of it; why, was not measured. This is as far as two cores tell.
#
# ## A billion vectors, on paper
#
# From here on things are **calculated**, not measured. Let $w=\sum_lh_lh_{l+1}$ be the weights of the encoder and $p$ its parameters. A sample costs $2w$ operations for a pass forward, and about $4w$ for the pass back, less the gradient with respect to the input that nobody needs; with the second pass forward, and $4L^2$ for the moments and the slope,
#
# $$
# F=8w-2h_1h_2+4L^2 \text{ operations per sample},\qquad
# t=\underbrace{\frac{m}{P}\cdot\frac Fr}_{\text{compute}}+\underbrace{\frac{P\,(16p+16(L^2+L+2))}{\beta}+4\tau}_{\text{communicate}} \tag{5}
# $$
#
# for $P$ workers that make $r$ operations per second, and a client whose link carries $\beta$ bytes per second with a delay of $\tau$. In (5) all workers talk to one client, as in Dask. A worker holds $m/P$ samples: the input as it came, scaled, and without the samples held out ($3\cdot4D$ bytes), its principal components ($4h_1$), and codes and outputs ($5L$).


# %% tags=["export"]
class EvaluationCost(NamedTuple):
    """What an evaluation of the encoder's objective costs: Eq. (5) of notebook 16."""

    memory: float  # bytes on a worker
    moved: float  # bytes to and from a worker, for an evaluation
    compute: float  # seconds
    communicate: float  # seconds

    @property
    def seconds(self) -> float:
        """Seconds of an evaluation."""
        return self.compute + self.communicate


def evaluation_cost(
    m: int,
    D: int,
    sizes: Sequence[int],
    n_workers: int,
    rate: float,
    bandwidth: float,
    latency: float = 1e-3,
) -> EvaluationCost:
    """Calculate the cost of an evaluation on a cluster: Eq. (5) of notebook 16.

    Parameters
    ----------
    m, D : int
        Samples, and their length.
    sizes : sequence of int
        Units of the layers: principal axes, ..., L.
    n_workers : int
    rate : float
        Operations per second of a worker.
    bandwidth : float
        Bytes per second of the link of the client.
    latency : float
        Seconds that a message takes, however short.

    Returns
    -------
    EvaluationCost
    """
    L, weights = sizes[-1], sum(a * b for a, b in zip(sizes, sizes[1:]))
    parameters = weights + sum(sizes[1:])
    operations = 8 * weights - 2 * sizes[0] * sizes[1] + 4 * L**2
    moved = 16 * parameters + 16 * (L**2 + L + 2)
    share = m / n_workers
    return EvaluationCost(
        memory=share * (12 * D + 4 * sizes[0] + 5 * L),
        moved=moved,
        compute=share * operations / rate,
        communicate=n_workers * moved / bandwidth + 4 * latency,
    )


# %% [markdown]
# For $m=10^9$ vectors of 128 dimensions, 32 bits, all 128 axes, and a modest $r=5\cdot10^{10}$ (one core, float32):

# %%
billion = {"m": 10**9, "D": 128, "sizes": (128, *hidden_sizes(32), 32), "rate": 5e10}
print("workers  memory each  moved each   compute    1 Gbit/s   10 Gbit/s  100 Gbit/s")
for P in (16, 64, 256, 1024, 4096):
    costs = [evaluation_cost(n_workers=P, bandwidth=g * 1.25e8, **billion) for g in (1, 10, 100)]
    first = costs[0]
    sizes_text = f"{first.memory / 1e9:8.1f} GB  {first.moved / 1e3:7.0f} kB"
    times = " ".join(f"{cost.seconds:9.2f} s" for cost in costs)
    print(f"{P:7,} {sizes_text} {first.compute:9.2f} s {times}")

# %%
P = np.unique(np.logspace(1, 4.5, 60).astype(int))
fig, ax = plt.subplots(figsize=(6, 3.6))
for g, colour in zip((1, 10, 100), COLOURS.values()):
    costs = [evaluation_cost(n_workers=k, bandwidth=g * 1.25e8, **billion) for k in P]
    _ = ax.loglog(P, [cost.seconds for cost in costs], color=colour, label=f"{g} Gbit/s")
_ = ax.loglog(P, [cost.compute for cost in costs], color="black", ls=":", label="compute alone")
_ = ax.set(xlabel="workers", ylabel="seconds for an evaluation")
_ = ax.legend()
save_figure(fig, "16_cost")

# %% [markdown]
# Seconds for an evaluation over the number of workers, for three links of the client. Each curve falls with the dotted line, turns, and rises again: beyond the turn more workers make it slower.
#
# Setting the derivative of (5) to zero gives the turn, $P^\star=\sqrt{mF\beta/(r\,(16p+\dots))}$: only with the *root* of $m$ do more workers pay.

# %%
cost = evaluation_cost(n_workers=1, bandwidth=1.25e9, **billion)
best = int(np.sqrt(cost.compute * 1.25e9 / cost.moved))
at_best = evaluation_cost(n_workers=best, bandwidth=1.25e9, **billion)
print(f"10 Gbit/s: best at {best:,} workers, {1 / at_best.seconds:.2f} evaluations per second")
print(f"1,500 evaluations (ten rounds of 150) then take {1500 * at_best.seconds / 60:.0f} minutes")
tree = at_best.compute + 2 * np.log2(best) * (cost.moved / 1.25e9 + 1e-3)
print(f"with sums along a binary tree of workers: {1 / tree:.1f} evaluations per second")

# %% [markdown]
# So the **next bottleneck** is the one link of the client, not L-BFGS itself (its two loops over 100 pairs are $4\cdot100\,p$ operations, milliseconds) and not DCC (no bytes at all). A tree of sums, as MPI's all-reduce or Dask's own tree reductions have it, moves it away. After that come the memory of the workers (three copies of the samples are two too many, Exercise 16.3) and, out of core, the disk: two passes over 512 GB for an evaluation. And a worker that is slow makes all wait, twice: a sum is complete when its last part is there.
#
# What was measured: equality, survival, bytes and their independence of $m$; speed-up and resident memory where a record says so. What was calculated: everything about a billion.
#
# ## Mini-batches, the usual way out
#
# Why not do what everyone does, and take small random samples in turn? It needs no reduction over all samples at all. But the independence is not a sum over samples. For a batch of $n$ samples drawn at random, with second moments $G_n$ and $C=\tfrac1mG$,
#
# $$
# \mathbb E\big\|\tfrac1nG_n-I\big\|^2=\|C-I\|^2+\tfrac1n\Big(\tfrac1m\sum_i\|h_i\|^4-\|C\|^2\Big). \tag{6}
# $$
#
# (The mean of $\tfrac1nG_n$ is $C$; what is added is the variance of a mean of $n$ matrices $hh^\top$.) A batch sees another objective, which also punishes long outputs, the more the smaller it is. On the handwritten digits of scikit-learn:

# %%
pixels = load("digits").train.T.astype(np.float64) / 16
P_axes, e = principal_axes(pixels)
digits, m_digits = P_axes.T @ pixels, pixels.shape[1]
units = (len(e), *hidden_sizes(L), L)
codes = ITQ(L, dtype="float64").fit(pixels.T).codes_.T.astype(np.float64)

# %%
start = flatten(*initial_weights(digits, units, np.random.default_rng(0)))
full = EncoderObjective(digits, codes, units, lambdas)


# %% [markdown]
# One measured comparison: the encoder step from the same start for the same codes, at an equal number of passes over the samples. L-BFGS makes one pass for an evaluation, in the variables of notebook 08; Adam makes its passes in batches, with the better of two step lengths.


# %%
def adam(theta, n, rate, passes, rng):
    """Adam (Kingma and Ba, 2015) on batches of about n columns; returns the parameters."""
    theta, mean, square, t = theta.copy(), 0.0, 0.0, 0
    for _ in range(passes):
        for batch in np.array_split(rng.permutation(m_digits), m_digits // n):
            objective = EncoderObjective(digits[:, batch], codes[:, batch], units, lambdas)
            gradient, t = objective(theta)[1], t + 1
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            step = mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
            theta -= rate * step
    return theta


# %%
scales, passes = variable_scales(e, units), 30
scaled = in_scaled_variables(full, scales)
found = minimize(scaled, start / scales, max_iter=passes, max_evaluations=passes, history=100)
reached = {
    n: min(full(adam(start, n, rate, passes, np.random.default_rng(0)))[0] for rate in (3e-3, 1e-2))
    for n in (20, 100)
}

# %% tags=["nbval-ignore-output"]
print(
    f"start {full(start)[0]:.4f}; L-BFGS after {passes} passes {found.fun:.4f}, 2 reductions each"
)
for n, J in reached.items():
    print(f"Adam, batches of {n}, after {passes} passes {J:.4f}, {m_digits // n} reductions each")

# %%
assert reached[20] < found.fun < full(start)[0] / 4 and reached[20] < reached[100]
print("Adam in batches of 20 comes lower in as many passes; it takes 37 times the reductions")

# %% [markdown]
# And (6), for the outputs that L-BFGS has ended at: the independence that batches see, over 2,000 draws.

# %%
H = forward(*unflatten(scales * found.x, units), digits)[-1]
C = H @ H.T / m_digits
true = np.sum((C - np.eye(L)) ** 2)
added = np.mean(np.sum(H**2, axis=0) ** 2) - np.sum(C**2)
rng = np.random.default_rng(0)

# %%
for n in (20, 100, 500):
    draws = (H[:, rng.integers(m_digits, size=n)] for _ in range(2000))
    seen = np.mean([np.sum((h @ h.T / n - np.eye(L)) ** 2) for h in draws])
    assert np.isclose(seen - true, added / n, rtol=0.1)
    print(f"batches of {n:3d}: {true + added / n:5.2f} by Eq. (6), {true:.2f} for all samples")

# %% [markdown]
# On this small set, counted in passes, Adam in tiny batches is ahead, in spite of (6), once its step length has been found by trying. On one machine with redundant data that is an argument, and we do not hide it. Across machines what counts is the last column: every batch is a reduction of $p$ numbers, 75 for each pass, where an evaluation of L-BFGS has two, one of them tiny. Larger batches need fewer, and lose the lead. What L-BFGS with exact sums has beyond that: no step length, a line search that knows descent from noise, and a result that does not depend on how many machines there were.

# %%
client.close()
cluster.close()
folder.cleanup()

# %% [markdown]
# ## What we have now
#
# | name | what it is |
# | --- | --- |
# | `bdnn.sources.Blocks` | samples that a program brings block by block |
# | `bdnn.engine.scale.DaskSamples` | samples in parts on a Dask cluster, for all trainers of the course |
# | `bdnn.engine.scale.SentBytes` | counts what a cluster sends |
# | `bdnn.engine.scale.evaluation_cost` | Eq. (5) |
#
# `fit`, `transform`, `encode` and `decision_function` of ITQ, ITQ-CCA, UH-BDNN, SH-BDNN and both kinds of DH take arrays, memory-mapped arrays, `Blocks` and Dask arrays. The doubt of the slides is answered: L-BFGS and DCC do use parallel machines, exactly.
#
# ## Exercises
#
# **16.1** (on paper) Show that the similarity of SH-BDNN (notebook 09) and its gradient need $HY^\top$ and $HH^\top$ of all samples, and nothing else. How many numbers is that for 10 classes and 32 bits?
#
# <details><summary>Hint</summary> $S=2Y^\top Y-\mathbf 1\mathbf 1^\top$, and $\mathbf 1=Y^\top\mathbf 1$. </details>
#
# **16.2** For which of $\lambda_2,\lambda_3,\lambda_4$ equal to 0 does *one* reduction give value and gradient? Check it with two parts of the digits.
#
# <details><summary>Hint</summary> What is left of $M$, $v$ and $\beta$ in (3)? </details>
#
# **16.3** `evaluation_cost` counts three copies of the samples. Which of them does an evaluation use? What would a billion vectors need on 64 workers without the others?
#
# <details><summary>Hint</summary> The encoder sees principal components. Who sees $X$, and when? </details>
#
# **16.4** Write a `Blocks` that makes its samples up, 20,000 of them, from a seed, and never holds more than 500; train ITQ on it, and on an array of the same samples.
#
# <details><summary>Hint</summary> The factory must start its random generator anew at every call. </details>
#
# ## Further reading
#
# * Dean and Ghemawat, "MapReduce", OSDI 2004, and Chu et al., "Map-Reduce for Machine Learning on Multicore", NIPS 2006: learning algorithms whose sums over samples can be split.
# * Chen, Wang and Zhou, "Large-scale L-BFGS using MapReduce", NIPS 2014: what to do when $p$ itself is too large for one machine.
# * Rocklin, "Dask: Parallel Computation with Blocked algorithms and Task Scheduling", SciPy 2015; the documentation of `distributed` on resilience.
# * Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
