"""Percentiles, and what a burst shows."""

import pytest

from tests.bench.burst import percentile, spread


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([5.0], 50, 5.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 50, 2.0),
        (list(map(float, range(1, 101))), 99, 99.0),
        (list(map(float, range(1, 101))), 100, 100.0),
        ([1.0, 2.0], 0, 1.0),
    ],
)
def test_a_percentile_is_a_value_that_was_seen(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_figures_are_named_with_their_unit_and_missing_where_nothing_was_seen() -> None:
    assert spread("ttfb_", [1.0, 2.0, 3.0]) == {"ttfb_p50_ms": 2.0, "ttfb_p99_ms": 3.0}
    assert spread("ttfb_", []) == {}
