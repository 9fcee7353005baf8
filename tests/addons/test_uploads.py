"""Which bodies are passed on while they come, and which are held."""

import pytest
from mitmproxy import http

from addons.call import Call, Calls
from addons.uploads import HELD_BYTES, Uploads
from shared.providers import Route
from tests.addons.conftest import pass_through, request


@pytest.mark.parametrize(
    ("kind", "method", "headers", "is_streamed"),
    [
        ("multipart", "POST", {"content_length": str(HELD_BYTES + 1)}, True),
        ("any", "PUT", {"content_length": str(HELD_BYTES + 1)}, True),
        ("any", "POST", {"transfer_encoding": "chunked"}, True),
        ("multipart", "POST", {"content_length": str(HELD_BYTES)}, False),
        ("json", "POST", {"content_length": str(HELD_BYTES + 1)}, False),
        ("json", "POST", {"transfer_encoding": "chunked"}, False),
        ("any", "GET", {}, False),
    ],
)
async def test_large_bodies_that_nobody_reads_are_streamed(
    calls: Calls, kind: str, method: str, headers: dict[str, str], is_streamed: bool
) -> None:
    flow = request(method, "/v1/files")
    flow.request.headers.pop("content-length", None)
    for name, value in headers.items():
        flow.request.headers[name.replace("_", "-")] = value
    calls.of(flow).route = Route("files", "/v1/files", frozenset({method}), kind, 1 << 30)  # type: ignore[arg-type]

    await pass_through("requestheaders", flow, Uploads(calls))

    assert flow.request.stream is is_streamed


async def test_a_refused_or_unknown_request_is_not_streamed(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    unknown = request("POST", "/v1/files")
    refused, _ = admitted
    refused.response = http.Response.make(403)

    for flow in (unknown, refused):
        await pass_through("requestheaders", flow, Uploads(calls))

    assert not unknown.request.stream and not refused.request.stream
