# Generated from notebooks/08_uh_bdnn.py by `course.py export 08`: edit the notebook.
"""UH-BDNN: unsupervised hashing with a binary deep neural network.

Source: Do, Doan and Cheung, "Learning to Hash with Binary Deep Neural Network", ECCV 2016. The
algorithm is `uh_bdnn`, the objective that it lowers is the sum of `terms`. The estimator takes
samples in rows; in the functions they stand in columns::

    X (D, m), B (L, m)  samples, and codes in {-1, +1}
    H (L, m)            outputs of the code layer, which is linear
    W (D, L), c (D, 1)  decoder
    theta (p,)          weights and biases of the encoder, from `network.flatten`
    sizes               units of its layers: D, ..., L
    lambdas             weights of weight decay, equality, independence and balance
    max_iter            iterations of L-BFGS in a round, at most
    memory              from `network.layer_memory`: writing the layers into it saves time
"""

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy import ndarray as Array
from numpy.typing import DTypeLike

from bdnn.dcc import coordinate_descent
from bdnn.hashing import NetworkHasher, Seed
from bdnn.itq import fixed_signs, itq_codes, range_scaling
from bdnn.lbfgs import minimize
from bdnn.losses import balance, equality, independence, reconstruction, weight_decay
from bdnn.metrics import sgn
from bdnn.network import (
    backward,
    flatten,
    forward,
    hidden_sizes,
    initial_weights,
    layer_memory,
    unflatten,
)

__all__ = [
    "DeepEncoder", "ENERGY", "ROUNDS", "SAMPLE", "State", "UHBDNN", "best_codes",
    "encoder_objective", "growing", "initial_codes", "principal_axes", "ridge_decoder", "stages",
    "terms", "uh_bdnn",
]  # fmt: skip


def ridge_decoder(X: Array, B: Array, lambda1: float) -> tuple[Array, Array]:
    """The best decoder W, c of given codes, in closed form: Eq. (3) of notebook 08.

    It minimises 1/(2m) ||X - W B - c 1^T||^2 + lambda1/2 ||W||^2. Where lambda1 = 0 and the bits
    are linearly dependent, many decoders do; the pseudoinverse takes that of least ||W||.
    """
    m = X.shape[1]
    x_mean, b_mean = (A.mean(axis=1, keepdims=True) for A in (X, B))  # (D, 1), (L, 1)
    C_xb = X @ B.T / m - x_mean @ b_mean.T  # (D, L)
    C_bb = B @ B.T / m - b_mean @ b_mean.T  # (L, L)
    W = C_xb @ np.linalg.pinv(C_bb + lambda1 * np.eye(len(B), dtype=X.dtype), hermitian=True)
    return W, x_mean - W @ b_mean


def encoder_objective(
    theta: Array,
    X: Array,
    B: Array,
    sizes: Sequence[int],
    lambdas: Sequence[float],
    memory: Sequence[list[Array] | None] = (None, None),
) -> tuple[float, Array]:
    """The terms of J that see the encoder, Eq. (4) of notebook 08; their gradient (p,), Eq. (5)."""
    lambda1, lambda2, lambda3, lambda4 = lambdas
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X, out=memory[0])
    H = Hs[-1]  # (L, m), outputs of the code layer
    J1, dWs_decay = weight_decay(Ws)
    J2, dH2 = equality(H, B)
    J3, dH3 = independence(H)
    J4, dH4 = balance(H)
    J = lambda1 * J1 + lambda2 * J2 + lambda3 * J3 + lambda4 * J4  # Eq. (4)
    dH = lambda2 * dH2 + lambda3 * dH3 + lambda4 * dH4  # Eq. (5)
    dWs, dcs = backward(Ws, Hs, dH, out=memory[1])
    return J, flatten([dW + lambda1 * d for dW, d in zip(dWs, dWs_decay)], dcs)


