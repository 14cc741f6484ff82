# Generated from notebooks/10_deep_hashing.py by `course.py export 10`: edit the notebook.
"""Deep Hashing and its supervised variant: every term, the objective, the estimators.

Source: Liong, Lu, Wang, Moulin and Zhou, "Deep Hashing for Compact Binary Codes Learning", CVPR
2015, as on the slide "Background: Deep Hashing". In the functions samples stand in columns, X is
(D, m), outputs H of the code layer are (L, m); the public methods of the estimators have them in
rows.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
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
from bdnn.losses import squared_norm
from bdnn.metrics import sgn
from bdnn.network import backward, flatten, forward, layer_memory, unflatten

__all__ = [
    "DeepHashing",
    "HIDDEN",
    "LBFGS_STEPS",
    "State",
    "SupervisedDeepHashing",
    "descend",
    "dh_objective",
    "dh_terms",
    "initial_network",
    "lbfgs_rounds",
    "narrowing_sizes",
    "orthogonality",
    "quantisation",
    "scatter",
    "variance",
    "weight_and_bias_decay",
]


def quantisation(H: Array) -> tuple[float, Array]:
    """Distance of the outputs from their own signs: Eqs. (3), (4) of notebook 10.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.

    Returns
    -------
    value : float
        1/2 ||sgn(H) - H||^2, a sum over the samples, not a mean.
    dH : array (L, m)
        H - sgn(H), with sgn(H) constant: right wherever no output is 0. Where one is, the slope
        jumps from +1 to -1, and this is the one-sided slope towards larger outputs.
    """
    dH = H - sgn(H)
    return squared_norm(dH) / 2, dH


def variance(H: Array) -> tuple[float, Array]:
    """Half the mean square of the outputs, summed over the bits: Eq. (5) of notebook 10.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.

    Returns
    -------
    value : float
        1/(2m) tr(H H^T). Deep Hashing makes it large, so it enters the objective with a minus.
    dH : array (L, m)
    """
    m = H.shape[1]
    return squared_norm(H) / (2 * m), H / m


def orthogonality(Ws: list[Array]) -> tuple[float, list[Array]]:
    """Distance of the rows of all weights from orthonormal ones: Eqs. (6), (7) of notebook 10.

    Parameters
    ----------
    Ws : list of arrays (h_out, h_in)
        Weights. A layer that widens (h_out > h_in) cannot reach 0.

    Returns
    -------
    value : float
        1/2 sum_l ||W_l W_l^T - I||^2.
    dWs : list of arrays
    """
    Gs = [W @ W.T - np.eye(len(W), dtype=W.dtype) for W in Ws]
    return sum(map(squared_norm, Gs)) / 2, [2 * G @ W for G, W in zip(Gs, Ws)]


def weight_and_bias_decay(
    Ws: list[Array], cs: list[Array]
) -> tuple[float, tuple[list[Array], list[Array]]]:
    """Squared length of all weights and biases: Eq. (8) of notebook 10.

    Parameters
    ----------
    Ws, cs : lists of arrays

    Returns
    -------
    value : float
        1/2 sum_l (||W_l||^2 + ||c_l||^2).
    (dWs, dcs) : pair of lists of arrays
        The variables themselves, which are their own gradients.
    """
    return sum(map(squared_norm, [*Ws, *cs])) / 2, (Ws, cs)


def scatter(H: Array, y: ArrayLike) -> tuple[float, Array]:
    """Scatter between minus scatter within classes: Eqs. (11), (12) of notebook 10.

    Mean squared distance of all pairs of samples of different classes, less that of all pairs of
    one class. Computed from sums over the classes: time and memory O(m L), exact.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.
    y : array-like (m,)
        Class labels of any type that sorts.

    Returns
    -------
    value : float
        tr(Sigma_B - Sigma_W).
    dH : array (L, m)

    Raises
    ------
    ValueError
        If there is only one class, or no class with two samples.
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
    """Every term of Eq. (2) of notebook 10 with its weight and sign, and their gradients.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.
    Ws, cs : lists of arrays
    alphas : three floats
        alpha1 (variance), alpha2 (orthogonality), alpha3 (weight decay).
    y : array (m,), optional
        Class labels; with them, the scatter counts alpha1 alpha / 2.
    alpha : float
    reduction : "sum" or "mean"
        The quantisation summed over the samples, as printed, or divided by their number.

    Returns
    -------
    terms : dict of str -> float
    dH, dWs, dcs : array (L, m), lists of arrays
        Gradients with respect to the outputs, and those of orthogonality and weight decay.
    """
    alpha1, alpha2, alpha3 = alphas
    of_codes = {  # name -> weight, (value, gradient with respect to H)
        "quantisation": (1 / H.shape[1] if reduction == "mean" else 1.0, quantisation(H)),
        "variance": (-alpha1, variance(H)),
    }
    if y is not None:
        of_codes["scatter"] = -alpha1 * alpha / 2, scatter(H, y)
    angle, dWs_angle = orthogonality(Ws)
    decay, (dWs_decay, dcs_decay) = weight_and_bias_decay(Ws, cs)
    terms = {name: weight * value for name, (weight, (value, _)) in of_codes.items()}
    terms |= {"orthogonality": alpha2 * angle, "weight_decay": alpha3 * decay}
    dH = sum(weight * gradient for weight, (_, gradient) in of_codes.values())  # of Eq. (13)
    dWs = [alpha2 * a + alpha3 * d for a, d in zip(dWs_angle, dWs_decay)]
    return terms, dH, dWs, [alpha3 * d for d in dcs_decay]


