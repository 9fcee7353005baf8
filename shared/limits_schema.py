"""How limits and what is left of them are written in Redis. `shared/lua/admit.lua` reads the one and answers the other.

Limits are MessagePack values without an array around them, which Lua reads ten times as fast as JSON: how many there
are, their fields (`<measure>:<window>`, the name of a limit within its scope), and then five values of each: measure,
window, amount, burst (-1: as the amount), and what holds on an outage.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from shared.models import WINDOWS, Limit, LimitState, Measure, OnOutage, Scope, Window

_decoder = msgspec.msgpack.Decoder(list[int | str])
_VALUES = 5
_SCOPES = {scope.encode(): scope for scope in Scope}
_FIELDS = {
    f"{measure}:{window}".encode(): (measure, window) for measure, windows in WINDOWS.items() for window in windows
}
_STATE_VALUES = 5


def field_of(limit: Limit) -> str:
    """Name a limit within its scope."""
    return f"{limit.measure}:{limit.window}"


def encode_limits(limits: Sequence[Limit]) -> bytes:
    """Return the published form of limits; empty if there are none."""
    if not limits:
        return b""
    values = [len(limits), *map(field_of, limits), *[value for limit in limits for value in _values(limit)]]
    return b"".join(map(msgspec.msgpack.encode, values))


def _values(limit: Limit) -> tuple[str | int, ...]:
    burst = -1 if limit.burst is None else limit.burst
    return limit.measure, limit.window, limit.amount, burst, limit.on_outage


def decode_limits(published: bytes) -> tuple[Limit, ...]:
    """Read the published form. Raises ValueError, TypeError or MsgspecError if it does not fit."""
    count = published[0] if published else 0
    length = 1 + count * (1 + _VALUES)
    values = _decoder.decode(b"\xdc" + length.to_bytes(2) + published) if count else []
    return tuple(_limit(*values[at : at + _VALUES]) for at in range(1 + count, length, _VALUES))


def _limit(*values: int | str) -> Limit:
    measure, window, amount, burst, on_outage = values
    if not isinstance(amount, int) or not isinstance(burst, int):
        raise TypeError("the amount and the burst of a limit are numbers")
    names = Measure(str(measure)), Window(str(window))
    return Limit(*names, amount, None if burst < 0 else burst, OnOutage(str(on_outage)))


def decode_standing(values: Sequence[Any]) -> tuple[LimitState, ...]:
    """Read what scripts say about limits, five values each. Raises ValueError or TypeError if it does not fit."""
    states = []
    try:
        for at in range(0, len(values), _STATE_VALUES):
            scope, name, amount, remaining, reset = values[at : at + _STATE_VALUES]
            if amount < 0 or remaining < 0:  # Numbers, or a TypeError.
                raise ValueError("nothing can be left of less than nothing")
            reset_ms = None if reset < 0 else reset
            states.append(LimitState(_SCOPES[scope], *_FIELDS[name], amount, remaining, reset_ms))
    except LookupError as error:
        raise ValueError(f"no state of a limit: {error}") from error
    return tuple(states)


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
