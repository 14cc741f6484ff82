"""The benchmarks run: every row of `course.py bench` at tiny sizes, whatever its goal."""

import json
import math

import numpy as np
import pytest

from bdnn.network import forward, unflatten
from tests.benchmarks import cases
from tests.benchmarks.measure import Case, Row
from tools import bench


def test_every_ratio_is_finite_and_positive(tmp_path, capsys):
    path = tmp_path / "bench.json"
    assert bench.main(["--smoke", "--record", str(path)]) == 0
    rows = json.loads(path.read_text())
    assert len(rows) >= 4 and len(capsys.readouterr().out.splitlines()) > len(rows)
    for row in rows:
        assert math.isfinite(row["value"]) and row["value"] > 0 and row["seconds"] > 0
        assert row["met"] == (row["value"] <= row["goal"])
        assert row["threads"] == 1 and row["versions"]["blas"]


@pytest.mark.parametrize(("value", "code"), [(0.5, 0), (2.0, 1)])
def test_a_goal_that_is_missed_fails_the_command(value, code, monkeypatch):
    monkeypatch.setattr(Case, "row", lambda *_: Row("w", "c", value, 1.0))
    monkeypatch.setattr(bench, "cases", lambda *_: [Case("w", "c", None, None, 1.0)])
    assert bench.main([]) == code and bench.main(["--smoke"]) == 0


def test_both_sides_are_timed_in_turn():
    calls, ticks = [], iter(range(999))
    case = Case("w", "c", lambda: calls.append("a"), lambda: calls.append("b"), 1.0)
    row = case.row(lambda: next(ticks), 3)
    assert row.value == 1 and "".join(calls) == "ab" + 3 * "ab"


def test_the_floor_does_what_an_evaluation_does():
    """Its products are those of the network: the first ones give its outputs."""
    problem, made = cases.Problem(50), []

    def matmul(A, B, out):
        made.append((A.shape, B.shape, np.matmul(A, B, out=out).copy()))

    cases.floor(problem, matmul)()
    Ws, _ = unflatten(problem.theta, problem.sizes)
    H2 = forward(Ws[:1], [np.zeros((len(Ws[0]), 1), np.float32)], problem.X)[1]
    np.testing.assert_allclose(made[0][2], H2, rtol=1e-4, atol=1e-5)
    assert len(made) == 3 + 2 + 3 + 2
    assert [shape[2].shape for shape in made[-5::2]] == [Ws[2].shape, Ws[1].shape, Ws[0].shape]
