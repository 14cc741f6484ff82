"""Text notebooks -> modules of bdnn: `python3 course.py export [NN ...]`, no kernel needed.

A cell tagged `export-top` opens the module (docstring, then imports); cells tagged `export` follow
with whole functions, classes and UPPER_CASE constants. Notebooks 02 and 02b share a module. It is
checked before it is written; modules without the header of a generated one are written by hand.
"""

import argparse
import ast
import re
import sys
import textwrap
from collections import Counter
from typing import NamedTuple

from tools.notebooks import ROOT, Notebook, Problem, find, tags, write
from tools.style import ruff

HEADER = "# Generated from {} by `course.py export {}`: edit the notebook.\n"
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]+")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
CONCISE = ("--output-format", "concise")


class Cell(NamedTuple):
    """A code cell of a notebook."""

    notebook: Notebook
    k: int
    source: str
    nodes: list  # of its syntax tree; [] where the cell is not plain Python
    role: str  # "export-top", "export" or "" for a cell that stays in the notebook

    @property
    def names(self):
        """What the cell binds, without what functions and classes bind inside."""
        return [name for node in self.nodes for name in bound(node)]

    def problem(self, what, mend):
        """A problem of this cell."""
        return Problem(self.notebook.at(self.k), what, mend)


class Export:
    """What one module is made of: the cells of its notebooks."""

    def __init__(self, notebooks):
        self.notebook = notebooks[0]
        self.module, self.path = self.notebook.module, self.notebook.module_path
        self.cells = [read(n, k, cell) for n in notebooks for k, cell in n.code_cells()]
        self.top = [cell for cell in self.cells if cell.role == "export-top"]
        self.body = [cell for cell in self.cells if cell.role == "export"]

    def raw(self):
        """The module before formatting."""
        names = sorted(n for cell in self.body for n in cell.names if not n.startswith("_"))
        first = HEADER.format(self.notebook.text.as_posix(), self.notebook.number)
        top, body = ([cell.source for cell in cells] for cells in (self.top, self.body))
        return first + "\n\n".join([*top, listed(names), *body]) + "\n"

    def render(self):
        """The module as it is to be written."""
        code = self.ruff(self.raw(), "check", "--quiet", "--select", "I", "--fix")
        return self.ruff(code, "format", "--quiet")

    def ruff(self, code, *arguments):
        """What ruff makes of the module's text under the project's settings."""
        place = ("--stdin-filename", self.path.as_posix(), "-")
        return ruff(self.notebook.root, *arguments, *place, text=code)

    def stale(self):
        """Whether the module on disk is not what the notebooks export."""
        path = self.notebook.root / self.path
        return not path.exists() or path.read_text(encoding="utf-8") != self.render()

    def problems(self, later):
        """What keeps the module from being written; `later` are modules it must not import."""
        if not self.body:
            return
        if [cell.role for cell in self.top + self.body].count("export-top") != 1:
            what = "the module needs exactly one cell tagged export-top"
            yield self.body[0].problem(what, "write it: docstring, then imports")
        for cell in self.cells:
            yield from misplaced(cell) if cell.role else ()
            yield from self.wrong_imports(cell, later)
        yield from self.doubles()
        said = self.ruff(self.raw(), "check", "--isolated", "--select", "F401,F821", *CONCISE)
        for what in re.findall(r"^\S+?:[\d:]+: (.*)$", said, re.MULTILINE):
            yield Problem(self.path.as_posix(), f"would have a fault, {what}", "correct its cell")

    def wrong_imports(self, cell, later):
        """Exported code imports no later module; a notebook does not import what it defines."""
        own = {name for c in self.body if c.notebook == cell.notebook for name in c.names}
        module = f"bdnn.{self.module}"
        ours = {f"{place}.{name}" for name in own for place in ("bdnn", module)}
        ours |= {module for top in self.top if top.notebook == cell.notebook}
        for node in (n for top in cell.nodes for n in ast.walk(top) if isinstance(n, IMPORTS)):
            names = {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                names = {node.module or "", *(f"{node.module}.{name}" for name in names)}
            if names & ours:
                mend = "use the definitions of this notebook's cells"
                yield cell.problem(f"imports its own module {module}", mend)
            elif cell.role and names & later:
                what = f"imports {min(names & later)}, which a later notebook exports"
                yield cell.problem(what, "move what it needs to an earlier notebook")

    def doubles(self):
        """An exported name is bound once: what the story calls is what the library has."""
        times = Counter(name for cell in self.body for name in cell.names)
        for cell in (cell for cell in self.cells if cell.role != "export-top"):
            own = {n for c in self.body if c.notebook == cell.notebook for n in c.names}
            for name in sorted(set(cell.names)):
                if times[name] > 1 or (name in own and not cell.role):
                    what = f"defines {name}, which another cell exports"
                    yield cell.problem(what, "give one of them another name")


def listed(names):
    """The statement that sets `__all__`; a long list fills its lines, names are not one a line."""
    quoted = ", ".join(f'"{name}"' for name in names)
    if len(quoted) <= 87:
        return f"__all__ = [{quoted}]"
    return f"__all__ = [\n{textwrap.indent(textwrap.fill(quoted, 95), '    ')},\n]  # fmt: skip"


def read(notebook, k, cell):
    """The Cell of a cell of the text."""
    role = next((tag for tag in tags(cell) if tag in ("export-top", "export")), "")
    try:
        return Cell(notebook, k, cell.source, ast.parse(cell.source).body, role)
    except SyntaxError:
        return Cell(notebook, k, cell.source, [], role)


def bound(statement):
    """The names that a statement binds where it stands, without those inside functions."""
    if isinstance(statement, DEFINITIONS):
        return [statement.name]
    if isinstance(statement, IMPORTS):
        return [alias.asname or alias.name.split(".")[0] for alias in statement.names]
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    return [node.id for node in names if isinstance(node.ctx, ast.Store)]


def misplaced(cell):
    """What an exported cell holds and should not."""
    top = cell.role == "export-top"
    if top and cell.nodes and not ast.get_docstring(ast.Module(cell.nodes, [])):
        yield cell.problem("does not begin with a docstring", "write the module's")
    for node in cell.nodes[1:] if top else cell.nodes:
        constant = isinstance(node, ast.Assign | ast.AnnAssign) and all(
            CONSTANT.fullmatch(name) for name in bound(node)
        )
        if not isinstance(node, IMPORTS if top else DEFINITIONS) and (top or not constant):
            wanted = "import" if top else "function, class or UPPER_CASE constant"
            what = f"line {node.lineno} is no {wanted}"
            yield cell.problem(what, f"move it to a cell without the tag {cell.role}")


def exports(root):
    """[(Export, its problems)] in the order of the notebooks."""
    grouped = {}
    for notebook in find(root):
        if not notebook.is_solution:
            grouped.setdefault(notebook.module, []).append(notebook)
    found = [export for export in map(Export, grouped.values()) if export.body]
    later, result = {f"bdnn.{export.module}" for export in found}, []
    for export in found:
        later = later - {f"bdnn.{export.module}"}
        result.append((export, list(export.problems(later))))
    return result


def stray_modules(root, found):
    """Modules that claim to be generated, and are exported by no notebook; or the reverse."""
    paths = {export.path for export, _ in found}
    for path in sorted((root / "bdnn").rglob("*.py")):
        relative = path.relative_to(root)
        generated = path.read_text(encoding="utf-8").startswith(HEADER.partition("{")[0])
        if generated and relative not in paths:
            what = "is exported by no notebook"
            yield Problem(relative.as_posix(), what, "remove it, or restore its notebook")
        elif not generated and relative in paths:
            what = "is written by hand, and a notebook exports to it"
            yield Problem(relative.as_posix(), what, "give the notebook another name")


def write_modules(root, notebooks):
    """Write the modules of these notebooks; return the problems that kept any from being written.

    Prints a line for each file that changes.
    """
    wanted = {notebook.module for notebook in notebooks if not notebook.is_solution}
    chosen = [pair for pair in exports(root) if pair[0].module in wanted]
    problems = [p for p in stray_modules(root, chosen) if "by hand" in p.what]
    problems += [problem for _, found in chosen for problem in found]
    for export, _ in chosen:
        if not problems and export.stale():
            write(root / export.path, export.render())
            print(f"wrote {export.path.as_posix()}", flush=True)
    return problems


def main():
    """Parse the command line and export."""
    parser = argparse.ArgumentParser(prog="course.py export", description=__doc__.splitlines()[0])
    text = "numbers of notebooks; all if none"
    parser.add_argument("numbers", nargs="*", metavar="NN", help=text)
    problems = write_modules(ROOT, find(ROOT, parser.parse_args().numbers))
    print(*problems, sep="\n", end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
