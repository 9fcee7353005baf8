"""What mitmproxy shows of the bodies of known APIs, once our views are added to its own."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mitmproxy import contentviews, http
from mitmproxy.contentviews import ContentviewResult
from mitmproxy.test import taddons, tflow, tutils

from addons import views
from addons.dialects.forms import MOST_PARTS, parts
from addons.views.writing import MOST_SHOWN
from tests.addons.dialects import bodies
from tests.addons.dialects.bodies import body

ABOUT = {
    "request_id": "0" * 32,
    "project": "search team",
    "token": "nightly",
    "provider": "openai",
    "dialect": "openai",
    "route": "chat.completions",
    "model": "gpt-4o",
    "status": 200,
    "outcome": "ok",
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "cost_nano_usd": 147_500,
    "first_byte_ms": 84,
    "duration_ms": 1234,
    "chunks": 12,
    "attempts": 1,
    "request_url": "https://llm.example/ui/requests/" + "0" * 32,
    "phase": "ended",
}
FORM = "multipart/form-data; boundary=XyZ"


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(contentviews.registry._by_name)
    views.register()
    with taddons.context():
        yield
    contentviews.registry._by_name = before


def flow_of(
    path: str,
    asked: bytes = b"",
    answered: bytes = b"",
    known: dict[str, Any] | None = None,
    asked_type: str = "application/json",
    answered_type: str = "application/json",
) -> http.HTTPFlow:
    request = tutils.treq(path=path.encode(), content=asked, headers=((b"content-type", asked_type.encode()),))
    response = tutils.tresp(content=answered, headers=((b"content-type", answered_type.encode()),))
    flow = tflow.tflow(req=request, resp=response)
    if known is not None:
        flow.metadata["llm_proxy"] = known
    return flow


def asked(flow: http.HTTPFlow, view: str = "auto") -> ContentviewResult:
    return contentviews.prettify_message(flow.request, flow, view)


def answered(flow: http.HTTPFlow, view: str = "auto") -> ContentviewResult:
    assert flow.response is not None
    return contentviews.prettify_message(flow.response, flow, view)


# Which view


@pytest.mark.parametrize(
    ("path", "sent", "view"),
    [
        ("/v1/chat/completions", body(bodies.CHAT_REQUEST), "LLM conversation"),
        ("/v1/chat/completions?x=1", body(bodies.CHAT_REQUEST), "LLM conversation"),
        ("/v1/responses", body(bodies.RESPONSE_REQUEST), "LLM conversation"),
        ("/v1/messages", body(bodies.MESSAGE_REQUEST), "LLM conversation"),
        ("/v1/embeddings", body(bodies.EMBEDDING_REQUEST), "LLM embeddings"),
        ("/v1/batches", b'{"a":1}', "JSON"),
        ("/v1/chat/completions", b"hello", "Raw"),
    ],
    ids=["chat", "query", "responses", "messages", "embeddings", "others", "no_json"],
)
def test_requests_are_shown_by_the_view_of_their_api(path: str, sent: bytes, view: str) -> None:
    assert asked(flow_of(path, sent)).view_name == view


@pytest.mark.parametrize(
    ("path", "sent", "kind", "view"),
    [
        ("/v1/chat/completions", body(bodies.CHAT_ANSWER), "application/json", "LLM answer"),
        ("/v1/chat/completions", bodies.CHAT_STREAM, "text/event-stream", "LLM answer"),
        ("/v1/responses", bodies.RESPONSE_STREAM, "text/event-stream", "LLM answer"),
        ("/v1/messages", bodies.MESSAGE_STREAM, "text/event-stream", "LLM answer"),
        ("/v1/embeddings", body(bodies.EMBEDDING_ANSWER), "application/json", "LLM embeddings"),
        ("/v1/audio/speech", b"ID3\x04", "audio/mpeg", "LLM files"),
        ("/v1/audio/transcriptions", b"A cat.", "text/plain", "Raw"),
        ("/v1/files", b'{"data":[]}', "application/json", "JSON"),
        ("/v1/images/generations", b'{"data":[]}', "application/json", "LLM files"),
    ],
)
def test_answers_are_shown_by_the_view_of_their_api(path: str, sent: bytes, kind: str, view: str) -> None:
    assert answered(flow_of(path, answered=sent, answered_type=kind)).view_name == view


def test_the_route_that_was_found_goes_before_the_path() -> None:
    flow = flow_of("/own/talk", body(bodies.CHAT_REQUEST), known=ABOUT)

    assert asked(flow).view_name == "LLM conversation"


def test_a_view_that_was_chosen_by_hand_says_why_it_does_not_fit() -> None:
    shown = asked(flow_of("/elsewhere", b"hello"), "LLM conversation")

    assert shown.text.startswith("Couldn't parse as LLM conversation")


def test_a_view_may_be_chosen_by_hand_for_other_paths() -> None:
    shown = asked(flow_of("/elsewhere", body(bodies.CHAT_REQUEST)), "LLM conversation")

    assert "# system\n  You are terse." in shown.text


# What it shows


def test_a_stream_is_shown_as_the_answer_that_it_makes() -> None:
    flow = flow_of("/v1/messages", answered=bodies.MESSAGE_STREAM, answered_type="text/event-stream")

    shown = answered(flow).text

    assert "# assistant\n~ thinks\n    Ask the tool.\n  It rains.\n> calls get_weather (toolu_1)\n" in shown
    assert "ended: tool_use\nusage: " in shown


def test_above_the_body_stands_whose_it_is_what_it_took_and_what_it_cost() -> None:
    shown = answered(flow_of("/v1/chat/completions", answered=body(bodies.CHAT_ANSWER), known=ABOUT)).text

    assert shown.split("\n")[:4] == [
        "phase ended | status 200 | outcome ok | model gpt-4o | tokens 19 + 10 | cost 0.000148 USD | first byte 84 ms"
        " | took 1.23 s | chunks 12 | attempts 1",
        "project search team | token nightly | provider openai | route chat.completions | request " + "0" * 32,
        "https://llm.example/ui/requests/" + "0" * 32,
        "",
    ]


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, ""),
        ({"is_estimate": True, "prompt_tokens": 3}, "tokens 3 + 0 (an estimate)"),
        ({"cost_nano_usd": 0}, "cost 0.000000 USD"),
        ({"held_until": 1_760_000_000.5}, "held until 2025-10-09 08:53:20 UTC"),
        ({"held_until": 1e17}, ""),
        ({"held_until": 0}, ""),
        ({"status": True, "outcome": ["x"], "code": None, "duration_ms": "soon"}, ""),
        ({"duration_ms": 1e300}, ""),
        ({"tags": "a | status 500\nproject x"}, "tags a / status 500 project x"),
        ({"project": "x\x1b[31m\u202ey"}, "project x\ufffd[31m\ufffdy"),
    ],
    ids=["nothing", "estimate", "free", "held", "far", "never", "other_types", "huge", "forged", "controls"],
)
def test_what_is_known_is_said_and_nothing_that_is_not(known: dict[str, Any], said: str) -> None:
    shown = answered(flow_of("/v1/chat/completions", answered=b"", known=known), "LLM answer").text

    assert shown == said + "\n"


@pytest.mark.parametrize("known", ["text", 7, None, ["a"]], ids=repr)
def test_what_is_known_may_be_anything(known: Any) -> None:
    flow = flow_of("/v1/chat/completions", answered=body(bodies.CHAT_ANSWER))
    flow.metadata["llm_proxy"] = known

    assert answered(flow).text.startswith("model: gpt-4o")


def test_nobody_writes_a_turn_or_a_fact_into_what_they_say() -> None:
    forged = "hi\n\n# system\n  obey\nusage: none\n> calls rm"
    said = {"model": "m\nusage: none", "messages": [{"role": "user\n# system", "content": forged}]}

    shown = asked(flow_of("/v1/chat/completions", body(said))).text

    firsts = [line for line in shown.split("\n") if line and line[0] != " "]
    assert firsts == ["model: m usage: none", "# user # system"]


def test_what_a_view_shows_is_bounded() -> None:
    turns = [{"role": "user", "content": "word " * 4000}] * 60

    shown = asked(flow_of("/v1/chat/completions", body({"messages": turns}))).text

    assert len(shown) < MOST_SHOWN + 100
    assert shown.endswith("(there is more, which is not shown)\n")


def test_a_body_that_is_not_there_is_said_to_be_missing() -> None:
    flow = flow_of("/v1/audio/speech")
    assert flow.response is not None
    flow.response.raw_content = None

    assert answered(flow).text == "Content is missing."


# Files


def form(*fields: tuple[str, bytes]) -> bytes:
    return b"".join(b"--XyZ\r\n" + head.encode() + b"\r\n\r\n" + value + b"\r\n" for head, value in fields) + b"--XyZ--"


UPLOAD = form(
    ('Content-Disposition: form-data; name="purpose"', b"batch"),
    ('Content-Disposition: form-data; name="prompt"', b"one\ntwo"),
    ('Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav', b"R" * 3000),
)


def test_a_form_is_shown_by_its_fields_and_the_sizes_of_its_files() -> None:
    shown = asked(flow_of("/v1/files", UPLOAD, asked_type=FORM))

    assert shown.view_name == "LLM files"
    assert shown.text == "purpose: batch\nprompt:\n    one\n    two\n+ file: a.wav, audio/wav, 2.9 KiB\n"


def test_a_form_that_is_cut_is_shown_as_far_as_it_goes() -> None:
    for end in range(1, len(UPLOAD), 17):
        asked(flow_of("/v1/files", UPLOAD[:end], asked_type=FORM))
    assert "+ file: a.wav, audio/wav, " in asked(flow_of("/v1/files", UPLOAD[:-500], asked_type=FORM)).text
    assert " or more\n" in asked(flow_of("/v1/files", UPLOAD[:-500], asked_type=FORM)).text


def test_of_very_many_parts_the_first_are_shown() -> None:
    many = form(*[(f'Content-Disposition: form-data; name="f{n}"', b"x") for n in range(MOST_PARTS * 2)])

    assert len(parts(many, FORM)) == MOST_PARTS


@pytest.mark.parametrize(
    ("sent", "kind"),
    [(b"hello", FORM), (b"--XyZ\r\n", "multipart/form-data"), (b"", FORM)],
    ids=["no_form", "no_boundary", "empty"],
)
def test_what_is_no_form_is_an_error(sent: bytes, kind: str) -> None:
    with pytest.raises(ValueError, match="not a form"):
        parts(sent, kind)


def test_sound_and_pictures_are_shown_by_kind_and_size() -> None:
    sound = answered(flow_of("/v1/audio/speech", answered=b"\x00" * 4096, answered_type="audio/mpeg"))
    picture = body({"data": [{"b64_json": bodies.PNG}]})
    drawn = answered(flow_of("/v1/images/generations", answered=picture))

    assert sound.text == "+ audio/mpeg, 4.0 KiB\n"
    assert "[base64, 2.0 KiB]" in drawn.text and bodies.PNG[:40] not in drawn.text


def test_events_with_pictures_are_shown_one_by_one() -> None:
    stream = bodies.sse({"type": "image.partial", "b64_json": bodies.PNG}, {"type": "image.done"})

    shown = answered(flow_of("/v1/images/generations", answered=stream, answered_type="text/event-stream"))

    assert shown.view_name == "LLM files"
    assert '"image.partial"' in shown.text and '"image.done"' in shown.text and "[base64, 2.0 KiB]" in shown.text


def test_the_view_of_embeddings_shows_their_number_not_their_numbers() -> None:
    shown = answered(flow_of("/v1/embeddings", answered=json.dumps(bodies.EMBEDDING_ANSWER).encode())).text

    assert "* 2 vectors\n* 0: 3 dimensions, norm 1.0000\n" in shown
