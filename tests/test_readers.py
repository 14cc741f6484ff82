"""bdnn.readers: files of one's own in every format; what is damaged or misleading is told."""

import io
import os
import re
import sys
import zipfile
from decimal import Decimal
from importlib.util import find_spec
from itertools import product

import numpy as np
import pandas
import pytest
from scipy.io import savemat
from scipy.sparse import csr_array

from bdnn import readers
from bdnn.data import load, nearest_neighbours
from bdnn.readers import READERS, read_vectors

READABLE = set(READERS) - {".hdf5", ".h5" if find_spec("h5py") is None else ""}


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return rng.standard_normal((60, 5)), rng.integers(0, 3, size=60)


def write_fvecs(path, X):
    rows = np.empty((len(X), X.shape[1] + 1), dtype="<f4")
    rows[:, 1:] = X
    rows.view("<i4")[:, 0] = X.shape[1]
    path.write_bytes(rows.tobytes())


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
    with pytest.raises(ValueError, match="holds vectors alone, no 'y'"):
        read_vectors(path, "y")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="mine.*is damaged"):
        read_vectors(path)


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
    for name, message in (("bad", "matrix of numbers that"), ("objects", "array of objects")):
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
    with pytest.raises(ValueError, match="no (column )?'embs'.* it has|holds .*emb, label, year"):
        read_vectors(path, vectors="embs")
    if ending == ".npz":
        d = load(path, labels="label", vectors="emb", ground_truth=None, n_query=6)
        assert d.train.shape == (54, X.shape[1])
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
    monkeypatch.setattr(readers, "READ_SECONDS", 0)
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
    near = [nearest_neighbours(X[:5].astype(float), A, 3) for A in (found, X.astype(float))]
    np.testing.assert_array_equal(*near)


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
    monkeypatch.setattr(readers, "find_spec", lambda name: None)
    (tmp_path / "a.h5").write_bytes(readers.HDF5_MARK)
    (tmp_path / "a.mat").write_bytes(bytes(512) + readers.HDF5_MARK)
    for name in ("a.h5", "a.mat"):
        with pytest.raises(ImportError, match=rf"{name} is read by h5py: pip install 'bdnn.hdf5.'"):
            read_vectors(tmp_path / name)


def test_vectors_and_labels_that_are_called_like_each_other(tmp_path, vectors):
    X = vectors[0].astype(np.float32)
    y = np.arange(len(X)) % 3
    np.savez(tmp_path / "turned.npz", y=X, X=y, other=y + 1)
    for labels in ("X", "other", None):
        found = read_vectors(tmp_path / "turned.npz", labels, vectors="y")
        np.testing.assert_array_equal(found[0], X)
        expected = {"X": y, "other": y + 1, None: None}[labels]
        np.testing.assert_array_equal(found[1], expected)


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
        ("1,2,3\n4,5,6\n", "first line, '1, 2, 3', is taken for a vector", 2, None),
        ("3,7,9\n4,5.5,6\n", "first line, '3, 7, 9', is taken for a vector", 2, None),
        (
            "a,id\n" + "".join(f"1,{k + k // 3}\n" for k in range(30)),
            "'id' seems to count",
            30,
            None,
        ),
    ],
    ids=["words", "counted names", "rising names", "counter"],
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


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *product(("y.npz", "y.npy"), ("column", "row", "one-hot", "several labels")),
        *(("y.mat", "row"), ("y.mat", "several labels")),
    ],
)
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
        ("NA,2,3\n4,5,6\n", "column '0' holds NaN, or nothing, in row 0"),
        ("name,2019,2020\nx,1,2\n", "column '0' does not hold numbers, but 'name' in row 0"),
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
def test_files_that_are_larger_than_the_memory(ending, tmp_path):
    path = tmp_path / f"large{ending}"
    shape = (2**40, 2**10)
    if ending == ".h5":
        with pytest.importorskip("h5py", reason="needs the extra `hdf5`").File(path, "w") as file:
            file.create_dataset("X", shape, "f4", chunks=(9, 9))  # no room on the disk
    else:
        head = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(raw := io.BytesIO(), head)
        if ending == ".npy":
            path.write_bytes(raw.getvalue())
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("X.npy", raw.getvalue())
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
        apart = {".mat", ".h5"} if name in ("nothing", "zip", "pickle") else set()  # take seconds
        for ending in READABLE - apart:
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
    with pytest.raises(ValueError, match="b.npz is damaged or not an .npz file: .* not a zip"):
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
