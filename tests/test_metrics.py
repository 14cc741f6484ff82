"""bdnn.metrics against double loops, enumeration of ties, cases known by hand, and properties."""

import itertools
import tracemalloc
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bdnn import metrics
from bdnn.metrics import pack_codes

FORMS = ("standard", "trapezoid")


def random_codes(rng, n, n_bits):
    return np.where(rng.random((n, n_bits)) < 0.5, -1, 1).astype(np.int8)


def loop_distances(A, B):
    return np.array([[sum(x != y for x, y in zip(a, b)) for b in B] for a in A])


def loop_ap(ranked, form):
    """AP of one ranking, in exact fractions."""
    total, j = Fraction(0), 0
    for r, hit in enumerate(ranked, start=1):
        if hit:
            j += 1
            before = Fraction(1) if r == 1 else Fraction(j - 1, r - 1)
            total += Fraction(j, r) if form == "standard" else (before + Fraction(j, r)) / 2
    return total / max(j, 1)


def loop_stable_ap(d, relevant, form):
    """AP with ties in database order: an ordinary sort by (distance, index)."""
    order = sorted(range(len(d)), key=lambda i: (d[i], i))
    return loop_ap([relevant[i] for i in order], form)


def enumerated_ap(d, relevant, form):
    """Exact mean AP over all orders of the items."""
    orders = list(itertools.permutations(range(len(d))))
    values = [loop_stable_ap([d[i] for i in o], [relevant[i] for i in o], form) for o in orders]
    return sum(values) / len(values)


def loop_ball_precision(d, relevant, radius):
    """Precision in the ball; None if it is empty."""
    inside = [hit for distance, hit in zip(d, relevant) if distance <= radius]
    return sum(inside) / len(inside) if inside else None


def some_task(rng, n_query=7, n_database=23, n_bits=6):
    """Random codes and relevance; the first query has nothing relevant, the second everything."""
    R = rng.random((n_query, n_database)) < rng.random((n_query, 1))
    R[0], R[1] = False, True
    return random_codes(rng, n_query, n_bits), random_codes(rng, n_database, n_bits), R


# --- distances


@pytest.mark.parametrize("n_bits", range(1, 131))
def test_distances_equal_the_double_loop(n_bits):
    rng = np.random.default_rng(n_bits)
    A, B = random_codes(rng, 4, n_bits), random_codes(rng, 6, n_bits)
    expected = loop_distances(A, B)
    forms = [(A, B), (A > 0, B > 0), (pack_codes(A), pack_codes(B)), (A.astype(float), B.tolist())]
    for a, b in forms:
        D = metrics.hamming_distances(a, b)
        assert D.dtype == np.int16
        assert np.array_equal(D, expected)


@pytest.mark.parametrize("n_bits", (8, 16, 64, 248, 255, 256, 257, 1000))
def test_opposite_codes_are_n_bits_apart(n_bits):
    A = np.ones((2, n_bits), dtype=np.int8)
    assert np.all(metrics.hamming_distances(A, -A) == n_bits)
    assert np.all(metrics.hamming_distances(A, A) == 0)


def test_distances_do_not_change_their_input():
    A = random_codes(np.random.default_rng(0), 5, 9)
    packed = pack_codes(A)
    before = packed.copy()
    metrics.hamming_distances(packed, packed)
    assert np.array_equal(packed, before)


@pytest.mark.parametrize(
    "A, B, message",
    [
        (np.ones(4), np.ones((2, 4)), "must be a matrix"),
        (np.ones((2, 4)), np.ones((0, 4)), "must be a matrix"),
        (np.zeros((2, 4)), np.ones((2, 4)), "only -1 and \\+1"),
        (np.array([[1, np.nan]]), np.ones((2, 2)), "only -1 and \\+1"),
        (np.ones((2, 4)), np.ones((2, 5)), "same length and form"),
        (np.ones((2, 1)), np.ones((2, 1), dtype=np.uint8), "same length and form"),
    ],
)
def test_what_is_no_code_is_an_error(A, B, message):
    with pytest.raises(ValueError, match=message):
        metrics.hamming_distances(A, B)


codes_3 = hnp.arrays(
    np.int8, st.tuples(st.just(3), st.integers(1, 70)), elements=st.sampled_from([-1, 1])
)


@given(codes_3)
def test_hamming_distance_is_a_metric(C):
    D = metrics.hamming_distances(C, C).astype(int)
    assert np.all(np.diag(D) == 0) and np.array_equal(D, D.T)
    assert D[0, 2] <= D[0, 1] + D[1, 2]
    for i, j in itertools.combinations(range(3), 2):
        assert (D[i, j] == 0) == np.array_equal(C[i], C[j])
        assert 4 * D[i, j] == np.sum((C[i].astype(int) - C[j]) ** 2)


