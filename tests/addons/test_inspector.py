"""Rules of what the inspector is told: of whom, when, how much; never a secret, and never at a request's expense."""

import asyncio
import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest
from mitmproxy import http
from mitmproxy.test import tflow
from msgspec.structs import replace as replaced

from addons import inspector as room_module
from addons.call import Call, Calls, UpstreamCredential
from addons.dialects.answer import Answer
from addons.flow_records import Allowance, Tap, Words
from addons.held_requests import HeldRequests
from addons.hiding import reveal
from addons.inspector import Inspector
from addons.meter import Meter
from addons.redaction import Redaction
from addons.route_table import RouteTable
from addons.store import StoreUnavailable
from shared import tokens
from shared.flow_schema import FlowRecord, Phase, decode_record, encode_record
from shared.inspection import Capture, Hidden, Inspection
from shared.models import Caller, Outcome, Usage
from shared.providers import ProviderTable
from tests.addons.conftest import PROVIDER_KEY, pass_through, request
from tests.addons.fakes import FakeFeed, FakeStore

FULL = Inspection(Capture.FULL)
HIDING = Inspection(Capture.FULL, hidden=(Hidden.EMAILS,))
EMAIL = "jane@clinic.example"
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": f"write to {EMAIL}"}]}).encode()


@pytest.fixture
def feed() -> FakeFeed:
    return FakeFeed()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


class Driver:
    """Sends requests past the rooms and lets the inspector tell of them."""

    def __init__(self, calls: Calls, caller: Caller, table: ProviderTable, feed: FakeFeed, store: FakeStore) -> None:
        self.calls, self.caller, self.table, self.feed = calls, caller, table, feed
        self.dropped: dict[str, int] = {}
        self.priced: list[str] = []
        self.room = Inspector(calls, store, feed, self._cost, self._drop, worker="host:1")  # type: ignore[arg-type]
        self.meter = Meter(calls, lambda call, event: None)
        self.redaction = Redaction(calls, RouteTable())

    def _cost(self, event: Any) -> int:
        self.priced.append(event.request_id)
        return 42

    def _drop(self, reason: str, count: int) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def begin(self, inspection: Inspection | None = None, body: bytes = BODY, **headers: str) -> http.HTTPFlow:
        """A chat whose head has come and was admitted for a project with this inspection; None: it was not."""
        headers = {"authorization": f"Bearer {tokens.generate()}", "content_type": "application/json", **headers}
        host = headers.pop("host", "127.0.0.1:8080")
        flow = request("POST", "/v1/chat/completions?key=a", b"", **headers)
        flow.request.headers["host"], flow.request.raw_content = host, body
        call = self.calls.of(flow)
        self.redaction.requestheaders(flow)
        if inspection is not None:
            call.project = replace(self.caller.project, inspection=inspection, name="a project")
            call.caller = replace(self.caller, project=call.project)
            call.project_id, call.token_id, call.token_label = call.project.id, "token-1", call.caller.token_label
            call.provider = self.table.providers["openai"]
            call.route = self.table.match("POST", "/v1/chat/completions").routes["openai"]
            call.model, call.is_admitted, call.request_bytes = "gpt-4o", True, len(body)
        self.room.requestheaders(flow)
        return flow

    def ask(self, flow: http.HTTPFlow) -> Call:
        """Its body has come, and it goes out."""
        self.room.request(flow)
        call = self.calls.of(flow)
        call.use(UpstreamCredential("key-1", "authorization", PROVIDER_KEY))
        call.attempts.count, call.attempts.base_url = 1, "https://api.openai.com"
        flow.request.scheme, flow.request.host, flow.request.port = "https", "api.openai.com", 443
        return call

    def answer(self, flow: http.HTTPFlow, *chunks: bytes, kind: str = "application/json", **headers: str) -> None:
        """The answer begins."""
        flow.response = http.Response.make(200, b"", {"content-type": kind, **headers})
        self.calls.of(flow).head_sent = True
        self.meter.responseheaders(flow)
        self.room.responseheaders(flow)
        self.stream(flow, *chunks)

    def stream(self, flow: http.HTTPFlow, *chunks: bytes) -> list[object]:
        assert flow.response is not None and callable(flow.response.stream)
        return [flow.response.stream(chunk) for chunk in chunks]

    def end(self, flow: http.HTTPFlow) -> None:
        self.stream(flow, b"")
        self.meter.response(flow)
        self.room.response(flow)

    def refuse(self, flow: http.HTTPFlow, code: str = "token_expired") -> None:
        flow.response = http.Response.make(401, b'{"error":{}}')
        self.calls.of(flow).refused_with = code
        self.room.responseheaders(flow)
        self.room.response(flow)

    async def told(self) -> list[FlowRecord]:
        """What is told now."""
        before = len(self.feed.records)
        await self.room.tell()
        return self.feed.records[before:]


