"""bdnn.course.explorer: the recorded grid against the library, and the page."""

import base64
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from bdnn import metrics
from bdnn.course import explorer as explore
from bdnn.course.explorer import (
    MEASURES,
    N_GALLERY,
    N_TRAIN,
    VALUES,
    Grid,
    defaults,
    describe,
    explorer_page,
    gallery_codes,
    grid_points,
    make_estimator,
    observe,
    picture_axes,
)
from bdnn.data import load
from bdnn.metrics import pack_codes
from tools.grid import FILE

QUICK = {"max_alternations": 1, "max_iter": 5}


@pytest.fixture(scope="module")
def digits():
    return load("mnist5k")


@pytest.fixture(scope="module")
def grid():
    return Grid.read(FILE)


@pytest.fixture(scope="module")
def trained(digits):
    """A short training, and its row."""
    values = defaults("UHBDNN") | {"n_bits": 8}
    drawn = np.random.default_rng(3).permutation(len(digits.train))[:N_TRAIN]
    estimator = make_estimator("UHBDNN", values, 3, **QUICK).fit(digits.train[drawn])
    return estimator, observe("UHBDNN", values, 3, digits, **QUICK)


def test_the_defaults_are_the_papers():
    assert defaults("UHBDNN") == {
        **{"lambda1": 1e-5, "lambda2": 5e-2, "lambda3": 1e-2, "lambda4": 1e-6},
        "n_bits": 16,
    }
    assert defaults("SHBDNN") == {
        **{"lambda1": 1e-3, "lambda2": 5, "lambda3": 1, "lambda4": 1e-4},
        "n_bits": 16,
    }
    assert defaults("DeepHashing") == {"alpha1": 100, "alpha2": 1e-3, "alpha3": 1e-3, "n_bits": 16}
    with pytest.raises(ValueError, match="method='ITQ' is not known"):
        make_estimator("ITQ", {})


@pytest.mark.parametrize("method", VALUES)
def test_the_points_move_one_value_at_a_time(method):
    points, start = grid_points(method), defaults(method)
    assert points[0] == start
    assert len({json.dumps(point) for point in points}) == len(points)
    moved = [[name for name in start if point[name] != start[name]] for point in points]
    assert all(names in ([], ["lambda2", "lambda3"]) or len(names) == 1 for names in moved)
    for name, values in VALUES[method].items():
        assert {point[name] for point in points} == set(values)
        assert len(values) >= (4 if name == "n_bits" else 5)
    assert moved.count(["lambda2", "lambda3"]) == (9 if method == "UHBDNN" else 0)


