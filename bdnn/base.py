"""What all estimators share: checks of the input, the scikit-learn face, packed codes, files.

Samples stand in rows here, as scikit-learn has it; the mathematics of the other modules has them
in columns.  :class:`BaseHasher` transposes once, at this boundary.
"""

import copy
import errno
import hashlib
import importlib.metadata
import json
import operator
import os
import platform
import secrets
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from bdnn.sources import (
    Blocks,
    Samples,
    Stream,
    as_samples,
    is_source,
    merged,
    stored,
    with_blocks_in_threads,
)

__all__ = [
    "BaseHasher",
    "Checkpoint",
    "ModelFileError",
    "ProgressBar",
    "StoppedEarly",
    "as_generator",
    "atomic_path",
    "check_hidden",
    "check_matrix",
    "check_number",
    "check_option",
    "check_whole_number",
    "check_writable",
    "class_numbers",
    "load",
    "pack_codes",
    "sgn",
    "shortest_time",
    "show_versions",
    "unpack_codes",
    "versions",
    "whole_training",
]

FORMAT, CHECKPOINT_FORMAT = "bdnn-model-1", "bdnn-checkpoint-1"
CHECKPOINT_SECONDS = 10  # a state is written this often at most
DTYPES = ("float32", "float64")
SPENT = (  # sources of random numbers, of which nothing is saved but what was made with them
    *(np.random.Generator, np.random.RandomState),
    *(np.random.BitGenerator, np.random.SeedSequence),
)
PACKAGES = ("numpy", "scipy", "scikit-learn", "matplotlib")


StrPath = str | os.PathLike[str]
Seed = int | np.random.Generator | np.random.RandomState | None
Array = np.ndarray
Layers = list[np.ndarray]  # an array for each layer of a network
Objective = Callable[[Array], tuple[float, Array]]  # value and gradient


class StoppedEarly(UserWarning):
    """A training was interrupted, and the estimator keeps what it had learned by then."""


@contextmanager
def whole_training() -> Iterator[None]:
    """Within it a training that is interrupted ends in KeyboardInterrupt: for recorded runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", StoppedEarly)
        try:
            yield
        except StoppedEarly:
            raise KeyboardInterrupt from None


class ModelFileError(ValueError):
    """A file that is not a bdnn model, or one that was damaged on its way."""


def sgn(Z: ArrayLike) -> np.ndarray:
    """Sign in {-1, +1} as int8, with sgn(0) = +1 so that every code is legal."""
    return np.where(np.asarray(Z) >= 0, np.int8(1), np.int8(-1))


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


def check_number(name: str, value: Any, lowest: float = 0.0) -> None:
    """Raise a ValueError unless ``value`` is a finite real number of at least ``lowest``."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not real or not np.isfinite(value) or value < lowest:
        raise ValueError(f"{name} must be a finite number of at least {lowest:g}, got {value!r}")


def check_hidden(hidden: Any) -> None:
    """Raise a ValueError unless `hidden` is None or a sequence of whole numbers from 1."""
    if hidden is None:
        return
    if not isinstance(hidden, (Sequence, np.ndarray)) or isinstance(hidden, str):
        raise ValueError(f"hidden must be None or the units of the hidden layers, got {hidden!r}")
    for units in hidden:
        check_whole_number("every entry of hidden", units, 1)


def check_matrix(name: str, A: ArrayLike) -> np.ndarray:
    """A as a real matrix with samples in columns; whole numbers (codes) become float64."""
    A = np.asarray(A)
    if A.ndim != 2 or A.size == 0:
        raise ValueError(f"{name} must be a matrix with samples in columns, got shape {A.shape}")
    return A if A.dtype.kind == "f" else A.astype(np.float64)


