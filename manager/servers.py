"""The servers that the settings name: whether they answer, and if not, which variable is to be looked at, and why."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
from sqlalchemy.exc import SQLAlchemyError

from manager import db
from manager.probe import Probe
from manager.stores import connect_redis
from shared import logs
from shared.settings import Settings

SECONDS = 5.0
_LONGEST_REASON = 300
log = logs.get("servers")


class ServersAway(Exception):
    """Servers do not answer; one line for each."""


@dataclass(frozen=True)
class Away:
    """A server that does not answer; the reason is one line without a password."""

    variable: str
    reason: str


def find_away(settings: Settings, seconds: float = SECONDS) -> list[Away]:
    """Ask all servers side by side; return those that have not answered in time."""
    deadline = time.monotonic() + seconds
    asked = [(name, Probe(ask).begin()) for name, ask in _questions(settings).items()]
    redact, found = logs.Redactor(settings.secrets()), []
    for variable, answer in asked:
        try:
            reason = answer.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            reason = f"no answer within {seconds:g} s"
        if reason:
            found.append(Away(variable, redact(" ".join(reason.split()))[:_LONGEST_REASON]))
    return found


def demand(settings: Settings, seconds: float = SECONDS) -> None:
    """Raise ServersAway unless the database answers, and Redis if it is not the one that is yet to be started."""
    away = [
        f"{server.variable}: {server.reason}"
        for server in find_away(settings, seconds)
        if not (server.variable == "REDIS_URL" and settings.redis_is_embedded)
    ]
    if away:
        raise ServersAway("\n".join(away))


def report_meanwhile(settings: Settings, seconds: float = SECONDS) -> threading.Thread:
    """Report in a thread of its own, so that a service that is starting need not wait."""
    thread = threading.Thread(target=report, args=(settings, seconds), daemon=True)
    thread.start()
    return thread


def report(settings: Settings, seconds: float = SECONDS) -> None:
    """Log which servers are away. A service starts without them, and works as soon as they are there."""
    for server in find_away(settings, seconds):
        log.error("server_away", variable=server.variable, reason=server.reason)


def _questions(settings: Settings) -> dict[str, Callable[[], str]]:
    return {
        "DATABASE_URL": lambda: _ask_database(settings),
        "REDIS_URL": lambda: _ask_redis(settings.redis_url),
    }


def _ask_database(settings: Settings) -> str:
    """Return why the database does not answer, empty if it does."""
    try:
        engine = db.open_engine(settings)
        try:
            db.is_current(engine)
        finally:
            engine.dispose()
    except SQLAlchemyError as error:
        return db.reason(error)
    except (TypeError, ValueError):  # Its words may quote a part of the password.
        return "is malformed"
    return ""


def _ask_redis(url: str) -> str:
    """Return why Redis does not answer, empty if it does."""
    try:
        client = connect_redis(url)
        try:
            client.ping()
        finally:
            client.close()
    except redis.RedisError as error:
        return str(error)
    except (TypeError, ValueError):  # Its words may quote a part of the password.
        return "is malformed"
    return ""
