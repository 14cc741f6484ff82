"""Trainings on more than memory holds, measured and recorded: `python3 course.py scale`.

Four kinds of measurements go to notebooks/results/scale.jsonl, which notebook 16 reads. Those whose
rows are there are left out, so that an interrupted run goes on where it stopped.

file      a training on 4,000,000 x 128 float32, 2 GB, from a file, and the memory it took
same      the same method on the first 40,000 of these samples, from the file and from memory
evaluate  all measures of 1,000 queries against the codes of all samples, from a file
cluster   evaluations of the encoder's objective on one and on two processes
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bdnn import ITQ, SHBDNN, UHBDNN, DeepHashing, data
from bdnn.course.records import REVISIONS, append_row, read_rows
from bdnn.files import atomic_path, versions
from bdnn.metrics import evaluate
from tools import called_from

RESULTS = Path(__file__).resolve().parents[1] / "notebooks" / "results" / "scale.jsonl"
D, BITS, SEED = 128, 16, 0
ROWS = 100_000  # written at a time
SAME = 40_000  # samples that are also trained on in memory
CLUSTER = (40_000, 80_000, 160_000)  # samples of the evaluations on a cluster
QUERIES, CLASSES = 1000, 10
METHODS = {cls.__name__: cls for cls in (ITQ, UHBDNN, SHBDNN, DeepHashing)}
NAMES = [f"{kind}:{method}" for kind in ("file", "same") for method in METHODS]
NAMES += ["evaluate:ITQ", "cluster:UHBDNN"]


def settings(rounds, steps, descents):
    """Settings of every method; those that choose a state by validation do so by few samples."""
    bdnn = {"max_alternations": rounds, "max_iter": steps, "n_validation": 200}
    descent = {"max_iter": descents}
    return {"ITQ": {"n_iter": 50}, "UHBDNN": bdnn, "SHBDNN": bdnn, "DeepHashing": descent}


WHOLE = settings(1, 3, 5)  # few steps on the whole file, as memory is what it measures
PART = settings(2, 20, 20)


def main(argv=None):
    """Parse the command line, make the file, measure what is not recorded yet."""
    parser = argparse.ArgumentParser(prog="course.py scale", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--samples", type=int, default=4_000_000, help="length of the file")
    add("--folder", type=called_from, default=Path("scratch"), help="where it is made")
    add("--record", type=called_from, default=RESULTS, help="the rows go here")
    add("--keep", action="store_true", help="do not remove the file at the end")
    add("--measure", nargs=2, help=argparse.SUPPRESS)  # in this process
    args = parser.parse_args(argv)
    if args.measure:
        (kind, method), path = args.measure[0].split(":"), Path(args.measure[1])
        print(json.dumps(MEASUREMENTS[kind](path, method)))
        return
    origin, rows = descriptors()
    path = args.folder / f"{origin}-{args.samples}.npy"
    done = {(row["measurement"], row["n_samples"]) for row in read_rows(args.record)}
    for name in NAMES:
        if (name, args.samples) in done:
            print(f"{name}: recorded")
            continue
        make_file(path, args.samples, rows)
        print(f"{name} ...", flush=True)
        row = measure(name, path, args.samples, argv or sys.argv[1:])
        append_row(args.record, row)
        print(json.dumps({key: row[key] for key in row if key not in ("versions", "code")}))
    if not args.keep:
        path.unlink(missing_ok=True)
        labels_of(path).unlink(missing_ok=True)


def make_file(path, m, origin):
    """Write m of the descriptors with noise, and labels: the nearest of ten in direction."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rng, labels = np.random.default_rng(SEED), []
    classes = origin[:CLASSES] / np.linalg.norm(origin[:CLASSES], axis=1, keepdims=True)
    header = {"descr": "<f4", "fortran_order": False, "shape": (m, D)}
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in tqdm(range(0, m, ROWS), desc=path.name, leave=False):
            rows = origin[rng.integers(len(origin), size=min(ROWS, m - start))]
            rows = rows + 10 * rng.standard_normal(rows.shape, dtype=np.float32)
            rows.astype("<f4").tofile(file)
            labels.append(np.argmax(rows @ classes.T, axis=1))
        np.save(labels_of(path), np.concatenate(labels))


def labels_of(path):
    """Where the labels of the file's samples are."""
    return path.with_name(f"{path.stem}-labels.npy")


def descriptors():
    """Name and rows of SIFT from the folder BDNN_DATA, or of made samples of falling variance."""
    try:
        return "sift-noise", data.load("sift", ground_truth=None).database.astype(np.float32)
    except FileNotFoundError:
        rng = np.random.default_rng(SEED)
        spread = 40 / np.sqrt(np.arange(1, D + 1))
        return "made", (rng.standard_normal((20_000, D)) * spread).astype(np.float32)


def measure(name, path, m, argv):
    """Make one measurement in a process of its own, and complete the row."""
    command = [sys.executable, "-m", "tools.scale", "--measure", name, path]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    method = name.partition(":")[2]
    row = {"measurement": name, "method": method, "data": path.stem, "bits": BITS, "seed": SEED}
    row |= {"ground_truth": "none", "split": "none", "n_samples": m, "n_features": D}
    row |= json.loads(run.stdout.splitlines()[-1])
    row |= {"versions": versions(), "revision": REVISIONS[method]}
    return row | {"command": shlex.join(["python3", "course.py", "scale", *argv])}


