# Generated from notebooks/11_classical.py by `course.py export 11`: edit the notebook.
"""Classical unsupervised methods: spectral, spherical, K-means hashing, binary autoencoder.

Samples stand in columns in the functions, X is (D, m), and in rows at the face of the estimators.
What these share are parameters and attributes::

    n_bits, dtype  length L of the code; "float32" or "float64", the precision of the arithmetic
    random_state   int, Generator, RandomState or None; draws samples and start
    verbose        show a progress bar
    codes_         (n_samples, n_bits), int8, of the training samples
    n_iter_        rounds made

Sources: Weiss, Torralba and Fergus, "Spectral Hashing", NIPS 2008; Heo, Lee, He, Chang and Yoon,
"Spherical Hashing", CVPR 2012; He, Wen and Sun, "K-means Hashing", CVPR 2013; Carreira-Perpinan
and Raziperchikolaei, "Hashing with Binary Autoencoders", CVPR 2015.
"""

import itertools
from dataclasses import KW_ONLY, dataclass
from numbers import Integral

import numpy as np
from numpy import ndarray as Array
from numpy.typing import DTypeLike
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.svm import LinearSVC
from tqdm import tqdm

from bdnn.dcc import coordinate_descent
from bdnn.hashing import Hasher, Seed, as_generator, at_least
from bdnn.itq import itq_rotation, principal_directions, range_scaling
from bdnn.losses import reconstruction
from bdnn.metrics import sgn
from bdnn.uh_bdnn import ridge_decoder

__all__ = [
    "BinaryAutoencoder", "KMeansHashing", "SpectralHashing", "SphericalHashing", "affinity_error",
    "balanced_spheres", "bit_correlations", "cube_distances", "deal_directions", "every_code",
    "move_centre", "named_kmeans", "nearest_centres", "nearest_codes", "repel",
    "separating_hyperplane", "slowest_waves",
]  # fmt: skip


def slowest_waves(R: Array, L: int) -> tuple[Array, Array]:
    """The L slowest waves along the sides R (r,) of a box: the smallest omega = k pi / R_j.

    Numbers k (L,) of half waves, from 1 on, and the sides j (L,) that they run along: Eqs. (5) and
    (6) of notebook 11. Along a side of 0 there is no wave; one side at least is positive.
    """
    with np.errstate(divide="ignore"):
        omega = np.pi * np.arange(1, L + 1)[:, None] / R
    k, j = np.unravel_index(np.argsort(omega, axis=None, kind="stable")[:L], omega.shape)
    return k + 1, j


@dataclass(eq=False, repr=False)
class SpectralHashing(Hasher):
    """Spectral hashing: signs of the slowest waves along principal directions.

    Weiss, Torralba and Fergus, NIPS 2008; derived in notebook 11. Deterministic: there is no
    random_state.

    Parameters
    ----------
    n_bits, dtype : see :mod:`bdnn.baselines.classical`

    Attributes
    ----------
    W_, c_ : arrays (n_bits, n_features), (n_bits, 1)
        The hash function: sgn(cos(W_ x + c_)), Eq. (7) of notebook 11.
    half_waves_, directions_ : arrays (n_bits,), int
        Number of half waves of each bit, and the principal direction that it runs along.
    history_ : list
        Empty: nothing is iterated.
    """

    n_bits: int = 16
    _: KW_ONLY
    dtype: DTypeLike = "float32"

    def _fit(self, X, y):
        _, P = principal_directions(X, min(self.n_bits, len(X)))
        V = P.T.astype(X.dtype) @ X
        low, R = V.min(axis=1).astype(np.float64), np.ptp(V, axis=1).astype(np.float64)
        if not R.any():
            R[:] = 1.0  # samples that are all the same: any box will do
        k, j = slowest_waves(R, self.n_bits)
        omega = np.pi * k / R[j]
        self.W_ = (omega * P[:, j]).T.astype(X.dtype)
        self.c_ = -(omega * low[j])[:, None].astype(X.dtype)
        self.half_waves_, self.directions_ = k, j
        self.history_ = []

    def _project(self, X):
        return np.cos(self.W_ @ X + self.c_)


def bit_correlations(B: Array) -> Array:
    """1/m B B^T with zeros on the diagonal (L, L), for codes B (L, m): Eq. (10) of notebook 11."""
    B = B.astype(np.float32)  # sums of +1 and -1: exact up to 16 million samples
    r = (B @ B.T).astype(np.float64) / B.shape[1]
    np.fill_diagonal(r, 0)
    return r


