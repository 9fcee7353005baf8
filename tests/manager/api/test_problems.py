"""Rules of errors: every one a problem document with a code that stays, and none that tells too much."""

import io
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from structlog.testing import capture_logs

from manager.api import MAX_BODY_BYTES
from manager.api.problems import handle
from manager.transactions import CommitUnknown
from tests.manager.api.conftest import PROVIDER_KEY, Api, faulty, problem
from tests.manager.conftest import NOBODY, Serve, one_database

pytestmark = [one_database, pytest.mark.usefixtures("database_url")]
JSON = {"content-type": "application/json"}


@pytest.fixture
def broken(serve: Serve, tmp_path: Path) -> Api:
    """An operator whose service has a database without tables."""
    return Api(serve(DATABASE_URL=f"sqlite:///{tmp_path}/empty.db", REDIS_URL=NOBODY).test_client())


def test_a_problem_says_what_is_wrong_in_the_words_of_rfc_9457(api: Api) -> None:
    answer = api.post("projects", name="", api_key=PROVIDER_KEY)

    assert answer.content_type == "application/problem+json"
    assert answer.json == {
        "type": "about:blank",
        "title": answer.json["title"],
        "status": 422,
        "detail": "Some fields are faulty; see errors.",
        "code": "invalid",
        "errors": {"name": ["Must have 1 to 200 characters."]},
    }
    assert answer.json["title"].startswith("Unprocessable")


def test_every_faulty_field_is_named_at_once(api: Api) -> None:
    assert faulty(api.post("projects", name=1, api_key=2, nonsense=3)) == ["api_key", "name", "nonsense"]
    assert faulty(api.get("projects", limit="x", nonsense=3)) == ["limit", "nonsense"]


def test_problems_without_fields_have_no_errors(api: Api) -> None:
    answer = api.get("projects/unknown")

    assert problem(answer) == (404, "not_found") and "errors" not in answer.json and answer.json["title"] == "Not Found"


@pytest.mark.parametrize(
    "body",
    [b"{", b"not json", b'{"name": "\xff"}', b'{"name": "a" "b"}', b"[" * 60_000, b'{"x": ' + b"9" * 5000 + b"}"],
    ids=["cut", "words", "not UTF-8", "no comma", "too deep", "too many digits"],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "projects"), ("POST", "tokens")])
def test_what_is_not_json_is_a_bad_request(api: Api, method: str, path: str, body: bytes) -> None:
    answer = api.send(method, path, JSON, data=body)

    assert problem(answer) == (400, "bad_request")
    assert answer.json["detail"] == "The body is not valid JSON." and "errors" not in answer.json


@pytest.mark.parametrize("body", ["null", "[]", "1", "false", '"text"', '[{"name": "a"}]'])
def test_json_that_is_no_object_is_invalid(api: Api, body: str) -> None:
    assert problem(api.send("POST", "projects", JSON, data=body)) == (422, "invalid")


