# Generated from notebooks/12_kernels.py by `course.py export 12`: edit the notebook.
"""Supervised hashing with kernels: SDH, KSH and BRE.

Samples stand in columns in the functions, and in rows at the face of the estimators. Arguments of
the functions are, where nothing else is said::

    X (D, m), A (D, p)  samples, anchors
    K (p, m)            their kernel, centred
    B (L, m)            codes
    T (r, m), tau (r,)  what `label_factors` or `unit_factors` give
    F (r, m), omega     what `residue_factors` give

and what the three estimators share are these parameters and attributes::

    n_bits, dtype       length L of the code; "float32" or "float64"
    width               sigma of the kernel; None: `anchor_width`
    random_state        int, Generator, RandomState or None; draws samples, anchors and start
    verbose             show a progress bar
    codes_              (n_samples, n_bits), int8, of the training samples
    W_, c_              (n_bits, n_anchors), (n_bits, 1), the hash function: Eq. (2) of notebook 12
    anchors_            (n_features, n_anchors)
    width_              sigma as used
    kernel_mean_        (n_anchors, 1)
    classes_            the labels, sorted; of a 0/1 matrix the columns in use

Sources: Shen, Shen, Liu and Shen, "Supervised Discrete Hashing", CVPR 2015; Liu, Wang, Ji, Jiang
and Chang, "Supervised Hashing with Kernels", CVPR 2012; Kulis and Darrell, "Learning to Hash with
Binary Reconstructive Embeddings", NIPS 2009.
"""

import time
from dataclasses import KW_ONLY, dataclass
from functools import partial
from numbers import Integral

import numpy as np
from numpy import ndarray as Array
from numpy.typing import DTypeLike
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.utils._param_validation import StrOptions
from tqdm import tqdm

from bdnn.checks import numbered
from bdnn.dcc import coordinate_descent
from bdnn.hashing import Hasher, Seed, as_generator, at_least
from bdnn.lbfgs import minimize
from bdnn.losses import label_groups, squared_norm
from bdnn.metrics import sgn
from bdnn.sh_bdnn import class_codes
from bdnn.uh_bdnn import principal_axes

__all__ = [
    "BinaryReconstructiveEmbedding", "KernelSupervisedHashing", "SupervisedDiscreteHashing",
    "anchor_kernel", "anchor_width", "best_step", "improve_weights", "label_factors", "one_hot",
    "relaxed_bit", "residue_factors", "ridge_factor", "ridge_solution", "similarity_loss",
    "spectral_direction", "squared_distances", "unit_factors",
]  # fmt: skip


def squared_distances(A: Array, X: Array) -> Array:
    """Squared Euclidean distances (p, m) between the columns of A (D, p) and of X (D, m)."""
    origin = A.mean(axis=1, keepdims=True)
    return euclidean_distances((A - origin).T, (X - origin).T, squared=True)


def anchor_kernel(X: Array, A: Array, width: float) -> Array:
    """The map of samples X (D, m) to anchors A (D, p): Eq. (1) of notebook 12; (p, m)."""
    K = squared_distances(A, X)
    K *= -0.5 / width**2
    return np.exp(K, out=K)


def anchor_width(A: Array) -> float:
    """Mean distance of an anchor of A (D, p) to the nearest that differs; 1 if all are alike."""
    d2 = squared_distances(*2 * [A.astype(np.float64)])
    differ = d2 > 1e-12 * d2.max()
    nearest = np.min(d2, axis=0, where=differ, initial=np.inf)
    return float(np.sqrt(nearest).mean()) if differ.any() else 1.0


class _KernelHasher(Hasher):
    """Signs of W (kappa(x) - mean) + c: Eq. (2) of notebook 12."""

    _requires_labels = _several_labels = True
    _parameter_constraints = {
        "n_anchors": at_least(2, Integral),
        "width": [*at_least(np.finfo(np.float32).tiny), None],
    }

    def _centred_kernel(self, X, A):
        """Kernel K (p, m) of the training samples, centred; remembers what `_project` needs."""
        self.anchors_ = np.ascontiguousarray(A)
        self.width_ = anchor_width(A) if self.width is None else float(self.width)
        K = anchor_kernel(X, self.anchors_, self.width_)
        self.kernel_mean_ = K.mean(axis=1, keepdims=True, dtype=np.float64).astype(K.dtype)
        K -= self.kernel_mean_
        return K

    def _project(self, X):
        K = anchor_kernel(X, self.anchors_, self.width_)
        K -= self.kernel_mean_
        return self.W_ @ K + self.c_


