"""Sends requests to an OpenAI-compatible endpoint: repeats what failed, and knows when to stop."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import cycle
from typing import Any

import openai

from redct.errors import RedctError
from redct.hub.remote.address import NO_KEY, Address
from redct.hub.remote.answers import whole_text
from redct.hub.remote.dialect import Dialect
from redct.hub.remote.exchange import MalformedReplyError, Reply, Request, read_reply
from redct.hub.remote.pacing import Limits, Pace, asked_to_wait, backoff

QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
FOR_ALL = {401, 402, 404}  # statuses that concern every request: key, account, address or model
NOT_NOW = {408, 409, 425}  # statuses below 500 that a repetition may help
WORDING = {400, 422}  # statuses by which endpoints reject fields that they do not know
BYTES_PER_TOKEN = 3.0  # English has more, other languages fewer; only for the limit of tokens a minute
FIRST_RETRIES = 2  # before any reply: an endpoint that is not there should be named soon
FIRST_AGAIN = 4  # attempts in which a request goes before others; one that is refused for good is not to hold them up
CONNECTIONS = 8  # of a client: for each request, it looks at all that it has
PROBE = Request("probe", [{"role": "user", "content": "Say yes."}], "text", 8)
Failed = (openai.APIError, MalformedReplyError, TimeoutError)


class EndpointError(RedctError):
    """The endpoint cannot be used, or no longer: the run has to stop."""


class DocumentError(RedctError):
    """The endpoint gives no reply for this one document; the message goes into its error row."""


class Endpoint:
    """Sends requests, as fast as the pace allows.

    A request that failed too often, or is rejected, is only given up once it is sure that the endpoint answers others.
    Where nothing comes back, a trifling question is asked, again and again and nothing else meanwhile (a circuit
    breaker), until the endpoint answers or the patience ends.

    Args:
        address: The endpoint.
        limits: What it may be asked to bear.
        dialect: How it wants requests worded; learns more of that.
        processes: Number of processes that share the limits.

    Attributes:
        replies: How many replies have come.
        under_way: Requests that wait for their reply.
        stopped: Set it to send no more requests.
        on_probe: Gets the reply to each trifling question, which is paid for like others.
    """

    def __init__(self, address: Address, limits: Limits, dialect: Dialect, processes: int = 1) -> None:
        self.address, self.limits, self.dialect = address, limits, dialect
        self.pace = Pace(limits, processes)
        self.replies = self.under_way = 0
        self.stopped = False
        self.on_probe: Callable[[Reply], Awaitable[None]] | None = None
        self._outages = 0  # that have passed
        self._breaker = asyncio.Lock()
        self._failing_since: float | None = None
        self._clients = [address.client(limits.timeout) for _ in range(0, limits.in_flight, CONNECTIONS)]
        self._in_turn = cycle(self._clients)

    async def close(self) -> None:
        """Closes all connections."""
        for client in self._clients:
            await client.close()

    async def send(self, request: Request) -> Reply:
        """Returns the reply to a request, repeating it where that may help.

        Raises:
            DocumentError: When this request gets no reply, though others do.
            EndpointError: When the endpoint refuses everybody, or nothing comes back any more.
        """
        attempts, failures, outages = 0, 0, self._outages
        while True:
            attempts += 1
            replies, body = self.replies, self.dialect.body(request)
            try:
                return await self._once(request, body, again=1 < attempts <= FIRST_AGAIN)
            except Failed as error:
                if _is_pace(error):
                    continue
                if not _may_pass(error):
                    if self._learns(error, body):
                        continue
                    await self._make_sure(replies, error)
                    raise DocumentError(_rejection(error)) from error
                failures = failures + 1 if outages == self._outages else 1
                outages = self._outages
                if failures <= self._tries():
                    await self._wait_after(error, failures)
                    continue
                await self._make_sure(replies, error)
                if outages == self._outages:
                    raise DocumentError(_given_up(error, failures)) from error

    async def _once(self, request: Request, body: dict[str, Any], again: bool) -> Reply:
        size = sum(len(turn["content"].encode()) for turn in request.messages) / BYTES_PER_TOKEN
        async with self.pace.turn(size + self.dialect.most(request).completion, again) as round_:
            if self.stopped:
                raise self.failure("stopped")
            self.under_way += 1
            try:
                # The client's own timeout is per read: a body that drips would hold it for ever.
                async with asyncio.timeout(self.limits.timeout):
                    content = await self._post(body)
                reply = read_reply(content)
            except openai.RateLimitError as error:
                if _is_pace(error):
                    self._slow_down(error, round_)
                raise
            except openai.APIStatusError as error:
                # Once replies have come, some endpoints answer 403 to a document that they do not like.
                if error.status_code in FOR_ALL or (error.status_code == 403 and not self.replies):
                    hint = f" ({self.address.api_key_env} is not set)" if self.address.key() == NO_KEY else ""
                    raise self.failure(_reason(error) + hint) from error
                raise
            finally:
                self.under_way -= 1
            self.pace.replied()
        self.dialect.accepted(body)
        self.replies += 1
        self._failing_since = None
        return reply

    async def _post(self, body: dict[str, Any]) -> bytes:
        # Not by `chat.completions.create`, which takes a third of a millisecond to look through the body.
        kind = openai.HttpxBinaryResponseContent
        response: openai.HttpxBinaryResponseContent = await next(self._in_turn).post(
            "/chat/completions", body=body, cast_to=kind
        )
        return response.content

    def _slow_down(self, error: openai.RateLimitError, round_: int) -> None:
        """Lets nothing through for a while; the endpoint wants fewer requests, or no more for good."""
        if {str(error.code), str(error.type)} & QUOTA_CODES:
            raise self.failure(f"the quota is used up: {_complaint(error)}") from error
        wait = asked_to_wait(error.response.headers)
        if wait is not None and wait > self.limits.patience:
            raise self.failure(
                f"asks to be left alone for {wait:.0f} s, more than labeler.limits.patience {self.limits.patience:.0f}"
            ) from error
        self._check_patience(error)
        self.pace.refused(wait, round_)

    def _learns(self, error: Exception, body: dict[str, Any]) -> bool:
        return (
            isinstance(error, openai.APIStatusError)
            and error.status_code in WORDING
            and self.dialect.learn(body, _complaint(error))
        )

    def _tries(self) -> int:
        return self.limits.retries if self.replies else min(self.limits.retries, FIRST_RETRIES)

    async def _wait_after(self, error: Exception, failures: int) -> None:
        self._check_patience(error)
        headers = error.response.headers if isinstance(error, openai.APIStatusError) else {}
        await asyncio.sleep(min(max(backoff(failures), asked_to_wait(headers) or 0.0), self.limits.patience))

    def _check_patience(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if self._failing_since is None:
            self._failing_since = now
        silent = now - self._failing_since
        if silent > self.limits.patience:
            raise self.failure(f"no reply for {silent:.0f} s (labeler.limits.patience): {_reason(error)}") from error

    async def _make_sure(self, replies: int, error: Exception) -> None:
        """Returns as soon as the endpoint has answered anything after so many replies.

        Raises:
            EndpointError: When it rejects everything, or answers nothing.
        """
        async with self._breaker:
            failures = 0
            while self.replies == replies:
                body = self.dialect.body(PROBE)
                try:
                    reply = await self._once(PROBE, body, again=True)
                    if self.on_probe is not None:
                        await self.on_probe(reply)
                except Failed as failed:
                    if _is_pace(failed) or self._learns(failed, body):
                        continue
                    if not self.replies or not _may_pass(failed):
                        raise self.failure(_reason(error)) from error
                    failures += 1
                    await self._wait_after(failed, failures)
            if failures:
                self._outages += 1

    def failure(self, what: str) -> EndpointError:
        """Returns the error that ends a run."""
        kept = "; all replies are kept, the same command goes on" if self.replies else ""
        return EndpointError(f"{self.address.base_url}, model {self.address.model!r}: {what}{kept}")


def _is_pace(error: Exception) -> bool:
    """Tells whether an endpoint only wants to be asked more slowly; some requests are too large at any pace."""
    return isinstance(error, openai.RateLimitError) and "too large" not in _complaint(error).lower()


def _may_pass(error: Exception) -> bool:
    """Tells whether a request that failed so may succeed when it is repeated."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code >= 500 or error.status_code in NOT_NOW
    return True


def _rejection(error: Exception) -> str:
    filtered = isinstance(error, openai.APIError) and error.code == "content_filter"
    return f"{'filtered' if filtered else 'rejected'}: {_reason(error)}"


def _given_up(error: Exception, failures: int) -> str:
    kind = "malformed" if isinstance(error, MalformedReplyError) else "unreachable"
    return f"{kind}: {_reason(error)}" + (f", {failures} times" if failures > 1 else "")


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError | openai.APITimeoutError):
        return "no complete reply in time"
    if isinstance(error, openai.APIStatusError):
        return f"HTTP {error.status_code}: {_complaint(error)}"
    cause = error.__cause__ if isinstance(error, openai.APIConnectionError) and error.__cause__ else error
    return _one_line(str(cause) or type(cause).__name__)


def _complaint(error: openai.APIStatusError) -> str:
    body = error.body
    if isinstance(body, dict):
        return _one_line(str(body.get("message") or body.get("detail") or body))
    return _one_line(error.message)


def _one_line(text: str, most: int = 200) -> str:
    line = " ".join(whole_text(text).split())
    return line if len(line) <= most else line[:most] + "..."
