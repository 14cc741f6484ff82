"""Gates on the project around the notebooks: modules, style, lock, dependencies, address."""

import json
import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.export import stray_modules
from tools.lock import locked_extras
from tools.notebooks import Problem
from tools.style import ruff

STYLED = ("notebooks", "bdnn", "tests", "tools", "course.py")
RELOCK = "python3 -m tools.lock"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)")
HOST = re.compile(r"://|file:|^-|^--|\s@\s|--(?:index|extra-index|find-links|trusted)")
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
    """ruff finds no fault in any Python text."""
    for where, path, finding in findings(course, "check"):
        what = f"{finding['code']} {finding['message'].rstrip('.')}"
        yield Problem(where, what, f".venv/bin/ruff check --fix {path}, or by hand")


def formatting(course):
    """Every Python text is formatted by ruff."""
    for where, path, _ in findings(course, "format", "--check"):
        yield Problem(where, "is not formatted", f".venv/bin/ruff format {path}")


def lock(course):
    """Every lock answers its ranges, has hashes throughout and names no host."""
    yield from lock_problems(course.root, "requirements.lock", requirements(course.root))
    for name, ranges in locked_extras(course.project).items():
        yield from lock_problems(course.root, f"requirements/{name}.lock", by_name(ranges))


def lock_problems(root, where, wanted):
    """Yield what is wrong with one lock, given the Requirement of each name."""
    if not (root / where).exists():
        yield Problem(where, "does not exist", RELOCK)
        return
    text = (root / where).read_text(encoding="utf-8")
    pins, direct = read_lock(text)
    for name, requirement in wanted.items():
        found = [version for pin, version, _ in pins if pin == name]
        wrong = [version for version in found if not requirement.specifier.contains(version)]
        if not found or wrong:
            what = f"{requirement} is locked to {', '.join(wrong) or 'nothing'}"
            yield Problem(where, what, RELOCK)
    for name in sorted(direct - set(wanted)):
        yield Problem(where, f"{name} is required no longer", RELOCK)
    for name, version, hashes in pins:
        if not hashes:
            yield Problem(where, f"{name}=={version} has no hash", RELOCK)
    for number, line in enumerate(text.splitlines(), start=1):
        if HOST.search(line):
            what = f"line {number} names a host, a file or an option of pip"
            yield Problem(where, what, RELOCK)


def same_pins(course):
    """The lock of an extra pins nothing otherwise than requirements.lock."""
    main = pinned(course.root / "requirements.lock")
    for name in locked_extras(course.project):
        where = f"requirements/{name}.lock"
        for package, versions in pinned(course.root / where).items():
            if not versions <= main.get(package, versions):
                what = f"{package} is pinned otherwise than in requirements.lock"
                yield Problem(where, what, RELOCK)


def oldest(course):
    """requirements/oldest.lock pins what the library needs to the lowest releases it allows."""
    where = "requirements/oldest.lock"
    pins = pinned(course.root / where)
    for text in course.project["dependencies"]:
        requirement = Requirement(text)
        lowest = next(Version(s.version) for s in requirement.specifier if s.operator == ">=")
        found = pins.get(canonicalize_name(requirement.name), set())
        if {Version(pin).release[: len(lowest.release)] for pin in found} != {lowest.release}:
            what = f"{requirement} is pinned to {', '.join(found) or 'nothing'}, not to {lowest}"
            yield Problem(where, what, RELOCK)


def dependencies(course):
    """What pyproject.toml asks for in the ranges of requirements.txt, it asks in the same ones."""
    wanted = requirements(course.root)
    project = course.project
    shared = project.get("optional-dependencies", {}).get("course", [])
    for text in [*project["dependencies"], *shared]:
        requirement = Requirement(text)
        twin = wanted.get(canonicalize_name(requirement.name))
        if twin is None or twin.specifier != requirement.specifier:
            what = f"{text} stands otherwise in requirements.txt ({twin or 'not at all'})"
            yield Problem("pyproject.toml", what, "write the same range in both")


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


def findings(course, *arguments):
    """Yield (place, path, finding) for what ruff finds in the course's Python texts."""
    paths = [path for path in STYLED if (course.root / path).exists()]
    for finding in json.loads(ruff(course.root, *arguments, "--output-format", "json", *paths)):
        path = Path(finding["filename"]).relative_to(course.root.resolve())
        yield locate(course, path, finding["location"]["row"]), path.as_posix(), finding


def locate(course, path, row):
    """Name a line of a file; in a text notebook by its cell."""
    for notebook in course.notebooks:
        if notebook.text == path:
            lines = (course.root / path).read_text(encoding="utf-8").splitlines()
            k = sum(line.startswith("# %%") for line in lines[:row])
            return f"{notebook.at(k)}, line {row} of the file"
    return f"{path.as_posix()}: line {row}"


def requirements(root):
    """Return {canonical name: Requirement} of requirements.txt."""
    lines = (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return by_name(line for line in lines if line.strip() and not line.startswith("#"))


def by_name(ranges):
    """Return {canonical name: Requirement} of ranges such as "numpy>=2"."""
    found = map(Requirement, ranges)
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def pinned(path):
    """Return {canonical name: set of versions} of a lock; none if there is no such file."""
    found = {}
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for name, version, _ in read_lock(text)[0]:
        found.setdefault(name, set()).add(version)
    return found


def read_lock(text):
    """Return ([name, version, number of hashes] of each pin, names that requirements.txt asks)."""
    pins, direct = [], set()
    for line in text.splitlines():
        pin = PIN.match(line)
        if pin:
            pins.append([canonicalize_name(pin[1]), pin[2], 0])
        elif line.startswith("    --hash=sha256:"):
            pins[-1][2] += 1
        elif "-r requirements.txt" in line:
            direct.add(pins[-1][0])
    return pins, direct
