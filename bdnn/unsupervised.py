# Generated from notebooks/08_uh_bdnn.py by `python3 course.py export 08`: edit the notebook.
"""UH-BDNN: unsupervised hashing with a binary deep neural network.

Source: Do, Doan and Cheung, "Learning to Hash with Binary Deep Neural Network", ECCV 2016.  Samples
stand in columns in the functions, and in rows at the face of the estimator.
"""

import time
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.neighbors import NearestNeighbors
from tqdm import tqdm

from bdnn import losses
from bdnn.base import BaseHasher, as_generator, check_number, check_option, check_whole_number, sgn
from bdnn.dcc import coordinate_descent
from bdnn.itq import itq_rotation, principal_directions, random_rotation, range_scaling
from bdnn.lbfgs import minimize
from bdnn.metrics import mean_average_precision
from bdnn.network import backward, flatten, forward, hidden_sizes, initial_weights, unflatten

__all__ = [
    "DAMPING",
    "UHBDNN",
    "ValidationQueries",
    "WHITENED_RMS",
    "encoder_objective",
    "in_scaled_variables",
    "initial_codes",
    "joint_objective",
    "principal_axes",
    "ridge_decoder",
    "variable_scales",
    "weighted_terms",
]


def initial_codes(X, L, rng, kind="itq"):
    """Codes to start from: those of ITQ, or of a random rotation of the principal components.

    Parameters
    ----------
    X : array (D, m)
    L : int
    rng : numpy.random.Generator
    kind : "itq" or "random"

    Returns
    -------
    B : array (L, m), entries -1 and +1, in the precision of X
    """
    mean, P = principal_directions(X, L)
    V = (P.T @ X - P.T @ mean).astype(X.dtype)
    R = itq_rotation(V, 50, rng)[0] if kind == "itq" else random_rotation(L, rng)
    return sgn(R.astype(X.dtype) @ V).astype(X.dtype)


def ridge_decoder(X, B, lambda1):
    """The best decoder of given codes, in closed form: Eq. (3) of notebook 08.

    Minimises 1/(2m) ||X - W B - c 1^T||^2 + lambda1/2 ||W||^2.

    Parameters
    ----------
    X : array (D, m)
        Samples.
    B : array (L, m)
        Codes.
    lambda1 : float
        Weight decay. With 0 and dependent bits, the shortest of the best decoders.

    Returns
    -------
    W : array (D, L)
    c : array (D, 1)
    """
    L, m = B.shape
    x, b = X.mean(axis=1, keepdims=True), B.mean(axis=1, keepdims=True)
    C_xb = (X @ B.T) / m - x @ b.T
    C_bb = (B @ B.T) / m - b @ b.T
    W = C_xb @ np.linalg.pinv(C_bb + lambda1 * np.eye(L, dtype=B.dtype), hermitian=True)
    return W, x - W @ b


def encoder_objective(theta, X, B, sizes, lambdas, activations=None):
    """The terms of the encoder for given codes: Eqs. (4), (5) of notebook 08.

    Parameters
    ----------
    theta : array (p,)
        Weights and biases of the encoder, as from `network.flatten`.
    X : array (D, m)
        Samples.
    B : array (L, m)
        Codes.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    lambdas : four floats
        lambda1 (weight decay), lambda2 (equality), lambda3 (independence), lambda4 (balance).
    activations : sequence of str, optional
        As for `network.forward`.

    Returns
    -------
    J : float
    gradient : array (p,)
    """
    lambda1, lambda2, lambda3, lambda4 = lambdas
    Ws, cs = unflatten(theta, sizes)
    Hs = forward(Ws, cs, X, activations)
    H = Hs[-1]
    decay, dWs_decay = losses.weight_decay(Ws)
    equality, dH_equality = losses.equality(H, B)
    independence, dH_independence = losses.independence(H)
    balance, dH_balance = losses.balance(H)
    J = lambda1 * decay + lambda2 * equality + lambda3 * independence + lambda4 * balance
    dH = lambda2 * dH_equality + lambda3 * dH_independence + lambda4 * dH_balance
    dWs, dcs = backward(Ws, Hs, dH, activations)
    return J, flatten([dW + lambda1 * d for dW, d in zip(dWs, dWs_decay)], dcs)


def principal_axes(X):
    """Axes along which the uncentred second moments of the samples are diagonal.

    Parameters
    ----------
    X : array (D, m)

    Returns
    -------
    P : array (D, r)
        Orthonormal columns, Eq. (6) of notebook 08. Directions that no sample has are left out.
    e : array (r,)
        Mean square of the samples along each axis, largest first.
    """
    e, P = np.linalg.eigh((X @ X.T).astype(np.float64) / X.shape[1])
    used = e > 1e-14 * e[-1]
    used[-1] = True
    return P[:, used][:, ::-1], e[used][::-1]


