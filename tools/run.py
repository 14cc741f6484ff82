"""The main job: train the methods on real data, compare them in one table, draw the figures."""

import argparse
import ast
import hashlib
import inspect
import json
import shlex
import sys
import time
import tracemalloc
from pathlib import Path

from tqdm import tqdm

import bdnn
from bdnn import data, metrics, plotting
from bdnn.base import versions

METHODS = {"itq": bdnn.ITQ, "itqcca": bdnn.ITQCCA, "uhbdnn": bdnn.UHBDNN}
DEFAULT_METHODS = ["itq", "uhbdnn"]
PERCENT = ("precision_at_2", "map_standard", "map_trapezoid", "map_expected")
COLUMNS = {
    "method": ("method", "s"),
    "bits": ("bits", "d"),
    "seed": ("seed", "d"),
    "precision_at_2": ("P@r=2 %", ".2f"),
    "map_standard": ("mAP %", ".2f"),
    "map_trapezoid": ("mAP trapez. %", ".2f"),
    "map_expected": ("mAP exp. ties %", ".2f"),
    "empty_share": ("empty balls", ".3f"),
    "balance": ("imbalance", ".4f"),
    "independence": ("dependence", ".4f"),
    "fit_seconds": ("fit s", ".1f"),
    "encode_seconds": ("encode s", ".2f"),
}
IDENTITY = ("method", "data", "bits", "seed", "ground_truth", "settings", "code")


def main(argv=None):
    """Parse the command line, run every (method, bits, seed), report."""
    args = parse(argv)
    dataset = data.load(args.data, ground_truth=args.ground_truth)
    print(describe(dataset))
    recorded = read_rows(args.record)
    jobs = [
        (bits, name, seed) for bits in args.bits for name in args.methods for seed in args.seeds
    ]
    rows = []
    with tqdm(jobs, unit="run") as bar:
        for bits, name, seed in bar:
            bar.set_description(f"{METHODS[name].__name__}, {bits} bits, seed {seed}")
            estimator = make(name, bits, seed, args.settings)
            row = identity(estimator, dataset, seed)
            done = next((r for r in recorded if same_run(r, row)), None)
            if done is None:
                done = measure(estimator, dataset, row)
                append_row(args.record, done, args.command)
            rows.append(done)
    print(table(rows))
    print("imbalance and dependence: 0 is best, 1 worst; empty balls count as precision 0")
    print(f"figure: {plotting.draw_comparison(rows, f'run_{dataset.name}')}")
    if path := plotting.draw_history(rows, f"run_{dataset.name}_objective"):
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
    parser.add_argument("--bits", type=int, nargs="+", default=[16, 32], help="code lengths")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=DEFAULT_METHODS,
        type=str.lower,
        choices=[*METHODS, "all"],
        metavar="METHOD",
        help=f"{', '.join(METHODS)}, or all",
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="one run for each seed")
    parser.add_argument(
        "--ground-truth",
        default="knn",
        choices=["knn", "labels"],
        help="relevant are the 50 Euclidean neighbours, or the same class",
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
    if "all" in args.methods:
        args.methods = list(METHODS)
    args.command = "python3 course.py run " + shlex.join(sys.argv[1:] if argv is None else argv)
    return args


def json_object(text):
    """Parse a JSON object, such as that of --settings."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"not a JSON object: {text!r}")
    return value


def describe(dataset):
    """One line that states the data, the split and the ground truth."""
    return (
        f"{dataset.name}: {len(dataset.train)} training vectors, {len(dataset.database)} in the "
        f"database, {len(dataset.query)} queries, {dataset.train.shape[1]} dimensions; "
        f"ground truth {dataset.ground_truth}"
    )


def make(name, bits, seed, settings):
    """The estimator, with those of the settings that it knows."""
    cls = METHODS[name]
    known = inspect.signature(cls).parameters
    settings = {key: value for key, value in settings.items() if key in known}
    if "verbose" in known:
        settings["verbose"] = sys.stderr.isatty()
    return cls(n_bits=bits, random_state=seed, **settings)


def identity(estimator, dataset, seed):
    """What makes a run the same run: method, data, seed, settings and code."""
    settings = estimator.get_params()
    bits = settings.pop("n_bits")
    for key in ("random_state", "verbose"):
        settings.pop(key, None)
    return {
        "method": type(estimator).__name__,
        "data": dataset.name,
        "bits": bits,
        "seed": seed,
        "split": f"{len(dataset.train)} train, {len(dataset.database)} database",
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


def measure(estimator, dataset, row):
    """Fit, encode, evaluate; percentages in percent, seconds, peak of the memory in megabytes."""
    labels = dataset.labels.train if dataset.labels else None
    tracemalloc.start()
    start = time.perf_counter()
    estimator.fit(dataset.train, labels)
    row["fit_seconds"] = round(time.perf_counter() - start, 2)
    row["peak_mb"] = round(tracemalloc.get_traced_memory()[1] / 1e6, 1)
    tracemalloc.stop()
    start = time.perf_counter()
    database = estimator.transform(dataset.database)
    row["encode_seconds"] = round(time.perf_counter() - start, 3)
    measures = metrics.evaluate(estimator.transform(dataset.query), database, dataset.relevant)
    for name, value in measures.items():
        row[name] = round(100 * value, 4) if name in PERCENT else round(value, 6)
    return row | {"history": rounded(estimator.history_), "versions": versions()}


def rounded(value):
    """Floats at any depth, to six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


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


def table(rows):
    """The rows as a text table with aligned columns."""
    heads = [head for head, _ in COLUMNS.values()]
    cells = [[format(row[key], form) for key, (_, form) in COLUMNS.items()] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells)]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(line, widths)) for line in [heads, *cells]]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"course.py run: {error}")
    except KeyboardInterrupt:
        sys.exit("\ncourse.py run: stopped; what was recorded is kept")
