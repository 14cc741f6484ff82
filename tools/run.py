"""The main job: train the methods on real data, compare them in one table, draw the figures."""

import argparse
import ast
import hashlib
import inspect
import itertools
import json
import shlex
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
from sklearn.utils import get_tags
from tqdm import tqdm

import bdnn
from bdnn import data, metrics, plotting
from bdnn.base import versions

METHODS = {
    "sh": bdnn.SpectralHashing,
    "sph": bdnn.SphericalHashing,
    "kmh": bdnn.KMeansHashing,
    "ba": bdnn.BinaryAutoencoder,
    "itq": bdnn.ITQ,
    "dh": bdnn.DeepHashing,
    "uhbdnn": bdnn.UHBDNN,
    "itqcca": bdnn.ITQCCA,
    "bre": bdnn.BinaryReconstructiveEmbedding,
    "ksh": bdnn.KernelSupervisedHashing,
    "sdh": bdnn.SupervisedDiscreteHashing,
    "supdh": bdnn.SupervisedDeepHashing,
    "shbdnn": bdnn.SHBDNN,
}
DEFAULT_METHODS = ["itq", "dh", "uhbdnn", "supdh", "shbdnn"]
PERCENT = ("precision_at_2", "precision_at_500", "map_standard", "map_trapezoid", "map_expected")
COLUMNS = {
    "method": ("method", "s"),
    "bits": ("bits", "d"),
    "seed": ("seed", "d"),
    "precision_at_2": ("P@r=2 %", ".2f"),
    "precision_at_500": ("P@500 %", ".2f"),
    "map_standard": ("mAP %", ".2f"),
    "map_trapezoid": ("mAP trapez. %", ".2f"),
    "map_expected": ("mAP exp. ties %", ".2f"),
    "empty_share": ("empty balls", ".3f"),
    "balance": ("imbalance", ".4f"),
    "independence": ("dependence", ".4f"),
    "fit_seconds": ("fit s", ".1f"),
    "encode_seconds": ("encode s", ".2f"),
}
SUMMARY = [  # of the columns, those of the table of means
    *("precision_at_2", "precision_at_500", "map_standard", "map_trapezoid"),
    *("balance", "independence", "fit_seconds", "encode_seconds"),
]
IDENTITY = ("method", "data", "bits", "seed", "split", "ground_truth", "settings", "code")
MOST_ENTRIES = 60  # of a recorded history
TRACE_FROM = 20_000  # training vectors; below, tracing memory costs more than some 3 % of the time


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


def supervised(names):
    """Those of the methods that need labels."""
    return [name for name in names if get_tags(METHODS[name]()).target_tags.required]


def planned(args, methods):
    """The runs (seed, bits, name); where neither method nor split is drawn, one for all seeds."""
    return [
        (seed, bits, name)
        for seed, bits, name in itertools.product(args.seeds, args.bits, methods)
        if seed == args.seeds[0] or args.protocol == "dh" or "random_state" in parameters(name)
    ]


def parameters(name):
    """The parameters of a method, by name."""
    return inspect.signature(METHODS[name]).parameters


def usable(names, dataset, lenient):
    """The methods that the data allow: without labels none that needs them."""
    if dataset.labels is not None:
        return names
    needy = supervised(names)
    if needy and not lenient:
        raise ValueError(f"{dataset.name} has no labels, and {', '.join(needy)} needs them")
    if needy:
        print(f"left out, because {dataset.name} has no labels: {', '.join(needy)}")
    return [name for name in names if name not in needy]


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
        + ("; protocol dh, each seed draws its own split" if dataset.protocol == "dh" else "")
    )


def make(name, bits, seed, settings):
    """The estimator, with those of the settings that it knows."""
    settings = settings | {"random_state": seed, "verbose": sys.stderr.isatty()}
    known = settings.keys() & parameters(name).keys()
    return METHODS[name](n_bits=bits, **{key: settings[key] for key in known})


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


def measure(estimator, dataset, row):
    """Fit, encode, evaluate; percentages in percent, seconds, memory in megabytes.

    `fit_cpu_seconds` sums over the threads, and does not count what other programs took.
    `peak_mb` is what the training allocated at most, None for few training vectors; `rss_mb` is
    the peak of the whole process up to then, over all runs of the command.
    """
    labels = dataset.labels.train if dataset.labels else None
    traced = len(dataset.train) >= TRACE_FROM
    if traced:
        tracemalloc.start()
    start, start_cpu = time.perf_counter(), time.process_time()
    estimator.fit(dataset.train, labels)
    row["fit_seconds"] = round(time.perf_counter() - start, 2)
    row["fit_cpu_seconds"] = round(time.process_time() - start_cpu, 2)
    row["peak_mb"] = round(tracemalloc.get_traced_memory()[1] / 1e6, 1) if traced else None
    tracemalloc.stop()
    row["rss_mb"] = resident_mb()
    start = time.perf_counter()
    database = estimator.transform(dataset.database)
    row["encode_seconds"] = round(time.perf_counter() - start, 3)
    measures = metrics.evaluate(estimator.transform(dataset.query), database, dataset.relevant)
    for name, value in measures.items():
        row[name] = round(100 * value, 4) if name in PERCENT else round(value, 6)
    return row | {"history": rounded(thinned(estimator.history_)), "versions": versions()}


def resident_mb():
    """Peak resident memory of this process so far, in megabytes; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def thinned(history):
    """At most MOST_ENTRIES entries, evenly spaced, the first and the last among them."""
    kept = np.linspace(0, len(history) - 1, min(len(history), MOST_ENTRIES)).round().astype(int)
    return [history[k] for k in kept]


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
    """The rows as a text table; a dash where a row, recorded earlier, lacks a measure."""
    heads = [head for head, _ in COLUMNS.values()]
    return aligned(
        [heads, *([cell(row.get(key), form) for key, (_, form) in COLUMNS.items()] for row in rows)]
    )


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


def cell(value, form):
    """A value in its format, a dash for None."""
    return "-" if value is None else format(value, form)


def aligned(lines):
    """Lines of cells as text, columns aligned to the right, a rule below the first line."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    head, *rest = ["  ".join(c.rjust(w) for c, w in zip(line, widths)) for line in lines]
    return "\n".join([head, "-" * len(head), *rest])


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"course.py run: {error}")
    except KeyboardInterrupt:
        sys.exit("\ncourse.py run: stopped; what was recorded is kept")
