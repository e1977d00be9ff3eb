"""The ledger: which documents were chosen with which probability, and what the experts answered."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

from redct.errors import InputError
from redct.experts.strategies import Choice

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

SCHEMA_VERSION: Final = 1
_WAIT_SECONDS: Final = 60.0

_TABLES: Final = (
    """CREATE TABLE rounds (
        number INTEGER PRIMARY KEY,
        parameters TEXT NOT NULL UNIQUE,
        recorded_at TEXT NOT NULL)""",
    """CREATE TABLE eligible (
        round INTEGER NOT NULL REFERENCES rounds (number),
        document TEXT NOT NULL,
        inclusion REAL NOT NULL CHECK (inclusion BETWEEN 0 AND 1),
        chosen INTEGER NOT NULL CHECK (chosen IN (0, 1)),
        asking_order INTEGER CHECK ((asking_order IS NULL) = (chosen = 0)),
        PRIMARY KEY (round, document),
        UNIQUE (round, asking_order)) WITHOUT ROWID""",
    """CREATE TABLE answers (
        number INTEGER PRIMARY KEY,
        round INTEGER NOT NULL,
        document TEXT NOT NULL,
        label TEXT NOT NULL,
        annotator TEXT NOT NULL,
        answered_at TEXT NOT NULL,
        duration_seconds REAL,
        FOREIGN KEY (round, document) REFERENCES eligible (round, document))""",
    "CREATE INDEX answers_of_round ON answers (round, number)",
)
# Append-only for every program that opens the file, not only for this class.
_GUARDS: Final = tuple(
    f"CREATE TRIGGER no_{change.lower()}_{table} BEFORE {change} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
    for table in ("rounds", "eligible", "answers")
    for change in ("UPDATE", "DELETE")
)


@dataclass(frozen=True)
class Round:
    """A recorded choice of documents.

    Args:
        number: 1, 2, ... in the order of recording.
        parameters: What the choice was made with.
        ids: The chosen documents, in the order to ask.
        inclusion: The inclusion probability of each chosen document.
    """

    number: int
    parameters: dict[str, JSON]
    ids: list[str]
    inclusion: dict[str, float]


class Ledger:
    """Choices and answers of a study, in one SQLite file that only grows.

    Each call is one transaction: after a kill the file holds all of a call or nothing of it. Several
    processes may write to one file; each waits for the other.
    """

    def __init__(self, path: Path) -> None:
        """Opens the file, or creates it.

        Args:
            path: The SQLite file, `experts.sqlite` in the study's folder.

        Raises:
            InputError: When the file is no ledger or has another schema version.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # isolation_level=None: transactions begin and end only where _transaction says so.
            self._connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise InputError(f"{path}: found a file that cannot be opened ({error}), expected a ledger") from error
        try:
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._prepare_schema()
        except sqlite3.DatabaseError as error:
            self.close()
            raise InputError(f"{path}: found no usable database ({error}), expected a ledger") from error
        except InputError:
            self.close()
            raise

    def round(self, parameters: Mapping[str, JSON]) -> Round | None:
        """The round recorded with exactly these parameters, if there is one.

        Args:
            parameters: What the choice is made with; the order of the keys does not matter.
        """
        query = "SELECT number FROM rounds WHERE parameters = ?"
        row = self._connection.execute(query, (_canonical(parameters),)).fetchone()
        return None if row is None else self._read_round(int(row[0]))

    def add_round(self, parameters: Mapping[str, JSON], ids: Sequence[str], choice: Choice) -> Round:
        """Records a choice: all eligible documents with their probabilities, and the chosen ones.

        Args:
            parameters: What the choice was made with; no two rounds have the same.
            ids: (N,) ids of the eligible documents, in the order of `choice.inclusion`.
            choice: The choice among them.

        Raises:
            InputError: When ids repeat, or a round with these parameters is there already.
            ValueError: When the choice does not fit the ids.
        """
        rows = _rows(ids, choice)
        recorded = _canonical(parameters)
        with self._transaction():
            if self.round(parameters) is not None:
                raise InputError(f"{self.path}: found a round with the parameters {recorded}, expected none yet")
            insert = "INSERT INTO rounds (parameters, recorded_at) VALUES (?, ?)"
            number = self._connection.execute(insert, (recorded, _now())).lastrowid
            if number is None:
                raise RuntimeError("SQLite gave the new round no number")
            self._connection.executemany(
                "INSERT INTO eligible VALUES (?, ?, ?, ?, ?)",
                ((number, *row) for row in rows),
            )
        return self._read_round(number)

    def add_answers(self, round: Round, answers: Mapping[str, str], annotator: str) -> None:
        """Appends answers; earlier answers to the same documents stay in the file.

        Args:
            round: The round in which the documents were chosen.
            answers: Label per document id.
            annotator: Who answered.

        Raises:
            InputError: When a document was not chosen in this round.
        """
        chosen = set(round.ids)
        for document in answers:
            if document not in chosen:
                raise InputError(
                    f"{self.path}: found an answer to {document!r}, expected a document chosen in round {round.number}"
                )
        now = _now()
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO answers (round, document, label, annotator, answered_at) VALUES (?, ?, ?, ?, ?)",
                [(round.number, document, label, annotator, now) for document, label in answers.items()],
            )

    def answers(self, round: Round) -> dict[str, str]:
        """Label per answered document of a round; of several answers to a document, the latest."""
        query = "SELECT document, label FROM answers WHERE round = ? ORDER BY number"
        return {str(d): str(label) for d, label in self._connection.execute(query, (round.number,))}

    def eligible(self, round: Round) -> dict[str, float]:
        """Inclusion probability of every document that could have been chosen in a round."""
        query = "SELECT document, inclusion FROM eligible WHERE round = ?"
        return {str(d): float(p) for d, p in self._connection.execute(query, (round.number,))}

    def close(self) -> None:
        """Closes the file; nothing is pending, since each call ends its transaction."""
        self._connection.close()

    def __enter__(self) -> Self:
        """Returns the open ledger."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE takes the write lock before anything is read, so what a check found still holds.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _prepare_schema(self) -> None:
        if self._version() == SCHEMA_VERSION:
            return
        with self._transaction():
            version = self._version()  # again under the lock: another process may have created the tables
            if version == SCHEMA_VERSION:
                return
            tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version != 0 or tables:
                raise InputError(
                    f"{self.path}: found schema version {version}, expected a ledger of schema version {SCHEMA_VERSION}"
                )
            for statement in (*_TABLES, *_GUARDS):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _read_round(self, number: int) -> Round:
        (parameters,) = self._connection.execute("SELECT parameters FROM rounds WHERE number = ?", (number,)).fetchone()
        rows = self._connection.execute(
            "SELECT document, inclusion FROM eligible WHERE round = ? AND chosen = 1 ORDER BY asking_order",
            (number,),
        ).fetchall()
        return Round(number, json.loads(parameters), [d for d, _ in rows], dict(rows))


def _rows(ids: Sequence[str], choice: Choice) -> list[tuple[str, float, int, int | None]]:
    """Id, inclusion probability, chosen flag and place in the asking order of every eligible document."""
    seen: set[str] = set()
    for document in ids:
        if document in seen:
            raise InputError(f"ids: found {document!r} twice, expected every document once")
        seen.add(document)
    chosen = [int(position) for position in choice.chosen]
    if len(choice.inclusion) != len(ids) or len(set(chosen)) != len(chosen):
        raise ValueError(f"choice: expected distinct positions, and a probability per document ({len(ids)})")
    if chosen and not (min(chosen) >= 0 and max(chosen) < len(ids)):
        raise ValueError(f"choice: found positions {min(chosen)} to {max(chosen)}, expected 0 to {len(ids) - 1}")
    place = {position: order for order, position in enumerate(chosen)}
    return [
        (document, float(pi), int(position in place), place.get(position))
        for position, (document, pi) in enumerate(zip(ids, choice.inclusion, strict=True))
    ]


def _canonical(parameters: Mapping[str, JSON]) -> str:
    return json.dumps(dict(parameters), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
