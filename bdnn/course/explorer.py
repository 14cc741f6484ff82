"""What each weight of the objective buys: recorded trainings behind sliders.

`python3 course.py grid` records the trainings, and :class:`Grid` reads them. Two things show them:
:func:`explorer_page`, a page that needs no kernel, and :class:`Sliders`, a few widgets for a
notebook that runs, which need ipywidgets from the extra `course`.
"""

import base64
import html
import json
import re
import warnings
from importlib import resources
from io import BytesIO
from pathlib import Path
from statistics import fmean
from typing import Any, Self

import numpy as np
from matplotlib.figure import Figure

from bdnn import metrics
from bdnn.checks import check_option
from bdnn.course.compare import thinned
from bdnn.course.plotting import draw_sweep, draw_terms
from bdnn.course.records import course_folder
from bdnn.data import Dataset
from bdnn.deep_hashing import DeepHashing
from bdnn.files import StrPath
from bdnn.metrics import pack_codes, unpack_codes
from bdnn.uh_bdnn import UHBDNN

__all__ = [
    "MEASURES",
    "PLANE",
    "TITLES",
    "TRAINING",
    "VALUES",
    "Grid",
    "Sliders",
    "defaults",
    "describe",
    "explorer_page",
    "gallery_codes",
    "grid_points",
    "label",
    "make_estimator",
    "observe",
    "sweep",
]

