"""Tables for terminals and documents."""

import pytest

from tests.bench import report, rows
from tests.bench.burst import Burst
from tests.bench.rounds import Results


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (0.01234, "0.012"), (1.2345, "1.23"), (99.94, "99.9"), (2838.4, "2,838"), (-1.85, "-1.85")],
)
def test_numbers_have_as_many_digits_as_count(value: float | None, text: str) -> None:
    assert report.number(value) == text


def test_ratios_stand_by_scenario_and_peer_with_gaps_where_there_are_none() -> None:
    table = report.ratio_table({"small-1/direct": 0.01, "small-1/portkey": 1.5, "sse-128/portkey": 2.0})

    assert [list(line) for line in table] == [
        ["engine / …", "direct", "portkey"],
        ["small-1", "0.01 ×", "1.5 ×"],
        ["sse-128", "–", "2 ×"],
    ]


def test_a_table_of_figures_has_the_columns_that_were_measured_and_marks_what_is_invalid() -> None:
    results = Results()
    results.add("small-1", "engine", Burst({"rps": 1000.0, "own_figure": 7.0}))
    results.add("small-1", "direct", Burst({"rps": 2000.0}, 3, "3 answers were wrong"))

    head, ours, other = report.figure_table(rows.rows(results))

    assert list(head) == ["scenario", "subject", "requests/s", "own_figure", "errors"]
    assert list(ours) == ["small-1", "engine", "1,000 (1,000–1,000)", "7", "0"]
    assert list(other) == ["small-1", "direct", "2,000 (2,000–2,000)", "–", "3 INVALID"]


def test_text_is_aligned_and_markdown_has_a_rule() -> None:
    table = [["a", "bb"], ["ccc", "1"]]

    assert report.as_text(table) == "a    bb\nccc   1"
    assert report.as_markdown(table) == "| a | bb |\n| --- | ---: |\n| ccc | 1 |"


def test_a_report_begins_with_ratios_and_says_what_is_wrong() -> None:
    results = Results()
    results.add("small-1", "engine", Burst({"rps": 10.0}))
    results.add("small-1", "direct", Burst({"rps": 20.0}, 1, "nothing was answered"))
    results.add("small-1", "portkey", Burst({"rps": 10.0, "wait_share": 0.25, "cpu_us": 9.0}))
    content = {"rows": rows.rows(results), "ratios": rows.ratios(results), "cpu_ratios": {}, "targets": []}

    text = report.whole(content, {"small-1": "Small"})

    assert text.startswith("engine / …")
    assert "! small-1 direct: nothing was answered" in text
    assert "~ small-1 portkey: waited 25% of the time for its core" in text
