"""The exercises that `check` knows: the right answer, random arguments, and tables of slips.

A table begins with the part of the answer that it is for, in brackets. A line of it is an
expression and, as its comment, the hint for whoever gets what it gives. In it `right` is the right
answer, the arguments have their names, `given` is all of them, `part` is the number of the part,
`mine` all that the student returns, and L, m are the shape of H, or of B. A line that begins with +
is a term of the right answer and its name: `FACTORS` says what may have happened to it. The first
line that explains an answer counts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np

from bdnn import dcc, deep_hashing, itq, lbfgs, losses, metrics, network, uh_bdnn
from bdnn.metrics import sgn

LARGE = 2000  # samples, or variables, where memory is measured


@dataclass(frozen=True)
class Exercise:
    """What is known of one function that students write."""

    right: Callable  # arguments -> the answer, a tuple where there are several parts
    cases: Callable  # Generator -> arguments
    first: str  # said to whom has not begun
    tables: str
    square: str = ""  # a large matrix that is not needed
    large: Callable | None = None  # Generator -> arguments with which it is noticed
    needs: str = ""  # the exercise whose function is called in this one

    @property
    def slips(self):
        """{part of the answer: [(expression, hint)]}, in the order of the parts."""
        _, *pieces = re.split(r"^\[([^]]*)\]$", self.tables, flags=re.MULTILINE)
        return {part: table(text) for part, text in zip(pieces[::2], pieces[1::2])}


def evaluate(expression, variables):
    """What a slip gives in the place of the right answer; "" if with this `mine` nothing."""
    codes = variables.get("H", variables.get("B"))
    sizes = {} if codes is None else dict(zip("Lm", codes.shape))
    try:
        with np.errstate(all="ignore"):
            return eval(expression, globals() | sizes | variables)
    except Exception:
        return ""


def table(text):
    """[(expression, hint)] of the lines of a table.

    A hint may stand in a line of its own; `*NAME` stands for the lines of a shared table.
    """
    found = []
    for line in re.sub(r"\n *#", "  #", text).strip().splitlines():
        expression, _, hint = (part.strip() for part in line.partition("#"))
        if expression.startswith("*"):
            found += table(globals()[expression[1:]])
        elif expression.startswith("+"):
            for factor, fate in table(FACTORS):
                found.append((f"right + ({factor} - 1) * ({expression[1:]})", f"{hint} {fate}"))
        else:
            found.append((expression, hint))
    return found


# Right answers and their relatives, where the library has no function of just this form.


def average_precision(ranked):
    """Eq. (3) of notebook 02."""
    return float(np.mean((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked]))


def precision_in_ball(D, R, radius, empty=0.0):
    """Eq. (4) of notebook 02."""
    return metrics._mean_ball_precision(*metrics._ball_counts(D, R, radius), empty)


def no_reflection(B, V):
    """The best R with det R = 1."""
    U, _, At = np.linalg.svd(B @ V.T)
    U[:, -1] *= np.linalg.det(U @ At)
    return U @ At


def alternate_itq(V, R, n_iter, codes=lambda R, V: sgn(R @ V), then=lambda R, new: new):
    """The alternation of notebook 03."""
    for _ in range(n_iter):
        R = then(R, itq.procrustes_rotation(codes(R, V), V))
    return R


def of_pairs(H, y, T=None, change=lambda S: S):
    """Eqs. (12), (13) of notebook 05, or Eq. (7) of notebook 09, with another S."""
    L, m = H.shape
    alike = y[:, None] == y if T is None else T[y][:, y] > 0
    V = H.T @ H / L - change(2.0 * alike - 1)
    return np.sum(V**2) / (2 * m), 2 / (m * L) * H @ V


def similarity(H, y, T=None, shape=None, means=False):
    """The terms of Eqs. (14), (15) of notebook 05, or, with T, of Eqs. (8), (9) of notebook 09."""
    L, m = shape or H.shape
    Y, h = (y == np.arange(y.max() + 1)[:, None]) * 1.0, H.sum(axis=1, keepdims=True)
    K, sums = H @ H.T, H @ Y.T / (Y.sum(axis=1) if means else 1)
    alike = sums if T is None else sums @ T
    value = np.sum(K**2) / L**2, -4 / L * np.sum(sums * alike), 2 / L * np.sum(h**2), m**2
    gradient = K @ H / L, -2 * alike @ Y, h + 0 * H
    return np.array(value) / (2 * m), 2 / (m * L) * np.array(gradient)


def shared_similarity(H, y, T):
    """Eqs. (8), (9) of notebook 09."""
    return losses.pairwise_similarity(H, losses.Groups(y, T))


def class_similarities(counts, L, order=-1, weighted=True, two=2, root=0.5, power=2):
    """A^T A / L of Eq. (4) of notebook 09, and Eq. (5); from the other end, with other powers."""
    m, n = np.sum(counts), np.sqrt(counts)
    N = n if weighted else np.ones(len(n))
    mu, U = np.linalg.eigh(two * np.diag(N**2) - np.outer(N, N))
    mu, U = np.maximum(mu[::order], 0)[:L], U[:, ::order][:, :L]
    A = np.sqrt(L) * mu[:, None] ** root * U.T / n
    return A.T @ A / L, (m**2 - np.sum(mu**power)) / (2 * m)


def balanced_floor(counts, L):
    """Eq. (16) of notebook 05."""
    m, C = np.sum(counts), len(counts)
    return m / 2 * (1 - 2 / C) ** 2 + max(0, C - 1 - L) * 2 * m / C**2


def two_loop(g, pairs, first=reversed, second=list, own=True, power=1, newest=-1):
    """Eq. (8) of notebook 06 with loops in another order, or gamma to another power."""
    q, alphas = g.copy(), []
    for s, y in first(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    s, y = pairs[newest]
    q *= (s @ y / (y @ y)) ** power
    for (s, y), alpha in zip(second(pairs), alphas[:: -1 if own else 1]):
        q += (alpha - y @ q / (s @ y)) * s
    return q


def backtrack(fun, x, p, c1, sign=1, power=1):
    """Eq. (10) of notebook 06."""
    (f, g), a = fun(x), 1.0
    while fun(x + a * p)[0] > f + c1 * a**power * sign * (g @ p):
        a /= 2
    return a


def before_sgn(X, W, c, H, lambda2, B, k, own=0):
    """The argument of sgn in Eq. (6) of notebook 07."""
    others = B * np.where(np.arange(len(B)) == k, own, 1)[:, None]
    return W[:, k] @ (X - c - W @ others) + lambda2 * H[k]


def update_row(X, W, c, H, lambda2, B, k):
    """Eq. (6) of notebook 07."""
    return sgn(before_sgn(X, W, c, H, lambda2, B, k))


def one_cycle(Q, G, B, order=1, own=0, sign=sgn):
    """All rows by Eq. (6) of notebook 07, one after the other."""
    G, B = G - (1 - own) * np.diag(np.diag(G)), B.copy()
    for k in range(len(B))[::order]:
        B[k] = sign(Q[k] - G[k] @ B)
    return B


def decoder(X, B, penalty, x=1, b=1, xb=1, bb=1):
    """W of Eq. (3) of notebook 08, X B^T / m, B B^T / m and what centres them with weights."""
    x_mean, b_mean = (A.mean(axis=1, keepdims=True) for A in (X, B))
    C_xb = x * X @ B.T / B.shape[1] - xb * x_mean @ b_mean.T
    C_bb = b * B @ B.T / B.shape[1] - bb * b_mean @ b_mean.T
    return C_xb @ np.linalg.inv(C_bb + penalty)


def bias(X, B, W, weight=1):
    """c of Eq. (3) of notebook 08 for any W."""
    return X.mean(axis=1, keepdims=True) - weight * W @ B.mean(axis=1, keepdims=True)


def alternate(X, B, theta, sizes, lambdas, max_iter, rounds, old="", codes=None, weights=(0, 1)):
    """The rounds of notebook 08, DCC from the present codes; what is `old` stays as it was."""
    first, start = B, theta
    for t in range(rounds):
        if t == 0 or old != "decoder":
            W, c = uh_bdnn.ridge_decoder(X, B, lambdas[weights[0]])
        fixed = {"X": X, "B": first if old == "J" else B, "sizes": sizes, "lambdas": lambdas}
        J, before = partial(uh_bdnn.encoder_objective, **fixed), theta
        begin = start if old == "theta" else theta
        theta = lbfgs.minimize(J, begin, max_iter=max_iter, gtol=0, ftol=0).x
        H = network.forward(*network.unflatten(before if old == "H" else theta, sizes), X)[-1]
        B = (codes or dcc.coordinate_descent)(X, W, c, H, lambdas[weights[1]], B)
    return theta, W, c, B


def scatter_of_pairs(H, y, own=0, within=1):
    """Eq. (9) of notebook 10 as it stands; with own=1 the pairs i = j count in N_S."""
    alike = y[:, None] == y
    weights = ~alike / np.sum(~alike) - within * alike / (np.sum(alike) - (1 - own) * len(y))
    squares = np.sum((H[:, :, None] - H[:, None]) ** 2, axis=0)
    return np.sum(weights * squares), 4 * (H * weights.sum(axis=1) - H @ weights)


# Random arguments. Dimensions differ, so that a transposed matrix does not go unnoticed.


def ranking(rng):
    ranked = rng.random(rng.integers(8, 30)) < 0.4
    ranked[-2:] = True, False  # something is relevant, and not everything
    return (ranked,)


def balls(rng):
    D = rng.integers(0, 9, (12, 7))
    D[0], D[1, :2] = 5, (1, 2)  # an empty ball, and one that is not
    return D, rng.random(D.shape) < 0.5, 2


def codes_and_values(rng):
    L, m = rng.integers(3, 6), rng.integers(60, 90)
    V = np.arange(1, L + 1)[:, None] * rng.standard_normal((L, m))
    return rng.choice([-1.0, 1.0], (L, m)), V


def values_and_rotation(rng):
    _, V = codes_and_values(rng)
    return V, itq.random_rotation(len(V), rng), 3


def layers(rng):
    """One, two or three hidden layers."""
    sizes = [6, 5, 4, 3, 2][: 3 + int(3 * rng.random())]
    Ws = [rng.standard_normal((b, a)) for a, b in zip(sizes, sizes[1:])]
    cs = [rng.standard_normal((b, 1)) for b in sizes[1:]]
    return Ws, cs, rng.standard_normal((6, rng.integers(7, 12)))


def outputs_of_layers(rng):
    Ws, cs, X = layers(rng)
    Hs = network.forward(Ws, cs, X)
    return Ws, Hs, rng.standard_normal(Hs[-1].shape)


def outputs(rng, m=None):
    return (rng.standard_normal((rng.integers(2, 6), m or rng.integers(7, 20))),)


def outputs_and_codes(rng):
    (H,) = outputs(rng)
    return H, rng.choice([-1.0, 1.0], H.shape)


def outputs_and_labels(rng, m=None):
    """Classes 0, 1 and 2."""
    (H,) = outputs(rng, m)
    return H, rng.permutation(np.arange(H.shape[1]) % 3)


def outputs_and_sets(rng, m=None):
    """Sets of up to three labels; whoever has none shares none."""
    (H,) = outputs(rng, m)
    return H, *losses.label_groups(rng.random((H.shape[1], 3)) < 0.5)


def class_counts(rng):
    """Classes of different sizes; of their positive eigenvalues L takes some, or all."""
    counts = rng.permutation(np.arange(2, 9))[: rng.integers(4, 7)]
    return counts, int(rng.choice([2, 3, 9]))


def gradient_and_pairs(rng, n=9):
    curvature = rng.uniform(0.1, 3, n)
    return rng.standard_normal(n), [(s, curvature * s) for s in rng.standard_normal((4, n))]


def step(rng):
    A, x = np.diag(rng.uniform(0.5, 2, 4)), rng.standard_normal(4)
    g = A @ x
    lowest = rng.choice([0.26, 0.3, 0.48])  # length a of the lowest point along p
    p = -(g @ g) / (g @ A @ g) / lowest * g

    calls = count()

    def fun(z):
        if 0 < np.abs(z - x).max() < 1e-6:
            raise RuntimeError("a has shrunk to nothing, and the loop does not end")
        if next(calls) > 1000:
            raise RuntimeError("1,000 evaluations, and no end: does a get smaller in the loop?")
        return z @ A @ z / 2, A @ z

    return fun, x, p, 0.1


def bits(rng):
    """Whole numbers, so that some sums are exactly 0."""
    X, W, c = (rng.integers(-1, 2, size).astype(float) for size in ((4, 40), (4, 5), (4, 1)))
    H, B = rng.integers(-2, 3, (5, 40)).astype(float), rng.choice([-1.0, 1.0], (5, 40))
    return X, W, c, H, 1.5, B, int(rng.integers(5))


def all_bits(rng):
    X, W, c, H, lambda2, B, _ = bits(rng)
    return W.T @ (X - c) + lambda2 * H, W.T @ W, B


def samples_and_codes(rng):
    m = rng.integers(20, 30)
    return rng.random((7, m)), rng.choice([-1.0, 1.0], (3, m), p=[0.3, 0.7]), rng.uniform(0.1, 0.5)


def training(rng):
    X, B, _ = samples_and_codes(rng)
    sizes = [len(X), 5, 4, len(B)]
    theta = network.flatten(*network.initial_weights(X, sizes, rng))
    return X, B, theta, sizes, (0.01, 0.3, 0.2, 0.05), 4, 3


# Slips that several exercises share.

FACTORS = """
0  # is left out
-1  # has the wrong sign
2  # is twice too large
1 / 2  # is half of what it should be
L  # is L times too large
1 / L  # is L times too small
L**2  # is L^2 times too large
m  # is m times too large
1 / m  # is m times too small
"""

VALUE = """
2 * right  # twice too large: the 1/2 in front of the square is missing
m * right  # 1/m is missing
2 * m * right  # 1/(2m) is missing
"""
GRADIENT = """
2 * right  # twice too large: the 2 of the square cancels the 1/2
-right  # the sign is wrong: this is minus the gradient, and a step against it would climb
m * right  # 1/m is missing
right.T  # right numbers, but transposed
"""
BACKWARD = """
network.backward(Ws, Hs, dH, "identity")[part]
# the slope of the hidden layers is missing: Delta = dH * H * (1 - H), Eq. (11)
network.backward(Ws, Hs, dH, "sigmoid", "sigmoid")[part]
# the code layer is linear: its slope is 1, not that of the sigmoid
network.backward(Ws, Hs, dH, "tanh")[part]  # 1 - H^2 is the slope of the tanh, not of the sigmoid
right[::-1]  # in the order of the way back: the first layer comes first
[d / dH.shape[1] for d in right]  # divided by m once more: the 1/m is in dH already
"""
SIMILARITY = """
sum(similarity(*given, shape=(1, m))[part])  # 1/L is missing in front of H^T H
sum(similarity(*given, shape=(m, L))[part])  # samples in rows? L is len(H), and m is H.shape[1]
sum(similarity(*given, means=True)[part])  # H Y^T holds the sums of the classes, not their means
of_pairs(*given, change=lambda S: (S + 1) / 2)[part]  # S is -1 for pairs that are not alike, not 0
of_pairs(*given, change=lambda S: S + 1 - np.eye(m))[part]
# I is taken from 2 Y^T Y; S takes 1 from every entry, the matrix 1 1^T
+ similarity(*given)[part][1] + similarity(*given)[part][2]  # S
+ similarity(*given)[part][0]  # the term with H H^T
+ similarity(*given)[part][1]  # the term with Y
+ similarity(*given)[part][2]  # the term with H 1
"""
SIMILARITY_VALUE = """
+ m / 2  # ||S||^2 = m^2
right + (np.sum(H**2) - np.sum(H.sum(axis=1) ** 2)) / (m * L)
# I is taken from 2 Y^T Y; S takes 1 from every entry, the matrix 1 1^T
right / m  # np.mean divides by m^2; 1/(2m) stands in front of the sum
*VALUE
*SIMILARITY
"""
SIMILARITY_GRADIENT = """
right / 2  # half of it: H stands twice in H^T H, so the product rule gives two equal terms
L * right  # 1/L is missing in front of the gradient
right.T  # right numbers, but transposed: H V, not V H^T
*GRADIENT
*SIMILARITY
"""

EXERCISES = {
    "average_precision": Exercise(
        average_precision,
        ranking,
        "Which ranks are relevant? np.flatnonzero finds their indices, which count from 0.",
        """
