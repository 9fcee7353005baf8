"""Keeps what was made for some seconds, so that many who look at the same have it made once."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, cast

from flask import Flask, current_app

_EXTENSION = "llm_proxy_ui_memory"
# For so long after its time something may still be shown while it is made anew.
OLDEST_SECONDS = 60.0


@dataclass
class _Kept:
    made: Any = None
    until: float = float("-inf")
    oldest: float = float("-inf")
    lock: threading.Lock = field(default_factory=threading.Lock)


class Memory:
    """Of a process; holds `most` things, and forgets those first that nobody has asked for since long."""

    def __init__(self, most: int = 500, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def get[Made](self, key: Hashable, seconds: float, make: Callable[[], Made]) -> Made:
        """Return what was made under a key in the last seconds, or make it.

        Others who want it meanwhile get what was made before; they wait if there is nothing, or it is too old.
        """
        kept = self._entry(key)
        found: Made
        if not kept.lock.acquire(blocking=kept.oldest <= self._clock()):
            found = kept.made
            return found
        try:
            if kept.until <= self._clock():
                kept.made = make()
                kept.until = self._clock() + seconds
                kept.oldest = kept.until + OLDEST_SECONDS
            found = kept.made
            return found
        finally:
            kept.lock.release()

    def forget(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()

    def _entry(self, key: Hashable) -> _Kept:
        with self._lock:
            kept = self._kept.setdefault(key, _Kept())
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return kept


def teach(app: Flask) -> None:
    """Let the app keep what many look at."""
    app.extensions[_EXTENSION] = Memory()


def memory() -> Memory:
    """Return what the app keeps of what many look at."""
    return cast(Memory, current_app.extensions[_EXTENSION])
