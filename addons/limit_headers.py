"""Tells callers what is left of their limits: in headers of every answer.

The names end in words of our own, so that a provider's `x-ratelimit-*` pass beside them.
"""

from collections.abc import Iterable
from decimal import Decimal

from mitmproxy import http

from addons.call import Calls
from shared.models import LimitState, Measure

_NANO = Decimal(10) ** 9


def headers_of(standing: Iterable[LimitState]) -> dict[str, str]:
    """Return the headers that tell where a caller stands; times are whole seconds, money is in USD."""
    headers: dict[str, str] = {}
    for state in standing:
        name = f"proxy-{state.measure}"
        headers[f"x-ratelimit-limit-{name}"] = number(state.measure, state.amount)
        headers[f"x-ratelimit-remaining-{name}"] = number(state.measure, state.remaining)
        if state.reset_ms is not None:
            headers[f"x-ratelimit-reset-{name}"] = str(seconds(state.reset_ms))
    return headers


def number(measure: Measure, amount: int) -> str:
    """Return an amount as people read it: nano-USD become USD."""
    return f"{Decimal(amount) / _NANO:f}" if measure is Measure.COST else str(amount)


def seconds(milliseconds: int) -> int:
    """Return whole seconds, rounded up."""
    return -(-milliseconds // 1000)


class LimitHeaders:
    """Adds them to providers' answers, which have lost any of these names; refusals bring their own."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Add what admission found."""
        call = self.calls.of(flow)
        if call.standing and flow.response is not None and call.refused_with is None:
            added = [(name.encode(), value.encode()) for name, value in headers_of(call.standing).items()]
            flow.response.headers.fields = (*flow.response.headers.fields, *added)
