"""Text notebooks -> modules of bdnn: `python3 course.py export [NN ...]`, no kernel needed.

A cell tagged `export-top` opens the module (docstring, then imports); cells tagged `export` follow
with whole functions, classes and UPPER_CASE constants. The module is checked before it is written,
so that what reaches the package imports nothing later than itself and has each name once.
"""

import argparse
import ast
import json
import re
import sys
from dataclasses import dataclass

from tools.notebooks import ROOT, Notebook, Problem, find, tags, write
from tools.style import ruff

HEADER = "# Generated from {} by `course.py export {}`: edit the notebook.\n"
PLUMBING = (
    "__init__",
    "__main__",
    "base",
    "compare",
    "compiled",
    "data",
    "plotting",
    "records",
    "sources",
)
# Names that two modules may share: a measure of codes in metrics, the loss term in losses.
SHARED = {"balance", "independence"}
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]+")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class Code:
    """A code cell and its syntax tree; `tree` is None where the cell is not plain Python."""

    k: int
    source: str
    tree: ast.Module | None
    role: str  # "top", "body" or "" for a cell that stays in the notebook


class Export:
    """What one notebook exports."""

    def __init__(self, notebook: Notebook):
        self.notebook = notebook
        self.module = notebook.module
        self.cells = [read_cell(k, cell) for k, cell in notebook.code_cells()]
        self.top = [cell for cell in self.cells if cell.role == "top"]
        self.body = [cell for cell in self.cells if cell.role == "body"]

    @property
    def names(self):
        """Names that the export cells define, in order, with the cell of each."""
        trees = [(cell, cell.tree) for cell in self.body if cell.tree]
        return [(name, cell.k) for cell, tree in trees for name in bound(tree.body)]

    @property
    def public(self):
        """The names for `__all__`."""
        return sorted({name for name, _ in self.names if not name.startswith("_")})

    def raw(self):
        """Return the module before formatting, and for each of its lines the cell it is from."""
        header = HEADER.format(self.notebook.text.as_posix(), self.notebook.number)
        parts = [(None, header)]
        parts += [(cell.k, cell.source + "\n\n") for cell in self.top]
        parts += [(None, f"__all__ = {self.public!r}\n\n")]
        parts += [(cell.k, cell.source + "\n\n") for cell in self.body]
        lines = [k for k, text in parts for _ in range(text.count("\n"))]
        return "".join(text for _, text in parts), lines

    def render(self):
        """Return the module as it is to be written."""
        code, _ = self.raw()
        code = self.ruff(code, "check", "--quiet", "--select", "I", "--fix")
        return self.ruff(code, "format", "--quiet")

    def ruff(self, code, *arguments):
        """Return what ruff makes of the module's text under the project's settings."""
        place = ("--stdin-filename", self.notebook.module_path.as_posix(), "-")
        return ruff(self.notebook.root, *arguments, *place, text=code)

    def problem(self, k, what, mend):
        """Return a problem of cell k."""
        return Problem(self.notebook.at(k), what, mend)


def read_cell(k, cell):
    """Return the Code of a cell of the text."""
    marks = tags(cell)
    role = "top" if "export-top" in marks else "body" if "export" in marks else ""
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:
        tree = None
    return Code(k, cell.source, tree, role)


def bound(statements):
    """Yield the names that statements bind where they stand, without those inside functions."""
    for statement in statements:
        if isinstance(statement, DEFINITIONS):
            yield statement.name
        elif isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name.split(".")[0] for alias in statement.names)
        else:
            nodes = ast.walk(statement)
            names = [node for node in nodes if isinstance(node, ast.Name)]
            yield from (node.id for node in names if isinstance(node.ctx, ast.Store))


def imports(tree):
    """Return the modules of bdnn (or names from the package itself) that the code imports."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            pairs = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            pairs = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for module, name in pairs:
            package, _, module = module.partition(".")
            if package == "bdnn":
                found[module or name or ""] = True
    return list(found)


# The guards. Each yields the problems that it finds in one export.


def guard_plain(export):
    """What goes into the module is plain Python."""
    for cell in export.top + export.body:
        if cell.tree is None:
            yield export.problem(cell.k, "is not plain Python", "mend the syntax; no magics, no !")


def guard_form(export):
    """One opening cell, before the others; each kind of cell holds only what belongs there."""
    if not export.body:
        return
    if len(export.top) != 1 or export.top[0].k > export.body[0].k:
        what = "needs exactly one cell tagged export-top, before the first export cell"
        yield export.problem(export.body[0].k, what, "write it: docstring, then imports")
    for cell in export.top:
        yield from check_top(export, cell)
    for cell in export.body:
        for node in cell.tree.body if cell.tree else ():
            if not is_definition(node):
                what = f"line {node.lineno} is no function, class or UPPER_CASE constant"
                yield export.problem(cell.k, what, "move it to a cell without the tag export")


def check_top(export, cell):
    """Yield what is wrong with the cell that opens the module."""
    nodes = cell.tree.body if cell.tree else []
    if cell.tree and not ast.get_docstring(cell.tree):
        yield export.problem(cell.k, "does not begin with a docstring", "write the module's")
    for node in nodes[1:]:
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            what = f"line {node.lineno} is neither docstring nor import"
            yield export.problem(cell.k, what, "move it to a cell of its own")


def is_definition(node):
    """Return True for a function, a class, or the assignment of an UPPER_CASE constant."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return all(CONSTANT.fullmatch(name) for name in bound([node]))
    return isinstance(node, DEFINITIONS)


