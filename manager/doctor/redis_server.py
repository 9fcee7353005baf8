"""Redis: whether it answers, is new enough, never forgets by itself, and whose it is."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import redis
from sqlalchemy.exc import SQLAlchemyError

from manager import db
from manager.doctor.finding import Finding, fault, warning, well
from manager.doctor.sql import skew
from manager.epoch import Epoch
from manager.publishing import PublishError, WrongRedis
from manager.stores import connect_redis
from shared.settings import Settings

LEAST_MAJOR = 7
_SUBJECT = "Redis"


def look(settings: Settings) -> Iterator[Finding]:
    """Ask it; the embedded one may not have been started."""
    client = connect_redis(settings.redis_url)
    try:
        client.ping()
        yield _version(client.info("server"))
        yield from _memory(client.info())
        seconds, micros = client.time()
        yield skew(_SUBJECT, datetime.fromtimestamp(seconds + micros / 1e6, UTC))
        yield from _owner(settings, client)
    except redis.RedisError as error:
        if settings.redis_is_embedded:
            yield well(_SUBJECT, "the embedded one is not running; `llm-proxy up` starts it")
        else:
            yield fault(_SUBJECT, f"does not answer: {type(error).__name__}", "mend REDIS_URL, or start the server")
    except (TypeError, ValueError):
        yield fault(_SUBJECT, "REDIS_URL is malformed", "see docs/configuration.md")
    finally:
        client.close()


def _version(info: dict[str, Any]) -> Finding:
    version = str(info.get("valkey_version") or info.get("redis_version") or "?")
    if not version.split(".")[0].isdigit() or int(version.split(".")[0]) < LEAST_MAJOR:
        return fault(_SUBJECT, f"is version {version}", f"take Redis {LEAST_MAJOR}.0 or later, or Valkey")
    return well(_SUBJECT, f"answers; version {version}")


def _memory(info: dict[str, Any]) -> Iterator[Finding]:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        fix = "CONFIG SET maxmemory-policy noeviction: else tokens and counters are forgotten when it is full"
        yield fault(_SUBJECT, f"evicts keys ({policy})", fix)
    if not int(info.get("aof_enabled", 0)):
        fix = "switch appendonly on: else counts since the last snapshot are lost when it crashes"
        yield warning(_SUBJECT, "keeps no append-only file", fix)


def _owner(settings: Settings, client: "redis.Redis") -> Iterator[Finding]:
    engine = db.open_engine(settings)
    try:
        Epoch(client, db.create_sessions(engine)).check_owner()
    except WrongRedis as error:
        yield fault(_SUBJECT, str(error), "give each database a Redis of its own")
    except (PublishError, SQLAlchemyError):
        return  # Told of above, or not migrated yet.
    finally:
        engine.dispose()
