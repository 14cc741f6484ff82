"""The look of the course's figures, and the drawings that several notebooks share.

Importing this module sets the style, for notebooks and scripts alike; ``import bdnn`` does not
import it.  The palette is that of Okabe and Ito, which stays apart for colour-blind readers; no
drawing here rests on colour alone.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from numpy import ndarray as Array
from numpy.typing import ArrayLike

from bdnn.files import atomic_path

__all__ = [
    "COLOURS", "MARKERS", "METHOD_STYLES", "codes_image", "draw_comparison", "draw_plane",
    "draw_sweep", "image_grid", "method_style", "network_diagram", "recall_axes", "save_figure",
]  # fmt: skip

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

# The methods: name in a legend, colour, marker and line, the same in every figure.
METHOD_STYLES = {
    "ITQ": ("ITQ", "black", "o", "-"),
    "ITQCCA": ("ITQ-CCA", "purple", "D", ":"),
    "UHBDNN": ("UH-BDNN", "blue", "s", "-"),
    "SHBDNN": ("SH-BDNN", "vermillion", "^", "-"),
    "DeepHashing": ("DH", "sky", "v", "--"),
    "SupervisedDeepHashing": ("supervised DH", "orange", "P", "--"),
    "SpectralHashing": ("SH", "green", "X", ":"),
    "SphericalHashing": ("SpH", "green", "o", "-."),
    "KMeansHashing": ("KMH", "purple", "s", "--"),
    "BinaryAutoencoder": ("BA", "sky", "D", "-."),
    "SupervisedDiscreteHashing": ("SDH", "green", "^", "-"),
    "KernelSupervisedHashing": ("KSH", "purple", "v", "-."),
    "BinaryReconstructiveEmbedding": ("BRE", "orange", "X", ":"),
}

# The terms of both losses: formula and colour, the same in every picture of them.
LOSS_TERMS = {
    "reconstruction": (r"$\frac{1}{2m}\|X-W^{(4)}B-c^{(4)}\mathbf{1}\|^2$", "blue"),
    "similarity": (r"$\frac{1}{2m}\|\frac{1}{L}H^{(4)\top}H^{(4)}-S\|^2$", "blue"),
    "weight decay": (r"$\frac{\lambda_1}{2}\sum_l\|W^{(l)}\|^2$", "black"),
    "equality": (r"$\frac{\lambda_2}{2m}\|H^{(4)}-B\|^2$", "vermillion"),
    "independence": (r"$\frac{\lambda_3}{2}\|\frac{1}{m}H^{(4)}H^{(4)\top}-I\|^2$", "green"),
    "balance": (r"$\frac{\lambda_4}{2m}\|H^{(4)}\mathbf{1}\|^2$", "black"),
}

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
plt.style.use(STYLE)


def save_figure(fig: Figure, name: str, png: bool = False) -> None:
    """Write ``figures/<name>.svg`` (or ``.png``) whole, and the same bytes on every run.

    The name is the number of the notebook and a word, such as ``"03_itq"``; or a path, without the
    ending.  As PNG come pictures of many pixels or points; line art is smaller and sharper as SVG.
    The folder is the one that the environment variable ``BDNN_FIGURES`` names, else ``figures``
    of the repository that the notebook runs in, else ``figures`` in the working folder.
    """
    kind = "png" if png else "svg"
    metadata = {"Software": None} if png else {"Date": None, "Creator": None}
    path = _figures_folder() / f"{name}.{kind}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"svg.hashsalt": path.stem}), atomic_path(path) as temporary:
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


def image_grid(
    fig: Figure | SubFigure,
    images: ArrayLike,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 10,
    marks: Sequence[bool | None] | None = None,
) -> Array:
    """Draw images (n, height, width) in rows, ink on white, each with its own short title.

    A mark True draws a solid frame (a right answer), False a dashed one (a wrong answer), None
    none.  Returns the axes (rows, columns), which are made here.
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
            colour, line = ("blue", "-") if marks[i] else ("vermillion", (0, (3, 2)))
            frame = Rectangle((0, 0), 1, 1, transform=ax.transAxes, clip_on=False, fill=False, lw=2)
            frame.set(edgecolor=COLOURS[colour], linestyle=line)
            ax.add_patch(frame)
    return axes


def codes_image(ax: Axes, B: ArrayLike, title: str = "") -> None:
    """Draw codes B (L, m), a row for each bit, a column for each sample, +1 black and -1 white."""
    B = np.asarray(B)
    ax.imshow(B, vmin=-1, vmax=1, aspect="auto", extent=(0.5, B.shape[1] + 0.5, len(B) + 0.5, 0.5))
    ax.set(title=title, xlabel="sample", ylabel="bit")
    ax.spines[["top", "right"]].set_visible(True)
    ax.locator_params(integer=True)


