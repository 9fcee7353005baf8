"""Rules of roles: what declares no role is nobody's, each role may what it may, and who was denied is told."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from manager import create_app, db, tallies
from manager.api import access
from manager.denials import Denials
from manager.principals import Role
from tests.manager.api.conftest import Api, faulty, problem
from tests.manager.conftest import MANAGEMENT_TOKEN, PEPPER, configure, one_database

pytestmark = one_database
ID = str(uuid.UUID(int=7))


def declared(app: Flask) -> dict[tuple[str, str], Role | None]:
    """The role that each method of each path under /manage declares, leaving out what is open."""
    return {
        (method, rule.rule): access.needed_role(app, rule.endpoint, method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if rule.rule.startswith("/manage") and not access.is_open(app, rule.endpoint)
    }


def test_every_view_declares_a_role(app: Flask) -> None:
    roles = declared(app)

    assert len(roles) > 40 and not [operation for operation, role in roles.items() if role is None]


def test_nothing_is_open_but_shapes_and_health(app: Flask) -> None:
    is_open = {rule.rule for rule in app.url_map.iter_rules() if access.is_open(app, rule.endpoint)}
    unguarded = {rule.rule for rule in app.url_map.iter_rules() if not rule.rule.startswith(("/manage", "/ui"))}

    shapes = {"/manage/openapi.json", "/manage/docs", "/manage/docs/start.js", "/manage/docs/<name>"}
    looks = {
        "/ui/sign-in",
        "/ui/sign-in/oidc",
        "/ui/sign-in/oidc/callback",
        "/ui/theme",
        "/ui/assets/<version>/<path:name>",
    }
    assert is_open == shapes | looks and unguarded == {"/healthz", "/readyz", "/metrics", "/"}


# Something is told of them, and nothing else is changed.
LOOKS = {
    ("POST", "/manage/flows/export"),
    ("POST", "/manage/inspector/sessions"),
    ("POST", "/manage/inspector/readings"),
}


def test_who_reads_changes_nothing(app: Flask) -> None:
    asked = {asked for asked, role in declared(app).items() if role is Role.AUDITOR} - LOOKS

    assert {method for method, _ in asked} == {"GET", "HEAD", "OPTIONS"}


@pytest.fixture
def undeclared(database_url: str, valkey_url: str, encryption_key: str) -> Any:
    """A service with a view that declares nothing."""
    secrets = {"MANAGEMENT_TOKEN": MANAGEMENT_TOKEN, "ENCRYPTION_KEYS": f"k1:{encryption_key}", "TOKEN_PEPPER": PEPPER}
    app = create_app(configure(secrets | {"DATABASE_URL": database_url, "REDIS_URL": valkey_url}))
    app.add_url_rule("/manage/forgotten", view_func=lambda: "secret", methods=["GET", "POST"])
    yield app.test_client()
    app.extensions["llm_proxy"].close()


@pytest.mark.usefixtures("redis_client")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_what_declares_no_role_is_nobodys(undeclared: FlaskClient, method: str) -> None:
    assert Api(undeclared).send(method, "forgotten").status_code == 403
    assert undeclared.open("/manage/forgotten", method=method).status_code == 401


# Ranks


@pytest.mark.parametrize(("role", "may"), [("auditor", False), ("operator", True), ("admin", True)])
def test_operators_change_and_auditors_do_not(api: Api, role: str, may: bool) -> None:
    somebody = api.operator(role)
    made = api.project()

    for answer in (
        somebody.patch(f"projects/{made['id']}", name=f"team of {role}"),
        somebody.post("tokens", project_id=made["id"], expires_in=60),
        somebody.delete(f"projects/{made['id']}"),
    ):
        assert (answer.status_code != 403) is may


def test_auditors_read(api: Api) -> None:
    made = api.project()
    auditor = api.operator("auditor")

    for path in (
        "projects",
        f"projects/{made['id']}",
        "tokens",
        "usage",
        "requests",
        "audit",
        "audit/verify",
        "prices",
    ):
        assert auditor.get(path).status_code == 200, path


def test_a_role_comes_before_the_body_is_looked_at(api: Api) -> None:
    auditor = api.operator("auditor")

    assert problem(auditor.post("projects", nonsense=1)) == (403, "forbidden")
    assert problem(auditor.send("POST", "projects", data="{", content_type="text/plain")) == (403, "forbidden")
    assert faulty(api.post("projects", nonsense=1)) == ["api_key", "name", "nonsense"]


def test_what_does_not_exist_is_not_found_for_everybody(api: Api) -> None:
    auditor = api.operator("auditor")

    assert problem(auditor.get("nothing")) == (404, "not_found")
    assert problem(auditor.send("PUT", "projects")) == (405, "method_not_allowed")


# Scopes


def test_who_has_a_scope_sees_what_happened_to_its_projects_alone(api: Api) -> None:
    mine, other = api.project("mine")["id"], api.project("other")["id"]
    ann = api.operator("auditor", project_ids=[mine])
    for project_id in (mine, other):
        api.patch(f"projects/{project_id}", is_active=False)
    events = {event["project_id"]: event["id"] for event in api.get("audit", action="project.deactivate").json["items"]}

    assert {event["project_id"] for event in ann.get("audit").json["items"]} == {mine}
    assert ann.get("audit", project_id=other).json["items"] == []
    assert ann.get(f"audit/{events[mine]}").status_code == 200
    assert problem(ann.get(f"audit/{events[other]}")) == (404, "not_found")
    assert other not in ann.get("audit/export").text and mine in ann.get("audit/export").text
    assert problem(ann.get("audit/verify")) == (403, "forbidden")


# Denials


def test_a_denial_is_told_in_the_audit(api: Api) -> None:
    auditor = api.operator("auditor", name="ann")

    auditor.send("DELETE", f"projects/{ID}", headers={"x-request-id": "ticket-42"})

    [event] = api.get("audit", action="access").json["items"]
    assert (event["actor"], event["outcome"], event["request_id"]) == ("ann", "denied", "ticket-42")
    assert event["address"] == "127.0.0.1"
    assert event["detail"] == {
        "method": "DELETE",
        "path": f"/manage/projects/{ID}",
        "role": "auditor",
        "reason": "This needs the role operator.",
        "count": 1,
    }
    assert event["actor_id"] == auditor.get("me").json["id"]


def test_many_denials_are_told_in_sum(api: Api, sessions: db.Sessions, redis_client: redis.Redis) -> None:
    ann, bob = api.operator("auditor", name="ann"), api.operator("auditor", name="bob")
    for _ in range(7):
        ann.delete(f"projects/{ID}")
    bob.delete(f"projects/{ID}")
    assert [event["detail"]["count"] for event in api.get("audit", action="access").json["items"]] == [1, 1]

    redis_client.delete(*redis_client.keys(f"{tallies.PREFIX}denied:*"))
    Denials(sessions, redis_client).flush(datetime.now(UTC))

    latest = api.get("audit", action="access").json["items"][0]
    assert (latest["actor"], latest["actor_id"], latest["detail"]) == ("ann", ann.get("me").json["id"], {"count": 6})


def test_asking_for_what_is_out_of_scope_is_told_as_a_denial(api: Api) -> None:
    mine, other = api.project()["id"], api.project("other team")["id"]
    ann = api.operator("operator", name="ann", project_ids=[mine])

    assert problem(ann.get(f"projects/{other}")) == (404, "not_found")
    ann.get("nothing")

    [event] = api.get("audit", action="access").json["items"]
    assert (event["actor"], event["outcome"], event["detail"]["path"]) == ("ann", "denied", f"/manage/projects/{other}")
    assert api.get(f"projects/{ID}").status_code == 404
    assert len(api.get("audit", action="access").json["items"]) == 1


def test_a_denial_for_want_of_scope_is_told_as_well(api: Api) -> None:
    ann = api.operator("auditor", project_ids=[api.project()["id"]])

    ann.get("audit/verify")

    [event] = api.get("audit", action="access").json["items"]
    assert event["detail"]["path"] == "/manage/audit/verify" and "all projects" in event["detail"]["reason"]


def test_a_no_of_another_kind_is_no_denial(api: Api) -> None:
    project_id = api.project()["id"]
    api.patch(f"projects/{project_id}", is_active=False)

    assert problem(api.post("tokens", project_id=project_id, expires_in=60)) == (403, "project_inactive")
    assert api.get("audit", action="access").json["items"] == []


def test_a_denied_path_is_told_harmlessly_and_not_at_length(api: Api) -> None:
    ann = api.operator("auditor", name="ann")

    answer = ann.send("POST", f"dead-letters/{'%00é' * 100}/retry")

    assert problem(answer) == (403, "forbidden")
    [event] = api.get("audit", action="access").json["items"]
    assert event["detail"]["path"].isascii() and len(event["detail"]["path"]) < 1000
