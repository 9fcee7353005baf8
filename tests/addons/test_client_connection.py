"""Rules of the client's HTTP/1 connection: bytes in, events and bytes out, no network."""

import json
from collections.abc import Iterator

import pytest
from mitmproxy import connection, http, options
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)

from addons import client_connection
from addons.client_connection import ClientConnection, StopReading
from addons.request_head import MAX_HEAD_BYTES

HEAD = b"POST /v1/files HTTP/1.1\r\nHost: proxy\r\n"
GET = b"GET /v1/models HTTP/1.1\r\nHost: proxy\r\n\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


class Client:
    """A client of one connection: what it sends, what it gets, and what the proxy's streams hear of it."""

    def __init__(self) -> None:
        self._connection = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))
        self._connection.state = ConnectionState.OPEN
        self._layer = ClientConnection(Context(self._connection, options.Options()))
        self.got = b""
        self.heard: list[HttpEvent] = []
        self.is_half_closed = False
        self.is_waiting_to_close = False
        self._follow(self._layer.handle_event(events.Start()))

    @property
    def is_closed(self) -> bool:
        return self._connection.state is ConnectionState.CLOSED

    def send(self, data: bytes, step: int = 0) -> "Client":
        """Send bytes, all together or in steps."""
        for start in range(0, len(data), step or max(len(data), 1)):
            piece = data[start : start + (step or len(data))]
            self._follow(self._layer.handle_event(events.DataReceived(self._connection, piece)))
        return self

    def close(self) -> "Client":
        """Close the sending side."""
        self._connection.state &= ~ConnectionState.CAN_READ
        self._follow(self._layer.handle_event(events.ConnectionClosed(self._connection)))
        return self

    def wake_up(self) -> "Client":
        wakeup = events.Wakeup(commands.RequestWakeup(0))
        self._follow(self._layer.handle_event(wakeup))
        return self

    def answer(self, *said: HttpEvent) -> "Client":
        """Let the stream say something."""
        for event in said:
            self._follow(self._layer.handle_event(event))
        return self

    def _follow(self, said: Iterator[commands.Command]) -> None:
        for command in said:
            if isinstance(command, commands.SendData):
                assert self._connection.state & ConnectionState.CAN_WRITE
                self.got += command.data
            elif isinstance(command, ReceiveHttp):
                self.heard.append(command.event)
            elif isinstance(command, commands.CloseTcpConnection) and command.half_close:
                self.is_half_closed = True
                self._connection.state &= ~ConnectionState.CAN_WRITE
            elif isinstance(command, commands.CloseConnection):
                self._connection.state = ConnectionState.CLOSED
            elif isinstance(command, commands.RequestWakeup):
                self.is_waiting_to_close = True
            else:
                raise AssertionError(f"unexpected: {command}")

    @property
    def requests(self) -> list[http.Request]:
        return [event.request for event in self.heard if isinstance(event, RequestHeaders)]

    @property
    def body(self) -> bytes:
        return b"".join(event.data for event in self.heard if isinstance(event, RequestData))

    @property
    def is_complete(self) -> bool:
        return any(isinstance(event, RequestEndOfMessage) for event in self.heard)

    @property
    def refusal(self) -> tuple[int, str] | None:
        head, found, body = self.got.partition(b"\r\n\r\n")
        return (int(head.split()[1]), json.loads(body)["error"]["code"]) if found else None


@pytest.fixture
def client() -> Client:
    return Client()


def response(status: int = 200, version: str = "HTTP/1.1", **fields: str) -> http.Response:
    made = http.Response.make(status, b"")
    made.http_version = version
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    made.headers = http.Headers(named)
    return made


def whole(body: bytes, stream: int = 1, **fields: str) -> list[HttpEvent]:
    """A complete answer."""
    head = ResponseHeaders(stream, response(**fields), False)
    return [head, ResponseData(stream, body), ResponseEndOfMessage(stream)]


# Heads


@pytest.mark.parametrize("step", [0, 1, 7])
@pytest.mark.parametrize("empty", [b"\r\n", b"\n", b"\r\n\r\n", b"\r\n" * client_connection.MAX_EMPTY_LINES])
def test_empty_lines_before_a_request_are_passed_over(client: Client, empty: bytes, step: int) -> None:
    client.send(empty + GET, step)

    assert len(client.requests) == 1 and client.is_complete and not client.got


