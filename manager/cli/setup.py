"""`llm-proxy setup`: from nothing to a token in a minute."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manager.cli import setup_report as report
from manager.cli import shown
from manager.cli.doctor import tell
from manager.cli.endings import hinted
from manager.cli.options import json_option, secret_from
from shared import settings as environment
from shared.settings import Plane, Settings, SettingsError

if TYPE_CHECKING:
    from manager.doctor.finding import Finding
    from manager.setup import Installed, Step, Wanted

_PLANES = Plane.SUPERVISOR | Plane.CONTROL | Plane.DATA


@click.command()
@click.option("--non-interactive", is_flag=True, help="Ask nothing; what is not said has its default.")
@click.option("--project", default="first project", show_default=True, help="What the first project is called.")
@click.option("--provider", default="openai", show_default=True, help="Whose API it is.")
@click.option(
    "--api-key-file",
    metavar="FILE",
    help="The provider's key, from this file, - for standard input; else OPENAI_API_KEY; else it is asked for.",
)
@click.option("--label", default="setup", show_default=True, help="What the first token is for.")
@click.option("--expires-in", default="P7D", show_default=True, help="How long it lives: seconds, or ISO 8601.")
@click.option("--up/--no-up", "starts", default=None, help="Start everything afterwards; asked if neither is said.")
@json_option
def setup(
    non_interactive: bool,
    api_key_file: str | None,
    starts: bool | None,
    is_json: bool,
    **given: str,
) -> None:
    """Make this machine ready: keys, database, the first project and a token for it.

    It looks at the machine first, and makes nothing if something is wrong. What is there already is left alone, so that
    it can be run again. Without a provider's key the bundled mock provider answers while `llm-proxy up` runs.

    \b
    llm-proxy setup --non-interactive
    llm-proxy setup --non-interactive --project "search team" --api-key-file key.txt
    """
    os.umask(0o077)
    asks = not (non_interactive or is_json)
    if asks and not sys.stdin.isatty():
        raise click.UsageError(hinted("Nobody can be asked here.", "--non-interactive takes the defaults"))
    if is_json and starts:
        raise click.UsageError(hinted("--json prints what was made, and --up goes on.", "say one of them"))
    settings, findings = _examine(is_json)
    wanted = _wanted(api_key_file or "", settings.demo_provider_key, given)
    settings, steps, made = _make(wanted, asks)
    if is_json:
        shown.as_json(report.for_programs(settings, findings, steps, made))
        return
    report.for_people(settings, steps, made)
    if starts or (asks and starts is None and click.confirm("\nStart everything now?", default=True)):
        from manager.cli.up import up

        click.get_current_context().invoke(up, once=False, demo=True, model="gpt-4o-mini")


def _examine(is_quiet: bool) -> tuple[Settings, list[Finding]]:
    """Look at the machine; ends the command with 1 if something is wrong, or with 2 if it is the settings."""
    from manager import secrets_file
    from manager.doctor.finding import Level
    from manager.setup import look

    try:
        fallback = secrets_file.generated(environment.data_dir(), environment.unset(secrets_file.NAMES))
        environment.load(Plane.SUPERVISOR, fallback)  # Which sees what no single service can: ports used twice.
        settings = environment.load(_PLANES, fallback)
    except SettingsError as error:
        raise click.UsageError(hinted(str(error), "see `llm-proxy config show`")) from None
    found = []
    for finding in look(settings):
        found.append(finding)
        if not is_quiet:
            tell(finding)
    if faults := [each for each in found if each.level is Level.FAULT]:
        lines = [f"{each.subject}: {each.told}\n  {each.fix}" for each in faults] if is_quiet else []
        raise click.ClickException("\n".join(["Nothing was made: this machine is not ready.", *lines]))
    return settings, found


def _wanted(key_file: str, set_key: str, given: dict[str, str]) -> Wanted:
    from manager.setup import Wanted
    from shared import durations

    try:
        lifetime = durations.parse(given["expires_in"])
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--expires-in") from None
    key = secret_from(key_file, "api key") if key_file else set_key
    return Wanted(given["project"], given["provider"], key, given["label"], lifetime)


def _asked(wanted: Wanted) -> Wanted:
    """Return what is wanted after asking for the provider's key, and for what belongs to it."""
    from dataclasses import replace

    question = "Provider's key (nothing: the bundled mock provider answers)"
    key = click.prompt(question, default="", hide_input=True, show_default=False).strip()
    if not key:
        return wanted
    provider = click.prompt("Provider", default=wanted.provider)
    return replace(wanted, api_key=key, provider=provider, project=click.prompt("Project", default=wanted.project))


def _make(wanted: Wanted, asks: bool) -> tuple[Settings, list[Step], Installed]:
    from sqlalchemy.exc import SQLAlchemyError

    from manager import db
    from manager import setup as making
    from manager.cli.start import start
    from manager.errors import DomainError, Invalid
    from manager.schema import UnknownRevision
    from manager.sealed import KeysMissing
    from manager.secrets_file import SecretsFileError

    try:
        with _folder() as folder:
            secrets, kept = making.keep_secrets(folder)
            settings = start(_PLANES, secrets)
            steps = [kept, making.upgrade(settings)]
            if asks and not wanted.api_key and not making.has_project(settings, wanted.project):
                wanted = _asked(wanted)
            made = making.begin(settings, wanted)
    except (KeysMissing, DomainError) as error:
        place = f"{error.field}: " if isinstance(error, Invalid) else ""
        raise click.UsageError(f"{place}{error}") from None
    except SQLAlchemyError as error:
        raise click.ClickException(f"DATABASE_URL: {db.reason(error)}") from None
    except (SecretsFileError, UnknownRevision, OSError) as error:
        raise click.ClickException(str(error)) from None
    return settings, [*steps, *made.steps], made


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """The data folder, ours alone; or that of an installation which runs, where secrets and schema are there."""
    from manager.single_machine import FolderTaken, own_folder

    where = environment.data_dir()
    with contextlib.ExitStack() as held:
        with contextlib.suppress(FolderTaken):
            held.enter_context(own_folder(where))
        yield where
