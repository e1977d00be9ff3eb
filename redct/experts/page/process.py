"""The process: a socket, signals and an end that leaves no answer half-written."""

import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from redct.documents import Document
from redct.errors import InputError
from redct.experts.ledger import Ledger
from redct.experts.page.app import App
from redct.experts.page.desk import Desk, Suggestion
from redct.experts.page.guard import Guard
from redct.experts.page.options import PageOptions
from redct.task import Task

DRAIN_SECONDS: Final = 3  # in which requests are finished once the process is told to stop


def serve(
    path_of_ledger: Path,
    documents: Mapping[str, Document],
    task: Task,
    suggestions: Mapping[str, Suggestion],
    options: PageOptions,
) -> None:
    """Serves the page until told to stop by SIGINT or SIGTERM; a second signal ends the process at once.

    Args:
        path_of_ledger: Holds the choices, and takes the answers.
        documents: The chosen documents by id.
        task: What is to be decided about them.
        suggestions: What the LLM said about them, by id.
        options: Who answers, and where.

    Raises:
        InputError: When no documents were chosen, the address cannot be had, or the passphrase is none.
    """
    passphrase = options.passphrase()
    if not path_of_ledger.exists():
        raise InputError("no documents were chosen yet; run `redct sample`")
    with Ledger(path_of_ledger) as ledger, _listen(options) as listener:
        guard = Guard(listener.getsockname()[1], local=options.local, passphrase=passphrase)
        desk = Desk(ledger, documents, task.labels, options)
        app = App(desk, guard, task, suggestions if options.show_suggestion else {})
        server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="critical",  # what goes wrong, the application logs itself, without texts
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        server.greeting = _greeting(listener, guard.token, options)
        server.run([listener])
    _say("stopped; all answers are in the ledger")


def _listen(options: PageOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server((options.host, options.port), family=family)
    except OSError as error:
        raise InputError(f"--host {options.host} --port {options.port}: {error.strerror or error}") from None
    # Browsers' sockets inherit it: a reply's last piece must not wait 40 ms for the first to be acknowledged.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _greeting(listener: socket.socket, token: str | None, options: PageOptions) -> str:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    if token is not None:
        return f"open {url}?token={token} (stop with Ctrl-C)"
    return f"open {url} at this machine's address, with the passphrase of {options.passphrase_env} (stop with Ctrl-C)"


def _say(what: str) -> None:
    print(f"redct annotate: {what}", file=sys.stderr, flush=True)


class _Server(uvicorn.Server):
    """uvicorn's, which says when the page is to be had, and ends with exit code 0 when told to."""

    greeting = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        _say(self.greeting)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends with exit code 0 instead of by the signal; a second one has its usual effect."""
        self.should_exit = True
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
