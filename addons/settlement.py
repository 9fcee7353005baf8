"""What Redis is told when a request has ended: its usage event, what was held for it, and what it really needed."""

from collections.abc import Callable
from dataclasses import dataclass, field

from addons.call import Call
from addons.holds import Holds
from shared.models import NOTHING, Amounts, Usage, UsageEvent


@dataclass(frozen=True, slots=True)
class Settlement:
    """`hold` None: nothing was taken for the request. What is None of `actual` stays as it was reserved."""

    event: UsageEvent
    hold: bytes | None = field(default=None, repr=False)
    actual: Amounts = NOTHING


def tokens_of(usage: Usage) -> int | None:
    """Return all tokens of a usage; None if it is not known. Of a total and its parts that disagree, the larger counts.

    An estimate without a prompt, which was not read here, says too little to be charged.
    """
    if usage.is_estimate and usage.prompt_tokens is None:
        return None
    parts = [count for count in (usage.prompt_tokens, usage.completion_tokens) if count is not None]
    known = [sum(parts)] if parts else []
    return max(known if usage.total_tokens is None else [*known, usage.total_tokens], default=None)


def actual_of(event: UsageEvent, has_gone_out: bool, cost: int | None) -> Amounts:
    """Return what a request is charged; `has_gone_out` tells whether a provider may have got it.

    Nothing is charged for what the provider refused. Where nobody can tell how much was used, the reservation stays:
    that is so if an answer does not say, and if nobody waited for one, which the provider may still have made.
    """
    tokens = tokens_of(event.usage)
    if not has_gone_out or (tokens is None and event.status >= 400):
        return NOTHING
    is_unheard = event.usage.is_estimate and event.first_byte_ms is None and not event.is_stream
    return Amounts() if tokens is None or is_unheard else Amounts(tokens, cost)


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
        is_paid = call.caller is not None and call.caller.limits_cost
        actual = actual_of(event, call.attempts.count > 0, self._cost(event) if is_paid else None)
        self._append(Settlement(event, self._holds.of(call.request_id), actual))
