"""Upstream keys: the providers' keys of a project, sealed. Plain functions over a session; the caller commits.

Keys are published within their project, so each change counts as one of the project; lock the project before.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from manager import etags, key_probe, texts
from manager.errors import Conflict, Invalid, NotFound
from manager.key_probe import ProbeResult
from manager.pages import Page, page
from manager.rules import Rules
from manager.sealed import UPSTREAM_KEYS
from manager.tables import Project, UpstreamKey, new_id
from shared import tokens
from shared.settings import Settings

KEY_LENGTHS = range(8, 4097)
WEIGHTS = range(1, 1001)
# Every admission hands all keys of the project over.
MOST_KEYS = 50


def add(
    rules: Rules, now: datetime, project: Project, *, api_key: str, label: str = "", weight: int = 1
) -> UpstreamKey:
    """Add a key to a project. Raises Invalid, Conflict."""
    if len(project.keys) >= MOST_KEYS:
        raise Conflict(f"A project has at most {MOST_KEYS} keys.")
    key = UpstreamKey(
        id=new_id(), label=texts.check_label(label), weight=_checked_weight(weight), is_active=True, created_at=now
    )
    _seal(rules, key, api_key)
    project.keys.append(key)
    return key


def replace_first(rules: Rules, now: datetime, project: Project, api_key: str) -> None:
    """Put a key in the place of a project's first one, with its label and weight. Raises Invalid."""
    if not project.keys:
        add(rules, now, project, api_key=api_key)
        return
    old = project.keys[0]
    new = UpstreamKey(id=new_id(), label=old.label, weight=old.weight, is_active=True, created_at=old.created_at)
    _seal(rules, new, api_key)
    project.keys[0] = new


def get(project: Project, key_id: UUID) -> UpstreamKey:
    """Return a key of a project. Raises NotFound, also for a key of another project."""
    for key in project.keys:
        if key.id == key_id:
            return key
    raise NotFound("The project has no such key.")


def list_page(session: Session, project_id: UUID, limit: int, cursor: str | None) -> Page[UpstreamKey]:
    """Return a page of a project's keys, newest first."""
    query = sa.select(UpstreamKey).where(UpstreamKey.project_id == project_id)
    return page(session, query, UpstreamKey.id, limit, cursor)


def facts(key: UpstreamKey) -> dict[str, Any]:
    """Return what the audit may tell of a key."""
    return {"label": key.label, "masked_key": key.masked, "weight": key.weight, "is_active": key.is_active}


def state(key: UpstreamKey) -> str:
    """Return what changes whenever a key does; see manager/etags.py."""
    return etags.state_of(key.id, key.label, key.weight, key.is_active, key.sealed)


def update(rules: Rules, project: Project, key: UpstreamKey, **changes: Any) -> None:
    """Change label, weight, is_active, or api_key: the key stays, what it opens is new. Raises Invalid, Conflict."""
    if "label" in changes:
        key.label = texts.check_label(changes["label"])
    if "weight" in changes:
        key.weight = _checked_weight(changes["weight"])
    if "api_key" in changes:
        _seal(rules, key, changes["api_key"])
    if changes.get("is_active") is False:
        check_is_spared(project, key)
    key.is_active = changes.get("is_active", key.is_active)


def delete(project: Project, key: UpstreamKey) -> None:
    """Remove a key. Raises Conflict for the last active one of an active project: it could serve no request."""
    check_is_spared(project, key)
    project.keys.remove(key)


def probe(rules: Rules, project: Project, key: UpstreamKey, settings: Settings) -> ProbeResult:
    """Ask the project's provider whether it takes a key, at the URL that its requests go to first."""
    api_key = rules.keyring.open(key.sealed, UPSTREAM_KEYS.place(key.id))
    provider = rules.table.providers.get(project.provider)
    if provider is None:
        return ProbeResult("unclear", "no_provider")
    verify = str(settings.upstream_ca_file) if settings.upstream_ca_file else True
    cert = str(settings.upstream_cert_file) if settings.upstream_cert_file else None
    return key_probe.probe(project.base_url, provider, api_key, verify=verify, cert=cert)


def check_usable(project: Project) -> None:
    """Raise Conflict for a project that has no active key."""
    if not any(key.is_active for key in project.keys):
        raise Conflict("The project has no active key; add one first.")


def check_is_spared(project: Project, key: UpstreamKey) -> None:
    """Raise Conflict for the last active key of an active project."""
    others = [other for other in project.keys if other.is_active and other is not key]
    if project.is_active and key.is_active and not others:
        raise Conflict("It is the last active key of an active project; add another, or deactivate the project, first.")


def _seal(rules: Rules, key: UpstreamKey, api_key: str) -> None:
    key.sealed = rules.keyring.seal(_checked_key(rules, api_key), UPSTREAM_KEYS.place(key.id))
    key.masked = tokens.mask(api_key)


def _checked_weight(weight: int) -> int:
    if weight not in WEIGHTS:
        raise Invalid("weight", f"Must be from {WEIGHTS[0]} to {WEIGHTS[-1]}.")
    return weight


def _checked_key(rules: Rules, api_key: str) -> str:
    if len(api_key) not in KEY_LENGTHS:
        raise Invalid("api_key", f"Must have {KEY_LENGTHS[0]} to {KEY_LENGTHS[-1]} characters.")
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise Invalid("api_key", "Must be printable ASCII without spaces.")
    if "****" in api_key or "..." in api_key:
        raise Invalid("api_key", "This is a masked key; the whole key is needed.")
    if api_key.startswith((tokens.PREFIX, tokens.OPERATOR_PREFIX)) or api_key in rules.own_secrets:
        raise Invalid("api_key", "This is a secret of this service, not a provider's key.")
    return api_key
