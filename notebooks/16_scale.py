# %% [markdown]
# # Train beyond memory, and beyond one machine
#
# **What you will do.** Take up the doubt that the slides end on: whether a method that needs the whole data set in every step, with L-BFGS and DCC, can use more than one machine. You train from a file that is never loaded, and on a cluster of two processes, one of which you kill.
#
# **What you will learn**
#
# * what the objective needs to know of a million samples: a few sums, small and exact;
# * why an evaluation takes two reductions, and why one is not enough;
# * how the other steps become sums, and which step needs none;
# * what moves between machines, and what a billion vectors would cost;
# * what is lost when the sums of a mini-batch stand for those of all samples.
#
# **What you need.** Notebooks 03, 06, 07, 08 and, for the similarity, 09; an idea of what a process is. 30 minutes to read, about a minute to run. Dask comes with the extra `scale`.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""The sums over all samples that a training needs, over blocks of rows that Dask holds.

What is added up is small; Dask adds it in a tree. Samples stand in rows in the Dask arrays, X is
(m, D), and in columns in the functions that sum over some of them, X is (D, n).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import dask
import numpy as np
from dask import array as da
from numpy import ndarray as Array

from bdnn.itq import procrustes_rotation
from bdnn.losses import squared_norm
from bdnn.metrics import sgn
from bdnn.network import backward, flatten, forward, unflatten
from bdnn.uh_bdnn import best_codes, ridge_decoder

# %%
import os
import signal
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from distributed import Client, LocalCluster

from bdnn import ITQ, UHBDNN, uh_bdnn
from bdnn.course.plotting import COLOURS, save_figure
from bdnn.course.records import read_folder
from bdnn.data import load
from bdnn.lbfgs import minimize
from bdnn.losses import weight_decay
from bdnn.network import hidden_sizes, initial_weights
from bdnn.sh_bdnn import supervised_objective
from bdnn.uh_bdnn import encoder_objective, principal_axes

# %% [markdown]
# ## Find what has to be known of all samples
#
# L-BFGS and DCC want the whole data set at once, and parallel machines are built for the opposite. Look at what they want it *for*. For given codes $B$, the encoder's part of the objective (notebook 08) is
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
# Cut the samples into parts, on as many machines as you like. Every part sums its own columns; the sums of the parts add up to those of the whole. This is no approximation: (1) is a function of (2) and of the weights, and addition does not care who adds. These are $L^2+L+1$ numbers, 273 for 16 bits, whether $m$ is a thousand or a billion. SH-BDNN sees a sum for each class in the place of $s$: $V=HY^\top\in\mathbb R^{L\times C}$, whose columns add up to $s$ (Exercise 16.1).
#
# [Dask](https://www.dask.org) holds an array in blocks of rows, runs a function on each block where it lies, and adds what comes back: neighbours first, then sums of sums, in a tree, so that no machine has to take in more than eight. That is all we ask of it.


# %% tags=["export"]
BLOCK = 4096  # rows that a function sees at once: what it computes for them stays small


def sums_of_block(fun, *block):
    """What `fun` sums over the rows of a block, as a row of numbers."""
    *arrays, given = block
    found = 0.0
    for start in range(0, max(1, len(arrays[0])), BLOCK):
        columns = (A[start : start + BLOCK].T for A in arrays)
        found = found + np.hstack([np.ravel(a).astype(np.float64) for a in fun(given, *columns)])
    return found[None]


def on_blocks(fun: Callable, shape: tuple, dtype: Any, given: Any, *arrays: da.Array) -> da.Array:
    """``fun(*blocks, given)`` for each block; `shape`: rows of each block, columns."""
    given, chunks = dask.delayed(given, traverse=False), (tuple(shape[0]), (shape[1],))
    meta = np.empty((0, 0), dtype)
    return da.map_blocks(fun, *arrays, given, chunks=chunks, dtype=dtype, meta=meta)


def total(fun: Callable, given: tuple, *samples: da.Array) -> list[Array]:
    """The sums over all samples that a function gives for some of them, float64.

    ``fun(given, X, ...)`` gives a tuple of arrays, sums over the samples X (D, n); what is `given`
    is sent to every worker once. `samples` (m, D), ... are cut into the same blocks of rows. Every
    block is summed where it lies; Dask adds the sums of the blocks in a tree.
    """
    probe = fun(given, *(np.zeros((A.shape[1], 1), A.dtype) for A in samples))
    shapes, sizes = [np.shape(a) for a in probe], [np.size(a) for a in probe]
    shape = [1] * samples[0].numblocks[0], sum(sizes)
    sums = on_blocks(partial(sums_of_block, fun), shape, np.float64, given, *samples)
    found = np.split(sums.sum(axis=0, split_every=8).compute(), np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(found, shapes)]


