"""What the experts were asked, what they said, and what more answers would bring."""

from collections import Counter
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np

from redct.experts import Ledger, seconds_per_document, waiting
from redct.experts.records import GOLD
from redct.hub.store import LabelTable
from redct.training.answers import Answers
from redct.training.corpus import LabeledCorpus
from redct.training.forecast import curve_of


def experts(corpus: LabeledCorpus, answers: Answers | None) -> dict[str, Any] | None:
    """Returns who was asked about what and how long it took; None where nobody was."""
    if answers is None or corpus.experts is None:
        return None
    votes = np.sum([*answers.shares.values()], axis=0) if answers.shares else np.zeros(len(corpus.task.labels))
    said = {
        "source": str(corpus.experts.answers),
        "documents": len(answers.shares),
        "left_out": Counter(answers.left_out.values()),
        "unanswered": answers.unanswered,
        # Shared where experts disagree and nobody settled it.
        "labels": dict(zip(corpus.task.labels, votes.tolist(), strict=True)),
        "unrepresentative": answers.why,
        "annotators": Counter(name for names in answers.annotators.values() for name in names),
        "rounds": [
            {"strategy": each.strategy, "seed": each.seed, "documents": len(each.ids), "parameters": each.parameters}
            for each in answers.rounds
        ],
    }
    return said | _time(corpus)


def _time(corpus: LabeledCorpus) -> dict[str, Any]:
    """How long people took, where that was measured, and how many answers they looked at again."""
    if not corpus.asking.ledger.exists():
        return {"seconds": None, "seconds_per_document": None, "seconds_median": None, "looked_at_again": 0}
    with Ledger(corpus.asking.ledger, create=False) as ledger:
        given = [answer for answer in ledger.answers() if answer.annotator != GOLD]
        looks = ledger.second_looks()
    timed = [answer.duration_seconds for answer in given if answer.duration_seconds is not None]
    return {
        "seconds": sum(timed) if timed else None,
        "seconds_per_document": seconds_per_document(given),
        "seconds_median": median(timed) if timed else None,
        "looked_at_again": sum(len(each.ids) for each in looks) - len(waiting(looks, given)),
    }


def learning(corpus: LabeledCorpus, table: LabelTable, answers: Answers) -> dict[str, Any] | None:
    """Returns how a light student grows with the answers, see `redct.experts.forecast`; None with too few."""
    if not answers.shares or len(answers.shares) == len(table.ids):
        return None
    more = min(100, len(table.ids) - len(answers.shares))
    curve = curve_of(answers, corpus.splits().train.documents, table, corpus.seed, more)
    return None if curve is None else asdict(curve)
