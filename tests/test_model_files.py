"""Model files that were damaged or forged: refused with a message, or read as what was saved."""

import ast
import copy
import io
import json
import os
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import bdnn
from bdnn.files import BEFORE, CHECKPOINT_FORMAT, _digest

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 5)), np.arange(40) % 2
MUTATIONS = 10_000
DANGEROUS = ("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen")
SEEN = []


@contextmanager
def watched():
    """Raise if the block unpickled something or started a program."""
    if not SEEN:  # an audit hook stays for ever: it is set once
        SEEN.append("watching")
        sys.addaudithook(lambda event, _: SEEN.append(event) if event in DANGEROUS else None)
    before = len(SEEN)
    yield
    assert SEEN[before:] == []


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Bytes of a small model file of every class, by name."""
    folder = tmp_path_factory.mktemp("models")
    for name in zoo.SETTINGS:
        zoo.make(name).fit(X, Y).save(folder / name)
    return {name: (folder / name).read_bytes() for name in zoo.SETTINGS}


def state(estimator):
    """Everything that makes an estimator what it is, as text."""
    return type(estimator).__name__, repr(sorted(vars(estimator).items()))


def mutate(whole, rng):
    """The bytes with one thing changed, as transfers, disks and editors change files."""
    data, at = bytearray(whole), int(rng.integers(len(whole)))
    length = int(rng.integers(1, 40))
    piece = slice(at, at + length)
    kind = rng.integers(8)
    if kind == 0:
        data[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        data[piece] = rng.bytes(len(data[piece]))
    elif kind == 2:
        del data[at:]
    elif kind == 3:
        del data[piece]
    elif kind == 4:
        data[at:at] = rng.bytes(length)
    elif kind == 5:
        data[piece] = bytes(len(data[piece]))
    elif kind == 6:
        data += rng.bytes(length)
    else:
        other = int(rng.integers(len(whole)))
        data[piece] = whole[other : other + length].ljust(len(data[piece]))[: len(data[piece])]
    return bytes(data)


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_mutations(part, saved, tmp_path, record_property):
    """10,000 damaged files in all: each is refused, or read as exactly what was saved."""
    rng = np.random.default_rng(part)
    path = tmp_path / "model.bdnn"
    originals = {}
    for name, whole in saved.items():
        path.write_bytes(whole)
        originals[name] = state(bdnn.load(path))
    refused = 0
    with watched():
        for k in range(MUTATIONS // 2):
            name = list(saved)[k % len(saved)]
            path.write_bytes(mutate(saved[name], rng))
            try:
                found = bdnn.load(path)
            except bdnn.ModelFileError as error:
                assert str(path) in str(error)
                refused += 1
            else:
                assert state(found) == originals[name]
    assert refused > 0.8 * MUTATIONS / 2
    record_property("mutations", MUTATIONS // 2)


def forge(whole, path, change_header=None, change_arrays=None, seal=True):
    """Write a well-formed archive whose content was changed, with a checksum that is right."""
    with np.load(io.BytesIO(whole)) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop("header")))
    if change_arrays:
        change_arrays(arrays)
    if change_header:
        header = change_header(header) or header
    if seal:
        header.pop("digest", None)
        header["digest"] = _digest(header, arrays)
    with open(path, "wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)


def changed(*keys, to):
    """A change of the header at a path of keys."""

    def change(header):
        place = header
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return change


def without(key):
    return lambda header: {name: value for name, value in header.items() if name != key}


FORGED = {
    "a class that is not ours": changed("class", to="os.system"),
    "a class of another module": changed("class", to="subprocess.Popen"),
    "a function as class": changed("class", to="load"),
    "an error as class": changed("class", to="ModelFileError"),
    "a list as class": changed("class", to=["ITQ"]),
    "no class": without("class"),
    "no parameters": without("params"),
    "no state": without("state"),
    "a parameter more": changed("params", "items", "lambda9", to=1),
    "parameters that are a list": changed("params", to={"kind": "list", "items": [1]}),
    "parameters that are a number": changed("params", to=5),
    "state that is a list": changed("state", to={"kind": "list", "items": [1]}),
    "a method as state": changed("state", "items", "transform", to="x"),
    "a private name as state": changed("state", "items", "__class__", to="x"),
    "an array that is not there": changed(
        "state", "items", "W_", to={"kind": "array", "name": "q"}
    ),
    "a kind that is not known": changed("state", "items", "W_", to={"kind": "code"}),
    "no kind": changed("state", "items", "W_", to={"items": []}),
    "another format": changed("format", to="bdnn-model-99"),
    "the format of a checkpoint": changed("format", to=CHECKPOINT_FORMAT),
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_headers(kind, saved, tmp_path):
    """A right checksum proves no good will: a header is data, and never a name to be looked up."""
    path = tmp_path / "model.bdnn"
    forge(saved["ITQ"], path, FORGED[kind])
    with watched(), pytest.raises(bdnn.ModelFileError, match=str(path)):
        bdnn.load(path)


@pytest.mark.parametrize("before", BEFORE)
def test_files_of_the_version_before_are_told_from_damage(before, saved, tmp_path):
    """They hold networks in another form; the message says what to do."""
    path = tmp_path / "model.bdnn"
    forge(saved["UHBDNN"], path, changed("format", to=before))
    with pytest.raises(bdnn.ModelFileError, match=f"{path} .* 0.1.* train"):
        bdnn.load(path)


@pytest.mark.parametrize("text", ["", "5", "null", "{}", "[" * 100_000, '{"digest": 1}', "nan"])
def test_headers_of_other_kinds(text, tmp_path):
    path = tmp_path / "model.bdnn"
    with open(path, "wb") as file:
        np.savez(file, header=np.array(text))
    with pytest.raises(bdnn.ModelFileError, match="model"):
        bdnn.load(path)


def drop(arrays):
    arrays.pop("a0")


def enlarge(arrays):
    arrays["a0"] = arrays["a0"] * 2


def retype(arrays):
    arrays["a0"] = arrays["a0"].astype(np.float64)


def add(arrays):
    arrays["a99"] = np.zeros(3)


@pytest.mark.parametrize("change", [drop, enlarge, retype, add])
def test_arrays_that_the_checksum_does_not_know(change, saved, tmp_path):
    path = tmp_path / "model.bdnn"
    forge(saved["UHBDNN"], path, change_arrays=change, seal=False)
    with pytest.raises(bdnn.ModelFileError, match="checksum"):
        bdnn.load(path)


class Trap:
    """An object whose unpickling leaves a trace."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_pickles_are_never_opened(saved, tmp_path):
    path, sprung = tmp_path / "model.bdnn", tmp_path / "sprung"
    trap = np.array([Trap(sprung)], dtype=object)
    with np.load(io.BytesIO(saved["ITQ"])) as archive:
        arrays = dict(archive)
    for name in ("header", "a0", "another"):
        with open(path, "wb") as file:
            np.savez(file, allow_pickle=True, **(arrays | {name: trap}))
        with watched(), pytest.raises(bdnn.ModelFileError, match="model"):
            bdnn.load(path)
    np.save(tmp_path / "trap.npy", trap, allow_pickle=True)
    with watched(), pytest.raises(bdnn.ModelFileError):
        bdnn.load(tmp_path / "trap.npy")
    assert not sprung.exists()


