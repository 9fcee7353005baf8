"""How far a run is, in one line: rate, errors, percentiles, and how long it will still take."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns
from typing import TextIO

from manager.benchmark.legs import Leg, legs
from manager.benchmark.plan import Plan
from manager.benchmark.workers import Seen

# How often a line is written where no terminal shows it in the place of the last.
PLAIN_S = 10.0
LIVE_S = 0.4


@dataclass(frozen=True)
class _Mark:
    """How much had been seen at a time."""

    at_ns: int
    answers: int


class Progress:
    """Writes lines to a screen; `__call__` is what `workers.run` calls."""

    def __init__(self, plan: Plan, screen: TextIO, now: Callable[[], int] = monotonic_ns) -> None:
        self._plan, self._screen, self._now = plan, screen, now
        self._is_live = screen.isatty()
        self._pause = round((LIVE_S if self._is_live else PLAIN_S) * 1e9)
        self._legs = list(legs(plan))
        self._began = self._shown = now()
        self._leg: Leg | None = None
        self._mark = _Mark(self._began, 0)

    def __call__(self, leg: Leg, begins_ns: int, seen: Seen) -> None:
        """Show how far it is, if it is time to."""
        now = self._now()
        if leg != self._leg:
            self._leg, self._mark = leg, _Mark(begins_ns, seen.tally.whole_latency.count)
        if now - self._shown < self._pause:
            return
        self._shown = now
        text = self._line(leg, begins_ns, seen, now)
        if self._is_live:
            width = shutil.get_terminal_size().columns - 1
            text = f"\r\x1b[K{text[:width]}"
        self._screen.write(text if self._is_live else f"{text}\n")
        self._screen.flush()

    def end(self) -> None:
        """Take the line away."""
        if self._is_live:
            self._screen.write("\r\x1b[K")
            self._screen.flush()

    def _line(self, leg: Leg, begins_ns: int, seen: Seen, now: int) -> str:
        latency = seen.tally.whole_latency
        rate = (latency.count - self._mark.answers) / max(1e-3, (now - self._mark.at_ns) / 1e9)
        self._mark = _Mark(now, latency.count)
        errors = sum(seen.tally.errors.values())
        share = errors / max(1, errors + latency.count)
        where = "warm-up" if leg.is_warm_up else f"{leg.step + 1}/{len(self._plan.steps)}"
        percentiles = "/".join(f"{latency.percentile(each) / 1e6:.3g}" for each in (50, 90, 99))
        parts = [
            f"{where} {leg.load.name}",
            self._plan.targets[leg.target].name,
            f"ETA {clock(self.left_s(leg, begins_ns, seen, now))}",
            f"{rate:,.0f}/s",
            f"errors {errors:,} ({share:.1%})",
            f"p50/90/99 {percentiles} ms",
        ]
        return " · ".join(parts)

    def left_s(self, leg: Leg, begins_ns: int, seen: Seen, now: int) -> float:
        """Return how long it will still take: by the plan's durations, or by the requests that are done."""
        number = self._legs.index(leg)
        ahead = sum(each.load.seconds or 0 for each in self._legs[number + 1 :])
        if leg.load.seconds is not None:
            return ahead + max(0.0, leg.load.seconds - (now - begins_ns) / 1e9)
        done = sum(each.load.requests or 0 for each in self._legs[:number] if self._is_of_same(each, leg))
        done = max(done, seen.tally.whole_latency.count + sum(seen.tally.errors.values()))
        others = sum(each.load.requests or 0 for each in self._legs[:number] if not self._is_of_same(each, leg))
        whole = sum(each.load.requests or 0 for each in self._legs)
        gone = (now - self._began) / 1e9 - self._plan.warm_up_s * len(self._plan.targets)
        share = (done + others) / max(1, whole)
        return max(0.0, gone) * (1 - share) / share if 0 < share < 1 else 0.0

    @staticmethod
    def _is_of_same(leg: Leg, other: Leg) -> bool:
        return (leg.step, leg.target) == (other.step, other.target)


def clock(seconds: float) -> str:
    """Return a duration as clocks show it.

    >>> clock(59.6), clock(3723)
    ('1:00', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
