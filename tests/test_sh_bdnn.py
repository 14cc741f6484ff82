"""bdnn.sh_bdnn: the objective, the floor of the similarity, class codes, the rotation, SHBDNN."""

from itertools import islice

import numpy as np
import pytest

from bdnn import lbfgs, losses, metrics
from bdnn.data import load
from bdnn.metrics import sgn
from bdnn.network import flatten, forward, gradient_error, unflatten
from bdnn.sh_bdnn import (
    SAMPLE_LENGTH,
    SHBDNN,
    State,
    class_codes,
    class_vectors,
    sh_bdnn,
    supervised_objective,
    supervised_terms,
    turn_to_codes,
)

LAMBDAS = (0.01, 5.0, 1.0, 0.3)


def random_problem(seed):
    """Small samples, codes, labels, layers and parameters of random sizes."""
    rng = np.random.default_rng(seed)
    D, h1, h2, L, m = rng.integers([3, 2, 2, 1, 6], [9, 7, 6, 5, 20])
    X, y = rng.normal(size=(D, m)), rng.integers(0, 3, m)
    sizes = (D, h1, h2, L)
    Ws = [rng.normal(size=(b, a)) for a, b in zip(sizes, sizes[1:])]
    theta = flatten(Ws, [rng.normal(size=(len(W), 1)) for W in Ws])
    return theta, X, sgn(rng.normal(size=(L, m))), y, sizes


@pytest.fixture(scope="module")
def digits():
    return load("digits", ground_truth="labels")


def small(**options):
    """An estimator that trains in a moment."""
    return SHBDNN(n_bits=8, **{"max_alternations": 3, "max_iter": 20} | options)


@pytest.mark.parametrize("seed", range(10))
def test_gradient(seed):
    theta, *problem = random_problem(seed)
    assert gradient_error(lambda t: supervised_objective(t, *problem, LAMBDAS), theta) < 1e-7


@pytest.mark.parametrize("seed", range(5))
def test_objective_is_the_sum_of_its_terms_written_with_the_matrix_of_pairs(seed):
    theta, X, B, y, sizes = random_problem(seed)
    Ws, cs = unflatten(theta, sizes)
    H, m = forward(Ws, cs, X)[-1], X.shape[1]
    S = np.where(y[:, None] == y, 1, -1)
    by_hand = {
        "similarity": np.sum((H.T @ H / len(H) - S) ** 2) / (2 * m),
        "weight_decay": LAMBDAS[0] / 2 * sum(np.sum(W**2) for W in Ws),
        "equality": LAMBDAS[1] / (2 * m) * np.sum((H - B) ** 2),
        "independence": LAMBDAS[2] / 2 * np.sum((H @ H.T / m - np.eye(len(H))) ** 2),
        "balance": LAMBDAS[3] / (2 * m) * np.sum(H.sum(axis=1) ** 2),
    }
    assert supervised_terms(y, State(theta, H, B), sizes, LAMBDAS) == pytest.approx(by_hand)
    J, _ = supervised_objective(theta, X, B, y, sizes, LAMBDAS)
    assert J == pytest.approx(sum(by_hand.values()))


