"""bdnn.course.explorer: the recorded grid against the library, the page, the widgets."""

import asyncio
import base64
import json
import re

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bdnn import metrics
from bdnn.metrics import pack_codes
from bdnn.course import explorer as explore
from bdnn.course.explorer import (
    MEASURES,
    VALUES,
    Cancelled,
    Explorer,
    Grid,
    LiveTraining,
    correlation_matrix,
    defaults,
    describe,
    describe_pair,
    explorer_page,
    gallery_codes,
    gallery_neighbours,
    grid_points,
    make_estimator,
    observe,
    view,
)
from bdnn.data import load
from tools.grid import FILE

QUICK = {"max_alternations": 1, "max_iter": 5, "n_init": 1}


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def grid():
    return Grid.read(FILE)


@pytest.fixture(scope="module")
def trained(digits):
    """A short training, and its row."""
    values = defaults("UHBDNN") | {"n_bits": 8}
    estimator = make_estimator("UHBDNN", values, **QUICK).fit(digits.train)
    return estimator, observe("UHBDNN", values, 0, estimator, digits)


def test_the_defaults_are_the_papers():
    assert defaults("UHBDNN") == {
        **{"lambda1": 1e-5, "lambda2": 5e-2, "lambda3": 1e-2, "lambda4": 1e-6},
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
    assert moved.count(["lambda2", "lambda3"]) == (36 if method == "UHBDNN" else 0)


def test_the_recorded_grid_is_complete_and_small(grid):
    assert FILE.stat().st_size < 400_000
    assert len(grid.seeds) == 5
    for method in VALUES:
        for values in grid_points(method):
            row = grid.find(method, values)
            L = values["n_bits"]
            assert len(row["share"]) == L and len(row["correlation"]) == L * (L - 1) // 2
            assert gallery_codes(row).shape == (297, L)
            for name in MEASURES:
                mean, low, high = grid.spread(method, values, name)
                assert 0 <= low <= mean <= high <= 1 and low <= row[name] <= high


@pytest.mark.parametrize(
    ("method", "moved"),
    [("UHBDNN", {"lambda2": 5.0}), ("UHBDNN", {"n_bits": 8}), ("DeepHashing", {"alpha1": 10000})],
)
def test_the_recorded_grid_is_what_the_library_computes(grid, digits, method, moved):
    values = defaults(method) | moved
    estimator = make_estimator(method, values).fit(digits.train)
    ours, recorded = observe(method, values, 0, estimator, digits), grid.find(method, values)
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
    assert np.array_equal(gallery_codes(row), gallery)
    measures = metrics.evaluate(gallery, codes, digits.relevant)
    assert [row[name] for name in MEASURES] == [round(measures[name], 4) for name in MEASURES]
    assert np.allclose(np.array(row["share"]) / 1000, (codes > 0).mean(axis=0), atol=6e-4)
    R = codes.astype(float).T @ codes / len(codes)
    assert np.allclose(correlation_matrix(row), R, atol=6e-3)
    assert row["steps"] == [0, 1]
    for name, curve in row["curves"].items():
        exact = [entry[name] for entry in estimator.history_]
        assert curve == pytest.approx(exact, rel=1e-3)
    assert json.loads(json.dumps(row)) == row


def test_long_histories_are_thinned_to_their_ends(digits):
    estimator = make_estimator("DeepHashing", {"n_bits": 8}).fit(digits.train[:200])
    row = observe("DeepHashing", defaults("DeepHashing") | {"n_bits": 8}, 0, estimator, digits)
    assert len(row["steps"]) == explore.MOST_STEPS
    assert (row["steps"][0], row["steps"][-1]) == (0, estimator.n_iter_)
    assert "variance" in row["curves"] and "seconds" not in row["curves"]


def test_neighbours_by_hand():
    codes = np.array([[1, 1, 1], [1, 1, -1], [1, -1, -1], [1, 1, 1], [-1, 1, 1]])
    neighbours, distances = gallery_neighbours(codes, 0, n=3)
    assert distances.tolist() == [0, 1, 2, 0, 1]
    assert neighbours.tolist() == [3, 1, 4]  # ties by number, without the picture itself
    assert gallery_neighbours(codes, 3, n=1)[0].tolist() == [0]


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
        "imbalance 0.062, dependence 0.031. "
        "Objective 2.5 after 1 alternations: weight decay 0.5. "
        "Share of +1 from 25.0 to 50.0 %, largest correlation of two bits 0.40."
    )
    assert describe_pair(row, np.array([7, 7, 7, 2]), 0, 3) == (
        "Pictures 0 (a 7) and 3 (a 2) differ in 2 of 2 bits; "
        "of their 8 nearest, 2 and 0 show the same digit."
    )


