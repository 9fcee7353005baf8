"""Requests in flight: ended by their ids, and those that are held decided about."""

import hashlib
from typing import Any

import msgspec

from manager import audit, live, texts
from manager.current import demand, note, scope, services
from manager.errors import Conflict, Invalid
from manager.live import InFlight, One
from manager.principals import Role
from shared.flow_schema import MOST_EDITED_BYTES, FlowRecord


def cut(request_id: str, reason: str = "") -> None:
    """Write down who ends a request, and why, and have it ended. Raises Forbidden, Invalid, NotFound, RedisError."""
    demand(Role.OPERATOR)
    why, found = live.check_reason(reason), live.find(services().redis, request_id, scope())
    _note(audit.Action.REQUEST_CUT, found, reason=why)
    live.cut(services().redis, request_id)


def resume(request_id: str, reason: str = "", body: str | None = None) -> None:
    """Write down who lets a request go out that is held, and why, and have it go out, with another body unless None.

    What stands for what is hidden in the body that was shown may stay in it: the worker puts it back. Raises Forbidden,
    Invalid for one that is no JSON object where one was shown, Conflict for a body that was not shown whole, NotFound,
    RedisError.
    """
    demand(Role.OPERATOR)
    why, found = live.check_reason(reason), live.on_hold(services().redis, request_id, scope())
    edited = None if body is None else _edited(found, body)
    if edited is None:
        _note(audit.Action.REQUEST_RESUME, found.request, reason=why)
    else:
        before, after = (hashlib.sha256(each).hexdigest() for each in (_shown(found.record), edited))
        _note(audit.Action.REQUEST_EDIT, found.request, reason=why, before_sha256=before, after_sha256=after)
    live.resume(services().redis, request_id, edited)


def refuse(request_id: str, reason: str = "") -> None:
    """Write down who refuses a request that is held, and why, and have it refused. Raises as `cut`."""
    demand(Role.OPERATOR)
    why, found = live.check_reason(reason), live.on_hold(services().redis, request_id, scope())
    _note(audit.Action.REQUEST_REFUSE, found.request, reason=why)
    live.refuse(services().redis, request_id)


def _edited(found: One, body: str) -> bytes | None:
    """Return the body that a request is to go out with, None if it is the one that was shown."""
    if not texts.is_body(body):
        raise Invalid("body", "Must be text.")
    edited = body.encode()
    if len(edited) > MOST_EDITED_BYTES:
        raise Invalid("body", f"Must have at most {MOST_EDITED_BYTES} bytes.")
    before = _shown(found.record)
    if edited != before and _is_object(before) and not _is_object(edited):
        raise Invalid("body", "Must be a JSON object, as the body was that is held.")
    return None if edited == before else edited


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(msgspec.json.decode(body), dict)  # As strictly as a worker reads it.
    except (msgspec.DecodeError, RecursionError):
        return False


def _shown(record: FlowRecord | None) -> bytes:
    """Return the body that was shown of a held request."""
    if record is None or record.request.body is None or record.request.is_cut:
        raise Conflict("The body of this request is not shown whole, so it cannot be edited.")
    return record.request.body


def _note(action: audit.Action, found: InFlight, **more: Any) -> None:
    about = {"project_id": found.project_id, "token_id": found.token_id}
    detail = {"request_id": found.request_id, **more}
    services().transact(lambda session: note(session, action, detail=detail, **about))
