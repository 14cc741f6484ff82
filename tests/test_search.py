"""bdnn.search against loops over all pairs, cases known by hand, and faiss."""

import numpy as np
import pytest

from bdnn import search
from bdnn.data import nearest_neighbours
from bdnn.metrics import nearest, pack_codes, recall_at


def random_codes(rng, n, n_bits):
    return rng.choice(np.array([-1, 1], dtype=np.int8), size=(n, n_bits))


def whole_vectors(rng, n, D=5):
    """Small whole numbers: many ties, and distances without rounding."""
    return rng.integers(-3, 4, (n, D)).astype(np.float32)


# --- rerank


@pytest.mark.parametrize("seed", range(10))
def test_rerank_sorts_the_candidates_as_a_loop_does(seed):
    rng = np.random.default_rng(seed)
    query, vectors = whole_vectors(rng, 7), whole_vectors(rng, 30)
    candidates = np.array([rng.permutation(30)[:12] for _ in query])
    found, distances = search.rerank(query, vectors, candidates, 5)
    for q, own, rows, d in zip(query, candidates, found, distances):
        pairs = sorted((float(np.sum((vectors[i] - q) ** 2)), int(i)) for i in own)[:5]
        assert rows.tolist() == [i for _, i in pairs]
        np.testing.assert_allclose(d, np.sqrt([square for square, _ in pairs]), rtol=1e-12)


def test_rerank_of_all_rows_is_the_exact_search():
    rng = np.random.default_rng(0)
    query, vectors = whole_vectors(rng, 20), whole_vectors(rng, 200)
    every = np.tile(rng.permutation(200), (20, 1))
    found, _ = search.rerank(query, vectors, every, 200)
    assert np.array_equal(found, nearest_neighbours(query, vectors, 200))


class Watched(np.memmap):
    """A mapped file that notes which rows are asked for."""

    asked = []

    def __getitem__(self, rows):
        Watched.asked.append(np.array(rows))
        return np.asarray(self)[rows]


def test_rerank_reads_only_the_candidates_of_a_file(tmp_path):
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((50, 4)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r").view(Watched)
    candidates = np.array([[40, 3, 17], [9, 8, 7]])
    found, distances = search.rerank(vectors[:2], mapped, candidates, 2)
    assert [rows.tolist() for rows in Watched.asked] == [[3, 17, 40], [7, 8, 9]]
    again = search.rerank(vectors[:2], vectors, candidates, 2)
    assert np.array_equal(found, again[0]) and np.array_equal(distances, again[1])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"query": np.ones((2, 3))}, "query"),
        ({"query": np.ones((3, 4))}, "candidates"),
        ({"k": 0}, "k="),
        ({"k": 3}, "k="),
        ({"candidates": np.array([[0, 1], [2, -1]])}, "candidates"),  # faiss's -1: nothing found
        ({"candidates": np.array([[0, 1], [2, 5]])}, "candidates"),
    ],
)
def test_rerank_refuses_what_does_not_fit(change, message):
    given = {"query": np.ones((2, 4)), "vectors": np.ones((5, 4)), "k": 1}
    given |= {"candidates": np.array([[0, 1], [2, 3]])} | change
    with pytest.raises(ValueError, match=message):
        search.rerank(**given)


def test_recall_after_reranking_is_that_of_the_shortlist():
    rng = np.random.default_rng(3)
    vectors, query = rng.standard_normal((100, 6)), rng.standard_normal((30, 6))
    truth = nearest_neighbours(query, vectors, 10)
    shortlist, _ = nearest(np.sign(query), np.sign(vectors), 25)
    found, _ = search.rerank(query, vectors, shortlist, 10)
    before, after = (
        [np.isin(t, f).sum() for f, t in zip(rows, truth)] for rows in (shortlist, found)
    )
    assert before == after and 2 < np.mean(before) < 9.5
    of_codes = recall_at(np.sign(query), np.sign(vectors), truth, 10, 25)
    assert np.mean(before) / 10 == pytest.approx(of_codes, abs=1e-12)


# --- real queries


def quarters(rng, *shape):
    """Multiples of a quarter: sums and products of them are exact."""
    return rng.integers(-8, 9, shape) / 4


