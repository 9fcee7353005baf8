"""Ships usage and audit rows as JSON lines: to an HTTP collector, or to files in a folder.

Each kind has a cursor in SQL that moves on after a batch has arrived, so every row arrives at least once. Where a batch
ends is written down before it is sent, so one that is sent again has the same rows and the same key, by which a
collector can tell.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

import requests
import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import db, local_http
from manager.db import Sessions
from manager.tables import AuditEvent, ExportCursor, Request
from shared import logs

BATCH = 500
# Of each kind, so many batches are shipped in one run; the rest waits for the next one.
MOST_BATCHES = 200
SECONDS = (5.0, 30.0)
# A row is shipped when no transaction can still bring one that was recorded before it.
SETTLED = timedelta(seconds=30)

log = logs.get("export")


class ExportError(OSError):
    """A batch could not be delivered; it will be sent again."""


class Sink(Protocol):
    """Where batches go."""

    def deliver(self, kind: str, key: str, lines: bytes) -> None:
        """Deliver JSON lines; raises ExportError if they may not have arrived."""


@dataclass(frozen=True)
class HttpSink:
    """POSTs to a URL, with one more header if it is given as `Name: value`. Follows no redirect."""

    url: str
    header: str = ""

    def deliver(self, kind: str, key: str, lines: bytes) -> None:
        """Send one request; any answer but 2xx means that nothing has arrived."""
        name, _, value = self.header.partition(":")
        headers = {"content-type": "application/x-ndjson", "idempotency-key": key, "x-llm-proxy-export": kind}
        headers |= {name.strip(): value.strip()} if name else {}
        try:
            with local_http.session() as session:
                answer = session.post(self.url, lines, headers=headers, timeout=SECONDS, allow_redirects=False)
        except requests.RequestException as error:
            raise ExportError(f"the collector could not be reached: {type(error).__name__}") from None
        if not 200 <= answer.status_code < 300:
            raise ExportError(f"the collector answered {answer.status_code}")


@dataclass(frozen=True)
class FolderSink:
    """Appends to one file for each kind and day (of UTC), readable by their owner only."""

    folder: Path

    def deliver(self, kind: str, key: str, lines: bytes) -> None:
        """Append, and wait until the disk has it."""
        path = self.folder / f"{kind}-{datetime.now(UTC):%Y-%m-%d}.jsonl"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _append(descriptor, lines)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ExportError(f"the file could not be written: {error.strerror}") from None


def _append(descriptor: int, lines: bytes) -> None:
    """Append all of it or nothing, in lines of its own. Raises OSError."""
    length = os.fstat(descriptor).st_size
    # Whoever was killed while it wrote has left a part of a line. The row itself is sent again.
    is_torn = length > 0 and os.pread(descriptor, 1, length - 1) != b"\n"
    rest = memoryview(b"\n" + lines if is_torn else lines)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, length)
        raise


@dataclass(frozen=True)
class Shipped:
    """How far the export has come: up to which request (empty: none), and up to which position of the audit."""

    requests: str = ""
    audit: int = 0

    def is_behind(self) -> sa.ColumnElement[bool]:
        """Return the condition for requests that are still to be shipped; those of earlier releases never are."""
        is_known = Request.recorded_at.is_not(None)
        place = sa.tuple_(Request.recorded_at, Request.request_id)
        return sa.and_(is_known, place > _place(self.requests)) if self.requests else is_known


def shipped(session: Session) -> Shipped:
    """Return how far the export has come."""
    cursors = {cursor.name: cursor.value for cursor in session.scalars(sa.select(ExportCursor))}
    return Shipped(cursors.get("requests", ""), int(cursors.get("audit") or 0))


def sink_of(url: str, header: str = "") -> Sink:
    """Return the sink that a URL names: `http:`, `https:` or `file:`."""
    parts = urlsplit(url)
    return FolderSink(Path(unquote(parts.path))) if parts.scheme == "file" else HttpSink(url, header)


class Export:
    """Ships what has come since the last time. Raises ExportError and SQLAlchemyError."""

    def __init__(self, sessions: Sessions, sink: Sink, batch: int = BATCH) -> None:
        self._sessions = sessions
        self._sink = sink
        self._batch = batch

    def ship(self, now: datetime) -> dict[str, int]:
        """Ship requests and events of the audit; return how many of each."""
        return {"requests": self._ship("requests", now), "audit": self._ship("audit", now)}

    def _ship(self, kind: str, now: datetime) -> int:
        shipped = 0
        for _ in range(MOST_BATCHES):
            count = self._ship_batch(kind, now)
            shipped += count
            if not count:
                break
        return shipped

    def _ship_batch(self, kind: str, now: datetime) -> int:
        """Ship one batch, the one that may have been on its way before others; return how many rows it had."""
        with db.reading(self._sessions) as session:
            start, end = self._where(session, kind, now)
            rows, last = _READERS[kind](session, start, end, now, self._batch)
        if not end and not rows:
            return 0
        if not end:
            # Written down before it leaves: if the answer is lost, the very same rows have to go again.
            end = last
            self._move(kind, start, end, now)
        if rows:
            lines = b"".join(json.dumps(row, default=_plain, ensure_ascii=False).encode() + b"\n" for row in rows)
            self._sink.deliver(kind, hashlib.sha256(f"{kind}|{start}|{end}".encode()).hexdigest()[:32], lines)
        self._move(kind, end, "", now)
        return len(rows)

    def _where(self, session: Session, kind: str, now: datetime) -> tuple[str, str]:
        """Return where the next batch begins, and where it ends if it has been sent before."""
        cursor = session.get(ExportCursor, kind)
        if cursor is None:
            return "", ""
        if kind == "requests" and cursor.value and _moment(cursor.value) > now:
            # A clock was ahead when these rows were recorded. What has been recorded since then cannot be told from
            # what was before, and rather arrives twice than never.
            log.warning("export_begins_anew", kind=kind, cursor=cursor.value)
            return "", ""
        return cursor.value, cursor.batch_end

    def _move(self, kind: str, value: str, batch_end: str, now: datetime) -> None:
        def move(session: Session) -> None:
            moved = {"value": value, "batch_end": batch_end, "updated_at": now}
            statement = db.insert(session, ExportCursor).values(name=kind, **moved)
            session.execute(statement.on_conflict_do_update(index_elements=["name"], set_=moved))

        db.transact(self._sessions, move, is_repeatable=True)


type Rows = Sequence[Mapping[str, Any]]


def _requests(session: Session, start: str, end: str, now: datetime, limit: int) -> tuple[Rows, str]:
    """Return the rows behind `start`, up to `end` if it is told, and where the last one of them is."""
    place = sa.tuple_(Request.recorded_at, Request.request_id)
    query = sa.select(Request.__table__).order_by(Request.recorded_at, Request.request_id)
    if start:
        query = query.where(place > _place(start))
    query = query.where(place <= _place(end)) if end else query.where(Request.recorded_at < now - SETTLED).limit(limit)
    rows = [dict(row) for row in session.execute(query).mappings()]
    return rows, f"{rows[-1]['recorded_at'].isoformat()}|{rows[-1]['request_id']}" if rows else ""


def _place(cursor: str) -> "sa.Tuple":
    _, _, request_id = cursor.partition("|")
    return sa.tuple_(sa.literal(_moment(cursor), Request.recorded_at.type), sa.literal(request_id))


def _moment(cursor: str) -> datetime:
    return datetime.fromisoformat(cursor.partition("|")[0])


def _events(session: Session, start: str, end: str, _: datetime, limit: int) -> tuple[Rows, str]:
    query = sa.select(AuditEvent.__table__).where(AuditEvent.position > int(start or 0)).order_by(AuditEvent.position)
    query = query.where(AuditEvent.position <= int(end)) if end else query.limit(limit)
    rows = [dict(row) for row in session.execute(query).mappings()]
    return rows, str(rows[-1]["position"]) if rows else ""


_READERS = {"requests": _requests, "audit": _events}


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in an export")
