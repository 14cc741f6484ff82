"""bdnn.engine: what is not in memory, a file or a Dask array, learns what the array learns."""

import os
import signal

import numpy as np
import pytest
from sklearn.base import clone

import bdnn
from bdnn import (
    ITQ,
    ITQCCA,
    SHBDNN,
    UHBDNN,
    DeepHashing,
    SupervisedDeepHashing,
    deep_hashing,
    sh_bdnn,
    uh_bdnn,
)
from bdnn.losses import equality, independence
from bdnn.network import flatten, hidden_sizes, initial_weights
from bdnn.sh_bdnn import supervised_objective
from bdnn.uh_bdnn import encoder_objective

dask = pytest.importorskip("dask", reason="the extra `scale` is not installed")
da = pytest.importorskip("dask.array")
scale, spread = (pytest.importorskip(f"bdnn.engine.{name}") for name in ("scale", "spread"))

SMALL = {"n_bits": 6, "max_alternations": 2, "max_iter": 4, "n_validation": 100, "hidden": (9, 7)}
DESCENT = {"n_bits": 8, "hidden": (9, 8), "max_iter": 6}
MODELS = {
    "ITQ": ITQ(n_bits=8, n_iter=5),
    "ITQCCA": ITQCCA(n_bits=8, n_iter=5),
    "UHBDNN": UHBDNN(**SMALL, dtype="float64"),
    "SHBDNN": SHBDNN(**SMALL | {"max_iter": 3}, init="itq", dtype="float64"),
    "DeepHashing": DeepHashing(**DESCENT),
    "DeepHashing, L-BFGS": DeepHashing(**DESCENT, optimizer="lbfgs", init="itq", dtype="float64"),
}
M, D = 3000, 20


def some_rows(m=M):
    spread = np.diag(np.arange(D, 0, -1.0))
    return (np.random.default_rng(0).standard_normal((m, D)) @ spread).astype(np.float32)


X = some_rows()
Y = (X[:, 0] > 3) + 2 * (X[:, 1] > 0)


def in_chunks(A, rows=701):
    return da.from_array(A, chunks=(rows, 11))


def in_a_file(A, folder):
    np.save(folder / "X.npy", A)
    return np.load(folder / "X.npy", mmap_mode="r")


@pytest.fixture(autouse=True)
def few_at_first(monkeypatch):
    """The first round of BDNN sees 1,000 samples, so that 3,000 are many."""
    for module in (uh_bdnn, sh_bdnn):
        monkeypatch.setattr(module, "SAMPLE", 1000)
    monkeypatch.setattr(deep_hashing, "LBFGS_STEPS", 3)  # further on, rounding grows
    monkeypatch.setattr(uh_bdnn, "ROUNDS", 1)


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options, silence_logs=50) as cluster:
        with distributed.Client(cluster) as client:
            yield client


def assert_same(found, model):
    """The same history, training codes and codes, but for rounding, which L-BFGS makes grow."""
    for a, b in zip(found.history_, model.history_, strict=True):
        for key in {"objective", "quantisation", "samples"} & b.keys():
            assert a[key] == pytest.approx(b[key], rel=2e-2)
    assert np.mean(np.asarray(found.codes_) != model.codes_) < 0.01
    assert np.mean(found.transform(X) != model.transform(X)) < 0.01


@pytest.mark.rounding
@pytest.mark.parametrize("name", MODELS)
def test_every_method_learns_the_same(name, tmp_path):
    model = clone(MODELS[name]).fit(X, Y)
    chunks = clone(MODELS[name]).fit(in_chunks(X), Y)
    assert_same(chunks, model)
    assert isinstance(chunks.codes_, da.Array)
    encoded = chunks.encode(in_chunks(X))
    assert isinstance(encoded, da.Array) and encoded.dtype == np.uint8
    np.testing.assert_array_equal(encoded.compute(), chunks.encode(X))
    file = clone(MODELS[name]).fit(in_a_file(X, tmp_path), Y)
    assert_same(file, model)
    assert isinstance(file.codes_, np.ndarray)
    np.testing.assert_array_equal(file.encode(in_a_file(X, tmp_path)), file.encode(X))
    chunks.save(tmp_path / "model.bdnn")
    loaded = bdnn.load(tmp_path / "model.bdnn")
    np.testing.assert_array_equal(loaded.codes_, chunks.codes_.compute())


