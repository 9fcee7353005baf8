"""/manage/inspector."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager.actions import flows as actions
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import RequestId, WholeNumber
from manager.principals import EVERYTHING, Role

blueprint = ManageBlueprint("inspector", "Who may look into mitmweb.")

MOST_READINGS = 100


class SessionView(ma.Schema):
    """Who it is, and what it may."""

    name = ma.fields.String()
    role = ma.fields.String()
    sees_everything = ma.fields.Boolean(metadata={"description": "True: nobody else is let in."})
    may_decide = ma.fields.Boolean(metadata={"description": "Whether it may cut, resume, edit and refuse requests."})


class Readings(ma.Schema):
    """What somebody has seen or saved in mitmweb."""

    request_ids = ma.fields.List(
        RequestId(),
        load_default=[],
        validate=ma.validate.Length(max=MOST_READINGS),
        metadata={"description": "Of which requests bodies were shown."},
    )
    saved = WholeNumber(
        allow_none=True,
        load_default=None,
        validate=ma.validate.Range(0, 1_000_000_000),
        metadata={"description": "How many flows were saved as a file; null: none were."},
    )


@blueprint.route("/inspector/sessions")
class Sessions(MethodView):
    """Sessions of mitmweb."""

    @blueprint.needs(Role.AUDITOR, everything=True)
    @blueprint.response(200, SessionView)
    def post(self) -> dict[str, Any]:
        """Tell who opens mitmweb, and write it down. It shows the requests of all projects."""
        who = actions.open_inspector()
        may_decide, sees_everything = who.role.covers(Role.OPERATOR), who.scope == EVERYTHING
        return {"name": who.name, "role": who.role, "sees_everything": sees_everything, "may_decide": may_decide}


@blueprint.route("/inspector/readings")
class AllReadings(MethodView):
    """What is looked at in mitmweb."""

    @blueprint.needs(Role.AUDITOR, everything=True)
    @blueprint.arguments(Readings, example={"request_ids": ["01999b2e7c1d7d0c8b1fcb0e7f5a9d11"]})
    @blueprint.response(204)
    def post(self, seen: dict[str, Any]) -> None:
        """Write down what who calls has seen there."""
        actions.note_readings(seen["request_ids"], seen["saved"])