def one_hot(y: Array, n_classes: int, dtype: DTypeLike = np.float64) -> Array:
    """Labels 0, 1, ... (m,) as a matrix Y (n_classes, m) with a single 1 in each column."""
    Y = np.zeros((n_classes, len(y)), dtype)
    Y[y, np.arange(len(y))] = 1
    return Y


def ridge_factor(A: Array, ridge: float) -> tuple:
    """Cholesky factor, float64, of A A^T + ridge I for A (p, m): for `ridge_solution`."""
    A = A.astype(np.float64)
    return cho_factor(A @ A.T + ridge * np.eye(len(A)), lower=True)


def ridge_solution(factor: tuple, A: Array, B: Array) -> Array:
    """The W (L, p) that minimises ||B - W A||^2 + ridge ||W||^2: Eqs. (4), (5) of notebook 12.

    A is (p, m), B (L, m), the factor `ridge_factor(A, ridge)`.
    """
    return cho_solve(factor, (A @ B.T).astype(np.float64)).T.astype(A.dtype)


@dataclass(eq=False, repr=False)
class SupervisedDiscreteHashing(_KernelHasher):
    """Supervised Discrete Hashing (Shen et al., CVPR 2015): "SDH" in the tables of BDNN.

    Not to be confused with Supervised Deep Hashing, which has the same initials:
    `bdnn.SupervisedDeepHashing`.

    Parameters
    ----------
    n_bits, width, dtype, random_state : see :mod:`bdnn.baselines.kernels`
    n_anchors : int
        Training samples drawn as anchors of the kernel; if there are fewer, all of them.
    lambda_G, lambda_F : float
        Ridge of the classifier and of the hash function: Eq. (3) of notebook 12.
    nu : float
        Weight of the distance between codes and hash function.
    max_alternations, cycles : int
        Updates of the codes at most, and passes over the bits in each of them at most.
    init : "classes" or "random"
        Codes to start from: one for each class, far apart (`sh_bdnn.class_codes`), or random
        signs for every sample, as in the paper.

    Attributes
    ----------
    codes_ : array (n_samples, n_bits), int8
        Training codes B as learned; the hash function comes close to them.
    G_ : array (n_classes, n_bits)
        Classifier of codes.
    history_ : list of dict
        For each `alternation`: `objective`, its weighted terms `classification`,
        `classifier_decay`, `equality`, `hash_decay`, the share of bits that changed (`flips`), and
        `seconds`.
    """

    _parameter_constraints = {
        **_KernelHasher._parameter_constraints,
        "lambda_G": at_least(1e-6),
        "lambda_F": at_least(1e-6),
        "nu": at_least(0),
        "cycles": at_least(1, Integral),
        "init": [StrOptions({"classes", "random"})],
    }

    n_bits: int = 16
    _: KW_ONLY
    n_anchors: int = 1000
    width: float | None = None
    lambda_G: float = 1.0
    lambda_F: float = 1e-2
    nu: float = 1e-5
    max_alternations: int = 5
    cycles: int = 10
    init: str = "classes"
    dtype: DTypeLike = "float32"
    random_state: Seed = 0

    def _fit(self, X, y):
        rng = as_generator(self.random_state)
        self.classes_, y = numbered(y)
        K = self._centred_kernel(X, X[:, rng.permutation(len(y))[: self.n_anchors]])
        if self.init == "classes":
            number, T = label_groups(y)
            B = class_codes(np.bincount(number), self.n_bits, rng, T=T)[:, number]
        else:
            B = sgn(rng.standard_normal((self.n_bits, len(y))))
        Y = one_hot(y, len(self.classes_), X.dtype) if y.ndim == 1 else y[:, self.classes_].T
        B = self._alternate(K, np.ascontiguousarray(Y, X.dtype), B.astype(X.dtype))
        self.codes_ = B.T.astype(np.int8)

    def _alternate(self, K, Y, B):
        """G step, F step, B step, until the codes stay; the last G and W belong to the codes."""
        self.history_, flips, factor_F = [], 0.0, ridge_factor(K, self.lambda_F)
        for t in range(self.max_alternations + 1):
            started = time.perf_counter()
            self.G_ = ridge_solution(ridge_factor(B, self.lambda_G), B, Y)
            self.W_ = ridge_solution(factor_F, K, B)
            self.c_ = B.mean(axis=1, keepdims=True)
            F = self.W_ @ K + self.c_
            entry = {"alternation": t, **self._terms(Y, B, F), "flips": flips}
            self.history_.append(entry | {"seconds": time.perf_counter() - started})
            self._so_far(codes_=B.T.astype(np.int8))
            if t == self.max_alternations:
                break
            old, zero = B, np.zeros((len(Y), 1), B.dtype)
            B = coordinate_descent(Y, self.G_, zero, F, self.nu, B, self.cycles)
            flips = float(np.mean(B != old))
            if flips == 0:
                break
        return B

    def _terms(self, Y, B, F):
        """The terms of Eq. (3) of notebook 12, weighted, and their sum `objective`."""
        terms = {
            "classification": squared_norm(Y - self.G_ @ B),
            "classifier_decay": self.lambda_G * squared_norm(self.G_),
            "equality": self.nu * squared_norm(B - F),
            "hash_decay": self.nu * self.lambda_F * squared_norm(self.W_),
        }
        return {"objective": sum(terms.values())} | terms


