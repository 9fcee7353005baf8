"""Rules of the control plane's door to Redis: it gives up soon, and leaves trying again to its callers."""

import socket
import threading
from collections.abc import Iterator

import pytest
import redis

from manager.stores import SECONDS, connect_redis
from tests.manager.conftest import NOBODY


class HangsUp:
    """A server that ends every connection at once, and counts them."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self.listener.getsockname()[1]}"
        self.calls = 0
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            with connection:
                if connection.recv(4, socket.MSG_PEEK) == b"stop":
                    return
                self.calls += 1

    def stop(self) -> None:
        with socket.create_connection(self.listener.getsockname()) as connection:
            connection.sendall(b"stop")
            self.thread.join()
        self.listener.close()


@pytest.fixture
def server() -> Iterator[HangsUp]:
    made = HangsUp()
    yield made
    made.stop()


def test_a_client_speaks_to_the_server_that_its_url_names(redis_client: redis.Redis, valkey_url: str) -> None:
    client = connect_redis(valkey_url)

    client.set("greeting", "hello")

    assert redis_client.get("greeting") == b"hello"
    client.close()


def test_a_call_is_tried_once(server: HangsUp) -> None:
    client = connect_redis(server.url)

    with pytest.raises(redis.ConnectionError):
        client.ping()

    assert server.calls == 1
    client.close()


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(redis.ConnectionError):
        connect_redis(NOBODY).ping()


@pytest.mark.parametrize("limit", ["socket_timeout", "socket_connect_timeout"])
def test_neither_connecting_nor_an_answer_may_take_longer_than_some_seconds(valkey_url: str, limit: str) -> None:
    assert connect_redis(valkey_url).get_connection_kwargs()[limit] == SECONDS
