"""What limits have counted, as far as SQL knows it: told to Redis whenever limits are published.

So a new limit counts what was used before it, and what Redis had counted when it was lost is there again. The sums are
those of the hourly roll-ups; rates, minutes and running requests are not in them. Redis only raises its counters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis
import sqlalchemy as sa

from manager import db
from manager.db import Sessions
from manager.tables import HourlyUsage, Project, Token
from shared import holds_schema, limits_schema, redis_schema
from shared.holds_schema import Counter
from shared.models import MOST, Limit, Measure, Scope, Window

_SUMS = {
    Measure.REQUESTS: HourlyUsage.requests,
    Measure.TOKENS: HourlyUsage.total_tokens,
    Measure.COST: HourlyUsage.cost_nano_usd,
}
_KNOWN = {(measure, window) for measure in (Measure.TOKENS, Measure.COST) for window in (Window.DAY, Window.MONTH)}
_KNOWN |= {(measure, Window.LIFE) for measure in _SUMS}

type _Pair = tuple[Measure, Window]


@dataclass(frozen=True)
class Known:
    """What SQL knows of one scope's use; `forget_at_ms` is when a token's counters are forgotten."""

    scope: Scope
    scope_id: str
    counters: Sequence[Counter]
    forget_at_ms: int | None = None


class Counters:
    """Raises counters in Redis to what SQL knows. Raises RedisError and SQLAlchemyError as they come."""

    def __init__(self, client: "redis.Redis", sessions: Sessions) -> None:
        self._sessions = sessions
        self._restore = client.register_script(redis_schema.script("restore"))

    def of_rows(self, rows: Sequence[Project] | Sequence[Token], now: datetime) -> None:
        """Raise those of projects, or of tokens; rows without limits have none."""
        for known in self.known_of_rows(rows, now):
            self._raise(known)

    def of_all(self, limits: Sequence[Limit], now: datetime) -> None:
        """Raise those of everything together."""
        for known in self.known_of_all(limits, now):
            self._raise(known)

    def known_of_rows(self, rows: Sequence[Project] | Sequence[Token], now: datetime) -> Iterator[Known]:
        """Return what SQL knows of the use of projects, or of tokens; nothing of those without limits, or unused."""
        limited = {row.id: row for row in rows if _pairs(row.limits)}
        if not limited:
            return
        pairs = sorted({pair for row in limited.values() for pair in _pairs(row.limits)})
        is_project = isinstance(rows[0], Project)
        column = HourlyUsage.project_id if is_project else HourlyUsage.token_id
        query = sa.select(column, *_sums(pairs, now)).where(column.in_(limited)).group_by(column)
        with db.reading(self._sessions) as session:
            found = session.execute(query).all()
        for row_id, *amounts in found:
            row = limited[row_id]
            wanted = _pairs(row.limits)
            counters = [counter for counter in _counters(pairs, amounts, now) if _pair(counter) in wanted]
            yield Known(Scope.PROJECT if is_project else Scope.TOKEN, str(row_id), counters, _forgotten(row))

    def known_of_all(self, limits: Sequence[Limit], now: datetime) -> Iterator[Known]:
        """Return what SQL knows of the use of everything together, as far as these limits count it."""
        if pairs := sorted(_pairs(limits)):
            with db.reading(self._sessions) as session:
                amounts = session.execute(sa.select(*_sums(pairs, now))).one()
            yield Known(Scope.GLOBAL, "", _counters(pairs, amounts, now))

    def _raise(self, known: Known) -> None:
        keys, arguments = holds_schema.encode_restore(known.scope, known.scope_id, known.counters, known.forget_at_ms)
        self._restore(keys=keys, args=arguments)


def _pairs(limits: Sequence[Limit]) -> set[_Pair]:
    return {(limit.measure, limit.window) for limit in limits} & _KNOWN


def _pair(counter: Counter) -> _Pair:
    return counter.measure, counter.window


def _sums(pairs: Sequence[_Pair], now: datetime) -> list["sa.ColumnElement[Any]"]:
    return [_sum(measure, window, now) for measure, window in pairs]


def _sum(measure: Measure, window: Window, now: datetime) -> "sa.ColumnElement[Any]":
    if window is Window.LIFE:
        return sa.func.sum(_SUMS[measure])
    start = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = start.replace(day=1) if window is Window.MONTH else start
    return sa.func.sum(sa.case((HourlyUsage.hour >= start, _SUMS[measure]), else_=0))


def _counters(pairs: Sequence[_Pair], amounts: Sequence[Any], now: datetime) -> list[Counter]:
    return [
        Counter(measure, window, limits_schema.period_of(window, now), min(int(used or 0), MOST))
        for (measure, window), used in zip(pairs, amounts, strict=True)
    ]


def _forgotten(row: Project | Token) -> int | None:
    return redis_schema.to_ms(row.expires_at + redis_schema.REMEMBER_EXPIRED) if isinstance(row, Token) else None
