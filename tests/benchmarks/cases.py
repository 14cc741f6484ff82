"""What `course.py bench` compares: the work that a user waits for, beside a floor or a peer."""

import importlib.util
from functools import partial

import numpy as np
from scipy.optimize import minimize as scipy_minimize

from bdnn import UHBDNN, metrics
from bdnn.data import load
from bdnn.dcc import coordinate_descent
from bdnn.itq import itq_codes, range_scaling
from bdnn.lbfgs import minimize
from bdnn.metrics import pack_codes
from bdnn.network import flatten, hidden_sizes, initial_weights, layer_memory, unflatten
from bdnn.sh_bdnn import supervised_objective
from bdnn.uh_bdnn import encoder_objective
from tests.benchmarks.measure import Case

LAMBDAS = {"UH": (1e-5, 5e-2, 1e-2, 1e-6), "SH": (1e-3, 5.0, 1.0, 1e-4)}
PEERS = {"PyTorch": "torch", "faiss": "faiss"}


def there(peer):
    """True if a library is there to compare with."""
    return importlib.util.find_spec(PEERS[peer]) is not None


class Problem:
    """The encoder step on digits, repeated if there are too few, in the paper's sizes."""

    def __init__(self, m, L=16):
        rows = load("mnist5k").train
        X = np.resize(rows, (m, rows.shape[1])).T.astype(np.float32)  # (D, m)
        self.X = (X - X.mean(axis=1, keepdims=True)) / np.float32(range_scaling(X)[1])
        rng = np.random.default_rng(0)
        self.sizes = (len(X), *hidden_sizes(L), L)
        self.B, self.y = itq_codes(self.X[:, :1000], L, rng), rng.integers(0, 10, m)
        self.B = np.resize(self.B.T, (m, L)).T.copy()
        self.theta = flatten(*initial_weights(self.X, self.sizes, rng))
        self.memory = layer_memory(self.X, self.sizes)
        self.case = f"{'-'.join(map(str, self.sizes))}, m={m:,}"

    def objective(self, method):
        """The objective of "UH" or "SH", as training evaluates it."""
        given = {"X": self.X, "B": self.B, "sizes": self.sizes, "lambdas": LAMBDAS[method]}
        if method == "SH":
            return partial(supervised_objective, y=self.y, memory=self.memory, **given)
        return partial(encoder_objective, memory=self.memory, **given)


def floor(problem, matmul=np.matmul):
    """A function that does the products and activations of one evaluation, and nothing else."""
    Ws, _ = unflatten(problem.theta, problem.sizes)
    Hs, Deltas = (list(arrays) for arrays in layer_memory(problem.X, problem.sizes))
    dWs = [np.empty_like(W) for W in Ws]
    G = np.empty((len(Hs[-1]),) * 2, problem.X.dtype)

    def work():
        for W, inputs, H in zip(Ws, [problem.X, *Hs], Hs):
            matmul(W, inputs, out=H)
            if H is not Hs[-1]:  # the sigmoid, in place
                np.negative(H, out=H)
                np.exp(H, out=H)
                np.add(H, 1, out=H)
                np.reciprocal(H, out=H)
        matmul(Hs[-1], Hs[-1].T, out=G)
        matmul(G, Hs[-1], out=Deltas[-1])
        for l in range(len(Ws) - 1, -1, -1):
            matmul(Deltas[l], (Hs[l - 1] if l else problem.X).T, out=dWs[l])
            if l:
                matmul(Ws[l].T, Deltas[l], out=Deltas[l - 1])
                np.multiply(Deltas[l - 1], Hs[l - 1], out=Deltas[l - 1])

    return work


def evaluation(samples):
    """Objective and gradient beside their floor."""
    for m in samples:
        problem = Problem(m)
        sizes = {"m": m, "D": problem.sizes[0], "L": problem.sizes[-1]}
        for method in LAMBDAS:
            what = f"{method}-BDNN, objective and gradient / products and activations"
            ours = partial(problem.objective(method), problem.theta)
            yield Case(what, problem.case, ours, floor(problem), 1.5, sizes)


