"""The application without a process around it: what only a broken bundle or an ending process shows."""

import asyncio
import json
from pathlib import Path

import pytest

from redct.edge import Bundle
from redct.edge.server.app import App
from redct.edge.server.options import Options


class Broken(Bundle):
    def classify(self, texts, contexts=None):
        raise ValueError(texts[0])


async def call(app: App, method: str, path: str, body: bytes = b"", gone: bool = False) -> tuple[int, bytes]:
    """Asks once, by the ASGI protocol; the client may have gone in the middle of its body."""
    sent = []
    coming = [{"type": "http.request", "body": body, "more_body": gone}, *([{"type": "http.disconnect"}] * gone)]

    async def receive():
        return coming.pop(0) if coming else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "root_path": ""}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])


def asked(app: App, *request, **more):
    async def run():
        with app._queue.working():
            return await call(app, *request, **more)

    return asyncio.run(run())


def test_a_classifier_that_fails_is_500_and_no_text_reaches_the_log(bundle: Path, caplog) -> None:
    app = App(Broken(bundle), Options(), lambda: False)
    status, content = asked(app, "POST", "/classify", b'{"text": "4711"}')
    assert (status, json.loads(content)) == (500, {"error": "the classifier failed"})
    assert "classifier: ValueError" in caplog.text
    assert "4711" not in caplog.text


def test_an_unforeseen_error_is_500_and_no_text_reaches_the_log(bundle: Path, caplog, monkeypatch) -> None:
    def read(body, form):
        raise ValueError(bytes(body))

    monkeypatch.setattr("redct.edge.server.app.read_question", read)
    app = App(Bundle(bundle), Options(), lambda: False)

    assert asked(app, "POST", "/classify", b"4711")[0] == 500
    assert "request: ValueError" in caplog.text
    assert "4711" not in caplog.text


@pytest.mark.parametrize(("stopping", "status", "what"), [(False, 200, "ok"), (True, 503, "stopping")])
def test_health_is_503_once_it_is_about_to_stop(bundle: Path, stopping: bool, status: int, what: str) -> None:
    app = App(Bundle(bundle), Options(), lambda: stopping)
    found, content = asked(app, "GET", "/health")
    assert (found, json.loads(content)["status"]) == (status, what)


def test_a_client_that_leaves_within_its_body_is_counted_and_nothing_of_it_kept(bundle: Path) -> None:
    app = App(Bundle(bundle), Options(), lambda: False)
    assert asked(app, "POST", "/classify", b'{"text": ', gone=True)[0] == 499
    shown = app._metrics.text().decode()
    assert 'redct_requests_total{path="/classify",status="499"} 1.0' in shown
    assert "redct_held_bytes 0.0" in shown
