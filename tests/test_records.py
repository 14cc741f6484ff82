"""Rows of results files, and the hashes of the code that made them."""

import json

import bdnn
from bdnn.course import records


def test_rows_come_back_and_a_cut_line_is_left_out(tmp_path, capsys):
    path = tmp_path / "results" / "rows.jsonl"
    assert records.read_rows(path) == records.read_rows(None) == []
    records.append_row(path, {"a": 1})
    with open(path, "a") as file:
        file.write('{"a": ')  # an interruption
    records.append_row(path, {"a": 2})
    assert records.read_rows(path) == [{"a": 1}, {"a": 2}]
    assert f"{path}: a damaged line is left out" in capsys.readouterr().err
    (tmp_path / "results" / "other.jsonl").write_text("")
    assert records.read_folder(tmp_path / "results") == {
        "other.jsonl": [],
        "rows.jsonl": [{"a": 1}, {"a": 2}],
    }


def test_hash_of_the_code_ignores_prose(tmp_path):
    texts = {
        "first": '"""Doc."""\n\n\nclass A:\n    """Doc."""\n\n    x = 1\n',
        "prose": '"""Other."""\n\n\nclass B:\n    x = 1  # same\n'.replace("B", "A"),
        "code": '"""Doc."""\n\n\nclass A:\n    """Doc."""\n\n    x = 2\n',
    }
    hashes = {}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text(text)
        hashes[name] = records.code_hashes(tmp_path / name)["A"]
    assert hashes["first"] == hashes["prose"] != hashes["code"]
    assert len(hashes["code"]) == 12


PLAIN = """
import numpy as np
from a import b

class A:
    def f(self, x, *y, z=1):
        return np.dot(x, b)
"""
TYPED = """
import numpy as np
from a import Size, b
from typing import Self

class A:
    def f(self, x: np.ndarray, *y: Size, z: "int" = 1) -> Self:
        return np.dot(x, b)
"""


def test_hash_of_the_code_ignores_types(tmp_path):
    """Types and their imports compute nothing; a default does, and so does an import in use."""
    texts = {
        "plain": PLAIN,
        "typed": TYPED,
        "default": TYPED.replace("= 1", "= 2"),
        "import": TYPED.replace("Size, b", "Size, c as b"),
        "plain, in use": PLAIN.replace("import b", "import Size, b").replace("(x", "(Size"),
        "typed, in use": TYPED.replace("(x", "(Size"),
    }
    hashes = {}
    for name, text in texts.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text(text)
        hashes[name] = records.code_hashes(tmp_path / name)["A"]
    assert hashes["plain"] == hashes["typed"]
    assert hashes["plain, in use"] == hashes["typed, in use"]
    assert len(set(hashes.values())) == 4


EVERY_KIND = """
class A(B, key=None):
    def f(self, x=(), *, y=[]):
        return None if y else {**x, 1: f"{x!r:>{y}} {x:.2f}", "a" "b": lambda: ...}

    def g(self):
        yield
        return
"""


def test_hash_of_the_code_is_the_same_in_every_python(tmp_path):
    """Later ones have other fields in the tree, and print it without what is empty."""
    (tmp_path / "module.py").write_text(EVERY_KIND)
    assert records.code_hashes(tmp_path) == {"A": "e4b1f162dfa1"}


def test_classes_of_one_module_share_its_hash():
    hashes = records.code_hashes()
    assert hashes["ITQ"] == hashes["ITQCCA"] != hashes["UHBDNN"]
    assert {name for name in bdnn.__all__ if name[0].isupper()} <= set(hashes)


def test_declared_codes(tmp_path):
    assert records.older_codes(tmp_path) == {}
    (tmp_path / records.OLDER).write_text(json.dumps({"0": {"since": "faster", "same": True}}))
    assert records.older_codes(tmp_path)["0"]["same"]
