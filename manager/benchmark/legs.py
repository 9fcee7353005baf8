"""The legs into which targets and steps of a plan are cut, so that targets take turns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from manager.benchmark.plan import Plan, Step

# So often each target has its turn in a step, and so long a turn is.
_TURNS = 6
_SHORTEST_TURN_S, _LONGEST_TURN_S = 1.0, 10.0


@dataclass(frozen=True)
class Leg:
    """A turn of one target in one step, the `turn`th; `step` -1 is warm-up."""

    step: int
    target: int
    load: Step
    turn: int = 0

    @property
    def is_warm_up(self) -> bool:
        """Tell whether it does not count."""
        return self.step < 0

    def workers(self, processes: int) -> int:
        """Return how many processes take part: none without a caller or a connection of its own."""
        most = max(self.load.concurrency) if self.load.rate is None else min(self.load.concurrency)
        return min(processes, most)


def legs(plan: Plan) -> Iterator[Leg]:
    """Return all turns, in the order in which they are had; every other round of a step goes backwards."""
    numbers = range(len(plan.targets))
    if plan.warm_up_s:
        warm = replace(plan.steps[0].part(0, 0), seconds=plan.warm_up_s, requests=None)
        yield from (Leg(-1, number, warm) for number in numbers)
    for index, step in enumerate(plan.steps):
        turns = _turns(step, len(plan.targets))
        for turn in range(turns):
            part = step.part(turn / turns, (turn + 1) / turns)
            if step.requests is not None:
                part = replace(part, requests=share(step.requests, turn, turns))
            yield from (Leg(index, each, part, turn) for each in (reversed(numbers) if turn % 2 else numbers))


def _turns(step: Step, targets: int) -> int:
    if targets == 1:
        return 1
    if step.requests is not None:
        return min(_TURNS, step.requests)
    seconds = step.seconds or 0
    longest = min(max(seconds / _TURNS, _SHORTEST_TURN_S), _LONGEST_TURN_S)
    return max(1, math.ceil(seconds / longest - 1e-9))


def share(amount: int, number: int, among: int) -> int:
    """Return what one of several has of an amount; together they have all of it."""
    return amount * (number + 1) // among - amount * number // among
