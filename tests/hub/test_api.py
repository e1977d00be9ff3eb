"""What the remote labeler asks a server, what it keeps of the replies, and what ends a run."""

import json
import os
import signal
import threading
import time
from collections import Counter, deque

import numpy as np
import pytest
from servers.chat import Chat
from servers.labeling import TASK, WORDS, asked, check, documents, label, labeler, rows
from servers.openai_like import OpenAILike
from servers.proxy import (
    delay,
    hang,
    rewrite_choice,
)

from redct.errors import InputError, RedctError
from redct.hub.remote.journal import usage_of
from redct.hub.remote.pacing import Limits
from redct.hub.remote.prices import SpentError
from redct.task import Prompt, Task

QUICK = Limits(in_flight=16, timeout=1.5, retries=3, patience=20)


@pytest.fixture(autouse=True)
def key(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-toy")


def test_probabilities_of_variants_are_summed(proxy, tmp_path) -> None:
    given = documents(50)
    label(labeler(proxy.url), given, tmp_path)
    found = rows(tmp_path)
    check(found, given)
    for row in found.values():
        assert np.exp(row["logprobs"][:2]) == pytest.approx([0.7, 0.2], abs=1e-6)
        assert row["unlabeled_mass"] == pytest.approx(0.1, abs=1e-6)
        assert (row["label"], row["source"], row["reply"]) == ("agree", "logprobs", "agree")
    usage = json.loads((tmp_path / "manifest.json").read_text())["usage"]
    assert usage["completion_tokens"] == sum(row["completion_tokens"] for row in found.values()) == 50
    assert set(asked(proxy).values()) == {1}


def test_the_limit_of_cost_holds_with_many_under_way(proxy, tmp_path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text("date: 2026-01-01\nmodels: {toy: {prompt: 1000, completion: 2000}}\n")
    proxy.plan = lambda request: delay(0.02)
    paid = labeler(proxy.url, prices=prices, limits=Limits(in_flight=16))
    paid.max_cost = 3.0
    with pytest.raises(SpentError, match="max_cost"):
        label(paid, documents(200), tmp_path / "labels")
    spent = paid.facts()["usage"]["cost_usd"]
    each = (50 * 1000 + 2000) / 1e6
    assert 3.0 - 5 * each < spent <= 3.0  # a request is reserved at a token a byte
    assert len(proxy.requests) == round(spent / each, 0) or len(proxy.requests) == len(asked(proxy))
    richer = labeler(proxy.url, prices=prices)
    richer.max_cost = 50.0
    label(richer, documents(200), tmp_path / "labels")
    assert set(asked(proxy).values()) == {1}
    assert json.loads((tmp_path / "labels" / "manifest.json").read_text())["usage"]["cost_usd"] < 50


def test_limits_a_minute_are_kept(proxy, tmp_path) -> None:
    start = time.monotonic()
    label(labeler(proxy.url, limits=Limits(requests_per_minute=1200)), documents(60), tmp_path)
    assert time.monotonic() - start > 58 / 20
    # A busy machine hands requests on in bunches; that they are sent evenly is tested with a simulated clock.
    moments = sorted(request.at for request in proxy.requests)
    for first in range(len(moments)):
        assert sum(moments[first] <= moment < moments[first] + 1 for moment in moments) <= 2 * 20


def test_replies_that_are_journaled_are_not_asked_for_again(proxy, tmp_path) -> None:
    label(labeler(proxy.url), documents(50), tmp_path)
    for part in tmp_path.glob("part-*"):
        part.unlink()
    label(labeler("http://127.0.0.1:9"), documents(50), tmp_path)  # nobody is there to ask
    check(rows(tmp_path), documents(50))
    assert set(asked(proxy).values()) == {1}


@pytest.mark.parametrize("chat", [Chat(lambda p: WORDS, honours_n=False), Chat(lambda p: WORDS, refused=["n"])])
def test_samples_are_gathered_however_few_come_at_a_time(chat, tmp_path) -> None:
    with OpenAILike(chat) as server:
        label(labeler(server.url, distribution="samples", samples=5), documents(20), tmp_path)
    found = rows(tmp_path)
    assert {row["source"] for row in found.values()} == {"samples"}
    for row in found.values():
        replies = [reply.strip().lower() for reply in row["reply"].split("\n")]
        assert len(replies) == 5
        said = Counter(reply for reply in replies if reply in TASK.labels)
        assert row["unlabeled_mass"] == pytest.approx(1 - said.total() / 5)
        assert np.exp(row["logprobs"]) == pytest.approx([said[name] / 5 for name in TASK.labels], abs=1e-5)


def test_without_log_probabilities_auto_takes_samples_and_says_so(tmp_path) -> None:
    with OpenAILike(Chat(lambda p: WORDS, logprobs=False)) as server:
        label(labeler(server.url, samples=4), documents(20), tmp_path)
        assert {row["source"] for row in rows(tmp_path).values()} == {"samples"}
        n = len(server.bodies)
        label(labeler(server.url, samples=4), documents(30), tmp_path)  # it is known now
        assert len(server.bodies) == n + 10
        with pytest.raises(InputError, match=r"labeler\.distribution: the endpoint gives no log-probabilities"):
            label(labeler(server.url, distribution="logprobs"), documents(20), tmp_path / "other")


def test_an_endpoint_that_rejects_fields_is_asked_without_them(tmp_path) -> None:
    chat = Chat(lambda p: WORDS, refused=["max_tokens", "temperature"], most=5)
    with OpenAILike(chat) as server:
        label(labeler(server.url), documents(20), tmp_path)
        assert len(server.bodies) == 23
        assert server.bodies[-1]["top_logprobs"] == 5
    assert {row["error"] for row in rows(tmp_path).values()} == {None}


def test_a_rationale_is_asked_for_first_and_both_are_journaled(proxy, tmp_path) -> None:
    task = Task(labels=TASK.labels, prompt=Prompt(chain_of_thought=True))
    label(labeler(proxy.url), documents(10), tmp_path, task)
    assert len(proxy.requests) == 20
    assert all(row["rationale"] == "agree" and row["label"] == "agree" for row in rows(tmp_path).values())


def test_an_address_of_another_form_is_refused() -> None:
    with pytest.raises(InputError, match=r"labeler\.base_url: found 'localhost:8000/v1', expected http://"):
        labeler("localhost:8000")


def test_labels_alike_are_answered_by_letter(tmp_path) -> None:
    task = Task(labels=["agree", "agree strongly", "disagree"])
    with OpenAILike(Chat(lambda p: {"B": 0.7, " b": 0.1, "A": 0.15, "C": 0.05})) as server:
        label(labeler(server.url), documents(5), tmp_path, task)
        with pytest.raises(InputError, match=r"labeler\.answer"):
            label(labeler(server.url, answer="label"), documents(5), tmp_path / "x", task)
        assert len(server.bodies) == 5
    for row in rows(tmp_path).values():
        assert row["label"] == "agree strongly"
        assert np.exp(row["logprobs"]) == pytest.approx([0.15, 0.8, 0.05], abs=1e-6)


def test_a_run_that_is_interrupted_keeps_what_came(proxy, tmp_path) -> None:
    start = [0.0]

    def plan(request):
        if len(proxy.requests) == 48:  # eight hang: all others have been answered
            start[0] = time.monotonic()
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        return hang(20) if len(proxy.requests) > 40 else None

    proxy.plan = plan
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        label(labeler(proxy.url, limits=Limits(in_flight=8)), documents(100), tmp_path)
    assert time.monotonic() - start[0] < 10
    assert usage_of(tmp_path)["full"].completion == 40
    proxy.plan = lambda request: None
    label(labeler(proxy.url), documents(100), tmp_path)
    check(rows(tmp_path), documents(100))
    assert sum(asked(proxy).values()) <= 100 + 8


def test_a_full_disk_stops_the_run_in_one_line(proxy, tmp_path, monkeypatch) -> None:
    from redct.hub.remote.journal import Journal

    opened = Journal.__init__

    def small(self, *args) -> None:
        opened(self, *args)
        self.connection.execute("PRAGMA max_page_count = 12")

    monkeypatch.setattr(Journal, "__init__", small)
    with pytest.raises(RedctError, match=r"journal-0\.sqlite: cannot be written: database or disk is full"):
        label(labeler(proxy.url, limits=Limits(in_flight=4)), documents(200), tmp_path)
    monkeypatch.undo()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-toy")
    label(labeler(proxy.url), documents(200), tmp_path)
    check(rows(tmp_path), documents(200))
    assert sum(asked(proxy).values()) <= 200 + 8


def test_documents_that_cannot_be_read_stop_the_run(proxy, tmp_path, monkeypatch) -> None:
    from redct.hub.api import ApiLabeler

    def torn(self):
        yield from documents(20)
        raise InputError("train.jsonl, row 21: not valid JSON")

    monkeypatch.setattr(ApiLabeler, "my_share", lambda self: (self.store.begin(self.fingerprint(), []), torn(self))[1])
    with pytest.raises(InputError, match="row 21"):
        label(labeler(proxy.url), documents(30), tmp_path)
    assert usage_of(tmp_path)["full"].completion == 20


def test_errors_are_asked_about_again_when_that_is_wanted(proxy, tmp_path) -> None:
    refusing = rewrite_choice(content=None, refusal="I cannot help with that.", logprobs=None)
    proxy.plan = lambda request: refusing if request.content.endswith(("3", "7")) else None
    label(labeler(proxy.url), documents(12), tmp_path)
    assert {name for name, row in rows(tmp_path).items() if row["error"]} == {"d3", "d7"}
    proxy.plan, spent = deque(), usage_of(tmp_path)["full"]
    label(labeler(proxy.url), documents(12), tmp_path)
    assert sum(asked(proxy).values()) == 12  # an error row is a row
    again = labeler(proxy.url)
    again.retry_errors = True
    label(again, documents(12), tmp_path)
    assert all(row["label"] == "agree" for row in rows(tmp_path).values())
    assert sum(asked(proxy).values()) == 14
    assert usage_of(tmp_path)["full"].prompt > spent.prompt  # what the refusals cost still counts
