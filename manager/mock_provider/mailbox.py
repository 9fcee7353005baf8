"""What comes over a WebSocket, read ahead, so that the client's leaving is noticed in whatever wait."""

import asyncio

from manager.mock_provider.client import Message, Receive

_AHEAD = 100


class ClientLeft(ConnectionError):
    """The client left during a pause."""


class Mailbox:
    """Messages in the order they came; at most a hundred are read ahead."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: asyncio.Queue[Message] = asyncio.Queue(_AHEAD)
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        ended = False
        while not ended:
            message = await self._receive()
            ended = message["type"] == "websocket.disconnect"
            await self._messages.put(message)

    async def take(self) -> Message:
        """The next message; the last one is ``websocket.disconnect``."""
        return await self._messages.get()

    async def pause(self, seconds: float) -> None:
        """Waits that long (0: gives other connections their turn). Raises ClientLeft as soon as the client does."""
        if seconds > 0:
            await asyncio.wait({self._reading}, timeout=seconds)
        else:
            await asyncio.sleep(0)
        if self._reading.done():
            raise ClientLeft

    def close(self) -> None:
        """Reads no more."""
        self._reading.cancel()
