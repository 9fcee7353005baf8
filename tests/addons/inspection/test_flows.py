"""Rules of what a flow shows: what the record says, and nothing that a client could have put there."""

import re

import msgspec
import pytest
from mitmproxy.http import HTTPFlow

from addons.inspection import flows
from addons.inspection.flows import Body, body_of
from shared.flow_schema import FlowRecord, Message, Phase, remark
from tests.flow_records import ASKED, EVENTS, JSON, STARTED, ended, held, record, request_id, streaming

LINK = "http://manager/ui/requests/1"


def shown(told: FlowRecord) -> HTTPFlow:
    flow = flows.flow_of(told)
    response = body_of(told.response, None) if told.response else None
    flows.show(flow, told, body_of(told.request, None), response, LINK)
    return flow


@pytest.mark.parametrize("text", ["x token=nightly", "token=nightly", 'x" token=nightly "', "x\\ntag=approved"])
def test_no_value_passes_for_another_fact(text: str) -> None:
    said = remark(record(model=text, token_label="other", tags=["a", text]))

    assert said.count("token=") == 1 and said.count("tag=") == 2


def test_a_request_is_shown_as_it_was_told() -> None:
    flow = shown(record())

    assert (flow.id, flow.timestamp_created, flow.live, flow.intercepted) == (request_id(1), STARTED + 1, True, False)
    assert (flow.request.method, flow.request.pretty_url) == ("POST", "https://api.openai.com/v1/chat/completions")
    assert flow.request.content == ASKED and flow.response is None and flow.error is None and flow.marked == ""
    assert flow.comment == remark(record()) and "token=nightly" in flow.comment
    assert flow.client_conn.peername == ("10.1.2.3", 0)


def test_an_answer_is_shown_with_its_times() -> None:
    flow = shown(ended())

    assert flow.response is not None and flow.response.content == b'{"ok":true}'
    assert (flow.response.status_code, flow.response.reason, flow.live) == (200, "OK", False)
    assert flow.response.timestamp_start == pytest.approx(STARTED + 1.12)
    assert flow.response.timestamp_end == pytest.approx(STARTED + 1.9)


def test_facts_are_plain_and_leave_out_what_is_not_known() -> None:
    known = shown(ended(error_code=None, model=None)).metadata["llm_proxy"]

    assert known["project"] == "search team" and known["token"] == "nightly" and known["phase"] == "ended"
    assert (known["prompt_tokens"], known["cost_nano_usd"], known["request_url"]) == (12, 1_500_000, LINK)
    assert "code" not in known and "model" not in known and "tags" not in known and "held_until" not in known
    assert all(type(value) in (str, int, float) for value in known.values())


@pytest.mark.parametrize(
    ("told", "mark"),
    [
        (record(), ""),
        (streaming(), ""),
        (ended(), ""),
        (held(), flows.HELD_MARK),
        (ended(outcome="cut"), flows.BROKEN_MARK),
        (ended(outcome="upstream_aborted"), flows.BROKEN_MARK),
        (ended(outcome="client_aborted", status=0, response=None), flows.BROKEN_MARK),
        (ended(status=0, response=None, outcome=""), flows.BROKEN_MARK),
        (ended(outcome="refused", status=429, error_code="quota_exceeded"), flows.REFUSED_MARK),
        (ended(tags=["clinic"]), flows.TAGGED_MARK),
        (ended(outcome="an outcome of a later release"), ""),
    ],
    ids=[
        *("waiting", "streaming", "finished", "held", "cut", "provider gone", "client gone", "no answer"),
        *("refused", "tagged", "unknown"),
    ],
)
def test_what_deserves_a_look_is_marked(told: FlowRecord, mark: str) -> None:
    flow = shown(told)

    assert flow.marked == mark
    assert (flow.error is not None) is (mark == flows.BROKEN_MARK)


