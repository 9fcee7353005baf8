"""/manage/limits, and the shape of limits wherever they are."""

from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager import audit, db, limits, publications
from manager.api.blueprint import ManageBlueprint
from manager.api.services import now, services, source
from shared.models import Measure, OnOutage, Window

blueprint = ManageBlueprint("limits", "Limits of everything together.")
MOST_LIMITS = 20


class Amount(ma.fields.Field[Any]):
    """A whole number, or a text in US dollars."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int | str:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ma.ValidationError('An amount is a whole number, or for cost a text in US dollars like "12.50".')
        return value


class LimitShape(ma.Schema):
    """At most an amount of a measure within a window; see docs/api.md for which go together."""

    measure = ma.fields.String(required=True, validate=ma.validate.OneOf(list(Measure)))
    window = ma.fields.String(
        validate=ma.validate.OneOf(list(Window)),
        metadata={"description": "May be left out for concurrent requests only, where it is `life`."},
    )
    amount = Amount(
        required=True,
        metadata={
            "description": 'A whole number from 1 on; for cost US dollars as a text like "12.50".',
            "oneOf": [{"type": "integer"}, {"type": "string"}],
        },
    )
    burst = ma.fields.Integer(
        strict=True,
        allow_none=True,
        load_default=None,
        metadata={"description": "How many requests may come at once; null: as many as the amount."},
    )
    on_outage = ma.fields.String(
        load_default=OnOutage.CLOSED.value,
        validate=ma.validate.OneOf(list(OnOutage)),
        metadata={"description": "What holds while Redis cannot count."},
    )


def limits_field(**more: Any) -> "ma.fields.List[Any]":
    """Return a field of limits as they are sent."""
    return ma.fields.List(ma.fields.Nested(LimitShape), validate=ma.validate.Length(max=MOST_LIMITS), **more)


def shown_limits(attribute: str) -> ma.fields.Field[Any]:
    """Return a field that shows the limits of a row."""
    return _Shown(ma.fields.Nested(LimitShape), attribute=attribute)


class _Shown(ma.fields.List[Any]):
    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        return limits.shown(value)


class GlobalLimits(ma.Schema):
    """The limits of everything together; they are replaced as a whole."""

    limits = limits_field(required=True)


class GlobalLimitsView(ma.Schema):
    """The limits of everything together, as they may be shown."""

    limits = shown_limits("limits")


def changed(before: Any, after: Any) -> Mapping[str, Any] | None:
    """Return what the audit says of a change of limits; None if there is none."""
    return None if before == after else {"before": limits.shown(before), "after": limits.shown(after)}


@blueprint.route("/limits")
class Limits(MethodView):
    """Limits of everything together."""

    @blueprint.response(200, GlobalLimitsView)
    def get(self) -> dict[str, Any]:
        """Show the limits of everything together."""
        with db.reading(services().sessions) as session:
            return {"limits": publications.global_limits(session)}

    @blueprint.arguments(GlobalLimits)
    @blueprint.response(200, GlobalLimitsView)
    def put(self, body: dict[str, Any]) -> dict[str, Any]:
        """Replace the limits of everything together."""
        with services().sessions.begin() as session:
            before = publications.global_limits(session)
            after = publications.set_global_limits(session, now(), body["limits"])
            if detail := changed(before, after):
                audit.note(session, now(), source(), audit.Action.LIMITS_CHANGE, detail=detail)
        services().publisher.publish_limits()
        return {"limits": after}
