"""bdnn.baselines.background: losses against loops, by hand, at kinks; memory, training."""

import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from bdnn import metrics
from bdnn.baselines.background import (
    attribute_prediction,
    attribute_ranking,
    batch_entropy,
    block_indices,
    block_softmax,
    block_softmax_backward,
    code_outputs,
    contrastive,
    corner_distance,
    cross_entropy,
    dsh_loss,
    lai_loss,
    mean_entropy,
    multitask_loss,
    n_weights,
    network_objective,
    one_hot_codes,
    standardised_network,
    subic_loss,
    train_on_batches,
    triplet_ranking,
)
from bdnn.data import load
from bdnn.lbfgs import minimize
from bdnn.metrics import sgn
from bdnn.network import forward, gradient_error, sigmoid, unflatten

SEEDS = range(8)
CLEARANCE = 1e-3  # how far a case for central differences keeps from every kink


def loop_contrastive(H, y, margin):
    """Mean over the pairs, and how near the nearest pair is to the margin."""
    values, gaps = [], [np.inf]
    for i, j in itertools.combinations(range(len(y)), 2):
        d = np.sum((H[:, i] - H[:, j]) ** 2)
        values.append(d / 2 if y[i] == y[j] else max(margin - d, 0) / 2)
        gaps += [] if y[i] == y[j] else [abs(margin - d)]
    return np.mean(values), min(gaps)


def loop_triplets(H, y, margin):
    """Mean over the triplets, and how near the nearest triplet is to its margin."""
    hinges = [
        np.sum((H[:, i] - H[:, p]) ** 2) - np.sum((H[:, i] - H[:, n]) ** 2) + margin
        for i, p, n in itertools.permutations(range(len(y)), 3)
        if y[i] == y[p] != y[n]
    ]
    return np.maximum(hinges, 0).mean(), np.abs(hinges).min()


def random_case(seed, loop=loop_triplets, squash=lambda H: H):
    """Outputs, labels of all kinds and a margin, away from every kink of the loss."""
    rng = np.random.default_rng(seed)
    while True:
        L, m = rng.integers([1, 4], [8, 14])
        H = rng.standard_normal((L, m))
        y = rng.permutation(np.concatenate([[0, 0, 1], rng.integers(0, 4, m - 3)]))
        y = [y, np.array(["b", "a", "d", "c"])[y], y - 7.5][seed % 3]
        margin = float(rng.uniform(0.2, 1.5) * L)
        if loop(squash(H), y, margin)[1] > CLEARANCE:
            return H, y, margin


# pairs


@pytest.mark.parametrize("seed", SEEDS)
def test_contrastive_against_the_loop_and_differences(seed):
    H, y, margin = random_case(seed, loop_contrastive)
    value, dH = contrastive(H, y, margin)
    assert np.isclose(value, loop_contrastive(H, y, margin)[0], rtol=1e-12, atol=1e-13)
    assert dH.shape == H.shape
    assert gradient_error(partial(contrastive, y=y, margin=margin), H) <= 1e-7


def test_contrastive_by_hand():
    H = np.array([[0.0, 1.0, 3.0]])  # squared distances 1, 9, 4
    value, dH = contrastive(H, ["a", "a", "b"], 5.0)
    assert np.isclose(value, (1 / 2 + 0 + 1 / 2) / 3)
    # derivative of (h1 - h2)^2 / 2 + (5 - (h2 - h3)^2) / 2, over three pairs
    assert np.allclose(dH, np.array([[-1, 1 + 2, -2]]) / 3)
    assert contrastive(H, ["a", "b", "c"], 0)[0] == 0  # no margin, nothing to repel


def test_contrastive_margin_of_the_authors():
    """2 L: content when codes of different classes differ in half of their bits."""
    codes = np.array([[1.0, 1, 1, 1], [1, 1, -1, -1]]).T  # two samples, four bits, two differ
    assert contrastive(codes, [0, 1])[0] == 0
    codes[2, 1] = 1  # now only one differs: 8 - 4
    assert contrastive(codes[:, ::-1], [0, 1])[0] == (2 * 4 - 4) / 2
    assert contrastive(codes, [0, 1])[0] == contrastive(codes, [0, 1], 8)[0]


