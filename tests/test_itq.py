"""bdnn.itq: known answers, the definitions, scikit-learn and SciPy as second opinions."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eig, eigh, orthogonal_procrustes
from sklearn.cross_decomposition import CCA
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from bdnn import itq
from bdnn.data import load
from bdnn.itq import ITQ, ITQCCA
from bdnn.metrics import hamming_distances, precision_at_radius, sgn, unpack_codes

BOTH = (ITQ, ITQCCA)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X, y


def some_data(seed, D=6, m=200):
    """Correlated samples in columns, off centre."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((D, D)) @ rng.standard_normal((D, m)) + 3 * rng.standard_normal(
        (D, 1)
    )


# --- principal directions


@pytest.mark.parametrize("L", (1, 5, 20))
def test_principal_directions_are_those_of_scikit_learn(digits, L):
    X, _ = digits
    mean, P = itq.principal_directions(X.T, L)
    pca = PCA(L, svd_solver="full").fit(X)
    assert np.allclose(mean[:, 0], pca.mean_)
    assert np.allclose(np.abs(P.T), np.abs(pca.components_), atol=1e-7)
    assert np.allclose(P.T @ P, np.eye(L), atol=1e-12)
    assert np.all(P[np.argmax(np.abs(P), axis=0), np.arange(L)] > 0)


def test_principal_directions_by_hand():
    X = np.array([[4.0, 0, 2, 2], [1, 1, 2, 0]])  # variances 2 and 1/2 around (2, 1), uncorrelated
    mean, P = itq.principal_directions(X, 3)
    assert np.allclose(mean, [[2], [1]])
    assert np.allclose(P, [[1, 0, 0], [0, 1, 0]])


def test_a_large_offset_does_not_spoil_single_precision():
    X = some_data(1, m=3000)
    _, P = itq.principal_directions(X, 6)
    _, shifted = itq.principal_directions((X + 1000).astype(np.float32), 6)
    assert np.allclose(P, shifted, atol=2e-3)


# --- rotations


@pytest.mark.parametrize("L", (1, 2, 7, 32))
def test_random_rotations_are_orthogonal_and_repeatable(L):
    R, again, other = (itq.random_rotation(L, np.random.default_rng(s)) for s in (0, 0, 1))
    assert np.allclose(R @ R.T, np.eye(L), atol=1e-12)
    assert np.array_equal(R, again)
    assert L == 1 or not np.allclose(R, other)


def test_random_rotations_prefer_no_direction():
    rng = np.random.default_rng(0)
    mean = np.mean([itq.random_rotation(3, rng) for _ in range(4000)], axis=0)
    assert np.abs(mean).max() < 4 / np.sqrt(3 * 4000)


@pytest.mark.parametrize("seed", range(5))
def test_procrustes_equals_scipy_and_beats_every_other_rotation(seed):
    rng = np.random.default_rng(seed)
    V, B = rng.standard_normal((4, 50)), np.where(rng.random((4, 50)) < 0.5, -1.0, 1.0)
    R = itq.procrustes_rotation(B, V)
    assert np.allclose(R, orthogonal_procrustes(V.T, B.T)[0].T)
    loss = np.sum((B - R @ V) ** 2)
    for _ in range(100):
        near = itq.procrustes_rotation(R + 0.1 * rng.standard_normal((4, 4)), np.eye(4))
        assert loss <= np.sum((B - near @ V) ** 2)


def test_procrustes_recovers_a_rotation():
    rng = np.random.default_rng(0)
    V, R = rng.standard_normal((5, 30)), itq.random_rotation(5, rng)
    assert np.allclose(itq.procrustes_rotation(R @ V, V), R)


@given(st.integers(1, 9), st.integers(0, 100), st.integers(0, 20))
@settings(max_examples=30, deadline=None)
def test_the_loss_never_rises(L, seed, n_iter):
    rng = np.random.default_rng(seed)
    V = some_data(seed, D=L, m=60)
    V -= V.mean(axis=1, keepdims=True)
    R, losses = itq.itq_rotation(V, n_iter, rng)
    assert np.allclose(R @ R.T, np.eye(L), atol=1e-10)
    assert len(losses) == n_iter + 1
    assert all(b <= a * (1 + 1e-12) for a, b in itertools.pairwise(losses))
    assert losses[-1] == pytest.approx(np.sum((np.abs(R @ V) - 1) ** 2) / 60)


