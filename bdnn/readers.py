"""Readers of files of vectors and labels, by the ending of their names.

What is damaged, or holds something else, is a ValueError that names the file, the place and the
mend. Nothing is ever unpickled, and what may crash on a damaged file is read in a process of its
own.
"""

import gzip
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Collection, Iterable
from contextlib import contextmanager, suppress
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from reprlib import Repr
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from bdnn.checks import check_zero_one
from bdnn.files import StrPath
from bdnn.hashing import is_mapped

__all__ = [
    "READERS", "Asked", "MissingLabelsError", "as_labels", "as_vectors", "expanded",
    "is_data_file", "listed", "read_archive", "read_array", "read_columns", "read_file",
    "read_vecs", "read_vectors",
]  # fmt: skip

HDF5_MARK = b"\x89HDF\r\n\x1a\n"
MISSING_WORDS = ("NA", "N/A", "n/a", "NULL", "null", "None")  # which may be names of classes
READ_SECONDS = 120  # for a file that is read in a process of its own, and one more for each MB

SHORT = Repr()  # of values in messages: cut, and without control characters
SHORT.maxstring = SHORT.maxother = 60
_shown = SHORT.repr


class Asked(NamedTuple):
    """What is wanted of a file: the arguments of :func:`read_vectors`."""

    labels: StrPath | None = None
    ignore: Collection[str] = ()
    vectors: str | None = None
    mapped: bool = False
    text: bool = False  # the labels are ids


class MissingLabelsError(ValueError):
    """A file has no labels of the name that was given for them."""


