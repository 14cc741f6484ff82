"""Hashing of your own vectors from the command line: `python -m bdnn --help`.

Exit codes: 0 done; 1 the input cannot be used, and the last line says why; 2 the command line is
wrong; 130 stopped by Ctrl-C.
"""

import argparse
import hashlib
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

try:
    import numpy as np
    from tqdm import tqdm

    from bdnn import data, metrics, readers
    from bdnn.checks import check_whole_number
    from bdnn.course import compare
    from bdnn.files import atomic_path, check_writable, load, only_writer, release
    from bdnn.hashing import NetworkHasher
    from bdnn.metrics import nearest
    from bdnn.search import nearest_asymmetric, rerank
except KeyboardInterrupt:  # this takes a second or two
    sys.exit(130)

INTRODUCTION = """\
Turn vectors into short binary codes, and search with them.

  train      learn a hash function from a file of vectors
  encode     turn vectors into packed codes
  search     find the nearest items of a database by Hamming distance
  remove     take items out of a file of codes
  evaluate   measure how good the codes of a database are for given queries
  compare    train several methods on one file and write a report in HTML

Files: .npy; .npz, .mat and .h5 with X and perhaps y; .csv, .csv.gz, .tsv, .txt and .parquet, with
the labels in a column `label`; .fvecs, .bvecs, .fbin and .u8bin. Samples stand in rows. What a
command takes, with examples: python -m bdnn COMMAND --help"""

TRAIN = """\
examples:
  python -m bdnn train vectors.npy --bits 32 --model my.bdnn
  python -m bdnn train flowers.csv --labels species --method shbdnn --model my.bdnn
  python -m bdnn train vectors.npz --method uhbdnn --settings '{"max_iter": 300}'

Without labels begin with itq, which is quick; uhbdnn, the default, takes far longer, and may need
more iterations where it warns. With labels take shbdnn, or sdh. Ctrl-C ends the training of a
network early and keeps its best state. With --checkpoint FILE a training that was cut off goes on
where it was when the same command is given again."""

ENCODE = """\
examples:
  python -m bdnn encode my.bdnn vectors.npy --output codes.npy
  python -m bdnn encode my.bdnn flowers.csv --id name --output codes.npz
  python -m bdnn encode my.bdnn more.csv --id name --output codes.npz --append

The codes are bytes, one row for each sample, ceil(bits / 8) bytes wide: the form that the binary
indexes of faiss take: faiss.IndexBinaryFlat(8 * codes.shape[1]).add(codes). A .npy file holds
nothing else. A .npz file also holds the `ids` of the rows and the digest of the model file, so that
codes of two models are not mixed, nor an id given twice, when --append adds rows at the end."""

SEARCH = """\
examples:
  python -m bdnn search my.bdnn database.npy queries.npy -k 10
  python -m bdnn search my.bdnn codes.npz queries.npy --encoded --output found.npz
  python -m bdnn search my.bdnn codes.npz queries.npy --encoded --rerank vectors.npy
  python -m bdnn search my.bdnn database.npy queries.npy --float-query
  python -m bdnn search my.bdnn database.npy queries.npy --radius 2
  python -m bdnn search my.bdnn flowers.csv new.csv --labels species --id name

Rows of the database count from 0; of equal distances the lower row comes first. The output file
holds `indices` and `distances`, one row for each query, and `ids` where the database has them.
--rerank finds N * k candidates by their codes and sorts them by Euclidean distance to the vectors
of a file, in the rows of the codes. --float-query compares the real outputs for a query with the
bits of an item (notebook 19), with UH-BDNN through its decoder: the distances printed are squares
less what depends on the query alone. With --radius a query finds as many items as there are so
near: they stand one query after the other, those of query q from `limits[q]` to `limits[q + 1]`, as
faiss has it. --labels only says which column is no number to encode; the queries may lack it. Every
code is compared, which serves for some millions of items; larger collections want an index, such as
those of faiss."""

REMOVE = """\
examples:
  python -m bdnn remove codes.npz rose tulip
  python -m bdnn remove codes.npz --file gone.txt

The items are named by the ids that encode --id wrote into the file. The rows after them move up."""