WHITENED_RMS = 3.0  # rho of Eq. (7) of notebook 08
DAMPING = 1e-5  # epsilon of Eq. (7)


def variable_scales(e, sizes):
    """The scales sigma of the encoder's parameters: Eq. (7) of notebook 08.

    Parameters
    ----------
    e : array (r,)
        Mean square of the inputs of the first layer.
    sizes : sequence of int
        Units of the layers, r first.

    Returns
    -------
    array (p,)
        s_j for the weights of input j of the first layer, 1 for all others.
    """
    size = np.sqrt(e + DAMPING * e.sum())
    s = np.divide(WHITENED_RMS, size, out=np.ones_like(e), where=size > 0)
    Ws = [np.ones((h_out, h_in)) for h_in, h_out in zip(sizes, sizes[1:])]
    Ws[0] *= s
    return flatten(Ws, [np.ones((len(W), 1)) for W in Ws])


def in_scaled_variables(objective, scales):
    """The same function of u = theta / scales: value, and gradient times scales."""

    def scaled(u):
        J, gradient = objective(scales * u)
        return J, scales * gradient

    return scaled


def joint_objective(theta, X, B, sizes, lambdas, activations=None):
    """The whole objective for given codes, as a function of all weights and biases: Eq. (1).

    Parameters
    ----------
    theta : array (p + D L + D,)
        Parameters of the encoder, then W row by row and c of the decoder.
    X, B, sizes, lambdas, activations
        As for `encoder_objective`.

    Returns
    -------
    J : float
    gradient : array (p + D L + D,)
    """
    D, L, lambda1 = sizes[0], sizes[-1], lambdas[0]
    theta, W, c = np.split(theta, [-D * (L + 1), -D])
    J, gradient = encoder_objective(theta, X, B, sizes, lambdas, activations)
    W = W.reshape(D, L)
    reconstruction, (dW, dc) = losses.reconstruction(X, B, W, c)
    decay, (dW_decay,) = losses.weight_decay([W])
    dW += lambda1 * dW_decay
    return J + reconstruction + lambda1 * decay, np.concatenate([gradient, dW.ravel(), dc])


class ValidationQueries:
    """Training points that are searched for in the training set, to decide when to stop.

    Parameters
    ----------
    X : array (D, m)
        Training samples.
    n_queries, n_neighbors : int
        How many points are drawn, and how many Euclidean neighbours count as relevant to each.
    rng : numpy.random.Generator
    """

    def __init__(self, X, n_queries, n_neighbors, rng):
        m = X.shape[1]
        self.queries = rng.choice(m, size=min(n_queries, m), replace=False)
        search = NearestNeighbors(n_neighbors=min(n_neighbors, m), algorithm="brute").fit(X.T)
        self.neighbours = search.kneighbors(X.T[self.queries], return_distance=False)

    def score(self, H):
        """Mean average precision of the codes sgn(H), H (L, m)."""
        codes = sgn(H).T
        return mean_average_precision(codes[self.queries], codes, self.neighbours)


def weighted_terms(X, B, H, Ws, W, c, lambdas):
    """Every term of Eq. (1) times its weight, by name, and their sum `objective`.

    Parameters
    ----------
    X, B, H : arrays (D, m), (L, m), (L, m)
        Samples, codes, and outputs of the code layer.
    Ws : list of arrays
        Weights of the encoder.
    W, c : arrays (D, L), (D, 1)
        Decoder.
    lambdas : four floats

    Returns
    -------
    dict of str -> float
    """
    lambda1, lambda2, lambda3, lambda4 = lambdas
    terms = {
        "reconstruction": losses.reconstruction(X, B, W, c)[0],
        "weight_decay": lambda1 * losses.weight_decay([*Ws, W])[0],
        "equality": lambda2 * losses.equality(H, B)[0],
        "independence": lambda3 * losses.independence(H)[0],
        "balance": lambda4 * losses.balance(H)[0],
    }
    return {"objective": sum(terms.values())} | terms


class _Problem(NamedTuple):
    """What stays as it is while UH-BDNN trains."""

    X: np.ndarray  # (r, m), samples along the principal axes
    P: np.ndarray  # (D, r), the axes
    sizes: tuple  # units of the layers: r, ..., L
    lambdas: tuple  # the four weights of the terms
    activations: tuple  # of the layers
    scales: np.ndarray  # (p,), of the encoder's parameters


