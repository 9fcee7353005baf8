"""A run as one page of HTML with plots: no script, nothing from elsewhere, everything escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from markupsafe import Markup

from manager.benchmark import plots
from manager.benchmark.drawings import drawings
from manager.benchmark.report_style import STYLE
from manager.benchmark.results import POINTS, Document, Result, overhead
from manager.benchmark.tally import DURATIONS
from manager.benchmark.wording import NAMES, number, remarks

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
            style=Markup(STYLE),  # noqa: S704 - our own
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
        drawn = _joined(drawings(results, document.interval_s, colours))
        yield Markup('<h2>{}</h2>{}<div class="plots">{}</div>').format(results[0].load, legend, drawn)


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
