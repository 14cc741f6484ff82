# Generated from notebooks/02_metrics.py by `course.py export 02`: edit the notebook.
"""Hamming distances, and the measures of a ranking and of a set of codes.

Codes stand in rows here, one sample per row: this is the form in which estimators return them.
Distances are counted on packed bits, block by block, so that memory stays bounded however many
queries and items there are.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike

from bdnn.checks import check_option, check_whole_number

__all__ = [
    "average_precision",
    "balance",
    "evaluate",
    "hamming_distances",
    "independence",
    "items_within",
    "mean_average_precision",
    "pack_codes",
    "precision_at",
    "precision_at_radius",
    "radius_curve",
    "sgn",
    "unpack_codes",
]


def sgn(Z: Array) -> Array:
    """Sign in {-1, +1}, with sgn(0) = +1 so that every code is legal; in the dtype of Z."""
    return np.where(Z >= 0, 1, -1).astype(Z.dtype)


def pack_codes(codes: ArrayLike) -> np.ndarray:
    """Pack codes in {-1, +1} into bytes, little-endian, as faiss's binary indexes take them.

    Parameters
    ----------
    codes : array (n_samples, n_bits)
        Entries -1 and +1, or booleans; +1 and True become set bits.

    Returns
    -------
    array (n_samples, ceil(n_bits / 8)), uint8
        Bit k of a sample is bit ``k % 8`` of its byte ``k // 8``; unused bits of the last byte
        are 0.

    Raises
    ------
    ValueError
        If `codes` is no matrix, or holds something else.
    """
    codes = np.asarray(codes)
    numbers = codes.dtype.kind in "iuf"
    if codes.ndim != 2 or not (codes.dtype == bool or numbers and np.all(np.abs(codes) == 1)):
        raise ValueError("codes must be a matrix (n_samples, n_bits) with entries -1 and +1")
    bits = np.ascontiguousarray(codes > 0)  # packbits is slow where a sample's bits lie apart
    return np.packbits(bits, axis=1, bitorder="little")


def unpack_codes(packed: ArrayLike, n_bits: int) -> np.ndarray:
    """Undo :func:`pack_codes`: bytes to int8 codes (n_samples, n_bits) in {-1, +1}."""
    packed = np.asarray(packed)
    if packed.ndim != 2 or packed.dtype != np.uint8:
        raise ValueError(f"packed must be a matrix of uint8, got {packed.dtype} {packed.shape}")
    if not 0 < n_bits <= 8 * packed.shape[1]:
        raise ValueError(f"n_bits={n_bits} does not fit {packed.shape[1]} bytes per code")
    bits = np.unpackbits(packed, axis=1, count=n_bits, bitorder="little")
    return 2 * bits.astype(np.int8) - 1


_MOST_BITS = np.iinfo(np.int16).max


def _only_signs(codes):
    """True for a matrix of codes that holds nothing but -1 and +1, or booleans."""
    blocks = (codes[rows] for rows in _row_blocks(*codes.shape))
    return codes.dtype == bool or all(np.all(np.abs(block) == 1) for block in blocks)


def _packed(codes, name):
    """Codes as packed bytes: uint8 is taken as packed already, -1/+1 and booleans get packed."""
    codes = np.asarray(codes)
    if codes.ndim != 2 or 0 in codes.shape:
        raise ValueError(f"{name} must be a matrix (n_samples, n_bits), got shape {codes.shape}")
    if codes.dtype == np.uint8:
        return codes
    if not _only_signs(codes):
        raise ValueError(f"{name} must hold only -1 and +1 (or booleans, or packed uint8)")
    return np.concatenate([pack_codes(codes[rows]) for rows in _row_blocks(*codes.shape)])


def _words(packed):
    """Packed bytes as the fewest machine words that hold them, filled up with zero bytes."""
    n_samples, n_bytes = packed.shape
    width = min(8, 1 << (n_bytes - 1).bit_length())
    filled = np.zeros((n_samples, -(-n_bytes // width) * width), dtype=np.uint8)
    filled[:, :n_bytes] = packed
    return filled.view(f"u{width}")


def _paired_words(A, B, names):
    """Words of two sets of codes, after a check that their lengths and forms agree."""
    A, B = np.asarray(A), np.asarray(B)
    packed_A, packed_B = _packed(A, names[0]), _packed(B, names[1])
    if A.shape[1] != B.shape[1] or (A.dtype == np.uint8) != (B.dtype == np.uint8):
        raise ValueError(
            f"{names[0]} ({A.shape[1]} columns of {A.dtype}) and {names[1]} ({B.shape[1]} columns "
            f"of {B.dtype}) do not hold codes of the same length and form"
        )
    n_bits = A.shape[1] * (8 if A.dtype == np.uint8 else 1)
    if n_bits > _MOST_BITS:
        raise ValueError(f"codes of {n_bits:,} bits are too long: distances are int16")
    return _words(packed_A), _words(packed_B)


_BLOCK_ENTRIES = 2**20  # query-item pairs held in memory at a time


def _row_blocks(n_rows, n_columns, entries=None):
    """Slices of rows such that a block of n_columns columns has about so many entries."""
    step = max(1, (entries or _BLOCK_ENTRIES) // n_columns)
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def _word_distances(A, B):
    """Distances between rows of words: count the set bits of the exclusive or, Eq. (1)."""
    D = np.bitwise_count(A[:, :1] ^ B[:, 0])
    if A.shape[1] * A.itemsize > 31:  # 256 bits and more do not fit a byte
        D = D.astype(np.int16)
    for k in range(1, A.shape[1]):
        D += np.bitwise_count(A[:, k : k + 1] ^ B[:, k])
    return D


def hamming_distances(A: Array, B: Array) -> Array:
    """Hamming distances between all rows of A and all rows of B.

    Parameters
    ----------
    A, B : array (n_a, n_bits) and array (n_b, n_bits)
        Codes in {-1, +1} of any numeric type, or booleans; or both packed, as
        :func:`pack_codes` returns them: (n, ceil(n_bits / 8)), uint8.

    Returns
    -------
    array (n_a, n_b), int16
        Number of bits that differ, Eqs. (1) and (2) of notebook 02.

    Raises
    ------
    ValueError
        If a matrix is empty or holds something else than codes, or if lengths or forms differ.
    """
    A, B = _paired_words(A, B, ("A", "B"))
    D = np.empty((len(A), len(B)), dtype=np.int16)
    for rows in _row_blocks(len(A), len(B)):
        D[rows] = _word_distances(A[rows], B)
    return D


def _relevance(relevant, n_query, n_database):
    """A function from a slice of queries to its block of the boolean relevance matrix."""
    if hasattr(relevant, "to_numpy"):  # a table of pandas, whose rows are the queries
        relevant = relevant.to_numpy()
    if not isinstance(relevant, (np.ndarray, Sequence)):
        raise ValueError(
            f"relevant must be a matrix, a list or a pair, got {type(relevant).__name__}"
        )
    if isinstance(relevant, np.ndarray) and relevant.dtype == bool:
        if relevant.shape != (n_query, n_database):
            raise ValueError(
                f"relevant has shape {relevant.shape}, but there are {n_query} queries and "
                f"{n_database} items"
            )
        return lambda rows: relevant[rows]
    if len(relevant) == 2 and (isinstance(relevant, tuple) or n_query != 2):
        return _relevance_from_labels(*relevant, n_query, n_database)
    if len(relevant) != n_query:
        raise ValueError(
            f"relevant names items for {len(relevant)} queries, but there are {n_query}; give a "
            "boolean matrix, one array of indices per query, or (labels_query, labels_database)"
        )
    return lambda rows: _rows_from_indices(relevant[rows], n_database)


def _relevance_from_labels(labels_query, labels_database, n_query, n_database):
    """Relevant is what has the query's label."""
    labels_query, labels_database = np.asarray(labels_query), np.asarray(labels_database)
    if labels_query.shape != (n_query,) or labels_database.shape != (n_database,):
        raise ValueError(
            f"relevant holds labels of shapes {labels_query.shape} and {labels_database.shape}, "
            f"but there are {n_query} queries and {n_database} items"
        )
    kinds = {labels.dtype.kind for labels in (labels_query, labels_database)}
    if kinds & {*"US"} and kinds & {*"biuf"}:
        raise ValueError(
            f"relevant holds labels of {labels_query.dtype} and {labels_database.dtype}: strings "
            "and numbers are never equal"
        )
    both = np.concatenate([labels_query, labels_database])
    if any(label is None or label != label for label in both.tolist()):
        raise ValueError("relevant holds labels that are missing (NaN or None)")
    numbers = np.unique(both, return_inverse=True)[1].astype(np.int32)
    return lambda rows: numbers[:n_query][rows, None] == numbers[n_query:]


