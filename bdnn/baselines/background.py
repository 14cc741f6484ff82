# Generated from notebooks/13_background.py by `course.py export 13`: edit the notebook.
"""The losses of the background slides: pairs, triplets, one-hot blocks, attributes.

Samples stand in columns: `H` (L, m) holds the outputs of a code layer, `Z` scores in front of a
softmax or a sigmoid. Each term returns its value, a mean over pairs, triplets or samples, and the
gradient in the shape of the variable; weights of terms are not applied. The functions that end in
`_loss` put the terms of one method together, weights included.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy import ndarray as Array
from numpy.typing import ArrayLike

from bdnn.checks import check_matrix, check_number, check_whole_number, class_numbers
from bdnn.lbfgs import minimize
from bdnn.network import backward, flatten, forward, initial_weights, sigmoid, unflatten

__all__ = [
    "attribute_prediction",
    "attribute_ranking",
    "batch_entropy",
    "block_indices",
    "block_softmax",
    "block_softmax_backward",
    "code_outputs",
    "contrastive",
    "corner_distance",
    "cross_entropy",
    "dsh_loss",
    "lai_loss",
    "mean_entropy",
    "multitask_loss",
    "n_weights",
    "network_objective",
    "one_hot_codes",
    "standardised_network",
    "subic_loss",
    "train_on_batches",
    "triplet_ranking",
]

_BLOCK_PAIRS = 2**20  # pairs held in memory at a time


def _pair_blocks(m):
    """Slices of samples such that a block of pairs with all m samples fits in memory."""
    step = max(1, _BLOCK_PAIRS // m)
    return [slice(start, min(start + step, m)) for start in range(0, m, step)]


def _squared_distances(H, rows):
    """Array (b, m): d_ij of the b samples in `rows` and all m samples."""
    squares = np.square(H).sum(axis=0)
    D = -2 * (H[:, rows].T @ H)
    D += squares[rows, None]
    D += squares
    return D


def _add_pair_gradient(dH, H, rows, A):
    """Add the gradient of sum a_ij d_ij, i in `rows`, to dH: Eq. (2) of notebook 13."""
    dH += 2 * (H * A.sum(axis=0) - H[:, rows] @ A)
    dH[:, rows] += 2 * (H[:, rows] * A.sum(axis=1) - H @ A.T)


def contrastive(H: Array, y: ArrayLike, margin: float | None = None) -> tuple[float, Array]:
    """Pairwise loss of DSH without its regulariser: Eqs. (2) to (4) of notebook 13.

    Mean over all pairs of half the squared distance, for samples of one class, or half of what the
    squared distance falls short of the margin. Time O(m^2 L), memory O(m L).

    Source: Liu, Wang, Shan and Chen, CVPR 2016; slide "Background: Supervised codes (1/3)".

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer; m >= 2.
    y : array-like (m,)
        Class labels of any type that sorts.
    margin : float, optional
        Squared distance at which samples of different classes let go. Default: 2 L, which for
        -1/+1 codes is a Hamming distance of L/2.

    Returns
    -------
    value : float
    dH : array (L, m)
        Where a distance equals the margin, the slope towards larger distances.
    """
    H = check_matrix("H", H)
    L, m = H.shape
    y, margin = class_numbers(y, m), 2 * L if margin is None else margin
    check_number("margin", margin)
    if m < 2:
        raise ValueError("a pairwise loss needs at least 2 samples, got 1")
    H = H - H.mean(axis=1, keepdims=True)  # distances stay, rounding errors shrink
    value, dH = 0.0, np.zeros_like(H)
    for rows in _pair_blocks(m):
        D, same = _squared_distances(H, rows), y[rows, None] == y
        near = ~same & (D < margin)
        value += np.sum(D[same], dtype=np.float64) + np.sum(margin - D[near], dtype=np.float64)
        _add_pair_gradient(dH, H, rows, same.astype(H.dtype) - near)
    n_pairs = m * (m - 1)
    return float(value / (2 * n_pairs)), dH / (2 * n_pairs)


def corner_distance(H: Array) -> tuple[float, Array]:
    """L1 distance of the outputs from the nearest corner -1/+1: Eq. (5) of notebook 13.

    The regulariser of DSH, for each sample once. The slide sums it over both samples of a pair, so
    that its mean over pairs is twice this value.

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer.

    Returns
    -------
    value : float
        1/m sum_i || |h_i| - 1 ||_1.
    dH : array (L, m)
        0 where an output is -1 or +1, the minimum; where it is 0, the top between two valleys, the
        slope towards larger outputs.
    """
    H = check_matrix("H", H)
    m, E = H.shape[1], np.abs(H) - 1
    value = float(np.abs(E).sum(dtype=np.float64)) / m
    return value, np.sign(E) * np.where(H >= 0, 1, -1).astype(H.dtype) / m


def standardised_network(X: Array, sizes: Sequence[int], rng: np.random.Generator) -> Array:
    """Weights to start from: the code layer has mean 0 and variance 1 over the samples.

    Parameters
    ----------
    X : array (D, m)
        Samples.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    rng : numpy.random.Generator
        As for `network.initial_weights`.

    Returns
    -------
    theta : array (p,)
        As from `network.flatten`.
    """
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
    return forward(Ws, cs, X, ("sigmoid",) * (len(Ws) - 1) + (code,))[-1]


def network_objective(
    theta: Array,
    X: Array,
    y: Array,
    sizes: Sequence[int],
    code: str,
    loss: Callable[..., tuple[float, Array, Array]],
    decay: float = 1e-5,
) -> tuple[float, Array]:
    """A loss on the code layer as a function of all weights, and its gradient.

    Parameters
    ----------
    theta : array (p,)
        Weights of the network, as from `network.flatten`, and then those of the head, if any.
    X : array (D, m)
        Samples.
    y : array (m,)
        What the loss learns from: a label for each sample.
    sizes : sequence of int
        Units of the layers: D, ..., L.
    code : str
        Activation of the code layer, a key of `network.ACTIVATIONS`.
    loss : callable
        ``loss(H, y, head) -> (value, dH, dhead)``; the functions of this module that end in
        `_loss`.
    decay : float
        Adds decay/2 ||theta||^2.

    Returns
    -------
    J : float
    gradient : array (p,)
    """
    p = n_weights(sizes)
    Ws, cs = unflatten(theta[:p], sizes)
    layers = ("sigmoid",) * (len(Ws) - 1) + (code,)
    Hs = forward(Ws, cs, X, layers)
    J, dH, dhead = loss(Hs[-1], y, theta[p:])
    gradient = np.concatenate([flatten(*backward(Ws, Hs, dH, layers)), dhead])
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
    n_epochs: int = 10,
    rng: np.random.Generator | int | None = None,
) -> Array:
    """Minimise a loss by a few steps of L-BFGS on one batch after the other.

    Parameters
    ----------
    loss, X, y, sizes, code
        As for `network_objective`.
    theta : array (p,)
        The start; not modified.
    batch : int
        Samples in a batch; a rest smaller than that is left out of an epoch.
    n_steps : int
        Steps of L-BFGS on each batch.
    n_epochs : int
        Passes over the samples, each in an order of its own.
    rng : numpy.random.Generator or int, optional
        Draws the orders.

    Returns
    -------
    theta : array (p,)
    """
    rng, m = np.random.default_rng(rng), X.shape[1]
    for _ in range(n_epochs):
        order = rng.permutation(m)
        for start in range(0, max(m - batch, 0) + 1, batch):
            part = order[start : start + batch]
            samples = X[:, part], y[part], sizes, code, loss

            def objective(theta, samples=samples):
                return network_objective(theta, *samples)

            theta = minimize(objective, theta, max_iter=n_steps).x
    return theta


def dsh_loss(
    H: Array, y: ArrayLike, head: Array, alpha: float = 0.01, margin: float | None = None
) -> tuple[float, Array, Array]:
    """DSH: Eq. (6) of notebook 13, pairs and the distance from the corners.

    Parameters
    ----------
    H : array (L, m)
        Outputs of an identity layer; the bits are their signs.
    y : array-like (m,)
        Class labels.
    head : array (0,)
        There are no weights behind the code layer.
    alpha, margin : float
        Weight of the regulariser, and as for `contrastive`; 0.01 and 2 L are the authors'.

    Returns
    -------
    value, dH, dhead : float, array (L, m), array (0,)
    """
    value, dH = contrastive(H, y, margin)
    distance, dH_corner = corner_distance(H)
    return value + 2 * alpha * distance, dH + 2 * alpha * dH_corner, head


def _triplet_counts(D, same, first, margin):
    """T a_ij of Eq. (8) of notebook 13, for samples first, first + 1, ... (rows) and all (columns).

    `D` holds the squared distances, `same` is True for samples of one class.
    """
    V, own = D + margin * same, np.arange(len(D))
    V[own, first + own] = -np.inf
    order = np.argsort(V, axis=1)[:, 1:]  # all but the sample itself, nearest first
    order += D.shape[1] * own[:, None]  # places in the flat array
    positive = np.take(same, order)
    nearer = np.cumsum(~positive, axis=1, dtype=D.dtype)  # others that came before
    to_come = positive.sum(axis=1, keepdims=True) - np.cumsum(positive, axis=1, dtype=D.dtype)
    A = np.zeros_like(D)
    np.put(A, order, np.where(positive, nearer, -to_come))
    return A


def triplet_ranking(H: Array, y: ArrayLike, margin: float = 1.0) -> tuple[float, Array]:
    """Triplet ranking loss over all triplets: Eqs. (2), (7), (8) of notebook 13.

    Mean of max(0, d(i, i+) - d(i, i-) + margin) over all i, i+ of its class and i- of another,
    with squared distances d. One sort per sample: time O(m^2 (L + log m)), memory O(m L).

    Source: Lai, Pan, Liu and Yan, CVPR 2015; slide "Background: Supervised codes (2/3)".

    Parameters
    ----------
    H : array (L, m)
        Outputs of the code layer; in [0, 1] as the slide has them, but any will do.
    y : array-like (m,)
        Class labels of any type that sorts.
    margin : float
        How much farther away i- has to be; for codes of 0 and 1 a number of bits.

    Returns
    -------
    value : float
    dH : array (L, m)
        Where a triplet meets its margin exactly, a slope between those of the two sides.

    Raises
    ------
    ValueError
        Also if there is no triplet: one class only, or no class with two samples.
    """
    H = check_matrix("H", H)
    m = H.shape[1]
    y = class_numbers(y, m)
    check_number("margin", margin)
    n = np.bincount(y)
    n_triplets = int(np.sum(n * (n - 1) * (m - n)))
    if n_triplets == 0:
        what = "one class only" if len(n) == 1 else "no class with two samples"
        raise ValueError(f"triplets need at least 2 classes, and 2 samples in one; got {what}")
    H = H - H.mean(axis=1, keepdims=True)  # distances stay, rounding errors shrink
    value, dH = 0.0, np.zeros_like(H)
    for rows in _pair_blocks(m):
        D, same = _squared_distances(H, rows), y[rows, None] == y
        A = _triplet_counts(D, same, rows.start, margin)
        value += np.sum(A * D, dtype=np.float64) + margin * np.sum(A[same], dtype=np.float64)
        _add_pair_gradient(dH, H, rows, A)
    return float(value) / n_triplets, dH / n_triplets


def lai_loss(
    H: Array, y: ArrayLike, head: Array, margin: float = 1.0
) -> tuple[float, Array, Array]:
    """Triplet ranking of Lai et al.: `triplet_ranking` in the form of the other methods.

    Parameters
    ----------
    H : array (L, m)
        Outputs of a sigmoid layer; a bit is set where they are at least 1/2.
    y : array-like (m,)
        Class labels.
    head : array (0,)
        There are no weights behind the code layer.
    margin : float

    Returns
    -------
    value, dH, dhead : float, array (L, m), array (0,)
    """
    return *triplet_ranking(H, y, margin), head


def _log_softmax(T):
    """Logarithm of the softmax along the last axis but one; no exponential overflows."""
    T = T - T.max(axis=-2, keepdims=True)
    return T - np.log(np.exp(T).sum(axis=-2, keepdims=True))


def _blocks(Z, K):
    """Z (M K, m) as a view of shape (M, K, m)."""
    Z = check_matrix("Z", Z)
    check_whole_number("K", K, 2)
    if len(Z) % K:
        raise ValueError(f"Z has {len(Z)} rows: not a whole number of blocks of K={K}")
    return Z.reshape(-1, K, Z.shape[1])


def block_softmax(Z: Array, K: int) -> Array:
    """Softmax in every block of K rows: Eq. (9) of notebook 13.

    Source: Jain, Zepeda, Perez and Gribonval, ICCV 2017 (SUBIC); slide "Background: Supervised
    codes (3/3)".

    Parameters
    ----------
    Z : array (M K, m)
        Scores.
    K : int
        Rows in a block.

    Returns
    -------
    P : array (M K, m)
        Positive; every block of a sample sums to 1.
    """
    return np.exp(_log_softmax(_blocks(Z, K))).reshape(Z.shape)


def block_softmax_backward(P: Array, dP: Array, K: int) -> Array:
    """Gradient for the scores from the gradient for the probabilities: Eq. (10) of notebook 13."""
    P, dP = _blocks(P, K), _blocks(dP, K)
    return (P * (dP - np.sum(P * dP, axis=1, keepdims=True))).reshape(-1, P.shape[2])


def mean_entropy(Z: Array, K: int) -> tuple[float, Array]:
    """Mean entropy of the blocks of each sample: Eqs. (11), (13) of notebook 13.

    Parameters
    ----------
    Z : array (M K, m)
        Scores, in front of the block softmax.
    K : int
        Rows in a block.

    Returns
    -------
    value : float
        From 0, every block one-hot, to log K. SUBIC makes it small.
    dZ : array (M K, m)
    """
    logs = _log_softmax(_blocks(Z, K))
    P = np.exp(logs)
    E = -np.sum(P * logs, axis=1, keepdims=True)
    dZ = P * (logs + E) / -E.size
    return float(E.mean(dtype=np.float64)), dZ.reshape(Z.shape)


def batch_entropy(Z: Array, K: int) -> tuple[float, Array]:
    """Entropy of the mean of each block over the samples: Eqs. (12), (14) of notebook 13.

    Parameters
    ----------
    Z : array (M K, m)
        Scores, in front of the block softmax.
    K : int
        Rows in a block.

    Returns
    -------
    value : float
        From 0, every sample in one and the same word, to log K, all words used equally. SUBIC
        makes it large, so it enters the objective with a minus.
    dZ : array (M K, m)
    """
    P = np.exp(_log_softmax(_blocks(Z, K)))
    M, _, m = P.shape
    mean = P.mean(axis=2, keepdims=True)
    logs = np.log(np.maximum(mean, np.finfo(P.dtype).tiny))  # a word without any weight adds 0
    g = -(logs + 1) / (m * M)
    dZ = P * (g - np.sum(P * g, axis=1, keepdims=True))
    return float(-np.sum(mean * logs, dtype=np.float64)) / M, dZ.reshape(Z.shape)


def cross_entropy(S: Array, y: ArrayLike) -> tuple[float, Array]:
    """Cross-entropy of a softmax over all rows: Eq. (15) of notebook 13.

    Parameters
    ----------
    S : array (C, m)
        Scores of the classes.
    y : array-like (m,)
        Classes as whole numbers from 0 to C - 1; a batch need not hold all of them.

    Returns
    -------
    value : float
        Mean over the samples of minus the logarithm of the probability of the right class.
    dS : array (C, m)
    """
    S, y = check_matrix("S", S), np.asarray(y)
    C, m = S.shape
    if y.shape != (m,) or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= C:
        raise ValueError(f"y must hold a whole number from 0 to {C - 1} for each of {m} samples")
    logs, at = _log_softmax(S), (y, np.arange(m))
    dS = np.exp(logs)
    dS[at] -= 1
    return -float(logs[at].mean(dtype=np.float64)), dS / m


def _split_head(head, H):
    """The flat head as weights (k, L) and biases (k, 1) of a linear layer on H (L, m)."""
    if head.size == 0 or head.size % (len(H) + 1):
        raise ValueError(f"the head has {head.size} numbers: not k times {len(H)} + 1")
    V = head.reshape(-1, len(H) + 1)
    return V[:, :-1], V[:, -1:]


def _head_gradient(dS, H):
    """Gradient for the flat head from that for its scores."""
    return np.hstack([dS @ H.T, dS.sum(axis=1, keepdims=True)]).ravel()


def subic_loss(
    Z: Array, y: ArrayLike, head: Array, K: int = 16, gamma: float = 0.5, mu: float = 0.5
) -> tuple[float, Array, Array]:
    """SUBIC: Eq. (16) of notebook 13, cross-entropy behind one-hot blocks.

    Parameters
    ----------
    Z : array (M K, m)
        Outputs of an identity layer; the code is `block_indices(Z, K)`.
    y : array-like (m,)
        Classes as whole numbers from 0 to C - 1.
    head : array (C (M K + 1),)
        Weights and biases of the classifier.
    K : int
        Rows in a block.
    gamma, mu : float
        Weights of the mean entropy and of the batch entropy.

    Returns
    -------
    value, dZ, dhead : float, array (M K, m), array like head
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


