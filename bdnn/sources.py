"""Where the samples are: in an array, on disk, or wherever a program brings them from.

The trainers reach their samples through the functions of this module alone, and these work alike
on an array (D, m), samples in columns, and on :class:`Samples`, of which only the blocks that are
being worked on are in memory, one for each thread. Blocks always hold `BLOCK` samples and sums are
taken in float64 in their order, so that the result depends neither on where the samples are nor on
the number of threads.
"""

import functools
import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from itertools import islice
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import threadpoolctl
from numpy.typing import ArrayLike, DTypeLike

__all__ = [
    "BLOCK",
    "Blocks",
    "Samples",
    "alongside",
    "as_samples",
    "blockwise",
    "drop",
    "each",
    "is_source",
    "merged",
    "restore",
    "stored",
    "take",
    "total",
    "with_blocks_in_threads",
]

Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCK = 2048  # samples per block: what is computed for them fits into a processor's cache
_ALONE = None, 1  # the threads that work on the blocks, and how many they are; None: the caller
_threads: ContextVar[Any] = ContextVar("threads")  # unset: nobody shares the blocks


@functools.cache
def _libraries():
    """What sets the threads of each BLAS; it looks through all that is loaded, so once."""
    return threadpoolctl.ThreadpoolController().select(user_api="blas")


class _Limit:
    """BLAS has one thread for as long as anybody, in any thread, shares blocks among threads."""

    def __init__(self):
        self.lock, self.users, self.numbers = Lock(), 0, []

    def begin(self):
        """Return the threads that BLAS had before the first user; if several, take all but one."""
        with self.lock:
            if self.users == 0:
                self.numbers = [
                    library.num_threads or 1 for library in _libraries().lib_controllers
                ]
            n = max(self.numbers, default=1)
            if n > 1:
                self.users += 1
                if self.users == 1:
                    self._set([1] * len(self.numbers))
            return n

    def end(self):
        """Give BLAS its threads back after the last user."""
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self._set(self.numbers)
                _let_any_thread_set()

    def _set(self, numbers):
        _let_any_thread_set()
        for library, n in zip(_libraries().lib_controllers, numbers, strict=True):
            library.set_num_threads(n)