@pytest.mark.parametrize("L", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("counts", [(4, 4, 4, 4), (9, 1, 3, 5), (2, 2), (1, 1, 7), (30, 1)])
def test_class_vectors_stand_on_the_floor(L, counts):
    y = np.repeat(np.arange(len(counts)), counts)
    m = len(y)
    A, floor = class_vectors(counts, L)
    assert A.shape == (L, len(counts))
    assert losses.pairwise_similarity(A[:, y], y)[0] == pytest.approx(floor)
    mu = np.linalg.eigvalsh(np.where(y[:, None] == y, 1.0, -1.0))[::-1]
    nearest = np.clip(mu[:L], 0, None)
    assert floor == pytest.approx((m**2 - np.sum(nearest**2)) / (2 * m))


@pytest.mark.parametrize("L", [1, 3, 6])
def test_no_outputs_have_less_than_the_floor(L):
    y = np.repeat(np.arange(4), (5, 8, 3, 6))
    floor = class_vectors(np.bincount(y), L)[1]

    def similarity(h):
        value, dH = losses.pairwise_similarity(h.reshape(L, -1), y)
        return value, dH.ravel()

    for seed in range(3):
        start = np.random.default_rng(seed).normal(size=L * len(y))
        found = lbfgs.minimize(similarity, start, max_iter=500, ftol=1e-14)
        assert found.fun >= floor * (1 - 1e-9)
    assert found.fun == pytest.approx(floor, rel=1e-4)


def test_floor_of_ten_balanced_classes_and_a_class_without_samples():
    counts = np.full(10, 6000)
    assert class_vectors(counts, 16)[1] == pytest.approx(0.32 * 60000)
    assert class_vectors(counts, 8)[1] == pytest.approx((0.32 + 0.02) * 60000)
    A, floor = class_vectors([5, 0, 4], 3)
    assert floor == pytest.approx(class_vectors([5, 4], 3)[1])
    np.testing.assert_allclose(A[:, 1], 0)


def several_labels(rng, m, n_labels=4, share=0.35):
    """A 0/1 matrix (m, n_labels), and the matrix S of all pairs: +1 where rows share a label."""
    Y = (rng.random((m, n_labels)) < share).astype(int)
    return Y, np.where(Y @ Y.T > 0, 1.0, -1.0)


@pytest.mark.parametrize("L", [1, 3, 8])
@pytest.mark.parametrize("seed", range(5))
def test_vectors_of_sets_of_labels_stand_on_the_floor(L, seed):
    Y, S = several_labels(np.random.default_rng(seed), 40)
    number, T = losses.label_groups(Y)
    A, floor = class_vectors(np.bincount(number), L, T)
    assert losses.pairwise_similarity(A[:, number], Y)[0] == pytest.approx(floor)
    nearest = np.clip(np.linalg.eigvalsh(S)[::-1][:L], 0, None)
    assert floor == pytest.approx((40**2 - np.sum(nearest**2)) / 80)


def test_codes_of_sets_of_labels_against_all_codes():
    """Sets {a}, {b}, {a, b}, three bits: of all codes with {a} and {b} 3 apart the lowest loss."""
    Y = np.repeat([[1, 0], [0, 1], [1, 1]], (3, 5, 4), axis=0)
    number, T = losses.label_groups(Y)
    grid = np.indices((2,) * 9).reshape(9, -1).T.reshape(-1, 3, 3) * 2.0 - 1
    apart = [codes for codes in grid if np.all(codes[:, T[0] == 0] == -codes[:, [0]])]
    best = min(losses.pairwise_similarity(codes[:, number], Y)[0] for codes in apart)
    codes = class_codes(np.bincount(number), 3, np.random.default_rng(0), T=T)
    assert losses.pairwise_similarity(codes[:, number], Y)[0] == pytest.approx(best)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_and_loop_with_several_labels(seed):
    theta, X, B, _, sizes = random_problem(seed)
    Y, _ = several_labels(np.random.default_rng(seed), X.shape[1])
    problem = X, B, Y, sizes, LAMBDAS
    assert gradient_error(lambda t: supervised_objective(t, *problem), theta) < 1e-7
    J = [supervised_objective(theta, *problem)[0]]
    for state in islice(sh_bdnn(X, Y, B, theta, sizes, LAMBDAS, 10), 3):
        J.append(sum(supervised_terms(Y, state, sizes, LAMBDAS).values()))
    assert np.all(np.diff(J) <= 1e-9) and J[-1] < J[0]


@pytest.mark.parametrize("init", ["classes", "itq"])
@pytest.mark.rounding
def test_training_with_several_labels(init):
    """The floor, the score of the validation, and what is found again, by shared labels."""
    rng = np.random.default_rng(0)
    Y, S = several_labels(rng, 400)
    X = Y @ rng.normal(size=(4, 10)) + 0.3 * rng.normal(size=(400, 10))
    model = small(dtype="float64", n_validation=50, init=init).fit(X, Y)
    order = np.random.default_rng(0).permutation(400)
    held, train = order[:50], order[50:]
    mu = np.clip(np.linalg.eigvalsh(S[np.ix_(train, train)])[-8:], 0, None)
    assert model.floor_ == pytest.approx((350**2 - np.sum(mu**2)) / 700)
    assert all(entry["similarity"] >= model.floor_ for entry in model.history_)
    codes, relevant = (model.transform(X[held]), model.codes_[train]), (Y[held], Y[train])
    score = metrics.precision_at_radius(*codes, relevant)
    assert model.history_[model.best_]["score"] == pytest.approx(score, abs=0.01)
    some = Y[held].any(axis=1)  # for a query without a label nothing is relevant
    found = metrics.mean_average_precision(codes[0][some], codes[1], (Y[held][some], Y[train]))
    assert found > np.mean(S[np.ix_(held[some], train)] > 0) + 0.3
    assert list(model.classes_) == [0, 1, 2, 3]


def test_class_codes_of_three_classes_against_all_codes():
    """Three classes, three bits: 512 matrices of codes can all be tried."""
    counts, L = np.array([3, 5, 4]), 3
    y = np.repeat(np.arange(3), counts)

    def loss(codes):
        return losses.pairwise_similarity(codes[:, y], y)[0]

    grid = np.indices((2,) * 9).reshape(9, -1).T * 2.0 - 1
    best = min(loss(codes.reshape(L, 3)) for codes in grid)
    assert loss(class_codes(counts, L, np.random.default_rng(0))) == pytest.approx(best)


@pytest.mark.parametrize("L", [4, 8, 16, 32])
def test_class_codes_tell_the_classes_apart(L):
    codes = class_codes(np.full(10, 50), L, np.random.default_rng(0))
    assert codes.shape == (L, 10) and np.all(np.abs(codes) == 1)
    distances = metrics.hamming_distances(codes.T, codes.T)[np.triu_indices(10, 1)]
    assert distances.min() >= max(1, L // 4)


@pytest.mark.parametrize("seed", range(5))
def test_rotation_is_orthogonal_and_seen_by_the_equality_only(seed):
    rng = np.random.default_rng(seed)
    H, y = rng.normal(size=(5, 60)), rng.integers(0, 3, 60)
    R = turn_to_codes(H)
    np.testing.assert_allclose(R @ R.T, np.eye(5), atol=1e-10)
    assert losses.equality(R @ H, sgn(R @ H))[0] < losses.equality(H, sgn(H))[0]
    for term in (losses.independence, losses.balance, lambda H: losses.pairwise_similarity(H, y)):
        assert term(R @ H)[0] == pytest.approx(term(H)[0])


def test_rotation_finds_codes_that_were_turned_away():
    B = sgn(np.random.default_rng(0).normal(size=(3, 200)))
    Q = np.eye(3)
    Q[:2, :2] = [[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]
    H = turn_to_codes(Q @ B) @ Q @ B
    assert losses.equality(H, sgn(H))[0] < 1e-20


@pytest.mark.parametrize("seed", range(3))
def test_loop_yields_networks_their_outputs_and_signs_and_lowers_the_objective(seed):
    theta, X, B, y, sizes = random_problem(seed)
    start, J = theta.copy(), [supervised_objective(theta, X, B, y, sizes, LAMBDAS)[0]]
    states = list(islice(sh_bdnn(X, y, B, theta, sizes, LAMBDAS, 10), 5))
    np.testing.assert_array_equal(theta, start)
    for state in states:
        np.testing.assert_array_equal(state.H, forward(*unflatten(state.theta, sizes), X)[-1])
        np.testing.assert_array_equal(state.B, sgn(state.H))
        J.append(sum(supervised_terms(y, state, sizes, LAMBDAS).values()))
    assert np.all(np.diff(J) <= 1e-9)


def test_going_on_from_a_state_gives_the_same_states():
    theta, X, B, y, sizes = random_problem(1)
    states = list(islice(sh_bdnn(X, y, B, theta, sizes, LAMBDAS, 5), 4))
    again = sh_bdnn(X, y, states[1].B, states[1].theta, sizes, LAMBDAS, 5)
    for one, other in zip(states[2:], again):
        np.testing.assert_array_equal(one.theta, other.theta)
        np.testing.assert_array_equal(one.B, other.B)


@pytest.mark.parametrize("init", ["classes", "itq"])
@pytest.mark.rounding
def test_history_and_what_is_kept(digits, init):
    rows, y = digits.train, digits.labels.train
    model = small(dtype="float64", n_validation=0, init=init).fit(rows, y)
    parts = ("similarity", "weight_decay", "equality", "independence", "balance")
    for t, entry in enumerate(model.history_):
        assert entry["round"] == t and entry["samples"] == len(rows) and entry["seconds"] > 0
        assert entry["objective"] == pytest.approx(sum(entry[part] for part in parts))
        assert entry["similarity"] >= model.floor_
        assert ("flips" in entry) == (t > 0)
    assert np.all(np.diff([entry["objective"] for entry in model.history_]) <= 1e-9)
    assert model.best_ == len(model.history_) - 1 == 3
    assert model.floor_ == class_vectors(np.bincount(y), 8)[1]
    np.testing.assert_array_equal(model.codes_, model.transform(rows))


@pytest.mark.rounding
def test_folded_network_equals_the_one_that_was_trained(digits):
    rows, y = digits.train, digits.labels.train
    model = small(dtype="float64", n_validation=0).fit(rows, y)
    Z = model.axes_ @ (rows.T - model.shift_)  # what the network saw
    length = np.sqrt(np.mean(np.sum(Z**2, axis=0)))
    assert 0.95 * SAMPLE_LENGTH < length <= SAMPLE_LENGTH * (1 + 1e-9)
    theta = model._theta(model)
    np.testing.assert_allclose(
        model.decision_function(rows).T, model._outputs(theta, Z), rtol=1e-7, atol=1e-7
    )


@pytest.mark.rounding
def test_training_goes_on_from_another_estimator(digits):
    options = {"dtype": "float64", "n_validation": 0, "patience": 9}
    data = digits.train, digits.labels.train
    first = small(**options).fit(*data)
    more = small(**options).fit(*data, start=first)
    assert more.history_[0]["objective"] < first.history_[-1]["objective"]
    with pytest.raises(ValueError, match="start"):
        SHBDNN(16).fit(*data, start=first)


@pytest.mark.rounding
def test_labels_help(digits):
    """Ten classes: by chance the mAP would be about a tenth."""
    model = small().fit(digits.train, digits.labels.train)
    codes = model.transform(digits.query), model.transform(digits.database)
    assert metrics.mean_average_precision(*codes, digits.relevant) > 0.7


def test_what_the_classes_are_called_does_not_matter(digits):
    y = digits.labels.train
    reference = small(max_alternations=1).fit(digits.train, y)
    for names in (y.astype(int) - 5, y.astype(str), y.astype(str).astype(object)):
        other = small(max_alternations=1).fit(digits.train, names)
        np.testing.assert_array_equal(other.codes_, reference.codes_)
        np.testing.assert_array_equal(other.classes_, np.unique(names))


def test_a_class_that_is_held_out_whole():
    """The only sample of class 1 is drawn for the validation; class 0 and 2 are left to learn."""
    X = np.random.default_rng(0).normal(size=(80, 5))
    y = 2 * (np.arange(80) % 2)
    y[np.random.default_rng(0).permutation(80)[0]] = 1
    model = SHBDNN(4, max_alternations=1, max_iter=5, hidden=(4, 4)).fit(X, y)
    assert np.isfinite(model.floor_) and list(model.classes_) == [0, 1, 2]
    assert np.all(np.isfinite(model.decision_function(X)))


@pytest.mark.rounding
def test_each_of_the_first_rounds_on_many_samples_takes_another_part(monkeypatch):
    monkeypatch.setattr("bdnn.sh_bdnn.SAMPLE", 30)
    rng = np.random.default_rng(0)
    y = np.arange(100) % 3
    X = rng.normal(size=(100, 6)) + 3 * rng.normal(size=(3, 6))[y]
    options = {"hidden": (5, 5), "n_validation": 0, "max_alternations": 6, "max_iter": 5}
    model = SHBDNN(4, **options).fit(X, y)
    assert [entry["samples"] for entry in model.history_] == [30] * 4 + [100] * 3
    assert model.best_ >= 4  # scores of few samples are not compared with those of all
    seen = np.array([model._part(t, 100) for t in range(4)])
    np.testing.assert_array_equal(seen[:3].ravel(), np.arange(90))
    np.testing.assert_array_equal(seen[3], seen[0])  # then it begins anew
    rounds = [SHBDNN(4, max_alternations=t)._stages(100) for t in range(3)]
    assert [stages[0][1] for stages in rounds] == [0, 1, 1]  # the last round sees all samples


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20])  # products are rounded alike
@pytest.mark.rounding
def test_units_of_the_input_do_not_matter(digits, scale):
    y, options = digits.labels.train, {"dtype": "float64"}
    codes = small(**options).fit(digits.train, y).transform(digits.query)
    scaled = small(**options).fit(digits.train * scale, y).transform(digits.query * scale)
    assert np.mean(codes == scaled) > 0.99


def test_constant_and_few_features():
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    X[:, 1] = 5
    for rows in (X, np.ones((40, 3))):
        assert small(max_alternations=1).fit(rows, y).transform(X).shape == (40, 8)
