"""Rules of the rooms that look at a request before it is admitted: redaction, head, allowlist, body."""

import pytest
from mitmproxy import http

from addons import request_head
from addons.allowlist import Allowlist
from addons.call import Call, Calls
from addons.redaction import Redaction
from addons.refusal import Refused
from addons.request_body import RequestBody, read_json
from addons.request_head import RequestHead
from shared import tokens
from shared.providers import ProviderTable
from tests.addons.conftest import pass_through, request


def code_of(flow: http.HTTPFlow, calls: Calls) -> tuple[int, str | None] | None:
    return None if flow.response is None else (flow.response.status_code, calls.of(flow).refused_with)


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "proxy-authorization", "x-own-key"])
@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", ""])
def test_a_credential_leaves_the_flow_and_stays_in_the_call(calls: Calls, token: str, header: str, scheme: str) -> None:
    flow = request()
    flow.request.headers[header] = scheme + token

    Redaction(calls, ["x-own-key"]).requestheaders(flow)

    assert token not in str(flow.get_state())
    assert flow.request.headers[header] == f"{scheme}{tokens.mask(token)}"
    assert calls.of(flow).presented == [(header, scheme + token)]
    assert token not in repr(calls.of(flow))


def test_every_one_of_several_credentials_is_masked(calls: Calls) -> None:
    flow = request(x_api_key="sk-ant-api03-0123456789abcdef")
    flow.request.headers.set_all("authorization", ["Bearer sk-proj-0123456789abcdef", "Basic dXNlcjpwYXNzd29yZA=="])

    Redaction(calls, []).requestheaders(flow)

    state = str(flow.get_state())
    assert not any(secret in state for secret in ("sk-ant-api03", "0123456789", "dXNlcjpw"))
    assert len(calls.of(flow).presented) == 3


@pytest.mark.parametrize("path", ["/v1/models/{}", "/v1/models?key={}", "/{}"])
def test_a_credential_in_the_url_does_not_stay_there(calls: Calls, token: str, path: str) -> None:
    flow = request("GET", path.format(token))

    Redaction(calls, []).requestheaders(flow)

    assert flow.request.path == path.format(tokens.mask(token))


def test_a_flow_without_credentials_is_left_alone(calls: Calls) -> None:
    flow = request()

    Redaction(calls, []).requestheaders(flow)

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
        (with_fields((b"x-a", b"a\x00b")), 400),
        (with_fields((b"x-a", b"a\rb")), 400),
        (with_fields((b"x-a", b"a\x1bb")), 400),
        (with_fields((b"x-a", b"a\x7fb")), 400),
        (with_fields((b"authorization", b"a"), (b"Authorization", b"b")), 400),
        (with_fields((b"x-api-key", b"a"), (b"x-api-key", b"a")), 400),
        (with_fields((b"host", b"a"), (b"host", b"b")), 400),
        (with_fields((b"upgrade", b"websocket")), 400),
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
        head(http_version="HTTP/1.0"),
    ],
)
def test_an_unusual_but_honest_head_passes(request_: http.Request) -> None:
    request_head.check(request_)


async def test_the_room_refuses_what_its_check_refuses(calls: Calls) -> None:
    flow = request(upgrade="websocket")

    await RequestHead(calls).requestheaders(flow)

    assert code_of(flow, calls) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/models", None),
        ("POST", "/v1/chat/completions", None),
        ("POST", "/v1/chat/completions?x=1", None),
        ("POST", "/v1/messages", None),
        ("PUT", "/v1/models", (405, "method_not_allowed")),
        ("OPTIONS", "/v1/models", (405, "method_not_allowed")),
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
    calls: Calls, table: ProviderTable, method: str, path: str, expected: tuple[int, str] | None
) -> None:
    flow = request(method)
    flow.request.path = path

    await Allowlist(calls, table).requestheaders(flow)

    assert code_of(flow, calls) == expected


async def test_a_path_of_several_providers_keeps_them_all_as_candidates(calls: Calls, table: ProviderTable) -> None:
    flow = request("GET", "/v1/models")

    await Allowlist(calls, table).requestheaders(flow)

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
    calls: Calls, table: ProviderTable, headers: dict[str, str], path: str, dialect: str
) -> None:
    flow = request("GET", path, **headers)

    await Allowlist(calls, table).requestheaders(flow)

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
        read_json(body)

    assert (refused.value.refusal.status, refused.value.refusal.code) == (400, "invalid_request")


async def test_model_and_stream_flag_are_noted(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    flow.request.content = b'{"model":"gpt-4o","stream":true,"messages":[{"content":"\\ud83c\\udf89"}]}'

    await pass_through("request", flow, RequestBody(calls))

    assert (call.model, call.is_stream, flow.response) == ("gpt-4o", True, None)


@pytest.mark.parametrize("body", [b'{"model":7,"stream":"yes"}', b'{"model":null}', b"{}"])
async def test_odd_values_are_left_to_the_provider(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call], body: bytes
) -> None:
    flow, call = admitted
    flow.request.content = body

    await RequestBody(calls).request(flow)

    assert (call.model, call.is_stream, flow.response) == (None, False, None)


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
