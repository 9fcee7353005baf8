"""Rules of /manage/audit: what operators and the data plane did, newest first, found by whom it was done to."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from manager import db, rollup
from shared.models import Outcome
from tests.manager.api.conftest import PROVIDER_KEY, Api, faulty, one_database, problem
from tests.manager.conftest import EVENT, PROJECT_ID, TOKEN_ID


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
        "outcome": "success",
        "project_id": project_id,
        "token_id": token["id"],
        "request_id": "ticket-42",
        "detail": {},
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
        ("project.activate", project_id, {}),
        ("project.deactivate", project_id, {}),
    ]


def test_what_was_refused_is_not_told_as_done(api: Api) -> None:
    made = api.project()
    api.project("other team")

    answer = api.patch(f"projects/{made['id']}", is_active=False, name="other team")

    assert answer.status_code == 409 and listed(api) == []


def test_what_is_stored_but_not_yet_published_is_told(api: Api, lonely: Api) -> None:
    token = api.token(api.project()["id"])

    assert lonely.delete(f"tokens/{token['id']}").status_code == 503
    assert [event["action"] for event in listed(api)] == ["token.revoke"]


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
        ("actor", "management"),
    ],
)
def test_a_faulty_or_unknown_filter_is_refused(api: Api, field: str, value: Any) -> None:
    assert faulty(api.get("audit", **{field: value})) == [field]


@one_database
@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
def test_the_audit_cannot_be_changed(api: Api, method: str) -> None:
    assert problem(api.send(method, "audit")) == (405, "method_not_allowed")
