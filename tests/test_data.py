"""Data sets: splits, ground truth, files of one's own, and downloads that go wrong."""

import gzip
import hashlib
import io
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from sklearn.datasets import load_digits
from test_readers import write_fvecs

from bdnn import data
from bdnn.data import load, nearest_neighbours


def slow_neighbours(query, database, k):
    """The definition, one query at a time: smallest (squared distance, row) pairs first."""
    found = []
    for q in query.astype(np.float64):
        distance = ((database.astype(np.float64) - q) ** 2).sum(axis=1)
        found.append(sorted(range(len(database)), key=lambda i: (distance[i], i))[:k])
    return np.array(found)


@pytest.fixture(scope="module")
def packaged():
    """The sets that ship in packages, as they come."""
    return {name: load(name) for name in ("digits", "mnist5k")}


def sorted_rows(rows):
    return rows[np.lexsort(rows.T)]


def rows_with_labels(d):
    """Every sample of a set with its label, sorted."""
    y = np.concatenate([d.labels.train, d.labels.query])
    return sorted_rows(np.column_stack([y, np.vstack([d.train, d.query])]))


@pytest.fixture
def no_big_data(tmp_path, monkeypatch):
    """Nothing in BDNN_DATA, and a cache that is empty."""
    monkeypatch.setenv("BDNN_DATA", str(tmp_path / "no data"))
    monkeypatch.setenv("BDNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- nearest neighbours ---------------------------------------------------------------------


def test_neighbours_of_a_case_known_by_hand():
    database = np.array([[0.0], [3.0], [1.0], [-1.0], [3.0]])
    assert nearest_neighbours([[0.0]], database, 5).tolist() == [[0, 2, 3, 1, 4]]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_neighbours_equal_the_definition_with_many_ties(seed, dtype):
    rng = np.random.default_rng(seed)
    database = rng.integers(0, 4, size=(200, 6)).astype(dtype)
    query = rng.integers(0, 4, size=(17, 6)).astype(dtype)
    found = nearest_neighbours(query, database, 20)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, slow_neighbours(query, database, 20))


def test_neighbours_are_exact_where_float32_products_are_not():
    """Far from the origin, |x|^2 - 2 q'x in float32 cannot tell these distances apart."""
    rng = np.random.default_rng(0)
    database = (4096 + rng.integers(0, 3, size=(300, 64))).astype(np.float32)
    query = database[:20]
    rough = (database**2).sum(axis=1) - 2 * query @ database.T
    naive = np.argsort(rough, axis=1, kind="stable")[:, :10]
    true = slow_neighbours(query, database, 10)
    assert (naive != true).any()
    np.testing.assert_array_equal(nearest_neighbours(query, database, 10), true)


@pytest.mark.filterwarnings("ignore:.* queries more vectors are as near")
@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float32, (30, 3), elements=st.floats(-1e6, 1e6, width=32)),
    arrays(np.float32, (4, 3), elements=st.floats(-1e6, 1e6, width=32)),
    st.integers(1, 30),
)
def test_neighbours_equal_the_definition_on_any_floats(database, query, k):
    true = slow_neighbours(query, database, k)
    np.testing.assert_array_equal(nearest_neighbours(query, database, k), true)


