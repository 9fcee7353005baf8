"""Half an hour of streams: is memory flat?"""

from tests.bench import processes
from tests.bench.burst import Burst
from tests.bench.endpoint import Endpoint
from tests.bench.scenario import Scenario
from tests.bench.scenarios.streams import PER_SECOND, STREAMING, figures_of
from tests.bench.stage import Stage
from tests.bench.streams import Load, Streams, run

_MINUTES = 30
_LOAD = Load(streams=64, chunks=250, per_second=PER_SECOND)
# Memory is compared from here on.
_SETTLED_MINUTES = 3


def _soak(stage: Stage, subject: str, seconds: float) -> Burst:
    """Gives rss_growth, memory at the end divided by that when all had settled, and what the last minute was like."""
    with stage.fresh(subject, STREAMING) as endpoint:
        return run(_soaked(endpoint))


async def _soaked(endpoint: Endpoint) -> Burst:
    memory = []
    async with Streams(endpoint, _LOAD) as streams:
        for _ in range(_MINUTES):
            seen = await streams.look(60)
            memory.append(processes.rss_mb(endpoint.pids))
    growth = {"rss_growth": memory[-1] / memory[_SETTLED_MINUTES - 1], "rss_mb": memory[-1]}
    notes = {"memory MB each minute": ", ".join(f"{mb:.1f}" for mb in memory)}
    complaint = f"{seen.errors} streams broke off" if seen.errors else ""
    return Burst(figures_of(seen) | growth, seen.errors, complaint, notes)


SOAK = (Scenario("soak-streams", "Half an hour of streams", ("engine",), _soak, rounds=1, usual=False, warms_up=False),)