# %% [markdown]
# `sums_of_block` walks through its block in slices, so that memory is bounded whatever the blocks are, and adds in float64. The network and its sums (2):


# %% tags=["export"]
class Network(NamedTuple):
    """The shape of an encoder."""

    sizes: tuple[int, ...]
    activations: tuple[str, str]  # of the hidden layers, of the last
    n_classes: int  # 1 where samples have no labels


def outputs(theta: Array, network: Network, X: Array) -> Array:
    """Outputs (L, n) of the code layer."""
    return forward(*unflatten(theta, network.sizes), X, *network.activations)[-1]


def code_sums(given, X, y, *codes):
    """H H^T, the sum of H over each class, ||H - B||^2: Eq. (2) of notebook 16."""
    theta, network = given
    H = outputs(theta, network, X)
    B = codes[0] if codes else sgn(H)  # Deep Hashing knows no other codes than its signs
    V = np.stack([np.bincount(y[0], weights=row, minlength=network.n_classes) for row in H])
    return H @ H.T, V, squared_norm(H - B)


# %% [markdown]
# Deep Hashing (notebook 10) has no codes but the signs of its outputs, and then `codes` is empty.
#
# ## Send the gradient back in a second pass
#
# The value is settled by one reduction. What of the gradient? With (2), the gradient with respect to the output of sample $i$ is
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
# | 1 | $\theta$: $p$ numbers | forward | $G,s,d$: $L^2+L+1$ numbers |
# | 2 | $\theta$; $M,v,\beta$: $L^2+L+1$ numbers | forward again, then back | gradient: $p$ numbers |
#
# *Forward again*: a part could keep its $H$ from the first pass, if it had the memory ($h_1+h_2+L$ numbers for each sample). Parts that keep nothing between the passes can be lost and made anew, and that will be worth more to us below.
#
# **Is one reduction possible?** The term in $G$ makes (4) quadratic in what is summed: $\sum_i(\partial h_i/\partial\theta)^\top Gh_i$ is linear in $G$, so in one pass a part would have to send this sum for every entry of $G$, $L^2$ gradients in place of one. Two small reductions are cheaper by far.


# %% tags=["export"]
def gradient_sums(given, X, y, *codes):
    """Gradient of the weights for the slope M H + V_y - beta B: Eqs. (3), (4) of notebook 16."""
    theta, network, M, V, beta = given
    Ws, cs = unflatten(theta, network.sizes)
    Hs = forward(Ws, cs, X, *network.activations)
    B = codes[0] if codes else sgn(Hs[-1])
    dH = M @ Hs[-1] + V[:, y[0]] - beta * B.astype(X.dtype)
    return (flatten(*backward(Ws, Hs, dH, *network.activations)),)


# %% tags=["export"]
def bdnn_terms(
    lambdas: Sequence[float], G: Array, V: Array, d: float, m: int
) -> tuple[dict[str, float], Array, Array, float]:
    """Terms of BDNN on the outputs, from the sums of :func:`code_sums`, and M, V, beta of Eq. (3).

    Samples of more than one class have the similarity of SH-BDNN, too.
    """
    _, lambda2, lambda3, lambda4 = lambdas
    L, s = len(G), V.sum(axis=1, keepdims=True)  # s = H 1
    E = G / m - np.eye(L)
    terms = {
        "equality": lambda2 / (2 * m) * float(d),
        "independence": lambda3 / 2 * squared_norm(E),
        "balance": lambda4 / (2 * m) * squared_norm(s),
    }
    M = lambda2 / m * np.eye(L) + 2 * lambda3 / m * E
    slope = lambda4 / m * s + np.zeros_like(V)
    if V.shape[1] > 1:  # Eqs. (14), (15) of notebook 05
        agreement = 2 * squared_norm(V) - squared_norm(s)
        terms["similarity"] = (squared_norm(G) / L**2 - 2 / L * agreement + m**2) / (2 * m)
        M, slope = M + 2 / (m * L**2) * G, slope + 2 / (m * L) * (s - 2 * V)
    return terms, M, slope, lambda2 / m


