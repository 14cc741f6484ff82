"""The command line, `python -m bdnn`: every command on files, its output, and its exit codes."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pandas
import pytest
from sklearn.datasets import load_iris

import bdnn
from bdnn import __main__ as cli
from bdnn import metrics


@pytest.fixture(scope="module")
def flowers():
    """Iris in random order: vectors, and names of the species."""
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    return X[order], np.array(["setosa", "versicolor", "virginica"])[y[order]]


@pytest.fixture(scope="module")
def template(flowers, tmp_path_factory):
    """Files of 120 training and 30 query vectors, with a model of 16 bits."""
    folder = tmp_path_factory.mktemp("files")
    X, y = flowers
    for name, rows in {"train": slice(120), "query": slice(120, None)}.items():
        np.save(folder / f"{name}.npy", X[rows])
        table = pandas.DataFrame(X[rows], columns=["a", "b", "c", "d"])
        table.assign(species=y[rows]).to_csv(folder / f"{name}.csv", index=False)
    bdnn.ITQ(4, random_state=0).fit(X[:120]).save(folder / "model.bdnn")
    return folder


@pytest.fixture
def files(template, monkeypatch):
    monkeypatch.chdir(template)
    return template


def start(line):
    return cli.main(line.split())


def fails(line, message, capsys):
    """Run a command that must end with exit code 1 and one line on stderr."""
    assert start(line) == 1
    output = capsys.readouterr()
    assert re.search(message, output.err) and "Traceback" not in output.err
    assert output.err.startswith(f"bdnn {line.split()[0]}: ") and output.err.count("\n") == 1


def test_train_writes_a_model_that_equals_the_library(files, flowers, tmp_path, capsys):
    path = tmp_path / "m.bdnn"
    line = f"train train.csv --labels species --method sdh --bits 8 --seed 3 --model {path}"
    assert start(line) == 0
    expected = f"SupervisedDiscreteHashing: 4 numbers -> 8 bits, learned from 120 vectors, {path}"
    assert capsys.readouterr().out.replace("written to ", "") == expected + "\n"
    X, y = flowers
    same = bdnn.SupervisedDiscreteHashing(8, random_state=3)
    same.fit(X[:120].astype(np.float32), y[:120])
    np.testing.assert_array_equal(bdnn.load(path).encode(X), same.encode(X))


def test_train_with_settings_and_a_named_set(files, tmp_path):
    path = tmp_path / "m.bdnn"
    assert start(f'train digits --method itq --settings {{"n_iter":7}} --model {path}') == 0
    model = bdnn.load(path)
    assert (model.n_bits, model.n_iter, model.n_features_in_) == (32, 7, 64)
    assert start(f"train train.npy --method sh --bits 4 --model {path}") == 0  # draws nothing


@pytest.mark.parametrize("file", ["train.npy", "train.csv --labels species"])
def test_train_on_a_sample(files, flowers, file, tmp_path, capsys):
    path = tmp_path / "m.bdnn"
    line = f"train {file} --bits 2 --method {'itqcca' if 'labels' in file else 'itq'}"
    assert start(f"{line} --seed 5 --sample 40 --model {path}") == 0
    assert "learned from 40 vectors" in capsys.readouterr().out
    X, y = flowers
    rows = np.sort(np.random.default_rng(5).permutation(120)[:40])
    same = type(bdnn.load(path))(2, random_state=5).fit(X[rows].astype(np.float32), y[rows])
    np.testing.assert_array_equal(bdnn.load(path).encode(X), same.encode(X))
    assert start(f"{line} --sample 121 --model {path}") == 0  # there are not more than 120
    assert "learned from 120 vectors" in capsys.readouterr().out
    fails(f"{line} --sample 0 --model {path}", "--sample must be a whole number", capsys)


def test_a_sample_is_trained_in_memory(files, tmp_path, monkeypatch):
    spread = pytest.importorskip("bdnn.engine.spread")
    monkeypatch.setattr(spread, "fit", lambda *_: pytest.fail("trained from the file"))
    line = f"train train.npy --bits 2 --method itq --model {tmp_path}/m.bdnn"
    assert start(f"{line} --sample 40") == start(f"{line} --sample 121") == 0


def test_a_value_missing_in_a_sample_is_named_by_its_row_of_the_file(tmp_path, capsys):
    X = np.random.default_rng(0).random((100, 4))
    X[20:, 2] = np.nan
    np.save(tmp_path / "X.npy", X)
    line = f"train {tmp_path}/X.npy --bits 2 --method itq --sample 30 --model {tmp_path}/m.bdnn"
    row = min(k for k in np.random.default_rng(0).permutation(100)[:30] if k >= 20)
    fails(line, rf"X\.npy: X holds NaN.* first in row {row}, column 2", capsys)


def test_encode_and_search_by_hand(files, flowers, tmp_path, capsys):
    codes_file, found = tmp_path / "codes.npy", tmp_path / "found.npz"
    assert start(f"encode model.bdnn train.csv --labels species --output {codes_file}") == 0
    assert capsys.readouterr().out == f"120 codes of 4 bits (1 bytes) in {codes_file}\n"
    model, X = bdnn.load("model.bdnn"), flowers[0]
    codes = np.load(codes_file)
    np.testing.assert_array_equal(codes, model.encode(X[:120]))
    D = metrics.hamming_distances(model.encode(X[120:]), codes)
    expected = np.array([sorted(range(120), key=lambda i: (row[i], i))[:5] for row in D])
    for database in ("train.npy", f"{codes_file} --encoded"):
        line = f"search model.bdnn {database.split()[0]} query.npy -k 5 --output {found}"
        assert start(line + " --encoded" * database.endswith("--encoded")) == 0
        with np.load(found) as archive:
            np.testing.assert_array_equal(archive["indices"], expected)
            distances = np.take_along_axis(D, expected, axis=1)
            np.testing.assert_array_equal(archive["distances"], distances)
    capsys.readouterr()
    assert start("search model.bdnn train.npy query.npy -k 2") == 0
    lines = capsys.readouterr().out.splitlines()
    (i, j), (d, e) = expected[3, :2], D[3, expected[3, :2]]
    assert len(lines) == 31 and lines[4] == f"3: {i} ({d}) {j} ({e})"


def test_search_within_a_radius(files, flowers, tmp_path, capsys):
    model, X = bdnn.load("model.bdnn"), flowers[0]
    D = metrics.hamming_distances(model.encode(X[120:]), model.encode(X[:120]))
    expected = [sorted(np.flatnonzero(row <= 1), key=lambda i: (row[i], i)) for row in D]
    assert start(f"search model.bdnn train.npy query.npy --radius 1 --output {tmp_path}/f.npz") == 0
    total = sum(map(len, expected))
    assert f"{total} items within radius 1 of 30 queries" in capsys.readouterr().out
    with np.load(tmp_path / "f.npz") as archive:
        limits, indices, distances = (archive[k] for k in ("limits", "indices", "distances"))
    assert limits[0] == 0 and limits[-1] == len(indices) == len(distances) == total
    for q, items in enumerate(expected):
        np.testing.assert_array_equal(indices[limits[q] : limits[q + 1]], items)
        np.testing.assert_array_equal(distances[limits[q] : limits[q + 1]], D[q, items])
    assert start("search model.bdnn train.npy query.npy --radius 0") == 0
    lines = capsys.readouterr().out.splitlines()
    same = np.flatnonzero(D[7] == 0)
    assert len(lines) == 31 and lines[8] == " ".join(["7:", *(f"{i} (0)" for i in same)]).ljust(3)


@pytest.mark.parametrize("real", ["", "--float-query"])
@pytest.mark.parametrize("many", [1, 4, 99])
def test_search_and_sort_by_the_vectors(real, many, files, flowers, tmp_path):
    X, model = flowers[0], bdnn.load("model.bdnn")
    line = f"search --model model.bdnn train.npy query.npy -k 5 {real} --output {tmp_path}/f.npz"
    assert start(f"{line} --rerank train.npy --oversample {many}") == 0
    n = min(5 * many, 120)
    exact = np.linalg.norm(X[120:, None] - X[None, :120], axis=2)
    scores = -model.decision_function(X[120:]) @ model.transform(X[:120]).T
    shortlist = metrics.nearest(model.encode(X[120:]), model.encode(X[:120]), n)[0]
    with np.load(tmp_path / "f.npz") as found:
        for q, (rows, distances) in enumerate(zip(found["indices"], found["distances"])):
            np.testing.assert_allclose(distances, exact[q, rows])
            assert (np.diff(distances) >= 0).all()
            if real:  # of equal scores any may be on the list
                assert scores[q, rows].max() <= np.sort(scores[q])[n - 1] + 1e-9
            if n == 120 or not real:
                expected = sorted(shortlist[q], key=lambda i: (exact[q, i], i))[:5]
                np.testing.assert_array_equal(rows, expected)


def test_real_queries_go_through_the_decoder_of_a_network(files, flowers, tmp_path, capsys):
    X = flowers[0]
    model = bdnn.UHBDNN(4, max_alternations=1, max_iter=5, random_state=0).fit(X[:120])
    model.save(tmp_path / "m")
    line = f"search {tmp_path}/m train.npy query.npy -k 120 --float-query"
    assert start(f"{line} --output {tmp_path}/f.npz") == 0
    decoded = model.transform(X[:120]) @ model.decoder_W_.T + model.decoder_c_.T
    D = ((X[120:, None] - decoded[None]) ** 2).sum(axis=2)
    with np.load(tmp_path / "f.npz") as found:
        ranked = np.take_along_axis(D, found["indices"], axis=1)
        np.testing.assert_allclose(ranked, np.sort(D), rtol=1e-4)
        gaps = found["distances"] - ranked  # less what depends on the query alone
        assert np.ptp(gaps, axis=1).max() < 1e-3 * np.abs(ranked).max()


def test_codes_with_ids_are_appended_and_removed(files, flowers, tmp_path, capsys):
    table = pandas.read_csv("train.csv").drop(columns="species")
    table = table.assign(name=[f"flower {k}" for k in range(120)])
    table[:70].to_csv(tmp_path / "a.csv", index=False)
    table[70:].to_csv(tmp_path / "b.csv", index=False)
    codes, model = tmp_path / "codes.npz", bdnn.load("model.bdnn")
    more = f"encode model.bdnn {tmp_path}/b.csv --id name --output {codes} --append"
    fails(more, "there is no file .*codes.npz", capsys)
    assert start(f"encode model.bdnn {tmp_path}/a.csv --id name --output {codes}") == 0
    assert start(more) == 0
    assert "120 codes of 4 bits" in capsys.readouterr().out
    with np.load(codes) as found:
        np.testing.assert_array_equal(found["codes"], model.encode(flowers[0][:120]))
        assert found["ids"].tolist() == table.name.tolist()
    fails(more, "the id 'flower 100' comes twice", capsys)
    fails(more.replace("--id name", "--ignore name"), "must both have ids", capsys)
    line = f"search model.bdnn {codes} query.npy --encoded -k 3 --output {tmp_path}/f.npz"
    assert start(line) == 0
    with np.load(tmp_path / "f.npz") as found:
        nearest, ids = found["indices"][4], found["ids"][4]
        assert ids.tolist() == [f"flower {i}" for i in nearest]
    assert cli.main(["remove", str(codes), ids[0], ids[2]]) == 0
    assert "118 codes left" in capsys.readouterr().out
    assert cli.main(["remove", str(codes), ids[0]]) == 1
    assert f"has no item '{ids[0]}'" in capsys.readouterr().err
    assert start(line) == 0
    with np.load(tmp_path / "f.npz") as found:
        assert found["ids"][4][0] == ids[1] and not {ids[0], ids[2]} & set(found["ids"][4])
    (tmp_path / "gone.txt").write_text("\n".join(np.load(codes)["ids"][2:]) + "\n")
    fails(f"remove {codes} {tmp_path}", "has no item", capsys)
    fails(f"remove {codes}", "name the items to take out", capsys)
    rest, file = np.load(codes)["ids"][:2].tolist(), ["--file", f"{tmp_path}/gone.txt"]
    assert cli.main(["remove", str(codes), *rest, *file]) == 1
    assert "no item would be left" in capsys.readouterr().err
    assert cli.main(["remove", str(codes), *file]) == 0
    assert np.load(codes)["ids"].tolist() == rest
    bdnn.ITQ(4, random_state=1).fit(flowers[0][:120]).save(tmp_path / "other")
    fails(line.replace("model.bdnn", f"{tmp_path}/other"), "codes of another model", capsys)


def test_two_that_append_at_once(files, tmp_path, capsys, monkeypatch):
    line = f"encode model.bdnn train.npy --output {tmp_path}/c.npz"
    assert start(line) == 0
    write, others = cli.write_arrays, []

    def meanwhile(*args):
        others.append(start(line + " --append"))
        write(*args)

    with monkeypatch.context() as patch:
        patch.setattr(cli, "write_arrays", meanwhile)
        assert start(line + " --append") == 0
    assert others == [1] and "c.npz is being changed by another command" in capsys.readouterr().err
    assert start(line + " --append") == 0
    assert len(np.load(tmp_path / "c.npz")["codes"]) == 360


def test_columns_are_told_by_their_names(files, tmp_path, capsys):
    line = f"train train.csv --labels species --method itq --bits 4 --model {tmp_path}/m"
    assert start(line) == 0
    table = pandas.read_csv("query.csv")[["d", "b", "species", "a", "c"]]
    table.to_csv(tmp_path / "moved.csv", index=False)
    table.rename(columns={"a": "A"}).to_csv(tmp_path / "other.csv", index=False)
    for path in ("query.csv", f"{tmp_path}/moved.csv"):
        for command in ("search", "evaluate"):
            assert start(f"{command} {tmp_path}/m train.csv {path} --labels species") == 0
    capsys.readouterr()
    lines = []
    for path in ("query.csv", f"{tmp_path}/moved.csv"):
        options = f"--labels species --rerank {path} -k 3"
        assert start(f"search {tmp_path}/m {path} {path} {options}") == 0
        lines.append(capsys.readouterr().out)
    assert lines[0] == lines[1]
    told = "other.csv: its features are d, b, A, c, and those of the model a, b, c, d"
    fails(f"search {tmp_path}/m train.csv {tmp_path}/other.csv --labels species", told, capsys)


def write_named(path, X, ids):
    """A table of vectors with a column of ids, which stand in it as they are given."""
    rows = (",".join([name, *map(str, x)]) for name, x in zip(ids, X))
    path.write_text("\n".join(["name,a,b,c,d", *rows]))


IDS = ["00007", "0.10", "1e3", "5", "7.5", "9223372036854775808", "NA"]


@pytest.mark.filterwarnings("ignore:.* is a word, and not missing")
@pytest.mark.parametrize("ids", [IDS, IDS[:1] + IDS[3:4], IDS[5:6], IDS[:5], ["+1", "1"]], ids=str)
def test_ids_stay_as_they_stand(ids, files, flowers, tmp_path):
    n = len(ids)
    write_named(tmp_path / "t.csv", flowers[0][:n], ids)
    (tmp_path / "ids.txt").write_text("\n".join(["name", *ids]))
    np.save(tmp_path / "X.npy", flowers[0][:n])
    for line in ("t.csv --id name", f"X.npy --id {tmp_path}/ids.txt"):
        assert start(f"encode model.bdnn {tmp_path}/{line} --output {tmp_path}/c.npz") == 0
        assert np.load(tmp_path / "c.npz")["ids"].tolist() == ids
    assert (
        start(f"search model.bdnn {tmp_path}/t.csv query.npy --id name --output {tmp_path}/f.npz")
        == 0
    )
    assert set(np.load(tmp_path / "f.npz")["ids"].ravel()) == set(ids)
    if n > 1:
        assert cli.main(["remove", f"{tmp_path}/c.npz", ids[0]]) == 0
        assert np.load(tmp_path / "c.npz")["ids"].tolist() == ids[1:]


@pytest.mark.parametrize(
    "numbers", [np.arange(120), np.arange(120.0), np.arange(120, dtype=np.uint64) + 2**63]
)
def test_ids_that_are_numbers_in_an_array(numbers, files, tmp_path):
    np.save(tmp_path / "ids.npy", numbers)
    line = f"encode model.bdnn train.npy --id {tmp_path}/ids.npy --output {tmp_path}/c.npz"
    assert start(line) == 0
    first = 2**63 if numbers.dtype == np.uint64 else 0
    assert np.load(tmp_path / "c.npz")["ids"].tolist() == [str(first + k) for k in range(120)]


def test_vectors_to_sort_by_must_be_those_of_the_codes(files, flowers, tmp_path, capsys):
    X, ids = flowers[0][:120], [f"{k:03}" for k in range(120)]
    write_named(tmp_path / "t.csv", X, ids)
    write_named(tmp_path / "moved.csv", np.roll(X, 1, axis=0), [ids[-1], *ids[:-1]])
    codes = f"{tmp_path}/c.npz"
    assert start(f"encode model.bdnn {tmp_path}/t.csv --id name --output {codes}") == 0
    line = f"search model.bdnn {codes} query.npy --encoded --output {tmp_path}/f.npz --rerank"
    for vectors in (f"{tmp_path}/t.csv --id name", "train.npy --id name", "train.npy"):
        assert start(f"{line} {vectors}") == 0
    capsys.readouterr()
    fails(f"{line} {tmp_path}/moved.csv --id name", "row 0 '119', .* '000'", capsys)
    for bad in (np.nan, -np.inf, 1e200):
        Y = X.copy()
        Y[40, 2] = bad
        np.save(tmp_path / "Y.npy", Y)
        fails(f"{line} {tmp_path}/Y.npy -k 1 --oversample 120", "Y.npy: row 40 holds NaN", capsys)


@pytest.mark.parametrize("option", ["", "--float-query"])
@pytest.mark.parametrize("width", [1, 3, 5, 11])
def test_queries_are_checked(width, option, files, flowers, tmp_path, capsys):
    network = bdnn.UHBDNN(4, max_alternations=0, max_iter=2, random_state=0).fit(flowers[0])
    network.save(tmp_path / "m")
    np.save(tmp_path / "q.npy", np.ones((3, width)))
    line = f"search {tmp_path}/m train.npy {tmp_path}/q.npy {option}"
    fails(line, f"X has {width} features, but UHBDNN is expecting 4", capsys)
    for bad in (np.nan, 1e200):
        np.save(tmp_path / "q.npy", [[1, 2, 3, 4], [1, bad, 3, 4], [bad, 2, 3, 4]])
        fails(line, "row 1 of X holds NaN, infinity or a value too large", capsys)


@pytest.mark.parametrize(
    "line",
    [
        "train X.npy --method itq --bits 2 --model X.npy",
        "train train.npy --labels X.npy --method itqcca --bits 2 --model link",
        "train train.npy --model new --checkpoint ./new",
        "encode model.bdnn X.npy --output ./X.npy",
        "encode model.bdnn X.npy --output link",
        "encode model.bdnn X.npy --output model.bdnn",
        "search model.bdnn X.npy query.npy --output X.npy",
        "search model.bdnn train.npy X.npy --output X.npy",
        "search model.bdnn train.npy query.npy --rerank X.npy --output X.npy",
        "search model.bdnn train.npy query.npy --output model.bdnn",
        "compare X.npy --methods itq --bits 2 --report X.npy",
    ],
)
def test_an_input_is_not_written_over(line, files, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(files, tmp_path / "files")
    monkeypatch.chdir(folder)
    shutil.copy("train.npy", "X.npy")
    os.symlink("X.npy", "link")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    fails(line, "is the .* too, and would be lost", capsys)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_codes_keep_their_permissions(files, tmp_path):
    codes = tmp_path / "c.npy"
    assert start(f"encode model.bdnn train.npy --output {codes}") == 0
    codes.chmod(0o600)
    assert start(f"encode model.bdnn query.npy --output {codes} --append") == 0
    assert codes.stat().st_mode & 0o777 == 0o600 and len(np.load(codes)) == 150


@pytest.mark.parametrize(
    "odd",
    [
        {"ids": np.array("a")},
        {"ids": np.full((30, 2), "a")},
        {"ids": np.full(29, "a")},
        {"ids": np.full(30, 0.5)},
        {"model": np.array(["a", "b"])},
    ],
    ids=["one id", "a matrix", "one too few", "no whole numbers", "two models"],
)
def test_codes_with_odd_arrays(odd, files, tmp_path, capsys):
    path = tmp_path / "c.npz"
    np.savez(path, codes=bdnn.load("model.bdnn").encode(np.load("query.npy")), **odd)
    told = "c.npz holds (ids|codes of another model)"
    fails(f"search model.bdnn {path} query.npy --encoded", told, capsys)
    if "ids" in odd:
        fails(f"remove {path} a", told, capsys)


def test_codes_whose_ids_are_whole_numbers(files, tmp_path, capsys):
    codes = bdnn.load("model.bdnn").encode(np.load("query.npy"))
    np.savez(tmp_path / "c.npz", codes=codes, ids=np.arange(30))
    assert start(f"remove {tmp_path}/c.npz 3 29") == 0
    found = np.load(tmp_path / "c.npz")
    assert found["ids"].tolist() == [str(k) for k in range(29) if k != 3]
    np.testing.assert_array_equal(found["codes"], np.delete(codes, [3, 29], axis=0))


def test_codes_without_ids_are_appended(files, flowers, tmp_path, capsys):
    for name in ("c.npy", "c.npz"):
        line = f"encode --model model.bdnn query.npy --output {tmp_path}/{name}"
        assert start(line) == 0 and start(line + " --append") == 0
        expected = bdnn.load("model.bdnn").encode(flowers[0][120:])
        found = np.load(tmp_path / name)
        found = found if name == "c.npy" else found["codes"]
        np.testing.assert_array_equal(found, np.vstack([expected, expected]))
        fails(f"remove {tmp_path}/{name} 3", "has no ids", capsys)


def test_arrays_of_other_names(files, flowers, tmp_path):
    X = flowers[0]
    np.savez(tmp_path / "both.npz", new=X[120:], old=X[:120])
    file = tmp_path / "both.npz"
    plain = "search model.bdnn train.npy query.npy"
    named = f"search model.bdnn {file} {file} --vectors old --query-vectors new"
    for k, line in enumerate((plain, named, f"{named} --rerank {file} --oversample 1 ")):
        assert start(f"{line} --output {tmp_path}/{k}.npz") == 0
    found = [np.load(tmp_path / f"{k}.npz")["indices"] for k in range(3)]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(np.sort(found[0]), np.sort(found[2]))
    for command in ("train", "compare"):
        line = f"{command} {file} --vectors old --bits 4 --method itq --model {tmp_path}/m"
        if command == "compare":
            line = f"compare {file} --vectors old --bits 4 --methods itq --report {tmp_path}/r"
        assert start(line) == 0
    assert bdnn.load(tmp_path / "m").codes_.shape == (120, 4)
    assert start(f"evaluate model.bdnn {file} {file} --vectors old --query-vectors new") == 0


MEMORY = """
import sys
from bdnn.__main__ import main
for line in sys.argv[1:]:
    assert main(line.split()) == 0
    print("MB:", int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_memory_does_not_grow_with_the_file(tmp_path):
    """Twelve times the vectors, 90 MB more on the disk, twice that in single precision."""
    X, lines = np.random.default_rng(0).standard_normal((200, 2048)).astype(np.float16), []
    np.save(tmp_path / "q.npy", X[:5])
    bdnn.ITQ(8, random_state=0).fit(X).save(tmp_path / "m")
    m, c, q = (f"{tmp_path}/{name}" for name in ("m", "c.npy", "q.npy"))
    for n in (2000, 24000):
        file = f"{tmp_path}/{n}.npy"
        array = np.lib.format.open_memmap(file, "w+", np.float16, (n, 2048))
        array[:200] = X  # the others are 0, and take no room on the disk
        del array
        lines += [
            f"encode {m} {file} --output {c}",
            f"search {m} {c} {q} --encoded --rerank {file} --float-query",
            f"evaluate {m} {file} {q} --recall 3",
        ]
    run = [sys.executable, "-W", "ignore", "-c", MEMORY, *lines]
    done = subprocess.run(run, capture_output=True, text=True)
    peaks = [float(peak) for peak in re.findall("^MB: (.*)$", done.stdout, re.M)]
    assert len(peaks) == 6 and peaks[5] - peaks[2] < 45


def test_files_in_the_home(files, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    shutil.copy("train.npy", tmp_path / "X.npy")
    assert start("train ~/X.npy --method itq --bits 4 --model ~/m") == 0
    assert start("encode ~/m ~/X.npy --output ~/c.npz") == 0
    assert start("search ~/m ~/c.npz ~/X.npy --encoded --rerank ~/X.npy --output ~/f.npz") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"X.npy", "m", "c.npz", "f.npz"}


def test_search_for_more_than_there_is(files, tmp_path):
    assert start(f"search model.bdnn train.npy query.npy -k 500 --output {tmp_path}/f.npz") == 0
    with np.load(tmp_path / "f.npz") as archive:
        assert archive["indices"].shape == (30, 120)


@pytest.mark.parametrize("truth", ["auto", "labels", "knn"])
def test_evaluate_prints_the_measures(files, flowers, truth, capsys):
    options = f"--labels species --ground-truth {truth} --neighbours 7 --top 9"
    assert start(f"evaluate model.bdnn train.csv query.csv {options}") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("30 queries, 120 database items, 4 bits; relevant: ")
    assert head.endswith("7 Euclidean neighbours" if truth == "knn" else "the query's class")
    X, y = flowers
    model = bdnn.load("model.bdnn")
    relevant = (y[120:], y[:120])
    if truth == "knn":
        nearest = bdnn.data.nearest_neighbours
        relevant = nearest(X[120:].astype(np.float32), X[:120].astype(np.float32), 7)
    expected = metrics.evaluate(model.transform(X[120:]), model.transform(X[:120]), relevant, top=9)
    del expected["precision_at_500"]  # of 120 items it would tell nothing of the codes
    printed = {name: float(value) for name, value, *_ in map(str.split, lines)}
    assert printed == pytest.approx(expected, abs=1e-4) and len(expected) > 5
    before = {name: float(more[1]) for name, _, *more in map(str.split, lines) if more}
    codes = model.codes_
    assert before == pytest.approx(
        {"balance": metrics.balance(codes), "independence": metrics.independence(codes)}, abs=1e-4
    )


def test_evaluate_prints_the_validation_of_a_network(files, tmp_path, capsys):
    line = f"train digits --bits 8 --model {tmp_path}/m"
    assert start(f'{line} --settings {{"max_iter":3,"max_alternations":1}}') == 0
    digits = bdnn.data.load("digits")
    np.save(tmp_path / "q.npy", digits.query)
    np.save(tmp_path / "X.npy", digits.database)
    capsys.readouterr()
    assert start(f"evaluate --model {tmp_path}/m {tmp_path}/X.npy {tmp_path}/q.npy") == 0
    first = capsys.readouterr().out.splitlines()[1].split()
    model = bdnn.load(tmp_path / "m")
    score = model.history_[model.best_]["score"]
    assert first[0] == "precision_at_2" and first[2:] == ["training", f"{score:.4f}"]


def test_evaluate_tells_the_recall_of_shortlists(files, flowers, capsys):
    assert start("evaluate model.bdnn train.csv query.csv --labels species --recall 3") == 0
    lines = dict(map(str.split, capsys.readouterr().out.splitlines()[-2:]))
    X, model = flowers[0].astype(np.float32), bdnn.load("model.bdnn")
    truth = bdnn.data.nearest_neighbours(X[120:], X[:120], 3)
    D = metrics.hamming_distances(model.encode(X[120:]), model.encode(X[:120]))
    ranking = np.argsort(D, axis=1, kind="stable")
    for n in (3, 30):  # the 300 first of 120 are all of them
        share = np.mean([np.isin(t, row[:n]).mean() for t, row in zip(truth, ranking)])
        assert float(lines[f"3_recall_at_{n}"]) == pytest.approx(share, abs=1e-4)


def test_evaluate_with_labels_in_files(files, flowers, tmp_path, capsys):
    assert start("evaluate model.bdnn train.csv query.csv --labels species") == 0
    expected = capsys.readouterr().out
    _, y = flowers
    np.save(tmp_path / "y.npy", y[:120])
    np.save(tmp_path / "y_Q.npy", y[120:])
    line = f"evaluate model.bdnn train.npy query.npy --labels {tmp_path}/y.npy"
    assert start(f"{line} --query-labels {tmp_path}/y_Q.npy") == 0
    assert capsys.readouterr().out == expected
    line = f"evaluate model.bdnn train.npy query.csv --labels {tmp_path}/y.npy"
    assert start(f"{line} --query-labels species") == 0
    assert capsys.readouterr().out == expected


def test_names_of_rows_and_columns_left_out(files, flowers, tmp_path, capsys):
    """Codes are those of the numbers alone, and search gives the names of what it finds."""
    assert start(f"search model.bdnn train.npy query.npy -k 2 --output {tmp_path}/plain.npz") == 0
    names = np.array([f"flower {k}" for k in range(120)])
    table = pandas.read_csv("train.csv").assign(name=names, when="2024-01-01")
    table.to_csv(tmp_path / "t.csv", index=False)
    options = "--labels species --id name --ignore when"
    for line in ("train --method itq --model", "compare --methods itq --report"):
        command, *rest = line.split(maxsplit=1)
        line = f"{command} {tmp_path}/t.csv {options} --bits 4 {rest[0]} {tmp_path}/{command}"
        assert start(line) == 0
    assert "ITQ: 4 numbers -> 4 bits" in capsys.readouterr().out
    assert start(f"encode model.bdnn {tmp_path}/t.csv {options} --output {tmp_path}/c.npz") == 0
    model, X = bdnn.load("model.bdnn"), flowers[0]
    codes = np.load(tmp_path / "c.npz")["codes"]
    np.testing.assert_array_equal(codes, model.encode(X[:120]))
    line = f"search model.bdnn {tmp_path}/t.csv query.npy -k 2 {options}"
    assert start(f"{line} --output {tmp_path}/f.npz") == 0
    with np.load(tmp_path / "f.npz") as found, np.load(tmp_path / "plain.npz") as plain:
        np.testing.assert_array_equal(found["indices"], plain["indices"])
        np.testing.assert_array_equal(found["ids"], names[plain["indices"]])
        first = names[plain["indices"][0, 0]]
    capsys.readouterr()
    assert start(line) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(f"0: {first} (")
    assert start(f"evaluate model.bdnn {tmp_path}/t.csv {tmp_path}/t.csv {options}") == 0


@pytest.mark.parametrize("queries", ["query.npy", "bare.csv", "query.csv"])
def test_search_for_queries_without_labels(queries, files, flowers, tmp_path, capsys):
    assert start("search model.bdnn train.npy query.npy -k 2") == 0
    expected = capsys.readouterr().out
    table = pandas.read_csv("query.csv").drop(columns="species")
    table.to_csv(tmp_path / "bare.csv", index=False)
    path = tmp_path / queries if queries == "bare.csv" else queries
    assert start(f"search model.bdnn train.csv {path} -k 2 --labels species") == 0
    assert capsys.readouterr().out == expected


def test_evaluate_with_several_labels(files, flowers, tmp_path, capsys):
    """The classes as a 0/1 matrix: the same right answers, by another name."""
    Y = flowers[1][:, None] == np.unique(flowers[1])
    np.save(tmp_path / "y.npy", Y[:120])
    np.save(tmp_path / "y_Q.npy", Y[120:])
    line = f"evaluate model.bdnn train.npy query.npy --labels {tmp_path}/y.npy"
    assert start(f"{line} --query-labels {tmp_path}/y_Q.npy") == 0
    found = capsys.readouterr().out
    assert start("evaluate model.bdnn train.csv query.csv --labels species") == 0
    expected = capsys.readouterr().out
    assert found == expected.replace("of the query's class", "with a label in common")


def test_evaluate_without_labels_takes_neighbours(files, capsys):
    assert start("evaluate model.bdnn train.npy query.npy") == 0
    assert "the 50 Euclidean neighbours" in capsys.readouterr().out


def test_compare_writes_one_page(files, tmp_path, capsys):
    report = tmp_path / "<b>.html"
    line = f"compare train.csv --labels species --methods ITQ itqcca --bits 4 2 --report {report}"
    assert start(line) == 0
    output = capsys.readouterr().out
    assert "train: 108 training vectors" in output and "ground truth labels" in output
    rows = [text.split()[:2] for text in output.splitlines() if text.strip()[:3] == "ITQ"]
    assert rows == 2 * [["ITQ", "4"], ["ITQCCA", "4"], ["ITQ", "2"], ["ITQCCA", "2"]]
    page = report.read_text()
    assert page.count("<tr") == 2 * 5 and page.count("<svg") == page.count("</svg>") == 1
    precision = next(text.split()[3] for text in output.splitlines() if "ITQCCA" in text)
    assert f"<td>{precision}</td>" in page and "default-src 'none'" in page
    assert "<b>.html" not in page and "&lt;b&gt;.html" in page  # a name is text, never markup
    assert not re.search(r"<script|src=|href=\"http|@import", page)


def test_compare_tells_recall_and_bytes(files, flowers, tmp_path, capsys):
    """The last table has what the library gives for the same split."""
    assert start(f"compare train.npy --methods itq --bits 2 4 --report {tmp_path}/r.html") == 0
    head, _, *rows = capsys.readouterr().out.split("\n\n")[1].splitlines()[:4]
    assert head.split()[:3] == ["method", "bits", "bytes"]
    split = bdnn.data.load("train.npy", ground_truth=None)
    near = bdnn.data.nearest_neighbours(split.query, split.database, 10)
    for row, n_bits in zip(rows, (2, 4), strict=True):
        model = bdnn.ITQ(n_bits, random_state=0).fit(split.train)
        codes = model.transform(split.query), model.transform(split.database)
        shares = [metrics.recall_at(*codes, near, k=10, shortlist=n) for n in (10, 100)]
        expected = ["ITQ", f"{n_bits}", "1", *(f"{100 * share:.1f}" for share in shares)]
        assert row.split() == expected and shares[0] < shares[1]


def test_compare_keeps_what_was_measured_before_an_error(files, tmp_path, capsys, monkeypatch):
    measure = cli.compare.measure

    def second_fails(estimator, *args):
        if estimator.n_bits == 2:
            raise MemoryError("too large")
        return measure(estimator, *args)

    monkeypatch.setattr(cli.compare, "measure", second_fails)
    line = f"compare train.npy --methods itq --bits 4 2 --report {tmp_path}/r.html"
    assert start(line) == 1
    output = capsys.readouterr()
    assert output.err == "bdnn compare: too large\n" and "\n   ITQ     4  " in output.out
    page = (tmp_path / "r.html").read_text()
    assert page.count("<tr") == 2 * 2
    assert "<li>ITQ: <code>{&quot;dtype&quot;: &quot;float32&quot;, &quot;n_iter&quot;: 50}" in page


def test_compare_checks_all_lengths_before_the_first_run(files, capsys, monkeypatch):
    monkeypatch.setattr(cli.compare, "measure", None)
    few = "n_bits=500 is more than n_samples = 108 allow"
    fails("compare train.npy --methods itq --bits 4 500", few, capsys)
    fails("compare train.npy --methods itq --bits 4 0", "n_bits must be a whole number", capsys)


def test_compare_trains_on_a_sample(files, tmp_path, capsys):
    line = f"compare train.csv --labels species --methods itq --bits 4 --report {tmp_path}/r.html"
    assert start(f"{line} --sample 50") == 0
    assert "train: 50 training vectors, 108 as database" in capsys.readouterr().out


def test_compare_leaves_out_what_needs_labels(files, tmp_path, capsys):
    settings = '{"max_iter":2,"max_alternations":0}'
    line = f"compare train.npy --bits 3 --settings {settings} --report {tmp_path}/r.html"
    assert start(line) == 0
    output = capsys.readouterr().out
    assert "left out, because train has no labels: sdh, supdh, shbdnn" in output
    assert "ground truth knn50" in output and "UHBDNN" in output
    page = (tmp_path / "r.html").read_text().replace("&quot;", '"')
    assert '"max_alternations": 0' in page and page.count("<svg") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train absent.npy", "there is no file absent.npy"),
        ("train train.npy --method sdh", "sdh learns from labels, and train.npy has none"),
        ("train train.csv", "column 'species' does not hold numbers, but 'vers"),
        ("train train.csv --labels kind", "no column 'kind'; it has a, b, c, d, species"),
        ("train train.npy --bits 0", "'n_bits'"),
        ("train train.npy --bits 500", "n_bits=500 is more than n_samples = 120 allow"),
        ("train train.npy --model no/such/m", "there is no folder .*such for no/such/m"),
        ("train train.npy --model .", "(folder|directory)"),
        ("train train.npy --model=", "the file to write has an empty name"),
        ("train train.npy --checkpoint no/such/c", "there is no folder .*such for no/such/c"),
        ("encode model.bdnn train.npy --output .", "(folder|directory)"),
        ("compare train.npy --report .", "(folder|directory)"),
        ('train train.npy --settings {"n_bits":8}', "'n_bits' is no setting: --bits gives it"),
        ('train train.npy --settings {"random_state":8}', "no setting: --seed gives it"),
        ('compare train.npy --settings {"verbose":1}', "'verbose' is no setting: progress is"),
        ('compare train.npy --settings {"n_anchors":9}', "'n_anchors' is not known; known are"),
        (
            'compare train.npy --settings {"n_validation":9} --methods itq',
            "'n_validation' is not k",
        ),
        ('train train.npy --settings {"lambda9":1}', "'lambda9' is not known"),
        ("train ~nobody.npy", "there is no file ~nobody.npy"),
        ("train \x1b[2J.npy", r"there is no file \\x1b\[2J.npy"),
        ('train train.npy --settings {"lambda2":-1}', "'lambda2'"),
        (
            "train train.npy --method itq --checkpoint c",
            "--checkpoint is for networks; itq is",
        ),
        ("encode train.npy train.npy", "train.npy is no model file of bdnn: another kind"),
        ("encode absent.bdnn train.npy", "No such file"),
        ("search model.bdnn train.npy query.npy -k 0", "k must be a whole number"),
        ("search model.bdnn train.npy query.npy --radius -1", "radius must be a whole number"),
        ("search model.bdnn train.npy query.npy --encoded", "float64 .120, 4., not codes that"),
        ("search model.bdnn train.csv query.npy --encoded", "codes are read from the .npy or .npz"),
        ("evaluate model.bdnn train.npy query.npy --ground-truth labels", "needs labels in both"),
        ("evaluate model.bdnn train.npy query.npy --labels y.npy", "say with --query-labels where"),
        ("evaluate model.bdnn train.csv query.csv --labels kind", "has no column 'kind'"),
        ("search model.bdnn train.csv query.csv --labels kind", "has no column 'kind'"),
        ("search model.bdnn absent.npy query.npy --encoded", "there is no file absent.npy"),
        ("search model.bdnn train.npy query.npy --radius 1 --float-query", "--radius counts bits"),
        (
            "search model.bdnn train.npy query.npy --rerank query.npy",
            "30 vectors, and .* 120 codes",
        ),
        ("search model.bdnn train.npy query.npy --oversample 0", "--oversample must be a whole n"),
        ("evaluate model.bdnn train.npy query.npy --neighbours 0", "--neighbours must be a whole"),
        ("evaluate model.bdnn train.npy query.npy --neighbours -5", "--neighbours must be a wh"),
        ("evaluate model.bdnn train.npy query.npy --query-labels y.npy", "train.npy has no labels"),
        ("encode model.bdnn train.csv --id species", "codes.npy keeps no ids"),
        ("evaluate model.bdnn train.npy query.npy --recall 0", "--recall must be a whole number"),
        ("evaluate model.bdnn train.npy query.npy --recall 121", "121 neighbours asked for, but"),
        ("remove train.npy 3", "float64 .120, 4., not codes that encode wrote"),
        ("compare train.npy --methods sdh", "train has no labels, and sdh needs them"),
        ('compare train.npy --settings {"lambda9":1}', "'lambda9' is not known"),
        ("compare absent", "'absent' is not known. Known are: digits"),
        ("compare digits --labels y", "is for files of your own; digits has its own"),
    ],
)
def test_input_that_cannot_be_used(line, message, files, capsys):
    before = sorted(path.name for path in files.iterdir())
    fails(line, message, capsys)
    assert sorted(path.name for path in files.iterdir()) == before


