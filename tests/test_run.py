"""The main job, `course.py run`: table, figures, recorded rows that are found again."""

import numpy as np
import pytest

import bdnn
from bdnn import data, metrics
from tools import run

FIELDS = """method data bits seed split ground_truth n_query precision_at_2 map_standard
map_trapezoid map_expected empty_share balance independence fit_seconds encode_seconds peak_mb
settings versions code command""".split()


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("BDNN_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "figures"


def start(*arguments):
    run.main(["--data", "digits", *arguments])


def test_table_and_figure(figures, capsys):
    settings = '{"max_alternations": 1, "max_iter": 5}'
    start("--bits", "8", "16", "--settings", settings)
    output = capsys.readouterr().out
    assert "digits: 1500 training vectors" in output and "ground truth knn50" in output
    lines = [line.split() for line in output.splitlines()]
    rows = [line[:3] for line in lines if line and line[0] in ("ITQ", "UHBDNN")]
    assert rows == [[m, L, "0"] for L in ("8", "16") for m in ("ITQ", "UHBDNN")]
    for name in ("run_digits.svg", "run_digits_objective.svg"):
        assert (figures / name).stat().st_size > 1000
        assert f"figure: {figures / name}" in output


def test_recorded_row(figures, tmp_path):
    path = tmp_path / "results" / "rows.jsonl"
    start("--bits", "8", "--methods", "itq", "--seeds", "3", "--record", str(path))
    (row,) = run.read_rows(path)
    assert set(FIELDS) <= set(row)
    assert (row["method"], row["data"], row["bits"], row["seed"]) == ("ITQ", "digits", 8, 3)
    assert row["settings"] == {"n_iter": 50, "dtype": "float32"}
    assert row["command"].startswith("python3 course.py run --data digits --bits 8")
    digits = data.load("digits")
    itq = bdnn.ITQ(8, random_state=3).fit(digits.train)
    codes = itq.transform(digits.query), itq.transform(digits.database)
    expected = metrics.precision_at_radius(*codes, digits.relevant)
    assert row["precision_at_2"] == pytest.approx(100 * expected, abs=1e-3)
    assert 0 < row["map_trapezoid"] < row["map_standard"] < 100


def test_a_run_goes_on_where_it_was_interrupted(figures, tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    start("--bits", "8", "--methods", "itq", "--record", str(path))
    path.write_text(path.read_text() + '{"method": "IT')  # an interruption in the middle of a line
    measured = []
    monkeypatch.setattr(run, "measure", lambda e, d, row: measured.append(row["bits"]) or ROW | row)
    start("--bits", "8", "16", "--methods", "itq", "--record", str(path))
    assert measured == [16]
    assert [row["bits"] for row in run.read_rows(path)] == [8, 16]


ROW = {key: 0.5 for key in FIELDS} | {"history": []}


def test_other_settings_seeds_and_code_are_other_runs(monkeypatch):
    digits = data.load("digits")
    row = run.identity(bdnn.ITQ(8), digits, 0)
    assert run.same_run(row, run.identity(bdnn.ITQ(8), digits, 0))
    assert not run.same_run(row, run.identity(bdnn.ITQ(8, n_iter=3), digits, 0))
    assert not run.same_run(row, run.identity(bdnn.ITQ(8), digits, 1))
    assert not run.same_run(row, run.identity(bdnn.ITQ(16), digits, 0))
    monkeypatch.setattr(run, "code_hash", lambda cls: "other")
    assert not run.same_run(row, run.identity(bdnn.ITQ(8), digits, 0))


def test_hash_of_the_code_ignores_prose(tmp_path, monkeypatch):
    texts = {
        "first": '"""Doc."""\nx = 1\n',
        "prose": '"""Other."""\nx = 1  # same\n',
        "code": '"""Doc."""\nx = 2\n',
    }
    hashes = {}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.setattr(run.inspect, "getfile", lambda cls, n=name: tmp_path / f"{n}.py")
        hashes[name] = run.code_hash(object)
    assert hashes["first"] == hashes["prose"] != hashes["code"]


def test_labels_as_ground_truth(figures, capsys):
    start("--bits", "8", "--methods", "ITQCCA", "itq", "--ground-truth", "labels")
    output = capsys.readouterr().out
    assert "ground truth labels" in output and "ITQCCA" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "svm"], "invalid choice: 'svm'"),
        (["--bits", "many"], "invalid int value"),
        (["--settings", "{"], "--settings: not a JSON object: '{'"),
        (["--settings", "[1]"], "--settings: not a JSON object: '[1]'"),
    ],
)
def test_bad_command_lines(arguments, message, capsys):
    with pytest.raises(SystemExit):
        start(*arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--bits", "0"], ["--data", "no/such/file.npz"]])
def test_bad_input_ends_with_a_message(arguments, figures):
    with pytest.raises((ValueError, OSError), match="n_bits must be|no/such/file.npz"):
        start(*arguments)


def test_rounding_of_recorded_numbers():
    value = [{"a": 1.23456789, "b": [2.0, 3]}, "x"]
    assert run.rounded(value) == [{"a": 1.23457, "b": [2.0, 3]}, "x"]
    assert np.isnan(run.rounded(float("nan")))
