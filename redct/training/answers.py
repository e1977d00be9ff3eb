"""What the experts' answers come to, for the documents of a corpus."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from redct.errors import InputError
from redct.experts import Answer, Ledger, Round, Verdict, verdicts, waves_of, weigh
from redct.experts.records import GOLD

Floats = npt.NDArray[np.float64]

NOBODY: Final = "no experts were asked"


@dataclass(frozen=True)
class Answers:
    """The experts' answers, by the position of their document in the corpus.

    Args:
        shares: (K,) the shares of the votes for each label, all on the resolution of a disagreement.
        weight: How many documents of the corpus each answered one stands for, above 0; empty where that cannot be
            known.
        why: Why there are no weights; None where there are.
        annotators: Who answered.
        decided: What the shares rest on: answer, votes or resolution.
        left_out: Why a document that experts saw serves nothing: flagged, skipped or tied.
        rounds: The rounds in which the documents were chosen, as the ledger has them.
        unanswered: How many chosen documents nobody has looked at yet.
        uneven: Why documents with an answer are no draw from the whole corpus, even where each round was a uniform one;
            None where they are.
    """

    shares: dict[int, Floats] = field(default_factory=dict)
    weight: dict[int, float] = field(default_factory=dict)
    why: str | None = NOBODY
    annotators: dict[int, list[str]] = field(default_factory=dict)
    decided: dict[int, str] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()
    unanswered: int = 0
    uneven: str | None = None

    @property
    def strategies(self) -> tuple[str, ...]:
        """How the documents were chosen, round by round."""
        return tuple(each.strategy for each in self.rounds)

    def rows(self, positions: npt.ArrayLike) -> "Answers":
        """Returns the answers to some of the documents, by their position among these."""
        return self._moved({int(old): new for new, old in enumerate(np.asarray(positions))})

    def without(self, positions: npt.ArrayLike) -> "Answers":
        """Returns the answers without those to some of the documents, which keep their positions."""
        out = {int(n) for n in np.asarray(positions)}
        return self._moved({n: n for n in self.shares.keys() | self.left_out.keys() if n not in out})

    def without_ties(self) -> "Answers":
        """Returns the answers without documents on which as many annotators say one label as another."""
        tied = {n: "tied" for n, shares in self.shares.items() if np.sum(shares == shares.max()) > 1}
        kept = self._moved({n: n for n in self.shares if n not in tied})
        return replace(kept, left_out=self.left_out | tied)

    def _moved(self, place: Mapping[int, int]) -> "Answers":
        """Returns the answers to documents that have a new position."""

        def moved(values: Mapping[int, Any]) -> dict[int, Any]:
            return {place[n]: value for n, value in values.items() if n in place}

        return replace(
            self,
            shares=moved(self.shares),
            weight=moved(self.weight),
            annotators=moved(self.annotators),
            decided=moved(self.decided),
            left_out=moved(self.left_out),
        )

    def notes(self) -> list[str]:
        """Returns lines for the user: who answered, and what is left out."""
        if not self.shares and not self.left_out:
            return []
        counts = Counter(name for n in self.shares for name in self.annotators[n])
        who = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
        decided = Counter(self.decided[n] for n in self.shares)
        parts = [who, *(f"{decided[how]:,} by {how}" for how in ("votes", "resolution") if decided[how])]
        shown = "; ".join(filter(None, parts))
        lines = [f"experts' answers: {len(self.shares):,} documents" + (f" ({shown})" if shown else "")]
        if self.left_out:
            reasons = Counter(self.left_out.values())
            found = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items()))
            lines.append(f"left out after experts saw them: {found}")
        if self.unanswered:
            lines.append(f"{self.unanswered:,} chosen documents have no answer yet")
        return lines


def answers_of_people(ledger: Ledger, ids: Sequence[str], labels: Sequence[str]) -> Answers:
    """Returns what people answered, with weights over all rounds.

    Args:
        ledger: The study's ledger.
        ids: The N ids of the corpus.
        labels: The K labels of the task.

    Raises:
        InputError: When an answer's label is none of the task's.
    """
    people = [answer for answer in ledger.answers() if answer.annotator != GOLD]
    rounds = ledger.rounds_for_people()
    return _weighted(_answers(people, ids, labels, str(ledger.path)), ledger, rounds, ids)


def answers_of_gold(ledger: Ledger, round: Round, ids: Sequence[str], labels: Sequence[str]) -> Answers:
    """Returns what the gold column answered to the documents of a round."""
    chosen = set(round.ids)
    gold = [answer for answer in ledger.answers() if answer.annotator == GOLD and answer.document in chosen]
    return _weighted(_answers(gold, ids, labels, str(ledger.path)), ledger, [round], ids)


def answers_of_file(answers: Sequence[Answer], ids: Sequence[str], labels: Sequence[str], path: str) -> Answers:
    """Returns what stands in a file, of which nobody knows how its documents were chosen."""
    why = f"nothing says how the documents of {path} were chosen"
    return replace(_answers(answers, ids, labels, path), why=why)


def _answers(answers: Iterable[Answer], ids: Sequence[str], labels: Sequence[str], where: str) -> Answers:
    place = {document: n for n, document in enumerate(ids)}
    known = set(labels)
    found = Answers()
    for document, verdict in verdicts(answers).items():
        if (n := place.get(document)) is None:
            continue  # of a corpus that was larger then
        named = [*verdict.votes.values(), *([verdict.resolution] if verdict.resolution is not None else [])]
        if wrong := set(named) - known:
            raise InputError(
                f"{where}: {document!r} was labeled {min(wrong)!r}, expected one of {', '.join(labels)} (task.labels); "
                "give the label its name back, or answer the document again"
            )
        _add(found, n, verdict, labels)
    return found


def _add(found: Answers, n: int, verdict: Verdict, labels: Sequence[str]) -> None:
    shares, reason = verdict.shares(labels), verdict.left_out()
    if reason is not None:
        found.left_out[n] = reason
    elif shares is not None:
        found.shares[n] = shares
        found.annotators[n] = sorted(verdict.votes)
        several = "votes" if len(verdict.votes) > 1 else "answer"
        found.decided[n] = several if verdict.resolution is None else "resolution"


def _weighted(answers: Answers, ledger: Ledger, rounds: Sequence[Round], ids: Sequence[str]) -> Answers:
    answered = np.zeros(len(ids), dtype=np.bool_)
    answered[list(answers.shares)] = True
    found = weigh(waves_of(ledger, rounds, ids), answered)
    weight = {} if found.weight is None else {n: float(found.weight[n]) for n in answers.shares if found.weight[n] > 0}
    chosen = {document for each in rounds for document in each.ids}
    seen = {ids[n] for n in (*answers.shares, *answers.left_out)}
    elsewhere = sum(ids[n] not in chosen for n in answers.shares)
    unequal = [number for number, share in enumerate(found.round_weight, 1) if share == 0]
    uneven = None
    if elsewhere:
        uneven = f"{elsewhere:,} of their documents were not chosen in the rounds for people"
    elif unequal:
        uneven = f"round {unequal[0]} has no answers, or was no draw from the whole corpus"
    return replace(
        answers,
        weight=weight,
        why=found.why,
        rounds=tuple(rounds),
        unanswered=len(chosen & set(ids) - seen),
        uneven=uneven,
    )