def test_the_recorded_grid_is_complete_and_small(grid):
    assert FILE.stat().st_size < 400_000
    assert len(grid.seeds) == 5
    for method in VALUES:
        for values in grid_points(method):
            row = grid.find(method, values)
            L = values["n_bits"]
            assert len(row["share"]) == L and len(row["correlation"]) == L * (L - 1) // 2
            assert gallery_codes(row).shape == (N_GALLERY, L)
            assert len(row["decoder"]) == 4 * -(-explore.N_AXES * (L + 1) // 3)
            for name in MEASURES:
                mean, low, high = grid.spread(method, values, name)
                assert 0 <= low <= mean + 1e-9 <= high + 2e-9 < 1.1 and low <= row[name] <= high
                assert len(grid.each(method, values, name)) == 5


@pytest.mark.rounding  # not at 8 bits: there rounding may decide which classes share a ball
@pytest.mark.parametrize(
    ("method", "moved"),
    [
        ("UHBDNN", {"lambda2": 0.5}),
        ("SHBDNN", {"lambda3": 10.0}),
        ("DeepHashing", {"alpha1": 10000}),
    ],
)
def test_the_recorded_grid_is_what_the_library_computes(grid, digits, method, moved):
    values = defaults(method) | moved
    ours, recorded = observe(method, values, 0, digits), grid.find(method, values)
    assert ours["steps"] == recorded["steps"] and ours["curves"].keys() == recorded["curves"].keys()
    for name in MEASURES:  # training amplifies the rounding of a machine
        assert ours[name] == pytest.approx(recorded[name], abs=0.03)
    for k in (0, -1):
        J, J_recorded = (row["curves"]["objective"][k] for row in (ours, recorded))
        assert J == pytest.approx(J_recorded, rel=0.01)
    assert np.mean(gallery_codes(ours) == gallery_codes(recorded)) > 0.9


def test_a_row_holds_what_metrics_and_codes_say(trained, digits):
    estimator, row = trained
    gallery, codes = estimator.transform(digits.query), estimator.transform(digits.database)
    assert np.array_equal(gallery_codes(row), gallery[:N_GALLERY])
    measures = metrics.evaluate(gallery, codes, digits.relevant)
    assert [row[name] for name in MEASURES] == [round(measures[name], 4) for name in MEASURES]
    assert np.allclose(np.array(row["share"]) / 1000, (codes > 0).mean(axis=0), atol=6e-4)
    R = codes.astype(float).T @ codes / len(codes)
    upper = R[np.triu_indices(len(R), 1)]
    assert np.allclose(np.array(row["correlation"]) / 100, upper, atol=6e-3)
    assert row["steps"] == [0, 1]
    for name, curve in row["curves"].items():
        exact = [entry[name] for entry in estimator.history_]
        assert curve == pytest.approx(exact, rel=1e-3)
    assert json.loads(json.dumps(row)) == row


def reconstructed(row, dataset):
    """What the decoder of a row makes of the queries' codes: array (n, D)."""
    D = np.frombuffer(base64.b64decode(row["decoder"]), np.int8).reshape(explore.N_AXES, -1)
    mean, axes = picture_axes(dataset)
    B = gallery_codes(row).T
    return (mean + axes @ (row["unit"] * (D[:, :-1] @ B.astype(float) + D[:, -1:]))).T


def test_the_decoder_is_that_of_the_method(trained, digits):
    estimator, row = trained
    mean, axes = picture_axes(digits)
    B = gallery_codes(row).T
    full = estimator.decoder_W_ @ B + estimator.decoder_c_
    seen = (mean + axes @ (axes.T @ (full - mean))).T
    assert np.abs(reconstructed(row, digits) - seen).max() < 6  # of 255: what the bytes leave away
    assert np.sqrt(np.mean((seen - full.T) ** 2)) < 8  # what the axes leave away


@pytest.mark.parametrize("method", ["SHBDNN", "DeepHashing"])
def test_codes_without_a_decoder_get_the_best_linear_one(digits, method):
    options = {"max_iter": 3} | ({"max_alternations": 0} if method == "SHBDNN" else {})
    row = observe(method, defaults(method), 0, digits, **options)
    X = digits.query[:N_GALLERY]
    left = np.mean((X - reconstructed(row, digits)) ** 2) / np.mean((X - X.mean(axis=0)) ** 2)
    assert left < 0.9


def test_every_seed_draws_its_own_samples_and_labels_judge_sh_bdnn(digits, monkeypatch):
    seen = []

    def fit(self, X, y=None):
        seen.append((X, y))
        raise KeyboardInterrupt

    for method in ("UHBDNN", "SHBDNN"):
        monkeypatch.setattr(explore.METHODS[method], "fit", fit)
        for seed in (0, 1):
            with pytest.raises(KeyboardInterrupt):
                observe(method, defaults(method), seed, digits)
    (first, none), (other, _), (same, labels), _ = seen
    assert first.shape == (N_TRAIN, 784) and not np.array_equal(first, other)
    assert none is None and np.array_equal(first, same) and labels.shape == (N_TRAIN,)
    rows = [np.flatnonzero((digits.train == x).all(axis=1))[0] for x in first[:5]]
    assert np.array_equal(digits.labels.train[rows], labels[:5])


def test_long_histories_are_thinned_to_their_ends(digits):
    row = observe("DeepHashing", defaults("DeepHashing") | {"n_bits": 8}, 0, digits, max_iter=50)
    assert len(row["steps"]) == explore.MOST_STEPS
    assert (row["steps"][0], row["steps"][-1]) == (0, 50)
    assert "variance" in row["curves"] and "seconds" not in row["curves"]


def small_row(codes, **values):
    codes = np.asarray(codes)
    return {
        "method": "UHBDNN",
        "values": defaults("UHBDNN") | {"n_bits": codes.shape[1]} | values,
        "seed": 0,
        **dict(zip(MEASURES, (0.25, 0.5, 0.125, 0.0625, 0.03125))),
        "steps": [0, 1],
        "curves": {"objective": [3.0, 2.5], "weight_decay": [1.0, 0.5]},
        "share": [500, 250],
        "correlation": [-40],
        "codes": base64.b64encode(pack_codes(codes)).decode(),
    }


def test_the_line_states_the_numbers():
    row = small_row([[1, 1], [1, -1], [1, 1], [-1, -1]], lambda2=5.0)
    assert describe(row) == (
        "UH-BDNN, λ1 = 1e-05, λ2 = 5, λ3 = 0.01, λ4 = 1e-06, bits = 2: "
        "precision at radius 2 25.0 %, mAP 50.0 %, empty balls 12.5 %, "
        "imbalance 0.062, dependence 0.031; objective 2.5, weight decay 0.5"
    )


def test_find_and_spread():
    codes = [[1, 1], [1, -1]]
    rows = [small_row(codes), small_row(codes, lambda1=0.0) | {"precision_at_2": 0.5}]
    short = {key: rows[0][key] for key in ("method", "values", *MEASURES)}
    grid = Grid([*rows, short | {"seed": 3, "precision_at_2": 0.75}])
    here = rows[0]["values"]
    assert grid.seeds == [0, 3]
    assert grid.find("UHBDNN", here) is rows[0]
    assert grid.find("UHBDNN", here | {"lambda1": 1e-7}) is None
    assert grid.spread("UHBDNN", here, "precision_at_2") == (0.5, 0.25, 0.75)
    assert np.isnan(grid.spread("UHBDNN", here | {"lambda2": 0.0}, "precision_at_2")).all()


@pytest.mark.parametrize("content", ["", "{}", '{"rows": [1]}', '{"rows": [{"method": "ITQ"}]}'])
def test_a_damaged_file_is_named_with_its_mend(tmp_path, content):
    path = tmp_path / "grid.json"
    with pytest.raises(FileNotFoundError, match="make it with `python3 course.py grid`"):
        Grid.read(path)
    path.write_text(content)
    with pytest.raises(ValueError, match="grid.json is damaged .* make it anew"):
        Grid.read(path)


def page_data(page):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.S)[1])


