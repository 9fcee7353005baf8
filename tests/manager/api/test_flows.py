"""Rules of /manage/flows and of decisions about held requests: who sees what, and that all of it is told."""

import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest
import redis

from manager import live
from manager.errors import Conflict
from manager.principals import Principal, Role, Scope
from shared import flow_schema
from shared.flow_schema import FlowRecord, Message, Phase, encode_record
from shared.redis_schema import Decided
from shared.rules_schema import LONGEST_HOLD_SECONDS
from tests.flow_records import ASKED, ended, record, request_id, streaming, tell
from tests.manager.api.conftest import Api, faulty, problem
from tests.manager.conftest import one_database
from tests.manager.live_workers import Ear

OWN, OTHER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))

type SignIn = Callable[[Principal], None]


@pytest.fixture
def ear(redis_client: redis.Redis) -> Iterator[Ear]:
    made = Ear(redis_client)
    yield made
    made.close()


def ids(api: Api, **query: Any) -> list[str]:
    return [each["request_id"] for each in api.get("flows", **query).json["items"]]


def actions(api: Api) -> list[str]:
    return [event["action"] for event in api.get("audit").json["items"]]


# Reading


@one_database
def test_flows_are_listed_newest_first_without_bodies(api: Api, redis_client: redis.Redis) -> None:
    tell(redis_client, ended(1))
    tell(redis_client, record(2), streaming(2), ended(3, project_id=OTHER))

    listed = api.get("flows").json

    assert [each["request_id"] for each in listed["items"]] == [request_id(n) for n in (3, 2, 1)]
    assert [each["phase"] for each in listed["items"]] == ["ended", "streaming", "ended"]
    assert listed["is_whole"] and "hi" not in json.dumps(listed)
    assert ids(api, limit=1) == [request_id(3)] and ids(api, project_id=OTHER) == [request_id(3)]
    assert ids(api, request_id=request_id(2)) == [request_id(2)]
    later = datetime.fromtimestamp(record(2).started_at, UTC).isoformat()
    assert ids(api, **{"from": later}) == [request_id(3), request_id(2)] and ids(api, until=later) == [request_id(1)]


@one_database
def test_a_flow_is_shown_whole_and_that_is_told(api: Api, redis_client: redis.Redis) -> None:
    tell(redis_client, record(1))
    tell(redis_client, streaming(1, body=b"\x00\xff"))

    shown = api.get(f"flows/{request_id(1)}").json

    assert shown["request"]["body"] == ASKED.decode()  # Of the record before: the later one says that it is the same.
    assert (shown["response"]["body"], shown["response"]["body_base64"]) == (None, "AP8=")
    assert actions(api)[0] == "flows.read"
    assert problem(api.get(f"flows/{request_id(9)}")) == (404, "not_found")


@one_database
def test_what_is_out_of_scope_is_not_there(api: Api, redis_client: redis.Redis, signed_in: SignIn) -> None:
    tell(redis_client, ended(1, project_id=OWN), ended(2, project_id=OTHER), ended(3, project_id=""))
    signed_in(Principal("ann", Role.AUDITOR, Scope(frozenset([uuid.UUID(OWN)]))))

    assert ids(api) == [request_id(1)] and ids(api, project_id=OTHER) == []
    assert problem(api.get(f"flows/{request_id(2)}")) == (404, "not_found")
    assert problem(api.get(f"flows/{request_id(3)}")) == (404, "not_found")


@one_database
def test_what_is_no_record_is_passed_over(api: Api, redis_client: redis.Redis) -> None:
    tell(redis_client, ended(1))
    redis_client.xadd(flow_schema.FLOWS, {flow_schema.FLOWS_FIELD: b"\xc1"})
    redis_client.xadd(flow_schema.FLOWS, {"other": b""})

    assert ids(api) == [request_id(1)]


# Evidence


