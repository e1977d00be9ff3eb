"""What a classifier gets wrong: its most confident errors, and which labels it takes for which."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from redct.documents import Document

MOST_CONFIDENT = 20


@dataclass(frozen=True)
class Mistake:
    """A document with a wrong label.

    Args:
        id: The document's id.
        text: Its text.
        context: Its context fields.
        gold: The right label, or a wrong one that somebody took for right.
        said: The label that was given.
        confidence: The probability of that label.
    """

    id: str
    text: str
    context: dict[str, str]
    gold: str
    said: str
    confidence: float


@dataclass(frozen=True)
class Confused:
    """A label that was given in place of another.

    Args:
        gold: The right label.
        said: The one given; None where none was.
        documents: How many.
        share_of_gold: Share of the documents with that gold label, 0 to 1.
        share_of_errors: Share of all errors, 0 to 1.
    """

    gold: str
    said: str | None
    documents: int
    share_of_gold: float
    share_of_errors: float


def confident_mistakes(
    documents: Sequence[Document],
    gold: npt.ArrayLike,
    probs: npt.ArrayLike,
    labels: Sequence[str],
    most: int = MOST_CONFIDENT,
) -> list[Mistake]:
    """Returns the errors that a classifier was surest of: an odd case, a rule it missed, or a wrong gold label.

    Args:
        documents: N documents.
        gold: (N,) indices 0 to K-1.
        probs: (N, K) label distributions; rows of nan count as no error.
        labels: The task's K labels.
        most: How many at most.
    """
    values, right = np.asarray(probs, dtype=np.float64), np.asarray(gold)
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    said, confidence = values.argmax(axis=1), values.max(axis=1)
    wrong = known[said[known] != right[known]]
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    return [
        Mistake(
            documents[n].id,
            documents[n].text,
            documents[n].context,
            labels[right[n]],
            labels[said[n]],
            float(confidence[n]),
        )
        for n in surest.tolist()
    ]


def confused_labels(confusion: npt.ArrayLike, labels: Sequence[str]) -> list[Confused]:
    """Returns which labels are given in place of which, the most frequent error first.

    Args:
        confusion: (K, K + 1) as from `evidence.confusion`.
        labels: The task's K labels.
    """
    cells = np.asarray(confusion, dtype=np.int64)
    errors = cells.sum() - np.trace(cells[:, :-1])
    found = [
        Confused(labels[g], [*labels, None][s], count, count / int(cells[g].sum()), count / int(errors))
        for g, row in enumerate(cells.tolist())
        for s, count in enumerate(row)
        if count and s != g
    ]
    return sorted(found, key=lambda each: -each.documents)
