"""Usage events that could not be recorded: kept in Redis with the reason, looked at, tried again or thrown away."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import redis

from manager.errors import Invalid, NotFound
from shared import redis_schema

SHOWN_CHARACTERS = 10_000
_ID = re.compile(r"[0-9]{1,15}-[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True)
class DeadLetter:
    """An entry: when it was set aside, why, and what it holds, which may be anything."""

    id: str
    occurred_at: datetime
    reason: str
    event: str


def newest(client: "redis.Redis", limit: int, before: str | None) -> tuple[list[DeadLetter], str | None]:
    """Return entries, newest first, and the id after which there are more. Raises Invalid, RedisError."""
    latest = f"({_checked(before, 'cursor')}" if before else "+"
    found = client.xrevrange(redis_schema.USAGE_DEAD_LETTERS, latest, "-", count=limit + 1)
    letters = [_letter(*entry) for entry in cast(Sequence[tuple[bytes, dict[bytes, bytes]]], found)]
    return letters[:limit], letters[limit - 1].id if len(letters) > limit else None


def retry(client: "redis.Redis", letter_id: str) -> None:
    """Put an event back where collectors find it; it returns if it still is unreadable. Raises NotFound, RedisError."""
    fields = _fields(client, letter_id)
    event: Any = {name: value for name, value in fields.items() if name not in (b"reason", b"entry")}
    with client.pipeline(transaction=True) as pipeline:
        pipeline.xadd(redis_schema.USAGE_STREAM, event or {b"empty": b""})
        pipeline.xdel(redis_schema.USAGE_DEAD_LETTERS, letter_id)
        pipeline.execute()


def delete(client: "redis.Redis", letter_id: str) -> None:
    """Throw an event away. Raises NotFound, RedisError."""
    _fields(client, letter_id)
    client.xdel(redis_schema.USAGE_DEAD_LETTERS, letter_id)


def count(client: "redis.Redis") -> int:
    """Return how many there are. Raises RedisError."""
    return client.xlen(redis_schema.USAGE_DEAD_LETTERS)


def _fields(client: "redis.Redis", letter_id: str) -> dict[bytes, bytes]:
    found: Any = ()
    if _ID.fullmatch(letter_id):
        found = client.xrange(redis_schema.USAGE_DEAD_LETTERS, letter_id, letter_id)
    if not found:
        raise NotFound("There is no such dead letter.")
    return cast(dict[bytes, bytes], found[0][1])


def _letter(entry_id: bytes, fields: dict[bytes, bytes]) -> DeadLetter:
    event = fields.get(redis_schema.USAGE_FIELD.encode(), b"")[:SHOWN_CHARACTERS].decode(errors="replace")
    moment = redis_schema.from_ms(int(entry_id.partition(b"-")[0]))
    return DeadLetter(entry_id.decode(), moment, fields.get(b"reason", b"").decode(errors="replace"), event)


def _checked(letter_id: str, field: str) -> str:
    if not _ID.fullmatch(letter_id):
        raise Invalid(field, "The cursor is not one that this list gave out.")
    return letter_id