@pytest.mark.filterwarnings("ignore:.* queries more vectors are as near")
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64])
def test_neighbours_in_a_file_are_those_of_the_array(dtype, tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    database = rng.integers(0, 9, (120, 5)).astype(dtype)  # with many ties
    query = rng.integers(0, 9, (30, 5)).astype(np.float32)
    np.save(tmp_path / "X.npy", database)
    monkeypatch.setattr(data, "BLOCK_ENTRIES", 170)  # seventeen rows
    for k in (1, 8, 40, 120):
        found = nearest_neighbours(query, np.load(tmp_path / "X.npy", mmap_mode="r"), k)
        np.testing.assert_array_equal(found, slow_neighbours(query, database, k))
    database[77] = np.inf if dtype in (np.float16, np.float32, np.float64) else 0
    if database[77, 0]:
        np.save(tmp_path / "X.npy", database)
        with pytest.raises(ValueError, match="finite"):
            nearest_neighbours(query, np.load(tmp_path / "X.npy", mmap_mode="r"), 3)


def test_neighbours_do_not_depend_on_the_size_of_a_block(monkeypatch):
    rng = np.random.default_rng(1)
    database, query = rng.standard_normal((90, 5)), rng.standard_normal((40, 5))
    whole = nearest_neighbours(query, database, 7)
    monkeypatch.setattr(data, "BLOCK_ENTRIES", 200)
    np.testing.assert_array_equal(nearest_neighbours(query, database, 7), whole)


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e15])
def test_neighbours_survive_tiny_and_large_values(scale):
    rng = np.random.default_rng(2)
    database = (scale * rng.standard_normal((50, 4))).astype(np.float32)
    query = (scale * rng.standard_normal((5, 4))).astype(np.float32)
    true = slow_neighbours(query, database, 6)
    np.testing.assert_array_equal(nearest_neighbours(query, database, 6), true)


@pytest.mark.parametrize(("k", "n_ties"), [(1, 3), (2, 0), (3, 3), (4, 0), (6, 0)])
def test_neighbours_warn_of_duplicates_at_the_last_distance(k, n_ties, recwarn):
    database = np.repeat(np.arange(3.0)[:, None] ** 2, 2, axis=0)
    nearest_neighbours(database[::2], database, k)
    assert [str(w.message)[:16] for w in recwarn] == ["for 3 of 3 queri"] * (n_ties > 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("where", ["query", "database"])
def test_neighbours_refuse_values_that_have_no_distance(bad, where):
    parts = {"query": np.ones((2, 3), np.float32), "database": np.ones((4, 3), np.float32)}
    parts[where][1, 1] = bad
    with pytest.raises(ValueError, match="finite"):
        nearest_neighbours(parts["query"], parts["database"], 2)


def test_neighbours_refuse_a_k_that_cannot_be():
    with pytest.raises(ValueError, match="database has 4 vectors"):
        nearest_neighbours(np.ones((2, 3)), np.ones((4, 3)), 5)
    for k in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="whole number"):
            nearest_neighbours(np.ones((2, 3)), np.ones((4, 3)), k)
    with pytest.raises(ValueError, match="do not fit"):
        nearest_neighbours(np.ones((2, 3)), np.ones((4, 2)), 1)


# --- the two sets that ship in packages -----------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "shape", "largest"),
    [("digits", (1500, 297, 64), (8, 8), 16), ("mnist5k", (4000, 1000, 784), (28, 28), 255)],
)
def test_shape_and_range_of_the_packaged_sets(name, sizes, shape, largest, packaged):
    d = packaged[name]
    assert (len(d.train), len(d.query), d.train.shape[1]) == sizes
    assert d.database is d.train
    for part in (d.train, d.query):
        assert part.dtype == np.float32 and part.flags.c_contiguous
        assert part.min() == 0 and part.max() == largest
    assert d.image_shape == shape and d.ground_truth == "knn50"
    assert d.relevant.shape == (len(d.query), 50)
    assert [len(y) for y in d.labels] == [len(d.train), len(d.database), len(d.query)]


def test_split_keeps_every_image_once_and_follows_the_classes(packaged):
    X, y = load_digits(return_X_y=True)
    source = np.column_stack([y, X]).astype(np.float32)
    np.testing.assert_array_equal(rows_with_labels(packaged["digits"]), sorted_rows(source))
    assert np.bincount(packaged["mnist5k"].labels.query).tolist() == 10 * [100]
    y = packaged["mnist5k"].labels.train  # the trap: the package sorts by class
    assert np.count_nonzero(np.diff(y)) > 3000  # in random order, 9 of 10 neighbours differ


def test_classes_of_unequal_size_are_held_out_in_proportion():
    d = load("digits", ground_truth=None)
    held, rest = (np.bincount(part) for part in (d.labels.query, d.labels.train))
    assert np.abs(held - 297 * (held + rest) / 1797).max() <= 1


