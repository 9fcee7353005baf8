"""/manage/projects/{id}/keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import marshmallow as ma
from flask.views import MethodView

from manager import db, keys, projects
from manager.actions import keys as actions
from manager.api import conditions, described
from manager.api.blueprint import ManageBlueprint
from manager.api.fields import Changes, Label, PageQuery, ProviderKey, Truth, Weight
from manager.api.once import once
from manager.current import scope, services
from manager.key_probe import ProbeResult
from manager.pages import Page
from manager.tables import UpstreamKey
from manager.upstream_health import Health
from shared.redis_schema import key_subject

blueprint = ManageBlueprint("keys", "The provider's keys of a project, and which of them are set aside.")
_ONE = "/manage/projects/{project_id}/keys/{key_id}"
_IDS = {"project_id": "$request.path.project_id", "key_id": "$response.body#/id"}
LINKS = {
    "get": ("get", _ONE, _IDS),
    "change": ("patch", _ONE, _IDS),
    "rotate": ("post", f"{_ONE}/rotate", _IDS),
    "test": ("post", f"{_ONE}/test", _IDS),
    "delete": ("delete", _ONE, _IDS),
}


class NewKey(ma.Schema):
    """What a key is made of."""

    api_key = ProviderKey(required=True, metadata={"description": "The provider's key; never shown again."})
    label = Label(load_default="")
    weight = Weight(load_default=1, metadata={"description": "Its share."})


class KeyChanges(Changes):
    """What may be changed; a field that is left out stays. With another `api_key` the key keeps its id."""

    api_key = ProviderKey()
    label = Label()
    weight = Weight()
    is_active = Truth()


class Rotated(ma.Schema):
    """What a key opens from now on."""

    api_key = ProviderKey(required=True)


class KeyTestView(ma.Schema):
    """What came of asking the provider. `refused` and `limited` speak against the key, the others say nothing of it."""

    state = ma.fields.String(validate=ma.validate.OneOf(["ok", "refused", "limited", "unreachable", "unclear"]))
    reason = ma.fields.String(metadata={"description": "One word, as of a breaker; empty if it is fine."})
    status = ma.fields.Integer(metadata={"description": "The status of the answer, 0 without one."})
    milliseconds = ma.fields.Float(metadata={"description": "How long that took."})


class HealthView(ma.Schema):
    """Whether something is used. From `until` on, the next request tries it."""

    state = ma.fields.String(validate=ma.validate.OneOf(["ok", "set_aside"]))
    reason = ma.fields.String(allow_none=True)
    until = ma.fields.AwareDateTime(allow_none=True)
    openings = ma.fields.Integer(metadata={"description": "How often in a row it has been set aside."})


class KeyView(ma.Schema):
    """A provider's key as it may be shown."""

    id = ma.fields.UUID(attribute="row.id")
    label = ma.fields.String(attribute="row.label")
    masked_key = ma.fields.String(attribute="row.masked")
    weight = ma.fields.Integer(attribute="row.weight")
    is_active = ma.fields.Boolean(attribute="row.is_active")
    created_at = ma.fields.AwareDateTime(attribute="row.created_at")
    health = ma.fields.Nested(HealthView, allow_none=True, metadata={"description": "Null if Redis is away."})


class KeyPage(ma.Schema):
    """A page of keys."""

    items = ma.fields.List(ma.fields.Nested(KeyView))
    next_cursor = ma.fields.String(allow_none=True)


@dataclass(frozen=True)
class ShownKey:
    """A row and what the data plane has learned of it."""

    row: UpstreamKey
    health: Health | None

    @classmethod
    def of(cls, row: UpstreamKey, health: Mapping[str, Health | None]) -> "ShownKey":
        """Return a key with its share of what was asked for many."""
        return cls(row, health[key_subject(str(row.id))])


def shown(*rows: UpstreamKey) -> list[ShownKey]:
    """Return keys with what the data plane has learned of them."""
    health = services().health.of(key_subject(str(row.id)) for row in rows)
    return [ShownKey.of(row, health) for row in rows]


def _tagged(row: UpstreamKey) -> ShownKey:
    conditions.show(keys.state(row))
    return shown(row)[0]


def shown_without_health(row: UpstreamKey) -> ShownKey:
    """Return a key without asking what the data plane has learned of it."""
    return ShownKey(row, None)


@blueprint.route("/projects/<uuid:project_id>/keys")
class Keys(MethodView):
    """All keys of a project."""

    @blueprint.says(links=described.of_first(LINKS))
    @blueprint.arguments(PageQuery, location="query")
    @blueprint.response(200, KeyPage)
    def get(self, query: dict[str, Any], project_id: UUID) -> Page[ShownKey]:
        """List a project's keys, newest first."""
        with db.reading(services().sessions) as session:
            projects.get(session, project_id, scope=scope())
            found = keys.list_page(session, project_id, **query)
        return Page(shown(*found.items), found.next_cursor)

    @blueprint.says(once=True, is_tagged=True, conflicts=True, links=LINKS)
    @blueprint.arguments(NewKey, example={"api_key": "sk-the-providers-key", "label": "second account", "weight": 3})
    @blueprint.response(201, KeyView)
    def post(self, body: dict[str, Any], project_id: UUID) -> ShownKey:
        """Add a key to a project."""
        return _tagged(actions.add(project_id, body, once(KeyView(), shown_without_health, state=keys.state)))


@blueprint.route("/projects/<uuid:project_id>/keys/<uuid:key_id>")
class OneKey(MethodView):
    """One key of a project."""

    @blueprint.says(tagged=True)
    @blueprint.response(200, KeyView)
    def get(self, project_id: UUID, key_id: UUID) -> ShownKey:
        """Show a key."""
        with db.reading(services().sessions) as session:
            key = keys.get(projects.get(session, project_id, scope=scope()), key_id)
        return _tagged(key)

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.arguments(KeyChanges, example={"label": "first account", "weight": 2})
    @blueprint.response(200, KeyView)
    def patch(self, body: dict[str, Any], project_id: UUID, key_id: UUID) -> ShownKey:
        """Change a key; the last active one of an active project cannot be switched off."""
        return _tagged(actions.update(project_id, key_id, body, conditions.expected()))

    @blueprint.says(tagged=True, conflicts=True)
    @blueprint.response(204)
    def delete(self, project_id: UUID, key_id: UUID) -> None:
        """Remove a key, but not the last active one of an active project."""
        actions.delete(project_id, key_id, conditions.expected())


@blueprint.route("/projects/<uuid:project_id>/keys/<uuid:key_id>/rotate")
class Rotation(MethodView):
    """Another secret for a key."""

    @blueprint.says(conflicts=True, is_tagged=True)
    @blueprint.arguments(Rotated, example={"api_key": "sk-the-providers-next-key"})
    @blueprint.response(200, KeyView)
    def post(self, body: dict[str, Any], project_id: UUID, key_id: UUID) -> ShownKey:
        """Replace what a key opens; its id, label and weight stay, and it is tried again if it was set aside."""
        return _tagged(actions.update(project_id, key_id, body, conditions.expected()))


@blueprint.route("/projects/<uuid:project_id>/keys/<uuid:key_id>/test")
class Trial(MethodView):
    """A try of a key."""

    @blueprint.response(200, KeyTestView)
    def post(self, project_id: UUID, key_id: UUID) -> ProbeResult:
        """Ask the provider whether it takes a key, with a request that costs nothing."""
        return actions.test(project_id, key_id)
