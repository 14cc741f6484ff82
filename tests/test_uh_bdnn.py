"""bdnn.uh_bdnn: the closed-form decoder, the objective, the alternation, the estimator."""

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize
from sklearn.base import clone
from sklearn.linear_model import Ridge

from bdnn import base, lbfgs, losses
from bdnn import uh_bdnn as unsupervised
from bdnn.hashing import StoppedEarly, whole_training
from bdnn.metrics import sgn
from bdnn.data import load
from bdnn.network import (
    Workspace,
    backward,
    flatten,
    forward,
    gradient_error,
    initial_weights,
    unflatten,
)
from bdnn.uh_bdnn import (
    UHBDNN,
    EncoderObjective,
    Validation,
    best_codes,
    encoder_terms,
    in_scaled_variables,
    initial_codes,
    joint_objective,
    principal_axes,
    ridge_decoder,
    total_moments,
    variable_scales,
    weighted_terms,
)

LAMBDAS = (1e-3, 5e-2, 1e-2, 1e-4)


def random_problem(seed):
    """Small samples, codes, layers and parameters of random sizes."""
    rng = np.random.default_rng(seed)
    D, h1, h2, L, m = rng.integers([3, 2, 2, 1, 5], [9, 7, 6, 5, 20])
    X = rng.normal(size=(D, m))
    B = sgn(rng.normal(size=(L, m))).astype(float)
    sizes = (D, h1, h2, L)
    Ws = [rng.normal(size=(b, a)) for a, b in zip(sizes, sizes[1:])]
    theta = flatten(Ws, [rng.normal(size=(len(W), 1)) for W in Ws])
    return X, B, sizes, theta, rng


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def small(**options):
    """An estimator that trains in a moment."""
    return UHBDNN(n_bits=8, **{"max_alternations": 3, "max_iter": 20} | options)


@pytest.fixture(scope="module")
def fitted(digits):
    return small(dtype="float64").fit(digits.train)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("code_layer", ["identity", "tanh"])
def test_gradient_of_the_encoder(seed, code_layer):
    X, B, sizes, theta, _ = random_problem(seed)
    activations = ("sigmoid", "sigmoid", code_layer)
    objective = EncoderObjective(X, B, sizes, LAMBDAS, activations)
    assert gradient_error(objective, theta) < 1e-7


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_encoder_objective_is_the_sum_of_the_losses(seed, dtype, monkeypatch):
    X, B, sizes, theta, _ = random_problem(seed)
    X, B, theta = (array.astype(dtype) for array in (X, B, theta))
    monkeypatch.setattr(Workspace.__init__, "__defaults__", (None, 4))  # blocks of 4 samples
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X)
    terms = [losses.equality(Hs[-1], B), losses.independence(Hs[-1]), losses.balance(Hs[-1])]
    decay, dWs_decay = losses.weight_decay(Ws)
    plain = LAMBDAS[0] * decay + sum(a * value for a, (value, _) in zip(LAMBDAS[1:], terms))
    dH = sum(a * gradient for a, (_, gradient) in zip(LAMBDAS[1:], terms))
    dWs, dcs = backward(Ws, Hs, dH.astype(dtype))
    slope = flatten([dW + LAMBDAS[0] * d for dW, d in zip(dWs, dWs_decay)], dcs)
    J, gradient = EncoderObjective(X, B, sizes, LAMBDAS)(theta)
    eps = 100 * float(np.finfo(dtype).eps)
    assert gradient.dtype == dtype and J == pytest.approx(plain, rel=eps)
    np.testing.assert_allclose(gradient, slope, rtol=eps, atol=eps * np.abs(slope).max())


