"""What every command does first: read its plane's settings, or say in plain words why it can't, and set up logs."""

import logging
from collections.abc import Mapping

import click

from shared import core_dumps, logs
from shared.settings import Plane, Settings, SettingsError, load


def start(plane: Plane, fallback: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this plane; ends the command with exit code 2 if they are faulty."""
    core_dumps.forbid()
    try:
        settings = load(plane, fallback)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    logs.configure(settings.log_level, settings.secrets())
    logging.getLogger("alembic").setLevel(logging.WARNING)  # It describes itself whenever the schema is looked at.
    return settings
