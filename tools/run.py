"""The main job: train the methods on real data, compare them in one table, draw the figures."""

import argparse
import json
import shlex
import sys
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pandas
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from bdnn import data, dcc, sh_bdnn, uh_bdnn
from bdnn.course import plotting
from bdnn.course.compare import (
    DEFAULT_METHODS,
    METHODS,
    check_bits,
    check_settings,
    json_object,
    judge,
    make,
    parameters,
    settings_of,
    supervised,
    table,
    train,
    usable,
)
from bdnn.course.records import REVISIONS, append_row, read_folder, read_rows
from bdnn.files import check_writable
from tools import called_from

RESULTS = Path(__file__).resolve().parents[1] / "notebooks" / "results"
PAPER = {  # what --paper means, where the command line does not say otherwise
    "data": ["mnist", "cifar10", "cifar10-hog", "sift"],
    "methods": ["all"],
    "bits": [8, 16, 24, 32],
    "seeds": [0, 1, 2],
    "ground_truth": "paper",
    "record": RESULTS / "paper.jsonl",
}
FIRST_TABLE = ("cifar10-hog",)  # data of the unsupervised table alone
BOTH = ("itq", "dh", "uhbdnn")  # notebook 10 compares them under both ways of judging
# Relevant are the 50 nearest; on SIFT1M the paper takes a hundredth of the database.
NEIGHBOURS = {"sift": 3000, "sift1m": 10_000}
SHORT = {  # the columns of the short tables
    "precision_at_2": ("P@r=2 %", ".2f"),
    "map_standard": ("mAP %", ".2f"),
    "fit_seconds": ("training s", ".1f"),
}
LEGEND = """\
P@r=2: share of right answers within Hamming distance 2 of a query; an empty ball counts 0.
mAP: mean average precision of the whole ranking. More columns, and every run by itself: --all"""
IDENTITY = (  # `fingerprint` only of files of one's own, whose names say little
    *("method", "data", "fingerprint", "bits", "seed", "split", "ground_truth", "settings"),
    *("revision", "variant"),
)
VARIANTS = {  # departures of notebooks 08 and 09, each taken back: what stands in their place
    "all samples": (uh_bdnn, {"stages": lambda m, n_rounds: [(m, n_rounds)]}),
    "one ITQ start": (uh_bdnn, {"initial_codes": partial(uh_bdnn.initial_codes, n_init=1)}),
    "one DCC start": (uh_bdnn, {"best_codes": dcc.coordinate_descent}),
    "all axes": (uh_bdnn, {"principal_axes": lambda X, _, f=uh_bdnn.principal_axes: f(X, 1.0)}),
    "one part": (sh_bdnn, {"PARTS": 1}),
}


class Run(NamedTuple):
    """A run to be done, or found recorded."""

    data: str  # name or path
    seed: int
    bits: int
    method: str  # a key of METHODS
    identity: dict  # what makes it the same run


def main(argv=None):
    """Parse the command line, run every (data, seed, bits, method), report."""
    args = parse(argv)
    check_settings(args.settings, args.methods)
    if args.record and not args.plan:
        check_writable(args.record, make_folders=True)
    recorded = read_rows(args.record)
    timed = [row for rows in read_folder(RESULTS).values() for row in rows]
    if args.paper:
        recorded = timed + recorded
    runs = [run for name in args.data for run in planned(name, args)]
    if not runs:
        print("no runs are left")
        return
    check_settings(args.settings, {run.method for run in runs})
    done = {number: row for number, run in enumerate(runs) if (row := found(run, recorded))}
    print(forecast(runs, done, [*timed, *done.values()], verbose=args.plan))
    if args.plan:
        return
    try:
        measure_missing(runs, done, args)
    except BaseException:
        if not args.record:  # then what was measured is nowhere else
            report_all(runs, done, args)
        raise
    report_all(runs, done, args)


def measure_missing(runs, done, args):
    """Make the runs that are not done yet, and add their rows to `done`."""
    last: dict[str, Any] = {}
    with tqdm(total=len(runs), initial=len(done), unit="run") as bar:
        for number, run in enumerate(runs):
            if number not in done:
                bar.set_description(f"{run.identity['method']}, {run.bits} bits, seed {run.seed}")
                done[number] = measured(run, args, last)
                bar.update()


def report_all(runs, done, args):
    """Report on each data set of which there are rows."""
    for name in args.data:
        pairs = [(run, done[k]) for k, run in enumerate(runs) if run.data == name and k in done]
        if pairs:
            report(pairs, args)


