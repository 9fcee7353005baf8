"""The tables that a run prints, ratios first. The same as Markdown goes into docs/performance.md."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.rows import OURS, Row

type Cells = Sequence[str]

CPU_TITLE = f"CPU time of … / {OURS}"
# Whoever waits longer than this share of the time for a core has not had it for itself.
_DISTURBED = 0.1
# Column → heading and how many times the figure its unit is.
_COLUMNS = {
    "rps": "requests/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "ttfb_p50_ms": "first byte p50 ms",
    "ttfb_p99_ms": "first byte p99 ms",
    "delay_p50_ms": "chunk delay p50 ms",
    "delay_p99_ms": "chunk delay p99 ms",
    "chunks_per_s": "chunks/s",
    "cpu_us": "CPU µs/request",
    "cpu_share": "CPU share",
    "wait_share": "waited",
    "rss_mb": "memory MB",
    "reads_per_s": "pieces/s",
    "cpu_us_per_chunk": "CPU µs/chunk",
    "idle_rss_mb": "idle memory MB",
    "kb_per_stream": "kB/stream",
    "kb_per_connection": "kB/connection",
    "rss_growth": "memory, end/begin",
    "rps_per_core": "requests/s per core",
    "away_ms": "away ms",
    "slowest_ms": "slowest ms",
}
_SHOWN_SPREAD = ("rps", "chunks_per_s")


def number(value: float | None) -> str:
    """Return a figure as people read it: three digits that count, none behind the point from 100 on."""
    if value is None:
        return "–"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 1 else f"{value:.2g}"


def ratio_table(ratios: Mapping[str, float], title: str = f"{OURS} / …") -> list[Cells]:
    """Return a line for each scenario with its ratio to each peer."""
    keys = [tuple(key.rsplit("/", 1)) for key in ratios]
    scenarios = list(dict.fromkeys(scenario for scenario, _ in keys))
    peers = list(dict.fromkeys(peer for _, peer in keys))
    lines = [[scenario, *(_times(ratios.get(f"{scenario}/{peer}")) for peer in peers)] for scenario in scenarios]
    return [[title, *peers], *lines]


def _times(ratio: float | None) -> str:
    return "–" if ratio is None else f"{number(ratio)} ×"


def figure_table(rows: Sequence[Row]) -> list[Cells]:
    """Return a line for each row, with the columns that any of them has, and other figures as they are named."""
    names = [name for name in _COLUMNS if any(row.get(name) is not None for row in rows)]
    names += sorted({name for row in rows for name in row["spread"]} - set(_COLUMNS))
    lines = [[row["scenario"], row["subject"], *(_cell(row, name) for name in names), _errors(row)] for row in rows]
    return [["scenario", "subject", *(_COLUMNS.get(name, name) for name in names), "errors"], *lines]


def _cell(row: Row, name: str) -> str:
    value = row.get(name)
    if name not in _SHOWN_SPREAD or value is None:
        return number(value)
    low, high = row["spread"][name]
    return f"{number(value)} ({number(low)}–{number(high)})"


def _errors(row: Row) -> str:
    return f"{row['errors']}" + (" INVALID" if row["complaints"] else "")


def target_table(targets: Sequence[Mapping[str, Any]]) -> list[Cells]:
    """Return a line for each target: what was to be reached, what was measured, and the verdict."""
    lines = [[each["target"], each["wanted"], number(each["measured"]), each["verdict"]] for each in targets]
    return [["target", "wanted", "measured", ""], *lines]


def as_text(table: Sequence[Cells]) -> str:
    """Align a table for a terminal; all but the first column to the right."""
    widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
    return "\n".join(
        "  ".join(_aligned(line[at], widths[at], at) for at in range(len(line))).rstrip() for line in table
    )


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def as_markdown(table: Sequence[Cells]) -> str:
    """Return a table of GitHub's Markdown."""
    head, *lines = table
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines))


def by_group(rows: Sequence[Row], groups: Mapping[str, str]) -> dict[str, list[Row]]:
    """Sort rows by the group of their scenario, keeping their order."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(groups.get(row["scenario"], row["scenario"]), []).append(row)
    return found


def whole(content: Mapping[str, Any], groups: Mapping[str, str]) -> str:
    """Return all tables of a run's content as text: ratios, figures of each group, targets."""
    parts = [as_text(ratio_table(content["ratios"]))] if content["ratios"] else []
    parts += [as_text(ratio_table(content["cpu_ratios"], CPU_TITLE))] if content["cpu_ratios"] else []
    parts += [as_text(figure_table(members)) for members in by_group(content["rows"], groups).values()]
    parts += ["\n".join(remarks)] if (remarks := remarks_on(content["rows"])) else []
    return "\n\n".join([*parts, as_text(target_table(content["targets"]))])


def remarks_on(rows: Sequence[Row]) -> list[str]:
    """Return what a reader of the rows has to know besides: what proves nothing, and what was disturbed."""
    remarks = []
    for row in rows:
        name, waited = f"{row['scenario']} {row['subject']}", row.get("wait_share") or 0.0
        if row["complaints"]:
            remarks.append(f"! {name}: {row['complaints'][0]}")
        elif waited > _DISTURBED:
            remarks.append(f"~ {name}: waited {waited:.0%} of the time for its core, where something else ran")
    return remarks
