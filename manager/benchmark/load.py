"""When requests are sent: in the closed loop when the answer before has come, in the open loop when they are due.

In the closed loop a target that stands still is asked nothing meanwhile, and so hides its stall (coordinated omission).
In the open loop requests go on being due, wait, and their latency counts from when they were due.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic_ns

from manager.benchmark.arrivals import Part, amount_due, due_ns
from manager.benchmark.plan import Step
from manager.benchmark.sender import SWEEP_S, TIMEOUT, Sender
from manager.benchmark.timer import Timer

# A caller who could not connect waits so long before he tries again.
PAUSE_S = 0.1
# How often a ramp rises.
_RISE_S = 0.01


class _Loop:
    """What both loops have in common: they begin at a time, end, and can be stopped before."""

    def __init__(self, sender: Sender, step: Step, part: Part, begins_ns: int) -> None:
        self._sender, self._step, self._part, self._begins = sender, step, part, begins_ns
        self._over = asyncio.Event()
        self._is_ending = False
        self._loop = asyncio.get_running_loop()
        self._ends = begins_ns + round(step.seconds * 1e9) if step.seconds is not None else 0

    async def run(self) -> int:
        """Run until all answers have come; returns for how many ns load was made."""
        self._sender.ends_ns = self._ends or 1 << 62
        self._sender.on_free = self._free
        await asyncio.sleep(max(0, self._begins - monotonic_ns()) / 1e9)
        self._start()
        while not self._over.is_set():
            try:
                async with asyncio.timeout(SWEEP_S):
                    await self._over.wait()
            except TimeoutError:
                self._sender.sweep()
                self._look()
        last = self._ends or max(self._sender.last_ns, self._begins + 1)
        return last - self._begins

    def stop(self) -> None:
        """End now; what runs is not counted."""
        now = monotonic_ns()
        self._ends = self._sender.ends_ns = min(self._ends or now, max(now, self._begins + 1))
        self._is_ending = True
        self._sender.abandon()
        self._finish()

    def _start(self) -> None:
        raise NotImplementedError

    def _free(self, is_connected: bool) -> None:
        raise NotImplementedError

    def _look(self) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        self._over.set()


class ClosedLoop(_Loop):
    """Callers, each of whom asks when he has his answer."""

    def __init__(self, sender: Sender, step: Step, part: Part, begins_ns: int) -> None:
        super().__init__(sender, step, part, begins_ns)
        self._callers = 0
        self._left = part.of(step.requests) if step.requests is not None else -1

    def _start(self) -> None:
        self._rise()

    def _wanted(self, now: int) -> int:
        low, high = self._step.concurrency
        if low == high or not self._step.seconds:
            return self._part.of(high)
        gone = min(1.0, (now - self._begins) / (self._step.seconds * 1e9))
        return self._part.of(round(low + (high - low) * gone))

    def _rise(self) -> None:
        now = monotonic_ns()
        while not self._is_over(now) and self._callers < self._wanted(now):
            self._callers += 1
            self._ask(now)
        if self._is_over(now):
            self._look()
        elif self._step.concurrency[0] != self._step.concurrency[1]:
            self._loop.call_later(_RISE_S, self._rise)

    def _is_over(self, now: int) -> bool:
        return self._is_ending or self._left == 0 or (self._ends > 0 and now >= self._ends)

    def _ask(self, now: int) -> None:
        self._left -= 1
        self._sender.send(now)

    def _free(self, is_connected: bool) -> None:
        if is_connected:
            self._next()
        else:
            self._loop.call_later(PAUSE_S, self._next)

    def _next(self) -> None:
        now = monotonic_ns()
        if self._is_over(now) or self._callers > self._wanted(now):
            self._callers -= 1
            self._look()
        else:
            self._ask(now)

    def _look(self) -> None:
        if self._callers == 0 and self._is_over(monotonic_ns()):
            self._finish()


class OpenLoop(_Loop):
    """Requests that are due at their times; those for which there is no connection wait."""

    def __init__(self, sender: Sender, step: Step, part: Part, begins_ns: int, timeout_s: float) -> None:
        super().__init__(sender, step, part, begins_ns)
        self._rate, self._amount = step.rate or (1.0, 1.0), amount_due(step)
        self._most = max(1, part.of(min(step.concurrency)))
        self._index = part.number
        self._waiting: deque[int] = deque()
        self._timeout = round(timeout_s * 1e9)
        self._timer = Timer(self._ring)

    async def run(self) -> int:
        """Run until all answers have come; returns for how many ns load was made."""
        try:
            return await super().run()
        finally:
            self._timer.close()

    def _start(self) -> None:
        self._ring()

    def _ring(self) -> None:
        while not self._is_ending and self._index < self._amount:
            due = self._begins + due_ns(self._rate, self._step.seconds, self._index)
            if due > (now := monotonic_ns()):
                self._timer.set(due)
                return
            self._index += self._part.among
            if self._sender.busy < self._most:
                self._sender.tally.lag.record(now - due)
                self._sender.send(due)
            else:
                self._waiting.append(due)
        self._look()

    def _free(self, is_connected: bool) -> None:
        if self._waiting:
            self._sender.send(self._waiting.popleft())
        else:
            self._look()

    def _look(self) -> None:
        late = monotonic_ns() - self._timeout
        while self._waiting and self._waiting[0] < late:
            self._waiting.popleft()
            self._sender.missed(TIMEOUT)
        if self._index >= self._amount and not self._waiting and not self._sender.busy:
            self._finish()
