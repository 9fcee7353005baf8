"""Lets several workers listen on one port: the kernel spreads new connections over them (SO_REUSEPORT).

Load it beside main.py and start mitmdump with `--no-server`: it listens when everything is running, not before, so
that no connection ever meets a half-loaded worker. mitmproxy's reverse mode has no option for sharing a port,
therefore its listening method is replaced; nothing else of the server instance changes.
"""

import asyncio
from typing import cast

from mitmproxy import ctx
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.proxy.mode_servers import AsyncioServerInstance, ReverseInstance
from mitmproxy.proxy.mode_specs import ProxyMode


async def listen_shared(instance: AsyncioServerInstance[ProxyMode], host: str, port: int) -> list[asyncio.Server]:
    """Listen on a port that other processes of the same user may listen on, too."""
    return [await asyncio.start_server(instance.handle_stream, host or None, port, reuse_port=True)]


class SharedPort:
    """Opens the port as the last step of starting; a worker that cannot listen ends."""

    async def running(self) -> None:
        """Listen. An exception here is logged by mitmproxy and ends the process with exit code 1."""
        ReverseInstance.listen = listen_shared  # type: ignore[assignment,method-assign]
        servers = cast(Proxyserver, ctx.master.addons.get("proxyserver")).servers
        ctx.options.update(server=True)
        await servers.update([ProxyMode.parse(mode) for mode in ctx.options.mode])
        if not all(instance.is_running for instance in servers):
            raise OSError(f"cannot listen on {ctx.options.listen_host}:{ctx.options.listen_port}")


addons = [SharedPort()]
