"""All estimators: scikit-learn's checks, its tools, and what must hold for numbers of any size."""

import inspect

import joblib
import numpy as np
import pandas
import pytest
import zoo
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import bdnn
from bdnn.data import load
from bdnn.hashing import Hasher
from bdnn.metrics import mean_average_precision

EVERY = pytest.mark.parametrize("name", list(zoo.SETTINGS))
THOROUGH = {"SHBDNN": {"max_alternations": 3, "max_iter": 30, "hidden": (10, 8)}}
NETWORKS = ["UHBDNN", "SHBDNN", "DeepHashing", "SupervisedDeepHashing"]


@pytest.fixture(scope="module")
def digits():
    return load("digits", ground_truth="labels")


def test_every_estimator_is_here():
    public = [getattr(bdnn, name) for name in bdnn.__all__ if name[0].isupper()]
    estimators = {c.__name__ for c in public if issubclass(c, Hasher)}
    assert estimators == set(zoo.SETTINGS)


QUICK = ("ITQ", "UHBDNN", "SHBDNN")  # whose checks are not slow


@parametrize_with_checks([zoo.make(name, 3) for name in QUICK])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        *(zoo.make(name, 3) for name in zoo.SETTINGS if name not in QUICK),
        zoo.make("BinaryReconstructiveEmbedding", 3, targets="distances"),
    ]
)
def test_scikit_learn_checks_of_the_others(estimator, check):
    check(estimator)


# --- scikit-learn's tools


@pytest.mark.parametrize("name", zoo.SETTINGS)
def test_tables_of_pandas_are_for_what_transform_returns(name, digits, tmp_path):
    X, y = digits.train[:200], digits.labels.train[:200]
    estimator = zoo.make(name).set_output(transform="pandas").fit(X, y)
    assert type(estimator.codes_) is np.ndarray
    codes = estimator.transform(X)
    assert list(codes.columns) == list(estimator.get_feature_names_out())
    estimator.save(tmp_path / "model")
    np.testing.assert_array_equal(bdnn.load(tmp_path / "model").codes_, estimator.codes_)


@EVERY
def test_clone_and_parameters(name):
    estimator = zoo.make(name, dtype="float64")
    twin = clone(estimator)
    assert twin is not estimator and twin.get_params() == estimator.get_params()
    accepted = set(inspect.signature(type(estimator)).parameters)
    assert set(estimator.get_params()) == accepted
    assert twin.set_params(n_bits=7).n_bits == 7 and estimator.n_bits == 4


@EVERY
def test_pipeline(name, digits):
    X, y = digits.train[:300], digits.labels.train[:300]
    pipeline = make_pipeline(StandardScaler(), zoo.make(name)).fit(X, y)
    by_hand = zoo.make(name).fit(StandardScaler().fit_transform(X), y)
    scaled = pipeline[0].transform(digits.query)
    np.testing.assert_array_equal(pipeline.transform(digits.query), by_hand.transform(scaled))
    assert pipeline.get_feature_names_out()[1] == f"{name.lower()}1"


def first_fold_score(estimator, X, y):
    """How well the first half of a fold finds its classes in the second half."""
    codes, half = estimator.transform(X), len(X) // 2
    return mean_average_precision(codes[:half], codes[half:], (y[:half], y[half:]))


@pytest.mark.parametrize(
    ("name", "weight"), [("UHBDNN", "lambda2"), ("SHBDNN", "lambda2"), ("DeepHashing", "alpha1")]
)
def test_grid_search_over_lambda(name, weight, digits):
    X, y = digits.train[:400], digits.labels.train[:400]
    values = [1e-3, 1.0]
    folds = StratifiedKFold(2)
    search = GridSearchCV(
        zoo.make(name, 8), {weight: values}, scoring=first_fold_score, cv=folds, error_score="raise"
    ).fit(X, y)
    scores = []
    for value in values:
        fitted = [
            (zoo.make(name, 8, **{weight: value}).fit(X[train], y[train]), test)
            for train, test in folds.split(X, y)
        ]
        scores.append(np.mean([first_fold_score(est, X[test], y[test]) for est, test in fitted]))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], scores)
    assert search.best_params_[weight] == values[int(np.argmax(scores))]
    assert search.best_estimator_.transform(X).shape == (400, 8)


