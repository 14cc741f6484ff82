"""Every exercise: the solution passes, the untouched cell is led on, usual slips get their hints.

A slip is planted as a student makes it: as an edit of the solution's lines.
"""

import ast
import inspect
import re
from functools import cache
from types import SimpleNamespace

import nbformat
import numpy as np
import pytest

from bdnn import losses, uh_bdnn
from bdnn.course import slips
from bdnn.course.exercises import CASES, check
from bdnn.course.slips import EXERCISES
from tools.check import Course
from tools.exercises import HOW, marks, notebook, stub, texts
from tools.gates.writing import SETUP, equations
from tools.notebooks import ROOT, find, tags

CELLS = {text: [cell for _, cell in text.code_cells()] for text in texts(ROOT)}
SOLUTIONS = {  # name -> source, and what stands before it in its notebook
    ast.parse(cell.source).body[0].name: (
        cell.source,
        [c.source for c in cells[:k] if "check(" not in c.source],
    )
    for cells in CELLS.values()
    for k, cell in enumerate(cells)
    if "solution" in tags(cell)
}
DENSE = """m = H.shape
    V = {}
    return np.sum(V**2) / (2 * m), 2 / (m * L) * H @ V
"""
LOOPS = """for s, y in {}:
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    s, y = pairs[-1]
    q *= s @ y / (y @ y)  # gamma, Eq. (7)
    for (s, y), alpha in zip({}, reversed(alphas))"""
FOR, DECODER, J, STEP, OUTPUT, CODES = """\
for _ in range(rounds):
        W, c = ridge_decoder(X, B, lambdas[0])
        J = partial(encoder_objective, X=X, B=B, sizes=sizes, lambdas=lambdas)
        theta = minimize(J, theta, max_iter=max_iter, gtol=0, ftol=0).x
        H = forward(*unflatten(theta, sizes), X)[-1]
        B = coordinate_descent(X, W, c, H, lambdas[1], B)
""".splitlines(keepends=True)
PENALISED = (
    "W = C_xb @ np.linalg.inv(C_bb + lambda1 * np.eye(L))\n    return W, x - W @ b",
    "B = np.vstack([B, np.ones(m)])\n"
    "    W = X @ B.T / m @ np.linalg.inv(B @ B.T / m + lambda1 * np.eye(L + 1))\n"
    "    return W[:, :L], W[:, L:]",
)
SIMILARITY = [  # of 5.D and 9.B
    ("- np.sum(h**2)", "+ np.sum(h**2)", "value: the term with H 1 has the wrong sign"),
    ("- np.sum(h**2)", "", "value: the term with H 1 is left out"),
    ("- np.sum(h**2)", "- np.sum(H**2)", "value: I is taken from"),
    ("/ L**2", "/ L", "value: the term with H H^T is L times too large"),
    ("- 2 / L", "- 1 / L", "value: S is half of what it should be"),
    ("- 2 / L", "+ 2 / L", "value: S has the wrong sign"),
    ("H @ Y.T,", "H @ Y.T / Y.sum(axis=1),", "value: H Y^T holds the sums"),
    ("H @ Y.T,", "H @ Y.T / Y.sum(axis=1),", "gradient: H Y^T holds the sums"),
    ("L, m = H.shape", "m, L = H.shape", "value: samples in rows?"),
    ("L, m = H.shape", "m, L = H.shape", "gradient: samples in rows?"),
    ("Y + h)", "Y - h)", "gradient: the term with H 1 has the wrong sign"),
    ("Y + h)", "Y)", "gradient: the term with H 1 is left out"),
    ("Y + h)", "Y + H)", "gradient: I is taken from"),
    ("- 2 * ", "- 1 * ", "gradient: the term with Y is half of what it should be"),
    ("return J,", "return J / m,", "value: np.mean divides by m^2"),
    ("L, m = H.shape", "L, m = 1, H.shape[1]", "value: 1/L is missing in front of H^T H"),
    ("L, m = H.shape", "L, m = 1, H.shape[1]", "gradient: 1/L is missing in front of H^T H"),
]
SAME = "(y[:, None] == y)"
CLIPPED = (
    "mu = np.maximum(mu, 0)\n    A =",
    "with np.errstate(invalid='ignore'):\n        A =",
)
FATES = tuple(fate for _, fate in slips.table(slips.FACTORS))
UNKNOWN = "by none of the usual slips"
ANSWERS = {  # what gives the answer in a lesson, where it is no function of the same name
    "def alternate": r"^def uh_bdnn\(",
    "def class_similarities": r"^def class_vectors\(",
    "def shared_similarity": r"\\tag\{8\}",
}

