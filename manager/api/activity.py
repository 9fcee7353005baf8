"""/manage/activity."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager import db
from manager.activity import Range
from manager.activity_chart import chart
from manager.api.blueprint import ManageBlueprint
from manager.api.prices import Usd
from manager.current import now, scope, services

blueprint = ManageBlueprint("activity", "What goes on: requests, errors, durations, tokens and cost up to now.")


class ActivityQuery(ma.Schema):
    """Of what, and since when."""

    range = ma.fields.String(
        load_default=Range.DAY,
        validate=ma.validate.OneOf(list(Range)),
        metadata={"description": "An hour by minutes, a day or a week by hours, a month of 30 days by days."},
    )
    project_id = ma.fields.UUID(load_default=None)


class PercentilesView(ma.Schema):
    """Milliseconds, a few percent more or less."""

    p50 = ma.fields.Float()
    p95 = ma.fields.Float()
    p99 = ma.fields.Float()


class TokensView(ma.Schema):
    """Tokens, as providers said them."""

    prompt = ma.fields.Integer()
    completion = ma.fields.Integer()


class ActivityView(ma.Schema):
    """What went on within a time."""

    requests = ma.fields.Integer()
    outcomes = ma.fields.Dict(
        ma.fields.String(),
        ma.fields.Integer(),
        metadata={"description": "Requests by how they ended; those of which there were none are left out."},
    )
    tokens = ma.fields.Nested(TokensView)
    cost = Usd(allow_none=True, metadata={"description": "US dollars, as far as it is known; null: of nothing known."})
    duration = ma.fields.Nested(PercentilesView, allow_none=True, metadata={"description": "Null: no requests."})
    first_byte = ma.fields.Nested(PercentilesView, allow_none=True, metadata={"description": "Null: no first byte."})


class MomentView(ActivityView):
    """What went on within a minute, an hour or a day that began at a moment."""

    moment = ma.fields.AwareDateTime()


class ActivitySeries(ma.Schema):
    """Each moment in its order, also those at which nothing went on, and all of them together."""

    range = ma.fields.String()
    unit = ma.fields.String(metadata={"description": "What each moment is the beginning of."})
    since = ma.fields.AwareDateTime()
    until = ma.fields.AwareDateTime(metadata={"description": "The end of the last one, which is not over yet."})
    items = ma.fields.List(ma.fields.Nested(MomentView))
    totals = ma.fields.Nested(ActivityView)


@blueprint.route("/activity")
class Activity(MethodView):
    """What goes on."""

    @blueprint.arguments(ActivityQuery, location="query")
    @blueprint.response(200, ActivitySeries)
    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """Show what went on up to now, in one project or in all: what charts are drawn of."""
        with db.reading(services().sessions) as session:
            return chart(session, Range(query["range"]), now(), scope(), query["project_id"])
