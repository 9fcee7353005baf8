"""Streams of 50 chunks each second: at 128 there is room, at 512 there is not, and what comes through is the most."""

import asyncio
from functools import partial

from tests.bench.burst import Burst, spread
from tests.bench.endpoint import Endpoint
from tests.bench.scenario import SUBJECTS, Scenario
from tests.bench.stage import Stage
from tests.bench.streams import Load, Seen, Streams, run
from tests.bench.subjects import Variant
from tests.bench.watch import Watch

STREAMING = Variant(streams=True)
PER_SECOND = 50
_CHUNKS = 100
# Until all streams have begun, and the first have ended.
_RAMP_SECONDS = 1.5


def _streams(count: int, stage: Stage, subject: str, seconds: float) -> Burst:
    """Gives first bytes, delays, chunks_per_s, reads_per_s (pieces in which chunks came), CPU and memory."""
    endpoint = stage.endpoint(subject, STREAMING)
    return run(_looked_at(endpoint, Load(count, _CHUNKS, PER_SECOND), seconds))


async def _looked_at(endpoint: Endpoint, load: Load, seconds: float) -> Burst:
    async with Streams(endpoint, load) as streams:
        await asyncio.sleep(_RAMP_SECONDS)
        watch = Watch(endpoint)
        seen = await streams.look(seconds)
        figures = figures_of(seen) | watch.figures("cpu_us_per_chunk", len(seen.delays_ms))
    complaint = f"{seen.errors} streams broke off or were refused" if seen.errors else ""
    return Burst(figures, seen.errors, complaint or ("" if seen.delays_ms else "no chunk came"))


def figures_of(seen: Seen) -> dict[str, float]:
    """Return the figures of what was seen."""
    figures = {"chunks_per_s": len(seen.delays_ms) / seen.seconds, "reads_per_s": seen.reads / seen.seconds}
    return figures | spread("ttfb_", seen.first_byte_ms) | spread("delay_", seen.delays_ms)


_streams_scenario = partial(Scenario, group="Streams", subjects=SUBJECTS, seconds=4.0, rounds=3)
_quick = partial(_streams_scenario, quick_seconds=1.5, quick_rounds=2)
STREAMS = (
    _quick("sse-128", make=partial(_streams, 128)),
    _quick("sse-256", make=partial(_streams, 256), quick_subjects=()),
    _quick("sse-512", make=partial(_streams, 512), quick_subjects=("direct", "engine", "mitmdump-bare")),
)