EVALUATE = """\
examples:
  python -m bdnn evaluate my.bdnn database.npy queries.npy --recall 10
  python -m bdnn evaluate my.bdnn train.csv test.csv --labels species
  python -m bdnn evaluate my.bdnn X.npy Q.npy --labels y.npy --query-labels y_Q.npy

A name given by --labels serves both files; a file of labels needs --query-labels beside it. The
right answers to a query are the database items of its class where both files have labels, else its
50 Euclidean neighbours in the database. Take queries that the model was not trained on.

--recall K tells which share of the K Euclidean neighbours is among the first K, 10 K and 100 K
items by code: what --rerank would find with --oversample 1, 10 and 100.

Drift: beside balance and independence stands what the codes of the training had, and beside
precision_at_2 what a network had when it was validated, by neighbours or classes among its training
samples. Take new vectors as the database: if bits that were balanced in training
no longer are, the vectors have changed: train again, and encode the whole database anew."""

COMPARE = """\
examples:
  python -m bdnn compare vectors.npy --bits 16 32 64 --report report.html
  python -m bdnn compare flowers.csv --labels species --methods itqcca sdh shbdnn

The report draws the recall of the ten Euclidean neighbours over the bytes of a code, of the codes
alone and after 100 items have been re-ranked. A tenth of the vectors, at most 1,000, are held out
as queries; the rest is both training set and database. A .npz with `train` and `query`, or a
folder of .fvecs, comes split and stays so."""


