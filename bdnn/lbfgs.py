# Generated from notebooks/06_lbfgs.py by `course.py export 06`: edit the notebook.
"""Limited-memory BFGS with a line search for the strong Wolfe conditions.

Minimises a smooth function of many variables from its values and gradients alone. Everything is
done with vectors: the direction by the two-loop recursion over the last few pairs (s, y), the
length of the step by bracketing and zooming with cubic interpolation.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.linalg import get_blas_funcs
from scipy.optimize import OptimizeResult

from bdnn.base import Array, Objective

__all__ = [
    "MAX_TRIALS",
    "MESSAGES",
    "Trial",
    "cubic_minimiser",
    "minimize",
    "strong_wolfe",
    "two_loop",
]


@np.errstate(over="ignore", invalid="ignore")
def _dot(u, v):
    """The inner product as a Python float; infinity and nan come without a warning."""
    return float(np.dot(u, v))


def two_loop(g: Array, pairs: Sequence[tuple]) -> Array:
    """Multiply a vector by the limited-memory estimate of the inverse Hessian.

    Eq. (8) of notebook 06: the BFGS matrix that the pairs make of the start
    :math:`\\gamma I`, :math:`\\gamma = s^\\top y / y^\\top y` of the newest pair, without ever
    forming a matrix.

    Parameters
    ----------
    g : array (n,)
        The vector, usually a gradient; it is not modified.
    pairs : sequence of (s, y, rho)
        Steps s (n,), differences of gradients y (n,) and rho = 1 / s^T y > 0, oldest first.

    Returns
    -------
    array (n,)
        The product; `g` itself (a copy) if there are no pairs.
    """
    dot, axpy = get_blas_funcs(("dot", "axpy"), (g,))  # axpy(x, q, a=a): q += a x, in place
    q = g.copy()
    alphas = []
    for s, y, rho in reversed(pairs):
        alpha = rho * dot(s, q)
        q = axpy(y, q, a=-alpha)
        alphas.append(alpha)
    if pairs:
        s, y, rho = pairs[-1]
        q *= 1 / (rho * dot(y, y))
    for (s, y, rho), alpha in zip(pairs, reversed(alphas)):
        beta = rho * dot(y, q)
        q = axpy(s, q, a=alpha - beta)
    return q


class Trial(NamedTuple):
    """One evaluation along the direction p: what a line search knows about a step."""

    a: float  # length of the step
    f: float  # phi(a) = J(x + a p)
    d: float  # phi'(a) = g^T p
    x: np.ndarray  # x + a p
    g: np.ndarray  # the gradient there


def cubic_minimiser(p: Trial, q: Trial) -> float:
    """Return where the cubic through two trials has its minimum, Eq. (13) of notebook 06.

    The cubic takes the values and the slopes of the trials `p` and `q`, which may stand in
    either order; nan if it has no minimum.
    """
    h = q.a - p.a
    e = p.d + q.d - 3 * (q.f - p.f) / h
    discriminant = e * e - p.d * q.d
    if not discriminant >= 0:
        return math.nan
    w = math.copysign(math.sqrt(discriminant), h)
    denominator = q.d - p.d + 2 * w
    return q.a - h * (q.d + w - e) / denominator if denominator else math.nan


def _longer(previous, low):
    """The next step while nothing bounds it from above: 2 to 10 times the last one."""
    a = cubic_minimiser(previous, low)
    return min(max(a, 2 * low.a), 10 * low.a) if a > low.a else 10 * low.a


def _between(low, high, halve):
    """The next step inside an interval: the cubic's minimiser, kept off the ends."""
    width = high.a - low.a
    if not math.isfinite(high.f + high.d):
        return low.a + 0.1 * width
    a = cubic_minimiser(low, high)
    if halve or math.isnan(a):
        a = low.a + 0.5 * width
    return low.a + min(max((a - low.a) / width, 0.1), 0.9) * width


MAX_TRIALS = 25


