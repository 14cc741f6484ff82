"""Objective and gradient of UH- and SH-BDNN beside their own matrix products and autograd."""

import importlib.util
import tracemalloc

import numpy as np

from bdnn.network import flatten, hidden_sizes, unflatten
from bdnn.sh_bdnn import SupervisedObjective
from bdnn.uh_bdnn import EncoderObjective
from tests.benchmarks.measure import Row

UH_LAMBDAS, SH_LAMBDAS = (1e-5, 5e-2, 1e-2, 1e-6), (1e-3, 5.0, 1.0, 1e-4)
C = 10


class Problem:
    """Random samples, codes, labels and parameters in the sizes of the paper's network."""

    def __init__(self, m, D=784, L=16, dtype="float32"):
        rng = np.random.default_rng(0)
        self.sizes = (D, *hidden_sizes(L), L)
        self.X = rng.random((D, m), dtype=np.float32).astype(dtype)
        self.B = np.where(rng.random((L, m)) < 0.5, -1, 1).astype(dtype)
        self.y = rng.integers(0, C, m)
        shapes = list(zip(self.sizes[1:], self.sizes))
        Ws = [rng.standard_normal(shape) / np.sqrt(shape[1]) for shape in shapes]
        self.theta = flatten(Ws, [np.zeros((len(W), 1)) for W in Ws]).astype(dtype)
        self.case = f"{D}-{'-'.join(map(str, self.sizes[1:]))}, m={m:,}, {dtype}"

    def objective(self, method):
        """Our objective of the method "UH" or "SH"."""
        if method == "UH":
            return EncoderObjective(self.X, self.B, self.sizes, UH_LAMBDAS)
        return SupervisedObjective(self.X, self.B, self.y, self.sizes, SH_LAMBDAS)


def matrix_products(problem, matmul=np.matmul, tensor=np.asarray):
    """A function that does the matrix products of one evaluation, and nothing else.

    By NumPy, or by the library that `matmul` and `tensor`, of an array, belong to.
    """
    rng, dtype = np.random.default_rng(1), problem.X.dtype
    Ws, _ = unflatten(problem.theta, problem.sizes)
    shapes = [(units, problem.X.shape[1]) for units in problem.sizes[1:]]
    Hs = [problem.X, *(rng.random(shape, dtype=np.float32).astype(dtype) for shape in shapes)]
    outputs, dWs = [np.empty_like(H) for H in Hs[1:]], [np.empty_like(W) for W in Ws]
    Ws, Hs, outputs, dWs = (list(map(tensor, arrays)) for arrays in (Ws, Hs, outputs, dWs))
    G = tensor(np.empty((problem.sizes[-1],) * 2, dtype))

    def products():
        for W, H, Z in zip(Ws, Hs, outputs):
            matmul(W, H, out=Z)
        matmul(Hs[-1], Hs[-1].T, out=G)
        matmul(G, Hs[-1], out=outputs[-1])
        for l in reversed(range(len(Ws))):
            matmul(Hs[l + 1], Hs[l].T, out=dWs[l])
            if l > 0:
                matmul(Ws[l].T, Hs[l + 1], out=outputs[l - 1])

    return products


def has_torch():
    """Return True if PyTorch is there to compare with."""
    return importlib.util.find_spec("torch") is not None


def torch_loss(problem, method, parameters):
    """The objective written for autograd, in its cheap form; samples in rows, as PyTorch has it."""
    import torch

    X, B = (torch.from_numpy(np.ascontiguousarray(A.T)) for A in (problem.X, problem.B))
    Y = torch.nn.functional.one_hot(torch.from_numpy(problem.y), C).to(X.dtype)
    I = torch.eye(problem.sizes[-1], dtype=X.dtype)
    lambda1, lambda2, lambda3, lambda4 = UH_LAMBDAS if method == "UH" else SH_LAMBDAS
    (m, _), L = X.shape, problem.sizes[-1]
    Ws, cs = parameters[::2], parameters[1::2]

    def loss():
        H = X
        for W, c in zip(Ws[:-1], cs[:-1]):
            H = torch.sigmoid(torch.nn.functional.linear(H, W, c))
        H = torch.nn.functional.linear(H, Ws[-1], cs[-1])
        G, h = H.T @ H, H.sum(0)
        J = lambda1 / 2 * sum((W**2).sum() for W in Ws)
        J = J + lambda2 / (2 * m) * ((H - B) ** 2).sum()
        J = J + lambda3 / 2 * ((G / m - I) ** 2).sum() + lambda4 / (2 * m) * (h**2).sum()
        if method == "SH":
            agreement = 2 * ((H.T @ Y) ** 2).sum() - (h**2).sum()
            J = J + ((G**2).sum() / L**2 - 2 / L * agreement + m**2) / (2 * m)
        return J

    return loss