@one_database
def test_an_export_is_a_zip_that_the_audit_knows(api: Api, redis_client: redis.Redis) -> None:
    tell(redis_client, ended(1), ended(2))

    answer = api.post("flows/export", request_ids=[request_id(1)])

    [event] = api.get("audit", action="flows.export").json["items"]
    assert event["detail"]["sha256"] == sha256(answer.data).hexdigest() and event["detail"]["flows"] == 1
    with zipfile.ZipFile(io.BytesIO(answer.data)) as file:
        manifest = json.loads(file.read("manifest.json"))
        parts = {part["file"]: part["sha256"] for part in manifest["parts"]}
        assert parts == {name: sha256(file.read(name)).hexdigest() for name in ("flows.mitm", "flows.har")}
    assert manifest["audit_event_id"] == event["id"]
    assert [flow["request_id"] for flow in manifest["flows"]] == [request_id(1)]


@pytest.mark.parametrize("request_ids", [[], ["a*"], ["a\n"], [""], ["a" * 65], [7]])
@one_database
def test_an_export_of_what_is_no_request_id_is_refused(api: Api, request_ids: list[object]) -> None:
    assert faulty(api.post("flows/export", request_ids=request_ids)) == ["request_ids"]


# Deciding


def hold(client: redis.Redis, number: int = 1, **changes: Any) -> FlowRecord:
    """A request that is held, as its worker tells it."""
    held = record(number, phase=Phase.HELD, rule="look", held_until=1_777_000_060.0, **changes)
    client.set(flow_schema.held_key(held.request_id), encode_record(held), px=60_000)
    return held


@one_database
def test_a_held_request_is_shown_and_let_go(api: Api, redis_client: redis.Redis, ear: Ear) -> None:
    held = hold(redis_client)

    shown = api.get(f"live/{held.request_id}").json
    answer = api.post(f"live/{held.request_id}/resume", reason="fine")

    assert shown["is_held"] and shown["flow"]["request"]["body"] == ASKED.decode()
    assert answer.status_code == 202 and ear.heard() == [Decided(held.request_id, "resume")]
    [event] = api.get("audit", action="request.resume").json["items"]
    assert event["detail"] == {"request_id": held.request_id, "reason": "fine"}
    assert problem(api.post(f"live/{held.request_id}/refuse")) == (404, "not_found")


@one_database
def test_an_edited_body_waits_for_the_worker_before_it_is_told(api: Api, redis_client: redis.Redis, ear: Ear) -> None:
    held, edited = hold(redis_client), '{"model":"m","messages":[]}'

    api.post(f"live/{held.request_id}/resume", body=edited)

    assert redis_client.get(flow_schema.edit_key(held.request_id)) == edited.encode()
    assert ear.heard() == [Decided(held.request_id, "resume", True)]
    [event] = api.get("audit", action="request.edit").json["items"]
    assert event["detail"]["before_sha256"] == sha256(ASKED).hexdigest()
    assert event["detail"]["after_sha256"] == sha256(edited.encode()).hexdigest()


@pytest.mark.parametrize("edit", [b"first", None], ids=["edited", "as it was"])
@one_database
def test_of_two_who_decide_at_once_the_first_counts_with_its_body(
    api: Api, redis_client: redis.Redis, ear: Ear, edit: bytes | None
) -> None:
    request_id = hold(redis_client).request_id
    live.resume(redis_client, request_id, edit)

    with pytest.raises(Conflict):
        live.resume(redis_client, request_id, b"second")
    with pytest.raises(Conflict):
        live.refuse(redis_client, request_id)

    assert redis_client.get(flow_schema.edit_key(request_id)) == edit
    assert ear.heard() == [Decided(request_id, "resume", edit is not None)]


@one_database
def test_a_decision_is_there_for_as_long_as_a_request_may_be_held(api: Api, redis_client: redis.Redis) -> None:
    held = hold(redis_client)

    api.post(f"live/{held.request_id}/resume", body="{}")

    keys = (flow_schema.decided_key(held.request_id), flow_schema.edit_key(held.request_id))
    assert min(redis_client.pttl(key) for key in keys) > LONGEST_HOLD_SECONDS * 1000


@pytest.mark.parametrize("edited", ["", "no JSON", "[]", "{", '"text"', '{"n": NaN}', "[" * 100_000])
@one_database
def test_what_the_proxy_would_not_take_costs_the_client_nothing(
    api: Api, redis_client: redis.Redis, ear: Ear, edited: str
) -> None:
    held = hold(redis_client)

    assert faulty(api.post(f"live/{held.request_id}/resume", body=edited)) == ["body"]
    assert ear.heard() == [] and api.get(f"live/{held.request_id}").json["is_held"]


