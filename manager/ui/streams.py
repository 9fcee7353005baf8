"""Answers that go on and on: so many at a time, each for a while; a browser that wants more of it comes again."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any

from manager.rests import Rest

MOST = 32
PAUSE_SECONDS = 2.0
LIFE_SECONDS = 60.0
# After how many milliseconds a browser whose stream has ended comes again.
_AGAIN_MS = 500


class Seats:
    """How many streams may go on at a time."""

    def __init__(self, most: int = MOST) -> None:
        self._free = threading.BoundedSemaphore(most)

    def take(self) -> Callable[[], None] | None:
        """Take a seat and return what gives it back, however often that is called; None if none is free."""
        if not self._free.acquire(blocking=False):
            return None
        taken = threading.Lock()

        def give_back() -> None:
            if taken.acquire(blocking=False):
                self._free.release()

        return give_back


def event(name: str, told: Any = None) -> str:
    """Return an event as it is sent: `told` as JSON."""
    return f"event: {name}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n"


def stream(told: Iterable[str], rest: Rest, life: float = LIFE_SECONDS) -> Iterator[str]:
    """Send what is told, with pauses, until there is no more, the server stops, or the life is over.

    "" is no news: what is sent then tells whether anybody still listens.
    """
    yield f"retry: {_AGAIN_MS}\n\n"
    end = monotonic() + life
    for each in told:
        yield each or ": nothing new\n\n"
        if monotonic() >= end or not rest(PAUSE_SECONDS):
            return
