"""Adds up refused requests by project and code, and tells Redis every other second; the audit is made of it.

Off the request path: a refusal costs one entry in a dictionary here. What Redis does not take is kept and told later.
"""

import asyncio
from typing import Protocol

from addons.endurance import Repeating
from addons.store import StoreUnavailable

PAUSE_SECONDS = 2.0
FLUSH_SECONDS = 2.0
# Beyond so many pairs of project and code, codes are counted without their projects.
MOST_COUNTED = 1000

type Counts = dict[tuple[str, str], int]


class Sink(Protocol):
    """Where counts go."""

    async def count_refusals(self, counts: Counts) -> None:
        """Add these to what has been counted; raises StoreUnavailable, and then as a rule nothing has been added."""


class RefusalCounts:
    """Counts from start to end; what has come in at the end is told once more."""

    def __init__(self, sink: Sink, pause: float = PAUSE_SECONDS, most_counted: int = MOST_COUNTED) -> None:
        self._sink = sink
        self._most_counted = most_counted
        self._counts: Counts = {}
        self._telling = Repeating(self._tell, "refusal_counts", pause)

    def note(self, project_id: str, code: str) -> None:
        """Count one refusal; `project_id` is empty if it is not known."""
        key = (project_id, code)
        if key not in self._counts and len(self._counts) >= self._most_counted:
            key = ("", code)
        self._counts[key] = self._counts.get(key, 0) + 1

    def running(self) -> None:
        """Start telling."""
        self._telling.start()

    async def done(self) -> None:
        """Stop, and tell what is left if that is quick."""
        await self._telling.stop()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._tell()
        except TimeoutError:
            return

    async def _tell(self) -> None:
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            await self._sink.count_refusals(counts)
        except StoreUnavailable:
            for key, count in self._counts.items():
                counts[key] = counts.get(key, 0) + count
            self._counts = counts
