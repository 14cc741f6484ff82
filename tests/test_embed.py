"""The file of embedded sentences, and the parts of the program that made it."""

import numpy as np
import pytest

from tools import embed


def test_the_shipped_file_holds_what_its_program_writes():
    with np.load(embed.FILE) as file:
        X, questions = file["X"], file["questions"]
        assert X.shape == (embed.N_SENTENCES, 384) and X.dtype == questions.dtype == np.int8
        assert file["asked"].tolist() == list(embed.QUESTIONS)
        assert set(file["y"]) == {"python", *embed.PACKAGES}
        assert len(file["name"]) == len(file["y"]) == len(X)
        assert [text.split()[0] for text in file["versions"]] == ["python", *embed.PACKAGES]
    lengths = np.linalg.norm(embed.STEP * np.vstack([X, questions]).astype(float), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=0.01)  # but for the rounding to bytes
    assert len(np.unique(X, axis=0)) > 0.99 * len(X)


@pytest.mark.parametrize(
    ("docstring", "sentence"),
    [
        ("Return the sum of\n    the items. Then more.", "Return the sum of the items."),
        ("f(x, y=1)\n\nAdd `x` to the list of items.", "Add x to the list of items."),
        ("Too short to tell.", None),
        ("No full stop at the end of this", None),
        ("Naïve text has signs beyond ASCII in it.", None),
        (None, None),
        (property(), None),
    ],
)
def test_first_sentences(docstring, sentence):
    assert embed.first_sentence(docstring) == sentence