def test_an_empty_body_lacks_what_is_required(api: Api) -> None:
    assert faulty(api.send("POST", "projects")) == ["api_key", "name"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_body_of_another_type_is_refused(api: Api, method: str, content_type: str) -> None:
    path = f"projects/{api.project()['id']}" if method == "PATCH" else "projects"

    answer = api.send(method, path, {"content-type": content_type}, data=b'{"name": "a"}')

    assert problem(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/merge-patch+json"])
def test_other_spellings_of_json_are_taken(api: Api, content_type: str) -> None:
    path = f"projects/{api.project()['id']}"

    assert api.send("PATCH", path, {"content-type": content_type}, data=b'{"name": "a"}').json["name"] == "a"


@pytest.mark.parametrize(("length", "status"), [(MAX_BODY_BYTES, 201), (MAX_BODY_BYTES + 1, 413)])
def test_a_body_has_a_largest_size(api: Api, length: int, status: int) -> None:
    body = b'{"name": "a", "api_key": "%s"}' % PROVIDER_KEY.encode()

    answer = api.send("POST", "projects", JSON, data=body.ljust(length))

    assert answer.status_code == status
    assert status == 201 or problem(answer) == (413, "request_too_large")


@pytest.mark.parametrize(("content_type", "status"), [("application/json", 201), ("text/plain", 415)])
def test_a_body_may_come_in_chunks_of_unknown_number(api: Api, content_type: str, status: int) -> None:
    body = b'{"name": "a", "api_key": "%s"}' % PROVIDER_KEY.encode()
    headers = {"content-type": content_type, "transfer-encoding": "chunked"}
    server: dict[str, Any] = {"wsgi.input_terminated": True}

    answer = api.send("POST", "projects", headers, input_stream=io.BytesIO(body), environ_overrides=server)

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "projects", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("DELETE", "tokens", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("POST", "projects/00000000-0000-0000-0000-000000000007", {"GET", "HEAD", "OPTIONS", "PATCH", "PUT", "DELETE"}),
        ("POST", "requests", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(api: Api, method: str, path: str, allowed: set[str]) -> None:
    answer = api.send(method, path)

    assert problem(answer) == (405, "method_not_allowed")
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize("path", ["/projects", "projects/", "projects//", "", "/"])
def test_a_slash_too_many_leads_nowhere(api: Api, path: str) -> None:
    assert problem(api.get(path)) == (404, "not_found")


def test_a_query_of_very_many_fields_is_not_even_read(api: Api) -> None:
    assert problem(api.get("projects", **{f"field{number}": 1 for number in range(51)})) == (400, "bad_request")


def test_what_nobody_foresaw_is_logged_and_told_without_details(broken: Api) -> None:
    with capture_logs() as logged:
        answer = broken.post("projects", name="search team", api_key=PROVIDER_KEY)

    assert problem(answer) == (500, "internal_error") and answer.headers["x-request-id"]
    assert set(answer.json) == {"type", "title", "status", "detail", "code"}
    assert not re.search(r"sqlite|table|projects|Traceback|search team", answer.text)
    [unforeseen] = [entry for entry in logged if entry["event"] == "unforeseen_error"]
    assert "no such table" in str(unforeseen["exc_info"]) and PROVIDER_KEY not in str(logged)


def test_a_database_that_is_away_is_no_fault_of_the_service(serve: Serve) -> None:
    away = Api(serve(DATABASE_URL="postgresql://127.0.0.1:1/away?connect_timeout=1", REDIS_URL=NOBODY).test_client())

    answer = away.get("projects")

    assert problem(answer) == (503, "service_unavailable")
    assert answer.headers["retry-after"] == "1"


def test_a_change_of_which_nobody_knows_whether_it_was_made_says_so() -> None:
    app = Flask(__name__)
    handle(app)

    @app.get("/")
    def lost() -> str:
        raise CommitUnknown("the connection broke")

    assert problem(app.test_client().get("/")) == (503, "commit_unknown")


def test_a_change_that_waits_for_redis_is_logged(api: Api, lonely: Api) -> None:
    path = f"projects/{api.project()['id']}"

    with capture_logs() as logged:
        lonely.patch(path, name="other")
        lonely.project()

    assert [(entry["event"], entry["log_level"]) for entry in logged] == [
        ("publish_pending", "error"),
        ("publish_pending", "warning"),
    ]


# The description


def test_the_description_names_itself(api: Api) -> None:
    described = api.get("openapi.json").json

    assert described["openapi"] == "3.1.0" and described["info"]["title"] == "llm-proxy management API"


def test_the_api_says_how_to_authorize(api: Api) -> None:
    described = api.get("openapi.json").json

    [(name, scheme)] = described["components"]["securitySchemes"].items()
    assert scheme == {"type": "http", "scheme": "bearer"} and described["security"] == [{name: []}]


def test_each_operation_says_what_it_does_and_how_it_errs(api: Api) -> None:
    described = api.get("openapi.json").json
    operations = [
        operation
        for item in described["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]

    always = {"400", "401", "403", "404", "422", "429", "503"}
    assert operations and all(operation["summary"] for operation in operations)
    assert all(always <= set(operation["responses"]) for operation in operations if operation.get("security") != [])
    bodies = [operation["responses"] for operation in operations if "requestBody" in operation]
    assert bodies and all({"413", "415"} <= set(responses) for responses in bodies)
    [content] = described["components"]["responses"]["NOT_FOUND"]["content"]
    assert content == "application/problem+json"
    assert set(described["components"]["schemas"]["Problem"]["properties"]) == {
        "type", "title", "status", "detail", "code", "errors",
    }  # fmt: skip
