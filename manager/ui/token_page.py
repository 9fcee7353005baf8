"""The page of one token: what it is, what it used, and what happened lately."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from flask import render_template
from sqlalchemy.orm import Session

from manager import audit_search, db, projects, recent_requests, standing, tokens
from manager.current import now, scope, services
from manager.standing import Holder, Standing
from manager.tables import Project, Token
from manager.ui import token_charts
from manager.ui.blueprint import blueprint
from shared.models import Limit, Measure, Scope, Window

# Of each list.
_NEWEST = 10


@blueprint.get("/tokens/<uuid:token_id>")
def token(token_id: UUID) -> str:
    """Show a token."""
    with db.reading(services().sessions) as session:
        row = tokens.get(session, token_id, scope=scope())
        project = projects.get(session, row.project_id)
        said = _lately(session, token_id)
    own, shared = _standings(row, project)
    state = tokens.state_of(row, now())
    return render_template("tokens/page.html", row=row, project=project, state=state, own=own, shared=shared, **said)


def _lately(session: Session, token_id: UUID) -> dict[str, Any]:
    return {
        "charts": token_charts.of_token(session, now(), token_id),
        "requests": recent_requests.list_page(session, _NEWEST, None, token_id=token_id).items,
        "events": audit_search.list_page(session, _NEWEST, None, token_id=token_id).items,
    }


def _standings(row: Token, project: Project) -> Sequence[Sequence[Standing]]:
    """Return how the limits of a token stand, its number of requests first, and those of its project."""
    holders = [Holder(Scope.TOKEN, str(row.id), row.limits), Holder(Scope.PROJECT, str(project.id), project.limits)]
    own, shared = standing.of_each(services().access_redis, holders, now())
    if row.max_requests is not None:
        most = Limit(Measure.REQUESTS, Window.LIFE, row.max_requests)
        own = [Standing(most, row.request_count), *own]
    return own, shared
