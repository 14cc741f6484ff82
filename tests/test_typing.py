"""Every public signature of the package has types."""

import importlib.util
import inspect
import pkgutil
from pathlib import Path

import pytest

import bdnn

NAMES = [module.name for module in pkgutil.iter_modules(bdnn.__path__)]
EXTRA = {"compiled": "numba", "explore": "ipywidgets", "scale": "distributed"}  # what they need


def imported(name):
    """The module, or None where what it needs is not installed."""
    if name in EXTRA and importlib.util.find_spec(EXTRA[name]) is None:
        return None
    return importlib.import_module(f"bdnn.{name}")


def signatures():
    """Yield (name, signature) of public functions, and of public methods of public classes."""
    for module in filter(None, map(imported, NAMES)):
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
    parameters = inspect.signature(function).parameters
    named = set(parameters) - {"self", "cls"}
    assert named <= set(function.__annotations__) and "return" in function.__annotations__


def test_the_package_says_that_it_is_typed():
    assert (Path(bdnn.__file__).parent / "py.typed").exists()