def repel(P: Array, r: Array) -> Array:
    """Move the centres P (D, L) by the mean forces between them, Eq. (12) of notebook 11."""
    return P + P @ (np.diag(r.sum(axis=1)) - r) / (2 * len(r))


_SAMPLES_PER_CENTRE = 5  # whose mean is the centre that a ball starts from


def balanced_spheres(
    X: Array,
    L: int,
    rng: np.random.Generator,
    max_iter: int = 50,
    mean_tol: float = 0.1,
    std_tol: float = 0.15,
) -> tuple[Array, Array, list[dict]]:
    """Balls that hold half of the samples each, and any two of them a quarter in common.

    The L balls move `max_iter` times at most, until over all pairs the mean of |r| and the standard
    deviation of r, the correlations of Eq. (10) of notebook 11, are no larger than the tolerances.
    Returned are the centres P (D, L) that come closest to these, the last ones if they meet them;
    the radii (L, 1), medians of the distances; and `mean` of |r| and `std` of r before the first
    move and after each.
    """
    m = X.shape[1]
    draws = [rng.choice(m, min(_SAMPLES_PER_CENTRE, m), replace=False) for _ in range(L)]
    P = np.stack([X[:, draw].mean(axis=1) for draw in draws], axis=1)
    history, closest = [], np.inf
    for _ in range(max_iter + 1):
        distances = euclidean_distances(P.T, X.T)
        radii = np.median(distances, axis=1, keepdims=True)
        r = bit_correlations(sgn(radii - distances))
        pairs = r[np.triu_indices(L, 1)] if L > 1 else np.zeros(1)
        history.append({"mean": float(np.abs(pairs).mean()), "std": float(pairs.std())})
        excess = max(history[-1]["mean"] / mean_tol, history[-1]["std"] / std_tol)
        if excess < closest:
            closest, best = excess, (P, radii)
        if excess <= 1:
            break
        P = repel(P, r).astype(X.dtype)
    return *best, history


@dataclass(eq=False, repr=False)
class SphericalHashing(Hasher):
    """Spherical hashing: every bit tells the inside of a ball from its outside.

    Heo, Lee, He, Chang and Yoon, CVPR 2012; derived in notebook 11. The authors also define a
    spherical Hamming distance; here codes are compared by the plain one, as all others are.

    Parameters
    ----------
    n_bits, dtype, random_state : see :mod:`bdnn.baselines.classical`
    n_samples : int
        Training samples, drawn at random, that the balls are fitted to; all if there are fewer.
    max_iter : int
        Moves of the centres at most.
    mean_tol, std_tol : float
        Stop when the mean absolute correlation of two bits, and the standard deviation of the
        correlations, are no larger.

    Attributes
    ----------
    centres_, radii_ : arrays (n_features, n_bits), (n_bits, 1)
        The hash function: bit k is sgn(radii_[k] - ||x - centres_[:, k]||), Eq. (8) of notebook 11.
    history_ : list of n_iter_ + 1 dicts
        As in `balanced_spheres`.
    """

    _parameter_constraints = {
        "n_samples": at_least(2, Integral),
        "mean_tol": at_least(1e-6),
        "std_tol": at_least(1e-6),
    }

    n_bits: int = 16
    _: KW_ONLY
    n_samples: int = 20_000
    max_iter: int = 50
    mean_tol: float = 0.1
    std_tol: float = 0.15
    dtype: DTypeLike = "float32"
    random_state: Seed = 0

    def _fit(self, X, y):
        rng = as_generator(self.random_state)
        m = X.shape[1]
        kept = np.sort(rng.choice(m, min(self.n_samples, m), replace=False))
        self.centres_, self.radii_, self.history_ = balanced_spheres(
            X[:, kept], self.n_bits, rng, self.max_iter, self.mean_tol, self.std_tol
        )
        self.n_iter_ = len(self.history_) - 1

    def _project(self, X):
        return self.radii_ - euclidean_distances(self.centres_.T, X.T)


def every_code(b: int) -> Array:
    """All codes of b bits, (b, 2^b) entries -1 and +1: bit k of code i is bit k of the number i."""
    return 2 * (np.arange(2**b) >> np.arange(b)[:, None] & 1) - 1


def cube_distances(b: int, s: float) -> Array:
    """Distances (2^b, 2^b) of the corners of the cube {-s, s}^b: d_ij of Eq. (13), notebook 11."""
    names = np.arange(2**b)
    return 2 * s * np.sqrt(np.bitwise_count(names[:, None] ^ names).astype(float))


def affinity_error(C: Array, w: Array, d: Array) -> float:
    """E_aff of Eq. (13) of notebook 11, for centres C (D, K) and shares w (K,) of the samples."""
    lengths = np.linalg.norm(C[:, :, None] - C[:, None, :], axis=0)
    return float(np.sum(np.outer(w, w) * (lengths - d) ** 2))


