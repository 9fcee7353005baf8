"""Rules of differences: what somebody was sent is not sent again."""

from collections.abc import Iterator

import pytest
from markupsafe import Markup

from manager.ui.regions import Differences, Region, TableRegion


def rows(**html: str) -> dict[str, Markup]:
    return {key: Markup(f"<tr id={key}>{text}</tr>") for key, text in html.items()}  # noqa: S704 - our own


def test_of_an_element_all_is_sent_when_it_differs() -> None:
    differences = Differences()

    first = differences.of([Region("a", Markup("<b>1</b>")), Region("b", Markup("x"))])
    second = differences.of([Region("a", Markup("<b>2</b>")), Region("b", Markup("x"))])

    assert first == [{"id": "a", "html": "<b>1</b>"}, {"id": "b", "html": "x"}]
    assert second == [{"id": "a", "html": "<b>2</b>"}]
    assert differences.of([Region("a", Markup("<b>2</b>"))]) == []


def test_of_a_table_only_rows_that_differ_are_sent() -> None:
    differences = Differences()
    head, data = Markup("<tr></tr>"), {"step": "60"}
    first = differences.of([TableRegion("t", rows(r1="1", r2="2"), head, data)])

    second = differences.of([TableRegion("t", rows(r1="1", r2="3"), head, data)])

    whole = {"id": "t", "rows": rows(r1="1", r2="2"), "data": data, "head": head, "order": ["r1", "r2"]}
    assert first == [whole]
    assert second == [{"id": "t", "rows": rows(r2="3")}]


def test_the_order_is_sent_when_rows_come_or_go() -> None:
    differences = Differences()
    differences.of([TableRegion("t", rows(r1="1", r2="2"))])

    [gone] = differences.of([TableRegion("t", rows(r2="2", r3="3"))])

    assert gone == {"id": "t", "rows": rows(r3="3"), "order": ["r2", "r3"]}


def test_a_table_without_a_head_keeps_that_of_its_page() -> None:
    [change] = Differences().of([TableRegion("t", {})])

    assert change == {"id": "t", "rows": {}, "data": {}, "order": []}


def test_what_was_not_sent_because_a_later_region_failed_is_sent_the_next_time() -> None:
    differences = Differences()

    def failing() -> Iterator[Region]:
        yield Region("a", Markup("1"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        differences.of(failing())

    assert differences.of([Region("a", Markup("1"))]) == [{"id": "a", "html": "1"}]
