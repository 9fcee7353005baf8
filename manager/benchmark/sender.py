"""Sends requests of one target over its connections, keeps these, ends what takes too long, and counts what comes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from time import monotonic_ns

from manager.benchmark.connection import Connection, Exchange, timings
from manager.benchmark.plan import Target, Timeouts
from manager.benchmark.tally import Tally

# How often it is looked for what takes too long.
SWEEP_S = 0.05
NOT_CONNECTED, TIMEOUT, NO_FIRST_BYTE = "not connected", "timeout", "first byte timeout"
NOT_CONNECTED_IN_TIME, TLS, STATUS = "connect timeout", "TLS", "status"


class Sender:
    """The connections of one process to one target. Counts into `tally`; `on_free` follows the end of each request."""

    def __init__(
        self,
        target: Target,
        make_request: Callable[[], bytes],
        timeouts: Timeouts,
        is_kept: bool = True,
        expected: tuple[int, ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._target, self._make_request, self._timeouts = target, make_request, timeouts
        self._is_kept, self._expected, self._tls = is_kept, frozenset(expected), tls
        self._idle: list[Connection] = []
        self._running: set[Exchange] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self.tally = Tally()
        self.begins_ns = self.ends_ns = 0
        self.interval_ns = 1
        self.last_ns = 0
        self.on_free: Callable[[bool], None] = lambda is_connected: None

    @property
    def busy(self) -> int:
        """Return how many requests run."""
        return len(self._running)

    def send(self, due: int) -> None:
        """Send a request that is due at this time of the monotonic clock, in ns."""
        exchange = Exchange(due)
        self._running.add(exchange)
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                self.tally.counts["reused"] += 1
                connection.send(exchange, self._make_request())
                return
        task = asyncio.get_running_loop().create_task(self._open(exchange))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, exchange: Exchange) -> None:
        began = monotonic_ns()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeouts.connect_s):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._ended, self._lost), self._target.host, self._target.port, ssl=self._tls
                )
        except TimeoutError:
            self._over(exchange, NOT_CONNECTED_IN_TIME, False)
        except ssl.SSLError:
            self._over(exchange, TLS, False)
        except OSError:
            self._over(exchange, NOT_CONNECTED, False)
        else:
            if exchange not in self._running:  # It has timed out meanwhile.
                self._idle.append(connection)
                return
            self.tally.counts["opened"] += 1
            self.tally.connect.record(monotonic_ns() - began)
            connection.send(exchange, self._make_request())

    def sweep(self) -> None:
        """End what takes longer than it may."""
        now = monotonic_ns()
        total = now - round(self._timeouts.total_s * 1e9)
        first = None if self._timeouts.first_byte_s is None else now - round(self._timeouts.first_byte_s * 1e9)
        for exchange in list(self._running):
            if exchange.due < total:
                self._stop(exchange, TIMEOUT)
            elif first is not None and exchange.due < first and not exchange.first_at:
                self._stop(exchange, NO_FIRST_BYTE)

    def _stop(self, exchange: Exchange, kind: str) -> None:
        if exchange.connection is None:
            self._over(exchange, kind)
        else:
            exchange.connection.close(kind)

    def abandon(self) -> None:
        """End all that runs, without counting it."""
        running, self._running = self._running, set()
        for task in list(self._opening):
            task.cancel()
        for exchange in running:
            if exchange.connection is not None:
                exchange.connection.close()

    def close(self) -> None:
        """Close all connections."""
        self.abandon()
        for connection in self._idle[:]:
            connection.close()
        self._idle.clear()

    def missed(self, kind: str) -> None:
        """Count a request that could not even be sent."""
        self.tally.failed(self._interval(monotonic_ns()), kind)

    def _interval(self, now: int) -> int:
        return (now - self.begins_ns) // self.interval_ns

    def _lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def _ended(self, connection: Connection, exchange: Exchange, kind: str) -> None:
        if not self._is_kept:
            connection.close()
        if connection.is_usable:
            self._idle.append(connection)
        if exchange not in self._running:
            return
        tally = self.tally
        tally.counts["received"] += exchange.received
        tally.counts["sent"] += exchange.sent
        if not kind:
            tally.statuses[exchange.status] += 1
            is_good = exchange.status in self._expected if self._expected else 200 <= exchange.status < 300
            kind = "" if is_good else f"{STATUS} {exchange.status}"
        if not kind:
            self._count(exchange)
        self._over(exchange, kind)

    def _count(self, exchange: Exchange) -> None:
        tally, last = self.tally, exchange.last_at
        self.last_ns = last
        tally.answered((last - self.begins_ns) // self.interval_ns, last - exchange.due)
        tally.first_byte.record(exchange.first_at - exchange.due)
        tally.done += 1.0 if last <= self.ends_ns else (self.ends_ns - exchange.due) / (last - exchange.due)
        if exchange.gaps is not None:
            tally.first_chunk.record(exchange.first_chunk_at - exchange.due)
            tally.counts["chunks"] += exchange.chunks
            for gap in exchange.gaps:
                tally.gap.record(gap)
        if exchange.timing is not None:
            for name, ns in timings(exchange.timing).items():
                getattr(tally, name).record(ns)

    def _over(self, exchange: Exchange, kind: str, is_connected: bool = True) -> None:
        if exchange not in self._running:
            return
        self._running.remove(exchange)
        if kind:
            self.last_ns = monotonic_ns()
            self.tally.failed(self._interval(self.last_ns), kind)
        self.on_free(is_connected)