@pytest.mark.slow
def test_joblib_in_other_processes(digits):
    X, y = digits.train[:200], digits.labels.train[:200]
    fit = joblib.delayed(lambda estimator: estimator.fit(X, y).encode(X))
    jobs = [fit(zoo.make(name)) for name in NETWORKS[:2]]
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
        found = joblib.Parallel()(jobs)
    for name, codes in zip(NETWORKS[:2], found):
        np.testing.assert_array_equal(codes, zoo.make(name).fit(X, y).encode(X))


@EVERY
def test_named_columns_are_kept_and_nothing_warns(name, digits, recwarn):
    table = pandas.DataFrame(digits.train[:100]).add_prefix("pixel")
    estimator = zoo.make(name).fit(table, digits.labels.train[:100])
    assert list(estimator.feature_names_in_) == list(table.columns)
    plain = zoo.make(name).fit(table.to_numpy(), digits.labels.train[:100])
    np.testing.assert_array_equal(estimator.encode(table), plain.encode(table.to_numpy()))
    assert [str(w.message) for w in recwarn if "feature names" in str(w.message)] == []
    with pytest.raises(ValueError, match="feature names"):
        estimator.transform(table[table.columns[::-1]])


# --- several labels of a sample


@pytest.fixture(scope="module")
def several():
    """Samples that are sums of what belongs to their labels; some have all of four, some none."""
    rng = np.random.default_rng(0)
    Y = (rng.random((300, 4)) < 0.35).astype(int)
    return Y @ rng.normal(size=(4, 10)) + 0.3 * rng.normal(size=(300, 10)), Y


SUPERVISED = [name for name in zoo.SETTINGS if zoo.make(name)._requires_labels]


@pytest.mark.parametrize("name", SUPERVISED)
def test_several_labels(name, several, tmp_path):
    """A method learns from a 0/1 matrix of any form, as its tag says, or says why it does not."""
    X, Y = several
    estimator = zoo.make(name, 8)
    if not get_tags(estimator).classifier_tags.multi_label:
        assert name == "SupervisedDeepHashing"
        with pytest.raises(ValueError, match="SupervisedDeepHashing .* exactly one"):
            estimator.fit(X, Y)
        return
    codes = estimator.fit(X, Y).codes_
    for same in (Y.astype(bool), Y.astype(np.float32), Y.tolist(), pandas.DataFrame(Y)):
        np.testing.assert_array_equal(zoo.make(name, 8).fit(X, same).codes_, codes)
    estimator.save(tmp_path / "model")
    np.testing.assert_array_equal(
        bdnn.load(tmp_path / "model").transform(X), estimator.transform(X)
    )


@pytest.mark.rounding
@pytest.mark.parametrize("name", [name for name in SUPERVISED if name != "SupervisedDeepHashing"])
def test_several_labels_find_what_shares_one(name, several):
    """Better than the codes of ITQ, which sees no labels, and better than without the overlaps."""
    X, Y = several
    found = {}
    for what, y in (("shared", Y), ("sets", [str(row) for row in Y])):
        codes = zoo.make(name, 8, **THOROUGH.get(name, {})).fit(X, y).transform(X)
        found[what] = mean_average_precision(codes, codes, (Y, Y))
    codes = bdnn.ITQ(8).fit_transform(X)
    assert found["shared"] > max(found["sets"], mean_average_precision(codes, codes, (Y, Y))), found


def test_labels_that_are_no_classes_and_no_marks(several):
    X, Y = several
    for y, message in [
        (np.ones_like(Y), "the same labels in every row"),
        (np.zeros_like(Y), "the same labels in every row"),
        (2 * Y, "a matrix of 0 and 1"),
        (Y[1:], "inconsistent numbers of samples"),
    ]:
        with pytest.raises(ValueError, match=message):
            zoo.make("SHBDNN").fit(X, y)


