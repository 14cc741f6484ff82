"""The notebooks of the course as the tools see them: text, derived notebook, hashes.

The text `notebooks/NN_name.py` (percent format) is edited by hand. The notebook
`notebooks/NN_name.ipynb` is derived from it and executed; its metadata holds two hashes, by which
a change of the inputs or of the outputs is found without running anything.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jupytext
import nbformat

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("notebooks", "notebooks/solutions")


@dataclass(frozen=True)
class Problem:
    """Something wrong: where, what, and how it is mended."""

    where: str
    what: str
    mend: str

    def __str__(self):
        return f"{self.where}: {self.what}. Mend: {self.mend}."


@dataclass(frozen=True)
class Notebook:
    """One text notebook with what is derived from it; `text` is relative to `root`."""

    root: Path
    text: Path

    @property
    def path(self):
        """Path of the derived notebook, relative to the root."""
        return self.text.with_suffix(".ipynb")

    @property
    def number(self):
        """What the file's name begins with, such as "02" or "02b"."""
        return self.text.name.partition("_")[0]

    @property
    def is_solution(self):
        """True for a notebook of solutions."""
        return self.text.parent.name == "solutions"

    @property
    def module(self):
        """Name of the module that this notebook exports to, if it exports anything.

        `NAME` for the paper, 02 to 10, and for search, 19; the other methods, 11 to 13, have a
        package of their own, and so has what makes the library fast or large.
        """
        name, number = self.text.stem.partition("_")[2], int(self.number[:2])
        paper = number < 11 or number == 19
        room = "" if paper else "baselines." if number < 14 else "engine."
        return room + name

    @property
    def module_path(self):
        """Path of that module, relative to the root."""
        return Path("bdnn", *self.module.split(".")).with_suffix(".py")

    @cached_property
    def cells(self):
        """The cells of the text: `cell_type`, `source`, and `metadata` with at most `tags`."""
        text = (self.root / self.text).read_text(encoding="utf-8")
        return jupytext.reads(text, "py:percent").cells

    @cached_property
    def derived(self):
        """The derived notebook, or None if it does not exist."""
        path = self.root / self.path
        return nbformat.read(path, as_version=4) if path.exists() else None

    def code_cells(self, cells=None):
        """[(number, cell)] of the code cells; cells are counted from 1, Markdown included."""
        numbered = enumerate(self.cells if cells is None else cells, start=1)
        return [(k, cell) for k, cell in numbered if cell.cell_type == "code"]

    def at(self, k):
        """Name cell k of the text in messages."""
        return f"{self.text.as_posix()}: cell {k}"


def find(root, numbers=()):
    """Return the notebooks with these numbers (all, if none are given), each before its solutions.

    Raises SystemExit if a number names no notebook.
    """
    wanted = {number.zfill(2) if number.isdigit() else number for number in numbers}
    texts = [p.relative_to(root) for f in FOLDERS for p in (root / f).glob("[0-9][0-9]*_*.py")]
    found = [Notebook(root, text) for text in texts]
    missing = wanted - {notebook.number for notebook in found}
    if missing:
        raise SystemExit(f"there is no notebook with the number {', '.join(sorted(missing))}")
    chosen = [notebook for notebook in found if not wanted or notebook.number in wanted]
    return sorted(chosen, key=lambda notebook: (notebook.number, notebook.is_solution))


def tags(cell):
    """Return the tags of a cell."""
    return list(cell.metadata.get("tags", []))


def inputs_hash(cells):
    """Return the SHA-256 of what the cells contain, without outputs."""
    return digest([[cell.cell_type, cell.source, tags(cell)] for cell in cells])


def outputs_hash(cells):
    """Return the SHA-256 of what running the cells has left: counts and outputs."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    return digest([[cell.execution_count, cell.outputs] for cell in code])


def digest(value):
    """Return the SHA-256 of a value made of lists, dictionaries, strings and numbers."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write(path, text):
    """Write a file in one step: a reader sees the old content or the new one."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def kernel_environment(root):
    """Return environment variables under which a kernel computes the same on any machine.

    One thread for the matrix products, figures inline, this checkout's `bdnn`, and none of the
    settings that a person may have made for IPython or the figures' folder. Compiled modules are
    kept, as without them each of the many processes would spend seconds on its imports.
    """
    own = "BDNN_FIGURES", "IPYTHONDIR", "PYTHONDONTWRITEBYTECODE"
    env = {k: v for k, v in os.environ.items() if k not in own}
    env |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    env["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    env["PYTHONPATH"] = str(root)
    return env