@pytest.fixture
def driver(calls: Calls, caller: Caller, table: ProviderTable, feed: FakeFeed, store: FakeStore) -> Driver:
    return Driver(calls, caller, table, feed, store)


# Whom and when


async def test_what_begins_and_ends_within_a_turn_is_one_record(driver: Driver) -> None:
    flow = driver.begin(Inspection())
    call = driver.ask(flow)
    driver.answer(flow, b'{"model":"gpt-4o-2024","usage":{"prompt_tokens":3,"completion_tokens":4}}')
    driver.end(flow)

    [record] = await driver.told()

    assert (record.request_id, record.revision, record.phase) == (call.request_id, 1, Phase.ENDED)
    assert (record.project_id, record.project_name) == ("project-1", "a project")
    assert (record.token_id, record.token_label, record.worker) == ("token-1", "a label", "host:1")
    assert (record.route, record.provider, record.dialect) == ("chat.completions", "openai", "openai")
    assert (record.model, record.method, record.status) == ("gpt-4o-2024", "POST", 200)
    assert record.url == "https://api.openai.com/v1/chat/completions"
    assert (record.prompt_tokens, record.completion_tokens, record.cost_nano_usd) == (3, 4, 42)
    assert (record.outcome, record.error_code, record.attempts, record.upstream_key_id) == (
        "finished",
        None,
        1,
        "key-1",
    )
    assert (record.request.size, record.request.body, record.response and record.response.body) == (
        len(BODY),
        None,
        None,
    )
    assert record.response is not None and record.response.size == 73
    assert record.duration_ms is not None and not record.has_bodies
    assert await driver.told() == []
    assert driver.priced == [call.request_id]


async def test_a_long_request_is_told_of_as_it_goes_on(driver: Driver) -> None:
    flow = driver.begin(Inspection())
    [waiting] = await driver.told()
    driver.ask(flow)
    assert await driver.told() == []
    driver.answer(flow, b"data: x\n\n", kind="text/event-stream")
    [streaming] = await driver.told()
    driver.end(flow)
    [ended] = await driver.told()

    assert [(each.revision, each.phase) for each in (waiting, streaming, ended)] == [
        (1, Phase.WAITING), (2, Phase.STREAMING), (3, Phase.ENDED),
    ]  # fmt: skip
    assert [each.url for each in (waiting, ended)] == [
        "http://127.0.0.1:8080/v1/chat/completions", "https://api.openai.com/v1/chat/completions",
    ]  # fmt: skip


async def test_a_stream_that_grows_is_told_of_once_a_second(driver: Driver) -> None:
    flow = driver.begin(Inspection())
    driver.ask(flow)
    driver.answer(flow, b"data: x\n\n", kind="text/event-stream")
    noted = flow.__dict__["_llm_proxy_noted"]
    await driver.told()

    driver.stream(flow, b"data: y\n\n")
    too_soon = await driver.told()
    noted.told_at -= 1.1
    [grown] = await driver.told()
    noted.told_at -= 1.1
    unchanged = await driver.told()

    assert (too_soon, unchanged) == ([], [])
    assert (grown.chunks, grown.response.size if grown.response else 0) == (2, 18)


async def test_who_was_refused_is_told_of_without_a_project(driver: Driver, feed: FakeFeed) -> None:
    driver.refuse(driver.begin(None, host="proxy.example:8080"), "token_not_found")

    [record] = await driver.told()

    assert (record.project_id, record.phase, record.status, record.outcome) == ("", Phase.ENDED, 401, "refused")
    assert (record.error_code, record.url) == ("token_not_found", "http://proxy.example:8080/v1/chat/completions")
    assert feed.strangers == [True]


