"""A run as one page of HTML with plots: no script, nothing from elsewhere, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from manager.benchmark import plots
from manager.benchmark.histogram import middle_of
from manager.benchmark.plots import Line, plot
from manager.benchmark.results import POINTS, Document, Result, overhead
from manager.benchmark.tally import DURATIONS
from manager.benchmark.wording import NAMES, number, remarks

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --page: #fff; --panel: #f6f8fa;
  --c0: #1b6ec2; --c1: #c2410c; --c2: #15803d; --c3: #7e22ce; --c4: #b45309; --c5: #0f766e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa6b5; --line: #333c48; --page: #12171d;
  --panel: #1a2129; --c0: #6cb2ff; --c1: #ff9b6b; --c2: #6ddc93; --c3: #c99bff; --c4: #f5c04e; --c5: #5fd6c9; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 2rem auto;
  max-width: 1180px; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p, dl { color: var(--soft); margin: .25rem 0; } .remark { color: var(--ink); background: var(--panel);
  border-left: 3px solid var(--c1); padding: .4rem .75rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; } dd { margin: 0; color: var(--ink);
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); } th, td { padding: .2rem .7rem; text-align: right;
  border-bottom: 1px solid var(--line); white-space: nowrap; } .text { text-align: left; }
th { color: var(--soft); font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 1rem; }
svg { width: 100%; background: var(--panel); border-radius: 6px; } svg text { font: 12px system-ui, sans-serif;
  fill: var(--soft); } svg .title { font-weight: 600; fill: var(--ink); } svg .y, svg .unit { text-anchor: end; }
svg .x { text-anchor: middle; } .grid { stroke: var(--line); } polyline.line { fill: none; stroke-width: 2; }
.line.thin { stroke-width: 1; opacity: .75; } .line.dashed { stroke-dasharray: 5 3; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: .5rem 0; }
.legend span { display: inline-block; width: 1.4rem; height: 3px; margin-right: .4rem; vertical-align: middle; }
""" + "\n".join(
    f"polyline.c{n} {{ stroke: var(--c{n}); }} circle.c{n}, .legend .c{n} {{ fill: var(--c{n}); "
    f"background: var(--c{n}); }}"
    for n in range(plots.COLOURS)
)
_TABLE = Markup(
    '<div class="wide"><table><caption>{}</caption><tr><th class="text">load</th><th class="text">target</th>{}</tr>'
    "{}</table></div>"
)
_PAGE = Markup("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>{style}</style></head><body>
<h1>{title}</h1><p>{began}</p>{remarks}<h2>Figures</h2>{tables}{steps}<h2>How it was made</h2>{made}
</body></html>
""")


def text(document: Document) -> str:
    """Return the page."""
    names = [each["name"] for each in document.plan["targets"]]
    colours = {name: colour for colour, name in enumerate(names)}
    said = (Markup('<p class="remark">{}</p>').format(each) for each in remarks(document))
    return str(
        _PAGE.format(
            title="Benchmark of " + ", ".join(names),
            began=f"Begun {document.began_at}, {document.plan['method']} {document.plan['endpoint']}",
            style=Markup(_STYLE),  # noqa: S704 - our own
            remarks=_joined(said),
            tables=_joined(_tables(document)),
            steps=_joined(_steps(document, colours)),
            made=_made(document),
        )
    )


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def _tables(document: Document) -> Iterator[Markup]:
    columns = ["seconds", "requests/s", "requests", "errors", "MB/s", "connections opened", "reused"]
    yield _table("Traffic", columns, [(each, _traffic(each)) for each in document.results])
    rows = [(each, _durations(each.figures["latency_ms"])) for each in document.results]
    yield _table("Latency of good answers, ms", POINTS, rows)
    for name in DURATIONS:
        seen = [each for each in document.results if f"{name}_ms" in each.figures]
        if seen:
            rows = [(each, _durations(each.figures[f"{name}_ms"])) for each in seen]
            yield _table(f"{NAMES[name].capitalize()}, ms", POINTS, rows)
    if more := list(overhead(document)):
        found = {(each["step"], each["target"]): each for each in more}
        seen = [each for each in document.results if (each.step, each.target) in found]
        rows = [(each, _overhead(found[each.step, each.target])) for each in seen]
        yield _table(f"Overhead over {more[0]['over']}, ms", ["p50", "p95", "p99", "throughput"], rows)


def _durations(points: Mapping[str, float]) -> list[str]:
    return [number(points.get(point)) for point in POINTS]


def _traffic(result: Result) -> list[str]:
    figures = result.figures
    return [
        number(result.seconds),
        number(figures["throughput"]),
        f"{figures['requests']:,}",
        f"{figures['errors']:,} ({figures['error_rate']:.3g} %)",
        number(figures["received_mb_per_s"]),
        f"{figures['connections_opened']:,}",
        f"{figures['connections_reused']:,}",
    ]


def _overhead(more: dict[str, Any]) -> list[str]:
    ratio = more["throughput_ratio"]
    latency = [f"{more['latency_ms'][name]:+.3g}" for name in ("p50", "p95", "p99")]
    return [*latency, "–" if ratio is None else f"{ratio:.3g} ×"]


def _table(caption: str, columns: Sequence[str], rows: Iterable[tuple[Result, Sequence[str]]]) -> Markup:
    head = _joined(Markup("<th>{}</th>").format(each) for each in columns)
    start = Markup('<tr><td class="text">{}</td><td class="text">{}</td>')
    body = _joined(
        start.format(result.load, result.target)
        + _joined(Markup("<td>{}</td>").format(each) for each in cells)
        + Markup("</tr>")
        for result, cells in rows
    )
    return _TABLE.format(caption, head, body)


def _steps(document: Document, colours: dict[str, int]) -> Iterator[Markup]:
    for _, group in groupby(document.results, key=lambda each: each.step):
        results = [each for each in group if each.latency.count]
        if not results:
            continue
        items = (
            Markup('<li><span class="c{}"></span>{}</li>').format(colours[each.target] % plots.COLOURS, each.target)
            for each in results
        )
        legend = Markup('<ul class="legend">{}</ul>').format(_joined(items))
        drawn = _joined(_plots(document, results, colours))
        yield Markup('<h2>{}</h2>{}<div class="plots">{}</div>').format(results[0].load, legend, drawn)


def _plots(document: Document, results: list[Result], colours: dict[str, int]) -> Iterator[Markup]:
    highest = max(each.latency.high for each in results) / 1e6
    lowest = max(min(each.latency.low for each in results) / 1e6, 1e-3)
    most = min(5, max(2, len(str(max(each.latency.count for each in results))) - 1))
    curves = [Line(each.target, colours[each.target], list(_curve(each))) for each in results]
    up = plots.logarithmic("ms", lowest, highest)
    yield plot("Latency by percentile", plots.nines("share of requests", most), up, curves)
    course = [line for each in results for line in _course(each, document.interval_s, colours[each.target])]
    seconds = max(each.seconds for each in results)
    top = max((value for line in course for _, value in line.points), default=1.0)
    yield plot("Latency over time: p50, p99 thin", plots.linear("s", seconds), plots.linear("ms", top), course)
    rates = [Line(each.target, colours[each.target], list(_rates(each, document.interval_s))) for each in results]
    top = max((value for line in rates for _, value in line.points), default=1.0)
    yield plot("Throughput over time", plots.linear("s", seconds), plots.linear("requests/s", top), rates)


def _curve(result: Result) -> Iterator[tuple[float, float]]:
    seen, whole = 0, result.latency.count
    yield 0.0, result.latency.low / 1e6
    for bucket in sorted(result.latency.counts):
        yield seen / whole, min(middle_of(bucket), result.latency.high) / 1e6
        seen += result.latency.counts[bucket]
    yield 1.0, result.latency.high / 1e6


def _course(result: Result, interval_s: float, colour: int) -> Iterator[Line]:
    for percent in (50, 99):
        points = [
            ((interval + 0.5) * interval_s, histogram.percentile(percent) / 1e6)
            for interval, histogram in sorted(result.tally.latency.items())
            if interval < _whole(result, interval_s)
        ]
        yield Line(f"{result.target} p{percent}", colour, points, is_thin=percent == 99)


def _rates(result: Result, interval_s: float) -> Iterator[tuple[float, float]]:
    for interval in range(_whole(result, interval_s)):
        histogram = result.tally.latency.get(interval)
        yield (interval + 0.5) * interval_s, (histogram.count if histogram else 0) / interval_s


def _whole(result: Result, interval_s: float) -> int:
    """Return how many intervals are whole: of the last one there may be a part only, and after it few answers."""
    return int(result.seconds / interval_s + 1e-6)


def _made(document: Document) -> Markup:
    plan = document.plan
    told = {f"target {each['name']}": each["url"] for each in plan["targets"]}
    told |= {"profile": plan["profile"] or "none", "warm-up": f"{plan['warm_up_s']:g} s"}
    told |= {
        "body": f"{plan['body']['bytes']:,} bytes, as a template",
        "connections kept": "yes" if plan["is_kept"] else "no",
    }
    told |= {name: str(value) for name, value in document.generator.items()}
    pairs = _joined(Markup("<dt>{}</dt><dd>{}</dd>").format(name, value) for name, value in told.items())
    return Markup("<dl>{}</dl>").format(pairs)
