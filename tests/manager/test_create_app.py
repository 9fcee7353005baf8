"""Rules of making the app: all routes and nothing else, each app with parts of its own, and nothing opened early."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from manager import create_app
from shared import settings
from shared.sealing import generate_key
from shared.settings import Plane

TOKENS = {"ours": "management-0123456789-abcdefghijkl", "theirs": "management-9876543210-abcdefghijkl"}

type Make = Callable[[str], Flask]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Makes an app with a management token; its stores do not exist."""
    for variable in settings.variables():
        monkeypatch.delenv(variable.name, raising=False)
        monkeypatch.delenv(f"{variable.name}_FILE", raising=False)
    required = {"ENCRYPTION_KEYS": f"k1:{generate_key()}", "TOKEN_PEPPER": "pepper-9876543210-zyxwvutsrqponmlkj"}
    stores = {"DATABASE_URL": f"sqlite:///{tmp_path}/none/at.all", "REDIS_URL": f"unix://{tmp_path}/none"}
    return lambda token: create_app(settings.load(Plane.CONTROL, required | stores | {"MANAGEMENT_TOKEN": token}))


def test_an_app_serves_the_api_the_ui_and_its_health_and_no_files(make: Make) -> None:
    app = make(TOKENS["ours"])
    rules = {rule.rule for rule in app.url_map.iter_rules()}

    # What is below /manage is held against its reference in test_docs.py.
    assert {rule for rule in rules if not rule.startswith(("/manage/", "/ui/"))} == {
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    assert "static" not in app.view_functions


def test_making_an_app_opens_no_connection(make: Make, tmp_path: Path) -> None:
    app = make(TOKENS["ours"])

    assert app.test_client().get("/healthz").status_code == 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("asked", "status"), [("ours", 404), ("theirs", 401)])
def test_apps_do_not_share_what_they_are_told(make: Make, asked: str, status: int) -> None:
    first, _ = make(TOKENS["ours"]), make(TOKENS["theirs"])

    answer = first.test_client().get("/manage/nothing", headers={"authorization": f"Bearer {TOKENS[asked]}"})

    assert answer.status_code == status


def test_the_package_loads_no_framework_before_an_app_is_made() -> None:
    code = "import sys, manager; print([name for name in ('flask', 'sqlalchemy', 'redis') if name in sys.modules])"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)

    assert shown.stdout.strip() == "[]", shown.stderr
