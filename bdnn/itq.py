# Generated from notebooks/03_itq.py by `course.py export 03`: edit the notebook.
"""PCA, CCA and iterative quantisation (ITQ): linear hash functions, and the start of BDNN's codes.

Samples stand in columns here, X is (D, m); the estimators take them in rows.  Sources: Gong and
Lazebnik, "Iterative Quantization", CVPR 2011 (PCA, CCA and the rotation); the scaling is the one of
BDNN.
"""

from functools import partial

import numpy as np
from numpy.typing import ArrayLike, DTypeLike
from scipy.linalg import eigh
from sklearn.utils.multiclass import check_classification_targets

from bdnn.base import Array, BaseHasher, Seed, as_generator, check_number, check_whole_number, sgn
from bdnn.sources import AnySamples, alongside, blockwise, merged, total

__all__ = [
    "ITQ",
    "ITQCCA",
    "canonical_directions",
    "itq_rotation",
    "principal_directions",
    "procrustes_rotation",
    "random_rotation",
    "range_scaling",
    "rotation_from_product",
    "sample_mean",
]


def sample_mean(X: AnySamples) -> Array:
    """Mean (D, 1) of the columns of X, in float64."""
    (sums,) = total(lambda X: (X.sum(axis=1, keepdims=True, dtype=np.float64),), X)
    return sums / X.shape[1]


def _covariance(X, mean):
    """Covariance (D, D) of the columns of X, computed in float64 without a second copy of X."""

    def products(X):
        V = X - mean
        return (V @ V.T,)

    return total(products, X)[0] / X.shape[1]


def _with_fixed_signs(P):
    """Columns of P, each turned so that its entry of largest absolute value is positive."""
    largest = np.argmax(np.abs(P), axis=0)
    return P * np.where(P[largest, np.arange(P.shape[1])] < 0, -1, 1)


def principal_directions(X: AnySamples, L: int) -> tuple[Array, Array]:
    """Mean and the L directions of largest variance (PCA).

    Parameters
    ----------
    X : array (D, m)
        Samples in columns.
    L : int
        Number of directions.

    Returns
    -------
    mean : array (D, 1), float64
    P : array (D, L), float64
        Orthonormal eigenvectors of the covariance by falling eigenvalue, Eq. (1) of notebook 03,
        the largest entry of each positive.  If L > D the columns beyond D are zero.
    """
    D = len(X)
    mean = sample_mean(X)
    k = min(L, D)
    _, P = eigh(_covariance(X, mean), subset_by_index=(D - k, D - 1))
    return mean, np.pad(_with_fixed_signs(P[:, ::-1]), ((0, 0), (0, L - k)))


def _quantise(R, V):
    """Nearest codes B (L, m) to R V, and the quantisation loss per sample, Eq. (2)."""
    RV = R.astype(V.dtype) @ V
    B = sgn(RV).astype(V.dtype)
    return B, float(np.sum((B - RV) ** 2, dtype=np.float64)) / V.shape[1]


def random_rotation(L: int, rng: np.random.Generator) -> Array:
    """Orthogonal matrix (L, L), uniformly distributed: QR of a normal matrix, signs fixed."""
    Q, T = np.linalg.qr(rng.standard_normal((L, L)))
    return Q * np.where(np.diag(T) < 0, -1, 1)


def procrustes_rotation(B: Array, V: Array) -> Array:
    """The orthogonal R (L, L) that brings V closest to B, both (L, m): Eq. (5) of notebook 03."""
    return rotation_from_product((B @ V.T).astype(np.float64))


def rotation_from_product(BVt: Array) -> Array:
    """The same from the product B V^T (L, L), all that the rotation needs to know of them."""
    U, _, At = np.linalg.svd(BVt)
    return U @ At


def _codes_to_fit(R, V):
    """The product B V^T with the nearest codes B to R V, and the quantisation loss."""
    B, loss = _quantise(R, V)
    return B @ V.T, loss * V.shape[1]


def itq_rotation(V: AnySamples, n_iter: int, rng: np.random.Generator) -> tuple[Array, list[float]]:
    """Rotation that brings projected samples close to the corners of the cube {-1, +1}^L.

    Parameters
    ----------
    V : array (L, m)
        Centred samples in L dimensions.
    n_iter : int
        Number of alternations between the codes B and the rotation R.
    rng : numpy.random.Generator
        Draws the rotation to start from.

    Returns
    -------
    R : array (L, L), float64
        Orthogonal, minimises the loss of Eq. (2) of notebook 03 locally.
    losses : list of n_iter + 1 floats
        Loss per sample with the nearest codes, before the first alternation and after each; it
        never rises.
    """
    R = random_rotation(len(V), rng)
    BVt, loss = total(partial(_codes_to_fit, R), V)
    losses = [loss / V.shape[1]]
    for _ in range(n_iter):
        R = rotation_from_product(BVt)
        BVt, loss = total(partial(_codes_to_fit, R), V)
        losses.append(loss / V.shape[1])
    return R, losses


class _RotatedProjection(BaseHasher):
    """Linear hash functions sgn(W x + c): a projection to n_bits dimensions, rotated by ITQ."""

    _takes_sources = True

    def _rotate(self, X, mean, P):
        """Learn the rotation of P^T (x - mean), and keep the hash function and the codes."""
        check_whole_number("n_iter", self.n_iter, 0)
        V = blockwise(lambda X: P.T @ (X - mean), X)  # in float64, as P and mean are
        R, losses = itq_rotation(V, self.n_iter, as_generator(self.random_state))
        W = R @ P.T
        self.W_, self.c_ = W.astype(X.dtype), -(W @ mean).astype(X.dtype)
        self.history_ = [{"quantisation": loss} for loss in losses]
        self.codes_ = self._encoded(X, sgn, np.int8)

    def _project(self, X):
        return self.W_ @ X + self.c_


