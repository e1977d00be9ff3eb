"""The journal: every reply of an endpoint, on disk before the document it belongs to counts as done."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from redct.errors import InputError, RedctError
from redct.hub.remote.exchange import Reply, Usage

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS replies (
    document TEXT NOT NULL, purpose TEXT NOT NULL, reply TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    half_price INTEGER NOT NULL, PRIMARY KEY (document, purpose)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

Row = tuple[str, str, str, int, int, int, int]


class Journal:
    """The replies of one study, one SQLite file a process; each process reads the files of all.

    Args:
        folder: The label store's folder.
        rank: The writing process.

    Raises:
        InputError: When a file is no journal.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"journal-{rank}.sqlite"
        try:
            # Written by one thread of its own, so that a sync of the disk holds nobody up.
            self.connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")
            self.connection.executescript(_TABLES)
            self._readers = [r for path in sorted(folder.glob("journal-*.sqlite")) if (r := _reader(path))]
            self._empty = not any(c.execute("SELECT 1 FROM replies LIMIT 1").fetchone() for c in self._readers)
        except sqlite3.DatabaseError as error:
            raise InputError(f"{self.path}: cannot be used ({error}), expected a journal of replies") from error
        self._thread = ThreadPoolExecutor(1, "journal")
        self._waiting: list[tuple[Row, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    def find(self, document: str) -> dict[str, Reply]:
        """Returns the replies about a document that an earlier run, or `insert`, has written, by purpose."""
        if self._empty:
            return {}
        query = "SELECT purpose, reply FROM replies WHERE document = ?"
        rows = [row for reader in self._readers for row in reader.execute(query, (document,))]
        return {purpose: Reply.from_json(reply) for purpose, reply in rows}

    async def add(self, document: str, purpose: str, reply: Reply) -> None:
        """Writes a reply; it is on disk when this returns. Replies that come together are synced together.

        Raises:
            RedctError: When it cannot be written, as on a full disk.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((row_of(document, purpose, reply), done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_waiting())
        await done

    async def _write_waiting(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            try:
                with self._failing():
                    self._insert([row for row, _ in taken])
                    # Only what waits for the disk goes to the thread: each step there waits for Python's lock, too.
                    await asyncio.get_running_loop().run_in_executor(self._thread, self.connection.execute, "COMMIT")
            except Exception as error:  # whatever it is, whoever waits has to hear of it
                for _, done in taken:
                    if not done.done():
                        done.set_exception(error)
            else:
                for _, done in taken:
                    if not done.done():
                        done.set_result(None)

    async def flush(self) -> None:
        """Waits until all replies are written, those too that nobody waits for any more."""
        if self._writing is not None:
            await self._writing

    def insert(self, rows: list[Row]) -> None:
        """Writes replies in one transaction."""
        with self._failing():
            self._insert(rows)
            self.connection.execute("COMMIT")
        self._empty = False

    def _insert(self, rows: list[Row]) -> None:
        self.connection.execute("BEGIN")
        self.connection.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Undoes what could not be written, and says so."""
        try:
            yield
        except BaseException as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise RedctError(f"{self.path}: cannot be written: {error}") from error
            raise

    def fact(self, name: str, value: str | None = None) -> str | None:
        """Returns what was noted under a name; notes the value first where there is none yet."""
        if value is not None:
            with self._failing():
                self.connection.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))
        query = "SELECT value FROM facts WHERE name = ?"
        found = next((row for c in self._readers if (row := c.execute(query, (name,)).fetchone())), None)
        return None if found is None else str(found[0])

    def close(self) -> None:
        """Closes the file."""
        self._thread.shutdown()
        for connection in (*self._readers, self.connection):
            connection.close()

    def __enter__(self) -> Self:
        """Returns the open journal."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the file."""
        self.close()


def usage_of(folder: Path) -> dict[str, Usage]:
    """Sums the tokens that a study's replies have cost, `full` and `half` price apart."""
    totals = {"full": Usage(), "half": Usage()}
    for path in sorted(folder.glob("journal-*.sqlite")):
        if reader := _reader(path):
            with closing(reader):
                for half, *tokens in _sums(reader):
                    totals["half" if half else "full"] += Usage(*tokens)
    return totals


def set_aside(folder: Path, documents: Sequence[str]) -> None:
    """Keeps the replies about documents, and what they cost, under purposes by which `find` does not return them."""
    suffix = f" before {time.time_ns()}"
    for path in sorted(folder.glob("journal-*.sqlite")):
        with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            update = "UPDATE replies SET purpose = purpose || ? WHERE document = ? AND purpose NOT LIKE '% before %'"
            connection.executemany(update, [(suffix, document) for document in documents])
            connection.execute("COMMIT")


def _sums(connection: sqlite3.Connection) -> Iterator[tuple[int, int, int, int]]:
    columns = "half_price, sum(prompt_tokens), sum(completion_tokens), sum(cached_tokens)"
    yield from connection.execute(f"SELECT {columns} FROM replies GROUP BY half_price")  # noqa: S608 - constants


def _reader(path: Path) -> sqlite3.Connection | None:
    """Opens a journal to read; None where another process is only just making it."""
    reader = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=60, check_same_thread=False)
    if reader.execute("SELECT 1 FROM sqlite_master WHERE name = 'facts'").fetchone():
        return reader
    reader.close()
    return None


def row_of(document: str, purpose: str, reply: Reply, half_price: bool = False) -> Row:
    """Returns the row of a reply."""
    usage = reply.usage
    return (document, purpose, reply.to_json(), usage.prompt, usage.completion, usage.cached, int(half_price))
