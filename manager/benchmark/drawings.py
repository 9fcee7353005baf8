"""The plots of one step: latency by percentile, latency and throughput over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from manager.benchmark import plots
from manager.benchmark.histogram import middle_of
from manager.benchmark.plots import Line, plot
from manager.benchmark.results import Result


def drawings(results: Sequence[Result], interval_s: float, colours: Mapping[str, int]) -> Iterator[Markup]:
    """Give the plots of a step, each with lines of all targets; `colours` are numbers by target."""
    highest = max(each.latency.high for each in results) / 1e6
    lowest = max(min(each.latency.low for each in results) / 1e6, 1e-3)
    most = min(5, max(2, len(str(max(each.latency.count for each in results))) - 1))
    curves = [Line(each.target, colours[each.target], list(_curve(each))) for each in results]
    up = plots.logarithmic("ms", lowest, highest)
    yield plot("Latency by percentile", plots.nines("share of requests", most), up, curves)
    course = [line for each in results for line in _course(each, interval_s, colours[each.target])]
    seconds = max(each.seconds for each in results)
    top = max((value for line in course for _, value in line.points), default=1.0)
    yield plot("Latency over time: p50, p99 thin", plots.linear("s", seconds), plots.linear("ms", top), course)
    rates = [Line(each.target, colours[each.target], list(_rates(each, interval_s))) for each in results]
    top = max((value for line in rates for _, value in line.points), default=1.0)
    yield plot("Throughput over time", plots.linear("s", seconds), plots.linear("requests/s", top), rates)


def _curve(result: Result) -> Iterator[tuple[float, float]]:
    seen, whole = 0, result.latency.count
    yield 0.0, result.latency.low / 1e6
    for bucket in sorted(result.latency.counts):
        yield seen / whole, min(middle_of(bucket), result.latency.high) / 1e6
        seen += result.latency.counts[bucket]
    yield 1.0, result.latency.high / 1e6


def _course(result: Result, interval_s: float, colour: int) -> Iterator[Line]:
    for percent in (50, 99):
        points = [
            ((interval + 0.5) * interval_s, histogram.percentile(percent) / 1e6)
            for interval, histogram in sorted(result.tally.latency.items())
            if interval < _whole(result, interval_s)
        ]
        yield Line(f"{result.target} p{percent}", colour, points, is_thin=percent == 99)


def _rates(result: Result, interval_s: float) -> Iterator[tuple[float, float]]:
    for interval in range(_whole(result, interval_s)):
        histogram = result.tally.latency.get(interval)
        yield (interval + 0.5) * interval_s, (histogram.count if histogram else 0) / interval_s


def _whole(result: Result, interval_s: float) -> int:
    """Return how many intervals are whole: of the last one there may be a part only, and after it few answers."""
    return int(result.seconds / interval_s + 1e-6)
