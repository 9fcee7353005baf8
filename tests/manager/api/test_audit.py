"""Rules of /manage/audit: what operators and the data plane did, newest first, found by whom it was done to."""

import csv
import io
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from manager import audit, db, rollup
from manager.audit import Action
from manager.audit_export import BATCH
from manager.tables import AuditEvent
from shared.models import Outcome
from tests.manager.api.conftest import PROVIDER_KEY, Api, faulty, problem
from tests.manager.conftest import EVENT, NOW, PROJECT_ID, TOKEN_ID, one_database

type Told = Callable[..., None]


@pytest.fixture
def told(sessions: db.Sessions) -> Told:
    """Writes events, each of what is unlike the others."""

    def write(*events: dict[str, Any]) -> None:
        with sessions.begin() as session:
            for event in events:
                who = audit.Source(event.get("actor", "ops"), None, event.get("address"))
                rest = {name: value for name, value in event.items() if name not in ("actor", "address")}
                audit.note(session, **{"now": NOW, "source": who, "action": Action.TOKEN_UPDATE} | rest)

    return write


def listed(api: Api, **query: Any) -> list[dict[str, Any]]:
    """What was done, beside making things."""
    found: list[dict[str, Any]] = api.get("audit", **query).json["items"]
    return [event for event in found if not event["action"].endswith(".create")]


def cut(sessions: db.Sessions) -> None:
    """A stream that was cut, as the collector records it."""
    with sessions.begin() as session:
        event = {"outcome": Outcome.CUT, "error_code": "token_inactive"}
        rollup.record(session, [rollup.request_row(EVENT) | event])


def test_a_revocation_is_told_in_full(api: Api) -> None:
    project_id, before = api.project()["id"], datetime.now(UTC)
    token = api.token(project_id)

    answer = api.send("DELETE", f"tokens/{token['id']}", headers={"x-request-id": "ticket-42"})

    assert answer.status_code == 204
    [event] = listed(api)
    assert event == {
        "id": event["id"],
        "occurred_at": event["occurred_at"],
        "action": "token.revoke",
        "actor": "management",
        "actor_id": None,
        "outcome": "success",
        "project_id": project_id,
        "token_id": token["id"],
        "subject_id": None,
        "request_id": "ticket-42",
        "address": "127.0.0.1",
        "detail": {},
        "position": None,
        "mac": None,
    }
    assert uuid.UUID(event["id"]).version == 7
    assert before < datetime.fromisoformat(event["occurred_at"]) < datetime.now(UTC)


def test_revoking_again_is_nothing_new(api: Api) -> None:
    token = api.token(api.project()["id"])

    for _ in range(2):
        api.delete(f"tokens/{token['id']}")

    assert len(listed(api)) == 1


def test_switching_a_project_off_is_told_once_and_deleting_it_with_its_tokens(api: Api) -> None:
    project_id = api.project()["id"]
    api.token(project_id)

    for wanted in (False, False, True):
        api.patch(f"projects/{project_id}", is_active=wanted)
    api.delete(f"projects/{project_id}")

    assert [(event["action"], event["project_id"], event["detail"]) for event in listed(api)] == [
        ("project.delete", project_id, {"revoked_tokens": 1}),
        ("token.revoke", project_id, {}),
        ("project.activate", project_id, {}),
        ("project.deactivate", project_id, {}),
    ]


def test_each_token_that_was_revoked_with_others_is_told(api: Api) -> None:
    project_id = api.project()["id"]
    ids = []
    for path, body in [
        ("tokens/revoke", {"label_prefix": "x"}),
        (f"projects/{project_id}/tokens/revoke", {}),
    ]:
        ids.append(api.token(project_id, label="x")["id"])
        assert api.post(path, **body).status_code == 200
    ids.append(api.token(project_id, label="x")["id"])
    api.delete(f"projects/{project_id}")

    told = [listed(api, token_id=each) for each in ids]
    assert [[event["action"] for event in events] for events in told] == [["token.revoke"]] * 3
    assert told[0][0]["detail"] == {"filters": {"label_prefix": "x"}} and told[2][0]["actor"] == "management"
    deleted = listed(api, action="project.delete")[0]
    assert deleted["request_id"] == told[2][0]["request_id"]


