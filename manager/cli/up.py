"""`llm-proxy up`: everything on one machine, and a demo that shows it working."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manager.cli.start import start
from shared import settings as environment
from shared.settings import Plane, Settings, SettingsError

if TYPE_CHECKING:
    from manager.demo import Report
    from manager.supervisor import Supervisor

TEND_SECONDS = 0.1


@click.command()
@click.option("--once", is_flag=True, help="End after the demo; the last line is its report as JSON.")
@click.option("--demo/--no-demo", default=True, show_default=True, help="Send a streamed chat through the proxy.")
@click.option("--model", default="gpt-4o-mini", show_default=True, help="Model of the demo.")
def up(once: bool, demo: bool, model: str) -> None:
    """Start everything on this machine and keep it running until Ctrl-C."""
    from sqlalchemy.exc import SQLAlchemyError

    from manager import db
    from manager.demo import DemoError
    from manager.ports import PortTaken
    from manager.publishing import PublishError
    from manager.sealed import KeysMissing
    from manager.secrets_file import SecretsFileError
    from manager.servers import ServersAway
    from manager.single_machine import FolderTaken, own_folder
    from manager.supervisor import StartError

    if once and not demo:
        raise click.UsageError("--once ends after the demo; it cannot be combined with --no-demo")
    os.umask(0o077)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    try:
        with own_folder(environment.data_dir()) as folder:
            report = _run(folder, once, model if demo else None)
    except (SettingsError, KeysMissing) as error:
        raise click.UsageError(str(error)) from None
    except SQLAlchemyError as error:
        raise click.ClickException(f"DATABASE_URL: {db.reason(error)}") from None
    except (
        FolderTaken,
        PortTaken,
        SecretsFileError,
        ServersAway,
        PublishError,
        StartError,
        DemoError,
        OSError,
    ) as error:
        raise click.ClickException(str(error)) from None
    if once and report is not None:
        click.echo(report.to_json())


def _run(folder: Path, once: bool, model: str | None) -> Report | None:
    from manager import secrets_file, single_machine
    from manager.supervisor import Supervisor

    secrets = secrets_file.ensure(folder, environment.unset(secrets_file.NAMES))
    settings = start(Plane.SUPERVISOR, secrets)
    supervisor = Supervisor(folder / "logs")
    try:
        single_machine.start_all(supervisor, settings, secrets)
        report = single_machine.run_demo(supervisor, settings, model) if model else None
        if not once:
            _show(settings, report)
            _tend(supervisor)
        return report
    finally:
        _ignore_signals()
        supervisor.stop()


def _tend(supervisor: Supervisor) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            supervisor.tend()
            time.sleep(TEND_SECONDS)


def _ignore_signals() -> None:
    # Stopping is bounded in time; an impatient second Ctrl-C must not leave half of the children behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _show(settings: Settings, report: Report | None) -> None:
    from manager import secrets_file
    from manager.single_machine import Urls

    urls = Urls.of(settings)
    if report is not None:
        usage = report.usage
        click.echo(f"\nThe demo's answer: {report.reply}")
        click.echo(
            f"  {report.streamed_chunks} chunks, first byte after {report.first_byte_ms} ms; "
            f"{usage['prompt_tokens']} + {usage['completion_tokens']} tokens, recorded in SQL"
        )
    click.echo(f"\nApplications   base_url {urls.proxy}/v1, a withering token as API key")
    click.echo(f"Operators      {urls.manager}/manage, Authorization: Bearer $MANAGEMENT_TOKEN")
    click.echo(f"mitmweb        {urls.inspector}, sign in with an operator's token or the management token")
    click.echo(f"Health         {urls.manager}/readyz and {urls.health}/readyz")
    click.echo(f"Secrets, logs  {settings.data_dir / secrets_file.FILE_NAME}, {settings.data_dir / 'logs'}")
    click.echo("Running until Ctrl-C.")
