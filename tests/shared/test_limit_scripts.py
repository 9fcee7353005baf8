"""Limits on a real Valkey: what is taken, refused, given back, extended, found again and restored."""

import pytest
import redis

from shared import holds_schema
from shared.limits_schema import period_of
from shared.models import Amounts, Limit, Measure, Scope, Window
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
