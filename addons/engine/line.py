"""One open connection to a provider, TLS included, whoever uses it just now."""

import asyncio
import select
import ssl
import time
from asyncio.streams import FlowControlMixin
from typing import Protocol, cast

from addons.engine.provider_tls import Handshake

# A provider that does not say goodbye within TLS is not waited for any longer, in seconds.
GOODBYE_SECONDS = 1.0


class User(Protocol):
    """Who has borrowed a line."""

    @property
    def is_idle(self) -> bool:
        """Whether the line could be taken away: an answer is complete, and nothing has been asked since."""

    def receive(self, received: bytes) -> None:
        """The provider has sent something."""

    def end(self, is_lost: bool) -> None:
        """The provider sends no more; with `is_lost` it does not listen either."""

    def let_go(self) -> None:
        """The line is taken away. It is the user's no more when this returns."""


class Keeper(Protocol):
    """Who lends lines."""

    def after_data(self, line: "Line") -> None:
        """Something came for a user, who has dealt with it."""

    def lost(self, line: "Line") -> None:
        """A line has ended."""


class Writer(asyncio.StreamWriter):
    """The writing end, as mitmproxy's connection handlers expect it."""

    def write_eof(self) -> None:
        """Half-close; TLS knows no such thing."""
        if self.can_write_eof():
            super().write_eof()


class Line(FlowControlMixin):
    """`opened` and `touched` (when something was last received) are on the event loop's clock, in seconds."""

    writer: Writer
    handshake: Handshake | None = None
    user: User | None = None

    def __init__(self, keeper: Keeper, is_tls: bool) -> None:
        self._clock = asyncio.get_running_loop().time
        super().__init__(asyncio.get_running_loop())
        self._keeper = keeper
        self._is_tls = is_tls
        self._transport: asyncio.Transport | None = None
        self.dialed_at, self.connected_at = time.time(), 0.0
        self.opened = self.touched = self._clock()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast(asyncio.Transport, transport)
        self.connected_at = time.time()
        self.opened = self.touched = self._clock()
        self.writer = Writer(self._transport, self, None, asyncio.get_running_loop())
        agreed = transport.get_extra_info("ssl_object")
        if agreed is not None:
            self.handshake = Handshake(cast(ssl.SSLObject, agreed))

    def data_received(self, received: bytes) -> None:
        """Pass it on. Nobody has asked for what comes while nobody uses the line."""
        self.touched = self._clock()
        if self.user is None:
            self.close()
            return
        self.user.receive(received)
        self._keeper.after_data(self)

    def eof_received(self) -> bool:
        """The provider sends no more; it may still listen, unless it speaks TLS."""
        if self.user is None:
            return False
        self.user.end(self._is_tls)
        return not self._is_tls

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        super().connection_lost(exc)
        if self.user is not None:
            self.user.end(True)
        self._keeper.lost(self)

    # What the pool and its users call

    @property
    def is_quiet(self) -> bool:
        """Whether it is open and the kernel has nothing that has not been read: no data, no end, no error."""
        if self._transport is None or self._transport.is_closing():
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not poll.poll(0)

    def resume(self) -> None:
        """Read on, if reading was paused for a user."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def pause(self) -> None:
        """Read no more until `resume`."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def abort(self) -> None:
        """Close it now."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close it when everything has been sent."""
        if self._transport is not None:
            self._transport.close()
