"""The database: whether it answers, its schema, its clock, and whether our keys open what is in it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from manager import db, schema, sealed
from manager.doctor.finding import Finding, fault, warning, well
from shared.settings import Settings

MOST_SKEW_SECONDS = 2.0
_SUBJECT = "database"


def look(settings: Settings) -> Iterator[Finding]:
    """Ask it, without making anything: a SQLite file that is not there yet stays so."""
    if not is_there(settings):
        yield well(_SUBJECT, "will be made by the first start")
        return
    engine = db.open_engine(settings)
    try:
        with engine.connect() as connection:
            yield _schema(connection)
            if connection.dialect.name == "postgresql":
                yield skew(_SUBJECT, connection.scalar(sa.select(sa.func.clock_timestamp())))
        if db.is_current(engine):
            yield _keys(settings, engine)
    except SQLAlchemyError as error:
        yield fault(_SUBJECT, db.reason(error), "mend DATABASE_URL, or start the server")
    except schema.UnknownRevision:
        yield fault(_SUBJECT, "its schema is of a later release", "run that release, or restore a backup of this one")
    finally:
        engine.dispose()


def skew(subject: str, theirs: datetime | None) -> Finding:
    """Compare a server's clock with ours."""
    seconds = abs((datetime.now(UTC) - theirs).total_seconds()) if theirs else 0.0
    if seconds > MOST_SKEW_SECONDS:
        return warning(subject, f"its clock differs from ours by {seconds:.1f} s", "run a time service on both")
    return well(subject, "its clock agrees with ours")


def is_there(settings: Settings) -> bool:
    """Tell whether there is anything to ask: to ask for a SQLite file makes it."""
    url = sa.make_url(settings.database_url)
    return url.get_backend_name() != "sqlite" or (url.database is not None and Path(url.database).exists())


def _schema(connection: sa.Connection) -> Finding:
    found = schema.status(connection)
    if found.is_current:
        return well(_SUBJECT, f"answers; its schema is current ({found.revision})")
    told = f"its schema is {len(found.pending)} revisions behind"
    return fault(_SUBJECT, told, "run `llm-proxy db upgrade`; `llm-proxy up` does so by itself")


def _keys(settings: Settings, engine: sa.Engine) -> Finding:
    try:
        with db.reading(db.create_sessions(engine)) as session:
            sealed.check(session, settings.encryption_keys)
    except sealed.KeysMissing as error:
        return fault("ENCRYPTION_KEYS", str(error), "without them, provider keys in there are lost")
    return well("ENCRYPTION_KEYS", "open everything that is sealed")
