"""/manage/operators and /manage/me."""

from typing import Any
from uuid import UUID

import marshmallow as ma
from flask.views import MethodView

from manager import db, operator_names, operators
from manager.actions import operators as actions
from manager.actions.operators import WithToken
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Changes, Duration, Name, PageQuery, sort_field
from manager.api.once import once
from manager.current import principal, services
from manager.pages import Page
from manager.principals import Role
from manager.tables import Operator

blueprint = ManageBlueprint("operators", "Who may use this API, and as what.", reads=Role.ADMIN, writes=Role.ADMIN)
_ONE, _ID = "/manage/operators/{operator_id}", {"operator_id": "$response.body#/id"}
_LINKS = {
    "get": ("get", _ONE, _ID),
    "change": ("patch", _ONE, _ID),
    "rotate": ("post", f"{_ONE}/rotate", _ID),
    "revoke": ("delete", _ONE, _ID),
}
_NAMED = {
    "description": "Names under which others act, or that look like another one, are refused.",
    "schema": {"not": {"enum": sorted(operator_names.OURS)}},
}
_UNTIL = "Seconds, or ISO 8601 like P30D, from now on; null: for good."
_WHICH = "The only projects to be seen; null: all."


def _ids(**more: Any) -> ma.fields.List[UUID]:
    said = {"description": _WHICH, "schema": {"minItems": 1, "maxItems": operators.MOST_PROJECTS}}
    return ma.fields.List(ma.fields.UUID(), allow_none=True, metadata=said, **more)


class OperatorQuery(PageQuery):
    """Which page, of which role."""

    role = ma.fields.Enum(Role, by_value=True, load_default=None)
    sort = sort_field(operators.SORTS)


class NewOperator(ma.Schema):
    """What an operator is made of."""

    name = Name(required=True, metadata=_NAMED)
    role = ma.fields.Enum(Role, by_value=True, required=True)
    project_ids = _ids(load_default=None)
    expires_in = Duration(allow_none=True, load_default=None, metadata={"description": _UNTIL})


class OperatorChanges(Changes):
    """What may be changed; a field that is left out stays. The name stays for good."""

    role = ma.fields.Enum(Role, by_value=True)
    project_ids = _ids()
    expires_in = Duration(allow_none=True, metadata={"description": _UNTIL})


class OperatorView(ma.Schema):
    """An operator as it may be shown."""

    id = ma.fields.UUID()
    name = ma.fields.String()
    role = ma.fields.String()
    project_ids = _ids()
    masked_token = ma.fields.String(attribute="masked")
    expires_at = ma.fields.AwareDateTime(allow_none=True)
    created_at = ma.fields.AwareDateTime()
    last_used_at = ma.fields.AwareDateTime(allow_none=True)
    revoked_at = ma.fields.AwareDateTime(allow_none=True)


class OperatorWithTokenView(OperatorView):
    """An operator with its token, which is shown this once."""

    token = ma.fields.String(metadata={"description": "The token, shown only here."})


class OperatorPage(ma.Schema):
    """A page of operators."""

    items = ma.fields.List(ma.fields.Nested(OperatorView))
    next_cursor = ma.fields.String(allow_none=True)


class MeView(ma.Schema):
    """Who sends the request."""

    id = ma.fields.UUID(allow_none=True, metadata={"description": "Null for the management token, and for people."})
    name = ma.fields.String()
    role = ma.fields.String()
    project_ids = _ids()


@blueprint.route("/operators")
class Operators(MethodView):
    """All operators."""

    @blueprint.arguments(OperatorQuery, location="query")
    @blueprint.response(200, OperatorPage)
    def get(self, query: dict[str, Any]) -> Page[Operator]:
        """List operators, newest first, those that were revoked as well."""
        with db.reading(services().sessions) as session:
            return operators.list_page(session, **query)

    @blueprint.says(once=True, conflicts=True, links=_LINKS)
    @blueprint.arguments(NewOperator)
    @blueprint.response(201, OperatorWithTokenView)
    def post(self, body: dict[str, Any]) -> WithToken:
        """Create an operator; the answer is the only one that shows its token."""
        return actions.create(body, once(OperatorWithTokenView(), lambda made: made))


@blueprint.route("/operators/<uuid:operator_id>")
class OneOperator(MethodView):
    """One operator."""

    @blueprint.response(200, OperatorView)
    def get(self, operator_id: UUID) -> Operator:
        """Show an operator."""
        with db.reading(services().sessions) as session:
            return operators.get(session, operator_id)

    @blueprint.says(conflicts=True)
    @blueprint.arguments(OperatorChanges)
    @blueprint.response(200, OperatorView)
    def patch(self, body: dict[str, Any], operator_id: UUID) -> Operator:
        """Change an operator that has not been revoked."""
        return actions.update(operator_id, body)

    @blueprint.response(204)
    def delete(self, operator_id: UUID) -> None:
        """Revoke an operator for good. Its row stays, since the audit names it."""
        actions.revoke(operator_id)


@blueprint.route("/operators/<uuid:operator_id>/rotate")
class Rotation(MethodView):
    """The token of an operator."""

    @blueprint.says(conflicts=True)
    @blueprint.response(200, OperatorWithTokenView)
    def post(self, operator_id: UUID) -> WithToken:
        """Give an operator another token, shown only here; the old one ends at once."""
        return actions.rotate(operator_id)


@blueprint.route("/me")
class Me(MethodView):
    """Whoever asks."""

    @blueprint.needs(Role.AUDITOR)
    @blueprint.response(200, MeView)
    def get(self) -> dict[str, Any]:
        """Show who sends the request, and what they may do."""
        me = principal()
        ids = me.scope.project_ids
        return {"id": me.id, "name": me.name, "role": me.role, "project_ids": None if ids is None else sorted(ids)}
