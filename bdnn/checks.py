"""Checks of arguments at the public face: a clear error, or the argument in the form wanted."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "Seed", "as_classes", "as_generator", "capped", "check_classes", "check_code_pair",
    "check_codes", "check_kind", "check_missing", "check_option", "check_range", "check_relevance",
    "check_zero_one", "check_whole_number", "numbered",
]  # fmt: skip

Seed = int | np.random.Generator | np.random.RandomState | None


def as_generator(random_state: Seed) -> np.random.Generator:
    """A NumPy Generator from None, an integer seed, a Generator or a RandomState."""
    if isinstance(random_state, np.random.RandomState):
        return np.random.Generator(random_state._bit_generator)
    try:
        return np.random.default_rng(random_state)
    except (TypeError, ValueError):
        raise ValueError(
            "random_state must be None, a whole number from 0, a Generator or a RandomState, got "
            f"{random_state!r}"
        ) from None


def check_option(name: str, value: object, allowed: Iterable) -> None:
    """Raise a ValueError that lists the allowed values, unless ``value`` is one of them."""
    if value not in allowed:
        options = ", ".join(repr(option) for option in allowed)
        raise ValueError(f"{name}={value!r} is not known; choose one of {options}")


def check_whole_number(name: str, value: Any, lowest: int) -> None:
    """Raise a ValueError unless ``value`` is a whole number of at least ``lowest``."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < lowest:
        raise ValueError(f"{name} must be a whole number of at least {lowest}, got {value!r}")


def check_kind(X: Any) -> None:
    """Raise an error for what NumPy takes for numbers (masks, dates), and for arrays in rows."""
    if np.ma.isMaskedArray(X):
        raise TypeError("X is a masked array, and its mask would be lost: fill it first")
    dtypes = getattr(X, "dtypes", None)  # of the columns of a table
    dtypes = dtypes if np.iterable(dtypes) else [getattr(X, "dtype", "")]
    if {getattr(dtype, "kind", "") for dtype in dtypes} & {"m", "M"}:
        raise TypeError("X holds dates or times: turn them into numbers first")
    if any(getattr(dtype, "kind", "") == "O" for dtype in dtypes):
        first = next(np.asarray(X).flat, None)
        if isinstance(first, (list, tuple, np.ndarray)):
            raise ValueError("X holds a list or an array in an entry: give np.stack of these")


def check_range(X: np.ndarray) -> None:
    """Raise a ValueError if sums of squares of X would overflow, or vanish."""
    largest, limit = max(X.max(), -X.min()), np.finfo(X.dtype).max ** 0.3
    if largest > limit or 0 < largest < 1 / limit:
        raise ValueError(
            f"the largest magnitude in X is {largest:.3g}; sums of squares of such numbers leave "
            f"the range of {X.dtype}. Scale X, or use dtype='float64'"
        )


def check_missing(y: Any) -> None:
    """Raise a ValueError unless every sample has a label; scikit-learn looks for NaN only."""
    y = np.asarray(y)
    if y.dtype.kind not in "OmM" or y.ndim == 0 or y.size > len(y):
        return
    import pandas  # which knows all that stands for what is missing, and takes long to import

    missing = np.flatnonzero(pandas.isna(y.ravel()))
    if len(missing):
        raise ValueError(
            f"y has no label in {len(missing)} rows, the first of them row {missing[0]}: a "
            "supervised method needs one for every sample. Leave these rows out"
        )


def as_classes(y: Any, method: str, several: bool) -> Any:
    """Labels as they are; of a 0/1 matrix the numbers of the columns, or itself, as booleans.

    With one 1 in every row it is the numbers; else the matrix, if `several` labels of a sample are
    what the method learns from.
    """
    Y = np.asarray(y)
    if Y.ndim != 2 or Y.shape[1] < 2:
        return y
    if not _is_zero_one(Y):
        raise ValueError(f"y should be a 1d array, or a matrix of 0 and 1, got {Y.dtype} {Y.shape}")
    if np.all(Y.sum(axis=1) == 1):
        return Y.argmax(axis=1)
    if not several:
        raise ValueError(
            f"y {Y.shape} marks several labels of a sample, or none: {method} learns from classes, "
            "and a sample must be in exactly one of them"
        )
    return Y == 1


