"""An operator watches what is in flight on two workers, and cuts one request: it ends at once, the other goes on."""

import json
import time
from typing import Any

import openai
import pytest

from shared import live_schema, redis_schema
from shared.holds_schema import decode_hold
from tests.journeys.conftest import Installation, Token, until
from tests.journeys.test_resilience import CUT_SECONDS, Asked, behaving, entries_open, realtime

ENDLESS = {"chunks": 100_000, "chunk_interval_ms": 20}


@pytest.fixture
def token(installation: Installation, request: pytest.FixtureRequest) -> Token:
    return installation.token(installation.project(request.node.name), label="nightly")


def in_flight(installation: Installation, token: Token) -> list[dict[str, Any]]:
    """What an operator sees of a token's project."""
    shown: list[dict[str, Any]] = installation.manage("GET", f"/manage/live?project_id={token.project_id}")["items"]
    return shown


def streaming(installation: Installation, token: Token, count: int) -> list[dict[str, Any]]:
    """The streams of a token, once so many are seen to have begun, oldest first."""

    def found() -> list[dict[str, Any]] | None:
        seen = [each for each in in_flight(installation, token) if each["chunks"]]
        return seen if len(seen) == count else None

    return until(found) or []


def test_a_stream_on_another_worker_is_seen_and_cut_and_the_other_goes_on(
    installation: Installation, token: Token
) -> None:
    opened = entries_open(installation)
    staying = Asked(installation, token, worker=0, **ENDLESS)
    until(lambda: staying.content)
    flowing = Asked(installation, token, worker=1, **ENDLESS)
    kept, first = streaming(installation, token, 2)
    until(lambda: streaming(installation, token, 2)[1]["chunks"] > first["chunks"])
    seen = streaming(installation, token, 2)[1]

    assert (seen["request_id"], seen["token_id"], seen["token_label"]) == (first["request_id"], token.id, "nightly")
    assert (seen["route"], seen["state"], seen["is_stream"]) == ("chat.completions", "streaming", True)
    assert seen["worker"] != kept["worker"] and seen["started_at"] > kept["started_at"]
    assert seen["completion_tokens"] > 0 and seen["response_bytes"] > seen["chunks"]

    installation.manage("POST", f"/manage/live/{seen['request_id']}/cut", {"reason": "runs in circles"})
    cut = time.monotonic()
    flowing.join()
    length = len(staying.content)
    until(lambda: len(staying.content) > length)

    assert flowing.ended - cut < CUT_SECONDS
    assert (flowing.status, flowing.code(), flowing.error) == (200, "request_cut", "")
    [row] = installation.usage_of(token, 1)
    assert (row["request_id"], row["outcome"], row["error_code"]) == (seen["request_id"], "cut", "request_cut")
    assert row["chunks"] >= seen["chunks"] and row["completion_tokens"] >= seen["completion_tokens"]
    [event] = installation.manage("GET", f"/manage/audit?action=request.cut&token_id={token.id}")["items"]
    assert (event["actor"], event["project_id"]) == ("management", token.project_id)
    assert event["detail"] == {"request_id": seen["request_id"], "reason": "runs in circles"}
    [came_of_it] = installation.manage("GET", f"/manage/audit?request_id={seen['request_id']}")["items"]
    assert (came_of_it["action"], came_of_it["detail"]["code"]) == ("stream.cut", "request_cut")
    assert [each["request_id"] for each in until(lambda: in_flight(installation, token)[:1])] == [kept["request_id"]]

    installation.manage("POST", f"/manage/live/{kept['request_id']}/cut")
    assert staying.join().code() == "request_cut"
    until(lambda: entries_open(installation) == opened)


def test_a_request_that_waits_is_cut_and_its_sdk_does_not_try_again(installation: Installation, token: Token) -> None:
    requests = installation.ledger()["requests"]
    waiting = Asked(installation, token, worker=1, latency_ms=60_000)
    [seen] = until(lambda: in_flight(installation, token))
    assert (seen["state"], seen["chunks"], seen["completion_tokens"]) == ("waiting", 0, None)

    installation.manage("POST", f"/manage/live/{seen['request_id']}/cut")
    cut = time.monotonic()
    waiting.join()

    assert waiting.ended - cut < CUT_SECONDS and (waiting.status, waiting.code()) == (403, "request_cut")
    [row] = installation.usage_of(token, 1)
    assert (row["outcome"], row["status"], row["error_code"]) == ("cut", 403, "request_cut")
    assert installation.ledger()["requests"] == requests + 1
    url = f"{installation.manager_url}/manage/live/{seen['request_id']}/cut"
    assert until(lambda: installation.session.post(url, timeout=10).status_code == 404)


def test_a_websocket_is_seen_and_cut(installation: Installation, token: Token) -> None:
    talk = realtime(installation, token)
    talk.hear("session.created")
    [seen] = until(lambda: in_flight(installation, token))
    assert seen["route"] == "realtime"

    installation.manage("POST", f"/manage/live/{seen['request_id']}/cut")
    end = talk.event()

    assert getattr(end, "code", None) == 1008
    talk.drop()
    [row] = installation.usage_of(token, 1)
    assert (row["outcome"], row["error_code"]) == ("cut", "request_cut")


def test_what_workers_tell_holds_neither_key_nor_token(installation: Installation) -> None:
    key = installation.provider_key
    project = installation.project("canary-live")
    token = installation.token(project)
    naming = installation.token(project, label=f"after {token.secret}")
    openings = [
        (each, {"model": model, "messages": [{"role": "user", "content": f"{key} {token.secret}"}], "stream": True})
        for each, model in ((token, token.secret), (naming, key))
    ]
    streams = [
        installation.client(each).chat.completions.create(**body, extra_headers=behaving(hold_after=2))
        for each, body in openings
    ]
    for stream in streams:
        next(iter(stream))
    until(lambda: len(in_flight(installation, token)) == 2)

    with installation.redis() as client:
        told = [client.get(name) or b"" for name in client.scan_iter(f"{live_schema.WORKER_PREFIX}*")]
        assert client.exists(live_schema.WATCHED)
    shown = json.dumps(in_flight(installation, token))
    for request in in_flight(installation, token):
        installation.manage("POST", f"/manage/live/{request['request_id']}/cut")
    for stream in streams:
        with pytest.raises(openai.APIError, match="An operator has ended this request"):
            list(stream)

    assert any(b"chat.completions" in each for each in told) and "****" in shown
    for secret in (key, token.secret, naming.secret):
        assert secret not in shown and not [each for each in told if secret.encode() in each]


def test_what_nobody_watches_is_not_told_and_can_be_cut(installation: Installation, token: Token) -> None:
    with installation.redis() as client:
        client.delete(live_schema.WATCHED)
        running = Asked(installation, token, **ENDLESS)
        until(lambda: running.content and not list(client.scan_iter(f"{live_schema.WORKER_PREFIX}*")))
        holds = map(decode_hold, client.hvals(redis_schema.HOLDS))
        [request_id] = [hold.request.request_id for hold in holds if hold.request.token_id == token.id]

    installation.manage("POST", f"/manage/live/{request_id}/cut")

    assert running.join().code() == "request_cut"