# name -> (old, new, part of the hint): the old text of the solution becomes the new one
PLANTED = {
    "average_precision": [
        ("np.mean(j / r)", "np.sum(j / r) / len(ranked)", "R is that of the relevant"),
        ("np.mean(j / r)", "np.sum(j / r)", "1/R is missing"),
        ("arange(1, len(r) + 1)", "arange(len(r))", "j counts from 1"),
        (
            "return np.mean(j / r)",
            "with np.errstate(divide='ignore'):\n        return np.mean(j / (r - 1))",
            "ranks count from 1",
        ),
        (
            "return np.mean(j / r)",
            "return sum(int(sum(ranked[: i + 1])) / i for i in range(len(ranked)) if ranked[i])",
            "indices from 0",
        ),
        ("j / r", "r / j", "upside down"),
        (
            "np.mean(j / r)",
            "np.mean(np.cumsum(ranked) / np.arange(1, len(ranked) + 1))",
            "all ranks",
        ),
        ("np.flatnonzero(ranked) + 1", "np.cumsum(ranked)[ranked]", "its rank r_j"),
    ],
    "precision_in_ball": [
        ("np.mean(hits / np.maximum(size, 1))", "np.sum(hits) / np.sum(size)", "pooled"),
        (
            "np.mean(hits / np.maximum(size, 1))",
            "np.mean((hits / np.maximum(size, 1))[size > 0])",
            "left out",
        ),
        ("np.maximum(size, 1)", "np.where(size, size, np.nan)", "0/0"),
        ("hits / np.maximum(size, 1)", "np.where(size, hits / np.maximum(size, 1), 1)", "not 1"),
        ("D <= radius", "D < radius", "<="),
        ("np.sum(ball, axis=1)", "np.sum(R, axis=1)", "recall"),
        ("axis=1", "axis=0", "sums over the queries"),
    ],
    "procrustes": [
        ("B @ V.T", "V @ B.T", "R^T"),
        ("U @ At", "(U @ At).T", "R^T"),
        ("U @ At", "U @ At.T", "not A^T again"),
        (
            "U, _, At = np.linalg.svd(B @ V.T)\n    return U @ At",
            "U, S, At = np.linalg.svd(B @ V.T)\n    return U @ np.diag(S) @ At",
            "Sigma stays out",
        ),
        ("U @ At", "-U @ At", "closest to -B"),
        ("U @ At", "U @ np.diag([1] * (len(U) - 1) + [np.linalg.det(U @ At)]) @ At", "reflection"),
        ("B @ V.T", "V @ V.T", "takes both"),
    ],
    "alternate_itq": [
        ("sgn(R @ V)", "sgn(V)", "not of V"),
        ("procrustes(B, V)", "procrustes(V, B)", "exchanged"),
        ("sgn(R @ V)", "sgn(R.T @ V)", "R^T V"),
        ("R = procrustes(B, V)", "R = procrustes(B, V) @ R", "whole rotation"),
        ("procrustes(B, V)", "procrustes(B, R @ V)", "not with R V"),
        ("range(n_iter)", "range(n_iter - 1)", "too few"),
        ("range(n_iter)", "range(n_iter + 1)", "too many"),
        (
            "R = procrustes(B, V)  # Eq. (5)\n    return R",
            "new = procrustes(B, V)\n    return new",
            "replace the old",
        ),
    ],
    "forward": [
        ("sigmoid(Z) if l < len(Ws) - 1 else Z", "sigmoid(Z)", "code layer is linear"),
        ("sigmoid(Z) if l < len(Ws) - 1 else Z", "Z", "need the sigmoid"),
        (" + c", "", "biases"),
        ("sigmoid(Z)", "np.tanh(Z)", "not the tanh"),
        ("return Hs", "return Hs[1:]", "begins with X"),
        ("return Hs", "return Hs[-1]", "a list of all layers"),
        ("W @ Hs", "W.T @ Hs", "is a transpose missing"),
    ],
    "backward": [
        (" * Hs[l] * (1 - Hs[l])", "", "slope of the hidden layers is missing"),
        ("Delta = dH", "Delta = dH * Hs[-1] * (1 - Hs[-1])", "code layer is linear"),
        ("Hs[l] * (1 - Hs[l])", "(1 - Hs[l] ** 2)", "slope of the tanh"),
        ("return dWs, dcs", "return dWs[::-1], dcs[::-1]", "order of the way back"),
        ("Delta = dH", "Delta = dH / dH.shape[1]", "divided by m"),
        ("Delta @ Hs[l].T", "Hs[l] @ Delta.T", "transposed"),
        ("axis=1, keepdims=True", "axis=1", "keepdims"),
        ("np.sum(Delta", "np.mean(Delta", "divided by m"),
        ("Ws[l].T @", "Ws[l] @", "is a transpose missing"),
    ],
    "equality": [
        ("/ (2 * m)", "/ m", "value: twice too large: the 1/2"),
        ("/ (2 * m)", "/ 2", "value: 1/m is"),
        ("/ (2 * m)", "", "value: 1/(2m) is missing"),
        ("np.sum(E**2) / (2 * m)", "np.mean(E**2) / 2", "value: np.mean divides by L"),
        ("np.sum(E**2)", "np.linalg.norm(E)", "value: the norm is squared"),
        ("H.shape[1]", "H.shape[0]", "value: samples in rows?"),
        ("E / m", "2 * E / m", "gradient: twice too large: the 2 of the square cancels the 1/2"),
        ("E / m", "-E / m", "gradient: the sign is wrong"),
        ("E / m", "E", "gradient: 1/m"),
        ("E / m", "E.T / m", "gradient: right numbers, but transposed"),
        ("E = H - B", "H -= B\n    E = H", "changes its argument H"),
        ("return ", "", "returns nothing yet"),
        ("return np.sum(E**2) / (2 * m), E / m", "return E / m", "answer: should be 2 things"),
    ],
    "independence": [
        ("np.sum(G**2) / 2", "np.sum(G**2)", "value: twice too large: the 1/2"),
        ("H @ H.T / m", "H @ H.T", "value: 1/m is missing in G"),
        (" - np.eye(L)", "", "value: I is missing in G"),
        ("L, m = H.shape", "L = m = len(H)", "value: m is H.shape[1]"),
        ("L, m = H.shape", "L = m = len(H)", "gradient: samples in rows? m is H.shape[1]"),
        (" - np.eye(L)", " - 1", "value: 1 is taken from every entry"),
        (" - np.eye(L)", " - 1", "gradient: 1 is taken from every entry"),
        ("np.sum(G**2)", "np.mean(G**2)", "value: np.mean divides by L^2"),
        ("np.sum(G**2)", "np.linalg.norm(G)", "value: the norm is squared"),
        ("L, m = H.shape\n    G", "H = H.T\n    L, m = H.shape\n    G", "value: samples in rows?"),
        ("2 / m * G @ H", "1 / m * G @ H", "gradient: half of it: H stands twice"),
        ("2 / m", "4 / m", "gradient: twice too large"),
        ("2 / m", "-2 / m", "gradient: the sign is wrong"),
        ("2 / m", "2", "gradient: 1/m"),
        ("2 / m * G @ H", "2 / m * (G @ H).T", "gradient: right numbers, but transposed"),
        (
            "L, m = H.shape\n",
            "m, L = H.shape\n    G = H.T @ H / m - np.eye(L)\n"
            "    return np.sum(G**2) / 2, 2 / m * H @ G\n",
            "gradient: samples in rows?",
        ),
    ],
    "balance": [
        ("/ (2 * m)", "/ m", "value: twice too large"),
        ("/ (2 * m)", "/ 2", "value: 1/m is"),
        ("/ (2 * m)", "", "value: 1/(2m) is missing"),
        ("H.sum(axis=1", "H.mean(axis=1", "value: h is a sum, not a mean"),
        ("H.sum(axis=1", "H.mean(axis=1", "gradient: h is a sum, not a mean"),
        ("np.sum(h**2)", "np.mean(h**2)", "value: np.mean divides by L"),
        ("axis=1", "axis=0", "value: a sum over bits"),
        ("axis=1", "axis=0", "gradient: a sum over bits"),
        (
            "m = H.shape[1]\n    h = H.sum(axis=1",
            "m = H.shape[0]\n    h = H.sum(axis=0",
            "value: samples in rows?",
        ),
        (
            "m = H.shape[1]\n    h = H.sum(axis=1",
            "m = H.shape[0]\n    h = H.sum(axis=0",
            "gradient: samples in rows?",
        ),
        ("m = H.shape[1]", "m = H.shape[0]", "value: samples in rows?"),
        (" + np.zeros(H.shape)", "", "gradient: this is one column"),
        ("h / m", "2 * h / m", "gradient: twice too large: the 2 of the square cancels the 1/2"),
        ("h / m", "-h / m", "gradient: the sign is wrong"),
        ("h / m", "h", "gradient: 1/m"),
        ("h / m + np.zeros(H.shape)", "(h / m + np.zeros(H.shape)).T", "but transposed"),
        ("h / m + np.zeros(H.shape)", "H @ np.ones((m, m)) / m", "it forms the m x m matrix"),
    ],
    "pairwise_similarity": [
        *SIMILARITY,
        ("m = H.shape\n", DENSE.format(f"H.T @ H / L + 2 * {SAME} - 1"), "value: S has the wrong"),
        (
            "m = H.shape\n",
            DENSE.format(f"H.T @ H / L + 2 * {SAME} - 1"),
            "gradient: S has the wrong",
        ),
        (
            "m = H.shape\n",
            DENSE.format(f"H.T @ H / L - 2 * {SAME} + np.eye(m)"),
            "value: I is taken",
        ),
        (
            "m = H.shape\n",
            DENSE.format(f"H.T @ H / L - 2 * {SAME} + 1").replace("H @ V", "V @ H.T"),
            "gradient: right numbers, but transposed: H V, not V H^T",
        ),
        ("return J,", "return 2 * J,", "value: twice too large"),
        ("/ (2 * m)", "/ 2", "value: 1/m is"),
        ("/ (2 * m)", "", "value: 1/(2m) is missing"),
        (" + m**2", "", "value: ||S||^2 = m^2 is left out"),
        ("2 / (m * L)", "1 / (m * L)", "gradient: half of it: H stands twice"),
        ("2 / (m * L)", "4 / (m * L)", "gradient: twice too large"),
        ("2 / (m * L)", "-2 / (m * L)", "gradient: the sign is wrong"),
        ("2 / (m * L)", "2 / L", "gradient: 1/m"),
        ("2 / (m * L)", "2 / m", "gradient: 1/L is missing in front of the gradient"),
        (
            "2 / (m * L) * (K @ H / L - 2 * sums @ Y + h)",
            "(2 / (m * L) * (K @ H / L - 2 * sums @ Y + h)).T",
            "gradient: right numbers, but transposed",
        ),
        ("K @ H / L", "K @ H", "gradient: the term with H H^T is L times too large"),
        (
            "m = H.shape\n",
            "m = H.shape\n    S = np.where(y[:, None] == y, 1.0, -1.0)\n",
            "an m x m matrix",
        ),
        ("m = H.shape\n", DENSE.format("H.T @ H / L - (y[:, None] == y)"), "value: S is -1"),
        ("m = H.shape\n", DENSE.format("H.T @ H / L - (y[:, None] == y)"), "gradient: S is -1"),
        ("m = H.shape\n", DENSE.format("H.T @ H / L - np.where(y[:, None] == y, 1, -1)"), "m x m"),
    ],
    "two_loop": [
        ("in reversed(pairs):", "in pairs:", "the first loop runs from the newest"),
        ("reversed(", "list(", "the first loop runs from the newest"),
        (LOOPS.format("reversed(pairs)", "pairs"), LOOPS.format("pairs", "pairs[::-1]"), "both"),
        ("np.copy(g), []", "np.copy(g), []\n    pairs = [p[::-1] for p in pairs]", "exchanged"),
        ("zip(pairs, reversed(alphas))", "zip(reversed(pairs), alphas)", "the second loop runs"),
        ("reversed(alphas)", "alphas", "reverse the alphas"),
        ("q *= s @ y / (y @ y)", "", "gamma is missing"),
        ("s @ y / (y @ y)  # gamma", "y @ y / (s @ y)  # gamma", "gamma is upside down"),
        ("pairs[-1]", "pairs[0]", "gamma is that of the newest"),
        ("return q", "return -q", "the minus belongs to the direction"),
        ("np.copy(g)", "g", "changes its argument g"),
        ("q *= s @ y / (y @ y)", "q = (s @ y / (y @ y) * np.eye(len(q))) @ q", "an n x n matrix"),
    ],
    "backtrack": [
        (" + c1 * a * (g @ p)", "", "any decrease would do"),
        ("c1 * a * (g @ p)", "c1 * (g @ p)", "a is missing"),
        ("+ c1", "- c1", "negative by itself"),
        ("return a", "return a / 2", "once too often"),
        ("while fun", "if 0 and fun", "taken at once"),
        (" > f", " <= f", "taken at once"),
        ("return a", "return x + a * p", "not the point"),
        ("c1 * a", "a", "the loop does not end"),
    ],
    "update_row": [
        ("sgn(", "np.sign(", "np.sign(0) is 0"),
        ("W[:, others] @ B[others]", "W @ B", "the bit sees itself"),
        (" + lambda2 * H[k]", "", "the pull of the encoder"),
        ("lambda2 * H", "H", "lambda2 is missing"),
        ("X - c", "X", "the bias c"),
        ("- W[:, others]", "+ W[:, others]", "taken away from X"),
        ("sgn(W[:, k] @ R + lambda2 * H[k])", "-sgn(W[:, k] @ R + lambda2 * H[k])", UNKNOWN),
        (
            "sgn(W[:, k] @ R + lambda2 * H[k])",
            "sgn(-W[:, k] @ R - lambda2 * H[k])",
            "opposite sign",
        ),
    ],
    "one_cycle": [
        ("sgn(", "np.sign(", "np.sign(0) is 0"),
        (
            "for k in range(len(B)):\n        B[k] = sgn(Q[k] - G[k] @ B)",
            "B = sgn(Q - G @ B)",
            "use the newest rows",
        ),
        ("np.fill_diagonal(G, 0)", "", "the bit sees itself"),
        ("range(len(B))", "reversed(range(len(B)))", "from the first to the last"),
        ("Q[k] - ", "Q[k] + ", "taken away from Q"),
        ("sgn(Q[k] - G[k] @ B)", "sgn(G[k] @ B - Q[k])", "opposite sign"),
        ("    return B", "        return B", "does `return` stand after the loop?"),
        ("B.copy()", "B", "changes its argument B"),
        ("G, B = G.copy(), B.copy()", "B = B.copy()", "changes its argument G"),
    ],
    "ridge_decoder": [
        (" - x @ b.T", "", "W: C_xb is not centred"),
        (" - b @ b.T", "", "W: C_bb is not centred"),
        ("X @ B.T / m", "X @ B.T", "W: 1/m is missing in C_xb"),
        ("B @ B.T / m -", "B @ B.T -", "W: 1/m is missing in C_bb"),
        (".T / m - ", ".T - ", "W: 1/m is missing in C_xb and C_bb"),
        ("lambda1 * np.eye(L)", "lambda1", "W: lambda1 is added to every entry"),
        ("lambda1 * np", "lambda1 * m * np", "W: lambda1 counts m times too much"),
        ("lambda1 * np", "lambda1 / 2 * np", "W: lambda1/2"),
        (
            "W = C_xb",
            "C, D = np.cov(X, B), len(X)\n    C_xb, C_bb = C[:D, D:], C[D:, D:]\n    W = C_xb",
            "W: np.cov divides by m - 1",
        ),
        (*PENALISED, "W: c is penalised"),
        (*PENALISED, "c: c is penalised"),
        ("W = C_xb", "W = -C_xb", "W: the sign"),
        ("W = C_xb", "W = -C_xb", "c: right for your W"),
        ("W = C_xb", "W = 7 * C_xb", "c: right for your W"),
        (
            "x @ b.T  # (D, L)\n    C_bb = B @ B.T / m - b @ b.T",
            "0  # (D, L)\n    C_bb = B @ B.T / m",
            "W: not centred",
        ),
        (" + lambda1 * np.eye(L)", "", "W: lambda1 is missing"),
        (
            " + lambda1 * np.eye(L)",
            " + lambda1 / m * np.eye(L)",
            "W: lambda1 counts m times too little",
        ),
        ("lambda1 * np", "2 * lambda1 * np", "W: 2 lambda1"),
        ("return W, x - W @ b", "return W.T, x - W @ b", "W: right numbers, but transposed"),
        ("x - W @ b", "x + W @ b", "c: the sign"),
        ("x - W @ b", "x", "c: W b is missing"),
        ("x - W @ b", "(x - W @ b)[:, 0]", "c: a bias is a column"),
        ("lambda1 * np", "2 * lambda1 * np", "c: right for your W"),
        (" + lambda1 * np.eye(L)", "", "c: right for your W"),
    ],
    "alternate": [
        (
            "for _ in range(rounds):",
            "start = theta\n    for _ in range(rounds):\n        theta = start",
            "starts afresh",
        ),
        ("lambdas[1], B)", "lambdas[0], B)", "lambda2 is lambdas[1]"),
        ("lambdas[1], B)", "lambdas[2], B)", "lambda2 is lambdas[1]"),
        ("        B = coord", "        coord", "the codes never change"),
        ("coordinate_descent(X, W, c, H, lambdas[1], B)", "np.where(H >= 0, 1.0, -1.0)", "SH-BDNN"),
        ("lambdas[1], B)", "lambdas[1], 0 * B)", "starts from 0"),
        ("range(rounds)", "range(rounds - 1)", "one round too few"),
        ("range(rounds)", "range(rounds + 1)", "one round too many"),
        ("range(rounds)", "range(1)", "one round only"),
        ("    return theta", "        return theta", "does `return` stand after the loop?"),
        (FOR + DECODER + J, J.strip() + "\n    " + FOR + DECODER, "J holds the codes of the start"),
        (FOR + DECODER, DECODER.strip() + "\n    " + FOR, "the decoder is that of the first codes"),
        (STEP + OUTPUT, OUTPUT + STEP, "H is that of the last theta"),
        ("X, B, lambdas[0]", "X, B, lambdas[1]", "lambda1, lambdas[0]"),
        ("X, B, lambdas[0]", "X, B, lambdas[2]", "lambda1, lambdas[0]"),
        (
            FOR + DECODER + J + STEP + OUTPUT + CODES,
            "first = B\n    " + FOR + DECODER + J + STEP + OUTPUT + CODES.replace("B)", "first)"),
            "DCC starts from the first codes",
        ),
        (CODES, "        old = B\n" + CODES + "    B = old\n", "B is that of the round before"),
        (
            "return theta, W, c",
            "return theta, *ridge_decoder(X, B, lambdas[0])",
            "fitted once more",
        ),
        ("return theta, W", "return theta, 2 * W", UNKNOWN + ": W"),
    ],
    "class_similarities": [
        ("mu[::-1][:L], U[:, ::-1][:, :L]", "mu[:L], U[:, :L]", "similarities: eigh gives"),
        ("mu[::-1][:L], U[:, ::-1][:, :L]", "mu[:L], U[:, :L]", "floor: eigh gives"),
        ("[::-1][:L], U[:, ::-1][:, :L]", "[::-1], U[:, ::-1]", "similarities: rank at most L"),
        ("[::-1][:L], U[:, ::-1][:, :L]", "[::-1], U[:, ::-1]", "floor: rank at most L"),
        (
            "(m**2 - np.sum(mu**2)) / (2 * m)",
            "np.linalg.eigvalsh(M)[0] ** 2 / (2 * m)",
            "floor: rank at most L: the positive eigenvalues beyond L are left, too",
        ),
        (
            "(m**2 - np.sum(mu**2)) / (2 * m)",
            "m / 2 * (1 - 2 / (C := len(counts))) ** 2 + max(0, C - 1 - L) * 2 * m / C**2",
            "floor: Eq. (16) of notebook 05 holds for classes of equal size only",
        ),
        ("np.sum(mu**2)", "np.sum(mu)", "floor: the squares of the eigenvalues"),
        ("U.T / root", "U.T / counts", "similarities: N^(-1/2), not N^-1"),
        ("2 * np.diag(counts)", "np.diag(counts)", "similarities: 2I, not I"),
        ("2 * np.diag(counts)", "np.diag(counts)", "floor: 2I, not I"),
        (
            "2 * np.diag(counts) - np.outer(root, root)",
            "2 * np.eye(len(counts)) - 1",
            "floor: M without",
        ),
        (*CLIPPED, "similarities: the root of a"),
        (*CLIPPED, "floor: the negative"),
        ("np.sqrt(L * mu)", "np.sqrt(L) * mu", "the square root of mu"),
        ("np.sqrt(L * mu)", "np.sqrt(mu)", "the root of L is missing"),
        ("A.T @ A / L", "A.T @ A", "1/L is missing in front of A^T A"),
        ("U.T / root", "U.T", "N^(-1/2) is missing"),
        ("2 * np.diag(counts) - np.outer(root, root)", "2 * np.eye(len(counts)) - 1", "M without"),
        ("m**2 - np.sum(mu**2)", "np.sum(mu**2)", "floor: this is what the outputs reach"),
        ("/ (2 * m)", "/ m", "floor: twice too large"),
        ("/ (2 * m)", "/ 2", "floor: 1/m is"),
        ("/ (2 * m)", "", "floor: 1/(2m) is missing"),
    ],
    "shared_similarity": [
        *SIMILARITY,
        (
            "m = H.shape\n",
            DENSE.format("H.T @ H / L - 2 * T[y][:, y] + 1").replace("H @ V", "V @ H.T"),
            "gradient: right numbers, but transposed: H V, not V H^T",
        ),
        ("alike = sums @ T", "alike = sums", "value: T is missing"),
        ("alike = sums @ T", "alike = sums", "gradient: T is missing"),
        ("np.sum(sums * alike)", "np.sum(alike**2)", "value: T stands once"),
        ("alike = sums @ T", "alike = sums @ T @ T", "gradient: T stands once"),
        ("return J,", "return 2 * J,", "value: twice too large"),
        ("/ (2 * m)", "/ 2", "value: 1/m is"),
        ("/ (2 * m)", "", "value: 1/(2m) is missing"),
        (" + m**2", "", "value: ||S||^2 = m^2 is left out"),
        ("2 / (m * L)", "1 / (m * L)", "gradient: half of it: H stands twice"),
        ("2 / (m * L)", "4 / (m * L)", "gradient: twice too large"),
        ("2 / (m * L)", "-2 / (m * L)", "gradient: the sign is wrong"),
        ("2 / (m * L)", "2 / L", "gradient: 1/m"),
        ("2 / (m * L)", "2 / m", "gradient: 1/L is missing in front of the gradient"),
        (
            "2 / (m * L) * (K @ H / L - 2 * alike @ Y + h)",
            "(2 / (m * L) * (K @ H / L - 2 * alike @ Y + h)).T",
            "gradient: right numbers, but transposed",
        ),
        ("K @ H / L", "K @ H", "gradient: the term with H H^T is L times too large"),
        ("m = H.shape\n", DENSE.format("H.T @ H / L - T[y][:, y]"), "value: S is -1"),
        ("m = H.shape\n", DENSE.format("H.T @ H / L - T[y][:, y]"), "gradient: S is -1"),
        ("m = H.shape\n", DENSE.format("H.T @ H / L - (2 * T[y][:, y] - 1)"), "m x m matrix"),
    ],
    "quantisation": [
        ("np.sum(E**2) / 2", "np.sum(E**2)", "value: twice too large"),
        ("np.sum(E**2) / 2", "np.sum(E**2) / (2 * H.shape[1])", "value: a mean"),
        ("np.sum(E**2)", "np.linalg.norm(E)", "value: the norm is squared"),
        ("/ 2, E", "/ 2, 2 * E", "gradient: twice too large"),
        ("/ 2, E", "/ 2, -E", "gradient: the sign is wrong"),
        ("/ 2, E", "/ 2, E / H.shape[1]", "gradient: a mean"),
        ("/ 2, E", "/ 2, H", "gradient: sgn(H) counts as a constant"),
        ("/ 2, E", "/ 2, E.T", "gradient: right numbers, but transposed"),
    ],
    "scatter": [
        ("(T - T_S) / N_D - T_S / N_S", "T_S / N_S - (T - T_S) / N_D", "value: the sign"),
        ("(T - T_S) / N_D - T_S / N_S", "((T - T_S) / N_D - T_S / N_S) / 2", "value: half of it"),
        ("np.sum(n**2) - m", "np.sum(n**2)", "value: N_S counts pairs i != j"),
        ("np.sum(n**2) - m", "np.sum(n**2)", "gradient: N_S counts pairs i != j"),
        ("- T_S / N_S", "", "value: the scatter within"),
        (" - within / N_S", "", "gradient: the scatter within"),
        (
            "(between - within) / N_D - within / N_S",
            "within / N_S - (between - within) / N_D",
            "gradient: the sign",
        ),
        ("4 * (", "2 * (", "gradient: half of it: h_i stands"),
        (
            "(between - within) / N_D - within / N_S",
            "((between - within) / N_D - within / N_S).T",
            "gradient: right numbers, but transposed",
        ),
        ("m = H.shape[1]", "m = H.shape[1]\n    pairs = H.T @ H", "an m x m matrix"),
    ],
}

