"""The course as a static site: `python3 course.py site`, then open `build/site/index.html`.

The pages are the README, the notebooks with the outputs that are stored in them, their solutions,
what `site/` holds, the exercises, CONTRIBUTING and a reference made of the docstrings. Nothing is
executed, and a page asks nothing of any other machine: scripts, fonts and MathJax lie beside it.
Sliders work from recorded numbers.
"""

import argparse
import ast
import importlib.metadata
import itertools
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import tomllib
from contextlib import nullcontext
from copy import deepcopy

import nbformat

from bdnn.files import check_writable
from tools import called_from
from tools.exercises import FOLDER, texts
from tools.gates.writing import saved_figures
from tools.notebooks import ROOT, find, tags
from tools.printing import browser, publish

SOURCES, DOCTREES, OUTPUT = "build/site-sources", "build/site-doctrees", "build/site"
BADGE = re.compile(r"\[!\[([^]]*)\]\([^)]*\)\]\(([^)]*)\)")
DRAWING = re.compile(r"!\[[^]]*\]\([^)]*\.svg\)")
FOLDED = re.compile(r"<details><summary>(\w+)</summary>\s*(.*?)\s*</details>", re.DOTALL)
IMAGE = ("image/png", "image/svg+xml")
MATHJAX = "tex-svg.js"
LONGEST = 300  # characters of a description
SCREEN = 40  # lines of code; what is exported and longer is folded
WIDTH = 100  # columns of an output, as of code
SPOKEN = [  # of Markdown and TeX, what a description says in its place
    (r"\\t?frac(\w)(\w)", r"\1/\2"),
    (r"\\approx", "≈"),
    (r"\\cdot", "·"),
    (r"\\dots", "..."),
    (r"\\ge(?![a-z])", "≥"),
    (r"\\le(?![a-z])", "≤"),
    (r"\\pm", "±"),
    (r"\\top", "T"),
    (r"[*`$\\{}]", ""),
]

HOME = """
```{{toctree}}
:hidden:

Start <self>
lecturer
lineage
formulas
```

```{{toctree}}
:hidden:
:caption: Notebooks

{notebooks}
```

```{{toctree}}
:hidden:
:caption: Solutions

{solutions}
```

```{{toctree}}
:hidden:
:caption: To write yourself

Hand in and grade <notebooks/exercises/README>
{exercises}
```

```{{toctree}}
:hidden:
:caption: Library

reference/index
{modules}
CONTRIBUTING
```
"""

REFERENCE = """\
# Reference

Classes and functions of `bdnn`, from their docstrings. Estimators take samples in rows; the
functions below them take samples in columns, as the paper does.

| module | what it holds | derived in |
| --- | --- | --- |
{rows}
"""

MODULE = """\
# bdnn.{name}

```{{eval-rst}}
.. automodule:: bdnn.{name}
   :members:
   :inherited-members:
   :show-inheritance:
```
"""


def build(root, output):
    """Lay the sources out and let Sphinx make the site of them; return its exit code."""
    clear(output, root / OUTPUT)
    sources = root / SOURCES
    shutil.rmtree(sources, ignore_errors=True)
    shutil.copytree(root / "site", sources)
    for path in sources.glob("*.md"):  # its links hold in the repository
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("](../", "]("), encoding="utf-8")
    shutil.copytree(root / "figures", sources / "figures")
    shutil.copy(mathjax(), sources / "_static" / MATHJAX)
    for name in ("CONTRIBUTING.md", "CITATION.cff", "LICENSE"):
        shutil.copy(root / name, sources / name)
    notebooks = find(root)
    for notebook in notebooks:
        write(sources / notebook.path, nbformat.writes(page(notebook)))
    for name, nb in decks(notebooks).items():
        write(sources / f"{name}.ipynb", nbformat.writes(nb))
    shutil.copytree(root / FOLDER, sources / FOLDER, ignore=shutil.ignore_patterns("texts"))
    write(sources / "index.md", home(root, notebooks))
    write_reference(root, sources / "reference", notebooks)
    return sphinx(root, sources, output)


def clear(output, default):
    """Remove an earlier site; raise a ValueError where something else would be lost."""
    if not output.exists():
        return
    ours = output.resolve() == default.resolve() or (output / ".buildinfo").is_file()
    if not ours and not (output.is_dir() and not any(output.iterdir())):
        raise ValueError(
            f"{output} is there and holds no site: give another folder with --output, or empty it"
        )
    shutil.rmtree(output)


