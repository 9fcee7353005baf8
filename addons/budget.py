"""Keeps answers within limits of tokens and money while they stream.

An answer that needs more than was reserved for it gets more, a little at a time. One that may not have more is ended
with a final error.
"""

import asyncio
from collections.abc import Callable

from mitmproxy import http

from addons.call import Call, Calls
from addons.ending import Cause, Interruption
from addons.holds import Holds
from addons.interrupts import Interrupts
from addons.limits import overrun_of
from addons.price_list import PriceList
from addons.progress import tokens_so_far
from addons.store import Store, StoreUnavailable
from addons.targets import has_feature
from shared import logs
from shared.holds_schema import NotExtended, decode_hold
from shared.models import Amounts, Feature

# Between two looks at what streams, in seconds: so long an answer may run on without a reservation.
PAUSE_SECONDS = 0.1
# What an answer gets in advance, in tokens.
STEP = 256

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
        self._store = store
        self._holds = holds
        self._prices = prices
        self._interrupts = interrupts
        self._note_cut = note_cut
        self._pause_seconds = pause_seconds
        self._watched: dict[str, Call] = {}
        self._reserved: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def running(self) -> None:
        """Start watching."""
        self._task = asyncio.get_running_loop().create_task(self._keep_watching())

    async def done(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Watch an answer from its beginning on."""
        call = self.calls.of(flow)
        if call.caller is None or not call.caller.has_budget or not has_feature(call, Feature.BUDGET_CUT):
            return
        hold = self._holds.of(call.request_id)
        if hold is not None and call.refused_with is None:
            self._watched[call.request_id] = call
            self._reserved[call.request_id] = decode_hold(hold).reserved.tokens or 0

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
        request_id = self.calls.of(flow).request_id
        self._watched.pop(request_id, None)
        self._reserved.pop(request_id, None)

    async def _keep_watching(self) -> None:
        while True:
            await asyncio.sleep(self._pause_seconds)
            for call in list(self._watched.values()):
                try:
                    await self._look_at(call)
                except StoreUnavailable as error:
                    log.warning("reservation_not_extended", request_id=call.request_id, reason=str(error))

    async def _look_at(self, call: Call) -> None:
        missing = tokens_so_far(call) - self._reserved[call.request_id]
        if missing <= 0 or call.interruption is not None:
            return
        denied = None
        for more in (missing + STEP, missing):
            extended = await self._extend(call, more)
            if not isinstance(extended, NotExtended):
                return
            denied = extended
        if denied is not None and denied.limit is not None:
            self._cut(call, denied)

    async def _extend(self, call: Call, more: int) -> bytes | NotExtended:
        hold = self._holds.of(call.request_id)
        if hold is None:
            return NotExtended(None)
        cost = self._prices.estimate(call, 0, more) or 0
        with self._holds.changing(call.request_id):
            extended = await self._store.extend(hold, call.digest, Amounts(more, cost))
            if isinstance(extended, bytes):
                self._holds.keep(call.request_id, extended)
                if call.request_id in self._reserved:
                    self._reserved[call.request_id] += more
        return extended

    def _cut(self, call: Call, denied: NotExtended) -> None:
        refusal = overrun_of(denied.limit)
        log.warning("request_cut", request_id=call.request_id, token_id=call.token_id, code=refusal.code)
        self._note_cut(refusal.code)
        self._interrupts.interrupt(call, Interruption(Cause.CUT, refusal))
