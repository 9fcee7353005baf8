"""Whatever happens in whatever order, the scripts on a real Valkey do what the model in plain Python does."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared import redis_schema
from shared.holds_schema import MARK_PREFIX, NotExtended, decode_hold
from shared.models import WINDOWS, Caller, Limit, Measure, Scope, Window
from shared.redis_schema import Denied
from tests.shared.limit_model import SECONDS, Model, Refusal, Request, is_rate, name_of
from tests.shared.limit_scripts import LEASE_MS, Limits

PAIRS = [(measure, window) for measure in Measure for window in sorted(WINDOWS[measure])]
# Counters that start anew are where most can go wrong.
PAIRS += [(measure, window) for measure, window in PAIRS if window in (Window.MINUTE, Window.DAY, Window.MONTH)] * 2
# A few at a time, so that limits are reached, and what is at the edge of the numbers that fit.
AMOUNTS = st.integers(0, 12) | st.integers(10, 40) | st.sampled_from([1, 1000, 2**31, 2**53 - 1, 2**53])
NEEDS = st.integers(0, 6) | st.sampled_from([2**31, 2**53 - 1, 2**53, 2**80])
LIMITS = st.lists(
    st.builds(lambda pair, amount, burst: Limit(*pair, amount, burst), st.sampled_from(PAIRS), AMOUNTS,
              st.none() | st.integers(0, 5)),
    max_size=3,
    unique_by=lambda limit: (limit.measure, limit.window),
)  # fmt: skip
# Microseconds. Backwards, too: a server's clock may be set.
STEPS = st.sampled_from(
    [0, 1, 999, 1000, 100_000, 333_333, 1_000_000, 20_000_000, 60_000_000, 3_600_000_000, 86_400_000_000,
     28 * 86_400_000_000, 31 * 86_400_000_000, -1, -1_000_000, -86_400_000_000]
)  # fmt: skip
STARTS = st.datetimes(datetime(2026, 1, 1), datetime(2101, 1, 1), timezones=st.just(UTC)) | st.sampled_from(  # noqa: DTZ001
    [datetime(2027, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2028, 2, 28, 23, 59, 59, tzinfo=UTC),
     datetime(2100, 2, 28, 12, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)]
)  # fmt: skip


class LimitsMachine(RuleBasedStateMachine):
    """Drives both, and compares after each step."""

    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.real = Limits(self.client, "0")
        self.real.token = replace(self.real.token, expires_at=datetime(2200, 1, 1, tzinfo=UTC))
        self.model = Model({scope: () for scope in Scope})
        # Requests, by their ids, and their holds as their workers know them.
        self.holds: dict[str, bytes | None] = {}
        self.meant: dict[str, Request] = {}
        self.number = 0
        self.events = 0

    @initialize(moment=STARTS, token=LIMITS, project=LIMITS, everyone=LIMITS, most=st.none() | st.integers(0, 20))
    def begin(
        self, moment: datetime, token: list[Limit], project: list[Limit], everyone: list[Limit], most: int | None
    ) -> None:
        self.real.at(moment)
        self.model.now = self.real.now
        self.change(token, project, everyone, most)

    @rule(token=LIMITS, project=LIMITS, everyone=LIMITS, most=st.none() | st.integers(0, 20))
    def change(self, token: list[Limit], project: list[Limit], everyone: list[Limit], most: int | None) -> None:
        self.real.limit(token, project, everyone, most)
        self.model.limits = {Scope.TOKEN: tuple(token), Scope.PROJECT: tuple(project), Scope.GLOBAL: tuple(everyone)}
        self.model.max_requests = most

    @rule(step=STEPS)
    def step(self, step: int) -> None:
        self.real.wait(step)
        self.model.now += step

    @rule(step=st.sampled_from([LEASE_MS * 500 - 1000, LEASE_MS * 500, LEASE_MS * 500 + 1000]))
    def outlast_half_a_lease(self, step: int) -> None:
        self.step(step)

    @rule(tokens=NEEDS, cost=NEEDS)
    def admit(self, tokens: int, cost: int) -> None:
        self._admit(tokens, cost)

    @rule(tokens=NEEDS, cost=NEEDS)
    def admit_unheard(self, tokens: int, cost: int) -> None:
        """The reply is lost: nobody knows that the request is held, until its lease expires."""
        self._admit(tokens, cost, is_heard=False)

    @rule(tokens=st.none() | NEEDS, cost=st.none() | NEEDS)
    def admit_unknown(self, tokens: int | None, cost: int | None) -> None:
        self._admit(tokens, cost)

    def _admit(self, tokens: int | None, cost: int | None, is_heard: bool = True) -> None:
        self.number += 1
        verdict = self.real.admit(tokens, cost, f"r{self.number}")

        if self._is_denied(verdict, tokens, cost):
            return
        assert isinstance(verdict, Caller)
        is_pending = self.model.is_pending(tokens, cost)
        assert (verdict.is_pending, verdict.hold is None) == (is_pending, is_pending)
        if verdict.hold is not None:
            request = self.model.take(tokens or 0, cost or 0, LEASE_MS)
            if is_heard:
                request.hear()
            self.holds[f"r{self.number}"], self.meant[f"r{self.number}"] = verdict.hold if is_heard else None, request
            assert verdict.sequence == self.model.requests
        self._check_standing(verdict)

    @rule(tokens=st.none() | NEEDS, cost=st.none() | NEEDS)
    def peek(self, tokens: int | None, cost: int | None) -> None:
        verdict = self.real.admit(tokens, cost, is_peek=True)

        if not self._is_denied(verdict, tokens, cost):
            assert isinstance(verdict, Caller)
            most = self.model.max_requests
            of_life = [] if most is None else [(Scope.TOKEN, Limit(Measure.REQUESTS, Window.LIFE, most))]
            assert list(verdict.limits) == of_life + self.model.all_limits()
            assert verdict.is_pending
            self._check_standing(verdict)

    def _is_denied(self, verdict: Caller | Denied, tokens: int | None, cost: int | None) -> bool:
        refusals = self.model.refusals(tokens, cost)
        assert bool(verdict) is not bool(refusals), (verdict, refusals)
        if isinstance(verdict, Caller):
            return False
        longest = -1 if any(refusal.wait == -1 for refusal in refusals) else max(each.wait for each in refusals)
        first = next(refusal for refusal in refusals if refusal.wait == longest)
        assert verdict.limit is not None
        limit = verdict.limit
        assert (limit.scope, limit.measure, limit.window) == first.name
        assert (verdict.retry_after_ms, limit.remaining) == (longest, first.remaining)
        return True

    def _check_standing(self, caller: Caller) -> None:
        measures = {limit.measure for _, limit in self.model.all_limits()}
        measures |= set() if self.model.max_requests is None else {Measure.REQUESTS}
        assert {state.measure for state in caller.standing} == measures
        assert len(caller.standing) == len(measures)
        for state in caller.standing:
            assert state.remaining == min(self._left(state.measure)), (state, self.model)

    def _left(self, measure: Measure) -> Iterator[int]:
        if measure is Measure.REQUESTS and self.model.max_requests is not None:
            yield max(0, self.model.max_requests - self.model.requests)
        for scope, limit in self.model.all_limits():
            name = name_of(scope, limit)
            if limit.measure is not measure:
                continue
            if is_rate(limit):
                length = SECONDS[limit.window] * 1_000_000
                burst = limit.amount if limit.burst is None else limit.burst
                yield max(0, (burst * length - self.model.rate(name, limit).level) // length)
            else:
                yield max(0, limit.amount - self.model.counter(name).used)

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), tokens=st.none() | NEEDS, cost=st.none() | NEEDS)
    def settle(self, data: st.DataObject, tokens: int | None, cost: int | None) -> None:
        """Again and again, as if the reply were lost."""
        self._settle(self._any(data), tokens, cost)

    def _any(self, data: st.DataObject) -> str:
        # Of the newest ones, so that many things happen to the same.
        return data.draw(st.sampled_from(list(self.holds)[-4:]))

    def _settle(self, request_id: str, tokens: int | None, cost: int | None, is_lost: bool = False) -> None:
        answer = self.real.settle(self.holds[request_id], tokens, cost, request_id, is_lost)

        assert answer == self.model.settle(self.meant[request_id], tokens, cost, is_lost)
        self.events += not is_lost or answer > 0

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), tokens=NEEDS, cost=NEEDS, is_heard=st.booleans())
    def extend(self, data: st.DataObject, tokens: int, cost: int, is_heard: bool) -> None:
        request_id = self._any(data)
        hold, request = self.holds[request_id], self.meant[request_id]
        if hold is None:
            return
        outcome = self.model.extend(request, tokens, cost, LEASE_MS)

        extended = self.real.extend(hold, tokens, cost)

        assert bool(extended) is (outcome is True)
        if isinstance(extended, NotExtended):
            assert (extended.limit is None) is (outcome is False)
            if extended.limit is not None and isinstance(outcome, Refusal):
                assert extended.limit.remaining == outcome.remaining
        elif is_heard:
            self.holds[request_id] = extended
            request.hear()

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), tokens=st.none() | NEEDS, cost=st.none() | NEEDS)
    def renew_and_reap(self, data: st.DataObject, tokens: int | None, cost: int | None) -> None:
        renewed = data.draw(st.lists(st.sampled_from(list(self.holds)), max_size=3))

        expired = self.real.expired(renewed)

        meant = self.model.renew([self.meant[each] for each in renewed], list(self.meant.values()), LEASE_MS)
        assert set(expired) == {
            request_id for request_id, request in self.meant.items() if any(request is each for each in meant)
        }
        for request_id in expired:
            self._settle(request_id, tokens, cost, is_lost=True)

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), tokens=st.none() | NEEDS, cost=st.none() | NEEDS)
    def take_for_lost(self, data: st.DataObject, tokens: int | None, cost: int | None) -> None:
        self._settle(self._any(data), tokens, cost, is_lost=True)

    @rule(loses=st.booleans())
    def restart(self, loses: bool) -> None:
        """The server comes back with its data, or without."""
        if loses:
            for scope, scope_id in ((Scope.TOKEN, "t1"), (Scope.PROJECT, "p1"), (Scope.GLOBAL, "")):
                self.client.delete(redis_schema.used_key(scope, scope_id))
            self.client.delete(redis_schema.OPEN, redis_schema.HOLDS, redis_schema.RENEWED)
            self.client.delete(*[f"{MARK_PREFIX}{request_id}" for request_id in ["", *self.holds]])
            self.model.lose()
            for request in self.meant.values():
                request.is_open, request.mark = False, None
        self.model.epoch += 1
        self.real.declare(str(self.model.epoch))

    @invariant()
    def counts_what_is_meant(self) -> None:
        for (scope, measure, window), counter in self.model.counters.items():
            written = self.real.used(scope)[f"{measure}:{window}"].split(":")
            moment = counter.period if window is not Window.MONTH else counter.period[0] * 12 + counter.period[1] - 1  # type: ignore[index]
            assert written == ["" if window is Window.LIFE else str(moment), str(counter.used)]
        now = self.model.now // 1000
        expiries = {decode_hold(hold).request.request_id: now + rest for hold, rest in self.real.open().items()}
        assert expiries == {request_id: each.expires_at for request_id, each in self.meant.items() if each.is_open}
        held = [decode_hold(hold) for hold in self.real.open()]
        reserved = {each.request.request_id: (each.reserved.tokens, each.reserved.cost) for each in held}
        running = {request_id: each.hold for request_id, each in self.meant.items() if each.is_open}
        assert reserved == {request_id: (hold.tokens, hold.cost) for request_id, hold in running.items()}
        assert self.real.events() == self.events


def test_the_scripts_do_what_the_model_does(redis_client: redis.Redis) -> None:
    machine = type("Machine", (LimitsMachine,), {"client": redis_client})

    # To find a smaller case takes longer than a test may.
    few = settings(
        max_examples=100,
        stateful_step_count=50,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=few)