def class_numbers(y: ArrayLike, m: int) -> np.ndarray:
    """Labels of m samples, of any type that sorts, as numbers 0, 1, ... of their classes."""
    y = np.unique(y, return_inverse=True)[1]
    if y.shape != (m,):
        raise ValueError(f"y must hold one label for each of {m} samples, got shape {y.shape}")
    return y


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers, as a dict."""
    found = {"python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in PACKAGES}


def shortest_time(call: Callable[[], object], repetitions: int = 5) -> float:
    """The least processor time, in seconds, that a function without arguments has taken."""
    times = []
    for _ in range(repetitions):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return min(times)


def show_versions() -> None:
    """Print the versions in use on one line."""
    print(", ".join(f"{name} {version}" for name, version in versions().items()))


def check_writable(path: StrPath, make_folders: bool = False) -> None:
    """Raise an OSError now, and not after an hour, if no file can be written at ``path``.

    With ``make_folders`` the folder of the file may be missing.
    """
    if not os.fspath(path):
        raise FileNotFoundError("the file to write has an empty name")
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file to write")
    folder = Path(path).resolve().parent
    while make_folders and not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} for {path}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is not writable")


class atomic_path:
    """Context manager for a write that happens whole or not at all.

    Gives a temporary path beside the target; renames it to the target when the block ends
    well, and removes it when the block or the renaming raises (a full disk, an interruption).
    A link stays a link: the file that it names is written. What exists and is no file is refused
    with an OSError before the block begins.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(os.path.realpath(path))
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if os.path.lexists(self.path) and not self.path.is_file():
            raise OSError(f"{path} is not a regular file, and is not replaced: give another path")
        self.temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")

    def __enter__(self) -> Path:
        return self.temporary

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                os.replace(self.temporary, self.path)
        finally:
            self.temporary.unlink(missing_ok=True)


class ProgressBar(tqdm):
    """A tqdm bar over the steps of a training that tells a callback how far they are, too.

    Parameters
    ----------
    total : int
        Steps at most.
    callback : callable, optional
        Called after every step with the share of `total` that is done, in [0, 1]; what it raises
        ends the training.
    verbose : bool
        Show the bar. The callback is called either way.
    **options
        As for tqdm.
    """

    def __init__(
        self,
        total: int,
        callback: Callable[[float], object] | None = None,
        verbose: bool = False,
        **options: Any,
    ) -> None:
        self.done, self.callback = 0, callback
        super().__init__(total=total, disable=not verbose, leave=False, unit="it", **options)

    def update(self, n: Any = 1) -> None:
        """Count n more steps."""
        super().update(n)
        self.done += n
        if self.callback is not None:
            self.callback(min(1.0, self.done / max(1, self.total)))


