"""Suspect labels, by the names of their documents: gold labels, and answers of people."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from redct.documents import Document
from redct.evidence.suspects import Suspect, find_suspects
from redct.experts import Ledger, waiting
from redct.training.corpus import LabeledCorpus


@dataclass(frozen=True)
class Doubt:
    """A gold label, or an answer of people, that is probably wrong.

    Args:
        id: The document's id.
        label: The label it has.
        likelier: The one that the raters asked give instead.
        quality: The probability that they leave for its label, in the mean.
    """

    id: str
    label: str
    likelier: str
    quality: float


def doubts_of(suspects: Sequence[Suspect], documents: Sequence[Document], labels: Sequence[str]) -> list[Doubt]:
    """Returns suspects with the names of their documents and labels."""
    return [Doubt(documents[s.row].id, labels[s.label], labels[s.likelier], s.quality) for s in suspects]


def doubted_answers(corpus: LabeledCorpus) -> list[Doubt]:
    """Returns people's answers that the LLM, which has not learned from them, makes look wrong.

    Those that somebody settled, or gave a second look, are right as far as people can tell.

    Args:
        corpus: A study's documents, labels and answers; without either of these, nothing is doubted.

    Returns:
        The most doubtful first.

    Raises:
        InputError: When the LLM was not asked about all documents, or an answer is of another codebook.
    """
    if not corpus.asking.ledger.exists():
        return []
    documents = corpus.splits().train.documents
    answers, probs = corpus.asking.so_far(documents).without_ties(), corpus.own_labels().probs
    label = np.full(len(documents), -1, dtype=np.int64)
    for n, shares in answers.shares.items():
        label[n] = shares.argmax()
    settled = _looked_at(corpus) | {documents[n].id for n, how in answers.decided.items() if how == "resolution"}
    found = doubts_of(find_suspects(label, probs), documents, corpus.task.labels)
    return [doubt for doubt in found if doubt.id not in settled]


def _looked_at(corpus: LabeledCorpus) -> set[str]:
    """The documents whose second look is over."""
    with Ledger(corpus.asking.ledger, create=False) as ledger:
        looks, answers = ledger.second_looks(), ledger.answers()
    return {document for each in looks for document in each.ids} - {*waiting(looks, answers)}
