"""Asks providers about keys that are set aside or have never been asked about, and closes the breakers of good ones.

What was last found out of each key stands in Redis; without it, keys count as never asked about.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import msgspec
import redis
import sqlalchemy as sa

from manager import db
from manager.db import Sessions
from manager.key_probe import ProbeResult
from manager.tables import Project, UpstreamKey
from manager.upstream_health import UpstreamHealth
from shared import logs, redis_schema

BATCH = 500
# How many keys one run asks about at most, and how many at a time.
MOST_ASKED, AT_ONCE = 200, 8
# What was found out of a key that works is believed so long.
BELIEVED = timedelta(days=1)

log = logs.get("key_health")

type Ask = Callable[[Project, UpstreamKey], ProbeResult]


class Found(msgspec.Struct, frozen=True):
    """What a probe found out of a key, as it was when its sealed text had this mark."""

    state: str
    reason: str
    at: datetime
    mark: str


class KeyHealth:
    """Raises RedisError and SQLAlchemyError as they come; a provider that is away is a finding."""

    def __init__(self, client: "redis.Redis", sessions: Sessions, ask: Ask) -> None:
        self._redis = client
        self._sessions = sessions
        self._ask = ask
        self._health = UpstreamHealth(client)

    def probe(self, now: datetime) -> dict[str, Any]:
        """Ask about those that need it; return how many there were of each state, and which keys are refused."""
        wanted = self._wanted(now)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="key_probe") as pool:
            results = list(pool.map(lambda pair: self._asked(*pair), wanted))
        for (_, key), result in zip(wanted, results, strict=True):
            self._note(key, result, now)
        refused = [str(key.id) for (_, key), result in zip(wanted, results, strict=True) if result.state == "refused"]
        counts = Counter(result.state for result in results)
        return {"asked": len(wanted), "states": dict(sorted(counts.items())), "refused": refused}

    def _wanted(self, now: datetime) -> list[tuple[Project, UpstreamKey]]:
        wanted: list[tuple[Project, UpstreamKey]] = []
        last: UUID | None = None
        while len(wanted) < MOST_ASKED:
            query = sa.select(Project).where(Project.is_active).order_by(Project.id).limit(BATCH)
            with db.reading(self._sessions) as session:
                projects = session.scalars(query if last is None else query.where(Project.id > last)).all()
            if not projects:
                break
            last = projects[-1].id
            pairs = [(project, key) for project in projects for key in project.keys if key.is_active]
            wanted += self._needing(pairs, now)
        return wanted[:MOST_ASKED]

    def _needing(
        self, pairs: Sequence[tuple[Project, UpstreamKey]], now: datetime
    ) -> list[tuple[Project, UpstreamKey]]:
        if not pairs:
            return []
        ids = [str(key.id) for _, key in pairs]
        with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.hmget(redis_schema.BREAKERS, [redis_schema.key_subject(key_id) for key_id in ids])
            pipeline.hmget(redis_schema.KEY_PROBES, ids)
            set_aside, found = cast(list[list[bytes | None]], pipeline.execute())
        return [
            pair
            for pair, is_set_aside, known in zip(pairs, set_aside, found, strict=True)
            if is_set_aside or not _is_believed(known, pair[1], now)
        ]

    def _asked(self, project: Project, key: UpstreamKey) -> ProbeResult:
        try:
            return self._ask(project, key)
        except Exception as error:  # Such as a key that no key of ours opens; the others are asked about all the same.
            log.error("key_not_probed", key_id=str(key.id), reason=type(error).__name__)
            return ProbeResult("unclear", "not_asked")

    def _note(self, key: UpstreamKey, result: ProbeResult, now: datetime) -> None:
        found = Found(result.state, result.reason, now, _mark(key))
        self._redis.hset(redis_schema.KEY_PROBES, str(key.id), msgspec.json.encode(found))
        if result.state == "ok":
            self._health.forgive(key.id)
        elif result.state == "refused":
            log.warning("key_refused", key_id=str(key.id), project_id=str(key.project_id), reason=result.reason)


def _mark(key: UpstreamKey) -> str:
    return key.sealed[-16:]


def _is_believed(known: bytes | None, key: UpstreamKey, now: datetime) -> bool:
    if known is None:
        return False
    try:
        found = msgspec.json.decode(known, type=Found)
    except msgspec.MsgspecError:
        return False
    return found.mark == _mark(key) and found.state != "unreachable" and found.at > now - BELIEVED
