"""bdnn.deep_hashing: the terms, the objective, the descent, the two estimators."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

import bdnn
from bdnn import deep_hashing, lbfgs
from bdnn.metrics import sgn
from bdnn.data import load
from bdnn.deep_hashing import (
    HIDDEN,
    DeepHashing,
    DHObjective,
    SupervisedDeepHashing,
    descend,
    dh_terms,
    initial_network,
    narrowing_sizes,
    orthogonality,
    quantisation,
    scatter,
    variance,
    weight_and_bias_decay,
)
from bdnn.itq import ITQ
from bdnn.network import flatten, forward, gradient_error, unflatten

BOTH = pytest.mark.parametrize("method", [DeepHashing, SupervisedDeepHashing])


def random_outputs(seed):
    """Outputs of a tanh layer of random size, none within a difference step of 0, and labels."""
    rng = np.random.default_rng(seed)
    L, m = rng.integers([1, 4], [9, 25])
    H = np.tanh(rng.normal(size=(L, m)))
    y = rng.permutation(np.concatenate([[0, 0, 1], rng.integers(0, 4, m - 3)]))
    return H + 1e-3 * sgn(H), y, rng


def random_problem(seed):
    """Samples, labels, layers, parameters and weights of the terms."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers([3, 2, 2, 1], [9, 8, 7, 6]).tolist()
    X, y = rng.normal(size=(sizes[0], 15)), rng.permutation(np.arange(15) % 4)
    theta = rng.normal(size=sum(b * (a + 1) for a, b in zip(sizes, sizes[1:])))
    return X, y, sizes, theta, rng.uniform(0.5, 3, 3)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def labels(digits):
    return digits.labels.train


def small(method=DeepHashing, **options):
    """An estimator that trains in a moment."""
    return method(n_bits=8, **{"max_iter": 20, "dtype": "float64"} | options)


@pytest.mark.parametrize("seed", range(10))
def test_gradients_with_respect_to_the_outputs(seed):
    H, y, _ = random_outputs(seed)
    for term in (quantisation, variance, lambda H: scatter(H, y)):
        assert gradient_error(term, H) < 1e-7
        assert term(H)[1].shape == H.shape


