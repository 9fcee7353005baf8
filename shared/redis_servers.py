"""Connections of both planes to Redis: to a server, or to whichever of several has our data.

Of several, each connection finds out whenever it opens, and one that is told "not here any longer" is closed, so that
the next one finds out anew. Everything above sees one server.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

import redis
import redis.asyncio
import redis.asyncio.connection
import redis.asyncio.retry
import redis.retry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError
from redis.maint_notifications import MaintNotificationsConfig

from shared import redis_urls
from shared.redis_finder import Finder, NotFound
from shared.redis_schema import EPOCH
from shared.redis_urls import Servers

# A younger connection is kept whatever it is told: its server was just found, and asking on and on would be a storm.
YOUNG_SECONDS = 1.0

_TURNS_AWAY = {"READONLY", "MOVED", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "LOADING"}
_FAULTS = (RedisError, OSError, NotFound)


class Seed[Made](Protocol):
    """Makes a connection to a server that is asked where our data is."""

    def __call__(self, *, host: str, port: int) -> Made: ...


def turns_away(error: Exception) -> bool:
    """Tell whether a server says by this reply that another one, or nobody at present, has our data."""
    code = getattr(error, "status_code", None) or str(error).partition(" ")[0]
    return isinstance(error, ResponseError) and code in _TURNS_AWAY


def client(url: str, seconds: float) -> "redis.Redis":
    """Return a client whose connections and calls take so long at most, and are not tried again.

    Raises ValueError and TypeError if the URL is malformed; they may quote it.
    """
    options = _options(url, seconds, _CLASSES)
    retry = redis.retry.Retry(NoBackoff(), 0)
    return redis.Redis.from_pool(redis.ConnectionPool(**options, retry=retry))


def async_pool(url: str, seconds: float, max_connections: int) -> "redis.asyncio.BlockingConnectionPool":
    """Return a pool of which the same is true; whoever finds it empty waits for as long. Raises as `client` does."""
    options = {"max_connections": max_connections, "timeout": seconds} | _options(url, seconds, _ASYNC_CLASSES)
    return redis.asyncio.BlockingConnectionPool(**options, retry=redis.asyncio.retry.Retry(NoBackoff(), 0))


class ServerConnection(redis.Connection):
    """A connection of the control plane. Without a finder, its server is the one that it is given."""

    def __init__(self, *, finder: Finder | None = None, seed: Seed[redis.Connection] | None = None, **options: Any):
        self._finder = finder
        self._seed = seed or redis.Connection
        self._since = 0.0
        super().__init__(**options)

    def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        """Connect to whoever has our data; raises ConnectionError."""
        if self._finder is None or self.is_connected:
            super().connect_check_health(check_health, retry_socket_connect)
            return
        for seed in self._finder.candidates():
            try:
                self.host, self.port = self._finder.owner(seed, self._ask(*seed, *self._finder.question))
                super().connect_check_health(check_health, retry_socket_connect)
                return
            except _FAULTS as error:
                self.disconnect()
                self._finder.failed(seed, error)
        raise redis.ConnectionError(self._finder.failure())

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Greet, and make sure that this is the right server."""
        super().on_connect_check_health(check_health)
        if self._finder is not None:
            self.send_command(*self._finder.proof, check_health=False)
            self._finder.check(self.read_response())
        self._since = time.monotonic()

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read a reply; a server that turns us away costs the connection."""
        try:
            return super().read_response(*arguments, **options)
        except ResponseError as error:
            if not turns_away(error) or time.monotonic() - self._since < YOUNG_SECONDS:
                raise
            self.disconnect()
            raise redis.ConnectionError(f"turned away: {error}") from error

    def _ask(self, host: str, port: int, *question: str) -> Any:
        connection = self._seed(host=host, port=port)
        try:
            connection.connect()
            connection.send_command(*question)
            return connection.read_response()
        finally:
            connection.disconnect()


class TlsServerConnection(ServerConnection, redis.SSLConnection):
    """The same over TLS."""


class AsyncServerConnection(redis.asyncio.Connection):
    """A connection of the data plane: what ServerConnection is, for asyncio."""

    def __init__(
        self, *, finder: Finder | None = None, seed: Seed[redis.asyncio.Connection] | None = None, **options: Any
    ) -> None:
        self._finder = finder
        self._seed = seed or redis.asyncio.Connection
        self._since = 0.0
        super().__init__(**options)

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        """Connect to whoever has our data; raises ConnectionError."""
        if self._finder is None or self.is_connected:
            await super().connect_check_health(check_health, retry_socket_connect)
            return
        for seed in self._finder.candidates():
            try:
                self.host, self.port = self._finder.owner(seed, await self._ask(*seed, *self._finder.question))
                await super().connect_check_health(check_health, retry_socket_connect)
                return
            except _FAULTS as error:
                await self.disconnect(nowait=True)
                self._finder.failed(seed, error)
        raise redis.ConnectionError(self._finder.failure())

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Greet, and make sure that this is the right server."""
        await super().on_connect_check_health(check_health)
        if self._finder is not None:
            await self.send_command(*self._finder.proof, check_health=False)
            self._finder.check(await self.read_response())
        self._since = time.monotonic()

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read a reply; a server that turns us away costs the connection."""
        try:
            return await super().read_response(*arguments, **options)
        except ResponseError as error:
            if not turns_away(error) or time.monotonic() - self._since < YOUNG_SECONDS:
                raise
            await self.disconnect(nowait=True)
            raise redis.ConnectionError(f"turned away: {error}") from error

    async def _ask(self, host: str, port: int, *question: str) -> Any:
        connection = self._seed(host=host, port=port)
        try:
            await connection.connect()
            await connection.send_command(*question)
            return await connection.read_response()
        finally:
            await connection.disconnect(nowait=True)


class AsyncTlsServerConnection(AsyncServerConnection, redis.asyncio.SSLConnection):
    """The same over TLS."""


# For each scheme: the class of our connections, and of those to whoever is asked.
_Classes = dict[str, tuple[type[Any], type[Any]]]
_CLASSES: _Classes = {
    "redis": (ServerConnection, redis.Connection),
    "rediss": (TlsServerConnection, redis.SSLConnection),
    "unix": (redis.UnixDomainSocketConnection, redis.Connection),
}
_ASYNC_CLASSES: _Classes = {
    "redis": (AsyncServerConnection, redis.asyncio.Connection),
    "rediss": (AsyncTlsServerConnection, redis.asyncio.SSLConnection),
    "unix": (redis.asyncio.UnixDomainSocketConnection, redis.asyncio.Connection),
}


def _options(url: str, seconds: float, classes: _Classes) -> dict[str, Any]:
    connection_class, seed_class = classes[url.partition(":")[0].partition("+")[0]]
    if redis_urls.names_several(url):
        options = _finding_options(redis_urls.parse(url), seconds, seed_class)
    else:
        options = _limits(seconds) | cast(dict[str, Any], parse_url(url))
    return options | {"connection_class": connection_class}


def _finding_options(servers: Servers, seconds: float, seed_class: type[Any]) -> dict[str, Any]:
    # A server that does not answer must leave time for the next one.
    seed_options = servers.seed_login | _typed(servers.options) | _limits(seconds / 2)
    return {
        **_typed(servers.options),
        **servers.login,
        **_limits(seconds),
        "host": servers.seeds[0][0],  # Until the finder has told, for messages.
        "port": servers.seeds[0][1],
        "db": servers.db,
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
        "finder": Finder(servers, key_slot(EPOCH.encode()), seconds),
        # Nothing that shows the password when the pool is shown.
        "seed": lambda host, port: seed_class(host=host, port=port, **seed_options),
    }


def _typed(options: Mapping[str, str]) -> dict[str, Any]:
    readers: dict[str, Callable[[str], Any]] = {
        "protocol": int,
        "ssl_check_hostname": lambda text: text.lower() == "true",
        "ssl_cert_reqs": str.lower,
    }
    return {name: readers.get(name, str)(text) for name, text in options.items()}


def _limits(seconds: float) -> dict[str, float]:
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds}