@pytest.mark.parametrize("seed", range(4))
def test_samples_in_several_places_have_the_objective_of_all(seed):
    X, B, sizes, theta, _ = random_problem(seed)
    Ws, cs = unflatten(theta, sizes)
    parts = [EncoderObjective(X[:, k], B[:, k], sizes, LAMBDAS) for k in np.s_[:2, 2:3, 3:]]
    J, slope = encoder_terms(total_moments([p.moments(Ws, cs) for p in parts]), LAMBDAS)
    gradients = [flatten(*p.gradient(Ws, slope)) for p in parts]
    whole, gradient = EncoderObjective(X, B, sizes, LAMBDAS)(theta)
    assert J + LAMBDAS[0] * losses.weight_decay(Ws)[0] == pytest.approx(whole)
    decay = flatten([LAMBDAS[0] * W for W in Ws], [0 * c for c in cs])
    np.testing.assert_allclose(sum(gradients) + decay, gradient, atol=1e-12)


def test_encoder_objective_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"X \(3, 5\) and B \(2, 4\) do not fit"):
        EncoderObjective(np.ones((3, 5)), np.ones((2, 4)), (3, 4, 2), LAMBDAS)


@pytest.mark.parametrize("seed", range(8))
def test_gradient_of_the_whole_objective(seed):
    X, B, sizes, theta, rng = random_problem(seed)
    whole = np.concatenate([theta, rng.normal(size=sizes[0] * (sizes[-1] + 1))])
    encoder = EncoderObjective(X, B, sizes, LAMBDAS)
    assert gradient_error(lambda theta: joint_objective(theta, encoder, X, B), whole) < 1e-7


@pytest.mark.parametrize("seed", range(4))
def test_whole_objective_is_the_sum_of_its_terms(seed):
    X, B, sizes, theta, rng = random_problem(seed)
    W, c = rng.normal(size=(sizes[0], sizes[-1])), rng.normal(size=(sizes[0], 1))
    Ws, cs = unflatten(theta, sizes)
    H = forward(Ws, cs, X)[-1]
    terms = weighted_terms(X, B, H, Ws, W, c, LAMBDAS)
    whole = np.concatenate([theta, W.ravel(), c.ravel()])
    encoder = EncoderObjective(X, B, sizes, LAMBDAS)
    assert joint_objective(whole, encoder, X, B)[0] == pytest.approx(terms["objective"])
    m = X.shape[1]
    by_hand = (
        np.sum((X - W @ B - c) ** 2) / (2 * m)
        + LAMBDAS[0] / 2 * sum(np.sum(A**2) for A in [*Ws, W])
        + LAMBDAS[1] / (2 * m) * np.sum((H - B) ** 2)
        + LAMBDAS[2] / 2 * np.sum((H @ H.T / m - np.eye(len(H))) ** 2)
        + LAMBDAS[3] / (2 * m) * np.sum(H.sum(axis=1) ** 2)
    )
    assert terms["objective"] == pytest.approx(by_hand)


@pytest.mark.parametrize("seed", range(5))
def test_ridge_decoder_against_scikit_learn(seed):
    X, B, _, _, _ = random_problem(seed)
    lambda1 = 0.03
    W, c = ridge_decoder(X, B, lambda1)
    ridge = Ridge(alpha=lambda1 * X.shape[1]).fit(B.T, X.T)
    np.testing.assert_allclose(W, ridge.coef_.reshape(W.shape), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(c[:, 0], ridge.intercept_, rtol=1e-9, atol=1e-12)


def test_ridge_decoder_without_decay_and_with_a_constant_bit():
    X = np.random.default_rng(0).normal(size=(3, 12))
    B = np.ones((2, 12))
    W, c = ridge_decoder(X, B, 0.0)
    np.testing.assert_allclose(W, 0, atol=1e-12)
    np.testing.assert_allclose(c, X.mean(axis=1, keepdims=True))


def test_joint_lbfgs_ends_where_the_closed_form_is():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(6, 80))
    B = initial_codes(X, 3, rng)
    sizes = (6, 5, 4, 3)
    theta = flatten(*initial_weights(X, sizes, rng))
    W, c = ridge_decoder(X, B, LAMBDAS[0])
    start = np.concatenate([theta, np.eye(6, 3).ravel(), np.zeros(6)])
    encoder = EncoderObjective(X, B, sizes, LAMBDAS)
    found = lbfgs.minimize(
        lambda theta: joint_objective(theta, encoder, X, B),
        start,
        max_iter=3000,
        gtol=1e-9,
        ftol=0,
    )
    decoder = found.x[len(theta) :]
    np.testing.assert_allclose(decoder, np.concatenate([W.ravel(), c.ravel()]), atol=1e-6)