async def test_of_who_was_refused_no_body_is_told_whatever_their_project_captures(driver: Driver) -> None:
    flow = driver.begin()
    driver.calls.of(flow).project = replace(driver.caller.project, inspection=FULL)
    flow.__dict__.pop("_llm_proxy_noted")
    driver.room.requestheaders(flow)
    driver.room.request(flow)
    driver.refuse(flow)

    [*_, told] = await driver.told()

    assert not told.has_bodies and told.request.body is None and told.response is not None
    assert told.response.body is None


@pytest.mark.parametrize("host", ["a b", '"><script>', "x/../y", ""])
async def test_a_host_that_is_none_is_not_told(driver: Driver, host: str) -> None:
    driver.refuse(driver.begin(None, host=host))

    assert (await driver.told())[0].url.startswith("http://unknown.invalid")


async def test_what_broke_off_is_told_with_what_ended_it(driver: Driver) -> None:
    flow = driver.begin(Inspection())
    call = driver.ask(flow)
    driver.answer(flow, b"data: x\n\n", kind="text/event-stream")
    call.ended_by_client = True
    flow.error = tflow.terr()
    driver.meter.error(flow)
    driver.room.error(flow)

    [record] = await driver.told()

    assert (record.phase, record.outcome) == (Phase.ENDED, Outcome.CLIENT_ABORTED)


async def test_a_websocket_ends_when_it_is_closed(driver: Driver) -> None:
    flow = driver.begin(Inspection())
    driver.ask(flow)
    flow.websocket = tflow.twebsocket()
    flow.response = http.Response.make(101)
    driver.room.responseheaders(flow)
    driver.room.response(flow)
    [begun] = await driver.told()
    driver.room.websocket_end(flow)
    [ended] = await driver.told()

    assert (begun.phase, ended.phase) == (Phase.WAITING, Phase.ENDED)


async def test_nothing_is_told_of_a_project_that_wants_none(driver: Driver) -> None:
    flow = driver.begin(Inspection(Capture.OFF))
    driver.ask(flow)
    driver.answer(flow)
    driver.end(flow)
    denied = request()
    driver.calls.of(denied).project = replace(driver.caller.project, inspection=Inspection(Capture.OFF))
    driver.room.requestheaders(denied)
    driver.refuse(denied)

    assert await driver.told() == []


async def test_switched_off_the_room_is_idle(calls: Calls, feed: FakeFeed) -> None:
    room = Inspector(calls, FakeStore(), feed, lambda _: None, lambda *_: None, is_on=False)  # type: ignore[arg-type]
    flow = request()

    room.running()
    await pass_through("requestheaders", flow, room)
    await pass_through("response", flow, room)
    await room.tell()
    await room.done()

    assert (feed.records, feed.is_running) == ([], False)


# How much


async def test_samples_have_bodies_by_their_id(driver: Driver) -> None:
    half = Inspection(Capture.SAMPLED, share=0.5)
    for last in ("7fffffff", "80000000"):
        flow = request("POST", "/v1/x", BODY)
        call = driver.calls.of(flow)
        call.request_id, call.caller = "0" * 24 + last, driver.caller
        call.project = replace(driver.caller.project, inspection=half)
        driver.room.requestheaders(flow)

    assert [record.has_bodies for record in await driver.told()] == [True, False]


async def test_bodies_are_told_hidden_while_the_provider_gets_them_as_they_are(driver: Driver) -> None:
    flow = driver.begin(HIDING)
    driver.ask(flow)
    chunks = [
        json.dumps({"choices": [{"index": 0, "delta": {"content": piece}}]}) for piece in ("to jane@cli", "nic.example")
    ]
    driver.answer(flow, kind="text/event-stream")
    passed = driver.stream(flow, *(f"data: {chunk}\n\n".encode() for chunk in chunks))
    driver.end(flow)

    [record] = await driver.told()

    assert record.has_bodies and record.request.body is not None and record.response is not None
    assert json.loads(record.request.body)["messages"][0]["content"] == "write to [email]"
    assert b"to [email]" in (record.response.body or b"")
    assert EMAIL.encode() not in encode_record(record)
    assert flow.request.raw_content == BODY
    assert passed == [f"data: {chunk}\n\n".encode() for chunk in chunks]


