# Generated from notebooks/13_background.py by `course.py export 13`: edit the notebook.
"""The losses of the background slides: pairs, triplets, one-hot blocks, attributes.

Each term returns its value, a mean over pairs, triplets or samples, and the gradient in the shape
of its variable; weights of terms are not applied. The functions that end in `_loss` put the terms
of one method together, weights included, and return (value, gradient of the code layer, gradient
of the head). Samples stand in columns. The arguments are::

    H (L, m), Z (M K, m)  outputs of the code layer; scores in front of M softmaxes over K rows
    y (m,)                class labels of any type that sorts
    theta (p,)            weights of a network with layers `sizes` = D, ..., L: `network.flatten`
    head                  weights behind the code layer, flat; of size 0 where there are none
    margin                of squared distances
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike

from bdnn.lbfgs import minimize
from bdnn.network import backward, flatten, forward, initial_weights, sigmoid, unflatten

__all__ = [
    "attribute_prediction", "attribute_ranking", "batch_entropy", "block_indices", "block_softmax",
    "block_softmax_backward", "code_outputs", "contrastive", "corner_distance", "cross_entropy",
    "dsh_loss", "lai_loss", "mean_entropy", "multitask_loss", "n_weights", "network_objective",
    "one_hot_codes", "standardised_network", "subic_loss", "train_on_batches", "triplet_ranking",
]  # fmt: skip


def _pair_distances(H):
    """d_ij (m, m) of all pairs of samples."""
    H = H - H.mean(axis=1, keepdims=True)  # distances stay, rounding errors shrink
    squares = np.square(H).sum(axis=0)
    return squares[:, None] + squares - 2 * (H.T @ H)


def _pair_gradient(H, A):
    """Gradient (L, m) of sum a_ij d_ij: Eq. (2) of notebook 13."""
    H, A = H - H.mean(axis=1, keepdims=True), A + A.T
    return 2 * (H * A.sum(axis=0) - H @ A)


def contrastive(H: Array, y: ArrayLike, margin: float | None = None) -> tuple[float, Array]:
    """Pairwise loss of DSH without its regulariser: Eqs. (2) to (4) of notebook 13.

    Mean over all pairs of half the squared distance, for samples of one class, or half of what the
    squared distance falls short of the margin. That is 2 L unless it is given, which for -1/+1
    codes is a Hamming distance of L/2. Where a distance equals the margin, the gradient is the
    slope towards larger distances. Time O(m^2 L), memory O(m^2).

    Source: Liu, Wang, Shan and Chen, CVPR 2016; slide "Background: Supervised codes (1/3)".
    """
    L, m = H.shape
    y, margin = np.asarray(y), 2 * L if margin is None else margin
    D, same = _pair_distances(H), y[:, None] == y  # (m, m)
    near = ~same & (D < margin)
    J = np.sum(D[same], dtype=np.float64) + np.sum(margin - D[near], dtype=np.float64)
    scale = 2 * m * (m - 1)
    return float(J) / scale, _pair_gradient(H, same.astype(H.dtype) - near) / scale  # Eq. (4)


def corner_distance(H: Array) -> tuple[float, Array]:
    """L1 distance of the outputs from the nearest corner, 1/m sum_i || |h_i| - 1 ||_1: Eq. (5).

    The regulariser of DSH, for each sample once. The slide sums it over both samples of a pair, so
    that its mean over pairs is twice this value. The gradient is 0 where an output is -1 or +1, the
    minimum; where it is 0, the top between two valleys, the slope towards larger outputs.
    """
    m, E = H.shape[1], np.abs(H) - 1
    value = float(np.abs(E).sum(dtype=np.float64)) / m
    return value, np.sign(E) * np.where(H >= 0, 1, -1).astype(H.dtype) / m


def standardised_network(X: Array, sizes: Sequence[int], rng: np.random.Generator) -> Array:
    """Weights to start from: the code layer has mean 0 and variance 1 over the samples."""
    Ws, cs = initial_weights(X, sizes, rng)
    H = forward(Ws, cs, X)[-1]
    mean, deviation = H.mean(axis=1, keepdims=True), H.std(axis=1, keepdims=True)
    Ws[-1] /= deviation
    cs[-1] = (cs[-1] - mean) / deviation
    return flatten(Ws, cs)


def n_weights(sizes: Sequence[int]) -> int:
    """Number of weights and biases of a network with these layers."""
    return sum(b * (a + 1) for a, b in zip(sizes, sizes[1:]))


def code_outputs(theta: Array, X: Array, sizes: Sequence[int], code: str = "identity") -> Array:
    """Outputs of the code layer: sigmoids in the hidden layers, then `code`."""
    Ws, cs = unflatten(theta[: n_weights(sizes)], sizes)
    return forward(Ws, cs, X, last=code)[-1]


def network_objective(
    theta: Array,
    X: Array,
    y: Array,
    sizes: Sequence[int],
    code: str,
    loss: Callable[..., tuple[float, Array, Array]],
    decay: float = 1e-5,
) -> tuple[float, Array]:
    """A loss on the code layer as a function of all weights, and its gradient (p,).

    `code` is the activation of the code layer, a key of `network.ACTIVATIONS`; decay/2 ||theta||^2
    is added. theta holds the weights of the network and then those of the head, if any, which
    ``loss(H, y, head)``, a function of this module that ends in `_loss`, takes apart.
    """
    p = n_weights(sizes)
    Ws, cs = unflatten(theta[:p], sizes)
    Hs = forward(Ws, cs, X, last=code)
    J, dH, dhead = loss(Hs[-1], y, theta[p:])
    gradient = np.concatenate([flatten(*backward(Ws, Hs, dH, last=code)), dhead])
    return J + decay / 2 * float(theta @ theta), gradient + decay * theta


def train_on_batches(
    loss: Callable[..., tuple[float, Array, Array]],
    theta: Array,
    X: Array,
    y: Array,
    sizes: Sequence[int],
    code: str = "identity",
    *,
    batch: int = 200,
    n_steps: int = 5,
    n_epochs: int = 6,
    rng: np.random.Generator | int | None = None,
) -> Array:
    """Minimise a loss by a few steps of L-BFGS on one batch after the other; the weights (p,).

    Arguments as for `network_objective`. An epoch takes the samples in an order that `rng` draws; a
    rest smaller than a batch is left out.
    """
    rng, m = np.random.default_rng(rng), X.shape[1]
    for _ in range(n_epochs):
        order = rng.permutation(m)
        for start in range(0, max(m - batch, 0) + 1, batch):
            part = order[start : start + batch]
            samples = {"X": X[:, part], "y": y[part], "sizes": sizes, "code": code}
            J = partial(network_objective, loss=loss, **samples)
            theta = minimize(J, theta, max_iter=n_steps).x
    return theta


def dsh_loss(
    H: Array, y: ArrayLike, head: Array, alpha: float = 0.01, margin: float | None = None
) -> tuple[float, Array, Array]:
    """DSH: Eq. (6) of notebook 13, pairs and the distance from the corners.

    H are outputs of an identity layer, whose signs are the bits. The weight 0.01 of the regulariser
    and the margin 2 L are the authors'.
    """
    value, dH = contrastive(H, y, margin)
    distance, dH_corner = corner_distance(H)
    return value + 2 * alpha * distance, dH + 2 * alpha * dH_corner, head


def _triplet_counts(D, same, margin):
    """T a_ij (m, m) of Eq. (8) of notebook 13, of squared distances; `same`: of one class."""
    V = D + margin * same
    np.fill_diagonal(V, -np.inf)
    order = np.argsort(V, axis=1)[:, 1:]  # in each row all but the sample itself, nearest first
    positive = np.take_along_axis(same, order, axis=1)
    nearer = np.cumsum(~positive, axis=1, dtype=D.dtype)  # others that came before
    to_come = positive.sum(axis=1, keepdims=True) - np.cumsum(positive, axis=1, dtype=D.dtype)
    A = np.zeros_like(D)
    np.put_along_axis(A, order, np.where(positive, nearer, -to_come), axis=1)
    return A


def triplet_ranking(H: Array, y: ArrayLike, margin: float = 1.0) -> tuple[float, Array]:
    """Triplet ranking loss over all triplets: Eqs. (2), (7), (8) of notebook 13.

    Mean of max(0, d(i, i+) - d(i, i-) + margin) over all i, i+ of its class and i- of another,
    with squared distances d, which for codes of 0 and 1 are numbers of bits; 0 if there is no
    triplet. Where one meets its margin exactly, the gradient is a slope between those of the two
    sides. One sort per sample: time O(m^2 (L + log m)), memory O(m^2).

    Source: Lai, Pan, Liu and Yan, CVPR 2015; slide "Background: Supervised codes (2/3)".
    """
    y, n = np.asarray(y), np.unique(y, return_counts=True)[1]  # n: samples of each class
    n_triplets = max(1, int(np.sum(n * (n - 1) * (len(y) - n))))
    D, same = _pair_distances(H), y[:, None] == y  # (m, m)
    A = _triplet_counts(D, same, margin)
    J = np.sum(A * D, dtype=np.float64) + margin * np.sum(A[same], dtype=np.float64)
    return float(J) / n_triplets, _pair_gradient(H, A) / n_triplets  # Eq. (8)


def lai_loss(
    H: Array, y: ArrayLike, head: Array, margin: float = 1.0
) -> tuple[float, Array, Array]:
    """Triplet ranking of Lai et al.: `triplet_ranking` in the form of the other methods.

    H are outputs of a sigmoid layer; a bit is set where they are at least 1/2.
    """
    return *triplet_ranking(H, y, margin), head


def _log_softmax(T):
    """Logarithm of the softmax along the last axis but one; no exponential overflows."""
    T = T - T.max(axis=-2, keepdims=True)
    return T - np.log(np.exp(T).sum(axis=-2, keepdims=True))


def _blocks(Z, K):
    """Z (M K, m) as a view of shape (M, K, m)."""
    return Z.reshape(-1, K, Z.shape[1])


def block_softmax(Z: Array, K: int) -> Array:
    """Softmax (M K, m) in every block of K rows: Eq. (9) of notebook 13.

    Source: Jain, Zepeda, Perez and Gribonval, ICCV 2017 (SUBIC); slide "Background: Supervised
    codes (3/3)".
    """
    return np.exp(_log_softmax(_blocks(Z, K))).reshape(Z.shape)


def block_softmax_backward(P: Array, dP: Array, K: int) -> Array:
    """Gradient for the scores from the gradient for the probabilities: Eq. (10) of notebook 13."""
    P, dP = _blocks(P, K), _blocks(dP, K)
    return (P * (dP - np.sum(P * dP, axis=1, keepdims=True))).reshape(-1, P.shape[2])


def mean_entropy(Z: Array, K: int) -> tuple[float, Array]:
    """Mean entropy of the blocks of each sample: Eqs. (11), (13) of notebook 13.

    From 0, every block one-hot, to log K. SUBIC makes it small.
    """
    logs = _log_softmax(_blocks(Z, K))
    P = np.exp(logs)
    E = -np.sum(P * logs, axis=1, keepdims=True)
    dZ = P * (logs + E) / -E.size
    return float(E.mean(dtype=np.float64)), dZ.reshape(Z.shape)


def batch_entropy(Z: Array, K: int) -> tuple[float, Array]:
    """Entropy of the mean of each block over the samples: Eqs. (12), (14) of notebook 13.

    From 0, every sample in one and the same word, to log K, all words used equally. SUBIC makes it
    large, so it enters the objective with a minus.
    """
    P = np.exp(_log_softmax(_blocks(Z, K)))
    M, _, m = P.shape
    mean = P.mean(axis=2, keepdims=True)
    logs = np.log(np.maximum(mean, np.finfo(P.dtype).tiny))  # a word without any weight adds 0
    g = -(logs + 1) / (m * M)
    dZ = P * (g - np.sum(P * g, axis=1, keepdims=True))
    return float(-np.sum(mean * logs, dtype=np.float64)) / M, dZ.reshape(Z.shape)


def cross_entropy(S: Array, y: ArrayLike) -> tuple[float, Array]:
    """Cross-entropy of a softmax over all rows of S (C, m): Eq. (15) of notebook 13.

    Classes y are whole numbers from 0 to C - 1; a batch need not hold all of them.
    """
    m = S.shape[1]
    logs, at = _log_softmax(S), (y, np.arange(m))
    dS = np.exp(logs)
    dS[at] -= 1
    return -float(logs[at].mean(dtype=np.float64)), dS / m


def _split_head(head, H):
    """The flat head as weights (k, L) and biases (k, 1) of a linear layer on H (L, m)."""
    V = head.reshape(-1, len(H) + 1)
    return V[:, :-1], V[:, -1:]


def _head_gradient(dS, H):
    """Gradient for the flat head from that for its scores."""
    return np.hstack([dS @ H.T, dS.sum(axis=1, keepdims=True)]).ravel()


def subic_loss(
    Z: Array, y: ArrayLike, head: Array, K: int = 16, gamma: float = 0.5, mu: float = 0.5
) -> tuple[float, Array, Array]:
    """SUBIC: Eq. (16) of notebook 13, cross-entropy behind one-hot blocks.

    Z (M K, m) are outputs of an identity layer, and `block_indices(Z, K)` is the code; y are whole
    numbers from 0 to C - 1; the head (C (M K + 1),) is the classifier; gamma and mu are the weights
    of the mean entropy and of the batch entropy.
    """
    P = block_softmax(Z, K)
    V, v = _split_head(head, P)
    value, dS = cross_entropy(V @ P + v, y)
    (E, dZ_E), (B, dZ_B) = mean_entropy(Z, K), batch_entropy(Z, K)
    dZ = block_softmax_backward(P, V.T @ dS, K) + gamma * dZ_E - mu * dZ_B
    return value + gamma * E - mu * B, dZ, _head_gradient(dS, P)


def block_indices(Z: Array, K: int) -> Array:
    """The largest entry of each block, SUBIC's code: array (M, m) of numbers from 0 to K - 1."""
    return _blocks(Z, K).argmax(axis=1)


