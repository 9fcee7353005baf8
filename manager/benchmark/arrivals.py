"""What of a load falls to one process, and when the requests of an open loop are due."""

from __future__ import annotations

import math
from dataclasses import dataclass

from manager.benchmark.legs import share
from manager.benchmark.plan import Step


@dataclass(frozen=True)
class Part:
    """Which of the processes that take part in a leg this one is."""

    number: int
    among: int

    def of(self, amount: int) -> int:
        """Return what this process has of an amount."""
        return share(amount, self.number, self.among)


def due_ns(rate: tuple[float, float], seconds: float | None, index: int) -> int:
    """Return when a request is due, in ns since the load began. A ramp's rate rises evenly over its seconds."""
    low, high = rate
    slope = (high - low) / seconds if seconds else 0.0
    at = index / low if slope == 0 else (math.sqrt(max(0.0, low * low + 2 * slope * index)) - low) / slope
    return round(at * 1e9)


def amount_due(step: Step) -> int:
    """Return how many requests an open loop has in a step."""
    if step.requests is not None or step.rate is None or step.seconds is None:
        return step.requests or 0
    return math.ceil(sum(step.rate) / 2 * step.seconds - 1e-9)
