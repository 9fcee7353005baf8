"""Spans of time that lists are searched in: the last minutes, hours or days, or from one moment to another."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import marshmallow as ma

from manager.ui.forms import Choice, Field, Kind
from shared import durations

_SPANS = {
    "PT15M": "Last 15 minutes",
    "PT1H": "Last hour",
    "P1D": "Last 24 hours",
    "P7D": "Last 7 days",
    "P30D": "Last 30 days",
}
SPAN = Field("span", "Time", kind=Kind.SELECT, choices=[Choice("", "Any time"), *map(Choice, _SPANS, _SPANS.values())])
FROM = Field("from", "From (UTC)", kind=Kind.DATETIME)
UNTIL = Field("until", "Before (UTC)", kind=Kind.DATETIME)


class Spanned(ma.Schema):
    """A span of time, in the place of the moment that it begins with; where that is given too, the later one counts."""

    span = ma.fields.String(load_default=None, validate=ma.validate.OneOf(list(_SPANS)))


def within(query: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return a query with its span as the moment from which it asks, unless it asks from a later one anyway."""
    asked = {name: value for name, value in query.items() if name != "span"}
    if query["span"] is None:
        return asked
    begin = now - durations.parse(query["span"])
    return {**asked, "since": max(begin, query["since"] or begin)}
