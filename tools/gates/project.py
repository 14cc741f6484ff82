"""Gates on the project around the notebooks: modules, style, lock, address."""

import json
import re
from collections import Counter
from itertools import chain

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.export import stray_modules
from tools.notebooks import Problem
from tools.style import ruff

STYLED = ("notebooks", "bdnn", "tests", "tools", "course.py")
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)(?: ; .*)? \\\n    --hash=sha256:", re.MULTILINE)
MNIST = "mnist", "60000 train, 60000 database"
RESULTS = {  # name in README's table: method, ground truth, data, split
    "UH-BDNN": ("UHBDNN", "knn50", *MNIST),
    "ITQ": ("ITQ", "knn50", *MNIST),
    "SH-BDNN": ("SHBDNN", "labels", *MNIST),
    "SDH": ("SupervisedDiscreteHashing", "labels", *MNIST),
}
PLACE = re.compile(
    r"(colab\.research\.google\.com/github|mybinder\.org/v2/gh|raw\.githubusercontent\.com"
    r"|github\.com)/([\w.-]+)/([\w-]+)"
)


def modules(course):
    """Every module of bdnn is what its notebook exports, and no export breaks a rule."""
    for export, problems in course.exports:
        yield from problems
        if not problems and export.stale():
            what = f"is not what {export.notebook.text.as_posix()} exports"
            mend = f"python3 course.py export {export.notebook.number}; never edit the module"
            yield Problem(export.path.as_posix(), what, mend)
    yield from stray_modules(course.root, course.exports)


def lint(course):
    """ruff finds no fault in any Python text; magics and shell lines are faults."""
    yield from findings(course, "check --fix", "check")


def formatting(course):
    """Every Python text is formatted by ruff."""
    yield from findings(course, "format", "format", "--check")


def findings(course, mend, *arguments):
    """Yield what ruff finds in the course's Python texts."""
    paths = [path for path in STYLED if (course.root / path).exists()]
    said = ruff(course.root, *arguments, "--output-format", "concise", *paths)
    for path, line, what in re.findall(r"^(\S+?):(\d+):\d+: (.*)$", said, re.MULTILINE):
        yield Problem(f"{path}: line {line}", what, f".venv/bin/ruff {mend} {path}, or by hand")


def lock(course):
    """What pyproject.toml asks for has pins with hashes, so that nothing else is installed."""
    text = (course.root / "requirements.lock").read_text(encoding="utf-8")
    pins = PIN.findall(text)
    for asked in [
        *course.project["dependencies"],
        *chain(*course.project["optional-dependencies"].values()),
    ]:
        requirement = Requirement(asked)
        found = [version for name, version in pins if name == canonicalize_name(requirement.name)]
        if not found or not all(map(requirement.specifier.contains, found)):
            what = f"{requirement} is locked to {', '.join(found) or 'nothing'}"
            yield Problem("requirements.lock", what, "make it anew, see CONTRIBUTING.md")


def address(course):
    """The repository's address and version stand everywhere as in pyproject.toml."""
    owner, name = course.address.split("/")[-2:]
    pages = [path for path in course.root.glob("*.md")]
    for path in sorted(pages):
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), start=1):
            for site, *found in PLACE.findall(line):
                ours = site != "github.com" or owner == found[0] or name == found[1]
                if ours and found != [owner, name]:
                    what = f"line {number} names {'/'.join(found)}, not {owner}/{name}"
                    yield Problem(path.name, what, "write the address of pyproject.toml")
    citation = (course.root / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    for line in (f"repository-code: {course.address}", f"version: {course.project['version']}"):
        if line not in citation:
            yield Problem("CITATION.cff", f"lacks the line `{line}`", "copy it from pyproject.toml")


def results(course):
    """README's table of results states the means of the recorded rows, one for each seed."""
    readme = (course.root / "README.md").read_text(encoding="utf-8").splitlines()
    paths = sorted((course.root / "notebooks" / "results").glob("*.jsonl"))
    texts = [path.read_text(encoding="utf-8") for path in paths if path.stem != "ablations"]
    rows = [json.loads(line) for text in texts for line in text.splitlines()]
    for name, entry in RESULTS.items():
        stated = next((line for line in readme if line.startswith(f"| {name} |")), "")
        found = [mean_precision(rows, (*entry, bits)) for bits in (8, 16, 24, 32)]
        if None not in found and re.findall(r"\| (\d+\.\d) ", stated) != found:
            what = f"the recorded runs of {name} say {', '.join(found)}"
            mend = "copy these figures into its table, build 10 and 15, and read its verdicts again"
            yield Problem("README.md", what, mend)


def mean_precision(rows, entry):
    """Mean precision within radius 2 over the seeds, with the settings that most of the rows have.

    The last row of a seed counts. None without rows.
    """
    keys = "method", "ground_truth", "data", "split", "bits"
    rows = [row for row in rows if tuple(map(row.get, keys)) == entry]
    kinds = Counter(json.dumps(row["settings"]) for row in reversed(rows))
    usual = dict(kinds.most_common(1))
    seeds = {r["seed"]: r["precision_at_2"] for r in rows if json.dumps(r["settings"]) in usual}
    return f"{sum(seeds.values()) / len(seeds):.1f}" if seeds else None
