"""Rules of the addresses that pages show: they are those of the settings, the same on all pages."""

import pytest
import redis
from flask import Flask

from tests.manager.conftest import Serve, one_database
from tests.manager.ui.conftest import Browse
from tests.manager.ui.test_token_new import signed_in

pytestmark = one_database
PROXY, MANAGER = "https://llm.example.org", "https://manager.example.org"


@pytest.fixture
def told(serve: Serve, database_url: str, valkey_url: str, redis_client: redis.Redis) -> Flask:
    """The manager where both addresses have been set."""
    own = {"LLM_PROXY_PUBLIC_URL": f"{PROXY}/", "LLM_PROXY_MANAGER_URL": MANAGER}
    return serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, **own)


@pytest.mark.parametrize(("path", "place"), [("/ui/dashboard", ".first-steps code"), ("/ui/help", "main ol code")])
def test_applications_are_told_the_same_base_url_everywhere(told: Flask, path: str, place: str) -> None:
    page = signed_in(told).get(path)

    assert page.texts(place) == [PROXY, "/v1"]


def test_a_new_operator_is_told_where_the_manager_is(told: Flask) -> None:
    page = signed_in(told).submit("/ui/operators/new", name="bob")

    assert f"{MANAGER}/ui/sign-in" in page.texts("code") and f"'{MANAGER}/manage/me'" in page.one("pre").get_text()
    assert "localhost" not in page.one("main").get_text()


def test_without_a_setting_it_is_where_the_page_came_from(browse: Browse) -> None:
    page = browse().submit("/ui/operators/new", name="bob")

    assert "http://localhost/ui/sign-in" in page.texts("code")
    assert "'http://localhost/manage/me'" in page.one("pre").get_text()