@given(codes_3, st.randoms(use_true_random=False))
def test_order_and_sign_of_the_bits_do_not_matter(C, random):
    order = random.sample(range(C.shape[1]), C.shape[1])
    flips = np.array([random.choice([-1, 1]) for _ in order], dtype=np.int8)
    changed = C[:, order] * flips
    assert np.array_equal(
        metrics.hamming_distances(C, C), metrics.hamming_distances(changed, changed)
    )


# --- average precision


def test_the_ranking_worked_by_hand():
    d = np.arange(6)[None]
    relevant = np.array([[True, False, True, False, False, True]])
    assert metrics.average_precision(d, relevant)[0] == pytest.approx(13 / 18, abs=1e-15)
    assert metrics.average_precision(d, relevant, "trapezoid")[0] == pytest.approx(
        61 / 90, abs=1e-15
    )


def test_two_tied_items_by_hand():
    d, relevant = np.zeros((1, 2), dtype=int), np.array([[False, True]])
    assert metrics.average_precision(d, relevant)[0] == 0.5
    assert metrics.average_precision(d, relevant, ties="expected")[0] == pytest.approx(0.75)
    # trapezoid: (1 + 1) / 2 if the relevant item comes first, (0 + 1/2) / 2 if second
    assert metrics.average_precision(d, relevant, "trapezoid", "expected")[0] == pytest.approx(
        0.625
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(5))
def test_stable_ap_equals_the_double_loop(form, seed):
    rng = np.random.default_rng(seed)
    D, R = rng.integers(0, rng.integers(1, 400), (20, 37)), rng.random((20, 37)) < 0.3
    expected = [float(loop_stable_ap(d, r, form)) for d, r in zip(D.tolist(), R.tolist())]
    assert np.allclose(metrics.average_precision(D, R, form), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_items", range(1, 7))
def test_expected_ap_equals_the_mean_over_all_orders(form, n_items):
    rng = np.random.default_rng(n_items)
    for _ in range(6):
        d, relevant = rng.integers(0, 3, n_items), rng.random(n_items) < rng.random()
        exact = float(enumerated_ap(d.tolist(), relevant.tolist(), form))
        closed = metrics.average_precision(d[None], relevant[None], form, "expected")[0]
        assert closed == pytest.approx(exact, abs=1e-13)


def loop_ap_at(ranked, top, denominator):
    """Eq. (6) of notebook 02b for one ranking, in exact fractions."""
    total, j = Fraction(0), 0
    for r, hit in enumerate(ranked[:top], start=1):
        j += hit
        total += Fraction(j, r) * hit
    return total / max(j if denominator == "found" else min(sum(ranked), top), 1)


@pytest.mark.parametrize("denominator", ("possible", "found"))
@pytest.mark.parametrize("top", (1, 2, 10, 23, 1000))
def test_map_at_k_equals_the_double_loop(top, denominator):
    A, B, R = some_task(np.random.default_rng(top))
    rankings = [
        [hits[i] for i in sorted(range(23), key=lambda i: (d[i], i))]
        for d, hits in zip(loop_distances(A, B).tolist(), R.astype(int).tolist())
    ]
    expected = np.mean([float(loop_ap_at(ranked, top, denominator)) for ranked in rankings])
    options = {"top": top, "denominator": denominator}
    assert metrics.mean_average_precision(A, B, R, **options) == pytest.approx(expected, abs=1e-13)
    if top >= 23:
        whole = metrics.mean_average_precision(A, B, R)
        assert metrics.mean_average_precision(A, B, R, **options) == pytest.approx(whole, abs=1e-15)
    if denominator == "possible":
        assert metrics.evaluate(A, B, R, top=top)[f"map_at_{top}"] == pytest.approx(expected)


def test_the_two_denominators_by_hand():
    D, R = np.arange(4)[None], np.array([[1, 0, 0, 1]])  # of two relevant items one in the first 3
    assert metrics.average_precision(D, R, top=3)[0] == 0.5
    assert metrics.average_precision(D, R, top=3, denominator="found")[0] == 1
    with pytest.raises(ValueError, match="ties='stable'"):
        metrics.average_precision(D, R, ties="expected", top=3, denominator="found")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_items", (2, 5, 6))
def test_expected_ap_at_k_equals_the_mean_over_all_orders(form, n_items):
    rng = np.random.default_rng(n_items)
    orders = np.array(list(itertools.permutations(range(n_items))))
    for top in range(1, n_items + 2):
        d, relevant = rng.integers(0, 3, n_items), rng.random(n_items) < 0.6
        mean = metrics.average_precision(d[orders], relevant[orders], form, top=top).mean()
        closed = metrics.average_precision(d[None], relevant[None], form, "expected", top)[0]
        assert closed == pytest.approx(mean, abs=1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_expected_ap_against_random_orders(form):
    rng = np.random.default_rng(0)
    d, relevant = rng.binomial(8, 0.4, 300), rng.random(300) < 0.1
    orders = rng.permuted(np.tile(np.arange(300), (20_000, 1)), axis=1)
    sampled = metrics.average_precision(d[orders], relevant[orders], form)
    closed = metrics.average_precision(d[None], relevant[None], form, "expected")[0]
    assert abs(sampled.mean() - closed) < 4 * sampled.std() / np.sqrt(len(orders))
    assert sampled.std() > 10 * abs(sampled.mean() - closed)


@pytest.mark.parametrize("form", FORMS)
def test_without_ties_both_tie_rules_agree(form):
    rng = np.random.default_rng(1)
    D, R = rng.permuted(np.tile(np.arange(50), (9, 1)), axis=1), rng.random((9, 50)) < 0.2
    stable, expected = (
        metrics.average_precision(D, R, form, ties) for ties in ("stable", "expected")
    )
    assert np.allclose(stable, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ties", ("stable", "expected"))
@pytest.mark.parametrize("form", FORMS)
def test_no_relevant_item_counts_0_and_only_relevant_items_count_1(form, ties):
    D = np.random.default_rng(0).integers(0, 5, (3, 11))
    assert np.all(metrics.average_precision(D, np.zeros(D.shape, bool), form, ties) == 0)
    assert np.allclose(metrics.average_precision(D, np.ones(D.shape, bool), form, ties), 1)


rankings = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30)


@given(rankings)
def test_order_of_the_four_values(ranking):
    D, R = (np.array([column]) for column in zip(*ranking))
    values = {
        (f, t): metrics.average_precision(D, R, f, t)[0]
        for f in FORMS
        for t in ("stable", "expected")
    }
    best, worst = (
        metrics.average_precision(2 * D + ~R, R)[0],
        metrics.average_precision(2 * D + R, R)[0],
    )
    for ties in ("stable", "expected"):
        assert values["trapezoid", ties] <= values["standard", ties] + 1e-12
        assert worst - 1e-12 <= values["standard", ties] <= best + 1e-12
    assert all(0 <= value <= 1 + 1e-12 for value in values.values())


@given(rankings)
def test_a_perfect_ranking_has_ap_1_and_only_that(ranking):
    D, R = (np.array([column]) for column in zip(*ranking))
    perfect = ~R * 1
    for form, ties in itertools.product(FORMS, ("stable", "expected")):
        value = metrics.average_precision(perfect, R, form, ties)[0]
        assert value == pytest.approx(1.0 if R.any() else 0.0)
    flaw = R.any() and D[R].max() > D[~R].min(initial=99)
    assert not (flaw and metrics.average_precision(D, R)[0] > 1 - 1e-9)


@pytest.mark.parametrize(
    "D, R, options, message",
    [
        (np.zeros((2, 3)), np.ones((2, 3), bool), {}, "whole numbers"),
        (np.full((2, 3), -1), np.ones((2, 3), bool), {}, "whole numbers"),
        (np.zeros((2, 3), int), np.ones((3, 2), bool), {}, "one shape"),
        (np.zeros((2, 3), int), np.full((2, 3), 2), {}, "R .*booleans, or only 0 and 1"),
        (np.zeros((0, 3), int), np.ones((0, 3), bool), {}, "one shape"),
        (np.zeros((2, 3), int), np.ones((2, 3), bool), {"form": "voc"}, "form='voc'.*'trapezoid'"),
        (np.zeros((2, 3), int), np.ones((2, 3), bool), {"ties": "best"}, "ties='best'.*'expected'"),
    ],
)
def test_average_precision_says_what_is_wrong(D, R, options, message):
    with pytest.raises(ValueError, match=message):
        metrics.average_precision(D, R, **options)


# --- means over queries, in all forms of relevance and over the borders of blocks


@pytest.mark.parametrize("block", (1, 23, 50, 2**20))
@pytest.mark.parametrize("seed", range(3))
def test_every_measure_equals_the_double_loop(monkeypatch, block, seed):
    monkeypatch.setattr(metrics, "_BLOCK_ENTRIES", block)
    A, B, R = some_task(np.random.default_rng(seed), n_bits=9)
    A[2, :3], B[:, :3] = -1, 1  # the ball of this query is empty
    D = loop_distances(A, B).tolist()
    queries = list(zip(D, R.tolist()))
    precisions = [loop_ball_precision(d, r, 2) for d, r in queries]
    assert None in precisions and any(precisions)  # the case has empty balls and hits
    filled = [p or 0.0 for p in precisions]
    present = [p for p in precisions if p is not None]
    expected = {
        "precision_at_2": np.mean(filled),
        "precision_at_500": R.mean(),  # the database is shorter: all of it
        "map_standard": np.mean([float(loop_stable_ap(d, r, "standard")) for d, r in queries]),
        "map_trapezoid": np.mean([float(loop_stable_ap(d, r, "trapezoid")) for d, r in queries]),
        "map_expected": metrics.average_precision(np.array(D), R, ties="expected").mean(),
        "empty_share": np.mean([p is None for p in precisions]),
        "balance": metrics.balance(B),
        "independence": metrics.independence(B),
    }
    measured = metrics.evaluate(A, B, R)
    assert measured.keys() == expected.keys()
    assert all(type(value) is float for value in measured.values())
    assert measured == pytest.approx(expected, abs=1e-12)
    for form in FORMS:
        value = metrics.mean_average_precision(A, B, R, form)
        assert value == pytest.approx(expected[f"map_{form}"], abs=1e-12)
    assert metrics.precision_at_radius(A, B, R) == pytest.approx(np.mean(filled))
    assert metrics.precision_at_radius(A, B, R, empty=np.nan) == pytest.approx(np.mean(present))


@pytest.mark.parametrize("ties", ("stable", "expected"))
@pytest.mark.parametrize("form", FORMS)
def test_all_forms_of_codes_give_the_same(form, ties):
    A, B, R = some_task(np.random.default_rng(4), n_bits=13)
    values = {
        metrics.mean_average_precision(a, b, R, form, ties)
        for a, b in ((A, B), (A > 0, B > 0), (pack_codes(A), pack_codes(B)), (A * 1.0, B * 1.0))
    }
    assert len(values) == 1


@pytest.mark.parametrize(
    "labels", (np.arange(3), np.array(["a", "bb", "c"]), np.array([0.5, 1, 2]))
)
@pytest.mark.parametrize("n_query", (1, 2, 3, 8))
def test_all_forms_of_relevance_give_the_same(labels, n_query):
    rng = np.random.default_rng(n_query)
    A, B, _ = some_task(rng, n_query=max(n_query, 2))
    A = A[:n_query]
    y_query, y = labels[rng.integers(0, 3, n_query)], labels[rng.integers(0, 2, len(B))]
    R = y_query[:, None] == y
    indices = [np.flatnonzero(row) for row in R]
    forms = [R, indices, [list(index) for index in indices], (y_query, y)]
    if n_query != 2:
        forms.append([y_query, y])
    values = [metrics.evaluate(A, B, relevant) for relevant in forms]
    assert all(value == values[0] for value in values)


@pytest.mark.parametrize("n_database", (1, 2, 3, 23))
def test_zeros_and_ones_of_any_number_type_mark_items(n_database):
    A, B, R = some_task(np.random.default_rng(n_database), n_database=n_database)
    expected = metrics.evaluate(A, B, R)
    forms = [R.astype(t) for t in (np.int8, np.uint8, int, np.float32, float, object)]
    forms += [pd.DataFrame(R.astype(int)), R.tolist(), [*R], [*R.astype(float)]]
    forms.append(R.astype(int).tolist())
    for relevant in forms:
        assert metrics.evaluate(A, B, relevant) == expected


@pytest.mark.parametrize("relevant", ([[0, 1], [1, 0]], np.array([[1, 0], [1, 0]])))
def test_what_could_be_read_in_two_ways_is_an_error(relevant):
    A, B = np.ones((2, 4)), np.ones((2, 4))
    with pytest.raises(ValueError, match="relevant may name items or mark them"):
        metrics.evaluate(A, B, relevant)
    assert metrics.evaluate(A, B, np.asarray(relevant, bool))["map_standard"] > 0


@pytest.mark.parametrize("n_query", (1, 2, 7))
def test_pairs_of_label_matrices_and_columns_of_labels(n_query):
    rng = np.random.default_rng(n_query)
    A, B = random_codes(rng, n_query, 6), random_codes(rng, 23, 6)
    Y_query, Y = (rng.integers(0, 2, (n, 5)) for n in (n_query, 23))
    R = np.array([[any(a and b for a, b in zip(y, z)) for z in Y] for y in Y_query])
    expected = metrics.evaluate(A, B, R)
    for pair in ((Y_query, Y), [Y_query, Y], (Y_query > 0, Y * 1.0), (pd.DataFrame(Y_query), Y)):
        assert metrics.evaluate(A, B, pair) == expected
    labels = rng.integers(0, 3, n_query), rng.integers(0, 3, 23)
    expected = metrics.evaluate(A, B, labels)
    columns = tuple(y[:, None] for y in labels)
    assert metrics.evaluate(A, B, columns) == metrics.evaluate(A, B, (columns[0], labels[1]))
    assert metrics.evaluate(A, B, columns) == expected


def test_an_integer_matrix_names_the_neighbours():
    rng = np.random.default_rng(0)
    A, B, _ = some_task(rng)
    neighbours = rng.permuted(np.tile(np.arange(23), (7, 1)), axis=1)[:, :4].astype(np.int32)
    R = np.zeros((7, 23), dtype=bool)
    np.put_along_axis(R, neighbours, True, axis=1)
    assert metrics.evaluate(A, B, neighbours) == metrics.evaluate(A, B, R)


def test_every_query_weighs_the_same_whatever_is_relevant_to_it():
    B = np.array([[1, 1], [1, -1], [-1, -1]])
    A = np.array([[1, 1], [1, 1]])
    relevant = [[0], [1, 2]]  # AP 1, and (1/2 + 2/3) / 2
    value = metrics.mean_average_precision(A, B, relevant)
    assert value == pytest.approx((1 + 7 / 12) / 2)


@pytest.mark.parametrize(
    "relevant, message",
    [
        (np.ones((7, 22), bool), "7 queries and 23 items"),
        (np.ones((6, 23), bool), "7 queries and 23 items"),
        ([[0]] * 6, "6 queries, but there are 7"),
        ([[23]] + [[0]] * 6, "from 0 to 22"),
        ([[-1]] + [[0]] * 6, "from 0 to 22"),
        ([[0.5]] + [[0]] * 6, "whole numbers"),
        ([[1, 1]] + [[0]] * 6, "twice"),
        ((np.zeros(7), np.zeros(22)), "labels of shapes"),
        ((np.zeros(23), np.zeros(7)), "labels of shapes"),
        ((np.zeros((7, 3)), np.zeros((23, 4))), r"shapes \(7, 3\) and \(23, 4\)"),
        ((np.full((7, 3), 2), np.zeros((23, 3))), "labels in relevant .*0 and 1"),
        (np.ones((7, 22), int), r"shape \(7, 22\), but .* 7 queries and 23 items"),
        (np.ones((7, 23)) / 2, "0 and 1"),
        (np.full((7, 23), 2), "twice"),
        (np.zeros(7, int), r"shape \(7,\)"),
        ("labels", "got str"),
    ],
)
def test_relevance_that_does_not_fit_is_an_error(relevant, message):
    A, B, _ = some_task(np.random.default_rng(0))
    names = "evaluate mean_average_precision precision_at precision_at_radius".split()
    for measure in (getattr(metrics, name) for name in names):
        with pytest.raises(ValueError, match=message):
            measure(A, B, relevant, **({"n": 23} if measure is metrics.precision_at else {}))


def test_labels_for_two_queries_in_a_list_are_not_mistaken_for_indices():
    A, B, _ = some_task(np.random.default_rng(0), n_query=2)
    with pytest.raises(ValueError, match="twice"):
        metrics.evaluate(A, B, [np.array([0, 1]), np.zeros(23, dtype=int)])


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="codes_database"):
        metrics.mean_average_precision(np.ones((1, 4)), np.zeros((2, 4)), [[0]])
    with pytest.raises(ValueError, match="form="):
        metrics.mean_average_precision(np.ones((1, 4)), np.ones((2, 4)), [[0]], form="mean")


def test_relevance_and_codes_as_tables_and_lists():
    A, B, R = some_task(np.random.default_rng(5))
    neighbours = np.argsort(metrics.hamming_distances(A, B))[:, :4]
    same, same_by_neighbours = (metrics.evaluate(A, B, relevant) for relevant in (R, neighbours))
    assert metrics.evaluate(A, B, pd.DataFrame(R)) == same
    for relevant in (pd.DataFrame(neighbours), pd.Series([*neighbours]), neighbours.tolist()):
        assert metrics.evaluate(A.tolist(), B.tolist(), relevant) == same_by_neighbours


# --- within a radius


@pytest.mark.parametrize("block", (1, 50, 2**16))
@pytest.mark.parametrize("n_bits", (1, 9, 33, 300))
def test_items_of_a_ball(monkeypatch, n_bits, block):
    monkeypatch.setattr(metrics, "_CACHED_ENTRIES", block)
    A, B, _ = some_task(np.random.default_rng(n_bits), n_bits=n_bits)
    B[0], D = A[1], loop_distances(A, np.vstack([A[1], B[1:]]))
    for radius in (0, 2, n_bits // 2, n_bits):
        expected = [[i for i, d in enumerate(row) if d <= radius] for row in D]
        for a, b in ((A, B), (A > 0, B > 0), (pack_codes(A), pack_codes(B))):
            found = metrics.items_within(a, b, radius)
            assert [items.tolist() for items in found] == expected
            assert {items.dtype for items in found} == {np.dtype(np.int64)}
    assert 0 in metrics.items_within(A, B, 0)[1]


def test_empty_balls():
    A = np.array([[1] * 8, [-1] * 8])
    B = np.array([[1] * 8, [1] * 7 + [-1], [1] * 5 + [-1] * 3])
    relevant = [[0], [0]]
    assert metrics.precision_at_radius(A, B, relevant) == 0.25  # (1/2 + 0) / 2
    assert metrics.precision_at_radius(A, B, relevant, empty=np.nan) == 0.5
    assert metrics.precision_at_radius(A, B, relevant, empty=1.0) == 0.75
    assert metrics.precision_at_radius(A, B, relevant, radius=0) == 0.5  # (1 + 0) / 2
    assert metrics.precision_at_radius(A, B, relevant, radius=8) == pytest.approx(1 / 3)
    measured = metrics.evaluate(A, B, relevant, radius=1)
    assert measured["precision_at_1"] == 0.25 and measured["empty_share"] == 0.5


@pytest.mark.filterwarnings("error")
def test_if_every_ball_is_left_out_there_is_no_mean():
    A = np.ones((2, 8))
    assert np.isnan(metrics.precision_at_radius(A, -A, [[0], [1]], empty=np.nan))
    assert metrics.precision_at_radius(A, -A, [[0], [1]]) == 0
    assert metrics.evaluate(A, -A, [[0], [1]])["empty_share"] == 1


# --- precision among the first n


@pytest.mark.parametrize("block", (23, 2**20))
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", (1, 2, 7, 22, 23, 24, 500))
def test_precision_at_equals_the_double_loop(monkeypatch, n, seed, block):
    monkeypatch.setattr(metrics, "_BLOCK_ENTRIES", block)
    A, B, R = some_task(np.random.default_rng(seed))
    loop = []
    short = pytest.warns(UserWarning, match=f"n={n} .* 23 items") if n > 23 else nullcontext()
    for d, relevant in zip(loop_distances(A, B).tolist(), R.tolist()):
        first = sorted(range(len(B)), key=lambda i: (d[i], i))[:n]
        loop.append(sum(relevant[i] for i in first) / len(first))
    assert loop[0] == 0 and loop[1] == 1
    with short:
        found = metrics.precision_at(A, B, R, n)
        assert found == pytest.approx(np.mean(loop), abs=1e-14)
        assert metrics.precision_at(pack_codes(A), pack_codes(B), R, n) == found


@pytest.mark.parametrize("n_items", range(1, 7))
def test_expected_precision_at_equals_the_mean_over_all_orders(n_items):
    rng = np.random.default_rng(n_items)
    A, B = random_codes(rng, 1, 2), random_codes(rng, n_items, 2)
    R = rng.random((1, n_items)) < 0.5
    orders = [list(order) for order in itertools.permutations(range(n_items))]
    for n in range(1, n_items + 1):
        mean = np.mean([metrics.precision_at(A, B[order], R[:, order], n) for order in orders])
        closed = metrics.precision_at(A, B, R, n, ties="expected")
        assert closed == pytest.approx(mean, abs=1e-14)


def test_precision_at_by_hand():
    A, B = np.ones((1, 3)), np.array([[1, 1, -1], [1, 1, 1], [1, -1, 1], [-1, -1, -1]])
    relevant = [[1, 2]]  # distances 1, 0, 1, 3: ranks 1 and, tied with item 0, 3 or 2
    stable = [metrics.precision_at(A, B, relevant, n) for n in (1, 2, 3, 4)]
    expected = [metrics.precision_at(A, B, relevant, n, ties="expected") for n in (1, 2, 3, 4)]
    assert stable == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2])
    assert expected == pytest.approx([1, 3 / 4, 2 / 3, 1 / 2])


