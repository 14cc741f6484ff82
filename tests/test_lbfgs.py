"""bdnn.lbfgs against SciPy, against dense BFGS, and against everything that can go wrong."""

import warnings
from functools import partial

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import rosen, rosen_der
from sklearn.datasets import load_digits

from bdnn.lbfgs import MESSAGES, Trial, cubic_minimiser, minimize, next_step, strong_wolfe, two_loop
from bdnn.metrics import sgn
from bdnn.network import flatten, initial_weights
from bdnn.uh_bdnn import encoder_objective


def rosenbrock(x):
    return float(rosen(x)), rosen_der(x)


def quadratic(n, condition, seed, dtype=np.float64):
    """1/2 x^T A x - b^T x with the given condition number, and its minimiser."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.standard_normal((n, n)))
    A = (Q * np.geomspace(1, condition, n)) @ Q.T
    A, b = ((A + A.T) / 2).astype(dtype), rng.standard_normal(n).astype(dtype)
    return lambda x: (x @ A @ x / 2 - b @ x, A @ x - b), np.linalg.solve(A, b)


def encoder(seed, dtype=np.float64, m=200, L=8):
    """The encoder's part of BDNN's objective on real digits, and a start."""
    rng = np.random.default_rng(seed)
    X = np.ascontiguousarray(load_digits().data[rng.permutation(1797)[:m]].T / 16, dtype=dtype)
    B = sgn(rng.standard_normal((L, 64)) @ (X - X.mean(axis=1, keepdims=True))).astype(dtype)
    sizes = (64, 16, 10, L)

    fun = partial(encoder_objective, X=X, B=B, sizes=sizes, lambdas=(1e-3, 5e-2, 1e-2, 1e-6))
    return fun, flatten(*initial_weights(X, sizes, rng))


def scipy_minimize(fun, x0, **options):
    options = {"maxiter": 15000, "maxfun": 10**6} | options
    return scipy.optimize.minimize(fun, x0, jac=True, method="L-BFGS-B", options=options)


def quadratics():
    for n in (3, 20, 100):
        for condition in (1e1, 1e2, 1e4):
            for seed in range(2):
                fun, _ = quadratic(n, condition, seed)
                yield fun, np.random.default_rng(seed + 10).standard_normal(n)


def rosenbrocks():
    for n in (2, 5, 10, 30, 100):
        for seed in range(4):
            yield rosenbrock, np.random.default_rng(seed).uniform(-2, 2, n)


def encoders():
    for seed in range(3):
        yield encoder(seed)


# ---------------------------------------------------------------------- same minima as SciPy


@pytest.mark.parametrize("n", [1, 2, 10, 100])
@pytest.mark.parametrize("condition", [1, 1e2, 1e4])
def test_quadratic_minimum(n, condition):
    fun, solution = quadratic(n, condition, seed=n)
    result = minimize(fun, np.ones(n), gtol=1e-5, ftol=0, max_iter=5000)
    assert result.status == 0
    np.testing.assert_allclose(result.x, solution, atol=1e-5 * np.sqrt(n))  # eigenvalues >= 1
    peer = scipy_minimize(fun, np.ones(n), gtol=1e-5, ftol=0)
    assert result.fun == pytest.approx(peer.fun, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("n", [2, 3, 10, 50, 100])
def test_rosenbrock_minimum(n):
    x0 = np.where(np.arange(n) % 2, 1.0, -1.2)
    result = minimize(rosenbrock, x0, gtol=1e-7, ftol=0, max_iter=5000)
    peer = scipy_minimize(rosenbrock, x0, gtol=1e-7, ftol=0)
    assert result.status == 0
    np.testing.assert_allclose(result.x, peer.x, atol=1e-5)


@pytest.mark.rounding
@pytest.mark.parametrize("seed", range(3))
def test_network_minimum(seed):
    """The function has many minima; from near one of them both end there."""
    fun, x0 = encoder(seed)
    peer = scipy_minimize(fun, x0, gtol=1e-5, ftol=0)
    near = peer.x + 0.02 * np.random.default_rng(seed).standard_normal(x0.size)
    assert fun(near)[0] > peer.fun * (1 + 1e-3)
    result = minimize(fun, near, gtol=3e-6, ftol=0, max_iter=5000)
    peer = scipy_minimize(fun, near, gtol=3e-6, ftol=0)
    assert result.status == 0
    assert result.fun == pytest.approx(peer.fun, rel=1e-5)


@pytest.mark.rounding
@pytest.mark.parametrize("problems", [quadratics, rosenbrocks, encoders])
@pytest.mark.slow
def test_evaluations_equal_settings(problems):
    ratios = []
    for fun, x0 in problems():
        ours = minimize(fun, x0, history=10, gtol=1e-5, ftol=1e-9, max_iter=15000)
        peer = scipy_minimize(fun, x0, maxcor=10, gtol=1e-5, ftol=1e-9)
        ratios.append(ours.nfev / peer.nfev)
    assert np.median(ratios) <= 1.2


@pytest.mark.rounding
@pytest.mark.parametrize("problems", [quadratics, rosenbrocks, encoders])
@pytest.mark.slow
def test_evaluations_defaults(problems):
    ratios, excess = [], []
    for fun, x0 in problems():
        ours, peer = minimize(fun, x0), scipy_minimize(fun, x0)
        ratios.append(ours.nfev / peer.nfev)
        excess.append((ours.fun - peer.fun) / max(1, abs(peer.fun)))
    assert np.median(ratios) <= 1.2
    assert np.median(excess) <= 1e-4


# ------------------------------------------------------------------------------ strong Wolfe


def assert_strong_wolfe(before, after, c1, c2):
    """Both conditions in terms of s = a p, up to the rounding of s and of the values."""
    (x, f, g), (x1, f1, g1) = before, after
    s, eps = x1 - x, np.finfo(float).eps
    lost = eps * (np.abs(x) + np.abs(x1))
    slope, slope1 = g @ s, g1 @ s
    assert slope < 0
    assert f1 <= f + c1 * (slope + np.abs(g) @ lost) + 2 * eps * abs(f)
    assert abs(slope1) <= c2 * abs(slope) + (np.abs(g) + np.abs(g1)) @ lost
    assert s @ (g1 - g) > 0
    assert f1 <= f


def states(fun, x0, **options):
    """Value and gradient, computed anew, at the start and after every step."""
    xs = [x0]
    minimize(fun, x0, callback=lambda r: xs.append(r.x.copy()), **options)
    return [(x, *fun(x)) for x in xs]


@pytest.mark.rounding
@pytest.mark.parametrize("c1, c2", [(1e-4, 0.9), (1e-2, 0.1), (0.3, 0.4)])
@pytest.mark.parametrize("problems", [quadratics, rosenbrocks, encoders])
def test_every_step_is_strong_wolfe(problems, c1, c2):
    count = 0
    for fun, x0 in list(problems())[::2]:
        path = states(fun, x0, c1=c1, c2=c2, max_iter=150)
        for before, after in zip(path, path[1:]):
            assert_strong_wolfe(before, after, c1, c2)
            count += 1
    assert count > 60


@pytest.mark.parametrize("seed", range(3))
def test_steps_do_not_depend_on_max_iter(seed):
    x0 = np.random.default_rng(seed).uniform(-2, 2, 6)
    ends = [minimize(rosenbrock, x0, max_iter=k) for k in range(15)]
    assert [r.nit for r in ends] == list(range(15))
    np.testing.assert_array_equal(ends[0].x, x0)
    for a, b in zip(ends, ends[1:]):
        assert_strong_wolfe((a.x, a.fun, a.jac), (b.x, b.fun, b.jac), 1e-4, 0.9)
        assert b.nfev > a.nfev


def line(phi):
    """A one-dimensional function as strong_wolfe takes it; counts its calls."""

    def trial(a):
        trial.calls += 1
        f, d = phi(a)
        return Trial(a, f, d, np.array([a]), np.array([d]))

    trial.calls = 0
    return trial


def bowl(a):
    return -a / (a * a + 2), (a * a - 2) / (a * a + 2) ** 2


def steep(a, b=0.004):
    return (a + b) ** 5 - 2 * (a + b) ** 4, 5 * (a + b) ** 4 - 8 * (a + b) ** 3


def wavy(a):
    return a * a - 4 * a + 0.1 * np.sin(30 * a), 2 * a - 4 + 3 * np.cos(30 * a)


def corner(a, u=1e-3):
    g = np.sqrt(1 + u * u) - u
    left, right = np.hypot(1 - a, u), np.hypot(a, u)
    return g * (left + right), g * (a / right - (1 - a) / left)


@pytest.mark.parametrize("phi", [bowl, steep, wavy, corner])
@pytest.mark.parametrize("a", [1e-3, 1e-1, 1e1, 1e3])
def test_line_search_on_hard_functions(phi, a):
    trial = line(phi)
    start = trial(0.0)
    found = strong_wolfe(trial, start, a, c1=1e-4, c2=0.1)
    assert found is not None and trial.calls <= 20
    assert found.f <= start.f + 1e-4 * found.a * start.d
    assert abs(found.d) <= 0.1 * abs(start.d)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-2, 2), min_size=5, max_size=5),
    st.floats(1e-3, 1e3),
    st.sampled_from([(1e-4, 0.9), (1e-4, 0.1), (0.1, 0.5)]),
)
def test_line_search_on_random_waves(weights, a, constants):
    """a^2 - a + waves: bounded below, several minima; whatever is found fulfils the conditions."""

    def phi(a):
        k = np.arange(1, 6)
        w = np.array(weights) / 10
        return a * a - a + w @ (np.cos(k * a) - 1), 2 * a - 1 - (w * k) @ np.sin(k * a)

    trial = line(phi)
    start = trial(0.0)
    found = strong_wolfe(trial, start, a, *constants)
    assert found is not None
    assert found.f <= start.f + constants[0] * found.a * start.d
    assert abs(found.d) <= constants[1] * abs(start.d)
    assert trial.calls <= 26


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=4, max_size=4), st.floats(-3, 3), st.floats(-3, 3))
def test_cubic_minimiser(coefficients, p, q):
    """It finds the minimum of a cubic from any two of its points, in either order."""
    cubic = np.polynomial.Polynomial(np.round(coefficients, 2))
    p, q = round(p, 2), round(q, 2)
    if abs(p - q) < 0.1:
        return
    slope, curvature = cubic.deriv(), cubic.deriv(2)
    trials = [Trial(t, cubic(t), slope(t), None, None) for t in (p, q)]
    a, b = cubic_minimiser(*trials), cubic_minimiser(*trials[::-1])
    scale = 1 + np.abs(coefficients).max()
    has_minimum = slope.coef[1] ** 2 - 4 * slope.coef[0] * slope.coef[2] > 1e-3
    if has_minimum and abs(coefficients[3]) > 0.05:
        assert a == pytest.approx(b, rel=1e-6, abs=1e-6)
        assert abs(slope(a)) <= 1e-7 * scale * (1 + a * a)
        assert curvature(a) >= 0
    elif slope.coef[1] ** 2 - 4 * slope.coef[0] * slope.coef[2] < -1e-3:
        assert np.isnan(a) and np.isnan(b)


def test_cubic_minimiser_by_hand():
    trial = [Trial(float(a), (a - 3) ** 2, 2 * (a - 3), None, None) for a in (0, 1)]
    assert cubic_minimiser(*trial) == pytest.approx(3)
    flat = [Trial(float(a), -float(a), -1.0, None, None) for a in (0, 1)]
    assert np.isnan(cubic_minimiser(*flat))


# ------------------------------------------------------------------------ two-loop recursion


@pytest.mark.parametrize("n, h, seed", [(2, 1, 0), (5, 3, 1), (8, 12, 2), (30, 20, 3)])
def test_two_loop_equals_dense_bfgs(n, h, seed):
    rng = np.random.default_rng(seed)
    M = rng.standard_normal((n, n))
    A = M @ M.T / n + 0.1 * np.eye(n)
    S = rng.standard_normal((h, n))
    pairs = [(s, A @ s) for s in S]
    s, y = pairs[-1]
    K = s @ y / (y @ y) * np.eye(n)
    for s, y in pairs:
        E = np.eye(n) - np.outer(y, s) / (s @ y)
        K = E.T @ K @ E + np.outer(s, s) / (s @ y)
    g = rng.standard_normal(n)
    before = g.copy()
    np.testing.assert_allclose(two_loop(g, pairs), K @ g, rtol=1e-8, atol=1e-8)
    np.testing.assert_array_equal(g, before)
    np.testing.assert_allclose(two_loop(pairs[-1][1], pairs), pairs[-1][0], rtol=1e-8, atol=1e-8)


def test_two_loop_without_pairs_copies():
    g = np.arange(3.0)
    result = two_loop(g, [])
    np.testing.assert_array_equal(result, g)
    assert result is not g


# -------------------------------------------------------------------- what is not in the book


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["value", "gradient", "both"])
def test_not_finite_in_the_line_search(bad, where):
    met = []

    def fun(x):
        f, g = rosenbrock(x)
        if np.abs(x).max() < 1.005:
            return f, g
        met.append(x)
        if where != "value":
            g[1] = bad
        return f if where == "gradient" else bad, g

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed in range(8):
            x0 = np.random.default_rng(seed).uniform(0, 1, 4)
            result = minimize(fun, x0, gtol=1e-4, ftol=0)
            assert result.success
            np.testing.assert_allclose(result.x, 1, atol=1e-3)
    assert met


def test_barrier():
    """-log outside its domain: the minimum lies inside, the first trial steps do not."""

    def fun(x):
        with np.errstate(all="ignore"):
            return x.sum() - np.log(1 - x * x).sum(), 1 + 2 * x / (1 - x * x)

    result = minimize(fun, np.full(5, 0.999), gtol=1e-8, ftol=0)
    np.testing.assert_allclose(result.x, 1 - np.sqrt(2), atol=1e-8)


@pytest.mark.parametrize("f, g", [(np.nan, 1.0), (np.inf, 1.0), (0.0, np.nan), (0.0, np.inf)])
def test_not_finite_at_the_start(f, g):
    with pytest.raises(ValueError, match="x0"):
        minimize(lambda x: (f, np.full(2, g)), np.zeros(2))


def test_gradient_buffer_may_be_reused():
    buffer = np.empty(10)

    def fun(x):
        buffer[:] = rosen_der(x)
        return rosen(x), buffer

    x0 = np.full(10, -1.2)
    ours, plain = minimize(fun, x0), minimize(rosenbrock, x0)
    np.testing.assert_array_equal(ours.x, plain.x)
    assert ours.nfev == plain.nfev
    assert ours.jac is not buffer


def test_x0_is_not_modified_and_may_be_integer():
    x0 = np.array([3, -4])
    result = minimize(lambda x: (x @ x, 2 * x), x0)
    np.testing.assert_array_equal(x0, [3, -4])
    assert result.x.dtype == np.float64
    np.testing.assert_allclose(result.x, 0, atol=1e-6)
    x0 = np.array([3.0, -4.0])
    result = minimize(lambda x: (x @ x, 2 * x), x0, max_iter=0)
    assert result.x is not x0 and not np.shares_memory(result.x, x0)


@pytest.mark.rounding
@pytest.mark.parametrize("seed", range(3))
def test_float32_stays_float32(seed):
    fun, x0 = encoder(seed, np.float32)
    seen = set()

    def spy(theta):
        seen.add(theta.dtype)
        return fun(theta)

    result = minimize(spy, x0.astype(np.float32), max_iter=1000)
    assert seen == {np.dtype(np.float32)}
    assert result.x.dtype == result.jac.dtype == np.float32
    double = minimize(*encoder(seed), max_iter=1000)
    assert result.fun == pytest.approx(double.fun, rel=1e-3)


@pytest.mark.rounding
@pytest.mark.parametrize("n, condition", [(10, 1e2), (50, 1e4), (100, 1e6)])
def test_float32_noise_ends_honestly(n, condition):
    """Tolerances out of reach: the run ends, says so, and is no worse than its start."""
    fun, _ = quadratic(n, condition, seed=n, dtype=np.float32)
    x0 = np.ones(n, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = minimize(fun, x0, gtol=0, ftol=0, max_iter=3000)
    assert result.status in (1, 3)
    assert result.success == (result.status == 1)
    assert result.fun < fun(x0)[0]
    assert result.fun == fun(result.x)[0]


def test_wrong_gradient_is_reported():
    result = minimize(lambda x: (x @ x, -2 * x), np.ones(3))
    assert result.status == 3 and not result.success
    np.testing.assert_array_equal(result.x, np.ones(3))


def test_unbounded_function_is_reported():
    result = minimize(lambda x: (-x.sum(), -np.ones(3)), np.zeros(3))
    assert result.status == 3 and not result.success
    assert result.nfev <= 30


@pytest.mark.parametrize("scale", [1e-150, 1e-12, 1e12, 1e100, 1e200])
def test_extreme_scales(scale):
    """Overflow and underflow of inner products neither raise nor make things worse."""
    x0 = np.array([1.3, -0.7])
    result = minimize(lambda x: (scale * (x @ x), 2 * scale * x), x0, gtol=0, ftol=0)
    assert result.fun <= scale * (x0 @ x0)
    if 1e-100 < scale < 1e101:
        np.testing.assert_allclose(result.x, 0, atol=1e-7)


def test_flat_minimum_until_underflow():
    result = minimize(lambda x: ((x**4).sum(), 4 * x**3), np.array([3.0, 4]), gtol=0, ftol=0)
    assert result.fun < 1e-60


# --------------------------------------------------------------------------- the way it ends


def test_result_fields():
    result = minimize(rosenbrock, np.full(4, -1.2))
    assert isinstance(result, scipy.optimize.OptimizeResult)
    assert result.success and result.status in (0, 1)
    assert result.message == MESSAGES[result.status]
    assert result.nfev == result.njev >= result.nit > 0
    assert result.fun == rosenbrock(result.x)[0]
    np.testing.assert_array_equal(result.jac, rosen_der(result.x))


def test_zero_gradient_at_the_start():
    result = minimize(lambda x: (7.0, np.zeros(3)), np.ones(3))
    assert (result.status, result.nit, result.nfev, result.fun) == (0, 0, 1, 7.0)


def test_gtol_and_ftol():
    x0 = np.full(10, -1.2)
    by_gradient = minimize(rosenbrock, x0, gtol=1e-3, ftol=0)
    assert by_gradient.status == 0 and np.abs(by_gradient.jac).max() <= 1e-3
    by_decrease = minimize(rosenbrock, x0, gtol=0, ftol=1e-2)
    assert by_decrease.status == 1
    fs = [rosenbrock(x0)[0]]
    minimize(rosenbrock, x0, gtol=0, ftol=1e-2, callback=lambda r: fs.append(r.fun))
    decreases = -np.diff(fs) / np.maximum(1, fs[:-1])
    assert decreases[-1] <= 1e-2 and (decreases[:-1] > 1e-2).all()


def test_callback_sees_every_step():
    seen = []

    def callback(result):
        seen.append((result.nit, result.fun, result.nfev))
        np.testing.assert_array_equal(rosen_der(result.x), result.jac)

    result = minimize(rosenbrock, np.full(6, -1.2), callback=callback)
    assert [nit for nit, _, _ in seen] == list(range(1, result.nit + 1))
    assert seen[-1] == (result.nit, result.fun, result.nfev)
    assert all(b < a for (_, a, _), (_, b, _) in zip(seen, seen[1:]))


def test_errors_of_the_callback_and_of_the_function_pass_through():
    def fail(_):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        minimize(rosenbrock, np.full(3, -1.2), callback=fail)
    with pytest.raises(KeyError, match="mine"):
        minimize(fail, np.full(3, -1.2))


def test_runs_are_repeatable():
    fun, x0 = encoder(0)
    a, b = minimize(fun, x0, max_iter=30), minimize(fun, x0, max_iter=30)
    np.testing.assert_array_equal(a.x, b.x)


@pytest.mark.parametrize(
    "options",
    [
        {"max_iter": -1},
        {"history": 0},
        {"gtol": -1.0},
        {"ftol": np.nan},
        {"c1": 0.0},
        {"c1": 0.95},
        {"c2": 1.0},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        minimize(rosenbrock, np.zeros(2), **options)


def test_gradient_of_another_shape():
    with pytest.raises(ValueError, match="gradient"):
        minimize(lambda x: (0.0, np.ones((2, 1))), np.zeros(2))
    with pytest.raises(ValueError, match="gradient"):
        minimize(lambda x: (0.0, np.ones(1)), np.zeros(2))


# ------------------------------------------------------------------------- where (11) is needed


@pytest.mark.parametrize("seed", range(10))
def test_where_the_curvature_is_negative(seed):
    """Two wells with a ridge between them, where J is curved downwards along the first steps."""

    def wells(x):
        return (x**4 / 4 - x**2 / 2).sum(), x**3 - x

    x0 = 1e-3 * np.random.default_rng(seed).standard_normal(5)
    path = states(wells, x0, gtol=1e-8, ftol=0)
    assert all((b[0] - a[0]) @ (b[2] - a[2]) > 0 for a, b in zip(path, path[1:]))
    np.testing.assert_allclose(np.abs(path[-1][0]), 1, atol=1e-6)


@pytest.mark.parametrize("low_a, high_a", [(1.0, 3.0), (3.0, 1.0)])
def test_next_step_stays_inside(low_a, high_a):
    """Off the ends by a tenth of the width, whatever the cubic says; back by a tenth from NaN."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        low, high = (Trial(a, *rng.standard_normal(2), None, None) for a in (low_a, high_a))
        a = next_step(low, low, high, halve=False)
        assert 0.1 - 1e-12 <= (a - low_a) / (high_a - low_a) <= 0.9 + 1e-12
        assert next_step(low, low, high, halve=True) == pytest.approx(2)
    nan = Trial(high_a, np.nan, 1.0, None, None)
    assert next_step(low, low, nan, halve=False) == pytest.approx(low_a + 0.1 * (high_a - low_a))


def test_next_step_goes_two_to_ten_times_as_far():
    rng = np.random.default_rng(0)
    for _ in range(200):
        previous = Trial(0.0, *rng.standard_normal(2), None, None)
        low = Trial(1.5, *rng.standard_normal(2), None, None)
        assert 3 <= next_step(previous, low, None, halve=False) <= 15
