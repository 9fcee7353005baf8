"""Rules of /manage/tokens: shown once, living as long as allowed, revoked for good, and known to the data plane."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from manager import db
from manager.tables import Token
from shared import redis_schema, tokens
from shared.models import Policy
from tests.manager.api.conftest import ANYTHING, Api, Published, faulty, problem
from tests.manager.conftest import PEPPER, one_database

NOBODYS = uuid.UUID(int=7)


@pytest.fixture
def project_id(api: Api) -> str:
    """A project that is active."""
    found: str = api.project()["id"]
    return found


def row(sessions: db.Sessions, token_id: str) -> Token:
    with db.reading(sessions) as session:
        found = session.get(Token, uuid.UUID(token_id))
    assert found is not None
    return found


def life(token: dict[str, Any], since: str = "created_at") -> timedelta:
    return datetime.fromisoformat(token["expires_at"]) - datetime.fromisoformat(token[since])


# Creating and reading


def test_a_new_token_is_answered_in_full_with_its_secret(api: Api, project_id: str) -> None:
    made = api.token(project_id, expires_in="PT15M", max_requests=3, label="nightly")

    assert made == {
        "id": made["id"],
        "token": made["token"],
        "masked_token": f"sk-llmp-****{made['token'][-4:]}",
        "project_id": project_id,
        "label": "nightly",
        "expires_at": made["expires_at"],
        "max_requests": 3,
        "request_count": 0,
        "is_active": True,
        "state": "active",
        "policy": ANYTHING,
        "limits": [],
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
        "last_used_at": None,
        "revoked_at": None,
        "refreshed_at": None,
        "previous_until": None,
    }
    assert tokens.is_well_formed(made["token"]) and uuid.UUID(made["id"]).version == 7
    assert life(made) == timedelta(minutes=15)


def test_the_secret_is_shown_once(api: Api, project_id: str) -> None:
    made = api.token(project_id)
    secret = made.pop("token")
    path = f"tokens/{made['id']}"

    answers = [api.get(path), api.get("tokens"), api.patch(path, label="renamed"), api.delete(path), api.get(path)]

    assert answers[0].json == made and answers[1].json == {"items": [made], "next_cursor": None}
    assert not [answer.text for answer in answers if secret[12:-4] in answer.text]


def test_the_database_knows_a_token_by_its_digest_only(api: Api, project_id: str, sessions: db.Sessions) -> None:
    made = api.token(project_id)

    stored = row(sessions, made["id"])

    assert stored.digest == tokens.digest(made["token"], PEPPER.encode())
    assert not [value for value in vars(stored).values() if made["token"] in str(value)]


def test_a_new_token_is_published(api: Api, project_id: str, published: Published, sessions: db.Sessions) -> None:
    made = api.token(project_id, max_requests=3, label="nightly")
    expected = {
        "version": "1",
        "requests": "0",
        "last_used_at": "0",
        "id": made["id"],
        "label": "nightly",
        "project_id": project_id,
        "is_active": "1",
        "expires_at": str(redis_schema.to_ms(datetime.fromisoformat(made["expires_at"]))),
        "max_requests": "3",
    }

    assert expected.items() <= published.token(made["token"]).items()
    assert row(sessions, made["id"]).published_version == 1


def test_tokens_differ(api: Api, project_id: str) -> None:
    assert len({api.token(project_id)["token"] for _ in range(3)}) == 3


@one_database
@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [(900, 900), ("900", 900), ("PT15M", 900), ("P1DT1H", 90_000), ("P2W", 1_209_600), ("P365D", 31_536_000), (1, 1)],
)
def test_a_life_is_seconds_or_iso_8601(api: Api, project_id: str, expires_in: Any, seconds: int) -> None:
    assert life(api.token(project_id, expires_in=expires_in)) == timedelta(seconds=seconds)


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expires_in", 0),
        ("expires_in", -1),
        ("expires_in", "PT0S"),
        ("expires_in", "-PT1H"),
        ("expires_in", 31_536_001),
        ("expires_in", "P366D"),
        ("expires_in", "P99999999D"),
        ("expires_in", "P1M"),
        ("expires_in", "P1Y"),
        ("expires_in", "tomorrow"),
        ("expires_in", ""),
        ("expires_in", 1.5),
        ("expires_in", True),
        ("expires_in", None),
        ("expires_in", ["PT1H"]),
        ("max_requests", 0),
        ("max_requests", -1),
        ("max_requests", 2**53 + 1),
        ("max_requests", 5.5),
        ("max_requests", "5"),
        ("max_requests", True),
        ("label", None),
        ("label", 5),
        ("label", "x" * 201),
        ("label", "a\0b"),
        ("label", "\ud800"),
        ("project_id", "not-an-id"),
        ("project_id", "\0"),
        ("project_id", None),
        ("is_active", True),
        ("token", "sk-llmp-chosen"),
        ("policy", None),
        ("policy", {"models": ["o1"]}),
        ("policy", {"allowed_models": [""]}),
    ],
)
def test_a_token_with_a_faulty_or_unknown_field_is_not_made(api: Api, project_id: str, field: str, value: Any) -> None:
    body = {"project_id": project_id, "expires_in": "PT1H", field: value}

    assert faulty(api.post("tokens", **body)) == [field]
    assert api.get("tokens").json["items"] == []


@one_database
@pytest.mark.parametrize("field", ["project_id", "expires_in"])
def test_a_token_needs_a_project_and_an_end(api: Api, project_id: str, field: str) -> None:
    body = {"project_id": project_id, "expires_in": "PT1H"}
    del body[field]

    assert faulty(api.post("tokens", **body)) == [field]


@pytest.mark.parametrize(
    "label", ["", "😀 nightly", "שלום", "'; DROP TABLE tokens; --", "{{ 7 * 7 }}", "x" * 200], ids=ascii
)
def test_a_label_is_text_and_nothing_else(api: Api, project_id: str, published: Published, label: str) -> None:
    made = api.token(project_id, label=label)

    assert made["label"] == api.get(f"tokens/{made['id']}").json["label"] == label
    assert published.token(made["token"])["label"] == label


@pytest.mark.parametrize("most", [None, 1, 2**53])
def test_a_limit_is_any_number_that_json_can_say_or_none(api: Api, project_id: str, most: int | None) -> None:
    made = api.token(project_id, max_requests=most)

    assert api.get(f"tokens/{made['id']}").json["max_requests"] == most


def test_an_unknown_project_takes_no_tokens(api: Api) -> None:
    assert problem(api.post("tokens", project_id=str(NOBODYS), expires_in="PT1H")) == (404, "not_found")


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"is_active": False}), ("DELETE", None)])
def test_an_inactive_project_takes_no_new_tokens(api: Api, project_id: str, method: str, body: Any) -> None:
    api.send(method, f"projects/{project_id}", json=body)

    assert problem(api.post("tokens", project_id=project_id, expires_in="PT1H")) == (403, "project_inactive")
    assert api.get("tokens").json["items"] == []


# Changing


def test_a_change_changes_what_it_names_and_is_published(api: Api, project_id: str, published: Published) -> None:
    made = api.token(project_id, max_requests=3)
    secret = made.pop("token")

    answer = api.patch(f"tokens/{made['id']}", label="weekly", max_requests=9)

    changed = {"label": "weekly", "max_requests": 9, "updated_at": answer.json["updated_at"]}
    assert answer.status_code == 200 and answer.json == made | changed
    assert api.get(f"tokens/{made['id']}").json == answer.json
    record = published.token(secret)
    assert (record["label"], record["max_requests"], record["version"]) == ("weekly", "9", "2")


def test_a_limit_can_be_lifted(api: Api, project_id: str, published: Published) -> None:
    made = api.token(project_id, max_requests=3)

    assert api.patch(f"tokens/{made['id']}", max_requests=None).json["max_requests"] is None
    assert published.token(made["token"])["max_requests"] == ""


def test_a_new_life_counts_from_now(api: Api, project_id: str, published: Published) -> None:
    made = api.token(project_id, expires_in="P1D")

    changed = api.patch(f"tokens/{made['id']}", expires_in="PT5M").json

    assert timedelta(minutes=5) < life(changed) < timedelta(minutes=6)
    moment = datetime.fromisoformat(changed["expires_at"])
    assert published.token(made["token"])["expires_at"] == str(redis_schema.to_ms(moment))


def test_a_token_can_be_switched_off_and_on(api: Api, project_id: str, published: Published) -> None:
    made = api.token(project_id)
    states = []

    for wanted in (False, True):
        shown = api.patch(f"tokens/{made['id']}", is_active=wanted).json
        states.append((shown["is_active"], shown["revoked_at"], published.token(made["token"])["is_active"]))

    assert states == [(False, None, "0"), (True, None, "1")]


@one_database
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("expires_in", "P366D"),
        ("expires_in", 0),
        ("expires_in", None),
        ("max_requests", 0),
        ("max_requests", "5"),
        ("label", "\0"),
        ("label", None),
        ("is_active", "false"),
        ("is_active", 0),
        ("is_active", None),
        ("request_count", 0),
        ("project_id", str(NOBODYS)),
        ("policy", None),
        ("policy", {"max_values": {"n": "1"}}),
        ("policy", {"denied_models": ["x" * 201]}),
    ],
)
def test_a_faulty_or_unknown_change_changes_nothing(
    api: Api, project_id: str, published: Published, field: str, value: Any
) -> None:
    made = api.token(project_id)
    secret = made.pop("token")

    assert faulty(api.patch(f"tokens/{made['id']}", **{"label": "other", field: value})) == [field]
    assert api.get(f"tokens/{made['id']}").json == made
    assert published.token(secret)["version"] == "1"


def test_a_policy_is_shown_as_it_was_set_and_published(api: Api, project_id: str, published: Published) -> None:
    wanted = ANYTHING | {"allowed_models": ["gpt-4o*"], "max_values": {"n": 2.0}}
    made = api.token(project_id, policy=wanted)
    first = published.token(made["token"])["policy"]

    shown = api.patch(f"tokens/{made['id']}", policy={}).json

    assert (made["policy"], shown["policy"]) == (wanted, ANYTHING)
    assert msgspec.json.decode(first, type=Policy) == Policy(allowed_models=("gpt-4o*",), max_values={"n": 2.0})
    assert published.token(made["token"])["policy"] == ""


def test_a_policy_that_is_not_named_stays(api: Api, project_id: str) -> None:
    made = api.token(project_id, policy={"denied_models": ["o1"]})

    assert api.patch(f"tokens/{made['id']}", label="renamed").json["policy"] == made["policy"]


# Revoking


def test_a_revoked_token_stays_to_be_read_and_the_data_plane_knows(
    api: Api, project_id: str, published: Published
) -> None:
    made = api.token(project_id)

    answer = api.delete(f"tokens/{made['id']}")

    left = api.get(f"tokens/{made['id']}").json
    assert (answer.status_code, answer.data) == (204, b"")
    assert left["is_active"] is False and left["revoked_at"] > left["created_at"]
    assert (published.token(made["token"])["is_active"], published.token(made["token"])["version"]) == ("0", "2")


def test_a_change_of_nothing_is_refused_and_changes_nothing(api: Api, project_id: str, published: Published) -> None:
    made = api.token(project_id)
    before = api.get(f"tokens/{made['id']}").json

    assert faulty(api.patch(f"tokens/{made['id']}")) == ["_schema"]
    assert api.get(f"tokens/{made['id']}").json == before
    assert published.token(made["token"])["version"] == "1"


@pytest.mark.parametrize("change", [{"is_active": True}, {"expires_in": "P1D"}, {"label": "again"}])
def test_a_revoked_token_stays_revoked(api: Api, project_id: str, published: Published, change: dict[str, Any]) -> None:
    made = api.token(project_id)
    api.delete(f"tokens/{made['id']}")
    left = api.get(f"tokens/{made['id']}").json

    assert problem(api.patch(f"tokens/{made['id']}", **change)) == (409, "conflict")
    assert api.get(f"tokens/{made['id']}").json == left
    assert published.token(made["token"])["is_active"] == "0"


def test_revoking_again_changes_nothing(api: Api, project_id: str) -> None:
    made = api.token(project_id)
    api.delete(f"tokens/{made['id']}")
    left = api.get(f"tokens/{made['id']}").json

    assert api.delete(f"tokens/{made['id']}").status_code == 204
    assert api.get(f"tokens/{made['id']}").json == left


@pytest.mark.parametrize("path", [f"tokens/{NOBODYS}", "tokens/not-an-id", "tokens/"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_token_is_not_found(api: Api, method: str, path: str) -> None:
    body = {"is_active": True} if method == "PATCH" else None

    assert problem(api.send(method, path, json=body)) == (404, "not_found")


# Redis is away


def test_a_token_that_cannot_be_published_is_made_all_the_same(
    api: Api, lonely: Api, project_id: str, sessions: db.Sessions, published: Published
) -> None:
    made = lonely.token(project_id)

    stored = row(sessions, made["id"])
    assert (stored.version, stored.published_version) == (1, 0)
    assert published.token(made["token"]) == {}


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"is_active": False}), ("DELETE", None)])
def test_a_change_that_cannot_be_published_is_stored_and_told_as_pending(
    api: Api, lonely: Api, project_id: str, sessions: db.Sessions, published: Published, method: str, body: Any
) -> None:
    made = api.token(project_id)

    answer = lonely.send(method, f"tokens/{made['id']}", json=body)

    assert problem(answer) == (503, "publish_pending") and answer.headers["retry-after"] == "1"
    stored = row(sessions, made["id"])
    assert (stored.is_active, stored.version, stored.published_version) == (False, 2, 1)
    assert published.token(made["token"])["is_active"] == "1"


def test_a_revocation_that_was_pending_is_published_when_it_is_asked_for_again(
    api: Api, lonely: Api, project_id: str, published: Published
) -> None:
    made = api.token(project_id)
    lonely.delete(f"tokens/{made['id']}")

    assert api.delete(f"tokens/{made['id']}").status_code == 204
    assert published.token(made["token"])["is_active"] == "0"


# Lists


def test_pages_show_every_token_of_a_project_once_newest_first(api: Api, project_id: str) -> None:
    other = api.project("other team")["id"]
    made = [api.token(owner)["id"] for owner in (project_id, other, project_id, project_id, other)]
    pages, cursor = [], ""

    while cursor is not None:
        page = api.get("tokens", project_id=project_id, limit=2, cursor=cursor).json
        pages.append([token["id"] for token in page["items"]])
        cursor = page["next_cursor"]

    assert pages == [[made[3], made[2]], [made[0]]]
    assert [token["id"] for token in api.get("tokens").json["items"]] == made[::-1]


def test_an_unknown_project_has_no_tokens(api: Api, project_id: str) -> None:
    api.token(project_id)

    assert api.get("tokens", project_id=str(NOBODYS)).json == {"items": [], "next_cursor": None}


@one_database
@pytest.mark.parametrize(("field", "value"), [("limit", 0), ("limit", 201), ("project_id", "x"), ("label", "nightly")])
def test_a_faulty_or_unknown_filter_is_refused(api: Api, field: str, value: Any) -> None:
    assert faulty(api.get("tokens", **{field: value})) == [field]


@one_database
def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    api.project("first"), api.project("second")

    cursor = api.get("projects", limit=1).json["next_cursor"]

    assert faulty(api.get("tokens", cursor=cursor)) == ["cursor"]
