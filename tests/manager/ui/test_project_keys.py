"""Rules of a project's keys on pages: added, changed, rotated, tried and removed, and never shown."""

from typing import Any

import pytest
import requests
from requests_mock import Mocker

from manager.tables import AuditEvent, UpstreamKey
from shared.sealing import Keyring
from tests.manager.api.conftest import PROVIDER_KEY, Api
from tests.manager.conftest import Rows, one_database
from tests.manager.ui.conftest import Browse

pytestmark = one_database
KEY = "sk-proj-a-canary-that-nobody-may-see-77"
BAD_KEYS = ["", "short", "x" * 4097, "with a space in it", "sk-proj-****-masked", "sk-llmp-0123456789abcdef", "ü" * 20]


@pytest.fixture
def project(api: Api) -> dict[str, Any]:
    return api.project()


def at(project: dict[str, Any], rest: str = "", key: int = 0) -> str:
    """The path of a page of one of its keys."""
    return f"/ui/projects/{project['id']}/keys/{project['keys'][key]['id']}/{rest}"


def keys_of(api: Api, project: dict[str, Any]) -> list[dict[str, Any]]:
    return list(api.get(f"projects/{project['id']}").json["keys"])


def opened(rows: Rows, keyring: Keyring) -> list[str]:
    """What the keys open."""
    return [keyring.open(row.sealed, f"upstream_keys:{row.id}") for row in rows.all(UpstreamKey)]