# name -> (old, new): other lines that are right
OTHERWISE = {
    "procrustes": [("B @ V.T)\n    return U @ At", "V @ B.T)\n    return (U @ At).T")],
    "independence": [("2 / m * G @ H", "2 * (H @ (H.T @ H) / m - H) / m")],
    "balance": [("h / m + np.zeros(H.shape)", "np.repeat(h, m, axis=1) / m")],
    "pairwise_similarity": [
        ("np.unique(y)[:, None]", "np.arange(y.max() + 1)[:, None]"),
        ("(y == np.unique(y)[:, None]) * 1.0", "np.eye(3)[y].T"),
        ("2 * sums @ Y + h", "(2 * sums - h)[:, y]"),
    ],
    "two_loop": [("reversed(pairs)", "pairs[::-1]")],
    "ridge_decoder": [
        (
            "C_xb @ np.linalg.inv(C_bb + lambda1 * np.eye(L))",
            "np.linalg.solve(C_bb + lambda1 * np.eye(L), C_xb.T).T",
        ),
        ("X @ B.T / m - x @ b.T", "(X - x) @ (B - b).T / m"),
        ("B @ B.T / m - b @ b.T", "np.cov(B, bias=True)"),
    ],
    "alternate": [
        (
            J,
            "        def J(t):\n            return encoder_objective(t, X, B, sizes, lambdas)\n\n",
        ),
    ],
    "class_similarities": [
        ("A.T @ A / L", "(U * mu) @ U.T / np.outer(root, root)"),
        ("mu[::-1][:L], U[:, ::-1][:, :L]", "mu[-L:], U[:, -L:]"),
        (
            "2 * np.diag(counts) - np.outer(root, root)",
            "root[:, None] * (2 * np.eye(len(root)) - 1) * root",
        ),
    ],
    "shared_similarity": [("2 * alike @ Y + h", "(2 * sums @ T - h)[:, y]")],
}


