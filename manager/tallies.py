"""Small counters with an end, in Redis for all processes together; while Redis is away, in the memory of each.

They serve to slow down and to sum up what strangers do, so each kind is bounded in number.
"""

import threading
import time
from collections.abc import Callable
from typing import Protocol

import redis

from shared import redis_schema

PREFIX = f"{redis_schema.PREFIX}access:"
# After Redis has failed, it is left alone for so long.
AWAY_SECONDS = 5.0
MOST_NAMES = 10_000
# What is piled up for more names than that is told of one.
OTHERS = "others"
PILE = "pile"

type Clock = Callable[[], float]


class Tallies(Protocol):
    """What there is to count with. Seconds are whole."""

    def hit(self, name: str, seconds: int) -> int:
        """Count something that is forgotten so long after the first time; return how often it has been."""
        ...

    def look(self, name: str) -> tuple[int, float]:
        """Return how often it has been, and in how many seconds that is forgotten."""
        ...

    def turn(self, name: str, seconds: int) -> bool:
        """Tell whether it is the first time within so long."""
        ...

    def pile(self, name: str, count: int = 1) -> None:
        """Count something that stays until it is taken."""
        ...

    def take(self, name: str) -> int:
        """Return how often that was, and forget it."""
        ...

    def piled(self) -> list[str]:
        """Return the names of what is there to be taken."""
        ...


class RedisTallies:
    """Counts in Redis."""

    def __init__(self, client: "redis.Redis", pile: str = PILE) -> None:
        self._client = client
        self._pile = f"{PREFIX}{pile}"

    def hit(self, name: str, seconds: int) -> int:
        """See Tallies."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.set(PREFIX + name, 0, ex=seconds, nx=True)
            pipe.incr(PREFIX + name)
            return int(pipe.execute()[1])

    def look(self, name: str) -> tuple[int, float]:
        """See Tallies."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.get(PREFIX + name)
            pipe.pttl(PREFIX + name)
            count, left = pipe.execute()
        return int(count or 0), max(0, left) / 1000

    def turn(self, name: str, seconds: int) -> bool:
        """See Tallies."""
        return bool(self._client.set(PREFIX + name, 1, ex=seconds, nx=True))

    def pile(self, name: str, count: int = 1) -> None:
        """See Tallies."""
        is_full = int(self._client.hlen(self._pile)) >= MOST_NAMES and not self._client.hexists(self._pile, name)
        self._client.hincrby(self._pile, OTHERS if is_full else name, count)

    def take(self, name: str) -> int:
        """See Tallies."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.hget(self._pile, name)
            pipe.hdel(self._pile, name)
            return int(pipe.execute()[0] or 0)

    def piled(self) -> list[str]:
        """See Tallies."""
        return [str(name, "utf-8") for name in self._client.hkeys(self._pile)]  # type: ignore[arg-type]


class MemoryTallies:
    """Counts in this process."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[int, float]] = {}
        self._piles: dict[str, int] = {}

    def hit(self, name: str, seconds: int) -> int:
        """See Tallies."""
        with self._lock:
            count, end = self._current(name)
            self._make_room(name)
            self._counts[name] = count + 1, end or self._clock() + seconds
            return count + 1

    def look(self, name: str) -> tuple[int, float]:
        """See Tallies."""
        with self._lock:
            count, end = self._current(name)
            return count, max(0.0, end - self._clock())

    def turn(self, name: str, seconds: int) -> bool:
        """See Tallies."""
        return self.hit(name, seconds) == 1

    def pile(self, name: str, count: int = 1) -> None:
        """See Tallies."""
        with self._lock:
            kept = name if name in self._piles or len(self._piles) < MOST_NAMES else OTHERS
            self._piles[kept] = self._piles.get(kept, 0) + count

    def take(self, name: str) -> int:
        """See Tallies."""
        with self._lock:
            return self._piles.pop(name, 0)

    def piled(self) -> list[str]:
        """See Tallies."""
        with self._lock:
            return list(self._piles)

    def _current(self, name: str) -> tuple[int, float]:
        count, end = self._counts.get(name, (0, 0.0))
        return (count, end) if end > self._clock() else (0, 0.0)

    def _make_room(self, name: str) -> None:
        if name not in self._counts and len(self._counts) >= MOST_NAMES:
            now = self._clock()
            self._counts = {known: entry for known, entry in self._counts.items() if entry[1] > now}
            while len(self._counts) >= MOST_NAMES:
                del self._counts[next(iter(self._counts))]


class SafeTallies:
    """Counts in Redis, and in memory for the seconds after a call to Redis failed.

    What is piled up under one name of a `pile` is apart from what is under another's.
    """

    def __init__(self, client: "redis.Redis", clock: Clock = time.monotonic, pile: str = PILE) -> None:
        self._shared, self._own = RedisTallies(client, pile), MemoryTallies(clock)
        self._clock = clock
        self._away_until = 0.0

    def hit(self, name: str, seconds: int) -> int:
        """See Tallies."""
        return self._try(lambda tallies: tallies.hit(name, seconds))

    def look(self, name: str) -> tuple[int, float]:
        """See Tallies."""
        return self._try(lambda tallies: tallies.look(name))

    def turn(self, name: str, seconds: int) -> bool:
        """See Tallies."""
        return self._try(lambda tallies: tallies.turn(name, seconds))

    def pile(self, name: str, count: int = 1) -> None:
        """See Tallies."""
        self._try(lambda tallies: tallies.pile(name, count))

    def take(self, name: str) -> int:
        """Return what is in Redis and in memory, and forget it."""
        shared = self._try(lambda tallies: tallies.take(name))
        return shared + self._own.take(name)

    def piled(self) -> list[str]:
        """See Tallies."""
        return self._try(lambda tallies: tallies.piled())

    def left(self) -> list[str]:
        """Return the names of what was piled up in this process's memory, where no other one finds it."""
        return self._own.piled()

    def own_turn(self, name: str, seconds: int) -> bool:
        """Tell whether it is the first time within so long in this process."""
        return self._own.turn(name, seconds)

    def is_shared(self) -> bool:
        """Tell whether the last call reached Redis."""
        return self._clock() >= self._away_until

    def _try[Result](self, count: Callable[[Tallies], Result]) -> Result:
        if self.is_shared():
            try:
                return count(self._shared)
            except redis.RedisError:
                self._away_until = self._clock() + AWAY_SECONDS
        return count(self._own)
