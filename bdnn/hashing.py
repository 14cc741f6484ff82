"""The scikit-learn face of every method, and the loop that trains every network.

Samples stand in rows at this boundary, as scikit-learn has it, and in columns behind it.
:class:`Hasher` makes an estimator of a method that learns (``_fit``) real values whose signs are
the bits (``_project``). :class:`NetworkHasher` does so for a method that learns round by round: it
scores every state of a training, keeps the best one, writes history and checkpoint, and survives
Ctrl-C.
"""

import copy
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import ClassifierTags
from sklearn.utils._param_validation import (
    Interval,
    Options,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from bdnn import checks
from bdnn.checks import Seed, as_generator
from bdnn.files import SPENT, Checkpoint, StrPath, learned, release, save
from bdnn.metrics import pack_codes, precision_at_radius, sgn

__all__ = ["Hasher", "NetworkHasher", "Seed", "StoppedEarly", "as_generator", "whole_training"]

Array = np.ndarray
BLOCK = 1024  # samples encoded at once: what is computed for them stays in the cache


def at_least(lowest: float, kind: type = Real) -> list[Interval]:
    """The constraint of a parameter that is a finite number, or a whole one, from `lowest` on."""
    return [Interval(kind, lowest, np.inf if kind is Real else None, closed="left")]


# What the parameters may be that several estimators share; a class adds those of its own.
CONSTRAINTS: dict[str, list] = {
    "n_bits": at_least(1, Integral),
    **{name: at_least(0) for name in ("lambda1", "lambda2", "lambda3", "lambda4")},
    "hidden": [list, tuple, None],
    "max_alternations": at_least(0, Integral),
    "max_iter": at_least(1, Integral),
    "n_validation": at_least(0, Integral),
    "n_neighbors": at_least(1, Integral),
    "patience": at_least(1, Integral),
    "dtype": [
        StrOptions({"float32", "float64"}),
        Options(type, {np.float32, np.float64}),
        Options(np.dtype, {np.dtype("float32"), np.dtype("float64")}),
    ],
    "random_state": [*at_least(0, Integral), *SPENT, None],
    "verbose": ["boolean"],
}


SCALING = ("ITQ", "ITQCCA", "UHBDNN", "SHBDNN", "DeepHashing")  # what `engine.spread` can train


class StoppedEarly(UserWarning):
    """A training was interrupted, and the estimator keeps what it had learned by then."""


@contextmanager
def whole_training() -> Iterator[None]:
    """Within it a training that is interrupted ends in KeyboardInterrupt: for recorded runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", StoppedEarly)
        try:
            yield
        except StoppedEarly:
            raise KeyboardInterrupt from None


def is_dask(X: object) -> bool:
    """True for what Dask holds."""
    return type(X).__module__.partition(".")[0] == "dask"


def is_mapped(X: Any) -> bool:
    """True for a matrix of real numbers in a file; a copy of it in memory has no map."""
    mapped = isinstance(X, np.memmap) and getattr(X, "_mmap", None) is not None
    return mapped and X.ndim == 2 and X.size > 0 and X.dtype.kind in "fiub"


def stand_in(X: Any, dtype: Any) -> Array:
    """A matrix of zeros in the shape of X that takes no memory: scikit-learn checks the shape."""
    return np.broadcast_to(np.zeros((), dtype), X.shape)


class Hasher(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base class of the estimators.

    A subclass implements ``_fit(X, y)``, which learns from X (n_features, n_samples), samples in
    columns, and may set `codes_`, last of all, if these are not the signs of what it projects; and
    ``_project(X)``, which gives the real values (n_bits, n_samples) whose signs are the bits. What
    it learns are attributes that end in an underscore: arrays, numbers, strings, or lists, tuples
    and dicts of these; they are what :meth:`save` keeps. A method that trains for long tells
    ``_so_far`` after every round what is to be kept if it is interrupted.
    """

    _requires_labels = False
    _several_labels = False  # whether a sample may have more than one
    _parameter_constraints: dict[str, list] = {}
    _found: dict[str, Any] | None = None  # by a training that is under way

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Learn the hash function.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Finite real vectors, one sample per row.
        y : array-like (n_samples,) or (n_samples, n_labels), optional
            Class labels, or a 0/1 matrix: one-hot, or, for the methods whose tag `multi_label`
            says so, with several labels of a sample. Only the supervised methods look at them.

        Raises
        ------
        ValueError
            For NaN or infinity, values so large or small that their squares leave the range of
            `dtype`, fewer samples than bits, or a parameter out of its range; for a supervised
            method also for missing labels, labels that are not classes, or one class.
        TypeError
            For sparse matrices, masked arrays, dates, and what is no array of numbers at all.
        """
        return self._learn(X, y)

    def _learn(self, X, y, **options):
        """Check, fit, and keep the codes; if nothing was learned, be as before."""
        learner = copy.copy(self)  # learns in the place of self, which changes all at once
        for name in learned(self):
            delattr(learner, name)
        try:
            learner._check_parameters()
            if is_dask(X) or (learner._by_sums and is_mapped(X)):
                from bdnn.engine import spread  # what is not in memory: notebook 16

                spread.fit(learner, X, y, **options)
            else:
                learner._fit_in_memory(X, y, **options)
        finally:
            if hasattr(learner, "codes_"):  # all is there, even if something was raised since
                self.__dict__ = vars(learner)
        for remark in self._remarks():
            warnings.warn(remark, stacklevel=3)
        return self

    def _fit_in_memory(self, X, y, **options):
        """Check and fit; if that is interrupted, keep what `_so_far` was told last, or raise."""
        X, y = self._check_input(X, y)
        try:
            self._fit(X, y, **options)
        except KeyboardInterrupt:
            if self._found is None:
                raise
            told = "interrupted: what was learned by then is kept"
            warnings.warn(told, StoppedEarly, stacklevel=4)
            vars(self).update(self._found)
        finally:
            vars(self).pop("_found", None)
        if not hasattr(self, "codes_"):
            self.codes_ = self._in_blocks(X.T, sgn, np.int8)

    def _so_far(self, **more):
        """Note all that a long training has learned by now, and what is given by its name."""
        self._found = {name: copy.copy(value) for name, value in learned(self).items()} | more

    @property
    def _by_sums(self):
        """Whether it is trained on what is not in memory; a file is read whole without Dask."""
        return type(self).__name__ in SCALING and find_spec("dask") is not None

    def _check_parameters(self):
        """Raise a ValueError that names the first parameter out of its range."""
        values, name = self.get_params(deep=False), type(self).__name__
        known = CONSTRAINTS | self._parameter_constraints
        table = {key: known.get(key, [object]) for key in values}
        for key, value in values.items():
            if isinstance(value, (bool, np.bool_)) and "boolean" not in table[key]:
                raise ValueError(f"{key!r} of {name} must not be a truth value, got {value!r}")
        validate_parameter_constraints(table, values, caller_name=name)
        for units in values.get("hidden") or ():
            checks.check_whole_number("every entry of hidden", units, 1)

    def _check_input(self, X, y):
        """Training samples in columns, and their labels if the method needs them."""
        checks.check_kind(X)
        options = {"dtype": self.dtype, "ensure_min_samples": 2, "order": "C"}
        if self._requires_labels:
            checks.check_missing(y)
            y = checks.as_classes(y, type(self).__name__, self._several_labels)
            matrix = isinstance(y, np.ndarray) and y.ndim == 2 and y.shape[1] > 1
            X, y = validate_data(self, X, y, multi_output=matrix, **options)
            checks.check_classes(y)
        else:
            X, y = validate_data(self, X, **options), None
        checks.check_range(X)
        self._check_n_bits(len(X))
        return X.T, y

    def _check_n_bits(self, m):
        if self.n_bits > m:
            raise ValueError(
                f"n_bits={self.n_bits} is more than n_samples = {m} allow: fewer samples than "
                "bits cannot make the bits independent. Use fewer bits or more samples"
            )

    def _remarks(self):
        """What a user should know of a training that succeeded."""
        codes = self.codes_
        if is_dask(codes):
            return
        dead = np.flatnonzero((codes == codes[:1]).all(axis=0))
        if len(dead):
            yield (
                f"{len(dead)} of {codes.shape[1]} bits are the same for all training samples and "
                "tell nothing, as where there are more bits than dimensions: use fewer bits"
            )

    def decision_function(self, X: Any) -> Array:
        """Real values (n_samples, n_bits) whose signs are the bits."""
        return self._encode(X, np.asarray, self.dtype)

    def transform(self, X: Any) -> Array:
        """Codes (n_samples, n_bits), int8, entries -1 and +1; sgn(0) = +1."""
        return self._encode(X, sgn, np.int8)

    def encode(self, X: Any) -> Array:
        """Packed codes (n_samples, ceil(n_bits / 8)), uint8; see `metrics.pack_codes`."""
        return self._encode(X, packed, np.uint8)

    def _encode(self, X, encode, dtype):
        """What `encode` makes of the outputs for the samples of X."""
        check_is_fitted(self)
        checks.check_kind(X)
        if is_dask(X):
            from bdnn.engine import spread

            return spread.encode(self, X, encode, dtype)
        mapped, options = is_mapped(X), {"dtype": self.dtype, "reset": False}
        given = stand_in(X, self.dtype) if mapped else X
        checked = validate_data(self, given, ensure_all_finite=False, **options)
        return self._in_blocks(X if mapped else checked, encode, dtype)

    def _in_blocks(self, rows, encode, dtype):
        """The same for rows, block by block, so that what is computed stays in the cache."""
        parts = []
        for start in range(0, max(1, len(rows)), BLOCK):
            with np.errstate(over="ignore", invalid="ignore"):
                block = np.asarray(rows[start : start + BLOCK], dtype=self.dtype)
                H = self._project(block.T).T if np.isfinite(block).all() else block
            finite = np.isfinite(H).all(axis=1)
            if not finite.all():
                raise ValueError(
                    f"row {start + finite.argmin()} of X holds NaN, infinity or a value too large "
                    f"for the arithmetic of {block.dtype}"
                )
            parts.append(encode(H).astype(dtype, copy=False))
            release(rows)
        return np.concatenate(parts)

    @property
    def _n_features_out(self):
        return self.codes_.shape[1]  # n_bits may have been set anew since

    def save(self, path: StrPath) -> None:
        """Write the fitted estimator to ``path``: an .npz archive without pickle.

        The file is written under a temporary name and renamed, so a full disk or an interruption
        never leaves half a file at ``path``. A `random_state` that is a Generator or a RandomState
        is left out. A TypeError for a class that bdnn does not have, and for attributes of types
        other than arrays, numbers, strings, and lists, tuples and dicts of these.
        """
        check_is_fitted(self)
        save(self, path)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = self._requires_labels
        if self._requires_labels:  # no classifier, but scikit-learn has no other place to say it
            tags.classifier_tags = ClassifierTags(multi_label=self._several_labels)
        tags.transformer_tags.preserves_dtype = []
        return tags


def packed(H: Array) -> Array:
    """The signs of outputs H (n, L), a bit each."""
    return pack_codes(H >= 0)


class NetworkHasher(Hasher):
    """A hasher that learns round by round.

    A subclass implements

    ``_prepare(X)``
        Learn the scaling of the input; return what the network sees, (r, m).
    ``_states(X, y, rng, t, state)``
        A generator of the states of a training: NamedTuples of the parameters theta (p,) first,
        the outputs H (L, n) of the code layer for the first n of the samples X, and the codes
        B (L, n) last. It goes on from the state that t rounds have left, if there is one.
    ``_terms(X, y, state)``
        Every term of the objective times its weight, by name.
    ``_sizes(D)``, ``_n_rounds()``
        Units of the layers, D inputs first; the most rounds of a training.
    ``_outputs(theta, X)``
        Outputs of the code layer for what `_prepare` returns.
    ``_network(state)``
        What is learned, by the names of the attributes, for inputs that are not scaled.
    ``_begin(start, X, train)``
        Rounds made and state where training goes on from another estimator of the class.
    """

    @property
    def n_iter_(self) -> int:
        """Rounds made."""
        return len(self.history_)

    def fit(
        self,
        X: Any,
        y: ArrayLike | None = None,
        *,
        start: "NetworkHasher | None" = None,
        callback: Callable[[float], object] | None = None,
        checkpoint: StrPath | None = None,
    ) -> Self:
        """Learn the hash function, round by round; the best state is kept.

        Parameters
        ----------
        X, y
            As for :meth:`Hasher.fit`. A memory-mapped array stays in its file, and a Dask array
            where it is: notebook 16.
        start : estimator of the same class, optional
            Fitted to the same samples, with as many bits and units: training goes on from it.
        callback : callable, optional
            Called after every round with the share of the most rounds that is done. What it raises
            ends the training; the best state until then is kept.
        checkpoint : path, optional
            The state is kept there, and if the file is there, training goes on from it to the same
            codes. It needs a whole number as `random_state`.

        Raises
        ------
        ValueError, TypeError
            As :meth:`Hasher.fit`; and for a `start` or a `checkpoint` that does not fit.
        """
        return self._learn(X, y, start=start, callback=callback, checkpoint=checkpoint)

    def _fit(self, X, y, start=None, callback=None, checkpoint=None):
        if self._requires_labels:
            self.classes_, y = checks.numbered(y)
        file = Checkpoint(checkpoint, self, X, y, start)
        rng = as_generator(self.random_state)
        Z = self._prepare(X)  # (r, m), what the network sees
        held, train = self._held_out(Z.shape[1], rng)
        y_held, y = (None, None) if y is None else (y[held], y[train])
        Z_held, Z = Z[:, held], Z[:, train]
        run = file.read() or new_run()
        if start is not None and run["state"] is None:
            self._check_start(start, *X.shape)
            run["t"], run["state"] = self._begin(start, Z, train)

        def all_codes(encoder, best):  # (m, L), those of the training's samples as it found them
            codes = encoder._in_blocks(X.T, sgn, np.int8)
            if best["samples"] == len(train):
                codes[train] = best["B"].T
            return codes

        states = self._states(Z, y, rng, run["t"], run["state"])
        describe = self._describer(Z, y, Z_held, y_held)
        self._train(states, describe, all_codes, len(train), run, callback, file)

    def _held_out(self, m, rng):
        """Numbers of the samples held out, and of the others, in random order."""
        order, n_held = rng.permutation(m), min(getattr(self, "n_validation", 0), m // 8)
        return order[:n_held], order[n_held:]

    def _check_start(self, start, D, m):
        """Raise a TypeError or ValueError unless training can go on from `start`."""
        if type(start) is not type(self):
            raise TypeError(f"start must be a {type(self).__name__}, got a {type(start).__name__}")
        check_is_fitted(start)
        if len(start.codes_) != m:
            raise ValueError(f"start was fitted to {len(start.codes_)} samples, and X has {m}")
        theirs, ours = (start.n_features_in_, *map(len, start.Ws_)), self._sizes(D)
        if theirs != ours:
            raise ValueError(
                f"start has layers of {theirs} units, this training {ours}: only an estimator with "
                "as many features, bits and units is a start"
            )

    def _describer(self, Z, y, Z_held, y_held):
        """A function that says of a state what `history_` tells of it."""

        @lru_cache(maxsize=1)
        def relevant(n):  # what the samples held out should find among the first n of the others
            if self._requires_labels:
                return y_held, y[:n]
            from bdnn.data import nearest_neighbours  # which takes long to import

            with warnings.catch_warnings(action="ignore"):  # a score for itself may have ties
                return nearest_neighbours(Z_held.T, Z[:, :n].T, min(self.n_neighbors, n))

        def describe(state):
            n = state.B.shape[1]
            terms = self._terms(Z[:, :n], None if y is None else y[:n], state)
            score = -sum(terms.values())
            if Z_held.size:
                codes = sgn(self._outputs(state.theta, Z_held)).T
                score = precision_at_radius(codes, sgn(state.H).T, relevant(n))
            return {"samples": n, "objective": sum(terms.values()), **terms, "score": score}

        return describe

    def _train(self, states, describe, all_codes, n_train, run, callback, file):
        """Follow the states of a training, and keep the best of them, however it ends."""
        try:
            if not run["ended"]:
                self._follow(states, describe, n_train, run, callback, file)
            self._keep(run, all_codes)
        except BaseException as error:
            if run["best"] is None:
                raise
            self._keep(run, all_codes)
            if not isinstance(error, KeyboardInterrupt):
                raise
            told = f"interrupted after {len(run['history'])} rounds: the best of them is kept"
            warnings.warn(told, StoppedEarly, stacklevel=6)

    def _follow(self, states, describe, n_train, run, callback, file):
        """Consume the states of a training; at any moment `run` holds what was found so far."""
        patience, total = getattr(self, "patience", np.inf), self._n_rounds()
        with tqdm(total=total, initial=run["t"], disable=not self.verbose, leave=False) as bar:
            bar.set_description(f"{type(self).__name__}, {self.n_bits} bits")
            started = time.perf_counter()
            for state in states:
                t, old, best = run["t"], run["state"], run["best"]
                entry = {"round": t, **describe(state)}
                if old is not None and old[-1].shape == state.B.shape:
                    entry["flips"] = float(np.mean(old[-1] != state.B))
                entry["seconds"] = time.perf_counter() - started
                more = best is None or entry["samples"] > best["samples"]
                if more or entry["score"] > best["score"]:  # scores of few samples are another's
                    best = entry | {"learned": self._network(state), "B": state.B}
                history = [*run["history"], entry]
                ended = t - best["round"] >= patience and entry["samples"] == n_train
                found = {"t": t + 1, "state": state, "best": best, "history": history}
                run.update(found, ended=ended)  # at once
                file.write(run)
                bar.update()
                figures = {name: f"{entry[name]:.4g}" for name in ("objective", "score")}
                bar.set_postfix(figures)
                if callback is not None:
                    callback(min(1.0, (t + 1) / total))
                if ended:
                    break
                started = time.perf_counter()
        if run["best"] is None:
            raise ValueError("the objective is not finite at the start: scale X, or other weights")
        run["ended"] = True
        file.write(run, now=True)

    def _keep(self, run, all_codes):
        """Keep what the best state of a run has learned, and the codes of all samples."""
        best, encoder = run["best"], copy.copy(self)
        vars(encoder).update(best["learned"])
        codes = all_codes(encoder, best)
        found = {"codes_": codes, "history_": run["history"], "best_": best["round"]}
        vars(self).update(best["learned"] | found)  # at once: nobody finds half of it

    def _remarks(self):
        yield from super()._remarks()
        best = next(entry for entry in self.history_ if entry["round"] == self.best_)
        if best.get("equality", 0) > best.get("reconstruction", np.inf) / 10:
            yield (
                f"the equality term is {best['equality']:.3g} beside a reconstruction of "
                f"{best['reconstruction']:.3g}: the network does not follow the codes. Try more "
                "iterations in a round (max_iter), or lighter weights (lambda1 to lambda4)"
            )


def new_run() -> dict[str, Any]:
    """What a training has found before its first round."""
    return {"t": 0, "state": None, "best": None, "history": [], "ended": False}