def test_a_held_request_is_intercepted() -> None:
    flow = shown(held())

    assert flow.intercepted and flow.live and flow.comment.endswith("rule=patients tag=clinic state=held")


def test_a_refusal_without_a_body_is_still_an_answer() -> None:
    flow = shown(ended(response=None, status=403, outcome="refused", error_code="request_denied"))

    assert flow.response is not None and flow.response.status_code == 403 and flow.response.raw_content is None


# What is put together


def test_a_body_that_has_not_changed_is_the_one_from_before() -> None:
    before = Body(b"abc", 3)

    assert body_of(Message(JSON, 9, is_unchanged=True), before) == Body(b"abc", 9)
    assert body_of(Message(JSON, 9, b"other"), before) == Body(b"other", 9)
    assert body_of(Message(JSON, 9, note="metadata only"), before) == Body(None, 9, note="metadata only")
    assert body_of(Message(JSON, 9, is_unchanged=True), None).content is None


@pytest.mark.parametrize(
    ("body", "explanation"),
    [
        (Body(b"abc", 3), ""),
        (Body(b"abc", 10, is_cut=True), "cut: 3 of 10 bytes"),
        (Body(None, 3, note="metadata only"), "metadata only"),
        (Body(None, 3), "not shown"),
    ],
    ids=["whole", "cut", "withheld", "unknown"],
)
def test_what_is_missing_is_explained(body: Body, explanation: str) -> None:
    assert body.explanation == explanation


# Hostile input

HOSTILE = 'x" outcome=finished code=\n<script>alert(1)</script>\x1b[31m ~all'


def test_names_of_clients_cannot_look_like_a_word_of_ours() -> None:
    comment = shown(record(token_label=HOSTILE, model=HOSTILE, project_name=HOSTILE)).comment

    outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", comment)
    assert comment.isprintable() and "outcome=" not in outside and "<" not in outside and "~" not in outside


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://api.openai.com/v1/models?a=b#c", ("api.openai.com", 443, "/v1/models?a=b#c")),
        ("http://127.0.0.1:8090/v1", ("127.0.0.1", 8090, "/v1")),
        ("https://api.openai.com", ("api.openai.com", 443, "/")),
        ("http://[::1", ("", 80, "http://[::1")),
        ("http://host:99999/", ("", 80, "http://host:99999/")),
        ("/v1/models\r\nx: y", ("", 80, "/v1/models\r\nx: y")),
        ("", ("", 80, "/")),
    ],
    ids=["query", "port", "no path", "broken", "no port", "control", "empty"],
)
def test_an_address_is_shown_whatever_it_is(url: str, place: tuple[str, int, str]) -> None:
    flow = shown(record(url=url))

    assert (flow.request.host, flow.request.port) == place[:2]
    assert flow.request.path.replace("\r\n", "") in place[2].replace("\r\n", "")


def test_headers_are_shown_as_they_are_and_never_have_a_body_unpacked() -> None:
    headers = [("X-Evil", "a\r\nset-cookie: b\x00\x1bé"), ("Content-Encoding", "gzip"), ("content-type", "text/html")]
    flow = shown(record(request=Message(headers, 3, b"\x1f\x8b")))

    assert flow.request.headers["x-evil"] == "a\r\nset-cookie: b\x00\x1bé"
    assert "content-encoding" not in flow.request.headers and flow.request.headers["content-encoding-was"] == "gzip"
    assert flow.request.content == b"\x1f\x8b"


def test_a_flow_can_be_written_to_a_file_and_read_again() -> None:
    flow = shown(ended(token_label=HOSTILE))

    again = HTTPFlow.from_state(flow.get_state())

    assert again.comment == flow.comment and again.metadata == flow.metadata


def test_a_record_of_the_feed_reads_back() -> None:
    told = streaming(response=Message(EVENTS, 10, b"data: 1\n\n"))

    assert (
        msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=FlowRecord) == told and told.phase is Phase.STREAMING
    )
