"""/manage/live."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager import live, texts
from manager.actions import flows as flow_actions
from manager.actions import live as actions
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import WholeNumber
from manager.api.flows import FlowView, shown
from manager.current import scope, services
from manager.principals import Role
from shared.flow_schema import MOST_EDITED_BYTES
from shared.live_schema import State

blueprint = ManageBlueprint("live", "Requests in flight, as the workers of the data plane tell of them.")
LONGEST_LIST = 1000
_FIRST = {"request_id": "$response.body#/items/0/request_id"}
_LINKS = {"cut": ("post", "/manage/live/{request_id}/cut", _FIRST), "get": ("get", "/manage/live/{request_id}", _FIRST)}


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
        metadata={
            "enum": list(State),
            "description": "`waiting` until its answer has begun, then `streaming`; `held` before it is sent.",
        }
    )
    chunks = ma.fields.Integer(metadata={"description": "Of the answer, so far."})
    response_bytes = ma.fields.Integer(metadata={"description": "So far."})
    completion_tokens = ma.fields.Integer(
        allow_none=True,
        metadata={"description": "So far; estimated until the provider has told, null before anything is known."},
    )
    worker = ma.fields.String(metadata={"description": "The name of its worker."})
    rule = ma.fields.String(metadata={"description": "The name of the rule that holds it, empty if none does."})
    held_until = ma.fields.AwareDateTime(allow_none=True)


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


class OneView(ma.Schema):
    """A request in flight."""

    request_id = ma.fields.String()
    is_held = ma.fields.Boolean()
    running = ma.fields.Nested(RunningView, allow_none=True, metadata={"description": "What its worker told last."})
    flow = ma.fields.Nested(
        FlowView, allow_none=True, metadata={"description": "If it is held: as it may be shown, with its whole body."}
    )


class CutShape(ma.Schema):
    """Why something is done to a request."""

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


class ResumeShape(CutShape):
    """Why a request goes out, and with which body."""

    body = ma.fields.String(
        allow_none=True,
        load_default=None,
        metadata={
            "description": "Replaces the whole body; null: it goes out as it is. Placeholders in it stand for what was"
            " hidden, and are put back. What is too large, or no text, is refused.",
            "maxLength": MOST_EDITED_BYTES,
        },
    )


@blueprint.route("/live/<request_id>")
class OneInFlight(MethodView):
    """A request in flight."""

    @blueprint.needs(Role.AUDITOR)
    @blueprint.response(200, OneView)
    def get(self, request_id: str) -> dict[str, Any]:
        """Show a request in flight; if it is held, with its redacted body. That this was read is audited."""
        found = flow_actions.read_live(request_id)
        flow = None if found.record is None else shown(found.record)
        return {"request_id": request_id, "is_held": found.is_held, "running": found.told, "flow": flow}


@blueprint.route("/live/<request_id>/resume")
class Resumption(MethodView):
    """A request that is held goes on."""

    # A body as JSON has up to six bytes for one of its own.
    most_bytes = 7 * MOST_EDITED_BYTES

    @blueprint.needs(Role.OPERATOR)
    @blueprint.says(conflicts=True)
    @blueprint.arguments(ResumeShape, required=False, example={"reason": "a test of ours"})
    @blueprint.response(202)
    def post(self, body: dict[str, Any], request_id: str) -> None:
        """Let a request go out that is held, as it is or with another body, which is then checked as any other."""
        actions.resume(request_id, body["reason"], body["body"])


@blueprint.route("/live/<request_id>/refuse")
class Refusal(MethodView):
    """A request that is held ends."""

    @blueprint.needs(Role.OPERATOR)
    @blueprint.says(conflicts=True)
    @blueprint.arguments(CutShape, required=False, example={"reason": "customer data"})
    @blueprint.response(202)
    def post(self, body: dict[str, Any], request_id: str) -> None:
        """Refuse a request that is held, with the error `request_refused`."""
        actions.refuse(request_id, body["reason"])


@blueprint.route("/live/<request_id>/cut")
class Cut(MethodView):
    """The end of a request."""

    @blueprint.needs(Role.OPERATOR)
    @blueprint.arguments(CutShape, required=False, example={"reason": "runs in circles"})
    @blueprint.response(204)
    def post(self, body: dict[str, Any], request_id: str) -> None:
        """End a request that is in flight, with the error `request_cut`. It takes less than a second."""
        actions.cut(request_id, body["reason"])
