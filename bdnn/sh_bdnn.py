# Generated from notebooks/09_sh_bdnn.py by `course.py export 09`: edit the notebook.
"""SH-BDNN: supervised hashing with a binary deep neural network.

Source: Do, Doan and Cheung, "Learning to Hash with Binary Deep Neural Network", ECCV 2016.  Samples
stand in columns in the functions, and in rows at the face of the estimator.
"""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from tqdm import tqdm

from bdnn import losses
from bdnn.base import (
    Array,
    BaseHasher,
    Checkpoint,
    Seed,
    as_generator,
    check_hidden,
    check_number,
    check_option,
    check_whole_number,
    class_numbers,
    sgn,
)
from bdnn.itq import itq_rotation, range_scaling, rotation_from_product, sample_mean
from bdnn.lbfgs import minimize
from bdnn.metrics import hamming_distances, mean_average_precision
from bdnn.network import flatten, forward, hidden_sizes, initial_weights, unflatten
from bdnn.sources import AnySamples, Samples, alongside, blockwise, drop, stored, take, total
from bdnn.uh_bdnn import (
    BlockwiseObjective,
    CodeSlope,
    EncoderObjective,
    Moments,
    code_terms,
    code_type,
    encoder_objective,
    encoder_terms,
    initial_codes,
    moments,
    principal_axes,
    share_of_flips,
)

__all__ = [
    "SAMPLE_LENGTH",
    "SHBDNN",
    "SupervisedObjective",
    "centred_scaling",
    "class_codes",
    "class_vectors",
    "supervised_objective",
    "supervised_terms",
    "turn_to_codes",
    "weighted_supervised_terms",
]

SAMPLE_LENGTH = 10.0


def centred_scaling(X: AnySamples) -> tuple[Array, float]:
    """Mean of the samples, and the number that makes what is left `SAMPLE_LENGTH` long.

    Parameters
    ----------
    X : array (D, m)
        Samples.

    Returns
    -------
    mean : array (D, 1)
    scale : float
        The root mean square length of the columns of (X - mean) / scale is `SAMPLE_LENGTH`; 1 for
        constant samples.
    """
    mean = sample_mean(X)
    (squares,) = total(lambda X: (np.square(X - mean).sum(),), X)
    variance = squares / X.shape[1]
    scale = np.sqrt(variance) / SAMPLE_LENGTH if variance > 0 else 1.0
    return mean.astype(X.dtype), X.dtype.type(scale)


def class_vectors(counts: Array, L: int) -> tuple[Array, float]:
    """One output of the code layer for each class, with the similarity at its floor.

    Parameters
    ----------
    counts : array (C,)
        Samples of each class; a class without any has the vector 0.
    L : int
        Code length.

    Returns
    -------
    V : array (L, C)
        The matrix A of Eq. (5) of notebook 09.
    floor : float
        The similarity 1/(2m) ||H^T H / L - S||^2 that these outputs have; none have less.
    """
    n = np.asarray(counts, dtype=np.float64)
    root, m = np.sqrt(n), n.sum()
    mu, U = np.linalg.eigh(2 * np.diag(n) - np.outer(root, root))
    mu, U = np.maximum(mu[::-1], 0)[:L], U[:, ::-1][:, :L]
    V = np.zeros((L, len(n)))
    np.divide(np.sqrt(L * mu)[:, None] * U.T, root, out=V[: len(mu)], where=root > 0)
    return V, (m**2 - np.sum(mu**2)) / (2 * m)


