# Generated from notebooks/16_scale.py by `course.py export 16`: edit the notebook.
"""Training on what is not in memory: sums over blocks of rows, which Dask adds in a tree.

A memory-mapped file and a Dask array come here from `hashing`; an ordinary array never does. What
the methods ask of all samples are sums, small and exact; everything else stays with its rows.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice
from typing import Any, NamedTuple

import dask
import numpy as np
from dask import array as da
from numpy import ndarray as Array
from scipy.linalg import eigh
from sklearn.utils.validation import validate_data

from bdnn.checks import as_generator, check_classes, check_missing, check_range
from bdnn.dcc import coordinate_descent
from bdnn.deep_hashing import (
    DeepHashing,
    descend,
    initial_network,
    lbfgs_rounds,
    orthogonality,
    weight_and_bias_decay,
)
from bdnn.files import Checkpoint
from bdnn.hashing import Hasher, is_dask, new_run, signs, stand_in
from bdnn.itq import (
    ITQ,
    ITQCCA,
    fixed_signs,
    principal_directions,
    procrustes_rotation,
    random_rotation,
    range_scaling,
)
from bdnn.lbfgs import minimize
from bdnn.losses import squared_norm, weight_decay
from bdnn.metrics import hamming_distances, sgn
from bdnn.network import backward, flatten, forward, unflatten
from bdnn.sh_bdnn import class_vectors
from bdnn.uh_bdnn import UHBDNN, DeepEncoder, ridge_decoder, stages

__all__ = ["encode", "fit", "objective", "stand_ins", "total"]

BLOCK = 4096  # rows that a function sees at once: what it computes for them stays small


def sums_of_block(fun, *block):
    """What `fun` sums over the rows of a block, as a row of numbers."""
    *arrays, given = block
    found = 0.0
    for start in range(0, max(1, len(arrays[0])), BLOCK):
        columns = (A[start : start + BLOCK].T for A in arrays)
        found = found + np.hstack([np.ravel(a).astype(np.float64) for a in fun(given, *columns)])
    return found[None]


def total(fun: Callable, given: tuple, *samples: da.Array) -> list[Array]:
    """The sums over all samples that a function gives for some of them.

    Every block of rows is summed where it lies; Dask adds the sums of the blocks in a tree.

    Parameters
    ----------
    fun : callable
        fun(given, X, ...) -> tuple of arrays: sums over the samples X (D, n), in columns.
    given : tuple
        What it needs beside the samples; sent to every worker once.
    *samples : Dask arrays (m, D), ...
        In rows, cut into the same blocks.

    Returns
    -------
    list of arrays, float64
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
    estimator: DeepEncoder, G: Array, V: Array, d: float, m: int
) -> tuple[dict[str, float], Array, Array, float]:
    """Terms of UH- and SH-BDNN from the sums, and M, V, beta of their slope: Eq. (3)."""
    _, lambda2, lambda3, lambda4 = estimator._lambdas
    L, s = len(G), V.sum(axis=1, keepdims=True)
    E = G / m - np.eye(L)
    terms = {
        "equality": lambda2 / (2 * m) * float(d),
        "independence": lambda3 / 2 * squared_norm(E),
        "balance": lambda4 / (2 * m) * squared_norm(s),
    }
    M = lambda2 / m * np.eye(L) + 2 * lambda3 / m * E
    slope = lambda4 / m * s + np.zeros_like(V)
    if estimator._requires_labels:  # Eq. (14) of notebook 05
        agreement = 2 * squared_norm(V) - squared_norm(s)
        similarity = (squared_norm(G) / L**2 - 2 / L * agreement + m**2) / (2 * m)
        terms = {"similarity": similarity, **terms}
        M, slope = M + 2 / (m * L**2) * G, slope + 2 / (m * L) * (s - 2 * V)
    return terms, M, slope, lambda2 / m


def dh_terms(
    estimator: DeepHashing, G: Array, V: Array, d: float, m: int
) -> tuple[dict[str, float], Array, Array, float]:
    """The same for Deep Hashing, whose slope knows M and beta before any sum."""
    share = 1 / m if estimator.reduction == "mean" else 1.0
    terms = {
        "quantisation": share / 2 * float(d),
        "variance": -estimator.alpha1 / (2 * m) * float(np.trace(G)),
    }
    return terms, (share - estimator.alpha1 / m) * np.eye(len(G)), np.zeros_like(V), share


