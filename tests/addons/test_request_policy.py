"""Rules of what projects and tokens allow: models by globs, parameters, caps; and no way around them."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http

from addons import request_policy
from addons.call import Call, Calls
from addons.request_body import RequestBody
from addons.request_policy import RequestPolicy, allows, fits
from addons.uploads import Uploads
from shared.models import Policy
from shared.providers import ProviderTable
from tests.addons.conftest import pass_through, request

GPT_4 = Policy(allowed_models=("gpt-4o*",), denied_models=("*-audio",))
Judge = Callable[..., Awaitable[tuple[int, str | None, str | None] | None]]


@pytest.mark.parametrize(
    ("model", "glob", "expected"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4", False),
        ("gpt-4o", "*", True),
        ("gpt-4o-mini", "gpt-4o*", True),
        ("gpt-4o", "gpt-4?", True),
        ("gpt-4", "gpt-4?", False),
        ("GPT-4o", "gpt-4o", False),
        ("gpt-4o", "GPT-4O", False),
        ("gpt-4.1", "gpt-4.1", True),
        ("gpt-4x1", "gpt-4.1", False),
        ("ft:gpt-4o:org::id", "ft:gpt-4o:*", True),
        ("[ab]", "[ab]", True),
        ("a", "[ab]", False),
        ("a\nb", "a*b", True),
        ("gpt-4o\n", "gpt-4o", False),
    ],
)
def test_globs_know_only_star_and_question_mark_and_case_matters(model: str, glob: str, expected: bool) -> None:
    assert fits(model, [glob]) is expected


def test_a_model_that_the_client_makes_up_cannot_make_matching_slow() -> None:
    # With backtracking this takes minutes, which the test's own time limit would end.
    assert not fits("a" * 1024, ["*a*a*a*a*a*b", "*a?a*a*a*a*b"])
    assert fits("a" * 1024 + "b", ["*a*a*a*a*a*b"])


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_globs_fit_as_those_of_the_standard_library_do(glob: str, model: str) -> None:
    assert fits(model, [glob]) is fnmatchcase(model, glob)


@pytest.mark.parametrize(
    ("policy", "model", "expected"),
    [
        (Policy(), "anything", True),
        (Policy(allowed_models=("a*",)), "abc", True),
        (Policy(allowed_models=("a*",)), "b", False),
        (Policy(denied_models=("a*",)), "b", True),
        (Policy(denied_models=("a*",)), "abc", False),
        (Policy(allowed_models=("a*",), denied_models=("ab*",)), "abc", False),
    ],
)
def test_the_denied_win_and_no_allowed_ones_means_all(policy: Policy, model: str, expected: bool) -> None:
    assert allows(policy, model) is expected


@pytest.fixture
def judge(admitted: tuple[http.HTTPFlow, Call], table: ProviderTable, calls: Calls) -> Judge:
    """Send a request under a project's and a token's policy through the rooms; gives status, code and param of a no."""

    async def judged(
        body: bytes | dict[str, object],
        project: Policy = GPT_4,
        token: Policy | None = None,
        target: str = "POST /v1/chat/completions",
        content_type: str | None = "application/json",
        **headers: str,
    ) -> tuple[int, str | None, str | None] | None:
        method, path = target.split(" ")
        flow = request(method, path, body if isinstance(body, bytes) else json.dumps(body).encode(), **headers)
        if content_type is not None:
            flow.request.headers["content-type"] = content_type
        call, caller = calls.of(flow), calls.of(admitted[0]).caller
        assert caller is not None
        call.route = table.match(method, path.partition("?")[0]).routes["openai"]
        call.caller = replace(caller, project=replace(caller.project, policy=project), policy=token or Policy())
        call.provider = table.providers["openai"]
        await pass_through("requestheaders", flow, Uploads(calls), RequestPolicy(calls))
        assert not (flow.request.stream and request_policy.must_be_read(call, method))
        await pass_through("request", flow, RequestPolicy(calls))
        if flow.response is None:
            return None
        error = json.loads(flow.response.content or b"")["error"]
        return flow.response.status_code, call.refused_with, error["param"]

    return judged


NO_MODEL = (403, "model_not_allowed", "model")
AMBIGUOUS = (400, "invalid_request", None)


@pytest.mark.parametrize(
    "body", [{"model": "gpt-4o"}, {"model": "gpt-4o-mini", "other": [1]}, {"model": "gpt-4o", "models": ["gpt-4o-x"]}]
)
async def test_allowed_models_pass(judge: Judge, body: dict[str, object]) -> None:
    assert await judge(body) is None


@pytest.mark.parametrize(
    "model", ["o3", "gpt-4o-audio", "GPT-4O", "gpt-4o ", " gpt-4o", "gpt-4o\n", "gpt-4o\u0000", "", 4, None, ["gpt-4o"]]
)
async def test_other_models_do_not(judge: Judge, model: object) -> None:
    assert await judge({"model": model}) == NO_MODEL


@pytest.mark.parametrize("body", [{}, {"prompt": {"id": "pmpt_1"}}, {"model": "gpt-4o", "models": ["o3"]}])
async def test_a_request_that_leaves_its_model_open_does_not(judge: Judge, body: dict[str, object]) -> None:
    assert await judge(body) == NO_MODEL


@pytest.mark.parametrize("models", ["o3", 7, None, {"a": "gpt-4o"}])
async def test_alternatives_that_are_no_list_do_not(judge: Judge, models: object) -> None:
    assert await judge({"model": "gpt-4o", "models": models}) == NO_MODEL


async def test_a_denied_model_is_denied_without_any_allowed_ones(judge: Judge) -> None:
    denying = Policy(denied_models=("o3*",))

    assert await judge({"model": "gpt-4o"}, denying) is None
    assert await judge({"model": "o3-pro"}, denying) == NO_MODEL
    assert await judge({}, denying) == NO_MODEL


@pytest.mark.parametrize(("model", "expected"), [("gpt-4o-mini", None), ("gpt-4o", NO_MODEL), ("o3", NO_MODEL)])
async def test_a_token_narrows_its_project(judge: Judge, model: str, expected: tuple[int, str, str] | None) -> None:
    assert await judge({"model": model}, GPT_4, Policy(allowed_models=("*-mini", "o3"))) == expected


async def test_a_tokens_policy_holds_in_a_project_without_one(judge: Judge) -> None:
    assert await judge({"model": "o3"}, Policy(), GPT_4) == NO_MODEL


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"gpt-4o","model":"o3"}',
        b'{"model":"o3","model":"gpt-4o"}',
        b'{"model":"gpt-4o","\\u006dodel":"o3"}',
        b'{"model":"gpt-4o","Model":"o3"}',
        b'\xef\xbb\xbf{"model":"gpt-4o"}',
        b'{"model":"gpt-4o","temperature":NaN}',
        b"not json",
    ],
)
async def test_a_body_of_two_readings_is_refused_under_a_policy(judge: Judge, body: bytes) -> None:
    assert await judge(body) == (400, "invalid_request", None)


async def test_without_a_policy_nothing_is_read(judge: Judge) -> None:
    assert await judge(b'{"model":"gpt-4o","model":"o3"}', Policy()) is None


@pytest.mark.parametrize("value", [None, 0, {}, "x"])
async def test_a_denied_parameter_may_not_be_sent_at_all(judge: Judge, value: object) -> None:
    policy = Policy(denied_parameters=("logit_bias",))

    assert await judge({"logit_bias": value}, policy) == (400, "parameter_not_allowed", "logit_bias")
    assert await judge({"logit_bias": value}, Policy(), policy) == (400, "parameter_not_allowed", "logit_bias")
    assert await judge({"nested": {"logit_bias": value}}, policy) is None


@pytest.mark.parametrize("value", [100, 100.0, 1, 0, None, "100"])
async def test_up_to_its_cap_a_parameter_passes(judge: Judge, value: object) -> None:
    assert await judge({"max_tokens": value}, Policy(max_values={"max_tokens": 100})) is None


@pytest.mark.parametrize(
    "value",
    [101, 100.5, 1e99, 10**400, "101", "1e9", "nan", "many", [1], {"a": 1}, "9" * 2000, -1, -0.5, "-1", True, False],
)
async def test_above_its_cap_below_0_or_beyond_comparison_it_does_not(judge: Judge, value: object) -> None:
    verdict = await judge({"max_tokens": value}, Policy(max_values={"max_tokens": 100}))

    assert verdict == (400, "parameter_too_large", "max_tokens")


async def test_the_smaller_cap_of_project_and_token_counts(judge: Judge) -> None:
    wide, narrow = Policy(max_values={"n": 4}), Policy(max_values={"n": 2})

    assert await judge({"n": 3}, wide, narrow) == (400, "parameter_too_large", "n")
    assert await judge({"n": 3}, narrow, wide) == (400, "parameter_too_large", "n")
    assert await judge({"n": 2}, narrow, wide) is None


@pytest.mark.parametrize("body", [b'{"max_tokens":1,"max_tokens":999}', b'{"maxTokens":999}', b'{"MAX_TOKENS":999}'])
async def test_a_cap_has_no_other_spelling(judge: Judge, body: bytes) -> None:
    assert await judge(body, Policy(max_values={"max_tokens": 100})) == (400, "invalid_request", None)


async def test_the_bytes_are_never_changed(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    body = b'{ "model" : "gpt-4o", "messages":[], "x":1.50 }'
    flow.request.content = body
    assert call.caller is not None
    call.caller = replace(call.caller, policy=GPT_4)

    await pass_through("request", flow, RequestBody(calls), RequestPolicy(calls))

    assert flow.response is None and flow.request.raw_content == body


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("GET /v1/models", None),
        ("GET /v1/models?limit=1", None),
        ("GET /v1/models/gpt-4o", None),
        ("GET /v1/models/gpt%2D4o", None),
        ("GET /v1/models/o3", NO_MODEL),
        ("GET /v1/models/%6f3", NO_MODEL),
        ("DELETE /v1/models/ft:o3:org", NO_MODEL),
        ("GET /v1/files", None),
        ("GET /v1/realtime?model=gpt-4o-realtime", None),
        ("GET /v1/realtime?model=o3", NO_MODEL),
        ("GET /v1/realtime?model=gpt-4o&model=o3", NO_MODEL),
        ("GET /v1/realtime?model=gpt-4o;model=o3", NO_MODEL),
        ("GET /v1/realtime?model=gpt-4o&mod%65l=o3", NO_MODEL),
        ("GET /v1/realtime?model=gpt-4o&Mod%65l=o3", AMBIGUOUS),
        ("GET /v1/realtime?model=gpt-4o&model[]=o3", AMBIGUOUS),
        ("GET /v1/realtime?model=gpt-4o&model%5B0%5D=o3", AMBIGUOUS),
        ("GET /v1/realtime?model=gpt-4o&model.x=o3", AMBIGUOUS),
        ("GET /v1/realtime?model=gpt-4o&%6dodel%00=o3", AMBIGUOUS),
        ("GET /v1/realtime?model=gpt-4o&+model=o3", AMBIGUOUS),
        ("GET /v1/realtime", NO_MODEL),
    ],
)
async def test_models_in_path_and_query_count(
    judge: Judge, target: str, expected: tuple[int, str, str | None] | None
) -> None:
    assert await judge(b"", target=target) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=20&after=x&include[]=a", None),
        ("limit=21", (400, "parameter_too_large", "limit")),
        ("limit=20&limit=21", (400, "parameter_too_large", "limit")),
        ("limit=-1", (400, "parameter_too_large", "limit")),
        ("limit", (400, "parameter_too_large", "limit")),
        ("Limit=21", AMBIGUOUS),
        ("a=1;order=desc", (400, "parameter_not_allowed", "order")),
        ("order", (400, "parameter_not_allowed", "order")),
        ("order[]=desc", AMBIGUOUS),
    ],
)
async def test_parameters_of_the_query_count(
    judge: Judge, query: str, expected: tuple[int, str, str | None] | None
) -> None:
    policy = Policy(max_values={"limit": 20}, denied_parameters=("order",))

    assert await judge(b"", policy, target=f"GET /v1/files?{query}") == expected
    assert await judge(b"", target=f"GET /v1/files?{query}") is None


def form(*fields: tuple[str, str]) -> bytes:
    parts = [f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields]
    file = '--B\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\nbytes\r\n'
    return (file + "".join(parts) + "--B--\r\n").encode()


FORM = "multipart/form-data; boundary=B"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (form(("model", "gpt-4o-transcribe")), None),
        (form(("model", "whisper-1")), NO_MODEL),
        (form(), NO_MODEL),
        (form(("model", "gpt-4o-transcribe"), ("model", "whisper-1")), (400, "invalid_request", None)),
        (form(("model", "gpt-4o-transcribe"), ("model[]", "whisper-1")), (400, "invalid_request", None)),
        (form(("model", "gpt-4o"), ("temperature", "1.5")), (400, "parameter_too_large", "temperature")),
        (form(("model", "gpt-4o"), ("temperature", "0.5")), None),
        (form(("model", "gpt-4o"), ("prompt", "x")), (400, "parameter_not_allowed", "prompt")),
    ],
    ids=range(8),
)
async def test_a_form_is_held_and_read_under_a_policy(
    judge: Judge, body: bytes, expected: tuple[int, str, str] | None
) -> None:
    policy = replace(GPT_4, max_values={"temperature": 1}, denied_parameters=("prompt",))
    large = str(1 << 20)

    for target in ("POST /v1/audio/transcriptions", "POST /v1/images/edits"):
        assert await judge(body, policy, None, target, FORM, content_length=large) == expected


@pytest.mark.parametrize(
    ("charset", "expected"), [("UTF-8", None), ("us-ascii", None), ("utf-16", AMBIGUOUS), ("utf-7", AMBIGUOUS)]
)
async def test_a_form_in_another_charset_is_refused_under_a_policy(
    judge: Judge, charset: str, expected: tuple[int, str, None] | None
) -> None:
    body, target = form(("model", "gpt-4o")), "POST /v1/audio/transcriptions"

    assert await judge(body, GPT_4, None, target, f"{FORM}; charset={charset}") == expected
    assert await judge(body, Policy(), None, target, f"{FORM}; charset={charset}") is None


async def test_a_form_may_still_be_streamed_without_a_policy(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call], table: ProviderTable
) -> None:
    flow, call = admitted
    call.route = table.match("POST", "/v1/audio/transcriptions").routes["openai"]
    flow.request.headers["content-length"] = str(1 << 20)

    await pass_through("requestheaders", flow, Uploads(calls), RequestPolicy(calls))

    assert flow.request.stream is True


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", None, None),
        (b'{"model":"gpt-4o"}', "application/json; charset=utf-8", None),
        (b'{"model":"o3"}', "application/json", NO_MODEL),
        (b'{"model":"o3"}', None, NO_MODEL),
        (b'{"model":"gpt-4o"}', "application/json; charset=utf-7", (415, "unsupported_media_type", None)),
        (b"model=gpt-4o", "application/x-www-form-urlencoded", (415, "unsupported_media_type", None)),
        (b'{"model":"gpt-4o"}', "text/plain", (415, "unsupported_media_type", None)),
        (b"\x00", "application/octet-stream", (415, "unsupported_media_type", None)),
        (b"--B--", "multipart/form-data", (400, "invalid_request", None)),
    ],
)
async def test_a_route_that_takes_anything_takes_only_what_can_be_read(
    judge: Judge, body: bytes, content_type: str | None, expected: tuple[int, str, str | None] | None
) -> None:
    assert await judge(body, GPT_4, None, "POST /v1/videos", content_type) == expected


async def test_a_compressed_body_hides_nothing(judge: Judge) -> None:
    verdict = await judge(b"\x1f\x8b", target="POST /v1/videos", content_encoding="gzip")

    assert verdict == (400, "invalid_request", None)


@pytest.mark.parametrize("switch", ["route", "dialect"])
async def test_no_switch_for_validation_switches_a_policy_off(
    calls: Calls, admitted: tuple[http.HTTPFlow, Call], switch: str
) -> None:
    flow, call = admitted
    flow.request.content = b'{"model":"o3","messages":[]}'
    assert call.caller is not None and call.route is not None
    call.caller = replace(call.caller, policy=GPT_4)
    if switch == "route":
        call.route = replace(call.route, validates=False)
    else:
        call.dialect = "opaque"

    await pass_through("request", flow, RequestBody(calls), RequestPolicy(calls))

    assert call.refused_with == "model_not_allowed"


async def test_a_body_that_got_away_unread_is_not_let_pass(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    assert call.caller is not None
    call.caller = replace(call.caller, policy=GPT_4)
    flow.request.raw_content = None

    await RequestPolicy(calls).request(flow)

    assert call.refused_with == "service_unavailable"
