# %% [markdown]
# # See what each λ buys
#
# **What you will do.** Turn every weight of the objective, from nothing to too much, and watch what it does to the terms, to the bits and to the search: in recorded trainings at once, in live ones within a second or two.
#
# **What you will learn**
#
# * which of the weights decide how well a code searches, over which range, and which could be left out;
# * that a term can fall by orders of magnitude without the search noticing;
# * to tell an effect from the difference between two seeds;
# * how to build an explorer that answers at once, with a kernel and without one.
#
# **What you need.** Notebooks 02, 05, 08 and 10. About 40 minutes to read and play; under a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""Explore what the weights of the loss terms buy: recorded trainings, and live ones.

`Grid` reads the trainings that `python3 course.py grid` recorded, `explorer_page` makes of them a
page that needs no kernel, and `Explorer` is the same with widgets, which also trains anew.  This
module needs ipywidgets, which comes with the extra `course`.
"""

import asyncio
import base64
import html
import json
import threading
import time
from collections.abc import Sequence
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import ipywidgets as widgets
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from bdnn import metrics
from numpy import ndarray as Array
from bdnn.checks import check_option
from bdnn.files import StrPath
from bdnn.hashing import Hasher
from bdnn.metrics import pack_codes, unpack_codes
from bdnn.data import Dataset
from bdnn.deep_hashing import DeepHashing
from bdnn.course.plotting import draw_explorer
from bdnn.uh_bdnn import UHBDNN

# %%
import matplotlib.pyplot as plt
from IPython.display import HTML

from bdnn.data import load
from bdnn.course.plotting import draw_plane, draw_sweep, save_figure

# %% [markdown]
# ## The weights, and the values that we give them
#
# UH-BDNN minimises (notebook 08)
#
# $$ J=\tfrac1{2m}\|X-W^{(n-1)}B-c^{(n-1)}\mathbf 1^\top\|^2+\tfrac{\lambda_1}2\sum_l\|W^{(l)}\|^2+\tfrac{\lambda_2}{2m}\|H-B\|^2+\tfrac{\lambda_3}2\|\tfrac1mHH^\top-I\|^2+\tfrac{\lambda_4}{2m}\|H\mathbf 1\|^2, \tag{1} $$
#
# and Deep Hashing (notebook 10)
#
# $$ J=\tfrac12\|\operatorname{sgn}(H)-H\|^2-\tfrac{\alpha_1}{2m}\operatorname{tr}(HH^\top)+\tfrac{\alpha_2}2\sum_l\|W^{(l)}W^{(l)\top}-I\|^2+\tfrac{\alpha_3}2\sum_l\big(\|W^{(l)}\|^2+\|c^{(l)}\|^2\big). \tag{2} $$
#
# The papers give one value to each weight and do not say how much depends on it. We give each of them seven: 0, which takes the term away, and six from far below the paper's value to far above it.


# %% tags=["export"]
VALUES = {
    "UHBDNN": {
        "lambda1": (0.0, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
        "lambda2": (0.0, 5e-4, 5e-3, 5e-2, 5e-1, 5.0, 50.0),
        "lambda3": (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
        "lambda4": (0.0, 1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 1e-1),
        "n_bits": (8, 16, 24, 32),
    },
    "DeepHashing": {
        "alpha1": (0, 1, 10, 100, 1000, 10000, 100000),
        "alpha2": (0.0, 1e-3, 1e-1, 1.0, 10.0, 100.0, 1000.0),
        "alpha3": (0.0, 1e-3, 1e-1, 1.0, 10.0, 100.0, 1000.0),
        "n_bits": (8, 16, 24, 32),
    },
}
TITLES = {"UHBDNN": "UH-BDNN", "DeepHashing": "Deep Hashing"}
TRAINING = {  # from scratch; nothing is held out, and the state with the lowest objective is kept
    "UHBDNN": {
        "max_alternations": 8,
        "max_iter": 40,
        "n_init": 5,
        "n_validation": 0,
        "patience": 9,
    },
    "DeepHashing": {},
}
SHORTER = {"UHBDNN": {"max_alternations": 3}, "DeepHashing": {}}  # on from another solution


def make_estimator(
    method: str, values: dict[str, float], seed: int = 0, **options: Any
) -> UHBDNN | DeepHashing:
    """The estimator of one training.

    Parameters
    ----------
    method : "UHBDNN" or "DeepHashing"
    values : dict
        Some or all of `VALUES[method]`; the others are the defaults of the class.
    seed : int
    **options
        Settings other than those of `TRAINING[method]`.
    """
    check_option("method", method, tuple(VALUES))
    estimator = {"UHBDNN": UHBDNN, "DeepHashing": DeepHashing}[method](random_state=seed)
    return estimator.set_params(**TRAINING[method] | options | values)


def defaults(method: str) -> dict[str, float]:
    """The paper's value of every weight, and 16 bits: dict of name -> value."""
    parameters = make_estimator(method, {}).get_params()
    return {name: parameters[name] for name in VALUES[method]}


def label(name: str) -> str:
    """How a weight is written: lambda1 is λ1."""
    return name.replace("lambda", "λ").replace("alpha", "α").replace("n_bits", "bits")


# %%
for method in VALUES:
    own = [f"{label(name)} = {value:g}" for name, value in defaults(method).items()]
    print(f"{TITLES[method]:12} {', '.join(own)}")

