"""The desk: who is asked about which documents, what they answered, and what is to be settled. Knows no HTTP."""

import random
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

from redct.documents import Document
from redct.errors import InputError
from redct.experts.ledger import Ledger
from redct.experts.page.options import PageOptions
from redct.experts.page.queue import Queue, State
from redct.experts.records import GOLD, Answer, Round, check_name, spelled_as
from redct.experts.second_look import answers_before, waits
from redct.experts.verdicts import Verdict, verdicts

PACE_OF: Final = 200  # the latest documents of an annotator that say how fast they are


@dataclass(frozen=True)
class Suggestion:
    """What the LLM said about a document.

    Attributes:
        label: Its label.
        probability: How likely it thought it, 0 to 1.
    """

    label: str
    probability: float


@dataclass(frozen=True)
class View:
    """What is to be seen of a queue at one of its documents.

    Attributes:
        document: The document; None at the end.
        answer: The answer to it that stands: the annotator's own, or the resolution.
        seen: Number of the latest answer to it, standing or not, which a new one is made upon; 0 for none.
        answers: What everybody answered, where that is to be seen.
        done: Documents of the queue that are done.
        total: Documents of the queue.
        last: The latest answer that stands, which an undo withdraws.
        pace: Median seconds that a document took; None where nobody measured.
        left: Seconds that the rest is expected to take.
        disputes: Documents that wait for a resolution.
    """

    document: Document | None
    answer: Answer | None
    seen: int
    answers: list[Answer]
    done: int
    total: int
    last: Answer | None
    pace: float | None
    left: float | None
    disputes: int


@dataclass
class _Person:
    """What is known about somebody who answers, or settles disputes.

    Attributes:
        answers: The answers that stand, the latest last; some no longer do.
        seconds: How long the latest documents took.
    """

    answers: list[Answer] = field(default_factory=list)
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=PACE_OF))