def test_distance_losses_do_not_know_the_origin():
    H, y, margin = random_case(0)
    for loss in (contrastive, triplet_ranking):
        value, dH = loss(H, y, margin)
        moved, dH_moved = loss(H + 1e4, y, margin)
        assert np.isclose(value, moved, rtol=1e-9) and np.allclose(dH, dH_moved, atol=1e-9)
        assert np.abs(dH.sum(axis=1)).max() < 1e-12


@pytest.mark.parametrize("loss", [contrastive, triplet_ranking])
@pytest.mark.parametrize("seed", SEEDS)
def test_rotation_order_and_names(loss, seed):
    H, y, margin = random_case(seed)
    rng = np.random.default_rng(seed)
    Q, p = np.linalg.qr(rng.standard_normal((len(H), len(H))))[0], rng.permutation(H.shape[1])
    names = np.array(list("zyxw"))[np.unique(y, return_inverse=True)[1]]
    value, dH = loss(H, y, margin)
    turned, dH_turned = loss(Q @ H, y, margin)
    shuffled, dH_shuffled = loss(H[:, p], y[p], margin)
    renamed, dH_renamed = loss(H, names.tolist(), margin)
    assert np.allclose([turned, shuffled, renamed], value, rtol=1e-12, atol=1e-14)
    assert np.allclose(Q.T @ dH_turned, dH, atol=1e-12)
    assert np.allclose(dH_shuffled, dH[:, p], atol=1e-12)
    assert np.allclose(dH_renamed, dH, atol=1e-12)


# triplets


@pytest.mark.parametrize("seed", SEEDS)
def test_triplets_against_the_loop_and_differences(seed):
    H, y, margin = random_case(seed)
    value, dH = triplet_ranking(H, y, margin)
    assert np.isclose(value, loop_triplets(H, y, margin)[0], rtol=1e-12, atol=1e-13)
    assert dH.shape == H.shape
    assert gradient_error(partial(triplet_ranking, y=y, margin=margin), H) <= 1e-7


@settings(max_examples=60)
@given(st.lists(st.sampled_from("abc"), min_size=3, max_size=12), st.integers(0, 2**32 - 1))
def test_triplets_of_any_labels(y, seed):
    H = np.random.default_rng(seed).standard_normal((2, len(y)))
    counts = [y.count(name) for name in set(y)]
    if len(counts) == 1 or max(counts) == 1:  # no triplet
        value, dH = triplet_ranking(H, y)
        assert value == 0 and not dH.any()
    else:
        assert np.isclose(triplet_ranking(H, y)[0], loop_triplets(H, y, 1.0)[0], rtol=1e-10)


def test_triplets_by_hand():
    H = np.array([[0.0, 1.0, 3.0]])
    value, dH = triplet_ranking(H, [0, 0, 1], 6.0)
    # (0, 1, 3): 1 - 9 + 6 < 0; (1, 0, 3): 1 - 4 + 6 = 3
    assert np.isclose(value, 3 / 2)
    assert np.allclose(dH, np.array([[-2, 2 + 4, -4]]) / 2)
    assert triplet_ranking(H, [0, 0, 1], 1.0) == (0, pytest.approx(np.zeros((1, 3))))


def test_a_margin_of_one_bit():
    """For codes of 0 and 1 the loss is content when classes are one bit apart."""
    codes = np.array([[0.0, 0, 0, 0], [0, 0, 1, 1]])
    assert triplet_ranking(codes, [0, 0, 1, 1])[0] == 0
    assert triplet_ranking(codes, [0, 0, 1, 1], 2.0)[0] == 1
    assert triplet_ranking(0 * codes, [0, 0, 1, 1])[0] == 1


def test_one_row_of_distances_with_ties():
    """Equal codes everywhere: every triplet is active or none, and the gradient is zero."""
    y = np.arange(12) % 3
    value, dH = triplet_ranking(np.ones((4, 12)), y, 0.5)
    assert value == 0.5 and not dH.any()
    value, dH = triplet_ranking(np.ones((4, 12)), y, 0.0)
    assert value == 0 and not dH.any()


# kinks


