"""What the dashboard shows, read once for all who look at the same: kept for seconds, or longer where much is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import redis
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import activity, attention, db, live, names, usage
from manager.activity import ALL_PROJECTS, Measure, Range
from manager.attention import Nearly
from manager.current import Services
from manager.names import Names
from manager.principals import EVERYTHING, Scope
from manager.tables import Activity, Project, Token
from manager.ui.activity_charts import Series
from manager.ui.memory import Memory

_TOP = 5
# For how many seconds something is kept: longer if more is read for it.
_SERIES_SECONDS = {Range.HOUR: 1.5, Range.DAY: 3.0, Range.WEEK: 10.0, Range.MONTH: 10.0}
_TOPS_SECONDS = {Range.HOUR: 5.0, Range.DAY: 10.0, Range.WEEK: 60.0, Range.MONTH: 60.0}
_ATTENTION_SECONDS = 30.0
_FIRST_STEPS_SECONDS = 1.5


@dataclass(frozen=True)
class Tops:
    """Projects, models and tokens that were used most since some moment, with what they are called."""

    since: datetime
    projects: Sequence[Mapping[str, Any]]
    models: Sequence[Mapping[str, Any]]
    tokens: Sequence[Mapping[str, Any]]
    names: Names


@dataclass(frozen=True)
class Attention:
    """What soon needs somebody, with what its projects are called."""

    limits: Sequence[Nearly]
    used_up: Sequence[Token]
    expiring: Sequence[Token]
    names: Names


@dataclass(frozen=True)
class FirstSteps:
    """What has been done by whoever begins."""

    has_project: bool
    has_token: bool
    has_request: bool

    @property
    def are_done(self) -> bool:
        """Whether there is something to be shown."""
        return self.has_request


class Figures:
    """Of some projects, at a moment, for a range of time. What raises SQLAlchemyError is not kept."""

    def __init__(self, services: Services, memory: Memory, scope: Scope, range: Range, now: datetime) -> None:
        self._services = services
        self._memory = memory
        self._scope = scope
        self.range = range
        self.now = now

    def series(self) -> Mapping[Measure, Series]:
        """Return what was counted in each unit of the range."""
        since, until = self.range.span(self.now)
        found = self._kept(
            ("series", self.range, self._scope),
            _SERIES_SECONDS[self.range],
            lambda session: activity.every_series(session, self.range.unit, since, until, self._scope),
        )
        # The range may have moved on since that was read.
        return {
            measure: {moment: counts for moment, counts in series.items() if moment >= since}
            for measure, series in found.items()
        }

    def running(self) -> int | None:
        """Return how many requests are in flight, None if that is not known (yet)."""
        try:
            live.watch(self._services.redis)
            found = live.picture(self._services.redis, self._scope)
        except redis.RedisError:
            return None
        return found.count if found.is_whole else None

    def tops(self) -> Tops:
        """Return who and what was used most since the hour in which the range begins."""
        return self._kept(("tops", self.range, self._scope), _TOPS_SECONDS[self.range], self._read_tops)

    def attention(self) -> Attention:
        """Return what soon needs somebody."""
        return self._kept(("attention", self._scope), _ATTENTION_SECONDS, self._read_attention)

    def first_steps(self) -> FirstSteps:
        """Return what has been done so far."""
        return self._kept(("first steps", self._scope), _FIRST_STEPS_SECONDS, self._read_first_steps)

    def _kept[Made](self, key: tuple[Any, ...], seconds: float, read: Callable[[Session], Made]) -> Made:
        def make() -> Made:
            with db.reading(self._services.sessions) as session:
                return read(session)

        return self._memory.get(key, seconds, make)

    def _read_tops(self, session: Session) -> Tops:
        since = self.range.span(self.now)[0].replace(minute=0)
        until = self.now + timedelta(hours=1)
        projects, models, tokens = (
            usage.most(session, key, _TOP, since, until, self._scope) for key in ("project", "model", "token")
        )
        named = names.of(session, [item["project"] for item in projects], [item["token"] for item in tokens])
        return Tops(since, projects, models, tokens, named)

    def _read_attention(self, session: Session) -> Attention:
        owners = attention.owners(session, self._scope)
        used_up = attention.nearly_used_up(session, self.now, self._scope)
        expiring = attention.expiring(session, self.now, self._scope)
        named = names.of(session, [token.project_id for token in (*used_up, *expiring)])
        near = attention.nearly_reached(self._services.redis, owners, self.now)
        return Attention(near, used_up, expiring, named)

    def _read_first_steps(self, session: Session) -> FirstSteps:
        def is_there(table: Any, condition: "sa.ColumnElement[bool]", column: Any) -> bool:
            ids = self._scope.project_ids
            query = sa.select(column).where(condition, sa.true() if ids is None else column.in_(ids))
            return session.execute(query.limit(1)).first() is not None

        return FirstSteps(
            is_there(Project, Project.deleted_at.is_(None), Project.id),
            is_there(Token, sa.true(), Token.project_id),
            self._has_activity(session),
        )

    def _has_activity(self, session: Session) -> bool:
        ids: set[UUID] = set(self._scope.project_ids or ()) if self._scope != EVERYTHING else {ALL_PROJECTS}
        query = sa.select(Activity.moment).where(Activity.unit == activity.Unit.DAY, Activity.project_id.in_(ids))
        return session.execute(query.limit(1)).first() is not None
