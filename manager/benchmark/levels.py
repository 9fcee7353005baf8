"""What is written on the command line for durations, and for levels that rise: `16`, steps `1,4,16`, a ramp `1-64`."""

from __future__ import annotations

import math
import re

from shared import durations

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?")
_NUMBER = r"\d{1,9}(?:\.\d{1,6})?"
_LEVEL = re.compile(rf"\s*({_NUMBER})\s*(?:-\s*({_NUMBER})\s*)?")


def seconds(text: str) -> float:
    """Return seconds: of `500ms`, `30s`, `5m`, `1h`, plain seconds, or ISO 8601. Raises ValueError."""
    if found := _DURATION.fullmatch(text.strip()):
        value = float(found[1]) * _SECONDS[found[2] or "s"]
    else:
        try:
            value = durations.parse(text).total_seconds()
        except ValueError:
            raise ValueError(f"{text!r} is no duration such as 500ms, 30s, 5m or 1h") from None
    if not 0 < value <= durations.LONGEST.total_seconds():
        raise ValueError("a duration must be longer than zero, and not longer than 100 years")
    return value


def levels(text: str) -> list[tuple[float, float]]:
    """Return where each step begins and ends. Raises ValueError.

    >>> levels("1,4,16-64")
    [(1.0, 1.0), (4.0, 4.0), (16.0, 64.0)]
    """
    found = [_LEVEL.fullmatch(each) for each in text.split(",")]
    if not all(found):
        raise ValueError(f"{text!r} is neither a number, nor steps such as 1,4,16, nor a ramp such as 1-64")
    made = [(float(each[1]), float(each[2] or each[1])) for each in found if each]
    if any(not 0 < max(pair) < math.inf for pair in made):
        raise ValueError("a level must be above zero")
    return made


def whole_levels(text: str) -> list[tuple[int, int]]:
    """Return levels that are whole numbers from 1. Raises ValueError."""
    made = levels(text)
    if any(value < 1 or value != int(value) for pair in made for value in pair):
        raise ValueError(f"{text!r} is no whole number from 1")
    return [(int(start), int(end)) for start, end in made]