def one_hot_codes(indices: ArrayLike, K: int) -> Array:
    """Indices (M, m) as codes (M K, m) in {-1, +1}: one +1 in every block, int8.

    The Hamming distance of two such codes is twice the number of blocks in which they differ.
    """
    indices = np.asarray(indices)
    wrong = indices.ndim != 2 or indices.dtype.kind not in "iu" or indices.size == 0
    if wrong or indices.min() < 0 or indices.max() >= K:
        raise ValueError(f"indices must be a matrix (M, m) of whole numbers from 0 to {K - 1}")
    hot = indices[:, None] == np.arange(K)[:, None]
    return np.where(hot, 1, -1).astype(np.int8).reshape(-1, indices.shape[1])


def attribute_prediction(Z: Array, T: ArrayLike) -> tuple[float, Array]:
    """Cross-entropy of yes-or-no attributes: Eq. (17) of notebook 13.

    The task is that of Song et al., BMVC 2016; the form is ours.

    Parameters
    ----------
    Z : array (A, m)
        Scores; positive predicts yes.
    T : array (A, m)
        What holds: 0 and 1, or booleans.

    Returns
    -------
    value : float
        Sum over the attributes, mean over the samples.
    dZ : array (A, m)
    """
    Z, T = check_matrix("Z", Z), np.asarray(T)
    if T.shape != Z.shape or not np.isin(T, (0, 1)).all():
        raise ValueError(f"T {T.shape} must hold 0 and 1 in the shape of Z {Z.shape}")
    m, T = Z.shape[1], T.astype(Z.dtype)
    value = np.sum(np.logaddexp(0, Z) - T * Z, dtype=np.float64) / m
    return float(value), (sigmoid(Z) - T) / m