def check_classes(y: np.ndarray) -> None:
    """Raise a ValueError unless the labels y (m,), or (m, n_labels), name several classes."""
    from sklearn.utils.multiclass import check_classification_targets

    check_classification_targets(y)
    if np.all(y == y[:1]):
        told = (
            f"one class only, {y.tolist()[0]!r}" if y.ndim == 1 else "the same labels in every row"
        )
        raise ValueError(f"y holds {told}: a supervised method needs two or more")


def numbered(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes and their numbers (m,); of a 0/1 matrix the columns in use, and itself."""
    if y.ndim == 2:
        return np.flatnonzero(y.any(axis=0)), y
    return np.unique(y, return_inverse=True)


def check_codes(name: str, codes: ArrayLike, least: int = 1) -> np.ndarray:
    """Codes (n_samples, n_bits) as an array, after a check that they are -1 and +1, or booleans."""
    codes = np.asarray(codes)
    if codes.ndim != 2 or len(codes) < least or not codes.shape[1]:
        raise ValueError(f"{name} must be a matrix (n_samples, n_bits), got shape {codes.shape}")
    signs = codes.dtype.kind in "iuf" and np.all((codes == 1) | (codes == -1))
    if codes.dtype != bool and not signs:
        raise ValueError(f"{name} must hold only -1 and +1, or booleans; it is {codes.dtype}")
    return codes


def check_code_pair(A: ArrayLike, B: ArrayLike, names: tuple[str, str]) -> list[np.ndarray]:
    """Two sets of codes of one length, both as signs or booleans, or both packed (uint8)."""
    pair = [np.asarray(codes) for codes in (A, B)]
    for name, codes in zip(names, pair):
        if codes.dtype != np.uint8:
            check_codes(name, codes)
        elif codes.ndim != 2 or not codes.size:
            raise ValueError(f"{name} must be a matrix (n_samples, n_bytes), got {codes.shape}")
    (a, b), packed = pair, [codes.dtype == np.uint8 for codes in pair]
    if a.shape[1] != b.shape[1] or packed[0] != packed[1]:
        raise ValueError(
            f"{names[0]} ({a.shape[1]} columns of {a.dtype}) and {names[1]} ({b.shape[1]} columns "
            f"of {b.dtype}) do not hold codes of the same length and form"
        )
    n_bits = a.shape[1] * (8 if packed[0] else 1)
    if n_bits > np.iinfo(np.int16).max:
        raise ValueError(f"codes of {n_bits:,} bits are too long: distances are int16")
    return pair


def check_zero_one(name: str, R: ArrayLike) -> np.ndarray:
    """An array of zeros and ones of any number type as booleans."""
    R = np.asarray(R)
    if not _is_zero_one(R):
        raise ValueError(f"{name} {R.shape} must hold booleans, or only 0 and 1; it is {R.dtype}")
    return R if R.dtype == bool else R == 1


def _is_zero_one(R):
    """True for booleans, and for numbers that are all 0 or 1."""
    return R.dtype == bool or R.dtype.kind in "iufO" and bool(np.all((R == 0) | (R == 1)))


def check_relevance(
    relevant: Any, n_query: int, n_database: int, k: int | None = None
) -> Callable[[slice], np.ndarray]:
    """What is relevant, as a function that gives the boolean rows of a slice of the queries.

    Parameters
    ----------
    relevant : matrix, list of index arrays, or pair
        A 0/1 matrix (n_query, n_database) of any number type; for each query the indices of its
        relevant items; a pair of label vectors, relevant meaning the same label; or a pair of 0/1
        matrices (n_query, n_labels) and (n_database, n_labels), relevant meaning a label in common.
    n_query, n_database : int
    k : int or None
        Only the first k indices of each query count; `relevant` must hold indices then.

    Raises
    ------
    ValueError
        For what has none of these forms, or could be read in two ways.
    """
    if hasattr(relevant, "__array__"):  # such as a table of pandas, whose rows are the queries
        relevant = np.asarray(relevant)
    if not isinstance(relevant, (np.ndarray, Sequence)) or isinstance(relevant, str):
        kind = type(relevant).__name__
        raise ValueError(f"relevant must be a matrix, a list or a pair, got {kind}")
    pair = not isinstance(relevant, np.ndarray) and len(relevant) == 2
    if pair and (isinstance(relevant, tuple) or n_query != 2 or np.ndim(relevant[0]) == 2):
        query, database = relevant
        form, rows_of = "labels", _rows_from_labels(query, database, n_query, n_database)
    elif (R := _zero_one_matrix(relevant, n_query, n_database)) is not None:
        form, rows_of = "a 0/1 matrix", R.__getitem__
    else:
        return lambda rows: _rows_from_indices(relevant[rows], n_database, k)
    if k is not None:
        raise ValueError(f"k={k} wants relevant as indices, nearest first, but it holds {form}")
    return rows_of


def _zero_one_matrix(relevant, n_query, n_database):
    """The rows as a boolean matrix (n_query, n_database), or None if they hold indices.

    Zeros and ones mark items. In a row of more than two they cannot name any, since 0 or 1 would
    come twice.
    """
    rows = [np.asarray(row) for row in relevant]
    shape = getattr(relevant, "shape", None)
    told = f"has shape {shape}" if shape else f"names items for {len(rows)} queries"
    misfit = f"relevant {told}, but there are {n_query} queries and {n_database} items"
    if len(rows) != n_query or any(row.ndim != 1 for row in rows):
        raise ValueError(
            f"{misfit}: give a 0/1 matrix of this shape, an array of indices for each query, or "
            "a pair (labels_query, labels_database)"
        )
    widths = {row.size for row in rows}
    whole = all(row.dtype.kind in "iu" for row in rows if row.size)
    marks = len(widths) == 1 and all(map(_is_zero_one, rows))
    if marks and widths == {n_database}:
        if whole and all(sorted(row.tolist()) == [0, 1][:n_database] for row in rows):
            raise ValueError("relevant may name items or mark them by 0 and 1: mark by booleans")
        whole_matrix = isinstance(relevant, np.ndarray) and relevant.ndim == 2
        return check_zero_one("relevant", relevant if whole_matrix else np.stack(rows))
    if not whole or marks and max(widths) > 2:
        raise ValueError(
            f"{misfit}: booleans, or 0 and 1, need a matrix of this shape, and indices must be "
            f"whole numbers from 0 to {n_database - 1}"
        )
    return None


def _rows_from_indices(indices, n_database, k):
    """Boolean rows that are True at the given indices, an array of indices (or k of it) a row."""
    block = np.zeros((len(indices), n_database), dtype=bool)
    for row, index in zip(block, indices):
        index = np.asarray(index)[:k]
        if index.size == 0:
            continue
        if index.min() < 0 or index.max() >= n_database:
            raise ValueError(f"relevant must hold whole numbers from 0 to {n_database - 1}")
        row[index] = True
        if np.count_nonzero(row) != index.size:
            raise ValueError("relevant names an item twice for the same query")
    return block


def _rows_from_labels(labels_query, labels_database, n_query, n_database):
    """Relevant is what has the query's label, or, of several labels, one of the query's."""
    pair = [np.asarray(labels) for labels in (labels_query, labels_database)]
    shapes = [labels.shape for labels in pair]
    a, b = (y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y for y in pair)
    if a.ndim == b.ndim == 2 and shapes == [(n_query, a.shape[1]), (n_database, a.shape[1])]:
        marks = (check_zero_one("a matrix of labels in relevant", Y) for Y in (a, b))
        Y_query, Y = (Y.astype(np.float32) for Y in marks)
        return lambda rows: Y_query[rows] @ Y.T > 0
    if a.shape != (n_query,) or b.shape != (n_database,):
        raise ValueError(
            f"relevant holds labels of shapes {shapes[0]} and {shapes[1]}, but there are {n_query} "
            f"queries and {n_database} items"
        )
    kinds = {a.dtype.kind, b.dtype.kind}
    if kinds & {*"US"} and kinds & {*"biuf"}:
        raise ValueError(
            f"relevant holds labels of {a.dtype} and {b.dtype}: strings and numbers are never equal"
        )
    both = np.concatenate([a, b])
    if any(label is None or label != label for label in both.tolist()):
        raise ValueError("relevant holds labels that are missing (NaN or None)")
    numbers = np.unique(both, return_inverse=True)[1].astype(np.int32)
    return lambda rows: numbers[:n_query][rows, None] == numbers[n_query:]


def capped(name: str, n: int, n_items: int) -> int:
    """n, or with a warning the number of items where there are fewer."""
    if n > n_items:
        warnings.warn(
            f"{name}={n} is more than the {n_items} items of the database: all of them are looked "
            "at, and the result does not depend on the codes",
            stacklevel=3,
        )
    return min(n, n_items)
