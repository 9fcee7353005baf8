"""Rules of what is done to live requests: asked of the manager by whoever does it, shown at once, told if not done."""

import json
from typing import Any

import pytest
import redis

from addons.inspection.guard import COOKIE
from shared.flow_schema import MOST_EDITED_BYTES, Message
from tests.addons.inspection.conftest import HASH, PASSWORD, Page, Start, until
from tests.addons.inspection.fake_manager import AUDITOR, OPERATOR, FakeManager
from tests.flow_records import ASKED, JSON, ended, held, hold, record, request_id, streaming, tell

ID = request_id(1)
FLOW = f"/flows/{ID}"
EDITED = '{"model":"gpt-5-mini","messages":[{"role":"user","content":"[email 1] – ö"}]}'


async def holding(page: Page, client: "redis.Redis") -> None:
    """Have one request held."""
    hold(client, held())
    await page.flow(lambda flow: flow["request"]["contentLength"] == len(ASKED))


def revision(page: Page) -> int:
    """Return which record of the request is the last one known."""
    found = page.master.book.find(ID)
    return found.record.revision if found else 0


async def edit(page: Page, text: bytes) -> Any:
    """Edit the request's body as the page does: as a file in a form."""
    lines = [b"--b", b'Content-Disposition: form-data; name="file"; filename="blob"', b"Content-Type: plain/text", b""]
    body = b"\r\n".join([*lines, text, b"--b--", b""])
    return await page.send("POST", f"{FLOW}/request/content.data", body, Content_Type="multipart/form-data; boundary=b")


async def shown(page: Page) -> str:
    """Return the request's body as the page shows it."""
    return (await page.get(f"{FLOW}/request/content.data")).body.decode()