[AP]
right * np.mean(ranked)  # divided by the number of items; R is that of the relevant ones
right * np.sum(ranked)  # a sum so far: 1/R is missing
right - np.mean(1 / (1 + np.flatnonzero(ranked)))  # j counts from 1: the first relevant item is 1
np.mean(np.arange(1, 1 + ranked.sum()) / np.flatnonzero(ranked))
# ranks count from 1: index 0 of the array is rank 1
np.mean((1 + np.flatnonzero(ranked)) / np.arange(1, 1 + ranked.sum()))
# upside down: the precision at rank r_j is j / r_j
np.mean(np.cumsum(ranked) / np.arange(1, 1 + len(ranked)))
# a mean over all ranks; Eq. (3) takes those of the relevant items alone
1.0  # both counts are j? Each relevant item needs its rank r_j among all items
""",
    ),
    "precision_in_ball": Exercise(
        precision_in_ball,
        balls,
        "`D <= radius` marks the balls: count in each the items, and the relevant items.",
        """
[P]
np.sum((D <= radius) & R) / np.sum(D <= radius)
# pooled: divide for each query first, then take the mean over the queries
precision_in_ball(D, R, radius, np.nan)  # empty balls are left out; here they count 0
np.nan  # 0/0 for an empty ball: divide by np.maximum(size, 1)
precision_in_ball(D, R, radius, 1.0)  # an empty ball counts 0 here, not 1
precision_in_ball(D, R, radius - 1)  # a distance of exactly the radius is in the ball: <=
precision_in_ball(D.T, R.T, radius)  # sums over the queries; count in each row, axis=1
np.mean(np.sum((D <= radius) & R, axis=1) / np.maximum(R.sum(axis=1), 1))
# this is the recall: divide by the items in the ball, not by the relevant ones
""",
    ),
    "procrustes": Exercise(
        itq.procrustes_rotation,
        codes_and_values,
        "Decompose B V^T, which is (L, L): U, sigma, At = np.linalg.svd(...).",
        """
