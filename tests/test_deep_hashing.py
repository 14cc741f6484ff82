"""bdnn.deep_hashing: the terms, the objective, the descent, the two estimators."""

import warnings
from itertools import islice

import numpy as np
import pytest

from bdnn import ITQ, metrics
from bdnn.data import load
from bdnn.deep_hashing import (
    HIDDEN,
    LBFGS_STEPS,
    DeepHashing,
    SupervisedDeepHashing,
    descend,
    dh_objective,
    dh_terms,
    initial_network,
    lbfgs_rounds,
    narrowing_sizes,
    orthogonality,
    quantisation,
    scatter,
    variance,
)
from bdnn.metrics import sgn
from bdnn.network import flatten, forward, gradient_error, unflatten

BOTH = pytest.mark.parametrize("method", [DeepHashing, SupervisedDeepHashing])
REDUCTIONS = pytest.mark.parametrize("reduction", ["sum", "mean"])


def random_outputs(seed):
    """Outputs of a tanh layer of random size, none within a difference step of 0, and labels."""
    rng = np.random.default_rng(seed)
    L, m = rng.integers([1, 4], [9, 25])
    H = np.tanh(rng.normal(size=(L, m)))
    y = rng.permutation(np.concatenate([[0, 0, 1], rng.integers(0, 4, m - 3)]))
    return H + 1e-3 * sgn(H), y