def best_codes(X: Array, W: Array, c: Array, H: Array, lambda2: float, B: Array) -> Array:
    """Codes (L, m) by DCC from three starts, for each sample the best of the three results.

    The arguments are those of `dcc.coordinate_descent`; B are the present codes, the first start.
    """
    found = [coordinate_descent(X, W, c, H, lambda2, start) for start in (B, sgn(H), 0 * B)]
    # (3, m): what each sample adds to Eq. (6), times 2m
    loss = [((X - W @ F - c) ** 2).sum(0) + lambda2 * ((H - F) ** 2).sum(0) for F in found]
    return np.choose(np.argmin(loss, axis=0), found)  # (L, m); of equal losses the first start


class State(NamedTuple):
    """What a round of UH-BDNN leaves behind."""

    theta: Array  # (p,), the encoder
    W: Array  # (D, L), the decoder's weights
    c: Array  # (D, 1), its biases
    H: Array  # (L, m), outputs of the code layer
    B: Array  # (L, m), the codes that W, c and theta are fitted to; step 3 comes after


def uh_bdnn(
    X: Array, B: Array, theta: Array, sizes: Sequence[int], lambdas: Sequence[float], max_iter: int
) -> Iterator[State]:
    """Alternate decoder, encoder and codes, Eq. (1) of notebook 08; yield the state of each round.

    It starts from the codes B and the encoder theta, and never ends.
    """
    fixed = {"X": X, "sizes": sizes, "lambdas": lambdas, "memory": layer_memory(X, sizes)}
    while True:
        W, c = ridge_decoder(X, B, lambdas[0])  # step 1, Eq. (3)
        J = partial(encoder_objective, B=B, **fixed)
        theta = minimize(J, theta, max_iter=max_iter, gtol=0, ftol=0).x  # step 2, Eqs. (4), (5)
        H = forward(*unflatten(theta, sizes), X)[-1]  # an array of its own: a state is kept
        yield State(theta, W, c, H, B)  # here a round ends
        B = best_codes(X, W, c, H, lambdas[1], B)  # step 3, Eq. (6)


def terms(
    X: Array, state: State, sizes: Sequence[int], lambdas: Sequence[float]
) -> dict[str, float]:
    """Every term of Eq. (1) of notebook 08 times its weight, by name; their sum is J."""
    lambda1, lambda2, lambda3, lambda4 = lambdas
    theta, W, c, H, B = state
    Ws, _ = unflatten(theta, sizes)
    return {
        "reconstruction": reconstruction(X, B, W, c)[0],
        "weight_decay": lambda1 * weight_decay([*Ws, W])[0],
        "equality": lambda2 * equality(H, B)[0],
        "independence": lambda3 * independence(H)[0],
        "balance": lambda4 * balance(H)[0],
    }


ENERGY = 0.95  # share of the mean square that the principal axes keep


def principal_axes(X: Array, energy: float = ENERGY) -> Array:
    """The fewest leading principal axes of centred samples that hold this share of mean square.

    Orthonormal columns (D, r), Eq. (7) of notebook 08; `energy` is in (0, 1].
    """
    e, P = np.linalg.eigh((X @ X.T).astype(np.float64))  # smallest e first
    e, P = e[::-1], P[:, ::-1]
    r = 1 + np.searchsorted(np.cumsum(e), (energy - 1e-12) * e.sum())  # 1e-12: for rounding
    return fixed_signs(P[:, :r]).astype(X.dtype)


def initial_codes(X: Array, L: int, rng: np.random.Generator, n_init: int = 20) -> Array:
    """The codes (L, m), of `n_init` runs of ITQ, from which X is reconstructed best."""
    tried = [itq_codes(X, L, rng) for _ in range(n_init)]  # each from a rotation of its own
    decoded = [reconstruction(X, B, *ridge_decoder(X, B, 1e-5))[0] for B in tried]
    return tried[int(np.argmin(decoded))]


# Of more than 2 SAMPLE samples the first ROUNDS rounds, but never the last one, see SAMPLE.
SAMPLE, ROUNDS = 20_000, 5


