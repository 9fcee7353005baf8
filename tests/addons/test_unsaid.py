"""Rules of estimating what a provider left unsaid: only that, only where it may have cost something, and marked."""

from dataclasses import replace

import pytest
from mitmproxy import http
from mitmproxy.websocket import WebSocketData

from addons.call import Call
from addons.dialects.answer import Answer, Said
from addons.ending import Cause, Interruption
from addons.refusal import UPSTREAM_ERROR
from addons.unsaid import completion_so_far, usage_of
from shared.models import Outcome, Usage
from shared.providers import ProviderTable

PROMPT = b'{"messages":[{"role":"user","content":"%b"}]}' % (b"four" * 99)  # 100 tokens with the role


@pytest.fixture
def streaming(admitted: tuple[http.HTTPFlow, Call]) -> tuple[http.HTTPFlow, Call]:
    """A stream that has said three pieces."""
    flow, call = admitted
    flow.request.raw_content = PROMPT
    flow.response = http.Response.make(200)
    call.said, call.attempts.count = Said(3, 8), 1
    return flow, call


BROKEN = [Outcome.CLIENT_ABORTED, Outcome.UPSTREAM_ABORTED, Outcome.CUT]


@pytest.mark.parametrize("outcome", BROKEN)
def test_a_broken_stream_is_estimated(streaming: tuple[http.HTTPFlow, Call], outcome: Outcome) -> None:
    flow, call = streaming

    assert usage_of(call, flow, outcome) == Usage(100, 3, 103, is_estimate=True)


@pytest.mark.parametrize("outcome", BROKEN)
def test_what_the_provider_said_of_all_stands(streaming: tuple[http.HTTPFlow, Call], outcome: Outcome) -> None:
    flow, call = streaming
    call.answer = Answer("m", Usage(9, 2, 11), "stop", is_final=True)

    assert usage_of(call, flow, outcome) == Usage(9, 2, 11)


@pytest.mark.parametrize(("first", "completion"), [(1, 3), (7, 7)], ids=["more_was_heard", "more_was_said"])
def test_what_the_provider_said_at_first_is_completed(
    streaming: tuple[http.HTTPFlow, Call], first: int, completion: int
) -> None:
    flow, call = streaming
    call.answer = Answer("m", Usage(9, first, 9 + first, cached_tokens=4))

    usage = usage_of(call, flow, Outcome.CUT)

    assert usage == Usage(9, completion, 9 + completion, cached_tokens=4, is_estimate=True)


def test_a_whole_stream_that_never_told_its_usage_is_estimated(streaming: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = streaming

    assert usage_of(call, flow, Outcome.FINISHED) == Usage(100, 3, 103, is_estimate=True)


def test_a_whole_answer_that_is_no_stream_has_what_it_says(streaming: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = streaming
    call.said = Said()

    assert usage_of(call, flow, Outcome.FINISHED) == Usage()


def test_who_leaves_before_the_answer_pays_the_prompt(streaming: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = streaming
    flow.response, call.said = None, None

    assert usage_of(call, flow, Outcome.CLIENT_ABORTED) == Usage(100, 0, 100, is_estimate=True)
    assert usage_of(call, flow, Outcome.UPSTREAM_ABORTED) == Usage()
    call.interruption = Interruption(Cause.TOTAL, UPSTREAM_ERROR)
    assert usage_of(call, flow, Outcome.UPSTREAM_ABORTED) == Usage(100, 0, 100, is_estimate=True)


def test_what_never_reached_the_provider_costs_nothing(streaming: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = streaming
    flow.response, call.said, call.attempts.count = None, None, 0

    assert usage_of(call, flow, Outcome.CLIENT_ABORTED) == Usage()


@pytest.mark.parametrize("outcome", BROKEN)
def test_an_error_of_the_provider_costs_nothing(streaming: tuple[http.HTTPFlow, Call], outcome: Outcome) -> None:
    flow, call = streaming
    flow.response = http.Response.make(400)

    assert usage_of(call, flow, outcome) == Usage()


def test_a_refusal_costs_nothing(streaming: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = streaming

    assert usage_of(call, flow, Outcome.REFUSED) == Usage()


def test_an_opaque_answer_is_not_guessed(streaming: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = streaming
    call.dialect = "opaque"

    assert usage_of(call, flow, Outcome.CUT) == Usage()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_stored_answer_that_is_asked_for_again_costs_nothing(
    streaming: tuple[http.HTTPFlow, Call], method: str
) -> None:
    flow, call = streaming
    flow.request.method = method
    call.answer = Answer("m", Usage(9, 2, 11), "stop", is_final=True)

    assert usage_of(call, flow, Outcome.FINISHED) == Usage()


def test_a_stored_answer_that_is_changed_or_cancelled_costs_nothing(
    streaming: tuple[http.HTTPFlow, Call], table: ProviderTable
) -> None:
    flow, call = streaming
    call.answer = Answer("m", Usage(9, 2, 11), "stop", is_final=True)

    for path in ("/v1/chat/completions/c-1", "/v1/responses/r-1/cancel", "/v1/threads/t-1/runs/r-1"):
        call.route = table.match("POST", path).routes["openai"]
        assert usage_of(call, flow, Outcome.FINISHED) == Usage()


@pytest.mark.parametrize("form", ["multipart/form-data; boundary=x", "audio/wav"])
def test_a_prompt_that_is_no_json_stays_unknown(streaming: tuple[http.HTTPFlow, Call], form: str) -> None:
    flow, call = streaming
    flow.request.headers["content-type"] = form

    assert usage_of(call, flow, Outcome.CUT) == Usage(None, 3, None, is_estimate=True)


def test_a_prompt_that_was_passed_on_unread_stays_unknown(streaming: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = streaming
    flow.request.raw_content = None

    assert usage_of(call, flow, Outcome.CUT) == Usage(None, 3, None, is_estimate=True)


def test_an_answer_on_a_websocket_that_broke_off_comes_on_top(streaming: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = streaming
    flow.websocket = WebSocketData()
    call.answer = Answer("m", Usage(9, 2, 11))

    assert usage_of(call, flow, Outcome.CUT) == Usage(9, 5, 14, is_estimate=True)
    call.said = Said()
    assert usage_of(call, flow, Outcome.CUT) == Usage(9, 2, 11)


def test_a_running_answer_tells_what_it_has_cost_so_far(streaming: tuple[http.HTTPFlow, Call]) -> None:
    _, call = streaming
    assert completion_so_far(call) == 3
    call.answer = Answer("m", Usage(9, 7, 16))
    assert completion_so_far(call) == 7
    assert call.route is not None
    call.route = replace(call.route, upgrade="websocket")
    assert completion_so_far(call) == 10
    call.said = None
    assert completion_so_far(call) == 7
