"""Rules of /manage/projects/{id}/keys: several keys, never shown again, changed in place, and never none of them."""

import uuid
from typing import Any

import pytest
import redis

from shared import models, redis_schema
from shared.redis_schema import BreakerChange
from shared.sealing import Keyring
from tests.manager.api.conftest import PROVIDER_KEY, WELL, Api, Published, created, faulty, problem, set_aside
from tests.manager.conftest import MANAGEMENT_TOKEN, PEPPER, one_database

NOBODYS = uuid.UUID(int=7)
OTHER_KEY = "sk-proj-another-provider-key-4567"


@pytest.fixture
def project(api: Api) -> dict[str, Any]:
    """A project with its first key."""
    return api.project()


@pytest.fixture
def path(project: dict[str, Any]) -> str:
    """Where the keys of a project are."""
    return f"projects/{project['id']}/keys"


def add(api: Api, path: str, **more: Any) -> dict[str, Any]:
    return created(api.post(path, **{"api_key": OTHER_KEY, **more}))


def published_keys(published: Published, project: dict[str, Any]) -> list[models.UpstreamKey]:
    record = published.project(project["id"])
    assert record is not None
    return list(record.keys)


# Adding and reading


def test_a_new_key_is_answered_in_full_and_masked(api: Api, path: str) -> None:
    made = add(api, path, label="second account", weight=5)

    assert made == {
        "id": made["id"],
        "label": "second account",
        "masked_key": "sk-p****4567",
        "weight": 5,
        "is_active": True,
        "created_at": made["created_at"],
        "health": WELL,
    }
    assert uuid.UUID(made["id"]).version == 7


def test_keys_read_as_they_were_made_newest_first(api: Api, project: dict[str, Any], path: str) -> None:
    made = add(api, path)

    assert api.get(f"{path}/{made['id']}").json == made
    assert api.get(path).json == {"items": [made, project["keys"][0]], "next_cursor": None}
    assert api.get(f"projects/{project['id']}").json["keys"] == [project["keys"][0], made]


def test_pages_show_every_key_once(api: Api, project: dict[str, Any], path: str) -> None:
    made = [add(api, path)["id"] for _ in range(2)]

    first = api.get(path, limit=2).json
    second = api.get(path, limit=2, cursor=first["next_cursor"]).json

    shown = [key["id"] for key in first["items"] + second["items"]]
    assert shown == [*made[::-1], project["keys"][0]["id"]] and second["next_cursor"] is None


def test_a_new_key_is_published_with_its_weight_and_sealed(
    api: Api, project: dict[str, Any], path: str, published: Published, keyring: Keyring
) -> None:
    made = add(api, path, weight=1000)

    first, second = published_keys(published, project)
    assert [first.weight, second.weight, second.id] == [1, 1000, made["id"]]
    assert keyring.open(second.sealed, f"upstream_keys:{second.id}") == OTHER_KEY
    assert api.get(f"projects/{project['id']}").json["updated_at"] > project["updated_at"]


def test_no_answer_ever_shows_a_key(api: Api, path: str) -> None:
    made = api.post(path, api_key=OTHER_KEY)
    one = f"{path}/{made.json['id']}"

    answers = [
        made,
        api.get(path),
        api.get(one),
        api.patch(one, api_key=PROVIDER_KEY),
        api.patch(one, api_key=PROVIDER_KEY + " "),
        api.post(path, api_key=[PROVIDER_KEY]),
        api.post(path, api_key=PROVIDER_KEY, nonsense=PROVIDER_KEY),
        api.delete(one),
    ]

    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 422, 422, 422, 204]
    assert not [answer.text for answer in answers for key in (PROVIDER_KEY, OTHER_KEY) if key[4:-4] in answer.text]


FAULTY = [
    ("api_key", None),
    ("api_key", 12345678),
    ("api_key", "short"),
    ("api_key", "sk-p****0123"),
    ("label", None),
    ("label", "x" * 201),
    ("label", "a\0b"),
    ("weight", 0),
    ("weight", 1001),
    ("weight", -1),
    ("weight", "5"),
    ("weight", 1.5),
    ("weight", True),
    ("weight", None),
    ("id", str(NOBODYS)),
]


@one_database
@pytest.mark.parametrize(("field", "value"), FAULTY)
def test_a_key_with_a_faulty_or_unknown_field_is_not_made(
    api: Api, project: dict[str, Any], path: str, field: str, value: Any
) -> None:
    assert faulty(api.post(path, **{"api_key": OTHER_KEY, field: value})) == [field]
    assert api.get(path).json["items"] == project["keys"]


