# %% [markdown]
# # Search in two stages
#
# *This page lies off the path (00 to 10, 14, 15). It uses notebooks 02b, 03 and 08.*
#
# **What you will do.** You search as programs in use do it: codes make a shortlist, the vectors themselves put it in order. You measure what the list misses, improve it at the same memory, and set codes beside the two rivals that a practitioner will name first, product quantisation and HNSW.
#
# **What you will learn**
#
# * what recall means, in both definitions in use, and why one curve tells everything about re-ranking;
# * to keep the query real while the items stay bits, and when that hurts;
# * what a byte and a millisecond buy, in codes and in their rivals;
# * to choose the number of bits from a curve, without a label.
#
# **What you need.** Notebooks 03 (ITQ) and 08 (UH-BDNN). faiss for the rivals (`pip install ".[search]"`; without it their cells do nothing). About 35 minutes to read, a minute to run.

# %% tags=["nbval-ignore-output"]
import sys

if "google.colab" in sys.modules:  # on Colab only: bring the package that the notebooks share
    import subprocess

    url = "git+https://github.com/bdnn-course/bdnn"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", url], check=True)

from bdnn.files import show_versions

show_versions()

# %% tags=["export-top"]
"""Search in two stages: a shortlist by codes, put in order by the vectors themselves.

Queries, vectors and codes stand in rows, as estimators take and return them.
"""

import numpy as np
from numpy import ndarray as Array

from bdnn.metrics import unpack_codes

# %% [markdown]
# ## Re-rank a shortlist
#
# Let $q$ be a query and $x_1,\dots,x_m\in\mathbb R^D$ the database, with codes $b_1,\dots,b_m$ of $L$ bits. **Stage one** ranks all items by a distance that needs only the codes, and keeps the first $n$, the **shortlist** $S_n(q)$. **Stage two** fetches the vectors of the list, computes their exact distances, and returns the first $k$:
#
# $$ \text{found}_k(q)=\text{the } k \text{ items } i\in S_n(q) \text{ with the smallest } \lVert q-x_i\rVert,\qquad n=ok. \tag{1} $$
#
# The factor $o$ is called **oversampling**. The codes of all items stay in memory; the vectors may lie on a disk, since a query asks for only $n$ of them.


# %% tags=["export"]
def rerank(query: Array, vectors: Array, candidates: Array, k: int) -> tuple[Array, Array]:
    """The k nearest of each query's candidates by Euclidean distance, Eq. (1) of notebook 19.

    Queries (n_query, D), vectors (m, D), candidates (n_query, n) as row numbers of the vectors,
    which may be a memory-mapped file: only the rows of candidates are read. Returns row numbers,
    int64, and distances, float64, both (n_query, k), nearest first; of equal ones the lower row.
    """
    if query.shape[1] != vectors.shape[1] or len(query) != len(candidates):
        shapes = f"query {query.shape}, vectors {vectors.shape}, candidates {candidates.shape}"
        raise ValueError(f"{shapes} do not fit together")
    if not 1 <= k <= candidates.shape[1]:
        raise ValueError(f"k={k} must be from 1 to {candidates.shape[1]}, the length of the lists")
    if candidates.size and not 0 <= candidates.min() <= candidates.max() < len(vectors):
        raise ValueError(f"candidates must be row numbers from 0 to {len(vectors) - 1}")
    found, distances = np.empty((len(query), k), np.int64), np.empty((len(query), k))
    for i, q in enumerate(np.asarray(query, dtype=np.float64)):
        rows = np.sort(candidates[i])  # a file is read in its own order
        d = np.linalg.norm(vectors[rows] - q, axis=1)  # (n,)
        order = np.argsort(d, kind="stable")[:k]
        found[i], distances[i] = rows[order], d[order]
    return found, distances


# %%
import importlib.util
import tempfile
import warnings
from itertools import islice
from pathlib import Path
from time import process_time
from timeit import repeat

import matplotlib.pyplot as plt

# %%
from bdnn import ITQ, UHBDNN
from bdnn.course.plotting import COLOURS, recall_axes, save_figure
from bdnn.data import load, nearest_neighbours
from bdnn.itq import itq_codes
from bdnn.metrics import nearest, recall_at
from bdnn.network import flatten, initial_weights
from bdnn.uh_bdnn import ridge_decoder, uh_bdnn

# %%
data = load("mnist5k", n_neighbors=10)
database, query, truth = data.database, data.query, np.asarray(data.relevant)
path = Path(tempfile.mkdtemp()) / "vectors.npy"
np.save(path, database)
on_disk = np.load(path, mmap_mode="r")

