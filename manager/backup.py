"""Makes backups while everything runs: all tables as they were at one moment, in a file that appears once whole."""

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import audit, db, portable, schema, sealed
from manager.audit_chain import Chain
from manager.audit_links import ChainBroken
from manager.backup_file import BackupError, ChainHead, Manifest, Part, Writer, pepper_mark
from manager.tables import AuditChain
from shared import logs
from shared.sealing import Keyring

_NAME = re.compile(r"llm-proxy-(\d{8}T\d{6}\.\d{6}Z)\.backup\Z")
_MOMENT = "%Y%m%dT%H%M%S.%fZ"
_UNFINISHED = "*.backup.unfinished"
_CHAIN = "audit"
_ABANDONED = timedelta(days=1)
log = logs.get("backup")


@dataclass(frozen=True)
class Backup:
    """A backup that was made."""

    path: Path
    manifest: Manifest

    @property
    def rows(self) -> int:
        """Return how many rows are in it."""
        return sum(part.rows for part in self.manifest.parts)


@dataclass(frozen=True)
class Secrets:
    """What a backup needs of the settings: the keys that seal, and the pepper by which tokens are known."""

    keyring: Keyring
    pepper: bytes


def create(engine: sa.Engine, known: Secrets, folder: Path, now: datetime, *, is_encrypted: bool) -> Backup:
    """Make a backup in a folder, and note it in the audit. Raises BackupError, SQLAlchemyError, OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    sessions = db.create_sessions(engine)
    with portable.snapshot(engine) as connection:
        _checked_schema(connection)
    _chain(sessions, known.keyring)
    path = folder / f"llm-proxy-{now.astimezone(UTC).strftime(_MOMENT)}.backup"
    with _appearing(path) as file:
        manifest = _write(engine, known, file, now, is_encrypted)
    made = Backup(path, manifest)
    detail = {"file": path.name, "rows": made.rows, "bytes": path.stat().st_size, "encrypted": is_encrypted}

    def note(session: Session) -> None:
        audit.note(session, now, audit.Source(audit.COMMAND), audit.Action.BACKUP_CREATE, detail=detail)

    db.transact(sessions, note)
    return made


def _checked_schema(connection: sa.Connection) -> str:
    found = schema.status(connection)
    if found.revision is None or not found.is_current:
        raise BackupError("the database has another schema; run `llm-proxy db upgrade` first")
    return found.revision


def _chain(sessions: db.Sessions, keyring: Keyring) -> None:
    # What is not chained yet could be changed in the backup without a trace.
    try:
        Chain(sessions, keyring).extend()
    except ChainBroken as error:
        log.error("audit_chain_broken", reason=str(error))  # It is kept as it is, for whoever looks into it.


def existing(folder: Path) -> list[tuple[datetime, Path]]:
    """Return the backups in a folder and when each was made, the newest first."""
    found = [(path, _NAME.match(path.name)) for path in folder.glob("*.backup")]
    made = [(datetime.strptime(name[1], _MOMENT).replace(tzinfo=UTC), path) for path, name in found if name]
    return sorted(made, reverse=True)


def prune(folder: Path, keep: int, now: datetime) -> list[Path]:
    """Delete all backups but the newest ones, and what killed ones have left behind; return which backups.

    What a wrong clock dated ahead of now is neither counted nor deleted.
    """
    old = [path for made_at, path in existing(folder) if made_at <= now][keep:]
    for path in old:
        path.unlink(missing_ok=True)
    for left in folder.glob(_UNFINISHED):
        if datetime.fromtimestamp(left.stat().st_mtime, UTC) < now - _ABANDONED:
            left.unlink(missing_ok=True)
    return old


def _write(engine: sa.Engine, known: Secrets, file: BinaryIO, now: datetime, is_encrypted: bool) -> Manifest:
    writer = Writer(file, known.keyring, is_encrypted)
    try:
        with portable.snapshot(engine) as connection:
            manifest = _manifest(connection, known, now, lambda table: _part(writer, connection, table))
        writer.finish(manifest)
    except BaseException:
        writer.abandon()
        raise
    return manifest


def _part(writer: Writer, connection: sa.Connection, table: sa.Table) -> Part:
    columns = [str(column.name) for column in table.columns]
    return writer.add(str(table.name), columns, portable.read(connection, table))


def _manifest(connection: sa.Connection, known: Secrets, now: datetime, write: Callable[[sa.Table], Part]) -> Manifest:
    revision = _checked_schema(connection)
    with Session(connection) as session:
        counts = {name: count.total() for name, count in sealed.in_use(session).items()}
        head = sa.select(AuditChain.position, AuditChain.mac).where(AuditChain.name == _CHAIN)
        chain = session.execute(head).one_or_none()
    return Manifest(
        product=version("llm-proxy"),
        schema=revision,
        created_at=now,
        database=connection.dialect.name,
        key_ids=counts,
        pepper=pepper_mark(known.pepper),
        audit_chain=ChainHead(*chain) if chain else None,
        parts=[write(table) for table in portable.tables()],
    )


@contextmanager
def _appearing(path: Path) -> Iterator[BinaryIO]:
    """A new file for its owner alone, that has its name only when it is whole and on disk."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.backup.unfinished")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        unfinished.rename(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
