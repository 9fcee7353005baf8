"""The control plane: a Flask service that owns projects, tokens and usage in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from shared.settings import Settings


def create_app(settings: Settings) -> Flask:
    """Return the management service; its database must have been migrated."""
    # Imported here, since this module is loaded with every room of the package, and most need no Flask.
    from flask import Flask

    from manager import api, ui

    app = Flask(__name__, static_folder=None)
    api.register(app, settings, ui.DOORS)
    ui.register(app, settings)
    return app