[R]
right.T  # this is R^T: where B V^T = U Sigma A^T, R is U A^T, in this order
right @ np.linalg.matrix_power(np.linalg.svd(B @ V.T)[2].T, 2)  # svd returns A^T: not A^T again
B @ V.T  # Sigma stays out: with the singular values R is no rotation
-right  # the sign: this R brings V closest to -B
no_reflection(B, V)  # a reflection is allowed: det R = -1 may be best
np.eye(len(V))  # decomposes V V^T or B B^T? It takes both: B V^T
""",
    ),
    "alternate_itq": Exercise(
        alternate_itq,
        values_and_rotation,
        "In each of the n_iter rounds: codes by Eq. (3), then a rotation by Eq. (5).",
        """
[R]
alternate_itq(V, R, n_iter, lambda R, V: sgn(V))  # the codes are the signs of R V, not of V
alternate_itq(V, R, n_iter, then=lambda R, new: new.T)  # B and V exchanged? This is R^T
alternate_itq(V, R, n_iter, lambda R, V: sgn(R.T @ V))  # codes of R^T V; take those of R V
alternate_itq(V, R, n_iter, then=lambda R, new: new @ R)
# Eq. (5) gives the whole rotation of V, not what is to be added to the last one
alternate_itq(V, R, n_iter, then=lambda R, new: new @ R.T)
# Eq. (5) compares B with V, not with R V, which gives the turn since the last round
alternate_itq(V, R, n_iter - 1)  # one round too few
alternate_itq(V, R, n_iter + 1)  # one round too many
alternate_itq(V, R, 1)
# the first round alone: does the new R replace the old, and does `return` stand after the loop?
""",
        needs="procrustes",
    ),
    "forward": Exercise(
        network.forward,
        layers,
        "Begin with Hs = [X]; each layer takes Hs[-1] and appends its own output.",
        """