def attribute_ranking(Z: Array, y: ArrayLike, margin: float = 1.0) -> tuple[float, Array]:
    """Triplet ranking by predicted attributes: Eq. (18) of notebook 13.

    The task is that of Song et al., BMVC 2016; the form is ours.

    Parameters
    ----------
    Z : array (A, m)
        Scores of the attributes.
    y : array-like (m,)
        Class labels, from which the triplets come.
    margin : float
        As for `triplet_ranking`: a number of attributes.

    Returns
    -------
    value : float
    dZ : array (A, m)
    """
    Q = sigmoid(check_matrix("Z", Z))
    value, dQ = triplet_ranking(Q, y, margin)
    return value, dQ * Q * (1 - Q)


def multitask_loss(
    H: Array,
    y: ArrayLike,
    head: Array,
    attributes: ArrayLike,
    weights: Sequence[float] = (1.0, 0.3, 0.3),
    margin: float = 1.0,
) -> tuple[float, Array, Array]:
    """The three tasks of Song et al. on a code layer: Eq. (19) of notebook 13.

    Parameters
    ----------
    H : array (L, m)
        Outputs of a sigmoid layer; a bit is set where they are at least 1/2.
    y : array-like (m,)
        Classes as whole numbers from 0 to C - 1.
    head : array (A (L + 1),)
        Weights and biases that predict the attributes from H.
    attributes : array (A, C)
        0 or 1: which class has which attribute.
    weights : three floats
        Of triplet ranking, attribute prediction and attribute ranking.
    margin : float
        As for `triplet_ranking`.

    Returns
    -------
    value, dH, dhead : float, array (L, m), array like head
    """
    V, v = _split_head(head, H)
    Z, of_class, (by_code, predict, by_attribute) = V @ H + v, np.asarray(attributes), weights
    (ranking, dH), (loss, dZ) = (
        triplet_ranking(H, y, margin),
        attribute_prediction(Z, of_class[:, np.asarray(y)]),
    )
    value, dZ = by_code * ranking + predict * loss, predict * dZ
    if by_attribute:
        ranking, dZ_ranking = attribute_ranking(Z, y)
        value, dZ = value + by_attribute * ranking, dZ + by_attribute * dZ_ranking
    return value, by_code * dH + V.T @ dZ, _head_gradient(dZ, H)