def label_factors(
    y: Array, n_classes: int, dtype: DTypeLike = np.float64
) -> tuple[Array, Array | float]:
    """T (r, m) and the signs tau (r,) of its rows for labels: Eq. (8) of notebook 12.

    Labels y are numbers 0, 1, ... (m,), for which tau is 1, or a 0/1 matrix (m, n_labels).
    """
    y, shared = label_groups(y)
    if shared is None:
        return one_hot(y, n_classes, dtype), 1.0
    theta, U = np.linalg.eigh(shared)
    T = np.sqrt(np.abs(theta))[:, None] * U.T  # a row for each eigenvalue, a column for each set
    return T[:, y].astype(dtype), np.sign(theta)


def similarity_loss(B: Array, T: Array, L: int | None = None, tau: Array | float = 1.0) -> float:
    """The loss 1/(2m) ||B^T B / L - S||^2 with S = 2 T^T diag(tau) T - 1 1^T.

    Eq. (8) of notebook 12; B (k, m) are codes, or the first k of L bits. Without the matrix of
    pairs it takes O(m (k + r)^2).
    """
    L, m = L or len(B), B.shape[1]
    crossed = 2 * np.sum(tau * np.square(B @ T.T), dtype=np.float64) - squared_norm(B.sum(axis=1))
    wanted = np.sum(tau * np.square(T @ T.T) * np.reshape(tau, (-1, 1)), dtype=np.float64)
    wanted = 4 * (wanted - np.sum(tau * np.square(T.sum(axis=1)), dtype=np.float64)) + m**2
    return float(squared_norm(B @ B.T) / L**2 - 2 / L * crossed + wanted) / (2 * m)


def residue_factors(T: Array, B: Array, L: int, tau: Array | float = 1.0) -> tuple[Array, Array]:
    """The residue R = L S - B^T B as F^T diag(omega) F: Eq. (10) of notebook 12.

    B (k, m) are the other bits; F is (1 + r + k, m).
    """
    F = np.vstack([np.ones((1, T.shape[1]), T.dtype), T, B])
    omega = np.repeat([-L, 2 * L, -1.0], [1, len(T), len(B)])
    omega[1 : 1 + len(T)] *= tau
    return F, omega.astype(T.dtype)


def spectral_direction(KF: Array, omega: Array, factor: Array, m: int) -> Array:
    """The leading solution a (p,) of K R K^T a = mu K K^T a: Eqs. (11), (12) of notebook 12.

    KF (p, r) is K F^T for the residue R = F^T diag(omega) F, `factor` the lower Cholesky factor of
    K K^T, or of a matrix close to it. Scaled so that a^T K K^T a = m; the largest entry is
    positive.
    """
    V = solve_triangular(factor, KF.astype(np.float64), lower=True)
    Z, U = np.linalg.qr(V)
    _, E = np.linalg.eigh((U * omega) @ U.T)
    a = np.sqrt(m) * solve_triangular(factor, Z @ E[:, -1], lower=True, trans="T")
    return a if a[np.argmax(np.abs(a))] > 0 else -a


def relaxed_bit(a: Array, K: Array, F: Array, omega: Array) -> tuple[float, Array]:
    """The smooth stand-in for -b^T R b / m^2, and its gradient (p,): Eq. (13) of notebook 12.

    a (p,) are the weights of the bit; R is given by F and omega of `residue_factors`.
    """
    m = K.shape[1]
    phi = np.tanh(a @ K / 2)
    v = F @ phi
    slope = ((omega * v) @ F) * (1 - phi * phi)
    return -float(omega @ v**2) / m**2, K @ slope / K.dtype.type(-(m**2))


