"""The vocabulary of the UI's tests: browsers that are signed in, what they see, and forms that they send.

    def test_projects_are_listed(browse: Browse) -> None:
        page = browse("auditor").get("/ui/projects")

        assert page.texts("tbody tr td:first-child") == ["search team"]

`browse()` is an admin with the management token, `browse("auditor")` and others are operators, and `browse(None)` is
nobody. What the tests of the API know serves here, too: `api`, `app`, `serve`, `published`, `one_database`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from manager.ui.memory import Memory
from tests.manager.api import conftest as of_the_api
from tests.manager.api.conftest import Api
from tests.manager.conftest import MANAGEMENT_TOKEN

client = of_the_api.client
api = of_the_api.api
published = of_the_api.published

type Browse = Callable[..., "Browser"]


@dataclass(frozen=True)
class Seen:
    """A page as somebody sees it."""

    answer: TestResponse
    path: str

    @property
    def status(self) -> int:
        return self.answer.status_code

    @property
    def goes_to(self) -> str:
        """Where it redirects to; fails if it does not."""
        assert self.status in (302, 303), self.text
        return self.answer.headers["location"]

    @property
    def html(self) -> BeautifulSoup:
        return BeautifulSoup(self.answer.text, "html.parser")

    @property
    def text(self) -> str:
        """All that can be read on it."""
        return " ".join(self.html.get_text(" ").split())

    def all(self, selector: str) -> list[Tag]:
        return list(self.html.select(selector))

    def one(self, selector: str) -> Tag:
        """The only element that fits; fails if there is none, or are more."""
        found = self.all(selector)
        assert len(found) == 1, f"{len(found)} elements fit {selector} on {self.path}: {self.text}"
        return found[0]

    def texts(self, selector: str) -> list[str]:
        """What can be read in each element that fits."""
        return [" ".join(each.get_text(" ").split()) for each in self.all(selector)]

    def errors(self) -> dict[str, str]:
        """What is said to be wrong with each field of a form, and at "" what with none."""
        assert self.status == 422, self.text
        found = {
            str(each["id"]).removeprefix("field-").removesuffix("-error"): each for each in self.all("[id$=-error]")
        }
        alerts = self.texts("form .alert")
        return {name: " ".join(each.get_text(" ").split()) for name, each in found.items()} | (
            {"": " ".join(alerts)} if alerts and not found else {}
        )


@dataclass(frozen=True)
class Browser:
    """Somebody with cookies. Forms are sent as browsers send them, with the CSRF token of the page that they are on."""

    client: FlaskClient

    def get(self, path: str, **query: Any) -> Seen:
        return self.open("GET", path, **({"query_string": query} if query else {}))

    def open(self, method: str, path: str, **request: Any) -> Seen:
        """Any request, without following redirects."""
        request["headers"] = {"accept": "text/html,application/xhtml+xml"} | request.get("headers", {})
        return Seen(self.client.open(path, method=method, **request), path)

    def csrf(self, path: str = "/ui/sessions") -> str:
        """The CSRF token of a page."""
        return str(self.get(path).one("meta[name=csrf-token]")["content"])

    def post(self, path: str, **fields: Any) -> Seen:
        """Send these fields and no others, as if from a form of some page."""
        return self.open("POST", path, data={"csrf_token": self.csrf(), **fields})

    def submit(self, page: Seen | str, form: str = "main form", **fields: Any) -> Seen:
        """Fill in a form of a page (or of the page at a path), the first that fits, and send it.

        What is not given is sent as it stands there; None leaves a field out, as a box that is not ticked. `a__b` is
        the field a.b; others with names that Python does not have come as `**{"limits-0-amount": "5"}`.
        """
        seen = self.get(page) if isinstance(page, str) else page
        found = seen.all(form)
        assert found, f"no {form} on {seen.path}: {seen.text}"
        sent = {**_filled(found[0]), **{name.replace("__", "."): value for name, value in fields.items()}}
        data = {name: value for name, value in sent.items() if value is not None}
        return self.open(
            str(found[0].get("method", "get")).upper(), str(found[0].get("action") or seen.path), data=data
        )

    def follow(self, page: Seen) -> Seen:
        """Go where a page redirects to."""
        return self.get(page.goes_to)

    def sign_in(self, token: str, **fields: Any) -> Seen:
        """Sign in with a token."""
        return self.submit("/ui/sign-in", token=token, **fields)


def _filled(form: Tag) -> dict[str, Any]:
    """What a form sends as it stands."""
    found: dict[str, Any] = {}
    for control in form.select("input[name], select[name], textarea[name]"):
        name, kind = str(control["name"]), control.get("type")
        if control.name == "select":
            options = control.select("option[selected]") or control.select("option")[:1]
            found[name] = str(options[0].get("value", "")) if options else ""
        elif control.name == "textarea":
            found[name] = control.get_text().removeprefix("\n")
        elif kind in ("checkbox", "radio"):
            if control.has_attr("checked"):
                found.setdefault(name, []).append(str(control.get("value", "on")))
        else:
            found.setdefault(name, []).append(str(control.get("value", "")))
    return found


@pytest.fixture(autouse=True)
def memory(app: Flask) -> Memory:
    """What the app, which is made once, keeps for a while of what many look at; nothing of another test."""
    found: Memory = app.extensions["llm_proxy_ui_memory"]
    found.forget()
    return found


@pytest.fixture
def browse(app: Flask, api: Api) -> Browse:
    """Gives browsers: of the management token, of a new operator with a role and more fields, or of nobody (None)."""

    numbers = count(1)

    def browse(role: str | None = "management", **more: Any) -> Browser:
        browser = Browser(app.test_client())
        if role is not None:
            named = {"name": f"{role} {next(numbers)}", **more}
            token = MANAGEMENT_TOKEN if role == "management" else api.operator(role, **named).bearer
            assert browser.sign_in(token).status == 303
        return browser

    return browse