class UHBDNN(BaseHasher):
    """Unsupervised hashing with a binary deep neural network (Do et al., ECCV 2016).

    Parameters
    ----------
    n_bits : int
        Code length L.
    lambda1, lambda2, lambda3, lambda4 : float
        Weights of weight decay, equality, independence and balance: Eq. (1) of notebook 08.
    hidden : tuple of two int, optional
        Units of the hidden layers; None: the paper's sizes, `network.hidden_sizes`.
    max_alternations : int
        Updates of the codes at most; each is followed by a decoder and an encoder step.
    max_iter, history : int
        Iterations of L-BFGS in an encoder step, and the pairs that it remembers.
    cycles : int
        Passes of DCC over the bits in an update of the codes.
    dcc_start : "warm" or "zero"
        DCC starts from the codes so far, or from 0 as in the authors' program.
    init : "itq" or "random"
        Codes to start from: `initial_codes`.
    decoder : "ridge" or "joint"
        Decoder in closed form, or together with the encoder by L-BFGS, as in the paper.
    conditioning : "whiten" or "none"
        Variables of L-BFGS: those of Eq. (7) of notebook 08, or the plain ones as in the paper.
    code_activation : "identity" or "tanh"
        Activation of the code layer.
    n_validation, n_neighbors : int
        Training points that decide when to stop, and their neighbours that count as relevant.
        With `n_validation=0` the objective decides.
    patience : int
        Stop after so many alternations without a better validation score.
    dtype : "float32" or "float64"
    random_state : int, Generator, RandomState or None
        The same seed, versions and data give the same codes.
    verbose : bool
        Show a progress bar.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Training codes B as learned.
    history_ : list of dict
        For each alternation: `objective` and its weighted terms `reconstruction`,
        `weight_decay`, `equality`, `independence`, `balance`; `flips`, the share of bits that DCC
        changed; `score`, which is the validation mAP; `n_iter` of L-BFGS; `seconds`.
    best_ : int
        The alternation whose state was kept.
    n_iter_ : int
        Iterations of L-BFGS in all.
    Ws_, cs_ : lists of arrays
        Encoder, from the input to the code layer.
    decoder_W_, decoder_c_ : arrays (D, L), (D, 1)
        Decoder, for scaled inputs.
    shift_, scale_ : array (D, 1), float
        Scaling of the input: `itq.range_scaling`.
    """

    def __init__(
        self,
        n_bits=16,
        *,
        lambda1=1e-5,
        lambda2=5e-2,
        lambda3=1e-2,
        lambda4=1e-6,
        hidden=None,
        max_alternations=10,
        max_iter=400,
        history=100,
        cycles=10,
        dcc_start="warm",
        init="itq",
        decoder="ridge",
        conditioning="whiten",
        code_activation="identity",
        n_validation=1000,
        n_neighbors=50,
        patience=2,
        dtype="float32",
        random_state=0,
        verbose=False,
    ):
        self.n_bits = n_bits
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.lambda3 = lambda3
        self.lambda4 = lambda4
        self.hidden = hidden
        self.max_alternations = max_alternations
        self.max_iter = max_iter
        self.history = history
        self.cycles = cycles
        self.dcc_start = dcc_start
        self.init = init
        self.decoder = decoder
        self.conditioning = conditioning
        self.code_activation = code_activation
        self.n_validation = n_validation
        self.n_neighbors = n_neighbors
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self):
        for name in ("lambda1", "lambda2", "lambda3", "lambda4"):
            check_number(name, getattr(self, name))
        for name in ("max_iter", "history", "cycles", "n_neighbors", "patience"):
            check_whole_number(name, getattr(self, name), 1)
        for name in ("max_alternations", "n_validation"):
            check_whole_number(name, getattr(self, name), 0)
        for units in () if self.hidden is None else self.hidden:
            check_whole_number("every entry of hidden", units, 1)
        check_option("dcc_start", self.dcc_start, ("warm", "zero"))
        check_option("init", self.init, ("itq", "random"))
        check_option("decoder", self.decoder, ("ridge", "joint"))
        check_option("conditioning", self.conditioning, ("whiten", "none"))
        check_option("code_activation", self.code_activation, ("identity", "tanh"))

    def _fit(self, X, y):
        self._check_parameters()
        rng = as_generator(self.random_state)
        self.shift_, self.scale_ = range_scaling(X)
        X = (X - self.shift_) / self.scale_
        B = initial_codes(X, self.n_bits, rng, self.init)
        problem, theta = self._pose(X, rng)
        validation = None
        if self.n_validation:
            validation = ValidationQueries(X, self.n_validation, self.n_neighbors, rng)
        self.history_, self.n_iter_ = [], 0
        total = (self.max_alternations + 1) * self.max_iter
        with tqdm(total=total, disable=not self.verbose, leave=False, unit="it") as bar:
            bar.set_description(f"UHBDNN, {self.n_bits} bits")
            try:
                self._alternate(problem, B, theta, validation, bar)
            except KeyboardInterrupt:
                if not self.history_:
                    raise
                stopped = f"interrupted in alternation {len(self.history_)}"
                warnings.warn(f"{stopped}: that of alternation {self.best_} is kept", stacklevel=4)

    def _pose(self, X, rng):
        """The problem along the principal axes, and the paper's start of the encoder there."""
        hidden = hidden_sizes(self.n_bits) if self.hidden is None else tuple(self.hidden)
        activations = ("sigmoid",) * len(hidden) + (self.code_activation,)
        Ws, cs = initial_weights(X, (len(X), *hidden, self.n_bits), rng, activations)
        P, e = principal_axes(X)
        P = P.astype(X.dtype)
        sizes = (len(e), *hidden, self.n_bits)
        theta = flatten([Ws[0] @ P, *Ws[1:]], cs)
        scales = variable_scales(e, sizes) if self.conditioning == "whiten" else np.ones(len(theta))
        lambdas = (self.lambda1, self.lambda2, self.lambda3, self.lambda4)
        return _Problem(P.T @ X, P, sizes, lambdas, activations, scales.astype(X.dtype)), theta

    def _alternate(self, problem, B, theta, validation, bar):
        """New codes, then decoder and encoder, until the score no longer rises."""
        X, P = problem.X, problem.P
        W, c = P.T @ np.eye(len(P), self.n_bits, dtype=X.dtype), np.zeros((len(X), 1), X.dtype)
        H, best_score = None, -np.inf
        for t in range(self.max_alternations + 1):
            started, old = time.perf_counter(), B
            if t > 0:
                start = B if self.dcc_start == "warm" else np.zeros_like(B)
                B = coordinate_descent(X, W, c, H, self.lambda2, start, self.cycles)
            theta, W, c, n_iter = self._network_step(problem, B, theta, W, c, bar)
            Ws, cs = unflatten(theta, problem.sizes)
            H = forward(Ws, cs, X, problem.activations)[-1]
            entry = {"alternation": t, **weighted_terms(X, B, H, Ws, W, c, problem.lambdas)}
            score = validation.score(H) if validation else -entry["objective"]
            entry |= {"flips": float(np.mean(B != old)), "score": score, "n_iter": n_iter}
            self.history_.append(entry | {"seconds": time.perf_counter() - started})
            self.n_iter_ += n_iter
            bar.update((t + 1) * self.max_iter - bar.n)
            bar.set_postfix(objective=f"{entry['objective']:.4g}", score=f"{score:.4f}")
            if score > best_score:
                best_score, self.best_ = score, t
                self.Ws_, self.cs_ = [Ws[0] @ P.T, *map(np.copy, Ws[1:])], [*map(np.copy, cs)]
                self.decoder_W_, self.decoder_c_, self.codes_ = P @ W, P @ c, sgn(B).T.copy()
            elif t - self.best_ >= self.patience:
                break

    def _network_step(self, problem, B, theta, W, c, bar):
        """Decoder and encoder for given codes, and the iterations of L-BFGS that it took."""
        X, _, sizes, lambdas, activations, scales = problem

        def solve(objective, start, scales):
            found = minimize(
                in_scaled_variables(
                    lambda x: objective(x, X, B, sizes, lambdas, activations), scales
                ),
                start / scales,
                max_iter=self.max_iter,
                history=self.history,
                callback=lambda _: bar.update(),
            )
            return scales * found.x, found.nit

        if self.decoder == "ridge":
            W, c = ridge_decoder(X, B, self.lambda1)
            theta, n_iter = solve(encoder_objective, theta, scales)
            return theta, W, c, n_iter
        start = np.concatenate([theta, W.ravel(), c.ravel()])
        scales = np.concatenate([scales, np.ones(W.size + c.size, X.dtype)])
        found, n_iter = solve(joint_objective, start, scales)
        theta, W, c = np.split(found, [len(theta), len(theta) + W.size])
        return theta, W.reshape(len(X), -1), c[:, None], n_iter

    def _project(self, X):
        activations = ("sigmoid",) * (len(self.Ws_) - 1) + (self.code_activation,)
        return forward(self.Ws_, self.cs_, (X - self.shift_) / self.scale_, activations)[-1]
