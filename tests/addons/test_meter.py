"""Rules of metering: bytes pass as they are, and each admitted request is recorded once, however it ends."""

import pytest
import structlog.testing
from mitmproxy import flow as mitmflow
from mitmproxy import http

from addons import refusal
from addons.call import Call, Calls, UpstreamCredential
from addons.dialects.reader import AnswerReader
from addons.meter import Meter, Tap, shortened
from addons.refusal import respond
from shared.models import Outcome, Usage, UsageEvent
from tests.addons.conftest import request

STREAM = [
    b'data: {"model":"gpt-4o-2024","choices":[{"delta":{"content":"a"}}]}\n\n',
    b'data: {"model":"gpt-4o-2024","usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}\n\n',
    b"data: [DONE]\n\n",
]


@pytest.fixture(autouse=True)
def _has_gone_out(admitted: tuple[http.HTTPFlow, Call]) -> None:
    admitted[1].credential = UpstreamCredential("key-1", "authorization", "Bearer secret")


@pytest.fixture
def recorded() -> list[UsageEvent]:
    return []


@pytest.fixture
def meter(calls: Calls, recorded: list[UsageEvent]) -> Meter:
    return Meter(calls, lambda call, event: recorded.append(event))


def answer(flow: http.HTTPFlow, content_type: str = "text/event-stream") -> None:
    flow.response = http.Response.make(200, b"", {"content-type": content_type})


def tap_of(flow: http.HTTPFlow) -> Tap:
    assert flow.response is not None and isinstance(flow.response.stream, Tap)
    return flow.response.stream


def test_every_chunk_is_passed_on_unchanged(meter: Meter, admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = admitted
    answer(flow)

    meter.responseheaders(flow)
    passed = [tap_of(flow)(chunk) for chunk in [*STREAM, b"\xff\x00 not even text", b""]]

    assert passed == [*STREAM, b"\xff\x00 not even text", b""]
    assert (call.chunks, call.response_bytes) == (4, sum(map(len, STREAM)) + 16)
    assert call.first_byte_ms is not None


def test_a_finished_stream_is_recorded_with_its_usage(
    meter: Meter, recorded: list[UsageEvent], admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    call.model, call.is_stream, call.request_bytes = "gpt-4o", True, 18
    answer(flow)
    meter.responseheaders(flow)
    for chunk in [*STREAM, b""]:
        tap_of(flow)(chunk)

    meter.response(flow)

    [event] = recorded
    assert event.outcome is Outcome.FINISHED and event.status == 200 and event.error_code is None
    assert (event.model, event.usage) == ("gpt-4o-2024", Usage(3, 4, 7))
    assert (event.sequence, event.token_id, event.project_id) == (7, "token-1", "project-1")
    assert (event.route, event.method, event.is_stream, event.chunks) == ("chat.completions", "POST", True, 3)
    assert event.request_id == call.request_id and event.request_bytes == 18


@pytest.mark.parametrize("by_client", [True, False])
def test_an_aborted_stream_is_recorded_with_what_it_said_so_far(
    meter: Meter, recorded: list[UsageEvent], admitted: tuple[http.HTTPFlow, Call], by_client: bool
) -> None:
    flow, call = admitted
    answer(flow)
    meter.responseheaders(flow)
    tap_of(flow)(STREAM[0])
    call.ended_by_client = by_client
    flow.error = mitmflow.Error("gone")

    meter.error(flow)

    [event] = recorded
    assert event.outcome is (Outcome.CLIENT_ABORTED if by_client else Outcome.UPSTREAM_ABORTED)
    assert (event.status, event.model, event.chunks) == (200, "gpt-4o-2024", 1)
    assert event.usage == Usage(2, 1, 3, is_estimate=True)
    assert event.error_code == (None if by_client else "upstream_error")


def test_the_providers_own_words_are_recorded(
    meter: Meter, recorded: list[UsageEvent], admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    call.model, call.correlation_id = "gpt-4o", "ours"
    answer(flow, "application/json")
    assert flow.response is not None
    flow.response.headers.update({"x-request-id": "req_1", "openai-processing-ms": "42"})
    meter.responseheaders(flow)
    tap_of(flow)(b'{"model":"gpt-4o-2024","choices":[{"finish_reason":"length"}],"usage":{"total_tokens":3}}')
    tap_of(flow)(b"")

    meter.response(flow)

    [event] = recorded
    assert (event.model, event.model_asked, event.finish_reason) == ("gpt-4o-2024", "gpt-4o", "length")
    assert (event.provider_request_id, event.provider_ms) == ("req_1", 42.0)


@pytest.mark.parametrize(
    ("text", "kept"),
    [(None, None), ("", None), ("stop", "stop"), ("stopped", "stop"), ("a\nb", None), ("a\0b", None)],
    ids=["none", "empty", "fitting", "long", "lines", "nul"],
)
def test_words_are_recorded_as_far_as_there_is_a_place(text: str | None, kept: str | None) -> None:
    assert shortened(text, 4) == kept


@pytest.mark.parametrize(("by_client", "status"), [(True, 0), (False, 502)])
def test_a_request_without_any_answer_is_recorded(
    meter: Meter, recorded: list[UsageEvent], admitted: tuple[http.HTTPFlow, Call], by_client: bool, status: int
) -> None:
    flow, call = admitted
    call.ended_by_client = by_client

    meter.error(flow)

    assert [event.status for event in recorded] == [status]


def test_a_refusal_after_admission_is_recorded_and_not_tapped(
    meter: Meter, recorded: list[UsageEvent], admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    flow.response = respond(refusal.invalid_request("No."), call)

    meter.responseheaders(flow)
    meter.response(flow)

    assert flow.response.stream is False
    assert [(event.outcome, event.error_code) for event in recorded] == [(Outcome.REFUSED, "invalid_request")]


def test_a_call_is_settled_once(meter: Meter, recorded: list[UsageEvent], admitted: tuple[http.HTTPFlow, Call]) -> None:
    flow, _ = admitted
    answer(flow)

    meter.response(flow)
    meter.error(flow)
    meter.response(flow)

    assert len(recorded) == 1


def test_a_request_that_was_not_admitted_is_not_recorded(meter: Meter, recorded: list[UsageEvent]) -> None:
    flow = request()
    answer(flow)

    meter.response(flow)
    meter.error(request())
    meter.responseheaders(request())

    assert recorded == []


class Broken(AnswerReader):
    """A reader with a fault."""

    def feed(self, chunk: bytes) -> None:
        raise ZeroDivisionError

    finish = feed  # type: ignore[assignment]


def test_a_fault_in_reading_does_not_harm_the_answer(calls: Calls, admitted: tuple[http.HTTPFlow, Call]) -> None:
    tap = Tap(admitted[1], Broken("openai", "application/json", ""))

    with structlog.testing.capture_logs() as lines:
        passed = [tap(chunk) for chunk in (b"one", b"two", b"")]

    assert passed == [b"one", b"two", b""] and admitted[1].response_bytes == 6
    assert [line["event"] for line in lines] == ["answer_not_read"]
