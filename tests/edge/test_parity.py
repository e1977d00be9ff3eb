"""Whether a bundle answers as its checkpoint: figures against scikit-learn, and the limits."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from redct.edge.parity import Parity, compare


def probabilities(n: int, k: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(k), n)


def test_figures_are_those_of_other_implementations() -> None:
    exact, noise = probabilities(400, 3, 0), probabilities(400, 3, 1)
    ours = 0.8 * exact + 0.2 * noise
    label = np.random.default_rng(2).integers(0, 3, 400)
    found = compare(exact, ours, label)
    a, b = exact.argmax(1), ours.argmax(1)
    assert found.documents == 400
    assert found.agreement == pytest.approx(sum(x == y for x, y in zip(a, b, strict=True)) / 400)
    assert found.macro_f1_checkpoint == pytest.approx(f1_score(label, a, average="macro"))
    assert found.macro_f1_bundle == pytest.approx(f1_score(label, b, average="macro"))
    each = [abs(float(x) - float(y)) for x, y in zip(exact.ravel(), ours.ravel(), strict=True)]
    assert found.mean_difference == pytest.approx(sum(each) / len(each))
    assert found.largest_difference == pytest.approx(max(each))


def test_a_document_without_an_answer_counts_as_wrong() -> None:
    exact = np.array([[0.9, 0.1], [0.2, 0.8]])
    found = compare(exact, np.array([[0.9, 0.1], [np.nan, np.nan]]), [0, 1])
    assert found.agreement == 0.5
    assert found.mean_difference == 0.5
    assert found.macro_f1_bundle < found.macro_f1_checkpoint == 1
    assert not found.equal


def test_documents_of_unknown_label_count_for_agreement_only() -> None:
    exact, ours = probabilities(60, 3, 0), probabilities(60, 3, 1)
    label = np.random.default_rng(2).integers(0, 3, 60)
    found = compare(exact, ours, np.where(np.arange(60) < 40, label, -1))
    assert found.agreement == compare(exact, ours, label).agreement
    assert found.macro_f1_bundle == pytest.approx(f1_score(label[:40], ours[:40].argmax(1), average="macro"))


EQUAL = Parity(500, 0.99, 0.80, 0.79, 0.02, 0.9)


@pytest.mark.parametrize(
    ("parity", "equal"),
    [
        (EQUAL, True),
        (Parity(500, 0.988, 0.80, 0.80, 0.001, 0.1), False),
        (Parity(500, 1.0, 0.80, 0.785, 0.001, 0.1), False),
        (Parity(500, 1.0, 0.80, 0.85, 0.001, 0.1), True),
        (Parity(500, 1.0, 0.80, 0.80, 0.021, 0.1), False),
    ],
)
def test_limits(parity: Parity, equal: bool) -> None:
    assert parity.equal is equal


def test_a_refusal_has_the_figures() -> None:
    assert str(EQUAL) == (
        "99.00% of 500 labels agree (at least 99%), macro F1 80.0 -> 79.0 (at most 1 point less), "
        "mean difference of a probability 0.0200 (at most 0.02)"
    )