def planned(name, args):
    """The runs of one data set; where neither method nor data are drawn, one for all seeds."""
    dataset = source(name, args.protocol, split_seed(args, args.seeds[0]))
    methods = usable(args.methods, dataset, lenient=args.lenient)
    needy = supervised(methods)
    if args.paper and name in FIRST_TABLE and needy:
        print(f"left out, because {name} is for the unsupervised table alone: {', '.join(needy)}")
        methods = [method for method in methods if method not in needy]
    check_bits(args.bits, args.n_train or len(dataset.train))
    drawn = args.protocol == "dh" or args.n_train is not None
    for seed, bits, method in product(args.seeds, args.bits, methods):
        if seed == args.seeds[0] or drawn or "random_state" in parameters(method):
            for truth in ground_truths(name, method, dataset, args):
                same = identity(method, bits, seed, truth, dataset, args)
                if name not in data.DATASETS:
                    split = source(name, args.protocol, split_seed(args, seed))
                    same["fingerprint"] = split.fingerprint
                yield Run(name, seed, bits, method, same)


@lru_cache(maxsize=1)
def source(name, protocol, seed):
    """The data without right answers, kept for the next run."""
    return data.load(name, protocol=protocol, ground_truth=None, seed=seed)


@lru_cache(maxsize=2)  # the paper's two tables alternate
def judged(name, protocol, seed, truth):
    """The data with right answers: ``labels``, or ``knn`` and how many neighbours."""
    kind, k = (truth, 0) if truth == "labels" else ("knn", int(truth.removeprefix("knn")))
    return data.with_ground_truth(source(name, protocol, seed), kind, k)


def prepared(run, args):
    """The data of a run, with the right answers."""
    seed = split_seed(args, run.seed)
    dataset = judged(run.data, args.protocol, seed, run.identity["ground_truth"])
    return dataset if args.n_train is None else fewer(dataset, args.n_train, run.seed)


def split_seed(args, seed):
    """Under the protocol dh the seed of a run draws its split, else all runs share one."""
    return seed if args.protocol == "dh" else 0


def fewer(dataset, n, seed):
    """The same task with n of the training vectors, drawn in proportion to the classes."""
    if n >= len(dataset.train):
        raise ValueError(f"--n-train {n}: {dataset.name} has {len(dataset.train)} to draw from")
    labels = dataset.labels
    kept, _ = train_test_split(
        np.arange(len(dataset.train)),
        train_size=n,
        random_state=seed,
        stratify=labels.train if labels else None,
    )
    labels = labels and labels._replace(train=labels.train[kept])
    return replace(dataset, train=dataset.train[kept], labels=labels)


def ground_truths(name, method, dataset, args):
    """What is relevant for a method: ``labels``, or ``knn`` and how many neighbours, or both.

    The two tables of the paper judge supervised methods by the class, and the others by the
    neighbours; the protocol of Deep Hashing judges all by the class.
    """
    neighbours = f"knn{NEIGHBOURS.get(name, 50)}"
    if not dataset.labels or args.ground_truth == "knn":
        return [neighbours]
    if args.ground_truth == "labels" or args.protocol == "dh" or supervised([method]):
        return ["labels"]
    both = args.ground_truth == "paper" and method in BOTH and name not in FIRST_TABLE
    return [neighbours, "labels"] if both else [neighbours]


def found(run, recorded):
    """The recorded row of a run, or None."""
    return next((row for row in recorded if same_run(row, run.identity)), None)


def measured(run, args, last):
    """The row of a run, measured now and recorded.

    `last` is the training before: the next ground truth judges it, too, instead of another one.
    """
    dataset = prepared(run, args)
    training = {key: value for key, value in run.identity.items() if key != "ground_truth"}
    if last.get("training") != training:
        estimator = make(run.method, run.bits, run.seed, args.settings)
        module, parts = VARIANTS.get(args.variant, (uh_bdnn, {}))
        with patch.dict(vars(module), parts):
            costs = train(estimator, dataset)
        last.update(training=training, estimator=estimator, costs=costs)
    row = run.identity | last["costs"] | judge(last["estimator"], dataset)
    if args.record:
        append_row(args.record, row | {"command": args.command})
    return row


def expected_seconds(run, timed):
    """Median time of the recorded runs of this method and data at the nearest length, or None."""
    kind = run.identity["method"], run.identity["data"]
    alike = [row for row in timed if (row["method"], row["data"]) == kind]
    if not alike:
        return None
    nearest = min((row["bits"] for row in alike), key=lambda bits: abs(bits - run.bits))
    parts = ("fit_seconds", "encode_seconds", "evaluate_seconds")
    times = [sum(row.get(k, 0) for k in parts) for row in alike if row["bits"] == nearest]
    return float(np.median(times))


