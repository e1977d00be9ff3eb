"""What a server answers and refuses, asked in a process of its own."""

import json
import re
import signal
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from edge.serving import Served, head, read_reply, served

from redct import __version__
from redct.cli.main import main
from redct.edge import Bundle
from redct.edge.runtime import add, read_summaries, summarise

TOKEN = "Spr\u00fcche & co"


def closed_by_server(connection: socket.socket, within: float) -> bool:
    connection.settimeout(within)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


@pytest.fixture(scope="module")
def server(stance_bundle: Path):
    limits = ["--max_body", "20000", "--max_documents", "50", "--max_characters", "1000", "--client_seconds", "1"]
    with served(stance_bundle, *limits) as running:
        yield running


@pytest.fixture(scope="module")
def answers(stance_bundle: Path):
    """The bundle itself, whose answers are the right ones."""
    return Bundle(stance_bundle, threads=2)


def test_says_where_it_is_and_what_it_serves(server: Served, stance_bundle: Path) -> None:
    digest = json.loads((stance_bundle / "bundle.json").read_text())["sha256"]
    assert re.fullmatch(
        rf"redct serve: http://127.0.0.1:\d+, bundle {stance_bundle} \({digest[:12]}\), \d+ threads, without token\n",
        server.line,
    )


def test_many_documents_are_each_judged_for_themselves(server: Served, answers: Bundle) -> None:
    target = {"target": "tea"}
    given = [
        {"id": "a", "text": "I agree", "context": target},
        {"id": 7, "text": "", "context": target},
        {"text": "strongly disagree", "context": {**target, "topic": 5}},
        {"text": "I agree"},
        {"id": "b", "text": None, "context": target},
        "no object",
        {"id": [1], "text": "x"},
        {"id": "c", "text": "x", "contxt": target},
        {"text": "y" * 1001, "context": target},
        {"text": "y" * 1000, "context": target},
        {"id": "\ud83d", "text": "x\0\u2028\U0001f642\ud83d", "context": target},
        {"text": "x", "context": {"target": 5}},
    ]
    found = server.ask(body={"documents": given}).json()["documents"]
    assert [each.get("id") for each in found] == ["a", 7, None, None, "b", None, None, "c", None, None, "\ud83d", None]
    assert [each["error"] for each in found] == [
        None, "empty text", None, "no context field 'target'", "not a text", "not a document", "not a document",
        "not a document", "too long", None, "not UTF-8", "not a text",
    ]  # fmt: skip
    rows = [0, 2, 9]
    right = answers.classify([given[row]["text"] for row in rows], [target] * 3)
    for row, label, probs, abstained in zip(rows, right.labels, right.probs, right.abstained, strict=True):
        assert found[row]["label"] == (None if abstained else label)
        assert found[row]["abstained"] == abstained
        assert list(found[row]["probabilities"]) == answers.labels
        np.testing.assert_allclose(list(found[row]["probabilities"].values()), probs, atol=1e-6)
    assert all(each["label"] is each["probabilities"] is None for each in found if each["error"])


