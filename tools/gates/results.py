"""The gate on recorded runs: which rows the present code has made."""

from collections import Counter

from bdnn.course.records import OLDER, code_hashes, older_codes, read_folder
from tools.notebooks import Problem

FOLDER = "notebooks/results"
# Data of the paper's tables, notebook 15; rows of other data are listed when they are older, only.
PAPER_DATA = ("mnist", "cifar10", "cifar10-hog", "cifar10-hog-jpeg", "sift", "sift1m")
CELL = ("method", "data", "bits", "ground_truth", "split")


def recorded(course):
    """The rows of each results file, the present code of each method, the declared older codes."""
    folder = course.root / FOLDER
    return read_folder(folder), code_hashes(course.root / "bdnn"), older_codes(folder)


def results(course):
    """Where the tables of the paper have no row of the present code, the older one is explained."""
    files, present, declared = recorded(course)
    rows = [row for rows in files.values() for row in rows]
    renewed = {cell(row) for row in rows if row["code"] == present.get(row["method"])}
    for file, rows in files.items():
        bare = Counter(
            (row["method"], row["code"])
            for row in rows
            if row["data"] in PAPER_DATA
            and not row["split"].startswith("dh")
            and cell(row) not in renewed
            and row["code"] not in declared
        )
        for (method, code), count in bare.items():
            what = f"has {count} row{'s' * (count > 1)} of {method} by code {code}, which is older"
            mend = f"record the runs again, or explain the code in {FOLDER}/{OLDER}"
            yield Problem(f"{FOLDER}/{file}", what, mend)


def cell(row):
    """The place of a row in a table."""
    return tuple(row[key] for key in CELL)


def older(course):
    """Yield a line for each results file that has rows older than the present code."""
    files, present, _ = recorded(course)
    for file, rows in files.items():
        old = Counter(row["method"] for row in rows if row["code"] != present.get(row["method"]))
        if old:
            methods = ", ".join(f"{count} of {method}" for method, count in old.items())
            yield f"{FOLDER}/{file}: of {len(rows)} rows are older than the code: {methods}"