[outputs]
network.forward(Ws, cs, X, last="sigmoid")  # the code layer is linear: no sigmoid there
network.forward(Ws, cs, X, hidden="identity")  # the hidden layers need the sigmoid
network.forward(Ws, [0 * c for c in cs], X)  # the biases are missing
network.forward(Ws, cs, X, hidden="tanh")  # the hidden layers have the sigmoid, not the tanh
right[1:]  # the list begins with X, the output of layer 1
right[-1]  # a list of all layers is asked for, not the last one alone
""",
    ),
    "backward": Exercise(
        network.backward,
        outputs_of_layers,
        "Go from the last layer to the first; at the top Delta is dH, Eq. (9) with slope 1.",
        """
[dWs]
*BACKWARD
[d.T for d in right]  # right, but transposed
[dcs]
*BACKWARD
[d[:, 0] for d in right]  # a bias is (h, 1): keepdims=True
""",
    ),
    "equality": Exercise(
        losses.equality,
        outputs_and_codes,
        "Eq. (6) is a number, ||H - B||^2 / (2m); Eq. (7) is an array in the shape of H.",
        """
[value]
*VALUE
right * m / L  # samples in rows? Here they stand in columns: m = H.shape[1]
right / L  # np.mean divides by L, too; Eq. (6) divides by m alone
np.linalg.norm(H - B) / (2 * m)  # the norm is squared: no root
[gradient]
*GRADIENT
""",
    ),
    "independence": Exercise(
        losses.independence,
        outputs,
        "Begin with G of Eq. (8): H @ H.T is (L, L), and so is np.eye(L).",
        """
