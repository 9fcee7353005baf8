"""Rules of calls from web pages: off by default, preflights by origin alone, real requests by their project."""

from dataclasses import replace

import pytest
from mitmproxy import http

from addons import cors
from addons.call import Call, Calls
from addons.cors import Cors, Preflight
from addons.refusal import SERVICE_UNAVAILABLE, respond
from addons.route_table import RouteTable
from addons.store import StoreUnavailable
from tests.addons.conftest import request

PAGE = "https://app.example"


class KnownOrigins:
    """What all projects allow together."""

    def __init__(self, *origins: str) -> None:
        self._origins = origins

    async def allows_origin(self, origin: str) -> bool:
        return origin in self._origins


class NoStore:
    async def allows_origin(self, origin: str) -> bool:
        raise StoreUnavailable("away")


def preflight(path: str = "/v1/chat/completions", origin: str = PAGE, **more: str) -> http.HTTPFlow:
    return request("OPTIONS", path, origin=origin, access_control_request_method="POST", **more)


def allowing(call: Call, *origins: str) -> None:
    """Let the call's project allow these origins."""
    assert call.caller is not None
    call.caller = replace(call.caller, project=replace(call.caller.project, cors_origins=origins))


async def test_a_preflight_of_an_allowed_origin_is_answered(calls: Calls, route_table: RouteTable) -> None:
    flow = preflight(access_control_request_headers="authorization,content-type,x-stainless-os")

    await Preflight(calls, route_table, KnownOrigins(PAGE)).requestheaders(flow)

    assert flow.response is not None
    assert (flow.response.status_code, flow.response.raw_content) == (204, b"")
    assert dict(flow.response.headers) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "authorization,content-type,x-stainless-os",
        "access-control-max-age": "600",
        "vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    }


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "https://app.example/", f"{PAGE}, {PAGE}", "*"])
async def test_other_preflights_are_refused(calls: Calls, route_table: RouteTable, origin: str) -> None:
    flow = preflight(origin=origin)

    await Preflight(calls, route_table, KnownOrigins(PAGE)).requestheaders(flow)

    assert flow.response is not None
    assert (flow.response.status_code, calls.of(flow).refused_with) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in flow.response.headers


async def test_where_nobody_has_set_it_up_every_preflight_is_refused(calls: Calls, route_table: RouteTable) -> None:
    flow = preflight()

    await Preflight(calls, route_table, KnownOrigins()).requestheaders(flow)

    assert calls.of(flow).refused_with == "origin_not_allowed"


async def test_without_redis_no_preflight_is_answered(calls: Calls, route_table: RouteTable) -> None:
    flow = preflight()

    await Preflight(calls, route_table, NoStore()).requestheaders(flow)

    assert calls.of(flow).refused_with == "service_unavailable"


@pytest.mark.parametrize(
    "flow",
    [
        request("OPTIONS", "/v1/models"),
        request("OPTIONS", "/v1/models", origin=PAGE),
        request("POST", "/v1/models", origin=PAGE, access_control_request_method="POST"),
        preflight("/v1/nothing"),
    ],
    ids=["no origin", "no method", "no OPTIONS", "no route"],
)
async def test_what_is_no_preflight_of_a_route_is_left_to_the_allowlist(
    calls: Calls, route_table: RouteTable, flow: http.HTTPFlow
) -> None:
    await Preflight(calls, route_table, KnownOrigins(PAGE)).requestheaders(flow)

    assert flow.response is None


@pytest.mark.parametrize("asked", ["a\tb c", "a:b", "a,,b", "a" * 5000, "a, b\r\nx: y"])
async def test_only_header_names_are_repeated(calls: Calls, route_table: RouteTable, asked: str) -> None:
    flow = preflight(access_control_request_headers=asked)

    await Preflight(calls, route_table, KnownOrigins(PAGE)).requestheaders(flow)

    assert calls.of(flow).refused_with == "invalid_request"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PAGE, True),
        ("http://localhost:3000", True),
        ("http://[::1]:3000", True),
        ("chrome-extension://abcdefgh", True),
        ("https://App.example", False),
        ("https://user@app.example", False),
        ("https://app.example?x", False),
        ("https://app.example:123456", False),
        ("app.example", False),
        ("https://" + "a" * 5000, False),
    ],
)
def test_an_origin_is_scheme_host_and_port(text: str, expected: bool) -> None:
    assert cors.is_origin(text) is expected


async def test_an_allowed_page_may_read_the_answer(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    allowing(call, "https://other.example", PAGE)
    flow.request.headers["origin"] = PAGE
    room = Cors(calls)

    await room.requestheaders(flow)
    flow.response = http.Response.make(200, b"", {"anthropic-ratelimit-tokens-limit": "9", "vary": "Accept-Encoding"})
    room.responseheaders(flow)

    headers = flow.response.headers
    assert (headers["access-control-allow-origin"], headers["vary"]) == (PAGE, "Accept-Encoding, Origin")
    exposed = headers["access-control-expose-headers"].split(", ")
    assert {"x-request-id", "retry-after", "x-llm-proxy-request-id", "anthropic-ratelimit-tokens-limit"} <= {*exposed}
    assert "access-control-allow-credentials" not in headers


async def test_a_foreign_page_is_refused_and_may_not_even_read_that(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    allowing(call, PAGE)
    flow.request.headers["origin"] = "https://evil.example"
    room = Cors(calls)

    await room.requestheaders(flow)
    room.responseheaders(flow)

    assert flow.response is not None
    assert (flow.response.status_code, call.refused_with) == (403, "origin_not_allowed")
    assert "access-control-allow-origin" not in flow.response.headers and flow.response.headers["vary"] == "Origin"


async def test_an_allowed_page_may_read_a_refusal(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    allowing(call, PAGE)
    flow.request.headers["origin"] = PAGE
    room = Cors(calls)

    await room.requestheaders(flow)
    flow.response = respond(SERVICE_UNAVAILABLE, call)
    room.responseheaders(flow)

    assert flow.response.headers["access-control-allow-origin"] == PAGE


@pytest.mark.parametrize("origins", [(), (PAGE,)])
async def test_requests_that_are_no_pages_pass_as_ever(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call], origins: tuple[str, ...]
) -> None:
    flow, call = admitted
    allowing(call, *origins)
    room = Cors(calls)

    await room.requestheaders(flow)

    assert flow.response is None


async def test_without_origins_a_page_is_served_and_cannot_read_whatever_the_provider_says(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, _ = admitted
    flow.request.headers["origin"] = PAGE
    room = Cors(calls)

    await room.requestheaders(flow)
    assert flow.response is None
    flow.response = http.Response.make(200, b"", {"access-control-allow-origin": "*", "access-control-max-age": "9"})
    room.responseheaders(flow)

    assert not [name for name in flow.response.headers if name.startswith("access-control")]
    assert "vary" not in flow.response.headers


@pytest.mark.parametrize(
    ("vary", "expected"),
    [
        ("", "Origin"),
        ("Accept", "Accept, Origin"),
        ("accept, origin", "accept, origin"),
        ("*", "*"),
    ],
)
def test_vary_names_the_origin_once(vary: str, expected: str) -> None:
    assert cors.varying(vary) == expected


def test_an_answered_preflight_is_left_as_it_is(calls: Calls) -> None:
    flow = preflight()
    flow.response = cors.preflight_answer(flow.request, ["POST"])
    before = flow.response.headers.copy()

    Cors(calls).responseheaders(flow)

    assert flow.response.headers == before
