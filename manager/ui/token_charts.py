"""What a token was used for, as charts: by hour for the last day, and by day for the last month."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from manager import usage
from manager.activity import Range
from manager.ui import chart_tables
from manager.ui.chart_tables import Cell, Chart, Window, columns
from manager.ui.regions import TableRegion
from manager.ui.shown import number, usd

# Classes of status: no answer, and those of errors.
_FAILED = (0, 4, 5)
_CLASSES = 6


def of_token(session: Session, now: datetime, token_id: UUID) -> Sequence[tuple[str, TableRegion]]:
    """Return charts with their titles."""
    day, month = Window(Range.DAY, now), Window(Range.MONTH, now)
    by_hour, by_day = (_sums(session, window, token_id) for window in (day, month))
    charts = (
        _requests("requests-day", "Requests by hour, last day", day, by_hour),
        _requests("requests-month", "Requests by day, last 30 days", month, by_day),
        _tokens("tokens-day", "Tokens by hour, last day", day, by_hour),
        _cost("cost-month", "Cost by day, last 30 days", month, by_day),
    )
    return [(chart.title, chart_tables.region(chart)) for chart in charts]


type _Sums = Mapping[datetime, Sequence[Mapping[str, Any]]]


def _sums(session: Session, window: Window, token_id: UUID) -> _Sums:
    unit, most = window.range.unit.value, window.range.units * _CLASSES
    since, until = window.range.span(window.now)
    found: dict[datetime, list[Mapping[str, Any]]] = {}
    for item in usage.summed(session, [unit, "status_class"], most, since, until, token_id=token_id).items:
        found.setdefault(item[unit], []).append(item)
    return found


def _requests(id: str, title: str, window: Window, sums: _Sums) -> Chart:
    rows = {}
    for moment, items in sums.items():
        failed = sum(item["requests"] for item in items if item["status_class"] in _FAILED)
        answered = sum(item["requests"] for item in items) - failed
        rows[moment] = [Cell(number(answered)), Cell(number(failed))]
    return Chart(id, title, "bars", "requests", window, columns(["answered", "failed"]), rows)


def _tokens(id: str, title: str, window: Window, sums: _Sums) -> Chart:
    names = ("prompt", "completion")
    rows = {
        moment: [Cell(number(sum(item[f"{name}_tokens"] for item in items))) for name in names]
        for moment, items in sums.items()
    }
    return Chart(id, title, "bars", "tokens", window, columns(names), rows)


def _cost(id: str, title: str, window: Window, sums: _Sums) -> Chart:
    rows = {moment: [_money([item["cost"] for item in items])] for moment, items in sums.items()}
    return Chart(id, title, "bars", "usd", window, columns(["cost"]), rows)


def _money(costs: Sequence[int | None]) -> Cell:
    known = [cost for cost in costs if cost is not None]
    return Cell(usd(sum(known))) if known else Cell()
