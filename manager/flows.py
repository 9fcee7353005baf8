"""What the data plane has told of requests lately: its feed in Redis, read from the newest entry on, and no further
back than is asked for. What it holds has been redacted before it left the worker.

A request may have several records; the one with the highest revision counts, and bodies that it leaves out, since they
have not changed, are those of the record before.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from heapq import merge
from typing import Any, cast

import msgspec
import redis

from manager.errors import NotFound
from manager.principals import EVERYTHING, Scope
from shared import flow_schema, logs
from shared.flow_schema import FlowRecord, Message, decode_batch, decode_record, held_key
from shared.redis_schema import ContractError, to_ms

LONGEST_LIST = 1000
# What is read of the feed for one question at most; who configures a larger one sees the newest part of it.
MOST_BYTES = 512 << 20
# The bodies of what is found may have so many together.
MOST_KEPT_BYTES = 128 << 20
_ENTRIES = 32
# One part in so many of what is found may be requests that nobody was let in with.
STRANGERS_PART = 8
# An entry may have been added by another clock than that of its requests, and they may have waited in their worker.
_SLACK_MS = 60_000
log = logs.get("flows")


@dataclass(frozen=True)
class Wanted:
    """Which requests: of a project, with these ids, that began then or later (`since`) and before (`until`)."""

    scope: Scope = EVERYTHING
    request_ids: Collection[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    # Other rules, such as that it has ended.
    fits: Callable[[FlowRecord], bool] = lambda record: True

    def includes(self, record: FlowRecord) -> bool:
        """Tell whether a record is one of those."""
        began = record.started_at
        return (
            (self._projects is None or record.project_id in self._projects)
            and (self.request_ids is None or record.request_id in self.request_ids)
            and (self.since is None or began >= self.since.timestamp())
            and (self.until is None or began < self.until.timestamp())
            and self.fits(record)
        )

    @cached_property
    def _projects(self) -> frozenset[str] | None:
        return None if self.scope.project_ids is None else frozenset(map(str, self.scope.project_ids))


@dataclass(frozen=True)
class Found:
    """Records, those first that were told of last. If it `is_whole`, there are no others that fit."""

    records: Sequence[FlowRecord]
    is_whole: bool


def find(
    client: "redis.Redis",
    wanted: Wanted,
    limit: int,
    *,
    bodies: bool = True,
    most_bytes: int = MOST_BYTES,
    most_kept: int = MOST_KEPT_BYTES,
) -> Found:
    """Return up to so many records that fit; without bodies, these do not take any memory. Raises RedisError."""
    reading = _Reading(wanted, limit, most_kept, bodies)
    read = 0
    for moment, entry in _all_entries(client):
        read += sum(map(len, entry.values()))
        if read > most_bytes:
            return reading.found(is_whole=False)
        if wanted.since is not None and moment < to_ms(wanted.since) - _SLACK_MS:
            break
        reading.take(entry)
        if reading.has_all:
            break
        if reading.is_full and reading.has_bodies:
            return reading.found(is_whole=False)
    return reading.found(is_whole=True)


def get(client: "redis.Redis", request_id: str, scope: Scope = EVERYTHING) -> FlowRecord:
    """Return what is known of one request. Raises NotFound, RedisError."""
    found = find(client, Wanted(scope, (request_id,)), 2).records
    if not found:
        raise NotFound("The feed has nothing of such a request; or has it no longer.")
    return found[0]


def held(client: "redis.Redis", request_id: str, scope: Scope = EVERYTHING) -> FlowRecord | None:
    """Return what is known of a request that is held, with its whole body; None if there is none. Raises RedisError."""
    told = cast(bytes | None, client.get(held_key(request_id)))
    try:
        record = None if told is None else decode_record(told)
    except ContractError as error:
        log.warning("held_flow_unreadable", reason=str(error))
        return None
    return record if record is not None and Wanted(scope).includes(record) else None


def has_bodies(record: FlowRecord) -> bool:
    """Tell whether something of a body is in a record."""
    return any(message is not None and message.body is not None for message in (record.request, record.response))


def was_admitted(record: FlowRecord) -> bool:
    """Tell whether a request was let in by its token: only then it has got its route."""
    return record.route != ""


class _Reading:
    def __init__(self, wanted: Wanted, limit: int, most_kept: int, bodies: bool) -> None:
        self._wanted = wanted
        self._limit = limit
        self._room = most_kept
        self._bodies = bodies
        # What is asked for by its id, is looked for in bytes before anything is made of them.
        self._marks = None if wanted.request_ids is None else [each.encode() for each in wanted.request_ids]
        self._known: dict[str, FlowRecord] = {}
        # Requests that nobody was let in with leave room for the others, unless they are asked for.
        self._room_for_strangers = limit if wanted.request_ids is not None else max(1, limit // STRANGERS_PART)
        self._has_left_out = False

    def take(self, entry: dict[bytes, bytes]) -> None:
        packed = entry.get(flow_schema.FLOWS_FIELD.encode(), b"")
        if self._marks is not None and not any(mark in packed for mark in self._marks):
            return
        try:
            batch = decode_batch(entry)
        except ContractError as error:  # Of a worker of another release.
            log.warning("flows_unreadable", reason=str(error))
            return
        # Later ones of an entry are newer.
        for record in reversed(batch):
            self._add(record)

    def _add(self, record: FlowRecord) -> None:
        known = self._known.get(record.request_id)
        if known is None and (self.is_full or not self._wanted.includes(record)):
            return
        if known is None and not was_admitted(record):
            if self._room_for_strangers <= 0:
                self._has_left_out = True
                return
            self._room_for_strangers -= 1
        record = record if self._bodies else _bare(record)
        if known is not None:
            older, newer = sorted((known, record), key=lambda each: each.revision)
            record = _merged(newer, older)
        self._room -= _size(record) - (0 if known is None else _size(known))
        self._known[record.request_id] = record

    @property
    def is_full(self) -> bool:
        return len(self._known) >= self._limit or self._room < 0

    @property
    def has_bodies(self) -> bool:
        """Whether nothing has been left out of what has been found that is told further back."""
        return not self._bodies or not any(map(_lacks, self._known.values()))

    @property
    def has_all(self) -> bool:
        """Whether everything has been found that was asked for by its id."""
        ids = self._wanted.request_ids
        return ids is not None and len(self._known) == len(set(ids)) and self.has_bodies

    def found(self, *, is_whole: bool) -> Found:
        return Found(list(self._known.values()), is_whole and not self._has_left_out)


def _all_entries(client: "redis.Redis") -> Iterator[tuple[int, dict[bytes, bytes]]]:
    """Yield the entries of both streams and when they came, in ms since the epoch, the newest first."""
    streams = (_entries(client, stream) for stream in (flow_schema.FLOWS, flow_schema.STRANGERS))
    return merge(*streams, key=lambda found: found[0], reverse=True)


def _entries(client: "redis.Redis", stream: str) -> Iterator[tuple[int, dict[bytes, bytes]]]:
    last = "+"
    while True:
        batch = cast(Any, client.xrevrange(stream, max=last, count=_ENTRIES))
        for name, entry in batch:
            yield int(name.partition(b"-")[0]), entry
        if len(batch) < _ENTRIES:
            return
        last = f"({batch[-1][0].decode()}"


def _merged(newer: FlowRecord, older: FlowRecord) -> FlowRecord:
    changes: dict[str, Message] = {}
    for name in ("request", "response"):
        message, before = getattr(newer, name), getattr(older, name)
        if message is not None and message.is_unchanged and message.body is None and before is not None:
            more = {"body": before.body, "is_cut": before.is_cut, "is_unchanged": before.is_unchanged}
            changes[name] = msgspec.structs.replace(message, **more)
    return msgspec.structs.replace(newer, **changes) if changes else newer


def _lacks(record: FlowRecord) -> bool:
    return any(
        message is not None and message.is_unchanged and message.body is None
        for message in (record.request, record.response)
    )


def _size(record: FlowRecord) -> int:
    return sum(len(message.body or b"") for message in (record.request, record.response) if message is not None)


def _bare(record: FlowRecord) -> FlowRecord:
    request = msgspec.structs.replace(record.request, body=None)
    response = None if record.response is None else msgspec.structs.replace(record.response, body=None)
    return msgspec.structs.replace(record, request=request, response=response)
