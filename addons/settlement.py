"""What Redis is told when a request has ended: its usage event, what was held for it, and what it really needed."""

from collections.abc import Callable
from dataclasses import dataclass, field

from addons.call import Call
from addons.holds import Holds
from shared.models import NOTHING, Amounts, Measure, Usage, UsageEvent


@dataclass(frozen=True, slots=True)
class Settlement:
    """`hold` None: nothing was taken for the request. What is None of `actual` stays as it was reserved."""

    event: UsageEvent
    hold: bytes | None = field(default=None, repr=False)
    actual: Amounts = NOTHING


def tokens_of(usage: Usage) -> int | None:
    """Return all tokens of a usage; None if it is not known."""
    if usage.total_tokens is not None:
        return usage.total_tokens
    known = [count for count in (usage.prompt_tokens, usage.completion_tokens) if count is not None]
    return sum(known) if known else None


def actual_of(event: UsageEvent, has_reached: bool, cost: int | None) -> Amounts:
    """Return what a request needed; `has_reached` tells whether the provider ever got it.

    Nothing is charged for what the provider refused. What it served without saying how much that was keeps its
    reservation.
    """
    tokens = tokens_of(event.usage)
    if not has_reached or (tokens is None and event.status >= 400):
        return NOTHING
    return Amounts(tokens, cost)


class Settling:
    """Turns the end of a call into its settlement. `cost` tells what an event costs, `append` takes settlements."""

    def __init__(
        self, holds: Holds, cost: Callable[[UsageEvent], int | None], append: Callable[[Settlement], None]
    ) -> None:
        self._holds = holds
        self._cost = cost
        self._append = append

    def settle(self, call: Call, event: UsageEvent) -> None:
        """Settle a call that has ended as its event says."""
        is_paid = any(state.measure is Measure.COST for state in call.standing)
        actual = actual_of(event, call.credential is not None, self._cost(event) if is_paid else None)
        self._append(Settlement(event, self._holds.of(call.request_id), actual))
