"""bdnn.sh_bdnn: the floor of the similarity, class codes, the turn, the objective, SHBDNN."""

import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone

from bdnn import lbfgs, losses, metrics
from bdnn import sh_bdnn as supervised
from bdnn.hashing import StoppedEarly
from bdnn.metrics import sgn
from bdnn.data import load
from bdnn.network import flatten, gradient_error
from bdnn.sh_bdnn import (
    SAMPLE_LENGTH,
    SHBDNN,
    SupervisedObjective,
    centred_scaling,
    class_codes,
    class_vectors,
    turn_to_codes,
    weighted_supervised_terms,
)

LAMBDAS = (1e-3, 5.0, 1.0, 1e-4)


def random_problem(seed):
    """Small samples, codes, labels, layers and parameters of random sizes."""
    rng = np.random.default_rng(seed)
    D, h1, h2, L, m = rng.integers([3, 2, 2, 1, 6], [9, 7, 6, 5, 20])
    X, y = rng.normal(size=(D, m)), rng.integers(0, 3, m)
    B = sgn(rng.normal(size=(L, m))).astype(float)
    sizes = (D, h1, h2, L)
    Ws = [rng.normal(size=(b, a)) for a, b in zip(sizes, sizes[1:])]
    theta = flatten(Ws, [rng.normal(size=(len(W), 1)) for W in Ws])
    return X, B, y, sizes, theta


@pytest.fixture(scope="module")
def digits():
    return load("digits", ground_truth="labels")


def small(**options):
    """An estimator that trains in a moment."""
    return SHBDNN(n_bits=8, **{"max_alternations": 3, "max_iter": 20} | options)


@pytest.fixture(scope="module")
def fitted(digits):
    return small(dtype="float64").fit(digits.train, digits.labels.train)


@pytest.mark.parametrize("seed", range(10))
def test_gradient(seed):
    X, B, y, sizes, theta = random_problem(seed)
    assert gradient_error(SupervisedObjective(X, B, y, sizes, LAMBDAS), theta) < 1e-7


@pytest.mark.parametrize("seed", range(5))
def test_objective_is_the_sum_of_its_terms_written_with_the_matrix_of_pairs(seed):
    X, B, y, sizes, theta = random_problem(seed)
    Ws, cs = supervised.unflatten(theta, sizes)
    H, m = supervised.forward(Ws, cs, X)[-1], X.shape[1]
    S = np.where(y[:, None] == y, 1, -1)
    by_hand = {
        "similarity": np.sum((H.T @ H / len(H) - S) ** 2) / (2 * m),
        "weight_decay": LAMBDAS[0] / 2 * sum(np.sum(W**2) for W in Ws),
        "equality": LAMBDAS[1] / (2 * m) * np.sum((H - B) ** 2),
        "independence": LAMBDAS[2] / 2 * np.sum((H @ H.T / m - np.eye(len(H))) ** 2),
        "balance": LAMBDAS[3] / (2 * m) * np.sum(H.sum(axis=1) ** 2),
    }
    terms = weighted_supervised_terms(H, B, y, Ws, LAMBDAS)
    value = SupervisedObjective(X, B, y, sizes, LAMBDAS)(theta)[0]
    assert value == pytest.approx(sum(by_hand.values())) == terms.pop("objective")
    assert terms == pytest.approx(by_hand)