def student(name, source=None):
    """The function of an exercise as a student has it, from the solution or from other lines."""
    solution, before = SOLUTIONS[name]
    namespace = {"__name__": "student"}
    for lines in (*before, source or solution):
        exec(compile(lines, "lines", "exec"), namespace)
    return namespace[name]


@cache
def report_of(name, old, new):
    """What `check` says when these lines of the solution are others."""
    solution, _ = SOLUTIONS[name]
    assert old in solution
    head = stub(solution).removesuffix("    ...")
    body = solution.removeprefix(head)
    assert solution == head + body
    return check(student(name, head + body.replace(old, new)))


@pytest.mark.rounding
@pytest.mark.parametrize("name", SOLUTIONS)
def test_the_solution_passes(name):
    report = check(student(name))
    assert report, report


@pytest.mark.rounding
@pytest.mark.parametrize(
    ("name", "old", "new"), [(name, *edit) for name, edits in OTHERWISE.items() for edit in edits]
)
def test_a_right_answer_written_differently_passes(name, old, new):
    assert report_of(name, old, new)


@pytest.mark.parametrize("name", SOLUTIONS)
def test_an_untouched_cell_is_told_how_to_begin(name):
    report = check(student(name, stub(SOLUTIONS[name][0])))
    assert not report
    assert repr(report) == f"{name}: returns nothing yet. {EXERCISES[name].first}"