@pytest.mark.parametrize("L", (2, 3, 4))
def test_a_rotated_cube_is_recovered(L):
    """The corners of a cube, rotated: the codes are the corners up to a signed permutation."""
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=L))).T
    rng = np.random.default_rng(0)
    X = itq.random_rotation(L, rng) @ np.repeat(corners, 5, axis=1)
    found = [ITQ(L, dtype="float64", random_state=seed).fit(X.T) for seed in range(10)]
    best = min(found, key=lambda est: est.history_[-1]["quantisation"])
    assert best.history_[-1]["quantisation"] < 1e-20
    relation = np.abs(best.codes_.T @ np.repeat(corners, 5, axis=1).T) / X.shape[1]
    assert np.array_equal(np.sort(relation, axis=1)[:, -1], np.ones(L))
    assert np.array_equal(relation.sum(axis=0), np.ones(L))


def test_the_scale_does_not_matter(digits):
    X, _ = digits
    assert np.array_equal(
        ITQ(8, dtype="float64").fit(X).codes_, ITQ(8, dtype="float64").fit(64 * X).codes_
    )


# --- canonical directions


@pytest.mark.parametrize("rho", (1e-4, 1e-2))
@pytest.mark.parametrize("L", (1, 3, 9))
def test_canonical_directions_solve_their_equations(digits, rho, L):
    X, y = digits
    X = X.T / 16
    mean, P = itq.canonical_directions(X, y, L, rho)
    Y = (y == np.arange(10)[:, None]) * 1.0
    C = np.cov(np.vstack([X, Y]), bias=True)
    C_xx, C_xy, C_yy = C[:64, :64] + rho * np.eye(64), C[:64, 64:], C[64:, 64:] + rho * np.eye(10)
    G = P.T @ C_xx @ P
    assert np.allclose(G, np.diag(np.diag(G)), atol=1e-9)
    r2 = np.diag(G)  # directions of norm 1, multiplied by r
    assert np.allclose(C_xy @ np.linalg.solve(C_yy, C_xy.T) @ P, r2 * (C_xx @ P), atol=1e-9)
    values = eig(C_xy @ np.linalg.solve(C_yy, C_xy.T), C_xx, right=False).real
    assert np.allclose(r2, np.sort(values)[::-1][:L], atol=1e-9)
    assert np.allclose(mean[:, 0], X.mean(axis=1))


def test_correlations_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 400)
    X = rng.standard_normal((7, 400)) + rng.standard_normal((7, 4))[:, y]
    mean, P = itq.canonical_directions(X, y, 3, rho=1e-10)
    V = P.T @ (X - mean)
    ours = V.std(axis=1)  # rows of variance 1, times r
    Y = (y[:, None] == np.arange(3)) * 1.0  # the fourth column follows from these
    U, W = CCA(3, max_iter=10_000, tol=1e-12).fit_transform(X.T, Y)
    theirs = [np.corrcoef(u, w)[0, 1] for u, w in zip(U.T, W.T)]
    assert np.allclose(ours, theirs, atol=1e-6)


