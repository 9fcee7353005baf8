"""Withering tokens: made, changed, refreshed and revoked. Plain functions over a session; the caller commits."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import limits as limit_rules
from manager import policies, projects, revoking, texts
from manager.errors import Conflict, Invalid, NotFound, ProjectInactive
from manager.pages import Page, order, sorted_page
from manager.principals import EVERYTHING, Scope
from manager.tables import Token, new_id
from shared import durations, models, tokens
from shared.models import MOST

LONGEST_GRACE = timedelta(days=7)
MOST_AT_ONCE = 1000
SORTS = {
    "created_at": None,
    "updated_at": Token.updated_at,
    "expires_at": Token.expires_at,
    "last_used_at": Token.last_used_at,
    "request_count": Token.request_count,
    "label": Token.label,
}


class State(StrEnum):
    """What a token is; the first that is true."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    INACTIVE = "inactive"
    EXHAUSTED = "exhausted"
    ACTIVE = "active"


def create(session: Session, pepper: bytes, now: datetime, *, project_id: UUID, **wanted: Any) -> tuple[Token, str]:
    """Add a token; returns its row and its secret, never shown again. Fields as in `create_many`.

    Raises Invalid, NotFound, ProjectInactive.
    """
    label = wanted.pop("label", "")
    [made] = create_many(session, pepper, now, project_id=project_id, labels=[label], **wanted)
    return made


def create_many(
    session: Session,
    pepper: bytes,
    now: datetime,
    *,
    project_id: UUID,
    labels: Sequence[str],
    longest: timedelta,
    expires_in: timedelta | None = None,
    expires_at: datetime | None = None,
    max_requests: int | None = None,
    policy: Mapping[str, Any] | None = None,
    limits: Sequence[Mapping[str, Any]] = (),
    scope: Scope = EVERYTHING,
) -> list[tuple[Token, str]]:
    """Add a token for each label, or none; returns rows and secrets. Life is at most `longest`, and has to be given.

    Raises Invalid, NotFound, ProjectInactive.
    """
    # Locked, or a token could slip into a project that is just being deleted and outlive its revocation.
    if not projects.get(session, project_id, scope=scope, for_update=True).is_active:
        raise ProjectInactive("The project is not active: it takes no new tokens.")
    if not 1 <= len(labels) <= MOST_AT_ONCE:
        raise Invalid("labels", f"Must be 1 to {MOST_AT_ONCE}.")
    common = {
        "project_id": project_id,
        "is_active": True,
        "expires_at": _expiry(now, longest, expires_in, expires_at),
        "max_requests": _checked_limit(max_requests),
        "request_count": 0,
        "policy": policies.check(policy or {}),
        "limits": limit_rules.check(limits, models.Scope.TOKEN),
        "version": 1,
        "published_version": 0,
        "created_at": now,
        "updated_at": now,
    }
    secrets = [tokens.generate() for _ in labels]
    made = [
        Token(
            id=new_id(),
            label=texts.check_label(label),
            digest=tokens.digest(secret, pepper),
            masked=tokens.mask(secret),
            **common,
        )
        for label, secret in zip(labels, secrets, strict=True)
    ]
    session.add_all(made)
    session.flush()
    return list(zip(made, secrets, strict=True))


def get(session: Session, token_id: UUID, *, scope: Scope = EVERYTHING, for_update: bool = False) -> Token:
    """Return a token, locked against other changes if it is to be changed. Raises NotFound."""
    # What the session knows already may be older than the lock.
    token = session.get(Token, token_id, with_for_update=for_update, populate_existing=for_update)
    if token is None or not scope.includes(token.project_id):
        raise NotFound("There is no such token.")
    return token


def list_page(
    session: Session,
    limit: int,
    cursor: str | None,
    *,
    now: datetime,
    scope: Scope = EVERYTHING,
    sort: str = "-created_at",
    **wanted: Any,
) -> Page[Token]:
    """Return a page of tokens, newest first; filters as in `matching`. Raises Invalid."""
    query = matching(session, sa.select(Token), now, scope, **wanted)
    return sorted_page(session, query, Token.id, order(sort, SORTS), limit, cursor)


