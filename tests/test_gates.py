"""Every gate can fail: each test breaks one thing in a copy of a small course and sees the message.

A message names the file, the cell, and the mend.
"""

import json
import shutil
import subprocess
import sys

import nbformat
import pytest
from sample import make_course, pretend_to_build, write

from bdnn.course.records import code_hashes
from tools.check import GATES, Course, problems
from tools.gates import derived, project, results, writing
from tools.notebooks import ROOT, find, outputs_hash

SCALE = "notebooks/03_scale.py"
USE = "notebooks/04_use.py"
SOLUTIONS = "notebooks/solutions/03_solutions.py"
BUILD = "Mend: python3 course.py build 03"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("course")
    make_course(root)
    return root


@pytest.fixture
def root(template, tmp_path):
    return shutil.copytree(template, tmp_path / "course")


def edit(path, old, new, count=1):
    """Return a function that replaces a text in a file of the course."""

    def apply(root):
        text = (root / path).read_text(encoding="utf-8")
        assert old in text
        write(root, path, text.replace(old, new, count))

    return apply


def remove(path):
    return lambda root: (root / path).unlink()


def add(path, text):
    return lambda root: write(root, path, text)


def append(path, text):
    return lambda root: write(root, path, (root / path).read_text(encoding="utf-8") + text)


def insert_cell(path, before, source, tag=None):
    """Insert a code cell before the line that begins with `before`."""
    mark = f' tags=["{tag}"]' if tag else ""
    return edit(path, before, f"# %%{mark}\n{source}\n\n{before}")


def cell_of(path, text):
    """Return the k-th cell's name in messages: the first cell of the text that holds `text`."""

    def find_cell(root):
        notebook = next(n for n in find(root) if n.text.as_posix() == path)
        return next(k for k, cell in enumerate(notebook.cells, 1) if text in cell.source)

    return find_cell


def in_notebook(change, sealed=False):
    """Return a function that changes the derived notebook 03; `sealed` renews the outputs' hash."""

    def apply(root):
        path = (root / SCALE).with_suffix(".ipynb")
        nb = nbformat.read(path, as_version=4)
        change(nb)
        if sealed:
            nb.metadata["bdnn"]["outputs"] = outputs_hash(nb.cells)
        nbformat.write(nb, path)

    return apply


def with_output(output_type, **content):
    """Give the first cell that prints one more output."""

    def change(nb):
        cell = next(c for c in nb.cells if "scaled(np.array([1.0" in c.source)
        cell.outputs.append(nbformat.v4.new_output(output_type, **content))

    return in_notebook(change, sealed=True)


def clear(nb):
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def clear_outputs_only(nb):
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = []


def swap_counts(nb):
    nb.cells[2].execution_count = 3


def change_input(nb):
    nb.cells[6].source += "\n# changed in the notebook"


def change_tags(nb):
    nb.cells[6].metadata["tags"] = ["nbval-skip"]


def drop_cell(nb):
    nb.cells.pop()


def keep_widgets(nb):
    nb.metadata["widgets"] = {"state": {}}


def text_and_notebook_alike(root):
    edit(SCALE, "[1.0, 2.0]", "[1.0, 4.0]")(root)
    edit(SCALE.replace(".py", ".ipynb"), "[1.0, 2.0]", "[1.0, 4.0]")(root)


def own_module(root):
    insert_cell(SCALE, '# %% tags=["raises', "from bdnn.engine.scale import scaled as again")(root)


def method(lines):
    """Return a class of two methods, with docstrings, the longer one of `lines` + 1 lines."""
    short = '    def a(self):\n        """Say.\n\n        Much."""\n        return 1\n'
    body = "\n".join("        x = 1" for _ in range(lines))
    return f'class A:\n    """Two."""\n\n{short}\n    def b(self):\n        """Do."""\n{body}'


WIDGET_VIEW = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "x"}
FIGURE = "figures/03_picture.svg"
TOP = '# %% tags=["export-top"]'
FUNCTION = "def scaled(x):"

# gate, what is broken, then what the message must hold: place, fault, mend
ROWS = "notebooks/results/mnist.jsonl"


def recorded_row(**other):
    """A row of the paper's tables, made by code that is not there any more."""
    place = {"method": "Method", "data": "mnist", "bits": 8, "ground_truth": "knn50"}
    return place | {"split": "60000 train, 60000 database", "code": "0123456789ab"} | other


