"""The encoder: forward and backward pass, its vector of parameters, its initial weights."""

import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bdnn.network import (
    ACTIVATIONS,
    PAPER_HIDDEN,
    Workspace,
    backward,
    flatten,
    forward,
    gradient_error,
    hidden_sizes,
    initial_weights,
    sigmoid,
    unflatten,
)


def n_parameters(sizes):
    return sum(b * (a + 1) for a, b in zip(sizes, sizes[1:]))


def random_network(rng, dtype=np.float64, smallest=1):
    """Units, activations, parameters and samples of a random network of 2 to 6 layers."""
    sizes = rng.integers(smallest, 9, rng.integers(2, 7)).tolist()
    kinds = rng.choice(list(ACTIVATIONS), len(sizes) - 1).tolist()
    theta = rng.standard_normal(n_parameters(sizes)).astype(dtype)
    X = rng.standard_normal((sizes[0], rng.integers(1, 12))).astype(dtype)
    return sizes, kinds, theta, X


def half_squares(sizes, kinds, X, T):
    """The objective 1/2 ||H - T||^2 of all parameters, with its gradient."""

    def fun(theta):
        Ws, cs = unflatten(theta, sizes)
        Hs = forward(Ws, cs, X, kinds)
        dWs, dcs = backward(Ws, Hs, Hs[-1] - T, kinds)
        return np.sum((Hs[-1] - T) ** 2) / 2, flatten(dWs, dcs)

    return fun


# hidden sizes


def test_hidden_sizes_at_the_authors_lengths():
    assert PAPER_HIDDEN == {8: (90, 20), 16: (90, 30), 24: (100, 40), 32: (120, 50)}
    assert {n_bits: hidden_sizes(n_bits) for n_bits in PAPER_HIDDEN} == PAPER_HIDDEN


def test_hidden_sizes_narrow_towards_the_code_and_never_fall():
    sizes = [hidden_sizes(n_bits) for n_bits in range(1, 300)]
    assert all(h1 > h2 > n_bits for n_bits, (h1, h2) in enumerate(sizes, start=1))
    assert all(a <= c and b <= d for (a, b), (c, d) in zip(sizes, sizes[1:]))
    assert all(type(h) is int for pair in sizes for h in pair)


@pytest.mark.parametrize("n_bits", [0, -3])
def test_hidden_sizes_of_no_bits(n_bits):
    with pytest.raises(ValueError, match=f"got {n_bits}"):
        hidden_sizes(n_bits)


# activations


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_at_extremes_without_warning(dtype):
    largest = np.finfo(dtype).max
    with warnings.catch_warnings(), np.errstate(all="raise", under="ignore"):
        warnings.simplefilter("error")
        H = sigmoid(np.array([-np.inf, -largest, -800, 0, 800, largest, np.inf], dtype))
    assert H.dtype == dtype
    assert H.tolist() == [0, 0, 0, 0.5, 1, 1, 1]


@given(arrays(np.float64, 7, elements=st.floats(-30, 30)))
def test_sigmoid_is_the_logistic_function_and_symmetric(z):
    assert np.allclose(sigmoid(z), 1 / (1 + np.exp(-z)), rtol=0, atol=5e-16)
    assert np.allclose(sigmoid(z) + sigmoid(-z), 1, rtol=0, atol=5e-16)


def test_sigmoid_keeps_its_input_unless_told_otherwise():
    Z = np.linspace(-2, 2, 6).reshape(2, 3)
    copy = Z.copy()
    H = sigmoid(Z)
    assert np.array_equal(Z, copy)
    assert sigmoid(Z, out=Z) is Z
    assert np.array_equal(Z, H)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_in_terms_of_the_output(name):
    f, slope = ACTIVATIONS[name]
    z = np.linspace(-3, 3, 31)
    ones = np.ones_like(z)
    assert gradient_error(lambda z: (f(z).sum(), slope(f(z)) * ones), z) < 1e-9


# forward


def test_forward_by_hand():
    Ws, cs = (
        [np.array([[1.0, -1.0]]), np.array([[2.0], [3.0]])],
        [np.zeros((1, 1)), np.ones((2, 1))],
    )
    X = np.array([[1.0, 5.0], [1.0, 5.0]])  # both samples reach the sigmoid as 0
    Hs = forward(Ws, cs, X)
    assert Hs[0] is X
    assert Hs[1].tolist() == [[0.5, 0.5]]
    assert Hs[2].tolist() == [[2, 2], [2.5, 2.5]]


