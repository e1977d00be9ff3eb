"""The application: what is answered at which path."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from redct import __version__
from redct.edge.runtime import Bundle, Classified
from redct.edge.server.bodies import Held, Memory, read_body
from redct.edge.server.diary import Diary
from redct.edge.server.failures import log_failure
from redct.edge.server.messages import Form, MessageError, Question, read_question, write_answers
from redct.edge.server.metrics import CLASSIFY, Metrics
from redct.edge.server.openapi import describe
from redct.edge.server.options import MIB, Options
from redct.edge.server.page import POLICY, show_page
from redct.edge.server.queue import Answer, ClassifierError, Document, Queue, QueueFullError

GONE = 499  # the status, customary elsewhere, of an answer that nobody waits for
STATUSES = {MessageError: 422, QueueFullError: 503, ClassifierError: 500, ClientDisconnect: GONE}


class App:
    """The ASGI application over one bundle.

    Attributes:
        cut_off: Requests that were not answered because the server had to stop.

    Args:
        bundle: What answers.
        options: The limits.
        stopping: Says whether the server is about to stop.
    """

    def __init__(self, bundle: Bundle, options: Options, stopping: Callable[[], bool]) -> None:
        self.cut_off = 0
        self._bundle, self._options, self._stopping = bundle, options, stopping
        self._token = options.token()
        self._metrics = Metrics()
        self._queue = Queue(bundle, options.queue, options.batch, self._watch)
        self._diary = Diary(options.summary, bundle) if options.summary else None
        self._memory = Memory(options.memory * MIB)
        self._form = Form(bundle.context_fields, options.max_documents, options.max_characters)
        self._openapi = describe(bundle, options)
        self._metrics.describe(bundle.info["sha256"], __version__, bundle.labels)
        self._metrics.follow("redct_queue_documents", "Documents that wait", lambda: self._queue.waiting)
        self._metrics.follow("redct_held_bytes", "Bytes of bodies and answers held", lambda: self._memory.held)
        pages = {
            "/health": self._health,
            "/metrics": self._show_metrics,
            "/openapi.json": self._show_openapi,
            "/docs": self._show_docs,
        }
        self._paths = {CLASSIFY, *pages}
        self._routes = Starlette(
            routes=[
                Route(CLASSIFY, self._classify, methods=["POST"]),
                *(Route(path, page) for path, page in pages.items()),
            ],
            exception_handlers=dict.fromkeys((HTTPException, *STATUSES), self._refuse),
            lifespan=self._lifespan,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers and counts a request, and lets nothing of a text into a log."""
        if scope["type"] != "http":
            await self._routes(scope, receive, send)
            return
        status, begin = 0, time.monotonic()

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        with self._memory.hold() as scope["held"]:
            try:
                await self._routes(scope, receive, sending)
            except asyncio.CancelledError:  # by uvicorn, when the time to stop is over
                self.cut_off += 1
                if not status:
                    await _json({"error": "the server stops"}, 503)(scope, receive, sending)
            except Exception as error:  # Starlette has answered with 500
                log_failure("request", error)
        path = scope["path"] if scope["path"] in self._paths else "other"
        self._metrics.request(path, status, time.monotonic() - begin)

    async def refuse_busy(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a client that is one too many."""
        headers = {"Retry-After": str(self._queue.pause()), "Connection": "close"}
        await _json({"error": "too many clients"}, 503, headers)(scope, receive, send)
        self._metrics.request("other", 503, 0)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        with self._queue.working():
            yield
        if self._diary:
            self._diary.write()

    def _watch(self, found: Classified) -> None:
        self._metrics.batch(len(found.labels))
        if self._diary:
            self._diary.note(found)

    async def _classify(self, request: Request) -> Response:
        self._authorise(request)
        held: Held = request.scope["held"]
        body = await read_body(request, held, self._options.max_body, self._options.client_seconds)
        question = read_question(body, self._form)
        body.clear()
        content = write_answers(question, await self._answer(request, question), self._bundle.labels)
        held.add(len(content))
        return _Taken(content, media_type="application/json")

    async def _answer(self, request: Request, question: Question) -> list[Answer]:
        """Answers each document; those that cannot be read never reach the queue."""
        asked = await self._ask(request, [each.document for each in question.items if each.document])
        found = iter(asked)
        answers = [next(found) if each.document else Answer(error=each.error) for each in question.items]
        self._metrics.answers(answers)
        return answers

    async def _ask(self, request: Request, documents: list[Document]) -> list[Answer]:
        """Asks the queue, and drops the documents from it when the client goes away."""
        asking = asyncio.create_task(self._queue.ask(documents))
        leaving = asyncio.create_task(_wait_until_gone(request))
        try:
            await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise ClientDisconnect
            return asking.result()
        finally:
            asking.cancel()
            leaving.cancel()

    def _authorise(self, request: Request) -> None:
        """Refuses whoever does not know the token."""
        if self._token is None:
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(token.strip().encode("latin-1"), self._token)
        if scheme.lower() != "bearer" or not known:
            raise HTTPException(401, "expected Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    async def _health(self, request: Request) -> Response:
        stopping = self._stopping()
        health = {
            "status": "stopping" if stopping else "ok",
            "redct": __version__,
            "bundle": self._bundle.info["sha256"],
            "labels": self._bundle.labels,
            "context_fields": self._bundle.context_fields,
            "waiting": self._queue.waiting,
        }
        return _json(health, 503 if stopping else 200)

    async def _show_metrics(self, request: Request) -> Response:
        self._authorise(request)
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def _show_openapi(self, request: Request) -> Response:
        return _json(self._openapi)

    async def _show_docs(self, request: Request) -> Response:
        return Response(show_page(self._openapi), media_type="text/html", headers={"Content-Security-Policy": POLICY})

    async def _refuse(self, request: Request, error: Exception) -> Response:
        """Says in JSON what was wrong, and when to come back where that helps."""
        if isinstance(error, HTTPException):
            status, what, headers = error.status_code, error.detail, dict(error.headers or {})
        else:
            status, what, headers = STATUSES[type(error)], str(error), {}
        if status == 503:
            headers["Retry-After"] = str(self._queue.pause())
        return _json({"error": what}, status, headers)


class _Taken(Response):
    """A response that is over only when the client has taken it, so that what it holds stays counted until then."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await send({"type": "http.response.body"})


async def _wait_until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:  # noqa: ANN401
    return Response(json.dumps(value), status, headers, media_type="application/json")