def one_hot_codes(indices: Array, K: int) -> Array:
    """Indices (M, m) as codes (M K, m) in {-1, +1}: one +1 in every block, int8.

    The Hamming distance of two such codes is twice the number of blocks in which they differ.
    """
    hot = indices[:, None] == np.arange(K)[:, None]
    return np.where(hot, 1, -1).astype(np.int8).reshape(-1, indices.shape[1])


def attribute_prediction(Z: Array, T: Array) -> tuple[float, Array]:
    """Cross-entropy of yes-or-no attributes: Eq. (17) of notebook 13.

    Z (A, m) are scores, T (A, m) what holds, 0/1 or booleans. Sum over the attributes, mean over
    the samples. The task is that of Song et al., BMVC 2016; the form is ours.
    """
    m, T = Z.shape[1], T.astype(Z.dtype)
    value = np.sum(np.logaddexp(0, Z) - T * Z, dtype=np.float64) / m
    return float(value), (sigmoid(Z) - T) / m


def attribute_ranking(Z: Array, y: ArrayLike, margin: float = 1.0) -> tuple[float, Array]:
    """Triplet ranking by the attributes that scores Z (A, m) predict: Eq. (18) of notebook 13.

    The margin is a number of attributes. The task is that of Song et al., BMVC 2016; the form is
    ours.
    """
    Q = sigmoid(Z)
    value, dQ = triplet_ranking(Q, y, margin)
    return value, dQ * Q * (1 - Q)


def multitask_loss(
    H: Array,
    y: ArrayLike,
    head: Array,
    attributes: Array,
    weights: Sequence[float] = (1.0, 0.3, 0.3),
    margin: float = 1.0,
) -> tuple[float, Array, Array]:
    """The three tasks of Song et al. on a code layer: Eq. (19) of notebook 13.

    H are outputs of a sigmoid layer, where a bit is set if they are at least 1/2; y are whole
    numbers from 0 to C - 1; the head (A (L + 1),) predicts the attributes from H; `attributes`
    (A, C) tells which class has which; the weights are those of triplet ranking, attribute
    prediction and attribute ranking.
    """
    V, v = _split_head(head, H)
    Z = V @ H + v  # (A, m), scores of the attributes
    w1, w2, w3 = weights
    J_T, dH = triplet_ranking(H, y, margin)
    J_A, dZ_A = attribute_prediction(Z, attributes[:, y])
    J_R, dZ_R = attribute_ranking(Z, y, margin)
    dZ = w2 * dZ_A + w3 * dZ_R
    return w1 * J_T + w2 * J_A + w3 * J_R, w1 * dH + V.T @ dZ, _head_gradient(dZ, H)  # Eq. (19)
