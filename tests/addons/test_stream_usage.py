"""Rules of asking for the usage of a stream: only where that is certain, changing nothing else, and hidden again."""

import json

import pytest
from mitmproxy import http

from addons.call import Call, Calls
from addons.meter import Meter, Tap
from addons.stream_usage import HidingTap, StreamUsage, asking_for_usage
from shared.models import Feature, UsageEvent
from tests.addons.conftest import pass_through
from tests.addons.dialects.recordings import RECORDINGS

ASKED = b'"stream_options":{"include_usage":true}'
BODY = b'{"model":"m","messages":[],"stream":true}'
ASKING = b"{" + ASKED + b',"model":"m","messages":[],"stream":true}'


@pytest.mark.parametrize(
    ("body", "asking"),
    [
        (BODY, ASKING),
        (b' { "stream" : true }\n', b" {" + ASKED + b', "stream" : true }\n'),
        (b'{"stream":true,"stream_options":null}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
        (b'{"stream":true,"stream_options":{}}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
        (b'{"stream":true,"stream_options":{ } }', b'{"stream":true,"stream_options":{"include_usage":true } }'),
        (
            b'{"stream_options": {"include_obfuscation": false}, "stream":true}',
            b'{"stream_options": {"include_usage":true,"include_obfuscation": false}, "stream":true}',
        ),
        (
            b'{"stream_options":{"a":1, "include_usage" : false},"stream":true}',
            b'{"stream_options":{"a":1, "include_usage" : true},"stream":true}',
        ),
        (
            b'{"stream_options":{"include_usage":null,"a":[]},"stream":true}',
            b'{"stream_options":{"include_usage":true,"a":[]},"stream":true}',
        ),
    ],
    ids=["absent", "spaced", "null", "empty", "blank", "others", "false", "usage_null"],
)
def test_the_body_is_changed_by_nothing_but_the_request_for_usage(body: bytes, asking: bytes) -> None:
    assert asking_for_usage(body) == asking
    assert json.loads(asking)["stream_options"]["include_usage"] is True
    assert asking_for_usage(asking) is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"stream":true,"stream_options":{"include_usage":true}}',
        b'{"stream":true,"stream_options":{"include_usage":1}}',
        b'{"stream":true,"stream_options":{"include_usage":0}}',
        b'{"stream":true,"stream_options":"include_usage"}',
        b'{"stream":true,"stream_options":[]}',
        b'{"stream":true,"stream_options":{"include_usage":false,"include_usage":false}}',
        b'{"stream":true,"stream_options":{"Include_Usage":false}}',
        b'{"stream":true,"Stream_Options":{}}',
        b'{"stream":true,"stream":true}',
        b'{"stream":false}',
        b'{"stream":1}',
        b"{}",
        b"[]",
        b"not json",
        b'{"stream":true,"x":"\xff"}',
    ],
    ids=[
        "asked", "number", "zero", "text", "list", "twice_inside", "other_case_inside", "other_case", "twice",
        "no_stream", "odd_stream", "empty", "no_object", "no_json", "no_text",
    ],
)  # fmt: skip
def test_a_body_that_asks_already_or_can_be_read_in_two_ways_is_left_alone(body: bytes) -> None:
    assert asking_for_usage(body) is None


@pytest.fixture
def room(calls: Calls) -> StreamUsage:
    return StreamUsage(calls)


@pytest.fixture
def streaming(admitted: tuple[http.HTTPFlow, Call]) -> tuple[http.HTTPFlow, Call]:
    flow, call = admitted
    flow.request.content, call.is_stream = BODY, True
    flow.request.headers["accept-encoding"] = "gzip, br"
    return flow, call


