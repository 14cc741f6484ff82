# Generated from notebooks/10_deep_hashing.py by `course.py export 10`: edit the notebook.
"""Deep Hashing and its supervised variant: every term, the objective, the estimators.

Source: Liong, Lu, Wang, Moulin and Zhou, "Deep Hashing for Compact Binary Codes Learning", CVPR
2015, as on the slide "Background: Deep Hashing". Samples stand in columns in the functions, and in
rows at the face of the estimators.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from sklearn.utils.multiclass import check_classification_targets

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
    class_numbers,
    sgn,
)
from bdnn.itq import itq_rotation, principal_directions
from bdnn.lbfgs import minimize
from bdnn.network import Workspace, backward, flatten, forward, unflatten
from bdnn.sources import AnySamples, Samples, alongside, blockwise, stored, total

__all__ = [
    "BlockwiseDHObjective",
    "DHObjective",
    "DeepHashing",
    "HIDDEN",
    "SupervisedDeepHashing",
    "class_sums",
    "descend",
    "dh_terms",
    "initial_network",
    "narrowing_sizes",
    "orthogonality",
    "output_sums",
    "quantisation",
    "scatter",
    "scatter_from_sums",
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
    dH = H - sgn(H).astype(H.dtype)
    return float(np.square(dH).sum(dtype=np.float64)) / 2, dH


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
    return float(np.square(H).sum(dtype=np.float64)) / (2 * m), H / m


def orthogonality(Ws: Layers) -> tuple[float, Layers]:
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
    value, dWs = 0.0, []
    for W in Ws:
        G = W @ W.T
        G.flat[:: len(G) + 1] -= 1
        value += float(np.square(G).sum(dtype=np.float64)) / 2
        dWs.append(2 * G @ W)
    return value, dWs


def weight_and_bias_decay(Ws: Layers, cs: Layers) -> tuple[float, tuple[Layers, Layers]]:
    """Squared length of all weights and biases: Eq. (8) of notebook 10.

    Parameters
    ----------
    Ws, cs : lists of arrays

    Returns
    -------
    value : float
        1/2 sum_l (||W_l||^2 + ||c_l||^2).
    (dWs, dcs) : pair of lists of arrays
        The gradients, which are copies of the variables.
    """
    value = sum(float(np.square(A).sum(dtype=np.float64)) for A in (*Ws, *cs)) / 2
    return value, ([W.copy() for W in Ws], [c.copy() for c in cs])


def scatter_from_sums(n: Array, sums: Array, squares: Array) -> tuple[float, tuple[Array, Array]]:
    """Scatter from sums over the classes: Eqs. (11), (12) of notebook 10.

    Parameters
    ----------
    n : array (C,)
        Samples of each class.
    sums : array (L, C)
        Sums of the outputs of each class.
    squares : array (C,)
        Sums of their squared lengths.

    Returns
    -------
    value : float
    (a, V) : arrays (C,), (L, C)
        The gradient for a sample with outputs h, of class c: a_c h + V_c.

    Raises
    ------
    ValueError
        If there is only one class, or no class with two samples.
    """
    n = n.astype(np.float64)
    m, s, q = n.sum(), sums.sum(axis=1, keepdims=True), squares.sum()
    N_S, N_D = np.sum(n * n) - m, m * m - np.sum(n * n)
    if N_S == 0 or N_D == 0:
        what = "one class only" if N_D == 0 else "no class with two samples"
        raise ValueError(f"scatter needs at least 2 classes, and 2 samples in one; got {what}")
    T = 2 * m * q - 2 * np.square(s).sum()
    T_W = 2 * np.sum(n * squares) - 2 * np.square(sums).sum()
    within = 1 / N_D + 1 / N_S
    a, V = 4 * m / N_D - 4 * n * within, 4 * sums * within - 4 * s / N_D
    return float(T / N_D - T_W * within), (a, V)


def class_sums(H: Array, y: Array, n_classes: int) -> tuple[Array, Array]:
    """Sums of the outputs H (L, m) of each class (L, C), and of their squared lengths (C,)."""
    sums = np.stack([np.bincount(y, weights=row, minlength=n_classes) for row in H])
    lengths = np.square(H).sum(axis=0, dtype=np.float64)
    return sums, np.bincount(y, weights=lengths, minlength=n_classes)


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
    y = class_numbers(y, H.shape[1])
    n = np.bincount(y)
    value, (a, V) = scatter_from_sums(n, *class_sums(H, y, len(n)))
    return value, (a[y] * H + V[:, y]).astype(H.dtype)


def dh_terms(
    H: Array,
    Ws: Layers,
    cs: Layers,
    alphas: Sequence[float],
    y: Array | None = None,
    alpha: float = 1.0,
    reduction: str = "sum",
) -> dict[str, float]:
    """Every term of Eq. (2) of notebook 10 with its weight and sign, and their sum `objective`.

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
    dict of str -> float
    """
    m = H.shape[1]
    numbers = np.zeros(m, int) if y is None else class_numbers(y, m)
    n, share = np.bincount(numbers), 1 / m if reduction == "mean" else 1.0
    sums = output_sums(H, numbers, len(n))
    return _weighted_dh_terms(n, sums, Ws, cs, alphas, None if y is None else alpha, share)


def output_sums(H: Array, y: Array, n_classes: int) -> tuple:
    """What the terms need to know of outputs H (L, m) of classes y: quantisation, `class_sums`."""
    return quantisation(H)[0], *class_sums(H, y, n_classes)


def _weighted_dh_terms(n, sums, Ws, cs, alphas, alpha, share):
    """`dh_terms` from the `output_sums` of all samples; without the scatter if alpha is None."""
    (loss, sums, squares), (alpha1, alpha2, alpha3) = sums, alphas
    terms = {"quantisation": float(share * loss)}
    terms["variance"] = -alpha1 / 2 * float(squares.sum() / n.sum())
    if alpha is not None:
        terms["scatter"] = -alpha1 * alpha / 2 * scatter_from_sums(n, sums, squares)[0]
    terms["orthogonality"] = alpha2 * orthogonality(Ws)[0]
    terms["weight_decay"] = alpha3 * weight_and_bias_decay(Ws, cs)[0]
    return {"objective": sum(terms.values())} | terms


def _dh_slope(a, V, kappa, H, y):
    """Gradient with respect to outputs H of samples of classes y: a_y h + V_y - kappa sgn(h)."""
    dH = a.take(y) * H
    dH += V.take(y, axis=1)
    dH -= kappa * sgn(H)
    return dH


class DHObjective:
    """The objective of Deep Hashing and its gradient: Eqs. (2), (13) of notebook 10.

    ``objective(theta)`` gives (value, gradient) for the parameters (p,) of `network.flatten`. It
    costs little more than its matrix products, and after the first call takes no new memory that
    grows with m.

    Parameters
    ----------
    X : array (D, m)
        Samples, centred.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    alphas, y, alpha, reduction
        As for `dh_terms`.
    """

    def __init__(
        self,
        X: Array,
        sizes: Sequence[int],
        alphas: Sequence[float],
        y: Array | None = None,
        alpha: float = 1.0,
        reduction: str = "sum",
    ) -> None:
        m, labels = X.shape[1], np.zeros(X.shape[1], int) if y is None else y
        self.X, self.sizes, self.alphas = X, tuple(sizes), tuple(map(float, alphas))
        numbers = class_numbers(labels, m)
        self.y, self.n = alongside(X, numbers), np.bincount(numbers)
        self.alpha = None if y is None else float(alpha)
        self.share = 1 / m if reduction == "mean" else 1.0
        self.activations = ("tanh",) * (len(sizes) - 1)
        self._prepare()

    def _prepare(self):
        self.workspace = Workspace(self.sizes, len(self.y), self.X.dtype, self.activations)

    def _sums(self, Ws, cs):
        """Pass forward: the `output_sums` of all samples."""

        def of_block(samples, H):
            return output_sums(H, self.y[samples], len(self.n))

        return [sum(part) for part in zip(*self.workspace.forward(Ws, cs, self.X, of_block))]

    def _gradient(self, Ws, cs, slope):
        """Pass back, after `_sums`, for a slope (H, y) -> dH."""
        return self.workspace.backward(Ws, self.X, lambda samples, H: slope(H, self.y[samples]))

    def _slope(self, sums):
        """Value of the terms of H, and their gradient as a function (H, y) -> dH."""
        (loss, sums, squares), alpha1 = sums, self.alphas[0]
        m, n = self.n.sum(), self.n
        J = self.share * loss - alpha1 / (2 * m) * squares.sum()
        a, V = np.full(len(n), self.share - alpha1 / m), np.zeros_like(sums)
        if self.alpha:
            apart, (a_apart, V_apart) = scatter_from_sums(n, sums, squares)
            weight = alpha1 * self.alpha / 2
            J, a, V = J - weight * apart, a - weight * a_apart, -weight * V_apart
        parts = (np.asarray(A, self.X.dtype) for A in (a, V, self.share))
        return float(J), partial(_dh_slope, *parts)

    def terms(self, theta: Array) -> dict[str, float]:
        """`dh_terms` of these parameters."""
        Ws, cs = unflatten(theta, self.sizes)
        sums = self._sums(Ws, cs)
        return _weighted_dh_terms(self.n, sums, Ws, cs, self.alphas, self.alpha, self.share)

    def __call__(self, theta: Array) -> tuple[float, Array]:
        _, alpha2, alpha3 = self.alphas
        Ws, cs = unflatten(theta, self.sizes)
        J, slope = self._slope(self._sums(Ws, cs))
        dWs, dcs = self._gradient(Ws, cs, slope)
        angle, dWs_angle = orthogonality(Ws)
        decay, (dWs_decay, dcs_decay) = weight_and_bias_decay(Ws, cs)
        dWs = [d + alpha2 * a + alpha3 * b for d, a, b in zip(dWs, dWs_angle, dWs_decay)]
        dcs = [d + alpha3 * b for d, b in zip(dcs, dcs_decay)]
        return J + alpha2 * angle + alpha3 * decay, flatten(dWs, dcs)


class BlockwiseDHObjective(DHObjective):
    """The same for `sources.Samples`: both passes block by block, wherever the blocks are.

    What belongs to a block is made when it is needed: the pass back repeats the pass forward.
    """

    def _prepare(self):
        pass

    def _sums(self, Ws, cs):
        task = partial(_sums_of_block, Ws, cs, self.activations, len(self.n))
        return total(task, self.X, self.y)

    def _gradient(self, Ws, cs, slope):
        task = partial(_gradient_of_block, Ws, cs, self.activations, slope)
        sums = [A.astype(self.X.dtype) for A in total(task, self.X, self.y)]
        return sums[: len(Ws)], sums[len(Ws) :]


def _sums_of_block(Ws, cs, activations, n_classes, X, y):
    return output_sums(forward(Ws, cs, X, activations)[-1], y, n_classes)


def _gradient_of_block(Ws, cs, activations, slope, X, y):
    Hs = forward(Ws, cs, X, activations)
    dWs, dcs = backward(Ws, Hs, slope(Hs[-1], y), activations)
    return [*dWs, *dcs]


HIDDEN = {16: (60, 30), 32: (80, 50), 64: (100, 80)}


def narrowing_sizes(n_bits: int) -> tuple[int, int]:
    """Units of the hidden layers: `HIDDEN`, and (L + 44, L + 16) for other code lengths L."""
    return HIDDEN.get(n_bits, (n_bits + 44, n_bits + 16))


def initial_network(
    X: AnySamples, sizes: Sequence[int], rng: np.random.Generator, init: str = "itq"
) -> tuple[Layers, Layers]:
    """Weights to start from: PCA directions, then rectangular identities; biases 0.

    Parameters
    ----------
    X : array (D, m)
        Samples, centred.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    rng : numpy.random.Generator
        Draws the rotation that ITQ starts from.
    init : "itq" or "pca"
        "itq": the leading directions are turned so that the first codes are those of ITQ.

    Returns
    -------
    Ws : list of arrays (h_out, h_in)
    cs : list of arrays (h_out, 1)
    """
    P = principal_directions(X, sizes[1])[1].T.astype(X.dtype)
    k = min(sizes[1:])
    if init == "itq":
        leading = P[:k].copy()
        V = blockwise(lambda X: leading @ X, X)
        P[:k] = itq_rotation(V, 50, rng)[0].astype(X.dtype) @ leading
    Ws = [P, *(np.eye(b, a, dtype=X.dtype) for a, b in zip(sizes[1:], sizes[2:]))]
    return Ws, [np.zeros((len(W), 1), X.dtype) for W in Ws]


class _Recorder:
    """Watches a training: history, the state with the lowest objective, when to stop."""

    def __init__(self, terms, stride, bar, keep):
        self.terms, self.stride, self.bar, self.keep = terms, stride, bar, keep
        self.started, self.history = time.perf_counter(), []
        self.iteration, self.best, self.theta, self.state = -1, np.inf, None, None

    def go_on_from(self, state):
        """Be as before that state, which will be noted again; return it and its memory."""
        iteration, theta, pairs, self.best, self.theta, self.history = state
        self.iteration = iteration - 1
        self.bar.update(iteration)
        return theta, pairs

    def __call__(self, theta, J, pairs=()):
        """Take note of the next state; the one before it is sound, since no rule ended there."""
        if self.state:
            self.keep(self.state)
        self.iteration += 1
        if J < self.best:
            self.best, self.theta = J, theta.copy()
        if self.iteration % self.stride == 0:
            self.note(theta)
        state = self.iteration, theta, list(pairs), self.best, self.theta
        self.state = *state, list(self.history)
        self.bar.update(self.iteration > 0)

    def note(self, theta):
        """Add the terms of a state to the history, unless they are there."""
        if self.history and self.history[-1]["iteration"] == self.iteration:
            return
        entry = {"iteration": self.iteration, **self.terms(theta)}
        self.history.append(entry | {"seconds": time.perf_counter() - self.started})
        self.bar.set_postfix(objective=f"{entry['objective']:.5g}")


def descend(
    fun: Objective,
    theta: Array,
    rate: float,
    max_iter: int,
    tol: float,
    watch: Callable[[Array, float], object],
) -> Array:
    """Full-batch gradient descent with a fixed step: Eq. (14) of notebook 10.

    Parameters
    ----------
    fun : callable
        ``fun(theta) -> (value, gradient)``.
    theta : array (p,)
        The start; not modified.
    rate : float
        Step length.
    max_iter : int
        Steps at most.
    tol : float
        Stop when a step changes the value by no more.
    watch : callable
        ``watch(theta, value)`` is called at the start and after every step.

    Returns
    -------
    array (p,)
        The last state whose value is finite.
    """
    theta, rate = theta.copy(), theta.dtype.type(rate)
    value, gradient = fun(theta)
    watch(theta, value)
    for _ in range(max_iter):
        new = theta - rate * gradient
        with np.errstate(over="ignore", invalid="ignore"):
            before, (value, gradient) = value, fun(new)
        if not np.isfinite(value):
            warnings.warn("the objective overflows: use a smaller learning_rate", stacklevel=5)
            break
        theta = new
        watch(theta, value)
        if abs(value - before) <= tol:
            break
    return theta


def _network_of(start, sizes):
    """Weights and biases of a fitted estimator, whose layers must have these sizes."""
    theirs = (start.n_features_in_, *map(len, start.Ws_))
    if theirs != tuple(sizes):
        raise ValueError(
            f"start has layers of {theirs} units, this training {tuple(sizes)}: only an estimator "
            "with as many bits and units is a start"
        )
    return start.Ws_, start.cs_


class DeepHashing(BaseHasher):
    """Deep Hashing (Liong et al., CVPR 2015), unsupervised.

    `fit` takes three options beyond the data. `start`, an estimator of this class that was fitted
    with as many bits and units: training goes on from its network. `callback`, a function: it is
    called after every step with the share of the most steps that is done; what it raises ends the
    training. `checkpoint`, a path: the state is kept there, and if the file is there, training goes
    on from it: `base.Checkpoint`.

    Parameters
    ----------
    n_bits : int
        Code length L.
    alpha1, alpha2, alpha3 : float
        Weights of variance, orthogonality and weight decay: Eq. (2) of notebook 10.
    hidden : tuple of int, optional
        Units of the hidden layers; None: `narrowing_sizes`.
    reduction : "sum" or "mean"
        The quantisation is summed over the samples, as printed, or averaged.
    init : "itq" or "pca"
        The first codes are those of ITQ, or the signs of principal components as in the paper:
        `initial_network`.
    input_scale : float
        The centred input is scaled so that its leading principal components, as many as bits,
        have this root mean square.
    optimizer : "gd" or "lbfgs"
        Gradient descent as in the paper, or L-BFGS.
    learning_rate : float
        Step of the gradient descent, for the objective divided by N: Eq. (14) of notebook 10.
    max_iter : int
        Steps of the optimiser.
    tol : float
        Stop when a step changes the objective by less than tol N (gradient descent), or
        by less than tol, relatively (L-BFGS).
    dtype : "float32" or "float64"
    random_state : int, Generator, RandomState or None
        The same seed, versions and data give the same codes.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Signs of the network's outputs for the training samples.
    history_ : list of dict
        `iteration`, `objective`, its weighted terms `quantisation`, `variance`, `orthogonality`,
        `weight_decay`, and `seconds` so far; every max_iter/100 iterations, and at the end.
    n_iter_ : int
        Steps made. The state with the lowest objective among them is kept.
    Ws_, cs_ : lists of arrays
        The network, from the input to the code layer.
    mean_, scale_ : array (D, 1), float
        The network sees scale_ (x - mean_).
    """

    _takes_sources = True

    def __init__(
        self,
        n_bits: int = 16,
        *,
        alpha1: float = 100,
        alpha2: float = 0.001,
        alpha3: float = 0.001,
        hidden: Sequence[int] | None = None,
        reduction: str = "sum",
        init: str = "itq",
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

    def _check_parameters(self):
        for name in ("alpha1", "alpha2", "alpha3", "tol"):
            check_number(name, getattr(self, name))
        for name in ("input_scale", "learning_rate"):
            check_number(name, getattr(self, name), np.finfo(np.float32).tiny)
        check_whole_number("max_iter", self.max_iter, 0)
        check_hidden(self.hidden)
        check_option("reduction", self.reduction, ("sum", "mean"))
        check_option("init", self.init, ("itq", "pca"))
        check_option("optimizer", self.optimizer, ("gd", "lbfgs"))

    def _fit(self, X, y, start=None, callback=None, checkpoint=None):
        self._check_parameters()
        checkpoint = Checkpoint(checkpoint, self, X, start=start)
        self._learn(X, {"reduction": self.reduction}, start, callback, checkpoint)

    def _learn(self, X, options, start, callback, checkpoint):
        """Train the network on samples (D, m); `options` as for `DHObjective`."""
        hidden = narrowing_sizes(self.n_bits) if self.hidden is None else tuple(self.hidden)
        X, sizes = self._scale(X), (len(X), *hidden, self.n_bits)
        if start is None:
            network = initial_network(X, sizes, as_generator(self.random_state), self.init)
        else:
            network = _network_of(start, sizes)
        kind = BlockwiseDHObjective if isinstance(X, Samples) else DHObjective
        objective = kind(X, sizes, (self.alpha1, self.alpha2, self.alpha3), **options)
        scale = self.alpha1 + (X.shape[1] if self.reduction == "sum" else 1)

        def scaled(theta):
            J, gradient = objective(theta)
            return J / scale, gradient / theta.dtype.type(scale)

        with ProgressBar(self.max_iter, callback, self.verbose) as bar:
            bar.set_description(f"{type(self).__name__}, {self.n_bits} bits")
            stride = max(1, -(-self.max_iter // 100))
            keep = partial(checkpoint.write, self)
            watch = _Recorder(objective.terms, stride, bar, keep)
            theta, pairs = flatten(*network), ()
            if saved := checkpoint.read(self):
                theta, pairs = watch.go_on_from(saved)
            self._train(scaled, theta, pairs, watch)
        Ws, cs = self.Ws_, self.cs_ = unflatten(watch.theta, sizes)
        self.history_, self.n_iter_ = watch.history, watch.iteration
        self.codes_ = stored(lambda X: sgn(DeepHashing._outputs(Ws, cs, X)), X).T

    def _train(self, fun, theta, pairs, watch):
        """Minimise; an interruption keeps the best state, if a step was made."""
        last, steps = theta, self.max_iter - (watch.iteration + 1)
        try:
            if self.optimizer == "gd":
                last = descend(fun, theta, self.learning_rate, steps, self.tol, watch)
            else:
                watch(theta, fun(theta)[0], pairs)
                options = {"max_iter": steps, "ftol": self.tol, "gtol": 0, "pairs": pairs}
                note = {"callback": lambda r: watch(r.x, r.fun, r.pairs)}
                last = minimize(fun, theta, **options, **note).x
        except KeyboardInterrupt:
            if watch.iteration < 1:
                raise
            told = f"interrupted after {watch.iteration} iterations: the best state so far is kept"
            self._stopped_early(told, stacklevel=5)
            last = watch.theta
        watch.note(last)

    def _scale(self, X):
        """Centre and scale the training samples, and remember how."""
        mean, P = principal_directions(X, self.n_bits)
        mean, P = mean.astype(X.dtype), P.astype(X.dtype)
        (squares,) = total(lambda X: (np.square(P.T @ (X - mean)).sum(dtype=np.float64),), X)
        rms = np.sqrt(squares / (P.shape[1] * X.shape[1]))
        self.mean_, self.scale_ = mean, float(self.input_scale / rms) if rms > 0 else 1.0
        scale = X.dtype.type(self.scale_)
        return blockwise(lambda X: (X - mean) * scale, X)

    @staticmethod
    def _outputs(Ws, cs, X):
        return forward(Ws, cs, X, ("tanh",) * len(Ws))[-1]

    def _project(self, X):
        X = (X - self.mean_) * X.dtype.type(self.scale_)
        return self._outputs(self.Ws_, self.cs_, X)


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
    codes_, history_, n_iter_, Ws_, cs_, mean_, scale_
        As for :class:`DeepHashing`; the history has the term `scatter` too.
    """

    _requires_labels = True

    def __init__(
        self,
        n_bits: int = 16,
        *,
        alpha: float = 1.0,
        alpha1: float = 100,
        alpha2: float = 0.001,
        alpha3: float = 0.001,
        hidden: Sequence[int] | None = None,
        reduction: str = "mean",
        init: str = "pca",
        input_scale: float = 1.5,
        optimizer: str = "lbfgs",
        learning_rate: float = 1.0,
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

    def _fit(self, X, y, start=None, callback=None, checkpoint=None):
        self._check_parameters()
        checkpoint = Checkpoint(checkpoint, self, X, y, start)
        check_number("alpha", self.alpha)
        check_classification_targets(y)
        y = np.unique(y, return_inverse=True)[1]
        options = {"y": y, "alpha": self.alpha, "reduction": self.reduction}
        self._learn(X, options, start, callback, checkpoint)