def matching[Row](
    session: Session, query: sa.Select[Row], now: datetime, scope: Scope = EVERYTHING, **wanted: Any
) -> sa.Select[Row]:
    """Return the tokens of a query that fit the filters, unless None: project_id, state, label_contains, label_prefix,
    expires_before, expires_after, last_used_before (never counts), last_used_after. Raises Invalid.
    """
    if scope.project_ids is not None:
        query = query.where(Token.project_id.in_(scope.project_ids))
    if (project_id := wanted.get("project_id")) is not None:
        query = query.where(Token.project_id == project_id)
    if (state := wanted.get("state")) is not None:
        query = query.where(*_in_state(State(state), now))
    for name, column in (("expires", Token.expires_at), ("last_used", Token.last_used_at)):
        if (before := wanted.get(f"{name}_before")) is not None:
            earlier = column < before
            query = query.where(sa.or_(earlier, column.is_(None)) if name == "last_used" else earlier)
        if (after := wanted.get(f"{name}_after")) is not None:
            query = query.where(column >= after)
    return texts.matching(session, query, Token.label, wanted.get("label_contains"), wanted.get("label_prefix"))


def state_of(token: Token, now: datetime) -> State:
    """Return what a token is at a moment."""
    if token.revoked_at is not None:
        return State.REVOKED
    if token.expires_at <= now:
        return State.EXPIRED
    if not token.is_active:
        return State.INACTIVE
    is_used_up = token.max_requests is not None and token.request_count >= token.max_requests
    return State.EXHAUSTED if is_used_up else State.ACTIVE


def _in_state(state: State, now: datetime) -> list["sa.SQLColumnExpression[Any]"]:
    is_used_up = sa.and_(Token.max_requests.is_not(None), Token.request_count >= Token.max_requests)
    ladder: list[sa.SQLColumnExpression[Any]] = [
        Token.revoked_at.is_(None),
        Token.expires_at > now,
        Token.is_active,
        sa.not_(is_used_up),
    ]
    rung = list(State).index(state)
    return [*ladder[:rung], *[sa.not_(step) for step in ladder[rung : rung + 1]]]


def facts(token: Token) -> dict[str, Any]:
    """Return what the audit may tell of a token, except its limits."""
    return {
        "label": token.label,
        "masked_token": token.masked,
        "is_active": token.is_active,
        "expires_at": token.expires_at.isoformat(),
        "max_requests": token.max_requests,
        "policy": asdict(token.policy),
    }


def update(
    token: Token,
    now: datetime,
    *,
    longest: timedelta,
    label: str | None = None,
    expires_in: timedelta | None = None,
    expires_at: datetime | None = None,
    is_active: bool | None = None,
    policy: Mapping[str, Any] | None = None,
    limits: Sequence[Mapping[str, Any]] | None = None,
    **limit: int | None,
) -> None:
    """Change label, life (from now on, or until a moment), state, policy, limits, `max_requests=` (None: no limit).

    What is as it was is no change. A revoked token stays revoked: whoever has it may be the reason why it was revoked.
    Raises Invalid, Conflict.
    """
    _check_is_not_revoked(token)
    before = facts(token), token.limits
    if label is not None:
        token.label = texts.check_label(label)
    if expires_in is not None or expires_at is not None:
        token.expires_at = _expiry(now, longest, expires_in, expires_at)
    if "max_requests" in limit:
        token.max_requests = _checked_limit(limit["max_requests"])
    if is_active is not None:
        token.is_active = is_active
    if policy is not None:
        token.policy = policies.check(policy)
    if limits is not None:
        token.limits = limit_rules.check(limits, models.Scope.TOKEN)
    if (facts(token), token.limits) != before:
        _touch(token, now)