class Desk:
    """Follows the ledger, to which others may write at the same time.

    The documents that are asked about are those chosen for experts, round by round; without such a round, those of
    the latest choice for the gold column. Answers of the gold column are not looked at. Documents of a second look are
    to be settled first, in its order, even where annotators agree.

    Args:
        ledger: Holds the choices and the answers; nothing else is stored.
        documents: The chosen documents by id.
        labels: The task's labels.
        options: Who answers what.

    Raises:
        InputError: When no documents were chosen, or one of them is not at hand.
    """

    def __init__(
        self, ledger: Ledger, documents: Mapping[str, Document], labels: list[str], options: PageOptions
    ) -> None:
        self._ledger, self._labels, self._annotators = ledger, labels, options.annotators
        self._rounds = ledger.rounds_for_people()
        if not any(each.ids for each in self._rounds):
            raise InputError("no documents were chosen yet; run `redct sample`")
        self._documents = _pick(documents, self._rounds)
        self._dealt = _deal(self._rounds, options)
        self._read = 0
        self._standing: dict[str, dict[str, Answer]] = {}
        self._latest: dict[tuple[str, str], int] = {}
        self._resolutions: dict[str, Answer] = {}
        self._queues: dict[str, Queue] = {}
        self._again = answers_before(ledger.second_looks())
        self._cases = Queue(self._again)
        self._people: dict[str, _Person] = {}
        self._judges: dict[str, _Person] = {}
        self._follow()

    @property
    def names(self) -> list[str]:
        """Names that may be chosen from, the only ones where `open` is false."""
        self._follow()
        return self._annotators or sorted(self._people, key=str.casefold)

    @property
    def open(self) -> bool:
        """Whether anybody may give a name."""
        return self._annotators is None

    def enter(self, name: str) -> str:
        """Makes the queue of an annotator.

        Returns:
            The name as it is spelled here already, if it is.

        Raises:
            InputError: When it is no name, or none of those who may answer.
        """
        name = spelled_as(check_name(name), self.names)
        if self._annotators is not None and name not in self._annotators:
            raise InputError(f"found the name {name!r}, expected one of {', '.join(self._annotators)}")
        self._people.setdefault(name, _Person())
        self._judges.setdefault(name, _Person())
        if name not in self._queues:
            order = [document for each in self._rounds for document in _shuffled(each, name)]
            self._queues[name] = Queue(order)
            for document in order:
                self._queues[name].put(document, self._state(document, name))
        return name

    def show(self, name: str, document: str | None = None, step: int = 0) -> View:
        """Returns what an annotator sees.

        Args:
            name: The annotator, who has entered.
            document: One of their documents; None for the first that waits, with a step for the end.
            step: 1 for the document after it, -1 for the one before.
        """
        self._follow()
        found = _choose(self._queues[name], document, step)
        answer = self._standing.get(found, {}).get(name) if found is not None else None
        seen = self._latest.get((found, name), 0) if found is not None else 0
        return self._view(self._queues[name], self._people[name], found, answer, seen)

    def answer(self, answer: Answer, seen: int) -> None:
        """Records what an annotator says; saying what stands already records nothing.

        Args:
            answer: A label, a skip, a flag or an undo.
            seen: Number of their latest answer to the document that they know of.

        Raises:
            InputError: When the document is not theirs to answer, or the label none of the task's.
            OutdatedError: When they said something else meanwhile.
        """
        self._follow()
        if self._queues[answer.annotator].state(answer.document) == State.OUT:
            raise InputError("this document is no longer yours to answer: a colleague has answered it")
        self._check_label(answer)
        if not _says(self._standing.get(answer.document, {}).get(answer.annotator), answer):
            self._ledger.record(answer, seen)
            self._follow()

    def show_case(self, name: str, document: str | None = None, step: int = 0) -> View:
        """Returns what somebody who settles disputes sees; arguments as of `show`."""
        self._follow()
        found = _choose(self._cases, document, step)
        latest = self._resolutions.get(found) if found is not None else None
        standing = latest if latest is not None and latest.label is not None else None
        view = self._view(self._cases, self._judges[name], found, standing, latest.number if latest else 0)
        answers = sorted(self._standing.get(found, {}).values(), key=lambda a: a.annotator.casefold()) if found else []
        return replace(view, answers=answers, pace=None, left=None)

    def resolve(self, answer: Answer, seen: int) -> None:
        """Records a resolution or its reopening; arguments and errors as of `answer`."""
        self._follow()
        if self._cases.state(answer.document) == State.OUT:
            raise InputError("there is nothing left to settle about this document: those who answered agree")
        self._check_label(answer)
        if not _says(self._resolutions.get(answer.document), answer):
            self._ledger.record(answer, seen)
            self._follow()

    def _view(self, queue: Queue, person: _Person, document: str | None, answer: Answer | None, seen: int) -> View:
        while person.answers and not self._stands(person.answers[-1]):
            person.answers.pop()
        # The median is what a document usually takes; but what n of them take together follows from the mean.
        pace = statistics.median(person.seconds) if person.seconds else None
        left = statistics.fmean(person.seconds) * (queue.total - queue.done) if person.seconds else None
        return View(
            document=self._documents[document] if document is not None else None,
            answer=answer,
            seen=seen,
            answers=[],
            done=queue.done,
            total=queue.total,
            last=person.answers[-1] if person.answers else None,
            pace=pace,
            left=left,
            disputes=self._cases.total - self._cases.done,
        )

    def _follow(self) -> None:
        """Reads what was recorded since the last time, by whomever."""
        for answer in self._ledger.answers(after=self._read):
            self._read = answer.number
            if answer.annotator != GOLD and answer.document in self._documents:
                self._take(answer)

    def _take(self, answer: Answer) -> None:
        if answer.kind in ("resolution", "reopen"):
            self._resolutions[answer.document] = answer
            if answer.kind == "resolution":
                self._judges.setdefault(answer.annotator, _Person()).answers.append(answer)
        else:
            self._latest[answer.document, answer.annotator] = answer.number
            self._take_from(self._people.setdefault(answer.annotator, _Person()), answer)
            for name, queue in self._queues.items():
                queue.put(answer.document, self._state(answer.document, name))
        self._cases.put(answer.document, self._case(answer.document))

    def _take_from(self, person: _Person, answer: Answer) -> None:
        standing = self._standing.setdefault(answer.document, {})
        if answer.kind == "undo":
            standing.pop(answer.annotator, None)
            return
        standing[answer.annotator] = answer
        person.answers.append(answer)
        if answer.duration_seconds is not None:
            person.seconds.append(answer.duration_seconds)

    def _stands(self, answer: Answer) -> bool:
        if answer.kind == "resolution":
            return self._resolutions[answer.document] is answer
        return self._standing[answer.document].get(answer.annotator) is answer

    def _state(self, document: str, name: str) -> State:
        """Returns where a document stands for an annotator.

        A document that was dealt to one annotator belongs to whoever has answered it, so that nobody is asked about
        it again when other annotators join.
        """
        standing = self._standing.get(document, {})
        if name in standing:
            return State.DONE
        owner = self._dealt[document]
        return State.PENDING if owner is None or (owner == name and not standing) else State.OUT

    def _case(self, document: str) -> State:
        """Returns whether a document is to be settled, or is: annotators disagree, it is flagged or looked at again."""
        resolution = self._resolutions.get(document)
        found = [*self._standing.get(document, {}).values(), *([resolution] if resolution else [])]
        verdict = verdicts(found).get(document, Verdict(document))
        if verdict.resolution is not None:
            return State.DONE
        again = bool(verdict.votes) and document in self._again and waits(self._again[document], found)
        return State.PENDING if verdict.disputed or verdict.flagged or again else State.OUT

    def _check_label(self, answer: Answer) -> None:
        if answer.label is not None and answer.label not in self._labels:
            raise InputError(f"found the label {answer.label!r}, expected one of {', '.join(self._labels)}")


