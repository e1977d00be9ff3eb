"""How fast an endpoint is asked: limits, waiting when it says so, and giving up when nothing comes back."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from redct.errors import InputError

FIRST_WAIT = 0.5  # seconds, doubled from failure to failure
LONGEST_WAIT = 30.0
CATCH_UP = 0.1  # seconds: what was missed within them, since the program was busy, may be made up for


@dataclass(frozen=True)
class Limits:
    """What the endpoint may be asked to bear.

    Args:
        in_flight: Most requests at a time, on each process.
        requests_per_minute: Most requests a minute, over all processes; no limit by default.
        tokens_per_minute: Most tokens a minute, prompts and replies, over all processes; no limit by default.
        timeout: Seconds until a request without a complete reply is given up and repeated.
        retries: How often a request that failed is repeated before its document becomes an error.
        patience: Seconds without any reply after which the run stops.
    """

    in_flight: int = 32
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 60.0
    retries: int = 5
    patience: float = 600.0

    def __post_init__(self) -> None:
        """Checks the ranges.

        Raises:
            InputError: When a value makes no sense.
        """
        for name in ("in_flight", "requests_per_minute", "tokens_per_minute", "timeout", "patience"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"labeler.limits.{name}: found {value}, expected more than 0")
        if self.retries < 0:
            raise InputError(f"labeler.limits.retries: found {self.retries}, expected 0 or more")


class Rate:
    """Spaces out what may happen so often a minute, without bursts: endpoints measure over shorter times than a minute.

    This is the generic cell rate algorithm (ITU-T I.371) with a tolerance of `CATCH_UP`.

    Args:
        per_minute: How much may happen a minute.
    """

    def __init__(self, per_minute: float) -> None:
        self._per_second = per_minute / 60
        self._free_at = float("-inf")

    async def wait(self, amount: float) -> None:
        """Waits until so much may happen."""
        now = asyncio.get_running_loop().time()
        start = max(self._free_at, now - CATCH_UP)
        self._free_at = start + amount / self._per_second
        if start > now:
            await asyncio.sleep(start - now)


class Pace:
    """Lets requests through as fast as the limits, and the endpoint's own word, allow.

    When the endpoint says that it is asked too much, nothing is sent for as long as it wants; then one request
    goes alone, and with every reply more at a time, as in TCP's congestion control (Jacobson 1988): a crowd of
    requests that are all refused costs time on both sides.

    Args:
        limits: The limits.
        processes: Number of processes that share the limits a minute.
    """

    def __init__(self, limits: Limits, processes: int = 1) -> None:
        self._most = float(limits.in_flight)
        self._window, self._threshold = self._most, self._most
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed_until = float("-inf")
        self._refusals = 0  # in a row
        self._round = 0  # requests let through since the last refusal
        requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
        self._requests = Rate(requests / processes) if requests else None
        self._tokens = Rate(tokens / processes) if tokens else None

    @asynccontextmanager
    async def turn(self, tokens: float, again: bool = False) -> AsyncIterator[int]:
        """Waits until a request may be sent, and counts it as running meanwhile.

        Args:
            tokens: How many tokens it takes, about.
            again: Whether it was sent before; then it goes before others.

        Yields:
            The request's round, for `refused`.
        """
        if self._tokens is not None:
            await self._tokens.wait(tokens)
        if self._requests is not None:
            await self._requests.wait(1)
        await self._enter(again)
        try:
            yield self._round
        finally:
            self._leave()

    async def _enter(self, first: bool) -> None:
        ticket = asyncio.get_running_loop().create_future()
        self._waiting.insert(0 if first else len(self._waiting), ticket)
        self._admit()
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():  # admitted, and cancelled before it could go on
                self._leave()
            raise

    def _leave(self) -> None:
        self._running -= 1
        self._admit()

    def _admit(self) -> None:
        if asyncio.get_running_loop().time() < self._closed_until:
            return
        while self._waiting and self._running < int(self._window):
            ticket = self._waiting.popleft()
            if not ticket.done():
                self._running += 1
                ticket.set_result(None)

    def replied(self) -> None:
        """Takes note of a reply: one more request at a time may follow."""
        self._refusals = 0
        if self._window < self._most:
            self._window += 1 if self._window < self._threshold else 1 / self._window
            self._window = min(self._window, self._most)

    def refused(self, asked_to_wait: float | None, round_: int) -> None:
        """Takes note that the endpoint is asked too much.

        Requests that were under way together are refused together: they count as one refusal.

        Args:
            asked_to_wait: Seconds that the endpoint wants to be left alone, where it says so.
            round_: The refused request's round.
        """
        wait = asked_to_wait or 0.0
        if round_ == self._round:
            self._round += 1
            self._refusals += 1
            wait = max(wait, backoff(self._refusals))
            self._threshold, self._window = max(self._window / 2, 1.0), 1.0
        loop = asyncio.get_running_loop()
        if loop.time() + wait > self._closed_until:
            self._closed_until = loop.time() + wait
            loop.call_at(self._closed_until, self._admit)


def backoff(failures: int) -> float:
    """Returns the seconds to wait after so many failures in a row: doubling, with jitter, up to `LONGEST_WAIT`."""
    longest = min(FIRST_WAIT * 2.0 ** (failures - 1), LONGEST_WAIT)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - nothing secret


def asked_to_wait(headers: Mapping[str, str]) -> float | None:
    """Reads how long an endpoint wants to be left alone, in seconds; None where it does not say, or not clearly.

    Args:
        headers: The response's headers, names in small letters.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return seconds if 0 <= seconds < float("inf") else None
    try:
        moment = parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment.timestamp() - time.time(), 0.0)
