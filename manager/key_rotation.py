"""Re-wrapping: everything sealed with other keys of the ring is sealed with its first one, while others write.

A value is replaced only if it is still the one that was opened. What is done is seen in the values themselves, so a run
that was killed is gone on with by the next one.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import audit, db
from manager.db import Sessions
from manager.sealed import COLUMNS, UPSTREAM_KEYS, SealedColumn
from manager.tables import Project, UpstreamKey
from shared.sealing import VERSION, Keyring, SealingError

BATCH = 200
_MOST_PASSES = 10


@dataclass
class Rotation:
    """What a rotation did: how many values of each table it re-wrapped, and where there is one that does not open."""

    rewrapped: Counter[str] = field(default_factory=Counter)
    unopened: dict[str, str] = field(default_factory=dict)


def rotate(sessions: Sessions, keyring: Keyring, now: datetime, batch: int = BATCH) -> Rotation:
    """Seal with the first key whatever another one has sealed, a batch in each transaction; the audit is told."""
    rotation = Rotation()
    for column in COLUMNS:
        for _ in range(_MOST_PASSES):
            if not _pass(sessions, keyring, column, rotation, batch):
                break
    detail = {"primary": keyring.primary, "rewrapped": dict(rotation.rewrapped), "unopened": len(rotation.unopened)}
    outcome = "failure" if rotation.unopened else audit.SUCCESS
    source = audit.Source(audit.COMMAND)

    def tell(session: Session) -> None:
        audit.note(session, now, source, audit.Action.KEYRING_ROTATE, outcome=outcome, detail=detail)

    if rotation.rewrapped or rotation.unopened:
        db.transact(sessions, tell)
    return rotation


def _pass(sessions: Sessions, keyring: Keyring, column: SealedColumn, rotation: Rotation, batch: int) -> int:
    """Go through a column once; return how many values were changed."""
    changed, rest = 0, _others(keyring, column)
    with db.reading(sessions) as session:
        end = session.scalar(rest.with_only_columns(column.key).order_by(column.key.desc()).limit(1))
    if end is None:
        return 0
    # What others add meanwhile is for the next pass: one that ran after them might never end.
    rest = rest.where(column.key <= end).order_by(column.key).limit(batch)
    while rows := _read(sessions, rest):
        rest = rest.where(column.key > rows[-1][0])
        new = _rewrapped(keyring, column, rows, rotation)
        count = db.transact(sessions, partial(_replace, column=column, new=new))
        rotation.rewrapped.update({column.table.name: count} if count else {})
        changed += count
    return changed


def _others(keyring: Keyring, column: SealedColumn) -> "sa.Select[tuple[Any, str]]":
    """Ask for the rows whose value is sealed with another key than the first."""
    own = f"{VERSION}.{keyring.primary}."
    return sa.select(column.key, column.value).where(sa.func.substr(column.value, 1, len(own)) != own)


def _read(sessions: Sessions, query: "sa.Select[tuple[Any, str]]") -> Sequence[tuple[Any, str]]:
    with db.reading(sessions) as session:
        return [(key, value) for key, value in session.execute(query)]


def _rewrapped(
    keyring: Keyring, column: SealedColumn, rows: Sequence[tuple[Any, str]], rotation: Rotation
) -> dict[Any, tuple[str, str]]:
    """Return the old and the new value by key; notes what does not open."""
    new = {}
    for key, value in rows:
        place = column.place(key)
        try:
            new[key] = (value, keyring.seal(keyring.open(value, place), place))
        except SealingError as error:
            rotation.unopened[place] = str(error)
    return new


def _replace(session: Session, column: SealedColumn, new: Mapping[Any, tuple[str, str]]) -> int:
    """Replace values that are still the old ones; return how many were."""
    is_published = column is UPSTREAM_KEYS
    projects = _lock_projects(session, new) if is_published else {}
    done = [key for key, (old, value) in new.items() if _set(session, column, key, old, value)]
    touched = {projects[key] for key in done if key in projects}
    if touched:
        version = {"version": Project.version + 1}
        session.execute(sa.update(Project).where(Project.id.in_(touched)).values(version))
    return len(done)


def _lock_projects(session: Session, new: Mapping[Any, object]) -> dict[Any, Any]:
    """Lock the projects of these keys, as whoever changes a key does; return each key's project."""
    owners = sa.select(UpstreamKey.id, UpstreamKey.project_id).where(UpstreamKey.id.in_(new))
    found = {key: project for key, project in session.execute(owners)}
    locked = sa.select(Project.id).where(Project.id.in_(set(found.values())))
    session.execute(locked.order_by(Project.id).with_for_update()).all()
    return found


def _set(session: Session, column: SealedColumn, key: object, old: str, new: str) -> bool:
    unchanged = sa.update(column.table).where(column.key == key, column.value == old)
    return cast("sa.CursorResult[Any]", session.execute(unchanged.values({column.name: new}))).rowcount == 1