# %% [markdown]
# All combinations of four weights and four lengths would be $7^4\cdot4$ trainings. We take the ones that answer the questions: from the paper's point one value is moved at a time, and for $\lambda_2$ and $\lambda_3$, whose terms pull at the same $H$, every pair.


# %% tags=["export"]
def grid_points(method: str) -> list[dict[str, float]]:
    """The values of the recorded trainings, those of the paper first.

    Returns
    -------
    list of dict
        One value is moved at a time; lambda2 and lambda3 are moved together, too.
    """
    start, values = defaults(method), VALUES[method]
    points = [start]
    points += [start | {name: value} for name in values for value in values[name]]
    if method == "UHBDNN":
        pairs = [(a, b) for a in values["lambda2"] for b in values["lambda3"]]
        points += [start | {"lambda2": a, "lambda3": b} for a, b in pairs]
    return [point for k, point in enumerate(points) if point not in points[:k]]


# %%
for method in VALUES:
    print(f"{TITLES[method]}: {len(grid_points(method))} trainings for each seed")

# %% [markdown]
# ## What we look at
#
# We train on the small `digits`, 1,500 pictures of 8 × 8 pixels, since a training takes about half a second there. The 297 pictures that are held out are the queries; they are also our gallery, of which you may choose two and see their neighbours. Of every training we keep
#
# * each term, with its weight, over the alternations;
# * precision at radius 2 and mAP: held-out pictures as queries, training pictures as database, the 50 Euclidean neighbours as right answers (notebook 02);
# * for the bits, on the database: the share of +1 in each, and $\tfrac1mBB^\top$;
# * the codes of the gallery.


# %% tags=["export"]
MEASURES = ("precision_at_2", "map_standard", "empty_share", "balance", "independence")
MOST_STEPS = 21  # of a history that is kept


def rounded(value: float, digits: int = 4) -> float:
    """A number with so many significant digits."""
    return float(f"{value:.{digits}g}")


def observe(
    method: str,
    values: dict[str, float],
    seed: int,
    estimator: UHBDNN | DeepHashing,
    dataset: Dataset,
) -> dict[str, Any]:
    """All that the explorers show of a trained estimator, small enough to be recorded.

    Parameters
    ----------
    method, values, seed
        As for `make_estimator`.
    estimator : UHBDNN or DeepHashing
        Fitted.
    dataset : bdnn.data.Dataset

    Returns
    -------
    dict
        `method`, `values`, `seed`; the five `MEASURES`, fractions; `steps` and `curves`, the
        history of every term; `share`, of +1 in each bit, in thousandths; `correlation`, the upper
        triangle of (1/m) B B^T row by row, in hundredths; `codes` of the queries, packed and in
        base64.
    """
    gallery, codes = (estimator.transform(X) for X in (dataset.query, dataset.database))
    measures = metrics.evaluate(gallery, codes, dataset.relevant)
    history = estimator.history_
    kept = np.linspace(0, len(history) - 1, min(len(history), MOST_STEPS)).round().astype(int)
    step = step_name(method)
    terms = [n for n in history[0] if n not in (step, "seconds", "score", "flips", "n_iter")]
    B = codes.T.astype(float)
    R = (B @ B.T / B.shape[1])[np.triu_indices(len(B), 1)]
    return {
        "method": method,
        "values": dict(values),
        "seed": seed,
        **{name: round(measures[name], 4) for name in MEASURES},
        "steps": [history[k][step] for k in kept],
        "curves": {name: [rounded(history[k][name]) for k in kept] for name in terms},
        "share": (1000 * (B > 0).mean(axis=1)).round().astype(int).tolist(),
        "correlation": (100 * R).round().astype(int).tolist(),
        "codes": base64.b64encode(pack_codes(gallery).tobytes()).decode(),
    }


def step_name(method: str) -> str:
    """What the history of a method counts."""
    return "alternation" if method == "UHBDNN" else "iteration"


# %% [markdown]
# One training, the paper's values:

# %%
dataset = load("digits")
start = defaults("UHBDNN")
estimator = make_estimator("UHBDNN", start).fit(dataset.train)
row = observe("UHBDNN", start, 0, estimator, dataset)
print(
    f"{len(row['steps'])} states, {len(row['curves'])} curves, {len(row['codes'])} characters of codes"
)

# %% [markdown]
# ## The recorded grid
#
# `python3 course.py grid --seeds 0 1 2 3 4` makes all trainings for five seeds, goes on where it was stopped, and writes `notebooks/results/lambdas.json`: first what all have in common, then a line for each training. Only the first seed has everything, the others only the measures; they are there to tell us what a difference between two points is worth.


