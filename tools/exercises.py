"""Texts -> exercises for students, the key to them, marks: `python3 course.py exercises`.

A text `notebooks/exercises/texts/NN_exercises.py` holds exercises with their solutions. In the
students' notebook a cell tagged `solution` keeps signature and docstring, and loses its body.
"""

import argparse
import ast
import re
import sys
import tempfile
import tomllib
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tools import called_from
from tools.build import derive, private_connection
from tools.gates.writing import SETUP
from tools.notebooks import ROOT, Notebook, Problem, kernel_environment, tags, write

FOLDER = Path("notebooks/exercises")
HOW = (
    "\n\n**How it works.** Each exercise is a function whose body is `...`. Put your lines in its"
    " place, run the cell, then the cell with `check` below it: your function is called on random"
    " arguments, and its answers are compared with the course's. `check` says which part is"
    " right, and where it recognises a slip, what to look at. Try as often as you like. The times"
    " are estimates."
)
CHECKED = re.compile(r"\bcheck\((\w+)\)")
MARKS = """\
from bdnn.course.exercises import check as check_
for name_ in {}:
    print("\\nmark", name_, bool(name_ in globals() and check_(globals()[name_])))"""
MARK = re.compile(r"^mark (\w+) (True|False)$", re.MULTILINE)
TIMEOUT = 60  # seconds for a cell of a student


def texts(root):
    """The texts of the exercises, in order."""
    paths = sorted((root / FOLDER / "texts").glob("[0-9][0-9]*_exercises.py"))
    return [Notebook(root, path.relative_to(root)) for path in paths]


def stub(source):
    """A function without its body: signature, docstring, and `...` where the student writes."""
    (function,) = ast.parse(source).body
    return "\n".join([*source.splitlines()[: function.body[0].end_lineno], "    ..."])


def notebook(text, address, key=False):
    """The notebook of a text as a string, without outputs; with the solutions if it is the key."""
    nb = derive(text)
    nb.cells[0].source += HOW
    nb.cells.insert(1, nbformat.v4.new_code_cell(SETUP.format(address)))
    for k, cell in enumerate(nb.cells, start=1):
        cell.id = f"cell-{k:03d}"
        if "solution" in tags(cell) and not key:
            cell.source, cell.metadata["tags"] = stub(cell.source), ["exercise"]
    nbformat.validate(nb)
    return nbformat.writes(nb) + "\n"


def fresh(course):
    """The gate: the students' notebooks are those of the texts, without outputs."""
    for text in texts(course.root):
        path = course.root / FOLDER / text.path.name
        if not path.exists() or path.read_text(encoding="utf-8") != notebook(text, course.address):
            where = (FOLDER / path.name).as_posix()
            yield Problem(where, "is not what its text makes", "python3 course.py exercises")


def marks(path):
    """{exercise: whether it is right} of a notebook that a student has handed in; it is run."""
    nb = nbformat.read(path, as_version=4)
    code = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "code")
    nb.cells.append(nbformat.v4.new_code_cell(MARKS.format(CHECKED.findall(code))))
    options = {"timeout": TIMEOUT, "interrupt_on_timeout": True, "allow_errors": True}
    with tempfile.TemporaryDirectory() as scratch:
        config = private_connection(scratch)
        client = NotebookClient(nb, kernel_name="python3", config=config, **options)
        with client.setup_kernel(env=kernel_environment(ROOT) | {"IPYTHONDIR": scratch}):
            for k, cell in enumerate(nb.cells):
                client.execute_cell(cell, k)
    said = "".join(output.text for output in nb.cells[-1].outputs if "text" in output)
    return {name: mark == "True" for name, mark in MARK.findall(said)}


def main():
    """Parse the command line; write notebooks, or print marks."""
    doc = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="course.py exercises", description=doc)
    text = "write the notebooks with their solutions there"
    parser.add_argument("--key", type=called_from, metavar="FOLDER", help=text)
    text = "run the notebooks that students have handed in, and print what is right"
    parser.add_argument("--mark", type=called_from, metavar="FOLDER", help=text)
    options = parser.parse_args()
    if options.mark:
        for path in sorted(options.mark.glob("*.ipynb")):
            try:
                found = marks(path)
            except Exception as error:  # whatever a notebook may hold: the others have their turn
                print(f"{path.name}: cannot be run: {error}")
                continue
            missing = ", ".join(name for name, right in found.items() if not right)
            not_yet = f", not yet {missing}" if missing else ""
            print(f"{path.name}: {sum(found.values())} of {len(found)}{not_yet}")
        return 0
    folder = options.key or ROOT / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for text in texts(ROOT):
        path = folder / text.path.name.replace("exercises", "key" if options.key else "exercises")
        write(path, notebook(text, tables["project"]["urls"]["Repository"], bool(options.key)))
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
