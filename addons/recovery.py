"""What follows a failed attempt: another one, the provider's own answer, or an error of ours. Learns for the breakers.

Nothing is repeated that could be done twice without the route's table saying so, and nothing after the first byte.
"""

import enum
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from mitmproxy import http

from addons import patience, refusal
from addons.breakers import KEY_THRESHOLD, LONGEST_PAUSE, ORIGIN_THRESHOLD, Breakers
from addons.call import Call, Calls
from addons.ending import Refusal
from addons.failure import KEY_STATUSES, Failure, of_answer
from addons.refusal import fail_closed
from addons.targets import Targets, has_feature
from shared import logs
from shared.models import Feature
from shared.redis_schema import key_subject, origin_subject

# A client that retries by itself may ask us not to.
OPT_OUT_HEADER = "x-llm-proxy-retry"
ATTEMPTS_HEADER = "x-llm-proxy-attempts"
_IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))
# Back-off in seconds: half of it fixed, half random; doubled with each retry up to the longest.
FIRST_BACKOFF = 0.25
LONGEST_BACKOFF = 8.0

log = logs.get("upstream")


class Action(enum.Enum):
    """What to do about a failed attempt."""

    PASS = "pass"  # noqa: S105 - the provider's answer is passed on
    AGAIN = "again"
    END = "end"


@dataclass(frozen=True, slots=True)
class Decision:
    """`pause` in seconds goes with AGAIN, `refusal` with END."""

    action: Action
    pause: float = 0.0
    refusal: Refusal = refusal.UPSTREAM_ERROR


def backoff(retries: int, chance: Callable[[], float]) -> float:
    """Return the pause in seconds before a retry that follows `retries` others; `chance` gives 0..1."""
    whole = min(FIRST_BACKOFF * 2.0 ** min(retries, 16), LONGEST_BACKOFF)
    return whole / 2 * (1 + chance())


def failure_in(response: http.Response) -> Failure | None:
    """Return the failure that a provider's answer means, if any."""
    if response.status_code < 400:
        return None
    return of_answer(response.status_code, response.headers, datetime.now(UTC))


def _subjects(call: Call) -> list[str]:
    """Return the breakers that the current attempt has something to say about."""
    if call.credential is None:
        return []
    return [origin_subject(call.attempts.base_url), key_subject(call.credential.key_id)]


class Recovery:
    """Judges failures and waits before retries. `note_failure` and `note_retry` count them by provider."""

    def __init__(
        self,
        calls: Calls,
        breakers: Breakers,
        targets: Targets,
        note_failure: Callable[[str, str], None],
        note_retry: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.calls = calls
        self._breakers = breakers
        self._targets = targets
        self._note_failure = note_failure
        self._note_retry = note_retry
        self._clock = clock
        self._chance = chance

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Note whether the client wants retries."""
        headers = flow.request.headers
        if OPT_OUT_HEADER in headers:
            wish = headers.pop(OPT_OUT_HEADER)
            self.calls.of(flow).attempts.wanted = wish.strip().lower() not in ("off", "false", "0", "no")

    def judge(self, flow: http.HTTPFlow, failure: Failure, can_resend: bool) -> Decision:
        """Learn from a failed attempt and decide. `can_resend`: the request is still at hand, nothing was answered."""
        call = self.calls.of(flow)
        self._learn(call, failure)
        decision = self._decide(call, flow.request.method, failure, can_resend)
        if decision.action is Action.AGAIN:
            call.attempts.pause = decision.pause
            self._note_retry(call.provider.name if call.provider else "")
        log.warning(
            "attempt_failed",
            request_id=call.request_id,
            attempt=call.attempts.count,
            kind=failure.kind,
            origin=origin_subject(call.attempts.base_url),
            upstream_key_id=call.credential.key_id if call.credential else None,
            then=decision.action.value,
            pause=round(decision.pause, 3),
        )
        return decision

    @fail_closed
    async def upstream_retry(self, flow: http.HTTPFlow) -> None:
        """Wait before the next attempt, unless the request ends meanwhile."""
        call = self.calls.of(flow)
        if call.attempts.pause:
            await patience.wait(call, call.attempts.pause)

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """An answer that is no failure: origin and key work. Tell the client how many attempts it took."""
        call = self.calls.of(flow)
        if flow.response is None:
            return
        if call.attempts.count:
            flow.response.headers[ATTEMPTS_HEADER] = str(call.attempts.count)
        if call.refused_with is not None:
            self._targets.leave(call)
        elif failure_in(flow.response) is None:
            call.attempts.probes.clear()
            for subject in _subjects(call):
                self._breakers.succeeded(subject)

    def error(self, flow: http.HTTPFlow) -> None:
        """The request ended without a verdict on what it used: others may probe."""
        self._targets.leave(self.calls.of(flow))

    def _learn(self, call: Call, failure: Failure) -> None:
        self._note_failure(call.provider.name if call.provider else "", failure.kind)
        if failure.blames == "worker":
            self._targets.leave(call)  # Nothing was learned about the provider.
            return
        if not has_feature(call, Feature.BREAKER):
            return
        origin = origin_subject(call.attempts.base_url)
        key = key_subject(call.credential.key_id) if call.credential else ""
        if failure.blames == "key":
            self._breakers.failed(key, failure.kind, failure.retry_after, KEY_THRESHOLD)
            self._breakers.succeeded(origin)
        else:
            # One tenant's unlucky answer must not keep all others away for longer than the breaker itself would.
            pause = None if failure.retry_after is None else min(failure.retry_after, LONGEST_PAUSE)
            self._breakers.failed(origin, failure.kind, pause, ORIGIN_THRESHOLD)
            self._targets.leave_key(call)
        call.attempts.probes.clear()

    def _decide(self, call: Call, method: str, failure: Failure, can_resend: bool) -> Decision:
        if failure.blames == "worker":
            return Decision(Action.END, refusal=refusal.TOO_MANY_CONNECTIONS)
        policy = call.route.retry if call.route else None
        if policy is None or not can_resend or not call.attempts.wanted:
            return self._final(call, failure)
        if failure.blames == "key" and self._targets.fail_over(call):
            return Decision(Action.AGAIN)
        if not has_feature(call, Feature.RETRIES) or call.attempts.retries + 1 >= policy.attempts:
            return self._final(call, failure)
        is_repeatable = not failure.may_have_acted or policy.unsafe or method in _IDEMPOTENT
        if not is_repeatable or failure.status in KEY_STATUSES - {429}:
            return self._final(call, failure)
        pause = self._pause(call, failure)
        if self._clock() - call.attempts.started + pause > policy.within:
            return self._final(call, failure)
        call.attempts.retries += 1
        return Decision(Action.AGAIN, pause)

    def _pause(self, call: Call, failure: Failure) -> float:
        if failure.blames == "origin" and self._targets.fall_back(call):
            return 0.0
        pause = backoff(call.attempts.retries, self._chance)
        # What is kept away may be tried when its pause is over, and not a moment before.
        return max(pause, failure.retry_after or 0.0, self._targets.seconds_left(call, failure) + 0.01)

    def _final(self, call: Call, failure: Failure) -> Decision:
        if failure.status in (401, 402):  # The provider speaks of our key: that is none of the client's business.
            return Decision(Action.END, refusal=self._targets.keys_exhausted(call))
        if failure.status:
            return Decision(Action.PASS)
        if failure.kind.endswith("_timeout"):
            return Decision(Action.END, refusal=refusal.UPSTREAM_TIMEOUT)
        return Decision(Action.END)
