"""The tables of `llm-proxy benchmark`: of a run, and of a comparison."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from manager.benchmark.compare import Comparison
from manager.benchmark.results import POINTS, Document, Result, overhead
from manager.benchmark.wording import NAMES, number, remarks
from manager.cli import shown


def show(document: Document) -> None:
    """Print a run."""
    shown.table(map(_traffic, document.results), list(_traffic_columns(document)))
    click.echo("\nLatency of good answers, ms")
    shown.table(
        (_who(each) | _numbers(each.figures["latency_ms"]) for each in document.results), ["load", "target", *POINTS]
    )
    if others := list(_other_rows(document)):
        click.echo("\nOther durations, ms")
        shown.table(others, ["load", "target", "of", *POINTS])
    if more := list(overhead(document)):
        click.echo("\nOverhead, ms")
        shown.table(map(_overhead, more), ["load", "target", "over", "p50", "p95", "p99", "throughput"])
    for line in remarks(document):
        click.echo(f"\n{line}")


def show_comparison(comparison: Comparison) -> None:
    """Print a comparison."""
    if comparison.changes:
        rows = [
            {
                "load": each.load,
                "target": each.target,
                "metric": each.metric,
                "before": number(each.before),
                "after": number(each.after),
                "change": _percent(each.change),
                "99 % interval": f"{_percent(each.low)} … {_percent(each.high)}" if each.low is not None else "",
                "verdict": each.verdict,
            }
            for each in comparison.changes
        ]
        shown.table(rows, list(rows[0]))
    for reason in comparison.reasons:
        click.echo(f"Not comparable: {reason}.")
    click.echo(f"\nVerdict: {comparison.verdict}")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:+.1%}"


def _who(result: Result) -> dict[str, Any]:
    return {"load": result.load, "target": result.target}


def _numbers(figures: dict[str, float]) -> dict[str, str]:
    return {name: number(value) for name, value in figures.items()}


def _traffic_columns(document: Document) -> Iterator[str]:
    yield from ("load", "target", "seconds", "requests", "requests/s", "errors", "MB/s", "opened", "reused")
    if any("chunks" in each.figures for each in document.results):
        yield "chunks/s"


def _traffic(result: Result) -> dict[str, Any]:
    figures = result.figures
    return _who(result) | {
        "seconds": number(result.seconds),
        "requests": f"{figures['requests']:,}",
        "requests/s": number(figures["throughput"]),
        "errors": f"{figures['errors']:,} ({figures['error_rate']:.3g} %)",
        "MB/s": number(figures["received_mb_per_s"]),
        "opened": f"{figures['connections_opened']:,}",
        "reused": f"{figures['connections_reused']:,}",
        "chunks/s": number(figures.get("chunks_per_s")),
    }


def _other_rows(document: Document) -> Iterator[dict[str, Any]]:
    for result in document.results:
        for name, title in NAMES.items():
            if f"{name}_ms" in result.figures:
                yield _who(result) | {"of": title} | _numbers(result.figures[f"{name}_ms"])


def _overhead(more: dict[str, Any]) -> dict[str, Any]:
    ratio = more["throughput_ratio"]
    told = {name: more[name] for name in ("load", "target", "over")}
    told |= {name: f"{more['latency_ms'][name]:+.3g}" for name in ("p50", "p95", "p99")}
    return told | {"throughput": "–" if ratio is None else f"{ratio:.3g} ×"}
