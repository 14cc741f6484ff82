"""Files: writes that happen whole or not at all, fitted models, checkpoints of a training.

A model and a checkpoint are .npz archives without pickle: a header in JSON, arrays, and a digest
over both, by which damage is found.
"""

import errno
import hashlib
import importlib
import importlib.metadata
import json
import mmap
import os
import platform
import secrets
import stat
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

fcntl = importlib.import_module("fcntl") if os.name == "posix" else None

if TYPE_CHECKING:
    from bdnn.hashing import Hasher

__all__ = [
    "Checkpoint", "ModelFileError", "StrPath", "atomic_path", "check_writable", "learned", "load",
    "only_writer", "release", "save", "show_versions", "versions",
]  # fmt: skip

StrPath = str | os.PathLike[str]
FORMAT, CHECKPOINT_FORMAT = "bdnn-model-2", "bdnn-checkpoint-2"
BEFORE = ("bdnn-model-1", "bdnn-checkpoint-1")
CHECKPOINT_SECONDS = 10  # a state is written this often at most
PACKAGES = ("numpy", "scipy", "scikit-learn", "matplotlib")
SPENT = (  # sources of random numbers, of which nothing is saved but what was made with them
    *(np.random.Generator, np.random.RandomState),
    *(np.random.BitGenerator, np.random.SeedSequence),
)


class ModelFileError(ValueError):
    """A file that is not a bdnn model, or one that was damaged on its way."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers, as a dict."""
    found = {"python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in PACKAGES}


def show_versions() -> None:
    """Print the versions in use on one line."""
    print(", ".join(f"{name} {version}" for name, version in versions().items()))


def check_writable(path: StrPath, make_folders: bool = False) -> None:
    """Raise an OSError now, and not after an hour, if no file can be written at ``path``.

    With ``make_folders`` the folder of the file may be missing.
    """
    if not os.fspath(path):
        raise FileNotFoundError("the file to write has an empty name")
    folder = atomic_path(path).path.parent
    while make_folders and not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder} for {path}")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is not writable")


