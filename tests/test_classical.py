"""bdnn.baselines.classical: known answers, enumeration, explicit graphs, counts; estimators."""

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.svm import LinearSVC

from bdnn.baselines import classical
from bdnn.baselines.classical import (
    BinaryAutoencoder,
    KMeansHashing,
    SpectralHashing,
    SphericalHashing,
    affinity_error,
    balanced_spheres,
    bit_correlations,
    cube_distances,
    deal_directions,
    every_code,
    move_centre,
    named_kmeans,
    nearest_centres,
    nearest_codes,
    repel,
    separating_hyperplane,
    slowest_waves,
)
from bdnn.itq import ITQ, principal_directions
from bdnn.metrics import balance, precision_at_radius, sgn, unpack_codes

ALL = (SpectralHashing, SphericalHashing, KMeansHashing, BinaryAutoencoder)
METHODS = pytest.mark.parametrize("method", ALL)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X, y


# --- spectral hashing


@given(
    st.lists(st.floats(0.1, 100), min_size=1, max_size=6),
    st.integers(1, 12),
)
def test_the_slowest_waves_are_those_of_an_enumeration(R, L):
    """Against all waves up to three times as many half waves as can be needed."""
    R = np.array(R)
    k, j = slowest_waves(R, L)
    assert len(set(zip(k.tolist(), j.tolist()))) == L and k.min() >= 1
    everything = sorted(n / side for side in R for n in range(1, 3 * L + 1))
    assert np.allclose(k / R[j], everything[:L])


def test_products_of_waves_are_never_faster_than_their_factors():
    """The waves that are left out: each is slower than no factor of it, so its bit is no news."""
    R = np.array([3.0, 2.5, 1.7])
    k, j = slowest_waves(R, 5)
    chosen = set(zip(k.tolist(), j.tolist()))
    slowest = max(np.pi * k / R[j])
    for ks in itertools.product(range(4), repeat=3):
        omega = math.sqrt(sum((n * np.pi / side) ** 2 for n, side in zip(ks, R)))
        if np.count_nonzero(ks) > 1 and omega < slowest:
            assert all((n, side) in chosen for side, n in enumerate(ks) if n)


def test_waves_by_hand():
    k, j = slowest_waves(
        np.array([6.0, 4.0, 1.0, 0.0]), 5
    )  # k/R: 1/6 1/4 2/6 2/4 3/6; 1 for side 3
    assert list(zip(k.tolist(), j.tolist())) == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0)]


def test_spectral_codes_by_hand():
    """Sides 8 and 3 along the axes: waves with 1 and 2 half waves of the first, 1 of the second."""
    corners = np.array([[0, 0], [0, 3], [8, 0], [8, 3]], dtype=float)
    inner = np.array([[1, 0.5], [3, 2], [5, 1], [7, 2.5]])
    est = SpectralHashing(3, dtype="float64").fit(np.vstack([corners, inner]) + 100)
    assert est.half_waves_.tolist() == [1, 2, 1] and est.directions_.tolist() == [0, 0, 1]
    first = np.where(inner[:, 0] < 4, 1, -1)
    second = np.where(np.abs(inner[:, 0] - 4) > 2, 1, -1)
    third = np.where(inner[:, 1] < 1.5, 1, -1)
    codes = est.codes_[4:].T
    assert np.array_equal(codes[0] * codes[0, 0], first * first[0])
    assert np.array_equal(codes[1], second)
    assert np.array_equal(codes[2] * codes[2, 0], third * third[0])


@pytest.mark.parametrize("n", (5, 20, 101))
def test_bits_are_signs_of_eigenvectors_of_a_chain(n):
    """On a grid of one dimension the waves are the eigenvectors of the chain's Laplacian."""
    neighbours = np.eye(n, k=1) + np.eye(n, k=-1)
    _, U = np.linalg.eigh(np.diag(neighbours.sum(axis=1)) - neighbours)
    L = (n - 1) // 3
    # the range of the samples is the interval only if it reaches half a cell beyond the grid
    x = np.concatenate([[-0.5], np.arange(n), [n - 0.5]])
    H = SpectralHashing(L, dtype="float64").fit(x[:, None]).decision_function(x[1:-1, None])
    assert H.shape == (n, L)
    for k in range(1, L + 1):
        cosine = H[:, k - 1] @ U[:, k] / np.linalg.norm(H[:, k - 1])
        assert abs(cosine) == pytest.approx(1, abs=1e-9)