def test_an_array_that_claims_to_be_larger_than_memory(saved, tmp_path):
    path = tmp_path / "model.bdnn"
    head = b"\x93NUMPY\x01\x00v\x00"
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", head + text.ljust(117) + b"\n")
    with pytest.raises(bdnn.ModelFileError):
        bdnn.load(path)


def test_names_that_point_outside_are_not_written_anywhere(saved, tmp_path):
    path = tmp_path / "in" / "model.bdnn"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../outside.npy", b"x")
        archive.writestr("/tmp/outside.npy", b"x")
    with pytest.raises(bdnn.ModelFileError):
        bdnn.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("name", list(zoo.SETTINGS))
def test_round_trip(name, saved, tmp_path):
    """The file holds everything: codes, outputs and history are those of what was saved."""
    path = tmp_path / "model.bdnn"
    path.write_bytes(saved[name])
    loaded, fitted = bdnn.load(path), zoo.make(name).fit(X, Y)
    np.testing.assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))
    np.testing.assert_array_equal(loaded.codes_, fitted.codes_)
    assert loaded.get_params() == fitted.get_params()
    assert vars(loaded).keys() == vars(fitted).keys()
    assert [row.keys() for row in loaded.history_] == [row.keys() for row in fitted.history_]
    loaded.save(tmp_path / "again.bdnn")
    assert state(bdnn.load(tmp_path / "again.bdnn")) == state(loaded)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int8, np.int64, bool, "<U3"]),
    hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
)


FITTED = bdnn.ITQ(4).fit(X)


@settings(max_examples=40)
@given(VALUES, ARRAYS)
def test_every_state_survives_the_file(value, array):
    """Whatever an estimator may have learned comes back with its type, shape and bytes."""
    model = copy.copy(FITTED)
    model.value_, model.nested_ = value, [array, {"a": (array, value)}]
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/m")
        loaded = bdnn.load(f"{folder}/m")
    assert loaded.value_ == value and type(loaded.value_) is type(value)
    for found in (loaded.nested_[0], loaded.nested_[1]["a"][0]):
        assert found.dtype == array.dtype and found.shape == array.shape
        assert found.tobytes() == array.tobytes()
    assert loaded.nested_[1]["a"][1] == value


FORBIDDEN = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "eval", "exec"}


@pytest.mark.parametrize(
    "path", sorted(Path(bdnn.__file__).parent.rglob("*.py")), ids=lambda p: p.stem
)
def test_no_pickle_in_the_library(path):
    """No module names what unpickles or executes, and every np.load refuses pickles."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = {getattr(node, key, None) for key in ("id", "attr", "module", "name")}
        allowed = {"eval"} if path.stem == "slips" else set()  # of its own table, not of a file
        assert not names & FORBIDDEN - allowed
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "np.load":
            assert {k.arg: ast.unparse(k.value) for k in node.keywords}["allow_pickle"] == "False"
