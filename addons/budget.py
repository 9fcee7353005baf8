"""Keeps answers within limits of tokens and money while they stream.

An answer that needs more than was reserved for it gets more, a little at a time. One that may not have more is ended
with a final error, and so is one that Redis takes for settled: nothing would bound it any longer. While Redis is away,
answers go on.
"""

import asyncio
from collections.abc import Callable

from mitmproxy import http

from addons.call import Call, Calls
from addons.ending import Cause, Interruption
from addons.endurance import Repeating
from addons.holds import Holds
from addons.interrupts import Interrupts
from addons.limit_refusals import overrun_of
from addons.price_list import PriceList
from addons.store import Store, StoreUnavailable
from addons.supply import Supply, Watched
from addons.targets import has_feature
from shared import logs
from shared.holds_schema import NotExtended, decode_hold
from shared.models import Feature

# Between two looks at what streams, in seconds: so long an answer may run on without a reservation.
PAUSE_SECONDS = 0.1

log = logs.get("budget")


class Budget:
    """Watches the admitted requests that limits count by tokens or money. `note_cut` counts cuts by their code."""

    def __init__(
        self,
        calls: Calls,
        store: Store,
        holds: Holds,
        prices: PriceList,
        interrupts: Interrupts,
        note_cut: Callable[[str], None],
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.calls = calls
        self._holds = holds
        self._supply = Supply(store, holds, prices)
        self._interrupts = interrupts
        self._note_cut = note_cut
        self._watched: dict[str, Watched] = {}
        self._is_away = False
        self._watch = Repeating(self._look, "budget", pause_seconds)

    def running(self) -> None:
        """Start watching."""
        self._watch.start()

    async def done(self) -> None:
        """Stop watching."""
        await self._watch.stop()

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Watch an answer from its beginning on."""
        call = self.calls.of(flow)
        if call.caller is None or not call.caller.has_budget or not has_feature(call, Feature.BUDGET_CUT):
            return
        if call.route is not None and call.route.is_free(flow.request.method):
            return
        hold = self._holds.of(call.request_id)
        if hold is not None and call.refused_with is None:
            reserved = decode_hold(hold).reserved
            self._watched[call.request_id] = Watched(call, reserved.tokens or 0, reserved.cost or 0)

    def response(self, flow: http.HTTPFlow) -> None:
        """The answer is complete; a WebSocket has only begun."""
        if flow.websocket is None:
            self._forget(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """The answer broke off."""
        self._forget(flow)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """The WebSocket is closed."""
        self._forget(flow)

    def _forget(self, flow: http.HTTPFlow) -> None:
        self._watched.pop(self.calls.of(flow).request_id, None)

    async def _look(self) -> None:
        short = [watched for watched in self._watched.values() if watched.is_short]
        await asyncio.gather(*map(self._look_after, short))

    async def _look_after(self, watched: Watched) -> None:
        try:
            denied = await self._supply.give(watched)
            self._is_away = False
        except StoreUnavailable as error:
            if not self._is_away:
                log.warning("reservations_not_extended", reason=str(error))
            self._is_away = True
            return
        if denied is not None and self._watched.get(watched.call.request_id) is watched:
            self._cut(watched.call, denied)

    def _cut(self, call: Call, denied: NotExtended) -> None:
        refusal = overrun_of(denied.limit)
        log.warning("request_cut", request_id=call.request_id, token_id=call.token_id, code=refusal.code)
        self._note_cut(refusal.code)
        self._interrupts.interrupt(call, Interruption(Cause.CUT, refusal))
