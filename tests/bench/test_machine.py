"""Which core does what, and what processes use."""

import os

from tests.bench import machine, processes


def test_the_worker_has_a_core_of_its_own_where_there_are_two() -> None:
    cores = machine.split(frozenset({3, 1, 7}))

    assert (sorted(cores.worker), sorted(cores.rest)) == ([1], [3])
    assert cores.worker_command(("engine",)) == ("taskset", "--cpu-list", "1", "engine")
    assert "worker on core 1" in str(cores)


def test_a_single_core_is_shared_and_that_is_said() -> None:
    cores = machine.split(frozenset({0}))

    assert cores.worker == cores.rest == {0}
    assert "disturb each other" in str(cores)


def test_facts_hold_what_a_reader_has_to_know() -> None:
    assert {"processor", "cores", "memory_mb", "python", "mitmproxy"} <= machine.facts().keys()


def test_memory_and_time_of_a_process_are_told() -> None:
    own = os.getpid()

    assert 10 < processes.rss_mb([own]) < 10_000
    assert processes.rss_mb([own, own]) > processes.rss_mb([own])
    assert processes.time_of([own]).used > 0
    assert processes.time_of([own]).waited >= 0
    assert (processes.rss_mb([]), processes.time_of([])) == (0, processes.Time(0, 0))
