"""An answer that outruns its reservation gets more, or is ended."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime

import msgspec
import pytest
from mitmproxy import http

from addons.budget import STEP, Budget
from addons.call import Call, Calls, Line
from addons.dialects.answer import Said
from addons.ending import Cause, Interruption
from addons.holds import Holds
from addons.interrupts import Interrupts
from addons.price_list import PriceList
from addons.store import StoreUnavailable
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

    assert world.store.wanted == [(held(100), Amounts(5 + STEP, 0))]
    assert world.holds.of(world.call.request_id) == held(105 + STEP) and world.cuts == []
    world.say(STEP)
    await world.settle_down()
    assert len(world.store.wanted) == 1


async def test_the_last_bit_is_taken_before_an_answer_is_ended(world: World) -> None:
    world.budget.responseheaders(world.flow)
    world.store.extensions = [NotExtended(DAY), held(105)]
    world.say(95)
    await world.settle_down()
    assert [more.tokens for _, more in world.store.wanted] == [5 + STEP, 5] and world.cuts == []

    world.store.extensions = [NotExtended(DAY), NotExtended(DAY)]
    world.say(1)
    await world.settle_down()

    assert world.cuts == ["quota_exceeded"]
    [event] = world.handler.events
    assert isinstance(event.interruption, Interruption) and event.interruption.cause is Cause.CUT
    assert "1000 tokens per day" in event.interruption.refusal.message
    assert len(world.store.wanted) == 4


async def test_nobody_is_ended_because_redis_is_away_or_has_settled(world: World) -> None:
    world.budget.responseheaders(world.flow)
    world.store.extensions = [StoreUnavailable("away"), NotExtended(None), NotExtended(None), held(200)]
    world.say(95)

    await world.settle_down()

    assert world.cuts == [] and len(world.store.wanted) == 4


async def test_an_answer_that_has_ended_is_watched_no_longer(world: World) -> None:
    world.budget.responseheaders(world.flow)
    world.budget.response(world.flow)
    world.say(1000)

    await world.settle_down()

    assert world.store.wanted == []


@pytest.mark.parametrize("what", ["unlimited", "switched off", "refused", "not held"])
async def test_only_what_is_limited_is_watched(world: World, what: str) -> None:
    assert world.call.caller is not None
    if what == "unlimited":
        world.call.caller = replace(world.call.caller, standing=())
    elif what == "switched off":
        project = replace(world.call.caller.project, features={Feature.BUDGET_CUT: False})
        world.call.caller = replace(world.call.caller, project=project)
    elif what == "refused":
        world.call.refused_with = "quota_exceeded"
    else:
        world.holds.settled(world.call.request_id)
    world.budget.responseheaders(world.flow)
    world.say(1000)

    await world.settle_down()

    assert world.store.wanted == []