@pytest.mark.parametrize(
    ("name", "old", "new", "hint"),
    [(name, *slip) for name, edits in PLANTED.items() for slip in edits],
)
def test_a_planted_slip_gets_its_hint(name, old, new, hint):
    report = report_of(name, old, new)
    assert not report
    assert hint in repr(report)


def test_every_exercise_has_five_planted_slips_and_every_hint_is_given():
    assert set(PLANTED) == set(SOLUTIONS) == set(EXERCISES)
    assert min(map(len, PLANTED.values())) >= 5
    for name, exercise in EXERCISES.items():
        hints = {(part, hint) for part, table in exercise.slips.items() for _, hint in table}
        reports = [repr(report_of(name, old, new)) for old, new, _ in PLANTED[name]]
        never = {(p, h) for p, h in hints if not any(f"{p}: {h}" in text for text in reports)}
        assert not {(p, h) for p, h in never if not h.endswith(FATES)}, name


def with_slip(name, k, expression):
    """The function of an exercise, right but for part k, which is what the expression gives."""

    def function(*given):
        right = list(EXERCISES[name].right(*given))
        named = dict(zip(inspect.signature(EXERCISES[name].right).parameters, given))
        known = named | {"given": given, "part": k, "mine": right, "right": right[k]}
        right[k] = slips.evaluate(expression, known)
        return right

    function.__name__ = name
    return function


