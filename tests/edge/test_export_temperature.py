"""The classifier's temperature: where one is fitted, and that it is the likeliest."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from redct.documents import Document
from redct.edge.export import choose_temperature
from redct.training.parts import Part


def part(source: str, count: int, seed: int = 0) -> tuple[np.ndarray, Part]:
    """Returns logits that are three times too large, and documents whose labels were drawn by a third of them."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(count, 3)) * 1.5
    probs = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    label = np.array([rng.choice(3, p=p) for p in probs])
    documents = [Document(f"d{n}", "text", {}, None) for n in range(count)]
    weight = rng.uniform(0.5, 4, count).astype(np.float32)
    return 3 * honest, Part(documents, np.eye(3, dtype=np.float32)[label], label, weight, [source] * count)


@pytest.mark.parametrize(("source", "why"), [("gold", None), ("gold", "nobody was asked"), ("expert", None)])
def test_it_is_the_likeliest_of_the_weighted_labels(source: str, why: str | None) -> None:
    logits, validation = part(source, 400)

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        logs = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return float(-(validation.weight * logs[np.arange(400), validation.label]).sum())

    found, words = choose_temperature(logits, validation, why)
    assert found == pytest.approx(minimize_scalar(loss, bounds=(0.1, 30), method="bounded").x, rel=1e-3)
    assert 2 < found < 4.5
    assert f"fitted to 400 {source} labels" in words


@pytest.mark.parametrize(
    ("source", "count", "why", "reason"),
    [
        ("llm", 400, None, "the LLM's labels"),
        ("gold", 49, None, "49 gold labels are too few"),
        ("expert", 400, "the choice was deterministic", "since the choice was deterministic"),
    ],
)
def test_labels_that_fit_none_leave_the_probabilities(source: str, count: int, why: str | None, reason: str) -> None:
    found, words = choose_temperature(*part(source, count), why)
    assert found == 1
    assert reason in words
