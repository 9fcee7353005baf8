"""Exporting the audit: JSON lines or CSV, oldest event first, in pieces, so that nobody holds all of it in memory."""

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from itertools import chain
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from manager import db, tabular
from manager.audit_search import conditions
from manager.tables import AuditEvent

BATCH = 500
COLUMNS = (
    "position",
    "id",
    "occurred_at",
    "action",
    "actor",
    "actor_id",
    "outcome",
    "project_id",
    "token_id",
    "subject_id",
    "request_id",
    "address",
    "detail",
    "mac",
)


class Shape(StrEnum):
    """How events are written."""

    JSONL = "jsonl"
    CSV = "csv"


MEDIA_TYPES = {Shape.JSONL: "application/x-ndjson", Shape.CSV: "text/csv; charset=utf-8"}


def pieces(sessions: db.Sessions, shape: Shape, **wanted: Any) -> Iterator[str]:
    """Return the events that fit, in pieces of text; `wanted` is as in audit_search.conditions, whose faults it raises.

    Events that come meanwhile are left out.
    """
    with db.reading(sessions) as session:
        last = session.scalar(sa.select(AuditEvent.id).order_by(AuditEvent.id.desc()).limit(1))
    query = sa.select(AuditEvent).where(*conditions(**wanted), AuditEvent.id <= (last or UUID(int=0)))
    head = [_csv_line(COLUMNS)] if shape is Shape.CSV else []
    return chain(head, map(_WRITERS[shape], _batches(sessions, query)))


def _batches(sessions: db.Sessions, query: "sa.Select[Any]") -> Iterator[list[AuditEvent]]:
    # Each in a transaction of its own: whoever reads slowly holds none open.
    behind: list[Any] = []
    while True:
        with db.reading(sessions) as session:
            batch = list(session.scalars(query.where(*behind).order_by(AuditEvent.id).limit(BATCH)))
        if batch:
            yield batch
        if len(batch) < BATCH:
            return
        behind = [AuditEvent.id > batch[-1].id]


def _as_json(batch: list[AuditEvent]) -> str:
    return "".join(f"{json.dumps(_told(event), ensure_ascii=False)}\n" for event in batch)


def _as_csv(batch: list[AuditEvent]) -> str:
    rows = (_told(event) | {"detail": json.dumps(event.detail, ensure_ascii=False)} for event in batch)
    return "".join(_csv_line(tuple(row.values())) for row in rows)


_WRITERS: dict[Shape, Callable[[list[AuditEvent]], str]] = {Shape.JSONL: _as_json, Shape.CSV: _as_csv}


def _told(event: AuditEvent) -> dict[str, Any]:
    return {name: _plain(getattr(event, name)) for name in COLUMNS}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _csv_line(cells: tuple[Any, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow([tabular.harmless(cell) for cell in cells])
    return buffer.getvalue()
