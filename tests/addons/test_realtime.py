"""WebSockets are one request each: messages are counted, usages add up, and one event is recorded at the end."""

import json

import pytest
from mitmproxy import http
from mitmproxy.websocket import WebSocketData, WebSocketMessage
from wsproto.frame_protocol import Opcode

from addons.call import Call, Calls, UpstreamCredential
from addons.meter import Meter
from addons.realtime import Realtime, plus
from addons.unsaid import completion_so_far
from shared.models import Outcome, Usage, UsageEvent


@pytest.fixture(autouse=True)
def _has_gone_out(admitted: tuple[http.HTTPFlow, Call]) -> None:
    admitted[1].credential = UpstreamCredential("key-1", "authorization", "Bearer secret")


@pytest.fixture
def recorded() -> list[UsageEvent]:
    return []


@pytest.fixture
def realtime(calls: Calls, recorded: list[UsageEvent]) -> Realtime:
    return Realtime(calls, Meter(calls, lambda call, event: recorded.append(event)))


@pytest.fixture
def socket(admitted: tuple[http.HTTPFlow, Call]) -> tuple[http.HTTPFlow, Call]:
    flow, call = admitted
    flow.response, flow.websocket = http.Response.make(101), WebSocketData()
    assert call.provider is not None
    [call.route] = [route for route in call.provider.routes if route.upgrade == "websocket"]
    return flow, call


def say(realtime: Realtime, flow: http.HTTPFlow, content: bytes, from_client: bool, kind: Opcode = Opcode.TEXT) -> None:
    assert flow.websocket is not None
    flow.websocket.messages.append(WebSocketMessage(kind, from_client, content))
    realtime.websocket_message(flow)


def done(tokens: int) -> bytes:
    usage = {"input_tokens": tokens, "output_tokens": tokens, "total_tokens": 2 * tokens}
    return json.dumps({"type": "response.done", "response": {"model": "gpt-realtime", "usage": usage}}).encode()


def test_usages_of_all_answers_add_up(realtime: Realtime, socket: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = socket
    for content in (b'{"type":"session.created"}', done(3), b"not json", done(4)):
        say(realtime, flow, content, from_client=False)

    assert (call.answer.model, call.answer.usage) == ("gpt-realtime", Usage(7, 7, 14))
    assert (call.chunks, call.first_byte_ms is not None) == (4, True)


def test_bytes_are_counted_both_ways_and_messages_not_kept(
    realtime: Realtime, socket: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = socket
    for _ in range(5):
        say(realtime, flow, b"12345", from_client=True)
        say(realtime, flow, b"\x00\xff", from_client=False, kind=Opcode.BINARY)

    assert (call.request_bytes, call.response_bytes) == (25, 10)
    assert flow.websocket is not None and len(flow.websocket.messages) == 1


@pytest.mark.parametrize(
    ("code", "by_client", "outcome"),
    [
        (1000, True, Outcome.FINISHED),
        (1001, False, Outcome.FINISHED),
        (1005, True, Outcome.FINISHED),
        (1006, True, Outcome.CLIENT_ABORTED),
        (1006, False, Outcome.UPSTREAM_ABORTED),
        (1011, False, Outcome.UPSTREAM_ABORTED),
    ],
)
def test_the_end_is_recorded_once_with_how_it_came(
    realtime: Realtime,
    recorded: list[UsageEvent],
    socket: tuple[http.HTTPFlow, Call],
    code: int,
    by_client: bool,
    outcome: Outcome,
) -> None:
    flow, _ = socket
    assert flow.websocket is not None
    flow.websocket.close_code, flow.websocket.closed_by_client = code, by_client

    realtime.websocket_end(flow)
    realtime.websocket_end(flow)

    assert [(event.outcome, event.status) for event in recorded] == [(outcome, 101)]


def test_the_handshake_alone_is_no_end(
    calls: Calls, recorded: list[UsageEvent], socket: tuple[http.HTTPFlow, Call]
) -> None:
    Meter(calls, lambda call, event: recorded.append(event)).response(socket[0])

    assert recorded == []


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (Usage(), Usage(), Usage()),
        (Usage(1, None, 2), Usage(), Usage(1, None, 2)),
        (Usage(), Usage(1, 2, 3), Usage(1, 2, 3)),
        (Usage(1, 2, 3), Usage(10, 20, 30), Usage(11, 22, 33)),
    ],
)
def test_what_neither_knows_stays_unknown(one: Usage, other: Usage, both: Usage) -> None:
    assert plus(one, other) == both


def test_details_add_up_too(realtime: Realtime, socket: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = socket
    usage = {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}
    usage |= {
        "input_token_details": {"cached_tokens": 1, "audio_tokens": 2},
        "output_token_details": {"audio_tokens": 3},
    }
    told = json.dumps({"type": "response.done", "response": {"status": "completed", "usage": usage}}).encode()
    for _ in range(2):
        say(realtime, flow, told, from_client=False)

    expected = Usage(10, 12, 22, cached_tokens=2, audio_prompt_tokens=4, audio_completion_tokens=6)
    assert (call.answer.usage, call.answer.finish_reason) == (expected, "completed")


def test_an_answer_that_is_not_finished_is_estimated(
    realtime: Realtime, socket: tuple[http.HTTPFlow, Call], recorded: list[UsageEvent]
) -> None:
    flow, call = socket
    delta = b'{"type":"response.output_text.delta","delta":"word"}'
    for content in (delta, delta, done(3), delta):
        say(realtime, flow, content, from_client=False)
    assert completion_so_far(call) == 3 + 1
    assert flow.websocket is not None
    flow.websocket.close_code = 1000

    realtime.websocket_end(flow)

    [event] = recorded
    assert (event.outcome, event.usage) == (Outcome.FINISHED, Usage(3, 4, 7, is_estimate=True))
