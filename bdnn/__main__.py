"""Hashing of your own vectors from the command line: `python -m bdnn --help`.

Exit codes: 0 done; 1 the input cannot be used, and the last line says why; 2 the command line is
wrong; 130 stopped by Ctrl-C.
"""

import argparse
import os
import shlex
import sys
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bdnn import data, metrics
from bdnn.course import compare
from bdnn.files import atomic_path, check_writable, load

INTRODUCTION = """\
Turn vectors into short binary codes, and search with them.

  train      learn a hash function from a file of vectors
  encode     turn vectors into packed codes
  search     find the nearest items of a database by Hamming distance
  evaluate   measure how good the codes of a database are for given queries
  compare    train several methods on one file and write a report in HTML

Files: .npy; .npz and .mat with X and perhaps y; .csv, .csv.gz, .tsv, .txt and .parquet, with the
labels in a column `label`; .fvecs and .bvecs. Samples stand in rows. What a command takes, with
examples: python -m bdnn COMMAND --help"""

TRAIN = """\
examples:
  python -m bdnn train vectors.npy --bits 32 --model my.bdnn
  python -m bdnn train flowers.csv --labels species --method shbdnn --model my.bdnn
  python -m bdnn train vectors.npz --method uhbdnn --settings '{"lambda2": 0.1, "max_iter": 50}'

Without labels take uhbdnn (the default) or itq, which is quick; with labels shbdnn, or sdh. Ctrl-C
ends the training of a network early and keeps its best state. With --checkpoint FILE a training
that was cut off goes on where it was when the same command is given again. python -m bdnn evaluate
tells what a model is worth; python -m bdnn compare tells which method suits your data."""

ENCODE = """\
example:
  python -m bdnn encode my.bdnn vectors.npy --output codes.npy

The codes are bytes, one row for each sample, ceil(bits / 8) bytes wide: the form that the binary
indexes of faiss take: faiss.IndexBinaryFlat(8 * codes.shape[1]).add(codes)."""

SEARCH = """\
examples:
  python -m bdnn search my.bdnn database.npy queries.npy -k 10
  python -m bdnn search my.bdnn codes.npy queries.npy --encoded --output found.npz
  python -m bdnn search my.bdnn database.npy queries.npy --radius 2
  python -m bdnn search my.bdnn flowers.csv new.csv --labels species --id name

Rows of the database count from 0; of equal distances the lower row comes first. The output file
holds `indices` and `distances`, one row for each query. With --radius a query finds as many items
as there are so near: they stand one query after the other, those of query q from `limits[q]` to
`limits[q + 1]`, as faiss has it. --labels only says which column is no number to encode; the
queries may lack it. Every code is compared, which serves for some millions of items; larger
collections want an index, such as those of faiss."""

EVALUATE = """\
examples:
  python -m bdnn evaluate my.bdnn database.npy queries.npy
  python -m bdnn evaluate my.bdnn train.csv test.csv --labels species
  python -m bdnn evaluate my.bdnn X.npy Q.npy --labels y.npy --query-labels y_Q.npy

A name given by --labels serves both files; a file of labels needs --query-labels beside it. The
right answers to a query are the database items of its class where both files have labels, else its
50 Euclidean neighbours in the database. Take queries that the model was not trained on."""

COMPARE = """\
examples:
  python -m bdnn compare vectors.npy --bits 16 32 64 --report report.html
  python -m bdnn compare flowers.csv --labels species --methods itqcca sdh shbdnn

A tenth of the vectors, at most 1,000, are held out as queries; the rest is both training set and
database. A .npz with `train` and `query`, or a folder of .fvecs, comes split and stays so."""


CHECKPOINTED = ("uhbdnn", "shbdnn", "dh", "supdh")


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    prepare_output()
    args = parser().parse_args(argv)
    args.line = "python -m bdnn " + shlex.join(argv)
    try:
        args.do(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, ImportError, MemoryError) as error:
        told = str(error) or type(error).__name__
        told = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in told)
        print(f"bdnn {args.command}: {told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nbdnn {args.command}: stopped", file=sys.stderr)
        return 130
    return 0


