"""/manage/operators and /manage/me."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import Response
from flask.views import MethodView
from sqlalchemy.orm import Session

from manager import audit, db, operator_names, operators
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Changes, Duration, Name, PageQuery, sort_field
from manager.api.once import once
from manager.api.services import now, principal, services, source
from manager.audit import Action
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


@dataclass(frozen=True)
class _WithToken:
    row: Operator
    token: str

    def __getattr__(self, name: str) -> Any:
        return getattr(self.row, name)


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
    def post(self, body: dict[str, Any]) -> _WithToken | Response:
        """Create an operator; the answer is the only one that shows its token."""

        def create(session: Session) -> _WithToken:
            row, token = operators.create(session, services().settings.token_pepper, now(), **body)
            _note(session, Action.OPERATOR_CREATE, row, {"after": operators.shown(row)})
            return _WithToken(row, token)

        return once(OperatorWithTokenView(), create, lambda made: made)


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

        def change(session: Session) -> Operator:
            operator = operators.get(session, operator_id, for_update=True)
            before = operators.shown(operator)
            operators.update(session, now(), operator, **body)
            after = operators.shown(operator)
            changed = [name for name in after if before[name] != after[name]]
            if changed:
                detail = {"before": {n: before[n] for n in changed}, "after": {n: after[n] for n in changed}}
                _note(session, Action.OPERATOR_UPDATE, operator, detail)
            return operator

        return services().transact(change)

    @blueprint.response(204)
    def delete(self, operator_id: UUID) -> None:
        """Revoke an operator for good. Its row stays, since the audit names it."""

        def revoke(session: Session) -> None:
            operator = operators.get(session, operator_id, for_update=True)
            if operators.revoke(operator, now()):
                _note(session, Action.OPERATOR_REVOKE, operator, {"name": operator.name})

        services().transact(revoke)


@blueprint.route("/operators/<uuid:operator_id>/rotate")
class Rotation(MethodView):
    """The token of an operator."""

    @blueprint.says(conflicts=True)
    @blueprint.response(200, OperatorWithTokenView)
    def post(self, operator_id: UUID) -> _WithToken:
        """Give an operator another token, shown only here; the old one ends at once."""

        def rotate(session: Session) -> _WithToken:
            operator = operators.get(session, operator_id, for_update=True)
            masks = {"before": {"token": operator.masked}}
            token = operators.rotate(services().settings.token_pepper, now(), operator)
            _note(session, Action.OPERATOR_ROTATE, operator, masks | {"after": {"token": operator.masked}})
            return _WithToken(operator, token)

        return services().transact(rotate)


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


def _note(session: Session, action: Action, operator: Operator, detail: dict[str, Any]) -> None:
    audit.note(session, now(), source(), action, subject_id=operator.id, detail=detail)
