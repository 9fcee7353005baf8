"""Rules of the audit of changes: each is told once, with how it was and how it is, and never with a secret."""

from typing import Any

import pytest

from manager.tables import AuditEvent
from tests.manager.api.conftest import PROVIDER_KEY, Api
from tests.manager.conftest import Rows

OTHER_KEY = "sk-proj-another-provider-key-4567"


@pytest.fixture
def told(rows: Rows) -> Any:
    """What has been told since it was last asked: action, whether it names a subject, detail."""
    seen: set[Any] = set()

    def since() -> list[tuple[str, bool, Any]]:
        fresh = [row for row in rows.all(AuditEvent) if row.id not in seen]
        seen.update(row.id for row in fresh)
        return [(row.action, row.subject_id is not None, row.detail) for row in fresh]

    return since


def test_each_change_of_a_project_is_told(api: Api, told: Any) -> None:
    path = f"projects/{api.project()['id']}"
    [(action, _, detail)] = told()
    assert action == "project.create" and detail["after"]["name"] == "search team"
    assert detail["after"]["masked_key"] == "sk-p****0123"

    api.patch(path, name="find team", policy={"denied_models": ["o1"]})
    [(action, _, detail)] = told()
    assert action == "project.update" and detail["before"]["name"] == "search team"
    assert detail["after"]["policy"]["denied_models"] == ["o1"] and set(detail["after"]) == {"name", "policy"}

    api.put(path, name="find team", limits=[{"measure": "cost", "window": "day", "amount": "1"}])
    [(first, _, policy), (second, _, limits)] = told()
    assert (first, set(policy["after"])) == ("project.update", {"policy"})
    assert (second, limits["before"], limits["after"][0]["amount"]) == ("limits.change", [], "1.00")

    api.post(f"{path}/deactivate")
    api.post(f"{path}/deactivate")
    api.post(f"{path}/activate")
    assert [action for action, _, _ in told()][-2:] == ["project.deactivate", "project.activate"]


def test_a_change_to_what_it_was_is_not_told(api: Api, told: Any) -> None:
    path = f"projects/{api.project()['id']}"
    told()

    api.patch(path, name="search team", features={})

    assert told() == []


def test_each_change_of_a_key_is_told(api: Api, told: Any) -> None:
    project_id = api.project()["id"]
    keys = f"projects/{project_id}/keys"
    told()

    key = f"{keys}/{api.post(keys, api_key=OTHER_KEY, label='second').json['id']}"
    api.patch(key, weight=7)
    api.patch(key, api_key=PROVIDER_KEY)
    api.post(f"{key}/rotate", api_key=OTHER_KEY)
    api.delete(key)
    api.patch(f"projects/{project_id}", api_key=OTHER_KEY)

    found = told()
    actions = ["key.create", "key.update", "key.rotate", "key.rotate", "key.delete", "key.rotate"]
    assert [action for action, _, _ in found] == actions and all(has_subject for _, has_subject, _ in found)
    assert found[1][2] == {"before": {"weight": 1}, "after": {"weight": 7}}
    assert found[2][2] == {"before": {"masked_key": "sk-p****4567"}, "after": {"masked_key": "sk-p****0123"}}
    assert not [detail for _, _, detail in found if "another" in str(detail) or "real" in str(detail)]


def test_each_change_of_a_token_is_told(api: Api, told: Any) -> None:
    made = api.token(api.project()["id"], max_requests=3)
    assert told()[-1][2]["after"]["max_requests"] == 3

    api.patch(f"tokens/{made['id']}", max_requests=None, label="nightly")
    [(action, _, detail)] = told()

    assert action == "token.update"
    assert detail == {"before": {"label": "", "max_requests": 3}, "after": {"label": "nightly", "max_requests": None}}


def test_each_change_of_prices_is_told(api: Api, told: Any) -> None:
    made = api.put("prices", provider="openai", model="gpt-5", prompt="1").json
    api.put("prices", provider="openai", model="gpt-5", prompt="2")
    api.delete(f"prices/{made['id']}")

    found = told()
    assert [action for action, _, _ in found] == ["price.put", "price.put", "price.delete"]
    assert (found[1][2]["before"]["prompt"], found[1][2]["prompt"]) == ("1.00", "2.00")