[value]
2 * right  # twice too large: the 1/2 in front of the square is missing
np.sum((H @ H.T - np.eye(L)) ** 2) / 2  # 1/m is missing in G
np.sum((H @ H.T / m) ** 2) / 2  # I is missing in G
np.sum((H @ H.T / m - 1) ** 2) / 2
# 1 is taken from every entry of G; I has ones on the diagonal alone: np.eye(L)
right / L**2  # np.mean divides by L^2; ||G||^2 is the sum over all entries
np.sqrt(2 * right) / 2  # the norm is squared: no root
np.sum((H @ H.T / L - np.eye(L)) ** 2) / 2  # m is H.shape[1]; len(H) is L
losses.independence(H.T)[0]  # samples in rows? Here they stand in columns: G is (L, L)
[gradient]
right / 2  # half of it: H stands twice in H H^T, so the product rule gives two equal terms
2 / m * (H @ H.T / m - 1) @ H
# 1 is taken from every entry of G; I has ones on the diagonal alone: np.eye(L)
losses.independence(H.T)[1].T  # samples in rows? m is H.shape[1], and len(H) is L
*GRADIENT
""",
    ),
    "balance": Exercise(
        losses.balance,
        outputs,
        "Begin with h = H 1, the sums over the samples: (L, 1).",
        """