@pytest.mark.parametrize("seed", range(5))
def test_forward_treats_samples_alone(seed):
    sizes, kinds, theta, X = random_network(np.random.default_rng(seed))
    Ws, cs = unflatten(theta, sizes)
    together = forward(Ws, cs, X, kinds)
    for j, x in enumerate(X.T):
        h = x
        for W, c, name in zip(Ws, cs, kinds):
            h = ACTIVATIONS[name][0](W @ h + c[:, 0])
        assert np.allclose(together[-1][:, j], h, rtol=1e-12, atol=1e-12)


def test_forward_leaves_its_inputs_alone():
    sizes, kinds, theta, X = random_network(np.random.default_rng(0))
    kept = theta.copy(), X.copy()
    forward(*unflatten(theta, sizes), X, kinds)
    assert np.array_equal(theta, kept[0]) and np.array_equal(X, kept[1])


def test_forward_refuses_what_does_not_fit():
    Ws, cs = [np.ones((3, 2)), np.ones((1, 3))], [np.ones((3, 1)), np.ones((1, 1))]
    X = np.ones((2, 4))
    with pytest.raises(ValueError, match=r"layer 2: W \(3, 2\).*shape \(5, 4\)"):
        forward(Ws, cs, np.ones((5, 4)))
    with pytest.raises(ValueError, match=r"layer 3: .*c \(1,\)"):
        forward(Ws, [cs[0], np.ones(1)], X)
    with pytest.raises(ValueError, match="'relu' is not known; choose one of 'sigmoid'"):
        forward(Ws, cs, X, ["relu", "identity"])
    with pytest.raises(ValueError, match="2 weight matrices, but 1 activations"):
        forward(Ws, cs, X, ["tanh"])


# backward


@pytest.mark.parametrize("seed", range(10))
def test_gradient_against_central_differences(seed):
    rng = np.random.default_rng(seed)
    sizes, kinds, theta, X = random_network(rng, smallest=2)
    T = rng.standard_normal((sizes[-1], X.shape[1]))
    assert gradient_error(half_squares(sizes, kinds, X, T), theta) < 1e-7


def test_gradient_of_the_default_activations():
    rng = np.random.default_rng(0)
    sizes, X, T = [6, 5, 4, 3], rng.standard_normal((6, 10)), rng.standard_normal((3, 10))
    theta = rng.standard_normal(n_parameters(sizes))
    default = half_squares(sizes, None, X, T)
    assert gradient_error(default, theta) < 1e-7
    named = half_squares(sizes, ["sigmoid", "sigmoid", "identity"], X, T)
    assert np.array_equal(default(theta)[1], named(theta)[1])


def test_gradient_against_complex_steps():
    """An imaginary step of 1e-30 has no cancellation: the slope to rounding."""
    rng = np.random.default_rng(1)
    sizes, kinds = [4, 5, 3, 2], ["tanh", "tanh", "identity"]
    X, T = rng.standard_normal((4, 6)), rng.standard_normal((2, 6))
    theta = rng.standard_normal(n_parameters(sizes))
    gradient = half_squares(sizes, kinds, X, T)(theta)[1]
    for k in range(theta.size):
        H = forward(*unflatten(theta + 1e-30j * (np.arange(theta.size) == k), sizes), X, kinds)[-1]
        assert np.isclose(np.sum((H - T) ** 2).imag / 2e-30, gradient[k], rtol=1e-12, atol=1e-13)


def test_gradient_of_a_sum_over_samples_is_the_sum_of_gradients():
    rng = np.random.default_rng(2)
    sizes, kinds, theta, X = random_network(rng)
    T = rng.standard_normal((sizes[-1], X.shape[1]))
    whole = half_squares(sizes, kinds, X, T)(theta)[1]
    parts = [half_squares(sizes, kinds, X[:, [j]], T[:, [j]])(theta)[1] for j in range(X.shape[1])]
    assert np.allclose(whole, sum(parts), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_is_that_of_the_input(dtype):
    sizes, kinds, theta, X = random_network(np.random.default_rng(3), dtype)
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X, kinds)
    dWs, dcs = backward(Ws, Hs, Hs[-1], kinds)
    assert {A.dtype for A in [*Hs, *dWs, *dcs]} == {np.dtype(dtype)}
    assert [A.shape for A in dWs + dcs] == [A.shape for A in Ws + cs]


def test_backward_takes_a_read_only_gradient_and_leaves_it_alone():
    Ws, cs = [np.eye(2)], [np.zeros((2, 1))]
    Hs = forward(Ws, cs, np.ones((2, 3)), ["tanh"])
    dH = np.broadcast_to(np.ones((2, 1)), (2, 3))
    dWs, _ = backward(Ws, Hs, dH, ["tanh"])
    assert np.allclose(dWs[0], 3 * (1 - np.tanh(1) ** 2))
    assert np.all(dH == 1)


