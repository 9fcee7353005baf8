"""/manage/flows, and the shape of a recorded flow wherever it is."""

import base64
from datetime import UTC, datetime
from typing import Any

import marshmallow as ma
from flask import Response
from flask.views import MethodView

from manager import flow_exports, flows, texts
from manager.actions import flows as actions
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Exact, Moment, RequestId, WholeNumber
from manager.api.prices import Usd
from manager.current import scope, services
from manager.flows import Wanted
from manager.principals import Role
from shared.flow_schema import FlowRecord, Message, Phase

blueprint = ManageBlueprint("flows", "Requests as the inspector's feed has them: redacted, and only the latest ones.")
_LINKS = {"get": ("get", "/manage/flows/{request_id}", {"request_id": "$response.body#/items/0/request_id"})}
_ZIP = {flow_exports.MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}


class _Instant(ma.fields.Float):
    """Seconds since the epoch, shown as a moment."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return None if value is None else moment(value).isoformat()


class _Id(ma.fields.UUID):
    """An id, which is empty of what is not known."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return str(value) or None


class FlowQuery(ma.Schema):
    """Which flows, and how many of them."""

    limit = WholeNumber(load_default=50, validate=ma.validate.Range(1, flows.LONGEST_LIST))
    project_id = ma.fields.UUID(load_default=None)
    request_id = Exact()
    since = Moment(load_default=None, data_key="from", metadata={"description": "That began then or later."})
    until = Moment(load_default=None, metadata={"description": "That began before."})


class MessageView(ma.Schema):
    """A head, and what may be shown of a body."""

    headers = ma.fields.List(ma.fields.List(ma.fields.String()), metadata={"description": "Names and values."})
    size = ma.fields.Integer(metadata={"description": "Bytes so far, as they were sent."})
    body = ma.fields.String(
        allow_none=True, metadata={"description": "Decoded and redacted; null if it is not shown, or is no text."}
    )
    body_base64 = ma.fields.String(allow_none=True, metadata={"description": "The same, if it is no text."})
    is_cut = ma.fields.Boolean(metadata={"description": "Whether the body goes on where this one ends."})
    note = ma.fields.String(metadata={"description": "Why it is not shown."})


class FlowSummary(ma.Schema):
    """A request, without heads and bodies. Times in milliseconds."""

    request_id = ma.fields.String()
    phase = ma.fields.String(metadata={"enum": list(Phase)})
    worker = ma.fields.String()
    started_at = _Instant(metadata={"schema": {"type": "string", "format": "date-time"}})
    project_id = _Id(allow_none=True)
    project_name = ma.fields.String()
    token_id = _Id(allow_none=True)
    token_label = ma.fields.String()
    provider = ma.fields.String()
    route = ma.fields.String()
    model = ma.fields.String(allow_none=True)
    method = ma.fields.String()
    url = ma.fields.String()
    status = ma.fields.Integer(metadata={"description": "0: no answer yet, or none at all."})
    is_stream = ma.fields.Boolean()
    chunks = ma.fields.Integer()
    first_byte_ms = ma.fields.Float(allow_none=True)
    duration_ms = ma.fields.Float(allow_none=True)
    outcome = ma.fields.String()
    error_code = ma.fields.String(allow_none=True)
    prompt_tokens = ma.fields.Integer(allow_none=True)
    completion_tokens = ma.fields.Integer(allow_none=True)
    is_estimate = ma.fields.Boolean()
    cost = Usd(attribute="cost_nano_usd", allow_none=True)
    attempts = ma.fields.Integer()
    tags = ma.fields.List(ma.fields.String(), metadata={"description": "Of rules."})
    rule = ma.fields.String(metadata={"description": "The name of the one that decided, empty if none did."})
    held_until = _Instant(allow_none=True, metadata={"schema": {"type": ["string", "null"], "format": "date-time"}})
    has_bodies = ma.fields.Boolean(metadata={"description": "Whether its bodies are recorded."})


