"""Breakers: closed, open, half-open; one probe of all; growing pauses; shared with other workers."""

import pytest

from addons.breakers import FIRST_PAUSE, FORGET_SECONDS, LONGEST_PAUSE, PROBE_SECONDS, Breakers
from shared.redis_schema import BreakerChange, key_subject, origin_subject

SUBJECT = "key:k1"


class World:
    """Breakers with a clock to turn and everything that they tell others."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.shared: list[BreakerChange] = []
        self.noted: list[tuple[str, str]] = []
        self.probe_is_free = True
        self.heard_meanwhile: BreakerChange | None = None
        self.breakers = Breakers(
            self.shared.append, self._take_probe, lambda *change: self.noted.append(change), lambda: self.now
        )

    async def _take_probe(self, subject: str, seconds: float) -> bool:
        if self.heard_meanwhile is not None and self.now < self.heard_meanwhile.until_ms / 1000:
            self.breakers.hear(self.heard_meanwhile)
        return self.probe_is_free

    def fail(self, pause: float | None = None, threshold: int = 1) -> None:
        self.breakers.failed(SUBJECT, "status_429", pause, threshold)


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("url", "subject"),
    [
        ("https://api.openai.com", "origin:https://api.openai.com"),
        ("http://127.0.0.1:8090/v1/prefix", "origin:http://127.0.0.1:8090"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, subject: str) -> None:
    assert origin_subject(url) == subject


def test_a_key_is_its_id() -> None:
    assert key_subject("k1") == SUBJECT


async def test_what_never_failed_lets_everybody_in(world: World) -> None:
    assert world.breakers.allows(SUBJECT) and await world.breakers.enter(SUBJECT)
    assert world.breakers.seconds_left(SUBJECT) == 0.0


async def test_a_breaker_opens_at_its_threshold_and_not_before(world: World) -> None:
    for _ in range(4):
        world.fail(threshold=5)
    assert await world.breakers.enter(SUBJECT)

    world.fail(threshold=5)

    assert not await world.breakers.enter(SUBJECT) and not world.breakers.allows(SUBJECT)
    assert world.breakers.seconds_left(SUBJECT) == FIRST_PAUSE


async def test_a_success_between_failures_starts_the_count_anew(world: World) -> None:
    world.fail(threshold=2)
    world.breakers.succeeded(SUBJECT)

    world.fail(threshold=2)

    assert await world.breakers.enter(SUBJECT)
    assert world.shared == [] and world.noted == []


async def test_a_named_pause_is_kept_exactly(world: World) -> None:
    world.fail(pause=7.0)

    world.now += 6.9
    assert not world.breakers.allows(SUBJECT)
    world.now += 0.1
    assert world.breakers.allows(SUBJECT)


async def test_after_the_pause_one_request_probes_and_the_others_stay_out(world: World) -> None:
    world.fail()
    world.now += FIRST_PAUSE

    assert [await world.breakers.enter(SUBJECT) for _ in range(3)] == [True, False, False]
    assert world.noted == [("key", "open"), ("key", "half_open")]


async def test_while_another_worker_probes_nobody_here_does(world: World) -> None:
    world.fail()
    world.now += FIRST_PAUSE
    world.probe_is_free = False

    assert not await world.breakers.enter(SUBJECT)
    assert 0 < world.breakers.seconds_left(SUBJECT) < PROBE_SECONDS


async def test_who_waits_for_a_probe_looks_again_soon(world: World) -> None:
    world.fail()
    world.now += FIRST_PAUSE
    await world.breakers.enter(SUBJECT)

    assert 0 < world.breakers.seconds_left(SUBJECT) <= FIRST_PAUSE < PROBE_SECONDS


async def test_a_probe_taken_in_the_moment_when_another_one_failed_is_given_back(world: World) -> None:
    world.fail()
    world.now += FIRST_PAUSE
    world.heard_meanwhile = BreakerChange(SUBJECT, True, "refused", 1_003_000, 2)

    assert not await world.breakers.enter(SUBJECT)
    assert world.shared[-1] == world.heard_meanwhile, "sharing frees the probe"
    world.now += 2 * FIRST_PAUSE
    assert await world.breakers.enter(SUBJECT)


async def test_a_probe_that_says_nothing_makes_room_for_the_next(world: World) -> None:
    world.fail()
    world.now += FIRST_PAUSE
    await world.breakers.enter(SUBJECT)

    world.breakers.leave(SUBJECT)

    assert await world.breakers.enter(SUBJECT)
    assert world.shared[-1] == world.shared[0], "the other workers hear that they may probe"


async def test_who_does_not_probe_has_no_probe_to_give_back(world: World) -> None:
    world.fail()
    world.now += FIRST_PAUSE
    world.probe_is_free = False
    await world.breakers.enter(SUBJECT)

    world.breakers.leave(SUBJECT)

    assert not world.breakers.allows(SUBJECT) and len(world.shared) == 1


async def test_a_probe_that_never_ends_does_not_lock_the_breaker_for_ever(world: World) -> None:
    world.fail()
    world.now += FIRST_PAUSE
    await world.breakers.enter(SUBJECT)

    world.now += PROBE_SECONDS

    assert await world.breakers.enter(SUBJECT)


async def test_a_probe_that_succeeds_closes_for_all_workers(world: World) -> None:
    world.fail()
    world.now += FIRST_PAUSE
    await world.breakers.enter(SUBJECT)

    world.breakers.succeeded(SUBJECT)

    assert [await world.breakers.enter(SUBJECT) for _ in range(2)] == [True, True]
    assert world.shared[-1] == BreakerChange(SUBJECT, is_open=False)
    assert world.noted[-1] == ("key", "closed")


def test_pauses_grow_with_each_failed_probe_up_to_the_longest(world: World) -> None:
    pauses = []
    for _ in range(12):
        world.fail()
        pauses.append(world.breakers.seconds_left(SUBJECT))
        world.now += pauses[-1]

    assert pauses[:4] == [1.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST_PAUSE


def test_stragglers_that_fail_while_it_is_open_change_nothing(world: World) -> None:
    world.fail(pause=10.0)

    world.fail(pause=100.0)

    assert world.breakers.seconds_left(SUBJECT) == 10.0
    assert len(world.shared) == 1


def test_an_opening_is_shared_with_its_reason_and_end(world: World) -> None:
    world.fail(pause=10.0)

    assert world.shared == [BreakerChange(SUBJECT, True, "status_429", 1_010_000, 1)]


async def test_what_another_worker_found_open_is_open_here_and_opens_for_longer_next_time(world: World) -> None:
    world.breakers.hear(BreakerChange(SUBJECT, True, "refused", 1_004_000, 3))

    assert world.breakers.seconds_left(SUBJECT) == 4.0
    world.now += 4.0
    assert await world.breakers.enter(SUBJECT)
    world.fail(threshold=5)
    assert world.breakers.seconds_left(SUBJECT) == 8.0


async def test_what_another_worker_found_closed_is_closed_here(world: World) -> None:
    world.fail(pause=100.0)

    world.breakers.hear(BreakerChange(SUBJECT, is_open=False))

    assert await world.breakers.enter(SUBJECT)


async def test_failures_that_lie_far_apart_are_not_in_a_row(world: World) -> None:
    for _ in range(9):
        world.fail(threshold=5)
        world.now += FORGET_SECONDS + 1

    assert await world.breakers.enter(SUBJECT)
