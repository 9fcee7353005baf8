"""Rules of upstream keys, without HTTP: how they are sealed, found, and kept from becoming none."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from manager import keys
from manager.errors import Conflict, Invalid, NotFound
from manager.rules import Rules
from manager.tables import Project, UpstreamKey, new_id
from shared import providers
from shared.sealing import Keyring, generate_key

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
PROVIDER_KEY = "sk-proj-the-real-provider-key-0123"
OTHER_KEY = "sk-proj-another-provider-key-4567"
RULES = Rules(Keyring.parse(f"k1:{generate_key()}"), providers.load(), allow_http_upstream=False)


@pytest.fixture
def project() -> Project:
    """An active project with one key, in no database."""
    made = Project(id=new_id(), name="search team", is_active=True)
    keys.add(RULES, NOON, made, api_key=PROVIDER_KEY)
    return made


def opened(key: UpstreamKey) -> str:
    return RULES.keyring.open(key.sealed, f"upstream_keys:{key.id}")


def test_a_key_is_sealed_for_its_own_row(project: Project) -> None:
    [first] = project.keys

    second = keys.add(RULES, LATER, project, api_key=OTHER_KEY, label="second", weight=9)

    assert [opened(key) for key in project.keys] == [PROVIDER_KEY, OTHER_KEY]
    assert (second.masked, second.label, second.weight, second.created_at) == ("sk-p****4567", "second", 9, LATER)
    assert first.sealed != second.sealed


@pytest.mark.parametrize("weight", [0, 1001, -1, 2**63])
def test_a_weight_is_from_1_to_1000(project: Project, weight: int) -> None:
    with pytest.raises(Invalid) as refused:
        keys.update(RULES, project, project.keys[0], weight=weight)

    assert refused.value.field == "weight" and project.keys[0].weight == 1


def test_a_key_of_another_project_is_not_there(project: Project) -> None:
    with pytest.raises(NotFound):
        keys.get(project, UUID(int=7))


@pytest.mark.parametrize("is_active", [True, False])
def test_the_last_active_key_goes_only_with_its_project_off(project: Project, is_active: bool) -> None:
    project.is_active = is_active
    [key] = project.keys

    if is_active:
        with pytest.raises(Conflict):
            keys.update(RULES, project, key, is_active=False)
        with pytest.raises(Conflict):
            keys.delete(project, key)
    else:
        keys.update(RULES, project, key, is_active=False)
        keys.delete(project, key)

    assert (project.keys == [key]) is is_active


def test_a_key_that_is_off_already_is_nobodys_last(project: Project) -> None:
    spare = keys.add(RULES, LATER, project, api_key=OTHER_KEY)
    keys.update(RULES, project, spare, is_active=False)
    keys.update(RULES, project, spare, is_active=False)

    keys.delete(project, spare)

    keys.check_usable(project)


def test_the_key_that_replaces_the_first_takes_its_place(project: Project) -> None:
    keys.update(RULES, project, project.keys[0], label="main", weight=3)
    keys.add(RULES, LATER, project, api_key=OTHER_KEY)
    before = project.keys[0]

    keys.replace_first(RULES, LATER, project, OTHER_KEY)

    after = project.keys[0]
    assert after.id != before.id and opened(after) == OTHER_KEY
    assert (after.label, after.weight, after.created_at) == ("main", 3, NOON)


def test_the_first_key_of_none_is_a_new_one(project: Project) -> None:
    project.keys.clear()
    with pytest.raises(Conflict):
        keys.check_usable(project)

    keys.replace_first(RULES, LATER, project, OTHER_KEY)

    assert [opened(key) for key in project.keys] == [OTHER_KEY]
