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
    from manager.running import Post
    from manager.workers import Workers

TEND_SECONDS = 0.1


@click.command()
@click.option("--workers", "count", type=click.IntRange(1, 256), help="Processes; LLM_PROXY_WORKERS by default.")
def proxy(count: int | None) -> None:
    """Run the proxy's workers: SIGTERM lets requests finish, SIGHUP replaces the workers without dropping any.

    SIGUSR1 lets requests finish, too, and waits for SIGHUP; `llm-proxy drain` and `llm-proxy reload` send these.
    """
    from manager.running import Post
    from manager.supervisor import StartError
    from manager.workers import Workers

    settings = start(Plane.DATA)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        number = count or settings.workers
        workers = Workers(settings, number)
        asked = _signals()
        with contextlib.closing(Post(settings.data_dir, settings.proxy_port, number)) as post:
            with contextlib.suppress(KeyboardInterrupt):
                _run(workers, post, asked)
    except (StartError, OSError) as error:
        raise click.ClickException(str(error)) from None


def _signals() -> list[int]:
    """Return where signals wait from now on to be heeded."""
    from manager import running

    asked: list[int] = []
    for number in (running.RELOAD, running.DRAIN):
        signal.signal(number, lambda number, _: asked.append(number))
    return asked


def _run(workers: Workers, post: Post, asked: list[int]) -> None:
    from manager.running import Phase

    try:
        workers.start()
        post.tell(Phase.SERVING)
        is_draining = False
        while True:
            workers.tend()
            if asked:
                is_draining = _heed(asked.pop(0), workers, post)
            elif is_draining and workers.is_drained():
                is_draining = False
                post.tell(Phase.DRAINED)
            time.sleep(TEND_SECONDS)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Stopping is bounded in time.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        post.tell(Phase.DRAINING)
        workers.stop()


def _heed(number: int, workers: Workers, post: Post) -> bool:
    """Do what a signal says; return whether requests are being waited for."""
    from manager.running import RELOAD, Phase

    failure = workers.reload() if number == RELOAD else ""
    if number != RELOAD:
        workers.drain()
    phase = Phase.SERVING if workers.pids() else Phase.DRAINING
    post.answer(phase, failure)
    return phase is Phase.DRAINING