def test_bits_on_an_even_box_have_the_closed_form():
    """Balanced; uncorrelated across sides; signs of waves a, b of one side: 1/(ab) if both odd."""
    axes = [(np.arange(n) + 0.5) / n * side for n, side in ((120, 9.0), (60, 4.0), (30, 2.0))]
    grid = np.array(list(itertools.product(*axes)))
    est = SpectralHashing(9, dtype="float64").fit(grid)
    r = bit_correlations(est.codes_.T)
    assert np.abs(est.codes_.mean(axis=0)).max() < 0.06
    for p, q in itertools.combinations(range(9), 2):
        a, b = (int(est.half_waves_[bit] / np.gcd(*est.half_waves_[[p, q]])) for bit in (p, q))
        along_one_side = est.directions_[p] == est.directions_[q]
        wanted = 1 / (a * b) if along_one_side and a % 2 and b % 2 else 0
        assert abs(r[p, q]) == pytest.approx(wanted, abs=0.04)
    assert np.abs(r).max() > 0.3  # waves 1 and 3 are among them


def test_spectral_hashing_is_its_definition(digits):
    X, _ = digits
    est = SpectralHashing(20, dtype="float64").fit(X)
    _, _, Vt = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    V = X @ Vt[:20].T
    low, high = V.min(axis=0), V.max(axis=0)
    for k, j, bits in zip(est.half_waves_, est.directions_, est.codes_.T):
        up = np.sin(np.pi / 2 + k * np.pi / (high[j] - low[j]) * (V[:, j] - low[j]))
        down = np.sin(np.pi / 2 + k * np.pi / (high[j] - low[j]) * (high[j] - V[:, j]))
        same = [np.mean(bits == np.where(wave >= 0, 1, -1)) for wave in (up, down)]
        assert max(same) > 0.999  # a direction may be turned; the wave is then seen from its end


def test_shift_and_scale_do_not_matter_to_spectral_hashing(digits):
    X, _ = digits
    codes = SpectralHashing(16, dtype="float64").fit(X).codes_
    for other in (X - 7, 64 * X, X / 3 + 1):
        assert np.mean(SpectralHashing(16, dtype="float64").fit(other).codes_ != codes) < 1e-3


# --- spherical hashing


def test_spheres_by_hand():
    line, P = np.array([[0.0, 1, 2, 3]]), np.array([[0.0, 0.9]])
    distances = euclidean_distances(P.T, line.T)
    assert np.allclose(distances, [[0, 1, 2, 3], [0.9, 0.1, 1.1, 2.1]])
    r = bit_correlations(sgn(np.median(distances, axis=1, keepdims=True) - distances))
    assert np.array_equal(r, [[0, 1], [1, 0]])
    assert np.allclose(repel(P, r), [[-0.225, 1.125]])


