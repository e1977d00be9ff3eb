"""What every form lays out: a document of the queue with its answers."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from redct.documents import Document
from redct.experts.ledger import Answer

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
COLUMNS: Final = ("id", "text", "context", "round", "suggestion", *ANSWER_COLUMNS)


@dataclass(frozen=True, slots=True)
class Entry:
    """A document of the queue.

    Args:
        document: The document.
        round: In which it was chosen; None where that is not known.
        suggestion: The LLM's label; None where it is not to be shown.
        answers: What was said about it, in the order of recording.
    """

    document: Document
    round: int | None
    suggestion: str | None
    answers: list[Answer] = field(default_factory=list)

    def rows(self) -> Iterator[dict[str, Value]]:
        """Yields a row with all `COLUMNS` for each answer, or one without."""
        about = {
            "id": self.document.id,
            "text": self.document.text,
            "context": self.document.context_text(),
            "round": self.round,
            "suggestion": self.suggestion,
        }
        for said in map(said_in, self.answers) if self.answers else [dict.fromkeys(ANSWER_COLUMNS)]:
            yield {**about, **said}

    def standing(self) -> list[Answer]:
        """Returns the label or skip that stands of each annotator: what other programs know as an answer."""
        latest: dict[str, Answer] = {}
        for answer in self.answers:
            if answer.kind in ("label", "skip"):
                latest[answer.annotator] = answer
            elif answer.kind in ("undo", "flag"):
                latest.pop(answer.annotator, None)
        return list(latest.values())


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
) -> Iterator[Entry]:
    """Yields the documents with their answers, then answers to documents that are not given, without text."""
    said: dict[str, list[Answer]] = {}
    for answer in answers:
        said.setdefault(answer.document, []).append(answer)

    def entry(document: Document) -> Entry:
        name = document.id
        return Entry(document, rounds.get(name), suggestions.get(name), said.pop(name, []))

    yield from map(entry, documents)
    yield from [entry(Document(name, "", {}, None)) for name in list(said)]
