"""Tables that charts are drawn of by scripts (js/charts.mjs), and that are shown where there are none."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import get_template_attribute

from manager.activity import Range
from manager.ui.regions import TableRegion

# Series are told apart by so many colours, dashes and hatches.
TONES = 8


@dataclass(frozen=True)
class Window:
    """The time that a chart shows, and when it was asked for."""

    range: Range
    now: datetime

    @property
    def step(self) -> timedelta:
        """How long a row's time is."""
        return self.range.unit.length

    def seconds(self, moment: datetime) -> float:
        """Return how many seconds of a unit are over; the last one is not over yet."""
        return max(1.0, min(self.step, self.now - moment).total_seconds())

    @property
    def data(self) -> dict[str, str]:
        """Return what the table says of it."""
        since, until = self.range.span(self.now)
        return {"since": _ms(since), "until": _ms(until), "step": f"{self.step.total_seconds():.0f}"}


@dataclass(frozen=True)
class Column:
    """A series; `tone` is its colour, and what else tells it from others."""

    name: str
    tone: int


@dataclass(frozen=True)
class Cell:
    """An amount as it is read, – if it is not known; `written` is what scripts read where that is not the number."""

    text: str = "–"
    written: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart: `kind` is area or bars, which stand on each other, or line; see js/chart_scale.mjs for the units.

    Moments that have no row are nothing, or if `has_gaps` not known.
    """

    id: str
    title: str
    kind: str
    unit: str
    window: Window
    columns: Sequence[Column]
    rows: Mapping[datetime, Sequence[Cell]]
    has_gaps: bool = False


def region(chart: Chart) -> TableRegion:
    """Return the table of a chart."""
    row = get_template_attribute("charts.html", "chart_row")
    head = get_template_attribute("charts.html", "chart_row_of_names")
    marks = {moment: f"{chart.id}-{_ms(moment)}" for moment in chart.rows}
    rows = {
        marks[moment]: row(marks[moment], moment, chart.window.step >= timedelta(days=1), cells)
        for moment, cells in chart.rows.items()
    }
    kind = {"chart": chart.kind, "unit": chart.unit, "missing": "gap" if chart.has_gaps else "zero"}
    return TableRegion(chart.id, rows, head(chart.columns), {**kind, **chart.window.data})


def columns(names: Iterable[str]) -> list[Column]:
    """Return columns, each with a tone of its own as long as there are any."""
    return [Column(name, number % TONES) for number, name in enumerate(names)]


def _ms(moment: datetime) -> str:
    return f"{moment.timestamp() * 1000:.0f}"
