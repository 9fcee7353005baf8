"""The ways through the UI. Those that lead to a page that there is, and that may be seen, are shown."""

from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from manager.api import access
from manager.current import principal, scope
from manager.principals import EVERYTHING, Role
from manager.ui.blueprint import blueprint


@dataclass(frozen=True)
class Entry:
    """A way to a page: `endpoint` is that of its view."""

    endpoint: str
    label: str
    icon: str


ENTRIES = (
    Entry("ui.dashboard", "Dashboard", "speedometer2"),
    Entry("ui.projects", "Projects", "folder2"),
    Entry("ui.tokens", "Tokens", "ticket-perforated"),
    Entry("ui.live", "Live", "broadcast"),
    Entry("ui.requests", "Requests", "search"),
    Entry("ui.rules", "Rules", "filter"),
    Entry("ui.audit", "Audit", "journal-check"),
    Entry("ui.providers", "Providers", "diagram-3"),
    Entry("ui.limits", "Limits", "hourglass-split"),
    Entry("ui.prices", "Prices", "cash-coin"),
    Entry("ui.operators", "Operators", "people"),
    Entry("ui.status", "Status", "heart-pulse"),
    Entry("ui.settings", "Settings", "sliders"),
    Entry("ui.help", "Help", "question-circle"),
)


def teach(app: Flask) -> None:
    """Tell templates who is here, and where they can go."""

    def tell() -> dict[str, Any]:
        me = g.get("principal")
        request_id = g.get("request_id", "")
        return {"me": me, "ways": ways() if me else [], "is_current": _is_current, "request_id": request_id}

    app.context_processor(tell)
    app.jinja_env.globals["may"] = may


def may(endpoint: str, method: str = "GET") -> bool:
    """Tell whether there is a view, and whether who is here may use it."""
    view = current_app.view_functions.get(endpoint)
    if view is None or (getattr(view, "needs_everything", False) and scope() != EVERYTHING):
        return False
    role: Role | None = access.needed_role(current_app, endpoint, method)
    return role is not None and principal().role.covers(role)


def ways() -> list[Entry]:
    """Return where whoever is here can go."""
    return [entry for entry in ENTRIES if may(entry.endpoint)]


@blueprint.get("/")
def home() -> ResponseReturnValue:
    """Go on to the first page that there is for somebody."""
    found = ways()
    return redirect(url_for(found[0].endpoint if found else "ui.sessions"), 303)


def _is_current(entry: Entry) -> bool:
    path = url_for(entry.endpoint)
    return request.path == path or request.path.startswith(f"{path}/")