@pytest.mark.parametrize("name", ["pairwise_similarity", "shared_similarity"])
def test_what_happens_to_a_term_is_named(name):
    terms = 0
    for k, (part, table) in enumerate(EXERCISES[name].slips.items()):
        for expression, hint in table:
            if hint.endswith(FATES):
                terms += 1
                assert f"  {part}: {hint}" in repr(check(with_slip(name, k, expression)))
    assert terms == 9 * len(FATES)  # five terms of the value, four of the gradient


@pytest.mark.parametrize("value", ["a", None, {}, [1, "a"], [[1], 2], np.array("a")])
def test_what_is_no_number_is_named(value):
    def independence(H):
        return value, losses.independence(H)[1] + 1

    assert "value: should be a number, not " in repr(check(independence))


def test_a_function_that_calls_another_exercise_needs_that_first():
    ready = student("alternate")
    assert check(ready)
    ready.__globals__["ridge_decoder"] = student(
        "ridge_decoder", stub(SOLUTIONS["ridge_decoder"][0])
    )
    assert "your ridge_decoder, which is not right yet" in repr(check(ready))
    ready.__globals__["ridge_decoder"] = uh_bdnn.ridge_decoder
    assert check(ready)


def test_an_error_about_parts_is_not_explained_by_shapes():
    said = repr(
        report_of("alternate", "X=X, B=B, sizes=sizes, lambdas=lambdas", "X, B, sizes, lambdas")
    )
    assert "unpack" in said and "`partial`" in said and "transpose" not in said
    assert "sizes [7, 5, 4, 3], lambdas [0.01, 0.3, 0.2, 0.05], max_iter 4" in said