def _pick(documents: Mapping[str, Document], rounds: list[Round]) -> dict[str, Document]:
    chosen = {document: each.number for each in rounds for document in each.ids}
    for document, number in chosen.items():
        if document not in documents:
            raise InputError(
                f"round {number}: found no document {document!r} in the data, expected the same files as then"
            )
    return {document: documents[document] for document in chosen}


def _deal(rounds: list[Round], options: PageOptions) -> dict[str, str | None]:
    """Returns whom each document is dealt to; None for everybody."""
    dealt: dict[str, str | None] = {}
    for each in rounds:
        shared = round(options.overlap * len(each.ids)) if options.annotators else len(each.ids)
        for position, document in enumerate(each.ids):
            names = options.annotators if position >= shared else None
            dealt[document] = names[position % len(names)] if names else None
    return dealt


def _shuffled(round: Round, name: str) -> list[str]:
    """Returns a round's documents in an order of the annotator's own, which is the same after each start."""
    digest = blake2b(f"{round.number}\n{name}".encode(), digest_size=8).digest()
    order = list(round.ids)
    random.Random(int.from_bytes(digest)).shuffle(order)  # noqa: S311 - an order, no secret
    return order


def _choose(queue: Queue, document: str | None, step: int) -> str | None:
    if step:
        found = queue.beside(document, step)
        return document if found is None and step < 0 else found
    if document is not None and queue.state(document) != State.OUT:
        return document
    return queue.first()


def _says(standing: Answer | None, answer: Answer) -> bool:
    """Whether an answer says what stands already, as a second click or a repeated request does."""
    if standing is None or standing.kind == "reopen":
        return answer.kind in ("undo", "reopen")
    return (standing.kind, standing.label, standing.note) == (answer.kind, answer.label, answer.note)
