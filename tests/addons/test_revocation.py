"""Cuts: who is cut, when, and that a message that comes a moment early or never still has its effect."""

import asyncio
from typing import Any

import pytest
import redis
from mitmproxy import http
from mitmproxy.proxy.server import ConnectionIO
from mitmproxy.test import tflow
from mitmproxy.websocket import WebSocketData

from addons.breakers import Breakers
from addons.call import Call, Calls, Line
from addons.control import Control
from addons.ending import Cause, Interruption
from addons.holding import Holding
from addons.interrupts import Deadline, Interrupted, Interrupts
from addons.refusal import PROJECT_INACTIVE, REQUEST_CUT, TOKEN_INACTIVE
from addons.revocation import REMEMBER_SECONDS, Revocation
from addons.rule_book import RuleBook
from addons.sharing import Sharing
from addons.store import Store
from shared import redis_schema
from shared.redis_schema import BreakerChange, ControlMessage, Cut, Revoked
from tests.addons.conftest import request


class FakeHandler:
    """mitmproxy's connection handler, as far as interrupts need it."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.transports: dict[Any, Any] = {}

    async def server_event(self, event: Any) -> None:
        self.events.append(event)


class World:
    """Revocation with one live connection, a clock to turn, and all cuts that were counted."""

    def __init__(self, calls: Calls) -> None:
        self.now = 100.0
        self.cuts: list[str] = []
        self.handler = FakeHandler()
        self.interrupts = Interrupts(lambda: {"client": self.handler})  # type: ignore[dict-item]
        self.revocation = Revocation(calls, self.interrupts, self.cuts.append, lambda: self.now)

    async def causes(self) -> list[Interruption]:
        await asyncio.sleep(0)
        return [event.interruption for event in self.handler.events if isinstance(event, Interrupted)]


@pytest.fixture
def world(calls: Calls) -> World:
    return World(calls)


@pytest.fixture
def live(world: World, admitted: tuple[http.HTTPFlow, Call]) -> tuple[http.HTTPFlow, Call]:
    """An admitted request that is running."""
    flow, call = admitted
    call.token_id, call.line, call.digest = "token-1", Line("client", 1), "digest-1"
    world.revocation.requestheaders(flow)
    return flow, call


@pytest.mark.parametrize(
    ("message", "refusal"),
    [(Revoked("token", "token-1"), TOKEN_INACTIVE), (Revoked("project", "project-1"), PROJECT_INACTIVE)],
)
async def test_a_running_request_is_cut_with_the_reason(
    world: World, live: tuple[http.HTTPFlow, Call], message: Revoked, refusal: object
) -> None:
    world.revocation.revoked(message)

    assert await world.causes() == [Interruption(Cause.CUT, refusal)]  # type: ignore[arg-type]
    assert len(world.cuts) == 1 and live[1].interruption is not None


@pytest.mark.parametrize("message", [Revoked("token", "token-2"), Revoked("project", "token-1")])
async def test_nobody_elses_request_is_cut(world: World, live: tuple[http.HTTPFlow, Call], message: Revoked) -> None:
    world.revocation.revoked(message)

    assert await world.causes() == [] and world.cuts == []


@pytest.mark.parametrize("end", ["response", "error", "websocket_end"])
async def test_a_request_that_has_ended_is_not_cut(world: World, live: tuple[http.HTTPFlow, Call], end: str) -> None:
    getattr(world.revocation, end)(live[0])

    world.revocation.revoked(Revoked("token", "token-1"))

    assert await world.causes() == [] and world.revocation.live() == []


async def test_a_websocket_lives_on_after_its_handshake(world: World, live: tuple[http.HTTPFlow, Call]) -> None:
    live[0].websocket = WebSocketData()
    world.revocation.response(live[0])

    world.revocation.revoked(Revoked("token", "token-1"))

    assert len(await world.causes()) == 1


@pytest.mark.parametrize(("later", "cuts"), [(REMEMBER_SECONDS - 1, 1), (REMEMBER_SECONDS + 1, 0)])
async def test_a_request_admitted_a_moment_before_its_revocation_was_heard_is_cut(
    world: World, admitted: tuple[http.HTTPFlow, Call], later: float, cuts: int
) -> None:
    flow, call = admitted
    call.token_id, call.line = "token-1", Line("client", 1)
    world.revocation.revoked(Revoked("token", "token-1"))
    world.now += later

    world.revocation.requestheaders(flow)

    assert len(await world.causes()) == cuts


async def test_one_request_is_cut_by_its_id_and_no_other(
    world: World, live: tuple[http.HTTPFlow, Call], calls: Calls
) -> None:
    other = calls.of(request())
    other.caller, other.line = live[1].caller, Line("client", 2)

    for request_id in (live[1].request_id, "unknown", ""):
        world.revocation.cut(request_id)

    assert await world.causes() == [Interruption(Cause.CUT, REQUEST_CUT)]
    assert world.cuts == ["request_cut"] and other.interruption is None


async def test_a_request_that_is_cut_a_moment_before_it_is_known_is_cut_all_the_same(
    world: World, admitted: tuple[http.HTTPFlow, Call]
) -> None:
    flow, call = admitted
    call.line = Line("client", 1)
    world.revocation.cut(call.request_id)

    world.revocation.requestheaders(flow)

    assert await world.causes() == [Interruption(Cause.CUT, REQUEST_CUT)]


async def test_refused_and_unknown_requests_are_not_remembered(world: World, calls: Calls) -> None:
    world.revocation.requestheaders(request())

    assert world.revocation.live() == []


async def test_a_request_is_cut_once(world: World, live: tuple[http.HTTPFlow, Call]) -> None:
    for _ in range(3):
        world.revocation.revoked(Revoked("token", "token-1"))

    assert len(await world.causes()) == 1 and len(world.cuts) == 1


async def test_what_cannot_be_reached_any_more_is_left_alone(world: World, live: tuple[http.HTTPFlow, Call]) -> None:
    live[1].line = Line("gone", 1)

    world.revocation.revoked(Revoked("token", "token-1"))

    assert await world.causes() == []


async def test_a_deadline_moves_along_and_expires_when_nothing_happens() -> None:
    expired: list[Cause] = []
    deadline = Deadline(expired.append)
    deadline.arm(Cause.IDLE, 0.1)
    for _ in range(4):
        await asyncio.sleep(0.05)
        deadline.touch()
    assert expired == [] and deadline.is_armed

    async with asyncio.timeout(5):
        while deadline.is_armed:
            await asyncio.sleep(0.01)

    assert expired == [Cause.IDLE]


@pytest.mark.parametrize("first", [0.05, 30.0], ids=["later", "sooner"])
async def test_a_deadline_that_is_armed_anew_expires_by_the_new_time_and_cause(first: float) -> None:
    loop, expired = asyncio.get_running_loop(), asyncio.Event()
    causes: list[Cause] = []
    deadline = Deadline(lambda cause: (causes.append(cause), expired.set())[1])
    deadline.arm(Cause.FIRST_BYTE, first)
    began = loop.time()
    deadline.arm(Cause.IDLE, 0.15)
    await asyncio.wait_for(expired.wait(), 5)

    assert causes == [Cause.IDLE] and loop.time() - began >= 0.14


async def test_a_deadline_can_be_disarmed_and_none_never_expires() -> None:
    deadline = Deadline(lambda cause: pytest.fail("it expired"))
    deadline.arm(Cause.IDLE, 0.01)
    deadline.arm(Cause.TOTAL, None)

    await asyncio.sleep(0.03)

    assert not deadline.is_armed


@pytest.mark.parametrize(("reads", "is_gone"), [(False, True), (True, False)])
async def test_a_client_that_takes_no_more_data_is_not_waited_for_without_end(reads: bool, is_gone: bool) -> None:
    served: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: served.append(writer), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    while not served:
        await asyncio.sleep(0)
    handler, client = FakeHandler(), tflow.tclient_conn()
    handler.transports[client] = ConnectionIO(writer=served[0])
    interrupts = Interrupts(lambda: {client.id: handler}, closing_seconds=0.2)  # type: ignore[dict-item]
    size = 20_000_000
    served[0].write(bytes(size))

    interrupts.see_it_close(client)
    served[0].close()
    received = await reader.readexactly(size) if reads else b""
    async with asyncio.timeout(5):
        while not served[0].transport.is_closing() or served[0].transport.get_write_buffer_size():
            await asyncio.sleep(0.01)

    assert (len(received) < size) is is_gone
    writer.close()
    server.close()


# With a real Redis


async def free_probe(subject: str, seconds: float) -> bool:
    return True


class Blind:
    """Sees no held request."""

    def held(self, flow: http.HTTPFlow, rule_name: str, until: float) -> None:
        pass

    def released(self, flow: http.HTTPFlow) -> None:
        pass


def bystanders(store: Store) -> tuple[RuleBook, Holding]:
    """What else hears the channel, with nothing to hear."""
    return RuleBook(store), Holding(store, Blind(), lambda text, _: text, lambda _: None)


@pytest.mark.parametrize("kind", ["token", "request"])
async def test_messages_reach_revocation_and_breakers(
    world: World, live: tuple[http.HTTPFlow, Call], valkey_url: str, redis_client: redis.Redis, kind: str
) -> None:
    cut: ControlMessage = Cut(live[1].request_id) if kind == "request" else Revoked("token", "token-1")
    breakers = Breakers(lambda change: None, free_probe, lambda *change: None, lambda: 0.0)
    redis_client.set(redis_schema.EPOCH, "epoch")
    redis_client.hset(redis_schema.identity_key("token-1"), "is_active", 1)
    redis_client.hset(redis_schema.project_key("project-1"), "is_active", 1)
    known = BreakerChange("key:known", True, "status_401", 9_000, 1)
    redis_client.hset(redis_schema.BREAKERS, known.subject, redis_schema.encode_control(known))
    store = Store.connect(valkey_url, 500)
    control = Control(store, breakers, world.revocation, *bystanders(store))
    control.running()
    try:
        async with asyncio.timeout(10):
            while breakers.allows("key:known"):
                await asyncio.sleep(0.01)
            told = BreakerChange("key:told", True, "status_429", 9_000, 1)
            for message in (told, cut):
                redis_client.publish(redis_schema.CONTROL_CHANNEL, redis_schema.encode_control(message))
            while not await world.causes():
                await asyncio.sleep(0.01)
    finally:
        await control.done()
        await store.done()

    assert not breakers.allows("key:told") and world.cuts == [f"{kind}_inactive" if kind == "token" else "request_cut"]


@pytest.mark.parametrize(
    ("has_epoch", "is_token_active", "is_project_active", "cuts"),
    [
        (True, 1, 1, []),
        (True, 0, 1, ["token_inactive"]),
        (True, 1, 0, ["project_inactive"]),
        (False, 0, 0, []),
    ],
    ids=["nothing missed", "token revoked", "project inactive", "data lost"],
)
async def test_whoever_was_revoked_while_nobody_listened_is_cut_on_connecting(
    world: World,
    live: tuple[http.HTTPFlow, Call],
    valkey_url: str,
    redis_client: redis.Redis,
    has_epoch: bool,
    is_token_active: int,
    is_project_active: int,
    cuts: list[str],
) -> None:
    if has_epoch:
        redis_client.set(redis_schema.EPOCH, "epoch")
    redis_client.hset(redis_schema.identity_key("token-1"), "is_active", is_token_active)
    redis_client.hset(redis_schema.project_key("project-1"), "is_active", is_project_active)
    store = Store.connect(valkey_url, 500)
    control = Control(
        store, Breakers(lambda _: None, free_probe, lambda *_: None), world.revocation, *bystanders(store)
    )

    await control.catch_up()
    await store.done()

    assert world.cuts == cuts


async def test_changes_are_shared_with_all_workers_and_with_those_to_come(
    valkey_url: str, redis_client: redis.Redis
) -> None:
    store = Store.connect(valkey_url, 500)
    sharing = Sharing(store)
    change = BreakerChange("key:k1", True, "status_401", 9_000, 1)
    async with store.control() as messages:
        sharing.share(change)
        heard = await asyncio.wait_for(anext(messages), 5)

    assert heard == change and await store.open_breakers() == [change]
    sharing.share(BreakerChange(change.subject, is_open=False))
    await sharing.done()
    assert await store.open_breakers() == []
    await store.done()


async def test_of_all_workers_one_may_probe(valkey_url: str, redis_client: redis.Redis) -> None:
    store = Store.connect(valkey_url, 500)
    sharing = Sharing(store)

    taken = [await sharing.take_probe("key:k1", 30.0) for _ in range(3)]
    await store.done()

    assert taken == [True, False, False]


@pytest.mark.parametrize("is_open", [True, False], ids=["failed", "succeeded"])
async def test_a_probe_that_is_over_makes_room_for_the_next(
    valkey_url: str, redis_client: redis.Redis, is_open: bool
) -> None:
    store = Store.connect(valkey_url, 500)
    sharing = Sharing(store)
    await sharing.take_probe("key:k1", 30.0)

    sharing.share(BreakerChange("key:k1", is_open))
    await sharing.done()

    assert await sharing.take_probe("key:k1", 30.0)
    await store.done()


async def test_without_redis_a_worker_goes_on_alone(live: tuple[http.HTTPFlow, Call]) -> None:
    failures: list[None] = []
    store = Store.connect("unix:///nowhere.sock", 100, lambda: failures.append(None))
    sharing = Sharing(store)

    sharing.share(BreakerChange("key:k1", True))
    await sharing.done()

    assert await sharing.take_probe("key:k1", 30.0)
    assert len(failures) == 2
    await store.done()
