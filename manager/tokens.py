"""Withering tokens: made, changed and revoked. Plain functions over a session; the caller commits."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import limits as limit_rules
from manager import policies, projects, texts
from manager.errors import Conflict, Invalid, NotFound, ProjectInactive
from manager.pages import Page, page
from manager.tables import Token, new_id
from shared import durations, tokens
from shared.models import MOST, Scope


def create(
    session: Session,
    pepper: bytes,
    now: datetime,
    *,
    project_id: UUID,
    expires_in: timedelta,
    longest: timedelta,
    max_requests: int | None = None,
    label: str = "",
    policy: Mapping[str, Any] | None = None,
    limits: Sequence[Mapping[str, Any]] = (),
) -> tuple[Token, str]:
    """Add a token; returns its row and its secret, never shown again. Raises Invalid, NotFound, ProjectInactive."""
    # Locked, or a token could slip into a project that is just being deleted and outlive its revocation.
    if not projects.get(session, project_id, for_update=True).is_active:
        raise ProjectInactive("The project is not active: it takes no new tokens.")
    secret = tokens.generate()
    token = Token(
        id=new_id(),
        project_id=project_id,
        label=texts.check_label(label),
        digest=tokens.digest(secret, pepper),
        masked=tokens.mask(secret),
        is_active=True,
        expires_at=_expiry(now, expires_in, longest),
        max_requests=_checked_limit(max_requests),
        request_count=0,
        policy=policies.check(policy or {}),
        limits=limit_rules.check(limits, Scope.TOKEN),
        version=1,
        published_version=0,
        created_at=now,
        updated_at=now,
    )
    session.add(token)
    session.flush()
    return token, secret


def get(session: Session, token_id: UUID, *, for_update: bool = False) -> Token:
    """Return a token, locked against other changes if it is to be changed. Raises NotFound."""
    token = session.get(Token, token_id, with_for_update=for_update)
    if token is None:
        raise NotFound("There is no such token.")
    return token


def list_page(session: Session, project_id: UUID | None, limit: int, cursor: str | None) -> Page[Token]:
    """Return a page of tokens, newest first; of one project if it is given."""
    query = sa.select(Token)
    if project_id is not None:
        query = query.where(Token.project_id == project_id)
    return page(session, query, Token.id, limit, cursor)


def update(
    token: Token,
    now: datetime,
    *,
    longest: timedelta,
    label: str | None = None,
    expires_in: timedelta | None = None,
    is_active: bool | None = None,
    policy: Mapping[str, Any] | None = None,
    limits: Sequence[Mapping[str, Any]] | None = None,
    **limit: int | None,
) -> None:
    """Change label, life (counted from now), state, policy, limits, `max_requests=` (None: no limit).

    A revoked token stays revoked: whoever has it may be the reason why it was revoked. Raises Invalid, Conflict.
    """
    if token.revoked_at is not None:
        raise Conflict("The token has been revoked; that is for good. Make a new one.")
    if label is not None:
        token.label = texts.check_label(label)
    if expires_in is not None:
        token.expires_at = _expiry(now, expires_in, longest)
    if "max_requests" in limit:
        token.max_requests = _checked_limit(limit["max_requests"])
    if is_active is not None:
        token.is_active = is_active
    if policy is not None:
        token.policy = policies.check(policy)
    if limits is not None:
        token.limits = limit_rules.check(limits, Scope.TOKEN)
    _touch(token, now)


def revoke(token: Token, now: datetime) -> bool:
    """Revoke a token for good; revoking it again changes nothing. Tell whether anything changed."""
    if token.revoked_at is not None:
        return False
    token.is_active, token.revoked_at = False, now
    _touch(token, now)
    return True


def _touch(token: Token, now: datetime) -> None:
    token.version += 1
    token.updated_at = now


def _expiry(now: datetime, expires_in: timedelta, longest: timedelta) -> datetime:
    if not timedelta(0) < expires_in <= longest:
        raise Invalid("expires_in", f"Must be longer than zero and at most {durations.render(longest)}.")
    return now + expires_in


def _checked_limit(max_requests: int | None) -> int | None:
    if max_requests is not None and not 1 <= max_requests <= MOST:
        raise Invalid("max_requests", f"Must be from 1 to {MOST}, or null for no limit.")
    return max_requests
