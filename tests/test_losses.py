"""bdnn.losses: values by hand and by loops, gradients against central differences, floors."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdnn.losses import (
    balance,
    equality,
    independence,
    label_groups,
    pairwise_similarity,
    reconstruction,
    weight_decay,
)
from bdnn.network import gradient_error

SEEDS = range(8)
HADAMARD = np.array([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])


def random_case(seed, dtype=np.float64):
    """Random X, B, W, c, H and labels that fit each other."""
    rng = np.random.default_rng(seed)
    D, L, m = rng.integers(1, 9, 3)
    X, W, c, H = (rng.standard_normal(shape) for shape in [(D, m), (D, L), (D, 1), (L, m)])
    B = rng.choice([-1.0, 1.0], (L, m))
    return *(A.astype(dtype) for A in (X, B, W, c, H)), rng.integers(0, 3, m)


def of_h(seed, dtype=np.float64):
    """The terms that see H, as functions of H alone, and an H."""
    _, B, _, _, H, y = random_case(seed, dtype)
    terms = {
        "equality": lambda H: equality(H, B.astype(H.dtype)),
        "independence": independence,
        "balance": balance,
        "pairwise similarity": lambda H: pairwise_similarity(H, y),
    }
    return terms, H


@pytest.mark.parametrize("seed", SEEDS)
def test_gradients_against_central_differences(seed):
    X, B, W, c, _, _ = random_case(seed)
    terms, H = of_h(seed)
    for name, term in terms.items():
        for scale in (0.1, 1, 10):
            assert gradient_error(term, scale * H) < 1e-7, name
    assert gradient_error(lambda W: (lambda J, g: (J, g[0]))(*reconstruction(X, B, W, c)), W) < 1e-7
    assert gradient_error(lambda c: (lambda J, g: (J, g[1]))(*reconstruction(X, B, W, c)), c) < 1e-7
    assert gradient_error(lambda W: (lambda J, g: (J, g[0]))(*weight_decay([W, c])), W) < 1e-7


@pytest.mark.parametrize("seed", SEEDS)
def test_values_are_those_of_loops(seed):
    X, B, W, c, H, y = random_case(seed)
    (D, m), L = X.shape, len(B)
    R = [
        [X[i, j] - sum(W[i, k] * B[k, j] for k in range(L)) - c[i, 0] for j in range(m)]
        for i in range(D)
    ]
    S = [[1 if y[i] == y[j] else -1 for j in range(m)] for i in range(m)]
    similar = [[sum(H[k, i] * H[k, j] for k in range(L)) / L for j in range(m)] for i in range(m)]
    G = [
        [sum(H[i, j] * H[k, j] for j in range(m)) / m - (i == k) for k in range(L)]
        for i in range(L)
    ]
    pairs = [(similar[i][j] - S[i][j]) ** 2 for i in range(m) for j in range(m)]
    expected = [
        (reconstruction(X, B, W, c)[0], sum(r * r for row in R for r in row) / (2 * m)),
        (weight_decay([W, c])[0], sum(w * w for A in (W, c) for w in A.flat) / 2),
        (equality(H, B)[0], sum((h - b) ** 2 for h, b in zip(H.flat, B.flat)) / (2 * m)),
        (independence(H)[0], sum(g * g for row in G for g in row) / 2),
        (balance(H)[0], sum(sum(row) ** 2 for row in H) / (2 * m)),
        (pairwise_similarity(H, y)[0], sum(pairs) / (2 * m)),
    ]
    for value, loop in expected:
        assert np.isclose(value, loop, rtol=1e-10, atol=1e-12)


@settings(max_examples=60)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=25), st.integers(0, 2**32 - 1))
def test_similarity_is_the_explicit_form_for_any_labels(y, seed):
    y, rng = np.array(y), np.random.default_rng(seed)
    L, m = int(rng.integers(1, 6)), len(y)
    H = rng.standard_normal((L, m))
    V = H.T @ H / L - np.where(y[:, None] == y, 1, -1)
    value, dH = pairwise_similarity(H, y)
    assert np.isclose(value, np.sum(V**2) / (2 * m), rtol=1e-10, atol=1e-10)
    assert np.allclose(dH, 2 / (m * L) * H @ V, atol=1e-11)
    as_numbers = pairwise_similarity(H, 2 * np.unique(y, return_inverse=True)[1] - 3)
    assert as_numbers[0] == value and np.array_equal(as_numbers[1], dH)


def shared_labels(Y):
    """The matrix S of all pairs: +1 where two rows of Y share a label."""
    return np.where(np.asarray(Y, int) @ np.transpose(np.asarray(Y, int)) > 0, 1.0, -1.0)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("n_labels", [1, 3, 9])
def test_similarity_of_several_labels_is_the_explicit_form(seed, n_labels):
    rng = np.random.default_rng(seed)
    L, m = rng.integers(1, 6), rng.integers(1, 25)
    H, Y = rng.standard_normal((L, m)), rng.random((m, n_labels)) < 0.4
    V = H.T @ H / L - shared_labels(Y)
    value, dH = pairwise_similarity(H, Y)
    assert np.isclose(value, np.sum(V**2) / (2 * m), rtol=1e-10, atol=1e-10)
    assert np.allclose(dH, 2 / (m * L) * H @ V, atol=1e-11)
    assert gradient_error(lambda H: pairwise_similarity(H, Y), H) < 1e-7
    for same in (Y.astype(int), Y.astype(float), Y.astype(object), Y.tolist(), label_groups(Y)):
        other = pairwise_similarity(H, same)
        assert other[0] == value and np.array_equal(other[1], dH)
    single, single_dH = pairwise_similarity(H.astype(np.float32), Y)
    assert single_dH.dtype == np.float32 and np.allclose(single_dH, dH, rtol=1e-4, atol=1e-5)


def test_groups_by_hand():
    """{a}, {b}, {a, b}, nothing: the last is similar to none, not even to itself."""
    Y = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [0, 1]])
    number, T = label_groups(Y)
    expected = [[1, 0, 1, 0, 0], [0, 1, 1, 0, 1], [1, 1, 1, 0, 1], [0] * 5, [0, 1, 1, 0, 1]]
    assert T.shape == (4, 4) and T[number][:, number].tolist() == expected
    assert label_groups(list("aba")).shared is None


@pytest.mark.parametrize("seed", SEEDS)
def test_one_hot_labels_are_labels(seed):
    rng = np.random.default_rng(seed)
    H, y = rng.standard_normal((3, 20)), rng.integers(0, 4, 20)
    for found, expected in zip(pairwise_similarity(H, np.eye(4)[y]), pairwise_similarity(H, y)):
        assert np.allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_values_by_hand():
    X, W, c, B = np.array([[3.0, 1]]), np.array([[2.0]]), np.array([[1.0]]), np.array([[1.0, -1]])
    value, (dW, dc) = reconstruction(X, B, W, c)  # residuals 0 and 2
    assert (value, dW.tolist(), dc.tolist()) == (1, [[1]], [[-1]])
    value, dWs = weight_decay([np.array([[3.0], [4.0]]), np.array([[1.0]])])
    assert value == 13 and [dW.tolist() for dW in dWs] == [[[3], [4]], [[1]]]
    value, dH = equality(np.array([[0.5, 3.0]]), np.ones((1, 2)))
    assert value == (0.25 + 4) / 4 and dH.tolist() == [[-0.25, 1]]
    assert independence(HADAMARD)[0] == 0 and independence(HADAMARD[[1, 1]])[0] == 1
    assert balance(HADAMARD)[0] == 2 and balance(HADAMARD[1:])[0] == 0
    opposite = np.array([[1.0, 1, -1], [1, 1, -1]])
    assert pairwise_similarity(opposite, [0, 0, 1])[0] == 0
    assert pairwise_similarity(opposite, [0, 1, 1])[0] == 8 / 3  # two pairs wrong, twice 2^2 each


def test_similarity_never_forms_the_large_matrix():
    """For 20,000 samples S alone takes 400 MB even as bytes."""
    rng, m = np.random.default_rng(0), 20_000
    y = rng.integers(0, 2, m)
    H = np.where(y, 1, -1).astype(np.float32) * np.ones((4, 1), np.float32)  # H^T H / L = S
    tracemalloc.start()
    value, dH = pairwise_similarity(H, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert abs(value) < 1e-6 and np.abs(dH).max() < 1e-6
    assert peak < 20 * H.nbytes


@pytest.mark.parametrize("n_classes, L", [(2, 4), (3, 4), (5, 2), (10, 9), (10, 16)])
def test_floor_of_similarity(n_classes, L):
    """Eq. (16) of notebook 05 is reached by centred class vectors, and never undercut."""
    m, y = 5 * n_classes, np.repeat(np.arange(n_classes), 5)
    floor = m / 2 * (1 - 2 / n_classes) ** 2
    floor += max(0, n_classes - 1 - L) * 2 * m / n_classes**2
    spectrum, vectors = np.linalg.eigh(2 * L * (np.eye(n_classes) - 1 / n_classes))
    used = slice(None, -1 - min(L, n_classes - 1), -1)  # all but the vector of ones
    classes = (vectors[:, used] * np.sqrt(spectrum[used])).T
    H = np.zeros((L, m))
    H[: len(classes)] = classes[:, y]
    value, dH = pairwise_similarity(H, y)
    assert np.isclose(value, floor, rtol=1e-10, atol=1e-10)
    assert np.abs(dH).max() < 1e-12
    rng = np.random.default_rng(0)
    for scale in (0.1, 0.5, 1, 2):
        assert pairwise_similarity(scale * rng.standard_normal(H.shape), y)[0] >= floor


@pytest.mark.parametrize("n_classes", [2, 3, 4, 7])
def test_floor_of_similarity_for_codes(n_classes):
    """Eq. (17) of notebook 05 holds for any codes, also for such as differ within a class."""
    m, y = 4 * n_classes, np.repeat(np.arange(n_classes), 4)
    floor = m / 2 * (n_classes - 2) ** 2 / (n_classes * (n_classes - 1))
    rng = np.random.default_rng(0)
    for L in (1, 2, 3, 8):
        of_samples, of_classes = (rng.choice([-1.0, 1.0], (L, k)) for k in (m, n_classes))
        for codes in (of_samples, of_classes[:, y]):
            assert pairwise_similarity(codes, y)[0] >= floor - 1e-9
    if n_classes == 4:  # the three balanced splits of four classes reach it
        assert pairwise_similarity(HADAMARD[1:][:, y], y)[0] == pytest.approx(floor)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_rotation_and_the_order_of_samples_change(seed):
    """Nothing: independence, balance and similarity see H through H H^T, H 1 and H^T H."""
    terms, H = of_h(seed)
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((len(H), len(H))))[0]
    for name in ("independence", "balance", "pairwise similarity"):
        (value, dH), (rotated, rotated_dH) = terms[name](H), terms[name](Q @ H)
        assert np.isclose(value, rotated, rtol=1e-10, atol=1e-12)
        assert np.allclose(Q @ dH, rotated_dH, rtol=1e-9, atol=1e-11)
    X, B, W, c, H, y = random_case(seed)
    p = rng.permutation(H.shape[1])
    for term in (equality, lambda H, B: independence(H), lambda H, B: balance(H)):
        (value, dH), (shuffled, shuffled_dH) = term(H, B), term(H[:, p], B[:, p])
        assert np.isclose(value, shuffled) and np.allclose(dH[:, p], shuffled_dH)
    shuffled = pairwise_similarity(H[:, p], y[p])
    assert np.allclose(pairwise_similarity(H, y)[1][:, p], shuffled[1])
    assert np.isclose(reconstruction(X, B, W, c)[0], reconstruction(X[:, p], B[:, p], W, c)[0])


def test_what_grows_with_the_number_of_samples():
    """Every sample three times: balance and similarity triple, the means stay."""
    X, B, W, c, H, y = random_case(3)
    thrice = [np.tile(A, 3) for A in (X, B, H, y)]
    X3, B3, H3, y3 = thrice
    assert np.isclose(reconstruction(X3, B3, W, c)[0], reconstruction(X, B, W, c)[0])
    assert np.isclose(equality(H3, B3)[0], equality(H, B)[0])
    assert np.isclose(independence(H3)[0], independence(H)[0])
    assert np.isclose(balance(H3)[0], 3 * balance(H)[0])
    assert np.isclose(pairwise_similarity(H3, y3)[0], 3 * pairwise_similarity(H, y)[0])


@pytest.mark.parametrize("seed", SEEDS)
def test_precision_is_that_of_the_input(seed):
    terms, H = of_h(seed)
    for term in terms.values():
        (value, dH), (single, single_dH) = term(H), term(H.astype(np.float32))
        assert type(single) is float and single_dH.dtype == np.float32
        assert single == pytest.approx(value, rel=1e-4, abs=1e-5)
        assert np.allclose(single_dH, dH, rtol=1e-4, atol=1e-5)


def test_float32_values_are_sums_in_float64():
    H = np.random.default_rng(0).standard_normal((3, 500_001), dtype=np.float32)
    exact = np.sum(np.square(H).astype(np.float64)) / (2 * 500_001)
    assert equality(H, 0 * H)[0] == pytest.approx(exact, rel=1e-12)  # float32 sums: 1e-8


def test_the_inputs_stay_as_they_are():
    terms, H = of_h(1)
    kept = H.copy()
    for term in terms.values():
        term(H)
    assert np.array_equal(H, kept)