def codes_step(m):
    """DCC beside the products of as many cycles."""
    problem = Problem(m)
    X, B, L, rng = problem.X, problem.B, len(problem.B), np.random.default_rng(0)
    W, c = rng.standard_normal((len(X), L), dtype=np.float32), np.zeros((len(X), 1), np.float32)
    H, Q, G, row = rng.standard_normal(B.shape, dtype=np.float32), np.empty_like(B), W.T @ W, B[0]
    found = [coordinate_descent(X, W, c, H, 0.05, B, cycles=k) for k in range(11)]
    cycles = next((k for k in range(1, 11) if np.array_equal(found[k], found[k - 1])), 10)

    def products():
        np.matmul(W.T, X, out=Q)
        for _ in range(cycles):
            for k in range(L):
                np.matmul(G[k], H, out=row)

    ours = partial(coordinate_descent, X, W, c, H, 0.05, B.copy())
    what, case = "DCC / its products", f"L={L}, m={m:,}, {cycles} cycles"
    yield Case(what, case, ours, products, 3.0)


class Reached(Exception):
    """The value of the other side."""


def optimiser(m, max_iter):
    """The time to the value that SciPy's L-BFGS reaches, both in float64 as SciPy wants it."""
    problem = Problem(m)
    for name in ("X", "B", "theta"):
        setattr(problem, name, getattr(problem, name).astype(np.float64))
    problem.memory = layer_memory(problem.X, problem.sizes)
    fun = problem.objective("UH")
    options = {"maxiter": max_iter, "maxcor": 10, "ftol": 0, "gtol": 0}

    def theirs():
        return scipy_minimize(fun, problem.theta, jac=True, method="L-BFGS-B", options=options)

    target = theirs().fun

    def reached(report):
        if report.fun <= target:
            raise Reached

    def ours():
        try:
            minimize(fun, problem.theta, max_iter=1000, gtol=0, ftol=0, callback=reached)
        except Reached:
            return True

    assert ours()
    case = f"{problem.case}, {max_iter} iterations"
    yield Case("L-BFGS, time to SciPy's value / SciPy's time", case, ours, theirs, 1.5)


def search(n_query, n_items, threads):
    """Encoding beside PyTorch, the nearest codes beside faiss."""
    rng = np.random.default_rng(0)
    if there("PyTorch"):
        import torch

        torch.set_num_threads(threads)
        X = rng.standard_normal((n_items, 128), dtype=np.float32)
        model = UHBDNN(32, max_alternations=0, max_iter=2).fit(X[:2000])
        layers = [torch.from_numpy(A) for pair in zip(model.Ws_, model.cs_) for A in pair]

        def encode():
            H = torch.from_numpy(X)
            for W, c in zip(layers[::2], layers[1::2]):
                H = torch.nn.functional.linear(H, W, c[:, 0])
                H = torch.sigmoid(H) if W is not layers[-2] else H
            return pack_codes((H >= 0).numpy())

        assert np.mean(encode() != model.encode(X)) < 0.01
        case = f"{n_items:,} x 128 to 32 bits"
        yield Case("encode / PyTorch", case, partial(model.encode, X), encode, 1.5)
    if there("faiss"):
        import faiss

        faiss.omp_set_num_threads(threads)
        A, B = (pack_codes(rng.random((n, 64)) < 0.5) for n in (n_query, n_items))
        index = faiss.IndexBinaryFlat(64)
        index.add(B)
        assert (index.search(A, 10)[0] == metrics.nearest(A, B, 10)[1]).all()
        case = f"10 of {n_items:,} for {n_query:,}, 64 bits"
        ours, theirs = partial(metrics.nearest, A, B, 10), partial(index.search, A, 10)
        yield Case("nearest / faiss", case, ours, theirs, 4.0)


def cases(smoke, threads):
    """All of them, at the sizes of the table or at tiny ones."""
    yield from evaluation((300,) if smoke else (10_000, 60_000))
    yield from codes_step(300 if smoke else 10_000)
    yield from optimiser(*((200, 3) if smoke else (2000, 50)))
    yield from search(*((20, 500) if smoke else (1000, 60_000)), threads)