def weight_terms(estimator: Any, theta: Array, sizes: Sequence[int]) -> tuple[dict, Array]:
    """The terms that see no sample, and their gradient."""
    Ws, cs = unflatten(theta, sizes)
    if isinstance(estimator, DeepEncoder):
        terms = {"weight_decay": estimator.lambda1 * weight_decay(Ws)[0]}
        return terms, estimator.lambda1 * flatten(Ws, [0 * c for c in cs])
    (angle, dWs), (decay, _) = orthogonality(Ws), weight_and_bias_decay(Ws, cs)
    terms = {"orthogonality": estimator.alpha2 * angle, "weight_decay": estimator.alpha3 * decay}
    return terms, estimator.alpha2 * flatten(dWs, [0 * c for c in cs]) + estimator.alpha3 * theta


def objective(
    theta: Array, estimator: Any, network: Network, samples: tuple[da.Array, ...]
) -> tuple[dict[str, float], Array]:
    """Terms of an encoder's objective, and its gradient: two reductions over all samples.

    Parameters
    ----------
    theta : array (p,)
    estimator
        UHBDNN, SHBDNN or DeepHashing: the weights of the terms.
    network : Network
    samples : Dask arrays (m, D), (m, 1) and (m, L)
        Input of the network, numbers of the classes, and, for BDNN, codes.

    Returns
    -------
    terms : dict of str -> float
        Each with its weight; the objective is their sum.
    gradient : array (p,)
    """
    of_codes = bdnn_terms if isinstance(estimator, DeepEncoder) else dh_terms
    sums = total(code_sums, (theta, network), *samples)
    terms, M, V, beta = of_codes(estimator, *sums, len(samples[0]))
    slope = M.astype(theta.dtype), V.astype(theta.dtype), theta.dtype.type(beta)
    (gradient,) = total(gradient_sums, (theta, network, *slope), *samples)
    more, own = weight_terms(estimator, theta, network.sizes)
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


def on_blocks(fun: Callable, shape: tuple, dtype: Any, given: Any, *arrays: da.Array) -> da.Array:
    """fun(*blocks, given) for every block of rows, of this shape: rows of each block, columns."""
    given, chunks = dask.delayed(given, traverse=False), (tuple(shape[0]), (shape[1],))
    meta = np.empty((0, 0), dtype)
    return da.map_blocks(fun, *arrays, given, chunks=chunks, dtype=dtype, meta=meta)


def affine(W: Array, c: Array, X: Array) -> Array:
    """W X + c; W may be a number."""
    return np.dot(W, X) + c


def rows_of(X: Any, dtype: Any) -> da.Array:
    """X (m, D) in blocks of whole rows, in this precision; nothing is read yet."""
    if isinstance(X, np.memmap):
        with dask.config.set({"array.chunk-size": "32MiB"}):
            X = da.from_array(X, chunks=("auto", -1), name=False)
    if not isinstance(X, da.Array) or X.dtype.kind not in "fiub":
        raise TypeError("X must be a Dask array of numbers; of a table take .to_dask_array()")
    if np.isnan(X.shape).any():
        raise ValueError("X has chunks of unknown sizes: call X.compute_chunk_sizes() first")
    return X.rechunk({k: -1 for k in range(1, X.ndim)}).astype(dtype)


def take(X: da.Array, index: Array) -> Array:
    """Some samples (D, n), loaded into memory."""
    order = np.argsort(index)
    return X[index[order]].compute()[np.argsort(order)].T