def network_diagram(ax: Axes, supervised: bool = False) -> None:
    """Draw the network from left to right, with the five terms of its loss where they act.

    Layers are bars, tall where they are wide; the codes B are cells, black for +1.  UH-BDNN has a
    last layer that reconstructs the samples from their codes; SH-BDNN (`supervised`) ends at the
    code layer and is told by S which samples belong together.  Give it about 7.5 x 3.6 inches.
    """
    layers = [  # x, half height, name, number of units, what the layer does
        (0.0, 1.6, r"$X=H^{(1)}$", "$D$", ""),
        (2.0, 1.0, r"$H^{(2)}$", "$h_1$", "sigmoid"),
        (4.0, 0.7, r"$H^{(3)}$", "$h_2$", "sigmoid"),
        (6.0, 0.5, r"$H^{(4)}$", "$L$", "identity"),
        (8.4, 0.5, r"$B$", "$L$", r"$\pm 1$"),
    ]
    terms = {  # where and how the formula stands; where and how its name stands
        "equality": (7.2, 0.1, "center", 7.2, -0.3, "center"),
        "independence": (6.4, -1.6, "left", 8.95, -1.44, "left"),
        "balance": (6.4, -2.3, "left", 7.9, -2.14, "left"),
        "weight decay": (3.0, -2.1, "center", 3.0, -2.45, "center"),
    }
    weights = [(1, 0.25, 1.75), (2, 2.25, 3.75), (3, 4.25, 5.75)]
    if supervised:
        terms["similarity"] = (6.3, 1.75, "left", 8.95, 1.9, "left")
        _ = ax.plot([6, 6, 6.3], [1.05, 1.95, 1.95], "k-", lw=0.9)
        _pairs(ax, 10.9, 1.3)
    else:
        terms["reconstruction"] = (5.5, 2.28, "center", 7.35, 2.42, "left")
        layers += [(11.0, 1.6, r"$W^{(4)}B+c^{(4)}\mathbf{1}$", "$D$", "identity")]
        weights += [(4, 8.65, 10.75)]
        _arrow(ax, (0, 2.12), (11, 2.12), "<|-|>", linestyle="--")
    for layer in layers:
        _layer(ax, *layer)
    for l, x, end in weights:
        _arrow(ax, (x, 0), (end, 0), "-|>")
        ax.text((x + end) / 2, 0.1, f"$W^{{({l})}},c^{{({l})}}$", ha="center", va="bottom")
    _arrow(ax, (6.25, 0), (8.15, 0), "<|-|>", linestyle="--")
    _ = ax.plot([6.3, 6, 6, 6, 6.3], [-1.38, -1.38, -0.95, -2.08, -2.08], "k-", lw=0.9)
    for name, (x, y, side, at, height, name_side) in terms.items():
        formula, colour = LOSS_TERMS[name]
        ax.text(x, y, formula, ha=side, va="bottom", fontsize=11, color=COLOURS[colour])
        ax.text(at, height, name, ha=name_side, va="bottom", fontsize=9, color="0.35")
    ax.set(xlim=(-0.9, 12.2), ylim=(-2.7, 3.0))
    ax.set_axis_off()


def _layer(ax, x, half, name, units, kind):
    """A bar for a layer of real numbers; cells for the codes, which have bits of both signs."""
    codes = name == "$B$"
    face = "white" if codes else "0.93"
    ax.add_patch(Rectangle((x - 0.17, -half), 0.34, 2 * half, ec="black", fc=face, lw=1.2))
    for k in (0, 2, 3, 5) if codes else ():
        ax.add_patch(Rectangle((x - 0.17, k / 6 - 0.5), 0.34, 1 / 6, color="black"))
    ax.text(x, half + 0.14, name, ha="center", va="bottom", fontsize=11)
    ax.text(x + 0.3, -half, units, va="bottom", color="0.35")
    ax.text(x, -half - 0.12, kind, ha="center", va="top", fontsize=9, color="0.35")


def _pairs(ax, x, y):
    """The matrix S of six samples in three classes, black where a pair has one class."""
    ax.add_patch(Rectangle((x, y), 1.2, 1.2, ec="black", fc="white", lw=1.2))
    for k in range(3):
        ax.add_patch(Rectangle((x + 0.4 * k, y + 0.8 - 0.4 * k), 0.4, 0.4, color="black"))
    ax.text(x + 0.6, y + 1.26, "$S$", ha="center", va="bottom", fontsize=11)


def _arrow(ax, start, end, head, **line):
    style = {"arrowstyle": head, "shrinkA": 0, "shrinkB": 0, "lw": 1.1, "color": "black"}
    ax.annotate("", end, start, arrowprops=style | line)