def test_the_seed_decides_the_split():
    one, again, other = (load("digits", ground_truth=None, seed=s) for s in (3, 3, 4))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    np.testing.assert_array_equal(one.train, again.train)
    assert load("digits", ground_truth="labels", seed=3).fingerprint == one.fingerprint


def test_ground_truth_of_neighbours(packaged):
    for d in packaged.values():
        true = slow_neighbours(d.query[:20], d.database, 50)
        np.testing.assert_array_equal(d.relevant[:20], true)
    few = load("digits", n_neighbors=7)
    assert few.ground_truth == "knn7"
    np.testing.assert_array_equal(few.relevant, packaged["digits"].relevant[:, :7])


def test_ground_truth_of_labels_and_none():
    d = load("digits", ground_truth="labels")
    assert d.ground_truth == "labels"
    assert d.relevant[0] is d.labels.query and d.relevant[1] is d.labels.database
    d = load("digits", ground_truth=None)
    assert d.ground_truth == "none" and d.relevant is None


def test_n_query_and_repr():
    d = load("digits", n_query=100, n_neighbors=3)
    assert repr(d) == (
        "digits: 1,697 training vectors, the same as database, 100 queries, 64 dimensions, "
        "ground truth knn3"
    )
    for wrong in (0, 1797, 2.5, True):
        with pytest.raises(ValueError, match="n_query"):
            load("digits", n_query=wrong)


def test_wrong_names_and_options_list_the_right_ones():
    with pytest.raises(
        ValueError, match="digits, mnist5k, mnist, cifar10, cifar10-hog, sift, sift1m"
    ):
        load("mnits")
    with pytest.raises(ValueError, match="'knn', 'labels', None"):
        load("digits", ground_truth="knn50")
    with pytest.raises(ValueError, match="database has 1500 vectors"):
        load("digits", n_neighbors=1501)


def test_a_name_as_a_path():
    assert load(Path("digits")).fingerprint == load("digits").fingerprint


def test_a_dataset_cannot_be_changed_by_accident():
    d = load("digits", ground_truth=None)
    with pytest.raises(AttributeError):
        d.train = d.query


# --- one's own files ------------------------------------------------------------------------


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return rng.standard_normal((60, 5)), rng.integers(0, 3, size=60)


def test_npz_with_one_matrix(tmp_path, vectors):
    X, y = vectors
    np.savez(tmp_path / "mine.npz", X=X, y=y)
    d = load(tmp_path / "mine.npz", n_neighbors=4, n_query=12)
    assert d.name == "mine" and d.relevant.shape == (12, 4) and d.database is d.train
    rows = np.vstack([d.train, d.query])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(X.astype(np.float32), axis=0))
    label_of = {row.tobytes(): label for row, label in zip(X.astype(np.float32), y)}
    assert [label_of[row.tobytes()] for row in d.query] == d.labels.query.tolist()
    assert [label_of[row.tobytes()] for row in d.train] == d.labels.train.tolist()


def test_npy_of_images_without_labels(tmp_path):
    images = np.arange(40 * 6, dtype=np.uint8).reshape(40, 2, 3)
    np.save(tmp_path / "pictures.npy", images)
    d = load(str(tmp_path / "pictures.npy"), n_neighbors=2)
    assert d.image_shape == (2, 3) and d.labels is None
    assert d.train.shape == (36, 6) and d.query.shape == (4, 6)
    with pytest.raises(ValueError, match="no labels"):
        load(tmp_path / "pictures.npy", ground_truth="labels")


def test_npz_with_its_own_split(tmp_path, vectors):
    X, y = vectors
    parts = {"train": X[:30], "query": X[30:40], "train_labels": y[:30], "query_labels": y[30:40]}
    np.savez(tmp_path / "two.npz", **parts)
    d = load(tmp_path / "two.npz", n_neighbors=3, n_query=5)
    assert d.database is d.train
    np.testing.assert_array_equal(d.query, X[30:35].astype(np.float32))
    np.testing.assert_array_equal(d.labels.query, y[30:35])
    np.savez(tmp_path / "three.npz", **parts, database=X[40:], database_labels=y[40:].astype(str))
    d = load(tmp_path / "three.npz", n_neighbors=3)
    np.testing.assert_array_equal(d.database, X[40:].astype(np.float32))
    np.testing.assert_array_equal(d.labels.database, y[40:].astype(str))
    np.savez(tmp_path / "half.npz", train=X, query=X, train_labels=y)
    with pytest.raises(ValueError, match="none or all of train_labels, query_labels"):
        load(tmp_path / "half.npz")


