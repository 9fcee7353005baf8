"""How much of each limit has been used, as the data plane counts it: read from Redis, and never waited for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis

from shared import limits_schema, redis_schema
from shared.models import Limit, Measure, Scope, Window

# These come back evenly, so that there is no number of what has been used.
_PACED = frozenset({Window.SECOND, Window.MINUTE, Window.HOUR, Window.DAY})


@dataclass(frozen=True)
class Holder:
    """Whoever has limits; everything together has no `id`."""

    scope: Scope
    id: str
    limits: Sequence[Limit]


@dataclass(frozen=True)
class Standing:
    """A limit and what has been used of it, in nano-USD if it is money; None if that is not known, or is a rate."""

    limit: Limit
    used: int | None

    @property
    def share(self) -> float | None:
        """Return which part of it has been used, from 0; above 1 if the limit was lowered, or tokens came late."""
        return None if self.used is None else self.used / self.limit.amount


def of_each(client: "redis.Redis", holders: Sequence[Holder], now: datetime) -> list[list[Standing]]:
    """Return how the limits of each stand, reservations of running requests included."""
    counted = [[limit for limit in holder.limits if _is_counted(limit)] for holder in holders]
    answers = _read(client, holders, counted)
    found = [_used(limits, answer, now) for limits, answer in zip(counted, answers, strict=True)]
    return [
        [Standing(limit, used.get(limit)) for limit in holder.limits]
        for holder, used in zip(holders, found, strict=True)
    ]


def _is_counted(limit: Limit) -> bool:
    return not (limit.measure is Measure.REQUESTS and limit.window in _PACED)


def _read(client: "redis.Redis", holders: Sequence[Holder], counted: Sequence[Sequence[Limit]]) -> list[Any]:
    try:
        with client.pipeline(transaction=False) as pipeline:
            for holder, limits in zip(holders, counted, strict=True):
                project_id = holder.id if holder.scope is Scope.PROJECT else ""
                fields = [limits_schema.field_of(limit.measure, limit.window, project_id) for limit in limits]
                # A question without fields is refused, like any other that makes no sense.
                pipeline.hmget(redis_schema.used_key(holder.scope, holder.id), fields or [""])
            return pipeline.execute(raise_on_error=False)
    except redis.RedisError:
        return [None] * len(holders)


def _used(limits: Sequence[Limit], answer: Any, now: datetime) -> dict[Limit, int | None]:
    if not isinstance(answer, list):
        return {}
    return {limit: _one(limit, written, now) for limit, written in zip(limits, answer, strict=False)}


def _one(limit: Limit, written: bytes | None, now: datetime) -> int | None:
    if written is None:
        return 0
    try:
        period, used = limits_schema.decode_counter(written)
    except msgspec.MsgspecError:
        return None
    return int(used) if period >= limits_schema.period_of(limit.window, now.astimezone(UTC)) else 0
