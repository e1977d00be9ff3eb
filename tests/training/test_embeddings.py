"""Embeddings are those of sentence-transformers, made once."""

import os

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from redct.assets import resolve_model
from redct.documents import Document
from redct.errors import InputError
from redct.training import embeddings
from redct.training.embeddings import embed

TEXTS = ["A cat sits on the mat.", "Kittens!", "The central bank raised its rates by half a point on Thursday.", ""]


def documents(texts: list[str], **context: str) -> list[Document]:
    return [Document(str(n), text, context, None) for n, text in enumerate(texts)]


@pytest.fixture(scope="module")
def minilm() -> str:
    try:
        return resolve_model("minilm")
    except InputError as error:
        pytest.skip(str(error))


def by_definition(folder: str, text: str, *context: str) -> np.ndarray:
    """As the model card of all-MiniLM-L6-v2 defines it: one text, so no padding and no mask."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = model(**tokenizer(text, *context, return_tensors="pt")).last_hidden_state[0].double()
    mean = states.mean(dim=0)
    return (mean / mean.norm()).numpy()


def test_are_those_of_sentence_transformers(minilm, tmp_path) -> None:
    vectors = embed("minilm", documents(TEXTS), 64, tmp_path, batch_size=3)
    assert vectors.dtype == np.float32
    expected = np.stack([by_definition(minilm, text) for text in TEXTS])
    np.testing.assert_allclose(vectors, expected, atol=2e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2  # they mean something: cats, and a bank


def test_context_is_the_second_text(minilm, tmp_path) -> None:
    vectors = embed("minilm", documents(["Never again."], target="tea"), 64, tmp_path)
    np.testing.assert_allclose(vectors[0], by_definition(minilm, "Never again.", "target: tea"), atol=2e-6)


def test_batches_do_not_matter(tiny_encoder, tmp_path) -> None:
    rng = np.random.default_rng(0)
    many = documents([" ".join(rng.choice(["agree", "never", "x"], rng.integers(0, 30))) for _ in range(50)])
    one = embed(str(tiny_encoder), many, 64, tmp_path / "one", batch_size=1)
    np.testing.assert_allclose(embed(str(tiny_encoder), many, 64, tmp_path / "many", batch_size=16), one, atol=1e-6)
    lengths = [document.text != "" for document in many]  # the tokenizer has no tokens for no text
    assert 0 < sum(lengths) < 50
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), lengths, rtol=1e-6)
    turned = embed(str(tiny_encoder), many[::-1], 64, tmp_path / "turned", batch_size=16)
    np.testing.assert_allclose(turned[::-1], one, atol=1e-6)


def test_are_made_once(tiny_encoder, tmp_path, monkeypatch) -> None:
    first = embed(str(tiny_encoder), documents(TEXTS), 64, tmp_path)
    loads = []
    real = AutoModel.from_pretrained
    monkeypatch.setattr(embeddings.AutoModel, "from_pretrained", lambda *a, **k: loads.append(a) or real(*a, **k))
    assert np.array_equal(embed(str(tiny_encoder), documents(TEXTS), 64, tmp_path, batch_size=1), first)
    assert not loads
    embed(str(tiny_encoder), documents([*TEXTS[:3], "Other."]), 64, tmp_path)
    embed(str(tiny_encoder), documents(TEXTS, target="tea"), 64, tmp_path)
    embed(str(tiny_encoder), documents(TEXTS), 8, tmp_path)
    assert len(loads) == 3
    weights = tiny_encoder / "model.safetensors"
    before = weights.stat()
    os.utime(weights, ns=(0, 0))  # as if the folder held another encoder
    embed(str(tiny_encoder), documents(TEXTS), 64, tmp_path)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert len(loads) == 4


def test_an_absent_encoder_is_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"model.encoder: cannot load 'no/such-encoder'"):
        embed("no/such-encoder", documents(TEXTS), 64, tmp_path)
