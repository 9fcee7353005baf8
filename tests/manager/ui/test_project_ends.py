"""Rules of switching off, deleting, purging and revoking: told what will break, typed where it is for good."""

from typing import Any

import pytest

from manager import db
from manager.tables import AuditEvent
from tests.manager.api.conftest import Api, Published
from tests.manager.conftest import NOBODY, Rows, Serve, one_database
from tests.manager.ui.conftest import Browse, Browser
from tests.manager.ui.test_projects import used

pytestmark = one_database
TYPED = ["delete", "revoke-tokens"]


def path(project: dict[str, Any], end: str) -> str:
    return f"/ui/projects/{project['id']}/{end}"


def shown(api: Api, project: dict[str, Any]) -> dict[str, Any]:
    """A project as it is now."""
    return dict(api.get(f"projects/{project['id']}").json)


@pytest.fixture
def project(api: Api, sessions: db.Sessions) -> dict[str, Any]:
    """A project that is used: two tokens of three work."""
    made = api.project(limits=[{"measure": "cost", "window": "month", "amount": "500.00"}])
    tokens = [api.token(made["id"]) for _ in range(3)]
    api.delete(f"tokens/{tokens[0]['id']}")
    for _ in range(4):
        used(sessions, made["id"], tokens[1]["id"])
    return made


@pytest.mark.parametrize("end", [*TYPED, "deactivate"])
def test_what_will_break_is_told(browse: Browse, project: dict[str, Any], end: str) -> None:
    page = browse("operator").get(path(project, end))

    assert "2 tokens of it work now" in page.text and "4 requests came in the last 24 hours" in page.text
    assert ("$500.00 per month" in page.text) == (end == "delete")


@pytest.mark.parametrize("end", TYPED)
@pytest.mark.parametrize("typed", ["", "another name", "SEARCH TEAM", None])
def test_nothing_happens_before_the_name_is_typed(
    browse: Browse, api: Api, project: dict[str, Any], end: str, typed: str | None
) -> None:
    page = browse("operator").submit(path(project, end), typed=typed)

    assert page.errors() == {"typed": "That is another name."}
    assert shown(api, project)["deleted_at"] is None
    assert len(api.get("tokens", state="active").json["items"]) == 2


def test_a_project_is_deleted_by_its_name(
    browse: Browse, api: Api, project: dict[str, Any], published: Published
) -> None:
    browser = browse("operator")

    answer = browser.submit(path(project, "delete"), typed=" search team ")

    assert "The project was deleted." in browser.follow(answer).text
    assert shown(api, project)["deleted_at"] and api.get("tokens", state="active").json["items"] == []
    found = published.project(project["id"])
    assert found is not None and not found.is_active


def test_all_tokens_are_revoked_and_the_project_stays(browse: Browse, api: Api, project: dict[str, Any]) -> None:
    browser = browse("operator")

    answer = browser.submit(path(project, "revoke-tokens"), typed="search team")

    assert "All tokens of the project are revoked." in browser.follow(answer).text
    assert shown(api, project)["is_active"] and api.get("tokens", state="active").json["items"] == []


def test_a_project_is_switched_off_and_on(browse: Browse, api: Api, project: dict[str, Any]) -> None:
    browser = browse("operator")

    off = browser.submit(path(project, "deactivate"))
    assert "The project is not active any more." in browser.follow(off).text
    assert not shown(api, project)["is_active"]

    on = browser.submit(f"/ui/projects/{project['id']}", form="main .page-actions form")
    assert "The project is active." in browser.follow(on).text
    assert shown(api, project)["is_active"]


def test_without_an_active_key_it_is_not_switched_on(browse: Browse, api: Api) -> None:
    project = api.project()
    api.post(f"projects/{project['id']}/deactivate")
    api.delete(f"projects/{project['id']}/keys/{project['keys'][0]['id']}")
    browser = browse("operator")

    answer = browser.submit(f"/ui/projects/{project['id']}", form="main .page-actions form")

    assert "no active key; add one first" in browser.follow(answer).text
    assert not shown(api, project)["is_active"]


def test_what_was_changed_since_it_was_looked_at_is_shown_first(
    browse: Browse, api: Api, project: dict[str, Any]
) -> None:
    browser = browse("operator")
    for end, typed in (("delete", "renamed"), ("deactivate", "")):
        form = browser.get(path(project, end))
        api.patch(
            f"projects/{project['id']}", name="another" if shown(api, project)["name"] == "renamed" else "renamed"
        )
        name = shown(api, project)["name"]

        page = browser.submit(form, typed=name)

        assert page.status == 412 and "has been changed since" in page.text and name in page.text, typed
        assert shown(api, project)["is_active"]
    assert browser.submit(page).status == 303
    assert not shown(api, project)["is_active"]


def test_a_deleted_project_is_purged_by_an_admin(
    browse: Browse, api: Api, project: dict[str, Any], rows: Rows, published: Published
) -> None:
    admin = browse("admin")
    assert admin.get(path(project, "purge")).status == 409
    api.delete(f"projects/{project['id']}")

    assert admin.submit(path(project, "purge"), typed="wrong").errors() == {"typed": "That is another name."}
    answer = admin.submit(path(project, "purge"), typed="search team")

    assert answer.goes_to == "/ui/projects" and "Nothing is left of search team." in admin.follow(answer).text
    assert api.get(f"projects/{project['id']}").status_code == 404 and published.project(project["id"]) is None
    assert "project.purge" in {event.action for event in rows.all(AuditEvent)}


@pytest.mark.parametrize("end", ["activate", "deactivate", "delete", "revoke-tokens", "purge"])
def test_who_may_not_is_denied(browse: Browse, api: Api, project: dict[str, Any], end: str) -> None:
    auditor = browse("auditor")

    assert auditor.post(path(project, end), typed="search team").status == 403
    assert auditor.get(path(project, end)).status in (403, 405)
    if end == "purge":
        assert browse("operator").post(path(project, end), typed="search team").status == 403
    assert shown(api, project)["is_active"]


def test_a_look_changes_nothing(browse: Browse, api: Api, project: dict[str, Any]) -> None:
    admin = browse("admin")
    for end in ("deactivate", "delete", "revoke-tokens"):
        assert admin.get(path(project, end)).status == 200
    assert admin.get(path(project, "activate")).status == 405

    assert shown(api, project)["is_active"] and len(api.get("tokens", state="active").json["items"]) == 2


def test_what_is_stored_while_redis_is_away_is_told(
    serve: Serve, database_url: str, api: Api, project: dict[str, Any]
) -> None:
    lonely = Browser(serve(DATABASE_URL=database_url, REDIS_URL=NOBODY).test_client())
    lonely.sign_in(api.operator("admin").bearer)

    for end in ("revoke-tokens", "deactivate", "delete", "purge"):
        page = lonely.follow(lonely.submit(path(project, end), typed="search team"))
        [message] = page.texts(".messages .alert-warning")
        assert message.endswith("It will reach the proxy as soon as Redis is back."), end
    assert api.get(f"projects/{project['id']}").status_code == 404
