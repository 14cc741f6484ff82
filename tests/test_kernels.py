"""bdnn.baselines.kernels: against explicit matrices, least squares, exhaustive search."""

import itertools
import tracemalloc

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.metrics.pairwise import rbf_kernel

from bdnn import losses, metrics
from bdnn.baselines.kernels import (
    BinaryReconstructiveEmbedding,
    KernelSupervisedHashing,
    SupervisedDiscreteHashing,
    anchor_kernel,
    anchor_width,
    best_step,
    improve_weights,
    label_factors,
    one_hot,
    relaxed_bit,
    residue_factors,
    ridge_factor,
    ridge_solution,
    similarity_loss,
    spectral_direction,
    squared_distances,
    unit_factors,
)
from bdnn.data import load
from bdnn.dcc import coordinate_descent
from bdnn.metrics import sgn
from bdnn.network import gradient_error

SETTINGS = {
    SupervisedDiscreteHashing: {"n_anchors": 50, "init": "random"},
    KernelSupervisedHashing: {"n_anchors": 40, "n_samples": 300, "max_iter": 10},
    BinaryReconstructiveEmbedding: {"n_anchors": 20, "n_samples": 200, "max_iter": 1},
}
METHODS = pytest.mark.parametrize("method", list(SETTINGS))


def small(method, **options):
    """An estimator that trains in a moment."""
    return method(n_bits=8, **SETTINGS[method] | options)


@pytest.fixture(scope="module")
def digits():
    return load("digits", ground_truth="labels")


@pytest.fixture(scope="module")
def labels(digits):
    return digits.labels.train.astype(int)


def signs(rng, *shape):
    return sgn(rng.standard_normal(shape)).astype(float)


def random_case(seed):
    """Kernel K (p, m), labels, other bits B (k, m), code length; small and of random sizes."""
    rng = np.random.default_rng(seed)
    p, m, k, n_classes = rng.integers([2, 20, 0, 2], [6, 40, 6, 5])
    K = rng.standard_normal((p, m))
    K -= K.mean(axis=1, keepdims=True)
    y = rng.permutation(np.arange(m) % n_classes)
    return K, y, signs(rng, k, m), int(k + rng.integers(1, 4))


def explicit_residue(y, B, L):
    """L S - B^T B, formed."""
    return L * np.where(y[:, None] == y, 1.0, -1.0) - B.T @ B


# --- the map to anchors


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("m", [1, 7, 5000])
def test_kernel_is_that_of_scikit_learn(dtype, m):
    rng = np.random.default_rng(m)
    A, X = rng.standard_normal((4, 6)).astype(dtype), rng.standard_normal((4, m)).astype(dtype)
    K = anchor_kernel(X, A, 1.7)
    assert K.dtype == dtype
    np.testing.assert_allclose(K, rbf_kernel(A.T, X.T, gamma=0.5 / 1.7**2), rtol=1e-4, atol=1e-6)


def test_distances_far_from_the_origin_in_float32():
    rng = np.random.default_rng(0)
    A, X = (rng.integers(0, 10, (5, n)) for n in (6, 9))
    by_hand = np.sum((A[:, :, None] - X[:, None]) ** 2, axis=0)
    d2 = squared_distances(*(np.float32(Z + 2.0**16) for Z in (A, X)))
    assert np.abs(d2 - by_hand).max() < 0.5


def test_width_by_hand():
    assert anchor_width(np.array([[0.0, 1.0, 5.0]])) == pytest.approx((1 + 1 + 4) / 3)
    assert anchor_width(np.array([[0.0, 0.0, 3.0, 3.0]])) == pytest.approx(3)  # twins do not count
    assert anchor_width(np.full((3, 4), 0.1)) == 1
    assert anchor_width(np.ones((3, 1))) == 1


@given(st.floats(1e-3, 1e3))
def test_width_goes_with_the_units(scale):
    A = np.random.default_rng(0).standard_normal((3, 10))
    assert anchor_width(scale * A) == pytest.approx(scale * anchor_width(A))


# --- SDH's steps