def main(argv: list[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    prepare_output()
    named = "--model" in {word.partition("=")[0] for word in argv}
    args = parser(named).parse_args(argv)
    args.line = "python -m bdnn " + shlex.join(argv)
    try:
        args.do(args)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, ImportError, MemoryError) as error:
        told = str(error) or type(error).__name__
        told = "".join(c if c.isprintable() else repr(c)[1:-1] for c in told)
        print(f"bdnn {args.command}: {told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nbdnn {args.command}: stopped", file=sys.stderr)
        return 130
    return 0


def prepare_output():
    """Let everything be printed: where output is closed, and what a terminal cannot show."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        elif hasattr(getattr(sys, name), "reconfigure"):  # a notebook's streams take any text
            getattr(sys, name).reconfigure(errors="backslashreplace")


def train(args):
    """Learn a hash function and save it."""
    writable(args, "model", "checkpoint")
    if args.data in data.DATASETS:
        dataset, columns = data.load(args.data, labels=args.labels, ground_truth=None), None
        X, y = dataset.train, dataset.labels and dataset.labels.train
    else:
        asked = readers.Asked(args.labels, left_out(args), args.vectors, args.sample is not None)
        X, y, columns = readers.read_columns(args.data, asked)
    if args.sample is not None:
        rows = sample(len(X), args)
        X = readers.as_vectors(X[rows], f"{Path(args.data).name}: X", rows)[0]
        y = y if y is None else y[rows]
    compare.check_settings(args.settings, [args.method])
    estimator = compare.make(args.method, args.bits, args.seed, args.settings)
    if y is None and compare.supervised([args.method]):
        raise ValueError(
            f"{args.method} learns from labels, and {args.data} has none; see --labels"
        )
    options = {"checkpoint": args.checkpoint} if args.checkpoint else {}
    if options and not isinstance(estimator, NetworkHasher):
        raise ValueError(f"--checkpoint is for networks; {args.method} is quick")
    estimator.fit(X, y, **options)
    if columns is not None:
        estimator.columns_ = columns
    estimator.save(args.model)
    print(f"{type(estimator).__name__}: {X.shape[1]} numbers -> {estimator.n_bits} bits, ", end="")
    print(f"learned from {len(X)} vectors, written to {args.model}")


def sample(m, args):
    """The rows to learn from: as many as --sample says, or all there are, drawn by the seed."""
    check_whole_number("--sample", args.sample, 1)
    return np.sort(np.random.default_rng(args.seed).permutation(m)[: args.sample])


def read(args, model, path, labels, vectors=None, optional=False, text=False):
    """Vectors of a file, in the order of the columns that the model knows, and their labels.

    What may be larger than the memory stays in the file. Labels that are `optional` may be missing;
    as `text` they are ids.
    """
    asked = readers.Asked(labels, left_out(args, labels=text), vectors or args.vectors, True, text)
    try:
        X, y, columns = readers.read_columns(path, asked)
    except readers.MissingLabelsError:
        if not optional:
            raise
        X, y, columns = readers.read_columns(path, asked._replace(labels=None))
    known = getattr(model, "columns_", None)
    if known is None or columns is None or columns == known:
        return X, y
    if {*columns} != {*known}:
        told = f"its features are {readers.listed(columns)}, and those of the model"
        raise ValueError(f"{path}: {told} {readers.listed(known)}; --ignore leaves a column out")
    return X[:, [columns.index(name) for name in known]], y


def left_out(args, labels=False):
    """Columns that are no features, perhaps with the labels."""
    named = [args.id, args.labels if labels else None]
    return [*args.ignore, *(name for name in named if name and not readers.is_data_file(name))]


def with_ids(args, model, path, optional=False):
    """Vectors of a file, and the ids of its rows as text, or None."""
    name, text = args.id or args.labels, bool(args.id)
    X, ids = read(args, model, path, name, optional=optional, text=text)
    return X, ids if text else None


def encode(args):
    """Encode a file of vectors."""
    writable(args, "output")
    model, archive = load(args.model), Path(args.output).suffix.lower() == ".npz"
    if args.id and not archive:
        raise ValueError(f"{args.output} keeps no ids: give an --output that ends in .npz")
    X, ids = with_ids(args, model, args.data)
    found = {"codes": model.encode(X), "model": digest(args.model)}
    found |= {} if ids is None else {"ids": ids}
    with only_writer(args.output):
        if args.append:
            before = codes_of_model(args.output, args, model)
            if ("ids" in before) != ("ids" in found):
                raise ValueError(f"{args.output} and {args.data} must both have ids, or neither")
            for name in found.keys() - {"model"}:
                found[name] = np.concatenate([before[name], found[name]])
        ids, counts = np.unique(found.get("ids", []), return_counts=True)
        if (counts > 1).any():
            raise ValueError(f"the id {str(ids[counts.argmax()])!r} comes twice")
        write_arrays(args.output, found, None if archive else "codes")
    n, n_bytes = found["codes"].shape
    print(f"{n} codes of {model.n_bits} bits ({n_bytes} bytes) in {args.output}")


def digest(path):
    """What tells one model file from another."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_codes(path):
    """What `encode` wrote, by name."""
    kind = Path(path).suffix.lower()
    if kind not in (".npy", ".npz"):
        raise ValueError(f"{path}: codes are read from the .npy or .npz file that encode wrote")
    archive = readers.read_archive(path, ["codes"]) if kind == ".npz" else {}
    found = archive or {"codes": readers.read_array(path)}
    codes, ids = found["codes"], found.get("ids", np.empty(len(found["codes"]), str))
    if codes.dtype != np.uint8 or codes.ndim != 2 or not codes.size:
        raise ValueError(f"{path} holds {codes.dtype} {codes.shape}, not codes that encode wrote")
    if ids.shape != codes.shape[:1] or ids.dtype.kind not in "iuU":
        raise ValueError(f"{path} holds ids {ids.dtype} {ids.shape}, not a text for each code")
    return found | ({"ids": ids.astype(str)} if "ids" in found else {})


def codes_of_model(path, args, model):
    """The same, after a check that this model can have made them."""
    found, width = read_codes(path), -(-model.n_bits // 8)
    n_bytes = found["codes"].shape[1]
    if n_bytes != width:
        told = f"not the {width} that {model.n_bits} bits take"
        raise ValueError(f"{path} holds codes of {n_bytes} bytes, {told}")
    if "model" in found and str(found["model"]) != digest(args.model):
        raise ValueError(f"{path} holds codes of another model than {args.model}: encode anew")
    return found


def remove(args):
    """Take items out of a file of codes."""
    writable(args, "codes")
    lines = Path(args.file).read_text(encoding="utf-8").splitlines() if args.file else []
    ids = {*args.ids, *filter(None, lines)}
    if not ids:
        raise ValueError("name the items to take out, or a file of them: --file FILE")
    with only_writer(args.codes):
        found = read_codes(args.codes)
        if "ids" not in found:
            raise ValueError(f"{args.codes} has no ids: encode with --id NAME into an .npz file")
        if unknown := ids - set(found["ids"].tolist()):
            raise ValueError(f"{args.codes} has no item {str(min(unknown))!r}")
        keep = ~np.isin(found["ids"], [*ids])
        if not keep.any():
            raise ValueError(f"no item would be left in {args.codes}: remove the file")
        write_arrays(args.codes, found | {name: found[name][keep] for name in ("codes", "ids")})
    print(f"{np.count_nonzero(keep)} codes left in {args.codes}")


def search(args):
    """Find the nearest database items of every query."""
    writable(args, "output")
    if args.radius is not None and (args.rerank or args.float_query):
        raise ValueError("--radius counts bits: without --rerank and --float-query")
    check_whole_number("--oversample", args.oversample, 1)
    model = load(args.model)
    if args.encoded:
        found = codes_of_model(args.database, args, model)
        database, names = found["codes"], found.get("ids")
    else:
        X, names = with_ids(args, model, args.database)
        database = model.encode(X)
    labels = None if readers.is_data_file(args.labels) else args.labels
    Q, _ = read(args, model, args.query, labels, args.query_vectors, optional=True)
    if args.radius is not None:
        indices, distances = within(model.encode(Q), database, args.radius)
        limits = np.cumsum([0, *map(len, indices)])
        told = f"{limits[-1]} items within radius {args.radius} of {len(Q)} queries"
    else:
        n = min(args.k * args.oversample if args.rerank else args.k, len(database))
        if args.float_query:
            indices, distances = by_real_query(model, Q, database, n)
        else:
            indices, distances = nearest(model.encode(Q), database, n)
        if args.rerank:
            indices, distances = reranked(Q, indices, args, model, names, len(database))
        told = f"{indices.shape[1]} items for each of {len(Q)} queries"
    if args.output is None:
        print("query: item (distance) ...")
        for query, (row, distance) in enumerate(zip(indices, distances)):
            items = row if names is None else names[row]
            print(f"{query}:", " ".join(f"{i} ({d:.5g})" for i, d in zip(items, distance)))
        return
    found = {"indices": indices, "distances": distances}
    if args.radius is not None:
        found = {name: np.concatenate(A) for name, A in found.items()} | {"limits": limits}
    found |= {} if names is None else {"ids": names[found["indices"]]}
    write_arrays(args.output, found)
    print(f"{told} in {args.output}")


def by_real_query(model, Q, codes, n):
    """The n nearest codes by the real outputs, or to what the model decodes from the bits."""
    H, W = model.decision_function(Q), getattr(model, "decoder_W_", None)  # this checks Q
    if W is None:
        return nearest_asymmetric(H, codes, n)
    return nearest_asymmetric((Q - model.decoder_c_.T) @ W, codes, n, W.T @ W)


def reranked(Q, candidates, args, model, names, n_items):
    """The k candidates whose vectors are nearest."""
    vectors, ids = with_ids(args, model, args.rerank, optional=True)
    if len(vectors) != n_items:
        raise ValueError(
            f"{args.rerank} holds {len(vectors)} vectors, and there are {n_items} codes"
        )
    if names is not None and ids is not None and (names != ids).any():
        row = (names != ids).argmax()
        told = f"names row {row} {str(ids[row])!r}, and of the codes it is {str(names[row])!r}"
        raise ValueError(f"{args.rerank} {told}: give the vectors in the order of the codes")
    found = []
    for q, rows in zip(Q, candidates):
        with np.errstate(over="ignore", invalid="ignore"):
            found.append(rerank(q[None], vectors, rows[None], len(rows)))
        release(vectors)
    indices, distances = map(np.concatenate, zip(*found))
    if not np.isfinite(distances).all():
        row = indices[~np.isfinite(distances)].min()
        raise ValueError(f"{args.rerank}: row {row} holds NaN, infinity or values too large")
    return indices[:, : args.k], distances[:, : args.k]


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
    if args.query_labels is None and readers.is_data_file(args.labels):
        raise ValueError(
            f"--labels {args.labels} holds the labels of the database; say with --query-labels "
            "where those of the queries are"
        )
    K = args.recall
    for option, n in (("--neighbours", args.neighbours), ("--recall", 1 if K is None else K)):
        check_whole_number(option, n, 1)
    X, y = read(args, model, args.database, args.labels)
    if args.query_labels and y is None:
        raise ValueError(f"--query-labels: {args.database} has no labels beside it; see --labels")
    Q, y_Q = read(args, model, args.query, args.query_labels or args.labels, args.query_vectors)
    labelled = y is not None and y_Q is not None
    if args.ground_truth == "labels" and not labelled:
        raise ValueError("--ground-truth labels needs labels in both files; see --labels")
    by_class = labelled and args.ground_truth != "knn"
    k = min(args.neighbours, len(X))
    wanted = max(0 if by_class else k, K or 0)
    codes = model.transform(Q), model.transform(X)
    near = data.nearest_neighbours(Q, X, wanted) if wanted else None
    truth = f"the {k} Euclidean neighbours"
    if by_class:
        truth = "items of the query's class" if y.ndim == 1 else "items with a label in common"
    print(f"{len(Q)} queries, {len(X)} database items, {model.n_bits} bits; relevant: {truth}")
    relevant, before = (y_Q, y) if by_class else near[:, :k], recorded(model)
    for name, value in metrics.evaluate(*codes, relevant, top=args.top).items():
        if name != "precision_at_500" or len(X) > 500:  # else it is the share of what is relevant
            told = f"   training {before[name]:.4f}" if name in before else ""
            print(f"{name:18}{value:.4f}{told}")
    for n in [K, 10 * K, 100 * K] if K else []:
        if n <= len(X):
            share = metrics.recall_at(*codes, near, k=K, shortlist=n)
            print(f"{f'{K}_recall_at_{n}':18}{share:.4f}")


def recorded(model):
    """Measures of the codes of the training, and of a network that was validated there."""
    codes = model.codes_
    found = {"balance": metrics.balance(codes), "independence": metrics.independence(codes)}
    if getattr(model, "n_validation", 0) and len(codes) >= 8:
        best = next(entry for entry in model.history_ if entry["round"] == model.best_)
        found["precision_at_2"] = best["score"]
    return found


def compare_methods(args):
    """Train several methods, print the table, write the report."""
    writable(args, "report")
    options = {"labels": args.labels, "ignore": left_out(args), "vectors": args.vectors}
    dataset = data.load(args.data, ground_truth=None, **options)
    methods = args.methods or compare.DEFAULT_METHODS
    methods = compare.usable(methods, dataset, lenient=args.methods is None)
    compare.check_settings(args.settings, methods)
    if args.sample is not None:
        rows, labels = sample(len(dataset.train), args), dataset.labels
        labels = labels and labels._replace(train=labels.train[rows])
        dataset = replace(dataset, train=dataset.train[rows], labels=labels)
    compare.check_bits(args.bits, len(dataset.train))
    truth = args.ground_truth
    if truth == "auto":
        truth = "labels" if dataset.labels is not None else "knn"
    k = min(args.neighbours, len(dataset.database))
    dataset = data.with_ground_truth(dataset, truth, k)
    print(dataset)
    near = data.nearest_neighbours(dataset.query, dataset.database, min(10, len(dataset.database)))
    rows = []
    runs = [(bits, name) for bits in args.bits for name in methods]
    try:
        for bits, name in tqdm(runs, unit="run", disable=not sys.stderr.isatty()):
            estimator = compare.make(name, bits, args.seed, args.settings)
            row = {"method": type(estimator).__name__, "bits": bits, "seed": args.seed}
            row["ground_truth"] = dataset.ground_truth
            row["settings"] = compare.settings_of(estimator)
            rows.append(compare.measure(estimator, dataset, row, near))
    finally:  # where a run fails, those before it are not lost
        if rows:
            print(compare.table(rows))
            print(f"\n{compare.table(rows, compare.RECALL_COLUMNS)}")
            compare.write_report(args.report, rows, dataset, args.line)
            print(f"report: {args.report}")


def writable(args, *targets):
    """Raise an error now, and not after an hour, if a target cannot be made, or is an input too."""
    files = {name: value for name, value in vars(args).items() if isinstance(value, str)}
    for name in targets:
        path = files.pop(name, None)
        if path is None:
            continue
        check_writable(path)
        for other, value in files.items():
            a_file = other == "model" or other in targets or readers.is_data_file(value)
            if a_file and os.path.realpath(path) == os.path.realpath(readers.expanded(value)):
                raise ValueError(f"{path} is the {other} too, and would be lost: write elsewhere")


def write_arrays(path, found, alone=None):
    """Write arrays to an .npz file, or one of them alone to an .npy, whole or not at all."""
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **found) if alone is None else np.save(file, found[alone])


def parser(model_named=False):
    """The command line; where --model names the model, it is no argument by position."""
    layout = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    usage, program = "python -m bdnn COMMAND ...", "python -m bdnn"
    root = argparse.ArgumentParser(program, usage, INTRODUCTION, **layout)
    commands = root.add_subparsers(
        dest="command", required=True, prog=program, help=argparse.SUPPRESS
    )
    file = {"type": os.path.expanduser}
    method = {"type": str.lower, "choices": list(compare.METHODS), "metavar": "METHOD"}
    methods = ", ".join(compare.METHODS)
    model = "--model" if model_named else "model", "what train wrote; or as --model FILE"
    database = "database", "file that is searched"
    query = ("query", "file of queries")
    own = ("data", f"file of vectors, or a set: {', '.join(data.DATASETS)}")

    def command(do, name, epilog, *positional):
        """A subcommand with its positional arguments, which are files."""
        sub = commands.add_parser(name, description=do.__doc__, epilog=epilog, **layout)
        sub.set_defaults(do=do)
        for argument, text in positional:
            options = {"dest": "model", "required": True} if argument == "--model" else {}
            sub.add_argument(argument, help=text, **file, **options)
        return sub

    def reads(add):
        text = "array or column that holds the labels, or a file of its own"
        add("--labels", metavar="NAME", help=text)
        text = "column of a table that is no feature; may be given several times"
        add("--ignore", metavar="NAME", action="append", default=[], help=text)
        text = "column, array or file that names the rows; search gives these names"
        add("--id", metavar="NAME", help=text)
        text = "array that holds the vectors, if not X; or the one column of a table"
        add("--vectors", metavar="NAME", help=text)

    def reads_queries(add):
        reads(add)
        text = "array of the queries' vectors, if it has another name than --vectors says"
        add("--query-vectors", metavar="NAME", help=text)

    def trains(add):
        add("--seed", type=int, default=0, help="the same seed gives the same codes")
        text = "parameters of the method, such as '{\"max_iter\": 300}'"
        add("--settings", type=compare.json_object, default={}, metavar="JSON", help=text)
        text = "learn from N of the vectors at most, drawn by the seed; a .npy is read no further"
        add("--sample", type=int, metavar="N", help=text)

    def measures(add):
        text = "what counts as relevant; auto: labels where there are any"
        add("--ground-truth", default="auto", choices=["auto", "labels", "knn"], help=text)
        text = "Euclidean neighbours that count as relevant; default 50"
        add("--neighbours", type=int, default=50, metavar="K", help=text)

    add = command(train, "train", TRAIN, own).add_argument
    reads(add)
    add("--method", default="uhbdnn", help=f"{methods}; default uhbdnn", **method)
    add("--bits", type=int, default=32, help="length of the code; default 32")
    add("--model", default="model.bdnn", help="file to write; default model.bdnn", **file)
    text = "keep the state of the training here; the same command goes on from it"
    add("--checkpoint", metavar="FILE", help=text, **file)
    trains(add)

    add = command(encode, "encode", ENCODE, model, ("data", "file of vectors")).add_argument
    reads(add)
    add("--output", default="codes.npy", help="file to write; default codes.npy", **file)
    add("--append", action="store_true", help="add to the codes of that file")

    sub = command(search, "search", SEARCH, model, database, query)
    add, size = sub.add_argument, sub.add_mutually_exclusive_group()
    reads_queries(add)
    size.add_argument("-k", type=int, default=10, help="how many items to find; default 10")
    text = "find instead all items that differ in at most R bits"
    size.add_argument("--radius", type=int, metavar="R", help=text)
    add("--encoded", action="store_true", help="database holds codes, from encode")
    text = "sort the candidates by the vectors of the database, in this file"
    add("--rerank", metavar="FILE", help=text, **file)
    text = "N * k candidates are sorted; default 10"
    add("--oversample", type=int, default=10, metavar="N", help=text)
    text = "compare real outputs for the query with bits"
    add("--float-query", action="store_true", help=text)
    add("--output", metavar="FILE", help="write .npz instead of printing", **file)

    add = command(remove, "remove", REMOVE, ("codes", ".npz file that encode wrote")).add_argument
    add("ids", nargs="*", metavar="ID", help="items to take out")
    add("--file", help="file of more items, an id in each line", **file)

    add = command(evaluate, "evaluate", EVALUATE, model, database, query).add_argument
    reads_queries(add)
    text = "those of the queries, where --labels is a file or names another array or column"
    add("--query-labels", metavar="NAME", help=text)
    add("--top", type=int, metavar="K", help="mAP@K as well, the mAP of the first K")
    text = "also the share of the K nearest neighbours on shortlists of K, 10 K and 100 K"
    add("--recall", type=int, metavar="K", help=text)
    measures(add)

    add = command(compare_methods, "compare", COMPARE, own).add_argument
    reads(add)
    text = f"{methods}; {' '.join(compare.DEFAULT_METHODS)} if not given"
    add("--methods", nargs="+", help=text, **method)
    add("--bits", type=int, nargs="+", default=[16, 32], help="default 16 32")
    add("--report", default="report.html", help="file to write; default report.html", **file)
    trains(add)
    measures(add)
    return root


if __name__ == "__main__":
    sys.exit(main())
