"""A burst of closed-loop load by wrk, with what it cost the subject and whether it proves anything."""

from tests.bench import processes, wrk
from tests.bench.burst import Burst
from tests.bench.endpoint import Endpoint
from tests.bench.provider import Provider


def burst(
    provider: Provider, endpoint: Endpoint, body: bytes, connections: int, seconds: float, refused: bool = False
) -> Burst:
    """Load an endpoint; `refused` says that every answer is to be a refusal which the provider never hears of.

    Gives rps, p50_ms, p99_ms and, of what has processes, cpu_us (for each request), cpu_share (of one core) and rss_mb.
    """
    answered, cpu = provider.answered(), processes.cpu_seconds(endpoint.pids)
    try:
        seen = wrk.run(endpoint, body, connections, seconds)
    except wrk.LoadError as error:
        return Burst({}, complaint=str(error))
    cpu, answered = processes.cpu_seconds(endpoint.pids) - cpu, provider.answered() - answered
    figures = {"rps": seen.rps, "p50_ms": seen.p50_ms, "p99_ms": seen.p99_ms}
    if endpoint.pids and seen.requests:
        figures |= {"cpu_us": cpu / seen.requests * 1e6, "cpu_share": cpu * seen.rps / seen.requests}
        figures["rss_mb"] = processes.rss_mb(endpoint.pids)
    errors = seen.broken + (seen.requests - seen.other if refused else seen.other)
    return Burst(figures, errors, _complaint(seen, errors, answered, refused))


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