def test_folder_of_fvecs_and_sift1m(tmp_path, vectors, monkeypatch):
    X = vectors[0].astype(np.float32)
    folder = tmp_path / "sift"
    folder.mkdir()
    parts = {"learn": X[:20], "base": X[20:50], "query": X[50:]}
    for part, rows in parts.items():
        write_fvecs(folder / f"sift_{part}.fvecs", rows)
    monkeypatch.setenv("BDNN_DATA", str(tmp_path))
    for name in (folder, "sift1m"):
        d = load(name, n_neighbors=3)
        for found, part in zip((d.train, d.database, d.query), parts.values()):
            np.testing.assert_array_equal(found, part)
    assert d.name == "sift1m"
    raw = (folder / "sift_base.fvecs").read_bytes()
    for damage in (raw[:-1], raw[:-4], raw[4:], b"", bytes(4) + raw[4:]):
        (folder / "sift_base.fvecs").write_bytes(damage)
        with pytest.raises(ValueError, match="sift_base.fvecs is damaged"):
            load(folder)
    (folder / "sift_base.fvecs").unlink()
    with pytest.raises(FileNotFoundError, match=r"\*_base.fvecs"):
        load(folder)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"X": np.array([[1.0, np.nan], [0.0, 1.0]])}, "NaN"),
        ({"X": np.array([[1.0, 1e300], [0.0, 1.0]])}, "float32"),
        ({"X": np.ones(5)}, "matrix of numbers"),
        ({"X": np.ones((0, 3))}, "matrix of numbers"),
        ({"X": np.array([["a", "b"]])}, "matrix of numbers"),
        ({"X": np.ones((3, 2)), "y": np.ones(4)}, "3 numbers or strings"),
        ({"X": np.ones((3, 2)), "y": 2 * np.eye(3)}, r"y \(3, 3\) must hold booleans, or only 0"),
        ({"X": np.ones((3, 2)), "y": np.eye(4)}, r"3 numbers or .*, got float64 \(4, 4\)"),
        ({"Z": np.ones((3, 2))}, "it holds Z"),
        ({"train": np.ones((3, 2)), "query": np.ones((3, 4))}, "number of columns"),
        ({"X": np.ones((1, 2))}, "bad holds one vector; queries and database need one each"),
        ({"X": np.ones((3, 2)), "y": np.array([1, np.nan, 2])}, "bad: y: no label in row 1; leave"),
        ({"X": np.ones((3, 2)), "y": np.array(["a", None, "b"])}, "objects.*astype"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, bad, message):
    np.savez(tmp_path / "bad.npz", **bad)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "bad.npz", n_neighbors=1)


@pytest.mark.parametrize("name", ["cifar10", "sift", "sift1m"])
def test_sets_that_are_not_downloaded_say_what_they_need(name, no_big_data):
    with pytest.raises(FileNotFoundError, match="BDNN_DATA") as error:
        load(name)
    assert "no data" in str(error.value)  # where it was looked for


# --- the protocol of Deep Hashing -----------------------------------------------------------


def test_deep_hashing_split_of_the_digits():
    d = load("digits", protocol="dh")
    assert np.bincount(d.labels.query).tolist() == 10 * [100]
    assert (len(d.train), len(d.query)) == (797, 1000) and d.database is d.train
    assert (d.protocol, d.ground_truth, d.image_shape) == ("dh", "labels", (8, 8))
    assert d.relevant[0] is d.labels.query and d.relevant[1] is d.labels.database
    assert repr(d).endswith("ground truth labels, protocol dh") and d.train.flags.c_contiguous
    assert d.description == "Handwritten digits of scikit-learn, pixels 0..16; " + (
        "100 random queries of each class."
    )
    bdnn = load("digits", ground_truth=None)
    assert bdnn.protocol == "bdnn" and "protocol" not in repr(bdnn)
    np.testing.assert_array_equal(rows_with_labels(d), rows_with_labels(bdnn))
    for y in (d.labels.query, d.labels.train):  # in random order, not class by class
        assert np.count_nonzero(np.diff(y)) > 0.8 * len(y)


