"""The main job: train the methods on real data, compare them in one table, draw the figures."""

import argparse
import ast
import hashlib
import inspect
import itertools
import json
import shlex
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bdnn import data, plotting
from bdnn.compare import (
    COLUMNS,
    DEFAULT_METHODS,
    METHODS,
    aligned,
    cell,
    describe,
    json_object,
    make,
    measure,
    parameters,
    supervised,
    table,
    usable,
)

SUMMARY = [  # of the columns, those of the table of means
    *("precision_at_2", "precision_at_500", "map_standard", "map_trapezoid"),
    *("balance", "independence", "fit_seconds", "encode_seconds"),
]
IDENTITY = ("method", "data", "bits", "seed", "split", "ground_truth", "settings", "code")


def main(argv=None):
    """Parse the command line, run every (seed, bits, method), report."""
    args = parse(argv)
    dataset_seed = args.seeds[0]
    dataset = load(args, dataset_seed)
    print(describe(dataset))
    methods = usable(args.methods, dataset, lenient=args.lenient)
    recorded, rows = read_rows(args.record), []
    runs = planned(args, methods)
    with tqdm(total=len(runs), unit="run") as bar:
        for seed, bits, name in runs:
            if args.protocol == "dh" and seed != dataset_seed:
                dataset, dataset_seed = load(args, seed), seed
            bar.set_description(f"{METHODS[name].__name__}, {bits} bits, seed {seed}")
            rows.append(found_or_measured(recorded, name, bits, seed, dataset, args))
            bar.update()
    classes = [METHODS[name].__name__ for name in methods]
    rows.sort(key=lambda row: (args.bits.index(row["bits"]), classes.index(row["method"])))
    report(rows, dataset, args)


def load(args, seed):
    """The data; under the protocol dh the seed of a run draws its split, else all share one.

    Without a choice of the ground truth it is the class where a method learns from classes.
    """
    options = {"seed": seed} if args.protocol == "dh" else {}
    truth = args.ground_truth
    if truth == "auto" and supervised(args.methods):
        labelled = data.load(args.data, ground_truth=None).labels is not None
        truth = "labels" if labelled else "auto"
    return data.load(args.data, protocol=args.protocol, ground_truth=truth, **options)


def planned(args, methods):
    """The runs (seed, bits, name); where neither method nor split is drawn, one for all seeds."""
    return [
        (seed, bits, name)
        for seed, bits, name in itertools.product(args.seeds, args.bits, methods)
        if seed == args.seeds[0] or args.protocol == "dh" or "random_state" in parameters(name)
    ]


def found_or_measured(recorded, name, bits, seed, dataset, args):
    """The row of a run: the recorded one, or a new one, which is recorded."""
    estimator = make(name, bits, seed, args.settings)
    row = identity(estimator, dataset, seed)
    done = next((r for r in recorded if same_run(r, row)), None)
    if done is None:
        done = measure(estimator, dataset, row)
        append_row(args.record, done, args.command)
    return done


def report(rows, dataset, args):
    """Print the tables, draw the figures, say where everything is."""
    print(table(rows))
    if len(args.seeds) > 1:
        print(f"\nmean ± standard deviation over {len(args.seeds)} seeds")
        print(summary(rows))
    print("imbalance and dependence: 0 is best, 1 worst; empty balls count as precision 0")
    stem = f"run_{dataset.name}" + ("_dh" if dataset.protocol == "dh" else "")
    print(f"figure: {plotting.draw_comparison(rows, stem)}")
    if path := plotting.draw_history(rows, f"{stem}_objective"):
        print(f"figure: {path}")
    if args.record:
        print(f"results: {args.record}")


