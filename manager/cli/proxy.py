"""`llm-proxy proxy`: the data plane of one machine, as a process manager or container runs it."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import TYPE_CHECKING

import click

from manager.cli.start import start
from shared.settings import Plane

if TYPE_CHECKING:
    from manager.workers import Workers

TEND_SECONDS = 0.1


@click.command()
@click.option("--workers", "count", type=click.IntRange(1, 256), help="Processes; LLM_PROXY_WORKERS by default.")
def proxy(count: int | None) -> None:
    """Run the proxy's workers: SIGTERM lets requests finish, SIGHUP replaces the workers without dropping any."""
    from manager.supervisor import StartError
    from manager.workers import Workers

    settings = start(Plane.DATA)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        workers = Workers(settings, count or settings.workers)
        with contextlib.suppress(KeyboardInterrupt):
            _run(workers)
    except (StartError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _run(workers: Workers) -> None:
    reloads: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: reloads.append(number))
    try:
        workers.start()
        while True:
            workers.tend()
            if reloads:
                reloads.clear()
                workers.reload()
            time.sleep(TEND_SECONDS)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Stopping is bounded in time.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        workers.stop()
