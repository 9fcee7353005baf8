"""Providers and routes, as this service has read its table: which APIs can be called, and which of their routes."""

from flask import render_template

from manager.current import services
from manager.errors import NotFound
from manager.ui.blueprint import blueprint


@blueprint.get("/providers", endpoint="providers")
def all_providers() -> str:
    """Show all of them, by name."""
    known = services().rules.table.providers
    is_bundled = services().settings.providers_file is None
    return render_template("providers/list.html", rows=[known[name] for name in sorted(known)], is_bundled=is_bundled)


@blueprint.get("/providers/<name>", endpoint="provider")
def one_provider(name: str) -> str:
    """Show one of them with its routes."""
    found = services().rules.table.providers.get(name)
    if found is None:
        raise NotFound("There is no such provider.")
    return render_template("providers/one.html", provider=found)