def test_evaluate_and_precision_at_agree_beyond_500_items():
    rng = np.random.default_rng(0)
    A, B = random_codes(rng, 5, 8), random_codes(rng, 1300, 8)
    labels = np.arange(5) % 3, rng.integers(0, 3, 1300)
    value = metrics.evaluate(A, B, labels)["precision_at_500"]
    assert value == pytest.approx(metrics.precision_at(A, B, labels), abs=1e-14)
    assert value != pytest.approx(metrics.precision_at(A, B, labels, 501), abs=1e-9)


@pytest.mark.parametrize("n", (0, -1, 2.0, True))
def test_precision_at_wants_a_length(n):
    with pytest.raises(ValueError, match="n must be a whole number of at least 1"):
        metrics.precision_at(np.ones((1, 4)), np.ones((2, 4)), [[0]], n)
    with pytest.raises(ValueError, match="ties='best'"):
        metrics.precision_at(np.ones((1, 4)), np.ones((2, 4)), [[0]], ties="best")


# --- recall of a shortlist


@pytest.mark.parametrize("shortlist", (1, 5, 23, 100))
@pytest.mark.parametrize("k", (None, 1, 3, 4, 50))
def test_recall_equals_the_double_loop(k, shortlist):
    rng = np.random.default_rng(shortlist)
    A, B, _ = some_task(rng)
    relevant = [rng.permutation(23)[:n].tolist() for n in (0, 1, 2, 4, 4, 10, 23)]
    loop = []
    for d, neighbours in zip(loop_distances(A, B).tolist(), relevant):
        first = sorted(range(23), key=lambda i: (d[i], i))[:shortlist]
        wanted = neighbours[:k]
        loop.append(len(set(first) & set(wanted)) / max(len(wanted), 1))
    value = metrics.recall_at(A, B, relevant, k, shortlist)
    assert value == pytest.approx(np.mean(loop), abs=1e-14)
    orders = [rng.permutation(23) for _ in range(300)]
    shuffled = [
        metrics.recall_at(A, B[o], [np.argsort(o)[items] for items in relevant], k, shortlist)
        for o in orders
    ]
    expected = metrics.recall_at(A, B, relevant, k, shortlist, ties="expected")
    assert abs(np.mean(shuffled) - expected) < 5 * np.std(shuffled) / np.sqrt(300) + 1e-12


