"""What follows a failed attempt: decided by what failed, what the route allows, and what else could be tried."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from addons import refusal
from addons.breakers import FIRST_PAUSE, LONGEST_PAUSE, Breakers
from addons.call import Call, Calls, UpstreamCredential
from addons.ending import Cause, Interruption
from addons.failure import CLOSED, FIRST_BYTE_TIMEOUT, Failure, of_answer, of_connect_error
from addons.recovery import FIRST_BACKOFF, LONGEST_BACKOFF, Action, Recovery, backoff
from addons.targets import Targets
from shared.models import Caller, Feature, Project, UpstreamKey
from shared.providers import ProviderTable, RetryPolicy
from shared.redis_schema import key_subject, origin_subject
from tests.addons.conftest import pass_through, request

REFUSED = of_connect_error("[Errno 111] Connect call failed")
HOME, SPARE = "https://one.example", "https://two.example/v1"


def answered(status: int, **headers: str) -> Failure:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    failed = of_answer(status, named, datetime(2026, 3, 1, tzinfo=UTC))
    assert failed is not None
    return failed


@dataclass
class Trial:
    """One request of a project with two keys and a fallback, in its first attempt, and what was counted."""

    table: ProviderTable
    keys: tuple[str, ...] = ("k1", "k2")
    fallback_urls: tuple[str, ...] = ()
    features: dict[Feature, bool] = field(default_factory=dict)
    method: str = "POST"
    policy: RetryPolicy = RetryPolicy(attempts=3, within=30.0, unsafe=True)
    now: float = 100.0
    counted: list[tuple[str, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.calls = Calls()
        self.flow = request(self.method, "/v1/chat/completions")
        keys = tuple(UpstreamKey(name, "sealed") for name in self.keys)
        project = Project("p1", "openai", True, HOME, keys, 1, fallback_urls=self.fallback_urls, features=self.features)
        self.call = self.calls.of(self.flow)
        self.call.caller, self.call.provider = Caller("t1", "", project, 1), self.table.providers["openai"]
        self.call.route = replace(self.table.match("POST", "/v1/chat/completions").routes["openai"], retry=self.policy)
        self.call.credential = UpstreamCredential("k1", "authorization", "Bearer secret")
        self.call.attempts.base_url, self.call.attempts.started, self.call.attempts.count = HOME, self.now, 1
        self.breakers = Breakers(lambda change: None, self._take_probe, lambda *change: None, lambda: self.now)
        self.targets = Targets(self.breakers, chance=lambda: 0.5)
        self.recovery = Recovery(
            self.calls,
            self.breakers,
            self.targets,
            lambda provider, kind: self.counted.append((provider, kind)),
            lambda provider: self.counted.append((provider,)),
            clock=lambda: self.now,
            chance=lambda: 0.0,
        )

    async def _take_probe(self, subject: str, seconds: float) -> bool:
        return True

    def judge(self, failed: Failure, can_resend: bool = True) -> Action:
        return self.recovery.judge(self.flow, failed, can_resend).action


@pytest.mark.parametrize("status", [401, 402, 403, 429])
def test_another_key_is_tried_at_once_and_the_failed_one_set_aside(table: ProviderTable, status: int) -> None:
    trial = Trial(table)

    decision = trial.recovery.judge(trial.flow, answered(status), can_resend=True)

    assert (decision.action, decision.pause) == (Action.AGAIN, 0.0)
    assert [key.id for key in trial.targets.pick_keys(trial.call)] == ["k2"]
    assert not trial.breakers.allows(key_subject("k1")) and trial.breakers.allows(origin_subject(HOME))


def test_a_key_that_failed_is_set_aside_for_as_long_as_the_provider_asks(table: ProviderTable) -> None:
    trial = Trial(table)

    trial.judge(answered(429, retry_after="20"))

    assert trial.breakers.seconds_left(key_subject("k1")) == 20.0


@pytest.mark.parametrize("status", [401, 402])
def test_when_all_keys_are_out_the_providers_words_about_them_are_kept_from_the_client(
    table: ProviderTable, status: int
) -> None:
    trial = Trial(table, keys=("k1",))

    decision = trial.recovery.judge(trial.flow, answered(status, retry_after="20"), can_resend=True)

    assert (decision.action, decision.refusal.status) == (Action.END, 503)
    assert (decision.refusal.code, decision.refusal.retry_after) == ("upstream_keys_exhausted", 20)


def test_a_rate_limit_of_the_only_key_is_waited_for_if_the_route_has_time(table: ProviderTable) -> None:
    trial = Trial(table, keys=("k1",))

    decision = trial.recovery.judge(trial.flow, answered(429, retry_after="5"), can_resend=True)

    assert decision.action is Action.AGAIN and decision.pause >= 5.0
    trial.now += decision.pause
    assert [key.id for key in trial.targets.pick_keys(trial.call)] == ["k1"]


@pytest.mark.parametrize(("status", "wait"), [(429, "40"), (403, "1")])
def test_what_cannot_be_healed_is_the_providers_own_answer(table: ProviderTable, status: int, wait: str) -> None:
    assert Trial(table, keys=("k1",)).judge(answered(status, retry_after=wait)) is Action.PASS


@pytest.mark.parametrize("failed", [REFUSED, CLOSED, FIRST_BYTE_TIMEOUT, answered(500), answered(503), answered(408)])
def test_a_request_that_may_be_repeated_is_repeated(table: ProviderTable, failed: Failure) -> None:
    trial = Trial(table)

    assert trial.judge(failed) is Action.AGAIN
    assert trial.counted == [("openai", failed.kind), ("openai",)]


@pytest.mark.parametrize(
    ("failed", "action"),
    [
        (REFUSED, Action.AGAIN),
        (CLOSED, Action.END),
        (FIRST_BYTE_TIMEOUT, Action.END),
        (answered(500), Action.PASS),
        (answered(429), Action.AGAIN),
    ],
)
def test_a_post_that_is_not_on_the_list_is_repeated_only_if_nothing_can_have_happened(
    table: ProviderTable, failed: Failure, action: Action
) -> None:
    assert Trial(table, policy=RetryPolicy(unsafe=False)).judge(failed) is action


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_idempotent_methods_need_no_list(table: ProviderTable, method: str) -> None:
    assert Trial(table, method=method, policy=RetryPolicy(unsafe=False)).judge(CLOSED) is Action.AGAIN


def test_a_first_byte_that_never_comes_ends_as_a_timeout(table: ProviderTable) -> None:
    trial = Trial(table)

    decision = trial.recovery.judge(trial.flow, FIRST_BYTE_TIMEOUT, can_resend=False)

    assert decision.refusal == refusal.UPSTREAM_TIMEOUT


def test_attempts_are_bounded(table: ProviderTable) -> None:
    trial = Trial(table)

    assert [trial.judge(CLOSED) for _ in range(3)] == [Action.AGAIN, Action.AGAIN, Action.END]


def test_time_is_bounded(table: ProviderTable) -> None:
    trial = Trial(table)
    trial.now += 30.0

    assert trial.judge(answered(503)) is Action.PASS


def test_a_wait_that_the_provider_asks_for_is_kept_and_not_exceeded(table: ProviderTable) -> None:
    trial = Trial(table)

    decision = trial.recovery.judge(trial.flow, answered(503, retry_after="9"), can_resend=True)

    assert decision.action is Action.AGAIN and decision.pause == 9.0
    assert Trial(table).judge(answered(503, retry_after="31")) is Action.PASS


@pytest.mark.parametrize("wish", ["off", "OFF", " no ", "false", "0"])
async def test_a_client_that_retries_by_itself_may_say_so(table: ProviderTable, wish: str) -> None:
    trial = Trial(table)
    trial.flow.request.headers["x-llm-proxy-retry"] = wish

    await pass_through("requestheaders", trial.flow, trial.recovery)

    assert trial.judge(CLOSED) is Action.END
    assert "x-llm-proxy-retry" not in trial.flow.request.headers


def test_what_has_been_answered_or_is_not_at_hand_any_more_is_never_repeated(table: ProviderTable) -> None:
    assert Trial(table).judge(answered(429), can_resend=False) is Action.PASS
    assert Trial(table).judge(CLOSED, can_resend=False) is Action.END


@pytest.mark.parametrize(
    ("feature", "failed", "action"),
    [
        (Feature.RETRIES, answered(503), Action.PASS),
        (Feature.RETRIES, REFUSED, Action.END),
        (Feature.RETRIES, answered(429), Action.AGAIN),
        (Feature.KEY_FAILOVER, answered(403), Action.PASS),
        (Feature.KEY_FAILOVER, answered(503), Action.AGAIN),
    ],
)
def test_each_behaviour_can_be_switched_off(
    table: ProviderTable, feature: Feature, failed: Failure, action: Action
) -> None:
    assert Trial(table, features={feature: False}).judge(failed) is action


def test_without_breakers_nothing_is_set_aside(table: ProviderTable) -> None:
    trial = Trial(table, features={Feature.BREAKER: False})

    for _ in range(9):
        trial.judge(answered(429))
        trial.judge(CLOSED)

    assert trial.breakers.allows(key_subject("k1")) and trial.breakers.allows(origin_subject(HOME))


async def test_a_fallback_is_tried_at_once_when_the_provider_is_down(table: ProviderTable) -> None:
    trial = Trial(table, fallback_urls=(SPARE,))

    decision = trial.recovery.judge(trial.flow, REFUSED, can_resend=True)

    assert (decision.action, decision.pause) == (Action.AGAIN, 0.0)
    assert await trial.targets.pick_url(trial.call) == SPARE


async def test_when_all_have_failed_the_first_is_tried_again(table: ProviderTable) -> None:
    trial = Trial(table, fallback_urls=(SPARE,))
    trial.judge(REFUSED)
    trial.call.attempts.base_url = SPARE

    decision = trial.recovery.judge(trial.flow, REFUSED, can_resend=True)

    assert decision.pause > 0 and await trial.targets.pick_url(trial.call) == HOME


async def test_a_fallback_takes_over_while_the_breaker_of_the_first_is_open(table: ProviderTable) -> None:
    trial = Trial(table, fallback_urls=(SPARE,))
    for _ in range(5):
        trial.breakers.failed(origin_subject(HOME), "refused", None, 5)

    assert await trial.targets.pick_url(trial.call) == SPARE
    trial.features[Feature.FALLBACK] = False
    assert await trial.targets.pick_url(trial.call) is None


async def test_no_fallback_and_an_open_breaker_is_a_refusal_with_the_soonest_retry(table: ProviderTable) -> None:
    trial = Trial(table)
    for _ in range(5):
        trial.breakers.failed(origin_subject(HOME), "refused", 12.2, 5)

    assert await trial.targets.pick_url(trial.call) is None
    down = trial.targets.origins_down(trial.call)
    assert (down.status, down.code, down.retry_after) == (503, "circuit_open", 13)


async def test_success_closes_the_breakers_of_what_was_used_and_tells_the_attempts(table: ProviderTable) -> None:
    trial = Trial(table)
    trial.judge(answered(429))
    trial.now += FIRST_PAUSE
    trial.flow.response = http.Response.make(200)

    trial.recovery.responseheaders(trial.flow)

    assert trial.breakers.seconds_left(key_subject("k1")) == 0.0
    assert trial.flow.response.headers["x-llm-proxy-attempts"] == "1"


@pytest.mark.parametrize("refused_with", [None, "quota_exceeded"])
def test_our_own_refusals_and_the_providers_failures_close_nothing(
    table: ProviderTable, refused_with: str | None
) -> None:
    trial = Trial(table)
    trial.judge(answered(429))
    trial.call.refused_with = refused_with
    trial.flow.response = http.Response.make(429 if refused_with is None else 200)

    trial.recovery.responseheaders(trial.flow)

    assert trial.breakers.seconds_left(key_subject("k1")) > 0.0


async def test_a_request_that_ends_without_a_verdict_lets_others_probe(table: ProviderTable) -> None:
    trial = Trial(table)
    trial.judge(answered(429))
    trial.now += FIRST_PAUSE
    assert await trial.targets.enters(trial.call, UpstreamKey("k1", ""))

    trial.recovery.error(trial.flow)

    assert trial.breakers.allows(key_subject("k1"))


async def test_an_interruption_ends_the_pause(table: ProviderTable) -> None:
    trial = Trial(table)
    trial.call.attempts.pause = 60.0
    waiting = asyncio.create_task(trial.recovery.upstream_retry(trial.flow))
    while trial.call.attempts.waiter is None:
        await asyncio.sleep(0)

    trial.call.attempts.waiter.set()

    await asyncio.wait_for(waiting, 5)


async def test_what_has_been_interrupted_waits_for_nothing(table: ProviderTable) -> None:
    trial = Trial(table)
    trial.call.attempts.pause = 60.0
    trial.call.interruption = Interruption(Cause.CUT, refusal.TOKEN_INACTIVE)

    await asyncio.wait_for(trial.recovery.upstream_retry(trial.flow), 5)


def test_backoff_doubles_is_jittered_by_half_and_bounded() -> None:
    assert [backoff(retries, lambda: 1.0) for retries in range(3)] == [0.25, 0.5, 1.0]
    assert backoff(0, lambda: 0.0) == FIRST_BACKOFF / 2
    assert backoff(1000, lambda: 1.0) == LONGEST_BACKOFF


def test_a_flow_that_was_never_admitted_is_never_repeated() -> None:
    calls = Calls()
    breakers = Breakers(lambda change: None, lambda *_: asyncio.sleep(0, True), lambda *change: None)
    recovery = Recovery(calls, breakers, Targets(breakers), lambda *_: None, lambda _: None)

    assert recovery.judge(tflow.tflow(), CLOSED, can_resend=True).action is Action.END
    assert Call().attempts.count == 0


@pytest.mark.parametrize("end", ["responseheaders", "error"])
async def test_a_probe_that_we_end_ourselves_makes_room_for_the_next(table: ProviderTable, end: str) -> None:
    trial = Trial(table)
    for _ in range(5):
        trial.breakers.failed(origin_subject(HOME), "refused", None, 5)
    trial.now += FIRST_PAUSE
    assert await trial.targets.pick_url(trial.call) == HOME and not trial.breakers.allows(origin_subject(HOME))
    trial.call.refused_with, trial.flow.response = "request_too_large", http.Response.make(413)

    getattr(trial.recovery, end)(trial.flow)

    assert trial.breakers.allows(origin_subject(HOME))


async def test_nobody_gives_back_the_probe_of_another(table: ProviderTable) -> None:
    trial = Trial(table)
    trial.judge(answered(429))
    trial.now += FIRST_PAUSE
    assert await trial.targets.enters(Trial(table).call, UpstreamKey("k1", ""))

    trial.recovery.error(trial.flow)

    assert not trial.breakers.allows(key_subject("k1"))


def test_one_answer_keeps_a_provider_away_no_longer_than_a_breaker_would(table: ProviderTable) -> None:
    trial = Trial(table)
    for _ in range(5):
        trial.judge(answered(503, retry_after="3600"))

    assert trial.breakers.seconds_left(origin_subject(HOME)) == LONGEST_PAUSE
