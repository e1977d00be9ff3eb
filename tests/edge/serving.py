"""A server in a process of its own, as a user starts it, and ways to ask it that no decent client has."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent.parent


class Reply(NamedTuple):
    status: int
    body: bytes
    headers: Any

    def json(self) -> Any:
        return json.loads(self.body)


class Served:
    """One `redct serve` at a free port."""

    def __init__(self, bundle: Path, *options: str, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "redct", "serve", str(bundle), "--port", "0", *options]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path} | (env or {})
        )
        self.line = self.process.stderr.readline()
        assert self.line.startswith("redct serve: http://127.0.0.1:"), self.line + self.process.stderr.read()
        self.url = self.line.split()[2].rstrip(",")
        self.address = ("127.0.0.1", int(self.url.rsplit(":", 1)[1]))

    def ask(self, path: str = "/classify", body: Any = None, method: str | None = None, **headers: str) -> Reply:
        """Asks once, on a connection of its own; a body that is not bytes is sent as JSON."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return Reply(reply.status, reply.read(), reply.headers)
        except urllib.error.HTTPError as reply:
            return Reply(reply.code, reply.read(), reply.headers)

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Returns the samples of /metrics by name and label values."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.ask("/metrics").body.decode())
        return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def peak(self) -> int:
        """Returns the largest resident memory so far, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])

    def stop(self, by: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Returns the exit code and what was said since the start."""
        self.process.send_signal(by)
        said = self.process.communicate(timeout=60)[1]
        return self.process.returncode, said


@contextmanager
def served(bundle: Path, *options: str, env: dict[str, str] | None = None):
    server = Served(bundle, *options, env=env)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


def head(length: int | None = None) -> bytes:
    """The head of a POST /classify, chunked where no length is given."""
    form = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST /classify HTTP/1.1\r\nHost: here\r\n{form}\r\n\r\n".encode()


def read_reply(connection: socket.socket) -> tuple[int, Any]:
    """Returns the status and the JSON of the next reply."""
    reply = HTTPResponse(connection)
    reply.begin()
    return reply.status, json.loads(reply.read())
