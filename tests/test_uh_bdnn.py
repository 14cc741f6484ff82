"""bdnn.uh_bdnn: decoder, objective, alternation, the sample that grows, the estimator."""

from itertools import islice, pairwise

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from bdnn import ITQ, UHBDNN, uh_bdnn
from bdnn.data import load
from bdnn.losses import balance, equality, independence, reconstruction, weight_decay
from bdnn.metrics import precision_at_radius
from bdnn.network import (
    backward,
    flatten,
    forward,
    gradient_error,
    initial_weights,
    unflatten,
)
from bdnn.uh_bdnn import (
    State,
    encoder_objective,
    growing,
    initial_codes,
    principal_axes,
    ridge_decoder,
    stages,
    terms,
)

LAMBDAS = (1e-3, 5e-2, 1e-2, 1e-4)
TERMS = ["reconstruction", "weight_decay", "equality", "independence", "balance"]


def random_problem(seed, m=None):
    """Samples, codes, sizes of the layers and parameters of random shapes."""
    rng = np.random.default_rng(seed)
    D, h1, h2, L, n = rng.integers([3, 2, 2, 1, 5], [9, 7, 6, 5, 20])
    sizes, m = (D, h1, h2, L), m or n
    X, B = rng.normal(size=(D, m)), rng.choice([-1.0, 1.0], size=(L, m))
    Ws = [rng.normal(size=(b, a)) for a, b in zip(sizes, sizes[1:])]
    return X, B, sizes, flatten(Ws, [rng.normal(size=(len(W), 1)) for W in Ws])


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def small(**options):
    """An estimator that trains in a moment."""
    return UHBDNN(8, **{"max_alternations": 3, "max_iter": 20} | options)


# the objective


