"""What every command does first: read its plane's settings, or say in plain words why it can't, and set up logs."""

import logging
from collections.abc import Mapping

import click

from manager import secrets_file
from shared import core_dumps, logs
from shared import settings as environment
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


def start_here() -> Settings:
    """Return the settings of a command that works on this machine's database.

    Secrets that the environment does not have are those that were generated in the data folder, if there are any.
    Ends the command as `start` does, and with exit code 1 if the generated ones cannot be read.
    """
    try:
        known = secrets_file.read(environment.data_dir())
    except (FileNotFoundError, NotADirectoryError, SettingsError):  # The last of which `start` tells.
        known = {}
    except (OSError, secrets_file.SecretsFileError) as error:
        raise click.ClickException(str(error)) from None
    return start(Plane.CONTROL, {name: known[name] for name in environment.unset(secrets_file.NAMES) if name in known})
