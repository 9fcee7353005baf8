"""Rules of charts in a browser: they show what their table says, whatever that is, to eyes, keys and ears."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

STATIC = Path(__file__).parents[3] / "manager" / "ui" / "static"
BEGIN = 1_764_525_600_000  # 30 November 2025, 18:00 UTC
TYPES = {".css": "text/css", ".mjs": "text/javascript"}
MINUTE, HOUR, DAY = 60, 3600, 86_400

type Rows = dict[int, Sequence[float | None]]
type Show = Callable[..., Page]


def table(series: Sequence[str], rows: Rows, kind: str, unit: str, count: int, step: int, missing: str) -> str:
    """A chart as its page has it."""
    heads = "".join(f'<th data-tone="{tone}">{name}</th>' for tone, name in enumerate(series))
    body = "".join(_row(BEGIN + number * step * 1000, values) for number, values in rows.items())
    until = BEGIN + count * step * 1000
    data = f'data-chart="{kind}" data-unit="{unit}" data-missing="{missing}" data-step="{step}"'
    return (
        '<!doctype html><html lang="en" class="js"><meta charset="utf-8"><title>chart</title>'
        '<link rel="stylesheet" href="/css/charts.css"><script type="module" src="/page.mjs"></script>'
        '<main><figure class="chart"><div class="chart-head"><h2>Load</h2></div><div class="chart-table">'
        f'<table id="load" {data} data-since="{BEGIN}" data-until="{until}"><caption>Load</caption>'
        f"<thead><tr><th>Time</th>{heads}</tr></thead><tbody>{body}</tbody></table></div></figure></main>"
    )


def _row(at: int, values: Sequence[float | None]) -> str:
    cells = "".join("<td>–</td>" if value is None else f"<td>{value:.12g}</td>" for value in values)
    return f'<tr id="load-{at}"><th>a moment</th>{cells}</tr>'


@pytest.fixture
def show(browser: Browser) -> Iterator[Show]:
    """Shows a chart of series and rows in a window of some width, for a viewer in Zurich."""
    contexts = []
    faults: list[str] = []

    def show(
        series: Sequence[str],
        rows: Rows,
        *,
        kind: str = "area",
        unit: str = "requests/s",
        count: int = 60,
        step: int = MINUTE,
        missing: str = "zero",
        width: int = 800,
        zone: str = "Europe/Zurich",
    ) -> Page:
        html = table(series, rows, kind, unit, count, step, missing)

        def serve(route: Route) -> None:
            name = route.request.url.removeprefix("http://charts.test/")
            if name == "":
                route.fulfill(body=html, content_type="text/html; charset=utf-8")
            elif name == "page.mjs":
                body = 'import { charts } from "/js/charts.mjs"; charts(document);'
                route.fulfill(body=body, content_type="text/javascript")
            else:
                path = STATIC / name
                route.fulfill(path=path, content_type=TYPES[path.suffix])

        context = browser.new_context(viewport={"width": width, "height": 600}, locale="en-GB", timezone_id=zone)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.route("http://charts.test/**", serve)
        page.goto("http://charts.test/")
        page.locator("svg[role=img]").wait_for()
        return page

    yield show
    for context in contexts:
        context.close()
    assert faults == []


def marks(page: Page) -> list[str]:
    """What is written at the axis of amounts, from below."""
    return page.locator("svg[role=img] text[text-anchor=end]").all_text_contents()


def times(page: Page) -> list[str]:
    """What is written at the axis of time."""
    return page.locator("svg[role=img] text[text-anchor=middle]").all_text_contents()


def said(page: Page) -> str:
    return page.locator("[aria-live]").text_content() or ""


@pytest.mark.parametrize(
    ("unit", "most", "written"),
    [
        ("requests/s", 0.07, ["0", "0.02", "0.04", "0.06", "0.08"]),
        ("requests/s", 3.7, ["0", "1", "2", "3", "4"]),
        ("tokens", 3, ["0", "1", "2", "3"]),
        ("tokens", 9_500_000, ["0", "2.5M", "5.0M", "7.5M", "10.0M"]),
        ("tokens", 3e15, ["0", "1000T", "2000T", "3000T"]),
        ("ms", 180, ["0", "50", "100", "150", "200"]),
        ("ms", 9000, ["0", "2.5", "5.0", "7.5", "10.0"]),
        ("usd", 0.0000004, ["$0", "$0.0000001", "$0.0000002", "$0.0000003", "$0.0000004"]),
        ("usd", 12.5, ["$0", "$5", "$10", "$15"]),
        ("usd", 1e-12, ["$0", "$2.5e-13", "$5.0e-13", "$7.5e-13", "$1.0e-12"]),
        ("requests/s", 0, ["0", "1"]),
    ],
)
def test_amounts_are_written_so_that_people_can_read_them(
    show: Show, unit: str, most: float, written: list[str]
) -> None:
    assert marks(show(["a"], {3: [most], 4: [most / 3]}, unit=unit)) == written


@pytest.mark.parametrize(
    ("count", "step", "width", "written"),
    [
        (60, MINUTE, 800, ["19:00", "19:10", "19:20", "19:30", "19:40", "19:50"]),
        (60, MINUTE, 320, ["19:00", "19:15", "19:30", "19:45"]),
        (24, HOUR, 800, ["21:00", "1 Dec", "03:00", "06:00", "09:00", "12:00", "15:00", "18:00"]),
        (168, HOUR, 800, [f"{day} Dec" for day in range(1, 8)]),
        (30, DAY, 800, ["1 Dec", "8 Dec", "15 Dec", "22 Dec", "29 Dec"]),
    ],
    ids=["hour", "narrow", "day", "week", "month"],
)
def test_times_are_those_of_the_viewer(show: Show, count: int, step: int, width: int, written: list[str]) -> None:
    found = times(show(["a"], {1: [1]}, count=count, step=step, width=width))

    assert found == written or found == written[1:]


def test_days_are_those_of_utc_wherever_the_viewer_is(show: Show) -> None:
    page = show(["a"], {0: [1]}, kind="bars", count=3, step=DAY, zone="America/Los_Angeles")
    page.locator(".chart-keys").focus()
    page.keyboard.press("Home")

    assert said(page).startswith("30 Nov, a: 1")


def test_the_arrow_keys_read_it_out(show: Show) -> None:
    page = show(["ok", "failed"], {0: [1, 0], 58: [2, 0.5], 59: [3, 0.25]})
    keys = page.locator(".chart-keys")

    keys.focus()
    heard = []
    for key in ("ArrowRight", "ArrowLeft", "Home", "ArrowLeft", "PageDown", "End"):
        keys.press(key)
        heard.append(said(page))

    assert heard == [
        "30 Nov, 19:59, ok: 3, failed: 0.25",
        "30 Nov, 19:58, ok: 2, failed: 0.5",
        "30 Nov, 19:00, ok: 1, failed: 0",
        "30 Nov, 19:00, ok: 1, failed: 0",
        "30 Nov, 19:10, ok: 0, failed: 0",
        "30 Nov, 19:59, ok: 3, failed: 0.25",
    ]
    expect(page.locator(".chart-tip")).to_be_visible()
    keys.press("Escape")
    expect(page.locator(".chart-tip")).to_be_hidden()


def test_the_pointer_shows_the_amounts_of_its_moment(show: Show) -> None:
    page = show(["ok", "failed"], {number: [number, 1] for number in range(60)})
    box: Any = page.locator(".chart-keys").bounding_box()

    for place in (0.02, 0.5, 0.99):
        page.mouse.move(box["x"] + place * box["width"], box["y"] + 60)
        tip: Any = page.locator(".chart-tip").bounding_box()
        assert box["x"] <= tip["x"] and tip["x"] + tip["width"] <= box["x"] + box["width"] + 1
    assert page.locator(".chart-tip-head").text_content() == "30 Nov, 19:59"
    assert page.locator(".chart-tip-line").all_text_contents() == ["failed1", "ok59"]

    page.mouse.move(box["x"] + 10, box["y"] + box["height"] + 50)
    expect(page.locator(".chart-tip")).to_be_hidden()


def test_who_does_not_see_it_is_told_what_it_shows(show: Show) -> None:
    page = show(["ok", "failed"], {0: [1, 0], 10: [7, 0]})
    drawn = page.locator("svg[role=img]")

    assert drawn.get_attribute("aria-label") == "Load"
    assert drawn.locator("desc").text_content() == (
        "From 30 Nov, 19:00 to 30 Nov, 20:00. ok: at most 7 (30 Nov, 19:10). failed: nothing."
    )


def test_the_table_takes_the_place_of_the_chart_at_a_click(show: Show) -> None:
    page = show(["ok"], {0: [1]})
    button = page.get_by_role("button", name="Table of Load")
    expect(page.locator("table")).to_be_hidden()

    button.click()
    expect(page.locator("table")).to_be_visible()
    expect(page.locator("svg[role=img]")).to_be_hidden()
    expect(button).to_have_attribute("aria-pressed", "true")

    button.click()
    expect(page.locator("svg[role=img]")).to_be_visible()


def test_what_is_not_known_is_a_gap_and_what_stands_alone_is_a_point(show: Show) -> None:
    rows: Rows = {0: [1], 1: [2], 2: [None], 5: [3], 9: [1], 10: [1]}
    page = show(["p50"], rows, kind="line", unit="ms", missing="gap")

    assert (page.locator("svg[role=img] .chart-line").first.get_attribute("d") or "").count("M") == 3
    assert page.locator("svg[role=img] .chart-marker").count() == 1
    page.locator(".chart-keys").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert said(page).endswith("p50: –")


@pytest.mark.parametrize("kind", ["area", "bars", "line"])
@pytest.mark.parametrize("rows", [{}, {0: [0]}, {0: [5]}, {59: [1e300]}], ids=["none", "zero", "one", "huge"])
@pytest.mark.parametrize("count", [1, 60])
def test_whatever_there_is_can_be_drawn(show: Show, kind: str, rows: Rows, count: int) -> None:
    page = show(["a"], rows, kind=kind, count=count)

    assert "NaN" not in page.locator("svg[role=img]").inner_html()
    assert marks(page)[0] == "0"


def test_series_are_told_apart_by_more_than_their_colour(show: Show) -> None:
    names = [f"series {number}" for number in range(8)]
    lines = show(names, {0: [1] * 8, 1: [2] * 8}, kind="line", unit="ms")
    piles = show(names, {0: [1] * 8, 1: [2] * 8})

    dashes = [each.get_attribute("stroke-dasharray") for each in lines.locator("svg[role=img] .chart-line").all()]
    hatches = [each.get_attribute("d") for each in piles.locator("pattern path").all()]
    assert len(set(dashes)) == len(set(hatches)) == 8
    assert lines.locator(".chart-legend button").all_text_contents() == names


def test_a_series_that_is_nothing_draws_no_line_on_top_of_another(show: Show) -> None:
    page = show(["ok", "failed"], {number: [5, 1 if number == 30 else 0] for number in range(60)})

    ok, failed = (each.get_attribute("d") or "" for each in page.locator("svg[role=img] .chart-pile").all())

    assert (ok.count("L"), failed.count("L")) == (119, 5)


def test_a_series_can_be_hidden(show: Show) -> None:
    page = show(["ok", "failed"], {0: [100, 1], 1: [100, 2]})
    button = page.get_by_role("button", name="ok")

    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
    assert marks(page)[-1] == "2.0"

    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    assert marks(page)[-1] == "150"


def test_what_changes_in_the_table_is_drawn_and_the_cursor_stays(show: Show) -> None:
    page = show(["ok"], {0: [1]})
    page.locator(".chart-keys").focus()
    page.keyboard.press("Home")

    page.evaluate("document.querySelector('#load td').textContent = '80'")

    expect(page.locator("svg[role=img] text[text-anchor=end]").last).to_have_text("80")
    expect(page.locator(".chart-tip-line")).to_have_text("ok80")


@pytest.mark.parametrize("width", [320, 480, 1600])
def test_it_fits_into_its_window_also_when_that_changes(show: Show, width: int) -> None:
    page = show([f"a series of a long name {number}" for number in range(6)], {0: [1] * 6}, width=900)

    page.set_viewport_size({"width": width, "height": 600})

    page.wait_for_function("document.querySelector('svg[role=img]').clientWidth <= innerWidth")
    page.wait_for_function(
        "document.querySelector('svg[role=img]').clientWidth === document.querySelector('.chart-plot').clientWidth"
    )
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
