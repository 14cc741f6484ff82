# Generated from notebooks/03_itq.py by `course.py export 03`: edit the notebook.
"""PCA, CCA and iterative quantisation (ITQ): linear hash functions, and the start of BDNN's codes.

Samples stand in columns here, X is (D, m); the estimators take them in rows. Sources: Gong and
Lazebnik, "Iterative Quantization", CVPR 2011 (PCA, CCA and the rotation); the scaling is the one of
BDNN.
"""

from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike, DTypeLike
from scipy.linalg import eigh
from sklearn.utils._param_validation import Interval

from bdnn.hashing import Hasher, Seed, as_generator
from bdnn.metrics import sgn

__all__ = [
    "ITQ", "ITQCCA", "canonical_directions", "fixed_signs", "itq_codes", "itq_rotation",
    "most_correlated", "principal_directions", "procrustes_rotation", "random_rotation",
    "range_scaling",
]  # fmt: skip


def fixed_signs(P: Array) -> Array:
    """Columns of P, each turned so that its entry of largest magnitude is positive.

    An eigenvector may be multiplied by -1; with this rule all machines agree.
    """
    return P * np.where(P[np.abs(P).argmax(axis=0), np.arange(P.shape[1])] < 0, -1, 1)


def principal_directions(X: Array, L: int) -> tuple[Array, Array]:
    """Mean (D, 1) and the L directions P (D, L) of largest variance (PCA), both float64.

    Columns are orthonormal eigenvectors of the covariance by falling eigenvalue, Eq. (1) of
    notebook 03, the largest entry of each positive. If L > D the columns beyond D are zero.
    """
    D, m = X.shape
    mean = X.mean(axis=1, keepdims=True, dtype=np.float64)
    V = X - mean  # in float64, as the mean is
    C_xx = V @ V.T / m  # (D, D)
    P = eigh(C_xx, subset_by_index=(max(D - L, 0), D - 1))[1][:, ::-1]
    return mean, np.pad(fixed_signs(P), ((0, 0), (0, max(L - D, 0))))


def random_rotation(L: int, rng: np.random.Generator) -> Array:
    """Orthogonal matrix (L, L), uniformly distributed: QR of a normal matrix, signs fixed."""
    Q, T = np.linalg.qr(rng.standard_normal((L, L)))
    return Q * np.where(np.diag(T) < 0, -1, 1)


def procrustes_rotation(B: Array, V: Array) -> Array:
    """The orthogonal R (L, L) that brings V closest to B, both (L, m): Eq. (5) of notebook 03."""
    U, _, At = np.linalg.svd(B @ V.T)
    return U @ At


def itq_rotation(V: Array, n_iter: int, rng: np.random.Generator) -> tuple[Array, list[float]]:
    """Rotation R (L, L) that brings centred samples V (L, m) close to the corners {-1, +1}^L.

    Alternates between codes and rotation `n_iter` times, from a rotation that `rng` draws: R
    minimises Eq. (2) of notebook 03 locally. Also returns the loss per sample with the nearest
    codes, before the first alternation and after each; it never rises.
    """
    R, losses = random_rotation(len(V), rng), []
    for t in range(n_iter + 1):
        RV = R @ V
        B = sgn(RV)  # the nearest codes, Eq. (3)
        losses.append(float(np.sum((B - RV) ** 2) / V.shape[1]))
        if t < n_iter:
            R = procrustes_rotation(B, V)  # the best rotation, Eq. (5)
    return R, losses


@dataclass(eq=False, repr=False)
class ITQ(Hasher):
    """Iterative quantisation: PCA, then the rotation with the least quantisation loss.

    Gong and Lazebnik, CVPR 2011; derived in notebook 03.

    Parameters
    ----------
    n_bits : int
        Length L of the code.
    n_iter : int
        Alternations between codes and rotation; 0 gives PCA with a random rotation.
    dtype : {"float32", "float64"}
        Precision of samples and hash function.
    random_state : int, Generator, RandomState or None
        Draws the rotation to start from.

    Attributes
    ----------
    W_, c_ : arrays (n_bits, n_features), (n_bits, 1)
        The hash function: sgn(W_ x + c_) for a vector x as it comes, not centred.
    codes_ : array (n_samples, n_bits), int8
        Codes of the training samples.
    history_ : list of n_iter + 1 dicts
        ``quantisation``: loss per sample before the first alternation and after each.
    """

    _parameter_constraints = {"n_iter": [Interval(Integral, 0, None, closed="left")]}

    n_bits: int = 16
    _: KW_ONLY
    n_iter: int = 50
    dtype: DTypeLike = "float32"
    random_state: Seed = 0

    def _directions(self, X, y):
        return principal_directions(X, self.n_bits)

    def _fit(self, X, y):
        mean, P = self._directions(X, y)  # (D, 1), (D, L)
        V = P.T @ X - P.T @ mean
        R, losses = itq_rotation(V, self.n_iter, as_generator(self.random_state))
        W = R @ P.T  # (L, D)
        self.W_, self.c_ = W.astype(X.dtype), -(W @ mean).astype(X.dtype)
        self.history_ = [{"quantisation": loss} for loss in losses]

    def _project(self, X):
        return self.W_ @ X + self.c_


