"""Who gets in where others reach the page."""

import asyncio
import time

import pytest
from starlette.exceptions import HTTPException

from redct.experts.page.guard import MOST_WAITING, SESSIONS, Guard


def guard() -> Guard:
    return Guard(8000, local=False, passphrase="correct horse é")


def test_wrong_tries_wait_and_those_of_others_do_not() -> None:
    async def tries() -> tuple[float, float]:
        door, begin = guard(), time.monotonic()
        assert await door.open_by_passphrase("wrong", "10.0.0.1") is None
        slow = asyncio.create_task(door.open_by_passphrase("correct horse é", "10.0.0.1"))
        assert await door.open_by_passphrase("correct horse é", "10.0.0.2") is not None
        assert not slow.done(), "even the right one waits after a wrong one: else the pause would tell them apart"
        other = time.monotonic() - begin
        assert await slow is not None
        return other, time.monotonic() - begin

    other, own = asyncio.run(tries())
    assert other < own
    assert own >= 0.5


def test_too_many_tries_at_once_are_refused() -> None:
    async def tries() -> list[object]:
        door = guard()
        waiting = [asyncio.create_task(door.open_by_passphrase("wrong", "10.0.0.1")) for _ in range(MOST_WAITING + 3)]
        await asyncio.sleep(0.1)
        refused = [task.exception() for task in waiting if task.done() and task.exception()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await door.open_by_passphrase("correct horse é", "10.0.0.2") is not None
        return refused

    refused = asyncio.run(tries())
    assert [error.status_code for error in refused if isinstance(error, HTTPException)] == [429] * 3


@pytest.mark.parametrize("token", ["", "wrong", "é"])
def test_only_the_token_opens(token: str) -> None:
    door = Guard(8000, local=True)
    assert door.token
    assert door.open_by_token(token) is None
    assert door.open_by_token(door.token)
    assert guard().open_by_token("") is None, "with a passphrase there is no token"


def test_a_session_ends_when_very_many_others_began() -> None:
    door = Guard(8000, local=True)
    first = door.open_by_token(door.token or "")
    assert door.session({door.cookie: first or ""}) is not None
    for _ in range(SESSIONS):
        door.open_by_token(door.token or "")
    assert door.session({door.cookie: first or ""}) is None
    assert door.session({door.cookie: ""}) is None
    assert door.session({}) is None
