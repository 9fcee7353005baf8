"""Lets several workers listen on one port: the kernel spreads new connections over them (SO_REUSEPORT).

mitmproxy's reverse mode listens without that option and offers no way to ask for it, so its listening method is
replaced by one that does. Nothing else of the server instance changes.
"""

import asyncio

from mitmproxy.proxy.mode_servers import AsyncioServerInstance, ReverseInstance


async def _listen(instance: AsyncioServerInstance, host: str, port: int) -> list[asyncio.Server]:
    return [await asyncio.start_server(instance.handle_stream, host, port, reuse_port=True)]


def install() -> None:
    """Make every reverse-mode listener of this process share its port."""
    ReverseInstance.listen = _listen
