"""The fault proxy does what it says, and leaves nothing behind."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults import GARBAGE, Fault, FaultProxy

ASK = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
BODY = bytes(range(256)) * 40
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Target:
    """A server that gives each thing it is told the same answer, and counts its bytes."""

    def __init__(self, listener: socket.socket) -> None:
        self.port = int(listener.getsockname()[1])
        self.heard = 0
        self._listener = listener

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while told := connection.recv(65536):
                self.heard += len(told)
                if told.endswith(b"\r\n\r\n"):
                    connection.sendall(ANSWER)


@pytest.fixture
def target() -> Iterator[Target]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = Target(listener)
        thread = threading.Thread(target=target.run)
        thread.start()
        yield target
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.fixture
def proxy(target: Target) -> Iterator[FaultProxy]:
    before = threading.active_count()
    with FaultProxy("127.0.0.1", target.port) as proxy:
        yield proxy
        eventually(lambda: proxy.open == 0)
    eventually(lambda: threading.active_count() <= before)


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)


def read(connection: socket.socket, size: int) -> bytes:
    """That many bytes, or fewer if they end before."""
    received = b""
    while len(received) < size and (piece := connection.recv(size - len(received))):
        received += piece
    return received


def answer(proxy: FaultProxy, size: int = len(ANSWER)) -> bytes:
    with connect(proxy) as connection:
        connection.sendall(ASK)
        return read(connection, size)


def test_without_a_fault_all_is_passed_on_and_counted(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        for _ in range(2):
            connection.sendall(ASK)
            assert read(connection, len(ANSWER)) == ANSWER
        assert (proxy.opened, proxy.open) == (1, 1)
    eventually(lambda: proxy.open == 0)
    assert answer(proxy) == ANSWER and proxy.opened == 2


@pytest.mark.parametrize("at", [0, 10, 5000])
def test_a_reset_strikes_at_its_byte(proxy: FaultProxy, at: int) -> None:
    proxy.fault = Fault(reset_at=at)

    with connect(proxy) as connection:
        connection.sendall(ASK)
        assert read(connection, at) == ANSWER[:at]
        with pytest.raises(ConnectionResetError):
            connection.recv(1)


@pytest.mark.parametrize("at", [0, 10, 5000])
def test_a_half_close_ends_the_answer_and_the_request_may_go_on(target: Target, proxy: FaultProxy, at: int) -> None:
    proxy.fault = Fault(finish_at=at)

    with connect(proxy) as connection:
        connection.sendall(ASK)
        assert read(connection, len(ANSWER)) == ANSWER[:at]
        connection.sendall(b"more")
        eventually(lambda: target.heard == len(ASK) + 4)
        assert proxy.open == 1


@pytest.mark.parametrize("fault", [Fault(stall_at=10), Fault(mute=True)], ids=["stalled", "mute"])
def test_a_silent_connection_stays_open_until_the_client_leaves(proxy: FaultProxy, fault: Fault) -> None:
    proxy.fault = fault

    with connect(proxy) as connection:
        connection.sendall(ASK)
        assert read(connection, fault.stall_at or 0) == ANSWER[: fault.stall_at or 0]
        connection.settimeout(0.05)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert proxy.open == 1


@pytest.mark.parametrize("fault", [Fault(), Fault(stall_at=10), Fault(delay_s=60)], ids=["none", "stalled", "delayed"])
def test_a_client_that_resets_is_let_go_at_once(proxy: FaultProxy, fault: Fault) -> None:
    proxy.fault = fault
    connection = connect(proxy)
    connection.sendall(ASK)
    eventually(lambda: proxy.open == 1)

    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()

    eventually(lambda: proxy.open == 0)


def test_connections_are_refused_and_then_accepted_on_the_same_port(proxy: FaultProxy) -> None:
    for _ in range(2):
        proxy.fault = Fault(refuse=True)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        proxy.fault = Fault()
        assert answer(proxy) == ANSWER


def test_a_proxy_may_refuse_from_its_start(target: Target) -> None:
    with FaultProxy("127.0.0.1", target.port, Fault(refuse=True)) as proxy, pytest.raises(ConnectionRefusedError):
        connect(proxy)


def test_a_target_that_is_away_is_a_connection_closed(target: Target) -> None:
    with FaultProxy("127.0.0.1", 9) as proxy:
        assert answer(proxy) == b""


def test_garbage_is_all_that_comes(target: Target, proxy: FaultProxy) -> None:
    proxy.fault = Fault(garbage=GARBAGE)

    assert answer(proxy) == GARBAGE
    assert target.heard == 0


@pytest.mark.parametrize(("off", "declared"), [(7, len(BODY) + 7), (-7, len(BODY) - 7)], ids=["large", "small"])
def test_a_wrong_length_is_declared_and_the_body_left_as_it_is(proxy: FaultProxy, off: int, declared: int) -> None:
    proxy.fault = Fault(length_off=off)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % declared

    with connect(proxy) as connection:
        connection.sendall(ASK)
        assert read(connection, len(head + BODY)) == head + BODY
        if off > 0:
            assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("fault", "part"),
    [(Fault(endless_headers=True), b"x-more: "), (Fault(endless_body=True), b"400\r\nbbb")],
    ids=["headers", "body"],
)
def test_what_is_endless_goes_on_until_the_client_leaves(proxy: FaultProxy, fault: Fault, part: bytes) -> None:
    proxy.fault = fault

    received = answer(proxy, 3_000_000)

    assert len(received) == 3_000_000 and received.count(part) > 2000


def test_an_idle_connection_is_closed(proxy: FaultProxy) -> None:
    proxy.fault = Fault(idle_close_s=0.1)

    with connect(proxy) as connection:
        connection.sendall(ASK)
        assert read(connection, len(ANSWER)) == ANSWER
        assert connection.recv(1) == b""


@pytest.mark.parametrize(
    ("fault", "at_least"), [(Fault(delay_s=0.1), 0.1), (Fault(bytes_per_s=50_000), 0.15)], ids=["delayed", "throttled"]
)
def test_an_answer_takes_its_time(proxy: FaultProxy, fault: Fault, at_least: float) -> None:
    proxy.fault = fault
    began = time.monotonic()

    assert answer(proxy) == ANSWER

    assert at_least < time.monotonic() - began < 5


def test_a_request_takes_its_time(target: Target, proxy: FaultProxy) -> None:
    proxy.fault = Fault(upload_bytes_per_s=50_000)
    began = time.monotonic()

    with connect(proxy) as connection:
        connection.sendall(bytes(10_000) + ASK)
        assert read(connection, len(ANSWER)) == ANSWER

    assert 0.15 < time.monotonic() - began < 5


def test_a_fault_may_come_while_a_connection_is_open(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        connection.sendall(ASK)
        assert read(connection, len(ANSWER)) == ANSWER

        proxy.drop()

        with pytest.raises(ConnectionResetError):
            connection.recv(1)


def test_the_end_does_not_wait_for_anybody(target: Target) -> None:
    with FaultProxy("127.0.0.1", target.port, Fault(mute=True)) as proxy:
        connections = [connect(proxy) for _ in range(20)]
        eventually(lambda: proxy.open == 20)
        began = time.monotonic()

    assert time.monotonic() - began < 2 and proxy.open == 0
    for connection in connections:
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        connection.close()
