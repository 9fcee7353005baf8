"""Rules of the load on real connections: what counts as an answer and what as an error, and when requests are sent."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic_ns
from typing import Any

import pytest

from manager.benchmark.arrivals import Part, amount_due, due_ns
from manager.benchmark.connection import timings
from manager.benchmark.load import ClosedLoop, OpenLoop
from manager.benchmark.plan import Step, Target, Timeouts
from manager.benchmark.sender import Sender
from manager.benchmark.tally import Tally
from tests.manager.benchmark.server import Say, Server, serving, whole

REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"
ONE = Part(0, 1)
SECOND = 1_000_000_000


def loop_of(sender: Sender, step: Step, part: Part = ONE, timeout_s: float = 20.0) -> ClosedLoop | OpenLoop:
    sender.begins_ns = begins = monotonic_ns()
    sender.interval_ns = SECOND // 10
    if step.rate is None:
        return ClosedLoop(sender, step, part, begins)
    return OpenLoop(sender, step, part, begins, timeout_s)


@contextmanager
def sending(url: str, **settings: Any) -> Iterator[Sender]:
    settings.setdefault("timeouts", Timeouts(total_s=20))
    sender = Sender(Target("t", url), lambda: REQUEST, **settings)
    yield sender
    sender.close()


async def seen(server: Server, step: Step, **settings: Any) -> Tally:
    """What a step sees of a server."""
    with sending(server.url, **settings) as sender:
        await asyncio.wait_for(loop_of(sender, step).run(), 60)
        return sender.tally


# The closed loop


async def test_so_many_requests_are_sent_as_are_wanted_over_kept_connections() -> None:
    with serving() as server:
        tally = await seen(server, Step((4, 4), requests=101))

    assert (tally.whole_latency.count, len(server.requests), server.connections) == (101, 101, 4)
    assert (tally.counts["opened"], tally.counts["reused"], tally.done) == (4, 97, 101)
    assert tally.counts["sent"] == 101 * len(REQUEST) and tally.counts["received"] == 101 * len(whole())
    assert tally.statuses == {200: 101} and tally.connect.count == 4 and tally.first_byte.count == 101


async def test_processes_share_callers_and_requests() -> None:
    with serving() as server, sending(server.url) as sender:
        for number in range(3):
            await loop_of(sender, Step((4, 4), requests=10), Part(number, 3)).run()

    assert sender.tally.whole_latency.count == 10


async def test_callers_ask_until_the_time_is_over_and_wait_for_the_last_answers() -> None:
    with serving(lambda number: [Say(after=0.1)]) as server, sending(server.url) as sender:
        window = await loop_of(sender, Step((2, 2), seconds=0.25)).run()

    assert window == SECOND // 4
    assert sender.tally.whole_latency.count == len(server.requests)
    assert len(server.requests) - 2 < sender.tally.done < len(server.requests), "the last two count for their parts"
    assert sender.tally.whole_latency.low >= SECOND // 10


async def test_a_ramp_adds_callers_one_by_one() -> None:
    with serving(lambda number: [Say(after=0.02)]) as server:
        tally = await seen(server, Step((1, 6), seconds=1.0))

    assert tally.counts["opened"] == server.connections == 6


async def test_a_ramp_down_takes_callers_away() -> None:
    with serving(lambda number: [Say(after=0.02)]) as server, sending(server.url) as sender:
        load = loop_of(sender, Step((6, 1), seconds=1.0))
        running = asyncio.create_task(load.run())
        while sender.tally.counts["reused"] == 0:
            await asyncio.sleep(0.01)
        assert sender.busy > 1
        while sender.busy > 1:
            await asyncio.sleep(0.01)
        await running


async def test_a_connection_for_each_request_if_none_is_kept() -> None:
    with serving() as server:
        tally = await seen(server, Step((2, 2), requests=10), is_kept=False)

    assert (tally.counts["opened"], tally.counts["reused"], server.connections) == (10, 0, 10)


async def test_what_runs_when_it_is_stopped_is_not_counted() -> None:
    with serving(lambda number: [] if number else [Say()]) as server, sending(server.url) as sender:
        load = loop_of(sender, Step((1, 1), seconds=3600))
        running = asyncio.create_task(load.run())
        while len(server.requests) < 2:
            await asyncio.sleep(0.01)
        load.stop()
        window = await asyncio.wait_for(running, 20)

    assert (sender.tally.whole_latency.count, sender.tally.errors, sender.busy) == (1, {}, 0)
    assert 0 < window < 3600 * SECOND


# Answers


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"


async def test_a_stream_is_told_by_its_first_chunk_its_gaps_and_its_end() -> None:
    pieces = [Say(STREAM), *(Say(chunk(b"data: x\n\n"), after=0.05) for _ in range(4)), Say(b"0\r\n\r\n", after=0.05)]
    with serving(lambda number: pieces) as server:
        tally = await seen(server, Step((1, 1), requests=2))

    assert (tally.counts["chunks"], tally.first_chunk.count, tally.gap.count) == (8, 2, 6)
    assert tally.gap.percentile(50) >= SECOND * 0.04 and tally.first_chunk.low >= SECOND // 20
    assert tally.first_byte.low < tally.first_chunk.low
    assert tally.whole_latency.low >= SECOND // 4


async def test_chunks_that_come_together_have_no_gap_between_them() -> None:
    with serving(lambda number: [Say(STREAM + chunk(b"data: x\n\n") * 5 + b"0\r\n\r\n")]) as server:
        tally = await seen(server, Step((1, 1), requests=1))

    assert tally.counts["chunks"] == 5 and tally.gap.count <= 1


async def test_an_answer_that_only_announces_another_one_is_none() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    with serving(lambda number: [Say(hints), Say()]) as server:
        tally = await seen(server, Step((1, 1), requests=3))

    assert tally.statuses == {200: 3} and server.connections == 1


async def test_a_server_that_closes_after_its_answer_is_connected_to_anew() -> None:
    with serving(lambda number: [Say(whole(headers="connection: close\r\n"), ends=True)]) as server:
        tally = await seen(server, Step((1, 1), requests=3))

    assert (tally.whole_latency.count, tally.errors, server.connections) == (3, {}, 3)


async def test_a_body_without_a_length_ends_with_its_connection() -> None:
    with serving(lambda number: [Say(b"HTTP/1.1 200 OK\r\n\r\nhello"), Say(b" you", after=0.05, ends=True)]) as server:
        tally = await seen(server, Step((1, 1), requests=2))

    assert (tally.whole_latency.count, tally.statuses, tally.errors) == (2, {200: 2}, {})


async def test_what_the_proxy_says_of_its_time_is_added_up() -> None:
    answer = whole(headers="Server-Timing: proxy;dur=1.5\r\nserver-timing: upstream;dur=30\r\n")
    with serving(lambda number: [Say(answer)]) as server:
        tally = await seen(server, Step((1, 1), requests=2))

    assert (tally.proxy.total, tally.upstream.total) == (3_000_000, 60_000_000)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"proxy;dur=2", {"proxy": 2_000_000}),
        (b'upstream;desc="a b";dur="0.5" , proxy ;dur=1', {"proxy": 1_000_000, "upstream": 500_000}),
        (b"myproxy;dur=2, proxy;desc=x, db;dur=3", {}),
        (b"proxy;dur=abc", {}),
        (b"", {}),
    ],
)
def test_timing_headers(header: bytes, told: dict[str, int]) -> None:
    assert timings(header) == told


# Errors

FAULTS = {
    "status 429": [Say(whole("429 Too Many Requests"))],
    "closed": [Say(whole()[:-3], ends=True)],
    "malformed answer": [Say(b"SMTP ready\r\n\r\n")],
    "timeout": [Say(whole()[:-3])],
    "first byte timeout": [],
}


@pytest.mark.parametrize("kind", FAULTS)
async def test_errors_are_told_apart_and_those_after_them_are_well(kind: str) -> None:
    timeouts = Timeouts(total_s=0.3 if kind == "timeout" else 20, first_byte_s=0.3 if "first" in kind else None)
    with serving(lambda number: FAULTS[kind] if number == 1 else [Say()]) as server:
        tally = await seen(server, Step((1, 1), requests=4), timeouts=timeouts)

    assert (tally.errors, tally.whole_latency.count, sum(tally.errors_at.values())) == ({kind: 1}, 3, 1)


async def test_a_status_that_is_expected_is_no_error_and_others_are() -> None:
    with serving(lambda number: [Say(whole("401 Unauthorized" if number else "200 OK"))]) as server:
        tally = await seen(server, Step((1, 1), requests=3), expected=(401,))

    assert (tally.errors, tally.whole_latency.count) == ({"status 200": 1}, 2)


async def test_where_nobody_is_it_is_tried_again_after_a_pause() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with sending(f"http://127.0.0.1:{nobody.getsockname()[1]}") as sender:
            await loop_of(sender, Step((2, 2), seconds=0.5)).run()

    assert set(sender.tally.errors) == {"not connected"} and sender.tally.errors["not connected"] <= 12


# The open loop


async def test_requests_are_sent_at_their_rate_whatever_the_answers_do() -> None:
    with serving(lambda number: [Say(after=0.3)]) as server, sending(server.url) as sender:
        window = await loop_of(sender, Step((100, 100), (100, 100), seconds=0.5)).run()

    assert (sender.tally.whole_latency.count, len(server.requests), window) == (50, 50, SECOND // 2)
    assert sender.tally.counts["opened"] > 5 and sender.tally.lag.count == 50


def slow(tally: Tally) -> int:
    """How many answers took 0.1 s or more."""
    from manager.benchmark.histogram import middle_of

    return sum(count for bucket, count in tally.whole_latency.counts.items() if middle_of(bucket) >= SECOND // 10)


async def test_a_stall_that_the_closed_loop_hides_shows_in_the_open_loop() -> None:
    def stall(number: int) -> list[Say]:
        if number == 20:
            time.sleep(0.8)  # All of the server stands still.
        return [Say(after=0.005)]

    with serving(stall) as server:
        closed = await seen(server, Step((1, 1), requests=100))
    with serving(stall) as server:
        opened = await seen(server, Step((100, 100), (100, 100), requests=100))

    assert closed.whole_latency.count == opened.whole_latency.count == 100
    assert closed.whole_latency.high >= SECOND * 0.8 and opened.whole_latency.high >= SECOND * 0.7
    assert slow(closed) < 20 < 50 <= slow(opened)


async def test_requests_that_find_no_connection_wait_and_count_from_when_they_were_due() -> None:
    with serving(lambda number: [Say(after=0.1)]) as server:
        tally = await seen(server, Step((1, 1), (1000, 1000), requests=5))

    assert (server.connections, tally.whole_latency.count) == (1, 5)
    assert tally.whole_latency.high >= SECOND * 0.49


async def test_requests_that_wait_too_long_are_errors() -> None:
    with serving(lambda number: []) as server, sending(server.url, timeouts=Timeouts(total_s=0.3)) as sender:
        await asyncio.wait_for(loop_of(sender, Step((1, 1), (1000, 1000), requests=5), timeout_s=0.3).run(), 60)

    assert sender.tally.errors == {"timeout": 5}


async def test_an_open_loop_that_is_stopped_ends_and_counts_nothing_more() -> None:
    with serving(lambda number: []) as server, sending(server.url) as sender:
        load = loop_of(sender, Step((1, 1), (50, 50), seconds=3600))
        running = asyncio.create_task(load.run())
        while not server.requests:
            await asyncio.sleep(0.01)
        load.stop()
        await asyncio.wait_for(running, 20)

    assert not sender.tally.errors and len(server.requests) == 1


@pytest.mark.parametrize(("rate", "amount"), [((10, 10), 40), ((0, 20), 40), ((20, 0), 40), ((5, 15), 40)])
def test_a_ramp_has_the_mean_of_its_rates_and_its_requests_lie_within_its_time(
    rate: tuple[float, float], amount: int
) -> None:
    step = Step((9, 9), rate, seconds=4)

    due = [due_ns(rate, 4, index) for index in range(amount_due(step))]

    assert len(due) == amount and due == sorted(due) and due[0] == 0 and due[-1] <= 4 * SECOND
    first_half = sum(at < 2 * SECOND for at in due)
    assert first_half == pytest.approx(amount * (rate[0] * 3 + rate[1]) / (sum(rate) * 4), abs=1)


def test_processes_take_turns_with_requests_that_are_due() -> None:
    assert [due_ns((4, 4), None, index) for index in range(4)] == [0, SECOND // 4, SECOND // 2, SECOND * 3 // 4]
