"""Gates on the derived notebooks: they belong to their texts, and their outputs are what ran.

A build refuses cells that fail or write to stderr, and drops widgets; that the outputs are those of
a build, its seal says.
"""

import re
from itertools import zip_longest

from tools.notebooks import FOLDERS, Problem, inputs_hash, outputs_hash, tags

ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}")
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:home|root|Users|work|tmp|var|opt|private|mnt)/[\w.-]+"
    r"|\b[A-Z]:\\(?:Users|Windows|Program|Temp)|site-packages"
)


def pairs(course):
    """Every text has its notebook, and every notebook its text."""
    texts = {notebook.path for notebook in course.notebooks}
    for notebook in course.notebooks:
        if notebook.derived is None:
            yield Problem(notebook.text.as_posix(), "has no .ipynb", rebuild(notebook))
    for path in sorted(p for folder in FOLDERS for p in (course.root / folder).glob("*.ipynb")):
        relative = path.relative_to(course.root)
        if relative not in texts:
            mend = f"git rm {relative.as_posix()}, or restore its text"
            yield Problem(relative.as_posix(), "has no text beside it", mend)


def fresh(course):
    """The notebook's inputs are the text's, its outputs were made from these and are untouched."""
    for notebook in executed(course):
        seal, derived = notebook.derived.metadata.get("bdnn", {}), notebook.derived.cells
        text, inputs = map(cell_inputs, (notebook.cells, derived))
        where = notebook.path.as_posix()
        if text != inputs:
            k = next(k for k, (a, b) in enumerate(zip_longest(text, inputs), 1) if a != b)
            what = "differs from the text in source, kind or tags; the text wins"
            yield Problem(f"{where}: cell {k}", what, rebuild(notebook))
        elif seal.get("inputs") != inputs_hash(derived):
            what = "the outputs are stale: they were made from other inputs"
            yield Problem(where, what, rebuild(notebook))
        if seal.get("outputs") != outputs_hash(derived):
            what = "the outputs are not those of the build: cleared, edited or run by hand"
            yield Problem(where, what, rebuild(notebook))


def clean(course):
    """Nothing that is read holds a path of one machine or the address of an object."""
    for notebook in course.notebooks:
        for k, cell in enumerate(notebook.cells, start=1):
            if path := MACHINE_PATH.search(cell.source):
                what = f"holds a path of one machine, {path[0]}"
                yield Problem(notebook.at(k), what, "write a path relative to the repository")
    for notebook in executed(course):
        for k, cell in notebook.code_cells(notebook.derived.cells):
            text = output_text(cell)
            for found in filter(None, (MACHINE_PATH.search(text), ADDRESS.search(text))):
                where = f"{notebook.path.as_posix()}: cell {k}"
                mend = f"print what matters, or end with `_ = ...`; then {rebuild(notebook)}"
                yield Problem(where, f"shows {found[0]}, of one machine or run", mend)


def executed(course):
    """Return the notebooks that have a derived one."""
    return [notebook for notebook in course.notebooks if notebook.derived is not None]


def cell_inputs(cells):
    """Return what a text and its notebook must have in common."""
    return [(cell.cell_type, cell.source, tags(cell)) for cell in cells]


def output_text(cell):
    """Return everything in the cell's outputs that is text."""
    texts = []
    for output in cell.outputs:
        texts += [output.get("text", ""), *output.get("traceback", ())]
        data = output.get("data", {}).items()
        texts += [str(value) for mime, value in data if not mime.startswith("image/png")]
    return "\n".join(texts)


def rebuild(notebook):
    """Name the command that makes the notebook anew."""
    return f"python3 course.py build {notebook.number}"
