"""Rules of the settings page: every variable with its value and where it is from, and no secret at all."""

from pathlib import Path

import pytest

from shared import settings
from tests.manager.api.conftest import Api
from tests.manager.conftest import MANAGEMENT_TOKEN, PEPPER, one_database
from tests.manager.ui.conftest import Browse

pytestmark = one_database


def test_every_variable_is_there(browse: Browse) -> None:
    page = browse("auditor").get("/ui/settings")

    assert page.texts("tbody th code") == [variable.name for variable in settings.variables()]


def test_values_are_told_with_where_they_are_from(
    browse: Browse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "issuer").write_text("https://issuer.example")
    monkeypatch.setenv("LLM_PROXY_MANAGER_THREADS", "12")
    monkeypatch.setenv("LLM_PROXY_OIDC_ISSUER_FILE", str(tmp_path / "issuer"))

    page = browse("auditor").get("/ui/settings")

    rows = {row.split()[0]: row for row in page.texts("tbody tr")}
    assert "12 environment default 8" in rows["LLM_PROXY_MANAGER_THREADS"]
    assert f"what {tmp_path / 'issuer'} holds file" in rows["LLM_PROXY_OIDC_ISSUER"]
    assert "P365D default" in rows["LLM_PROXY_MAX_TOKEN_LIFETIME"]
    assert "not read here other processes" in rows["LLM_PROXY_WORKERS"]


def test_secrets_are_told_to_be_set_and_no_more(browse: Browse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGEMENT_TOKEN", MANAGEMENT_TOKEN)
    monkeypatch.setenv("TOKEN_PEPPER", PEPPER)
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:word-of-passage@localhost/x")
    monkeypatch.delenv("REDIS_URL", raising=False)

    page = browse().get("/ui/settings")

    rows = {row.split()[0]: row for row in page.texts("tbody tr")}
    assert "set, hidden environment" in rows["DATABASE_URL"] and "not set default" in rows["REDIS_URL"]
    assert not any(secret in page.answer.text for secret in (MANAGEMENT_TOKEN, PEPPER, "word-of-passage"))


def test_who_sees_some_projects_only_is_denied(browse: Browse, api: Api) -> None:
    project = api.project("mine")

    assert browse("operator", project_ids=[project["id"]]).get("/ui/settings").status == 403
