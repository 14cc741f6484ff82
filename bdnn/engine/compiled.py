"""Ranking by counting, compiled with numba, which the extra `fast` brings.

Distances are whole numbers up to the number of bits, so no sort is needed: how many items are
nearer, and how many at the same distance come before, is a matter of counting. Every sum is taken
in the order of the ranks, as notebooks 02 and 02b take it with NumPy, and so both give the same
bits. The names are those of the functions of `metrics` that these replace.
"""

import numpy as np
from numba import njit
from numba.extending import intrinsic

__all__ = ["nearest", "ranked_counts"]

_jit = njit(error_model="numpy", cache=True)  # the compiler works once on a machine


def ranked_counts(D: np.ndarray, R: np.ndarray, n: int) -> tuple[np.ndarray, ...]:
    """Counts and sums of a ranking by D (n_query, n_items), ties in database order.

    Items, and relevant items (where R), at each distance, T and S (n_query, largest distance + 1);
    number of relevant items among the first n; sums of the precisions at the relevant items, R
    times Eq. (3) of notebook 02 and R times Eq. (1) of notebook 02b. The last three are (n_query,).
    """
    return _counted(np.ascontiguousarray(D), np.ascontiguousarray(R), int(D.max()) + 1, n)


@_jit
def _counted(D, R, n_bins, n):
    """:func:`ranked_counts` of contiguous arrays whose distances are below n_bins."""
    n_query, n_items = D.shape
    T, S = np.zeros((n_query, n_bins), np.int64), np.zeros((n_query, n_bins), np.int64)
    hits, standard, trapezoid = np.zeros(n_query, np.int64), np.zeros(n_query), np.zeros(n_query)
    notes, ranks = np.empty(n_items, np.int64), np.empty(n_items, np.int64)
    for q in range(n_query):
        # A note is the distance, and how many came before at it. It is written for every item and
        # kept for a relevant one: a branch that nobody can predict would cost more.
        k = 0
        for i in range(n_items):
            d = D[q, i]
            T[q, d] += 1
            notes[k] = d << 32 | T[q, d]
            k += R[q, i]
        for note in notes[:k]:
            S[q, note >> 32] += 1
        nearer, place = np.zeros(n_bins, np.int64), np.zeros(n_bins, np.int64)
        for d in range(1, n_bins):
            nearer[d], place[d] = nearer[d - 1] + T[q, d - 1], place[d - 1] + S[q, d - 1]
        for note in notes[:k]:  # ranks in increasing order
            d = note >> 32
            ranks[place[d]] = nearer[d] + (note & 0xFFFFFFFF)
            place[d] += 1
        for j in range(k):
            r = ranks[j]
            before = 1.0 if r == 1 else j / (r - 1)
            hits[q] += r <= n
            standard[q] += (j + 1) / r
            trapezoid[q] += (before + (j + 1) / r) / 2
    return T, S, hits, standard, trapezoid


def nearest(A: np.ndarray, B: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of B to every row of A, and their distances; ties in database order.

    A (n_query, n_words) and B (n_items, n_words) are packed codes of one unsigned type; the result
    is (n_query, k), int64 and int16.
    """
    n_bits = 8 * A.shape[1] * A.itemsize
    return _nearest(np.ascontiguousarray(A), np.ascontiguousarray(B), k, n_bits + 1)


@intrinsic
def _popcount(context, word):
    """Number of set bits of a word, in its own type: one instruction of the processor."""
    return word(word), lambda context, builder, signature, words: builder.ctpop(words[0])


@_jit
def _nearest(A, B, k, n_bins):
    """:func:`nearest` of contiguous arrays whose distances are below n_bins."""
    (n_query, n_words), n_items = A.shape, len(B)
    items, distances = np.empty((n_query, k), np.int64), np.empty((n_query, k), np.int16)
    notes, at = np.empty(n_items, np.int64), np.empty(n_items, np.int64)  # items, their distances
    for q in range(n_query):
        count = np.zeros(n_bins, np.int64)  # of the noted items at each distance
        bound, nearer, n_notes = n_bins, 0, 0  # fewer than k noted items are nearer than the bound
        for i in range(n_items):
            d = 0
            for w in range(n_words):
                d += np.int64(_popcount(A[q, w] ^ B[i, w]))
            if d < bound:  # hardly ever, once k near items are known
                notes[n_notes], at[n_notes] = i, d
                n_notes += 1
                count[d] += 1
                nearer += 1
                while nearer >= k:
                    bound -= 1
                    nearer -= count[bound]
        place = np.zeros(n_bins, np.int64)
        for d in range(1, n_bins):
            place[d] = place[d - 1] + count[d - 1]
        for n in range(n_notes):
            d = at[n]
            if place[d] < k:
                items[q, place[d]], distances[q, place[d]] = notes[n], d
            place[d] += 1
    return items, distances