def test_one_document_is_answered_as_one(server: Served) -> None:
    one = {"text": "I agree", "context": {"target": "tea"}}
    many = server.ask(body={"documents": [one]}).json()["documents"]
    assert server.ask(body=one).json() == many[0]
    assert server.ask(body=one | {"id": 3}).json() == {"id": 3} | many[0]
    assert server.ask(body={"text": "I agree"}).json()["error"] == "no context field 'target'"
    assert server.ask(body={"documents": []}).json() == {"documents": []}
    assert server.ask(body=b"\xef\xbb\xbf" + json.dumps(one).encode()).json() == many[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"text": "I agree"', "not JSON: Expecting ',' delimiter: line 1 column 19 (char 18)"),
        (b'{"text": "\xff"}', "not UTF-8 at byte 10"),
        (b"[" * 20_000, "not JSON of a usable size and depth"),
        (b'{"id": ' + b"1" * 6000 + b', "text": "x"}', "not JSON of a usable size and depth"),
        ([], 'expected an object with either "text" or "documents"'),
        ({"texts": ["x"]}, 'expected an object with either "text" or "documents"'),
        ({"text": "x", "documents": []}, 'expected an object with either "text" or "documents"'),
        ({"documents": {"text": "x"}}, 'expected "documents" to be an array, and the only key'),
        ({"documents": [], "id": 1}, 'expected "documents" to be an array, and the only key'),
        ({"documents": [{"text": "x"}] * 51}, "found 51 documents, expected at most 50"),
        ({"text": 5}, "not a text: expected text and context fields to be strings"),
        ({"text": "x", "context": {"target": None}}, "not a text: expected text and context fields to be strings"),
        ({"text": "x", "id": 1.5}, 'not a document: expected an object with "text", a string'),
        ({"text": "x" * 1001}, "too long: expected at most 1000 characters"),
        ({"text": "x", "context": {"target": "x" * 1001}}, "too long: expected at most 1000 characters"),
    ],
)
def test_a_request_of_another_form_is_refused(server: Served, body, message: str) -> None:
    reply = server.ask(body=body)
    assert reply.status == 422
    assert reply.json()["error"].startswith(message)


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/classify", "GET", 405), ("/classify", "PUT", 405), ("/health", "POST", 405), ("/", "GET", 404)],
)
def test_other_paths_and_methods_are_refused(server: Served, path: str, method: str, status: int) -> None:
    reply = server.ask(path, method=method)
    assert reply.status == status
    assert set(reply.json()) == {"error"}
    assert status != 405 or reply.headers["Allow"]


def test_a_body_may_be_as_large_as_the_limit(server: Served) -> None:
    document = json.dumps({"text": "x", "context": {"target": "tea"}}).encode()
    assert server.ask(body=document + b" " * (20_000 - len(document))).status == 200
    assert server.ask(body=document + b" " * (20_001 - len(document))).status == 413


def test_a_body_of_unstated_length_is_cut_off_while_it_comes(server: Served) -> None:
    with server.connect() as connection:
        connection.sendall(head())
        for _ in range(3):
            connection.sendall(b"1f40\r\n" + b" " * 8000 + b"\r\n")
        status, reply = read_reply(connection)
        assert (status, reply["error"]) == (413, "expected a body of at most 20000 bytes")
    with server.connect() as connection:  # and a whole one is read
        connection.sendall(head() + b'd\r\n{"text": "hi"\r\n1\r\n}\r\n0\r\n\r\n')
        assert read_reply(connection)[1]["error"] == "no context field 'target'"


def test_clients_that_trickle_are_not_waited_for(server: Served) -> None:
    with server.connect() as silent, server.connect() as slow_head, server.connect() as slow_body:
        begin = time.monotonic()
        slow_head.sendall(head(10)[:20])
        slow_body.sendall(head(10))
        while time.monotonic() - begin < 0.6:
            time.sleep(0.1)
            slow_head.sendall(b"X")
            slow_body.sendall(b" ")
        status, reply = read_reply(slow_body)
        assert (status, reply["error"]) == (408, "the body did not come within 1 s")
        assert closed_by_server(slow_body, 5)
        assert closed_by_server(slow_head, 5)
        assert closed_by_server(silent, 5)
        assert time.monotonic() - begin > 0.9
    assert server.ask(body={"text": "x"}).status == 200


