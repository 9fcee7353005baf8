"""Takes what a request may need of limits that count tokens or money, once that can be estimated.

What it really needed is settled when it has ended. Without such limits admission has taken everything already.
"""

from collections.abc import Awaitable

from mitmproxy import http

from addons.body_fields import json_object, value
from addons.call import Call, Calls
from addons.estimate import COMPLETION_FIELDS, asked_completion, estimate_prompt
from addons.gate import Gate
from addons.price_list import PriceList
from addons.refusal import MODEL_NOT_PRICED, Refused, fail_closed
from shared.models import Amounts, Measure

# What an answer is taken to need if its request sets no bound, in tokens; and a body that is not read here.
DEFAULT_COMPLETION = 1024
DEFAULT_PROMPT = 1024


class Reservation:
    """Stands behind the policies, so that what they refuse costs nothing."""

    def __init__(self, calls: Calls, gate: Gate, prices: PriceList) -> None:
        self.calls = calls
        self._gate = gate
        self._prices = prices

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Reserve for a request whose body is streamed: it goes to the provider before it has come."""
        return self._reserve(flow, None) if flow.request.stream else None

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Reserve for a request that has come completely."""
        return self._reserve(flow, flow.request.raw_content)

    def _reserve(self, flow: http.HTTPFlow, body: bytes | None) -> Awaitable[None] | None:
        call = self.calls.of(flow)
        if call.caller is None or call.provider is None or call.is_admitted:
            return None
        amounts = self._estimated(call, body)
        return self._gate.enter(call, [call.provider.name], flow.request.method, amounts)

    def _estimated(self, call: Call, body: bytes | None) -> Amounts:
        prompt = DEFAULT_PROMPT if body is None else estimate_prompt(body)
        completion = (_asked_in(body) if body else None) or DEFAULT_COMPLETION
        call.prompt_estimate = prompt
        return Amounts(prompt + completion, self._cost(call, prompt, completion))

    def _cost(self, call: Call, prompt: int, completion: int) -> int:
        """Return what the request may cost, in nano-USD. Raises Refused if money is limited and that is not known."""
        cost = self._prices.estimate(call, prompt, completion)
        if cost is None:
            if call.caller is not None and any(state.measure is Measure.COST for state in call.caller.standing):
                raise Refused(MODEL_NOT_PRICED)
            return 0
        return cost


def _asked_in(body: bytes) -> int | None:
    try:
        fields = json_object(body)
    except Refused:
        return None  # It is no JSON, which the route allows.
    return asked_completion({name: value(fields[name]) for name in COMPLETION_FIELDS if name in fields})
