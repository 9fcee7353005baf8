"""Rules of the list of tokens: what is shown of each, how they are found, and what nobody may see."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.manager.api.conftest import Api
from tests.manager.conftest import Rows, one_database
from tests.manager.ui.conftest import Browse

pytestmark = one_database


def test_tokens_are_listed_with_their_project_and_state(browse: Browse, api: Api) -> None:
    token = api.token(api.project("search team")["id"], label="nightly", max_requests=1500)

    page = browse("auditor").get("/ui/tokens")

    [row] = page.texts("tbody tr")
    assert row.startswith(f"nightly {token['masked_token']} search team active 0 of 1,500")
    assert page.one("tbody th a")["href"] == f"/ui/tokens/{token['id']}"


def test_whoever_may_only_look_is_offered_nothing_else(browse: Browse, api: Api) -> None:
    api.token(api.project()["id"], label="nightly")

    page = browse("auditor").get("/ui/tokens", state="active")

    assert not page.all("main input[type=checkbox]") and "Revoke all" not in page.text and "New token" not in page.text
    assert browse("operator").get("/ui/tokens").all("main input[name=ids]")


def test_a_list_without_tokens_says_what_to_do_first(browse: Browse) -> None:
    assert browse().get("/ui/tokens").one(".empty a")["href"] == "/ui/tokens/new"
    assert not browse("auditor").get("/ui/tokens").all(".empty a")


def test_tokens_of_other_projects_are_not_shown(browse: Browse, api: Api) -> None:
    mine, other = api.project("mine"), api.project("other")
    api.token(mine["id"], label="visible"), api.token(other["id"], label="hidden")
    browser = browse("operator", project_ids=[mine["id"]])

    assert browser.get("/ui/tokens").texts("tbody th a") == ["visible"]
    assert [each["value"] for each in browser.get("/ui/tokens").all("datalist option")] == ["mine"]
    for said in (other["id"], "other"):
        assert browser.get("/ui/tokens", project_id=said).errors() == {
            "project_id": "There is no project of this name, or none that you may see."
        }


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ({}, ["weekly", "nightly"]),
        ({"sort": "label"}, ["nightly", "weekly"]),
        ({"project_id": "search team"}, ["nightly"]),
        ({"label_contains": "week"}, ["weekly"]),
        ({"state": "inactive"}, ["weekly"]),
        ({"state": "revoked"}, []),
        ({"expires_before": "2100-01-01T00:00"}, ["weekly", "nightly"]),
        ({"expires_after": "2100-01-01T00:00"}, []),
        ({"last_used_before": "2100-01-01T00:00"}, ["weekly", "nightly"]),
        ({"last_used_after": "2020-01-01T00:00:00Z"}, []),
        ({"label_contains": "", "state": "", "project_id": ""}, ["weekly", "nightly"]),
    ],
    ids=str,
)
def test_tokens_are_found(browse: Browse, api: Api, query: dict[str, str], labels: list[str]) -> None:
    api.token(api.project("search team")["id"], label="nightly")
    weekly = api.token(api.project("other team")["id"], label="weekly")
    api.patch(f"tokens/{weekly['id']}", is_active=False)

    page = browse().get("/ui/tokens", **query)

    assert page.status == 200 and page.texts("tbody th a") == labels
    assert bool(page.all(".empty")) == (not labels)


def test_a_project_may_be_asked_for_by_its_id_and_is_shown_by_its_name(browse: Browse, api: Api) -> None:
    project = api.project("فريق البحث 🦊")
    api.token(project["id"], label="nightly")

    page = browse().get("/ui/tokens", project_id=project["id"])

    assert page.texts("tbody th a") == ["nightly"]
    assert page.one("#field-project_id")["value"] == "فريق البحث 🦊"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"project_id": "nobody's"}, "project_id"),
        ({"state": "asleep"}, "state"),
        ({"expires_before": "tomorrow"}, "expires_before"),
        ({"expires_after": "2026-13-01T00:00"}, "expires_after"),
        ({"last_used_before": "0"}, "last_used_before"),
        ({"last_used_after": "-"}, "last_used_after"),
        ({"label_contains": "x" * 300}, "label_contains"),
        ({"label_contains": "a\0b"}, "label_contains"),
        ({"sort": "secret"}, ""),
        ({"cursor": "elsewhere"}, ""),
        ({"limit": "many"}, ""),
        ({"colour": "red"}, ""),
    ],
    ids=str,
)
def test_a_bad_question_is_shown_again_with_its_fault(
    browse: Browse, api: Api, query: dict[str, str], field: str
) -> None:
    api.token(api.project()["id"], label="nightly")

    page = browse().get("/ui/tokens", **query)

    assert list(page.errors()) == [field] and not page.all("tbody tr")
    if field:
        control = page.one(f"#field-{field}")
        assert control["aria-invalid"] == "true"
        assert control.name == "select" or control["value"] == query[field].replace("\0", "\0")


def test_long_lists_go_on_by_pages(browse: Browse, rows: Rows) -> None:
    project = rows.project()
    rows.tokens(project, 120)
    browser = browse()

    first = browser.get("/ui/tokens", sort="label")
    second = browser.open("GET", str(first.one("a[rel=next]")["href"]))
    third = browser.open("GET", str(second.one("a[rel=next]")["href"]))

    seen = [str(row["href"]) for page in (first, second, third) for row in page.all("tbody th a")]
    assert [len(page.all("tbody tr")) for page in (first, second, third)] == [50, 50, 20]
    assert len(set(seen)) == 120 and not third.all("a[rel=next]")
    assert third.texts(".pager a") == ["First page"]


def test_labels_are_shown_as_they_are_and_carry_nothing_out(browse: Browse, api: Api) -> None:
    label = '<script>alert("1")</script> {{ 7 * 7 }} مرحبا 🦊 ' + "long" * 30
    api.token(api.project('<b>"team"</b>')["id"], label=label)

    page = browse().get("/ui/tokens")

    assert page.texts("tbody th a") == [" ".join(label.split())] and "<script>alert" not in page.answer.text


def test_when_a_token_ends_is_said_as_a_moment(browse: Browse, rows: Rows) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    rows.token(rows.project(), expires_at=ends)

    times = browse().get("/ui/tokens").all("tbody time")

    assert times[0]["datetime"] == ends.isoformat().replace("+00:00", "Z") and times[0]["data-time"] == "relative"