def test_recall_of_the_k_nearest_needs_their_order():
    A, B, R = some_task(np.random.default_rng(0))
    assert metrics.recall_at(A, B, R, shortlist=23) == 6 / 7  # nothing is relevant to one query
    for relevant in (R, R.astype(int), (np.zeros(7), np.zeros(23))):
        with pytest.raises(ValueError, match="k=2 wants relevant as indices"):
            metrics.recall_at(A, B, relevant, k=2)


# --- the nearest codes


@pytest.mark.parametrize("n_bits", (1, 9, 64, 300))
@pytest.mark.parametrize("k", (1, 10, 3000))
def test_nearest_codes_are_the_first_of_a_stable_sort(k, n_bits, monkeypatch):
    monkeypatch.setattr(metrics, "_CACHED_ENTRIES", 2 * 3000)
    rng = np.random.default_rng(n_bits)
    A, B = random_codes(rng, 5, n_bits), random_codes(rng, 3000, n_bits)
    D = (n_bits - A.astype(int) @ B.T) // 2
    indices, distances = metrics.nearest(A, B, k)
    assert np.array_equal(indices, np.argsort(D, axis=1, kind="stable")[:, :k])
    assert np.array_equal(distances, np.sort(D, axis=1)[:, :k])
    assert (indices.dtype, distances.dtype) == (np.int64, np.int16)
    packed = metrics.nearest(pack_codes(A), pack_codes(B), k)
    assert np.array_equal(packed, (indices, distances))


