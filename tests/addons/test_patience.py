"""What is waited for, how long, and what ends the wait."""

import asyncio
from dataclasses import replace

import pytest
from mitmproxy import http

from addons import patience
from addons.call import Call
from addons.ending import Cause, Interruption
from addons.refusal import TOKEN_INACTIVE
from shared.models import Feature
from shared.providers import RetryPolicy

STARTED = 1000.0


@pytest.fixture
def call(admitted: tuple[http.HTTPFlow, Call]) -> Call:
    _, call = admitted
    call.attempts.started = STARTED
    return with_retries(call, 3)


def with_retries(call: Call, attempts: int) -> Call:
    assert call.route is not None
    call.route = replace(call.route, retry=RetryPolicy(attempts, within=30.0))
    return call


@pytest.mark.parametrize(
    ("seconds", "later", "is_worth_it"),
    [(1, 0, True), (8, 0, True), (9, 0, False), (2, 28, True), (2, 29, False)],
    ids=str,
)
def test_the_wait_is_short_and_within_the_time_for_retries(
    call: Call, seconds: float, later: float, is_worth_it: bool
) -> None:
    assert patience.is_worth_waiting(call, seconds, STARTED + later) is is_worth_it


def test_who_wants_no_retries_is_not_kept_waiting(call: Call) -> None:
    call.attempts.wanted = False

    assert not patience.is_worth_waiting(call, 1, STARTED)


def test_a_route_without_retries_has_no_patience(call: Call) -> None:
    assert not patience.is_worth_waiting(with_retries(call, 1), 1, STARTED)


def test_a_project_can_do_without(call: Call) -> None:
    assert call.caller is not None
    call.caller = replace(call.caller, project=replace(call.caller.project, features={Feature.RETRIES: False}))

    assert not patience.is_worth_waiting(call, 1, STARTED)


async def test_a_wait_that_nothing_disturbs_takes_its_time(call: Call) -> None:
    assert await patience.wait(call, 0.01)
    assert call.attempts.waiter is None


async def test_a_wait_ends_when_the_request_does(call: Call) -> None:
    waiting = asyncio.create_task(patience.wait(call, 60))
    await asyncio.sleep(0)
    assert call.attempts.waiter is not None

    call.attempts.waiter.set()

    assert not await asyncio.wait_for(waiting, 5)


async def test_what_has_ended_does_not_begin_to_wait(call: Call) -> None:
    call.interruption = Interruption(Cause.CUT, TOKEN_INACTIVE)

    assert not await patience.wait(call, 60)
