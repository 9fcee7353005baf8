"""Limits of projects, of tokens and of everything together: which are taken, and how they are shown.

Amounts of money are texts in US dollars outside and nano-USD inside; see manager/money.py.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from manager import money
from manager.errors import Invalid
from shared.models import MOST, WINDOWS, Limit, Measure, OnOutage, Scope, Window


def check(wanted: Sequence[Mapping[str, Any]], scope: Scope) -> tuple[Limit, ...]:
    """Return limits of fields as in shared.models.Limit, with texts for money. Raises Invalid that names the entry."""
    limits: list[Limit] = []
    for number, fields in enumerate(wanted, 1):
        limit = _limit(fields, scope, f"Entry {number}")
        if any((known.measure, known.window) == (limit.measure, limit.window) for known in limits):
            raise _fault(_name(f"Entry {number}", limit.measure, limit.window), "there is such a limit before it.")
        limits.append(limit)
    return tuple(limits)


def shown(limits: Iterable[Limit]) -> list[dict[str, Any]]:
    """Return limits as they were asked for."""
    return [
        {
            "measure": limit.measure.value,
            "window": limit.window.value,
            "amount": money.usd(limit.amount) if limit.measure is Measure.COST else limit.amount,
            "burst": limit.burst,
            "on_outage": limit.on_outage.value,
        }
        for limit in limits
    ]


def changed(before: Iterable[Limit], after: Iterable[Limit]) -> dict[str, Any] | None:
    """Return what the audit says of a change of limits; None if there is none."""
    return None if before == after else {"before": shown(before), "after": shown(after)}


def _limit(fields: Mapping[str, Any], scope: Scope, entry: str) -> Limit:
    measure = Measure(fields["measure"])
    window = _window(measure, fields.get("window"), entry)
    name = _name(entry, measure, window)
    if (scope, measure, window) == (Scope.TOKEN, Measure.REQUESTS, Window.LIFE):
        raise _fault(name, "that is `max_requests` of the token, which is set as such.")
    amount = _amount(measure, fields["amount"], name)
    return Limit(
        measure, window, amount, _burst(measure, window, fields.get("burst"), name), OnOutage(fields["on_outage"])
    )


def _window(measure: Measure, given: str | None, entry: str) -> Window:
    possible = [window for window in Window if window in WINDOWS[measure]]
    if given is None and len(possible) > 1:
        raise _fault(f"{entry} ({measure})", f"a window is needed: {', '.join(possible)}.")
    window = possible[0] if given is None else Window(given)
    if window not in possible:
        raise _fault(_name(entry, measure, window), f"{measure} can be limited per {', '.join(possible)}.")
    return window


def _amount(measure: Measure, given: int | str, name: str) -> int:
    if measure is Measure.COST:
        return _money(given, name)
    if not isinstance(given, int) or not 1 <= given <= MOST:
        raise _fault(name, f"the amount must be a whole number from 1 to {MOST}.")
    return given


def _money(given: int | str, name: str) -> int:
    try:
        amount = money.nano_usd(given if isinstance(given, str) else "")
    except ValueError as error:
        raise _fault(name, f"the amount must be US dollars as {error}.") from error
    if amount == 0:
        raise _fault(name, "the amount must be more than nothing.")
    return amount


def _burst(measure: Measure, window: Window, burst: int | None, name: str) -> int | None:
    if burst is None:
        return None
    if measure is not Measure.REQUESTS or window is Window.LIFE:
        raise _fault(name, "a burst is for requests per second, minute, hour or day.")
    if not 1 <= burst <= MOST:
        raise _fault(name, f"the burst must be a whole number from 1 to {MOST}.")
    return burst


def _name(entry: str, measure: Measure, window: Window) -> str:
    return f"{entry} ({measure} per {window})"


def _fault(name: str, reason: str) -> Invalid:
    return Invalid("limits", f"{name}: {reason}")
