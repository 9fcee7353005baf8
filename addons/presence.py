"""Says in Redis, off the path of any request, that this worker is there; `GET /manage/status` lists such workers."""

import os
import socket

from addons.endurance import Repeating
from addons.store import Store, StoreUnavailable

PAUSE_SECONDS = 5.0


def own_name() -> str:
    """Return what this worker is called in Redis."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Presence:
    """One task for the life of the worker. A worker that is killed is forgotten by itself."""

    def __init__(self, store: Store, name: str | None = None, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._store = store
        self._name = name or own_name()
        self._saying = Repeating(self._say, "presence", pause_seconds)

    def running(self) -> None:
        """Start."""
        self._saying.start()

    async def done(self) -> None:
        """Stop, and say so."""
        await self._saying.stop()
        try:
            await self._store.leave(self._name)
        except StoreUnavailable:
            return  # It will be forgotten soon.

    async def _say(self) -> None:
        try:
            await self._store.appear(self._name)
        except StoreUnavailable:
            return  # Others tell that Redis is away.