def test_the_seed_decides_the_deep_hashing_split(tmp_path):
    one, again, other = (load("digits", protocol="dh", seed=s) for s in (3, 3, 4))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    X = np.arange(420, dtype=np.float32).reshape(-1, 1)
    y = np.repeat(["a", "b"], [105, 315])
    parts = {"train": X[::2], "query": X[1::2], "train_labels": y[::2], "query_labels": y[1::2]}
    np.savez(tmp_path / "two.npz", **parts)  # a set that comes split: pooled, then drawn
    draws = [load(tmp_path / "two.npz", protocol="dh", seed=seed) for seed in range(20)]
    times = np.bincount(np.concatenate([d.query.ravel() for d in draws]).astype(int), minlength=420)
    assert times[:105].sum() == times[105:].sum() == 2000
    assert times.min() < 3 and times.max() == 20 and len({d.fingerprint for d in draws}) == 20
    for d in draws:
        np.testing.assert_array_equal(d.labels.query, np.where(d.query[:, 0] < 105, "a", "b"))
        np.testing.assert_array_equal(d.labels.train, np.where(d.train[:, 0] < 105, "a", "b"))
        assert set(d.query.ravel()).isdisjoint(d.train.ravel()) and len(d.train) == 220


def test_deep_hashing_split_with_neighbours():
    d = load("digits", protocol="dh", ground_truth="knn", n_neighbors=5)
    assert (d.protocol, d.ground_truth) == ("dh", "knn5")
    np.testing.assert_array_equal(d.relevant[:9], slow_neighbours(d.query[:9], d.database, 5))


def test_deep_hashing_split_says_what_is_missing(tmp_path, vectors):
    X, y = vectors
    with pytest.raises(ValueError, match="n_query does not go with protocol='dh'"):
        load("digits", protocol="dh", n_query=100)
    with pytest.raises(ValueError, match="protocol='DH'.*'bdnn', 'dh'"):
        load("digits", protocol="DH")
    np.savez(tmp_path / "bare.npz", X=X)
    with pytest.raises(ValueError, match="bare has no labels; protocol='dh'"):
        load(tmp_path / "bare.npz", protocol="dh")
    np.savez(tmp_path / "few.npz", X=np.arange(201.0)[:, None], y=np.repeat([3, 7], [101, 100]))
    with pytest.raises(ValueError, match="class 7 of few has 100 samples"):
        load(tmp_path / "few.npz", protocol="dh")
    np.savez(tmp_path / "enough.npz", X=np.arange(202.0)[:, None], y=np.repeat([3, 7], 101))
    assert load(tmp_path / "enough.npz", protocol="dh").train.shape == (2, 1)
    parts = {part: X for part in ("train", "query", "database")}
    labels = {f"{part}_labels": y for part in parts}
    np.savez(tmp_path / "three.npz", **parts, **labels)
    with pytest.raises(ValueError, match="three comes with a database apart"):
        load(tmp_path / "three.npz", protocol="dh")


# --- the cache of neighbours ----------------------------------------------------------------


@pytest.fixture
def kept(no_big_data, monkeypatch):
    """Every set counts as large, and the searches are counted."""
    searches = []
    search = data.nearest_neighbours

    def counted(*args):
        searches.append(args)
        return search(*args)

    monkeypatch.setattr(data, "KEEP_NEIGHBOURS_FROM", 0)
    monkeypatch.setattr(data, "nearest_neighbours", counted)
    return no_big_data, searches