@pytest.mark.parametrize("n_bits", (1, 7, 8, 13, 64))
@pytest.mark.parametrize("block", (5, 1000))
def test_asymmetric_search_equals_the_loop(n_bits, block, monkeypatch):
    monkeypatch.setattr(search, "BLOCK", block)
    rng = np.random.default_rng(n_bits)
    H, B = quarters(rng, 6, n_bits), random_codes(rng, 40, n_bits)
    found, scores = search.nearest_asymmetric(H, pack_codes(B), 9)
    distances = np.array([[np.sum((h - b) ** 2) for b in B] for h in H])
    np.testing.assert_array_equal(scores + np.sum(H**2, axis=1)[:, None], np.sort(distances)[:, :9])
    rows = np.arange(6)[:, None]
    assert np.array_equal(distances[rows, found], np.sort(distances)[:, :9])
    assert all(len(set(row)) == 9 for row in found.tolist())
    whole, _ = search.nearest_asymmetric(H, pack_codes(B), 40)
    assert np.array_equal(whole, np.argsort(distances, axis=1, kind="stable"))


def test_asymmetric_search_with_a_decoder_is_the_distance_to_the_reconstruction():
    rng = np.random.default_rng(5)
    W, c, Q = quarters(rng, 7, 12), quarters(rng, 7, 1), quarters(rng, 9, 7)
    B = random_codes(rng, 50, 12)
    found, scores = search.nearest_asymmetric((Q - c.T) @ W, pack_codes(B), 50, W.T @ W)
    decoded = (W @ B.T + c).T
    distances = np.array([[np.sum((q - y) ** 2) for y in decoded] for q in Q])
    assert np.array_equal(found, np.argsort(distances, axis=1, kind="stable"))
    constant = np.sum((Q - c.T) ** 2, axis=1)[:, None]
    np.testing.assert_array_equal(scores + constant, np.sort(distances))


def test_signs_as_outputs_give_the_hamming_ranking():
    rng = np.random.default_rng(6)
    A, B = random_codes(rng, 8, 16), random_codes(rng, 60, 16)
    found, scores = search.nearest_asymmetric(A.astype(np.float32), pack_codes(B), 60)
    expected, distances = nearest(A, B, 60)
    assert np.array_equal(found, expected) and np.array_equal(scores, 4 * distances - 16.0)
    assert scores.dtype == np.float32


@pytest.mark.parametrize("n_bits, k, message", [(9, 3, "bits"), (8, 0, "k="), (8, 6, "k=")])
def test_asymmetric_search_refuses_what_does_not_fit(n_bits, k, message):
    with pytest.raises(ValueError, match=message):
        search.nearest_asymmetric(np.ones((2, n_bits)), np.zeros((5, 1), np.uint8), k)


@pytest.mark.rounding
def test_faiss_finds_the_same():
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((400, 32)).astype(np.float32)
    query = rng.standard_normal((25, 32)).astype(np.float32)
    packed = pack_codes(vectors >= 0)
    index = faiss.IndexFlatIP(32)  # -2 h'b + L: the largest inner products
    index.add(np.where(vectors >= 0, 1, -1).astype(np.float32))
    products, rows = index.search(query, 50)
    found, scores = search.nearest_asymmetric(query, packed, 50)
    np.testing.assert_allclose(32 - 2 * products, scores, rtol=1e-4, atol=1e-3)
    assert np.mean([np.isin(t, f).mean() for f, t in zip(found, rows)]) > 0.99
    exact = faiss.IndexFlatL2(32)
    exact.add(vectors)
    squares, rows = exact.search(query, 10)
    every = np.tile(np.arange(400), (25, 1))
    found, distances = search.rerank(query, vectors, every, 10)
    assert np.array_equal(found, rows)
    np.testing.assert_allclose(distances**2, squares, rtol=1e-4)


def test_no_query_finds_nothing():
    vectors, packed = np.ones((5, 3)), np.zeros((5, 1), np.uint8)
    for A in search.rerank(np.empty((0, 3)), vectors, np.empty((0, 4), int), 2):
        assert A.shape == (0, 2)
    for A in search.nearest_asymmetric(np.empty((0, 8)), packed, 2):
        assert A.shape == (0, 2)
