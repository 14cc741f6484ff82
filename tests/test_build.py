"""Text becomes an executed notebook and a module: the same bytes each time, or no change at all."""

import json
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
from jupyterlab.labapp import LabApp
from sample import make_course, write

from tools import build, export, lab, notebooks, test
from tools.check import problems
from tools.notebooks import ROOT, find

SCALE = "notebooks/03_scale.py"
SAVE = '''

def save_figure(fig, name):
    """Pretend to save."""
'''


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    root = tmp_path_factory.mktemp("course")
    make_course(root)
    files = (root / "bdnn/files.py").read_text().replace('["show', '["save_figure", "show')
    write(root, "bdnn/files.py", files + SAVE)
    for path in [*root.glob("notebooks/**/*.ipynb"), root / "bdnn/scale.py", root / "bdnn/use.py"]:
        path.unlink()
    return root


@pytest.fixture
def root(template, tmp_path):
    return shutil.copytree(template, tmp_path / "course")


def edit(root, old, new):
    text = (root / SCALE).read_text()
    assert old in text
    (root / SCALE).write_text(text.replace(old, new))


def run(root, monkeypatch, *arguments):
    """Call the command `build` on the small course; return its exit code."""
    monkeypatch.setattr(build, "ROOT", root)
    monkeypatch.setattr(build, "warm_up", lambda: None)
    monkeypatch.setattr(build.sys, "argv", ["build", *arguments])
    return build.main()


def scale_notebook(root):
    return next(n for n in find(root) if n.text.as_posix() == SCALE)


@pytest.mark.slow
def test_a_course_is_built_from_its_texts_and_passes_every_gate(root, monkeypatch, capsys):
    assert run(root, monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["wrote bdnn/scale.py", "wrote bdnn/use.py"]
    assert [line.split(" ...")[0] for line in lines[2:]] == [
        "notebooks/03_scale.ipynb",
        "notebooks/solutions/03_solutions.ipynb",
        "notebooks/04_use.ipynb",
    ]
    assert list(map(str, problems(root))) == []
    nb = nbformat.read(root / "notebooks/03_scale.ipynb", as_version=4)
    assert nb.cells[6].outputs[0].text == "0.5\n"
    assert nb.cells[7].outputs[0].traceback == [
        "ValueError: zero-size array to reduction operation maximum which has no identity"
    ]
    assert set(nb.metadata) == {"bdnn", "kernelspec", "language_info"}
    assert nb.metadata.language_info == {"name": "python", "pygments_lexer": "ipython3"}
    assert [cell.id for cell in nb.cells] == [f"cell-{k:03d}" for k in range(1, len(nb.cells) + 1)]
    once = (root / "notebooks/03_scale.ipynb").read_bytes()
    build.build(scale_notebook(root))
    assert (root / "notebooks/03_scale.ipynb").read_bytes() == once


@pytest.mark.slow
def test_cells_that_fail_or_warn_are_named_and_the_old_notebook_stays(root, monkeypatch, capsys):
    (root / "notebooks/03_scale.ipynb").write_text("the old one")
    edit(root, "print(f", 'raise RuntimeError("no such luck")\nprint(f')
    solutions = root / "notebooks/solutions/03_solutions.py"
    warns = 'import sys\n\nprint("careful", file=sys.stderr)\nx = [1, 3]'
    solutions.write_text(solutions.read_text().replace("x = [1, 3]", warns))
    assert run(root, monkeypatch, "3") == 1
    captured = capsys.readouterr()
    assert f"{SCALE}: cell 7 failed:\n    raise RuntimeError" in captured.err
    assert "RuntimeError: no such luck" in captured.err
    assert re.search("cell 4 failed:(?s:.*)It wrote to stderr(?s:.*)careful", captured.err)
    assert (root / "notebooks/03_scale.ipynb").read_text() == "the old one"
    assert not solutions.with_suffix(".ipynb").exists()
    names = sorted(path.name for path in (root / "notebooks").iterdir())
    assert names == ["03_scale.ipynb", "03_scale.py", "04_use.py", "solutions"]


def test_a_cell_that_is_to_raise_has_to(root):
    notebook = scale_notebook(root)
    with pytest.raises(build.BuildError, match="cell 8 failed:(?s:.*)raised none"):
        build.tidy(build.derive(notebook), notebook)


def test_ctrl_c_ends_the_build(root, monkeypatch, capsys):
    def interrupted(notebook):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "build", interrupted)
    assert run(root, monkeypatch) == 130
    assert "are as they were" in capsys.readouterr().err


def test_nothing_is_executed_while_an_export_breaks_a_rule(root, monkeypatch, capsys):
    edit(root, "SMALLEST = 1e-12\n", "smallest = 1e-12\n")
    assert run(root, monkeypatch, "03") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{SCALE}: cell 5: line 1 is no function" in captured.err
    assert not (root / "bdnn/scale.py").exists()


