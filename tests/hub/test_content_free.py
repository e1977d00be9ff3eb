import numpy as np
import pytest

from redct.documents import Document
from redct.errors import InputError
from redct.hub.content_free import MOST_CONTEXTS, content_free_documents, content_free_priors
from redct.hub.store import LabelTable


def document(number: int, **context: str) -> Document:
    return Document(f"d{number}", f"text {number}", context, None)


def test_three_texts_for_each_of_the_most_frequent_contexts() -> None:
    corpus = [document(0, target="tea"), document(1, target="coffee"), document(2, target="tea")]
    made = content_free_documents(corpus)
    assert [(d.id, d.text, d.context, d.gold) for d in made[:2]] == [
        ("content-free:N/A|target=tea", "N/A", {"target": "tea"}, None),
        ("content-free:[MASK]|target=tea", "[MASK]", {"target": "tea"}, None),
    ]
    assert len({d.id for d in made}) == len(made) == 6
    assert [d.id for d in content_free_documents([document(0)])][2] == "content-free:..."
    many = content_free_documents([document(n, target=str(n % 150)) for n in range(280)])
    assert len(many) == 3 * MOST_CONTEXTS
    assert {d.context["target"] for d in many} == {str(n) for n in range(100)}


def test_a_document_has_the_prior_of_its_context_else_the_mean() -> None:
    probs = np.array([[0.2, 0.8], [0.4, 0.6], [0.9, 0.1], [np.nan, np.nan], [0.5, 0.5]], dtype=np.float32)
    ids = ["N/A|target=tea", "...|target=tea", "N/A|target=milk", "...|target=milk"]
    label = np.array([1, 1, 0, -1, 0])
    table = LabelTable(
        ["a", "b"], [*(f"content-free:{i}" for i in ids), "d0"], label, probs, np.log(probs), probs[:, 0]
    )
    corpus = [document(0, target="milk"), document(1, target="tea"), document(2, target="water")]
    np.testing.assert_allclose(content_free_priors(table, corpus), [[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]], atol=1e-7)
    with pytest.raises(InputError, match="make them with `redct predict"):
        content_free_priors(table.aligned(["d0", "content-free:...|target=milk"]), corpus)