def test_numbers_that_nothing_explains_are_compared_with_their_own_value():
    def independence(H):
        value, gradient = losses.independence(H)
        return 3 * value, factor * gradient

    factor = 3
    assert "it is the gradient of your value" in repr(check(independence))
    factor = 5
    assert "in a random direction your value has slope" in repr(check(independence))


def test_an_error_names_line_and_shapes(tmp_path):
    lines = "def forward(Ws, cs, X):\n    return Ws[0].T @ X\n"
    (tmp_path / "lines.py").write_text(lines, encoding="utf-8")
    namespace = {"__name__": "student"}
    exec(compile(lines, tmp_path / "lines.py", "exec"), namespace)
    said = repr(check(namespace["forward"]))
    assert "ValueError" in said and "return Ws[0].T @ X" in said
    assert "Ws [(5, 6), (4, 5)" in said


def test_networks_have_one_two_and_three_hidden_layers():
    networks = [EXERCISES["forward"].cases(np.random.default_rng(seed)) for seed in range(CASES)]
    assert {len(Ws) - 1 for Ws, _, _ in networks} == {1, 2, 3}


def test_a_stub_that_raises_is_told_how_to_begin():
    def balance(H):
        raise NotImplementedError

    assert EXERCISES["balance"].first in repr(check(balance))


