"""Requests in flight: ended by their ids."""

from manager import audit, live
from manager.current import demand, note, scope, services
from manager.principals import Role


def cut(request_id: str, reason: str = "") -> None:
    """Write down who ends a request, and why, and have it ended. Raises Forbidden, Invalid, NotFound, RedisError."""
    demand(Role.OPERATOR)
    why, found = live.check_reason(reason), live.find(services().redis, request_id, scope())
    about = {"project_id": found.project_id, "token_id": found.token_id}
    detail = {"request_id": request_id, "reason": why}
    services().transact(lambda session: note(session, audit.Action.REQUEST_CUT, detail=detail, **about))
    live.cut(services().redis, request_id)
