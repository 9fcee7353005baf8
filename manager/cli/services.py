"""The single services, as a process manager or container runs them."""

import json
from collections.abc import Mapping
from typing import Any

import click

from manager.cli.start import start
from shared.settings import Plane, Settings


@click.command()
def manager() -> None:
    """Serve the management API."""
    from manager.wsgi import serve

    serve(_started())


@click.command()
@click.option("--run", "name", metavar="NAME", help="Run this periodic job once, now, and print its report as JSON.")
def jobs(name: str | None) -> None:
    """Run the jobs: collect usage, publish to Redis, keep retention, reconcile.

    Several such processes may run: all of them collect and heal, and one does the rest.
    """
    from manager.jobs import run

    settings = _started()
    if name is None:
        run(settings)
    else:
        click.echo(json.dumps(_report_of(settings, name), default=str))


def _report_of(settings: Settings, name: str) -> Mapping[str, Any]:
    from sqlalchemy.exc import SQLAlchemyError

    from manager.db import reason
    from manager.exclusive import RunsElsewhere
    from manager.jobs import FORESEEN, NoSuchJob, run_once

    try:
        return run_once(settings, name)
    except NoSuchJob as error:
        raise click.BadParameter(str(error), param_hint="--run") from None
    except RunsElsewhere as error:
        raise click.ClickException(f"{error}. Try again when it has ended.") from None
    except FORESEEN as error:
        told = reason(error) if isinstance(error, SQLAlchemyError) else str(error)
        raise click.ClickException(f"{name}: {told}") from None


def _started() -> Settings:
    """Return the settings; ends the command with exit code 2 if they do not open what is in the database."""
    from manager import sealed

    settings = start(Plane.CONTROL)
    try:
        sealed.demand(settings)
    except sealed.KeysMissing as error:
        raise click.UsageError(str(error)) from None
    return settings


_MORE = (
    "More of the same, as JSON; besides the above: retry_after_s (of errors), hold_after, response_bytes, compress,"
    " seed, status (of every answer: 204, 304 or an error), rate (requests a second and key), fail_first (so many"
    " errors, then answers), close_after_answer, answers_per_connection (then the kept connection breaks),"
    " keep_alive_s."
    " Settable while it runs, for everyone and for single keys: PUT /__mock__/behaviour and /__mock__/keys."
)


@click.command("mock-provider")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8090, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--latency-ms", type=click.FloatRange(0), help="Pause before each answer.")
@click.option("--chunk-interval-ms", type=click.FloatRange(0), help="Pause between the events of a stream.")
@click.option("--chunks", type=click.IntRange(1), help="Content events of a stream, whatever the answer is.")
@click.option("--error-rate", type=click.FloatRange(0, 1), help="Share of requests answered with an error.")
@click.option("--error-status", type=click.IntRange(400, 599), help="Status of those errors.")
@click.option("--abort-rate", type=click.FloatRange(0, 1), help="Share of answers cut off in the middle.")
@click.option("--behaviour", "more", default="{}", help=_MORE)
def mock_provider(host: str, port: int, more: str, **chosen: float | None) -> None:
    """Play an OpenAI-compatible provider, for work without one.

    It takes the keys in LLM_PROXY_MOCK_KEYS (any if empty) and refuses withering tokens, so that a failed key swap is
    seen.
    """
    from manager.mock_provider import behaviour, server

    settings = start(Plane.MOCK)
    wanted = {name: value for name, value in chosen.items() if value is not None}
    try:
        plan = behaviour.from_json(more.encode(), behaviour.parse(wanted))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--behaviour") from None
    server.serve(host, port, plan, settings.mock_keys)