def _rows_from_indices(indices, n_database):
    """Boolean rows that are True at the given indices, one array of indices per row."""
    block = np.zeros((len(indices), n_database), dtype=bool)
    for row, index in zip(block, indices):
        index = np.asarray(index)
        if index.size == 0:
            continue
        if index.dtype.kind not in "iu" or index.min() < 0 or index.max() >= n_database:
            raise ValueError(f"relevant must hold whole numbers from 0 to {n_database - 1}")
        row[index] = True
        if np.count_nonzero(row) != index.size:
            raise ValueError("relevant names an item twice for the same query")
    return block


def _scan(fun, codes_query, codes_database, relevant):
    """Results of ``fun(distances, relevance)`` of one block of queries after the other."""
    A, B = _paired_words(codes_query, codes_database, ("codes_query", "codes_database"))
    relevance = _relevance(relevant, len(A), len(B))

    def of_block(rows):
        return fun(_word_distances(A[rows], B), relevance(rows))

    return list(map(of_block, _row_blocks(len(A), len(B))))


def _relevant_ranks(D, R):
    """Query number, rank r and count j of every relevant item; ties in database order."""
    n_query, n_items = D.shape
    order = np.argsort(D, axis=1, kind="stable")
    order += n_items * np.arange(n_query)[:, None]  # places in R.ravel(), which is quick to index
    query, position = np.divmod(np.flatnonzero(R.ravel().take(order)), n_items)
    first = np.searchsorted(query, np.arange(n_query))  # where each query's ranks begin
    return query, position + 1, np.arange(1, len(query) + 1) - first[query]