def test_without_rho_the_directions_are_fishers():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 300)
    X = some_data(1, D=5, m=300) + 4 * rng.standard_normal((5, 3))[:, y]
    _, P = itq.canonical_directions(X, y, 2, rho=1e-10)
    fisher = LinearDiscriminantAnalysis(solver="eigen").fit(X.T, y).scalings_[:, :2]
    cosine = np.sum(P * fisher, axis=0) / np.linalg.norm(P, axis=0) / np.linalg.norm(fisher, axis=0)
    assert np.allclose(np.abs(cosine), 1, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_canonical_directions_of_several_labels(seed):
    """Against the covariances; a label that others determine adds no direction."""
    rng = np.random.default_rng(seed)
    Y = (rng.random((300, 3)) < 0.4).astype(float)
    X = Y @ rng.standard_normal((3, 6)) + rng.standard_normal((300, 6))
    Y = np.hstack(
        [Y, 1 - Y[:, :1], np.zeros((300, 1))]
    )  # the opposite of the first; one not in use
    mean, P = itq.canonical_directions(X.T, Y, 5, rho=1e-3)
    C = np.cov(np.hstack([X, Y]).T, bias=True) + 1e-3 * np.eye(11)
    r2, W = eigh(C[:6, 6:] @ np.linalg.solve(C[6:, 6:], C[6:, :6]), C[:6, :6])
    W = W[:, :-4:-1] * np.sqrt(r2[:-4:-1])
    assert not P[:, 3:].any() and np.allclose(np.abs(P[:, :3]), np.abs(W), atol=1e-9)
    for same in (Y.astype(bool), Y.astype(int), Y.tolist()):
        assert np.array_equal(itq.canonical_directions(X.T, same, 5, rho=1e-3)[1], P)


@pytest.mark.parametrize("n_classes", (2, 3, 10))
def test_there_are_as_many_directions_as_classes_less_one(digits, n_classes):
    X, y = digits
    chosen = y < n_classes
    _, P = itq.canonical_directions(X[chosen].T / 16, y[chosen], 16)
    assert np.all(np.linalg.norm(P[:, : n_classes - 1], axis=0) > 0)
    assert not P[:, n_classes - 1 :].any()
    est = ITQCCA(16, dtype="float64").fit(X[chosen], y[chosen])
    assert np.linalg.matrix_rank(est.W_) == n_classes - 1
    assert np.all(np.linalg.norm(est.W_, axis=1) > 0)


def test_more_classes_than_dimensions():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 200)), rng.integers(0, 8, 200)
    _, P = itq.canonical_directions(X, y, 6)
    assert np.linalg.matrix_rank(P) == 3 and not P[:, 3:].any()


@pytest.mark.parametrize("X", (np.zeros((3, 5)), np.full((2, 4), 7.0)))
def test_scaling_of_constant_data(X):
    shift, scale = itq.range_scaling(X)
    assert np.array_equal(shift, X[:, :1]) and scale == 1.0


def test_scaling_by_hand():
    shift, scale = itq.range_scaling(np.array([[1.0, 3, 2], [-5, 5, 0]]))
    assert np.array_equal(shift, [[1], [-5]]) and scale == 10.0 and isinstance(scale, float)


@pytest.mark.parametrize("dtype", (np.float32, np.float64))
@pytest.mark.rounding
def test_itq_codes_are_those_of_the_estimator(digits, dtype):
    X = digits[0].astype(dtype)
    B = itq.itq_codes(X.T, 12, np.random.default_rng(3))
    assert B.dtype == dtype and B.shape == (12, len(X))
    codes = ITQ(12, dtype=np.dtype(dtype).name, random_state=3).fit(X).codes_
    assert np.mean(B.T != codes) < 1e-3


def test_fixed_signs_by_hand():
    P = np.array([[1.0, -3, 0], [-2, 2, 0]])
    assert np.array_equal(itq.fixed_signs(P), [[-1, 3, 0], [2, -2, 0]])


@pytest.mark.rounding
def test_itqcca_scales_by_the_range(digits):
    """rho is measured against data of range 1, whatever the unit and the offset of the input."""
    X, y = digits
    codes = [ITQCCA(12, dtype="float64").fit(Z, y).codes_ for Z in (X, X / 16, X / 2 - 3)]
    assert all(np.mean(c != codes[0]) < 1e-3 for c in codes)
    mean, P = itq.canonical_directions(X.T / 16, y, 12)
    R, _ = itq.itq_rotation(P.T @ (X.T / 16 - mean), 50, np.random.default_rng(0))
    assert np.mean(sgn(R @ P.T @ (X.T / 16 - mean)).T != codes[0]) < 1e-3


