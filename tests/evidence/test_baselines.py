import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from redct.documents import Document
from redct.evidence import baselines, majority
from redct.evidence.baselines import tfidf_probs
from redct.training.parts import Part

WORDS = ["bad awful never stop", "good great please yes", "when where monday bus"]


def corpus(n: int, seed: int) -> tuple[list[Document], np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    texts = [" ".join(rng.choice([*WORDS[k].split(), "the", "and"], 5)) for k in label]
    return [Document(f"d{seed}-{i}", text, {"target": "tea"}, None) for i, text in enumerate(texts)], label


def part(documents: list[Document], target: np.ndarray) -> Part:
    ones = np.ones(len(documents), dtype=np.float32)
    return Part(documents, target.astype(np.float32), target.argmax(axis=1), ones, ["llm"] * len(documents))


def test_learns_from_hard_and_soft_targets() -> None:
    documents, label = corpus(150, 0)
    new, gold = corpus(100, 1)
    hard = tfidf_probs(Part.known(documents, label, 3, "gold"), new)
    assert hard.sum(axis=1) == pytest.approx(1)
    assert (hard.argmax(axis=1) == gold).mean() > 0.9
    soft = tfidf_probs(part(documents, np.eye(3)[label] * 0.7 + 0.1), new)
    assert (soft.argmax(axis=1) == gold).mean() > 0.9
    assert soft.max(axis=1).mean() < hard.max(axis=1).mean() - 0.1


def test_soft_targets_have_the_loss_of_repeated_documents() -> None:
    documents, label = corpus(40, 2)
    other = (label + 1) % 3
    repeated = [*documents, *documents, *documents]
    target = np.eye(3)[label] * 2 / 3 + np.eye(3)[other] / 3
    soft = tfidf_probs(
        Part(documents, target.astype(np.float32), label, np.full(40, 3, dtype=np.float32), [""] * 40), documents
    )
    hard = tfidf_probs(Part.known(repeated, np.concatenate([label, label, other]), 3, "gold"), documents)
    np.testing.assert_allclose(soft, hard, atol=0.01)


def test_labels_without_documents_get_no_probability() -> None:
    documents, label = corpus(60, 3)
    probs = tfidf_probs(Part.known(documents, label, 5, "gold"), documents)
    assert probs.shape == (60, 5)
    assert not probs[:, 3:].any()
    alone = tfidf_probs(Part.known(documents, np.full(60, 2), 5, "gold"), documents)
    assert alone.tolist() == [[0, 0, 1, 0, 0]] * 60


def test_the_context_is_seen() -> None:
    documents = [
        Document(str(n), "the same text", {"target": "tea house" if n % 2 else "bus"}, None) for n in range(20)
    ]
    probs = tfidf_probs(Part.known(documents, np.arange(20) % 2, 2, "gold"), documents)
    assert (probs.argmax(axis=1) == np.arange(20) % 2).all()


def test_a_large_corpus_is_drawn_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MOST_DOCUMENTS", 50)
    seen = []
    fit = LogisticRegression.fit
    monkeypatch.setattr(
        LogisticRegression, "fit", lambda self, x, y, **more: seen.append(x.shape[0]) or fit(self, x, y, **more)
    )
    documents, label = corpus(200, 4)
    tfidf_probs(Part.known(documents, label, 3, "gold"), documents)
    assert seen == [50]


def test_majority() -> None:
    assert majority([2, 1, 2, 0], 4).tolist() == [2, 2, 2, 2]
    assert majority([1, 0], 3).tolist() == [0, 0]
