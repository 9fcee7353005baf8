"""Rules of the page: whole by itself, without a script, and nothing in it that somebody has slipped in."""

import re

import pytest
from bs4 import BeautifulSoup

from manager.benchmark import plots, report_html
from manager.benchmark.plan import Target
from manager.benchmark.tally import Tally
from tests.manager.benchmark.runs import run, tally

EVIL = "<script>alert('x')</script>"


def test_nothing_comes_from_elsewhere_and_nothing_runs() -> None:
    page = report_html.text(run(tally(), tally(ms=30)))

    soup = BeautifulSoup(page, "html.parser")
    assert not soup.find_all(["script", "link", "img", "iframe", "object", "embed", "base", "form"])
    assert not soup.find_all(lambda tag: {"src", "href", "xlink:href"} & set(tag.attrs))
    assert not [name for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")]
    assert "url(" not in page and "@import" not in page
    policy = soup.find("meta", attrs={"http-equiv": "Content-Security-Policy"})
    assert policy and policy["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_there_are_three_plots_for_each_step_with_a_line_for_each_target() -> None:
    soup = BeautifulSoup(report_html.text(run(tally(), tally(ms=30))), "html.parser")

    drawn = soup.find_all("svg")
    assert [each["aria-label"].split(":")[0] for each in drawn] == [
        "Latency by percentile",
        "Latency over time",
        "Throughput over time",
    ]
    assert [len(each.find_all("polyline")) for each in drawn] == [2, 4, 2]
    assert [item.text for item in soup.select(".legend li")] == ["a", "b"]


def test_points_stay_within_the_plot() -> None:
    page = report_html.text(run(tally(), tally(ms=3000)))

    points = [float(each) for found in re.findall(r'points="([^"]+)"', page) for each in re.split("[ ,]", found)]
    assert points and all(0 <= each <= 420 for each in points)


def test_tables_hold_the_figures() -> None:
    text = BeautifulSoup(report_html.text(run(tally(), tally(ms=30, errors=7))), "html.parser").get_text(" ")

    assert "7 (0.23" in text and "Overhead over a, ms" in text and "status 503: 7" in text


def test_names_are_escaped() -> None:
    page = report_html.text(run(tally(errors=1), targets=(Target(EVIL, "http://h/" + EVIL),)))

    assert EVIL not in page and "&lt;script&gt;" in page


@pytest.mark.parametrize("seen", [Tally(), tally(1, 1)], ids=["nothing", "one answer"])
def test_a_run_that_saw_little_has_a_page_too(seen: Tally) -> None:
    assert "</html>" in report_html.text(run(seen))


@pytest.mark.parametrize("highest", [0, 0.0007, 1, 3.2, 99, 100, 250, 12_345])
def test_ticks_reach_beyond_what_is_drawn_and_are_few(highest: float) -> None:
    axis = plots.linear("ms", highest)

    assert axis.ticks[0] == (0, "0") and axis.ticks[-1][0] >= highest and 2 <= len(axis.ticks) <= 6
    assert axis.place(axis.ticks[-1][0]) == pytest.approx(1)


@pytest.mark.parametrize(("low", "high"), [(0.02, 5), (1, 10), (3, 3), (10, 10)])
def test_ticks_of_powers_hold_all_that_is_drawn(low: float, high: float) -> None:
    axis = plots.logarithmic("ms", low, high)

    assert axis.ticks[0][0] <= low and axis.ticks[-1][0] >= high and 0 <= axis.place(low) <= axis.place(high) <= 1


def test_nines_are_equally_far_apart() -> None:
    axis = plots.nines("", 3)

    assert [axis.place(share) for share, _ in axis.ticks] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_more_targets_than_colours_are_dashed() -> None:
    line = plots.Line("x", plots.COLOURS + 1, [(0, 0), (1, 1)])

    drawn = plots.plot("t", plots.linear("s", 1), plots.linear("ms", 1), [line])

    assert 'class="line c1 dashed"' in drawn
