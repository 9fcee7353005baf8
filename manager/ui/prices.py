"""Prices: those of the list, and the overrides that win over them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager import db, money, prices
from manager.actions import prices as actions
from manager.api.prices import PriceQuery, PriceShape
from manager.current import services
from manager.errors import Conflict, NotFound
from manager.principals import Role
from manager.tables import Price
from manager.ui.blueprint import blueprint, needs, of_everything
from manager.ui.forms import Choice, Field, Form, Kind, handled
from manager.ui.lists import listed
from manager.ui.shown import NOTHING
from manager.ui.told import told

_DOLLARS: Mapping[str, str | None] = {"inputmode": "decimal", "autocomplete": "off", "placeholder": "0.00"}
_SECONDS: Mapping[str, str | None] = {"step": "1"}
_KEPT = ("provider", "model", "above")


@blueprint.app_template_filter("rate")
def rate(nano_usd: int | None) -> str:
    """Return a price in US dollars as it is, to the last decimal.

    >>> rate(1_250_000_000), rate(75_000_000), rate(1), rate(0), rate(None)
    ('$1.25', '$0.075', '$0.000000001', '$0.00', '–')
    """
    return NOTHING if nano_usd is None else f"${money.usd(nano_usd)}"


@blueprint.get("/prices", endpoint="prices")
def all_prices() -> ResponseReturnValue:
    """Show prices, those first that were added last."""
    sources = [Choice("true", "Overrides"), Choice("false", "Of the list")]
    filters = (
        _provider(),
        Field("model", "Model, as it stands here"),
        Field("is_override", "From", kind=Kind.SELECT, choices=sources),
    )
    return listed(PriceQuery(), filters, "prices/list.html", _find)


@blueprint.route("/prices/new", methods=["GET", "POST"])
@needs(Role.ADMIN)
@of_everything
def put_price() -> ResponseReturnValue:
    """Ask for an override, and add it, or replace the one of the same key."""
    form = Form(PriceShape(), _fields(), values=_values())

    def put(body: dict[str, Any]) -> ResponseReturnValue:
        told(f"The price of {body['model']} is kept. It holds for requests from now on.", lambda: actions.put(body))
        return redirect(url_for("ui.prices", is_override="true"), 303)

    return handled(form, "prices/edit.html", put)


@blueprint.route("/prices/<uuid:price_id>/delete", methods=["GET", "POST"])
@needs(Role.ADMIN)
@of_everything
def delete_price(price_id: UUID) -> ResponseReturnValue:
    """Ask whether an override is to be taken back, and do so."""
    price = _one(price_id)
    if price.source != prices.BY_HAND:
        raise Conflict(f"This price is from {price.source}; add an override of it instead.")
    if request.method == "GET":
        return render_template("prices/delete.html", price=price)
    told(f"The override of {price.model} is taken back.", lambda: actions.delete(price_id))
    return redirect(url_for("ui.prices", is_override="true"), 303)


def _find(query: Mapping[str, Any]) -> dict[str, Any]:
    with db.reading(services().sessions) as session:
        return {"page": prices.list_page(session, **query)}


def _one(price_id: UUID) -> Price:
    with db.reading(services().sessions) as session:
        return prices.get(session, price_id)


def _provider() -> Field:
    names = sorted(services().rules.table.providers)
    return Field("provider", "Provider", kind=Kind.SELECT, choices=[Choice(name, name) for name in names])


def _fields() -> Sequence[Field]:
    rates = {
        "prompt": ("Prompt", "Of a million tokens."),
        "cached": ("Read from the cache", "Of a million of those. Empty: as the prompt."),
        "cache_write": ("Written to the cache", "Of a million of those. Empty: as the prompt."),
        "audio_prompt": ("Audio of the prompt", "Of a million of those. Empty: as the prompt."),
        "completion": ("Completion", "Of a million tokens."),
        "reasoning": ("Reasoning", "Of a million of those. Empty: as the completion."),
        "audio_completion": ("Audio of the completion", "Of a million of those. Empty: as the completion."),
        "request": ("Each request", "Beside the tokens."),
    }
    return (
        _provider(),
        Field("model", "Model", "* stands for any characters and ? for one; capitals do not matter. As in gpt-5*."),
        *(Field(name, label, help, attributes=_DOLLARS) for name, (label, help) in rates.items()),
        Field("above", "For prompts above", "With more tokens than this. 0: of any size.", Kind.NUMBER),
        Field("valid_from", "From (UTC)", "Empty: ever since.", Kind.DATETIME, attributes=_SECONDS),
        Field("valid_until", "Until (UTC)", "Empty: until further notice.", Kind.DATETIME, attributes=_SECONDS),
    )


def _values() -> dict[str, Any]:
    """Return what the form begins with: nothing, or the price that is to be replaced."""
    try:
        price = _one(UUID(request.args["like"])) if "like" in request.args else None
    except (NotFound, ValueError):
        price = None
    if price is None:
        return {"above": 0}
    amounts = {name: getattr(price, name) for name in prices.RATES}
    values: dict[str, Any] = {name: None if each is None else money.usd(each) for name, each in amounts.items()}
    ends = {name: getattr(price, name) for name in ("valid_from", "valid_until")}
    values |= {name: moment and moment.strftime("%Y-%m-%dT%H:%M:%S") for name, moment in ends.items()}
    return values | {name: getattr(price, name) for name in _KEPT}
