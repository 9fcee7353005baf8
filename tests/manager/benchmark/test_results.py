"""Rules of what is told of a run: figures that add up, and a file that says all of it."""

import csv
import io
import json
from pathlib import Path

import pytest

from manager.benchmark import report_csv
from manager.benchmark.compare import SAME, compare
from manager.benchmark.results import NotRead, overhead, read
from manager.benchmark.tally import Tally
from manager.benchmark.wording import number, remarks
from tests.manager.benchmark.runs import MS, run, tally


def test_figures_are_of_what_was_seen() -> None:
    seen = Tally()
    for ms in range(1, 101):
        seen.answered(ms // 10, ms * MS)
    seen.done = 80.0
    seen.counts.update(received=4_000_000, opened=2, reused=98)
    seen.failed(0, "timeout")
    seen.statuses[200] = 100

    figures = run(seen, seconds=10).results[0].figures

    assert (figures["requests"], figures["errors"], figures["throughput"]) == (101, 1, 8.0)
    assert figures["error_rate"] == pytest.approx(100 / 101) and figures["errors_by_kind"] == {"timeout": 1}
    assert figures["received_mb_per_s"] == 0.4 and "chunks" not in figures and "proxy_share" not in figures
    assert figures["latency_ms"] == pytest.approx(
        {"min": 1, "mean": 50.5, "p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99.9": 100, "max": 100}, rel=0.004
    )


def test_the_share_of_the_proxy_is_of_both_times() -> None:
    seen = tally()
    seen.proxy.record(2 * MS)
    seen.upstream.record(6 * MS)

    figures = run(seen).results[0].figures

    assert figures["proxy_share"] == 25 and figures["proxy_ms"]["p50"] == pytest.approx(2, rel=0.004)


def test_overhead_is_over_the_first_target() -> None:
    (more,) = overhead(run(tally(ms=20), tally(ms=25, rate=80)))

    assert (more["target"], more["over"]) == ("b", "a")
    assert more["latency_ms"]["p50"] == pytest.approx(5, rel=0.25) and more["throughput_ratio"] == pytest.approx(
        0.8, rel=0.05
    )


def test_of_a_target_that_never_answered_no_overhead_is_told() -> None:
    assert list(overhead(run(tally(), Tally()))) == []


def test_a_file_holds_all_of_it(tmp_path: Path) -> None:
    made = run(tally(), tally(ms=30, errors=3))
    path = tmp_path / "run.json"
    path.write_text(json.dumps(made.as_dict()))

    assert read(path).as_dict() == json.loads(path.read_text()) == made.as_dict()
    assert compare(read(path), made).verdict == SAME


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": "llm-proxy benchmark 1"}', '{"format": "old"}'])
def test_what_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)

    with pytest.raises(NotRead, match="run.json"):
        read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotRead, match="No such file"):
        read(tmp_path / "run.json")


def test_csv_has_a_row_for_each_step_and_target_and_always_the_same_columns() -> None:
    made = run(tally(), tally(errors=2))

    rows = list(csv.DictReader(io.StringIO(report_csv.text(made))))

    assert [row["target"] for row in rows] == ["a", "b"] and tuple(rows[0]) == report_csv.COLUMNS
    assert float(rows[1]["latency_p99_ms"]) == made.results[1].figures["latency_ms"]["p99"]
    assert (rows[0]["gap_p50_ms"], json.loads(rows[1]["errors_by_kind"])) == ("", {"status 503": 2})


def test_what_has_to_be_known_is_remarked() -> None:
    said = list(remarks(run(tally(errors=2), busy=0.97, is_whole=False)))

    assert ["ended before" in said[0], "status 503: 2" in said[1], "97%" in said[2]] == [True] * 3
    assert list(remarks(run(tally()))) == []


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.01234, "0.0123"), (12.345, "12.3"), (12345.6, "12,346"), (0, "0")]
)
def test_numbers_have_three_digits_that_matter(value: float | None, text: str) -> None:
    assert number(value) == text
