"""Recorded runs: the rows of the results files, and which of them hold for the present methods.

A results file has one JSON object on each line, a row, which ``course.py run --record`` appends:
the method, data and settings of a run, the revision of the method, and what was measured.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import bdnn
from bdnn.files import StrPath

__all__ = [
    "REVISIONS", "append_row", "changes", "course_folder", "read_folder", "read_rows",
    "usual_runs",
]  # fmt: skip

# Raise the number of a method by hand when its codes change by more than rounding, and delete its
# rows: `course.py run --paper` then records the runs anew. A number for the whole class, not a hash
# of its text: only a person can tell a new method from a new comment.
REVISIONS = {
    "BinaryAutoencoder": 1,
    "BinaryReconstructiveEmbedding": 1,
    "DeepHashing": 2,
    "ITQ": 1,
    "ITQCCA": 1,
    "KMeansHashing": 1,
    "KernelSupervisedHashing": 2,
    "SHBDNN": 3,
    "SpectralHashing": 1,
    "SphericalHashing": 1,
    "SupervisedDeepHashing": 2,
    "SupervisedDiscreteHashing": 2,
    "UHBDNN": 2,
}


def read_rows(path: Path | None) -> list[dict]:
    """The rows of a results file, if there is one; a line that was cut short is left out."""
    if path is None or not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{path}: a damaged line is left out: {line[:60]}", file=sys.stderr)
    return rows


def course_folder() -> Path:
    """The folder of the course's records: in an installed package, or beside the notebooks."""
    here = Path(__file__).parent
    for folder in (here / "results", here.parents[1] / "notebooks" / "results"):
        if folder.is_dir():
            return folder
    raise FileNotFoundError("the records of the course are missing: install bdnn anew, as a whole")


def read_folder(folder: StrPath | None = None) -> dict[str, list[dict]]:
    """The rows of all results files in a folder, the course's unless one is named, by file name."""
    folder = course_folder() if folder is None else Path(folder)
    return {path.name: read_rows(path) for path in sorted(folder.glob("*.jsonl"))}


def changes(row: dict) -> dict[str, Any]:
    """What a run changed of its method as it is: settings that are no defaults, the variant."""
    defaults = getattr(bdnn, row["method"])().get_params()
    changed = {key: v for key, v in row["settings"].items() if v != defaults.get(key)}
    return changed | ({"variant": row["variant"]} if "variant" in row else {})


def usual_runs(rows: Iterable[dict], **wanted: Any) -> dict[tuple[str, int], list[dict]]:
    """The rows behind the entries of a table, {(method, bits): rows}, one for each seed, in order.

    Of the rows that have the ``wanted`` fields, those that changed nothing; of several for one seed
    the last.
    """
    groups: dict[tuple[str, int], dict[int, dict]] = {}
    for row in rows:
        if wanted.items() <= row.items() and not changes(row):
            groups.setdefault((row["method"], row["bits"]), {})[row["seed"]] = row
    return {key: [group[seed] for seed in sorted(group)] for key, group in groups.items()}


def append_row(path: Path, row: dict) -> None:
    """Add a row to a results file, behind a line that an interruption may have left unfinished."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.read_bytes() if path.exists() else b""
    cut_short = written and not written.endswith(b"\n")
    with open(path, "a", encoding="utf-8") as file:
        file.write(("\n" if cut_short else "") + json.dumps(row) + "\n")