async def test_a_held_request_is_resumed_as_it_is(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    await holding(operator, redis_client)

    answer = await operator.do("POST", f"{FLOW}/resume")

    assert answer.code == 200 and manager.done() == [(f"{ID}/resume", {"reason": "in mitmweb"})]
    assert manager.asked[-1][0] == OPERATOR
    assert await operator.flow(lambda flow: flow["intercepted"])  # It runs, so it can be ended.
    found = operator.master.book.find(ID)
    assert found is not None and not found.flow.intercepted


async def test_a_held_request_is_edited_and_resumed(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    await holding(operator, redis_client)

    assert (await edit(operator, EDITED.encode())).code == 200
    flow = await operator.flow(lambda flow: flow["modified"])
    seen = await shown(operator)
    await operator.do("POST", f"{FLOW}/resume")
    tell(redis_client, ended(request=Message(JSON, len(EDITED.encode()), EDITED.encode())))

    assert flow["request"]["contentLength"] == len(EDITED.encode()) and seen == EDITED
    assert manager.done() == [(f"{ID}/resume", {"reason": "in mitmweb", "body": EDITED})]
    await operator.flow(lambda flow: not flow["intercepted"] and not flow["modified"])
    assert await shown(operator) == EDITED


async def test_an_edit_as_json_is_as_good_and_can_be_taken_back(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    await holding(operator, redis_client)

    await operator.do("PUT", FLOW, {"request": {"content": EDITED}})
    edited = await shown(operator)
    await operator.do("POST", f"{FLOW}/revert")
    reverted = await shown(operator)
    await operator.do("POST", f"{FLOW}/resume")

    assert (edited, reverted.encode()) == (EDITED, ASKED)
    assert manager.done() == [(f"{ID}/resume", {"reason": "in mitmweb"})]


@pytest.mark.parametrize(
    ("path", "told", "action"),
    [("kill", streaming(), "cut"), ("kill", record(), "cut"), ("kill", held(), "refuse")],
    ids=["streaming", "waiting", "held"],
)
async def test_a_running_request_is_cut_and_a_held_one_refused(
    operator: Page, manager: FakeManager, redis_client: redis.Redis, path: str, told: Any, action: str
) -> None:
    tell(redis_client, told)
    await operator.flow(lambda flow: flow["intercepted"])

    answer = await operator.do("POST", f"{FLOW}/{path}")

    assert answer.code == 200 and manager.done() == [(f"{ID}/{action}", {"reason": "in mitmweb"})]


async def test_the_reason_is_what_whoever_acts_has_written_beside_the_flow(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    tell(redis_client, streaming())
    flow = await operator.flow()

    await operator.do("PUT", FLOW, {"comment": f"{flow['comment']} runs\nin \ud83d circles"})
    seen = (await operator.flow())["comment"]
    own = operator.cookies[COOKIE].value
    await operator.sign_in(OPERATOR)
    await operator.do("POST", f"{FLOW}/kill")
    operator.cookies[COOKIE] = own
    await operator.do("POST", f"{FLOW}/kill")

    assert seen == flow["comment"] + ' reason="runs in   circles"'
    assert [body["reason"] for _, body in manager.done()] == ["in mitmweb", "runs in   circles"]


async def test_nobody_sends_what_somebody_else_has_written(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    await holding(operator, redis_client)
    await edit(operator, EDITED.encode())
    await operator.sign_in(OPERATOR)

    refused = await operator.do("POST", f"{FLOW}/resume")
    await operator.do("POST", f"{FLOW}/revert")
    resumed = await operator.do("POST", f"{FLOW}/resume")

    assert (refused.code, resumed.code) == (409, 200) and b"Somebody else" in refused.body
    assert manager.done() == [(f"{ID}/resume", {"reason": "in mitmweb"})]


async def test_a_flow_is_marked(operator: Page, redis_client: redis.Redis) -> None:
    tell(redis_client, record())
    await operator.flow()

    assert (await operator.do("PUT", FLOW, {"marked": ":eyes:"})).code == 200
    assert (await operator.do("PUT", FLOW, {"marked": SCRIPT})).code == 422

    assert (await operator.flow())["marked"] == "👀"


SCRIPT = "<script>"


# What cannot be done


@pytest.mark.parametrize("told", [record(), streaming(), ended()], ids=["waiting", "streaming", "ended"])
async def test_only_what_is_held_can_be_edited_or_resumed(
    operator: Page, manager: FakeManager, redis_client: redis.Redis, told: Any
) -> None:
    tell(redis_client, told)
    await operator.flow()

    answers = [await edit(operator, b"x"), await operator.do("PUT", FLOW, {"request": {"content": "x"}})]
    answers.append(await operator.do("POST", f"{FLOW}/resume"))

    assert [answer.code for answer in answers] == [409] * 3 and b"not held" in answers[0].body
    assert manager.done() == [] and not (await operator.flow())["modified"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"request": {"path": "/evil"}},
        {"request": {"headers": [["a", "b"]], "content": "x"}},
        {"request": {"content": "x", "host": "evil"}},
        {"response": {"content": "x"}},
        {"response": {"code": 200}},
        {"comment": 1},
        {"marked": None},
        {"id": "x"},
    ],
    ids=lambda wanted: json.dumps(wanted),
)
async def test_nothing_else_can_be_edited_even_if_it_is_held(
    operator: Page, redis_client: redis.Redis, wanted: dict[str, Any]
) -> None:
    await holding(operator, redis_client)
    before = await operator.flow()

    assert (await operator.do("PUT", FLOW, wanted)).code == 409

    assert await operator.flow() == before


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"x" * (MOST_EDITED_BYTES + 1), 413), (b"\xff\xfe", 422)],
    ids=["too large", "not text"],
)
async def test_an_edit_has_to_be_text_of_some_size(
    operator: Page, redis_client: redis.Redis, body: bytes, code: int
) -> None:
    await holding(operator, redis_client)

    assert (await edit(operator, body)).code == code and (await shown(operator)).encode() == ASKED


@pytest.mark.parametrize(
    "request_told",
    [Message(JSON, 9, note="metadata only"), Message(JSON, 9, b"begin", is_cut=True)],
    ids=["withheld", "cut"],
)
async def test_what_is_not_shown_whole_cannot_be_edited(
    operator: Page, redis_client: redis.Redis, request_told: Message
) -> None:
    tell(redis_client, held(request=request_told))
    await operator.flow()

    assert (await edit(operator, b"x")).code == 409


