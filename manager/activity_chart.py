"""All that charts of a time up to now need, in one look: of each moment, and of all of them together."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from manager import activity, histogram
from manager.activity import Measure, Range
from manager.principals import EVERYTHING, Scope

PERCENTS = (50, 95, 99)


def chart(
    session: Session, wanted: Range, now: datetime, scope: Scope = EVERYTHING, project_id: UUID | None = None
) -> dict[str, Any]:
    """Return range, unit, since, until, `items` (one of each moment, also of those without a request), and `totals`.

    Both have requests, outcomes, tokens, cost (nano-USD as far as known, None: of nothing), and duration and first_byte
    (p50, p95, p99 in milliseconds; None: of nothing). Of one project, or of all in scope together.
    """
    since, until = wanted.span(now)
    found = activity.every_series(session, wanted.unit, since, until, scope, project_id)
    return {
        "range": wanted,
        "unit": wanted.unit,
        "since": since,
        "until": until,
        "items": [
            {"moment": moment, **_told({each: amounts.get(moment, {}) for each, amounts in found.items()})}
            for moment in wanted.moments(now)
        ],
        "totals": _told({each: histogram.merged(amounts.values()) for each, amounts in found.items()}),
    }


def _told(amounts: Mapping[Measure, Mapping[str, int]]) -> dict[str, Any]:
    outcomes, tokens = amounts[Measure.OUTCOME], amounts[Measure.TOKENS]
    return {
        "requests": sum(outcomes.values()),
        "outcomes": outcomes,
        "tokens": {name: tokens.get(name, 0) for name in ("prompt", "completion")},
        "cost": amounts[Measure.COST].get("nano_usd"),
        "duration": _percentiles(amounts[Measure.DURATION]),
        "first_byte": _percentiles(amounts[Measure.FIRST_BYTE]),
    }


def _percentiles(counts: Mapping[str, int]) -> dict[str, float] | None:
    found = histogram.percentiles(counts, PERCENTS)
    return {f"p{percent}": round(milliseconds, 1) for percent, milliseconds in found.items()} or None
