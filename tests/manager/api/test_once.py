"""Rules of Idempotency-Key: whoever asks again, asks for the same, and gets the same."""

from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from manager.principals import Principal, Role
from manager.tables import Token
from tests.manager.api.conftest import PROVIDER_KEY, Api, Published, created, faulty, problem
from tests.manager.conftest import Rows, one_database

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


# What has changed since


def scoped(api: Api, project_id: str, role: str = "operator") -> tuple[Api, str]:
    """An operator of one project, and its id."""
    made = created(api.post("operators", name="nightly", role=role, project_ids=[project_id]))
    return replace(api, bearer=made["token"]), made["id"]


def test_nobody_is_shown_again_what_has_left_their_scope(api: Api, rows: Rows) -> None:
    own, other = api.project("own")["id"], api.project("other")["id"]
    operator, operator_id = scoped(api, own)
    body = {"project_id": own, "expires_in": 60}
    secret = created(ask(operator, "tokens", body))["token"]

    api.patch(f"operators/{operator_id}", project_ids=[other])
    answer = ask(operator, "tokens", body)
    assert problem(answer) == (422, "idempotency_key_reused") and secret not in answer.text

    api.patch(f"operators/{operator_id}", project_ids=[own])
    assert ask(operator, "tokens", body).json["token"] == secret and len(rows.all(Token)) == 1


@pytest.mark.parametrize("path", ["tokens", "tokens/batch", "tokens/{token}/refresh"])
@pytest.mark.parametrize("is_purged", [False, True], ids=["revoked", "purged"])
def test_the_secret_of_a_token_that_was_revoked_since_is_not_shown_again(api: Api, path: str, is_purged: bool) -> None:
    project_id = api.project()["id"]
    token_id = api.token(project_id)["id"]
    body = {"grace": 60} if "refresh" in path else {"project_id": project_id, "expires_in": 60}
    body |= {"count": 2} if "batch" in path else {}
    first = ask(api, path.format(token=token_id), body).json
    made = first["items"][-1] if "batch" in path else first

    api.delete(f"projects/{project_id}" if is_purged else f"tokens/{made['id']}")
    if is_purged:
        api.delete(f"projects/{project_id}?purge=true")
    answer = ask(api, path.format(token=token_id), body)

    assert problem(answer) == (409, "conflict") and made["token"] not in answer.text


@pytest.mark.parametrize(
    ("path", "body", "change"),
    [
        ("projects", {"name": "find team", "api_key": OTHER_KEY}, {"name": "search"}),
        ("projects/{project}/keys", {"api_key": OTHER_KEY}, {"weight": 7}),
        ("tokens", {"project_id": "{project}", "expires_in": 60}, {"label": "x"}),
        ("tokens/{token}/refresh", {"grace": 60}, {"label": "x"}),
    ],
)
def test_an_answer_comes_again_with_the_tag_of_what_it_shows(
    api: Api, path: str, body: dict[str, Any], change: dict[str, Any]
) -> None:
    project = api.project()["id"]
    known = {"project": project, "token": api.token(project)["id"]}
    body = {name: value.format(**known) if name == "project_id" else value for name, value in body.items()}
    path = path.format(**known)
    first, second = ask(api, path, body), ask(api, path, body)
    one = path.removesuffix("/refresh") if "refresh" in path else f"{path}/{first.json['id']}"

    assert first.headers["etag"].partition("-")[0] == second.headers["etag"].partition("-")[0]
    assert api.send("PATCH", one, {"if-match": second.headers["etag"]}, json=change).status_code == 200
    stale = ask(api, path, body).headers["etag"]
    assert problem(api.send("PATCH", one, {"if-match": stale}, json=change)) == (412, "precondition_failed")