def peak_mb():
    """The most memory that was resident in this process, in MB of 1,000,000 bytes."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(kilobytes) * 1024 / 1e6, 1)


def trained(method, settings, X, y):
    """A model and its objectives; those with labels get them."""
    model = METHODS[method](BITS, **settings, random_state=SEED)
    model.fit(*(X, y) if method == "SHBDNN" else (X,))
    key = "quantisation" if method == "ITQ" else "objective"
    return model, [entry[key] for entry in model.history_]


def from_file(path, method):
    """Train from the file and encode it: time, memory, objectives."""
    X = np.load(path, mmap_mode="r")
    y, started, before = np.load(labels_of(path)), time.perf_counter(), peak_mb()
    model, objectives = trained(method, WHOLE[method], X, y)
    fitted = time.perf_counter()
    packed = model.encode(X)
    return {
        "objectives": objectives,
        "fit_seconds": round(fitted - started, 1),
        "encode_seconds": round(time.perf_counter() - fitted, 1),
        "peak_mb": peak_mb(),
        "peak_mb_before": before,
        "file_mb": round(path.stat().st_size / 1e6, 1),
        "code_mb": round(packed.nbytes / 1e6, 1),
        "settings": WHOLE[method],
    }


def same(path, method):
    """Train on the first samples of the file, mapped and loaded."""
    mapped = np.load(path, mmap_mode="r")[:SAME]
    y = np.load(labels_of(path))[:SAME]
    pairs = [trained(method, PART[method], X, y) for X in (mapped, np.array(mapped))]
    (a, from_file), (b, in_memory) = pairs
    return {
        "trained_on": len(mapped),
        "objective_from_file": from_file[-1],
        "objective_in_memory": in_memory[-1],
        "relative_difference": abs(from_file[-1] / in_memory[-1] - 1),
        "same_codes": bool(np.array_equal(a.codes_, b.codes_)),
        "settings": PART[method],
    }


def evaluation(path, method):
    """Encode the file, keep the codes in another, and evaluate the first samples as queries."""
    X = np.load(path, mmap_mode="r")
    model, _ = trained(method, WHOLE[method], np.array(X[:SAME]), None)
    y, codes = np.load(labels_of(path)), path.with_name(f"{path.stem}-codes.npy")
    with atomic_path(codes) as temporary, open(temporary, "wb") as file:
        np.save(file, model.transform(X))
    started, database = time.perf_counter(), np.load(codes, mmap_mode="r")
    measures = evaluate(database[:QUERIES], database, (y[:QUERIES], y))
    seconds = round(time.perf_counter() - started, 1)
    codes.unlink()
    return {
        "n_queries": QUERIES,
        "evaluate_seconds": seconds,
        "peak_mb": peak_mb(),
        **measures,
        "settings": WHOLE[method],
    }


def cluster(path, _):
    """Evaluate the objective of UH-BDNN's encoder on one and on two processes."""
    from distributed import Client, LocalCluster

    evaluations = []
    for n_workers in (1, 2):
        options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": None}
        with LocalCluster(**options) as local, Client(local) as client:
            evaluations.append([timed_evaluations(client, path, m) for m in CLUSTER])
    return {"pairs": list(zip(*evaluations)), "settings": {}}


def timed_evaluations(client, path, m, repetitions=5):
    """Seconds of an evaluation for the first m samples of the file.

    `seconds` are those of the clock, `worker_seconds` the processor time of the busiest worker.
    """
    from dask import array as da

    from bdnn.engine.scale import Network, bdnn_terms, objective
    from bdnn.network import flatten, hidden_sizes, initial_weights

    rows = np.load(path, mmap_mode="r")[:m] / np.float32(255)
    codes = np.where(rows[:, :BITS] > 0.1, np.float32(1), np.float32(-1))
    classes = np.zeros((m, 1), np.int64)  # all one class: no labels
    samples = [da.from_array(A, chunks=(25_000, -1)).persist() for A in (rows, classes, codes)]
    sizes = (D, *hidden_sizes(BITS), BITS)
    theta = flatten(*initial_weights(rows[:10_000].T, sizes, np.random.default_rng(SEED)))
    of_codes = partial(bdnn_terms, (1e-5, 5e-2, 1e-2, 1e-6))
    network = Network(sizes, ("sigmoid", "identity"), 1)
    evaluate_once = partial(objective, theta, network, samples, of_codes, lambda theta: ({}, 0.0))
    evaluate_once()
    seconds, used = [], client.run(time.process_time)
    for _ in range(repetitions):
        started = time.perf_counter()
        evaluate_once()
        seconds.append(time.perf_counter() - started)
    busiest = max(now - used[worker] for worker, now in client.run(time.process_time).items())
    return {
        "n_workers": len(used),
        "m": m,
        "seconds": min(seconds),
        "worker_seconds": busiest / repetitions,
        "parameters": len(theta),
        "cores": os.cpu_count(),
    }


MEASUREMENTS = {"file": from_file, "same": same, "evaluate": evaluation, "cluster": cluster}


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
