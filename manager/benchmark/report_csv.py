"""A run as a table in CSV: a row for each step and target, its columns the same for every run."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from manager.benchmark.results import POINTS, Document, Result
from manager.benchmark.tally import DURATIONS

_PLAIN = (
    *("requests", "throughput", "errors", "error_rate", "received_bytes", "sent_bytes", "connections_opened"),
    *("connections_reused", "chunks", "chunks_per_s", "proxy_share"),
)
COLUMNS = (
    *("began_at", "is_whole", "step", "load", "target", "seconds", "busy"),
    *_PLAIN,
    "errors_by_kind",
    *(f"{name}_{point}_ms" for name in ("latency", *DURATIONS) for point in POINTS),
)


def text(document: Document) -> str:
    """Return the table."""
    paper = io.StringIO()
    writer = csv.DictWriter(paper, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(document, each) for each in document.results)
    return paper.getvalue()


def _row(document: Document, result: Result) -> dict[str, Any]:
    figures = result.figures
    row = {"began_at": document.began_at, "is_whole": str(document.is_whole).lower(), "step": result.step}
    row |= {"load": result.load, "target": result.target, "seconds": result.seconds, "busy": result.busy}
    row |= {name: figures[name] for name in _PLAIN if name in figures}
    row["errors_by_kind"] = json.dumps(figures["errors_by_kind"]) if figures["errors_by_kind"] else ""
    for name in ("latency", *DURATIONS):
        row |= {f"{name}_{point}_ms": value for point, value in figures.get(f"{name}_ms", {}).items()}
    return row
