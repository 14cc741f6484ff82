"""Every gate can fail: one thing after the other is broken in a copy of a small course."""

import json
import shutil

import nbformat
import pytest
from sample import make_course, pretend_to_build, write

from tools import check, exercises
from tools.check import GATES, Course, problems
from tools.gates import derived, project, writing
from tools.notebooks import find, outputs_hash

SCALE, SCALE_NB = "notebooks/03_scale.py", "notebooks/03_scale.ipynb"
USE = "notebooks/04_use.py"
SOLUTIONS = "notebooks/solutions/03_solutions.py"
FIGURE = "figures/03_picture.svg"
STORY = '# %% tags=["raises'  # the cell before which others are put


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("course")
    make_course(root)
    return root


@pytest.fixture
def root(template, tmp_path):
    return shutil.copytree(template, tmp_path / "course")


# What can be broken: functions of the root.


def edit(path, old, new):
    def apply(root):
        text = (root / path).read_text(encoding="utf-8")
        assert old in text
        write(root, path, text.replace(old, new, 1))

    return apply


def remove(path):
    return lambda root: (root / path).unlink()


def move(path, other):
    return lambda root: (root / path).rename(root / other)


def append(path, text):
    def apply(root):
        before = (root / path).read_text(encoding="utf-8") if (root / path).exists() else ""
        write(root, path, before + text)

    return apply


def itq_row(bits):
    """A recorded run as README's table states it, of precision bits / 10."""
    method, data, split, truth = "ITQ", "mnist", "60000 train, 60000 database", "knn50"
    row = {"method": method, "data": data, "split": split, "ground_truth": truth, "bits": bits}
    row |= {"seed": 0, "revision": 1, "settings": {}, "precision_at_2": bits / 10}
    return json.dumps(row) + "\n"


def insert_cell(source, before=STORY, tag=None):
    mark = f' tags=["{tag}"]' if tag else ""
    return edit(SCALE, before, f"# %%{mark}\n{source}\n\n{before}")


def in_notebook(change, sealed=True):
    """Change the derived notebook 03; `sealed` renews the hash of its outputs."""

    def apply(root):
        nb = nbformat.read(root / SCALE_NB, as_version=4)
        change(nb)
        if sealed:
            nb.metadata["bdnn"]["outputs"] = outputs_hash(nb.cells)
        nbformat.write(nb, root / SCALE_NB)

    return apply


def with_output(output_type, **content):
    """Give the cell that prints one more output."""
    output = nbformat.v4.new_output(output_type, **content)
    return in_notebook(lambda nb: nb.cells[6].outputs.append(output))


def text_and_notebook_alike(root):
    edit(SCALE, "[1.0, 2.0]", "[1.0, 4.0]")(root)
    edit(SCALE_NB, "[1.0, 2.0]", "[1.0, 4.0]")(root)


# A gate, what is broken, and the place and fault that the message names.
def rows_of_results(**more):
    """Recorded runs of the first line of README's table, one for each code length."""
    (entry, *_), keys = project.RESULTS.values(), ("method", "ground_truth", "data", "split")
    row = dict(zip(keys, entry)) | {"seed": 0, "revision": 1, "settings": {}} | more
    return "".join(json.dumps(row | {"bits": bits}) + "\n" for bits in (8, 16, 24, 32))


