"""The process: a socket, signals and an end that leaves no answer half-written."""

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from redct.documents import Document
from redct.errors import InputError
from redct.experts.ledger import Ledger
from redct.experts.page.app import App
from redct.experts.page.desk import Desk, Suggestion
from redct.experts.page.guard import Guard
from redct.experts.page.options import PageOptions
from redct.serving import Server, config, say, url_of
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
    with Ledger(path_of_ledger, create=False) as ledger, _listen(options) as listener:
        guard = Guard(listener.getsockname()[1], local=options.local, passphrase=passphrase)
        desk = Desk(ledger, documents, task.labels, options)
        app = App(desk, guard, task, suggestions if options.show_suggestion else {})
        behaviour = {"http": "h11", "lifespan": "off", "proxy_headers": False}
        server = Server(config(app, **behaviour, timeout_graceful_shutdown=DRAIN_SECONDS))
        server.greeting = _greeting(listener, guard.token, options)
        server.run([listener])
    say("redct annotate: stopped; all answers are in the ledger")


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
    url = url_of(listener)
    if token is not None:
        return f"redct annotate: open {url}/?token={token} (stop with Ctrl-C)"
    how = f"at this machine's address, with the passphrase of {options.passphrase_env}"
    return f"redct annotate: open {url}/ {how} (stop with Ctrl-C)"
