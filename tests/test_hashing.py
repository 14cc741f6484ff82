"""bdnn.hashing: the face that scikit-learn expects, and what is kept of an interrupted training."""

import numpy as np
import pandas
import pytest
import zoo

import bdnn
from bdnn import hashing
from bdnn.baselines import classical, kernels
from bdnn.data import load
from bdnn.metrics import pack_codes, sgn

pytestmark = pytest.mark.filterwarnings("ignore:the equality term", "ignore:. of . bits")


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(60, 7)).astype(np.float32)


@pytest.fixture
def fitted(X):
    return bdnn.ITQ(n_bits=5).fit(X)


def test_the_three_outputs_agree(X, fitted):
    H, codes, packed = fitted.decision_function(X), fitted.transform(X), fitted.encode(X)
    assert H.dtype == np.float32 and codes.dtype == np.int8 and packed.dtype == np.uint8
    np.testing.assert_array_equal(codes, sgn(H))
    np.testing.assert_array_equal(packed, pack_codes(codes))
    np.testing.assert_array_equal(codes, fitted.codes_)


def test_blocks_of_rows_give_the_same_codes(X, fitted):
    many = np.tile(X, (hashing.BLOCK // len(X) + 2, 1))
    codes = fitted.transform(many)
    np.testing.assert_array_equal(codes, np.tile(codes[: len(X)], (len(many) // len(X), 1)))
    many[-1, -1] = np.nan
    with pytest.raises(ValueError, match=f"row {len(many) - 1} of X"):
        fitted.transform(many)


def test_a_sum_that_overflows_is_no_value_that_is_not_finite(fitted):
    """The sum of a row is looked at first, since that is quick."""
    large = np.full((3, 7), 1e38, np.float32)
    with np.errstate(over="ignore"):
        assert np.isinf(large @ np.ones(7, np.float32)).all()
    fitted.W_ = 0 * fitted.W_
    assert fitted.transform(large).shape == (3, 5)


def test_feature_names_are_those_of_what_was_learned(X, fitted):
    assert list(fitted.get_feature_names_out()) == [f"itq{k}" for k in range(5)]
    fitted.set_params(n_bits=3)
    assert len(fitted.get_feature_names_out()) == fitted.transform(X).shape[1] == 5


def test_a_training_that_fails_leaves_what_was_fitted_before(X, fitted):
    before = vars(fitted).copy()
    for bad in (np.ones((60, 3)) * np.nan, X[:3]):
        with pytest.raises(ValueError):
            fitted.fit(bad)
        assert vars(fitted) == before
    table = pandas.DataFrame(X, columns=list("abcdefg"))
    assert list(fitted.fit(table).feature_names_in_) == list("abcdefg")
    assert not hasattr(fitted.fit(X), "feature_names_in_")


def test_bits_that_tell_nothing_are_told(X):
    with pytest.warns(UserWarning, match="of 4 bits are the same") as caught:
        bdnn.ITQ(4).fit(np.ones_like(X))
    assert caught[0].filename == __file__


def test_the_best_state_of_a_training_is_kept(X):
    """Of the rounds on all samples; its codes are those of training, the signs for what is held."""
    options = {"max_alternations": 6, "patience": 9, "max_iter": 3}
    estimator = zoo.make("UHBDNN", **options).fit(X)
    scores = [row["score"] for row in estimator.history_]
    assert scores[estimator.best_] == max(scores) and estimator.n_iter_ == len(scores) == 7
    shorter = zoo.make("UHBDNN", **options | {"max_alternations": estimator.best_}).fit(X)
    np.testing.assert_array_equal(shorter.codes_, estimator.codes_)
    assert all(row["samples"] == 60 - 60 // 8 for row in estimator.history_)


def test_patience(X):
    estimator = zoo.make("DeepHashing", max_iter=9)
    estimator.patience = 2  # what UH-BDNN has by a parameter
    scores = iter([1, 3, 2, 3, 9])
    estimator._describer = lambda *_: (
        lambda state: {
            "samples": 60,
            "objective": 0.0,
            "score": next(scores),
        }
    )
    estimator.fit(X)
    assert estimator.best_ == 1 and estimator.n_iter_ == 4


@pytest.mark.parametrize("name", ["UHBDNN", "SHBDNN", "DeepHashing", "SupervisedDeepHashing"])
def test_a_start_that_does_not_fit(X, name):
    y, first = np.arange(60) % 3, zoo.make(name)
    for start, error in [
        (bdnn.ITQ(4).fit(X), TypeError),
        (first, ValueError),  # not fitted
        (zoo.make(name).fit(X[:50], y[:50]), ValueError),
        (zoo.make(name, 5).fit(X, y), ValueError),
        (zoo.make(name, hidden=(3, 3)).fit(X, y), ValueError),
    ]:
        with pytest.raises(error, match="start|fitted"):
            zoo.make(name).fit(X, y, start=start)


def test_progress_is_told_from_0_to_1(X):
    for name in ("UHBDNN", "DeepHashing"):
        told = []
        zoo.make(name, verbose=True).fit(X, callback=told.append)
        assert told == sorted(told) and 0 < told[0] and told[-1] <= 1


# --- long trainings that are not of networks

LONG = {  # method -> module and name of a step of its training, and the step that is interrupted
    "BinaryAutoencoder": (classical, "nearest_codes", 2, {"max_iter": 9, "n_axes": 64}),
    "BinaryReconstructiveEmbedding": (kernels, "improve_weights", 2, {"max_iter": 5, "tol": 0}),
    "KernelSupervisedHashing": (kernels, "spectral_direction", 4, {}),
    "SupervisedDiscreteHashing": (kernels, "coordinate_descent", 2, {"init": "random"}),
}


@pytest.fixture(scope="module")
def digits():
    d = load("digits", ground_truth="labels")
    return d.train[:300], d.labels.train[:300]


def interrupted_at(step, n):
    """The step, as a function that is interrupted when it is called for the n-th time."""
    calls = []

    def call(*args, **options):
        calls.append(1)
        if len(calls) == n:
            raise KeyboardInterrupt
        return step(*args, **options)

    return call


@pytest.mark.parametrize("name", LONG)
def test_what_a_long_training_has_learned_is_kept(name, digits, monkeypatch, tmp_path):
    """It is what a training of so many rounds would have learned."""
    module, step, n, options = LONG[name]
    X, y = digits
    with monkeypatch.context() as patch:
        patch.setattr(module, step, interrupted_at(getattr(module, step), n))
        with pytest.warns(hashing.StoppedEarly) as caught:
            stopped = zoo.make(name, 8, **options).fit(X, y)
        assert caught[0].filename == __file__
    stopped.save(tmp_path / "model.bdnn")
    np.testing.assert_array_equal(bdnn.load(tmp_path / "model.bdnn").codes_, stopped.codes_)
    rounds = {"KernelSupervisedHashing": {}, "SupervisedDiscreteHashing": {"max_alternations": 1}}
    shorter = options | rounds.get(name, {"max_iter": n - 1})
    whole = zoo.make(name, 8, **shorter).fit(X, y)
    n_bits = 3 if name == "KernelSupervisedHashing" else 8
    np.testing.assert_array_equal(stopped.codes_, whole.codes_[:, :n_bits])
    np.testing.assert_allclose(stopped.decision_function(X), whole.decision_function(X)[:, :n_bits])
    assert vars(stopped).keys() == vars(whole).keys()


@pytest.mark.parametrize("name", LONG)
def test_before_there_is_anything_to_keep_and_in_recorded_runs(name, digits, monkeypatch):
    module, step, n, options = LONG[name]
    (X, y), estimator = digits, zoo.make(name, **options)

    def stop(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(hashing.Hasher, "_check_input", stop)
        estimator.fit(X, y)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, step, interrupted_at(getattr(module, step), n))
        with hashing.whole_training():
            estimator.fit(X, y)
    assert not any(key.endswith("_") for key in vars(estimator))
