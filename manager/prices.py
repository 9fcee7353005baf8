"""Prices in SQL: those of the price list, and the overrides of operators, which win.

Plain functions over a session; the caller commits. Amounts of money are texts in US dollars outside: rates per million
tokens, `request` for each request.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import money, publications, texts
from manager.errors import Conflict, Invalid, NotFound
from manager.pages import Page, page
from manager.publications import Name
from manager.rules import Rules
from manager.tables import Price, new_id
from shared import prices
from shared.models import MOST
from shared.prices import PriceTable

RATES = ("prompt", "cached", "cache_write", "completion", "reasoning", "audio_prompt", "audio_completion", "request")
MODEL_LENGTH = 256
# The source of an override.
BY_HAND = ""
_FIELDS = tuple(name for name in prices.Price.__struct_fields__ if name != "is_override")


def put(session: Session, rules: Rules, now: datetime, **wanted: Any) -> Price:
    """Add an override, or replace the one of the same provider, model, beginning and size of prompt.

    Takes provider, model, above, valid_from, valid_until and the rates. Raises Invalid.
    """
    key = _key(rules, wanted)
    rates = _rates(wanted)
    valid_until = wanted.get("valid_until")
    if valid_until is not None and key["valid_from"] is not None and valid_until <= key["valid_from"]:
        raise Invalid("valid_until", "Must be later than valid_from.")
    # Counted first: it keeps others out, so that none can add the same price.
    publications.touch(session, Name.PRICES, now)
    price = _override(session, key)
    if price is None:
        price = Price(id=new_id(), source=BY_HAND, **key)
        session.add(price)
    for name, value in {**rates, "valid_until": valid_until, "updated_at": now}.items():
        setattr(price, name, value)
    session.flush()
    return price


def get(session: Session, price_id: UUID) -> Price:
    """Return a price. Raises NotFound."""
    price = session.get(Price, price_id)
    if price is None:
        raise NotFound("There is no such price.")
    return price


def override(session: Session, rules: Rules, **wanted: Any) -> Price | None:
    """Return the override that `put` would replace. Raises Invalid."""
    return _override(session, _key(rules, wanted))


def delete(session: Session, now: datetime, price_id: UUID) -> Price:
    """Take an override back. Raises NotFound; Conflict for a price of the list, which would only come back."""
    publications.touch(session, Name.PRICES, now)
    price = get(session, price_id)
    if price.source != BY_HAND:
        raise Conflict(f"The price is from {price.source}; put an override of it instead.")
    session.delete(price)
    return price


def list_page(session: Session, limit: int, cursor: str | None, **wanted: Any) -> Page[Price]:
    """Return a page of prices, newest first; with the given provider, model and is_override unless None."""
    query = sa.select(Price)
    for name in ("provider", "model"):
        if wanted.get(name) is not None:
            query = query.where(getattr(Price, name) == wanted[name])
    if (is_override := wanted.get("is_override")) is not None:
        query = query.where((Price.source == BY_HAND) if is_override else (Price.source != BY_HAND))
    return page(session, query, Price.id, limit, cursor)


def replace_list(session: Session, now: datetime, source: str, listed: Sequence[prices.Price]) -> bool:
    """Make these the prices of the list; tell whether that changed anything."""
    rows = session.scalars(sa.select(Price).where(Price.source != BY_HAND)).all()
    if {(row.source, _value(row)) for row in rows} == {(source, price) for price in listed}:
        return False
    publications.touch(session, Name.PRICES, now)
    session.execute(sa.delete(Price).where(Price.source != BY_HAND).execution_options(synchronize_session=False))
    fields = [{name: getattr(price, name) for name in _FIELDS} for price in listed]
    if fields:
        session.execute(
            sa.insert(Price), [{**entry, "id": new_id(), "source": source, "updated_at": now} for entry in fields]
        )
    return True


def facts(price: Price) -> dict[str, Any]:
    """Return what the audit may tell of a price: all that is set, money as texts in US dollars."""
    rates = {name: None if (rate := getattr(price, name)) is None else money.usd(rate) for name in RATES}
    ends = {name: moment and moment.isoformat() for name, moment in _ends(price).items()}
    told = {"provider": price.provider, "model": price.model, **rates, "above": price.above, **ends}
    return {name: value for name, value in told.items() if value is not None}


def _ends(price: Price) -> dict[str, datetime | None]:
    return {"valid_from": price.valid_from, "valid_until": price.valid_until}


def count(session: Session) -> int:
    """Return how many prices there are."""
    return session.scalar(sa.select(sa.func.count()).select_from(Price)) or 0


def table(session: Session) -> PriceTable:
    """Return all prices as they are reckoned with."""
    return PriceTable(tuple(_value(row) for row in session.scalars(sa.select(Price).order_by(Price.id))))


class PriceBook:
    """The prices, read again only when they have changed."""

    def __init__(self) -> None:
        self._version = 0
        self._table = PriceTable()

    def current(self, session: Session) -> PriceTable:
        """Return all prices as they are in a session."""
        version = publications.version(session, Name.PRICES)
        if version != self._version:
            self._table, self._version = table(session), version
        return self._table


def _value(row: Price) -> prices.Price:
    fields = {name: getattr(row, name) for name in _FIELDS}
    return msgspec.convert(fields | {"is_override": row.source == BY_HAND}, prices.Price)


def _override(session: Session, key: Mapping[str, Any]) -> Price | None:
    query = sa.select(Price).where(Price.source == BY_HAND)
    for name, value in key.items():
        column = getattr(Price, name)
        query = query.where(column.is_(None) if value is None else column == value)
    return session.scalars(query).one_or_none()


def _key(rules: Rules, wanted: Mapping[str, Any]) -> dict[str, Any]:
    provider, model, above = wanted["provider"], wanted["model"], wanted.get("above", 0)
    if provider not in rules.table.providers:
        raise Invalid("provider", f"Unknown provider; known are {', '.join(sorted(rules.table.providers))}.")
    if not 0 <= above <= MOST:
        raise Invalid("above", f"Must be a number of tokens from 0 to {MOST}.")
    key = {"provider": provider, "model": texts.check_plain(model, "model", MODEL_LENGTH), "above": above}
    return key | {"valid_from": wanted.get("valid_from")}


def _rates(wanted: Mapping[str, Any]) -> dict[str, int | None]:
    rates = {name: None if wanted.get(name) is None else _amount(name, wanted[name]) for name in RATES}
    if all(rate is None for rate in rates.values()):
        raise Invalid("prompt", f"At least one rate is needed: {', '.join(RATES)}.")
    return rates


def _amount(name: str, text: str) -> int:
    try:
        return money.nano_usd(text)
    except ValueError as error:
        raise Invalid(name, f"Must be US dollars as {error}.") from error