# %% tags=["export"]
def objective(
    theta: Array,
    network: Network,
    samples: tuple[da.Array, ...],
    of_codes: Callable,
    of_weights: Callable,
) -> tuple[dict[str, float], Array]:
    """Terms of an encoder's objective, whose sum it is, and its gradient (p,): two reductions.

    `samples` are the input of the network (m, D), numbers of the classes (m, 1), and, for BDNN,
    codes (m, L). ``of_codes(G, V, d, m)`` gives terms, M, V, beta, as `bdnn_terms` does, and
    ``of_weights(theta)`` the terms that see no sample, and their gradient.
    """
    sums = total(code_sums, (theta, network), *samples)  # reduction 1
    terms, *slope = of_codes(*sums, len(samples[0]))
    slope = [np.asarray(a, theta.dtype) for a in slope]
    (gradient,) = total(gradient_sums, (theta, network, *slope), *samples)  # reduction 2
    more, own = of_weights(theta)
    return terms | more, gradient.astype(theta.dtype) + own


# %% [markdown]
# Does it give what `encoder_objective` and `supervised_objective` give for the array? Handwritten digits in seven blocks, random codes, a network with random weights, in double precision:

# %%
data = load("digits")
X = data.train.T.astype(np.float64) / 16
(D, m), L, lambdas = X.shape, 16, (1e-5, 5e-2, 1e-2, 1e-6)
rng = np.random.default_rng(0)
sizes = (D, *hidden_sizes(L), L)
B = sgn(rng.standard_normal((L, m)))
y = load("digits", ground_truth="labels").labels.train


# %%
def in_blocks(A, rows=250):
    """An array with samples in columns as a Dask array with samples in rows."""
    return da.from_array(A.T, chunks=(rows, -1))


def decay(theta):
    """The term that sees no sample."""
    value, dWs = weight_decay(unflatten(theta, sizes)[0])
    zeros = [0 * c for c in unflatten(theta, sizes)[1]]
    return {"weight_decay": lambdas[0] * value}, lambdas[0] * flatten(dWs, zeros)


# %%
theta = 0.1 * rng.standard_normal(sum(b * (a + 1) for a, b in zip(sizes, sizes[1:])))
of_array = {
    "UH-BDNN": encoder_objective(theta, X, B, sizes, lambdas),
    "SH-BDNN": supervised_objective(theta, X, B, y, sizes, lambdas),
}
for (name, (J, gradient)), C in zip(of_array.items(), (1, 10)):
    network = Network(sizes, ("sigmoid", "identity"), C)
    samples = [in_blocks(A) for A in (X, (y if C > 1 else 0 * y)[None], B)]
    terms, found = objective(theta, network, samples, partial(bdnn_terms, lambdas), decay)
    error = np.linalg.norm(found - gradient) / np.linalg.norm(gradient)
    assert max(error, abs(sum(terms.values()) / J - 1)) < 1e-11
    print(f"{name}: J = {J:.6f}; value and gradient agree to 1e-11")

# %% [markdown]
# ## Turn every other step into a sum, or into none
#
# | step | what it asks of the samples | size |
# | --- | --- | --- |
# | range and mean of the input | minimum, maximum, sum | $D$ |
# | principal axes | $VV^\top$ of the centred input $V$ | $D\times D$ |
# | decoder (ridge regression) | $X\mathbf 1,\ B\mathbf 1,\ XX^\top,\ XB^\top,\ BB^\top$ | $(D+L)^2$ |
# | ITQ, and the rotation of SH-BDNN | $BV^\top$ and the loss, in every iteration | $L\times L$ |
# | codes (DCC) | nothing: $b_i$ depends on $x_i$ and $h_i$ alone | – |
# | validation | the $k$ nearest so far; samples in the ball, hits | $q\times k$, $q$ |
#
# PCA and ridge regression ask for means and second moments alone. So they find in *any* samples with the same mean and the same covariance what they would find in ours: $2D$ **stand-ins** will do, the mean plus and minus the columns of a root of the covariance. The functions of notebooks 03 and 08 are then called as they are.


# %% tags=["export"]
def second_moments(given, *samples):
    """Sum and second moments of the samples, one above the other, less what is `given`."""
    A = np.vstack(samples) - given[0]
    return A.sum(axis=1, keepdims=True), A @ A.T