def revoke(token: Token, now: datetime) -> bool:
    """Revoke a token for good; revoking it again changes nothing. Tell whether anything changed."""
    if token.revoked_at is not None:
        return False
    token.is_active, token.revoked_at = False, now
    _touch(token, now)
    return True


def refresh(
    session: Session,
    pepper: bytes,
    now: datetime,
    token: Token,
    *,
    longest: timedelta,
    grace: timedelta = timedelta(0),
    expires_in: timedelta | None = None,
    expires_at: datetime | None = None,
) -> str:
    """Give a token another secret, and return it; the old one works as well for the grace, or ends at once.

    Everything else stays, counters and limits included. Raises Invalid; Conflict for one that has been revoked, or
    that has expired and gets no new life; ProjectInactive.
    """
    _check_is_not_revoked(token)
    if not projects.get(session, token.project_id).is_active:
        raise ProjectInactive("The project is not active: its tokens get no new secrets.")
    if not timedelta(0) <= grace <= LONGEST_GRACE:
        raise Invalid("grace", f"Must be from zero to {durations.render(LONGEST_GRACE)}.")
    if expires_in is not None or expires_at is not None:
        token.expires_at = _expiry(now, longest, expires_in, expires_at)
    elif token.expires_at <= now:
        raise Conflict("The token has expired; give it a new life as well.")
    secret = tokens.generate()
    token.previous_digest, token.previous_until = (token.digest, now + grace) if grace else (None, None)
    token.digest, token.masked = tokens.digest(secret, pepper), tokens.mask(secret)
    token.refreshed_at = now
    _touch(token, now)
    session.flush()
    return secret


def revoke_these(
    session: Session, now: datetime, ids: Sequence[UUID], *, scope: Scope = EVERYTHING
) -> tuple[list[tuple[UUID, UUID]], set[UUID]]:
    """Revoke tokens for good; return the ids of project and token of each that was not before, and which ids exist."""
    there = _known(session, ids, scope)
    return revoking.revoke(session, now, Token.id.in_(there)), there


def _known(session: Session, ids: Sequence[UUID], scope: Scope) -> set[UUID]:
    query = sa.select(Token.id, Token.project_id).where(Token.id.in_(ids))
    return {token_id for token_id, project_id in session.execute(query) if scope.includes(project_id)}


def unrevoked(session: Session, ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these ids tokens have that were not revoked."""
    return set(session.scalars(sa.select(Token.id).where(Token.id.in_(ids), Token.revoked_at.is_(None))))


def revoke_all(session: Session, now: datetime, *, scope: Scope = EVERYTHING, **wanted: Any) -> list[tuple[UUID, UUID]]:
    """Revoke for good all tokens that fit filters (see `matching`); return the ids of project and token of each."""
    found = matching(session, sa.select(Token.id), now, scope, **wanted)
    return revoking.revoke(session, now, Token.id.in_(found))


def _check_is_not_revoked(token: Token) -> None:
    if token.revoked_at is not None:
        raise Conflict("The token has been revoked; that is for good. Make a new one.")


def _touch(token: Token, now: datetime) -> None:
    token.version += 1
    token.updated_at = now


def _expiry(now: datetime, longest: timedelta, expires_in: timedelta | None, expires_at: datetime | None) -> datetime:
    if expires_in is not None and expires_at is not None:
        raise Invalid("expires_at", "Give one of expires_in and expires_at.")
    if expires_in is None and expires_at is None:
        raise Invalid("expires_in", "Missing data for required field.")
    moment = now + expires_in if expires_in is not None else (expires_at or now)
    if not now < moment <= now + longest:
        field = "expires_in" if expires_in is not None else "expires_at"
        raise Invalid(field, f"Must be longer than zero and at most {durations.render(longest)}.")
    return moment


def _checked_limit(max_requests: int | None) -> int | None:
    if max_requests is not None and not 1 <= max_requests <= MOST:
        raise Invalid("max_requests", f"Must be from 1 to {MOST}, or null for no limit.")
    return max_requests
