# Generated from notebooks/07_dcc.py by `course.py export 07`: edit the notebook.
"""Discrete cyclic coordinate descent: codes by exact minimisation, one row of bits at a time.

Samples stand in columns: X is (D, m), B is (L, m). The step of BDNN that finds the codes B for a
given decoder W, c and given outputs H of the encoder (Do et al., 2016; slide "Optimization").
"""

import numpy as np

from bdnn.base import Array

__all__ = ["coordinate_descent"]


def _check_arguments(X, W, c, H, lambda2, B, cycles):
    """Raise a ValueError that names the first argument that does not fit the others."""
    if np.ndim(X) != 2 or np.ndim(W) != 2:
        raise ValueError(f"X and W must be matrices, got shapes {np.shape(X)}, {np.shape(W)}")
    (D, L), m = np.shape(W), np.shape(X)[1]
    expected = {"X": [(D, m)], "c": [(D, 1), (D,)], "H": [(L, m)], "B": [(L, m)]}
    for name, array in {"X": X, "c": c, "H": H, "B": B}.items():
        if np.shape(array) not in expected[name]:
            raise ValueError(f"{name} has shape {np.shape(array)}, expected {expected[name][0]}")
    if B.dtype.kind not in "if" or not ((B == 1) | (B == -1) | (B == 0)).all():
        raise ValueError("the entries of B must be -1 and +1, or 0 to start without codes")
    if not 0 <= lambda2 < np.inf:
        raise ValueError(f"lambda2={lambda2} must be finite and not negative")
    if cycles < 0:
        raise ValueError(f"cycles={cycles} must not be negative")


def coordinate_descent(
    X: Array, W: Array, c: Array, H: Array, lambda2: float, B: Array, cycles: int = 10
) -> Array:
    """Minimise ||X - W B - c 1^T||^2 + lambda2 ||H - B||^2 over the codes B.

    One row of bits after the other is set to its exact minimiser for the other rows, Eq. (6) of
    notebook 07. From codes in {-1, +1} the objective never rises, and the result cannot be
    improved by changing any one bit, provided that the cycles sufficed.

    Parameters
    ----------
    X : array (D, m)
        Samples.
    W : array (D, L)
        Decoder weights.
    c : array (D, 1) or (D,)
        Decoder biases.
    H : array (L, m)
        Outputs of the code layer.
    lambda2 : float
        Weight of the equality term, at least 0.
    B : array (L, m)
        Codes to start from, -1 and +1, in a signed dtype; not modified. All 0: start from
        nothing, as the paper's authors do; then the result may be worse than earlier codes.
    cycles : int
        The most passes over the L rows. A pass that changes nothing is the last: every further
        one would repeat it.

    Returns
    -------
    array (L, m)
        The codes, -1 and +1 (sgn(0) = +1), in the dtype of `B`; a copy of `B` for 0 cycles.

    Raises
    ------
    ValueError
        If shapes do not fit, if `B` holds anything else than -1, 0, +1, if an input is not
        finite, or if `lambda2` or `cycles` is negative.
    """
    B = np.asarray(B)
    _check_arguments(X, W, c, H, lambda2, B, cycles)
    Q = W.T @ X - W.T @ np.reshape(c, (-1, 1)) + lambda2 * H
    G = W.T @ W
    if not (np.isfinite(Q).all() and np.isfinite(G).all()):
        raise ValueError("X, W, c and H must be finite")
    np.fill_diagonal(G, 0)
    codes = B.astype(Q.dtype)
    for _ in range(cycles):
        before = codes.copy()
        for k in range(len(codes)):
            np.copysign(1, Q[k] - G[k] @ codes + 0.0, out=codes[k])  # + 0.0: -0.0 counts as +0.0
        if np.array_equal(codes, before):
            break
    return codes.astype(B.dtype)
