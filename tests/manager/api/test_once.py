"""Rules of Idempotency-Key: whoever asks again, asks for the same, and gets the same."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from manager.principals import Principal, Role
from manager.tables import Token
from tests.manager.api.conftest import PROVIDER_KEY, Api, Published, faulty, one_database, problem
from tests.manager.conftest import Rows

OTHER_KEY = "sk-proj-another-provider-key-4567"


def ask(api: Api, path: str, body: Any, key: str = "order-1", **headers: str) -> TestResponse:
    return api.send("POST", path, {"idempotency-key": key, **headers}, json=body)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("projects", {"name": "find team", "api_key": OTHER_KEY}, 201),
        ("projects/{project}/keys", {"api_key": OTHER_KEY}, 201),
        ("tokens", {"project_id": "{project}", "expires_in": 60}, 201),
        ("tokens/batch", {"project_id": "{project}", "expires_in": 60, "count": 3}, 201),
        ("tokens/{token}/refresh", {"grace": 60}, 200),
    ],
)
def test_what_is_asked_for_twice_is_made_once(api: Api, path: str, body: dict[str, Any], status: int) -> None:
    project = api.project()["id"]
    known = {"project": project, "token": api.token(project)["id"]}
    path = path.format(**known)
    body = {name: value.format(**known) if name == "project_id" else value for name, value in body.items()}

    first, second = ask(api, path, body), ask(api, path, body)

    assert (first.status_code, second.status_code) == (status, status), second.text
    assert (first.headers.get("idempotency-replayed"), second.headers["idempotency-replayed"]) == (None, "true")
    assert without_health(second.json) == without_health(first.json)
    assert len(api.get("audit", limit=200).json["items"]) == 2 + (3 if "batch" in path else 1)


def without_health(shown: Any) -> Any:
    """What is shown, without what may be known of health by now."""
    if isinstance(shown, dict):
        return {name: without_health(value) for name, value in shown.items() if name != "health"}
    return [without_health(each) for each in shown] if isinstance(shown, list) else shown


def test_a_secret_that_was_lost_on_its_way_is_shown_once_more(api: Api, published: Published) -> None:
    body = {"project_id": api.project()["id"], "expires_in": 60}

    secrets = {ask(api, "tokens", body).json["token"] for _ in range(3)}

    [secret] = secrets
    assert published.token(secret)["is_active"] == "1"


def test_a_key_is_for_one_request_only(api: Api, rows: Rows) -> None:
    project_id = api.project()["id"]
    ask(api, "tokens", {"project_id": project_id, "expires_in": 60})

    answer = ask(api, "tokens", {"project_id": project_id, "expires_in": 61})

    assert problem(answer) == (422, "idempotency_key_reused") and len(rows.all(Token)) == 1


def test_each_principal_has_keys_of_its_own(api: Api, signed_in: Any, rows: Rows) -> None:
    body = {"project_id": api.project()["id"], "expires_in": 60}
    first = ask(api, "tokens", body).json
    signed_in(Principal("nightly", Role.OPERATOR))

    assert ask(api, "tokens", body).json["id"] != first["id"] and len(rows.all(Token)) == 2


def test_what_was_refused_can_be_asked_for_again(api: Api) -> None:
    project_id = api.project()["id"]
    api.post(f"projects/{project_id}/deactivate")
    body = {"project_id": project_id, "expires_in": 60}
    assert problem(ask(api, "tokens", body)) == (403, "project_inactive")
    api.post(f"projects/{project_id}/activate")

    assert ask(api, "tokens", body).status_code == 201


def test_the_version_in_the_path_makes_no_other_request(api: Api) -> None:
    body = {"name": "search team", "api_key": PROVIDER_KEY}

    assert ask(api, "projects", body).json["id"] == ask(api, "v1/projects", body).json["id"]


@one_database
@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256], ids=["empty", "space", "letter", "long"])
def test_a_faulty_key_is_refused(api: Api, key: str) -> None:
    assert faulty(ask(api, "projects", {"name": "a", "api_key": PROVIDER_KEY}, key)) == ["Idempotency-Key"]
    assert api.get("projects").json["items"] == []
