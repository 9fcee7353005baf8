"""Recorded flows: read one by one, and taken away as evidence; and whoever opens mitmweb is told of."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from manager import audit, flow_exports, flows, live
from manager.audit import Action
from manager.current import demand, demand_everything, note, now, principal, scope, services, source
from manager.flow_exports import Export
from manager.live import One
from manager.principals import Principal, Role
from manager.tables import new_id
from shared.flow_schema import FlowRecord


def read(request_id: str) -> FlowRecord:
    """Return what is recorded of a request; if bodies are, that they were read is told. Raises NotFound, RedisError."""
    demand(Role.AUDITOR)
    record = flows.get(services().redis, request_id, scope())
    _note_read(record)
    return record


def read_live(request_id: str) -> One:
    """Return a request in flight; if one is held, that its body was read is told. Raises NotFound, RedisError."""
    demand(Role.AUDITOR)
    found = live.one(services().redis, request_id, scope())
    if found.record is not None:
        _note_read(found.record)
    return found


def export(wanted: Mapping[str, Any]) -> Export:
    """Return the flows that fit as a file, and tell that they were taken. Raises NotFound, Unavailable, RedisError.

    They can be wanted by request_ids, project_id, since and until, unless None.
    """
    demand(Role.AUDITOR)
    if wanted.get("project_id") is not None:
        scope().check(wanted["project_id"])
    event_id, asked = new_id(), flow_exports.asked_for(wanted)
    which = flow_exports.wanted_of(wanted, scope())
    made = services().flow_export.of(services().redis, which, asked, source(), now(), event_id)
    detail = {**asked, **made.facts()}
    more = {"project_id": wanted.get("project_id"), "detail": detail, "event_id": event_id}
    services().transact(lambda session: note(session, Action.FLOWS_EXPORT, **more))
    return made


def open_inspector() -> Principal:
    """Tell that who is here opens mitmweb, which shows the flows of all projects. Raises Forbidden."""
    demand(Role.AUDITOR)
    demand_everything()
    services().transact(lambda session: note(session, Action.INSPECTOR_OPEN, detail={"role": principal().role}))
    return principal()


def note_readings(request_ids: Sequence[str], saved: int | None) -> None:
    """Tell that bodies of requests were seen in mitmweb, or that so many flows were saved there. Raises Forbidden."""
    demand(Role.AUDITOR)
    demand_everything()

    def tell(session: Session) -> None:
        for request_id in request_ids:
            note(session, Action.FLOWS_READ, detail={"request_id": request_id, "in": "mitmweb"})
        if saved is not None:
            note(session, Action.FLOWS_EXPORT, detail={"flows": saved, "in": "mitmweb"})

    services().transact(tell)


def _note_read(record: FlowRecord) -> None:
    if not flows.has_bodies(record):
        return
    about = {"project_id": _id(record.project_id), "token_id": _id(record.token_id)}
    detail = {"request_id": record.request_id}
    services().transact(lambda session: note(session, audit.Action.FLOWS_READ, detail=detail, **about))


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
