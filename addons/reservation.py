"""Takes what a request may need of limits that count tokens or money, once that can be estimated.

What it really needed is settled when it has ended. Without such limits admission has taken everything already.
"""

from collections.abc import Awaitable

from mitmproxy import http

from addons.asked import DEFAULT_COMPLETION, asked_completion, charged_fields, is_readable, named_model
from addons.call import Call, Calls
from addons.estimate import estimate_prompt
from addons.gate import Gate
from addons.price_list import PriceList
from addons.refusal import MODEL_NOT_PRICED, SERVICE_UNAVAILABLE, Refused, fail_closed
from addons.request_policy import has_model_in_path
from shared.models import MOST, NOTHING, Amounts
from shared.providers import Route

# What a body is taken to have that is not read here, in tokens.
DEFAULT_PROMPT = 1024


def must_be_held(call: Call, request: http.Request) -> bool:
    """Tell whether a body has to be read before any of it goes to the provider, since only it names what is priced."""
    if call.route is None or call.is_admitted or call.caller is None or not call.caller.limits_cost:
        return False
    if has_model_in_path(call.route):
        return False
    return not call.route.is_free(request.method) and is_readable(request)


class Reservation:
    """Stands behind the policies, so that what they refuse costs nothing."""

    def __init__(self, calls: Calls, gate: Gate, prices: PriceList) -> None:
        self.calls = calls
        self._gate = gate
        self._prices = prices

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Reserve for a request whose body is streamed: it goes to the provider before it has come."""
        if flow.request.stream and must_be_held(self.calls.of(flow), flow.request):
            flow.request.stream = False
        return self._reserve(flow, None) if flow.request.stream else None

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Reserve for a request that has come completely."""
        return self._reserve(flow, flow.request.raw_content)

    def _reserve(self, flow: http.HTTPFlow, body: bytes | None) -> Awaitable[None] | None:
        call, method = self.calls.of(flow), flow.request.method
        if call.caller is None or call.provider is None or call.route is None or call.is_admitted:
            return None
        is_free = call.route.is_free(method)
        amounts = NOTHING if is_free else self._estimated(call, call.route, flow.request, body)
        return self._gate.enter(call, [call.provider.name], method, amounts)

    def _estimated(self, call: Call, route: Route, request: http.Request, body: bytes | None) -> Amounts:
        prompt, completion = DEFAULT_PROMPT, DEFAULT_COMPLETION
        if body is not None:
            fields = charged_fields(request, body, route.body_of(request.method), call.dialect)
            prompt, completion = estimate_prompt(body), asked_completion(fields)
            if not has_model_in_path(route):
                call.model = named_model(fields) or call.model
        call.prompt_estimate = prompt
        return Amounts(min(prompt + completion, MOST), min(self._cost(call, prompt, completion), MOST))

    def _cost(self, call: Call, prompt: int, completion: int) -> int:
        """Return what the request may cost, in nano-USD. Raises Refused if money is limited and that is not known."""
        cost = self._prices.estimate(call, prompt, completion)
        if cost is None:
            if call.caller is not None and call.caller.limits_cost:
                # Until prices have come, nobody knows what has none.
                raise Refused(MODEL_NOT_PRICED if self._prices.is_known else SERVICE_UNAVAILABLE)
            return 0
        return cost
