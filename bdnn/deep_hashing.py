# Generated from notebooks/10_deep_hashing.py by `course.py export 10`: edit the notebook.
"""Deep Hashing and its supervised variant: every term, the objective, the estimators.

Source: Liong, Lu, Wang, Moulin and Zhou, "Deep Hashing for Compact Binary Codes Learning", CVPR
2015, as on the slide "Background: Deep Hashing". The objective is the sum of `dh_terms`. The
estimators take samples in rows; in the functions they stand in columns::

    X (D, m)   samples, centred
    H (L, m)   outputs of the code layer
    Ws, cs     weights (h_out, h_in) and biases (h_out, 1) of all layers
    theta (p,) both, from `network.flatten`
    sizes      units of the layers: D, ..., L
    y (m,)     class labels of any type that sorts

A term is a pair: its value without its weight, and the gradient in the shape of what it takes.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import islice
from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike, DTypeLike
from sklearn.utils._param_validation import Interval, StrOptions

from bdnn.hashing import NetworkHasher, Seed, at_least
from bdnn.itq import itq_rotation, principal_directions
from bdnn.lbfgs import minimize
from bdnn.losses import squared_norm, weight_decay
from bdnn.metrics import sgn
from bdnn.network import backward, flatten, forward, layer_memory, unflatten

__all__ = [
    "DeepHashing", "HIDDEN", "LBFGS_STEPS", "State", "SupervisedDeepHashing", "descend",
    "dh_objective", "dh_terms", "initial_network", "lbfgs_rounds", "narrowing_sizes",
    "orthogonality", "quantisation", "scatter", "variance",
]  # fmt: skip


def quantisation(H: Array) -> tuple[float, Array]:
    """1/2 ||sgn(H) - H||^2, a sum over the samples, not a mean: Eqs. (3), (4) of notebook 10.

    The gradient takes sgn(H) as constant: right wherever no output is 0. Where one is, the slope
    jumps from +1 to -1, and this is the one-sided slope towards larger outputs.
    """
    dH = H - sgn(H)
    return squared_norm(dH) / 2, dH


def variance(H: Array) -> tuple[float, Array]:
    """1/(2m) tr(H H^T), which Deep Hashing makes large: Eq. (5) of notebook 10."""
    m = H.shape[1]
    return squared_norm(H) / (2 * m), H / m


def orthogonality(Ws: list[Array]) -> tuple[float, list[Array]]:
    """1/2 sum_l ||W_l W_l^T - I||^2: Eqs. (6), (7) of notebook 10.

    It is 0 where all rows are orthonormal, and cannot be where a layer widens (h_out > h_in).
    """
    Gs = [W @ W.T - np.eye(len(W), dtype=W.dtype) for W in Ws]
    return sum(map(squared_norm, Gs)) / 2, [2 * G @ W for G, W in zip(Gs, Ws)]


def scatter(H: Array, y: ArrayLike) -> tuple[float, Array]:
    """tr(Sigma_B - Sigma_W): Eqs. (11), (12) of notebook 10.

    Mean squared distance of all pairs of samples of different classes, less that of all pairs of
    one class. Computed from sums over the classes: time and memory O(m L), exact. A ValueError if
    there is only one class, or no class with two samples.
    """
    m, y = H.shape[1], np.unique(y, return_inverse=True)[1]
    n = np.bincount(y).astype(np.float64)  # (C,), samples of each class
    V = np.stack([np.bincount(y, weights=row) for row in H])  # (L, C), their sums
    q = np.bincount(y, weights=np.square(H).sum(axis=0))  # (C,), their squared lengths
    s = V.sum(axis=1, keepdims=True)  # (L, 1)
    N_S, N_D = np.sum(n * n) - m, m * m - np.sum(n * n)  # ordered pairs of one class, of two
    if N_S == 0 or N_D == 0:
        what = "one class only" if N_D == 0 else "no class with two samples"
        raise ValueError(f"scatter needs at least 2 classes, and 2 samples in one; got {what}")
    T = 2 * m * q.sum() - 2 * squared_norm(s)  # over all pairs
    T_S = 2 * np.sum(n * q) - 2 * squared_norm(V)  # over those of one class
    w = 1 / N_D + 1 / N_S
    a = 4 * m / N_D - 4 * n * w  # (C,)
    b = 4 * V * w - 4 * s / N_D  # (L, C)
    return float(T / N_D - T_S * w), (a[y] * H + b[:, y]).astype(H.dtype)


def dh_terms(
    H: Array,
    Ws: list[Array],
    cs: list[Array],
    alphas: Sequence[float],
    y: Array | None = None,
    alpha: float = 1.0,
    reduction: str = "sum",
) -> tuple[dict[str, float], Array, list[Array], list[Array]]:
    """Every term of Eq. (2) of notebook 10 with its weight and sign, by name; their gradients.

    `alphas` are the weights of variance, orthogonality and weight decay; with labels the scatter
    counts alpha1 alpha / 2. By `reduction` the quantisation is a "sum" over the samples, as
    printed, or a "mean". The gradients are dH, of the terms of the codes, and dWs, dcs of the rest.
    """
    alpha1, alpha2, alpha3 = alphas
    of_codes = {  # name -> weight, (value, gradient with respect to H)
        "quantisation": (1 / H.shape[1] if reduction == "mean" else 1.0, quantisation(H)),
        "variance": (-alpha1, variance(H)),
    }
    if y is not None:
        of_codes["scatter"] = -alpha1 * alpha / 2, scatter(H, y)
    angle, dWs_angle = orthogonality(Ws)
    decay, _ = weight_decay([*Ws, *cs])  # Eq. (8): the variables are their own gradients
    terms = {name: weight * value for name, (weight, (value, _)) in of_codes.items()}
    terms |= {"orthogonality": alpha2 * angle, "weight_decay": alpha3 * decay}
    dH = sum(weight * gradient for weight, (_, gradient) in of_codes.values())  # of Eq. (13)
    dWs = [alpha2 * a + alpha3 * W for a, W in zip(dWs_angle, Ws)]
    return terms, dH, dWs, [alpha3 * c for c in cs]


def dh_objective(
    theta: Array,
    X: Array,
    sizes: Sequence[int],
    memory: Sequence[list[Array] | None] = (None, None),
    **options,
) -> tuple[float, Array]:
    """J and its gradient (p,): Eqs. (2), (13) of notebook 10.

    `memory` is from `network.layer_memory`; the options are those of :func:`dh_terms`.
    """
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X, "tanh", "tanh", out=memory[0])  # Eq. (1)
    terms, dH, dWs_own, dcs_own = dh_terms(Hs[-1], Ws, cs, **options)  # Eq. (2)
    dWs, dcs = backward(Ws, Hs, dH, "tanh", "tanh", out=memory[1])  # Eq. (13)
    dWs = [dW + own for dW, own in zip(dWs, dWs_own)]
    dcs = [dc + own for dc, own in zip(dcs, dcs_own)]
    return sum(terms.values()), flatten(dWs, dcs)


HIDDEN = {16: (60, 30), 32: (80, 50), 64: (100, 80)}


def narrowing_sizes(n_bits: int) -> tuple[int, int]:
    """Units of the hidden layers: `HIDDEN`, and (L + 44, L + 16) for other code lengths L."""
    return HIDDEN.get(n_bits, (n_bits + 44, n_bits + 16))


def initial_network(
    X: Array, sizes: Sequence[int], rng: np.random.Generator, init: str = "pca"
) -> tuple[list[Array], list[Array]]:
    """Ws, cs to start from: PCA directions, then rectangular identities; biases 0.

    With init="itq" the leading directions are turned so that the first codes are those of ITQ,
    whose own start `rng` draws.
    """
    P = principal_directions(X, sizes[1])[1].T  # (h, D)
    k = min(sizes[1:])
    if init == "itq":
        P[:k] = itq_rotation(P[:k] @ X, 50, rng)[0] @ P[:k]
    Ws = [P.astype(X.dtype)]
    Ws += [np.eye(b, a, dtype=X.dtype) for a, b in zip(sizes[1:], sizes[2:])]
    return Ws, [np.zeros((len(W), 1), X.dtype) for W in Ws]


def descend(
    fun: Callable[[Array], tuple[float, Array]], theta: Array, rate: float, tol: float
) -> Iterator[Array]:
    """Full-batch gradient descent with a fixed step, Eq. (14) of notebook 10; yield every theta.

    `fun` gives value and gradient. It stops when a step changes the value by no more than `tol`.
    """
    rate = theta.dtype.type(rate)
    value, gradient = fun(theta)
    while np.isfinite(value):
        yield theta
        theta = theta - rate * gradient  # Eq. (14)
        with np.errstate(over="ignore", invalid="ignore"):
            before, (value, gradient) = value, fun(theta)
        if abs(value - before) <= tol:
            yield theta
            return
    warnings.warn("the objective overflows: use a smaller learning_rate", stacklevel=2)


class State(NamedTuple):
    """What a step of Deep Hashing leaves behind."""

    theta: Array  # (p,), the network
    H: Array  # (L, m), outputs of the code layer
    B: Array  # (L, m), their signs


LBFGS_STEPS = 10


def lbfgs_rounds(fun: Callable[[Array], tuple[float, Array]], theta: Array) -> Iterator[Array]:
    """L-BFGS in the place of gradient descent; yield theta at the start and after every round."""
    while True:
        yield theta
        theta = minimize(fun, theta, max_iter=LBFGS_STEPS, gtol=0).x


@dataclass(eq=False, repr=False)
class DeepHashing(NetworkHasher):
    """Deep Hashing (Liong et al., CVPR 2015), unsupervised.

    The defaults are our reading of what the paper prints: its start, step and number of steps are
    not in the sources that we could read. The other values of `reduction`, `init` and `optimizer`
    are variants, which notebook 10 compares with it.

    Parameters
    ----------
    n_bits : int
        Code length L.
    alpha1, alpha2, alpha3 : float
        Weights of variance, orthogonality and weight decay: Eq. (2) of notebook 10.
    hidden : tuple of int, optional
        Units of the hidden layers; None: `narrowing_sizes`.
    reduction : "sum" or "mean"
        The quantisation is summed over the samples, or averaged. With the printed "sum", labels
        lose their weight as the number of samples grows.
    init : "pca" or "itq"
        The first codes are the signs of principal components, or those of ITQ: `initial_network`.
    input_scale : float
        The centred input is scaled so that its leading principal components, as many as bits,
        have this root mean square.
    optimizer : "gd" or "lbfgs"
        Gradient descent, or L-BFGS in rounds of `LBFGS_STEPS` iterations.
    learning_rate : float
        Step of the gradient descent, for the objective divided by N: Eq. (14) of notebook 10.
    max_iter : int
        Steps of the optimiser.
    tol : float
        Stop when a step of gradient descent changes the objective by less than tol N.
    dtype, random_state, verbose
        As for :class:`bdnn.uh_bdnn.UHBDNN`.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Signs of the network's outputs for the training samples.
    history_, best_, Ws_, cs_
        As for :class:`bdnn.uh_bdnn.UHBDNN`; the terms are `dh_terms`, a round is a step of gradient
        descent, and the lowest objective is best.
    mean_, scale_ : array (D, 1), float
        Training sees scale_ (x - mean_).
    """

    _parameter_constraints = {
        **{name: at_least(0) for name in ("alpha1", "alpha2", "alpha3", "tol")},
        **{
            name: [Interval(Real, 0, np.inf, closed="neither")]
            for name in ("input_scale", "learning_rate")
        },
        "reduction": [StrOptions({"sum", "mean"})],
        "init": [StrOptions({"pca", "itq"})],
        "optimizer": [StrOptions({"gd", "lbfgs"})],
    }

    n_bits: int = 16
    _: KW_ONLY
    alpha1: float = 100
    alpha2: float = 0.001
    alpha3: float = 0.001
    hidden: Sequence[int] | None = None
    reduction: str = "sum"
    init: str = "pca"
    input_scale: float = 1.5
    optimizer: str = "gd"
    learning_rate: float = 0.3
    max_iter: int = 100
    tol: float = 1e-6
    dtype: DTypeLike = "float32"
    random_state: Seed = 0
    verbose: bool = False

    def _sizes(self, D):
        """Units of the layers, D inputs first."""
        hidden = narrowing_sizes(self.n_bits) if self.hidden is None else self.hidden
        return (D, *hidden, self.n_bits)

    def _n_rounds(self):
        steps = 1 if self.optimizer == "gd" else LBFGS_STEPS  # in a round
        return 1 + -(-self.max_iter // steps)

    def _prepare(self, X):
        mean, P = principal_directions(X, self.n_bits)
        self.mean_ = mean.astype(X.dtype)
        V = X - self.mean_
        rms = np.sqrt(squared_norm(P.T.astype(X.dtype) @ V) / (P.shape[1] * V.shape[1]))
        self.scale_ = float(self.input_scale / rms) if rms > 0 else 1.0
        return V * X.dtype.type(self.scale_)

    def _options(self, y):
        """What :func:`dh_terms` takes beyond the network."""
        return {"alphas": (self.alpha1, self.alpha2, self.alpha3), "reduction": self.reduction}

    def _states(self, X, y, rng, t, state):
        sizes = self._sizes(len(X))
        options = {"memory": layer_memory(X, sizes), **self._options(y)}
        N = self.alpha1 + (X.shape[1] if self.reduction == "sum" else 1)  # of Eq. (14)

        def fun(theta):
            J, gradient = dh_objective(theta, X, sizes, **options)
            return J / N, gradient / theta.dtype.type(N)

        if state is None:
            known, theta = 0, flatten(*initial_network(X, sizes, rng, self.init))
        else:
            known, (theta, *_) = 1, state  # the optimisers yield what they start from
        if self.optimizer == "gd":
            thetas = descend(fun, theta, self.learning_rate, self.tol)
        else:
            thetas = lbfgs_rounds(fun, theta)
        for theta in islice(thetas, known, known + self._n_rounds() - t):
            H = self._outputs(theta, X)
            yield State(theta, H, sgn(H))

    def _outputs(self, theta, X):
        return forward(*unflatten(theta, self._sizes(len(X))), X, "tanh", "tanh")[-1]

    def _terms(self, X, y, state):
        Ws, cs = unflatten(state.theta, self._sizes(len(X)))
        return dh_terms(state.H, Ws, cs, **self._options(y))[0]

    def _network(self, state):
        Ws, cs = unflatten(state.theta, self._sizes(len(self.mean_)))
        W = Ws[0] * state.theta.dtype.type(self.scale_)
        return {
            "Ws_": [W, *map(np.copy, Ws[1:])],
            "cs_": [cs[0] - W @ self.mean_, *map(np.copy, cs[1:])],
        }

    def _begin(self, start, X, train):
        W = start.Ws_[0]
        Ws = [W / self.scale_, *start.Ws_[1:]]
        cs = [start.cs_[0] + W @ self.mean_, *start.cs_[1:]]
        theta = flatten(Ws, cs).astype(X.dtype)
        H = self._outputs(theta, X)
        return 0, State(theta, H, sgn(H))

    def _project(self, X):
        return forward(self.Ws_, self.cs_, X, "tanh", "tanh")[-1]


@dataclass(eq=False, repr=False)
class SupervisedDeepHashing(DeepHashing):
    """Supervised Deep Hashing (Liong et al., CVPR 2015): variance and scatter of the classes.

    It is :class:`DeepHashing` with the parameter `alpha`, the weight of the scatter inside the
    variance term: Eq. (9) of notebook 10.
    """

    _requires_labels = True
    _parameter_constraints = {**DeepHashing._parameter_constraints, "alpha": at_least(0)}

    alpha: float = 1.0

    def _options(self, y):
        return super()._options(y) | {"y": y, "alpha": self.alpha}