class atomic_path:
    """Context manager for a write that happens whole or not at all.

    Gives a temporary path beside the target; renames it to the target when the block ends
    well, and removes it when the block or the renaming raises (a full disk, an interruption).
    What a process that was killed has left is removed by the next write to the same target.
    A link stays a link: the file that it names is written. A file that is replaced hands on its
    permissions. What exists and is no file is refused with an OSError before the block begins.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(os.path.realpath(path))
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        self.mode = None
        with suppress(FileNotFoundError):
            self.mode = os.lstat(self.path).st_mode  # an OSError for a name that is too long
        if self.mode is not None and not stat.S_ISREG(self.mode):
            raise OSError(f"{path} is not a regular file, and is not replaced: give another path")
        target = hashlib.sha256(os.fsencode(self.path.name)).hexdigest()[:16]
        self.temporary = self.path.with_name(f".{target}-{secrets.token_hex(8)}")

    def __enter__(self) -> Path:
        mark = self.temporary.name.partition("-")[0]
        for other in self.path.parent.glob(f"{mark}-*"):  # left by writes that were killed, perhaps
            if (lock := _lock(other)) is not None:
                other.unlink(missing_ok=True)
                os.close(lock)
        # for nobody else to read until it has the permissions of the target
        self.temporary.touch(0o666 if self.mode is None else 0o600)
        self.lock = _lock(self.temporary)
        return self.temporary

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                if self.mode is not None:
                    self.temporary.chmod(stat.S_IMODE(self.mode))
                os.replace(self.temporary, self.path)
        finally:
            if self.lock is not None:
                os.close(self.lock)
            self.temporary.unlink(missing_ok=True)


def _lock(path):
    """A descriptor of a file, locked as long as it is open, or None if a living process has it.

    None, too, on Windows: what a write that was killed has left stays there.
    """
    if fcntl is None:
        return None
    with suppress(OSError):
        file = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except OSError:
            os.close(file)
    return None


@contextmanager
def only_writer(path: StrPath) -> Iterator[None]:
    """Within it no other command reads ``path`` to write it anew: that would lose what one adds.

    Raises a FileExistsError if another command is within it.
    """
    lock = Path(f"{os.path.realpath(path)}.lock")
    try:
        lock.touch(exist_ok=False)
    except FileExistsError:
        told = f"{path} is being changed by another command: wait for it"
        raise FileExistsError(f"{told} (if none runs, remove {lock})") from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def release(X: Any) -> None:
    """Let go of what has been read of a file that is mapped for reading; it stays mapped."""
    if isinstance(X, np.memmap) and X.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        X._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def learned(estimator: "Hasher") -> dict[str, Any]:
    """What an estimator has learned, by name."""
    return {name: value for name, value in vars(estimator).items() if name.endswith("_")}


def save(estimator: "Hasher", path: StrPath) -> None:
    """Write a fitted estimator: `hashing.Hasher.save`."""
    if type(estimator).__name__ not in _known_classes():
        raise TypeError(
            f"class {type(estimator).__name__!r} is not part of bdnn, and load could not read the "
            "file: pickle an estimator of a class of your own"
        )
    arrays: dict[str, np.ndarray] = {}
    header = {
        "format": FORMAT,
        "class": type(estimator).__name__,
        "params": _encode(estimator.get_params(deep=False), arrays),
        "state": _encode(learned(estimator), arrays),
        "versions": versions(),
    }
    _write_archive(path, header, arrays)


def load(path: StrPath) -> "Hasher":
    """Read an estimator that its method `save` wrote.

    Raises a ModelFileError if the file is no model of bdnn, was damaged, or names a class that bdnn
    does not have; and a FileNotFoundError.
    """
    header, arrays = _read_archive(path, FORMAT, "model file")
    known = _known_classes()
    try:
        name, state = str(header["class"]), _decode(header["state"], arrays)
        if name not in known:
            raise ModelFileError(f"{path}: class {name!r} is not part of this bdnn")
        estimator = known[name](**_decode(header["params"], arrays))
        _check_learned(state)
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ModelFileError(f"{path} was saved by another version of bdnn: {error}") from error
    vars(estimator).update(state)
    return estimator


def _check_learned(names):
    """Raise a TypeError unless these are names of attributes that are learned."""
    if not all(key.endswith("_") and key[0] != "_" for key in names):
        raise TypeError(f"it has other names than those of what is learned: {[*names]}")


def _known_classes():
    """The estimators of bdnn by name."""
    import bdnn
    from bdnn.hashing import Hasher

    public = (getattr(bdnn, name) for name in bdnn.__all__)
    return {c.__name__: c for c in public if isinstance(c, type) and issubclass(c, Hasher)}


class Checkpoint:
    """The state of a training on disk, from which it goes on after it was cut off.

    Parameters
    ----------
    path : path or None
        The file, which is replaced whole whenever a state is written; None: nothing is kept.
    estimator, X, y, start
        What is trained on what, X (D, m), and from where. A checkpoint of another training is
        refused.
    """

    def __init__(
        self,
        path: StrPath | None,
        estimator: "Hasher",
        X: np.ndarray,
        y: Any = None,
        start: "Hasher | None" = None,
    ) -> None:
        self.path, self.written = path, -np.inf
        if path is None:
            return
        check_writable(path)
        params = estimator.get_params(deep=False) | {"verbose": None}
        seed = params["random_state"]
        if not isinstance(seed, (int, np.integer)):
            raise ValueError(
                f"random_state must be a whole number, got {seed!r}: with a checkpoint a training "
                "must draw the same numbers when it goes on. Give random_state=0, say, or no "
                "checkpoint"
            )
        data = {"X": X.T} | ({} if y is None else {"y": y})
        about = {"class": type(estimator).__name__, "versions": versions()}
        about |= {"params": _encode(params, data)}
        if start is not None:
            about["start"] = _encode(learned(start), data)
        self.training = _digest(about, data)

    def write(self, content: dict[str, Any], now: bool = False) -> None:
        """Keep a content of arrays, numbers, strings, lists, tuples and dicts.

        Nothing is written within `CHECKPOINT_SECONDS` after the last time, unless it must be `now`.
        """
        early = not now and time.monotonic() - self.written < CHECKPOINT_SECONDS
        if self.path is None or early:
            return
        arrays: dict[str, np.ndarray] = {}
        content = _encode(content, arrays)
        header = {"format": CHECKPOINT_FORMAT, "training": self.training, "content": content}
        _write_archive(self.path, header, arrays)
        self.written = time.monotonic()

    def read(self) -> dict[str, Any] | None:
        """The content that was kept last, or None; a ValueError if it is another training's."""
        if self.path is None or not Path(self.path).exists():
            return None
        header, arrays = _read_archive(self.path, CHECKPOINT_FORMAT, "checkpoint")
        if header["training"] != self.training:
            raise ValueError(
                f"{self.path} belongs to another training: other data, parameters, start or "
                "versions. Give another path, or remove the file to begin anew"
            )
        try:
            content = _decode(header["content"], arrays)
            _check_learned((content.get("best") or {}).get("learned", {}))
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelFileError(f"{self.path} is no checkpoint of bdnn: {error}") from error
        return content