def forecast(runs, done, timed, verbose=False):
    """How many runs are left and how long they will take; each of them, if verbose."""
    left = [run for number, run in enumerate(runs) if number not in done]
    seconds = [expected_seconds(run, timed) for run in left]
    if not left:
        return f"{len(runs)} runs, all of them recorded"
    lines = [f"{len(runs)} runs, {len(done)} of them recorded; left: {total(seconds)}"]
    if verbose:
        columns = {key: (key, "") for key in ("data", "ground_truth", "method", "bits", "seed")}
        rows = [run.identity | {"seconds": s} for run, s in zip(left, seconds)]
        lines.append(table(rows, columns | {"seconds": ("seconds", ".0f")}))
    return "\n".join(lines)


def total(seconds):
    """The sum of the times in words; None stands for a time that no recorded run tells."""
    known = [s for s in seconds if s is not None]
    minutes, unknown = sum(known) / 60, len(seconds) - len(known)
    words = []
    if known:
        words.append(f"about {minutes:.1f} min" if minutes < 60 else f"about {minutes / 60:.1f} h")
    if unknown:
        words.append(f"{unknown} run{'s' * (unknown > 1)} of unknown length")
    return " and ".join(words)


def report(runs, args):
    """Print the tables of one data set, one for each ground truth, and draw their figures."""
    order = {(L, name): k for k, (L, name) in enumerate(product(args.bits, args.methods))}
    runs.sort(key=lambda pair: order[pair[0].bits, pair[0].method])
    rows = [row for _, row in runs]
    truths = list(dict.fromkeys(row["ground_truth"] for row in rows))
    print(f"\n{described(runs[0][0], truths, args)}")
    figures = []
    for truth in truths:
        group = [row for row in rows if row["ground_truth"] == truth]
        stem = f"run_{rows[0]['data']}" + ("_dh" if args.protocol == "dh" else "")
        stem += f"_{truth}" if len(truths) > 1 else ""
        figures.append(plotting.draw_comparison(group, stem))
        print(f"\n{judged_by(truth)}\n{summary(group)}\n{reading(group)}")
    if args.all:
        print(f"\nEvery run by itself\n{table(rows)}")
        print("imbalance and dependence: 0 is best, 1 worst")
    print(f"\n{LEGEND}")
    if len(args.seeds) == 1:
        print("One seed: a lead of a few points may be chance. Notebook 15 has more, and tests.")
    for path in figures:
        print(f"figure: {path}")
    if args.record:
        print(f"results: {args.record}")


def judged_by(truth):
    """The ground truth in words, for the head of a table."""
    if truth == "labels":
        return "Judged by class: relevant are the items of the query's class"
    k = truth.removeprefix("knn")
    return f"Judged by neighbours: relevant are the {k} nearest to the query"