def record(root, *rows):
    write(root, ROWS, "".join(json.dumps(row) + "\n" for row in rows))


BREAKS = {
    # modules and exports
    "edited module": (
        project.modules,
        edit("bdnn/scale.py", "1e-12", "1e-9"),
        ["bdnn/scale.py: is not what notebooks/03_scale.py exports", "course.py export 03"],
    ),
    "missing module": (
        project.modules,
        remove("bdnn/use.py"),
        ["bdnn/use.py: is not what notebooks/04_use.py exports", "course.py export 04"],
    ),
    "text changed, module not": (
        project.modules,
        edit(SCALE, "1e-12", "1e-9"),
        ["bdnn/scale.py: is not what", "course.py export 03"],
    ),
    "module without notebook": (
        project.modules,
        add("bdnn/stray.py", "X = 1\n"),
        ["bdnn/stray.py: belongs to no notebook", "remove it, or restore its notebook"],
    ),
    "notebook with the name of plumbing": (
        project.modules,
        lambda root: (root / USE).rename(root / "notebooks/04_base.py"),
        ["bdnn/base.py: is written by hand", "another name"],
    ),
    "magic in an export cell": (
        project.modules,
        edit(SCALE, FUNCTION, f"%time\n{FUNCTION}"),
        [f"{SCALE}: cell 6: is not plain Python", "no magics"],
    ),
    "export cell imports a later module": (
        project.modules,
        edit(SCALE, "import numpy as np\n", "import numpy as np\n\nfrom bdnn.use import twice\n"),
        [f"{SCALE}: cell 3: imports bdnn.use, which is no earlier module", "an earlier notebook"],
    ),
    "import within an exported function": (
        project.modules,
        edit(USE, '    """Return x scaled', "    import bdnn.later\n" + '    """Return x scaled'),
        [f"{USE}: cell 4: imports bdnn.later", "an earlier notebook"],
    ),
    "notebook imports its own module": (
        project.modules,
        own_module,
        [f"{SCALE}: cell 8: imports its own module bdnn.engine.scale", "this notebook's cells"],
    ),
    "notebook imports its own name from the package": (
        project.modules,
        insert_cell(SCALE, '# %% tags=["raises', "from bdnn import scaled as again"),
        [f"{SCALE}: cell 8: imports its own module", "this notebook's cells"],
    ),
    "statement in an export cell": (
        project.modules,
        edit(SCALE, "SMALLEST = 1e-12\n", "SMALLEST = 1e-12\nprint(SMALLEST)\n"),
        [f"{SCALE}: cell 5: line 2 is no function, class or UPPER_CASE constant", "move it"],
    ),
    "lower-case variable in an export cell": (
        project.modules,
        edit(SCALE, "SMALLEST = 1e-12\n", "SMALLEST = 1e-12\nsmall = 1\n"),
        [f"{SCALE}: cell 5: line 2 is no function", "move it"],
    ),
    "statement in the opening cell": (
        project.modules,
        edit(SCALE, "import numpy as np\n", "import numpy as np\n\nnp.seterr()\n"),
        [f"{SCALE}: cell 3: line 5 is neither docstring nor import", "move it"],
    ),
    "no docstring": (
        project.modules,
        edit(SCALE, '"""Scaling of vectors."""\n', ""),
        [f"{SCALE}: cell 3: does not begin with a docstring", "write the module's"],
    ),
    "no opening cell": (
        project.modules,
        edit(SCALE, TOP, "# %%"),
        [f"{SCALE}: cell 5: needs exactly one cell tagged export-top", "docstring, then imports"],
    ),
    "undefined name": (
        project.modules,
        edit(SCALE, "max(np.abs(x).max()", "max(largest(x)"),
        [f"{SCALE}: cell 6: Undefined name `largest`", "import it in export-top"],
    ),
    "unused import": (
        project.modules,
        edit(SCALE, "import numpy as np\n", "import json\n\nimport numpy as np\n"),
        [f"{SCALE}: cell 3: `json` imported but unused", "remove it from export-top"],
    ),
    "name defined twice in a notebook": (
        project.modules,
        insert_cell(SCALE, '# %%\nprint(f"', "def scaled(x):\n    return x", "export"),
        [f"{SCALE}: cell 7: defines scaled, which cell 6 defines already", "another name"],
    ),
    "name defined twice among modules": (
        project.modules,
        edit(USE, "def twice(x):", "def scaled(x):"),
        [f"{USE}: cell 4: defines scaled, which {SCALE} exports already", "another name"],
    ),
    "exported name defined again in the story": (
        project.modules,
        insert_cell(SCALE, '# %% tags=["raises', "for scaled in ():\n    pass"),
        [f"{SCALE}: cell 8: defines scaled again, which cell 6 exports", "another name"],
    ),
    # text and derived notebook
    "text without notebook": (
        derived.pairs,
        remove(SCALE.replace(".py", ".ipynb")),
        [f"{SCALE}: has no .ipynb", BUILD],
    ),
    "notebook without text": (
        derived.pairs,
        lambda root: shutil.copy(root / "notebooks/04_use.ipynb", root / "notebooks/05_x.ipynb"),
        ["notebooks/05_x.ipynb: has no text beside it", "git rm notebooks/05_x.ipynb"],
    ),
    "input edited in the notebook": (
        derived.same_inputs,
        in_notebook(change_input),
        ["notebooks/03_scale.ipynb: cell 7: differs from the text", BUILD],
    ),
    "text edited, not built": (
        derived.same_inputs,
        edit(SCALE, "# ## The scale", "# ## The best scale"),
        ["notebooks/03_scale.ipynb: cell 4: differs from the text", BUILD],
    ),
    "tags differ": (
        derived.same_inputs,
        in_notebook(change_tags),
        ["notebooks/03_scale.ipynb: cell 7: differs from the text", "tags", BUILD],
    ),
    "cell missing": (
        derived.same_inputs,
        in_notebook(drop_cell),
        ["notebooks/03_scale.ipynb: cell 11: differs from the text", BUILD],
    ),
    "outputs of other inputs": (
        derived.fresh_outputs,
        text_and_notebook_alike,
        ["notebooks/03_scale.ipynb: the outputs are stale", BUILD],
    ),
    "outputs edited by hand": (
        derived.fresh_outputs,
        edit(SCALE.replace(".py", ".ipynb"), "0.5\\n", "0.7\\n"),
        ["notebooks/03_scale.ipynb: the outputs are not those of the build", BUILD],
    ),
    "outputs cleared": (
        derived.fresh_outputs,
        in_notebook(clear_outputs_only),
        ["notebooks/03_scale.ipynb: the outputs are not those of the build: cleared", BUILD],
    ),
    "counts missing": (
        derived.execution_counts,
        in_notebook(clear, sealed=True),
        ["notebooks/03_scale.ipynb: cell 2: has execution count None in place of 1", BUILD],
    ),
    "counts out of order": (
        derived.execution_counts,
        in_notebook(swap_counts, sealed=True),
        ["notebooks/03_scale.ipynb: cell 3: has execution count 3 in place of 2", BUILD],
    ),
    "error that nobody announced": (
        derived.errors,
        with_output("error", ename="ValueError", evalue="no"),
        ["notebooks/03_scale.ipynb: cell 7: holds an error output", "raises-exception", "build 03"],
    ),
    "announced error that did not come": (
        derived.errors,
        in_notebook(clear_outputs_only, sealed=True),
        ["notebooks/03_scale.ipynb: cell 8: is tagged raises-exception and raised none", "remove"],
    ),
    "stderr": (
        derived.clean_outputs,
        with_output("stream", name="stderr", text="careful\n"),
        ["notebooks/03_scale.ipynb: cell 7: wrote to stderr", "mend what warns", "build 03"],
    ),
    "view of a widget": (
        derived.clean_outputs,
        with_output("display_data", data=WIDGET_VIEW),
        ["notebooks/03_scale.ipynb: cell 7: holds a widget's view", BUILD],
    ),
    "state of widgets": (
        derived.clean_outputs,
        in_notebook(keep_widgets),
        ["notebooks/03_scale.ipynb: holds the state of widgets", BUILD],
    ),
    "address of an object": (
        derived.clean_outputs,
        with_output("display_data", data={"text/plain": "<Line2D at 0x7f3a5c0d1e2f>"}),
        ["cell 7: shows the address of an object, 0x7f3a5c0d1e2f", "_ = ...", "build 03"],
    ),
    "path in an input": (
        derived.machine_paths,
        edit(SCALE, "[1.0, 2.0]", '[1.0, 2.0, len("/home/me/data")]'),
        [f"{SCALE}: cell 7: holds a path of one machine, /home/me", "relative to the repository"],
    ),
    "path in an output": (
        derived.machine_paths,
        with_output("stream", name="stdout", text="read /Users/me/x.npz\n"),
        ["notebooks/03_scale.ipynb: cell 7: the output shows a path of one machine", "print less"],
    ),
    "path of Windows in an output": (
        derived.machine_paths,
        with_output("display_data", data={"text/html": r"<b>C:\Users\me</b>"}),
        ["notebooks/03_scale.ipynb: cell 7: the output shows a path", "print less"],
    ),
    # how a notebook is written
    "no title": (
        writing.opening,
        edit(SCALE, "# # Scale a vector", "# Scale a vector"),
        [f"{SCALE}: cell 1: is no Markdown cell that begins", "write the title cell"],
    ),
    "no goals": (
        writing.opening,
        edit(SCALE, "**What you will learn**", "Contents"),
        [f"{SCALE}: cell 1: lacks **What you will learn**", "title cell"],
    ),
    "another set-up cell": (
        writing.setup,
        edit(SCALE, "show_versions()\n", "show_versions()\nprint(1)\n"),
        [f"{SCALE}: cell 2: is not the set-up cell", "copy SETUP"],
    ),
    "another address in the set-up cell": (
        writing.setup,
        edit(SOLUTIONS, "bdnn-course/bdnn", "someone/bdnn"),
        [f"{SOLUTIONS}: cell 2: is not the set-up cell", "with the address"],
    ),
    "no closing section": (
        writing.headings,
        edit(SCALE, "# ## Further reading", "# ## More"),
        [f"{SCALE}: lacks the heading `## Further reading`", "add the section"],
    ),
    "magic in the story": (
        writing.plain_python,
        insert_cell(SCALE, '# %% tags=["raises', "# %matplotlib widget"),
        [f"{SCALE}: cell 8: is not plain Python", "no magics"],
    ),
    "long cell": (
        writing.cell_lengths,
        insert_cell(SCALE, '# %% tags=["raises', "\n".join("x = 1" for _ in range(26))),
        [f"{SCALE}: cell 8: has 26 lines of code, more than 25", "split it"],
    ),
    "long exported cell": (
        writing.cell_lengths,
        edit(SCALE, FUNCTION, "\n".join(f"A{n} = 1" for n in range(40)) + f"\n\n\n{FUNCTION}"),
        [f"{SCALE}: cell 6: has 42 lines of code, more than 40", "split it"],
    ),
    "long method": (
        writing.cell_lengths,
        edit(SCALE, FUNCTION, method(40) + f"\n\n\n{FUNCTION}"),
        [f"{SCALE}: cell 6: has 41 lines of code, more than 40", "split it"],
    ),
    "long function beside a class": (
        writing.cell_lengths,
        edit(SCALE, FUNCTION, f"{method(1)}\n\n\n{FUNCTION}" + "\n    x = 1" * 40),
        [f"{SCALE}: cell 6: has 43 lines of code, more than 40", "split it"],
    ),
    "many long cells": (
        writing.cell_lengths,
        lambda root: [
            insert_cell(USE, "# %% [markdown]\n# ## What", "\n".join("x = 1" for _ in range(9)))(
                root
            )
            for _ in range(3)
        ],
        [f"{USE}: the median cell has 9 lines of code, more than 6", "split the longest"],
    ),
    "exercise without hint": (
        writing.exercises,
        edit(SCALE, "<details><summary>Hint</summary>Use `norm`.</details>", "Try."),
        [f"{SCALE}: exercise 3.2: has no hint", "<details>"],
    ),
    "exercise without solution": (
        writing.exercises,
        edit(SOLUTIONS, "# ## 3.2", "# ### 3.2"),
        [f"{SCALE}: exercise 3.2: has no solution", "solutions/03_solutions.py"],
    ),
    "solution without exercise": (
        writing.exercises,
        edit(SOLUTIONS, "# ## 3.2", "# ## 3.3"),
        [f"{SOLUTIONS}: solution 3.3: solves no exercise", f"ask it in {SCALE}"],
    ),
    "solutions without notebook": (
        writing.exercises,
        lambda root: (root / SOLUTIONS).rename(root / "notebooks/solutions/07_solutions.py"),
        ["notebooks/solutions/07_solutions.py: belongs to no notebook", "remove or rename"],
    ),
    "equation numbered twice": (
        writing.equations,
        edit(SCALE, "# ## What we have now", "# $$ z = 1 \\tag{1} $$\n#\n# ## What we have now"),
        [f"{SCALE}: gives \\tag{{1}} twice", "number the equations anew"],
    ),
    "reference to no equation": (
        writing.equations,
        edit(SCALE, "# Eq. (1): the paper", "# Eq. (4): the paper"),
        [f"{SCALE}: cell 11: refers to Eq. (4) of notebook 03", "mend the number"],
    ),
    "reference to no equation of another notebook": (
        writing.equations,
        edit(SCALE, "Eq. (1) of notebook 03", "Eq. (1) of notebook 04"),
        [f"{SCALE}: cell 6: refers to Eq. (1) of notebook 04", "mend the number"],
    ),
    "figure missing": (
        writing.figures,
        remove(FIGURE),
        [f"{SCALE}: cell 10: {FIGURE} does not exist", BUILD],
    ),
    "figure named after another notebook": (
        writing.figures,
        edit(SCALE, '"03_picture"', '"04_picture"'),
        [f"{SCALE}: cell 10: saves the figure 04_picture, whose name is not 03_", "rename"],
    ),
    "figure that nothing makes": (
        writing.figures,
        add("figures/03_old.png", ""),
        ["figures/03_old.png: is made by no notebook", "remove it"],
    ),
    "page names a missing figure": (
        writing.figures,
        edit("README.md", "03_picture", "03_pictures"),
        ["README.md: names figures/03_pictures.svg, which does not exist", "mend the name"],
    ),
    # the project around the notebooks
    "fault in a text": (
        project.lint,
        insert_cell(SCALE, '# %% tags=["raises', "import os"),
        [f"{SCALE}: cell 8, line", "F401 `os` imported but unused", "ruff check --fix"],
    ),
    "fault in a module by hand": (
        project.lint,
        append("bdnn/base.py", "\n\nprint(undefined)\n"),
        ["bdnn/base.py: line 11: F821 Undefined name `undefined`", "ruff check --fix"],
    ),
    "unformatted text": (
        project.formatting,
        edit(SCALE, "x / max(", "x/max("),
        [f"{SCALE}: cell 6, line", "is not formatted", f".venv/bin/ruff format {SCALE}"],
    ),
    "lock below the range": (
        project.lock,
        edit("pyproject.toml", "ruff>=0.17,<0.18", "ruff>=0.99"),
        ["requirements.lock: ruff>=0.99 is locked to 0.17", "make it anew"],
    ),
    "extra that is not locked": (
        project.lock,
        edit("pyproject.toml", "scale = [", 'scale = ["odd>=1", '),
        ["requirements.lock: odd>=1 is locked to nothing", "make it anew"],
    ),
    "pin without hash": (
        project.lock,
        lambda root: write(root, "requirements.lock", "numpy==2.4.6\n"),
        ["requirements.lock: numpy<3,>=2.0 is locked to nothing", "make it anew"],
    ),
    "other address in a page": (
        project.address,
        append("README.md", "https://mybinder.org/v2/gh/someone/bdnn/main\n"),
        ["README.md: line 4 names someone/bdnn, not bdnn-course/bdnn", "pyproject.toml"],
    ),
    "old address in a page": (
        project.address,
        append("README.md", "https://github.com/bdnn-course/old\n"),
        ["README.md: line 4 names bdnn-course/old", "pyproject.toml"],
    ),
    "other address in the citation": (
        project.address,
        edit("CITATION.cff", "repository-code: https://github.com/bdnn-course/", "url: "),
        ["CITATION.cff: lacks the line `repository-code: https", "copy it from pyproject.toml"],
    ),
    "other version in the citation": (
        project.address,
        edit("CITATION.cff", "version: 0.1.0", "version: 0.0.9"),
        ["CITATION.cff: lacks the line `version: ", "copy it from pyproject.toml"],
    ),
    "row of older code": (
        results.results,
        lambda root: record(root, recorded_row()),
        [
            f"{ROWS}: has 1 row of Method by code 0123456789ab",
            "record the runs again",
            "older.json",
        ],
    ),
}