@pytest.mark.rounding
def test_a_checkpoint_of_several_labels(several, tmp_path):
    """A training that is cut off goes on to the codes of one that is not."""
    X, Y = several
    options = {"max_alternations": 3, "patience": 9}

    def cut(share):
        if share > 0.5:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        zoo.make("SHBDNN", 8, **options).fit(X, Y, checkpoint=tmp_path / "state", callback=cut)
    more = zoo.make("SHBDNN", 8, **options).fit(X, Y, checkpoint=tmp_path / "state")
    np.testing.assert_array_equal(more.codes_, zoo.make("SHBDNN", 8, **options).fit(X, Y).codes_)
    with pytest.raises(ValueError, match="another training"):
        zoo.make("SHBDNN", 8, **options).fit(X, Y[::-1], checkpoint=tmp_path / "state")


# --- numbers


@EVERY
def test_encoding_in_float32_and_float64(name):
    """One model encodes in both precisions: under 0.1 % of the bits may differ."""
    mnist = load("mnist5k", ground_truth="labels")
    X, y = mnist.train[:1000], mnist.labels.train[:1000]
    double = zoo.make(name, 16, dtype="float64").fit(X, y)
    single = clone(double).set_params(dtype="float32")
    vars(single).update({key: in_single(v) for key, v in vars(double).items() if key[-1] == "_"})
    assert single.decision_function(mnist.query).dtype == np.float32
    assert np.mean(single.transform(mnist.query) != double.transform(mnist.query)) < 1e-3


@pytest.mark.slow
def test_training_in_float32_and_float64():
    """Gradient descent with a fixed step does not make rounding grow; CONTRIBUTING has the rest."""
    mnist = load("mnist5k", ground_truth="labels")
    trained = (bdnn.DeepHashing(16, dtype=f"float{n}").fit(mnist.train[:1000]) for n in (32, 64))
    single, double = (estimator.transform(mnist.query) for estimator in trained)
    assert np.mean(single != double) < 1e-3


def in_single(value):
    """What an estimator learned, with its arrays in float32."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64:
        return value.astype(np.float32)
    return [in_single(v) for v in value] if isinstance(value, list) else value


def shapes():
    """Samples of one class of trouble each, by name."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 6))
    return {
        "rank one": np.outer(X[:, 0], X[0]),
        "rank two of six": X[:, :2] @ X[:2],
        "units from 1e-6 to 1e4": X * 10.0 ** np.arange(-6, 6, 2),
        "far from the origin": X + 1e4,
        "a constant feature": np.hstack([X, np.full((60, 1), 7.0)]),
        "all features constant": np.ones((60, 6)),
        "ten copies of six samples": np.repeat(X[:6], 10, axis=0),
        "two features for four bits": X[:, :2],
        "one feature": X[:, :1],
        "as few samples as bits": X[:4],
        "two values only": (X > 0).astype(float),
        "one sample far away": np.vstack([X, 1e6 * X[:1]]),
    }


@EVERY
@pytest.mark.parametrize("shape", list(shapes()))
@pytest.mark.filterwarnings("ignore")
def test_samples_of_every_shape_train(name, shape):
    X = shapes()[shape]
    estimator = zoo.make(name, 4).fit(X, np.arange(len(X)) // 2 % 2)
    H, codes = estimator.decision_function(X), estimator.transform(X)
    assert np.isfinite(H).all() and codes.shape == (len(X), 4) == estimator.codes_.shape
    assert set(np.unique(codes)) <= {-1, 1}
    same = np.flatnonzero((X == X[0]).all(axis=1))
    assert (codes[same] == codes[0]).all()  # equal samples have equal codes


@EVERY
@pytest.mark.parametrize(
    ("dtype", "scale"), [("float32", 1e10), ("float32", 1e-10), ("float64", 1e90)]
)
def test_units_do_not_matter(name, dtype, scale, digits):
    """Codes of huge and tiny numbers are those of the same numbers in other units."""
    X, y = digits.train[:200].astype(np.float64), digits.labels.train[:200]
    scale = 2.0 ** np.round(np.log2(scale))  # exact, so that only the method can differ
    plain = zoo.make(name, dtype=dtype).fit(X, y).transform(X)
    scaled = zoo.make(name, dtype=dtype).fit(scale * X, y).transform(scale * X)
    assert np.mean(plain != scaled) < 0.01