def move_centre(C: Array, j: int, mu: Array, w: Array, d: Array, lambda_: float) -> Array:
    """The centre j (D,) after one step of Eq. (16) of notebook 11.

    C (D, K) are the centres, w (K,) the shares of the samples in their cells, d (K, K) the rest
    lengths of the springs and lambda_ their weight; mu (D,) is the mean of the samples in cell j,
    not looked at where w[j] = 0.
    """
    others = np.arange(C.shape[1]) != j
    apart = C[:, [j]] - C[:, others]
    u = apart / np.maximum(np.linalg.norm(apart, axis=0), 1e-12)
    springs = 2 * lambda_ * w[others]
    total = (w[j] > 0) + springs.sum()
    if total == 0:
        return C[:, j]
    pull = (C[:, others] + d[j, others] * u) @ springs
    return (mu * (w[j] > 0) + pull) / total


def nearest_centres(C: Array, V: Array) -> Array:
    """Index (m,) of the nearest of the centres C (D, K) for each sample of V (D, m)."""
    return np.argmin(np.sum(C * C, axis=0)[:, None] - 2 * (C.T.astype(V.dtype) @ V), axis=0)


_MOVES = 3  # steps of every centre in a round


def named_kmeans(
    V: Array, b: int, lambda_: float, max_iter: int, tol: float
) -> tuple[Array, list[tuple[float, float]]]:
    """Centres whose indices, as numbers of b bits, have distances like the centres: Eq. (13).

    V (D, m) are samples in principal coordinates, centred, by falling variance, D >= b; lambda_ is
    the weight of the affinity error. A round assigns the samples and moves every centre; the last
    one lowers the error by no more than the share `tol`. Returns C (D, 2^b), float64, bit k of
    the index i being ``(i >> k) & 1``, and quantisation and affinity error after each round.
    """
    names, m = np.arange(2**b), V.shape[1]
    s = float(np.abs(V[:b]).mean(dtype=np.float64))
    d, C = cube_distances(b, s), np.zeros((len(V), 2**b))
    C[:b] = s * every_code(b)
    square, history, E = np.square(V).sum(dtype=np.float64) / m, [], np.inf
    for _ in range(max_iter):
        cells = nearest_centres(C, V)
        w = np.bincount(cells, minlength=2**b) / m
        mus = (V @ (cells[:, None] == names).astype(V.dtype)).astype(np.float64)
        mus /= np.maximum(m * w, 1)
        for _, j in itertools.product(range(_MOVES), names):
            C[:, j] = move_centre(C, j, mus[:, j], w, d, lambda_)
        E_quan = square + w @ (np.sum(C * C, axis=0) - 2 * np.sum(C * mus, axis=0))
        history.append((float(E_quan), affinity_error(C, w, d)))
        before, E = E, E_quan + lambda_ * history[-1][1]
        if before - E <= tol * E:
            break
    return C, history