async def test_a_request_is_told_whole_once_and_again_at_the_end(driver: Driver) -> None:
    flow = driver.begin(FULL)
    driver.ask(flow)
    [first] = await driver.told()
    driver.answer(flow, b"data: x\n\n", kind="text/event-stream")
    [second] = await driver.told()
    driver.end(flow)
    [last] = await driver.told()

    assert (first.request.body, second.request.body, last.request.body) == (BODY, None, BODY)
    assert (first.request.is_unchanged, second.request.is_unchanged, last.request.is_unchanged) == (False, True, False)


async def test_what_is_too_long_is_cut(driver: Driver) -> None:
    flow = driver.begin(Inspection(Capture.FULL, max_body_bytes=100), body=b'"' + b"word " * 100 + b'"')
    driver.ask(flow)
    driver.answer(flow, *[b"text " * 10] * 10, kind="text/plain")
    noted = flow.__dict__["_llm_proxy_noted"]
    kept = (len(noted.request_tap.start), len(noted.response_tap.start))
    driver.end(flow)

    [record] = await driver.told()

    assert kept == (100, 100)
    assert record.request.is_cut and record.response is not None and record.response.is_cut
    assert len(record.request.body or b"") <= 100
    assert record.response.size == 500


async def test_an_upload_is_watched_as_it_passes(driver: Driver) -> None:
    flow = request("POST", "/v1/files", content_type="text/plain")
    call = driver.calls.of(flow)
    call.caller, call.project = driver.caller, replace(driver.caller.project, inspection=HIDING)
    call.head = flow.request.headers.fields
    flow.request.stream = True
    driver.room.requestheaders(flow)

    assert callable(flow.request.stream)
    passed = [flow.request.stream(chunk) for chunk in (b"to jane@cli", b"nic.example", b"")]
    driver.refuse(flow)
    [record] = await driver.told()

    assert passed == [b"to jane@cli", b"nic.example", b""]
    assert record.request.body == b"to [email]"


def test_all_that_is_kept_of_bodies_is_bounded() -> None:
    allowance = Allowance(10)
    one, other = Tap(8, allowance), Tap(8, allowance)

    one.add(b"x" * 8)
    other.add(b"y" * 8)
    kept = (bytes(one.start), bytes(other.start), other.size, allowance.left)
    del one

    assert kept == (b"x" * 8, b"yy", 8, 0)
    assert allowance.left == 8


async def test_bodies_that_a_rule_withholds_are_not_told(driver: Driver) -> None:
    flow = driver.begin(FULL)
    call = driver.ask(flow)
    call.is_hidden, call.tags = True, ["odd"]
    driver.answer(flow, b"{}")
    driver.end(flow)

    [record] = await driver.told()

    assert (record.request.body, record.request.note, record.has_bodies) == (None, "withheld by a rule", False)
    assert record.response is not None and record.response.body is None
    assert record.tags == ["odd"]


# Secrets


async def test_no_secret_is_told_wherever_it_stands(driver: Driver) -> None:
    inspection = Inspection(hidden=(Hidden.EMAILS,))
    token = tokens.generate()
    flow = driver.begin(
        inspection, authorization=f"Bearer {token}", cookie="session=secret-session", x_note=f"{EMAIL} {PROVIDER_KEY}"
    )
    call = driver.ask(flow)
    call.token_label, call.tags = f"of {EMAIL}", [EMAIL]
    call.answer = Answer(f"ft:{EMAIL}")
    flow.request.path = f"/v1/chat/{EMAIL.replace('@', '%40')}?q={token}"
    driver.answer(flow, set_cookie="a=secret-session")
    driver.end(flow)

    [record] = await driver.told()

    told = encode_record(record)
    assert [secret for secret in (token, PROVIDER_KEY, EMAIL, "%40", "secret-session") if secret.encode() in told] == []
    assert dict(record.request.headers)["authorization"] == f"Bearer {tokens.mask(token)}"
    assert dict(record.request.headers)["x-note"] == f"[email] {tokens.mask(PROVIDER_KEY)}"
    assert dict(record.request.headers)["cookie"] == "****"
    assert record.url == "https://api.openai.com/v1/chat/[email]"
    assert record.token_label == "of [email]"