def test_costly_neighbours_are_found_once(kept):
    cache, searches = kept
    first, second = load("digits"), load("digits")
    np.testing.assert_array_equal(first.relevant, second.relevant)
    assert len(searches) == 1 and len(list(cache.iterdir())) == 1
    load("digits", n_neighbors=49)
    load("digits", seed=1)
    assert len(searches) == 3 and len(list(cache.iterdir())) == 3


def test_damaged_neighbours_are_found_again(kept):
    cache, searches = kept
    whole = load("digits").relevant
    (path,) = cache.iterdir()
    raw = path.read_bytes()
    middle = len(raw) // 2
    flipped = raw[:middle] + bytes([raw[middle] ^ 1]) + raw[middle + 1 :]
    for bad in (b"", raw[:20], raw[:-4], flipped):
        path.write_bytes(bad)
        np.testing.assert_array_equal(load("digits").relevant, whole)
        assert path.read_bytes() == raw
    assert len(searches) == 5


def test_a_cache_that_cannot_be_written_is_only_a_warning(kept, tmp_path):
    (tmp_path / "a file").write_text("")
    with pytest.warns(UserWarning, match="could not be kept"):
        d = load("digits", data_home=tmp_path / "a file")
    assert d.relevant.shape == (297, 50)


# --- downloads ------------------------------------------------------------------------------


def idx(array):
    header = bytes([0, 0, 8, array.ndim])
    return header + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


@pytest.fixture(scope="module")
def small_mnist():
    """Four small idx files in MNIST's form, with their digests."""
    rng = np.random.default_rng(5)
    contents = [
        rng.integers(0, 256, size=(60, 28, 28), dtype=np.uint8),
        rng.integers(0, 10, size=60, dtype=np.uint8),
        rng.integers(0, 256, size=(12, 28, 28), dtype=np.uint8),
        rng.integers(0, 10, size=12, dtype=np.uint8),
    ]
    packed = dict(zip(data.MNIST_FILES, (gzip.compress(idx(part), mtime=0) for part in contents)))
    digests = {file: hashlib.sha256(raw).hexdigest() for file, raw in packed.items()}
    return contents, packed, digests


class Mirror(BaseHTTPRequestHandler):
    """Serves /good/FILE whole; the other folders go wrong as their names say."""

    def do_GET(self):
        _, folder, file = self.path.split("/")
        self.server.asked.append((folder, file))
        body = self.server.packed[file]
        if folder == "missing":
            self.send_error(404)
            return
        if folder == "altered":
            body = body[:30] + bytes([body[30] ^ 1]) + body[31:]
        if folder == "page":
            body = b"<html>please log in</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if folder == "cut" else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(small_mnist, no_big_data, monkeypatch):
    """Set the addresses of MNIST to folders of a server on this machine."""
    _, packed, digests = small_mnist
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.packed, server.asked = packed, []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(data, "MNIST_FILES", digests)

    def use(*folders):
        ports = {"dead": 9}  # nothing listens there
        addresses = [
            f"http://127.0.0.1:{ports.get(folder, server.server_port)}/{folder}/"
            for folder in folders
        ]
        monkeypatch.setattr(data, "MNIST_ADDRESSES", tuple(addresses))
        return server

    yield use
    server.shutdown()
    thread.join()
    server.server_close()


def check_small_mnist(d, small_mnist):
    (train, y_train, query, y_query), _, _ = small_mnist
    np.testing.assert_array_equal(d.train, train.reshape(60, 784))
    np.testing.assert_array_equal(d.query, query.reshape(12, 784))
    np.testing.assert_array_equal(d.labels.train, y_train)
    np.testing.assert_array_equal(d.labels.query, y_query)


def test_download_and_then_the_cache(mirror, small_mnist, no_big_data):
    server = mirror("good", "missing")
    check_small_mnist(load("mnist"), small_mnist)
    assert server.asked == [("good", file) for file in data.MNIST_FILES]
    mirror("dead", "dead")
    check_small_mnist(load("mnist", n_neighbors=3), small_mnist)
    assert sorted(p.name for p in (no_big_data / "mnist").iterdir()) == sorted(data.MNIST_FILES)