def strong_wolfe(
    phi: Callable[[float], Trial],
    start: Trial,
    a: float,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_trials: int = MAX_TRIALS,
) -> Trial | None:
    """Find a step that fulfils the strong Wolfe conditions, Eqs. (10) and (11) of notebook 06.

    Parameters
    ----------
    phi : callable
        Step length to :class:`Trial`. Values that are not finite are taken as too high.
    start : Trial
        The step of length 0; its slope must be negative.
    a : float
        The first length to try.
    c1, c2 : float
        How much of the decrease that the slope promises must come, and what share of the slope
        may be left; 0 < c1 < c2 < 1.
    max_trials : int
        The most evaluations of `phi`.

    Returns
    -------
    Trial or None
        None if `max_trials` found no such step, or if the decrease that the slope promises is
        smaller than the rounding error of the function's values.
    """
    eps = float(np.finfo(start.x.dtype).eps)
    previous, low, high, width = start, start, None, math.inf
    for _ in range(max_trials):
        trial = phi(a)
        enough = math.isfinite(trial.d) and start.f + c1 * a * start.d >= trial.f > -math.inf
        if enough and abs(trial.d) <= -c2 * start.d:
            return trial
        if not enough or (trial.f >= low.f and low is not start):
            high = trial
        else:
            ahead = 1.0 if high is None else high.a - low.a
            if trial.d * ahead >= 0:
                high = low
            previous, low = low, trial
        if high is None:
            a = _longer(previous, low)
            continue
        before, width = width, abs(high.a - low.a)
        if width <= eps * a or (low is start and width * abs(low.d) <= eps * abs(low.f)):
            return None
        a = _between(low, high, width > 2 / 3 * before)
    return None


class _Counted:
    """The objective with its evaluations counted and its answers checked and copied."""

    def __init__(self, fun, dtype):
        self.fun, self.dtype, self.calls = fun, dtype, 0

    def __call__(self, x):
        self.calls += 1
        f, g = self.fun(x)
        g = np.array(g, dtype=self.dtype)  # a copy: fun may fill the same buffer every time
        if g.shape != x.shape:
            raise ValueError(f"the gradient has shape {g.shape}, x0 has shape {x.shape}")
        return float(f), g

    def along(self, x, p):
        """The function phi of a line search from x along p."""

        def phi(a):
            with np.errstate(over="ignore", invalid="ignore"):
                xa = x + x.dtype.type(a) * p
            f, g = self(xa)
            return Trial(a, f, _dot(g, p), xa, g)

        return phi


def _direction(g, pairs):
    """The direction and the slope along it; without a usable one, forget the pairs: -g."""
    p = -two_loop(g, pairs)
    slope = _dot(g, p)
    if -math.inf < slope < 0:
        return p, slope
    pairs.clear()
    return -g, -_dot(g, g)


def _remember(pairs, s, y):
    """Append the pair unless rounding has eaten its curvature s^T y."""
    sy, rounding = _dot(s, y), float(np.finfo(s.dtype).eps)
    if sy > rounding * math.sqrt(_dot(s, s) * _dot(y, y)) > 0:
        pairs.append((s, y, 1 / sy))


def _report(x, f, g, nit, calls, pairs):
    """What is known after a step."""
    counts = {"nit": nit, "nfev": calls, "njev": calls}
    return OptimizeResult(x=x, fun=f, jac=g, pairs=list(pairs), **counts)


def _asks_to_stop(callback, report):
    """Call the callback; True if it raises StopIteration."""
    try:
        callback(report)
    except StopIteration:
        return True
    return False


MESSAGES = (
    "the largest entry of the gradient is at most gtol",
    "the relative decrease of the last step is at most ftol",
    "max_iter steps were made",
    "max_evaluations evaluations were made",
    "no step along -g fulfils the strong Wolfe conditions: limit of precision, or no minimum",
    "the callback asked to stop",
)


def _begin(fun, x0):
    """The counted objective, a copy of x0 (float32 or float64), value and gradient there."""
    x0 = np.atleast_1d(x0)
    if x0.ndim != 1 or x0.size == 0 or not np.can_cast(x0.dtype, np.float64, "same_kind"):
        raise ValueError(f"x0 must be a vector of real numbers, got {x0.dtype} of {x0.shape}")
    x = np.array(x0, dtype=np.float32 if x0.dtype == np.float32 else np.float64)
    evaluate = _Counted(fun, x.dtype)
    f, g = evaluate(x)
    if not (math.isfinite(f) and np.isfinite(g).all()):
        raise ValueError("the value or the gradient at x0 is not finite")
    return evaluate, x, f, g


