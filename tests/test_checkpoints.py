"""Trainings that are cut off: by a machine that stops, by a full disk, by Ctrl-C."""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import bdnn
from bdnn import base, sources
from bdnn.data import load
from bdnn.lbfgs import minimize
from bdnn.sources import Blocks

NETWORK = {"hidden": (12, 10), "max_iter": 8, "max_alternations": 4, "patience": 9}
CASES = {
    "UHBDNN": NETWORK | {"n_init": 2},
    "UHBDNN, joint decoder": NETWORK | {"n_init": 2, "decoder": "joint", "n_validation": 0},
    "SHBDNN": NETWORK,
    "SHBDNN, from ITQ": NETWORK | {"init": "itq", "rotate": False, "n_validation": 0},
    "DeepHashing": {"max_iter": 30, "hidden": (12, 10)},
    "DeepHashing, L-BFGS": {"max_iter": 30, "hidden": (12, 10), "optimizer": "lbfgs"},
    "SupervisedDeepHashing": {"max_iter": 30, "hidden": (12, 10)},
    "SupervisedDeepHashing, descent": {"max_iter": 30, "hidden": (12, 10), "optimizer": "gd"},
}
EVERY = pytest.mark.parametrize("case", list(CASES))


def make(case, **options):
    return getattr(bdnn, case.partition(",")[0])(8, **CASES[case] | options)


@pytest.fixture(scope="module")
def digits():
    d = load("digits", ground_truth="labels")
    return d.train[:400], d.labels.train[:400]


@pytest.fixture
def often(monkeypatch):
    """Write a checkpoint whenever there is something to write."""
    monkeypatch.setattr(base, "CHECKPOINT_SECONDS", 0)


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

    monkeypatch.setattr(base.os, "replace", counted)


def same(one, other):
    """Two trainings that did the same: network, codes and history, all but the time."""
    for key in ("Ws_", "cs_"):
        for a, b in zip(getattr(one, key), getattr(other, key), strict=True):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.codes_, other.codes_)
    rows = [[row | {"seconds": 0} for row in est.history_] for est in (one, other)]
    assert rows[0] == rows[1] and one.n_iter_ == other.n_iter_
    return True


@EVERY
@pytest.mark.parametrize("n", [1, 3])
def test_resumed_training_ends_at_the_same_codes(case, n, digits, tmp_path, often, monkeypatch):
    path = tmp_path / "run.checkpoint"
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(n, patch)
        make(case).fit(*digits, checkpoint=path)
    assert os.listdir(tmp_path) == [path.name]
    resumed = make(case).fit(*digits, checkpoint=path)
    assert same(resumed, make(case).fit(*digits))


@EVERY
def test_stopped_again_and_again(case, digits, tmp_path, often, monkeypatch):
    """A training that is stopped after every single checkpoint gets to its end all the same."""
    path = tmp_path / "run.checkpoint"
    for _ in range(60):
        with monkeypatch.context() as patch:
            stop_after(2, patch)
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


@EVERY
def test_a_checkpoint_of_another_training_is_refused(case, digits, tmp_path, often):
    X, y = digits
    path = tmp_path / "run.checkpoint"
    make(case).fit(X, y, checkpoint=path)
    before = path.read_bytes()
    others = [(make(case), X + 1), (make(case, max_iter=7), X), (make(case, random_state=1), X)]
    for estimator, samples in others:
        with pytest.raises(ValueError, match="run.checkpoint belongs to another training"):
            estimator.fit(samples, y, checkpoint=path)
    if bdnn.__dict__[case.partition(",")[0]]._requires_labels:
        with pytest.raises(ValueError, match="belongs to another training"):
            make(case).fit(X, y[::-1], checkpoint=path)
    assert path.read_bytes() == before
    make(case, verbose=True).fit(X, y, checkpoint=path)  # how it looks is no difference