def _let_any_thread_set():
    """From threadpoolctl 3.8 on OpenBLAS obeys the thread alone that was the first to set it."""
    clear = getattr(threadpoolctl.OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


_limit = _Limit()


@functools.cache
def _keep_freed_memory():
    """Let the C library keep the memory that a block frees for the next one.

    glibc returns what is free beyond twice the largest array that was freed before (mallopt(3),
    M_MMAP_THRESHOLD), and pages that come anew cost up to half as much as the work on a block. So
    a large array is freed once; its pages are never touched.
    """
    np.empty(2**23, np.uint8)


@contextmanager
def with_blocks_in_threads() -> Iterator[None]:
    """Within it the blocks are shared among the threads that the user gives to BLAS.

    The products of one block are too small to be shared: each thread does its own block alone.
    Several threads may be within it at once; the last one to leave gives BLAS its threads back.
    """
    _keep_freed_memory()
    shared = _threads.get(None) is not None  # by a caller, or within a block of one
    n = 1 if shared else _limit.begin()
    if n == 1:
        yield
        return
    try:
        with ThreadPoolExecutor(n) as threads:
            before = _threads.set((threads, n))
            try:
                yield
            finally:
                _threads.reset(before)
    finally:
        _limit.end()


def each(fun: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results of a function of every item, in the order of the items, perhaps in threads.

    As many items are taken ahead as there are threads. When it ends, also by an exception or
    because it is left early, none of them is still computing, short of a second interruption while
    it waits for them. NumPy's errstate of the caller holds in all threads.
    """
    threads, n = _threads.get(_ALONE)
    if threads is None:
        yield from map(fun, items)
        return
    started = (threads.submit(_alone(), fun, item) for item in items)
    ahead: deque[Future] = deque()
    try:
        ahead.extend(islice(started, n))
        while ahead:
            result = ahead[0].result()
            ahead.popleft()
            ahead.extend(islice(started, 1))
            yield result
    finally:
        wait(ahead)


def _alone():
    """What runs a function in a copy of the caller's context, without threads to share blocks."""
    context = copy_context()
    context.run(_threads.set, _ALONE)
    return context.run


class Blocks:
    """Samples that a program brings block by block, as often as it is asked to.

    Parameters
    ----------
    factory : callable
        ``factory()`` returns an iterable of arrays (rows, n_features), samples in rows, blocks of
        any length. It is called once for each pass and must give the same samples every time.
    n_samples, n_features : int, optional
        Their number and length. What is not given is counted in one pass.

    Examples
    --------
    >>> files = ["part0.npy", "part1.npy"]
    >>> UHBDNN().fit(Blocks(lambda: map(np.load, files)))  # doctest: +SKIP
    """

    def __init__(
        self,
        factory: Callable[[], Iterable[ArrayLike]],
        n_samples: int | None = None,
        n_features: int | None = None,
    ) -> None:
        if not callable(factory):
            raise TypeError(
                "factory must be callable and return an iterable of blocks anew at every call, "
                f"got {type(factory).__name__}: a training passes over the samples many times"
            )
        self.factory = factory
        if n_samples is None or n_features is None:
            shapes = [np.shape(block) or (0, 0) for block in factory()]
            if n_samples is None:
                n_samples = sum(shape[0] for shape in shapes)
            if n_features is None:
                n_features = shapes[0][-1] if shapes else 0
        self.shape = (n_samples, n_features)

    def __len__(self):
        return self.shape[0]

    def __iter__(self):
        """Yield the blocks of one pass, and raise an error unless they are as announced."""
        n_samples, n_features = self.shape
        start = 0
        for block in self.factory():
            which = f"block of samples that begins at row {start}"
            masked = np.ma.isMaskedArray(block)
            block = np.asarray(block)
            if masked or block.dtype.kind not in "fiub":
                what = "is masked" if masked else f"has entries of type {block.dtype}"
                raise TypeError(f"the {which} {what}: make it an array of real numbers first")
            if block.ndim != 2 or block.shape[1] != n_features:
                raise ValueError(
                    f"the {which} has shape {block.shape}, expected (rows, {n_features})"
                )
            yield block
            start += len(block)
        if start != n_samples:
            raise ValueError(
                f"the blocks of this pass hold {start} samples, not {n_samples}: n_samples must be "
                "their number, and the factory must give the same samples at every call"
            )


def _mapped_blocks(X):
    """Blocks of a memory-mapped matrix; pages that were read are handed back to the system."""
    for start in range(0, len(X), BLOCK):
        yield X[start : start + BLOCK]
        if hasattr(mmap, "MADV_DONTNEED") and X.mode != "c":  # "c" would lose what was written
            X._mmap.madvise(mmap.MADV_DONTNEED)


def _is_dask(X):
    return type(X).__module__.partition(".")[0] == "dask"


def is_source(X: object) -> bool:
    """True for what `as_samples` takes: a memory-mapped matrix, `Blocks`, a Dask array."""
    return _is_mapped(X) or isinstance(X, Blocks) or _is_dask(X)


def _is_mapped(X):
    """True for a matrix in a file; a copy of it, in memory, is a np.memmap without a map."""
    mapped = isinstance(X, np.memmap) and X._mmap is not None
    return mapped and X.ndim == 2 and X.size > 0 and X.dtype.kind in "fiub"


def as_samples(X: Any, dtype: DTypeLike) -> "Samples":
    """Samples in columns from a source with samples in rows.

    Parameters
    ----------
    X : np.memmap, Blocks or dask.array.Array, (n_samples, n_features)
    dtype : "float32" or "float64"
        Precision that the blocks get.

    Returns
    -------
    Samples (n_features, n_samples)
    """
    if _is_dask(X):
        from bdnn.engine.scale import DaskSamples

        return DaskSamples.of(X, dtype)
    if not isinstance(X, Blocks):
        mapped = X
        X = Blocks(lambda: _mapped_blocks(mapped), *mapped.shape)
    return Stream(_Columns(X, np.dtype(dtype)), lambda X: X)


class Samples:
    """Samples in columns that are not in one array; `shape`, `dtype` and `len` as of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype
    _merged: Any  # what a kind of samples does in its own way: the functions below say what
    _stored: Any
    _blockwise: Any
    _alongside: Any
    _take: Any
    _drop: Any
    _restore: Any

    def __len__(self):
        return self.shape[0]


AnySamples = np.ndarray | Samples  # samples in columns, wherever they are


class _Columns:
    """The samples of `Blocks` in columns, without some of them, in blocks of `BLOCK` samples."""

    def __init__(self, blocks, dtype, without=()):
        self.blocks, self.dtype = blocks, dtype
        self.kept = np.ones(len(blocks), dtype=bool)
        self.kept[np.asarray(without, dtype=np.intp)] = False
        self.m = int(self.kept.sum())

    def pieces(self):
        """Yield (first row, block of rows) as the source gives them."""
        start = 0
        for block in self.blocks:
            yield start, block
            start += len(block)

    def _cast(self, piece, rows):
        """A copy of a piece of these rows in the precision asked for, checked."""
        with np.errstate(over="ignore"):  # it is an error below
            piece = piece.astype(self.dtype)
        if not np.isfinite(piece).all():
            raise ValueError(
                f"Input X contains NaN or infinity in {rows}, or a value too large for {self.dtype}"
            )
        return piece

    def __iter__(self):
        """Yield (X, columns): a block (D, n), and the slice of the samples that it holds."""
        held, n, start = [], 0, 0
        for first, piece in self.pieces():
            rows = f"rows {first} to {first + len(piece) - 1}"
            kept = self.kept[first : first + len(piece)]
            piece = piece if kept.all() else piece[kept]
            while len(piece):
                held.append(self._cast(piece[: BLOCK - n], rows))
                piece = piece[BLOCK - n :]
                n += len(held[-1])
                if n == BLOCK or start + n == self.m:
                    X = held[0] if len(held) == 1 else np.concatenate(held)
                    yield X.T, slice(start, start + n)
                    held, n, start = [], 0, start + n


class Stream(Samples):
    """A function of samples that are read, block by block, whenever they are needed.

    Parameters
    ----------
    columns : _Columns
        The samples. Streams that are used together have the same.
    function : callable
        ``function(X)`` of a block (D, n) is the block (rows, n) of this stream.
    """

    def __init__(self, columns, function):
        self._columns, self._function = columns, function
        probe = self._block(np.zeros((columns.blocks.shape[1], 1), columns.dtype))
        self.shape, self.dtype = (len(probe), columns.m), probe.dtype

    def _block(self, X):
        """The block in the order in memory that columns of a stored array have."""
        return np.asfortranarray(self._function(X))

    def _parts(self, fun, samples):
        """Pairs (columns, result of fun) for one block of all samples after the other."""

        def part(block):
            X, columns = block
            blocks = (A._block(X) if isinstance(A, Stream) else A[..., columns] for A in samples)
            return columns, fun(*blocks)

        return each(part, self._columns)

    def _merged(self, merge, fun, samples):
        return functools.reduce(merge, (part for _, part in self._parts(fun, samples)))

    def _stored(self, fun, samples):
        return _fill(self._parts(fun, samples), self.shape[1])

    def _blockwise(self, fun, samples):
        if all(isinstance(A, Stream) for A in samples):
            return Stream(self._columns, lambda X: fun(*(A._block(X) for A in samples)))
        return self._stored(fun, samples)

    def _alongside(self, values):
        return values

    def _take(self, index):
        taken = np.empty((len(self), len(index)), self.dtype, order="F")
        for X, columns in self._columns:
            here = np.flatnonzero((columns.start <= index) & (index < columns.stop))
            if here.size:
                taken[:, here] = self._block(X)[:, index[here] - columns.start]
        return taken

    def _drop(self, index):
        source = self._columns
        rows = np.flatnonzero(source.kept)[index]
        without = np.concatenate([np.flatnonzero(~source.kept), rows])
        return Stream(_Columns(source.blocks, source.dtype, without), self._function)


def _fill(parts, m):
    """The array of m columns whose blocks are given as pairs (columns, block)."""
    whole = None
    for columns, block in parts:
        if whole is None:
            whole = np.empty((m, len(block)), block.dtype).T
        whole[:, columns] = block
    return whole


def _array_parts(fun, arrays):
    """Pairs (columns, result of fun) for one block of the arrays after the other."""
    m = arrays[0].shape[-1]

    def part(start):
        columns = slice(start, min(start + BLOCK, m))
        return columns, fun(*(A[..., columns] for A in arrays))

    return each(part, range(0, m, BLOCK))


def _engine(samples):
    """The first of the samples that is not an array, or None."""
    return next((A for A in samples if isinstance(A, Samples)), None)


def merged(
    merge: Callable[[Result, Result], Result], fun: Callable[..., Result], *samples: AnySamples
) -> Result:
    """Results of a function of every block, put together two at a time.

    Parameters
    ----------
    merge : callable
        ``merge(a, b)`` of two results; associative.
    fun : callable
        ``fun(*blocks)``, called with the same columns of all samples.
    *samples : arrays (..., m) or Samples (rows, m)

    Returns
    -------
    The result for all columns.
    """
    engine = _engine(samples)
    if engine is not None:
        return engine._merged(merge, fun, samples)
    return functools.reduce(merge, (part for _, part in _array_parts(fun, samples)))


def total(fun: Callable[..., Iterable[ArrayLike]], *samples: AnySamples) -> list:
    """Sums over the blocks of samples.

    Parameters
    ----------
    fun : callable
        ``fun(*blocks)`` returns a tuple of numbers and arrays.
    *samples : arrays (..., m) or Samples (rows, m)

    Returns
    -------
    list of float64 arrays (or numbers)
    """

    def in_double(*blocks):
        return [np.asarray(value, np.float64)[()] for value in fun(*blocks)]

    return merged(_add, in_double, *samples)


def _add(a, b):
    return [x + y for x, y in zip(a, b)]


def stored(fun: Callable[..., np.ndarray], *samples: AnySamples) -> Any:
    """A function of every block, computed now and kept.

    Returns an array (rows, m) for arrays and streams; what is distributed stays so.
    """
    engine = _engine(samples)
    if engine is not None:
        return engine._stored(fun, samples)
    return _fill(_array_parts(fun, samples), samples[0].shape[-1])


def blockwise(fun: Callable[..., np.ndarray], *samples: AnySamples) -> Any:
    """A function of every block; for a stream it is computed anew whenever it is needed."""
    engine = _engine(samples)
    return engine._blockwise(fun, samples) if engine is not None else stored(fun, *samples)


def alongside(samples: AnySamples, values: np.ndarray) -> Any:
    """An array (..., m) of one value per sample, in the form that goes with the samples."""
    return samples._alongside(values) if isinstance(samples, Samples) else values


def take(samples: AnySamples, index: np.ndarray) -> np.ndarray:
    """The samples of these numbers as an array (D, k), in the order of the numbers."""
    return samples._take(index) if isinstance(samples, Samples) else samples[:, index]


def drop(samples: AnySamples, index: np.ndarray) -> Any:
    """All samples but those of these numbers."""
    if isinstance(samples, Samples):
        return samples._drop(index)
    return np.delete(samples, index, axis=1)


def restore(samples: AnySamples, index: np.ndarray, values: np.ndarray) -> Any:
    """Undo :func:`drop`: `values` (rows, k) at the numbers `index`, the samples everywhere else."""
    if isinstance(samples, Samples):
        return samples._restore(index, values)
    whole = np.empty((samples.shape[1] + len(index), len(samples)), samples.dtype).T
    kept = np.ones(whole.shape[1], dtype=bool)
    kept[index] = False
    whole[:, kept], whole[:, index] = samples, values
    return whole
