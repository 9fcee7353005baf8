"""A timer for requests that are due: event loops know milliseconds only, too little for thousands each second."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable


class Timer:
    """Calls back at a time of the monotonic clock: to some 0.1 ms on Linux with Python 3.13, to 1 or 2 ms elsewhere."""

    def __init__(self, on_time: Callable[[], None]) -> None:
        self._on_time = on_time
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._file = -1
        if sys.version_info >= (3, 13) and sys.platform == "linux":
            self._file = os.timerfd_create(time.CLOCK_MONOTONIC, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)
            self._loop.add_reader(self._file, self._ring)

    def set(self, at_ns: int) -> None:
        """Call back at this time, or at once if it is over; instead of what was set before."""
        if sys.version_info >= (3, 13) and sys.platform == "linux":
            os.timerfd_settime_ns(self._file, flags=os.TFD_TIMER_ABSTIME, initial=max(1, at_ns))
            return
        self.stop()
        self._handle = self._loop.call_later(max(0, at_ns - time.monotonic_ns()) / 1e9, self._on_time)

    def stop(self) -> None:
        """Do not call back."""
        if sys.version_info >= (3, 13) and sys.platform == "linux":
            os.timerfd_settime_ns(self._file, initial=0)
        elif self._handle is not None:
            self._handle.cancel()

    def close(self) -> None:
        """Give back what it has of the system."""
        self.stop()
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _ring(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            return  # It was set anew after it had rung.
        self._on_time()
