"""Trainings that are cut off: by a machine that stops, by a full disk, by Ctrl-C."""

import copy
import itertools
import math
import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import zoo

import bdnn
from bdnn import files, hashing, sh_bdnn, uh_bdnn
from bdnn.data import load

pytestmark = pytest.mark.usefixtures("few_starts")

NETWORK = {"hidden": (12, 10), "max_iter": 8, "max_alternations": 4, "patience": 9}
DESCENT = {"hidden": (12, 10), "max_iter": 30}
CASES = {
    "UHBDNN": NETWORK,
    "UHBDNN, float64, no validation": NETWORK | {"dtype": "float64", "n_validation": 0},
    "UHBDNN, out of patience": NETWORK | {"patience": 1, "max_alternations": 9},
    "UHBDNN, samples join": NETWORK,
    "SHBDNN": NETWORK,
    "SHBDNN, from ITQ": NETWORK | {"init": "itq", "n_validation": 0},
    "SHBDNN, float64, samples join": NETWORK | {"dtype": "float64"},
    "DeepHashing": DESCENT,
    "DeepHashing, L-BFGS, float64": DESCENT | {"optimizer": "lbfgs", "dtype": "float64"},
    "SupervisedDeepHashing": DESCENT,
    "SupervisedDeepHashing, L-BFGS": DESCENT | {"optimizer": "lbfgs"},
}
EVERY = pytest.mark.parametrize("case", list(CASES))
ONE_EACH = pytest.mark.parametrize("case", [case for case in CASES if "," not in case])


def make(case, **options):
    return getattr(bdnn, case.partition(",")[0])(8, **CASES[case] | options)


@pytest.fixture(autouse=True)
def samples_join(request, monkeypatch):
    """Where the case says so, the first two rounds see 100 of the samples."""
    if "join" in request.node.name:
        for module in (uh_bdnn, sh_bdnn):
            monkeypatch.setattr(module, "SAMPLE", 100)
        monkeypatch.setattr(uh_bdnn, "ROUNDS", 2)


@pytest.fixture(scope="module")
def digits():
    d = load("digits", ground_truth="labels")
    return d.train[:400], d.labels.train[:400]


@pytest.fixture
def often(monkeypatch):
    """Write a checkpoint whenever there is something to write."""
    monkeypatch.setattr(files, "CHECKPOINT_SECONDS", 0)


class Stopped(Exception):
    """The machine stops."""


def stop_after(n, monkeypatch):
    """Let the n-th checkpoint that is written be the last thing that happens."""
    replace, written = os.replace, []

    def counted(source, target):
        replace(source, target)
        written.append(target)
        if len(written) == n:
            raise Stopped

    monkeypatch.setattr(files.os, "replace", counted)


def same(one, other):
    """Two trainings that did the same: network, codes and history, all but the time."""
    for key in ("Ws_", "cs_"):
        for a, b in zip(getattr(one, key), getattr(other, key), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.codes_, other.codes_)
    rows = [[row | {"seconds": 0} for row in est.history_] for est in (one, other)]
    assert rows[0] == rows[1] and one.best_ == other.best_
    return True


@EVERY
@pytest.mark.parametrize("n", [1, 3])
def test_resumed_training_ends_at_the_same_codes(case, n, digits, tmp_path, often, monkeypatch):
    path = tmp_path / "run.checkpoint"
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(n, patch)
        make(case).fit(*digits, checkpoint=path)
    assert os.listdir(tmp_path) == [path.name]
    resumed, whole = make(case).fit(*digits, checkpoint=path), make(case).fit(*digits)
    assert same(resumed, whole) and len(whole.history_) > 3
    seen = {row["samples"] for row in whole.history_}
    assert len(seen) == 1 + ("join" in case)


