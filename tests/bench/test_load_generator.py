"""The load generator's own bench: tables of its figures, and a server that has the latencies it tells of."""

import pytest

from tests.bench import h2load, load_generator
from tests.bench.known_server import Clock
from tests.bench.wrk import LoadError, Outcome


def test_times_are_read_from_the_log_of_h2load() -> None:
    log = (
        "\n".join(f"1700000000000000\t200\t{number * 1000}" for number in range(1, 101)) + "\n1700000000000000\t-1\t5\n"
    )

    assert h2load.parse(log, 2.0) == Outcome(50.0, 50.0, 99.0, 101, 1, 0)


def test_a_log_without_good_answers_is_an_error() -> None:
    with pytest.raises(LoadError, match="no good answer"):
        h2load.parse("1\t500\t3\n", 1.0)


def test_known_latencies_are_spread_and_the_same_each_time() -> None:
    first, second = Clock(), Clock()

    known = [first.latency_s(b"/known") for _ in range(1000)]

    assert known == [second.latency_s(b"/known") for _ in range(1000)]
    assert 0 < min(known) < 0.1 < max(known) == 0.4


def test_figures_become_tables() -> None:
    row = {"server": "busy", "load": "wrk", "connections": 16, "rps": 9765.4, "p50_ms": 0.8871, "p99_ms": 7.918}
    row |= {"rps / wrk": 1.0, "p50_ms / wrk": 1.0, "p99_ms / wrk": 1.0, "errors": 0}
    stall = {"load": "open", "requests": 1000, "p50": 5.0, "p90": 11.0, "p99": 912.3, "max": 1008.0}
    most = {"kind": "the same body", "rps": 45337.0, "chunks": 0.0, "busy": 0.44, "lag_p99_ms": 0.0, "errors": 0}
    known = {"load": "open", "point": "p50", "told": 101.4, "true": 101.1}
    found = {"others": [row], "known": [known], "stall": [stall], "most": [most]}

    said = load_generator.as_markdown({"load_generator": found})

    assert (
        "| busy | 16 | wrk | 9,765 | 0.8871 | 7.918 | 1 | 1 | 1 | 0 |" in said
        and "| open | p50 | 101.4 | 101.1 |" in said
    )
    assert said.count("| --- |") == 4
