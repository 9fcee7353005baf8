"""Rules of what is written for durations and levels."""

import pytest

from manager.benchmark.levels import levels, seconds, whole_levels


@pytest.mark.parametrize(
    ("text", "meant"), [("500ms", 0.5), ("30s", 30), ("1.5m", 90), ("1h", 3600), ("7", 7), ("PT15M", 900)]
)
def test_durations(text: str, meant: float) -> None:
    assert seconds(text) == meant


@pytest.mark.parametrize("text", ["", "0s", "-3s", "soon", "3 days", "nan", "1e9h", "999999999999h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("16", [(16, 16)]),
        ("1, 4,16", [(1, 1), (4, 4), (16, 16)]),
        ("1-64", [(1, 64)]),
        ("64-1,0.5", [(64, 1), (0.5, 0.5)]),
    ],
)
def test_levels_are_one_several_or_a_ramp(text: str, meant: list[tuple[float, float]]) -> None:
    assert levels(text) == meant


@pytest.mark.parametrize("text", ["", "a", "1,,2", "1-2-3", "-1", "0", "0-0"])
def test_what_is_no_level_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        levels(text)


@pytest.mark.parametrize("text", ["0.5", "0-4", "4-0"])
def test_connections_are_whole(text: str) -> None:
    with pytest.raises(ValueError, match="whole"):
        whole_levels(text)