def stand_ins(mean: Array, C: Array) -> Array:
    """A few samples (D, 2 D) with this mean (D, 1) and covariance (D, D).

    What asks the samples for no more, such as PCA and ridge regression, finds the same in them.
    """
    e, Q = np.linalg.eigh(C)
    S = np.sqrt(len(C) * np.maximum(e, 0)) * Q
    return np.hstack([mean + S, mean - S])


def decoder(Z: da.Array, B: da.Array, lambda1: float) -> tuple[Array, Array]:
    """`uh_bdnn.ridge_decoder` of all samples and codes."""
    a, S = (s / len(Z) for s in total(second_moments, (0,), Z, B))
    few, r = stand_ins(a, S - a @ a.T), Z.shape[1]
    W, c = ridge_decoder(few[:r], few[r:], lambda1)
    return W.astype(Z.dtype), c.astype(Z.dtype)


# %% [markdown]
# ITQ finds codes where the samples are, and the rotation here, from $BV^\top$:


# %% tags=["export"]
def rotation_sums(given, X):
    """B V^T and ||B - R V||^2 for what `project` makes of the samples."""
    project, R = given
    V = project(X)
    RV = R.astype(V.dtype) @ V
    B = sgn(RV)
    return B @ V.T, squared_norm(B - RV)


def rotate(project: Callable, X: da.Array, R: Array, n_iter: int) -> tuple[Array, list[float]]:
    """ITQ, Eqs. (3), (5) of notebook 03: the codes are found in the blocks, the rotation here."""
    losses = []
    for t in range(n_iter + 1):
        BV, loss = total(rotation_sums, (project, R), X)
        losses.append(float(loss) / len(X))
        if t < n_iter:
            R = procrustes_rotation(BV, np.eye(len(R)))
    return R, losses


# %% [markdown]
# DCC, that one had suspected, is the easiest: the sum over samples has no term that couples two of them once $W,c,H$ are given. Each block finds its own codes and tells nobody; they stay there, a byte for each bit.


# %% tags=["export"]
def new_codes(x, *rest):
    """Codes of a block: by DCC where there is a decoder, else the signs of the outputs."""
    *B, (theta, network, W, c, lambda2) = rest
    H = outputs(theta, network, x.T)
    codes = B[0].T.astype(H.dtype) if B else sgn(H)
    if W is not None:
        codes = best_codes(x.T, W, c, H, lambda2, codes)
    return codes.T.astype(np.int8)


def codes_of(Z: da.Array, given: tuple, *B: da.Array) -> da.Array:
    """Codes (m, L) of all samples, kept in their blocks, a byte for each bit."""
    shape = Z.chunks[0], given[1].sizes[-1]
    return on_blocks(new_codes, shape, np.int8, given, Z, *B).persist()


# %%
samples = in_blocks(X), in_blocks(B)
pairs = zip(decoder(*samples, 1e-5), ridge_decoder(X, B, 1e-5))
assert max(np.abs(a - b).max() for a, b in pairs) < 1e-9
print("the decoder from stand-ins agrees with that from all samples to 1e-9")

# %% [markdown]
# What is left to write is the loop of notebook 08 with these functions in the place of the old, and the reading of rows; it derives nothing, and stands in `bdnn/engine/spread.py`. The first five rounds see 20,000 samples at random, as always, and these fit into memory: only the rounds on all samples are done in blocks.
#
# ## Train from a file
#
# A file of vectors larger than memory is opened with `np.load(..., mmap_mode="r")`, and `fit` takes it. The digits of MNIST that ship with the course, each moved by up to two pixels, make enough samples for this to matter, if the first rounds see 5,000 of them here and not 20,000:

# %%
digits = load("mnist5k").train.reshape(-1, 28, 28)
moves = [(i, j) for i in (-2, 0, 2) for j in (0, 2)]
images = np.vstack([np.roll(digits, move, axis=(1, 2)) for move in moves])
images = images.reshape(len(images), -1)[:, ::8].astype(np.float32)  # every eighth pixel
folder = tempfile.TemporaryDirectory()
np.save(Path(folder.name) / "digits.npy", images)
mapped = np.load(Path(folder.name) / "digits.npy", mmap_mode="r")

