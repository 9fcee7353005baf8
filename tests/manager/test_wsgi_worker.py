"""Rules of serving raw requests: JSON whatever comes, nothing private in it, and slow clients hold up nobody."""

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from gunicorn.http import errors

from manager import wsgi_worker
from manager.wsgi_worker import raw_problem, status_of, time_limit
from tests.manager.served import TOKEN, Served, serving

AUTHORIZED = f"Host: m\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
CANARY = b"canary-of-this-request"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("manager")) as running:
        yield running


CHUNKED = b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
REQUESTS = {
    "no request": (b"%s\r\n\r\n" % CANARY, 400),
    "method": (b"G{T %s HTTP/1.1\r\n\r\n" % CANARY, 400),
    "version": (b"GET /manage/%s HTTP/7.5\r\n\r\n" % CANARY, 400),
    "header name": (b"GET /manage/tokens HTTP/1.1\r\nHost: m\r\nbad %s: x\r\n\r\n" % CANARY, 400),
    "header value": (b"GET /manage/tokens HTTP/1.1\r\nHost: m\r\nx: \0%s\r\n\r\n" % CANARY, 400),
    "folded header": (b"GET /manage/tokens HTTP/1.1\r\nHost: m\r\nx: a\r\n %s\r\n\r\n" % CANARY, 400),
    "lengths": (b"POST /healthz HTTP/1.1\r\nHost: m\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
    "long line": (b"GET /%s%s HTTP/1.1\r\nHost: m\r\n\r\n" % (CANARY, b"a" * 5000), 414),
    "large header": (b"GET / HTTP/1.1\r\nHost: m\r\nx: %s%s\r\n\r\n" % (CANARY, b"a" * 9000), 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: m\r\n%s\r\n" % (b"x: y\r\n" * 60), 431),
    "expectation": (b"GET / HTTP/1.1\r\nHost: m\r\nExpect: %s\r\n\r\n" % CANARY, 417),
    "coding": (b"POST / HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: %s\r\n\r\n" % CANARY, 501),
    "host": (b"GET /manage/tokens HTTP/1.1\r\nHost: %s/<b>\r\n\r\n" % CANARY, 401),
    "path": (b"GET /%s HTTP/1.1\r\nHost: m\r\n\r\n" % CANARY, 404),
    "no token": (b"GET /manage/tokens HTTP/1.1\r\nHost: m\r\n\r\n", 401),
    "double slash": (b"GET /manage//tokens HTTP/1.1\r\n%s\r\n" % AUTHORIZED, 404),
    "slash at the end": (b"GET /manage/tokens/ HTTP/1.1\r\n%s\r\n" % AUTHORIZED, 404),
    "method of a page": (b"POST /healthz HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n", 405),
    "type": (b"POST /manage/projects HTTP/1.1\r\n%sContent-Length: 2\r\n\r\n{}" % AUTHORIZED, 415),
    "large body": (
        b"POST /manage/projects HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: 999999\r\n\r\n{"
        % AUTHORIZED,
        413,
    ),
    "short body": (
        b"POST /manage/projects HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        % AUTHORIZED,
        400,
    ),
    "chunk size": (b"POST /manage/projects HTTP/1.1\r\n%s%s%s\r\n{}\r\n" % (AUTHORIZED, CHUNKED, CANARY), 400),
    "chunk size of a stranger": (b"POST /manage/projects HTTP/1.1\r\nHost: m\r\n%s%s\r\n" % (CHUNKED, CANARY), 401),
    "cut chunk": (b"POST /manage/projects HTTP/1.1\r\n%s%s9\r\n{" % (AUTHORIZED, CHUNKED), 400),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_whatever_comes_is_answered_with_a_problem_that_tells_nothing_private(served: Served, name: str) -> None:
    request, expected = REQUESTS[name]

    status, head, body = served.ask(request)

    assert (status, json.loads(body)["status"]) == (expected, expected)
    assert b"content-type: application/problem+json" in head.lower()
    assert not re.search(rb"(?i)canary|html|traceback|gunicorn/|werkzeug|%s" % TOKEN.encode(), body)


def test_the_log_quotes_no_malformed_request_and_calls_none_of_them_a_fault_of_ours(served: Served) -> None:
    for request, _ in REQUESTS.values():
        served.ask(request)

    log = served.log.read_bytes()
    assert b"malformed_request" in log and b"unforeseen_error" not in log
    assert CANARY not in log and TOKEN.encode() not in log


def test_a_manager_that_starts_without_its_servers_says_so(served: Served) -> None:
    deadline = time.monotonic() + 10
    while not (told := re.findall('.*"server_away".*', served.log.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.02)

    assert [json.loads(line)["variable"] for line in told] == ["REDIS_URL"]


HALVES = {
    "line": b"GET /healthz HT",
    "head": b"GET /healthz HTTP/1.1\r\nHost: m\r\n",
    "body": b"POST /manage/tokens HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
}


@pytest.mark.parametrize("half", HALVES)
def test_many_half_sent_requests_of_strangers_hold_up_nobody(served: Served, half: str) -> None:
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(served.connect()).sendall(HALVES[half])
        begun = time.monotonic()

        assert served.is_up()

        assert time.monotonic() - begun < wsgi_worker.READ_SECONDS / 2


def test_a_half_sent_head_is_dropped_in_time(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(HALVES["head"])
        begun = time.monotonic()

        assert connection.recv(1) == b""

        assert time.monotonic() - begun < wsgi_worker.READ_SECONDS + 3


def test_requests_in_a_row_share_a_connection(served: Served) -> None:
    client, used = http.client.HTTPConnection("127.0.0.1", served.port, timeout=30), set()
    for _ in range(3):
        client.request("GET", "/healthz")
        assert client.getresponse().read() == b'{"status":"ok"}\n'
        used.add(client.sock.getsockname())

    assert len(used) == 1
    client.close()


# Without a server


def test_reading_ends_with_the_time_and_writing_does_not() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, time_limit(ours, 0.05):
        assert ours.recv(1) == b""

        ours.sendall(b"x")
        assert theirs.recv(1) == b"x"


def test_within_the_time_nothing_is_ended() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with time_limit(ours, 30):
            pass
        theirs.sendall(b"x")

        assert ours.recv(1) == b"x"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidHeader("x"), 400),
        (errors.LimitRequestLine(9, 8), 414),
        (errors.InvalidResponseHeader("x"), 500),
        (errors.ConfigurationProblem("x"), 500),
        (KeyError("x"), 500),
    ],
    ids=["header", "line", "our header", "our configuration", "fault"],
)
def test_only_what_the_client_sent_is_its_fault(error: Exception, status: int) -> None:
    assert status_of(error) == status
    assert raw_problem(status).startswith(f"HTTP/1.1 {status} ".encode())