[value]
*VALUE
right * m / L  # samples in rows? Here they stand in columns: m = H.shape[1]
right / m**2  # h is a sum, not a mean: 1/m stands in front of the square alone
right / L  # np.mean divides by L; ||h||^2 is the sum over the bits
np.sum(H.sum(axis=0) ** 2) / (2 * m)  # a sum over bits; h sums over samples, axis=1
losses.balance(H.T)[0]  # samples in rows? Here they stand in columns: h is (L, 1)
[gradient]
right[:, :1]  # this is one column; Eq. (11) has it for every sample, (L, m)
right / m  # h is a sum, not a mean: 1/m stands here once
0 * H + H.sum(axis=0) / m  # a sum over bits; h sums over samples, axis=1
losses.balance(H.T)[1].T  # samples in rows? Here they stand in columns: h is (L, 1)
*GRADIENT
""",
        square="the m x m matrix 1 1^T",
        large=partial(outputs, m=LARGE),
    ),
    "pairwise_similarity": Exercise(
        losses.pairwise_similarity,
        outputs_and_labels,
        "Begin with Y, (C, m), 1 where a sample has the class; H Y^T is (L, C).",
        """
[value]
*SIMILARITY_VALUE
[gradient]
*SIMILARITY_GRADIENT
""",
        square="an m x m matrix",
        large=partial(outputs_and_labels, m=LARGE),
    ),
    "two_loop": Exercise(
        lbfgs.two_loop,
        gradient_and_pairs,
        "Begin with q = np.copy(g); the first loop of Eq. (8) goes over reversed(pairs).",
        """
[K g]
two_loop(g, pairs, first=list)  # the first loop runs from the newest pair to the oldest
two_loop(g, pairs, first=list, own=False)  # the first loop runs from the newest pair to the oldest
two_loop(g, pairs, first=list, second=reversed)  # both loops run the wrong way
two_loop(g, pairs, second=reversed, own=False)  # the second loop runs from the oldest to the newest
two_loop(g, pairs, own=False)  # reverse the alphas, too: each belongs to its own pair
two_loop(g, [(y, s) for s, y in pairs])  # s and y are exchanged: a pair is (s, y)
two_loop(g, pairs, power=0)  # gamma is missing between the loops
two_loop(g, pairs, power=-1)  # gamma is upside down: s^T y over y^T y
two_loop(g, pairs, newest=0)  # gamma is that of the newest pair, pairs[-1]
-right  # Eq. (8) is K g; the minus belongs to the direction
""",
        square="an n x n matrix",
        large=partial(gradient_and_pairs, n=LARGE),
    ),
    "backtrack": Exercise(
        backtrack,
        step,
        "Begin with a = 1.0, and halve it while Eq. (10) is violated.",
        """
[a]
backtrack(fun, x, p, 0.0)  # as if any decrease would do; Eq. (10) asks for the share c1 of g^T p
backtrack(fun, x, p, c1, power=0)  # a is missing on the right of Eq. (10)
backtrack(fun, x, p, c1, sign=-1)  # as if with a minus: g^T p, at x, is negative by itself
right / 2  # halved once too often
1.0  # a = 1 is taken at once: halve it in a loop, `while` Eq. (10) is violated
x + right * p  # the length a is asked for, not the point x + a p
""",
    ),
    "update_row": Exercise(
        update_row,
        bits,
        "Begin with R_k of Eq. (4), (D, m): what the other bits leave over.",
        """
[b_k]
np.sign(before_sgn(X, W, c, H, lambda2, B, k))  # np.sign(0) is 0, which is no bit: take sgn
sgn(before_sgn(X, W, c, H, lambda2, B, k, own=1))
# the bit sees itself: leave row k out of W B
update_row(X, W, c, 0 * H, lambda2, B, k)  # the pull of the encoder, lambda2 h_k, is missing
update_row(X, W, c, H, 1.0, B, k)  # lambda2 is missing in front of h_k
update_row(X, W, 0 * c, H, lambda2, B, k)  # the bias c of the decoder is missing
update_row(X, W, c, H, lambda2, -B, k)  # what the others draw is taken away from X, not added
sgn(-before_sgn(X, W, c, H, lambda2, B, k))  # the opposite sign: this bit makes (1) largest
""",
    ),
    "one_cycle": Exercise(
        one_cycle,
        all_bits,
        "Copy B and G, set the diagonal of G to 0, and go through the rows k.",
        """
[B]
one_cycle(Q, G, B, sign=np.sign)  # np.sign(0) is 0, which is no bit: take sgn
np.vstack([right[:1], B[1:]])  # one row only; does `return` stand after the loop?
sgn(Q - G @ B + np.diag(G)[:, None] * B)  # use the newest rows: those above k are set already
one_cycle(Q, G, B, own=1)  # the bit sees itself: the diagonal of G must be 0
one_cycle(Q, G, B, order=-1)  # the rows are visited from the first to the last
one_cycle(Q, -G, B)  # the part of the other rows is taken away from Q, not added
one_cycle(Q, G, B, sign=lambda t: sgn(-t))  # the opposite sign: these bits make (1) largest
""",
    ),
    "ridge_decoder": Exercise(
        uh_bdnn.ridge_decoder,
        samples_and_codes,
        "Begin with the two means of Eq. (3), as columns: keepdims=True.",
        """