def supervised_terms(total: Moments, lambdas: Iterable[float]) -> tuple[float, CodeSlope]:
    """Similarity, equality, independence and balance, weighted, from the moments of all samples.

    Parameters
    ----------
    total : Moments
        With the sums of each class.
    lambdas : four floats
        lambda1, which has no part in it, to lambda4.

    Returns
    -------
    J : float
        Eq. (1) of notebook 09 without the weight decay.
    slope : CodeSlope
        Its gradient: Eq. (6) of notebook 09 and Eq. (6) of notebook 08.
    """
    J, (M, V, beta) = encoder_terms(total, lambdas)
    m, G, sums, _ = total
    L, h = len(G), sums.sum(axis=1, keepdims=True)
    agreement = 2 * np.sum(sums**2) - np.sum(h**2)
    similarity = (np.sum(G**2) / L**2 - 2 / L * agreement + m**2) / (2 * m)
    slope = CodeSlope(M + 2 / (m * L**2) * G, V + 2 / (m * L) * (h - 2 * sums), beta)
    return J + float(similarity), slope


class SupervisedObjective(EncoderObjective):
    """The objective of SH-BDNN for given codes: Eq. (1) of notebook 09.

    As `uh_bdnn.EncoderObjective`, with the similarity.

    Parameters
    ----------
    X : array (D, m)
        Samples.
    B : array (L, m)
        Codes.
    y : array-like (m,)
        Class labels of any type that sorts.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    lambdas : four floats
        lambda1 (weight decay), lambda2 (equality), lambda3 (independence), lambda4 (balance).
    """

    terms = staticmethod(supervised_terms)

    def __init__(
        self, X: Array, B: Array, y: ArrayLike, sizes: Sequence[int], lambdas: Sequence[float]
    ) -> None:
        super().__init__(X, B, sizes, lambdas, y=class_numbers(y, X.shape[1]))


def supervised_objective(
    X: AnySamples,
    B: Any,
    y: Any,
    sizes: Sequence[int],
    lambdas: Sequence[float],
    n_classes: int,
) -> EncoderObjective:
    """`SupervisedObjective`, or for `sources.Samples` and whole numbers y the same block by block.

    `n_classes` is more than the largest of the numbers.
    """
    if isinstance(X, Samples):
        return BlockwiseObjective(X, B, sizes, lambdas, None, y, n_classes, supervised_terms)
    return SupervisedObjective(X, B, y, sizes, lambdas)


def turn_to_codes(H: AnySamples, n_iter: int = 50) -> Array:
    """Turn the outputs of the code layer to where they are close to codes: Eq. (7) of notebook 09.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.
    n_iter : int
        Alternations between codes and rotation.

    Returns
    -------
    R : array (L, L)
        Orthogonal, in the precision of H. ||R H - sgn(R H)|| is at most ||H - sgn(H)||.
    """
    R = np.eye(len(H), dtype=H.dtype)
    for _ in range(n_iter):
        (BHt,) = total(lambda H, R=R: (sgn(R @ H).astype(H.dtype) @ H.T,), H)
        R = rotation_from_product(BHt).astype(H.dtype)
    return R


def class_codes(counts: Array, L: int, rng: np.random.Generator, n_init: int = 50) -> Array:
    """One code for each class, chosen for a low similarity loss.

    Each of `n_init` random turns of the class vectors is brought close to codes by ITQ.

    Parameters
    ----------
    counts : array (C,)
        Samples of each class.
    L : int
        Code length.
    rng : numpy.random.Generator
        Draws the turns.
    n_init : int
        How many turns are tried.

    Returns
    -------
    array (L, C), entries -1 and +1
    """
    V, _ = class_vectors(counts, L)
    S = 2 * np.eye(len(counts)) - 1
    smallest = np.inf
    for _ in range(n_init):
        codes = sgn(itq_rotation(V, 50, rng)[0] @ V).astype(np.float64)
        loss = counts @ (codes.T @ codes / L - S) ** 2 @ counts
        if loss < smallest:
            smallest, best = loss, codes
    return best


def _outputs(Ws, cs, X):
    """Outputs of the code layer (L, m)."""
    return forward(Ws, cs, X)[-1]


def _class_counts(codes, y_queries, B, y, radius=2):
    """For each query the samples of a block in its ball, and those of them of its class."""
    ball = hamming_distances(codes, B.T) <= radius
    return ball.sum(axis=1), (ball & (y_queries[:, None] == y)).sum(axis=1)


