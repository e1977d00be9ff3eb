"""How an endpoint wants requests worded."""

import re
from typing import Any

from redct.hub.remote.address import Address
from redct.hub.remote.exchange import Request, Usage

AROUND = (64, 16)  # tokens that a chat format puts around a conversation and around each message, at most


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
        self._works: set[str] = set()
        self._suspected: set[str] = set()

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

    def most(self, request: Request) -> Usage:
        """Returns the most tokens that a request may take: no tokenizer makes more of a text than it has bytes."""
        body = self.body(request)
        text = sum(len(turn["content"].encode()) + AROUND[1] for turn in request.messages)
        limits = [body[name] for name in ("max_tokens", "max_completion_tokens") if isinstance(body.get(name), int)]
        return Usage(text + AROUND[0], max(limits, default=request.max_tokens) * request.samples)

    def accepted(self, body: dict[str, Any]) -> None:
        """Takes note that a request was answered: none of its fields is to blame for a later rejection."""
        self._works |= body.keys()
        self._suspected.clear()

    def learn(self, body: dict[str, Any], complaint: str) -> bool:
        """Adapts to a rejected request; returns whether another attempt makes sense."""
        doubtful = body.keys() - self._works - self.left_out
        if self.length_name in doubtful and self.length_name == "max_tokens" and "max_completion_tokens" in complaint:
            self.length_name = "max_completion_tokens"
            return True
        bound = re.search(r"logprobs.*?(?:<=|equal to|at most|max|\[0, ?)\D{0,20}(\d+)", complaint)
        if bound and "top_logprobs" in body and 0 < int(bound[1]) < self.top_logprobs:
            self.top_logprobs = int(bound[1])
            return True
        for name in ("logprobs", "top_logprobs", "response_format", "temperature", "n"):
            if name in doubtful and re.search(rf"['\"`]{name}['\"`]", complaint):
                self.left_out |= {"logprobs", "top_logprobs"} if "logprobs" in name else {name}
                return True
        if "n" in doubtful:  # the reason may be the number of samples, in any words
            self.left_out.add("n")
            self._suspected.add("n")
            return True
        self.left_out -= self._suspected  # it was not
        self._suspected.clear()
        return False
