"""/manage/providers: the provider and route table that this service has loaded."""

from typing import Any

import marshmallow as ma
from flask.views import MethodView

from manager.api.blueprint import ManageBlueprint
from manager.current import services
from manager.errors import NotFound
from shared.providers import Provider, Route

blueprint = ManageBlueprint("providers", "Which APIs can be called, and which of their routes.")
_SECONDS = {"description": "Seconds; null: for ever."}


class TimeoutsView(ma.Schema):
    """How long a provider may take."""

    connect = ma.fields.Float(allow_none=True, metadata=_SECONDS)
    first_byte = ma.fields.Float(allow_none=True, metadata=_SECONDS)
    idle = ma.fields.Float(allow_none=True, metadata=_SECONDS)
    total = ma.fields.Float(allow_none=True, metadata=_SECONDS)


class RouteView(ma.Schema):
    """One route."""

    name = ma.fields.String()
    path = ma.fields.String()
    methods = ma.fields.List(ma.fields.String())
    body = ma.fields.String()
    max_body_bytes = ma.fields.Integer()
    required = ma.fields.List(ma.fields.String(), metadata={"description": "What its bodies must have."})
    upgrade = ma.fields.String()
    timeouts = ma.fields.Nested(TimeoutsView)
    attempts = ma.fields.Integer(attribute="retry.attempts")


class ProviderView(ma.Schema):
    """One API."""

    name = ma.fields.String()
    base_url = ma.fields.String()
    dialect = ma.fields.String()
    credential_header = ma.fields.String(attribute="credential.header")
    credential_scheme = ma.fields.String(attribute="credential.scheme")
    features = ma.fields.Dict(ma.fields.String(), ma.fields.Boolean())
    routes = ma.fields.List(ma.fields.Nested(RouteView))


class ProviderList(ma.Schema):
    """All of them."""

    items = ma.fields.List(ma.fields.Nested(ProviderView))


@blueprint.route("/providers")
class Providers(MethodView):
    """All of them."""

    @blueprint.says(links={"get": ("get", "/manage/providers/{name}", {"name": "$response.body#/items/0/name"})})
    @blueprint.response(200, ProviderList)
    def get(self) -> dict[str, Any]:
        """List providers and their routes, by name."""
        table = services().rules.table
        return {"items": [_shown(table.providers[name]) for name in sorted(table.providers)]}


@blueprint.route("/providers/<name>")
class OneProvider(MethodView):
    """One of them."""

    @blueprint.response(200, ProviderView)
    def get(self, name: str) -> dict[str, Any]:
        """Show a provider and its routes."""
        provider = services().rules.table.providers.get(name)
        if provider is None:
            raise NotFound("There is no such provider.")
        return _shown(provider)


def _shown(provider: Provider) -> dict[str, Any]:
    fields = ("name", "base_url", "dialect", "credential")
    shown = {name: getattr(provider, name) for name in fields}
    features = {feature.value: is_on for feature, is_on in provider.features.items()}
    return {**shown, "features": features, "routes": [_shown_route(route) for route in provider.routes]}


def _shown_route(route: Route) -> dict[str, Any]:
    fields = ("name", "path", "body", "max_body_bytes", "required", "upgrade", "timeouts", "retry")
    return {**{name: getattr(route, name) for name in fields}, "methods": sorted(route.methods)}
