"""Similarity, DCC, encoding, Hamming distances and evaluation beside their peers."""

import importlib.util
import statistics
import tracemalloc

import numpy as np

from bdnn import UHBDNN, losses, metrics
from bdnn.dcc import coordinate_descent
from bdnn.metrics import pack_codes
from tests.benchmarks.measure import Row
from tests.benchmarks.optimiser import Digits


def has_faiss():
    """Return True if faiss is there to compare with."""
    return importlib.util.find_spec("faiss") is not None


def random_codes(rng, n, bits):
    """Codes of -1 and +1, one per row."""
    return np.where(rng.random((n, bits)) < 0.5, np.int8(-1), np.int8(1))


def explicit_similarity(H, y):
    """The similarity with all m x m entries of S: value and gradient."""
    L, m = H.shape
    S = np.where(y[:, None] == y, H.dtype.type(1), H.dtype.type(-1))
    V = H.T @ H / L - S
    return float(np.square(V).sum(dtype=np.float64)) / (2 * m), 2 / (m * L) * (H @ V)


def similarity_rows(watch, size):
    """The similarity term against its explicit form."""
    m = {"full": 10_000, "quick": 4000, "smoke": 300}[size]
    rng = np.random.default_rng(0)
    H, y = rng.standard_normal((16, m), dtype=np.float32), rng.integers(0, 10, m)
    for a, b in zip(losses.pairwise_similarity(H, y), explicit_similarity(H, y)):
        assert np.allclose(a, b, rtol=1e-3, atol=1e-5)
    yield watch.ratio(
        "similarity",
        "explicit m x m form / ours",
        f"L=16, m={m:,}, float32",
        lambda: losses.pairwise_similarity(H, y),
        lambda: explicit_similarity(H, y),
        repetitions=3,
        goal=100 if m == 10_000 else None,
        at_least=True,
    )


def dcc_rows(watch, size):
    """Ten cycles of DCC: seconds, and against the same products alone."""
    problem = Digits({"full": 10_000, "quick": 10_000, "smoke": 300}[size])
    X, L = problem.X, 16
    rng = np.random.default_rng(0)
    W, c = rng.standard_normal((len(X), L), dtype=np.float32), np.zeros((len(X), 1), np.float32)
    H = rng.standard_normal((L, X.shape[1]), dtype=np.float32)
    start = np.zeros_like(H)

    def ours():
        return coordinate_descent(X, W, c, H, 0.05, start, cycles=10)

    codes = [coordinate_descent(X, W, c, H, 0.05, start, cycles=k) for k in range(11)]
    cycles = next((k for k in range(1, 11) if np.array_equal(codes[k], codes[k - 1])), 10)
    Q, G, B, row = np.empty_like(H), W.T @ W, problem.B, np.empty(X.shape[1], np.float32)

    def products():
        np.matmul(W.T, X, out=Q)
        np.matmul(W.T, W, out=G)
        for _ in range(cycles):
            for k in range(L):
                np.matmul(G[k], B, out=row)

    case = f"L=16, m={X.shape[1]:,}, {cycles} cycles made"
    ratio = watch.ratio("DCC", "ten cycles / the same products", case, ours, products, goal=2.0)
    yield ratio
    yield Row("DCC", "ten cycles, seconds", case, ratio.seconds, goal=0.05)


def query_by_query(A, B, labels_A, labels_B):
    """Mean average precision as hashing repositories compute it: a sort for each query."""
    total = 0.0
    for code, label in zip(A.astype(np.float32), labels_A):
        distance = 0.5 * (B.shape[1] - code @ B.T)
        hits = (labels_B == label).astype(np.float32)[np.argsort(distance, kind="stable")]
        ranks = np.flatnonzero(hits) + 1.0
        total += np.mean(np.arange(1, len(ranks) + 1) / ranks)
    return total / len(A)