def test_an_empty_line_after_a_body_does_not_disturb_the_next_request(client: Client) -> None:
    client.send(HEAD + b"Content-Length: 2\r\n\r\n{}\r\n" + GET)
    client.answer(*whole(b"ok", content_length="2"))

    assert [request.method for request in client.requests] == ["POST", "GET"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n" * 100 + GET,
        b"rubbish\r\n\r\n",
        b"GET /v1/models\r\n\r\n",
        b"GET  /v1/models HTTP/1.1 x\r\nHost: a\r\n\r\n",
        b"GET v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/models HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /v1/models HTTP/1.2\r\nHost: a\r\n\r\n",
        b"GET /v1/models HTTP/0.9\r\n\r\n",
        b"GET /v1/models HTTP/11\r\nHost: a\r\n\r\n",
        b"GET /v1/models http/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b" GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /v1/models HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n folded: first\r\nHost: a\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        HEAD + b"Content-Length: 1, 1\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: +1\r\n\r\n",
        HEAD + b"Content-Length: 0x1\r\n\r\n",
        HEAD + b"Content-Length: 1_0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\r\n\r\n",
        HEAD + b"X-Odd: a\rb\r\n\r\n",
        HEAD + b"X-Odd: a\x00b\r\n\r\n",
        HEAD + b"X-Odd: \x0c\r\n\r\n",
        b"GET\x0b/v1/models\x0bHTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=range(35),
)
def test_what_is_no_request_is_answered_once_and_ends_the_connection(client: Client, raw: bytes) -> None:
    client.send(raw)

    assert client.refusal == (400, "invalid_request")
    assert client.got.count(b"HTTP/1.1 ") == 1 and b"connection: close" in client.got
    assert not client.requests and client.is_half_closed and client.is_waiting_to_close
    assert client.close().is_closed


@pytest.mark.parametrize("step", [0, 4096])
def test_a_head_without_end_is_refused(client: Client, step: int) -> None:
    client.send(b"GET /v1/models HTTP/1.1\r\nX-Endless: " + b"a" * (MAX_HEAD_BYTES + 1), step)

    assert client.refusal == (431, "invalid_request")


def test_a_refused_client_that_does_not_stop_is_cut_off(client: Client) -> None:
    client.send(b"rubbish\r\n\r\n")
    client.send(b"a" * (client_connection.LINGER_BYTES + 1), 1 << 20)

    assert client.is_closed


def test_a_refused_client_that_does_not_close_is_cut_off_in_time(client: Client) -> None:
    assert client.send(b"rubbish\r\n\r\n").wake_up().is_closed


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"GET /v1/mod"])
def test_a_client_that_leaves_before_it_has_asked_gets_no_answer(client: Client, raw: bytes) -> None:
    client.send(raw).close()

    assert client.is_closed and not client.got and not client.heard


# Bodies


@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize(
    "trailers",
    [
        b"",
        b"X-Checksum: abc\r\n",
        b"Authorization: Bearer sk-other\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ],
)
def test_trailers_are_dropped(client: Client, trailers: bytes, step: int) -> None:
    client.send(CHUNKED + b"3;ext=1\r\nabc\r\n0\r\n" + trailers + b"\r\n", step)

    assert (client.body, client.is_complete, client.got) == (b"abc", True, b"")
    client.answer(*whole(b"ok", content_length="2")).send(GET)
    assert len(client.requests) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"-1\r\n",
        b"3\r\nabcd\r\n",
        b"1" * 30 + b"\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\nX: a\x00\r\n\r\n",
        b"3;" + b"a" * (MAX_HEAD_BYTES + 1),
        b"0\r\nX-Endless: " + b"a" * (MAX_HEAD_BYTES + 1),
        b"0\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES,
    ],
    ids=range(10),
)
def test_a_malformed_body_is_answered_once_and_the_stream_is_told(client: Client, body: bytes) -> None:
    client.send(CHUNKED + body)

    assert client.refusal == (400, "invalid_request") and client.got.count(b"HTTP/1.1 ") == 1
    assert isinstance(client.heard[-1], RequestProtocolError) and not client.is_complete
    assert client.close().is_closed


def test_a_malformed_body_is_answered_even_after_an_invitation_to_send_it(client: Client) -> None:
    client.send(CHUNKED).answer(ResponseHeaders(1, response(100), False))
    client.got = b""

    assert client.send(b"x\r\n").refusal == (400, "invalid_request")