@one_database
@pytest.mark.parametrize(("field", "value"), [*FAULTY, ("is_active", 1), ("is_active", None), ("health", WELL)])
def test_a_faulty_or_unknown_change_changes_nothing(
    api: Api, project: dict[str, Any], path: str, field: str, value: Any
) -> None:
    one = f"{path}/{project['keys'][0]['id']}"

    assert faulty(api.patch(one, **{"label": "other", field: value})) == [field]
    assert api.get(one).json == project["keys"][0]


def test_a_key_needs_a_key(api: Api, path: str) -> None:
    assert faulty(api.post(path, label="empty")) == ["api_key"]


def test_a_project_has_up_to_50_keys(api: Api, path: str) -> None:
    for _ in range(49):
        add(api, path)

    assert problem(api.post(path, api_key=OTHER_KEY)) == (409, "conflict")
    assert len(api.get(path, limit=200).json["items"]) == 50


# Changing


def test_a_change_changes_what_it_names_and_is_published(
    api: Api, project: dict[str, Any], path: str, published: Published
) -> None:
    [key] = project["keys"]

    changed = api.patch(f"{path}/{key['id']}", label="main account", weight=7).json

    assert changed == key | {"label": "main account", "weight": 7} == api.get(f"{path}/{key['id']}").json
    assert [shown.weight for shown in published_keys(published, project)] == [7]


def test_a_rotated_key_keeps_its_id_and_opens_to_the_new_one(
    api: Api, project: dict[str, Any], path: str, published: Published, keyring: Keyring
) -> None:
    [before] = published_keys(published, project)

    changed = api.patch(f"{path}/{before.id}", api_key=OTHER_KEY).json

    [after] = published_keys(published, project)
    assert (after.id, changed["masked_key"]) == (before.id, "sk-p****4567") and after.sealed != before.sealed
    assert keyring.open(after.sealed, f"upstream_keys:{after.id}") == OTHER_KEY


def test_a_key_that_is_switched_off_is_not_published_and_comes_back(
    api: Api, project: dict[str, Any], path: str, published: Published
) -> None:
    made = add(api, path)
    states = []

    for wanted in (False, True):
        shown = api.patch(f"{path}/{made['id']}", is_active=wanted).json
        states.append((shown["is_active"], len(published_keys(published, project))))

    assert states == [(False, 1), (True, 2)]


def test_a_deleted_key_is_gone(api: Api, project: dict[str, Any], path: str, published: Published) -> None:
    made = add(api, path)

    answer = api.delete(f"{path}/{made['id']}")

    assert (answer.status_code, answer.data) == (204, b"")
    assert problem(api.get(f"{path}/{made['id']}")) == (404, "not_found")
    assert [key.id for key in published_keys(published, project)] == [project["keys"][0]["id"]]


# The last one


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"is_active": False}), ("DELETE", None)])
def test_the_last_active_key_of_an_active_project_stays(
    api: Api, project: dict[str, Any], path: str, method: str, body: Any
) -> None:
    inactive = add(api, path)
    api.patch(f"{path}/{inactive['id']}", is_active=False)
    one = f"{path}/{project['keys'][0]['id']}"

    assert problem(api.send(method, one, json=body)) == (409, "conflict")
    assert api.get(one).json == project["keys"][0]
    assert api.delete(f"{path}/{inactive['id']}").status_code == 204


def test_a_project_that_is_off_can_lose_its_last_key_and_is_shown_without(
    api: Api, project: dict[str, Any], path: str
) -> None:
    api.patch(f"projects/{project['id']}", is_active=False)

    assert api.delete(f"{path}/{project['keys'][0]['id']}").status_code == 204

    shown = api.get(f"projects/{project['id']}")
    assert (shown.status_code, shown.json["api_key"], shown.json["keys"]) == (200, None, [])
    assert api.get(path).json == {"items": [], "next_cursor": None}


def test_a_project_without_keys_cannot_be_switched_on_until_it_has_one(
    api: Api, project: dict[str, Any], path: str, published: Published
) -> None:
    whole = f"projects/{project['id']}"
    api.patch(whole, is_active=False)
    api.delete(f"{path}/{project['keys'][0]['id']}")

    assert problem(api.patch(whole, is_active=True)) == (409, "conflict")
    assert api.patch(whole, is_active=True, api_key=OTHER_KEY).json["api_key"] == "sk-p****4567"
    assert len(published_keys(published, project)) == 1


def test_the_project_field_replaces_the_first_key_and_no_other_however_often(
    api: Api, project: dict[str, Any], path: str
) -> None:
    first, second = f"{path}/{project['keys'][0]['id']}", add(api, path)
    api.patch(first, label="main account", weight=3)

    for _ in range(2):
        shown = api.patch(f"projects/{project['id']}", api_key=PROVIDER_KEY).json

    assert [(key["label"], key["weight"]) for key in shown["keys"]] == [("main account", 3), ("", 1)]
    assert shown["keys"][1] == second and problem(api.get(first)) == (404, "not_found")


