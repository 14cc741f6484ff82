"""Every public signature of the package has types; those of the engine are for the library."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import bdnn

MODULES = [module.name for module in pkgutil.walk_packages(bdnn.__path__, "bdnn.")]


def signatures():
    """Yield (name, signature) of public functions, and of public methods of public classes."""
    for module in (importlib.import_module(name) for name in MODULES if "engine" not in name):
        for name in getattr(module, "__all__", ()):
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
    parameters = inspect.signature(function).parameters.values()
    named = {p.name for p in parameters if p.kind != p.VAR_KEYWORD} - {"self", "cls"}
    assert named <= set(function.__annotations__) and "return" in function.__annotations__


def test_the_package_says_that_it_is_typed():
    assert (Path(bdnn.__file__).parent / "py.typed").exists()
