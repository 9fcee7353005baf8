"""/manage/inspector."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager.actions import flows as actions
from manager.api.blueprint import ManageBlueprint
from manager.principals import EVERYTHING, Role

blueprint = ManageBlueprint("inspector", "Who may look into mitmweb.")


class SessionView(ma.Schema):
    """Who it is, and what it may."""

    name = ma.fields.String()
    role = ma.fields.String()
    sees_everything = ma.fields.Boolean(metadata={"description": "True: nobody else is let in."})
    may_decide = ma.fields.Boolean(metadata={"description": "Whether it may cut, resume, edit and refuse requests."})


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