def _check_options(max_iter, history, max_evaluations, gtol, ftol, c1, c2):
    """Raise a ValueError that names the first option out of its range."""
    rules = {
        f"max_iter={max_iter} must be at least 0": max_iter >= 0,
        f"history={history} must be at least 1": history >= 1,
        f"max_evaluations={max_evaluations} must be at least 1": max_evaluations >= 1,
        f"gtol={gtol} must not be negative": gtol >= 0,
        f"ftol={ftol} must not be negative": ftol >= 0,
        f"c1={c1}, c2={c2} must fulfil 0 < c1 < c2 < 1": 0 < c1 < c2 < 1,
    }
    for message, holds in rules.items():
        if not holds:
            raise ValueError(message)


def minimize(
    fun: Objective,
    x0: Array,
    *,
    max_iter: int = 400,
    history: int = 20,
    max_evaluations: int | None = None,
    gtol: float = 1e-5,
    ftol: float = 1e-9,
    c1: float = 1e-4,
    c2: float = 0.9,
    callback: Callable[[OptimizeResult], object] | None = None,
    pairs: Sequence[tuple] = (),
) -> OptimizeResult:
    """Minimise a smooth function by L-BFGS.

    Notebook 06 derives every part. BDNN trains its weights this way (Do et al., 2016; slide
    "Optimization").

    Parameters
    ----------
    fun : callable
        x (n,) to (value, gradient (n,)). It must not modify x; it may reuse the gradient's
        memory. Outside the function's domain it may return NaN or infinity.
    x0 : array (n,)
        The start, not modified. float32 stays float32, everything else becomes float64.
    max_iter : int
        The most steps.
    history : int
        The number of pairs (s, y) kept: 2 * history vectors of memory.
    max_evaluations : int or None
        The most evaluations of `fun`, those within a line search included.
    gtol : float
        Stop when no entry of the gradient is larger in magnitude.
    ftol : float
        Stop when a step from J to J' has `(J - J') / max(|J|, |J'|, 1) <= ftol`.
    c1, c2 : float
        Constants of the strong Wolfe conditions, which every accepted step fulfils.
    callback : callable, optional
        Called after every step with a result that holds x, fun, jac, nit, nfev, pairs and is not to
        be modified; it may raise StopIteration to end the run.
    pairs : sequence of (s, y, rho), optional
        The memory to begin with. With x and pairs of an earlier run, taken in its callback, the
        steps are those that it made next.

    Returns
    -------
    scipy.optimize.OptimizeResult
        x, fun, jac (the gradient) of the last accepted step, which is the best one; nit steps,
        nfev = njev evaluations; pairs, the memory; status (an index of `MESSAGES`), message,
        success (True for status 0 and 1: converged).

    Raises
    ------
    ValueError
        If x0 or an option is out of range, if the gradient has another shape than x0, or if the
        value or the gradient at x0 is not finite.
    """
    limit = math.inf if max_evaluations is None else max_evaluations
    _check_options(max_iter, history, limit, gtol, ftol, c1, c2)
    evaluate, x, f, g = _begin(fun, x0)
    pairs, nit, decrease, status = deque(pairs, maxlen=history), 0, math.inf, None
    while status is None:
        calls = evaluate.calls
        rules = np.max(np.abs(g)) <= gtol, decrease <= ftol, nit >= max_iter, calls >= limit
        if any(rules):
            status = rules.index(True)
            break
        p, slope = _direction(g, pairs)
        a = 1.0 if pairs else min(1.0, 1 / float(np.sum(np.abs(g))))
        start, trials = Trial(0.0, f, slope, x, g), min(MAX_TRIALS, limit - calls)
        new = strong_wolfe(evaluate.along(x, p), start, a, c1, c2, trials)
        if new is None:  # forget the pairs; steepest descent has failed if there are none
            status = 4 if not pairs and evaluate.calls < limit else None
            pairs.clear()
            continue
        _remember(pairs, new.x - x, new.g - g)
        decrease = (f - new.f) / max(abs(f), abs(new.f), 1.0)
        x, f, g, nit = new.x, new.f, new.g, nit + 1
        if callback and _asks_to_stop(callback, _report(x, f, g, nit, evaluate.calls, pairs)):
            status = 5
    result = _report(x, f, g, nit, evaluate.calls, pairs)
    result.update(status=status, message=MESSAGES[status], success=status < 2)
    return result
