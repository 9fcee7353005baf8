"""One worker: `python -O -m addons.engine.worker`. Ends with exit code 1 if it cannot start."""

import argparse
import asyncio
import gc
import logging
import os
import signal
import socket

from mitmproxy.exceptions import OptionsError
from mitmproxy.options import Options

from addons.engine import loop, quick_contexts, quick_headers, quick_options, quick_validation
from addons.engine.leave import Leave
from addons.engine.master import EngineMaster
from addons.engine.provider_lines import Limits
from shared import logs, settings

# A request leaves about a hundred objects in cycles, which only the garbage collector finds. Those of requests that run
# while it looks grow old, so it has to look among the old ones, too, every few thousand requests: else memory grows.
GARBAGE_THRESHOLDS = (20_000, 10, 3)
# They talk about every connection or frame.
_TALKATIVE = ("tornado", "asyncio", "hpack")


class Stop:
    """What a stop signal does: the first one lets requests finish, a second one does not."""

    def __init__(self, master: EngineMaster, seconds: float) -> None:
        self._master = master
        self._seconds = seconds
        self._leaving: asyncio.Task[None] | None = None

    def __call__(self) -> None:
        """A signal has come."""
        if self._leaving is not None:
            self._master.shutdown()  # type: ignore[no-untyped-call]
        else:
            self._leaving = asyncio.get_running_loop().create_task(self._leave())

    async def _leave(self) -> None:
        try:
            await Leave(self._master.listener).take(self._seconds)
        finally:
            self._master.shutdown()  # type: ignore[no-untyped-call]


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="addons.engine.worker", description=__doc__)
    parser.add_argument("--listen-host", default="")
    parser.add_argument("--listen-port", type=int, default=0)
    parser.add_argument("--socket", type=int, action="append", help="descriptor of a bound socket to listen on instead")
    parser.add_argument("--ready", type=int, help="file descriptor that gets a byte when this worker listens")
    parser.add_argument("--drain-seconds", type=int, default=30, help="what running requests get after a stop signal")
    parser.add_argument("--confdir", required=True, help="folder of mitmproxy's certificates")
    loop.run(_serve(parser.parse_args()))


async def _serve(chosen: argparse.Namespace) -> None:
    from addons import main as rooms  # Importing it reads the settings, and ends the process if they are faulty.

    quick_contexts.install()
    quick_headers.install()
    quick_options.install()
    quick_validation.install()
    logs.write_off_thread()
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    options = Options(listen_host=chosen.listen_host, listen_port=chosen.listen_port, confdir=chosen.confdir)
    bound = [socket.socket(fileno=number) for number in chosen.socket or ()]
    try:
        master = EngineMaster(options, [rooms], bound, _limits(settings.load(settings.Plane.DATA)))
    except OptionsError as error:
        raise SystemExit(f"llm-proxy cannot start: {error}") from None
    stop = Stop(master, chosen.drain_seconds)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _settle()
    await master.run(lambda: _tell(chosen.ready))


def _limits(configuration: settings.Settings) -> Limits:
    return Limits(
        configuration.upstream_connections,
        configuration.upstream_queue,
        configuration.upstream_idle_seconds,
        configuration.upstream_age_seconds,
    )


def _settle() -> None:
    """Look for garbage less often, and never again among what was there before the first request."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def _tell(ready: int | None) -> None:
    if ready is not None:
        os.write(ready, b".")


if __name__ == "__main__":
    main()
