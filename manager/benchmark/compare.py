"""Tells whether one run is better or worse than another, and not by chance.

A run is cut into blocks of time, and these are drawn again and again (a block bootstrap): requests that are close in
time are alike, so blocks are what chance acts on. A change counts if the interval that holds 99 % of its draws leaves
out "no change", and it is larger than what is tolerated.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from manager.benchmark.histogram import Histogram, merged
from manager.benchmark.results import Document, Result

BETTER, WORSE, SAME, NOT_COMPARABLE = "better", "worse", "same", "not comparable"
_DRAWS = 300
_MOST_BLOCKS, _FEWEST_BLOCKS = 30, 8
# A percentile is known if so many requests lie above it.
_FEWEST_ABOVE = 10
_METRICS = {"throughput": 0.0, "p50": 50.0, "p95": 95.0, "p99": 99.0}
# Two shares of errors differ if chance makes such a difference in one of a hundred cases, and by 0.1 % of requests.
_Z, _LEAST_SHARE = 2.58, 0.001


@dataclass(frozen=True)
class Change:
    """Of a metric: before, after, their ratio less 1 with its 99 % interval, and the verdict. Durations are in ms."""

    load: str
    target: str
    metric: str
    before: float
    after: float
    change: float | None
    low: float | None
    high: float | None
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """The verdict, why things cannot be compared, and all changes."""

    verdict: str
    reasons: tuple[str, ...]
    changes: tuple[Change, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def compare(before: Document, after: Document, tolerance: float = 0.05) -> Comparison:
    """Compare two runs. It is worse if anything is, better if something is and nothing is worse."""
    reasons = list(_differences(before, after))
    if reasons:
        return Comparison(NOT_COMPARABLE, tuple(reasons), ())
    changes: list[Change] = []
    for first, second in _pairs(before, after):
        if reason := _too_little(first, before.interval_s) or _too_little(second, after.interval_s):
            reasons.append(f"{second.target}, {second.load}: {reason}")
            continue
        changes += _changes(first, second, (before.interval_s, after.interval_s), tolerance)
    verdicts = {each.verdict for each in changes}
    if not changes:
        return Comparison(NOT_COMPARABLE, tuple(reasons) or ("they have no step and target in common",), ())
    verdict = next((each for each in (WORSE, BETTER) if each in verdicts), SAME)
    return Comparison(verdict, tuple(reasons), tuple(changes))


def _differences(before: Document, after: Document) -> Iterator[str]:
    for name in ("endpoint", "method", "body", "steps", "expected", "is_kept"):
        if before.plan.get(name) != after.plan.get(name):
            yield f"their plans differ in `{name}`"
    for document, which in ((before, "first"), (after, "second")):
        if not document.is_whole:
            yield f"the {which} was ended before its end"


def _pairs(before: Document, after: Document) -> Iterator[tuple[Result, Result]]:
    """Give results of the same step and target; where each run has but one target, its name does not matter."""
    is_single = all(len(each.plan["targets"]) == 1 for each in (before, after))
    for second in after.results:
        for first in before.results:
            if first.step == second.step and (is_single or first.target == second.target):
                yield first, second


def _too_little(result: Result, interval_s: float) -> str | None:
    if (found := len(_intervals(result, interval_s))) < _FEWEST_BLOCKS:
        return f"too short: {found} intervals of {interval_s:g} s, and {_FEWEST_BLOCKS} are needed"
    errors = sum(result.tally.errors.values())
    if result.latency.count < 2 * _FEWEST_ABOVE and not errors:
        return f"{result.latency.count} answers are too few"
    return None


def _intervals(result: Result, interval_s: float) -> list[Histogram]:
    """Return the whole intervals of a step, those in which nothing came as well."""
    latency = result.tally.latency
    return [latency.get(each, Histogram()) for each in range(math.floor(result.seconds / interval_s + 1e-6))]


def _blocks(result: Result, interval_s: float) -> list[Histogram]:
    found = _intervals(result, interval_s)
    size = math.ceil(len(found) / _MOST_BLOCKS)
    return [merged(found[start : start + size]) for start in range(0, len(found) - size + 1, size)]


def _changes(first: Result, second: Result, intervals: tuple[float, float], tolerance: float) -> Iterator[Change]:
    blocks = [_blocks(each, interval_s) for each, interval_s in zip((first, second), intervals, strict=True)]
    chance = random.Random(1)  # noqa: S311 - the same runs compare the same
    draws = [[_drawn(each, chance) for each in blocks] for _ in range(_DRAWS)]
    whole = [_figures(merged(each), len(each)) for each in blocks]
    fewest = min(sum(each.count for each in some) for some in blocks)
    for metric, percent in _METRICS.items():
        if percent and fewest * (1 - percent / 100) < _FEWEST_ABOVE:
            continue
        ratios = sorted(after[metric] / before[metric] for before, after in draws if before[metric])
        before, after = first.figures, second.figures
        known = before if metric == "throughput" else before["latency_ms"]
        then = after if metric == "throughput" else after["latency_ms"]
        if not ratios or not whole[0][metric]:
            continue
        change = then[metric] / known[metric] - 1 if known[metric] else 0.0
        edge = max(0, len(ratios) // 200)
        low, high = ratios[edge] - 1, ratios[-1 - edge] - 1
        verdict = _verdict(change, low, high, tolerance, is_more_better=metric == "throughput")
        yield Change(second.load, second.target, metric, known[metric], then[metric], change, low, high, verdict)
    yield _errors(first, second)


def _drawn(blocks: list[Histogram], chance: random.Random) -> dict[str, float]:
    return _figures(merged(chance.choices(blocks, k=len(blocks))), len(blocks))


def _figures(histogram: Histogram, blocks: int) -> dict[str, float]:
    latency = {name: histogram.percentile(percent) for name, percent in _METRICS.items() if percent}
    return {"throughput": histogram.count / blocks} | latency


def _verdict(change: float, low: float, high: float, tolerance: float, is_more_better: bool) -> str:
    is_certain = low > 0 if change > 0 else high < 0
    if not is_certain or abs(change) <= tolerance:
        return SAME
    return BETTER if (change > 0) == is_more_better else WORSE


def _errors(first: Result, second: Result) -> Change:
    failed, all_of = zip(*((each.figures["errors"], each.figures["requests"]) for each in (first, second)), strict=True)
    before, after = (errors / max(1, requests) for errors, requests in zip(failed, all_of, strict=True))
    pooled = sum(failed) / max(1, sum(all_of))
    spread = math.sqrt(pooled * (1 - pooled) * sum(1 / max(1, each) for each in all_of))
    verdict = SAME
    if abs(after - before) > max(_Z * spread, _LEAST_SHARE):
        verdict = WORSE if after > before else BETTER
    return Change(second.load, second.target, "error_rate", before * 100, after * 100, None, None, None, verdict)