async def test_an_answer_is_not_edited(operator: Page, redis_client: redis.Redis) -> None:
    await holding(operator, redis_client)

    assert (await operator.send("POST", f"{FLOW}/response/content.data", b"x")).code == 409


async def test_what_has_ended_cannot_be_ended(operator: Page, manager: FakeManager, redis_client: redis.Redis) -> None:
    tell(redis_client, ended())
    await operator.flow()

    assert (await operator.do("POST", f"{FLOW}/kill")).code == 409 and manager.done() == []


@pytest.mark.parametrize("end", ["resume", "kill", "revert"])
async def test_what_is_not_there_is_not_found(operator: Page, end: str) -> None:
    assert (await operator.do("POST", f"/flows/{request_id(9)}/{end}")).code == 404


@pytest.mark.parametrize("secret", [AUDITOR, PASSWORD], ids=["auditor", "password"])
async def test_who_may_only_look_changes_nothing(
    start: Start, manager: FakeManager, redis_client: redis.Redis, secret: str
) -> None:
    page = await start(LLM_PROXY_INSPECTOR_PASSWORD=HASH)
    await page.sign_in(secret)
    await holding(page, redis_client)
    before = await page.flow()

    answers = [await page.do("POST", f"{FLOW}/{end}") for end in ("resume", "kill", "revert")]
    answers += [await page.do("PUT", FLOW, wanted) for wanted in ({"comment": "x"}, {"marked": ":eyes:"})]
    answers.append(await edit(page, b"x"))

    assert [answer.code for answer in answers] == [403] * 6 and b"You may look" in answers[0].body
    assert manager.done() == [] and await page.flow() == before


# Refusals of the manager


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ((422, {"detail": "Some fields are faulty; see errors.", "errors": {"body": ["No JSON."]}}), 422, "No JSON."),
        ((403, {"detail": "This needs the role operator."}), 403, "needs the role"),
        ((503, {"detail": "Redis cannot be reached."}), 502, "does not answer"),
    ],
    ids=["faulty", "forbidden", "broken"],
)
async def test_why_something_was_not_done_is_answered_and_shown(
    operator: Page, manager: FakeManager, redis_client: redis.Redis, given: Any, code: int, text: str
) -> None:
    await holding(operator, redis_client)
    await edit(operator, EDITED.encode())
    manager.answers["/resume"] = given

    answer = await operator.do("POST", f"{FLOW}/resume")

    assert (answer.code, text in answer.body.decode()) == (code, True)
    flow = await operator.flow()
    assert text in flow["comment"].partition(' failed="resume: ')[2] and flow["intercepted"] and flow["modified"]
    [event] = await operator.json("/events")
    assert text in event["message"] and ID in event["message"] and event["level"] == "error"


async def test_a_request_that_is_gone_is_no_longer_shown_as_running(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    tell(redis_client, streaming())
    await operator.flow()
    manager.answers["/cut"] = (404, {"detail": "There is no such request in flight."})

    assert (await operator.do("POST", f"{FLOW}/kill")).code == 404

    flow = await operator.flow()
    assert not flow["intercepted"] and "no such request" in flow["comment"]


async def test_who_has_been_revoked_is_put_out_by_the_first_thing_he_does(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    tell(redis_client, streaming())
    await operator.flow()
    del manager.people[OPERATOR]

    answer = await operator.do("POST", f"{FLOW}/kill")

    assert answer.code == 403 and b"sign in again" in answer.body and (await operator.get("/flows")).code == 403


async def test_what_the_feed_says_while_the_manager_is_asked_wins(
    operator: Page, manager: FakeManager, redis_client: redis.Redis
) -> None:
    await holding(operator, redis_client)

    await operator.do("POST", f"{FLOW}/resume")
    tell(redis_client, held(revision=5))
    await until(lambda: revision(operator) == 5)
    again = await operator.do("POST", f"{FLOW}/resume")

    assert again.code == 200 and len(manager.done()) == 2
