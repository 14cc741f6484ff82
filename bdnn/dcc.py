# Generated from notebooks/07_dcc.py by `course.py export 07`: edit the notebook.
"""Discrete cyclic coordinate descent: codes by exact minimisation, one row of bits at a time.

The step of BDNN that finds the codes B for a given decoder W, c and given outputs H of the encoder
(Do et al., 2016; slide "Optimization"). Samples stand in columns: X is (D, m), B is (L, m).
"""

import numpy as np
from numpy import ndarray as Array

from bdnn.metrics import sgn

__all__ = ["coordinate_descent"]


def coordinate_descent(
    X: Array, W: Array, c: Array, H: Array, lambda2: float, B: Array, cycles: int = 10
) -> Array:
    """Minimise ||X - W B - c 1^T||^2 + lambda2 ||H - B||^2 over the codes B.

    One row of bits after the other is set to its exact minimiser for the other rows, Eq. (6) of
    notebook 07. From codes in {-1, +1} the objective never rises, and the result cannot be
    improved by changing any one bit, provided that the cycles sufficed.

    Parameters
    ----------
    X, W, c, H, lambda2 : arrays (D, m), (D, L), (D, 1), (L, m), float
        Samples, decoder, outputs of the code layer, weight of the equality term.
    B : array (L, m)
        Codes to start from, -1 and +1; not modified. All 0: start from nothing, as the paper's
        authors do; then the result may be worse than earlier codes.
    cycles : int
        The most passes over the L rows. A pass that changes nothing is the last: every further
        one would repeat it.

    Returns
    -------
    B : array (L, m), in the dtype of the start
    """
    Q = W.T @ X - W.T @ c + lambda2 * H  # (L, m), Eq. (3)
    G = W.T @ W  # (L, L)
    np.fill_diagonal(G, 0)  # a bit does not see itself
    codes = B.astype(Q.dtype)
    for _ in range(cycles):
        before = codes.copy()
        for k in range(len(codes)):
            codes[k] = sgn(Q[k] - G[k] @ codes)  # Eq. (6)
        if np.array_equal(codes, before):
            break
    return codes.astype(B.dtype)
