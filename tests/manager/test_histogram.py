"""Rules of histograms: buckets sort like durations, and percentiles of random durations are told within ten percent."""

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager import histogram

PERCENTS = (50, 95, 99)
COUNT = 5000

DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "log-normal": lambda chance: chance.lognormvariate(7.0, 1.0),
    "even": lambda chance: chance.uniform(5, 30_000),
    "exponential": lambda chance: 1 + chance.expovariate(1 / 900),
    "heavy tail": lambda chance: 20 * chance.paretovariate(1.2),
    "two humps": lambda chance: chance.lognormvariate(3.0 if chance.random() < 0.6 else 9.0, 0.4),
    "a narrow one": lambda chance: chance.gauss(800, 30),
}


def exact(durations: Sequence[float], percent: int) -> float:
    """A percentile by the nearest rank."""
    return sorted(durations)[max(1, math.ceil(len(durations) * percent / 100)) - 1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_percentiles_of_random_durations_are_within_ten_percent(name: str, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    durations = [DISTRIBUTIONS[name](chance) for _ in range(COUNT)]

    told = histogram.percentiles(Counter(map(histogram.bucket_of, durations)), PERCENTS)

    assert {percent: told[percent] / exact(durations, percent) for percent in PERCENTS} == {
        percent: pytest.approx(1, rel=0.1) for percent in PERCENTS
    }


@given(st.floats(1.001, 2.0**39))
def test_of_a_single_duration_every_percentile_is_within_ten_percent(duration: float) -> None:
    told = histogram.percentiles({histogram.bucket_of(duration): 1}, PERCENTS)

    assert told[50] == told[95] == told[99] == pytest.approx(duration, rel=0.1)


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_no_percentile_is_further_away_than_its_bucket_is_wide(durations: list[float]) -> None:
    told = histogram.percentiles(Counter(map(histogram.bucket_of, durations)), PERCENTS)

    for percent in PERCENTS:
        assert abs(math.log2(told[percent] / max(1.0, exact(durations, percent)))) < 1 / 4
    assert told[50] <= told[95] <= told[99]


@given(st.floats(0, 1e15), st.floats(0, 1e15))
def test_buckets_sort_like_durations(one: float, other: float) -> None:
    shorter, longer = sorted((one, other))

    assert histogram.bucket_of(shorter) <= histogram.bucket_of(longer)


@pytest.mark.parametrize(
    ("duration", "bucket"),
    [
        (-5.0, "000"),
        (0.0, "000"),
        (float("nan"), "000"),
        (1.0, "000"),
        (1.18, "000"),
        (1.2, "001"),
        (2.0, "004"),
        (1000.0, "039"),
        (1024.0, "040"),
        (86_400_000.0, "105"),
        (1e300, "160"),
        (float("inf"), "160"),
    ],
)
def test_every_duration_has_a_bucket(duration: float, bucket: str) -> None:
    assert histogram.bucket_of(duration) == bucket


def test_four_buckets_double_a_duration() -> None:
    for number in range(1, 160):
        start = 2 ** (number / 4)

        assert histogram.bucket_of(start * 1.0001) == f"{number:03}"
        assert histogram.bucket_of(start * 0.9999) == f"{number - 1:03}"


def test_of_nothing_there_are_no_percentiles() -> None:
    assert histogram.percentiles({}, PERCENTS) == {}


def test_histograms_are_merged_by_adding() -> None:
    assert histogram.merged([{"001": 2, "007": 1}, {}, {"007": 4}]) == {"001": 2, "007": 5}