def test_the_unbroken_course_passes_every_gate(root):
    assert list(map(str, problems(root))) == []


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_found_and_its_message_helps(root, name):
    gate, break_it, parts = BREAKS[name]
    break_it(root)
    found = [str(problem) for problem in gate(Course(root))]
    helpful = [text for text in found if all(part in text for part in parts)]
    assert helpful, found
    assert all(". Mend: " in text for text in found)


def test_older_rows_that_are_renewed_explained_or_in_no_table(root):
    def found():
        return list(results.results(Course(root)))

    append("bdnn/base.py", "\n\nclass Method:\n    pass\n")(root)
    present = recorded_row(code=code_hashes(root / "bdnn")["Method"])
    record(root, recorded_row(data="mnist5k"), recorded_row(split="dh: 9 train, 9 database"))
    assert found() == []
    record(root, recorded_row(), recorded_row(bits=16), present)
    (problem,) = found()
    assert "has 1 row of Method" in str(problem)  # that of 16 bits
    declared = {"0123456789ab": {"since": "a faster step", "same": True}}
    write(root, "notebooks/results/older.json", json.dumps(declared))
    assert found() == []
    (line,) = results.older(Course(root))
    assert line == f"{ROWS}: of 3 rows are older than the code: 2 of Method"
    append("bdnn/base.py", "\n\nX = 1\n")(root)
    assert "3 of Method" in "".join(results.older(Course(root)))
    assert len(found()) == 1


