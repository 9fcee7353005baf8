"""What the JSON file holds: a row for each scenario and subject, and ratios of ours to each peer."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from tests.bench.rounds import Key, Results

OURS = "engine"
FIGURES = ("rps", "p50_ms", "p99_ms", "ttfb_p50_ms", "chunks_per_s", "rss_mb")

type Row = dict[str, Any]


def rows(results: Results) -> list[Row]:
    """Return the rows in order of the run. Figures are medians; a figure that a row does not have is None."""
    return [_row(results, key) for key in results.bursts]


def _row(results: Results, key: Key) -> Row:
    bursts = results.bursts[key]
    names = list(dict.fromkeys(name for burst in bursts for name in burst.figures))
    medians = {name: median(results.values(key, name)) for name in (*names,)}
    complaints = list(dict.fromkeys(burst.complaint for burst in bursts if burst.complaint))
    row: Row = {"scenario": key[0], "subject": key[1]}
    row |= {name: _rounded(medians.pop(name, None)) for name in FIGURES}
    row["errors"] = sum(burst.errors for burst in bursts)
    row |= {name: _rounded(value) for name, value in medians.items()}
    row["rounds"] = len(bursts)
    row["spread"] = {name: [_rounded(edge(results.values(key, name))) for edge in (min, max)] for name in names}
    row["complaints"] = complaints
    row["notes"] = dict(bursts[-1].notes)
    return row


def ratios(results: Results) -> dict[str, float]:
    """Return `scenario/peer`: ours divided by the peer's requests or chunks each second, the median of rounds."""
    found = {}
    for scenario, subject in results.bursts:
        for figure in ("rps", "chunks_per_s"):
            ratio = results.ratio((scenario, OURS), (scenario, subject), figure)
            if subject != OURS and ratio is not None:
                found[f"{scenario}/{subject}"] = round(ratio, 3)
                break
    return found


def _rounded(value: float | None) -> float | None:
    """Four digits say all that a measurement knows."""
    return None if value is None else float(f"{value:.4g}")


def is_valid(row: Mapping[str, Any]) -> bool:
    """Tell whether every burst of a row proved what it was to prove."""
    return not row["complaints"]
