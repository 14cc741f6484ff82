"""`course.py scale` at a small size: what it measures, and that it records each thing once."""

import json
import runpy
import sys

import pytest

from bdnn import data
from bdnn.course.records import REVISIONS
from tools import scale as measurements


@pytest.fixture
def samples(tmp_path, monkeypatch):
    monkeypatch.setenv("BDNN_DATA", str(tmp_path))  # where no descriptors are
    origin, rows = measurements.descriptors()
    assert origin == "made"
    path = tmp_path / "scale" / "made-3000.npy"
    measurements.make_file(path, 3000, rows)
    return path


def test_recorded_training_from_a_file(samples):
    row = measurements.from_file(samples, "ITQ")
    assert row["objectives"][-1] < row["objectives"][0]
    assert 0 < row["peak_mb_before"] <= row["peak_mb"]
    row = measurements.same(samples, "ITQ")
    assert row["relative_difference"] < 1e-3 and row["trained_on"] == 3000


def test_recorded_evaluation_of_a_file(samples):
    row = measurements.evaluation(samples, "ITQ")
    assert 0.2 < row["precision_at_2"] < 1  # ten classes
    assert set(samples.parent.iterdir()) == {samples, measurements.labels_of(samples)}


def test_ctrl_c_ends_it_without_a_traceback(monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "load", stop)
    monkeypatch.setattr(sys, "argv", ["scale"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(measurements.__file__, run_name="__main__")
    assert end.value.code == 130


@pytest.mark.slow
def test_measurements_are_recorded_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BDNN_DATA", str(tmp_path))
    monkeypatch.setattr(measurements, "NAMES", ["file:ITQ"])
    record = tmp_path / "scale.jsonl"
    command = ["--samples", "3000", "--folder", str(tmp_path), "--record", str(record)]
    measurements.main(command)
    assert list(tmp_path.iterdir()) == [record]
    (row,) = map(json.loads, record.read_text().splitlines())
    assert row["measurement"] == "file:ITQ" and row["n_samples"] == 3000
    assert row["revision"] == REVISIONS["ITQ"]
    measurements.main(command)
    assert "file:ITQ: recorded" in capsys.readouterr().out
    assert len(record.read_text().splitlines()) == 1
