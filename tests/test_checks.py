"""bdnn.checks: arguments are returned in the form wanted, or refused by their name.

What the public functions and estimators refuse is in test_bad_input.py and test_metrics.py.
"""

import numpy as np
import pandas
import pytest

from bdnn import checks
from bdnn.metrics import pack_codes


def test_generators_of_every_kind():
    assert checks.as_generator(3).integers(1000) == checks.as_generator(3).integers(1000)
    generator = np.random.default_rng(0)
    assert checks.as_generator(generator) is generator
    draws = [checks.as_generator(np.random.RandomState(4)).integers(1000) for _ in range(2)]
    assert draws[0] == draws[1]
    for bad in ("a word", -1, 1.5):
        with pytest.raises(ValueError, match="random_state"):
            checks.as_generator(bad)


def test_options_and_whole_numbers():
    checks.check_option("form", "a", ("a", "b"))
    checks.check_whole_number("n", np.int64(3), 1)
    with pytest.raises(ValueError, match="form='c' .* 'a', 'b'"):
        checks.check_option("form", "c", ("a", "b"))
    for bad in (0, 1.5, True, "3", None, np.nan):
        with pytest.raises(ValueError, match="n must be"):
            checks.check_whole_number("n", bad, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_range_is_that_in_which_sums_of_squares_are_exact(dtype):
    limit, X = np.finfo(dtype).max ** 0.3, np.array([[0.5, -1.0]])
    for scale in (0, 0.9 * limit, 1.1 / limit):
        checks.check_range((scale * X).astype(dtype))
    for scale in (1.1 * limit, 0.9 / limit):
        with pytest.raises(ValueError, match=f"X .* {np.dtype(dtype).name}"):
            checks.check_range((scale * X).astype(dtype))


@pytest.mark.parametrize("missing", [None, np.nan, pandas.NA, pandas.NaT, np.datetime64("NaT")])
def test_missing_labels(missing):
    checks.check_missing(["a", "b"])
    checks.check_missing(np.array([1, "a"], object))
    with pytest.raises(ValueError, match="row 1:"):
        checks.check_missing(np.array(["a", missing], object))


def test_codes_in_the_three_forms():
    A = np.array([[1, -1, 1], [-1, -1, 1]])
    for a in (A, A > 0, A.astype(np.float32), A.tolist(), pandas.DataFrame(A)):
        np.testing.assert_array_equal(checks.check_codes("A", a) > 0, A > 0)
        first, second = checks.check_code_pair(a, A > 0, ("A", "B"))
        np.testing.assert_array_equal(first > 0, second)
    pair = checks.check_code_pair(*2 * [pack_codes(A)], ("A", "B"))
    assert [codes.dtype for codes in pair] == [np.uint8, np.uint8]
    for bad in (pack_codes(A), A[:, :2]):
        with pytest.raises(ValueError, match="A .* and B "):
            checks.check_code_pair(bad, A, ("A", "B"))


R = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
MARKS = np.array([[1, 1], [0, 1], [0, 0]]), np.array([[1, 0], [0, 1], [1, 0], [0, 0]])


@pytest.mark.parametrize(
    ("relevant", "expected"),
    [
        (R, R),
        (R > 0, R),
        (R.astype(float).tolist(), R),
        (pandas.DataFrame(R), R),
        ([[2, 0], [1], []], R),
        ([np.array([0, 2]), np.array([1]), np.array([], int)], R),
        ((list("abc"), list("abad")), [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]),
        (MARKS, [[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]),
    ],
)
def test_relevance_in_every_form_by_hand(relevant, expected):
    rows = checks.check_relevance(relevant, 3, 4)
    np.testing.assert_array_equal(rows(slice(0, 3)), np.array(expected, bool))
    np.testing.assert_array_equal(rows(slice(1, 2)), np.array(expected, bool)[1:2])


def test_the_first_of_the_indices():
    rows = checks.check_relevance([[2, 0], [1, 3], [0, 1]], 3, 4, k=1)
    np.testing.assert_array_equal(rows(slice(0, 3)), np.eye(4, dtype=bool)[[2, 1, 0]])
    with pytest.raises(ValueError, match="k=1"):
        checks.check_relevance(R, 3, 4, k=1)


def test_more_than_there_are_is_told():
    assert checks.capped("n", 3, 4) == 3
    with pytest.warns(UserWarning, match="n=5"):
        assert checks.capped("n", 5, 4) == 4