def _stable_sum(query, r, j, n_query, form):
    """Sum of the precisions at the relevant items of each query: R times Eq. (3) or Eq. (4)."""
    precision = j / r
    if form == "trapezoid":
        before = np.where(r == 1, 1.0, (j - 1) / np.maximum(r - 1, 1))
        precision = (before + precision) / 2
    return np.bincount(query, weights=precision, minlength=n_query)


def _tie_counts(D, R):
    """Number of items T and of relevant items S of each query at each distance."""
    n_bins = int(D.max()) + 1
    T = [np.bincount(distances, minlength=n_bins) for distances in D]
    S = [np.bincount(distances[hits], minlength=n_bins) for distances, hits in zip(D, R)]
    return np.stack(T), np.stack(S)


@functools.lru_cache(maxsize=1)
def _harmonic_numbers(n):
    """The harmonic numbers H_0 to H_n, which all blocks of a database share."""
    return np.concatenate([[0.0], np.cumsum(1 / np.arange(1, n + 1))])


def _expected_sum(T, S, form):
    """Expectation of :func:`_stable_sum` over random orders of the tied items, Eqs. (7), (8)."""
    N, K = np.cumsum(T, axis=1) - T, np.cumsum(S, axis=1) - S  # items, relevant items nearer
    harmonic = _harmonic_numbers(int(T[0].sum()))
    a = (S - 1) / np.maximum(T - 1, 1)
    h = harmonic[N + T] - harmonic[N]
    total = (K + 1) * h + a * (T - (N + 1) * h)
    if form == "trapezoid":
        h = harmonic[np.maximum(N + T - 1, 0)] - harmonic[np.maximum(N - 1, 0)]
        before = np.where(N == 0, S, K * h + a * (T - N * h))
        total = (before + total) / 2
    return np.sum(np.where(S > 0, S / np.maximum(T, 1) * total, 0.0), axis=1)


def average_precision(D: Array, R: Array, form: str = "standard", ties: str = "stable") -> Array:
    """Average precision (AP) of each query over the ranking of the whole database.

    Parameters
    ----------
    D : array (n_query, n_database), whole numbers
        Distances; the ranking is by increasing distance.
    R : array (n_query, n_database), bool
        True where the item is relevant to the query.
    form : {"standard", "trapezoid"}
        Mean precision at the relevant ranks, Eq. (3) of notebook 02, or the trapezoid rule of the
        Oxford Buildings evaluation, Eq. (4), which the published mAP curves of BDNN use.
    ties : {"stable", "expected"}
        Items at the same distance in database order, or the expectation over all their orders,
        Eqs. (7) and (8).

    Returns
    -------
    array (n_query,)
        AP in [0, 1]; a query without any relevant item counts 0.

    Raises
    ------
    ValueError
        For an unknown option, shapes that differ, or distances that are not whole numbers.
    """
    check_option("form", form, ("standard", "trapezoid"))
    check_option("ties", ties, ("stable", "expected"))
    D, R = np.asarray(D), np.asarray(R)
    if D.shape != R.shape or D.ndim != 2 or 0 in D.shape or R.dtype != bool:
        raise ValueError(
            f"D {D.shape} and R {R.shape} must be matrices (n_query, n_database) of one shape, "
            f"R boolean, not {R.dtype}"
        )
    if D.dtype.kind not in "iu" or D.min() < 0:
        raise ValueError("D must hold whole numbers from 0 on: Hamming distances")
    if ties == "stable":
        query, r, j = _relevant_ranks(D, R)
        total = _stable_sum(query, r, j, len(D), form)
    else:
        T, S = _tie_counts(D, R)
        total = _expected_sum(T, S, form)
    return total / np.maximum(R.sum(axis=1), 1)