def test_every_gate_is_broken_above():
    assert {gate for gate, _, _ in BREAKS.values()} == set(GATES)


def test_two_long_methods_are_not_one_long_cell(root):
    both = method(30) + "\n" + method(39).replace("class A", "class C")
    edit(SCALE, FUNCTION, f"{both}\n\n\n{FUNCTION}")(root)
    assert list(writing.cell_lengths(Course(root))) == []


def test_two_modules_may_share_the_names_of_the_public_interface(root):
    edit(SCALE, "SMALLEST = 1e-12\n", "def balance():\n    pass\n\n\nSMALLEST = 1e-12\n")(root)
    edit(USE, "def twice(x):", "def balance():\n    pass\n\n\ndef twice(x):")(root)
    assert [found for found in project.modules(Course(root)) if "defines" in found.what] == []


def test_links_to_other_projects_are_nobodys_business(root):
    append("README.md", "https://github.com/numpy/numpy and https://github.com/bdnn-course/bdnn\n")(
        root
    )
    assert list(project.address(Course(root))) == []


def test_all_problems_are_told_not_only_the_first(root):
    remove(FIGURE)(root)
    edit("bdnn/scale.py", "1e-12", "1e-9")(root)
    edit(SCALE, "x / max(", "x/max(")(root)
    places = {problem.where.split(":")[0] for problem in problems(root)}
    assert places >= {"bdnn/scale.py", SCALE, "notebooks/03_scale.ipynb", "README.md"}


def test_a_rebuilt_notebook_passes_again(root):
    edit(SCALE, "[1.0, 2.0]", "[1.0, 4.0]")(root)
    assert [p.where for p in derived.same_inputs(Course(root))] == [
        "notebooks/03_scale.ipynb: cell 7"
    ]
    pretend_to_build(next(n for n in find(root) if n.text.as_posix() == SCALE))
    assert problems(root) == []


def test_the_command_prints_the_problems_and_fails(root):
    shutil.copytree(ROOT / "tools", root / "tools")
    command = [sys.executable, "-m", "tools.check"]
    passed = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (passed.returncode, passed.stderr) == (0, "")
    assert passed.stdout == f"check: {len(GATES)} gates passed\n"
    edit("bdnn/scale.py", "1e-12", "1e-9")(root)
    failed = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "bdnn/scale.py: is not what notebooks/03_scale.py exports. Mend: " in failed.stdout
    assert failed.stdout.endswith(f"check: 1 problem in {len(GATES)} gates\n")
