"""The engine without the product: one addon, which swaps the key and streams. `python -O -m tests.bench.plain_engine`.

What it reaches is what the engine itself costs.
"""

import argparse
import asyncio
import gc
import logging
import signal
from urllib.parse import urlsplit

from mitmproxy import ctx
from mitmproxy.http import HTTPFlow
from mitmproxy.options import Options
from mitmproxy.proxy.layer import NextLayer
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode

from addons.engine import loop, quick_headers
from addons.engine.master import EngineMaster
from addons.engine.worker import GARBAGE_THRESHOLDS
from tests.bench import answers


class Swap:
    """Sends everything to one provider, with its key, and passes bodies on as they come."""

    def __init__(self, provider: str, ca_file: str) -> None:
        self._ca_file = ca_file
        parts = urlsplit(provider)
        self._scheme, self._host, self._port = parts.scheme, parts.hostname or "", parts.port or 0

    def running(self) -> None:
        """Trust the provider's authority."""
        ctx.options.update(ssl_verify_upstream_trusted_ca=self._ca_file, connection_strategy="lazy")

    def next_layer(self, choice: NextLayer) -> None:
        """Everything is HTTP."""
        choice.layer = HttpLayer(choice.context, HTTPMode.transparent)

    def requestheaders(self, flow: HTTPFlow) -> None:
        """Address and key."""
        flow.request.scheme, flow.request.host, flow.request.port = self._scheme, self._host, self._port
        flow.request.headers["authorization"] = f"Bearer {answers.PROVIDER_KEY}"
        flow.request.stream = True

    def responseheaders(self, flow: HTTPFlow) -> None:
        """Hold nothing."""
        if flow.response is not None:
            flow.response.stream = True


async def _serve(chosen: argparse.Namespace) -> None:
    quick_headers.install()
    logging.getLogger().setLevel(logging.WARNING)
    options = Options(listen_host="127.0.0.1", listen_port=chosen.port, confdir=chosen.confdir)
    master = EngineMaster(options, [Swap(chosen.provider, chosen.ca_file)])
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, master.shutdown)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    await master.run()


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="tests.bench.plain_engine", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--provider", required=True, help="URL of the provider")
    parser.add_argument("--confdir", required=True, help="folder of mitmproxy's certificates")
    parser.add_argument("--ca-file", required=True, help="PEM file of the provider's authority")
    loop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
