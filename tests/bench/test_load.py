"""The provider and the load, with each other: real processes and real sockets."""

import asyncio
import json
from collections.abc import Iterator
from typing import cast

import pytest
import requests

from manager.supervisor import Supervisor
from tests.bench import answers, closed_loop, exchanges, idle, provider, report, rounds, rows, streams, wrk
from tests.bench.burst import Burst
from tests.bench.endpoint import Endpoint, bearer
from tests.bench.exchanges import is_whole, status_of
from tests.bench.provider import Provider
from tests.bench.rounds import Pace
from tests.bench.scenario import Scenario
from tests.bench.stage import Stage
from tests.ports import free_port

SMALL = answers.request_body(answers.json_model(answers.SMALL))


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A running provider."""
    folder = tmp_path_factory.mktemp("provider")
    made, supervisor = provider.prepared(folder), Supervisor(folder / "logs")
    try:
        supervisor.start(made.program)
        yield made
    finally:
        supervisor.stop()


@pytest.fixture
def endpoint(upstream: Provider) -> Endpoint:
    """Where it takes chats, with its key."""
    return Endpoint(upstream.port, bearer(answers.PROVIDER_KEY))


def ask(endpoint: Endpoint, model: str, size: int = 0, **more: str) -> requests.Response:
    body = answers.request_body(model, size)
    return requests.post(endpoint.url, data=body, headers={**endpoint.headers, **more}, timeout=10)


# The provider


@pytest.mark.parametrize("size", [0, 64_000, 1_000_000])
def test_answers_have_the_wanted_size_and_usage(endpoint: Endpoint, size: int) -> None:
    answer = ask(endpoint, answers.json_model(size), size)

    assert answer.status_code == 200
    assert size <= len(answer.content) < size + 500
    assert answer.json()["usage"] == {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}


def test_streams_have_the_wanted_chunks_each_with_its_time_and_usage_at_the_end(endpoint: Endpoint) -> None:
    answer = ask(endpoint, answers.stream_model(3, 0))

    events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["usage"]["completion_tokens"] == 12
    assert len(answers.stamps(answer.content)) == 3
    assert all(json.loads(event)["object"] == "chat.completion.chunk" for event in events[:-1])


def test_a_key_that_was_not_swapped_and_a_model_that_nobody_knows_are_refused(endpoint: Endpoint) -> None:
    assert ask(endpoint, answers.json_model(0), authorization="Bearer sk-llmp-something").status_code == 401
    assert ask(endpoint, "gpt-4o").status_code == 400


def test_only_chats_that_were_answered_are_counted(upstream: Provider, endpoint: Endpoint) -> None:
    before = upstream.answered()

    ask(endpoint, answers.json_model(0))
    ask(endpoint, answers.json_model(0), authorization="Bearer wrong")

    assert upstream.answered() == before + 1


def test_it_speaks_tls_under_its_own_authority(upstream: Provider, endpoint: Endpoint) -> None:
    url = upstream.url(tls=True) + answers.PATH

    answer = requests.post(url, data=SMALL, headers=endpoint.headers, verify=str(upstream.ca_file), timeout=10)

    assert answer.status_code == 200


# The load


@pytest.mark.parametrize("reconnects", [False, True])
def test_callers_ask_again_and_again(endpoint: Endpoint, reconnects: bool) -> None:
    found = exchanges.run(endpoint, SMALL, 3, 0.1, reconnects)

    assert len(found) > 3
    assert exchanges.statuses(found).keys() == {200}


def test_a_refusal_is_seen_and_nobody_there_counts_as_broken(endpoint: Endpoint) -> None:
    refused = exchanges.run(endpoint.with_token("wrong"), SMALL, 1, 0.05)
    nobody = exchanges.run(Endpoint(free_port(), {}), SMALL, 1, 0.05)

    assert exchanges.statuses(refused).keys() == {401}
    assert exchanges.statuses(nobody).keys() == {exchanges.BROKEN}


def test_streams_are_kept_open_and_their_chunks_timed(endpoint: Endpoint) -> None:
    async def look() -> streams.Seen:
        async with streams.Streams(endpoint, streams.Load(streams=4, chunks=5, per_second=50)) as load:
            return await load.look(0.5)

    seen = streams.run(look())

    assert seen.errors == 0
    assert len(seen.first_byte_ms) > 4
    assert len(seen.delays_ms) >= seen.reads > 20
    assert min(seen.delays_ms) >= 0


def test_streams_that_are_refused_are_errors(endpoint: Endpoint) -> None:
    async def look() -> streams.Seen:
        async with streams.Streams(endpoint.with_token("wrong"), streams.Load(2, 5, 50)) as load:
            return await load.look(0.2)

    seen = streams.run(look())

    assert seen.errors >= 2
    assert not seen.delays_ms


def test_idle_connections_stay_open_unless_the_provider_closes_them(endpoint: Endpoint) -> None:
    async def count(model: str) -> int:
        async with idle.opened(endpoint, answers.request_body(model), 10) as connections:
            await asyncio.sleep(0.2)
            assert connections.refused == 0
            return connections.open

    assert streams.run(count(answers.json_model(0))) == 10
    assert streams.run(count(answers.once_model(0))) == 0


def test_wrk_sees_answers_and_refusals(upstream: Provider, endpoint: Endpoint) -> None:
    wrk.provide()
    served = closed_loop.burst(upstream, endpoint, SMALL, 2, 1)
    refused = closed_loop.burst(upstream, endpoint.with_token("wrong"), SMALL, 2, 1, refused=True)
    wrong = closed_loop.burst(upstream, endpoint.with_token("wrong"), SMALL, 2, 1)

    assert (served.errors, served.complaint, refused.errors, refused.complaint) == (0, "", 0, "")
    assert served.figures["rps"] > 0 and "cpu_us" not in served.figures
    assert wrong.errors > 0 and "were not the expected ones" in wrong.complaint


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", True),
    ],
)
def test_an_answer_is_whole_when_its_length_has_come(answer: bytes, whole: bool) -> None:
    assert is_whole(answer) is whole
    assert status_of(answer) == (200 if answer else exchanges.BROKEN)


# Together


class OneEndpoint:
    """A stage with nobody on it but the provider itself."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def endpoint(self, subject: str) -> Endpoint:
        """Return the provider's."""
        return self._endpoint

    def settle(self) -> None:
        """Return at once."""


def test_a_scenario_becomes_rows_ratios_and_a_report(endpoint: Endpoint) -> None:
    def make(stage: Stage, subject: str, seconds: float) -> Burst:
        found = exchanges.run(stage.endpoint(subject), SMALL, 2, seconds)
        return Burst({"rps": len(found) / seconds}, exchanges.statuses(found)[exchanges.BROKEN])

    tiny = Scenario("tiny", "Tiny", ("engine", "direct"), make, quick_seconds=0.05, warms_up=False)
    stage = cast(Stage, OneEndpoint(endpoint))

    results = rounds.run(stage, [tiny], {"engine", "direct"}, Pace(quick=True, rounds=2), print)
    made, ratios = rows.rows(results), rows.ratios(results)

    assert ratios.keys() == {"tiny/direct"}
    assert all(row["errors"] == 0 and row["rps"] > 0 for row in made)
    assert "tiny" in report.whole({"rows": made, "ratios": ratios, "cpu_ratios": {}, "targets": []}, {"tiny": "Tiny"})
