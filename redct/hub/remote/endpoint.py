"""Sends requests to an OpenAI-compatible endpoint: repeats what failed, and knows when to stop."""

import asyncio
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import openai

from redct.errors import InputError, RedctError
from redct.hub.remote.exchange import MalformedReplyError, Reply, Request, read_reply
from redct.hub.remote.pacing import Limits, Pace, asked_to_wait, backoff

OPENAI = "https://api.openai.com/v1"
QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
BYTES_PER_TOKEN = 3.0  # English has more, other languages fewer; only for the limit of tokens a minute
FIRST_RETRIES = 2  # before any reply: an endpoint that is not there should be named soon
MOST_GIVEN_UP = 4  # documents in a row without any reply in between, after which the endpoint is to blame


class EndpointError(RedctError):
    """The endpoint cannot be used, or no longer: the run has to stop."""


class DocumentError(RedctError):
    """The endpoint gives no reply for this one document; the message goes into its error row."""


@dataclass(frozen=True)
class Address:
    """Where an endpoint is and how it is entered.

    Attributes:
        model: The model's name there.
        base_url: The address before `/chat/completions`.
        api_key_env: Name of the environment variable with the key.
        headers: Further headers of every request.
        query: Further parameters of every address, such as Azure's `api-version`.
        body: Further fields of every request.
    """

    model: str
    base_url: str
    api_key_env: str = "OPENAI_API_KEY"
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The host that the documents go to."""
        return urlsplit(self.base_url).hostname or self.base_url

    @property
    def is_loopback(self) -> bool:
        """Whether the endpoint runs on this machine."""
        return self.host in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", self.host) is not None

    def key(self) -> str:
        """Returns the key.

        Raises:
            InputError: When there is none for an endpoint elsewhere.
        """
        # OPENAI_API_TOKEN is what RED-CT's scripts read.
        names = [self.api_key_env, *(["OPENAI_API_TOKEN"] if self.api_key_env == "OPENAI_API_KEY" else [])]
        for name in names:
            if key := os.environ.get(name, "").strip():
                return key
        if self.is_loopback:
            return "none"
        raise InputError(f"{' or '.join(names)}: not set in the environment; expected the key for {self.host}")

    def client(self, limits: Limits) -> openai.AsyncOpenAI:
        """Returns a client that repeats nothing by itself."""
        return openai.AsyncOpenAI(**self._options(), max_retries=0, timeout=limits.timeout)

    def client_of_batches(self, limits: Limits) -> openai.OpenAI:
        """Returns a client for the few and large requests of the Batch API."""
        return openai.OpenAI(**self._options(), max_retries=limits.retries)

    def _options(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "api_key": self.key(),
            "default_headers": self.headers or None,
            "default_query": dict(self.query) or None,
        }


class Dialect:
    """How an endpoint wants requests worded; it learns from what the endpoint rejects.

    Args:
        address: The endpoint.
        top_logprobs: How many alternatives of a token to ask for.
    """

    def __init__(self, address: Address, top_logprobs: int) -> None:
        self.address, self.top_logprobs = address, top_logprobs
        self.length_name = "max_tokens"
        self.left_out: set[str] = set()

    def body(self, request: Request) -> dict[str, Any]:
        """Returns the body of a request."""
        body: dict[str, Any] = {
            "model": self.address.model,
            "messages": request.messages,
            self.length_name: request.max_tokens,
            "temperature": 1.0 if request.want == "samples" else 0.0,
        }
        if request.want == "logprobs":
            body |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        if request.samples > 1:
            body["n"] = request.samples
        if request.schema is not None:
            schema = {"name": "label", "strict": True, "schema": request.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {name: value for name, value in body.items() if name not in self.left_out} | self.address.body

    def learn(self, body: dict[str, Any], complaint: str) -> bool:
        """Adapts to a rejected request; returns whether another attempt makes sense."""
        if "max_completion_tokens" in complaint and "max_tokens" in body:
            self.length_name = "max_completion_tokens"
            return True
        bound = re.search(r"top_logprobs.*?(?:<=|equal to|at most|maximum|max)\D{0,20}(\d+)", complaint)
        if bound and 0 < int(bound[1]) < body.get("top_logprobs", 0):
            self.top_logprobs = int(bound[1])
            return True
        for field_name in ("logprobs", "top_logprobs", "response_format", "temperature", "n"):
            if field_name in body and re.search(rf"['\"`]{field_name}['\"`]", complaint):
                self.left_out |= {"logprobs", "top_logprobs"} if "logprobs" in field_name else {field_name}
                return True
        if "n" in body and "n" not in self.left_out:  # the reason may be the number of samples, in any words
            self.left_out.add("n")
            return True
        return False


class Endpoint:
    """Sends requests, as fast as the pace allows.

    Args:
        address: The endpoint.
        limits: What it may be asked to bear.
        dialect: How it wants requests worded; learns more of that.
        processes: Number of processes that share the limits.
        proven: Whether an earlier run had replies: then what is rejected is the document, not the way of asking.

    Attributes:
        replies: How many replies have come.
    """

    def __init__(
        self, address: Address, limits: Limits, dialect: Dialect, processes: int = 1, proven: bool = False
    ) -> None:
        self.address, self.limits, self.dialect, self.proven = address, limits, dialect, proven
        self.pace = Pace(limits, processes)
        self.replies = 0
        self._given_up = 0  # documents in a row
        self._client = address.client(limits)

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.close()

    async def send(self, request: Request) -> Reply:
        """Returns the reply to a request, repeating it where that may help.

        Raises:
            DocumentError: When this request gets no reply, though others may.
            EndpointError: When the endpoint refuses everybody, or nothing comes back any more.
        """
        failures = 0
        while True:
            body = self.dialect.body(request)
            try:
                reply = await self._once(request, body)
            except openai.RateLimitError as error:
                self._slow_down(error)
            except (openai.APIConnectionError, openai.InternalServerError, MalformedReplyError, TimeoutError) as error:
                failures += 1
                await self._wait_after(error, failures)
            except openai.APIStatusError as error:
                if not self.dialect.learn(body, _complaint(error)):
                    raise self._rejection(error) from error
            else:
                self.replies += 1
                self._given_up = 0
                return reply

    async def _once(self, request: Request, body: dict[str, Any]) -> Reply:
        size = sum(len(turn["content"].encode()) for turn in request.messages) / BYTES_PER_TOKEN
        async with self.pace.turn(size + request.max_tokens * request.samples):
            # The client's own timeout is per read: a body that drips would hold it for ever.
            async with asyncio.timeout(self.limits.timeout):
                # All of it as extra_body: the client refuses fields that it does not know, such as servers' own.
                response = await self._client.chat.completions.with_raw_response.create(
                    model=body["model"], messages=body["messages"], extra_body=body
                )
            reply = read_reply(response.content)
            self.pace.replied()
            return reply

    def _slow_down(self, error: openai.RateLimitError) -> None:
        """Lets nothing through for a while; the endpoint wants fewer requests, or no more for good."""
        if error.code in QUOTA_CODES or error.type in QUOTA_CODES:
            raise self._stopped(f"the quota is used up: {_complaint(error)}") from error
        wait = asked_to_wait(error.response.headers)
        if wait is not None and wait > self.limits.patience:
            what = (
                f"asks to be left alone for {wait:.0f} s, more than labeler.limits.patience {self.limits.patience:.0f}"
            )
            raise self._stopped(what) from error
        self._check_patience(error)
        self.pace.refused(wait)

    async def _wait_after(self, error: Exception, failures: int) -> None:
        """Waits before a request that failed is repeated, or gives it up."""
        self._check_patience(error)
        tries = self.limits.retries if self.replies else min(self.limits.retries, FIRST_RETRIES)
        if failures > tries:
            raise self._give_up(f"unreachable: {_reason(error)}, {failures} times") from error
        headers = error.response.headers if isinstance(error, openai.APIStatusError) else {}
        await asyncio.sleep(min(max(backoff(failures), asked_to_wait(headers) or 0.0), self.limits.patience))

    def _rejection(self, error: openai.APIStatusError) -> RedctError:
        message = f"HTTP {error.status_code}: {_complaint(error)}"
        # Once replies have come, some endpoints answer 403 to a document that they do not like.
        if error.status_code in (401, 402, 404) or (error.status_code == 403 and not self.replies):
            return self._stopped(message)
        if self.replies or self.proven:
            return DocumentError(f"rejected: {message}")
        return self._give_up(f"rejected: {message}")

    def _give_up(self, message: str) -> RedctError:
        self._given_up += 1
        if self._given_up >= MOST_GIVEN_UP:
            return self._stopped(f"{message}; so it went with {MOST_GIVEN_UP} documents in a row")
        return DocumentError(message)

    def _check_patience(self, error: Exception) -> None:
        silent = time.monotonic() - self.pace.last_reply
        if silent > self.limits.patience:
            raise self._stopped(f"no reply for {silent:.0f} s (labeler.limits.patience): {_reason(error)}") from error

    def _stopped(self, what: str) -> EndpointError:
        return EndpointError(
            f"{self.address.base_url}, model {self.address.model!r}: {what}; all replies are kept, the same command "
            "goes on"
        )


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
    line = " ".join(text.split())
    return line if len(line) <= most else line[:most] + "..."
