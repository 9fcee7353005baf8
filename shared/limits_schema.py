"""How limits and what is left of them are written in Redis. `shared/lua/admit.lua` reads the one and answers the other.

Limits are a JSON array of columns, which Lua reads several times as fast as objects: fields (`<measure>:<window>`, the
name of a limit within its scope), measures, windows, amounts, bursts (-1: as the amount), and what holds on an outage.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from shared.models import WINDOWS, Limit, LimitState, Measure, OnOutage, Scope, Window

type _Columns = tuple[list[str], list[Measure], list[Window], list[int], list[int], list[OnOutage]]

_decoder: msgspec.json.Decoder[_Columns] = msgspec.json.Decoder(
    tuple[list[str], list[Measure], list[Window], list[int], list[int], list[OnOutage]]
)
_SCOPES = {scope.encode(): scope for scope in Scope}
_FIELDS = {
    f"{measure}:{window}".encode(): (measure, window) for measure, windows in WINDOWS.items() for window in windows
}
_STATE_VALUES = 5


def field_of(limit: Limit) -> str:
    """Name a limit within its scope."""
    return f"{limit.measure}:{limit.window}"


def encode_limits(limits: Sequence[Limit]) -> str:
    """Return the published form of limits; empty if there are none."""
    rows = [_row(limit) for limit in limits]
    return msgspec.json.encode(list(zip(*rows, strict=True))).decode() if rows else ""


def _row(limit: Limit) -> tuple[str | int, ...]:
    burst = -1 if limit.burst is None else limit.burst
    return field_of(limit), limit.measure, limit.window, limit.amount, burst, limit.on_outage


def decode_limits(published: str) -> tuple[Limit, ...]:
    """Read the published form. Raises ValueError or MsgspecError if it does not fit."""
    if published in ("", "[]"):
        return ()
    _, *columns = _decoder.decode(published)
    return tuple(
        Limit(measure, window, amount, None if burst < 0 else burst, on_outage)
        for measure, window, amount, burst, on_outage in zip(*columns, strict=True)
    )


def decode_standing(values: Sequence[bytes | int]) -> tuple[LimitState, ...]:
    """Read what scripts say about limits, five values each. Raises ValueError or TypeError if it does not fit."""
    try:
        return tuple([_state(values, at) for at in range(0, len(values), _STATE_VALUES)])
    except LookupError as error:
        raise ValueError(f"no state of a limit: {error}") from error


def _state(values: Sequence[bytes | int], at: int) -> LimitState:
    measure, window = _FIELDS[values[at + 1]]  # type: ignore[index]
    reset = int(values[at + 4])
    scope = _SCOPES[values[at]]  # type: ignore[index]
    return LimitState(scope, measure, window, int(values[at + 2]), int(values[at + 3]), None if reset < 0 else reset)


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