@pytest.mark.parametrize("seed", range(5))
def test_overlaps_and_forces_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    D, L, m = *rng.integers([1, 2], [6, 8]), 2 * int(rng.integers(20, 60))
    X, P = rng.standard_normal((D, m)), rng.standard_normal((D, L))
    distances = np.array([[math.dist(p, x) for x in X.T] for p in P.T])
    inside = [set(np.argsort(row)[: m // 2].tolist()) for row in distances]
    r = bit_correlations(
        np.array([[1 if i in ball else -1 for i in range(m)] for ball in inside], dtype=np.int8)
    )
    moved = P.copy()
    for k in range(L):
        for l in range(L):
            if l != k:
                overlap = len(inside[k] & inside[l])
                assert r[k, l] == pytest.approx((overlap - m / 4) / (m / 4))
                moved[:, k] += (overlap - m / 4) / (m / 4) / 2 * (P[:, k] - P[:, l]) / L
    assert np.allclose(repel(P, r), moved)
    assert np.allclose(repel(P, r).mean(axis=1), P.mean(axis=1))


@pytest.mark.parametrize("degrees", (20, 45, 90, 130))
def test_far_spheres_are_half_spaces(degrees):
    """Signs of two projections of a normal cloud differ with probability theta / pi."""
    rng, theta = np.random.default_rng(degrees), math.radians(degrees)
    X = rng.standard_normal((2, 50_000))
    P = 1000 * np.array([[1, math.cos(theta)], [0, math.sin(theta)]])
    distances = euclidean_distances(P.T, X.T)
    r = bit_correlations(sgn(np.median(distances, axis=1, keepdims=True) - distances))
    assert r[0, 1] == pytest.approx(1 - 2 * theta / math.pi, abs=4 / math.sqrt(50_000))


@pytest.mark.parametrize("m", (300, 301))
def test_radii_are_medians_and_balls_hold_half(m):
    X = np.random.default_rng(m).standard_normal((5, m))
    P, radii, _ = balanced_spheres(X, 6, np.random.default_rng(0))
    for p, radius in zip(P.T, radii[:, 0]):
        distances = np.linalg.norm(X.T - p, axis=1)
        assert radius == pytest.approx(np.median(distances))
        assert np.sum(distances <= radius + 1e-9) == (m + 1) // 2


@pytest.mark.parametrize("seed", range(3))
def test_equilibrium(digits, seed):
    """The tolerances are met on the fitted samples, by a count that does not use the module."""
    X, _ = digits
    est = SphericalHashing(16, dtype="float64", random_state=seed).fit(X)
    inside = est.codes_.T == 1
    error = [4 * np.sum(a & b) / len(X) - 1 for a, b in itertools.combinations(inside, 2)]
    assert np.mean(np.abs(error)) <= 0.1 + 3 / len(X)
    assert np.std(error) <= 0.15 + 3 / len(X)
    assert balance(est.codes_) <= 1 / len(X) + 1e-12  # an odd number of samples
    assert est.n_iter_ == len(est.history_) - 1 < 50
    assert est.history_[0]["mean"] > 0.2 > 0.1 >= est.history_[-1]["mean"]


def test_strict_tolerances_are_met_too(digits):
    X, _ = digits
    est = SphericalHashing(8, mean_tol=0.03, std_tol=0.05, max_iter=200).fit(X)
    assert est.history_[-1]["mean"] <= 0.03 and est.history_[-1]["std"] <= 0.05


def test_without_an_equilibrium_the_closest_state_is_kept():
    """24 balls on a line have none: r = 0 for all pairs would need 24 uncorrelated cuts."""
    X = np.random.default_rng(0).standard_normal((200, 1))
    est = SphericalHashing(24, max_iter=30, dtype="float64").fit(X)
    assert est.n_iter_ == 30
    r = bit_correlations(est.codes_.T)[np.triu_indices(24, 1)]
    excess = [max(entry["mean"] / 0.1, entry["std"] / 0.15) for entry in est.history_]
    assert max(np.abs(r).mean() / 0.1, r.std() / 0.15) == pytest.approx(min(excess))
    assert np.all(np.isfinite(est.decision_function(X)))


def test_spheres_are_fitted_to_a_subset(digits):
    X, _ = digits
    few, all_of_them = (SphericalHashing(8, n_samples=n, dtype="float64") for n in (400, 10**6))
    few.fit(X), all_of_them.fit(X)
    assert 0 < balance(few.codes_) < 0.1
    assert balance(all_of_them.codes_) <= 1 / len(X) + 1e-12


def test_spherical_bits_are_insides_of_balls(digits):
    X, _ = digits
    est = SphericalHashing(8, dtype="float64").fit(X)
    for k in range(8):
        distance = np.linalg.norm(X - est.centres_[:, k], axis=1)
        value = est.decision_function(X)[:, k]
        assert np.allclose(value, est.radii_[k] - distance)


def test_a_large_offset_does_not_spoil_single_precision_of_spheres(digits):
    X, _ = digits
    near, far = (SphericalHashing(8).fit(Z).codes_ for Z in (X, X + 1000))
    assert np.mean(near != far) < 0.01


# --- K-means hashing


def random_centres(seed, b=2, D=3):
    rng = np.random.default_rng(seed)
    C, w = rng.standard_normal((D, 2**b)), rng.dirichlet(np.ones(2**b))
    return rng, C, w, cube_distances(b, 0.7)


def test_cube_distances_are_those_of_the_corners():
    corners = 0.5 * np.array([[1 if i >> k & 1 else -1 for k in range(3)] for i in range(8)])
    wanted = [[math.dist(a, b) for b in corners] for a in corners]
    assert np.allclose(cube_distances(3, 0.5), wanted)


def test_affinity_error_by_hand():
    """Two centres 3 apart with a rest length of 2, half of the samples each: 2 pairs, 1/4 of 1."""
    assert affinity_error(np.array([[0.0, 3]]), np.array([0.5, 0.5]), cube_distances(1, 1.0)) == 0.5


def test_a_cube_is_at_rest():
    """Centres at the corners with the means of their cells there: no centre moves."""
    names = np.arange(8)
    C = 0.7 * (2.0 * (names >> np.arange(3)[:, None] & 1) - 1)
    w = np.full(8, 1 / 8)
    assert affinity_error(C, w, cube_distances(3, 0.7)) == pytest.approx(0, abs=1e-24)
    for j in names:
        moved = move_centre(C, j, C[:, j], w, cube_distances(3, 0.7), 5.0)
        assert np.allclose(moved, C[:, j])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("lambda_", (0.1, 2.0, 50.0))
def test_a_move_never_raises_the_whole_error(seed, lambda_):
    """Of E itself, summed over all pairs, not of the part that the step was derived from."""
    rng, C, w, d = random_centres(seed)
    mus = rng.standard_normal((3, 4))

    def E(C):
        return w @ np.sum((C - mus) ** 2, axis=0) + lambda_ * affinity_error(C, w, d)

    values = [E(C)]
    for j in [0, 1, 2, 3] * 20:
        C[:, j] = move_centre(C, j, mus[:, j], w, d, lambda_)
        values.append(E(C))
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values))
    assert values[-1] < values[0]


@pytest.mark.parametrize("seed", range(5))
def test_repeated_moves_find_the_minimum_that_scipy_finds(seed):
    rng, C, w, d = random_centres(seed)
    mu = rng.standard_normal(3)

    def phi(c):
        lengths = np.linalg.norm(c[:, None] - C[:, 1:], axis=0)
        return np.sum((c - mu) ** 2) + 2 * 3.0 * w[1:] @ (lengths - d[0, 1:]) ** 2

    wanted = scipy.optimize.minimize(phi, C[:, 0], options={"gtol": 1e-9}).fun
    moving = C.copy()
    for _ in range(500):
        moving[:, 0] = move_centre(moving, 0, mu, w, d, 3.0)
    assert phi(moving[:, 0]) == pytest.approx(wanted, abs=1e-6)


def test_an_empty_cell_follows_its_springs():
    C, w = np.array([[0.0, 5.0]]), np.array([1.0, 0.0])
    moved = move_centre(C, 1, np.array([99.0]), w, cube_distances(1, 1.0), 3.0)
    assert np.allclose(moved, [2.0])  # at rest length from the only centre with samples


def test_names_of_four_clusters():
    """Four clusters at the corners of a square: each keeps a name, neighbours differ in one bit."""
    rng = np.random.default_rng(0)
    corners = np.array([[-3.0, -3], [3, -3], [-3, 3], [3, 3]])
    X = np.repeat(corners, 25, axis=0) + 0.1 * rng.standard_normal((100, 2))
    C, history = named_kmeans(X.T, 2, 1.0, 50, 1e-9)
    assert np.allclose(C.T, corners, atol=0.1)
    assert history[-1][1] < 0.01
    assert np.array_equal(nearest_centres(C, X.T), np.repeat(np.arange(4), 25))


def test_learnt_names_are_the_best_of_all(digits):
    X, _ = digits
    V = (X - X.mean(axis=0)).T[[20, 43]]
    C, _ = named_kmeans(V, 2, 10.0, 100, 1e-9)
    w = np.bincount(nearest_centres(C, V), minlength=4) / len(X)
    d = cube_distances(2, float(np.abs(V).mean()))
    errors = [affinity_error(C[:, o], w[list(o)], d) for o in itertools.permutations(range(4))]
    assert errors[0] == pytest.approx(min(errors)) and max(errors) > 2 * min(errors)


def test_directions_are_dealt_out_by_product():
    assert deal_directions(np.array([8.0, 7, 4, 3, 2, 1]), 2) == [[0, 3, 4], [1, 2, 5]]
    hands = deal_directions(np.array([5.0, 4, 3, 2, 1, 0, 0]), 3)
    assert sorted(sum(hands, [])) == list(range(7)) and max(map(len, hands)) <= 3


def test_every_code_by_hand():
    assert every_code(1).tolist() == [[-1, 1]]
    assert every_code(2).tolist() == [[-1, 1, -1, 1], [-1, -1, 1, 1]]


def kmh_errors_by_loops(V, C, cells, s):
    """Both parts of Eq. (13) of notebook 11 as they stand."""
    m, K = V.shape[1], C.shape[1]
    quantisation = sum(math.dist(V[:, i], C[:, cells[i]]) ** 2 for i in range(m)) / m
    affinity = 0.0
    for i, j in itertools.product(range(K), repeat=2):
        share = np.sum(cells == i) * np.sum(cells == j) / m**2
        rest_length = 2 * s * math.sqrt(bin(i ^ j).count("1"))
        affinity += share * (math.dist(C[:, i], C[:, j]) - rest_length) ** 2
    return quantisation, affinity


@pytest.mark.parametrize("b", (1, 2, 3))
@pytest.mark.parametrize("seed", range(3))
def test_recorded_errors_are_those_of_loops_over_samples_and_pairs(seed, b):
    V = np.random.default_rng(seed).standard_normal((4, 60)) * [[3.0], [2], [1], [0.5]]
    s = float(np.abs(V[:b]).mean())
    cube = np.zeros((4, 2**b))
    cube[:b] = s * every_code(b)
    before = cube
    for rounds in range(1, 4):
        C, history = named_kmeans(V, b, 2.0, rounds, 0.0)
        cells = nearest_centres(before, V)  # a round assigns, then moves
        assert history[rounds - 1] == pytest.approx(kmh_errors_by_loops(V, C, cells, s), abs=1e-10)
        before = C


@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_never_below_the_minimum_over_all_divisions(seed):
    """64 divisions of 7 points into two cells, each with its centres moved until they rest."""
    V = np.random.default_rng(seed).standard_normal((2, 7)) * [[2.0], [1.0]]
    d, lambda_, best = cube_distances(1, float(np.abs(V[:1]).mean())), 1.0, np.inf
    for rest in itertools.product((0, 1), repeat=6):
        cells = np.array([0, *rest])
        if not cells.any():
            continue
        w = np.bincount(cells, minlength=2) / 7
        mus = np.stack([V[:, cells == j].mean(axis=1) for j in (0, 1)], axis=1)
        C = mus.copy()
        for j in [0, 1] * 60:
            C[:, j] = move_centre(C, j, mus[:, j], w, d, lambda_)
        E = np.sum((V - C[:, cells]) ** 2) / 7 + lambda_ * affinity_error(C, w, d)
        best = min(best, E)
    _, history = named_kmeans(V, 1, lambda_, 500, 0.0)
    assert history[-1][0] + lambda_ * history[-1][1] >= best - 1e-9


@pytest.mark.parametrize("b", (1, 2, 3))
def test_without_springs_it_ends_where_scikit_learn_ends(b):
    V = np.random.default_rng(b).standard_normal((5, 300)) * [[4.0], [3], [2], [1], [1]]
    cube = np.zeros((5, 2**b))
    cube[:b] = np.abs(V[:b]).mean() * every_code(b)
    lloyd = KMeans(2**b, init=cube.T, n_init=1, max_iter=1000, tol=0, algorithm="lloyd").fit(V.T)
    C, history = named_kmeans(V, b, 0.0, 1000, 0.0)
    assert np.allclose(C.T, lloyd.cluster_centers_)
    assert history[-1][0] == pytest.approx(lloyd.inertia_ / 300)


@pytest.mark.parametrize("b", (1, 2, 3, 4))
def test_codes_are_names_of_the_nearest_centres(digits, b):
    """Subspaces of 12 = 4 x 3 = 2 x 4 + ... bits, and one of fewer bits, by an explicit search."""
    X, _ = digits
    est = KMeansHashing(10, bits_per_subspace=b, max_iter=5, dtype="float64").fit(X)
    assert sum(est.names_) == 10 and max(est.names_) == b
    squares, start, wanted = (est.W_ @ X.T + est.c_).T, 0, []
    for bits in est.names_:
        index = np.argmin(squares[:, start : start + 2**bits], axis=1)
        wanted += [np.where(index >> k & 1, 1, -1) for k in range(bits)]
        start += 2**bits
    assert np.array_equal(est.codes_.T, wanted)


def test_differences_of_values_are_squared_distances(digits):
    X, _ = digits
    est = KMeansHashing(2, dtype="float64", max_iter=3).fit(X)
    _, P = principal_directions(X.T, 64)
    V = P.T @ (X.T - X.mean(axis=0)[:, None])
    C, _ = named_kmeans(V, 2, 10.0, 3, 1e-5)
    squares = np.array([np.sum((V - c[:, None]) ** 2, axis=0) for c in C.T])
    pairs = [([0, 2], [1, 3]), ([0, 1], [2, 3])]
    wanted = [squares[down].min(axis=0) - squares[up].min(axis=0) for down, up in pairs]
    assert np.allclose(est.decision_function(X).T, wanted)


# --- the binary autoencoder


@pytest.mark.parametrize("L", (1, 3, 5))
@pytest.mark.parametrize("mu", (0.0, 0.7))
def test_codes_by_a_loop_over_everything(L, mu):
    rng = np.random.default_rng(L)
    X, W, c = rng.standard_normal((7, 40)), rng.standard_normal((7, L)), rng.standard_normal((7, 1))
    H = sgn(rng.standard_normal((L, 40))).astype(float)
    B = nearest_codes(X, W, c, H, mu, H)
    for x, h, b in zip(X.T, H.T, B.T):
        every = [np.array(code) for code in itertools.product((-1.0, 1.0), repeat=L)]
        costs = [np.sum((x - W @ z - c[:, 0]) ** 2) + mu * np.sum((z - h) ** 2) for z in every]
        assert np.array_equal(b, every[int(np.argmin(costs))])


def test_long_codes_are_never_worse_than_before_and_cannot_be_improved_by_one_bit():
    rng = np.random.default_rng(1)
    X, W = rng.standard_normal((20, 50)), rng.standard_normal((20, 12))
    H, c = sgn(rng.standard_normal((12, 50))).astype(float), np.zeros((20, 1))

    def cost(B):
        return np.sum((X - W @ B) ** 2, axis=0) + 0.3 * np.sum((B - H) ** 2, axis=0)

    B = nearest_codes(X, W, c, H, 0.3, H)
    assert np.all(cost(B) <= cost(H) + 1e-9) and np.any(cost(B) < cost(H) - 1e-3)
    for k in range(12):
        flipped = B.copy()
        flipped[k] *= -1
        assert np.all(cost(B) <= cost(flipped) + 1e-9)


def test_a_separable_bit_is_separated():
    rng = np.random.default_rng(0)
    U, w = rng.standard_normal((300, 4)), np.array([1.0, -2, 0.5, 3])
    U = U[np.abs(U @ w + 1) > 0.5]
    b = np.where(U @ w + 1 >= 0, 1, -1)
    found, offset = separating_hyperplane(U, b, 100.0)
    assert np.array_equal(np.where(U @ found + offset >= 0, 1, -1), b)


@pytest.mark.parametrize("C", (0.01, 1.0, 100.0))
def test_the_machine_minimises_the_squared_hinge_loss(C):
    """With the bias in the length; the loose tolerance of training costs 10 % at most."""
    rng = np.random.default_rng(0)
    U = rng.standard_normal((200, 5))
    b = np.where(U[:, 0] + 0.5 * rng.standard_normal(200) > 0.3, 1.0, -1.0)

    def loss(v):
        slack = np.maximum(0, 1 - b * (U @ v[:-1] + v[-1]))
        return v @ v / 2 + C * slack @ slack

    lowest = scipy.optimize.minimize(loss, np.zeros(6), options={"gtol": 1e-8}).fun
    exact = LinearSVC(C=C, dual=False, tol=1e-9).fit(U, b)
    assert loss(np.append(exact.coef_[0], exact.intercept_)) == pytest.approx(lowest, rel=1e-5)
    w, w0 = separating_hyperplane(U, b, C)
    assert lowest * (1 - 1e-6) <= loss(np.append(w, w0)) <= 1.1 * lowest


@pytest.mark.parametrize("L", (12, 13))
def test_descent_for_long_codes_against_an_enumeration(monkeypatch, L):
    """The start is the encoder's code, as in training: close to the best, never below it."""
    rng = np.random.default_rng(L)
    W, B = rng.standard_normal((30, L)), sgn(rng.standard_normal((L, 200))).astype(float)
    X, c = W @ B + rng.standard_normal((30, 200)), np.zeros((30, 1))
    H = B * np.where(rng.random(B.shape) < 0.1, -1, 1)

    def value(Z):
        return np.sum((X - W @ Z - c) ** 2, axis=0) + 0.5 * np.sum((Z - H) ** 2, axis=0)

    descended = value(nearest_codes(X, W, c, H, 0.5, H))
    monkeypatch.setattr(classical, "_ENUMERATED_BITS", L)
    best = value(nearest_codes(X, W, c, H, 0.5, H))
    assert np.all(best <= descended + 1e-9) and np.all(descended <= value(H) + 1e-9)
    assert np.mean(descended <= best + 1e-9) > 0.9


@pytest.mark.parametrize("L", (6, 12))
def test_beyond_a_known_penalty_the_best_code_is_the_encoders(L):
    """Where 4 mu exceeds the reconstruction error of h(x): every other code costs 4 mu or more."""
    rng = np.random.default_rng(L)
    X, W, c = rng.standard_normal((9, 50)), rng.standard_normal((9, L)), np.zeros((9, 1))
    H = sgn(rng.standard_normal((L, 50))).astype(float)
    bound = np.max(np.sum((X - W @ H) ** 2, axis=0)) / 4
    assert np.array_equal(nearest_codes(X, W, c, H, 1.001 * bound, H), H)
    assert not np.array_equal(nearest_codes(X, W, c, H, 0.001 * bound, H), H)


def test_corners_of_a_cube_are_reconstructed():
    """Samples at the corners of a turned cube: eight codes, and no error is left."""
    corners = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
    Q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))
    X = np.repeat(corners, 8, axis=0) @ Q[:3] + 7
    found = [BinaryAutoencoder(3, dtype="float64", random_state=s).fit(X) for s in range(6)]
    best = min(found, key=lambda est: est.history_[-1]["error"])
    assert best.history_[-1]["error"] < 1e-12
    assert len(np.unique(best.codes_, axis=0)) == 8