# %%
uh_bdnn.SAMPLE = 5_000  # of more than twice as many samples
options = {"n_bits": 8, "max_alternations": 6, "max_iter": 3, "dtype": "float64"}
in_memory = UHBDNN(**options, n_validation=500).fit(images)
from_file = UHBDNN(**options, n_validation=500).fit(mapped)


# %%
def compare(model):
    """The largest relative difference of the objectives, and the share of bits that differ."""
    pairs = zip(model.history_, in_memory.history_, strict=True)
    worst = max(abs(a["objective"] / b["objective"] - 1) for a, b in pairs)
    return worst, np.mean(np.asarray(model.codes_) != in_memory.codes_)


worst, other = compare(from_file)
assert worst < 1e-6 and other < 1e-4
seen = [entry["samples"] for entry in from_file.history_]
assert seen[0] == uh_bdnn.SAMPLE and seen[-1] == len(images) - 500
print(f"samples seen: {seen}; the objectives agree to 1e-6, the codes in 9,999 of 10,000 bits")

# %% [markdown]
# In double precision rounding is all that differs. In single precision L-BFGS makes rounding grow, here as between two machines: the objective agrees to about a thousandth after seven rounds.
#
# What stays in memory is a few blocks, the network, a number for each sample (its place in the random order) and a byte for each bit of a code. Nothing is free: what the array keeps (scaled samples, outputs of the layers) is computed anew in every pass, and every pass reads the file, from disk if the system has not kept it.
#
# Full size is no matter for a notebook; the cell shows what has been recorded. `python3 course.py scale` makes a file of 4,000,000 SIFT descriptors with noise, 2 GB, trains each method on it for a few steps in a process of its own, and records the largest memory that was resident, the libraries included. It trains each method on the first 40,000 of these samples once more, from the file and from memory, and evaluates the codes of all samples with 1,000 of them as queries:

# %% tags=["nbval-ignore-output"]
rows = read_folder()["scale.jsonl"]
for row in rows:
    kind, method = row["measurement"].split(":")
    if kind == "file":
        size = f"{row['n_samples']:,} x {row['n_features']}, {row['file_mb']:.0f} MB on disk"
        times = f"{row['fit_seconds']:.0f} s to train, {row['encode_seconds']:.0f} s to encode"
        print(f"{method:11s} {size}: {row['peak_mb']:.0f} MB resident at most, {times}")
    if kind == "same":
        values = f"{row['objective_from_file']:.7g} from file, {row['objective_in_memory']:.7g}"
        print(f"{method:11s} {row['trained_on']:,}: J = {values} in memory")
    if kind == "evaluate":
        work = f"{row['n_queries']:,} queries x {row['n_samples']:,} codes"
        print(f"{work}: {row['evaluate_seconds']:.0f} s, {row['peak_mb']:.0f} MB resident at most")

# %% [markdown]
# ## Train on a cluster
#
# Two processes on this machine stand for two machines. `fit` on a Dask array uses the client that is there; L-BFGS runs here, and only sums travel.

# %% tags=["nbval-ignore-output"]
quiet = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
cluster = LocalCluster(n_workers=2, **quiet)
client = Client(cluster)

# %% [markdown]
# **Kill one.** After the first round on all samples, one of the two processes gets the signal that cannot be refused. Its blocks and the codes found so far are gone.


# %%
@dask.delayed
def read(path, start, stop):
    """Some rows of a file, which every worker can reach."""
    return np.array(np.load(path, mmap_mode="r")[start:stop])


# %%
m_images, width = images.shape
parts = [(k, min(k + 8000, m_images)) for k in range(0, m_images, 8000)]
blocks = [
    da.from_delayed(read(mapped.filename, a, b), (b - a, width), np.float32) for a, b in parts
]
chunked = da.concatenate(blocks)
workers_before = set(client.run(os.getpid).values())
killed = []


def kill_one(share):
    """Kill a worker once, when six of seven rounds are done."""
    if share > 0.8 and not killed:
        killed.append(max(workers_before))
        os.kill(killed[0], signal.SIGKILL)


# %%
survivor = UHBDNN(**options, n_validation=500).fit(chunked, callback=kill_one)
client.wait_for_workers(2)
workers_after = set(client.run(os.getpid).values())
worst, other = compare(survivor)
assert worst < 1e-6 and other < 1e-4
print(f"workers of the start that are still there: {len(workers_before & workers_after)} of 2")
print("the objectives agree to 1e-6, the codes in 9,999 of 10,000 bits")

