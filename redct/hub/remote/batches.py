"""The Batch API: requests by the file, at half the price, answered within a day."""

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import openai

from redct.documents import Document
from redct.errors import RedctError
from redct.hub.remote.answers import whole_text
from redct.hub.remote.dialect import Dialect
from redct.hub.remote.exchange import MalformedReplyError, Reply, Request, Usage, read_reply
from redct.hub.remote.journal import Journal, Row, row_of
from redct.hub.remote.questions import Questions
from redct.hub.rows import LabelRow

REQUESTS_PER_BATCH: Final = 50_000  # as documented, and below the documented 200 MB
BYTES_PER_BATCH: Final = 150_000_000
ENDED: Final = ("completed", "expired", "failed", "cancelled")
FRUITLESS: Final = 3  # rounds without any reply, after which the run stops
ROWS: Final = 1000  # handed on at once
COMPLETIONS: Final = "/v1/chat/completions"

_UNANSWERED: Final = f"unreachable: no reply in {FRUITLESS} batches in a row"
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS batches (mark TEXT PRIMARY KEY, id TEXT, fetched INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS submitted (
    custom_id TEXT NOT NULL, mark TEXT NOT NULL REFERENCES batches (mark),
    document TEXT NOT NULL, purpose TEXT NOT NULL, PRIMARY KEY (custom_id, mark)) WITHOUT ROWID;
"""


class BatchRun:
    """Labels documents by batches; iterate to get their rows once all are answered.

    A batch is noted in the journal before it is made, under a mark that it carries too: whenever the process is
    killed, the next one finds it again and waits for it, and nothing is bought twice.

    Args:
        documents: The documents, which can be iterated over several times.
        questions: What to ask.
        journal: Holds what is submitted and answered.
        client: The endpoint's client.
        dialect: How the endpoint wants requests worded.
        wait: Seconds between two looks at the batches.
        say: Tells the user how far they are.
    """

    def __init__(
        self,
        documents: Iterable[Document],
        questions: Questions,
        journal: Journal,
        client: openai.OpenAI,
        dialect: Dialect,
        wait: float = 60.0,
        say: Callable[[str], None] = print,
    ) -> None:
        self.documents, self.questions, self.journal = documents, questions, journal
        self.client, self.dialect, self.wait, self.say = client, dialect, wait, say
        self._database = journal.connection
        self._database.executescript(_TABLES)

    def __iter__(self) -> Iterator[list[LabelRow]]:
        """Submits, waits, fetches and submits again what is missing; then yields batches of rows.

        Raises:
            RedctError: When the endpoint fails a batch, or answers nothing any more.
        """
        try:
            self._run()
        except openai.OpenAIError as error:
            reason = " ".join(str(error).split())[:200]
            raise RedctError(f"Batch API: {reason}; all replies are kept, the same command goes on") from error
        rows: list[LabelRow] = []
        for document in self.documents:
            row = self._advance(document)
            rows.append(row if isinstance(row, LabelRow) else LabelRow(document.id, error=_UNANSWERED))
            if len(rows) == ROWS:
                yield rows
                rows = []
        if rows:
            yield rows

    def _run(self) -> None:
        self._adopt()
        answered, fruitless = self._collect(), 0
        while fruitless < FRUITLESS and (submitted := self._submit()):
            new = self._collect()
            answered, fruitless = answered + new, 0 if new else fruitless + 1
            if fruitless == FRUITLESS and not (answered or self._ever_answered()):
                raise RedctError(
                    f"Batch API: {submitted:,} requests got no reply in {FRUITLESS} rounds; all replies are kept, the "
                    "same command goes on"
                )

    def _ever_answered(self) -> bool:
        """Tells whether the Batch API has answered anything: then it is the rest that it cannot answer."""
        return self._database.execute("SELECT 1 FROM replies WHERE half_price = 1 LIMIT 1").fetchone() is not None

    def _advance(self, document: Document) -> LabelRow | Request:
        """Returns a document's row, or the first request about it that has no reply yet."""
        known = self.journal.find(document.id)
        interview = self.questions.about(document)
        try:
            request = next(interview)
            while request.purpose in known:
                request = interview.send(known[request.purpose])
        except StopIteration as end:
            row: LabelRow = end.value
            return row
        return request

    def _submit(self) -> int:
        """Submits every request that has neither a reply nor an open batch; returns how many there were."""
        total, lines, rows, size = 0, list[bytes](), list[tuple[str, str, str]](), 0
        for document in self.documents:
            request = self._advance(document)
            if isinstance(request, LabelRow):
                continue
            custom_id = _custom_id(document.id, request.purpose)
            body = {"custom_id": custom_id, "method": "POST", "url": COMPLETIONS, "body": self.dialect.body(request)}
            line = json.dumps(body).encode() + b"\n"
            if lines and (len(lines) == REQUESTS_PER_BATCH or size + len(line) > BYTES_PER_BATCH):
                self._create(lines, rows)
                lines, rows, size = [], [], 0
            lines.append(line)
            rows.append((custom_id, document.id, request.purpose))
            size, total = size + len(line), total + 1
        if lines:
            self._create(lines, rows)
        return total

    def _create(self, lines: list[bytes], rows: list[tuple[str, str, str]]) -> None:
        mark = uuid.uuid4().hex
        self._database.execute("BEGIN")
        self._database.execute("INSERT INTO batches (mark) VALUES (?)", (mark,))
        entries = ((custom_id, mark, document, purpose) for custom_id, document, purpose in rows)
        self._database.executemany("INSERT INTO submitted VALUES (?, ?, ?, ?)", entries)
        self._database.execute("COMMIT")
        file = self.client.files.create(file=(f"redct-{mark}.jsonl", b"".join(lines)), purpose="batch")
        batch_id = self._start(file.id, mark)
        self._note(mark, batch_id)
        self.say(f"batch {batch_id}: {len(rows):,} requests submitted")

    def _start(self, file_id: str, mark: str) -> str:
        """Makes a batch and returns its id. A request whose answer got lost is not repeated: it may have made one."""
        try:
            once = self.client.with_options(max_retries=0)
            batch = once.batches.create(
                input_file_id=file_id, endpoint=COMPLETIONS, completion_window="24h", metadata={"redct": mark}
            )
        except (openai.APIConnectionError, openai.InternalServerError):
            if made := self._find([mark]):
                return made[mark]
            raise
        return batch.id

    def _note(self, mark: str, batch_id: str) -> None:
        self._database.execute("UPDATE batches SET id = ? WHERE mark = ?", (batch_id, mark))

    def _adopt(self) -> None:
        """Finds batches that were made but not noted, since the process was killed in between."""
        lost = [mark for (mark,) in self._database.execute("SELECT mark FROM batches WHERE id IS NULL")]
        if not lost:
            return
        made = self._find(lost)
        for mark in lost:
            if mark in made:
                self._note(mark, made[mark])
            else:
                self._database.execute("DELETE FROM submitted WHERE mark = ?", (mark,))
                self._database.execute("DELETE FROM batches WHERE mark = ?", (mark,))

    def _find(self, marks: list[str]) -> dict[str, str]:
        """Returns the ids of those batches under some marks that the endpoint has."""
        made: dict[str, str] = {}
        for batch in self.client.batches.list(limit=100):  # the newest first, page by page
            mark = (batch.metadata or {}).get("redct", "")
            if mark in marks:
                made[mark] = batch.id
            if len(made) == len(marks):
                break
        return made

    def _collect(self) -> int:
        """Waits for the open batches and writes their replies to the journal; returns how many came."""
        query = "SELECT mark, id FROM batches WHERE fetched = 0"
        waiting: dict[str, str] = dict(self._database.execute(query).fetchall())
        seen: dict[str, str] = {}
        answered = 0
        while waiting:
            for mark, batch_id in list(waiting.items()):
                batch = self.client.batches.retrieve(batch_id)
                self._tell(batch, seen)
                if batch.status in ENDED:
                    answered += self._fetch(mark, batch)
                    del waiting[mark]
            if waiting:
                time.sleep(self.wait)
        return answered

    def _tell(self, batch: Any, seen: dict[str, str]) -> None:  # noqa: ANN401 - openai's Batch
        counts = batch.request_counts
        done = f", {counts.completed:,} of {counts.total:,}" if counts and counts.total else ""
        line = f"batch {batch.id}: {batch.status}{done}"
        if seen.get(batch.id) != line:
            self.say(line)
            seen[batch.id] = line

    def _fetch(self, mark: str, batch: Any) -> int:  # noqa: ANN401 - openai's Batch
        rows = []
        for file_id in (batch.output_file_id, batch.error_file_id):
            if file_id:
                # Bytes, since a text's lines end at U+2028 and others too, which JSON may hold as they are.
                lines = self.client.files.content(file_id).read().splitlines()
                rows += [row for line in lines if (row := self._row(mark, line))]
        self.journal.insert(rows)
        self._database.execute("UPDATE batches SET fetched = 1 WHERE mark = ?", (mark,))
        if batch.status == "failed" and not rows:
            errors = batch.errors.data if batch.errors and batch.errors.data else []
            reason = "; ".join(dict.fromkeys(str(error.message) for error in errors[:3])) or "no reason given"
            raise RedctError(f"Batch API: batch {batch.id} failed: {reason}")
        return len(rows)

    def _row(self, mark: str, line: bytes) -> Row | None:
        """Returns the journal's row of one line of a result file; None where the request is to be repeated."""
        try:
            result = json.loads(line)
            custom_id, response = result["custom_id"], result.get("response") or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        query = "SELECT document, purpose FROM submitted WHERE custom_id = ? AND mark = ?"
        asked = self._database.execute(query, (custom_id, mark)).fetchone()
        reply = _reply(response)
        return row_of(asked[0], asked[1], reply, half_price=True) if asked and reply else None


def _reply(response: dict[str, Any]) -> Reply | None:
    """Returns a reply, also one that says that the endpoint rejects the request for good."""
    status, body = response.get("status_code"), response.get("body")
    if status == 200:
        try:
            return read_reply(json.dumps(body))
        except MalformedReplyError:
            return None
    if status in (400, 403, 413, 422):
        error = (body or {}).get("error") if isinstance(body, dict) else None
        message = error.get("message") if isinstance(error, dict) else error
        text = whole_text(" ".join(str(message).split())[:200])
        return Reply([], error=f"rejected: HTTP {status}: {text}", usage=Usage())
    return None


def _custom_id(document: str, purpose: str) -> str:
    return hashlib.blake2b(json.dumps([document, purpose]).encode(), digest_size=20).hexdigest()