@pytest.mark.parametrize("n_bits", (8, 12))
def test_training_lowers_the_error_that_counts(digits, n_bits):
    """Reconstruction from the encoder's codes by an independent least-squares fit; start: ITQ."""
    X, _ = digits

    def error(codes):
        A = np.column_stack([codes, np.ones(len(X))])
        return np.sum((A @ np.linalg.lstsq(A, X / 16, rcond=None)[0] - X / 16) ** 2) / len(X)

    est = BinaryAutoencoder(n_bits, dtype="float64").fit(X)
    start = ITQ(n_bits, dtype="float64").fit(X)
    assert error(start.codes_) == pytest.approx(est.history_[0]["error"], rel=1e-6)
    assert error(est.codes_) == pytest.approx(est.history_[-1]["error"], rel=1e-6)
    assert error(est.codes_) < 0.995 * error(start.codes_)


def test_the_penalised_error_falls_while_mu_stays(digits):
    X, _ = digits
    est = BinaryAutoencoder(8, growth=1.0, mu=0.02, max_iter=8, dtype="float64").fit(X)
    values = [entry["objective"] for entry in est.history_[1:]]
    assert len(values) > 2
    assert all(b <= a + 1e-9 for a, b in itertools.pairwise(values))
    assert values[0] <= est.history_[0]["error"] + 1e-9


