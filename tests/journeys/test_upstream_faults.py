"""Two thousand requests through everything that can be wrong with a provider's connection.

Each gets the right answer, one JSON error of ours, a stream that ends with an error event, or a body that can be seen
to be broken; soon; and afterwards the worker holds nothing of it any more.
"""

import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import h11
import pytest
import sqlalchemy as sa

from manager import db
from manager.mock_provider.answers.files import Content
from manager.tables import HourlyUsage, Request
from tests.faults import GARBAGE, Fault, FaultProxy
from tests.journeys.conftest import Installation, Token, until

CLIENTS = 26
# The route's `total` in providers.toml, and what a busy machine may take on top.
LONGEST_SECONDS = 5 + 3
# Connections to Redis are opened as needed and kept; a scrape has one, too.
MOST_MORE_SOCKETS = 12
SIZE = 20_000

FAULTS = {
    "none": Fault(),
    "delayed": Fault(delay_s=0.05),
    "throttled": Fault(bytes_per_s=60_000),
    "refused": Fault(refuse=True),
    "mute": Fault(mute=True),
    "garbage": Fault(garbage=GARBAGE),
    "reset at once": Fault(reset_at=0),
    "reset in the status line": Fault(reset_at=10),
    "reset in the head": Fault(reset_at=80),
    "reset in the body": Fault(reset_at=500),
    "finished at once": Fault(finish_at=0),
    "finished in the head": Fault(finish_at=80),
    "finished in the body": Fault(finish_at=500),
    "stalled at once": Fault(stall_at=0),
    "stalled in the head": Fault(stall_at=80),
    "stalled in the body": Fault(stall_at=500),
    "more announced than sent": Fault(length_off=7),
    "less announced than sent": Fault(length_off=-7),
    "endless head": Fault(endless_headers=True),
    "endless body": Fault(endless_body=True, bytes_per_s=40_000),
}
# One whose answers last as long as the route allows is asked less.
REQUESTS = dict.fromkeys(FAULTS, 104) | {"endless body": CLIENTS}
HEALTHY = ("none", "delayed", "throttled")


@pytest.fixture(scope="module")
def installation(hurried_installation: Installation) -> Installation:
    return hurried_installation


def asking(kind: str, token: Token) -> bytes:
    """A request of one kind, after whose answer the connection is closed."""
    fields = f"Host: proxy\r\nAuthorization: Bearer {token.secret}\r\nConnection: close\r\n"
    if kind == "download":
        return f"GET /v1/files/one/content?size={SIZE} HTTP/1.1\r\n{fields}\r\n".encode()
    ask = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "tell me"}], "stream": kind == "stream"}
    body = json.dumps(ask).encode()
    return f"POST /v1/chat/completions HTTP/1.1\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def everything(address: tuple[str, int], raw: bytes) -> bytes:
    """All that comes back until the connection ends, however it ends."""
    received = b""
    with socket.create_connection(address, timeout=LONGEST_SECONDS) as connection:
        connection.sendall(raw)
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            pass
    return received


