"""Rules of handing over usage: in order, in batches, nothing lost while Redis is away."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
import structlog.testing

from addons import usage_log
from addons.store import StoreUnavailable
from addons.usage_log import UsageLog
from shared.models import Outcome, Usage, UsageEvent


class FakeSink:
    """Fails as often as told, then takes everything."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.batches: list[list[str]] = []
        self.taken = asyncio.Event()

    async def append(self, events: Sequence[UsageEvent]) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        self.batches.append([event.request_id for event in events])
        self.taken.set()


@pytest.fixture
def event(moment: datetime) -> UsageEvent:
    return UsageEvent(
        "0", moment, "p", "t", "k", 1, "openai", "models", "GET", None, 200, Outcome.FINISHED, None, False, 1, 0, 2,
        1.0, 0.5, Usage(),
    )  # fmt: skip


def numbered(event: UsageEvent, number: int) -> UsageEvent:
    return replace(event, request_id=str(number))


async def test_events_go_out_in_order_and_in_batches(event: UsageEvent) -> None:
    sink = FakeSink()
    log = UsageLog(sink, lambda count: None)
    for number in range(usage_log.BATCH + 3):
        log.append(numbered(event, number))

    log.running()
    await asyncio.wait_for(sink.taken.wait(), 5)
    await log.done()

    assert [len(batch) for batch in sink.batches] == [usage_log.BATCH, 3]
    assert sum(sink.batches, []) == [str(number) for number in range(usage_log.BATCH + 3)]


async def test_events_wait_while_redis_is_away(event: UsageEvent) -> None:
    sink = FakeSink(failures=3)
    log = UsageLog(sink, lambda count: None)

    log.running()
    log.append(numbered(event, 1))
    log.append(numbered(event, 2))
    await asyncio.wait_for(sink.taken.wait(), 5)
    await log.done()

    assert sum(sink.batches, []) == ["1", "2"]


async def test_what_arrives_later_is_written_too(event: UsageEvent) -> None:
    sink = FakeSink()
    log = UsageLog(sink, lambda count: None)
    log.running()
    log.append(numbered(event, 1))
    await asyncio.wait_for(sink.taken.wait(), 5)
    sink.taken.clear()

    log.append(numbered(event, 2))
    await asyncio.wait_for(sink.taken.wait(), 5)
    await log.done()

    assert sink.batches == [["1"], ["2"]]


async def test_the_end_of_the_worker_writes_what_is_left(event: UsageEvent) -> None:
    sink = FakeSink()
    log = UsageLog(sink, lambda count: None)
    log.append(event)

    await log.done()

    assert sink.batches == [["0"]]


async def test_what_cannot_be_delivered_at_the_end_stands_in_the_log(event: UsageEvent) -> None:
    log = UsageLog(FakeSink(failures=1000), lambda count: None, flush_seconds=0.05)
    log.append(event)

    with structlog.testing.capture_logs() as lines:
        await log.done()

    assert [line["usage_event"]["request_id"] for line in lines if line["event"] == "usage_event_not_delivered"] == [
        "0"
    ]
