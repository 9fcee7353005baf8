"""Sessions of the admin UI: who is signed in, until when. The browser keeps a secret, SQL its digest.

What somebody may do is read anew each time: an operator that is revoked, expired or given another token is signed out
by it, and so is whoever signed in with a management token that has been replaced. People whom an issuer vouches for
stay what they were when they signed in, so they stay for some hours only, and only while the settings about them do.
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
from manager.operator_names import PERSON_PREFIX
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
# Of an issuer one does not hear when somebody has left.
PERSON_LASTS = timedelta(hours=8)


@dataclass(frozen=True)
class Rules:
    """How long sessions last, and by which secrets they are known.

    `people` says which people may sign in as what; empty: none may.
    """

    pepper: bytes
    management_token: str
    idle: timedelta
    remembered: timedelta
    people: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return what the settings say."""
        secrets = settings.token_pepper, settings.management_token
        return cls(*secrets, settings.ui_idle, settings.ui_remember, _people(settings))

    def longest(self, name: str) -> timedelta:
        """Return for how long somebody may be signed in at most."""
        return min(PERSON_LASTS, self.remembered) if is_person(name) else self.remembered


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
    token: str | None,
    *,
    is_remembered: bool = False,
    address: str | None = None,
) -> tuple[UiSession, str]:
    """Add a session of whoever has this token; return its row, and the secret that the browser is to keep.

    It ends with the token. One that is remembered lasts for its whole time, any other until it is idle for too long.
    Without a token it is that of a person whom the issuer vouches for; it is never remembered.
    """
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    row = UiSession(
        id=new_id(),
        digest=tokens.digest(secret, rules.pepper),
        operator_id=who.id,
        credential=tokens.digest(rules.people if token is None else token, rules.pepper),
        name=who.name,
        role=who.role.value,
        is_remembered=is_remembered and token is not None,
        address=address,
        created_at=now,
        seen_at=now,
        expires_at=now + rules.longest(who.name),
    )
    if not row.is_remembered:
        row.expires_at = min(row.expires_at, now + rules.idle)
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
    principal = _operator(row, operator, now) if row.operator_id else _other(row, rules)
    if principal is None or row.expires_at <= now:
        return None
    return Found(row.id, principal, row.expires_at, row.seen_at <= now - _STAMPED_EVERY)


def stamp(session: Session, rules: Rules, now: datetime, found: Found) -> None:
    """Write down that a session was used, which puts off its end; that its operator was here, as well."""
    values: dict[str, datetime] = {"seen_at": now}
    row = session.get(UiSession, found.id)
    if row is not None and not row.is_remembered:
        values["expires_at"] = min(now + rules.idle, row.created_at + rules.longest(row.name))
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


def _other(row: UiSession, rules: Rules) -> Principal | None:
    opened_with = rules.people if is_person(row.name) else rules.management_token
    if not opened_with or row.credential != tokens.digest(opened_with, rules.pepper):
        return None
    return Principal(row.name, Role(row.role))


def is_person(name: str) -> bool:
    """Tell whether this is the name of a person whom an issuer vouches for."""
    return name.startswith(PERSON_PREFIX)


def _people(settings: Settings) -> str:
    if not (settings.oidc_issuer and settings.oidc_client_id):
        return ""
    roles = [f"{value}={role}" for value, role in sorted(settings.oidc_roles.items())]
    # No token has a line feed in it.
    return "\n".join([settings.oidc_issuer, settings.oidc_client_id, settings.oidc_role_claim, *roles])
