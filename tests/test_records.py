"""Rows of results files, and the revision of the method that made them."""

from pathlib import Path

from bdnn.course import records
from bdnn.course.compare import METHODS

RESULTS = Path(__file__).parents[1] / "notebooks" / "results"


def test_rows_come_back_and_a_cut_line_is_left_out(tmp_path, capsys):
    path = tmp_path / "results" / "rows.jsonl"
    assert records.read_rows(path) == records.read_rows(None) == []
    records.append_row(path, {"a": 1})
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


def test_revisions_cover_every_method_and_tell_older_rows():
    assert set(records.REVISIONS) == {cls.__name__ for cls in METHODS.values()}
    assert records.is_present({"method": "ITQ", "revision": records.REVISIONS["ITQ"]})
    assert not records.is_present({"method": "ITQ", "revision": 0})


def test_every_recorded_row_names_a_revision_that_there_is_or_was():
    rows = [row for rows in records.read_folder(RESULTS).values() for row in rows]
    assert len(rows) > 500
    assert all(0 <= row["revision"] <= records.REVISIONS[row["method"]] for row in rows)