def test_backward_refuses_what_does_not_fit():
    Ws, cs = [np.eye(2)], [np.zeros((2, 1))]
    Hs = forward(Ws, cs, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"dH has shape \(2, 1\), the last layer \(2, 3\)"):
        backward(Ws, Hs, np.ones((2, 1)))


# gradient_error


def test_gradient_error_of_right_and_wrong_gradients():
    A = np.arange(6.0).reshape(2, 3) + 1
    assert gradient_error(lambda A: (np.sum(A**3), 3 * A**2), A) < 1e-9
    assert np.isclose(gradient_error(lambda A: (np.sum(A**3), 3.3 * A**2), A), 0.1 / 1.1, rtol=1e-6)
    assert np.isclose(gradient_error(lambda A: (np.sum(A**3), -3 * A**2), A), 2, rtol=1e-6)
    assert np.isclose(gradient_error(lambda A: (np.sum(A**3), 0 * A), A), 1, rtol=1e-6)


def test_gradient_error_sees_a_single_wrong_entry():
    def fun(theta):
        gradient = np.cos(theta)
        gradient[3] *= 1.001
        return np.sin(theta).sum(), gradient

    assert 1e-5 < gradient_error(fun, np.linspace(0, 1, 9)) < 1e-3


def test_gradient_error_along_directions():
    rng, theta = np.random.default_rng(0), np.linspace(-1, 1, 500)
    calls = []

    def fun(theta):
        calls.append(1)
        return np.sum(np.sin(theta)), np.cos(theta)

    assert gradient_error(fun, theta, rng, n_directions=4) < 1e-8
    assert len(calls) == 1 + 2 * 4
    wrong = gradient_error(lambda t: (np.sin(t).sum(), 1.1 * np.cos(t)), theta, rng, n_directions=4)
    assert np.isclose(wrong, 1 - 1 / 1.1, rtol=1e-5)


def test_gradient_error_of_a_constant_and_of_a_wrong_shape():
    assert gradient_error(lambda t: (1.0, np.zeros(3)), np.ones(3)) == 0
    with pytest.raises(ValueError, match=r"gradient has shape \(1,\), the variable \(3,\)"):
        gradient_error(lambda t: (1.0, np.zeros(1)), np.ones(3))


def test_gradient_error_checks_in_float64_and_leaves_theta_alone():
    theta, seen = np.ones(2, np.float32), []

    def fun(t):
        seen.append(t.dtype)
        return np.sum(t**2), 2 * t

    assert gradient_error(fun, theta) < 1e-9
    assert set(seen) == {np.dtype(np.float64)}
    assert theta.tolist() == [1, 1]


# flatten and unflatten


@settings(max_examples=50)
@given(st.lists(st.integers(1, 6), min_size=2, max_size=5), st.integers(0, 2**32 - 1))
def test_round_trip(sizes, seed):
    theta = np.random.default_rng(seed).standard_normal(n_parameters(sizes))
    Ws, cs = unflatten(theta, sizes)
    assert [W.shape for W in Ws] == [(b, a) for a, b in zip(sizes, sizes[1:])]
    assert [c.shape for c in cs] == [(b, 1) for b in sizes[1:]]
    assert all(np.shares_memory(A, theta) for A in Ws + cs)
    assert np.array_equal(flatten(Ws, cs), theta)


def test_order_and_views_of_the_parameters():
    theta = np.arange(10.0)
    Ws, cs = unflatten(theta, [1, 2, 2])
    assert Ws[0].tolist() == [[0], [1]] and cs[0].tolist() == [[2], [3]]
    assert Ws[1].tolist() == [[4, 5], [6, 7]] and cs[1].tolist() == [[8], [9]]
    Ws[1][1, 0] = -1
    assert theta[6] == -1


def test_unflatten_refuses_a_wrong_length():
    with pytest.raises(ValueError, match=r"\(1, 2, 2\) units need \(10,\) numbers, got \(11,\)"):
        unflatten(np.zeros(11), [1, 2, 2])


# initial weights


@pytest.mark.parametrize("dtype, bound", [(np.float32, 1e-5), (np.float64, 1e-12)])
def test_initial_weights_are_orthonormal_eigenvectors(dtype, bound):
    rng = np.random.default_rng(0)
    X = rng.random((12, 50)).astype(dtype)
    Ws, cs = initial_weights(X, [12, 7, 5, 3], rng)
    H = X
    for W, c, kind in zip(Ws, cs, ["sigmoid", "sigmoid", "identity"]):
        assert W.dtype == c.dtype == dtype
        assert not c.any() and c.shape == (len(W), 1)
        assert np.allclose(W @ W.T, np.eye(len(W)), atol=bound)
        spectrum = W.astype(float) @ (H @ H.T).astype(float) / 50 @ W.T.astype(float)
        largest = np.linalg.eigvalsh((H @ H.T).astype(float) / 50)[::-1][: len(W)]
        assert np.allclose(spectrum, np.diag(largest), atol=bound * largest[0])
        H = ACTIVATIONS[kind][0](W @ H)


