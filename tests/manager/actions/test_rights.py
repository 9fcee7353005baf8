"""Rights belong to actions: whoever calls one, by the API or by a page, must have the role that it takes."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, g

from manager.actions import dead_letters, flows, keys, limits, live, operators, prices, projects, rules, tokens
from manager.errors import Forbidden
from manager.principals import Principal, Role, Scope
from manager.tables import AuditEvent
from tests.manager.conftest import Rows, one_database

ID = uuid4()
ANYTHING: dict[str, Any] = {}
FOR_OPERATORS: dict[str, Callable[[], object]] = {
    "projects.create": lambda: projects.create(ANYTHING),
    "projects.update": lambda: projects.update(ID, ANYTHING),
    "projects.replace": lambda: projects.replace(ID, ANYTHING),
    "projects.delete": lambda: projects.delete(ID),
    "projects.revoke_tokens": lambda: projects.revoke_tokens(ID),
    "keys.add": lambda: keys.add(ID, ANYTHING),
    "keys.update": lambda: keys.update(ID, ID, ANYTHING),
    "keys.delete": lambda: keys.delete(ID, ID),
    "keys.test": lambda: keys.test(ID, ID),
    "live.cut": lambda: live.cut("r1"),
    "live.resume": lambda: live.resume("r1"),
    "live.refuse": lambda: live.refuse("r1"),
    "rules.create": lambda: rules.create(ANYTHING),
    "rules.update": lambda: rules.update(ID, ANYTHING),
    "rules.delete": lambda: rules.delete(ID),
    "rules.check": lambda: rules.check("~q"),
    "tokens.create": lambda: tokens.create(ANYTHING),
    "tokens.create_many": lambda: tokens.create_many(ANYTHING),
    "tokens.update": lambda: tokens.update(ID, ANYTHING),
    "tokens.refresh": lambda: tokens.refresh(ID, ANYTHING),
    "tokens.revoke": lambda: tokens.revoke(ID),
    "tokens.revoke_these": lambda: tokens.revoke_these([ID]),
    "tokens.revoke_matching": lambda: tokens.revoke_matching(ANYTHING),
}
FOR_ADMINS: dict[str, Callable[[], object]] = {
    "projects.purge": lambda: projects.purge(ID),
    "limits.replace": lambda: limits.replace([]),
    "rules.order": lambda: rules.order([]),
    "prices.put": lambda: prices.put(ANYTHING),
    "prices.delete": lambda: prices.delete(ID),
    "operators.create": lambda: operators.create(ANYTHING),
    "operators.update": lambda: operators.update(ID, ANYTHING),
    "operators.rotate": lambda: operators.rotate(ID),
    "operators.revoke": lambda: operators.revoke(ID),
    "dead_letters.delete": lambda: dead_letters.delete("1-1"),
    "dead_letters.retry": lambda: dead_letters.retry("1-1"),
}
ACTIONS = FOR_OPERATORS | FOR_ADMINS
OF_EVERYTHING = ("projects.create", "limits.replace", "prices.put", "prices.delete", "rules.create", "rules.order")
OF_EVERYTHING += ("dead_letters.delete", "dead_letters.retry")


@pytest.fixture
def act_as(app: Flask) -> Callable[[str, Principal], object]:
    def act(name: str, principal: Principal) -> object:
        with app.test_request_context():
            g.principal, g.request_id = principal, "r1"
            return ACTIONS[name]()

    return act


@one_database
@pytest.mark.parametrize("name", ACTIONS)
def test_who_may_too_little_is_refused_before_anything_is_looked_at(
    act_as: Callable[[str, Principal], object], rows: Rows, name: str
) -> None:
    role = Role.AUDITOR if name in FOR_OPERATORS else Role.OPERATOR

    with pytest.raises(Forbidden, match="This needs the role"):
        act_as(name, Principal("somebody", role))

    assert rows.all(AuditEvent) == []


@one_database
@pytest.mark.parametrize("name", OF_EVERYTHING)
def test_what_is_about_all_projects_is_refused_to_who_sees_some(
    act_as: Callable[[str, Principal], object], name: str
) -> None:
    with pytest.raises(Forbidden, match="about all projects"):
        act_as(name, Principal("somebody", Role.ADMIN, Scope(frozenset({ID}))))


def test_every_action_is_listed_here() -> None:
    rooms = (dead_letters, flows, keys, limits, live, operators, prices, projects, rules, tokens)
    found = {
        f"{room.__name__.rsplit('.', 1)[1]}.{name}"
        for room in rooms
        for name, value in vars(room).items()
        if callable(value) and getattr(value, "__module__", "") == room.__name__ and not name.startswith("_")
    }

    assert found - {"tokens.CreatedToken", "operators.WithToken", "rules.Trial"} == ACTIONS.keys() | {
        # What an auditor may as well.
        "flows.read",
        "flows.read_live",
        "flows.export",
        "flows.open_inspector",
        "flows.note_readings",
        "projects.state",
        "tokens.state",
        "limits.state",
        "tokens.check_live",
        "operators.state",
        "operators.check_live",
    }
