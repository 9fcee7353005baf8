"""/manage/audit."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager import audit, db
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import PageQuery
from manager.api.services import services
from manager.pages import Page
from manager.tables import AuditEvent

blueprint = ManageBlueprint("audit", "What was done to whom, and by whom.")


class AuditQuery(PageQuery):
    """Which page, of which events."""

    action = ma.fields.String(load_default=None, validate=ma.validate.OneOf(list(audit.Action)))
    project_id = ma.fields.UUID(load_default=None)
    token_id = ma.fields.UUID(load_default=None)
    request_id = ma.fields.String(load_default=None, validate=ma.validate.Regexp("^[A-Za-z0-9._-]{1,64}$"))


class AuditView(ma.Schema):
    """One event. `request_id` is that of the management API, or of the data plane's request if that is the actor."""

    id = ma.fields.UUID()
    occurred_at = ma.fields.AwareDateTime()
    action = ma.fields.String()
    actor = ma.fields.String()
    outcome = ma.fields.String()
    project_id = ma.fields.UUID(allow_none=True)
    token_id = ma.fields.UUID(allow_none=True)
    request_id = ma.fields.String(allow_none=True)
    detail = ma.fields.Dict()


class AuditPage(ma.Schema):
    """A page of events."""

    items = ma.fields.List(ma.fields.Nested(AuditView))
    next_cursor = ma.fields.String(allow_none=True)


@blueprint.route("/audit")
class Audit(MethodView):
    """The audit."""

    @blueprint.arguments(AuditQuery, location="query")
    @blueprint.response(200, AuditPage)
    def get(self, query: dict[str, Any]) -> Page[AuditEvent]:
        """List events, newest first."""
        with db.reading(services().sessions) as session:
            return audit.list_page(session, **query)
