"""Trainings on what is not in memory, for the face of the estimators.

A memory-mapped file and a Dask array come here from `hashing`; an ordinary array never does. What
is asked of all samples are the sums that notebook 16 derives, `scale`.
"""

import copy
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import islice
from operator import methodcaller
from typing import Any, NamedTuple

import dask
import numpy as np
from dask import array as da
from numpy import ndarray as Array
from sklearn.utils.validation import validate_data

from bdnn.checks import as_classes, as_generator, check_classes, check_missing, check_range
from bdnn.deep_hashing import descend, initial_network, lbfgs_rounds, orthogonality
from bdnn.engine.scale import (
    BLOCK,
    Network,
    bdnn_terms,
    code_sums,
    codes_of,
    decoder,
    objective,
    on_blocks,
    outputs,
    rotate,
    second_moments,
    stand_ins,
    total,
)
from bdnn.files import Checkpoint
from bdnn.hashing import Hasher, is_dask, new_run, stand_in
from bdnn.itq import (
    ITQ,
    ITQCCA,
    most_correlated,
    principal_directions,
    random_rotation,
    range_scaling,
)
from bdnn.lbfgs import minimize
from bdnn.losses import squared_norm, weight_decay
from bdnn.metrics import hamming_distances, sgn
from bdnn.network import flatten, unflatten
from bdnn.sh_bdnn import class_vectors
from bdnn.uh_bdnn import UHBDNN, DeepEncoder

