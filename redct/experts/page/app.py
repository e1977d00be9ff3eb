"""The application: what is answered at which path."""

import json
import logging
import sqlite3
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import Environment, FileSystemLoader
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from redct.errors import InputError, RedctError
from redct.experts.page.desk import Desk, Suggestion, View
from redct.experts.page.guard import HEADERS, Guard, Session
from redct.experts.records import Answer, OutdatedError
from redct.task import Task

LOG = logging.getLogger("redct.experts.page")

MOST_BYTES: Final = 64 * 1024  # of a request's body
MOST_CHARACTERS: Final = 4000  # of a note
MOST_SECONDS: Final = 24 * 3600.0

KEYS: Final = "1234567890abcdeghijklmnopqrtvwxyz"  # of the labels, in their order; s, u and f mean something else

_HERE = Path(__file__).parent
_STATIC: Final = {
    "page.css": "text/css",
    "desk.js": "text/javascript",
    "enter.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

Where = Literal["annotate", "adjudicate"]
KINDS: Final[dict[Where, tuple[str, ...]]] = {
    "annotate": ("label", "skip", "flag", "undo"),
    "adjudicate": ("resolution", "reopen"),
}


class App:
    """The ASGI application over a desk, behind a guard.

    Args:
        desk: Knows who is asked what.
        guard: Knows who may come in.
        task: What is to be decided.
        suggestions: What the LLM said about documents, by id; empty where it is not to be shown.
    """

    def __init__(self, desk: Desk, guard: Guard, task: Task, suggestions: Mapping[str, Suggestion]) -> None:
        self._desk, self._guard, self._task, self._suggestions = desk, guard, task, suggestions
        self._static = {name: (_HERE / "static" / name).read_bytes() for name in _STATIC}
        self._pages = Environment(loader=FileSystemLoader(_HERE / "templates"), autoescape=True)
        routes = [
            Route("/", self._show_desk),
            Route("/adjudicate", self._show_desk),
            Route("/enter", self._enter, methods=["POST"]),
            Route("/leave", self._leave, methods=["POST"]),
            Route("/{where}/document", self._show),
            Route("/{where}/answer", self._answer, methods=["POST"]),
            Route("/static/{name}", self._send_static),
        ]
        unwritten = dict.fromkeys((sqlite3.Error, RedctError), self._report_unwritten)
        handlers: Any = {HTTPException: self._refuse, **unwritten}
        self._routes: ASGIApp = Starlette(routes=routes, exception_handlers=handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request that the guard lets pass, and lets nothing of a text into a log."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            await send(message)

        try:
            request = Request(scope)
            try:
                self._guard.check(request.method, request.headers)
            except HTTPException as error:
                await (await self._refuse(request, error))(scope, receive, sending)
            else:
                await self._routes(scope, receive, sending)
        except ClientDisconnect:
            pass
        except Exception as error:  # Starlette has answered with 500
            # Not the message, which might quote a document.
            LOG.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))

    async def _show_desk(self, request: Request) -> Response:
        if token := request.query_params.get("token"):
            return self._let_in(self._guard.open_by_token(token))
        session = self._guard.session(request.cookies)
        if session is None or session.name is None:
            return self._show_entry(session)
        where = request.url.path.strip("/") or "annotate"
        return self._render("desk.html", where=where, name=session.name, task=self._task, keys=self._keys())

    async def _enter(self, request: Request) -> Response:
        """Takes a name, and the passphrase from those who were not let in yet."""
        given = await self._read(request)
        session, headers = self._guard.session(request.cookies), {}
        if session is None:
            address = request.client.host if request.client else ""
            value = await self._guard.open_by_passphrase(_string(given, "passphrase", MOST_CHARACTERS), address)
            if value is None:
                raise HTTPException(401, "this is not the passphrase" if self._guard.token is None else _OPEN_AGAIN)
            session, headers = self._guard.session({self._guard.cookie: value}), self._cookie(value)
            assert session is not None
        try:
            session.name = self._desk.enter(_string(given, "name", MOST_CHARACTERS))
        except InputError as error:
            return _json({"error": str(error)}, 422, headers)
        return _json({}, headers=headers)

    async def _leave(self, request: Request) -> Response:
        """Lets somebody else take the seat in this browser."""
        await self._read(request)
        self._authorise(request)[0].name = None
        return _json({})

    async def _show(self, request: Request) -> Response:
        _, name = self._authorise(request)
        document, step = request.query_params.get("id"), request.query_params.get("step", "0")
        if step not in ("-1", "0", "1"):
            raise HTTPException(422, "step: expected -1, 0 or 1")
        return _json(self._view(_where(request), name, document, int(step)))

    async def _answer(self, request: Request) -> Response:
        """Records an answer, and then shows the next document; where it is outdated, says so and what stands."""
        where, given = _where(request), await self._read(request)
        _, name = self._authorise(request)
        if given.get("annotator") != name:
            raise HTTPException(403, f"this browser answers as {name} now, since another tab; reload the page")
        answer, seen = _answer(where, name, given), _count(given, "seen")
        try:
            (self._desk.answer if where == "annotate" else self._desk.resolve)(answer, seen)
        except OutdatedError as error:
            notice = f"Nothing was changed: {error.latest.annotator} answered this in another window meanwhile."
            return _json({"notice": notice, **self._view(where, name)}, 409)
        except InputError as error:
            return _json({"notice": f"Not recorded: {error}.", **self._view(where, name)}, 409)
        withdrawn = answer.kind in ("undo", "reopen")
        return _json(self._view(where, name, answer.document if withdrawn else None))

    async def _send_static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._static:
            raise HTTPException(404, "there is nothing here")
        return Response(self._static[name], media_type=_STATIC[name])

    def _view(self, where: Where, name: str, document: str | None = None, step: int = 0) -> dict[str, Any]:
        """Returns what a page shows, as JSON; never the gold label."""
        show = self._desk.show if where == "annotate" else self._desk.show_case
        view = show(name, document, step)
        shown = {} if view.document is None else self._document(view)
        last = view.last and {"id": view.last.document, "seen": view.last.number}
        counts = {"done": view.done, "total": view.total, "disputes": view.disputes}
        return {"document": shown or None, "last": last, "pace": view.pace, "left": view.left, **counts}

    def _document(self, view: View) -> dict[str, Any]:
        document = view.document
        assert document is not None
        suggestion = self._suggestions.get(document.id)
        return {
            "id": document.id,
            "text": document.text,
            "context": list(document.context.items()),
            "question": self._task.question.format(**document.context),
            "answer": view.answer and _said(view.answer),
            "seen": view.seen,
            "answers": [_said(answer) for answer in view.answers],
            "suggestion": suggestion and {"label": suggestion.label, "probability": suggestion.probability},
        }

    def _keys(self) -> list[tuple[str, str]]:
        """Returns each label with its key, which is empty where keys run out."""
        labels = self._task.labels
        return list(zip(labels, [*KEYS, *[""] * len(labels)], strict=False))

    def _authorise(self, request: Request) -> tuple[Session, str]:
        """Returns the session and the annotator's name of somebody who was let in and said who they are."""
        session = self._guard.session(request.cookies)
        if session is None or session.name is None:
            raise HTTPException(401, _OPEN_AGAIN)
        return session, session.name

    async def _read(self, request: Request) -> dict[str, Any]:
        """Returns what a page sent as JSON, which a form of another site cannot send."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise HTTPException(415, "expected JSON")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_BYTES:
                raise HTTPException(413, f"expected at most {MOST_BYTES} bytes")
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise HTTPException(422, "expected a JSON object")
        return given

    def _let_in(self, value: str | None) -> Response:
        if value is None:
            return self._show_entry(None)
        return RedirectResponse("/", 303, self._cookie(value))  # so that the token leaves the address bar

    def _cookie(self, value: str) -> dict[str, str]:
        return {"Set-Cookie": f"{self._guard.cookie}={value}; Path=/; HttpOnly; SameSite=Strict"}

    def _show_entry(self, session: Session | None) -> Response:
        """Shows where to give a name; or the passphrase, too; or says that only the printed address opens the page."""
        if session is None and self._guard.token is not None:
            return self._render("closed.html", 401, message=_OPEN_AGAIN)
        names, free = (self._desk.names, self._desk.open) if session else ([], True)
        return self._render("enter.html", 200 if session else 401, names=names, free=free, passphrase=session is None)

    def _render(self, template: str, status: int = 200, **values: Any) -> Response:  # noqa: ANN401
        return Response(self._pages.get_template(template).render(values), status, media_type="text/html")

    async def _refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return self._render("closed.html", error.status_code, message=error.detail)
        return _json({"error": error.detail}, error.status_code, error.headers)

    async def _report_unwritten(self, request: Request, error: Exception) -> Response:
        LOG.error("the ledger: %s", error)  # such as of a full disk; the message quotes no values
        return _json({"error": f"The ledger could not be used: {error}."}, 503)


_OPEN_AGAIN: Final = "Open the address that redct annotate printed where it was started."


def _where(request: Request) -> Where:
    where = request.path_params["where"]
    if where not in KINDS:
        raise HTTPException(404, "there is nothing here")
    return "annotate" if where == "annotate" else "adjudicate"


def _answer(where: Where, name: str, given: Mapping[str, Any]) -> Answer:
    kind, label = given.get("kind"), given.get("label")
    if kind not in KINDS[where]:
        raise HTTPException(422, f"kind: expected one of {', '.join(KINDS[where])}")
    seconds = given.get("seconds")
    measured = kind not in ("undo", "reopen") and isinstance(seconds, int | float) and 0 <= seconds <= MOST_SECONDS
    try:
        return Answer(
            document=_string(given, "id", MOST_BYTES),
            annotator=name,
            kind=kind,
            label=None if label is None else _string(given, "label", MOST_BYTES),
            note=_string(given, "note", MOST_CHARACTERS),
            duration_seconds=round(seconds, 3) if measured and seconds is not None else None,
        )
    except InputError as error:
        raise HTTPException(422, str(error)) from None


def _string(given: Mapping[str, Any], field: str, longest: int) -> str:
    value = given.get(field, "")
    if not isinstance(value, str) or len(value) > longest or not _is_unicode(value):
        raise HTTPException(422, f"{field}: expected a text of at most {longest} characters")
    return value


def _is_unicode(value: str) -> bool:
    """Whether a text holds no half of a surrogate pair, which JSON may and a file may not."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _count(given: Mapping[str, Any], field: str) -> int:
    value = given.get(field)
    if type(value) is not int or value < 0:
        raise HTTPException(422, f"{field}: expected a number from 0")
    return value


def _said(answer: Answer) -> dict[str, Any]:
    return {"kind": answer.kind, "label": answer.label, "note": answer.note, "annotator": answer.annotator}


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:  # noqa: ANN401
    return Response(json.dumps(value), status, headers, media_type="application/json")