def stages(m: int, n_rounds: int) -> list[tuple[int, int]]:
    """The stages of a training on m samples: pairs (n, end). Until round `end` a stage sees n."""
    if m <= 2 * SAMPLE:
        return [(m, n_rounds)]
    return [(SAMPLE, min(ROUNDS, n_rounds - 1)), (m, n_rounds)]


def growing(
    X: Array,
    sizes: Sequence[int],
    lambdas: Sequence[float],
    max_iter: int,
    n_rounds: int,
    rng: np.random.Generator,
    t: int = 0,
    state: State | None = None,
) -> Iterator[State]:
    """`n_rounds` rounds of `uh_bdnn`; where samples are many, the first ones see a part of them.

    The samples must be in random order: a stage sees the first n of them. Without a `state` it
    starts from codes that are drawn with `rng`, else it goes on from `state` with round t.
    """
    for n, end in stages(X.shape[1], n_rounds):
        if t >= end:
            continue
        Xn = X[:, :n]
        if state is None:
            B, theta = initial_codes(Xn, sizes[-1], rng), flatten(*initial_weights(Xn, sizes, rng))
        else:
            theta, W, c, H, B = state
            if B.shape[1] < n:  # samples join: all n get the network's signs as present codes
                H = forward(*unflatten(theta, sizes), Xn)[-1]
                B = sgn(H)
            B = best_codes(Xn, W, c, H, lambdas[1], B)  # step 3, due since `state` was yielded
        for state in islice(uh_bdnn(Xn, B, theta, sizes, lambdas, max_iter), end - t):
            yield state
        t = end


class DeepEncoder(NetworkHasher):
    """What UH-BDNN and SH-BDNN share: an encoder trained on inputs scaled and turned to axes.

    A subclass has the parameters n_bits, hidden, lambda1 to lambda4, max_alternations and max_iter.
    Its `_scale(X, V)` returns the divisor of the inputs; V is X centred.
    """

    _energy = ENERGY  # for `principal_axes`

    @property
    def _lambdas(self):
        return self.lambda1, self.lambda2, self.lambda3, self.lambda4

    def _sizes(self, r):
        """Units of the layers, r inputs first."""
        hidden = hidden_sizes(self.n_bits) if self.hidden is None else self.hidden
        return (r, *hidden, self.n_bits)

    def _n_rounds(self):
        return self.max_alternations + 1

    def _stages(self, m):
        """What `stages` says of a training on m samples."""
        return stages(m, self._n_rounds())

    def _whole_from(self, m):
        """The first round that sees all of m samples: where the last stage begins."""
        *parts, _ = self._stages(m)
        return parts[-1][1] if parts else 0

    def _prepare(self, X):
        """Centre, scale, and turn to the principal axes: axes_ (x - shift_)."""
        self.shift_ = X.mean(axis=1, keepdims=True)
        V = X - self.shift_
        scale = X.dtype.type(self._scale(X, V))
        P = principal_axes(V, self._energy)  # (D, r), Eq. (7)
        self.axes_ = P.T / scale  # (r, D)
        return P.T @ V / scale

    def _outputs(self, theta, X):
        """Outputs of the code layer for inputs that are scaled and turned."""
        return forward(*unflatten(theta, self._sizes(len(X))), X)[-1]

    def _network(self, state):
        """The encoder for unscaled inputs: Eq. (8)."""
        Ws, cs = unflatten(state.theta, self._sizes(len(self.axes_)))
        W1, c1 = Ws[0] @ self.axes_, cs[0] - Ws[0] @ (self.axes_ @ self.shift_)
        return {"Ws_": [W1, *map(np.copy, Ws[1:])], "cs_": [c1, *map(np.copy, cs[1:])]}

    def _theta(self, start):
        """Undo Eq. (8): the encoder of a fitted estimator, for what this training sees."""
        W1, c1 = start.Ws_[0], start.cs_[0]  # x = shift_ + pinv(axes_) z on the axes
        Ws = [W1 @ np.linalg.pinv(self.axes_), *start.Ws_[1:]]
        cs = [c1 + W1 @ self.shift_, *start.cs_[1:]]
        return flatten(Ws, cs).astype(self.axes_.dtype)

    def _project(self, X):
        return forward(self.Ws_, self.cs_, X)[-1]


