"""What the JSON file holds: a row for each scenario and subject, and ratios of ours to each peer."""

from collections.abc import Callable, Mapping
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
    return _ratios(results, ("rps", "chunks_per_s"), results.ratio)


def cpu_ratios(results: Results) -> dict[str, float]:
    """Return `scenario/peer`: the peer's processor time for a request or chunk divided by ours.

    It says the same as a ratio of speed where both had all of their core, and is less harmed where they had not.
    """
    return _ratios(results, ("cpu_us", "cpu_us_per_chunk"), lambda ours, other, name: results.ratio(other, ours, name))


def _ratios(
    results: Results, figures: tuple[str, ...], ratio_of: Callable[[Key, Key, str], float | None]
) -> dict[str, float]:
    found = {}
    for scenario, subject in results.bursts:
        made = [ratio_of((scenario, OURS), (scenario, subject), figure) for figure in figures]
        if subject != OURS and (known := [ratio for ratio in made if ratio is not None]):
            found[f"{scenario}/{subject}"] = round(known[0], 3)
    return found


def _rounded(value: float | None) -> float | None:
    """Four digits say all that a measurement knows."""
    return None if value is None else float(f"{value:.4g}")


def is_valid(row: Mapping[str, Any]) -> bool:
    """Tell whether every burst of a row proved what it was to prove."""
    return not row["complaints"]