[W]
decoder(X, B, lambda1 * np.eye(L), xb=0, bb=0)  # not centred: subtract x b^T, and b b^T
decoder(X, B, lambda1 * np.eye(L), xb=0)  # C_xb is not centred: subtract x b^T
decoder(X, B, lambda1 * np.eye(L), bb=0)  # C_bb is not centred: subtract b b^T
decoder(X, B, lambda1 * np.eye(L), x=m)  # 1/m is missing in C_xb
decoder(X, B, lambda1 * np.eye(L), b=m)  # 1/m is missing in C_bb
decoder(X, B, lambda1 * np.eye(L), x=m, b=m)  # 1/m is missing in C_xb and C_bb
decoder(X, B, 0)  # lambda1 is missing: this is plain least squares
decoder(X, B, lambda1)  # lambda1 is added to every entry; I has ones on the diagonal alone
decoder(X, B, lambda1 / m * np.eye(L))
# lambda1 counts m times too little: 1/m belongs to both products, and none to lambda1
decoder(X, B, lambda1 * m * np.eye(L))
# lambda1 counts m times too much: 1/m belongs to both products, and no m to lambda1
decoder(X, B, 2 * lambda1 * np.eye(L))  # 2 lambda1: the 2 of the square cancels the 1/2
decoder(X, B, lambda1 / 2 * np.eye(L))  # lambda1/2: the 2 of the square cancels the 1/2
decoder(X, B, lambda1 * (m - 1) / m * np.eye(L))  # np.cov divides by m - 1, here it is m: bias=True
decoder(X, B, lambda1 * np.eye(L), xb=1 / (1 + lambda1), bb=1 / (1 + lambda1))
# c is penalised, too; lambda1 belongs to ||W||^2 alone
-right  # the sign: C_xb is X B^T / m less x b^T
right.T  # right numbers, but transposed
[c]
bias(X, B, mine[0])  # right for your W: mend W, and c follows
bias(X, B, mine[0])[:, 0]  # a bias is a column, (D, 1)
bias(X, B, mine[0], -1)  # the sign: c = x - W b
bias(X, B, mine[0], 0)  # W b is missing: c = x - W b
bias(X, B, mine[0]) / (1 + lambda1)  # c is penalised, too; lambda1 belongs to ||W||^2 alone
""",
    ),
    "alternate": Exercise(
        alternate,
        training,
        "A loop over rounds: decoder, encoder and its H, codes; each is a line or two.",
        """
[theta, W, c, B]
alternate(*given, old="J")  # J holds the codes of the start: build it in each round, after step 1
alternate(*given, old="theta")  # theta starts afresh in each round; let it go on from its last
alternate(*given, old="decoder")  # the decoder is that of the first codes: it belongs in the loop
alternate(*given, old="H")  # H is that of the last theta: compute it after step 2
alternate(*given, weights=(1, 1))  # the decoder takes the weight of its decay: lambda1, lambdas[0]
alternate(*given, weights=(2, 1))  # the decoder takes the weight of its decay: lambda1, lambdas[0]
alternate(*given, weights=(0, 0))  # DCC takes the weight of equality: lambda2 is lambdas[1]
alternate(*given, weights=(0, 2))  # DCC takes the weight of equality: lambda2 is lambdas[1]
alternate(*given, codes=lambda *a: a[-1])  # the codes never change: keep what DCC returns
alternate(*given, codes=lambda *a: sgn(a[3]))  # sgn(H) is the step of SH-BDNN; here it is DCC
alternate(*given, codes=lambda *a: dcc.coordinate_descent(*a[:-1], 0 * B))
# DCC starts from 0, as the authors do; here it starts from the present codes
alternate(*given, codes=lambda *a: dcc.coordinate_descent(*a[:-1], B))
# DCC starts from the first codes; here it starts from the present ones
(*right[:3], alternate(*given[:-1], rounds - 1)[3])
# B is that of the round before; step 3 belongs to the last round, too
(right[0], *uh_bdnn.ridge_decoder(X, right[3], lambdas[0]), right[3])
# W, c are fitted once more after the last round; it ends with step 3
alternate(*given[:-1], rounds - 1)  # one round too few
alternate(*given[:-1], rounds + 1)  # one round too many
alternate(*given[:-1], 1)  # one round only: loop over `rounds`; does `return` stand after the loop?
""",
        needs="ridge_decoder",
    ),
    "class_similarities": Exercise(
        class_similarities,
        class_counts,
        "Begin with M, (C, C): np.linalg.eigh gives eigenvalues, smallest first, and columns of U.",
        """
