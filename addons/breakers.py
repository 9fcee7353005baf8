"""Circuit breakers: what has failed is left alone for a while, then tried with one request, then trusted again.

There is one for each upstream key and one for each origin, so that a bad key of one project closes no door to others.
All workers share what one has learned: changes go out over the control channel, and `hear` takes them in. Without
Redis each worker goes on with what it sees itself.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from shared import logs
from shared.redis_schema import BreakerChange

# Failures of an origin in a row until its breaker opens; a key's first failure is enough.
ORIGIN_THRESHOLD = 5
KEY_THRESHOLD = 1
# Failures that lie further apart than this, in seconds, are not in a row.
FORGET_SECONDS = 60.0
# Pauses in seconds: the first one, doubled with each opening in a row, up to the longest.
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
# How long a probe may take before another request may probe.
PROBE_SECONDS = 30.0

log = logs.get("breakers")


@dataclass(slots=True)
class Breaker:
    """Times are seconds since the epoch, since workers share them. `is_probing`: the probe of all workers is ours."""

    failures: int = 0
    failed_at: float = 0.0
    openings: int = 0
    reason: str = ""
    open_until: float = 0.0
    probed_until: float = 0.0
    is_probing: bool = False

    @property
    def is_open(self) -> bool:
        """Whether requests are kept away, except for one probe when the pause is over."""
        return self.openings > 0


def _opened(subject: str, breaker: Breaker) -> BreakerChange:
    return BreakerChange(subject, True, breaker.reason, round(breaker.open_until * 1000), breaker.openings)


class Breakers:
    """All breakers of one worker, by subject; those that are closed and have no failures are forgotten.

    `share` hands a change to the other workers and makes room for the next probe, `take_probe` asks for the only probe
    of all workers, `note` counts changes by kind of subject and state.
    """

    def __init__(
        self,
        share: Callable[[BreakerChange], None],
        take_probe: Callable[[str, float], Awaitable[bool]],
        note: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._share = share
        self._take_probe = take_probe
        self._note = note
        self._clock = clock
        self._by_subject: dict[str, Breaker] = {}

    def allows(self, subject: str) -> bool:
        """Tell whether a request could pass now, perhaps as a probe."""
        breaker = self._by_subject.get(subject)
        return breaker is None or not breaker.is_open or self._clock() >= max(breaker.open_until, breaker.probed_until)

    def is_open(self, subject: str) -> bool:
        """Tell whether it is open: whoever has entered all the same is its probe."""
        breaker = self._by_subject.get(subject)
        return breaker is not None and breaker.is_open

    def seconds_left(self, subject: str) -> float:
        """Return the seconds until a request may pass, or a probe has perhaps succeeded; 0.0 if one may now."""
        breaker = self._by_subject.get(subject)
        if breaker is None or not breaker.is_open:
            return 0.0
        now = self._clock()
        return max(0.0, breaker.open_until - now, min(breaker.probed_until - now, FIRST_PAUSE))

    async def enter(self, subject: str) -> bool:
        """Let a request pass or not; an open breaker whose pause is over lets one through, of all workers' requests."""
        if not self.allows(subject):
            return False
        breaker = self._by_subject.get(subject)
        if breaker is None or not breaker.is_open:
            return True
        breaker.probed_until = self._clock() + PROBE_SECONDS
        if not await self._take_probe(subject, PROBE_SECONDS):
            breaker.probed_until = self._clock() + FIRST_PAUSE  # Another worker is probing; its result will be heard.
            return False
        breaker.is_probing = True
        if breaker.open_until > self._clock():  # Another worker's probe has failed in this very moment.
            self.leave(subject)
            return False
        self._tell(subject, "half_open", breaker)
        return True

    def leave(self, subject: str) -> None:
        """A request that had entered ended without saying anything about the subject: the next one may probe."""
        breaker = self._by_subject.get(subject)
        if breaker is not None and breaker.is_probing:
            breaker.probed_until, breaker.is_probing = 0.0, False
            self._share(_opened(subject, breaker))

    def succeeded(self, subject: str) -> None:
        """Close: whatever failed before, it works now."""
        breaker = self._by_subject.pop(subject, None)
        if breaker is not None and breaker.is_open:
            self._tell(subject, "closed", breaker)
            self._share(BreakerChange(subject, is_open=False))

    def failed(self, subject: str, reason: str, pause: float | None, threshold: int) -> None:
        """Count a failure; open after `threshold` in a row, for `pause` seconds or else for a growing while."""
        now = self._clock()
        breaker = self._by_subject.setdefault(subject, Breaker())
        if not breaker.is_open and now - breaker.failed_at > FORGET_SECONDS:
            breaker.failures = 0
        breaker.failures, breaker.failed_at = breaker.failures + 1, now
        is_straggler = breaker.is_open and now < breaker.open_until
        if breaker.failures < threshold or is_straggler:
            return
        breaker.openings += 1
        breaker.reason = reason
        breaker.probed_until, breaker.is_probing = 0.0, False
        growing = min(FIRST_PAUSE * 2 ** min(breaker.openings - 1, 16), LONGEST_PAUSE)
        breaker.open_until = now + (growing if pause is None else pause)
        self._tell(subject, "open", breaker)
        self._share(_opened(subject, breaker))

    def hear(self, change: BreakerChange) -> None:
        """Take in what another worker has learned."""
        if not change.is_open:
            self._by_subject.pop(change.subject, None)
            return
        breaker = self._by_subject.setdefault(change.subject, Breaker())
        breaker.openings, breaker.reason = change.openings, change.reason
        breaker.failures = max(breaker.failures, ORIGIN_THRESHOLD)
        breaker.open_until, breaker.probed_until, breaker.is_probing = change.until_ms / 1000, 0.0, False

    def _tell(self, subject: str, state: str, breaker: Breaker) -> None:
        self._note(subject.partition(":")[0], state)
        log.warning(
            "breaker_changed",
            subject=subject,
            state=state,
            reason=breaker.reason,
            openings=breaker.openings,
            seconds=round(max(0.0, breaker.open_until - self._clock()), 3),
        )
