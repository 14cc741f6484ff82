"""Methods side by side on one data set: what is run, measured, tabulated and reported.

`python3 course.py run` and `python -m bdnn compare` are two faces of this module.
"""

import argparse
import contextlib
import html
import inspect
import json
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterable, Mapping
from importlib import resources
from string import Template
from typing import Any

import numpy as np
import pandas

import bdnn
from bdnn import metrics
from bdnn.checks import check_whole_number
from bdnn.data import Dataset
from bdnn.files import StrPath, atomic_path, versions
from bdnn.hashing import Hasher, whole_training

__all__ = [
    "COLUMNS", "DEFAULT_METHODS", "METHODS", "RECALL_COLUMNS", "check_bits",
    "check_settings", "json_object", "judge", "make", "measure", "parameters", "settings_of",
    "supervised", "table", "thinned", "train", "usable", "write_report",
]  # fmt: skip

Row = dict[str, Any]  # of results

METHODS: dict[str, type[Hasher]] = {
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
DEFAULT_METHODS = ["itq", "dh", "uhbdnn", "sdh", "supdh", "shbdnn"]
PERCENT = ("precision_at_2", "precision_at_500", "map_standard", "map_trapezoid", "map_expected")
COLUMNS = {
    "method": ("method", "s"),
    "bits": ("bits", "d"),
    "seed": ("seed", "d"),
    "ground_truth": ("relevant", "s"),
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
RECALL_COLUMNS = {
    "method": ("method", "s"),
    "bits": ("bits", "d"),
    "bytes": ("bytes", "d"),
    "recall_at_10": ("10-recall@10 %", ".1f"),
    "recall_at_100": ("10-recall@100 %", ".1f"),
}
OPTIONS = {  # parameters of every method that are no settings of a comparison
    "n_bits": "--bits gives it",
    "random_state": "--seed gives it",
    "verbose": "progress is shown on a terminal",
}
MOST_ENTRIES = 60  # of a recorded history
GROUPS = 100  # of queries, for the error of a figure over the queries
TRACE_FROM = 20_000  # training vectors; below, tracing memory costs more than some 3 % of the time


def json_object(text: str) -> dict[str, Any]:
    """The object that a JSON text holds; for argparse, where a setting is an option."""
    with contextlib.suppress(json.JSONDecodeError, RecursionError):
        if isinstance(value := json.loads(text), dict):
            return value
    raise argparse.ArgumentTypeError(f"not a JSON object: {text[:80]!r}")


def supervised(names: Iterable[str]) -> list[str]:
    """Those of the methods that need labels."""
    return [name for name in names if METHODS[name]._requires_labels]


def parameters(name: str) -> Mapping[str, inspect.Parameter]:
    """The parameters of a method, by name."""
    return inspect.signature(METHODS[name]).parameters


def check_settings(settings: Row, names: Iterable[str]) -> None:
    """Raise a ValueError for a setting that an option gives, or that none of the methods has."""
    known = {name for method in names for name in parameters(method)} - OPTIONS.keys()
    for name in settings:
        if name in OPTIONS:
            raise ValueError(f"--settings: {name!r} is no setting: {OPTIONS[name]}")
        if name not in known:
            listed = ", ".join(sorted(known))
            raise ValueError(f"--settings: {name!r} is not known; known are {listed}")


def check_bits(lengths: Iterable[int], n_samples: int) -> None:
    """Raise a ValueError for a code length that no training on so many samples can have."""
    for bits in lengths:
        check_whole_number("n_bits", bits, 1)
        if bits > n_samples:
            raise ValueError(
                f"n_bits={bits} is more than n_samples = {n_samples} allow: use fewer bits or more "
                "samples"
            )


def usable(names: list[str], dataset: Dataset, lenient: bool) -> list[str]:
    """The methods that the data allow: without labels none that needs them."""
    needy = supervised(names)
    if dataset.labels is not None or not needy:
        return names
    if not lenient:
        raise ValueError(f"{dataset.name} has no labels, and {', '.join(needy)} needs them")
    print(f"left out, because {dataset.name} has no labels: {', '.join(needy)}")
    return [name for name in names if name not in needy]


def make(name: str, bits: int, seed: int, settings: Row) -> Hasher:
    """The estimator, with those of the settings that it knows."""
    settings = settings | {"random_state": seed, "verbose": sys.stderr.isatty()}
    known = settings.keys() & parameters(name).keys()
    return METHODS[name](n_bits=bits, **{key: settings[key] for key in known})


def settings_of(estimator: Hasher) -> Row:
    """The parameters of an estimator, those aside that options give."""
    return {key: v for key, v in estimator.get_params().items() if key not in OPTIONS}


def measure(estimator: Hasher, dataset: Dataset, row: Row, near: Any = None) -> Row:
    """The row of a run: fit, encode, evaluate."""
    return row | train(estimator, dataset) | judge(estimator, dataset, near)


def train(estimator: Hasher, dataset: Dataset) -> Row:
    """Fit, and say what it cost: seconds, memory in megabytes.

    An interruption of the training raises KeyboardInterrupt, also where `fit` would keep its state.

    `fit_cpu_seconds` sums over the threads, and does not count what other programs took.
    `peak_mb` is what the training allocated at most, None for few training vectors; `rss_mb` is
    the peak of the whole process up to then, over all runs of the command.
    """
    labels = dataset.labels.train if dataset.labels else None
    traced = len(dataset.train) >= TRACE_FROM
    if traced:
        tracemalloc.start()
    start, start_cpu = time.perf_counter(), time.process_time()
    with whole_training():
        estimator.fit(dataset.train, labels)
    costs = {
        "fit_seconds": round(time.perf_counter() - start, 2),
        "fit_cpu_seconds": round(time.process_time() - start_cpu, 2),
        "peak_mb": round(tracemalloc.get_traced_memory()[1] / 1e6, 1) if traced else None,
    }
    tracemalloc.stop()
    return costs | {"rss_mb": resident_mb()}


def judge(estimator: Hasher, dataset: Dataset, near: Any = None) -> Row:
    """Encode and evaluate with a fitted estimator; percentages in percent.

    `precision_by_radius` and `recall_by_radius` are the precision-recall curve, from radius 0 on.
    `precision_by_group` is precision at radius 2 of `GROUPS` groups of queries, group k those at k,
    k + `GROUPS` and so on: methods that answer the same queries are compared group by group, which
    says how far the choice of the queries moves their difference.
    With `near`, the rows of each query's ten nearest items, the row gets `recall_at_10` and
    `recall_at_100`, their share among the first items by code, and the `bytes` of a code.
    """
    row: Row = {}
    start = time.perf_counter()
    database = estimator.transform(dataset.database)
    row["encode_seconds"] = round(time.perf_counter() - start, 3)
    start = time.perf_counter()
    queries = estimator.transform(dataset.query)
    measures = metrics.evaluate(queries, database, dataset.relevant, curves=True)
    row["evaluate_seconds"] = round(time.perf_counter() - start, 2)
    if near is not None:
        row["bytes"] = -(-estimator.n_bits // 8)
        for n in (10, 100):
            share = metrics.recall_at(queries, database, near, k=near.shape[1], shortlist=n)
            row[f"recall_at_{n}"] = round(100 * share, 4)
    row["precision_by_group"] = [
        round(100 * metrics.precision_at_radius(queries[k::GROUPS], database, relevant), 4)
        for k, relevant in enumerate(relevant_by_group(dataset.relevant))
    ]
    for name, value in measures.items():
        if name.endswith("_by_radius"):
            row[name] = np.round(100 * value, 3).tolist()
        else:
            row[name] = round(100 * value, 4) if name in PERCENT else round(value, 6)
    return row | {"history": rounded(thinned(estimator.history_)), "versions": versions()}


def relevant_by_group(relevant):
    """The right answers of each group of queries: rows of neighbours, or pairs of label vectors."""
    if isinstance(relevant, tuple):
        labels, database = relevant
        return [(labels[k::GROUPS], database) for k in range(min(GROUPS, len(labels)))]
    return [relevant[k::GROUPS] for k in range(min(GROUPS, len(relevant)))]


def resident_mb():
    """Peak resident memory of this process so far, in megabytes; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def thinned(history: list[Row], most: int = MOST_ENTRIES) -> list[Row]:
    """At most so many entries, evenly spaced, the first and the last among them."""
    kept = np.linspace(0, len(history) - 1, min(len(history), most)).round().astype(int)
    return [history[k] for k in kept]


def rounded(value):
    """Floats at any depth, to six significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def table(rows: list[Row], columns: dict[str, tuple[str, str]] = COLUMNS) -> str:
    """The rows as a text table, columns aligned to the right, a rule below the heads."""
    lines = _lines(rows, columns)
    widths = [max(map(len, column)) for column in zip(*lines)]
    head, *rest = ["  ".join(c.rjust(w) for c, w in zip(line, widths)) for line in lines]
    return "\n".join([head, "-" * len(head), *rest])


def _lines(rows, columns):
    """Heads, then for each row its cells; a dash where a row, recorded earlier, lacks a measure."""
    lines = [[head for head, _ in columns.values()]]
    for row in rows:
        cells = [(row.get(key), form) for key, (_, form) in columns.items()]
        lines.append(["-" if value is None else format(value, form) for value, form in cells])
    return lines


def write_report(path: StrPath, rows: list[Row], dataset: Dataset, command: str) -> None:
    """Write a comparison as one HTML page that stands alone: tables, figure, settings.

    The rows are those of :func:`measure` with `near`; `command` is what makes the page again. The
    file appears whole or not at all.
    """
    from bdnn.course import plotting  # half a second for matplotlib, which no other command needs

    with tempfile.TemporaryDirectory() as folder:
        svg = plotting.draw_comparison(rows, f"{folder}/comparison").read_text(encoding="utf-8")
    settings = {row["method"]: row["settings"] for row in rows}
    page = resources.files("bdnn.course").joinpath("report.html").read_text(encoding="utf-8")
    page = Template(page).substitute(
        title=html.escape(f"Hashing methods compared on {dataset.name}"),
        data=html.escape(str(dataset)),
        recall=_html_table(rows, RECALL_COLUMNS),
        table=_html_table(rows, COLUMNS),
        figure=svg[svg.index("<svg") :],
        command=html.escape(command),
        versions=", ".join(f"{name} {version}" for name, version in versions().items()),
        settings="\n".join(
            f"<li>{method}: <code>{html.escape(json.dumps(values))}</code></li>"
            for method, values in settings.items()
        ),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def _html_table(rows, columns):
    """The same rows as a table of HTML."""
    heads, *lines = _lines(rows, columns)
    return pandas.DataFrame(lines, columns=heads).to_html(index=False, border=0)