def weighted_supervised_terms(
    H: AnySamples,
    B: AnySamples,
    y: Any,
    Ws: list[Array],
    lambdas: Sequence[float],
    n_classes: int | None = None,
) -> dict[str, float]:
    """Every term of Eq. (1) of notebook 09 times its weight, by name, and their sum `objective`.

    Parameters
    ----------
    H, B : arrays (L, m)
        Outputs of the code layer, and codes.
    y : array-like (m,)
        Class labels.
    Ws : list of arrays
        Weights.
    lambdas : four floats
    n_classes : int, optional
        Given, y holds whole numbers below it.

    Returns
    -------
    dict of str -> float
    """
    if n_classes is None:
        y = class_numbers(y, H.shape[1])
        n_classes = int(y.max()) + 1
    found = Moments(*total(partial(moments, n_classes=n_classes), H, B, y))
    terms = {
        "similarity": supervised_terms(found, (0, 0, 0, 0))[0],
        "weight_decay": lambdas[0] * losses.weight_decay(Ws)[0],
        **code_terms(found, lambdas),
    }
    return {"objective": sum(terms.values())} | terms


class _LabelledProblem(NamedTuple):
    """What stays as it is while SH-BDNN trains."""

    P: np.ndarray  # (D, r), principal axes
    A: np.ndarray  # (r, m), the samples along the axes: what the encoder sees
    y: np.ndarray  # (m,), their classes
    labels: np.ndarray  # the same, where the samples are
    Q: np.ndarray  # (r, q), the queries of the validation along the axes
    y_Q: np.ndarray  # (q,), their classes
    sizes: tuple  # units of the layers: r, ..., L
    lambdas: tuple  # the four weights of the terms


