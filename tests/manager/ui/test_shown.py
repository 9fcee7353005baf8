"""Rules of showing values: numbers, money, moments and sizes as people read them, and links to the same list."""

from datetime import datetime, timedelta, timezone

import pytest
from bs4 import BeautifulSoup
from flask import Flask, render_template_string

from manager.pages import Page
from manager.ui import shown
from tests.manager.conftest import one_database
from tests.manager.ui.conftest import Browse

pytestmark = [one_database, pytest.mark.usefixtures("database_url")]
MACROS = '{% from "macros.html" import badge, confirm, copy, empty, money, number, pager, sort_header, time %}'
MOMENT = datetime(2026, 5, 4, 12, 20, 30, tzinfo=timezone(timedelta(hours=2)))


def rendered(app: Flask, text: str, path: str = "/ui/sessions", **values: object) -> BeautifulSoup:
    with app.test_request_context(path):
        return BeautifulSoup(render_template_string(MACROS + text, **values), "html.parser")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0, 0, "0"), (1234567, 0, "1,234,567"), (-1.25, 1, "-1.2"), (None, 0, "–"), (12.345, 2, "12.35")],
)
def test_numbers(value: float | None, digits: int, text: str) -> None:
    assert shown.number(value, digits) == text


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (None, "–"),
        (0, "$0.00"),
        (1, "$0.000000001"),
        (12_345_000, "$0.012345"),
        (500_000_000, "$0.50"),
        (1_000_000_000, "$1.00"),
        (1_234_567_890_000, "$1,234.57"),
    ],
)
def test_money(nano: int | None, text: str) -> None:
    assert shown.usd(nano) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "–"), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_000_000, "2.0 MB"), (3e15, "3,000.0 TB")],
)
def test_sizes(size: float | None, text: str) -> None:
    assert shown.bytesize(size) == text


def test_moments_are_in_utc_for_programs_and_people(app: Flask) -> None:
    [found] = rendered(app, "{{ time(moment) }}", moment=MOMENT).select("time")

    assert (found["datetime"], found["title"]) == ("2026-05-04T10:20:30Z", "2026-05-04 10:20:30 UTC")
    assert found.get_text() == "2026-05-04 10:20:30 UTC" and found["data-time"] == ""
    assert rendered(app, "{{ time(none) }}").get_text() == "–"


@pytest.mark.parametrize(
    ("state", "kind"),
    [("active", "good"), ("set_aside", "warn"), ("failed", "bad"), ("expired", "quiet"), ("x", "plain")],
)
def test_states_are_words_with_a_colour(app: Flask, state: str, kind: str) -> None:
    [found] = rendered(app, "{{ badge(state) }}", state=state).select(f".state-{kind}")

    assert found.get_text() == state.replace("_", " ")


def links(page: BeautifulSoup) -> dict[str, str]:
    return {link.get_text(strip=True): str(link["href"]) for link in page.select("a")}


@pytest.mark.parametrize(
    ("path", "cursor", "expected"),
    [
        ("/ui/sessions", None, {}),
        ("/ui/sessions?a=1", "x", {"Next page": "/ui/sessions?a=1&cursor=x"}),
        (
            "/ui/sessions?a=1&a=2&cursor=w",
            "x",
            {"First page": "/ui/sessions?a=1&a=2", "Next page": "/ui/sessions?a=1&a=2&cursor=x"},
        ),
        ("/ui/sessions?cursor=w", None, {"First page": "/ui/sessions"}),
    ],
)
def test_pages_lead_on_and_keep_the_filters(
    app: Flask, path: str, cursor: str | None, expected: dict[str, str]
) -> None:
    assert links(rendered(app, "{{ pager(page) }}", path, page=Page([], cursor))) == expected


@pytest.mark.parametrize(
    ("current", "order", "href"),
    [
        ("name", "ascending", "/ui/sessions?q=a&sort=-name"),
        ("-name", "descending", "/ui/sessions?q=a&sort=name"),
        ("-created_at", None, "/ui/sessions?q=a&sort=name"),
    ],
)
def test_headers_sort_to_and_fro(app: Flask, current: str, order: str | None, href: str) -> None:
    page = rendered(app, '{{ sort_header("Name", "name", current) }}', "/ui/sessions?q=a&cursor=x", current=current)

    [header] = page.select("th")
    assert header.get("aria-sort") == order and header.select("a")[0]["href"] == href


def test_what_is_destroyed_is_asked_about(app: Flask) -> None:
    call = 'confirm("/ui/x", "Delete?", "Delete", "/ui/back", typed=name, error="Another name.")'
    page = rendered(app, f"{{% call {call} %}}All!{{% endcall %}}", name='team "a"')

    assert page.select("form")[0]["action"] == "/ui/x" and "All!" in page.get_text()
    [typed] = page.select("input[name=typed]")
    assert (typed["data-typed"], typed["aria-describedby"]) == ('team "a"', "typed-error")
    assert page.select("#typed-error")[0].get_text() == "Another name." and links(page) == {"Cancel": "/ui/back"}


def test_lists_without_entries_say_what_to_do(app: Flask) -> None:
    page = rendered(app, '{{ empty("No projects yet", "Make one.", "/ui/x", "New project") }}')

    assert links(page) == {"New project": "/ui/x"} and "Make one." in page.get_text()


def test_numbers_and_money_in_pages(app: Flask) -> None:
    assert rendered(app, "{{ number(1234) }} {{ money(1500000000) }} {{ copy('x\"y') }}").get_text(" ").split() == [
        "1,234",
        "$1.50",
        "Copy",
    ]


@pytest.mark.parametrize(
    "query",
    ["endpoint=x", "_anchor=x", "_method=POST", "_external=1", "_external=1&_scheme=ftp", "values=1&self=2"],
)
@pytest.mark.parametrize("path", ["/ui/dashboard", "/ui/live", "/ui/tokens", "/ui/requests", "/ui/tokens/revoke"])
def test_names_that_frameworks_use_are_parameters_like_any_others(browse: Browse, path: str, query: str) -> None:
    page = browse().open("GET", f"{path}?project=p1&{query}")

    assert page.status < 500
    assert all(str(link["href"]).startswith(("/", "#")) for link in page.all("main a[href]"))


@pytest.mark.parametrize("query", ["_external=1", "_external=1&_scheme=ftp", "endpoint=x", "_anchor=x"])
def test_redirects_stay_here_whatever_is_asked(browse: Browse, query: str) -> None:
    assert browse().open("GET", f"/ui/tokens/revoke?{query}&state=asleep").goes_to == "/ui/tokens?state=asleep"


def test_each_filter_has_one_meaning(app: Flask) -> None:
    bare = Flask("bare")
    before = set(bare.jinja_env.filters)
    shown.teach(bare)

    taught = {name: each for name, each in bare.jinja_env.filters.items() if name not in before}
    assert taught and taught == {name: app.jinja_env.filters[name] for name in taught}