@pytest.mark.parametrize("trouble", ["missing", "altered", "page", "cut", "dead"])
def test_second_address_when_the_first_goes_wrong(trouble, mirror, small_mnist):
    server = mirror(trouble, "good")
    check_small_mnist(load("mnist"), small_mnist)
    assert [file for folder, file in server.asked if folder == "good"] == list(data.MNIST_FILES)


@pytest.mark.parametrize(
    ("first", "second"), [("missing", "altered"), ("page", "cut"), ("dead", "dead")]
)
def test_both_addresses_wrong(first, second, mirror, no_big_data):
    mirror(first, second)
    with pytest.raises(ConnectionError) as error:
        load("mnist")
    message = str(error.value)
    for part in (*data.MNIST_ADDRESSES, *data.MNIST_FILES, str(no_big_data / "mnist"), "mnist5k"):
        assert part in message
    assert list((no_big_data / "mnist").iterdir()) == []  # nothing half-made is left


def test_a_damaged_copy_in_the_cache_is_fetched_again(mirror, small_mnist, no_big_data):
    mirror("good", "missing")
    load("mnist")
    file = list(data.MNIST_FILES)[0]
    path = no_big_data / "mnist" / file
    whole = path.read_bytes()
    for bad in (b"", whole[:-10], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(bad)
        server = mirror("good", "missing")
        server.asked.clear()
        check_small_mnist(load("mnist"), small_mnist)
        assert server.asked == [("good", file)]
        assert path.read_bytes() == whole


def test_a_full_disk_leaves_nothing_half_made(mirror, no_big_data, monkeypatch):
    mirror("good", "good")

    def full(self, url, output_file, *args, **kwargs):
        Path(output_file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data.pooch.HTTPDownloader, "__call__", full)
    with pytest.raises(ConnectionError, match="No space left on device"):
        load("mnist")
    assert list((no_big_data / "mnist").iterdir()) == []


def test_two_fetch_at_once(mirror, small_mnist):
    mirror("good", "missing")
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(load, 2 * ["mnist"]):
            check_small_mnist(found, small_mnist)


def test_mnist_from_the_data_folder(small_mnist, tmp_path, monkeypatch):
    contents, _, _ = small_mnist
    monkeypatch.setenv("BDNN_DATA", str(tmp_path))
    images, labels = (np.concatenate([contents[i], contents[i + 2]]) for i in (0, 1))
    split = np.repeat([0, 1], [60, 12]).astype(np.uint8)
    np.savez(tmp_path / "mnist.npz", images=images, labels=labels, split=split)
    check_small_mnist(load("mnist"), small_mnist)
    assert len(load("mnist", n_query=5, n_neighbors=2).labels.query) == 5
    np.savez(tmp_path / "mnist.npz", images=images)
    with pytest.raises(ValueError, match="images, labels, split"):
        load("mnist")


# --- the real large sets, where they are ----------------------------------------------------


# --- the pixels of CIFAR-10


@pytest.fixture
def small_cifar(monkeypatch, no_big_data, tmp_path):
    """24 images in the form of the originals: the six files by name, images and labels."""
    pytest.importorskip("skimage")
    monkeypatch.setattr(data, "CIFAR10_BATCH", 4)
    monkeypatch.setenv("BDNN_DATA", str(tmp_path / "here"))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, 24).astype(np.uint8)
    records = np.column_stack([labels, images.transpose(0, 3, 1, 2).reshape(24, -1)])
    files = {f: r.tobytes() for f, r in zip(data.CIFAR10_FILES, np.split(records, 6))}
    return files, images, labels


def unpack(files):
    folder = data._data_folder() / data.CIFAR10_FOLDER
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


def check_small_cifar(d, images, labels):
    assert (d.train.shape, d.query.shape) == ((20, 324), (4, 324)) and d.database is d.train
    np.testing.assert_array_equal(np.r_[d.labels.train, d.labels.query], labels)
    np.testing.assert_allclose(np.r_[d.train, d.query], data._histograms(images))


