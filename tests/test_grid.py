"""`course.py grid`: complete, resumable, the first seed in full."""

import json
import warnings
from dataclasses import replace

import pytest

from bdnn import UHBDNN, data
from bdnn.course import explorer as explore
from bdnn.hashing import StoppedEarly
from tools import grid


@pytest.fixture(scope="module")
def few():
    """The digits with a tenth of the queries."""
    whole = data.load(grid.DATA)
    labels = whole.labels._replace(query=whole.labels.query[:100])
    return replace(whole, query=whole.query[:100], relevant=whole.relevant[:100], labels=labels)


@pytest.fixture
def small(few, monkeypatch, tmp_path):
    """A grid of three quick points for each method, and a file to record it in."""
    monkeypatch.setattr(data, "load", lambda name: few)
    monkeypatch.setattr(explore, "N_TRAIN", 200)
    quick = {"max_alternations": 0, "max_iter": 2, "n_validation": 0}
    training = {"UHBDNN": quick, "SHBDNN": quick | {"init": "itq"}, "DeepHashing": {"max_iter": 1}}
    monkeypatch.setattr(explore, "TRAINING", training)
    points = explore.grid_points
    monkeypatch.setattr(explore, "grid_points", lambda method: points(method)[:3])
    return tmp_path / "results" / "grid.json"


@pytest.fixture
def pretended(monkeypatch):
    """The trainings that are asked for, in order; none takes place."""
    asked = []

    def observe(method, values, seed, dataset):
        asked.append((method, values, seed))
        row = dict.fromkeys([*explore.MEASURES, *explore.KEPT], 0)
        return row | {"method": method, "values": values, "seed": seed}

    monkeypatch.setattr(explore, "observe", observe)
    return asked


def run(path, *seeds):
    grid.main(["--record", str(path), "--seeds", *map(str, seeds)])
    found = json.loads(path.read_text())
    return [found["about"], *found["rows"]]


@pytest.mark.slow
def test_every_point_for_every_seed(small, capsys):
    about, *rows = run(small, 3, 5)
    assert "18 trainings" in capsys.readouterr().out
    assert [(row["seed"], row["method"]) for row in rows] == [
        (seed, method) for seed in (3, 5) for method in explore.VALUES for _ in range(3)
    ]
    assert all(("codes" in row) == (row["seed"] == 3) for row in rows)
    assert about["command"] == "python3 course.py grid --seeds 3 5"
    assert about["ground_truth"] == "knn50" and about["n_query"] == 100
    found = explore.Grid.read(small)
    assert found.seeds == [3, 5]
    assert found.find("UHBDNN", explore.defaults("UHBDNN"))["codes"]
    # other seeds stay behind those that are asked for
    about, *after = run(small, 5)
    assert about["command"] == "python3 course.py grid --seeds 5 3"
    assert [row["seed"] for row in after] == 9 * [5] + 9 * [3]
    assert after[9:] == rows[:9] and all("codes" in row for row in after)


def test_an_interrupted_run_goes_on(small, pretended, monkeypatch):
    observe = explore.observe

    def two(*args):
        if len(pretended) == 2:
            raise KeyboardInterrupt
        return observe(*args)

    monkeypatch.setattr(explore, "observe", two)
    with pytest.raises(KeyboardInterrupt):
        run(small, 0)
    kept = json.loads(small.read_text())["rows"]
    assert len(kept) == 2
    monkeypatch.setattr(explore, "observe", observe)
    _, *rows = run(small, 0)
    assert len(rows) == 9 and rows[:2] == kept
    assert len(pretended) == 2 + 7


def test_other_settings_are_another_grid(small, pretended, monkeypatch):
    run(small, 0)
    before = small.read_text()
    monkeypatch.setitem(explore.TRAINING["UHBDNN"], "max_iter", 3)
    with pytest.raises(ValueError, match="grid.json holds trainings of other training: give anoth"):
        run(small, 0)
    monkeypatch.setattr(grid, "versions", lambda: {"numpy": "9"})
    with pytest.raises(ValueError, match="of other training, versions: .*--record, or remove this"):
        run(small, 0)
    assert small.read_text() == before


def test_a_damaged_file_is_not_overwritten(small):
    small.parent.mkdir()
    small.write_text('{"data": "digits"\n')
    with pytest.raises(ValueError, match="grid.json is damaged: remove it"):
        run(small, 0)


def test_a_training_that_is_interrupted_is_not_recorded(small, monkeypatch):
    """Also where `fit` would keep what was learned by then, and only warn."""

    def interrupted(self, X, y):
        warnings.warn("interrupted", StoppedEarly, stacklevel=2)

    monkeypatch.setattr(UHBDNN, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(small, 0)
    assert not small.exists()
