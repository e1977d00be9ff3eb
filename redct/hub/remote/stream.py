"""Many interviews at a time, in a thread of their own, and the rows they end in."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator

from redct.documents import Document
from redct.hub.remote.endpoint import DocumentError, Endpoint
from redct.hub.remote.exchange import Reply, Request
from redct.hub.remote.journal import Journal
from redct.hub.remote.prices import Budget
from redct.hub.remote.questions import Questions
from redct.hub.rows import LabelRow

GATHER = 0.2  # seconds: rows are handed on in batches, since each batch takes a round of Lightning's loop
FULL = 1000  # rows that are handed on at once
PER_WRITTEN = 16  # requests in flight for each that may be sent while an earlier reply is being written to the disk
MOST_WAITING = 20_000  # rows that may wait before no more documents are taken
MOST_IN_VAIN = 20  # documents without a label from the first on, after which a run is given up
IN_VAIN = ("malformed", "rejected", "unlabeled")  # kinds of errors that all documents may have for one reason
GRACE = 10.0  # seconds that requests under way are given when the run has to stop


class RowStream:
    """Asks an endpoint about documents and yields their rows, in the order in which they are done.

    Args:
        documents: The documents.
        questions: What to ask.
        journal: Holds earlier replies, and gets each new one before its document counts as done.
        open_endpoint: Opens the endpoint, within the thread's event loop.
        budget: The limit of cost, if there is one.
    """

    def __init__(
        self,
        documents: Iterable[Document],
        questions: Questions,
        journal: Journal,
        open_endpoint: Callable[[], Endpoint],
        budget: Budget | None = None,
    ) -> None:
        self.documents, self.questions, self.journal = documents, questions, journal
        self._open_endpoint, self.budget = open_endpoint, budget
        self._done: queue.Queue[LabelRow | None] = queue.Queue()
        self._failure: BaseException | None = None
        self._in_vain: int | None = 0  # documents asked about in vain; None once one was not
        self._ended = threading.Event()
        self._left = False  # whoever iterated has left

    def __iter__(self) -> Iterator[list[LabelRow]]:
        """Yields batches of rows.

        Raises:
            EndpointError: When the endpoint cannot be used, or no longer.
            SpentError: When the limit of cost is reached.
        """
        thread = threading.Thread(target=self._run, name="endpoint", daemon=True)
        thread.start()
        try:
            more = True
            while more:
                rows, more = self._gather()
                if rows:
                    yield rows
        finally:
            self._left = True
            thread.join()
        if self._failure is not None:
            yield []  # Lightning fetches a batch ahead: the one before an exception would be lost
            raise self._failure

    def _gather(self) -> tuple[list[LabelRow], bool]:
        """Returns the rows of a moment, and whether more may come."""
        rows = [self._done.get()]
        self._ended.wait(GATHER)  # and not for row after row, which would wake this thread as often
        while len(rows) < FULL and not self._done.empty():
            rows.append(self._done.get())
        return [row for row in rows if row is not None], None not in rows

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # handed on to the thread that iterates
            self._failure = error
        finally:
            self._done.put(None)
            self._ended.set()

    async def _work(self) -> None:
        endpoint = self._open_endpoint()
        endpoint.on_probe = self._keep_probe
        try:
            left = iter(self.documents)
            await self._attend([self._ask_first(left, endpoint)], endpoint)
            in_flight = endpoint.limits.in_flight  # which the endpoint's pace keeps to
            at_work = in_flight + in_flight // PER_WRITTEN
            await self._attend([self._ask_on(left, endpoint) for _ in range(at_work)], endpoint)
        finally:
            await self.journal.flush()
            await endpoint.close()

    @property
    def _going(self) -> bool:
        return self._failure is None and not self._left

    async def _attend(self, jobs: Iterable[Coroutine[None, None, None]], endpoint: Endpoint) -> None:
        """Waits for the jobs; when the run has to stop, only for the requests that are under way."""
        tasks = pending = {asyncio.create_task(job) for job in jobs}
        while pending and self._going:
            _, pending = await asyncio.wait(pending, timeout=GATHER, return_when=asyncio.FIRST_EXCEPTION)
            self._notice(tasks - pending)
        endpoint.stopped = not self._going
        until = time.monotonic() + (0 if self._left else GRACE)
        while pending and endpoint.under_way and time.monotonic() < until:
            _, pending = await asyncio.wait(pending, timeout=GATHER)
        for straggler in pending:
            straggler.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _notice(self, ended: set[asyncio.Task[None]]) -> None:
        """Takes note of the first failure."""
        failures = (task.exception() for task in ended)
        self._failure = next((failure for failure in failures if failure), None)

    async def _ask_first(self, left: Iterator[Document], endpoint: Endpoint) -> None:
        """Asks one at a time until the endpoint has answered.

        A wrong key is to cost one request, and what the endpoint can do is to be known before many ask.
        """
        while not (endpoint.replies and self.questions.distribution != "auto"):
            if not await self._ask_next(left, endpoint):
                return
        self.journal.fact("distribution", self.questions.distribution)

    async def _ask_on(self, left: Iterator[Document], endpoint: Endpoint) -> None:
        while await self._ask_next(left, endpoint):
            pass

    async def _ask_next(self, left: Iterator[Document], endpoint: Endpoint) -> bool:
        """Sees to the next document; False where there is none, or the run has to stop."""
        if not self._going or (document := next(left, None)) is None:
            return False
        try:
            row = await self._interview(document, endpoint)
        except DocumentError as error:
            row = LabelRow(document.id, error=str(error))
        self._done.put(row)
        self._judge(row, endpoint)
        while self._going and self._done.qsize() > MOST_WAITING:
            await asyncio.sleep(GATHER)
        return True

    def _judge(self, row: LabelRow, endpoint: Endpoint) -> None:
        """Stops a run that buys nothing but errors, such as those of a model that reasons until it is cut off.

        Raises:
            EndpointError: When no document from the first on has got a label.
        """
        if self._in_vain is None or row.error is None or not row.error.startswith(IN_VAIN):
            self._in_vain = None
            return
        self._in_vain += 1
        if self._in_vain == MOST_IN_VAIN:
            raise endpoint.failure(
                f"none of the first {MOST_IN_VAIN} documents got a label, the last one: {row.error} (see "
                "labeler.distribution, labeler.answer and, for what else a request may say, labeler.body)"
            )

    async def _interview(self, document: Document, endpoint: Endpoint) -> LabelRow:
        """Asks what there is to ask about a document, and returns its row."""
        known = self.journal.find(document.id)
        interview = self.questions.about(document)
        try:
            request = next(interview)
            while True:
                reply = known.get(request.purpose) or await self._send(document.id, request, endpoint)
                request = interview.send(reply)
        except StopIteration as end:
            row: LabelRow = end.value
            return row

    async def _send(self, document: str, request: Request, endpoint: Endpoint) -> Reply:
        reserved = await self.budget.reserve(endpoint.dialect.most(request)) if self.budget else 0.0
        reply = None
        try:
            reply = await endpoint.send(request)
            await self.journal.add(document, request.purpose, reply)
        finally:
            if self.budget:
                self.budget.settle(reserved, reply.usage if reply else None)
        return reply

    async def _keep_probe(self, reply: Reply) -> None:
        """Keeps the reply to a question that belongs to no document: what it cost counts."""
        if self.budget:
            self.budget.add(reply.usage)
        await self.journal.add("", f"probe {time.time_ns()}", reply)
