"""A log-linear histogram of durations, after HdrHistogram: exact count, sum, minimum and maximum; percentiles to 0.4 %.

Each doubling has 128 buckets of the same width; below 256 ns each nanosecond has its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

_BITS = 7
_PER_DOUBLING = 1 << _BITS
_EXACT = _PER_DOUBLING * 2


def bucket_of(ns: int) -> int:
    """Return the number of the bucket that a duration belongs to; the numbers sort like the durations."""
    if ns < _EXACT:
        return max(ns, 0)
    shift = ns.bit_length() - _BITS - 1
    return (shift << _BITS) + (ns >> shift)


def middle_of(bucket: int) -> float:
    """Return the middle of a bucket in ns."""
    if bucket < _EXACT:
        return bucket
    shift = (bucket >> _BITS) - 1
    return ((bucket - (shift << _BITS)) << shift) + (1 << shift) / 2


class Histogram:
    """Durations in ns; those of several are put together with `merge`."""

    __slots__ = ("counts", "count", "total", "low", "high")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.total = 0
        self.low = 0
        self.high = 0

    def record(self, ns: int) -> None:
        """Count one duration."""
        # `bucket_of`, once more: this is done several times for each request.
        if ns >= _EXACT:
            shift = ns.bit_length() - _BITS - 1
            bucket = (shift << _BITS) + (ns >> shift)
        else:
            bucket = ns = max(ns, 0)
        counts = self.counts
        counts[bucket] = counts.get(bucket, 0) + 1
        self.total += ns
        if ns > self.high:
            self.high = ns
        if ns < self.low or not self.count:
            self.low = ns
        self.count += 1

    def merge(self, other: Histogram) -> None:
        """Count what another one has counted as well."""
        if not other.count:
            return
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.low = min(self.low, other.low) if self.count else other.low
        self.high = max(self.high, other.high)
        self.total += other.total
        self.count += other.count

    def percentile(self, percent: float) -> float:
        """Return a percentile in ns by the nearest rank, 0.0 of nothing."""
        if not self.count:
            return 0.0
        rank = max(1, math.ceil(self.count * percent / 100 - 1e-9))
        if rank >= self.count:
            return float(self.high)
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return float(min(max(middle_of(bucket), self.low), self.high))
        return float(self.high)

    def mean(self) -> float:
        """Return the mean in ns, 0.0 of nothing."""
        return self.total / self.count if self.count else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it; `buckets` are pairs of number and count."""
        pairs = [[bucket, self.counts[bucket]] for bucket in sorted(self.counts)]
        return {"sum_ns": self.total, "min_ns": self.low, "max_ns": self.high, "buckets": pairs}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Histogram:
        """Read what `as_dict` wrote. Raises KeyError, TypeError or ValueError for anything else."""
        made = cls()
        made.counts = {int(bucket): int(count) for bucket, count in told["buckets"]}
        made.count = sum(made.counts.values())
        made.total, made.low, made.high = int(told["sum_ns"]), int(told["min_ns"]), int(told["max_ns"])
        return made


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return a new one with the counts of several."""
    made = Histogram()
    for histogram in histograms:
        made.merge(histogram)
    return made
