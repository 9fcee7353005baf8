"""Proves, before anything is started or sent, that the ports of this machine's services are free.

Whoever holds a port is taken for the service that belongs there: it would be sent the management token, or a token of
the demo. A proxy port that another proxy shares (SO_REUSEPORT) would even seem to work.
"""

import errno
import socket

from shared.settings import Settings


class PortTaken(Exception):
    """A service could not listen, or not alone; the message names the variable to change."""


def check(settings: Settings) -> None:
    """Raise PortTaken unless this machine can listen on each of its ports alone."""
    usual, inspector = "LLM_PROXY_LISTEN_HOST", "LLM_PROXY_INSPECTOR_HOST"
    hosts = {usual: settings.listen_host, inspector: settings.inspector_host}
    wanted = {
        "LLM_PROXY_PROXY_PORT": (usual, settings.proxy_port),
        "LLM_PROXY_MANAGER_PORT": (usual, settings.manager_port),
        "LLM_PROXY_METRICS_PORT": (usual, settings.metrics_port),
        "LLM_PROXY_INSPECTOR_PORT": (inspector, settings.inspector_port),
    }
    for variable, (host, port) in wanted.items():
        can_listen = [_can_listen(*each, f"port {port} ({variable})") for each in _addresses(hosts[host], port)]
        if not any(can_listen):
            raise PortTaken(f"{hosts[host]!r} ({host}) is no address of this machine")


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return []
    return [(family, address) for family, _, _, _, address in found]


def _can_listen(family: socket.AddressFamily, address: tuple[object, ...], name: str) -> bool:
    """Tell whether this machine has the address. Raises PortTaken if it has, and may not listen there."""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # Connections that have ended keep nobody from a port, but whoever listens does.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # localhost is ::1, too, where there is no IPv6
            return False
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"{name} is taken; set another one") from None
        raise PortTaken(f"{name} cannot be listened on: {error.strerror}") from None
    return True