def test_a_malformed_body_after_the_answer_began_just_ends_the_connection(client: Client) -> None:
    client.send(CHUNKED).answer(ResponseHeaders(1, response(200, content_length="9"), False))
    begun = client.got

    client.send(b"x\r\n")

    assert client.is_closed and client.got == begun


@pytest.mark.parametrize("raw", [CHUNKED, CHUNKED + b"3\r\nab", HEAD + b"Content-Length: 3\r\n\r\nab"])
def test_a_client_that_leaves_within_its_body_ends_the_request(client: Client, raw: bytes) -> None:
    client.send(raw).close()

    assert client.is_closed and not client.got
    assert [type(event) for event in client.heard].count(RequestProtocolError) == 1


# Waiting for the answer


def test_a_client_that_closes_its_sending_side_is_taken_for_gone(client: Client) -> None:
    client.send(GET).close()

    assert client.is_closed
    assert isinstance(client.heard[-1], RequestProtocolError)
    assert client.heard[-1].code is ErrorCode.CLIENT_DISCONNECTED
    client.answer(ResponseProtocolError(1, "killed", ErrorCode.KILL))
    assert not client.got


def test_requests_sent_ahead_are_answered_in_turn(client: Client) -> None:
    client.send(GET + HEAD + b"Content-Length: 2\r\n\r\n{}" + GET)
    assert len(client.requests) == 1

    client.answer(*whole(b"1", 1, content_length="1"))
    assert [request.method for request in client.requests] == ["GET", "POST"] and client.body == b"{}"
    client.answer(*whole(b"2", 3, content_length="1"))
    client.answer(*whole(b"3", 5, content_length="1"))

    assert [part[-1:] for part in client.got.split(b"HTTP/1.1 200")[1:]] == [b"1", b"2", b"3"]


def test_a_request_sent_ahead_that_is_none_is_refused_in_its_turn(client: Client) -> None:
    client.send(GET + b"rubbish\r\n\r\n")
    client.answer(*whole(b"1", content_length="1"))

    first, second = client.got.split(b"HTTP/1.1 ")[1:]
    assert (first[:3], second[:3]) == (b"200", b"400")


def test_a_client_that_sends_endlessly_ahead_is_cut_off(client: Client) -> None:
    client.send(GET).send(b"a" * (client_connection.MAX_PIPELINED_BYTES + 1), 1 << 16)

    assert client.is_closed and isinstance(client.heard[-1], RequestProtocolError)


# Answers


def head_of(client: Client) -> dict[str, str]:
    lines = client.got.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


@pytest.mark.parametrize("wish", [b"close", b"Close", b"x-a, close"])
def test_a_client_that_wants_to_close_gets_its_way_whatever_the_rooms_make_of_its_request(
    client: Client, wish: bytes
) -> None:
    client.send(GET[:-2] + b"Connection: " + wish + b"\r\n\r\n")
    client.requests[0].headers.pop("connection")
    client.answer(*whole(b"ok", content_length="2"))

    assert head_of(client)["connection"] == "close" and client.is_closed


def test_the_providers_close_is_not_the_clients(client: Client) -> None:
    client.send(GET).answer(*whole(b"ok", content_length="2", connection="close"))

    assert "connection" not in head_of(client) and not client.is_closed
    assert len(client.send(GET).requests) == 2


def test_an_answer_of_unknown_length_is_chunked(client: Client) -> None:
    client.send(GET).answer(*whole(b"data", content_type="text/event-stream"))

    assert head_of(client)["transfer-encoding"] == "chunked"
    assert client.got.endswith(b"\r\n\r\n4\r\ndata\r\n0\r\n\r\n") and not client.is_closed


def test_an_answer_of_an_old_provider_is_given_in_our_version(client: Client) -> None:
    answer = response(200, "HTTP/1.0", content_type="text/plain")
    client.send(GET).answer(ResponseHeaders(1, answer, False), ResponseData(1, b"a"), ResponseEndOfMessage(1))

    assert client.got.startswith(b"HTTP/1.1 200 ") and client.got.endswith(b"1\r\na\r\n0\r\n\r\n")
    assert answer.http_version == "HTTP/1.0", "mitmproxy ends the provider's connection by it"