def test_a_key_is_added_once(browse: Browse, api: Api, project: dict[str, Any], rows: Rows, keyring: Keyring) -> None:
    browser = browse("operator")
    form = browser.get(f"/ui/projects/{project['id']}/keys/new")

    answers = [browser.submit(form, api_key=KEY, label="second account", weight="3") for _ in range(2)]

    assert {answer.goes_to for answer in answers} == {f"/ui/projects/{project['id']}#keys"}
    assert opened(rows, keyring) == [PROVIDER_KEY, KEY]
    assert [(key["label"], key["weight"]) for key in keys_of(api, project)] == [("", 1), ("second account", 3)]
    page = browser.get(f"/ui/projects/{project['id']}")
    assert KEY not in page.answer.text + str([event.detail for event in rows.all(AuditEvent)])


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        *[({"api_key": key}, "api_key") for key in BAD_KEYS],
        ({"label": "x" * 201}, "label"),
        ({"label": "a\x01b"}, "label"),
        ({"weight": "0"}, "weight"),
        ({"weight": "1001"}, "weight"),
        ({"weight": "1.5"}, "weight"),
        ({"weight": "much"}, "weight"),
        ({"weight": ""}, "weight"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_key_is_said_at_its_field(
    browse: Browse, api: Api, project: dict[str, Any], bad: dict[str, str], field: str
) -> None:
    sent = {"api_key": KEY, "label": "second account", "weight": "3"} | bad

    page = browse("operator").submit(f"/ui/projects/{project['id']}/keys/new", **sent)

    assert list(page.errors()) == [field] and KEY not in page.answer.text
    assert page.one("#field-label")["value"] == sent["label"] and page.one("#field-weight")["value"] == sent["weight"]
    assert page.one("#field-api_key")["value"] == "" and len(keys_of(api, project)) == 1


def test_a_project_has_so_many_keys_and_no_more(browse: Browse, api: Api, project: dict[str, Any]) -> None:
    for number in range(49):
        api.post(f"projects/{project['id']}/keys", api_key=f"{PROVIDER_KEY}-{number}")

    page = browse("operator").submit(f"/ui/projects/{project['id']}/keys/new", api_key=KEY)

    assert page.errors() == {"": "A project has at most 50 keys."}


def test_label_weight_and_state_are_changed(browse: Browse, api: Api, project: dict[str, Any], rows: Rows) -> None:
    api.post(f"projects/{project['id']}/keys", api_key=KEY)
    browser = browse("operator")

    browser.submit(at(project, "edit"), label="first account", weight="2", is_active=None)

    assert [keys_of(api, project)[0][name] for name in ("label", "weight", "is_active")] == ["first account", 2, False]
    [event] = [event for event in rows.all(AuditEvent) if event.action == "key.update"]
    assert sorted(event.detail["after"]) == ["is_active", "label", "weight"]
    same = browser.submit(at(project, "edit"))
    assert "There was nothing to change." in browser.follow(same).text


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"label": "x" * 201}, "label"),
        ({"label": "a\x01b"}, "label"),
        ({"weight": "0"}, "weight"),
        ({"weight": "1001"}, "weight"),
        ({"weight": ""}, "weight"),
        ({"weight": "1e2x"}, "weight"),
        ({"is_active": None}, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_change_is_said_at_its_field(
    browse: Browse, api: Api, project: dict[str, Any], bad: dict[str, Any], field: str
) -> None:
    page = browse("operator").submit(at(project, "edit"), **({"label": "kept", "weight": "5"} | bad))

    assert list(page.errors()) == [field]
    assert page.one("#field-label")["value"] == bad.get("label", "kept")
    assert keys_of(api, project) == project["keys"]
    if not field:
        assert "last active key of an active project; add another" in page.text
        assert not page.one("#field-is_active").has_attr("checked")


def test_a_key_that_was_changed_meanwhile_is_shown_beside(browse: Browse, api: Api, project: dict[str, Any]) -> None:
    browser = browse("operator")
    form = browser.get(at(project, "edit"))
    api.patch(f"projects/{project['id']}/keys/{project['keys'][0]['id']}", label="theirs")

    page = browser.submit(form, label="mine", weight="7")

    assert page.status == 412 and page.texts(".form-present") == ["Now it is theirs", "Now it is 1"]
    assert browser.submit(page).status == 303
    assert (keys_of(api, project)[0]["label"], keys_of(api, project)[0]["weight"]) == ("mine", 7)


def test_a_key_is_rotated(browse: Browse, api: Api, project: dict[str, Any], rows: Rows, keyring: Keyring) -> None:
    browser = browse("operator")

    answer = browser.submit(at(project, "rotate"), api_key=KEY)

    assert opened(rows, keyring) == [KEY] and keys_of(api, project)[0]["id"] == project["keys"][0]["id"]
    page = browser.follow(answer)
    assert "The key was rotated" in page.text and KEY not in page.answer.text
    assert "key.rotate" in {event.action for event in rows.all(AuditEvent)}


@pytest.mark.parametrize("bad", BAD_KEYS, ids=lambda key: key[:12] or "empty")
def test_a_bad_rotation_is_said_at_its_field(browse: Browse, project: dict[str, Any], bad: str) -> None:
    page = browse("operator").submit(at(project, "rotate"), api_key=bad)

    assert list(page.errors()) == ["api_key"] and page.one("#field-api_key")["value"] == ""


def test_what_somebody_else_has_rotated_is_not_rotated_unseen(
    browse: Browse, api: Api, project: dict[str, Any], rows: Rows, keyring: Keyring
) -> None:
    browser = browse("operator")
    form = browser.get(at(project, "rotate"))
    api.post(f"projects/{project['id']}/keys/{project['keys'][0]['id']}/rotate", api_key=f"{PROVIDER_KEY}-theirs")

    page = browser.submit(form, api_key=KEY)

    assert page.status == 412 and "has been changed since" in page.text and KEY not in page.answer.text
    assert opened(rows, keyring) == [f"{PROVIDER_KEY}-theirs"]


@pytest.mark.parametrize(
    ("answer", "state", "meaning"),
    [
        (200, "ok", "takes this key"),
        (401, "refused", "does not take this key"),
        (429, "limited", "asks for fewer requests"),
        (500, "unclear", "says nothing of the key"),
    ],
)
def test_a_key_is_tried(
    browse: Browse, project: dict[str, Any], requests_mock: Mocker, answer: int, state: str, meaning: str
) -> None:
    requests_mock.get("https://api.openai.com/v1/models", status_code=answer, text=PROVIDER_KEY)

    page = browse("operator").post(at(project, "test"))

    assert page.status == 200 and page.texts(".tested-state") == [state]
    assert meaning in page.text and "milliseconds" in page.text and PROVIDER_KEY not in page.answer.text


def test_who_cannot_be_reached_says_nothing_of_the_key(
    browse: Browse, project: dict[str, Any], requests_mock: Mocker
) -> None:
    requests_mock.get("https://api.openai.com/v1/models", exc=requests.ConnectTimeout)

    page = browse("operator").post(at(project, "test"))

    assert page.texts(".tested-state") == ["unreachable"] and "milliseconds" not in page.text


def test_a_key_is_deleted_after_a_question(browse: Browse, api: Api, project: dict[str, Any]) -> None:
    api.post(f"projects/{project['id']}/keys", api_key=KEY)
    browser = browse("operator")
    page = browser.get(at(project, "delete"))
    assert "Requests go out with the other active keys" in page.text and len(keys_of(api, project)) == 2

    answer = browser.submit(page)

    assert "The key was deleted." in browser.follow(answer).text and len(keys_of(api, project)) == 1


def test_the_last_active_key_cannot_go(browse: Browse, api: Api, project: dict[str, Any]) -> None:
    browser = browse("operator")

    page = browser.get(at(project, "delete"))
    assert "last active key of an active project; add another" in page.text and not page.all("main form")
    form = {"state": str(browser.get(at(project, "edit")).one("[name=state]")["value"])}
    answer = browser.post(at(project, "delete"), **form)

    assert answer.status == 409 and "last active key" in answer.text and len(keys_of(api, project)) == 1


def test_a_key_that_was_changed_meanwhile_is_not_deleted_unseen(
    browse: Browse, api: Api, project: dict[str, Any]
) -> None:
    api.post(f"projects/{project['id']}/keys", api_key=KEY)
    browser = browse("operator")
    form = browser.get(at(project, "delete"))
    api.patch(f"projects/{project['id']}/keys/{project['keys'][0]['id']}", label="still needed")

    page = browser.submit(form)

    assert page.status == 412 and "still needed" in page.text and len(keys_of(api, project)) == 2


@pytest.mark.parametrize("what", ["edit", "rotate", "test", "delete"])
def test_who_may_not_is_denied(browse: Browse, api: Api, project: dict[str, Any], what: str) -> None:
    auditor = browse("auditor")
    other = api.project("other team")
    scoped = browse("operator", project_ids=[other["id"]])

    assert auditor.post(at(project, what), api_key=KEY).status == 403
    assert scoped.post(at(project, what), api_key=KEY).status == 404
    mixed = at(project, what).replace(project["id"], other["id"])
    assert scoped.post(mixed, api_key=KEY).status == 404
    assert keys_of(api, project) == project["keys"]