def test_initial_weights_by_hand_are_uncentred():
    X = np.array([[3.0, 3.0], [0.5, -0.5]])  # the mean direction has the largest second moment
    Ws, _ = initial_weights(X, [2, 2], np.random.default_rng(0))
    assert np.allclose(Ws[0], np.eye(2), atol=1e-14)


def test_initial_weights_do_not_depend_on_the_order_of_samples():
    rng = np.random.default_rng(1)
    X = rng.random((9, 40))
    one, _ = initial_weights(X, [9, 6, 4], np.random.default_rng(0))
    two, _ = initial_weights(X[:, rng.permutation(40)], [9, 6, 4], np.random.default_rng(7))
    assert all(np.allclose(a, b, atol=1e-10) for a, b in zip(one, two))


def test_more_units_than_inputs():
    X = np.random.default_rng(0).random((3, 20))
    Ws, cs = initial_weights(X, [3, 8, 2], np.random.default_rng(0))
    assert Ws[0].shape == (8, 3) and cs[0].shape == (8, 1)
    assert np.allclose(Ws[0][:3] @ Ws[0][:3].T, np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.norm(Ws[0], axis=1), 1)
    again, _ = initial_weights(X, [3, 8, 2], np.random.default_rng(0))
    other, _ = initial_weights(X, [3, 8, 2], np.random.default_rng(1))
    assert np.array_equal(Ws[0], again[0])
    assert not np.allclose(Ws[0][3:], other[0][3:])


@pytest.mark.parametrize("X", [np.zeros((4, 6)), np.ones((4, 1))])
def test_initial_weights_of_degenerate_data_are_finite(X):
    Ws, _ = initial_weights(X, [4, 3, 2], np.random.default_rng(0))
    assert all(np.allclose(np.linalg.norm(W, axis=1), 1) for W in Ws)


def test_initial_weights_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="sizes begins with 5, but X has 4 rows"):
        initial_weights(np.ones((4, 6)), [5, 3], np.random.default_rng(0))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_workspace_agrees_with_the_passes_in_one_piece(seed, dtype):
    rng = np.random.default_rng(seed)
    sizes, kinds, theta, X = random_network(rng, dtype)
    Ws, cs = unflatten(theta, sizes)
    T = rng.standard_normal((sizes[-1], X.shape[1])).astype(dtype)
    Hs = forward(Ws, cs, X, kinds)
    whole = backward(Ws, Hs, Hs[-1] - T, kinds)
    workspace = Workspace(sizes, X.shape[1] + 3, dtype, kinds, block=int(rng.integers(1, 6)))
    for _ in range(2):  # the second time in memory that is not empty
        seen = workspace.forward(Ws, cs, X, lambda samples, H: (samples, H.copy()))
        parts = workspace.backward(Ws, X, lambda samples, H: H - T[:, samples])
    assert np.concatenate([np.arange(12)[s] for s, _ in seen]).tolist() == list(range(X.shape[1]))
    eps = 100 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(np.hstack([H for _, H in seen]), Hs[-1], rtol=eps, atol=eps)
    for A, B in zip((*parts[0], *parts[1]), (*whole[0], *whole[1])):
        assert A.dtype == dtype
        np.testing.assert_allclose(A, B, rtol=eps, atol=eps * np.abs(B).max())


def test_workspace_refuses_more_samples_than_it_was_made_for():
    Ws, cs = unflatten(np.zeros(n_parameters([2, 1])), [2, 1])
    with pytest.raises(ValueError, match="made for 3 samples, X has 4"):
        Workspace([2, 1], 3, float).forward(Ws, cs, np.ones((2, 4)), lambda samples, H: None)


def test_workspace_takes_no_memory_that_grows_with_the_samples():
    def peak(m):
        rng, sizes = np.random.default_rng(0), [20, 30, 4]
        Ws, cs = initial_weights(X := rng.standard_normal((20, m)), sizes, rng)
        workspace = Workspace(sizes, m, X.dtype, block=256)
        tracemalloc.start()
        workspace.forward(Ws, cs, X, lambda samples, H: None)
        workspace.backward(Ws, X, lambda samples, H: H)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    assert peak(16 * 1024) < 1.1 * peak(1024)
