"""The gates that need no kernel: `python3 course.py check`.

Every problem is printed with its file, its cell and the mend; none are hidden behind the first.
"""

import argparse
import sys
import tomllib
from functools import cached_property
from pathlib import Path

from tools import exercises
from tools.export import exports
from tools.gates import derived, project, writing
from tools.notebooks import ROOT, find

GATES = [
    project.modules,
    derived.pairs,
    derived.fresh,
    derived.clean,
    writing.setup,
    writing.exercises,
    writing.equations,
    writing.figures,
    exercises.fresh,
    project.lint,
    project.formatting,
    project.lock,
    project.address,
    project.results,
]


class Course:
    """What the gates look at, read once."""

    def __init__(self, root):
        self.root = Path(root)
        self.notebooks = find(self.root)
        tables = tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))
        self.project = tables["project"]
        self.address = self.project["urls"]["Repository"]

    @cached_property
    def exports(self):
        """What the notebooks export, with the problems of each."""
        return exports(self.root)


def problems(root):
    """Return all problems of the course in `root`."""
    course = Course(root)
    return [problem for gate in GATES for problem in gate(course)]


def main():
    """Run the gates and print what they find."""
    parser = argparse.ArgumentParser(prog="course.py check", description=__doc__.splitlines()[0])
    parser.parse_args()
    found = problems(ROOT)
    for problem in found:
        print(problem)
    count = f"{len(found)} problems" if len(found) != 1 else "1 problem"
    print(f"check: {count} in {len(GATES)} gates" if found else f"check: {len(GATES)} gates passed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