class FlowView(FlowSummary):
    """A request as it is recorded."""

    http_version = ma.fields.String()
    client = ma.fields.String(metadata={"description": "The address that it came from."})
    request = ma.fields.Nested(MessageView)
    response = ma.fields.Nested(MessageView, allow_none=True)


class FlowList(ma.Schema):
    """Recorded flows, those first that were told of last."""

    items = ma.fields.List(ma.fields.Nested(FlowSummary))
    is_whole = ma.fields.Boolean(metadata={"description": "False: there are more that fit."})


class ExportShape(ma.Schema):
    """Which flows; what is left out or null does not matter."""

    request_ids = ma.fields.List(
        RequestId(),
        allow_none=True,
        load_default=None,
        metadata={"schema": {"minItems": 1, "maxItems": flows.LONGEST_LIST}},
        validate=ma.validate.Length(1, flows.LONGEST_LIST),
    )
    project_id = ma.fields.UUID(allow_none=True, load_default=None)
    since = Moment(allow_none=True, load_default=None, metadata={"description": "That began then or later."})
    until = Moment(allow_none=True, load_default=None, metadata={"description": "That began before."})


@blueprint.route("/flows")
class Flows(MethodView):
    """Recorded flows."""

    @blueprint.says(links=_LINKS)
    @blueprint.arguments(FlowQuery, location="query")
    @blueprint.response(200, FlowList)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """List flows that are recorded, those first that were told of last."""
        ids = None if query["request_id"] is None else frozenset([query["request_id"]])
        within = scope().narrowed(query["project_id"])
        wanted = Wanted(within, ids, query["since"], query["until"])
        found = flows.find(services().redis, wanted, query["limit"], bodies=False)
        return {"items": found.records, "is_whole": found.is_whole}


@blueprint.route("/flows/<request_id>")
class OneFlow(MethodView):
    """One of them."""

    @blueprint.response(200, FlowView)
    def get(self, request_id: str) -> dict[str, Any]:
        """Show a flow with its heads and bodies, as far as they are recorded. That bodies were read is audited."""
        return shown(actions.read(request_id))


@blueprint.route("/flows/export")
class Export(MethodView):
    """Flows as a file."""

    @blueprint.needs(Role.AUDITOR)
    @blueprint.arguments(ExportShape, example={"since": "2026-03-01T00:00:00Z"})
    @blueprint.doc(responses={200: {"description": "A zip: HAR, mitmproxy's flows, manifest.", "content": _ZIP}})
    def post(self, body: dict[str, Any]) -> Response:
        """Export flows: a zip with a HAR, a flow file of mitmproxy, and a manifest with the checksums of both."""
        made = actions.export(body)
        headers = {"content-disposition": "attachment; filename=flows.zip", "content-length": str(made.size)}
        headers["repr-digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(made.sha256)).decode()}:"
        return Response(made.pieces(), headers=headers, content_type=flow_exports.MEDIA_TYPE)


def shown(record: FlowRecord) -> dict[str, Any]:
    """Return what FlowView dumps of a record."""
    known = {name: getattr(record, name) for name in record.__struct_fields__}
    response = None if record.response is None else _message(record.response)
    return {**known, "request": _message(record.request), "response": response}


def text_of(message: Message) -> str | None:
    """Return a body as text, None if it is none or not shown; the last character may have been cut off."""
    if message.body is None:
        return None
    try:
        found = message.body.decode(errors="strict" if not message.is_cut else "replace")
    except UnicodeDecodeError:
        return None
    return found if texts.is_body(found) else None


def moment(seconds: float) -> datetime:
    """Return a moment in UTC of seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def _message(message: Message) -> dict[str, Any]:
    text = text_of(message)
    packed = None if text is not None or message.body is None else base64.b64encode(message.body).decode()
    kept = {name: getattr(message, name) for name in ("headers", "size", "is_cut", "note")}
    return {**kept, "body": text, "body_base64": packed}