def rounds(estimator, X):
    """The stages of a training of BDNN on X, less the samples held out."""
    return stages(len(X) - min(estimator.n_validation, len(X) // 8), estimator._n_rounds())


def fit_loaded(estimator, X, y, **options):
    """Train on samples that are loaded into memory."""
    X, y = estimator._check_input(np.array(X), y)
    estimator._fit(X, y, **options)
    if not hasattr(estimator, "codes_"):
        estimator.codes_ = estimator._in_blocks(X.T, signs, np.int8)


def fit(estimator: Hasher, X: Any, y: Any = None, **options: Any) -> None:
    """Train on a memory-mapped matrix or a Dask array; `hashing` has checked the parameters."""
    mapped = not is_dask(X)
    with dask.config.set({"scheduler": "threads"} if mapped else {}):
        if not estimator._by_sums:
            if not mapped:
                name = type(estimator).__name__
                raise TypeError(f"{name} learns from samples in memory: give it X.compute()")
            return fit_loaded(estimator, X, y, **options)
        X = rows_of(X, estimator.dtype)
        few = X.ndim == 2 and isinstance(estimator, DeepEncoder) and len(rounds(estimator, X)) == 1
        if few:  # no more than the first rounds of a training want
            fit_loaded(estimator, X, y, **options)
            if not mapped:
                estimator.codes_ = da.from_array(estimator.codes_, chunks=(X.chunks[0], -1))
            return
        shape = stand_in(X, estimator.dtype)
        if estimator._requires_labels:
            check_missing(y := np.asarray(y) if is_dask(y) else y)
            _, y = validate_data(estimator, shape, y, ensure_min_samples=2)
            check_classes(y)
            estimator.classes_, y = np.unique(y, return_inverse=True)
        else:
            validate_data(estimator, shape, ensure_min_samples=2)
        with np.errstate(over="ignore", invalid="ignore"):
            found = X.min(axis=0), X.max(axis=0), X.mean(axis=0, dtype=np.float64)
            low, high, mean = (np.asarray(v)[:, None] for v in dask.compute(*found))
        if not np.isfinite([low, high]).all():
            raise ValueError(f"X contains NaN, infinity or values too large for {X.dtype}")
        bounds = np.hstack([low, high])  # (D, 2)
        check_range(bounds)
        estimator._check_n_bits(len(X))
        _, C = total(second_moments, (mean,), X)
        few = stand_ins(mean, C / len(X))
        train = fit_itq if isinstance(estimator, ITQ) else fit_network
        train(estimator, X, y, bounds, few, **options)
        if not hasattr(estimator, "codes_"):
            estimator.codes_ = encode(estimator, X, signs, np.int8).persist()
        if mapped:
            estimator.codes_ = estimator.codes_.compute()


def labels_of(X: da.Array, y: Array) -> da.Array:
    """Numbers of classes (m,) as a column in the blocks of X."""
    return da.from_array(y[:, None], chunks=(X.chunks[0], 1))


def class_sums(given, X, y):
    """The sum of the samples of each class."""
    return (np.stack([np.bincount(y[0], weights=x, minlength=given[0]) for x in X]),)


def canonical_directions(estimator, X, y, bounds, few):
    """Mean and directions of CCA, Eqs. (8), (9) of notebook 03, from sums."""
    mean, counts, scale = few.mean(axis=1, keepdims=True), np.bincount(y), range_scaling(bounds)[1]
    (S,) = total(class_sums, (len(counts),), X, labels_of(X, y))
    share, (D, K) = counts / len(X), few.shape
    C_xx = (few - mean) @ (few - mean).T / K / scale**2
    C_xy = (S / len(X) - mean * share) / scale
    C_yy = np.diag(share) - np.outer(share, share) + estimator.rho * np.eye(len(share))
    A, k = C_xy @ np.linalg.solve(C_yy, C_xy.T), min(estimator.n_bits, len(share) - 1, D)
    r2, P = eigh(A, C_xx + estimator.rho * np.eye(D), subset_by_index=(D - k, D - 1))
    P = fixed_signs(P[:, ::-1]) * np.sqrt(np.maximum(r2[::-1], 0))
    return mean, np.pad(P, ((0, 0), (0, estimator.n_bits - k))) / scale


def fit_itq(estimator, X, y, bounds, few):
    """ITQ and ITQ-CCA."""
    if isinstance(estimator, ITQCCA):
        mean, P = canonical_directions(estimator, X, y, bounds, few)
    else:
        mean, P = principal_directions(few, estimator.n_bits)
    R = random_rotation(estimator.n_bits, as_generator(estimator.random_state))
    R, losses = rotate(partial(affine, P.T, -P.T @ mean), X, R, estimator.n_iter)
    W = R @ P.T  # (L, D)
    estimator.W_, estimator.c_ = W.astype(X.dtype), -(W @ mean).astype(X.dtype)
    estimator.history_ = [{"quantisation": loss} for loss in losses]


class State(NamedTuple):
    """What a round on all samples leaves behind."""

    theta: Array  # (p,), the network
    W: Array | None  # the decoder of UH-BDNN
    c: Array | None
    B: da.Array  # (m, L), the codes, where the samples are


def new_codes(x, *rest):
    """Codes of a block: by DCC where there is a decoder, else the signs of the outputs."""
    *B, (theta, network, W, c, lambda2) = rest
    H = outputs(theta, network, x.T)
    codes = B[0].T.astype(H.dtype) if B else sgn(H)
    if W is not None:
        codes = coordinate_descent(x.T, W, c, H, lambda2, codes)
    return codes.T.astype(np.int8)


def codes_of(Z: da.Array, given: tuple, *B: da.Array) -> da.Array:
    """Codes (m, L) of all samples, kept in their blocks, a byte for each bit."""
    shape = Z.chunks[0], given[1].sizes[-1]
    return on_blocks(new_codes, shape, np.int8, given, Z, *B).persist()


def bdnn_states(spread: "Spread", state: Any) -> Iterator[State]:
    """UH-BDNN and SH-BDNN on all samples, from what the rounds on the first have left."""
    estimator, Z, network = spread.estimator, spread.Z, spread.network
    unsupervised, sizes = isinstance(estimator, UHBDNN), network.sizes
    theta, W, c = state[:3] if unsupervised else (state.theta, None, None)
    B = codes_of(Z, (theta, network, W, c, estimator.lambda2))
    while True:
        if unsupervised:
            W, c = decoder(Z, B, estimator.lambda1)
        J = value_and_gradient(estimator, network, (Z, spread.classes, B))
        theta = minimize(J, theta, max_iter=estimator.max_iter).x
        if not unsupervised:
            R, _ = rotate(partial(outputs, theta, network), Z, np.eye(sizes[-1]), 50)
            Ws, cs = unflatten(theta, sizes)  # views
            Ws[-1][:], cs[-1][:] = R @ Ws[-1], R @ cs[-1]
            B = codes_of(Z, (theta, network, None, None, 0))
        yield State(theta, W, c, B)
        if unsupervised:
            B = codes_of(Z, (theta, network, W, c, estimator.lambda2), B)


def decoder(Z: da.Array, B: da.Array, lambda1: float) -> tuple[Array, Array]:
    """`uh_bdnn.ridge_decoder` of all samples and codes."""
    a, S = (s / len(Z) for s in total(second_moments, (0,), Z, B))
    few, r = stand_ins(a, S - a @ a.T), Z.shape[1]
    W, c = ridge_decoder(few[:r], few[r:], lambda1)
    return W.astype(Z.dtype), c.astype(Z.dtype)


def value_and_gradient(estimator, network, samples, N=1.0):
    """The objective, divided by N, as an optimiser takes it."""

    def J(theta):
        terms, gradient = objective(theta, estimator, network, samples)
        return sum(terms.values()) / N, gradient / theta.dtype.type(N)

    return J


def dh_states(spread: "Spread") -> Iterator[State]:
    """Deep Hashing on all samples."""
    estimator, Z, network = spread.estimator, spread.Z, spread.network
    Ws, cs = initial_network(spread.few, network.sizes, spread.rng)
    if estimator.init == "itq":
        k = min(network.sizes[1:])
        P = Ws[0][:k]
        Ws[0][:k] = rotate(partial(np.dot, P), Z, random_rotation(k, spread.rng), 50)[0] @ P
    N = estimator.alpha1 + (len(Z) if estimator.reduction == "sum" else 1)
    J, theta = value_and_gradient(estimator, network, (Z, spread.classes), N), flatten(Ws, cs)
    if estimator.optimizer == "gd":
        thetas = descend(J, theta, estimator.learning_rate, estimator.tol)
    else:
        thetas = lbfgs_rounds(J, theta)
    for theta in thetas:
        yield State(theta, None, None, codes_of(Z, (theta, network, None, None, 0)))


def hits(given, X, y):
    """How many codes lie in the ball of each sample held out, and how many of them are relevant."""
    theta, network, X_held, y_held, limit = given
    held, codes = (sgn(outputs(theta, network, A)).T for A in (X_held, X))
    ball = hamming_distances(held, codes) <= 2
    relevant = y_held[:, None] == y[0] if limit is None else distances(X_held, X) <= limit
    return ball.sum(axis=1), (ball & relevant).sum(axis=1)


def distances(Q, X):
    """Squared distances (q, n) of the columns, less what does not depend on X."""
    return np.square(X).sum(axis=0) - 2 * Q.T @ X


def nearest(x, given):
    """For each sample held out, minus the k smallest distances from rows of a block."""
    Q, k = given
    best = np.full((k, Q.shape[1]), -np.inf, Q.dtype)
    for start in range(0, len(x), BLOCK):
        both = np.vstack([best, -distances(Q, x[start : start + BLOCK].T).T])
        best = np.partition(both, -k, axis=0)[-k:]
    return best


def inputs(x, keep, given):
    """What the network sees of the rows of a block that are trained on."""
    A, shift = given
    return affine(A, 0, x[keep[:, 0]].T - shift).T


def final_codes(x, keep, B, encoder):
    """Codes of a block: those of the training, and the signs of the outputs for the others."""
    codes = encoder._in_blocks(x, signs, np.int8)
    codes[keep[:, 0]] = B
    return codes


def misses(given, X, B):
    """||X - W B - c 1'||^2."""
    W, c = given
    return (squared_norm(X - W @ B.astype(X.dtype) - c),)


class Spread:
    """The samples of a training, where they are; what `hashing.NetworkHasher._train` asks of them.

    Parameters
    ----------
    estimator : UHBDNN, SHBDNN or DeepHashing
    X : Dask array (m, D)
    y : array (m,) or None
        Numbers of the classes.
    bounds, few : arrays (D, 2), (D, n)
        Least and largest values; samples of the mean and covariance of all.
    """

    def __init__(self, estimator, X, y, bounds, few):
        self.estimator, self.X, self.deep = estimator, X, isinstance(estimator, DeepEncoder)
        self.y = y if estimator._requires_labels else None
        scaled = self.scale(bounds, few)  # (r, n)
        self.rng = as_generator(estimator.random_state)
        held, train = estimator._held_out(len(X), self.rng)
        keep = np.ones(len(X), dtype=bool)
        keep[held] = False
        counts = [int(k.sum()) for k in np.split(keep, np.cumsum(X.chunks[0])[:-1])]
        self.mask = labels_of(X, keep)
        self.Z = on_blocks(inputs, (counts, len(scaled)), X.dtype, self.inputs, X, self.mask)
        y = np.zeros(len(X), np.int8) if self.y is None else self.y
        self.classes, sizes = labels_of(self.Z, y[keep]), estimator._sizes(len(scaled))
        activations = ("sigmoid", "identity") if self.deep else ("tanh", "tanh")
        self.network = Network(sizes, activations, 1 + int(y.max()))
        self.few = scaled
        self.Q, self.y_held = self.load(held)
        self.n_first, self.end = rounds(estimator, X)[0] if self.deep else (0, 0)
        self.first = self.load(train[: self.n_first])
        self.describe_first = estimator._describer(*self.first, self.Q, self.y_held)

    def scale(self, bounds, few):
        """Let the estimator learn its scaling, and note it as a pair A, shift."""
        estimator, dtype = self.estimator, self.X.dtype
        scaled = estimator._prepare(few)  # which asks for no more than mean and covariance,
        if isinstance(estimator, UHBDNN):  # and for the range
            factor = range_scaling(few)[1] / range_scaling(bounds)[1]
            scaled, estimator.axes_ = factor * scaled, factor * estimator.axes_
        names = ("axes_", "shift_") if self.deep else ("scale_", "mean_")
        self.inputs = tuple(np.asarray(getattr(estimator, name), dtype) for name in names)
        setattr(estimator, names[1], self.inputs[1])
        if self.deep:
            estimator.axes_ = self.inputs[0]
        return scaled.astype(dtype)

    def load(self, index):
        """What the network sees of some samples, and their labels, in memory."""
        A, shift = self.inputs
        return affine(A, 0, take(self.X, index) - shift), None if self.y is None else self.y[index]

    def states(self):
        """The states of a training: BDNN's first rounds on a few samples, the others on all."""
        n_rounds = self.estimator._n_rounds()
        if not self.deep:
            yield from islice(dh_states(self), n_rounds)
            return
        for state in islice(self.estimator._states(*self.first, self.rng, 0, None), self.end):
            yield state
        if self.y is not None:
            counts = np.bincount(self.classes.compute().ravel())
            self.estimator.floor_ = class_vectors(counts, self.estimator.n_bits)[1]
        yield from islice(bdnn_states(self, state), n_rounds - self.end)

    def describe(self, state):
        """What `history_` tells of a state."""
        if isinstance(state.B, np.ndarray):
            return self.describe_first(state)
        estimator, (theta, W, c, B), m = self.estimator, state, len(self.Z)
        codes = (B,) if self.deep else ()
        sums = total(code_sums, (theta, self.network), self.Z, self.classes, *codes)
        terms, *_ = (bdnn_terms if self.deep else dh_terms)(estimator, *sums, m)
        terms |= weight_terms(estimator, theta, self.network.sizes)[0]
        if W is not None:
            terms["weight_decay"] += estimator.lambda1 * weight_decay([W])[0]
            missed = total(misses, (W, c), self.Z, B)[0] / (2 * m)
            terms = {"reconstruction": float(missed), **terms}
        objective = sum(terms.values())
        score = self.score(theta) if self.Q.size else -objective
        return {"samples": m, "objective": objective, **terms, "score": score}

    def score(self, theta):
        """Precision within radius 2 of the samples held out, among all others."""
        given = theta, self.network, self.Q, self.y_held, self.limit
        ball, found = total(hits, given, self.Z, self.classes)
        return float(np.mean(found / np.maximum(ball, 1)))

    @cached_property
    def limit(self):
        """The distance of the last neighbour of each sample held out, (q, 1)."""
        if self.y is not None:
            return None
        k, Z = min(self.estimator.n_neighbors, len(self.Z)), self.Z
        shape = [k] * Z.numblocks[0], self.Q.shape[1]
        closest = on_blocks(nearest, shape, Z.dtype, (self.Q, k), Z)
        return -da.topk(closest, k, axis=0, split_every=8).compute()[-1][:, None]

    def all_codes(self, encoder, best):
        """Codes (m, L) of all samples."""
        if best["samples"] < len(self.Z):
            return encode(encoder, self.X, signs, np.int8).persist()
        shape = self.X.chunks[0], encoder.n_bits
        samples = self.X, self.mask, best["B"]
        return on_blocks(final_codes, shape, np.int8, encoder, *samples).persist()


def fit_network(estimator, X, y, bounds, few, start=None, callback=None, checkpoint=None):
    """UH-BDNN, SH-BDNN and Deep Hashing, by the loop of `hashing.NetworkHasher`."""
    if start is not None or checkpoint is not None:
        raise TypeError("start and checkpoint are for samples in memory")
    spread, none = Spread(estimator, X, y, bounds, few), Checkpoint(None, estimator, X)
    steps = spread.states(), spread.describe, spread.all_codes, len(spread.Z)
    estimator._train(*steps, new_run(), callback, none)


def encode(estimator: Hasher, X: da.Array, encode: Callable, dtype: Any) -> da.Array:
    """What `encode` makes of the outputs for the rows of a Dask array; nothing is read yet."""
    X, encoder = rows_of(X, estimator.dtype), copy.copy(estimator)
    validate_data(encoder, stand_in(X, encoder.dtype), reset=False)
    L = vars(encoder).pop("codes_").shape[1] if hasattr(encoder, "codes_") else encoder.n_bits
    shape = X.chunks[0], encode(np.zeros((1, L), X.dtype)).shape[1]
    return on_blocks(encode_block, shape, dtype, (encoder, encode, dtype), X)


def encode_block(x, given):
    """The rows of a block, encoded."""
    encoder, encode, dtype = given
    return encoder._in_blocks(x, encode, dtype)
