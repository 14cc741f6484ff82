"""bdnn.files: writes that happen whole or not at all, and what a model file may hold."""

import os
import subprocess
import sys

import numpy as np
import pytest

import bdnn
from bdnn.files import atomic_path, check_writable, only_writer, versions


@pytest.fixture
def X():
    return np.random.default_rng(0).normal(size=(60, 7)).astype(np.float32)


@pytest.fixture
def fitted(X):
    return bdnn.ITQ(n_bits=5).fit(X)


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


def test_one_writer_at_a_time(tmp_path):
    for _ in range(2):  # what fails does not stand in the way of the next
        with pytest.raises(ZeroDivisionError), only_writer(tmp_path / "a"):
            (tmp_path / "link").symlink_to("a")
            for name in ("a", "link"):
                with pytest.raises(FileExistsError, match=f"{name} is .* another command"):
                    with only_writer(tmp_path / name):
                        pass
            (tmp_path / "link").unlink()
            raise ZeroDivisionError
    assert not os.listdir(tmp_path)


def test_a_rename_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def refused(source, target):
        raise PermissionError(13, "refused")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(PermissionError, match="refused"):
        write(tmp_path / "file")
    assert not os.listdir(tmp_path)


WRITE = """
import sys
from bdnn.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_the_next_write_clears_what_a_killed_one_left(tmp_path):
    (tmp_path / "other").write_text("of somebody else")
    line, pipe = [sys.executable, "-c", WRITE, str(tmp_path / "file")], subprocess.PIPE
    with subprocess.Popen(line, stdin=pipe, stdout=pipe) as process:
        assert process.stdout.read(7) == b"writing"
        write(tmp_path / "file")  # while the other lives
        assert len(os.listdir(tmp_path)) == 3
        process.kill()
    assert len(os.listdir(tmp_path)) == 3
    write(tmp_path / "another")
    assert len(os.listdir(tmp_path)) == 4
    write(tmp_path / "file")
    assert sorted(os.listdir(tmp_path)) == ["another", "file", "other"]


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


@pytest.mark.parametrize(
    "path, error",
    [("", FileNotFoundError), ("no/such/file", FileNotFoundError), (".", IsADirectoryError)],
)
def test_a_file_that_cannot_be_written_is_told_before_the_work(path, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        check_writable(path)
    check_writable("no/such/file", make_folders=True)
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


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a model at all", b"\x80\x04K\x01."])
def test_loading_a_foreign_file(tmp_path, content):
    path = tmp_path / "model.bdnn"
    path.write_bytes(content)
    with pytest.raises(bdnn.ModelFileError, match="model.bdnn"):
        bdnn.load(path)


def test_a_model_of_a_class_that_could_not_be_loaded_is_not_saved(tmp_path, X):
    class Stranger(bdnn.ITQ):
        pass

    with pytest.raises(TypeError, match="Stranger"):
        Stranger(n_bits=4).fit(X).save(tmp_path / "model.bdnn")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("bad", [{1, 2}, [1, {"a": b"bytes"}], np.array([None, len])])
def test_what_cannot_be_saved_is_named(tmp_path, fitted, bad):
    fitted.extra_ = bad
    with pytest.raises(TypeError, match="extra_|a holds"):
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
