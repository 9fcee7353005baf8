"""What went on, as charts show it: sums by minute, hour or day, of a project or of all; see manager/activity_rows.py.

Measures and their buckets:

`outcome`     requests by how they ended: `ok`, `provider_4xx`, `provider_429` (which is not among those),
              `provider_5xx`, the code of an error of ours (`rate_limit_exceeded`, `upstream_timeout`, …), else the
              outcome: `client_aborted`, `upstream_aborted`, `cut`, `refused`, `lost`
`duration`    requests by their duration, see manager/histogram.py
`first_byte`  requests by the time until the first byte, as far as there was one
`tokens`      `prompt` and `completion`
`cost`        `nano_usd`, as far as it is known, and `unpriced`: requests that used tokens at a cost that nobody knows
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import histogram
from manager.principals import EVERYTHING, Scope
from manager.tables import Activity

# Whose rows are those of all projects together. It is after all ids that there are.
ALL_PROJECTS = UUID(int=2**128 - 1)


class Unit(StrEnum):
    """In what time is counted."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return timedelta(**{f"{self}s": 1})

    def beginning(self, moment: datetime) -> datetime:
        """Return when the unit began that a moment lies in, in UTC."""
        minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
        if self is Unit.MINUTE:
            return minute
        return minute.replace(minute=0) if self is Unit.HOUR else minute.replace(minute=0, hour=0)


class Measure(StrEnum):
    """What is counted."""

    OUTCOME = "outcome"
    DURATION = "duration"
    FIRST_BYTE = "first_byte"
    TOKENS = "tokens"
    COST = "cost"


class Range(StrEnum):
    """A time up to now."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    @property
    def unit(self) -> Unit:
        """In what it is counted."""
        return {Range.HOUR: Unit.MINUTE, Range.MONTH: Unit.DAY}.get(self, Unit.HOUR)

    @property
    def units(self) -> int:
        """How many units it has."""
        return {Range.HOUR: 60, Range.DAY: 24, Range.WEEK: 7 * 24, Range.MONTH: 30}[self]

    def moments(self, now: datetime) -> list[datetime]:
        """Return when each of its units begins; the last one is that of now."""
        last = self.unit.beginning(now)
        return [last - number * self.unit.length for number in reversed(range(self.units))]

    def span(self, now: datetime) -> tuple[datetime, datetime]:
        """Return its beginning and its end, which is that of the last unit."""
        moments = self.moments(now)
        return moments[0], moments[-1] + self.unit.length


def every_series(
    session: Session,
    unit: Unit,
    since: datetime,
    until: datetime,
    scope: Scope = EVERYTHING,
    project_id: UUID | None = None,
    measures: Iterable[Measure] = Measure,
) -> dict[Measure, dict[datetime, dict[str, int]]]:
    """Return of each measure the amounts by bucket of each unit that begins from `since` on and before `until`.

    The earliest first, and all as they are at one moment; what has no amount is left out. Of one project, or of all in
    scope together.
    """
    found: dict[Measure, dict[datetime, dict[str, int]]] = {measure: {} for measure in measures}
    keys = (Activity.measure, Activity.moment, Activity.bucket)
    query = (
        sa.select(*keys, sa.func.sum(Activity.amount))
        .where(_is_of(scope, project_id), Activity.unit == unit, Activity.measure.in_(found))
        .where(Activity.moment >= since, Activity.moment < until)
        .group_by(*keys)
        .order_by(*keys)
    )
    for measure, moment, bucket, amount in session.execute(query):
        found[Measure(measure)].setdefault(moment, {})[bucket] = int(amount)
    return found


def totals(
    session: Session,
    unit: Unit,
    since: datetime,
    until: datetime,
    measure: Measure,
    scope: Scope = EVERYTHING,
    project_id: UUID | None = None,
) -> dict[str, int]:
    """Return the amounts by bucket of the whole time; see every_series."""
    found = every_series(session, unit, since, until, scope, project_id, [measure])
    return histogram.merged(found[measure].values())


def _is_of(scope: Scope, project_id: UUID | None) -> "sa.ColumnElement[bool]":
    if project_id is None and scope.project_ids is None:
        return Activity.project_id == ALL_PROJECTS
    if project_id is None:
        return Activity.project_id.in_(scope.project_ids or ())
    return Activity.project_id == project_id if scope.includes(project_id) else sa.false()