def test_the_weight_of_the_penalty_grows(digits):
    X, _ = digits
    est = BinaryAutoencoder(8, mu=0.02, growth=2.0, max_iter=3, dtype="float64").fit(X)
    assert [entry["mu"] for entry in est.history_[1:]] == [0.02, 0.04, 0.08]


def test_a_large_penalty_ends_with_the_codes_of_the_encoder(digits):
    X, _ = digits
    est = BinaryAutoencoder(8, mu=1e4, dtype="float64").fit(X)
    assert est.n_iter_ == 1 and est.history_[-1]["disagreement"] == 0
    assert np.array_equal(est.codes_, ITQ(8, dtype="float64").fit(X).codes_)


def test_few_axes_and_few_samples(digits):
    X, _ = digits
    est = BinaryAutoencoder(8, n_axes=5, n_samples=300, dtype="float64").fit(X)
    assert est.history_[-1]["error"] <= est.history_[0]["error"]
    assert np.array_equal(est.codes_, sgn(est.W_ @ X.T + est.c_).T)


# --- the estimators


@pytest.mark.parametrize("dtype", ("float32", "float64"))
@METHODS
def test_attributes_and_their_agreement(digits, method, dtype):
    X, _ = digits
    est = method(12, dtype=dtype).fit(X)
    values = est.decision_function(X)
    assert values.shape == (len(X), 12) and values.dtype == dtype
    assert est.codes_.dtype == np.int8 and set(np.unique(est.codes_)) == {-1, 1}
    assert np.array_equal(est.codes_, est.transform(X))
    assert np.array_equal(est.codes_, sgn(values))
    assert np.array_equal(unpack_codes(est.encode(X), 12), est.codes_)
    assert clone(est).get_params() == est.get_params()