@EVERY
def test_a_checkpoint_needs_a_seed(case, digits, tmp_path, often):
    for state in (None, np.random.default_rng(0), np.random.RandomState(0), True):
        with pytest.raises(ValueError, match="random_state must be a whole .* with a checkpoint"):
            make(case, random_state=state).fit(*digits, checkpoint=tmp_path / "run.checkpoint")
        assert not os.listdir(tmp_path)
    make(case, random_state=np.int64(0)).fit(*digits, checkpoint=tmp_path / "run.checkpoint")
    assert os.listdir(tmp_path) == ["run.checkpoint"]


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("SHBDNN")])
def test_a_checkpoint_of_another_start_is_refused(case, digits, tmp_path, often, monkeypatch):
    path = tmp_path / "run.checkpoint"
    starts = [make(case, random_state=seed, max_iter=3).fit(*digits) for seed in (0, 1)]
    starts[1].Ws_[0] = starts[1].Ws_[0] + 1e-3  # some do not draw anything
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(2, patch)
        make(case).fit(*digits, start=starts[0], checkpoint=path)
    for start in (starts[1], None):
        with pytest.raises(ValueError, match="belongs to another training: other data, .*start"):
            make(case).fit(*digits, start=start, checkpoint=path)
    starts[0].save(tmp_path / "start.bdnn")
    resumed = make(case).fit(*digits, start=bdnn.load(tmp_path / "start.bdnn"), checkpoint=path)
    assert same(resumed, make(case).fit(*digits, start=starts[0]))
    path.unlink()
    make(case).fit(*digits, checkpoint=path)
    with pytest.raises(ValueError, match="belongs to another training"):
        make(case).fit(*digits, start=starts[0], checkpoint=path)


@pytest.mark.parametrize("case", ["SHBDNN", "SupervisedDeepHashing"])
def test_labels_that_are_objects(case, digits, tmp_path, often):
    """Equal words are equal labels, wherever they lie in memory."""
    X, y = digits
    path = tmp_path / "run.checkpoint"
    words = [np.array(["".join(["class ", str(n)]) for n in y], dtype=object) for _ in range(2)]
    first = make(case).fit(X, words[0], checkpoint=path)
    assert same(make(case).fit(X, words[1], checkpoint=path), first)
    with pytest.raises(ValueError, match="belongs to another training"):
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
    with pytest.raises(bdnn.ModelFileError, match="is no bdnn model"):
        bdnn.load(path)


@EVERY
def test_samples_that_are_not_in_memory(case, digits, tmp_path, often, monkeypatch):
    """A training that began with a file goes on with blocks of the same samples."""
    X, y = digits
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    blocks = Blocks(lambda: np.split(X, [50, 330]))
    path = tmp_path / "run.checkpoint"
    monkeypatch.setattr(sources, "BLOCK", 64)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(2, patch)
        make(case).fit(mapped, y, checkpoint=path)
    for other in (Blocks(lambda: [X + 1]), Blocks(lambda: [np.roll(X, 1, axis=0)]), X):
        with pytest.raises(ValueError, match="belongs to another training"):
            make(case).fit(other, y, checkpoint=path)
    resumed = make(case).fit(blocks, y, checkpoint=path)
    assert same(resumed, make(case).fit(mapped, y))


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
    monkeypatch.setattr(base.time, "monotonic", lambda: now.__setitem__(0, now[0] + 4) or now[0])
    monkeypatch.setattr(base, "_write_archive", lambda *_: writes.append(now[0]))
    make("DeepHashing").fit(*digits, checkpoint=tmp_path / "c")
    assert len(writes) > 3 and np.diff(writes).min() >= 10


def test_the_memory_of_lbfgs_can_be_carried_over():
    """30 steps at once, and 11 and 19 with the memory carried over, are the same steps."""
    A = np.diag(np.geomspace(1, 1e4, 40))

    def fun(x):
        return float(x @ A @ x) / 2 + float(np.sum(np.cos(x))), A @ x - np.sin(x)

    seen = []
    options = {"gtol": 0, "ftol": 0, "history": 5}
    whole = minimize(fun, np.ones(40), max_iter=30, callback=seen.append, **options)
    part = seen[10]
    rest = minimize(fun, part.x, max_iter=19, pairs=part.pairs, **options)
    assert part.nit == 11 and len(part.pairs) == 5
    np.testing.assert_array_equal(rest.x, whole.x)
    forgot = minimize(fun, part.x, max_iter=19, **options)
    assert (forgot.x != whole.x).any()


