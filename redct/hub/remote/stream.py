"""Many interviews at a time, in a thread of their own, and the rows they end in."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from redct.documents import Document
from redct.errors import RedctError
from redct.hub.remote.endpoint import DocumentError, Endpoint
from redct.hub.remote.exchange import Reply, Request
from redct.hub.remote.journal import Journal
from redct.hub.remote.prices import Budget
from redct.hub.remote.questions import Questions
from redct.hub.store import LabelRow

GATHER = 0.2  # seconds: rows are handed on in batches, since each batch takes a round of Lightning's loop
FULL = 1000  # rows that are handed on at once
MOST_WAITING = 20_000  # rows that may wait before no more documents are taken
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
        self._held_back: list[tuple[LabelRow, int]] = []

    def __iter__(self) -> Iterator[list[LabelRow]]:
        """Yields batches of rows.

        Raises:
            EndpointError: When the endpoint cannot be used, or no longer.
            SpentError: When the limit of cost is reached.
        """
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._run, args=(loop,), name="endpoint", daemon=True)
        thread.start()
        try:
            more = True
            while more:
                rows, more = self._gather()
                if rows:
                    yield rows
        finally:
            with suppress(RuntimeError):  # the loop is closed: all is done
                loop.call_soon_threadsafe(_cancel_all, loop)
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _gather(self) -> tuple[list[LabelRow], bool]:
        """Returns the rows of a moment, and whether more may come."""
        rows: list[LabelRow] = []
        until = float("inf")
        while len(rows) < FULL:
            try:
                row = self._done.get(timeout=None if until == float("inf") else max(until - time.monotonic(), 0.001))
            except queue.Empty:
                break
            if row is None:
                return rows, False
            rows.append(row)
            until = min(until, time.monotonic() + GATHER)
        return rows, True

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_until_complete(self._work())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # handed on to the thread that iterates
            self._failure = error
        finally:
            loop.close()
            self._done.put(None)

    async def _work(self) -> None:
        endpoint = self._open_endpoint()
        try:
            left = iter(self.documents)
            # One at a time until the endpoint has answered: a wrong key is to cost one request, and what the
            # endpoint can do is to be known before many ask.
            for document in left:
                await self._ask(document, endpoint)
                if self._failure or (endpoint.replies and self.questions.distribution != "auto"):
                    break
            if self.questions.distribution != "auto":
                self.journal.fact("distribution", self.questions.distribution)
            await self._ask_all(left, endpoint)
            if self._failure is None:
                self._release(endpoint, at_end=True)
        finally:
            await endpoint.close()

    async def _ask_all(self, left: Iterator[Document], endpoint: Endpoint) -> None:
        async def worker() -> None:
            while self._failure is None and (document := next(left, None)) is not None:
                await self._ask(document, endpoint)
                while self._done.qsize() > MOST_WAITING:
                    await asyncio.sleep(GATHER)

        workers = {asyncio.create_task(worker()) for _ in range(endpoint.limits.in_flight)}
        while workers:
            done, workers = await asyncio.wait(
                workers, timeout=GRACE if self._failure else None, return_when=asyncio.FIRST_COMPLETED
            )
            if self._failure and not done:
                break
        for straggler in workers:
            straggler.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _ask(self, document: Document, endpoint: Endpoint) -> None:
        known = self.journal.find(document.id)
        interview = self.questions.about(document)
        try:
            request = next(interview)
            while True:
                reply = known.get(request.purpose)
                if reply is None:
                    if self._failure is not None:
                        return
                    reply = await self._send(document, request, endpoint)
                request = interview.send(reply)
        except StopIteration as end:
            self._release(endpoint)
            self._done.put(end.value)
        except DocumentError as error:
            # Not yet known whose fault it is: should the endpoint be gone, the document is to be asked about again.
            self._held_back.append((LabelRow(document.id, error=str(error)), endpoint.replies))
        except Exception as error:  # ends the run, but not before the requests under way
            self._failure = self._failure or error

    async def _send(self, document: Document, request: Request, endpoint: Endpoint) -> Reply:
        reserved = self.budget.reserve(request) if self.budget else 0.0
        reply = None
        try:
            reply = await endpoint.send(request)
            await self.journal.add(document.id, request.purpose, reply)
        finally:
            if self.budget:
                self.budget.settle(reserved, request, reply.usage if reply else None)
        return reply

    def _release(self, endpoint: Endpoint, at_end: bool = False) -> None:
        """Lets the errors of single documents count, once a reply has come after them."""
        answered = at_end and (endpoint.replies > 0 or endpoint.proven)
        kept = []
        for row, replies in self._held_back:
            if answered or endpoint.replies > replies:
                self._done.put(row)
            else:
                kept.append((row, replies))
        self._held_back = kept
        if at_end and kept and self._failure is None:
            self._failure = RedctError(f"{endpoint.address.base_url}: {kept[-1][0].error}")


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