@pytest.mark.parametrize("L", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("counts", [(4, 4, 4, 4), (9, 1, 3, 5), (2, 2), (1, 1, 7), (30, 1)])
def test_class_vectors_stand_on_the_floor(L, counts):
    y = np.repeat(np.arange(len(counts)), counts)
    m = len(y)
    V, floor = class_vectors(counts, L)
    assert V.shape == (L, len(counts))
    assert losses.pairwise_similarity(V[:, y], y)[0] == pytest.approx(floor)
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

    for seed in range(5):
        start = np.random.default_rng(seed).normal(size=L * len(y))
        found = lbfgs.minimize(similarity, start, max_iter=500, ftol=1e-14)
        assert found.fun >= floor * (1 - 1e-9)
    assert found.fun == pytest.approx(floor, rel=1e-4)


def test_floor_of_ten_balanced_classes():
    counts = np.full(10, 6000)
    assert class_vectors(counts, 16)[1] == pytest.approx(0.32 * 60000)
    assert class_vectors(counts, 8)[1] == pytest.approx((0.32 + 0.02) * 60000)


@pytest.mark.parametrize("L", [4, 8, 16, 32])
def test_class_codes_tell_the_classes_apart(L):
    codes = class_codes(np.full(10, 50), L, np.random.default_rng(0))
    assert codes.shape == (L, 10) and np.all(np.abs(codes) == 1)
    distances = metrics.hamming_distances(codes.T, codes.T)[np.triu_indices(10, 1)]
    assert distances.min() >= max(1, L // 4)


def test_class_codes_are_the_best_of_those_tried():
    counts = np.array([30, 10, 20, 40, 25])
    y = np.repeat(np.arange(5), counts)

    def loss(n_init):
        codes = class_codes(counts, 6, np.random.default_rng(3), n_init)
        return losses.pairwise_similarity(codes[:, y], y)[0]

    values = [loss(n) for n in (1, 2, 5, 20)]
    assert values == sorted(values, reverse=True) and values[-1] < values[0]


def test_class_codes_for_more_classes_than_codes():
    codes = class_codes(np.full(9, 3), 2, np.random.default_rng(0))
    assert codes.shape == (2, 9)


@pytest.mark.parametrize("seed", range(5))
def test_turn_is_orthogonal_and_sees_the_equality_only(seed):
    rng = np.random.default_rng(seed)
    H, y = rng.normal(size=(5, 60)), rng.integers(0, 3, 60)
    R = turn_to_codes(H)
    np.testing.assert_allclose(R @ R.T, np.eye(5), atol=1e-10)
    before, after = losses.equality(H, sgn(H))[0], losses.equality(R @ H, sgn(R @ H))[0]
    assert after < before
    for term in (losses.independence, losses.balance, lambda H: losses.pairwise_similarity(H, y)):
        assert term(R @ H)[0] == pytest.approx(term(H)[0])


def test_turn_finds_codes_that_were_turned_away():
    B = sgn(np.random.default_rng(0).normal(size=(3, 200))).astype(float)
    angle = 0.5
    Q = np.eye(3)
    Q[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    H = Q @ B
    assert losses.equality(turn_to_codes(H) @ H, sgn(turn_to_codes(H) @ H))[0] < 1e-20


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_centred_scaling(dtype):
    X = (5 + np.random.default_rng(0).normal(size=(4, 50)) * [[1], [2], [3], [0]]).astype(dtype)
    mean, scale = centred_scaling(X)
    Z = (X - mean) / scale
    assert Z.dtype == dtype
    np.testing.assert_allclose(Z.mean(axis=1), 0, atol=1e-5)
    assert np.mean(np.sum(Z**2, axis=0)) == pytest.approx(SAMPLE_LENGTH**2, rel=1e-4)
    assert centred_scaling(np.full((3, 5), 7.0))[1] == 1


@pytest.mark.parametrize("init", ["classes", "itq"])
def test_objective_never_rises(digits, init):
    options = {"dtype": "float64", "n_validation": 0, "max_alternations": 6, "init": init}
    estimator = small(**options).fit(digits.train, digits.labels.train)
    objective = [entry["objective"] for entry in estimator.history_]
    assert len(objective) == 7
    assert np.all(np.diff(objective) <= 1e-9)


def test_history(fitted, digits):
    parts = ("similarity", "weight_decay", "equality", "independence", "balance")
    for t, entry in enumerate(fitted.history_):
        assert entry["objective"] == pytest.approx(sum(entry[part] for part in parts))
        assert entry["alternation"] == t and 0 <= entry["flips"] <= 1 and entry["seconds"] > 0
        assert entry["similarity"] >= fitted.floor_
    assert fitted.best_ == int(np.argmax([entry["score"] for entry in fitted.history_]))
    assert fitted.n_iter_ > sum(entry["n_iter"] for entry in fitted.history_)


def test_labels_help(fitted, digits):
    """Ten classes: by chance the mAP would be about a tenth."""
    codes = fitted.transform(digits.query), fitted.transform(digits.database)
    assert metrics.mean_average_precision(*codes, digits.relevant) > 0.7


def test_codes_are_those_of_the_network(fitted, digits):
    np.testing.assert_array_equal(fitted.codes_, fitted.transform(digits.train))


@pytest.mark.parametrize("kind", [str, float, bool, object])
def test_labels_of_any_type(digits, kind):
    y = digits.labels.train % 2 if kind is bool else digits.labels.train
    reference = small().fit(digits.train, y)
    other = small().fit(
        digits.train, y.astype(str).astype(object) if kind is object else y.astype(kind)
    )
    np.testing.assert_array_equal(other.codes_, reference.codes_)
    assert len(other.classes_) == len(np.unique(y))


def test_what_the_classes_are_called_does_not_matter(digits):
    y = digits.labels.train
    negative = small().fit(digits.train, y.astype(int) - 5)
    np.testing.assert_array_equal(negative.codes_, small().fit(digits.train, y).codes_)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (lambda y: np.zeros(len(y)), "y holds one class only, 0.0"),
        (
            lambda y: np.array([None, *y[1:]], dtype=object),
            "no label in 1 rows, the first .* row 0",
        ),
        (lambda y: np.where(np.arange(len(y)) == 3, np.nan, y), "contains NaN"),
        (lambda y: y + 0.5, "Unknown label type: continuous"),
        (lambda y: y[:-1], "inconsistent numbers of samples"),
        (lambda y: None, "requires y to be passed"),
    ],
)
def test_bad_labels(digits, labels, message):
    with pytest.raises(ValueError, match=message):
        small().fit(digits.train, labels(digits.labels.train))


def test_a_class_with_one_sample(digits):
    y = digits.labels.train.astype(int)
    y[7] = 99
    assert small().fit(digits.train, y).codes_.shape == (len(y), 8)


def test_a_class_that_is_held_out_whole():
    """The only sample of class 1 is drawn for the validation; class 0 and 2 are left to learn."""
    X = np.random.default_rng(0).normal(size=(80, 5))
    held_out = np.random.default_rng(0).permutation(80)[:10]
    y = 2 * (np.arange(80) % 2)
    y[held_out[0]] = 1
    estimator = SHBDNN(4, max_alternations=1, max_iter=5, hidden=(4, 4)).fit(X, y)
    assert np.isfinite(estimator.floor_) and list(estimator.classes_) == [0, 1, 2]
    assert np.all(np.isfinite(estimator.decision_function(X)))


def test_class_vectors_without_samples():
    V, floor = class_vectors([5, 0, 4], 3)
    assert floor == pytest.approx(class_vectors([5, 4], 3)[1])
    np.testing.assert_allclose(V[:, 1], 0)


def test_same_seed_same_codes(digits):
    first, second, other = (
        small(random_state=seed).fit(digits.train, digits.labels.train) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first.codes_, second.codes_)
    assert np.any(other.codes_ != first.codes_)


@pytest.mark.parametrize(
    "options",
    [
        {"init": "itq"},
        {"init": "random"},
        {"rotate": False},
        {"scaling": "range"},
        {"energy": 1.0},
        {"criterion": "map"},
        {"n_validation": 0},
        {"hidden": (12, 10)},
        {"hidden": (12,)},
        {"max_alternations": 0},
        {"dtype": "float64"},
        {"lambda1": 0, "lambda2": 0, "lambda3": 0, "lambda4": 0},
    ],
)
def test_options_train_and_encode(digits, options):
    estimator = small(**options).fit(digits.train, digits.labels.train)
    codes = estimator.transform(digits.query)
    assert codes.shape == (len(digits.query), 8) and set(np.unique(codes)) <= {-1, 1}
    assert np.all(np.isfinite(estimator.decision_function(digits.query)))
    assert clone(estimator).get_params() == estimator.get_params()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lambda2": -1}, "lambda2 must be a finite number"),
        ({"lambda3": np.nan}, "lambda3 must be a finite number"),
        ({"max_iter": 0}, "max_iter must be a whole number of at least 1"),
        ({"max_alternations": -1}, "max_alternations must be a whole number of at least 0"),
        ({"patience": 0}, "patience must be a whole number"),
        ({"hidden": (5, 0)}, "every entry of hidden"),
        ({"criterion": "recall"}, "criterion='recall' is not known"),
        ({"energy": 0}, r"energy must lie in \(0, 1\]"),
        ({"init": "pca"}, "init='pca' is not known; choose one of 'classes', 'itq', 'random'"),
        ({"rotate": "yes"}, "rotate='yes' is not known"),
        ({"scaling": "none"}, "scaling='none' is not known"),
    ],
)
def test_bad_parameters(digits, options, message):
    with pytest.raises(ValueError, match=message):
        small(**options).fit(digits.train, digits.labels.train)


