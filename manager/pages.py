"""Pages of long lists: by id, newest first, so that nothing is skipped or shown twice while rows come and go."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from manager.errors import Invalid

LARGEST = 200


@dataclass(frozen=True)
class Page[Row]:
    """Some rows and where the next ones begin; None after the last."""

    items: Sequence[Row]
    next_cursor: str | None


def page[Row, Key](
    session: Session, query: sa.Select[Row], key: "InstrumentedAttribute[Key]", limit: int, cursor: str | None
) -> Page[Row]:
    """Return up to `limit` rows after the cursor, in descending order of a unique, sortable key.

    Raises Invalid for a cursor that did not come from here.
    """
    if cursor:
        query = query.where(key < _decode(cursor, key))
    rows = session.scalars(query.order_by(key.desc()).limit(limit + 1)).all()
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(shown, _encode(key, getattr(shown[-1], key.key)) if more else None)


def _encode(key: "InstrumentedAttribute[Any]", value: object) -> str:
    # The key's name keeps the cursor of one list from opening another at a random place.
    return base64.urlsafe_b64encode(f"{key}:{value}".encode()).decode().rstrip("=")


def _decode[Key](cursor: str, key: "InstrumentedAttribute[Key]") -> Key:
    foreign = Invalid("cursor", "The cursor is not one that this list gave out.")
    try:
        _, _, text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")
        value: Key = key.type.python_type(text)
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise foreign from error
    # PostgreSQL takes no text with a NUL in it.
    if _encode(key, value) != cursor or not text.isprintable():
        raise foreign
    return value
