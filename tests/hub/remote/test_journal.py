import asyncio
import json
import os
import signal
import time

import pytest

from redct.errors import InputError
from redct.hub.remote.exchange import Reply, Usage
from redct.hub.remote.journal import Journal, usage_of


def reply(text: str) -> Reply:
    return Reply([text], "stop", None, [("a", -0.1), ("\udcc3", -2.0)], Usage(10, 2, 1))


def test_replies_come_back_from_the_files_of_all_processes(tmp_path) -> None:
    folder = tmp_path / "a folder, with % and ?"
    with Journal(folder, rank=1) as journal:

        async def work() -> None:
            await asyncio.gather(*(journal.add(f"d{n}", p, reply(f"{n} {p}")) for n in range(50) for p in "ab"))

        asyncio.run(work())
    with Journal(folder) as journal:
        assert journal.find("d7") == {p: reply(f"7 {p}") for p in "ab"}
        assert journal.find("d50") == {}
    assert usage_of(folder) == {"full": Usage(1000, 200, 100), "half": Usage()}


def test_what_is_written_survives_a_kill(tmp_path) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        journal = Journal(tmp_path)

        async def work() -> None:
            async def one(n: int) -> None:
                await journal.add(f"d{n}", "label", reply(str(n)))
                os.write(write, f"{n}\n".encode())

            for start in range(0, 10**6, 16):
                await asyncio.gather(*(one(n) for n in range(start, start + 16)))

        asyncio.run(work())
    os.close(write)
    first = os.read(read, 1)
    time.sleep(0.3)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read) as stream:
        told = (first.decode() + stream.read()).split("\n")[:-1]  # the last line may be cut
    assert told
    with Journal(tmp_path) as journal:
        assert all(journal.find(f"d{n}") == {"label": reply(n)} for n in told)


def test_a_cancelled_worker_still_has_its_reply_written(tmp_path) -> None:
    with Journal(tmp_path) as journal:

        async def work() -> None:
            tasks = [asyncio.create_task(journal.add(f"d{n}", "label", reply("x"))) for n in range(5)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await journal.flush()

        asyncio.run(work())
    assert usage_of(tmp_path)["full"].prompt == 50


def test_facts_stay_as_first_noted(tmp_path) -> None:
    with Journal(tmp_path) as journal:
        assert journal.fact("distribution") is None
        assert journal.fact("distribution", "logprobs") == "logprobs"
        assert journal.fact("distribution", "samples") == "logprobs"
    with Journal(tmp_path, rank=1) as journal:
        assert journal.fact("distribution") == "logprobs"


def test_another_process_that_only_just_makes_its_journal_does_no_harm(tmp_path) -> None:
    (tmp_path / "journal-1.sqlite").touch()
    with Journal(tmp_path) as journal:
        assert journal.find("d0") == {}
    assert usage_of(tmp_path) == {"full": Usage(), "half": Usage()}


def test_a_file_that_is_no_journal_is_named(tmp_path) -> None:
    (tmp_path / "journal-0.sqlite").write_text("not a database, by far, " * 100)
    with pytest.raises(InputError, match=r"journal-0\.sqlite: cannot be used .* expected a journal"):
        Journal(tmp_path)


def test_replies_are_plain_json(tmp_path) -> None:
    assert json.loads(reply("x").to_json())["usage"] == {"prompt": 10, "completion": 2, "cached": 1}