def test_health_and_openapi_name_the_bundle(server: Served, answers: Bundle) -> None:
    health = server.ask("/health")
    assert health.status == 200
    assert health.json()["bundle"] == answers.info["sha256"]
    assert health.json()["labels"] == answers.labels
    assert health.json()["status"] == "ok"
    openapi = server.ask("/openapi.json").json()
    assert openapi["openapi"].startswith("3.1")
    schemas = openapi["components"]["schemas"]
    assert schemas["Answer"]["properties"]["label"]["enum"] == [*answers.labels, None]
    assert schemas["Document"]["required"] == ["text", "context"]
    assert schemas["Document"]["properties"]["text"]["maxLength"] == 1000
    named = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(openapi)))
    assert named == set(schemas)
    assert set(health.json()) == set(schemas["Health"]["required"])
    example = openapi["paths"]["/classify"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    for each in example.values():
        reply = server.ask(body=each["value"])
        assert reply.status == 200
        rows = reply.json().get("documents", [reply.json()])
        assert all(row["error"] is None for row in rows)
        assert all({*row} - {"id"} == set(schemas["Answer"]["required"]) for row in rows)


def test_the_page_needs_no_network(server: Served) -> None:
    page = server.ask("/docs")
    text = page.body.decode()
    assert page.status == 200
    assert page.headers.get_content_type() == "text/html"
    assert "POST /classify" in text
    assert not re.search(r"""(?:src|href|url|import)\s*[=(]\s*["']?(?:https?:)?//""", text)
    assert re.findall(r'href="([^"]*)"', text) == ["openapi.json"]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_the_page_runs_its_own_script_only(server: Served) -> None:
    import base64
    import hashlib

    page = server.ask("/docs")
    for name in ("script", "style"):
        content = re.search(f"<{name}>(.*?)</{name}>", page.body.decode(), re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in page.headers["Content-Security-Policy"]


def test_metrics_count_what_happened(stance_bundle: Path, answers: Bundle) -> None:
    texts = [f"I agree {i}" for i in range(20)]
    right = answers.classify(texts, [{"target": "tea"}] * 20)
    documents = [{"text": text, "context": {"target": "tea"}} for text in texts]
    with served(stance_bundle) as fresh:
        before = fresh.metrics()
        assert all(before["redct_documents_total", label] == 0 for label in answers.labels)
        fresh.ask(body={"documents": [*documents, {"text": ""}, 5]})
        fresh.ask(body=b"{")
        fresh.ask("/nothing/" + "x" * 50)
        found = fresh.metrics()
    shown = [label for label, off in zip(right.labels, right.abstained, strict=True) if not off]
    assert {label: found["redct_documents_total", label] for label in answers.labels} == {
        label: shown.count(label) for label in answers.labels
    }
    assert found["redct_documents_deferred_total",] == right.abstained.sum()
    assert found["redct_documents_errors_total", "not a document"] == 1
    assert found["redct_documents_errors_total", "no context field 'target'"] == 1
    assert found["redct_requests_total", "/classify", "200"] == 1
    assert found["redct_requests_total", "/classify", "422"] == 1
    assert found["redct_requests_total", "other", "404"] == 1
    assert found["redct_classify_seconds_count",] == 2
    assert found["redct_batch_documents_sum",] == 21
    assert found["redct_queue_documents",] == found["redct_held_bytes",] == 0
    assert found["redct_bundle", __version__, answers.info["sha256"]] == 1


@pytest.fixture(scope="module")
def guarded(bundle: Path):
    with served(bundle, "--token_env", "REDCT_TEST_TOKEN", env={"REDCT_TEST_TOKEN": TOKEN}) as running:
        yield running


@pytest.mark.parametrize("given", [None, "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \udce4"])
def test_without_the_token_nothing_is_answered(guarded: Served, given: str | None) -> None:
    headers = {"Authorization": given.encode("utf-8", "surrogateescape").decode("latin-1")} if given else {}
    for path, body in (("/classify", {"text": "x"}), ("/metrics", None)):
        reply = guarded.ask(path, body, **headers)
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == "Bearer"


def test_with_the_token_all_is_answered(guarded: Served) -> None:
    token = f"bearer {TOKEN}".encode().decode("latin-1")
    assert guarded.ask(body={"text": "I agree"}, Authorization=token).json()["error"] is None
    assert guarded.ask("/metrics", Authorization=token).status == 200
    assert all(guarded.ask(path).status == 200 for path in ("/health", "/openapi.json", "/docs"))
    assert TOKEN not in guarded.line
    openapi = guarded.ask("/openapi.json").json()
    assert openapi["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_a_refused_client_may_go_on_with_its_connection(server: Served) -> None:
    """What it had sent is read and dropped, so that it sees the answer instead of a reset."""
    body = b" " * 5_000_000
    with server.connect() as connection:
        sending = threading.Thread(target=connection.sendall, args=[head(len(body)) + body])
        sending.start()
        assert read_reply(connection)[0] == 413
        sending.join()
        connection.sendall(head(15) + b'{"text": "hi"} ')
        assert read_reply(connection)[0] == 200


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_when_told_to(bundle: Path, by: signal.Signals) -> None:
    with served(bundle) as running, running.connect() as idle:
        running.ask(body={"text": "4711"})
        code, said = running.stop(by)
        assert (code, said) == (0, "redct serve: stopped, everything accepted was answered\n")
        assert closed_by_server(idle, 1)


def test_a_diary_of_the_day_counts_what_was_answered(stance_bundle: Path, answers: Bundle, tmp_path: Path) -> None:
    texts = [f"I agree {i}" for i in range(30)] + [""]
    contexts = [{"target": "tea"}] * len(texts)
    folder = tmp_path / "summaries" / "new"
    for _ in range(2):  # the second server goes on where the first stopped
        with served(stance_bundle, "--summary", str(folder)) as running:
            running.ask(body={"documents": [{"text": t, "context": c} for t, c in zip(texts, contexts, strict=True)]})
            assert running.stop()[0] == 0
    (found,) = read_summaries(folder, answers.info["sha256"]).values()
    once = summarise(answers.classify(texts, contexts))
    assert found == add(once, once)
    assert (found["documents"], found["errors"]) == (60, 2)


def refuses(capsys, *args: str) -> str:
    assert main(["serve", *args]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_what_cannot_be_served_is_said_in_one_line(bundle: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    assert "expected a bundle" in refuses(capsys, str(tmp_path / "none"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "already in use" in refuses(capsys, str(bundle), "--port", port)
    assert "--no_token" in refuses(capsys, str(bundle), "--host", "0.0.0.0")
    assert "--no_token" in refuses(capsys, str(bundle), "--host", "::")
    assert "--host 203.0.113.1 --port 0:" in refuses(
        capsys, str(bundle), "--host", "203.0.113.1", "--port", "0", "--no_token", "true"
    )
    monkeypatch.setenv("REDCT_EMPTY", " ")
    assert "REDCT_EMPTY" in refuses(capsys, str(bundle), "--token_env", "REDCT_EMPTY")
    assert "--port: found 70000" in refuses(capsys, str(bundle), "--port", "70000")
    (tmp_path / "2026-01-01.json").write_text('{"bundle": "another", "summary": {}}')
    assert "summary of bundle another" in refuses(capsys, str(bundle), "--summary", str(tmp_path))
    assert "Not a directory" in refuses(capsys, str(bundle), "--summary", str(bundle / "model.onnx" / "x"))
    assert "--batch: found 0" in refuses(capsys, str(bundle), "--batch", "0")
    assert "--queue 10" in refuses(capsys, str(bundle), "--queue", "10")
    assert "--memory 1" in refuses(capsys, str(bundle), "--memory", "1", "--max_body", "2000000")


def test_help_says_what_every_option_does(capsys) -> None:
    from dataclasses import fields

    from redct.edge.server.options import Options

    with pytest.raises(SystemExit) as stop:
        main(["serve", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for field in fields(Options):
        assert re.search(rf"--{field.name} \S+\s+[A-Z]", shown), field.name
