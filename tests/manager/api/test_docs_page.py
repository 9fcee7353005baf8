"""Rules of the page that shows the API: from here alone, for everybody, and nothing inline that could be injected."""

import re

import pytest
from flask.testing import FlaskClient

from tests.manager.api.conftest import problem
from tests.manager.conftest import one_database

pytestmark = [one_database, pytest.mark.usefixtures("database_url")]


def test_the_description_and_its_page_need_no_token(client: FlaskClient) -> None:
    assert client.get("/manage/openapi.json").json["openapi"] == "3.1.0"
    assert client.get("/manage/v1/openapi.json").status_code == 200
    assert client.get("/manage/docs").content_type == "text/html; charset=utf-8"


def test_all_that_the_page_loads_is_here(client: FlaskClient) -> None:
    page = client.get("/manage/docs").text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)

    assert len(loaded) == 4 and not [link for link in loaded if "://" in link or link.startswith("//")]
    for link in loaded:
        answer = client.get(f"/manage/{link}")
        assert answer.status_code == 200 and answer.data, link
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_inline_is_carried_out(client: FlaskClient) -> None:
    answer = client.get("/manage/docs")

    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["script-src"] == "'self'" and policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert not re.search(r"<script>|<script [^>]*>[^<]|onload=", answer.text)


@pytest.mark.parametrize("name", ["nothing.js", "swagger-ui.js", "LICENSE"])
def test_nothing_else_is_served(client: FlaskClient, name: str) -> None:
    assert problem(client.get(f"/manage/docs/{name}")) == (404, "not_found")


@pytest.mark.parametrize("path", ["/manage/docs/", "/manage/docsx", "/manage/openapi.json/", "/manage/projects"])
def test_what_is_beside_the_page_is_not_open(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code in (401, 404) and client.get(path).json