@pytest.mark.parametrize("supervised", [False, True])
def test_value_and_gradient_from_sums_are_those_of_the_lesson(supervised):
    A, B = (X / 20).astype(np.float64), np.where(X[:, :8] > 0, 1, -1).astype(np.int8)
    sizes, lambdas = (D, *hidden_sizes(8), 8), (1e-3, 5e-1, 1e-1, 1e-2)
    theta = flatten(*initial_weights(A.T, sizes, np.random.default_rng(0)))
    estimator = (SHBDNN if supervised else UHBDNN)(8, **dict(zip(LAMBDAS, lambdas)))
    network = scale.Network(sizes, ("sigmoid", "identity"), 4 if supervised else 1)
    Z = in_chunks(A).rechunk((701, D))
    classes = spread.labels_of(Z, Y.astype(int) if supervised else np.zeros(M, int))
    of_codes = lambda *sums: scale.bdnn_terms(lambdas, *sums)  # noqa: E731
    of_weights = lambda theta: spread.weight_terms(estimator, sizes, theta)  # noqa: E731
    codes = da.from_array(B, chunks=(701, 8))
    terms, gradient = scale.objective(theta, network, (Z, classes, codes), of_codes, of_weights)
    if supervised:
        J, expected = supervised_objective(theta, A.T, B.T * 1.0, Y, sizes, lambdas)
    else:
        J, expected = encoder_objective(theta, A.T, B.T * 1.0, sizes, lambdas)
    assert sum(terms.values()) == pytest.approx(J, rel=1e-10)
    np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-12)
    H = scale.outputs(theta, network, A.T)
    assert terms["equality"] == pytest.approx(lambdas[1] * equality(H, B.T)[0])
    assert terms["independence"] == pytest.approx(lambdas[2] * independence(H)[0])


LAMBDAS = ("lambda1", "lambda2", "lambda3", "lambda4")


@pytest.mark.slow
def test_a_worker_that_is_killed_changes_nothing(client):
    model, killed = clone(MODELS["UHBDNN"]), []

    def kill_once(share):
        if share > 0.5 and not killed:  # a round on all samples is over: codes have been found
            killed.append(max(client.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    found = clone(model).fit(in_chunks(X, 1500), callback=kill_once)
    client.wait_for_workers(2)
    assert killed and killed[0] not in client.run(os.getpid).values()
    assert_same(found, model.fit(X))


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.where(np.arange(D) == 3, np.nan, X), ValueError, "X contains NaN"),
        (np.where(np.arange(D) == 3, 1e300, X), ValueError, "X contains NaN|infinity"),
        (1e15 * X.astype(np.float64), ValueError, "float32"),
        (X[:1], ValueError, "1 sample"),
        (X[:, 0], ValueError, "1D|2D"),
        (X.astype("M8[s]"), TypeError, "X"),
    ],
)
@pytest.mark.parametrize("name", ["ITQ", "UHBDNN"])
def test_samples_that_are_refused(name, bad, error, message):
    chunks = da.from_array(bad, chunks=(701, 11) if bad.ndim == 2 else 701)
    with pytest.raises(error, match=message):
        clone(MODELS[name]).set_params(dtype="float32").fit(chunks)


def test_what_needs_samples_in_memory_says_so(tmp_path):
    unknown = in_chunks(X)[in_chunks(X)[:, 0] > 0]
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        ITQ(4).fit(unknown)
    with pytest.raises(TypeError, match="X.compute"):
        bdnn.KMeansHashing(4).fit(in_chunks(X))
    with pytest.raises(TypeError, match="checkpoint"):
        UHBDNN(**SMALL).fit(in_chunks(X), checkpoint=tmp_path / "run.checkpoint")
    assert not os.listdir(tmp_path)
    with pytest.raises(ValueError, match="3000, 2999"):
        SHBDNN(**SMALL).fit(in_chunks(X), Y[:-1])


@pytest.mark.parametrize("name", ["ITQ", "UHBDNN"])
def test_ctrl_c_while_the_codes_of_a_file_are_found_leaves_no_half(name, tmp_path, monkeypatch):
    estimator, compute = clone(MODELS[name]), da.Array.compute

    def stop(A, **options):
        if A.dtype == np.int8 and A.shape == (M, estimator.n_bits):
            raise KeyboardInterrupt
        return compute(A, **options)

    monkeypatch.setattr(da.Array, "compute", stop)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(in_a_file(X, tmp_path))
    assert not hasattr(estimator, "codes_")


def test_a_supervised_method_of_few_samples():
    """No more than the first rounds of a training want: they are loaded."""
    few, y = some_rows(500), Y[:500]
    found, model = (clone(MODELS["SHBDNN"]).fit(A, y) for A in (in_chunks(few, 100), few))
    np.testing.assert_array_equal(found.codes_.compute(), model.codes_)


def test_the_supervised_deep_hashing_loads_a_file(tmp_path):
    model = SupervisedDeepHashing(**DESCENT).fit(X, Y)
    found = SupervisedDeepHashing(**DESCENT).fit(in_a_file(X, tmp_path), Y)
    np.testing.assert_array_equal(found.codes_, model.codes_)
