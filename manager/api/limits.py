"""/manage/limits, and the shape of limits wherever they are."""

from collections.abc import Mapping
from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager import db, limits, publications
from manager.actions import limits as actions
from manager.api import conditions
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Whole
from manager.current import services
from manager.principals import Role
from shared.models import MOST, WINDOWS, Measure, OnOutage, Scope, Window

blueprint = ManageBlueprint("limits", "Limits of everything together.")
MOST_LIMITS = 20


class Amount(ma.fields.Field[Any]):
    """A whole number, or a text in US dollars."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int | str:
        value = int(value) if isinstance(value, float) and value.is_integer() else value
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
    burst = Whole(
        allow_none=True,
        load_default=None,
        metadata={"description": "How many requests may come at once; null: as many as the amount."},
    )
    on_outage = ma.fields.String(
        load_default=OnOutage.CLOSED.value,
        validate=ma.validate.OneOf(list(OnOutage)),
        metadata={"description": "What holds while Redis cannot count."},
    )


TOKEN_LIMITS = Scope.TOKEN
# More than nothing.
DOLLARS = r"^([1-9][0-9]{0,5}(\.[0-9]{1,9})?|0\.[0-9]{0,8}[1-9])$"


def limits_field(scope: Scope = Scope.PROJECT, *, metadata: Mapping[str, Any] | None = None, **more: Any) -> Any:
    """Return a field of limits as they are sent."""
    said = {"schema": {"items": {"oneOf": shapes(scope)}}, **(metadata or {})}
    field = ma.fields.Nested(LimitShape)
    return ma.fields.List(field, validate=ma.validate.Length(max=MOST_LIMITS), metadata=said, **more)


def shapes(scope: Scope) -> list[dict[str, Any]]:
    """Return which measures, windows, amounts and bursts go together, as JSON schemas."""
    found = []
    for measure in Measure:
        windows = {window for window in WINDOWS[measure]}
        if scope is Scope.TOKEN and measure is Measure.REQUESTS:
            windows.discard(Window.LIFE)
        paced = sorted(windows - {Window.LIFE}) if measure is Measure.REQUESTS else []
        plain = sorted(windows - set(paced))
        found += [_shape(measure, paced, {"type": ["integer", "null"], "minimum": 1, "maximum": MOST})] if paced else []
        found += [_shape(measure, plain, {"type": "null"})] if plain else []
    return found


def _shape(measure: Measure, windows: list[Window], burst: dict[str, Any]) -> dict[str, Any]:
    amount: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MOST}
    if measure is Measure.COST:
        amount = {
            "type": "string",
            "pattern": DOLLARS,
            "example": "12.50",
        }
    required = ["measure", "amount"] if measure is Measure.CONCURRENT else ["measure", "amount", "window"]
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": {
            "measure": {"type": "string", "enum": [measure.value]},
            "window": {"type": "string", "enum": [window.value for window in windows]},
            "amount": amount,
            "burst": burst,
            "on_outage": {"type": "string", "enum": list(OnOutage)},
        },
    }


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


@blueprint.route("/limits")
class Limits(MethodView):
    """Limits of everything together."""

    @blueprint.needs(Role.AUDITOR, everything=True)
    @blueprint.says(tagged=True)
    @blueprint.response(200, GlobalLimitsView)
    def get(self) -> dict[str, Any]:
        """Show the limits of everything together."""
        with db.reading(services().sessions) as session:
            return _tagged(publications.global_limits(session))

    @blueprint.needs(Role.ADMIN, everything=True)
    @blueprint.says(tagged=True)
    @blueprint.arguments(GlobalLimits, example={"limits": [{"measure": "cost", "window": "day", "amount": "50.00"}]})
    @blueprint.response(200, GlobalLimitsView)
    def put(self, body: dict[str, Any]) -> dict[str, Any]:
        """Replace the limits of everything together."""
        return _tagged(actions.replace(body["limits"], conditions.expected()))


def _tagged(counted: Any) -> dict[str, Any]:
    conditions.show(actions.state(counted))
    return {"limits": counted}
