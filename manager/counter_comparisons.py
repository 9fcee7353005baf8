"""What limits have counted in Redis beside what SQL knows to have been used: Redis may be ahead, but never behind."""

from collections.abc import Sequence
from typing import Any

import msgspec
import redis

from manager.comparisons import Difference, answers
from manager.counters import Known
from shared import limits_schema, redis_schema
from shared.holds_schema import Counter
from shared.models import Scope


def of_counters(client: "redis.Redis", known: Sequence[Known]) -> list[Difference]:
    """Compare counters; `known` has to be read from SQL before, since Redis may only be ahead of it."""
    with client.pipeline(transaction=False) as pipeline:
        for one in known:
            pipeline.hmget(redis_schema.used_key(one.scope, one.scope_id), _fields(one))
        found = answers(pipeline)
    differences = (_of(one, counters) for one, counters in zip(known, found, strict=True))
    return [difference for difference in differences if difference]


def _of(known: Known, found: Any) -> Difference | None:
    kind, name = f"{known.scope}_counters", known.scope_id or redis_schema.used_key(known.scope)
    if not isinstance(found, list):
        # That what all share is damaged is told once, and not for each project.
        return Difference(kind, name, "damaged") if known.scope is Scope.TOKEN else None
    behind, damaged = [], []
    for field, counter, written in zip(_fields(known), known.counters, found, strict=True):
        try:
            if _is_behind(counter, written):
                behind.append(field)
        except msgspec.MsgspecError:
            damaged.append(field)
    if damaged:
        return Difference(kind, name, "damaged", tuple(damaged))
    return Difference(kind, name, "behind", tuple(behind)) if behind else None


def _is_behind(known: Counter, written: bytes | None) -> bool:
    """Tell whether the `restore` script would raise it."""
    period, used = limits_schema.decode_counter(written) if written is not None else (0.0, 0.0)
    if period > known.period:
        return False
    return known.used > (used if period == known.period else 0)


def _fields(known: Known) -> list[str]:
    project_id = known.scope_id if known.scope is Scope.PROJECT else ""
    return [limits_schema.field_of(counter.measure, counter.window, project_id) for counter in known.counters]
