"""A burst of closed-loop load by wrk, with what it cost the subject and whether it proves anything."""

from tests.bench import wrk
from tests.bench.burst import Burst
from tests.bench.endpoint import Endpoint
from tests.bench.provider import Provider
from tests.bench.watch import Watch

# Whoever has answered nothing at all gets so many times as long.
_SECOND_CHANCE = 5


def burst(
    provider: Provider, endpoint: Endpoint, body: bytes, connections: int, seconds: float, refused: bool = False
) -> Burst:
    """Load an endpoint; `refused` says that every answer is to be a refusal which the provider never hears of.

    Gives rps, p50_ms, p99_ms and, of what has processes, cpu_us (for each request) and what `Watch` gives.
    """
    try:
        made = _burst(provider, endpoint, body, connections, seconds, refused)
        if not made.figures["rps"]:
            made = _burst(provider, endpoint, body, connections, seconds * _SECOND_CHANCE, refused)
    except wrk.LoadError as error:
        return Burst({}, complaint=str(error))
    return made


def _burst(
    provider: Provider, endpoint: Endpoint, body: bytes, connections: int, seconds: float, refused: bool
) -> Burst:
    answered, watch = provider.answered(), Watch(endpoint)
    seen = wrk.run(endpoint, body, connections, seconds)
    figures = {"rps": seen.rps, "p50_ms": seen.p50_ms, "p99_ms": seen.p99_ms}
    figures |= watch.figures("cpu_us", seen.requests)
    errors = seen.broken + (seen.requests - seen.other if refused else seen.other)
    return Burst(figures, errors, _complaint(seen, errors, provider.answered() - answered, refused))


def _complaint(seen: wrk.Outcome, errors: int, answered: int, refused: bool) -> str:
    if not seen.requests:
        return "nothing was answered"
    if errors:
        return f"{errors} of {seen.requests} answers were not the expected ones"
    if refused and answered:
        return f"{answered} refused requests reached the provider"
    if not refused and answered < seen.requests:
        return f"{seen.requests - answered} answers did not come from the provider"
    return ""
