"""Which model a request is recorded and reserved with, wherever it names it."""

import pytest

from addons.call import Calls
from addons.model_asked import ModelAsked
from addons.request_body import RequestBody
from shared.providers import Route
from tests.addons.conftest import pass_through, request

FORM = b'--b\r\ncontent-disposition: form-data; name="model"\r\n\r\nin-form\r\n--b--\r\n'


@pytest.mark.parametrize(
    ("route", "target", "body", "model"),
    [
        ("/v1/realtime", "GET /v1/realtime?model=in-query", b"", "in-query"),
        ("/v1/{model}/talk", "POST /v1/in-path/talk?model=in-query", b"", "in-path"),
        ("/v1/{model}/talk", "POST /v1/in-path/talk", FORM, "in-path"),
        ("/v1/talk", "POST /v1/talk?model=in-query", FORM, "in-form"),
        ("/v1/talk", "POST /v1/talk?model=in-query", b"", "in-query"),
        ("/v1/talk", "POST /v1/talk", b"", None),
    ],
)
async def test_the_model_is_noted_wherever_it_is_named(
    calls: Calls, route: str, target: str, body: bytes, model: str | None
) -> None:
    method, path = target.split()
    flow = request(method, path, body, content_type="multipart/form-data; boundary=b")
    call = calls.of(flow)
    call.route = Route("talk", route, frozenset({method}), "any", 1000)

    await pass_through("requestheaders", flow, ModelAsked(calls))
    await pass_through("request", flow, RequestBody(calls), ModelAsked(calls))

    assert call.model == model


async def test_what_a_path_names_holds_whatever_a_json_body_says(calls: Calls) -> None:
    flow = request("POST", "/v1/in-path/talk", b'{"model":"in-body"}', content_type="application/json")
    calls.of(flow).route = Route("talk", "/v1/{model}/talk", frozenset({"POST"}), "json", 1000)

    await pass_through("requestheaders", flow, ModelAsked(calls))
    await pass_through("request", flow, RequestBody(calls), ModelAsked(calls))

    assert calls.of(flow).model == "in-path"


async def test_a_json_body_keeps_the_model_it_names(calls: Calls) -> None:
    flow = request("POST", "/v1/talk?model=in-query", b'{"model":"in-body"}', content_type="application/json")
    calls.of(flow).route = Route("talk", "/v1/talk", frozenset({"POST"}), "json", 1000)

    await pass_through("requestheaders", flow, ModelAsked(calls))
    await pass_through("request", flow, RequestBody(calls), ModelAsked(calls))

    assert calls.of(flow).model == "in-body"