@dataclass(eq=False, repr=False)
class UHBDNN(DeepEncoder):
    """Unsupervised hashing with a binary deep neural network (Do et al., ECCV 2016).

    Parameters
    ----------
    n_bits : int
        Code length L.
    lambda1, lambda2, lambda3, lambda4 : float
        Weights of weight decay, equality, independence and balance: Eq. (1) of notebook 08.
    hidden : tuple of int, optional
        Units of the hidden layers; None: the paper's sizes, `network.hidden_sizes`.
    max_alternations, max_iter : int
        At most so many updates of the codes, and iterations of L-BFGS in an encoder step: 100 do
        for MNIST; where `fit` warns that the network does not follow its codes, try 300. Of more
        than 40,000 samples the first five rounds see a random 20,000.
    n_validation, n_neighbors : int
        Samples held out of the training, at most one in eight. Their retrieval (precision within
        radius 2, so many neighbours relevant) decides which state is kept. With `n_validation=0`
        the objective decides.
    patience : int
        Stop after so many rounds without a better score, once they see all samples.
    dtype : "float32" or "float64"
    random_state : int, Generator, RandomState or None
        The same seed, versions, data and machine give the same codes.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Training codes B; those of samples held out are the signs of the network's outputs.
    history_ : list of dict
        For each `round`: `samples` seen, `objective` and its weighted `terms`, `score` of the
        validation, `flips`, the share of bits of B that changed since the last round, `seconds`.
    best_ : int
        The round that was kept, of those that saw all samples.
    Ws_, cs_ : lists of arrays
        Encoder, from unscaled inputs to the code layer.
    decoder_W_, decoder_c_ : arrays (n_features, n_bits), (n_features, 1)
        Decoder, from codes to unscaled inputs.
    shift_, axes_ : arrays (n_features, 1), (r, n_features)
        Training sees axes_ (x - shift_): centred, divided by the largest range, along the
        principal axes.
    """

    n_bits: int = 16
    _: KW_ONLY
    lambda1: float = 1e-5
    lambda2: float = 5e-2
    lambda3: float = 1e-2
    lambda4: float = 1e-6
    hidden: Sequence[int] | None = None
    max_alternations: int = 7
    max_iter: int = 100
    n_validation: int = 2000
    n_neighbors: int = 50
    patience: int = 3
    dtype: DTypeLike = "float32"
    random_state: Seed = 0
    verbose: bool = False

    def _scale(self, X, V):
        """The largest range of a feature."""
        return range_scaling(X)[1]

    def _states(self, X, y, rng, t, state):
        """The training: what `NetworkHasher` consumes."""
        options = self._sizes(len(X)), self._lambdas, self.max_iter, self._n_rounds()
        return growing(X, *options, rng, t, state)

    def _begin(self, start, X, train):
        """Where training goes on from another estimator: on all samples, with its codes."""
        theta, B = self._theta(start), np.asarray(start.codes_)[train].T.astype(X.dtype)
        W, c = ridge_decoder(X, B, self.lambda1)
        return self._whole_from(X.shape[1]), State(theta, W, c, self._outputs(theta, X), B)

    def _terms(self, X, y, state):
        return terms(X, state, self._sizes(len(X)), self._lambdas)

    def _network(self, state):
        """Encoder and decoder for unscaled inputs."""
        back = np.linalg.pinv(self.axes_)  # (D, r)
        decoder = {"decoder_W_": back @ state.W, "decoder_c_": back @ state.c + self.shift_}
        return super()._network(state) | decoder