BREAKS = [
    (
        project.results,
        append("notebooks/results/runs.jsonl", rows_of_results(precision_at_2=12.34)),
        "say 12.3, 12.3, 12.3, 12.3",
    ),
    # modules and exports
    (project.modules, edit("bdnn/scale.py", "1e-12", "1e-9"), "bdnn/scale.py: is not what"),
    (
        project.modules,
        append("bdnn/old.py", "# Generated from notebooks/02_old.py"),
        "bdnn/old.py: is exported by no notebook",
    ),
    (project.modules, move(USE, "notebooks/04_files.py"), "bdnn/files.py: is written by hand"),
    (
        project.modules,
        edit(SCALE, "def scaled", "%time\ndef scaled"),
        "bdnn/scale.py: would have a fault, ",
    ),
    (
        project.modules,
        edit(SCALE, "import numpy as np\n", "import numpy as np\n\nfrom bdnn.use import twice\n"),
        f"{SCALE}: cell 3: imports bdnn.use, which a later notebook exports",
    ),
    (
        project.modules,
        edit(SCALE, "    return x /", "    import bdnn.use\n    return x /"),
        f"{SCALE}: cell 6: imports bdnn.use",
    ),
    (
        project.modules,
        insert_cell("from bdnn.scale import scaled as again"),
        f"{SCALE}: cell 8: imports its own module",
    ),
    (
        project.modules,
        insert_cell("from bdnn import scaled as again"),
        f"{SCALE}: cell 8: imports its own module",
    ),
    (
        project.modules,
        edit(SCALE, "SMALLEST = 1e-12\n", "SMALLEST = 1e-12\nsmall = 1\n"),
        f"{SCALE}: cell 5: line 2 is no function, class or UPPER_CASE constant",
    ),
    (
        project.modules,
        edit(SCALE, '# %% tags=["export-top"]', "# %%"),
        f"{SCALE}: cell 5: the module needs exactly one cell tagged export-top",
    ),
    (
        project.modules,
        edit(SCALE, "max(np.abs(x).max()", "max(largest(x)"),
        "bdnn/scale.py: would have a fault, F821 Undefined name `largest`",
    ),
    (
        project.modules,
        edit(SCALE, "import numpy as np\n", "import json\n\nimport numpy as np\n"),
        "bdnn/scale.py: would have a fault, F401",
    ),
    (
        project.modules,
        insert_cell("def scaled(x):\n    return x", tag="export"),
        f"{SCALE}: cell 8: defines scaled, which another cell exports",
    ),
    (
        project.modules,
        insert_cell("for scaled in ():\n    pass"),
        f"{SCALE}: cell 8: defines scaled, which another cell exports",
    ),
    # text and derived notebook
    (derived.pairs, remove(SCALE_NB), f"{SCALE}: has no .ipynb"),
    (derived.pairs, remove(USE), "notebooks/04_use.ipynb: has no text beside it"),
    (
        derived.fresh,
        edit(SCALE, "# ## The scale", "# ## The best scale"),
        f"{SCALE_NB}: cell 4: differs from the text",
    ),
    (
        derived.fresh,
        in_notebook(lambda nb: nb.cells[6].metadata.update(tags=["nbval-skip"])),
        f"{SCALE_NB}: cell 7: differs from the text",
    ),
    (
        derived.fresh,
        in_notebook(lambda nb: nb.cells.pop()),
        f"{SCALE_NB}: cell 11: differs from the text",
    ),
    (derived.fresh, text_and_notebook_alike, f"{SCALE_NB}: the outputs are stale"),
    (
        derived.fresh,
        edit(SCALE_NB, "0.5\\n", "0.7\\n"),
        f"{SCALE_NB}: the outputs are not those of the build",
    ),
    (
        derived.clean,
        with_output("display_data", data={"text/plain": "<Line2D at 0x7f3a5c0d1e2f>"}),
        f"{SCALE_NB}: cell 7: shows 0x7f3a5c0d1e2f, of one machine or run",
    ),
    (
        derived.clean,
        edit(SCALE, "[1.0, 2.0]", '[1.0, 2.0, len("/home/me/data")]'),
        f"{SCALE}: cell 7: holds a path of one machine, /home/me",
    ),
    (
        derived.clean,
        with_output("display_data", data={"text/html": r"<b>C:\Users\me</b>"}),
        f"{SCALE_NB}: cell 7: shows C:\\Users, of one machine or run",
    ),
    # how a notebook is written
    (
        writing.setup,
        edit(SCALE, "show_versions()\n", "show_versions()\nprint(1)\n"),
        f"{SCALE}: cell 2: is not the set-up cell",
    ),
    (
        writing.exercises,
        edit(SCALE, "<details><summary>Hint</summary>Use `norm`.</details>", "Try."),
        f"{SCALE}: exercise 3.2: has no hint",
    ),
    (
        writing.exercises,
        edit(SOLUTIONS, "# ## 3.2", "# ### 3.2"),
        f"{SCALE}: exercise 3.2: has no solution",
    ),
    (
        writing.exercises,
        edit(SOLUTIONS, "# ## 3.2", "# ## 3.3"),
        f"{SOLUTIONS}: solution 3.3: solves no exercise",
    ),
    (
        writing.exercises,
        move(SOLUTIONS, "notebooks/solutions/07_solutions.py"),
        "notebooks/solutions/07_solutions.py: belongs to no notebook",
    ),
    (
        writing.equations,
        edit(SCALE, "# ## What we have now", "# $$ z = 1 \\tag{1} $$\n#\n# ## What we have now"),
        f"{SCALE}: gives \\tag{{1}} twice",
    ),
    (
        writing.equations,
        edit(SCALE, "Eq. (1) of notebook 03", "Eq. (1) of notebook 04"),
        f"{SCALE}: cell 6: refers to Eq. (1) of notebook 04",
    ),
    (
        exercises.fresh,
        append("notebooks/exercises/texts/03_exercises.py", "# %% [markdown]\n# # Scale\n"),
        "notebooks/exercises/03_exercises.ipynb: is not what its text makes",
    ),
    (writing.figures, remove(FIGURE), f"{SCALE}: cell 10: {FIGURE} does not exist"),
    (
        writing.figures,
        edit(SCALE, '"03_picture"', '"04_picture"'),
        f"{SCALE}: cell 10: saves the figure 04_picture, whose name is not 03_",
    ),
    (
        writing.figures,
        append("figures/03_old.png", ""),
        "figures/03_old.png: is made by no notebook",
    ),
    (
        writing.figures,
        edit("README.md", "03_picture", "03_pictures"),
        "README.md: names figures/03_pictures.svg, which does not exist",
    ),
    # the project around the notebooks
    (
        project.lint,
        append("bdnn/files.py", "\n\nprint(undefined)\n"),
        "bdnn/files.py: line 11: F821 Undefined name `undefined`",
    ),
    (project.lint, insert_cell("%matplotlib"), f"{SCALE}: line"),
    (
        project.formatting,
        edit(SCALE, "x / max(", "x/max("),
        "unformatted: File would",
    ),
    (
        project.lock,
        edit("pyproject.toml", '"numpy>=', '"numpy>=99'),
        "requirements.lock: numpy",
    ),
    (
        project.address,
        append("README.md", "https://mybinder.org/v2/gh/someone/bdnn/main\n"),
        "README.md: line 4 names someone/bdnn, not bdnn-course/bdnn",
    ),
    (
        project.address,
        edit("CITATION.cff", "repository-code: https://github.com/bdnn-course/", "url: "),
        "CITATION.cff: lacks the line `repository-code: https",
    ),
    (
        project.results,
        append("notebooks/results/mnist.jsonl", "".join(map(itq_row, (8, 16, 24, 32)))),
        "README.md: the recorded runs of ITQ say 0.8, 1.6, 2.4, 3.2",
    ),
]


