"""Rules of handing over usage: in order, in batches, nothing lost while Redis is away."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest
import structlog.testing

from addons import usage_log
from addons.holds import Holds
from addons.settlement import Settlement
from addons.store import StoreUnavailable
from addons.usage_log import UsageLog
from shared.models import NOTHING, Amounts, Outcome, Usage, UsageEvent


class FakeSink:
    """Fails as often as told, then takes everything."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.batches: list[list[str]] = []
        self.taken = asyncio.Event()

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away")
        self.batches.append([settlement.event.request_id for settlement in settlements])
        self.taken.set()


@pytest.fixture
def settlement(moment: datetime) -> Settlement:
    event = UsageEvent(
        "0", moment, "p", "t", "k", 1, "openai", "models", "GET", None, 200, Outcome.FINISHED, None, False, 1, 0, 2,
        1.0, 0.5, Usage(),
    )  # fmt: skip
    return Settlement(event)


def numbered(settlement: Settlement, number: int) -> Settlement:
    return replace(settlement, event=replace(settlement.event, request_id=str(number)))


async def test_events_go_out_in_order_and_in_batches(settlement: Settlement) -> None:
    sink = FakeSink()
    log = UsageLog(sink, Holds(), lambda count: None)
    for number in range(usage_log.BATCH + 3):
        log.append(numbered(settlement, number))

    log.running()
    await asyncio.wait_for(sink.taken.wait(), 5)
    await log.done()

    assert [len(batch) for batch in sink.batches] == [usage_log.BATCH, 3]
    assert sum(sink.batches, []) == [str(number) for number in range(usage_log.BATCH + 3)]


async def test_events_wait_while_redis_is_away(settlement: Settlement) -> None:
    sink = FakeSink(failures=3)
    log = UsageLog(sink, Holds(), lambda count: None)

    log.running()
    log.append(numbered(settlement, 1))
    log.append(numbered(settlement, 2))
    await asyncio.wait_for(sink.taken.wait(), 5)
    await log.done()

    assert sum(sink.batches, []) == ["1", "2"]


async def test_what_arrives_later_is_written_too(settlement: Settlement) -> None:
    sink = FakeSink()
    log = UsageLog(sink, Holds(), lambda count: None)
    log.running()
    log.append(numbered(settlement, 1))
    await asyncio.wait_for(sink.taken.wait(), 5)
    sink.taken.clear()

    log.append(numbered(settlement, 2))
    await asyncio.wait_for(sink.taken.wait(), 5)
    await log.done()

    assert sink.batches == [["1"], ["2"]]


async def test_the_end_of_the_worker_writes_what_is_left(settlement: Settlement) -> None:
    sink = FakeSink()
    log = UsageLog(sink, Holds(), lambda count: None)
    log.append(settlement)

    await log.done()

    assert sink.batches == [["0"]]


async def test_what_cannot_be_delivered_at_the_end_stands_in_the_log(settlement: Settlement) -> None:
    log = UsageLog(FakeSink(failures=1000), Holds(), lambda count: None, flush_seconds=0.05)
    log.append(settlement)

    with structlog.testing.capture_logs() as lines:
        await log.done()

    assert [line["usage_event"]["request_id"] for line in lines if line["event"] == "usage_event_not_delivered"] == [
        "0"
    ]


async def test_a_hold_is_kept_until_redis_knows_how_its_request_ended(settlement: Settlement) -> None:
    sink, holds = FakeSink(failures=1), Holds()
    log = UsageLog(sink, holds, lambda count: None)
    holds.keep("0", b"held")
    holds.keep("1", b"another")
    log.append(settlement)
    assert list(holds) == ["0", "1"]

    await log.done()

    assert sink.batches == [["0"]] and list(holds) == ["1"]


def lost(settlement: Settlement) -> Settlement:
    return replace(settlement, event=replace(settlement.event, outcome=Outcome.LOST))


async def test_each_request_waits_once_and_its_real_end_counts(settlement: Settlement) -> None:
    counts, taken = list[int](), list[Settlement]()
    log = UsageLog(FakeSink(), Holds(), counts.append)
    sink = log._sink
    sink.settle = lambda settlements: taken.extend(settlements) or asyncio.sleep(0)  # type: ignore[assignment]
    for each in (lost(settlement), lost(settlement), settlement, lost(settlement), numbered(settlement, 1)):
        log.append(each)

    await log.done()

    assert taken == [settlement, numbered(settlement, 1)]
    assert counts[-1] == 0 and max(counts) == 2


async def test_what_arrives_while_another_settlement_of_the_request_is_on_its_way_is_kept(
    settlement: Settlement,
) -> None:
    holds, taken = Holds(), list[Settlement]()
    later = replace(settlement, actual=Amounts(1, 1))

    class Slow(FakeSink):
        async def settle(self, settlements: Sequence[Settlement]) -> None:
            if not taken:
                log.append(later)
            taken.extend(settlements)
            assert holds.of("0") == b"held"

    log = UsageLog(Slow(), holds, lambda count: None)
    holds.keep("0", b"held")
    log.append(lost(settlement))
    await log.done()

    assert [each.actual for each in taken] == [NOTHING, Amounts(1, 1)] and len(holds) == 0


async def test_of_too_many_the_oldest_go_to_the_log(settlement: Settlement) -> None:
    sink, holds = FakeSink(), Holds()
    log = UsageLog(sink, holds, lambda count: None, most_waiting=2)
    with structlog.testing.capture_logs() as lines:
        for number in range(4):
            holds.keep(str(number), b"held")
            log.append(numbered(settlement, number))
        assert list(holds) == ["2", "3"]
        await log.done()

    assert [line["usage_event"]["request_id"] for line in lines] == ["0", "1"] and sink.batches == [["2", "3"]]


async def test_a_fault_does_not_end_the_writing(settlement: Settlement) -> None:
    class Faulty(FakeSink):
        async def settle(self, settlements: Sequence[Settlement]) -> None:
            if self.failures:
                self.failures -= 1
                raise ValueError("a fault")
            await super().settle(settlements)

    sink = Faulty(failures=1)
    log = UsageLog(sink, Holds(), lambda count: None)
    log.append(settlement)

    with structlog.testing.capture_logs() as lines:
        log.running()
        await asyncio.wait_for(sink.taken.wait(), 5)
    await log.done()

    assert sink.batches == [["0"]] and [line["event"] for line in lines] == ["task_failed_and_goes_on"]