def prepare_output():
    """Let everything be printed: where output is closed, and what a terminal has no signs for."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(getattr(sys, name), "reconfigure"):  # a notebook's streams take any text
            getattr(sys, name).reconfigure(errors="backslashreplace")


def train(args):
    """Learn a hash function and save it."""
    writable(args.model, args.checkpoint)
    X, y = training_vectors(args.data, args.labels, left_out(args))
    compare.check_settings(args.settings, [args.method])
    estimator = compare.make(args.method, args.bits, args.seed, args.settings)
    if y is None and compare.supervised([args.method]):
        raise ValueError(
            f"{args.method} learns from labels, and {args.data} has none; see --labels"
        )
    options = {"checkpoint": args.checkpoint} if args.checkpoint else {}
    if options and args.method not in CHECKPOINTED:
        raise ValueError(f"--checkpoint is for {', '.join(CHECKPOINTED)}; {args.method} is quick")
    estimator.fit(X, y, **options)
    estimator.save(args.model)
    print(f"{type(estimator).__name__}: {X.shape[1]} numbers -> {estimator.n_bits} bits, ", end="")
    print(f"learned from {len(X)} vectors, written to {args.model}")


def left_out(args):
    """Columns that are no features."""
    return [*args.ignore, *([args.id] if args.id else [])]


def training_vectors(name, labels, ignore):
    """Vectors and labels of a file, or of the training part of a named set."""
    if name not in data.DATASETS:
        return data.read_vectors(name, labels, ignore)
    dataset = data.load(name, labels=labels, ground_truth=None)
    return dataset.train, dataset.labels and dataset.labels.train


def encode(args):
    """Encode a file of vectors."""
    writable(args.output)
    model = load(args.model)
    codes = model.encode(data.read_vectors(args.data, args.labels, left_out(args))[0])
    write_arrays(args.output, partial(np.save, arr=codes))
    print(f"{len(codes)} codes of {model.n_bits} bits ({codes.shape[1]} bytes) in {args.output}")


def search(args):
    """Find the nearest database items of every query."""
    writable(args.output)
    model = load(args.model)
    names = None
    if args.encoded:
        database = encoded(args.database, model)
    elif args.id:  # is read as labels are
        ignore = [*args.ignore, *([args.labels] if args.labels else [])]
        X, names = data.read_vectors(args.database, args.id, ignore)
        database = model.encode(X)
    else:
        database = model.encode(data.read_vectors(args.database, args.labels, args.ignore)[0])
    codes = model.encode(query_vectors(args.query, args.labels, left_out(args)))
    if args.radius is None:
        indices, distances = metrics.nearest(codes, database, min(args.k, len(database)))
        found, told = {}, f"{indices.shape[1]} items for each of {len(codes)} queries"
    else:
        indices, distances = within(codes, database, args.radius)
        found = {"limits": np.cumsum([0, *map(len, indices)])}
        told = f"{found['limits'][-1]} items within radius {args.radius} of {len(codes)} queries"
    if args.output:
        if args.radius is not None:
            indices, distances = np.concatenate(indices), np.concatenate(distances)
        found |= {"indices": indices, "distances": distances}
        found |= {} if names is None else {"ids": names[indices]}
        write_arrays(args.output, lambda file: np.savez(file, **found))
        print(f"{told} in {args.output}")
        return
    print("query: item (distance) ...")
    for query, (row, distance) in enumerate(zip(indices, distances)):
        items = row if names is None else names[row]
        print(f"{query}:", " ".join(f"{i} ({d})" for i, d in zip(items, distance)))


def encoded(path, model):
    """Codes of a database that `encode` wrote."""
    if Path(path).suffix.lower() != ".npy":
        raise ValueError(f"{path}: codes are read from the .npy file that encode wrote")
    codes = data.read_array(path)
    width = -(-model.n_bits // 8)
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != width or not len(codes):
        raise ValueError(
            f"{path} holds {codes.dtype} {codes.shape}, not codes of {model.n_bits} bits: uint8 "
            f"(n, {width})"
        )
    return codes


def query_vectors(path, labels, ignore):
    """Vectors of queries; the labels that stand beside those of the database may be missing."""
    try:
        return data.read_vectors(path, None if data.is_data_file(labels) else labels, ignore)[0]
    except data.MissingLabelsError:
        return data.read_vectors(path, ignore=ignore)[0]


def within(queries: np.ndarray, database: np.ndarray, radius: int) -> tuple[list, list]:
    """For each query the rows within the radius and their distances; nearest first."""
    indices, distances = [], []
    for query, items in zip(queries, metrics.items_within(queries, database, radius)):
        D = np.bitwise_count(query ^ database[items]).sum(axis=1, dtype=np.int16)
        order = np.argsort(D, kind="stable")
        indices.append(items[order])
        distances.append(D[order])
    return indices, distances


def evaluate(args):
    """Measure the codes of a database for given queries."""
    model = load(args.model)
    if args.query_labels is None and data.is_data_file(args.labels):
        raise ValueError(
            f"--labels {args.labels} holds the labels of the database; say with --query-labels "
            "where those of the queries are"
        )
    X, y = data.read_vectors(args.database, args.labels, left_out(args))
    Q, y_Q = data.read_vectors(args.query, args.query_labels or args.labels, left_out(args))
    labelled = y is not None and y_Q is not None
    if args.ground_truth == "labels" and not labelled:
        raise ValueError("--ground-truth labels needs labels in both files; see --labels")
    codes = model.transform(Q), model.transform(X)
    if labelled and args.ground_truth != "knn":
        relevant, truth = (y_Q, y), "items of the query's class"
    else:
        k = min(args.neighbours, len(X))
        relevant = data.nearest_neighbours(Q, X, k)
        truth = f"the {k} Euclidean neighbours"
    print(f"{len(Q)} queries, {len(X)} database items, {model.n_bits} bits; relevant: {truth}")
    for name, value in metrics.evaluate(*codes, relevant, top=args.top).items():
        if name != "precision_at_500" or len(X) > 500:  # else it is the share of what is relevant
            print(f"{name:18}{value:.4f}")


def compare_methods(args):
    """Train several methods, print the table, write the report."""
    writable(args.report)
    options = {"labels": args.labels, "ignore": left_out(args)}
    dataset = data.load(args.data, ground_truth=None, **options)
    methods = args.methods or compare.DEFAULT_METHODS
    methods = compare.usable(methods, dataset, lenient=args.methods is None)
    compare.check_settings(args.settings, methods)
    compare.check_bits(args.bits, len(dataset.train))
    truth = args.ground_truth
    if truth == "auto":
        truth = "labels" if dataset.labels is not None else "knn"
    k = min(args.neighbours, len(dataset.database))
    dataset = data.with_ground_truth(dataset, truth, k)
    print(dataset)
    rows = []
    runs = [(bits, name) for bits in args.bits for name in methods]
    try:
        for bits, name in tqdm(runs, unit="run", disable=not sys.stderr.isatty()):
            estimator = compare.make(name, bits, args.seed, args.settings)
            row = {"method": type(estimator).__name__, "bits": bits, "seed": args.seed}
            row["ground_truth"] = dataset.ground_truth
            row["settings"] = compare.settings_of(estimator)
            rows.append(compare.measure(estimator, dataset, row))
    finally:  # where a run fails, those before it are not lost
        if rows:
            print(compare.table(rows))
            compare.write_report(args.report, rows, dataset, args.line)
            print(f"report: {args.report}")


def writable(*paths):
    """Raise an OSError now, and not after an hour, if a file that is asked for cannot be made."""
    for path in paths:
        if path is not None:
            check_writable(path)


def write_arrays(path, write):
    """Let `write` fill a file, which appears at `path` whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        write(file)


