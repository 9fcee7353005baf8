"""Rules of supplying an answer: what it needs in all, a step ahead, and never for one that has been settled."""

from datetime import datetime

import pytest
from mitmproxy import http

from addons.call import Call
from addons.dialects.answer import Said
from addons.holds import Holds
from addons.price_list import PriceList
from addons.store import StoreUnavailable
from addons.supply import STEP, Supply, Watched
from shared.holds_schema import NotExtended
from shared.models import Amounts, LimitState, Measure, Scope, Window
from shared.prices import Price, PriceTable
from tests.addons.fakes import FakeStore

DAY = LimitState(Scope.TOKEN, Measure.TOKENS, Window.DAY, 1000, 0, 60_000)


class World:
    """An answer of 30 tokens for which 20 and some money are reserved."""

    def __init__(self, call: Call) -> None:
        self.store, self.holds = FakeStore(), Holds()
        self.prices = PriceList(self.store)  # type: ignore[arg-type]
        self.supply = Supply(self.store, self.holds, self.prices)  # type: ignore[arg-type]
        call.said, call.model = Said(), "gpt-4o"
        call.said.pieces += 30
        self.watched = Watched(call, 20, 1_000)
        self.holds.keep(call.request_id, b"held")

    @property
    def wanted(self) -> list[Amounts]:
        return [in_all for _, in_all in self.store.wanted]


@pytest.fixture
def world(admitted: tuple[http.HTTPFlow, Call]) -> World:
    return World(admitted[1])


async def test_tokens_and_money_are_asked_for_in_all(world: World, moment: datetime) -> None:
    world.store.table = PriceTable((Price("openai", "gpt-4o", prompt=1_000_000, completion=2_000_000),))
    await world.prices.refresh()
    world.store.extensions = [b"more"]

    assert await world.supply.give(world.watched) is None

    assert world.wanted == [Amounts(30 + STEP, 1_000 + (10 + STEP) * 2)]
    assert (world.watched.tokens, world.watched.cost) == (30 + STEP, 1_000 + (10 + STEP) * 2)
    assert world.holds.of(world.watched.call.request_id) == b"more" and not world.watched.is_short


async def test_after_a_lost_reply_the_same_is_asked_for(world: World) -> None:
    world.store.extensions = [StoreUnavailable("away"), b"more"]
    with pytest.raises(StoreUnavailable):
        await world.supply.give(world.watched)

    assert world.watched.is_short and await world.supply.give(world.watched) is None
    assert world.wanted[0] == world.wanted[1]


@pytest.mark.parametrize(
    ("answers", "denied", "asked"),
    [
        ([NotExtended(DAY), b"more"], None, [30 + STEP, 30]),
        ([NotExtended(DAY), NotExtended(DAY)], NotExtended(DAY), [30 + STEP, 30]),
        ([NotExtended(None)], NotExtended(None), [30 + STEP]),
    ],
    ids=["the last bit", "nothing", "settled"],
)
async def test_what_may_not_be_had_in_advance_is_asked_for_without_it(
    world: World, answers: list[bytes | NotExtended | StoreUnavailable], denied: NotExtended | None, asked: list[int]
) -> None:
    world.store.extensions = answers

    assert await world.supply.give(world.watched) == denied
    assert [in_all.tokens for in_all in world.wanted] == asked


async def test_nothing_is_asked_for_what_has_just_been_settled(world: World) -> None:
    world.holds.settled(world.watched.call.request_id)

    assert await world.supply.give(world.watched) is None and world.wanted == []
