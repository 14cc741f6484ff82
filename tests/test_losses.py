"""The loss terms: values by hand, gradients, what leaves them unchanged, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdnn.losses import (
    balance,
    equality,
    independence,
    pairwise_similarity,
    reconstruction,
    weight_decay,
)
from bdnn.network import backward, flatten, forward, gradient_error, unflatten

SEEDS = range(8)
HADAMARD = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])


def random_case(seed, dtype=np.float64):
    """Random X, B, W, c, H and labels that fit each other."""
    rng = np.random.default_rng(seed)
    D, L, m = rng.integers(1, 9, 3)
    X, W, c, H = (rng.standard_normal(shape) for shape in [(D, m), (D, L), (D, 1), (L, m)])
    B = rng.choice([-1.0, 1.0], (L, m))
    return *(A.astype(dtype) for A in (X, B, W, c, H)), rng.integers(0, 3, m)


def explicit_similarity(H, y):
    """Value and gradient with the m x m matrix, pair by pair."""
    (L, m), y = H.shape, np.asarray(y)
    S = np.array([[1 if y[i] == y[j] else -1 for j in range(m)] for i in range(m)])
    V = H.T @ H / L - S
    return np.sum(V**2) / (2 * m), H @ (V + V.T) / (m * L)


def rotation(L, rng):
    return np.linalg.qr(rng.standard_normal((L, L)))[0]


# gradients


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_against_central_differences(seed):
    X, B, W, c, H, y = random_case(seed)

    def of_decoder(part, **given):
        def fun(A):
            value, gradients = reconstruction(X, B, **{"W": W, "c": c, **given, part: A})
            return value, gradients[part == "c"]

        return fun

    def of_second(A):
        value, gradients = weight_decay([W, A, c])
        return value, gradients[1]

    assert gradient_error(of_decoder("W"), W) <= 1e-7
    assert gradient_error(of_decoder("c"), c) <= 1e-7
    assert gradient_error(of_decoder("c"), c[:, 0]) <= 1e-7
    assert gradient_error(of_second, H) <= 1e-7
    assert gradient_error(lambda H: equality(H, B), H) <= 1e-7
    assert gradient_error(independence, H) <= 1e-7
    assert gradient_error(balance, H) <= 1e-7
    assert gradient_error(lambda H: pairwise_similarity(H, y), H) <= 1e-7


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_far_from_the_origin(seed):
    """Large outputs, as a line search may propose them."""
    _, B, _, _, H, y = random_case(seed)
    H *= 100
    assert gradient_error(lambda H: equality(H, B), H, step=1e-3) <= 1e-7
    assert gradient_error(independence, H, step=1e-3) <= 1e-7
    assert gradient_error(lambda H: pairwise_similarity(H, y), H, step=1e-3) <= 1e-7


def decoder_and_encoder(seed, supervised):
    """The whole objective of UH-BDNN or SH-BDNN for a small random network."""
    rng = np.random.default_rng(seed)
    D, *_, L = sizes = rng.integers(2, 6, 4).tolist()
    m = int(rng.integers(3, 12))
    X, B, y = rng.random((D, m)), rng.choice([-1.0, 1.0], (L, m)), rng.integers(0, 3, m)
    lambdas = rng.uniform(0.1, 2, 4)
    if not supervised:
        sizes.append(D)

    def fun(theta):
        Ws, cs = unflatten(theta, sizes)
        Hs = forward(Ws[:3], cs[:3], X)
        H = Hs[-1]
        terms = [equality(H, B), independence(H), balance(H)]
        decay, dWs_decay = weight_decay(Ws)
        J = lambdas[0] * decay + sum(w * value for w, (value, _) in zip(lambdas[1:], terms))
        dH = sum(w * gradient for w, (_, gradient) in zip(lambdas[1:], terms))
        if supervised:
            value, dS = pairwise_similarity(H, y)
            dH, extra = dH + dS, ([], [])
        else:
            value, (dW, dc) = reconstruction(X, B, Ws[3], cs[3])
            extra = [dW], [dc]
        dWs, dcs = backward(Ws[:3], Hs, dH)
        dWs = [a + lambdas[0] * b for a, b in zip(dWs + extra[0], dWs_decay)]
        return J + value, flatten(dWs, dcs + extra[1])

    return fun, rng.standard_normal(sum(b * (a + 1) for a, b in zip(sizes, sizes[1:])))


@pytest.mark.parametrize("supervised", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_whole_objective_through_the_network(seed, supervised):
    assert gradient_error(*decoder_and_encoder(seed, supervised)) <= 1e-7


# values by hand


def test_reconstruction_by_hand():
    X, B = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, -1.0]])
    value, (dW, dc) = reconstruction(X, B, np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]]))
    assert value == (1 + 4 + 4 + 9) / 4  # residuals -1, 2; 2, 3
    assert dW.tolist() == [[1.5], [0.5]]
    assert dc.tolist() == [[-0.5], [-2.5]]


def test_weight_decay_by_hand():
    value, gradients = weight_decay([np.array([[1.0, 2.0]]), np.array([[3.0]])])
    assert value == 7
    assert [g.tolist() for g in gradients] == [[[1, 2]], [[3]]]
    assert weight_decay([]) == (0, [])


def test_equality_by_hand():
    value, dH = equality(np.array([[0.5, 3.0]]), np.array([[1, 1]]))
    assert value == (0.25 + 4) / 4
    assert dH.tolist() == [[-0.25, 1]]


def test_independence_by_hand():
    assert independence(HADAMARD)[0] == 0
    assert not independence(HADAMARD)[1].any()
    assert independence(HADAMARD[[1, 1]])[0] == 1  # a copy: two entries of 1
    assert independence(np.vstack([HADAMARD[1], -HADAMARD[1]]))[0] == 1
    assert independence(np.zeros((3, 5)))[0] == 1.5
    value, dH = independence(np.array([[2.0]]))
    assert (value, dH.tolist()) == (4.5, [[12]])  # derivative of (h^2 - 1)^2 / 2


def test_balance_by_hand():
    assert balance(HADAMARD[1:])[0] == 0
    assert not balance(HADAMARD[1:])[1].any()
    value, dH = balance(HADAMARD)  # one constant bit of 4 samples
    assert value == 2
    assert dH.tolist() == [[1] * 4, [0] * 4, [0] * 4, [0] * 4]


def test_pairwise_similarity_by_hand():
    codes = np.array([[1, 1, -1], [1, 1, -1]])  # H^T H / L is S itself
    assert pairwise_similarity(codes, ["a", "a", "b"])[0] == 0
    assert not pairwise_similarity(codes, ["a", "a", "b"])[1].any()
    assert pairwise_similarity(codes, ["a", "b", "b"])[0] == 4 * 4 / 6  # four wrong pairs of 2
    assert pairwise_similarity(np.zeros((2, 3)), [0, 1, 2])[0] == 1.5


# pairwise similarity without the m x m matrix


LABELS = {
    "whole numbers": [3, -1, 3, 3, 10**12, 3, -1, 3],
    "strings": ["cat", "dog", "cat", "cat", "gnu", "cat", "dog", "cat"],
    "booleans": [True, False, True, True, True, True, False, True],
    "numbers": [0.5, 1.5, 0.5, 0.5, 2.5, 0.5, 1.5, 0.5],
    "objects": np.array(["b", "a", "b", "b", "c", "b", "a", "b"], dtype=object),
    "one class": [7] * 8,
    "every sample its own": list("stuvwxyz"),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("seed", SEEDS)
def test_same_as_the_explicit_form(kind, seed):
    rng, y = np.random.default_rng(seed), LABELS[kind]
    H = rng.standard_normal((rng.integers(1, 9), 8))
    value, dH = pairwise_similarity(H, y)
    explicit_value, explicit_dH = explicit_similarity(H, y)
    assert abs(value - explicit_value) <= 1e-10 * explicit_value
    assert np.linalg.norm(dH - explicit_dH) <= 1e-10 * np.linalg.norm(explicit_dH)


@settings(max_examples=60)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=25), st.integers(0, 2**32 - 1))
def test_same_as_the_explicit_form_for_any_labels(y, seed):
    rng = np.random.default_rng(seed)
    H = rng.standard_normal((rng.integers(1, 6), len(y)))
    value, dH = pairwise_similarity(H, y)
    explicit_value, explicit_dH = explicit_similarity(H, y)
    assert np.isclose(value, explicit_value, rtol=1e-10, atol=1e-12)
    assert np.allclose(dH, explicit_dH, rtol=1e-10, atol=1e-12)


def test_never_as_large_as_m_by_m():
    """100,000 samples: S alone would take 80 GB in float64."""
    rng = np.random.default_rng(0)
    y, codes = rng.integers(0, 2, 100_000), np.ones((4, 100_000), np.float32)
    codes[:, y == 0] = -1  # two classes, opposite codes: H^T H / L = S
    value, dH = pairwise_similarity(codes, y)
    assert abs(value) < 1e-6 and np.abs(dH).max() < 1e-6


@pytest.mark.parametrize("n_classes, L", [(2, 4), (3, 4), (5, 2), (10, 9), (10, 16)])
def test_floor_of_balanced_classes(n_classes, L):
    """Eq. (16) of notebook 05 is reached by centred class vectors, and never undercut."""
    m, y = 5 * n_classes, np.repeat(np.arange(n_classes), 5)
    floor = m / 2 * (1 - 2 / n_classes) ** 2
    floor += max(0, n_classes - 1 - L) * 2 * m / n_classes**2
    centred = np.eye(n_classes) - 1 / n_classes
    spectrum, vectors = np.linalg.eigh(2 * L * centred)
    used = slice(None, -1 - min(L, n_classes - 1), -1)  # all but the vector of ones
    classes = (vectors[:, used] * np.sqrt(spectrum[used])).T
    H = np.zeros((L, m))
    H[: len(classes)] = classes[:, y]
    value, dH = pairwise_similarity(H, y)
    assert np.isclose(value, floor, rtol=1e-10, atol=1e-10)
    assert np.abs(dH).max() < 1e-12
    rng = np.random.default_rng(0)
    assert all(
        pairwise_similarity(scale * rng.standard_normal(H.shape), y)[0] >= floor
        for scale in (0.1, 0.5, 1, 2)
    )


# what leaves a term unchanged


@pytest.mark.parametrize("seed", SEEDS)
def test_rotation_of_the_outputs(seed):
    """Independence and similarity see H only through H H^T and H^T H."""
    *_, H, y = random_case(seed)
    Q = rotation(len(H), np.random.default_rng(seed))
    for term in (independence, balance, lambda H: pairwise_similarity(H, y)):
        (value, dH), (rotated_value, rotated_dH) = term(H), term(Q @ H)
        assert np.isclose(value, rotated_value, rtol=1e-10, atol=1e-12)
        assert np.allclose(Q @ dH, rotated_dH, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seed", SEEDS)
def test_order_of_the_samples(seed):
    X, B, W, c, H, y = random_case(seed)
    p = np.random.default_rng(seed).permutation(H.shape[1])
    pairs = [
        (equality(H, B), equality(H[:, p], B[:, p])),
        (independence(H), independence(H[:, p])),
        (balance(H), balance(H[:, p])),
        (pairwise_similarity(H, y), pairwise_similarity(H[:, p], y[p])),
    ]
    for (value, dH), (shuffled_value, shuffled_dH) in pairs:
        assert np.isclose(value, shuffled_value, rtol=1e-12, atol=1e-14)
        assert np.allclose(dH[:, p], shuffled_dH, rtol=1e-10, atol=1e-12)
    assert np.isclose(
        reconstruction(X, B, W, c)[0], reconstruction(X[:, p], B[:, p], W, c)[0], rtol=1e-12
    )


def test_names_of_the_classes():
    *_, H, _ = random_case(3)
    m = H.shape[1]
    y = np.random.default_rng(0).integers(0, 3, m)
    renamed = np.array(["z", "m", "a"])[y]
    assert pairwise_similarity(H, y)[0] == pytest.approx(pairwise_similarity(H, renamed)[0])
    assert np.allclose(pairwise_similarity(H, y)[1], pairwise_similarity(H, renamed)[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_shift_of_data_and_bias(seed):
    X, B, W, c, *_ = random_case(seed)
    value, (dW, dc) = reconstruction(X, B, W, c)
    shifted_value, (shifted_dW, shifted_dc) = reconstruction(X + 3, B, W, c + 3)
    assert np.isclose(value, shifted_value, rtol=1e-10)
    assert np.allclose(dW, shifted_dW, atol=1e-12) and np.allclose(dc, shifted_dc, atol=1e-12)


@pytest.mark.parametrize("block", [1, 2, 3, 7, 100])
def test_reconstruction_does_not_depend_on_the_block(block):
    rng = np.random.default_rng(0)
    X, B = rng.standard_normal((4, 7)), rng.choice([-1.0, 1.0], (3, 7))
    W, c = rng.standard_normal((4, 3)), rng.standard_normal((4, 1))
    R = X - W @ B - c
    value, (dW, dc) = reconstruction(X, B, W, c, block=block)
    assert np.isclose(value, np.sum(R**2) / 14, rtol=1e-13)
    assert np.allclose(dW, -R @ B.T / 7, rtol=1e-12, atol=1e-14)
    assert np.allclose(dc[:, 0], -R.sum(axis=1) / 7, rtol=1e-12, atol=1e-14)


def test_what_grows_with_the_number_of_samples():
    X, B, W, c, H, y = random_case(5)

    def thrice(A):
        return np.tile(A, 3)

    def factor(once, three_times):
        return three_times[0] / once[0]

    assert factor(reconstruction(X, B, W, c), reconstruction(thrice(X), thrice(B), W, c)) == (
        pytest.approx(1)
    )
    assert factor(equality(H, B), equality(thrice(H), thrice(B))) == pytest.approx(1)
    assert factor(independence(H), independence(thrice(H))) == pytest.approx(1)
    assert factor(balance(H), balance(thrice(H))) == pytest.approx(3)
    assert factor(
        pairwise_similarity(H, y), pairwise_similarity(thrice(H), thrice(y))
    ) == pytest.approx(3)


# types, shapes and memory


@pytest.mark.parametrize("dtype, bound", [(np.float32, 1e-5), (np.float64, 1e-13)])
@pytest.mark.parametrize("seed", SEEDS)
def test_precision_is_that_of_the_input(seed, dtype, bound):
    exact = random_case(seed)
    X, B, W, c, H, y = random_case(seed, dtype)
    value, (dW, dc) = reconstruction(X, B.astype(np.int8), W, c)
    assert type(value) is float and dW.dtype == dc.dtype == dtype
    assert np.isclose(value, reconstruction(*exact[:4])[0], rtol=bound)
    for term in (
        lambda H, B, y: equality(H, B.astype(np.int8)),
        lambda H, B, y: independence(H),
        lambda H, B, y: balance(H),
        lambda H, B, y: pairwise_similarity(H, y),
    ):
        value, dH = term(H, B, y)
        exact_value, exact_dH = term(*exact[4:5], exact[1], y)
        assert type(value) is float and dH.dtype == dtype and dH.shape == H.shape
        assert np.isclose(value, exact_value, rtol=bound, atol=bound)
        assert np.allclose(dH, exact_dH, rtol=0, atol=bound * (1 + np.abs(exact_dH).max()))


def test_whole_numbers_are_taken_as_real():
    codes = np.ones((2, 300), np.int8)  # 300 does not fit int8
    assert independence(codes)[0] == 1
    assert balance(codes)[0] == 300
    assert pairwise_similarity(codes, np.zeros(300))[0] == 0
    assert equality(codes, codes)[0] == 0


def test_float32_values_are_sums_in_float64():
    """A million equal terms: naive float32 sums would stall far from the answer."""
    H = np.full((1, 2**20), 0.1, np.float32)
    assert equality(H, np.ones_like(H))[0] == pytest.approx((1 - float(H[0, 0])) ** 2 / 2, rel=1e-6)
    assert balance(H)[0] == pytest.approx(2**20 * float(H[0, 0]) ** 2 / 2, rel=1e-6)


def test_gradients_are_new_arrays_that_may_be_written_to():
    X, B, W, c, H, y = random_case(2)
    kept = [A.copy() for A in (X, B, W, c, H)]
    gradients = [*reconstruction(X, B, W, c)[1], *weight_decay([W])[1]]
    gradients += [equality(H, B)[1], independence(H)[1], balance(H)[1]]
    gradients += [pairwise_similarity(H, y)[1]]
    for gradient in gradients:
        gradient *= 0
    assert all(np.array_equal(A, old) for A, old in zip((X, B, W, c, H), kept))


def test_bias_as_a_plain_vector():
    X, B, W, c, *_ = random_case(4)
    value, (dW, dc) = reconstruction(X, B, W, c)
    plain_value, (plain_dW, plain_dc) = reconstruction(X, B, W, c[:, 0])
    assert plain_value == value and np.array_equal(plain_dW, dW)
    assert plain_dc.shape == c[:, 0].shape and np.array_equal(plain_dc, dc[:, 0])


def test_shapes_that_do_not_fit():
    H = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"H \(2, 3\) and B \(2, 1\) must have the same shape"):
        equality(H, np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"one label for each of 3 samples, got shape \(4,\)"):
        pairwise_similarity(H, [0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"one label for each of 3 samples, got shape \(3, 1\)"):
        pairwise_similarity(H, np.ones((3, 1)))
    with pytest.raises(ValueError, match=r"X \(4, 3\), B \(2, 5\), W \(4, 2\) and c \(4, 1\)"):
        reconstruction(np.ones((4, 3)), np.ones((2, 5)), np.ones((4, 2)), np.ones((4, 1)))
    with pytest.raises(ValueError, match=r"c \(1, 4\) do not fit"):
        reconstruction(np.ones((4, 3)), H, np.ones((4, 2)), np.ones((1, 4)))


@pytest.mark.parametrize("H", [np.ones(3), np.ones((2, 0)), np.ones((0, 3)), np.ones((1, 2, 3))])
def test_what_is_no_matrix_of_outputs(H):
    for term in (
        independence,
        balance,
        lambda H: equality(H, H),
        lambda H: pairwise_similarity(H, []),
    ):
        with pytest.raises(ValueError, match="H must be a matrix with samples in columns"):
            term(H)
