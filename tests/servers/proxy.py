"""A reverse proxy that goes wrong as told: in front of any HTTP server, one fault (or none) per request."""

import asyncio
import json
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from servers.background import Background

Fault = Callable[["Exchange"], Awaitable[None]]
Plan = Callable[["Request"], Fault | None]
HOP = {"connection", "accept-encoding"}  # one request a connection upstream, and bodies that can be read


@dataclass(frozen=True)
class Request:
    """What a client sent; `at` is the monotonic time in seconds of its arrival."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def content(self) -> str:
        """The last message of a chat request, or the body's text."""
        try:
            return str(json.loads(self.body)["messages"][-1]["content"])
        except (ValueError, KeyError, TypeError, IndexError):
            return self.body.decode(errors="replace")


class FaultProxy(Background):
    """Forwards requests to a server unless the plan has a fault for them.

    Args:
        upstream: The address of the server, as `http://127.0.0.1:8000`.
        plan: Faults in the order in which requests arrive (None: no fault; afterwards none either), or a function
            from a request to a fault or None. The attribute may be set anew at any time.

    Attributes:
        url: The proxy's own address.
        requests: All requests so far.
        connections: Open connections of clients.
        busy: Requests now being answered; `busiest` is the most there were.
    """

    def __init__(self, upstream: str, plan: Plan | Iterable[Fault | None] = ()) -> None:
        self.upstream = urlsplit(upstream)
        self.plan = plan if callable(plan) else deque(plan)
        self.requests: list[Request] = []
        self.connections = self.busy = self.busiest = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://127.0.0.1:{1}".format(*self._server.sockets[0].getsockname())

    async def stop(self) -> None:
        self._server.close()

    @property
    def per_content(self) -> Counter[str]:
        """How many requests came for each content."""
        return Counter(request.content for request in self.requests)

    def settled(self, seconds: float = 2) -> bool:
        """Waits until no connection is open; False when some still is."""
        end = time.monotonic() + seconds
        while self.connections and time.monotonic() < end:
            time.sleep(0.01)
        return not self.connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                await self._answer(await _read_request(reader), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went, or a fault ended the connection
        finally:
            self.connections -= 1
            writer.close()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(request)
        fault = self._next(request)
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            await (fault or _forward)(Exchange(request, reader, writer, self.upstream.hostname, self.upstream.port))
        finally:
            self.busy -= 1

    def _next(self, request: Request) -> Fault | None:
        if callable(self.plan):
            return self.plan(request)
        return self.plan.popleft() if self.plan else None


@dataclass(frozen=True)
class Exchange:
    """A request and the means to answer it."""

    request: Request
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str
    port: int

    async def fetch(self) -> bytes:
        """Returns the upstream server's complete response, head and body."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        lines = [f"{self.request.method} {self.request.path} HTTP/1.1", "connection: close"]
        lines += [f"{name}: {value}" for name, value in self.request.headers.items() if name not in HOP]
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + self.request.body)
            return (await reader.read()).replace(b"Connection: close\r\n", b"", 1)
        finally:
            writer.close()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def respond(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in headers.items()), f"Content-Length: {len(body)}"]
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)


async def _forward(exchange: Exchange) -> None:
    await exchange.send(await exchange.fetch())


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def status(code: int, body: str | dict[str, Any] = "", **headers: str) -> Fault:
    """Answers with a status; underscores in names of headers stand for hyphens, `retry_after="1"`."""
    kind = "application/json" if isinstance(body, dict) else "text/html"
    text = json.dumps(body) if isinstance(body, dict) else body
    named = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}

    async def fault(exchange: Exchange) -> None:
        await exchange.respond(code, text.encode(), named)

    return fault


def html(code: int = 200) -> Fault:
    """Answers with a web page, as gateways and captive portals do, even with status 200."""
    return status(code, "<html><body><h1>Bad gateway</h1></body></html>")


def reset() -> Fault:
    """Ends the connection without an answer."""

    async def fault(exchange: Exchange) -> None:
        exchange.writer.transport.abort()
        raise ConnectionResetError

    return fault


def hang(seconds: float) -> Fault:
    """Answers nothing for some seconds, then ends the connection; ends early when the client gives up."""

    async def fault(exchange: Exchange) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(exchange.reader.read(1), seconds)
        raise ConnectionAbortedError

    return fault


def delay(seconds: float) -> Fault:
    """Answers correctly, but later."""

    async def fault(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await _forward(exchange)

    return fault


def truncate(share: float = 0.5) -> Fault:
    """Sends a share of the response and ends the connection."""

    async def fault(exchange: Exchange) -> None:
        response = await exchange.fetch()
        await exchange.send(response[: int(len(response) * share)])
        raise ConnectionAbortedError

    return fault


def garble() -> Fault:
    """Sends the response with the first half of its body replaced by bytes that are neither JSON nor UTF-8."""

    async def fault(exchange: Exchange) -> None:
        head, _, body = (await exchange.fetch()).partition(b"\r\n\r\n")
        half = len(body) // 2
        await exchange.send(head + b"\r\n\r\n" + b"\xff" * half + body[half:])

    return fault


def drip(chunk: int = 1, seconds: float = 0.1) -> Fault:
    """Sends the response in chunks of some bytes with a pause after each."""

    async def fault(exchange: Exchange) -> None:
        response = await exchange.fetch()
        for start in range(0, len(response), chunk):
            await exchange.send(response[start : start + chunk])
            await asyncio.sleep(seconds)

    return fault


def rewrite(change: Callable[[dict[str, Any]], Any]) -> Fault:
    """Sends the response with its JSON body changed, in place or to what the function returns."""

    async def fault(exchange: Exchange) -> None:
        head, _, body = (await exchange.fetch()).partition(b"\r\n\r\n")
        answer = json.loads(body)
        changed = change(answer)
        code = int(head.split(b" ", 2)[1])
        sent = json.dumps(answer if changed is None else changed).encode()
        await exchange.respond(code, sent, {"Content-Type": "application/json"})

    return fault


def rewrite_choice(**fields: Any) -> Fault:
    """Sends the response with fields of its first choice changed, as `finish_reason="content_filter"`, `logprobs=None`.

    `content` and `refusal` are changed in the choice's message.
    """

    def change(answer: dict[str, Any]) -> None:
        choice = answer["choices"][0]
        for name, value in fields.items():
            (choice["message"] if name in {"content", "refusal"} else choice)[name] = value

    return rewrite(change)


def for_each_content(*faults: Fault | None) -> Plan:
    """Returns a plan by which the n-th request for each content meets the n-th fault, and later ones none."""
    left: dict[str, deque[Fault | None]] = defaultdict(lambda: deque(faults))

    def plan(request: Request) -> Fault | None:
        waiting = left[request.content]
        return waiting.popleft() if waiting else None

    return plan
