"""What soon needs somebody: limits that are nearly reached, tokens that are nearly used up or about to expire."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import redis
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import publications, standing
from manager.principals import EVERYTHING, Scope
from manager.standing import Holder, Standing
from manager.tables import Project, Token
from shared import models

# Which part of a limit has been used when it is nearly reached, in percent.
NEARLY = 80
SOON = timedelta(days=7)


@dataclass(frozen=True)
class Owner:
    """A project that has limits, or everything together, which has no id."""

    id: UUID | None
    name: str
    holder: Holder


@dataclass(frozen=True)
class Nearly:
    """A limit that is nearly reached, and whose it is."""

    owner: Owner
    standing: Standing

    @property
    def share(self) -> float:
        """Return which part of it has been used."""
        return self.standing.share or 0.0


def owners(session: Session, scope: Scope = EVERYTHING) -> list[Owner]:
    """Return everything together, if it is in scope, and the active projects: those that have limits."""
    query = sa.select(Project.id, Project.name, Project.limits).where(Project.is_active, Project.deleted_at.is_(None))
    if scope.project_ids is not None:
        query = query.where(Project.id.in_(scope.project_ids))
    # Of most projects there is nothing to be read.
    limited = query.where(sa.cast(Project.limits, sa.Text) != "[]").order_by(Project.name)
    found = [
        Owner(key, name, Holder(models.Scope.PROJECT, str(key), counted))
        for key, name, counted in session.execute(limited)
    ]
    if scope == EVERYTHING and (counted := publications.global_limits(session)):
        found.insert(0, Owner(None, "Everything", Holder(models.Scope.GLOBAL, "", counted)))
    return found


def nearly_reached(
    client: "redis.Redis", some: Sequence[Owner], now: datetime, percent: int = NEARLY, most: int = 10
) -> list[Nearly]:
    """Return the limits of these that are used to so many percent, or more, those with the least room first."""
    standings = standing.of_each(client, [owner.holder for owner in some], now)
    return _with_least_room(
        (Nearly(owner, each) for owner, known in zip(some, standings, strict=True) for each in known), percent, most
    )


def _with_least_room(some: Iterable[Nearly], percent: int, most: int) -> list[Nearly]:
    near = [each for each in some if each.share * 100 >= percent]
    return sorted(near, key=lambda each: -each.share)[:most]


def nearly_used_up(
    session: Session, now: datetime, scope: Scope = EVERYTHING, percent: int = NEARLY, most: int = 10
) -> Sequence[Token]:
    """Return tokens that have made so many percent of their `max_requests`, but not all, those with most first."""
    is_near = sa.and_(
        Token.max_requests.is_not(None),
        Token.request_count < Token.max_requests,
        Token.request_count * 100 >= Token.max_requests * percent,
    )
    share = sa.cast(Token.request_count, sa.Float) / Token.max_requests
    return _tokens(session, scope, sa.and_(is_near, Token.expires_at > now), (share.desc(), Token.id), most)


def expiring(
    session: Session, now: datetime, scope: Scope = EVERYTHING, within: timedelta = SOON, most: int = 10
) -> Sequence[Token]:
    """Return tokens that expire within some time, the next one first."""
    is_soon = sa.and_(Token.expires_at > now, Token.expires_at <= now + within)
    return _tokens(session, scope, is_soon, (Token.expires_at, Token.id), most)


def _tokens(
    session: Session, scope: Scope, condition: "sa.ColumnElement[bool]", order: Iterable[Any], most: int
) -> Sequence[Token]:
    query = sa.select(Token).where(Token.is_active, condition)
    if scope.project_ids is not None:
        query = query.where(Token.project_id.in_(scope.project_ids))
    return session.scalars(query.order_by(*order).limit(most)).all()