def parse(argv):
    """The command line; an unknown method or malformed settings end with a message."""
    parser = argparse.ArgumentParser(
        prog="python3 course.py run",
        description="Train the methods on real data, print the comparison, write the figures.",
        epilog="With --record FILE a run that was interrupted goes on where it stopped.",
    )
    add = parser.add_argument
    text = f"""the paper's tables and figures: data {" ".join(PAPER["data"])}, all methods, bits
        8 16 24 32, seeds 0 1 2, recorded in notebooks/results/paper.jsonl; what any file of that
        folder has is not run again. Further options narrow it"""
    add("--paper", action="store_true", help=text)
    text = "list the runs that are left and the time that they will take, and stop"
    add("--plan", action="store_true", help=text)
    text = f"{', '.join(data.DATASETS)}, or paths"
    add("--data", nargs="+", default=["mnist5k"], help=text)
    text = """split of the BDNN paper, one for all seeds; or that of Deep Hashing: 100 queries of
        each class, the rest is database and training, drawn anew for each seed"""
    add("--protocol", default="bdnn", choices=["bdnn", "dh"], help=text)
    add("--bits", type=int, nargs="+", default=[16, 32], help="code lengths")
    options = {"type": str.lower, "choices": [*METHODS, "all"], "metavar": "METHOD"}
    text = f"{', '.join(METHODS)}, or all; {' '.join(DEFAULT_METHODS)} if not given"
    add("--methods", nargs="+", **options, help=text)
    add("--seeds", type=int, nargs="+", default=[0], help="one run for each seed")
    text = f"""relevant are the 50 Euclidean neighbours (on SIFT a hundredth of the database), or
        the same class (the default for supervised methods and with the protocol dh); paper: as the
        tables of the course need it, {", ".join(BOTH)} by both, of one training"""
    add("--ground-truth", choices=["paper", "knn", "labels"], help=text)
    add("--all", action="store_true", help="also print every run by itself, with all measures")
    text = "learn from N of the training vectors, drawn in proportion to the classes by the seed"
    add("--n-train", type=int, metavar="N", help=text)
    text = "parameters of the estimators, such as '{\"max_alternations\": 5}'"
    add("--settings", type=json_object, default={}, metavar="JSON", help=text)
    text = "UH-BDNN or SH-BDNN with one departure of notebook 08 or 09 taken back"
    add("--variant", choices=VARIANTS, help=text)
    text = "append a JSON line for each run; skip the runs that FILE has"
    add("--record", type=called_from, metavar="FILE", help=text)
    args = parser.parse_args(argv)
    if args.paper:
        parser.set_defaults(**PAPER)
        args = parser.parse_args(argv)
    if args.variant:
        method = VARIANTS[args.variant][0].__name__.removeprefix("bdnn.").replace("_", "")
        if args.methods != [method]:
            parser.error(f"--variant '{args.variant}' is for --methods {method} alone")
    args.data = [name if name in data.DATASETS else str(called_from(name)) for name in args.data]
    args.lenient = args.methods is None or "all" in args.methods  # leave out what cannot run
    if args.lenient:
        args.methods = list(METHODS if args.methods else DEFAULT_METHODS)
    args.methods = list(dict.fromkeys(args.methods))
    args.command = "python3 course.py run " + shlex.join(sys.argv[1:] if argv is None else argv)
    return args


def described(run, truths, args):
    """The data of a run with all ground truths of the runs: its text states them and the split."""
    dataset = source(run.data, args.protocol, split_seed(args, run.seed))
    if args.n_train is not None:
        dataset = fewer(dataset, args.n_train, run.seed)
    return replace(dataset, ground_truth=" and ".join(truths))


def identity(method, bits, seed, truth, dataset, args):
    """What makes a run the same run: method, data, split, seed, settings and revision."""
    variant = {"variant": args.variant} if args.variant else {}
    protocol = "" if dataset.protocol == "bdnn" else f"{dataset.protocol}: "
    n_train = len(dataset.train) if args.n_train is None else args.n_train
    return {
        "method": METHODS[method].__name__,
        "data": dataset.name,
        "bits": bits,
        "seed": seed,
        "split": f"{protocol}{n_train} train, {len(dataset.database)} database",
        "ground_truth": truth,
        "n_query": len(dataset.query),
        "settings": settings_of(make(method, bits, seed, args.settings)),
        "revision": REVISIONS[METHODS[method].__name__],
        **variant,
    }


def same_run(row, other):
    """Whether two rows describe the same run of the same revision."""
    return all(json.dumps(row.get(key)) == json.dumps(other.get(key)) for key in IDENTITY)


def summary(rows):
    """The short table: means over the seeds, with their deviation where there are several."""
    means = []
    for (method, bits), group in pandas.DataFrame(rows).groupby(["method", "bits"], sort=False):
        means.append({"method": plotting.method_style(method)["label"], "bits": bits})
        for key, (_, form) in SHORT.items():
            deviation = f" ± {group[key].std():{form}}" if len(group) > 1 else ""
            means[-1][key] = f"{group[key].mean():{form}}{deviation}"
    columns = {key: (head, "") for key, (head, _) in SHORT.items()}
    return table(means, {"method": ("method", ""), "bits": ("bits", "")} | columns)


def reading(rows):
    """A sentence that reads the table: who is first at each length, and by how much."""
    table, clauses = pandas.DataFrame(rows), []
    for key, what in (("precision_at_2", "precision"), ("map_standard", "mAP")):
        for bits, group in table.groupby("bits"):
            means = group.groupby("method")[key].mean().sort_values(ascending=False)
            if len(means) == 1:
                return "One method: nothing to compare it with."
            first, second = (plotting.method_style(method)["label"] for method in means.index[:2])
            lead = means.iloc[0] - means.iloc[1]
            clauses.append(
                f"{first} in {what} at {bits} bits, by {lead:.1f} points before {second}"
            )
    return f"First are {'; '.join(clauses)}."


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"course.py run: {error}")
    except KeyboardInterrupt:
        sys.exit("\ncourse.py run: stopped; what was recorded is kept")
