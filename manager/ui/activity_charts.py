"""What went on as charts: requests by how they ended, tokens, money, and how long it took; see manager/activity.py."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from manager import histogram
from manager.money import UNIT
from manager.ui.chart_tables import TONES, Cell, Chart, Column, Window, columns
from manager.ui.shown import duration_short, number, significant

OK, OTHERS = "ok", "others"
# What ended so was wanted so: by the client, or by an operator.
_WANTED = (OK, "client_aborted", "cut", "request_cut", "request_refused")
_PERCENTS = (50, 95, 99)

# Amounts by bucket of each moment, see manager/activity.py.
type Series = Mapping[datetime, Mapping[str, int]]


def requests(id: str, window: Window, found: Series) -> Chart:
    """Return requests per second by how they ended; those that are rarest together if there are too many."""
    kinds = _kinds(histogram.merged(found.values()))
    rows = {
        moment: [_rate(amount, window.seconds(moment)) for amount in _amounts(kinds, counts)]
        for moment, counts in found.items()
    }
    named = [Column(name.replace("_", " "), tone) for name, tone in kinds.items()]
    return Chart(id, "Requests per second", "area", "requests/s", window, named, rows)


def tokens(id: str, window: Window, found: Series) -> Chart:
    """Return tokens by whether they were asked or answered."""
    names = ("prompt", "completion")
    rows = {moment: [Cell(number(counts.get(name, 0))) for name in names] for moment, counts in found.items()}
    return Chart(id, "Tokens", "bars", "tokens", window, columns(names), rows)


def money(id: str, window: Window, found: Series) -> Chart:
    """Return what it cost, as far as that is known."""
    rows = {moment: [_money(counts.get("nano_usd"))] for moment, counts in found.items()}
    return Chart(id, "Cost", "bars", "usd", window, columns(["cost"]), rows)


def _money(nano_usd: int | None) -> Cell:
    return Cell() if nano_usd is None else Cell(f"${significant(nano_usd / UNIT)}")


def latency(id: str, window: Window, durations: Series, first_bytes: Series) -> Chart:
    """Return percentiles of how long it took, and of the time until the first byte."""
    of_all = {at: histogram.percentiles(counts, _PERCENTS) for at, counts in durations.items()}
    of_first = {at: histogram.percentiles(counts, _PERCENTS) for at, counts in first_bytes.items()}
    rows = {
        moment: [
            *_times(of_all.get(moment, {}), _PERCENTS),
            *_times(of_first.get(moment, {}), _PERCENTS),
        ]
        for moment in sorted({*of_all, *of_first})
    }
    names = [f"p{percent}" for percent in _PERCENTS]
    names += [f"first byte p{percent}" for percent in _PERCENTS]
    return Chart(id, "Latency", "line", "ms", window, columns(names), rows, has_gaps=True)


def _kinds(totals: Mapping[str, int]) -> dict[str, int]:
    """Return the ends that have a series, with its tone: what went well, what is most frequent, and all others."""
    ends = sorted((name for name in totals if name != OK), key=lambda name: (-totals[name], name))
    if len(ends) >= TONES:
        ends = [*sorted(ends[: TONES - 2]), OTHERS]
    else:
        ends.sort()
    return {name: tone for tone, name in enumerate([OK, *ends])}


def _amounts(kinds: Mapping[str, int], counts: Mapping[str, int]) -> list[int]:
    rest = sum(amount for name, amount in counts.items() if name not in kinds)
    return [rest if name == OTHERS else counts.get(name, 0) for name in kinds]


def _rate(amount: int, seconds: float) -> Cell:
    return Cell(significant(amount / seconds))


def _times(found: Mapping[int, float], percents: Sequence[int]) -> list[Cell]:
    return [Cell(duration_short(found[each]), f"{found[each]:.4g}") if each in found else Cell() for each in percents]


def ended_badly(totals: Mapping[str, int]) -> int:
    """Return how many requests failed: those that their clients left, or operators cut or refused, have not."""
    return sum(amount for name, amount in totals.items() if name not in _WANTED)
