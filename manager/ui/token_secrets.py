"""The one page that shows secrets of tokens: the answer to the form that made them, and to nothing else."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from flask import render_template

from manager import db, projects, tabular
from manager.actions.tokens import CreatedToken
from manager.api.token_shapes import CreatedTokenView
from manager.current import scope, services
from manager.tables import Token
from manager.ui import addresses, snippets

_COLUMNS = ("label", "token", "id", "expires_at")


def kept(made: Sequence[CreatedToken]) -> list[dict[str, Any]]:
    """Return what an answer shows of new tokens, as JSON can hold it."""
    shown: list[dict[str, Any]] = CreatedTokenView(many=True).dump(made)
    return shown


def kept_one(made: CreatedToken) -> list[dict[str, Any]]:
    """Return what an answer shows of a new token, as JSON can hold it."""
    return kept([made])


def page(shown: Sequence[Mapping[str, Any]], *, is_refreshed: bool = False) -> str:
    """Return the page of tokens as `kept` gives them."""
    first, public_url = shown[0], addresses.proxy_url()
    with db.reading(services().sessions) as session:
        project = projects.get(session, UUID(first["project_id"]), scope=scope())
        row = session.get(Token, UUID(first["id"]))
    provider = services().rules.table.providers.get(project.provider)
    allowed = [first["policy"]["allowed_models"], project.policy.allowed_models]
    examples = provider and snippets.of(provider, public_url, first["token"], snippets.model_for(provider, allowed))
    return render_template(
        "tokens/secrets.html",
        made=shown,
        project=project,
        examples=examples or (),
        public_url=public_url,
        csv=tabular.csv_text(_COLUMNS, shown),
        until=datetime.fromisoformat(first["expires_at"]),
        previous_until=first["previous_until"] and datetime.fromisoformat(first["previous_until"]),
        is_refreshed=is_refreshed,
        is_pending=row is not None and row.published_version < row.version,
    )
