"""Recorded runs: the rows of the results files, and whether the present code made them.

A results file has one JSON object on each line, a row, which ``course.py run --record`` appends:
the method, data and settings of a run, the code that made it, and what was measured.
"""

import ast
import hashlib
import json
import os
import sys
from pathlib import Path

__all__ = ["OLDER", "append_row", "code_hashes", "older_codes", "read_folder", "read_rows"]

OLDER = "older.json"  # in the folder of the results


def read_rows(path: Path | None) -> list[dict]:
    """The rows of a results file; a last line that an interruption cut short is left out.

    Parameters
    ----------
    path : Path or None

    Returns
    -------
    list of dict
        Empty if there is no such file.
    """
    if path is None or not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            print(f"{path}: a damaged line is left out: {line[:60]}", file=sys.stderr)
    return rows


def read_folder(folder: str | os.PathLike) -> dict[str, list[dict]]:
    """The rows of all results files in a folder: {name of the file: list of dict}."""
    return {path.name: read_rows(path) for path in sorted(Path(folder).glob("*.jsonl"))}


def append_row(path: Path, row: dict) -> None:
    """Add a row to a results file, behind a line that an interruption may have left unfinished."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_short = path.exists() and not path.read_bytes().endswith(b"\n")
    with open(path, "a", encoding="utf-8") as file:
        file.write(("\n" if cut_short else "") + json.dumps(row) + "\n")


def code_hashes(folder: str | os.PathLike | None = None) -> dict[str, str]:
    """Short SHA-256 of the module of each class; what computes nothing is left aside.

    That is comments, docstrings, the types of arguments and results, and imports for these alone.

    Parameters
    ----------
    folder : path, optional
        Where the modules are; those of this package if not given.

    Returns
    -------
    dict of str -> str
        From the name of a class to the hash of the module that defines it.
    """
    hashes: dict[str, str] = {}
    for path in sorted(Path(folder or Path(__file__).parent).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
                node
            ):
                node.body = node.body[1:]
        _leave_out_types(tree)
        code = hashlib.sha256(_dump(tree).encode()).hexdigest()[:12]
        hashes |= {node.name: code for node in tree.body if isinstance(node, ast.ClassDef)}
    return hashes


def _leave_out_types(tree):
    """Remove the types of arguments and results from a module, and what it imports for them."""
    types = []
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if isinstance(node, (ast.arg, ast.FunctionDef)) and getattr(node, field, None):
                types.append(getattr(node, field))
                setattr(node, field, None)
    spare = set().union(*map(_names, types)) - _names(tree)
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            node.names = [a for a in node.names if (a.asname or a.name) not in spare]
    tree.body = [node for node in tree.body if getattr(node, "names", True)]


def _dump(node):
    """The text of :func:`ast.dump` in Python 3.11, whichever Python reads the module."""
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    kind, fields = type(node), []
    for name in node._fields:
        value = getattr(node, name)
        if kind is ast.JoinedStr:  # 3.12 adds "" behind a width that is computed
            value = [part for part in value if getattr(part, "value", None) != ""]
        left_out = value is None and getattr(kind, name, ...) is None  # of what is optional
        if not left_out and name != "type_params":  # new in 3.12
            fields.append(f"{name}={_dump(value)}")
    return f"{kind.__name__}({', '.join(fields)})"


def _names(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def older_codes(folder: str | os.PathLike) -> dict[str, dict]:
    """What is declared of older codes in a folder of results.

    Parameters
    ----------
    folder : path

    Returns
    -------
    dict of str -> dict
        From the hash of a code to ``since``, what has changed since, and ``same``, whether it is
        the same method all the same, but for rounding.
    """
    path = Path(folder) / OLDER
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