def itq_codes(X: Array, L: int, rng: np.random.Generator) -> Array:
    """Codes (L, m) of ITQ for samples X (D, m): where the codes of BDNN start."""
    mean, P = principal_directions(X, L)
    V = P.T @ X - P.T @ mean
    return sgn(itq_rotation(V, 50, rng)[0] @ V).astype(X.dtype)


def range_scaling(X: Array) -> tuple[Array, float]:
    """Shift (D, 1) and scale that BDNN applies to its input: (X - shift) / scale lies in [0, 1].

    The shift is the minimum of each dimension; the scale is one number for all, the largest range
    of a dimension, or 1 if nothing varies.
    """
    shift, top = X.min(axis=1, keepdims=True), X.max(axis=1, keepdims=True)
    return shift, float(np.max(top - shift)) or 1.0


def most_correlated(C_xx: Array, C_xy: Array, C_yy: Array, L: int, rho: float) -> Array:
    """Directions P (D, L) of CCA from the covariances, Eqs. (8) and (9) of notebook 03.

    By falling correlation, each multiplied by it; rho is added to the diagonals of C_xx and C_yy.
    Beyond the rank of C_yy, for classes C - 1, and beyond D columns are zero: there are no more.
    """
    D = len(C_xx)
    k = min(L, np.linalg.matrix_rank(C_yy, 1e-12, hermitian=True), D)
    r2, P = eigh(
        C_xy @ np.linalg.solve(C_yy + rho * np.eye(len(C_yy)), C_xy.T),
        C_xx + rho * np.eye(D),
        subset_by_index=(D - k, D - 1),
    )
    P = fixed_signs(P[:, ::-1]) * np.sqrt(np.maximum(r2[::-1], 0))
    return np.pad(P, ((0, 0), (0, L - k)))


def canonical_directions(X: Array, y: ArrayLike, L: int, rho: float = 1e-4) -> tuple[Array, Array]:
    """Mean (D, 1) and the directions P (D, L) of `most_correlated` with the labels, both float64.

    Labels y are (m,), numbers or strings, or a 0/1 matrix (m, C), several for each sample.
    """
    m = X.shape[1]
    if np.ndim(y) == 1:
        y = np.unique(y, return_inverse=True)[1]
        y = np.eye(y.max() + 1)[y]  # (m, C), one-hot
    Y = np.asarray(y, dtype=np.float64).T
    mean = X.mean(axis=1, keepdims=True, dtype=np.float64)
    share, V = Y.mean(axis=1, keepdims=True), X - mean
    C_xx, C_xy = V @ V.T / m, V @ Y.T / m  # (D, D), (D, C)
    C_yy = Y @ Y.T / m - share @ share.T  # (C, C)
    return mean, most_correlated(C_xx, C_xy, C_yy, L, rho)


@dataclass(eq=False, repr=False)
class ITQCCA(ITQ):
    """Supervised ITQ: CCA with the class labels in the place of PCA.

    It is :class:`ITQ` with the parameter `rho`, which regularises CCA: it is added to both
    covariances, of inputs scaled by :func:`range_scaling`.
    """

    _requires_labels = _several_labels = True
    _parameter_constraints = {
        **ITQ._parameter_constraints,
        "rho": [Interval(Real, 1e-12, None, closed="left")],
    }

    rho: float = 1e-4

    def _directions(self, X, y):
        scale = X.dtype.type(range_scaling(X)[1])  # the shift goes when CCA centres
        mean, P = canonical_directions(X / scale, y, self.n_bits, self.rho)
        return scale * mean, P / scale
