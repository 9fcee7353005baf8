"""Rules of ETag, If-Match and If-None-Match: nobody overwrites what they have not seen."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from manager import db
from manager.tables import AuditEvent, Project, Token
from tests.manager.api.conftest import Api, problem
from tests.manager.conftest import Rows, one_database

OTHER_KEY = "sk-proj-another-provider-key-4567"


@pytest.fixture
def paths(api: Api) -> dict[str, str]:
    """One of each thing that can be changed."""
    project = api.project()
    token = api.token(project["id"])
    key = api.post(f"projects/{project['id']}/keys", api_key=OTHER_KEY).json
    return {
        "project": f"projects/{project['id']}",
        "key": f"projects/{project['id']}/keys/{key['id']}",
        "token": f"tokens/{token['id']}",
        "limits": "limits",
    }


CHANGES: list[tuple[str, str, str, Any]] = [
    ("project", "PATCH", "", {"name": "other"}),
    ("project", "PUT", "", {"name": "other"}),
    ("project", "POST", "/deactivate", None),
    ("project", "DELETE", "", None),
    ("key", "PATCH", "", {"weight": 7}),
    ("key", "POST", "/rotate", {"api_key": "sk-proj-yet-another-key-8901"}),
    ("key", "DELETE", "", None),
    ("token", "PATCH", "", {"label": "other"}),
    ("token", "POST", "/refresh", {}),
    ("token", "DELETE", "", None),
    ("limits", "PUT", "", {"limits": [{"measure": "cost", "window": "day", "amount": "1"}]}),
]
each_change = pytest.mark.parametrize(
    ("thing", "method", "more", "body"), CHANGES, ids=[f"{thing}-{method}{more}" for thing, method, more, _ in CHANGES]
)


def conditional(api: Api, method: str, path: str, tag: str | None, body: Any) -> TestResponse:
    return api.send(method, path, {"if-match": tag} if tag else {}, json=body)


@each_change
def test_a_change_of_what_was_seen_is_made_once(
    api: Api, paths: dict[str, str], thing: str, method: str, more: str, body: Any
) -> None:
    seen = api.get(paths[thing]).headers["etag"]

    assert conditional(api, method, paths[thing] + more, seen, body).status_code in (200, 204)
    if not (thing, method) == ("key", "DELETE"):
        again = conditional(api, method, paths[thing] + more, seen, body)
        assert problem(again) == (412, "precondition_failed")


@each_change
def test_a_change_of_what_has_changed_since_changes_nothing(
    api: Api, paths: dict[str, str], thing: str, method: str, more: str, body: Any
) -> None:
    before = api.get(paths[thing])

    answer = conditional(api, method, paths[thing] + more, '"somebody-elses"', body)

    assert problem(answer) == (412, "precondition_failed")
    assert api.get(paths[thing]).json == before.json


def test_each_answer_that_shows_a_thing_has_its_tag(api: Api, paths: dict[str, str]) -> None:
    changed = api.patch(paths["project"], name="other")
    tags = [changed.headers["etag"], api.get(paths["project"]).headers["etag"]]

    assert tags[0] == tags[1] != api.patch(paths["project"], name="third").headers["etag"]


@pytest.mark.parametrize("thing", ["project", "key", "token", "limits"])
def test_who_knows_a_thing_is_not_told_again(api: Api, paths: dict[str, str], thing: str) -> None:
    seen = api.get(paths[thing])

    answer = api.send("GET", paths[thing], {"if-none-match": seen.headers["etag"]})

    assert (answer.status_code, answer.data) == (304, b"") and answer.headers["etag"] == seen.headers["etag"]
    assert answer.headers["x-request-id"]


def test_a_token_that_was_used_is_told_again_and_can_be_changed(
    api: Api, paths: dict[str, str], sessions: db.Sessions, rows: Rows
) -> None:
    seen = api.get(paths["token"]).headers["etag"]
    [token] = rows.all(Token)
    rows.change(token, request_count=7)

    assert api.send("GET", paths["token"], {"if-none-match": seen}).json["request_count"] == 7
    assert conditional(api, "PATCH", paths["token"], seen, {"label": "other"}).status_code == 200


@one_database
def test_what_has_just_been_made_has_its_tag(api: Api) -> None:
    made = api.send("POST", "projects", json={"name": "search team", "api_key": OTHER_KEY})

    assert made.headers["etag"] == api.get(f"projects/{made.json['id']}").headers["etag"]


@one_database
def test_a_list_has_no_tag(api: Api) -> None:
    assert "etag" not in api.get("projects").headers


SAME: list[tuple[str, str, str, Any]] = [
    ("project", "PATCH", "", {"name": "search team", "base_url": "", "features": {}, "limits": [], "is_active": True}),
    ("project", "PUT", "", {"name": "search team"}),
    ("project", "POST", "/activate", None),
    ("key", "PATCH", "", {"weight": 1, "label": "", "is_active": True}),
    ("token", "PATCH", "", {"label": "", "max_requests": None, "is_active": True, "policy": {}, "limits": []}),
]


@pytest.mark.parametrize(
    ("thing", "method", "more", "body"), SAME, ids=[f"{thing}-{method}{more}" for thing, method, more, _ in SAME]
)
def test_what_is_changed_to_what_it_was_is_not_changed(
    api: Api, paths: dict[str, str], rows: Rows, thing: str, method: str, more: str, body: Any
) -> None:
    seen, told = api.get(paths[thing]), len(rows.all(AuditEvent))
    versions = [project.version for project in rows.all(Project)]

    answer = conditional(api, method, paths[thing] + more, seen.headers["etag"], body)

    assert (answer.status_code, answer.headers["etag"]) == (200, seen.headers["etag"]) and answer.json == seen.json
    assert len(rows.all(AuditEvent)) == told and [project.version for project in rows.all(Project)] == versions
