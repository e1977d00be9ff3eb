"""What the page may be told."""

import ipaddress
import os
from dataclasses import dataclass
from typing import Final

from redct.errors import InputError
from redct.experts.records import check_name

SHORTEST_PASSPHRASE: Final = 8


@dataclass(frozen=True)
class PageOptions:
    """Who answers, and where the page is to be had.

    Attributes:
        host: Address to listen at. Anything but this machine's own needs --passphrase_env; what is sent there is not
            encrypted (no TLS), so use it in a network that you trust, or through an SSH tunnel.
        port: Port to listen at; 0 takes a free one.
        annotators: Names of those who answer, such as [anna, ben]; each gets documents of their own, which are dealt
            in turn. By default anybody gives a name, and is asked about all documents.
        overlap: Share of each round's documents that every annotator answers, to know how far they agree; 0 to 1.
        show_suggestion: Show what the LLM said, too. It draws answers towards itself (anchoring), so leave it off
            where answers shall judge the LLM.
        passphrase_env: Environment variable that holds a passphrase, of 8 characters or more, which then opens the
            page in place of the token in its address.
    """

    host: str = "127.0.0.1"
    port: int = 0
    annotators: list[str] | None = None
    overlap: float = 0.0
    show_suggestion: bool = False
    passphrase_env: str | None = None

    def __post_init__(self) -> None:
        """Checks what options mean alone and together."""
        if not 0 <= self.port < 2**16:
            raise InputError(f"--port: found {self.port}, expected 0 to 65535")
        if not 0 <= self.overlap <= 1:
            raise InputError(f"--overlap: found {self.overlap}, expected a share from 0 to 1")
        if self.annotators is not None:
            self._check_annotators(self.annotators)
        elif self.overlap:
            raise InputError(
                f"--overlap {self.overlap}: without names everybody answers all documents, expected --annotators"
            )
        if self.passphrase_env is None and not self.local:
            raise InputError(f"--host {self.host}: others reach it, expected --passphrase_env VARIABLE")

    @property
    def local(self) -> bool:
        """Whether only this machine reaches the page."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def passphrase(self) -> str | None:
        """Returns what opens the page; None where the token does.

        Raises:
            InputError: When the variable that should hold it is not set, or too short.
        """
        if self.passphrase_env is None:
            return None
        found = os.environ.get(self.passphrase_env, "")
        if len(found) < SHORTEST_PASSPHRASE:
            what = f"found {len(found)} characters, expected {SHORTEST_PASSPHRASE} or more" if found else "not set"
            raise InputError(f"--passphrase_env {self.passphrase_env}: {what}")
        return found

    def _check_annotators(self, annotators: list[str]) -> None:
        if not annotators:
            raise InputError("--annotators: found no name, expected at least one")
        for position, name in enumerate(annotators):
            try:
                checked = check_name(name)
            except InputError as error:
                raise InputError(f"--annotators: {error}") from None
            if checked != name:
                raise InputError(f"--annotators: found {name!r}, expected {checked!r}")
            if name.casefold() in [other.casefold() for other in annotators[:position]]:
                raise InputError(f"--annotators: found {name!r} twice, expected each once")
