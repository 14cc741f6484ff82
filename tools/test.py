"""Everything that continuous integration runs, cheapest first: `python3 course.py test`.

1. the gates of `course.py check`; 2. the types, by mypy, the site, and the unit tests; 3. every
notebook and its solutions, executed anew and compared with the outputs that are stored in it
(nbval, strict), and the unit tests that rounding might sway, with other kernels of OpenBLAS; 4. the
long trainings with the other kernels (the workflow runs all of this with other kernels), and the
tests of notebooks and site in a browser, which are skipped where there is none.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from threadpoolctl import threadpool_info

from tools.build import warm_up
from tools.notebooks import ROOT, find, kernel_environment

NO_TESTS = 5  # pytest's exit code where it found nothing to run
TRAINING = ("08", "09", "10")  # notebooks whose results rounding might sway
LONG = ("08", "17", "09", "16", "12", "10", "15", "13")  # begun first: no core idles at the end
PARALLEL = ["-n", "2", "--dist", "worksteal"]
CHECK, MYPY, SITE = ["-m", "tools.check"], ["-m", "mypy"], ["-m", "tools.site"]
UNIT = ["-m", "pytest", "tests", "--ignore", "tests/browser", *PARALLEL]
BROWSER = ["-m", "pytest", "tests/browser", *PARALLEL]
NBVAL = [  # a notebook stays with one worker, as its cells share a kernel
    *("-m", "pytest", "--nbval", "--nbval-current-env", "--nbval-cell-timeout=600"),
    *("--nbval-sanitize-with=tests/nbval_sanitize.cfg", "-p", "no:python"),
    *("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"),
]
OF_THE_TOOLS = re.compile(r"^(from|import) (tools|course|sample|playwright)\b", re.MULTILINE)


def quick_steps():
    """Return what `--quick` runs, in the form of `full_steps`."""
    return [[("check", CHECK, {})], [("quick unit tests", [*UNIT, "-m", "not slow"], {})]]


def full_steps():
    """Return groups of steps (title, arguments of Python, variables); a group runs side by side.

    The site is there before the browser's tests open it.
    """
    notebooks = sorted(find(ROOT), key=duration)
    every = [str(n.path) for n in notebooks]
    training = [str(n.path) for n in notebooks if n.number in TRAINING and not n.is_solution]
    groups = [
        [("check", CHECK, {})],
        [("types", MYPY, {}), ("site", SITE, {}), ("unit tests", UNIT, {})],
        [("notebooks", [*NBVAL, *every], {})],
        [("browser tests", BROWSER, {})],
    ]
    if kernels := other_kernels():
        other = {"OPENBLAS_CORETYPE": kernels}
        groups[2].append((f"unit tests, {kernels}", swayed(), other))
        groups[3].append((f"notebooks, {kernels}", [*NBVAL, *training], other))
    return groups


def swayed():
    """Return arguments for the unit tests that rounding might sway; other files are not read."""
    paths = sorted((ROOT / "tests").glob("test_*.py"))
    files = [path for path in paths if "mark.rounding" in path.read_text(encoding="utf-8")]
    return ["-m", "pytest", *map(str, files), *PARALLEL, "-m", "rounding"]


def duration(notebook):
    """Return a key that sorts notebooks by the time they take, the longest first."""
    place = LONG.index(notebook.number) if notebook.number in LONG else len(LONG)
    return notebook.is_solution, place


def other_kernels():
    """Return the name of OpenBLAS kernels other than this machine's own; None if not on x86."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    import numpy  # noqa: F401  (loads OpenBLAS)

    own = {library.get("architecture") for library in threadpool_info()}
    return "Nehalem" if own & {"Haswell", "Zen"} else "Haswell"


def run(group, env):
    """Run the steps of a group side by side; return 0, or the exit code of one that failed."""
    for title, arguments, _ in group:
        print(f"\n== {title}: python {' '.join(arguments[:3])}", flush=True)
    started = [
        subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=env | variables)
        for _, arguments, variables in group
    ]
    codes = [process.wait() for process in started]
    return next((code for code in codes if code not in (0, NO_TESTS)), 0)


def library_tests():
    """Return the test files that need nothing but the library."""
    paths = sorted((ROOT / "tests").glob("test_*.py"))
    return [path for path in paths if not OF_THE_TOOLS.search(path.read_text(encoding="utf-8"))]


def oldest():
    """Run the library's tests with the lowest releases that it allows, in .venv-oldest."""
    if sys.version_info >= (3, 13):
        sys.exit("The lowest releases have wheels up to Python 3.12: use 3.11 or 3.12 for this.")
    folder = ROOT / ".venv-oldest"
    python = folder / Path(sys.executable).relative_to(sys.prefix)
    uv = [sys.executable, "-m", "uv"]
    install = [*uv, "pip", "install", "--python", python]
    for command in (
        [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder],
        [*install, "--resolution", "lowest-direct", "--editable", ".[parquet,scale]"],
        [*install, "-c", "requirements.lock", "pytest", "pytest-xdist", "hypothesis"],
        [python, "-c", "from bdnn.files import show_versions; show_versions()"],
        [python, "-m", "pytest", *PARALLEL, *library_tests()],
    ):
        code = subprocess.run(command, cwd=ROOT).returncode
        if code:
            return code
    return 0


def main():
    """Parse the command line and run the steps; the first group that fails ends the run."""
    parser = argparse.ArgumentParser(prog="course.py test", description=__doc__.splitlines()[0])
    text = "the gates, and the unit tests that are not slow"
    parser.add_argument("--quick", action="store_true", help=text)
    text = "the library's tests alone, with the lowest releases it allows, in .venv-oldest"
    parser.add_argument("--oldest", action="store_true", help=text)
    options = parser.parse_args()
    if options.oldest:
        return oldest()
    warm_up()
    with tempfile.TemporaryDirectory() as scratch:
        env = kernel_environment(ROOT)
        env |= {"BDNN_FIGURES": os.path.join(scratch, "figures"), "IPYTHONDIR": scratch}
        for group in quick_steps() if options.quick else full_steps():
            code = run(group, env)
            if code:
                return code
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
