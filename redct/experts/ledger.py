"""The ledger: which documents were chosen with which probability, and what the experts answered."""

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from redct.documents import Document
from redct.errors import InputError, RedctError
from redct.experts.records import JSON, SUSPECTS, Answer, Asked, OutdatedError, Round
from redct.experts.strategies import Choice

SCHEMA_VERSION: Final = 2
_WAIT_SECONDS: Final = 60.0

_TABLES: Final = (
    """CREATE TABLE rounds (
        number INTEGER PRIMARY KEY,
        asked TEXT NOT NULL CHECK (asked IN ('experts', 'gold')),
        strategy TEXT NOT NULL,
        seed INTEGER NOT NULL,
        parameters TEXT NOT NULL,
        recorded_at TEXT NOT NULL,
        UNIQUE (asked, strategy, seed, parameters))""",
    """CREATE TABLE eligible (
        round INTEGER NOT NULL REFERENCES rounds (number),
        document TEXT NOT NULL,
        inclusion REAL NOT NULL CHECK (inclusion BETWEEN 0 AND 1),
        stratum INTEGER NOT NULL,
        digest TEXT NOT NULL,
        chosen INTEGER NOT NULL CHECK (chosen IN (0, 1)),
        asking_order INTEGER CHECK ((asking_order IS NULL) = (chosen = 0)),
        PRIMARY KEY (round, document),
        UNIQUE (round, asking_order)) WITHOUT ROWID""",
    "CREATE INDEX chosen_documents ON eligible (document) WHERE chosen = 1",
    """CREATE TABLE answers (
        number INTEGER PRIMARY KEY,
        document TEXT NOT NULL,
        annotator TEXT NOT NULL CHECK (annotator != ''),
        kind TEXT NOT NULL CHECK (kind IN ('label', 'skip', 'flag', 'undo', 'resolution', 'reopen')),
        label TEXT CHECK ((label IS NOT NULL) = (kind IN ('label', 'resolution'))),
        note TEXT NOT NULL,
        answered_at TEXT NOT NULL,
        duration_seconds REAL CHECK (duration_seconds >= 0),
        origin TEXT NOT NULL,
        recorded_at TEXT NOT NULL)""",
    "CREATE INDEX answers_to_a_document ON answers (document, annotator)",
    """CREATE TRIGGER only_chosen_documents BEFORE INSERT ON answers
        WHEN NOT EXISTS (SELECT 1 FROM eligible WHERE document = NEW.document AND chosen = 1)
        BEGIN SELECT RAISE(ABORT, 'the document was never chosen'); END""",
)
# Append-only for every program that opens the file, not only for this class.
_GUARDS: Final = tuple(
    f"CREATE TRIGGER no_{change.lower()}_{table} BEFORE {change} ON {table} "
    f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
    for table in ("rounds", "eligible", "answers")
    for change in ("UPDATE", "DELETE")
)


