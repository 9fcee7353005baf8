"""/manage/dead-letters."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager import dead_letters
from manager.actions import dead_letters as actions
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import PageQuery
from manager.current import services
from manager.principals import Role

blueprint = ManageBlueprint("dead_letters", "Usage events that could not be recorded.")


class DeadLetterView(ma.Schema):
    """An event that could not be recorded, and why."""

    id = ma.fields.String()
    occurred_at = ma.fields.AwareDateTime(metadata={"description": "When it was set aside."})
    reason = ma.fields.String()
    event = ma.fields.String(metadata={"description": "What it holds, cut if it is long."})


class DeadLetterPage(ma.Schema):
    """A page of events."""

    items = ma.fields.List(ma.fields.Nested(DeadLetterView))
    next_cursor = ma.fields.String(allow_none=True)


@blueprint.route("/dead-letters")
class DeadLetters(MethodView):
    """All of them."""

    @blueprint.needs(Role.AUDITOR, everything=True)
    @blueprint.arguments(PageQuery, location="query")
    @blueprint.response(200, DeadLetterPage)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """List usage events that could not be recorded, newest first."""
        letters, following = dead_letters.newest(services().redis, query["limit"], query["cursor"])
        return {"items": letters, "next_cursor": following}


@blueprint.route("/dead-letters/<letter_id>")
class OneDeadLetter(MethodView):
    """One of them."""

    @blueprint.needs(Role.ADMIN, everything=True)
    @blueprint.response(204)
    def delete(self, letter_id: str) -> None:
        """Throw an event away."""
        actions.delete(letter_id)


@blueprint.route("/dead-letters/<letter_id>/retry")
class Retry(MethodView):
    """Another try."""

    @blueprint.needs(Role.ADMIN, everything=True)
    @blueprint.response(204)
    def post(self, letter_id: str) -> None:
        """Hand an event to the collector once more; it comes back if it still cannot be recorded."""
        actions.retry(letter_id)
