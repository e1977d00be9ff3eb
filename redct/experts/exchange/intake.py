"""Rows of a file become answers, or a list of what is wrong with them."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast, get_args

from redct.errors import InputError
from redct.experts.records import Answer, Kind, check_name, spelled_as
from redct.task import Task

SHOWN: Final = 3  # problems in the one line of an error


@dataclass(frozen=True, slots=True)
class Row:
    """A row that may hold an answer.

    Args:
        where: Its place in the file, in words, such as `row 5`.
        values: Texts by column: `id`, and those of `entries.ANSWER_COLUMNS` that the file has. A row with a
            `ledger_row` is one that redct wrote.
    """

    where: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Imported:
    """What a file holds.

    Args:
        answers: Those that could be matched, in the order of the ledger they come from, else of the file.
        problems: A line for each row that could not be matched, with its place.
        unanswered: Rows without an answer.
    """

    answers: list[Answer]
    problems: list[str]
    unanswered: int


@dataclass(frozen=True)
class Taken:
    """What became of a file.

    Args:
        path: The file.
        recorded: Answers that are in the ledger now.
        known: Answers that were there before.
        unanswered: Rows without an answer.
        problems: A line for each row that could not be matched.
    """

    path: str
    recorded: int
    known: int
    unanswered: int
    problems: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Returns the lines for the user."""
        counts = {
            "answers recorded": self.recorded,
            "known already": self.known,
            "rows without an answer": self.unanswered,
            "rows that could not be matched": len(self.problems),
        }
        shown = [f"{what}: {count:,}" for what, count in counts.items() if count or what == "answers recorded"]
        return [f"{self.path}: {'; '.join(shown)}", *self.problems]


class UnmatchedError(InputError):
    """Rows of a file could not be matched, and so nothing was taken.

    Attributes:
        problems: A line for each row.
    """

    def __init__(self, path: str, problems: list[str]) -> None:
        shown = "; ".join(problems[:SHOWN])
        more = f"; and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        rows = "1 row" if len(problems) == 1 else f"{len(problems):,} rows"
        advice = "so nothing was taken (--partial takes the others)"
        super().__init__(f"{path}: {rows} cannot be matched, {advice}: {shown}{more}")
        self.problems = problems


def matched(
    path: str,
    rows: Iterable[Row],
    task: Task,
    chosen: Iterable[str],
    annotator: str | None,
    known: Iterable[str] = (),
) -> Imported:
    """Turns the rows of a file into answers, see `redct.experts.exchange.read`."""
    match = _Matching(f"import:{Path(path).name}", task, frozenset(chosen), annotator, list(known))
    found: list[tuple[Row, Answer]] = []
    problems: list[str] = []
    unanswered = 0
    for row in rows:
        try:
            answer = match.answer(row.values)
        except InputError as error:
            problems.append(f"{row.where}: {error}")
        else:
            unanswered += answer is None
            found += [] if answer is None else [(row, answer)]
    agreed, contradictions = _consistent(found)
    # Numbers of the ledger that a file was written from: rows in their order, people's own behind them.
    agreed.sort(key=lambda answer: answer.number or math.inf)
    return Imported(agreed, problems + contradictions, unanswered)


def missing_from(answers: Iterable[Answer], recorded: Iterable[Answer]) -> list[Answer]:
    """Returns the answers that are not recorded; of dated ones each as often as it is missing, see `take`."""
    exact: Counter[Hashable] = Counter()
    brought: set[Hashable] = set()
    latest: dict[Hashable, Hashable] = {}
    for answer in recorded:
        exact[_all(answer)] += 1
        brought.add((_content(answer), answer.origin))
        latest[_topic(answer)] = _content(answer)
    missing = []
    for answer in answers:
        content, brought_by = _content(answer), (_content(answer), answer.origin)
        if answer.answered_at:
            is_known = exact[_all(answer)] > 0
            exact[_all(answer)] -= is_known
        else:
            is_known = brought_by in brought or latest.get(_topic(answer)) == content
            brought.add(brought_by)
        missing += [] if is_known else [answer]
    return missing


