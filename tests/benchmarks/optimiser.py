"""L-BFGS: the time to the value that PyTorch's reaches in 100 iterations, and its own overhead."""

import numpy as np

from bdnn import lbfgs
from bdnn.data import load
from bdnn.itq import itq_rotation, principal_directions, range_scaling
from bdnn.metrics import sgn
from bdnn.network import flatten, hidden_sizes, initial_weights, unflatten
from bdnn.uh_bdnn import EncoderObjective, in_scaled_variables, principal_axes, variable_scales
from tests.benchmarks.measure import Row
from tests.benchmarks.objectives import UH_LAMBDAS, Problem, has_torch, torch_loss, torch_parameters


class Digits(Problem):
    """The encoder step of UH-BDNN on real digits, and copies of them moved by one pixel."""

    def __init__(self, m, L=16):
        rows = (
            load("mnist5k").images if hasattr(load("mnist5k"), "images") else load("mnist5k").train
        )
        rows = np.concatenate([rows, np.roll(rows, 1, axis=1), np.roll(rows, 28, axis=1)])[:m]
        X = np.ascontiguousarray(rows.T, dtype=np.float32)
        self.X = (X - X.mean(axis=1, keepdims=True)) / range_scaling(X)[1]
        rng, m = np.random.default_rng(0), self.X.shape[1]
        mean, P = principal_directions(self.X, L)
        V = (P.T @ (self.X - mean)).astype(np.float32)
        self.B = sgn(itq_rotation(V, 20, rng)[0].astype(np.float32) @ V).astype(np.float32)
        self.y = np.zeros(m, int)
        self.sizes = (len(self.X), *hidden_sizes(L), L)
        self.theta = flatten(*initial_weights(self.X, self.sizes, rng))
        self.case = f"digits, m={m:,}, float32"


def torch_run(problem, iterations):
    """Run PyTorch's L-BFGS; return the parameters at its end."""
    import torch

    parameters = torch_parameters(problem)
    loss = torch_loss(problem, "UH", parameters)
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=iterations,
        max_eval=10 * iterations,
        history_size=100,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )

    def closure():
        optimiser.zero_grad()
        J = loss()
        J.backward()
        return J

    optimiser.step(closure)
    return np.concatenate([p.detach().numpy().ravel() for p in parameters])


def our_run(problem, target, whiten):
    """Minimise until the value is at most `target`, in plain variables or as UHBDNN trains."""

    def reached(report):
        if report.fun <= target:
            raise StopIteration

    options = {"max_iter": 1000, "history": 100, "gtol": 0, "ftol": 0, "callback": reached}
    if not whiten:
        objective = EncoderObjective(problem.X, problem.B, problem.sizes, UH_LAMBDAS)
        return lbfgs.minimize(objective, problem.theta, **options)
    P, e = principal_axes(problem.X)
    P = P.astype(problem.X.dtype)
    sizes, (Ws, cs) = (len(e), *problem.sizes[1:]), unflatten(problem.theta, problem.sizes)
    scales = variable_scales(e, sizes).astype(problem.X.dtype)
    objective = EncoderObjective(P.T @ problem.X, problem.B, sizes, UH_LAMBDAS)
    start = flatten([Ws[0] @ P, *Ws[1:]], cs)
    return lbfgs.minimize(in_scaled_variables(objective, scales), start / scales, **options)


def overhead(watch, problem, iterations):
    """Time of `lbfgs.minimize` outside the function that it minimises, over that inside."""
    objective = problem.objective("UH")
    inside = 0.0

    def timed(theta):
        nonlocal inside
        seconds, result = watch.time(lambda: objective(theta))
        inside += seconds
        return result

    options = {"max_iter": iterations, "history": 100, "gtol": 0, "ftol": 0}
    whole, _ = watch.time(lambda: lbfgs.minimize(timed, problem.theta, **options))
    return (whole - inside) / inside


def rows(watch, size):
    """Rows of the table."""
    m, iterations = {"full": (10_000, 100), "quick": (10_000, 30), "smoke": (300, 5)}[size]
    problem = Digits(m)
    values = [overhead(watch, problem, iterations) for _ in range(3)]
    yield Row(
        "L-BFGS",
        "own time / time of the evaluations",
        f"{problem.case}, {iterations} iterations",
        float(np.median(values)),
        goal=0.05,
        spread=(min(values), max(values)),
    )
    if not has_torch():
        return
    objective = problem.objective("UH")
    for whiten, goal in ((True, 0.6), (False, None)):
        ratios = []
        for _ in range(3 if size == "full" else 1):
            theirs, theta = watch.time(lambda: torch_run(problem, iterations))
            target = objective(theta)[0]
            ours, found = watch.time(lambda: our_run(problem, target, whiten))  # noqa: B023
            assert found.fun <= target or size == "smoke", (found.fun, target)
            ratios.append(ours / theirs)
        name = "whitened variables, as UHBDNN trains" if whiten else "plain variables"
        yield Row(
            "L-BFGS",
            f"time to PyTorch's value / PyTorch's time, {name}",
            f"{problem.case}, {iterations} iterations, ours {found.nit}",
            float(np.median(ratios)),
            goal=goal,
            spread=(min(ratios), max(ratios)),
            seconds=ours,
        )
