"""What a server may be told, and what it may take on."""

import ipaddress
import os
from dataclasses import dataclass, fields

from redct.errors import InputError

MIB = 2**20


@dataclass(frozen=True)
class Options:
    """Where a bundle is served, and what is refused.

    Attributes:
        host: Address to listen at; anything but this machine's own needs a token.
        port: Port to listen at; 0 takes a free one.
        token_env: Environment variable that holds a token, which /classify and /metrics then want as
            `Authorization: Bearer TOKEN`.
        no_token: Listen at an address that others reach, without a token.
        threads: Documents that are classified at a time; by default, one per usable core.
        summary: Folder for a file a day that counts labels, confidence and lengths, for `classify.py drift`.
        batch: Documents that are handed to the classifier at a time, of all requests in turn.
        queue: Documents that may wait; a request beyond is refused with 503.
        memory: MiB of request bodies and answers that may be held, over all clients; beyond, 503. What is made of them
            takes up to five times as much.
        connections: Clients that may be connected; beyond, 503.
        max_body: Bytes of a request's body; beyond, 413.
        max_documents: Documents of a request; beyond, 422.
        max_characters: Characters of a text or a context field.
        client_seconds: Seconds in which a client must have sent its request, and taken its answer.
        drain_seconds: Seconds in which, once told to stop, all that was accepted is answered.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token_env: str | None = None
    no_token: bool = False
    threads: int | None = None
    summary: str | None = None
    batch: int = 16
    queue: int = 4096
    memory: int = 32
    connections: int = 2048
    max_body: int = MIB
    max_documents: int = 1000
    max_characters: int = 20_000
    client_seconds: float = 30.0
    drain_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Checks what options mean together."""
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) in (int, float) and field.name != "port" and not value > 0:
                raise InputError(f"--{field.name}: found {value}, expected more than 0")
        if not 0 <= self.port < 2**16:
            raise InputError(f"--port: found {self.port}, expected 0 to 65535")
        if self.max_documents > self.queue:
            found = f"--max_documents {self.max_documents} and --queue {self.queue}"
            raise InputError(f"{found}: such a request could never wait, expected --queue to be as large")
        if self.max_body > self.memory * MIB:
            found = f"--max_body {self.max_body} and --memory {self.memory}"
            raise InputError(f"{found}: such a body could never be held, expected --memory to be as large")
        if self.token_env is None and not self.no_token and not _is_own(self.host):
            raise InputError(f"--host {self.host}: others reach it, expected --token_env VARIABLE or --no_token true")

    def token(self) -> bytes | None:
        """Returns the token that clients must know, as it comes over the wire.

        Raises:
            InputError: When the variable that should hold it is not set.
        """
        if self.token_env is None:
            return None
        token = os.environ.get(self.token_env, "").strip()
        if not token:
            raise InputError(f"--token_env {self.token_env}: the variable is not set or empty, expected a token")
        return os.fsencode(token)


def _is_own(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
