"""/manage/live."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager import live, texts
from manager.actions import live as actions
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import WholeNumber
from manager.current import scope, services
from manager.principals import Role
from shared.live_schema import State

blueprint = ManageBlueprint("live", "Requests in flight, as the workers of the data plane tell of them.")
LONGEST_LIST = 1000
_LINKS = {"cut": ("post", "/manage/live/{request_id}/cut", {"request_id": "$response.body#/items/0/request_id"})}


class LiveQuery(ma.Schema):
    """Which requests, and how many of them."""

    limit = WholeNumber(load_default=200, validate=ma.validate.Range(1, LONGEST_LIST))
    project_id = ma.fields.UUID(load_default=None)


class RunningView(ma.Schema):
    """A request in flight."""

    request_id = ma.fields.String()
    project_id = ma.fields.String()
    token_id = ma.fields.String()
    token_label = ma.fields.String()
    provider = ma.fields.String()
    route = ma.fields.String()
    model = ma.fields.String(allow_none=True)
    started_at = ma.fields.AwareDateTime()
    is_stream = ma.fields.Boolean(metadata={"description": "Whether a stream was asked for."})
    state = ma.fields.String(
        metadata={"enum": list(State), "description": "`waiting` until its answer has begun, then `streaming`."}
    )
    chunks = ma.fields.Integer(metadata={"description": "Of the answer, so far."})
    response_bytes = ma.fields.Integer(metadata={"description": "So far."})
    completion_tokens = ma.fields.Integer(
        allow_none=True,
        metadata={"description": "So far; estimated until the provider has told, null before anything is known."},
    )
    worker = ma.fields.String(metadata={"description": "The name of its worker."})


class LiveWorkerView(ma.Schema):
    """A worker of the data plane."""

    name = ma.fields.String()
    told_at = ma.fields.AwareDateTime(
        allow_none=True, metadata={"description": "When it told what runs on it; null: it has not."}
    )
    count = ma.fields.Integer(metadata={"description": "How many requests that you may see run on it."})


class LiveView(ma.Schema):
    """What is in flight."""

    items = ma.fields.List(ma.fields.Nested(RunningView), metadata={"description": "Oldest first."})
    count = ma.fields.Integer(metadata={"description": "How many there are in all, shown or not."})
    workers = ma.fields.List(ma.fields.Nested(LiveWorkerView))


class CutShape(ma.Schema):
    """Why a request is cut."""

    reason = ma.fields.String(
        load_default="",
        metadata={
            "description": "For the audit. The client is not told.",
            "maxLength": live.REASON_LENGTH,
            "pattern": texts.TEXT_PATTERN,
        },
    )


@blueprint.route("/live")
class Live(MethodView):
    """What is in flight."""

    @blueprint.needs(Role.AUDITOR)
    @blueprint.says(links=_LINKS)
    @blueprint.arguments(LiveQuery, location="query")
    @blueprint.response(200, LiveView)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """Show what is in flight, oldest first. Workers tell it once a second while somebody looks."""
        found = live.look(services().redis, scope().narrowed(query["project_id"]))
        return {"items": found.items[: query["limit"]], "count": found.count, "workers": found.workers}


@blueprint.route("/live/<request_id>/cut")
class Cut(MethodView):
    """The end of a request."""

    @blueprint.needs(Role.OPERATOR)
    @blueprint.arguments(CutShape, required=False, example={"reason": "runs in circles"})
    @blueprint.response(204)
    def post(self, body: dict[str, Any], request_id: str) -> None:
        """End a request that is in flight, with the error `request_cut`. It takes less than a second."""
        actions.cut(request_id, body["reason"])
