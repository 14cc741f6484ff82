"""bdnn.network: values by hand, gradients against central differences, weights from data."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdnn.network import (
    ACTIVATIONS,
    backward,
    flatten,
    forward,
    gradient_error,
    hidden_sizes,
    initial_weights,
    sigmoid,
    unflatten,
)

KINDS = list(ACTIVATIONS)


def n_parameters(sizes):
    return sum(b * (a + 1) for a, b in zip(sizes, sizes[1:]))


def random_network(rng, dtype=np.float64):
    """Units, activations, parameters, samples and targets of a network of 2 to 6 layers."""
    sizes = rng.integers(1, 9, rng.integers(2, 7)).tolist()
    kinds = dict(hidden=str(rng.choice(KINDS)), last=str(rng.choice(KINDS)))
    theta = rng.standard_normal(n_parameters(sizes)).astype(dtype)
    X, T = (rng.standard_normal((h, 7)).astype(dtype) for h in (sizes[0], sizes[-1]))
    return sizes, kinds, theta, X, T


def half_squares(theta, sizes, kinds, X, T, out=(None, None)):
    """The objective 1/2 ||H - T||^2 of all parameters, with its gradient."""
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X, **kinds, out=out[0])
    value = np.sum((Hs[-1] - T) ** 2) / 2
    return value, flatten(*backward(Ws, Hs, Hs[-1] - T, **kinds, out=out[1]))


def test_hidden_sizes_are_the_authors_and_never_fall():
    authors = {8: (90, 20), 16: (90, 30), 24: (100, 40), 32: (120, 50)}
    assert {L: hidden_sizes(L) for L in authors} == authors
    sizes = [hidden_sizes(L) for L in range(1, 300)]
    assert all(h1 > h2 > L for L, (h1, h2) in enumerate(sizes, start=1))
    assert all(a <= c and b <= d for (a, b), (c, d) in zip(sizes, sizes[1:]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_at_extremes_without_warning(dtype):
    largest = np.finfo(dtype).max
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        H = sigmoid(np.array([-np.inf, -largest, -800, 0, 800, largest, np.inf], dtype))
    assert H.dtype == dtype
    assert H.tolist() == [0, 0, 0, 0.5, 1, 1, 1]


@pytest.mark.parametrize("name", KINDS)
def test_slopes_in_terms_of_the_output_also_in_place(name):
    f, slope = ACTIVATIONS[name]
    z = np.linspace(-3, 3, 31)
    assert gradient_error(lambda z: (f(z).sum(), slope(f(z)) * np.ones(31)), z) < 1e-9
    H, copy = f(z), f(z).copy()
    expected = slope(H)
    assert np.array_equal(H, copy)
    np.testing.assert_array_equal(slope(H, out=H), expected)


def test_forward_by_hand():
    Ws, cs = [np.array([[1.0, -1]]), np.array([[2.0], [3]])], [np.zeros((1, 1)), np.ones((2, 1))]
    X = np.array([[1.0, 5], [1, 5]])  # both samples reach the sigmoid as 0
    Hs = forward(Ws, cs, X)
    assert Hs[0] is X
    assert Hs[1].tolist() == [[0.5, 0.5]]
    assert Hs[2].tolist() == [[2, 2], [2.5, 2.5]]


@pytest.mark.parametrize("seed", range(5))
def test_forward_is_a_loop_over_samples_and_units(seed):
    sizes, kinds, theta, X, _ = random_network(np.random.default_rng(seed))
    Ws, cs = unflatten(theta, sizes)
    kept = theta.copy(), X.copy()
    H = forward(Ws, cs, X, **kinds)[-1]
    for j, x in enumerate(X.T):
        h = x
        for l, (W, c) in enumerate(zip(Ws, cs)):
            f, _ = ACTIVATIONS[kinds["hidden" if l < len(Ws) - 1 else "last"]]
            h = [f(np.float64(sum(w * v for w, v in zip(row, h)) + b)) for row, (b,) in zip(W, c)]
        np.testing.assert_allclose(H[:, j], h, rtol=1e-12, atol=1e-12)
    assert np.array_equal(theta, kept[0]) and np.array_equal(X, kept[1])


@pytest.mark.parametrize("seed", range(20))
def test_backward_against_central_differences(seed):
    sizes, kinds, theta, X, T = random_network(np.random.default_rng(seed))
    assert gradient_error(lambda theta: half_squares(theta, sizes, kinds, X, T), theta) < 1e-7


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_that_is_kept_changes_no_number(seed, dtype):
    sizes, kinds, theta, X, T = random_network(np.random.default_rng(seed), dtype)
    out = [[np.full((h, 7), np.nan, dtype) for h in sizes[1:]] for _ in range(2)]
    value, gradient = half_squares(theta, sizes, kinds, X, T)
    assert gradient.dtype == dtype
    for _ in range(2):  # the second time in memory that was used
        again = half_squares(theta, sizes, kinds, X, T, out)
        assert again[0] == value
        np.testing.assert_array_equal(again[1], gradient)


@pytest.mark.parametrize("kept", [False, True])
def test_backward_leaves_the_gradient_that_it_is_given(kept):
    rng = np.random.default_rng(0)
    sizes, X = [3, 4, 2], rng.standard_normal((3, 5))
    Ws, cs = unflatten(rng.standard_normal(n_parameters(sizes)), sizes)
    out = [np.empty((h, 5)) for h in sizes[1:]] if kept else None
    dH = np.broadcast_to(np.ones((2, 1)), (2, 5))  # a view that cannot be written to
    dWs, dcs = backward(Ws, forward(Ws, cs, X), dH, out=out)
    assert np.all(dH == 1) and np.all(dcs[1] == 5)
    assert [A.shape for A in dWs + dcs] == [A.shape for A in Ws + cs]


def test_backward_keeps_the_outputs_without_memory_of_its_own():
    rng = np.random.default_rng(0)
    Ws, cs = unflatten(rng.standard_normal(n_parameters([3, 4, 2])), [3, 4, 2])
    Hs = forward(Ws, cs, rng.standard_normal((3, 5)))
    copies = [H.copy() for H in Hs]
    backward(Ws, Hs, Hs[-1])
    assert all(np.array_equal(H, copy) for H, copy in zip(Hs, copies))


def test_gradient_error_of_right_and_wrong_gradients():
    A = np.arange(6.0).reshape(2, 3) + 1
    for factor, error in [(3.3, 0.1 / 1.1), (-3, 2), (0, 1)]:
        wrong = gradient_error(lambda A, k=factor: (np.sum(A**3), k * A**2), A)
        assert np.isclose(wrong, error, rtol=1e-6)
    seen = []

    def right(A):
        seen.append(A.dtype)
        return np.sum(A**3), 3 * A**2

    assert gradient_error(right, A.astype(np.float32)) < 1e-9
    assert set(seen) == {np.dtype(np.float64)}
    assert gradient_error(lambda A: (1.0, np.zeros(6)), np.ones(6)) == 0


def test_gradient_error_sees_a_single_wrong_entry():
    def fun(theta):
        gradient = np.cos(theta)
        gradient[3] *= 1.001
        return np.sin(theta).sum(), gradient

    assert 1e-5 < gradient_error(fun, np.linspace(0, 1, 9)) < 1e-3


def test_gradient_error_along_random_directions():
    rng, calls = np.random.default_rng(0), []

    def fun(theta):
        calls.append(1)
        return np.sum(np.sin(theta)), 1.1 * np.cos(theta)

    wrong = gradient_error(fun, np.linspace(-1, 1, 500), rng, n_directions=4)
    assert np.isclose(wrong, 1 - 1 / 1.1, rtol=1e-5)
    assert len(calls) == 1 + 2 * 4


@settings(max_examples=50)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.integers(0, 2**32 - 1))
def test_unflatten_undoes_flatten_with_views(sizes, seed):
    theta = np.random.default_rng(seed).standard_normal(n_parameters(sizes))
    Ws, cs = unflatten(theta, sizes)
    assert [W.shape for W in Ws] == [(b, a) for a, b in zip(sizes, sizes[1:])]
    assert [c.shape for c in cs] == [(b, 1) for b in sizes[1:]]
    assert all(np.shares_memory(A, theta) for A in Ws + cs)
    assert np.array_equal(flatten(Ws, cs), theta)


def test_order_of_the_parameters():
    Ws, cs = unflatten(np.arange(10.0), [1, 2, 2])
    assert Ws[0].tolist() == [[0], [1]] and cs[0].tolist() == [[2], [3]]
    assert Ws[1].tolist() == [[4, 5], [6, 7]] and cs[1].tolist() == [[8], [9]]


@pytest.mark.parametrize("dtype, bound", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_initial_weights_are_orthonormal_eigenvectors(dtype, bound):
    rng = np.random.default_rng(0)
    X = rng.random((12, 50)).astype(dtype)
    Ws, cs = initial_weights(X, [12, 7, 5, 3], rng)
    for W, c, H in zip(Ws, cs, forward(Ws, cs, X)):
        assert W.dtype == c.dtype == dtype
        assert not c.any() and c.shape == (len(W), 1)
        assert np.allclose(W @ W.T, np.eye(len(W)), atol=bound)
        M = H.astype(float) @ H.T.astype(float) / 50
        largest = np.linalg.eigvalsh(M)[::-1][: len(W)]
        assert np.allclose(M @ W.T, W.T * largest, atol=bound * largest[0])
        assert np.all(W[np.arange(len(W)), np.abs(W).argmax(axis=1)] > 0)


def test_initial_weights_by_hand_are_uncentred():
    X = np.array([[3.0, 3.0], [0.5, -0.5]])  # the mean direction has the largest second moment
    Ws, _ = initial_weights(X, [2, 2], np.random.default_rng(0))
    assert np.allclose(Ws[0], np.eye(2), atol=1e-14)


def test_more_units_than_inputs():
    X = np.random.default_rng(0).random((3, 20))
    one, again, other = (
        initial_weights(X, [3, 8, 2], np.random.default_rng(s))[0] for s in (0, 0, 1)
    )
    assert one[0].shape == (8, 3)
    assert np.allclose(one[0][:3] @ one[0][:3].T, np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.norm(one[0], axis=1), 1)
    assert np.array_equal(one[0], again[0]) and not np.allclose(one[0][3:], other[0][3:])


@pytest.mark.parametrize("X", [np.zeros((4, 6)), np.ones((4, 1))])
def test_initial_weights_of_degenerate_data_are_finite(X):
    Ws, _ = initial_weights(X, [4, 3, 2], np.random.default_rng(0))
    assert all(np.allclose(np.linalg.norm(W, axis=1), 1) for W in Ws)