def dh_objective(
    theta: Array,
    X: Array,
    sizes: Sequence[int],
    memory: Sequence[list[Array] | None] = (None, None),
    **options,
) -> tuple[float, Array]:
    """The objective of Deep Hashing and its gradient: Eqs. (2), (13) of notebook 10.

    Parameters
    ----------
    theta : array (p,)
        Weights and biases, from `network.flatten`.
    X : array (D, m)
        Samples, centred.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    memory : pair of lists of arrays, optional
        From `network.layer_memory`.
    **options
        alphas, y, alpha, reduction: as for :func:`dh_terms`.

    Returns
    -------
    J : float
    gradient : array (p,)
    """
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X, "tanh", "tanh", out=memory[0])
    terms, dH, dWs_own, dcs_own = dh_terms(Hs[-1], Ws, cs, **options)
    dWs, dcs = backward(Ws, Hs, dH, "tanh", "tanh", out=memory[1])
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
    """Weights to start from: PCA directions, then rectangular identities; biases 0.

    Parameters
    ----------
    X : array (D, m)
        Samples, centred.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    rng : numpy.random.Generator
        Draws the rotation that ITQ starts from.
    init : "pca" or "itq"
        "itq": the leading directions are turned so that the first codes are those of ITQ.

    Returns
    -------
    Ws, cs : lists of arrays (h_out, h_in) and (h_out, 1)
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

    Parameters
    ----------
    fun : callable
        fun(theta) -> (value, gradient).
    theta : array (p,)
        The start.
    rate : float
        Step length.
    tol : float
        Stop when a step changes the value by no more.
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


class DeepHashing(NetworkHasher):
    """Deep Hashing (Liong et al., CVPR 2015), unsupervised.

    The defaults are what the paper prints. The other values of `reduction`, `init` and `optimizer`
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
        The quantisation is summed over the samples, or averaged.
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
    dtype : "float32" or "float64"
    random_state : int, Generator, RandomState or None
        The same seed, versions, data and machine give the same codes.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Signs of the network's outputs for the training samples.
    history_ : list of dict
        For each `round`, a step of gradient descent: `objective`, its weighted terms
        `quantisation`, `variance`, `orthogonality`, `weight_decay`; `score`, minus the objective;
        `flips`, the share of bits that changed; `seconds`.
    best_ : int
        The round whose state was kept: the lowest objective.
    Ws_, cs_ : lists of arrays
        The network, from unscaled inputs to the code layer.
    mean_, scale_ : array (D, 1), float
        Training sees scale_ (x - mean_).
    """

    _scales = True
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

    def __init__(
        self,
        n_bits: int = 16,
        *,
        alpha1: float = 100,
        alpha2: float = 0.001,
        alpha3: float = 0.001,
        hidden: Sequence[int] | None = None,
        reduction: str = "sum",
        init: str = "pca",
        input_scale: float = 1.5,
        optimizer: str = "gd",
        learning_rate: float = 0.3,
        max_iter: int = 100,
        tol: float = 1e-6,
        dtype: DTypeLike = "float32",
        random_state: Seed = 0,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.alpha1 = alpha1
        self.alpha2 = alpha2
        self.alpha3 = alpha3
        self.hidden = hidden
        self.reduction = reduction
        self.init = init
        self.input_scale = input_scale
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.tol = tol
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

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


class SupervisedDeepHashing(DeepHashing):
    """Supervised Deep Hashing (Liong et al., CVPR 2015): variance and scatter of the classes.

    Parameters
    ----------
    n_bits : int
        Code length L.
    alpha : float
        Weight of the scatter inside the variance term: Eq. (9) of notebook 10.
    alpha1, alpha2, alpha3, hidden, init, input_scale, optimizer, learning_rate, max_iter, tol
        As for :class:`DeepHashing`.
    reduction : "sum" or "mean"
        As for :class:`DeepHashing`. With the printed "sum" the labels lose their weight as the
        number of samples grows.
    dtype, random_state, verbose
        As for :class:`DeepHashing`.

    Attributes
    ----------
    codes_, history_, best_, Ws_, cs_, mean_, scale_
        As for :class:`DeepHashing`; the history has the term `scatter` too.
    """

    _requires_labels = True
    _parameter_constraints = {**DeepHashing._parameter_constraints, "alpha": at_least(0)}

    def __init__(
        self,
        n_bits: int = 16,
        *,
        alpha: float = 1.0,
        alpha1: float = 100,
        alpha2: float = 0.001,
        alpha3: float = 0.001,
        hidden: Sequence[int] | None = None,
        reduction: str = "sum",
        init: str = "pca",
        input_scale: float = 1.5,
        optimizer: str = "gd",
        learning_rate: float = 0.3,
        max_iter: int = 100,
        tol: float = 1e-6,
        dtype: DTypeLike = "float32",
        random_state: Seed = 0,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            n_bits,
            alpha1=alpha1,
            alpha2=alpha2,
            alpha3=alpha3,
            hidden=hidden,
            reduction=reduction,
            init=init,
            input_scale=input_scale,
            optimizer=optimizer,
            learning_rate=learning_rate,
            max_iter=max_iter,
            tol=tol,
            dtype=dtype,
            random_state=random_state,
            verbose=verbose,
        )
        self.alpha = alpha

    def _options(self, y):
        return super()._options(y) | {"y": y, "alpha": self.alpha}
