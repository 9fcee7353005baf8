"""What is published once for everybody: the limits of everything, and which versions of prices and rules there are.

Plain functions over a session; the caller commits.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import db, limits
from manager.tables import Publication
from shared.models import Limit, Scope


class Name(StrEnum):
    """What there is."""

    LIMITS = "limits"
    PRICES = "prices"
    RULES = "rules"


def version(session: Session, name: Name) -> int:
    """Return the version of a publication, 0 if it has never changed."""
    return session.scalar(sa.select(Publication.version).where(Publication.name == name)) or 0


def touch(session: Session, name: Name, now: datetime, **values: Any) -> None:
    """Count a change of a publication. Until the transaction ends, nobody else can change it."""
    statement = db.insert(session, Publication)
    first = {"name": name, "version": 1, "published_version": 0, "updated_at": now, **values}
    change = {"version": Publication.version + 1, "updated_at": now, **values}
    session.execute(statement.values(first).on_conflict_do_update(index_elements=["name"], set_=change))


def note_published(session: Session, name: Name, version: int) -> None:
    """Note that a version has been published; a newer one may have been noted meanwhile."""
    older = sa.update(Publication).where(Publication.name == name, Publication.published_version < version)
    session.execute(older.values(published_version=version))


def global_limits(session: Session) -> tuple[Limit, ...]:
    """Return the limits of everything together."""
    return session.scalar(sa.select(Publication.value).where(Publication.name == Name.LIMITS)) or ()


def set_global_limits(session: Session, now: datetime, wanted: Sequence[Mapping[str, Any]]) -> tuple[Limit, ...]:
    """Replace the limits of everything together; see manager/limits.py. Raises Invalid."""
    checked = limits.check(wanted, Scope.GLOBAL)
    touch(session, Name.LIMITS, now, value=checked)
    return checked
