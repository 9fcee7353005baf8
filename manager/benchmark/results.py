"""One document of a run: the plan, what made the load, and of each step and target all that was counted.

It is what reports show and comparisons read; in JSON it has figures for people and programs, and the histograms.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from manager.benchmark.histogram import Histogram
from manager.benchmark.plan import Plan
from manager.benchmark.tally import DURATIONS, Tally
from manager.benchmark.workers import Run

FORMAT = "llm-proxy benchmark 1"
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99.9": 99.9}
POINTS = ("min", "mean", *PERCENTILES, "max")
# Above this share of a core a load process may be what is slow.
BUSY = 0.9


class NotRead(Exception):
    """A file holds no document of a run."""


@dataclass(frozen=True)
class Result:
    """Of one target in one step; `seconds` is how long load was made, `busy` the busiest process' share of its core."""

    step: int
    load: str
    target: str
    seconds: float
    busy: float
    tally: Tally

    @cached_property
    def latency(self) -> Histogram:
        """Return the latency of all good answers."""
        return self.tally.whole_latency

    @cached_property
    def figures(self) -> dict[str, Any]:
        """Return what can be told: durations in ms by `min`, `mean`, percentiles and `max`, rates for each second."""
        counts, errors = self.tally.counts, sum(self.tally.errors.values())
        requests, seconds = self.latency.count + errors, self.seconds or 1.0
        told = {
            "requests": requests,
            "throughput": self.tally.done / seconds,
            "errors": errors,
            "error_rate": errors / requests * 100 if requests else 0.0,
            "errors_by_kind": dict(self.tally.errors.most_common()),
            "statuses": {str(status): count for status, count in sorted(self.tally.statuses.items())},
            "received_bytes": counts["received"],
            "sent_bytes": counts["sent"],
            "received_mb_per_s": counts["received"] / 1e6 / seconds,
            "connections_opened": counts["opened"],
            "connections_reused": counts["reused"],
            "latency_ms": points(self.latency),
        }
        told |= {f"{name}_ms": points(each) for name in DURATIONS if (each := getattr(self.tally, name)).count}
        if counts["chunks"]:
            told |= {"chunks": counts["chunks"], "chunks_per_s": counts["chunks"] / seconds}
        proxy, upstream = self.tally.proxy.total, self.tally.upstream.total
        if self.tally.proxy.count and proxy + upstream:
            told["proxy_share"] = proxy / (proxy + upstream) * 100
        return told

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        told = {"step": self.step, "load": self.load, "target": self.target, "seconds": self.seconds}
        return {**told, "busy": self.busy, "figures": self.figures, "tally": self.tally.as_dict()}


@dataclass(frozen=True)
class Document:
    """A run; `plan` is `Plan.as_dict`, `generator` tells what made the load, `interval_s` how fine its course is."""

    began_at: str
    is_whole: bool
    plan: Mapping[str, Any]
    generator: Mapping[str, Any]
    interval_s: float
    results: tuple[Result, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        told = {"format": FORMAT, "began_at": self.began_at, "is_whole": self.is_whole, "plan": self.plan}
        return {
            **told,
            "generator": self.generator,
            "interval_s": self.interval_s,
            "results": [each.as_dict() for each in self.results],
            "overhead": list(overhead(self)),
        }

    def first(self, step: int) -> Result | None:
        """Return what the first target did in a step, None if nothing is known of it."""
        name = self.plan["targets"][0]["name"]
        return next((each for each in self.results if each.step == step and each.target == name), None)


def points(histogram: Histogram) -> dict[str, float]:
    """Return a histogram in ms, by POINTS; {} of nothing."""
    if not histogram.count:
        return {}
    found = {"min": float(histogram.low), "mean": histogram.mean()}
    found |= {name: histogram.percentile(percent) for name, percent in PERCENTILES.items()}
    found["max"] = float(histogram.high)
    return {name: ns / 1e6 for name, ns in found.items()}


def overhead(document: Document) -> Iterator[dict[str, Any]]:
    """Give what further targets take more than the first one: ms of latency, and the ratio of throughput."""
    for result in document.results:
        first = document.first(result.step)
        if first is None or first.target == result.target or not (first.latency.count and result.latency.count):
            continue
        ours, theirs = result.figures, first.figures
        more = {name: ours["latency_ms"][name] - theirs["latency_ms"][name] for name in POINTS}
        ratio = ours["throughput"] / theirs["throughput"] if theirs["throughput"] else None
        told = {"step": result.step, "load": result.load, "target": result.target, "over": first.target}
        yield {**told, "latency_ms": more, "throughput_ratio": ratio}


def document(plan: Plan, made: Run, began_at: datetime) -> Document:
    """Return the document of a run."""
    results = [
        Result(step, plan.steps[step].name, plan.targets[number].name, seen.window_ns / 1e9, seen.busy, seen.tally)
        for (step, number), seen in sorted(made.seen.items())
    ]
    generator = {
        "processes": plan.processes,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    began = began_at.astimezone(UTC).isoformat(timespec="seconds")
    return Document(began, made.is_whole, plan.as_dict(), generator, plan.interval_s, tuple(results))


def read(path: Path) -> Document:
    """Read the JSON of a run. Raises NotRead."""
    try:
        told = json.loads(path.read_bytes())
        if told["format"] != FORMAT:
            raise NotRead(f"{path} is of another version of this command.")
        return Document(
            str(told["began_at"]),
            bool(told["is_whole"]),
            {**told["plan"], "targets": [{"name": str(each["name"])} | each for each in told["plan"]["targets"]]},
            dict(told["generator"]),
            float(told["interval_s"]),
            tuple(_result(each) for each in told["results"]),
        )
    except OSError as error:
        raise NotRead(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise NotRead(f"{path} holds no result of `llm-proxy benchmark` in JSON.") from None


def _result(told: Mapping[str, Any]) -> Result:
    return Result(
        int(told["step"]),
        str(told["load"]),
        str(told["target"]),
        float(told["seconds"]),
        float(told["busy"]),
        Tally.from_dict(told["tally"]),
    )