def mean_average_precision(
    codes_query: Array,
    codes_database: Array,
    relevant: Any,
    form: str = "standard",
    ties: str = "stable",
) -> float:
    """Mean over all queries of the average precision (mAP).

    Parameters
    ----------
    codes_query, codes_database : array (n_query, n_bits) and array (n_database, n_bits)
        Codes as for :func:`hamming_distances`.
    relevant : boolean array, sequence of index arrays, or pair of label vectors
        What is relevant to each query: a matrix (n_query, n_database); or per query the indices
        of its relevant items, whose number may differ; or ``(labels_query, labels_database)``,
        where relevant means the same label.
    form, ties : str
        See :func:`average_precision`.

    Returns
    -------
    float
        mAP in [0, 1]; queries without any relevant item count 0.

    Raises
    ------
    ValueError
        For codes or relevance that do not fit each other, or an unknown option.
    """
    check_option("form", form, ("standard", "trapezoid"))
    check_option("ties", ties, ("stable", "expected"))
    of_block = functools.partial(average_precision, form=form, ties=ties)
    return float(np.mean(np.concatenate(_scan(of_block, codes_query, codes_database, relevant))))


def _ball_precision(size, hits):
    """Share of relevant items in each ball; NaN where it is empty."""
    return np.where(size > 0, hits / np.maximum(size, 1), np.nan)


def precision_at_radius(
    codes_query: Array, codes_database: Array, relevant: Any, radius: int = 2, empty: float = 0.0
) -> float:
    """Mean over all queries of the precision within a Hamming ball, Eq. (9) of notebook 02.

    Parameters
    ----------
    codes_query, codes_database, relevant
        As for :func:`mean_average_precision`.
    radius : int
        Items at most this far from the query are in its ball.
    empty : float
        What a query counts whose ball is empty: 0 as in the published tables; NaN leaves such
        queries out of the mean.

    Returns
    -------
    float
        Precision in [0, 1]; NaN if every query is left out.

    Raises
    ------
    ValueError
        For codes or relevance that do not fit each other, or a radius that is no whole number
        from 0 on.
    """
    check_whole_number("radius", radius, 0)

    def of_block(D, R):
        ball = D <= radius
        return _ball_precision(ball.sum(axis=1), (ball & R).sum(axis=1))

    precision = np.concatenate(_scan(of_block, codes_query, codes_database, relevant))
    return _mean_with_empty(precision, empty)


def _mean_with_empty(precision, empty):
    """Mean precision where NaN, an empty ball, counts ``empty``; NaN there leaves it out."""
    if np.isnan(empty):
        precision = precision[~np.isnan(precision)]
    else:
        precision = np.nan_to_num(precision, nan=empty)
    return float(precision.mean()) if len(precision) else float("nan")


_CACHED_ENTRIES = 2**16  # query-item pairs whose distances stay in the cache


def items_within(A: Array, B: Array, radius: int = 2) -> list[Array]:
    """The items of a Hamming ball around every query: what a lookup by hash code finds.

    Parameters
    ----------
    A, B : array (n_query, n_bits) and array (n_items, n_bits)
        Codes of the queries and of the items, in a form that :func:`hamming_distances` takes.
    radius : int
        Items at most this far from the query are in its ball.

    Returns
    -------
    list of arrays, int64
        For each query the rows of B that are in its ball, in increasing order.

    Raises
    ------
    ValueError
        For codes that do not fit each other, or a radius that is no whole number from 0 on.
    """
    check_whole_number("radius", radius, 0)
    A, B = _paired_words(A, B, ("A", "B"))
    found: list[Array] = []
    for rows in _row_blocks(len(A), len(B), _CACHED_ENTRIES):
        found += map(np.flatnonzero, _word_distances(A[rows], B) <= radius)
    return found