@dataclass(eq=False, repr=False)
class KernelSupervisedHashing(_KernelHasher):
    """Kernel Supervised Hashing (Liu et al., CVPR 2012): KSH.

    Parameters
    ----------
    n_bits, width, dtype, random_state, verbose : see :mod:`bdnn.baselines.kernels`
    n_samples : int
        Labelled samples drawn for the training; if there are fewer, all of them.
    n_anchors : int
        How many of these are anchors of the kernel; at most all of them.
    max_iter : int
        Iterations of L-BFGS for each bit; 0: the spectral solution alone.

    Attributes
    ----------
    history_ : list of dict
        For each bit (`iteration` counts them from 1): `objective`, the loss of Eq. (8) of notebook
        12 with the bits so far; `refined`, whether L-BFGS improved on the spectral solution;
        `seconds`.
    n_iter_ : int
        Iterations of L-BFGS in all.
    """

    _parameter_constraints = {
        **_KernelHasher._parameter_constraints,
        "n_samples": at_least(2, Integral),
        "max_iter": at_least(0, Integral),
    }

    n_bits: int = 16
    _: KW_ONLY
    n_samples: int = 10000
    n_anchors: int = 1000
    width: float | None = None
    max_iter: int = 50
    dtype: DTypeLike = "float32"
    random_state: Seed = 0
    verbose: bool = False

    def _fit(self, X, y):
        self.classes_, y = numbered(y)
        drawn = as_generator(self.random_state).permutation(len(y))[: self.n_samples]
        K = self._centred_kernel(X[:, drawn], X[:, drawn[: self.n_anchors]])
        self._learn_bits(K, *label_factors(y[drawn], len(self.classes_), K.dtype))

    def _learn_bits(self, K, T, tau):
        """One bit after the other, each the better of the spectral and the refined solution."""
        L, factor = self.n_bits, _stable_factor(K)
        self.W_, self.history_, self.n_iter_ = np.empty((0, len(K)), K.dtype), [], 0
        B = np.empty((0, K.shape[1]), K.dtype)
        for k in tqdm(range(L), f"KSH, {L} bits", disable=not self.verbose, leave=False):
            started = time.perf_counter()
            F, omega = residue_factors(T, B, L, tau)
            tried = [spectral_direction(K @ F.T, omega, factor, K.shape[1]).astype(K.dtype)]
            if self.max_iter > 0:
                g = partial(relaxed_bit, K=K, F=F, omega=omega)  # Eq. (13)
                refined = minimize(g, tried[0], max_iter=self.max_iter)
                tried.append(refined.x)
                self.n_iter_ += refined.nit
            bits = [sgn(a @ K).astype(K.dtype) for a in tried]
            best = int(np.argmax([omega @ (F @ b) ** 2 for b in bits]))
            self.W_, B = np.vstack([self.W_, tried[best]]), np.vstack([B, bits[best]])
            entry = {"iteration": k + 1, "objective": similarity_loss(B, T, L, tau)}
            entry |= {"refined": best == 1, "seconds": time.perf_counter() - started}
            self.history_.append(entry)
            self.c_ = np.zeros((len(B), 1), K.dtype)
            self._so_far()


def _stable_factor(K):
    """Lower Cholesky factor of K K^T with 1e-6 of its mean diagonal added to the diagonal."""
    ridge = 1e-6 * max(squared_norm(K) / len(K), 1e-6)
    return np.tril(ridge_factor(K, ridge)[0])


def best_step(z: Array, kappa: Array, F: Array, omega: Array) -> tuple[float, float]:
    """The change of one weight that is best for its bit: Eqs. (14), (15) of notebook 12.

    z (m,) are the values of the bit, b = sgn(z), and kappa (m,) what the weight multiplies:
    b(delta) = sgn(z + delta kappa). Returns the middle of the first of the best steps, 0 if kappa
    is 0, and the value b(delta)^T R b(delta) for R given by F and omega of `residue_factors`.
    """
    b = np.where(z >= 0, 1.0, -1.0)
    moving = np.flatnonzero(kappa)
    if not moving.size:
        return 0.0, float(omega @ (F @ b) ** 2)
    thresholds = -z[moving] / kappa[moving]
    order = np.argsort(thresholds)
    edges, moving = thresholds[order], moving[order]
    turned_to = np.sign(kappa[moving])
    b[moving] = -turned_to
    v0 = (F @ b)[:, None]
    v = np.hstack([v0, v0 + np.cumsum(2 * turned_to * F[:, moving], axis=1)])
    edges = np.concatenate([edges[:1] - 1, edges, edges[-1:] + 1])
    wide = np.diff(edges) > 1e-9 * np.median(np.abs(edges))
    q = np.where(wide, omega @ v**2, -np.inf)
    r = int(np.argmax(q))
    return float(edges[r] + edges[r + 1]) / 2, float(q[r])


