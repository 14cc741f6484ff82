# Generated from notebooks/05_losses.py by `course.py export 05`: edit the notebook.
"""Every term of the UH-BDNN and SH-BDNN objectives: value and gradient.

Samples stand in columns: `X` (D, m), `H` and `B` (L, m). Each function returns the term as the
slides write it, without its weight lambda, and the gradient in the shape of the variable. Sums are
taken in float64, so that values are exact to about the precision of the input also in float32.
"""

import numpy as np
from numpy.typing import ArrayLike

from bdnn.base import Array, Layers, check_matrix, class_numbers

__all__ = [
    "balance",
    "equality",
    "independence",
    "pairwise_similarity",
    "reconstruction",
    "weight_decay",
]


def _squared_norm(A):
    """Sum of the squared entries, accumulated in float64."""
    return float(np.square(A).sum(dtype=np.float64))


def reconstruction(
    X: Array, B: Array, W: Array, c: Array, block: int = 256
) -> tuple[float, tuple[Array, Array]]:
    """Reconstruction of the samples from their codes: Eqs. (2), (3) of notebook 05.

    Value: 1/(2m) ||X - W B - c 1^T||^2. The residual is made for `block` samples at a time, so
    that no second array of the size of `X` is needed.

    Parameters
    ----------
    X : array (D, m)
        Samples.
    B : array (L, m)
        Codes.
    W : array (D, L)
        Decoder weights.
    c : array (D, 1) or (D,)
        Decoder biases.
    block : int
        Samples per block; changes memory and time, not the result.

    Returns
    -------
    value : float
    (dW, dc) : pair of arrays
        Gradients in the shapes of `W` and `c`.
    """
    X, W, B, c = check_matrix("X", X), check_matrix("W", W), np.asarray(B), np.asarray(c)
    (D, m), L = X.shape, W.shape[1]
    if B.shape != (L, m) or len(W) != D or c.shape not in ((D, 1), (D,)):
        raise ValueError(
            f"X {X.shape}, B {B.shape}, W {W.shape} and c {c.shape} do not fit: they must be "
            "(D, m), (L, m), (D, L) and (D, 1) or (D,)"
        )
    value, dW, dc = 0.0, np.zeros_like(W), np.zeros((D, 1), W.dtype)
    for start in range(0, m, block):
        Bk = B[:, start : start + block].astype(W.dtype, copy=False)
        R = X[:, start : start + block] - W @ Bk
        R -= c.reshape(D, 1)
        dW -= R @ Bk.T
        dc -= R.sum(axis=1, keepdims=True)
        value += _squared_norm(R)
    dW /= m
    dc /= m
    return value / (2 * m), (dW, dc.reshape(c.shape))


def weight_decay(Ws: Layers) -> tuple[float, Layers]:
    """Squared length of all weights: Eqs. (4), (5) of notebook 05. Biases do not count.

    Parameters
    ----------
    Ws : list of arrays
        Weight matrices of all layers.

    Returns
    -------
    value : float
        1/2 sum_l ||W_l||^2.
    dWs : list of arrays
        The gradients, which are copies of the weights.
    """
    return sum(_squared_norm(W) for W in Ws) / 2, [W.copy() for W in Ws]


def equality(H: Array, B: Array) -> tuple[float, Array]:
    """Distance between the outputs of the code layer and the codes: Eqs. (6), (7) of notebook 05.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.
    B : array (L, m)
        Codes.

    Returns
    -------
    value : float
        1/(2m) ||H - B||^2.
    dH : array (L, m)
    """
    H, B = check_matrix("H", H), np.asarray(B)
    if H.shape != B.shape:
        raise ValueError(f"H {H.shape} and B {B.shape} must have the same shape")
    m = H.shape[1]
    E = (H - B).astype(H.dtype, copy=False)
    value = _squared_norm(E) / (2 * m)
    E /= m
    return value, E


def independence(H: Array) -> tuple[float, Array]:
    """Distance of the bits' second moments from the identity: Eqs. (8), (9) of notebook 05.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.

    Returns
    -------
    value : float
        1/2 ||H H^T / m - I||^2.
    dH : array (L, m)
    """
    H = check_matrix("H", H)
    L, m = H.shape
    G = H @ H.T / m
    G.flat[:: L + 1] -= 1
    return _squared_norm(G) / 2, (2 / m * G) @ H


def balance(H: Array) -> tuple[float, Array]:
    """Squared sum of each bit over all samples: Eqs. (10), (11) of notebook 05.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.

    Returns
    -------
    value : float
        1/(2m) ||H 1||^2.
    dH : array (L, m)
        The same in every column.
    """
    H = check_matrix("H", H)
    m = H.shape[1]
    h = H.sum(axis=1, keepdims=True, dtype=np.float64)
    return _squared_norm(h) / (2 * m), np.repeat((h / m).astype(H.dtype), m, axis=1)


def pairwise_similarity(H: Array, y: ArrayLike) -> tuple[float, Array]:
    """Distance between H^T H / L and the pairwise label matrix S: Eqs. (14), (15) of notebook 05.

    S_ij is +1 where the labels of samples i and j agree and -1 where they differ. S has m x m
    entries and is never formed: time O(m L^2), memory O(m L), whatever the number of classes.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.
    y : array-like (m,)
        Labels of any type that sorts: whole numbers, strings, booleans.

    Returns
    -------
    value : float
        1/(2m) ||H^T H / L - S||^2.
    dH : array (L, m)
    """
    H = check_matrix("H", H)
    L, m = H.shape
    y = class_numbers(y, m)
    K = (H @ H.T).astype(np.float64)
    sums = np.stack([np.bincount(y, weights=row) for row in H])
    h = sums.sum(axis=1, keepdims=True)
    square = _squared_norm(K) / L**2 - 2 / L * (2 * _squared_norm(sums) - _squared_norm(h)) + m**2
    dH = (K / L).astype(H.dtype) @ H
    dH += (h - 2 * sums).astype(H.dtype)[:, y]
    dH *= 2 / (m * L)
    return square / (2 * m), dH
