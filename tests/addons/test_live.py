"""Rules of what is told of requests in flight: to watchers only, bounded, without secrets, and nobody waits for it."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis
from mitmproxy import http

from addons.call import Call
from addons.dialects.answer import Answer, Said
from addons.live import Live, snapshot_of
from addons.presence import own_name
from addons.store import Store, StoreUnavailable
from shared import live_schema, tokens
from shared.live_schema import RunningRequest, Snapshot, State
from shared.models import Caller, Usage
from tests.addons.conftest import PROVIDER_KEY
from tests.addons.fakes import FakeStore

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def call(admitted: tuple[http.HTTPFlow, Call]) -> Call:
    """A chat that waits for its provider."""
    call = admitted[1]
    call.request_id, call.occurred_at, call.model, call.is_stream = "r1", NOW, "gpt-4o", True
    return call


def calls_of(caller: Caller, count: int) -> list[Call]:
    """As many requests, one after the other."""
    return [
        Call(f"r{number:05}", occurred_at=NOW + timedelta(seconds=number), caller=caller) for number in range(count)
    ]


def only(snapshot: Snapshot) -> RunningRequest:
    [request] = snapshot.requests
    return request


# What is told


def test_a_request_that_waits_is_told_with_whose_it_is(call: Call) -> None:
    assert snapshot_of([call], NOW) == Snapshot(
        NOW,
        {"project-1": 1},
        [
            RunningRequest(
                request_id="r1",
                project_id="project-1",
                token_id="token-1",
                token_label="a label",
                provider="openai",
                route="chat.completions",
                model="gpt-4o",
                started_at=NOW,
                is_stream=True,
                state=State.WAITING,
                chunks=0,
                response_bytes=0,
                completion_tokens=None,
            )
        ],
    )


def test_a_stream_is_told_with_how_far_it_has_come(call: Call) -> None:
    call.head_sent, call.chunks, call.response_bytes = True, 7, 700
    call.said = Said(pieces=6, size=20)

    told = only(snapshot_of([call], NOW))

    assert (told.state, told.chunks, told.response_bytes, told.completion_tokens) == (State.STREAMING, 7, 700, 6)


def test_a_held_request_is_told_with_what_holds_it_and_until_when(call: Call) -> None:
    call.rule, call.held_until = "keep", NOW + timedelta(seconds=60)

    told = only(snapshot_of([call], NOW))

    assert (told.state, told.rule, told.held_until) == (State.HELD, "keep", NOW + timedelta(seconds=60))
    call.held_until = None
    assert only(snapshot_of([call], NOW)).state is State.WAITING


def test_what_the_provider_says_of_model_and_usage_wins(call: Call) -> None:
    call.answer = Answer("gpt-4o-2024-08-06", Usage(10, 50, 60), is_final=True)

    told = only(snapshot_of([call], NOW))

    assert (told.model, told.completion_tokens) == ("gpt-4o-2024-08-06", 50)


def test_of_many_the_oldest_are_told_and_all_are_counted(caller: Caller) -> None:
    other = replace(caller, project=replace(caller.project, id="project-2"))

    told = snapshot_of([*calls_of(caller, 1200), *calls_of(other, 3)], NOW)

    assert [request.request_id for request in told.requests] == [f"r{number:05}" for number in range(1000)]
    assert told.counts == {"project-1": 1200, "project-2": 3}


def test_who_was_not_let_in_is_not_told() -> None:
    assert snapshot_of([Call()], NOW) == Snapshot(NOW, {}, [])


def test_neither_token_nor_provider_key_is_told(call: Call, caller: Caller) -> None:
    token = tokens.generate()
    call.caller = replace(caller, token_label=f"of {token}")
    call.model, call.path, call.digest = f"ft:{PROVIDER_KEY}", f"/v1/{token}", tokens.digest(token, b"pepper")
    call.presented = [("authorization", token)]

    told = live_schema.encode_snapshot(snapshot_of([call], NOW))

    assert b"ft:sk-p****" in told
    assert [secret for secret in (token, PROVIDER_KEY, call.digest) if secret.encode() in told] == []


# When it is told


async def looked(store: FakeStore, calls: Callable[[], list[Call]], until: Callable[[], bool]) -> None:
    """Let the room look until something is so."""
    room = Live(store, calls, "host:1", pause_seconds=0.001)  # type: ignore[arg-type]
    room.running()
    async with asyncio.timeout(5):
        while not until():
            await asyncio.sleep(0.001)
    await room.done()


async def test_while_nobody_watches_nobody_looks_at_requests() -> None:
    store = FakeStore()
    store.watchers = [False] * 5 + [StoreUnavailable("away")]

    await looked(store, lambda: pytest.fail("somebody looked"), lambda: len(store.watchers) == 1)

    assert store.told == []


async def test_watchers_are_told_again_and_again_and_after_an_outage(call: Call) -> None:
    store = FakeStore()
    store.watchers = [False, True, StoreUnavailable("away"), True]

    await looked(store, lambda: [call], lambda: len(store.told) > 2)

    assert {(name, only(snapshot).request_id) for name, snapshot in store.told} == {("host:1", "r1")}
    assert store.told[0][1].told_at < store.told[1][1].told_at


async def test_what_was_told_is_forgotten_by_itself(call: Call, valkey_url: str, redis_client: redis.Redis) -> None:
    store = Store.connect(valkey_url, 1000)
    before = await store.is_watched()
    redis_client.set(live_schema.WATCHED, 1)

    await store.tell(own_name(), snapshot_of([call], NOW))
    is_watched = await store.is_watched()
    await store.done()

    key = live_schema.snapshot_key(own_name())
    assert (before, is_watched) == (False, True)
    assert only(live_schema.decode_snapshot(redis_client.get(key))).request_id == "r1"
    assert 0 < redis_client.pttl(key) <= live_schema.SNAPSHOT_MS


async def test_without_redis_nothing_is_told_and_nothing_fails(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    away = Store.connect("unix:///nobody/listens/here.sock", 100)
    room = Live(away, lambda: [call], "host:1", pause_seconds=0.001)

    room.running()
    await asyncio.sleep(0.02)
    await room.done()

    with pytest.raises(StoreUnavailable):
        await away.tell("host:1", snapshot_of([call], NOW))
    await away.done()
    assert caplog.text == ""