class ITQ(_RotatedProjection):
    """Iterative quantisation: PCA, then the rotation with the least quantisation loss.

    Parameters
    ----------
    n_bits : int
        Length L of the code.
    n_iter : int
        Alternations between codes and rotation; 0 gives PCA with a random rotation.
    dtype : {"float32", "float64"}
        Precision of the samples and of the hash function, which is learned in float64 all the same.
    random_state : int, Generator, RandomState or None
        Draws the rotation to start from.

    Attributes
    ----------
    W_ : array (n_bits, n_features)
    c_ : array (n_bits, 1)
        The hash function: sgn(W_ x + c_) for a vector x as it comes, not centred.
    codes_ : array (n_samples, n_bits), int8
        Codes of the training samples.
    history_ : list of n_iter + 1 dicts
        ``quantisation``: loss per sample before the first alternation and after each.

    Notes
    -----
    Gong and Lazebnik, CVPR 2011; derived in notebook 03.
    """

    def __init__(
        self,
        n_bits: int = 16,
        *,
        n_iter: int = 50,
        dtype: DTypeLike = "float32",
        random_state: Seed = 0,
    ) -> None:
        self.n_bits = n_bits
        self.n_iter = n_iter
        self.dtype = dtype
        self.random_state = random_state

    def _fit(self, X, y):
        self._rotate(X, *principal_directions(X, self.n_bits))


def range_scaling(X: AnySamples) -> tuple[Array, float]:
    """Shift and scale that BDNN applies to its input: (X - shift) / scale lies in [0, 1].

    Parameters
    ----------
    X : array (D, m)
        Training samples in columns.

    Returns
    -------
    shift : array (D, 1)
        Minimum of each dimension.
    scale : float
        One number for all: the largest range of a dimension; 1 if nothing varies.
    """
    shift, top = merged(
        lambda a, b: (np.minimum(a[0], b[0]), np.maximum(a[1], b[1])),
        lambda X: (X.min(axis=1, keepdims=True), X.max(axis=1, keepdims=True)),
        X,
    )
    largest = float(np.max(top - shift))
    return shift, largest if largest > 0 else 1.0


def canonical_directions(
    X: AnySamples, y: ArrayLike, L: int, rho: float = 1e-4
) -> tuple[Array, Array]:
    """Mean and the directions of X best correlated with the class labels (CCA).

    Parameters
    ----------
    X : array (D, m)
        Samples in columns.
    y : array (m,)
        Class labels, numbers or strings; C classes.
    L : int
        Number of directions.
    rho : float
        Added to the diagonal of both covariances.

    Returns
    -------
    mean : array (D, 1), float64
    P : array (D, L), float64
        Canonical directions by falling correlation, Eqs. (8) and (9) of notebook 03, each
        multiplied by its correlation.  Columns beyond min(C - 1, D) are zero: there are no more.

    Raises
    ------
    ValueError
        If y has one class only.
    """
    classes, y = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError("CCA needs at least 2 classes in y, got one class only")
    D, m = X.shape
    mean, C = sample_mean(X), len(classes)
    share = np.bincount(y) / m
    C_yy = np.diag(share) - np.outer(share, share)
    (sums,) = total(lambda X, y: (X.astype(np.float64) @ np.eye(C)[y],), X, alongside(X, y))
    C_xy = sums / m - mean * share
    C_xx = _covariance(X, mean)
    k = min(L, C - 1, D)
    r2, P = eigh(
        C_xy @ np.linalg.solve(C_yy + rho * np.eye(C), C_xy.T),
        C_xx + rho * np.eye(D),
        subset_by_index=(D - k, D - 1),
    )
    P = _with_fixed_signs(P[:, ::-1]) * np.sqrt(np.maximum(r2[::-1], 0))
    return mean, np.pad(P, ((0, 0), (0, L - k)))


class ITQCCA(_RotatedProjection):
    """Supervised ITQ: CCA with the class labels in the place of PCA.

    Parameters
    ----------
    n_bits : int
        Length L of the code.
    rho : float
        Regularises CCA; added to both covariances, of inputs scaled by :func:`range_scaling`.
    n_iter : int
        Alternations between codes and rotation.
    dtype : {"float32", "float64"}
        Precision of the samples and of the hash function, which is learned in float64 all the same.
    random_state : int, Generator, RandomState or None
        Draws the rotation to start from.

    Attributes
    ----------
    W_ : array (n_bits, n_features)
    c_ : array (n_bits, 1)
        The hash function: sgn(W_ x + c_) for a vector x as it comes, not scaled.
    codes_ : array (n_samples, n_bits), int8
        Codes of the training samples.
    history_ : list of n_iter + 1 dicts
        ``quantisation``: loss per sample before the first alternation and after each.

    Notes
    -----
    Gong and Lazebnik, CVPR 2011; derived in notebook 03.
    """

    _requires_labels = True

    def __init__(
        self,
        n_bits: int = 16,
        *,
        rho: float = 1e-4,
        n_iter: int = 50,
        dtype: DTypeLike = "float32",
        random_state: Seed = 0,
    ) -> None:
        self.n_bits = n_bits
        self.rho = rho
        self.n_iter = n_iter
        self.dtype = dtype
        self.random_state = random_state

    def _fit(self, X, y):
        check_number("rho", self.rho, 1e-12)
        check_classification_targets(y)
        scale = X.dtype.type(range_scaling(X)[1])  # the shift goes when CCA centres
        scaled = blockwise(lambda X: X / scale, X)
        mean, P = canonical_directions(scaled, y, self.n_bits, self.rho)
        self._rotate(X, scale * mean, P / scale)
