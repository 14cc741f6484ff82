# Generated from notebooks/02_metrics.py by `course.py export 02`: edit the notebook.
"""Hamming distances, and the measures of a ranking and of a set of codes.

Codes stand in rows here, one sample per row: this is the form in which estimators return them.
Arguments are checked once, at the face of each measure; what does not fit is a ValueError that
names the argument. Distances are counted on packed bits, block by block, so that memory stays
bounded however many queries and items there are. The functions up to `independence` are those of
notebook 02, the others are those of notebook 02b. The measures take::

    codes_query, codes_database  codes (n_query, n_bits), (n_database, n_bits) in {-1, +1} of any
                                 number type or booleans; or both packed, by `pack_codes`
    relevant                     a 0/1 matrix (n_query, n_database) of any number type; or per query
                                 the indices of its relevant items, whose number may differ; or
                                 (labels_query, labels_database), relevant meaning the same label,
                                 or, of 0/1 matrices with a column for each label, one in common
    ties                         "stable", items at the same distance in database order, or
                                 "expected", the expectation over all their orders
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike

from bdnn import checks

__all__ = [
    "average_precision", "balance", "evaluate", "hamming_distances", "independence",
    "items_within", "mean_average_precision", "nearest", "pack_codes", "precision_at",
    "precision_at_radius", "recall_at", "sgn", "unpack_codes",
]  # fmt: skip


def sgn(Z: Array) -> Array:
    """Sign in {-1, +1}, with sgn(0) = +1 so that every code is legal; in the dtype of Z."""
    return np.where(Z >= 0, 1, -1).astype(Z.dtype)


def pack_codes(codes: ArrayLike) -> np.ndarray:
    """Pack codes (n_samples, n_bits) into bytes, as faiss's binary indexes take them.

    Entries are -1 and +1, or booleans; +1 and True become set bits. The result is uint8,
    (n_samples, ceil(n_bits / 8)): bit k of a sample is bit ``k % 8`` of its byte ``k // 8``
    (little-endian), and unused bits of the last byte are 0.
    """
    bits = checks.check_codes("codes", codes, least=0) > 0
    bits = np.ascontiguousarray(bits)  # packbits is slow where the bits of a sample lie apart
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


def _words(A, B, names=("A", "B")):
    """Two sets of codes, (n_a, n_bits) and (n_b, n_bits), checked, as packed machine words."""
    A, B = checks.check_code_pair(A, B, names)
    if A.dtype != np.uint8:
        A, B = pack_codes(A), pack_codes(B)
    n_bytes = A.shape[1]
    width = min(8, 1 << (n_bytes - 1).bit_length())  # of a word: 1, 2, 4 or 8 bytes
    fill = ((0, 0), (0, -n_bytes % width))
    return [np.pad(codes, fill).view(f"u{width}") for codes in (A, B)]


def _distances(A, B):
    """Distances (n_a, n_b) between the rows of words A and B, Eq. (1)."""
    D = np.bitwise_count(A[:, :1] ^ B[:, 0])
    if A.shape[1] * A.itemsize > 31:  # 256 bits and more do not fit a byte
        D = D.astype(np.int16)
    for k in range(1, A.shape[1]):
        D += np.bitwise_count(A[:, k : k + 1] ^ B[:, k])
    return D


_BLOCK_ENTRIES = 2**20  # query-item pairs held in memory at a time


def _row_blocks(n_rows, n_columns, entries=None):
    """Slices of rows such that a block of n_columns columns has about so many entries."""
    step = max(1, (entries or _BLOCK_ENTRIES) // n_columns)
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def hamming_distances(A: Array, B: Array) -> Array:
    """Hamming distances between all rows of A and all rows of B, Eqs. (1), (2) of notebook 02.

    Of codes (n_a, n_bits) and (n_b, n_bits), or of both packed; the result is (n_a, n_b), int16.
    """
    A, B = _words(A, B)
    D = np.empty((len(A), len(B)), dtype=np.int16)
    for rows in _row_blocks(len(A), len(B)):
        D[rows] = _distances(A[rows], B)
    return D


def _relevant_ranks(D, R):
    """Query number, rank r and count j of every relevant item; ties in database order."""
    n_query, n_items = D.shape
    order = np.argsort(D, axis=1, kind="stable")
    order += n_items * np.arange(n_query)[:, None]  # places in R.ravel(), which is quick to index
    query, position = np.divmod(np.flatnonzero(R.ravel().take(order)), n_items)
    first = np.searchsorted(query, np.arange(n_query))  # where each query's ranks begin
    return query, position + 1, np.arange(1, len(query) + 1) - first[query]


def _sum_of_precisions(query, r, j, n_query):
    """R times the average precision of each query, Eq. (3)."""
    return np.bincount(query, weights=j / r, minlength=n_query)


def _scan(codes_query, codes_database, relevant, k=None) -> Iterator[tuple[Array, Array]]:
    """Distances and boolean relevance of one block of queries after the other."""
    A, B = _words(codes_query, codes_database, ("codes_query", "codes_database"))
    relevance = checks.check_relevance(relevant, len(A), len(B), k)
    for rows in _row_blocks(len(A), len(B)):
        yield _distances(A[rows], B), relevance(rows)


def _ball_counts(D, R, radius):
    """Number of items, and of relevant items, within the radius of each query."""
    ball = D <= radius
    return np.count_nonzero(ball, axis=1), np.count_nonzero(ball & R, axis=1)


def _mean_ball_precision(size, hits, empty=0.0):
    """Mean precision of balls, Eq. (4); an empty one counts ``empty``, NaN leaves it out."""
    precision = np.where(size > 0, hits / np.maximum(size, 1), empty)
    if np.isnan(empty):
        precision = precision[size > 0]
    return float(precision.mean()) if len(precision) else float("nan")


def precision_at_radius(
    codes_query: Array, codes_database: Array, relevant: Any, radius: int = 2, empty: float = 0.0
) -> float:
    """Mean over all queries of the precision within a Hamming ball, Eq. (4) of notebook 02.

    Items at most ``radius`` from the query are in its ball. ``empty`` is what a query counts whose
    ball is empty: 0 as in the published tables; NaN leaves such queries out of the mean (which is
    NaN if none is left).
    """
    checks.check_whole_number("radius", radius, 0)
    blocks = _scan(codes_query, codes_database, relevant)
    size, hits = np.concatenate([_ball_counts(D, R, radius) for D, R in blocks], axis=1)
    return _mean_ball_precision(size, hits, empty)


def balance(codes: Array) -> float:
    """How far bits are from dividing the samples into halves: 0 is best, 1 worst.

    The mean over the bits of codes (n_samples, n_bits) of the absolute mean of the bit, Eq. (5) of
    notebook 02.
    """
    bits = checks.check_codes("codes", codes) > 0
    return float(np.mean(np.abs(2 * np.count_nonzero(bits, axis=0) - len(bits)) / len(bits)))


def independence(codes: Array) -> float:
    """How much bits repeat each other: 0 is best, 1 worst.

    The mean absolute entry of (1/m) B B^T off its diagonal, Eq. (6) of notebook 02; 0 for one bit.
    It is the measure behind the independence term of BDNN: entries of a covariance around 0, so a
    bit of codes (n_samples, n_bits) that hardly ever changes counts as dependent, too.
    """
    codes = checks.check_codes("codes", codes)
    m, L = codes.shape
    total = np.zeros((L, L))  # B B^T
    for rows in _row_blocks(m, L):
        S = np.where(codes[rows] > 0, 1.0, -1.0)
        total += S.T @ S
    off_diagonal = np.abs(total / m) - np.eye(L)
    return float(off_diagonal.sum() / max(L * (L - 1), 1))


def _sum_of_trapezoids(query, r, j, n_query):
    """R times the average precision of each query in trapezoid form, Eq. (1) of notebook 02b."""
    before = np.where(r == 1, 1.0, (j - 1) / np.maximum(r - 1, 1))
    return np.bincount(query, weights=(before + j / r) / 2, minlength=n_query)


def _tie_counts(D, R):
    """Number of items T and of relevant items S of each query at each distance."""
    n_bins = int(D.max()) + 1
    T = [np.bincount(distances, minlength=n_bins) for distances in D]
    S = [np.bincount(distances[hits], minlength=n_bins) for distances, hits in zip(D, R)]
    return np.stack(T), np.stack(S)


def _expected_sum(T, S, form, top):
    """Expectation of the sum of precisions over all orders of tied items; ranks up to top count.

    The closed forms are Eqs. (4) and (5) of notebook 02b, for all queries and distances at once.
    """
    N, K = np.cumsum(T, axis=1) - T, np.cumsum(S, axis=1) - S  # items, relevant items nearer
    s = np.clip(top - N, 0, T)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, T[0].sum() + 1))])
    a = (S - 1) / np.maximum(T - 1, 1)
    h = harmonic[N + s] - harmonic[N]
    total = (K + 1) * h + a * (s - (N + 1) * h)  # Eq. (4)
    if form == "trapezoid":
        h = harmonic[np.maximum(N + s - 1, 0)] - harmonic[np.maximum(N - 1, 0)]
        before = np.where(N == 0, 1 + (s - 1) * a, K * h + a * (s - N * h))  # Eq. (5)
        total = (before + total) / 2
    return np.sum(np.where((S > 0) & (s > 0), S / np.maximum(T, 1) * total, 0.0), axis=1)


def _check_options(form="standard", ties="stable", top=None, denominator="possible"):
    """Raise a ValueError unless the options of a measure are known and fit each other."""
    checks.check_option("form", form, ("standard", "trapezoid"))
    checks.check_option("ties", ties, ("stable", "expected"))
    checks.check_option("denominator", denominator, ("possible", "found"))
    if top is not None:
        checks.check_whole_number("top", top, 1)
    if ties == "expected" and denominator == "found":
        raise ValueError("denominator='found' has no closed form: it needs ties='stable'")


def average_precision(
    D: Array,
    R: Array,
    form: str = "standard",
    ties: str = "stable",
    top: int | None = None,
    denominator: str = "possible",
) -> Array:
    """Average precision (AP) of each query; one without any relevant item counts 0.

    Parameters
    ----------
    D, R : arrays (n_query, n_database)
        Distances, whole numbers, by which the items are ranked; relevance, booleans or 0 and 1.
    form : {"standard", "trapezoid"}
        Mean precision at the relevant ranks, Eq. (3) of notebook 02, or the trapezoid rule of the
        Oxford Buildings evaluation, Eq. (1) of notebook 02b, as in the published curves of BDNN.
    ties : {"stable", "expected"}
        By Eqs. (4) and (5) of notebook 02b.
    top : int or None
        Only the first `top` items of the ranking count: AP@k. None: all of them.
    denominator : {"possible", "found"}
        What the sum of AP@k is divided by, Eq. (6) of notebook 02b. "possible": the relevant items
        that the list could hold, min(R, top), as ml_metrics does. "found": those that it holds, as
        the programs of HashNet and DeepHash-pytorch do, and with them many papers on hashing; it
        forgives what is missing, and needs ties="stable".
    """
    _check_options(form, ties, top, denominator)
    D, R = np.asarray(D), checks.check_zero_one("R", R)
    if D.shape != R.shape or D.ndim != 2 or 0 in D.shape:
        raise ValueError(f"D {D.shape} and R {R.shape} must be matrices of one shape")
    if D.dtype.kind not in "iu" or D.min() < 0:
        raise ValueError("D must hold whole numbers from 0 on: Hamming distances")
    top = D.shape[1] if top is None else top
    n_relevant = np.minimum(np.count_nonzero(R, axis=1), top)
    if ties == "expected":
        T, S = _tie_counts(D, R)
        total = _expected_sum(T, S, form, top)
    else:
        query, r, j = _relevant_ranks(D, R)
        seen = r <= top
        add = _sum_of_trapezoids if form == "trapezoid" else _sum_of_precisions
        total = add(query[seen], r[seen], j[seen], len(D))
        if denominator == "found":
            n_relevant = np.bincount(query[seen], minlength=len(D))
    return total / np.maximum(n_relevant, 1)


def mean_average_precision(
    codes_query: Array,
    codes_database: Array,
    relevant: Any,
    form: str = "standard",
    ties: str = "stable",
    top: int | None = None,
    denominator: str = "possible",
) -> float:
    """Mean over all queries of :func:`average_precision` (mAP); mAP@k with ``top=k``.

    Codes, and the forms that `relevant` may have, are described at the head of the module.
    """
    options = (form, ties, top, denominator)
    _check_options(*options)
    blocks = _scan(codes_query, codes_database, relevant)
    return float(np.mean(np.concatenate([average_precision(D, R, *options) for D, R in blocks])))


def _first_hits(D, R, n, ties):
    """Relevant items among the first n of each query; their expectation is Eq. (8)."""
    if ties == "stable":
        query, r, _ = _relevant_ranks(D, R)
        return np.bincount(query[r <= n], minlength=len(D))
    T, S = _tie_counts(D, R)
    s = np.clip(n - (np.cumsum(T, axis=1) - T), 0, T)
    return np.sum(s * S / np.maximum(T, 1), axis=1)


def precision_at(
    codes_query: Array, codes_database: Array, relevant: Any, n: int = 500, ties: str = "stable"
) -> float:
    """Mean over all queries of the precision among the first n items, Eq. (7) of notebook 02b.

    Its expectation over ties is Eq. (8). A database of fewer than n items is looked at as a whole,
    with a warning: the result is then the share of relevant items, whatever the codes.
    """
    _check_options(ties=ties)
    checks.check_whole_number("n", n, 1)
    n = checks.capped("n", n, len(codes_database))
    blocks = _scan(codes_query, codes_database, relevant)
    return float(np.mean(np.concatenate([_first_hits(D, R, n, ties) for D, R in blocks])) / n)


def recall_at(
    codes_query: Array,
    codes_database: Array,
    relevant: Any,
    k: int | None = None,
    shortlist: int = 100,
    ties: str = "stable",
) -> float:
    """Share of the k nearest neighbours among the first items by code, Eq. (9) of notebook 02b.

    If k is given, ``relevant`` must hold the indices of the neighbours of each query, nearest
    first, as :func:`bdnn.data.nearest_neighbours` gives them. ``k=1`` is 1-recall@n, which faiss
    reports; ``k=shortlist`` is n-recall@n, which ann-benchmarks reports; None looks for all that is
    relevant. A query with fewer than k neighbours is judged by those it has; one without counts 0.
    """
    _check_options(ties=ties)
    checks.check_whole_number("shortlist", shortlist, 1)
    if k is not None:
        checks.check_whole_number("k", k, 1)
    recall = [
        _first_hits(D, R, shortlist, ties) / np.maximum(np.count_nonzero(R, axis=1), 1)
        for D, R in _scan(codes_query, codes_database, relevant, k)
    ]
    return float(np.mean(np.concatenate(recall)))


def _ball_curves(T, S, L):
    """Precision and recall, Eq. (10), of the balls of radius 0 to L, each (n_query, L + 1)."""
    radii = np.minimum(np.arange(L + 1), T.shape[1] - 1)  # the largest distance's ball holds all
    size, hits = (np.cumsum(counts, axis=1)[:, radii] for counts in (T, S))
    return hits / np.maximum(size, 1), hits / np.maximum(hits[:, -1:], 1)


_CACHED_ENTRIES = 2**18  # query-item pairs whose distances, a byte each, stay in the cache


def items_within(A: Array, B: Array, radius: int = 2) -> list[Array]:
    """The items of a Hamming ball around every query: what a lookup by hash code finds.

    A list with an array of int64 for each row of A: the rows of B at most ``radius`` away, in
    increasing order.
    """
    checks.check_whole_number("radius", radius, 0)
    A, B = _words(A, B)
    found: list[Array] = []
    for rows in _row_blocks(len(A), len(B), _CACHED_ENTRIES):
        found += map(np.flatnonzero, _distances(A[rows], B) <= radius)
    return found


def _nearest(A, B, k):
    """Rows of B and distances (n_query, k) of the k nearest words; of equal ones the lower row."""
    D = _distances(A, B)
    n_query, n_items = D.shape
    some = min(n_items, max(2048, 8 * k))
    bound = np.partition(D[:, :some], k - 1, axis=1)[:, k - 1 : k]
    query, item = np.divmod(np.flatnonzero(D <= bound), n_items)  # in database order
    d = D[query, item].astype(np.int16)
    order = np.lexsort((d, query))  # stable
    first = np.searchsorted(query, np.arange(n_query))  # where the items of each query begin
    chosen = order[first[:, None] + np.arange(k)]
    return item[chosen], d[chosen]


# Query-item pairs: fewer are counted before numba is loaded.
_WORTH_COMPILING = {"_ranked_counts": 10**8, "_nearest": 5 * 10**8}


def _compiled(plain, n_pairs):
    """The function itself, or its twin in `engine.compiled` where that pays and numba is there."""
    if n_pairs < _WORTH_COMPILING[plain.__name__]:
        return plain
    try:
        from bdnn.engine import compiled
    except (ImportError, RuntimeError):  # no numba, none for this NumPy, or no place for its cache
        return plain
    return getattr(compiled, plain.__name__.lstrip("_"))


def nearest(A: Array, B: Array, k: int) -> tuple[Array, Array]:
    """The k nearest rows of B to every row of A by Hamming distance.

    Indices and distances, arrays (n_query, k) of int64 and int16, nearest first; of equal distances
    the lower row first. B has at least k rows.
    """
    checks.check_whole_number("k", k, 1)
    A, B = _words(A, B)
    if k > len(B):
        raise ValueError(f"k={k} is more than the {len(B)} items of B")
    find = _compiled(_nearest, len(A) * len(B))
    blocks = _row_blocks(len(A), len(B), _CACHED_ENTRIES)
    indices, distances = zip(*(find(A[rows], B, k) for rows in blocks))
    return np.concatenate(indices), np.concatenate(distances)


def _ranked_counts(D, R, n):
    """T and S of each query, relevant items among the first n, sums of precisions in both forms."""
    query, r, j = _relevant_ranks(D, R)
    hits = np.bincount(query[r <= n], minlength=len(D))
    sums = [total(query, r, j, len(D)) for total in (_sum_of_precisions, _sum_of_trapezoids)]
    return *_tie_counts(D, R), hits, *sums


def evaluate(
    codes_query: Array,
    codes_database: Array,
    relevant: Any,
    radius: int = 2,
    curves: bool = False,
    top: int | None = None,
) -> dict[str, Any]:
    """All measures of the course in one pass over the distances.

    With many pairs and numba installed the ranking is compiled: the results are the same bits.
    Arguments are described at the head of the module. Codes are not packed, since balance and
    independence need to know the number of bits.

    Returns
    -------
    dict
        ``precision_at_2`` (or another ``radius``; an empty ball counts 0), ``precision_at_500`` (of
        a database with fewer than 500 items, over all of them), ``map_standard`` and
        ``map_trapezoid``, all with ties in database order; ``map_expected`` (standard form,
        expectation over ties), ``empty_share`` (queries with an empty ball), ``balance`` and
        ``independence`` of the database codes. All are fractions from 0 to 1. With ``top=k`` also
        ``map_at_k``, as :func:`mean_average_precision` gives it by default, in a pass of its own;
        with ``curves`` also ``precision_by_radius`` and ``recall_by_radius``, Eq. (10) of notebook
        02b: arrays (n_bits + 1,); a query without any relevant item counts 0 in both.
    """
    checks.check_whole_number("radius", radius, 0)
    measures = {"balance": balance(codes_database), "independence": independence(codes_database)}
    if top is not None:
        name = f"map_at_{top}"
        measures[name] = mean_average_precision(codes_query, codes_database, relevant, top=top)
    (n_items, L), n_query = np.shape(codes_database), len(codes_query)
    count = _compiled(_ranked_counts, n_query * n_items)
    rows, by_radius = [], np.zeros((2, L + 1))
    for D, R in _scan(codes_query, codes_database, relevant):
        T, S, hits, *sums = count(D, R, min(500, n_items))
        size, within = (counts[:, : radius + 1].sum(axis=1) for counts in (T, S))
        expected = _expected_sum(T, S, "standard", n_items)
        ap = np.array([*sums, expected]) / np.maximum(S.sum(axis=1), 1)
        rows.append(np.vstack([size, within, hits, ap]))
        by_radius += np.sum(_ball_curves(T, S, L), axis=1) / n_query
    size, within, hits, standard, trapezoid, expected = np.concatenate(rows, axis=1)
    if curves:
        measures |= {"precision_by_radius": by_radius[0], "recall_by_radius": by_radius[1]}
    return {
        f"precision_at_{radius}": _mean_ball_precision(size, within),
        "precision_at_500": float(hits.mean() / min(500, n_items)),
        "map_standard": float(standard.mean()),
        "map_trapezoid": float(trapezoid.mean()),
        "map_expected": float(expected.mean()),
        "empty_share": float(np.mean(size == 0)),
        **measures,
    }