# %% tags=["export"]
class Grid:
    """Recorded trainings, found by their values.

    Parameters
    ----------
    rows : list of dict
        As from `observe`; of seeds other than the first, `method`, `values`, `seed` and
        `MEASURES` are enough.

    Attributes
    ----------
    seeds : list of int
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.seeds = list(dict.fromkeys(row["seed"] for row in rows))
        self._rows = {(self._key(row["method"], row["values"]), row["seed"]): row for row in rows}

    @classmethod
    def read(cls, path: StrPath) -> Self:
        """The grid in a file that `python3 course.py grid` wrote.

        Raises
        ------
        FileNotFoundError
            If there is none; says how to make it.
        ValueError
            If the file is damaged.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}: make it with `python3 course.py grid`")
        try:
            return cls(json.loads(path.read_text(encoding="utf-8"))["rows"])
        except (ValueError, KeyError, TypeError) as error:
            mend = "remove it and make it anew with `python3 course.py grid`"
            raise ValueError(f"{path} is damaged ({error!r}): {mend}") from error

    def find(self, method: str, values: dict[str, float]) -> dict[str, Any] | None:
        """The row of the first seed with these values; None if they were not recorded."""
        return self._rows.get((self._key(method, values), self.seeds[0]))

    def spread(
        self, method: str, values: dict[str, float], measure: str
    ) -> tuple[float, float, float]:
        """Mean, lowest and highest of a measure over the seeds; NaN if not recorded."""
        key = self._key(method, values)
        found = [self._rows[key, s][measure] for s in self.seeds if (key, s) in self._rows]
        return (np.mean(found), min(found), max(found)) if found else (np.nan,) * 3

    def nearest(self, method: str, values: dict[str, float], moved: str) -> dict[str, float]:
        """These values if they were recorded; else the defaults, with the moved one as it is."""
        if self.find(method, values):
            return dict(values)
        return defaults(method) | {moved: values[moved]}

    @staticmethod
    def _key(method, values):
        return method, *(values[name] for name in VALUES[method])


# %%
grid = Grid.read("results/lambdas.json")
recorded = grid.find("UHBDNN", start)
print(f"{len(grid.seeds)} seeds")
for name in MEASURES:
    mean, low, high = grid.spread("UHBDNN", start, name)
    print(f"{name:15} {mean:.3f}, from {low:.3f} to {high:.3f}")

# %% [markdown]
# Is the grid what the library computes today? The training above has the values and the seed of a recorded one. Training amplifies rounding, which differs between machines; but a measure must come out within the spread of a few seeds:


# %% tags=["export"]
def gallery_codes(row: dict[str, Any]) -> Array:
    """Codes of the gallery of a row: array (n, L), entries -1 and +1."""
    L = row["values"]["n_bits"]
    packed = np.frombuffer(base64.b64decode(row["codes"]), dtype=np.uint8)
    return unpack_codes(packed.reshape(-1, -(-L // 8)), L)


def correlation_matrix(row: dict[str, Any]) -> Array:
    """(1/m) B B^T of a row: array (L, L), symmetric, its diagonal 1."""
    L = row["values"]["n_bits"]
    R = np.zeros((L, L))
    R[np.triu_indices(L, 1)] = np.asarray(row["correlation"]) / 100
    return R + R.T + np.eye(L)


# %%
for name in MEASURES:
    assert abs(row[name] - recorded[name]) < 0.03, name
agreement = np.mean(gallery_codes(row) == gallery_codes(recorded))
print(f"more than nine tenths of the bits of the gallery agree: {agreement > 0.9}")

# %% [markdown]
# ## The picture, and the line that says the same
#
# Two pictures of the gallery are compared by their codes, and each with all others. Ties go to the lower number, as in notebook 02.


# %% tags=["export"]
N_NEIGHBOURS = 8  # that are shown
PAIR = 3, 7  # pictures of the gallery that are shown first


def _gallery(dataset):
    """The pictures, which are the queries: vectors, labels, and the shape of one."""
    return dataset.query, dataset.labels.query, dataset.image_shape


def gallery_neighbours(codes: Array, i: int, n: int = N_NEIGHBOURS) -> tuple[Array, Array]:
    """The nearest to picture i by Hamming distance, ties by number.

    Parameters
    ----------
    codes : array (m, L)
        Entries -1 and +1.
    i : int
    n : int

    Returns
    -------
    neighbours : array (n,)
        Numbers of pictures, without i.
    distances : array (m,)
        Of all pictures from picture i.
    """
    distances = metrics.hamming_distances(codes[i : i + 1], codes)[0].astype(int)
    order = np.argsort(distances, kind="stable")
    return order[order != i][:n], distances


def describe(row: dict[str, Any]) -> str:
    """One line with the numbers that the picture of a training shows."""
    values = ", ".join(f"{label(name)} = {value:g}" for name, value in row["values"].items())
    terms = {name: curve[-1] for name, curve in row["curves"].items()}
    objective = terms.pop("objective")
    parts = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in terms.items())
    share, worst = np.asarray(row["share"]) / 10, np.abs(row["correlation"]).max() / 100
    return (
        f"{TITLES[row['method']]}, {values}: "
        f"precision at radius 2 {100 * row['precision_at_2']:.1f} %, "
        f"mAP {100 * row['map_standard']:.1f} %, empty balls {100 * row['empty_share']:.1f} %, "
        f"imbalance {row['balance']:.3f}, dependence {row['independence']:.3f}. "
        f"Objective {objective:.4g} after {row['steps'][-1]} {step_name(row['method'])}s: {parts}. "
        f"Share of +1 from {share.min():.1f} to {share.max():.1f} %, "
        f"largest correlation of two bits {worst:.2f}."
    )


def describe_pair(row: dict[str, Any], labels: Array, first: int, second: int) -> str:
    """One line on two pictures of the gallery and their neighbours."""
    codes = gallery_codes(row)
    same = [np.sum(labels[gallery_neighbours(codes, i)[0]] == labels[i]) for i in (first, second)]
    differ = np.sum(codes[first] != codes[second])
    return (
        f"Pictures {first} (a {labels[first]}) and {second} (a {labels[second]}) differ in "
        f"{differ} of {codes.shape[1]} bits; of their {N_NEIGHBOURS} nearest, "
        f"{same[0]} and {same[1]} show the same digit."
    )


# %%
labels = dataset.labels.query
print(describe(recorded))
print(describe_pair(recorded, labels, *PAIR))


# %% tags=["export"]
def sweep(grid: Grid, method: str, values: dict[str, float], moved: str) -> dict[str, Any]:
    """Retrieval over the values of one weight, the others as they are: see `draw_sweep`."""
    line = [values | {moved: value} for value in VALUES[method][moved]]
    spreads = {
        key: 100 * np.array([grid.spread(method, point, measure) for point in line])
        for key, measure in (("precision", "precision_at_2"), ("map", "map_standard"))
    }
    texts = [f"{value:g}" for value in VALUES[method][moved]]
    at = VALUES[method][moved].index(values[moved])
    return {"label": label(moved), "values": texts, "at": at, **spreads}


def view(
    row: dict[str, Any],
    grid: Grid,
    dataset: Dataset,
    moved: str,
    first: int = PAIR[0],
    second: int = PAIR[1],
) -> dict[str, Any]:
    """What `bdnn.course.plotting.draw_explorer` draws.

    Parameters
    ----------
    row : dict
        As from `observe`.
    grid : Grid
        For the retrieval over the values of one weight.
    dataset : bdnn.data.Dataset
    moved : str
        The weight whose values the second panel runs over.
    first, second : int
        Pictures of the gallery.

    Returns
    -------
    dict
    """

    def bits(distance):
        return "1 bit" if distance == 1 else f"{distance} bits"

    pictures, labels, shape = _gallery(dataset)
    codes, chosen = gallery_codes(row), [first, second]
    found = [gallery_neighbours(codes, i) for i in chosen]
    strips = [[i, *neighbours] for i, (neighbours, _) in zip(chosen, found)]
    images = pictures[np.array(strips)].reshape(2, -1, *shape)
    return {
        "step": step_name(row["method"]),
        "steps": row["steps"],
        "curves": row["curves"],
        "sweep": sweep(grid, row["method"], row["values"], moved),
        "now": (100 * row["precision_at_2"], 100 * row["map_standard"]),
        "share": np.asarray(row["share"]) / 1000,
        "correlation": correlation_matrix(row),
        "codes": codes[chosen],
        "images": images,
        "titles": [
            [f"picture {i}", *(bits(distances[j]) for j in neighbours)]
            for i, (neighbours, distances) in zip(chosen, found)
        ],
        "marks": [[None, *(labels[strip[1:]] == labels[strip[0]])] for strip in strips],
    }


# %%
fig = plt.figure(figsize=(10, 8.5))
draw_explorer(fig, view(recorded, grid, dataset, moved="lambda2"))
save_figure(fig, "14_explorer", png=True)

# %% [markdown]
# Above: the terms on a logarithmic scale; what the search gives at every value of $\lambda_2$, the present one shaded, a star for the training that is shown. In the middle the two wishes for the bits: every bar at one half, and a matrix without colour. Below two pictures with their codes and their nearest, a solid frame where the digit is the same.
#
# ## What each weight buys
#
# Now all sweeps at once. A mark is the mean of five seeds, its bar reaches from the worst to the best of them; the shaded value is the paper's.

# %%
fig, axes = plt.subplots(2, 4, figsize=(13, 6), sharey=True)
panels = [("UHBDNN", name) for name in VALUES["UHBDNN"]]
panels += [("DeepHashing", name) for name in VALUES["DeepHashing"] if name != "n_bits"]
for ax, (method, name) in zip(axes.flat, panels):
    draw_sweep(ax, sweep(grid, method, defaults(method), name))
    _ = ax.set(title=f"{TITLES[method]}: {label(name)}", xlabel="")
    ax.tick_params(axis="x", labelsize=8)
    ax.get_legend().remove()
handles, names = axes[0, 0].get_legend_handles_labels()
_ = fig.legend(handles, names, loc="outside upper center", ncols=2)
save_figure(fig, "14_sweeps")

# %% [markdown]
# To say the same in numbers: for each weight the best and the worst mean over its values, the span between them, and next to it the yardstick, the span of the five seeds at the paper's point.


# %%
def span(method, name, measure, values):
    means = [100 * grid.spread(method, defaults(method) | {name: v}, measure)[0] for v in values]
    return max(means) - min(means)


def yardstick(method, measure):
    _, low, high = grid.spread(method, defaults(method), measure)
    return 100 * (high - low)


# %%
print("span of the means, in points     all seven values        from 1/100 to 100 of the paper's")
for method, name in panels:
    own = defaults(method)[name]
    near = [v for v in VALUES[method][name] if own / 101 <= v <= 101 * own]
    line = f"{TITLES[method]:12}  {label(name):5}"
    for values in (VALUES[method][name], near) if name != "n_bits" else (near,):
        P, mAP = (span(method, name, m, values) for m in ("precision_at_2", "map_standard"))
        line += f"    P@r=2 {P:5.1f}, mAP {mAP:5.1f}"
    print(line)

# %%
for method in VALUES:
    P, mAP = (yardstick(method, m) for m in ("precision_at_2", "map_standard"))
    print(f"{TITLES[method]:12}  five seeds at the paper's point: P@r=2 {P:.1f}, mAP {mAP:.1f}")

# %% [markdown]
# Read the table with the yardstick in hand: two means of five seeds have to lie a point or so apart before the difference is worth a word.
#
# * **$\lambda_4$: nothing.** From 0 to a thousand times the paper's value neither measure moves by more than the seeds do, and ten thousand times more cost a point or two. The term may as well be left out.
# * **$\lambda_1$: a cliff.** From 0 to $10^{-4}$ next to nothing happens. At $10^{-3}$ the network can no longer follow the codes, and at $10^{-2}$ the weights are gone: every picture has the same code.
# * **$\lambda_2$ and $\lambda_3$: these two decide**, and they trade precision against mAP. More of $\lambda_3$, or less of $\lambda_2$, spreads the codes: balls of radius 2 get purer, and the far end of the ranking gets worse.
# * **The length decides most**, and differently for the two measures: at 32 bits half of the balls are empty, which counts as precision 0, while mAP goes on rising. Within a factor of ten of the paper's values no weight moves mAP as far as eight bits more do.
# * **$\alpha_2,\alpha_3$: nothing at the printed values.** A hundred times more or less changes no digit that is printed here. $\alpha_2$ has to be a million times larger before the orthogonality shows, and then it *helps*, by five points of precision; $\alpha_3$ has a cliff as $\lambda_1$ has, far away.
# * **$\alpha_1$: less is more.** With the variance term taken away altogether the codes are as good as with the printed 100; from 1,000 on the term drives all outputs into saturation, and the codes become worse.
#
# These are statements about 1,500 pictures of 8 × 8 pixels. What we claim we also assert:


# %%
def mean(method, measure="precision_at_2", **moved):
    return 100 * grid.spread(method, defaults(method) | moved, measure)[0]


# %%
noise = yardstick("UHBDNN", "precision_at_2")
assert span("UHBDNN", "lambda4", "precision_at_2", VALUES["UHBDNN"]["lambda4"]) < 1.5 * noise
assert span("UHBDNN", "lambda1", "precision_at_2", VALUES["UHBDNN"]["lambda1"][:5]) < 1.5 * noise
assert mean("UHBDNN", lambda1=1e-3) < mean("UHBDNN") - 20 and mean("UHBDNN", lambda1=1e-2) < 5
assert span("UHBDNN", "lambda2", "precision_at_2", VALUES["UHBDNN"]["lambda2"]) > 5 * noise
assert mean("UHBDNN", lambda3=0.1) > mean("UHBDNN", lambda3=0.0) + noise
assert mean("UHBDNN", "map_standard", lambda3=1.0) < mean("UHBDNN", "map_standard") - noise
assert abs(mean("DeepHashing", alpha1=0) - mean("DeepHashing")) < 1.5
assert mean("DeepHashing", alpha2=1e3) > mean("DeepHashing") + 4
print("all of it holds in the recorded grid")

# %% [markdown]
# ## Why $\lambda_4$ buys nothing
#
# Divide the two terms that only look at $H$ by their weights, so that the size of the term itself is seen, and put the bits beside it:

# %%
print("              term/weight  imbalance  dependence  P@r=2 %   mAP %")
for name, term in (("lambda3", "independence"), ("lambda4", "balance")):
    for value in VALUES["UHBDNN"][name][1:]:
        size = grid.find("UHBDNN", start | {name: value})["curves"][term][-1] / value
        columns = [grid.spread("UHBDNN", start | {name: value}, m)[0] for m in MEASURES]
        P, mAP, _, imbalance, dependence = columns
        print(f"{label(name)} = {value:<8g}", end=" ")
        print(f"{size:10.3g} {imbalance:10.3f} {dependence:11.3f} {100 * P:8.1f} {100 * mAP:7.1f}")

# %% [markdown]
# The independence term falls by four orders of magnitude, and the dependence of the *bits* by half: from $H$ to $\operatorname{sgn}(H)$ most of it is lost. The balance term falls as far, the imbalance of the bits hardly, and the search not at all. There was little to gain: with $\bar h=\tfrac1mH\mathbf 1$ and the covariance $C$ of the outputs
#
# $$ \tfrac1mHH^\top=C+\bar h\bar h^\top, \tag{3} $$
#
# so the independence term sees the mean, too, and pays for it; and $H$ follows codes $B$ that come from ITQ, which are nearly balanced from the start.
#
# ## $\lambda_2$ and $\lambda_3$ together
#
# Both terms pull at the same $H$, one towards the codes, the other away from each other. So we look at the plane, mean of five seeds:

# %%
lambda2s, lambda3s = (VALUES["UHBDNN"][name] for name in ("lambda2", "lambda3"))
fig, axes = plt.subplots(1, 2, figsize=(11, 4.4))
for ax, measure in zip(axes, ("precision_at_2", "map_standard")):
    plane = [[mean("UHBDNN", measure, lambda2=a, lambda3=b) for b in lambda3s] for a in lambda2s]
    draw_plane(ax, np.array(plane), lambda3s, lambda2s)
    _ = ax.set(xlabel="λ3", ylabel="λ2")
_ = axes[0].set(title="precision at radius 2 (%)")
_ = axes[1].set(title="mAP (%)")
save_figure(fig, "14_plane")

# %%
best = max((mean("UHBDNN", lambda2=a, lambda3=b), a, b) for a in lambda2s for b in lambda3s)
print(f"highest precision {best[0]:.1f} % at λ2 = {best[1]:g}, λ3 = {best[2]:g}")
print(f"the paper's point {mean('UHBDNN'):.1f} %, without the independence ", end="")
print(
    f"{mean('UHBDNN', lambda3=0.0):.1f} %, without the equality {mean('UHBDNN', lambda2=0.0):.1f} %"
)

# %% [markdown]
# * **One of the two has to be there.** In the corner at the lower left both are (nearly) 0, nothing but weight decay is left, and the search is as good as chance: 50 of 1,500 pictures are relevant.
# * **Without the equality term** (bottom row) independence alone learns something: $H$ becomes uncorrelated, as in principal components, and $B$ is never looked at. Even at its best five points of precision are missing, and fourteen of mAP.
# * **Without the independence term** (left column) nothing is missing in mAP, and two points in precision.
# * In between there is a ridge along $\lambda_3\approx2\lambda_2$: it is the ratio that counts, as the encoder sees nothing else (Exercise 14.1).
# * The paper's point lies within two or three points of the best. Nobody would gain much by tuning on these data.
#
# ## The explorer
#
# Now it is yours. The page below holds the whole grid, and needs neither kernel nor network; on the course's site it works as it does here. Drag a slider, or go there with the tabulator key and use the arrow keys. Where a combination is not in the grid, the other weights go back to the paper's.


# %% tags=["export"]
def explorer_page(
    grid: Grid, dataset: Dataset, name: str = "lambdas", pair: Sequence[int] = PAIR
) -> str:
    """The explorer of recorded trainings as a piece of a page: no kernel, no library, no network.

    Parameters
    ----------
    grid : Grid
    dataset : bdnn.data.Dataset
        The one that was trained on; its queries are the gallery.
    name : str
        Identifier of the element, unique on its page.
    pair : two int
        Pictures that are shown first.

    Returns
    -------
    str
        HTML with style, script and data in it.
    """
    pictures, labels, shape = _gallery(dataset)
    shades = np.rint(15 * pictures / pictures.max()).astype(np.uint8).ravel()
    content = {
        "seeds": len(grid.seeds),
        "pair": list(pair),
        "neighbours": N_NEIGHBOURS,
        "labels": labels.tolist(),
        "shape": shape,
        "pictures": base64.b64encode(shades[::2] | shades[1::2] << 4).decode(),
        "methods": [_page_method(grid, method) for method in VALUES],
    }
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")
    template = resources.files("bdnn.course").joinpath("explorer.html").read_text(encoding="utf-8")
    return template.replace("@NAME@", html.escape(name)).replace("@DATA@", text)


# %% tags=["export"]
def _page_method(grid, method):
    """Parameters and points of a method, as the page's script takes them."""
    values, start = VALUES[method], defaults(method)
    points = {}
    for point in grid_points(method):
        row = grid.find(method, point)
        at = ",".join(str(values[name].index(point[name])) for name in values)
        points[at] = {key: row[key] for key in ("steps", "curves", "share", "correlation", "codes")}
        points[at]["text"] = describe(row)
        for key, measure in (("precision", "precision_at_2"), ("map", "map_standard")):
            spread = grid.spread(method, point, measure)
            points[at][key] = [round(100 * value, 2) for value in spread]
    parameters = [
        {
            "label": label(name),
            "values": [f"{value:g}" for value in values[name]],
            "start": values[name].index(start[name]),
        }
        for name in values
    ]
    moved = list(values).index("lambda2" if method == "UHBDNN" else "alpha1")
    step = step_name(method)
    return {
        **{"title": TITLES[method], "step": step, "moved": moved},
        **{"parameters": parameters, "points": points},
    }


# %% tags=["nbval-ignore-output", "hide-input"]
HTML(explorer_page(grid, dataset))

# %% [markdown]
# On GitHub, which shows no scripts, this place is empty: the figures above show the same, and `figures/14_explorer.png` is the explorer at the paper's point.
#
# ## Trainings of your own
#
# The grid answers what we thought of asking. For everything else there is the training itself, which takes less than a second on these data, and less if it **goes on from the solution before**: `fit(X, start=earlier)` takes encoder and codes of an earlier solution (notebook 08), and three alternations in place of nine are then enough. What a reader needs beyond that is a training that does not block the page, says how far it is, and can be cancelled. So it runs in a thread; the optimiser calls us after every step, and what we raise there ends it.


# %% tags=["export"]
class Cancelled(Exception):
    """What a training that was told to stop ends with."""


class LiveTraining:
    """A training in a thread of its own, which can be watched and cancelled.

    Parameters
    ----------
    estimator : UHBDNN or DeepHashing
        Not fitted yet.
    X : array (n_samples, n_features)
    start : estimator, optional
        Fitted to the same samples: the training goes on from there.

    Attributes
    ----------
    progress : float
        Share of the most steps that is done.
    error : Exception or None
        What ended the training before its end; `Cancelled` after `cancel`.
    seconds : float
        How long it took.
    """

    def __init__(self, estimator: BaseHasher, X: Array, start: BaseHasher | None = None) -> None:
        self.estimator, self.progress, self.error, self.seconds = estimator, 0.0, None, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(X, start), daemon=True)
        self._thread.start()

    def _run(self, X, start):
        began = time.perf_counter()
        try:
            with threadpool_limits(1):  # the matrices are small; the other core is the page's
                self.estimator.fit(X, start=start, callback=self._watch)
        except Exception as error:
            self.error = error
        self.seconds = time.perf_counter() - began

    def _watch(self, share):
        self.progress = share
        if self._stop.is_set():
            raise Cancelled

    def cancel(self) -> None:
        """Ask the training to stop; it does after the step that it is in."""
        self._stop.set()

    @property
    def running(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it has ended, or so long."""
        self._thread.join(seconds)


# %%
live = LiveTraining(make_estimator("UHBDNN", start), dataset.train)
live.wait()
print(f"progress {live.progress:.0%}, error {live.error}")
print(f"same codes as above: {np.mean(live.estimator.codes_ == estimator.codes_) > 0.95}")

# %%
stopped = LiveTraining(make_estimator("UHBDNN", start, max_alternations=10_000), dataset.train)
stopped.cancel()
stopped.wait(10)
print(f"still running: {stopped.running}, ended by {type(stopped.error).__name__}")


# %% [markdown]
# A training that goes on ends in another place than one from scratch: codes that were good before are kept as long as coordinate descent finds nothing better (Exercise 14.5). The line under the sliders says which of the two you see.
#
# The widgets put it together: sliders, a picture, the line of text, a bar and a button to cancel. While a training runs, a coroutine looks at it thirty times a second, so that the page goes on answering; a new move cancels the training that is under way.


# %% tags=["export"]
class Explorer:
    """Sliders over recorded trainings, and over live ones.

    Show it by naming it at the end of a cell. With sliders in `recorded` mode the recorded training
    appears; in `live` mode one is started, which goes on from the solution before where the length
    of the codes is the same.

    Parameters
    ----------
    grid : Grid
    dataset : bdnn.data.Dataset
        The one that the grid was trained on.
    pair : two int
        Pictures of the gallery that are shown first.

    Attributes
    ----------
    row : dict
        What is shown, as from `observe`.
    training : LiveTraining or None
        The last one that was started.
    """

    def __init__(self, grid: Grid, dataset: Dataset, pair: Sequence[int] = PAIR) -> None:
        self.grid, self.dataset = grid, dataset
        self.training, self._solution, self._quiet, self._moved = None, None, False, "lambda2"
        self._make_controls(pair)
        self._make_box()
        self._watch_controls()
        self._show_recorded(self.values())

    def _make_controls(self, pair):
        """The sliders, buttons and places for text and picture."""
        style = {"description_width": "4.5rem"}
        options = {"continuous_update": False, "style": style}
        self.mode = widgets.ToggleButtons(options=["recorded", "live"], description="trainings")
        methods = [(title, method) for method, title in TITLES.items()]
        self.method = widgets.ToggleButtons(options=methods, description="method")
        self.sliders = {
            method: {
                name: widgets.SelectionSlider(
                    options=[(f"{value:g}", value) for value in values],
                    value=defaults(method)[name],
                    description=label(name),
                    **options,
                )
                for name, values in VALUES[method].items()
            }
            for method in VALUES
        }
        last = len(self.dataset.query) - 1
        self.pair = [
            widgets.IntSlider(value, 0, last, description=f"picture {k}", **options)
            for k, value in enumerate(pair, 1)
        ]
        self.reset = widgets.Button(description="reset", tooltip="the paper's values, from scratch")
        self.cancel = widgets.Button(description="cancel", disabled=True, tooltip="stop training")
        style = {"description_width": "6rem"}
        self.bar = widgets.FloatProgress(value=0, max=1, description="training", style=style)
        self.line, self.picture = widgets.HTML(), widgets.HTML()

    def _make_box(self):
        """Everything in its place; rows wrap where the page is narrow."""
        wrap = {"layout": widgets.Layout(flex_flow="row wrap")}
        self._values = widgets.Box(list(self.sliders[self.method.value].values()), **wrap)
        buttons = widgets.Box([self.reset, self.cancel, self.bar], **wrap)
        head = widgets.Box([self.mode, self.method], **wrap)
        parts = [head, self._values, widgets.Box(self.pair, **wrap), buttons]
        self.box = widgets.VBox([*parts, self.line, self.picture])

    def _watch_controls(self):
        """Say what each control does."""
        self.mode.observe(lambda _: self._start_over(), "value")
        self.method.observe(lambda _: self._change_method(), "value")
        for sliders in self.sliders.values():
            for name, slider in sliders.items():
                slider.observe(lambda _, name=name: self._move(name), "value")
        for slider in self.pair:
            slider.observe(lambda _: self.show(self.row), "value")
        self.reset.on_click(lambda _: self._reset())
        self.cancel.on_click(lambda _: self.training.cancel())

    def values(self) -> dict[str, float]:
        """Where the sliders stand: dict of name -> value."""
        return {name: s.value for name, s in self.sliders[self.method.value].items()}

    def _set(self, values):
        """Move the sliders without an answer to it."""
        self._quiet = True
        for name, value in values.items():
            self.sliders[self.method.value][name].value = value
        self._quiet = False

    def _change_method(self):
        self._values.children = list(self.sliders[self.method.value].values())
        self._moved = next(iter(VALUES[self.method.value]))
        self._reset()

    def _reset(self):
        """The paper's values: the recorded training, and in live mode one from scratch."""
        start = defaults(self.method.value)
        self._set(start)
        self._show_recorded(start, "Recorded.")
        self._start_over()

    def _start_over(self):
        """Show the recorded training, or train from scratch, where the sliders stand."""
        self._solution = None
        self._update()

    def _move(self, name):
        if not self._quiet:
            self._moved = name
            self._update()

    def _update(self):
        """Bring the picture to where the sliders stand."""
        method, values = self.method.value, self.values()
        if self.training:
            self.training.cancel()
        self.cancel.disabled = True
        if self.mode.value == "live":
            return self._train(method, values)
        point = self.grid.nearest(method, values, self._moved)
        note = "Recorded."
        if point != values:
            note += " The other values, not recorded with this one, went back to the paper's."
        self._set(point)
        self._show_recorded(point, note)

    def _train(self, method, values):
        """Start a training, and follow it while the page goes on answering."""
        start = self._solution
        if start is not None and start.n_bits != values["n_bits"]:
            start = None
        options = {} if start is None else SHORTER[method]
        estimator = make_estimator(method, values, **options)
        self.training = LiveTraining(estimator, self.dataset.train, start)
        self.cancel.disabled = False
        self.follower = asyncio.ensure_future(self._follow(self.training, values, start))

    async def _follow(self, training, values, start):
        """Show the progress of a training, then its result, unless a newer one was started."""
        while training.running:
            if training is self.training:
                self._report(training.progress)
            await asyncio.sleep(0.03)
        if training is not self.training or self.mode.value != "live":
            return None
        self.cancel.disabled = True
        self._report(training.progress)
        if training.error is not None:
            self._set(self.row["values"])
            why = "Cancelled" if isinstance(training.error, Cancelled) else repr(training.error)
            return self.show(self.row, f"{why}: the training before is shown.")
        self._solution = training.estimator
        row = observe(self.method.value, values, 0, training.estimator, self.dataset)
        origin = "from scratch" if start is None else "on from the solution before"
        self.show(row, f"Trained live in {training.seconds:.1f} s, {origin}.")

    def _report(self, share):
        """Say how far a training is, as a bar and in words."""
        self.bar.value, self.bar.description = share, f"{share:.0%} done"

    def _show_recorded(self, values, note=""):
        """Show the recorded training with these values."""
        self.show(self.grid.find(self.method.value, values), note)

    def show(self, row: dict[str, Any], note: str = "") -> None:
        """Show a row as picture and as text."""
        self.row = row
        first, second = (slider.value for slider in self.pair)
        pair = describe_pair(row, _gallery(self.dataset)[1], first, second)
        self.text = f"{note} {describe(row)} {pair}".strip()
        fig, file = Figure(figsize=(10, 8), dpi=90), BytesIO()
        draw_explorer(fig, view(row, self.grid, self.dataset, self._moved, first, second))
        FigureCanvasAgg(fig).print_png(file)  # half the time of savefig, which draws twice
        source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        text = html.escape(self.text)
        self.line.value = f'<p role="status" style="line-height: 1.4">{text}</p>'
        self.picture.value = f'<img style="max-width: 100%" alt="{text}" src="{source}">'

    def _repr_mimebundle_(self, **options):
        return self.box._repr_mimebundle_(**options) | {"text/plain": self.text}


# %% tags=["nbval-ignore-output"]
Explorer(grid, dataset)

# %% [markdown]
# With the kernel running you see the widgets here, elsewhere the line that they begin with. Its first training in `live` mode starts from scratch, at the values where the sliders stand, and gives the recorded numbers again.
#
# ## What we have now
#
# `bdnn.course.explorer` exports `VALUES`, `grid_points`, `make_estimator` and `observe`, which `python3 course.py grid` records with; `Grid`, `describe`, `describe_pair`, `sweep` and `view`, which read the record; `explorer_page` and `Explorer`, the two explorers; and `LiveTraining`.
#
# Which λ matter? $\lambda_2$ and $\lambda_3$, through their ratio, by a few points within a wide valley. $\lambda_1$ must only be small enough, $\lambda_4$ may be left out. Of Deep Hashing's weights $\alpha_1$ must only be small enough, and the two others do nothing at their printed values. The number of bits matters more than all of them.
#
# ## Exercises
#
# **14.1** (on paper, then in code) Multiply $\lambda_1,\dots,\lambda_4$ by the same $t>0$. Show that for given $B$ the best encoder stays the same. What does change? Check it with `max_alternations=0`.
#
# <details><summary>Hint</summary> Eq. (4) of notebook 08 is linear in the weights. Where else do λ1 and λ2 stand? </details>
#
# **14.2** Derive Eq. (3), and write the balance term as a multiple of $\|\bar h\|^2$. For which $m$ does $\lambda_4=10^{-6}$ weigh as much as $\lambda_2=0.05$?
#
# <details><summary>Hint</summary> $H\mathbf 1=m\bar h$. The equality term is a mean over the samples. </details>
#
# **14.3** $\lambda_3=0$ costs two points of precision, $\lambda_4=0$ nothing. Train with both at 0, three seeds. Does the balance term matter where the independence term is gone?
#
# <details><summary>Hint</summary> `make_estimator` and `observe` do all of it. </details>
#
# **14.4** Is there a point in the grid with a higher precision than the paper's, and a mAP that is no lower, beyond what the seeds can do?
#
# <details><summary>Hint</summary> Ask that the worst of five seeds at the point be better than the mean at the paper's. </details>
#
# **14.5** Train at $\lambda_2=50$, then go on at the paper's values. Compare objective, precision and codes with a training from scratch.
#
# <details><summary>Hint</summary> `make_estimator("UHBDNN", start).fit(X, start=earlier)`. </details>
#
# ## Further reading
#
# * Do, Doan, Cheung, *Learning to Hash with Binary Deep Neural Network*, ECCV 2016: Eq. (1) is the objective of its unsupervised method; the weights are given once, for all data sets.
# * Liong, Lu, Wang, Moulin, Zhou, *Deep Hashing for Compact Binary Codes Learning*, CVPR 2015: the objective of Eq. (2).
# * Okabe, Ito, *Color Universal Design*, 2008: the colours of these figures. Every line also has a mark and a dash of its own.
# * W3C, *Web Content Accessibility Guidelines 2.2*: what the page does about keys, focus, contrast and text.