def test_at_the_margin():
    """Exactly at the margin: one of the one-sided slopes, or something between them."""
    H = np.array([[0.0, 2.0]])
    value, dH = contrastive(H, [0, 1], 4.0)
    assert value == 0 and not dH.any()  # the slope towards larger distances
    H = np.array([[0.0, 1.0, 2.0]])  # triplet (0, 1, 2): 1 - 4 + 3 = 0; (1, 0, 2): 1 - 1 + 3
    slope = triplet_ranking(H, [0, 0, 1], 3.0)[1][0]
    steps = np.eye(3) * 1e-6
    for k in range(3):
        values = [triplet_ranking(H + s * steps[[k]], [0, 0, 1], 3.0)[0] for s in (-1, 0, 1)]
        left, right = np.diff(values) / 1e-6
        assert min(left, right) - 1e-5 <= slope[k] <= max(left, right) + 1e-5


def test_corner_distance_by_hand():
    value, dH = corner_distance(np.array([[2.0, -0.5], [1.0, 0.0]]))
    assert value == (1 + 0.5 + 0 + 1) / 2
    assert dH.tolist() == [[0.5, 0.5], [0, -0.5]]  # at the corner 0, at the top to the right
    assert corner_distance(np.array([[1, -1], [-1, 1]]))[0] == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_corner_distance_against_differences(seed):
    rng = np.random.default_rng(seed)
    H = rng.standard_normal(rng.integers(1, 9, 2))
    for kink in (-1, 0, 1):
        H[np.abs(H - kink) < CLEARANCE] += 2 * CLEARANCE
    assert gradient_error(corner_distance, H) <= 1e-7
    nearest = np.abs(H - sgn(H)).sum() / H.shape[1]
    assert np.isclose(corner_distance(H)[0], nearest, rtol=1e-13)


# blocks


@pytest.mark.parametrize("seed", SEEDS)
def test_block_terms_against_differences(seed):
    rng = np.random.default_rng(seed)
    M, K, m = rng.integers([1, 2, 1], [5, 6, 9])
    Z, G = 2 * rng.standard_normal((2, M * K, m))

    def weighted(Z):
        P = block_softmax(Z, K)
        return np.sum(G * P), block_softmax_backward(P, G, K)

    assert gradient_error(weighted, Z) <= 1e-7
    assert gradient_error(partial(mean_entropy, K=K), Z) <= 1e-7
    assert gradient_error(partial(batch_entropy, K=K), Z) <= 1e-7
    y = rng.integers(0, M * K, m)
    assert gradient_error(partial(cross_entropy, y=y), Z) <= 1e-7


@pytest.mark.parametrize("seed", SEEDS)
def test_block_terms_against_loops(seed):
    rng = np.random.default_rng(seed)
    M, K, m = rng.integers([1, 2, 1], [5, 6, 9])
    Z, y = rng.standard_normal((M * K, m)), rng.integers(0, M * K, m)
    P = block_softmax(Z, K)
    each, whole = [], []
    for block in range(M):
        p = np.exp(Z[block * K : (block + 1) * K])
        p /= p.sum(axis=0)
        assert np.allclose(P[block * K : (block + 1) * K], p, rtol=1e-13)
        each += [-np.sum(p[:, i] * np.log(p[:, i])) for i in range(m)]
        whole.append(-np.sum(p.mean(axis=1) * np.log(p.mean(axis=1))))
    assert np.isclose(mean_entropy(Z, K)[0], np.mean(each), rtol=1e-12)
    assert np.isclose(batch_entropy(Z, K)[0], np.mean(whole), rtol=1e-12)
    by_scipy = -np.mean(log_softmax(Z, axis=0)[y, np.arange(m)])
    assert np.isclose(cross_entropy(Z, y)[0], by_scipy, rtol=1e-12)


