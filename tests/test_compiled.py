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
        monkeypatch.setitem(metrics._WORTH_COMPILING, "_ranked_counts", least)
        results.append(metrics.evaluate(*arguments, **options))
    return results


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 6), st.integers(1, 80)),
    largest=st.integers(0, 300),
    share=st.floats(0, 1),
    n=st.integers(1, 90),
)
@pytest.mark.slow
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
    n_bits=st.sampled_from((1, 5, 8, 16, 24, 33, 64, 65, 300)),
    k=st.integers(1, 80),
)
@pytest.mark.slow
def test_nearest_are_those_of_numpy(seed, shape, n_bits, k):
    rng, (n_query, n_items) = np.random.default_rng(seed), shape
    A, B = metrics._words(codes(rng, n_query, n_bits), codes(rng, n_items, n_bits))
    k = min(k, n_items)
    found, expected = nearest(A, B, k), metrics._nearest(A, B, k)
    assert_same_bits(found, expected)
    assert [a.dtype for a in found] == [a.dtype for a in expected]


@pytest.mark.parametrize("order", (1, -1))
def test_nearest_of_a_sorted_database(order):
    """The nearest items come last, so that every item is noted; or first."""
    rng = np.random.default_rng(0)
    A, B = codes(rng, 1, 32), codes(rng, 5000, 32)
    B = B[np.argsort(metrics.hamming_distances(A, B)[0])[::order]]
    A, B = metrics._words(A, B)
    for k in (1, 100, 5000):
        assert_same_bits(nearest(A, B, k), metrics._nearest(A, B, k))


def test_few_pairs_are_not_worth_compiling(monkeypatch):
    for plain, twin in ((metrics._ranked_counts, ranked_counts), (metrics._nearest, nearest)):
        least = metrics._WORTH_COMPILING[plain.__name__]
        assert metrics._compiled(plain, least) is twin
        assert metrics._compiled(plain, least - 1) is plain
        with monkeypatch.context() as patch:
            patch.delattr("bdnn.engine.compiled")
            patch.setitem(sys.modules, "bdnn.engine.compiled", None)  # as if it were not there
            assert metrics._compiled(plain, least) is plain
