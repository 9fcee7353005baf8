"""Rules of leases: one holder at a time, renewed by it alone, free again when it has died or gives it back."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from manager import db, leases
from manager.leases import LIFE, MARGIN_SECONDS, Leadership, LeaseTaken, held
from tests.manager.conftest import NOW

SECOND = timedelta(seconds=1)


class Time:
    """A clock for holders, that stands still."""

    def __init__(self) -> None:
        self.now = NOW

    def clock(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def moment() -> Time:
    return Time()


def candidate(sessions: db.Sessions, moment: Time, name: str) -> Leadership:
    return Leadership(sessions, "jobs", name, clock=moment.clock, monotonic=moment.monotonic)


def test_the_first_one_leads_and_the_others_follow(sessions: db.Sessions, moment: Time) -> None:
    first, second = (candidate(sessions, moment, name) for name in ("first", "second"))

    assert [first.renew(), second.renew(), first.renew()] == [True, False, True]
    assert [first.is_held(), second.is_held()] == [True, False]


def test_who_renews_keeps_it_for_as_long_as_it_likes(sessions: db.Sessions, moment: Time) -> None:
    first, second = (candidate(sessions, moment, name) for name in ("first", "second"))

    for _ in range(6):
        assert first.renew() and not second.renew()
        moment.now += LIFE / 3


def test_who_does_not_renew_stops_to_lead_before_another_one_may(sessions: db.Sessions, moment: Time) -> None:
    first, second = (candidate(sessions, moment, name) for name in ("first", "second"))
    first.renew()

    moment.now += LIFE - timedelta(seconds=MARGIN_SECONDS)
    held, taken = first.is_held(), second.renew()
    moment.now = NOW + LIFE

    assert (held, taken) == (False, False)
    assert second.renew() and not first.renew()


def test_who_gives_it_back_need_not_be_waited_for(sessions: db.Sessions, moment: Time) -> None:
    first, second = (candidate(sessions, moment, name) for name in ("first", "second"))
    first.renew()

    second.end()
    still_held = second.renew()
    first.end()

    assert not still_held
    assert (first.is_held(), second.renew()) == (False, True)


def test_without_sql_a_lease_is_relied_on_until_it_ends(engine: sa.Engine, sessions: db.Sessions, moment: Time) -> None:
    leader = candidate(sessions, moment, "first")
    leader.renew()

    def fail(*_: Any) -> None:
        raise sa.exc.OperationalError("SELECT 1", None, Exception("away"))

    sa.event.listen(engine, "before_cursor_execute", fail)
    moment.now += 10 * SECOND
    with pytest.raises(sa.exc.OperationalError):
        leader.renew()

    assert leader.is_held()
    moment.now += 5 * SECOND
    assert not leader.is_held()


def test_of_many_that_try_at_once_exactly_one_leads(sessions: db.Sessions, moment: Time) -> None:
    candidates = [candidate(sessions, moment, f"number {number}") for number in range(6)]

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(lambda each: each.renew(), candidates))

    assert sum(won) == 1


def test_a_lease_by_a_clock_that_was_years_ahead_binds_nobody(sessions: db.Sessions, moment: Time) -> None:
    dead, heir = candidate(sessions, moment, "dead"), candidate(sessions, moment, "heir")
    moment.now += timedelta(days=3650)
    dead.renew()
    moment.now = NOW

    assert heir.renew()
    assert not dead.renew()


def test_a_clock_that_is_ahead_by_seconds_loses_its_holder_nothing(sessions: db.Sessions, moment: Time) -> None:
    leader, other = candidate(sessions, moment, "leader"), candidate(sessions, moment, "other")
    moment.now += 5 * SECOND
    leader.renew()
    moment.now = NOW

    assert not other.renew()


def test_what_is_done_under_a_lease_is_done_by_one_at_a_time(sessions: db.Sessions) -> None:
    with held(sessions, "job:sweep"):
        with pytest.raises(LeaseTaken, match="-"), held(sessions, "job:sweep"):
            pytest.fail("two have it")
        with held(sessions, "job:other"):
            pass
    with held(sessions, "job:sweep"):
        pass


def test_a_lease_is_kept_for_as_long_as_the_work_takes(sessions: db.Sessions) -> None:
    life = timedelta(seconds=0.3)

    with held(sessions, "job:sweep", life=life):
        time.sleep(1)
        with pytest.raises(LeaseTaken), held(sessions, "job:sweep", life=life):
            pytest.fail("it has run out")


def test_no_two_processes_have_the_same_name() -> None:
    names = {leases.new_holder() for _ in range(50)}

    assert len(names) == 50 and all(len(name) <= 128 for name in names)
