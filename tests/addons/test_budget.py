"""An answer that outruns its reservation gets more, or is ended."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime

import msgspec
import pytest
import structlog.testing
from mitmproxy import http
from mitmproxy.test import tflow

from addons.budget import Budget
from addons.call import Call, Calls, Line
from addons.dialects.answer import Said
from addons.ending import Cause, Interruption
from addons.holds import Holds
from addons.interrupts import Interrupts
from addons.price_list import PriceList
from addons.store import StoreUnavailable
from addons.supply import STEP
from shared.holds_schema import NotExtended, OpenRequest, encode_request
from shared.models import Amounts, Caller, Feature, LimitState, Measure, Scope, Window
from tests.addons.fakes import FakeStore
from tests.addons.test_revocation import FakeHandler

DAY = LimitState(Scope.TOKEN, Measure.TOKENS, Window.DAY, 1000, 0, 60_000)


def held(tokens: int) -> bytes:
    request = OpenRequest("request-1", datetime.fromtimestamp(0).astimezone(), "openai", "chat.completions", "POST")
    taken = ["token-1", "project-1", "epoch-1", 7, 0, tokens, 0]
    return encode_request(request) + b"\n" + msgspec.msgpack.encode(taken)


class World:
    """A budget that looks every few milliseconds, and one answer that streams within it."""

    def __init__(self, calls: Calls, caller: Caller, admitted: tuple[http.HTTPFlow, Call]) -> None:
        self.store, self.holds, self.cuts = FakeStore(), Holds(), list[str]()
        self.handler = FakeHandler()
        interrupts = Interrupts(lambda: {"client": self.handler})  # type: ignore[dict-item]
        prices = PriceList(self.store)  # type: ignore[arg-type]
        self.budget = Budget(
            calls,
            self.store,
            self.holds,
            prices,
            interrupts,
            self.cuts.append,
            pause_seconds=0.005,  # type: ignore[arg-type]
        )
        self.flow, self.call = admitted
        self.call.caller = replace(caller, standing=(DAY,))
        self.call.line, self.call.said, self.call.prompt_estimate = Line("client", 1), Said(), 10
        self.holds.keep(self.call.request_id, held(100))
        self.flow.response = http.Response.make()

    def say(self, tokens: int) -> None:
        assert self.call.said is not None
        self.call.said.pieces += tokens

    async def settle_down(self) -> None:
        await asyncio.sleep(0.05)


@pytest.fixture
async def world(calls: Calls, caller: Caller, admitted: tuple[http.HTTPFlow, Call]) -> AsyncIterator[World]:
    made = World(calls, caller, admitted)
    made.budget.running()
    yield made
    await made.budget.done()


async def test_what_stays_within_its_reservation_costs_nothing(world: World) -> None:
    world.budget.responseheaders(world.flow)
    world.say(90)

    await world.settle_down()

    assert world.store.wanted == [] and world.cuts == []


async def test_what_outruns_it_gets_more_in_advance(world: World) -> None:
    world.budget.responseheaders(world.flow)
    world.store.extensions = [held(105 + STEP)]
    world.say(95)

    await world.settle_down()

    assert world.store.wanted == [(held(100), Amounts(105 + STEP, 0))]
    assert world.holds.of(world.call.request_id) == held(105 + STEP) and world.cuts == []
    world.say(STEP)
    await world.settle_down()
    assert len(world.store.wanted) == 1


async def test_the_last_bit_is_taken_before_an_answer_is_ended(world: World) -> None:
    world.budget.responseheaders(world.flow)
    world.store.extensions = [NotExtended(DAY), held(105)]
    world.say(95)
    await world.settle_down()
    assert [in_all.tokens for _, in_all in world.store.wanted] == [105 + STEP, 105] and world.cuts == []

    world.store.extensions = [NotExtended(DAY), NotExtended(DAY)]
    world.say(1)
    await world.settle_down()

    assert world.cuts == ["quota_exceeded"]
    [event] = world.handler.events
    assert isinstance(event.interruption, Interruption) and event.interruption.cause is Cause.CUT
    assert "1000 tokens per day" in event.interruption.refusal.message
    assert len(world.store.wanted) == 4


async def test_nobody_is_ended_because_redis_is_away_which_is_said_once(world: World) -> None:
    world.budget.responseheaders(world.flow)
    world.store.extensions = [StoreUnavailable("away"), StoreUnavailable("away"), held(200)]
    world.say(95)

    with structlog.testing.capture_logs() as lines:
        await world.settle_down()

    assert world.cuts == [] and len(world.store.wanted) == 3
    assert [line["event"] for line in lines] == ["reservations_not_extended"]


async def test_what_redis_takes_for_settled_is_ended(world: World) -> None:
    world.budget.responseheaders(world.flow)
    world.store.extensions = [NotExtended(None)]
    world.say(95)

    await world.settle_down()

    assert world.cuts == ["service_unavailable"] and len(world.store.wanted) == 1


async def test_what_ends_while_redis_is_asked_is_not_ended_again_and_the_others_are_watched(
    world: World, calls: Calls
) -> None:
    other = tflow.tflow(resp=True)
    other.request.method = "POST"
    other_call = calls.of(other)
    other_call.caller, other_call.route, other_call.provider = world.call.caller, world.call.route, world.call.provider
    other_call.said = Said()
    world.holds.keep(other_call.request_id, held(100))
    world.budget.responseheaders(world.flow)
    world.budget.responseheaders(other)

    def leave() -> None:
        world.budget.response(world.flow)
        world.budget.response(other)

    world.store.meanwhile, world.store.extensions = leave, [NotExtended(None)] * 3
    world.say(95)
    other_call.said.pieces += 200
    await world.settle_down()
    assert len(world.store.wanted) == 2 and world.cuts == []

    world.budget.responseheaders(world.flow)
    await world.settle_down()

    assert len(world.store.wanted) == 3


async def test_a_fault_does_not_end_the_watch(world: World) -> None:
    world.budget.responseheaders(world.flow)
    world.store.extensions = []  # To take one of these is an IndexError.
    world.say(95)

    with structlog.testing.capture_logs() as lines:
        await world.settle_down()
    assert {line["event"] for line in lines} == {"task_failed_and_goes_on"}
    world.store.extensions = [held(200)]
    async with asyncio.timeout(5):
        while world.holds.of(world.call.request_id) != held(200):
            await asyncio.sleep(0.01)


async def test_an_answer_that_has_ended_is_watched_no_longer(world: World) -> None:
    world.budget.responseheaders(world.flow)
    world.budget.response(world.flow)
    world.say(1000)

    await world.settle_down()

    assert world.store.wanted == []


@pytest.mark.parametrize("what", ["unlimited", "switched off", "refused", "free", "not held"])
async def test_only_what_is_limited_is_watched(world: World, what: str) -> None:
    assert world.call.caller is not None
    if what == "unlimited":
        world.call.caller = replace(world.call.caller, standing=())
    elif what == "switched off":
        project = replace(world.call.caller.project, features={Feature.BUDGET_CUT: False})
        world.call.caller = replace(world.call.caller, project=project)
    elif what == "refused":
        world.call.refused_with = "quota_exceeded"
    elif what == "free":
        world.flow.request.method = "GET"
    else:
        world.holds.settled(world.call.request_id)
    world.budget.responseheaders(world.flow)
    world.say(1000)

    await world.settle_down()

    assert world.store.wanted == []
