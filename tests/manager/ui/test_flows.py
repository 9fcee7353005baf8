"""Rules of what is recorded of a request, and of held ones: shown as text, decided by operators, told to the audit."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from shared import flow_schema
from shared.flow_schema import Message, Phase, encode_record
from shared.redis_schema import Decided
from tests.flow_records import ASKED, ended, record, request_id, tell
from tests.manager.api.conftest import Api
from tests.manager.conftest import one_database
from tests.manager.live_workers import Ear, Workers, running
from tests.manager.ui.conftest import Browse

pytestmark = one_database
HELD = request_id(1)


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    made = Ear(redis_client)
    yield made
    made.close()


@pytest.fixture
def token(api: Api) -> dict[str, Any]:
    return api.token(api.project("search")["id"], label="nightly")


def hold(client: redis.Redis, token: dict[str, Any], **changes: Any) -> None:
    """A request of a token that is held, as its worker tells it."""
    ids = {"project_id": token["project_id"], "token_id": token["id"]}
    held = record(1, phase=Phase.HELD, rule="look", held_until=1_777_000_060.0, **{**ids, **changes})
    client.set(flow_schema.held_key(HELD), encode_record(held), px=60_000)
    state = {"state": "held", "rule": "look", "chunks": 0}
    Workers(client).tell("w1", running("r0", **ids), running(HELD, 5, **ids, **state))


# What is recorded


def test_heads_and_bodies_are_shown_as_text(browse: Browse, redis_client: redis.Redis) -> None:
    nasty = Message([("x-note", "<b>bold</b>")], 20, b"<script>alert(1)</script>")
    tell(redis_client, ended(1, request=nasty, tags=["clinic"]))

    page = browse("auditor").get(f"/ui/requests/{request_id(1)}/flow")

    assert page.texts("main pre") == ["<script>alert(1)</script>", '{"ok":true}'] and page.all("main script") == []
    assert "<b>bold</b>" in page.text and "clinic" in page.text
    assert str(page.one("main a[target=_blank]")["href"]).endswith(f"/#/flows/{request_id(1)}/request")


def test_that_bodies_were_read_is_audited(browse: Browse, api: Api, redis_client: redis.Redis) -> None:
    tell(redis_client, ended(1))

    browse("auditor").get(f"/ui/requests/{request_id(1)}/flow")

    [event] = api.get("audit", action="flows.read").json["items"]
    assert event["detail"]["request_id"] == request_id(1)


def test_what_is_not_recorded_is_said_to_be_so(browse: Browse) -> None:
    page = browse().get(f"/ui/requests/{request_id(1)}/flow")

    assert page.status == 200 and "Nothing is recorded" in page.text


# Held requests


def test_held_requests_come_first_and_lead_to_a_decision(
    browse: Browse, redis_client: redis.Redis, token: dict[str, Any]
) -> None:
    hold(redis_client, token)

    page = browse("operator").get("/ui/live")

    assert "held" in page.texts("#live-table tbody tr")[0]
    assert page.one("#live-table tbody tr:first-child a.btn-primary")["href"] == f"/ui/live/{HELD}"
    assert browse("auditor").get("/ui/live").all("a.btn-primary") == []


def test_a_held_request_goes_out_as_it_is(
    browse: Browse, redis_client: redis.Redis, token: dict[str, Any], ear: Ear
) -> None:
    hold(redis_client, token)
    operator = browse("operator")

    page = operator.get(f"/ui/live/{HELD}")
    after = operator.submit(page, reason="fine")

    assert ASKED.decode() in page.one("textarea").get_text() and after.goes_to == "/ui/live"
    assert ear.heard() == [Decided(HELD, "resume")]


def test_another_body_goes_out_without_the_line_ends_of_browsers(
    browse: Browse, redis_client: redis.Redis, token: dict[str, Any], ear: Ear
) -> None:
    hold(redis_client, token)

    browse("operator").submit(f"/ui/live/{HELD}", body='{\r\n"model": "m"}')

    assert ear.heard() == [Decided(HELD, "resume", True)]
    assert redis_client.get(flow_schema.edit_key(HELD)) == b'{\n"model": "m"}'


@pytest.mark.parametrize("body", ["", "[]", "no JSON"])
def test_a_body_that_would_be_refused_is_shown_again_and_the_request_stays_held(
    browse: Browse, redis_client: redis.Redis, token: dict[str, Any], ear: Ear, body: str
) -> None:
    hold(redis_client, token)

    page = browse("operator").submit(f"/ui/live/{HELD}", body=body)

    assert page.status == 422 and "Must be a JSON object" in page.text
    assert page.one("textarea").get_text().strip() == body and ear.heard() == []


def test_a_body_that_is_not_shown_whole_is_not_offered(
    browse: Browse, redis_client: redis.Redis, token: dict[str, Any], ear: Ear
) -> None:
    hold(redis_client, token, request=Message([], 9, None, note="too large to be shown whole"))
    operator = browse("operator")

    page = operator.get(f"/ui/live/{HELD}")
    operator.submit(page)

    assert page.all("textarea") == [] and ear.heard() == [Decided(HELD, "resume")]


def test_a_held_request_is_refused(browse: Browse, redis_client: redis.Redis, token: dict[str, Any], ear: Ear) -> None:
    hold(redis_client, token)

    assert browse("operator").submit(f"/ui/live/{HELD}/refuse", reason="customer data").goes_to == "/ui/live"
    assert ear.heard() == [Decided(HELD, "refuse")]


@pytest.mark.parametrize("path", [f"/ui/live/{HELD}", f"/ui/live/{HELD}/refuse"])
def test_what_nobody_waits_for_is_said_to_be_over(browse: Browse, path: str) -> None:
    somebody = browse("operator")
    page = somebody.get(path)

    assert page.goes_to == "/ui/live" and "Nobody waits" in somebody.follow(page).text


@pytest.mark.parametrize("path", [f"/ui/live/{HELD}", f"/ui/live/{HELD}/refuse"])
def test_auditors_decide_nothing(browse: Browse, redis_client: redis.Redis, token: dict[str, Any], path: str) -> None:
    hold(redis_client, token)

    assert browse("auditor").get(path).status == 403