TRAIN = """
import sys
import bdnn
from bdnn import base
from bdnn.data import load
base.CHECKPOINT_SECONDS = 0
d = load("digits", ground_truth="labels")
est = bdnn.{}(8, hidden=(12, 10), max_iter=40, max_alternations=12, patience=20)
est.fit(d.train, d.labels.train, checkpoint=sys.argv[1])
est.save(sys.argv[2])
"""


def start_training(name, *paths):
    return subprocess.Popen([sys.executable, "-c", TRAIN.format(name), *map(str, paths)])


def wait_for_change(path, before, process):
    """Wait until the file has changed or the process has ended."""
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.002)


def test_killed_processes(tmp_path, name="UHBDNN"):
    """SIGKILL at moments that nobody chose; then the training is finished and compared."""
    path, model = tmp_path / "run.checkpoint", tmp_path / "model.bdnn"
    rng = np.random.default_rng(0)
    for _ in range(2):
        before = path.stat().st_mtime_ns if path.exists() else 0
        process = start_training(name, path, model)
        wait_for_change(path, before, process)
        time.sleep(rng.random() * 0.05)
        process.kill()
        process.wait()
        base._read_archive(path, base.CHECKPOINT_FORMAT, "checkpoint")  # whole, whenever it was
    assert start_training(name, path, model).wait(300) == 0
    assert start_training(name, tmp_path / "other.checkpoint", tmp_path / "whole").wait(300) == 0
    same(bdnn.load(model), bdnn.load(tmp_path / "whole"))


def interrupt_at(share):
    def callback(done):
        if done >= share:
            raise KeyboardInterrupt

    return callback


@pytest.mark.parametrize("case", ["UHBDNN", "DeepHashing", "SupervisedDeepHashing"])
def test_ctrl_c_keeps_the_best_state_and_says_so(case, digits, tmp_path):
    X, y = digits
    with pytest.warns(UserWarning, match="interrupted after [0-9]+ .*kept"):
        stopped = make(case).fit(X, y, callback=interrupt_at(0.7))
    assert 0 < stopped.n_iter_ < make(case).fit(X, y).n_iter_
    assert stopped.transform(X).shape == stopped.codes_.shape == (400, 8)
    stopped.save(tmp_path / "model.bdnn")
    np.testing.assert_array_equal(bdnn.load(tmp_path / "model.bdnn").codes_, stopped.codes_)


@pytest.mark.parametrize("case", ["UHBDNN", "DeepHashing", "SupervisedDeepHashing"])
def test_ctrl_c_while_threads_share_the_blocks(case, digits):
    """A real SIGINT at a moment that nobody chose: what is kept is one state, and whole."""
    X, y = np.tile(digits[0], (15, 1)), np.tile(digits[1], 15)
    assert len(X) > 2 * sources.BLOCK
    endless = {"max_iter": 100_000, "tol": 0}
    if case == "UHBDNN":
        endless = {"max_iter": 4, "max_alternations": 10_000, "patience": 10_000}
    steps = itertools.count(1)

    def interrupt_soon(done):
        if next(steps) == 10:
            threading.Timer(0.02, signal.raise_signal, [signal.SIGINT]).start()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with threadpool_limits(2, user_api="blas"), pytest.warns(UserWarning, match="is kept"):
            stopped = make(case, **endless).fit(X, y, callback=interrupt_soon)
    finally:
        signal.signal(signal.SIGINT, before)
    codes = stopped.transform(X)
    assert codes.shape == stopped.codes_.shape == (6000, 8)
    if case != "UHBDNN":  # whose codes are not those of its encoder
        np.testing.assert_array_equal(stopped.codes_, codes)


@pytest.mark.parametrize("case", ["UHBDNN", "DeepHashing"])
def test_ctrl_c_before_there_is_anything_to_keep(case, digits):
    with warnings.catch_warnings(), pytest.raises(KeyboardInterrupt):
        warnings.simplefilter("error")
        make(case).fit(*digits, callback=interrupt_at(0))


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
