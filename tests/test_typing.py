"""Every public signature of the modules that mypy checks has types."""

import importlib
import inspect
import tomllib
from pathlib import Path

import pytest

import bdnn

ROOT = Path(__file__).resolve().parent.parent

FILES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"]
TYPED = [Path(file).stem for file in FILES if not file.endswith("__main__.py")]


def signatures():
    """Yield (name, signature) of public functions, and of public methods of public classes."""
    for module in (importlib.import_module(f"bdnn.{name}") for name in TYPED):
        for name in module.__all__:
            value = getattr(module, name)
            members = vars(value).items() if inspect.isclass(value) else [("", value)]
            for method, function in members:
                public = not method.startswith("_") or method == "__init__"
                if public and inspect.isfunction(function):
                    yield f"{module.__name__}.{name}.{method}".rstrip("."), function


@pytest.mark.parametrize(
    ("name", "function"), [pytest.param(*pair, id=pair[0]) for pair in signatures()]
)
def test_signature_is_typed(name, function):
    parameters = inspect.signature(function).parameters
    named = set(parameters) - {"self", "cls"}
    assert named <= set(function.__annotations__) and "return" in function.__annotations__


def test_the_package_says_that_it_is_typed():
    assert (Path(bdnn.__file__).parent / "py.typed").exists()