def guard_imports(export, order):
    """Exported code imports earlier modules only; no cell imports the notebook's own module.

    `order` lists the modules that may be imported, as far as the notebook's own.
    """
    for cell in export.cells:
        for module in imports(cell.tree) if cell.tree else ():
            own = export.body and module == export.module
            if own or (not cell.role and module in export.public):
                mend = "use the definitions of this notebook's cells"
                yield export.problem(cell.k, f"imports its own module bdnn.{module}", mend)
            elif cell.role and module not in order:
                what = f"imports bdnn.{module}, which is no earlier module"
                yield export.problem(cell.k, what, "import from plumbing or an earlier notebook")


def guard_names(export, owners):
    """Each name is defined once: in this notebook's cells, and but for SHARED among all modules.

    `owners` maps the public names of earlier notebooks to their text; it is extended.
    """
    seen = {}
    for name, k in export.names:
        if name in seen:
            what = f"defines {name}, which cell {seen[name]} defines already"
            yield export.problem(k, what, "give one of them another name")
        elif name in owners and name not in SHARED:
            what = f"defines {name}, which {owners[name]} exports already"
            yield export.problem(k, what, "import it, or give it another name")
        seen.setdefault(name, k)
    for cell in export.cells:
        again = set(bound(cell.tree.body)) & set(seen) if cell.tree and not cell.role else ()
        for name in sorted(again):
            what = f"defines {name} again, which cell {seen[name]} exports"
            yield export.problem(cell.k, what, "give the version that stays here another name")
    owners.update({name: export.notebook.text.as_posix() for name in export.public})


def guard_complete(export):
    """The module has no undefined name and no unused import."""
    code, lines = export.raw()
    selection = ["--isolated", "--select", "F401,F821", "--output-format", "json"]
    mends = {"F821": "import it in export-top, or define it in an export cell"}
    for finding in json.loads(export.ruff(code, "check", *selection)):
        k = lines[finding["location"]["row"] - 1]
        mend = mends.get(finding["code"], "remove it from export-top, import it where it is used")
        yield export.problem(k, finding["message"].rstrip("."), mend)


def exports(root):
    """Return what the notebooks export, and the problems by notebook, in order of number."""
    order, owners, result = set(PLUMBING) - {"__init__", "__main__"}, {}, []
    for notebook in find(root):
        if notebook.is_solution:
            continue
        export = Export(notebook)
        problems = [*guard_plain(export), *guard_form(export), *guard_imports(export, order)]
        problems += guard_names(export, owners)
        if export.body and not problems:
            problems += guard_complete(export)
        result.append((export, problems))
        order |= {export.module} if export.body else set()
    return result


def stray_modules(root, found):
    """Yield problems of modules that are neither generated from a notebook nor plumbing."""
    known = {export.module for export, _ in found if export.body}
    for path in sorted((root / "bdnn").glob("*.py")):
        if path.stem in known and path.stem in PLUMBING:
            what = "is written by hand, and a notebook exports to it"
            yield Problem(f"bdnn/{path.name}", what, "give the notebook another name")
        elif path.stem not in known and path.stem not in PLUMBING:
            what = "belongs to no notebook"
            yield Problem(f"bdnn/{path.name}", what, "remove it, or restore its notebook")


def stale(export):
    """Return True if the module on disk is not what the notebook exports."""
    path = export.notebook.root / export.notebook.module_path
    return not path.exists() or path.read_text(encoding="utf-8") != export.render()


def write_modules(root, notebooks):
    """Write the modules of these notebooks; return the problems that kept any from being written.

    Prints a line for each file that changes.
    """
    texts = {notebook.text for notebook in notebooks}
    chosen = [(e, problems) for e, problems in exports(root) if e.notebook.text in texts]
    for export, problems in chosen:
        if export.body and not problems and stale(export):
            write(root / export.notebook.module_path, export.render())
            print(f"wrote {export.notebook.module_path.as_posix()}", flush=True)
    return [problem for _, problems in chosen for problem in problems]


def main():
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(prog="course.py export", description=__doc__.splitlines()[0])
    parser.add_argument(
        "numbers", nargs="*", metavar="NN", help="numbers of notebooks; all if none"
    )
    problems = write_modules(ROOT, find(ROOT, parser.parse_args().numbers))
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
