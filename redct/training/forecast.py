"""What another 100 answers are expected to bring, from the answers so far. Needs no torch."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from redct.documents import Document
from redct.experts import Ledger, majority, mean, waves_of, weigh
from redct.experts.forecast import MORE, Curve, learning_curve, notes, prevalence_forecast, text_features
from redct.hub.store import LabelTable
from redct.training.answers import Answers, answers_of_people

Floats = npt.NDArray[np.float64]


def forecast(ledger: Ledger, documents: Sequence[Document], table: LabelTable, seed: int) -> list[str]:
    """Returns lines for the user; see `redct.experts.forecast`.

    Args:
        ledger: The study's ledger.
        documents: The N documents of the corpus.
        table: What the LLM said about them.
        seed: Of everything random in the forecast.
    """
    answers = answers_of_people(ledger, table.ids, table.labels)
    if not answers.shares:
        return ["what more answers would bring can be said after the first ones"]
    more = min(MORE, len(documents) - len(answers.shares))
    if not more:
        return ["every document of the corpus is answered"]
    curve = curve_of(answers, documents, table, seed, more)
    return notes(len(answers.shares), curve, table.labels, _prevalence(ledger, answers, table, more), more)


def curve_of(
    answers: Answers, documents: Sequence[Document], table: LabelTable, seed: int, more: int = MORE
) -> Curve | None:
    """Returns the learning curve of the answers so far; None where they are too few to tell.

    Args:
        answers: By position among the documents.
        documents: The N documents of the corpus.
        table: What the LLM said about them.
        seed: Of everything random.
        more: Answers that the forecast adds.
    """
    at = np.array(sorted(answers.shares), dtype=np.int64)
    label = [majority(answers.shares[n], table.probs[n]) for n in at]
    weight = None if answers.why else [answers.weight.get(n, 0.0) for n in at.tolist()]

    def features(rows: npt.NDArray[np.int64]) -> object:
        chosen = [documents[n] for n in rows]
        return text_features([f"{document.text}\n{document.context_text()}" for document in chosen])

    return learning_curve(features, table.probs, at, label, weight, seed, more)


def _prevalence(ledger: Ledger, answers: Answers, table: LabelTable, more: int) -> tuple[Floats, Floats] | None:
    """Returns the half-widths of the label shares, now and then; None where there is no valid estimate."""
    n = len(table.ids)
    answered, shares = np.zeros(n, dtype=np.bool_), np.zeros((n, len(table.labels)))
    for position, votes in answers.shares.items():
        answered[position], shares[position] = True, votes
    waves = waves_of(ledger, ledger.rounds_for_people(), table.ids)
    weights = weigh(waves, answered)
    if weights.weight is None:
        return None
    error = mean(weights, waves, answered, shares).standard_error
    return prevalence_forecast(error, int(answered.sum()), n, more)