def test_a_change_of_nothing_is_refused_and_changes_nothing(api: Api, project: dict[str, Any]) -> None:
    assert faulty(api.patch(f"projects/{project['id']}/keys/{project['keys'][0]['id']}")) == ["_schema"]
    assert api.get(f"projects/{project['id']}").json == project


# Not found


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_key_of_another_project_is_not_found(api: Api, project: dict[str, Any], method: str) -> None:
    other = api.project("other team")
    foreign = f"projects/{other['id']}/keys/{project['keys'][0]['id']}"

    assert problem(api.send(method, foreign, json={"is_active": True} if method == "PATCH" else None)) == (
        404,
        "not_found",
    )


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_unknown_project_has_no_keys(api: Api, method: str) -> None:
    body = {"api_key": OTHER_KEY} if method == "POST" else None

    assert problem(api.send(method, f"projects/{NOBODYS}/keys", json=body)) == (404, "not_found")


# Health


def test_a_key_shows_why_and_until_when_it_is_set_aside(
    api: Api, path: str, redis_client: redis.Redis, project: dict[str, Any]
) -> None:
    made = add(api, path)
    set_aside(redis_client, f"key:{made['id']}", "status_429", openings=4)

    out = {"state": "set_aside", "reason": "status_429", "until": "2030-01-01T00:00:00+00:00", "openings": 4}
    assert [key["health"] for key in api.get(path).json["items"]] == [out, WELL]
    assert api.get(f"{path}/{made['id']}").json["health"] == out


def test_without_redis_the_health_of_a_key_is_not_known(api: Api, lonely: Api, path: str) -> None:
    add(api, path)

    shown = lonely.get(path)

    assert shown.status_code == 200 and [key["health"] for key in shown.json["items"]] == [None, None]


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"api_key": PROVIDER_KEY}), ("DELETE", None)])
def test_a_key_that_is_rotated_or_deleted_is_forgiven_on_every_worker(
    api: Api, path: str, redis_client: redis.Redis, method: str, body: Any
) -> None:
    made = add(api, path)
    set_aside(redis_client, f"key:{made['id']}", "status_401")
    heard = redis_client.pubsub(ignore_subscribe_messages=True)
    heard.subscribe(redis_schema.CONTROL_CHANNEL)
    heard.get_message(timeout=1)

    api.send(method, f"{path}/{made['id']}", json=body)

    message = heard.get_message(timeout=1)
    assert redis_schema.decode_control(message["data"]) == BreakerChange(f"key:{made['id']}", is_open=False)
    assert redis_client.hgetall(redis_schema.BREAKERS) == {}
    heard.close()


def test_a_key_that_is_merely_renamed_stays_set_aside(api: Api, path: str, redis_client: redis.Redis) -> None:
    made = add(api, path)
    set_aside(redis_client, f"key:{made['id']}", "status_401")

    assert api.patch(f"{path}/{made['id']}", label="renamed").json["health"]["state"] == "set_aside"


# Redis is away


def test_a_key_that_cannot_be_published_is_made_all_the_same(
    api: Api, lonely: Api, project: dict[str, Any], path: str, published: Published
) -> None:
    made = add(lonely, path)

    assert made["health"] is None and len(published_keys(published, project)) == 1
    assert api.get(f"{path}/{made['id']}").json == made | {"health": WELL}


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"weight": 2}), ("DELETE", None)])
def test_a_change_that_cannot_be_published_is_told_as_pending(
    api: Api, lonely: Api, path: str, method: str, body: Any
) -> None:
    made = add(api, path)

    assert problem(lonely.send(method, f"{path}/{made['id']}", json=body)) == (503, "publish_pending")


@pytest.mark.parametrize(
    "secret", [MANAGEMENT_TOKEN, PEPPER, f"llmp-op-{'a' * 39}", f"sk-llmp-{'a' * 39}"], ids=lambda secret: secret[:7]
)
def test_a_secret_of_this_service_is_no_providers_key(api: Api, secret: str) -> None:
    made = api.project()
    path = f"projects/{made['id']}"

    for answer in (
        api.post("projects", name="b", api_key=secret),
        api.patch(path, api_key=secret),
        api.post(f"{path}/keys", api_key=secret),
        api.patch(f"{path}/keys/{made['keys'][0]['id']}", api_key=secret),
        api.post(f"{path}/keys/{made['keys'][0]['id']}/rotate", api_key=secret),
    ):
        assert faulty(answer) == ["api_key"] and secret not in answer.text
