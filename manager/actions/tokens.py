"""Withering tokens: made, changed, refreshed, revoked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from manager import audit, etags, limits, tokens
from manager.actions import ANY, Run
from manager.changes import between
from manager.current import demand, note, now, scope, services, source
from manager.errors import Conflict
from manager.etags import Expected
from manager.principals import Role
from manager.tables import Token

# The ids of project and token of each that is revoked.
type Revoked = Sequence[tuple[UUID, UUID]]


@dataclass(frozen=True)
class CreatedToken:
    """A row and its secret, on the way to the one answer that shows it."""

    row: Token
    secret: str

    def __getattr__(self, name: str) -> Any:
        """Return what the row knows."""
        return getattr(self.row, name)


def state(row: Token) -> str:
    """Return what a token is at, see manager/etags.py."""
    return etags.state_of(row.id, row.version)


def create(body: Mapping[str, Any], run: Run[CreatedToken] | None = None) -> CreatedToken:
    """Create a token of a body with its `label`. Raises Forbidden, Invalid, NotFound, ProjectInactive."""
    demand(Role.OPERATOR)
    wanted = {name: value for name, value in body.items() if name != "label"}
    made = (run or services().transact)(lambda session: _make(session, [body.get("label", "")], wanted)[0])
    services().publish_created(lambda publisher: publisher.publish_token(made.row.id))
    return made


def create_many(body: Mapping[str, Any], run: Run[list[CreatedToken]] | None = None) -> list[CreatedToken]:
    """Create a token for each of the `labels` of a body, all or none. Raises as `create`."""
    demand(Role.OPERATOR)
    wanted = {name: value for name, value in body.items() if name != "labels"}
    made = (run or services().transact)(lambda session: _make(session, body["labels"], wanted))
    services().publish_created(lambda publisher: publisher.publish_tokens_of(body["project_id"]))
    return made


def update(token_id: UUID, body: Mapping[str, Any], expected: Expected = ANY) -> Token:
    """Change what is given. Raises Forbidden, Invalid, Conflict, NotFound, Stale, PublishError."""
    demand(Role.OPERATOR)

    def work(session: Session) -> Token:
        token = _expected(session, token_id, expected)
        before, counted = tokens.facts(token), token.limits
        tokens.update(token, now(), longest=services().settings.max_token_lifetime, **body)
        known = {"project_id": token.project_id, "token_id": token_id}
        if detail := between(before, tokens.facts(token)):
            note(session, audit.Action.TOKEN_UPDATE, detail=detail, **known)
        if limits_detail := limits.changed(counted, token.limits):
            note(session, audit.Action.LIMITS_CHANGE, detail=limits_detail, **known)
        return token

    token = services().transact(work)
    services().publisher.publish_token(token_id)
    return token


def refresh(
    token_id: UUID, body: Mapping[str, Any], expected: Expected = ANY, run: Run[CreatedToken] | None = None
) -> CreatedToken:
    """Give a token another secret; the old one works on for the grace. Raises as `update` but PublishError."""
    demand(Role.OPERATOR)
    settings = services().settings

    def work(session: Session) -> CreatedToken:
        token = _expected(session, token_id, expected)
        before, longest = tokens.facts(token), settings.max_token_lifetime
        secret = tokens.refresh(session, settings.token_pepper, now(), token, longest=longest, **body)
        differs = between(before, tokens.facts(token)) or {}
        until = token.previous_until and token.previous_until.isoformat()
        known = {"project_id": token.project_id, "token_id": token_id}
        note(session, audit.Action.TOKEN_REFRESH, detail={**differs, "previous_until": until}, **known)
        return CreatedToken(token, secret)

    made = (run or services().transact)(work)
    services().publish_created(lambda publisher: publisher.publish_token(token_id))
    return made


def revoke(token_id: UUID, expected: Expected = ANY) -> None:
    """Revoke a token for good. Raises Forbidden, NotFound, Stale, PublishError."""
    demand(Role.OPERATOR)

    def work(session: Session) -> None:
        token = _expected(session, token_id, expected)
        if tokens.revoke(token, now()):
            note(session, audit.Action.TOKEN_REVOKE, project_id=token.project_id, token_id=token.id)

    services().transact(work)
    services().publisher.publish_token(token_id)


def revoke_these(ids: Sequence[UUID]) -> tuple[int, list[UUID]]:
    """Revoke tokens; return how many were not before, and which are not known. Raises Forbidden, PublishError."""
    demand(Role.OPERATOR)

    def work(session: Session) -> tuple[list[UUID], set[UUID]]:
        revoked, there = tokens.revoke_these(session, now(), ids, scope=scope())
        audit.note_each(session, now(), source(), audit.Action.TOKEN_REVOKE, revoked)
        return [project_id for project_id, _ in revoked], there

    project_ids, there = services().transact(work)
    _publish(project_ids)
    return len(project_ids), [each for each in ids if each not in there]


def revoke_matching(filters: Mapping[str, Any], check: Callable[[Revoked], None] = lambda _: None) -> int:
    """Revoke all tokens that fit filters, see tokens.matching; return how many. Raises Forbidden, PublishError.

    `check` is told which they are, and may raise: then none of them is revoked.
    """
    demand(Role.OPERATOR)

    def work(session: Session) -> list[UUID]:
        revoked = tokens.revoke_all(session, now(), scope=scope(), **filters)
        check(revoked)
        detail = {"filters": {name: str(value) for name, value in filters.items()}}
        audit.note_each(session, now(), source(), audit.Action.TOKEN_REVOKE, revoked, detail=detail)
        return [project_id for project_id, _ in revoked]

    project_ids = services().transact(work)
    _publish(project_ids)
    return len(project_ids)


def check_live(session: Session, shown: Sequence[Mapping[str, Any]]) -> None:
    """Raise Conflict if tokens whose secrets were shown have been revoked since, or purged."""
    ids = [UUID(each["id"]) for each in shown]
    if tokens.unrevoked(session, ids) != set(ids):
        raise Conflict("What was made under this key has been revoked since: its secret is not shown again.")


def _publish(project_ids: Sequence[UUID]) -> None:
    for project_id in dict.fromkeys(project_ids):
        services().publisher.publish_tokens_of(project_id)


def _expected(session: Session, token_id: UUID, expected: Expected) -> Token:
    """Return a token that is to be changed, locked, if it is what the caller knows."""
    token = tokens.get(session, token_id, scope=scope(), for_update=True)
    expected.check(state(token))
    return token


def _make(session: Session, labels: Sequence[str], wanted: Mapping[str, Any]) -> list[CreatedToken]:
    settings, longest = services().settings, services().settings.max_token_lifetime
    made = tokens.create_many(
        session, settings.token_pepper, now(), labels=labels, longest=longest, scope=scope(), **wanted
    )
    for row, _ in made:
        detail = {"after": {**tokens.facts(row), "limits": limits.shown(row.limits)}}
        note(session, audit.Action.TOKEN_CREATE, project_id=row.project_id, token_id=row.id, detail=detail)
    return [CreatedToken(*each) for each in made]
