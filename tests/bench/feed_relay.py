"""Stands between workers and Redis: one way in lets everything through, the other one all but the inspector's feed.

A connection that is used to tell of flows stands still from then on, as if Redis did not answer; all others go on.
Workers that are compared reach Redis through the same relay, so what it costs meets all of them.
"""

import asyncio
import hashlib
import threading
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import uvloop

from shared import redis_schema

_START_SECONDS = 10.0


class _Out(asyncio.Protocol):
    """What Redis says goes to the worker."""

    def __init__(self, back: asyncio.Transport) -> None:
        self._back = back

    def data_received(self, data: bytes) -> None:
        self._back.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._back.close()


class _In(asyncio.Protocol):
    """What a worker says goes to Redis, unless it is the feed and that `is_stalled`."""

    def __init__(self, target: str, feed: bytes, is_stalled: bool) -> None:
        self._target = target
        self._feed = feed
        self._is_stalled = is_stalled
        self._early: list[bytes] = []
        self._out: asyncio.Transport | None = None
        self._dialing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._back = cast(asyncio.Transport, transport)
        self._dialing = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        out, _ = await loop.create_unix_connection(lambda: _Out(self._back), self._target)
        self._out = out
        out.write(b"".join(self._early))

    def data_received(self, data: bytes) -> None:
        if self._is_stalled and self._feed in data:
            self._back.pause_reading()
        elif self._out is None:
            self._early.append(data)
        else:
            self._out.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._out is not None:
            self._out.close()


class FeedRelay:
    """Listens in a thread of its own, on two sockets in a folder, while the ``with`` block lasts."""

    def __init__(self, target: Path, folder: Path) -> None:
        self._target = target
        self._sockets = {is_stalled: folder / f"relay-{is_stalled:d}.sock" for is_stalled in (False, True)}
        self._loop = uvloop.new_event_loop()
        self._servers: list[asyncio.AbstractServer] = []  # One that nobody holds would be closed.
        self._thread = threading.Thread(target=self._loop.run_forever, name="feed-relay", daemon=True)

    def url(self, is_stalled: bool) -> str:
        """Return where Redis is, with a feed that stands still or goes on."""
        return f"unix://{self._sockets[is_stalled]}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_START_SECONDS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_START_SECONDS)

    async def _listen(self) -> None:
        feed = hashlib.sha1(redis_schema.script("feed").encode(), usedforsecurity=False).hexdigest().encode()
        for is_stalled, path in self._sockets.items():
            welcome = partial(_In, str(self._target), feed, is_stalled)
            self._servers.append(await self._loop.create_unix_server(welcome, str(path)))
