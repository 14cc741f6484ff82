"""bdnn.base: packing, checks, saving and loading, and the face that scikit-learn expects."""

import json
import os

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

import bdnn
from bdnn.checks import as_generator, check_number, check_option, check_whole_number
from bdnn.files import atomic_path, versions
from bdnn.metrics import pack_codes, sgn, unpack_codes
from bdnn.sources import BLOCK


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(60, 7)).astype(np.float32)


@pytest.fixture
def fitted(X):
    return bdnn.ITQ(n_bits=5, random_state=0).fit(X)


def test_sgn_of_zero_is_plus_one():
    np.testing.assert_array_equal(sgn([[-2.0, -0.0, 0.0, 3.0]]), [[-1, 1, 1, 1]])
    assert sgn([0.0]).dtype == np.int8


def test_packing_by_hand():
    codes = np.array([[1, -1, -1, -1, -1, -1, -1, -1, -1, 1]])
    np.testing.assert_array_equal(pack_codes(codes), [[1, 2]])


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_packing_round_trip(n_bits, n_samples, seed):
    codes = sgn(np.random.default_rng(seed).normal(size=(n_samples, n_bits)))
    packed = pack_codes(codes)
    assert packed.shape == (n_samples, -(-n_bits // 8))
    np.testing.assert_array_equal(unpack_codes(packed, n_bits), codes)


def test_unpacking_more_bits_than_there_are():
    with pytest.raises(ValueError, match="n_bits=9 does not fit 1 bytes"):
        unpack_codes(np.zeros((2, 1), np.uint8), 9)


def test_generators_of_every_kind():
    assert as_generator(3).integers(1000) == as_generator(3).integers(1000)
    generator = np.random.default_rng(0)
    assert as_generator(generator) is generator
    state = np.random.RandomState(4)
    assert isinstance(as_generator(state), np.random.Generator)


def test_checks_of_parameters():
    check_option("form", "a", ("a", "b"))
    check_whole_number("n", np.int64(3), 1)
    check_number("x", np.float32(0), 0)
    with pytest.raises(ValueError, match="form='c' is not known; choose one of 'a', 'b'"):
        check_option("form", "c", ("a", "b"))
    for bad in (0, 1.5, True, "3", None):
        with pytest.raises(ValueError, match="n must be a whole number of at least 1"):
            check_whole_number("n", bad, 1)
    for bad in (-1, np.nan, np.inf, "0", None, False):
        with pytest.raises(ValueError, match="x must be a finite number of at least 0"):
            check_number("x", bad)


def test_versions_name_what_decides_the_numbers():
    assert {"python", "numpy", "scipy", "scikit-learn"} <= set(versions())


def test_atomic_path_writes_whole_or_not_at_all(tmp_path):
    target = tmp_path / "file"
    with atomic_path(target) as temporary:
        temporary.write_text("first")
    with pytest.raises(OSError), atomic_path(target) as temporary:
        temporary.write_text("half of the sec")
        raise OSError("no space left")
    assert target.read_text() == "first"
    assert os.listdir(tmp_path) == ["file"]


def write(path, text="new"):
    with atomic_path(path) as temporary:
        temporary.write_text(text)


def test_a_rename_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def refused(source, target):
        raise PermissionError(13, "refused")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(PermissionError, match="refused"):
        write(tmp_path / "file")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("there", [True, False])
def test_the_target_of_a_link_is_written(tmp_path, there):
    folder = tmp_path / "folder"
    folder.mkdir()
    target, link = folder / "target", tmp_path / "link"
    if there:
        target.write_text("old")
    link.symlink_to("folder/target")
    write(link)
    assert link.is_symlink() and target.read_text() == "new" and not target.is_symlink()
    assert os.listdir(folder) == ["target"]


@pytest.mark.skipif(os.name == "nt", reason="files of POSIX")
def test_what_is_no_file_is_refused_before_the_work(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    before = {path: path.lstat() for path in tmp_path.iterdir()}
    for name in ("pipe", "loop", os.devnull):
        with pytest.raises(OSError, match=f"{name} is not a regular file"):
            atomic_path(tmp_path / name)
    for name in ("folder", "link", "."):
        with pytest.raises(IsADirectoryError, match=str(tmp_path / name)):
            atomic_path(tmp_path / name)
    assert {path: path.lstat() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("n_bits", [0, -1, 2.5, "8", None, True])
def test_number_of_bits(X, n_bits):
    with pytest.raises(ValueError, match="n_bits must be a whole number of at least 1"):
        bdnn.ITQ(n_bits=n_bits).fit(X)


def test_more_bits_than_samples(X):
    with pytest.raises(ValueError, match="n_bits=12 is more than n_samples = 10 allow"):
        bdnn.ITQ(n_bits=12).fit(X[:10])


@pytest.mark.parametrize("dtype", ["float16", "int8", "nonsense", None, int])
def test_dtype(X, dtype):
    with pytest.raises(ValueError, match="dtype=.* is not known; choose one of 'float32'"):
        bdnn.ITQ(n_bits=4, dtype=dtype).fit(X)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite(X, fitted, value):
    X[3, 2] = value
    with pytest.raises(ValueError, match="NaN|infinity"):
        bdnn.ITQ(n_bits=4).fit(X)
    with pytest.raises(ValueError, match="NaN|infinity"):
        fitted.transform(X)


def test_unfitted_and_mismatched(X, fitted):
    with pytest.raises(ValueError, match="not fitted yet"):
        bdnn.ITQ().transform(X)
    with pytest.raises(ValueError, match="X has 3 features, but ITQ is expecting 7"):
        fitted.transform(X[:, :3])


def test_the_three_outputs_agree(X, fitted):
    H, codes, packed = fitted.decision_function(X), fitted.transform(X), fitted.encode(X)
    assert H.dtype == np.float32 and codes.dtype == np.int8 and packed.dtype == np.uint8
    np.testing.assert_array_equal(codes, sgn(H))
    np.testing.assert_array_equal(packed, pack_codes(codes))
    np.testing.assert_array_equal(codes, fitted.codes_)


def test_blocks_of_rows_give_the_same_codes(X, fitted):
    many = np.tile(X, (BLOCK // len(X) + 2, 1))
    assert len(many) > BLOCK
    codes = fitted.transform(many)
    np.testing.assert_array_equal(codes, np.tile(codes[: len(X)], (len(many) // len(X), 1)))


def test_feature_names_out(fitted):
    assert list(fitted.get_feature_names_out()) == [f"itq{k}" for k in range(5)]


def test_feature_names_out_are_those_of_what_was_learned(X, fitted):
    fitted.set_params(n_bits=3)
    assert len(fitted.get_feature_names_out()) == fitted.transform(X).shape[1] == 5
    with pytest.raises(ValueError, match="not fitted yet"):
        bdnn.ITQ().get_feature_names_out()


def test_a_training_that_fails_keeps_the_names_of_the_features(X):
    class Broken(bdnn.ITQ):
        def _fit(self, X, y):
            raise KeyboardInterrupt

    broken, table = Broken(n_bits=4), pandas.DataFrame(X, columns=list("abcdefg"))
    with pytest.raises(KeyboardInterrupt):
        broken.fit(table)
    assert list(broken.feature_names_in_) == list("abcdefg")


def test_save_and_load(tmp_path, X, fitted):
    path = tmp_path / "model.bdnn"
    fitted.save(path)
    loaded = bdnn.load(path)
    assert type(loaded) is bdnn.ITQ
    assert loaded.get_params() == fitted.get_params()
    np.testing.assert_array_equal(loaded.decision_function(X), fitted.decision_function(X))
    np.testing.assert_array_equal(loaded.codes_, fitted.codes_)
    assert loaded.history_ == fitted.history_
    assert clone(loaded).get_params() == fitted.get_params()


def test_saving_before_fitting(tmp_path):
    with pytest.raises(ValueError, match="not fitted yet"):
        bdnn.ITQ().save(tmp_path / "model.bdnn")
    assert not os.listdir(tmp_path)


def test_a_failed_save_keeps_the_old_file(tmp_path, fitted, monkeypatch):
    path = tmp_path / "model.bdnn"
    fitted.save(path)
    before = path.read_bytes()

    def full_disk(file, **arrays):
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space left"):
        fitted.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.bdnn"]


def test_loading_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        bdnn.load(tmp_path / "nothing")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a model at all", b"\x80\x04K\x01."])
def test_loading_a_foreign_file(tmp_path, content):
    path = tmp_path / "model.bdnn"
    path.write_bytes(content)
    with pytest.raises(bdnn.ModelFileError, match="is not a bdnn model, or was damaged"):
        bdnn.load(path)


def test_loading_another_npz(tmp_path):
    np.savez(tmp_path / "other.npz", X=np.zeros(3))
    with pytest.raises(bdnn.ModelFileError, match="is not a bdnn model"):
        bdnn.load(tmp_path / "other.npz")


def test_every_damaged_byte_is_noticed_or_harmless(tmp_path, X, fitted):
    path = tmp_path / "model.bdnn"
    fitted.save(path)
    whole = path.read_bytes()
    H = fitted.decision_function(X)
    refused = 0
    for at in np.random.default_rng(1).integers(len(whole), size=300):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        path.write_bytes(damaged)
        try:
            loaded = bdnn.load(path)
        except bdnn.ModelFileError:
            refused += 1
        else:
            np.testing.assert_array_equal(loaded.decision_function(X), H)
    assert refused > 200


def test_a_changed_number_fails_the_checksum(tmp_path, fitted):
    path = tmp_path / "model.bdnn"
    fitted.save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays["header"]))
    header["params"]["items"]["n_iter"] = 7
    arrays["header"] = np.array(json.dumps(header))
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    with pytest.raises(bdnn.ModelFileError, match="checksum does not match"):
        bdnn.load(path)


def test_a_model_of_a_class_that_could_not_be_loaded_is_not_saved(tmp_path, X):
    class Stranger(bdnn.ITQ):
        pass

    with pytest.raises(TypeError, match="class 'Stranger' is not part of bdnn"):
        Stranger(n_bits=4).fit(X).save(tmp_path / "model.bdnn")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("bad", [{1, 2}, [1, {"a": b"bytes"}], np.array([None, len])])
def test_what_cannot_be_saved_is_named(tmp_path, fitted, bad):
    fitted.extra_ = bad
    with pytest.raises(TypeError, match="(extra_|a) holds a .*, which cannot be saved"):
        fitted.save(tmp_path / "model.bdnn")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "state", [np.random.default_rng(0), np.random.RandomState(0), np.random.SeedSequence(0), None]
)
def test_a_model_made_with_any_source_of_random_numbers(tmp_path, X, state):
    fitted = bdnn.ITQ(n_bits=4, random_state=state).fit(X)
    fitted.save(tmp_path / "model.bdnn")
    loaded = bdnn.load(tmp_path / "model.bdnn")
    assert loaded.random_state is None
    np.testing.assert_array_equal(loaded.codes_, fitted.codes_)


def test_files_get_the_usual_permissions(tmp_path, fitted):
    fitted.save(tmp_path / "model.bdnn")
    (tmp_path / "plain").write_text("")
    modes = [(tmp_path / name).stat().st_mode for name in ("model.bdnn", "plain")]
    assert modes[0] == modes[1]