@pytest.mark.parametrize("k", (0, 3, 1.0, True))
def test_nearest_wants_a_number_of_items(k):
    with pytest.raises(ValueError, match="k"):
        metrics.nearest(np.ones((1, 4)), np.ones((2, 4)), k)


# --- balance and independence


def test_balance_and_independence_by_hand():
    B = np.array([[1, 1, 1], [1, -1, 1], [-1, 1, 1], [-1, -1, 1]])
    assert metrics.balance(B) == pytest.approx(1 / 3)
    assert metrics.independence(B) == 0
    assert metrics.independence(np.column_stack([B[:, 0], B[:, 0], -B[:, 0]])) == 1
    assert metrics.independence(B[:, :1]) == 0
    assert metrics.balance(B > 0) == metrics.balance(B)
    assert metrics.independence(B > 0) == metrics.independence(B)


@settings(max_examples=50)
@given(
    hnp.arrays(
        np.int8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
        elements=st.sampled_from([-1, 1]),
    )
)
def test_balance_and_independence_equal_their_loops(codes):
    m, L = codes.shape
    columns = codes.T.astype(float)
    assert metrics.balance(codes) == pytest.approx(sum(abs(b.mean()) for b in columns) / L)
    pairs = [abs(np.mean(a * b)) for a, b in itertools.permutations(columns, 2)]
    assert metrics.independence(codes) == pytest.approx(np.mean(pairs) if pairs else 0.0)
    assert 0 <= metrics.balance(codes) <= 1 and 0 <= metrics.independence(codes) <= 1 + 1e-12


