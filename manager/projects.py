"""Projects: who may call which provider, with which keys. Plain functions over a session; the caller commits."""

import ipaddress
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from manager.errors import Conflict, Invalid, NotFound
from manager.pages import Page, page
from manager.tables import NAME_LENGTH, Project, Token, UpstreamKey, new_id
from shared import tokens
from shared.providers import ProviderTable
from shared.route_paths import check_base_url
from shared.sealing import Keyring

KEY_LENGTHS = range(8, 4097)
URL_LENGTH = 2048


@dataclass(frozen=True)
class Rules:
    """What projects are checked against and sealed with."""

    keyring: Keyring
    table: ProviderTable
    allow_http_upstream: bool


def create(
    session: Session,
    rules: Rules,
    now: datetime,
    *,
    name: str,
    api_key: str,
    provider: str = "openai",
    base_url: str = "",
) -> Project:
    """Add a project with its first key. Raises Invalid, Conflict."""
    if provider not in rules.table.providers:
        raise Invalid("provider", f"Unknown provider; known are {', '.join(sorted(rules.table.providers))}.")
    project = Project(
        id=new_id(),
        name=check_name(name, "name"),
        provider=provider,
        base_url=_checked_base_url(base_url, rules),
        is_active=True,
        version=1,
        published_version=0,
        created_at=now,
        updated_at=now,
    )
    project.keys.append(_sealed_key(rules, now, api_key))
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


def update(session: Session, rules: Rules, now: datetime, project: Project, **changes: str | bool) -> None:
    """Change name, base_url, is_active or api_key (which replaces the first key). Raises Invalid, Conflict."""
    if "name" in changes:
        project.name = check_name(str(changes["name"]), "name")
    if "base_url" in changes:
        project.base_url = _checked_base_url(str(changes["base_url"]), rules)
    if "api_key" in changes:
        project.keys[:1] = [_sealed_key(rules, now, str(changes["api_key"]))]
    if "is_active" in changes:
        _set_active(project, bool(changes["is_active"]), now)
    project.version += 1
    project.updated_at = now
    _flush(session)


def delete(session: Session, now: datetime, project: Project) -> None:
    """Deactivate a project for good: its tokens are revoked; its record and usage stay."""
    _set_active(project, False, now)
    project.version += 1
    project.updated_at = now
    session.execute(
        sa.update(Token)
        .where(Token.project_id == project.id, Token.is_active)
        .values(is_active=False, revoked_at=now, updated_at=now, version=Token.version + 1)
    )
    _flush(session)


def check_name(text: str, field: str) -> str:
    """Return a name without surrounding space. Raises Invalid if it is empty, too long or not printable text."""
    name = text.strip()
    if not 1 <= len(name) <= NAME_LENGTH:
        raise Invalid(field, f"Must have 1 to {NAME_LENGTH} characters.")
    return check_text(name, field)


def check_text(text: str, field: str) -> str:
    """Return a text. Raises Invalid for control characters and lone surrogates, which databases do not take."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
        raise Invalid(field, "Must not contain control characters.")
    return text


def _set_active(project: Project, is_active: bool, now: datetime) -> None:
    project.deactivated_at = None if is_active else (project.deactivated_at or now)
    project.is_active = is_active


def _checked_base_url(text: str, rules: Rules) -> str:
    url = text.strip().rstrip("/")
    if not url:
        return ""
    if len(url) > URL_LENGTH:
        raise Invalid("base_url", f"Must have at most {URL_LENGTH} characters.")
    try:
        check_base_url(url)
    except ValueError as error:
        raise Invalid("base_url", str(error)) from None
    if not rules.allow_http_upstream and url.startswith("http://") and not _is_loopback(urlsplit(url).hostname or ""):
        raise Invalid("base_url", "Must start with https://, since provider keys would travel unencrypted.")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _sealed_key(rules: Rules, now: datetime, api_key: str) -> UpstreamKey:
    key_id = new_id()
    sealed = rules.keyring.seal(_checked_key(api_key), f"upstream_keys:{key_id}")
    return UpstreamKey(
        id=key_id, label="", sealed=sealed, masked=tokens.mask(api_key), weight=1, is_active=True, created_at=now
    )


def _checked_key(api_key: str) -> str:
    if len(api_key) not in KEY_LENGTHS:
        raise Invalid("api_key", f"Must have {KEY_LENGTHS[0]} to {KEY_LENGTHS[-1]} characters.")
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise Invalid("api_key", "Must be printable ASCII without spaces.")
    if "****" in api_key or "..." in api_key:
        raise Invalid("api_key", "This is a masked key; the whole key is needed.")
    if api_key.startswith(tokens.PREFIX):
        raise Invalid("api_key", "This is a withering token, not a provider's key.")
    return api_key


def _flush(session: Session) -> None:
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("There is a project of this name already.") from error