def test_a_new_projects_limits_are_told(api: Api) -> None:
    api.project(limits=[{"measure": "cost", "window": "month", "amount": "500.00"}])

    [event] = api.get("audit", action="project.create").json["items"]
    assert [limit["window"] for limit in event["detail"]["after"]["limits"]] == ["month"]


def test_what_was_refused_is_not_told_as_done(api: Api) -> None:
    made = api.project()
    api.project("other team")

    answer = api.patch(f"projects/{made['id']}", is_active=False, name="other team")

    assert answer.status_code == 409 and listed(api) == []


def test_what_is_stored_but_not_yet_published_is_told(api: Api, lonely: Api) -> None:
    token = api.token(api.project()["id"])

    assert lonely.delete(f"tokens/{token['id']}").status_code == 503
    assert len(listed(api, action="token.revoke")) == 1


def test_a_cut_stream_is_told_by_the_data_plane(api: Api, sessions: db.Sessions) -> None:
    cut(sessions)

    [event] = listed(api)
    assert (event["action"], event["actor"], event["request_id"]) == ("stream.cut", "data-plane", "r1")
    assert (event["project_id"], event["token_id"]) == (str(PROJECT_ID), str(TOKEN_ID))
    assert event["detail"] == {"code": "token_inactive", "route": "chat.completions", "model": "gpt-5-mini"}


def test_no_event_shows_a_secret(api: Api) -> None:
    made = api.project()
    token = api.token(made["id"])
    api.delete(f"projects/{made['id']}")

    text = api.get("audit").text
    assert PROVIDER_KEY[4:-4] not in text and token["token"][12:-4] not in text


@one_database
def test_what_is_sent_like_a_secret_is_masked_in_the_audit(api: Api) -> None:
    made = api.project()
    secret, auditor = api.token(made["id"])["token"], api.operator("auditor")

    auditor.get("audit/export", text=secret)
    auditor.send("GET", "audit/export", {"x-request-id": secret})
    auditor.post(f"dead-letters/{secret}/retry")
    api.token(made["id"], label=secret)

    text = api.get("audit").text
    assert secret not in text and text.count(f"sk-llmp-****{secret[-4:]}") >= 4


def test_events_are_found_by_action_project_token_and_request(api: Api, sessions: db.Sessions) -> None:
    project_id = api.project()["id"]
    token = api.token(project_id)
    api.delete(f"tokens/{token['id']}")
    api.delete(f"projects/{project_id}")
    cut(sessions)

    def actions(**query: Any) -> list[str]:
        return [event["action"] for event in listed(api, **query)]

    assert actions() == ["stream.cut", "project.delete", "token.revoke"]
    assert actions(action="project.delete") == ["project.delete"]
    assert actions(project_id=project_id) == ["project.delete", "token.revoke"]
    assert actions(token_id=token["id"]) == ["token.revoke"]
    assert actions(request_id="r1") == ["stream.cut"]
    assert actions(project_id=project_id, request_id="r1") == []


def test_pages_show_every_event_once_newest_first(api: Api) -> None:
    for number in range(3):
        api.delete(f"projects/{api.project(f'team {number}')['id']}")

    first = api.get("audit", action="project.delete", limit=2).json
    second = api.get("audit", action="project.delete", limit=2, cursor=first["next_cursor"]).json

    ids = [event["id"] for event in first["items"] + second["items"]]
    assert len(ids) == 3 and ids == sorted(ids, reverse=True) and second["next_cursor"] is None


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("action", "token.make"),
        ("action", "\0"),
        ("project_id", "search"),
        ("token_id", "\0"),
        ("request_id", "a b"),
        ("request_id", "\0"),
        ("limit", 0),
        ("cursor", "YWJj"),
        ("actor", ""),
        ("actor", "\0"),
        ("actor", "x" * 201),
        ("outcome", "Success"),
        ("subject_id", "7"),
        ("actor_id", "7"),
        ("from", "yesterday"),
        ("from", "2026-05-04T10:20:30"),
        ("until", "2026-05-04"),
        ("text", ""),
        ("text", "a\0"),
        ("text", "x" * 201),
        ("since", "2026-05-04T10:20:30Z"),
        ("sort", "actor"),
    ],
)
def test_a_faulty_or_unknown_filter_is_refused(api: Api, field: str, value: Any) -> None:
    assert faulty(api.get("audit", **{field: value})) == [field]


