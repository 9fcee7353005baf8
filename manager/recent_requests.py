"""Recent requests: what the collector has recorded and retention has not yet forgotten."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager.pages import Page, page
from manager.tables import Request


def list_page(
    session: Session, token_id: UUID | None, project_id: UUID | None, limit: int, cursor: str | None
) -> Page[Request]:
    """Return a page of requests, newest first; of one token or project if given. Their ids sort by time."""
    query = sa.select(Request)
    if token_id is not None:
        query = query.where(Request.token_id == token_id)
    if project_id is not None:
        query = query.where(Request.project_id == project_id)
    return page(session, query, Request.request_id, limit, cursor)
