"""What may be counted against a request: the rate of its key, and the failures that come first."""

from collections.abc import Callable
from dataclasses import dataclass

_KEPT = 1000


@dataclass(slots=True)
class _Bucket:
    """Requests that may be made ``at`` some moment; refilled as time passes."""

    left: float
    at: float


class Quotas:
    """Counts by name, for the last thousand names. ``clock`` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._failures: dict[str, int] = {}

    def wait(self, name: str, rate: float) -> float:
        """Takes one of ``rate`` requests a second, and at least one at a time; the seconds to wait if none is left."""
        now, most = self._clock(), max(1.0, rate)
        bucket = _kept(self._buckets, name, _Bucket(most, now))
        bucket.left, bucket.at = min(most, bucket.left + (now - bucket.at) * rate), now
        if bucket.left >= 1:
            bucket.left -= 1
            return 0
        return (1 - bucket.left) / rate if rate else 86_400

    def fails(self, name: str, first: int) -> bool:
        """Whether this is one of the first so many."""
        self._failures[name] = _kept(self._failures, name, 0) + 1
        return self._failures[name] <= first

    def forget(self, name: str) -> None:
        """Counts anew for this name."""
        self._buckets.pop(name, None)
        self._failures.pop(name, None)


def _kept[T](counts: dict[str, T], name: str, new: T) -> T:
    """What is counted for the name; the oldest name makes room for a new one."""
    if name not in counts and len(counts) >= _KEPT:
        del counts[next(iter(counts))]
    return counts.setdefault(name, new)
