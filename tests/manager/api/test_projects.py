"""Rules of /manage/projects: shapes, statuses, keys that are never shown again, and what the data plane learns."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from manager import db
from manager.tables import Project
from shared import redis_schema
from shared.models import Feature, Policy
from shared.sealing import Keyring, generate_key
from tests.manager.api.conftest import ANYTHING, PROVIDER_KEY, USUAL, WELL, Api, Published, faulty, problem, set_aside
from tests.manager.conftest import Serve, one_database

NOBODYS = uuid.UUID(int=7)
OTHER_KEY = "sk-proj-another-provider-key-4567"


def row(sessions: db.Sessions, project_id: str) -> Project:
    with db.reading(sessions) as session:
        found = session.get(Project, uuid.UUID(project_id))
    assert found is not None
    return found


# Creating and reading


def test_a_new_project_is_answered_in_full_with_its_key_masked(api: Api) -> None:
    before = datetime.now(UTC)

    made = api.project("search team", base_url="https://eu.example.org/llm/")

    project_id, key_id, moment = made["id"], made["keys"][0]["id"], made["created_at"]
    assert made == {
        "id": project_id,
        "name": "search team",
        "provider": "openai",
        "base_url": "https://eu.example.org/llm",
        "fallback_urls": [],
        "policy": ANYTHING,
        "limits": [],
        "cors_origins": [],
        "features": {},
        "inspection": USUAL,
        "is_active": True,
        "api_key": "sk-p****0123",
        "keys": [
            {
                "id": key_id,
                "label": "",
                "masked_key": "sk-p****0123",
                "weight": 1,
                "is_active": True,
                "created_at": moment,
                "health": WELL,
            }
        ],
        "origins": [{"url": "https://eu.example.org/llm", "health": WELL}],
        "created_at": moment,
        "updated_at": moment,
        "deactivated_at": None,
        "deleted_at": None,
    }
    assert before <= datetime.fromisoformat(moment) <= datetime.now(UTC)
    assert uuid.UUID(project_id).version == uuid.UUID(key_id).version == 7


def test_a_project_reads_as_it_was_made(api: Api) -> None:
    made = api.project()

    assert api.get(f"projects/{made['id']}").json == made
    assert api.get("projects").json == {"items": [made], "next_cursor": None}


def test_a_new_project_is_published_with_its_key_sealed(api: Api, published: Published, keyring: Keyring) -> None:
    made = api.project(provider="anthropic", base_url="https://eu.example.org")

    record = published.project(made["id"])

    assert record is not None and (record.id, record.version) == (made["id"], 1)
    assert (record.provider, record.base_url, record.is_active) == ("anthropic", "https://eu.example.org", True)
    [key] = record.keys
    assert keyring.open(key.sealed, f"upstream_keys:{key.id}") == PROVIDER_KEY


def test_a_published_project_is_no_longer_pending(api: Api, sessions: db.Sessions) -> None:
    stored = row(sessions, api.project()["id"])

    assert stored.published_version == stored.version == 1


def test_no_answer_ever_shows_a_provider_key(api: Api) -> None:
    made = api.send("POST", "projects", json={"name": "search team", "api_key": PROVIDER_KEY})
    path = f"projects/{made.json['id']}"

    answers = [
        made,
        api.get(path),
        api.get("projects"),
        api.patch(path, name="other team"),
        api.patch(path, api_key=PROVIDER_KEY),
        api.patch(path, api_key=PROVIDER_KEY + " "),
        api.post("projects", name="other team", api_key=PROVIDER_KEY),
        api.post("projects", name="third", api_key=PROVIDER_KEY, provider="nobody"),
        api.post("projects", name="third", api_key=[PROVIDER_KEY]),
        api.post("projects", name="third", api_key=PROVIDER_KEY, nonsense=PROVIDER_KEY),
    ]

    assert [answer.status_code for answer in answers] == [201, 200, 200, 200, 200, 422, 409, 422, 422, 422]
    assert not [answer.text for answer in answers if PROVIDER_KEY[4:-4] in answer.text]


def test_the_key_lies_in_the_database_sealed(api: Api, sessions: db.Sessions, keyring: Keyring) -> None:
    [key] = row(sessions, api.project()["id"]).keys

    assert PROVIDER_KEY not in key.sealed
    assert keyring.open(key.sealed, f"upstream_keys:{key.id}") == PROVIDER_KEY


@one_database
@pytest.mark.parametrize("field", ["name", "api_key"])
def test_a_project_needs_a_name_and_a_key(api: Api, field: str) -> None:
    body = {"name": "search team", "api_key": PROVIDER_KEY}
    del body[field]

    assert faulty(api.post("projects", **body)) == [field]


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", 5),
        ("name", None),
        ("name", ["search"]),
        ("name", ""),
        ("name", " \t\n"),
        ("name", "x" * 201),
        ("name", "a\0b"),
        ("name", "two\nlines"),
        ("name", "\ud800"),
        ("api_key", 12345678),
        ("api_key", None),
        ("api_key", "x" * 7),
        ("api_key", "x" * 4097),
        ("provider", "nobody"),
        ("provider", True),
        ("base_url", None),
        ("base_url", "ftp://example.org"),
        ("base_url", "example.org"),
        ("is_active", True),
        ("id", str(NOBODYS)),
        ("", ""),
    ],
)
def test_a_project_with_a_faulty_or_unknown_field_is_not_made(api: Api, field: str, value: Any) -> None:
    body = {"name": "search team", "api_key": PROVIDER_KEY, field: value}

    assert faulty(api.post("projects", **body)) == [field]
    assert api.get("projects").json["items"] == []


@pytest.mark.parametrize(
    "name",
    [
        "😀 équipe",
        "\u202eright to left",
        "שלום",
        "'; DROP TABLE projects; --",
        "{{ 7 * 7 }}",
        "<script>alert(1)</script>",
        "%s %(name)s",
        "x" * 200,
        "😀" * 200,
    ],
    ids=ascii,
)
def test_a_name_is_text_and_nothing_else(api: Api, name: str) -> None:
    made = api.project(name)

    assert made["name"] == api.get(f"projects/{made['id']}").json["name"] == name


def test_space_around_a_name_does_not_count(api: Api) -> None:
    api.project("  search team ")

    assert problem(api.post("projects", name="search team", api_key=PROVIDER_KEY)) == (409, "conflict")


def test_a_taken_name_is_refused_and_changes_nothing(api: Api) -> None:
    first, second = api.project("first"), api.project("second")

    assert problem(api.post("projects", name="first", api_key=PROVIDER_KEY)) == (409, "conflict")
    assert problem(api.patch(f"projects/{second['id']}", name="first")) == (409, "conflict")
    assert api.get("projects").json["items"] == [second, first]


# Changing


def test_a_change_changes_what_it_names_and_is_published(api: Api, published: Published) -> None:
    made = api.project()

    answer = api.patch(f"projects/{made['id']}", name="find team", base_url="https://eu.example.org")

    changed = made | {"name": "find team", "base_url": "https://eu.example.org"}
    changed["origins"] = [{"url": "https://eu.example.org", "health": WELL}]
    assert answer.status_code == 200 and answer.json == changed | {"updated_at": answer.json["updated_at"]}
    assert answer.json["updated_at"] > made["updated_at"]
    assert api.get(f"projects/{made['id']}").json == answer.json
    record = published.project(made["id"])
    assert record is not None and (record.version, record.base_url) == (2, "https://eu.example.org")


def test_an_empty_base_url_returns_to_the_providers_own(api: Api) -> None:
    made = api.project(base_url="https://eu.example.org")

    assert api.patch(f"projects/{made['id']}", base_url="").json["base_url"] == ""


def test_a_new_key_replaces_the_old_one(api: Api, published: Published, keyring: Keyring) -> None:
    made = api.project()

    changed = api.patch(f"projects/{made['id']}", api_key=OTHER_KEY).json

    record = published.project(made["id"])
    assert record is not None and changed["api_key"] == "sk-p****4567"
    [shown], [key] = changed["keys"], record.keys
    assert shown["id"] == key.id != made["keys"][0]["id"]
    assert keyring.open(key.sealed, f"upstream_keys:{key.id}") == OTHER_KEY


def test_a_project_can_be_switched_off_and_on(api: Api, published: Published) -> None:
    path = f"projects/{api.project()['id']}"
    states = []

    for wanted in (False, False, True):
        shown = api.patch(path, is_active=wanted).json
        record = published.project(shown["id"])
        states.append((shown["is_active"], record and record.is_active, shown["deactivated_at"]))

    since = states[0][2]
    assert states == [(False, False, since), (False, False, since), (True, True, None)] and since is not None


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", "\0"),
        ("name", "x" * 201),
        ("api_key", "sk-p****0123"),
        ("base_url", "http://example.org"),
        ("is_active", "true"),
        ("is_active", 1),
        ("is_active", None),
        ("provider", "anthropic"),
        ("keys", []),
    ],
)
def test_a_faulty_or_unknown_change_changes_nothing(api: Api, published: Published, field: str, value: Any) -> None:
    made = api.project()

    assert faulty(api.patch(f"projects/{made['id']}", **{"name": "other", field: value})) == [field]
    assert api.get(f"projects/{made['id']}").json == made
    record = published.project(made["id"])
    assert record is not None and record.version == 1


def test_a_change_of_nothing_is_refused_and_changes_nothing(api: Api, published: Published) -> None:
    made = api.project()

    for answer in (api.patch(f"projects/{made['id']}"), api.send("PATCH", f"projects/{made['id']}")):
        assert faulty(answer) == ["_schema"] and answer.json["errors"]["_schema"] == ["Give at least one field."]
    assert api.get(f"projects/{made['id']}").json == made
    record = published.project(made["id"])
    assert record is not None and record.version == 1


# Settings

SETTINGS: dict[str, Any] = {
    "fallback_urls": ["https://eu.example.org", "https://us.example.org/llm"],
    "policy": {
        "allowed_models": ["gpt-4o*", "o?"],
        "denied_models": ["*-preview"],
        "denied_parameters": ["logit_bias"],
        "max_values": {"max_tokens": 100.0},
    },
    "cors_origins": ["https://app.example.org", "http://localhost:3000"],
    "features": {"retries": False, "fallback": True},
}


@pytest.mark.parametrize("is_set_later", [False, True], ids=["at once", "later"])
def test_settings_are_shown_as_they_were_set_and_published(api: Api, published: Published, is_set_later: bool) -> None:
    made = api.project() if is_set_later else api.project(**SETTINGS)
    shown = api.patch(f"projects/{made['id']}", **SETTINGS).json if is_set_later else made

    assert shown | SETTINGS == shown == api.get(f"projects/{made['id']}").json
    record = published.project(made["id"])
    assert record is not None
    assert record.fallback_urls == tuple(SETTINGS["fallback_urls"])
    assert record.policy == Policy(("gpt-4o*", "o?"), ("*-preview",), ("logit_bias",), {"max_tokens": 100.0})
    assert record.cors_origins == tuple(SETTINGS["cors_origins"])
    assert record.features == {Feature.RETRIES: False, Feature.FALLBACK: True}


def test_a_setting_that_is_not_named_stays_and_any_other_is_replaced_whole(api: Api, published: Published) -> None:
    made = api.project(**SETTINGS)

    shown = api.patch(f"projects/{made['id']}", policy={"denied_models": ["o1"]}, features={"breaker": None}).json

    assert shown["policy"] == ANYTHING | {"denied_models": ["o1"]} and shown["features"] == {}
    assert {name: shown[name] for name in ("fallback_urls", "cors_origins")}.items() <= SETTINGS.items()
    record = published.project(made["id"])
    assert record is not None and (record.policy, record.features) == (Policy(denied_models=("o1",)), {})


FAULTY_SETTINGS = [
    ("fallback_urls", None),
    ("fallback_urls", "https://eu.example.org"),
    ("fallback_urls", [7]),
    ("fallback_urls", ["http://example.org"]),
    ("policy", None),
    ("policy", []),
    ("policy", {"models": ["o1"]}),
    ("policy", {"allowed_models": "o1"}),
    ("policy", {"allowed_models": None}),
    ("policy", {"denied_models": [True]}),
    ("policy", {"max_values": {"n": "1"}}),
    ("policy", {"max_values": {"n": True}}),
    ("policy", {"max_values": {"n": None}}),
    ("policy", {"max_values": {"n": 10**400}}),
    ("policy", {"max_values": {"n": float("nan")}}),
    ("policy", {"max_values": {"n": -1}}),
    ("policy", {"denied_parameters": ["x" * 101]}),
    ("cors_origins", None),
    ("cors_origins", ["*"]),
    ("features", None),
    ("features", ["retries"]),
    ("features", {"unheard_of": True}),
    ("features", {"retries": 1}),
    ("features", {"retries": "true"}),
]


@one_database
@pytest.mark.parametrize(("field", "value"), FAULTY_SETTINGS)
def test_a_faulty_setting_is_refused(api: Api, field: str, value: Any) -> None:
    made = api.project()

    assert faulty(api.post("projects", name="other", api_key=PROVIDER_KEY, **{field: value})) == [field]
    assert faulty(api.patch(f"projects/{made['id']}", **{field: value})) == [field]
    assert api.get("projects").json["items"] == [made]


# Health


def test_a_project_shows_which_of_its_keys_and_origins_are_set_aside(api: Api, redis_client: redis.Redis) -> None:
    made = api.project(base_url="https://eu.example.org/llm", fallback_urls=["https://us.example.org"])
    until = datetime(2030, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    set_aside(redis_client, f"key:{made['keys'][0]['id']}", "status_429", until, 3)
    set_aside(redis_client, "origin:https://eu.example.org", "refused", until + timedelta(days=1), 1)

    [shown] = api.get("projects").json["items"]

    out = {"state": "set_aside", "reason": "status_429", "until": "2030-01-02T03:04:05.678000+00:00", "openings": 3}
    assert [key["health"] for key in shown["keys"]] == [out]
    assert [(origin["url"], origin["health"]["reason"]) for origin in shown["origins"]] == [
        ("https://eu.example.org/llm", "refused"),
        ("https://us.example.org", None),
    ]


def test_a_project_without_base_url_goes_to_its_providers(api: Api) -> None:
    assert [origin["url"] for origin in api.project()["origins"]] == ["https://api.openai.com"]


def test_without_redis_nobody_knows_the_health(api: Api, lonely: Api) -> None:
    made = api.project()

    shown = lonely.get(f"projects/{made['id']}")

    assert shown.status_code == 200
    assert [shown.json["keys"][0]["health"], shown.json["origins"][0]["health"]] == [None, None]


def test_a_key_that_takes_the_place_of_another_has_not_failed(api: Api, redis_client: redis.Redis) -> None:
    made = api.project()
    set_aside(redis_client, f"key:{made['keys'][0]['id']}", "status_401")

    assert api.patch(f"projects/{made['id']}", api_key=OTHER_KEY).json["keys"][0]["health"] == WELL
    assert redis_client.hgetall(redis_schema.BREAKERS) == {}


# Deleting


def test_a_deleted_project_stays_to_be_read_but_is_off(api: Api, published: Published) -> None:
    made = api.project()

    answer = api.delete(f"projects/{made['id']}")

    left = api.get(f"projects/{made['id']}").json
    assert (answer.status_code, answer.data) == (204, b"")
    assert left["is_active"] is False and left["deactivated_at"] == left["updated_at"]
    record = published.project(made["id"])
    assert record is not None and (record.is_active, record.version) == (False, 2)


def test_the_tokens_of_a_deleted_project_are_revoked_and_published(api: Api, published: Published) -> None:
    made, other = api.project(), api.project("other team")
    token, foreign = api.token(made["id"]), api.token(other["id"])

    api.delete(f"projects/{made['id']}")

    left = api.get(f"tokens/{token['id']}").json
    assert left["is_active"] is False and left["revoked_at"] is not None
    assert published.token(token["token"])["is_active"] == "0"
    assert api.get(f"tokens/{foreign['id']}").json["is_active"] is True
    assert published.token(foreign["token"])["is_active"] == "1"


def test_deleting_a_project_again_keeps_the_first_moments(api: Api) -> None:
    made = api.project()
    token = api.token(made["id"])
    api.delete(f"projects/{made['id']}")
    first = api.get(f"projects/{made['id']}").json, api.get(f"tokens/{token['id']}").json

    assert api.delete(f"projects/{made['id']}").status_code == 204

    again = api.get(f"projects/{made['id']}").json, api.get(f"tokens/{token['id']}").json
    assert again[0]["deactivated_at"] == first[0]["deactivated_at"] and again[1] == first[1]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"is_active": True}),
        ("PATCH", "", {"name": "other"}),
        ("PUT", "", {"name": "other"}),
        ("POST", "/activate", None),
        ("POST", "/keys", {"api_key": OTHER_KEY}),
    ],
    ids=["on by patch", "patch", "put", "on", "key"],
)
def test_a_deleted_project_cannot_be_changed(api: Api, method: str, path: str, body: Any) -> None:
    made = api.project()
    api.delete(f"projects/{made['id']}")
    left = api.get(f"projects/{made['id']}").json

    assert problem(api.send(method, f"projects/{made['id']}{path}", json=body)) == (409, "conflict")
    assert api.get(f"projects/{made['id']}").json == left and left["deleted_at"] == left["deactivated_at"]


@pytest.mark.parametrize("path", [f"projects/{NOBODYS}", "projects/not-an-id", "projects/"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_project_is_not_found(api: Api, method: str, path: str) -> None:
    assert problem(api.send(method, path, json={"is_active": True} if method == "PATCH" else None)) == (
        404,
        "not_found",
    )


# Redis is away


def test_a_project_that_cannot_be_published_is_made_all_the_same(
    lonely: Api, sessions: db.Sessions, published: Published
) -> None:
    made = lonely.project()

    stored = row(sessions, made["id"])
    assert (stored.version, stored.published_version) == (1, 0)
    assert published.project(made["id"]) is None


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"is_active": False}), ("DELETE", None)])
def test_a_change_that_cannot_be_published_is_stored_and_told_as_pending(
    api: Api, lonely: Api, sessions: db.Sessions, published: Published, method: str, body: Any
) -> None:
    made = api.project()
    token = api.token(made["id"])

    answer = lonely.send(method, f"projects/{made['id']}", json=body)

    assert problem(answer) == (503, "publish_pending") and answer.headers["retry-after"] == "1"
    stored = row(sessions, made["id"])
    assert (stored.is_active, stored.version, stored.published_version) == (False, 2, 1)
    assert published.token(token["token"])["is_active"] == "1"


def test_what_was_pending_is_published_when_it_is_asked_for_again(api: Api, lonely: Api, published: Published) -> None:
    made = api.project()
    token = api.token(made["id"])
    lonely.delete(f"projects/{made['id']}")

    assert api.delete(f"projects/{made['id']}").status_code == 204

    record = published.project(made["id"])
    assert record is not None and not record.is_active
    assert published.token(token["token"])["is_active"] == "0"


# Lists


def test_pages_show_every_project_once_newest_first(api: Api) -> None:
    made = [api.project(f"team {number}") for number in range(5)]
    pages, cursor = [], ""

    while cursor is not None:
        page = api.get("projects", limit=2, cursor=cursor).json
        pages.append(page["items"])
        cursor = page["next_cursor"]

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [project for page in pages for project in page] == made[::-1]


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [("limit", 0), ("limit", 201), ("limit", "many"), ("limit", 1.5), ("cursor", "x" * 201), ("name", "search")],
)
def test_a_faulty_or_unknown_filter_is_refused(api: Api, field: str, value: Any) -> None:
    assert faulty(api.get("projects", **{field: value})) == [field]


# What the operator decides


@one_database
def test_http_to_another_machine_needs_the_operators_leave(
    api: Api, serve: Serve, database_url: str, valkey_url: str
) -> None:
    url = "http://provider.internal:8000"
    relaxed = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_ALLOW_HTTP_UPSTREAM="true")

    assert faulty(api.post("projects", name="strict", api_key=PROVIDER_KEY, base_url=url)) == ["base_url"]
    assert Api(relaxed.test_client()).project(base_url=url)["base_url"] == url


@one_database
def test_new_keys_are_sealed_with_the_first_key_of_the_ring(
    serve: Serve, database_url: str, valkey_url: str, encryption_key: str, published: Published
) -> None:
    newer = generate_key()
    rotated = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, ENCRYPTION_KEYS=f"k2:{newer},k1:{encryption_key}")

    made = Api(rotated.test_client()).project()

    record = published.project(made["id"])
    assert record is not None and record.keys[0].sealed.startswith("v1.k2.")
