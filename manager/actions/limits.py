"""Limits of everything together, replaced."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from manager import audit, etags, limits, publications
from manager.actions import ANY
from manager.current import demand, demand_everything, note, now, services
from manager.etags import Expected
from manager.principals import Role
from shared.models import Limit


def state(counted: Sequence[Limit]) -> str:
    """Return what limits are at, see manager/etags.py."""
    return etags.state_of(limits.shown(counted))


def replace(wanted: Sequence[Mapping[str, Any]], expected: Expected = ANY) -> Sequence[Limit]:
    """Replace the limits of everything together. Raises Forbidden, Invalid, Stale, PublishError."""
    demand(Role.ADMIN)
    demand_everything()

    def work(session: Session) -> Sequence[Limit]:
        # Counted first: it keeps others out, so that what is found is what is replaced.
        publications.touch(session, publications.Name.LIMITS, now())
        before = publications.global_limits(session)
        expected.check(state(before))
        after = publications.set_global_limits(session, now(), wanted)
        if detail := limits.changed(before, after):
            note(session, audit.Action.LIMITS_CHANGE, detail=detail)
        return after

    after = services().transact(work)
    services().publisher.publish_limits()
    return after