async def test_a_stream_is_asked_for_its_usage_in_the_clear(
    room: StreamUsage, streaming: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = streaming

    await pass_through("request", flow, room)

    assert (flow.request.raw_content, call.hides_usage) == (ASKING, True)
    assert flow.request.headers["content-length"] == str(len(ASKING))
    assert flow.request.headers["accept-encoding"] == "identity"


async def test_a_body_in_chunks_gets_no_length(room: StreamUsage, streaming: tuple[http.HTTPFlow, Call]) -> None:
    flow, _ = streaming
    del flow.request.headers["content-length"]

    await pass_through("request", flow, room)

    assert flow.request.raw_content == ASKING and "content-length" not in flow.request.headers


@pytest.mark.parametrize(
    "change",
    [
        lambda flow, call: setattr(call, "is_stream", False),
        lambda flow, call: setattr(call, "dialect", "anthropic"),
        lambda flow, call: setattr(call, "route", None),
        lambda flow, call: setattr(call, "route", call.provider.routes[0]),
        lambda flow, call: setattr(flow.request, "method", "GET"),
        lambda flow, call: setattr(flow.request, "raw_content", None),
        lambda flow, call: flow.request.headers.update({"content-encoding": "gzip"}),
        lambda flow, call: flow.request.headers.update({"content-type": "text/plain"}),
        lambda flow, call: flow.request.headers.update({"content-type": "application/json; charset=utf-16"}),
        lambda flow, call: flow.request.headers.update({"content-type": "json json"}),
        lambda flow, call: flow.request.headers.update({"content-digest": "sha-256=:x:"}),
        lambda flow, call: call.caller.project.features.update({Feature.STREAM_USAGE: False}),
    ],
    ids=[
        "no_stream", "dialect", "no_route", "other_route", "method", "no_body", "coded", "text", "utf_16", "malformed",
        "digest", "feature",
    ],
)  # fmt: skip
async def test_any_other_request_goes_out_as_it_came(
    room: StreamUsage, streaming: tuple[http.HTTPFlow, Call], change: object
) -> None:
    flow, call = streaming
    change(flow, call)  # type: ignore[operator]
    before = flow.request.get_state()

    await pass_through("request", flow, room)

    assert flow.request.get_state() == before and not call.hides_usage


def answered(room: StreamUsage, calls: Calls, flow: http.HTTPFlow, **headers: str) -> http.Response:
    events: list[UsageEvent] = []
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    flow.response = http.Response.make(200)
    flow.response.headers.update({"content-type": "text/event-stream"} | named)
    Meter(calls, events.append).responseheaders(flow)
    room.responseheaders(flow)
    return flow.response


def test_the_client_gets_what_it_asked_for_and_the_meter_everything(
    room: StreamUsage, calls: Calls, streaming: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = streaming
    call.hides_usage = True
    recording = RECORDINGS["openai"]

    response = answered(room, calls, flow, content_length="9999", content_digest="sha-256=:x:")
    tap = response.stream
    assert isinstance(tap, HidingTap)
    passed = [tap(event + b"\n\n") for event in recording.asked.split(b"\n\n")[:-1]] + [tap(b"")]

    assert b"".join(chunk for chunk in passed if isinstance(chunk, bytes)) == recording.unasked
    assert b"" not in passed and passed.count([]) == 2  # The usage, and the end: an empty chunk would end the answer.
    assert (call.answer.usage, call.response_bytes) == (recording.usage, len(recording.asked))
    assert "content-length" not in response.headers and "content-digest" not in response.headers


@pytest.mark.parametrize(
    ("hides", "headers"),
    [(False, {}), (True, {"content_encoding": "gzip"}), (True, {"content_type": "application/json"})],
    ids=["not_ours", "coded", "no_stream"],
)
def test_any_other_answer_is_passed_on_untouched(
    room: StreamUsage, calls: Calls, streaming: tuple[http.HTTPFlow, Call], hides: bool, headers: dict[str, str]
) -> None:
    flow, call = streaming
    call.hides_usage = hides

    response = answered(room, calls, flow, content_length="5", **headers)

    assert isinstance(response.stream, Tap) and response.headers["content-length"] == "5"


def test_our_own_answer_is_none_to_be_edited(room: StreamUsage, streaming: tuple[http.HTTPFlow, Call]) -> None:
    flow, call = streaming
    call.hides_usage = True
    room.responseheaders(flow)
    flow.response = http.Response.make(503, b"{}")

    room.responseheaders(flow)

    assert flow.response.stream is False