[similarities]
class_similarities(counts, L, order=1)[0]  # eigh gives the smallest first; the L largest are kept
class_similarities(counts, len(counts))[0]  # rank at most L: keep the L largest alone
right * (np.nan if L >= len(counts) else 1)
# the root of a negative eigenvalue: it cannot be had, put 0 in its place
class_similarities(counts, L, root=1)[0]  # the square root of mu is missing: A^T A holds mu twice
right / L  # the root of L is missing in A
L * right  # 1/L is missing in front of A^T A
right * np.sqrt(np.outer(counts, counts))  # N^(-1/2) is missing: divide column i by the root of n_i
right / np.sqrt(np.outer(counts, counts))  # N^(-1/2), not N^-1: divide by the root of n_i
class_similarities(counts, L, weighted=False)[0]  # M without the roots of the counts
class_similarities(counts, L, two=1)[0]  # 2I, not I: 2 n_i stands on the diagonal of M, less n_i
[floor]
class_similarities(counts, L, order=1)[1]  # eigh gives the smallest first; the L largest are kept
class_similarities(counts, len(counts))[1]
# rank at most L: the positive eigenvalues beyond L are left, too, not the negative one alone
class_similarities(counts, L, weighted=False)[1]  # M without the roots of the counts
class_similarities(counts, L, two=1)[1]  # 2I, not I: 2 n_i stands on the diagonal of M, less n_i
class_similarities(counts, L, power=1)[1]  # the squares of the eigenvalues are summed
balanced_floor(counts, L)  # Eq. (16) of notebook 05 holds for classes of equal size only
0 * right if L >= len(counts) else right  # the negative eigenvalue cannot be had: leave it out
np.sum(counts) / 2 - right  # this is what the outputs reach; the floor is what is left
2 * right  # twice too large: 1/(2m) stands in front
np.sum(counts) * right  # 1/m is missing
2 * np.sum(counts) * right  # 1/(2m) is missing
""",
    ),
    "shared_similarity": Exercise(
        shared_similarity,
        outputs_and_sets,
        "Begin with Y, (C, m), 1 where a sample has the set; T stands behind H Y^T, (L, C).",
        """
[value]
sum(similarity(H, y)[0])  # T is missing: sets that share a label are similar, too
sum(similarity(H, y, T @ T)[0])  # T stands once: <H Y^T, H Y^T T>, not ||H Y^T T||^2
*SIMILARITY_VALUE
[gradient]
sum(similarity(H, y)[1])  # T is missing: sets that share a label are similar, too
sum(similarity(H, y, T @ T)[1])  # T stands once: (H Y^T T) Y
*SIMILARITY_GRADIENT
""",
        square="an m x m matrix",
        large=partial(outputs_and_sets, m=LARGE),
    ),
    "quantisation": Exercise(
        deep_hashing.quantisation,
        outputs,
        "sgn(H) counts as a constant; Eq. (3) is a sum over the samples, not a mean.",
        """
[value]
2 * right  # twice too large: the 1/2 in front of the square is missing
right / m  # a mean; Deep Hashing takes the sum over the samples
np.sqrt(2 * right) / 2  # the norm is squared: no root
[gradient]
2 * right  # twice too large: the 2 of the square cancels the 1/2
-right  # the sign is wrong: this is minus the gradient, and a step against it would climb
right / m  # a mean; Deep Hashing takes the sum over the samples
H  # sgn(H) counts as a constant, but it is still there: H - sgn(H)
right.T  # right numbers, but transposed
""",
    ),
    "scatter": Exercise(
        deep_hashing.scatter,
        outputs_and_labels,
        "Begin with the sums of each class: n_c samples, v_c = sum of h_i, q_c = sum of ||h_i||^2.",
        """
[value]
-right  # the sign: between classes less within classes
right / 2  # half of it: each pair counts twice, as (i, j) and as (j, i)
scatter_of_pairs(H, y, own=1)[0]  # N_S counts pairs i != j: sum of n_c^2, less m
scatter_of_pairs(H, y, within=0)[0]  # the scatter within classes is missing
[gradient]
-right  # the sign: between classes less within classes
right / 2  # half of it: h_i stands in the pairs (i, j) and in the pairs (j, i)
scatter_of_pairs(H, y, own=1)[1]  # N_S counts pairs i != j: sum of n_c^2, less m
scatter_of_pairs(H, y, within=0)[1]  # the scatter within classes is missing
right.T  # right numbers, but transposed
""",
        square="an m x m matrix",
        large=partial(outputs_and_labels, m=LARGE),
    ),
}
