"""Ends connections on which nothing happens: mitmproxy's watchdog, as one timer instead of a task for each client."""

import asyncio
from collections.abc import Callable
from types import TracebackType


class Watchdog:
    """Calls `expire` once when nothing has happened for `seconds`, unless somebody has `disarm`ed it meanwhile."""

    def __init__(self, seconds: float, expire: Callable[[], None]) -> None:
        self._seconds = seconds
        self._expire = expire
        self._clock = asyncio.get_running_loop().time
        self._last = self._clock()
        self._blockers = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Watch from now on."""
        self._plan(self._seconds)

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def register_activity(self) -> None:
        """Something happened: count from now."""
        self._last = self._clock()

    def disarm(self) -> "Watchdog":
        """Return what keeps it from expiring within a block; the end of that counts as activity."""
        return self

    def __enter__(self) -> None:
        self._blockers += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blockers -= 1
        self.register_activity()

    def _plan(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        rest = self._seconds if self._blockers else self._last + self._seconds - self._clock()
        if rest > 0:
            self._plan(rest)
        else:
            self._timer = None
            self._expire()