__all__ = ["encode", "fit"]


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
    return estimator._stages(len(X) - min(estimator.n_validation, len(X) // 8))


def fit(estimator: Hasher, X: Any, y: Any = None, **options: Any) -> None:
    """Train on a memory-mapped matrix or a Dask array; `hashing` has checked the parameters."""
    mapped = not is_dask(X)
    with dask.config.set({"scheduler": "threads"} if mapped else {}):
        if not estimator._by_sums:
            if not mapped:
                name = type(estimator).__name__
                raise TypeError(f"{name} learns from samples in memory: give it X.compute()")
            return estimator._fit_in_memory(np.array(X), y, **options)
        X = rows_of(X, estimator.dtype)
        few = X.ndim == 2 and isinstance(estimator, DeepEncoder) and len(rounds(estimator, X)) == 1
        if few:  # no more than the first rounds of a training want
            estimator._fit_in_memory(np.array(X), y, **options)
            if not mapped:
                estimator.codes_ = da.from_array(estimator.codes_, chunks=(X.chunks[0], -1))
            return
        shape = stand_in(X, estimator.dtype)
        if estimator._requires_labels:
            check_missing(y := np.asarray(y) if is_dask(y) else y)
            method = f"{type(estimator).__name__} on samples that are not in memory"
            y = as_classes(y, method, several=False)
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
        settle = methodcaller("compute" if mapped else "persist")  # into memory, or where X is
        if isinstance(estimator, ITQ):
            fit_itq(estimator, X, y, bounds, few)
            estimator.codes_ = settle(encode(estimator, X, sgn, np.int8))
        else:
            fit_network(estimator, X, y, bounds, few, settle, **options)


def labels_of(X: da.Array, y: Array) -> da.Array:
    """Numbers of classes (m,) as a column in the blocks of X."""
    return da.from_array(y[:, None], chunks=(X.chunks[0], 1))


def class_sums(given, X, y):
    """The sum of the samples of each class."""
    return (np.stack([np.bincount(y[0], weights=x, minlength=given[0]) for x in X]),)


def canonical_directions(estimator, X, y, bounds, few):
    """Mean and directions of CCA, from sums."""
    mean, share = few.mean(axis=1, keepdims=True), np.bincount(y) / len(X)
    (S,) = total(class_sums, (len(share),), X, labels_of(X, y))
    scale = range_scaling(bounds)[1]
    C_xx = (few - mean) @ (few - mean).T / few.shape[1] / scale**2
    C_xy = (S / len(X) - mean * share) / scale
    C_yy = np.diag(share) - np.outer(share, share)
    return mean, most_correlated(C_xx, C_xy, C_yy, estimator.n_bits, estimator.rho) / scale


def affine(W: Array, c: Array, X: Array) -> Array:
    """W X + c; W may be a number."""
    return np.dot(W, X) + c


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


def dh_terms(estimator, G, V, d, m):
    """What `scale.bdnn_terms` returns, for Deep Hashing: its slope is known before any sum."""
    share = 1 / m if estimator.reduction == "mean" else 1.0
    terms = {
        "quantisation": share / 2 * float(d),
        "variance": -estimator.alpha1 / (2 * m) * float(np.trace(G)),
    }
    return terms, (share - estimator.alpha1 / m) * np.eye(len(G)), np.zeros_like(V), share


def weight_terms(estimator, sizes, theta):
    """The terms that see no sample, and their gradient."""
    Ws, cs = unflatten(theta, sizes)
    if isinstance(estimator, DeepEncoder):
        terms = {"weight_decay": estimator.lambda1 * weight_decay(Ws)[0]}
        return terms, estimator.lambda1 * flatten(Ws, [0 * c for c in cs])
    (angle, dWs), (decay, _) = orthogonality(Ws), weight_decay([*Ws, *cs])
    terms = {"orthogonality": estimator.alpha2 * angle, "weight_decay": estimator.alpha3 * decay}
    return terms, estimator.alpha2 * flatten(dWs, [0 * c for c in cs]) + estimator.alpha3 * theta


def bdnn_states(spread: "Spread", state: Any) -> Iterator[State]:
    """UH-BDNN and SH-BDNN on all samples, from what the rounds on the first have left."""
    estimator, Z, network = spread.estimator, spread.Z, spread.network
    unsupervised, sizes = isinstance(estimator, UHBDNN), network.sizes
    tolerances: dict[str, Any] = {"gtol": 0, "ftol": 0} if unsupervised else {}  # as in memory
    theta, W, c = state[:3] if unsupervised else (state.theta, None, None)
    B = codes_of(Z, (theta, network, W, c, estimator.lambda2))
    while True:
        if unsupervised:
            W, c = decoder(Z, B, estimator.lambda1)
        J = value_and_gradient(spread, B)
        theta = minimize(J, theta, max_iter=estimator.max_iter, **tolerances).x
        if not unsupervised:
            R, _ = rotate(partial(outputs, theta, network), Z, np.eye(sizes[-1]), 20)
            Ws, cs = unflatten(theta, sizes)  # views
            Ws[-1][:], cs[-1][:] = R @ Ws[-1], R @ cs[-1]
            B = codes_of(Z, (theta, network, None, None, 0))
        yield State(theta, W, c, B)
        if unsupervised:
            B = codes_of(Z, (theta, network, W, c, estimator.lambda2), B)


def value_and_gradient(spread, *B, N=1.0):
    """The objective, divided by N, as an optimiser takes it."""

    def J(theta):
        samples = spread.Z, spread.classes, *B
        terms, gradient = objective(theta, spread.network, samples, *spread.terms)
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
    J, theta = value_and_gradient(spread, N=N), flatten(Ws, cs)
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
    codes = encoder._in_blocks(x, sgn, np.int8)
    codes[keep[:, 0]] = B
    return codes


def misses(given, X, B):
    """||X - W B - c 1'||^2."""
    W, c = given
    return (squared_norm(X - W @ B.astype(X.dtype) - c),)


class Spread:
    """The samples of a training, where they are; what `hashing.NetworkHasher._train` asks of them.

    X is a Dask array (m, D), y numbers of the classes (m,) or None; `bounds` (D, 2) are the least
    and largest values, `few` (D, n) samples of the mean and covariance of all.
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
        of_codes = (bdnn_terms, estimator._lambdas) if self.deep else (dh_terms, estimator)
        self.terms = partial(*of_codes), partial(weight_terms, estimator, sizes)
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
        of_codes, of_weights = self.terms
        terms = of_codes(*sums, m)[0] | of_weights(theta)[0]
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
        """Codes (m, L) of all samples; nothing is read yet."""
        if best["samples"] < len(self.Z):
            return encode(encoder, self.X, sgn, np.int8)
        shape = self.X.chunks[0], encoder.n_bits
        samples = self.X, self.mask, best["B"]
        return on_blocks(final_codes, shape, np.int8, encoder, *samples)


def fit_network(estimator, X, y, bounds, few, settle, start=None, callback=None, checkpoint=None):
    """UH-BDNN, SH-BDNN and Deep Hashing, by the loop of `hashing.NetworkHasher`."""
    if start is not None or checkpoint is not None:
        raise TypeError("start and checkpoint are for samples in memory")
    spread, none = Spread(estimator, X, y, bounds, few), Checkpoint(None, estimator, X)

    def all_codes(encoder, best):
        return settle(spread.all_codes(encoder, best))

    steps = spread.states(), spread.describe, all_codes, len(spread.Z)
    estimator._train(*steps, new_run(), callback, none)


def encode(estimator: Hasher, X: da.Array, encode: Callable, dtype: Any) -> da.Array:
    """What `encode` makes of the outputs for the rows of a Dask array; nothing is read yet."""
    X, encoder = rows_of(X, estimator.dtype), copy.copy(estimator)
    validate_data(encoder, stand_in(X, encoder.dtype), reset=False)
    L = encoder.__dict__.pop("codes_").shape[1] if hasattr(encoder, "codes_") else encoder.n_bits
    shape = X.chunks[0], encode(np.zeros((1, L), X.dtype)).shape[1]
    return on_blocks(encode_block, shape, dtype, (encoder, encode, dtype), X)


def encode_block(x, given):
    """The rows of a block, encoded."""
    encoder, encode, dtype = given
    return encoder._in_blocks(x, encode, dtype)
