"""Rules of who has seen what: written down once for each session and request, and before anything is taken away."""

import pytest
import redis

from tests.addons.inspection.conftest import HASH, PASSWORD, Page, Start, until
from tests.addons.inspection.fake_manager import AUDITOR, OPERATOR, FakeManager
from tests.flow_records import ended, request_id, tell

FIRST, SECOND = request_id(1), request_id(2)


@pytest.mark.parametrize(
    "path", ["request/content.data", "response/content/Auto.json", "request/content/JSON"], ids=["file", "view", "JSON"]
)
async def test_whose_bodies_somebody_has_seen_is_told_once(
    operator: Page, manager: FakeManager, redis_client: redis.Redis, path: str
) -> None:
    tell(redis_client, ended(1), ended(2))
    await operator.flow()

    for name in (FIRST, FIRST, SECOND):
        assert (await operator.get(f"/flows/{name}/{path}")).code == 200
    await until(lambda: sum(len(body["request_ids"]) for _, body in manager.told()) >= 2)
    await operator.get(f"/flows/{FIRST}/response/content.data")
    await operator.master._witness.tell()

    assert {token for token, _ in manager.told()} == {OPERATOR}
    assert [name for _, body in manager.told() for name in body["request_ids"]] == [FIRST, SECOND]


async def test_a_flow_that_is_copied_has_been_seen(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    tell(redis_client, ended(1))
    await operator.flow()

    await operator.do("POST", "/commands/export", {"arguments": ["curl", f"@{FIRST}"]})

    await until(lambda: manager.told() == [(OPERATOR, {"request_ids": [FIRST]})])


async def test_who_looks_at_the_list_alone_has_seen_no_body(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    tell(redis_client, ended(1))
    await operator.flow()
    await operator.get(f"/flows/{FIRST}/messages/content.data")

    await operator.master._witness.tell()

    assert manager.told() == []


async def test_who_saves_flows_is_told_of_first_and_saves_none_if_that_is_impossible(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    tell(redis_client, ended(1), ended(2))
    await operator.flow(lambda flow: flow["id"] == SECOND)

    saved = await operator.get("/flows/dump")
    manager.answers["/readings"] = (500, {})
    refused = await operator.get("/flows/dump")

    assert saved.code == 200 and manager.told()[0] == (OPERATOR, {"saved": 2})
    assert refused.code == 502 and FIRST.encode() not in refused.body


async def test_while_the_manager_is_away_it_waits(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    tell(redis_client, ended(1))
    await operator.flow()
    manager.answers["/readings"] = (500, {})
    await operator.get(f"/flows/{FIRST}/request/content.data")
    await until(lambda: manager.told())

    manager.answers.clear()
    await operator.master._witness.tell()
    told = len(manager.told())
    await operator.master._witness.tell()

    assert told >= 2 and len(manager.told()) == told


async def test_who_is_not_known_any_longer_is_not_waited_for(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    tell(redis_client, ended(1))
    await operator.flow()
    del manager.people[OPERATOR]
    await operator.get(f"/flows/{FIRST}/request/content.data")
    await until(lambda: manager.told())
    await until(lambda: not operator.master._witness._waiting)
    count = len(manager.told())

    await operator.master._witness.tell()

    assert len(manager.told()) == count


async def test_two_who_look_are_told_of_by_themselves(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    tell(redis_client, ended(1))
    await operator.flow()
    await operator.get(f"/flows/{FIRST}/request/content.data")
    await operator.get(f"/flows/{FIRST}/request/content.data", Authorization=f"Bearer {AUDITOR}")

    await until(lambda: {token for token, _ in manager.told()} == {OPERATOR, AUDITOR})


async def test_of_who_came_with_the_password_the_log_tells(
    start: Start,
    manager: FakeManager,
    redis_client: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = await start(LLM_PROXY_INSPECTOR_PASSWORD=HASH)
    tell(redis_client, ended(1))
    await page.sign_in(PASSWORD)
    await page.flow()

    await page.get(f"/flows/{FIRST}/request/content.data")
    await page.get("/flows/dump")

    said = caplog.text + "".join(capsys.readouterr())
    assert "inspector_read" in said and "inspector_saved" in said and manager.told() == []