@pytest.mark.parametrize("seed", range(8))
def test_g_and_f_steps_are_least_squares(seed):
    rng = np.random.default_rng(seed)
    p, L, m = rng.integers([1, 1, 10], [8, 6, 30])
    A, B, ridge = rng.standard_normal((p, m)), rng.standard_normal((L, m)), rng.uniform(0.01, 3)
    rows = np.vstack([A.T, np.sqrt(ridge) * np.eye(p)])
    expected = np.linalg.lstsq(rows, np.vstack([B.T, np.zeros((p, L))]))[0].T
    np.testing.assert_allclose(ridge_solution(ridge_factor(A, ridge), A, B), expected, atol=1e-9)


def test_ridge_in_float32():
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal((n, 9000)).astype(np.float32) for n in (5, 3))
    A64, B64 = A.astype(float), B.astype(float)
    W = ridge_solution(ridge_factor(A, 1e-2), A, B)
    expected = np.linalg.solve(A64 @ A64.T + 1e-2 * np.eye(5), A64 @ B64.T).T
    assert W.dtype == np.float32
    np.testing.assert_allclose(W, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_b_step_against_every_code(seed):
    """DCC for SDH's problem: from the best code it stays; else no single bit helps."""
    rng = np.random.default_rng(seed)
    C, L, m, nu = 4, 6, 60, rng.choice([1e-5, 0.1, 1.0])
    Y, G = one_hot(rng.integers(0, C, m), C), rng.standard_normal((C, L)) / 3
    F = rng.standard_normal((L, m))

    def cost(codes):
        apart = ((Y[:, :, None] - (G @ codes)[:, None]) ** 2).sum(axis=0)
        return apart + nu * ((F[:, :, None] - codes[:, None]) ** 2).sum(axis=0)

    codes = np.array(list(itertools.product((-1.0, 1.0), repeat=L))).T
    costs = cost(codes)
    optimal = codes[:, costs.argmin(axis=1)]

    def step(start):
        return coordinate_descent(Y, G, np.zeros((C, 1)), F, nu, start, 50)

    assert np.array_equal(step(optimal), optimal)
    reached = np.full(m, np.inf)
    for _ in range(30):
        found = step(signs(rng, L, m))
        here = np.diag(cost(found))
        for k in range(L):
            turned = found.copy()
            turned[k] *= -1
            assert np.all(np.diag(cost(turned)) >= here - 1e-9)
        reached = np.minimum(reached, here)
    assert np.all(reached >= costs.min(axis=1) - 1e-9)
    assert np.mean(reached <= costs.min(axis=1) + 1e-9) > 0.9


def explicit_sdh_objective(model, K, y):
    """Eq. (3) of the notebook, written down."""
    B, Y = model.codes_.T.astype(float), one_hot(y, len(model.classes_))
    value = np.sum((Y - model.G_ @ B) ** 2) + model.lambda_G * np.sum(model.G_**2)
    equality = np.sum((B - model.W_ @ K - model.c_) ** 2)
    return value + model.nu * (equality + model.lambda_F * np.sum(model.W_**2))


@pytest.mark.parametrize(("init", "nu"), [("classes", 1e-2), ("random", 1e-5), ("random", 1.0)])
def test_sdh_objective_never_rises(digits, labels, init, nu):
    model = small(SupervisedDiscreteHashing, init=init, nu=nu, dtype="float64")
    model.fit(digits.train, labels)
    objective = [entry["objective"] for entry in model.history_]
    assert np.all(np.diff(objective) <= 1e-9 * objective[0])
    K = anchor_kernel(digits.train.T.astype(float), model.anchors_, model.width_)
    K -= K.mean(axis=1, keepdims=True)
    assert explicit_sdh_objective(model, K, labels) == pytest.approx(objective[-1])
    assert [entry["alternation"] for entry in model.history_] == list(range(len(objective)))


def test_sdh_last_steps_are_stationary(digits, labels):
    """No small change of G, W or c lowers the objective at the end of the training."""
    model = small(SupervisedDiscreteHashing, nu=1e-2, dtype="float64").fit(digits.train, labels)
    K = anchor_kernel(digits.train.T.astype(float), model.anchors_, model.width_)
    K -= K.mean(axis=1, keepdims=True)
    best, rng = explicit_sdh_objective(model, K, labels), np.random.default_rng(0)
    for name in ("G_", "W_", "c_"):
        kept = getattr(model, name)
        setattr(model, name, kept + 1e-3 * rng.standard_normal(kept.shape))
        assert explicit_sdh_objective(model, K, labels) > best
        setattr(model, name, kept)


def test_sdh_gives_each_class_one_code(digits, labels):
    for init in ("classes", "random"):
        model = small(SupervisedDiscreteHashing, init=init).fit(digits.train, labels)
        for k in range(10):
            assert len(np.unique(model.codes_[labels == k], axis=0)) == 1


# --- loss and residue


@pytest.mark.parametrize("seed", range(8))
def test_loss_against_the_matrix_of_pairs(seed):
    _, y, B, L = random_case(seed)
    T = one_hot(y, y.max() + 1)
    S, m = np.where(y[:, None] == y, 1.0, -1.0), len(y)
    assert similarity_loss(B, T, L) == pytest.approx(np.sum((B.T @ B / L - S) ** 2) / (2 * m))
    full = signs(np.random.default_rng(seed), 5, m)
    assert similarity_loss(full, T) == pytest.approx(losses.pairwise_similarity(full, y)[0])


@pytest.mark.parametrize("seed", range(5))
def test_loss_is_the_squared_error_of_distances(seed):
    rng = np.random.default_rng(seed)
    X, B = rng.standard_normal((6, 25)), signs(rng, 8, 25)
    U = X / np.linalg.norm(X, axis=0)
    wanted = np.sum((U[:, :, None] - U[:, None]) ** 2, axis=0) / 2
    found = metrics.hamming_distances(B.T.astype(np.int8), B.T.astype(np.int8)) / 8
    T = unit_factors(X, energy=1)
    assert similarity_loss(B, T) == pytest.approx(2 * np.sum((wanted - found) ** 2) / 25)


def test_unit_factors():
    X = np.random.default_rng(0).standard_normal((5, 30)) * [[9], [3], [1], [1], [1]]
    X[:, 3] = 0
    U = X / np.maximum(np.linalg.norm(X, axis=0), 1e-9)
    np.testing.assert_allclose(unit_factors(X, 1).T @ unit_factors(X, 1), U.T @ U, atol=1e-12)
    assert len(unit_factors(X, 0.6)) < 5 and not unit_factors(X)[:, 3].any()
    np.testing.assert_allclose(unit_factors(1e200 * X, 1), unit_factors(X, 1), atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_residue_against_the_matrix_of_pairs(seed):
    _, y, B, L = random_case(seed)
    F, omega = residue_factors(one_hot(y, y.max() + 1), B, L)
    R = explicit_residue(y, B, L)
    np.testing.assert_allclose((F.T * omega) @ F, R, atol=1e-12)
    assert len(F) == 1 + y.max() + 1 + len(B)


def test_best_bit_by_the_residue_is_best_for_the_loss():
    """Over all bits of nine samples: the largest b^T R b has the smallest loss."""
    rng = np.random.default_rng(0)
    y, others, L = np.arange(9) % 3, signs(rng, 3, 9), 4
    T, R = one_hot(y, 3), explicit_residue(np.arange(9) % 3, others, 4)
    bits = np.array(list(itertools.product((-1.0, 1.0), repeat=9)))
    value = np.einsum("bi,ij,bj->b", bits, R, bits)
    loss = [similarity_loss(np.vstack([others, b]), T, L) for b in bits]
    best = np.argmax(value)
    assert loss[best] == pytest.approx(min(loss))
    np.testing.assert_allclose(loss, loss[0] + (value[0] - value) / (9 * L**2))


def several_labels(seed, m=24):
    """A 0/1 matrix (m, 4), and the matrix S of all pairs: +1 where rows share a label."""
    Y = np.random.default_rng(seed).random((m, 4)) < 0.35
    return Y, np.where(Y.astype(int) @ Y.T > 0, 1.0, -1.0)


@pytest.mark.parametrize("seed", range(8))
def test_several_labels_against_the_matrix_of_pairs(seed):
    Y, S = several_labels(seed)
    T, tau = label_factors(Y, 4)
    np.testing.assert_allclose(2 * (T.T * tau) @ T - 1, S, atol=1e-12)
    assert set(tau) >= {-1, 1}  # S + 1 is not positive semidefinite
    B = signs(np.random.default_rng(seed), 5, 24)
    by_pairs = np.sum((B.T @ B / 8 - S) ** 2) / 48
    assert similarity_loss(B, T, 8, tau) == pytest.approx(by_pairs)
    assert similarity_loss(B, T, tau=tau) == pytest.approx(losses.pairwise_similarity(B, Y)[0])
    F, omega = residue_factors(T, B, 8, tau)
    np.testing.assert_allclose((F.T * omega) @ F, 8 * S - B.T @ B, atol=1e-11)


def test_weights_improve_with_several_labels():
    Y, S = several_labels(0)
    rng = np.random.default_rng(0)
    K, W = rng.standard_normal((6, 24)), rng.standard_normal((4, 6))
    T, tau = label_factors(Y, 4)

    def loss(W):
        B = sgn(W @ K)
        return np.sum((B.T @ B / 4 - S) ** 2)

    before = loss(W)
    while improve_weights(W, K, T, tau):
        assert loss(W) < before
        before = loss(W)
    for k, s in np.ndindex(W.shape):  # now no single weight can do better
        for delta in np.linspace(-3, 3, 41):
            V = W.copy()
            V[k, s] += delta
            assert loss(V) >= before - 1e-9


def test_sdh_regresses_on_several_labels(digits):
    Y = np.stack([digits.labels.train.astype(int) % k == 0 for k in (2, 3, 5, 7)], axis=1)
    model = small(SupervisedDiscreteHashing, dtype="float64", max_alternations=1)
    model.fit(digits.train, np.hstack([Y, np.zeros((len(Y), 1))]))  # the fifth is never there
    assert list(model.classes_) == [0, 1, 2, 3] and model.G_.shape == (4, 8)
    missed = np.sum((Y.T - model.G_ @ model.codes_.T) ** 2)
    assert model.history_[-1]["classification"] == pytest.approx(missed)


# --- KSH's bit


@pytest.mark.parametrize("seed", range(8))
def test_spectral_direction_is_scipys(seed):
    K, y, B, L = random_case(seed)
    m = len(y)
    R, gram = explicit_residue(y, B, L), K @ K.T
    mu, vectors = scipy.linalg.eigh(K @ R @ K.T, gram)
    F, omega = residue_factors(one_hot(y, y.max() + 1), B, L)
    a = spectral_direction(K @ F.T, omega, np.linalg.cholesky(gram), m)
    assert a @ gram @ a == pytest.approx(m)
    assert a @ K @ R @ K.T @ a == pytest.approx(m * mu[-1])
    if mu[-1] - mu[-2] > 1e-6 * abs(mu[-1]):
        assert abs(a @ gram @ vectors[:, -1]) == pytest.approx(np.sqrt(m))
    assert a[np.argmax(np.abs(a))] > 0


@pytest.mark.parametrize("seed", range(8))
def test_gradient_of_the_relaxation(seed):
    K, y, B, L = random_case(seed)
    F, omega = residue_factors(one_hot(y, y.max() + 1), B, L)
    a = np.random.default_rng(seed).standard_normal(len(K))
    assert gradient_error(lambda a: relaxed_bit(a, K, F, omega), a) < 1e-7
    phi, R = 2 / (1 + np.exp(-a @ K)) - 1, explicit_residue(y, B, L)
    assert relaxed_bit(a, K, F, omega)[0] == pytest.approx(-phi @ R @ phi / len(y) ** 2)


def test_relaxation_becomes_the_bit_for_large_weights():
    K, y, B, L = random_case(0)
    F, omega = residue_factors(one_hot(y, y.max() + 1), B, L)
    a = np.random.default_rng(0).standard_normal(len(K))
    b = sgn(a @ K)
    value = b @ explicit_residue(y, B, L) @ b / len(y) ** 2
    assert relaxed_bit(1e6 * a, K, F, omega)[0] == pytest.approx(-value)


def test_relaxed_bit_stays_in_float32():
    K, y, B, L = random_case(1)
    F, omega = residue_factors(one_hot(y, y.max() + 1, np.float32), B.astype(np.float32), L)
    assert F.dtype == omega.dtype == np.float32
    value, gradient = relaxed_bit(np.ones(len(K), np.float32), np.float32(K), F, omega)
    assert gradient.dtype == np.float32 and isinstance(value, float)


def test_ksh_takes_the_better_of_two_bits_each_time(digits, labels):
    """Bit by bit, against residues that are formed."""
    model = small(KernelSupervisedHashing, dtype="float64", n_samples=10**6)
    model.fit(digits.train, labels)
    spectral = clone(model).set_params(max_iter=0).fit(digits.train, labels)
    B, L = model.codes_.T.astype(float), 8
    first = [b @ explicit_residue(labels, B[:0], L) @ b for b in (B[0], spectral.codes_.T[0] * 1.0)]
    assert first[0] >= first[1]
    assert spectral.history_[0]["refined"] is False
    for k, entry in enumerate(model.history_, start=1):
        S = np.where(labels[:, None] == labels, 1.0, -1.0)
        by_hand = np.sum((B[:k].T @ B[:k] / L - S) ** 2) / (2 * len(labels))
        assert entry["iteration"] == k and entry["objective"] == pytest.approx(by_hand)
    assert any(entry["refined"] for entry in model.history_)


# --- BRE's weight


@pytest.mark.parametrize("seed", range(15))
def test_best_step_against_all_steps_and_a_grid(seed):
    rng = np.random.default_rng(seed)
    _, y, B, L = random_case(seed)
    m, R = len(y), explicit_residue(y, B, L)
    F, omega = residue_factors(one_hot(y, y.max() + 1), B, L)
    z, kappa = rng.standard_normal(m), rng.standard_normal(m)
    kappa[rng.integers(0, m, 3)] = 0
    delta, value = best_step(z, kappa, F, omega)

    def quality(delta):
        b = sgn(z + delta * kappa).astype(float)
        return b @ R @ b

    t = np.sort(-z[kappa != 0] / kappa[kappa != 0])
    middles = [t[0] - 1, *(t[1:] + t[:-1]) / 2, t[-1] + 1]
    assert value == pytest.approx(max(map(quality, middles)))
    assert quality(delta) == pytest.approx(value)
    grid = np.concatenate([np.linspace(-20, 20, 4001), 1e4 * rng.standard_normal(50)])
    assert max(map(quality, grid)) <= value + 1e-9


def test_best_step_by_hand():
    """Two samples of each of two classes, no other bit: the step that separates the classes."""
    F, omega = residue_factors(one_hot(np.array([0, 0, 1, 1]), 2), np.empty((0, 4)), 1)
    delta, value = best_step(np.array([1.0, 1, 1, 1]), np.array([1.0, 2, -4, -5]), F, omega)
    assert value == pytest.approx(16)  # b^T S b = m^2
    b = sgn(1 + delta * np.array([1, 2, -4, -5]))
    assert np.array_equal(b[0] * b, [1, 1, -1, -1])


def test_best_step_of_a_weight_that_sees_nothing():
    _, y, B, L = random_case(0)
    F, omega = residue_factors(one_hot(y, y.max() + 1), B, L)
    z = np.random.default_rng(0).standard_normal(len(y))
    delta, value = best_step(z, np.zeros(len(y)), F, omega)
    assert delta == 0
    assert value == pytest.approx(sgn(z) @ explicit_residue(y, B, L) @ sgn(z))


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_best_step_with_samples_that_are_alike(seed):
    """Equal thresholds cannot be parted: what is promised must be what the step gives."""
    rng = np.random.default_rng(seed)
    z, kappa = (np.repeat(rng.integers(-3, 4, 6), 3).astype(float) for _ in range(2))
    y = rng.permutation(np.arange(18) % 3)
    F, omega = residue_factors(one_hot(y, 3), np.empty((0, 18)), 4)
    delta, value = best_step(z, kappa, F, omega)
    b = sgn(z + delta * kappa)
    assert b @ explicit_residue(y, np.empty((0, 18)), 4) @ b == pytest.approx(value)


@pytest.mark.parametrize("kind", ["labels", "distances"])
@pytest.mark.parametrize("seed", range(4))
def test_passes_never_raise_the_loss_and_end_where_no_weight_helps(kind, seed):
    rng = np.random.default_rng(seed)
    K, y, _, _ = random_case(seed)
    T = one_hot(y, y.max() + 1)
    if kind == "distances":
        T = unit_factors(rng.standard_normal((4, len(y))), 1)
    W = rng.standard_normal((4, len(K)))
    loss = [similarity_loss(sgn(W @ K).astype(float), T)]
    for _ in range(30):
        moved = improve_weights(W, K, T)
        loss.append(similarity_loss(sgn(W @ K).astype(float), T))
        if not moved:
            break
    assert np.all(np.diff(loss) <= 1e-9) and loss[-1] < loss[0] and moved == 0
    for k, s, delta in itertools.product(range(4), range(len(K)), np.linspace(-9, 9, 61)):
        V = W.copy()
        V[k, s] += delta
        assert similarity_loss(sgn(V @ K).astype(float), T) >= loss[-1] - 1e-9


def test_bre_objective_never_rises(digits, labels):
    options = {"dtype": "float64", "max_iter": 4, "tol": 0}
    for targets in ("labels", "distances"):
        model = small(BinaryReconstructiveEmbedding, targets=targets, **options)
        model.fit(digits.train, labels if targets == "labels" else None)
        objective = [entry["objective"] for entry in model.history_]
        assert np.all(np.diff(objective) <= 1e-9) and objective[-1] < objective[0]


def test_bre_without_labels_needs_and_heeds_none(digits, labels):
    first = small(BinaryReconstructiveEmbedding, targets="distances").fit(digits.train)
    second = small(BinaryReconstructiveEmbedding, targets="distances").fit(digits.train, labels)
    np.testing.assert_array_equal(first.codes_, second.codes_)
    assert not hasattr(first, "classes_")
    with pytest.raises(ValueError, match="requires y to be passed"):
        small(BinaryReconstructiveEmbedding).fit(digits.train)


@pytest.mark.slow
def test_bre_without_labels_keeps_neighbours():
    images, found = load("mnist5k"), []
    for passes in (0, 1):
        options = {"targets": "distances", "n_samples": 300, "n_anchors": 60, "max_iter": passes}
        model = BinaryReconstructiveEmbedding(16, **options).fit(images.train)
        pair = model.transform(images.query), model.transform(images.database)
        found.append(metrics.mean_average_precision(*pair, images.relevant))
    assert found[1] > found[0] + 0.05


# --- the three estimators


@METHODS
def test_labels_help(method, digits, labels):
    """Ten classes: by chance the mAP would be about a tenth."""
    model = small(method).fit(digits.train, labels)
    codes = model.transform(digits.query), model.transform(digits.database)
    assert metrics.mean_average_precision(*codes, digits.relevant) > 0.35
    assert model.codes_.shape == (len(labels), 8) and model.codes_.dtype == np.int8


@METHODS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hash_function_is_kernel_and_weights(method, dtype, digits, labels):
    model = small(method, dtype=dtype).fit(digits.train, labels)
    X = digits.query.T.astype(float)
    K = rbf_kernel(model.anchors_.T, X.T, gamma=0.5 / model.width_**2) - model.kernel_mean_
    np.testing.assert_allclose(
        model.decision_function(digits.query), (model.W_ @ K + model.c_).T, rtol=1e-3, atol=1e-3
    )
    assert model.W_.dtype == model.decision_function(digits.query).dtype == dtype


@METHODS
def test_codes_are_those_of_the_hash_function(method, digits, labels):
    model = small(method).fit(digits.train, labels)
    share = np.mean(model.codes_ == model.transform(digits.train))
    assert share == 1 if method is not SupervisedDiscreteHashing else share > 0.9


@METHODS
@pytest.mark.parametrize("m", [9, 30])
def test_fewer_samples_than_anchors(method, m):
    """Every sample is an anchor then."""
    rng = np.random.default_rng(m)
    y = np.arange(m) % 3
    X = 4 * rng.standard_normal((3, 5))[y] + rng.standard_normal((m, 5))
    model = method(n_bits=4).fit(X, y)
    assert model.anchors_.shape == (5, m)
    np.testing.assert_allclose(np.sort(model.anchors_, axis=1), np.sort(X.T, axis=1), rtol=1e-6)
    assert np.isfinite(model.decision_function(X)).all()


@METHODS
def test_anchors_are_among_the_samples_drawn(method, digits, labels):
    model = small(method).fit(digits.train, labels)
    rows = {row.tobytes() for row in digits.train.astype(np.float32)}
    assert all(np.ascontiguousarray(a).tobytes() in rows for a in model.anchors_.T)


@METHODS
@pytest.mark.parametrize("kind", [str, bool, lambda y: y - 5.0])
def test_labels_of_any_type(method, digits, labels, kind):
    y = np.array([kind(label) for label in labels.tolist()])
    number = np.unique(y, return_inverse=True)[1]
    expected = small(method).fit(digits.train, number)
    model = small(method).fit(digits.train, y)
    np.testing.assert_array_equal(model.codes_, expected.codes_)
    np.testing.assert_array_equal(model.classes_, np.unique(y))


@METHODS
def test_a_class_that_is_not_drawn(method, digits, labels):
    y = labels.copy()
    y[7] = 99
    options = {} if method is SupervisedDiscreteHashing else {"n_samples": 60}
    model = small(method, **options).fit(digits.train, y)
    assert len(model.classes_) == 11 and np.isfinite(model.decision_function(digits.query)).all()


def test_memory_does_not_grow_with_the_pairs():
    """8,000 samples: a matrix of pairs would take 256 MB, the kernel takes 3 MB."""
    rng = np.random.default_rng(0)
    y = np.arange(8_000) % 7
    X = (rng.normal(size=(len(y), 20)) + 3 * rng.normal(size=(7, 20))[y]).astype(np.float32)
    for method, options in (
        (SupervisedDiscreteHashing, {"n_anchors": 100}),
        (KernelSupervisedHashing, {"n_anchors": 100, "n_samples": 8_000, "max_iter": 2}),
    ):
        tracemalloc.start()
        try:
            method(8, **options).fit(X, y)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 20e6


@METHODS
@pytest.mark.rounding
def test_several_labels_help(method, digits):
    """Digits that 2, 3, 5 or 7 divides: to share a divisor is to be similar."""
    Y, Y_query = (
        np.stack([y.astype(int) % k == 0 for k in (2, 3, 5, 7)], axis=1).astype(int)
        for y in (digits.labels.train, digits.labels.query)
    )
    model = small(method, init="classes") if "init" in method().get_params() else small(method)
    codes = model.fit(digits.train, Y).transform(digits.query), model.codes_
    found = metrics.mean_average_precision(*codes, (Y_query, Y))
    assert found > np.mean(Y_query @ Y.T > 0) + 0.1


@METHODS
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_of_the_input_do_not_matter(method, digits, labels, scale):
    options = {"dtype": "float64"}
    if method is BinaryReconstructiveEmbedding:
        options["max_iter"] = 0  # a sweep may turn a tie of rounding into another weight
    codes = small(method, **options).fit(digits.train, labels).transform(digits.query)
    scaled = small(method, **options).fit(digits.train * scale, labels)
    assert np.mean(codes == scaled.transform(digits.query * scale)) > 0.99


@METHODS
def test_constant_and_few_features(method):
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    X[:, 1] = 5
    assert small(method).fit(X, y).transform(X).shape == (40, 8)
    alike = small(method).fit(np.full((40, 3), 0.1), y)
    assert np.isfinite(alike.decision_function(X)).all()
