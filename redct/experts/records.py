"""What a ledger holds: rounds of chosen documents, and what somebody said about one of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from redct.errors import InputError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

Asked = Literal["experts", "gold"]
"""Who is asked about the documents of a round: people, or the gold column that stands for them."""

Kind = Literal["label", "skip", "flag", "undo", "resolution", "reopen"]
"""What an answer is. An annotator labels, skips or flags a document, or undoes that; where annotators disagree,
somebody resolves it, or reopens what was resolved."""

GOLD: Final = "gold"  # the annotator's name where the gold column stands for the experts

SUSPECTS: Final = "suspects"  # the strategy of a second look

LONGEST_NAME: Final = 80


@dataclass(frozen=True)
class Round:
    """A recorded choice of documents.

    Args:
        number: 1, 2, ... in the order of recording.
        asked: Who is asked about its documents.
        strategy: How they were chosen.
        seed: Of the draw.
        parameters: What else the choice was made with.
        ids: The chosen documents, in the order to ask.
        inclusion: The inclusion probability of each chosen document.
    """

    number: int
    asked: Asked
    strategy: str
    seed: int
    parameters: dict[str, JSON]
    ids: list[str]
    inclusion: dict[str, float]


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody said about a document, at one moment.

    Args:
        document: Its id.
        annotator: Who.
        kind: What it is, see `Kind`.
        label: The label of a label or a resolution; None for all else.
        note: A remark, mostly with a flag.
        answered_at: When, in ISO 8601 with a time zone; empty means when it is recorded.
        duration_seconds: How long the annotator looked at the document; None where nobody measured.
        origin: Where the ledger has it from: page, gold, or the name of an imported file.
        number: Its place in the ledger, from 1; 0 for one that is not in it.
    """

    document: str
    annotator: str
    kind: Kind = "label"
    label: str | None = None
    note: str = ""
    answered_at: str = ""
    duration_seconds: float | None = None
    origin: str = "page"
    number: int = 0

    def __post_init__(self) -> None:
        """Checks that the label fits the kind.

        Raises:
            InputError: When it does not, the kind is unknown or the annotator has no name.
        """
        if self.kind not in get_args(Kind):
            raise InputError(f"answer to {self.document!r}: {self.kind!r} is none of {', '.join(get_args(Kind))}")
        if (self.label is not None) != (self.kind in ("label", "resolution")):
            raise InputError(f"answer to {self.document!r}: a {self.kind} with label {self.label!r}")
        if not self.annotator.strip():
            raise InputError(f"answer to {self.document!r}: no annotator, expected a name")


class OutdatedError(InputError):
    """An answer was made upon something that is no longer the latest, such as in a second browser tab.

    Attributes:
        latest: The answer that was recorded meanwhile.
    """

    def __init__(self, latest: Answer) -> None:
        super().__init__(f"{latest.document!r} was answered meanwhile ({latest.kind} by {latest.annotator})")
        self.latest = latest


def check_name(name: str) -> str:
    """Returns an annotator's name without spaces around and within it doubled.

    Raises:
        InputError: When it is empty, too long, holds characters that are not printed, or is the gold column's.
    """
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(f"found the name {name[:LONGEST_NAME]!r}, expected 1 to {LONGEST_NAME} printable characters")
    if name.casefold() == GOLD:
        raise InputError(f"found the name {name!r}, which stands for the gold column, expected another")
    return name


def spelled_as(name: str, known: Iterable[str]) -> str:
    """Returns a name as it is spelled already, if only the case differs."""
    names = list(known)
    return name if name in names else next((each for each in names if each.casefold() == name.casefold()), name)
