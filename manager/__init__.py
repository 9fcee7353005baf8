"""The control plane: a Flask service that owns projects, tokens and usage in SQL."""

from flask import Flask

from manager import api
from shared.settings import Settings


def create_app(settings: Settings) -> Flask:
    """Return the management service; its database must have been migrated."""
    app = Flask(__name__, static_folder=None)
    api.register(app, settings)
    return app