@given(st.integers(1, 4), st.integers(2, 6), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_entropies_in_order(M, K, m, seed):
    """0 <= mean entropy <= batch entropy <= log K: the entropy is concave."""
    Z = 5 * np.random.default_rng(seed).standard_normal((M * K, m))
    each, whole = mean_entropy(Z, K)[0], batch_entropy(Z, K)[0]
    assert -1e-12 <= each <= whole + 1e-12 <= np.log(K) + 2e-12


def test_entropies_by_hand():
    even, sure = np.zeros((4, 3)), np.array([[900.0, 0], [0, 900], [0, 0]]).repeat(2, axis=1)
    assert np.isclose(mean_entropy(even, 2)[0], np.log(2))
    assert np.isclose(batch_entropy(even, 2)[0], np.log(2))
    assert mean_entropy(sure, 3)[0] == 0
    assert np.isclose(batch_entropy(sure, 3)[0], np.log(2))  # two of three words
    assert batch_entropy(sure[:, :2], 3)[0] == 0  # one word for all


@pytest.mark.parametrize("size", [1e3, 1e30, 1e300])
@pytest.mark.filterwarnings("error")
def test_huge_scores_give_numbers(size):
    Z = size * np.array([[1.0, -1], [-1, 1], [1, 1], [-1, -1]])
    y, T = [0, 1], np.array([[1, 0], [0, 1], [1, 1], [0, 0]])
    assert np.allclose(block_softmax(Z, 2), T)
    results = [mean_entropy(Z, 2), batch_entropy(Z, 2), cross_entropy(Z, y)]
    results.append(attribute_prediction(Z, T))
    for value, dZ in results:
        assert np.isfinite(value) and np.isfinite(dZ).all()
    assert results[3][0] == 0
    assert attribute_prediction(-Z, T)[0] == pytest.approx(4 * size)


# codes of blocks


@pytest.mark.parametrize("seed", SEEDS)
def test_hamming_distance_counts_blocks_twice(seed):
    rng = np.random.default_rng(seed)
    M, K = rng.integers([1, 2], [9, 20])
    indices = rng.integers(0, K, (M, 15))
    codes = one_hot_codes(indices, K)
    assert codes.dtype == np.int8 and codes.shape == (M * K, 15)
    differing = (indices[:, :, None] != indices[:, None, :]).sum(axis=0)
    assert np.array_equal(metrics.hamming_distances(codes.T, codes.T), 2 * differing)
    assert np.array_equal(block_indices(codes.astype(float), K), indices)


def test_the_largest_entry_of_each_block():
    Z = np.array([[0.1, 2], [0.3, 1], [5, -1], [4, 0]])
    assert block_indices(Z, 2).tolist() == [[1, 0], [0, 1]]
    hot = [[-1, 1], [1, -1], [1, -1], [-1, 1]]
    assert one_hot_codes(block_indices(Z, 2), 2).tolist() == hot


# attributes


@pytest.mark.parametrize("seed", SEEDS)
def test_attribute_prediction(seed):
    rng = np.random.default_rng(seed)
    Z = 3 * rng.standard_normal(rng.integers(1, 9, 2))
    T = rng.integers(0, 2, Z.shape)
    p = 1 / (1 + np.exp(-Z))
    by_hand = -np.sum(np.where(T == 1, np.log(p), np.log(1 - p))) / Z.shape[1]
    assert np.isclose(attribute_prediction(Z, T)[0], by_hand, rtol=1e-10)
    assert attribute_prediction(Z, T == 1)[0] == attribute_prediction(Z, T)[0]
    assert gradient_error(partial(attribute_prediction, T=T), Z) <= 1e-7


@pytest.mark.parametrize("seed", SEEDS)
def test_attribute_ranking(seed):
    Z, y, margin = random_case(seed, squash=sigmoid)
    by_loop = loop_triplets(sigmoid(Z), y, margin)[0]
    assert np.isclose(attribute_ranking(Z, y, margin)[0], by_loop, rtol=1e-12)
    assert gradient_error(partial(attribute_ranking, y=y, margin=margin), Z) <= 1e-7


# whole losses, through a network


OF_CLASS = np.array([[1, 0, 0, 1], [0, 0, 1, 1], [1, 1, 0, 0]])
WHOLE = {  # loss, activation of the code layer, outputs, numbers in the head
    "DSH": (partial(dsh_loss, alpha=0.3, margin=2.0), "identity", 5, 0),
    "Lai": (partial(lai_loss, margin=0.3), "sigmoid", 5, 0),
    "SUBIC": (partial(subic_loss, K=3, gamma=0.7, mu=0.4), "identity", 6, 4 * 7),
    "Song": (
        partial(multitask_loss, attributes=OF_CLASS, weights=(0.5, 0.7, 0.9), margin=0.2),
        "sigmoid",
        4,
        3 * 5,
    ),
    "Song, two": (
        partial(multitask_loss, attributes=OF_CLASS, weights=(1, 0.7, 0)),
        "sigmoid",
        4,
        3 * 5,
    ),
}


def whole_case(name, seed, dtype=np.float64):
    """A small network with the loss on top: the objective and a random start."""
    loss, code, rows, n_head = WHOLE[name]
    rng = np.random.default_rng(seed)
    sizes = (*rng.integers(2, 6, rng.integers(1, 4)).tolist(), rows)
    X, y = rng.standard_normal((sizes[0], 10)), rng.permutation(np.arange(10) % 4)
    theta = rng.standard_normal(n_weights(sizes) + n_head)

    def fun(theta):
        return network_objective(theta, X.astype(dtype), y, sizes, code, loss, 0.1)

    return fun, theta.astype(dtype)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("seed", SEEDS)
def test_whole_objective_through_the_network(name, seed):
    assert gradient_error(*whole_case(name, seed)) <= 1e-7


@pytest.mark.parametrize("name", WHOLE)
def test_precision_is_that_of_the_input(name):
    (exact, theta), (single, theta_single) = (whole_case(name, 3, t) for t in "df")
    (J, gradient), (J_single, gradient_single) = exact(theta), single(theta_single)
    assert gradient.dtype == np.float64 and gradient_single.dtype == np.float32
    assert isinstance(J_single, float) and np.isclose(J, J_single, rtol=1e-4)
    assert np.allclose(gradient, gradient_single, rtol=1e-3, atol=1e-3)


def test_whole_losses_are_the_sums_of_their_terms():
    H, y, _ = random_case(1)
    value, _, head = dsh_loss(H, y, np.zeros(0), alpha=0.3)
    assert np.isclose(value, contrastive(H, y)[0] + 0.6 * corner_distance(H)[0]) and not head.size
    assert lai_loss(H, y, np.zeros(0), 2.0)[0] == triplet_ranking(H, y, 2.0)[0]

    rng = np.random.default_rng(0)
    Z, V, v, y = (
        rng.normal(size=(6, 7)),
        rng.normal(size=(3, 6)),
        rng.normal(size=(3, 1)),
        [0, 1, 2],
    )
    y, head = np.array([*y, 0, 1, 2, 0]), np.hstack([V, v]).ravel()
    by_hand = cross_entropy(V @ block_softmax(Z, 2) + v, y)[0]
    by_hand += 0.3 * mean_entropy(Z, 2)[0] - 0.2 * batch_entropy(Z, 2)[0]
    assert np.isclose(subic_loss(Z, y, head, K=2, gamma=0.3, mu=0.2)[0], by_hand)

    scores, T = V @ Z + v, OF_CLASS[:, y]
    by_hand = 0.5 * triplet_ranking(Z, y, 2.0)[0] + 0.3 * attribute_prediction(scores, T)[0]
    by_hand += 0.7 * attribute_ranking(scores, y, 2.0)[0]
    weights = (0.5, 0.3, 0.7)
    assert np.isclose(multitask_loss(Z, y, head, OF_CLASS, weights, 2.0)[0], by_hand)


# types


@pytest.mark.parametrize("dtype, bound", [(np.float32, 1e-4), (np.float64, 1e-12)])
def test_terms_keep_the_precision_and_the_input(dtype, bound):
    rng = np.random.default_rng(2)
    H, y, T = rng.standard_normal((6, 12)), np.arange(12) % 3, rng.integers(0, 2, (6, 12))
    terms = [
        partial(contrastive, y=y),
        partial(triplet_ranking, y=y),
        corner_distance,
        partial(mean_entropy, K=3),
        partial(batch_entropy, K=3),
        partial(cross_entropy, y=y),
        partial(attribute_prediction, T=T),
        partial(attribute_ranking, y=y),
    ]
    given_H = H.astype(dtype)
    for term in terms:
        value, dH = term(given_H)
        exact, dH_exact = term(H)
        assert type(value) is float and dH.dtype == dtype
        assert np.isclose(value, exact, rtol=bound) and np.allclose(dH, dH_exact, atol=bound)
        dH *= 0  # a new array
        assert np.array_equal(given_H, H.astype(dtype))


# the network and its training


def test_the_start_is_standardised():
    X = load("digits").train.T.astype(np.float64)
    sizes = (64, 20, 10, 8)
    theta = standardised_network(X, sizes, np.random.default_rng(0))
    assert theta.shape == (n_weights(sizes),) == (64 * 20 + 20 + 20 * 10 + 10 + 10 * 8 + 8,)
    H = code_outputs(theta, X, sizes)
    assert np.allclose(H.mean(axis=1), 0, atol=1e-9) and np.allclose(H.std(axis=1), 1, atol=1e-9)
    assert np.array_equal(H, forward(*unflatten(theta, sizes), X)[-1])
    longer = np.concatenate([theta, [1.0, 2, 3]])  # a head behind it does not matter
    assert np.allclose(code_outputs(longer, X, sizes, "sigmoid"), sigmoid(H), atol=1e-12)


@pytest.fixture(scope="module")
def digits():
    dataset = load("digits", ground_truth="labels")
    X, Q = ((rows.T - 8.0) / 16 for rows in (dataset.train, dataset.query))
    return X, Q, dataset.labels.train, dataset.relevant


TRAINED = {  # loss, activation, outputs, numbers in the head, threshold of a bit
    "DSH": (dsh_loss, "identity", 12, 0, 0.0),
    "Lai": (partial(lai_loss, margin=3.0), "sigmoid", 12, 0, 0.5),
    "SUBIC": (partial(subic_loss, K=8), "identity", 24, 250, None),
}


@pytest.mark.parametrize("name", TRAINED)
def test_training_makes_codes_that_rank_digits(name, digits):
    loss, code, rows, n_head, threshold = TRAINED[name]
    X, Q, y, relevant = digits
    sizes, rng = (64, 30, rows), np.random.default_rng(0)
    head = 0.1 * rng.standard_normal(n_head)
    start = np.concatenate([standardised_network(X, sizes, rng), head])

    def quality(theta):
        outputs = [code_outputs(theta, A, sizes, code) for A in (Q, X)]
        if threshold is None:
            codes = [one_hot_codes(block_indices(Z, 8), 8).T for Z in outputs]
        else:
            codes = [sgn(Z - threshold).T for Z in outputs]
        return metrics.mean_average_precision(*codes, relevant)

    kept = start.copy()
    theta = train_on_batches(loss, start, X, y, sizes, code, n_epochs=3, rng=1)
    J0, J1 = (network_objective(t, X, y, sizes, code, loss)[0] for t in (start, theta))
    assert J1 < 0.7 * J0 or (name == "SUBIC" and J1 < J0 - 1)
    assert quality(theta) > quality(start) + 0.3
    assert np.array_equal(start, kept)


def test_batches_are_made_of_every_sample_once():
    seen = []

    def loss(H, y, head):
        if not seen or not np.array_equal(seen[-1], y):
            seen.append(y)
        return float(np.sum(H**2)), 2 * H, head

    X, y = np.random.default_rng(0).standard_normal((3, 10)), np.arange(10)
    theta = standardised_network(X, (3, 2), np.random.default_rng(0))
    _ = train_on_batches(loss, theta, X, y, (3, 2), batch=5, n_steps=2, n_epochs=1, rng=0)
    assert len(seen) == 2 and sorted(np.concatenate(seen)) == list(range(10))
    seen.clear()  # a rest of 2 is left out; a batch that is too large is all there is
    _ = train_on_batches(loss, theta, X, y, (3, 2), batch=4, n_steps=2, n_epochs=1, rng=0)
    assert [len(part) for part in seen] == [4, 4]
    seen.clear()
    _ = train_on_batches(loss, theta, X, y, (3, 2), batch=100, n_steps=2, n_epochs=1, rng=0)
    assert [sorted(part) for part in seen] == [list(range(10))]


def test_one_batch_of_all_samples_is_plain_lbfgs():
    fun, theta = whole_case("DSH", 0)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4, 20)), np.arange(20) % 3
    theta, p = rng.standard_normal(n_weights((4, 3))), np.random.default_rng(5).permutation(20)
    got = train_on_batches(dsh_loss, theta, X, y, (4, 3), batch=20, n_steps=7, n_epochs=1, rng=5)
    objective = partial(
        network_objective, X=X[:, p], y=y[p], sizes=(4, 3), code="identity", loss=dsh_loss
    )
    assert np.array_equal(got, minimize(objective, theta, max_iter=7).x)