def sphinx(root, sources, output):
    """Run Sphinx; a warning is an error, so that no link or formula is broken unseen."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    env = os.environ | {"BDNN_ADDRESS": project["urls"]["Repository"], "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    command += ["-d", str(root / DOCTREES), str(sources), str(output)]
    return subprocess.run(command, cwd=root, env=env).returncode


def mathjax():
    """Return the path of MathJax, which a package of the extra `site` carries."""
    files = importlib.metadata.files("sphinx-mathjax-offline")
    return next(file for file in files if file.name == MATHJAX).locate()


def home(root, notebooks):
    """Return the first page: the README, with badges of our own, and the tables of contents."""
    readme = (root / "README.md").read_text(encoding="utf-8").replace("](site/", "](")
    places = [(n, n.text.with_suffix("").as_posix()) for n in notebooks]
    entries = {
        "notebooks": [place for n, place in places if not n.is_solution],
        "solutions": [f"{n.number} Solutions <{place}>" for n, place in places if n.is_solution],
        "exercises": [f"{t.number} <{FOLDER.as_posix()}/{t.text.stem}>" for t in texts(root)],
        "modules": [f"bdnn.{name} <reference/{name}>" for name in modules(root, notebooks)],
    }
    tables = HOME.format(**{name: "\n".join(lines) for name, lines in entries.items()})
    readme = BADGE.sub(r"[\1](\2){.launch}", readme)
    return DRAWING.sub(r"\g<0>{.line-art}", readme) + tables


def page(notebook):
    """Return a notebook as its page shows it.

    The title has the number, the set-up cell is gone, long exports are folded, outputs fit, hints
    have their formulas set; line art is sharp, and every figure described.
    """
    nb = deepcopy(notebook.derived)
    if not notebook.is_solution:
        nb.cells[0].source = nb.cells[0].source.replace("# ", f"# {notebook.number} ", 1)
    nb.cells[1].metadata.tags.append("remove-cell")
    for cell in nb.cells:
        if cell.cell_type == "markdown":  # HTML ends at an empty line, Markdown begins
            cell.source = FOLDED.sub(
                r"<details><summary>\1</summary>\n\n\2\n\n</details>", cell.source
            )
    for _, cell in notebook.code_cells(nb.cells):
        fold(cell)
        for output in cell.outputs:
            for held, kind in ((output, "text"), (output.get("data", {}), "text/plain")):
                if kind in held:
                    held[kind] = fitted(held[kind])
    describe(notebook, nb)
    return nb


def decks(notebooks):
    """Return {name of its page: the slides of a notebook}, made from its cells tagged `slide`.

    Each is a slide under the heading of its section; code that follows a tagged text directly stays
    on the slide of the text. Of code that has outputs they alone are shown.
    """
    found = {}
    for notebook in notebooks:
        nb, heading, joins = page(notebook), "", False
        slides = [nbformat.v4.new_markdown_cell(nb.cells[0].source.partition("\n")[0])]
        for cell in nb.cells:
            text = cell.cell_type == "markdown"
            if "slide" in tags(cell):
                if text or not joins:
                    slides.append(nbformat.v4.new_markdown_cell(heading))
                cell.metadata.tags += ["remove-input"] * bool(cell.get("outputs"))
                slides.append(cell)
            elif text:
                heading = [heading, *re.findall("^## .*", cell.source, re.MULTILINE)][-1]
            joins = text and "slide" in tags(cell)
        if len(slides) > 1:
            nb.cells = slides
            del nb.metadata["kernelspec"]  # so nothing offers to launch it elsewhere
            nb.metadata |= {"orphan": True, "nosearch": True}
            found[f"notebooks/{notebook.number}_slides"] = nb
    return found


def fold(cell):
    """Fold an exported cell of more than a screen under the names that it defines."""
    lines = cell.source.count("\n") + 1
    if "export" in tags(cell) and lines > SCREEN:
        names = re.findall(r"^(?:class|def) (\w+)", cell.source, re.MULTILINE)
        label = f"Show the {lines} lines of {', '.join(names)}"
        cell.metadata.tags.append("hide-input")
        cell.metadata["mystnb"] = {"code_prompt_show": label, "code_prompt_hide": label}


def fitted(text):
    """Break the long lines of an output, but for the rows of tables: they have wide gaps."""
    lines = text.split("\n")
    for k, line in enumerate(lines):
        if len(line) > WIDTH and "   " not in line.strip():
            lines[k] = textwrap.fill(line, WIDTH, subsequent_indent="    ")
    return "\n".join(lines)


def describe(notebook, nb):
    """Put the drawings of `figures` in the place of pixels, and a text beside every figure."""
    drawn = {k: name for k, name, kind in saved_figures(notebook) if name and kind == "svg"}
    for k, cell in notebook.code_cells(nb.cells):
        images = [o for o in cell.outputs if any(mime in o.get("data", ()) for mime in IMAGE)]
        if not images:
            continue
        image = {"alt": description(nb.cells, k)}
        if k in drawn and len(images) == 1:
            drawing = notebook.root / "figures" / f"{drawn[k]}.svg"
            images[0].data = {"image/svg+xml": drawing.read_text(encoding="utf-8")}
            if "<image" not in images[0].data["image/svg+xml"]:
                image["classes"] = "line-art"  # the dark theme inverts it
        cell.metadata["mystnb"] = {"image": image}


def description(cells, k):
    """Return what stands in for the figure of cell k where it cannot be seen.

    That is what the text after the figure says of it, or else the text that leads to it.
    """
    after = next((c.source for c in cells[k:] if c.cell_type == "markdown"), "").split("\n\n")
    before = [c.source for c in cells[:k] if c.cell_type == "markdown"][-1].split("\n\n")
    text = before[-1] if after[0].startswith(("#", "$$", "|")) or not after[0] else after[0]
    for pattern, spoken in SPOKEN:
        text = re.sub(pattern, spoken, text)
    return shortened(" ".join(text.split()))


def shortened(text):
    """Return the first sentences of a text, as many as LONGEST characters hold, at least one."""
    sentences = re.split(r"(?<=[.:;?!])(?<!Eq\.) ", text)
    lengths = itertools.accumulate(len(sentence) + 1 for sentence in sentences)
    kept = sum(length <= LONGEST for length in lengths)
    return " ".join(sentences[: max(kept, 1)])


def modules(root, notebooks):
    """Return {module: the notebook it is derived in, or None}, in the order of the notebooks.

    A module of a package has a dot in its name, such as `engine.scale`.
    """
    paths = [path.relative_to(root / "bdnn") for path in (root / "bdnn").rglob("[a-z]*.py")]
    names = {".".join(path.with_suffix("").parts) for path in paths}
    derived = {n.module: n for n in reversed(notebooks) if n.module in names}  # 02, not 02b
    return dict(reversed(derived.items())) | dict.fromkeys(sorted(names - set(derived)))


def write_reference(root, folder, notebooks):
    """Write a page for each module, and one with a table of them."""
    rows = []
    for name, source in modules(root, notebooks).items():
        write(folder / f"{name}.md", MODULE.format(name=name))
        link = f"[{source.number}](/{source.path.as_posix()})" if source else ""
        path = (root / "bdnn" / name.replace(".", "/")).with_suffix(".py")
        told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
        rows.append(f"| [bdnn.{name}]({name}.md) | {told} | {link} |")
    write(folder / "index.md", REFERENCE.format(rows="\n".join(rows)))


def write(path, text):
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main():
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(prog="course.py site", description=__doc__.splitlines()[0])
    text = "where the site goes, in place of an earlier one (default: build/site)"
    parser.add_argument(
        "--output", type=called_from, default=ROOT / OUTPUT, metavar="FOLDER", help=text
    )
    text = "print it, too: the course, the formulas and the slides as PDFs, with a Chromium"
    parser.add_argument("--print", type=called_from, metavar="FOLDER", dest="paper", help=text)
    options = parser.parse_args()
    if options.paper:  # nothing is built in vain
        check_writable(options.paper / "course.pdf", make_folders=True)
    with browser() if options.paper else nullcontext() as running:
        start = time.perf_counter()
        if code := build(ROOT, options.output):
            return code
        print(f"{options.output / 'index.html'} ({time.perf_counter() - start:.0f} s)")
        if options.paper:
            notebooks = [notebook for notebook in find(ROOT) if not notebook.is_solution]
            pages = ["index", *(n.path.with_suffix("").as_posix() for n in notebooks), "formulas"]
            publish(running, options.output, pages, decks(notebooks), options.paper)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError) as error:
        sys.exit(f"course.py site: {error}")
