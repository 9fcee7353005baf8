"""How limits and what is left of them are written in Redis. `shared/lua/admit.lua` reads the one and answers the other.

Limits are MessagePack values without an array around them, which Lua reads ten times as fast as JSON: how many there
are, the fields in which what they count is written, and then five values of each: measure, window, amount, burst (-1:
as the amount), and what holds on an outage.

A field is `<measure>:<window>`, for a project with its id and a colon before it: what projects and everything have used
stands under one key.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from shared.models import Limit, LimitState, Measure, OnOutage, Window

_decoder = msgspec.msgpack.Decoder(list[int | str])
_standing_decoder = msgspec.msgpack.Decoder(tuple[LimitState, ...])
_counter_decoder = msgspec.msgpack.Decoder(tuple[float, float])
_VALUES = 5


def field_of(measure: Measure, window: Window, project_id: str = "") -> str:
    """Name the field of what is counted; `project_id` only for what a project has used."""
    return f"{project_id}{':' if project_id else ''}{measure}:{window}"


def encode_limits(limits: Sequence[Limit], project_id: str = "") -> bytes:
    """Return the published form of limits, those of a project with its id; empty if there are none."""
    if not limits:
        return b""
    fields = [field_of(limit.measure, limit.window, project_id) for limit in limits]
    values = [len(limits), *fields, *[value for limit in limits for value in _values(limit)]]
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


def decode_standing(standing: bytes) -> tuple[LimitState, ...]:
    """Read what scripts say about limits. Raises MsgspecError or TypeError if it does not fit."""
    return _standing_decoder.decode(standing) if standing else ()


def decode_counter(written: bytes) -> tuple[float, float]:
    """Read the period of a counter and what has been used in it, see lua/counters.lua. Raises MsgspecError."""
    # Two numbers behind each other, read as an array of two.
    return _counter_decoder.decode(b"\x92" + written)


def period_of(window: Window, moment: datetime) -> int:
    """Return the number of a counter's period at an aware moment, as it is written in Redis; 0 if it never ends.

    >>> period_of(Window.MONTH, datetime(2026, 3, 1, tzinfo=UTC))
    24314
    """
    there = moment.astimezone(UTC)
    if window is Window.MONTH:
        return there.year * 12 + there.month - 1
    lengths = {Window.MINUTE: 60, Window.DAY: 86_400}
    return int(there.timestamp()) // lengths[window] if window in lengths else 0
