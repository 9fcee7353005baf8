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
    return lambda results: results.median(ours(scenario), figure)


TARGETS: tuple[Target, ...] = (
    Target("16 connections, over mitmdump-bare", over("small-16", "mitmdump-bare"), 2.0, "×", aim=3.0),
    Target("64 connections, over mitmdump-bare", over("small-64", "mitmdump-bare"), 2.0, "×", aim=3.0),
    Target("16 connections, over portkey", over("small-16", "portkey"), 1.5, "×", aim=2.5),
    Target("16 connections, over litellm", over("small-16", "litellm"), 15.0, "×", aim=25.0),
    Target("added latency p50, 1 connection", added("small-1", "p50_ms"), 0.7, "ms", at_most=True),
)


def judge(results: Results) -> list[dict[str, Any]]:
    """Judge every target."""
    return [target.judged(results) for target in TARGETS]
