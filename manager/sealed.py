"""Every column that holds sealed values: which key ids they need, and whether those are here."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from manager import db
from manager.tables import AuditChain, Base, IdempotentAnswer, Project, UpstreamKey
from shared.sealing import VERSION, Keyring
from shared.settings import Settings


class KeysMissing(Exception):
    """The database holds values that these ENCRYPTION_KEYS do not open; says which ids are missing."""


@dataclass(frozen=True)
class SealedColumn:
    """A column of sealed values; each is bound to the table and the primary key of its row."""

    table: sa.Table
    name: str

    @classmethod
    def of(cls, table: type[Base], name: str) -> "SealedColumn":
        """Return the column of a mapped table."""
        return cls(cast(sa.Table, table.__table__), name)

    @property
    def key(self) -> sa.Column[Any]:
        """The primary key of the row."""
        [key] = self.table.primary_key.columns
        return key

    @property
    def value(self) -> sa.Column[Any]:
        """The sealed value."""
        return self.table.columns[self.name]

    def place(self, key: object) -> str:
        """Return what the value in the row of this key is bound to."""
        return f"{self.table.name}:{key}"


UPSTREAM_KEYS = SealedColumn.of(UpstreamKey, "sealed")
IDEMPOTENT_ANSWERS = SealedColumn.of(IdempotentAnswer, "sealed")
COLUMNS = (UPSTREAM_KEYS, IDEMPOTENT_ANSWERS, SealedColumn.of(AuditChain, "sealed_key"))


def in_use(session: Session) -> dict[str, Counter[str]]:
    """Return for each key id how many values it seals, by table; '' is the id of what is no sealed value."""
    found: dict[str, Counter[str]] = {}
    for column in COLUMNS:
        key_id = _key_id(session, column)
        for name, count in session.execute(sa.select(key_id, sa.func.count()).group_by(key_id)):
            found.setdefault(name, Counter())[column.table.name] = count
    return found


def check(session: Session, keyring: Keyring) -> None:
    """Raise KeysMissing if the database holds values that the keyring does not open."""
    demand_ids({name: counts.total() for name, counts in in_use(session).items()}, keyring, "the database")


def demand_ids(counts: Mapping[str, int], keyring: Keyring, where: str) -> None:
    """Raise KeysMissing unless the keyring has all of these ids of keys, which seal so many values."""
    missing = {name: count for name, count in sorted(counts.items()) if name and name not in keyring.keys}
    if missing:
        told = ", ".join(f"{name!r} ({count} values)" for name, count in missing.items())
        raise KeysMissing(f"ENCRYPTION_KEYS lacks keys that {where} needs: {told}; add them behind the first key")


def demand(settings: Settings) -> None:
    """Raise KeysMissing if the database of the settings cannot be opened with their keys.

    One that is away, or not migrated, is not looked at: others tell of that, and nothing can be done with it yet.
    """
    engine = db.open_engine(settings)
    try:
        if db.is_current(engine):
            with db.reading(db.create_sessions(engine)) as session:
                check(session, settings.encryption_keys)
    except (SQLAlchemyError, TypeError, ValueError):
        return
    finally:
        engine.dispose()


def unpublished(session: Session) -> int:
    """Return how many projects Redis has not heard the latest of, re-wrapped keys among it."""
    lagging = sa.select(sa.func.count()).select_from(Project).where(Project.published_version < Project.version)
    return session.scalar(lagging) or 0


def _key_id(session: Session, column: SealedColumn) -> "sa.ColumnElement[str]":
    if session.get_bind().dialect.name == "postgresql":
        return sa.func.split_part(column.value, ".", 2)
    rest = sa.func.substr(column.value, len(VERSION) + 2)
    return sa.func.substr(rest, 1, sa.func.max(sa.func.instr(rest, ".") - 1, 0))
