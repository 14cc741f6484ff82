"""The ranking of many items by counting, compiled with numba, which the extra `fast` brings.

Distances are whole numbers up to the number of bits, so no sort is needed: how many items are
nearer, and how many at the same distance come before, is a matter of counting. Every sum is taken
in the order of the ranks, as notebook 02 takes it with NumPy, and so both give the same bits.
"""

from typing import Any

import numpy as np
from numba import njit

__all__ = ["ranked_counts"]

_jit = njit(nogil=True, error_model="numpy")


def ranked_counts(D: np.ndarray, R: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    """Counts and sums of a ranking; ties in database order.

    Parameters
    ----------
    D : array (n_query, n_items), whole numbers from 0
        Hamming distances.
    R : array (n_query, n_items), bool
        True where the item is relevant to the query.
    n : int
        Length of the list whose relevant items are counted.

    Returns
    -------
    T, S : arrays (n_query, largest distance + 1), int64
        Number of items and of relevant items at each distance.
    hits : array (n_query,), int64
        Number of relevant items among the first n.
    standard, trapezoid : arrays (n_query,)
        Sums of the precisions at the relevant items: R times Eq. (3) and Eq. (4) of notebook 02.
    """
    return _counted(np.ascontiguousarray(D), np.ascontiguousarray(R), int(D.max()) + 1, n)


@_jit
def _counted(D: Any, R: Any, n_bins: int, n: int) -> Any:
    """:func:`ranked_counts` of contiguous arrays whose distances are below n_bins."""
    n_query, n_items = D.shape
    T, S = np.zeros((n_query, n_bins), np.int64), np.zeros((n_query, n_bins), np.int64)
    hits, standard, trapezoid = np.empty(n_query, np.int64), np.empty(n_query), np.empty(n_query)
    notes, ranks = np.empty(n_items, np.int64), np.empty(n_items, np.int64)
    for q in range(n_query):
        k = _count(D[q], R[q], T[q], notes)
        _rank(notes[:k], T[q], S[q], ranks)
        hits[q], standard[q], trapezoid[q] = _sums(ranks[:k], n)
    return T, S, hits, standard, trapezoid


@_jit
def _count(distances: Any, relevant: Any, T: Any, notes: Any) -> int:
    """Count items per distance in T, note distance and count of the relevant ones; their number.

    A note is one number, the distance in its upper 32 bits. It is written for every item and kept
    for a relevant one: a branch that nobody can predict would cost more.
    """
    k = 0
    for i in range(len(distances)):
        d = distances[i]
        T[d] += 1
        notes[k] = d << 32 | T[d]
        k += relevant[i]
    return k


@_jit
def _rank(notes: Any, T: Any, S: Any, ranks: Any) -> None:
    """Count relevant items per distance in S, and put their ranks into increasing order."""
    for note in notes:
        S[note >> 32] += 1
    nearer, place = np.cumsum(T) - T, np.cumsum(S) - S
    for note in notes:
        d = note >> 32
        ranks[place[d]] = nearer[d] + (note & 0xFFFFFFFF)
        place[d] += 1


@_jit
def _sums(ranks: Any, n: int) -> Any:
    """Number of ranks up to n, and the sums of the precisions at the ranks in both forms."""
    hits, standard, trapezoid = 0, 0.0, 0.0
    for j in range(len(ranks)):
        r = ranks[j]
        precision = (j + 1) / r
        before = 1.0 if r == 1 else j / (r - 1)
        hits += r <= n
        standard += precision
        trapezoid += (before + precision) / 2
    return hits, standard, trapezoid
