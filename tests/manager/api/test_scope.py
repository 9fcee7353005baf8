"""Rules of scope and roles: what is out of scope is not there, and what is about everything is forbidden."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from manager.principals import Principal, Role, Scope
from tests.manager.api.conftest import PROVIDER_KEY, Api, problem
from tests.manager.conftest import one_database

type SignIn = Callable[[Principal], None]


@dataclass(frozen=True)
class Two:
    """A project that may be seen, another one that may not, and what is in them."""

    own: str
    foreign: str
    token: str
    foreign_token: str
    foreign_key: str


@pytest.fixture
def two(api: Api, signed_in: SignIn) -> Two:
    own, foreign = api.project("own"), api.project("foreign")
    tokens = [api.token(project["id"])["id"] for project in (own, foreign)]
    scope = Scope(frozenset([uuid.UUID(own["id"])]))
    signed_in(Principal("nightly", Role.ADMIN, scope))
    return Two(own["id"], foreign["id"], *tokens, foreign["keys"][0]["id"])


def test_lists_show_what_is_in_scope(api: Api, two: Two) -> None:
    assert [project["id"] for project in api.get("projects").json["items"]] == [two.own]
    assert [token["id"] for token in api.get("tokens").json["items"]] == [two.token]
    assert api.get("tokens", project_id=two.foreign).json["items"] == []
    assert api.get("usage", group_by="project").json["items"] == [] == api.get("requests").json["items"]


OUT_OF_SCOPE: list[tuple[str, str, Any]] = [
    ("GET", "projects/{foreign}", None),
    ("PATCH", "projects/{foreign}", {"name": "taken over"}),
    ("PUT", "projects/{foreign}", {"name": "taken over"}),
    ("DELETE", "projects/{foreign}", None),
    ("DELETE", "projects/{foreign}?purge=true", None),
    ("POST", "projects/{foreign}/activate", None),
    ("POST", "projects/{foreign}/deactivate", None),
    ("POST", "projects/{foreign}/tokens/revoke", None),
    ("GET", "projects/{foreign}/keys", None),
    ("POST", "projects/{foreign}/keys", {"api_key": PROVIDER_KEY}),
    ("GET", "projects/{foreign}/keys/{foreign_key}", None),
    ("PATCH", "projects/{foreign}/keys/{foreign_key}", {"weight": 7}),
    ("DELETE", "projects/{foreign}/keys/{foreign_key}", None),
    ("POST", "projects/{foreign}/keys/{foreign_key}/rotate", {"api_key": PROVIDER_KEY}),
    ("POST", "projects/{foreign}/keys/{foreign_key}/test", None),
    ("GET", "projects/{own}/keys/{foreign_key}", None),
    ("GET", "tokens/{foreign_token}", None),
    ("PATCH", "tokens/{foreign_token}", {"label": "taken over"}),
    ("DELETE", "tokens/{foreign_token}", None),
    ("POST", "tokens/{foreign_token}/refresh", {}),
    ("POST", "tokens", {"project_id": "{foreign}", "expires_in": 60}),
    ("POST", "tokens/batch", {"project_id": "{foreign}", "expires_in": 60, "count": 1}),
]


@pytest.mark.parametrize(
    ("method", "path", "body"), OUT_OF_SCOPE, ids=[f"{method} {path}" for method, path, _ in OUT_OF_SCOPE]
)
def test_what_is_out_of_scope_is_not_there(
    api: Api, two: Two, signed_in: SignIn, method: str, path: str, body: Any
) -> None:
    if body and "project_id" in body:
        body = {**body, "project_id": two.foreign}

    assert problem(api.send(method, path.format(**vars(two)), json=body)) == (404, "not_found")

    signed_in(Principal("management", Role.ADMIN))
    assert api.get(f"projects/{two.foreign}").json["name"] == "foreign"
    assert api.get(f"tokens/{two.foreign_token}").json["state"] == "active"


def test_revoking_everything_revokes_what_is_in_scope(api: Api, two: Two, signed_in: SignIn) -> None:
    assert api.post("tokens/revoke", ids=[two.foreign_token]).json == {
        "revoked": 0,
        "unknown_ids": [two.foreign_token],
    }
    assert api.post("tokens/revoke", project_id=two.foreign).json["revoked"] == 0
    assert api.post("tokens/revoke", all=True).json["revoked"] == 1

    signed_in(Principal("management", Role.ADMIN))
    assert api.get(f"tokens/{two.foreign_token}").json["state"] == "active"


@one_database
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "projects", {"name": "another", "api_key": PROVIDER_KEY}),
        ("GET", "limits", None),
        ("PUT", "limits", {"limits": []}),
        ("PUT", "prices", {"provider": "openai", "model": "gpt-5", "prompt": "1"}),
        ("DELETE", f"prices/{uuid.UUID(int=7)}", None),
        ("GET", "dead-letters", None),
        ("GET", "status", None),
    ],
)
def test_what_is_about_everything_is_forbidden(api: Api, two: Two, method: str, path: str, body: Any) -> None:
    assert problem(api.send(method, path, json=body)) == (403, "forbidden")


@one_database
def test_only_an_admin_purges(api: Api, signed_in: SignIn) -> None:
    project_id = api.project()["id"]
    api.delete(f"projects/{project_id}")
    signed_in(Principal("nightly", Role.OPERATOR))

    assert problem(api.delete(f"projects/{project_id}?purge=true")) == (403, "forbidden")
    assert api.get(f"projects/{project_id}").status_code == 200


ADMINS = {
    ("PUT", "/manage/limits"),
    ("PUT", "/manage/prices"),
    ("DELETE", "/manage/prices/<uuid:price_id>"),
    ("DELETE", "/manage/dead-letters/<letter_id>"),
    ("POST", "/manage/dead-letters/<letter_id>/retry"),
    ("PUT", "/manage/rules/order"),
}
# Something is told of them, and nothing else is changed.
LOOKS = {
    ("POST", "/manage/flows/export"),
    ("POST", "/manage/inspector/sessions"),
    ("POST", "/manage/inspector/readings"),
}


@one_database
def test_each_view_says_which_role_it_needs(app: Flask) -> None:
    """Reading is for auditors, changing for operators, and little for admins alone."""
    for rule in app.url_map.iter_rules():
        view_class = getattr(app.view_functions[rule.endpoint], "view_class", None)
        if view_class is None or rule.rule.startswith("/manage/operators"):
            continue
        for method in view_class.methods:
            role = getattr(view_class, method.lower()).needs_role
            if (method, rule.rule) in ADMINS:
                assert role is Role.ADMIN, rule
            else:
                looks = method == "GET" or (method, rule.rule) in LOOKS
                assert role is (Role.AUDITOR if looks else Role.OPERATOR), (rule, method)
