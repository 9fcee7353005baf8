"""Rules of where a provider's keys are sent: whoever is there gets to see them, so that is for admins to say."""

from typing import Any

import pytest

from manager.tables import Project
from tests.manager.api.conftest import PROVIDER_KEY, Api, problem
from tests.manager.conftest import Rows

OWN = "https://evil.example.org"


@pytest.mark.parametrize("change", [{"base_url": OWN}, {"fallback_urls": [OWN]}], ids=lambda change: next(iter(change)))
@pytest.mark.parametrize("is_scoped", [False, True], ids=["of all", "of one"])
def test_no_operator_sends_a_key_elsewhere(api: Api, rows: Rows, change: dict[str, Any], is_scoped: bool) -> None:
    path = f"projects/{api.project()['id']}"
    operator = api.operator("operator", **({"project_ids": [path.partition("/")[2]]} if is_scoped else {}))

    for answer in (
        operator.patch(path, **change),
        operator.patch(path, api_key=PROVIDER_KEY, **change),
        operator.put(path, name="search team", **change),
        operator.post("projects", name="b", api_key=PROVIDER_KEY, **change),
    ):
        assert problem(answer) == (403, "forbidden")
    [kept] = rows.all(Project)
    assert (kept.base_url, kept.fallback_urls, kept.version) == ("", [], 1)
    assert api.patch(path, **change).status_code == 200


def test_nor_does_one_who_leaves_it_out_of_a_replacement(api: Api) -> None:
    path = f"projects/{api.project(base_url=OWN)['id']}"

    assert problem(api.operator("operator").put(path, name="search team")) == (403, "forbidden")
    assert api.get(path).json["base_url"] == OWN


def test_what_an_operator_says_again_changes_nothing(api: Api) -> None:
    path = f"projects/{api.project(base_url=OWN, fallback_urls=['https://eu.example.org'])['id']}"
    same = {"base_url": OWN, "fallback_urls": ["https://eu.example.org"]}
    operator = api.operator("operator")

    assert operator.put(path, name="find team", **same).json["name"] == "find team"
    assert operator.patch(path, policy={"denied_models": ["*"]}, **same).status_code == 200


def test_an_operator_makes_projects_of_the_providers_own(api: Api) -> None:
    made = api.operator("operator").project(base_url="", fallback_urls=[])

    assert (made["base_url"], made["fallback_urls"]) == ("", [])