def test_neither_the_librarys_function_nor_an_unknown_one_counts():
    assert "write your own" in repr(check(losses.equality))
    assert "no exercise 'len'" in repr(check(len))


def test_the_shapes_are_compared():
    def distance(X):
        return np.zeros(X.shape)

    distance.__name__ = "independence"
    assert "should be 2 things" in repr(check(distance))

    def equality(H, B):
        return losses.equality(H, B)[0], np.zeros(3)

    assert "has the shape (3,), and should have" in repr(check(equality))


def test_students_get_no_solution_no_output_and_the_usual_set_up():
    course = Course(ROOT)
    for text in texts(ROOT):
        nb = nbformat.reads(notebook(text, course.address), as_version=4)
        assert nb.cells[0].source.endswith(HOW)
        assert nb.cells[1].source == SETUP.format(course.address)
        given = [cell.source for cell in nb.cells if "exercise" in tags(cell)]
        asked = [cell.source for _, cell in text.code_cells() if "solution" in tags(cell)]
        assert len(given) == len(asked) >= 2
        for stubbed, solution in zip(given, asked):
            assert stubbed.endswith('"""\n    ...') and stubbed[:-7] in solution
        assert not any(cell.get("outputs") for cell in nb.cells)


def test_every_equation_that_an_exercise_refers_to_is_there():
    both = [*texts(ROOT), *find(ROOT)]  # the notebooks last: theirs are the numbers that count
    assert list(equations(SimpleNamespace(notebooks=both))) == []


def test_every_notebook_with_exercises_leads_to_them():
    for text in texts(ROOT):
        (lesson,) = [n for n in find(ROOT, [text.number]) if not n.is_solution]
        link = f"(exercises/{text.path.name})"
        assert [c for c in lesson.cells if link in c.source and "## Exercises" in c.source]


@pytest.mark.parametrize("text", texts(ROOT), ids=lambda text: text.number)
def test_a_lesson_asks_for_each_exercise_before_its_code_gives_the_answer(text):
    (lesson,) = [n for n in find(ROOT, [text.number]) if not n.is_solution]
    told = "\n".join(cell.source for cell in lesson.cells)
    stops = {
        number: line.start()
        for line in re.finditer(r"^\*\*Stop\.\*\*.*", told, re.MULTILINE)
        for number in re.findall(r"\d+\.[A-D]", line[0])
        if f"(exercises/{text.path.stem}.ipynb)" in line[0]
    }
    asked = re.findall(r"^## (\d+\.[A-D]) ", "\n".join(c.source for c in text.cells), re.MULTILINE)
    assert list(stops) == asked
    solutions = (c.source for _, c in text.code_cells() if "solution" in tags(c))
    for number, solution in zip(asked, solutions):
        name = solution.split("(")[0]  # "def name"
        answer = ANSWERS.get(name, rf"^{name}(_rotation)?\(")
        answers = [found.start() for found in re.finditer(answer, told, re.MULTILINE)]
        assert all(stops[number] < place for place in answers)
        assert answers or name not in ANSWERS


@pytest.mark.slow
def test_marks_count_what_is_right_in_a_notebook_handed_in(tmp_path):
    text = next(text for text in texts(ROOT) if text.number == "06")
    nb = nbformat.reads(notebook(text, Course(ROOT).address, key=True), as_version=4)
    cell = next(cell for cell in nb.cells if cell.source.startswith("def backtrack"))
    cell.source = cell.source.replace("a /= 2", "pass").replace("a = 1.0", "a = oops")
    nbformat.write(nb, tmp_path / "06_a_student.ipynb")
    assert marks(tmp_path / "06_a_student.ipynb") == {"two_loop": True, "backtrack": False}
