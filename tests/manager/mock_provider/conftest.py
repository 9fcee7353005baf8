"""The vocabulary of these tests: ``ask`` drives the app by hand, ``remote`` talks to a served provider."""

import asyncio
import contextlib
import http.client
import json
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from wsproto import ConnectionType, WSConnection, events

from manager.mock_provider import MockProvider, serving

KEY = "sk-provider-0123456789abcdef"
CHAT = "/v1/chat/completions"


def chat_body(said: str = "hi there", **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": said}], **more}


@dataclass
class Exchange:
    """One ASGI conversation: what the app is told, whether the client then leaves, and what it is sent."""

    told: list[dict[str, Any]]
    leaves: bool = False
    sent: list[dict[str, Any]] = field(default_factory=list)

    async def receive(self) -> dict[str, Any]:
        if self.told:
            return self.told.pop(0)
        if not self.leaves:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


type Ask = Callable[..., Awaitable[Exchange]]


@pytest.fixture
def ask() -> Ask:
    async def asks(
        app: MockProvider,
        path: str = CHAT,
        body: Any = None,
        method: str = "POST",
        headers: dict[str, str] | None = None,
        leaves: bool = False,
    ) -> Exchange:
        sent = headers if headers is not None else {"authorization": f"Bearer {KEY}"}
        asked = body if body is not None else chat_body()
        raw = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
        pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
        exchange = Exchange([{"type": "http.request", "body": raw, "more_body": False}], leaves)
        scope = {"type": "http", "method": method, "path": path, "headers": pairs}
        await app(scope, exchange.receive, exchange.send)
        return exchange

    return asks


class Socket:
    """A WebSocket as a client holds it, by hand over wsproto. ``refusal`` is the HTTP answer to a refused handshake."""

    def __init__(self, netloc: str, target: str, headers: list[tuple[bytes, bytes]], subprotocols: list[str]) -> None:
        host, port = netloc.rsplit(":", 1)
        self._ws = WSConnection(ConnectionType.CLIENT)
        self._raw = socket.create_connection((host, int(port)), timeout=10)
        self._put(events.Request(netloc, target, extra_headers=headers, subprotocols=subprotocols))
        answer = self.event()
        self.subprotocol = getattr(answer, "subprotocol", None)
        self.refusal: tuple[int, bytes] | None = None
        if isinstance(answer, events.RejectConnection):
            self.refusal = answer.status_code, self._rest()

    def _put(self, event: events.Event) -> None:
        self._raw.sendall(self._ws.send(event))

    def _rest(self) -> bytes:
        body = b""
        while True:
            event = self.event()
            assert isinstance(event, events.RejectData)
            body += bytes(event.data)
            if event.body_finished:
                return body

    def event(self) -> events.Event:
        """The next thing the server sent. Raises ConnectionError if the connection is dropped."""
        while True:
            for event in self._ws.events():
                return event
            if not (received := self._raw.recv(65536)):
                raise ConnectionError("dropped without a close frame")
            self._ws.receive_data(received)

    def say(self, message: Any) -> None:
        self._put(events.TextMessage(message if isinstance(message, str) else json.dumps(message)))

    def hear(self, until: str = "") -> list[dict[str, Any]]:
        """The next message, or all up to the one of that type."""
        heard: list[dict[str, Any]] = []
        while not heard or (until and heard[-1]["type"] != until):
            event = self.event()
            assert isinstance(event, events.TextMessage), event
            heard.append(json.loads(event.data))
        return heard

    def close(self, code: int = 1000) -> None:
        """The closing handshake, then the connection."""
        self._put(events.CloseConnection(code))
        self.event()
        self.drop()

    def drop(self) -> None:
        """Just the connection."""
        self._raw.close()

    def hang_up(self) -> None:
        """Say nothing more and hear nothing more; whoever waits for an event, in another thread, learns of it."""
        self._raw.shutdown(socket.SHUT_RDWR)


class Remote:
    """A served provider, spoken to over real connections that are closed with the test."""

    def __init__(self, url: str, closing: contextlib.ExitStack) -> None:
        self.url = url
        self._closing = closing

    def connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=10)
        self._closing.callback(connection.close)
        return connection

    def send(self, body: dict[str, Any] | None = None, **headers: str) -> http.client.HTTPResponse:
        """A chat question; the answer's headers have come, its body is still to be read."""
        connection = self._asking = self.connect()
        fields = {"authorization": f"Bearer {KEY}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        connection.request("POST", CHAT, json.dumps(body or chat_body()), fields)
        return connection.getresponse()

    def stream(self, **behaviour: Any) -> http.client.HTTPResponse:
        return self.send(chat_body(stream=True), x_mock_behaviour=json.dumps(behaviour))

    def socket(
        self, target: str = "/v1/realtime?model=gpt-realtime", subprotocols: list[str] | None = None, **headers: str
    ) -> Socket:
        """A WebSocket after its handshake, accepted or not."""
        sent = {"authorization": f"Bearer {KEY}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        pairs = [(name.encode(), value.encode()) for name, value in sent.items() if value]
        opened = Socket(urlsplit(self.url).netloc, target, pairs, subprotocols or [])
        self._closing.callback(opened.drop)
        return opened

    def leave(self, answer: http.client.HTTPResponse) -> None:
        """Closes the connection of the last question in the middle of its answer."""
        answer.close()
        self._asking.close()

    def control(self, method: str, name: str, body: Any = None) -> Any:
        connection = self.connect()
        connection.request(method, f"/__mock__/{name}", None if body is None else json.dumps(body))
        return json.loads(connection.getresponse().read())

    def ledger(self) -> Any:
        return self.control("GET", "ledger")

    def last(self) -> Any:
        return self.ledger()["recent"][-1]


def eventually(holds: Callable[[], bool], within: float = 5.0) -> None:
    """Fails unless the condition comes true in time."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., None]:
    return eventually


@pytest.fixture(scope="session")
def served_url() -> Iterator[str]:
    with serving() as url:
        yield url


@pytest.fixture
def remote(served_url: str) -> Iterator[Remote]:
    """The served provider, well-behaved and with an empty ledger."""
    with contextlib.ExitStack() as closing:
        remote = Remote(served_url, closing)
        remote.control("PUT", "behaviour", {})
        remote.control("DELETE", "keys")
        remote.control("DELETE", "ledger")
        yield remote
        remote.control("POST", "release")
