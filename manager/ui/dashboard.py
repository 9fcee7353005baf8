"""The dashboard: what goes on, what it costs, how long it takes, and what needs somebody."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from flask import get_template_attribute, render_template, request
from flask.typing import ResponseReturnValue

from manager.activity import Measure, Range
from manager.current import now, scope, services
from manager.histogram import merged
from manager.ui import activity_charts, addresses, chart_tables, health
from manager.ui.blueprint import blueprint
from manager.ui.chart_tables import Window
from manager.ui.choice import Choice, chosen
from manager.ui.figures import Figures
from manager.ui.memory import memory
from manager.ui.regions import Region, TableRegion

RANGES = {Range.HOUR: "Hour", Range.DAY: "Day", Range.WEEK: "Week", Range.MONTH: "Month"}


@dataclass(frozen=True)
class Look:
    """What somebody looks at."""

    range: Range
    choice: Choice


@blueprint.get("/dashboard")
def dashboard() -> ResponseReturnValue:
    """Show it all."""
    look = looked_at(request.args)
    shown = {region.id: region for region in regions(look)}
    return render_template("dashboard.html", look=look, ranges=RANGES, regions=shown)


def follow(args: Mapping[str, str]) -> Callable[[], Iterable[Region | TableRegion]]:
    """Return what gives the parts of the page, as parameters of its address ask for it."""
    look = looked_at(args)
    return lambda: regions(look)


def looked_at(args: Mapping[str, str]) -> Look:
    """Return what parameters of an address ask for."""
    found = args.get("range", "")
    return Look(Range(found) if found in list(Range) else Range.HOUR, chosen(args))


def regions(look: Look) -> Iterator[Region | TableRegion]:
    """Return the parts of the page that change."""
    figures = Figures(services(), memory(), look.choice.scope, look.range, now())
    series = figures.series()
    totals = {measure: merged(found.values()) for measure, found in series.items()}
    requests = sum(totals[Measure.OUTCOME].values())
    yield _region(
        "numbers",
        requests=requests,
        failed=activity_charts.ended_badly(totals[Measure.OUTCOME]),
        nano_usd=totals[Measure.COST].get("nano_usd", None if requests else 0),
        tokens=sum(totals[Measure.TOKENS].values()),
        running=figures.running(),
    )
    yield from _charts(Window(figures.range, figures.now), series)
    yield _region("tops", tops=figures.tops())
    yield _region("attention", attention=figures.attention(), now=figures.now)
    yield _region("health", lines=health.lines(services(), memory(), scope()))
    yield _region("first-steps", steps=figures.first_steps(), base_url=addresses.proxy_url())


def _charts(window: Window, series: Mapping[Measure, activity_charts.Series]) -> Iterator[TableRegion]:
    yield chart_tables.region(activity_charts.requests("requests", window, series[Measure.OUTCOME]))
    durations, first_bytes = series[Measure.DURATION], series[Measure.FIRST_BYTE]
    yield chart_tables.region(activity_charts.latency("latency", window, durations, first_bytes))
    yield chart_tables.region(activity_charts.tokens("tokens", window, series[Measure.TOKENS]))
    yield chart_tables.region(activity_charts.money("money", window, series[Measure.COST]))


def _region(id: str, **figures: object) -> Region:
    macro = get_template_attribute("dashboard_parts.html", id.replace("-", "_"))
    return Region(id, macro(**figures))
