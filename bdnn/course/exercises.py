"""`check(function)`: compare what a student has written with the course, and name the usual slips.

The function is called on random arguments, and its answers are compared part by part (value,
gradient) with those of the library. Where a part is wrong, the table of `bdnn.course.slips` is
searched for an expression that gives just these answers in every case; its hint is the verdict.
A slip is thus recognised by its result, however it was written.
"""

import copy
import inspect
import re
import reprlib
import traceback
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bdnn.course import slips
from bdnn.course.slips import EXERCISES, LARGE

__all__ = ["Report", "check"]

CASES = 6  # random cases on which an answer is compared
UNKNOWN = "not right"
MENDING = (  # what to say of an exception of this type, where its message has one of these words
    (ZeroDivisionError, "", "What is 0 here? Ranks, for one, count from 1, and indices from 0."),
    (
        ValueError,
        "shape|dimension|broadcast",
        "Write the shapes below this line: is a transpose missing, or out of place?",
    ),
    (
        ValueError,
        "unpack",
        "What is taken apart there is not what is expected: do the arguments of each call stand in"
        " their places? `partial` fills them from the left, so give it their names.",
    ),
)


@dataclass(frozen=True, repr=False)
class Report:
    """What came out; true if all is right."""

    passed: bool
    text: str

    def __bool__(self):
        return self.passed

    def __repr__(self):
        return self.text


def check(function: Callable) -> Report:
    """Compare a function with the exercise of its name; the report says what is right and wrong."""
    name = getattr(function, "__name__", "")
    if name not in EXERCISES:
        return Report(False, f"check knows no exercise {name!r}, but: {', '.join(EXERCISES)}")
    if not own(function):
        return Report(False, f"{name}: this is the library's function; write your own")
    exercise = EXERCISES[name]
    needed = called(function, exercise.needs)
    if needed and not check(needed):
        text = f"calls your {exercise.needs}, which is not right yet: check({exercise.needs}) first"
        return Report(False, f"{name}: {text}")
    made = [exercise.cases(np.random.default_rng(seed)) for seed in range(CASES)]
    found = []
    for arguments in made:
        given = copy.deepcopy(arguments)
        try:
            found.append(function(*given))
        except NotImplementedError:
            found.append(None)
        except Exception as error:
            return Report(False, f"{name}: {stopped(error, function, arguments)}")
        pairs = zip(inspect.signature(exercise.right).parameters, given, arguments)
        changed = [a for a, new, old in pairs if not callable(old) and not same(new, old)]
        if changed:
            return Report(False, f"{name}: changes its argument {changed[0]}; copy it first")
    if all(answer is None for answer in found):
        forgotten = " (Is `return` missing?)" if begun(function) else ""
        return Report(False, f"{name}: returns nothing yet.{forgotten} {exercise.first}")
    verdicts = by_parts(exercise, made, found)
    if verdicts.get("gradient", "").startswith(UNKNOWN) and real(found[0][0]):
        verdicts["gradient"] += belongs(function, made[0], found[0][1])
    if exercise.square and not any(verdicts.values()):
        verdicts["memory"] = memory(exercise, function)
    passed = not any(verdicts.values())
    lines = [f"  {part}: {verdict or 'right'}" for part, verdict in verdicts.items()]
    return Report(passed, "\n".join([f"{name}: {'right' if passed else 'not yet'}", *lines]))


def own(function):
    """Whether a function is not the library's."""
    return not str(function.__module__).startswith("bdnn.")


def called(function, name):
    """The student's own function of this name, if `function` calls it."""
    found = function.__globals__.get(name)
    named = name in function.__code__.co_names and getattr(found, "__name__", "") == name
    return found if named and own(found) else None


def begun(function):
    """Whether a function has more than a docstring and dots."""
    code = function.__code__
    return bool(code.co_names) or code.co_nlocals > code.co_argcount


def by_parts(exercise, made, found):
    """{part of the answer: what is wrong with it, or ""}."""
    parts, n = list(exercise.slips), len(exercise.slips)
    rights = [exercise.right(*arguments) for arguments in made]
    if n == 1:
        found, rights = [(answer,) for answer in found], [(right,) for right in rights]
    elif not all(isinstance(answer, tuple | list) and len(answer) == n for answer in found):
        return {"answer": f"should be {n} things: {', '.join(parts)}"}
    names = list(inspect.signature(exercise.right).parameters)
    told = {}
    for k, (part, mine, right) in enumerate(zip(parts, zip(*found), zip(*rights))):
        variables = [
            dict(zip(names, given)) | {"given": given, "part": k, "right": r, "mine": answer}
            for given, r, answer in zip(made, right, found)
        ]
        told[part] = verdict(exercise.slips[part], mine, right, variables)
        if told[part].startswith(UNKNOWN) and ", " in part:  # which of them?
            triples = zip(part.split(", "), zip(*mine), zip(*right))
            wrong = [name for name, ms, rs in triples if not all(map(same, ms, rs))]
            told[part] += f": {', '.join(wrong)}"
    return told


