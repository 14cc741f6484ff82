# Generated from notebooks/16_scale.py by `course.py export 16`: edit the notebook.
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

__all__ = [
    "BLOCK", "Network", "bdnn_terms", "code_sums", "codes_of", "decoder", "gradient_sums",
    "new_codes", "objective", "on_blocks", "outputs", "rotate", "rotation_sums", "second_moments",
    "stand_ins", "sums_of_block", "total",
]  # fmt: skip

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


def gradient_sums(given, X, y, *codes):
    """Gradient of the weights for the slope M H + V_y - beta B: Eqs. (3), (4) of notebook 16."""
    theta, network, M, V, beta = given
    Ws, cs = unflatten(theta, network.sizes)
    Hs = forward(Ws, cs, X, *network.activations)
    B = codes[0] if codes else sgn(Hs[-1])
    dH = M @ Hs[-1] + V[:, y[0]] - beta * B.astype(X.dtype)
    return (flatten(*backward(Ws, Hs, dH, *network.activations)),)


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
