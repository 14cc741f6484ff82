# Generated from notebooks/19_search.py by `course.py export 19`: edit the notebook.
"""Search in two stages: a shortlist by codes, put in order by the vectors themselves.

Queries, vectors and codes stand in rows, as estimators take and return them.
"""

import numpy as np
from numpy import ndarray as Array

from bdnn.metrics import unpack_codes

__all__ = ["BLOCK", "nearest_asymmetric", "rerank"]


def rerank(query: Array, vectors: Array, candidates: Array, k: int) -> tuple[Array, Array]:
    """The k nearest of each query's candidates by Euclidean distance, Eq. (1) of notebook 19.

    Queries (n_query, D), vectors (m, D), candidates (n_query, n) as row numbers of the vectors,
    which may be a memory-mapped file: only the rows of candidates are read. Returns row numbers,
    int64, and distances, float64, both (n_query, k), nearest first; of equal ones the lower row.
    """
    if query.shape[1] != vectors.shape[1] or len(query) != len(candidates):
        shapes = f"query {query.shape}, vectors {vectors.shape}, candidates {candidates.shape}"
        raise ValueError(f"{shapes} do not fit together")
    if not 1 <= k <= candidates.shape[1]:
        raise ValueError(f"k={k} must be from 1 to {candidates.shape[1]}, the length of the lists")
    if candidates.size and not 0 <= candidates.min() <= candidates.max() < len(vectors):
        raise ValueError(f"candidates must be row numbers from 0 to {len(vectors) - 1}")
    found, distances = np.empty((len(query), k), np.int64), np.empty((len(query), k))
    for i, q in enumerate(np.asarray(query, dtype=np.float64)):
        rows = np.sort(candidates[i])  # a file is read in its own order
        d = np.linalg.norm(vectors[rows] - q, axis=1)  # (n,)
        order = np.argsort(d, kind="stable")[:k]
        found[i], distances[i] = rows[order], d[order]
    return found, distances


BLOCK = 2**22  # pairs of query and item that are scored at a time


def nearest_asymmetric(
    H: Array, packed: Array, k: int, G: Array | None = None
) -> tuple[Array, Array]:
    """The k items whose bits are nearest to a query's real outputs, Eq. (2) of notebook 19.

    Outputs H (n_query, L), packed codes (m, ceil(L / 8)). With a decoder W (D, L), c (D, 1) give
    ``H=(query - c.T) @ W`` and ``G=W.T @ W``: the distance to the decoded bits, Eq. (3).
    Returns row numbers, int64, and scores, both (n_query, k): squared distances, less what
    depends on the query alone. Of equal scores any may be left out at the end of the list.
    """
    L = H.shape[1]
    if packed.shape[1] != -(-L // 8):
        raise ValueError(f"H {H.shape} and packed {packed.shape} do not have the same bits")
    if not 1 <= k <= len(packed):
        raise ValueError(f"k={k} must be from 1 to {len(packed)}, the number of codes")
    found, scores = np.empty((len(H), 0), np.int64), np.empty((len(H), 0), H.dtype)
    step = max(k, BLOCK // max(len(H), 1))
    for start in range(0, len(packed), step):
        B = unpack_codes(packed[start : start + step], L).astype(H.dtype)  # (n_block, L)
        bGb = L if G is None else np.sum(B @ G * B, axis=1)
        rows = np.broadcast_to(np.arange(start, start + len(B)), (len(H), len(B)))
        found, scores = np.hstack([found, rows]), np.hstack([scores, bGb - 2 * H @ B.T])
        best = np.argpartition(scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
        found, scores = (np.take_along_axis(A, best, axis=1) for A in (found, scores))
    order = np.lexsort((found, scores))
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(scores, order, axis=1)
