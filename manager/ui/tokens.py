"""Tokens: the list of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue

from manager import db, names, tokens
from manager.current import now, scope, services
from manager.pages import Page
from manager.tables import Token
from manager.tokens import State
from manager.ui.blueprint import blueprint
from manager.ui.lists import BESIDE, listed
from manager.ui.named_project import as_typed
from manager.ui.token_fields import TokenSearch, filters


@dataclass(frozen=True)
class Shown:
    """A token in a list."""

    row: Token
    state: State
    project: str


@blueprint.get("/tokens", endpoint="tokens")
def all_tokens() -> ResponseReturnValue:
    """Show the list, or that part of it which is asked for."""
    return listed(TokenSearch(), filters(), "tokens/list.html", _find, sent=as_typed(), asked=asked())


def shown(rows: Sequence[Token], projects: Mapping[Any, str]) -> list[Shown]:
    """Return tokens as lists show them."""
    moment = now()
    return [Shown(row, tokens.state_of(row, moment), projects.get(row.project_id, "")) for row in rows]


def asked() -> dict[str, str]:
    """Return the filters that were sent: what is neither empty, nor order or place."""
    return {name: value for name, value in request.args.items() if value.strip() and name not in BESIDE}


def _find(query: Mapping[str, Any]) -> dict[str, Any]:
    with db.reading(services().sessions) as session:
        page = tokens.list_page(session, now=now(), scope=scope(), **query)
        known = names.of(session, projects={row.project_id for row in page.items})
    return {"page": Page(shown(page.items, known.projects), page.next_cursor)}
