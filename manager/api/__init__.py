"""The REST API under /manage: who may, which shapes, which errors. The rules are the domain's."""

from collections.abc import Mapping

from flask import Flask

from manager.api import (
    access,
    activity,
    audit,
    conditions,
    dead_letters,
    docs,
    flows,
    health,
    inspector,
    keys,
    limits,
    live,
    operators,
    prices,
    problems,
    projects,
    providers,
    rates,
    requests,
    rules,
    sizes,
    status,
    tokens,
    usage,
    versions,
)
from manager.api.forwarded import Forwarded
from manager.authentication import Authenticator
from manager.current import Services, install
from manager.denials import Denials
from manager.entrance import Entrance
from manager.logins import Logins
from manager.throttle import Throttle
from shared.settings import Settings

MAX_BODY_BYTES = 256 << 10


def register(app: Flask, settings: Settings, doors: Mapping[str, access.Door] | None = None) -> None:
    """Add every route, error shape and guard to the app; `doors` are those of others, by path."""
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        API_TITLE="llm-proxy management API",
        API_VERSION="1",
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/manage",
        API_SPEC_OPTIONS={
            "components": {"securitySchemes": {"managementToken": {"type": "http", "scheme": "bearer"}}},
            "security": [{"managementToken": []}],
        },
    )
    app.url_map.merge_slashes = False  # What has a slash too many does not exist; a redirect would be HTML.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    made = Services.of(settings)
    install(app, made)
    sizes.allow(app)
    _guard(app, settings, made, doors or {})
    conditions.mark(app)
    app.wsgi_app = versions.Versions(app.wsgi_app)  # type: ignore[method-assign]
    api = problems.ProblemApi(app)
    parts = [projects, keys, tokens, limits, prices, usage, activity, requests, live, rules, flows, inspector]
    parts += [providers, dead_letters, audit, operators, status]
    for part in parts:
        api.register_blueprint(part.blueprint)
    api.describe(sorted(made.rules.table.providers))
    problems.handle(app)
    app.register_blueprint(docs.blueprint)
    app.register_blueprint(health.blueprint)


def _guard(app: Flask, settings: Settings, made: Services, doors: Mapping[str, access.Door]) -> None:
    issuer = made.people.issuer if made.people else None
    authenticator = Authenticator(made.sessions, settings.management_token, settings.token_pepper, issuer)
    throttle, logins = Throttle(made.tallies, settings.login_failures), Logins(made.sessions, made.tallies)
    entrance = Entrance(authenticator, throttle, logins)
    access.guard(app, entrance, Denials(made.sessions, made.access_redis), doors)
    rates.limit(app, made.access_redis, settings.api_rate)
    access.demand_roles(app)
    if settings.proxies_in_front:
        app.wsgi_app = Forwarded(app.wsgi_app, settings.proxies_in_front)  # type: ignore[method-assign]
