"""/manage/requests."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager import db, recent_requests
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Exact, Moment, PageQuery, WholeNumber, Yes, sort_field
from manager.api.prices import Usd
from manager.current import scope, services
from manager.pages import Page
from manager.tables import Request
from shared.models import Outcome

blueprint = ManageBlueprint("requests", "Recent requests, as the data plane saw them end.")


_LINKS = {"get": ("get", "/manage/requests/{request_id}", {"request_id": "$response.body#/items/0/request_id"})}


class RequestQuery(PageQuery):
    """Which page, of which requests."""

    sort = sort_field(recent_requests.SORTS, "-occurred_at")
    token_id = ma.fields.UUID(load_default=None)
    project_id = ma.fields.UUID(load_default=None)
    upstream_key_id = ma.fields.UUID(load_default=None)
    provider = Exact()
    model = Exact()
    route = Exact()
    error_code = Exact()
    request_id = Exact()
    provider_request_id = Exact()
    outcome = ma.fields.String(load_default=None, validate=ma.validate.OneOf(list(Outcome)))
    status = WholeNumber(load_default=None, validate=ma.validate.Range(0, 999))
    status_class = WholeNumber(
        load_default=None,
        validate=ma.validate.OneOf([0, 1, 2, 3, 4, 5]),
        metadata={"description": "2 for 200 to 299, and so on; 0: without a status."},
    )
    is_stream = Yes(load_default=None)
    since = Moment(load_default=None, data_key="from", metadata={"description": "Then or later."})
    until = Moment(load_default=None, metadata={"description": "Before."})
    min_duration_ms = WholeNumber(load_default=None, validate=ma.validate.Range(0, 10**9))


class RequestView(ma.Schema):
    """One request. Times in milliseconds; provider tokens are null where the provider did not say."""

    request_id = ma.fields.String()
    occurred_at = ma.fields.AwareDateTime()
    project_id = ma.fields.UUID()
    token_id = ma.fields.UUID()
    upstream_key_id = ma.fields.UUID(allow_none=True)
    provider = ma.fields.String()
    route = ma.fields.String()
    method = ma.fields.String()
    model = ma.fields.String(allow_none=True)
    status = ma.fields.Integer()
    outcome = ma.fields.String()
    error_code = ma.fields.String(allow_none=True)
    is_stream = ma.fields.Boolean()
    chunks = ma.fields.Integer()
    request_bytes = ma.fields.Integer()
    response_bytes = ma.fields.Integer()
    duration_ms = ma.fields.Float()
    first_byte_ms = ma.fields.Float(allow_none=True)
    prompt_tokens = ma.fields.Integer(allow_none=True)
    completion_tokens = ma.fields.Integer(allow_none=True)
    total_tokens = ma.fields.Integer(allow_none=True)
    attempts = ma.fields.Integer(metadata={"description": "Tries at the provider."})
    cached_tokens = ma.fields.Integer(allow_none=True)
    cache_write_tokens = ma.fields.Integer(allow_none=True)
    reasoning_tokens = ma.fields.Integer(allow_none=True)
    audio_prompt_tokens = ma.fields.Integer(allow_none=True)
    audio_completion_tokens = ma.fields.Integer(allow_none=True)
    is_estimate = ma.fields.Boolean(metadata={"description": "Whether tokens were estimated here."})
    model_asked = ma.fields.String(allow_none=True)
    finish_reason = ma.fields.String(allow_none=True)
    provider_request_id = ma.fields.String(allow_none=True)
    provider_ms = ma.fields.Float(allow_none=True)
    tokens_per_second = ma.fields.Float(
        allow_none=True, metadata={"description": "Of a streamed completion, since the first byte."}
    )
    cost = Usd(
        attribute="cost_nano_usd",
        allow_none=True,
        metadata={"description": "US dollars, by the prices when it arrived; null if that is not known."},
    )


class RequestPage(ma.Schema):
    """A page of requests."""

    items = ma.fields.List(ma.fields.Nested(RequestView))
    next_cursor = ma.fields.String(allow_none=True)


@blueprint.route("/requests")
class Requests(MethodView):
    """Recent requests."""

    @blueprint.says(links=_LINKS)
    @blueprint.arguments(RequestQuery, location="query")
    @blueprint.response(200, RequestPage)
    def get(self, query: dict[str, Any]) -> Page[Request]:
        """List recent requests, newest first."""
        with db.reading(services().sessions) as session:
            return recent_requests.list_page(session, scope=scope(), **query)


@blueprint.route("/requests/<request_id>")
class OneRequest(MethodView):
    """One of them."""

    @blueprint.response(200, RequestView)
    def get(self, request_id: str) -> Request:
        """Show a request."""
        with db.reading(services().sessions) as session:
            return recent_requests.get(session, request_id, scope=scope())
