"""How fast an endpoint is asked: limits, waiting when it says so, and giving up when nothing comes back."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from aiolimiter import AsyncLimiter

from redct.errors import InputError

FIRST_WAIT = 0.5  # seconds, doubled from failure to failure
LONGEST_WAIT = 30.0


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
            if value is not None and value <= 0:
                raise InputError(f"labeler.limits.{name}: found {value}, expected more than 0")
        if self.retries < 0:
            raise InputError(f"labeler.limits.retries: found {self.retries}, expected 0 or more")


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
        self._closed_until = 0.0
        self._refusals = 0
        self._moved = asyncio.Condition()
        # A second's share at once, not a minute's: endpoints measure over shorter times than they state.
        requests = (limits.requests_per_minute or 0) / processes / 60
        self._requests = AsyncLimiter(max(requests, 1), max(requests, 1) / requests) if requests else None
        tokens = (limits.tokens_per_minute or 0) / processes
        self._tokens = AsyncLimiter(tokens, 60) if tokens else None
        self.last_reply = time.monotonic()

    @asynccontextmanager
    async def turn(self, tokens: float) -> AsyncIterator[None]:
        """Waits until a request of about so many tokens may be sent, and counts it as running meanwhile."""
        if self._tokens is not None:
            await self._tokens.acquire(min(tokens, self._tokens.max_rate))
        if self._requests is not None:
            await self._requests.acquire()
        await self._enter()
        try:
            yield
        finally:
            self._running -= 1
            await self._wake()

    async def _enter(self) -> None:
        async with self._moved:
            while (wait := self._closed_until - time.monotonic()) > 0 or self._running >= int(self._window):
                try:
                    await asyncio.wait_for(self._moved.wait(), max(wait, 0.0) + 0.001 if wait > 0 else None)
                except TimeoutError:
                    continue
            self._running += 1

    def replied(self) -> None:
        """Takes note of a reply: one more request at a time may follow."""
        self.last_reply = time.monotonic()
        self._refusals = 0
        if self._window < self._most:
            self._window += 1 if self._window < self._threshold else 1 / self._window
            self._window = min(self._window, self._most)

    def refused(self, asked_to_wait: float | None) -> None:
        """Takes note that the endpoint is asked too much.

        Requests that were under way together are refused together: they count as one refusal.

        Args:
            asked_to_wait: Seconds that the endpoint wants to be left alone, where it says so.
        """
        now = time.monotonic()
        if now < self._closed_until:
            self._closed_until = max(self._closed_until, now + (asked_to_wait or 0.0))
            return
        self._refusals += 1
        wait = max(asked_to_wait or 0.0, backoff(self._refusals))
        self._closed_until = now + wait
        self._threshold, self._window = max(self._window / 2, 1.0), 1.0

    async def _wake(self) -> None:
        async with self._moved:
            self._moved.notify_all()


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
    return max(moment.timestamp() - time.time(), 0.0)