@METHODS
def test_both_precisions_give_nearly_the_same_codes(digits, method):
    X, _ = digits
    single, double = (method(12, dtype=d).fit(X).codes_ for d in ("float32", "float64"))
    assert np.mean(single != double) < 0.01


@METHODS
def test_more_bits_than_features(method):
    X = np.random.default_rng(0).standard_normal((200, 3))
    est = method(20).fit(X)
    assert est.codes_.shape == (200, 20)
    # K-means hashing learns a bit for each feature, the others are constant
    assert len(np.unique(est.codes_.T, axis=0)) > (3 if method is KMeansHashing else 10)


@pytest.mark.filterwarnings("error", "ignore:. of 3 bits are the same")
@METHODS
def test_constant_features_and_repeated_samples(method):
    X = np.zeros((40, 5))
    X[:20, 2] = 1.0
    for data in (X, np.zeros((40, 5)), np.full((40, 5), 1e3)):
        est = method(3).fit(data)
        assert np.all(np.isfinite(est.decision_function(data)))
        assert len(np.unique(est.codes_[:20], axis=0)) == 1


@METHODS
def test_codes_find_neighbours(digits, method):
    """On held-out digits the radius-2 balls hold far more images of the class than chance."""
    X, y = digits
    order = np.random.default_rng(0).permutation(len(X))
    query, database = order[:300], order[300:]
    est = method(16).fit(X[database])
    found = precision_at_radius(est.transform(X[query]), est.codes_, (y[query], y[database]))
    assert found > 0.5
