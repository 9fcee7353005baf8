"""Runs made up for tests: documents of what a target is said to have done."""

import random
from typing import Any

from manager.benchmark.plan import Plan, Step, Target
from manager.benchmark.results import Document, Result
from manager.benchmark.tally import Tally

MS = 1_000_000


def tally(seconds: int = 30, rate: int = 100, ms: float = 20.0, seed: int = 1, errors: int = 0) -> Tally:
    """What is seen of a target: so many answers each second, some 20 ms each, some intervals slower than others."""
    chance, made = random.Random(seed), Tally()  # noqa: S311
    for second in range(seconds):
        mood = chance.uniform(0.9, 1.1)
        for _ in range(round(rate / mood)):
            made.answered(second, round(ms * mood * chance.lognormvariate(0, 0.3) * MS))
    for number in range(errors):
        made.failed(number % seconds, "status 503")
    made.statuses[200] = made.whole_latency.count
    made.done = float(made.whole_latency.count)
    made.counts.update(received=1000, sent=500, opened=4, reused=100)
    return made


def run(*tallies: Tally, seconds: float = 30, busy: float = 0.2, is_whole: bool = True, **plan: Any) -> Document:
    """A document of one step, with a target for each tally: a, b, …"""
    names = "abcdefgh"[: len(tallies)]
    plan.setdefault("targets", tuple(Target(name, f"http://{name}.example.org") for name in names))
    made = Plan(steps=(Step((8, 8), seconds=seconds),), **plan)
    results = tuple(
        Result(0, made.steps[0].name, target.name, seconds, busy, each)
        for target, each in zip(made.targets, tallies, strict=True)
    )
    return Document("2030-01-01T00:00:00+00:00", is_whole, made.as_dict(), {"processes": 1}, 1.0, results)
