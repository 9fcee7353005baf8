"""What is in flight on the workers of the data plane: watched while somebody looks, and cut one by one.

Workers tell of their requests only while they are watched, and say so once a second.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

import msgspec
import redis

from manager import flows, status, texts
from manager.errors import Conflict, Invalid, NotFound
from manager.principals import EVERYTHING, Scope
from shared import live_schema, redis_schema
from shared.flow_schema import DECIDED_MS, FlowRecord, decided_key, edit_key
from shared.holds_schema import OpenRequest, decode_hold
from shared.live_schema import RunningRequest, Snapshot, State
from shared.redis_schema import ContractError, Cut, Decided

REASON_LENGTH = 500
# Who begins to watch waits so long at most until all workers have told something.
PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.05
_DECIDED = "Somebody else has decided about this request just now."


@dataclass(frozen=True)
class Worker:
    """A worker, how many requests run on it, and when it told so; None: it has not."""

    name: str
    told_at: datetime | None
    count: int


@dataclass(frozen=True)
class Picture:
    """What is in flight: the oldest requests of each worker, oldest first, and how many there are in all."""

    items: Sequence[RunningRequest]
    count: int
    workers: Sequence[Worker]

    @property
    def is_whole(self) -> bool:
        """Whether every worker has told."""
        return all(worker.told_at is not None for worker in self.workers)


@dataclass(frozen=True)
class InFlight:
    """A request that runs, and whose it is."""

    request_id: str
    project_id: UUID
    token_id: UUID


@dataclass(frozen=True)
class One:
    """A request in flight: what its worker told last, and of a held one the record with its body; None: nothing."""

    request: InFlight
    told: RunningRequest | None
    record: FlowRecord | None
    is_held: bool


def watch(client: "redis.Redis") -> bool:
    """Have workers tell what is in flight, for some seconds; tell whether they did already. Raises RedisError."""
    return client.set(live_schema.WATCHED, 1, px=live_schema.WATCHED_MS, get=True) is not None


def requests(client: "redis.Redis", scope: Scope = EVERYTHING) -> Sequence[RunningRequest]:
    """Return what is in flight in these projects, oldest first, as far as workers tell. Raises RedisError."""
    return picture(client, scope).items


def picture(client: "redis.Redis", scope: Scope = EVERYTHING) -> Picture:
    """Return what is in flight in these projects, as it was told last. Raises RedisError."""
    wanted = None if scope.project_ids is None else {str(project_id) for project_id in scope.project_ids}
    told = _snapshots(client)
    items = [
        msgspec.structs.replace(request, worker=name)
        for name, snapshot in told.items()
        if snapshot is not None
        for request in snapshot.requests
        if wanted is None or request.project_id in wanted
    ]
    workers = [_worker(name, snapshot, wanted) for name, snapshot in told.items()]
    items.sort(key=lambda request: (request.started_at, request.request_id))
    return Picture(items, sum(worker.count for worker in workers), workers)


def look(client: "redis.Redis", scope: Scope = EVERYTHING, patience: float = PATIENCE_SECONDS) -> Picture:
    """Watch, and return what is in flight. Who is the first to watch waits for the workers. Raises RedisError."""
    deadline = time.monotonic() + (0 if watch(client) else patience)
    while not (found := picture(client, scope)).is_whole and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
    return found


def find(client: "redis.Redis", request_id: str, scope: Scope = EVERYTHING) -> InFlight:
    """Return a request that is in flight, watched or not. Raises NotFound, RedisError."""
    found = _held(client, request_id) or _told(client, request_id) or _on_hold(client, request_id)
    if found is None or not scope.includes(found.project_id):
        raise NotFound("There is no such request in flight.")
    return found


def cut(client: "redis.Redis", request_id: str) -> None:
    """Have the worker that has a request end it; for any other id nothing happens. Raises RedisError."""
    client.publish(redis_schema.CONTROL_CHANNEL, redis_schema.encode_control(Cut(request_id)))


def one(client: "redis.Redis", request_id: str, scope: Scope = EVERYTHING) -> One:
    """Return what is known of a request in flight, watched or not. Raises NotFound, RedisError."""
    found = find(client, request_id, scope)
    told = next((each for each in requests(client, scope) if each.request_id == request_id), None)
    record = flows.held(client, request_id, scope)
    # What a worker keeps of a held request outlives that for a moment.
    is_held = record is not None if told is None else told.state is State.HELD
    return One(found, told, record if is_held else None, is_held and not client.exists(decided_key(request_id)))


def on_hold(client: "redis.Redis", request_id: str, scope: Scope = EVERYTHING) -> One:
    """Return a request that a rule holds and nobody has decided about. Raises NotFound, RedisError."""
    found = one(client, request_id, scope)
    if not found.is_held:
        raise NotFound("There is no such request that is held.")
    return found


def resume(client: "redis.Redis", request_id: str, body: bytes | None = None) -> None:
    """Let a request go out that is held, with another body unless None. Raises Conflict, RedisError."""
    _decide(client, Decided(request_id, "resume", body is not None), body)


def refuse(client: "redis.Redis", request_id: str) -> None:
    """Have a request refused that is held. Raises Conflict, RedisError."""
    _decide(client, Decided(request_id, "refuse"))


def _decide(client: "redis.Redis", decided: Decided, body: bytes | None = None) -> None:
    """Tell the workers; the first decision stands with its body, also for a worker that does not listen just now."""
    told = redis_schema.encode_control(decided)
    keys: dict[str, str | bytes] = {decided_key(decided.request_id): told}
    if body is not None:
        keys[edit_key(decided.request_id)] = body
    with client.pipeline(transaction=True) as pipeline:
        pipeline.msetnx(keys)
        for key in keys:
            pipeline.pexpire(key, DECIDED_MS)
        is_first, *_ = pipeline.execute()
    if not is_first:
        raise Conflict(_DECIDED)
    client.publish(redis_schema.CONTROL_CHANNEL, told)


def check_reason(text: str) -> str:
    """Return why something is done to a request, without surrounding space. Raises Invalid if it is no such text."""
    if len(text) > REASON_LENGTH:
        raise Invalid("reason", f"Must have at most {REASON_LENGTH} characters.")
    return texts.check_text(text, "reason").strip()


def _snapshots(client: "redis.Redis") -> dict[str, Snapshot | None]:
    names = [str(worker["name"]) for worker in status.workers(client)]
    told = cast(list[bytes | None], client.mget(map(live_schema.snapshot_key, names))) if names else []
    return {name: _snapshot(payload) for name, payload in zip(names, told, strict=True)}


def _snapshot(payload: bytes | None) -> Snapshot | None:
    try:
        return None if payload is None else live_schema.decode_snapshot(payload)
    except ContractError:
        return None  # A worker of another release.


def _worker(name: str, snapshot: Snapshot | None, wanted: set[str] | None) -> Worker:
    if snapshot is None:
        return Worker(name, None, 0)
    counts = snapshot.counts
    projects: Iterable[str] = counts if wanted is None else wanted
    return Worker(name, snapshot.told_at, sum(counts.get(project_id, 0) for project_id in projects))


def _held(client: "redis.Redis", request_id: str) -> InFlight | None:
    hold = cast(bytes | None, client.hget(redis_schema.HOLDS, request_id))
    try:
        return None if hold is None else _in_flight(decode_hold(hold).request)
    except ContractError:
        return None


def _told(client: "redis.Redis", request_id: str) -> InFlight | None:
    # Nothing is held yet for one whose body is still to come.
    found = (request for request in requests(client) if request.request_id == request_id)
    return next(map(_in_flight, found), None)


def _on_hold(client: "redis.Redis", request_id: str) -> InFlight | None:
    return _in_flight_of(flows.held(client, request_id))


def _in_flight_of(known: FlowRecord | None) -> InFlight | None:
    return None if known is None else _in_flight(known)


def _in_flight(known: RunningRequest | OpenRequest | FlowRecord) -> InFlight | None:
    try:
        return InFlight(known.request_id, UUID(known.project_id), UUID(known.token_id))
    except ValueError:
        return None  # Nothing that this database knows.
