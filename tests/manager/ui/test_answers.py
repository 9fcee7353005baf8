"""Rules of all answers: what a browser may load, that errors are pages, and that who is denied something is told."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from manager import create_app
from manager.errors import Conflict, Forbidden, Invalid, NotFound
from manager.principals import Role
from manager.publisher import PublishError
from manager.ui.answers import POLICY
from manager.ui.blueprint import needs
from tests.manager.api.conftest import Api, problem
from tests.manager.conftest import MANAGEMENT_TOKEN, PEPPER, configure, one_database
from tests.manager.ui.conftest import Browse, Browser

pytestmark = [one_database, pytest.mark.usefixtures("database_url")]
PAGES = ["/ui/sign-in", "/ui/sessions", "/ui/nothing", "/ui/sign-out", "/ui/", "/ui"]
HEADERS = ("content-security-policy", "cache-control", "referrer-policy")
FAULTS = {
    "unforeseen": (RuntimeError("the secret reason"), 500),
    "not-found": (NotFound("There is no such project."), 404),
    "conflict": (Conflict("There is one already."), 409),
    "invalid": (Invalid("cursor", "The cursor is not one."), 422),
    "forbidden": (Forbidden("This needs the role admin."), 403),
    "pending": (PublishError("away"), 503),
    "database": (OperationalError("select", {}, ConnectionError("secret.host"), connection_invalidated=True), 500),
}


@pytest.fixture
def faulty(database_url: str, valkey_url: str, encryption_key: str) -> Iterator[Flask]:
    """A service with views of all sorts of faults, and views that declare nothing."""
    secrets = {"MANAGEMENT_TOKEN": MANAGEMENT_TOKEN, "ENCRYPTION_KEYS": f"k1:{encryption_key}", "TOKEN_PEPPER": PEPPER}
    app = create_app(configure(secrets | {"DATABASE_URL": database_url, "REDIS_URL": valkey_url}))
    app.add_url_rule("/ui/forgotten", view_func=lambda: "secret", methods=["GET", "POST"])

    def fail(kind: str) -> str:
        raise FAULTS[kind][0]

    app.add_url_rule("/ui/fail/<kind>", view_func=needs(Role.AUDITOR)(fail))
    yield app
    app.extensions["llm_proxy"].close()


def signed_in(app: Flask, client: FlaskClient | None = None) -> Browser:
    browser = Browser(client or app.test_client())
    assert browser.sign_in(MANAGEMENT_TOKEN).status == 303
    return browser


def headers_of(answer: TestResponse) -> tuple[str, ...]:
    return tuple(
        answer.headers.get(name, "") for name in ("content-security-policy", "cache-control", "referrer-policy")
    )


@pytest.mark.parametrize("role", [None, "auditor"])
@pytest.mark.parametrize("path", PAGES)
def test_every_answer_says_what_may_be_loaded_and_is_not_kept(browse: Browse, role: str | None, path: str) -> None:
    answer = browse(role).get(path).answer

    assert headers_of(answer) == (POLICY, "no-store", "same-origin")
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-request-id"]


def test_the_policy_lets_nothing_through_but_our_own() -> None:
    policy = dict(part.strip().split(" ", 1) for part in POLICY.split(";"))

    assert policy.pop("img-src") == "'self' data:"
    assert {policy.pop(name) for name in ("default-src", "base-uri", "frame-ancestors")} == {"'none'"}
    assert set(policy.values()) == {"'self'"}


@pytest.mark.parametrize("role", [None, "management"])
@pytest.mark.parametrize("path", ["/ui/sign-in", "/ui/sessions", "/ui/nothing"])
def test_no_page_needs_what_the_policy_forbids(browse: Browse, role: str | None, path: str) -> None:
    page = browse(role).get(path)

    assert not page.all("[style], style, script:not([src])")
    assert not re.search(r"<[^>]+ on[a-z]+=|javascript:", page.answer.text)
    assert not re.search(r"(?:src|href|action)=\"(?:[a-z]+:)?//", page.answer.text)


# Errors


@pytest.mark.parametrize(
    ("path", "status"), [("/ui/nothing", 404), ("/ui/sign-out", 405), ("/ui/assets/x/none.js", 404)]
)
def test_what_is_not_there_is_a_page_with_the_request_id(browse: Browse, path: str, status: int) -> None:
    page = browse("auditor").open("GET", path, headers={"x-request-id": "ticket-42"})

    assert (page.status, page.answer.content_type) == (status, "text/html; charset=utf-8")
    assert page.texts(".fault-status") == [str(status)] and page.texts(".fault-id") == ["Request ticket-42"]
    assert page.texts(".whoami-role") == (["auditor"] if "assets" not in path else [])


def test_the_api_stays_as_it_is(browse: Browse, api: Api) -> None:
    assert problem(api.get("nothing")) == (404, "not_found")
    assert problem(browse("auditor").client.get("/manage/projects")) == (401, "unauthorized")
    assert problem(browse("auditor").client.get("/nothing")) == (404, "not_found")


@pytest.mark.usefixtures("redis_client")
@pytest.mark.parametrize("kind", FAULTS)
def test_whatever_goes_wrong_is_a_page(faulty: Flask, kind: str) -> None:
    error, status = FAULTS[kind]

    page = signed_in(faulty).get(f"/ui/fail/{kind}")

    assert page.status == status and page.texts(".fault-status") == [str(status)]
    assert page.answer.content_type == "text/html; charset=utf-8" and headers_of(page.answer)[0] == POLICY
    assert "secret" not in page.text and (status >= 500 or str(error) in page.text)
    assert (page.answer.headers.get("retry-after") == "1") is (status == 503)


@pytest.mark.usefixtures("redis_client")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_what_declares_no_role_is_nobodys(faulty: Flask, method: str) -> None:
    browser = signed_in(faulty)

    answer = browser.open(method, "/ui/forgotten", data={"csrf_token": browser.csrf()} if method == "POST" else None)

    assert answer.status == 403 and "secret" not in answer.answer.text
    assert Browser(faulty.test_client()).get("/ui/forgotten").status == 303


def test_a_body_that_is_too_large_is_a_page(browse: Browse) -> None:
    browser = browse("auditor")

    page = browser.post("/ui/sign-out", more="x" * 300_000)

    assert page.status == 413 and page.texts(".fault-status") == ["413"]


def test_without_a_database_there_is_a_page_all_the_same(serve: object, browse: Browse, tmp_path: object) -> None:
    app = serve(DATABASE_URL=f"sqlite:///{tmp_path}/none/at.all")  # type: ignore[operator]
    browser = Browser(app.test_client())
    browser.client.set_cookie("llm_proxy_session", "something", path="/ui")

    page = browser.get("/ui/sessions")

    assert page.status >= 500 and page.texts(".fault-status") == [str(page.status)]


# Denials


@pytest.mark.usefixtures("redis_client")
def test_who_is_denied_a_page_is_told_in_the_audit(faulty: Flask) -> None:
    api = Api(faulty.test_client())
    browser = Browser(faulty.test_client())
    browser.sign_in(api.operator("auditor", name="ann").bearer)

    page = browser.open("GET", "/ui/fail/forbidden", headers={"x-request-id": "ticket-42"})

    assert page.status == 403 and "This needs the role admin." in page.text
    [event] = api.get("audit", action="access").json["items"]
    assert (event["actor"], event["outcome"], event["request_id"]) == ("ann", "denied", "ticket-42")
    assert event["detail"]["path"] == "/ui/fail/forbidden" and event["detail"]["reason"] == "This needs the role admin."


def test_what_is_merely_not_there_is_no_denial(browse: Browse, api: Api) -> None:
    browse("auditor").get("/ui/nothing")

    assert api.get("audit", action="access").json["items"] == []