def verdict(table, mine, right, variables):
    """What is wrong with one part of the answers, or ""."""
    if all(map(same, mine, right)):
        return ""
    for m, r in zip(mine, right):
        if not numeric(m):
            return f"should be {kind(r)}, not {reprlib.repr(m)}"
    for expression, hint in table:
        wrong = (slips.evaluate(expression, known) for known in variables)
        if all(map(same, mine, wrong)):
            return hint
    for m, r in zip(mine, right):
        if isinstance(m, list | tuple) and not isinstance(r, list | tuple):
            return f"should be {kind(r)}, not {reprlib.repr(m)}"
        if shape(m) != shape(r):
            return f"has the shape {shape(m)}, and should have {shape(r)}"
    share = 1 - np.mean([same(m, r) for m, r in zip(mine, right)])
    often = "all" if share == 1 else f"{share:.0%} of the"
    return f"{UNKNOWN} in {often} cases, by none of the usual slips"


def belongs(function, arguments, gradient):
    """Whether a gradient that nothing explains is that of the value that the student computes."""
    (H, *others), step = arguments, 1e-5
    V = np.random.default_rng(0).standard_normal(H.shape)
    ahead, behind = (function(H + a * V, *others)[0] for a in (step, -step))
    slope, claimed = (ahead - behind) / (2 * step), np.vdot(gradient, V)
    if abs(slope - claimed) <= 1e-5 * abs(slope):
        return "; it is the gradient of your value: mend the value first"
    return f"; in a random direction your value has slope {slope:.4g}, your gradient {claimed:.4g}"


def memory(exercise, function):
    """What is wrong with the memory that a right function takes, or ""."""
    peaks = []
    for fun in (function, exercise.right):
        arguments = exercise.large(np.random.default_rng(0))
        tracemalloc.start()
        fun(*arguments)
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    if peaks[0] < LARGE**2 / 1e6:  # not even a byte for each entry of the matrix
        return ""
    enough = f"{peaks[0]:.0f} MB where {max(peaks[1], 0.1):.1f} are enough"
    return f"the numbers are right, but it forms {exercise.square}: {enough}"


def stopped(error, function, arguments):
    """What to say of an exception in the student's function."""
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f.line for f in reversed(frames) if f.name == function.__name__), "")
    named = zip(inspect.signature(function).parameters, arguments)
    values = ", ".join(f"{name} {described(value)}" for name, value in named if not callable(value))
    text = f"stops with {type(error).__name__}: {error}\n  in the line: {line}\n  with {values}"
    for sort, words, mending in MENDING:
        if isinstance(error, sort) and re.search(words, str(error)):
            text += f"\n  {mending}"
    return text


def described(value):
    """The shape of an array, the value of a number, or those of what is in a list."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(described, value))}]"
    return f"{value:.4g}" if np.isscalar(value) else str(np.shape(value))


def kind(right):
    """What an answer has to be."""
    if isinstance(right, list | tuple):
        return "a list of arrays"
    return "an array" if shape(right) else "a number"


def numeric(value):
    """Whether a value is a number, an array of numbers, or a list of them."""
    if isinstance(value, list | tuple):
        return all(map(numeric, value))
    return np.asarray(value).dtype.kind in "biufc"


def real(value):
    """Whether a value is one real number."""
    return shape(value) == () and np.asarray(value).dtype.kind in "biuf"


def shape(value):
    """The shape of an array, or those of a list of arrays."""
    return [shape(v) for v in value] if isinstance(value, list | tuple) else np.shape(value)


def same(mine, right):
    """Whether two answers are equal but for rounding: numbers, arrays, or lists of them."""
    if isinstance(right, list | tuple):
        fits = isinstance(mine, list | tuple) and len(mine) == len(right)
        return fits and all(map(same, mine, right))
    try:
        mine, right = np.asarray(mine, dtype=float), np.asarray(right, dtype=float)
    except (TypeError, ValueError):
        return False
    near = 1e-7 * np.max(np.abs(np.nan_to_num(right)), initial=1e-6)
    return mine.shape == right.shape and np.allclose(mine, right, rtol=0, atol=near, equal_nan=True)
