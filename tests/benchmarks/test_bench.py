"""The benchmarks run: every row of `course.py bench` at tiny sizes, whatever its goal."""

import itertools
import json
import math

import numpy as np
import pytest

from bdnn import sources
from tests.benchmarks import measure, objectives, optimiser, retrieval
from tests.benchmarks.measure import Row, Stopwatch
from tools import bench


@pytest.mark.parametrize("group", bench.GROUPS)
def test_every_ratio_is_finite_and_positive(group):
    rows = list(bench.GROUPS[group].rows(Stopwatch(repetitions=2), "smoke"))
    assert len(rows) >= 1
    for row in rows:
        assert math.isfinite(row.value) and row.value >= 0, row
        assert row.met in (None, True, False)


def test_a_row_knows_whether_its_goal_is_met():
    assert Row("g", "w", "c", 1.2, goal=1.25).met and not Row("g", "w", "c", 1.3, goal=1.25).met
    assert Row("g", "w", "c", 30, goal=20, at_least=True).met
    assert not Row("g", "w", "c", 10, goal=20, at_least=True).met
    assert Row("g", "w", "c", 10).met is None


def test_pairs_of_the_stopwatch(monkeypatch):
    watch, calls = Stopwatch(repetitions=3), []
    pairs = watch.pairs(lambda: calls.append("a"), lambda: calls.append("b"))
    assert len(pairs) == measure.ENOUGH[1] and calls == ["a", "b"] * (len(pairs) + 1)
    monkeypatch.setattr(measure, "ENOUGH", (0, 50))
    assert len(watch.pairs(lambda: None, lambda: None)) == 3
    row = watch.ratio("g", "w", "c", lambda: sum(range(200_000)), lambda: None)
    inverse = watch.ratio("g", "w", "c", lambda: sum(range(200_000)), lambda: None, at_least=True)
    assert row.value > 1 > inverse.value


def test_with_several_threads_each_side_runs_alone_before_it_is_timed(monkeypatch):
    monkeypatch.setattr(measure, "SETTLED", 3)
    watch, calls = Stopwatch(threads=2, repetitions=2), []
    watch.clock = itertools.count().__next__  # every look at it is a second later
    assert len(watch.pairs(lambda: calls.append("a"), lambda: calls.append("b"))) == 2
    assert "".join(calls) == "ab" + "aaabbb" + "aaabbb"


def test_products_of_the_floor_are_those_of_an_evaluation():
    """The reference does what it says: its first product is the first one of the network."""
    problem = objectives.Problem(50, D=7, L=4)
    multiplied = []

    def counted(a, b, out):
        multiplied.append((a.shape, b.shape))
        return np.matmul(a, b, out=out)

    objectives.matrix_products(problem, counted)()
    assert len(multiplied) == 3 + 2 + 3 + 2
    assert multiplied[0] == ((90, 7), (7, 50)) and multiplied[-1] == ((90, 50), (50, 7))


@pytest.mark.parametrize("method", ["UH", "SH"])
def test_autograd_computes_what_we_compute(method):
    pytest.importorskip("torch")
    problem = objectives.Problem(60, D=9, L=5, dtype="float64")
    ours, theirs = problem.objective(method)(problem.theta), objectives.autograd(problem, method)()
    assert ours[0] == pytest.approx(theirs[0], rel=1e-10)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-8, atol=1e-10)


def test_explicit_similarity_and_the_loop_compute_what_we_compute():
    rng = np.random.default_rng(0)
    H, y = rng.normal(size=(4, 30)), rng.integers(0, 3, 30)
    for a, b in zip(
        retrieval.explicit_similarity(H, y), retrieval.losses.pairwise_similarity(H, y)
    ):
        np.testing.assert_allclose(a, b)
    A, B = retrieval.random_codes(rng, 9, 8), retrieval.random_codes(rng, 40, 8)
    labels = rng.integers(0, 3, 9), rng.integers(0, 3, 40)
    loop = retrieval.query_by_query(A, B.astype(np.float32), *labels)
    assert retrieval.metrics.mean_average_precision(A, B, labels) == pytest.approx(loop)


def test_digits_are_the_encoder_step_of_the_course():
    problem = optimiser.Digits(200)
    assert problem.X.shape == (784, 200) and set(np.unique(problem.B)) == {-1, 1}
    found = optimiser.our_run(problem, problem.objective("UH")(problem.theta)[0] * 0.9, whiten=True)
    assert found.nit >= 1


@pytest.mark.parametrize("bits", [8, 32, 60])
def test_faiss_finds_in_our_bytes_the_neighbours_that_we_find(bits):
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(bits)
    A, B = retrieval.random_codes(rng, 20, bits), retrieval.random_codes(rng, 300, bits)
    a, b = retrieval.pack_codes(A), retrieval.pack_codes(B)
    index = faiss.IndexBinaryFlat(8 * a.shape[1])
    index.add(b)
    distances, neighbours = index.search(a, 10)
    D = retrieval.metrics.hamming_distances(A, B)
    np.testing.assert_array_equal(distances, np.sort(D, axis=1)[:, :10])
    np.testing.assert_array_equal(np.take_along_axis(D, neighbours, axis=1), distances)


class TwoRows:
    """A group of rows that takes no time: one goal met, one missed."""

    @staticmethod
    def rows(watch, size):
        yield Row("g", "met", "case", 0.5, goal=1.0)
        yield Row("g", "missed", "case", 2.0, goal=1.0, spread=(1.9, 2.1), seconds=0.1)


@pytest.mark.parametrize(("size", "code"), [("--quick", 1), ("--smoke", 0)])
def test_the_command_prints_the_table_and_records_it(size, code, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(bench.GROUPS, "codes", TwoRows)
    path = tmp_path / "bench.json"
    assert bench.main([size, "--only", "codes", "--record", str(path)]) == code
    rows = json.loads(path.read_text())
    assert [row["met"] for row in rows] == [True, False] and rows[0]["threads"] == 1
    assert rows[0]["versions"]["blas"]
    printed = capsys.readouterr().out
    assert "2 rows on 1 of" in printed and "1 miss their goal" in printed and "NO" in printed


def test_a_record_that_cannot_be_written_is_told_first(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "measure", None)
    with pytest.raises(FileNotFoundError, match="there is no folder .*no/such for"):
        bench.main(["--record", str(tmp_path / "no/such/bench.json")])
    with pytest.raises(IsADirectoryError, match="is a folder: name a file"):
        bench.main(["--record", str(tmp_path)])


class Threads:
    """A group without rows that notes threads of blocks and of products on both sides."""

    seen = []

    @classmethod
    def rows(cls, watch, size):
        def note():
            blas = sources._libraries().select(user_api="blas").info()
            products = tuple({library["num_threads"] for library in blas})
            cls.seen.append((sources._threads.get()[1], products))

        watch.pairs(note, note, repetitions=1)
        return []


def test_we_share_blocks_among_the_threads_and_the_reference_its_products(monkeypatch):
    monkeypatch.setitem(bench.GROUPS, "codes", Threads)
    bench.main(["--smoke", "--only", "codes", "--threads", "2"])
    ours, reference = dict.fromkeys(Threads.seen)
    assert ours == (2, (1,)) and reference == (2, (2,))