@pytest.mark.parametrize("content", [b"", b"1,2\n", b"npz"])
def test_codes_that_are_none(content, files, tmp_path, capsys):
    path = tmp_path / "codes.npy"
    path.write_bytes(content)
    if content == b"npz":
        np.savez(tmp_path / "codes.npz", np.ones(3))
        (tmp_path / "codes.npz").rename(path)
    line = f"search model.bdnn {path} query.npy --encoded"
    fails(line, "codes.npy is damaged or not (a plain NumPy|an .npy) file", capsys)


def test_encoding_other_vectors_than_the_model_knows(files, tmp_path, capsys):
    np.save(tmp_path / "wide.npy", np.ones((3, 9)))
    fails(f"encode model.bdnn {tmp_path}/wide.npy", "9 features, but ITQ is expecting 4", capsys)


def test_a_folder_that_cannot_be_written(files, capsys, monkeypatch):
    monkeypatch.setattr(cli.os, "access", lambda folder, mode: False)
    fails("train train.npy", "is not writable", capsys)


def test_a_full_disk_leaves_no_half_file(files, tmp_path, capsys, monkeypatch):
    def full(file, arr):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    fails(f"encode model.bdnn train.npy --output {tmp_path}/codes.npy", "No space left", capsys)
    assert list(tmp_path.iterdir()) == []


