"""Rules of finding: who is asked in which order, what an answer means, and that nobody is stormed."""

from typing import Any

import pytest

from shared import redis_urls
from shared.redis_finder import PAUSE_SECONDS, Finder, NotFound

A, B, C = ("a", 1), ("b", 2), ("c", 3)
SLOT = 100


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def sentinels(clock: Clock | None = None) -> Finder:
    return Finder(redis_urls.parse("redis+sentinel://a:1,b:2,c:3/m"), SLOT, 5.0, clock or Clock())


def nodes(clock: Clock | None = None) -> Finder:
    return Finder(redis_urls.parse("redis+cluster://a:1,b:2"), SLOT, 5.0, clock or Clock())


def fail_all(finder: Finder, reason: str = "away") -> list[tuple[str, int]]:
    asked = []
    for address in finder.candidates():
        asked.append(address)
        finder.failed(address, OSError(reason))
    return asked


def test_all_are_asked_in_the_order_of_the_url() -> None:
    assert fail_all(sentinels()) == [A, B, C]


def test_whoever_led_nowhere_is_asked_last_the_next_time() -> None:
    finder = sentinels()
    search = finder.candidates()
    finder.failed(next(search), OSError("away"))
    assert next(search) == B

    assert fail_all(finder) == [B, C, A]


def test_when_time_is_up_the_next_search_begins_with_those_that_were_not_asked() -> None:
    clock = Clock()
    finder = sentinels(clock)
    for address in finder.candidates():
        clock.now += 3
        finder.failed(address, TimeoutError("silent"))
    clock.now += PAUSE_SECONDS

    assert fail_all(finder) == [C, A, B]


def test_after_a_search_in_vain_nobody_is_asked_for_a_moment_and_the_reason_stays() -> None:
    clock = Clock()
    finder = sentinels(clock)
    fail_all(finder, "refused")

    assert fail_all(finder) == []
    assert finder.failure().count("refused") == 3

    clock.now += PAUSE_SECONDS
    assert fail_all(finder) == [A, B, C]


@pytest.mark.parametrize(
    ("reply", "owner"),
    [
        ([[0, 99, [b"x", 7, b"id"]], [100, 200, [b"y", 8, b"id", []], [b"z", 9, b"id"]]], ("y", 8)),
        ([[100, 100, [b"", 8, b"id"]]], ("a", 8)),
        ([[100, 100, [None, 8, b"id"]]], ("a", 8)),
    ],
    ids=["by name", "unnamed", "unknown"],
)
def test_the_owner_of_the_slot_is_the_first_of_its_range(reply: Any, owner: tuple[str, int]) -> None:
    assert nodes().owner(A, reply) == owner


def test_the_master_is_whom_the_sentinel_names() -> None:
    assert sentinels().owner(A, [b"10.0.0.1", b"6379"]) == ("10.0.0.1", 6379)


@pytest.mark.parametrize("reply", [None, b"OK", [], [[0, 99, [b"x", 7]]], [[100, 200]], [[100, 100, [b"x", None]]]])
@pytest.mark.parametrize("make", [sentinels, nodes], ids=["sentinel", "cluster"])
def test_an_answer_that_names_nobody_leads_nowhere(make: Any, reply: Any) -> None:
    with pytest.raises(NotFound):
        make().owner(A, reply)


def test_members_of_the_cluster_are_asked_after_those_that_were_named_and_forgotten_when_they_left() -> None:
    clock = Clock()
    finder = nodes(clock)
    finder.owner(A, [[0, 99, [b"x", 7]], [100, 200, [b"b", 2], [b"z", 9]]])
    assert fail_all(finder) == [A, B, ("x", 7), ("z", 9)]

    clock.now += PAUSE_SECONDS
    finder.owner(A, [[0, 200, [b"z", 9]]])
    assert fail_all(finder) == [A, B, ("z", 9)]


def test_only_a_master_is_accepted_from_a_sentinel() -> None:
    sentinels().check([b"master", 0, []])
    with pytest.raises(NotFound):
        sentinels().check([b"slave", b"a", 1, b"connected", 0])
