"""What an OpenAI-like model answers: a known distribution over words, in the chat-completions format."""

import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

Words = Mapping[str, float]
Entry = dict[str, Any]


class ApiError(Exception):
    """An error as OpenAI words it: a status and `{"error": {"message", "type", "param", "code"}}`."""

    def __init__(
        self, status: int, message: str, code: str | None = None, param: str | None = None, kind: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        kind = kind or "invalid_request_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


def pieces(word: str) -> list[str]:
    """Cuts a word into tokens: up to six letters with the space before them, or one other character."""
    return re.findall(r" ?[^\W_]{1,6}|.", word, re.DOTALL)


@dataclass
class Chat:
    """A model whose replies are words of known probabilities.

    Replies are the most probable word at temperature 0, and draws otherwise, which depend only on the prompt, the seed,
    the choice's index and how often the prompt was asked before.

    Args:
        words: From the last message's content to the probabilities of complete replies, sum 1 or less: what is
            missing is spread over no listed token.
        model: The only model there is.
        logprobs: Whether the server knows `logprobs`; else it ignores them.
        most: The largest `top_logprobs` it takes.
        honours_n: Whether it gives `n` choices; else always one.
        honours_schema: Whether `response_format` forces a JSON reply; else it is ignored.
        refused: Fields that are answered with status 400, as `max_tokens` or `temperature` by reasoning models.
        quota: Requests after which the account has no money left.
    """

    words: Callable[[str], Words]
    model: str = "toy"
    logprobs: bool = True
    most: int = 20
    honours_n: bool = True
    honours_schema: bool = True
    refused: Collection[str] = ()
    quota: float = math.inf
    asked: Counter[str] = field(default_factory=Counter)

    def reply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the `chat.completion` for a request.

        Raises:
            ApiError: When the request is refused.
        """
        self._check(body)
        prompt = str(body["messages"][-1]["content"])
        self.asked[prompt] += 1
        count = int(body.get("n") or 1) if self.honours_n else 1
        choices = [self._choice(index, prompt, body) for index in range(count)]
        read = sum(len(pieces(str(turn["content"]))) for turn in body["messages"])
        written = sum(length for _, length in choices)
        return {
            "id": f"chatcmpl-{self.asked.total()}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.model,
            "choices": [choice for choice, _ in choices],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }

    def _check(self, body: Mapping[str, Any]) -> None:
        if self.asked.total() >= self.quota:
            text = "You exceeded your current quota, please check your plan and billing details."
            raise ApiError(429, text, "insufficient_quota", kind="insufficient_quota")
        if body.get("model") != self.model:
            text = f"The model `{body.get('model')}` does not exist or you do not have access to it."
            raise ApiError(404, text, "model_not_found")
        if not body.get("messages"):
            text = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array."
            raise ApiError(400, text, "empty_array", "messages")
        for name in self.refused:
            if body.get(name) is not None:
                text = f"Unsupported parameter: '{name}' is not supported with this model."
                text += " Use 'max_completion_tokens' instead." * (name == "max_tokens")
                raise ApiError(400, text, "unsupported_parameter", name)
        if self.logprobs and (body.get("top_logprobs") or 0) > self.most:
            text = f"Invalid value for 'top_logprobs': must be less than or equal to {self.most}."
            raise ApiError(400, text, None, "top_logprobs")

    def _choice(self, index: int, prompt: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        tokens = self._tokens(index, prompt, body)
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(tokens)
        kept = tokens[:limit]
        content = "".join(token["token"] for token in kept)
        choice = {
            "index": index,
            "message": {"role": "assistant", "content": content, "refusal": None},
            "logprobs": {"content": kept, "refusal": None} if self.logprobs and body.get("logprobs") else None,
            "finish_reason": "stop" if len(kept) == len(tokens) else "length",
        }
        return choice, len(kept)

    def _tokens(self, index: int, prompt: str, body: Mapping[str, Any]) -> list[Entry]:
        words, top = self.words(prompt), body.get("top_logprobs") or 0
        schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
        if schema is None or not self.honours_schema:
            return spelled(self._drawn(words, index, prompt, body), words, top)
        words = _among(words, _options(schema))
        word = self._drawn(words, index, prompt, body)
        before, quoted, after = json.dumps(_filled(schema, word, words)).partition(f'"{word}"')
        if not quoted:
            return _forced(before)
        return [*_forced(before + '"'), *spelled(word, words, top), *_forced('"' + after)]

    def _drawn(self, words: Words, index: int, prompt: str, body: Mapping[str, Any]) -> str:
        if body.get("temperature", 1) == 0:
            return max(words, key=words.__getitem__)
        seed = self.asked[prompt] if body.get("seed") is None else f"seed {body['seed']}"
        return Random(f"{seed} {index} {prompt}").choices([*words], [*words.values()])[0]


def spelled(word: str, words: Words, top: int) -> list[Entry]:
    """Returns the `logprobs.content` of a word: at each token, the most probable tokens there given those before.

    The end of a reply is a token without text, which is listed nowhere, as at OpenAI.
    """
    tokens, entries = pieces(word), []
    spellings = [(pieces(other), p) for other, p in words.items() if p > 0]
    for i, token in enumerate(tokens):
        alike = [(other, p) for other, p in spellings if other[:i] == tokens[:i]]
        reached = sum(p for _, p in alike) if i else 1.0
        mass: Counter[str] = Counter()
        for other, p in alike:
            if len(other) > i:
                mass[other[i]] += p
        listed = [_entry(t, p / reached) for t, p in sorted(mass.items(), key=lambda item: -item[1])[:top]]
        entries.append({**_entry(token, mass[token] / reached), "top_logprobs": listed})
    return entries


def _entry(token: str, probability: float) -> Entry:
    return {"token": token, "bytes": list(token.encode()), "logprob": math.log(probability)}


def _forced(text: str) -> list[Entry]:
    return [{**_entry(token, 1.0), "top_logprobs": [_entry(token, 1.0)]} for token in pieces(text)]


def _options(schema: Mapping[str, Any]) -> list[str] | None:
    """Finds the first list of permitted strings in a JSON schema."""
    if "enum" in schema:
        return list(schema["enum"])
    found = (_options(part) for part in schema.get("properties", {}).values())
    return next((options for options in found if options), None)


def _among(words: Words, options: list[str] | None) -> Words:
    """Keeps the permitted words, with probabilities that sum to 1, as constrained decoding does."""
    if options is None:
        return words
    kept = {option: words.get(option, 0.0) + 1e-9 for option in options}
    return {option: p / sum(kept.values()) for option, p in kept.items()}


def _filled(schema: Mapping[str, Any], word: str, words: Words, name: str = "") -> Any:
    """Fills a JSON schema: with the word, with a property's own probability where a number is wanted."""
    if "enum" in schema:
        return word if word in schema["enum"] else schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {key: _filled(part, word, words, key) for key, part in schema.get("properties", {}).items()}
    if kind in {"number", "integer"}:
        return round(words.get(name, 0.0), 3)
    return {"array": [], "boolean": True}.get(str(kind), "because of the words")
