"""Running requests are renewed; those of a dead worker are settled by whoever finds them."""

import asyncio
from datetime import datetime

import msgspec
import pytest
import structlog.testing

from addons import leases
from addons.holds import Holds
from addons.leases import Leases
from addons.price_list import PriceList
from addons.settlement import Settlement
from addons.store import StoreUnavailable
from shared.holds_schema import OpenRequest, encode_request
from shared.models import NOTHING, Amounts, Outcome, Usage
from shared.prices import Price, PriceTable
from tests.addons.fakes import FakeStore


def held(moment: datetime, prompt: int | None) -> bytes:
    request = OpenRequest("request-1", moment, "openai", "chat.completions", "POST", "gpt-4o", True, prompt)
    taken = ["token-1", "project-1", "epoch-1", 7, 0, 50, 0]
    return encode_request(request) + b"\n" + msgspec.msgpack.encode(taken)


class World:
    """Leases over a fake store, and what they settle."""

    def __init__(self) -> None:
        self.store, self.holds, self.settled = FakeStore(), Holds(), list[Settlement]()
        self.prices = PriceList(self.store)  # type: ignore[arg-type]
        self.leases = Leases(self.store, self.holds, self.settled.append, self.prices)  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    return World()


async def test_what_runs_here_is_renewed(world: World) -> None:
    world.holds.keep("1", b"one")
    world.holds.keep("2", b"two")

    await world.leases.renew()

    assert world.store.renewed == [["1", "2"]] and world.settled == []


@pytest.mark.parametrize(
    ("prompt", "usage", "actual"),
    [(10, Usage(10, None, 10, is_estimate=True), Amounts(10, 30)), (None, Usage(), NOTHING)],
    ids=["with a prompt", "without"],
)
async def test_what_nobody_renews_is_lost_and_charged_with_its_prompt(
    world: World, moment: datetime, prompt: int | None, usage: Usage, actual: Amounts
) -> None:
    world.store.table = PriceTable((Price("openai", "gpt-4o", prompt=3_000_000),))
    await world.prices.refresh()
    world.store.expired = [("request-1", held(moment, prompt))]

    await world.leases.renew()

    [settlement] = world.settled
    event = settlement.event
    assert (event.request_id, event.outcome, event.sequence, event.status) == ("request-1", Outcome.LOST, 7, 0)
    assert (event.token_id, event.project_id, event.model) == ("token-1", "project-1", "gpt-4o")
    assert event.occurred_at == moment and event.usage == usage and event.duration_ms > 0
    assert settlement.hold == held(moment, prompt) and settlement.actual == actual


async def test_what_cannot_be_read_is_set_aside(world: World, moment: datetime) -> None:
    world.store.expired = [("request-0", b"nonsense"), ("request-1", held(moment, 10))]

    with structlog.testing.capture_logs() as lines:
        await world.leases.renew()

    assert [line["event"] for line in lines] == ["hold_not_readable", "request_lost"] and len(world.settled) == 1
    assert world.store.buried == [("request-0", b"nonsense")]


@pytest.mark.parametrize(
    ("fault", "said"),
    [(StoreUnavailable("away"), ["leases_not_renewed"]), (ValueError("a fault"), ["task_failed_and_goes_on"])],
    ids=["Redis is away", "a fault"],
)
async def test_it_goes_on_whatever_happens(world: World, fault: Exception, said: list[str]) -> None:
    class Failing(FakeStore):
        async def renew(self, request_ids: object) -> list[tuple[str, bytes]]:
            self.renewed.append([])
            raise fault

    store = Failing()
    made = Leases(store, world.holds, world.settled.append, world.prices, pause_seconds=0.01)  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as lines:
        made.running()
        async with asyncio.timeout(5):
            while len(store.renewed) < 2:
                await asyncio.sleep(0.005)
        await made.done()

    assert [line["event"] for line in lines][:1] == said
    assert leases.PAUSE_SECONDS * 3000 < leases.LEASE_MS
