"""/manage/prices."""

from datetime import date, datetime
from typing import Any, ClassVar
from uuid import UUID

import marshmallow as ma
from flask.views import MethodView

from manager import db, money, prices
from manager.actions import prices as actions
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Exact, Moment, PageQuery, Plain, Whole, Yes
from manager.current import services
from manager.pages import Page
from manager.principals import Role
from manager.tables import Price
from shared.models import MOST

blueprint = ManageBlueprint("prices", "What models cost: the price list, and overrides of it.")
_ID = {"price_id": "$response.body#/id"}
_EXAMPLE = {"provider": "openai", "model": "gpt-5*", "prompt": "1.25", "cached": "0.125", "completion": "10.00"}
DOLLARS = r"^(0|[1-9][0-9]{0,5}|[1-8][0-9]{6})(\.[0-9]{1,9})?$"
_PER_MILLION = "US dollars for a million tokens, as a text."


class Usd(ma.fields.String):
    """Nano-USD, shown as US dollars; taken as the text that it is."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else money.usd(value)


def _check_has_zones(moment: datetime) -> None:
    # What is stored is read in the time zone of the database's server, where it has to be a moment, too.
    if moment.date() in (date.min, date.max):
        raise ma.ValidationError("Must not be the first or the last day of the calendar; null is no end.")


def _rate(description: str) -> Usd:
    return Usd(allow_none=True, metadata={"description": f"{description} {_PER_MILLION}", "pattern": DOLLARS})


class PriceShape(ma.Schema):
    """A price. A part without a rate costs as the whole; without a rate of the whole, its cost is not known."""

    provider = ma.fields.String(required=True)
    model = Plain(required=True, metadata={"description": "A glob of `*` and `?`, in any case.", "maxLength": 256})
    prompt = _rate("Tokens of the prompt.")
    cached = _rate("Those of them that were read from the provider's cache.")
    cache_write = _rate("Those of them that were written to it.")
    audio_prompt = _rate("Those of them that are audio.")
    completion = _rate("Tokens of the completion.")
    reasoning = _rate("Those of them that were spent on reasoning.")
    audio_completion = _rate("Those of them that are audio.")
    request = Usd(
        allow_none=True, metadata={"description": "US dollars for each request, as a text.", "pattern": DOLLARS}
    )
    above = Whole(
        load_default=0,
        metadata={
            "minimum": 0,
            "maximum": MOST,
            "description": "Holds for prompts with more tokens than this; 0: of any size.",
        },
    )
    valid_from = Moment(
        allow_none=True, load_default=None, validate=_check_has_zones, metadata={"description": "Null: ever since."}
    )
    valid_until = Moment(
        allow_none=True,
        load_default=None,
        validate=_check_has_zones,
        metadata={"description": "Null: until further notice."},
    )
    facts: ClassVar[dict[str, Any]] = {
        "anyOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in prices.RATES]
    }


class PriceView(PriceShape):
    """A price as it may be shown."""

    facts: ClassVar[dict[str, Any]] = {}

    id = ma.fields.UUID()
    source = ma.fields.String(metadata={"description": "What it is from; empty for an override."})
    updated_at = ma.fields.AwareDateTime()


class PricePage(ma.Schema):
    """A page of prices."""

    items = ma.fields.List(ma.fields.Nested(PriceView))
    next_cursor = ma.fields.String(allow_none=True)


class PriceQuery(PageQuery):
    """Which page, of which prices. `model` is the glob itself."""

    provider = Exact()
    model = Exact()
    is_override = Yes(load_default=None)


@blueprint.route("/prices")
class Prices(MethodView):
    """All prices."""

    @blueprint.arguments(PriceQuery, location="query")
    @blueprint.response(200, PricePage)
    def get(self, query: dict[str, Any]) -> Page[Price]:
        """List prices, newest first."""
        with db.reading(services().sessions) as session:
            return prices.list_page(session, **query)

    @blueprint.needs(Role.ADMIN, everything=True)
    @blueprint.says(conflicts=True, links={"delete": ("delete", "/manage/prices/{price_id}", _ID)})
    @blueprint.arguments(PriceShape, example=_EXAMPLE)
    @blueprint.response(200, PriceView)
    def put(self, body: dict[str, Any]) -> Price:
        """Add an override, or replace the one of the same provider, model, `above` and `valid_from`."""
        return actions.put(body)


@blueprint.route("/prices/<uuid:price_id>")
class OnePrice(MethodView):
    """One price."""

    @blueprint.response(200, PriceView)
    def get(self, price_id: UUID) -> Price:
        """Show a price."""
        with db.reading(services().sessions) as session:
            return prices.get(session, price_id)

    @blueprint.needs(Role.ADMIN, everything=True)
    @blueprint.says(conflicts=True)
    @blueprint.response(204)
    def delete(self, price_id: UUID) -> None:
        """Take an override back."""
        actions.delete(price_id)
