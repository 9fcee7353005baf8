"""Rules of many tokens at once: made all or none, revoked by id, by filter, or by project; and refreshed one by one."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from manager import db
from manager.tables import Token
from shared import tokens
from tests.manager.api.conftest import Api, Published, faulty, problem
from tests.manager.conftest import PEPPER, Rows, one_database

NOBODYS = str(uuid.UUID(int=7))


@pytest.fixture
def project_id(api: Api) -> str:
    return str(api.project()["id"])


def batch(api: Api, project_id: str, **more: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = api.post("tokens/batch", project_id=project_id, **{"expires_in": 60, **more}).json[
        "items"
    ]
    return made


# Made


def test_a_batch_has_a_token_for_each_label(api: Api, project_id: str, published: Published) -> None:
    made = batch(api, project_id, labels=["a", "b", ""], max_requests=3)

    assert [(token["label"], token["max_requests"]) for token in made] == [("a", 3), ("b", 3), ("", 3)]
    assert all(published.token(token["token"])["id"] == token["id"] for token in made)
    assert len(api.get("audit", action="token.create").json["items"]) == 3


def test_a_batch_may_be_large(api: Api, project_id: str, rows: Rows) -> None:
    made = batch(api, project_id, count=1000)

    assert len({token["token"] for token in made}) == len(rows.all(Token)) == 1000


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({}, ["count"]),
        ({"count": 1, "labels": ["a"]}, ["count"]),
        ({"count": 0}, ["count"]),
        ({"count": 1001}, ["count"]),
        ({"count": "1"}, ["count"]),
        ({"labels": []}, ["labels"]),
        ({"labels": ["a"] * 1001}, ["labels"]),
        ({"labels": ["a", "b\0"]}, ["label"]),
        ({"count": 1, "label": "a"}, ["label"]),
        ({"count": 1, "expires_in": "P999D"}, ["expires_in"]),
    ],
    ids=["neither", "both", "none", "too many", "text", "no label", "too many labels", "nul", "label", "life"],
)
def test_a_faulty_batch_makes_no_token(
    api: Api, project_id: str, rows: Rows, more: dict[str, Any], fields: list[str]
) -> None:
    answer = api.post("tokens/batch", **{"project_id": project_id, "expires_in": 60, **more})

    assert faulty(answer) == fields and rows.all(Token) == []


# Their life


def test_a_life_may_be_said_by_its_end(api: Api, project_id: str) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=3)

    made = api.post("tokens", project_id=project_id, expires_at=end.isoformat()).json
    changed = api.patch(f"tokens/{made['id']}", expires_at=(end + timedelta(hours=1)).isoformat()).json

    assert datetime.fromisoformat(made["expires_at"]) == end
    assert datetime.fromisoformat(changed["expires_at"]) == end + timedelta(hours=1)


@one_database
@pytest.mark.parametrize(
    ("life", "field"),
    [
        ({}, "expires_in"),
        ({"expires_in": 60, "expires_at": "2999-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": 60}, "expires_at"),
        ({"expires_at": None}, "expires_at"),
    ],
    ids=["none", "both", "past", "too late", "naive", "number", "null"],
)
def test_a_life_is_said_once_and_in_bounds(api: Api, project_id: str, life: dict[str, Any], field: str) -> None:
    assert faulty(api.post("tokens", project_id=project_id, **life)) == [field]


# Revoked


def test_tokens_are_revoked_by_their_ids(api: Api, project_id: str, published: Published) -> None:
    made = batch(api, project_id, count=3)
    api.delete(f"tokens/{made[0]['id']}")
    ids = [token["id"] for token in made[:2]]

    answer = api.post("tokens/revoke", ids=[*ids, NOBODYS])

    assert answer.json == {"revoked": 1, "unknown_ids": [NOBODYS]}
    assert [published.token(token["token"])["is_active"] for token in made] == ["0", "0", "1"]
    told = api.get("audit", action="token.revoke").json["items"]
    assert sorted(event["token_id"] for event in told) == sorted(ids)


def test_tokens_are_revoked_by_what_fits_them(api: Api, project_id: str, published: Published) -> None:
    made = batch(api, project_id, labels=["night 1", "night 2", "day"])
    foreign = batch(api, api.project("other")["id"], labels=["night 3"])

    assert api.post("tokens/revoke", project_id=project_id, label_prefix="night").json["revoked"] == 2
    assert [published.token(token["token"])["is_active"] for token in made + foreign] == ["0", "0", "1", "1"]
    events = api.get("audit", action="token.revoke").json["items"]
    assert sorted(event["token_id"] for event in events) == sorted(token["id"] for token in made[:2])
    assert events[0]["detail"] == {"filters": {"project_id": project_id, "label_prefix": "night"}}


def test_all_tokens_are_revoked_when_all_is_said(api: Api, project_id: str) -> None:
    batch(api, project_id, count=2)
    batch(api, api.project("other")["id"], count=1)

    assert api.post("tokens/revoke", all=True).json["revoked"] == 3
    assert api.post("tokens/revoke", all=True).json["revoked"] == 0
    assert {token["state"] for token in api.get("tokens").json["items"]} == {"revoked"}


def test_all_tokens_of_a_project_are_revoked_and_it_makes_new_ones(api: Api, project_id: str) -> None:
    batch(api, project_id, count=2)
    batch(api, api.project("other")["id"], count=1)

    assert api.post(f"projects/{project_id}/tokens/revoke").json == {"revoked": 2}
    assert api.token(project_id)["state"] == "active"
    assert len(api.get("tokens", state="revoked").json["items"]) == 2


@one_database
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "_schema"),
        ({"all": False}, "all"),
        ({"all": True, "label_prefix": "a"}, "all"),
        ({"all": "true"}, "all"),
        ({"ids": []}, "ids"),
        ({"ids": [NOBODYS], "label_prefix": "a"}, "ids"),
        ({"ids": [NOBODYS], "all": True}, "ids"),
        ({"ids": ["x"]}, "ids"),
        ({"ids": [NOBODYS] * 1001}, "ids"),
        ({"label": "a"}, "label"),
        ({"state": "old"}, "state"),
        ({"label_prefix": "a\0"}, "label_prefix"),
    ],
)
def test_what_is_revoked_is_said_clearly(api: Api, project_id: str, body: dict[str, Any], field: str) -> None:
    batch(api, project_id, count=1)

    assert faulty(api.post("tokens/revoke", **body)) == [field]
    assert api.get("tokens", state="revoked").json["items"] == []


# Refreshed


def digest(secret: str) -> str:
    return tokens.digest(secret, PEPPER.encode())


def test_a_refreshed_token_has_another_secret_and_stays_what_it_is(
    api: Api, project_id: str, rows: Rows, published: Published
) -> None:
    made = api.token(project_id, max_requests=3, label="nightly")

    answer = api.post(f"tokens/{made['id']}/refresh")

    fresh = answer.json
    assert answer.status_code == 200 and fresh["token"] != made["token"]
    same = ("id", "label", "max_requests", "expires_at", "created_at", "state")
    assert {name: fresh[name] for name in same} == {name: made[name] for name in same}
    [row] = rows.all(Token)
    assert (row.digest, row.previous_digest, row.version) == (digest(fresh["token"]), None, 2)
    assert published.token(fresh["token"])["id"] == made["id"]
    [event] = api.get("audit", action="token.refresh").json["items"]
    assert event["token_id"] == made["id"] and fresh["token"] not in str(event)


def test_the_old_secret_works_on_for_the_grace(api: Api, project_id: str, rows: Rows) -> None:
    made = api.token(project_id)

    fresh = api.post(f"tokens/{made['id']}/refresh", grace="PT10M", expires_in="P1D").json

    [row] = rows.all(Token)
    assert row.previous_digest == digest(made["token"]) and row.refreshed_at is not None
    assert row.previous_until == row.refreshed_at + timedelta(minutes=10)
    assert datetime.fromisoformat(fresh["previous_until"]) == row.previous_until
    assert row.expires_at - row.refreshed_at == pytest.approx(timedelta(days=1), abs=timedelta(seconds=1))


def test_a_token_that_was_revoked_or_has_expired_is_not_refreshed(api: Api, project_id: str, rows: Rows) -> None:
    revoked, expired = api.token(project_id), api.token(project_id)
    api.delete(f"tokens/{revoked['id']}")
    [row] = [row for row in rows.all(Token) if str(row.id) == expired["id"]]
    rows.change(row, expires_at=datetime.now(UTC) - timedelta(seconds=1))

    assert problem(api.post(f"tokens/{revoked['id']}/refresh")) == (409, "conflict")
    assert problem(api.post(f"tokens/{expired['id']}/refresh")) == (409, "conflict")
    assert api.post(f"tokens/{expired['id']}/refresh", expires_in=60).json["state"] == "active"


def test_a_token_of_a_project_that_is_off_is_not_refreshed(api: Api, project_id: str) -> None:
    token = api.token(project_id)
    api.post(f"projects/{project_id}/deactivate")

    assert problem(api.post(f"tokens/{token['id']}/refresh")) == (403, "project_inactive")


@one_database
@pytest.mark.parametrize("grace", ["P8D", 604_801, -1, "PT0S", True, None, 1.5, "soon"])
def test_a_grace_is_short(api: Api, project_id: str, grace: Any) -> None:
    assert faulty(api.post(f"tokens/{api.token(project_id)['id']}/refresh", grace=grace)) == ["grace"]


@pytest.mark.parametrize("grace", [0, "0", 1, "P7D", 604_800])
def test_a_grace_may_be_none_or_a_week(api: Api, project_id: str, grace: Any) -> None:
    assert api.post(f"tokens/{api.token(project_id)['id']}/refresh", grace=grace).status_code == 200


def test_a_secret_that_cannot_be_published_is_shown_all_the_same(lonely: Api, api: Api, project_id: str) -> None:
    token = api.token(project_id)

    assert lonely.post(f"tokens/{token['id']}/refresh").status_code == 200


# Found


def states(rows: Rows, sessions: db.Sessions, made: list[dict[str, Any]]) -> None:
    """Give each of five tokens a state of its own."""
    past = datetime.now(UTC) - timedelta(hours=1)
    columns: dict[str, dict[str, Any]] = {
        "revoked": {"revoked_at": past, "is_active": False, "expires_at": past},
        "expired": {"expires_at": past, "is_active": False},
        "inactive": {"is_active": False, "max_requests": 1, "request_count": 1},
        "exhausted": {"max_requests": 3, "request_count": 3},
        "active": {"max_requests": 3, "request_count": 2, "last_used_at": past},
    }
    by_label = {row.label: row for row in rows.all(Token)}
    for label, changed in columns.items():
        rows.change(by_label[label], **changed)


def test_tokens_are_found_by_their_state(api: Api, project_id: str, rows: Rows, sessions: db.Sessions) -> None:
    labels = ["revoked", "expired", "inactive", "exhausted", "active"]
    states(rows, sessions, batch(api, project_id, labels=labels))

    for label in labels:
        found = api.get("tokens", state=label).json["items"]
        assert [(token["label"], token["state"]) for token in found] == [(label, label)]


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ({"label_contains": "igh"}, ["Night 2", "night 1"]),
        ({"label_contains": "%"}, ["100% day"]),
        ({"label_contains": "_"}, []),
        ({"label_prefix": "night"}, ["night 1"]),
        ({"label_prefix": "Night"}, ["Night 2"]),
        ({"label_contains": "é😀"}, ["é😀"]),
        ({"sort": "label"}, ["100% day", "Night 2", "night 1", "é😀"]),
        ({"sort": "-label", "limit": 1}, ["é😀"]),
        ({"last_used_before": "2999-01-01T00:00:00Z"}, ["é😀", "100% day", "Night 2", "night 1"]),
        ({"last_used_after": "2001-01-01T00:00:00Z"}, []),
        ({"expires_before": "2001-01-01T00:00:00Z"}, []),
        ({"expires_after": "2001-01-01T00:00:00Z", "label_prefix": "1"}, ["100% day"]),
    ],
    ids=str,
)
def test_tokens_are_found_alike_on_both_databases(
    api: Api, project_id: str, query: dict[str, Any], labels: list[str]
) -> None:
    batch(api, project_id, labels=["night 1", "Night 2", "100% day", "é😀"])

    assert [token["label"] for token in api.get("tokens", **query).json["items"]] == labels


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sort", "digest"),
        ("sort", ""),
        ("state", "old"),
        ("expires_before", "soon"),
        ("expires_before", "2026-01-01T00:00:00"),
        ("label_contains", "\0"),
        ("cursor", "YWJj"),
    ],
)
def test_a_faulty_filter_is_refused(api: Api, field: str, value: str) -> None:
    assert faulty(api.get("tokens", **{field: value})) == [field]


@one_database
def test_a_filter_that_is_given_twice_is_refused(api: Api) -> None:
    assert faulty(api.send("GET", "tokens?state=active&state=revoked")) == ["state"]
