"""bdnn.sources: every source gives what the array gives, whatever its blocks, in bounded memory."""

import mmap
import os
import platform
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import clone
from threadpoolctl import threadpool_info, threadpool_limits

from bdnn import (
    ITQ,
    ITQCCA,
    SHBDNN,
    UHBDNN,
    DeepHashing,
    SpectralHashing,
    SupervisedDeepHashing,
    sources,
)
from bdnn.sources import (
    Blocks,
    as_samples,
    blockwise,
    drop,
    each,
    merged,
    restore,
    stored,
    take,
    total,
    with_blocks_in_threads,
)


def some_rows(m=1000, D=5, seed=0):
    return np.random.default_rng(seed).standard_normal((m, D)) @ np.diag(np.arange(D, 0, -1.0))


def mapped(X, path, mode="r"):
    np.save(path, X)
    return np.load(path, mmap_mode=mode)


def in_blocks(X, cuts):
    """Blocks of the rows of X that end at the given cuts."""
    return Blocks(lambda: np.split(X, sorted(cuts)), *X.shape)


# --- the functions that trainers use


@settings(max_examples=40)
@given(
    m=st.integers(1, 60),
    block=st.integers(1, 70),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    seed=st.integers(0, 99),
)
def test_a_stream_is_bit_for_bit_the_array(m, block, cuts, seed):
    rows = some_rows(m, seed=seed).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK", block)
        X, S = rows.T, as_samples(in_blocks(rows, cuts), "float32")
        for samples in (X, S):
            assert samples.shape == (5, m) and len(samples) == 5 and samples.dtype == np.float32
        rng = np.random.default_rng(seed)
        index = rng.permutation(m)[: m // 3]
        assert np.array_equal(take(X, index), take(S, index))
        if len(index):
            X, S = drop(X, index), drop(S, index)
        W = rng.standard_normal((3, 5)).astype(np.float32)
        weight = rng.standard_normal(X.shape[1]).astype(np.float32)
        found = []
        for samples in (X, S):
            H = blockwise(lambda x: W @ x, samples)
            found.append(
                (
                    *total(lambda x, h, w: (x * w @ h.T, h.sum(), h.shape[1]), samples, H, weight),
                    stored(lambda x, h: (x[:3] * h).astype(np.float16), samples, H),
                    merged(np.minimum, lambda h: h.min(axis=1), H),
                )
            )
        assert H.shape == (3, X.shape[1]) and H.dtype == np.float32
        for a, b in zip(*found):
            assert np.array_equal(a, b)
        assert found[0][2] == X.shape[1]
        assert np.allclose(found[0][0], X * weight @ (W @ X).T, atol=1e-3)


def test_columns_can_be_dropped_twice_and_are_numbered_anew():
    rows = some_rows(20)
    for samples in (rows.T, as_samples(in_blocks(rows, [3, 11]), "float64")):
        rest = drop(drop(samples, np.array([0, 5])), np.array([0, 17]))
        kept = [row for row in range(20) if row not in (0, 5, 1, 19)]
        assert np.array_equal(take(rest, np.arange(16)), rows[kept].T)
        assert np.array_equal(take(rest, np.array([15, 0])), rows[[18, 2]].T)


def test_restore_undoes_drop():
    X, index = some_rows(20).T, np.array([7, 0, 19])
    assert np.array_equal(restore(drop(X, index), index, take(X, index)), X)


# --- threads


def blas_threads():
    return {
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    }


def in_threads(n):
    """Blocks in n threads, whatever the tests run with."""
    threads = ExitStack()
    threads.enter_context(threadpool_limits(n, user_api="blas"))
    threads.enter_context(with_blocks_in_threads())
    return threads


@pytest.mark.parametrize("n", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(n):
    def slowest_first(item):
        time.sleep(0.02 / (1 + item))
        return item, threading.get_ident()

    with in_threads(n):
        found = list(each(slowest_first, iter(range(7))))
        assert list(each(slowest_first, [])) == []
    assert [item for item, _ in found] == list(range(7))
    assert len({thread for _, thread in found}) == n


def test_items_are_taken_when_their_turn_comes():
    taken = []
    with in_threads(2):
        results = each(lambda item: item, (taken.append(i) or i for i in range(100)))
        assert [next(results) for _ in range(3)] == [0, 1, 2] and taken == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("bad", [0, 1, 2, 5])
def test_an_exception_in_a_block_reaches_the_caller(bad):
    def fun(item):
        if item == bad:
            raise KeyError(item)
        return item

    with in_threads(3):
        results, found = each(fun, range(6)), []
        with pytest.raises(KeyError, match=str(bad)):
            found.extend(results)
        assert found == list(range(bad)) and list(results) == []
        assert list(each(fun, range(6, 12))) == list(range(6, 12))
    assert list(each(fun, range(6, 9))) == [6, 7, 8]


def test_items_that_cannot_be_brought():
    """Whatever was begun before has ended when the caller hears of it."""
    finished = []

    def broken():
        yield 0.1
        raise OSError("gone")

    def fun(item):
        time.sleep(item)
        finished.append(item)

    with in_threads(2), pytest.raises(OSError, match="gone"):
        try:
            list(each(fun, broken()))
        finally:
            assert finished == [0.1]


@pytest.mark.parametrize("how", ["an exception", "left early"])
def test_nothing_is_computed_after_the_end(how):
    finished = []

    def fun(item):
        if item == 0 and how == "an exception":
            raise KeyError
        time.sleep(0.05 * item)
        finished.append(item)

    with in_threads(2):
        results = each(fun, range(9))
        with pytest.raises(KeyError) if how == "an exception" else nullcontext():
            next(results)
        results.close()
        assert finished == ([1] if how == "an exception" else [0, 1, 2])
        assert list(each(abs, [-1, -2, -3])) == [1, 2, 3]


def test_blocks_within_a_block():
    """Not even blocks that ask for threads of their own wait for each other."""

    def inner(item):
        with with_blocks_in_threads():
            return sum(each(abs, range(item)))

    def outer(item):
        return list(each(inner, range(item, item + 4)))

    expected = [[sum(range(k)) for k in range(item, item + 4)] for item in range(5)]
    with in_threads(2):
        assert list(each(outer, range(5))) == expected
        with with_blocks_in_threads():
            assert list(each(outer, range(5))) == expected


def test_who_asks_for_threads_within_a_training_has_those_of_the_training():
    with in_threads(2):
        outer = sources._threads.get()
        with with_blocks_in_threads():
            assert sources._threads.get() is outer and sources._limit.users == 1
        assert blas_threads() == {1}
    assert sources._limit.users == 0


def test_errors_of_numpy_are_treated_alike_in_all_threads():
    def overflowing(item):
        return np.full(3, 1e38, np.float32) * np.float32(10 + item)

    with in_threads(3):
        with warnings.catch_warnings(), np.errstate(over="ignore"):
            warnings.simplefilter("error")
            assert np.isinf(list(each(overflowing, range(6)))).all()
        found = each(lambda item: item and overflowing(item), range(6))
        with np.errstate(over="raise"), pytest.raises(FloatingPointError):
            list(found)


@pytest.mark.parametrize("error", [None, KeyError, KeyboardInterrupt])
def test_blas_has_its_threads_back(error):
    def fun(item):
        assert blas_threads() == {1}
        if error and item == 1:
            raise error
        return item

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with pytest.raises(error) if error else nullcontext(), with_blocks_in_threads():
            assert list(each(fun, range(4))) == [0, 1, 2, 3]
        assert blas_threads() == before == {2}
        running = {thread.name for thread in threading.enumerate()}
        assert not any(name.startswith("ThreadPoolExecutor") for name in running)


def enter_in_a_thread(begun, leave, after):
    """Share blocks in a thread until `leave` is set; what they ran with, and the thread."""
    found = []

    def look(_):
        time.sleep(0.02)
        return threading.get_ident(), blas_threads()

    def run():
        with with_blocks_in_threads():
            begun.set()
            leave.wait()
            found.extend(each(look, range(9)))
            found.append(blas_threads())
        after.wait()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(60)
    return thread, found


@pytest.mark.parametrize("first_to_leave", [0, 1])
def test_the_last_of_several_users_gives_blas_its_threads_back(first_to_leave):
    after = threading.Event()
    with threadpool_limits(2, user_api="blas"):
        begun, leave = ([threading.Event() for _ in range(2)] for _ in range(2))
        users = [enter_in_a_thread(*events, after) for events in zip(begun, leave)]
        for user in (first_to_leave, 1 - first_to_leave):
            assert blas_threads() == {1}
            leave[user].set()
            wait_until(lambda user=user: len(users[user][1]) == 10)
        wait_until(lambda: blas_threads() == {2})
        for _, found in users:
            assert found.pop() == {1} and all(threads == {1} for _, threads in found)
            assert len({thread for thread, _ in found}) == 2
        in_another_thread(check_that_limits_work)
    in_another_thread(check_that_limits_work)
    after.set()


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def in_another_thread(call):
    """Run it there, and let its exception be ours."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(call).result()


def check_that_limits_work():
    for n in (3, 2):
        with threadpool_limits(n, user_api="blas"):
            assert blas_threads() == {n}


CONTROL = """
import threading
from threadpoolctl import threadpool_info, threadpool_limits
from bdnn.sources import with_blocks_in_threads
with with_blocks_in_threads():
    pass
found = []
def limit():
    for n in (3, 2):
        with threadpool_limits(n, user_api="blas"):
            found.extend(l["num_threads"] for l in threadpool_info() if l["user_api"] == "blas")
thread = threading.Thread(target=limit)
thread.start()
thread.join()
print({*found})
"""


@pytest.mark.parametrize("n", [1, 2])
def test_a_thread_that_shared_blocks_does_not_keep_blas_for_itself(n):
    run = [sys.executable, "-c", CONTROL]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(n))
    found = subprocess.run(run, env=os.environ | threads, capture_output=True, check=True)
    assert found.stdout.split() == [b"{2,", b"3}"]


def test_sums_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr(sources, "BLOCK", 70)
    rows = some_rows(1000).astype(np.float32)
    found = []
    for n in (1, 2, 3):
        for samples in (rows.T, as_samples(in_blocks(rows, [3, 500]), "float32")):
            with in_threads(n):
                products = total(lambda X: (X @ X.T, X.sum()), samples)
                kept = stored(lambda X: np.tanh(X[:2]), samples)
                found.append(
                    (*products, kept, merged(np.maximum, lambda X: X.max(axis=1), samples))
                )
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


# --- sources


def test_blocks_are_counted_if_nobody_says_how_many():
    X = some_rows(30)
    assert Blocks(lambda: [X[:20], X[20:]]).shape == (30, 5)


def test_what_is_given_of_the_shape_is_kept():
    X = some_rows(30)
    assert Blocks(lambda: [X], n_samples=500).shape == (500, 5)
    assert Blocks(lambda: [X], n_features=4).shape == (30, 4)
    with pytest.raises(ValueError, match="hold 30 samples, not 500: n_samples must be"):
        ITQ(n_bits=2).fit(Blocks(lambda: [X], n_samples=500))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        pytest.param(np.ma.masked_greater(some_rows(20), 1), "is masked", id="masked"),
        pytest.param(np.full((20, 5), 5, "m8[s]"), "type timedelta64", id="durations"),
        pytest.param(np.full((20, 5), "2024-01-01", "M8[D]"), "type datetime64", id="dates"),
        pytest.param(some_rows(20) + 1j, "type complex128", id="complex numbers"),
        pytest.param(np.full((20, 5), "1"), "type <U1", id="words"),
        pytest.param(some_rows(20).astype(object), "type object", id="objects"),
        pytest.param(csr_array(some_rows(20)), "type object", id="a sparse matrix"),
        pytest.param(None, "type object", id="nothing"),
    ],
)
def test_a_block_that_holds_no_real_numbers_is_refused(bad, message):
    X = some_rows(30)
    blocks = Blocks(lambda: [X[:10], bad], 30, 5)
    with pytest.raises(TypeError, match=f"begins at row 10 .*{message}"):
        ITQ(n_bits=2).fit(blocks)
    with pytest.raises(TypeError, match=f"begins at row 10 .*{message}"):
        ITQ(n_bits=2).fit(X).encode(blocks)
    with pytest.raises(TypeError, match=message):
        ITQ(n_bits=2).fit(Blocks(lambda: [X[:10], bad]))


@pytest.mark.parametrize("kind", ["f2", "f8", "i1", "u8", "?"])
def test_blocks_of_every_kind_of_number(kind):
    X = np.abs(10 * some_rows(30)).astype(kind)
    found, array = (ITQ(n_bits=2).fit(rows) for rows in (in_blocks(X, [10]), X))
    assert np.array_equal(found.codes_, array.codes_)


def test_a_factory_that_can_be_read_once_only_is_refused():
    X = some_rows(30)
    with pytest.raises(TypeError, match="callable"):
        Blocks([X[:20], X[20:]])
    spent = iter([X[:20], X[20:]])
    with pytest.raises(ValueError, match="this pass hold 0 samples, not 30"):
        ITQ(n_bits=2).fit(Blocks(lambda: spent))


@pytest.mark.parametrize("bad", (np.nan, np.inf, -np.inf))
def test_values_that_are_not_finite_are_named_by_row(bad):
    X = some_rows(30)
    X[21, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinity in rows 20 to 29"):
        ITQ(n_bits=2).fit(in_blocks(X, [10, 20]))
    found = ITQ(n_bits=2).fit(X[:20])
    with pytest.raises(ValueError, match="NaN or infinity in rows 20 to 29"):
        found.transform(in_blocks(X, [10, 20]))


def test_values_beyond_the_precision_are_named_by_row(tmp_path):
    X = some_rows(30)
    fitted = ITQ(n_bits=2, dtype="float32").fit(X)
    X[21, 3] = 1e300
    for source in (mapped(X, tmp_path / "X.npy"), in_blocks(X, [10, 20])):
        for call in (clone(fitted).fit, fitted.transform):
            with pytest.raises(ValueError, match="rows .* to 29, or a value too large for float32"):
                call(source)
    assert np.isfinite(take(as_samples(in_blocks(X, [10]), "float64"), np.arange(30))).all()


def test_a_block_of_another_width_is_named():
    X = some_rows(30)
    with pytest.raises(ValueError, match=r"begins at row 10 has shape \(20, 4\), expected"):
        ITQ(n_bits=2).fit(Blocks(lambda: [X[:10], X[10:, :4]]))


def test_what_scikit_learn_checks_of_an_array_is_checked_of_a_source():
    X = some_rows(30)
    blocks = in_blocks(X, [10])
    with pytest.raises(ValueError, match="more than n_samples = 30"):
        ITQ(n_bits=31).fit(blocks)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ITQCCA(n_bits=2).fit(blocks, np.arange(29) % 2)
    with pytest.raises(ValueError, match="one class only"):
        ITQCCA(n_bits=2).fit(blocks, np.zeros(30))
    found = ITQ(n_bits=2).fit(blocks)
    assert found.n_features_in_ == 5
    with pytest.raises(ValueError, match="has 4 features, but ITQ is expecting 5"):
        found.transform(in_blocks(X[:, :4], [10]))


def test_methods_that_need_the_whole_array_say_so():
    with pytest.raises(TypeError, match="SpectralHashing learns from an array only"):
        SpectralHashing(n_bits=2).fit(in_blocks(some_rows(30), [10]))


def test_the_files_of_a_memory_map_are_not_changed(tmp_path):
    X = some_rows(30).astype(np.float32)
    for mode in ("r", "r+", "c"):
        M = mapped(X, tmp_path / "X.npy", mode)
        if mode == "c":
            M[0] += 1  # in memory only
        codes = ITQ(n_bits=3, dtype="float32").fit(M).codes_
        expected = X + (np.arange(30) == 0)[:, None] if mode == "c" else X
        assert np.array_equal(np.asarray(M), expected)
        assert np.array_equal(codes, ITQ(n_bits=3).fit(expected.astype(np.float32)).codes_)
    assert np.array_equal(np.load(tmp_path / "X.npy"), X)


@pytest.mark.parametrize("copied", [np.memmap.copy, partial(np.memmap.astype, dtype=np.float32)])
def test_a_copy_of_a_memory_map_is_an_array(tmp_path, copied):
    X = copied(mapped(some_rows(30), tmp_path / "X.npy"))
    assert isinstance(X, np.memmap)
    found, array = (ITQ(n_bits=3).fit(rows) for rows in (X, np.array(X)))
    assert np.array_equal(found.codes_, array.codes_)
    assert np.array_equal(found.encode(X), array.encode(X))


# --- ITQ


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("method", (ITQ, ITQCCA))
def test_itq_learns_the_same_from_every_source(tmp_path, method, dtype):
    X = some_rows(10_000, 12)
    y = (X[:, 0] > 0) + 2 * (X[:, 1] > 1)
    M = mapped(X, tmp_path / "X.npy")
    array = method(n_bits=8, dtype=dtype, n_iter=20).fit(X, y)
    for source in (M, in_blocks(X, [1, 5000, 5001])):
        found = method(n_bits=8, dtype=dtype, n_iter=20).fit(source, y)
        assert found.history_ == array.history_
        assert np.array_equal(found.W_, array.W_) and np.array_equal(found.codes_, array.codes_)
        for encode in ("transform", "encode", "decision_function"):
            inside, outside = getattr(array, encode)(X), getattr(found, encode)(source)
            assert inside.dtype == outside.dtype and np.array_equal(inside, outside)


# --- the networks

SMALL = {"n_bits": 6, "max_alternations": 2, "max_iter": 8}
NETWORKS = {
    "uh": UHBDNN(**SMALL, n_init=2, n_validation=300),
    "uh by map": UHBDNN(**SMALL, n_init=1, n_validation=200, criterion="map", dtype="float64"),
    "uh jointly": UHBDNN(**SMALL, n_init=1, n_validation=0, decoder="joint"),
    "sh": SHBDNN(**SMALL, n_validation=300),
    "sh by map": SHBDNN(**SMALL, n_validation=200, criterion="map", init="itq", scaling="range"),
    "dh": DeepHashing(n_bits=16, max_iter=8),
    "supervised dh": SupervisedDeepHashing(n_bits=16, max_iter=8, dtype="float64"),
}


@pytest.fixture(scope="module")
def labelled():
    """More samples than fill two blocks, in three classes."""
    X = some_rows(5000, 24, seed=1).astype(np.float32)
    return X, (X[:, 0] > 5).astype(int) + (X[:, 1] > 0)


def relative_difference(one, other):
    """The largest relative difference of the objectives of two trainings."""
    pairs = zip(one.history_, other.history_, strict=True)
    return max(abs(a["objective"] / b["objective"] - 1) for a, b in pairs)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.rounding
def test_a_network_learns_the_same_from_a_file(tmp_path, labelled, name):
    X, y = labelled
    array = clone(NETWORKS[name]).fit(X, y)
    found = clone(NETWORKS[name]).fit(mapped(X, tmp_path / "X.npy"), y)
    # the same sums in another order: L-BFGS makes what rounding differs in grow
    assert relative_difference(found, array) < 1e-3
    assert found.codes_.shape == array.codes_.shape and found.codes_.dtype == np.int8
    assert np.mean(found.codes_ != array.codes_) < 0.02
    assert np.array_equal(found.encode(X), found.encode(in_blocks(X, [100, 3000])))


def test_training_goes_on_from_a_start_in_a_file(tmp_path, labelled):
    X, _ = labelled
    M = mapped(X, tmp_path / "X.npy")
    model = UHBDNN(**SMALL, n_init=1, n_validation=300)
    first = clone(model).fit(M)
    again = [clone(model).fit(source, start=first) for source in (M, X)]
    assert relative_difference(*again) < 1e-3
    assert again[0].history_[0]["objective"] < first.history_[0]["objective"]


MEMORY = """
import sys
import numpy as np
from bdnn import ITQ, UHBDNN
X = np.load(sys.argv[1], mmap_mode="r")
options = {"init": "random", "n_init": 1, "max_alternations": 1, "max_iter": 1}
for model in (ITQ(8, n_iter=2), UHBDNN(8, **options, n_validation=20)):
    model.fit(X).encode(X)
status = open("/proc/self/status").read()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc, as Linux has it")
def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for m in (10_000, 250_000):
        rows = np.random.default_rng(0).standard_normal((10_000, 64), dtype=np.float32)
        path = tmp_path / f"{m}.npy"
        np.save(path, np.tile(rows, (m // 10_000, 1)))
        run = [sys.executable, "-c", MEMORY, str(path)]
        found = subprocess.run(run, capture_output=True, text=True, check=True)
        peaks.append(int(found.stdout) / 1024)
    assert path.stat().st_size > 60e6
    assert peaks[1] - peaks[0] < 25  # MB: codes and numbers of the samples, not the 64 MB of rows


PAGES = """
import resource
import numpy as np
from bdnn.sources import stored, with_blocks_in_threads
X = np.ones((128, 50 * 2048), np.float32)
with with_blocks_in_threads():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    stored(lambda X: [X - 1, X - 2, X - 3, X - 4][0][:1].copy(), X)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what free does is glibc's affair")
def test_blocks_take_their_memory_from_the_blocks_before():
    run = [sys.executable, "-c", PAGES]
    alone = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    found = subprocess.run(run, env=alone, capture_output=True, text=True, check=True)
    of_a_block = 4 * 128 * 2048 * 4 / mmap.PAGESIZE
    assert int(found.stdout) < 10 * of_a_block
