"""Rules of roles: each view declares one, what is written needs more than reading, the menu shows what may be seen."""

from uuid import uuid4

import pytest
from flask import Blueprint, Flask, g

from manager.api import access
from manager.errors import Forbidden
from manager.principals import Principal, Role, Scope
from manager.ui import nav
from manager.ui.blueprint import UiBlueprint, for_everybody, needs
from tests.manager.conftest import one_database
from tests.manager.ui.conftest import Browse

pytestmark = [one_database, pytest.mark.usefixtures("database_url")]
# What everybody may do to what is their own.
THEIR_OWN = {"/ui/sign-out", "/ui/sessions/<uuid:session_id>/end", "/ui/sessions/end-others"}
# What is only looked at, though it is asked for by a form, since it is told in the audit or takes its time.
LOOKED_AT = {"/ui/audit/export", "/ui/audit/verify"}
READING = {"GET", "HEAD", "OPTIONS"}


def declared(app: Flask) -> dict[tuple[str, str], Role | None]:
    """The role that each method of each page declares, leaving out what is open."""
    return {
        (method, rule.rule): access.needed_role(app, rule.endpoint, method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if rule.rule.startswith("/ui") and not access.is_open(app, rule.endpoint)
    }


def test_every_page_declares_a_role(app: Flask) -> None:
    roles = declared(app)

    assert len(roles) > 5 and not [operation for operation, role in roles.items() if role is None]


def test_who_reads_changes_nothing_but_what_is_theirs(app: Flask) -> None:
    allowed = {operation for operation, role in declared(app).items() if role is Role.AUDITOR}

    assert {path for method, path in allowed if method not in READING} == THEIR_OWN | LOOKED_AT


def test_pages_are_on_the_blueprint(app: Flask) -> None:
    others = {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith("/ui")}

    assert {endpoint for endpoint in others if not endpoint.startswith("ui.")} == {"assets.asset"}


@pytest.mark.parametrize(
    ("methods", "role"), [(None, Role.AUDITOR), (["GET"], Role.AUDITOR), (["GET", "POST"], Role.OPERATOR)]
)
def test_what_a_view_needs_if_it_does_not_say(methods: list[str] | None, role: Role) -> None:
    def view() -> str:
        return ""

    UiBlueprint("x", __name__).add_url_rule("/x", view_func=view, methods=methods)

    assert view.needs_role is role  # type: ignore[attr-defined]


def test_a_view_may_say_so_itself() -> None:
    blueprint = UiBlueprint("x", __name__)

    @blueprint.post("/x")
    @needs(Role.ADMIN)
    def view() -> str:
        return ""

    assert view.needs_role is Role.ADMIN  # type: ignore[attr-defined]
    assert isinstance(blueprint, Blueprint) and for_everybody(view).is_open  # type: ignore[attr-defined]


def test_a_view_may_need_all_projects(app: Flask) -> None:
    @needs(Role.AUDITOR, everything=True)
    def view() -> str:
        return "all"

    with app.test_request_context():
        g.principal = Principal("ann", Role.ADMIN)
        assert view() == "all"
        g.principal = Principal("bob", Role.AUDITOR, Scope(frozenset({uuid4()})))
        with pytest.raises(Forbidden, match="all projects"):
            view()


# The menu


def test_the_menu_leads_to_pages_that_there_are_and_no_further(app: Flask, browse: Browse) -> None:
    page = browse().get("/ui/sessions")

    there = [entry.label for entry in nav.ENTRIES if entry.endpoint in app.view_functions]
    assert page.texts("nav[aria-label=Main] a") == there


@pytest.mark.parametrize("role", list(Role))
def test_the_menu_shows_what_a_role_may_see(app: Flask, browse: Browse, role: Role) -> None:
    browser = browse(role)

    links = [str(link["href"]) for link in browser.get("/ui/sessions").all("nav[aria-label=Main] a")]

    assert {browser.get(link).status for link in links} <= {200}


def test_home_is_the_first_page_of_the_menu(browse: Browse) -> None:
    browser = browse("auditor")
    links = [str(link["href"]) for link in browser.get("/ui/sessions").all("nav[aria-label=Main] a")]

    assert browser.get("/ui/").goes_to == (links[0] if links else "/ui/sessions")
