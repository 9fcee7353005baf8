"""The REST API under /manage: who may, which shapes, which errors. The rules are the domain's."""

from flask import Flask

from manager.api import (
    access,
    audit,
    conditions,
    dead_letters,
    docs,
    health,
    keys,
    limits,
    prices,
    problems,
    projects,
    providers,
    requests,
    status,
    tokens,
    usage,
    versions,
)
from manager.api.services import Services, install
from shared.settings import Settings

MAX_BODY_BYTES = 256 << 10


def register(app: Flask, settings: Settings) -> None:
    """Add every route, error shape and guard to the app."""
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
    access.guard(app, settings.management_token)
    conditions.mark(app)
    app.wsgi_app = versions.Versions(app.wsgi_app)  # type: ignore[method-assign]
    api = problems.ProblemApi(app)
    parts = (projects, keys, tokens, limits, prices, usage, requests, providers, dead_letters, audit, status)
    for part in parts:
        api.register_blueprint(part.blueprint)
    api.describe(sorted(made.rules.table.providers))
    problems.handle(app)
    app.register_blueprint(docs.blueprint)
    app.register_blueprint(health.blueprint)
