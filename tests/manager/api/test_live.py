"""Rules of /manage/live: who may see what is in flight, who may cut it, and that the audit knows why."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from manager.principals import Principal, Role, Scope
from shared import live_schema
from tests.manager.api.conftest import Api, faulty, problem
from tests.manager.conftest import NOW, PROJECT_ID, TOKEN_ID, one_database
from tests.manager.live_workers import Ear, Workers, running

OTHER = uuid.UUID(int=7)

type SignIn = Callable[[Principal], None]


@pytest.fixture
def workers(redis_client: redis.Redis) -> Workers:
    """One worker with two requests of different projects, one of which has not begun to answer."""
    made = Workers(redis_client)
    waiting = {"state": "waiting", "chunks": 0, "response_bytes": 0, "completion_tokens": None, "model": None}
    made.tell("host:1", running("r1"), running("r2", 1, project_id=str(OTHER), **waiting))
    made.hold("r1")
    made.hold("r2", OTHER)
    return made


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    made = Ear(redis_client)
    yield made
    made.close()


def ids(api: Api, **query: Any) -> list[str]:
    return [request["request_id"] for request in api.get("live", **query).json["items"]]


def cuts_told(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get("audit", action="request.cut").json["items"]
    return found


# Looking


@one_database
def test_what_is_in_flight_is_shown(api: Api, workers: Workers) -> None:
    shown = api.get("live").json

    assert shown["count"] == 2
    assert shown["workers"] == [{"name": "host:1", "told_at": NOW.isoformat(), "count": 2}]
    assert shown["items"][0] == {
        "request_id": "r1",
        "project_id": str(PROJECT_ID),
        "token_id": str(TOKEN_ID),
        "token_label": "nightly",
        "provider": "openai",
        "route": "chat.completions",
        "model": "gpt-4o",
        "started_at": NOW.isoformat(),
        "is_stream": True,
        "state": "streaming",
        "chunks": 12,
        "response_bytes": 4000,
        "completion_tokens": 11,
        "worker": "host:1",
        "rule": "",
        "held_until": None,
    }
    waiting = shown["items"][1]
    assert (waiting["state"], waiting["model"], waiting["completion_tokens"]) == ("waiting", None, None)


@one_database
def test_whoever_looks_watches(api: Api, redis_client: redis.Redis) -> None:
    assert api.get("live").json == {"items": [], "count": 0, "workers": []}
    assert redis_client.pttl(live_schema.WATCHED) > 0


@one_database
def test_a_list_can_be_short_and_of_one_project(api: Api, workers: Workers) -> None:
    assert ids(api, limit=1) == ["r1"] and api.get("live", limit=1).json["count"] == 2
    assert ids(api, project_id=str(OTHER)) == ["r2"] and api.get("live", project_id=str(OTHER)).json["count"] == 1
    assert ids(api, project_id=str(uuid.uuid4())) == []


@one_database
@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"project_id": "x"}, {"cursor": ""}], ids=str)
def test_what_makes_no_sense_is_refused(api: Api, query: dict[str, Any]) -> None:
    assert faulty(api.get("live", **query)) == list(query)


@one_database
def test_who_has_a_scope_sees_its_projects_alone(api: Api, workers: Workers, signed_in: SignIn) -> None:
    signed_in(Principal("ann", Role.AUDITOR, Scope(frozenset([OTHER]))))

    shown = api.get("live").json

    assert [request["request_id"] for request in shown["items"]] == ["r2"]
    assert (shown["count"], shown["workers"][0]["count"]) == (1, 1)
    assert ids(api, project_id=str(PROJECT_ID)) == []


@one_database
def test_without_redis_nobody_knows(lonely: Api) -> None:
    assert problem(lonely.get("live")) == (503, "service_unavailable")
    assert problem(lonely.post("live/r1/cut")) == (503, "service_unavailable")
    assert cuts_told(lonely) == []


# Cutting


def test_a_cut_reaches_the_workers_and_the_audit_knows_who_and_why(api: Api, workers: Workers, ear: Ear) -> None:
    ann = api.operator("operator", name="ann")
    sent = {"headers": {"x-request-id": "ticket-42"}, "json": {"reason": "runs in circles"}}

    answer = ann.send("POST", "live/r1/cut", **sent)

    assert (answer.status_code, answer.data, ear.cuts()) == (204, b"", ["r1"])
    [event] = cuts_told(api)
    assert (event["actor"], event["outcome"], event["request_id"]) == ("ann", "success", "ticket-42")
    assert (event["project_id"], event["token_id"]) == (str(PROJECT_ID), str(TOKEN_ID))
    assert event["detail"] == {"request_id": "r1", "reason": "runs in circles"}
    assert event["actor_id"] == ann.get("me").json["id"] and event["address"] == "127.0.0.1"


@one_database
@pytest.mark.parametrize("more", [{}, {"json": {}}], ids=["no body", "an empty one"])
def test_a_reason_need_not_be_given(api: Api, workers: Workers, ear: Ear, more: dict[str, Any]) -> None:
    assert api.send("POST", "live/r1/cut", **more).status_code == 204
    assert ear.cuts() == ["r1"] and cuts_told(api)[0]["detail"]["reason"] == ""


@one_database
def test_a_secret_in_a_reason_is_masked(api: Api, workers: Workers) -> None:
    api.post("live/r1/cut", reason="it had sk-proj-0123456789-abcdefgh in it")

    assert cuts_told(api)[0]["detail"]["reason"] == "it had sk-p****efgh in it"


@one_database
@pytest.mark.parametrize("reason", ["x" * 501, "a\nb", "\0", "\ud800", None, 7], ids=ascii)
def test_what_is_no_reason_is_refused(api: Api, workers: Workers, ear: Ear, reason: Any) -> None:
    assert faulty(api.post("live/r1/cut", reason=reason)) == ["reason"]
    assert ear.cuts() == [] and cuts_told(api) == []


@pytest.mark.parametrize("request_id", ["r3", "%00", "r1%0a", "%ff"])
def test_what_is_not_in_flight_is_not_found(api: Api, workers: Workers, ear: Ear, request_id: str) -> None:
    assert problem(api.post(f"live/{request_id}/cut")) == (404, "not_found")
    assert ear.cuts() == [] and cuts_told(api) == []


@one_database
def test_who_only_reads_cuts_nothing(api: Api, workers: Workers, ear: Ear) -> None:
    auditor = api.operator("auditor")

    assert auditor.get("live").status_code == 200
    assert problem(auditor.post("live/r1/cut")) == (403, "forbidden")
    assert ear.cuts() == []


def test_what_is_out_of_scope_is_not_there(api: Api, workers: Workers, ear: Ear, signed_in: SignIn) -> None:
    signed_in(Principal("ann", Role.OPERATOR, Scope(frozenset([OTHER]))))

    answers = [problem(api.post(f"live/{request_id}/cut")) for request_id in ("r1", "r3")]
    cut = api.post("live/r2/cut")

    assert answers == [(404, "not_found")] * 2 and cut.status_code == 204
    assert ear.cuts() == ["r2"]
