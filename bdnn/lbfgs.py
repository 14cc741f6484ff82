# Generated from notebooks/06_lbfgs.py by `course.py export 06`: edit the notebook.
"""Limited-memory BFGS with a line search for the strong Wolfe conditions.

Minimises a smooth function of many variables from its values and gradients alone. Everything is
done with vectors: the direction by the two-loop recursion over the last few pairs (s, y), the
length of the step by bracketing and zooming with cubic interpolation.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy import ndarray as Array
from scipy.optimize import OptimizeResult

__all__ = [
    "MESSAGES", "Trial", "cubic_minimiser", "minimize", "next_step", "strong_wolfe", "two_loop",
]  # fmt: skip


def two_loop(g: Array, pairs: Sequence[tuple[Array, Array]]) -> Array:
    """Multiply a vector g (n,) by the limited-memory estimate of the inverse Hessian.

    Eq. (8) of notebook 06: the BFGS matrix that the pairs make of the start gamma I, without ever
    forming a matrix. Pairs are (s, y), arrays (n,): steps and differences of gradients,
    s^T y > 0, oldest first. g is not modified; without pairs the product is a copy of it.
    """
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    if pairs:
        s, y = pairs[-1]
        q *= s @ y / (y @ y)  # gamma, Eq. (7)
    for (s, y), alpha in zip(pairs, reversed(alphas)):
        q += (alpha - y @ q / (s @ y)) * s
    return q


class Trial(NamedTuple):
    """One evaluation along the direction p: what a line search knows about a step."""

    a: float  # length of the step
    f: float  # phi(a) = J(x + a p)
    d: float  # phi'(a) = g^T p
    x: Array  # x + a p
    g: Array  # the gradient there


def cubic_minimiser(p: Trial, q: Trial) -> float:
    """Return where the cubic through two trials has its minimum, Eq. (13) of notebook 06.

    The cubic takes the values and the slopes of the trials, which may stand in either order; nan
    if it has no minimum.
    """
    width = q.a - p.a  # Delta
    e = p.d + q.d - 3 * (q.f - p.f) / width
    discriminant = e * e - p.d * q.d
    if not discriminant >= 0:
        return math.nan
    w = math.copysign(math.sqrt(discriminant), width)
    denominator = q.d - p.d + 2 * w
    return q.a - width * (q.d + w - e) / denominator if denominator else math.nan


def next_step(previous: Trial, low: Trial, high: Trial | None, halve: bool) -> float:
    """The length to try next: beyond `low` while nothing bounds it, else between low and high.

    The minimiser of the cubic, kept within 2 to 10 times `low`, or off the ends of the interval.
    """
    if high is None:
        a = cubic_minimiser(previous, low)
        return min(max(a, 2 * low.a), 10 * low.a) if a > low.a else 10 * low.a
    width = high.a - low.a
    if not math.isfinite(high.f + high.d):  # no cubic: the domain may end anywhere in between
        return low.a + 0.1 * width
    a = cubic_minimiser(low, high)
    share = 0.5 if halve or math.isnan(a) else (a - low.a) / width
    return low.a + min(max(share, 0.1), 0.9) * width


def strong_wolfe(
    phi: Callable[[float], Trial], start: Trial, a: float, c1: float = 1e-4, c2: float = 0.9
) -> Trial | None:
    """Find a step that fulfils the strong Wolfe conditions, Eqs. (10) and (11) of notebook 06.

    `phi` takes a step length to a :class:`Trial`; values that are not finite are taken as too high.
    `start` is the step of length 0, its slope negative, and `a` the first length to try. So much
    (c1) of the decrease that the slope promises must come, and such a share (c2) of the slope may
    be left; 0 < c1 < c2 < 1. None if 25 evaluations of `phi` found no such step, or if the decrease
    that the slope promises is smaller than the rounding error of the function's values.
    """
    eps = float(np.finfo(start.x.dtype).eps)
    previous, low, high, width = start, start, None, math.inf
    for _ in range(25):
        trial = phi(a)
        enough = math.isfinite(trial.d) and start.f + c1 * a * start.d >= trial.f > -math.inf
        if enough and abs(trial.d) <= -c2 * start.d:  # Eqs. (10) and (11)
            return trial
        if not enough or (trial.f >= low.f and low is not start):
            high = trial  # too long: the minimum lies between low and here
        else:
            ahead = 1.0 if high is None else high.a - low.a
            if trial.d * ahead >= 0:
                high = low  # the slope turned: the minimum lies behind
            previous, low = low, trial
        before = width
        if high is not None:
            width = abs(high.a - low.a)
            if width <= eps * a or (low is start and width * abs(low.d) <= eps * abs(low.f)):
                return None
        a = next_step(previous, low, high, halve=width > 2 / 3 * before)
    return None


MESSAGES = (
    "the largest entry of the gradient is at most gtol",
    "the relative decrease of the last step is at most ftol",
    "max_iter steps were made",
    "no step along -g fulfils the strong Wolfe conditions: limit of precision, or no minimum",
)


@np.errstate(over="ignore", invalid="ignore")  # a step that is too long is no fault
def minimize(
    fun: Callable[[Array], tuple[float, Array]],
    x0: Array,
    *,
    max_iter: int = 400,
    history: int = 20,
    gtol: float = 1e-5,
    ftol: float = 1e-9,
    c1: float = 1e-4,
    c2: float = 0.9,
    callback: Callable[[OptimizeResult], object] | None = None,
) -> OptimizeResult:
    """Minimise a smooth function by L-BFGS.

    Notebook 06 derives every part. BDNN trains its weights this way (Do et al., 2016; slide
    "Optimization").

    Parameters
    ----------
    fun : callable
        x (n,) to (value, gradient (n,)). It must not modify x. Outside the function's domain it
        may return NaN or infinity.
    x0 : array (n,)
        The start, not modified. float32 stays float32, everything else becomes float64.
    max_iter : int
        The most steps.
    history : int
        The number of pairs (s, y) kept: 2 * history vectors of memory.
    gtol : float
        Stop when no entry of the gradient is larger in magnitude.
    ftol : float
        Stop when a step from J to J' has `(J - J') / max(|J|, |J'|, 1) <= ftol`.
    c1, c2 : float
        Constants of the strong Wolfe conditions, which every accepted step fulfils.
    callback : callable, optional
        Called after every step with a result that holds x, fun, jac, nit and nfev.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, fun, jac (the gradient) of the last accepted step, which is the best one; nit steps,
        nfev = njev evaluations; status (an index of `MESSAGES`), message, success (True for status
        0 and 1: converged).

    Raises
    ------
    ValueError
        If an option is out of its range, if the gradient has another shape than x0, or if the
        value or the gradient at x0 is not finite.
    """
    if not (max_iter >= 0 and history >= 1 and gtol >= 0 and ftol >= 0 and 0 < c1 < c2 < 1):
        raise ValueError("needs max_iter, gtol, ftol >= 0, history >= 1 and 0 < c1 < c2 < 1")
    x0, nfev = np.asarray(x0), 0
    x0 = x0.astype(np.float32 if x0.dtype == np.float32 else np.float64)

    def trial(a, x, p):  # Eq. (9)
        nonlocal nfev
        nfev += 1
        x = x + a * p
        f, g = fun(x)
        g = np.array(g, dtype=x.dtype)  # a copy: fun may use the same memory again
        if g.shape != x.shape:
            raise ValueError(f"the gradient has shape {g.shape}, x0 has shape {x.shape}")
        return Trial(a, float(f), float(g @ p), x, g)

    now = trial(0.0, x0, np.zeros_like(x0))
    if not (math.isfinite(now.f) and np.isfinite(now.g).all()):
        raise ValueError("the value or the gradient at x0 is not finite")
    pairs, nit, decrease = deque(maxlen=history), 0, math.inf
    while True:
        rules = np.max(np.abs(now.g)) <= gtol, decrease <= ftol, nit >= max_iter
        if any(rules):
            status = rules.index(True)
            break
        p = -two_loop(now.g, pairs)
        slope = float(now.g @ p)
        if not -math.inf < slope < 0:  # rounding has spoiled the pairs
            pairs.clear()
            p, slope = -now.g, -float(now.g @ now.g)
        a = 1.0 if pairs else min(1.0, 1 / float(np.sum(np.abs(now.g))))
        phi, start = partial(trial, x=now.x, p=p), now._replace(a=0.0, d=slope)
        new = strong_wolfe(phi, start, a, c1, c2)
        if new is None and pairs:  # once more, along -g
            pairs.clear()
            continue
        if new is None:
            status = 3
            break
        s, y = new.x - now.x, new.g - now.g
        rounding = float(np.finfo(s.dtype).eps) * math.sqrt(float(s @ s) * float(y @ y))
        if s @ y > rounding > 0:
            pairs.append((s, y))
        decrease = (now.f - new.f) / max(abs(now.f), abs(new.f), 1.0)
        now, nit = new, nit + 1
        if callback:
            callback(OptimizeResult(x=now.x, fun=now.f, jac=now.g, nit=nit, nfev=nfev))
    counts = {"nit": nit, "nfev": nfev, "njev": nfev}
    verdict = {"status": status, "message": MESSAGES[status], "success": status < 2}
    return OptimizeResult(x=now.x, fun=now.f, jac=now.g, **counts, **verdict)
