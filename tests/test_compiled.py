"""bdnn.engine.compiled against the NumPy form of the same counts: equal to the last bit."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdnn import metrics

pytest.importorskip("numba", reason="the extra `fast` is not installed")
from bdnn.engine.compiled import nearest, ranked_counts  # noqa: E402  (imports numba)


def assert_same_bits(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def codes(rng, n, n_bits):
    return np.where(rng.random((n, n_bits)) < 0.5, -1, 1).astype(np.int8)


def both_ways(monkeypatch, *arguments, **options):
    """What evaluate returns when the ranking is compiled, and when it is not."""
    results = []
    for least in (0, np.inf):
        monkeypatch.setattr(metrics, "_WORTH_COMPILING", least)
        results.append(metrics.evaluate(*arguments, **options))
    return results


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 80)),
    largest=st.integers(0, 300),
    share=st.floats(0, 1),
    n=st.integers(1, 90),
)
def test_counts_of_any_ranking_are_those_of_numpy(seed, shape, largest, share, n):
    rng = np.random.default_rng(seed)
    D = rng.integers(0, largest + 1, shape).astype(np.uint8 if largest < 256 else np.int16)
    R = rng.random(shape) < share
    expected = metrics._ranked_counts(D, R, n)
    assert_same_bits(ranked_counts(D, R, n), expected)
    assert_same_bits(ranked_counts(np.asfortranarray(D), R[:, ::-1][:, ::-1], n), expected)


@pytest.mark.parametrize("n_bits", (1, 8, 32, 65, 300))
def test_evaluate_gives_the_same_bits(n_bits, monkeypatch):
    rng = np.random.default_rng(n_bits)
    A, B = codes(rng, 9, n_bits), codes(rng, 700, n_bits)
    R = rng.random((9, 700)) < 0.1
    R[0], R[1] = False, True
    labels = rng.integers(0, 4, 9), rng.integers(0, 4, 700)
    for relevant in (R, np.asfortranarray(R), [np.flatnonzero(row) for row in R], labels):
        compiled, plain = both_ways(monkeypatch, A, B, relevant, curves=True)
        assert compiled.keys() == plain.keys()
        assert_same_bits(compiled.values(), plain.values())


@pytest.mark.parametrize("radius", (0, 40))
def test_empty_and_full_balls(radius, monkeypatch):
    A = np.ones((3, 16), np.int8)
    compiled, plain = both_ways(monkeypatch, A, -A, np.eye(3, dtype=bool), radius=radius)
    assert compiled == plain
    assert compiled["empty_share"] == (radius < 16)


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 80)),
    largest=st.integers(0, 300),
    k=st.integers(1, 80),
)
def test_nearest_are_those_of_numpy(seed, shape, largest, k):
    D = np.random.default_rng(seed).integers(0, largest + 1, shape)
    D, k = D.astype(np.uint8 if largest < 256 else np.int16), min(k, shape[1])
    assert_same_bits(nearest(D, k), metrics._nearest(D, k))
    assert_same_bits(nearest(np.asfortranarray(D), k), metrics._nearest(D, k))


@pytest.mark.parametrize("order", (1, -1))
def test_nearest_of_a_sorted_database(order):
    D = np.sort(np.random.default_rng(0).integers(0, 33, (3, 5000)).astype(np.uint8))[:, ::order]
    for k in (1, 100, 5000):
        assert_same_bits(nearest(D, k), metrics._nearest(D, k))


def test_few_pairs_are_not_worth_compiling(monkeypatch):
    least = metrics._WORTH_COMPILING
    assert metrics._compiled(metrics._ranked_counts, least) is ranked_counts
    assert metrics._compiled(metrics._nearest, least) is nearest
    assert metrics._compiled(metrics._nearest, least - 1) is metrics._nearest
    monkeypatch.delattr("bdnn.engine.compiled")
    monkeypatch.setitem(sys.modules, "bdnn.engine.compiled", None)  # as if it could not be imported
    assert metrics._compiled(metrics._nearest, least) is metrics._nearest