@one_database
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_the_audit_cannot_be_changed(api: Api, method: str) -> None:
    assert problem(api.send(method, "audit")) == (405, "method_not_allowed")


@one_database
@pytest.mark.parametrize("path", ["audit/export", "audit/verify", "audit/018f0000-0000-7000-8000-00000000000a"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nor_can_what_is_told_of_it(api: Api, method: str, path: str) -> None:
    assert problem(api.send(method, path)) == (405, "method_not_allowed")


# One event


def test_an_event_is_shown_by_its_id(api: Api) -> None:
    api.delete(f"projects/{api.project()['id']}")
    [event] = listed(api, action="project.delete")

    assert api.get(f"audit/{event['id']}").json == event


def test_an_event_that_is_not_there_is_not_found(api: Api) -> None:
    assert problem(api.get(f"audit/{PROJECT_ID}")) == (404, "not_found")


# Exporting


def test_an_export_has_every_event_oldest_first_and_tells_of_itself(api: Api, told: Told) -> None:
    told(*[{"action": Action.LOGIN, "detail": {"n": n, "name": "équipe 😀"}} for n in range(BATCH + 1)])

    answer = api.get("audit/export")

    assert (answer.status_code, answer.content_type) == (200, "application/x-ndjson")
    assert answer.headers["content-disposition"] == "attachment; filename=audit.jsonl"
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [event["detail"]["n"] for event in events] == list(range(BATCH + 1))
    assert events[0] == api.get(f"audit/{events[0]['id']}").json and "équipe 😀" in answer.text
    [told_of_it] = listed(api, action="audit.export")
    assert (told_of_it["actor"], told_of_it["detail"]) == ("management", {"format": "jsonl"})


def test_an_export_has_what_was_asked_for(api: Api, told: Told) -> None:
    told({"action": Action.LOGIN}, {"action": Action.ACCESS}, {"action": Action.LOGIN, "outcome": "failed"})

    answer = api.get("audit/export", action="login", outcome="failed")

    assert [json.loads(line)["outcome"] for line in answer.text.splitlines()] == ["failed"]
    [event] = listed(api, action="audit.export")
    assert event["detail"] == {"format": "jsonl", "action": "login", "outcome": "failed"}


def test_a_table_has_the_same_and_begins_no_formula(api: Api, told: Told) -> None:
    told({"action": Action.LOGIN, "actor": "=1+1", "detail": {"name": 'a,"b"\r\nc'}})

    answer = api.get("audit/export", format="csv", action="login")

    [head, row] = csv.reader(io.StringIO(answer.text, newline=""))
    shown = dict(zip(head, row, strict=True))
    [event] = listed(api, action="login")
    assert answer.content_type == "text/csv; charset=utf-8" and set(shown) == set(event)
    assert (shown["actor"], json.loads(shown["detail"])) == ("'=1+1", {"name": 'a,"b"\r\nc'})
    assert (shown["id"], shown["occurred_at"], shown["token_id"]) == (event["id"], event["occurred_at"], "")


@pytest.mark.parametrize("actor", ["+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"], ids=repr)
def test_no_cell_of_a_table_is_a_formula(api: Api, told: Told, actor: str) -> None:
    told({"action": Action.LOGIN, "actor": actor})

    answer = api.get("audit/export", format="csv", action="login")

    [row] = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert row["actor"] == f"'{actor}"


def test_an_export_of_nothing_is_empty(api: Api) -> None:
    assert api.get("audit/export", action="login").text == ""
    assert len(api.get("audit/export", action="login", format="csv").text.splitlines()) == 1


@one_database
@pytest.mark.parametrize(("field", "value"), [("format", "xml"), ("text", "\0"), ("limit", 3), ("until", "now")])
def test_a_faulty_export_is_refused_and_not_told(api: Api, field: str, value: Any) -> None:
    assert faulty(api.get("audit/export", **{field: value})) == [field]
    assert listed(api) == []


# Finding


def test_events_are_found_by_actor_outcome_subject_and_time(api: Api, told: Told) -> None:
    subject, later = uuid.UUID(int=5), NOW + timedelta(seconds=1)
    told({"actor": "ann"}, {"outcome": "denied"}, {"subject_id": subject}, {"now": later})

    def found(**query: Any) -> int:
        return len(listed(api, **query))

    assert (found(actor="ann"), found(outcome="denied"), found(subject_id=subject)) == (1, 1, 1)
    assert found(**{"from": later.isoformat()}) == 1 and found(until=later.isoformat()) == 3
    assert found(**{"from": NOW.isoformat(), "until": later.isoformat(), "actor": "ops"}) == 2


@pytest.mark.parametrize("text", ["Équipe", "équipe 😀", 'quote"d', "100%", "BACK\\slash", "a_b", "192.0.2.", "ANN"])
def test_events_are_found_by_any_text(api: Api, told: Told, text: str) -> None:
    told({"detail": {"name": text}, "address": "192.0.2.7", "actor": "Ann"}, {"detail": {"name": "other"}})

    assert [event["actor"] for event in listed(api, text=text)] == ["Ann"]


@pytest.mark.parametrize("text", ["école", "ÉCOLE", "éCole"])
def test_capitals_beyond_ascii_are_found(api: Api, told: Told, text: str) -> None:
    told({"detail": {"name": "ÉCOLE"}}, {"detail": {"name": "ecole"}})

    assert len(listed(api, text=text)) == 1


@pytest.mark.parametrize("text", ["a_b", "1%0", "%", "\\"])
def test_a_text_is_no_pattern(api: Api, told: Told, text: str) -> None:
    told({"detail": {"name": "axb 100"}})

    assert listed(api, text=text) == []


def test_events_are_sorted_by_when_they_were_written_down_or_happened(api: Api, told: Told) -> None:
    told({"actor": "first", "now": NOW + timedelta(hours=1)}, {"actor": "second"})

    def actors(**query: Any) -> list[str]:
        return [event["actor"] for event in listed(api, **query)]

    assert actors() == ["second", "first"] and actors(sort="id") == ["first", "second"]
    assert actors(sort="occurred_at") == ["second", "first"] and actors(sort="-occurred_at") == ["first", "second"]


# Verifying


def test_verifying_chains_what_is_there_and_finds_it_whole(api: Api, told: Told) -> None:
    told({}, {}, {})

    report = api.get("audit/verify").json

    assert report == {
        "is_whole": True,
        "rows": 4,
        "kept_position": 0,
        "chain": listed(api, action="audit.begin")[0]["detail"]["chain"],
        "position": 4,
        "mac": listed(api)[1]["mac"],
        "unchained": 0,
        "unchained_since": None,
        "fault": None,
    }
    assert [event["position"] for event in listed(api)] == [1, 4, 3, 2]


def test_a_broken_chain_is_told_with_what_is_wrong(api: Api, told: Told, sessions: db.Sessions) -> None:
    told({}, {}, {})
    api.get("audit/verify")
    with sessions.begin() as session:
        session.execute(sa.update(AuditEvent).where(AuditEvent.position == 2).values(actor="nobody"))

    report = api.get("audit/verify").json

    assert (report["is_whole"], report["rows"]) == (False, 1)
    assert report["fault"] | {"reason": ""} == {
        "kind": "changed",
        "position": 2,
        "id": listed(api)[3]["id"],
        "reason": "",
    }


def test_an_anchor_is_held_against_the_chain(api: Api, told: Told) -> None:
    told({})
    mac = api.get("audit/verify").json["mac"]

    assert api.get("audit/verify", anchor=f"2:{mac}").json["is_whole"]
    assert api.get("audit/verify", anchor=f"3:{mac}").json["fault"]["kind"] == "missing"
    assert faulty(api.get("audit/verify", anchor=mac)) == ["anchor"]