@EVERY
def test_stopped_again_and_again(case, digits, tmp_path, often, monkeypatch):
    """A training that is stopped after every single checkpoint gets to its end all the same."""
    path = tmp_path / "run.checkpoint"
    for _ in range(60):
        with monkeypatch.context() as patch:
            stop_after(1, patch)
            try:
                resumed = make(case).fit(*digits, checkpoint=path)
                break
            except Stopped:
                pass
    assert same(resumed, make(case).fit(*digits))


@EVERY
def test_a_checkpoint_of_a_finished_training(case, digits, tmp_path, often):
    path = tmp_path / "run.checkpoint"
    first = make(case).fit(*digits, checkpoint=path)
    assert same(make(case).fit(*digits, checkpoint=path), first)
    assert same(make(case).fit(*digits), first)


@ONE_EACH
def test_a_checkpoint_of_another_training_is_refused(case, digits, tmp_path, often):
    X, y = digits
    path = tmp_path / "run.checkpoint"
    make(case).fit(X, y, checkpoint=path)
    before = path.read_bytes()
    others = [(make(case), X + 1), (make(case, max_iter=7), X), (make(case, random_state=1), X)]
    for estimator, samples in others:
        with pytest.raises(ValueError, match="another training"):
            estimator.fit(samples, y, checkpoint=path)
    if bdnn.__dict__[case.partition(",")[0]]._requires_labels:
        with pytest.raises(ValueError, match="another training"):
            make(case).fit(X, y[::-1], checkpoint=path)
    assert path.read_bytes() == before
    make(case, verbose=True).fit(X, y, checkpoint=path)  # how it looks is no difference


@ONE_EACH
def test_a_checkpoint_needs_a_seed(case, digits, tmp_path, often):
    for state in (None, np.random.default_rng(0), np.random.RandomState(0), True):
        with pytest.raises(ValueError, match="random_state"):
            make(case, random_state=state).fit(*digits, checkpoint=tmp_path / "run.checkpoint")
        assert not os.listdir(tmp_path)
    make(case, random_state=np.int64(0)).fit(*digits, checkpoint=tmp_path / "run.checkpoint")
    assert os.listdir(tmp_path) == ["run.checkpoint"]


@ONE_EACH
def test_a_checkpoint_of_another_start_is_refused(case, digits, tmp_path, often, monkeypatch):
    path = tmp_path / "run.checkpoint"
    starts = [make(case, random_state=seed, max_iter=3).fit(*digits) for seed in (0, 1)]
    starts[1].Ws_[0] = starts[1].Ws_[0] + 1e-3  # some do not draw anything
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(2, patch)
        make(case).fit(*digits, start=starts[0], checkpoint=path)
    for start in (starts[1], None):
        with pytest.raises(ValueError, match="another training"):
            make(case).fit(*digits, start=start, checkpoint=path)
    starts[0].save(tmp_path / "start.bdnn")
    resumed = make(case).fit(*digits, start=bdnn.load(tmp_path / "start.bdnn"), checkpoint=path)
    assert same(resumed, make(case).fit(*digits, start=starts[0]))
    path.unlink()
    make(case).fit(*digits, checkpoint=path)
    with pytest.raises(ValueError, match="another training"):
        make(case).fit(*digits, start=starts[0], checkpoint=path)


@pytest.mark.parametrize("case", ["SHBDNN", "SupervisedDeepHashing"])
def test_labels_that_are_objects(case, digits, tmp_path, often):
    """Equal words are equal labels, wherever they lie in memory."""
    X, y = digits
    path = tmp_path / "run.checkpoint"
    words = [np.array(["".join(["class ", str(n)]) for n in y], dtype=object) for _ in range(2)]
    first = make(case).fit(X, words[0], checkpoint=path)
    assert same(make(case).fit(X, words[1], checkpoint=path), first)
    with pytest.raises(ValueError, match="another training"):
        make(case).fit(X, words[1][::-1], checkpoint=path)


