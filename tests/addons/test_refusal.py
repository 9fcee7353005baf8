"""Rules of refusing: every no has its status, code and shape, and a crash is a no."""

import json

import pytest
from mitmproxy import flow as mitmflow
from mitmproxy import http

from addons import refusal
from addons.call import Call, Calls
from addons.refusal import Refusal, Refused, fail_closed, respond
from tests.addons.conftest import request

ALL = [value for value in vars(refusal).values() if isinstance(value, Refusal)]


class CrashingRoom:
    def __init__(self, calls: Calls, error: BaseException) -> None:
        self.calls = calls
        self._error = error
        self.visits = 0

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        self.visits += 1
        raise self._error

    @fail_closed
    async def request(self, flow: http.HTTPFlow) -> None:
        self.visits += 1
        raise self._error


@pytest.mark.parametrize("hook", ["requestheaders", "request"])
async def test_a_crashing_hook_denies_with_503_and_is_still_reported(calls: Calls, hook: str) -> None:
    flow, room = request(), CrashingRoom(calls, ZeroDivisionError("sk-proj-secretsecretsecret"))

    with pytest.raises(ZeroDivisionError):
        await getattr(room, hook)(flow)

    assert flow.response is not None and flow.response.status_code == 503
    assert json.loads(flow.response.content or b"")["error"]["code"] == "service_unavailable"
    assert b"secret" not in (flow.response.content or b"") and b"ZeroDivision" not in (flow.response.content or b"")
    assert flow.response.headers["retry-after"] == "1"


@pytest.mark.parametrize("hook", ["requestheaders", "request"])
async def test_a_raised_refusal_is_the_answer_and_no_error(calls: Calls, hook: str) -> None:
    flow, room = request(), CrashingRoom(calls, Refused(refusal.TOKEN_EXPIRED))

    await getattr(room, hook)(flow)

    assert flow.response is not None and flow.response.status_code == 401
    assert calls.of(flow).refused_with == "token_expired"


async def test_rooms_after_a_refusal_step_aside(calls: Calls) -> None:
    flow, room = request(), CrashingRoom(calls, Refused(refusal.TOKEN_EXPIRED))

    await room.requestheaders(flow)
    await room.request(flow)

    assert room.visits == 1


async def test_rooms_step_aside_for_a_flow_that_mitmproxy_has_given_up(calls: Calls) -> None:
    flow, room = request(), CrashingRoom(calls, ZeroDivisionError())
    flow.error = mitmflow.Error("invalid header")

    await room.requestheaders(flow)

    assert room.visits == 0 and flow.response is None


@pytest.mark.parametrize("said", ALL, ids=lambda said: f"{said.status}-{said.code}")
@pytest.mark.parametrize("dialect", ["openai", "anthropic", "opaque"])
def test_every_refusal_is_json_in_the_providers_shape(said: Refusal, dialect: str) -> None:
    call = Call(dialect=dialect)

    response = respond(said, call)

    error = json.loads(response.content or b"")["error"]
    assert response.status_code == said.status
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"] == call.request_id
    assert (error["code"], error["message"]) == (said.code, said.message)
    assert error.pop("param", None) == said.param
    assert set(error) == {"type", "message", "code"}


@pytest.mark.parametrize(("dialect", "names_it"), [("openai", True), ("opaque", True), ("anthropic", False)])
def test_only_openais_shape_speaks_of_parameters_where_none_is_to_blame(dialect: str, names_it: bool) -> None:
    response = respond(refusal.SERVICE_UNAVAILABLE, Call(dialect=dialect))

    assert ("param" in json.loads(response.content or b"")["error"]) is names_it


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "said",
    [
        refusal.parameter_not_allowed("logit_bias"),
        refusal.parameter_too_large("max_tokens", 100.0),
        refusal.invalid_request("It is missing.", "messages"),
    ],
    ids=lambda said: said.code,
)
def test_the_parameter_to_blame_is_named(said: Refusal, dialect: str) -> None:
    error = json.loads(respond(said, Call(dialect=dialect)).content or b"")["error"]

    assert error["param"] == said.param


@pytest.mark.parametrize(("cap", "shown"), [(100.0, "100"), (1234567.0, "1234567"), (0.7, "0.7"), (4096, "4096")])
def test_a_cap_is_told_as_it_was_written(cap: float, shown: str) -> None:
    assert f"from 0 to {shown} with" in refusal.parameter_too_large("n", cap).message


def test_a_refusal_carries_the_clients_id_and_ours() -> None:
    call = Call(correlation_id="theirs")

    headers = respond(refusal.SERVICE_UNAVAILABLE, call).headers

    assert (headers["x-request-id"], headers["x-llm-proxy-request-id"]) == ("theirs", call.request_id)


def test_a_wrong_method_is_told_which_ones_are_right() -> None:
    response = respond(refusal.method_not_allowed(frozenset({"POST", "GET"})), Call())

    assert response.status_code == 405 and response.headers["allow"] == "GET, POST"


def test_sdks_are_told_not_to_retry_an_exhausted_token() -> None:
    assert respond(refusal.QUOTA_EXCEEDED, Call()).headers["x-should-retry"] == "false"
    assert "x-should-retry" not in respond(refusal.SERVICE_UNAVAILABLE, Call()).headers


async def test_a_head_request_is_refused_without_a_body(calls: Calls) -> None:
    flow, room = request("HEAD"), CrashingRoom(calls, Refused(refusal.ENDPOINT_NOT_FOUND))

    await room.requestheaders(flow)

    assert flow.response is not None and not flow.response.raw_content
    assert int(flow.response.headers["content-length"]) > 0


async def test_a_refused_client_is_not_invited_to_send_its_body(calls: Calls) -> None:
    flow, room = request("POST", expect="100-continue"), CrashingRoom(calls, Refused(refusal.REQUEST_TOO_LARGE))

    await room.requestheaders(flow)

    assert "expect" not in flow.request.headers
