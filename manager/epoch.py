"""Whether Redis is ours and holds everything: the id of the database that it belongs to, and the epoch.

The epoch is the id of the run of Redis to which all was published. While there is none, the data plane admits nobody.
"""

import secrets
from typing import cast

import redis
from sqlalchemy.exc import SQLAlchemyError

from manager import database_identity, db
from manager.db import Sessions
from manager.publishing import PublishError, WrongRedis, publishing
from shared import redis_schema

# What a publisher leaves behind that dies is forgotten after so long. Nobody publishes everything for longer.
_ATTEMPT_SECONDS = 86_400
_UNREADABLE = b"unreadable"


class Epoch:
    """Binds Redis to our database, and declares it ready. All but is_ready raise PublishError if Redis is away."""

    def __init__(self, client: "redis.Redis", sessions: Sessions) -> None:
        self._redis = client
        self._sessions = sessions

    def begin(self, *, is_adopting: bool = False) -> str:
        """Begin to publish everything; returns the key of this attempt, which `declare` takes.

        If Redis is flushed meanwhile, this is gone, too, and nobody else's attempt stands for it.
        Raises WrongRedis if Redis belongs to another database, unless it is adopted.
        """
        own, attempt = database_identity.of(self._sessions), f"{redis_schema.EPOCH}:next:{secrets.token_hex(8)}"
        with publishing("Redis could not be bound to the database"):
            self._redis.set(redis_schema.DATABASE, own, nx=not is_adopting)
            self._check(own)
            self._redis.set(attempt, self._run_id(), ex=_ATTEMPT_SECONDS)
        return attempt

    def declare(self, attempt: str) -> None:
        """Declare Redis ready, if all that was published since the attempt began is there still."""
        with publishing("Redis could not be declared ready"):
            if self._redis.get(attempt) != self._run_id():
                raise PublishError("Redis could not be declared ready: it was flushed or restarted meanwhile")
            with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.rename(attempt, redis_schema.EPOCH)
                pipeline.persist(redis_schema.EPOCH)
                pipeline.execute()

    def is_current(self) -> bool:
        """Tell whether everything has been published to Redis since it was started. Raises WrongRedis."""
        own = database_identity.of(self._sessions)
        with publishing("Redis cannot be asked for its epoch"):
            owner = self._check(own)
            return owner is not None and self._read(redis_schema.EPOCH) == self._run_id()

    def is_ready(self) -> bool:
        """Tell whether the database and Redis answer, and everything of the one has been published to the other."""
        try:
            return not self.is_foreign() and bool(self._redis.exists(redis_schema.EPOCH))
        except (PublishError, SQLAlchemyError, redis.RedisError):
            return False

    def is_foreign(self) -> bool:
        """Tell whether Redis belongs to another database; writes nothing. Raises PublishError, SQLAlchemyError."""
        with db.reading(self._sessions) as session:
            own = database_identity.known(session) or ""
        with publishing():
            return self._read(redis_schema.DATABASE) not in (None, own.encode())

    def check_owner(self) -> None:
        """Raise WrongRedis if Redis belongs to another database."""
        own = database_identity.of(self._sessions)
        with publishing():
            self._check(own)

    def _check(self, own: str) -> bytes | None:
        owner = self._read(redis_schema.DATABASE)
        if owner is not None and owner != own.encode():
            told = owner.decode(errors="backslashreplace")
            raise WrongRedis(
                f"Redis belongs to another database ({told}) than ours ({own}). Either DATABASE_URL or REDIS_URL is "
                "wrong; or, if Redis is to say what this database says, run `llm-proxy reconcile --adopt`."
            )
        return owner

    def _read(self, key: str) -> bytes | None:
        try:
            return cast(bytes | None, self._redis.get(key))
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            return _UNREADABLE

    def _run_id(self) -> bytes:
        return str(cast(dict[str, object], self._redis.info("server"))["run_id"]).encode()
