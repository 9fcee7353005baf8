"""What holds while Redis knows a caller but cannot count: each limit's own `on_outage`, in this worker alone.

That is so when Redis has no room, is a replica, or cannot save. One that cannot be asked at all lets nobody in.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from mitmproxy import http

from addons.call import Call, Calls
from addons.refusal import SERVICE_UNAVAILABLE, Refused
from shared.limits_schema import period_of
from shared.models import Amounts, Caller, Limit, Measure, OnOutage, Scope, Window

_SECONDS = {Window.SECOND: 1, Window.HOUR: 3600}
_Key = tuple[Scope, str, Measure, Window]


class Outage:
    """Counts shares: a limit divided by the number of workers, rounded down, in fixed windows.

    `clock` gives seconds since the epoch.
    """

    def __init__(self, calls: Calls, workers: int, clock: Callable[[], float] = time.time) -> None:
        self.calls = calls
        self._workers = workers
        self._clock = clock
        self._used: dict[_Key, tuple[int, int]] = {}
        self._running: dict[str, list[_Key]] = {}

    def enter(self, call: Call, caller: Caller, amounts: Amounts) -> bool:
        """Let a call in, False if it first has to be known how much it needs. Raises Refused if a limit is closed."""
        needs = {Measure.REQUESTS: 1, Measure.CONCURRENT: 1, Measure.TOKENS: amounts.tokens, Measure.COST: amounts.cost}
        if any(limit.on_outage is OnOutage.CLOSED for _, limit in caller.limits):
            raise Refused(SERVICE_UNAVAILABLE)
        shared = [each for each in caller.limits if each[1].on_outage is OnOutage.LOCAL_SHARE]
        if any(needs[limit.measure] is None for _, limit in shared):
            return False
        taken = [self._after(caller, scope, limit, needs[limit.measure] or 0) for scope, limit in shared]
        self._used.update({key: (period, used) for key, period, used in taken})
        self._running[call.request_id] = [key for key, _, _ in taken if key[2] is Measure.CONCURRENT]
        return True

    def _after(self, caller: Caller, scope: Scope, limit: Limit, need: int) -> tuple[_Key, int, int]:
        key = (scope, _id_of(caller, scope), limit.measure, limit.window)
        period = self._period(limit.window)
        known_period, used = self._used.get(key, (period, 0))
        used = need + (used if known_period == period else 0)
        if used > limit.amount // self._workers:
            raise Refused(SERVICE_UNAVAILABLE)
        return key, period, used

    def _period(self, window: Window) -> int:
        now = self._clock()
        if window in _SECONDS:
            return int(now) // _SECONDS[window]
        return period_of(window, datetime.fromtimestamp(now, UTC))

    def response(self, flow: http.HTTPFlow) -> None:
        """A request has ended; a WebSocket has only begun."""
        if flow.websocket is None:
            self._leave(flow)

    def error(self, flow: http.HTTPFlow) -> None:
        """A request broke off."""
        self._leave(flow)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """A WebSocket is closed."""
        self._leave(flow)

    def _leave(self, flow: http.HTTPFlow) -> None:
        if self._running:
            for key in self._running.pop(self.calls.of(flow).request_id, ()):
                period, used = self._used[key]
                self._used[key] = (period, used - 1)


def _id_of(caller: Caller, scope: Scope) -> str:
    return {Scope.TOKEN: caller.token_id, Scope.PROJECT: caller.project.id, Scope.GLOBAL: ""}[scope]
