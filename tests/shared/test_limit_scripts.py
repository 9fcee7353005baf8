"""Limits on a real Valkey: what is taken, refused, given back, extended, found again and restored."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis

from shared import holds_schema, redis_schema
from shared.holds_schema import Counter, NotExtended
from shared.limits_schema import period_of
from shared.models import Amounts, Caller, Denial, Limit, LimitState, Measure, OnOutage, Scope, Window
from shared.redis_schema import Denied
from tests.shared.limit_scripts import LEASE_MS, START, Limits

TOKENS_A_DAY = Limit(Measure.TOKENS, Window.DAY, 100)
TOKENS_A_MINUTE = Limit(Measure.TOKENS, Window.MINUTE, 100)
COST_A_MONTH = Limit(Measure.COST, Window.MONTH, 1000)
COST_OF_LIFE = Limit(Measure.COST, Window.LIFE, 1000)
THREE_AT_ONCE = Limit(Measure.CONCURRENT, Window.LIFE, 3)
TEN_A_SECOND = Limit(Measure.REQUESTS, Window.SECOND, 10)
DAY = period_of(Window.DAY, START)


@pytest.fixture
def limits(redis_client: redis.Redis) -> Limits:
    """One token without limits, and a clock that stands still."""
    return Limits(redis_client)


def test_a_hold_says_whose_it_is_and_what_is_reserved(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY, TEN_A_SECOND]).hold(40, 7)

    held = holds_schema.decode_hold(hold)
    assert (held.request.request_id, held.request.token_id, held.request.project_id) == ("r1", "t1", "p1")
    assert (held.sequence, held.reserved) == (1, Amounts(40, 7))
    assert limits.open() == {hold: LEASE_MS}


def test_what_was_reserved_is_replaced_by_what_was_needed(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY], [COST_OF_LIFE], [THREE_AT_ONCE]).hold(40, 700)
    reserved = [limits.used(scope) for scope in Scope]

    answer = limits.settle(hold, 25, 900)

    assert reserved == [{"tokens:day": f"{DAY}:40"}, {"cost:life": ":700"}, {"concurrent:life": ":1"}]
    assert answer == 1
    used = [limits.used(scope) for scope in Scope]
    assert used == [{"tokens:day": f"{DAY}:25"}, {"cost:life": ":900"}, {"concurrent:life": ":0"}]
    assert (limits.open(), limits.events()) == ({}, 1)


def test_of_many_requests_exactly_as_many_are_admitted_as_fit(limits: Limits) -> None:
    limits.limit([TOKENS_A_DAY])

    verdicts = [limits.admit(30) for _ in range(5)]

    assert [bool(verdict) for verdict in verdicts] == [True] * 3 + [False] * 2
    assert limits.admit(10)
    assert limits.used() == {"tokens:day": f"{DAY}:100"}


def test_the_largest_amounts_are_exact(limits: Limits) -> None:
    most = 2**53
    limits.limit([Limit(Measure.TOKENS, Window.LIFE, most)])
    hold = limits.hold(most - 1)

    assert not limits.admit(2, request_id="r2")
    assert limits.admit(1, request_id="r2")
    assert not limits.admit(1, request_id="r3")
    assert not limits.extend(hold, most)
    assert limits.used() == {"tokens:life": f":{most}"}


@pytest.mark.parametrize("asked", [2**53, 2**53 + 1, 2**63, 2**64, 2**80])
def test_whatever_is_asked_for_a_hold_reads(limits: Limits, asked: int) -> None:
    hold = limits.limit([COST_OF_LIFE]).hold(asked, 5)

    extended = limits.extend(hold, asked * 2, 6)

    assert holds_schema.decode_hold(hold).reserved == Amounts(2**53, 5)
    assert isinstance(extended, bytes)
    assert holds_schema.decode_hold(extended).reserved == Amounts(2**53, 6)


@pytest.mark.parametrize("scope", Scope)
def test_a_limit_that_denies_leaves_all_the_others_as_they_are(limits: Limits, scope: Scope) -> None:
    roomy, tight = [TOKENS_A_MINUTE, TEN_A_SECOND, THREE_AT_ONCE], [Limit(Measure.COST, Window.LIFE, 5)]
    limits.limit(*[tight if each is scope else roomy for each in Scope])

    verdict = limits.admit(10, 6)

    state = LimitState(scope, Measure.COST, Window.LIFE, 5, 5, None)
    assert isinstance(verdict, Denied)
    assert (verdict.reason, verdict.limit, verdict.retry_after_ms) == (Denial.QUOTA_EXCEEDED, state, -1)
    assert [limits.used(each) for each in Scope] == [{}, {}, {}]
    assert limits.open() == {}


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (Limit(Measure.REQUESTS, Window.DAY, 0), Denial.RATE_LIMIT_EXCEEDED),
        (Limit(Measure.REQUESTS, Window.LIFE, 0), Denial.QUOTA_EXCEEDED),
        (Limit(Measure.TOKENS, Window.MINUTE, 0), Denial.RATE_LIMIT_EXCEEDED),
        (Limit(Measure.TOKENS, Window.DAY, 0), Denial.QUOTA_EXCEEDED),
        (Limit(Measure.COST, Window.MONTH, 0), Denial.QUOTA_EXCEEDED),
        (Limit(Measure.CONCURRENT, Window.LIFE, 0), Denial.RATE_LIMIT_EXCEEDED),
    ],
    ids=["requests a day", "requests", "tokens a minute", "tokens a day", "cost a month", "concurrent"],
)
def test_a_limit_of_nothing_denies_for_good(limits: Limits, limit: Limit, reason: Denial) -> None:
    verdict = limits.limit([limit]).admit(1, 1)

    assert isinstance(verdict, Denied)
    assert (verdict.reason, verdict.retry_after_ms) == (reason, -1)


def test_of_several_limits_that_deny_the_one_that_does_so_longest_is_told(limits: Limits) -> None:
    limits.limit([TOKENS_A_MINUTE], [TOKENS_A_DAY], [THREE_AT_ONCE])
    limits.hold(100)

    verdict = limits.admit(1)

    assert isinstance(verdict, Denied)
    assert verdict.limit is not None
    assert (verdict.limit.scope, verdict.limit.window) == (Scope.PROJECT, Window.DAY)
    tomorrow = START.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    assert verdict.retry_after_ms == (tomorrow - START) / timedelta(milliseconds=1)


def test_what_costs_nothing_passes_where_all_is_used_up(limits: Limits) -> None:
    limits.limit([TOKENS_A_DAY, COST_OF_LIFE])
    limits.settle(limits.hold(100, 1000), 150, 2000)

    assert limits.admit(0, 0)
    assert not limits.admit(1, 0)


@pytest.mark.parametrize(
    ("tokens", "cost", "is_pending"),
    [(None, None, True), (None, 5, True), (5, None, False), (5, 5, False)],
    ids=["neither", "cost only", "tokens only", "both"],
)
def test_nothing_is_taken_until_all_that_is_counted_is_known(
    limits: Limits, tokens: int | None, cost: int | None, is_pending: bool
) -> None:
    caller = limits.limit([TOKENS_A_DAY, TEN_A_SECOND]).admit(tokens, cost)

    assert isinstance(caller, Caller)
    assert caller.has_budget
    assert (caller.is_pending, caller.hold is None, caller.sequence == 0) == (is_pending,) * 3
    assert (limits.used() == {}, limits.open() == {}) == (is_pending, is_pending)
    assert {state.measure: state.remaining for state in caller.standing} == (
        {Measure.TOKENS: 100, Measure.REQUESTS: 10} if is_pending else {Measure.TOKENS: 95, Measure.REQUESTS: 9}
    )


def test_of_unknown_need_is_refused_what_has_nothing_left(limits: Limits) -> None:
    limits.limit([TOKENS_A_DAY]).hold(100)

    assert not limits.admit(None, None)


def test_a_peek_writes_nothing_and_names_all_limits(limits: Limits) -> None:
    local = Limit(Measure.REQUESTS, Window.MINUTE, 5, 2, OnOutage.LOCAL_SHARE)
    limits.limit([local], [THREE_AT_ONCE], [TOKENS_A_DAY])
    before = {key: limits.client.dump(key) for key in limits.client.keys()}

    caller = limits.admit(5, 5, is_peek=True)

    assert isinstance(caller, Caller)
    assert caller.limits == ((Scope.TOKEN, local), (Scope.PROJECT, THREE_AT_ONCE), (Scope.GLOBAL, TOKENS_A_DAY))
    assert (caller.hold, caller.sequence) == (None, 0)
    assert {key: limits.client.dump(key) for key in limits.client.keys()} == before


def test_a_peek_runs_where_scripts_may_only_read(limits: Limits) -> None:
    keys, arguments = redis_schema.encode_admission(
        limits.token.digest, ["openai"], Amounts(1, 1), b"{}", LEASE_MS, is_peek=True
    )

    reply = limits.client.execute_command("EVAL_RO", redis_schema.script("admit"), len(keys), *keys, *arguments)

    assert isinstance(redis_schema.decode_admission(reply), Caller)


@pytest.mark.parametrize("step", ["admit", "extend", "settle"])
def test_a_server_without_memory_does_nothing_by_halves(limits: Limits, step: str) -> None:
    limits.limit([TOKENS_A_DAY, TEN_A_SECOND], [COST_OF_LIFE], [THREE_AT_ONCE])
    hold = limits.hold(1, 1)
    before = {key: limits.client.dump(key) for key in limits.client.keys()}
    limits.client.config_set("maxmemory", 1)

    try:
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            {"admit": limits.admit, "extend": lambda: limits.extend(hold, 5), "settle": lambda: limits.settle(hold, 5)}[
                step
            ]()
    finally:
        limits.client.config_set("maxmemory", 0)

    assert {key: limits.client.dump(key) for key in limits.client.keys()} == before


# Periods


@pytest.mark.parametrize(
    ("window", "last", "first"),
    [
        (Window.MINUTE, "2026-03-14T15:09:59.999999", "2026-03-14T15:10:00"),
        (Window.DAY, "2026-03-14T23:59:59.999999", "2026-03-15T00:00:00"),
        (Window.MONTH, "2026-02-28T23:59:59.999999", "2026-03-01T00:00:00"),
        (Window.MONTH, "2028-02-29T23:59:59.999999", "2028-03-01T00:00:00"),
        (Window.MONTH, "2100-02-28T23:59:59.999999", "2100-03-01T00:00:00"),
        (Window.MONTH, "2026-12-31T23:59:59.999999", "2027-01-01T00:00:00"),
        (Window.MONTH, "2026-04-30T23:59:59.999999", "2026-05-01T00:00:00"),
    ],
    ids=["minute", "day", "February", "leap year", "no leap year", "year", "April"],
)
def test_a_counter_starts_anew_with_its_very_period(limits: Limits, window: Window, last: str, first: str) -> None:
    before, after = (datetime.fromisoformat(moment).replace(tzinfo=UTC) for moment in (last, first))
    limits.token = replace(limits.token, expires_at=datetime(2200, 1, 1, tzinfo=UTC))
    limits.limit([Limit(Measure.TOKENS, window, 100)])
    limits.at(before)
    limits.hold(100)

    late = limits.admit(1)
    limits.at(after)

    assert isinstance(late, Denied)
    assert late.retry_after_ms == 1
    assert limits.admit(100)
    assert limits.used() == {f"tokens:{window}": f"{period_of(window, after)}:100"}


@pytest.mark.parametrize("window", [Window.MINUTE, Window.DAY, Window.MONTH])
def test_what_was_reserved_in_a_period_that_is_over_is_settled_there(limits: Limits, window: Window) -> None:
    limits.limit([Limit(Measure.TOKENS, window, 100)])
    hold = limits.hold(60)
    limits.wait(31 * 86_400_000_000)
    limits.hold(50, request_id="r2")

    limits.settle(hold, 10)

    assert limits.used()[f"tokens:{window}"].endswith(":50")


def test_what_was_used_in_a_period_before_is_not_given_back_in_the_next(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_MINUTE]).hold(60)
    limits.wait(60_000_000)
    limits.hold(30, request_id="r2")
    extended = limits.extend(hold, 80)
    assert isinstance(extended, bytes)

    limits.settle(extended, 10)

    assert limits.used()["tokens:minute"].endswith(":30")


def test_what_was_extended_in_the_next_period_is_settled_there(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_MINUTE]).hold(60)
    limits.wait(60_000_000)
    extended = limits.extend(hold, 80)
    assert isinstance(extended, bytes)

    limits.settle(extended, 75)

    assert limits.used()["tokens:minute"].endswith(":15")


# Rates


def test_a_burst_may_come_at_once_and_then_one_after_the_other(limits: Limits) -> None:
    limits.limit([Limit(Measure.REQUESTS, Window.MINUTE, 3, burst=2)])

    at_once = [bool(limits.admit()) for _ in range(3)]
    refused = limits.admit()
    limits.wait(19_999_999)
    early = limits.admit()
    limits.wait(1)

    assert at_once == [True, True, False]
    assert isinstance(refused, Denied)
    assert refused.retry_after_ms == 20_000
    assert isinstance(early, Denied)
    assert early.retry_after_ms == 1
    assert limits.admit()


def test_a_rate_does_not_drift(limits: Limits) -> None:
    limits.limit([Limit(Measure.REQUESTS, Window.SECOND, 3, burst=3)])
    admitted = 0

    for _ in range(1000):
        admitted += bool(limits.admit())
        limits.wait(10_007)

    assert admitted == 3 + 999 * 10_007 * 3 // 1_000_000


def test_less_than_a_microsecond_between_requests_is_counted(limits: Limits) -> None:
    limits.limit([Limit(Measure.REQUESTS, Window.SECOND, 4_000_000, burst=1)])

    admitted = 0
    for _ in range(5):
        admitted += bool(limits.admit()) + bool(limits.admit())
        limits.wait(1)

    assert admitted == 5


def test_a_clock_that_goes_back_gives_no_requests_and_is_waited_for(limits: Limits) -> None:
    limits.limit([Limit(Measure.REQUESTS, Window.MINUTE, 2, burst=1)]).hold()
    limits.wait(-5_000_000)

    verdict = limits.admit()
    limits.wait(34_999_999)
    early = limits.admit()
    limits.wait(1)

    assert isinstance(verdict, Denied)
    assert verdict.retry_after_ms == 35_000
    assert not early
    assert limits.admit()


def test_a_rate_is_never_given_back(limits: Limits) -> None:
    limits.limit([Limit(Measure.REQUESTS, Window.HOUR, 1)])
    limits.settle(limits.hold())

    assert not limits.admit()


# Ending


def test_settling_again_appends_the_event_and_changes_nothing(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY, THREE_AT_ONCE]).hold(40)

    answers = [limits.settle(hold, tokens) for tokens in (30, 30, 90)]

    assert answers == [1, 0, 0]
    assert limits.used() == {"tokens:day": f"{DAY}:30", "concurrent:life": ":0"}
    assert limits.events() == 3


def test_what_is_not_known_stays_as_it_was_reserved(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY, COST_OF_LIFE]).hold(40, 400)

    limits.settle(hold, 30, None)

    assert limits.used() == {"tokens:day": f"{DAY}:30", "cost:life": ":400"}


def test_without_a_hold_only_the_event_is_appended(limits: Limits) -> None:
    assert limits.settle(None, 5, 5) == 0
    assert (limits.events(), limits.used()) == (1, {})


def test_what_was_lost_is_charged_in_full_and_once(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY, THREE_AT_ONCE], [COST_OF_LIFE]).hold(40, 400)
    limits.client.delete(redis_schema.used_key(Scope.TOKEN, "t1"), redis_schema.used_key(Scope.PROJECT, "p1"))
    limits.client.delete(redis_schema.OPEN, redis_schema.HOLDS, redis_schema.EPOCH)

    before = limits.settle(hold, 30, None)
    limits.declare("e2")
    after = limits.settle(hold, 30, None)

    assert (before, after) == (2, 0)
    assert limits.used() == {"tokens:day": f"{DAY}:30"}
    assert limits.used(Scope.PROJECT) == {"cost:life": ":400"}
    assert limits.events() == 2


@pytest.mark.parametrize("later", [(), (Limit(Measure.TOKENS, Window.DAY, 10),)], ids=["removed", "lowered"])
def test_a_limit_that_changed_meanwhile_is_settled_all_the_same(limits: Limits, later: tuple[Limit, ...]) -> None:
    hold = limits.limit([TOKENS_A_DAY]).hold(40)
    limits.limit(later, [TOKENS_A_DAY])

    limits.settle(hold, 30)

    assert limits.used() == {"tokens:day": f"{DAY}:30"}
    assert limits.used(Scope.PROJECT) == {}


# Extending


def test_an_extension_takes_from_all_counters_or_from_none(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY], [COST_OF_LIFE]).hold(40, 400)

    refused = limits.extend(hold, 50, 1001)
    extended = limits.extend(hold, 50, 1000)

    state = LimitState(Scope.PROJECT, Measure.COST, Window.LIFE, 1000, 600, None)
    assert refused == NotExtended(state)
    assert isinstance(extended, bytes)
    assert holds_schema.decode_hold(extended).reserved == Amounts(50, 1000)
    assert (limits.used(), limits.used(Scope.PROJECT)) == ({"tokens:day": f"{DAY}:50"}, {"cost:life": ":1000"})
    assert list(limits.open()) == [extended]


def test_to_ask_for_the_same_again_takes_nothing(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY]).hold(40)

    answers = [limits.extend(hold, tokens) for tokens in (60, 60, 50)]

    assert answers[0] == answers[1] == answers[2]
    assert limits.used() == {"tokens:day": f"{DAY}:60"}


def test_what_is_settled_is_not_extended_any_longer(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY]).hold(40)
    limits.settle(hold, 30)

    assert limits.extend(hold, 50) == NotExtended(None)
    assert limits.used() == {"tokens:day": f"{DAY}:30"}


def test_an_extension_that_nobody_heard_of_is_settled_all_the_same(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY, THREE_AT_ONCE]).hold(40)
    limits.extend(hold, 60)

    assert isinstance(limits.extend(hold, 70), bytes)
    assert [limits.settle(hold, 65), limits.settle(hold, 65)] == [1, 0]
    assert limits.used() == {"tokens:day": f"{DAY}:65", "concurrent:life": ":0"}
    assert limits.open() == {}


def test_what_was_taken_for_lost_is_taken_in_again_when_it_needs_more(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY, THREE_AT_ONCE]).hold(40)
    limits.settle(hold, 10, is_lost=True)

    extended = limits.extend(hold, 50)

    assert limits.used() == {"tokens:day": f"{DAY}:50", "concurrent:life": ":1"}
    assert list(limits.open()) == [extended]
    assert [limits.settle(hold, 45), limits.settle(hold, 45)] == [1, 0]
    assert limits.used() == {"tokens:day": f"{DAY}:45", "concurrent:life": ":0"}


def test_what_the_server_has_lost_is_taken_in_again_if_the_limits_allow_it(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY]).hold(40)
    limits.client.delete(redis_schema.used_key(Scope.TOKEN, "t1"), redis_schema.OPEN, redis_schema.HOLDS)
    limits.client.delete(redis_schema.EPOCH)

    with pytest.raises(redis.exceptions.ResponseError, match="nothing has been published"):
        limits.extend(hold, 50)
    limits.declare("e2")
    refused, extended = limits.extend(hold, 101), limits.extend(hold, 50)

    assert isinstance(refused, NotExtended) and refused.limit is not None and refused.limit.remaining == 100
    assert list(limits.open()) == [extended] and limits.used() == {"tokens:day": f"{DAY}:50"}


# Leases


def test_holds_are_found_when_nobody_has_renewed_them_in_time(limits: Limits) -> None:
    first, _ = limits.hold(request_id="r1"), limits.hold(request_id="r2")
    limits.outlast(LEASE_MS - 1)
    assert limits.expired(["r2"]) == {}

    limits.wait(1000)

    assert limits.expired(at_most=0) == {}
    assert limits.expired() == {"r1": first}


def test_a_lease_is_not_renewed_for_what_has_ended(limits: Limits) -> None:
    hold = limits.hold()
    limits.settle(hold)

    assert limits.expired(["r1"]) == {}
    assert limits.open() == {}


def test_thousands_of_leases_are_renewed_at_once(limits: Limits) -> None:
    ids = [f"r{number}" for number in range(1203)]
    for request_id in ids:
        limits.hold(request_id=request_id)
    limits.outlast(LEASE_MS)

    assert limits.expired(ids) == {}
    assert set(limits.open().values()) == {LEASE_MS}


def test_nobody_is_taken_for_lost_while_nobody_could_renew(limits: Limits) -> None:
    for number in range(1203):
        limits.hold(request_id=f"r{number}")
    limits.expired()
    limits.wait((LEASE_MS + 1) * 1000)

    assert limits.expired(["r1"]) == {}
    assert set(limits.open().values()) == {LEASE_MS}
    limits.outlast(LEASE_MS)
    assert len(limits.expired(["r1"], 2000)) == 1202


def test_what_is_taken_for_lost_is_charged_as_its_finder_says_and_once(limits: Limits) -> None:
    hold = limits.limit([TOKENS_A_DAY, THREE_AT_ONCE]).hold(40)

    answers = [limits.settle(hold, tokens, is_lost=True) for tokens in (10, 15)]

    assert answers == [1, 0]
    assert limits.used() == {"tokens:day": f"{DAY}:10", "concurrent:life": ":0"}
    assert limits.events() == 1


@pytest.mark.parametrize(("actual", "charged"), [(90, 90), (5, 5), (None, 40)], ids=["more", "less", "unknown"])
def test_the_real_end_of_a_request_that_was_taken_for_lost_counts(
    limits: Limits, actual: int | None, charged: int
) -> None:
    hold = limits.limit([TOKENS_A_DAY, THREE_AT_ONCE]).hold(40)
    limits.settle(hold, 10, is_lost=True)
    limits.hold(1, request_id="r2")

    answers = [limits.settle(hold, actual), limits.settle(hold, actual), limits.settle(hold, 10, is_lost=True)]

    assert answers == [3, 0, 0]
    assert limits.used() == {"tokens:day": f"{DAY}:{charged + 1}", "concurrent:life": ":1"}
    assert limits.events() == 3


def test_marks_of_what_was_lost_are_forgotten_after_a_day(limits: Limits) -> None:
    limits.settle(limits.hold(), 10, is_lost=True)

    assert 0 < limits.client.pttl(f"{holds_schema.MARK_PREFIX}r1") <= 86_400_000


def test_what_nobody_can_read_is_set_aside(limits: Limits) -> None:
    limits.hold()
    limits.client.hset(redis_schema.HOLDS, "r1", b"nonsense")
    limits.outlast(LEASE_MS)
    [(request_id, hold)] = limits.expired().items()

    answers = [limits.bury(request_id, hold, "unreadable") for _ in range(2)]

    assert (answers, limits.open()) == ([1, 0], {})
    [(_, letter)] = limits.client.xrange(redis_schema.USAGE_DEAD_LETTERS)
    assert letter == {b"event": b"nonsense", b"reason": b"unreadable", b"entry": b"r1"}


def test_what_runs_without_a_hold_is_forgotten(limits: Limits) -> None:
    limits.hold()
    limits.client.delete(redis_schema.HOLDS)
    limits.outlast(LEASE_MS)

    assert limits.expired() == {}
    assert limits.client.zcard(redis_schema.OPEN) == 0


# Restoring and forgetting


@pytest.mark.parametrize(("known", "expected"), [(50, 60), (60, 60), (70, 70)], ids=["less", "the same", "more"])
def test_counters_are_only_raised(limits: Limits, known: int, expected: int) -> None:
    limits.limit([TOKENS_A_DAY]).hold(60)

    raised = limits.restore(Scope.TOKEN, "t1", Counter(Measure.TOKENS, Window.DAY, DAY, known))

    assert raised == (known > 60)
    assert limits.used() == {"tokens:day": f"{DAY}:{expected}"}


def test_what_was_used_in_a_period_that_is_over_restores_nothing(limits: Limits) -> None:
    limits.limit([TOKENS_A_DAY]).hold(60)
    yesterday = period_of(Window.DAY, START - timedelta(days=1))

    assert limits.restore(Scope.TOKEN, "t1", Counter(Measure.TOKENS, Window.DAY, yesterday, 99)) == 0
    assert limits.used() == {"tokens:day": f"{DAY}:60"}


def test_what_is_restored_counts(limits: Limits) -> None:
    limits.limit([], [], [TOKENS_A_DAY, COST_A_MONTH, Limit(Measure.REQUESTS, Window.LIFE, 5)])
    month = period_of(Window.MONTH, START)

    raised = limits.restore(
        Scope.GLOBAL, "",
        Counter(Measure.TOKENS, Window.DAY, DAY, 99), Counter(Measure.COST, Window.MONTH, month, 1000),
        Counter(Measure.REQUESTS, Window.LIFE, 0, 4),
    )  # fmt: skip

    assert raised == 3
    assert not limits.admit(2)
    assert not limits.admit(0, 1)
    assert limits.admit(1)
    assert not limits.admit()


def test_what_a_token_has_used_is_forgotten_together_with_its_record(limits: Limits) -> None:
    limits.limit([TOKENS_A_DAY]).hold(1)
    keys = [redis_schema.token_key(limits.token.digest), redis_schema.used_key(Scope.TOKEN, "t1")]

    first = [limits.client.pexpiretime(key) for key in keys]
    limits.token = replace(limits.token, expires_at=datetime(2110, 1, 1, tzinfo=UTC))
    limits.limit([TOKENS_A_DAY])
    later = [limits.client.pexpiretime(key) for key in keys]

    assert first[0] == first[1] < later[0] == later[1]


def test_what_projects_and_all_have_used_is_not_forgotten(limits: Limits) -> None:
    limits.limit([], [TOKENS_A_DAY], [TOKENS_A_DAY]).hold(1)

    assert limits.client.ttl(redis_schema.used_key(Scope.PROJECT, "p1")) == -1
    assert limits.client.ttl(redis_schema.used_key(Scope.GLOBAL)) == -1
