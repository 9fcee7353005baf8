"""Sessions of the admin UI: who is signed in, until when. The browser keeps a secret, SQL its digest.

What somebody may do is read anew each time: an operator that is revoked, expired or given another token is signed out
by it, and so is whoever signed in with a management token that has been replaced.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import audit, operators
from manager.principals import Principal, Role
from manager.tables import Operator, UiSession, new_id
from shared import tokens
from shared.settings import Settings

# Whose sessions these are beside those of operators.
MANAGEMENT = audit.MANAGEMENT
_SECRET_BYTES = 32
_STAMPED_EVERY = timedelta(minutes=1)
# Whoever signs in again and again ends its oldest sessions.
MOST_OF_ONE = 50


@dataclass(frozen=True)
class Rules:
    """How long sessions last, and by which secrets they are known."""

    pepper: bytes
    management_token: str
    idle: timedelta
    remembered: timedelta

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings say."""
        return cls(settings.token_pepper, settings.management_token, settings.ui_idle, settings.ui_remember)


@dataclass(frozen=True)
class Found:
    """A session that goes on, and whose it is."""

    id: UUID
    principal: Principal
    expires_at: datetime
    is_stamp_due: bool


def begin(
    session: Session,
    rules: Rules,
    now: datetime,
    who: Principal,
    token: str,
    *,
    is_remembered: bool = False,
    address: str | None = None,
) -> tuple[UiSession, str]:
    """Add a session of whoever has this token; return its row, and the secret that the browser is to keep.

    It ends with the token. One that is remembered lasts for its whole time, any other until it is idle for too long.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    row = UiSession(
        id=new_id(),
        digest=tokens.digest(secret, rules.pepper),
        operator_id=who.id,
        credential=tokens.digest(token, rules.pepper),
        name=who.name,
        role=who.role.value,
        is_remembered=is_remembered,
        address=address,
        created_at=now,
        seen_at=now,
        expires_at=now + (rules.remembered if is_remembered else min(rules.idle, rules.remembered)),
    )
    _make_room(session, who)
    session.add(row)
    return row, secret


def find(session: Session, rules: Rules, secret: str, now: datetime) -> Found | None:
    """Return the session of a secret, None if it is over, for whatever reason."""
    if not secret.isascii():
        return None
    query = sa.select(UiSession, Operator).outerjoin(Operator, Operator.id == UiSession.operator_id)
    found = session.execute(query.where(UiSession.digest == tokens.digest(secret, rules.pepper))).one_or_none()
    if found is None:
        return None
    row, operator = found
    principal = _operator(row, operator, now) if row.operator_id else _management(row, rules)
    if principal is None or row.expires_at <= now:
        return None
    return Found(row.id, principal, row.expires_at, row.seen_at <= now - _STAMPED_EVERY)


def stamp(session: Session, rules: Rules, now: datetime, found: Found) -> None:
    """Write down that a session was used, which puts off its end; that its operator was here, as well."""
    values: dict[str, datetime] = {"seen_at": now}
    row = session.get(UiSession, found.id)
    if row is not None and not row.is_remembered:
        values["expires_at"] = min(now + rules.idle, row.created_at + rules.remembered)
    session.execute(sa.update(UiSession).where(UiSession.id == found.id).values(values))
    if found.principal.id is not None:
        operators.stamp(session, found.principal.id, now)


def of(session: Session, who: Principal, now: datetime) -> Sequence[UiSession]:
    """Return the sessions of somebody that go on, the latest one first."""
    query = sa.select(UiSession).where(_is_of(who), UiSession.expires_at > now)
    return session.scalars(query.order_by(UiSession.seen_at.desc(), UiSession.id.desc())).all()


def end(session: Session, who: Principal, session_id: UUID) -> bool:
    """End a session of somebody. Tell whether there was one."""
    ended = session.scalars(sa.delete(UiSession).where(UiSession.id == session_id, _is_of(who)).returning(UiSession.id))
    return ended.first() is not None


def end_all(session: Session, who: Principal, *, but: UUID | None = None) -> int:
    """End all sessions of somebody, but one if it is given; return how many."""
    which = sa.delete(UiSession).where(_is_of(who))
    if but is not None:
        which = which.where(UiSession.id != but)
    return len(session.scalars(which.returning(UiSession.id)).all())


def _is_of(who: Principal) -> sa.ColumnElement[bool]:
    if who.id is not None:
        return UiSession.operator_id == who.id
    return sa.and_(UiSession.operator_id.is_(None), UiSession.name == who.name)


def _make_room(session: Session, who: Principal) -> None:
    latest = sa.select(UiSession.id).where(_is_of(who)).order_by(UiSession.seen_at.desc(), UiSession.id.desc())
    if surplus := session.scalars(latest.offset(MOST_OF_ONE - 1)).all():
        session.execute(sa.delete(UiSession).where(UiSession.id.in_(surplus)))


def _operator(row: UiSession, operator: Operator | None, now: datetime) -> Principal | None:
    if operator is None or operators.why_not(operator, now) or operator.digest != row.credential:
        return None
    return operators.principal_of(operator)


def _management(row: UiSession, rules: Rules) -> Principal | None:
    if row.credential != tokens.digest(rules.management_token, rules.pepper):
        return None
    return Principal(row.name, Role(row.role))
