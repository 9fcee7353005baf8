"""A connection to Redis for calls that requests wait for: those of one turn of the event loop leave together.

redis-py opens the connection (TLS, password, database), then its socket is taken over: one call through redis-py costs
as much as all rooms that decide about a request. A connection whose server turns us away is closed; the next one is
opened to whichever server has our data by then.
"""

import asyncio
from collections import deque
from typing import Any, cast

import hiredis
import redis.exceptions
from redis.asyncio.connection import AbstractConnection, ConnectionPool

from shared import redis_servers

_NOTHING = object()


class _Ear(asyncio.Protocol):
    """Listens to one connection, until the line has another."""

    def __init__(self, line: "RedisLine") -> None:
        self._line = line

    def data_received(self, received: bytes) -> None:
        self._line.heard(self, received)

    def connection_lost(self, error: Exception | None) -> None:
        self._line.lost(self, error)


class RedisLine:
    """Opens when it is first needed, and anew after it broke. `seconds` is what a call may take."""

    def __init__(self, pool: ConnectionPool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds
        self._connection: AbstractConnection | None = None
        self._transport: asyncio.Transport | None = None
        self._ear: _Ear | None = None
        self._since = 0.0
        self._opening: asyncio.Task[None] | None = None
        self._parser = hiredis.Reader(notEnoughData=_NOTHING)
        self._unsent: list[bytes] = []
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._watch: asyncio.TimerHandle | None = None

    def call(self, *command: str | bytes | int) -> "asyncio.Future[Any]":
        """Send one command; await its reply. That raises RedisError, OSError, TimeoutError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((loop.time(), answer))
        self._unsent.append(hiredis.pack_command(cast(Any, command)))
        if len(self._unsent) == 1:
            loop.call_soon(self._leave)
        if self._watch is None:
            self._watch = loop.call_later(self._seconds, self._look)
        return answer

    async def close(self) -> None:
        """End the connection; what still waits fails."""
        self._break(ConnectionError("closed"))
        if self._opening is not None:
            await asyncio.wait([self._opening])

    def heard(self, ear: _Ear, received: bytes) -> None:
        """Hand out the replies that are complete, in the order of the calls."""
        if ear is not self._ear:
            return
        self._parser.feed(received)
        try:
            while ear is self._ear and (reply := self._parser.gets()) is not _NOTHING:
                if not isinstance(reply, hiredis.PushNotification):
                    self._hand_out(reply)
        except (hiredis.ProtocolError, IndexError) as error:
            self._break(redis.exceptions.InvalidResponse(f"not a reply: {error!r}"))

    def lost(self, ear: _Ear, error: Exception | None) -> None:
        """The server, or the network, ended the connection."""
        if ear is self._ear:
            self._break(error or ConnectionError("closed by the server"))

    def _hand_out(self, reply: Any) -> None:
        _, answer = self._waiting.popleft()
        error = _as_error(str(reply)) if isinstance(reply, hiredis.ReplyError) else None
        if not answer.done():  # Else whoever asked has gone away.
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(reply)
        if error is not None and redis_servers.turns_away(error) and not self._is_young():
            self._break(redis.exceptions.ConnectionError(f"turned away: {error}"))

    def _is_young(self) -> bool:
        return asyncio.get_running_loop().time() - self._since < redis_servers.YOUNG_SECONDS

    def _leave(self) -> None:
        if self._transport is not None and self._unsent:
            self._transport.write(b"".join(self._unsent))
            self._unsent.clear()
        elif self._unsent and self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())
            self._opening.add_done_callback(self._forget_opening)

    async def _open(self) -> None:
        try:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            await connection.connect()
            self._take_over(connection)
        except (redis.exceptions.RedisError, OSError, TimeoutError) as error:
            self._break(error)

    def _take_over(self, connection: AbstractConnection) -> None:
        writer = connection._writer
        if writer is None or not self._waiting:
            connection._close()  # type: ignore[no-untyped-call]
            return
        self._connection, self._transport = connection, cast(asyncio.Transport, writer.transport)
        self._parser = hiredis.Reader(notEnoughData=_NOTHING)
        self._ear, self._since = _Ear(self), asyncio.get_running_loop().time()
        self._transport.set_protocol(self._ear)
        self._leave()

    def _forget_opening(self, _: "asyncio.Task[None]") -> None:
        self._opening = None
        self._leave()  # Somebody may have called since it failed.

    def _look(self) -> None:
        """Break when a call has waited too long: the replies behind it would come later still."""
        loop = asyncio.get_running_loop()
        self._watch = None
        if self._waiting:
            rest = self._waiting[0][0] + self._seconds - loop.time()
            if rest <= 0:
                self._break(TimeoutError(f"no reply within {self._seconds} s"))
            else:
                self._watch = loop.call_later(rest, self._look)

    def _break(self, error: BaseException) -> None:
        connection, self._connection, self._transport, self._ear = self._connection, None, None, None
        if connection is not None:
            connection._close()  # type: ignore[no-untyped-call]
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        waiting, self._waiting = self._waiting, deque()
        self._unsent.clear()
        for _, answer in waiting:
            if not answer.done():
                answer.set_exception(error)


def _as_error(message: str) -> redis.exceptions.ResponseError:
    if message.startswith("NOSCRIPT"):
        return redis.exceptions.NoScriptError(message)
    return redis.exceptions.ResponseError(message)
