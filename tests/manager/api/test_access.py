"""Rules of access: one management token, asked for before all else; request ids; marks on every answer."""

import re
import uuid

import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers

from tests.manager.api.conftest import PROVIDER_KEY, Api, problem
from tests.manager.conftest import MANAGEMENT_TOKEN, one_database

pytestmark = [one_database, pytest.mark.usefixtures("database_url")]
ID = uuid.UUID(int=7)
OPERATIONS = [
    ("GET", "/manage/projects"),
    ("POST", "/manage/projects"),
    ("GET", f"/manage/projects/{ID}"),
    ("PATCH", f"/manage/projects/{ID}"),
    ("DELETE", f"/manage/projects/{ID}"),
    ("GET", f"/manage/projects/{ID}/keys"),
    ("POST", f"/manage/projects/{ID}/keys"),
    ("GET", f"/manage/projects/{ID}/keys/{ID}"),
    ("PATCH", f"/manage/projects/{ID}/keys/{ID}"),
    ("DELETE", f"/manage/projects/{ID}/keys/{ID}"),
    ("GET", "/manage/audit"),
    ("GET", "/manage/tokens"),
    ("POST", "/manage/tokens"),
    ("GET", f"/manage/tokens/{ID}"),
    ("PATCH", f"/manage/tokens/{ID}"),
    ("DELETE", f"/manage/tokens/{ID}"),
    ("GET", "/manage/requests"),
    ("OPTIONS", "/manage/projects"),
    ("PUT", "/manage/projects"),
    ("GET", "/manage/nothing"),
    ("GET", "/manage/"),
    ("GET", "/manage"),
    ("GET", "/%6danage/projects"),
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_without_the_token_nothing_is_answered_but_401(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open(path, method=method)

    assert problem(answer) == (401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_the_token_opens_whatever_the_case_of_its_scheme(client: FlaskClient, scheme: str) -> None:
    answer = client.get("/manage/projects", headers={"authorization": f"{scheme} {MANAGEMENT_TOKEN}"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "values",
    [
        [],
        [""],
        ["Bearer"],
        ["Bearer "],
        [MANAGEMENT_TOKEN],
        [f"Basic {MANAGEMENT_TOKEN}"],
        [f"Token {MANAGEMENT_TOKEN}"],
        [f"Bearer{MANAGEMENT_TOKEN}"],
        [f"Bearer {MANAGEMENT_TOKEN}x"],
        [f"Bearer {MANAGEMENT_TOKEN[:-1]}"],
        [f"Bearer {MANAGEMENT_TOKEN.upper()}"],
        [f"Bearer {MANAGEMENT_TOKEN} {MANAGEMENT_TOKEN}"],
        [f"Bearer {MANAGEMENT_TOKEN}, Bearer {MANAGEMENT_TOKEN}"],
        [f"Bearer {MANAGEMENT_TOKEN}", f"Bearer {MANAGEMENT_TOKEN}"],
        ["Bearer wrong", f"Bearer {MANAGEMENT_TOKEN}"],
        [f"Bearer {MANAGEMENT_TOKEN}", "Bearer wrong"],
        ["Bearer \xff\xfe"],
    ],
)
def test_anything_else_than_the_token_is_refused(client: FlaskClient, values: list[str]) -> None:
    headers = Headers([("authorization", value) for value in values])

    answer = client.get("/manage/projects", headers=headers)

    assert problem(answer) == (401, "unauthorized") and MANAGEMENT_TOKEN not in answer.text


def test_the_token_is_taken_from_its_header_only(client: FlaskClient) -> None:
    client.set_cookie("authorization", f"Bearer {MANAGEMENT_TOKEN}")

    answer = client.get(f"/manage/projects?authorization=Bearer+{MANAGEMENT_TOKEN}&token={MANAGEMENT_TOKEN}")

    assert problem(answer) == (401, "unauthorized")


def test_who_may_not_in_learns_nothing_of_a_faulty_body(client: FlaskClient) -> None:
    answer = client.post("/manage/projects", data="{" * 100_000, content_type="text/plain")

    assert problem(answer) == (401, "unauthorized")


def test_who_may_not_in_changes_nothing(client: FlaskClient, api: Api) -> None:
    client.post("/manage/projects", json={"name": "search team", "api_key": PROVIDER_KEY})

    assert api.get("projects").json["items"] == []


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_token(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code != 401


@pytest.mark.parametrize("path", ["/managed", "/nothing", "/uis"])
def test_outside_of_manage_there_is_nothing_to_guard(client: FlaskClient, path: str) -> None:
    assert problem(client.get(path)) == (404, "not_found")


# Request ids


@pytest.mark.parametrize("given", ["a", "req-2026.03_01", "A" * 64])
def test_a_well_formed_request_id_is_kept(api: Api, given: str) -> None:
    assert api.send("GET", "projects", {"x-request-id": given}).headers.getlist("x-request-id") == [given]


@pytest.mark.parametrize("given", ["", "A" * 65, "two words", "ümlaut", "a,b", "<b>", "a\tb"], ids=ascii)
def test_any_other_request_id_is_replaced(api: Api, given: str) -> None:
    [made] = api.send("GET", "projects", {"x-request-id": given}).headers.getlist("x-request-id")

    assert re.fullmatch("[0-9a-f]{32}", made)


def test_each_request_gets_an_id_of_its_own(client: FlaskClient) -> None:
    assert len({client.get("/healthz").headers["x-request-id"] for _ in range(3)}) == 3


# Marks


@pytest.mark.parametrize("path", ["/manage/projects", "/manage/nothing", "/healthz", "/readyz", "/nothing"])
def test_no_answer_is_kept_or_guessed_at(client: FlaskClient, path: str) -> None:
    for headers in ({}, {"authorization": f"Bearer {MANAGEMENT_TOKEN}"}):
        answer = client.get(path, headers=headers)

        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-request-id"]