def parse(argv):
    """The command line; an unknown method or malformed settings end with a message."""
    parser = argparse.ArgumentParser(
        prog="python3 course.py run",
        description="Train the methods on real data, print the comparison, write the figures.",
        epilog="With --record FILE a run that was interrupted goes on where it stopped.",
    )
    parser.add_argument("--data", default="mnist5k", help=f"{', '.join(data.DATASETS)}, or a path")
    parser.add_argument(
        "--protocol",
        default="bdnn",
        choices=["bdnn", "dh"],
        help="split of the BDNN paper, one for all seeds; or that of Deep Hashing: 100 queries of "
        "each class, the rest is database and training, drawn anew for each seed",
    )
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32], help="code lengths")
    parser.add_argument(
        "--methods",
        nargs="+",
        type=str.lower,
        choices=[*METHODS, "all"],
        metavar="METHOD",
        help=f"{', '.join(METHODS)}, or all; {' '.join(DEFAULT_METHODS)} if not given",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run for each seed")
    parser.add_argument(
        "--ground-truth",
        default="auto",
        choices=["auto", "knn", "labels"],
        help="relevant are the 50 Euclidean neighbours, or the same class (default where a "
        "supervised method runs, and with the protocol dh)",
    )
    parser.add_argument(
        "--settings",
        type=json_object,
        default={},
        metavar="JSON",
        help="parameters of the estimators, such as '{\"max_alternations\": 5}'",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="append a JSON line for each run; skip the runs that FILE has",
    )
    args = parser.parse_args(argv)
    args.lenient = args.methods is None or "all" in args.methods  # leave out what cannot run
    if args.lenient:
        args.methods = list(METHODS if args.methods else DEFAULT_METHODS)
    args.command = "python3 course.py run " + shlex.join(sys.argv[1:] if argv is None else argv)
    return args


def identity(estimator, dataset, seed):
    """What makes a run the same run: method, data, split, seed, settings and code."""
    settings = estimator.get_params()
    bits = settings.pop("n_bits")
    for key in ("random_state", "verbose"):
        settings.pop(key, None)
    protocol = "" if dataset.protocol == "bdnn" else f"{dataset.protocol}: "
    return {
        "method": type(estimator).__name__,
        "data": dataset.name,
        "bits": bits,
        "seed": seed,
        "split": f"{protocol}{len(dataset.train)} train, {len(dataset.database)} database",
        "ground_truth": dataset.ground_truth,
        "n_query": len(dataset.query),
        "settings": settings,
        "code": code_hash(type(estimator)),
    }


def code_hash(cls):
    """Short SHA-256 of the module that defines the method, comments and docstrings aside."""
    tree = ast.parse(Path(inspect.getfile(cls)).read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12]


def same_run(row, other):
    """Whether two rows describe the same run of the same code."""
    return all(json.dumps(row[key]) == json.dumps(other[key]) for key in IDENTITY)


def read_rows(path):
    """The rows of a results file; a last line that an interruption cut short is left out."""
    if path is None or not path.exists():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{path}: a damaged line is left out: {line[:60]}", file=sys.stderr)
    return rows


def append_row(path, row, command):
    """Add a row to the results file, which names the command that made it."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_short = path.exists() and not path.read_bytes().endswith(b"\n")
    with open(path, "a") as file:
        file.write(("\n" if cut_short else "") + json.dumps(row | {"command": command}) + "\n")


def summary(rows):
    """Mean and standard deviation over the seeds for each method and length, as a text table."""
    lines = [["method", "bits", "seeds", *(COLUMNS[key][0] for key in SUMMARY)]]
    for bits, method in dict.fromkeys((row["bits"], row["method"]) for row in rows):
        group = [row for row in rows if (row["bits"], row["method"]) == (bits, method)]
        line = [method, str(bits), str(len(group))]
        for key in SUMMARY:
            values, form = [row.get(key) for row in group], COLUMNS[key][1]
            complete = None not in values
            mean = np.mean(values) if complete else None
            deviation = np.std(values, ddof=1) if complete and len(values) > 1 else None
            line.append(" ± ".join(cell(value, form) for value in (mean, deviation)))
        lines.append(line)
    return aligned(lines)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"course.py run: {error}")
    except KeyboardInterrupt:
        sys.exit("\ncourse.py run: stopped; what was recorded is kept")
