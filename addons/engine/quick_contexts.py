"""Quicker beginnings: what mitmproxy makes anew for each connection, each stream and each of their layers.

mitmproxy asks the kernel for the randomness of each id, and makes a server connection for each fork of a context only
to throw it away.
"""

from types import SimpleNamespace

import uuid_utils
from mitmproxy import connection, flow
from mitmproxy.proxy.context import Context


def fork(self: Context) -> Context:
    """Return what `Context.fork` returns: a context with the same client and server, and layers of its own."""
    forked = Context.__new__(Context)
    forked.client, forked.options, forked.server = self.client, self.options, self.server
    forked.layers = self.layers.copy()
    return forked


def install() -> None:
    """Put them in mitmproxy's place, for the life of this process."""
    Context.fork = fork  # type: ignore[method-assign]
    for module in (connection, flow):
        setattr(module, "uuid", SimpleNamespace(uuid4=uuid_utils.uuid4))  # noqa: B010 - mypy sees no such name there