@pytest.mark.parametrize("seed", range(6))
def test_gradients_with_respect_to_the_weights(seed):
    _, _, sizes, theta, _ = random_problem(seed)

    def of_weights(theta):
        Ws, cs = unflatten(theta, sizes)
        value, dWs = orthogonality(Ws)
        return value, flatten(dWs, [0 * c for c in cs])

    def decay(theta):
        value, gradients = weight_and_bias_decay(*unflatten(theta, sizes))
        return value, flatten(*gradients)

    assert gradient_error(of_weights, theta) < 1e-7
    assert gradient_error(decay, theta) < 1e-7


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("supervised", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_gradient_of_the_objective(seed, supervised, reduction):
    X, y, sizes, theta, alphas = random_problem(seed)
    options = {"reduction": reduction} | ({"y": y, "alpha": 0.7} if supervised else {})
    assert gradient_error(DHObjective(X, sizes, alphas, **options), theta) < 1e-7


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("seed", range(4))
def test_objective_is_the_sum_of_its_terms_by_hand(seed, reduction):
    X, y, sizes, theta, alphas = random_problem(seed)
    Ws, cs = unflatten(theta, sizes)
    H, m = forward(Ws, cs, X, ("tanh",) * 3)[-1], X.shape[1]
    by_hand = {
        "quantisation": np.sum((np.sign(H) - H) ** 2) / 2 / (m if reduction == "mean" else 1),
        "variance": -alphas[0] / (2 * m) * np.trace(H @ H.T),
        "scatter": -alphas[0] * 0.7 / 2 * scatter_by_loop(H, y),
        "orthogonality": alphas[1] / 2 * sum(np.sum((W @ W.T - np.eye(len(W))) ** 2) for W in Ws),
        "weight_decay": alphas[2] / 2 * sum(np.sum(A**2) for A in (*Ws, *cs)),
    }
    terms = dh_terms(H, Ws, cs, alphas, y, 0.7, reduction)
    assert terms.pop("objective") == pytest.approx(sum(by_hand.values()), rel=1e-12)
    assert terms == pytest.approx(by_hand, rel=1e-10)
    J, _ = DHObjective(X, sizes, alphas, y, 0.7, reduction)(theta)
    assert J == pytest.approx(sum(by_hand.values()), rel=1e-12)


def scatter_by_loop(H, y):
    """Eq. (9) of notebook 10 as it stands."""
    between, within = [], []
    for i in range(len(y)):
        for j in range(len(y)):
            if i != j:
                (within if y[i] == y[j] else between).append(np.sum((H[:, i] - H[:, j]) ** 2))
    return np.mean(between) - np.mean(within)


@pytest.mark.parametrize("seed", range(10))
def test_scatter_against_the_loop(seed):
    H, y, _ = random_outputs(seed)
    assert scatter(H, y)[0] == pytest.approx(scatter_by_loop(H, y), abs=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(-5, 5))
def test_scatter_ignores_a_shift_and_the_names_of_the_classes(seed, shift):
    H, y, rng = random_outputs(seed)
    value, dH = scatter(H, y)
    names = np.array(["d", "b", "a", "c"])[y]
    np.testing.assert_allclose(scatter(H + shift, y)[0], value, atol=1e-9)
    np.testing.assert_allclose(scatter(H, names)[1], dH, atol=1e-12)
    np.testing.assert_allclose(dH.sum(axis=1), 0, atol=1e-9)  # moving all samples changes nothing


def test_tiny_cases_known_by_hand():
    H = np.array([[0.5, -0.5, 1.0, 0.0]])
    value, dH = quantisation(H)
    assert value == pytest.approx((0.25 + 0.25 + 0 + 1) / 2)
    np.testing.assert_array_equal(dH, [[-0.5, 0.5, 0.0, -1.0]])
    assert variance(H)[0] == pytest.approx(1.5 / 8)
    assert scatter(np.array([[1.0, 1, -1, -1]]), [0, 0, 1, 1])[0] == pytest.approx(4)
    assert orthogonality([np.array([[2.0]])]) == (4.5, [[[12.0]]])
    assert orthogonality([np.eye(2, 5), np.eye(1, 2)])[0] == 0


def test_float32_stays_float32():
    H, y, _ = random_outputs(0)
    H = H.astype(np.float32)
    for term in (quantisation, variance, lambda H: scatter(H, y)):
        assert term(H)[1].dtype == np.float32
    X, y, sizes, theta, alphas = random_problem(0)
    _, gradient = DHObjective(X.astype(np.float32), sizes, alphas, y)(theta.astype(np.float32))
    assert gradient.dtype == np.float32


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1, 1, 1, 1], "one class only"),
        ([1, 2, 3, 4], "no class with two samples"),
        ([1, 2], "one label for each of 4 samples"),
    ],
)
def test_scatter_needs_pairs_of_both_kinds(y, message):
    with pytest.raises(ValueError, match=message):
        scatter(np.ones((2, 4)), y)


def test_sizes():
    assert narrowing_sizes(16) == (60, 30) and narrowing_sizes(64) == (100, 80)
    for L in (*HIDDEN, 1, 8, 24, 48, 128, 256):
        h1, h2 = narrowing_sizes(L)
        assert h1 >= h2 >= L


@pytest.mark.parametrize("seed", range(4))
def test_start_is_orthonormal_and_its_codes_are_those_of_itq_or_pca(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(12, 12)) @ rng.normal(size=(12, 200))
    X -= X.mean(axis=1, keepdims=True)
    sizes = (12, 8, 6, 4)
    references = {"itq": ITQ(4, dtype="float64", random_state=seed).fit(X.T).codes_.T}
    references["pca"] = sgn(deep_hashing.principal_directions(X, 4)[1].T @ X)
    for init, codes in references.items():
        Ws, cs = initial_network(X, sizes, np.random.default_rng(seed), init)
        assert orthogonality(Ws)[0] < 1e-20 and not any(c.any() for c in cs)
        H = forward(Ws, cs, X, ("tanh",) * 3)[-1]
        assert np.mean(sgn(H) == codes) > 0.999


def test_descent_on_a_quadratic():
    A = np.array([1.0, 4.0])
    seen = []
    end = descend(
        lambda t: (A @ t**2 / 2, A * t), np.ones(2), 0.2, 100, 1e-12, lambda t, J: seen.append(J)
    )
    np.testing.assert_allclose(end, 0, atol=1e-5)
    assert len(seen) < 100 and np.all(np.diff(seen) < 0)
    one = descend(lambda t: (A @ t**2 / 2, A * t), np.ones(2), 0.2, 1, 0, lambda t, J: None)
    np.testing.assert_allclose(one, [0.8, 0.2])