# --- the estimators


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@pytest.mark.parametrize("method", BOTH)
def test_attributes_and_their_agreement(digits, method, dtype):
    X, y = digits
    est = method(12, dtype=dtype).fit(X, y)
    assert est.W_.shape == (12, 64) and est.c_.shape == (12, 1)
    assert est.W_.dtype == est.c_.dtype == est.decision_function(X).dtype == dtype
    assert est.codes_.dtype == np.int8 and set(np.unique(est.codes_)) == {-1, 1}
    assert np.array_equal(est.codes_, est.transform(X))
    assert np.array_equal(unpack_codes(est.encode(X), 12), est.codes_)
    assert [row.keys() for row in est.history_] == [{"quantisation"}] * 51
    losses = [row["quantisation"] for row in est.history_]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("method", BOTH)
@pytest.mark.rounding
def test_both_precisions_give_the_same_codes(method):
    """Trained apart; no sample comes so close to zero that the rotations part."""
    mnist = load("mnist5k", ground_truth="labels")
    X, y = mnist.train, mnist.labels.train
    single, double = (method(32, dtype=d).fit(X, y) for d in ("float32", "float64"))
    np.testing.assert_allclose(single.W_, double.W_, rtol=1e-5, atol=1e-7 * np.abs(double.W_).max())
    assert np.mean(single.transform(mnist.query) != double.transform(mnist.query)) < 1e-4


@pytest.mark.parametrize("method", BOTH)
def test_the_seed_decides(digits, method):
    X, y = digits
    a, b, c = (method(8, random_state=seed).fit(X, y) for seed in (3, 3, 4))
    assert np.array_equal(a.W_, b.W_) and np.array_equal(a.codes_, b.codes_)
    assert not np.array_equal(a.codes_, c.codes_)
    generator = method(8, random_state=np.random.default_rng(3)).fit(X, y)
    assert np.array_equal(generator.codes_, a.codes_)


@pytest.mark.parametrize("method", BOTH)
def test_more_bits_than_features(method):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((200, 3)), rng.integers(0, 4, 200)
    est = method(20).fit(X, y)
    assert est.codes_.shape == (200, 20)
    assert np.all(np.linalg.norm(est.W_, axis=1) > 0)
    assert len(np.unique(est.codes_.T, axis=0)) > 3


def test_labels_of_any_kind_give_the_same_codes(digits):
    X, y = digits
    names = np.array("zero one two three four five six seven eight nine".split())
    codes = ITQCCA(8).fit(X, y).codes_
    for labels in (y + 0.0, y - 5, y.astype(str), y.astype(str).astype(object), list(y)):
        assert np.array_equal(ITQCCA(8).fit(X, labels).codes_, codes)
    by_name = ITQCCA(8, dtype="float64").fit(X, names[y]).codes_
    assert np.mean(by_name != ITQCCA(8, dtype="float64").fit(X, y).codes_) < 1e-3


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", BOTH)
def test_constant_features_and_repeated_samples(method):
    X = np.zeros((40, 5))
    X[:20, 2] = 1.0
    est = method(3).fit(X, np.arange(40) < 20)
    assert np.all(np.isfinite(est.W_))
    assert hamming_distances(est.codes_[:20], est.codes_[:20]).max() == 0
    assert hamming_distances(est.codes_[:1], est.codes_[20:]).min() > 0


@pytest.mark.rounding
def test_what_learning_buys(digits):
    """On held-out digits: labels beat PCA, and ITQ beats the rotation that it starts from."""
    X, y = digits
    order = np.random.default_rng(0).permutation(len(X))
    query, database = order[:300], order[300:]

    def precision(est):
        est.fit(X[database], y[database])
        return precision_at_radius(est.transform(X[query]), est.codes_, (y[query], y[database]))

    start, itq_16, itqcca_16 = (precision(est) for est in (ITQ(16, n_iter=0), ITQ(16), ITQCCA(16)))
    assert start + 0.02 < itq_16 < itqcca_16 - 0.02