def unit_factors(X: Array, energy: float = 0.95) -> Array:
    """T (r, m) with t_i^T t_j = cos(x_i, x_j), nearly: for distances of unit vectors in Eq. (8).

    The samples X (D, m), scaled to unit length, are described by the principal axes that hold the
    share `energy` of their mean square; 1: exactly. A sample that is 0 has the factor 0.
    """
    X = X / (np.abs(X).max() or 1)
    length = np.sqrt(np.sum(np.square(X, dtype=np.float64), axis=0))
    U = X / np.where(length > 0, length, 1)
    P = principal_axes(U, energy)
    return P.T @ U


def improve_weights(W: Array, K: Array, T: Array, tau: Array | float = 1.0) -> int:
    """Give every weight of W (L, p) in turn its best value: one pass of BRE, in place.

    All in float64. Returns how many of the weights changed.
    """
    B, moved = np.where(W @ K >= 0, 1.0, -1.0), 0
    for k in range(len(W)):
        F, omega = residue_factors(T, np.delete(B, k, axis=0), len(W), tau)
        z, best = W[k] @ K, omega @ (F @ B[k]) ** 2
        for s, kappa in enumerate(K):
            delta, value = best_step(z, kappa, F, omega)
            if value <= best:
                continue
            b = np.where(z + delta * kappa >= 0, 1.0, -1.0)
            reached = omega @ (F @ b) ** 2
            if reached > best:
                W[k, s] += delta
                z, B[k], best, moved = z + delta * kappa, b, reached, moved + 1
    return moved


@dataclass(eq=False, repr=False)
class BinaryReconstructiveEmbedding(_KernelHasher):
    """Binary Reconstructive Embedding (Kulis and Darrell, NIPS 2009): BRE.

    It trains in float64; `dtype` is that of the hash function.

    Parameters
    ----------
    n_bits, width, dtype, random_state, verbose : see :mod:`bdnn.baselines.kernels`
    targets : "labels" or "distances"
        What the Hamming distances are to be like: 0 within a class and 1 between classes, which
        needs labels; or half the squared distances of the samples divided by their lengths, which
        does without.
    n_samples : int
        Samples drawn for the training; if there are fewer, all of them.
    n_anchors : int
        How many of these are anchors of the kernel; at most all of them.
    max_iter : int
        Passes over all weights at most.
    tol : float
        Stop after a pass that lowers the objective by no more than this share.

    Attributes
    ----------
    history_ : list of dict
        For each pass (`iteration` 0 is the start): `objective`, the loss of Eq. (8) of notebook 12,
        which never rises; `moved`, the share of the weights that changed; `seconds`.
    """

    _parameter_constraints = {
        **KernelSupervisedHashing._parameter_constraints,
        "targets": [StrOptions({"labels", "distances"})],
        "tol": at_least(0),
    }

    n_bits: int = 16
    _: KW_ONLY
    targets: str = "labels"
    n_samples: int = 1000
    n_anchors: int = 300
    width: float | None = None
    max_iter: int = 2
    tol: float = 1e-3
    dtype: DTypeLike = "float32"
    random_state: Seed = 0
    verbose: bool = False

    @property
    def _requires_labels(self):
        return self.targets == "labels"

    def _fit(self, X, y):
        rng = as_generator(self.random_state)
        drawn = rng.permutation(X.shape[1])[: self.n_samples]
        K = self._centred_kernel(X[:, drawn], X[:, drawn[: self.n_anchors]])
        if self.targets == "labels":
            self.classes_, y = numbered(y)
            T, tau = label_factors(y[drawn], len(self.classes_))
        else:
            T, tau = unit_factors(X[:, drawn]), 1.0
        W = rng.standard_normal((self.n_bits, len(K)))
        self.c_ = np.zeros((self.n_bits, 1), K.dtype)
        self._improve(W, K.astype(np.float64), T, tau)

    def _improve(self, W, K, T, tau):
        """Passes over the weights, until one lowers the loss by next to nothing."""
        self.history_, started = [], time.perf_counter()
        passes = range(self.max_iter + 1)
        for t in tqdm(passes, f"BRE, {self.n_bits} bits", disable=not self.verbose, leave=False):
            moved = improve_weights(W, K, T, tau) / W.size if t else 0.0
            J = similarity_loss(sgn(W @ K), T, tau=tau)
            seconds = time.perf_counter() - started
            entry = {"iteration": t, "objective": J, "moved": moved, "seconds": seconds}
            self.history_.append(entry)
            self.n_iter_ = t
            self.W_ = (W / np.linalg.norm(W, axis=1, keepdims=True)).astype(self.c_.dtype)
            self._so_far()
            if t and self.history_[-2]["objective"] - J <= self.tol * J:
                break
