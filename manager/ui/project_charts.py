"""Charts of a project: requests and cost of each day of this month."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from manager.activity import Range
from manager.project_figures import Use, month_of
from manager.ui.chart_tables import Cell, Chart, Window, columns, region
from manager.ui.regions import TableRegion
from manager.ui.shown import number, usd


@dataclass(frozen=True)
class _Month(Window):
    """The month that a moment lies in, day by day."""

    @property
    def data(self) -> dict[str, str]:
        """Return what the table says of it."""
        since = month_of(self.now)
        until = month_of(since + timedelta(days=31))
        said = {"since": f"{since.timestamp() * 1000:.0f}", "until": f"{until.timestamp() * 1000:.0f}"}
        return said | {"step": f"{self.step.total_seconds():.0f}"}


def of_days(now: datetime, days: Mapping[datetime, Use]) -> Sequence[tuple[str, TableRegion]]:
    """Return titles and tables of what project_figures.days tells; nothing if there is nothing."""
    if not days:
        return ()
    window = _Month(Range.MONTH, now)
    requests = {day: [Cell(number(use.requests))] for day, use in days.items()}
    costs = {day: [Cell(usd(use.cost))] for day, use in days.items()}
    charts = (
        Chart("requests-by-day", "Requests by day", "bars", "requests", window, columns(["requests"]), requests),
        Chart("cost-by-day", "Cost by day", "bars", "usd", window, columns(["cost"]), costs),
    )
    return [(chart.title, region(chart)) for chart in charts]