@pytest.mark.parametrize(
    "codes", (np.zeros((3, 2)), np.ones(3), np.ones((0, 2)), np.ones((2, 2), np.uint8) * 3)
)
def test_balance_and_independence_want_codes(codes):
    for measure in (metrics.balance, metrics.independence):
        with pytest.raises(ValueError, match="codes must"):
            measure(codes)


def test_evaluate_wants_the_number_of_bits():
    A, B, R = some_task(np.random.default_rng(0))
    with pytest.raises(ValueError, match="-1 and \\+1"):
        metrics.evaluate(pack_codes(A), pack_codes(B), R)


# --- cost


def test_memory_stays_with_the_block(monkeypatch):
    """A table of all pairs would take 2 * 3,000 * 4,000 bytes for the distances alone."""
    monkeypatch.setattr(metrics, "_BLOCK_ENTRIES", 2**16)
    rng = np.random.default_rng(0)
    A, B = random_codes(rng, 3000, 16), random_codes(rng, 4000, 16)
    labels = rng.integers(0, 10, 3000), rng.integers(0, 10, 4000)
    tracemalloc.start()
    metrics.evaluate(A, B, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_codes_in_a_mapped_file_are_never_held_as_numbers(tmp_path):
    rng = np.random.default_rng(0)
    codes = np.where(rng.random((300_000, 32)) < 0.5, -1, 1).astype(np.int8)
    labels = rng.integers(10, size=len(codes))
    np.save(tmp_path / "codes.npy", codes)
    mapped = np.load(tmp_path / "codes.npy", mmap_mode="r")
    relevant = labels[:20], labels
    expected = metrics.evaluate(codes[:20], codes, relevant)
    tracemalloc.start()
    found = metrics.evaluate(mapped[:20], mapped, relevant)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == expected
    assert peak < 45_000_000  # float64 codes alone would take 77 MB
    signs = codes.astype(np.float64)
    assert found["balance"] == pytest.approx(np.mean(np.abs(signs.mean(axis=0))), rel=1e-12)
    products = np.abs(signs.T @ signs / len(signs)) - np.eye(32)
    assert found["independence"] == pytest.approx(products.sum() / (32 * 31), rel=1e-12)


def loop_curves(D, R):
    """Precision and recall for all radii, query by query; an empty ball has precision 0."""
    n_bits = 6
    curves = np.zeros((2, n_bits + 1))
    for d, relevant in zip(D, R):
        for radius in range(n_bits + 1):
            hits = sum(hit for distance, hit in zip(d, relevant) if distance <= radius)
            curves[0, radius] += loop_ball_precision(d, relevant, radius) or 0
            curves[1, radius] += hits / sum(relevant) if any(relevant) else 0
    return curves / len(D)


@pytest.mark.parametrize("seed", range(3))
def test_curves_over_the_radii_equal_the_loop(seed, monkeypatch):
    A, B, R = some_task(np.random.default_rng(seed))
    expected = loop_curves(loop_distances(A, B), R)
    for block in (2**20, 50):  # blocks whose largest distances differ
        monkeypatch.setattr(metrics, "_BLOCK_ENTRIES", block)
        measured = metrics.evaluate(A, B, R, curves=True)
        curves = measured.pop("precision_by_radius"), measured.pop("recall_by_radius")
        np.testing.assert_allclose(curves, expected, rtol=1e-12)
    assert measured == metrics.evaluate(A, B, R)
    assert measured["precision_at_2"] == pytest.approx(expected[0, 2])


def test_curve_known_by_hand():
    ones = np.ones((1, 3), dtype=np.int8)
    database = np.array([[1, 1, -1], [-1, -1, 1], [-1, -1, -1]])
    found = metrics.evaluate(ones, database, [[0, 2]], curves=True)
    assert found["precision_by_radius"].tolist() == [0, 1, 0.5, 2 / 3]
    assert found["recall_by_radius"].tolist() == [0, 0.5, 0.5, 1]
