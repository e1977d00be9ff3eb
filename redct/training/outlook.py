"""What another 100 answers are expected to bring, from the answers so far. Needs no torch."""

from collections.abc import Sequence

import numpy as np

from redct.documents import Document
from redct.experts import Ledger, majority
from redct.experts.forecast import learning_curve, notes, prevalence_forecast, text_features
from redct.experts.weights import mean, waves_of
from redct.hub.store import LabelTable
from redct.training.answers import answers_of_people


def outlook(ledger: Ledger, documents: Sequence[Document], table: LabelTable, seed: int) -> list[str]:
    """Returns lines for the user; see `redct.experts.forecast`.

    Args:
        ledger: The study's ledger.
        documents: The N documents of the corpus.
        table: What the LLM said about them.
        seed: Of everything random in the forecast.
    """
    answers = answers_of_people(ledger, table.ids, table.labels)
    at = np.array(sorted(answers.shares), dtype=np.int64)
    if not len(at):
        return ["what more answers would bring can be said after the first ones"]
    label = [majority(answers.shares[n], table.probs[n]) for n in at]
    weight = [answers.weight[n] for n in at] if not answers.why else None

    def features(rows: "np.ndarray") -> object:
        chosen = [documents[n] for n in rows]
        return text_features([f"{document.text}\n{document.context_text()}" for document in chosen])

    curve = learning_curve(features, table.probs, at, label, weight, seed)
    return notes(len(at), curve, table.labels, None)