class SHBDNN(BaseHasher):
    """Supervised hashing with a binary deep neural network (Do et al., ECCV 2016).

    `fit` takes an option beyond the data. `checkpoint`, a path: the state is kept there after every
    alternation, and if the file is there, training goes on from it: `base.Checkpoint`.

    Parameters
    ----------
    n_bits : int
        Code length L.
    lambda1, lambda2, lambda3, lambda4 : float
        Weights of weight decay, equality, independence and balance: Eq. (1) of notebook 09. The
        similarity has weight 1 and grows with the number of samples.
    hidden : tuple of two int, optional
        Units of the hidden layers; None: the paper's sizes, `network.hidden_sizes`.
    max_alternations : int
        Updates of the codes at most; each is followed by an encoder step.
    max_iter, history : int
        Iterations of L-BFGS in an encoder step, and the pairs that it remembers.
    init : "classes", "itq" or "random"
        Codes to start from. "classes": `class_codes`, to which the encoder is fitted by least
        squares first. "itq": those of ITQ, as in the paper; "random": of random projections.
    rotate : bool
        Turn the code layer towards codes before the codes are updated: `turn_to_codes`.
    scaling : "centred" or "range"
        Scaling of the input: `centred_scaling`, or the paper's `itq.range_scaling`.
    energy : float
        The encoder sees the principal axes that hold this share of the mean square; 1: all.
    n_validation : int
        Samples held out of the training (at most every eighth), whose retrieval decides when to
        stop. With `n_validation=0` the objective decides.
    criterion : "precision" or "map"
        Measure of the validation: precision within radius 2, or mAP as in the authors' program.
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
        Training codes B = sgn(H) of the network that was kept.
    history_ : list of dict
        For each `alternation`: `objective` and its weighted terms `similarity`, `weight_decay`,
        `equality`, `independence`, `balance`; `flips`, the share of bits that the update of the
        codes changed; `score` of the validation; `n_iter` of L-BFGS; `seconds`.
    floor_ : float
        The similarity cannot go below it: `class_vectors`.
    best_ : int
        The alternation whose state was kept.
    n_iter_ : int
        Iterations of L-BFGS in all.
    classes_ : array (n_classes,)
        The labels, sorted.
    Ws_, cs_ : lists of arrays
        The network, for scaled inputs.
    shift_, scale_ : array (D, 1), float
        Scaling of the input.
    """

    _requires_labels = True
    _takes_sources = True

    def __init__(
        self,
        n_bits: int = 16,
        *,
        lambda1: float = 1e-3,
        lambda2: float = 5.0,
        lambda3: float = 1.0,
        lambda4: float = 1e-4,
        hidden: Sequence[int] | None = None,
        max_alternations: int = 20,
        max_iter: int = 60,
        history: int = 100,
        init: str = "classes",
        rotate: bool = True,
        scaling: str = "centred",
        energy: float = 0.95,
        n_validation: int = 2000,
        criterion: str = "precision",
        patience: int = 5,
        dtype: DTypeLike = "float32",
        random_state: Seed = 0,
        verbose: bool = False,
    ) -> None:
        self.n_bits = n_bits
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.lambda3 = lambda3
        self.lambda4 = lambda4
        self.hidden = hidden
        self.max_alternations = max_alternations
        self.max_iter = max_iter
        self.history = history
        self.init = init
        self.rotate = rotate
        self.scaling = scaling
        self.energy = energy
        self.n_validation = n_validation
        self.criterion = criterion
        self.patience = patience
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self):
        for name in ("lambda1", "lambda2", "lambda3", "lambda4"):
            check_number(name, getattr(self, name))
        for name in ("max_iter", "history", "patience"):
            check_whole_number(name, getattr(self, name), 1)
        for name in ("max_alternations", "n_validation"):
            check_whole_number(name, getattr(self, name), 0)
        check_hidden(self.hidden)
        check_number("energy", self.energy)
        if not 0 < self.energy <= 1:
            raise ValueError(f"energy must lie in (0, 1], got {self.energy!r}")
        check_option("rotate", self.rotate, (True, False))
        check_option("criterion", self.criterion, ("precision", "map"))
        check_option("init", self.init, ("classes", "itq", "random"))
        check_option("scaling", self.scaling, ("centred", "range"))

    def _fit(self, X, y, checkpoint=None):
        self._check_parameters()
        checkpoint = Checkpoint(checkpoint, self, X, y)
        rng = as_generator(self.random_state)
        self.classes_, y = np.unique(y, return_inverse=True)
        held_out = rng.permutation(len(y))[: min(self.n_validation, len(y) // 8)]
        problem, theta = self._pose(X, y, held_out, rng)
        counts = np.bincount(problem.y)
        self.floor_ = class_vectors(counts, self.n_bits)[1]
        self.history_, self.n_iter_ = [], 0
        rounds = self.max_alternations + 1 + (self.init == "classes")
        with tqdm(total=rounds * self.max_iter, disable=not self.verbose, leave=False) as bar:
            bar.set_description(f"SHBDNN, {self.n_bits} bits")
            try:
                begin = checkpoint.read(self)
                if begin is None:
                    begin = (0, *self._start(problem, theta, rng, bar), -np.inf)
                self._alternate(problem, *begin, bar, checkpoint)
            except KeyboardInterrupt:
                if not self.history_:
                    raise
                stopped = f"interrupted after {len(self.history_)} alternations"
                told = f"{stopped}: the best of them, {self.best_}, is kept"
                self._stopped_early(told, stacklevel=4)
        self.codes_ = self._encoded(X, sgn, np.int8)

    def _pose(self, X, y, held_out, rng):
        """The problem without the samples held out, and the paper's start of the network."""
        rule = {"centred": centred_scaling, "range": range_scaling}[self.scaling]
        shift, scale = self.shift_, self.scale_ = rule(X)
        X = blockwise(lambda X: (X - shift) / scale, X)
        hidden = hidden_sizes(self.n_bits) if self.hidden is None else tuple(self.hidden)
        P, e = principal_axes(X, self.energy)
        P = P.astype(X.dtype)
        Z, kept = blockwise(lambda X: P.T @ X, X), np.delete(y, held_out)
        A, sizes = drop(Z, held_out), (len(e), *hidden, self.n_bits)
        theta = flatten(*initial_weights(A, sizes, rng))
        lambdas = (self.lambda1, self.lambda2, self.lambda3, self.lambda4)
        samples = A, kept, alongside(A, kept)
        queries = take(Z, held_out), y[held_out]
        return _LabelledProblem(P, *samples, *queries, sizes, lambdas), theta

    def _start(self, problem, theta, rng, bar):
        """Codes to start from, and the network, fitted to them if they are those of the classes."""
        A, y, sizes = problem.A, problem.y, problem.sizes
        if self.init != "classes":
            return initial_codes(A, self.n_bits, rng, self.init), theta
        codes = class_codes(np.bincount(y), self.n_bits, rng).astype(code_type(A))
        B = stored(lambda y: codes[:, y], problem.labels)
        lambdas = (self.lambda1, len(y), 0, 0)
        theta, _ = self._minimise(encoder_objective(A, B, sizes, lambdas), theta, bar)
        return B, theta

    def _minimise(self, objective, theta, bar):
        """L-BFGS from theta, and the iterations that it took."""
        found = minimize(
            objective,
            theta,
            max_iter=self.max_iter,
            history=self.history,
            callback=lambda _: bar.update(),
        )
        self.n_iter_ += found.nit
        return found.x, found.nit

    def _alternate(self, problem, begin, B, theta, best_score, bar, checkpoint):
        """Encoder, then codes, until the score no longer rises."""
        A, y, sizes, lambdas = problem.A, problem.labels, problem.sizes, problem.lambdas
        n_classes, dtype = int(problem.y.max()) + 1, code_type(A)
        bar.update(self.n_iter_ - bar.n)
        for t in range(begin, self.max_alternations + 1):
            started, old = time.perf_counter(), B
            objective = supervised_objective(A, B, y, sizes, lambdas, n_classes)
            theta, n_iter = self._minimise(objective, theta, bar)
            H = blockwise(partial(_outputs, *unflatten(theta.copy(), sizes)), A)
            Ws, cs = unflatten(theta, sizes)
            if self.rotate:
                R = turn_to_codes(H)
                Ws[-1][:], cs[-1][:] = R @ Ws[-1], R @ cs[-1]
                H = blockwise(lambda H, R=R: R @ H, H)
            B = stored(lambda H: sgn(H).astype(dtype), H)
            terms = weighted_supervised_terms(H, B, y, Ws, lambdas, n_classes)
            score = self._score(problem, Ws, cs, B) if problem.Q.size else -terms["objective"]
            progress = {"flips": share_of_flips(B, old), "score": score, "n_iter": n_iter}
            entry = {"alternation": t, **terms, **progress}
            entry["seconds"] = time.perf_counter() - started
            learned = {"history_": [*self.history_, entry]}
            if score > best_score:
                best_score = score
                learned["Ws_"] = [Ws[0] @ problem.P.T, *map(np.copy, Ws[1:])]
                learned |= {"cs_": [*map(np.copy, cs)], "best_": t}
            vars(self).update(learned)  # at once: an interruption finds all of it or nothing
            bar.set_postfix(objective=f"{terms['objective']:.5g}", score=f"{score:.4f}")
            if t - self.best_ >= self.patience:
                break
            checkpoint.write(self, (t + 1, B, theta, best_score))

    def _score(self, problem, Ws, cs, B):
        """How well the queries held out find their classes among the training samples."""
        queries = sgn(_outputs(Ws, cs, problem.Q)).T
        if self.criterion == "map":
            found = np.asarray(stored(sgn, B).T)
            return mean_average_precision(queries, found, (problem.y_Q, problem.y))
        size, hits = total(partial(_class_counts, queries, problem.y_Q), B, problem.labels)
        return float(np.mean(hits / np.maximum(size, 1)))

    def _project(self, X):
        return _outputs(self.Ws_, self.cs_, (X - self.shift_) / self.scale_)
