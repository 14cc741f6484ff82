"""bdnn.engine.scale on a local cluster of two processes: also when one of them dies."""

import os
import signal

import numpy as np
import pytest
from dask import array as da
from distributed import Client, LocalCluster
from sklearn.base import clone

import bdnn
from bdnn import ITQ, ITQCCA, SHBDNN, UHBDNN, DeepHashing, SupervisedDeepHashing, scale, sources
from bdnn.engine.scale import DaskSamples, SentBytes
from bdnn.network import flatten, hidden_sizes, initial_weights
from bdnn.uh_bdnn import EncoderObjective, encoder_objective

LAMBDAS = (1e-5, 5e-2, 1e-2, 1e-6)
SMALL = {"n_bits": 6, "max_alternations": 1, "max_iter": 6}
MODELS = {
    "itq": ITQ(n_bits=8, n_iter=5),
    "itq-cca": ITQCCA(n_bits=8, n_iter=5),
    "uh": UHBDNN(**SMALL, n_init=1, n_validation=200),
    "sh": SHBDNN(**SMALL, n_validation=200, dtype="float64"),
    "dh": DeepHashing(n_bits=16, max_iter=5),
    "supervised dh": SupervisedDeepHashing(n_bits=16, max_iter=5),
}


@pytest.fixture(scope="module")
def client():
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options, silence_logs=50) as cluster, Client(cluster) as client:
        yield client


def some_rows(m=9000, D=20):
    spread = np.diag(np.arange(D, 0, -1.0))
    return (np.random.default_rng(0).standard_normal((m, D)) @ spread).astype(np.float32)


def in_chunks(X, rows=1700):
    return da.from_array(X, chunks=(rows, 11))


def assert_same(found, model, X):
    """The same history, training codes and codes."""
    keys = {"objective", "quantisation"} & set(model.history_[0])
    for a, b in zip(found.history_, model.history_, strict=True):
        for key in keys:
            assert a[key] == pytest.approx(b[key], rel=1e-6)
    assert isinstance(found.codes_, da.Array)
    assert np.array_equal(np.asarray(found.codes_), model.codes_)
    assert np.array_equal(np.asarray(found.encode(in_chunks(X))), model.encode(X))


@pytest.mark.parametrize("name", MODELS)
def test_every_method_learns_the_same(client, name):
    X = some_rows()
    y = (X[:, 0] > 3) + 2 * (X[:, 1] > 0)
    model = clone(MODELS[name]).fit(X, y)
    assert_same(clone(MODELS[name]).fit(in_chunks(X), y), model, X)


def test_a_worker_that_is_killed_changes_nothing(client):
    X = some_rows()
    model = UHBDNN(**SMALL, n_init=1, n_validation=200)
    pids, killed = set(client.run(os.getpid).values()), []

    def kill_once(share):
        if share > 0.5 and not killed:  # in the second encoder step: codes have been found
            killed.append(max(pids))
            os.kill(killed[0], signal.SIGKILL)

    found = clone(model).fit(in_chunks(X), callback=kill_once)
    client.wait_for_workers(2)
    assert killed and killed[0] not in client.run(os.getpid).values()
    assert_same(found, model.fit(X), X)


def evaluation(client, m):
    """The objective on m samples, where they lie, and the same on the array."""
    X = some_rows(m) / 20
    S = DaskSamples.of(in_chunks(X), "float32")
    sizes = (20, *hidden_sizes(8), 8)
    theta = flatten(*initial_weights(X.T, sizes, np.random.default_rng(0)))
    codes = np.where(X[:, :8] > 0, 1, -1).astype(np.int8).T
    spread = encoder_objective(S, sources.alongside(S, codes), sizes, LAMBDAS)
    return spread, EncoderObjective(X.T, codes, sizes, LAMBDAS), theta


def test_two_reductions_give_value_and_gradient(client):
    spread, whole, theta = evaluation(client, 9000)
    (J, gradient), (J_whole, gradient_whole) = spread(theta), whole(theta)
    assert J == pytest.approx(J_whole, rel=1e-12)
    assert np.allclose(gradient, gradient_whole, rtol=1e-5, atol=1e-8)


def test_bytes_per_evaluation_do_not_grow_with_the_samples(client):
    sent = []
    for m in (3000, 10_000, 30_000):
        objective, _, theta = evaluation(client, m)
        counts = []
        for _ in range(10):
            with SentBytes(client) as count:
                objective(theta)
            counts.append(count.total)
        sent.append(min(counts))  # signs of life add to the others
    p, n_workers = len(theta), 2
    assert max(sent) < 1.1 * min(sent)
    assert n_workers * p * 8 < min(sent)  # at the least the gradients come back
    assert max(sent) < 2 * n_workers * 16 * p + 100_000  # two hops: by way of the scheduler


def test_columns_are_chosen_as_from_an_array(client):
    X = some_rows(9000).T
    S, index = DaskSamples.of(in_chunks(X.T), "float32"), np.random.default_rng(0).permutation(9000)
    index = index[:700]
    assert S.shape == (20, 9000) and len(S) == 20 and len(S.parts) == 2
    assert np.array_equal(sources.take(S, index), X[:, index])
    rest = sources.drop(S, index)
    assert np.array_equal(np.asarray(rest.T), np.delete(X, index, axis=1).T)
    assert all(width % sources.BLOCK == 0 for width in rest.widths[:-1])
    back = sources.restore(rest, index, X[:, index])
    assert np.array_equal(np.asarray(back.T), X.T) and back.widths == S.widths


def test_fewer_blocks_than_workers(client):
    X = some_rows(500)
    assert_same(ITQ(n_bits=4, n_iter=3).fit(in_chunks(X)), ITQ(n_bits=4, n_iter=3).fit(X), X)


@pytest.mark.parametrize("value", [np.nan, 1e300])
def test_values_that_are_not_finite_are_named(client, value):
    """Nor those that are not in the precision of the estimator."""
    X = some_rows(9000).astype(np.float64)
    X[6000, 3] = value
    with pytest.raises(ValueError, match="NaN or infinity in rows 6144|rows 4096|rows 0"):
        ITQ(n_bits=4).fit(in_chunks(X))


def test_without_a_client_the_error_says_what_to_do(monkeypatch):
    def no_client():
        raise ValueError("No global client found and no address provided")

    monkeypatch.setattr(scale, "get_client", no_client)
    with pytest.raises(ValueError, match=r"distributed.Client\(\) starts one"):
        ITQ(n_bits=4).fit(in_chunks(some_rows(500)))


def test_cuts_are_whole_blocks():
    assert scale._cuts(5 * sources.BLOCK + 1, 2) == [
        (0, 3 * sources.BLOCK),
        (3 * sources.BLOCK, 5 * sources.BLOCK + 1),
    ]
    assert scale._cuts(3, 4) == [(0, 3)]


def test_a_model_is_saved_with_its_codes(client, tmp_path):
    found = ITQ(n_bits=4).fit(in_chunks(some_rows()))
    found.save(tmp_path / "model.bdnn")
    loaded = bdnn.load(tmp_path / "model.bdnn")
    assert np.array_equal(loaded.codes_, np.asarray(found.codes_))


def test_a_checkpoint_is_refused(client, tmp_path):
    X = da.from_array(some_rows(100), chunks=(50, 20))
    with pytest.raises(TypeError, match="not on a cluster"):
        UHBDNN(**SMALL).fit(X, checkpoint=tmp_path / "run.checkpoint")
