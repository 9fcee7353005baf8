"""Overrides of prices: put, and taken back."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from manager import audit, prices
from manager.current import demand, demand_everything, note, now, services
from manager.principals import Role
from manager.tables import Price


def put(body: Mapping[str, Any]) -> Price:
    """Add an override, or replace the one of the same key, see prices.put. Raises Forbidden, Invalid, PublishError."""
    _demand()

    def work(session: Session) -> Price:
        before = prices.override(session, services().rules, **body)
        was = before and prices.facts(before)
        price = prices.put(session, services().rules, now(), **body)
        detail = {**prices.facts(price), **({"before": was} if was else {})}
        note(session, audit.Action.PRICE_PUT, subject_id=price.id, detail=detail)
        return price

    price = services().transact(work)
    services().publisher.publish_prices()
    return price


def delete(price_id: UUID) -> None:
    """Take an override back. Raises Forbidden, Conflict, NotFound, PublishError."""
    _demand()

    def work(session: Session) -> None:
        price = prices.delete(session, now(), price_id)
        note(session, audit.Action.PRICE_DELETE, subject_id=price_id, detail=prices.facts(price))

    services().transact(work)
    services().publisher.publish_prices()


def _demand() -> None:
    demand(Role.ADMIN)
    demand_everything()
