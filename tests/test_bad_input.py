"""What goes wrong at the public interface, case by case: a clear error, or a correct result.

A case has a name, a call, the type of the error that is documented, and a word of its message: the
name of the parameter where there is one. Where an input is unusual but sound, the result is
compared with that of an ordinary one.
"""

import warnings

import numpy as np
import pandas
import pytest
import zoo
from scipy.sparse import coo_array, csr_array
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

import bdnn
from bdnn import metrics
from bdnn.data import load, nearest_neighbours
from bdnn.lbfgs import minimize
from bdnn.metrics import pack_codes, unpack_codes

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.usefixtures("few_starts"),
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6))
Y = np.arange(60) % 3
UNSUPERVISED = [name for name in zoo.SETTINGS if not zoo.make(name)._requires_labels]
SUPERVISED = [name for name in zoo.SETTINGS if zoo.make(name)._requires_labels]


def with_value(value, A=X):
    """A copy of A with one entry replaced."""
    A = np.array(A, dtype=np.result_type(A, np.asarray(value)))
    A[3, 2] = value
    return A


def fails(call, error, message):
    """The call raises this very type of error, with this message; NumPy warns of nothing.

    For a parameter it is scikit-learn's InvalidParameterError, a ValueError.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.filterwarnings("ignore", "overflow encountered in cast")  # on the way to the error
        with pytest.raises(error, match=message) as caught:
            call()
    assert type(caught.value) in (error, InvalidParameterError)


def cases(table):
    """Mark a test with a table whose first column names the cases."""
    return pytest.mark.parametrize("case", [pytest.param(row[1:], id=row[0]) for row in table])


# --- samples ----------------------------------------------------------------------------------

NAN = "X (contains|holds) NaN"
LARGE = "infinity or (a value|values) too large"
SAMPLES = [
    ("None", None, ValueError, "Expected 2D array"),
    ("a number", 3.0, ValueError, "Expected 2D array, got scalar"),
    ("a vector", X[0], ValueError, "Expected 2D array, got 1D"),
    ("pictures not flattened", X[None], ValueError, "Found array with dim 3"),
    ("an empty list", [], ValueError, "Expected 2D array"),
    ("no rows", X[:0], ValueError, r"0 sample\(s\) .* minimum of 2 is required"),
    ("no columns", X[:, :0], ValueError, r"0 feature\(s\)"),
    ("one row", X[:1], ValueError, r"1 sample\(s\)"),
    ("NaN", with_value(np.nan), ValueError, NAN),
    ("infinity", with_value(np.inf), ValueError, LARGE),
    ("minus infinity", with_value(-np.inf), ValueError, LARGE),
    ("beyond float32", with_value(1e300), ValueError, LARGE),
    ("words", np.full((60, 6), "a"), ValueError, "could not convert string to float"),
    ("objects that are words", np.full((60, 6), "a", object), ValueError, "could not convert"),
    ("objects that are None", np.full((60, 6), None), ValueError, NAN),
    ("complex numbers", X + 1j, ValueError, "Complex data not supported"),
    ("a sparse matrix", csr_array(X), TypeError, "Sparse data was passed"),
    ("another sparse matrix", coo_array(X), TypeError, "Sparse data was passed"),
    ("np.matrix", np.asmatrix(X), TypeError, "np.matrix is not supported"),
    ("a masked array", np.ma.masked_greater(X, 1), TypeError, "masked array, and its mask would"),
    ("dates", np.full((60, 6), "2024-01-01", "M8[D]"), TypeError, "dates or times"),
    ("durations", np.full((60, 6), 5, "m8[s]"), TypeError, "dates or times"),
    ("rows of unequal length", [[1, 2], [3]], ValueError, "inhomogeneous"),
    ("a dictionary", {"a": 1}, TypeError, "float.. argument must be"),
    ("sets", 60 * [{1, 2}], TypeError, "float.. argument must be"),
    ("a generator", (row for row in X), TypeError, "float.. argument must be"),
    ("the name of a file", "vectors.npy", ValueError, "could not convert string"),
    ("a structured array", np.zeros(60, [("a", float)]), ValueError, "Expected 2D array"),
    ("a table with a gap", pandas.DataFrame(with_value(np.nan)), ValueError, NAN),
    ("a table of words", pandas.DataFrame({"a": 60 * ["u"], "b": 1.0}), ValueError, "convert"),
    (
        "a table with a missing whole number",
        pandas.DataFrame({"a": pandas.array([1, None] * 30, dtype="Int64"), "b": 1.0}),
        ValueError,
        NAN,
    ),
    (
        "a table with dates",
        pandas.DataFrame({"a": pandas.date_range("2024", periods=60), "b": 1.0}),
        TypeError,
        "dates or times",
    ),
    ("a column", pandas.Series(X[:, 0]), ValueError, "Expected a 2-dimensional container"),
    (
        "a column of dates",
        pandas.Series(pandas.date_range("2024", periods=60)),
        TypeError,
        "dates or times",
    ),
    ("a column of arrays", pandas.Series(list(X)), ValueError, "give np.stack"),
    ("a table of lists", pandas.DataFrame({"e": X.tolist()}), ValueError, "give np.stack"),
    ("an array of arrays", pandas.Series(list(X)).to_numpy(), ValueError, "give np.stack"),
    ("squares that overflow", 1e15 * X, ValueError, "leave the range of float32. Scale X"),
    ("squares that vanish", 1e-15 * X, ValueError, "leave the range of float32. Scale X"),
]


@cases(SAMPLES)
def test_samples_to_train_on(case):
    bad, error, message = case
    for name in zoo.SETTINGS:
        fails(lambda name=name: zoo.make(name).fit(bad, Y), error, message)


OF_ANOTHER_SIZE = (
    *("None", "a number", "a vector", "pictures not flattened", "an empty list", "no columns"),
    *("NaN", "infinity", "beyond float32", "words", "complex numbers", "a sparse matrix"),
    *("np.matrix", "a masked array", "dates", "rows of unequal length", "a table with a gap"),
)


@cases(row for row in SAMPLES if row[0] in OF_ANOTHER_SIZE)
def test_samples_to_encode(case):
    bad, error, message = case
    for name in zoo.SETTINGS:
        fitted = FITTED.setdefault(name, zoo.make(name).fit(X, Y))
        for method in (fitted.transform, fitted.encode, fitted.decision_function):
            fails(lambda method=method: method(bad), error, message)


FITTED = {}


@cases(
    [
        ("one feature less", X[:, :5], ValueError, "X has 5 features, but ITQ is expecting 6"),
        ("one feature more", np.hstack([X, X[:, :1]]), ValueError, "X has 7 features"),
        ("no rows to encode", X[:0], ValueError, r"0 sample\(s\)"),
    ]
)
def test_samples_that_do_not_fit_the_model(case):
    bad, error, message = case
    fails(lambda: bdnn.ITQ(4).fit(X).transform(bad), error, message)


def test_outputs_that_overflow():
    fitted = bdnn.SphericalHashing(4).fit(X)
    fails(lambda: fitted.transform(1e30 * X), ValueError, "too large for the arithmetic of float32")


FORMS = {
    "reversed columns": X[:, ::-1],
    "every other row": np.repeat(X, 2, axis=0)[::2],
    "in Fortran's order": np.asfortranarray(X),
    "read-only": np.frombuffer(X.tobytes()).reshape(X.shape),
    "float16": X.astype(np.float16),
    "long double": X.astype(np.longdouble),
    "int8": (20 * X).astype(np.int8),
    "uint8": (20 * X + 100).clip(0, 255).astype(np.uint8),
    "int64": (1e6 * X).astype(np.int64),
    "booleans": X > 0,
    "big-endian": X.astype(">f8"),
    "lists": X.tolist(),
    "tuples": tuple(map(tuple, X)),
    "objects that are numbers": X.astype(object),
    "numbers as strings": X.astype(str),
    "a table": pandas.DataFrame(X, columns=list("abcdef")),
    "a table of one type each": pandas.DataFrame({"a": X[:, 0], "b": (9 * X[:, 1]).astype(int)}),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_samples_in_every_form(form):
    """Training and codes are those of the same numbers in an ordinary array."""
    given = FORMS[form]
    plain = np.array(given, dtype=np.float64, order="C")
    for name in zoo.SETTINGS:
        key = name, plain.tobytes()  # most forms hold the same numbers
        if key not in CODES:
            CODES[key] = zoo.make(name).fit(plain, Y).transform(plain)
        codes = zoo.make(name).fit(given, Y).transform(given)
        assert np.mean(codes != CODES[key]) <= 0.01


CODES = {}


def test_samples_are_not_modified():
    for name in zoo.SETTINGS:
        given, labels = X.astype(np.float32), Y.copy()
        zoo.make(name).fit(given, labels).transform(given)
        np.testing.assert_array_equal(given, X.astype(np.float32))
        np.testing.assert_array_equal(labels, Y)


# --- labels -----------------------------------------------------------------------------------


NO_DATE = np.array(["2024-01-01", "NaT", "2025-01-01"] * 20, "M8[D]")


@cases(
    [
        ("none", None, ValueError, "requires y to be passed"),
        ("one class", np.zeros(60), ValueError, "y holds one class only, 0.0"),
        ("NaN", np.where(Y == 1, np.nan, Y), ValueError, "Input y contains NaN"),
        ("None in between", np.where(Y == 1, None, Y), ValueError, "no label in 20 rows.* row 1:"),
        ("pandas.NA", np.where(Y == 1, pandas.NA, "a"), ValueError, "no label in 20 .* row 1:"),
        (
            "pandas.NA in a column",
            pandas.DataFrame(np.where(Y == 1, pandas.NA, Y)),
            ValueError,
            "no label in 20 .* row 1:",
        ),
        (
            "words with one missing",
            pandas.Series(["a", "b", "c", pandas.NA] * 15, dtype="string"),
            ValueError,
            "no label in 15 rows.* row 3:",
        ),
        ("dates with one missing", NO_DATE, ValueError, "no label in 20 rows.* row 1:"),
        ("infinity", np.where(Y == 1, np.inf, Y), ValueError, "Input y contains infinity"),
        ("one too few", Y[:-1], ValueError, r"inconsistent numbers of samples: \[60, 59\]"),
        ("one too many", np.append(Y, 0), ValueError, "inconsistent numbers of samples"),
        ("empty", [], ValueError, "inconsistent numbers of samples"),
        ("a matrix of numbers", 2 * np.eye(3)[Y], ValueError, "y should be a 1d array"),
        (
            "the same labels for all",
            np.ones((60, 3)),
            ValueError,
            "same labels in every|exactly one",
        ),
        ("a number", 1, ValueError, "y should be a 1d array"),
        ("a word", "cat", ValueError, "y should be a 1d array"),
        ("real numbers", X[:, 0], ValueError, "Unknown label type: continuous"),
        ("numbers and words", [1, "a", 2.0] * 20, ValueError, "Unknown label type|number"),
    ]
)
def test_labels(case):
    bad, error, message = case
    if isinstance(bad, list) and bad:
        bad = np.array(bad, dtype=object)
    for name in SUPERVISED:
        fails(lambda name=name: zoo.make(name).fit(X, bad), error, message)


@pytest.mark.parametrize("form", [np.eye(3), np.eye(3, dtype=bool), np.eye(3, dtype=int)])
def test_labels_one_hot(form):
    for name in SUPERVISED:
        codes = zoo.make(name).fit(X, form[Y]).codes_
        np.testing.assert_array_equal(codes, zoo.make(name).fit(X, Y).codes_)


def test_labels_that_no_pair_shares():
    estimator = zoo.make("SupervisedDeepHashing")
    fails(lambda: estimator.fit(X, np.arange(60)), ValueError, "no class with two samples")


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(np.array(["cat", "dog", "cow"])[Y], id="words"),
        pytest.param(np.array(["cat", "dog", "cow"], dtype=object)[Y], id="objects"),
        pytest.param(-5 * Y, id="negative numbers"),
        pytest.param(Y.astype(np.float64), id="floats that are whole"),
        pytest.param(Y.tolist(), id="a list"),
        pytest.param(pandas.Series(Y).astype("category"), id="categories"),
        pytest.param(Y.astype(np.uint8)[:, None], id="a column"),
    ],
)
@pytest.mark.filterwarnings("ignore:A column-vector y")
def test_labels_of_every_type(labels):
    """Only which samples share a label matters."""
    numbers = np.unique(np.ravel(labels), return_inverse=True)[1]
    for name in SUPERVISED:
        codes = zoo.make(name).fit(X, labels).codes_
        np.testing.assert_array_equal(codes, zoo.make(name).fit(X, numbers).codes_)


def test_labels_are_ignored_where_none_are_needed():
    for name in UNSUPERVISED:
        codes = zoo.make(name).fit(X, "anything").codes_
        np.testing.assert_array_equal(codes, zoo.make(name).fit(X).codes_)


# --- parameters -------------------------------------------------------------------------------


def refuses(name, text, **options):
    """Training refuses these parameters, and names the one that is wrong."""
    fails(lambda: zoo.make(name, **options).fit(X, Y), ValueError, text)


@pytest.mark.parametrize("n_bits", [0, -1, 2.5, 4.0, "8", None, True, np.nan, np.inf, [4]], ids=str)
def test_number_of_bits(n_bits):
    for name in zoo.SETTINGS:
        refuses(name, "'n_bits'", n_bits=n_bits)


@pytest.mark.parametrize("n_bits", [np.int64(5), np.int32(5)], ids=lambda n: n.dtype.name)
def test_number_of_bits_of_numpy(n_bits):
    for name in zoo.SETTINGS:
        codes = zoo.make(name, n_bits).fit(X, Y).encode(X)
        np.testing.assert_array_equal(codes, zoo.make(name, 5).fit(X, Y).encode(X))


@pytest.mark.parametrize("n_bits", [61, 10**9])
def test_more_bits_than_samples(n_bits):
    for name in zoo.SETTINGS:
        refuses(name, f"n_bits={n_bits} .* 60", n_bits=n_bits)


@pytest.mark.parametrize("n_bits", [8, 20, 60])
def test_more_bits_than_features(n_bits):
    for name in zoo.SETTINGS:
        fitted = zoo.make(name, n_bits).fit(X, Y)
        assert fitted.transform(X).shape == (60, n_bits)
        np.testing.assert_array_equal(unpack_codes(fitted.encode(X), n_bits), fitted.transform(X))


@pytest.mark.parametrize("dtype", ["float16", "int8", "f4", "nonsense", None, int, float], ids=str)
def test_precision(dtype):
    for name in zoo.SETTINGS:
        refuses(name, "'dtype'", dtype=dtype)


@pytest.mark.parametrize("seed", ["a word", -1, 1.5, np.nan, {}], ids=str)
def test_seed(seed):
    for name in zoo.SETTINGS:
        if "random_state" in zoo.make(name).get_params():
            refuses(name, "'random_state'", random_state=seed)


NUMBER = (-1e-9, np.nan, np.inf, "1", None, True)  # none of them is one from 0 on
WHOLE = (-1, 1.5, np.nan, "3", None, True)
WORD = ("nonsense", None, 1, True)
WRONG = {  # the name of a parameter -> what it must not be
    **dict.fromkeys(("lambda1", "lambda2", "lambda3", "lambda4", "nu", "tol"), NUMBER),
    **dict.fromkeys(("alpha", "alpha1", "alpha2", "alpha3", "affinity_weight"), NUMBER),
    **dict.fromkeys(("lambda_G", "lambda_F", "mu", "C", "growth", "rho"), (0, *NUMBER)),
    **dict.fromkeys(("input_scale", "learning_rate", "mean_tol", "std_tol"), (0, *NUMBER)),
    "width": (0, -1.0, np.nan, np.inf, "1", True),
    **dict.fromkeys(("max_alternations", "n_validation", "n_iter"), WHOLE),
    **dict.fromkeys(("patience", "n_neighbors", "cycles", "n_axes"), (0, *WHOLE)),
    **dict.fromkeys(("n_anchors", "bits_per_subspace"), (0, *WHOLE)),
    **dict.fromkeys(("max_iter", "n_samples"), WHOLE),  # in some methods it may be 0
    **dict.fromkeys(("init", "reduction", "optimizer", "targets"), WORD),
    "hidden": (5, "84", {8}, (4, 0), (4, 2.5), (True,)),
    "verbose": ("yes", None, 2),
}
OPTIONS = [
    pytest.param(name, option, value, id=f"{name}-{option}-{value}")
    for name in zoo.SETTINGS
    for option in sorted(zoo.make(name).get_params().keys() - {"n_bits", "dtype", "random_state"})
    for value in WRONG[option]
]


@pytest.mark.parametrize(("name", "option", "value"), OPTIONS)
def test_options(name, option, value):
    """Every parameter of every method refuses what makes no sense, and says its name."""
    refuses(name, rf"\b{option}\b", **{option: value})


def test_an_option_that_does_not_exist():
    fails(lambda: bdnn.UHBDNN(8, lambda5=1), TypeError, "unexpected keyword argument 'lambda5'")
    fails(lambda: bdnn.UHBDNN(8).set_params(lambda5=1), ValueError, "Invalid parameter 'lambda5'")


@pytest.mark.parametrize("method", ["transform", "encode", "decision_function", "save"])
def test_before_training(method):
    argument = "model.bdnn" if method == "save" else X
    for name in zoo.SETTINGS:
        call = getattr(zoo.make(name), method)
        fails(lambda call=call: call(argument), NotFittedError, "not fitted yet")


# --- codes and measures -----------------------------------------------------------------------

A = np.where(RNG.normal(size=(5, 12)) > 0, 1, -1)
B = np.where(RNG.normal(size=(9, 12)) > 0, 1, -1)
R = RNG.random((5, 9)) < 0.4
mAP = metrics.mean_average_precision
LONG = np.ones((2, 40_000), np.int8)
P = pack_codes(A)
FIT = "do not hold codes of the same length and form"
ONLY = r"must hold only -1 and \+1"


@cases(
    [
        ("packing a vector", lambda: pack_codes(A[0]), "codes must be a matrix"),
        ("packing zeros", lambda: pack_codes(0 * A), r"only -1 and \+1"),
        ("packing real numbers", lambda: pack_codes(0.5 * A), r"only -1 and \+1"),
        ("packing NaN", lambda: pack_codes(A + np.nan), r"only -1 and \+1"),
        ("packing words", lambda: pack_codes(np.full((2, 2), "a")), r"only -1 and \+1"),
        ("unpacking a vector", lambda: unpack_codes(P[0], 8), "must be a matrix of uint8"),
        ("unpacking int8", lambda: unpack_codes(P.astype(np.int8), 8), "must be a matrix of uint8"),
        ("unpacking too many bits", lambda: unpack_codes(P, 17), "n_bits=17 does not fit 2 bytes"),
        ("unpacking no bits", lambda: unpack_codes(P, 0), "n_bits=0 does not fit"),
        ("distances of a vector", lambda: metrics.hamming_distances(A[0], B), "A must be a matrix"),
        ("distances of nothing", lambda: metrics.hamming_distances(A[:0], B), "A must be a matrix"),
        ("distances of no bits", lambda: metrics.hamming_distances(A[:, :0], B), "must be a matri"),
        ("other lengths", lambda: metrics.hamming_distances(A[:, :8], B), FIT),
        ("one packed, one not", lambda: metrics.hamming_distances(P, B), FIT),
        ("zeros as codes", lambda: metrics.hamming_distances(A, 0 * B), f"B {ONLY}"),
        ("NaN as codes", lambda: metrics.hamming_distances(A, B + np.nan), f"B {ONLY}"),
        ("real numbers as codes", lambda: mAP(0.3 * A, B, R), f"codes_query {ONLY}"),
        ("relevance transposed", lambda: mAP(A, B, R.T), r"shape \(9, 5\), but there are 5"),
        ("relevance of fewer queries", lambda: mAP(A, B, R[:4]), r"shape \(4, 9\)"),
        ("an item that is not there", lambda: mAP(A, B, 5 * [[9]]), "whole numbers from 0 to 8"),
        ("a negative item", lambda: mAP(A, B, 5 * [[-1]]), "whole numbers from 0 to 8"),
        ("half an item", lambda: mAP(A, B, 5 * [[0.5]]), "whole numbers from 0 to 8"),
        ("an item twice", lambda: mAP(A, B, 5 * [[3, 3]]), "names an item twice"),
        ("lists of four queries", lambda: mAP(A, B, 4 * [[3]]), "for 4 queries, but there are 5"),
        ("labels too short", lambda: mAP(A, B, (Y[:4], Y[:9])), "labels of shapes .* 5 queries"),
        ("labels in two columns", lambda: mAP(A, B, (Y[:10].reshape(5, 2), Y[:9])), "labels of sh"),
        ("a form unknown", lambda: mAP(A, B, R, form="interpolated"), "form='interpolated' is not"),
        ("ties unknown", lambda: mAP(A, B, R, ties="random"), "ties='random' is not known"),
        ("no list", lambda: metrics.precision_at(A, B, R, n=0), "n"),
        ("half a list", lambda: metrics.precision_at(A, B, R, n=2.5), "n"),
        ("a ball of -1", lambda: metrics.precision_at_radius(A, B, R, radius=-1), "radius must"),
        ("a ball of NaN", lambda: metrics.evaluate(A, B, R, radius=np.nan), "radius must"),
        ("nothing said", lambda: mAP(A, B, None), "relevant must be a matrix, a list or a pair"),
        ("a generator", lambda: mAP(A, B, (i for i in range(5))), "relevant must be .*generator"),
        ("words and numbers", lambda: mAP(A, B, (list("abcde"), range(9))), "never equal"),
        ("a label is NaN", lambda: mAP(A, B, ([1, 2, np.nan, 3, 4], np.ones(9))), "missing"),
        (
            "a label is None",
            lambda: mAP(A, B, (list("abcd") + [None], list("abcdefghi"))),
            "missing",
        ),
        ("40,000 bits", lambda: metrics.hamming_distances(LONG, LONG), "40,000 bits are too long"),
        ("half a radius", lambda: metrics.items_within(A, B, 1.5), "radius must be a whole n"),
        (
            "a radius below 0",
            lambda: metrics.items_within(A, B, -1),
            "radius must be a whole number",
        ),
        ("balls of other lengths", lambda: metrics.items_within(A[:, :8], B), FIT),
        ("balance of a vector", lambda: metrics.balance(A[0]), "matrix"),
        ("balance of zeros", lambda: metrics.balance(0 * A), r"-1 and \+1"),
        ("independence of packed codes", lambda: metrics.independence(P), "-1 and"),
        ("neighbours of another width", lambda: nearest_neighbours(X, X[:, :3], 2), "do not fit"),
        ("more neighbours than items", lambda: nearest_neighbours(X, X, 61), "database has 60 v"),
        ("no neighbours", lambda: nearest_neighbours(X, X, 0), "whole number of at least 1, got 0"),
        ("neighbours of NaN", lambda: nearest_neighbours(with_value(np.nan), X, 1), "finite"),
    ]
)
def test_codes_and_measures(case):
    fails(case[0], ValueError, case[1])


def test_measures_where_nothing_is_relevant():
    nothing = np.zeros_like(R)
    assert mAP(A, B, nothing) == metrics.precision_at_radius(A, B, nothing) == 0
    assert metrics.precision_at_radius(A, B, R, radius=99) == pytest.approx(R.mean())
    assert mAP(A, B, np.ones_like(R)) == 1
    assert metrics.precision_at(A, B, R, n=10**6) == pytest.approx(R.mean())


# --- the optimiser, which stands alone --------------------------------------------------------


def bowl(x):
    return float(x @ x), 2 * x


@cases(
    [
        ("NaN", lambda: minimize(bowl, np.array([np.nan])), "x0"),
        ("a short gradient", lambda: minimize(lambda x: (1.0, x[1:]), np.ones(3)), "gradient"),
        ("backwards", lambda: minimize(bowl, np.ones(1), max_iter=-1), "max_iter"),
        ("no memory", lambda: minimize(bowl, np.ones(1), history=0), "history"),
        ("c1 > c2", lambda: minimize(bowl, np.ones(1), c1=0.9, c2=0.1), "0 < c1 < c2 < 1"),
    ]
)
def test_minimize(case):
    fails(case[0], ValueError, case[1])


# --- names, files, models ---------------------------------------------------------------------


@cases(
    [
        ("a set unknown", lambda p: load("mnits"), ValueError, "'mnits' is not known"),
        ("a file that is not there", lambda p: load(p / "x.npy"), FileNotFoundError, "no file"),
        ("a path to a set unknown", lambda p: load(p / "x"), ValueError, "x' is not known. Known"),
        ("a folder with labels", lambda p: load(p, labels="y"), ValueError, "'y' is for files; a"),
        (
            "NaN among the labels",
            lambda p: load(holes(p)),
            ValueError,
            "holes: y: no label in row 4",
        ),
        (
            "NaN in a file of labels",
            lambda p: load(vectors(p), labels=labels(p)),
            ValueError,
            "row 4",
        ),
        ("an empty folder", lambda p: load(p), FileNotFoundError, r"one \*_base.fvecs file"),
        ("a protocol unknown", lambda p: load("digits", protocol="x"), ValueError, "protocol='x'"),
        (
            "a truth unknown",
            lambda p: load("digits", ground_truth="x"),
            ValueError,
            "'auto', 'knn'",
        ),
        ("no queries", lambda p: load("digits", n_query=0), ValueError, "n_query must"),
        ("all are queries", lambda p: load("digits", n_query=1797), ValueError, "n_query=1797"),
        ("a seed below 0", lambda p: load("digits", seed=-1), ValueError, "random_state|seed"),
        ("a model not there", lambda p: bdnn.load(p / "m"), FileNotFoundError, "No such file"),
        ("a folder as model", lambda p: bdnn.load(p), IsADirectoryError, "Is a directory"),
        ("vectors as model", lambda p: bdnn.load(vectors(p)), bdnn.ModelFileError, "no model file"),
        ("a model as vectors", lambda p: load(model(p)), ValueError, "must hold X"),
        ("to a folder not there", lambda p: fitted_itq().save(p / "a/b"), FileNotFoundError, "a/"),
        ("to a folder", lambda p: fitted_itq().save(p), IsADirectoryError, "irectory"),
    ]
)
def test_names_files_and_models(case, tmp_path):
    call, error, message = case
    fails(lambda: call(tmp_path), error, message)
    assert all(path.suffix in (".npy", ".npz") for path in tmp_path.iterdir())  # no half file


def fitted_itq():
    return bdnn.ITQ(4).fit(X)


def vectors(folder):
    np.save(folder / "x.npy", X)
    return folder / "x.npy"


def labels(folder):
    np.save(folder / "y.npy", np.where(np.arange(60) == 4, np.nan, Y))
    return folder / "y.npy"


def holes(folder):
    np.savez(folder / "holes.npz", X=X, y=np.load(labels(folder)))
    return folder / "holes.npz"


def model(folder):
    fitted_itq().save(folder / "m.npz")
    return folder / "m.npz"