def test_an_empty_piece_does_not_end_a_chunked_answer(client: Client) -> None:
    client.send(GET).answer(
        ResponseHeaders(1, response(200, transfer_encoding="chunked"), False),
        ResponseData(1, b"a"),
        ResponseData(1, b""),
        ResponseData(1, b"b"),
        ResponseTrailers(1, http.Headers(x_checksum="1")),
        ResponseEndOfMessage(1),
    )

    assert client.got.endswith(b"\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n")


@pytest.mark.parametrize("fields", [{"transfer_encoding": "chunked"}, {}])
@pytest.mark.parametrize("wish", [b"", b"Connection: keep-alive\r\n"])
def test_an_old_client_gets_no_chunks_and_the_end_by_closing(
    client: Client, fields: dict[str, str], wish: bytes
) -> None:
    client.send(b"GET /v1/models HTTP/1.0\r\n" + wish + b"\r\n").answer(*whole(b"data", **fields))

    assert client.got.endswith(b"\r\n\r\ndata") and client.is_closed
    assert {**head_of(client)} == {"connection": "close"}


def test_an_old_client_is_not_invited_to_send_its_body(client: Client) -> None:
    client.send(b"POST /v1/files HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
    client.answer(ResponseHeaders(1, response(100), False))

    assert client.got == b""


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_announces_none(client: Client, status: int) -> None:
    client.send(GET).answer(ResponseHeaders(1, response(status), True), ResponseEndOfMessage(1))

    assert head_of(client) == {} and not client.is_closed
    assert len(client.send(GET).requests) == 2


@pytest.mark.parametrize("framing", ["content_length", "transfer_encoding"])
def test_a_body_that_cannot_be_is_not_framed(client: Client, framing: str) -> None:
    told = {"content_length": "0", "transfer_encoding": "chunked"}[framing]
    client.send(GET).answer(ResponseHeaders(1, response(204, **{framing: told}), True), ResponseEndOfMessage(1))

    assert head_of(client) == {} and not client.is_closed and client.got.endswith(b"\r\n\r\n")
    assert len(client.send(GET).requests) == 2


def test_an_interim_answer_announces_no_length(client: Client) -> None:
    client.send(GET).answer(ResponseHeaders(1, response(103, content_length="5"), False))

    assert client.got.lower().startswith(b"http/1.1 103") and b"content-length" not in client.got.lower()


def test_an_answer_to_head_has_no_body(client: Client) -> None:
    client.send(GET.replace(b"GET", b"HEAD"))
    client.answer(ResponseHeaders(1, response(200), True), ResponseEndOfMessage(1))

    assert client.got.endswith(b"\r\n\r\n") and b"0\r\n\r\n" not in client.got and not client.is_closed


def test_an_answer_before_the_request_has_come_is_the_last(client: Client) -> None:
    client.send(HEAD + b"Content-Length: 100\r\n\r\nhalf")
    client.answer(*whole(b"no", content_length="2"), StopReading(1))

    assert head_of(client)["connection"] == "close"
    assert client.is_half_closed and not client.is_closed and client.wake_up().is_closed


def test_after_a_complete_request_there_is_nothing_to_linger_for(client: Client) -> None:
    client.send(GET).answer(*whole(b"no", content_length="2"), StopReading(1))

    assert not client.is_half_closed and len(client.send(GET).requests) == 2


def test_an_answer_that_breaks_off_ends_the_connection_without_a_last_chunk(client: Client) -> None:
    client.send(GET).answer(
        ResponseHeaders(1, response(200), False),
        ResponseData(1, b"half"),
        ResponseProtocolError(1, "gone", ErrorCode.GENERIC_SERVER_ERROR),
    )

    assert client.got.endswith(b"4\r\nhalf\r\n") and client.is_closed


def test_an_agreed_websocket_is_passed_through(client: Client) -> None:
    client.send(GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    switched = response(101, connection="Upgrade", upgrade="websocket")
    client.answer(ResponseHeaders(1, switched, True), ResponseEndOfMessage(1), ResponseData(1, b"\x81\x01a"))
    client.send(b"\x81\x01b")

    assert head_of(client) == {"connection": "Upgrade", "upgrade": "websocket"}
    assert client.got.endswith(b"\r\n\r\n\x81\x01a") and client.body == b"\x81\x01b"
