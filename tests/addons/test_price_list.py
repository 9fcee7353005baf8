"""The data plane follows the published prices; what has none costs nobody knows what."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest
from mitmproxy import http

from addons.call import Call
from addons.price_list import PriceList
from shared.models import Outcome, Usage, UsageEvent
from shared.prices import Price, PriceTable
from tests.addons.fakes import FakeStore

TABLE = PriceTable(
    (
        Price("openai", "gpt-*", prompt=1_000_000_000, completion=4_000_000_000),
        Price("openai", "text-embedding-*", prompt=20_000_000),
    )
)


@pytest.fixture
def store() -> FakeStore:
    made = FakeStore()
    made.table = TABLE
    return made


@pytest.mark.parametrize(
    ("model", "cost"),
    [("gpt-4o", 1_000 * 10 + 4_000 * 5), ("text-embedding-3-small", 20 * 10), ("unheard-of", None), (None, None)],
    ids=["chat", "only reads", "unknown", "unnamed"],
)
async def test_a_request_is_estimated_by_its_model(
    admitted: tuple[http.HTTPFlow, Call], store: FakeStore, model: str | None, cost: int | None
) -> None:
    prices, call = PriceList(store), admitted[1]  # type: ignore[arg-type]
    call.model = model
    assert prices.estimate(call, 10, 5) is None

    await prices.refresh()

    assert prices.estimate(call, 10, 5) == cost


async def test_the_published_table_is_followed(admitted: tuple[http.HTTPFlow, Call], store: FakeStore) -> None:
    prices, call = PriceList(store, pause_seconds=0.01), admitted[1]  # type: ignore[arg-type]
    call.model = "gpt-4o"
    prices.running()
    async with asyncio.timeout(5):
        while prices.estimate(call, 1, 0) != 1_000:
            await asyncio.sleep(0.005)

    store.table = PriceTable((Price("openai", "gpt-4o", prompt=2_000_000_000, completion=0),))
    async with asyncio.timeout(5):
        while prices.estimate(call, 1, 0) != 2_000:
            await asyncio.sleep(0.005)

    await prices.done()


async def test_a_redis_that_has_lost_the_table_changes_nothing(
    admitted: tuple[http.HTTPFlow, Call], store: FakeStore
) -> None:
    prices, call = PriceList(store), admitted[1]  # type: ignore[arg-type]
    call.model = "gpt-4o"
    assert not prices.is_known
    await prices.refresh()
    store.published = b""

    await prices.refresh()

    assert prices.is_known and prices.estimate(call, 1, 0) == 1_000
    store.published = b"nonsense"
    await prices.refresh()
    assert prices.estimate(call, 1, 0) == 1_000


async def test_a_model_that_served_under_another_name_costs_what_was_asked_for(
    store: FakeStore, moment: datetime
) -> None:
    prices = PriceList(store)  # type: ignore[arg-type]
    await prices.refresh()
    event = UsageEvent(
        "0", moment, "p", "t", "k", 1, "openai", "models", "GET", "deployment-7", 200, Outcome.FINISHED, None, False, 1,
        0, 2, 1.0, 0.5, Usage(10, 5, 15), model_asked="gpt-4o",
    )  # fmt: skip

    assert prices.cost(event) == 1_000 * 10 + 4_000 * 5
    assert prices.cost(replace(event, model_asked="unheard-of")) is None
