"""The audit: what was done to whom, by whom. Each row is written in the transaction of what it tells of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager.tables import AuditEvent, new_id
from shared import logs
from shared.models import Outcome


class Action(StrEnum):
    """What can be done, as `thing.deed`."""

    PROJECT_CREATE = "project.create"
    PROJECT_UPDATE = "project.update"
    PROJECT_ACTIVATE = "project.activate"
    PROJECT_DEACTIVATE = "project.deactivate"
    PROJECT_DELETE = "project.delete"
    PROJECT_PURGE = "project.purge"
    KEY_CREATE = "key.create"
    KEY_UPDATE = "key.update"
    KEY_ROTATE = "key.rotate"
    KEY_TEST = "key.test"
    KEY_DELETE = "key.delete"
    TOKEN_CREATE = "token.create"  # noqa: S105 - an action, as those below
    TOKEN_UPDATE = "token.update"  # noqa: S105
    TOKEN_REFRESH = "token.refresh"  # noqa: S105
    TOKEN_REVOKE = "token.revoke"  # noqa: S105
    LIMITS_CHANGE = "limits.change"
    PRICE_PUT = "price.put"
    PRICE_DELETE = "price.delete"
    OPERATOR_CREATE = "operator.create"
    OPERATOR_UPDATE = "operator.update"
    OPERATOR_ROTATE = "operator.rotate"
    OPERATOR_REVOKE = "operator.revoke"
    LOGIN = "login"
    ACCESS = "access"
    SESSION_BEGIN = "session.begin"
    SESSION_END = "session.end"
    DEAD_LETTER_RETRY = "dead_letter.retry"
    DEAD_LETTER_DELETE = "dead_letter.delete"
    AUDIT_EXPORT = "audit.export"
    AUDIT_BEGIN = "audit.begin"
    AUDIT_RETENTION = "audit.retention"
    JOB_RUN = "job.run"
    KEYRING_ROTATE = "keyring.rotate"
    BACKUP_CREATE = "backup.create"
    BACKUP_RESTORE = "backup.restore"
    DATABASE_COPY = "database.copy"
    REQUEST_CUT = "request.cut"
    REQUEST_RESUME = "request.resume"
    REQUEST_EDIT = "request.edit"
    REQUEST_REFUSE = "request.refuse"
    RULE_CREATE = "rule.create"
    RULE_UPDATE = "rule.update"
    RULE_DELETE = "rule.delete"
    RULE_ORDER = "rule.order"
    FLOWS_READ = "flows.read"
    FLOWS_EXPORT = "flows.export"
    INSPECTOR_OPEN = "inspector.open"
    STREAM_CUT = "stream.cut"
    REQUESTS_REFUSED = "requests.refused"


@dataclass(frozen=True)
class Source:
    """Who does something, with which request if any, and from which network address if it is known.

    `actor_id` is the operator's; None for whoever is none.
    """

    actor: str
    request_id: str | None = None
    address: str | None = None
    actor_id: UUID | None = None


DATA_PLANE = "data-plane"
MANAGEMENT = "management"
JOBS = "jobs"
COMMAND = "command"
# Whoever it was did not get in.
NOBODY = "anonymous"
SUCCESS, FAILED, DENIED = "success", "failed", "denied"


def note(
    session: Session,
    now: datetime,
    source: Source,
    action: Action,
    *,
    project_id: UUID | None = None,
    token_id: UUID | None = None,
    subject_id: UUID | None = None,
    outcome: str = SUCCESS,
    detail: Mapping[str, Any] | None = None,
    event_id: UUID | None = None,
) -> None:
    """Write down something that succeeds if the session's transaction does. What looks like a secret is masked.

    `subject_id` is what was done to if it is neither a project nor a token; `event_id` is for who needs to know it.
    """
    event = _event(now, action, source, project_id, token_id, detail or {})
    event |= {"subject_id": subject_id, "outcome": outcome} | ({} if event_id is None else {"id": event_id})
    session.execute(sa.insert(AuditEvent), [event])


def note_each(
    session: Session,
    now: datetime,
    source: Source,
    action: Action,
    ids: Iterable[tuple[UUID | None, UUID | None]],
    *,
    subject_id: UUID | None = None,
    outcome: str = SUCCESS,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write down the same of many things at once, each named by the ids of its project and token; see `note`."""
    more = {"subject_id": subject_id, "outcome": outcome}
    events = [_event(now, action, source, *each, detail or {}) | more for each in ids]
    if events:
        session.execute(sa.insert(AuditEvent), events)


def note_cuts(session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write down which of these rows of `requests` were cut; they must be new."""
    cuts = [_cut(row) for row in rows if row["outcome"] == Outcome.CUT]
    if cuts:
        session.execute(sa.insert(AuditEvent), cuts)


def _cut(row: Mapping[str, Any]) -> dict[str, Any]:
    detail = {"code": row["error_code"], "route": row["route"], "model": row["model"]}
    source = Source(DATA_PLANE, row["request_id"])
    return _event(end_of(row), Action.STREAM_CUT, source, row["project_id"], row["token_id"], detail)


def end_of(row: Mapping[str, Any]) -> datetime:
    """Return when a request ended; when it arrived if its duration makes no sense."""
    arrived: datetime = row["occurred_at"]
    try:
        return arrived + timedelta(milliseconds=row["duration_ms"])
    except (OverflowError, ValueError):
        return arrived


def _event(
    moment: datetime,
    action: Action,
    source: Source,
    project_id: UUID | None,
    token_id: UUID | None,
    detail: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        "id": new_id(),
        "occurred_at": moment,
        "action": action.value,
        "actor": source.actor,
        "actor_id": source.actor_id,
        "outcome": SUCCESS,
        "project_id": project_id,
        "token_id": token_id,
        "request_id": None if source.request_id is None else _harmless(source.request_id),
        "address": source.address,
        "detail": _harmless(dict(detail)),
    }


def _harmless(value: Any) -> Any:
    """Mask secrets in all texts of a value, however deep; lone surrogates, which no database takes, are replaced."""
    if isinstance(value, str):
        return logs.redact(value.encode("utf-8", "replace").decode())
    if isinstance(value, Mapping):
        return {_harmless(name): _harmless(each) for name, each in value.items()}
    return [_harmless(each) for each in value] if isinstance(value, list | tuple) else value
