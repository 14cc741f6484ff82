# Generated from notebooks/04_network.py by `course.py export 04`: edit the notebook.
"""The encoder of the Binary Deep Neural Network: layers, backpropagation, initial weights.

Samples stand in columns: `X` has shape (D, m), the output of a layer with h units (h, m). Python
counts from 0 and the paper from 1: `Hs[0]` is its H(1) = X, `Ws[0]` its W(1), the weights
that lead from layer 1 to layer 2. Everything works in the precision of its input.
"""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import DTypeLike
from scipy.linalg import eigh

from bdnn.base import Array, Layers, Objective, Seed, as_generator, check_option
from bdnn.sources import BLOCK, AnySamples, blockwise, each, total

__all__ = [
    "ACTIVATIONS",
    "PAPER_HIDDEN",
    "Workspace",
    "backward",
    "flatten",
    "forward",
    "gradient_error",
    "hidden_sizes",
    "identity",
    "initial_weights",
    "sigmoid",
    "sigmoid_slope",
    "unflatten",
]

PAPER_HIDDEN = {8: (90, 20), 16: (90, 30), 24: (100, 40), 32: (120, 50)}


def hidden_sizes(n_bits: int) -> tuple[int, int]:
    """Units of the two hidden layers in front of a code layer of `n_bits` units.

    Gives the sizes of the paper's authors at 8, 16, 24 and 32 bits (`PAPER_HIDDEN`), and at every
    other length those of a straight-line rule through the four.

    Parameters
    ----------
    n_bits : int
        Code length L, at least 1.

    Returns
    -------
    tuple of two int
        max(90, 2.5 L + 40) and 1.25 L + 10, rounded up: Eq. (2) of notebook 04.
    """
    if n_bits < 1:
        raise ValueError(f"n_bits must be at least 1, got {n_bits}")
    return max(90, 40 + -(-5 * n_bits // 2)), 10 + -(-5 * n_bits // 4)


def sigmoid(Z: Array, out: Array | None = None) -> Array:
    """Logistic function 1 / (1 + exp(-Z)) without overflow: Eq. (3) of notebook 04.

    Parameters
    ----------
    Z : array
        Any shape.
    out : array, optional
        Where the result goes, as in NumPy's own functions; `out=Z` overwrites `Z`.

    Returns
    -------
    array
        Shape of `Z`, entries from 0 to 1.
    """
    H = np.tanh(np.multiply(Z, 0.5, out=out), out=out)
    return np.multiply(np.add(H, 1, out=out), 0.5, out=out)


def sigmoid_slope(H: Array) -> Array:
    """The slope H (1 - H) of the sigmoid where its output is H."""
    slope = 1 - H
    slope *= H
    return slope


def identity(Z: Array, out: Array | None = None) -> Array:
    """Return `Z` itself; `out` is there because the other activations have it."""
    return Z


# name -> (f, derivative of f at Z in terms of the output H = f(Z)): Eq. (4) of notebook 04
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "sigmoid": (sigmoid, sigmoid_slope),
    "tanh": (np.tanh, lambda H: 1 - H * H),
    "identity": (identity, lambda H: 1),
}


def _check_network(Ws, activations):
    """One activation per layer; by default sigmoids, and a linear layer at the end."""
    if activations is None:
        activations = ("sigmoid",) * (len(Ws) - 1) + ("identity",)
    if len(activations) != len(Ws):
        raise ValueError(f"{len(Ws)} weight matrices, but {len(activations)} activations")
    for name in activations:
        check_option("activation", name, tuple(ACTIVATIONS))
    return activations


def forward(
    Ws: Layers,
    cs: Layers,
    X: Array,
    activations: Sequence[str] | None = None,
    out: Layers | None = None,
) -> Layers:
    """Outputs of all layers: Eq. (1) of notebook 04.

    Parameters
    ----------
    Ws : list of arrays (h_out, h_in)
        Weights, from the input layer onwards.
    cs : list of arrays (h_out, 1)
        Biases.
    X : array (D, m)
        Samples in columns.
    activations : sequence of str, optional
        A key of `ACTIVATIONS` for every weight matrix. Default: sigmoid for the hidden layers,
        identity for the last one, as in the settings of the paper's authors.
    out : list of arrays (units, m), optional
        Where the outputs of layers 2, 3, ... go.

    Returns
    -------
    list of arrays
        ``[X, H2, H3, ...]``, one array (units, m) per layer.
    """
    activations = _check_network(Ws, activations)
    Hs = [X]
    places = repeat(None) if out is None else out
    for W, c, name, Z in zip(Ws, cs, activations, places):
        if W.shape[1:] != Hs[-1].shape[:1] or c.shape != (len(W), 1):
            raise ValueError(
                f"layer {len(Hs) + 1}: W {W.shape} and c {c.shape} do not fit each other "
                f"and an input of shape {Hs[-1].shape}"
            )
        f, _ = ACTIVATIONS[name]
        Z = np.matmul(W, Hs[-1], out=Z)
        Z += c
        Hs.append(f(Z, out=Z))
    return Hs


def backward(
    Ws: Layers, Hs: Layers, dH: Array, activations: Sequence[str] | None = None
) -> tuple[Layers, Layers]:
    """Gradients by backpropagation: Eqs. (9) to (11) of notebook 04.

    Parameters
    ----------
    Ws : list of arrays (h_out, h_in)
        Weights.
    Hs : list of arrays
        Outputs of all layers, from :func:`forward`.
    dH : array (h_last, m)
        Gradient of the objective with respect to the output of the last layer, ``Hs[-1]``.
    activations : sequence of str, optional
        As given to :func:`forward`.

    Returns
    -------
    dWs, dcs : lists of arrays
        Gradients with respect to weights and biases, in the shapes of these.
    """
    activations = _check_network(Ws, activations)
    if dH.shape != Hs[-1].shape:
        raise ValueError(f"dH has shape {dH.shape}, the last layer {Hs[-1].shape}")
    dWs, dcs = [], []
    for l in reversed(range(len(Ws))):
        _, slope = ACTIVATIONS[activations[l]]
        own = None if l == len(Ws) - 1 else dH  # the dH that was given is not overwritten
        Delta = np.multiply(dH, slope(Hs[l + 1]), out=own)
        dWs.append(Delta @ Hs[l].T)
        dcs.append(Delta.sum(axis=1, keepdims=True))
        if l > 0:
            dH = Ws[l].T @ Delta
    return dWs[::-1], dcs[::-1]


def flatten(Ws: Layers, cs: Layers) -> Array:
    """One vector of all parameters, layer by layer W, then c: Eq. (12) of notebook 04."""
    return np.concatenate([A.ravel() for pair in zip(Ws, cs) for A in pair])


def unflatten(theta: Array, sizes: Sequence[int]) -> tuple[Layers, Layers]:
    """Undo :func:`flatten`: matrices that are views of the vector.

    Parameters
    ----------
    theta : array (p,)
        All parameters.
    sizes : sequence of int
        Units of all layers, input first.

    Returns
    -------
    Ws, cs : lists of arrays
        Views: writing to them writes to `theta`.
    """
    p = sum(h_out * (h_in + 1) for h_in, h_out in zip(sizes, sizes[1:]))
    if theta.shape != (p,):
        raise ValueError(f"layers of {tuple(sizes)} units need ({p},) numbers, got {theta.shape}")
    Ws, cs, start = [], [], 0
    for h_in, h_out in zip(sizes, sizes[1:]):
        stop = start + h_out * h_in
        Ws.append(theta[start:stop].reshape(h_out, h_in))
        cs.append(theta[stop : stop + h_out].reshape(h_out, 1))
        start = stop + h_out
    return Ws, cs


def gradient_error(
    fun: Objective,
    theta: Array,
    rng: Seed = None,
    n_directions: int | None = None,
    step: float = 6e-6,
) -> float:
    """Relative error of a gradient against central differences: Eqs. (13), (14) of notebook 04.

    Parameters
    ----------
    fun : callable
        ``fun(theta) -> (value, gradient)``, the gradient in the shape of `theta`.
    theta : array
        Where to check, any shape; taken in float64.
    rng : Generator or int, optional
        Source of the directions.
    n_directions : int, optional
        Check along so many random unit directions. Default: along every coordinate.
    step : float
        Step h of the differences. Default: the cube root of the rounding unit of float64.

    Returns
    -------
    float
        Length of the error over the length of the slopes; 0 if all slopes vanish in both.
    """
    rng, theta = as_generator(rng), np.array(theta, dtype=np.float64)
    gradient = np.array(fun(theta)[1], dtype=np.float64)
    if gradient.shape != theta.shape:
        raise ValueError(f"the gradient has shape {gradient.shape}, the variable {theta.shape}")
    slopes, differences = [], []
    for k in range(theta.size if n_directions is None else n_directions):
        V = np.zeros(theta.shape)
        if n_directions is None:
            V.flat[k] = 1
        else:
            V[...] = rng.standard_normal(theta.shape)
            V /= np.linalg.norm(V)
        slopes.append(np.vdot(gradient, V))
        ahead, behind = fun(theta + step * V)[0], fun(theta - step * V)[0]
        differences.append((ahead - behind) / (2 * step))
    error = np.linalg.norm(np.subtract(slopes, differences))
    scale = max(np.linalg.norm(slopes), np.linalg.norm(differences))
    return float(error / scale) if scale > 0 else 0.0


def initial_weights(
    X: AnySamples,
    sizes: Sequence[int],
    rng: np.random.Generator,
    activations: Sequence[str] | None = None,
) -> tuple[Layers, Layers]:
    """Weights from the data, layer by layer; biases 0.

    The rows of each W are the eigenvectors with the largest eigenvalues of the uncentred
    second-moment matrix of the layer's input: Eq. (15) of notebook 04. A layer with more units
    than inputs gets random unit vectors for the rows that are left.

    Parameters
    ----------
    X : array (D, m)
        Training samples in columns.
    sizes : sequence of int
        Units of all layers, D first.
    rng : numpy.random.Generator
        Source of the rows that no eigenvector fills.
    activations : sequence of str, optional
        As for :func:`forward`.

    Returns
    -------
    Ws : list of arrays (h_out, h_in)
    cs : list of arrays (h_out, 1)
    """
    if sizes[0] != len(X):
        raise ValueError(f"sizes begins with {sizes[0]}, but X has {len(X)} rows")
    activations = _check_network(sizes[1:], activations)
    H, Ws, cs = X, [], []
    for units, name in zip(sizes[1:], activations):
        f, _ = ACTIVATIONS[name]
        W = _top_eigenvectors(H, min(units, len(H)))
        E = rng.standard_normal((units - len(W), len(H)))
        E /= np.linalg.norm(E, axis=1, keepdims=True)
        Ws.append(np.vstack([W, E]).astype(X.dtype))
        cs.append(np.zeros((units, 1), X.dtype))
        H = blockwise(lambda H, W=Ws[-1], f=f: f(W @ H), H)
    return Ws, cs


def _top_eigenvectors(H, k):
    """Rows: the k leading eigenvectors of H H^T, their largest entries positive."""
    (M,) = total(lambda H: (H @ H.T,), H)
    _, P = eigh(M / H.shape[1], subset_by_index=(len(M) - k, len(M) - 1))
    W = P.T[::-1]
    largest = np.abs(W).argmax(axis=1)
    return W * np.sign(W[np.arange(k), largest])[:, None]


class Workspace:
    """Both passes through the network, block by block, in memory that is allocated once.

    Parameters
    ----------
    sizes : sequence of int
        Units of all layers, input first.
    m : int
        The most samples that will pass.
    dtype : dtype
        Precision of the outputs; also that of samples and weights, as a rule.
    activations : sequence of str, optional
        As for :func:`forward`.
    block : int
        Samples per block.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        m: int,
        dtype: DTypeLike,
        activations: Sequence[str] | None = None,
        block: int = BLOCK,
    ) -> None:
        self.activations, self.m, self.block = activations, m, block
        self.outputs = [
            [np.empty((units, min(block, m - start)), dtype) for units in sizes[1:]]
            for start in range(0, m, block)
        ]

    def _blocks(self, X):
        """For every block the slice of its samples, the samples, and where its outputs are."""
        m = X.shape[1]
        if m > self.m:
            raise ValueError(f"the workspace was made for {self.m} samples, X has {m}")
        for start, outputs in zip(range(0, m, self.block), self.outputs):
            samples = slice(start, min(start + self.block, m))
            Xk = X[:, samples]
            yield samples, Xk, [H[:, : Xk.shape[1]] for H in outputs]

    def forward(
        self, Ws: Layers, cs: Layers, X: Array, visit: Callable[[slice, Array], Any]
    ) -> list:
        """Pass forward.

        Parameters
        ----------
        Ws, cs, X
            As for :func:`forward`.
        visit : callable
            ``visit(samples, H)`` is called for every block: a slice of columns, and the last layer
            for them, which the next pass overwrites.

        Returns
        -------
        list
            What `visit` returned, block after block.
        """

        def one_block(block):
            samples, Xk, outputs = block
            return visit(samples, forward(Ws, cs, Xk, self.activations, outputs)[-1])

        return list(each(one_block, self._blocks(X)))

    def backward(
        self, Ws: Layers, X: Array, slope: Callable[[slice, Array], Array]
    ) -> tuple[Layers, Layers]:
        """Pass back through the outputs of the last pass forward, which must be complete.

        Parameters
        ----------
        Ws, X
            As in the pass forward.
        slope : callable
            ``slope(samples, H)`` gives the gradient with respect to H, for these samples.

        Returns
        -------
        dWs, dcs : lists of arrays
            Gradients, summed over all samples.
        """

        def one_block(block):
            samples, Xk, outputs = block
            return backward(Ws, [Xk, *outputs], slope(samples, outputs[-1]), self.activations)

        gradients = ([*dWs, *dcs] for dWs, dcs in each(one_block, self._blocks(X)))
        sums = next(gradients)
        if X.shape[1] > self.block:
            sums = [part.astype(np.float64) for part in sums]
        for parts in gradients:
            for whole, part in zip(sums, parts):
                whole += part
        sums = [whole.astype(Ws[0].dtype, copy=False) for whole in sums]
        return sums[: len(Ws)], sums[len(Ws) :]
