"""The recorded trainings of notebook 14: `python3 course.py grid`.

Every point of `bdnn.course.explorer.grid_points` is trained for every seed. The file is written
anew, whole, after each training; so the command may be stopped at any time and goes on where it
was. Trainings of other seeds that the file has stay in it, behind those that were asked for.
"""

import argparse
import json
import sys

from tqdm import tqdm

from bdnn import data
from bdnn.course import explorer as explore
from bdnn.course.records import REVISIONS
from bdnn.files import versions
from bdnn.hashing import whole_training
from tools import called_from
from tools.notebooks import ROOT, write

FILE = ROOT / "notebooks" / "results" / "lambdas.json"
DATA = "mnist5k"
MEASURED = ("method", "values", "seed", *explore.MEASURES)  # what is kept of the other seeds


def main(argv=None):
    """Parse the command line, train what is not recorded yet, write the file."""
    text = (
        "Record the trainings that the explorers of notebook 14 show; go on after an interruption."
    )
    parser = argparse.ArgumentParser(prog="course.py grid", description=text)
    text = """every point is trained once for each; of the first one everything is recorded, of
        the others the measures (default: %(default)s)"""
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help=text)
    parser.add_argument("--record", type=called_from, default=FILE, metavar="FILE", help="the file")
    args = parser.parse_args(argv)
    dataset = data.load(DATA)
    rows = read(args.record, describe(dataset, args.seeds))
    seeds = dict.fromkeys([*args.seeds, *(row["seed"] for row in rows.values())])
    about = describe(dataset, seeds)
    points = [(m, p) for m in explore.VALUES for p in explore.grid_points(m)]
    wanted = {identity(m, p, s): (m, p, s) for s in args.seeds for m, p in points}
    for key, (method, values, seed) in tqdm(wanted.items(), unit="training"):
        full = seed == args.seeds[0]
        if key not in rows or full and "codes" not in rows[key]:
            rows[key] = train(method, values, seed, dataset, full)
            save(args.record, about, rows.values())
    save(args.record, about, (rows[key] for key in wanted | rows))
    print(f"{len(wanted)} trainings: {args.record}")


def describe(dataset, seeds):
    """What all trainings of a file have in common; another description means another file."""
    return {
        "data": dataset.name,
        "split": f"{len(dataset.train)} train, {len(dataset.database)} database",
        "n_train": explore.N_TRAIN,
        "ground_truth": dataset.ground_truth,
        "n_query": len(dataset.query),
        "training": explore.TRAINING,
        "revision": {method: REVISIONS[method] for method in explore.VALUES},
        "versions": versions(),
        "command": f"python3 course.py grid --seeds {' '.join(map(str, seeds))}",
    }


def read(path, about):
    """The rows of an earlier run of the same trainings, by identity."""
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is damaged: remove it, and all is trained anew") from error
    other = [key for key in about if key != "command" and about[key] != found["about"].get(key)]
    if other:
        raise ValueError(
            f"{path} holds trainings of other {', '.join(other)}: give another file with --record, "
            "or remove this one, and all is trained anew"
        )
    return {identity(r["method"], r["values"], r["seed"]): r for r in found["rows"]}


def identity(method, values, seed):
    """What tells one training from the others."""
    return json.dumps([method, values, seed], sort_keys=True)


def train(method, values, seed, dataset, full):
    """The row of one training."""
    with whole_training():
        row = explore.observe(method, values, seed, dataset)
    return row if full else {key: row[key] for key in MEASURED}


def save(path, about, rows):
    """Write the whole file, in one step; a line for each row, so that changes can be compared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(map(json.dumps, rows))
    write(path, f'{{"about": {json.dumps(about)},\n"rows": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"course.py grid: {error}")
    except KeyboardInterrupt:
        sys.exit("\ncourse.py grid: stopped; what was recorded is kept")