def test_the_unbroken_course_passes_every_gate(root):
    assert list(map(str, problems(root))) == []


@pytest.mark.parametrize(("gate", "break_it", "told"), BREAKS, ids=[told for *_, told in BREAKS])
def test_a_break_is_found_and_named_with_its_mend(root, gate, break_it, told):
    break_it(root)
    found = [str(problem) for problem in gate(Course(root))]
    assert any(told in text for text in found), found
    assert all(". Mend: " in text for text in found)


def test_every_gate_is_broken_above():
    assert {gate for gate, _, _ in BREAKS} == set(GATES)


def test_two_modules_may_have_one_name_and_two_notebooks_one_module(root):
    edit(USE, "def twice(x):", "def SMALLEST(x):")(root)
    more = "# %% tags=['export']\ndef halved(x):\n    return scaled(x) / 2\n\n\n# %%\n"
    write(root, "notebooks/03b_scale.py", more + "from bdnn.scale import scaled\n")
    assert [p.what for p in project.modules(Course(root)) if "is not what" not in p.what] == []
    (export, _), *_ = Course(root).exports
    assert "def scaled" in export.render() and "def halved" in export.render()
    append("notebooks/03b_scale.py", "\n# %%\nfrom bdnn.scale import halved\n")(root)
    assert "imports its own module" in "".join(map(str, project.modules(Course(root))))


def test_links_to_other_projects_are_nobodys_business(root):
    append("README.md", "https://github.com/numpy/numpy https://github.com/bdnn-course/bdnn\n")(
        root
    )
    assert list(project.address(Course(root))) == []


def test_a_rebuilt_notebook_passes_again(root):
    edit(SCALE, "[1.0, 2.0]", "[1.0, 4.0]")(root)
    assert [p.where for p in derived.fresh(Course(root))] == [f"{SCALE_NB}: cell 7"]
    pretend_to_build(next(n for n in find(root) if n.text.as_posix() == SCALE))
    assert problems(root) == []


def test_the_command_prints_all_problems_and_fails(root, monkeypatch, capsys):
    edit("bdnn/scale.py", "1e-12", "1e-9")(root)
    remove("notebooks/04_use.ipynb")(root)
    monkeypatch.setattr(check, "ROOT", root)
    monkeypatch.setattr("sys.argv", ["check"])
    assert check.main() == 1
    output = capsys.readouterr().out
    assert "bdnn/scale.py: is not what notebooks/03_scale.py exports. Mend: " in output
    assert "notebooks/04_use.py: has no .ipynb" in output
    assert output.endswith(f" problems in {len(GATES)} gates\n")
