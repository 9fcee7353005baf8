"""What callers name – models, paths, labels – as far as their project lets it be shown: in logs, records and views."""

from functools import lru_cache

from addons.call import Call
from addons.findings import UnreadablePattern
from addons.hiding import shown, shown_path
from shared.inspection import Hidden, Inspection

# Of a project with a pattern that nobody can read, nothing is shown that it may have meant.
_HIDDEN = "[hidden]"
# Of whoever was not let in nobody knows what their project would hide.
STRANGERS = Inspection(hidden=tuple(Hidden))


def word(call: Call, name: str | None) -> str | None:
    """Return a name of this call's without what its project hides."""
    inspection = _hiding(call)
    return name if inspection is None or not name else _shown(name, inspection)


def path(call: Call, asked: str) -> str:
    """Return a path, without its query, of this call's without what its project hides."""
    inspection = _hiding(call)
    return asked if inspection is None else _shown_path(asked, inspection)


def _hiding(call: Call) -> Inspection | None:
    """Return what is hidden of a call, None for nothing: so it is with most, and costs nothing."""
    project = call.caller.project if call.caller else call.project
    inspection = project.inspection if project else STRANGERS
    return inspection if inspection and (inspection.hidden or inspection.patterns) else None


@lru_cache(maxsize=4096)
def _shown(name: str, inspection: Inspection) -> str:
    try:
        return shown(name, inspection)
    except UnreadablePattern:
        return _HIDDEN


@lru_cache(maxsize=4096)
def _shown_path(asked: str, inspection: Inspection) -> str:
    try:
        return shown_path(asked, inspection)
    except UnreadablePattern:
        return _HIDDEN
