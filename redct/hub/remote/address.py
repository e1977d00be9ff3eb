"""Where an endpoint is, and how it is entered."""

import ipaddress
import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import openai

from redct.errors import InputError

NO_KEY = "none"  # what an endpoint on this machine gets where no key is set
OPENAI = "https://api.openai.com/v1"


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
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

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
            return NO_KEY
        raise InputError(f"{' or '.join(names)}: not set in the environment; expected the key for {self.host}")

    def client(self, timeout: float) -> openai.AsyncOpenAI:
        """Returns a client that repeats nothing by itself; the timeout in seconds is that of a read."""
        # What a proxy in the environment (trust_env) is for is not this machine.
        http = openai.DefaultAsyncHttpxClient(trust_env=not self.is_loopback)
        return openai.AsyncOpenAI(**self._options(), http_client=http, max_retries=0, timeout=timeout)

    def client_of_batches(self, retries: int) -> openai.OpenAI:
        """Returns a client for the few and large requests of the Batch API."""
        http = openai.DefaultHttpxClient(trust_env=not self.is_loopback)
        return openai.OpenAI(**self._options(), http_client=http, max_retries=retries)

    def _options(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "api_key": self.key(),
            "default_headers": self.headers or None,
            "default_query": dict(self.query) or None,
        }
