"""Rules of versions: /manage/v1 is /manage, behind the same guard."""

import pytest
from flask.testing import FlaskClient

from tests.manager.api.conftest import Api, problem
from tests.manager.conftest import one_database

pytestmark = [one_database, pytest.mark.usefixtures("database_url")]


def test_both_paths_lead_to_the_same(api: Api) -> None:
    made = api.project()

    assert api.get(f"v1/projects/{made['id']}").json == api.get(f"projects/{made['id']}").json
    assert api.get("v1/openapi.json").json == api.get("openapi.json").json


@pytest.mark.parametrize("path", ["/manage/v1", "/manage/v1/", "/manage/v1/projects", "/manage/v1/v1/projects"])
def test_nobody_comes_in_by_a_version(client: FlaskClient, path: str) -> None:
    assert problem(client.get(path)) == (401, "unauthorized")


@pytest.mark.parametrize("path", ["v1", "v1/", "v2/projects", "v1projects", "v1/v1/projects", "v1//projects"])
def test_another_version_is_not_there(api: Api, path: str) -> None:
    assert problem(api.get(path)) == (404, "not_found")