def parser():
    """The command line."""
    root = argparse.ArgumentParser(
        prog="python -m bdnn",
        usage="python -m bdnn COMMAND ...",
        description=INTRODUCTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    options = {"dest": "command", "required": True, "prog": "python -m bdnn"}
    commands = root.add_subparsers(**options, help=argparse.SUPPRESS)

    def command(name, do, epilog, *positional):
        """A subcommand with its positional arguments, all of them files."""
        sub = commands.add_parser(
            name,
            description=do.__doc__,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(do=do)
        for argument, text in positional:
            sub.add_argument(argument, help=text)
        text = "array or column that holds the labels, or a file of its own"
        sub.add_argument("--labels", metavar="NAME", help=text)
        text = "column of a table that is no feature; may be given several times"
        sub.add_argument("--ignore", metavar="NAME", action="append", default=[], help=text)
        text = "column that names the rows: no feature; search gives these names"
        sub.add_argument("--id", metavar="NAME", help=text)
        return sub

    model, database = ("model", "what train wrote"), ("database", "file that is searched")
    own = ("data", f"file of vectors, or a set: {', '.join(data.DATASETS)}")
    query = ("query", "file of queries")
    methods = {"type": str.lower, "choices": list(compare.METHODS), "metavar": "METHOD"}
    listed = ", ".join(compare.METHODS)

    sub = command("train", train, TRAIN, own)
    sub.add_argument("--method", default="uhbdnn", help=f"{listed}; default uhbdnn", **methods)
    sub.add_argument("--bits", type=int, default=32, help="length of the code; default 32")
    sub.add_argument("--model", default="model.bdnn", help="file to write; default model.bdnn")
    text = "keep the state of the training here; the same command goes on from it"
    sub.add_argument("--checkpoint", metavar="FILE", help=text)
    add_training(sub)

    sub = command("encode", encode, ENCODE, model, ("data", "file of vectors"))
    sub.add_argument("--output", default="codes.npy", help="file to write; default codes.npy")

    sub = command("search", search, SEARCH, model, database, query)
    size = sub.add_mutually_exclusive_group()
    size.add_argument("-k", type=int, default=10, help="how many items to find; default 10")
    text = "find instead all items that differ in at most R bits"
    size.add_argument("--radius", type=int, metavar="R", help=text)
    sub.add_argument("--encoded", action="store_true", help="database holds codes, from encode")
    sub.add_argument("--output", metavar="FILE", help="write .npz instead of printing")

    sub = command("evaluate", evaluate, EVALUATE, model, database, query)
    text = "those of the queries, where --labels is a file or names another array or column"
    sub.add_argument("--query-labels", metavar="NAME", help=text)
    sub.add_argument("--top", type=int, metavar="K", help="mAP@K as well, the mAP of the first K")
    add_truth(sub)

    sub = command("compare", compare_methods, COMPARE, own)
    text = f"{listed}; {' '.join(compare.DEFAULT_METHODS)} if not given"
    sub.add_argument("--methods", nargs="+", help=text, **methods)
    sub.add_argument("--bits", type=int, nargs="+", default=[16, 32], help="default 16 32")
    sub.add_argument("--report", default="report.html", help="file to write; default report.html")
    add_training(sub)
    add_truth(sub)
    return root


def add_training(sub):
    """Options of the commands that train."""
    sub.add_argument("--seed", type=int, default=0, help="the same seed gives the same codes")
    text = "parameters of the method, such as '{\"max_iter\": 50}'"
    sub.add_argument("--settings", type=compare.json_object, default={}, metavar="JSON", help=text)


def add_truth(sub):
    """Options of the commands that measure."""
    choices = ["auto", "labels", "knn"]
    text = "what counts as relevant; auto: labels where there are any"
    sub.add_argument("--ground-truth", default="auto", choices=choices, help=text)
    text = "Euclidean neighbours that count as relevant; default 50"
    sub.add_argument("--neighbours", type=int, default=50, metavar="K", help=text)


if __name__ == "__main__":
    sys.exit(main())