def test_damaged_and_foreign_checkpoints(digits, tmp_path, often):
    path = tmp_path / "run.checkpoint"
    estimator = make("UHBDNN").fit(*digits, checkpoint=path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for bad in (b"", whole[:500], flipped, b"\x80\x04K\x01."):
        path.write_bytes(bad)
        with pytest.raises(bdnn.ModelFileError, match="run.checkpoint"):
            make("UHBDNN").fit(*digits, checkpoint=path)
    estimator.save(path)
    with pytest.raises(bdnn.ModelFileError, match="is no checkpoint"):
        make("UHBDNN").fit(*digits, checkpoint=path)
    path.write_bytes(whole)
    with pytest.raises(bdnn.ModelFileError, match="is no model file"):
        bdnn.load(path)


@pytest.mark.parametrize("name", ["transform", "__class__", "verbose"])
def test_a_forged_checkpoint_replaces_no_method(name, digits, tmp_path, often):
    path = tmp_path / "run.checkpoint"
    make("UHBDNN").fit(*digits, checkpoint=path)
    header, arrays = files._read_archive(path, files.CHECKPOINT_FORMAT, "checkpoint")
    header["content"]["items"]["best"]["items"]["learned"]["items"][name] = 1
    files._write_archive(path, header, arrays)
    with pytest.raises(bdnn.ModelFileError, match=f"no checkpoint of bdnn: .*{name}"):
        make("UHBDNN").fit(*digits, checkpoint=path)


def test_a_full_disk_leaves_the_last_checkpoint(digits, tmp_path, often, monkeypatch):
    path = tmp_path / "run.checkpoint"
    savez, calls = np.savez, []

    def full(file, **arrays):
        calls.append(1)
        if len(calls) == 3:
            file.write(b"PK half")
            raise OSError(28, "No space left on device")
        savez(file, **arrays)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(np, "savez", full)
        make("UHBDNN").fit(*digits, checkpoint=path)
    assert os.listdir(tmp_path) == [path.name]
    assert same(make("UHBDNN").fit(*digits, checkpoint=path), make("UHBDNN").fit(*digits))


def test_no_more_writing_than_every_ten_seconds(digits, tmp_path, monkeypatch):
    now, writes = [0.0], []
    monkeypatch.setattr(files.time, "monotonic", lambda: now.__setitem__(0, now[0] + 4) or now[0])
    monkeypatch.setattr(files, "_write_archive", lambda *_: writes.append(now[0]))
    make("DeepHashing").fit(*digits, checkpoint=tmp_path / "c")
    assert len(writes) > 3 and np.diff(writes[:-1]).min() >= 10  # the last one when all is done


TRAIN = """
import sys
import bdnn
from bdnn import files
from bdnn.data import load
files.CHECKPOINT_SECONDS = 0
X = load("digits", ground_truth=None).train
bdnn.UHBDNN(8, hidden=(12, 10), max_iter=40, patience=20).fit(X, checkpoint=sys.argv[1])
"""


def wait_for_change(path, before, process):
    """Wait until the file has changed or the process has ended."""
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.002)


@pytest.mark.slow
def test_killed_processes(tmp_path):
    """SIGKILL at moments that nobody chose; then the training is finished and compared."""
    path, rng = tmp_path / "run.checkpoint", np.random.default_rng(0)
    for _ in range(2):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = subprocess.Popen([sys.executable, "-c", TRAIN, str(path)])
        wait_for_change(path, before, process)
        time.sleep(rng.random() * 0.05)
        process.kill()
        process.wait()
        files._read_archive(path, files.CHECKPOINT_FORMAT, "checkpoint")  # whole, whenever it was
    X = load("digits", ground_truth=None).train
    make = partial(bdnn.UHBDNN, 8, hidden=(12, 10), max_iter=40, patience=20)
    assert same(make().fit(X, checkpoint=path), make().fit(X))
    assert os.listdir(tmp_path) == [path.name]  # nothing is left of a write that was killed


