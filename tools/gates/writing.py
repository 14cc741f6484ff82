"""Gates on the texts: set-up cell, exercises, equations, figures."""

import re

from tools.notebooks import Problem, tags

SAVED = re.compile(r'save_figure\(.*"(\w+)"(, png=True)?\)')
SETUP = """\
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+{}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()"""


def setup(course):
    """The second cell is the set-up cell, the same in every notebook."""
    wanted = SETUP.format(course.address)
    for notebook in course.notebooks:
        cell = notebook.cells[1] if len(notebook.cells) > 1 else None
        if cell is None or cell.source != wanted or tags(cell) != ["nbval-ignore-output"]:
            what = "is not the set-up cell with the tag nbval-ignore-output"
            yield Problem(
                notebook.at(2), what, "copy SETUP of tools/gates/writing.py, with the address"
            )


def exercises(course):
    """Every exercise has a hint and a solution of the same number, and the other way round."""
    solutions = {n.number: n for n in course.notebooks if n.is_solution}
    for notebook in course.notebooks:
        if notebook.is_solution:
            continue
        asked = exercise_parts(notebook)
        solution = solutions.pop(notebook.number, None)
        solved = solution_numbers(solution) if solution else set()
        for number, text in asked.items():
            where = f"{notebook.text.as_posix()}: exercise {number}"
            if "<summary>Hint</summary>" not in text:
                mend = "add <details><summary>Hint</summary> ... </details>"
                yield Problem(where, "has no hint", mend)
            if number not in solved:
                mend = f"add `## {number} ...` to solutions/{notebook.number}_solutions.py"
                yield Problem(where, "has no solution", mend)
        for number in sorted(solved - set(asked)):
            where = f"{solution.text.as_posix()}: solution {number}"
            yield Problem(where, "solves no exercise", f"ask it in {notebook.text.as_posix()}")
    for solution in solutions.values():
        yield Problem(solution.text.as_posix(), "belongs to no notebook", "remove or rename it")


def equations(course):
    """Equation numbers are given once, and every reference finds its equation."""
    tagged = {}
    for notebook in course.notebooks:
        found = re.findall(r"\\tag\{(\d+)\}", markdown(notebook))
        for number in sorted({n for n in found if found.count(n) > 1}):
            where = notebook.text.as_posix()
            yield Problem(where, f"gives \\tag{{{number}}} twice", "number the equations anew")
        if not notebook.is_solution:
            tagged[notebook.number] = set(found)
    for notebook in course.notebooks:
        for k, cell in enumerate(notebook.cells, start=1):
            refs = re.findall(r"Eq\.\s+\((\d+)\)(?:\s+of\s+notebook\s+(\d\d[a-z]?))?", cell.source)
            for number, other in refs:
                if number not in tagged.get(other or notebook.number, ()):
                    place = f"notebook {other or notebook.number}"
                    what = f"refers to Eq. ({number}) of {place}, which is not there"
                    yield Problem(notebook.at(k), what, "mend the number, or tag the equation")


def figures(course):
    """Figures that are named exist, and those with a notebook's number are made by it."""
    there = {path.name for path in (course.root / "figures").iterdir()}
    made = set()
    for notebook in course.notebooks:
        for k, name, kind in saved_figures(notebook):
            made.add(f"{name}.{kind}")
            if not name.startswith(notebook.number + "_"):
                what = f"saves the figure {name}, whose name is not {notebook.number}_..."
                yield Problem(notebook.at(k), what, "rename the figure")
            elif f"{name}.{kind}" not in there:
                mend = f"python3 course.py build {notebook.number}"
                yield Problem(notebook.at(k), f"figures/{name}.{kind} does not exist", mend)
    for name in sorted(there - made):
        number, _, word = name.partition("_")
        if word and number[:2].isdigit():
            mend = "remove it, or restore its save_figure"
            yield Problem(f"figures/{name}", "is made by no notebook", mend)
    texts = [(n.text.as_posix(), markdown(n)) for n in course.notebooks]
    texts += [(path.name, path.read_text(encoding="utf-8")) for path in course.root.glob("*.md")]
    for where, text in texts:
        for name in sorted(set(re.findall(r"figures/([\w-]+\.(?:svg|png))", text)) - there):
            mend = "make it (course.py build or run), or mend the name"
            yield Problem(where, f"names figures/{name}, which does not exist", mend)


def saved_figures(notebook):
    """Yield (k, name, kind) for the calls of save_figure, each in a line, the name written out."""
    for k, cell in notebook.code_cells():
        for name, png in SAVED.findall(cell.source):
            yield k, name, "png" if png else "svg"


def exercise_parts(notebook):
    """Return {number: text} of the exercises, such as {"3.1": "..."}."""
    section = markdown(notebook).partition("## Exercises")[2].split("\n## ")[0]
    number = notebook.number.lstrip("0") or "0"
    start = rf"^(?:#+ |\*\*|- |- \*\*)?(?:Exercise )?({number}\.\d+)\b"
    pieces = re.split(start, section, flags=re.MULTILINE)
    return dict(zip(pieces[1::2], pieces[2::2], strict=True))


def solution_numbers(solution):
    """Return the numbers in the headings of a notebook of solutions."""
    return set(re.findall(r"^## (\d+[a-z]?\.\d+)\b", markdown(solution), flags=re.MULTILINE))


def markdown(notebook):
    """Return the Markdown cells as one text."""
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