def test_find_nearest_and_spread():
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
    assert grid.nearest("UHBDNN", here, "lambda1") == here
    beyond = here | {"lambda1": 0.0, "lambda4": 0.1}
    assert grid.nearest("UHBDNN", beyond, "lambda4") == defaults("UHBDNN") | {"lambda4": 0.1}


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
    page = explorer_page(grid, digits, name="two")
    assert re.findall(r"(?:src|href)=|url\(|https?:|import\s", page) == []
    assert 'id="two"' in page and "<noscript>" in page and "@" not in re.sub("@media", "", page)
    data = page_data(page)
    pixels = np.frombuffer(base64.b64decode(data["pictures"]), np.uint8)
    pixels = np.stack([pixels & 15, pixels >> 4], axis=1).reshape(len(digits.query), -1)
    assert np.abs(pixels * 16 / 15 - digits.query).max() <= 0.54
    assert data["labels"] == digits.labels.query.tolist()
    for method, content in zip(VALUES, data["methods"]):
        assert len(content["points"]) == len(grid_points(method))
        for values in grid_points(method):
            at = [list(VALUES[method][name]).index(values[name]) for name in VALUES[method]]
            point, row = content["points"][",".join(map(str, at))], grid.find(method, values)
            assert point["codes"] == row["codes"] and point["text"] == describe(row)
            assert point["map"][0] == round(100 * grid.spread(method, values, "map_standard")[0], 2)


def test_two_pages_have_no_identifier_in_common(grid, digits):
    found = [
        set(re.findall(r'id="([^"$]+)', explorer_page(grid, digits, name=name)))
        for name in ("one", "two")
    ]
    assert found[0] and not found[0] & found[1]


def test_the_view_shows_the_neighbours_of_the_codes(grid, digits):
    row = grid.find("UHBDNN", defaults("UHBDNN"))
    shown, labels = view(row, grid, digits, "lambda3", 5, 20), digits.labels.query
    neighbours, distances = gallery_neighbours(gallery_codes(row), 5)
    assert np.array_equal(shown["images"][0, 1:].reshape(8, -1), digits.query[neighbours])
    texts = [f"{distances[j]} bit" + "s" * int(distances[j] != 1) for j in neighbours]
    assert shown["titles"][0] == ["picture 5", *texts]
    assert shown["marks"][0] == [None, *(labels[neighbours] == labels[5])]
    assert shown["sweep"]["label"] == "λ3" and shown["sweep"]["at"] == 3
    assert shown["sweep"]["precision"][3, 0] == pytest.approx(
        100 * grid.spread("UHBDNN", row["values"], "precision_at_2")[0]
    )


def test_a_live_training_ends_where_a_plain_one_does(digits):
    def new():
        return make_estimator("UHBDNN", {"n_bits": 8}, **QUICK)

    first, second = new().fit(digits.train), new()
    training = LiveTraining(second, digits.train, first)
    training.wait(60)
    assert not training.running and training.error is None and training.progress == 1
    with threadpool_limits(1):
        assert np.array_equal(second.codes_, new().fit(digits.train, start=first).codes_)


def test_a_live_training_is_cancelled_within_a_step(digits):
    long = make_estimator("UHBDNN", {}, max_alternations=10_000, patience=10_000)
    training = LiveTraining(long, digits.train)
    while training.progress == 0 and training.running:
        training.wait(0.01)
    training.cancel()
    training.wait(30)
    assert not training.running and isinstance(training.error, Cancelled)
    assert 0 < training.progress < 0.5


