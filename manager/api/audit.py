"""/manage/audit."""

from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from manager import audit, audit_search, db
from manager.actions import audit as actions
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Label, Moment, PageQuery, RequestId, sort_field
from manager.audit_export import MEDIA_TYPES, Shape
from manager.audit_verification import Report
from manager.current import scope, services
from manager.pages import Page
from manager.principals import Role
from manager.tables import NAME_LENGTH, AuditEvent

blueprint = ManageBlueprint("audit", "What was done to whom, and by whom.")
_FILES = {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in MEDIA_TYPES.values()}


class AuditFilters(ma.Schema):
    """Of which events."""

    action = ma.fields.String(load_default=None, validate=ma.validate.OneOf(list(audit.Action)))
    actor = Label(load_default=None, validate=ma.validate.Length(1, NAME_LENGTH))
    actor_id = ma.fields.UUID(load_default=None, metadata={"description": "Which operator."})
    outcome = ma.fields.String(load_default=None, validate=ma.validate.Regexp("^[a-z_]{1,32}$"))
    project_id = ma.fields.UUID(load_default=None)
    token_id = ma.fields.UUID(load_default=None)
    subject_id = ma.fields.UUID(load_default=None, metadata={"description": "What was done to, if neither of these."})
    request_id = RequestId(load_default=None)
    since = Moment(load_default=None, data_key="from", metadata={"description": "Then or later."})
    until = Moment(load_default=None, metadata={"description": "Before."})
    text = Label(
        load_default=None,
        validate=ma.validate.Length(1, 200),
        metadata={"description": "Found in actor, address or details, whatever its case."},
    )


class AuditQuery(PageQuery, AuditFilters):
    """Which page, of which events."""

    sort = sort_field(audit_search.SORTS, "-id")


class ExportQuery(AuditFilters):
    """Which events, and how they are written."""

    format = ma.fields.Enum(Shape, by_value=True, load_default=Shape.JSONL)


class VerifyQuery(ma.Schema):
    """What is held against the chain."""

    anchor = ma.fields.String(
        load_default=None,
        metadata={
            "description": "`chain:position:mac`, the end as it was told at an earlier time.",
            "pattern": "^([0-9a-f]{1,16}:)?[0-9]{1,18}:[0-9A-Za-z]{64}$",
        },
    )


class AuditView(ma.Schema):
    """One event. `request_id` is that of the management API, or of the data plane's request if that is the actor."""

    id = ma.fields.UUID()
    occurred_at = ma.fields.AwareDateTime()
    action = ma.fields.String()
    actor = ma.fields.String()
    actor_id = ma.fields.UUID(allow_none=True, metadata={"description": "Of an operator; names may be alike."})
    outcome = ma.fields.String()
    project_id = ma.fields.UUID(allow_none=True)
    token_id = ma.fields.UUID(allow_none=True)
    subject_id = ma.fields.UUID(allow_none=True)
    request_id = ma.fields.String(allow_none=True)
    address = ma.fields.String(allow_none=True, metadata={"description": "Where the request came from."})
    detail = ma.fields.Dict()
    position = ma.fields.Integer(allow_none=True, metadata={"description": "Place in the chain; null: not yet in it."})
    mac = ma.fields.String(allow_none=True)


class AuditPage(ma.Schema):
    """A page of events."""

    items = ma.fields.List(ma.fields.Nested(AuditView))
    next_cursor = ma.fields.String(allow_none=True)


class FaultView(ma.Schema):
    """The first thing that is wrong."""

    kind = ma.fields.String(metadata={"description": "changed, missing, additional, or record (of the chain itself)."})
    reason = ma.fields.String()
    position = ma.fields.Integer(allow_none=True)
    id = ma.fields.UUID(allow_none=True)


class ReportView(ma.Schema):
    """What verifying found. `chain:position:mac` is the end, and an anchor for later."""

    is_whole = ma.fields.Boolean()
    rows = ma.fields.Integer(metadata={"description": "Events that were found to fit."})
    kept_position = ma.fields.Integer(metadata={"description": "Where retention has cut the chain off; 0: nowhere."})
    chain = ma.fields.String(metadata={"description": "The chain's id; another one if it was begun anew."})
    position = ma.fields.Integer()
    mac = ma.fields.String()
    unchained = ma.fields.Integer(metadata={"description": "Events that wait for their place in the chain."})
    unchained_since = ma.fields.AwareDateTime(allow_none=True)
    fault = ma.fields.Nested(FaultView, allow_none=True)


@blueprint.route("/audit")
class Audit(MethodView):
    """The audit."""

    @blueprint.arguments(AuditQuery, location="query")
    @blueprint.response(200, AuditPage)
    def get(self, query: dict[str, Any]) -> Page[AuditEvent]:
        """List events, newest first."""
        with db.reading(services().sessions) as session:
            return audit_search.list_page(session, scope=scope(), **query)


@blueprint.route("/audit/<uuid:event_id>")
class OneEvent(MethodView):
    """One event."""

    @blueprint.response(200, AuditView)
    def get(self, event_id: UUID) -> AuditEvent:
        """Show an event."""
        with db.reading(services().sessions) as session:
            return audit_search.get(session, event_id, scope())


@blueprint.route("/audit/export")
class Export(MethodView):
    """The audit as a file."""

    @blueprint.arguments(ExportQuery, location="query")
    @blueprint.doc(responses={200: {"description": "The events.", "content": _FILES}})
    def get(self, query: dict[str, Any]) -> Response:
        """Export events, oldest first, as JSON lines or CSV. That this was done is told in the audit."""
        shape = query.pop("format")
        found = actions.export(shape, query)
        headers = {"content-disposition": f"attachment; filename=audit.{shape.value}"}
        return Response(found, headers=headers, content_type=MEDIA_TYPES[shape])


@blueprint.route("/audit/verify")
class Verification(MethodView):
    """Whether the audit is whole."""

    @blueprint.needs(Role.AUDITOR, everything=True)
    @blueprint.arguments(VerifyQuery, location="query")
    @blueprint.response(200, ReportView)
    def get(self, query: dict[str, Any]) -> Report:
        """Verify the whole chain, and tell the first event that was changed, taken out or put in."""
        return actions.verify(query["anchor"])
