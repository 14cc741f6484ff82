# Generated from notebooks/08_uh_bdnn.py by `course.py export 08`: edit the notebook.
"""UH-BDNN: unsupervised hashing with a binary deep neural network.

Source: Do, Doan and Cheung, "Learning to Hash with Binary Deep Neural Network", ECCV 2016.  Samples
stand in columns in the functions, and in rows at the face of the estimator.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike
from sklearn.neighbors import NearestNeighbors

from bdnn import losses
from bdnn.base import (
    Array,
    BaseHasher,
    Checkpoint,
    Layers,
    Objective,
    ProgressBar,
    Seed,
    as_generator,
    check_hidden,
    check_number,
    check_option,
    check_whole_number,
    sgn,
)
from bdnn.dcc import coordinate_descent
from bdnn.itq import itq_rotation, principal_directions, random_rotation, range_scaling, sample_mean
from bdnn.lbfgs import minimize
from bdnn.metrics import hamming_distances, mean_average_precision
from bdnn.network import Workspace, flatten, forward, hidden_sizes, initial_weights, unflatten
from bdnn.sources import (
    AnySamples,
    Samples,
    alongside,
    blockwise,
    drop,
    merged,
    restore,
    stored,
    take,
    total,
)

__all__ = [
    "BlockwiseObjective",
    "CodeSlope",
    "DAMPING",
    "EncoderObjective",
    "Moments",
    "UHBDNN",
    "Validation",
    "WHITENED_RMS",
    "best_codes",
    "code_terms",
    "code_type",
    "encoder_objective",
    "encoder_terms",
    "in_scaled_variables",
    "initial_codes",
    "joint_objective",
    "moments",
    "principal_axes",
    "ridge_decoder",
    "share_of_flips",
    "total_moments",
    "total_reconstruction",
    "variable_scales",
    "weighted_terms",
]


def ridge_decoder(X: AnySamples, B: AnySamples, lambda1: float) -> tuple[Array, Array]:
    """The best decoder of given codes, in closed form: Eq. (3) of notebook 08.

    Minimises 1/(2m) ||X - W B - c 1^T||^2 + lambda1/2 ||W||^2.

    Parameters
    ----------
    X : array (D, m)
        Samples.
    B : array (L, m)
        Codes.
    lambda1 : float
        Weight decay. With 0 and dependent bits, the shortest of the best decoders.

    Returns
    -------
    W : array (D, L)
    c : array (D, 1)
    """
    x, b, XBt, BBt = (sums / X.shape[1] for sums in total(_code_sums, X, B))
    C_xb, C_bb = XBt - x @ b.T, BBt - b @ b.T
    W = C_xb @ np.linalg.pinv(C_bb + lambda1 * np.eye(len(b)), hermitian=True)
    return W.astype(X.dtype), (x - W @ b).astype(X.dtype)


def _code_sums(X, B):
    """What the decoder needs to know of samples X and codes B: X 1, B 1, X B^T, B B^T."""
    B = B.astype(X.dtype, copy=False)
    x, b = (A.sum(axis=1, keepdims=True, dtype=np.float64) for A in (X, B))
    return x, b, X @ B.T, B @ B.T


def total_reconstruction(
    X: AnySamples, B: AnySamples, W: Array, c: Array
) -> tuple[float, tuple[Array, Array]]:
    """`losses.reconstruction`, value and gradients, for samples in one place or in many."""

    def sums(X, B):
        value, (dW, dc) = losses.reconstruction(X, B, W, c)
        return [X.shape[1] * part for part in (value, dW, dc)]

    value, dW, dc = (part / X.shape[1] for part in total(sums, X, B))
    return float(value), (dW.astype(W.dtype), dc.astype(W.dtype))


def code_type(X: AnySamples) -> np.dtype:
    """Type of the codes that go with samples X: theirs, or int8 where these are not in memory."""
    return np.dtype(np.int8) if isinstance(X, Samples) else X.dtype


def initial_codes(
    X: AnySamples, L: int, rng: np.random.Generator, kind: str = "itq", n_init: int = 1
) -> AnySamples:
    """Codes to start from: of several the ones that a linear decoder reconstructs best.

    Parameters
    ----------
    X : array (D, m)
        Samples.
    L : int
        Code length.
    rng : numpy.random.Generator
        Draws the rotations.
    kind : "itq" or "random"
        The principal components are rotated by ITQ, or at random.
    n_init : int
        How many codes are tried.

    Returns
    -------
    B : array (L, m), entries -1 and +1, in the precision of X; of `sources.Samples` in int8
    """
    mean, P = (A.astype(X.dtype) for A in principal_directions(X, L))
    V = blockwise(lambda X: P.T @ X - P.T @ mean, X)
    dtype = code_type(X)
    smallest = np.inf
    for _ in range(n_init):
        R = itq_rotation(V, 50, rng)[0] if kind == "itq" else random_rotation(L, rng)
        R = R.astype(X.dtype)
        B = stored(lambda V, R=R: sgn(R @ V).astype(dtype), V)
        loss = total_reconstruction(X, B, *ridge_decoder(X, B, 1e-5))[0] if n_init > 1 else 0.0
        if loss < smallest:
            smallest, best = loss, B
    return best


class Moments(NamedTuple):
    """Sums over samples: all that the terms of the encoder need to know of them."""

    m: int  # the number of samples
    G: np.ndarray  # (L, L), H H^T
    sums: np.ndarray  # (L, C), H Y^T: the sum of the outputs of each class; C = 1 without labels
    distance: float  # ||H - B||^2


def moments(H: Array, B: Array, y: Array | None = None, n_classes: int = 1) -> Moments:
    """The moments of some samples.

    Parameters
    ----------
    H, B : arrays (L, m)
        Outputs of the code layer, and codes.
    y : array (m,), optional
        Classes, numbers from 0 to n_classes - 1.
    n_classes : int
        Classes in all, also of samples that are not here.

    Returns
    -------
    Moments
        In float64.
    """
    if y is None:
        sums = H.sum(axis=1, keepdims=True, dtype=np.float64)
    else:
        sums = np.stack([np.bincount(y, weights=row, minlength=n_classes) for row in H])
    distance = float(np.square(H - B).sum(dtype=np.float64))
    return Moments(H.shape[1], (H @ H.T).astype(np.float64), sums, distance)


def total_moments(parts: Iterable[Moments]) -> Moments:
    """The moments of all samples from those of their blocks."""
    return Moments(*map(sum, zip(*parts)))  # type: ignore[arg-type]


class CodeSlope(NamedTuple):
    """Gradient with respect to the code layer, M H + V Y - beta B: Eq. (6) of notebook 08."""

    M: np.ndarray  # (L, L)
    V: np.ndarray  # (L, C), a column for each class, or (L, 1), the same for all
    beta: float

    def __call__(self, H: Array, B: Array, y: Any = None) -> Array:
        """The gradient (L, m) for samples with outputs H, codes B and, where V asks, classes y."""
        dH = self.M.astype(H.dtype) @ H
        V = self.V.astype(H.dtype)
        dH += V if V.shape[1] == 1 else V.take(y, axis=1)
        dH -= H.dtype.type(self.beta) * B
        return dH


def encoder_terms(total: Moments, lambdas: Iterable[float]) -> tuple[float, CodeSlope]:
    """Equality, independence and balance, weighted, from the moments of all samples.

    Parameters
    ----------
    total : Moments
    lambdas : four floats
        lambda1, which has no part in it, to lambda4.

    Returns
    -------
    J : float
        Eq. (4) of notebook 08 without the weight decay.
    slope : CodeSlope
        Eq. (6).
    """
    _, lambda2, lambda3, lambda4 = lambdas
    m, I = total.m, np.eye(len(total.G))
    E, h = total.G / m - I, total.sums.sum(axis=1, keepdims=True)
    J = lambda2 / (2 * m) * total.distance
    J += lambda3 / 2 * np.sum(E**2) + lambda4 / (2 * m) * np.sum(h**2)
    M, V = lambda2 / m * I + 2 * lambda3 / m * E, lambda4 / m * h
    return float(J), CodeSlope(M, V, lambda2 / m)


class EncoderObjective:
    """The terms of the encoder for given codes: Eqs. (4) to (6) of notebook 08.

    ``objective(theta)`` gives (value, gradient) for the parameters (p,) of `network.flatten`. It
    costs little more than its matrix products, and after the first call takes no new memory that
    grows with m. The two passes are there to be called alone, for samples in several places:
    `moments` of each part, `total_moments`, `terms`, then the sum of the `gradient` of each part.

    Parameters
    ----------
    X : array (D, m)
        Samples.
    B : array (L, m)
        Codes.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    lambdas : four floats
        lambda1 (weight decay), lambda2 (equality), lambda3 (independence), lambda4 (balance).
    activations : sequence of str, optional
        As for `network.forward`.
    y : array (m,), optional
        Classes, whole numbers from 0, of which the subclasses make use.
    n_classes : int, optional
        Their number; None: as many as `y` has.
    """

    terms = staticmethod(encoder_terms)

    def __init__(
        self,
        X: Array,
        B: Array,
        sizes: Sequence[int],
        lambdas: Sequence[float],
        activations: Sequence[str] | None = None,
        y: Array | None = None,
        n_classes: int | None = None,
    ) -> None:
        if X.shape[0] != sizes[0] or B.shape != (sizes[-1], X.shape[1]):
            raise ValueError(f"X {X.shape} and B {B.shape} do not fit layers of {sizes} units")
        self.X, self.B, self.y, self.sizes, self.lambdas = X, B, y, tuple(sizes), lambdas
        self.n_classes = n_classes or (1 if y is None else int(np.max(y)) + 1)
        self.workspace = Workspace(sizes, X.shape[1], X.dtype, activations)

    def _codes(self, samples):
        """Codes, and classes if there are any, of a slice of the samples."""
        return self.B[:, samples], None if self.y is None else self.y[samples]

    def moments(self, Ws: Layers, cs: Layers) -> Moments:
        """Pass forward: the moments of all samples."""

        def of_block(samples, H):
            return moments(H, *self._codes(samples), self.n_classes)

        return total_moments(self.workspace.forward(Ws, cs, self.X, of_block))

    def gradient(self, Ws: Layers, slope: CodeSlope) -> tuple[Layers, Layers]:
        """Pass back: gradients (dWs, dcs), without weight decay, for a slope of `terms`."""
        return self.workspace.backward(Ws, self.X, lambda s, H: slope(H, *self._codes(s)))

    def __call__(self, theta: Array) -> tuple[float, Array]:
        lambda1 = self.lambdas[0]
        Ws, cs = unflatten(theta, self.sizes)
        J, slope = self.terms(self.moments(Ws, cs), self.lambdas)
        dWs, dcs = self.gradient(Ws, slope)
        decay, dWs_decay = losses.weight_decay(Ws)
        gradient = flatten([dW + lambda1 * d for dW, d in zip(dWs, dWs_decay)], dcs)
        return J + lambda1 * decay, gradient


class BlockwiseObjective(EncoderObjective):
    """The same for samples that are not in one array: both passes block by block, wherever it is.

    What belongs to a block is made when it is needed: the pass back repeats the pass forward.
    What passes between the blocks and the caller are `Moments`, a slope, and gradients.

    Parameters
    ----------
    X, B, sizes, lambdas, activations, y, n_classes
        As for `EncoderObjective`; at least one of X and B are `sources.Samples`.
    terms : callable
        Value and slope from the moments of all samples, such as `encoder_terms`.
    """

    def __init__(
        self,
        X: AnySamples,
        B: AnySamples,
        sizes: Sequence[int],
        lambdas: Sequence[float],
        activations: Sequence[str] | None = None,
        y: Any = None,
        n_classes: int = 1,
        terms: Callable = encoder_terms,
    ) -> None:
        self.samples = (X, B) if y is None else (X, B, y)
        self.sizes, self.lambdas, self.terms, self.dtype = tuple(sizes), lambdas, terms, X.dtype
        self.of_block = partial(_objective_of_block, sizes, lambdas, activations, n_classes)

    def moments(self, Ws: Layers, cs: Layers) -> Moments:
        of_block, self.network = self.of_block, (Ws, cs)
        return Moments(*total(lambda *block: of_block(block).moments(Ws, cs), *self.samples))

    def gradient(self, Ws: Layers, slope: CodeSlope) -> tuple[Layers, Layers]:
        of_block, network = self.of_block, self.network

        def part(*block):
            objective = of_block(block)
            objective.moments(*network)
            dWs, dcs = objective.gradient(Ws, slope)
            return [*dWs, *dcs]

        sums = [A.astype(self.dtype) for A in total(part, *self.samples)]
        return sums[: len(Ws)], sums[len(Ws) :]


def _objective_of_block(sizes, lambdas, activations, n_classes, block):
    """An `EncoderObjective` for a block of samples (X, B) or (X, B, y)."""
    y = block[2] if len(block) == 3 else None
    return EncoderObjective(*block[:2], sizes, lambdas, activations, y, n_classes)


def encoder_objective(
    X: Any,
    B: Any,
    sizes: Sequence[int],
    lambdas: Sequence[float],
    activations: Sequence[str] | None = None,
) -> EncoderObjective:
    """`EncoderObjective`, or for `sources.Samples` a `BlockwiseObjective`."""
    kind = BlockwiseObjective if isinstance(X, Samples) else EncoderObjective
    return kind(X, B, sizes, lambdas, activations)


def principal_axes(X: AnySamples, energy: float = 1.0) -> tuple[Array, Array]:
    """Axes along which the uncentred second moments of the samples are diagonal.

    Parameters
    ----------
    X : array (D, m)
    energy : float
        Keep the leading axes that hold this share of the mean square; 1 keeps all axes but
        those along which every sample is 0.

    Returns
    -------
    P : array (D, r)
        Orthonormal columns, the largest entry of each positive: Eq. (7) of notebook 08.
    e : array (r,)
        Mean square of the samples along each axis, largest first.
    """
    (moments,) = total(lambda X: (X @ X.T,), X)
    e, P = np.linalg.eigh(moments / X.shape[1])
    e, P = np.maximum(e[::-1], 0), P[:, ::-1]
    held = np.cumsum(e)
    r = min(1 + np.searchsorted(held, energy * held[-1]), max(1, np.sum(e > 1e-14 * e[0])))
    e, P = e[:r], P[:, :r]
    return P * np.sign(P[np.abs(P).argmax(axis=0), np.arange(r)]), e


WHITENED_RMS = 6.0  # rho of Eq. (8) of notebook 08
DAMPING = 4e-4  # epsilon of Eq. (8)


def variable_scales(e: Array, sizes: Sequence[int]) -> Array:
    """The scales sigma of the encoder's parameters: Eq. (8) of notebook 08.

    Parameters
    ----------
    e : array (r,)
        Mean square of the inputs of the first layer.
    sizes : sequence of int
        Units of the layers, r first.

    Returns
    -------
    array (p,)
        s_j for the weights of input j of the first layer, 1 for all others.
    """
    size = np.sqrt(e + DAMPING * e.sum())
    s = np.divide(WHITENED_RMS, size, out=np.ones_like(e), where=size > 0)
    Ws = [np.ones((h_out, h_in)) for h_in, h_out in zip(sizes, sizes[1:])]
    Ws[0] *= s
    return flatten(Ws, [np.ones((len(W), 1)) for W in Ws])


def in_scaled_variables(objective: Objective, scales: Array) -> Objective:
    """The same function of u = theta / scales: value, and gradient times scales."""

    def scaled(u):
        J, gradient = objective(scales * u)
        return J, scales * gradient

    return scaled


def joint_objective(
    theta: Array, encoder: EncoderObjective, X: AnySamples, B: AnySamples
) -> tuple[float, Array]:
    """The whole objective for given codes, as a function of all weights and biases: Eq. (1).

    Parameters
    ----------
    theta : array (p + D L + D,)
        Parameters of the encoder, then W row by row and c of the decoder.
    encoder : EncoderObjective
        For the same codes and the samples as the encoder sees them.
    X : array (D, m)
        The samples that the decoder is to reconstruct.
    B : array (L, m)
        Codes.

    Returns
    -------
    J : float
    gradient : array (p + D L + D,)
    """
    D, L, lambda1 = len(X), len(B), encoder.lambdas[0]
    theta, W, c = np.split(theta, [-D * (L + 1), -D])
    J, gradient = encoder(theta)
    W = W.reshape(D, L)
    reconstruction, (dW, dc) = total_reconstruction(X, B, W, c)
    decay, (dW_decay,) = losses.weight_decay([W])
    dW += lambda1 * dW_decay
    return J + reconstruction + lambda1 * decay, np.concatenate([gradient, dW.ravel(), dc])


def best_codes(
    X: Array,
    W: Array,
    c: Array,
    H: Array,
    lambda2: float,
    B: Array,
    starts: Sequence[str],
    cycles: int = 10,
) -> Array:
    """DCC from several starts, and for each sample the best of the results.

    Parameters
    ----------
    X, W, c, H, lambda2, cycles
        As for `dcc.coordinate_descent`.
    B : array (L, m)
        The codes so far.
    starts : sequence of "warm", "zero", "sign"
        Start from B, from 0, from sgn(H).

    Returns
    -------
    array (L, m)
        Codes. With "warm" among the starts no sample is worse off than with B.
    """
    origins = {"warm": B, "zero": np.zeros_like(B), "sign": sgn(H).astype(B.dtype)}
    codes = [coordinate_descent(X, W, c, H, lambda2, origins[s], cycles) for s in starts]
    G, Q = W.T @ W, W.T @ X - W.T @ c + lambda2 * H
    cost = [np.sum(B * (G @ B - 2 * Q), axis=0) for B in codes]  # Eq. (9), but for a constant
    return np.choose(np.argmin(cost, axis=0), codes)


class Validation:
    """Queries whose retrieval from the training samples decides when to stop.

    Parameters
    ----------
    Q : array (D, q)
        Queries.
    X : array (D, m)
        Training samples, which are searched.
    n_neighbors : int
        How many Euclidean neighbours count as relevant to a query.
    criterion : "precision" or "map"
        Precision within radius 2 (an empty ball counts 0), or mean average precision.
    """

    def __init__(self, Q: Array, X: AnySamples, n_neighbors: int, criterion: str) -> None:
        self.criterion = criterion
        self.numbers = alongside(X, np.arange(X.shape[1]))

        def nearest(X, numbers):
            search = NearestNeighbors(n_neighbors=min(n_neighbors, X.shape[1]), algorithm="brute")
            distances, found = search.fit(X.T).kneighbors(Q.T)
            return distances, numbers[found]

        def nearer(a, b):
            distances, found = map(np.hstack, zip(a, b))
            order = np.argsort(distances, axis=1, kind="stable")[:, :n_neighbors]
            return [np.take_along_axis(A, order, axis=1) for A in (distances, found)]

        self.neighbours = merged(nearer, nearest, X, self.numbers)[1]

    def score(self, H_queries: Array, H: AnySamples) -> float:
        """The measure for the codes sgn(H_queries) (L, q) and sgn(H) (L, m)."""
        codes = sgn(H_queries).T
        if self.criterion == "map":
            found = np.asarray(stored(sgn, H).T)
            return mean_average_precision(codes, found, self.neighbours)
        counts = partial(_ball_counts, codes, self.neighbours)
        size, hits = total(counts, H, self.numbers)
        return float(np.mean(hits / np.maximum(size, 1)))


def _ball_counts(codes, neighbours, H, numbers, radius=2):
    """For each query the samples of a block in its ball, and those of them that are relevant."""
    ball = hamming_distances(codes, sgn(H).T) <= radius
    query, place = np.nonzero((numbers[0] <= neighbours) & (neighbours <= numbers[-1]))
    hits = ball[query, neighbours[query, place] - numbers[0]]
    return ball.sum(axis=1), np.bincount(query, weights=hits, minlength=len(codes))


def code_terms(found: Moments, lambdas: Sequence[float]) -> dict[str, float]:
    """Equality, independence and balance, each times its weight, from `Moments`: a dict by name."""
    one = {"equality": (0, 1, 0, 0), "independence": (0, 0, 1, 0), "balance": (0, 0, 0, 1)}
    weights = {name: np.multiply(lambdas, mask) for name, mask in one.items()}
    return {name: encoder_terms(found, only)[0] for name, only in weights.items()}


def weighted_terms(
    X: AnySamples,
    B: AnySamples,
    H: AnySamples,
    Ws: Layers,
    W: Array,
    c: Array,
    lambdas: Sequence[float],
) -> dict[str, float]:
    """Every term of Eq. (1) times its weight, by name, and their sum `objective`.

    Parameters
    ----------
    X, B, H : arrays (D, m), (L, m), (L, m)
        Samples, codes, and outputs of the code layer.
    Ws : list of arrays
        Weights of the encoder.
    W, c : arrays (D, L), (D, 1)
        Decoder.
    lambdas : four floats

    Returns
    -------
    dict of str -> float
    """
    terms = {
        "reconstruction": total_reconstruction(X, B, W, c)[0],
        "weight_decay": lambdas[0] * losses.weight_decay([*Ws, W])[0],
        **code_terms(Moments(*total(moments, H, B)), lambdas),
    }
    return {"objective": sum(terms.values())} | terms


def _code_layer(Ws, cs, activations, X):
    """Outputs of the code layer (L, m)."""
    return forward(Ws, cs, X, activations)[-1]


def share_of_flips(B: AnySamples, old: AnySamples) -> float:
    """Share of the bits in which two sets of codes differ."""
    (flips,) = total(lambda B, old: (np.count_nonzero(B != old),), B, old)
    return float(flips / np.prod(B.shape))


class _Problem(NamedTuple):
    """What stays as it is while UH-BDNN trains."""

    X: np.ndarray  # (D, m), scaled training samples
    P: np.ndarray  # (D, r), principal axes
    A: np.ndarray  # (r, m), the samples along the axes: what the encoder sees
    Q: np.ndarray  # (r, q), the queries of the validation along the axes
    validation: Validation | None
    sizes: tuple  # units of the layers: r, ..., L
    lambdas: tuple  # the four weights of the terms
    activations: tuple  # of the layers
    scales: np.ndarray  # (p,), of the encoder's parameters


class UHBDNN(BaseHasher):
    """Unsupervised hashing with a binary deep neural network (Do et al., ECCV 2016).

    `fit` takes three options beyond the data. `start`, a UHBDNN that was fitted to the same samples
    with as many bits and units: training goes on from its encoder and its codes. `callback`, a
    function: it is called after every iteration of L-BFGS with the share of the most iterations
    that is done; what it raises ends the training. `checkpoint`, a path: the state is kept there
    after every alternation, and if the file is there, training goes on from it: `base.Checkpoint`.

    Parameters
    ----------
    n_bits : int
        Code length L.
    lambda1, lambda2, lambda3, lambda4 : float
        Weights of weight decay, equality, independence and balance: Eq. (1) of notebook 08.
    hidden : tuple of two int, optional
        Units of the hidden layers; None: the paper's sizes, `network.hidden_sizes`.
    max_alternations : int
        Updates of the codes at most; each is followed by a decoder and an encoder step.
    max_iter, history : int
        Iterations of L-BFGS in an encoder step, and the pairs that it remembers.
    cycles : int
        Passes of DCC over the bits in an update of the codes.
    dcc_start : "best", "warm" or "zero"
        DCC starts from the codes so far ("warm"), or from 0 as in the authors' program. "best":
        warm, and once the score has stopped rising also from 0 and from the signs of the code
        layer, where every sample keeps the best: `best_codes`.
    init : "itq" or "random"
        Codes to start from: `initial_codes`.
    n_init : int
        How many such codes are tried; those with the smallest reconstruction loss are taken.
    decoder : "ridge" or "joint"
        Decoder in closed form, or together with the encoder by L-BFGS, as in the paper.
    conditioning : "whiten" or "none"
        Variables of L-BFGS: those of Eq. (8) of notebook 08, or the plain ones as in the paper.
    energy : float
        The encoder sees the principal axes that hold this share of the mean square; 1: all.
    code_activation : "identity" or "tanh"
        Activation of the code layer.
    n_validation, n_neighbors : int
        Samples held out of the training (at most every eighth), whose retrieval decides when to
        stop, and their neighbours that count as relevant. With `n_validation=0` the objective
        decides.
    criterion : "precision" or "map"
        Measure of the validation: precision within radius 2, or mAP as in the authors' program.
    patience : int
        Stop after so many alternations without a better validation score.
    dtype : "float32" or "float64"
    random_state : int, Generator, RandomState or None
        The same seed, versions and data give the same codes.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Training codes B as learned; those of samples held out follow from the final network
        by the same step.
    history_ : list of dict
        For each `alternation`: `objective` and its weighted terms `reconstruction`,
        `weight_decay`, `equality`, `independence`, `balance`; `flips`, the share of bits that DCC
        changed; `score` of the validation; `n_iter` of L-BFGS; `seconds`.
    best_ : int
        The alternation whose state was kept.
    n_iter_ : int
        Iterations of L-BFGS in all.
    Ws_, cs_ : lists of arrays
        Encoder, from the input to the code layer.
    decoder_W_, decoder_c_ : arrays (D, L), (D, 1)
        Decoder, for scaled inputs.
    shift_, scale_ : array (D, 1), float
        Scaling of the input: the mean of the training samples, and the range of
        `itq.range_scaling`.
    """

    _takes_sources = True

    def __init__(
        self,
        n_bits: int = 16,
        *,
        lambda1: float = 1e-5,
        lambda2: float = 5e-2,
        lambda3: float = 1e-2,
        lambda4: float = 1e-6,
        hidden: Sequence[int] | None = None,
        max_alternations: int = 20,
        max_iter: int = 150,
        history: int = 100,
        cycles: int = 10,
        dcc_start: str = "best",
        init: str = "itq",
        n_init: int = 20,
        decoder: str = "ridge",
        conditioning: str = "whiten",
        energy: float = 0.97,
        code_activation: str = "identity",
        n_validation: int = 2000,
        n_neighbors: int = 50,
        criterion: str = "precision",
        patience: int = 3,
        dtype: DTypeLike = "float32",
        random_state: Seed = 0,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.lambda3 = lambda3
        self.lambda4 = lambda4
        self.hidden = hidden
        self.max_alternations = max_alternations
        self.max_iter = max_iter
        self.history = history
        self.cycles = cycles
        self.dcc_start = dcc_start
        self.init = init
        self.n_init = n_init
        self.decoder = decoder
        self.conditioning = conditioning
        self.energy = energy
        self.code_activation = code_activation
        self.n_validation = n_validation
        self.n_neighbors = n_neighbors
        self.criterion = criterion
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self):
        for name in ("lambda1", "lambda2", "lambda3", "lambda4"):
            check_number(name, getattr(self, name))
        for name in ("max_iter", "history", "cycles", "n_neighbors", "n_init"):
            check_whole_number(name, getattr(self, name), 1)
        check_whole_number("patience", self.patience, 1)
        for name in ("max_alternations", "n_validation"):
            check_whole_number(name, getattr(self, name), 0)
        check_hidden(self.hidden)
        check_number("energy", self.energy)
        if not 0 < self.energy <= 1:
            raise ValueError(f"energy must lie in (0, 1], got {self.energy!r}")
        check_option("dcc_start", self.dcc_start, ("best", "warm", "zero"))
        check_option("criterion", self.criterion, ("precision", "map"))
        check_option("init", self.init, ("itq", "random"))
        check_option("decoder", self.decoder, ("ridge", "joint"))
        check_option("conditioning", self.conditioning, ("whiten", "none"))
        check_option("code_activation", self.code_activation, ("identity", "tanh"))

    def _fit(self, X, y, start=None, callback=None, checkpoint=None):
        self._check_parameters()
        checkpoint = Checkpoint(checkpoint, self, X, start=start)
        rng = as_generator(self.random_state)
        scale = self.scale_ = range_scaling(X)[1]
        shift = self.shift_ = sample_mean(X).astype(X.dtype)
        X = blockwise(lambda X: (X - shift) / scale, X)
        m = X.shape[1]
        held_out = rng.permutation(m)[: min(self.n_validation, m // 8)]
        Q, T = take(X, held_out), drop(X, held_out)
        problem, theta = self._pose(T, Q, rng)
        if start is None:
            B = initial_codes(T, self.n_bits, rng, self.init, self.n_init)
        else:
            theta, B = self._go_on_from(start, problem, held_out, m)
        self.history_, self.n_iter_ = [], 0
        total = (self.max_alternations + 1) * self.max_iter
        with ProgressBar(total, callback, self.verbose) as bar:
            bar.set_description(f"UHBDNN, {self.n_bits} bits")
            try:
                self._alternate(problem, B, theta, bar, checkpoint)
            except KeyboardInterrupt:
                if not self.history_:
                    raise
                stopped = f"interrupted after {len(self.history_)} alternations"
                told = f"{stopped}: the best of them, {self.best_}, is kept"
                self._stopped_early(told, stacklevel=4)
        self._fill_codes(X, held_out)

    def _pose(self, X, Q, rng):
        """The problem for samples X and queries Q, and the paper's start of the encoder."""
        hidden = hidden_sizes(self.n_bits) if self.hidden is None else tuple(self.hidden)
        activations = ("sigmoid",) * len(hidden) + (self.code_activation,)
        P, e = principal_axes(X, self.energy)
        P = P.astype(X.dtype)
        A, sizes = blockwise(lambda X: P.T @ X, X), (len(e), *hidden, self.n_bits)
        theta = flatten(*initial_weights(A, sizes, rng, activations))
        scales = variable_scales(e, sizes) if self.conditioning == "whiten" else np.ones(len(theta))
        lambdas = (self.lambda1, self.lambda2, self.lambda3, self.lambda4)
        validation = Validation(Q, X, self.n_neighbors, self.criterion) if Q.size else None
        options = (sizes, lambdas, activations, scales.astype(X.dtype))
        return _Problem(X, P, A, P.T @ Q, validation, *options), theta

    def _go_on_from(self, start, problem, held_out, m):
        """Encoder and codes of an earlier solution for the same m samples."""
        theirs = (start.n_features_in_, *map(len, start.Ws_)), len(start.codes_)
        ours = (len(problem.P), *problem.sizes[1:]), m
        if theirs != ours:
            raise ValueError(
                f"start has units and samples {theirs}, this training {ours}: only an estimator "
                "that was fitted to the same samples, with as many bits and units, is a start"
            )
        theta = flatten([start.Ws_[0] @ problem.P, *start.Ws_[1:]], start.cs_)
        X, codes = problem.X, drop(np.asarray(start.codes_).T, held_out)
        B = alongside(X, codes) if isinstance(X, Samples) else codes.astype(X.dtype)
        return theta.astype(X.dtype), B

    def _alternate(self, problem, B, theta, bar, checkpoint):
        """New codes, then decoder and encoder, until the score no longer rises."""
        X, A, activations = problem.X, problem.A, problem.activations
        W, c = np.eye(len(X), self.n_bits, dtype=X.dtype), np.zeros((len(X), 1), X.dtype)
        begin, H, best_score, stalled = 0, None, -np.inf, False
        if saved := checkpoint.read(self):
            begin, B, theta, W, c, H, best_score, stalled = saved
            bar.update(self.n_iter_)
        for t in range(begin, self.max_alternations + 1):
            started, old = time.perf_counter(), B
            if t > 0:
                B = self._new_codes(X, W, c, H, B, stalled)
            theta, W, c, n_iter = self._network_step(problem, B, theta, W, c, bar)
            Ws, cs = unflatten(theta, problem.sizes)
            encode = partial(_code_layer, Ws, cs, activations)
            H = blockwise(encode, A)
            entry = {"alternation": t, **weighted_terms(X, B, H, Ws, W, c, problem.lambdas)}
            score = -entry["objective"]
            if problem.validation:
                score = problem.validation.score(encode(problem.Q), H)
            entry |= {"flips": share_of_flips(B, old), "score": score, "n_iter": n_iter}
            entry["seconds"] = time.perf_counter() - started
            learned = {"history_": [*self.history_, entry], "n_iter_": self.n_iter_ + n_iter}
            if score > best_score:
                best_score = score
                encoder = {"Ws_": [Ws[0] @ problem.P.T, *map(np.copy, Ws[1:])]}
                encoder |= {"cs_": [*map(np.copy, cs)], "codes_": stored(sgn, B)}
                learned |= encoder | {"decoder_W_": W, "decoder_c_": c, "best_": t}
            vars(self).update(learned)  # at once: an interruption finds all of it or nothing
            bar.set_postfix(objective=f"{entry['objective']:.4g}", score=f"{score:.4f}")
            stalled = self.best_ < t or stalled
            if t - self.best_ >= self.patience:
                break
            checkpoint.write(self, (t + 1, B, theta, W, c, H, best_score, stalled))

    def _new_codes(self, X, W, c, H, B, stalled):
        """Codes for a given decoder and given outputs of the encoder, sample by sample."""
        options = {"starts": self._starts(stalled), "cycles": self.cycles}
        lambda2 = self.lambda2
        return stored(lambda X, H, B: best_codes(X, W, c, H, lambda2, B, **options), X, H, B)

    def _starts(self, stalled):
        """Where DCC starts."""
        if self.dcc_start == "best":
            return ("warm", "zero", "sign") if stalled else ("warm",)
        return (self.dcc_start,)

    def _fill_codes(self, X, held_out):
        """Give the samples held out the codes that DCC finds for the final network."""
        if len(held_out):
            X = take(X, held_out)
            H = self._encode(X)
            decoder, start = (self.decoder_W_, self.decoder_c_), sgn(H).astype(X.dtype)
            B = self._new_codes(X, *decoder, H, start, stalled=True)
            self.codes_ = restore(self.codes_, held_out, sgn(B))
        self.codes_ = self.codes_.T

    def _network_step(self, problem, B, theta, W, c, bar):
        """Decoder and encoder for given codes, and the iterations of L-BFGS that it took."""
        X, A, scales = problem.X, problem.A, problem.scales
        encoder = encoder_objective(A, B, problem.sizes, problem.lambdas, problem.activations)

        def solve(objective, start, scales):
            found = minimize(
                in_scaled_variables(objective, scales),
                start / scales,
                max_iter=self.max_iter,
                history=self.history,
                callback=lambda _: bar.update(),
            )
            return scales * found.x, found.nit

        if self.decoder == "ridge":
            W, c = ridge_decoder(X, B, self.lambda1)
            theta, n_iter = solve(encoder, theta, scales)
            return theta, W, c, n_iter
        found, n_iter = solve(
            lambda x: joint_objective(x, encoder, X, B),
            np.concatenate([theta, W.ravel(), c.ravel()]),
            np.concatenate([scales, np.ones(W.size + c.size, X.dtype)]),
        )
        theta, W, c = np.split(found, [len(theta), len(theta) + W.size])
        return theta, W.reshape(len(X), -1), c[:, None], n_iter

    def _encode(self, X):
        """Outputs of the code layer for scaled samples."""
        activations = ("sigmoid",) * (len(self.Ws_) - 1) + (self.code_activation,)
        return _code_layer(self.Ws_, self.cs_, activations, X)

    def _project(self, X):
        return self._encode((X - self.shift_) / self.scale_)
