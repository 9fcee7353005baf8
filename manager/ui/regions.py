"""Parts of pages that change while somebody looks: as they stand on the page, and as what is sent of their changes.

A page shows a region in an element with its id, and the script live.mjs puts what changes into it. What is sent of a
region is an object with its `id` and `html`; of a table with what differs of `data` (its data attributes), `head` (the
HTML of its head), `rows` (the HTML of each row by its id), and all ids in their `order` if that differs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup


@dataclass(frozen=True)
class Region:
    """An element, and what is in it."""

    id: str
    html: Markup


@dataclass(frozen=True)
class TableRegion:
    """A table: each row is a whole `<tr>` with its id. Without a head, that of the page stays."""

    id: str
    rows: Mapping[str, Markup]
    head: Markup = field(default_factory=Markup)
    data: Mapping[str, str] = field(default_factory=dict)


class Differences:
    """Knows what somebody has been sent."""

    def __init__(self) -> None:
        self._sent: dict[str, Region | TableRegion] = {}

    def of(self, regions: Iterable[Region | TableRegion]) -> list[dict[str, Any]]:
        """Return what has changed since the last time. If a region cannot be made, none of them counts as sent."""
        made = list(regions)
        return [change for region in made if (change := self._change(region))]

    def _change(self, region: Region | TableRegion) -> dict[str, Any] | None:
        before = self._sent.get(region.id)
        self._sent[region.id] = region
        if region == before:
            return None
        if isinstance(region, Region):
            return {"id": region.id, "html": region.html}
        return {"id": region.id, **_of_table(before if isinstance(before, TableRegion) else None, region)}


def _of_table(before: TableRegion | None, after: TableRegion) -> dict[str, Any]:
    known = before.rows if before else {}
    change: dict[str, Any] = {"rows": {key: html for key, html in after.rows.items() if known.get(key) != html}}
    if before is None or before.data != after.data:
        change["data"] = dict(after.data)
    if after.head and (before is None or before.head != after.head):
        change["head"] = after.head
    if before is None or list(known) != list(after.rows):
        change["order"] = list(after.rows)
    return change