@BOTH
@pytest.mark.parametrize("optimizer", ["gd", "lbfgs"])
def test_training_descends(method, optimizer, digits, labels):
    """Gradient descent does so at every step if the step is short enough."""
    options = {"optimizer": optimizer, "learning_rate": 0.1, "max_iter": 40}
    estimator = small(method, **options).fit(digits.train, labels)
    J = [entry["objective"] for entry in estimator.history_]
    assert J[-1] < J[0] and np.all(np.diff(J) < 1e-6 * np.ptp(J))
    for entry in estimator.history_:
        names = set(entry) - {"iteration", "objective", "seconds"}
        assert entry["objective"] == pytest.approx(sum(entry[name] for name in names))
        assert ("scatter" in names) == (method is SupervisedDeepHashing)


@pytest.mark.parametrize("seed", range(3))
def test_lbfgs_gets_no_less_far_than_gradient_descent_in_as_many_evaluations(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(8, 8)) @ rng.normal(size=(8, 100))
    X /= X.std()
    sizes, alphas = (8, 6, 5, 4), (100, 1e-3, 1e-3)
    theta = flatten(*initial_network(X, sizes, rng))
    objective = DHObjective(X, sizes, alphas)

    def scaled(theta):
        J, gradient = objective(theta)
        return J / 200, gradient / 200

    values = []
    descend(scaled, theta, 0.3, 99, 0, lambda theta, J: values.append(J))
    found = lbfgs.minimize(scaled, theta, max_evaluations=100, max_iter=100, ftol=0, gtol=0)
    assert found.nfev <= 100 == len(values)
    assert found.fun <= min(values)


@BOTH
def test_codes_are_the_signs_of_the_network(method, digits, labels):
    estimator = small(method).fit(digits.train, labels)
    H = forward(
        estimator.Ws_,
        estimator.cs_,
        (digits.train.T - estimator.mean_) * estimator.scale_,
        ("tanh",) * 3,
    )[-1]
    np.testing.assert_array_equal(estimator.codes_, sgn(H).T)
    np.testing.assert_array_equal(estimator.transform(digits.train), estimator.codes_)
    assert estimator.codes_.dtype == np.int8
    last = estimator.history_[-1]
    assert last["iteration"] == estimator.n_iter_ == 20
    assert last["variance"] == pytest.approx(-100 * np.sum(H**2) / (2 * H.shape[1]))


@BOTH
def test_same_seed_same_codes(method, digits, labels):
    """The seed draws the rotation that ITQ starts from; the start by PCA does not need one."""
    first, second, other = (
        small(method, init="itq", random_state=seed).fit(digits.train, labels) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.codes_, second.codes_)
    assert np.any(other.codes_ != first.codes_)
    plain = [
        small(method, init="pca", random_state=seed).fit(digits.train, labels) for seed in (3, 4)
    ]
    np.testing.assert_array_equal(plain[0].codes_, plain[1].codes_)


def test_labels_help(digits, labels):
    relevant = digits.labels.query, digits.labels.database
    scores = {}
    for method in (DeepHashing, SupervisedDeepHashing):
        fitted = method(8, max_iter=60).fit(digits.train, labels)
        codes = fitted.transform(digits.query), fitted.transform(digits.database)
        scores[method] = bdnn.metrics.mean_average_precision(*codes, relevant)
    assert scores[SupervisedDeepHashing] > scores[DeepHashing] + 0.05


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_more_samples_need_no_other_step(digits, dtype):
    """Four copies of the data: the quantisation per sample takes much the same course."""
    X = digits.train[:400]
    runs = [
        DeepHashing(8, alpha1=0, alpha2=0, alpha3=0, max_iter=10, dtype=dtype).fit(data)
        for data in (X, np.tile(X, (4, 1)))
    ]
    course = [np.array([entry["objective"] for entry in run.history_]) for run in runs]
    np.testing.assert_allclose(course[1], 4 * course[0], rtol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "lbfgs"},
        {"reduction": "mean"},
        {"init": "pca"},
        {"hidden": (12,)},
        {"hidden": ()},
        {"hidden": (4, 20)},
        {"max_iter": 0},
        {"max_iter": 250},
        {"dtype": "float32"},
        {"alpha1": 0, "alpha2": 0, "alpha3": 0},
        {"alpha2": 100},
    ],
)
@BOTH
def test_options_train_and_encode(method, digits, labels, options):
    options = {"reduction": "sum"} | options
    estimator = small(method, **options).fit(digits.train[:200], labels[:200])
    codes = estimator.transform(digits.query)
    assert codes.shape == (len(digits.query), 8) and set(np.unique(codes)) <= {-1, 1}
    assert 1 <= len(estimator.history_) <= 102
    assert clone(estimator).get_params() == estimator.get_params()


def test_tolerance_ends_the_training(digits):
    estimator = small(tol=1e-2, max_iter=500).fit(digits.train)
    assert 0 < estimator.n_iter_ < 500
    assert estimator.history_[-1]["iteration"] == estimator.n_iter_


