"""Rules of what is told while somebody looks: what has changed and nothing else, and with an end."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from manager import db
from manager.rests import KEY
from manager.tables import UiSession
from manager.ui.streams import LIFE_SECONDS, MOST, Seats, stream
from shared import redis_schema
from tests.manager.api.conftest import Api
from tests.manager.conftest import NOBODY, NOW, Serve, one_database
from tests.manager.live_workers import Workers, running
from tests.manager.ui.conftest import Browse, Browser

pytestmark = one_database

type Told = list[tuple[str, Any]]


class Rests:
    """Time that passes only between events, in which things are done."""

    def __init__(self, *done: Callable[[], object]) -> None:
        self._done = iter(done)

    def __call__(self, seconds: float) -> bool:
        for do in self._done:
            do()
            return True
        return False


def told(browser: Browser, address: str, *between: Callable[[], object]) -> Told:
    """What is told, with things done between, until the server stops."""
    rests = {KEY: Rests(*between)}
    headers = {"accept": "text/event-stream"}
    with browser.client.get(address, environ_overrides=rests, headers=headers) as answer:
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream"), answer.text
        return list(read(answer))


def read(answer: TestResponse) -> Iterator[tuple[str, Any]]:
    for block in answer.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            yield fields["event"], json.loads(fields["data"])


def changed(event: tuple[str, Any]) -> dict[str, Any]:
    """The changes of an event by region."""
    name, changes = event
    assert name == "change"
    return {change["id"]: change for change in changes}


def nothing() -> None:
    """Nothing is done."""


@pytest.fixture
def workers(redis_client: redis.Redis) -> Workers:
    return Workers(redis_client)


def test_at_first_everything_is_told(browse: Browse, workers: Workers) -> None:
    workers.tell("w1", running("r1"), running("r2", 1))

    [event] = told(browse(), "/ui/events?page=live")

    regions = changed(event)
    assert list(regions) == ["live-lead", "live-table"]
    assert "2 requests are in flight" in regions["live-lead"]["html"]
    assert regions["live-table"]["order"] == ["live-r1", "live-r2"]
    assert regions["live-table"]["rows"]["live-r1"].startswith('<tr id="live-r1">')


def test_then_only_what_has_changed_is_told(browse: Browse, workers: Workers) -> None:
    # The clock of the worker is ahead, so that the requests do not grow older meanwhile.
    ahead = (datetime.now(UTC) + timedelta(hours=1) - NOW).total_seconds()
    workers.tell("w1", running("r1", ahead), running("r2", ahead + 1))

    first, second = told(
        browse(),
        "/ui/events?page=live",
        nothing,
        lambda: workers.tell("w1", running("r1", ahead), running("r2", ahead + 1, chunks=99)),
    )

    assert first[0] == "change"
    change = changed(second)["live-table"]
    assert (list(change["rows"]), "order" in change) == (["live-r2"], False)
    assert "99" in change["rows"]["live-r2"]


def test_what_has_ended_is_not_in_the_order_any_more(browse: Browse, workers: Workers) -> None:
    workers.tell("w1", running("r1"), running("r2", 1))

    *_, last = told(browse(), "/ui/events?page=live", lambda: workers.tell("w1", running("r2", 1)))

    assert changed(last)["live-table"]["order"] == ["live-r2"]
    assert "1 request is in flight" in changed(last)["live-lead"]["html"]


def test_the_dashboard_is_told_as_its_page_was_asked_for(browse: Browse, api: Api) -> None:
    api.project("search")

    [event] = told(browse(), "/ui/events?page=dashboard&range=day&project=search")

    regions = changed(event)
    assert {"numbers", "requests", "latency", "tokens", "money", "tops", "attention", "health"} <= set(regions)
    assert regions["requests"]["data"]["step"] == "3600"


def test_pages_that_do_not_change_have_no_events(browse: Browse) -> None:
    assert browse().get("/ui/events", page="sessions").status == 404
    assert browse().get("/ui/events").status == 404


def test_who_is_nobody_is_told_nothing(browse: Browse) -> None:
    answer = browse(None).client.get("/ui/events?page=live", headers={"accept": "text/event-stream"})

    assert answer.status_code == 401


def test_it_is_over_with_the_session(app: Flask, browse: Browse, api: Api, workers: Workers) -> None:
    workers.tell("w1")
    browser = browse()
    other = Browser(app.test_client())
    for cookie in browser.client._cookies.values():
        other.client.set_cookie(cookie.key, cookie.value, path=cookie.path)

    events = told(browser, "/ui/events?page=live", lambda: other.post("/ui/sign-out"), nothing)

    assert [name for name, _ in events] == ["change", "over"]


def test_it_is_over_when_somebody_may_see_something_else(browse: Browse, api: Api, workers: Workers) -> None:
    workers.tell("w1")
    browser = browse("auditor")
    [operator] = [each for each in api.get("operators").json["items"] if each["role"] == "auditor"]
    raised = lambda: api.patch(f"operators/{operator['id']}", role="operator")  # noqa: E731

    assert [name for name, _ in told(browser, "/ui/events?page=live", raised, nothing)] == ["change", "over"]


def test_without_redis_that_is_told(serve: Serve, database_url: str) -> None:
    browser = Browser(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY).test_client())
    assert browser.sign_in("management-0123456789-abcdefghijkl").status == 303

    assert told(browser, "/ui/events?page=live") == [("trouble", "Not connected")]


def test_that_the_trouble_is_over_is_told_though_nothing_has_changed(
    browse: Browse, workers: Workers, redis_client: redis.Redis
) -> None:
    workers.tell("w1")
    browser = browse()

    def fail() -> None:
        redis_client.delete(redis_schema.WORKERS)
        redis_client.set(redis_schema.WORKERS, "no workers")

    def heal() -> None:
        redis_client.delete(redis_schema.WORKERS)
        workers.tell("w1")

    first, *others = told(browser, "/ui/events?page=live", fail, heal, nothing)

    assert first[0] == "change"
    assert others == [("trouble", "Not connected"), ("change", [])]


def test_nobody_takes_the_seats_of_others(
    app: Flask, browse: Browse, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.tell("w1")
    browser, other, address = browse(), browse(), "/ui/events?page=live"
    monkeypatch.setitem(app.extensions, "llm_proxy_ui_seats", Seats(3, 1))

    def others() -> None:
        assert browser.client.get(address).status_code == 503
        assert told(other, address)

    assert told(browser, address, others)


def test_there_are_so_many_at_a_time_and_each_gives_its_seat_back(
    app: Flask, browse: Browse, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.tell("w1")
    browser, address = browse(), "/ui/events?page=live"
    monkeypatch.setitem(app.extensions, "llm_proxy_ui_seats", Seats(1))

    def refused() -> None:
        answer = browse().client.get(address)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")

    assert len(told(browser, address, refused)) >= 1
    assert len(told(browser, address)) == 1
    with browser.client.head(address) as answer:
        assert answer.status_code == 200
    assert len(told(browser, address)) == 1


def test_being_looked_at_does_not_keep_a_session_from_being_idle(
    browse: Browse, workers: Workers, sessions: db.Sessions
) -> None:
    workers.tell("w1")
    browser = browse()
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    with sessions.begin() as session:
        session.execute(sa.update(UiSession).values(seen_at=long_ago))

    told(browser, "/ui/events?page=live")
    browser.open("GET", "/ui/live", headers={"x-refresh": "1"})
    by_itself = seen(sessions)
    browser.get("/ui/live")

    assert by_itself == long_ago < seen(sessions)


def seen(sessions: db.Sessions) -> datetime:
    """When the session was used last."""
    with db.reading(sessions) as session:
        return session.scalars(sa.select(UiSession.seen_at)).one()


# Without an app


def test_a_stream_ends_with_its_life_the_server_or_what_there_is_to_tell() -> None:
    endless = iter(lambda: "x", None)

    assert len(list(stream(endless, lambda _: True, life=0))) == 2
    assert len(list(stream(endless, lambda _: False))) == 2
    assert list(stream(["a", "", "b"], lambda _: True))[1:] == ["a", ": nothing new\n\n", "b"]
    assert LIFE_SECONDS > 1 and MOST > 1


def test_a_seat_is_given_back_once() -> None:
    seats = Seats(2)
    first, second = seats.take("a"), seats.take("b")
    assert first and second and seats.take("a") is None

    first()
    first()

    assert seats.take("a") is not None
    assert seats.take("a") is None


def test_each_may_have_so_many_seats() -> None:
    seats = Seats(9, 2)
    first, second = seats.take("a"), seats.take("a")
    assert first and second and seats.take("a") is None
    assert seats.take("b") is not None

    second()

    assert seats.take("a") is not None
    assert seats.take("a") is None
