"""What every form lays out: a document of the queue with its answers."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from redct.documents import Document
from redct.experts.records import Answer

Value: TypeAlias = str | int | float | None

ANSWER_COLUMNS: Final = (
    "label",
    "note",
    "annotator",
    "kind",
    "answered_at",
    "duration_seconds",
    "origin",
    "ledger_row",
)
COLUMNS: Final = ("id", "text", "context", "round", "suggestion", *ANSWER_COLUMNS, "stands")


@dataclass(frozen=True, slots=True)
class Entry:
    """A document of the queue.

    Args:
        document: The document.
        round: In which it was chosen; None where that is not known.
        suggestion: The LLM's label; None where it is not to be shown.
        answers: What was said about it, in the order of recording.
        again: Whether its answers are looked at again, so that an answer settles them.
    """

    document: Document
    round: int | None
    suggestion: str | None
    answers: list[Answer] = field(default_factory=list)
    again: bool = False

    def rows(self) -> Iterator[dict[str, Value]]:
        """Yields a row with all `COLUMNS` for each answer, or one without."""
        about = {
            "id": self.document.id,
            "text": self.document.text,
            "context": self.document.context_text(),
            "round": self.round,
            "suggestion": self.suggestion,
        }
        if not self.answers:
            yield {
                **about,
                **dict.fromkeys(ANSWER_COLUMNS),
                "kind": "resolution" if self.again else None,
                "stands": None,
            }
        latest = self._latest()
        for answer in self.answers:
            stands = answer in latest and answer.kind not in ("undo", "reopen")
            yield {**about, **said_in(answer), "stands": "yes" if stands else "no"}

    def standing(self) -> list[Answer]:
        """Returns the label or skip that stands of each annotator: what other programs know as an answer."""
        return [answer for answer in self._latest() if answer.kind in ("label", "skip")]

    def _latest(self) -> list[Answer]:
        """Returns what each annotator said last, and the last resolution or reopening."""
        settling = ("resolution", "reopen")
        return list({None if each.kind in settling else each.annotator: each for each in self.answers}.values())


def said_in(answer: Answer) -> dict[str, Value]:
    """Returns an answer's `ANSWER_COLUMNS`."""
    return {
        "label": answer.label,
        "note": answer.note,
        "annotator": answer.annotator,
        "kind": answer.kind,
        "answered_at": answer.answered_at,
        "duration_seconds": answer.duration_seconds,
        "origin": answer.origin,
        "ledger_row": answer.number,
    }


def entries(
    documents: Iterable[Document],
    answers: Sequence[Answer],
    rounds: Mapping[str, int],
    suggestions: Mapping[str, str],
    again: Collection[str] = (),
) -> Iterator[Entry]:
    """Yields the documents with their answers, then answers to documents that are not given, without text."""
    said: dict[str, list[Answer]] = {}
    for answer in answers:
        said.setdefault(answer.document, []).append(answer)

    def entry(document: Document) -> Entry:
        name = document.id
        return Entry(document, rounds.get(name), suggestions.get(name), said.pop(name, []), name in again)

    yield from map(entry, documents)
    yield from [entry(Document(name, "", {}, None)) for name in list(said)]
