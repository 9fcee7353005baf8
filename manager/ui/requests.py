"""Recent requests: searched, and one in full."""

from collections.abc import Mapping
from typing import Any

from flask import render_template
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from manager import db, names, recent_requests
from manager.current import now, scope, services
from manager.tables import Project, Request, Token, UpstreamKey
from manager.ui import refusal_advice, timing
from manager.ui.addresses import in_mitmweb
from manager.ui.blueprint import blueprint
from manager.ui.lists import listed
from manager.ui.named_project import as_typed
from manager.ui.request_fields import FIRST, MORE, OUTCOMES, RequestSearch
from manager.ui.spans import within


@blueprint.get("/requests", endpoint="requests")
def all_requests() -> ResponseReturnValue:
    """Show requests, newest first, or those that are asked for."""
    context = {"first": FIRST, "more": MORE, "outcomes": OUTCOMES}
    return listed(RequestSearch(), (*FIRST, *MORE), "requests/list.html", _find, sent=as_typed(), **context)


@blueprint.get("/requests/<request_id>", endpoint="request")
def one_request(request_id: str) -> str:
    """Show all that is known of a request."""
    with db.reading(services().sessions) as session:
        row = recent_requests.get(session, request_id, scope=scope())
        known = _known(session, row)
    advice = refusal_advice.of(row.error_code)
    context = {
        "row": row,
        "phases": timing.phases(row),
        "was_sent": timing.was_sent(row),
        "outcomes": OUTCOMES,
        "advice": advice,
        "mitmweb": in_mitmweb(row.request_id),
    }
    return render_template("requests/one.html", **context, **known)


def _find(query: Mapping[str, Any]) -> dict[str, Any]:
    with db.reading(services().sessions) as session:
        page = recent_requests.list_page(session, scope=scope(), **within(query, now()))
        projects, tokens = {row.project_id for row in page.items}, {row.token_id for row in page.items}
        return {"page": page, "names": names.of(session, projects, tokens)}


def _known(session: Session, row: Request) -> dict[str, Any]:
    """Return what there still is of what a request was made with."""
    key = None if row.upstream_key_id is None else session.get(UpstreamKey, row.upstream_key_id)
    return {
        "project": session.get(Project, row.project_id),
        "token": session.get(Token, row.token_id),
        "key": key if key is None or key.project_id == row.project_id else None,
    }
