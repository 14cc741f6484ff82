# Generated from notebooks/05_losses.py by `course.py export 05`: edit the notebook.
"""Every term of the UH-BDNN and SH-BDNN objectives: value and gradient.

Samples stand in columns. Each function returns the term as the slides write it, without its weight
lambda, and the gradient in the shape of the variable. Values are summed in float64, so that they
are exact to about the precision of the input. The arguments are::

    X (D, m), B (L, m)  samples, and codes in {-1, +1}
    H (L, m)            outputs of the code layer
    W (D, L), c (D, 1)  decoder
    Ws                  weights (h_out, h_in) of all layers
    y                   labels (m,) of any type that sorts; or a 0/1 matrix (m, n_labels)
"""

from typing import NamedTuple

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike

__all__ = [
    "Groups", "balance", "equality", "independence", "label_groups", "pairwise_similarity",
    "reconstruction", "squared_norm", "weight_decay",
]  # fmt: skip


def squared_norm(A: Array) -> float:
    """||A||^2, the sum of the squared entries, accumulated in float64."""
    return float(np.sum(np.square(A), dtype=np.float64))


def reconstruction(X: Array, B: Array, W: Array, c: Array) -> tuple[float, tuple[Array, Array]]:
    """1/(2m) ||X - W B - c 1^T||^2, and (dW, dc): Eqs. (2), (3) of notebook 05."""
    m = X.shape[1]
    R = X - W @ B - c  # (D, m), what the decoder misses
    return squared_norm(R) / (2 * m), (-R @ B.T / m, -R.sum(axis=1, keepdims=True) / m)


def weight_decay(Ws: list[Array]) -> tuple[float, list[Array]]:
    """1/2 sum_l ||W_l||^2, and dWs, the weights themselves: Eqs. (4), (5) of notebook 05."""
    return sum(map(squared_norm, Ws)) / 2, Ws


def equality(H: Array, B: Array) -> tuple[float, Array]:
    """1/(2m) ||H - B||^2, and dH: Eqs. (6), (7) of notebook 05."""
    m = H.shape[1]
    E = H - B
    value = squared_norm(E) / (2 * m)
    E /= m
    return value, E


def independence(H: Array) -> tuple[float, Array]:
    """1/2 ||H H^T / m - I||^2, and dH: Eqs. (8), (9) of notebook 05."""
    L, m = H.shape
    G = H @ H.T / m - np.eye(L, dtype=H.dtype)  # (L, L)
    return squared_norm(G) / 2, (2 / m * G) @ H


def balance(H: Array) -> tuple[float, Array]:
    """1/(2m) ||H 1||^2, and dH: Eqs. (10), (11) of notebook 05.

    dH is the same in every column, which is kept once: a view that cannot be written to.
    """
    m = H.shape[1]
    h = H.sum(axis=1, keepdims=True)  # (L, 1)
    return squared_norm(h) / (2 * m), np.broadcast_to(h / m, H.shape)


class Groups(NamedTuple):
    """Samples by their labels, or by their sets of labels."""

    y: Array  # (m,), the label or the number of the set
    shared: Array | None  # T (C, C), 1 where two sets share a label; None is the identity


def label_groups(y: ArrayLike | Groups) -> Groups:
    """Labels as they are; of a 0/1 matrix the samples with the same set of labels as one group."""
    if isinstance(y, Groups):
        return y
    y = np.asarray(y)
    if y.ndim == 1:
        return Groups(y, None)
    packed = np.packbits(y == 1, axis=1)  # eight labels in a byte: fewer columns to sort by
    _, first, number = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    sets = (y[first] == 1).astype(np.float64)  # (C, n_labels)
    return Groups(number.ravel(), (sets @ sets.T > 0).astype(np.float64))


def pairwise_similarity(H: Array, y: ArrayLike | Groups) -> tuple[float, Array]:
    """1/(2m) ||H^T H / L - S||^2, and dH: Eqs. (14), (15) of notebook 05.

    S_ij is +1 where samples i and j share a label and -1 where they do not; y are labels, or what
    `label_groups` makes of them. S has m x m entries and is never formed: time O(m L^2), memory
    O(m L), whatever the number of classes. For C sets of several labels these are Eqs. (8), (9) of
    notebook 09, with O(L C^2) and O(C^2) more.
    """
    L, m = H.shape
    y, T = label_groups(y)
    y = np.unique(y, return_inverse=True)[1]  # numbers 0, 1, ... of the classes
    K = (H @ H.T).astype(np.float64)  # (L, L)
    sums = np.stack([np.bincount(y, weights=row) for row in H])  # (L, C), H Y^T: by class
    h = sums.sum(axis=1, keepdims=True)  # (L, 1), H 1
    alike = sums if T is None else sums @ T  # (L, C)
    agreement = 2 * np.sum(sums * alike) - squared_norm(h)  # <H^T H, S>
    value = (squared_norm(K) / L**2 - 2 / L * agreement + m**2) / (2 * m)  # Eq. (14)
    dH = (K / L).astype(H.dtype) @ H + (h - 2 * alike).astype(H.dtype)[:, y]  # Eq. (15)
    return float(value), 2 / (m * L) * dH
