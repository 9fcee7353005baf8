"""One worker: `python -O -m addons.engine.worker`. Ends with exit code 1 if it cannot start."""

import argparse
import asyncio
import logging
import os
import signal
import socket

from mitmproxy.exceptions import OptionsError
from mitmproxy.options import Options

from addons.engine import loop
from addons.engine.master import EngineMaster

# They talk about every connection or frame.
_TALKATIVE = ("tornado", "asyncio", "hpack")


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="addons.engine.worker", description=__doc__)
    parser.add_argument("--listen-host", default="")
    parser.add_argument("--listen-port", type=int, default=0)
    parser.add_argument("--socket", type=int, help="file descriptor of a bound socket to listen on instead")
    parser.add_argument("--ready", type=int, help="file descriptor that gets a byte when this worker listens")
    parser.add_argument("--confdir", required=True, help="folder of mitmproxy's certificates")
    loop.run(_serve(parser.parse_args()))


async def _serve(chosen: argparse.Namespace) -> None:
    from addons import main as rooms  # Importing it reads the settings, and ends the process if they are faulty.

    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    options = Options(listen_host=chosen.listen_host, listen_port=chosen.listen_port, confdir=chosen.confdir)
    bound = socket.socket(fileno=chosen.socket) if chosen.socket is not None else None
    try:
        master = EngineMaster(options, [rooms], bound)
    except OptionsError as error:
        raise SystemExit(f"llm-proxy cannot start: {error}") from None
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, master.shutdown)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    await master.run(lambda: _tell(chosen.ready))


def _tell(ready: int | None) -> None:
    if ready is not None:
        os.write(ready, b".")


if __name__ == "__main__":
    main()
