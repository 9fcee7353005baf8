"""Rules of deleting and purging projects: first they are off for good, then they are gone."""

import uuid

import pytest
import redis

from manager import db, rollup
from manager.tables import Activity, AuditEvent, HourlyUsage, Project, Request, Token, Tombstone, UpstreamKey
from shared import redis_schema
from tests.manager.api.conftest import PROVIDER_KEY, Api, problem
from tests.manager.conftest import EVENT, Rows


def names(api: Api, **query: str) -> list[str]:
    return [project["name"] for project in api.get("projects", **query).json["items"]]


def test_a_deleted_project_is_listed_when_asked_for_only(api: Api) -> None:
    api.delete(f"projects/{api.project('old')['id']}")
    api.project("new")

    assert (names(api), names(api, deleted="true"), names(api, deleted="false")) == (["new"], ["old"], ["new"])


def test_the_name_of_a_deleted_project_is_free_when_it_is_purged(api: Api) -> None:
    path = f"projects/{api.project('old')['id']}"
    api.delete(path)
    assert problem(api.post("projects", name="old", api_key=PROVIDER_KEY)) == (409, "conflict")

    assert api.delete(f"{path}?purge=true").status_code == 204

    assert api.project("old")["name"] == "old"


def test_a_project_is_not_purged_before_it_is_deleted(api: Api) -> None:
    path = f"projects/{api.project()['id']}"

    assert problem(api.delete(f"{path}?purge=true")) == (409, "conflict")
    assert api.get(path).json["is_active"] is True


def test_of_a_purged_project_nothing_is_left_but_audit_and_until_redis_is_back_tombstones(
    api: Api, lonely: Api, rows: Rows, sessions: db.Sessions
) -> None:
    made, other = api.project(), api.project("other")
    token = api.token(made["id"])
    api.token(other["id"])
    with sessions.begin() as session:
        of_project = {"project_id": uuid.UUID(made["id"]), "token_id": uuid.UUID(token["id"])}
        rollup.record(session, [rollup.request_row(EVENT) | of_project])
    [before] = [row for row in rows.all(Token) if str(row.id) == token["id"]]
    api.delete(f"projects/{made['id']}")

    assert problem(lonely.delete(f"projects/{made['id']}?purge=true")) == (503, "publish_pending")

    assert problem(api.get(f"projects/{made['id']}")) == problem(api.get(f"tokens/{token['id']}")) == (404, "not_found")
    assert [str(row.id) for row in rows.all(Project)] == [other["id"]]
    assert rows.all(Request) == rows.all(HourlyUsage) == rows.all(Activity) == []
    assert len(rows.all(UpstreamKey)) == len(rows.all(Token)) == 1
    graves = {str(row.id): (row.kind, row.version, row.digest) for row in rows.all(Tombstone)}
    assert graves == {made["id"]: ("project", 3, None), token["id"]: ("token", 3, before.digest)}
    [event] = [row for row in rows.all(AuditEvent) if row.action == "project.purge"]
    assert str(event.project_id) == made["id"] and event.detail["tokens"] == 1


def test_the_data_plane_hears_of_a_purge_at_once(api: Api, rows: Rows, redis_client: redis.Redis) -> None:
    made = api.project()
    token = api.token(made["id"])
    api.delete(f"projects/{made['id']}")

    api.delete(f"projects/{made['id']}?purge=true")

    purged = [redis_schema.identity_key(token["id"]), redis_schema.project_key(made["id"])]
    assert [redis_client.hget(key, "purged") for key in purged] == [b"1", b"1"]
    assert rows.all(Tombstone) == []


def test_a_purged_project_cannot_be_purged_again(api: Api) -> None:
    path = f"projects/{api.project()['id']}"
    api.delete(path)
    api.delete(f"{path}?purge=true")

    assert problem(api.delete(f"{path}?purge=true")) == problem(api.delete(path)) == (404, "not_found")


@pytest.mark.parametrize("purge", ["1", "yes", "", "TRUE"])
def test_a_purge_is_asked_for_in_plain_words(api: Api, purge: str) -> None:
    assert problem(api.delete(f"projects/{api.project()['id']}?purge={purge}")) == (422, "invalid")