def read(received: bytes) -> tuple[int, bytes, bool]:
    """Return status, body, and whether the body has come to its end; fails for what is not exactly one answer."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "proxy")]))
    client.send(h11.EndOfMessage())
    client.receive_data(received)
    client.receive_data(b"")
    head, body = client.next_event(), b""
    assert isinstance(head, h11.Response), f"no head in {received!r}"
    names = {name for name, _ in head.headers}
    assert names & {b"content-length", b"transfer-encoding"}, "the body's end could not be told from a break"
    try:
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data), event
            body += bytes(event.data)
    except h11.RemoteProtocolError:
        return head.status_code, body, False
    assert client.trailing_data == (b"", True), "something follows on the answer"
    return head.status_code, body, True


def is_right(kind: str, body: bytes) -> bool:
    if kind == "download":
        return body == b"".join(Content(SIZE))
    if kind == "stream":
        return body.endswith(b"data: [DONE]\n\n") and b'"error"' not in body
    return bool(json.loads(body)["usage"]["total_tokens"] > 0)


def verdict(kind: str, received: bytes, is_cut_short: bool) -> str:
    """Say in a word what a client got; fails for what no client may get."""
    status, body, is_whole = read(received)
    if not is_whole:
        assert status == 200, "our errors are whole"
        return "broken"
    if status != 200:
        return f"{status} {json.loads(body)['error']['code']}"
    if kind == "stream" and b'"error"' in body:
        assert json.loads(body.rstrip().rpartition(b"data: ")[2])["error"]["code"]
        return "error event"
    if is_cut_short:  # The provider itself has declared so few bytes: to the client that is the answer.
        return "as declared"
    assert is_right(kind, body), f"looks whole and is not: {body[-200:]!r}"
    return "right"


def sockets(pid: int) -> int:
    count = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


@pytest.fixture(scope="module")
def engine(installation: Installation) -> Iterator[sa.Engine]:
    made = db.create_engine(installation.settings.database_url)
    yield made
    made.dispose()


def recorded(engine: sa.Engine, token: Token) -> tuple[int, int]:
    """How many requests of a token stand in SQL, singly and added up."""
    rows = sa.select(sa.func.count()).select_from(Request).where(Request.token_id == UUID(token.id))
    added = sa.select(sa.func.sum(HourlyUsage.requests)).where(HourlyUsage.token_id == UUID(token.id))
    with engine.connect() as connection:
        return connection.scalar(rows) or 0, connection.scalar(added) or 0


@pytest.fixture(scope="module")
def calm(installation: Installation) -> int:
    """How many sockets the first worker holds when it has been busy and is not any more."""
    token = installation.token(installation.project("calm", provider="hurried"))
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda _: asked(installation, token, "plain"), range(8 * CLIENTS)))
    until(lambda: installation.metric("llm_proxy_requests_in_flight") == 0)
    return sockets(installation.supervisor.pids()["proxy-0"])


def asked(installation: Installation, token: Token, kind: str) -> tuple[bytes, float]:
    """All that came back, and the seconds that it took."""
    url, began = urlsplit(installation.proxy_urls[0]), time.monotonic()
    received = everything((url.hostname or "", url.port or 0), asking(kind, token))
    return received, time.monotonic() - began


def test_it_is_two_thousand_requests_in_all() -> None:
    assert sum(REQUESTS.values()) >= 2000


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_healed_or_seen_and_leaves_nothing_behind(
    installation: Installation, engine: sa.Engine, calm: int, name: str
) -> None:
    fault, count, mock = FAULTS[name], REQUESTS[name], urlsplit(installation.mock_url)
    pid = installation.supervisor.pids()["proxy-0"]
    kinds = [("plain", "stream", "download")[number % 3] for number in range(count)]

    with FaultProxy(mock.hostname or "", mock.port or 0, fault) as provider:
        token = installation.token(installation.project(f"fault: {name}", provider="hurried", base_url=provider.url))
        with ThreadPoolExecutor(CLIENTS) as clients:
            got = list(clients.map(lambda kind: asked(installation, token, kind), kinds))
        until(lambda: provider.open == 0)

    verdicts = Counter(
        verdict(kind, received, fault.length_off < 0) for kind, (received, _) in zip(kinds, got, strict=True)
    )
    assert (set(verdicts) == {"right"}) is (name in HEALTHY)
    assert max(seconds for _, seconds in got) < LONGEST_SECONDS
    until(lambda: installation.metric("llm_proxy_requests_in_flight") == 0)
    until(lambda: sockets(pid) <= calm + MOST_MORE_SOCKETS)
    until(lambda: recorded(engine, token) == (count, count))
    until(lambda: installation.manage("GET", f"/manage/tokens/{token.id}")["request_count"] == count)
