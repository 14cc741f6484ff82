# Generated from notebooks/04_network.py by `course.py export 04`: edit the notebook.
"""The encoder of the Binary Deep Neural Network: layers, backpropagation, initial weights.

Samples stand in columns: X is (D, m), the output of a layer with h units (h, m); weights Ws are
(h_out, h_in), biases cs (h_out, 1), and `sizes` the units of all layers, D first. Python counts
from 0 and the paper from 1: Hs[0] is its H(1) = X, Ws[0] its W(1), the weights that lead from layer
1 to layer 2. Everything works in the precision of its input.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy import ndarray as Array

from bdnn.itq import fixed_signs

__all__ = [
    "ACTIVATIONS", "backward", "flatten", "forward", "gradient_error", "hidden_sizes", "identity",
    "identity_slope", "initial_weights", "layer_memory", "sigmoid", "sigmoid_slope", "tanh_slope",
    "unflatten",
]  # fmt: skip


def hidden_sizes(n_bits: int) -> tuple[int, int]:
    """Units of the two hidden layers in front of a code layer of `n_bits` units.

    max(90, 2.5 L + 40) and 1.25 L + 10, rounded up, Eq. (2) of notebook 04: a straight line through
    the sizes of the paper's authors at 8, 16, 24 and 32 bits.
    """
    return max(90, 40 + -(-5 * n_bits // 2)), 10 + -(-5 * n_bits // 4)


def sigmoid(Z: Array, out: Array | None = None) -> Array:
    """Logistic function 1 / (1 + exp(-Z)) without overflow: Eq. (3) of notebook 04.

    As in NumPy's own functions, `out=Z` overwrites Z.
    """
    H = np.tanh(np.multiply(Z, 0.5, out=out), out=out)
    return np.multiply(np.add(H, 1, out=out), 0.5, out=out)


def identity(Z: Array, out: Array | None = None) -> Array:
    """Return Z itself; `out` is there because the other activations have it."""
    return Z


def sigmoid_slope(H: Array, out: Array | None = None) -> Array:
    """The slope H (1 - H) = 1/4 - (H - 1/2)^2 of the sigmoid where its output is H."""
    S = np.subtract(H, 0.5, out=out)
    S *= S
    return np.subtract(0.25, S, out=S)


def tanh_slope(H: Array, out: Array | None = None) -> Array:
    """The slope 1 - H^2 of the hyperbolic tangent where its output is H."""
    return np.subtract(1, np.square(H, out=out), out=out)


def identity_slope(H: Array, out: Array | None = None) -> int:
    """The slope of the identity, 1 everywhere."""
    return 1


# name -> (f, derivative of f at Z in terms of the output H = f(Z)): Eq. (4) of notebook 04
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "sigmoid": (sigmoid, sigmoid_slope),
    "tanh": (np.tanh, tanh_slope),
    "identity": (identity, identity_slope),
}


def forward(
    Ws: list[Array],
    cs: list[Array],
    X: Array,
    hidden: str = "sigmoid",
    last: str = "identity",
    out: list[Array] | None = None,
) -> list[Array]:
    """Outputs (units, m) of all layers, [X, H2, H3, ...]: Eq. (1) of notebook 04.

    Activations of the hidden layers and of the last one are keys of `ACTIVATIONS`; the defaults are
    those of the paper's authors. `out` is memory for H2, H3, ...; new memory costs time.
    """
    Hs = [X]
    for l, (W, c) in enumerate(zip(Ws, cs)):
        f, _ = ACTIVATIONS[hidden if l < len(Ws) - 1 else last]
        Z = np.matmul(W, Hs[-1], out=out and out[l])  # (h_out, m)
        Z += c
        Hs.append(f(Z, out=Z))  # in the memory of Z, which nobody needs again
    return Hs


def backward(
    Ws: list[Array],
    Hs: list[Array],
    dH: Array,
    hidden: str = "sigmoid",
    last: str = "identity",
    out: list[Array] | None = None,
) -> tuple[list[Array], list[Array]]:
    """Gradients dWs, dcs by backpropagation: Eqs. (9) to (11) of notebook 04.

    Hs are from :func:`forward` with the same activations, dH (h_last, m) is the gradient with
    respect to Hs[-1]. `out` is memory for the Deltas (units, m) of the hidden layers; with it,
    Hs[1:] is overwritten, too.
    """
    dWs, dcs, top = [], [], len(Ws) - 1
    for l in range(top, -1, -1):
        _, slope = ACTIVATIONS[hidden if l < top else last]
        S = slope(Hs[l + 1], out=out and Hs[l + 1])
        Delta = np.multiply(dH, S, out=dH if l < top else None)  # (h_out, m), Eqs. (9), (11)
        dWs.insert(0, Delta @ Hs[l].T)  # Eq. (10)
        dcs.insert(0, Delta.sum(axis=1, keepdims=True))
        if l > 0:  # nobody asks for the gradient of X
            dH = np.matmul(Ws[l].T, Delta, out=out and out[l - 1])
    return dWs, dcs


def layer_memory(X: Array, sizes: Sequence[int]) -> tuple[list[Array], list[Array]]:
    """Memory for `out` of :func:`forward` and for that of :func:`backward`."""
    Hs, Deltas = ([np.empty((h, X.shape[1]), X.dtype) for h in sizes[1:]] for _ in range(2))
    return Hs, Deltas


def flatten(Ws: list[Array], cs: list[Array]) -> Array:
    """One vector of all parameters, layer by layer W, then c: Eq. (12) of notebook 04."""
    return np.concatenate([A.ravel() for pair in zip(Ws, cs) for A in pair])


def unflatten(theta: Array, sizes: Sequence[int]) -> tuple[list[Array], list[Array]]:
    """Undo :func:`flatten` for layers of these sizes, the input's first: views of the vector."""
    Ws, cs, start = [], [], 0
    for h_in, h_out in zip(sizes, sizes[1:]):
        stop = start + h_out * h_in
        Ws.append(theta[start:stop].reshape(h_out, h_in))
        cs.append(theta[stop : stop + h_out].reshape(h_out, 1))
        start = stop + h_out
    return Ws, cs


