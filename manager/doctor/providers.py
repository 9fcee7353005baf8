"""Providers: whether their origins can be reached from here."""

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from manager import db
from manager.doctor.finding import Finding, fault, well
from manager.doctor.sql import is_there
from manager.tables import Project
from shared import providers
from shared.settings import Settings

SECONDS = 5.0


def look(settings: Settings) -> Iterator[Finding]:
    """Connect to the origin of each active project, with TLS where it has TLS; nothing is asked there."""
    for origin in sorted(origins(settings)):
        yield reach(origin, settings)


def origins(settings: Settings) -> set[str]:
    """Return where active projects send requests to; none while there is no database."""
    if not is_there(settings):
        return set()
    table = providers.load(settings.providers_file).providers
    engine = db.open_engine(settings)
    try:
        with db.reading(db.create_sessions(engine)) as session:
            wanted = sa.select(Project.provider, Project.base_url).where(Project.is_active)
            found = {(name, url) for name, url in session.execute(wanted)}
    except SQLAlchemyError:
        return set()
    finally:
        engine.dispose()
    return {url or table[name].base_url for name, url in found if url or name in table}


def reach(url: str, settings: Settings) -> Finding:
    """Connect, and tell how that went."""
    parts = urlsplit(url)
    subject, address = f"provider {parts.netloc}", (parts.hostname or "", parts.port or _port(parts.scheme))
    try:
        with socket.create_connection(address, timeout=SECONDS) as connection:
            if parts.scheme == "https":
                trusted = ssl.create_default_context(cafile=settings.upstream_ca_file)
                with trusted.wrap_socket(connection, server_hostname=address[0]):
                    pass
    except ssl.SSLCertVerificationError as error:
        return fault(
            subject, f"its certificate is not trusted: {error.verify_message}", "see LLM_PROXY_UPSTREAM_CA_FILE"
        )
    except socket.gaierror:
        return fault(subject, "its name is not known", "look at the project's base URL, or at DNS")
    except OSError as error:
        return fault(
            subject, f"cannot be reached: {error.strerror or 'no answer in time'}", "look at firewall and route"
        )
    return well(subject, "can be reached")


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
