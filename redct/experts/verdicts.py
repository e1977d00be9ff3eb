"""What the experts' answers to a document come to: votes that stand, or a resolution where they disagreed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from redct.experts.records import GOLD, Answer


@dataclass(frozen=True)
class Verdict:
    """What stands about a document, after corrections and withdrawals.

    Args:
        document: Its id.
        votes: The label that each annotator gave it.
        skipped: Annotators who skipped it.
        flagged: Annotators who flagged it, with their notes.
        resolution: What a disagreement was resolved to; None where it was not.
    """

    document: str
    votes: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    flagged: dict[str, str] = field(default_factory=dict)
    resolution: str | None = None

    @property
    def answered(self) -> bool:
        """Whether anything stands about it."""
        return bool(self.votes or self.skipped or self.flagged or self.resolution is not None)

    @property
    def disputed(self) -> bool:
        """Whether annotators disagree and nobody resolved it."""
        return self.resolution is None and len(set(self.votes.values())) > 1

    def shares(self, labels: Sequence[str]) -> npt.NDArray[np.float64] | None:
        """Returns (K,) the shares of the votes, all on the resolution where there is one; None without a label."""
        named = [self.resolution] if self.resolution is not None else list(self.votes.values())
        if not named:
            return None
        counts = np.array([named.count(label) for label in labels], dtype=np.float64)
        return counts / len(named)

    def left_out(self) -> str | None:
        """Returns why nothing is to be learned from the document: flagged or skipped; None where something is.

        A flag that stands counts more than labels, since it says that something is wrong with the document; a skip
        only where nobody gave a label. A resolution settles both.
        """
        if self.resolution is not None:
            return None
        if self.flagged:
            return "flagged"
        return "skipped" if self.skipped and not self.votes else None


def verdicts(answers: Iterable[Answer]) -> dict[str, Verdict]:
    """Returns the verdict about each document that has an answer which stands.

    Args:
        answers: In the order of recording; of several of an annotator to a document the latest stands, and an
            undone one leaves none.
    """
    standing: dict[str, dict[str, Answer]] = {}
    resolved: dict[str, str | None] = {}
    for answer in answers:
        if answer.kind in ("resolution", "reopen"):
            resolved[answer.document] = answer.label
        elif answer.kind == "undo":
            standing.get(answer.document, {}).pop(answer.annotator, None)
        else:
            standing.setdefault(answer.document, {})[answer.annotator] = answer
    documents = dict.fromkeys([*standing, *(document for document, label in resolved.items() if label is not None)])
    found = [_verdict(each, list(standing.get(each, {}).values()), resolved.get(each)) for each in documents]
    return {verdict.document: verdict for verdict in found if verdict.answered}


def _verdict(document: str, standing: list[Answer], resolution: str | None) -> Verdict:
    return Verdict(
        document,
        {answer.annotator: answer.label for answer in standing if answer.kind == "label" and answer.label is not None},
        [answer.annotator for answer in standing if answer.kind == "skip"],
        {answer.annotator: answer.note for answer in standing if answer.kind == "flag"},
        resolution,
    )


def votes_of_people(answers: Iterable[Answer]) -> dict[str, dict[str, str]]:
    """Returns the labels that stand, by document and annotator; the gold column is no annotator, a resolution no vote.

    Args:
        answers: The ledger's, in the order of recording.
    """
    standing = verdicts(answers).values()
    return {each.document: {who: label for who, label in each.votes.items() if who != GOLD} for each in standing}


def majority(shares: npt.ArrayLike, probs: npt.ArrayLike) -> int:
    """Returns the label with most votes; of several, the one with the largest of the K probabilities."""
    votes = np.asarray(shares, dtype=np.float64)
    ranked = np.where(votes == votes.max(), np.nan_to_num(np.asarray(probs, dtype=np.float64)), -1.0)
    return int(ranked.argmax())
