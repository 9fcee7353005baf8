"""What a project comes to: what it used this month, and what would break without it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import activity, money, tokens
from manager.activity import Measure, Unit
from manager.tables import Activity, Token

_MEASURES = (Measure.OUTCOME, Measure.TOKENS, Measure.COST)
_LATELY = timedelta(days=1)


@dataclass(frozen=True)
class Use:
    """What was used in a time: `cost` in nano-USD as far as it is known, None if none of it is."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: int | None = 0
    unpriced_requests: int = 0

    @classmethod
    def of(cls, amounts: Mapping[tuple[str, str], int]) -> "Use":
        """Return what amounts by measure and bucket come to, see manager/activity.py."""
        requests = sum(amount for (measure, _), amount in amounts.items() if measure == Measure.OUTCOME)
        prompt, completion = (amounts.get((Measure.TOKENS, name), 0) for name in ("prompt", "completion"))
        cost, unpriced = (amounts.get((Measure.COST, name), 0) for name in ("nano_usd", "unpriced"))
        return cls(requests, prompt, completion, money.known(cost, unpriced), unpriced)


@dataclass(frozen=True)
class Stakes:
    """What depends on a project: tokens that work now, and requests of the last 24 hours."""

    active_tokens: int
    requests_of_day: int


def month_of(now: datetime) -> datetime:
    """Return when the month began, in UTC."""
    return now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def months(session: Session, now: datetime, project_ids: Iterable[UUID]) -> Mapping[UUID, Use]:
    """Return what projects used this month, in one query; those that used nothing are left out."""
    return _summed(session, Activity.project_id, now, list(project_ids))


def days(session: Session, now: datetime, project_id: UUID) -> Mapping[datetime, Use]:
    """Return what a project used on each day of this month on which there was something, the first one first."""
    return dict(sorted(_summed(session, Activity.moment, now, [project_id]).items()))


def total(uses: Iterable[Use]) -> Use:
    """Return what several come to together."""
    all_of_them = list(uses)
    cost = sum(use.cost or 0 for use in all_of_them)
    unpriced = sum(use.unpriced_requests for use in all_of_them)
    return Use(
        sum(use.requests for use in all_of_them),
        sum(use.prompt_tokens for use in all_of_them),
        sum(use.completion_tokens for use in all_of_them),
        money.known(cost, unpriced),
        unpriced,
    )


def stakes(session: Session, now: datetime, project_id: UUID) -> Stakes:
    """Return what depends on a project."""
    query = sa.select(sa.func.count()).select_from(Token)
    active = session.scalar(tokens.matching(session, query, now, project_id=project_id, state=tokens.State.ACTIVE))
    since = Unit.HOUR.beginning(now - _LATELY)
    lately = activity.totals(session, Unit.HOUR, since, now, Measure.OUTCOME, project_id=project_id)
    return Stakes(active or 0, sum(lately.values()))


def _summed[Key: (UUID, datetime)](
    session: Session, key: "sa.orm.InstrumentedAttribute[Key]", now: datetime, ids: Sequence[UUID]
) -> dict[Key, Use]:
    since = month_of(now)
    keys = (key, Activity.measure, Activity.bucket)
    query = (
        sa.select(*keys, sa.func.sum(Activity.amount))
        .where(Activity.project_id.in_(ids), Activity.unit == Unit.DAY, Activity.measure.in_(_MEASURES))
        .where(Activity.moment >= since, Activity.moment < month_of(since + timedelta(days=31)))
        .group_by(*keys)
    )
    found: dict[Key, dict[tuple[str, str], int]] = {}
    for owner, measure, bucket, amount in session.execute(query):
        found.setdefault(owner, {})[measure, bucket] = int(amount)
    return {owner: Use.of(amounts) for owner, amounts in found.items()}
