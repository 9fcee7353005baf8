"""What the audit tells of a change: of the fields that differ, how they were and how they are."""

from collections.abc import Mapping
from typing import Any


def between(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return `before` and `after` of the fields that differ; None if none does."""
    names = [name for name in after if before.get(name) != after[name]]
    if not names:
        return None
    return {"before": {name: before.get(name) for name in names}, "after": {name: after[name] for name in names}}
