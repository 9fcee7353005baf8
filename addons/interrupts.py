"""Reaches into running requests from outside of mitmproxy's layers: time-outs, and cuts when a token is revoked.

mitmproxy looks at a killed flow only at its next hook, so a stream that flows, or is silent, could not be ended. Its
connection handlers take events, though, and our HTTP layer (upstream.py) knows this one.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mitmproxy.connection import Connection
from mitmproxy.proxy.layers.http._base import HttpEvent
from mitmproxy.proxy.server import ConnectionHandler

from addons.call import Call, Line
from addons.ending import Cause, Interruption
from addons.failure import CONNECT_TIMEOUT
from addons.refusal import UPSTREAM_TIMEOUT

# How long a client whose connection is being closed may take to read what has been sent.
CLOSING_SECONDS = 5.0


@dataclass
class Interrupted(HttpEvent):
    """A request is to end now."""

    interruption: Interruption


def timed_out(cause: Cause) -> Interruption:
    """Return the interruption of a request whose provider takes too long."""
    return Interruption(cause, UPSTREAM_TIMEOUT)


class Interrupts:
    """`handlers` gives mitmproxy's connection handlers by the id of their client connection."""

    def __init__(
        self, handlers: Callable[[], Mapping[object, ConnectionHandler]], closing_seconds: float = CLOSING_SECONDS
    ) -> None:
        self._handlers = handlers
        self._closing_seconds = closing_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def interrupt(self, call: Call, interruption: Interruption) -> None:
        """End a call; the first interruption counts. A call that is over already is left alone."""
        if call.line is None or call.interruption is not None:
            return
        handler = self._handlers().get(call.line.client_id)
        if handler is None:
            return
        if interruption.cause is not Cause.FIRST_BYTE:  # That one may be healed by another attempt.
            call.interruption = interruption
        if call.attempts.waiter is not None:
            call.attempts.waiter.set()
        if call.attempts.connecting is not None:
            self.give_up_connecting(call.line.client_id, call.attempts.connecting)
        self._send(handler, call.line, interruption)

    def give_up_connecting(self, client_id: str, server: Connection) -> None:
        """End an attempt to connect that takes too long; mitmproxy then reports it as failed."""
        handler = self._handlers().get(client_id)
        transport = handler.transports.get(server) if handler else None
        if transport is not None and transport.handler is not None:
            transport.handler.cancel(CONNECT_TIMEOUT)

    def see_it_close(self, client: Connection) -> None:
        """A client's connection is being closed: one that takes no more data is not waited for without end."""
        if transport := self._transport(client):
            asyncio.get_running_loop().call_later(self._closing_seconds, _abort_if_stuck, transport)

    def hold(self, client: Connection) -> None:
        """Read no more from a client until `let_go`; that it has gone is not noticed meanwhile."""
        if transport := self._transport(client):
            transport.pause_reading()

    def let_go(self, client: Connection) -> None:
        """Read on from a client."""
        if transport := self._transport(client):
            transport.resume_reading()

    def _transport(self, client: Connection) -> asyncio.Transport | None:
        handler = self._handlers().get(client.id)
        io = handler.transports.get(client) if handler else None
        return io.writer.transport if io and isinstance(io.writer, asyncio.StreamWriter) else None  # type: ignore[return-value]

    def _send(self, handler: ConnectionHandler, line: Line, interruption: Interruption) -> None:
        event = Interrupted(line.stream_id, interruption)
        task = asyncio.get_running_loop().create_task(handler.server_event(event))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _abort_if_stuck(transport: asyncio.Transport) -> None:
    if transport.get_write_buffer_size():
        transport.abort()


class Deadline:
    """One timer of one request: moving it along is an assignment, so it may be done for every chunk."""

    def __init__(self, expire: Callable[[Cause], None]) -> None:
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self._cause = Cause.TOTAL
        self._seconds = 0.0
        self._moved = 0.0
        self._due = 0.0

    @property
    def is_armed(self) -> bool:
        """Whether it may still expire."""
        return self._timer is not None

    def arm(self, cause: Cause, seconds: float | None) -> None:
        """Start anew; None never expires."""
        if seconds is None:
            self.disarm()
            return
        now = time.monotonic()
        if self._timer is None or now + seconds < self._due:
            self.disarm()
            self._timer, self._due = asyncio.get_running_loop().call_later(seconds, self._look), now + seconds
        # Else the timer that runs looks soon enough, and then waits on.
        self._cause, self._seconds, self._moved = cause, seconds, now

    def touch(self) -> None:
        """Something happened: count from now."""
        self._moved = time.monotonic()

    def disarm(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = time.monotonic()
        rest = self._moved + self._seconds - now
        if rest > 0:
            self._due = now + rest
            self._timer = asyncio.get_running_loop().call_later(rest, self._look)
        else:
            self._timer = None
            self._expire(self._cause)
