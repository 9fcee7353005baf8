"""Rules of finding requests by time: it is quick, and nobody is lost whose id is a little older or newer than he is."""

from datetime import timedelta
from typing import Any

import pytest

from manager import db, recent_requests
from manager.recent_requests import SLACK
from tests.manager.api.test_requests import NOON, record, request

MINUTE = timedelta(minutes=1)


def found(sessions: db.Sessions, **wanted: Any) -> list[int]:
    with db.reading(sessions) as session:
        return [int(row.request_id, 16) for row in recent_requests.list_page(session, 50, None, **wanted).items]


@pytest.mark.parametrize(
    ("since", "until", "numbers"),
    [
        (None, None, [6, 5, 4, 3, 2, 1]),
        (3, None, [6, 5, 4, 3]),
        (None, 3, [2, 1]),
        (2, 5, [4, 3, 2]),
        (7, None, []),
        (None, 1, []),
        (-1, 0, []),
    ],
)
def test_requests_are_found_from_then_on_and_before(
    sessions: db.Sessions, since: int | None, until: int | None, numbers: list[int]
) -> None:
    record(sessions, *(request(each, occurred_at=NOON + each * 10 * MINUTE) for each in range(1, 7)))
    bounds = {"since": since, "until": until}
    moments = {name: None if each is None else NOON + each * 10 * MINUTE for name, each in bounds.items()}

    assert found(sessions, **moments) == numbers


def test_ids_that_are_a_little_out_of_order_are_found_all_the_same(sessions: db.Sessions) -> None:
    apart = SLACK / 4
    arrivals = {1: 2 * apart, 2: apart, 3: 4 * apart, 4: 3 * apart}
    record(sessions, *(request(number, occurred_at=NOON + after) for number, after in arrivals.items()))

    assert found(sessions, since=NOON + 2 * apart) == [4, 3, 1]
    assert found(sessions, until=NOON + 4 * apart) == [4, 2, 1]
    assert found(sessions, since=NOON + apart, until=NOON + 3 * apart) == [2, 1]
