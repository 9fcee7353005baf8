"""/manage/tokens."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Response
from flask.views import MethodView
from sqlalchemy.orm import Session

from manager import audit, db, etags, limits, tokens
from manager.api import conditions, described
from manager.api.blueprint import ManageBlueprint
from manager.api.limits import changed
from manager.api.once import once
from manager.api.services import note, now, scope, services, source
from manager.api.token_shapes import (
    CreatedTokens,
    CreatedTokenView,
    NewToken,
    NewTokens,
    Refreshed,
    Revocation,
    RevocationView,
    TokenChanges,
    TokenPage,
    TokenQuery,
    TokenView,
)
from manager.changes import between
from manager.errors import Conflict
from manager.pages import Page
from manager.tables import Token

blueprint = ManageBlueprint("tokens", "Withering tokens: made, watched, changed and revoked.")
_ONE = "/manage/tokens/{token_id}"
_ID = {"token_id": "$response.body#/id"}
LINKS = {
    "get": ("get", _ONE, _ID),
    "change": ("patch", _ONE, _ID),
    "refresh": ("post", f"{_ONE}/refresh", _ID),
    "revoke": ("delete", _ONE, _ID),
}
_EXAMPLE = {
    "project_id": "019a0000-0000-7000-8000-000000000001",
    "expires_in": "PT15M",
    "max_requests": 100,
    "label": "nightly",
    "policy": {"denied_models": ["*-preview"]},
}


@dataclass(frozen=True)
class CreatedToken:
    """A row and its secret, on the way to the one answer that shows it."""

    row: Token
    secret: str

    def __getattr__(self, name: str) -> Any:
        """Return what the row knows."""
        return getattr(self.row, name)


def _state(row: Token) -> str:
    return etags.state_of(row.id, row.version)


def _tagged(row: Token) -> Token:
    conditions.show(_state(row))
    return row


def _expected(session: Session, token_id: UUID) -> Token:
    """Return a token that is to be changed, locked, if it is what the caller knows."""
    token = tokens.get(session, token_id, scope=scope(), for_update=True)
    conditions.expected().check(_state(token))
    return token


def _check_live(session: Session, shown: list[dict[str, Any]]) -> None:
    """Raise Conflict if tokens whose secrets were shown have been revoked since, or purged."""
    ids = [UUID(each["id"]) for each in shown]
    if tokens.unrevoked(session, ids) != set(ids):
        raise Conflict("What was made under this key has been revoked since: its secret is not shown again.")


def _create(session: Session, labels: list[str], wanted: dict[str, Any]) -> list[CreatedToken]:
    settings, longest = services().settings, services().settings.max_token_lifetime
    made = tokens.create_many(
        session, settings.token_pepper, now(), labels=labels, longest=longest, scope=scope(), **wanted
    )
    for row, _ in made:
        detail = {"after": {**tokens.facts(row), "limits": limits.shown(row.limits)}}
        note(session, audit.Action.TOKEN_CREATE, project_id=row.project_id, token_id=row.id, detail=detail)
    return [CreatedToken(*each) for each in made]


@blueprint.route("/tokens")
class Tokens(MethodView):
    """All tokens."""

    @blueprint.says(links=described.of_first(LINKS))
    @blueprint.arguments(TokenQuery, location="query")
    @blueprint.response(200, TokenPage)
    def get(self, query: dict[str, Any]) -> Page[Token]:
        """List tokens, newest first."""
        with db.reading(services().sessions) as session:
            return tokens.list_page(session, now=now(), scope=scope(), **query)

    @blueprint.says(once=True, is_tagged=True, conflicts=True, links=LINKS)
    @blueprint.arguments(NewToken, example=_EXAMPLE)
    @blueprint.response(201, CreatedTokenView)
    def post(self, body: dict[str, Any]) -> CreatedToken | Response:
        """Create a token; the answer is the only one that shows it."""
        wanted = {name: value for name, value in body.items() if name != "label"}
        made = once(
            CreatedTokenView(),
            lambda session: _create(session, [body["label"]], wanted)[0],
            lambda it: it,
            state=lambda it: _state(it.row),
            check=lambda session, answer: _check_live(session, [answer]),
        )
        if not isinstance(made, Response):
            row = _tagged(made.row)
            services().publish_created(lambda publisher: publisher.publish_token(row.id))
        return made


@blueprint.route("/tokens/batch")
class Batch(MethodView):
    """Many tokens."""

    @blueprint.says(once=True, conflicts=True)
    @blueprint.arguments(NewTokens, example={**{k: v for k, v in _EXAMPLE.items() if k != "label"}, "count": 3})
    @blueprint.response(201, CreatedTokens)
    def post(self, body: dict[str, Any]) -> dict[str, Any] | Response:
        """Create many tokens of one project, all or none; the answer is the only one that shows them."""
        labels = body.pop("labels")
        made = once(
            CreatedTokens(),
            lambda session: {"items": _create(session, labels, body)},
            lambda answer: answer,
            check=lambda session, answer: _check_live(session, answer["items"]),
        )
        if not isinstance(made, Response):
            services().publish_created(lambda publisher: publisher.publish_tokens_of(body["project_id"]))
        return made


@blueprint.route("/tokens/revoke")
class BatchRevocation(MethodView):
    """Many tokens, revoked."""

    @blueprint.arguments(Revocation, example={"label_prefix": "nightly", "last_used_before": "2026-01-01T00:00:00Z"})
    @blueprint.response(200, RevocationView)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Revoke tokens for good: by their ids, or all that fit filters, or (`all: true`) all that you may see."""
        ids = body.pop("ids", None)
        body.pop("all", None)
        if ids is not None:
            project_ids, unknown = services().transact(lambda session: _revoke_these(session, ids))
        else:
            project_ids, unknown = services().transact(lambda session: (_revoke_matching(session, body), []))
        for project_id in dict.fromkeys(project_ids):
            services().publisher.publish_tokens_of(project_id)
        return {"revoked": len(project_ids), "unknown_ids": unknown}


