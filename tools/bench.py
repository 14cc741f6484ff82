"""The performance table, peers side by side in one run: `python3 course.py bench`.

Each ratio is the median over pairs of calls in turn, so that a machine whose speed drifts slows
both sides. On one thread processor time is measured, on several the clock on the wall. PyTorch and
faiss are compared with where they are installed; where one is not, its row is left out.
"""

import argparse
import json
import os
import sys
import time

import numpy as np
from threadpoolctl import threadpool_limits

from bdnn.files import atomic_path, check_writable, versions
from tests.benchmarks.cases import PEERS, cases, there
from tests.benchmarks.measure import the_clock
from tools import called_from


def parse(argv):
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="course.py bench", description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it run? (no goals)")
    parser.add_argument("--threads", type=int, default=1, help="threads of both sides (default: 1)")
    text = "write the rows as JSON"
    parser.add_argument("--record", type=called_from, metavar="FILE", help=text)
    return parser.parse_args(argv)


def line(row):
    """One row of the table as text."""
    verdict = "yes" if row.met else "NO"
    return f"{row.what:62.62}  {row.case:44.44}  {row.value:8.2f}  <= {row.goal:4g}  {verdict:>3}"


def record(path, rows, options):
    """Write the rows as a JSON list, each with versions, BLAS and threads of the run."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    common = {"threads": options.threads, "versions": versions() | {"blas": blas["name"]}}
    common["date"] = time.strftime("%Y-%m-%d")
    with atomic_path(path) as temporary:
        lines = ",\n".join(json.dumps(row.record() | common) for row in rows)
        temporary.write_text(f"[\n{lines}\n]\n")
    print(f"wrote {path}")


def main(argv=None):
    """Measure, print the table, and return 1 if a ratio misses its goal."""
    options, started, rows = parse(argv), time.perf_counter(), []
    if options.record:
        check_writable(options.record)
    for name in PEERS:
        if not there(name):
            print(f"{name} is not installed: its row is left out.")
    header = f"{'what':62}  {'case':44}  {'median':>8}  {'goal':>7}  met"
    print(header + "\n" + "-" * len(header))
    with threadpool_limits(limits=options.threads):
        for case in cases(options.smoke, options.threads):
            rows.append(case.row(the_clock(options.threads), 2 if options.smoke else 5))
            print(line(rows[-1]), flush=True)
    missed = sum(not row.met for row in rows)
    print(f"\n{len(rows)} rows on {options.threads} of {os.cpu_count()} threads in ", end="")
    print(f"{time.perf_counter() - started:.0f} s; {missed} miss their goal.")
    if options.record:
        record(options.record, rows, options)
    return int(missed > 0 and not options.smoke)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"course.py bench: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
