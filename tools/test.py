"""Everything that continuous integration runs, cheapest first: `python3 course.py test`.

1. the gates of `course.py check`; 2. the types, by mypy; 3. the unit tests; 4. every notebook and
its solutions, executed anew and compared with the outputs that are stored in it (nbval, strict);
5. the site; 6. the tests of notebooks and site in a browser, which are skipped where there is none.
"""

import argparse
import os
import subprocess
import sys
import tempfile

from tools.build import warm_up
from tools.notebooks import ROOT, find, kernel_environment

NO_TESTS = 5  # pytest's exit code where it found nothing to run
BROWSER = "tests/browser"
PARALLEL = ["-n", "2", "--dist", "loadfile"]
COVERAGE = ["--cov", "--cov-report=term:skip-covered"]  # its settings are in pyproject.toml
NBVAL = [
    "--nbval",
    "--nbval-current-env",
    "--nbval-sanitize-with=tests/nbval_sanitize.cfg",
    "--nbval-cell-timeout=600",
    "-p",
    "no:python",
]


def steps(quick):
    """Return (title, arguments of Python) for each step, cheapest first."""
    yield "check", ["-m", "tools.check"]
    yield "types", ["-m", "mypy"]
    yield "unit tests", ["-m", "pytest", "tests", "--ignore", BROWSER, *PARALLEL, *COVERAGE]
    if quick:
        return
    notebooks = [str(notebook.path) for notebook in find(ROOT)]
    if notebooks:
        yield "notebooks", ["-m", "pytest", *NBVAL, *PARALLEL, *notebooks]
        yield "site", ["-m", "tools.site"]
    yield "browser tests", ["-m", "pytest", BROWSER, *PARALLEL]


def main():
    """Parse the command line and run the steps; the first one that fails ends the run."""
    parser = argparse.ArgumentParser(prog="course.py test", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave notebooks and browser out")
    text = "the library's tests alone, with the oldest dependencies it allows, in .venv-oldest"
    parser.add_argument("--oldest", action="store_true", help=text)  # see course.py
    quick = parser.parse_args().quick
    warm_up()
    with tempfile.TemporaryDirectory() as scratch:
        env = kernel_environment(ROOT)
        env |= {"BDNN_FIGURES": os.path.join(scratch, "figures"), "IPYTHONDIR": scratch}
        for title, arguments in steps(quick):
            print(f"\n== {title}: python {' '.join(arguments[:3])}", flush=True)
            code = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env).returncode
            if code and not (code == NO_TESTS and not find(ROOT)):
                return code
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
