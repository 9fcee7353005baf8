"""Rules of the status page: all there is to know for who sees everything, own keys for others; stuck events."""

from datetime import UTC, datetime

import pytest
import redis

from manager import db, job_runs
from shared import redis_schema
from tests.manager.api.conftest import Api, set_aside
from tests.manager.conftest import MANAGEMENT_TOKEN, NOBODY, Serve, one_database
from tests.manager.ui.conftest import Browse, Browser

pytestmark = one_database
NASTY = "<script>alert(1)</script> \u202e&\U0001f989"


def stuck(client: redis.Redis, reason: str = "no event") -> str:
    """An event that could not be recorded."""
    return str(client.xadd(redis_schema.USAGE_DEAD_LETTERS, {"event": NASTY, "reason": reason}).decode())


def test_it_tells_of_workers_jobs_and_what_is_set_aside(
    browse: Browse, api: Api, redis_client: redis.Redis, sessions: db.Sessions
) -> None:
    project = api.project(NASTY)
    [key] = api.get(f"projects/{project['id']}/keys").json["items"]
    set_aside(redis_client, redis_schema.key_subject(key["id"]), "status_429")
    set_aside(redis_client, redis_schema.origin_subject("https://api.openai.com"), "connect_refused", openings=3)
    redis_client.zadd(redis_schema.WORKERS, {"host:7": redis_schema.to_ms(datetime.now(UTC))})
    with sessions.begin() as session:
        job_runs.begin(session, "export", datetime.now(UTC))
        job_runs.end(session, "export", datetime.now(UTC), None, "the collector said 500")

    page = browse("auditor").get("/ui/status")

    assert page.status == 200 and not page.all("main script")
    assert page.one("section[aria-label=Workers] tbody th").get_text() == "host:7"
    aside = page.texts("section[aria-label='Set aside'] tbody tr")
    assert any(f"{NASTY} ({key['masked_key']}) status 429" in row for row in aside)
    assert any("https://api.openai.com connect refused" in row and row.endswith(" 3") for row in aside)
    assert page.texts("section[aria-label=Jobs] tbody tr")[0].endswith("failed the collector said 500")


def test_who_sees_some_projects_is_told_of_their_keys_only(browse: Browse, api: Api, redis_client: redis.Redis) -> None:
    mine, other = api.project("mine"), api.project("other")
    for project in (mine, other):
        [key] = api.get(f"projects/{project['id']}/keys").json["items"]
        set_aside(redis_client, redis_schema.key_subject(key["id"]), "status_429")

    page = browse("operator", project_ids=[mine["id"]]).get("/ui/status")

    assert page.status == 200 and "mine" in page.text and "other" not in page.text
    assert page.texts("section[aria-label=Parts] tbody th") == ["Keys"] and not page.all("section[aria-label=Jobs]")


def test_without_redis_it_still_tells_of_the_database(serve: Serve, database_url: str) -> None:
    admin = Browser(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY).test_client())
    admin.sign_in(MANAGEMENT_TOKEN)

    page = admin.get("/ui/status")

    assert page.status == 200 and any("Redis down" in row for row in page.texts("section[aria-label=Parts] tr"))
    assert page.all("section[aria-label=Jobs]") and not page.all("section[aria-label=Workers]")
    assert "does not answer" in admin.get("/ui/status/unrecorded").text


def test_stuck_events_are_listed_with_what_they_hold(browse: Browse, redis_client: redis.Redis) -> None:
    assert "Everything has been recorded" in browse("auditor").get("/ui/status/unrecorded").text
    letter = stuck(redis_client, f"no event: {NASTY}")

    page = browse("auditor").get("/ui/status/unrecorded")

    [row] = page.texts("tbody tr")
    assert letter in row and f"no event: {NASTY}" in row and page.one("pre").get_text() == NASTY
    assert not page.all("tbody form") and not page.all("main script")


def test_an_admin_hands_them_in_again_or_throws_them_away(browse: Browse, redis_client: redis.Redis) -> None:
    admin, first, second = browse(), stuck(redis_client), stuck(redis_client)

    again = admin.submit("/ui/status/unrecorded", f"form[action*='{first}']")
    gone = admin.submit(f"/ui/status/unrecorded/{second}/delete", "section.confirm form")

    assert admin.follow(again).status == admin.follow(gone).status == 200
    assert redis_client.xlen(redis_schema.USAGE_DEAD_LETTERS) == 0
    assert redis_client.xlen(redis_schema.USAGE_STREAM) == 1


@pytest.mark.parametrize("role", ["auditor", "operator"])
def test_nobody_else_may(browse: Browse, redis_client: redis.Redis, role: str) -> None:
    letter, somebody = stuck(redis_client), browse(role)

    for what in ("retry", "delete"):
        assert somebody.post(f"/ui/status/unrecorded/{letter}/{what}").status == 403
    assert redis_client.xlen(redis_schema.USAGE_DEAD_LETTERS) == 1


def test_what_there_is_not_is_not_found(browse: Browse) -> None:
    admin = browse()

    assert admin.post("/ui/status/unrecorded/1-1/retry").status == 404
    assert admin.get("/ui/status/unrecorded", cursor="nonsense").status == 422