model = ITQ(32, dtype="float64").fit(data.train)
codes, codes_query = model.encode(database), model.encode(query)
shortlist, _ = nearest(codes_query, codes, 100)
found, distances = rerank(query, on_disk, shortlist, 10)
print(f"{len(database)} items of {codes.shape[1]} bytes in memory; of the file a query reads")
print(f"{shortlist.shape[1]} rows, {shortlist.shape[1] / len(database):.1%}")
for name, ten in (("true", truth[0]), ("by code", shortlist[0, :10]), ("re-ranked", found[0])):
    print(f"{name:10}", *(f"{i:5}" for i in ten))

# %% [markdown]
# By code alone the ten of this query are mostly wrong; after the second stage they are right.
#
# ## Measure what the list misses
#
# No labels are needed: the right answers are the $k$ exact neighbours of queries that were held out. Two definitions of recall are in use, and a figure without its definition says little (Eq. (9) of notebook 02b):
#
# * **$k$-recall@$n$**: the share of the $k$ true neighbours that are among the first $n$. With $k=n=10$ it is what ann-benchmarks calls recall.
# * **1-recall@$n$**, or R@$n$ in papers on product quantisation: in how many queries the *first* neighbour is among the first $n$.
#
# `recall_at` takes codes and computes both. For a list that comes from somewhere else, such as `found`, two lines do:


# %%
def recall(found, truth):
    """Share of the true neighbours (n_query, k) that were found (n_query, n), in any order."""
    hits = [np.isin(t, f) for f, t in zip(found, truth)]
    return float(np.mean(hits))


# %%
print("ITQ, 32 bits; in percent, at n =         10     20     50    100")
lists = (10, 20, 50, 100)
for name, k in (("1-recall@n", 1), ("10-recall@n", 10)):
    row = [recall_at(codes_query, codes, truth, k=k, shortlist=n) for n in lists]
    print(f"{name:36}", *(f"{100 * r:6.1f}" for r in row))
row = [recall(rerank(query, on_disk, shortlist[:, :n], 10)[0], truth) for n in lists]
print(f"{'10-recall@10, re-ranked n':36}", *(f"{100 * r:6.1f}" for r in row))

# %% [markdown]
# The first definition flatters: 61 % of the nearest neighbours, but only 37 % of the ten. And look at the last two lines, which are the same. That is no accident. Stage two is exact, so a true neighbour that is on the list ends up among the first ten, unless a stranger of exactly the same distance takes its place. **The recall after re-ranking $n$ items is the recall of the shortlist**, so that one curve, $k$-recall@$n$ over $n$, tells what every oversampling would give, and nothing has to be re-ranked to draw it.
#
# ## Keep the query real
#
# The items must be short; there are many of them. The query need not be: there is only one. Its real outputs $h\in\mathbb R^L$, whose signs are its code, say how sure each bit is. An **asymmetric distance** compares them with the bits of an item:
#
# $$ \lVert h-b\rVert^2=\lVert h\rVert^2-2h^\top b+b^\top b=\lVert h\rVert^2-2h^\top b+L. \tag{2} $$
#
# The ranking is decided by $-h^\top b$. If all $|h_k|$ are equal, this is the Hamming distance again; else a bit near its border counts for little. In NumPy, with codes $B$ in rows, one line does it and a second one sorts:
#
# ```python
# scores = L - 2 * H @ B.T
# found = np.argsort(scores, axis=1)[:, :k]
# ```
#
# Why should the distance to a *corner* of the cube say anything about the distance to $x$? Because a decoder leads from the bits back to the vectors, $x\approx Wb+c$, and then
#
# $$ \lVert q-(Wb+c)\rVert^2=\lVert q-c\rVert^2-2h^\top b+b^\top Gb,\qquad h=W^\top(q-c),\quad G=W^\top W. \tag{3} $$
#
# ITQ has such a decoder by construction: it turns the bits back along its axes, with columns that are orthogonal and of one length. Then $G$ is a multiple of $I$, $h$ is what ITQ takes the sign of, and Eq. (3) ranks as Eq. (2) does. For a network neither holds. Its outputs were pressed towards $\pm1$ by the equality term, and how far they stay away is not what the distance is made of. But UH-BDNN has learned a decoder, and Eq. (3) can use it.


# %% tags=["export"]
BLOCK = 2**22  # pairs of query and item that are scored at a time