class Ledger:
    """Choices and answers of a study, in one SQLite file that only grows.

    Each call is one transaction, on disk when it returns: after a kill the file holds all of a call or nothing of
    it. Several processes may write to one file; each waits for the other.
    """

    def __init__(self, path: Path, create: bool = True) -> None:
        """Opens the file, or creates it.

        Args:
            path: The SQLite file, `experts.sqlite` in the study's folder.
            create: Whether it may be new.

        Raises:
            InputError: When there is no file, it is no ledger or has another schema version.
            RedctError: When it cannot be used, as on a full disk or in a folder that cannot be written.
        """
        self.path = path
        if not create and not path.exists():
            raise InputError(f"{path}: no such ledger; choose documents for experts with `redct sample`")
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InputError(f"{path}: is a folder, expected a ledger")
        with self._guarded():
            # isolation_level=None: transactions begin and end only where _transaction says so.
            self._connection = sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)
        try:
            with self._guarded():
                self._connection.execute("PRAGMA foreign_keys = ON")
                self._connection.execute("PRAGMA synchronous = FULL")  # in WAL, NORMAL may lose the last answers
                self._prepare_schema()
        except BaseException:
            self.close()
            raise

    def rounds(self, asked: Asked | None = None) -> list[Round]:
        """Returns the rounds in which somebody is asked, in the order of recording; by default anybody.

        Second looks are not among them: their documents were drawn before, so they have no part in any weight.
        """
        query = "SELECT number FROM rounds WHERE (asked = ? OR ? IS NULL) AND strategy != ? ORDER BY number"
        return [self._read_round(number) for (number,) in self._query(query, (asked, asked, SUSPECTS))]

    def second_looks(self) -> list[Round]:
        """Returns the rounds in which answers are looked at again, see `redct.experts.second_look`."""
        query = "SELECT number FROM rounds WHERE strategy = ? ORDER BY number"
        return [self._read_round(number) for (number,) in self._query(query, (SUSPECTS,))]

    def rounds_for_people(self) -> list[Round]:
        """Returns the rounds that people answer: the experts' or, without any, the latest that gold answered."""
        return self.rounds("experts") or self.rounds("gold")[-1:]

    def round(self, asked: Asked, strategy: str, seed: int, parameters: Mapping[str, JSON]) -> Round | None:
        """The round recorded with exactly this, if there is one; the order of the parameters does not matter."""
        query = "SELECT number FROM rounds WHERE asked = ? AND strategy = ? AND seed = ? AND parameters = ?"
        rows = self._query(query, (asked, strategy, seed, _canonical(parameters)))
        return self._read_round(int(rows[0][0])) if rows else None

    def add_round(
        self,
        asked: Asked,
        strategy: str,
        seed: int,
        parameters: Mapping[str, JSON],
        ids: Sequence[str],
        choice: Choice,
        digests: Sequence[str] | None = None,
    ) -> Round:
        """Records a choice: all eligible documents with their probabilities, and the chosen ones.

        Args:
            asked: Who is asked.
            strategy: How the documents were chosen.
            seed: Of the draw.
            parameters: What else the choice was made with; no two rounds have the same.
            ids: (N,) ids of the eligible documents, in the order of `choice.inclusion`.
            choice: The choice among them.
            digests: (N,) of what the documents say, see `Document.digest`; without them changed texts go unnoticed.

        Raises:
            InputError: When ids repeat, the same round is there already, or people would be asked twice, or be to
                look again twice.
            ValueError: When the choice does not fit the ids.
        """
        rows = _rows(ids, choice, digests or [""] * len(ids))
        with self._transaction():
            if self.round(asked, strategy, seed, parameters) is not None:
                found = f"{strategy}, seed {seed}, {_canonical(parameters)}"
                raise InputError(f"{self.path}: found a round with {found}, expected none yet")
            if asked == "experts":
                self._check_never_asked([ids[position] for position in choice.chosen], strategy == SUSPECTS)
            insert = "INSERT INTO rounds (asked, strategy, seed, parameters, recorded_at) VALUES (?, ?, ?, ?, ?)"
            values = (asked, strategy, seed, _canonical(parameters), _now())
            number = self._connection.execute(insert, values).lastrowid
            if number is None:
                raise RuntimeError("SQLite gave the new round no number")
            self._connection.executemany(
                "INSERT INTO eligible VALUES (?, ?, ?, ?, ?, ?, ?)", ((number, *row) for row in rows)
            )
        return self._read_round(number)

    def eligible(self, round: Round) -> dict[str, tuple[float, int]]:
        """Inclusion probability and stratum of every document that could have been chosen in a round."""
        query = "SELECT document, inclusion, stratum FROM eligible WHERE round = ?"
        return {str(d): (float(p), int(s)) for d, p, s in self._query(query, (round.number,))}

    def check_texts(self, documents: Iterable[Document]) -> None:
        """Refuses documents that say something else now than when they were chosen.

        Args:
            documents: As they are now; those that were never chosen do not matter.

        Raises:
            InputError: When one does: answers to it would stand for a text that nobody was asked about.
        """
        query = "SELECT document, digest FROM eligible WHERE chosen = 1 AND digest != '' ORDER BY round"
        chosen = dict(self._query(query))
        changed = [each.id for each in documents if chosen.get(each.id, each.digest()) != each.digest()]
        if changed:
            found = f"{len(changed):,} documents say something else than when they were chosen"
            expected = "expected the files as they were, or new ids for new texts"
            raise InputError(f"{self.path}: {found} (the first: {changed[0]!r}); {expected}")

    def record(self, answer: Answer, seen: int | None = None) -> Answer:
        """Appends an answer; earlier ones stay in the file.

        Args:
            answer: The answer.
            seen: Number of the latest answer that it was made upon: to the same document, of the same annotator
                (for a resolution or its reopening: of anybody's), 0 for none. By default nothing is checked.

        Returns:
            The answer as recorded.

        Raises:
            InputError: When the document was never chosen.
            OutdatedError: When another answer came between.
            RedctError: When the file cannot be written, as on a full disk.
        """
        with self._transaction():
            latest = self._latest(answer)
            if seen is not None and latest is not None and latest.number != seen:
                raise OutdatedError(latest)
            return self._insert(answer)

    def record_all(self, answers: Iterable[Answer]) -> list[Answer]:
        """Appends answers, all or none, see `record`."""
        with self._transaction():
            return [self._insert(answer) for answer in answers]

    def answers(self, after: int = 0) -> list[Answer]:
        """Returns all answers with a number above `after`, in the order of recording."""
        query = f"SELECT {_COLUMNS} FROM answers WHERE number > ? ORDER BY number"  # noqa: S608 - a constant
        return [Answer(*row) for row in self._query(query, (after,))]

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

    def _latest(self, answer: Answer) -> Answer | None:
        """Returns the answer that this one would follow."""
        query = f"SELECT {_COLUMNS} FROM answers WHERE document = ? AND "  # noqa: S608 - a constant
        if answer.kind in ("resolution", "reopen"):
            query, values = f"{query} kind IN ('resolution', 'reopen')", [answer.document]
        else:
            query = f"{query} annotator = ? AND kind NOT IN ('resolution', 'reopen')"
            values = [answer.document, answer.annotator]
        row = self._connection.execute(f"{query} ORDER BY number DESC LIMIT 1", values).fetchone()
        return None if row is None else Answer(*row)

    def _insert(self, answer: Answer) -> Answer:
        given = answer.answered_at or _now()
        said = (answer.document, answer.annotator, answer.kind, answer.label, answer.note)
        values = (*said, given, answer.duration_seconds, answer.origin)
        columns = _COLUMNS.removesuffix(", number")
        insert = f"INSERT INTO answers ({columns}, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
        try:
            number = self._connection.execute(insert, (*values, _now())).lastrowid
        except sqlite3.IntegrityError as error:
            raise InputError(f"{self.path}: answer to {answer.document!r} by {answer.annotator}: {error}") from error
        return Answer(*values, number=int(number or 0))

    def _check_never_asked(self, documents: Sequence[str], again: bool) -> None:
        query = (
            "SELECT round FROM eligible JOIN rounds ON number = round "
            "WHERE document = ? AND chosen = 1 AND asked = 'experts' AND (strategy = ?) = ?"
        )
        for document in documents:
            if row := self._connection.execute(query, (document, SUSPECTS, again)).fetchone():
                raise InputError(
                    f"{self.path}: {document!r} was chosen in round {row[0]} already, expected new documents"
                )

    def _query(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._guarded():
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Says in one line what SQLite cannot do, and whether that is the file's fault."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "no such" in str(error):  # a table or a column
                raise InputError(f"{self.path}: found a damaged ledger ({error}), expected all its tables") from error
            raise RedctError(
                f"{self.path}: cannot be used now ({error}), and nothing was recorded; what is in it stays. Is the "
                "disk full, the folder read-only, or the file locked?"
            ) from error
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path}: found no usable database ({error}), expected a ledger") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._guarded(), self._begun():
            yield

    @contextmanager
    def _begun(self) -> Iterator[None]:
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
        if self._is_new():
            self._log_ahead()
        with self._transaction():
            version = self._version()  # again under the lock: another process may have created the tables
            if version == SCHEMA_VERSION:
                return
            if not self._is_new():
                raise InputError(
                    f"{self.path}: found schema version {version}, expected a ledger of schema version "
                    f"{SCHEMA_VERSION}; move the file away to begin a new one, or use the redct that wrote it"
                )
            for statement in (*_TABLES, *_GUARDS):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _log_ahead(self) -> None:
        """Readers and a writer then do not wait for each other; the mode stays with the file."""
        for left in reversed(range(100)):
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # While another process begins the same file, SQLite says so at once, however long it may wait.
                if not left or "locked" not in str(error):
                    raise
                time.sleep(0.05)

    def _is_new(self) -> bool:
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return self._version() == 0 and not tables

    def _version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def _read_round(self, number: int) -> Round:
        query = "SELECT asked, strategy, seed, parameters FROM rounds WHERE number = ?"
        ((asked, strategy, seed, parameters),) = self._query(query, (number,))
        chosen = "SELECT document, inclusion FROM eligible WHERE round = ? AND chosen = 1 ORDER BY asking_order"
        rows = self._query(chosen, (number,))
        return Round(number, asked, strategy, seed, json.loads(parameters), [d for d, _ in rows], dict(rows))


_COLUMNS: Final = "document, annotator, kind, label, note, answered_at, duration_seconds, origin, number"


def _rows(
    ids: Sequence[str], choice: Choice, digests: Sequence[str]
) -> list[tuple[str, float, int, str, int, int | None]]:
    """Id, probability, stratum, digest, chosen flag and place in the asking order of every eligible document."""
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
    strata = choice.strata()
    return [
        (document, float(pi), int(strata[position]), digest, int(position in place), place.get(position))
        for position, (document, pi, digest) in enumerate(zip(ids, choice.inclusion, digests, strict=True))
    ]


def _canonical(parameters: Mapping[str, JSON]) -> str:
    return json.dumps(dict(parameters), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
