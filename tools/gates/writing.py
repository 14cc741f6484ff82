"""Gates on the texts: set-up cell, plain Python, exercises, equations, figures."""

import ast
import re

from tools.notebooks import Problem, tags

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


def plain_python(course):
    """Code cells are plain Python: no magics, no shell lines."""
    for notebook in course.notebooks:
        for k, cell in notebook.code_cells():
            if parse(cell.source) is None and not exported(cell):
                what = "is not plain Python"
                yield Problem(notebook.at(k), what, "mend the syntax; no magics, no `!`")


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
    """Figures that are named exist, and those that exist are made by the notebook they name."""
    made, open_ended = {}, set()
    for notebook in course.notebooks:
        for k, name, kind in saved_figures(notebook):
            if name is None:
                open_ended.add(notebook.number)
                continue
            made[f"{name}.{kind}"] = notebook
            if not name.startswith(notebook.number + "_"):
                what = f"saves the figure {name}, whose name is not {notebook.number}_..."
                yield Problem(notebook.at(k), what, "rename the figure")
            elif not (course.root / "figures" / f"{name}.{kind}").exists():
                mend = f"python3 course.py build {notebook.number}"
                yield Problem(notebook.at(k), f"figures/{name}.{kind} does not exist", mend)
    yield from stray_figures(course, made, open_ended)
    yield from mentioned_figures(course)


def stray_figures(course, made, open_ended):
    """Yield the figures with a notebook's number that no notebook makes."""
    for path in sorted((course.root / "figures").glob("[0-9][0-9]*_*")):
        if path.name not in made and path.name.partition("_")[0] not in open_ended:
            what = "is made by no notebook"
            yield Problem(f"figures/{path.name}", what, "remove it, or restore its save_figure")


def mentioned_figures(course):
    """Yield the figures that a Markdown text names and that do not exist."""
    texts = [(n.text.as_posix(), markdown(n)) for n in course.notebooks]
    pages = [path for path in course.root.glob("*.md")]
    texts += [(path.name, path.read_text(encoding="utf-8")) for path in pages]
    for where, text in texts:
        for name in sorted(set(re.findall(r"figures/([\w-]+\.(?:svg|png))", text))):
            if not (course.root / "figures" / name).exists():
                mend = "make it (course.py build or run), or mend the name"
                yield Problem(where, f"names figures/{name}, which does not exist", mend)


def saved_figures(notebook):
    """Yield (k, name, kind) for the calls of save_figure; name is None where it is computed."""
    for k, cell in notebook.code_cells():
        for node in ast.walk(parse(cell.source) or ast.Module([], [])):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "save_figure":
                name = node.args[1] if len(node.args) > 1 else None
                png = any(w.arg == "png" and getattr(w.value, "value", 0) for w in node.keywords)
                yield k, getattr(name, "value", None), "png" if png else "svg"


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


def exported(cell):
    """Return True for a cell that goes into a module."""
    return any(tag in ("export", "export-top") for tag in tags(cell))


def parse(source):
    """Return the syntax tree of a cell, or None if it is not plain Python."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return None
