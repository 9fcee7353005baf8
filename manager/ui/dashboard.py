"""The dashboard: what goes on, what it costs, how long it takes, and what needs somebody."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from flask import Flask, current_app, get_template_attribute, render_template, request
from flask.typing import ResponseReturnValue
from markupsafe import Markup
from sqlalchemy.orm import Session

from manager import db
from manager.activity import Measure, Range
from manager.current import now, scope, services
from manager.histogram import merged
from manager.principals import Scope
from manager.tables import Project
from manager.ui import activity_charts, chart_tables, health
from manager.ui.blueprint import blueprint
from manager.ui.chart_tables import Window
from manager.ui.figures import Figures
from manager.ui.memory import Memory
from manager.ui.regions import Region, TableRegion

RANGES = {Range.HOUR: "Hour", Range.DAY: "Day", Range.WEEK: "Week", Range.MONTH: "Month"}
# Names that are proposed where a project is asked for.
_PROPOSED = 100
_MEMORY = "llm_proxy_ui_memory"


@dataclass(frozen=True)
class Look:
    """What somebody looks at: a range, of a project or of all. `wanted` is what was asked for, found or not."""

    range: Range
    wanted: str
    project: tuple[UUID, str] | None

    @property
    def scope(self) -> Scope:
        """Return the projects whose figures are shown; none, if the one that is wanted is not there."""
        if self.project is not None:
            return scope().narrowed(self.project[0])
        return Scope(frozenset()) if self.wanted else scope()


def teach(app: Flask) -> None:
    """Let the app keep what many look at."""
    app.extensions[_MEMORY] = Memory()


def memory() -> Memory:
    """Return what is kept of what many look at."""
    found: Memory = current_app.extensions[_MEMORY]
    return found


@blueprint.get("/dashboard")
def dashboard() -> ResponseReturnValue:
    """Show it all."""
    look = looked_at(request.args)
    shown = {region.id: region for region in regions(look)}
    proposed = memory().get(("names", scope()), 10.0, lambda: _read(_proposed))
    return render_template("dashboard.html", look=look, ranges=RANGES, regions=shown, proposed=proposed)


def follow(args: Mapping[str, str]) -> Callable[[], Iterable[Region | TableRegion]]:
    """Return what gives the parts of the page, as parameters of its address ask for it."""
    look = looked_at(args)
    return lambda: regions(look)


def looked_at(args: Mapping[str, str]) -> Look:
    """Return what parameters of an address ask for."""
    found = args.get("range", "")
    wanted = args.get("project", "").strip()
    range = Range(found) if found in list(Range) else Range.HOUR
    return Look(range, wanted, _read(lambda session: _project(session, wanted)) if wanted else None)


def regions(look: Look) -> Iterator[Region | TableRegion]:
    """Return the parts of the page that change."""
    figures = Figures(services(), memory(), look.scope, look.range, now())
    outcomes, costs = figures.series(Measure.OUTCOME), figures.series(Measure.COST)
    totals = merged(outcomes.values())
    yield _region(
        "numbers",
        requests=sum(totals.values()),
        failed=activity_charts.ended_badly(totals),
        nano_usd=merged(costs.values()).get("nano_usd", 0),
        tokens=sum(merged(figures.series(Measure.TOKENS).values()).values()),
        running=figures.running(),
    )
    yield from _charts(figures)
    yield _region("tops", tops=figures.tops())
    yield _region("attention", attention=figures.attention(), now=figures.now)
    yield _region("health", lines=health.lines(services(), memory(), scope()))
    yield _region("first-steps", steps=figures.first_steps(), proxy_port=services().settings.proxy_port)


def _charts(figures: Figures) -> Iterator[TableRegion]:
    window = Window(figures.range, figures.now)
    yield chart_tables.region(activity_charts.requests("requests", window, figures.series(Measure.OUTCOME)))
    durations, first_bytes = figures.series(Measure.DURATION), figures.series(Measure.FIRST_BYTE)
    yield chart_tables.region(activity_charts.latency("latency", window, durations, first_bytes))
    yield chart_tables.region(activity_charts.tokens("tokens", window, figures.series(Measure.TOKENS)))
    yield chart_tables.region(activity_charts.money("money", window, figures.series(Measure.COST)))


def _region(id: str, **figures: object) -> Region:
    macro = get_template_attribute("dashboard_parts.html", id.replace("-", "_"))
    return Region(id, Markup(macro(**figures)))


def _project(session: Session, wanted: str) -> tuple[UUID, str] | None:
    """Find a project in scope by its id or its name."""
    try:
        condition = Project.id == UUID(wanted)
    except ValueError:
        condition = Project.name == wanted
    if "\0" in wanted:  # PostgreSQL takes no text with a NUL in it.
        return None
    found = session.execute(sa.select(Project.id, Project.name).where(condition)).first()
    return (found.id, found.name) if found and scope().includes(found.id) else None


def _proposed(session: Session) -> list[str]:
    query = sa.select(Project.name).where(Project.deleted_at.is_(None)).order_by(Project.name).limit(_PROPOSED)
    if (ids := scope().project_ids) is not None:
        query = query.where(Project.id.in_(ids))
    return list(session.scalars(query))


def _read[Found](read: Callable[[Session], Found]) -> Found:
    with db.reading(services().sessions) as session:
        return read(session)