def deal_directions(variances: Array, M: int) -> list[list[int]]:
    """Deal principal directions to M subspaces such that the products of variances are alike.

    The variances (D,) fall. Each subspace gets at most ceil(D / M) directions: their indices,
    rising.
    """
    floor = max(1e-12 * variances[0], np.finfo(float).tiny)
    logs = np.log(np.maximum(variances, floor) / floor)  # at least 0: a product never shrinks
    hands, total = [[] for _ in range(M)], np.zeros(M)  # type: list[list[int]], Array
    for k, log in enumerate(logs):
        full = np.array([len(hand) >= -(-len(logs) // M) for hand in hands])
        chosen = int(np.argmin(np.where(full, np.inf, total)))
        hands[chosen].append(k)
        total[chosen] += log
    return hands


@dataclass(eq=False, repr=False)
class KMeansHashing(Hasher):
    """K-means hashing: the name of the nearest centre, in each of n_bits / b subspaces.

    He, Wen and Sun, CVPR 2013; derived in notebook 11. Deterministic: there is no random_state.
    Bits beyond the number of features say nothing.

    Parameters
    ----------
    n_bits, dtype : see :mod:`bdnn.baselines.classical`
    bits_per_subspace : int
        Bits b of the names in a subspace; the last one has fewer if b does not divide n_bits.
    affinity_weight : float
        Weight lambda of the affinity error, Eq. (13) of notebook 11.
    max_iter : int
        Rounds in each subspace at most.
    tol : float
        Stop when a round lowers the error of a subspace by no more than this share.

    Attributes
    ----------
    W_, c_ : arrays (sum of 2^b, n_features), (sum of 2^b, 1)
        W_ x + c_ are the squared distances of x from all centres, in each subspace up to a number
        that is the same for all its centres.
    names_ : list of int
        Bits of the names in each subspace.
    history_ : list of n_iter_ dicts
        `quantisation`, `affinity` and `objective` after each round, summed over the subspaces; one
        that has stopped keeps its last values.
    """

    _parameter_constraints = {
        "bits_per_subspace": at_least(1, Integral),
        "affinity_weight": at_least(0),
        "tol": at_least(0),
    }

    n_bits: int = 16
    _: KW_ONLY
    bits_per_subspace: int = 2
    affinity_weight: float = 10.0
    max_iter: int = 50
    tol: float = 1e-5
    dtype: DTypeLike = "float32"

    def _fit(self, X, y):
        full, rest = divmod(self.n_bits, self.bits_per_subspace)
        self.names_ = [self.bits_per_subspace] * full + [rest] * bool(rest)
        mean, P = principal_directions(X, len(X))
        V = P.T.astype(X.dtype) @ X - (P.T @ mean).astype(X.dtype)
        hands = deal_directions(np.var(V, axis=1, dtype=np.float64), len(self.names_))
        W, c, histories = [], [], []
        for b, hand in zip(self.names_, hands):
            V_hand = np.pad(V[hand], ((0, max(b - len(hand), 0)), (0, 0)))
            C, history = named_kmeans(V_hand, b, self.affinity_weight, self.max_iter, self.tol)
            W.append(-2 * C[: len(hand)].T @ P[:, hand].T)
            c.append(np.sum(C * C, axis=0)[:, None] - W[-1] @ mean)
            histories.append(history)
        self.W_, self.c_ = np.vstack(W).astype(X.dtype), np.vstack(c).astype(X.dtype)
        self.n_iter_ = max(map(len, histories))
        self.history_ = [self._errors(histories, t) for t in range(self.n_iter_)]

    def _errors(self, histories, t):
        quantisation, affinity = np.sum([h[min(t, len(h) - 1)] for h in histories], axis=0)
        objective = float(quantisation + self.affinity_weight * affinity)
        errors = {"quantisation": float(quantisation), "affinity": float(affinity)}
        return errors | {"objective": objective}

    def _project(self, X):
        squares, H, start = self.W_ @ X + self.c_, [], 0
        for b in self.names_:
            unit = squares[start : start + 2**b]
            for bit in every_code(b):
                H.append(unit[bit < 0].min(axis=0) - unit[bit > 0].min(axis=0))
            start += 2**b
        return np.array(H)


_ENUMERATED_BITS = 10  # up to this length all codes are compared


def nearest_codes(X: Array, W: Array, c: Array, H: Array, mu: float, B: Array) -> Array:
    """Codes (L, m) that lower ||X - W B - c 1^T||^2 + mu ||B - H||^2: Eq. (18) of notebook 11.

    X (D, m) are samples, W (D, L) and c (D, 1) the decoder, H (L, m) the encoder's codes. Up to ten
    bits the result is the global minimum. Beyond, codes start from B, no bit can be changed for the
    better, and the value is not above that of B.
    """
    if len(B) > _ENUMERATED_BITS:
        return coordinate_descent(X, W, c, H, mu, B)
    codes = every_code(len(B)).astype(X.dtype)  # (L, 2^L)
    Q = W.T @ (X - c) + mu * H  # (L, m)
    values = np.sum(codes * (W.T @ W @ codes), axis=0)[:, None] - 2 * codes.T @ Q  # Eq. (18)
    return codes[:, np.argmin(values, axis=0)]


def separating_hyperplane(U: Array, b: Array, C: float) -> tuple[Array, float]:
    """Linear support vector machine: w (r,) and w0 such that sgn(w^T u + w0) is mostly b.

    Samples U (n, r), float64, stand in rows, as LIBLINEAR takes them; b (n,) holds both -1 and +1.
    C is the weight of the squared hinge loss against the squared length of w.
    """
    svm = LinearSVC(C=C, dual=False, tol=0.1).fit(U, b)
    return svm.coef_[0], float(svm.intercept_[0])


@dataclass(eq=False, repr=False)
class BinaryAutoencoder(Hasher):
    """Binary autoencoder: hyperplanes whose codes let a linear decoder draw the samples again.

    Carreira-Perpinan and Raziperchikolaei, CVPR 2015; derived in notebook 11.

    Parameters
    ----------
    n_bits, dtype, random_state, verbose : see :mod:`bdnn.baselines.classical`
    mu : float
        Weight of the penalty in the first round, for inputs scaled to a range of 1.
    growth : float
        Factor by which it grows from round to round.
    max_iter : int
        Rounds at most; training ends when the codes are those of the encoder, or when no
        hyperplane gets better.
    C : float
        Of the support vector machines, as for :class:`sklearn.svm.LinearSVC`.
    n_axes : int
        Principal coordinates that the support vector machines see.
    n_samples : int
        Samples, drawn at random, that they are trained on; all if there are fewer.

    Attributes
    ----------
    W_, c_ : arrays (n_bits, n_features), (n_bits, 1)
        The hash function: sgn(W_ x + c_).
    history_ : list of n_iter_ + 1 dicts
        `error` per sample with the encoder's codes and their best decoder; in each round also
        `mu`, `objective`, Eq. (17) of notebook 11 at its end, `disagreement`, the share of bits in
        which B and h(X) differ, and `improved`, how many hyperplanes did.
    """

    _parameter_constraints = {
        "mu": at_least(1e-12),
        "growth": at_least(1),
        "C": at_least(1e-12),
        "n_axes": at_least(1, Integral),
        "n_samples": at_least(1, Integral),
    }

    n_bits: int = 16
    _: KW_ONLY
    mu: float = 0.01
    growth: float = 3.0
    max_iter: int = 6
    C: float = 1.0
    n_axes: int = 100
    n_samples: int = 20_000
    dtype: DTypeLike = "float32"
    random_state: Seed = 0
    verbose: bool = False

    def _fit(self, X, y):
        rng, scale = as_generator(self.random_state), X.dtype.type(range_scaling(X)[1])
        mean, P = (
            Z.astype(X.dtype) for Z in principal_directions(X, max(self.n_axes, self.n_bits))
        )
        A, mean = X / scale, mean / scale
        V = P[:, : self.n_bits].T @ A - P[:, : self.n_bits].T @ mean
        R, _ = itq_rotation(V, 50, rng)
        self.W_ = R.astype(X.dtype) @ P[:, : self.n_bits].T
        self.c_ = -(self.W_ @ mean)
        axes, m = P[:, : min(self.n_axes, len(A))], A.shape[1]
        chosen = np.sort(rng.choice(m, min(self.n_samples, m), replace=False))
        U = (A[:, chosen] - mean).T @ axes
        self._alternate(A, chosen, (np.ascontiguousarray(U, np.float64), axes, mean), scale)
        self.W_ /= scale

    def _alternate(self, X, chosen, coordinates, scale):
        """Rounds of codes, decoder and encoder with growing mu."""
        H = sgn(self._project(X))
        B, mu = H.copy(), self.mu
        error, decoder = _reconstruct(X, B)
        self.history_ = [{"error": error}]
        with tqdm(total=self.max_iter * self.n_bits, disable=not self.verbose, leave=False) as bar:
            for _ in range(self.max_iter):
                B = nearest_codes(X, *decoder, H, mu, B)
                error, decoder = _reconstruct(X, B)
                improved = self._fit_encoder(X, B, H, chosen, coordinates, bar)
                wrong = float(np.mean(B != H))
                entry = {"error": _reconstruct(X, H)[0], "mu": mu, "disagreement": wrong}
                entry |= {"objective": error + mu * 4 * self.n_bits * wrong}
                self.history_.append(entry | {"improved": improved})
                self.n_iter_ = len(self.history_) - 1
                self._so_far(W_=self.W_ / scale)
                if wrong == 0 or improved == 0:
                    break
                mu *= self.growth

    def _fit_encoder(self, X, B, H, chosen, coordinates, bar):
        """Train every hyperplane anew, keep it if it errs less; H follows. Returns how many."""
        (U, axes, mean), improved = coordinates, 0
        for k, b in enumerate(B):
            bar.update()
            if np.all(b[chosen] == b[chosen][0]):
                continue  # a constant bit: nothing to separate
            w, w0 = separating_hyperplane(U, b[chosen], self.C)
            w = axes @ w.astype(X.dtype)
            c = X.dtype.type(w0) - w @ mean
            h = sgn(w @ X + c)
            if np.sum(h != b) < np.sum(H[k] != b):
                self.W_[k], self.c_[k], H[k] = w, c, h
                improved += 1
        return improved

    def _project(self, X):
        return self.W_ @ X + self.c_


def _reconstruct(X, B):
    """Error per sample of the best decoder of the codes, and the decoder (W, c)."""
    W, c = ridge_decoder(X, B, 0.0)
    return 2 * reconstruction(X, B, W, c)[0], (W, c)
