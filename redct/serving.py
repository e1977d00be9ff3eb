"""A web server that says when it may be asked, and ends with exit code 0 when it is told to."""

import signal
import socket
import sys
from types import FrameType
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """uvicorn's, with an exit code of its own.

    Attributes:
        greeting: What is printed on standard error once requests are answered.
    """

    greeting = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to answer."""
        await super().startup(sockets)
        say(self.greeting)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends with exit code 0 instead of by the signal; a second one has its usual effect."""
        self.should_exit = True
        for each in STOPPING:
            signal.signal(each, signal.SIG_DFL)


def config(app: ASGIApp, **options: Any) -> uvicorn.Config:  # noqa: ANN401 - uvicorn's
    """Returns uvicorn's configuration without its logs: what goes wrong, applications log themselves, without texts."""
    silent: dict[str, Any] = {"log_config": None, "log_level": "critical", "access_log": False, "server_header": False}
    return uvicorn.Config(app, ws="none", loop="asyncio", **silent, **options)


def url_of(listener: socket.socket) -> str:
    """Returns the address of a listening socket, without a path."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def say(what: str) -> None:
    """Prints a line on standard error, at once."""
    print(what, file=sys.stderr, flush=True)
