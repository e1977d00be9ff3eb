"""Reading request bodies of clients that may be slow, endless, or a thousand at a time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.exceptions import HTTPException
from starlette.requests import Request


class Held:
    """Bytes that are held for one request, until given back."""

    def __init__(self, memory: "Memory") -> None:
        self._memory, self._size = memory, 0

    def add(self, size: int) -> bool:
        """Adds bytes; says whether all that is held is still within the limit."""
        self._size += size
        self._memory.held += size
        return self._memory.held <= self._memory.limit


class Memory:
    """What is held of bodies and answers, over all clients.

    Attributes:
        held: Bytes that are held at present.
        limit: Bytes from which on bodies are refused.
    """

    def __init__(self, limit: int) -> None:
        self.held, self.limit = 0, limit

    @contextmanager
    def hold(self) -> Iterator[Held]:
        """Yields what counts the bytes of one request, and gives them back."""
        held = Held(self)
        try:
            yield held
        finally:
            self.held -= held._size


async def read_body(request: Request, held: Held, most: int, seconds: float) -> bytearray:
    """Reads a body.

    Args:
        request: The request.
        held: Counts its bytes.
        most: Bytes at most.
        seconds: Time in which it must have come.

    Raises:
        HTTPException: 413 when it is too large, 408 when it is too slow, 503 when too much is held.
        ClientDisconnect: When the client has gone.
    """
    body = bytearray()
    too_large = HTTPException(413, f"expected a body of at most {most} bytes")
    if int(request.headers.get("content-length", "0")) > most:
        raise too_large
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                if len(body) + len(chunk) > most:
                    raise too_large
                if not held.add(len(chunk)):
                    raise HTTPException(503, "too much is being sent at a time")
                body += chunk
    except TimeoutError:
        raise HTTPException(408, f"the body did not come within {seconds:g} s", {"Connection": "close"}) from None
    return body
