"""One open connection of a client: what the event loop says of it goes to its handler, without a task that reads."""

import asyncio
from asyncio.streams import FlowControlMixin
from collections.abc import Callable
from typing import Protocol, cast


class Host(Protocol):
    """Who serves a client."""

    def receive(self, received: bytes) -> None:
        """The client has sent something."""

    def end(self, is_lost: bool) -> None:
        """The client sends no more; with `is_lost` it does not listen either. It may be told twice."""


class ClientLine(FlowControlMixin):
    """`welcome` is told of the open connection, and gives who serves it."""

    writer: asyncio.StreamWriter

    def __init__(self, welcome: Callable[["ClientLine"], Host]) -> None:
        super().__init__(asyncio.get_running_loop())
        self._welcome = welcome
        self._host: Host | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.writer = asyncio.StreamWriter(cast(asyncio.Transport, transport), self, None, asyncio.get_running_loop())
        self._host = self._welcome(self)

    def data_received(self, received: bytes) -> None:
        """Pass it on."""
        if self._host is not None:
            self._host.receive(received)

    def eof_received(self) -> bool:
        """The client sends no more; it may still listen."""
        if self._host is not None:
            self._host.end(False)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        super().connection_lost(exc)
        if self._host is not None:
            self._host.end(True)
        self._host = None

    def pause(self) -> None:
        """Read no more until `resume`."""
        if not self.writer.is_closing():
            cast(asyncio.Transport, self.writer.transport).pause_reading()

    def resume(self) -> None:
        """Read on."""
        if not self.writer.is_closing():
            cast(asyncio.Transport, self.writer.transport).resume_reading()