Values = dict[str, float]
VALUES: dict[str, dict[str, tuple]] = {
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
STEPS = {"UHBDNN": "round", "DeepHashing": "iteration"}
MOVED = {"UHBDNN": "lambda2", "DeepHashing": "alpha1"}  # the weight that is shown first
# Values of lambda2 and of lambda3 that are moved together.
PLANE = (0.0, 5e-3, 5e-2, 5e-1, 5.0), (0.0, 1e-3, 1e-2, 1e-1, 1.0)
# From scratch; nothing is held out, and the state with the lowest objective is kept.
TRAINING: dict[str, dict[str, Any]] = {
    "UHBDNN": {"max_alternations": 4, "max_iter": 40, "n_validation": 0, "patience": 5},
    "DeepHashing": {},
}
MEASURES = ("precision_at_2", "map_standard", "empty_share", "balance", "independence")
MOST_STEPS = 21  # of a history that is kept
N_NEIGHBOURS = 8  # that the page shows
PAIR = 3, 7  # pictures that it shows first


def make_estimator(
    method: str, values: Values, seed: int = 0, **options: Any
) -> UHBDNN | DeepHashing:
    """The estimator of one training.

    Values that are not given are the defaults of the class; options stand before `TRAINING`.
    """
    check_option("method", method, tuple(VALUES))
    estimator = {"UHBDNN": UHBDNN, "DeepHashing": DeepHashing}[method](random_state=seed)
    return estimator.set_params(**TRAINING[method] | options | values)


def defaults(method: str) -> Values:
    """The paper's value of every weight, and 16 bits: dict of name -> value."""
    parameters = make_estimator(method, {}).get_params()
    return {name: parameters[name] for name in VALUES[method]}


def label(name: str) -> str:
    """How a weight is written: lambda1 is λ1."""
    return name.replace("lambda", "λ").replace("alpha", "α").replace("n_bits", "bits")


def grid_points(method: str) -> list[Values]:
    """The values of the recorded trainings, those of the paper first.

    One value is moved at a time; lambda2 and lambda3 are moved together, too.
    """
    start, values = defaults(method), VALUES[method]
    points = [start]
    points += [start | {name: value} for name in values for value in values[name]]
    if method == "UHBDNN":
        points += [start | {"lambda2": a, "lambda3": b} for a in PLANE[0] for b in PLANE[1]]
    return [point for k, point in enumerate(points) if point not in points[:k]]


def observe(
    method: str, values: Values, seed: int, dataset: Dataset, **options: Any
) -> dict[str, Any]:
    """Train, and keep all that the explorer shows, small enough to be recorded.

    Returns
    -------
    dict
        `method`, `values`, `seed`; the five `MEASURES`, fractions; `steps` and `curves`, the
        history of every term; `share`, of +1 in each bit, in thousandths; `correlation`, the upper
        triangle of (1/m) B B^T row by row, in hundredths; `codes` of the queries, packed and in
        base64.
    """
    estimator = make_estimator(method, values, seed, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the equality term")  # far off, it is meant to be
        estimator.fit(dataset.train)
    gallery, codes = (estimator.transform(X) for X in (dataset.query, dataset.database))
    measures = metrics.evaluate(gallery, codes, dataset.relevant)
    history = thinned(estimator.history_, MOST_STEPS)
    other = ("round", "samples", "score", "flips", "n_iter", "seconds")
    B = codes.T.astype(float)
    R = (B @ B.T / B.shape[1])[np.triu_indices(len(B), 1)]
    return {
        "method": method,
        "values": dict(values),
        "seed": seed,
        **{name: round(measures[name], 4) for name in MEASURES},
        "steps": [entry["round"] for entry in history],
        "curves": {
            name: [float(f"{entry[name]:.4g}") for entry in history]
            for name in history[0]
            if name not in other
        },
        "share": (1000 * (B > 0).mean(axis=1)).round().astype(int).tolist(),
        "correlation": (100 * R).round().astype(int).tolist(),
        "codes": base64.b64encode(pack_codes(gallery).tobytes()).decode(),
    }


class Grid:
    """Recorded trainings, found by their values.

    The rows are those of :func:`observe`; of seeds other than the first, `method`, `values`, `seed`
    and `MEASURES` are enough.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.seeds = list(dict.fromkeys(row["seed"] for row in rows))
        self._rows = {(self._key(row["method"], row["values"]), row["seed"]): row for row in rows}

    @classmethod
    def read(cls, path: StrPath | None = None) -> Self:
        """The grid in a file that `python3 course.py grid` wrote, the course's if none is named."""
        path = course_folder() / "lambdas.json" if path is None else Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no {path}: make it with `python3 course.py grid`")
        try:
            return cls(json.loads(path.read_text(encoding="utf-8"))["rows"])
        except (ValueError, KeyError, TypeError) as error:
            mend = "remove it and make it anew with `python3 course.py grid`"
            raise ValueError(f"{path} is damaged ({error!r}): {mend}") from error

    def find(self, method: str, values: Values) -> dict[str, Any] | None:
        """The row of the first seed with these values; None if they were not recorded."""
        return self._rows.get((self._key(method, values), self.seeds[0]))

    def each(self, method: str, values: Values, measure: str) -> list[float]:
        """A measure for every seed, as far as it is recorded."""
        key = self._key(method, values)
        return [self._rows[key, s][measure] for s in self.seeds if (key, s) in self._rows]

    def spread(self, method: str, values: Values, measure: str) -> tuple[float, float, float]:
        """Mean, lowest and highest of a measure over the seeds; NaN if not recorded."""
        found = self.each(method, values, measure)
        return (fmean(found), min(found), max(found)) if found else (np.nan,) * 3

    def nearest(self, method: str, values: Values, moved: str) -> Values:
        """These values if they were recorded; else the defaults, with the moved one as it is."""
        recorded = self.find(method, values)
        return dict(values) if recorded else defaults(method) | {moved: values[moved]}

    @staticmethod
    def _key(method, values):
        return method, *(values[name] for name in VALUES[method])


def gallery_codes(row: dict[str, Any]) -> np.ndarray:
    """Codes of the queries of a row: array (n, L), entries -1 and +1."""
    L = row["values"]["n_bits"]
    packed = np.frombuffer(base64.b64decode(row["codes"]), dtype=np.uint8)
    return unpack_codes(packed.reshape(-1, -(-L // 8)), L)


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
        f"Objective {objective:.4g} after {row['steps'][-1]} {STEPS[row['method']]}s: {parts}. "
        f"Share of +1 from {share.min():.1f} to {share.max():.1f} %, "
        f"largest correlation of two bits {worst:.2f}."
    )


def sweep(grid: Grid, method: str, values: Values, moved: str) -> dict[str, Any]:
    """Retrieval over the values of one weight, the others as they are: see `draw_sweep`."""
    line = [values | {moved: value} for value in VALUES[method][moved]]
    spreads = {
        key: 100 * np.array([grid.spread(method, point, measure) for point in line])
        for key, measure in (("precision", "precision_at_2"), ("map", "map_standard"))
    }
    texts = [f"{value:g}" for value in VALUES[method][moved]]
    at = VALUES[method][moved].index(values[moved])
    return {"label": label(moved), "values": texts, "at": at, **spreads}


def explorer_page(grid: Grid, dataset: Dataset, name: str = "lambdas") -> str:
    """The explorer as a piece of HTML: no kernel, no library, no network.

    The queries of the data set that was trained on are its pictures; `name` identifies the element,
    and is unique on its page.
    """
    shades = np.rint(15 * dataset.query / dataset.query.max()).astype(np.uint8).ravel()
    content = {
        "seeds": len(grid.seeds),
        "pair": PAIR,
        "neighbours": N_NEIGHBOURS,
        "labels": dataset.labels.query.tolist(),  # type: ignore[union-attr]
        "shape": dataset.image_shape,
        "pictures": base64.b64encode(shades[::2] | shades[1::2] << 4).decode(),
        "methods": [_page_method(grid, method) for method in VALUES],
    }
    text = json.dumps(_escaped(content), separators=(",", ":"), ensure_ascii=False)
    template = resources.files("bdnn.course").joinpath("explorer.html").read_text(encoding="utf-8")
    return template.replace("@NAME@", re.sub(r"\W", "-", name)).replace("@DATA@", text)


def _escaped(value):
    """The same with all strings as text of a page, which can neither hold nor end an element."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return html.escape(value) if isinstance(value, str) else value


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
            points[at][key] = [round(100 * v, 2) for v in grid.spread(method, point, measure)]
    parameters = [
        {
            "label": label(name),
            "values": [f"{value:g}" for value in values[name]],
            "start": values[name].index(start[name]),
        }
        for name in values
    ]
    moved = list(values).index(MOVED[method])
    head = {"title": TITLES[method], "step": STEPS[method], "moved": moved}
    return head | {"parameters": parameters, "points": points}


class Sliders:
    """The recorded trainings behind widgets; name it at the end of a cell.

    `sliders` are those of ipywidgets by name, `row` is what is shown, and `text` says it in words.
    """

    def __init__(self, grid: Grid, method: str = "UHBDNN") -> None:
        import ipywidgets as widgets

        self.grid, self.method, self._quiet = grid, method, False
        self.sliders = {
            name: widgets.SelectionSlider(
                options=[(f"{value:g}", value) for value in values],
                value=defaults(method)[name],
                description=label(name),
                continuous_update=False,
            )
            for name, values in VALUES[method].items()
        }
        self.line, self.picture = widgets.HTML(), widgets.HTML()
        wrap = widgets.Layout(flex_flow="row wrap")
        box = widgets.Box(list(self.sliders.values()), layout=wrap)
        self.box = widgets.VBox([box, self.line, self.picture])
        for name, slider in self.sliders.items():
            slider.observe(lambda _, name=name: self._quiet or self._move(name), "value")
        self._show(defaults(method), MOVED[method])

    def _move(self, name):
        """Show the recorded training where the sliders stand, or the nearest to it."""
        values = {other: slider.value for other, slider in self.sliders.items()}
        point = self.grid.nearest(self.method, values, name)
        self._quiet = True
        for other, value in point.items():
            self.sliders[other].value = value
        self._quiet = False
        self._show(point, name)

    def _show(self, point, moved):
        self.row = self.grid.find(self.method, point)
        self.text = describe(self.row)
        fig, file = Figure(figsize=(10, 3.4), layout="constrained"), BytesIO()
        left, right = fig.subplots(1, 2)
        draw_sweep(left, sweep(self.grid, self.method, point, moved))
        draw_terms(right, self.row["steps"], self.row["curves"], STEPS[self.method])
        fig.savefig(file, format="png", dpi=90)
        picture = base64.b64encode(file.getvalue()).decode()
        text = html.escape(self.text)
        self.line.value = f'<p role="status">{text}</p>'
        self.picture.value = f'<img alt="{text}" src="data:image/png;base64,{picture}">'

    def _repr_mimebundle_(self, **options):
        return self.box._repr_mimebundle_(**options) | {"text/plain": self.text}