@pytest.mark.parametrize("seed", range(8))
def test_gradient_of_the_encoder_against_central_differences(seed):
    X, B, sizes, theta = random_problem(seed)
    error = gradient_error(lambda theta: encoder_objective(theta, X, B, sizes, LAMBDAS), theta)
    assert error < 1e-7


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encoder_objective_is_the_weighted_sum_of_the_losses(dtype):
    X, B, sizes, theta = random_problem(1)
    X, B, theta = (A.astype(dtype) for A in (X, B, theta))
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X)
    J, gradient = encoder_objective(theta, X, B, sizes, LAMBDAS)
    assert gradient.dtype == dtype
    found = [weight_decay(Ws), equality(Hs[-1], B), independence(Hs[-1]), balance(Hs[-1])]
    assert J == pytest.approx(sum(w * value for w, (value, _) in zip(LAMBDAS, found)))
    for k, weight in enumerate(LAMBDAS):  # one term at a time
        alone = [weight * (j == k) for j in range(4)]
        J, gradient = encoder_objective(theta, X, B, sizes, alone)
        value, slope = found[k]
        dWs, dcs = (slope, [0 * c for c in cs]) if k == 0 else backward(Ws, Hs, slope)
        assert J == pytest.approx(weight * value)
        np.testing.assert_allclose(gradient, weight * flatten(dWs, dcs), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_terms_are_the_objective_by_hand(seed):
    X, B, sizes, theta = random_problem(seed)
    W, c = ridge_decoder(X, B, 0.1)
    Ws, cs = unflatten(theta, sizes)
    H, m = forward(Ws, cs, X)[-1], X.shape[1]
    by_hand = (
        np.sum((X - W @ B - c) ** 2) / (2 * m),
        LAMBDAS[0] / 2 * sum(np.sum(A**2) for A in [*Ws, W]),
        LAMBDAS[1] / (2 * m) * np.sum((H - B) ** 2),
        LAMBDAS[2] / 2 * np.sum((H @ H.T / m - np.eye(len(H))) ** 2),
        LAMBDAS[3] / (2 * m) * np.sum(H.sum(axis=1) ** 2),
    )
    found = terms(X, State(theta, W, c, H, B), sizes, LAMBDAS)
    assert list(found) == TERMS and tuple(found.values()) == pytest.approx(by_hand)


# the decoder


@pytest.mark.parametrize("seed", range(5))
def test_ridge_decoder_against_scikit_learn(seed):
    X, B, _, _ = random_problem(seed)
    W, c = ridge_decoder(X, B, 0.03)
    ridge = Ridge(alpha=0.03 * X.shape[1]).fit(B.T, X.T)
    np.testing.assert_allclose(W, ridge.coef_.reshape(W.shape), atol=1e-10)
    np.testing.assert_allclose(c[:, 0], ridge.intercept_, atol=1e-10)


@pytest.mark.parametrize("seed", range(5))
def test_ridge_decoder_has_no_gradient(seed):
    X, B, _, _ = random_problem(seed)
    W, c = ridge_decoder(X, B, 0.03)
    _, (dW, dc) = reconstruction(X, B, W, c)
    np.testing.assert_allclose(dW + 0.03 * W, 0, atol=1e-12)
    np.testing.assert_allclose(dc, 0, atol=1e-12)


def test_ridge_decoder_of_constant_bits_is_the_mean():
    X = np.random.default_rng(0).normal(size=(3, 12))
    W, c = ridge_decoder(X, np.ones((2, 12)), 0.0)
    np.testing.assert_allclose(W, 0, atol=1e-12)
    np.testing.assert_allclose(c, X.mean(axis=1, keepdims=True))


# the alternation


@pytest.mark.rounding
@pytest.mark.parametrize("seed", range(4))
def test_no_step_of_the_alternation_raises_the_objective(seed):
    X, B, sizes, theta = random_problem(seed, m=60)
    states = list(islice(uh_bdnn.uh_bdnn(X, B, theta, sizes, LAMBDAS, max_iter=5), 6))

    def J(state):
        return sum(terms(X, state, sizes, LAMBDAS).values())

    trace = [J(states[0])]
    for old, new in pairwise(states):
        codes = old._replace(B=new.B)
        trace += [J(codes), J(codes._replace(W=new.W, c=new.c)), J(new)]
    assert trace[-1] < trace[0] and np.diff(trace).max() < 1e-12


def test_a_state_is_what_its_round_has_found():
    X, B, sizes, theta = random_problem(2)
    first, second = islice(uh_bdnn.uh_bdnn(X, B, theta, sizes, LAMBDAS, max_iter=3), 2)
    for state in (first, second):
        W, c = ridge_decoder(X, state.B, LAMBDAS[0])
        np.testing.assert_array_equal(state.W, W)
        np.testing.assert_array_equal(state.c, c)
        H = forward(*unflatten(state.theta, sizes), X)[-1]
        np.testing.assert_array_equal(state.H, H)
    np.testing.assert_array_equal(first.B, B)
    assert set(np.unique(second.B)) <= {-1, 1}


# the start, and the sample that grows


def test_initial_codes_are_the_best_of_those_tried():
    X = np.random.default_rng(0).normal(size=(6, 200))

    def loss(B):
        return reconstruction(X, B, *ridge_decoder(X, B, 1e-5))[0]

    rng = np.random.default_rng(1)
    singles = [initial_codes(X, 4, rng, n_init=1) for _ in range(5)]
    best = initial_codes(X, 4, np.random.default_rng(1), n_init=5)
    assert loss(best) == min(map(loss, singles)) < max(map(loss, singles))


@pytest.mark.parametrize("energy", [0.5, 0.9, 1.0])
def test_principal_axes_are_orthonormal_and_hold_the_share(energy):
    X = np.random.default_rng(0).normal(size=(12, 80)) * np.arange(1, 13)[:, None]
    P = principal_axes(X, energy)
    np.testing.assert_allclose(P.T @ P, np.eye(P.shape[1]), atol=1e-12)
    held = np.sum((P.T @ X) ** 2, axis=1)
    assert np.all(np.diff(held) <= 0)
    assert held.sum() >= (energy - 1e-9) * np.sum(X**2)
    assert held[:-1].sum() < energy * np.sum(X**2)


def test_principal_axes_of_nothing():
    assert principal_axes(np.zeros((3, 5))).shape == (3, 1)


def test_stages(monkeypatch):
    monkeypatch.setattr(uh_bdnn, "SAMPLE", 100)
    monkeypatch.setattr(uh_bdnn, "ROUNDS", 5)
    assert stages(200, 11) == [(200, 11)]
    assert stages(201, 11) == [(100, 5), (201, 11)]
    assert stages(201, 3) == [(100, 2), (201, 3)]  # the last round sees all samples


@pytest.mark.parametrize("stop", range(1, 6))
def test_growing_goes_on_as_if_it_had_not_stopped(stop, monkeypatch):
    monkeypatch.setattr(uh_bdnn, "SAMPLE", 20)
    monkeypatch.setattr(uh_bdnn, "ROUNDS", 2)
    X, _, sizes, _ = random_problem(3, m=60)
    options = X, sizes, LAMBDAS, 4, 5
    whole = list(growing(*options, np.random.default_rng(0)))
    assert [state.B.shape[1] for state in whole] == [20, 20, 60, 60, 60]
    rest = list(growing(*options, np.random.default_rng(1), stop, whole[stop - 1]))
    assert len(rest) == 5 - stop
    for state, expected in zip(rest, whole[stop:]):
        for part, same in zip(state, expected):
            np.testing.assert_array_equal(part, same)


# the estimator


@pytest.fixture(scope="module")
def fitted(digits):
    return small(dtype="float64").fit(digits.train)


def test_network_and_decoder_are_for_inputs_as_they_come(digits):
    """Scaling and axes are folded into the first layer and into the decoder: Eq. (8)."""
    X, rng = digits.train.T.astype(float), np.random.default_rng(0)
    estimator = small()
    Z = estimator._prepare(X)
    np.testing.assert_allclose(Z, estimator.axes_ @ (X - estimator.shift_), atol=1e-9)
    sizes = estimator._sizes(len(Z))
    B = rng.choice([-1.0, 1.0], size=(8, X.shape[1]))
    theta = rng.normal(size=sum(b * (a + 1) for a, b in pairwise(sizes)))
    W, c = ridge_decoder(Z, B, 0.1)
    H = estimator._outputs(theta, Z)
    vars(estimator).update(estimator._network(State(theta, W, c, H, B)))
    np.testing.assert_allclose(estimator._project(X), H, atol=1e-8)
    pictures = estimator.decoder_W_ @ B + estimator.decoder_c_
    turned = estimator.axes_ @ (pictures - estimator.shift_)
    np.testing.assert_allclose(turned, W @ B + c, atol=1e-9)
    estimator.n_features_in_ = len(X)  # and back, where training goes on
    np.testing.assert_allclose(estimator._theta(estimator), theta, atol=1e-8)


def test_the_decoder_that_is_kept_reconstructs(fitted, digits):
    X = digits.train.T
    pictures = fitted.decoder_W_ @ fitted.codes_.T + fitted.decoder_c_
    assert np.sum((X - pictures) ** 2) < 0.8 * np.sum((X - X.mean(axis=1, keepdims=True)) ** 2)


def test_history(digits, fitted):
    for t, entry in enumerate(fitted.history_):
        assert entry["round"] == t and entry["samples"] == 1313
        assert entry["objective"] == pytest.approx(sum(entry[name] for name in TERMS))
        assert 0 <= entry["score"] <= 1 and entry["seconds"] > 0
        assert ("flips" in entry) == (t > 0)
    scores = [entry["score"] for entry in fitted.history_]
    assert fitted.best_ == np.argmax(scores)


def test_codes_are_those_of_training_and_of_the_network_for_the_rest(digits, fitted):
    assert fitted.codes_.shape == (len(digits.train), 8) and fitted.codes_.dtype == np.int8
    same = np.mean(fitted.codes_ == fitted.transform(digits.train))
    assert 0.8 < same < 1


def test_start_goes_on_where_another_training_has_ended(digits):
    options = {"dtype": "float64", "n_validation": 0, "patience": 99}
    first = small(**options).fit(digits.train)
    more = small(**options).fit(digits.train, start=first)
    assert more.history_[0]["objective"] < first.history_[0]["objective"]
    assert more.history_[-1]["objective"] < first.history_[-1]["objective"]
    with pytest.raises(ValueError, match="start"):
        UHBDNN(9).fit(digits.train, start=first)


def test_weights_that_do_not_fit_the_data_are_told(digits):
    with pytest.warns(UserWarning, match="equality"):
        small(lambda2=100.0, max_iter=2).fit(digits.train)


@pytest.mark.parametrize("X", [np.ones((40, 3)), np.eye(9), np.arange(40.0)[:, None]])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_small_and_constant_data(X):
    codes = small().fit(X).transform(X)
    assert codes.shape == (len(X), 8) and set(np.unique(codes)) <= {-1, 1}


@pytest.mark.rounding
def test_units_of_the_input_do_not_matter(digits):
    codes = small(dtype="float64").fit(digits.train).transform(digits.query)
    scaled = small(dtype="float64").fit(1e4 * digits.train).transform(1e4 * digits.query)
    assert np.mean(codes == scaled) > 0.99


@pytest.mark.rounding
@pytest.mark.slow
def test_retrieval_is_near_that_of_itq(digits):
    """On 1,500 digits no method is far ahead: this finds faults, not merits."""

    def precision(method):
        codes = method.fit(digits.train).transform
        return precision_at_radius(codes(digits.query), codes(digits.database), digits.relevant)

    itq, ours = precision(ITQ(16)), precision(UHBDNN(16, max_alternations=5))
    assert ours > 0.85 * itq


@pytest.mark.parametrize("share", [1e-6, 1.0])
def test_small_weights_train_the_network_all_the_same(share):
    """The encoder's objective times a number has the same minima, whatever a tolerance says."""
    X, sizes = np.random.default_rng(0).normal(size=(6, 40)), (6, 4, 3, 2)
    B = np.where(X[:2] > 0, 1.0, -1.0)
    lambdas = [share * weight for weight in (1e-5, 5e-2, 1e-2, 1e-6)]
    theta = flatten(*initial_weights(X, sizes, np.random.default_rng(0)))
    first = next(uh_bdnn.uh_bdnn(X, B, theta, sizes, lambdas, max_iter=60))
    J = [encoder_objective(found, X, B, sizes, lambdas)[0] for found in (theta, first.theta)]
    assert J[1] < J[0] / 5
