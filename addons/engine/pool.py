"""A worker's connections to providers: opened once, TLS included, and used by one client after the other."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from addons.engine.line import Line
from addons.engine.provider_lines import Limits, Origin, ProviderLines
from addons.telemetry import PoolCounts

# How often idle connections are looked after and counts are told, in seconds.
SWEEP_SECONDS = 1.0


class Pool:
    """`tell` gets the counts when they have changed, at most once for each sweep, and when the pool is closed."""

    def __init__(self, limits: Limits, tell: Callable[[PoolCounts], None] = lambda counts: None) -> None:
        self._limits = limits
        self._tell = tell
        self._origins: dict[Origin, ProviderLines] = {}
        self._counts = self._told = PoolCounts()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def borrow(self, origin: Origin) -> tuple[ProviderLines, Line]:
        """Return an open line that is the caller's, and the lines that it belongs to. Raises what `borrow` raises."""
        lines = self._lines(origin)
        line, has_served = await lines.borrow()
        kind = "reuses" if has_served else "dials"
        self._counts = replace(self._counts, **{kind: getattr(self._counts, kind) + 1})
        return lines, line

    def counts(self) -> PoolCounts:
        """Return what is open and idle now, and what has been done so far."""
        idle = sum(len(lines.free) for lines in self._origins.values())
        lent = sum(len(lines.lent) for lines in self._origins.values())
        return replace(self._counts, open=idle + lent, idle=idle)

    def sweep(self) -> None:
        """Close what is idle for too long or too old, and tell the counts."""
        for origin, lines in list(self._origins.items()):
            lines.sweep()
            if lines.is_unused:
                del self._origins[origin]
        self._report()

    def close(self) -> None:
        """Close what nobody uses; what is in use is closed when it is given back."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for lines in self._origins.values():
            lines.close()
        self._report()

    def abort(self) -> None:
        """Close everything at once, whoever uses it: the worker ends."""
        self.close()
        for lines in self._origins.values():
            for line in [*lines.free, *lines.lent]:
                line.abort()

    def _lines(self, origin: Origin) -> ProviderLines:
        lines = self._origins.get(origin)
        if lines is None:
            lines = self._origins[origin] = ProviderLines(origin, self._limits)
            lines.is_closed = self._is_closed
            if self._timer is None:
                self._plan()
        return lines

    def _plan(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep_again)

    def _sweep_again(self) -> None:
        self._timer = None
        self.sweep()
        if self._origins and not self._is_closed:
            self._plan()

    def _report(self) -> None:
        counts = self.counts()
        if counts != self._told:
            self._told = counts
            self._tell(counts)