def _write_archive(path, header, arrays):
    """Write header and arrays with their digest, whole or not at all."""
    header = header | {"digest": _digest(header, arrays)}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)


def _read_archive(path, kind, name):
    """Header and arrays of a file of this kind, verified against its digest."""
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ModelFileError(f"{path} is no {name} of bdnn: another kind of file, or cut short")
        try:
            with zipfile.ZipFile(file) as archive:  # nothing in it may be larger than it is itself
                if sum(info.file_size for info in archive.infolist()) > os.stat(path).st_size:
                    raise ValueError("its parts are larger than the file")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                arrays = dict(archive)
            if "header" not in arrays:
                raise ValueError("it has no header")
            header = json.loads(str(arrays.pop("header")))
            digest, found = header.pop("digest"), header["format"]
            sound = found == kind and digest == _digest(header, arrays)
        except Exception as error:  # whatever the parsers of zip, npy and JSON stumble over
            raise ModelFileError(f"{path} is no {name} of bdnn, or was damaged: {error}") from error
    if found in BEFORE:
        raise ModelFileError(
            f"{path} was written by bdnn 0.1, which kept networks in another form: train the model "
            "anew, or read the file with bdnn 0.1"
        )
    if not sound:
        raise ModelFileError(
            f"{path} is no {name} of bdnn, was damaged, or was made by another version of the file "
            "format: its checksum does not match. Save it again, or fetch the file again"
        )
    return header, arrays


def _digest(header, arrays):
    """SHA-256 over the header and over name, type, shape and bytes of every array."""
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype.str} {arrays[name].shape}".encode())
        total.update(array.reshape(-1).view(np.uint8))
    return total.hexdigest()


def _encode(value, arrays, attribute="what is saved"):
    """JSON form of ``value``; arrays are moved into ``arrays`` and referred to by name."""

    def items(values):
        return [_encode(v, arrays, attribute) for v in values]

    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return {"kind": "objects", "items": items(value.tolist())}
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"kind": "array", "name": name}
    if isinstance(value, dict):
        return {"kind": "dict", "items": {k: _encode(v, arrays, k) for k, v in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"kind": "tuple" if isinstance(value, tuple) else "list", "items": items(value)}
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, type) and issubclass(value, np.generic) or isinstance(value, np.dtype):
        return np.dtype(value).name
    if isinstance(value, SPENT):
        return None
    if hasattr(value, "__array__"):  # that of a cluster
        return _encode(np.asarray(value), arrays, attribute)
    raise TypeError(
        f"{attribute} holds a {type(value).__name__}, which cannot be saved: only numbers, "
        "strings, arrays, and lists, tuples and dicts of these can"
    )


def _decode(value, arrays):
    """Undo :func:`_encode`."""
    if not isinstance(value, dict):
        return value
    if value["kind"] == "array":
        return arrays[value["name"]]
    if value["kind"] == "dict":
        return {name: _decode(item, arrays) for name, item in value["items"].items()}
    items = [_decode(item, arrays) for item in value["items"]]
    if value["kind"] == "objects":
        return np.array(items, dtype=object)
    return tuple(items) if value["kind"] == "tuple" else items
