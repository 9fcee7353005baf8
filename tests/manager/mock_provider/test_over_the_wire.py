"""Answers over real connections: streamed, held, cut, compressed, left alone."""

import gzip
import hashlib
import http.client
import json
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest


def test_bytes_and_digest_in_the_ledger_are_those_the_client_got(remote: Any) -> None:
    body = remote.send().read()

    assert remote.last()["bytes"] == len(body)
    assert remote.last()["sha256"] == hashlib.sha256(body).hexdigest()


def test_connections_are_kept_and_requests_numbered(remote: Any) -> None:
    connection = remote.connect()
    numbers = []
    for _ in range(3):
        connection.request("GET", "/v1/models", headers={"authorization": "Bearer any-key"})
        answer = connection.getresponse()
        answer.read()
        numbers.append(int(answer.headers["x-request-id"].removeprefix("req_mock_")))

    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_a_held_stream_sends_no_more_than_it_is_allowed(remote: Any, eventually: Callable[..., None]) -> None:
    stream = remote.stream(hold_after=1)
    assert b'"role":"assistant"' in stream.readline()

    eventually(lambda: remote.ledger()["held"] == 1)
    assert (remote.last()["events_sent"], remote.last()["outcome"]) == (1, "open")

    assert remote.control("POST", "release", {"count": 2}) == {"released": 1}
    eventually(lambda: remote.last()["events_sent"] == 3)
    eventually(lambda: remote.ledger()["held"] == 1)

    remote.control("POST", "release")
    assert stream.read().endswith(b"data: [DONE]\n\n")
    assert remote.last()["outcome"] == "finished"


def test_a_stream_held_from_the_start_has_sent_its_headers(
    remote: Any,
    eventually: Callable[..., None],
) -> None:
    stream = remote.stream(hold_after=0)

    eventually(lambda: remote.ledger()["held"] == 1)
    assert (stream.status, remote.last()["bytes"]) == (200, 0)


def test_releases_are_for_all_held_streams(remote: Any, eventually: Callable[..., None]) -> None:
    streams = [remote.stream(hold_after=2) for _ in range(3)]
    eventually(lambda: remote.ledger()["held"] == 3)

    assert remote.control("POST", "release") == {"released": 3}

    assert all(stream.read().endswith(b"data: [DONE]\n\n") for stream in streams)


@pytest.mark.parametrize("behaviour", [{"hold_after": 1}, {"chunk_interval_ms": 60_000}])
def test_a_client_that_leaves_a_waiting_stream_is_noticed_at_once(
    remote: Any, eventually: Callable[..., None], behaviour: dict[str, Any]
) -> None:
    stream = remote.stream(**behaviour)
    stream.readline()

    remote.leave(stream)

    eventually(lambda: remote.ledger()["disconnected"] == 1)
    assert (remote.last()["outcome"], remote.last()["events_sent"]) == ("disconnected", 1)


def test_a_client_that_leaves_before_the_headers_is_noticed_at_once(
    remote: Any, eventually: Callable[..., None]
) -> None:
    remote.control("PUT", "behaviour", {"latency_ms": 60_000})
    connection = remote.connect()
    connection.request("GET", "/v1/models", headers={"authorization": "Bearer any-key"})
    eventually(lambda: remote.ledger()["requests"] == 1)

    connection.close()

    eventually(lambda: remote.ledger()["disconnected"] == 1)
    assert remote.last()["status"] is None


def test_a_client_that_leaves_a_long_answer_is_noticed(remote: Any, eventually: Callable[..., None]) -> None:
    remote.control("PUT", "behaviour", {"response_bytes": 64 * 1024 * 1024})
    answer = remote.send()
    answer.read(1000)

    remote.leave(answer)

    eventually(lambda: remote.ledger()["disconnected"] == 1)
    assert remote.last()["bytes"] < 64 * 1024 * 1024


def test_latency_comes_before_the_headers_and_intervals_between_events(remote: Any) -> None:
    began = time.monotonic()
    stream = remote.stream(latency_ms=60, chunk_interval_ms=10)
    headers_after = time.monotonic() - began
    stream.read()

    assert headers_after > 0.05
    assert time.monotonic() - began > 0.05 + 6 * 0.009


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compress", [None, "gzip"])
def test_a_cut_answer_breaks_off_and_the_next_one_is_served(
    remote: Any, stream: bool, compress: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    remote.control("PUT", "behaviour", {"abort_rate": 1, "compress": compress})
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream}
    answer = remote.send(question, accept_encoding="gzip")

    with pytest.raises(http.client.IncompleteRead) as broken:
        answer.read()

    assert broken.value.partial
    assert caplog.records == []
    assert (remote.ledger()["aborted"], remote.last()["outcome"]) == (1, "aborted")
    remote.control("PUT", "behaviour", {})
    assert remote.send(question).read()


def test_compressed_answers_can_be_read(remote: Any) -> None:
    override = json.dumps({"compress": "gzip"})
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    plain = remote.send(question, accept_encoding="gzip", x_mock_behaviour=override)
    stream = remote.send({**question, "stream": True}, accept_encoding="gzip", x_mock_behaviour=override)

    assert json.loads(gzip.decompress(plain.read()))["model"] == "m"
    assert gzip.decompress(stream.read()).endswith(b"data: [DONE]\n\n")


def test_a_held_compressed_event_can_be_read_already(remote: Any, eventually: Callable[..., None]) -> None:
    question = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    override = json.dumps({"compress": "gzip", "hold_after": 1})
    stream = remote.send(question, accept_encoding="gzip", x_mock_behaviour=override)
    eventually(lambda: remote.ledger()["held"] == 1)

    first = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16).decompress(stream.read1(65536))

    assert first.startswith(b"data: {") and first.endswith(b"}\n\n")


def test_a_body_over_64_mib_is_refused_before_it_is_sent(remote: Any) -> None:
    connection = remote.connect()
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("authorization", "Bearer any-key")
    connection.putheader("content-length", str(64 * 1024 * 1024 + 1))
    connection.endheaders()

    answer = connection.getresponse()

    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert json.loads(answer.read())["error"]["code"] == "request_too_large"


def test_streams_are_told_apart_while_they_run_together(remote: Any) -> None:
    streams = [
        remote.send({"model": "m", "messages": [{"role": "user", "content": f"word{n}"}], "stream": True})
        for n in range(8)
    ]

    assert [f"word{n}".encode() in stream.read() for n, stream in enumerate(streams)] == [True] * 8