def method_style(method: str) -> dict[str, Any]:
    """Name, colour, marker and line of a method (name of the class) for ``Axes.plot``."""
    label, colour, marker, line = METHOD_STYLES[method]
    return {"label": label, "color": COLOURS[colour], "marker": marker, "linestyle": line}


def draw_comparison(rows: list[dict], name: str) -> Path:
    """Draw precision at radius 2 and mAP over the code length; return the path of the figure.

    Where the rows have it, recall over the bytes of a code is drawn above, alone and re-ranked.
    `rows` are results as :func:`bdnn.course.compare.measure` gives them, a line for each method;
    several seeds are averaged, and a bar reaches one standard deviation up and down.
    """
    labels = {"precision_at_2": "precision at radius 2 (%)", "map_standard": "mAP (%)"}
    if "recall_at_10" in rows[0]:
        recall = {"recall_at_10": "10-recall@10 (%)", "recall_at_100": "100 re-ranked (%)"}
        labels = recall | labels
    fig, axes = plt.subplots(len(labels) // 2, 2, figsize=(8, 0.8 + 1.5 * len(labels)))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lengths = sorted({row["bits"] for row in rows})
    shifts = 0.07 * (np.arange(len(methods)) - (len(methods) - 1) / 2)  # no bar hides another
    for ax, (key, label) in zip(axes.flat, labels.items()):
        for method, shift in zip(methods, shifts):
            groups = [
                [r[key] for r in rows if (r["method"], r["bits"]) == (method, L)] for L in lengths
            ]
            at = [i + shift for i, values in enumerate(groups) if values]
            means = [np.mean(values) for values in groups if values]
            spread = [np.std(values, ddof=len(values) > 1) for values in groups if values]
            ax.errorbar(at, means, spread, capsize=3, elinewidth=1.2, **method_style(method))
        by_bytes = key.startswith("recall")
        ticks = [-(-L // 8) for L in lengths] if by_bytes else lengths
        ax.set(xlabel="bytes" if by_bytes else "bits", ylabel=label)
        ax.set(xticks=range(len(lengths)), xticklabels=ticks)
        ax.set(xlim=(-0.5, len(lengths) - 0.5), ylim=0)
    handles, names = axes.flat[0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside upper center", ncols=min(len(methods), 6))
    save_figure(fig, name)
    plt.close(fig)
    return _figures_folder() / f"{name}.svg"


def recall_axes(axes: Sequence[Axes], lengths: Sequence[int]) -> None:
    """Label two panels of recall over the bytes of an item: codes alone, and 100 re-ranked."""
    for ax, what in zip(axes, ("codes alone: 10-recall@10", "100 items re-ranked: 10-recall@100")):
        ax.set(
            title=f"{what} (%)", xscale="log", xlabel="bytes of an item in memory", ylim=(0, 102)
        )
        ax.set_xticks([L // 8 for L in lengths], [str(L // 8) for L in lengths])
        ax.set_xticks([], minor=True)
    axes[1].legend(loc="lower right")


def draw_sweep(ax: Axes, sweep: dict[str, Any]) -> None:
    """Draw precision and mAP over the values of one weight: what `explorer.sweep` gives."""
    looks = {
        "precision": ("precision at radius 2", "blue", "s-"),
        "map": ("mAP", "vermillion", "^--"),
    }
    at = np.arange(len(sweep["values"]))
    for key, (label, colour, line) in looks.items():
        mean, low, high = np.asarray(sweep[key]).T
        spread = np.maximum(0, [mean - low, high - mean])
        ax.errorbar(
            at, mean, spread, fmt=line, color=COLOURS[colour], label=label, capsize=3, elinewidth=1
        )
    ax.axvspan(sweep["at"] - 0.3, sweep["at"] + 0.3, color="0.9", zorder=0)
    ax.set(xlabel=sweep["label"], title="retrieval in %, shaded: the present value")
    ax.set_xticks(at, sweep["values"])
    ax.legend(fontsize=8)


def draw_plane(ax: Axes, values: Array, across: Sequence[float], up: Sequence[float]) -> None:
    """Draw numbers (n_up, n_across), the first row at the bottom, on shades of their size."""
    ax.imshow(values, cmap="cividis", origin="lower", aspect="auto")
    middle = (values.min() + values.max()) / 2
    for (r, c), value in np.ndenumerate(values):
        ink = "white" if value < middle else "black"
        ax.text(c, r, f"{value:.1f}", ha="center", va="center", fontsize=9, color=ink)
    ax.set_xticks(range(len(across)), [f"{value:g}" for value in across])
    ax.set_yticks(range(len(up)), [f"{value:g}" for value in up])
