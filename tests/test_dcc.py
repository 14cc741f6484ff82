"""bdnn.dcc against brute force: bit by bit, against all codes, and on cases known by hand."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdnn.dcc import coordinate_descent


def objective(X, W, c, H, lambda2, B):
    """One value per sample."""
    residual = X - W @ B - c
    return (residual**2).sum(axis=0) + lambda2 * ((H - B) ** 2).sum(axis=0)


def brute_cycle(X, W, c, H, lambda2, B):
    """One pass: each bit of each sample takes the value with the lower objective, +1 if equal."""
    B = B.copy()
    for k in range(len(B)):
        for j in range(B.shape[1]):
            values = []
            for bit in (1, -1):
                b = B[:, [j]].copy()
                b[k] = bit
                values.append(objective(X[:, [j]], W, c, H[:, [j]], lambda2, b)[0])
            B[k, j] = 1 if values[0] <= values[1] else -1
    return B


def every_code(L):
    return np.array(list(product((-1.0, 1.0), repeat=L))).T


def global_minimum(X, W, c, H, lambda2):
    """The lowest value of each sample over all 2^L codes."""
    codes = every_code(len(H))
    columns = np.ones((1, codes.shape[1]))
    samples = zip(X.T, H.T)
    values = [
        objective(x[:, None] * columns, W, c, h[:, None] * columns, lambda2, codes).min()
        for x, h in samples
    ]
    return np.array(values)


def problem(D, L, m, seed):
    rng = np.random.default_rng(seed)
    W, X = rng.standard_normal((D, L)), 2 * rng.standard_normal((D, m))
    c, H = rng.standard_normal((D, 1)), rng.standard_normal((L, m))
    B = rng.choice([-1.0, 1.0], (L, m))
    return X, W, c, H, rng.choice([0.0, 0.05, 3.0]), B


SHAPES = [(1, 1, 1), (3, 2, 5), (5, 8, 12), (20, 6, 30), (2, 10, 9)]


@pytest.mark.parametrize("D, L, m", SHAPES)
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("start", ["codes", "zeros"])
def test_equals_brute_force_bit_by_bit(D, L, m, seed, start):
    *arguments, B = problem(D, L, m, seed)
    expected = B * (start == "codes")
    B = expected.copy()
    for cycles in range(4):
        got = coordinate_descent(*arguments, B, cycles)
        np.testing.assert_array_equal(got, expected)
        expected = brute_cycle(*arguments, expected)


@pytest.mark.parametrize("D, L, m", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_no_single_flip_improves_the_end(D, L, m, seed):
    *arguments, B = problem(D, L, m, seed)
    end = coordinate_descent(*arguments, B, cycles=200)
    np.testing.assert_array_equal(coordinate_descent(*arguments, end, 1), end)
    value = objective(*arguments, end)
    for k in range(L):
        flipped = end.copy()
        flipped[k] *= -1
        assert (objective(*arguments, flipped) >= value - 1e-10).all()


@pytest.mark.parametrize("D, L, m", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_against_all_codes(D, L, m, seed):
    *arguments, B = problem(D, L, m, seed)
    best = global_minimum(*arguments)
    value = objective(*arguments, coordinate_descent(*arguments, B, cycles=100))
    assert (value >= best - 1e-10).all()
    if L == 1:
        np.testing.assert_allclose(value, best, rtol=1e-12)
    from_every_code = [
        objective(*arguments, coordinate_descent(*arguments, np.tile(b[:, None], m), 100))
        for b in every_code(L).T
    ]
    np.testing.assert_allclose(np.min(from_every_code, axis=0), best, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_orthogonal_decoder_is_solved_exactly_in_one_cycle(seed):
    X, _, c, H, lambda2, B = problem(12, 7, 40, seed)
    W, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((12, 7)))
    W *= np.arange(1, 8)
    codes = coordinate_descent(X, W, c, H, lambda2, B, cycles=1)
    np.testing.assert_array_equal(codes, np.where(W.T @ (X - c) + lambda2 * H >= 0, 1, -1))
    best = global_minimum(X, W, c, H, lambda2)
    np.testing.assert_allclose(objective(X, W, c, H, lambda2, codes), best, rtol=1e-10)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 10), st.integers(0, 10**6))
def test_warm_start_never_raises_the_objective(D, L, m, seed):
    *arguments, B = problem(D, L, m, seed)
    values = [objective(*arguments, coordinate_descent(*arguments, B, t)) for t in range(6)]
    for before, after in zip(values, values[1:]):
        assert (after <= before + 1e-12 * (1 + before)).all()


def test_restart_from_zero_can_raise_the_objective():
    """8 + 7 = 6 + 5 + 4, but bit after bit from nothing gives 8 - 7 - 6 + 5 + 4 = 4."""
    W, zero = np.array([[8.0, 7.0, 6.0, 5.0, 4.0]]), np.zeros((1, 1))
    arguments = zero, W, zero, np.zeros((5, 1)), 0.0
    best = np.array([[1.0], [1.0], [-1.0], [-1.0], [-1.0]])
    assert objective(*arguments, best)[0] == 0
    np.testing.assert_array_equal(coordinate_descent(*arguments, best), best)
    restarted = coordinate_descent(*arguments, 0 * best)
    np.testing.assert_array_equal(restarted[:, 0], [1, -1, -1, 1, 1])
    assert objective(*arguments, restarted)[0] == 16


def test_by_hand():
    """Two bits, two samples: row 1 first, then row 2 with the new row 1."""
    X, W, H = np.array([[1.0, -1.0]]), np.array([[2.0, 3.0]]), np.zeros((2, 2))
    B = np.array([[1.0, 1.0], [1.0, -1.0]])
    # row 1: sgn(2 x - 6 b2) = sgn(2 - 6), sgn(-2 + 6); row 2: sgn(3 x - 6 b1) = sgn(9), sgn(-9)
    expected = [[-1, 1], [1, -1]]
    got = coordinate_descent(X, W, np.zeros((1, 1)), H, 0.0, B, cycles=1)
    np.testing.assert_array_equal(got, expected)


def test_zero_becomes_plus_one():
    zero = np.zeros((3, 4))
    for start in (-1.0, 0.0, 1.0):
        arguments = zero, np.zeros((3, 2)), zero[:, :1], zero[:2], 1.0, start + zero[:2]
        codes = coordinate_descent(*arguments)
        np.testing.assert_array_equal(codes, np.ones((2, 4)))


@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_dtypes_are_kept_and_inputs_are_not_touched(dtype, real):
    X, W, c, H, lambda2, B = problem(5, 6, 20, 0)
    arguments = [a.astype(real) for a in (X, W, c, H)]
    arguments += [lambda2, B.astype(dtype)]
    copies = [np.copy(a) for a in arguments]
    codes = coordinate_descent(*arguments)
    assert codes.dtype == dtype and codes.shape == B.shape
    assert not np.shares_memory(codes, arguments[-1])
    for array, copy in zip(arguments, copies):
        np.testing.assert_array_equal(array, copy)
    np.testing.assert_array_equal(codes, coordinate_descent(X, W, c, H, lambda2, B))


def test_no_cycle_returns_a_copy():
    *arguments, B = problem(3, 4, 5, 0)
    codes = coordinate_descent(*arguments, B, cycles=0)
    np.testing.assert_array_equal(codes, B)
    assert not np.shares_memory(codes, B)


def test_samples_in_any_memory_order():
    X, W, c, H, lambda2, B = problem(4, 5, 8, 1)
    expected = coordinate_descent(X, W, c, H, lambda2, B)
    rows = np.asfortranarray(X), W, c, np.asfortranarray(H), lambda2, np.asfortranarray(B)
    np.testing.assert_array_equal(coordinate_descent(*rows), expected)


def test_samples_do_not_see_each_other():
    X, W, c, H, lambda2, B = problem(4, 6, 30, 2)
    together = coordinate_descent(X, W, c, H, lambda2, B)
    alone = [coordinate_descent(X[:, [j]], W, c, H[:, [j]], lambda2, B[:, [j]]) for j in range(30)]
    np.testing.assert_array_equal(together, np.hstack(alone))


def test_early_stop_changes_nothing():
    *arguments, B = problem(6, 8, 50, 3)
    end = coordinate_descent(*arguments, B, cycles=60)
    np.testing.assert_array_equal(coordinate_descent(*arguments, B, cycles=10**9), end)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_ties_do_not_go_round_in_circles(L, m, seed):
    """With small whole numbers ties are frequent; codes of equal value gain +1 only, and stop."""
    rng = np.random.default_rng(seed)
    X, W = rng.integers(-2, 3, (2, m)).astype(float), rng.integers(-1, 2, (2, L)).astype(float)
    arguments = X, W, np.zeros((2, 1)), np.zeros((L, m)), 0.0
    B = rng.choice([-1.0, 1.0], (L, m))
    for _ in range(2**L + 1):
        after = coordinate_descent(*arguments, B, cycles=1)
        value, value_after = objective(*arguments, B), objective(*arguments, after)
        tied = (value_after == value) & (after != B).any(axis=0)
        assert (value_after <= value).all()
        assert (after.sum(axis=0) > B.sum(axis=0))[tied].all()
        B = after
    np.testing.assert_array_equal(coordinate_descent(*arguments, B, cycles=1), B)
