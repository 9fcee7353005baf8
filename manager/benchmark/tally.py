"""What has been seen of one target in one step; what several processes have seen is added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from manager.benchmark.histogram import Histogram, merged

# Durations beside the latency: until the connection was open, the first byte, the first chunk of a stream; between two
# reads of one stream; what `Server-Timing` says of proxy and upstream; how late we were with a request that was due.
DURATIONS = ("connect", "first_byte", "first_chunk", "gap", "proxy", "upstream", "lag")
COUNTS = ("chunks", "received", "sent", "opened", "reused")


class Tally:
    """Counts and histograms. Latencies are kept for each interval of the step, by when the answer was whole.

    `done` counts good answers by the part of their time that lay before the load ended: throughput is made of these, so
    that an answer which still came after it counts for what was done of it. `received` and `sent` are bytes of HTTP.
    `errors` are by kind, `statuses` of all whole answers.
    """

    def __init__(self) -> None:
        self.latency: dict[int, Histogram] = {}
        self.errors_at: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.counts: Counter[str] = Counter()
        self.done = 0.0
        self.connect, self.first_byte, self.first_chunk, self.gap = Histogram(), Histogram(), Histogram(), Histogram()
        self.proxy, self.upstream, self.lag = Histogram(), Histogram(), Histogram()

    def answered(self, interval: int, latency_ns: int) -> None:
        """Count a good answer."""
        histogram = self.latency.get(interval)
        if histogram is None:
            histogram = self.latency[interval] = Histogram()
        histogram.record(latency_ns)

    def failed(self, interval: int, kind: str) -> None:
        """Count an error."""
        self.errors[kind] += 1
        self.errors_at[interval] += 1

    @property
    def whole_latency(self) -> Histogram:
        """Return the latencies of all intervals."""
        return merged(self.latency.values())

    def merge(self, other: Tally) -> None:
        """Add what another one has seen."""
        for interval, histogram in other.latency.items():
            self.latency.setdefault(interval, Histogram()).merge(histogram)
        for name in ("errors_at", "errors", "statuses", "counts"):
            getattr(self, name).update(getattr(other, name))
        self.done += other.done
        for name in DURATIONS:
            getattr(self, name).merge(getattr(other, name))

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "latency": {str(interval): self.latency[interval].as_dict() for interval in sorted(self.latency)},
            "errors_at": {str(interval): count for interval, count in sorted(self.errors_at.items())},
            "errors": dict(self.errors),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "done": self.done,
            "counts": {name: self.counts[name] for name in COUNTS},
            "durations": {name: each.as_dict() for name in DURATIONS if (each := getattr(self, name)).count},
        }

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Tally:
        """Read what `as_dict` wrote. Raises KeyError, TypeError, AttributeError or ValueError for anything else."""
        made = cls()
        made.latency = {int(interval): Histogram.from_dict(each) for interval, each in told["latency"].items()}
        made.errors_at.update({int(interval): int(count) for interval, count in told["errors_at"].items()})
        made.errors.update({str(kind): int(count) for kind, count in told["errors"].items()})
        made.statuses.update({int(status): int(count) for status, count in told["statuses"].items()})
        made.counts.update({name: int(told["counts"][name]) for name in COUNTS})
        made.done = float(told["done"])
        for name in DURATIONS:
            if name in told["durations"]:
                setattr(made, name, Histogram.from_dict(told["durations"][name]))
        return made
