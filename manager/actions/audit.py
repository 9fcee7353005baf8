"""The audit, taken away as a file, and verified: what is told in it of the first, and who may do the second."""

from collections.abc import Iterator, Mapping
from typing import Any

from manager import audit, audit_export
from manager.audit_chain import Chain
from manager.audit_export import Shape
from manager.audit_verification import Anchor, Report
from manager.current import demand_everything, note, scope, services
from manager.errors import Invalid


def export(shape: Shape, wanted: Mapping[str, Any]) -> Iterator[str]:
    """Return the events that fit in pieces, see audit_export.pieces, and tell in the audit that they were taken.

    Raises Invalid.
    """
    detail = {"format": shape.value} | {name: str(value) for name, value in wanted.items() if value is not None}
    found = audit_export.pieces(services().sessions, shape, scope=scope(), **wanted)
    services().transact(lambda session: note(session, audit.Action.AUDIT_EXPORT, detail=detail))
    return found


def verify(anchor: str | None) -> Report:
    """Verify the whole chain, held against an anchor as an earlier verification told it. Raises Forbidden, Invalid."""
    demand_everything()
    return Chain(services().sessions, services().settings.encryption_keys).verify(_anchor(anchor))


def _anchor(text: str | None) -> Anchor | None:
    try:
        return None if text is None else Anchor.parse(text)
    except ValueError as error:
        raise Invalid("anchor", str(error)) from error