# %% [markdown]
# No line of the trainer knows of this. The scheduler saw the connection break, made the lost blocks again, by the steps in its books, and repeated what had been under way; a new process took the place of the old. The codes are a Dask array again, beside the samples.
#
# **What a real cluster wants.**
#
# * *A scheduler's address.* `Client("tcp://10.0.0.1:8786")` in the place of `LocalCluster`; `dask scheduler` and, on each machine, `dask worker tcp://10.0.0.1:8786` start one, and `dask-jobqueue` or `dask-kubernetes` do it for a batch system or a cloud.
# * *Workers that have the library.* What travels names functions of `bdnn`; every worker needs the same Python, NumPy and `bdnn`, from the same lock file or image.
# * *Samples that the workers can read.* `da.from_array` sends the array through the client and is for examples. Use `da.from_zarr("s3://...")`, or `dask.dataframe.read_parquet(...)` with `.to_dask_array(lengths=True)`; without lengths the sizes of the blocks are unknown, and `X.compute_chunk_sizes()` finds them. A file of NumPy's is trained on by this process alone.
# * *Memory limits.* A block is read whole: a worker with $t$ threads holds $t$ of them, so rows of 32 to 128 MB per block are a good size, and `memory_limit=` should be several times that. `X.persist()` keeps the blocks on the workers, if their memory takes it; otherwise every pass reads them again.
# * *What dies with the client.* Workers may go; the client may not. It holds L-BFGS and the best state, there is no checkpoint for Dask arrays, and what the cluster computed for it is forgotten with it. Ctrl-C is no loss: the best state is kept.
#
# ## Count what moves
#
# For an evaluation every worker takes in $\theta$ twice, and $M,v,\beta$ (4 bytes a number); up the tree go the sums (8 bytes):

# %%
p = sum(b * (a + 1) for a, b in zip(sizes, sizes[1:]))
moved = 4 * (2 * p + L**2 + L + 1) + 8 * (p + L**2 + L + 1)
print(f"p = {p:,}: {moved / 1000:.0f} kB to and from a worker, whatever the number of samples")

# %% [markdown]
# How much faster are two processes than one? At best twice. `course.py scale` records evaluations of UH-BDNN's objective on SIFT descriptors: the time on the clock, and the processor time of the busiest worker.

# %% tags=["nbval-ignore-output"]
for row in rows:
    for one, two in row.get("pairs", []):
        gain, share = one["seconds"] / two["seconds"], one["worker_seconds"] / two["worker_seconds"]
        clock = f"{one['seconds']:.2f} s and {two['seconds']:.2f} s, {gain:.2f} times as fast"
        print(f"m = {one['m']:7,}: {clock}; the busiest of two does 1/{share:.2f} of the work")

# %% [markdown]
# What an evaluation takes beside its arithmetic, messages and the scheduler, does not grow with $m$: with few samples two processes are no faster than one, with more the gain comes. Two cores of one machine, which share its memory, tell no more than this.
#
# ## Calculate a billion vectors
#
# From here on things are **calculated**, not measured. Let $w=\sum_lh_lh_{l+1}$ be the weights of the encoder. A sample costs $2w$ operations for a pass forward, and about $4w$ for the pass back, less the gradient with respect to the input that nobody needs; with the second pass forward, and $4L^2$ for $G$ and the slope,
#
# $$
# F=8w-2h_1h_2+4L^2 \text{ operations per sample},\qquad
# t=\underbrace{\frac{m}{P}\cdot\frac Fr}_{\text{compute}}+\underbrace{\log_2P\,\Big(\frac{16p}{b}+4\tau\Big)}_{\text{communicate}} \tag{5}
# $$
#
# for $P$ workers that make $r$ operations per second and links that carry $b$ bytes per second with a delay of $\tau$, where numbers go down and up a binary tree. If all workers talked to the client instead, its link would carry $16pP$ bytes, in $16pP/b+4\tau$ seconds.


# %%
def seconds(m, P, b, sizes, r=5e10, tau=1e-3, tree=True):
    """Eq. (5)."""
    w = sum(a * c for a, c in zip(sizes, sizes[1:]))
    F = 8 * w - 2 * sizes[0] * sizes[1] + 4 * sizes[-1] ** 2
    p = w + sum(sizes[1:])
    communicate = np.log2(P) * (16 * p / b + 4 * tau) if tree else P * 16 * p / b + 4 * tau
    return m / P * F / r + communicate


