"""`llm-proxy up`: everything on one machine, and a demo that shows it working."""

import contextlib
import fcntl
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import requests

from manager import db, programs, secrets_file
from manager.cli.start import start
from manager.demo import Demo, DemoError, Report, Target
from manager.supervisor import StartError, Supervisor
from shared import settings as environment
from shared.settings import Plane, Settings

TEND_SECONDS = 0.1


@dataclass(frozen=True)
class Urls:
    """Where the parts of this installation are reached from this machine."""

    proxy: str
    manager: str
    health: str

    @classmethod
    def of(cls, settings: Settings) -> "Urls":
        """Return the URLs of an installation."""
        base = f"http://{programs.url_host(settings.listen_host)}"
        return cls(
            f"{base}:{settings.proxy_port}", f"{base}:{settings.manager_port}", f"{base}:{settings.metrics_port}"
        )


@click.command()
@click.option("--once", is_flag=True, help="End after the demo; the last line is its report as JSON.")
@click.option("--demo/--no-demo", default=True, show_default=True, help="Send a streamed chat through the proxy.")
@click.option("--model", default="gpt-4o-mini", show_default=True, help="Model of the demo.")
def up(once: bool, demo: bool, model: str) -> None:
    """Start everything on this machine and keep it running until Ctrl-C."""
    if once and not demo:
        raise click.UsageError("--once ends after the demo; it cannot be combined with --no-demo")
    os.umask(0o077)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    with _own_folder(environment.data_dir()) as folder:
        secrets = _secrets(folder)
        settings = start(Plane.SUPERVISOR, secrets)
        supervisor = Supervisor(folder / "logs")
        try:
            report = _run(supervisor, settings, secrets, model if demo else None)
            if not once:
                _show(settings, report)
                _tend(supervisor)
        except (StartError, DemoError) as error:
            raise click.ClickException(str(error)) from None
        finally:
            _ignore_signals()
            supervisor.stop()
    if once and report is not None:
        click.echo(report.to_json())


def _tend(supervisor: Supervisor) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            supervisor.tend()
            time.sleep(TEND_SECONDS)


def _ignore_signals() -> None:
    # Stopping is bounded in time; an impatient second Ctrl-C must not leave half of the children behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _run(supervisor: Supervisor, settings: Settings, secrets: Mapping[str, str], model: str | None) -> Report | None:
    if settings.redis_is_embedded:
        environment.embedded_socket(settings.data_dir).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        supervisor.start(programs.valkey(settings))
    db.migrate(settings.database_url)
    workers = [programs.proxy(settings, secrets, number + 1) for number in range(settings.workers)]
    supervisor.start(programs.manager(settings, secrets), programs.jobs(settings, secrets), *workers)
    if model is None:
        return None
    target = _provider(settings, model) if settings.demo_provider_key else _mock(supervisor, model)
    urls = Urls.of(settings)
    return Demo(urls.manager, urls.proxy, settings.management_token).run(target)


def _provider(settings: Settings, model: str) -> Target:
    return Target("demo (OpenAI)", settings.demo_provider_key, "", model)


def _mock(supervisor: Supervisor, model: str) -> Target:
    port, key = _free_port(), f"sk-mock-{environment.generate_secret()}"
    supervisor.start(programs.mock_provider(port, key))
    url = f"http://127.0.0.1:{port}"

    def seen_keys() -> list[str]:
        recent = requests.get(f"{url}/__mock__/ledger", timeout=5).json()["recent"]
        return sorted({entry["key"] for entry in recent})

    return Target("demo (mock provider)", key, url, model, seen_keys)


def _show(settings: Settings, report: Report | None) -> None:
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
    click.echo(f"Health         {urls.manager}/readyz and {urls.health}/readyz")
    click.echo(f"Secrets, logs  {settings.data_dir / secrets_file.FILE_NAME}, {settings.data_dir / 'logs'}")
    click.echo("Running until Ctrl-C.")


def _secrets(folder: Path) -> dict[str, str]:
    try:
        return secrets_file.ensure(folder, environment.unset(secrets_file.NAMES))
    except secrets_file.SecretsFileError as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def _own_folder(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.ClickException(f"another llm-proxy is running on {folder}") from None
        yield folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