def nearest_asymmetric(
    H: Array, packed: Array, k: int, G: Array | None = None
) -> tuple[Array, Array]:
    """The k items whose bits are nearest to a query's real outputs, Eq. (2) of notebook 19.

    Outputs H (n_query, L), packed codes (m, ceil(L / 8)). With a decoder W (D, L), c (D, 1) give
    ``H=(query - c.T) @ W`` and ``G=W.T @ W``: the distance to the decoded bits, Eq. (3).
    Returns row numbers, int64, and scores, both (n_query, k): squared distances, less what
    depends on the query alone. Of equal scores any may be left out at the end of the list.
    """
    L = H.shape[1]
    if packed.shape[1] != -(-L // 8):
        raise ValueError(f"H {H.shape} and packed {packed.shape} do not have the same bits")
    if not 1 <= k <= len(packed):
        raise ValueError(f"k={k} must be from 1 to {len(packed)}, the number of codes")
    found, scores = np.empty((len(H), 0), np.int64), np.empty((len(H), 0), H.dtype)
    step = max(k, BLOCK // max(len(H), 1))
    for start in range(0, len(packed), step):
        B = unpack_codes(packed[start : start + step], L).astype(H.dtype)  # (n_block, L)
        bGb = L if G is None else np.sum(B @ G * B, axis=1)
        rows = np.broadcast_to(np.arange(start, start + len(B)), (len(H), len(B)))
        found, scores = np.hstack([found, rows]), np.hstack([scores, bGb - 2 * H @ B.T])
        best = np.argpartition(scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
        found, scores = (np.take_along_axis(A, best, axis=1) for A in (found, scores))
    order = np.lexsort((found, scores))
    return np.take_along_axis(found, order, axis=1), np.take_along_axis(scores, order, axis=1)


# %% [markdown]
# We train ITQ and UH-BDNN with 16 to 256 bits. **Departure.** `UHBDNN` tries twenty starts of ITQ, and keeps the round with the best precision within radius 2. At 256 bits the starts would take longer than the network, and a ball of radius 2 is empty; so here there is one start, and the objective decides. One round of DCC for up to 64 bits, none beyond, keeps the page below a minute; more rounds would still gain something.


# %%
class FromOneStart(UHBDNN):
    """UH-BDNN that begins with the codes of a single ITQ."""

    def _states(self, X, y, rng, t, state):
        sizes = self._sizes(len(X))
        B, theta = itq_codes(X, self.n_bits, rng), flatten(*initial_weights(X, sizes, rng))
        return islice(uh_bdnn(X, B, theta, sizes, self._lambdas, self.max_iter), self._n_rounds())


# %% tags=["nbval-ignore-output"]
LENGTHS = (16, 32, 64, 128, 256)
MODELS = {
    "ITQ": {L: ITQ(L, dtype="float64") for L in LENGTHS},
    "UH-BDNN": {L: FromOneStart(L, max_alternations=int(L <= 64), n_validation=0) for L in LENGTHS},
}
for name, models in MODELS.items():
    for L, model in models.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _ = model.fit(data.train)
        for warning in caught:
            print(f"{name}, {L} bits: {str(warning.message).partition(':')[0]}")

# %% [markdown]
# The warnings at long codes are right: the equality term is a sum over bits, and the paper chose its weights for at most 32 of them. We keep them.


# %%
def decoder_of(model):
    """Its own for UH-BDNN; for ITQ the least-squares decoder of its codes."""
    if hasattr(model, "decoder_W_"):
        return model.decoder_W_, model.decoder_c_
    B = model.transform(database).T.astype(np.float64)  # (L, m)
    return ridge_decoder(database.T.astype(np.float64), B, 1e-5)


def shortlists(model, n=100):
    """The first n items of every query by the three distances, nearest first, and the distances."""
    codes, H = model.encode(database), model.decision_function(query)
    W, c = decoder_of(model)
    return {
        "Hamming": nearest(model.encode(query), codes, n),
        "real query": nearest_asymmetric(H, codes, n),
        "decoder": nearest_asymmetric((query - c.T) @ W, codes, n, W.T @ W),
    }


LISTS = {
    (name, L): shortlists(model) for name, models in MODELS.items() for L, model in models.items()
}
RECALL = {
    (*key, how, n): recall(found[:, :n], truth)
    for key, by_distance in LISTS.items()
    for how, (found, _) in by_distance.items()
    for n in (10, 100)
}

# %% tags=["nbval-ignore-output"]
HOW = ("Hamming", "real query", "decoder")
print("10-recall in percent   @10: " + "  ".join(HOW) + "   @100: " + "  ".join(HOW))
for name, L in LISTS:
    row = [[f"{100 * RECALL[name, L, how, n]:7.1f}" for how in HOW] for n in (10, 100)]
    print(f"{name:8} {L:3} bits ", "   ".join(row[0]), "          ", "   ".join(row[1]))

# %%
for (name, L), n in ((key, n) for key in LISTS for n in (10, 100)):
    by_code, real, decoder = (RECALL[name, L, how, n] for how in HOW)
    assert real > by_code + (0.02 if n == 10 else 0)
    assert abs(decoder - real) < 0.03 if name == "ITQ" else decoder > real - 0.005
print("a real query finds more at every length; the decoder adds less than three points to ITQ")
more = [
    RECALL["UH-BDNN", L, "decoder", 100] - RECALL["UH-BDNN", L, "real query", 100] for L in (16, 32)
]
assert min(more) > 0.005
assert RECALL["ITQ", 16, "real query", 100] > RECALL["UH-BDNN", 16, "real query", 100] + 0.02
assert abs(RECALL["ITQ", 16, "Hamming", 100] - RECALL["UH-BDNN", 16, "Hamming", 100]) < 0.03
print("at 16 bits the two are equal by Hamming distance; with a real query ITQ is ahead")

# %% [markdown]
# Read the lines of 16 bits, on a list of 100. By Hamming distance the two methods are level; with a real query ITQ leads, because its outputs are projections and those of the network are not. With the decoder UH-BDNN catches up. On a list of 10 it is ahead by Hamming distance and by the decoder, and level with a real query. **Which method is better depends on the distance by which you search, and on the list.** (One seed, 1,000 queries; the standard error of a figure is about half a point.) From 64 bits on ITQ leads by any distance; at 128 and 256 UH-BDNN had no round of DCC.
#
# **When it hurts.** Eq. (2) believes that the outputs of all bits are in one unit. Let us break that in two ways: saturate the outputs, as a steep `tanh` at the end of a network does; and give each bit a unit of its own, which changes no code.

# %% tags=["nbval-ignore-output"]
model = MODELS["ITQ"][32]
codes, H = model.encode(database), model.decision_function(query)
units = 10 ** np.random.default_rng(0).uniform(0, 2, H.shape[1])
BROKEN = {"as they are": H, "saturated": np.tanh(H), "in units from 1 to 100": H * units}
broken = {name: recall(nearest_asymmetric(A, codes, 10)[0], truth) for name, A in BROKEN.items()}
print(
    f"ITQ, 32 bits, 10-recall@10: {100 * RECALL['ITQ', 32, 'Hamming', 10]:.1f} % by Hamming distance"
)
for name, r in broken.items():
    print(f"   outputs {name:24} {100 * r:.1f} %")

# %%
by_code = RECALL["ITQ", 32, "Hamming", 10]
assert (
    abs(broken["saturated"] - by_code) < 0.03 and broken["in units from 1 to 100"] < by_code - 0.02
)
print("saturated outputs gain next to nothing; outputs in different units lose to Hamming")

# %% [markdown]
# And it costs: no bits can be counted any more. What is left is a **look-up**. A byte $v_j$ of a code holds eight bits, hence it has 256 values, and for each of them the query's share of $h^\top b$ can be written into a table beforehand:
#
# $$ h^\top b=\sum_{j=1}^{L/8}T_j[v_j],\qquad T_j[v]=\sum_{i=0}^{7}h_{8j-7+i}\,(2v^{(i)}-1), \tag{4} $$
#
# where $v^{(i)}$ is bit $i$ of $v$. One look-up and one addition for every byte (Exercise 19.2).
#
# ## Compare with product quantisation
#
# **Product quantisation** (PQ) searches in just this way. It cuts a vector into pieces, and replaces each by the number of the nearest of 256 centroids, which $k$-means has found for this piece. A byte then stands for one of 256 points; the table holds the distances of the query's piece to them. Compare this with Eq. (4): there, a byte stands for one of the 256 *corners of a cube*. Only eight numbers can be chosen for a byte, where PQ chooses 256 points freely. So PQ should find more at equal bytes. With 16 centroids in place of 256, two to a byte, the tables fit into the registers of the processor, and its vector instructions look up 32 entries at once: **fast scan**.
#
# **HNSW** does not shorten vectors. It links each to its near neighbours on several layers, and a search follows the links. It needs the vectors *and* the links in memory; its yardstick is the millisecond.

# %%
if importlib.util.find_spec("faiss"):
    import faiss

    faiss.omp_set_num_threads(1)
else:
    faiss = None


def padded(A):
    """784 pixels and 48 zeros: 832 numbers can be cut into 2 to 64 equal pieces."""
    return np.ascontiguousarray(np.pad(A, ((0, 0), (0, 48))))


def product_quantiser(n_bytes, bits):
    """An index of faiss with the database in it; 4 bits are scanned fast."""
    make = faiss.IndexPQ if bits == 8 else faiss.IndexPQFastScan
    index = make(832, 8 * n_bytes // bits, bits)
    index.pq.cp.min_points_per_centroid, index.pq.cp.niter = 1, 10
    index.train(padded(data.train))
    index.add(padded(database))
    return index


# %% [markdown]
# But first a check: faiss has searches of its own that must give the same distances as ours. Eq. (2) is a search for the largest inner product with vectors of $\pm1$, Eq. (3) one for the nearest of the decoded vectors, and stage two, on a list of all items, is the exact search.

# %% tags=["nbval-ignore-output"]
WRONG = []  # distances of all searches, relative to the largest


def compare(index, items, queries, ours, unit=1, offset=0):
    """Search with faiss, and keep the largest difference from our distances."""
    index.add(items)
    theirs, _ = index.search(queries, ours.shape[1])
    WRONG.append(np.abs(unit * theirs + offset - ours).max() / np.abs(ours).max())


if faiss:
    for (name, L), lists in LISTS.items():
        model = MODELS[name][L]
        B, H = model.transform(database).astype(np.float32), model.decision_function(query)
        W, c = decoder_of(model)
        decoded, beyond = (B @ W.T + c.T).astype(np.float32), np.sum((query - c.T) ** 2, axis=1)
        bits = model.encode(database), model.encode(query)
        compare(faiss.IndexBinaryFlat(L), *bits, lists["Hamming"][1])
        compare(faiss.IndexFlatIP(L), B, H.astype(np.float32), lists["real query"][1], -2, L)
        compare(faiss.IndexFlatL2(784), decoded, query, lists["decoder"][1], 1, -beyond[:, None])
    every = np.tile(np.arange(len(database)), (20, 1))
    _, distances = rerank(query[:20], on_disk, every, 10)
    compare(faiss.IndexFlatL2(784), database, query[:20], distances**2)
    assert max(WRONG) < 1e-4
    print(f"{len(WRONG)} searches: the distances of faiss differ by {max(WRONG):.0e} at most")

# %% tags=["nbval-ignore-output"]
PQ, HNSW = {}, {}
if faiss:
    PQ = {(bits, L // 8): product_quantiser(L // 8, bits) for bits in (8, 4) for L in LENGTHS}
    for (bits, n_bytes), index in PQ.items():
        _, found = index.search(padded(query), 100)
        for n in (10, 100):
            RECALL[f"PQ, {bits} bits a piece", 8 * n_bytes, "", n] = recall(found[:, :n], truth)
    graph = faiss.IndexHNSWFlat(784, 16)
    graph.add(database)
    bytes_of_graph = faiss.serialize_index(graph).size / len(database)
    for graph.hnsw.efSearch in (10, 20, 40):
        HNSW[graph.hnsw.efSearch] = recall(graph.search(query, 10)[1], truth)

RIVALS = (
    ("ITQ", "Hamming"),
    ("UH-BDNN", "Hamming"),
    ("ITQ", "real query"),
    ("UH-BDNN", "decoder"),
    ("PQ, 4 bits a piece", ""),
    ("PQ, 8 bits a piece", ""),
)
RIVALS = [rival for rival in RIVALS if (rival[0], 16, rival[1], 10) in RECALL]
print("10-recall in percent        alone, @10, bytes:                 re-ranked ten times, @100:")
print(" " * 26, *(f"{L // 8:6}" for L in LENGTHS), "   ", *(f"{L // 8:6}" for L in LENGTHS))
for name, how in RIVALS:
    row = [[f"{100 * RECALL[name, L, how, n]:6.1f}" for L in LENGTHS] for n in (10, 100)]
    print(f"{f'{name}, {how}' if how else name:26}", *row[0], "   ", *row[1])
for effort, r in HNSW.items():
    print(f"HNSW, {bytes_of_graph:.0f} bytes, efSearch {effort}: {100 * r:.1f}")

# %% tags=["nbval-ignore-output"]
if faiss:
    for L in LENGTHS:
        hashes = {n: max(RECALL[name, L, how, n] for name, how in RIVALS[:2]) for n in (10, 100)}
        real = max(RECALL[name, L, how, 10] for name, how in RIVALS[2:4])
        assert RECALL["PQ, 8 bits a piece", L, "", 10] > max(hashes[10] + 0.1, real + 0.05)
        assert RECALL["PQ, 8 bits a piece", L, "", 100] > hashes[100]
        assert RECALL["PQ, 4 bits a piece", L, "", 10] > hashes[10] - 0.02
        if L in (32, 64, 128):
            assert real > RECALL["PQ, 4 bits a piece", L, "", 10]
    assert max(HNSW.values()) > 0.98 and bytes_of_graph > 784 * 4
    print("at equal bytes PQ with 256 centroids finds most, at every length, alone and re-ranked")

# %%
STYLES = {
    "ITQ": {"color": COLOURS["black"], "marker": "o"},
    "UH-BDNN": {"color": COLOURS["blue"], "marker": "s"},
    "PQ, 4 bits a piece": {"color": COLOURS["orange"], "marker": "^"},
    "PQ, 8 bits a piece": {"color": COLOURS["vermillion"], "marker": "D"},
}
fig, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True, layout="constrained")
for ax, n in zip(axes, (10, 100)):
    for name, how in RIVALS:
        values = [100 * RECALL[name, L, how, n] for L in LENGTHS]
        style = {**STYLES[name], "ls": "--" if how in HOW[1:] else "-"}
        label = f"{name}, {how}" if how else name
        _ = ax.plot([L // 8 for L in LENGTHS], values, label=label, **style)
recall_axes(axes, LENGTHS)
save_figure(fig, "19_bytes")

# %% [markdown]
# The left panel asks codes to do all the work, the right one leaves the order to stage two. Product quantisation with 256 centroids is on top in both, at every length: two bytes of it do what four to eight bytes of bits do. The dashed curves, a real query against bits, close a part of the gap and no more; the better of them does pass PQ with 16 centroids, up to 16 bytes. HNSW is not in the picture, because it lies a hundred times to the right: over 3,200 bytes an item. Its links alone take more than the longest code here.
#
# **What flatters PQ here.** Its centroids were trained on the 4,000 items that are then searched, sixteen to a centroid, and take $256\cdot832$ numbers, as much room as 270 vectors, which is more than all codes of these 4,000 items. So "equal bytes" is meant for databases of millions. Exercise 19.3 trains it on other digits.
#
# ## Compare times
#
# Four thousand digits are no database for a stopwatch. We repeat them fifty times, which leaves the work of a scan what it is, and search 200,000 codes, one thread, for a list of 100.

# %% tags=["nbval-ignore-output"]
FIFTY = 50


def milliseconds(search, queries, *arguments):
    """The shortest time of three, for one query, of one processor."""
    times = repeat(lambda: search(queries, *arguments), number=1, repeat=3, timer=process_time)
    return 1e3 * min(times) / len(queries)


def scan_times(L):
    """Milliseconds of a scan of 200,000 codes for a query, by engine."""
    model, few = MODELS["ITQ"][L], query[:20]
    codes, codes_query = np.tile(model.encode(database), (FIFTY, 1)), model.encode(few)
    binary = faiss.IndexBinaryFlat(L)
    binary.add(codes)
    times = {"nearest, NumPy": milliseconds(nearest, codes_query, codes, 100)}
    times["Hamming, faiss"] = milliseconds(binary.search, codes_query, 100)
    for bits in (8, 4):
        index = PQ[bits, L // 8]
        if bits == 8:
            items = faiss.vector_to_array(index.codes).reshape(len(database), -1)
            index.add_sa_codes(np.tile(items, (FIFTY - 1, 1)))
        else:
            for _ in range(FIFTY - 1):
                index.add(padded(database))
        times[f"PQ, {bits} bits a piece"] = milliseconds(index.search, padded(few), 100)
    return times


TIMES = {L: scan_times(L) for L in LENGTHS} if faiss else {}
if faiss:
    print("ms a query, bytes:  ", *(f"{L // 8:6}" for L in LENGTHS))
    for name in TIMES[16]:
        print(f"{name:20}", *(f"{TIMES[L][name]:6.2f}" for L in LENGTHS))
    took = milliseconds(rerank, query[:20], on_disk, shortlist[:20], 10)
    print(f"re-rank 100 rows of the file: {took:.2f} ms")
    graph.hnsw.efSearch = 40
    took = milliseconds(graph.search, query[:20], 10)
    print(f"HNSW, on 4,000 vectors only: {took:.2f} ms")

# %% tags=["nbval-ignore-output"]
if faiss:
    assert TIMES[64]["Hamming, faiss"] < TIMES[64]["PQ, 8 bits a piece"]
    assert TIMES[64]["PQ, 4 bits a piece"] < TIMES[64]["PQ, 8 bits a piece"]
    fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
    drawn = ("ITQ", "Hamming, faiss"), *((name, name) for name in list(STYLES)[2:])
    for name, engine in drawn:
        how = "Hamming" if name == "ITQ" else ""
        values = [100 * RECALL[name, L, how, 100] for L in LENGTHS]
        times = [TIMES[L][engine] for L in LENGTHS]
        _ = ax.plot(times, values, label="ITQ, Hamming" if how else name, ls="-", **STYLES[name])
        _ = ax.annotate(
            "32 bytes",
            (times[-1], values[-1]),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    _ = ax.set(
        xscale="log",
        xlabel="milliseconds to scan 200,000 codes",
        ylabel="10-recall@100 (%)",
        ylim=(72, 103),
    )
    _ = ax.set_xticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    _ = ax.set_xticks([], minor=True)
    _ = ax.legend(loc="lower left")
    save_figure(fig, "19_milliseconds")
    print("at 8 bytes bits are scanned faster than 256 centroids a byte; so are 16 centroids")

# %% [markdown]
# From four bytes on a scan that counts bits takes a fraction of the time of PQ with 256 centroids, so for the same time one can afford longer codes. (With 16 bits faiss was slower; we suppose that so many ties keep its list busy.) But fast scan beats it at its own game: here it was faster than counting bits, and found more. What remains for bits is **simplicity**. The scan is `bitwise_count(a ^ b)`, exact, the same on every processor and in every language; there is no codebook to ship with the data; a database column and a look-up by hash can hold it. `nearest`, which is NumPy, needs up to three times as long as compiled code up to 16 bytes, and five to six times for 32.
#
# Every time depends on the machine and on the release of faiss, and is one measurement, without the re-ranking; the recall in the picture is that among 4,000 items. It is time of the processor, so that other programs count little, though they still take its caches. Two comparisons are asserted, both at 8 bytes: bits, and 16 centroids, are scanned faster than 256 centroids.
#
# ## Choose the number of bits
#
# Take queries that the model has not seen, and their exact neighbours in the database. Decide which recall you want, say 95 % of the ten. Then for each $L$ the curve of the shortlist says how long a list it takes, $n(L)$. A query reads all codes and the vectors of the list:
#
# $$ C(L)=m\,\frac L8+n(L)\cdot 4D\quad\text{bytes}. \tag{5} $$
#
# Short codes make the first term small, long ones the second.


# %%
def places(model, m):
    """Ranks of all true neighbours among the first m items, in increasing order."""
    order, _ = nearest(model.encode(query), model.encode(database[:m]), m)
    rank = 1 + np.argsort(order, axis=1)  # of every item
    ten = nearest_neighbours(query, database[:m], 10)
    return np.sort(np.take_along_axis(rank, ten, axis=1), axis=None)


SIZES = (1000, 2000, 4000)
PLACES = {L: [places(model, m) for m in SIZES] for L, model in MODELS["ITQ"].items()}
NEEDED = {L: [r[int(np.ceil(0.95 * len(r))) - 1] for r in PLACES[L]] for L in LENGTHS}
print("ITQ    list needed for 95 % among   1,000  2,000  4,000 items   kB read, by Eq. (5)")
for L, needed in NEEDED.items():
    C = SIZES[-1] * L / 8 + needed[-1] * 4 * database.shape[1]
    print(f"{L:3} bits {'':26}", *(f"{n:6}" for n in needed), f"{C / 1e3:18.0f}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
n = np.arange(10, 501)
for (L, needed), marker in zip(NEEDED.items(), "osD^v"):
    ranks = PLACES[L][-1]
    values = 100 * np.searchsorted(ranks, n, side="right") / len(ranks)  # 10-recall@n
    _ = axes[0].plot(n, values, label=f"{L} bits")
    _ = axes[1].plot(SIZES, needed, marker=marker, label=f"{L} bits")
_ = axes[0].axhline(95, color="0.6", lw=1)
_ = axes[0].set(xscale="log", xlabel="length of the list, $n$", title="10-recall@$n$ of ITQ (%)")
_ = axes[0].set_xticks([10, 30, 100, 300], [10, 30, 100, 300])
_ = axes[1].set(xscale="log", yscale="log", xlabel="items in the database, $m$")
_ = axes[1].set(title="list needed for 95 %")
_ = axes[1].set_xticks(SIZES, SIZES)
_ = axes[1].set_yticks([30, 100, 300], [30, 100, 300])
for axis in (axes[0].xaxis, axes[1].xaxis, axes[1].yaxis):
    _ = axis.set_ticks([], minor=True)
_ = axes[0].legend(loc="lower right")
save_figure(fig, "19_bits")

# %% [markdown]
# On the left the curve to choose from; the grey line is what we want. On the right is what is easily forgotten: **the list grows with the database**. Four times as many items need a list twice as long at 16 bits, and hardly a longer one at 256. A short code has few distances to tell items apart, and strangers crowd into the list. So
#
# 1. measure on a database of the size that you will have, or extrapolate $n$ from three sizes;
# 2. take the $L$ with the smallest $C(L)$ that fits your memory; here 128 bits; 256 cost little more, 64 two fifths more;
# 3. repeat it with the real query, and with the rivals; from 32 bits on the choice of distance is worth about as much as a doubling of the bits.
#
# Equation (5) counts bytes as if all cost the same. On a disk a vector of the list costs a seek and a whole page, so the second term weighs more, and longer codes win.
#
# **What this page has not shown.** It searched 4,000 digits; the *order* of the rivals is the result, not their figures. One seed for each length. PQ got pixels in rows, without a rotation learned first, which often helps it. No data set of a million, no GPU, no inverted file in front of the scan. Notebook 18 has the curves by Hamming distance and of PQ for the embeddings of sentences.
#
# ## What we have now
#
# Search in two stages, (1); real queries against bits, (2) to (4); and a rule for the number of bits, (5). Exported to `bdnn.search`:
#
# | function | what it does |
# | --- | --- |
# | `rerank(query, vectors, candidates, k)` | Eq. (1), from an array or a memory-mapped file |
# | `nearest_asymmetric(H, packed, k, G)` | Eqs. (2) and (3) |
#
# ## Exercises
#
# **19.1** (in code) Put every item into the database twice, and look for the nearest one of 100 queries. Why may an exact search have recall 0? Judge it by distance instead.
#
# <details><summary>Hint</summary> Give <code>rerank</code> all rows as candidates, and look at which of two equal ones it takes. Let the search be a program that takes the other one. </details>
#
# **19.2** (in code) Write a function that fills the tables $T_j$ of Eq. (4) and adds up the look-ups. How far is it from $HB^\top$ for ITQ with 32 bits?
#
# <details><summary>Hint</summary> <code>unpack_codes</code> of the 256 bytes gives the corners $2v^{(i)}-1$; bits are packed lowest first. </details>
#
# **19.3** (in code) Train ITQ with 64 bits, and PQ with 8 bytes, on the first 2,000 items, and search only the other 2,000. How much of its lead has PQ lost?
#
# <details><summary>Hint</summary> The truth changes, too: <code>nearest_neighbours</code>. Train both on all 4,000 as well, and search the same 2,000. </details>
#
# **19.4** (on paper) Suppose that $n(L)=a\,L^{-s}$. Which $L$ makes (5) smallest? Fit $a$ and $s$ to the lists needed among 4,000 items, and say what happens to the best $L$ if the vectors are kept as bytes, $D$ in place of $4D$.
#
# <details><summary>Hint</summary> Set the derivative with respect to $L$ to zero. A straight line through $(\log L,\log n)$ gives $s$. </details>
#
# Solutions: `solutions/19_solutions`.
#
# ## Further reading
#
# * H. Jégou, M. Douze, C. Schmid, *Product quantization for nearest neighbor search*, PAMI 2011: pieces, tables, and asymmetric distances.
# * A. Gordo, F. Perronnin, Y. Gong, S. Lazebnik, *Asymmetric distances for binary embeddings*, PAMI 2014: real queries against bits, for many methods.
# * F. André, A.-M. Kermarrec, N. Le Scouarnec, *Cache locality is not enough: high-performance nearest neighbor search with product quantization fast scan*, VLDB 2015.
# * Yu. A. Malkov, D. A. Yashunin, *Efficient and robust approximate nearest neighbor search using hierarchical navigable small world graphs*, PAMI 2020: HNSW.
# * M. Aumüller, E. Bernhardsson, A. Faithfull, *ANN-Benchmarks*, Information Systems 2020: recall against queries per second, for all engines.
