"""Rules of the histogram: percentiles to 0.4 %, exact ends, and the same whether counted here or put together."""

import json
import math
import random

import pytest

from manager.benchmark.histogram import Histogram, bucket_of, merged, middle_of

WANTED = [1, 10, 50, 90, 95, 99, 99.9]


def histogram(durations: list[int]) -> Histogram:
    made = Histogram()
    for duration in durations:
        made.record(duration)
    return made


def durations() -> list[int]:
    """Three magnitudes of them, as latencies have."""
    chance = random.Random(7)  # noqa: S311
    return [round(chance.lognormvariate(16, 1.5)) for _ in range(20_000)]


@pytest.mark.parametrize("percent", WANTED)
def test_percentiles_are_within_half_a_percent(percent: float) -> None:
    seen = durations()

    true = sorted(seen)[math.ceil(len(seen) * percent / 100) - 1]

    assert histogram(seen).percentile(percent) == pytest.approx(true, rel=0.004)


def test_count_ends_and_mean_are_exact() -> None:
    seen = durations()

    made = histogram(seen)

    assert (made.count, made.low, made.high, made.percentile(100)) == (len(seen), min(seen), max(seen), max(seen))
    assert made.mean() == sum(seen) / len(seen)


def test_several_put_together_are_as_one() -> None:
    seen = durations()

    together = merged([histogram(seen[:5]), histogram([]), histogram(seen[5:])])

    assert together.as_dict() == histogram(seen).as_dict()


def test_json_keeps_all_of_it() -> None:
    made = histogram(durations())

    assert Histogram.from_dict(json.loads(json.dumps(made.as_dict()))).as_dict() == made.as_dict()


@pytest.mark.parametrize("ns", [0, 1, 255, 256, 257, 511, 512, 1_000_000, 3_600_000_000_000])
def test_a_bucket_holds_what_belongs_to_it_and_sorts_like_it(ns: int) -> None:
    assert middle_of(bucket_of(ns)) == pytest.approx(ns, rel=0.004)
    assert bucket_of(ns) <= bucket_of(ns + 1) <= bucket_of(ns) + 1


def test_nothing_has_no_percentiles() -> None:
    assert (Histogram().percentile(99), Histogram().mean()) == (0.0, 0.0)


def test_a_duration_below_zero_counts_as_none() -> None:
    assert histogram([-5]).as_dict() == {"sum_ns": 0, "min_ns": 0, "max_ns": 0, "buckets": [[0, 1]]}
