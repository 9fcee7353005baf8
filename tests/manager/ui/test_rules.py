"""Rules of the pages about rules: listed in order, tried before they are in force, faults stand at their fields."""

from typing import Any

import pytest
import redis

from manager.tables import Rule
from shared.flow_schema import Message
from tests.flow_records import JSON, ended, request_id, tell
from tests.manager.api.conftest import Api, created
from tests.manager.conftest import Rows, one_database
from tests.manager.ui.conftest import Browse

pytestmark = one_database
DENY = {"name": "no salaries", "filter": "~bq salary", "action": "deny"}


def made(api: Api, **fields: Any) -> dict[str, Any]:
    return created(api.post("rules", **{**DENY, **fields}))


def names(rows: Rows) -> list[str]:
    return [rule.name for rule in sorted(rows.all(Rule), key=lambda rule: (rule.place, rule.id))]


def test_rules_are_listed_in_order(browse: Browse, api: Api) -> None:
    project = api.project("search")
    made(api)
    made(api, name="look", action="hold", project_id=project["id"], hold_seconds=30)

    rows = browse("auditor").get("/ui/rules").texts("tbody tr")

    assert rows[0].startswith("no salaries ~bq salary Deny it all active") and "Hold it for 30 s search" in rows[1]
    assert "version 1" in rows[0]
    assert browse("auditor").get("/ui/rules").all("tbody a.btn") == []


def test_what_a_rule_was_is_a_click_away(browse: Browse, api: Api) -> None:
    rule = made(api)
    api.patch(f"rules/{rule['id']}", filter="~bq wages")

    link = browse("auditor").get("/ui/rules").one("tbody .beneath a")
    shown = browse("auditor").get(str(link["href"])).text

    assert link.get_text() == "version 2" and "rule.update" in shown and "rule.create" in shown


def test_without_rules_the_page_says_what_to_do(browse: Browse) -> None:
    assert "No rules yet" in browse().get("/ui/rules").text


def test_a_rule_is_made(browse: Browse, api: Api, rows: Rows) -> None:
    api.project("search")

    after = browse().submit("/ui/rules/new", name="look", filter="~m POST", action="hold", project_id="search")

    [rule] = rows.all(Rule)
    assert after.goes_to == "/ui/rules" and (rule.name, rule.action, rule.hold_seconds) == ("look", "hold", 60)
    assert rule.project_id is not None


FAULTY = {
    "syntax": ({"filter": "~bq ("}, "filter", "At character 5"),
    "project": ({"project_id": "nobody's"}, "project_id", "no project of this name"),
    "tag": ({"action": "tag"}, "tag", "needs a tag"),
    "hold": ({"hold_seconds": "9999"}, "hold_seconds", ""),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_fault_stands_at_its_field(browse: Browse, rows: Rows, case: str) -> None:
    fields, name, reason = FAULTY[case]

    page = browse().submit("/ui/rules/new", **{**DENY, **fields})

    assert reason in page.errors()[name] and rows.all(Rule) == []


def test_a_filter_is_tried_before_anything_is_saved(browse: Browse, redis_client: redis.Redis, rows: Rows) -> None:
    tell(redis_client, ended(1), ended(2, url="https://api.openai.com/v1/embeddings"))

    page = browse().submit("/ui/rules/new", **{**DENY, "filter": "~u embeddings", "try": "1"})

    assert page.status == 200 and "It fits 1 of 2 recorded requests" in page.text and request_id(2) in page.text
    assert rows.all(Rule) == []


def test_a_trial_says_what_is_not_known(browse: Browse, redis_client: redis.Redis) -> None:
    tell(redis_client, ended(1), *(ended(number, request=Message(JSON, 70)) for number in range(2, 7)))

    page = browse().submit("/ui/rules/new", **{**DENY, "filter": "~b hello", "try": "1"})

    assert "It fits 0 of 6 recorded requests; of 5 it is not known" in page.text
    assert "5 not known: it looks at bodies, and these were not recorded" in page.text


def test_a_filter_is_tried_on_its_project(browse: Browse, api: Api, redis_client: redis.Redis) -> None:
    project, path = api.project("search"), f"/ui/rules/{made(api)['id']}/edit"
    tell(redis_client, ended(1), ended(2, project_id=project["id"]))
    trial = {"filter": "~u chat", "try": "1"}

    new = browse().submit("/ui/rules/new", **{**DENY, **trial}, project_id="search")
    edited = browse().submit(path, **trial, project_id="search")
    unknown = browse().submit(path, **trial, project_id="nobody's")

    assert "It fits 1 of 1" in new.text and request_id(2) in new.text and "It fits 1 of 1" in edited.text
    assert "It fits 2 of 2" in browse().submit(path, **trial).text
    assert "no project of this name" in unknown.errors()["project_id"] and "It fits" not in unknown.text


def test_a_faulty_filter_that_is_tried_says_where(browse: Browse) -> None:
    page = browse().submit("/ui/rules/new", **{**DENY, "filter": "~u (", "try": "1"})

    assert "At character 4" in page.errors()["filter"]


def test_a_rule_is_changed_tried_and_deleted(browse: Browse, api: Api, rows: Rows) -> None:
    path, admin = f"/ui/rules/{made(api)['id']}", browse()

    tried = admin.submit(f"{path}/edit", filter="~u nothing", **{"try": "1"})
    changed = admin.submit(f"{path}/edit", filter="~bq wages", is_active=None)

    assert "It fits 0 of 0" in tried.text and changed.goes_to == "/ui/rules"
    assert [(rule.filter, rule.is_active) for rule in rows.all(Rule)] == [("~bq wages", False)]
    assert admin.submit(f"{path}/delete").goes_to == "/ui/rules" and rows.all(Rule) == []


def test_rules_are_put_in_another_order(browse: Browse, api: Api, rows: Rows) -> None:
    ids = [made(api, name=name)["id"] for name in ("a", "b", "c")]
    admin = browse()

    admin.post(f"/ui/rules/{ids[2]}/move", way="up")
    assert names(rows) == ["a", "c", "b"]
    admin.post(f"/ui/rules/{ids[0]}/move", way="down")
    assert names(rows) == ["c", "a", "b"]
    admin.post(f"/ui/rules/{ids[2]}/move", way="up")
    assert names(rows) == ["c", "a", "b"]


@pytest.mark.parametrize("page", ["new", "{id}/edit", "{id}/delete"])
def test_auditors_change_nothing(browse: Browse, api: Api, page: str) -> None:
    assert browse("auditor").get(f"/ui/rules/{page.format(id=made(api)['id'])}").status == 403


def test_operators_do_not_put_rules_in_order(browse: Browse, api: Api) -> None:
    assert browse("operator").post(f"/ui/rules/{made(api)['id']}/move", way="up").status == 403
