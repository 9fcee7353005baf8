"""Kept connections, and how they end."""

import http.client
import json
import time
from typing import Any

import pytest

KEY = {"authorization": "Bearer any-key"}


def get(connection: http.client.HTTPConnection, behaviour: dict[str, Any] | None = None) -> http.client.HTTPResponse:
    override = {"x-mock-behaviour": json.dumps(behaviour)} if behaviour else {}
    connection.request("GET", "/v1/models", headers={**KEY, **override})
    answer = connection.getresponse()
    answer.read()
    return answer


def test_the_request_after_the_last_allowed_answer_meets_a_broken_connection_and_is_not_seen(remote: Any) -> None:
    remote.control("PUT", "behaviour", {"answers_per_connection": 2})
    connection = remote.connect()
    assert [get(connection).status for _ in range(2)] == [200, 200]

    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        get(connection)

    assert remote.ledger()["requests"] == 2
    assert get(remote.connect()).status == 200


def test_an_idle_connection_is_closed_after_its_time(remote: Any) -> None:
    connection = remote.connect()
    get(connection, {"keep_alive_s": 0.05})
    began = time.monotonic()

    assert connection.sock.recv(1) == b""

    assert 0.03 < time.monotonic() - began < 5


def test_a_connection_is_closed_after_each_answer_if_so_wished(remote: Any) -> None:
    connection = remote.connect()

    answer = get(connection, {"close_after_answer": True})

    assert answer.headers["connection"] == "close" and connection.sock is None


@pytest.mark.parametrize("status", [204, 304])
def test_a_connection_goes_on_after_an_answer_without_a_body(remote: Any, status: int) -> None:
    connection = remote.connect()

    assert [get(connection, {"status": status}).status, get(connection).status] == [status, 200]


def test_a_connection_goes_on_after_head(remote: Any) -> None:
    connection = remote.connect()
    connection.request("HEAD", "/v1/files/f/content?size=300000", headers=KEY)
    answer = connection.getresponse()
    answer.read()

    assert (answer.headers["content-length"], remote.last()["bytes"]) == ("300000", 0)
    assert get(connection).status == 200
