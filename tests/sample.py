"""A small course of two notebooks with solutions, for the tests of the tools."""

import shutil
from pathlib import Path

import nbformat

from tools.build import derive, seal
from tools.export import write_modules
from tools.gates.writing import SETUP
from tools.notebooks import ROOT, find

SHARED = ("pyproject.toml", "requirements.lock", "CITATION.cff")
ADDRESS = "https://github.com/bdnn-course/bdnn"
FILES = '''"""What all modules share."""

__all__ = ["show_versions"]


def show_versions():
    """Print a version."""
    print("bdnn")
'''

SCALE = '''\
# %% [markdown]
# # Scale a vector
#
# Eq. (1).

# %% tags=["nbval-ignore-output"]
SETUP

# %% tags=["export-top"]
"""Scaling of vectors."""

import numpy as np

# %% [markdown]
# ## The scale
#
# $$ y = x / s \\tag{1} $$

# %% tags=["export"]
SMALLEST = 1e-12


# %% tags=["export"]
def scaled(x):
    """Return x divided by its largest entry: Eq. (1) of notebook 03."""
    return x / max(np.abs(x).max(), SMALLEST)


# %%
print(f"{scaled(np.array([1.0, 2.0]))[0]:.1f}")

# %% tags=["raises-exception"]
scaled(np.array([]))

# %% [markdown]
# ![the picture](../figures/03_picture.svg)

# %%
import matplotlib.pyplot as plt

from bdnn.files import save_figure

fig, ax = plt.subplots()
save_figure(fig, "03_picture")

# %% [markdown]
# ## What we have now
#
# `bdnn.scale`
#
# ## Exercises
#
# **3.1** Scale by the sum.
#
# <details><summary>Hint</summary>Use `sum`.</details>
#
# **3.2** Scale by the norm.
#
# <details><summary>Hint</summary>Use `norm`.</details>
#
# ## Further reading
#
# Eq. (1): the paper.
'''

USE = '''\
# %% [markdown]
# # Use the scale
#
# With notebook 03.

# %% tags=["nbval-ignore-output"]
SETUP

# %% tags=["export-top"]
"""Use of scaling."""

from bdnn.scale import scaled


# %% tags=["export"]
def twice(x):
    """Return x scaled, times two."""
    return 2 * scaled(x)


# %% [markdown]
# ## What we have now
#
# ## Exercises
#
# ## Further reading
'''

SOLUTIONS = """\
# %% [markdown]
# # Solutions of notebook 03

# %% tags=["nbval-ignore-output"]
SETUP

# %% [markdown]
# ## 3.1 Scale by the sum

# %%
x = [1, 3]
print([entry / sum(x) for entry in x])

# %% [markdown]
# ## 3.2 Scale by the norm

# %%
print(sum(entry**2 for entry in x) ** 0.5 > 3)
"""


def make_course(root: Path):
    """Write the small course, as if it had been built."""
    for name in SHARED:
        shutil.copy(ROOT / name, root / name)
    write(root, "README.md", f"[the project]({ADDRESS})\n\n![a](figures/03_picture.svg)\n")
    write(root, "bdnn/__init__.py", '"""The library."""\n')
    write(root, "bdnn/files.py", FILES)
    write(root, "figures/03_picture.svg", "<svg/>\n")
    setup = SETUP.format(ADDRESS)
    for path, text in {
        "notebooks/03_scale.py": SCALE,
        "notebooks/04_use.py": USE,
        "notebooks/solutions/03_solutions.py": SOLUTIONS,
    }.items():
        write(root, path, text.replace("SETUP", setup))
    assert write_modules(root, find(root)) == []
    for notebook in find(root):
        pretend_to_build(notebook)


def pretend_to_build(notebook):
    """Write the derived notebook with outputs such as running it would leave."""
    nb = derive(notebook)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for count, cell in enumerate(code, start=1):
        cell.execution_count = count
        if "print(" in cell.source:
            cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text="0.5\n")]
        elif "raises-exception" in cell.metadata.get("tags", []):
            cell.outputs = [nbformat.v4.new_output("error", ename="ValueError", evalue="empty")]
    seal(nb)
    nbformat.write(nb, notebook.root / notebook.path)


def write(root, path, text):
    """Write a file of the small course."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")
