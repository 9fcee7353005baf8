"""Admissions by themselves: what limits cost in Redis and in the worker that asks it, without any traffic."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import redis
from uuid_utils import uuid7

from addons.store import Store
from shared import redis_schema, settings
from shared.holds_schema import OpenRequest
from shared.limits_schema import encode_limits
from shared.models import MOST, Amounts, Caller, Limit, Measure, Project, Token, UpstreamKey, Window
from tests.bench import processes
from tests.bench.burst import Burst, spread
from tests.bench.scenario import Scenario
from tests.bench.stage import Stage
from tests.bench.streams import run

_CALLERS = 64
# One of each measure, and not all of the same scope.
_OF_TOKEN = (Limit(Measure.TOKENS, Window.DAY, MOST), Limit(Measure.REQUESTS, Window.MINUTE, 1_000_000_000))
_OF_PROJECT = (Limit(Measure.COST, Window.MONTH, MOST),)
_OF_ALL = (Limit(Measure.CONCURRENT, Window.LIFE, MOST),)
_NEEDS = Amounts(500, 1_250_000)
_PROJECT = Project("bench-project", "openai", True, "", (UpstreamKey("bench-key", "v1.k1.sealed"),), 1)

type Published = tuple[Token, Project, Sequence[Limit]]


def _published(limits: int) -> Published:
    token = Token(
        str(uuid7()), settings.generate_secret(), _PROJECT.id, "bench", True,
        datetime.now(UTC) + timedelta(days=1), None, 0, None, 1,
    )  # fmt: skip
    if limits == 4:
        return replace(token, limits=_OF_TOKEN), replace(_PROJECT, id=str(uuid7()), limits=_OF_PROJECT), _OF_ALL
    return replace(token, limits=_OF_TOKEN[:limits]), replace(_PROJECT, id=str(uuid7())), ()


def _admissions(limits: int, stage: Stage, subject: str, seconds: float) -> Burst:
    """Gives rps, the latencies of a call, and the processor time of one call in worker and Redis together."""
    token, project, of_all = _published(limits)
    token = replace(token, project_id=project.id)
    url = stage.services.configuration.redis_url
    with redis.Redis.from_url(url) as client:
        client.eval(redis_schema.script("publish_token"), *_call(*redis_schema.encode_token(token)))
        client.eval(redis_schema.script("publish_project"), *_call(*redis_schema.encode_project(project)))
        client.set(redis_schema.GLOBAL_LIMITS, encode_limits(of_all))
        try:
            return run(_load(url, token.digest, (client.info()["process_id"], os.getpid()), seconds))
        finally:
            client.delete(redis_schema.GLOBAL_LIMITS, redis_schema.OPEN, redis_schema.HOLDS)


def _request() -> OpenRequest:
    now = datetime.now(UTC)
    return OpenRequest(str(uuid7()), now, "openai", "chat.completions", "POST", "gpt-4o", True, 812)


def _call(keys: Sequence[str], arguments: Sequence[str | int | bytes]) -> list[str | int | bytes]:
    return [len(keys), *keys, *arguments]


async def _load(url: str, digest: str, pids: Sequence[int], seconds: float) -> Burst:
    store = Store.connect(url, timeout_ms=5000)
    took: list[float] = []
    errors = 0
    ends = time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal errors
        while (began := time.perf_counter()) < ends:
            verdict = await store.admit(digest, ["openai"], _NEEDS, _request())
            took.append(time.perf_counter() - began)
            errors += not isinstance(verdict, Caller)

    before, began = processes.time_of(pids), time.perf_counter()
    await asyncio.gather(*[caller() for _ in range(_CALLERS)])
    lasted, used = time.perf_counter() - began, (processes.time_of(pids) - before).used
    await store.done()
    figures = {
        "rps": len(took) / lasted,
        **spread("", [each * 1000 for each in took]),
        "cpu_us": used / len(took) * 1e6,
    }
    return Burst(figures, errors, f"{errors} were not admitted" if errors else "")


ADMISSIONS = tuple(
    Scenario(f"admission-{limits}", "Admissions", ("engine",), partial(_admissions, limits)) for limits in (0, 1, 4)
)