def _content(answer: Answer) -> Hashable:
    return answer.document, answer.annotator, answer.kind, answer.label, answer.note


def _all(answer: Answer) -> Hashable:
    return _content(answer), answer.answered_at, answer.duration_seconds


def _consistent(found: Sequence[tuple[Row, Answer]]) -> tuple[list[Answer], list[str]]:
    """Leaves out what one annotator said about one document in two ways; a ledger's own rows may be corrections."""
    firsts: dict[Hashable, tuple[Row, Answer]] = {}
    contradicted: set[Hashable] = set()
    problems = []
    for row, answer in found:
        if answer.number:
            continue
        first, one = firsts.setdefault(_topic(answer), (row, answer))
        if (answer.kind, answer.label) != (one.kind, one.label):
            contradicted.add(_topic(answer))
            who, about = _shown(answer.annotator), _shown(answer.document)
            problems.append(
                f"{row.where}: {who} says {_words(answer)} about {about}, and {_words(one)} in {first.where}"
            )
    return [answer for _, answer in found if answer.number or _topic(answer) not in contradicted], problems


def _topic(answer: Answer) -> Hashable:
    return answer.document, answer.annotator, answer.kind in ("resolution", "reopen")


@dataclass(frozen=True)
class _Matching:
    """What the rows of a file are matched with."""

    origin: str
    task: Task
    chosen: frozenset[str]
    annotator: str | None
    known: list[str]

    def answer(self, values: Mapping[str, str]) -> Answer | None:
        """Returns the answer of a row; None where there is none in it."""
        kind, label = values.get("kind", "").strip() or "label", values.get("label", "")
        if kind in ("label", "resolution") and not label.strip():
            return None
        number = _number(values.get("ledger_row", ""))
        annotator = values.get("annotator", "")
        if kind not in get_args(Kind):
            raise InputError(f"kind {_shown(kind)}, expected {', '.join(get_args(Kind))}")
        return Answer(
            self._document(values.get("id", "")),
            annotator if number and annotator.strip() else self._who(annotator),
            cast("Kind", kind),
            self._label(label) if label.strip() else None,
            values.get("note", ""),
            _moment(values.get("answered_at", "").strip()),
            _duration(values.get("duration_seconds", "").strip()),
            self.origin,
            number,
        )

    def _document(self, name: str) -> str:
        for each in (name, name.strip()):
            if each in self.chosen:
                return each
        if not name.strip():
            raise InputError("no id, expected that of a document")
        raise InputError(f"id {_shown(name)} was never chosen for experts")

    def _label(self, value: str) -> str:
        for each in (value, value.strip()):
            if each in self.task.labels:
                return each
        near = [label for label in self.task.labels if label.casefold() == value.strip().casefold()]
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"label {_shown(value)}, expected one of {', '.join(self.task.labels)}{hint}")

    def _who(self, annotator: str) -> str:
        """Returns who gave an answer, spelled as the ledger spells it: a second spelling would be a second vote."""
        if annotator.strip():
            return spelled_as(check_name(annotator), self.known)
        if self.annotator is None:
            raise InputError("no annotator, expected a name (in a column, or --annotator for the whole file)")
        return spelled_as(check_name(self.annotator), self.known)


def _number(value: str) -> int:
    if not value.strip():
        return 0
    try:
        return int(value)
    except ValueError:
        raise InputError(f"ledger_row {_shown(value)}, expected a whole number or nothing") from None


def _moment(value: str) -> str:
    """Returns a time as it is; one without a time zone is taken as UTC."""
    if not value:
        return ""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InputError(f"answered_at {_shown(value)}, expected a time such as 2026-01-31T14:05:00+01:00") from None
    return value if moment.tzinfo else moment.replace(tzinfo=UTC).isoformat()


def _duration(value: str) -> float | None:
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(f"duration_seconds {_shown(value)}, expected seconds such as 12.5")
    return seconds


def _words(answer: Answer) -> str:
    return answer.kind if answer.label is None else _shown(answer.label)


def _shown(value: str) -> str:
    return repr(value if len(value) <= 60 else f"{value[:59]}…")
