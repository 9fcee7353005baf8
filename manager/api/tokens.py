"""/manage/tokens."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

import marshmallow as ma
from flask import Response
from flask.views import MethodView
from sqlalchemy.orm import Session

from manager import audit, db, etags, limits, tokens
from manager.api import conditions, described
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Changes, Duration, Grace, Label, MostRequests, PageQuery, Truth, Whole, names, sort_field
from manager.api.limits import TOKEN_LIMITS, changed, limits_field, shown_limits
from manager.api.once import once
from manager.api.policies import PolicyShape
from manager.api.services import note, now, scope, services, source
from manager.changes import between
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


def _moment(description: str = "The end of its life, instead of `expires_in`.") -> ma.fields.AwareDateTime:
    return ma.fields.AwareDateTime(metadata={"description": description, "example": "2030-01-01T00:00:00Z"})


class Lives(ma.Schema):
    """How long something lives: said in one of two ways."""

    expires_in = Duration()
    expires_at = _moment()
    facts: ClassVar[dict[str, Any]] = {"not": {"required": ["expires_in", "expires_at"]}}

    @ma.validates_schema
    def _check_says_it_once(self, body: dict[str, Any], **_: Any) -> None:
        if {"expires_in", "expires_at"} <= set(body):
            raise ma.ValidationError("Give one of expires_in and expires_at.", "expires_at")


class TokenSettings(Lives):
    """What a token is made of, beside its label."""

    project_id = ma.fields.UUID(required=True)
    max_requests = MostRequests(load_default=None)
    policy = ma.fields.Nested(PolicyShape, metadata={"description": "Narrows that of the project."})
    limits = limits_field(
        TOKEN_LIMITS, metadata={"description": "Beside `max_requests`, and beside those of the project."}
    )

    facts: ClassVar[dict[str, Any]] = {"oneOf": [{"required": ["expires_in"]}, {"required": ["expires_at"]}]}

    @ma.validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_has_an_end(self, body: dict[str, Any], sent: Any, **_: Any) -> None:
        if not {"expires_in", "expires_at"} & names(sent):
            raise ma.ValidationError("Missing data for required field.", "expires_in")


class NewToken(TokenSettings):
    """What a token is made of."""

    label = Label(load_default="")


class NewTokens(TokenSettings):
    """What many tokens are made of: how many, or a label for each."""

    count = Whole(validate=ma.validate.Range(1, tokens.MOST_AT_ONCE))
    labels = ma.fields.List(Label(), validate=ma.validate.Length(1, tokens.MOST_AT_ONCE))

    facts: ClassVar[dict[str, Any]] = {
        "allOf": [TokenSettings.facts, {"oneOf": [{"required": ["count"]}, {"required": ["labels"]}]}]
    }

    @ma.post_load
    def _make_labels(self, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        if ("count" in body) == ("labels" in body):
            raise ma.ValidationError("Give one of count and labels.", "count")
        count = body.pop("count", 0)
        return {"labels": [""] * count, **body}


class TokenChanges(Lives, Changes):
    """What may be changed; a field that is left out stays. `expires_in` counts from now."""

    facts: ClassVar[dict[str, Any]] = {**Lives.facts, **Changes.facts}

    label = Label()
    max_requests = MostRequests()
    is_active = Truth()
    policy = ma.fields.Nested(PolicyShape)
    limits = limits_field(TOKEN_LIMITS)


class Refreshed(Lives):
    """How long the old secret works, and a new life if one is given."""

    grace = Grace()


class Filters(ma.Schema):
    """Which tokens; all that is given has to fit."""

    project_id = ma.fields.UUID()
    state = ma.fields.String(validate=ma.validate.OneOf(list(tokens.State)))
    label_contains = Label(metadata={"description": "By exact letters."})
    label_prefix = Label(metadata={"description": "By exact letters."})
    expires_before = ma.fields.AwareDateTime()
    expires_after = ma.fields.AwareDateTime(metadata={"description": "Then or later."})
    last_used_before = ma.fields.AwareDateTime(metadata={"description": "Or never."})
    last_used_after = ma.fields.AwareDateTime(metadata={"description": "Then or later."})


class TokenQuery(Filters, PageQuery):
    """Which page, of which tokens."""

    sort = sort_field(tokens.SORTS)


class Revocation(Filters):
    """Which tokens are revoked: those with these ids, or all that fit the filters, or all that there are."""

    ids = ma.fields.List(ma.fields.UUID(), validate=ma.validate.Length(1, tokens.MOST_AT_ONCE))
    all = Truth(metadata={"description": "Must be true if there are no filters.", "enum": [True]})

    facts: ClassVar[dict[str, Any]] = {
        "minProperties": 1,
        "anyOf": [{"not": {"anyOf": [{"required": ["ids"]}, {"required": ["all"]}]}}, {"maxProperties": 1}],
    }

    @ma.validates_schema
    def _check_says_which(self, body: dict[str, Any], **_: Any) -> None:
        if "ids" in body and len(body) > 1:
            raise ma.ValidationError("Give ids or filters.", "ids")
        if body.get("all") is False or ("all" in body and len(body) > 1):
            raise ma.ValidationError("Must be true, without any filter.", "all")
        if not body:
            raise ma.ValidationError("Give ids, or filters, or all: true.")


class RevocationView(ma.Schema):
    """What came of it. `unknown_ids` are those of no token that you may see."""

    revoked = ma.fields.Integer(metadata={"description": "Those that were not revoked before."})
    unknown_ids = ma.fields.List(ma.fields.UUID())


_STATE = {"type": "string", "enum": list(tokens.State), "description": "The first of these that is true."}
_UNTIL = {"description": "Until when the secret before the last refresh works as well; null: it does not."}


class TokenView(ma.Schema):
    """A token as it may be shown."""

    id = ma.fields.UUID()
    masked_token = ma.fields.String(attribute="masked")
    project_id = ma.fields.UUID()
    label = ma.fields.String()
    expires_at = ma.fields.AwareDateTime()
    max_requests = ma.fields.Integer(allow_none=True)
    request_count = ma.fields.Integer()
    is_active = ma.fields.Boolean()
    state = ma.fields.Function(lambda row: tokens.state_of(row, now()).value, metadata=_STATE)
    policy = ma.fields.Nested(PolicyShape)
    limits = shown_limits("limits")
    created_at = ma.fields.AwareDateTime()
    updated_at = ma.fields.AwareDateTime()
    last_used_at = ma.fields.AwareDateTime(allow_none=True)
    revoked_at = ma.fields.AwareDateTime(allow_none=True)
    refreshed_at = ma.fields.AwareDateTime(allow_none=True)
    previous_until = ma.fields.AwareDateTime(allow_none=True, metadata=_UNTIL)


class CreatedTokenView(ma.Schema):
    """A new token with its secret, which is shown this once."""

    id = ma.fields.UUID(attribute="row.id")
    token = ma.fields.String(attribute="secret", metadata={"description": "The secret, shown only here."})
    masked_token = ma.fields.String(attribute="row.masked")
    project_id = ma.fields.UUID(attribute="row.project_id")
    label = ma.fields.String(attribute="row.label")
    expires_at = ma.fields.AwareDateTime(attribute="row.expires_at")
    max_requests = ma.fields.Integer(attribute="row.max_requests", allow_none=True)
    request_count = ma.fields.Integer(attribute="row.request_count")
    is_active = ma.fields.Boolean(attribute="row.is_active")
    state = ma.fields.Function(lambda made: tokens.state_of(made.row, now()).value, metadata=_STATE)
    policy = ma.fields.Nested(PolicyShape, attribute="row.policy")
    limits = shown_limits("row.limits")
    created_at = ma.fields.AwareDateTime(attribute="row.created_at")
    updated_at = ma.fields.AwareDateTime(attribute="row.updated_at")
    last_used_at = ma.fields.AwareDateTime(attribute="row.last_used_at", allow_none=True)
    revoked_at = ma.fields.AwareDateTime(attribute="row.revoked_at", allow_none=True)
    refreshed_at = ma.fields.AwareDateTime(attribute="row.refreshed_at", allow_none=True)
    previous_until = ma.fields.AwareDateTime(attribute="row.previous_until", allow_none=True, metadata=_UNTIL)


class TokenPage(ma.Schema):
    """A page of tokens."""

    items = ma.fields.List(ma.fields.Nested(TokenView))
    next_cursor = ma.fields.String(allow_none=True)


@dataclass(frozen=True)
class CreatedToken:
    """A row and its secret, on the way to the one answer that shows it."""

    row: Token
    secret: str


class CreatedTokens(ma.Schema):
    """New tokens with their secrets, which are shown this once."""

    items = ma.fields.List(ma.fields.Nested(CreatedTokenView))


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

    @blueprint.says(once=True, is_tagged=True, links=LINKS)
    @blueprint.arguments(NewToken, example=_EXAMPLE)
    @blueprint.response(201, CreatedTokenView)
    def post(self, body: dict[str, Any]) -> CreatedToken | Response:
        """Create a token; the answer is the only one that shows it."""
        wanted = {name: value for name, value in body.items() if name != "label"}
        made = once(CreatedTokenView(), lambda session: _create(session, [body["label"]], wanted)[0], lambda it: it)
        if not isinstance(made, Response):
            row = _tagged(made.row)
            services().publish_created(lambda publisher: publisher.publish_token(row.id))
        return made


@blueprint.route("/tokens/batch")
class Batch(MethodView):
    """Many tokens."""

    @blueprint.says(once=True)
    @blueprint.arguments(NewTokens, example={**{k: v for k, v in _EXAMPLE.items() if k != "label"}, "count": 3})
    @blueprint.response(201, CreatedTokens)
    def post(self, body: dict[str, Any]) -> dict[str, Any] | Response:
        """Create many tokens of one project, all or none; the answer is the only one that shows them."""
        labels = body.pop("labels")
        made = once(CreatedTokens(), lambda session: {"items": _create(session, labels, body)}, lambda answer: answer)
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
            counts, unknown = services().transact(lambda session: _revoke_these(session, ids))
        else:
            counts, unknown = services().transact(lambda session: (_revoke_matching(session, body), []))
        for project_id in counts:
            services().publisher.publish_tokens_of(project_id)
        return {"revoked": sum(counts.values()), "unknown_ids": unknown}


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
                _note_revoked(session, token)

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

        made = once(CreatedTokenView(), refresh, lambda it: it, 200)
        if not isinstance(made, Response):
            _tagged(made.row)
            services().publish_created(lambda publisher: publisher.publish_token(token_id))
        return made


def _note_revoked(session: Session, token: Token) -> None:
    note(session, audit.Action.TOKEN_REVOKE, project_id=token.project_id, token_id=token.id)


def _revoke_these(session: Session, ids: list[UUID]) -> tuple[dict[UUID, int], list[UUID]]:
    revoked = tokens.revoke_these(session, now(), ids, scope=scope())
    for token in revoked:
        _note_revoked(session, token)
    known = tokens.known(session, ids, scope=scope())
    return dict(Counter(token.project_id for token in revoked)), [each for each in ids if each not in known]


def _revoke_matching(session: Session, filters: dict[str, Any]) -> dict[UUID, int]:
    revoked = tokens.revoke_all(session, now(), scope=scope(), **filters)
    detail = {"filters": {name: str(value) for name, value in filters.items()}}
    audit.note_each(session, now(), source(), audit.Action.TOKEN_REVOKE, revoked, detail=detail)
    return dict(Counter(project_id for project_id, _ in revoked))