def test_what_a_live_training_raises_is_kept(digits):
    training = LiveTraining(make_estimator("UHBDNN", {"lambda1": -1.0}), digits.train)
    training.wait(30)
    assert "lambda1 must be" in str(training.error)


@pytest.fixture
def quick_training(monkeypatch):
    quick = {"UHBDNN": explore.TRAINING["UHBDNN"] | QUICK, "DeepHashing": {"max_iter": 5}}
    monkeypatch.setattr(explore, "TRAINING", quick)
    monkeypatch.setattr(explore, "SHORTER", {"UHBDNN": {"max_alternations": 0}, "DeepHashing": {}})


async def settle(explorer):
    """Wait for the last training of an explorer, and for its picture."""
    await asyncio.wait_for(explorer.follower, 60)


def test_recorded_sliders_show_the_recorded_training(grid, digits):
    explorer = Explorer(grid, digits)
    before = explorer.picture.value
    explorer.sliders["UHBDNN"]["lambda2"].value = 5.0
    values = defaults("UHBDNN") | {"lambda2": 5.0}
    assert explorer.row is grid.find("UHBDNN", values) and explorer.picture.value != before
    assert describe(explorer.row) in explorer.text
    explorer.sliders["UHBDNN"]["lambda4"].value = 0.1  # not recorded together with lambda2 = 5
    assert explorer.values() == defaults("UHBDNN") | {"lambda4": 0.1} == explorer.row["values"]
    assert "went back" in explorer.text
    explorer.pair[0].value = 11
    assert describe_pair(explorer.row, digits.labels.query, 11, 7) in explorer.text
    explorer.method.value = "DeepHashing"
    assert explorer.row["method"] == "DeepHashing"
    explorer.sliders["DeepHashing"]["alpha1"].value = 0
    explorer.reset.click()
    assert explorer.values() == defaults("DeepHashing") == explorer.row["values"]
    assert explorer._repr_mimebundle_()["text/plain"] == explorer.text


def test_live_sliders_go_on_from_the_solution_before(grid, digits, quick_training):
    async def play():
        explorer = Explorer(grid, digits)
        explorer.mode.value = "live"
        await settle(explorer)
        assert "from scratch" in explorer.text
        explorer.sliders["UHBDNN"]["lambda3"].value = 1.0
        await settle(explorer)
        assert "on from the solution before" in explorer.text
        shown = explorer.row
        explorer.sliders["UHBDNN"]["n_bits"].value = 8
        await settle(explorer)
        assert "from scratch" in explorer.text and len(explorer.row["share"]) == 8
        return shown

    shown, start = asyncio.run(play()), defaults("UHBDNN")
    values = start | {"lambda3": 1.0}
    with threadpool_limits(1):  # as live trainings have it: the last digits depend on it
        first = make_estimator("UHBDNN", start).fit(digits.train)
        second = make_estimator("UHBDNN", values, max_alternations=0).fit(digits.train, start=first)
    assert shown == observe("UHBDNN", values, 0, second, digits)


def test_cancel_goes_back_to_what_is_shown(grid, digits, monkeypatch):
    long = {"max_alternations": 10_000, "patience": 10_000}
    monkeypatch.setitem(explore.TRAINING, "UHBDNN", explore.TRAINING["UHBDNN"] | long)

    async def play():
        explorer = Explorer(grid, digits)
        shown = explorer.row
        explorer.mode.value = "live"
        explorer.sliders["UHBDNN"]["lambda1"].value = 1e-3
        assert not explorer.cancel.disabled
        explorer.cancel.click()
        await settle(explorer)
        assert explorer.row is shown and explorer.values() == shown["values"]
        assert explorer.text.startswith("Cancelled") and explorer.cancel.disabled
        explorer.sliders["UHBDNN"]["lambda1"].value = 1e-3
        explorer.mode.value = "recorded"  # ends the training, too
        await settle(explorer)
        assert not explorer.training.running and explorer.row["values"]["lambda1"] == 1e-3
        assert explorer.text.startswith("Recorded")

    asyncio.run(play())