def test_cifar10_of_the_original_files(small_cifar, monkeypatch):
    files, images, labels = small_cifar
    folder = unpack(files)
    d = load("cifar10-hog", n_neighbors=3)
    assert d.name == "cifar10-hog" and "JPEG" not in d.description
    check_small_cifar(d, images, labels)
    monkeypatch.setattr(data, "_histograms", None)  # they were kept
    assert load("cifar10-hog", n_query=2, n_neighbors=3).query.tolist() == d.query[:2].tolist()
    (folder / "test_batch.bin").write_bytes(files["test_batch.bin"][:-1])
    with pytest.raises(ValueError, match="cifar-10-batches-bin/test_batch.bin is damaged"):
        load("cifar10-hog")


def test_cifar10_is_downloaded_once(small_cifar, mirror, monkeypatch, no_big_data):
    files, images, labels = small_cifar
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for file, content in files.items():
            member = tarfile.TarInfo(f"{data.CIFAR10_FOLDER}/{file}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    server = mirror("good")
    server.packed["cifar-10-binary.tar.gz"] = packed.getvalue()
    address = f"http://127.0.0.1:{server.server_port}/good/cifar-10-binary.tar.gz"
    monkeypatch.setattr(data, "CIFAR10_ADDRESS", address)
    with pytest.raises(ConnectionError, match="SHA-256 differs(.|\n)*By hand: unpack it into"):
        load("cifar10-hog")
    monkeypatch.setattr(data, "CIFAR10_DIGEST", hashlib.sha256(packed.getvalue()).hexdigest())
    for _ in range(2):
        check_small_cifar(load("cifar10-hog", n_neighbors=3), images, labels)
    assert len(server.asked) == 2  # the refused file and the good one


def test_cifar10_through_jpeg_says_so(small_cifar):
    _, images, labels = small_cifar
    files = []
    for image in images:
        Image.fromarray(image).save(file := io.BytesIO(), "JPEG")
        files.append(np.frombuffer(file.getvalue(), dtype=np.uint8))
    arrays = {"jpeg": np.concatenate(files), "labels": labels}
    arrays["offsets"] = np.cumsum([0, *map(len, files)])
    data._data_folder().mkdir()
    path = data._data_folder() / "cifar10_jpeg.npz"
    np.savez(path, **arrays)
    d = load("cifar10-hog", n_neighbors=3)
    assert d.name == "cifar10-hog-jpeg" and "JPEG" in d.description
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(file.tobytes()))) for file in files])
    check_small_cifar(d, decoded, labels)


def test_gradients_fall_into_the_bins_of_their_direction():
    pytest.importorskip("skimage")
    ramp = np.broadcast_to(4 * np.arange(32, dtype=np.uint8)[:, None, None], (32, 32, 3))
    flat, down, across = np.zeros_like(ramp), ramp, ramp.transpose(1, 0, 2)
    X = data._histograms(np.stack([flat, down, across])).reshape(3, -1, 9)
    assert np.all(X[0] == 0)
    for histogram, direction in ((X[1], 90), (X[2], 0)):
        share = histogram.sum(axis=0) / histogram.sum()
        assert share.argmax() == direction // 20 and share.max() > 0.99


def test_histograms_need_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'bdnn\[hog\]'"):
        data._histograms(np.zeros((1, 32, 32, 3), dtype=np.uint8))


def folder_with(file):
    if not (data._data_folder() / file).is_file():
        pytest.skip(f"{file} is not in BDNN_DATA")


def test_real_mnist_has_the_published_content():
    folder_with("mnist.npz")
    d = load("mnist", ground_truth="labels")
    assert (d.train.shape, d.query.shape) == ((60000, 784), (10000, 784))
    assert d.labels.train[:5].tolist() == [5, 0, 4, 1, 9]


def test_real_sift_agrees_with_its_own_ground_truth():
    folder_with("sift_bsds.npz")
    d = load("sift", n_query=20, n_neighbors=100)
    with np.load(data._data_folder() / "sift_bsds.npz") as archive:
        np.testing.assert_array_equal(d.relevant, archive["groundtruth"][:20])
    assert (len(d.train), len(d.database)) == (100000, 300000)
