"""One exchange with an endpoint: the request, as redct means it, and what of the reply is kept."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from redct.errors import RedctError
from redct.hub.prompts import Message
from redct.hub.remote.answers import Alternative, says_something, token_text, whole_text

Want = Literal["text", "logprobs", "samples", "stated"]


class MalformedReplyError(RedctError):
    """A body that is no chat completion, such as half of one or an HTML page."""


@dataclass(frozen=True)
class Request:
    """What is asked of the endpoint.

    Attributes:
        purpose: Tells the requests about one document apart; part of the journal's key.
        messages: The conversation.
        want: Free text, log-probabilities of the first tokens, several samples, or a stated confidence.
        max_tokens: Longest reply, in tokens.
        samples: How many replies.
        schema: JSON schema of the reply, where it has to be structured.
    """

    purpose: str
    messages: list[Message]
    want: Want
    max_tokens: int
    samples: int = 1
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens that were paid for.

    Attributes:
        prompt: Tokens of the prompts.
        completion: Tokens of the replies, hidden reasoning included.
        cached: Those of `prompt` that the endpoint had cached, where it says so.
    """

    prompt: int = 0
    completion: int = 0
    cached: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.prompt + other.prompt, self.completion + other.completion, self.cached + other.cached)


@dataclass(frozen=True)
class Reply:
    """What is kept of a reply.

    Attributes:
        texts: The text of each choice.
        finish: Why the first choice ended: stop, length, content_filter and so on.
        refusal: The endpoint's words where the model refused, of several samples all.
        alternatives: The tokens that could stand where the first choice begins to say something, each with its
            log-probability; None where the reply has no log-probabilities.
        usage: Tokens paid for.
        error: Why the endpoint has rejected the request, where that is all that came.
    """

    texts: list[str]
    finish: str | None = None
    refusal: str | None = None
    alternatives: list[Alternative] | None = None
    usage: Usage = field(default_factory=Usage)
    error: str | None = None

    def to_json(self) -> str:
        """Returns the reply as JSON."""
        return json.dumps({**vars(self), "usage": vars(self.usage)})

    @staticmethod
    def from_json(text: str) -> "Reply":
        """Returns the reply that `to_json` wrote."""
        kept = json.loads(text)
        kept["usage"] = Usage(**kept["usage"])
        if kept["alternatives"] is not None:
            kept["alternatives"] = [(token, logprob) for token, logprob in kept["alternatives"]]
        return Reply(**kept)


def read_reply(body: bytes | str) -> Reply:
    """Reads the body of a chat completion.

    Raises:
        MalformedReplyError: When it is none.
    """
    try:
        content = json.loads(body)
        choices = content["choices"]
        messages = [choice["message"] for choice in choices]
        texts = [_text(message) for message in messages]
        first = choices[0] if choices else {}
        return Reply(
            texts=texts,
            finish=first.get("finish_reason"),
            refusal=_refusal(messages),
            alternatives=_alternatives(first.get("logprobs")),
            usage=_usage(content.get("usage")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        start = body[:60] if isinstance(body, str) else body[:60].decode("utf-8", "replace")
        raise MalformedReplyError(f"no chat completion ({type(error).__name__}) but {start!r}") from None


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):  # some endpoints give parts
        content = "".join(str(part.get("text") or "") for part in content)
    if content is not None and not isinstance(content, str):
        raise TypeError(f"content is {type(content).__name__}")
    return whole_text(content or "")


def _refusal(messages: list[dict[str, Any]]) -> str | None:
    """Returns the words of a refusal; of several samples, each has to be one."""
    words = [message.get("refusal") for message in messages]
    return whole_text(str(words[0])) if words and all(words) else None


def _alternatives(logprobs: dict[str, Any] | None) -> list[Alternative] | None:
    tokens = (logprobs or {}).get("content") or []
    if not tokens:
        return None
    token = next((t for t in tokens if says_something(token_text(t))), tokens[0])
    listed = token.get("top_logprobs")
    if not listed:
        return None
    # The sampled token may be missing from the list, or stand anywhere in it. Different tokens may have one text, so
    # where tokens have ids, these tell them apart.
    key = "id" if "id" in token else "token"
    missing = [] if any(t.get(key) == token.get(key) for t in listed) else [token]
    return [(token_text(t), float(t["logprob"])) for t in [*listed, *missing]]


def _usage(usage: dict[str, Any] | None) -> Usage:
    given = usage if isinstance(usage, dict) else {}
    details = given.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return Usage(_count(given.get("prompt_tokens")), _count(given.get("completion_tokens")), _count(cached))


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value < 2**31 else 0
