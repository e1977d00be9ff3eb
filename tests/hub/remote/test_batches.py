import hashlib
import json

import pytest
from servers.batches import Batches
from servers.chat import ApiError, Chat
from servers.labeling import TASK, documents, label, labeler, rows
from servers.openai_like import OpenAILike

from redct.errors import RedctError
from redct.hub.remote.batches import BatchRun
from redct.hub.remote.journal import usage_of
from redct.task import Prompt, Task

GIVEN = documents(60)


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-toy")


def words(prompt: str) -> dict[str, float]:
    """A distribution that is each document's own."""
    share = 0.4 + 0.5 * hashlib.sha256(prompt.encode()).digest()[0] / 255
    return {"agree": share, "disagree": 1 - share}


@pytest.fixture
def server():
    chat = Chat(words)
    with OpenAILike(chat, batches=Batches(chat)) as server:
        yield server


def run(server, folder, task=TASK, given=GIVEN, **options) -> dict[str, dict]:
    label(labeler(server.url, batch=True, batch_wait=0.01, **options), given, folder, task)
    return rows(folder)


def batched(server) -> list[str]:
    """The custom ids of all requests of all batches."""
    files = [server.batches.file(batch["input_file_id"])[1] for batch in server.batches.batches.values()]
    return [json.loads(line)["custom_id"] for file in files for line in file.splitlines()]


@pytest.fixture(scope="module")
def at_once(tmp_path_factory) -> dict[str, dict]:
    """The rows without batches."""
    folder = tmp_path_factory.mktemp("at_once")
    with pytest.MonkeyPatch.context() as patch, OpenAILike(Chat(words)) as server:
        patch.setenv("OPENAI_API_KEY", "sk-toy")
        label(labeler(server.url), GIVEN, folder)
    return rows(folder)


def test_batches_give_the_same_rows_at_half_the_price(server, at_once, tmp_path) -> None:
    assert run(server, tmp_path) == at_once  # the server shuffles its results
    usage = usage_of(tmp_path)
    first = at_once["d0"]["completion_tokens"]  # is asked about at once
    assert usage["full"].completion == first
    assert usage["half"].completion == sum(row["completion_tokens"] for row in at_once.values()) - first
    assert len(batched(server)) == 59


def test_what_is_missing_or_expired_or_failed_is_submitted_again(server, at_once, tmp_path) -> None:
    tries: dict[str, int] = {}

    def fate(custom_id: str) -> str:
        tries[custom_id] = tries.get(custom_id, 0) + 1
        number = int(custom_id, 16)
        return ["answered", "expired", "missing", "failed"][number % 4] if tries[custom_id] == 1 else "answered"

    server.batches.fate = fate
    assert run(server, tmp_path) == at_once
    assert len(server.batches.batches) == 2
    assert len(batched(server)) == 59 + sum(int(custom_id, 16) % 4 != 0 for custom_id in tries)


def test_what_is_never_answered_becomes_an_error(server, tmp_path) -> None:
    server.batches.fate = lambda custom_id: "failed" if int(custom_id, 16) % 8 == 0 else "answered"
    found = run(server, tmp_path)
    failed = [row["error"] for row in found.values() if row["error"]]
    assert len(found) == 60
    assert len(failed) == sum(int(custom_id, 16) % 8 == 0 for custom_id in set(batched(server))) > 0
    assert set(failed) == {"unreachable: no reply in 3 batches in a row"}


def test_nothing_answered_at_all_stops_the_run(server, at_once, tmp_path) -> None:
    server.batches.fate = lambda custom_id: "expired"
    with pytest.raises(RedctError, match="no reply in 3 rounds"):
        run(server, tmp_path)
    assert len(rows(tmp_path)) <= 1
    server.batches.fate = lambda custom_id: "answered"
    assert run(server, tmp_path) == at_once


def test_a_refused_batch_is_named_and_submitted_anew_later(server, at_once, tmp_path) -> None:
    server.batches.refusal = {"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None}
    with pytest.raises(RedctError, match="failed: Enqueued token limit reached"):
        run(server, tmp_path)
    server.batches.refusal = None
    assert run(server, tmp_path) == at_once


def test_a_rationale_takes_two_rounds(server, tmp_path) -> None:
    found = run(server, tmp_path, Task(labels=TASK.labels, prompt=Prompt(chain_of_thought=True)))
    assert len(server.batches.batches) == 2
    assert all(row["rationale"] and row["label"] for row in found.values())


def test_large_requests_are_cut_into_several_batches(server, at_once, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("redct.hub.remote.batches.REQUESTS_PER_BATCH", 20)
    assert run(server, tmp_path) == at_once
    assert len(server.batches.batches) == 3
    monkeypatch.setattr("redct.hub.remote.batches.BYTES_PER_BATCH", 5000)
    assert run(server, tmp_path / "bytes") == at_once
    sizes = [len(server.batches.file(batch["input_file_id"])[1]) for batch in server.batches.batches.values()]
    assert max(sizes[3:]) <= 5000


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of the program runs after it."""


@pytest.mark.parametrize("moment", ["upload", "create", "note", "wait", "fetch"])
def test_a_kill_at_any_step_buys_nothing_twice(moment, server, at_once, tmp_path, monkeypatch) -> None:
    def kill(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if moment == "upload":
            patch.setattr("openai.resources.files.Files.create", kill)
        elif moment == "create":
            patch.setattr("openai.resources.batches.Batches.create", kill)
        elif moment == "note":
            patch.setattr(BatchRun, "_note", kill)
        elif moment == "wait":
            patch.setattr("redct.hub.remote.batches.time.sleep", kill)
        else:
            patch.setattr("redct.hub.remote.journal.Journal.insert", kill)
        with pytest.raises(Killed):
            run(server, tmp_path)
    assert run(server, tmp_path) == at_once
    assert len(batched(server)) == len(set(batched(server))) == 59


def test_an_answer_that_got_lost_does_not_make_a_batch_twice(server, at_once, tmp_path) -> None:
    create, lost = server.batches.create, []

    def forgetful(body):
        batch = create(body)
        if not lost:
            lost.append(batch)
            raise ApiError(500, "The server had an error while processing your request.")
        return batch

    server.batches.create = forgetful
    assert run(server, tmp_path) == at_once
    assert len(server.batches.batches) == len(lost) == 1


def test_line_separators_within_a_reply_end_no_line(server, tmp_path) -> None:
    server.chat.words = lambda prompt: {"agree\u2028\x85": 0.7, "disagree": 0.3}
    found = run(server, tmp_path)
    assert {row["reply"] for row in found.values()} == {"agree\u2028\x85"}
    assert len(batched(server)) == 59


def test_a_server_without_batches_is_named(tmp_path) -> None:
    with OpenAILike(Chat(words)) as server, pytest.raises(RedctError, match=r"Batch API: .*404"):
        run(server, tmp_path)


def test_a_rejected_request_is_not_submitted_again(server, tmp_path) -> None:
    reply = server.chat.reply

    def picky(body):
        if body["messages"][-1]["content"].endswith("text 30"):
            raise ApiError(400, "too long")
        return reply(body)

    server.chat.reply = picky
    found = run(server, tmp_path)
    assert {name: row["error"] for name, row in found.items() if row["error"]} == {
        "d30": "rejected: HTTP 400: too long"
    }
    assert len(batched(server)) == 59