# %%
recorded = (128, *hidden_sizes(16), 16)
print(f"160,000 SIFT descriptors, 16 bits, one core: {seconds(160_000, 1, 1e9, recorded):.2f} s")

# %% tags=["nbval-ignore-output"]
measured = [
    one["seconds"] for row in rows for one, _ in row.get("pairs", []) if one["m"] == 160_000
]
print("recorded:", *(f"{t:.2f} s" for t in measured))

# %%
billion = (128, *hidden_sizes(32), 32)
P = np.unique(np.logspace(1, 4.5, 60).astype(int))
fig, ax = plt.subplots(figsize=(6, 3.6))
for gigabits, colour in zip((1, 10, 100), COLOURS.values()):
    b = gigabits * 1.25e8
    for tree, style in ((True, "-"), (False, "--")):
        label = f"{gigabits} Gbit/s" if tree else None
        times = seconds(1e9, P, b, billion, tree=tree)
        _ = ax.loglog(P, times, color=colour, ls=style, label=label)
_ = ax.set(xlabel="workers", ylabel="seconds for an evaluation")
_ = ax.legend()
save_figure(fig, "16_cost")

# %% [markdown]
# Seconds for an evaluation on $10^9$ vectors of 128 dimensions and 32 bits over the number of workers, for three links. Solid: along a tree. Dashed: all workers talk to one client; beyond the turn more workers make it slower.

# %%
for P in (64, 1024, 16_384):
    tree, star = (seconds(1e9, P, 1.25e9, billion, tree=tree) for tree in (True, False))
    print(
        f"{P:6,} workers, 10 Gbit/s: {tree:5.2f} s along a tree, {star:6.2f} s by way of one client"
    )

# %% [markdown]
# With sums in a tree neither L-BFGS (its loops over 20 pairs are $80\,p$ operations) nor DCC (no bytes at all) is the next bottleneck. The disk is: two passes over 512 GB for an evaluation, if the workers' memory does not hold them. And a worker that is slow makes all wait, twice: a sum is complete when its last part is there.
#
# ## Compare with mini-batches
#
# Why not take small random samples in turn, as everyone does? That needs no reduction over all samples at all. But the independence is not a sum over samples. For a batch of $n$ samples drawn at random, with second moments $G_n$ and $C=\tfrac1mG$,
#
# $$
# \mathbb E\big\|\tfrac1nG_n-I\big\|^2=\|C-I\|^2+\tfrac1n\Big(\tfrac1m\sum_i\|h_i\|^4-\|C\|^2\Big). \tag{6}
# $$
#
# (The mean of $\tfrac1nG_n$ is $C$; what is added is the variance of a mean of $n$ matrices $hh^\top$.) A batch sees another objective, which also punishes long outputs, the more the smaller it is. On the digits, after an encoder step of 25 iterations for the codes of ITQ:

# %%
V = X - X.mean(axis=1, keepdims=True)
axes = principal_axes(V)
Z, units = axes.T @ V, (axes.shape[1], *hidden_sizes(L), L)
B = ITQ(L, dtype="float64").fit(X.T).codes_.T.astype(np.float64)
start = flatten(*initial_weights(Z, units, np.random.default_rng(0)))
full = partial(encoder_objective, X=Z, B=B, sizes=units, lambdas=lambdas)
found = minimize(full, start, max_iter=25)
H = forward(*unflatten(found.x, units), Z)[-1]

# %%
C = H @ H.T / m
true = squared_norm(C - np.eye(L))
added = np.mean(np.sum(H**2, axis=0) ** 2) - squared_norm(C)
rng = np.random.default_rng(0)
for n in (20, 100, 500):
    draws = (H[:, rng.integers(m, size=n)] for _ in range(2000))
    seen = np.mean([squared_norm(h @ h.T / n - np.eye(L)) for h in draws])
    assert np.isclose(seen - true, added / n, rtol=0.1)
    print(f"batches of {n:3d}: 2,000 draws agree with Eq. (6) to a tenth of what is added")


# %% [markdown]
# And the optimiser that goes with batches, Adam, from the same start for the same codes, at an equal number of passes over the samples, with the best of three step lengths:


