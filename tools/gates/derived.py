"""Gates on the derived notebooks: they belong to their texts, and their outputs are what ran."""

import re

from tools.notebooks import FOLDERS, Notebook, Problem, inputs_hash, outputs_hash, tags

WIDGET = "application/vnd.jupyter.widget"
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


def same_inputs(course):
    """The notebook's inputs are the text's, cell by cell; the first difference is named."""
    for notebook in executed(course):
        text, derived = map(cell_inputs, (notebook.cells, notebook.derived.cells))
        k = first_difference(text, derived)
        if k:
            what = "differs from the text in source, kind or tags; the text wins"
            yield Problem(at(notebook, k), what, rebuild(notebook))


def fresh_outputs(course):
    """The stored outputs were made from today's inputs and have not been touched since."""
    for notebook in executed(course):
        seal = notebook.derived.metadata.get("bdnn", {})
        where = notebook.path.as_posix()
        same = cell_inputs(notebook.cells) == cell_inputs(notebook.derived.cells)
        if same and seal.get("inputs") != inputs_hash(notebook.cells):
            what = "the outputs are stale: they were made from other inputs"
            yield Problem(where, what, rebuild(notebook))
        if seal.get("outputs") != outputs_hash(notebook.derived.cells):
            what = "the outputs are not those of the build: cleared, edited or run by hand"
            yield Problem(where, what, rebuild(notebook))


def execution_counts(course):
    """The code cells were run from top to bottom in a fresh kernel: 1, 2, ..., n."""
    for notebook in executed(course):
        filled = [
            (k, c) for k, c in notebook.code_cells(notebook.derived.cells) if c.source.strip()
        ]
        for wanted, (k, cell) in enumerate(filled, start=1):
            if cell.execution_count != wanted:
                what = f"has execution count {cell.execution_count} in place of {wanted}"
                yield Problem(at(notebook, k), what, rebuild(notebook))
                break


def errors(course):
    """An error output stands exactly where the tag raises-exception announces it."""
    for notebook, k, cell in output_cells(course):
        found = any(output.output_type == "error" for output in cell.outputs)
        if found and "raises-exception" not in tags(cell):
            mend = f"mend the cell, or tag it raises-exception; then {rebuild(notebook)}"
            yield Problem(at(notebook, k), "holds an error output", mend)
        elif "raises-exception" in tags(cell) and not found:
            what = "is tagged raises-exception and raised none"
            yield Problem(at(notebook, k), what, "remove the tag, or mend the cell")


def clean_outputs(course):
    """No stderr, no widgets, no addresses of objects in the outputs."""
    for notebook in executed(course):
        if "widgets" in notebook.derived.metadata:
            what = "holds the state of widgets"
            yield Problem(notebook.path.as_posix(), what, rebuild(notebook))
    for notebook, k, cell in output_cells(course):
        if any(output.get("name") == "stderr" for output in cell.outputs):
            mend = f"mend what warns; then {rebuild(notebook)}"
            yield Problem(at(notebook, k), "wrote to stderr", mend)
        if any(
            mime.startswith(WIDGET) for output in cell.outputs for mime in output.get("data", ())
        ):
            yield Problem(at(notebook, k), "holds a widget's view", rebuild(notebook))
        address = ADDRESS.search(output_text(cell))
        if address:
            what = f"shows the address of an object, {address[0]}"
            mend = f"print what matters, or end with `_ = ...`; then {rebuild(notebook)}"
            yield Problem(at(notebook, k), what, mend)


def machine_paths(course):
    """Neither inputs nor outputs hold a path of the machine they were made on."""
    for notebook in course.notebooks:
        for k, cell in enumerate(notebook.cells, start=1):
            path = MACHINE_PATH.search(cell.source)
            if path:
                what = f"holds a path of one machine, {path[0]}"
                yield Problem(notebook.at(k), what, "write a path relative to the repository")
    for notebook, k, cell in output_cells(course):
        path = MACHINE_PATH.search(output_text(cell))
        if path:
            what = f"the output shows a path of one machine, {path[0]}"
            mend = f"print less; then {rebuild(notebook)}"
            yield Problem(at(notebook, k), what, mend)


def executed(course):
    """Return the notebooks that have a derived one."""
    return [notebook for notebook in course.notebooks if notebook.derived is not None]


def output_cells(course):
    """Yield (notebook, k, cell) for every code cell of every derived notebook."""
    for notebook in executed(course):
        for k, cell in notebook.code_cells(notebook.derived.cells):
            yield notebook, k, cell


def cell_inputs(cells):
    """Return what a text and its notebook must have in common."""
    return [(cell.cell_type, cell.source, tags(cell)) for cell in cells]


def first_difference(a, b):
    """Return the number of the first element in which two lists differ, or None."""
    if a == b:
        return None
    pairs = zip(a, b, strict=False)
    return next((k for k, (x, y) in enumerate(pairs, 1) if x != y), min(len(a), len(b)) + 1)


def output_text(cell):
    """Return everything in the cell's outputs that is text."""
    texts = []
    for output in cell.outputs:
        texts += [output.get("text", ""), *output.get("traceback", ())]
        data = output.get("data", {}).items()
        texts += [str(value) for mime, value in data if not mime.startswith("image/png")]
    return "\n".join(texts)


def at(notebook: Notebook, k):
    """Name cell k of the derived notebook."""
    return f"{notebook.path.as_posix()}: cell {k}"


def rebuild(notebook):
    """Name the command that makes the notebook anew."""
    return f"python3 course.py build {notebook.number}"
