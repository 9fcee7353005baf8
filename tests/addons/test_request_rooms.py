"""Rules of the rooms that look at a request before it is admitted: redaction, head, allowlist, body."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mitmproxy import http

from addons import request_head
from addons.allowlist import Allowlist
from addons.body_fields import json_object
from addons.call import Call, Calls
from addons.redaction import Redaction
from addons.refusal import Refused
from addons.request_body import RequestBody, RequestKind
from addons.request_head import RequestHead
from addons.route_table import RouteTable
from shared import tokens
from shared.models import Feature
from shared.providers import ProviderTable
from tests.addons.conftest import pass_through, request


def code_of(flow: http.HTTPFlow, calls: Calls) -> tuple[int, str | None] | None:
    return None if flow.response is None else (flow.response.status_code, calls.of(flow).refused_with)


@pytest.fixture
def own_table(tmp_path: Path) -> RouteTable:
    """A table whose only provider has a header of its own."""
    file = tmp_path / "own.toml"
    file.write_text("""
        [providers.own]
        base_url = "https://own.example"
        dialect = "opaque"
        credential = { header = "X-Own-Key", scheme = "" }
        routes = [{ name = "all", path = "/all", methods = ["GET"] }]
    """)
    return RouteTable(file)


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "proxy-authorization", "x-own-key"])
@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", ""])
def test_a_credential_leaves_the_flow_and_stays_in_the_call(
    calls: Calls, own_table: RouteTable, token: str, header: str, scheme: str
) -> None:
    flow = request()
    flow.request.headers[header] = scheme + token

    Redaction(calls, own_table).requestheaders(flow)

    assert token not in str(flow.get_state())
    assert flow.request.headers[header] == f"{scheme}{tokens.mask(token)}"
    assert calls.of(flow).presented == [(header, scheme + token)]
    assert token not in repr(calls.of(flow))


def test_every_one_of_several_credentials_is_masked(calls: Calls, route_table: RouteTable) -> None:
    flow = request(x_api_key="sk-ant-api03-0123456789abcdef")
    flow.request.headers.set_all("authorization", ["Bearer sk-proj-0123456789abcdef", "Basic dXNlcjpwYXNzd29yZA=="])

    Redaction(calls, route_table).requestheaders(flow)

    state = str(flow.get_state())
    assert not any(secret in state for secret in ("sk-ant-api03", "0123456789", "dXNlcjpw"))
    assert len(calls.of(flow).presented) == 3


@pytest.mark.parametrize("path", ["/v1/models/{}", "/v1/models?key={}", "/{}"])
def test_a_credential_in_the_url_does_not_stay_there(
    calls: Calls, route_table: RouteTable, token: str, path: str
) -> None:
    flow = request("GET", path.format(token))

    Redaction(calls, route_table).requestheaders(flow)

    assert flow.request.path == path.format(tokens.mask(token))


def test_what_only_looks_like_a_key_inside_of_a_word_is_passed_on(calls: Calls, route_table: RouteTable) -> None:
    path = "/v1/models/ft:gpt-4o-mini:acme:task-classifier-2024-06-01:abc"
    flow = request("GET", path)

    Redaction(calls, route_table).requestheaders(flow)

    assert flow.request.path == path


@pytest.mark.parametrize("protocols", ["realtime, openai-insecure-api-key.{}", "openai-insecure-api-key.{},beta"])
def test_a_key_among_the_protocols_of_a_websocket_is_taken_and_masked(
    calls: Calls, route_table: RouteTable, token: str, protocols: str
) -> None:
    flow = request(sec_websocket_protocol=protocols.format(token))

    Redaction(calls, route_table).requestheaders(flow)

    assert calls.of(flow).presented == [("sec-websocket-protocol", token)]
    assert token not in str(flow.get_state())


def test_a_flow_without_credentials_is_left_alone(calls: Calls, route_table: RouteTable) -> None:
    flow = request()

    Redaction(calls, route_table).requestheaders(flow)

    assert calls.of(flow).presented == [] and "authorization" not in flow.request.headers


def head(**changes: object) -> http.Request:
    made = request().request
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def with_fields(*fields: tuple[bytes, bytes]) -> http.Request:
    return head(headers=http.Headers(fields))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (with_fields((b"x-a", b"\xff\xfe")), 400),
        (with_fields((b"x-a", b"half\xc3"), (b"\xa9half", b"")), 400),
        (with_fields((b"x-a", b"a\x00b")), 400),
        (with_fields((b"x-a", b"a\rb")), 400),
        (with_fields((b"x-a", b"a\x1bb")), 400),
        (with_fields((b"x-a", b"a\x7fb")), 400),
        (with_fields((b"authorization", b"a"), (b"Authorization", b"b")), 400),
        (with_fields((b"x-api-key", b"a"), (b"x-api-key", b"a")), 400),
        (with_fields((b"host", b"a"), (b"host", b"b")), 400),
        (with_fields((b"x-a", b"folded\r\n line")), 400),
        (with_fields((b"transfer-encoding", b"gzip, chunked")), 400),
        (head(method="get"), 400),
        (head(method="connect"), 400),
        (head(method="G T"), 400),
        (head(method="M" * 33), 400),
        (with_fields((b"expect", b"200-ok")), 417),
        (head(path="/v1/models?a b"), 400),
        (head(path="/v1/models?a=ü"), 400),
        (head(path="/v1/models?a=1#fragment"), 400),
        (head(path="/v1/models?a\r\nx-injected: 1"), 400),
        (with_fields((b"x-a", b"a" * request_head.MAX_HEAD_BYTES)), 431),
        (with_fields(*[(b"x-a", b"")] * (request_head.MAX_HEADERS + 1)), 431),
        (head(http_version="HTTP/0.9"), 400),
        (head(http_version="HTTP/3"), 400),
        (head(authority="evil.example"), 400),
    ],
)
def test_a_head_that_no_honest_client_sends_is_refused(request_: http.Request, status: int) -> None:
    with pytest.raises(Refused) as refused:
        request_head.check(request_)

    assert refused.value.refusal.status == status


@pytest.mark.parametrize(
    "request_",
    [
        with_fields((b"x-a", "grüße, 世界 🎉".encode()), (b"x-tab", b"a\tb")),
        with_fields(*[(b"x-a", b"")] * request_head.MAX_HEADERS),
        with_fields((b"transfer-encoding", b"Chunked"), (b"expect", b"100-Continue")),
        head(http_version="HTTP/1.0"),
        head(http_version="HTTP/2.0", authority="proxy.example"),
        head(method="TRACE"),
        head(path="/v1/models?limit=1&after=m%20n"),
    ],
)
def test_an_unusual_but_honest_head_passes(request_: http.Request) -> None:
    request_head.check(request_)


async def test_the_room_refuses_what_its_check_refuses(calls: Calls) -> None:
    flow = request(x_odd="a\x00b")

    await RequestHead(calls).requestheaders(flow)

    assert code_of(flow, calls) == (400, "invalid_request")


@pytest.mark.parametrize("sent", ["req-1", "a.b_c-D9", "x" * 128])
async def test_a_wellformed_request_id_of_the_client_is_kept(calls: Calls, sent: str) -> None:
    flow = request(x_request_id=sent)

    await RequestHead(calls).requestheaders(flow)

    assert calls.of(flow).correlation_id == sent


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "a,b", "ü", "<script>"])
async def test_another_request_id_is_replaced_by_ours_even_if_the_head_is_refused(calls: Calls, sent: str) -> None:
    flow = request(x_request_id=sent, x_odd="a\x00b")

    await RequestHead(calls).requestheaders(flow)

    call = calls.of(flow)
    assert call.correlation_id == call.request_id
    assert flow.response is not None and flow.response.headers["x-request-id"] == call.request_id


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/models", None),
        ("POST", "/v1/chat/completions", None),
        ("POST", "/v1/chat/completions?x=1", None),
        ("POST", "/v1/messages", None),
        ("PUT", "/v1/models", (405, "method_not_allowed")),
        ("OPTIONS", "/v1/models", (405, "method_not_allowed")),
        ("TRACE", "/v1/models", (405, "method_not_allowed")),
        ("BREW", "/v1/models", (405, "method_not_allowed")),
        ("OPTIONS", "*", (404, "endpoint_not_found")),
        ("GET", "/", (404, "endpoint_not_found")),
        ("GET", "/v1/models/", (404, "endpoint_not_found")),
        ("GET", "/v1/organization/admin_api_keys", (404, "endpoint_not_found")),
        ("GET", "/../v1/models", (404, "endpoint_not_found")),
        ("GET", "/v1/%6dodels", (404, "endpoint_not_found")),
        ("GET", "/v1/models/%2e%2e/files", (404, "endpoint_not_found")),
        ("GET", "/v1/models/a%2ffiles", (404, "endpoint_not_found")),
        ("GET", "/v1/models#/../files", (404, "endpoint_not_found")),
    ],
)
async def test_only_routes_of_the_table_pass(
    calls: Calls, route_table: RouteTable, method: str, path: str, expected: tuple[int, str] | None
) -> None:
    flow = request(method)
    flow.request.path = path

    await Allowlist(calls, route_table).requestheaders(flow)

    assert code_of(flow, calls) == expected


async def test_a_path_of_several_providers_keeps_them_all_as_candidates(calls: Calls, route_table: RouteTable) -> None:
    flow = request("GET", "/v1/models")

    await Allowlist(calls, route_table).requestheaders(flow)

    assert set(calls.of(flow).candidates) == {"openai", "anthropic"}


@pytest.mark.parametrize(
    ("headers", "path", "dialect"),
    [
        ({"authorization": "Bearer x"}, "/v1/models", "openai"),
        ({"x_api_key": "x"}, "/v1/models", "anthropic"),
        ({"x_api_key": "x"}, "/v1/nothing", "anthropic"),
        ({}, "/v1/messages/batches", "anthropic"),
        ({}, "/v1/nothing", "openai"),
    ],
)
async def test_errors_before_admission_are_worded_for_the_likely_provider(
    calls: Calls, route_table: RouteTable, headers: dict[str, str], path: str, dialect: str
) -> None:
    flow = request("GET", path, **headers)

    await Allowlist(calls, route_table).requestheaders(flow)

    assert calls.of(flow).dialect == dialect


async def test_a_body_announced_too_large_is_refused_before_it_comes(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    assert call.route is not None
    flow.request.headers["content-length"] = str(call.route.max_body_bytes + 1)

    await RequestBody(calls).requestheaders(flow)

    assert code_of(flow, calls) == (413, "request_too_large")


async def test_a_body_at_the_limit_passes(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    assert call.route is not None
    flow.request.headers["content-length"] = str(call.route.max_body_bytes)

    await RequestBody(calls).requestheaders(flow)

    assert flow.response is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"text"', b"null", b"{} trailing", b'{"model":NaN}', b'{"a":"\xff"}', b"[" * 100_000, b"\x00"],
)
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refused) as refused:
        json_object(body)

    assert (refused.value.refusal.status, refused.value.refusal.code) == (400, "invalid_request")


async def test_model_and_stream_flag_are_noted(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    flow.request.content = b'{"model":"gpt-4o","stream":true,"messages":[{"content":"\\ud83c\\udf89"}]}'

    await pass_through("request", flow, RequestBody(calls))

    assert (call.model, call.is_stream, flow.response) == ("gpt-4o", True, None)


@pytest.mark.parametrize(
    "values", [{"model": 7, "stream": "yes"}, {"model": None}, {"model": ["m"]}, {"model": "", "stream": 1}]
)
async def test_odd_values_are_left_to_the_provider(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call], values: dict[str, object]
) -> None:
    flow, call = admitted
    flow.request.content = json.dumps({"messages": [], **values}).encode()

    await RequestBody(calls).request(flow)

    assert (call.model or None, call.is_stream, flow.response) == (None, False, None)


@pytest.mark.parametrize(("body", "missing"), [(b'{"model":"m"}', "messages"), (b'{"messages":[]}', "model")])
async def test_a_missing_parameter_is_named(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call], body: bytes, missing: str
) -> None:
    flow, _ = admitted
    flow.request.content = body

    await RequestBody(calls).request(flow)

    assert code_of(flow, calls) == (400, "invalid_request")
    assert flow.response is not None and json.loads(flow.response.content or b"")["error"]["param"] == missing


def without_validation(call: Call, where: str) -> None:
    """Switch validation off at one of the three places that can."""
    assert call.caller is not None and call.provider is not None and call.route is not None
    if where == "route":
        call.route = replace(call.route, validates=False)
    elif where == "provider":
        call.provider = replace(call.provider, features={Feature.VALIDATION: False})
    else:
        project = replace(call.caller.project, features={Feature.VALIDATION: False})
        call.caller = replace(call.caller, project=project)


@pytest.mark.parametrize("where", ["route", "provider", "project"])
@pytest.mark.parametrize("body", [b"", b"not json", b"{}", b'{"model":"gpt-4o"}'])
async def test_without_validation_any_body_passes(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call], where: str, body: bytes
) -> None:
    flow, call = admitted
    without_validation(call, where)
    flow.request.content = body
    flow.request.headers["content-type"] = "text/plain"

    await pass_through("requestheaders", flow, RequestKind(calls))
    await pass_through("request", flow, RequestBody(calls))

    assert flow.response is None and call.model == ("gpt-4o" if b"gpt" in body else None)


async def test_the_project_has_the_last_word_about_validation(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    without_validation(call, "provider")
    assert call.caller is not None
    call.caller = replace(call.caller, project=replace(call.caller.project, features={Feature.VALIDATION: True}))
    flow.request.content = b"not json"

    await RequestBody(calls).request(flow)

    assert code_of(flow, calls) == (400, "invalid_request")


async def test_bodies_of_opaque_providers_are_passed_on_unread(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    call.dialect = "opaque"
    flow.request.content = b"anything"
    flow.request.headers["content-type"] = "text/plain"

    await pass_through("requestheaders", flow, RequestKind(calls))
    await pass_through("request", flow, RequestBody(calls))

    assert flow.response is None


async def test_a_body_of_another_kind_is_refused_before_it_comes(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, _ = admitted
    flow.request.headers["content-type"] = "application/x-www-form-urlencoded"

    await RequestKind(calls).requestheaders(flow)

    assert code_of(flow, calls) == (415, "unsupported_media_type")


@pytest.mark.parametrize(("length", "is_refused"), [("5", True), ("0", False), (None, False)])
async def test_a_body_where_the_route_takes_none_is_refused_before_it_comes(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call], length: str | None, is_refused: bool
) -> None:
    flow, call = admitted
    assert call.route is not None
    call.route = replace(call.route, body="none")
    flow.request.headers.pop("content-length", None)
    if length is not None:
        flow.request.headers["content-length"] = length

    await RequestKind(calls).requestheaders(flow)

    assert (flow.response is not None) is is_refused


async def test_a_compressed_body_cannot_hide_from_the_check(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, _ = admitted
    flow.request.headers["content-encoding"] = "gzip"

    await RequestBody(calls).request(flow)

    assert code_of(flow, calls) == (400, "invalid_request")


async def test_a_body_is_not_asked_of_a_get(calls: Calls, table: ProviderTable) -> None:
    flow = request("GET", "/v1/models")
    call = calls.of(flow)
    call.route = table.match("GET", "/v1/models").routes["openai"]

    await RequestBody(calls).request(flow)

    assert flow.response is None
