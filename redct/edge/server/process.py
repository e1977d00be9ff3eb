"""The process: a socket, signals, connections with deadlines, and an end that leaves nobody without an answer."""

import asyncio
import functools
import socket
import sys
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from redct.edge.runtime import Bundle, BundleError
from redct.edge.server.app import App
from redct.edge.server.options import Options
from redct.errors import InputError, RedctError
from redct.serving import Server, config, say, url_of

ROUNDS = 10  # of the event loop, which needs some to accept a client and to read what it has sent


def serve(folder: str, options: Options) -> None:
    """Serves a bundle until told to stop by SIGINT or SIGTERM; a second signal ends the process at once.

    Raises:
        InputError: When the bundle is not as it must be, or the address cannot be had.
        RedctError: When not all that was accepted could be answered in time.
    """
    try:
        bundle = Bundle(folder, options.threads)
        app = App(bundle, options, lambda: server.should_exit)
    except BundleError as error:
        raise InputError(str(error)) from None
    server = _Server(_config(app, options))
    with _listen(options) as listener:
        _raise_limit(options.connections)
        server.greeting = f"redct serve: {url_of(listener)}, {_describe(bundle, options)}"
        server.run([listener])
    if app.cut_off:
        raise RedctError(f"{app.cut_off} requests were not answered within --drain_seconds {options.drain_seconds:g}")
    say("redct serve: stopped, everything accepted was answered")


def _config(app: App, options: Options) -> uvicorn.Config:
    connection: Any = functools.partial(
        _Connection, seconds=options.client_seconds, most=options.connections, busy=app.refuse_busy
    )
    return config(
        app,
        http=connection,
        lifespan="on",
        timeout_keep_alive=2**31,  # the connection's own deadline takes its place
        timeout_graceful_shutdown=cast("Any", options.drain_seconds),
    )


def _listen(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server((options.host, options.port), family=family, backlog=options.connections)
    except OSError as error:
        raise InputError(f"--host {options.host} --port {options.port}: {error.strerror or error}") from None
    # Clients' sockets inherit both. What a thousand of them may send before it is looked at is memory, too; and an
    # answer's last piece must not wait 40 ms for the first to be acknowledged.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**15)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _raise_limit(connections: int) -> None:
    """Lets the process have a file descriptor per client, where the system allows it."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not everywhere

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 256
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _describe(bundle: Bundle, options: Options) -> str:
    token = f"with the token of {options.token_env}" if options.token_env else "without token"
    return f"bundle {bundle.folder} ({bundle.info['sha256'][:12]}), {bundle.threads} threads, {token}"


class _Server(Server):
    """One that answers what clients had sent when it was told to stop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Reads what clients had sent by now, before connections without a request are closed."""
        for server in self.servers:
            server.close()
        for _ in range(ROUNDS):
            await asyncio.sleep(0.01)
        await super().shutdown(sockets)


class _Connection(H11Protocol):
    """uvicorn's, with the deadlines that it lacks: for sending a request's head, and for taking an answer.

    h11 and not httptools, since it bounds the head's size.
    """

    def __init__(self, *args: Any, seconds: float, most: int, busy: ASGIApp, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._seconds, self._most, self._busy = seconds, most, busy
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._most:
            self.app = self._busy
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._deadline:
            self._deadline.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._watch()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._watch()
        super().pause_writing()

    def _watch(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(self._seconds, self._expire)

    def _expire(self) -> None:
        """Cuts the connection unless a request is being worked on."""
        if self.cycle is None or self.cycle.response_complete or self.flow.write_paused:
            self.transport.abort()