def test_stopped_by_the_keyboard(files, capsys, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.readers, "read_columns", stop)
    assert start("train train.npy") == 130
    assert capsys.readouterr().err == "\nbdnn train: stopped\n"


STOPPED = """
import runpy, sys

class Stop:
    def find_spec(name, *args):
        if name == "numpy":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Stop)
runpy.run_module("bdnn", run_name="__main__")
"""


def test_stopped_while_packages_load():
    done = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "tarin x",
        "train x --settings " + 10**5 * "[",
        "train",
        "train x --method nonsense",
        "search m",
        "search m X Q -k 3 --radius 2",
    ],
)
def test_a_wrong_command_line_ends_with_2(line, capsys):
    with pytest.raises(SystemExit) as end:
        start(line)
    assert end.value.code == 2 and "usage: python -m bdnn" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "encode", "search", "remove", "evaluate", "compare"])
def test_help_teaches(command, capsys):
    """Every example of the help is a command line that parses."""
    with pytest.raises(SystemExit) as end:
        start(f"{command} --help")
    text = capsys.readouterr().out
    assert end.value.code == 0 and "example" in text
    examples = re.findall(r"^  python -m bdnn (.*)$", text, re.M)
    assert examples and all(example.startswith(command) for example in examples)
    for example in examples:
        assert cli.parser().parse_args(cli.shlex.split(example)).command == command