def test_encoder_step_agrees_with_scipy():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(6, 60))
    B = initial_codes(X, 3, rng)
    sizes = (6, 5, 4, 3)
    theta = flatten(*initial_weights(X, sizes, rng))
    objective = EncoderObjective(X, B, sizes, LAMBDAS)
    ours = lbfgs.minimize(objective, theta, max_iter=5000, gtol=1e-8, ftol=0)
    options = {"maxiter": 5000, "maxfun": 10**5, "gtol": 1e-8, "ftol": 0}
    scipys = scipy_minimize(objective, theta, jac=True, method="L-BFGS-B", options=options)
    assert np.abs(ours.jac).max() < 1e-5
    assert ours.fun == pytest.approx(scipys.fun, rel=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_principal_axes(seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(6, 4)) @ rng.normal(size=(4, 50))
    P, e = principal_axes(X)
    assert P.shape == (6, 4) and np.all(np.diff(e) <= 0)
    np.testing.assert_allclose(P.T @ P, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(P @ P.T @ X, X, atol=1e-8)
    np.testing.assert_allclose((P.T @ X) @ (P.T @ X).T / 50, np.diag(e), atol=1e-8)


def test_energy_keeps_as_few_axes_as_hold_it():
    X = np.diag([8.0, 4.0, 2.0, 1.0]) @ np.eye(4)
    shares = np.cumsum([64, 16, 4, 1]) / 85
    for r, share in enumerate(shares, start=1):
        assert principal_axes(X, share - 1e-9)[0].shape == (4, r)
    assert principal_axes(np.zeros((3, 5)))[0].shape == (3, 1)


@pytest.mark.parametrize("seed", range(3))
def test_rotation_and_scaling_leave_the_objective_as_it_is(seed):
    X, B, sizes, theta, _ = random_problem(seed)
    P, e = principal_axes(X)
    Ws, cs = unflatten(theta, sizes)
    Ws[0] = Ws[0] @ P @ P.T  # weights outside the span of the samples only add decay
    rotated = flatten([Ws[0] @ P, *Ws[1:]], cs)
    scales = variable_scales(e, (len(e), *sizes[1:]))
    objective = EncoderObjective(P.T @ X, B, (len(e), *sizes[1:]), LAMBDAS)
    plain = EncoderObjective(X, B, sizes, LAMBDAS)(flatten(Ws, cs))[0]
    assert objective(rotated)[0] == pytest.approx(plain)
    scaled = in_scaled_variables(objective, scales)
    assert scaled(rotated / scales)[0] == pytest.approx(plain)
    assert gradient_error(scaled, rotated / scales) < 1e-7


def test_scaled_inputs_have_equal_size_along_strong_axes():
    X = np.diag([100.0, 10.0, 1.0]) @ np.random.default_rng(0).normal(size=(3, 500))
    P, e = principal_axes(X)
    s = variable_scales(e, (3, 2, 2))[:3]
    size = s * np.sqrt(e)
    assert size[0] == pytest.approx(size[1], rel=0.05) and size[2] < size[1]


@pytest.mark.parametrize("seed", range(5))
def test_best_codes_are_the_best_for_each_sample(seed):
    rng = np.random.default_rng(seed)
    D, L, m, lambda2 = 4, 6, 80, 0.3
    X, W, H = rng.normal(size=(D, m)), rng.normal(size=(D, L)), rng.normal(size=(L, m))
    c, B = rng.normal(size=(D, 1)), sgn(rng.normal(size=(L, m))).astype(float)

    def cost(B):
        return np.sum((X - W @ B - c) ** 2, axis=0) + lambda2 * np.sum((H - B) ** 2, axis=0)

    single = [best_codes(X, W, c, H, lambda2, B, [s]) for s in ("warm", "zero", "sign")]
    best = best_codes(X, W, c, H, lambda2, B, ["warm", "zero", "sign"])
    np.testing.assert_allclose(cost(best), np.min([cost(codes) for codes in single], axis=0))
    assert np.all(cost(best) <= cost(B) + 1e-9)
    assert cost(best).sum() < cost(single[0]).sum()


@pytest.mark.parametrize("kind", ["itq", "random"])
def test_initial_codes_are_codes(kind):
    X = np.random.default_rng(0).normal(size=(5, 40)).astype(np.float32)
    B = initial_codes(X, 3, np.random.default_rng(1), kind)
    assert B.shape == (3, 40) and B.dtype == np.float32 and np.all(np.abs(B) == 1)
    assert np.all(np.abs(B.mean(axis=1)) < 0.9)


@pytest.mark.parametrize("criterion", ["precision", "map"])
def test_validation_of_perfect_and_of_constant_codes(criterion):
    rng = np.random.default_rng(0)
    corners = sgn(rng.normal(size=(6, 12))).astype(float)
    X = np.repeat(corners, 10, axis=1) + 0.01 * rng.normal(size=(6, 120))
    validation = Validation(X[:, ::4], X, 10, criterion)
    codes = np.tile(corners, (3, 1))  # distances are multiples of 3: balls of radius 2 are pure
    H = np.repeat(codes, 10, axis=1)
    assert validation.score(H[:, ::4], H) > 0.99
    assert validation.score(np.ones((6, 30)), np.ones((6, 120))) < 0.5


@pytest.mark.parametrize("dcc_start", ["best", "warm"])
def test_objective_never_rises(digits, dcc_start):
    options = {"dtype": "float64", "n_validation": 0, "max_alternations": 6}
    estimator = small(dcc_start=dcc_start, **options).fit(digits.train)
    objective = [entry["objective"] for entry in estimator.history_]
    assert len(objective) == 7
    assert np.all(np.diff(objective) <= 1e-9)


def test_history_names_every_term(fitted):
    for t, entry in enumerate(fitted.history_):
        parts = ("reconstruction", "weight_decay", "equality", "independence", "balance")
        assert entry["objective"] == pytest.approx(sum(entry[part] for part in parts))
        assert entry["alternation"] == t and 0 <= entry["flips"] <= 1 and entry["seconds"] > 0
    assert fitted.history_[0]["flips"] == 0


def test_best_state_is_kept(fitted):
    scores = [entry["score"] for entry in fitted.history_]
    assert fitted.best_ == int(np.argmax(scores))


def test_patience(digits, monkeypatch):
    scores = iter([0.5, 0.4, 0.3, 0.2, 0.1])
    monkeypatch.setattr(Validation, "score", lambda self, H_queries, H: next(scores))
    estimator = small(max_alternations=4, patience=2).fit(digits.train)
    assert len(estimator.history_) == 3 and estimator.best_ == 0


def test_the_best_of_several_starts_is_taken():
    X = np.random.default_rng(0).normal(size=(8, 300))
    X[:3] *= 3

    def loss(B):
        return losses.reconstruction(X, B, *ridge_decoder(X, B, 1e-5))[0]

    rng = np.random.default_rng(1)
    single = [loss(initial_codes(X, 4, rng)) for _ in range(6)]
    best = loss(initial_codes(X, 4, np.random.default_rng(1), n_init=6))
    assert best == pytest.approx(min(single)) and min(single) < max(single)


def test_same_seed_same_codes(digits):
    first, second = (small(random_state=3).fit(digits.train) for _ in range(2))
    np.testing.assert_array_equal(first.codes_, second.codes_)
    np.testing.assert_array_equal(first.transform(digits.query), second.transform(digits.query))
    other = small(random_state=4).fit(digits.train)
    assert np.any(other.codes_ != first.codes_)


@pytest.mark.parametrize(
    "options",
    [
        {"decoder": "joint"},
        {"dcc_start": "zero"},
        {"dcc_start": "warm"},
        {"conditioning": "none"},
        {"energy": 1.0},
        {"criterion": "map"},
        {"n_validation": 0},
        {"n_init": 2},
        {"init": "random"},
        {"code_activation": "tanh"},
        {"hidden": (12, 10)},
        {"hidden": (12,)},
        {"max_alternations": 0},
        {"dtype": "float64"},
        {"lambda1": 0, "lambda2": 0, "lambda3": 0, "lambda4": 0},
    ],
)
def test_options_train_and_encode(digits, options):
    estimator = small(**options).fit(digits.train)
    codes = estimator.transform(digits.query)
    assert codes.shape == (len(digits.query), 8) and set(np.unique(codes)) <= {-1, 1}
    assert np.all(np.isfinite(estimator.decision_function(digits.query)))
    assert clone(estimator).get_params() == estimator.get_params()


def test_joint_decoder_learns_much_the_same_codes(digits):
    ridge = small(dtype="float64", max_iter=150, max_alternations=0).fit(digits.train)
    joint = small(dtype="float64", max_iter=150, max_alternations=0, decoder="joint").fit(
        digits.train
    )
    terms = [estimator.history_[0]["reconstruction"] for estimator in (ridge, joint)]
    assert terms[1] == pytest.approx(terms[0], rel=1e-2)
    assert terms[1] >= terms[0] * (1 - 1e-9)


def test_learns_better_codes_than_its_start(digits):
    """The reconstruction falls below that of ITQ's codes, and the encoder follows the codes."""
    estimator = small(dtype="float64", max_iter=100, max_alternations=5, n_validation=0).fit(
        digits.train
    )
    first, last = estimator.history_[0], estimator.history_[-1]
    assert last["reconstruction"] < 0.99 * first["reconstruction"]
    assert np.mean(estimator.transform(digits.train) == estimator.codes_) > 0.9


def test_interruption_keeps_the_best_state(digits, monkeypatch):
    calls = iter(range(100))

    def score(self, H_queries, H):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return 0.1

    monkeypatch.setattr(Validation, "score", score)
    with pytest.warns(
        UserWarning, match="interrupted after 2 alternations: the best of them, 0, is kept"
    ):
        estimator = small().fit(digits.train)
    assert estimator.transform(digits.query).shape == (len(digits.query), 8)
    calls = iter(range(100))
    with pytest.raises(KeyboardInterrupt), whole_training():
        small().fit(digits.train)


@pytest.mark.parametrize("at", [0, 2])
def test_an_interruption_while_the_progress_is_shown_finds_a_whole_state(digits, monkeypatch, at):
    calls = iter(range(100))

    def set_postfix(self, **shown):
        if next(calls) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(base.ProgressBar, "set_postfix", set_postfix)
    options = {"n_validation": 0, "patience": 9}
    with pytest.warns(StoppedEarly, match=f"interrupted after {at + 1} alternations"):
        estimator = small(**options).fit(digits.train)
    monkeypatch.undo()
    same = small(**options, max_alternations=at).fit(digits.train)
    assert len(estimator.history_) == at + 1 and estimator.best_ == same.best_
    np.testing.assert_array_equal(estimator.codes_, same.codes_)
    np.testing.assert_array_equal(
        estimator.decision_function(digits.query), same.decision_function(digits.query)
    )


def test_interruption_before_there_is_anything_to_keep(digits, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(unsupervised, "minimize", interrupt)
    with pytest.raises(KeyboardInterrupt):
        small().fit(digits.train)


def test_a_start_goes_on_where_the_earlier_training_ended(digits):
    again = small(dtype="float64", n_validation=0, patience=9)
    first = small(dtype="float64", n_validation=0, patience=9).fit(digits.train)
    again.fit(digits.train, start=first)
    assert again.history_[0]["objective"] <= first.history_[first.best_]["objective"] + 1e-9
    assert again.history_[-1]["objective"] < first.history_[-1]["objective"]
    unlike = small(dtype="float64", random_state=1).fit(digits.train)
    assert np.mean(again.codes_ == first.codes_) > 0.9 > np.mean(unlike.codes_ == first.codes_)
    with pytest.raises(ValueError, match="start has units and samples"):
        small().fit(digits.train[:-1], start=first)
    with pytest.raises(ValueError, match="start has units and samples"):
        UHBDNN(n_bits=9).fit(digits.train, start=first)


def test_the_callback_hears_every_step_and_can_end_the_training(digits):
    shares = []
    small().fit(digits.train, callback=shares.append)
    assert len(shares) > 20 and shares == sorted(shares) and 0 < shares[0] < shares[-1] <= 1

    def stop(share):
        if share >= 0.5:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        small().fit(digits.train, callback=stop)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lambda2": -1}, "lambda2 must be a finite number"),
        ({"lambda3": np.nan}, "lambda3 must be a finite number"),
        ({"max_iter": 0}, "max_iter must be a whole number of at least 1"),
        ({"max_alternations": -1}, "max_alternations must be a whole number of at least 0"),
        ({"cycles": 2.5}, "cycles must be a whole number"),
        ({"patience": 0}, "patience must be a whole number"),
        ({"hidden": (5, 0)}, "every entry of hidden"),
        ({"dcc_start": "cold"}, "dcc_start='cold' is not known; choose one of 'best', 'warm'"),
        ({"conditioning": "pca"}, "conditioning='pca' is not known"),
        ({"criterion": "recall"}, "criterion='recall' is not known"),
        ({"energy": 0}, r"energy must lie in \(0, 1\]"),
        ({"energy": 1.5}, r"energy must lie in \(0, 1\]"),
        ({"energy": "all"}, "energy must be a finite number"),
        ({"init": "pca"}, "init='pca' is not known"),
        ({"decoder": "svm"}, "decoder='svm' is not known"),
        ({"code_activation": "relu"}, "code_activation='relu' is not known"),
    ],
)
def test_bad_parameters(digits, options, message):
    with pytest.raises(ValueError, match=message):
        small(**options).fit(digits.train)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_of_the_input_do_not_matter(digits, scale):
    codes = small(dtype="float64").fit(digits.train).transform(digits.query)
    scaled = small(dtype="float64").fit(digits.train * scale).transform(digits.query * scale)
    assert np.mean(codes == scaled) > 0.99


def test_constant_and_few_features():
    X = np.random.default_rng(0).normal(size=(40, 3))
    X[:, 1] = 5
    assert small().fit(X).transform(X).shape == (40, 8)
    assert small().fit(np.ones((40, 3))).transform(X).shape == (40, 8)


def test_terms_are_those_of_the_losses(digits):
    fitted = small(dtype="float64", n_validation=0).fit(digits.train)
    X = (digits.train.T - fitted.shift_) / fitted.scale_
    B = fitted.codes_.T.astype(float)
    value, _ = losses.reconstruction(X, B, fitted.decoder_W_, fitted.decoder_c_)
    assert fitted.history_[fitted.best_]["reconstruction"] == pytest.approx(value, rel=1e-6)


def test_codes_of_samples_held_out_are_as_good_as_the_others(digits, fitted):
    """Every code is a local optimum of its own sample for the final network."""
    X = (digits.train.T - fitted.shift_) / fitted.scale_
    H, B = fitted.decision_function(digits.train).T, fitted.codes_.T.astype(float)
    assert B.shape == (8, len(digits.train))

    def cost(B):
        R = X - fitted.decoder_W_ @ B - fitted.decoder_c_
        return np.sum(R**2, axis=0) + fitted.lambda2 * np.sum((H - B) ** 2, axis=0)

    chosen = np.random.default_rng(0).permutation(len(digits.train))[: len(digits.train) // 8]
    for k in range(8):
        flipped = B.copy()
        flipped[k] *= -1
        assert np.all(cost(B)[chosen] <= cost(flipped)[chosen] + 1e-9)
