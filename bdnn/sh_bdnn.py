# Generated from notebooks/09_sh_bdnn.py by `course.py export 09`: edit the notebook.
"""SH-BDNN: supervised hashing with a binary deep neural network.

Source: Do, Doan and Cheung, "Learning to Hash with Binary Deep Neural Network", ECCV 2016. The
algorithm is `sh_bdnn`, the objective that it minimises is the sum of `supervised_terms`. Arguments
are as in `bdnn.uh_bdnn`, samples in columns; and labels y as `losses.pairwise_similarity` takes
them: (m,), a 0/1 matrix (m, n_labels), or `losses.Groups`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike, DTypeLike
from sklearn.utils._param_validation import StrOptions

from bdnn.hashing import Seed
from bdnn.itq import itq_codes, procrustes_rotation, random_rotation
from bdnn.lbfgs import minimize
from bdnn.losses import (
    Groups,
    balance,
    equality,
    independence,
    label_groups,
    pairwise_similarity,
    squared_norm,
    weight_decay,
)
from bdnn.metrics import sgn
from bdnn.network import backward, flatten, forward, initial_weights, layer_memory, unflatten
from bdnn.uh_bdnn import SAMPLE, DeepEncoder, encoder_objective

__all__ = [
    "PARTS", "SAMPLE_LENGTH", "SHBDNN", "State", "WHOLE", "class_codes", "class_vectors",
    "codes_near", "sh_bdnn", "supervised_objective", "supervised_terms", "turn_to_codes",
]  # fmt: skip

SAMPLE_LENGTH = 10.0  # root mean square length of a scaled sample


def supervised_objective(
    theta: Array,
    X: Array,
    B: Array,
    y: Array | Groups,
    sizes: Sequence[int],
    lambdas: Sequence[float],
    memory: Sequence[list[Array] | None] = (None, None),
) -> tuple[float, Array]:
    """J for given codes, and its gradient (p,): Eqs. (1), (2) of notebook 09."""
    lambda1, *lambdas = lambdas
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X, out=memory[0])
    H, weights = Hs[-1], (1, *lambdas)  # (L, m)
    code_terms = pairwise_similarity(H, y), equality(H, B), independence(H), balance(H)
    decay, dWs_decay = weight_decay(Ws)
    J = lambda1 * decay + sum(w * J for w, (J, _) in zip(weights, code_terms))  # Eq. (1)
    dH = sum(w * dH for w, (_, dH) in zip(weights, code_terms))  # the first is Eq. (2)
    dWs, dcs = backward(Ws, Hs, dH, out=memory[1])
    return J, flatten([dW + lambda1 * d for dW, d in zip(dWs, dWs_decay)], dcs)


def class_vectors(counts: ArrayLike, L: int, T: Array | None = None) -> tuple[Array, float]:
    """One output of the code layer for each class, with the similarity at its floor.

    `counts` (C,) are the samples of each class; a class without any has the vector 0. T (C, C) is
    from `losses.label_groups`, where the classes are sets of labels; None: the identity. Returns
    the outputs (L, C), Eq. (4) of notebook 09, and the similarity 1/(2m) ||H^T H / L - S||^2 that
    they have, Eq. (5); no outputs have less.
    """
    n = np.asarray(counts, dtype=np.float64)
    T = np.eye(len(n)) if T is None else T
    root, m = np.sqrt(n), n.sum()
    M = 2 * T * np.sqrt(np.outer(n, n)) - np.outer(root, root)  # Eq. (3), (C, C)
    mu, U = np.linalg.eigh(M)
    mu, U = np.maximum(mu[::-1], 0)[:L], U[:, ::-1][:, :L]
    A = np.zeros((L, len(n)))
    np.divide(np.sqrt(L * mu)[:, None] * U.T, root, out=A[: len(mu)], where=root > 0)
    return A, (m**2 - np.sum(mu**2)) / (2 * m)


def turn_to_codes(H: Array, n_iter: int = 20) -> Array:
    """The rotation R (L, L) that brings outputs H (L, m) close to codes: Eq. (6) of notebook 09.

    Orthogonal; ||R H - sgn(R H)|| is at most ||H - sgn(H)||.
    """
    R = np.eye(len(H))
    for _ in range(n_iter):
        R = procrustes_rotation(sgn(R.astype(H.dtype) @ H), H)
    return R.astype(H.dtype)


class State(NamedTuple):
    """What a round of SH-BDNN leaves behind."""

    theta: Array  # (p,), the network
    H: Array  # (L, m), outputs of the code layer
    B: Array  # (L, m), their signs


def sh_bdnn(
    X: Array,
    y: Array | Groups,
    B: Array,
    theta: Array,
    sizes: Sequence[int],
    lambdas: Sequence[float],
    max_iter: int,
) -> Iterator[State]:
    """Alternate network and codes, Eq. (1) of notebook 09; yield the state of every round.

    It starts from the codes B and the network theta, which is not modified, and never ends.
    """
    fixed = {"X": X, "y": label_groups(y), "sizes": sizes, "lambdas": lambdas}
    fixed["memory"] = layer_memory(X, sizes)
    while True:
        J = partial(supervised_objective, B=B, **fixed)
        theta = minimize(J, theta, max_iter=max_iter).x  # step 1, Eqs. (1), (2)
        Ws, cs = unflatten(theta, sizes)
        R = turn_to_codes(forward(Ws, cs, X)[-1])  # Eq. (6)
        Ws[-1][:], cs[-1][:] = R @ Ws[-1], R @ cs[-1]  # views: this rotates theta
        H = forward(Ws, cs, X)[-1]
        B = sgn(H)  # step 2
        yield State(theta, H, B)


def supervised_terms(
    y: Array | Groups, state: State, sizes: Sequence[int], lambdas: Sequence[float]
) -> dict[str, float]:
    """Every term of Eq. (1) of notebook 09 times its weight, by name."""
    lambda1, lambda2, lambda3, lambda4 = lambdas
    theta, H, B = state
    return {
        "similarity": pairwise_similarity(H, y)[0],
        "weight_decay": lambda1 * weight_decay(unflatten(theta, sizes)[0])[0],
        "equality": lambda2 * equality(H, B)[0],
        "independence": lambda3 * independence(H)[0],
        "balance": lambda4 * balance(H)[0],
    }


def codes_near(A: Array, rng: np.random.Generator) -> Array:
    """Codes (L, C) near the class vectors A (L, C): ITQ from a random rotation, at most 50 steps.

    With few columns no code changes any more after a few steps, and neither does the rotation.
    """
    B = sgn(random_rotation(len(A), rng) @ A)
    for _ in range(50):
        B, before = sgn(procrustes_rotation(B, A) @ A), B
        if np.array_equal(B, before):
            break
    return B


def class_codes(
    counts: Array, L: int, rng: np.random.Generator, n_init: int = 200, T: Array | None = None
) -> Array:
    """One code for each class, (L, C): classes three bits apart and more, of low similarity loss.

    They are the best of `n_init` times `codes_near` the class vectors. T as for `class_vectors`.
    """
    A, _ = class_vectors(counts, L, T)
    S = 2 * (np.eye(len(counts)) if T is None else T) - 1  # of the classes, (C, C)
    tried = [codes_near(A, rng) for _ in range(n_init)]

    def faults(B):
        inner = B.T @ B  # (C, C)
        nearest = np.min((L - inner) / 2, where=S < 0, initial=3)  # bits apart; 3 are enough
        # the similarity of all pairs of samples, times 2m: those of a class have the same code
        return -nearest, counts @ (inner / L - S) ** 2 @ counts

    return min(tried, key=faults)


# Of more than 2 SAMPLE samples the rounds before the last WHOLE see SAMPLE, one of PARTS parts.
PARTS, WHOLE = 3, 3


@dataclass(eq=False, repr=False)
class SHBDNN(DeepEncoder):
    """Supervised hashing with a binary deep neural network (Do et al., ECCV 2016).

    A sample may have several labels, as a row of a 0/1 matrix; samples are similar if they share
    one. Memory grows with the square, and the start with the cube, of the number of different rows.

    Parameters
    ----------
    lambda1, lambda2, lambda3, lambda4 : float
        Weights of weight decay, equality, independence and balance: Eq. (1) of notebook 09. The
        similarity has weight 1 and grows with the number of samples.
    init : "classes" or "itq"
        Codes to start from. "classes": `class_codes`, to which the encoder is fitted by least
        squares first. "itq": those of ITQ, as in the paper.
    max_alternations, max_iter : int
        Rounds at most after the first; in each an encoder step of so many iterations of L-BFGS is
        followed by an update of the codes. The first see a random part of many samples.
    n_bits, hidden, n_validation, patience, dtype, random_state, verbose
        As for :class:`bdnn.uh_bdnn.UHBDNN`.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Signs of the network's outputs for the training samples.
    floor_ : float
        The similarity of all samples trained on cannot go below it: `class_vectors`.
    classes_ : array (n_classes,)
        The labels, sorted; of a 0/1 matrix the columns in use.
    shift_, axes_ : arrays (n_features, 1), (r, n_features)
        Training sees axes_ (x - shift_): centred, scaled to a root mean square length of
        `SAMPLE_LENGTH`, along the principal axes.
    history_, best_, Ws_, cs_
        As for :class:`bdnn.uh_bdnn.UHBDNN`; the terms are `supervised_terms`.
    """

    _energy = 0.9  # for `principal_axes`
    _requires_labels = _several_labels = True
    _parameter_constraints = {"init": [StrOptions({"classes", "itq"})]}

    n_bits: int = 16
    _: KW_ONLY
    lambda1: float = 1e-3
    lambda2: float = 5.0
    lambda3: float = 1.0
    lambda4: float = 1e-4
    hidden: Sequence[int] | None = None
    init: str = "classes"
    max_alternations: int = 8
    max_iter: int = 100
    n_validation: int = 2000
    patience: int = 3
    dtype: DTypeLike = "float32"
    random_state: Seed = 0
    verbose: bool = False

    def _scale(self, X, V):
        """Root mean square length of the centred samples, over `SAMPLE_LENGTH`; 1 if it is 0."""
        return np.sqrt(squared_norm(V) / V.shape[1]) / SAMPLE_LENGTH or 1.0

    def _states(self, X, y, rng, t, state):
        sizes, lambdas = self._sizes(len(X)), self._lambdas
        classes, T = label_groups(y)
        self.floor_ = class_vectors(np.bincount(classes), self.n_bits, T)[1]
        m, theta = X.shape[1], None if state is None else state[0]
        while t < self._n_rounds():
            part = self._part(t, m)
            Xt, yt = X[:, part], y[part]
            if theta is None:
                B, theta = self._start(Xt, yt, sizes, rng)
            else:
                B = sgn(self._outputs(theta, Xt))
            state = next(sh_bdnn(Xt, yt, B, theta, sizes, lambdas, self.max_iter))
            theta = state.theta
            if len(yt) < m:  # a part: the loop judges all states of its size by the same samples
                H = self._outputs(theta, X[:, : len(yt)])
                state = State(theta, H, sgn(H))
            yield state
            t += 1

    def _stages(self, m):
        if m <= 2 * SAMPLE:
            return super()._stages(m)
        n_rounds = self._n_rounds()
        first = max(n_rounds - WHOLE, min(1, n_rounds - 1))
        return [(min(PARTS * SAMPLE, m), first), (m, n_rounds)]

    def _part(self, t, m):
        """Numbers of the samples, of m in random order, that round t sees."""
        n, first = self._stages(m)[0]
        if m <= 2 * SAMPLE or t >= first:
            return slice(m)
        return (t * SAMPLE + np.arange(SAMPLE)) % n

    def _start(self, X, y, sizes, rng):
        """Codes to start from, and the network, fitted to them if they are those of the classes."""
        theta, m = flatten(*initial_weights(X, sizes, rng)), X.shape[1]
        if self.init == "itq":
            return itq_codes(X, self.n_bits, rng), theta
        y, T = label_groups(y)
        B = class_codes(np.bincount(y), self.n_bits, rng, T=T)[:, y].astype(X.dtype)
        J = partial(encoder_objective, X=X, B=B, sizes=sizes, lambdas=(self.lambda1, m, 0, 0))
        return B, minimize(J, theta, max_iter=self.max_iter).x

    def _begin(self, start, X, train):
        theta = self._theta(start)
        H = self._outputs(theta, X)
        return self._whole_from(X.shape[1]), State(theta, H, sgn(H))

    def _terms(self, X, y, state):
        return supervised_terms(y, state, self._sizes(len(X)), self._lambdas)
