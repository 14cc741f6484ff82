"""The performance table, peers side by side in one run: `python3 course.py bench`.

Each ratio is the median over pairs of calls in turn, so that a machine whose speed drifts slows
both sides. On one thread processor time is measured, on several the clock on the wall. PyTorch and
faiss are compared with where they are installed; where one is not, its rows are left out.
"""

import argparse
import json
import os
import sys
import time

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from bdnn.files import atomic_path, check_writable, versions
from tests.benchmarks import objectives, optimiser, retrieval
from tests.benchmarks.measure import Stopwatch
from tools import called_from

GROUPS = {"evaluation": objectives, "lbfgs": optimiser, "codes": retrieval}
PEERS = {"PyTorch": objectives.has_torch, "faiss": retrieval.has_faiss}


def parse(argv):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="course.py bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the core ratios, under a minute")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it run? (no goals)")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), help="groups")
    parser.add_argument("--threads", type=int, default=1, help="threads of both sides (default: 1)")
    text = "write the rows as JSON"
    parser.add_argument("--record", type=called_from, metavar="FILE", help=text)
    return parser.parse_args(argv)


def line(row):
    """One row of the table as text."""
    goal = "" if row.goal is None else f"{'>=' if row.at_least else '<='} {row.goal:g}"
    verdict = {True: "yes", False: "NO", None: ""}[row.met]
    return f"{row.what:62.62}  {row.case:44.44}  {row.value:8.3f}  {goal:>8}  {verdict:>3}"


def measure(options):
    """Yield the rows, with the time that each group took on a progress bar."""
    size = "smoke" if options.smoke else "quick" if options.quick else "full"
    watch = Stopwatch(options.threads, {"full": 5, "quick": 5, "smoke": 2}[size])
    if objectives.has_torch():
        import torch

        torch.set_num_threads(options.threads)
    with (
        threadpool_limits(limits=options.threads),
        tqdm(disable=None, leave=False) as bar,
    ):
        for name in options.only:
            bar.set_description(name)
            for row in GROUPS[name].rows(watch, size):
                bar.update()
                yield row


def record(path, rows, options):
    """Write the rows as a JSON list, each with versions, BLAS and threads of the run."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    common = {"threads": options.threads, "versions": versions() | {"blas": blas["name"]}}
    common["date"] = time.strftime("%Y-%m-%d")
    with atomic_path(path) as temporary:
        lines = ",\n".join(json.dumps(row.record() | common) for row in rows)
        temporary.write_text(f"[\n{lines}\n]\n")


def main(argv=None):
    """Measure, print the table, and return 1 if a ratio misses its goal."""
    options = parse(argv)
    if options.record:
        check_writable(options.record)
    for name, there in PEERS.items():
        if not there():
            print(f"{name} is not installed: its rows are left out.")
    started, rows = time.perf_counter(), []
    header = f"{'what':62}  {'case':44}  {'median':>8}  {'goal':>8}  met"
    print(header + "\n" + "-" * len(header))
    for row in measure(options):
        rows.append(row)
        tqdm.write(line(row))
    missed = sum(row.met is False for row in rows)
    print(f"\n{len(rows)} rows on {options.threads} of {os.cpu_count()} threads in ", end="")
    print(f"{time.perf_counter() - started:.0f} s; {missed} miss their goal.")
    if options.record:
        record(options.record, rows, options)
        print(f"wrote {options.record}")
    return int(missed > 0 and not options.smoke)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"course.py bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
