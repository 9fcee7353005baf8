"""Rules of the live page: what is in flight is seen by whoever may see its project, and cut by operators."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import redis
import sqlalchemy as sa

from manager import db
from manager.tables import AuditEvent
from manager.ui.live import age
from shared import live_schema
from tests.manager.api.conftest import Api
from tests.manager.conftest import NOW, one_database
from tests.manager.live_workers import Ear, Workers, running
from tests.manager.ui.conftest import Browse

pytestmark = one_database


@pytest.fixture
def workers(redis_client: redis.Redis) -> Workers:
    return Workers(redis_client)


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    heard = Ear(redis_client)
    yield heard
    heard.close()


@pytest.fixture
def token(api: Api) -> dict[str, Any]:
    return api.token(api.project("search")["id"], label="nightly")


def of(token: dict[str, Any], request_id: str = "r1", **fields: Any) -> Any:
    """A request of a token that is in flight."""
    ids = {"project_id": token["project_id"], "token_id": token["id"], "token_label": token["label"]}
    return msgspec.structs.replace(running(request_id), **{**ids, **fields})


def test_what_is_in_flight_is_listed(browse: Browse, workers: Workers, token: dict[str, Any]) -> None:
    started = datetime.now(UTC) - timedelta(seconds=75)
    workers.tell("w1", of(token, started_at=started, response_bytes=4321), of(token, "r2", model=None))

    page = browse().get("/ui/live")

    rows = page.texts("#live-table tbody tr")
    assert len(rows) == 2
    assert rows[1].startswith("search nightly · gpt-4o nightly gpt-4o streaming 1 min 1") and rows[1].endswith(
        "12 4.3 kB 11 Cut"
    )
    assert "unknown" in rows[0]
    assert str(page.all("#live-table tbody tr:first-child a[target=_blank]")[0]["href"]).endswith("/#/flows/r2/request")
    assert "2 requests are in flight on 1 worker." in page.text


def test_nothing_in_flight_is_said_so(browse: Browse, workers: Workers) -> None:
    workers.tell("w1")

    page = browse().get("/ui/live")

    assert page.all("#live-table tbody tr") == []
    assert "0 requests are in flight on 1 worker." in page.text and "Nothing is in flight" in page.text


def test_without_workers_that_is_said(browse: Browse, redis_client: redis.Redis) -> None:
    page = browse().get("/ui/live")

    assert "No worker of the proxy has been heard of" in page.one("main .alert-warning").get_text()
    assert redis_client.exists(live_schema.WATCHED)


def test_who_sees_some_projects_sees_their_requests_only(
    browse: Browse, api: Api, workers: Workers, token: dict[str, Any]
) -> None:
    workers.tell("w1", of(token), running("r2", token_label="concealed"))

    mine = browse("operator", project_ids=[token["project_id"]]).get("/ui/live")

    assert mine.texts("#live-table tbody td:nth-of-type(1)") == ["nightly"]
    assert "1 request is in flight" in mine.text and "concealed" not in mine.answer.text


def test_one_project_is_chosen(browse: Browse, api: Api, workers: Workers, token: dict[str, Any]) -> None:
    other = api.token(api.project("chat")["id"], label="chatty")
    workers.tell("w1", of(token), of(other, "r2"))

    page = browse().get("/ui/live", project="chat")

    assert page.texts("#live-table tbody td:nth-of-type(1)") == ["chatty"]
    assert "project=chat" in str(page.one("[data-live]")["data-live"])


def test_who_may_only_read_is_not_shown_how_to_cut(browse: Browse, workers: Workers, token: dict[str, Any]) -> None:
    workers.tell("w1", of(token))
    auditor = browse("auditor")

    assert auditor.get("/ui/live").all(".row-actions a[href^='/ui']") == []
    assert auditor.get("/ui/live/r1/cut").status == 403
    assert auditor.post("/ui/live/r1/cut").status == 403


def test_a_request_is_cut(
    browse: Browse, workers: Workers, token: dict[str, Any], ear: Ear, sessions: db.Sessions
) -> None:
    workers.tell("w1", of(token))
    operator = browse("operator")

    asked = operator.get(str(operator.get("/ui/live").one(".row-actions a[href^='/ui']")["href"]))
    done = operator.submit(asked, reason="runs in circles")

    assert "ends at once, with the error request_cut" in asked.text
    assert asked.texts(".facts dd") == ["search", "nightly", "gpt-4o", asked.texts(".facts dd")[3], "r1"]
    assert done.goes_to == "/ui/live"
    assert "is being cut" in operator.follow(done).text
    assert ear.cuts() == ["r1"]
    with db.reading(sessions) as session:
        [event] = session.scalars(sa.select(AuditEvent).where(AuditEvent.action == "request.cut")).all()
    assert event.detail == {"request_id": "r1", "reason": "runs in circles"}
    assert (event.actor, str(event.token_id)) == ("operator 1", token["id"])


def test_a_reason_that_is_too_long_is_said_at_its_field(
    browse: Browse, workers: Workers, token: dict[str, Any], ear: Ear
) -> None:
    workers.tell("w1", of(token))

    answer = browse().submit("/ui/live/r1/cut", reason="x" * 501)

    assert list(answer.errors()) == ["reason"]
    assert ear.cuts() == []


def test_a_request_that_has_ended_is_told(browse: Browse, workers: Workers) -> None:
    workers.tell("w1")
    operator = browse("operator")

    for ask in (operator.get, operator.post):
        answer = ask("/ui/live/r1/cut")
        assert answer.goes_to == "/ui/live"
        assert "has ended already" in operator.follow(answer).text


def test_a_request_of_somebody_else_is_not_cut(
    browse: Browse, workers: Workers, token: dict[str, Any], ear: Ear
) -> None:
    workers.tell("w1", running("r2"))
    operator = browse("operator", project_ids=[token["project_id"]])

    assert (operator.get("/ui/live/r2/cut").status, operator.post("/ui/live/r2/cut", reason="").status) == (404, 404)
    assert ear.cuts() == []


def test_without_a_csrf_token_nothing_is_cut(browse: Browse, workers: Workers, token: dict[str, Any], ear: Ear) -> None:
    workers.tell("w1", of(token))

    assert browse().open("POST", "/ui/live/r1/cut", data={"reason": ""}).status == 400
    assert ear.cuts() == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (0.9, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7500, "2 h 5 min")],
)
def test_ages_are_told_in_two_units(seconds: float, said: str) -> None:
    assert age(NOW, NOW + timedelta(seconds=seconds)) == said
