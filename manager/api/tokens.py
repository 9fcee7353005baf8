"""/manage/tokens."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import marshmallow as ma
from flask.views import MethodView

from manager import audit, db, tokens
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Changes, Duration, PageQuery, Truth
from manager.api.limits import changed, limits_field, shown_limits
from manager.api.policies import PolicyShape
from manager.api.services import now, services, source
from manager.pages import Page
from manager.tables import Token

blueprint = ManageBlueprint("tokens", "Withering tokens: made, watched, changed and revoked.")


class NewToken(ma.Schema):
    """What a token is made of."""

    project_id = ma.fields.UUID(required=True)
    expires_in = Duration(required=True, metadata={"description": "Seconds, or ISO 8601 like PT15M, P30D."})
    max_requests = ma.fields.Integer(strict=True, allow_none=True, load_default=None)
    label = ma.fields.String(load_default="")
    policy = ma.fields.Nested(PolicyShape, metadata={"description": "Narrows that of the project."})
    limits = limits_field(metadata={"description": "Beside `max_requests`, and beside those of the project."})


class TokenChanges(Changes):
    """What may be changed; a field that is left out stays. `expires_in` counts from now."""

    label = ma.fields.String()
    expires_in = Duration()
    max_requests = ma.fields.Integer(strict=True, allow_none=True)
    is_active = Truth()
    policy = ma.fields.Nested(PolicyShape)
    limits = limits_field()


class TokenQuery(PageQuery):
    """Which page, of which project."""

    project_id = ma.fields.UUID(load_default=None)


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
    policy = ma.fields.Nested(PolicyShape)
    limits = shown_limits("limits")
    created_at = ma.fields.AwareDateTime()
    last_used_at = ma.fields.AwareDateTime(allow_none=True)
    revoked_at = ma.fields.AwareDateTime(allow_none=True)


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
    policy = ma.fields.Nested(PolicyShape, attribute="row.policy")
    limits = shown_limits("row.limits")
    created_at = ma.fields.AwareDateTime(attribute="row.created_at")
    last_used_at = ma.fields.AwareDateTime(attribute="row.last_used_at", allow_none=True)
    revoked_at = ma.fields.AwareDateTime(attribute="row.revoked_at", allow_none=True)


class TokenPage(ma.Schema):
    """A page of tokens."""

    items = ma.fields.List(ma.fields.Nested(TokenView))
    next_cursor = ma.fields.String(allow_none=True)


@dataclass(frozen=True)
class CreatedToken:
    """A row and its secret, on the way to the one answer that shows it."""

    row: Token
    secret: str


@blueprint.route("/tokens")
class Tokens(MethodView):
    """All tokens."""

    @blueprint.arguments(TokenQuery, location="query")
    @blueprint.response(200, TokenPage)
    def get(self, query: dict[str, Any]) -> Page[Token]:
        """List tokens, newest first."""
        with db.reading(services().sessions) as session:
            return tokens.list_page(session, **query)

    @blueprint.arguments(NewToken)
    @blueprint.response(201, CreatedTokenView)
    def post(self, body: dict[str, Any]) -> CreatedToken:
        """Create a token; the answer is the only one that shows it."""
        settings = services().settings
        with services().sessions.begin() as session:
            longest = settings.max_token_lifetime
            row, secret = tokens.create(session, settings.token_pepper, now(), longest=longest, **body)
        services().publish_created(lambda publisher: publisher.publish_token(row.id))
        return CreatedToken(row, secret)


@blueprint.route("/tokens/<uuid:token_id>")
class OneToken(MethodView):
    """One token."""

    @blueprint.response(200, TokenView)
    def get(self, token_id: UUID) -> Token:
        """Show a token."""
        with db.reading(services().sessions) as session:
            return tokens.get(session, token_id)

    @blueprint.arguments(TokenChanges)
    @blueprint.response(200, TokenView)
    def patch(self, body: dict[str, Any], token_id: UUID) -> Token:
        """Change a token that has not been revoked."""
        with services().sessions.begin() as session:
            token = tokens.get(session, token_id, for_update=True)
            limits = token.limits
            tokens.update(token, now(), longest=services().settings.max_token_lifetime, **body)
            if detail := changed(limits, token.limits):
                action, project_id = audit.Action.LIMITS_CHANGE, token.project_id
                audit.note(session, now(), source(), action, project_id=project_id, token_id=token_id, detail=detail)
        services().publisher.publish_token(token_id)
        return token

    @blueprint.response(204)
    def delete(self, token_id: UUID) -> None:
        """Revoke a token for good."""
        with services().sessions.begin() as session:
            token = tokens.get(session, token_id, for_update=True)
            if tokens.revoke(token, now()):
                action, project_id = audit.Action.TOKEN_REVOKE, token.project_id
                audit.note(session, now(), source(), action, project_id=project_id, token_id=token_id)
        services().publisher.publish_token(token_id)
