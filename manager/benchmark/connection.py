"""One HTTP/1.1 connection: a request, its answer as it comes, and then perhaps the next one."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from time import monotonic_ns
from typing import cast

import httptools

# Kinds of errors of a connection.
CLOSED, MALFORMED, UNFINISHED = "closed", "malformed answer", "cut"
_STREAM_TYPES = (b"text/event-stream", b"application/x-ndjson", b"application/vnd.amazon.eventstream")
_TIMING = re.compile(rb"(?:^|,)\s*(proxy|upstream)\s*;(?:[^,]*;)?\s*dur=\"?(\d{1,9}(?:\.\d{1,9})?)")


class Exchange:
    """A request and what is seen of its answer; times in ns of the machine's monotonic clock, 0: not seen."""

    __slots__ = (
        *("due", "sent_at", "first_at", "first_chunk_at", "last_at", "received", "sent", "chunks", "gaps", "status"),
        *("is_stream", "timing", "connection"),
    )

    def __init__(self, due: int) -> None:
        self.due = due
        self.sent_at = self.first_at = self.first_chunk_at = self.last_at = 0
        self.received = self.sent = self.chunks = self.status = 0
        self.gaps: list[int] | None = None
        self.is_stream = False
        self.timing: bytes | None = None
        self.connection: Connection | None = None


def timings(header: bytes) -> dict[str, int]:
    """Return what a `Server-Timing` header says of proxy and upstream, in ns.

    >>> timings(b'proxy;dur=1.5, cache;desc="x";dur=2, upstream;desc=up;dur=30')
    {'proxy': 1500000, 'upstream': 30000000}
    """
    return {name.decode(): round(float(dur) * 1e6) for name, dur in _TIMING.findall(header)}


class Connection(asyncio.Protocol):
    """Calls `on_end(connection, exchange, kind)` when an answer is whole (kind "") or broke off, and `on_lost`."""

    def __init__(
        self, on_end: Callable[[Connection, Exchange, str], None], on_lost: Callable[[Connection], None]
    ) -> None:
        self._on_end, self._on_lost = on_end, on_lost
        self._exchange: Exchange | None = None
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._now = 0
        self._is_whole = self._has_head = self._has_end = self._is_first_of_read = False
        self.is_usable = False

    # For whoever has requests.

    def send(self, exchange: Exchange, request: bytes) -> None:
        """Send a request; the answer before must have come."""
        if self._transport is None:
            raise RuntimeError("a connection that is closed cannot send")
        self._exchange, exchange.connection = exchange, self
        self._has_head = self._has_end = False
        exchange.sent = len(request)
        exchange.sent_at = monotonic_ns()
        self._transport.write(request)

    def close(self, kind: str = "") -> None:
        """Close it now; an answer that is not whole ends with this kind of error."""
        self.is_usable = False
        if self._transport is not None:
            self._transport.abort()
        self._end(kind or UNFINISHED)

    # For the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.is_usable = True

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.close()  # Nobody has asked.
            return
        self._now = monotonic_ns()
        exchange.received += len(data)
        exchange.first_at = exchange.first_at or self._now
        self._is_first_of_read, self._is_whole = True, False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.close(MALFORMED)
            return
        if self._is_whole:
            exchange.last_at = self._now
            self._end("")

    def connection_lost(self, error: Exception | None) -> None:
        self.is_usable, self._transport = False, None
        if (exchange := self._exchange) is not None:
            is_end = error is None and self._has_head and not self._has_end
            exchange.last_at = monotonic_ns()
            exchange.status = exchange.status or (self._parser.get_status_code() if self._has_head else 0)
            self._end("" if is_end else CLOSED)
        self._on_lost(self)

    def _end(self, kind: str) -> None:
        if (exchange := self._exchange) is not None:
            self._exchange = None
            self._on_end(self, exchange, kind)

    # For the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header: the few that matter are told apart by their length first."""
        length = len(name)
        if length == 12:
            if name.lower() == b"content-type" and self._exchange is not None:
                self._exchange.is_stream = value.lower().startswith(_STREAM_TYPES)
        elif length == 13:
            if name.lower() == b"server-timing" and self._exchange is not None:
                before = self._exchange.timing
                self._exchange.timing = value if before is None else before + b"," + value
        elif (length == 14 and name.lower() == b"content-length") or (
            length == 17 and name.lower() == b"transfer-encoding"
        ):
            self._has_end = True

    def on_headers_complete(self) -> None:
        """Take in that the head is whole."""
        self._has_head = True
        if self._exchange is not None:
            self._exchange.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Take in a piece of the body."""
        exchange = self._exchange
        if exchange is None or not exchange.is_stream:
            return
        exchange.chunks += 1
        if self._is_first_of_read:
            self._is_first_of_read = False
            if exchange.gaps is None:
                exchange.first_chunk_at, exchange.gaps = self._now, []
            else:
                exchange.gaps.append(self._now - exchange.last_at)
            exchange.last_at = self._now

    def on_message_complete(self) -> None:
        """Take in that an answer is whole; those below 200 only announce one."""
        self._is_whole = self._parser.get_status_code() >= 200
        # The parser knows it now only.
        self.is_usable = self._parser.should_keep_alive()
