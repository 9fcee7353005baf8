"""Rules of telling the inspector: what is told of each request and when, what never is, and that nobody waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from mitmproxy import http

from addons import inspector as room
from addons import words
from addons.call import Call, Calls, UpstreamCredential
from addons.inspector import Inspector
from addons.live import snapshot_of
from addons.meter import event_of
from addons.store import Store, StoreUnavailable
from shared import flow_schema
from shared.flow_schema import FlowRecord, Phase, decode_batch, decode_record
from shared.inspection import Capture, Hidden, Inspection
from shared.models import Caller, Outcome
from tests.addons.conftest import request

MAIL = "paula.patient@clinic.example"
CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"I am paula.patient@clinic.example"}]}'


@dataclass
class Sink:
    """Takes what it is given, unless it is away."""

    batches: list[bytes] = field(default_factory=list)
    held: dict[str, bytes] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    is_away: bool = False

    async def feed(self, batch: bytes, most_bytes: int) -> None:
        if self.is_away:
            raise StoreUnavailable("away")
        self.batches.append(batch)

    async def hold_record(self, request_id: str, record: bytes, milliseconds: int) -> None:
        self.held[request_id] = record

    async def release_record(self, request_id: str) -> None:
        self.released.append(request_id)

    def records(self) -> list[FlowRecord]:
        return [record for batch in self.batches for record in decode_batch({b"flows": batch})]


@dataclass
class World:
    """An inspector whose turns come when a test says so."""

    inspector: Inspector
    sink: Sink
    told: list[int]
    dropped: list[tuple[str, int]]

    async def records(self) -> list[FlowRecord]:
        """What is told in the next turn."""
        self.sink.batches.clear()
        await self.inspector.tell()
        return self.sink.records()


@pytest.fixture
def world(calls: Calls) -> World:
    sink, told, dropped = Sink(), list[int](), list[tuple[str, int]]()
    made = Inspector(
        calls, sink, lambda _: 1500, 1 << 20, told.append, lambda why, count: dropped.append((why, count)), name="w"
    )
    return World(made, sink, told, dropped)


@pytest.fixture
def chat(admitted: tuple[http.HTTPFlow, Call], caller: Caller) -> Callable[..., tuple[http.HTTPFlow, Call]]:
    """A chat of a project that captures as it is said."""

    def make(inspection: Inspection, body: bytes = CHAT) -> tuple[http.HTTPFlow, Call]:
        flow, call = admitted
        call.caller = replace(caller, project=replace(caller.project, name="search team", inspection=inspection))
        call.project_id = caller.project.id
        flow.request.raw_content = body
        return flow, call

    return make


FULL = Inspection(Capture.FULL)
PRIVATE = Inspection(Capture.FULL, hidden=(Hidden.EMAILS,))


def ask(world: World, flow: http.HTTPFlow) -> None:
    world.inspector.requestheaders(flow)
    world.inspector.request(flow)


def answer(world: World, flow: http.HTTPFlow, body: bytes, kind: str = "application/json") -> None:
    flow.response = http.Response.make(200, body, {"content-type": kind})
    world.inspector.responseheaders(flow)
    world.inspector.response(flow)


# What is told


async def test_a_request_that_is_over_within_a_turn_is_told_once(world: World, chat: Any) -> None:
    flow, call = chat(FULL)

    ask(world, flow)
    answer(world, flow, b'{"ok":true}')

    [record] = await world.records()
    assert (record.phase, record.request.body, record.status) == (Phase.ENDED, CHAT, 200)
    assert record.response is not None and record.response.body == b'{"ok":true}'
    assert (record.project_name, record.worker, record.revision) == ("search team", "w", 1)
    assert await world.records() == [] and world.told == [1]


async def test_a_stream_is_told_as_it_grows(world: World, chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    flow, call = chat(FULL)
    ask(world, flow)
    [waiting] = await world.records()
    call.credential = UpstreamCredential("k", "authorization", "Bearer x")
    flow.response = http.Response.make(200, b"", {"content-type": "text/event-stream"})
    flow.response.stream = lambda chunk: chunk
    world.inspector.responseheaders(flow)
    call.head_sent = True
    stream = flow.response.stream
    assert callable(stream)
    words = "several words of an answer that is long enough to be told before it has ended at all".split()
    for number, word in enumerate(words):
        stream(b'data: {"choices":[{"index":0,"delta":{"content":"%s "}}]}\n\n' % word.encode())
        call.chunks = number + 1
    [growing] = await world.records()
    flow.response.raw_content = None
    world.inspector.response(flow)
    [ended] = await world.records()

    assert (waiting.phase, growing.phase, ended.phase) == (Phase.WAITING, Phase.STREAMING, Phase.ENDED)
    assert growing.request.is_unchanged and growing.request.body is None and ended.request.body == CHAT
    assert growing.response is not None and b"several words" in (growing.response.body or b"")
    assert ended.response is not None and b"ended at all" in (ended.response.body or b"")
    assert [record.revision for record in (waiting, growing, ended)] == [1, 2, 3]


async def test_metadata_has_no_body_and_no_query(world: World, chat: Any) -> None:
    flow, _ = chat(Inspection())
    flow.request.path = "/v1/chat/completions?user=paula"
    flow.request.headers["cookie"] = "session=secret"

    ask(world, flow)
    answer(world, flow, CHAT)

    [record] = await world.records()
    assert record.request.body is None and record.response is not None and record.response.body is None
    assert record.url.endswith("/v1/chat/completions") and not record.has_bodies
    assert dict(record.request.headers)["cookie"] == "****"


async def test_a_project_that_wants_none_is_not_told_of(world: World, chat: Any) -> None:
    flow, _ = chat(Inspection(Capture.OFF))

    ask(world, flow)
    answer(world, flow, b"{}")

    assert await world.records() == []


@pytest.mark.parametrize(("share", "is_whole"), [(0.0, False), (1.0, True)])
async def test_a_share_is_captured_whole(world: World, chat: Any, share: float, is_whole: bool) -> None:
    flow, _ = chat(Inspection(Capture.SAMPLED, share))

    ask(world, flow)
    answer(world, flow, b"{}")

    assert [record.has_bodies for record in await world.records()] == [is_whole]


async def test_a_refusal_is_told_of_though_nobody_is_known(world: World, calls: Calls) -> None:
    flow = request("POST", "/v1/chat/completions")
    calls.of(flow).refused_with = "token_not_found"
    flow.response = http.Response.make(401, b"{}")

    world.inspector.response(flow)

    [record] = await world.records()
    assert (record.project_id, record.status, record.error_code) == ("", 401, "token_not_found")
    assert record.request.body is None


async def test_a_body_is_cut_where_its_project_says(world: World, chat: Any) -> None:
    flow, _ = chat(replace(FULL, max_body_bytes=1000), b"x " * 5000)

    ask(world, flow)
    answer(world, flow, b"y " * 5000, "text/plain")

    [record] = await world.records()
    for message in (record.request, record.response):
        assert message is not None and message.is_cut and message.size == 10_000
        assert message.body is not None and len(message.body) <= 1000


# What never is


async def test_what_is_hidden_leaves_no_worker_and_the_provider_gets_it(world: World, chat: Any) -> None:
    flow, call = chat(PRIVATE)
    call.token_label = f"of {MAIL}"
    flow.request.headers["x-user"] = MAIL

    ask(world, flow)
    answer(world, flow, CHAT)
    await world.records()

    assert MAIL.encode() not in b"".join(world.sink.batches) and b"[email]" in b"".join(world.sink.batches)
    assert flow.request.raw_content == CHAT and flow.request.headers["x-user"] == MAIL


async def test_names_are_hidden_in_records_logs_and_lists_alike(chat: Any) -> None:
    flow, call = chat(PRIVATE)
    call.model, call.is_admitted = MAIL, True
    path = words.path(call, f"/v1/models/{MAIL}")

    event = event_of(call, flow, call.caller, call.route, Outcome.FINISHED)

    assert (event.model, event.model_asked, path) == ("[email]", "[email]", "/v1/models/[email]")
    assert snapshot_of([call], datetime.now(UTC)).requests[0].model == "[email]"
    assert words.word(call, None) is None


async def test_keys_are_masked_whatever_a_project_wants(world: World, chat: Any, token: str) -> None:
    flow, _ = chat(FULL, b'{"model":"m","messages":[{"role":"user","content":"my key is %s"}]}' % token.encode())

    ask(world, flow)
    answer(world, flow, b'{"text":"%s"}' % token.encode())
    await world.records()

    assert token.encode() not in b"".join(world.sink.batches)


async def test_a_rule_withholds_bodies(world: World, chat: Any) -> None:
    flow, call = chat(FULL)
    call.is_hidden, call.tags = True, ["clinic"]

    ask(world, flow)
    answer(world, flow, CHAT)

    [record] = await world.records()
    assert record.request.body is None and record.request.note == "withheld by a rule" and record.tags == ["clinic"]


# Held requests


async def test_a_held_request_is_shown_whole_with_what_is_hidden_numbered(world: World, chat: Any) -> None:
    flow, call = chat(replace(PRIVATE, capture=Capture.METADATA))
    ask(world, flow)
    await world.records()
    call.held_until = datetime.now(UTC) + timedelta(seconds=60)

    world.inspector.held(flow, "look", call.held_until.timestamp())
    while call.request_id not in world.sink.held:
        await asyncio.sleep(0.01)

    shown = decode_record(world.sink.held[call.request_id])
    assert shown.phase is Phase.HELD and b"[email 1]" in (shown.request.body or b"")
    assert call.hidden == {"[email 1]": MAIL}
    [record] = await world.records()
    assert record.phase is Phase.HELD and record.request.body is None
    call.held_until = None
    world.inspector.released(flow)
    while not world.sink.released:
        await asyncio.sleep(0.01)
    assert world.sink.released == [call.request_id]


# Pressure


async def test_what_redis_does_not_take_is_dropped_and_counted(world: World, chat: Any) -> None:
    flow, _ = chat(Inspection())
    world.sink.is_away = True
    ask(world, flow)
    answer(world, flow, b"{}")

    assert await world.records() == [] and world.dropped == [("redis", 1)]


async def test_a_flood_of_nobodys_requests_leaves_room_for_others(
    world: World, calls: Calls, chat: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow, _ = chat(Inspection())
    ask(world, flow)
    for _ in range(room.MOST_OF_NOBODY + 10):
        refused = request()
        refused.response = http.Response.make(401)
        world.inspector.response(refused)

    records = await world.records()

    assert len(records) == room.MOST_OF_NOBODY + 1 and world.dropped == [("flood", 1)] * 10


async def test_switched_off_it_tells_nothing(calls: Calls, chat: Any) -> None:
    sink = Sink()
    off = Inspector(calls, sink, lambda _: 0, 1 << 20, lambda _: None, lambda *_: None, is_on=False)
    flow, _ = chat(FULL)

    off.requestheaders(flow)
    off.response(flow)
    await off.tell()

    assert sink.batches == []


# In Redis


@pytest.fixture
async def store(valkey_url: str, redis_client: redis.Redis) -> AsyncIterator[Store]:
    made = Store.connect(valkey_url, 5000)
    yield made
    await made.done()


async def test_the_feed_keeps_its_bytes_and_drops_the_oldest(store: Store, redis_client: redis.Redis) -> None:
    for number in range(10):
        await store.feed(bytes([number]) * 100, 350)

    entries: Any = redis_client.xrange(flow_schema.FLOWS)
    assert [entry[b"flows"][0] for _, entry in entries] == [7, 8, 9]
    assert redis_client.get(flow_schema.FLOWS_BYTES) == b"300"
    await store.feed(b"x" * 1000, 350)
    assert redis_client.xlen(flow_schema.FLOWS) == 1 and redis_client.get(flow_schema.FLOWS_BYTES) == b"1000"


async def test_a_feed_that_was_lost_begins_anew(store: Store, redis_client: redis.Redis) -> None:
    await store.feed(b"x" * 300, 350)
    redis_client.delete(flow_schema.FLOWS)

    await store.feed(b"y" * 100, 350)

    assert redis_client.xlen(flow_schema.FLOWS) == 1 and redis_client.get(flow_schema.FLOWS_BYTES) == b"100"


async def test_a_held_record_is_kept_for_its_time(store: Store, redis_client: redis.Redis) -> None:
    await store.hold_record("r1", b"told", 60_000)

    assert redis_client.get(flow_schema.held_key("r1")) == b"told"
    assert 0 < redis_client.pttl(flow_schema.held_key("r1")) <= 60_000
    await store.release_record("r1")
    assert redis_client.get(flow_schema.held_key("r1")) is None