# %%
def adam(theta, n, rate, passes, rng):
    """Adam (Kingma and Ba, 2015) on batches of about n columns; the parameters."""
    theta, mean, square, t = theta.copy(), 0.0, 0.0, 0
    for _ in range(passes):
        for batch in np.array_split(rng.permutation(m), m // n):
            part = Z[:, batch], B[:, batch], units, lambdas
            gradient, t = encoder_objective(theta, *part)[1], t + 1
            mean = 0.9 * mean + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            step = mean / (1 - 0.9**t) / (np.sqrt(square / (1 - 0.999**t)) + 1e-8)
            theta -= rate * step
    return theta


# %%
def best(n):
    """The lowest objective that Adam reaches, over three step lengths, for three seeds."""
    rates, seeds = (1e-3, 3e-3, 1e-2), [np.random.default_rng(seed) for seed in range(3)]
    return [min(full(adam(start, n, rate, found.nfev, g))[0] for rate in rates) for g in seeds]


reached = {n: best(n) for n in (20, 100)}

# %% tags=["nbval-ignore-output"]
print(f"start {full(start)[0]:.4f}; L-BFGS after {found.nfev} passes {found.fun:.4f}")
for n, values in reached.items():
    lowest = ", ".join(f"{J:.4f}" for J in values)
    print(f"Adam, batches of {n}: {lowest} for three seeds, {m // n} reductions in a pass")

# %%
assert max(reached[20] + reached[100]) < found.fun < full(start)[0]
print("Adam comes lower in as many passes, for every seed and in both sizes of batches")

# %% [markdown]
# Counted in passes, Adam in small batches is far ahead, in spite of (6), once its step length has been found by trying. On one machine with redundant data that is an argument, and we do not hide it. Across machines the reductions count: every batch is one of $p$ numbers, 75 or 15 in a pass, where an evaluation of L-BFGS has two, one of them tiny; and larger batches, which need fewer, lose the lead. What exact sums have beyond that: no step length to try, a line search that knows descent from noise, and a result that does not depend on how many machines there were.

# %%
client.close()
cluster.close()
folder.cleanup()

# %% [markdown]
# ## What we have now
#
# | name | what it is |
# | --- | --- |
# | `bdnn.engine.scale.total` | a sum over all samples, from blocks of rows, in a tree |
# | `objective` | value and gradient of an encoder in two reductions: (2) to (4) |
# | `stand_ins`, `decoder`, `rotate`, `codes_of` | the other steps |
#
# `fit` of ITQ, ITQ-CCA, UH-BDNN, SH-BDNN and unsupervised Deep Hashing takes memory-mapped and Dask arrays, `transform`, `encode` and `decision_function` of all methods do. Of the slides' doubt, half is settled: L-BFGS and DCC work on parts, *exactly*, and survive the loss of one. How well they use parallel hardware is not: two processes were 1.0 to 1.5 times as fast as one, and more than two were calculated, not measured.
#
# ## Exercises
#
# **16.1** (on paper) Show that the similarity of SH-BDNN (notebook 09) and its gradient need $HY^\top$ and $HH^\top$ of all samples, and nothing else. How many numbers is that for 10 classes and 32 bits?
#
# <details><summary>Hint</summary> $S=2Y^\top Y-\mathbf 1\mathbf 1^\top$, and $\mathbf 1=Y^\top\mathbf 1$. </details>
#
# **16.2** For which of $\lambda_2,\lambda_3,\lambda_4$ equal to 0 does *one* reduction give value and gradient? Check it with two parts of the digits. What of Deep Hashing?
#
# <details><summary>Hint</summary> What is left of $M$, $v$ and $\beta$ in (3)? </details>
#
# **16.3** Mean and covariance of all samples took two passes. Write them as one call of `total`, and compare with NumPy far from the origin.
#
# <details><summary>Hint</summary> $\sum x$ and $\sum xx^\top$; what do $10^8$ and $10^8+1$ have in common? </details>
#
# ## Further reading
#
# * Dean and Ghemawat, "MapReduce", OSDI 2004, and Chu et al., "Map-Reduce for Machine Learning on Multicore", NIPS 2006: learning algorithms whose sums over samples can be split.
# * Chen, Wang and Zhou, "Large-scale L-BFGS using MapReduce", NIPS 2014: what to do when $p$ itself is too large for one machine.
# * Rocklin, "Dask: Parallel Computation with Blocked algorithms and Task Scheduling", SciPy 2015; the documentation of `distributed` on resilience.
# * Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
