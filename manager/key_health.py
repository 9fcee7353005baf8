"""Asks providers about keys that they refused or that were not asked about lately, and closes breakers of good ones.

What was last found out of each key stands in Redis; without it, keys count as never asked about. Those that were asked
about longest ago come first, so all get their turn where there are more than one run can ask about.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import msgspec
import redis
import sqlalchemy as sa

from manager import db
from manager.db import Sessions
from manager.key_probe import ProbeResult
from manager.tables import Project, UpstreamKey
from manager.upstream_health import REFUSED, UpstreamHealth
from shared import logs, redis_schema

BATCH = 500
# How many keys one run asks about at most, and how many at a time.
MOST_ASKED, AT_ONCE = 200, 8
# What was found out of a key that works is believed so long.
BELIEVED = timedelta(days=1)
NEVER = datetime.min.replace(tzinfo=UTC)

log = logs.get("key_health")

type Pair = tuple[Project, UpstreamKey]
type Ask = Callable[[Project, UpstreamKey], ProbeResult]


class Found(msgspec.Struct, frozen=True):
    """What a probe found out of a key, as it was when its sealed text had this mark."""

    state: str
    reason: str
    at: datetime
    mark: str


class KeyHealth:
    """Raises RedisError and SQLAlchemyError as they come; a provider that is away is a finding."""

    def __init__(self, client: "redis.Redis", sessions: Sessions, ask: Ask, most_asked: int = MOST_ASKED) -> None:
        self._redis = client
        self._sessions = sessions
        self._ask = ask
        self._most_asked = most_asked
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

    def _wanted(self, now: datetime) -> list[Pair]:
        known: set[bytes] = set()
        needing = self._needing(now, known)
        chosen = heapq.nsmallest(self._most_asked, needing, key=lambda each: (each[0], each[1][1].id))
        self._forget_all_but(known)
        return [pair for _, pair in chosen]

    def _needing(self, now: datetime, known: set[bytes]) -> Iterator[tuple[datetime, Pair]]:
        """Yield keys that need to be asked about, and when they were last; `known` gets the ids of all there are."""
        for pairs in self._batches():
            ids = [str(key.id) for _, key in pairs]
            known.update(map(str.encode, ids))
            health = self._health.of(map(redis_schema.key_subject, ids))
            told = cast(list[bytes | None], self._redis.hmget(redis_schema.KEY_PROBES, ids)) if ids else []
            for (project, key), breaker, payload in zip(pairs, health.values(), told, strict=True):
                found = _found(payload, key, now)
                is_refused = breaker is not None and breaker.reason in REFUSED
                if is_refused or found is None or found.state == "unreachable" or found.at <= now - BELIEVED:
                    yield found.at if found else NEVER, (project, key)

    def _batches(self) -> Iterator[list[Pair]]:
        last: UUID | None = None
        while True:
            query = sa.select(Project).where(Project.is_active).order_by(Project.id).limit(BATCH)
            with db.reading(self._sessions) as session:
                projects = session.scalars(query if last is None else query.where(Project.id > last)).all()
            if not projects:
                return
            last = projects[-1].id
            yield [(project, key) for project in projects for key in project.keys if key.is_active]

    def _forget_all_but(self, known: set[bytes]) -> None:
        gone = set(cast(list[bytes], self._redis.hkeys(redis_schema.KEY_PROBES))) - known
        if gone:
            self._redis.hdel(redis_schema.KEY_PROBES, *gone)

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
            self._health.forgive_refused(key.id)
        elif result.state == "refused":
            log.warning("key_refused", key_id=str(key.id), project_id=str(key.project_id), reason=result.reason)


def _mark(key: UpstreamKey) -> str:
    return key.sealed[-16:]


def _found(payload: bytes | None, key: UpstreamKey, now: datetime) -> Found | None:
    """Return what was found out of a key as it is now; None if nothing was, or a wrong clock dated it ahead."""
    try:
        found = msgspec.json.decode(payload or b"", type=Found)
    except msgspec.MsgspecError:
        return None
    return found if found.mark == _mark(key) and found.at <= now else None
