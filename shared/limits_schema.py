"""How limits and what is left of them are written in Redis. `shared/lua/admit.lua` reads the one and answers the other.

Limits are one flat JSON array of five values each: measure, window, amount, burst (-1: as the amount) and on_outage;
Lua reads that several times as fast as objects.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from shared.models import Limit, LimitState, Measure, OnOutage, Scope, Window

_VALUES = 5
_STATE_VALUES = 6
_decoder = msgspec.json.Decoder(list[str | int])
_SCOPES = {scope.encode(): scope for scope in Scope}
_MEASURES = {measure.encode(): measure for measure in Measure}
_WINDOWS = {window.encode(): window for window in Window}


def encode_limits(limits: Sequence[Limit]) -> str:
    """Return the published form of limits; empty if there are none."""
    flat: list[str | int] = []
    for limit in limits:
        burst = -1 if limit.burst is None else limit.burst
        flat += [limit.measure, limit.window, limit.amount, burst, limit.on_outage]
    return msgspec.json.encode(flat).decode() if flat else ""


def decode_limits(published: str) -> tuple[Limit, ...]:
    """Read the published form. Raises ValueError, TypeError or MsgspecError if it does not fit."""
    values = _decoder.decode(published) if published else []
    return tuple(_limit(*values[at : at + _VALUES]) for at in range(0, len(values), _VALUES))


def _limit(*values: str | int) -> Limit:
    measure, window, amount, burst, on_outage = values
    if not isinstance(amount, int) or not isinstance(burst, int):
        raise TypeError("the amount and the burst of a limit are numbers")
    names = Measure(str(measure)), Window(str(window))
    return Limit(*names, amount, None if burst < 0 else burst, OnOutage(str(on_outage)))


def decode_standing(values: Sequence[bytes | int]) -> tuple[LimitState, ...]:
    """Read what scripts say about limits, six values each. Raises ValueError or TypeError if it does not fit."""
    return tuple(_state(*values[at : at + _STATE_VALUES]) for at in range(0, len(values), _STATE_VALUES))


def _state(
    scope: bytes | int, measure: bytes | int, window: bytes | int, amount: bytes | int, remaining: bytes | int,
    reset: bytes | int,
) -> LimitState:  # fmt: skip
    try:
        names = _SCOPES[scope], _MEASURES[measure], _WINDOWS[window]  # type: ignore[index]
    except KeyError as error:
        raise ValueError(f"no such scope, measure or window: {error}") from error
    milliseconds = int(reset)
    return LimitState(*names, int(amount), int(remaining), None if milliseconds < 0 else milliseconds)


def period_of(window: Window, moment: datetime) -> str:
    """Name the period of a counter at an aware moment, as it is written in Redis; empty for those that never end.

    >>> period_of(Window.MONTH, datetime(2026, 3, 1, tzinfo=UTC))
    '24314'
    """
    there = moment.astimezone(UTC)
    if window is Window.MONTH:
        return str(there.year * 12 + there.month - 1)
    lengths = {Window.MINUTE: 60, Window.DAY: 86_400}
    return str(int(there.timestamp()) // lengths[window]) if window in lengths else ""
