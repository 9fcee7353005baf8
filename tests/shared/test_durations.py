"""Durations: seconds or ISO 8601, one meaning, and nothing that could overflow a date later."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import durations


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (1, timedelta(seconds=1)),
        (900, timedelta(minutes=15)),
        ("900", timedelta(minutes=15)),
        (" 60 ", timedelta(minutes=1)),
        ("PT15M", timedelta(minutes=15)),
        ("PT1.5S", timedelta(seconds=1.5)),
        ("P30D", timedelta(days=30)),
        ("P2W", timedelta(days=14)),
        ("P1DT12H30M5S", timedelta(days=1, hours=12, minutes=30, seconds=5)),
        (" P1D ", timedelta(days=1)),
        ("P36500D", durations.LONGEST),
        (36_500 * 86_400, durations.LONGEST),
    ],
)
def test_seconds_and_iso_8601_are_understood(written: str | int, meant: timedelta) -> None:
    assert durations.parse(written) == meant


@pytest.mark.parametrize("written", [0, "0", "PT0S", "P0D", "P0Y", "PT", -1, "-PT5M", "-P1D", "PT0.0000001S"])
def test_a_duration_is_longer_than_zero(written: str | int) -> None:
    with pytest.raises(ValueError, match="longer than zero"):
        durations.parse(written)


@pytest.mark.parametrize("written", ["P36501D", "PT876001H", 36_500 * 86_400 + 1, "P999999999D"])
def test_a_duration_has_an_end(written: str | int) -> None:
    with pytest.raises(ValueError, match="at most 36500 days"):
        durations.parse(written)


@pytest.mark.parametrize("written", [10**30, "9" * 40, "9" * 5000, "P1000000000D", f"P{'9' * 400}D", "PT1E999S"])
def test_a_huge_number_is_a_fault_and_no_crash(written: str | int) -> None:
    with pytest.raises(ValueError, match="a duration"):
        durations.parse(written)


@pytest.mark.parametrize("written", ["P1Y", "P1M", "P1Y1D", "P1Y2M10DT2H30M"])
def test_years_and_months_are_refused_with_a_way_out(written: str) -> None:
    with pytest.raises(ValueError, match="write the duration in days"):
        durations.parse(written)


@pytest.mark.parametrize("written", [True, False])
def test_a_truth_value_is_no_number_of_seconds(written: bool) -> None:
    with pytest.raises(ValueError, match="not a truth value"):
        durations.parse(written)


@pytest.mark.parametrize(
    "written", ["", " ", "P", "T", "soon", "15m", "1e3", "60.5", "-60", "+60", "1_000", "0x10", "²", "P1D1H", "PT1M1H"]
)
def test_junk_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="whole seconds or ISO 8601"):
        durations.parse(written)


@given(st.text() | st.from_regex(r"-?P[0-9.,YMWDTHS]{0,20}") | st.integers() | st.booleans())
def test_anything_is_either_a_usable_duration_or_a_value_error(written: str | int) -> None:
    try:
        duration = durations.parse(written)
    except ValueError:
        return

    assert timedelta(0) < duration <= durations.LONGEST
    assert datetime(2099, 12, 31, tzinfo=UTC) + duration > datetime(2099, 12, 31, tzinfo=UTC)


@given(st.timedeltas(min_value=timedelta(microseconds=1), max_value=durations.LONGEST))
def test_what_is_rendered_reads_back_the_same(duration: timedelta) -> None:
    assert durations.parse(durations.render(duration)) == duration


@given(st.integers(1, 36_500 * 86_400))
def test_text_and_number_mean_the_same_seconds(seconds: int) -> None:
    assert durations.parse(seconds) == durations.parse(str(seconds)) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("duration", "text"),
    [(timedelta(minutes=15), "PT15M"), (timedelta(days=30), "P30D"), (timedelta(hours=25), "P1DT1H")],
)
def test_durations_are_rendered_as_iso_8601(duration: timedelta, text: str) -> None:
    assert durations.render(duration) == text
