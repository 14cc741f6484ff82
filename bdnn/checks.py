"""Checks of arguments at the public face: a clear error, or the argument in the form wanted."""

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = [
    "Seed",
    "as_generator",
    "check_classes",
    "check_kind",
    "check_missing",
    "check_option",
    "check_range",
    "check_whole_number",
]

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
    """Raise a TypeError for what NumPy would silently take for numbers: masks, dates."""
    if np.ma.isMaskedArray(X):
        raise TypeError("X is a masked array, and its mask would be lost: fill it first")
    dtypes = getattr(X, "dtypes", None)  # of the columns of a table
    dtypes = dtypes if np.iterable(dtypes) else [getattr(X, "dtype", "")]
    if {getattr(dtype, "kind", "") for dtype in dtypes} & {"m", "M"}:
        raise TypeError("X holds dates or times: turn them into numbers first")


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


def check_classes(y: np.ndarray) -> None:
    """Raise a ValueError unless the labels y (m,) name several classes."""
    from sklearn.utils.multiclass import check_classification_targets

    check_classification_targets(y)
    if len(np.unique(y)) < 2:
        raise ValueError(
            f"y holds one class only, {y.tolist()[0]!r}: a supervised method needs two or more"
        )