def evaluation_rows(watch, size):
    """All measures against the loop over the queries; expected against stable mAP."""
    n_query, n_items, few = {
        "full": (10_000, 60_000, 100),
        "quick": (4000, 60_000, 20),
        "smoke": (40, 500, 40),
    }[size]
    rng = np.random.default_rng(0)
    A, B = random_codes(rng, n_query, 32), random_codes(rng, n_items, 32)
    labels = rng.integers(0, 10, n_query), rng.integers(0, 10, n_items)
    floats = B.astype(np.float32)
    same = metrics.mean_average_precision(A[:few], B, (labels[0][:few], labels[1]))
    assert abs(same - query_by_query(A[:few], floats, labels[0][:few], labels[1])) < 1e-6

    def loop():
        return query_by_query(A[:few], floats, labels[0][:few], labels[1])

    pairs = watch.pairs(lambda: metrics.evaluate(A, B, labels), loop, repetitions=3)
    ratios = sorted(naive / few / (ours / n_query) for ours, naive in pairs)
    case = f"{n_query:,} x {n_items:,}, 32 bits"
    yield Row(
        "evaluation of codes",
        "a sort for each query, mAP alone / ours, all measures",
        case,
        statistics.median(ratios),
        goal=20,
        at_least=True,
        spread=(ratios[0], ratios[-1]),
        seconds=statistics.median(ours for ours, _ in pairs),
    )
    tracemalloc.start()
    metrics.evaluate(A, B, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    yield Row("evaluation of codes", "new memory, GB", case, peak / 1e9, goal=1.0)
    part = A[: n_query // 10 or n_query], B, (labels[0][: n_query // 10 or n_query], labels[1])
    yield watch.ratio(
        "evaluation of codes",
        "expected mAP / stable mAP",
        case,
        lambda: metrics.mean_average_precision(*part, ties="expected"),
        lambda: metrics.mean_average_precision(*part),
        repetitions=3,
        goal=1.0,
    )
    if has_faiss():
        yield from distance_rows(watch, A[:1000], B)


def distance_rows(watch, A, B):
    """Hamming distances against faiss: all of them, and those of its brute-force binary index."""
    import faiss

    faiss.omp_set_num_threads(watch.threads)
    a, b = pack_codes(A), pack_codes(B)
    sizes = len(a), len(b), a.shape[1]
    index = faiss.IndexBinaryFlat(8 * a.shape[1])
    index.add(b)

    def all_by_faiss():
        out = np.empty(sizes[:2], np.int32)
        pointers = faiss.swig_ptr(a), faiss.swig_ptr(b)
        faiss.hammings(*pointers, *sizes, faiss.swig_ptr(out))
        return out

    def ball():
        return metrics.items_within(a, b, radius=2)

    def all_by_us():
        return metrics.hamming_distances(a, b)

    assert np.array_equal(all_by_us(), all_by_faiss())
    assert sum(map(len, ball())) == len(index.range_search(a, 3)[2])
    case, group = f"{len(a):,} x {len(b):,}, 32 bits", "evaluation of codes"
    yield watch.ratio(group, "all distances / faiss", case, all_by_us, all_by_faiss, goal=1.5)
    what = "all in the ball of radius 2 / faiss's binary index"
    yield watch.ratio(group, what, case, ball, lambda: index.range_search(a, 3), goal=1.5)


def encoding_rows(watch, size):
    """Encoding many vectors against the products of the layers."""
    m = {"full": 1_000_000, "quick": 100_000, "smoke": 3000}[size]
    rng = np.random.default_rng(0)
    X = rng.random((m, 128), dtype=np.float32)
    options = {"max_alternations": 0, "max_iter": 2, "n_init": 1, "n_validation": 0}
    model = UHBDNN(32, **options).fit(X[:2000])
    block = 4096
    widths = [W.shape[0] for W in model.Ws_]
    outputs = [np.ones((h, block), np.float32) for h in widths]

    def products():
        for start in range(0, m, block):
            H = X[start : start + block].T
            n = H.shape[1]
            for W, Z in zip(model.Ws_, outputs):
                H = np.matmul(W, H, out=Z[:, :n])

    tracemalloc.start()
    model.encode(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    case = f"{m:,} x 128 to 32 bits"
    yield watch.ratio(
        "encoding",
        "encode / its products",
        case,
        lambda: model.encode(X),
        products,
        repetitions=3,
        goal=1.2,
    )
    yield Row("encoding", "new memory / bytes of the vectors", case, peak / X.nbytes, goal=0.25)


def rows(watch, size):
    """Rows of the table."""
    yield from similarity_rows(watch, size)
    yield from dcc_rows(watch, size)
    yield from evaluation_rows(watch, size)
    yield from encoding_rows(watch, size)
