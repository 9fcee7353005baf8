"""Rules of what headers carry across, in both directions."""

import time
from dataclasses import replace

import pytest
from mitmproxy import http

from addons import headers
from addons.call import Call, Calls
from addons.headers import Headers
from addons.refusal import SERVICE_UNAVAILABLE, respond
from tests.addons.conftest import request

Fields = list[tuple[bytes, bytes]]


def sent_on(*fields: tuple[bytes, bytes], version: str = "HTTP/1.1") -> http.Headers:
    """What the provider gets of these headers."""
    made = request().request
    made.http_version, made.headers = version, http.Headers(fields)
    return headers.for_provider(made, "the-id")


def given_back(*fields: tuple[bytes, bytes], status: int = 200) -> http.Headers:
    """What the client gets of these headers."""
    response = http.Response.make(status)
    response.headers = http.Headers(fields)
    return headers.for_client(response, "the-id", "our-id")


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "HTTP2-Settings"),
        *("Proxy-Authorization", "Proxy-Authenticate"),
        *("Forwarded", "X-Forwarded-For", "X-Forwarded-Anything", "X-Real-IP", "X-Client-IP", "True-Client-IP"),
        *("CF-Connecting-IP", "CF-IPCountry", "CF-Ray", "X-Original-Forwarded-For", "X-Amzn-Trace-Id", "Baggage"),
        *("Cookie", "Origin", "Referer", "Sec-Fetch-Site", "Sec-CH-UA", "Access-Control-Request-Method"),
        *("X-LLM-Proxy-Retry", "X-LLM-Proxy-Request-Id"),
        *("X-HTTP-Method-Override", "X-Original-URL", "Max-Forwards", "Proxy-Anything"),
        *("Traceparent", "Tracestate", "B3", "X-B3-TraceId", "Uber-Trace-Id"),
        *("X-ProxyUser-IP", "X-Varnish", "X-Client-Data"),
        *("X_Forwarded_For", "x_real-ip", "X_LLM_Proxy_Retry", "Keep_Alive", "X_HTTP_Method_Override"),
    ],
)
def test_the_provider_does_not_get(name: str) -> None:
    assert name not in sent_on((name.encode(), b"h2c"))


@pytest.mark.parametrize(
    "name",
    [
        *("Accept", "Accept-Encoding", "Content-Type", "Content-Length", "Content-Encoding", "User-Agent", "Expect"),
        *("OpenAI-Organization", "OpenAI-Beta", "Anthropic-Version", "X-Stainless-Lang", "Idempotency-Key"),
        *("Cache-Control", "Sec-WebSocket-Key", "X-Cf-Like", "X-Own"),
    ],
)
def test_the_provider_gets(name: str) -> None:
    assert sent_on((name.encode(), b"value"))[name] == "value"


@pytest.mark.parametrize("named", [b"X-Own", b"x-own", b"close, X-OWN ,keep-alive", b",x-own,,", b"x_own"])
def test_what_connection_names_stays_on_this_side(named: bytes) -> None:
    assert "x-own" not in sent_on((b"Connection", named), (b"X-Own", b"a"), (b"x-own", b"b"))


def test_several_connection_headers_count_together() -> None:
    passed = sent_on((b"Connection", b"x-a"), (b"connection", b"x-b"), (b"x-a", b"1"), (b"x-b", b"2"), (b"x-c", b"3"))

    assert [name for name in passed if name.startswith("x-")] == ["x-c", "x-request-id"]


@pytest.mark.parametrize("name", [b"transfer-encoding", b"content-length", b"content-type", b"content-encoding"])
def test_connection_cannot_take_away_what_the_body_is_read_by(name: bytes) -> None:
    assert sent_on((b"Connection", b"close, " + name), (name, b"value"))[name.decode()] == "value"


def test_the_provider_gets_the_requests_id() -> None:
    assert sent_on((b"X-Request-ID", b"client's own, malformed")).get_all("x-request-id") == ["the-id"]


@pytest.mark.parametrize(
    ("received", "version", "expected"),
    [
        ("", "HTTP/1.1", "1.1 llm-proxy"),
        ("", "HTTP/1.0", "1.0 llm-proxy"),
        ("", "HTTP/2.0", "2 llm-proxy"),
        ("1.1 squid.corp.example:3128 (squid/6)", "HTTP/1.1", "1.1 hidden, 1.1 llm-proxy"),
        ("HTTP/2 edge, 1.0 inner", "HTTP/1.1", "2 hidden, 1.0 hidden, 1.1 llm-proxy"),
        ("rubbish, ,", "HTTP/1.1", "1.1 llm-proxy"),
    ],
)
def test_via_counts_the_hops_and_names_none_but_us(received: str, version: str, expected: str) -> None:
    assert sent_on((b"Via", received.encode()), version=version)["via"] == expected


def test_a_websockets_handshake_is_passed_on_whole() -> None:
    passed = sent_on(
        (b"Connection", b"keep-alive, Upgrade"),
        (b"Upgrade", b"WebSocket"),
        (b"Sec-WebSocket-Key", b"a2V5"),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Protocol", b"realtime, openai-insecure-api-key.sk-llmp-abc, openai-beta.realtime-v1"),
    )

    assert (passed["connection"], passed["upgrade"]) == ("Upgrade", "websocket")
    assert (passed["sec-websocket-key"], passed["sec-websocket-version"]) == ("a2V5", "13")
    assert passed["sec-websocket-protocol"] == "realtime, openai-beta.realtime-v1"


