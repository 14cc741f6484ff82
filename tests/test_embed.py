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


@pytest.fixture
def model():
    """Without weights, and with few words."""
    model = object.__new__(embed.MiniLM)
    words = ["[CLS]", "[SEP]", "[UNK]", "em", "embed", "##d", "##ding", "##s", ".", "_"]
    model.ids = {word: i for i, word in enumerate(words)}
    return model


def test_words_are_cut_into_the_longest_known_pieces(model):
    pieces = [list(model.ids)[i] for i in model.tokens("Embeddings. em_ed embedx")]
    body = ["embed", "##ding", "##s", ".", "em", "_", "[UNK]", "[UNK]"]
    assert pieces == ["[CLS]", *body, "[SEP]"]


def test_attention_is_that_of_a_loop(model):
    rng = np.random.default_rng(0)
    parts = ("query", "key", "value")
    model.weights = {f"a.{part}.weight": rng.normal(size=(384, 384)) / 50 for part in parts}
    model.weights |= {f"a.{part}.bias": rng.normal(size=384) / 50 for part in parts}
    A = rng.normal(size=(2, 3, 384))
    mixed = model.attended("a", A)
    for i, t, head in np.ndindex(2, 3, 12):
        own = slice(32 * head, 32 * head + 32)
        q, k, v = (
            A[i] @ model.weights[f"a.{part}.weight"][own].T + model.weights[f"a.{part}.bias"][own]
            for part in parts
        )
        share = np.exp([q[t] @ k[s] / np.sqrt(32) for s in range(3)])
        np.testing.assert_allclose(mixed[i, t, own], share @ v / share.sum(), rtol=1e-9)