def interrupt_at(share):
    def callback(done):
        if done >= share:
            raise KeyboardInterrupt

    return callback


@ONE_EACH
def test_ctrl_c_keeps_the_best_state_and_says_so(case, digits, tmp_path):
    X, y = digits
    with pytest.warns(hashing.StoppedEarly) as caught:
        stopped = make(case).fit(X, y, callback=interrupt_at(0.7))
    assert caught[0].filename == __file__
    assert 0 < len(stopped.history_) < len(make(case).fit(X, y).history_)
    assert stopped.transform(X).shape == stopped.codes_.shape == (400, 8)
    stopped.save(tmp_path / "model.bdnn")
    np.testing.assert_array_equal(bdnn.load(tmp_path / "model.bdnn").codes_, stopped.codes_)


@ONE_EACH
def test_a_callback_that_raises_leaves_a_whole_estimator(case, digits):
    def callback(done):
        if done > 0.5:
            raise ZeroDivisionError

    estimator = make(case)
    with pytest.raises(ZeroDivisionError):
        estimator.fit(*digits, callback=callback)
    assert len(estimator.history_) > 1 and estimator.codes_.shape == (400, 8)
    assert estimator.transform(digits[0]).shape == (400, 8)


def lines_of_bdnn(fit, last=math.inf):
    """Run it; raise KeyboardInterrupt at the last line of bdnn that may run. Returns their number.

    Of a generator or comprehension Python swallows what is raised where it is thrown away: there
    no line counts.
    """
    count = itertools.count(1)

    def trace(frame, event, argument):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line" and next(count) == last:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        fit()
    finally:
        sys.settrace(before)
    return next(count) - 1


PACKAGE = os.path.dirname(bdnn.__file__)
LINES = 20  # of each method, where Ctrl-C comes


@pytest.mark.parametrize("name", zoo.SETTINGS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_ctrl_c_at_any_line_leaves_a_whole_estimator(name, digits, tmp_path):
    """What was fitted before, or a training that ended early; never some of each."""
    (X, y), path = (A[:60] for A in digits), tmp_path / "model.bdnn"
    old = zoo.make(name).fit(X[:40], y[:40])
    whole = copy.copy(old)
    total = lines_of_bdnn(lambda: whole.fit(X, y))
    rng, kept = np.random.default_rng(0), 0
    for last in [*rng.integers(1, total, LINES), *range(total - 20, total)]:
        estimator = copy.copy(old)
        try:
            lines_of_bdnn(lambda: estimator.fit(X, y), last)  # noqa: B023
        except KeyboardInterrupt:
            pass
        if estimator.codes_ is old.codes_:
            assert vars(estimator) == vars(old)
            continue
        kept += 1
        n_bits = estimator.codes_.shape[1]
        assert len(estimator.codes_) == 60 and 1 <= n_bits <= 4
        assert estimator.transform(X).shape == (60, n_bits)
        estimator.save(path)
        loaded = bdnn.load(path)
        np.testing.assert_array_equal(loaded.codes_, estimator.codes_)
        np.testing.assert_array_equal(loaded.encode(X), estimator.encode(X))
        assert vars(loaded).keys() == vars(whole).keys()
    assert kept > 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_on_the_command_line_writes_the_model(tmp_path):
    """A real SIGINT, after the first round: the model is written, and the exit code says 0."""
    path, model = tmp_path / "run.checkpoint", tmp_path / "model.bdnn"
    settings = '{"max_alternations": 500, "patience": 500, "max_iter": 40}'
    line = [sys.executable, "-m", "bdnn", "train", "digits", "--settings", settings]
    line += ["--bits", "8", "--model", str(model), "--checkpoint", str(path)]
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # even if our parent does not
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(line, **pipes, preexec_fn=listen)
    wait_for_change(path, 0, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "written to" in out
    assert "interrupted after" in err and "is kept" in err and "Traceback" not in err
    assert bdnn.load(model).codes_.shape == (1500, 8)