def read_vectors(
    path: StrPath,
    labels: StrPath | None = None,
    ignore: Collection[str] = (),
    vectors: str | None = None,
    mapped: bool = False,
    text: bool = False,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Vectors of one file, and their labels if it has any.

    Parameters
    ----------
    path : path
        The ending tells the format.

        ============== =======================================================================
        .npy           a matrix, samples in rows
        .npz, .mat     the array ``X``, samples in rows; labels in ``y``
        .h5, .hdf5     the same; these, and .mat from version 7.3 on, need the extra ``hdf5``
        .csv, .csv.gz  a table of numbers, samples in rows; labels in a column ``label``. It is
        .tsv, .txt     separated by tabs, semicolons, commas, or spaces between numbers; without
                       a line of names its columns are called 0, 1, ...
        .parquet       the same; a column of lists of one length stands for as many columns
        .fvecs, .bvecs vectors of the TEXMEX corpus; no labels
        .fbin, .u8bin  vectors of the BIGANN benchmarks; no labels
        ============== =======================================================================

    labels : str or path, optional
        Another name of the array or the column that holds the labels; or a file that holds
        nothing else (.npy, or one label in a line), or holds them in ``y`` or ``label``.
    ignore : names, optional
        Columns of a table that are no features, such as a number or a path of every row.
    vectors : str, optional
        Another name of the array that holds the vectors, or the one column of a table that does.
    mapped : bool
        Leave the matrix of a .npy, .fbin or .u8bin file where it is, and as it is: X is a
        memory-mapped array of any real type, which nobody has looked through for NaN.
    text : bool
        The labels are ids: strings as they stand in the file, so that 007 is not 7.

    Returns
    -------
    X : array (n_samples, n_features), float32
    y : array (n_samples,) of int64, floats or strings, or None
        Where a sample may have several labels, booleans (n_samples, n_labels). Numbers of a table
        of text are strings if one of them begins with 0, as 007 does.

    Raises
    ------
    ValueError
        If the file is damaged, is of another format, lacks what it should hold, or holds something
        else than finite numbers; says which. Where it has nothing of the name that `labels` gives,
        it is a :class:`MissingLabelsError`.
    FileNotFoundError
        If there is no such file.
    """
    return read_columns(path, Asked(labels, ignore, vectors, mapped, text))[:2]


def read_columns(path: StrPath, asked: Asked) -> tuple[np.ndarray, np.ndarray | None, list | None]:
    """The same as :func:`read_vectors`, and the names of the columns, if a table has any."""
    path = expanded(path)
    arrays = read_file(path, asked)
    if "X" not in arrays:
        mend = "; if one of these holds the vectors, name it (--vectors NAME, or vectors=NAME)"
        raise ValueError(f"{path} must hold the array X; it holds {listed(arrays)}{mend}")
    X, y = arrays["X"], arrays.get("y")
    if isinstance(X, np.memmap) and X.ndim > 2:
        X = X.reshape(len(X), -1)
    X = X if is_mapped(X) else as_vectors(X, f"{path.name}: X")[0]
    y = None if y is None else as_labels(y, X, f"{path.name}: labels", asked.text)
    return X, y, arrays.get("columns")


def as_vectors(
    X: Any, what: str, rows: np.ndarray | None = None
) -> tuple[np.ndarray, tuple[int, ...] | None]:
    """Finite float32 vectors in rows, and the shape of one sample if it was an image.

    `rows` are their numbers in the file, if they are not all of it.
    """
    X = np.asarray(X)
    if X.dtype.kind not in "buif" or X.ndim < 2 or X.size == 0:
        raise ValueError(
            f"{what} must be a matrix of numbers that is not empty, got {X.dtype} {X.shape}"
        )
    image_shape, given = X.shape[1:] if X.ndim > 2 else None, X.reshape(len(X), -1)
    with np.errstate(over="ignore"):
        X = np.ascontiguousarray(given, dtype=np.float32)
    if not np.isfinite(X).all():
        row, column = np.argwhere(~np.isfinite(X))[0]
        place = f"row {row if rows is None else rows[row]}, column {column}"
        raise ValueError(f"{what} holds NaN, infinity or values beyond float32, first in {place}")
    if not np.can_cast(given.dtype, np.float32):
        spread = np.ptp(given, axis=0)
        lost = np.flatnonzero((0 < spread) & (spread < 1e-5 * np.abs(given[0])))
        if len(lost):
            warnings.warn(
                f"{what}: column {lost[0]} differs from sample to sample by no more than "
                f"{spread[lost[0]]:.3g} around {given[0, lost[0]]:.9g}, of which single precision "
                "keeps little: subtract the mean first",
                stacklevel=2,
            )
    return X, image_shape


def as_labels(y: Any, X: Any, what: str, text: bool = False) -> np.ndarray:
    """Labels (n,), as text if that is asked for, or a 0/1 matrix (n, n_labels) of several."""
    y = np.asarray(y)
    y = y.ravel() if y.ndim == 2 and 1 in y.shape else y
    if np.shape(y)[:1] != (len(X),) or y.ndim > 2 - text or y.dtype.kind not in "buifUS":
        told = f"{len(X)} numbers or strings" + (", or a 0/1 matrix" if not text else "")
        raise ValueError(f"{what} must be {told}, got {y.dtype} {y.shape}")
    if y.ndim == 2:
        y = check_zero_one(what, y)
    if y.dtype.kind == "f" and np.isnan(y).any():
        raise ValueError(f"{what}: no label in row {np.isnan(y).argmax()}; leave such rows out")
    if text and y.dtype.kind == "f":  # of which the whole ones have no point
        return np.array([np.format_float_positional(number, trim="-") for number in y])
    if text:
        return y.astype(str)
    return y.astype(np.int64) if y.dtype.kind in "bui" else y


def is_data_file(name: StrPath | None) -> bool:
    """Whether a name ends as the files that are read here do; None does not."""
    return name is not None and _ending(name) in READERS


def _ending(name):
    """The ending of a name; that of what is packed stands before it, as in .csv.gz."""
    path = Path(name)
    return "".join(path.suffixes[-2 if path.suffix.lower() == ".gz" else -1 :]).lower()


def expanded(name: StrPath) -> Path:
    """A path; ~ at its beginning is a home, unless nobody is called so."""
    return Path(os.path.expanduser(name))


def listed(arrays: Iterable, most: int = 10) -> str:
    """The first of the names, for a message."""
    names = [_shown(str(name))[1:-1] for name in arrays]
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more or "nothing"


def read_file(path: Path, asked: Asked) -> dict[str, Any]:
    """The arrays of a file by name, the vectors among them as ``X``, the labels as ``y``."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if not is_data_file(path):
        raise ValueError(f"{path}: a data file must be one of {', '.join(READERS)}")
    if asked.labels is not None and is_data_file(asked.labels):
        arrays = read_file(path, asked._replace(labels=None))
        y = _read_labels(expanded(asked.labels), len(arrays.get("X", ())), asked.text)
        return arrays | {"y": y}
    found = READERS[_ending(path)](path, asked)
    if not isinstance(found, np.ndarray):
        return found
    if asked.labels is not None:
        told = f"{path} holds vectors alone, no {asked.labels!r}"
        raise MissingLabelsError(f"{told}; give the labels as a file of their own")
    return {"X": found}


def _read_labels(path, n, text):
    """The labels of a file that has nothing else, or calls them y or label; n are wanted."""
    if READERS[_ending(path)] is _read_table and path.is_file():
        found = _read_frame(path, Asked(text=text))
        column = found.columns[0] if found.shape[1] == 1 else "label"
        y = _labels_of(found[column], path) if column in found else None
        if y is not None and len(y) == n - 1 and column in y.tolist():
            y = np.append(column, y)  # what was taken for the name is the first label
    else:
        found = read_file(path, Asked())
        y = found.get("X" if _ending(path) == ".npy" else "y")
    if y is None:
        held = listed(found)
        raise ValueError(f"{path} must hold labels, y or a column label; it holds {held}")
    return y


@contextmanager
def _reading(path, kind):
    """Say of whatever a reader stumbles over that the file is damaged, or of another kind."""
    try:
        yield
    except ImportError:  # what reads .parquet or .h5 is not installed
        raise
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except Exception as error:  # a damaged file can raise nearly anything
        told = " ".join(str(error).split())[:300]
        if isinstance(error, MemoryError) or re.search("MemoryError|out of memory", told):
            mend = "to train, give a random sample of its rows"
            raise MemoryError(f"{path} does not fit into memory; {mend}") from error
        if isinstance(error, UnicodeError):
            raise ValueError(f"{path} is not UTF-8 text: save it as UTF-8 ({told})") from error
        if told.startswith(("Object arrays", "Array can't be memory-mapped")):
            told = f"{path} holds an array of objects, which are never unpickled"
            mend = "save array.astype(str) or array.astype(float)"
            raise ValueError(f"{told}: {mend}") from error
        raise ValueError(f"{path} is damaged or not {kind}: {told}") from error


# --- files of arrays -------------------------------------------------------------------------


def read_array(path: StrPath, mapped: bool = False) -> np.ndarray:
    """The array of a .npy file, of any kind of numbers, or a map of it; never unpickles.

    Raises a ValueError if the file is damaged or of another format, and a FileNotFoundError.
    """
    with _reading(path, "an .npy file"):
        if mapped:
            return np.lib.format.open_memmap(path, mode="r")
        with open(path, "rb") as file:  # np.load would take it for a pickle, or an archive
            return np.lib.format.read_array(file, allow_pickle=False)


def read_archive(path: StrPath, names: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The arrays of a .npz file, those of the names among them; never unpickles."""
    with _reading(path, "an .npz file"), open(path, "rb") as file:
        with np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            arrays = dict(archive)
        if len(set(archive.files)) < len(archive.files):
            raise ValueError("two arrays have the same name")
    if not set(names) <= set(arrays):
        raise ValueError(f"{path} must be an .npz file with the arrays {', '.join(names)}")
    return arrays


def read_vecs(path: Path) -> np.ndarray:
    """Vectors of a .fvecs or .bvecs file: each is its length as int32, then its entries."""
    entry = np.dtype("<f4" if path.suffix.lower() == ".fvecs" else "u1")
    with _reading(path, f"an {path.suffix} file"):
        raw = np.fromfile(path, np.uint8)
        width = 4 + int.from_bytes(raw[:4].tobytes(), "little", signed=True) * entry.itemsize
        if width <= 4 or not raw.size or raw.size % width:
            raise ValueError("its size is not that of vectors of one length")
        rows = raw.reshape(-1, width)
        if np.any(rows[:, :4] != raw[:4]):
            raise ValueError("its vectors differ in length")
    return np.ascontiguousarray(rows[:, 4:]).view(entry)


def _read_bin(path, asked):
    """Vectors of a .fbin or .u8bin file: their number and their length, then all entries."""
    entry = np.dtype("<f4" if path.suffix.lower() == ".fbin" else "u1")
    with _reading(path, f"a {path.suffix} file"):
        n, D = (*np.fromfile(path, "<u4", 2).tolist(), 0, 0)[:2]
        if path.stat().st_size != 8 + n * D * entry.itemsize or not n * D:
            raise ValueError(f"its header promises {n} vectors of length {D}")
        X = np.memmap(path, entry, "r", 8, (n, D))
        return X if asked.mapped else np.array(X)


def _named(path, arrays, asked):
    """The arrays of a file, those that are asked for as X and y."""
    if asked.labels is not None and asked.labels not in arrays:
        told = f"{path} holds no {asked.labels!r} for labels; it holds {listed(arrays)}"
        raise MissingLabelsError(told)
    if asked.vectors is not None and asked.vectors not in arrays:
        told = f"{path} holds no {asked.vectors!r} for vectors; it holds {listed(arrays)}"
        raise ValueError(told)
    found = {k: A for k, A in arrays.items() if k not in (asked.labels, asked.vectors)}
    if asked.labels is not None:
        found["y"] = arrays[asked.labels]
    if asked.vectors is not None:
        found["X"] = arrays[asked.vectors]
    return found  # the name of one may be the key of the other


def _read_elsewhere(path, asked):
    """Arrays of a .mat or .h5 file, read in a process of its own, which a damaged file may kill."""
    with open(path, "rb") as file:
        raw = file.read(520)
    program, kind = MATLAB_TO_NPZ, "a MATLAB file"
    if path.suffix.lower() != ".mat" or HDF5_MARK == raw[512:]:  # where MATLAB 7.3 has it
        program, kind = HDF5_TO_NPZ, "an HDF5 file"
        if find_spec("h5py") is None:
            raise ImportError(f"{path} is read by h5py: pip install 'bdnn[hdf5]'")
    with TemporaryDirectory() as folder, _reading(path, kind):
        target = os.path.join(folder, "arrays.npz")
        names = asked.labels or "y", asked.vectors or "X"
        line = [sys.executable, "-P", "-c", program, path, target, *names]
        limit = READ_SECONDS + os.stat(path).st_size // 10**6
        options = {"capture_output": True, "encoding": "utf-8", "errors": "replace"}
        try:
            done = subprocess.run(line, timeout=limit, **options)
        except subprocess.TimeoutExpired:
            raise ValueError(f"its reader has not ended after {limit} seconds") from None
        if "can't open directory" in done.stderr:
            raise ImportError(f"{path} is compressed by a plug-in: pip install hdf5plugin")
        if done.returncode:
            raise ValueError((done.stderr.splitlines() or ["its reader crashed"])[-1])
        found = read_archive(target)
    arrays = {name: found.get(f"arr_{k}") for k, name in enumerate(found["names"].tolist())}
    return _named(path, arrays, asked)


# The arrays of a .mat file, and its cells of texts, without what is neither. On some files that are
# damaged the process that reads them dies.
MATLAB_TO_NPZ = """
import sys, numpy as np
from scipy.io import loadmat
from scipy.sparse import issparse

path, target, labels, vectors = sys.argv[1:]
arrays = {}
for name, A in loadmat(path).items():
    if issparse(A) and name in (vectors, "train", "database", "query"):
        sys.exit(f"{name} is a sparse matrix; make it dense first (full)")
    if isinstance(A, np.ndarray) and A.dtype == object and all(np.size(x) < 2 for x in A.flat):
        A = np.array([str(*np.ravel(cell)) for cell in A.flat])
    if isinstance(A, np.ndarray) and not A.dtype.hasobject:
        arrays[name] = A
np.savez(target, *arrays.values(), names=np.array([*arrays], str))
"""


# The arrays of an HDF5 file that are looked for, and the names of all. MATLAB turns its matrices,
# and writes texts as codes of characters.
HDF5_TO_NPZ = """
import sys, h5py, numpy as np
try:
    import hdf5plugin
except ImportError:
    pass

path, target, labels, vectors = sys.argv[1:]
wanted, arrays, others = {labels, vectors, "train", "database", "query"}, {}, []

def text(codes):
    return "".join(map(chr, codes)).rstrip()

def read(name, item):
    if not isinstance(item, h5py.Dataset) or name.startswith("#"):
        return
    if name not in wanted and not name.endswith("_labels"):
        others.append(name)
    elif h5py.check_string_dtype(item.dtype):
        arrays[name] = item.asstr()[...].astype(str)
    else:
        A, kind = item[...], item.attrs.get("MATLAB_class")
        if kind == b"cell":
            A = np.array([text(item.file[part][...].ravel()) for part in A.ravel()])
        elif kind == b"char":
            A = np.array([text(row) for row in A.T])
        arrays[name] = A.T if kind and A.ndim > 1 else A

with h5py.File(path, "r") as file:
    file.visititems(read)
np.savez(target, *arrays.values(), names=np.array([*arrays, *others], str))
"""


# --- tables ----------------------------------------------------------------------------------


def _read_table(path, asked):
    """Numbers and labels of a table, and the names of its columns of numbers."""
    label = "label" if asked.labels is None else asked.labels
    table, arrays = _read_frame(path, asked._replace(labels=label)), {}
    if asked.labels is not None and label not in table:
        raise MissingLabelsError(f"{path} has no column {label!r}; it has {listed(table)}")
    if asked.vectors is not None and asked.vectors not in table:
        raise ValueError(f"{path} has no column {asked.vectors!r}; it has {listed(table)}")
    for name in set(asked.ignore) - set(table):
        told = f"{path} has no column {_shown(name)} to leave out; it has {listed(table)}"
        warnings.warn(told, stacklevel=2)
    if label in table:
        arrays["y"] = _labels_of(table[label], path)
    left_out = {label, "label", *asked.ignore}
    names = [name for name in table if name not in left_out and asked.vectors in (None, name)]
    parts = {name: _numbers(table[name], path) for name in names}
    columns = [name for name in names if parts[name].ndim == 1]
    lists = [parts[name].reshape(len(table), -1) for name in names if parts[name].ndim > 1]
    if names:
        numbers = [np.asarray(parts[name], np.float64)[:, None] for name in columns]
        arrays["X"] = np.hstack([*lists, *numbers])
    if not lists and columns != [str(k) for k in range(len(columns))]:
        arrays["columns"] = columns
    return arrays


def _numbers(column, path):
    """A column of numbers, or the matrix of one of lists; an error or a warning if it is neither.

    A warning, too, if it seems to count the rows: whole numbers with hardly a gap.
    """
    from pandas import to_numeric

    part, told = _stacked(column, path), f"{path}: column {_shown(column.name)}"
    if part.dtype.kind not in "buif":
        bad = to_numeric(column.astype(str), errors="coerce").isna() & column.notna()
        raise ValueError(
            f"{told} does not hold numbers, but {_shown(column[bad.argmax()])} in row "
            f"{bad.argmax()}; write 1234.5, leave it out (--ignore NAME, or ignore=[NAME]), or "
            "name it as the labels"
        )
    if column.name.startswith("Unnamed:"):
        raise ValueError(
            f"{path}: column {column.name.split()[-1]} has no name. If it counts the rows, leave "
            "it out (pandas: to_csv(path, index=False))"
        )
    if part.ndim == 1 and part.isna().any():
        raise ValueError(f"{told} holds NaN, or nothing, in row {part.isna().argmax()}")
    whole = part.ndim == 1 and part.dtype.kind in "iu" and len(part) >= 20 and part.is_unique
    if whole and int(part.max()) - int(part.min()) < 2 * len(part):
        warnings.warn(
            f"{told} seems to count the rows, and is taken as a feature; if it is none, leave it "
            "out (--ignore NAME, or ignore=[NAME])",
            stacklevel=2,
        )
    return part


def _labels_of(column, path):
    """The labels in a column of a table."""
    y, name = _stacked(column, path), _shown(column.name)
    if isinstance(y[0], list | np.ndarray) and y.dtype.kind not in "buif":
        told = "lists as labels: mark the labels of a sample by 0 and 1, one list for each sample"
        raise ValueError(f"{path}: column {name} holds {told}")
    if y.ndim == 1 and y.isna().any():
        raise ValueError(f"{path}: column {name} has no label in row {y.isna().argmax()}")
    return np.asarray(y) if y.dtype.kind in "buif" else np.asarray(y).astype(str)


def _stacked(column, path):
    """A column of lists of one length as an array; any other column as it is."""
    first = next((value for value in column if value is not None), None)
    if isinstance(first, Decimal):
        return column.astype(float)
    if not isinstance(first, list | np.ndarray):
        return column
    other = next((row for row, x in enumerate(column) if np.shape(x) != np.shape(first)), None)
    if other is None:
        return np.stack(column.tolist())
    if np.asarray(first).dtype.kind in "buif":
        n = 0 if column[other] is None else np.size(column[other])
        told = f"has {np.size(first)} numbers in a cell, and {n} in row {other}"
        raise ValueError(f"{path}: column {_shown(column.name)} {told}")
    return column


def _read_frame(path, asked):
    """A table as pandas has it; labels as they stand in a text, all columns if these are None."""
    from pandas import read_parquet  # here: it takes a while to import

    with _reading(path, "a table"):
        if _ending(path) == ".parquet":
            table = read_parquet(path, engine="pyarrow")
            if asked.labels in table.index.names and asked.labels not in table:
                table[asked.labels] = table.index.get_level_values(asked.labels)
        else:
            table = _read_text(path, asked)
        table = table.set_axis(table.columns.astype(str), axis=1).reset_index(drop=True)
        if not table.columns.is_unique:
            raise ValueError("two columns have the same name")
        for name in table.columns[[dtype.kind == "O" for dtype in table.dtypes]]:
            table[name] = table[name].astype(object)  # what is damaged in a text shows here
    if table.empty:
        raise ValueError(f"{path} holds no rows")
    return table


def _read_text(path, asked):
    """The table of a text, whatever separates it, with decimal points or commas.

    Labels (any column, if `asked.labels` is None) stay as they stand, if `asked.text` says so, or
    if some of them begin with 0, as 007 does.
    """
    from pandas import read_csv, to_numeric
    from pandas.errors import ParserWarning

    options = _form(path) | {"index_col": False, "skipinitialspace": True}
    with warnings.catch_warnings(action="error", category=ParserWarning):  # rows of other lengths
        first = read_csv(path, header=None, nrows=1, **options).iloc[0]
        named = "names" not in options and _are_names(first, path, asked)
        names = first if named else options.get("names", range(len(first)))
        wanted = [k for k, name in enumerate(names) if asked.labels in (None, str(name))]
        as_text = dict.fromkeys(wanted, "={}".format)  # else NA would be taken for nothing
        options |= {"header": 0 if named else None, "converters": as_text}
        table = read_csv(path, **options)
    for k in wanted:
        y = table.iloc[:, k].str[1:]
        if (words := y[y.isin(MISSING_WORDS)]).size:
            told = f"{path}: {words.iloc[0]!r} in column {names[k]!r} is a word, and not missing"
            warnings.warn(told, stacklevel=2)
        y = y.mask(y.isin(["", "nan", "NaN"]))
        if not asked.text and not y.str.match(r"0\d", na=False).any():
            with suppress(ValueError):
                y = to_numeric(y)
        table.isetitem(k, y)
    return table


def _form(path):
    """The form of a text, as arguments of pandas.read_csv: encoding, separator, decimal sign."""
    from pandas import read_csv

    unpacked = gzip.open if path.suffix.lower() == ".gz" else open
    with unpacked(path, "rb") as file:
        mark = file.read(2)
    encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with unpacked(path, "rt", encoding=encoding) as file:
        lines = file.read(2**20).splitlines()
    rows = [k for k, line in enumerate(lines) if line.strip() and not line.startswith("# ")]
    start = rows[0] if rows else 0
    remarks = [line for line in lines[:start] if line.strip()]
    lines = [lines[k] for k in rows[:2]] or [""]
    first = re.sub('"[^"]*"', "", lines[0])
    separator = next((sign for sign in "\t;," if sign in first), ",")
    if separator not in first:
        with suppress(ValueError):  # numbers with spaces in between, as np.savetxt writes them
            separator = r"\s+" if np.array(lines[-1].split(), float).size > 1 else ","
    form = {"sep": separator, "encoding": encoding, "skiprows": start}
    names = re.split(separator, remarks[-1][2:].strip()) if remarks else []
    if len(names) == len(re.split(separator, lines[0].strip())):  # as np.savetxt writes them
        form["names"] = [name.strip() for name in names]
    if separator != "," and len(lines) > 1:  # the decimal sign by which more columns are numbers
        some = form | {"header": None, "nrows": 100, "skiprows": start + 1}
        tables = {sign: read_csv(path, decimal=sign, **some) for sign in ".,"}
        n_numbers = {sign: len([*A.select_dtypes("number")]) for sign, A in tables.items()}
        form["decimal"] = max(".,", key=n_numbers.get)
    return form


def _are_names(first, path, asked):
    """Whether the first line of a text names the columns.

    It does if it holds words alone, or one that is asked for; and if it holds 0, 1, ..., the names
    that pandas gives.
    """
    words = [cell for cell in first if isinstance(cell, str)]
    numbers = [float(cell) for cell in first.dropna() if not isinstance(cell, str)]
    if words:
        wanted = {"label", asked.labels, asked.vectors, *asked.ignore}
        return not numbers or not wanted.isdisjoint(words)
    if len(numbers) > 1 and numbers == [*range(len(numbers))]:
        return True
    if len(numbers) > 2 and np.all(np.diff(numbers) > 0) and np.all(np.mod(numbers, 1) == 0):
        warnings.warn(
            f"{path}: the first line, {_shown(', '.join(map(str, first)))}, is taken for a vector; "
            "if it names the columns, give them names that are no numbers",
            stacklevel=2,
        )
    return False


READERS: dict[str, Callable] = {  # a matrix, or arrays by name, of a path and what is asked for
    ".npy": lambda path, asked: read_array(path, asked.mapped),
    ".npz": lambda path, asked: _named(path, read_archive(path), asked),
    ".csv": _read_table,
    ".csv.gz": _read_table,
    ".tsv": _read_table,
    ".txt": _read_table,
    ".parquet": _read_table,
    ".fvecs": lambda path, asked: read_vecs(path),
    ".bvecs": lambda path, asked: read_vecs(path),
    ".fbin": _read_bin,
    ".u8bin": _read_bin,
    ".mat": _read_elsewhere,
    ".h5": _read_elsewhere,
    ".hdf5": _read_elsewhere,
}
