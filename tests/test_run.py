"""The main job, `course.py run`: table, figures, recorded rows that are found again."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import bdnn
from bdnn import data, hashing, metrics
from bdnn.course import compare
from bdnn.course.records import read_rows
from tools import run

FIELDS = """method data bits seed split ground_truth n_query precision_at_2 precision_at_500
map_standard map_trapezoid map_expected empty_share balance independence fit_seconds
encode_seconds evaluate_seconds peak_mb rss_mb precision_by_radius recall_by_radius settings
versions revision precision_by_group command""".split()


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("BDNN_FIGURES", str(tmp_path / "figures"))
    return tmp_path / "figures"


def start(*arguments):
    run.main(["--data", "digits", *arguments])


def test_a_reading_of_rows_known_by_hand():
    figures = {"ITQ": (10, 30), "UHBDNN": (12.5, 20), "DeepHashing": (1, 1)}
    rows = [
        ROW | {"method": m, "precision_at_2": p, "map_standard": a} for m, (p, a) in figures.items()
    ]
    assert run.reading(rows) == (
        f"First are UH-BDNN in precision at {ROW['bits']} bits, by 2.5 points before ITQ; "
        f"ITQ in mAP at {ROW['bits']} bits, by 10.0 points before UH-BDNN."
    )
    assert "nothing to compare" in run.reading(rows[:1])


@pytest.mark.slow
def test_two_tables_two_figures(figures, capsys):
    settings = '{"max_alternations": 1, "max_iter": 5, "n_anchors": 50}'
    start("--bits", "8", "16", "--settings", settings)
    output = capsys.readouterr().out
    assert "digits: 1,500 training vectors" in output
    assert output.index("the 50 nearest to the query") < output.index("items of the query's class")
    lines = [re.split("  +", line.strip())[:2] for line in output.splitlines()]
    found = [line for line in lines if line[-1] in ("8", "16")]
    tables = ["ITQ", "DH", "UH-BDNN"], ["SDH", "supervised DH", "SH-BDNN"]
    assert found == [[name, L] for table in tables for L in ("8", "16") for name in table]
    for truth in ("knn50", "labels"):
        assert f"figure: {figures / f'run_digits_{truth}.svg'}" in output
        assert (figures / f"run_digits_{truth}.svg").stat().st_size > 1000
    assert "imbalance" not in output


def test_all_measures_on_demand(figures, capsys):
    start("--bits", "8", "--methods", "itq", "--all")
    output = capsys.readouterr().out
    assert "nothing to compare" in output
    assert "imbalance" in output and "One seed" in output
    assert "labels" not in output and (figures / "run_digits.svg").exists()


def test_recorded_row(figures, tmp_path):
    path = tmp_path / "results" / "rows.jsonl"
    start("--bits", "8", "--methods", "itq", "--seeds", "3", "--record", str(path))
    (row,) = read_rows(path)
    assert set(FIELDS) <= set(row)
    assert (row["method"], row["data"], row["bits"], row["seed"]) == ("ITQ", "digits", 8, 3)
    assert row["settings"] == {"n_iter": 50, "dtype": "float32"}
    assert row["command"].startswith("python3 course.py run --data digits --bits 8")
    digits = data.load("digits")
    itq = bdnn.ITQ(8, random_state=3).fit(digits.train)
    codes = itq.transform(digits.query), itq.transform(digits.database)
    expected = metrics.precision_at_radius(*codes, digits.relevant)
    assert row["precision_at_2"] == pytest.approx(100 * expected, abs=1e-3)
    assert 0 < row["map_trapezoid"] < row["map_standard"] < 100
    expected = metrics.precision_at(*codes, digits.relevant)
    assert row["precision_at_500"] == pytest.approx(100 * expected, abs=1e-3)
    assert row["split"] == "1500 train, 1500 database"
    groups = row["precision_by_group"]
    assert len(groups) == 100 and len(digits.query) % 100
    sizes = [len(digits.query[k::100]) for k in range(100)]
    mean = np.average(groups, weights=sizes)
    assert mean == pytest.approx(row["precision_at_2"], abs=1e-3) and np.std(groups) > 1
    assert len(row["history"]) == 51 and row["peak_mb"] is None  # few vectors: not traced
    assert row["rss_mb"] is None or 50 < row["rss_mb"] < 10_000


def test_a_run_goes_on_where_it_was_interrupted(figures, tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    start("--bits", "8", "--methods", "itq", "--record", str(path))
    path.write_text(path.read_text() + '{"method": "IT')  # an interruption in the middle of a line
    measured = []
    monkeypatch.setattr(run, "train", lambda estimator, _: measured.append(estimator.n_bits) or {})
    judged = {key: value for key, value in ROW.items() if key not in run.IDENTITY}
    monkeypatch.setattr(run, "judge", lambda *_: judged)
    start("--bits", "8", "16", "--methods", "itq", "--record", str(path))
    assert measured == [16]
    assert [row["bits"] for row in read_rows(path)] == [8, 16]


ROW = {key: 0.5 for key in FIELDS} | {"ground_truth": "labels", "history": []}


def identities(*arguments):
    """What makes the runs of a command line the same runs."""
    args = run.parse(["--bits", "8", "--methods", "itq", *arguments])
    return [planned.identity for name in args.data for planned in run.planned(name, args)]


def test_other_settings_seeds_data_and_revisions_are_other_runs(monkeypatch):
    (row,) = identities("--data", "digits")
    assert run.same_run(row, *identities("--data", "digits", "--ground-truth", "knn"))
    others = ["--settings", '{"n_iter": 3}'], ["--seeds", "1"], ["--bits", "16"]
    others += ["--protocol", "dh"], ["--n-train", "500"], ["--ground-truth", "labels"]
    for other in others:
        assert not run.same_run(row, *identities("--data", "digits", *other))
    monkeypatch.setitem(run.REVISIONS, "ITQ", 99)
    assert not run.same_run(row, *identities("--data", "digits"))


def test_files_of_the_same_name_are_told_apart(tmp_path, monkeypatch):
    paths = [tmp_path / folder / "x.npy" for folder in "ab"]
    for k, path in enumerate(paths):
        path.parent.mkdir()
        np.save(path, np.random.default_rng(k).standard_normal((40, 12)))
    monkeypatch.setenv("BDNN_CALLED_FROM", str(tmp_path / "a"))  # course.py was called there
    a, again, b = identities("--data", "x.npy", str(paths[0]), "../b/x.npy")
    assert run.same_run(a, again) and not run.same_run(a, b)
    assert (
        a["fingerprint"] == data.load(paths[0], ground_truth=None).fingerprint
        and a["data"] == b["data"] == "x"
    )
    assert not run.same_run({key: a[key] for key in a if key != "fingerprint"}, a)
    (named,) = identities("--data", "digits", "--record", "rows.jsonl")
    assert "fingerprint" not in named
    assert run.parse(["--record", "rows.jsonl"]).record == tmp_path / "a" / "rows.jsonl"


def test_under_protocol_dh_a_file_is_told_by_the_split_of_the_seed(tmp_path):
    y = np.repeat([0, 1], 130)
    np.savez(tmp_path / "x.npz", X=np.random.default_rng(0).standard_normal((260, 12)), y=y)
    line = ["--data", str(tmp_path / "x.npz"), "--protocol", "dh", "--seeds"]
    first, second = identities(*line, "0", "1")
    assert first["fingerprint"] != second["fingerprint"]
    assert run.same_run(second, *identities(*line, "1"))


@pytest.mark.slow
def test_what_was_measured_before_an_error_is_printed(figures, tmp_path, capsys, monkeypatch):
    train = run.train

    def second_fails(estimator, *args):
        if estimator.n_bits == 16:
            raise MemoryError("too large")
        return train(estimator, *args)

    monkeypatch.setattr(run, "train", second_fails)
    with pytest.raises(MemoryError):
        start("--bits", "8", "16", "--methods", "itq")
    assert "ITQ     8" in capsys.readouterr().out
    with pytest.raises(MemoryError):  # here the rows are in the file
        start("--bits", "8", "16", "--methods", "itq", "--record", str(tmp_path / "rows.jsonl"))
    assert "ITQ     8" not in capsys.readouterr().out
    monkeypatch.setattr(run, "train", None)  # nothing is trained before the message
    with pytest.raises(ValueError, match="n_bits=2000 is more than n_samples = 1500 allow"):
        start("--bits", "8", "2000", "--methods", "itq")


def test_neighbours_are_the_ground_truth_where_nothing_learns_from_labels(figures, capsys):
    start("--bits", "8", "--methods", "itq")
    assert "ground truth knn50" in capsys.readouterr().out


def test_labels_as_ground_truth(figures, capsys):
    start("--bits", "8", "--methods", "ITQCCA", "itq", "--ground-truth", "labels")
    output = capsys.readouterr().out
    assert "ground truth labels" in output and output.count("Judged by") == 1
    assert "ITQ-CCA" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "svm"], "invalid choice: 'svm'"),
        (["--bits", "many"], "invalid int value"),
        (["--settings", "{"], "--settings: not a JSON object: '{'"),
        (["--settings", "[1]"], "--settings: not a JSON object: '[1]'"),
    ],
)
def test_bad_command_lines(arguments, message, capsys):
    with pytest.raises(SystemExit):
        start(*arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bits", "0"], "n_bits must be"),
        (["--data", "no/such/file.npz"], "no/such/file.npz"),
        (["--settings", '{"n_itre": 3}'], "'n_itre' is not known; known are .*, n_iter, "),
        (["--settings", '{"n_bits": 3}'], "'n_bits' is no setting: --bits gives it"),
        (["--settings", '{"random_state": 3}'], "'random_state' is no setting: --seed gives it"),
        (["--record", "."], "directory"),
        (["--record", ""], "directory"),
        (["--record", f"{__file__}/rows.jsonl"], "directory.*test_run.py"),
    ],
)
def test_bad_input_ends_with_a_message(arguments, message, figures, monkeypatch):
    monkeypatch.setattr(run, "train", None)
    with pytest.raises((ValueError, OSError), match=message):
        start(*arguments)


def test_settings_are_those_of_the_methods_that_run(bare, monkeypatch):
    monkeypatch.setattr(run, "train", None)
    with pytest.raises(ValueError, match="'alpha' is not known"):  # of supdh, left out
        run.main(["--data", bare, "--bits", "8", "--settings", '{"alpha": 1}'])


def test_rounding_of_recorded_numbers():
    value = [{"a": 1.23456789, "b": [2.0, 3]}, "x"]
    assert compare.rounded(value) == [{"a": 1.23457, "b": [2.0, 3]}, "x"]
    assert np.isnan(compare.rounded(float("nan")))


# --- several seeds, the protocol of Deep Hashing, data without labels


def test_means_over_the_seeds(figures, capsys):
    start("--bits", "16", "8", "--methods", "itq", "--seeds", "0", "1", "2", "--all")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    runs = [line for line in lines if line[:1] == ["ITQ"] and line[1] in ("16", "8")]
    (long, short), *each = runs[:2], *runs[2:]
    assert [line[1:3] for line in each] == [[L, s] for L in ("16", "8") for s in ("0", "1", "2")]
    assert [line[1] for line in (long, short)] == ["16", "8"]
    values = [float(line[4]) for line in each[:3]]
    assert float(long[2]) == pytest.approx(np.mean(values), abs=0.01) and long[3] == "±"
    assert float(long[4]) == pytest.approx(np.std(values, ddof=1), abs=0.01)


def test_summary_of_rows_known_by_hand():
    rows = [
        ROW | {"method": "ITQ", "bits": 8, "seed": k, "map_standard": 2.0 * k} for k in range(3)
    ]
    rows += [ROW | {"method": "DeepHashing", "bits": 8, "seed": 0}]
    head, _, itq, other = run.summary(rows).splitlines()
    assert itq.split()[:2] == ["ITQ", "8"] and "2.00 ± 2.00" in itq and "0.50 ± 0.00" in itq
    assert other.split() == ["DH", "8", "0.50", "0.50", "0.5"]
    assert len({len(line) for line in (head, itq, other)}) == 1
    del rows[3]["precision_at_500"]  # recorded by an earlier version
    assert run.table(rows).splitlines()[5].split()[:6] == (
        ["DeepHashing", "8", "0", "labels", "0.50", "-"]
    )


@pytest.mark.slow
def test_protocol_dh_draws_a_split_for_each_seed(figures, tmp_path, monkeypatch, capsys):
    path = tmp_path / "rows.jsonl"
    seen, train = [], run.train

    def watched(estimator, dataset):
        seen.append((estimator.random_state, type(estimator).__name__, dataset.fingerprint))
        return train(estimator, dataset)

    monkeypatch.setattr(run, "train", watched)
    arguments = ["--bits", "8", "--methods", "itq", "itqcca", "--seeds", "0", "1"]
    start(*arguments, "--protocol", "dh", "--record", str(path))
    output = capsys.readouterr().out
    assert "ground truth labels, protocol dh" in output
    assert (figures / "run_digits_dh.svg").exists() and not (figures / "run_digits.svg").exists()
    splits = {seed: {print_ for s, _, print_ in seen if s == seed} for seed in (0, 1)}
    assert len(seen) == 4 and [len(prints) for prints in splits.values()] == [1, 1]
    assert splits[0] == {data.load("digits", protocol="dh", seed=0).fingerprint} != splits[1]
    rows = read_rows(path)
    assert {row["split"] for row in rows} == {"dh: 797 train, 797 database"}
    assert {(row["ground_truth"], row["n_query"]) for row in rows} == {("labels", 1000)}
    start(*arguments, "--protocol", "dh", "--record", str(path))
    assert len(seen) == 4  # all found again
    start(*arguments, "--ground-truth", "labels", "--record", str(path))
    assert len(seen) == 8 and len({print_ for *_, print_ in seen[4:]}) == 1


def test_rows_recorded_before_are_found(monkeypatch):
    mnist = data.Dataset("mnist", *3 * [np.zeros((60000, 1))], None, None, "none", None, "")
    monkeypatch.setattr(run, "source", lambda *_: mnist)
    (old,) = [
        row
        for row in read_rows(Path(__file__).parents[1] / "notebooks/results/paper.jsonl")
        if (row["data"], row["method"], row["bits"], row["seed"], row["ground_truth"])
        == ("mnist", "ITQ", 8, 0, "knn50")
    ]
    (new,) = identities("--data", "mnist")
    assert run.same_run(old, new)
    assert not run.same_run(old, new | {"split": "dh: 69000 train"})


@pytest.fixture
def bare(tmp_path):
    """Vectors without labels."""
    np.save(tmp_path / "bare.npy", np.random.default_rng(0).standard_normal((200, 12)))
    return str(tmp_path / "bare.npy")


def test_supervised_methods_are_left_out_without_labels(figures, bare, capsys, monkeypatch):
    for name in set(run.METHODS) - {"itqcca", "itq"}:
        monkeypatch.delitem(run.METHODS, name)
    monkeypatch.setattr(run, "DEFAULT_METHODS", ["itqcca", "itq"])
    for arguments in ([], ["--methods", "all"]):
        run.main(["--data", bare, "--bits", "8", *arguments])
        output = capsys.readouterr().out
        assert "left out, because bare has no labels: itqcca" in output
        assert "ITQ" in output and "ITQCCA" not in output
    monkeypatch.setattr(run, "train", None)  # nothing may be trained before the message
    with pytest.raises(ValueError, match="bare has no labels, and itqcca needs them"):
        run.main(["--data", bare, "--bits", "8", "--methods", "itq", "itqcca"])
    with pytest.raises(ValueError, match="bare has no labels; protocol='dh'"):
        run.main(["--data", bare, "--bits", "8", "--protocol", "dh"])


def test_thinned_histories():
    for n in (0, 1, 2, 59, 60, 61, 500, 20_001):
        kept = compare.thinned(list(range(n)))
        assert len(kept) == min(n, 60) and kept == sorted(set(kept))
        assert n == 0 or (kept[0], kept[-1]) == (0, n - 1)
        assert n < 2 or max(np.diff(kept)) <= max(1, np.ceil(n / 59))


def test_a_training_that_is_interrupted_has_no_row(monkeypatch):
    """Although the estimator keeps its best state, and only warns."""

    def set_postfix(self, *shown):
        raise KeyboardInterrupt

    monkeypatch.setattr(hashing.tqdm, "set_postfix", set_postfix)
    options = {"max_alternations": 2, "max_iter": 2, "n_validation": 0}
    digits = data.load("digits", ground_truth="labels")
    with pytest.warns(hashing.StoppedEarly, match="interrupted"):
        bdnn.UHBDNN(8, **options).fit(digits.train)
    with pytest.raises(KeyboardInterrupt):
        compare.measure(bdnn.UHBDNN(8, **options), digits, {})


def test_memory_is_traced_where_it_costs_little(monkeypatch):
    digits = data.load("digits", ground_truth="labels")
    monkeypatch.setattr(compare, "TRACE_FROM", 1500)
    row = compare.measure(bdnn.ITQ(8), digits, {})
    assert row["precision_by_radius"][2] == pytest.approx(row["precision_at_2"], abs=1e-3)
    assert len(row["recall_by_radius"]) == 9 and row["recall_by_radius"][8] == 100
    assert 0.3 < row["peak_mb"] < 20 and not compare.tracemalloc.is_tracing()


def test_a_method_that_draws_nothing_runs_once_for_all_seeds(figures, capsys):
    start("--bits", "8", "--methods", "sh", "itq", "--seeds", "0", "1", "--all")
    output = capsys.readouterr().out
    lines = [line.split() for line in output.splitlines()]
    runs = [line[:3] for line in lines if line and line[0] in ("SpectralHashing", "ITQ")]
    assert [run for run in runs if run[2] in "01"] == (
        [["SpectralHashing", "8", "0"], ["ITQ", "8", "0"], ["ITQ", "8", "1"]]
    )
    assert "nan" not in output


# --- the whole of the paper


SMALL = {"data": ["digits"], "methods": ["all"], "bits": [8], "seeds": [0, 1]}
QUICK = json.dumps({"max_alternations": 0, "max_iter": 3, "n_anchors": 50})


@pytest.fixture
def small_paper(figures, tmp_path, monkeypatch):
    """The pipeline of the paper on the digits, with a results folder of its own."""
    folder = tmp_path / "results"
    monkeypatch.setattr(run, "RESULTS", folder)
    monkeypatch.setattr(run, "PAPER", run.PAPER | SMALL | {"record": folder / "paper.jsonl"})
    return folder


@pytest.mark.slow
def test_one_command_makes_both_tables_in_one(small_paper, figures, capsys):
    run.main(["--paper", "--settings", QUICK, "--seeds", "0"])
    output = capsys.readouterr().out
    rows = read_rows(small_paper / "paper.jsonl")
    by_class = {name for name in run.supervised(run.METHODS)}
    assert by_class == {"itqcca", "bre", "ksh", "sdh", "supdh", "shbdnn"}
    for name, cls in run.METHODS.items():
        kinds = {r["ground_truth"] for r in rows if r["method"] == cls.__name__}
        truths = ["labels"] if name in by_class else ["knn50"]
        truths += ["labels"] if name in run.BOTH else []
        assert kinds == set(truths)
    ours = [r for r in rows if (r["method"], r["bits"], r["seed"]) == ("UHBDNN", 8, 0)]
    assert ours[0]["history"] == ours[1]["history"]  # one training, judged twice
    assert "ground truth knn50 and labels" in output
    assert output.count("Judged by") == 2
    for name in ("run_digits_knn50.svg", "run_digits_labels.svg"):
        assert (figures / name).exists() and f"figure: {figures / name}" in output
    run.main(["--paper", "--settings", QUICK, "--seeds", "0", "--plan"])
    assert f"{len(rows)} runs, all of them recorded" in capsys.readouterr().out


def test_plan_tells_what_is_left_and_how_long_it_takes(small_paper, capsys, monkeypatch):
    run.main(["--paper", "--methods", "ba", "sh", "--seeds", "0"])
    path = small_paper / "paper.jsonl"
    rows = [row | {"fit_seconds": 30, "evaluate_seconds": 60} for row in read_rows(path)]
    path.rename(small_paper / "other.jsonl")  # any file of the folder counts
    (small_paper / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    capsys.readouterr()
    monkeypatch.setattr(run, "train", None)  # nothing is trained
    run.main(["--paper", "--plan", "--methods", "ba", "sh", "itqcca"])
    lines = capsys.readouterr().out.splitlines()
    expected = "5 runs, 2 of them recorded; left: about 1.5 min and 2 runs of unknown length"
    assert lines[0] == expected
    left = [line.split() for line in lines[3:]]
    assert [line[2:6] for line in left] == [
        ["ITQCCA", "8", "0", "-"],
        ["BinaryAutoencoder", "8", "1", "90"],
        ["ITQCCA", "8", "1", "-"],
    ]


def test_nothing_is_left_of_the_unsupervised_table(small_paper, monkeypatch, capsys):
    monkeypatch.setattr(run, "FIRST_TABLE", ("digits",))
    run.main(["--paper", "--methods", "sdh"])
    lines = capsys.readouterr().out.splitlines()
    expected = "left out, because digits is for the unsupervised table alone: sdh"
    assert lines == [expected, "no runs are left"]


def test_time_is_expected_from_the_nearest_length():
    (planned,) = identities("--data", "digits", "--bits", "16")
    work = run.Run("digits", 0, 16, "itq", planned)
    row = planned | {"fit_seconds": 1.0, "encode_seconds": 0.5}
    rows = [row | {"bits": 64, "fit_seconds": 9}, row | {"bits": 24}, row | {"data": "mnist"}]
    assert run.expected_seconds(work, rows) == 1.5
    assert run.expected_seconds(work, rows[2:]) is None
    assert run.total([30.0, 60.0]) == "about 1.5 min"
    assert run.total([3600.0, 3600.0, None]) == "about 2.0 h and 1 run of unknown length"


def test_fewer_training_vectors_keep_the_task_and_the_classes():
    digits = data.load("digits", ground_truth="labels")
    few = run.fewer(digits, 500, seed=0)
    assert few.train.shape == (500, 64) and few.database is digits.database
    shares = [np.bincount(y) / len(y) for y in (few.labels.train, digits.labels.train)]
    assert np.abs(shares[0] - shares[1]).max() < 2 / 500
    assert not np.array_equal(few.train, run.fewer(digits, 500, seed=1).train)
    (row,) = identities("--data", "digits", "--n-train", "500")
    assert row["split"] == "500 train, 1500 database"
    with pytest.raises(ValueError, match="--n-train 1500: digits has 1500 to draw from"):
        run.fewer(digits, 1500, seed=0)


def test_neighbours_of_sift_are_a_hundredth_of_the_database(monkeypatch):
    sift = data.Dataset("sift", *3 * [np.zeros((9, 1))], None, None, "none", None, "")
    monkeypatch.setattr(run, "source", lambda *_: sift)
    rows = identities("--data", "sift", "--methods", "all")
    assert {row["ground_truth"] for row in rows} == {"knn3000"}
    assert {row["method"] for row in rows} >= {"ITQ", "UHBDNN"} and len(rows) == 7


@pytest.mark.parametrize("variant", run.VARIANTS)
def test_a_variant_trains_otherwise_and_its_row_says_so(variant, tmp_path, capsys, monkeypatch):
    name = run.VARIANTS[variant][0].__name__
    monkeypatch.setattr(f"{name}.SAMPLE", 500)
    options = ["--data", "digits", "--methods", name.removeprefix("bdnn.").replace("_", "")]
    options += ["--bits", "8", "--settings", '{"max_alternations":4,"max_iter":3}']
    options += ["--record", str(tmp_path / "rows.jsonl")]
    run.main(options)
    run.main([*options, "--variant", variant])
    usual, other = read_rows(tmp_path / "rows.jsonl")
    assert "variant" not in usual and other["variant"] == variant
    assert usual["history"][-1]["objective"] != other["history"][-1]["objective"]


def test_a_variant_is_one_of_its_method(capsys):
    with pytest.raises(SystemExit):
        run.main(["--methods", "itq", "--variant", "all axes"])
    assert "uhbdnn alone" in capsys.readouterr().err
