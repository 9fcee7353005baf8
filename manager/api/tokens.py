"""/manage/tokens."""

from typing import Any
from uuid import UUID

from flask.views import MethodView

from manager import db, tokens
from manager.actions import Run
from manager.actions import tokens as actions
from manager.actions.tokens import CreatedToken
from manager.api import conditions, described
from manager.api.blueprint import ManageBlueprint
from manager.api.once import once
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
from manager.current import now, scope, services
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


def _tagged(row: Token) -> Token:
    conditions.show(actions.state(row))
    return row


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
    def post(self, body: dict[str, Any]) -> CreatedToken:
        """Create a token; the answer is the only one that shows it."""
        made = actions.create(body, _once())
        _tagged(made.row)
        return made


@blueprint.route("/tokens/batch")
class Batch(MethodView):
    """Many tokens."""

    @blueprint.says(once=True, conflicts=True)
    @blueprint.arguments(NewTokens, example={**{k: v for k, v in _EXAMPLE.items() if k != "label"}, "count": 3})
    @blueprint.response(201, CreatedTokens)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create many tokens of one project, all or none; the answer is the only one that shows them."""
        made = actions.create_many(
            body,
            once(
                CreatedTokens(),
                lambda made: {"items": made},
                check=lambda session, answer: actions.check_live(session, answer["items"]),
            ),
        )
        return {"items": made}


@blueprint.route("/tokens/revoke")
class BatchRevocation(MethodView):
    """Many tokens, revoked."""

    @blueprint.arguments(Revocation, example={"label_prefix": "nightly", "last_used_before": "2026-01-01T00:00:00Z"})
    @blueprint.response(200, RevocationView)
    def post(self, body: dict[str, Any]) -> dict[str, Any]:
        """Revoke tokens for good: by their ids, or all that fit filters, or (`all: true`) all that you may see."""
        ids = body.pop("ids", None)
        body.pop("all", None)
        revoked, unknown = (actions.revoke_matching(body), []) if ids is None else actions.revoke_these(ids)
        return {"revoked": revoked, "unknown_ids": unknown}


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
        return _tagged(actions.update(token_id, body, conditions.expected()))

    @blueprint.says(tagged=True)
    @blueprint.response(204)
    def delete(self, token_id: UUID) -> None:
        """Revoke a token for good."""
        actions.revoke(token_id, conditions.expected())


@blueprint.route("/tokens/<uuid:token_id>/refresh")
class Refresh(MethodView):
    """Another secret for a token."""

    @blueprint.says(tagged=True, once=True, conflicts=True)
    @blueprint.arguments(Refreshed, example={"grace": "PT1H", "expires_in": "P7D"})
    @blueprint.response(200, CreatedTokenView)
    def post(self, body: dict[str, Any], token_id: UUID) -> CreatedToken:
        """Give a token another secret, shown only here; the old one works on for the grace, or ends at once."""
        made = actions.refresh(token_id, body, conditions.expected(), _once(200))
        _tagged(made.row)
        return made


def _once(status: int = 201) -> Run[CreatedToken]:
    return once(
        CreatedTokenView(),
        lambda it: it,
        status,
        state=lambda it: actions.state(it.row),
        check=lambda session, answer: actions.check_live(session, [answer]),
    )
