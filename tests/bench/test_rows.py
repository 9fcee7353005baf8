"""The JSON file."""

import json

from tests.bench import rows
from tests.bench.burst import Burst
from tests.bench.rounds import Results


def measured() -> Results:
    """Two rounds of the engine and a peer, in requests and in chunks."""
    results = Results()
    for rps in (200.0, 220.0):
        results.add("small-16", "engine", Burst({"rps": rps, "p50_ms": 1.23456, "cpu_us": 10.0}))
        results.add("small-16", "portkey", Burst({"rps": 100.0, "p50_ms": 5.0}, 2, "2 answers were wrong"))
        results.add("sse-128", "engine", Burst({"chunks_per_s": 6400.0, "ttfb_p50_ms": 2.0}, notes={"also": "this"}))
        results.add("sse-128", "direct", Burst({"chunks_per_s": 12800.0}))
    return results


def test_a_row_has_the_promised_fields_whatever_was_measured() -> None:
    made = rows.rows(measured())

    promised = {"scenario", "subject", "rps", "p50_ms", "p99_ms", "ttfb_p50_ms", "chunks_per_s", "rss_mb", "errors"}
    assert all(promised <= row.keys() for row in made)
    assert [(row["scenario"], row["subject"]) for row in made] == [
        ("small-16", "engine"), ("small-16", "portkey"), ("sse-128", "engine"), ("sse-128", "direct"),
    ]  # fmt: skip
    json.dumps(made)


def test_figures_are_medians_with_their_spread_and_four_digits() -> None:
    row = rows.rows(measured())[0]

    assert (row["rps"], row["p50_ms"], row["p99_ms"], row["cpu_us"]) == (210, 1.235, None, 10)
    assert row["spread"]["rps"] == [200, 220]
    assert row["rounds"] == 2


def test_errors_are_added_up_and_a_complaint_marks_the_row() -> None:
    _, peer, streams, _ = rows.rows(measured())

    assert peer["errors"] == 4
    assert peer["complaints"] == ["2 answers were wrong"]
    assert (streams["complaints"], streams["notes"]) == ([], {"also": "this"})


def test_ratios_of_processor_time_are_turned_round_so_that_more_is_better_for_us() -> None:
    results = measured()
    results.add("tls-kept", "engine", Burst({"cpu_us": 200.0}))
    results.add("tls-kept", "portkey", Burst({"cpu_us": 300.0}))

    assert rows.cpu_ratios(results) == {"tls-kept/portkey": 1.5}


def test_ratios_are_ours_divided_by_each_peers_where_both_prove_something() -> None:
    assert rows.ratios(measured()) == {"sse-128/direct": 0.5}