@pytest.mark.slow
def test_as_a_process(files):
    """Exit codes as the shell sees them, a terminal that shows ASCII, and a pipe closed early."""
    run = [sys.executable, "-m", "bdnn"]
    options = {"capture_output": True, "env": os.environ | {"PYTHONIOENCODING": "ascii"}}
    done = subprocess.run([*run, "train", "ü.npy"], **options)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.splitlines() == [rb"bdnn train: there is no file \xfc.npy"]
    line = [*run, "search", "model.bdnn", "train.npy", "query.npy", "-k", "120"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait(60) == 0
    process.stderr.close()


ENCODE = "encode model.bdnn train.npy --output"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text(files, tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.npy")
    shutil.copy("train.npy", name)
    line = ["compare", name, "--methods", "itq", "--bits", "4", "--report", f"{tmp_path}/r.html"]
    assert cli.main(line) == 0
    assert r"\udcff.npy --methods" in (tmp_path / "r.html").read_text(encoding="utf-8").replace(
        "&#x27;", ""
    )


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.slow
def test_closed_output(files, tmp_path):
    line = f"{shlex.quote(sys.executable)} -m bdnn {ENCODE} {tmp_path}/codes.npy >&- 2>&-"
    done = subprocess.run(line, shell=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert np.load(tmp_path / "codes.npy").shape == (120, 1)


def test_no_warning_on_ordinary_files(files, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert start(f"train train.csv --labels species --method shbdnn --model {tmp_path}/m") == 0
