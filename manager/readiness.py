"""Whether the service could work now, told soon: a part that hangs counts as one that has failed."""

import time

import redis
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from manager import db
from manager.probe import Probe
from manager.publisher import Publisher

SECONDS = 1.0


class Readiness:
    """Asks database and Redis side by side."""

    def __init__(
        self, engine: sa.Engine, client: "redis.Redis", publisher: Publisher, seconds: float = SECONDS
    ) -> None:
        self._engine = engine
        self._redis = client
        self._publisher = publisher
        self._seconds = seconds
        self._probes = [Probe(ask) for ask in (self._ask_database, self._ask_redis, self._ask_both)]

    def checks(self) -> dict[str, bool]:
        """Return what is fine and what is not: database, schema, redis, published."""
        found = dict.fromkeys(("database", "schema", "redis", "published"), False)
        deadline = time.monotonic() + self._seconds
        for answer in [probe.begin() for probe in self._probes]:
            try:
                found |= answer.result(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                continue
        return found

    def _ask_database(self) -> dict[str, bool]:
        try:
            return {"database": True, "schema": db.is_current(self._engine)}
        except SQLAlchemyError:
            return {}

    def _ask_redis(self) -> dict[str, bool]:
        try:
            return {"redis": bool(self._redis.ping())}
        except redis.RedisError:
            return {}

    def _ask_both(self) -> dict[str, bool]:
        return {"published": self._publisher.is_ready()}