def gradient_error(
    fun: Callable[[Array], tuple[float, Array]],
    theta: Array,
    rng: np.random.Generator | None = None,
    n_directions: int | None = None,
    step: float = 6e-6,
) -> float:
    """Relative error of a gradient against central differences: Eqs. (13), (14) of notebook 04.

    `fun` gives value and gradient, this in the shape of theta, any; it is taken in float64. Slopes
    are compared along all coordinates, or along `n_directions` unit vectors that `rng` draws. The
    default step is the cube root of the rounding unit. Returns the length of the error over the
    length of the slopes; 0 if all slopes vanish in both.
    """
    theta = np.array(theta, dtype=np.float64)
    if n_directions is None:
        directions = np.eye(theta.size)
    else:
        directions = np.random.default_rng(rng).standard_normal((n_directions, theta.size))
    gradient = np.array(fun(theta)[1], dtype=np.float64)
    slopes, differences = [], []
    for v in directions:
        v = (v / np.linalg.norm(v)).reshape(theta.shape)
        slopes.append(np.vdot(gradient, v))
        ahead, behind = fun(theta + step * v)[0], fun(theta - step * v)[0]
        differences.append((ahead - behind) / (2 * step))
    error = np.linalg.norm(np.subtract(slopes, differences))
    scale = max(np.linalg.norm(slopes), np.linalg.norm(differences))
    return float(error / scale) if scale > 0 else 0.0


def initial_weights(
    X: Array, sizes: Sequence[int], rng: np.random.Generator
) -> tuple[list[Array], list[Array]]:
    """Weights Ws from the data, layer by layer; biases cs 0.

    The rows of each W are the eigenvectors with the largest eigenvalues of the uncentred
    second-moment matrix of the layer's input: Eq. (15) of notebook 04. A layer with more units
    than inputs gets random unit vectors for the rows that are left.
    """
    H, Ws, cs = X, [], []
    for units in sizes[1:]:
        M = (H @ H.T / H.shape[1]).astype(np.float64)  # (h_in, h_in)
        W = fixed_signs(np.linalg.eigh(M)[1][:, ::-1][:, :units]).T
        E = rng.standard_normal((units - len(W), len(H)))
        E /= np.linalg.norm(E, axis=1, keepdims=True)
        Ws.append(np.vstack([W, E]).astype(X.dtype))
        cs.append(np.zeros((units, 1), X.dtype))
        H = sigmoid(Ws[-1] @ H)
    return Ws, cs