class BaseHasher(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of the estimators.

    A subclass implements ``_fit(X, y)``, perhaps with options, which learns from ``X`` (n_features,
    n_samples) and sets ``codes_``, and ``_project(X)``, which gives the real values (n_bits,
    n_samples) whose signs are the bits.  What it learns are attributes that end in an underscore:
    arrays, numbers, strings, or lists, tuples and dicts of these; they are what :meth:`save` keeps.
    """

    _requires_labels = False
    _takes_sources = False  # whether `_fit` works on `sources.Samples` as on an array

    def fit(self, X: Any, y: ArrayLike | None = None, **options: Any) -> Self:
        """Learn the hash function.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Finite real vectors, one sample per row. ITQ and the deep methods do not load a
            memory-mapped array, and take `sources.Blocks` and Dask arrays too: notebook 16.
        y : array-like (n_samples,), optional
            Class labels; only the supervised methods look at them.
        **options
            What a class takes beyond the data, such as `start` and `callback` of
            :class:`bdnn.UHBDNN` and :class:`bdnn.DeepHashing`; most take nothing. All networks
            take `checkpoint`, a path: the state of the training is kept there, and a training of
            the same data with the same parameters and the same `start` goes on from it to the same
            codes. It needs a whole number as `random_state`, else that is a ValueError; with a
            Dask array it is a TypeError.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For NaN or infinity, values so large or small that their squares leave the range of
            `dtype`, fewer samples than bits, or a parameter out of its range; for a supervised
            method also for missing labels, labels that are not classes, or one class.
        TypeError
            For sparse matrices, masked arrays, dates, and what is no array of numbers at all.
        """
        self._check_bits_and_dtype()
        X, y = self._check_input(X, y)
        m = X.shape[1]
        if self.n_bits > m:
            raise ValueError(
                f"n_bits={self.n_bits} is more than n_samples = {m} allow: fewer samples than "
                "bits cannot make the bits independent. Use fewer bits or more samples"
            )
        names = self.__dict__.pop("feature_names_in_", None)  # _fit encodes arrays, without names
        try:
            with with_blocks_in_threads():
                self._fit(X, y, **options)
        finally:
            if names is not None:
                self.feature_names_in_ = names
        return self

    def _check_input(self, X, y):
        """Training samples in columns, and their labels if the method needs them."""
        _check_kind(X)
        streamed = is_source(X) and self._takes_sources
        if isinstance(X, Blocks) and not streamed:
            raise TypeError(f"{type(self).__name__} learns from an array only, not from Blocks")
        if self._requires_labels:
            _check_missing(y)
        labels = (y,) if self._requires_labels else ()
        checked = validate_data(
            self,
            _stand_in(X, self.dtype) if streamed else X,
            *labels,
            dtype=self.dtype,
            ensure_min_samples=2,
        )
        if self._requires_labels:
            checked, y = checked
            _check_classes(y)
        if streamed:
            return as_samples(X, self.dtype), y
        _check_range(checked)
        return checked.T, y

    def _check_bits_and_dtype(self):
        check_whole_number("n_bits", self.n_bits, 1)
        check_option("dtype", getattr(self.dtype, "__name__", str(self.dtype)), DTYPES)

    def _stopped_early(self, told, stacklevel):
        warnings.warn(told, StoppedEarly, stacklevel=stacklevel + 1)

    def decision_function(self, X: Any) -> np.ndarray:
        """Real values (n_samples, n_bits) whose signs are the bits."""
        return self._encode_blocks(X, lambda H: H, self.dtype)

    def transform(self, X: Any) -> np.ndarray:
        """Codes (n_samples, n_bits), int8, entries -1 and +1; sgn(0) = +1."""
        return self._encode_blocks(X, sgn, np.int8)

    def encode(self, X: Any) -> np.ndarray:
        """Packed codes (n_samples, ceil(n_bits / 8)), uint8; see :func:`pack_codes`."""
        return self._encode_blocks(X, lambda H: pack_codes((H >= 0).T).T, np.uint8)

    def _encode_blocks(self, X, encode, dtype):
        """Encode the rows of X block by block, so that the temporaries stay small."""
        check_is_fitted(self)
        _check_kind(X)
        streamed = is_source(X)
        checked = validate_data(
            self, _stand_in(X, self.dtype) if streamed else X, dtype=self.dtype, reset=False
        )
        samples = as_samples(X, self.dtype) if streamed else checked.T
        with with_blocks_in_threads():
            return self._encoded(samples, encode, dtype)

    def _encoded(self, X, encode, dtype):
        """What `encode` makes of the outputs for samples (D, m), one sample per row."""
        encoder = copy.copy(self)  # without the training codes, which workers have no need of
        vars(encoder).pop("codes_", None)

        def encoded(X):
            with np.errstate(over="ignore", invalid="ignore"):
                H = encoder._project(X)
            if not np.isfinite(H).all():
                raise ValueError(f"X holds values too large for the arithmetic of {X.dtype}")
            return encode(H).astype(dtype, copy=False)

        return stored(encoded, X).T

    @property
    def _n_features_out(self):
        return self.codes_.shape[1]  # n_bits may have been set anew since

    def save(self, path: StrPath) -> None:
        """Write the fitted estimator to ``path``: an .npz archive without pickle.

        The file is written under a temporary name and renamed, so a full disk or an
        interruption never leaves half a file at ``path``. Codes on a cluster are fetched. A
        `random_state` that is a Generator or a RandomState is left out.

        Raises
        ------
        TypeError
            For an estimator of a class that bdnn does not have, and for parameters or attributes
            of types other than those that are named above.
        """
        check_is_fitted(self)
        if type(self).__name__ not in _known_classes():
            raise TypeError(
                f"class {type(self).__name__!r} is not part of bdnn, and load could not read the "
                "file: pickle an estimator of a class of your own"
            )
        arrays: dict[str, np.ndarray] = {}
        header = {
            "format": FORMAT,
            "class": type(self).__name__,
            "params": _encode(self.get_params(deep=False), arrays),
            "state": _encode(_learned(self), arrays),
            "versions": versions(),
        }
        _write_archive(path, header, arrays)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._requires_labels
        tags.transformer_tags.preserves_dtype = []
        return tags


def _stand_in(X, dtype):
    """A matrix of zeros in the shape of X that takes no memory: scikit-learn checks the shape."""
    return np.broadcast_to(np.zeros((), dtype), X.shape)


def _check_kind(X):
    """Raise a TypeError for what NumPy would silently take for numbers."""
    if np.ma.isMaskedArray(X):
        raise TypeError("X is a masked array, and its mask would be lost: fill it first")
    dtypes = getattr(X, "dtypes", None)  # of the columns of a table
    dtypes = dtypes if np.iterable(dtypes) else [getattr(X, "dtype", "")]
    if {getattr(dtype, "kind", "") for dtype in dtypes} & {"m", "M"}:
        raise TypeError("X holds dates or times: turn them into numbers first")


def _check_range(X):
    """Raise a ValueError if sums of squares of X would overflow, or vanish."""
    largest, limit = max(X.max(), -X.min()), np.finfo(X.dtype).max ** 0.3
    if largest > limit or 0 < largest < 1 / limit:
        raise ValueError(
            f"the largest magnitude in X is {largest:.3g}; sums of squares of such numbers leave "
            f"the range of {X.dtype}. Scale X, or use dtype='float64'"
        )


def _check_missing(y):
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


def _check_classes(y):
    """Raise a ValueError unless the labels name several classes."""
    check_classification_targets(y)
    if len(np.unique(y)) < 2:
        raise ValueError(
            f"y holds one class only, {y.tolist()[0]!r}: a supervised method needs two or more"
        )


def _known_classes():
    """The estimators of bdnn by name."""
    import bdnn

    public = (getattr(bdnn, name) for name in bdnn.__all__)
    return {c.__name__: c for c in public if isinstance(c, type) and issubclass(c, BaseHasher)}


def load(path: StrPath) -> BaseHasher:
    """Read an estimator that :meth:`BaseHasher.save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is not a bdnn model, was damaged, or names a class that bdnn does not have.
    """
    header, arrays = _read_archive(path, FORMAT, "bdnn model")
    known = _known_classes()
    try:
        name, state = str(header["class"]), _decode(header["state"], arrays)
        if name not in known:
            raise ModelFileError(f"{path}: class {name!r} is not part of this bdnn")
        estimator = known[name](**_decode(header["params"], arrays))
        if not all(key.endswith("_") and key[0] != "_" for key in state):
            raise TypeError(f"the state has other names than those of what is learned: {[*state]}")
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path} was saved by another version of bdnn: {error}") from error
    estimator.__dict__.update(state)
    return estimator


class Checkpoint:
    """The state of a training on disk, from which it goes on after it was cut off.

    Parameters
    ----------
    path : path or None
        The file, which is replaced whole whenever a state is written; None: nothing is kept.
    estimator, X, y, start
        What is trained on what, X in columns, and from where. A checkpoint of another training is
        refused; that of an array is one, too, for samples in files or blocks,
        whose sums are rounded otherwise. The `random_state` must be a whole number: nothing else
        draws the same numbers again.
    """

    def __init__(
        self,
        path: StrPath | None,
        estimator: BaseHasher,
        X: np.ndarray | Samples,
        y: ArrayLike | None = None,
        start: BaseHasher | None = None,
    ) -> None:
        self.path, self.written = path, -np.inf
        if path is not None:
            if isinstance(X, Samples) and not isinstance(X, Stream):
                raise TypeError(
                    "a checkpoint needs samples in memory or in files, not on a cluster"
                )
            params = estimator.get_params(deep=False) | {"verbose": None}
            _check_seed(params["random_state"])
            about = {"class": type(estimator).__name__, "versions": versions(), "X": _print_of(X)}
            labels = np.asarray("" if y is None else y)
            data = {"y": labels.astype(str) if labels.dtype == object else labels}
            if start is not None:
                learned = {name: getattr(start, name, None) for name in ("Ws_", "cs_", "codes_")}
                about["start"] = _encode(learned, data)
            self.training = _digest(about | {"params": _encode(params, data)}, data)

    def write(self, estimator: BaseHasher, loop: tuple) -> None:
        """Keep what `estimator` has learned and the variables of its loop.

        Nothing is written within `CHECKPOINT_SECONDS` after the last time.
        """
        if self.path is None or time.monotonic() - self.written < CHECKPOINT_SECONDS:
            return
        arrays: dict[str, np.ndarray] = {}
        loop = tuple(stored(lambda H: H, v) if isinstance(v, Stream) else v for v in loop)
        state = _encode({"learned": _learned(estimator), "loop": loop}, arrays)
        header = {"format": CHECKPOINT_FORMAT, "training": self.training, "state": state}
        _write_archive(self.path, header, arrays)
        self.written = time.monotonic()

    def read(self, estimator: BaseHasher) -> tuple | None:
        """Put back what `estimator` had learned; return the variables of its loop, or None.

        Raises
        ------
        ValueError
            If the file belongs to another training.
        ModelFileError
            If it is no checkpoint, or was damaged.
        """
        if self.path is None or not Path(self.path).exists():
            return None
        header, arrays = _read_archive(self.path, CHECKPOINT_FORMAT, "checkpoint")
        if header["training"] != self.training:
            raise ValueError(
                f"{self.path} belongs to another training: other data, parameters, start or "
                "versions. Give another path, or remove the file to begin anew"
            )
        state = _decode(header["state"], arrays)
        estimator.__dict__.update(state["learned"])
        return state["loop"]


def _check_seed(seed):
    """Raise a ValueError unless a training that goes on can draw the same numbers again."""
    try:
        check_whole_number("random_state", seed, 0)
    except ValueError as error:
        raise ValueError(
            f"{error}: with a checkpoint a training must draw the same numbers when it goes on. "
            "Give random_state=0, say, or no checkpoint"
        ) from None


def _print_of(X):
    """SHA-256 over samples (D, m), block by block, and whether they are in an array."""
    blocks = merged(operator.add, lambda X: hashlib.sha256(X.tobytes("F")).digest(), X)
    kind = f"{type(X).__name__} {X.dtype} {X.shape}"
    return hashlib.sha256(kind.encode() + blocks).hexdigest()


def _learned(estimator):
    """What an estimator has learned, by name."""
    return {name: value for name, value in vars(estimator).items() if name.endswith("_")}


def _write_archive(path, header, arrays):
    """Write header and arrays with their digest, whole or not at all."""
    header = header | {"digest": _digest(header, arrays)}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)


def _read_archive(path, kind, name):
    """Header and arrays of a file of this kind, verified against its digest."""
    with open(path, "rb") as file:
        if file.read(2) != b"PK":
            raise ModelFileError(
                f"{path} is not a {name}, or was damaged: it does not begin as one"
            )
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
            header = json.loads(str(arrays.pop("header")))
            digest = header.pop("digest")
            sound = header["format"] == kind and digest == _digest(header, arrays)
        except Exception as error:  # whatever the parsers of zip, npy and JSON stumble over
            raise ModelFileError(f"{path} is not a {name}, or was damaged: {error}") from error
    if not sound:
        raise ModelFileError(
            f"{path} was damaged, is no {name}, or was made by another version of the file format: "
            "its checksum does not match. Save it again, or fetch the file again"
        )
    return header, arrays


def _digest(header, arrays):
    """SHA-256 over the header and over name, type, shape and bytes of every array."""
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {array.shape}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _encode(value, arrays, attribute="what is saved"):
    """JSON form of ``value``; arrays are moved into ``arrays`` and referred to by name."""

    def items(values):
        return [_encode(v, arrays, attribute) for v in values]

    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return {"kind": "objects", "items": items(value.tolist())}
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"kind": "array", "name": name}
    if isinstance(value, dict):
        return {"kind": "dict", "items": {k: _encode(v, arrays, k) for k, v in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"kind": type(value).__name__, "items": items(value)}
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, type) and issubclass(value, np.generic) or isinstance(value, np.dtype):
        return np.dtype(value).name
    if isinstance(value, SPENT):
        return None
    if hasattr(value, "__array__"):  # that of a cluster
        return _encode(np.asarray(value), arrays, attribute)
    raise TypeError(
        f"{attribute} holds a {type(value).__name__}, which cannot be saved: only numbers, "
        "strings, arrays, and lists, tuples and dicts of these can"
    )


def _decode(value, arrays):
    """Undo :func:`_encode`."""
    if not isinstance(value, dict):
        return value
    if value["kind"] == "array":
        return arrays[value["name"]]
    if value["kind"] == "dict":
        return {name: _decode(item, arrays) for name, item in value["items"].items()}
    items = [_decode(item, arrays) for item in value["items"]]
    if value["kind"] == "objects":
        return np.array(items, dtype=object)
    return tuple(items) if value["kind"] == "tuple" else items
