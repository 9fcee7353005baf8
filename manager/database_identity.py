"""The id of our database, made up once: by it Redis knows whose it is. It goes with the rows, also through a backup."""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import db
from manager.db import Sessions
from manager.tables import DatabaseIdentity, new_id

_NAME = "database"


def known(session: Session) -> str | None:
    """Return the id, None if there is none yet."""
    found = session.scalar(sa.select(DatabaseIdentity.id).where(DatabaseIdentity.name == _NAME))
    return None if found is None else str(found)


def of(sessions: Sessions) -> str:
    """Return the id; it is made if there is none yet, by whoever comes first."""
    with db.reading(sessions) as session:
        if (there := known(session)) is not None:
            return there
    return db.transact(sessions, _make, is_repeatable=True)


def _make(session: Session) -> str:
    first = db.insert(session, DatabaseIdentity).values(name=_NAME, id=new_id())
    session.execute(first.on_conflict_do_nothing())
    return str(session.scalars(sa.select(DatabaseIdentity.id).where(DatabaseIdentity.name == _NAME)).one())
