"""The guard: who may come in, from where, and what a browser may do with what it gets."""

import asyncio
import hmac
import ipaddress
import secrets
import socket
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException

SESSIONS: Final = 1000  # the oldest ones have to come in again
LONGEST_PAUSE: Final = 8.0  # seconds before another try at the passphrase is looked at
MOST_WAITING: Final = 10  # tries of one address

POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        *(f"{what}-src 'self'" for what in ("script", "style", "connect", "img")),
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # no string becomes HTML, not even by mistake
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass
class Session:
    """Somebody who was let in.

    Attributes:
        name: The annotator; None before they said who they are.
    """

    name: str | None = None


class Guard:
    """Lets in whoever knows the token, or the passphrase, and keeps foreign pages in the same browser out.

    Where only this machine reaches the page, its address must be this machine's, port included: a foreign name that
    was pointed to 127.0.0.1 (DNS rebinding) is refused. Elsewhere the host may be an address or a name of this
    machine at any port, as a tunnel or a container may change it; a page under a foreign name that gets past that has
    no cookie, which belongs to the host, and knows no passphrase.

    Args:
        port: Where the page is; cookies are shared by all ports of a host, so it is part of the cookie's name.
        local: Whether only this machine reaches it.
        passphrase: Opens the page in place of the token.
    """

    def __init__(self, port: int, *, local: bool, passphrase: str | None = None) -> None:
        self.cookie = f"redct_annotate_{port}"
        self.token = None if passphrase is not None else secrets.token_urlsafe(32)
        self._port, self._local, self._passphrase = port, local, passphrase
        self._names = {"localhost"} if local else _own_names()
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._wrong: dict[str, int] = {}
        self._tries: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(1))
        self._waiting: defaultdict[str, int] = defaultdict(int)

    def check(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuses a request to another name than this machine's, and one that would change something from elsewhere.

        Raises:
            HTTPException: 403.
        """
        host = headers.get("host", "")
        if not self._is_own(host):
            raise HTTPException(403, "this is not the address that redct annotate printed")
        if method in ("GET", "HEAD"):
            return
        if headers.get("origin") != f"http://{host}" or headers.get("sec-fetch-site", "same-origin") != "same-origin":
            raise HTTPException(403, "this request comes from another page")

    def session(self, cookies: Mapping[str, str]) -> Session | None:
        """Returns who sends a request; None for somebody who was not let in."""
        given = cookies.get(self.cookie, "").encode()
        return next((s for value, s in self._sessions.items() if hmac.compare_digest(value.encode(), given)), None)

    def open_by_token(self, token: str) -> str | None:
        """Returns a cookie's value for the token of the printed address; None for another token."""
        known = self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())
        return self._begin() if known else None

    async def open_by_passphrase(self, given: str, address: str) -> str | None:
        """Returns a cookie's value for the passphrase; None for another.

        The tries of an address are looked at one after the other, after a pause that doubles with each wrong one;
        other addresses do not wait for it.

        Raises:
            HTTPException: 429 when too many tries of the address wait.
        """
        if self._passphrase is None:
            return None
        if self._waiting[address] >= MOST_WAITING:
            raise HTTPException(429, "too many tries at once, wait a little")
        self._waiting[address] += 1
        try:
            async with self._tries[address]:
                wrong = self._wrong.get(address, 0)
                await asyncio.sleep(min(LONGEST_PAUSE, 0.25 * 2**wrong) if wrong else 0)
                if hmac.compare_digest(given.encode(), self._passphrase.encode()):
                    self._wrong.pop(address, None)
                    return self._begin()
                self._wrong[address] = min(wrong + 1, 10)
                return None
        finally:
            self._waiting[address] -= 1

    def _begin(self) -> str:
        value = secrets.token_urlsafe(32)
        self._sessions[value] = Session()
        if len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return value

    def _is_own(self, host: str) -> bool:
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            return False
        if self._local and port != self._port:
            return False
        try:
            return ipaddress.ip_address(name).is_loopback or not self._local
        except ValueError:
            return name in self._names


def _own_names() -> set[str]:
    name = socket.gethostname().lower()
    short = name.partition(".")[0]
    return {"localhost", name, short, f"{short}.local", socket.getfqdn().lower()}
