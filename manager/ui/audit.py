"""The audit: searched, one event in full, all that fit as a file."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import marshmallow as ma
from flask import Response, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from manager import audit_search, db, names
from manager.actions import audit as actions
from manager.audit import DATA_PLANE
from manager.audit_export import MEDIA_TYPES
from manager.current import now, scope, services
from manager.errors import Invalid
from manager.principals import Role
from manager.tables import AuditEvent
from manager.ui.audit_detail import summary, told
from manager.ui.audit_fields import FIRST, MORE, AuditSearch, ExportSearch
from manager.ui.blueprint import blueprint, needs
from manager.ui.lists import BESIDE, listed
from manager.ui.named_project import as_typed
from manager.ui.spans import within


@blueprint.get("/audit", endpoint="audit")
def all_events() -> ResponseReturnValue:
    """Show events, newest first, or those that are asked for."""
    asked = {name: value for name, value in request.args.items() if value.strip() and name not in BESIDE}
    context = {"first": FIRST, "more": MORE, "asked": asked, "data_plane": DATA_PLANE}
    return listed(AuditSearch(), (*FIRST, *MORE), "audit/list.html", _find, sent=as_typed(), **context)


@blueprint.get("/audit/<uuid:event_id>", endpoint="event")
def one_event(event_id: UUID) -> str:
    """Show an event."""
    with db.reading(services().sessions) as session:
        event = audit_search.get(session, event_id, scope())
        known = _names(session, [event])
    return render_template("audit/one.html", event=event, told=told(event.detail), names=known, data_plane=DATA_PLANE)


@blueprint.post("/audit/export")
@needs(Role.AUDITOR)
def export_audit() -> Response:
    """Give away the events that are asked for, oldest first. That this was done is told in the audit."""
    query = within(_export_query(), now())
    shape = query.pop("format")
    headers = {"content-disposition": f"attachment; filename=audit.{shape.value}"}
    return Response(actions.export(shape, query), headers=headers, content_type=MEDIA_TYPES[shape])


def _export_query() -> dict[str, Any]:
    sent = {name: value for name, value in request.form.items() if name != "csrf_token"}
    try:
        found: dict[str, Any] = ExportSearch().load(sent, unknown=ma.RAISE)
    except ma.ValidationError as error:
        name, reasons = next(iter(error.messages_dict.items()))
        raise Invalid(name, str(reasons[0])) from error
    return found


def _find(query: Mapping[str, Any]) -> dict[str, Any]:
    with db.reading(services().sessions) as session:
        page = audit_search.list_page(session, scope=scope(), **within(query, now()))
        known = _names(session, page.items)
    return {"page": page, "names": known, "summaries": {event.id: summary(event.detail) for event in page.items}}


def _names(session: Session, events: Sequence[AuditEvent]) -> names.Names:
    projects = {event.project_id for event in events if event.project_id}
    return names.of(session, projects, {event.token_id for event in events if event.token_id})
