"""The look of the course's figures, and the drawings that several notebooks share.

Importing this module sets the style, for notebooks and scripts alike; ``import bdnn`` does not
import it.  The palette is that of Okabe and Ito, which stays apart for colour-blind readers; no
drawing here rests on colour alone.
"""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.patches import Rectangle

from bdnn.base import atomic_path

__all__ = ["COLOURS", "MARKERS", "STYLE", "codes_image", "image_grid", "save_figure"]

COLOURS = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "black": "#000000",
}
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
LINES = ["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1))]

STYLE = {
    "figure.figsize": (7.0, 3.6),
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same everywhere
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=list(COLOURS.values())) + cycler(linestyle=LINES),
    "grid.color": "0.9",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "image.cmap": "gray_r",  # ink on paper
    "image.interpolation": "nearest",
    "svg.fonttype": "path",
}
plt.rcParams.update(STYLE)


def save_figure(fig, name, png=False):
    """Write ``figures/<name>.svg`` (or ``.png``) whole, and the same bytes on every run.

    Parameters
    ----------
    fig : Figure
    name : str
        Number of the notebook and a word, such as ``"03_itq"``.
    png : bool
        For pictures made of many pixels or points; line art is smaller and sharper as SVG.

    Notes
    -----
    The folder is the one that the environment variable ``BDNN_FIGURES`` names, else ``figures``
    of the repository that the notebook runs in, else ``figures`` in the working folder.
    """
    kind = "png" if png else "svg"
    metadata = {"Software": None} if png else {"Date": None, "Creator": None}
    path = _figures_folder() / f"{name}.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"svg.hashsalt": name}), atomic_path(path) as temporary:
        fig.savefig(temporary, format=kind, metadata=metadata, dpi=150)
    fig.set_layout_engine("none")  # laid out once: a second pass would move things by a hair


def _figures_folder():
    if named := os.environ.get("BDNN_FIGURES"):
        return Path(named).expanduser()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "course.py").is_file() and (folder / "bdnn").is_dir():
            return folder / "figures"
    return here / "figures"


def image_grid(fig, images, titles=None, *, columns=10, marks=None):
    """Draw images in rows, ink on white, each with its own short title.

    Parameters
    ----------
    fig : Figure or SubFigure
        Empty; its axes are made here.
    images : array (n, height, width)
    titles : sequence of n str, optional
    columns : int
        Images per row.
    marks : sequence of n True, False or None, optional
        True draws a solid frame (a right answer), False a dashed one (a wrong answer).

    Returns
    -------
    array (rows, columns) of Axes
    """
    images = np.asarray(images)
    rows = -(-len(images) // columns)
    axes = fig.subplots(rows, columns, squeeze=False)
    largest = images.max()
    for i, ax in enumerate(axes.flat):
        ax.set_axis_off()
        if i >= len(images):
            continue
        ax.imshow(images[i], vmin=0, vmax=largest)
        if titles is not None:
            ax.set_title(titles[i], fontsize=9, loc="center", pad=3)
        if marks is not None and marks[i] is not None:
            ax.add_patch(_frame(ax, marks[i]))
    return axes


def _frame(ax, right):
    """Frame around an image: solid blue if right, dashed vermillion if not."""
    colour, line = ("blue", "-") if right else ("vermillion", (0, (3, 2)))
    style = {"edgecolor": COLOURS[colour], "linestyle": line, "linewidth": 2, "fill": False}
    return Rectangle((0, 0), 1, 1, transform=ax.transAxes, clip_on=False, **style)


def codes_image(ax, B, title=""):
    """Draw a matrix of codes: one row per bit, one column per sample, +1 black and -1 white.

    Parameters
    ----------
    ax : Axes
    B : array (L, m)
        Entries -1 and +1, samples in columns; give the transpose of an estimator's codes.
    title : str
    """
    B = np.asarray(B)
    ax.imshow(B, vmin=-1, vmax=1, aspect="auto", extent=(0.5, B.shape[1] + 0.5, len(B) + 0.5, 0.5))
    ax.set(title=title, xlabel="sample", ylabel="bit")
    ax.spines[["top", "right"]].set_visible(True)
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.xaxis.get_major_locator().set_params(integer=True)