@blueprint.route("/tokens/<uuid:token_id>")
class OneToken(MethodView):
    """One token."""

    @blueprint.says(tagged=True)
    @blueprint.response(200, TokenView)
    def get(self, token_id: UUID) -> Token:
        """Show a token."""
        with db.reading(services().sessions) as session:
            return _tagged(tokens.get(session, token_id, scope=scope()))

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.arguments(TokenChanges, example={"expires_in": "P1D", "max_requests": None, "limits": []})
    @blueprint.response(200, TokenView)
    def patch(self, body: dict[str, Any], token_id: UUID) -> Token:
        """Change a token that has not been revoked."""

        def change(session: Session) -> Token:
            token = _expected(session, token_id)
            before, counted = tokens.facts(token), token.limits
            tokens.update(token, now(), longest=services().settings.max_token_lifetime, **body)
            known = {"project_id": token.project_id, "token_id": token_id}
            if detail := between(before, tokens.facts(token)):
                note(session, audit.Action.TOKEN_UPDATE, detail=detail, **known)
            if limits_detail := changed(counted, token.limits):
                note(session, audit.Action.LIMITS_CHANGE, detail=limits_detail, **known)
            return token

        token = services().transact(change)
        services().publisher.publish_token(token_id)
        return _tagged(token)

    @blueprint.says(tagged=True)
    @blueprint.response(204)
    def delete(self, token_id: UUID) -> None:
        """Revoke a token for good."""

        def revoke(session: Session) -> None:
            token = _expected(session, token_id)
            if tokens.revoke(token, now()):
                note(session, audit.Action.TOKEN_REVOKE, project_id=token.project_id, token_id=token.id)

        services().transact(revoke)
        services().publisher.publish_token(token_id)


@blueprint.route("/tokens/<uuid:token_id>/refresh")
class Refresh(MethodView):
    """Another secret for a token."""

    @blueprint.says(tagged=True, once=True, conflicts=True)
    @blueprint.arguments(Refreshed, example={"grace": "PT1H", "expires_in": "P7D"})
    @blueprint.response(200, CreatedTokenView)
    def post(self, body: dict[str, Any], token_id: UUID) -> CreatedToken | Response:
        """Give a token another secret, shown only here; the old one works on for the grace, or ends at once."""
        settings = services().settings

        def refresh(session: Session) -> CreatedToken:
            token = _expected(session, token_id)
            before, longest = tokens.facts(token), settings.max_token_lifetime
            secret = tokens.refresh(session, settings.token_pepper, now(), token, longest=longest, **body)
            differs = between(before, tokens.facts(token)) or {}
            until = token.previous_until and token.previous_until.isoformat()
            known = {"project_id": token.project_id, "token_id": token_id}
            note(session, audit.Action.TOKEN_REFRESH, detail={**differs, "previous_until": until}, **known)
            return CreatedToken(token, secret)

        made = once(
            CreatedTokenView(),
            refresh,
            lambda it: it,
            200,
            state=lambda it: _state(it.row),
            check=lambda session, answer: _check_live(session, [answer]),
        )
        if not isinstance(made, Response):
            _tagged(made.row)
            services().publish_created(lambda publisher: publisher.publish_token(token_id))
        return made


def _revoke_these(session: Session, ids: list[UUID]) -> tuple[list[UUID], list[UUID]]:
    revoked, there = tokens.revoke_these(session, now(), ids, scope=scope())
    audit.note_each(session, now(), source(), audit.Action.TOKEN_REVOKE, revoked)
    return [project_id for project_id, _ in revoked], [each for each in ids if each not in there]


def _revoke_matching(session: Session, filters: dict[str, Any]) -> list[UUID]:
    revoked = tokens.revoke_all(session, now(), scope=scope(), **filters)
    detail = {"filters": {name: str(value) for name, value in filters.items()}}
    audit.note_each(session, now(), source(), audit.Action.TOKEN_REVOKE, revoked, detail=detail)
    return [project_id for project_id, _ in revoked]