def torch_parameters(problem):
    """The parameters of a problem as leaves W, c, W, c, ... of autograd."""
    import torch

    Ws, cs = unflatten(problem.theta.copy(), problem.sizes)
    arrays = [A for W, c in zip(Ws, cs) for A in (W, c[:, 0])]
    return [torch.tensor(A, requires_grad=True) for A in arrays]


def autograd(problem, method):
    """A function that takes objective and gradient from PyTorch: (value, vector)."""
    import torch

    parameters = torch_parameters(problem)
    loss = torch_loss(problem, method, parameters)

    def evaluate():
        for p in parameters:
            p.grad = None
        J = loss()
        J.backward()
        return J.item(), torch.cat([p.grad.ravel() for p in parameters]).numpy()

    return evaluate


def check_agreement(ours, theirs, dtype):
    """Raise an AssertionError unless both sides compute the same."""
    (J, g), (J_other, g_other) = ours, theirs
    tolerance = 2e-3 if dtype == np.float32 else 1e-8
    assert abs(J - J_other) <= tolerance * abs(J), (J, J_other)
    assert np.abs(g - g_other).max() <= tolerance * np.abs(g).max()


def new_memory(problem, method):
    """Bytes that an evaluation after the first takes at its peak."""
    objective = problem.objective(method)
    objective(problem.theta)
    tracemalloc.start()
    objective(problem.theta)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


CASES = {
    "full": [
        *((m, 784, 16, dtype) for dtype in ("float32", "float64") for m in (1000, 10_000, 60_000)),
        *((10_000, 784, L, dtype) for dtype in ("float32", "float64") for L in (8, 64)),
        (60_000, 214, 16, "float32"),
    ],
    "quick": [(10_000, 784, 16, "float32"), (1000, 784, 16, "float64")],
    "smoke": [(300, 30, 8, "float32")],
}
SWEEPS = {
    "full": {
        "m": (1000, 3000, 10_000, 30_000, 60_000),
        "D": (50, 200, 784, 1600),
        "L": (8, 16, 32, 64),
    },
    "quick": {"m": (2000, 6000, 20_000)},
    "smoke": {"m": (500, 1000)},
}


def rows(watch, size):
    """Rows of the table."""
    for m, D, L, dtype in CASES[size]:
        problem = Problem(m, D, L, dtype)
        products, options = matrix_products(problem), {"sizes": {"m": m, "D": D, "L": L}}
        options["sizes"]["dtype"] = dtype
        if has_torch():
            yield torch_products_row(watch, problem, products, options)
        for method in ("UH", "SH"):
            objective = problem.objective(method)

            def ours(objective=objective, theta=problem.theta):
                return objective(theta)

            name = f"{method}-BDNN, objective and gradient / "
            goal = 1.25 if D == 784 else None
            yield watch.ratio(
                "evaluation",
                name + "its products",
                problem.case,
                ours,
                products,
                goal=goal,
                **options,
            )
            if has_torch():
                peer = autograd(problem, method)
                check_agreement(ours(), peer(), problem.X.dtype)
                yield watch.ratio(
                    "evaluation", name + "PyTorch", problem.case, ours, peer, goal=0.8, **options
                )
    yield from memory_rows(size)
    yield from sweep_rows(watch, size)


def torch_products_row(watch, problem, products, options):
    """The products alone, by NumPy's library and by PyTorch's: the floor under both sides."""
    import torch

    theirs = matrix_products(problem, torch.matmul, torch.from_numpy)

    def ours():
        with watch.blas.limit(limits=watch.threads):
            products()

    what = "products alone, by NumPy / by PyTorch"
    return watch.ratio("evaluation", what, problem.case, ours, theirs, **options)


def memory_rows(size):
    """New memory of a later evaluation at eight times the samples, over that at one time."""
    m = 8192 if size != "smoke" else 5000
    for method in ("UH", "SH"):
        few, many = (new_memory(Problem(k, 50, 8), method) for k in (m, 8 * m))
        yield Row(
            "evaluation",
            f"{method}-BDNN, new memory at 8 m / at m",
            f"m={m:,}",
            many / few,
            goal=1.05,
        )


def sweep_rows(watch, size):
    """Times against m, D and L, for the figure, and the slope of time against m."""
    base = {"m": 10_000, "D": 784, "L": 16}
    for name, values in SWEEPS[size].items():
        times = []
        for value in values:
            problem = Problem(**{**base, name: value})
            objective, products = problem.objective("SH"), matrix_products(problem)
            row = watch.ratio(
                "sweep",
                f"SH-BDNN / its products, by {name}",
                problem.case,
                lambda: objective(problem.theta),  # noqa: B023
                products,
                repetitions=3,
                sizes={**base, name: value, "dtype": "float32", "sweep": name},
            )
            times.append(row.seconds)
            yield row
        if name == "m":
            slope = np.polyfit(np.log(values), np.log(times), 1)[0]
            yield Row(
                "evaluation",
                "SH-BDNN, |slope of log time by log m - 1|",
                f"m to {values[-1]:,}",
                float(abs(slope - 1)),
                goal=0.1,
            )
