"""Pages of long lists, in a stable order, so that nothing is skipped or shown twice while rows come and go.

A cursor names the list, its order, and the place of the last row shown: its sort value and its id.
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute, Session

from manager.errors import Invalid
from manager.tables import UtcDateTime

LARGEST = 200
_CHECK_LENGTH = 8
# Numbers are of 64 bits, or of fewer.
MOST_OF_DATABASES = 2**63 - 1
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


@dataclass(frozen=True)
class Page[Row]:
    """Some rows and where the next ones begin; None after the last."""

    items: Sequence[Row]
    next_cursor: str | None


@dataclass(frozen=True)
class Order:
    """How a list is sorted: by a column (None: by the id alone), then by the id, both in one direction.

    Rows without a value come before all others, on every database.
    """

    name: str
    column: "InstrumentedAttribute[Any] | None"
    is_descending: bool


def page[Row, Key](
    session: Session, query: sa.Select[Row], key: "InstrumentedAttribute[Key]", limit: int, cursor: str | None
) -> Page[Row]:
    """Return up to `limit` rows after the cursor, in descending order of a unique, sortable key.

    Raises Invalid for a cursor that did not come from here.
    """
    return sorted_page(session, query, key, Order(key.key, None, True), limit, cursor)


def order(sort: str, columns: "Mapping[str, InstrumentedAttribute[Any] | None]") -> Order:
    """Return the order that a name of `columns` asks for, descending with `-` before it. Raises Invalid."""
    name = sort.removeprefix("-")
    if name not in columns:
        raise Invalid("sort", f"Must be one of {', '.join(columns)}, with - before it for the reverse.")
    return Order(name, columns[name], sort != name)


def sorted_page[Row](
    session: Session,
    query: sa.Select[Row],
    key: "InstrumentedAttribute[Any]",
    wanted: Order,
    limit: int,
    cursor: str | None,
) -> Page[Row]:
    """Return up to `limit` rows after the cursor in the wanted order. Raises Invalid for a cursor from elsewhere."""
    first = _sortable(session, wanted.column)
    if cursor:
        query = query.where(_after(key, first, wanted, _decode(cursor, key, wanted)))
    rows = session.scalars(query.order_by(*_ordering(key, first, wanted)).limit(limit + 1)).all()
    shown = rows[:limit]
    more = len(rows) > limit
    return Page(shown, _encode(key, wanted, _place(shown[-1], key, wanted)) if more else None)


def _ordering(
    key: "InstrumentedAttribute[Any]", first: "sa.ColumnElement[Any] | None", wanted: Order
) -> list["sa.ColumnElement[Any]"]:
    last = key.desc() if wanted.is_descending else key.asc()
    if first is None:
        return [last]
    ordered = first.desc() if wanted.is_descending else first.asc()
    if wanted.column is not None and wanted.column.nullable:
        # Said aloud, since the databases disagree about where nothing belongs. (PostgreSQL's indexes would not fit.)
        ordered = ordered.nulls_last() if wanted.is_descending else ordered.nulls_first()
    return [ordered, last]


def _after(
    key: "InstrumentedAttribute[Any]", first: "sa.ColumnElement[Any] | None", wanted: Order, place: Sequence[Any]
) -> "sa.ColumnElement[bool]":
    later: sa.ColumnElement[bool] = key < place[-1] if wanted.is_descending else key > place[-1]
    if first is None or wanted.column is None:
        return later
    value, column = place[0], wanted.column
    if value is None:
        same = sa.and_(column.is_(None), later)
        return same if wanted.is_descending else sa.or_(same, column.is_not(None))
    beyond = first < value if wanted.is_descending else first > value
    found = sa.or_(beyond, sa.and_(column == value, later))
    return sa.or_(found, column.is_(None)) if wanted.is_descending else found


def _sortable(session: Session, column: "InstrumentedAttribute[Any] | None") -> "sa.ColumnElement[Any] | None":
    if column is None or not isinstance(column.type, sa.String):
        return None if column is None else sa.type_coerce(column, column.type)
    # By code points, whatever language a database was made for.
    return sa.collate(column, "BINARY" if session.get_bind().dialect.name == "sqlite" else "C")


def _place(row: Any, key: "InstrumentedAttribute[Any]", wanted: Order) -> list[Any]:
    columns = [key] if wanted.column is None else [wanted.column, key]
    return [getattr(row, column.key) for column in columns]


def _encode(key: "InstrumentedAttribute[Any]", wanted: Order, place: Sequence[Any]) -> str:
    # The name of list and order keeps a cursor from opening another one at a random place.
    text = f"{key}:{'-' * wanted.is_descending}{wanted.name}:{msgspec.json.encode(place).decode()}"
    return base64.urlsafe_b64encode(f"{_check(text)}{text}".encode()).decode().rstrip("=")


def _decode(cursor: str, key: "InstrumentedAttribute[Any]", wanted: Order) -> list[Any]:
    foreign = Invalid("cursor", "The cursor is not one that this list gave out in this order.")
    columns = [key] if wanted.column is None else [wanted.column, key]
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()[_CHECK_LENGTH:]
        values = msgspec.json.decode(text.partition(":")[2].partition(":")[2], type=list[Any])
        place = [_value(value, column) for value, column in zip(values, columns, strict=True)]
    except (binascii.Error, UnicodeError, ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
        raise foreign from error
    # PostgreSQL takes no text with a NUL in it.
    if _encode(key, wanted, place) != cursor or any(isinstance(part, str) and "\0" in part for part in place):
        raise foreign
    return place


def _value(value: Any, column: "InstrumentedAttribute[Any]") -> Any:
    if value is None and column.nullable:
        return None
    if isinstance(column.type, UtcDateTime):
        moment: datetime = msgspec.convert(value, _Moment)
        return moment.astimezone(UTC)
    found = msgspec.convert(value, column.type.python_type)
    if isinstance(found, int) and abs(found) > MOST_OF_DATABASES:
        raise OverflowError("no database has such a number")
    return found


def _check(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_CHECK_LENGTH]
