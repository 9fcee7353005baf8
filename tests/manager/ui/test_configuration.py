"""Rules of the settings page: every variable as it is in force and where that is from, and never a secret."""

from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask

from manager.ui.configuration import Row, rows
from shared import settings
from shared.settings import Plane
from tests.manager.api.conftest import Api
from tests.manager.conftest import MANAGEMENT_TOKEN, PEPPER, Serve, SettingsOf, one_database
from tests.manager.ui.conftest import Browse, Browser, Seen
from tests.manager.ui.nasty import SCRIPT, is_harmless

SECRETS = {
    "DATABASE_URL": "postgresql://llm:database-password@db/llm",
    "REDIS_URL": "rediss://:redis-password@cache:6380/1",
    "LLM_PROXY_COPY_TO": "postgresql://llm:password-of-the-copy@other/llm",
    "LLM_PROXY_EXPORT_URL": "https://user:export-password@collector.example/x",
    "LLM_PROXY_EXPORT_HEADER": "Authorization: Bearer header-password",
    "LLM_PROXY_OIDC_CLIENT_SECRET": "client-password",
}


def told(seen: Seen) -> dict[str, list[str]]:
    """What is told of each variable: its value and the default if that differs, where it is from and who reads it."""
    return {
        row.select_one("th code").get_text(): [" ".join(cell.get_text(" ").split()) for cell in row.select("td")]  # type: ignore[union-attr]
        for row in seen.all("table.settings tbody tr")
    }


def shown(**found: Any) -> dict[str, Row]:
    return {row.name: row for row in rows(found["settings"])}


@one_database
def test_every_variable_is_shown(browse: Browse) -> None:
    page = browse("auditor").get("/ui/settings")

    found = told(page)
    assert page.status == 200 and is_harmless(page)
    assert list(found) == [variable.name for variable in settings.variables()]
    assert all(variable.help in page.text for variable in settings.variables())
    assert found["MANAGEMENT_TOKEN"] == ["set must be set", "generated read by manager, up"]
    assert found["LLM_PROXY_UI_IDLE"] == ["PT8H", "default read by manager"]
    assert found["LLM_PROXY_OIDC_ISSUER"] == ["empty", "default read by manager"]
    assert found["LLM_PROXY_REDIS_TIMEOUT_MS"] == ["not known here default: 500", "not read here read by proxy"]
    assert found["LLM_PROXY_EXPORT_URL"] == ["not set", "default read by manager"]
    assert "SQLite" in page.text


@one_database
def test_a_value_with_markup_in_it_is_shown_as_it_is(
    serve: Serve, database_url: str, valkey_url: str, redis_client: redis.Redis, api: Api
) -> None:
    roles = f"llm-admins=admin,{SCRIPT}=auditor"
    app = serve(DATABASE_URL=database_url, REDIS_URL=valkey_url, LLM_PROXY_OIDC_ROLES=roles)
    browser = Browser(app.test_client())
    browser.sign_in(api.bearer)

    page = browser.get("/ui/settings")

    assert told(page)["LLM_PROXY_OIDC_ROLES"][0].startswith(roles.replace(",", ", ")) and is_harmless(page)


def test_values_are_shown_as_they_would_be_written(
    settings_of: SettingsOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rate").write_text("9999 per minute\n")
    given = {
        "LLM_PROXY_API_RATE_FILE": str(tmp_path / "rate"),
        "LLM_PROXY_TOKEN_RETENTION": "",
        "LLM_PROXY_BACKUP_ENCRYPT": "no",
        "LLM_PROXY_MAX_TOKEN_LIFETIME": "86400",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    found = {name: (row.value, row.source) for name, row in shown(settings=settings_of(Plane.CONTROL)).items()}

    assert found["LLM_PROXY_API_RATE"] == ("9999 per minute", "file (LLM_PROXY_API_RATE_FILE)")
    assert found["LLM_PROXY_TOKEN_RETENTION"] == ("P90D", "default")
    assert found["LLM_PROXY_BACKUP_ENCRYPT"] == ("false", "environment")
    assert found["LLM_PROXY_MAX_TOKEN_LIFETIME"] == ("P1D", "environment")
    assert found["LLM_PROXY_PUBLIC_URL"] == ("http://127.0.0.1:8080", "default")


def test_of_secrets_only_that_they_are_set_is_shown(settings_of: SettingsOf, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    found = shown(settings=settings_of(Plane.CONTROL))

    secret = [
        variable.name for variable in settings.variables() if variable.is_secret and variable.planes & Plane.CONTROL
    ]
    assert {found[name].value for name in secret} == {"set"} and set(SECRETS) < set(secret)
    assert not [row for row in found.values() if "password" in str(row.value)]


def test_what_was_generated_is_said_to_be(settings_of: SettingsOf) -> None:
    found = shown(settings=settings_of(Plane.CONTROL))

    assert (found["TOKEN_PEPPER"].source, found["TOKEN_PEPPER"].value) == ("generated", "set")


@one_database
def test_no_secret_is_on_the_page(browse: Browse, app: Flask, encryption_key: str) -> None:
    page = browse().get("/ui/settings").answer.text

    assert not [secret for secret in (MANAGEMENT_TOKEN, PEPPER, encryption_key) if secret in page]


@one_database
def test_it_is_for_who_sees_everything(browse: Browse, api: Api) -> None:
    scoped = browse("operator", project_ids=[api.project()["id"]])

    assert scoped.get("/ui/settings").status == 403
    assert not scoped.get("/ui/sessions").all("a[href='/ui/settings']")
    assert browse("auditor").get("/ui/sessions").all("a[href='/ui/settings']")