def test_interruption_keeps_the_best_state(digits, monkeypatch):
    calls = iter(range(100))

    def score(self, *args):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return 0.1

    monkeypatch.setattr(SHBDNN, "_score", score)
    message = "interrupted after 2 alternations: the best of them, 0, is kept"
    with pytest.warns(UserWarning, match=message):
        estimator = small().fit(digits.train, digits.labels.train)
    assert estimator.codes_.shape == (len(digits.train), 8)


@pytest.mark.parametrize("at", [0, 2])
def test_an_interruption_while_the_progress_is_shown_finds_a_whole_state(digits, monkeypatch, at):
    calls = iter(range(100))

    def set_postfix(self, **shown):
        if next(calls) == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(supervised.tqdm, "set_postfix", set_postfix)
    options, data = {"n_validation": 0, "patience": 9}, (digits.train, digits.labels.train)
    with pytest.warns(StoppedEarly, match=f"interrupted after {at + 1} alternations"):
        estimator = small(**options).fit(*data)
    monkeypatch.undo()
    same = small(**options, max_alternations=at).fit(*data)
    assert len(estimator.history_) == at + 1 and estimator.best_ == same.best_
    np.testing.assert_array_equal(estimator.codes_, same.codes_)


def test_interruption_before_there_is_anything_to_keep(digits, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(supervised, "minimize", interrupt)
    with pytest.raises(KeyboardInterrupt):
        small().fit(digits.train, digits.labels.train)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_of_the_input_do_not_matter(digits, scale):
    y, options = digits.labels.train, {"dtype": "float64"}
    codes = small(**options).fit(digits.train, y).transform(digits.query)
    scaled = small(**options).fit(digits.train * scale, y).transform(digits.query * scale)
    assert np.mean(codes == scaled) > 0.99


def test_constant_and_few_features():
    X, y = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    X[:, 1] = 5
    assert small().fit(X, y).transform(X).shape == (40, 8)
    assert small().fit(np.ones((40, 3)), y).transform(X).shape == (40, 8)


def test_memory_does_not_grow_with_the_pairs():
    """20,000 samples: their similarities would take 3.2 GB, as would the matrix S."""
    rng = np.random.default_rng(0)
    y = np.arange(20_000) % 7
    X = (rng.normal(size=(len(y), 20)) + 3 * rng.normal(size=(7, 20))[y]).astype(np.float32)
    tracemalloc.start()
    try:
        estimator = small(max_alternations=1, max_iter=5, hidden=(10, 10)).fit(X, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 50e6
    assert estimator.codes_.shape == (20_000, 8)