@pytest.mark.parametrize(
    "name",
    [b"x-auth-token", b"CF-Access-Client-Secret", b"X-Amz-Security-Token", b"private-token", b"cookie", b"Set_Cookie"],
)
def test_what_stands_under_the_name_of_a_credential_is_not_told(name: bytes) -> None:
    told = Words(Inspection()).head(((b"accept", b"*/*"), (name, b"9c1185a5c5e9fc54612808977ee8f548b2258d31")))

    assert told == [("accept", "*/*"), (name.decode(), "****")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-ratelimit-remaining-tokens", "149"),
        ("anthropic-ratelimit-tokens-limit", "8"),
        ("idempotency-key", "order-4711"),
        ("x-api-key", "sk-llmp-****h0N0"),
        ("openai-processing-ms", "12"),
    ],
)
def test_what_only_sounds_like_a_credential_is_told(name: str, value: str) -> None:
    assert Words(Inspection()).head(((name.encode(), value.encode()),)) == [(name, value)]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("api_key=0f1e2d&limit=3", "api_key=****&limit=3"),
        ("X-Amz-Signature=ab%3D&x=1", "X-Amz-Signature=****&x=1"),
        ("key=", "key="),
        ("max_tokens=3&token=a=b", "max_tokens=3&token=****"),
    ],
)
def test_parameters_that_are_credentials_by_their_name_are_not_told(query: str, told: str) -> None:
    assert Words(Inspection()).path(f"/v1/models?{query}".encode(), has_query=True) == f"/v1/models?{told}"


@pytest.mark.parametrize("plain", ["0f1e2d3c4b5a69788796a5b4c3d2e1f0", 'odd"key/with+all='], ids=["digits", "marks"])
@pytest.mark.parametrize("shape", ["json", "stream", "split", "text", "form"])
async def test_a_key_without_a_known_shape_is_not_told_whatever_it_was_tried_with(
    driver: Driver, plain: str, shape: str
) -> None:
    flow = driver.begin(FULL)
    call = driver.ask(flow)
    for secret in ("another-key-that-was-tried-0123", plain):
        call.use(UpstreamCredential("key-1", "authorization", f"Bearer {secret}"))
    said = f"no such key: {plain}, nor another-key-that-was-tried-0123"
    deltas = [said] if shape == "stream" else list(said)
    bodies = {
        "json": ("application/json", json.dumps({"error": {"message": said, "inner": json.dumps([said])}})),
        "text": ("text/plain", said),
        "form": ("application/x-www-form-urlencoded", urlencode({"said": said})),
    }
    events = [{"choices": [{"index": 0, "delta": {"content": delta}}]} for delta in deltas]
    kind, body = bodies.get(shape) or ("text/event-stream", "".join(f"data: {json.dumps(e)}\n\n" for e in events))

    driver.answer(flow, body.encode(), kind=kind, x_debug=plain)
    driver.end(flow)
    [*_, told] = await driver.told()

    assert told.response is not None and told.response.body is not None and b"no" in told.response.body
    read = unquote_plus(told.response.body.decode() + str(told.response.headers)).replace("\\", "")
    assert plain.replace("\\", "") not in read and "another-key" not in read


async def test_a_head_is_told_as_it_came(driver: Driver) -> None:
    flow = driver.begin(Inspection(), x_odd="a\0b", user_agent="me")
    flow.request.headers = http.Headers()
    driver.refuse(flow)
    again = driver.begin(Inspection(), x_odd="c\0d", user_agent="me")
    driver.refuse(again)

    one, other = await driver.told()

    assert {("x-odd", "a\0b"), ("user-agent", "me")} <= set(one.request.headers)
    assert {("x-odd", "c\0d"), ("user-agent", "me")} <= set(other.request.headers)


