# Generated from notebooks/14_lambdas.py by `course.py export 14`: edit the notebook.
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
from numpy import ndarray as Array
from threadpoolctl import threadpool_limits

from bdnn import metrics
from bdnn.checks import check_option
from bdnn.course.plotting import draw_explorer
from bdnn.data import Dataset
from bdnn.deep_hashing import DeepHashing
from bdnn.files import StrPath
from bdnn.hashing import Hasher
from bdnn.metrics import pack_codes, unpack_codes
from bdnn.uh_bdnn import UHBDNN

__all__ = [
    "Cancelled",
    "Explorer",
    "Grid",
    "LiveTraining",
    "MEASURES",
    "MOST_STEPS",
    "N_NEIGHBOURS",
    "PAIR",
    "SHORTER",
    "TITLES",
    "TRAINING",
    "VALUES",
    "correlation_matrix",
    "defaults",
    "describe",
    "describe_pair",
    "explorer_page",
    "gallery_codes",
    "gallery_neighbours",
    "grid_points",
    "label",
    "make_estimator",
    "observe",
    "rounded",
    "step_name",
    "sweep",
    "view",
]

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

    def __init__(self, estimator: Hasher, X: Array, start: Hasher | None = None) -> None:
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