def _stable_hits(query, r, n_query, n):
    """Number of relevant items among the first n of each query; ties in database order."""
    return np.bincount(query[r <= n], minlength=n_query)


def _expected_hits(T, S, n):
    """Expectation of :func:`_stable_hits` over random orders of the tied items, Eq. (11)."""
    N = np.cumsum(T, axis=1) - T
    return np.sum(np.clip(n - N, 0, T) * S / np.maximum(T, 1), axis=1)


def precision_at(
    codes_query: Array, codes_database: Array, relevant: Any, n: int = 500, ties: str = "stable"
) -> float:
    """Mean over all queries of the precision among the first n items, Eq. (10) of notebook 02.

    Parameters
    ----------
    codes_query, codes_database, relevant
        As for :func:`mean_average_precision`.
    n : int
        Length of the list that is looked at; if the database is shorter, it is all of it.
    ties : {"stable", "expected"}
        Items at the same distance in database order, or the expectation over all their orders,
        Eq. (11).

    Returns
    -------
    float
        Precision in [0, 1].

    Raises
    ------
    ValueError
        For codes or relevance that do not fit each other, an unknown option, or n below 1.
    """
    check_option("ties", ties, ("stable", "expected"))
    check_whole_number("n", n, 1)
    n = min(n, len(codes_database))

    def of_block(D, R):
        if ties == "expected":
            return _expected_hits(*_tie_counts(D, R), n)
        query, r, _ = _relevant_ranks(D, R)
        return _stable_hits(query, r, len(D), n)

    hits = np.concatenate(_scan(of_block, codes_query, codes_database, relevant))
    return float(hits.mean() / n)


def _signs(codes):
    """Codes (n_samples, n_bits), after a check that they are not packed."""
    codes = np.asarray(codes)
    if codes.ndim != 2 or 0 in codes.shape or not _only_signs(codes):
        raise ValueError("codes must be a matrix (n_samples, n_bits) of -1 and +1, or of booleans")
    return codes


def _mean(fun, codes):
    """``fun(B)``, a sum over the samples of codes of -1.0 and +1.0, by their number; in blocks."""
    codes = _signs(codes)
    blocks = (codes[rows] for rows in _row_blocks(*codes.shape))
    return sum(fun(np.where(block > 0, 1.0, -1.0)) for block in blocks) / len(codes)


def balance(codes: Array) -> float:
    """How far bits are from dividing the samples into halves: 0 is best, 1 worst.

    Parameters
    ----------
    codes : array (n_samples, n_bits)
        Codes in {-1, +1}, or booleans.

    Returns
    -------
    float
        Mean over the bits of the absolute mean of the bit, Eq. (12) of notebook 02.

    Raises
    ------
    ValueError
        If the matrix is empty or holds something else than codes.
    """
    return float(np.mean(np.abs(_mean(lambda B: B.sum(axis=0), codes))))


def independence(codes: Array) -> float:
    """How much bits repeat each other: 0 is best, 1 worst.

    Parameters
    ----------
    codes : array (n_samples, n_bits)
        Codes in {-1, +1}, or booleans.

    Returns
    -------
    float
        Mean absolute entry of (1/m) B B^T off its diagonal, Eq. (13) of notebook 02; 0 for one
        bit. It is the measure behind the independence term of BDNN: entries of a covariance
        around 0, so a bit that hardly ever changes counts as dependent, too.

    Raises
    ------
    ValueError
        If the matrix is empty or holds something else than codes.
    """
    products = _mean(lambda B: B.T @ B, codes)
    L = len(products)
    if L == 1:
        return 0.0
    off_diagonal = np.abs(products) - np.eye(L)
    return float(off_diagonal.sum() / (L * (L - 1)))


def _ball_curves(T, S, L):
    """Precision and recall of the balls of radius 0 to L, each (n_query, L + 1); empty balls: 0."""
    radii = np.minimum(np.arange(L + 1), T.shape[1] - 1)  # the largest distance's ball holds all
    size, hits = (np.cumsum(counts, axis=1)[:, radii] for counts in (T, S))
    return hits / np.maximum(size, 1), hits / np.maximum(hits[:, -1:], 1)


