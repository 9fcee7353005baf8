"""Projects: who may call which provider, and how. Plain functions over a session; the caller commits."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from manager import addresses, keys, limits, policies, texts
from manager.errors import Conflict, Invalid, NotFound
from manager.pages import Page, page
from manager.rules import Rules
from manager.tables import Project, Token, new_id
from shared.models import Feature, Policy, Scope


def create(
    session: Session, rules: Rules, now: datetime, *, name: str, api_key: str, provider: str = "openai", **settings: Any
) -> Project:
    """Add a project with its first key; `settings` as in `update`. Raises Invalid, Conflict."""
    if provider not in rules.table.providers:
        raise Invalid("provider", f"Unknown provider; known are {', '.join(sorted(rules.table.providers))}.")
    project = Project(
        id=new_id(),
        name=texts.check_name(name, "name"),
        provider=provider,
        base_url="",
        fallback_urls=[],
        policy=Policy(),
        cors_origins=[],
        features={},
        limits=(),
        is_active=True,
        version=1,
        published_version=0,
        created_at=now,
        updated_at=now,
    )
    _set(project, rules, settings)
    keys.add(rules, now, project, api_key=api_key)
    session.add(project)
    _flush(session)
    return project


def get(session: Session, project_id: UUID, *, for_update: bool = False) -> Project:
    """Return a project, locked against other changes if it is to be changed. Raises NotFound."""
    project = session.get(Project, project_id, with_for_update=for_update)
    if project is None:
        raise NotFound("There is no such project.")
    return project


def list_page(session: Session, limit: int, cursor: str | None) -> Page[Project]:
    """Return a page of projects, newest first."""
    return page(session, sa.select(Project), Project.id, limit, cursor)


def update(session: Session, rules: Rules, now: datetime, project: Project, **changes: Any) -> None:
    """Change what is given; each setting is replaced as a whole. Raises Invalid, Conflict.

    There are name, is_active, api_key (which takes the place of the first key), and the settings base_url,
    fallback_urls, cors_origins, features (None for the provider's default), policy and limits.
    """
    if "name" in changes:
        project.name = texts.check_name(changes["name"], "name")
    _set(project, rules, changes)
    if "api_key" in changes:
        keys.replace_first(rules, now, project, changes["api_key"])
    if "is_active" in changes:
        _set_active(project, changes["is_active"], now)
    touch(project, now)
    _flush(session)


def touch(project: Project, now: datetime) -> None:
    """Count a change of the project or of its keys."""
    project.version += 1
    project.updated_at = now


def delete(session: Session, now: datetime, project: Project) -> int:
    """Deactivate a project for good: its tokens are revoked; its record and usage stay. Return how many tokens."""
    _set_active(project, False, now)
    touch(project, now)
    revoked = session.scalars(
        sa.update(Token)
        .where(Token.project_id == project.id, Token.is_active)
        .values(is_active=False, revoked_at=now, updated_at=now, version=Token.version + 1)
        .returning(Token.id)
    ).all()
    _flush(session)
    return len(revoked)


def base_urls(project: Project, rules: Rules) -> list[str]:
    """Return the URLs that a project's requests go to, in order of preference; see addons/targets.py."""
    provider = rules.table.providers.get(project.provider)
    first = project.base_url or (provider.base_url if provider else "")
    return [url for url in (first, *project.fallback_urls) if url]


def _set(project: Project, rules: Rules, changes: Mapping[str, Any]) -> None:
    if "base_url" in changes:
        project.base_url = addresses.check_base(changes["base_url"], rules)
    if "fallback_urls" in changes:
        project.fallback_urls = addresses.check_fallbacks(changes["fallback_urls"], rules)
    if {"base_url", "fallback_urls"} & set(changes) and _repeats(base_urls(project, rules)):
        raise Invalid("fallback_urls", "Must not contain the base URL itself.")
    if "policy" in changes:
        project.policy = policies.check(changes["policy"])
    if "cors_origins" in changes:
        project.cors_origins = addresses.check_origins(changes["cors_origins"])
    if "limits" in changes:
        project.limits = limits.check(changes["limits"], Scope.PROJECT)
    if "features" in changes:
        project.features = _checked_features(changes["features"])


def _repeats(urls: list[str]) -> bool:
    return len(set(urls)) < len(urls)


def _checked_features(features: Mapping[str, bool | None]) -> dict[str, bool]:
    if unknown := set(features) - set(Feature):
        raise Invalid("features", f"Unknown: {', '.join(sorted(unknown))}; known are {', '.join(Feature)}.")
    return {str(name): is_on for name, is_on in features.items() if is_on is not None}


def _set_active(project: Project, is_active: bool, now: datetime) -> None:
    if is_active and not project.is_active:
        keys.check_usable(project)
    project.deactivated_at = None if is_active else (project.deactivated_at or now)
    project.is_active = is_active


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("There is a project of this name already.") from error
