"""One run of the benchmark: takes its place on the machine, starts what it needs, measures, and stops everything."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench import machine, peers, profile, rounds, rows, services, subjects, targets, wrk
from tests.bench.rounds import Pace
from tests.bench.scenario import Scenario
from tests.bench.stage import Stage

OPEN_FILES = 40_000


@dataclass(frozen=True)
class Plan:
    """What to run."""

    scenarios: tuple[Scenario, ...]
    subjects: frozenset[str]
    pace: Pace
    with_peers: bool


def measured(plan: Plan) -> dict[str, Any]:
    """Run a plan and return what the JSON file holds. Raises StartError, LoadError, PeerError."""
    if plan.with_peers:
        peers.install()
    began = time.monotonic()
    with _stage(plan.with_peers) as stage:
        wanted = plan.subjects & set(stage.launchers)
        results = rounds.run(stage, plan.scenarios, wanted, plan.pace, lambda line: _say(began, line))
        placement = str(stage.services.cores)
    facts = {**machine.facts(), "placement": placement, "seconds": round(time.monotonic() - began)}
    return {
        "machine": facts | ({"litellm": peers.LITELLM, "portkey": peers.PORTKEY} if plan.with_peers else {}),
        "rows": rows.rows(results),
        "ratios": rows.ratios(results),
        "cpu_ratios": rows.cpu_ratios(results),
        "targets": targets.judge(results),
    }


def profiled(seconds: int) -> dict[str, Any]:
    """Return the engine's profile as the lines of a table. Raises StartError, LoadError, ProfileError."""
    with _stage() as stage:
        return {"machine": machine.facts(), "profile": profile.table(*profile.run(stage, seconds))}


@contextmanager
def _stage(with_peers: bool = False) -> Iterator[Stage]:
    wrk.provide()
    machine.raise_file_limit(OPEN_FILES)
    cores = machine.take_place()
    print(f"# {cores}", file=sys.stderr, flush=True)
    with services.running(cores) as running:
        stage = Stage(running, subjects.OURS | (peers.LAUNCHERS if with_peers else {}))
        try:
            yield stage
        finally:
            stage.stop()


def _say(began: float, line: str) -> None:
    print(f"# {time.monotonic() - began:4.0f} s  {line}", file=sys.stderr, flush=True)
