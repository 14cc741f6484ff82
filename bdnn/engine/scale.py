# Generated from notebooks/16_scale.py by `course.py export 16`: edit the notebook.
"""Distributed samples, and what a distributed training costs.

The trainers of the other modules see their samples through `bdnn.sources`; here is the form in
which the samples lie on the workers of a Dask cluster.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import dask
import numpy as np
from dask import array as da
from distributed import Client, Future, get_client
from distributed.comm.tcp import TCP
from numpy.typing import DTypeLike

from bdnn import sources
from bdnn.sources import Samples

__all__ = ["DaskSamples", "EvaluationCost", "SentBytes", "evaluation_cost"]


def _placed(rows, dtype, first_row):
    """A part as a worker holds it: checked, in columns, in the precision asked for."""
    with np.errstate(over="ignore"):  # it is an error below
        rows = np.ascontiguousarray(rows, dtype)
    if not np.isfinite(rows).all():
        where = f"rows {first_row} to {first_row + len(rows) - 1}"
        raise ValueError(
            f"Input X contains NaN or infinity in {where}, or a value too large for {rows.dtype}"
        )
    return rows.T


def _joined(*pieces):
    """Pieces of neighbouring parts as one."""
    return np.asfortranarray(np.concatenate(pieces, axis=-1))


def _cut(part, start, stop):
    """Some columns of a part, without the rest of it."""
    return part[..., start:stop].copy(order="F")


class DaskSamples(Samples):
    """Samples in columns that lie in parts on the workers of a Dask cluster.

    What trainers do to them, through `bdnn.sources`, is done to every part where it lies; what
    comes back is a result per part. A part that is lost with its worker is made again.

    Parameters
    ----------
    client : distributed.Client
    parts : list of futures
        Arrays (rows, m_k), or (m_k,) for one value per sample.
    widths : list of int
        Their numbers of columns m_k: multiples of `sources.BLOCK`, but for the last part.
    probe : array (rows, 1) or (1,)
        A column in the shape and precision of the others.
    """

    def __init__(
        self, client: Client, parts: list[Future], widths: list[int], probe: np.ndarray
    ) -> None:
        self.client, self.parts, self.widths, self.probe = client, parts, widths, probe
        self.shape, self.dtype = (*probe.shape[:-1], sum(widths)), probe.dtype

    @classmethod
    def of(cls, X: da.Array, dtype: DTypeLike, n_parts: int | None = None) -> "DaskSamples":
        """The samples of a Dask array (m, D), in as many parts as the workers have threads."""
        client = _current_client()
        m, D = X.shape
        cuts = _cuts(m, n_parts or max(1, sum(client.nthreads().values())))
        widths = [stop - start for start, stop in cuts]
        rows = X.rechunk((tuple(widths), D)).to_delayed().ravel()
        place = dask.delayed(_placed, pure=True)
        parts = client.compute([place(r, dtype, start) for r, (start, _) in zip(rows, cuts)])
        return cls(client, parts, widths, np.zeros((D, 1), dtype))

    @property
    def T(self) -> da.Array:
        """The samples in rows, as a Dask array whose chunks stay where they are."""
        turn = dask.delayed(np.transpose)
        shapes = [(width, *self.shape[:-1]) for width in self.widths]
        pairs = zip(self.parts, shapes)
        rows = [da.from_delayed(turn(part), shape, dtype=self.dtype) for part, shape in pairs]
        return da.concatenate(rows)

    def _on_parts(self, task, samples):
        """Futures of ``task(*parts)``, a task for each part."""
        parts = zip(*(A.parts for A in samples))
        return [self.client.submit(task, *part, pure=False) for part in parts]

    def _merged(self, merge, fun, samples):
        task = functools.partial(sources.merged, merge, fun)
        return functools.reduce(merge, self.client.gather(self._on_parts(task, samples)))

    def _stored(self, fun, samples):
        task = functools.partial(sources.stored, fun)
        probe = fun(*(A.probe for A in samples))
        return DaskSamples(self.client, self._on_parts(task, samples), self.widths, probe)

    _blockwise = _stored

    def _alongside(self, values):
        values = np.asarray(values)
        pieces = np.split(values, np.cumsum(self.widths)[:-1], axis=-1)
        parts = [self.client.submit(np.array, piece, pure=False) for piece in pieces]
        return DaskSamples(self.client, parts, self.widths, values[..., :1])

    def _local(self, index):
        """For each part the numbers, within it, of those of the samples that it holds."""
        first = np.cumsum([0, *self.widths])
        return [index[(a <= index) & (index < b)] - a for a, b in zip(first, first[1:])]

    def _take(self, index):
        local = self._local(index)
        tasks = [self.client.submit(sources.take, *p, pure=False) for p in zip(self.parts, local)]
        taken = np.concatenate(self.client.gather(tasks), axis=-1)
        order = np.argsort(np.searchsorted(np.cumsum(self.widths), index, "right"), kind="stable")
        return taken[..., np.argsort(order)]

    def _drop(self, index):
        local = self._local(index)
        parts = [self.client.submit(sources.drop, *p, pure=False) for p in zip(self.parts, local)]
        widths = [width - len(i) for width, i in zip(self.widths, local)]
        left = DaskSamples(self.client, parts, widths, self.probe)
        cuts = _cuts(sum(widths), len(widths))
        new = [left._columns(start, stop) for start, stop in cuts]
        return DaskSamples(self.client, new, [b - a for a, b in cuts], self.probe)

    def _restore(self, index, values):
        order = np.argsort(index)
        index, values, new = index[order], values[:, order], []
        cuts = _cuts(self.shape[-1] + len(index), len(self.parts))
        for start, stop in cuts:
            i, j = np.searchsorted(index, (start, stop))
            part = self._columns(start - i, stop - j)
            task = self.client.submit(sources.restore, part, index[i:j] - start, values[:, i:j])
            new.append(task)
        return DaskSamples(self.client, new, [b - a for a, b in cuts], self.probe)

    def _columns(self, start, stop):
        """A future of neighbouring columns; where they lie in two parts, a piece of one moves."""
        first = np.cumsum([0, *self.widths])
        spans = [np.clip((start, stop), a, b) - a for a, b in zip(first, first[1:])]
        pieces = [
            self.client.submit(_cut, part, int(a), int(b), pure=False)
            for part, (a, b) in zip(self.parts, spans)
            if a < b
        ]
        return self.client.submit(_joined, *pieces, pure=False)


def _cuts(m, n_parts):
    """First column and end of each part: whole blocks, the same as an array is cut into."""
    blocks = -(-m // sources.BLOCK)
    width = sources.BLOCK * -(-blocks // n_parts)
    return [(start, min(start + width, m)) for start in range(0, m, width)]


def _current_client():
    try:
        return get_client()
    except ValueError:
        message = "a Dask array needs a running client: client = distributed.Client() starts one"
        raise ValueError(message) from None


def _count_sent_bytes():
    """Make this process count the bytes that Dask sends from it over TCP."""
    if hasattr(TCP, "sent_bytes"):
        return
    write = TCP.write

    async def counted(self, *args, **options):
        n = await write(self, *args, **options)
        TCP.sent_bytes += n
        return n

    TCP.sent_bytes, TCP.write = 0, counted


def _sent_bytes():
    return TCP.sent_bytes


class SentBytes:
    """Context manager: the bytes that client, scheduler and workers send while its block runs.

    Counts at Dask's own sockets, in this process and in all workers. After the block, `total` is
    the number of bytes; the signs of life that workers send all the time are among them.

    Parameters
    ----------
    client : distributed.Client
        Of a cluster whose scheduler runs in this process, such as a `LocalCluster`.
    """

    def __init__(self, client: Client) -> None:
        self.client, self.total = client, 0

    def _now(self):
        return _sent_bytes() + sum(self.client.run(_sent_bytes).values())

    def __enter__(self) -> "SentBytes":
        _count_sent_bytes()
        self.client.run(_count_sent_bytes)
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.total = self._now() - self._start


class EvaluationCost(NamedTuple):
    """What an evaluation of the encoder's objective costs: Eq. (5) of notebook 16."""

    memory: float  # bytes on a worker
    moved: float  # bytes to and from a worker, for an evaluation
    compute: float  # seconds
    communicate: float  # seconds

    @property
    def seconds(self) -> float:
        """Seconds of an evaluation."""
        return self.compute + self.communicate


def evaluation_cost(
    m: int,
    D: int,
    sizes: Sequence[int],
    n_workers: int,
    rate: float,
    bandwidth: float,
    latency: float = 1e-3,
) -> EvaluationCost:
    """Calculate the cost of an evaluation on a cluster: Eq. (5) of notebook 16.

    Parameters
    ----------
    m, D : int
        Samples, and their length.
    sizes : sequence of int
        Units of the layers: principal axes, ..., L.
    n_workers : int
    rate : float
        Operations per second of a worker.
    bandwidth : float
        Bytes per second of the link of the client.
    latency : float
        Seconds that a message takes, however short.

    Returns
    -------
    EvaluationCost
    """
    L, weights = sizes[-1], sum(a * b for a, b in zip(sizes, sizes[1:]))
    parameters = weights + sum(sizes[1:])
    operations = 8 * weights - 2 * sizes[0] * sizes[1] + 4 * L**2
    moved = 16 * parameters + 16 * (L**2 + L + 2)
    share = m / n_workers
    return EvaluationCost(
        memory=share * (12 * D + 4 * sizes[0] + 5 * L),
        moved=moved,
        compute=share * operations / rate,
        communicate=n_workers * moved / bandwidth + 4 * latency,
    )