def test_overflow_is_told_and_the_best_state_kept(digits):
    with pytest.warns(UserWarning, match="smaller learning_rate"):
        estimator = small(alpha2=1e6, learning_rate=1e3, max_iter=50).fit(digits.train)
    assert np.all(np.isfinite(estimator.decision_function(digits.query)))


def interrupted(calls):
    """An evaluation of DHObjective that is interrupted at a call."""
    evaluate = DHObjective.__call__

    def fun(self, theta):
        nonlocal calls
        calls -= 1
        if calls == 0:
            raise KeyboardInterrupt
        return evaluate(self, theta)

    return fun


@pytest.mark.parametrize("optimizer", ["gd", "lbfgs"])
def test_interruption_keeps_the_best_state(digits, monkeypatch, optimizer):
    monkeypatch.setattr(DHObjective, "__call__", interrupted(9))
    with pytest.warns(UserWarning, match="interrupted after .* iterations: the best state"):
        estimator = small(optimizer=optimizer).fit(digits.train)
    assert 1 <= estimator.n_iter_ < 9
    assert estimator.transform(digits.query).shape == (len(digits.query), 8)


def test_interruption_before_there_is_anything_to_keep(digits, monkeypatch):
    monkeypatch.setattr(DHObjective, "__call__", interrupted(1))
    with pytest.raises(KeyboardInterrupt):
        small().fit(digits.train)


@BOTH
def test_a_start_goes_on_where_the_earlier_training_ended(method, digits, labels):
    first = method(8, max_iter=20).fit(digits.train, labels)
    shares = []
    again = method(8, max_iter=20).fit(digits.train, labels, start=first, callback=shares.append)
    end = min(entry["objective"] for entry in first.history_)
    assert again.history_[0]["objective"] == pytest.approx(end, rel=1e-5)
    assert again.history_[-1]["objective"] < end
    assert shares[-1] == again.n_iter_ / 20 and shares == sorted(shares)
    with pytest.raises(ValueError, match="start has layers of"):
        method(9).fit(digits.train, labels, start=first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha1": -1}, "alpha1 must be a finite number"),
        ({"alpha2": np.inf}, "alpha2 must be a finite number"),
        ({"tol": "small"}, "tol must be a finite number"),
        ({"learning_rate": 0}, "learning_rate must be a finite number"),
        ({"input_scale": 0}, "input_scale must be a finite number"),
        ({"max_iter": 2.5}, "max_iter must be a whole number"),
        ({"hidden": (5, 0)}, "every entry of hidden"),
        ({"reduction": "max"}, "reduction='max' is not known; choose one of 'sum', 'mean'"),
        ({"init": "random"}, "init='random' is not known"),
        ({"optimizer": "adam"}, "optimizer='adam' is not known"),
    ],
)
@BOTH
def test_bad_parameters(method, digits, labels, options, message):
    with pytest.raises(ValueError, match=message):
        small(method, **options).fit(digits.train, labels)


def test_bad_labels(digits, labels):
    supervised = small(SupervisedDeepHashing)
    with pytest.raises(ValueError, match="one class only"):
        supervised.fit(digits.train, np.zeros(len(labels)))
    with pytest.raises(ValueError, match="NaN"):
        supervised.fit(digits.train, np.where(labels == 3, np.nan, labels))
    with pytest.raises(ValueError, match="requires y"):
        supervised.fit(digits.train)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        supervised.fit(digits.train, labels[:-1])
    with pytest.raises(ValueError, match="alpha must be a finite number"):
        small(SupervisedDeepHashing, alpha=-1).fit(digits.train, labels)


@pytest.mark.parametrize("kind", [str, lambda y: f"digit {y}", bool])
def test_labels_of_any_type(digits, labels, kind):
    y = np.array([kind(label) for label in labels])
    codes = small(SupervisedDeepHashing).fit(digits.train, y).codes_
    number = np.unique(y, return_inverse=True)[1]
    np.testing.assert_array_equal(
        codes, small(SupervisedDeepHashing).fit(digits.train, number).codes_
    )


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_units_of_the_input_do_not_matter(digits, scale):
    codes = small().fit(digits.train).transform(digits.query)
    scaled = small().fit(digits.train * scale + scale).transform(digits.query * scale + scale)
    assert np.mean(codes == scaled) > 0.99


def test_constant_and_few_features():
    X = np.random.default_rng(0).normal(size=(40, 3))
    X[:, 1] = 5
    assert small().fit(X).transform(X).shape == (40, 8)
    assert small().fit(np.ones((40, 3))).transform(X).shape == (40, 8)
