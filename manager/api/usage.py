"""/manage/usage."""

from collections.abc import Sequence
from typing import Any

import marshmallow as ma
import webargs
from flask import Response, request
from flask.views import MethodView

from manager import db, tabular, usage
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Exact, Moment, WholeNumber
from manager.api.prices import Usd
from manager.current import scope, services

CSV = "text/csv"
blueprint = ManageBlueprint("usage", "What was used and what it cost, summed up from hours.")


class UsageQuery(ma.Schema):
    """Of what, and how it is summed up."""

    project_id = ma.fields.UUID(load_default=None)
    token_id = ma.fields.UUID(load_default=None)
    provider = Exact()
    model = Exact()
    route = Exact()
    status_class = WholeNumber(load_default=None, validate=ma.validate.OneOf([0, 1, 2, 3, 4, 5]))
    since = Moment(load_default=None, data_key="from", metadata={"description": "Hours that begin then or later."})
    until = Moment(load_default=None, metadata={"description": "Hours that begin before."})
    group_by = webargs.fields.DelimitedList(
        ma.fields.String(validate=ma.validate.OneOf(usage.GROUPS)),
        load_default=(),
        validate=ma.validate.Length(min=1),
        metadata={"description": "Names with commas between them; left out: one sum of everything."},
    )
    limit = WholeNumber(load_default=1000, validate=ma.validate.Range(1, 1000))
    format = ma.fields.String(
        load_default=None,
        validate=ma.validate.OneOf(["json", "csv"]),
        metadata={"description": "Instead of asking by `Accept`."},
    )


class UsageView(ma.Schema):
    """Sums of one group, which its keys name. Times in milliseconds, tokens as providers said them."""

    hour = ma.fields.AwareDateTime()
    day = ma.fields.AwareDateTime()
    month = ma.fields.AwareDateTime()
    project = ma.fields.UUID()
    token = ma.fields.UUID()
    route = ma.fields.String()
    model = ma.fields.String(metadata={"description": "Empty if it is not known."})
    status_class = ma.fields.Integer()
    provider = ma.fields.String()
    requests = ma.fields.Integer()
    prompt_tokens = ma.fields.Integer()
    completion_tokens = ma.fields.Integer()
    total_tokens = ma.fields.Integer()
    cached_tokens = ma.fields.Integer()
    cache_write_tokens = ma.fields.Integer()
    reasoning_tokens = ma.fields.Integer()
    audio_prompt_tokens = ma.fields.Integer()
    audio_completion_tokens = ma.fields.Integer()
    request_bytes = ma.fields.Integer()
    response_bytes = ma.fields.Integer()
    duration_ms = ma.fields.Float()
    cost = Usd(allow_none=True, metadata={"description": "US dollars of the requests whose cost is known; null: none."})
    unpriced_requests = ma.fields.Integer(metadata={"description": "Requests that used tokens at an unknown cost."})
    estimated_requests = ma.fields.Integer(metadata={"description": "Requests whose tokens were estimated here."})


class UsageSums(ma.Schema):
    """The groups, sorted by their keys."""

    items = ma.fields.List(ma.fields.Nested(UsageView))
    is_cut = ma.fields.Boolean(metadata={"description": "Whether there are more groups than were asked for."})


@blueprint.route("/usage")
class Usage(MethodView):
    """Usage."""

    @blueprint.says(csv=True)
    @blueprint.arguments(UsageQuery, location="query")
    @blueprint.response(200, UsageSums)
    def get(self, query: dict[str, Any]) -> usage.Sums | Response:
        """Sum up usage by time, project, token, route, model, provider or class of status; as JSON or CSV."""
        wanted = query.pop("format")
        with db.reading(services().sessions) as session:
            sums = usage.summed(session, scope=scope(), **query)
        return _as_csv(sums, query["group_by"]) if _is_csv_wanted(wanted) else sums


def _is_csv_wanted(wanted: str | None) -> bool:
    if wanted is not None:
        return wanted == "csv"
    return request.accept_mimetypes.best_match(["application/json", CSV]) == CSV


def _as_csv(sums: usage.Sums, group_by: Sequence[str]) -> Response:
    rows: list[dict[str, Any]] = UsageView(many=True).dump(sums.items)
    columns = [*dict.fromkeys(group_by), *(name for name in UsageView().fields if name not in usage.GROUPS)]
    headers = {"content-disposition": 'attachment; filename="usage.csv"', "x-is-cut": str(sums.is_cut).lower()}
    return Response(tabular.csv_text(columns, rows), 200, headers, content_type=f"{CSV}; charset=utf-8")
