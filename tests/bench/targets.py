"""What has to be reached, and whether it was."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.report import number
from tests.bench.rounds import Key, Results
from tests.bench.rows import OURS


@dataclass(frozen=True)
class Target:
    """A figure that must be at least (or at most) a bound. `aim` is what would be even better, None if nothing is."""

    name: str
    measure: Callable[[Results], float | None]
    bound: float
    unit: str
    at_most: bool = False
    aim: float | None = None

    def judged(self, results: Results) -> dict[str, Any]:
        """Return the target with what was measured and `reached`, `missed` or `not measured`."""
        measured = self.measure(results)
        return {
            "target": self.name,
            "wanted": f"{'≤' if self.at_most else '≥'} {number(self.bound)} {self.unit}".rstrip()
            + (f" (aim {number(self.aim)})" if self.aim is not None else ""),
            "measured": None if measured is None else round(measured, 4),
            "verdict": self._verdict(measured),
        }

    def _verdict(self, measured: float | None) -> str:
        if measured is None:
            return "not measured"
        is_reached = measured <= self.bound if self.at_most else measured >= self.bound
        return "reached" if is_reached else "missed"


def ours(scenario: str) -> Key:
    """The engine in a scenario."""
    return (scenario, OURS)


def over(scenario: str, peer: str, figure: str = "rps") -> Callable[[Results], float | None]:
    """Ours divided by a peer's."""
    return lambda results: results.ratio(ours(scenario), (scenario, peer), figure)


def added(scenario: str, figure: str) -> Callable[[Results], float | None]:
    """What the engine adds to the provider by itself."""
    return lambda results: results.difference(ours(scenario), (scenario, "direct"), figure)


def between(scenario: str, other: str, figure: str = "rps") -> Callable[[Results], float | None]:
    """Ours in one scenario divided by ours in another one of the same group."""
    return lambda results: results.ratio(ours(scenario), ours(other), figure)


def own(scenario: str, figure: str) -> Callable[[Results], float | None]:
    """A figure of ours."""
    return lambda results: results.proven(ours(scenario), figure)


def drift(scenario: str) -> Callable[[Results], float | None]:
    """How far our memory at the end is from what it was when all had settled, as a share of that."""
    return lambda results: None if (growth := own(scenario, "rss_growth")(results)) is None else abs(growth - 1)


TARGETS: tuple[Target, ...] = (
    Target("16 connections, over mitmdump-bare", over("small-16", "mitmdump-bare"), 2.0, "×", aim=3.0),
    Target("64 connections, over mitmdump-bare", over("small-64", "mitmdump-bare"), 2.0, "×", aim=3.0),
    Target("16 connections, over portkey", over("small-16", "portkey"), 1.5, "×", aim=2.5),
    Target("16 connections, over litellm", over("small-16", "litellm"), 15.0, "×", aim=25.0),
    Target("added latency p50, 1 connection", added("small-1", "p50_ms"), 0.7, "ms", at_most=True),
    Target("added time to first byte p50, 128 streams", added("sse-128", "ttfb_p50_ms"), 2.0, "ms", at_most=True),
    Target("added time to first byte p99, 128 streams", added("sse-128", "ttfb_p99_ms"), 10.0, "ms", at_most=True),
    Target("chunks at saturation, 512 streams", own("sse-512", "chunks_per_s"), 7000, "per s"),
    Target("new client connections over kept ones, provider behind TLS", between("tls-new", "tls-kept"), 0.6, "×"),
    Target("two workers over one, as far as cores allow", between("workers-2", "workers-1"), 1.7, "×"),
    Target("idle worker", own("memory-streams", "idle_rss_mb"), 120, "MB", at_most=True),
    Target("open stream", own("memory-streams", "kb_per_stream"), 60, "kB", at_most=True),
    Target("worker with bodies of 1 MB, 16 connections", own("body-1m", "rss_mb"), 160, "MB", at_most=True),
    Target("memory after 200,000 requests", drift("flat-requests"), 0.05, "away from 1", at_most=True),
    Target("memory after 30 minutes of streams", drift("soak-streams"), 0.05, "away from 1", at_most=True),
    Target(
        "processor time of an admission, 4 limits over 1",
        between("admission-4", "admission-1", "cpu_us"),
        1.3,
        "×",
        at_most=True,
    ),
    Target("told of to the inspector over not told of", between("inspection-metadata", "inspection-off"), 0.9, "×"),
    Target(
        "with a feed that stands still over not told of", between("inspection-stalled", "inspection-off"), 0.95, "×"
    ),
    Target("refused (401) over admitted, 16 connections", between("reject-401", "small-16"), 2.0, "×"),
)


def judge(results: Results) -> list[dict[str, Any]]:
    """Judge every target."""
    return [target.judged(results) for target in TARGETS]
