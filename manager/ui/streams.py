"""Answers that go on and on: so many at a time, each for a while; a browser that wants more of it comes again."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from time import monotonic
from typing import Any

from manager.rests import Rest

MOST = 32
MOST_EACH = 6
PAUSE_SECONDS = 2.0
LIFE_SECONDS = 60.0
# After how many milliseconds a browser whose stream has ended comes again.
_AGAIN_MS = 500


class Seats:
    """How many streams may go on at a time, and how many of them may be one's own."""

    def __init__(self, most: int = MOST, most_each: int = MOST_EACH) -> None:
        self._most = most
        self._most_each = most_each
        self._taken: Counter[Hashable] = Counter()
        self._lock = threading.Lock()

    def take(self, who: Hashable) -> Callable[[], None] | None:
        """Take a seat and return what gives it back, however often that is called; None if none is free for them."""
        with self._lock:
            if self._taken.total() >= self._most or self._taken[who] >= self._most_each:
                return None
            self._taken[who] += 1
        taken = threading.Lock()

        def give_back() -> None:
            if taken.acquire(blocking=False):
                self._give_back(who)

        return give_back

    def _give_back(self, who: Hashable) -> None:
        with self._lock:
            self._taken[who] -= 1
            if not self._taken[who]:
                del self._taken[who]


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