async def test_with_a_pattern_that_nobody_can_read_little_is_told(driver: Driver) -> None:
    flow = driver.begin(Inspection(Capture.FULL, patterns=("(?=x)",)))
    driver.ask(flow)
    driver.answer(flow, b"{}")
    driver.end(flow)

    [record] = await driver.told()

    assert record.request.body is None
    assert record.token_label == "(what is to be hidden cannot be read)"
    assert b"gpt-4o" not in encode_record(record)


async def test_what_was_kept_of_bodies_is_let_go_when_they_have_been_told(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.room = Inspector(driver.calls, FakeStore(), driver.feed, driver._cost, driver._drop, tapped_bytes=1000)  # type: ignore[arg-type]
    flows = []
    for _ in range(5):  # mitmproxy keeps flows until the garbage collector finds them.
        flow = driver.begin(FULL, body=b"a" * 400)
        driver.ask(flow)
        driver.answer(flow, b"b" * 400)
        driver.end(flow)
        flows.append(flow)
        [record] = await driver.told()
        assert record.response is not None
        assert (record.request.body, record.response.body) == (b"a" * 400, b"b" * 400)

    one, other = (driver.begin(FULL, body=b"a" * 800) for _ in range(2))
    driver.ask(one)
    driver.ask(other)
    [whole, cut] = [record.request for record in await driver.told()]

    assert (whole.is_cut, whole.size, cut.is_cut, cut.size) == (False, 800, True, 800)


async def test_records_that_do_not_fit_any_more_when_they_are_made_are_counted(driver: Driver, feed: FakeFeed) -> None:
    feed.room_for = 1
    for _ in range(3):
        driver.begin(Inspection())

    told = await driver.told()

    assert len(told) == 1
    assert driver.dropped == {"full": 2}


async def test_who_was_not_let_in_has_little_room(driver: Driver) -> None:
    flow = driver.begin(None, x_long="y" * 60_000, **{f"x_{number}": "z" for number in range(90)})
    flow.request.path = "/" + "p" * 60_000
    driver.refuse(flow)

    [record] = await driver.told()

    assert len(encode_record(record)) < 8192
    assert len(record.request.headers) <= 40 and len(record.url) < 1000


def test_long_paths_are_not_remembered() -> None:
    words = Words(Inspection())
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(100):
        words.path(f"/{number}".encode() + b"p" * 60_000, has_query=True)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert after - before < 1_000_000


async def test_a_method_that_is_a_secret_is_not_told(driver: Driver) -> None:
    flow = driver.begin(None)
    flow.request.method = PROVIDER_KEY
    driver.refuse(flow)

    [record] = await driver.told()

    assert PROVIDER_KEY.upper() not in record.method.upper()


# Under pressure


async def test_while_there_is_no_room_records_are_counted_and_not_made(driver: Driver, feed: FakeFeed) -> None:
    feed.is_open = False
    flow = driver.begin(Inspection())
    driver.ask(flow)
    assert await driver.told() == []
    feed.is_open = True
    driver.answer(flow)
    driver.end(flow)

    [record] = await driver.told()

    assert driver.dropped == {"full": 1}
    assert record.phase is Phase.ENDED


async def test_a_flood_of_strangers_does_not_push_others_out(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, feed: FakeFeed
) -> None:
    monkeypatch.setattr(room_module, "MOST_NOTED", 8)
    monkeypatch.setattr(room_module, "MOST_STRANGERS", 2)
    for _ in range(5):
        driver.begin(None)
    for _ in range(7):
        driver.begin(Inspection())

    await driver.told()

    assert feed.strangers == [True] * 2 + [False] * 6
    assert driver.dropped == {"busy": 4}


async def test_one_that_cannot_be_told_of_keeps_nobody_back(driver: Driver) -> None:
    odd, fine = driver.begin(FULL), driver.begin(FULL)
    driver.calls.of(odd).occurred_at = None  # type: ignore[assignment]

    told = await driver.told()

    assert [record.request_id for record in told] == [driver.calls.of(fine).request_id]
    assert driver.dropped == {"fault": 1}


async def test_it_tells_by_itself_and_the_rest_at_the_end(driver: Driver, feed: FakeFeed) -> None:
    driver.room.running()
    driver.begin(Inspection())
    async with asyncio.timeout(5):
        while not feed.records:
            await asyncio.sleep(0.01)
    driver.begin(Inspection())
    await driver.room.done()

    assert len(feed.records) == 2
    assert not feed.is_running


# Requests that are held


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_held_request_is_shown_whole_and_its_originals_stay_here(driver: Driver, store: FakeStore) -> None:
    flow = driver.begin(Inspection(Capture.METADATA, max_body_bytes=5, hidden=(Hidden.EMAILS,)))
    call = driver.calls.of(flow)
    until = time.time() + 60

    driver.room.held(flow, "night", until)
    await settled(lambda: call.request_id in store.held)
    shown = decode_record(store.held[call.request_id])
    [record] = await driver.told()
    driver.room.released(flow)
    await settled(lambda: call.request_id not in store.held)
    [released] = await driver.told()
    await driver.room.done()

    assert (shown.phase, shown.rule, shown.held_until) == (Phase.HELD, "night", until)
    assert shown.request.body == BODY.replace(EMAIL.encode(), b"[email 1]")
    assert reveal(shown.request.body.decode(), call.hidden).encode() == BODY
    assert (record.phase, record.request.body) == (Phase.HELD, None)
    assert released.phase is Phase.WAITING


async def test_a_held_request_of_a_project_that_is_not_captured_is_shown_to_who_decides_alone(
    driver: Driver, store: FakeStore
) -> None:
    flow = driver.begin(Inspection(Capture.OFF))
    store.hold_faults = 1

    driver.room.held(flow, "night", time.time() + 60)
    await settled(lambda: bool(store.held))
    await driver.room.done()

    assert (driver.feed.records, store.held) == ([], {})


@pytest.mark.parametrize(
    ("kind", "coding", "body", "is_hidden", "note"),
    [
        ("application/json", "", b"x" * (1 << 20) + b"x", False, "1048577 bytes are too many to be shown whole"),
        ("image/png", "", b"\x89PNG", False, "4 bytes of image/png are no plain text"),
        ("application/json", "gzip", b"abc", False, "3 bytes of application/json are no plain text"),
        ("application/json", "", b"\xff", False, "1 bytes are no text in UTF-8"),
        ("application/json", "", b"{}", True, "withheld by a rule"),
    ],
    ids=["large", "picture", "coded", "broken", "withheld"],
)
async def test_what_cannot_be_edited_is_not_shown(
    driver: Driver, store: FakeStore, kind: str, coding: str, body: bytes, is_hidden: bool, note: str
) -> None:
    flow = driver.begin(Inspection(), body, content_type=kind, content_encoding=coding)
    driver.calls.of(flow).is_hidden = is_hidden

    driver.room.held(flow, "night", time.time() + 60)
    await settled(lambda: bool(store.held))
    [shown] = map(decode_record, store.held.values())
    await driver.room.done()

    assert (shown.request.body, shown.request.note, shown.request.size) == (None, note, len(body))


async def test_a_request_that_is_released_at_once_leaves_nothing_behind(driver: Driver, store: FakeStore) -> None:
    held, call = HeldRequests(store), driver.calls.of(driver.begin(FULL))  # type: ignore[arg-type]
    [record] = await driver.told()
    held.show(call, replaced(record, held_until=time.time() + 60), b"", FULL)
    held.forget(call.request_id)
    await settled(lambda: len(held) == 0)

    assert store.held == {}


async def test_what_is_held_longer_than_it_may_be_is_shown_no_longer(driver: Driver, store: FakeStore) -> None:
    flow = driver.begin(Inspection())
    store.hold_faults = 1000

    driver.room.held(flow, "night", time.time() - 10)
    await settled(lambda: len(asyncio.all_tasks()) == 1)

    assert store.held == {}


async def test_a_store_that_is_away_when_it_is_to_forget_does_no_harm(driver: Driver, store: FakeStore) -> None:
    async def away(request_id: str) -> None:
        raise StoreUnavailable("away")

    store.drop_record = away  # type: ignore[method-assign]
    flow = driver.begin(Inspection())
    driver.room.held(flow, "night", time.time() + 60)

    await driver.room.done()

    assert Usage() == driver.calls.of(flow).answer.usage
