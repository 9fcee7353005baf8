"""What a worker holds: by itself, for each open stream, for each idle connection, and after many requests."""

import asyncio
from functools import partial

from tests.bench import answers, closed_loop, idle, machine, processes
from tests.bench.burst import Burst
from tests.bench.endpoint import Endpoint
from tests.bench.scenario import PROXIES, Scenario
from tests.bench.scenarios.streams import STREAMING
from tests.bench.stage import Stage
from tests.bench.streams import Load, Streams, run

# Slow streams: what they hold is looked for, not how fast they are.
_STREAMS = Load(streams=512, chunks=60, per_second=2)
_IDLE = 10_000
_BODY = answers.request_body(answers.json_model(answers.SMALL))
_LEFT_ALONE = answers.request_body(answers.once_model(answers.SMALL))
_SETTLE_SECONDS = 1.5
_PATIENCE_SECONDS = 20
# What a worker, and the load itself, have open besides.
_OTHER_FILES = 1000
_MANY = 200_000


def _per_stream(stage: Stage, subject: str, seconds: float) -> Burst:
    """Gives idle_rss_mb of a worker that has served a few requests, and kb_per_stream."""
    with stage.fresh(subject, STREAMING) as endpoint:
        return run(_holding_streams(endpoint, seconds))


async def _holding_streams(endpoint: Endpoint, seconds: float) -> Burst:
    before = await _after_first_use(endpoint)
    async with Streams(endpoint, _STREAMS) as streams:
        await streams.begin(_PATIENCE_SECONDS)
        await asyncio.sleep(_SETTLE_SECONDS)
        seen = await streams.look(seconds)
        now = processes.rss_mb(endpoint.pids)
    figures = {"idle_rss_mb": before, "rss_mb": now, "kb_per_stream": (now - before) * 1024 / _STREAMS.streams}
    return Burst(figures, seen.errors, f"{seen.errors} streams broke off" if seen.errors else "")


async def _after_first_use(endpoint: Endpoint) -> float:
    async with idle.opened(endpoint, _BODY, 4):
        await asyncio.sleep(0.2)
    async with Streams(endpoint, Load(4, 10, 50)):
        await asyncio.sleep(0.5)
    return processes.rss_mb(endpoint.pids)


def _idle(count: int, stage: Stage, subject: str, seconds: float) -> Burst:
    """Gives kb_per_connection, and rps with latencies of 16 more connections that work meanwhile.

    The provider closes its side, as providers do with idle connections.
    """
    with stage.fresh(subject) as endpoint:
        return run(_holding_connections(min(count, machine.file_limit() - _OTHER_FILES), stage, endpoint, seconds))


async def _holding_connections(count: int, stage: Stage, endpoint: Endpoint, seconds: float) -> Burst:
    before = await _after_first_use(endpoint)
    async with idle.opened(endpoint, _LEFT_ALONE, count) as connections:
        await asyncio.sleep(_SETTLE_SECONDS)
        now = processes.rss_mb(endpoint.pids)
        made = await asyncio.to_thread(closed_loop.burst, stage.services.provider, endpoint, _BODY, 16, seconds)
        lost = count - connections.open
    figures = {**made.figures, "idle_rss_mb": before, "rss_mb": now, "kb_per_connection": (now - before) * 1024 / count}
    bad = lost + connections.refused
    complaint = f"{bad} of {count} connections were lost or refused" if bad else made.complaint
    notes = {} if count == _IDLE else {"connections": f"{count}: this machine allows no more open files"}
    return Burst(figures, made.errors + connections.refused, complaint, notes)


def _many_requests(stage: Stage, subject: str, seconds: float) -> Burst:
    """Gives rss_growth: memory after `_MANY` requests divided by that after the first tenth of them."""
    with stage.fresh(subject) as endpoint:
        total, memory, burst = 0.0, [], Burst({})
        while total < _MANY:
            burst = closed_loop.burst(stage.services.provider, endpoint, _BODY, 16, seconds)
            if burst.complaint:
                return burst
            total += burst.figures["rps"] * seconds
            if total >= _MANY / 10:
                memory.append(burst.figures["rss_mb"])
    growth = {"requests": total, "rss_growth": memory[-1] / memory[0], "rss_mb": memory[-1]}
    return Burst({**burst.figures, **growth}, notes={"memory MB over time": ", ".join(f"{mb:.1f}" for mb in memory)})


# The others close idle connections after five seconds.
_PATIENT = ("engine", "engine-no-redis", "mitmdump-addons", "mitmdump-bare")
_once = partial(Scenario, group="Memory", rounds=1, warms_up=False)
MEMORY = (
    _once("memory-streams", subjects=PROXIES, make=_per_stream, quick_subjects=("engine",)),
    _once("idle-10000", subjects=_PATIENT, make=partial(_idle, _IDLE), seconds=3.0, quick_subjects=()),
    _once("flat-requests", subjects=("engine",), make=_many_requests, seconds=5.0, quick_subjects=()),
)