def random_problem(seed):
    """Parameters, samples, layers, weights of the terms, labels."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers([3, 2, 2, 1], [9, 8, 7, 6]).tolist()
    X, y = rng.normal(size=(sizes[0], 15)), rng.permutation(np.arange(15) % 4)
    theta = rng.normal(size=sum(b * (a + 1) for a, b in zip(sizes, sizes[1:])))
    return theta, X, sizes, rng.uniform(0.5, 3, 3), y


@pytest.fixture(scope="module")
def digits():
    return load("digits", ground_truth="labels")


def small(method=DeepHashing, **options):
    """An estimator that trains in a moment."""
    return method(n_bits=8, **{"max_iter": 20, "dtype": "float64"} | options)


def scatter_over_pairs(H, y):
    """Eq. (9) of notebook 10 as it stands."""
    between, within = [], []
    for i in range(len(y)):
        for j in range(len(y)):
            if i != j:
                (within if y[i] == y[j] else between).append(np.sum((H[:, i] - H[:, j]) ** 2))
    return np.mean(between) - np.mean(within)


@pytest.mark.parametrize("seed", range(10))
def test_gradients_with_respect_to_the_outputs(seed):
    H, y = random_outputs(seed)
    for term in (quantisation, variance, lambda H: scatter(H, y)):
        assert gradient_error(term, H) < 1e-7
        assert term(H)[1].shape == H.shape


@pytest.mark.parametrize("seed", range(5))
def test_gradients_with_respect_to_the_weights(seed):
    theta, _, sizes, _, _ = random_problem(seed)

    def of_weights(theta):
        Ws, cs = unflatten(theta, sizes)
        value, dWs = orthogonality(Ws)
        return value, flatten(dWs, [0 * c for c in cs])

    assert gradient_error(of_weights, theta) < 1e-7


@REDUCTIONS
@pytest.mark.parametrize("supervised", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_gradient_of_the_objective(seed, supervised, reduction):
    theta, X, sizes, alphas, y = random_problem(seed)
    options = {"alphas": alphas, "reduction": reduction}
    options |= {"y": y, "alpha": 0.7} if supervised else {}
    assert gradient_error(lambda t: dh_objective(t, X, sizes, **options), theta) < 1e-7


@REDUCTIONS
@pytest.mark.parametrize("seed", range(4))
def test_objective_is_the_sum_of_its_terms_by_hand(seed, reduction):
    theta, X, sizes, alphas, y = random_problem(seed)
    Ws, cs = unflatten(theta, sizes)
    H, m = forward(Ws, cs, X, "tanh", "tanh")[-1], X.shape[1]
    by_hand = {
        "quantisation": np.sum((np.sign(H) - H) ** 2) / 2 / (m if reduction == "mean" else 1),
        "variance": -alphas[0] / (2 * m) * np.trace(H @ H.T),
        "scatter": -alphas[0] * 0.7 / 2 * scatter_over_pairs(H, y),
        "orthogonality": alphas[1] / 2 * sum(np.sum((W @ W.T - np.eye(len(W))) ** 2) for W in Ws),
        "weight_decay": alphas[2] / 2 * sum(np.sum(A**2) for A in (*Ws, *cs)),
    }
    options = {"alphas": alphas, "y": y, "alpha": 0.7, "reduction": reduction}
    assert dh_terms(H, Ws, cs, **options)[0] == pytest.approx(by_hand, rel=1e-10)
    J, _ = dh_objective(theta, X, sizes, **options)
    assert J == pytest.approx(sum(by_hand.values()), rel=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_scatter_against_all_pairs_and_whatever_the_classes_are_called(seed):
    H, y = random_outputs(seed)
    value, dH = scatter(H, y)
    assert value == pytest.approx(scatter_over_pairs(H, y), abs=1e-10)
    np.testing.assert_allclose(scatter(H + 3, np.array(list("dbac"))[y])[1], dH, atol=1e-10)
    np.testing.assert_allclose(dH.sum(axis=1), 0, atol=1e-9)  # moving all samples changes nothing


@pytest.mark.parametrize("y", [[0, 0, 0], [0, 1, 2]])
def test_scatter_needs_two_classes_and_a_pair_within_one(y):
    with pytest.raises(ValueError, match="class"):
        scatter(np.ones((2, 3)), y)


def test_tiny_terms_known_by_hand():
    H = np.array([[0.5, -0.5, 1.0, 0.0]])
    value, dH = quantisation(H)
    assert value == pytest.approx((0.25 + 0.25 + 0 + 1) / 2)
    np.testing.assert_allclose(dH, [[-0.5, 0.5, 0, -1]])  # sgn(0) = +1
    assert variance(H)[0] == pytest.approx(1.5 / 8)
    assert scatter(np.array([[0.0, 0, 2]]), [0, 0, 1])[0] == pytest.approx(4)
    assert orthogonality([np.array([[2.0, 0], [0, 1]])])[0] == pytest.approx(4.5)


def test_a_layer_that_widens_cannot_have_orthonormal_rows():
    for seed in range(5):
        W = np.random.default_rng(seed).normal(size=(5, 3))
        assert orthogonality([W])[0] >= 1  # two eigenvalues of W W' - I are -1
    assert orthogonality([np.linalg.qr(W)[0]])[0] == pytest.approx(1)


def test_descent_of_a_parabola_by_hand():
    """1/2 theta^2 with step 1/2: every step halves theta; the last changes the value by 3/128."""

    def parabola(theta):
        return float(theta @ theta) / 2, theta

    start = np.array([1.0])
    found = [theta[0] for theta in descend(parabola, start, 0.5, 3 / 128)]
    assert found == [1, 0.5, 0.25, 0.125] and start[0] == 1
    assert len(list(islice(descend(parabola, start, 0.5, 0), 9))) == 9


def test_descent_warns_and_ends_where_the_value_overflows():
    def steep(theta):
        return (theta @ theta) ** 8, 16 * theta * (theta @ theta) ** 7

    with pytest.warns(UserWarning, match="learning_rate"):
        found = list(descend(steep, np.array([3.0]), 1.0, 0))
    assert 1 <= len(found) < 20 and all(np.isfinite(steep(theta)[0]) for theta in found)


def test_lbfgs_rounds_begin_at_the_start_and_never_rise():
    theta, X, sizes, alphas, _ = random_problem(0)

    def fun(theta):
        return dh_objective(theta, X, sizes, alphas=alphas)

    found = list(islice(lbfgs_rounds(fun, theta), 4))
    np.testing.assert_array_equal(found[0], theta)
    assert np.all(np.diff([fun(theta)[0] for theta in found]) <= 0)


@pytest.mark.parametrize("sizes", [(6, 5, 4, 3), (4, 6, 5, 3)])
def test_first_codes_are_the_signs_of_principal_components(sizes):
    X = np.random.default_rng(0).normal(size=(sizes[0], 40)) * np.arange(1, sizes[0] + 1)[:, None]
    X -= X.mean(axis=1, keepdims=True)
    Ws, cs = initial_network(X, sizes, np.random.default_rng(0))
    B = sgn(forward(Ws, cs, X, "tanh", "tanh")[-1])
    U = np.linalg.svd(X)[0][:, :3]
    np.testing.assert_array_equal(np.abs(np.mean(B * sgn(U.T @ X), axis=1)), 1)
    assert [W.shape for W in Ws] == [(b, a) for a, b in zip(sizes, sizes[1:])]
    if sizes[1] <= sizes[0]:
        assert orthogonality(Ws)[0] < 1e-20


@pytest.mark.rounding
def test_itq_start_gives_the_codes_of_itq(digits):
    X = digits.train.T.astype(np.float64)
    X -= X.mean(axis=1, keepdims=True)
    Ws, cs = initial_network(X, (64, 20, 10, 8), np.random.default_rng(0), "itq")
    B = sgn(forward(Ws, cs, 1e-3 * X, "tanh", "tanh")[-1])
    assert np.mean(B.T == ITQ(8, dtype="float64").fit(digits.train).codes_) > 0.999
    assert orthogonality(Ws)[0] < 1e-20


def test_sizes_narrow():
    assert narrowing_sizes(16) == HIDDEN[16] == (60, 30)
    assert all(L < b < a for L in range(1, 100) for a, b in [narrowing_sizes(L)])


def test_deep_hashing_as_printed_on_three_samples_by_hand():
    """One feature, one unit in each layer: start, scaling and two steps, written out.

    Centred, the samples are -4/3, -1/3, 5/3; all weights begin with 1, all biases with 0.
    """
    X = np.array([[4.0], [5.0], [7.0]])
    options = {"hidden": (1, 1), "learning_rate": 0.1, "max_iter": 2, "tol": 0, "dtype": "float64"}
    model = DeepHashing(1, **options).fit(X)
    scale = 1.5 / np.std([4, 5, 7])
    x = scale * np.array([-4, -1, 5]) / 3
    w, c, m = np.ones(3), np.zeros(3), 3

    def objective(w, c):
        h = x
        for l in range(3):
            h = np.tanh(w[l] * h + c[l])
        loss = np.sum((np.where(h >= 0, 1, -1) - h) ** 2) / 2 - 100 * np.sum(h**2) / (2 * m)
        decay = np.sum(w**2) + np.sum(c**2)
        return loss + 0.001 * np.sum((w**2 - 1) ** 2) / 2 + 0.001 * decay / 2

    assert model.history_[0]["objective"] == pytest.approx(objective(w, c))
    for entry in model.history_[1:]:
        slopes = np.zeros((2, 3))
        for k, a in enumerate((w, c)):
            for l in range(3):
                step = 1e-6 * np.eye(3)[l]
                pair = [(a + s * step, c) if k == 0 else (w, a + s * step) for s in (1, -1)]
                slopes[k, l] = (objective(*pair[0]) - objective(*pair[1])) / 2e-6
        w, c = w - 0.1 / (m + 100) * slopes[0], c - 0.1 / (m + 100) * slopes[1]
        assert entry["objective"] == pytest.approx(objective(w, c), rel=1e-6)
    np.testing.assert_allclose([W.item() for W in model.Ws_[1:]], w[1:], rtol=1e-6)
    assert model.Ws_[0].item() == pytest.approx(w[0] * scale, rel=1e-6)


@BOTH
@pytest.mark.parametrize("optimizer", ["gd", "lbfgs"])
@pytest.mark.rounding
def test_history_and_what_is_kept(digits, method, optimizer):
    model = small(method, optimizer=optimizer).fit(digits.train, digits.labels.train)
    parts = ["quantisation", "variance", "orthogonality", "weight_decay"]
    parts += ["scatter"] if method is SupervisedDeepHashing else []
    assert len(model.history_) == 1 + (20 if optimizer == "gd" else 20 // LBFGS_STEPS)
    for t, entry in enumerate(model.history_):
        assert entry["round"] == t and entry["seconds"] > 0 and ("flips" in entry) == (t > 0)
        assert entry["objective"] == pytest.approx(sum(entry[part] for part in parts))
        assert entry["score"] == -entry["objective"]
    assert model.best_ == np.argmin([entry["objective"] for entry in model.history_])
    np.testing.assert_array_equal(model.codes_, model.transform(digits.train))


@pytest.mark.rounding
def test_folded_network_equals_the_one_that_was_trained(digits):
    model = small().fit(digits.train)
    Z = model.scale_ * (digits.train.T - model.mean_)  # what the network saw
    leading = np.linalg.svd(Z, compute_uv=False)[:8]
    assert np.sqrt(np.mean(leading**2) / len(Z.T)) == pytest.approx(model.input_scale)
    _, state = model._begin(model, Z, None)
    np.testing.assert_allclose(model.decision_function(digits.train).T, state.H, atol=1e-9)
    J = sum(model._terms(Z, None, state).values())
    assert J == pytest.approx(model.history_[model.best_]["objective"])


@BOTH
@pytest.mark.rounding
def test_training_goes_on_from_another_estimator(digits, method):
    data = digits.train, digits.labels.train
    first = small(method, max_iter=10, tol=0).fit(*data)
    more = small(method, max_iter=9, tol=0).fit(*data, start=first)
    whole = small(method, tol=0).fit(*data)
    found = [entry["objective"] for entry in more.history_]
    np.testing.assert_allclose(found, [e["objective"] for e in whole.history_[11:]], rtol=1e-6)
    with pytest.raises(ValueError, match="start"):
        method(16).fit(*data, start=first)


@pytest.mark.parametrize("optimizer", ["gd", "lbfgs"])
def test_states_go_on_from_a_state(digits, optimizer):
    model = small(max_iter=40, optimizer=optimizer)
    X, rng = model._prepare(digits.train.T.astype(np.float64)), np.random.default_rng(0)
    states = list(islice(model._states(X, None, rng, 0, None), 4))
    again = list(islice(model._states(X, None, rng, 2, states[1]), 2))
    for one, other in zip(states[2:], again):
        np.testing.assert_array_equal(one.theta, other.theta)
    assert len(list(model._states(X, None, rng, 3, states[2]))) == model._n_rounds() - 3


@pytest.mark.rounding
def test_an_overflow_keeps_what_was_learned_before(digits):
    with pytest.warns(UserWarning, match="learning_rate"):
        model = small(learning_rate=1e200).fit(digits.train)
    assert np.isfinite(model.decision_function(digits.train)).all() and model.best_ == 0


@pytest.mark.rounding
def test_labels_help_where_the_quantisation_is_a_mean(digits):
    data = digits.train, digits.labels.train
    options = {"reduction": "mean", "optimizer": "lbfgs", "max_iter": 50}
    scores = []
    for method in (DeepHashing, SupervisedDeepHashing):
        model = small(method, **options).fit(*data)
        codes = model.transform(digits.query), model.transform(digits.database)
        scores.append(metrics.mean_average_precision(*codes, digits.relevant))
    assert scores[1] > scores[0] + 0.15


@BOTH
def test_constant_features_and_one_bit(digits, method):
    rows = np.hstack([digits.train, np.full((len(digits.train), 1), 7.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n_bits in (1, 8):
            model = method(n_bits, max_iter=2).fit(rows, digits.labels.train)
            assert model.transform(rows).shape == (len(rows), n_bits)
