"""Durations, with one meaning everywhere: a number of seconds, or ISO 8601 such as PT15M and P30D."""

from datetime import timedelta

import isodate

# Far more than anybody means, and little enough to be added to any date of this century.
LONGEST = timedelta(days=36_500)


def parse(value: str | int) -> timedelta:
    """Return a duration above zero, at most LONGEST.

    Raises ValueError for zero, negative, endless, malformed or calendar-dependent values.
    """
    duration = _parse(value)
    if duration <= timedelta(0):
        raise ValueError("a duration must be longer than zero")
    if duration > LONGEST:
        raise ValueError(f"a duration must be at most {LONGEST.days} days")
    return duration


def render(duration: timedelta) -> str:
    """Return the ISO 8601 form."""
    return str(isodate.duration_isoformat(duration))


def _parse(value: str | int) -> timedelta:
    if isinstance(value, bool):
        raise ValueError("a duration is a number of seconds or ISO 8601, not a truth value")
    try:
        if isinstance(value, int) or value.strip().isdecimal():
            return timedelta(seconds=int(value))
        duration = isodate.parse_duration(value.strip())
    except (isodate.ISO8601Error, OverflowError, ValueError) as error:
        raise ValueError("a duration is whole seconds or ISO 8601 like PT15M, P30D") from error
    if not isinstance(duration, timedelta):
        raise ValueError("years and months differ in length; write the duration in days, e.g. P30D")
    return duration
