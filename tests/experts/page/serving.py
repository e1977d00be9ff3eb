"""A page in a process of its own, and a client that sends exactly the headers it is told to."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from redct.documents import Document
from redct.experts import Choice, Ledger
from redct.experts.page import PageOptions, Suggestion, serve
from redct.experts.records import Asked
from redct.task import Columns, Task

LABELS = ["for", "against", "neutral"]
TASK = {
    "labels": LABELS,
    "columns": {"context": {"target": "target"}},
    "codebook": "Decide what the author wants.\n\nIrony is read as it is meant.",
    "definitions": {"for": "wants it", "against": "wants it gone"},
    "question": "Towards {target}?",
}
TESTS = Path(__file__).parents[2]


def made_up(count: int) -> dict[str, Document]:
    """Documents whose gold label must never leave the server."""
    return {f"d{i}": Document(f"d{i}", f"Text number {i}.", {"target": f"plan {i}"}, "neutral") for i in range(count)}


def choose(path: Path, *rounds: list[str], asked: Asked = "experts") -> Path:
    """Writes a ledger in which these documents were chosen."""
    with Ledger(path) as ledger:
        for seed, ids in enumerate(rounds):
            everything = Choice(np.arange(len(ids)), np.ones(len(ids)), np.zeros(len(ids), dtype=int))
            ledger.add_round(asked, "random", seed, {}, ids, everything)
    return path


@dataclass
class Page:
    """A page that is being served."""

    process: subprocess.Popen[str]
    url: str
    token: str
    errors: Path

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def opening(self) -> str:
        return f"{self.url}/?token={self.token}"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(20)


@contextmanager
def served(
    ledger: Path,
    documents: dict[str, Document],
    task: dict[str, Any] | None = None,
    suggestions: dict[str, tuple[str, float]] | None = None,
    environment: dict[str, str] | None = None,
    **options: Any,
) -> Iterator[Page]:
    spec = ledger.with_suffix(".json")
    parts = {"documents": [asdict(d) for d in documents.values()], "task": task or TASK, "options": options}
    spec.write_text(json.dumps({**parts, "ledger": str(ledger), "suggestions": suggestions or {}}))
    errors = ledger.with_suffix(".stderr")
    with errors.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, __file__, str(spec)],
            stderr=log,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(environment or {})},
        )
    try:
        while not (found := re.search(r"open (http://\S+?)/(?:\?token=(\S+))? ", errors.read_text())):
            if process.poll() is not None:
                raise AssertionError(errors.read_text())
        yield Page(process, found[1], found[2] or "", errors)
    finally:
        process.kill()
        process.wait(20)


@dataclass
class Client:
    """Somebody with a cookie."""

    page: Page
    name: str = ""
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def send(self, method: str, path: str, body: Any = None, **headers: str | None) -> tuple[int, dict[str, str], str]:
        """Sends a request; a header that is None is left out."""
        port = self.page.port
        given: dict[str, str | None] = {"Host": f"127.0.0.1:{port}", "Cookie": self.cookie, **self.headers}
        if method == "POST":
            given |= {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, content, {k: v for k, v in given.items() if v is not None})
        reply = connection.getresponse()
        text = reply.read().decode()
        connection.close()
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, text

    def enter(self, name: str, **more: str) -> "Client":
        if self.page.token:
            status, headers, _ = self.send("GET", f"/?token={self.page.token}")
            assert (status, headers["location"]) == (303, "/")
            self.cookie = headers["set-cookie"].partition(";")[0]
        status, headers, text = self.send("POST", "/enter", {"name": name, **more})
        assert status == 200, text
        if "set-cookie" in headers:
            self.cookie = headers["set-cookie"].partition(";")[0]
        self.name = name
        return self

    def show(self, document: str | None = None, step: int = 0, where: str = "annotate") -> dict[str, Any]:
        query = f"?step={step}" + (f"&id={document}" if document else "")
        status, _, text = self.send("GET", f"/{where}/document{query}")
        assert status == 200, text
        return json.loads(text)

    def say(self, view: dict[str, Any], kind: str, where: str = "annotate", **more: Any) -> tuple[int, dict[str, Any]]:
        """Answers the document of a view."""
        shown = view["document"]
        body = {"annotator": self.name, "kind": kind, "id": shown["id"], "seen": shown["seen"], "note": "", **more}
        status, _, text = self.send("POST", f"/{where}/answer", body)
        return status, json.loads(text)


def _main(spec: str) -> None:
    given = json.loads(Path(spec).read_text())
    documents = {each["id"]: Document(**each) for each in given["documents"]}
    task = Task(**{**given["task"], "columns": Columns(**given["task"].get("columns", {}))})
    suggestions = {key: Suggestion(*value) for key, value in given["suggestions"].items()}
    serve(Path(given["ledger"]), documents, task, suggestions, PageOptions(**given["options"]))


if __name__ == "__main__":
    _main(sys.argv[1])