@one_database
def test_a_body_that_was_no_json_may_become_any_text(api: Api, redis_client: redis.Redis, ear: Ear) -> None:
    held = hold(redis_client, request=Message([], 4, b"text"))

    assert api.post(f"live/{held.request_id}/resume", body="other text").status_code == 202
    assert ear.heard() == [Decided(held.request_id, "resume", True)]


@one_database
def test_the_same_body_is_no_edit(api: Api, redis_client: redis.Redis, ear: Ear) -> None:
    held = hold(redis_client)

    api.post(f"live/{held.request_id}/resume", body=ASKED.decode())

    assert ear.heard() == [Decided(held.request_id, "resume")]


@one_database
def test_a_held_request_is_refused(api: Api, redis_client: redis.Redis, ear: Ear) -> None:
    held = hold(redis_client)

    assert api.post(f"live/{held.request_id}/refuse", reason="customer data").status_code == 202
    assert ear.heard() == [Decided(held.request_id, "refuse")]
    assert api.get("audit", action="request.refuse").json["items"][0]["detail"]["reason"] == "customer data"


@one_database
def test_a_body_that_is_not_shown_whole_is_not_edited(api: Api, redis_client: redis.Redis, ear: Ear) -> None:
    held = hold(redis_client, request=Message([], 9, b"half", is_cut=True))

    assert problem(api.post(f"live/{held.request_id}/resume", body="x")) == (409, "conflict")
    assert faulty(api.post(f"live/{held.request_id}/resume", body="\ud800")) == ["body"]
    assert ear.heard() == []


@one_database
def test_who_may_not_decides_nothing(api: Api, redis_client: redis.Redis, signed_in: SignIn, ear: Ear) -> None:
    held = hold(redis_client, project_id=OTHER)
    path = f"live/{held.request_id}/resume"

    signed_in(Principal("ann", Role.AUDITOR))
    assert problem(api.post(path)) == (403, "forbidden")
    signed_in(Principal("bob", Role.OPERATOR, Scope(frozenset([uuid.UUID(OWN)]))))
    assert problem(api.post(path)) == (404, "not_found")
    assert ear.heard() == []


# mitmweb


@one_database
def test_who_opens_mitmweb_is_told_of(api: Api, signed_in: SignIn) -> None:
    opened = api.post("inspector/sessions")

    assert opened.json == {"name": "management", "role": "admin", "sees_everything": True, "may_decide": True}
    assert actions(api)[0] == "inspector.open"
    signed_in(Principal("ann", Role.AUDITOR))
    assert api.post("inspector/sessions").json["may_decide"] is False
    signed_in(Principal("bob", Role.ADMIN, Scope(frozenset([uuid.UUID(OWN)]))))
    assert problem(api.post("inspector/sessions")) == (403, "forbidden")


@one_database
def test_what_is_looked_at_and_saved_in_mitmweb_is_told_of(api: Api, signed_in: SignIn) -> None:
    signed_in(Principal("ann", Role.AUDITOR))

    assert api.post("inspector/readings", request_ids=[request_id(1), request_id(2)]).status_code == 204
    assert api.post("inspector/readings", saved=7).status_code == 204

    signed_in(Principal("management", Role.ADMIN))
    found = api.get("audit", actor="ann").json["items"]
    assert [(event["action"], event["detail"]) for event in found] == [
        ("flows.export", {"flows": 7, "in": "mitmweb"}),
        ("flows.read", {"request_id": request_id(2), "in": "mitmweb"}),
        ("flows.read", {"request_id": request_id(1), "in": "mitmweb"}),
    ]
    assert faulty(api.post("inspector/readings", request_ids=["*"])) == ["request_ids"]
    signed_in(Principal("bob", Role.ADMIN, Scope(frozenset([uuid.UUID(OWN)]))))
    assert problem(api.post("inspector/readings", saved=1)) == (403, "forbidden")