def test_a_key_as_the_only_subprotocol_leaves_none() -> None:
    passed = sent_on((b"Upgrade", b"websocket"), (b"Sec-WebSocket-Protocol", b"openai-insecure-api-key.sk-llmp-abc"))

    assert "sec-websocket-protocol" not in passed


@pytest.mark.parametrize(
    "name",
    [
        *("Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "TE", "Trailer", "Upgrade", "Connection"),
        *("Alt-Svc", "Set-Cookie", "Strict-Transport-Security", "NEL", "Report-To", "Clear-Site-Data"),
    ],
)
def test_the_client_does_not_get(name: str) -> None:
    assert name not in given_back((name.encode(), b"value"))


@pytest.mark.parametrize(
    "name",
    ["Transfer-Encoding", "Content-Length", "Content-Type", "Content-Encoding", "Retry-After", "X-RateLimit-Reset"],
)
def test_the_client_gets(name: str) -> None:
    assert given_back((b"Connection", name.encode() if "Encoding" in name else b""), (name.encode(), b"value"))[name]


def test_what_the_providers_connection_names_is_removed_and_its_close_is_left_for_mitmproxy() -> None:
    passed = given_back((b"Connection", b"close, X-Hop"), (b"X-Hop", b"1"))

    assert (passed["connection"], "x-hop" in passed) == ("close", False)


def test_bytes_that_are_no_text_do_not_keep_an_answer_from_being_cleaned() -> None:
    passed = given_back((b"Connection", b"\xff\xfe"), (b"X-Odd", b"\xff"), (b"Set-Cookie", b"\xff=1"))

    assert "set-cookie" not in passed and "x-odd" in passed


def test_an_agreed_websocket_stays_one() -> None:
    passed = given_back((b"Connection", b"upgrade"), (b"Upgrade", b"websocket"), status=101)

    assert (passed["connection"], passed["upgrade"]) == ("Upgrade", "websocket")


@pytest.mark.parametrize(("fields", "expected"), [([], "the-id"), ([(b"X-Request-Id", b"req_theirs")], "req_theirs")])
def test_the_client_gets_the_providers_id_if_there_is_one(fields: Fields, expected: str) -> None:
    passed = given_back(*fields)

    assert (passed["x-request-id"], passed["x-llm-proxy-request-id"]) == (expected, "our-id")


async def test_the_client_sees_whose_time_it_was_beside_what_the_provider_says(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    call.started, call.attempts.started = time.monotonic() - 3, time.monotonic() - 2
    flow.response = http.Response.make(200, headers={"server-timing": "cache;desc=hit"})

    Headers(calls).responseheaders(flow)

    theirs, ours = flow.response.headers.get_all("server-timing")
    (proxy, upstream) = (float(part.partition("dur=")[2]) for part in ours.split(", "))
    assert theirs == "cache;desc=hit" and ours.startswith("proxy;dur=") and ", upstream;dur=" in ours
    assert proxy == pytest.approx(1000, abs=1) and 2000 <= upstream < 3000


async def test_a_websocket_on_another_route_is_refused(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    flow.request.headers["upgrade"] = "websocket"

    await Headers(calls).requestheaders(flow)

    assert flow.response is not None and flow.response.status_code == 400
    assert call.refused_with == "invalid_request"


async def test_a_websocket_passes_where_the_route_has_one(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    assert call.route is not None
    call.route = replace(call.route, upgrade="websocket")
    flow.request.headers["upgrade"] = "websocket"

    await Headers(calls).requestheaders(flow)

    assert flow.response is None and flow.request.headers["upgrade"] == "websocket"


async def test_an_offer_of_another_protocol_is_passed_over(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, _ = admitted
    flow.request.headers["connection"] = "Upgrade, HTTP2-Settings"
    flow.request.headers["upgrade"] = "h2c"
    flow.request.headers["http2-settings"] = "AAMAAABkAAQAAP__"

    await Headers(calls).requestheaders(flow)

    assert flow.response is None
    assert {"connection", "upgrade", "http2-settings"}.isdisjoint(flow.request.headers.keys())


async def test_the_provider_is_spoken_to_in_our_own_version(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, _ = admitted
    flow.request.http_version = "HTTP/1.0"

    await Headers(calls).requestheaders(flow)

    assert (flow.request.http_version, flow.request.headers["via"]) == ("HTTP/1.1", "1.0 llm-proxy")


async def test_trailers_of_a_request_are_dropped(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, _ = admitted
    flow.request.trailers = http.Headers([(b"authorization", b"Bearer sk-other")])

    await Headers(calls).request(flow)

    assert flow.request.trailers is None


async def test_the_id_that_was_settled_goes_both_ways(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    call.correlation_id = "theirs"
    room = Headers(calls)

    await room.requestheaders(flow)
    flow.response = http.Response.make(200, b"", {"set-cookie": "a=b"})
    room.responseheaders(flow)

    assert flow.request.headers["x-request-id"] == "theirs"
    assert (flow.response.headers["x-request-id"], "set-cookie" in flow.response.headers) == ("theirs", False)


def test_a_refusal_keeps_its_headers(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    flow.response = respond(SERVICE_UNAVAILABLE, call)
    before = flow.response.headers.copy()

    Headers(calls).responseheaders(flow)

    assert flow.response.headers == before