def test_the_page_holds_the_grid_and_asks_for_nothing_else(grid, digits):
    page = explorer_page(grid, digits, name='tw"o')
    assert re.findall(r"(?:src|href)=|url\(|https?:|import\s", page) == []
    assert 'id="tw-o"' in page and "<noscript>" in page and "@" not in re.sub("@media", "", page)
    assert len(page.encode()) < 450_000
    data = page_data(page)
    pixels = np.frombuffer(base64.b64decode(data["pictures"]), np.uint8)
    pixels = np.stack([pixels & 15, pixels >> 4], axis=1).reshape(N_GALLERY, -1)
    assert np.abs(17.0 * pixels - digits.query[:N_GALLERY]).max() <= 8.5
    assert data["labels"] == digits.labels.query[:N_GALLERY].tolist()
    axes = np.frombuffer(base64.b64decode(data["axes"]), np.int8).reshape(784, -1) * data["unit"]
    assert np.abs(axes - picture_axes(digits)[1]).max() <= 0.51 * data["unit"]
    for method, content in zip(VALUES, data["methods"]):
        assert content["name"] == method
        assert len(content["points"]) == len(grid_points(method))
        for values in grid_points(method):
            at = [list(VALUES[method][name]).index(values[name]) for name in VALUES[method]]
            point, row = content["points"][",".join(map(str, at))], grid.find(method, values)
            assert point["codes"] == row["codes"] and point["decoder"] == row["decoder"]
            each = [round(100 * v, 2) for v in grid.each(method, values, "map_standard")]
            assert point["map"] == each and len(each) == 5


def test_a_training_of_ones_own_joins_the_recorded_ones(grid, digits):
    start = grid.find("SHBDNN", defaults("SHBDNN"))
    mine = start | {"values": start["values"] | {"lambda3": 3.0}}
    rows = [row for row in grid.rows if row["method"] == "SHBDNN"]
    data = page_data(explorer_page(Grid([*rows, mine]), digits, "mine", opened=mine))
    (method,) = data["methods"]
    third = method["parameters"][2]
    assert third["values"] == ["0", "0.1", "1", "3", "10", "100"] and third["start"] == 2
    k, at = data["opened"]
    assert k == 0 and [p["values"][v] for p, v in zip(method["parameters"], at)] == [
        *("0.001", "5", "3", "0.0001", "16")
    ]
    assert len(method["points"][",".join(map(str, at))]["precision"]) == 1


def test_two_pages_have_no_identifier_in_common(grid, digits):
    found = [
        set(re.findall(r'id="([^"$]+)', explorer_page(grid, digits, name=name)))
        for name in ("one", "two")
    ]
    assert found[0] and not found[0] & found[1]


def test_the_page_shows_text_and_never_runs_it(grid, digits):
    evil = np.full(len(digits.query), "</script><!--<img src=x>")
    labelled = replace(digits, labels=digits.labels._replace(query=evil))
    page = explorer_page(grid, labelled, name='a"b<i>')
    assert page_data(page)["labels"][0] == "&lt;/script&gt;&lt;!--&lt;img src=x&gt;"
    assert "<img" not in page and "<!--" not in page and 'id="a-b-i-"' in page
