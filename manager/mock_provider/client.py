"""The other end of one connection as ASGI shows it: what it sends, and whether it is still there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from manager.mock_provider.errors import ProviderError

type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]

MAX_BODY = 64 * 1024 * 1024


class ClientGone(Exception):
    """The client left before it had sent its whole request."""


class Client:
    """Reads one request; from then on notices at once, in whatever wait, that the client went away."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._departure: asyncio.Task[None] | None = None

    async def body(self, declared: int = 0) -> bytes:
        """The whole request body, of which ``declared`` bytes were announced.

        Raises ProviderError 413 over 64 MiB, declared or sent; ClientGone if the client leaves before that.
        """
        refuse_over_limit(declared)
        received = bytearray()
        async for piece in self.pieces():
            received += piece
            refuse_over_limit(len(received))
        return bytes(received)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The request body of any size as it comes, at least one piece. Raises ClientGone if the client leaves."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            yield message.get("body", b"")
            more = message.get("more_body", False)

    def departure(self) -> asyncio.Task[None]:
        """A task that is done when the client has gone; to be asked for only after the body was read."""
        if self._departure is None:
            self._departure = asyncio.ensure_future(self._until_gone())
        return self._departure

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    @property
    def gone(self) -> bool:
        """Whether the client is known to have left; only known once ``departure`` has been asked for."""
        return self._departure is not None and self._departure.done()

    async def stays(self, seconds: float) -> bool:
        """Waits that long (0: gives other connections their turn); False as soon as the client has left."""
        departure = self.departure()
        if seconds > 0:
            await asyncio.wait({departure}, timeout=seconds)
        else:
            await asyncio.sleep(0)
        return not departure.done()

    def forget(self) -> None:
        """Stops looking for the client; the answer is over."""
        if self._departure is not None:
            self._departure.cancel()


def refuse_over_limit(size: int) -> None:
    """Raises the 413 for a body over 64 MiB; the connection is closed, the rest of the body not read."""
    if size > MAX_BODY:
        message = f"The request body is over {MAX_BODY} bytes."
        raise ProviderError(413, message, code="request_too_large", headers=((b"connection", b"close"),))
