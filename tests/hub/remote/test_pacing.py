import asyncio
import selectors
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from redct.errors import InputError
from redct.hub.remote.pacing import LONGEST_WAIT, Limits, Pace, asked_to_wait, backoff


class Simulated(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time: its clock jumps to the next moment at which something is due."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: Simulated) -> None:
        super().__init__()
        self.loop = loop

    def select(self, timeout=None):
        self.loop.now += timeout or 0
        return super().select(0)


def simulated(work):
    with asyncio.Runner(loop_factory=Simulated) as runner:
        return runner.run(work)


async def many(pace: Pace, n: int, answer, tokens: float = 10.0) -> list[float]:
    """Sends requests, repeating refused ones, and returns when each was sent."""
    sent: list[float] = []
    loop = asyncio.get_running_loop()

    async def one() -> None:
        for attempt in range(1000):
            async with pace.turn(tokens, again=attempt > 0) as round_:
                sent.append(loop.time())
                wait = await answer(loop.time())
                if wait is None:
                    pace.replied()
                    return
                pace.refused(wait, round_)

    await asyncio.gather(*(one() for _ in range(n)))
    return sent


async def fine(now: float) -> None:
    await asyncio.sleep(0.3)


@pytest.mark.parametrize("per_minute", [30, 1500])
@pytest.mark.parametrize("processes", [1, 2])
def test_no_minute_has_more_requests_than_allowed(per_minute, processes) -> None:
    async def work() -> list[float]:
        return await many(Pace(Limits(in_flight=500, requests_per_minute=per_minute), processes), per_minute * 2, fine)

    sent = sorted(simulated(work()))
    allowed = per_minute / processes
    assert sent[-1] == pytest.approx(60 * 2 * processes, rel=0.05)  # and no fewer either
    for start in sent:
        assert sum(start <= moment < start + 60 for moment in sent) <= allowed * 1.002 + 1


def test_no_minute_has_more_tokens_than_allowed_and_large_requests_pass() -> None:
    async def work() -> list[float]:
        pace = Pace(Limits(in_flight=100, tokens_per_minute=1000))
        return await many(pace, 30, fine, tokens=100.0) + await many(pace, 2, fine, tokens=5000.0)

    sent = simulated(work())
    assert sent[:30] == pytest.approx([6 * n for n in range(30)], abs=0.2)
    assert sent[30:] == pytest.approx([180, 480], abs=0.2)


def test_no_more_are_under_way_than_allowed() -> None:
    under_way, most = [0], [0]

    async def slow(now: float) -> None:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        await asyncio.sleep(1)
        under_way[0] -= 1

    async def work() -> list[float]:
        return await many(Pace(Limits(in_flight=7)), 70, slow)

    assert max(simulated(work())) == pytest.approx(9)
    assert most[0] == 7


@pytest.mark.parametrize("wait", [5.0, 0.0])
def test_nothing_is_sent_while_the_endpoint_wants_to_be_left_alone(wait) -> None:
    refused: list[float] = []

    async def answer(now: float) -> float | None:
        await asyncio.sleep(0.1)
        if 1 < now < 4:
            refused.append(now)
            return wait
        return None

    async def work() -> list[float]:
        return await many(Pace(Limits(in_flight=20)), 600, answer)

    sent = simulated(work())
    assert len(sent) == 600 + len(refused)
    assert len(refused) <= 20 + 8  # those under way, then one at a time
    if wait:
        assert not any(refused[-1] + 0.1 < moment < refused[0] + 0.1 + wait for moment in sent)
    # After the storm the pace comes back: 600 requests of 0.1 s, 20 at a time, take 3 s without one.
    assert max(sent) < 20


def test_the_window_finds_what_the_endpoint_bears() -> None:
    under_way = [0]

    async def answer(now: float) -> float | None:
        under_way[0] += 1
        too_many = under_way[0] > 10
        await asyncio.sleep(0 if too_many else 1)
        under_way[0] -= 1
        return 0.5 if too_many else None

    async def work() -> list[float]:
        return await many(Pace(Limits(in_flight=64)), 2000, answer)

    sent = simulated(work())
    assert len(sent) < 1.2 * 2000
    assert max(sent) < 2 * 200  # at least half the throughput that there is


def test_a_request_that_is_cancelled_frees_its_place() -> None:
    async def work() -> None:
        pace = Pace(Limits(in_flight=1))

        async def hold() -> None:
            async with pace.turn(1):
                await asyncio.sleep(100)

        holding, waiting = asyncio.create_task(hold()), asyncio.create_task(hold())
        await asyncio.sleep(1)
        waiting.cancel()
        holding.cancel()
        await asyncio.sleep(0)
        await asyncio.wait_for(many(pace, 3, fine), 5)

    simulated(work())


def test_back_off_doubles_with_jitter_up_to_a_limit() -> None:
    for failures in range(1, 12):
        longest = min(0.5 * 2 ** (failures - 1), LONGEST_WAIT)
        waits = [backoff(failures) for _ in range(200)]
        assert longest / 2 <= min(waits) < max(waits) <= longest


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "1"}, 1), ({"retry-after": "0"}, 0), ({"retry-after": " 2.5 "}, 2.5), ({}, None),
        ({"retry-after": "soon"}, None), ({"retry-after": "-3"}, None), ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None), ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9), ({"retry-after": ""}, None),
    ],
)  # fmt: skip
def test_retry_after(headers, seconds) -> None:
    assert asked_to_wait(headers) == seconds


def test_retry_after_as_a_date() -> None:
    moment = datetime.now(UTC) + timedelta(seconds=90)
    assert asked_to_wait({"retry-after": format_datetime(moment, usegmt=True)}) == pytest.approx(90, abs=2)
    assert asked_to_wait({"retry-after": moment.strftime("%a, %d %b %Y %H:%M:%S")}) == pytest.approx(90, abs=2)
    assert asked_to_wait({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


@pytest.mark.parametrize(("name", "value"), [("in_flight", 0), ("timeout", -1), ("retries", -1), ("patience", 0)])
def test_limits_that_make_no_sense_are_named(name, value) -> None:
    with pytest.raises(InputError, match=rf"labeler\.limits\.{name}: found {value}"):
        Limits(**{name: value})