def test_outputs_are_tidied():
    out = nbformat.v4.new_output
    plot = {"image/png": "AAAA", "text/plain": "<Figure>"}
    outputs = [
        out("stream", name="stdout", text="a"),
        out("stream", name="stdout", text="b\n"),
        out("display_data", data=plot),
        out("stream", name="stdout", text="c\n"),
        out("display_data", data={build.WIDGET_VIEW: {"model_id": "1"}}),
        out("display_data", data={build.WIDGET_VIEW: {"model_id": "1"}, "text/plain": "Slider"}),
        out("error", ename="ValueError", evalue="no", traceback=["in /home/me/x.py", "..."]),
    ]
    tidied = [build.tidy_output(output) for output in build.join_streams(outputs)]
    assert tidied == [
        out("stream", name="stdout", text="ab\n"),
        out("display_data", data=plot),
        out("stream", name="stdout", text="c\n"),
        None,
        out("display_data", data={"text/plain": "Slider"}),
        out("error", ename="ValueError", evalue="no", traceback=["ValueError: no"]),
    ]


# Export


def test_a_module_reads_as_if_written_by_hand(root):
    export.write_modules(root, find(root))
    assert (
        (root / "bdnn/scale.py").read_text()
        == '''\
# Generated from notebooks/03_scale.py by `course.py export 03`: edit the notebook.
"""Scaling of vectors."""

import numpy as np

__all__ = ["SMALLEST", "scaled"]

SMALLEST = 1e-12


def scaled(x):
    """Return x divided by its largest entry: Eq. (1) of notebook 03."""
    return x / max(np.abs(x).max(), SMALLEST)
'''
    )


def test_only_what_changed_is_written_and_only_what_was_asked(root, capsys):
    first, second = (n for n in find(root) if not n.is_solution)
    assert export.write_modules(root, [second]) == []
    assert capsys.readouterr().out == "wrote bdnn/use.py\n"
    assert export.write_modules(root, [first, second]) == []
    assert capsys.readouterr().out == "wrote bdnn/scale.py\n"


# The notebooks as the tools see them


def test_numbers_choose_notebooks(root):
    names = [n.text.name for n in find(root, ["3"])]
    assert names == ["03_scale.py", "03_solutions.py"]
    with pytest.raises(SystemExit, match="no notebook with the number 07"):
        find(root, ["04", "7"])


def test_the_hash_of_the_inputs_is_blind_to_nothing_that_counts(root):
    notebook = scale_notebook(root)
    before = notebooks.inputs_hash(notebook.cells)
    for change in ("source", "kind", "tags", "order"):
        cells = nbformat.from_dict(json.loads(json.dumps(notebook.cells)))
        if change == "source":
            cells[6].source += " "
        elif change == "kind":
            cells[6].cell_type = "markdown"
        elif change == "tags":
            cells[6].metadata = nbformat.from_dict({"tags": ["nbval-skip"]})
        else:
            cells[4], cells[5] = cells[5], cells[4]
        assert notebooks.inputs_hash(cells) != before


def test_a_kernel_sees_none_of_the_persons_own_settings(root, monkeypatch):
    monkeypatch.setenv("BDNN_FIGURES", "elsewhere")
    monkeypatch.setenv("IPYTHONDIR", "mine")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    env = notebooks.kernel_environment(root)
    assert "BDNN_FIGURES" not in env and "IPYTHONDIR" not in env
    assert env["MPLBACKEND"].endswith("inline")
    assert env["OMP_NUM_THREADS"] == env["OPENBLAS_NUM_THREADS"] == "1"


# The other commands


@pytest.mark.slow
def test_the_notebooks_are_executed_and_compared(root):
    write(root, "tests/nbval_sanitize.cfg", (ROOT / "tests/nbval_sanitize.cfg").read_text())
    export.write_modules(root, find(root))
    build.build(scale_notebook(root))
    notebook = root / scale_notebook(root).path
    write(root, notebook, notebook.read_text().replace("0.5\\n", "0.7\\n"))
    env = notebooks.kernel_environment(root) | {"BDNN_FIGURES": str(root / "scratch")}
    command = [sys.executable, *test.NBVAL, "-n0", str(notebook)]  # -n0: without workers
    done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "1 failed, 6 passed" in done.stdout
    assert "03_scale.ipynb::Cell 4" in done.stdout


def test_the_lab_listens_on_this_machine_and_keeps_its_token(monkeypatch):
    lines = []
    monkeypatch.setattr(LabApp, "launch_instance", lambda argv: lines.extend(argv))
    monkeypatch.setattr("sys.argv", ["lab", "--no-browser", "--port", "9999"])
    lab.main()
    assert "--ServerApp.ip=127.0.0.1" in lines and "--ServerApp.port=9999" in lines
    assert not any("token" in item or "password" in item for item in lines)
    monkeypatch.setattr("sys.argv", ["lab", "--ip=0.0.0.0"])
    with pytest.raises(SystemExit):
        lab.main()
