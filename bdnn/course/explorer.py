"""What each weight of the objective buys: recorded trainings behind sliders.

`python3 course.py grid` records the trainings, :class:`Grid` reads them, and :func:`explorer_page`
shows them, with those that :func:`observe` has made since: a page that needs no kernel.
"""

import base64
import html
import json
import re
import warnings
from functools import cache
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any, Self, cast

import numpy as np

from bdnn import metrics
from bdnn.checks import check_option
from bdnn.course.compare import thinned
from bdnn.course.records import course_folder
from bdnn.data import Dataset, Labels
from bdnn.deep_hashing import DeepHashing
from bdnn.files import StrPath
from bdnn.hashing import NetworkHasher
from bdnn.itq import fixed_signs
from bdnn.metrics import pack_codes, unpack_codes
from bdnn.sh_bdnn import SHBDNN
from bdnn.uh_bdnn import UHBDNN, ridge_decoder

__all__ = [
    "MEASURES", "N_TRAIN", "PLANE", "TITLES", "TRAINING", "VALUES", "Grid", "defaults",
    "describe", "explorer_page", "gallery_codes", "grid_points", "label", "make_estimator",
    "observe", "picture_axes", "sweep",
]  # fmt: skip

Values = dict[str, float]
METHODS = {"UHBDNN": UHBDNN, "SHBDNN": SHBDNN, "DeepHashing": DeepHashing}
TITLES = {"UHBDNN": "UH-BDNN", "SHBDNN": "SH-BDNN", "DeepHashing": "Deep Hashing"}
VALUES: dict[str, dict[str, tuple]] = {
    "UHBDNN": {
        "lambda1": (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
        "lambda2": (0.0, 5e-3, 5e-2, 5e-1, 5.0, 50.0),
        "lambda3": (0.0, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
        "lambda4": (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
        "n_bits": (8, 16, 24, 32),
    },
    "SHBDNN": {
        "lambda1": (0.0, 1e-4, 1e-3, 1e-2, 1e-1),
        "lambda2": (0.0, 0.5, 5.0, 50.0, 500.0),
        "lambda3": (0.0, 0.1, 1.0, 10.0, 100.0),
        "lambda4": (0.0, 1e-4, 1e-3, 1e-2, 1e-1),
        "n_bits": (8, 16, 24, 32),
    },
    "DeepHashing": {
        "alpha1": (0, 10, 100, 1000, 10000, 100000),
        "alpha2": (0.0, 1e-3, 1e-1, 10.0, 1000.0),
        "alpha3": (0.0, 1e-3, 1e-1, 10.0, 1000.0),
        "n_bits": (8, 16, 24, 32),
    },
}
# Values of lambda2 and of lambda3 of UH-BDNN that are moved together.
PLANE = (0.0, 5e-3, 5e-2, 5e-1), (0.0, 1e-3, 1e-2, 1e-1)
# Short trainings; nothing is held out, and the state with the lowest objective is kept.
TRAINING: dict[str, dict[str, Any]] = {
    "UHBDNN": {"max_alternations": 3, "max_iter": 30, "n_validation": 0},
    "SHBDNN": {"max_alternations": 3, "max_iter": 30, "n_validation": 0},
    "DeepHashing": {"max_iter": 50},
}
N_TRAIN = 1000  # samples of a training; every seed draws its own
MEASURES = ("precision_at_2", "map_standard", "empty_share", "balance", "independence")
PERCENT = {"precision": "precision_at_2", "map": "map_standard"}  # as the page shows them
KEPT = ("steps", "curves", "share", "correlation", "codes", "decoder", "unit")  # of the first seed
MOST_STEPS = 21  # of a history that is kept
N_GALLERY = 200  # queries that the page shows
N_NEIGHBOURS = 8  # of a query
N_AXES = 40  # principal axes of the pictures in which decoders are kept


def make_estimator(method: str, values: Values, seed: int = 0, **options: Any) -> NetworkHasher:
    """The estimator of one training.

    Values that are not given are the defaults of the class; options stand before `TRAINING`.
    """
    check_option("method", method, tuple(VALUES))
    estimator = METHODS[method](random_state=seed)
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

    One value is moved at a time; lambda2 and lambda3 of UH-BDNN are moved together, too.
    """
    start, values = defaults(method), VALUES[method]
    points = [start]
    points += [start | {name: value} for name in values for value in values[name]]
    if method == "UHBDNN":
        points += [start | {"lambda2": a, "lambda3": b} for a in PLANE[0] for b in PLANE[1]]
    return [point for k, point in enumerate(points) if point not in points[:k]]


@cache
def picture_axes(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D, 1) of the training pictures and their leading principal axes (D, N_AXES)."""
    X = dataset.train.T.astype(float)
    return X.mean(axis=1, keepdims=True), fixed_signs(
        np.linalg.eigh(np.cov(X))[1][:, : -N_AXES - 1 : -1]
    )


def observe(
    method: str, values: Values, seed: int, dataset: Dataset, **options: Any
) -> dict[str, Any]:
    """Train on `N_TRAIN` samples that the seed draws, and keep all that the explorer shows.

    That is `method`, `values`, `seed`; the five `MEASURES`, fractions; `steps` and `curves`, the
    history of every term; `share`, of +1 in each bit, in thousandths; `correlation`, the upper
    triangle of (1/m) B B^T row by row, in hundredths; `codes` of the first `N_GALLERY` queries,
    packed and in base64; `decoder`, its bytes in base64, and `unit`: see `_decoder`. The queries
    of SH-BDNN are judged by their labels, others by the ground truth of the data set.
    """
    estimator = make_estimator(method, values, seed, **options)
    drawn = np.random.default_rng(seed).permutation(len(dataset.train))[:N_TRAIN]
    X, labels = dataset.train[drawn], cast(Labels, dataset.labels)
    supervised = method == "SHBDNN"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="the equality term")  # far off, it is meant to be
        warnings.filterwarnings("ignore", message=".*bits are the same for all training samples")
        estimator.fit(X, labels.train[drawn] if supervised else None)
    gallery, codes = (estimator.transform(X) for X in (dataset.query, dataset.database))
    relevant = (labels.query, labels.database) if supervised else dataset.relevant
    measures = metrics.evaluate(gallery, codes, relevant)
    history = thinned(estimator.history_, MOST_STEPS)
    other = ("round", "samples", "score", "flips", "n_iter", "seconds")
    B = codes.T.astype(float)
    R = (B @ B.T / B.shape[1])[np.triu_indices(len(B), 1)]
    decoder, unit = _decoder(estimator, X, dataset)
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
        "codes": _text(pack_codes(gallery[:N_GALLERY])),
        "decoder": _text(decoder),
        "unit": unit,
    }


def _text(array):
    """The bytes of an array in base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _in_bytes(A):
    """An array as whole numbers from -127 to 127, and the unit that they count."""
    unit = float(f"{np.abs(A).max() / 127:.4g}")
    return np.rint(A / unit).clip(-127, 127).astype(np.int8), unit


def _decoder(estimator, X, dataset):
    """The decoder on the principal axes of the pictures: (N_AXES, L + 1) bytes, biases last.

    That is the decoder of UH-BDNN; the other methods have none, and what is fitted to their codes
    in its place is the same ridge regression.
    """
    mean, axes = picture_axes(dataset)
    if isinstance(estimator, UHBDNN):
        W, c = estimator.decoder_W_, estimator.decoder_c_
    else:
        W, c = ridge_decoder(X.T, estimator.transform(X).T.astype(X.dtype), lambda1=1e-5)
    return _in_bytes(axes.T @ np.hstack([W, c - mean]))


class Grid:
    """Recorded trainings, found by their values.

    The rows are those of :func:`observe`; of seeds other than the first, `method`, `values`, `seed`
    and `MEASURES` are enough.
    """

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows, self.seeds = rows, list(dict.fromkeys(row["seed"] for row in rows))
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

    def rows_of(self, method: str) -> list[dict[str, Any]]:
        """The rows of a method with the first seed."""
        return [r for r in self.rows if r["method"] == method and r["seed"] == self.seeds[0]]

    def each(self, method: str, values: Values, measure: str) -> list[float]:
        """A measure for every seed, as far as it is recorded."""
        key = self._key(method, values)
        return [self._rows[key, s][measure] for s in self.seeds if (key, s) in self._rows]

    def spread(self, method: str, values: Values, measure: str) -> tuple[float, float, float]:
        """Mean, lowest and highest of a measure over the seeds; NaN if not recorded."""
        found = self.each(method, values, measure)
        return (fmean(found), min(found), max(found)) if found else (np.nan,) * 3

    @staticmethod
    def _key(method, values):
        return method, *(values[name] for name in VALUES[method])


def gallery_codes(row: dict[str, Any]) -> np.ndarray:
    """Codes of the queries of a row: array (n, L), entries -1 and +1."""
    L = row["values"]["n_bits"]
    packed = np.frombuffer(base64.b64decode(row["codes"]), dtype=np.uint8)
    return unpack_codes(packed.reshape(-1, -(-L // 8)), L)


def describe(row: dict[str, Any]) -> str:
    """One line with the numbers of a training."""
    values = ", ".join(f"{label(name)} = {value:g}" for name, value in row["values"].items())
    last = (f"{name.replace('_', ' ')} {curve[-1]:.4g}" for name, curve in row["curves"].items())
    return (
        f"{TITLES[row['method']]}, {values}: "
        f"precision at radius 2 {100 * row['precision_at_2']:.1f} %, "
        f"mAP {100 * row['map_standard']:.1f} %, empty balls {100 * row['empty_share']:.1f} %, "
        f"imbalance {row['balance']:.3f}, dependence {row['independence']:.3f}; {', '.join(last)}"
    )


def sweep(grid: Grid, method: str, values: Values, moved: str) -> dict[str, Any]:
    """Retrieval over the values of one weight, the others as they are: see `draw_sweep`."""
    line = [values | {moved: value} for value in VALUES[method][moved]]
    spreads = {
        key: 100 * np.array([grid.spread(method, point, measure) for point in line])
        for key, measure in PERCENT.items()
    }
    texts = [f"{value:g}" for value in VALUES[method][moved]]
    at = VALUES[method][moved].index(values[moved])
    return {"label": label(moved), "values": texts, "at": at, **spreads}


def explorer_page(
    grid: Grid, dataset: Dataset, name: str = "lambdas", opened: dict[str, Any] | None = None
) -> str:
    """The explorer as a piece of HTML: no kernel, no library, no network.

    Every row of the grid's first seed becomes a point, whether recorded or just made by `observe`;
    the paper's point of each method is among them. The queries of the dataset that was trained on
    are the pictures. `name` identifies the element, unique on its page; `opened` is the row that is
    shown first, by default a question on UH-BDNN.
    """
    n = min(N_GALLERY, len(dataset.query))
    pictures = np.rint(dataset.query[:n] * (15 / dataset.query.max())).astype(np.uint8).ravel()
    mean, axes = picture_axes(dataset)
    axes, unit = _in_bytes(axes)
    methods = [_page_method(grid, method) for method in VALUES if grid.rows_of(method)]
    content = {
        "seeds": len(grid.seeds),
        "neighbours": N_NEIGHBOURS,
        "labels": cast(Labels, dataset.labels).query[:n].tolist(),
        "width": dataset.image_shape[1],  # type: ignore[index]
        "pictures": _text(pictures[::2] | pictures[1::2] << 4),
        "mean": _text(np.rint(mean).astype(np.uint8)),
        "axes": _text(axes),
        "unit": unit,
        "methods": methods,
        "opened": _opened(methods, opened),
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
    start, points = defaults(method), {}
    rows = grid.rows_of(method)
    values = {name: sorted({row["values"][name] for row in rows}) for name in start}
    for row in rows:
        at = ",".join(str(values[name].index(row["values"][name])) for name in values)
        points[at] = {name: row[name] for name in KEPT}
        for key, measure in PERCENT.items():
            found = grid.each(method, row["values"], measure)
            points[at][key] = [round(100 * value, 2) for value in found]
    parameters = [
        {
            "label": label(name),
            "values": [f"{value:g}" for value in values[name]],
            "start": values[name].index(start[name]),
        }
        for name in values
    ]
    return {"name": method, "parameters": parameters, "points": points}


def _opened(methods, row):
    """The method and the point that are shown first; the point may be None: the paper's."""
    if row is None:
        return [0, None]
    k = [method["name"] for method in methods].index(row["method"])
    texts = (f"{value:g}" for value in row["values"].values())
    pairs = zip(methods[k]["parameters"], texts)
    return [k, [parameter["values"].index(text) for parameter, text in pairs]]
