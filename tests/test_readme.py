"""README's section for those who have vectors of their own: its code and its commands run."""

import re
import shlex

import nbformat
import numpy as np
import pytest

import bdnn
from bdnn.__main__ import main
from tools.notebooks import ROOT


@pytest.fixture(scope="module")
def section():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return readme.partition("\n## Your own vectors\n")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that the section names: vectors of the shipped sentences, queries, later ones."""
    folder = tmp_path_factory.mktemp("own")
    X = bdnn.data.read_vectors(ROOT / "notebooks" / "results" / "sentences.npz")[0]
    for name, rows in {"vectors": X[:600], "queries": X[600:650], "more": X[650:700]}.items():
        np.save(folder / f"{name}.npy", rows)
    return folder


def test_the_python_of_the_readme_runs(section, folder, monkeypatch):
    monkeypatch.chdir(folder)
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["codes"].shape == (600, 8) and names["found"].shape == (50, 10)
    exact = bdnn.data.nearest_neighbours(names["query"], names["X"], 10)
    hits = [len({*found} & {*true}) for found, true in zip(names["found"], exact)]
    assert np.mean(hits) > 9  # a list of 100 of 600
    assert (folder / "model.bdnn").exists()


def test_the_commands_of_the_readme_run(section, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    lines = re.findall(r"^    python -m bdnn (.*)$", section, re.MULTILINE)
    assert len(lines) == 6
    for line in lines:
        extra = ["--methods", "itq", "--bits", "8"] if line.startswith("compare") else []
        assert main([*shlex.split(line), *extra]) == 0, capsys.readouterr().err
    assert (folder / "report.html").exists()
    with np.load(folder / "codes.npz") as archive:
        assert archive["codes"].shape == (650, 8)  # appended


def test_its_figures_are_those_of_notebook_18(section):
    """Recall of eight bytes, alone and re-ranked, of ITQ and of product quantisation."""
    nb = nbformat.read(ROOT / "notebooks" / "18_own_data.ipynb", as_version=4)
    printed = "".join(out.get("text", "") for c in nb.cells for out in c.get("outputs", ()))
    expected = []
    for name in ("ITQ", "product quantisation"):
        (row,) = re.findall(rf"^{name} +((?: +\d+\.\d)+) *$", printed, re.MULTILINE)
        expected += [round(float(row.split()[at])) for at in (1, 6)]
    (told,) = re.findall(r"\n\nOn 4,000 sentences.*?\n\n", section, re.DOTALL)
    assert [int(n) for n in re.findall(r"\b(\d\d)(?= %| and)", told)] == expected
