"""Rows of results files, and the revision of the method that made them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bdnn.course import records
from bdnn.course.compare import METHODS

ROOT = Path(__file__).parents[1]


def test_rows_come_back_and_a_cut_line_is_left_out(tmp_path, capsys):
    path = tmp_path / "results" / "rows.jsonl"
    assert records.read_rows(path) == records.read_rows(None) == []
    path.parent.mkdir()
    path.write_text("")
    records.append_row(path, {"a": 1})
    assert path.read_text() == '{"a": 1}\n'
    with open(path, "a") as file:
        file.write('{"a": ')  # an interruption
    records.append_row(path, {"a": 2})
    assert records.read_rows(path) == [{"a": 1}, {"a": 2}]
    assert f"{path}: a damaged line is left out" in capsys.readouterr().err
    (tmp_path / "results" / "other.jsonl").write_text("")
    assert records.read_folder(tmp_path / "results") == {
        "other.jsonl": [],
        "rows.jsonl": [{"a": 1}, {"a": 2}],
    }


def test_every_method_has_a_revision():
    assert set(records.REVISIONS) == {cls.__name__ for cls in METHODS.values()}


def test_every_recorded_row_is_of_the_present_revision():
    files = records.read_folder()
    del files["scale.jsonl"]  # time and memory of a training on 2 GB
    rows = [row for rows in files.values() for row in rows]
    assert len(rows) > 500
    assert {(r["method"], r["revision"]) for r in rows} <= records.REVISIONS.items()


def test_an_installed_package_brings_the_records_along(tmp_path):
    """As for a notebook that is opened alone: no checkout, another working folder."""
    pytest.importorskip("setuptools")
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(ROOT / "bdnn", source / "bdnn", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "notebooks" / "results", source / "notebooks" / "results")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import setup; setup()"
    command = [sys.executable, "-c", build, "-q", "build_py", "--build-lib", target]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    ask = "from bdnn.course import records as r; print(r.course_folder(), len(r.read_folder()))"
    env = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", ask],
        cwd=tmp_path,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    files = len(records.read_folder())
    assert done.stdout.split() == [str(target / "bdnn" / "course" / "results"), str(files)]
    shutil.rmtree(target / "bdnn" / "course" / "results")
    done = subprocess.run(
        [sys.executable, "-c", ask], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert "the records of the course are missing" in done.stderr.splitlines()[-1]


def test_rows_of_a_table_entry():
    """Default settings, no variants, one for each seed."""

    def row(seed, bits=8, **more):
        kept = {"method": "ITQ", "bits": bits, "data": "mnist", "seed": seed}
        return kept | {"settings": {"n_iter": 50}} | more

    usual = [row(1), row(0), row(2)]
    others = [
        row(3, settings={"n_iter": 5}),
        row(0, variant="one start"),
        row(0, data="sift"),
    ]
    found = records.usual_runs([*others, *usual, row(0, bits=16)], data="mnist")
    assert found == {("ITQ", 8): [row(0), row(1), row(2)], ("ITQ", 16): [row(0, bits=16)]}
    assert [records.changes(r) for r in others] == [{"n_iter": 5}, {"variant": "one start"}, {}]
    again = row(0, note="again")
    assert records.usual_runs([*usual, again])["ITQ", 8][0] == again