def radius_curve(codes_query: Array, codes_database: Array, relevant: Any) -> tuple[Array, Array]:
    """Precision and recall within Hamming balls of every radius, Eqs. (9) and (14) of notebook 02.

    Parameters
    ----------
    codes_query, codes_database : array (n_query, n_bits) and array (n_database, n_bits)
        Codes in {-1, +1}, or booleans; not packed, since the number of bits is the last radius.
    relevant
        As for :func:`mean_average_precision`.

    Returns
    -------
    precision, recall : arrays (n_bits + 1,)
        Means over the queries for the radii 0 to n_bits. An empty ball has precision 0, a query
        without any relevant item precision and recall 0.

    Raises
    ------
    ValueError
        For codes or relevance that do not fit each other, or packed codes.
    """
    L = _signs(codes_database).shape[1]

    def of_block(D, R):
        return np.sum(_ball_curves(*_tie_counts(D, R), L), axis=1)

    sums = _scan(of_block, codes_query, codes_database, relevant)
    return np.sum(sums, axis=0) / len(codes_query)


def _ranked_counts(D, R, n):
    """T and S of each query, relevant items among the first n, sums of Eq. (3) and of Eq. (4)."""
    ranks = _relevant_ranks(D, R)
    sums = (_stable_sum(*ranks, len(D), form) for form in ("standard", "trapezoid"))
    return *_tie_counts(D, R), _stable_hits(*ranks[:2], len(D), n), *sums


_WORTH_COMPILING = 2 * 10**8  # query-item pairs: fewer are counted before the compiler is ready


def _fastest_count(n_pairs):
    """The faster way to the results of :func:`_ranked_counts`."""
    if n_pairs < _WORTH_COMPILING:
        return _ranked_counts
    try:
        from bdnn.engine.compiled import ranked_counts
    except ImportError:  # numba is not installed, or not for this NumPy
        return _ranked_counts
    return ranked_counts


def evaluate(
    codes_query: Array, codes_database: Array, relevant: Any, radius: int = 2, curves: bool = False
) -> dict[str, Any]:
    """All measures of the course in one pass over the distances.

    With many pairs and numba installed the ranking is compiled: the results are the same bits.

    Parameters
    ----------
    codes_query, codes_database, relevant
        As for :func:`mean_average_precision`; codes not packed, since balance and independence
        need to know the number of bits.
    radius : int
        Radius of the Hamming ball; it is part of the name of the first measure.
    curves : bool
        Add the curves of :func:`radius_curve`.

    Returns
    -------
    dict
        ``precision_at_2`` (an empty ball counts 0), ``precision_at_500`` (ties in database order;
        of a database with fewer than 500 items, over all of them), ``map_standard`` and
        ``map_trapezoid`` (ties in database order), ``map_expected`` (standard form, expectation
        over ties),
        ``empty_share`` (queries with an empty ball), ``balance`` and ``independence`` of the
        database codes. All are fractions from 0 to 1. With ``curves`` also the arrays
        ``precision_by_radius`` and ``recall_by_radius``.

    Raises
    ------
    ValueError
        For codes or relevance that do not fit each other.
    """
    measures = {"balance": balance(codes_database), "independence": independence(codes_database)}
    check_whole_number("radius", radius, 0)
    n, L = min(500, len(codes_database)), np.shape(codes_database)[1]
    count = _fastest_count(np.size(codes_query) // L * len(codes_database))

    def of_block(D, R):
        T, S, hits, *sums = count(D, R, n)
        inside = np.arange(T.shape[1]) <= radius
        precision = _ball_precision(T[:, inside].sum(axis=1), S[:, inside].sum(axis=1))
        sums = np.array([*sums, _expected_sum(T, S, "standard")]) / np.maximum(S.sum(axis=1), 1)
        return np.vstack([precision, hits / n, sums]), np.sum(_ball_curves(T, S, L), axis=1)

    rows, sums_by_radius = zip(*_scan(of_block, codes_query, codes_database, relevant))
    precision, first, standard, trapezoid, expected = np.concatenate(rows, axis=1)
    if curves:
        by_radius = np.sum(sums_by_radius, axis=0) / len(codes_query)
        measures |= {"precision_by_radius": by_radius[0], "recall_by_radius": by_radius[1]}
    return {
        f"precision_at_{radius}": _mean_with_empty(precision, empty=0.0),
        "precision_at_500": float(first.mean()),
        "map_standard": float(standard.mean()),
        "map_trapezoid": float(trapezoid.mean()),
        "map_expected": float(expected.mean()),
        "empty_share": float(np.isnan(precision).mean()),
        **measures,
    }
