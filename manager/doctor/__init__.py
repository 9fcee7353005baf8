"""Looks for what is wrong with an installation, and says what to do about it. Changes nothing."""

from collections.abc import Iterator

from manager.doctor import folder, providers, redis_server, sql, tls
from manager.doctor.finding import Finding
from manager.doctor.listening import ports
from shared.settings import Settings


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, one after the other; each takes some seconds at most."""
    yield from folder.look(settings)
    yield from ports(settings)
    yield from tls.look(settings)
    yield from sql.look(settings)
    yield from redis_server.look(settings)
    yield from providers.look(settings)
