"""Rules of several Redis servers: both planes find the one that has their data, and find it again when it changes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from addons.settlement import Settlement
from addons.store import Store, StoreUnavailable
from manager import db
from manager.collector import Collector, lag
from manager.publisher import Publisher, PublishError
from manager.stores import connect_redis
from manager.tables import Project, Request, Token
from shared import redis_servers
from shared.models import Caller
from shared.redis_schema import EPOCH, Revoked, encode_control
from tests.manager.conftest import EVENT, Rows
from tests.ports import free_port
from tests.redis_topologies import MASTER, Cluster, Server, Watched, cluster, until, watched
from tests.tls_relay import TlsRelay

# They wait for each other's servers if they run side by side.
pytestmark = pytest.mark.xdist_group("topologies")

PASSWORD = "an-unguessable-password"
USER = ("on", f">{PASSWORD}", "~llmproxy:{v1}:*", "&llmproxy:{v1}:*", "+@all", "-@dangerous", "+info", "+role")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Cluster without data, which tests leave in another order."""
    folder = tmp_path_factory.mktemp("cluster")
    with cluster(folder) as made:
        made.add_replica(folder / "replica")
        yield made


@pytest.fixture
def emptied(nodes: Cluster) -> Cluster:
    nodes.owner.client.flushall()
    return nodes


@pytest.fixture
def exchangeable(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path / "servers") as made:
        yield made


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path / "servers", PASSWORD) as made:
        yield made


class Planes:
    """Both planes on one Redis, with a published token."""

    def __init__(self, url: str, folder: Path) -> None:
        database = f"sqlite:///{folder}/planes.db"
        db.migrate(database)
        self.engine = db.create_engine(database)
        sessions = db.create_sessions(self.engine)
        self.rows = Rows(sessions)
        self.rows.token(self.rows.project("sealed-key"))
        self.client = connect_redis(url)
        self.publisher = Publisher(self.client, sessions)
        self.collector = Collector(self.client, sessions, "collector")
        self.store = Store.connect(url, 1000)

    async def admit(self) -> int:
        """Admit a request and return its number."""
        caller = await self.store.admit("d1", ["openai"])
        assert isinstance(caller, Caller), caller
        return caller.sequence

    async def admit_again(self) -> int:
        """Admit a request as soon as it is possible."""
        async with asyncio.timeout(20):
            while True:
                try:
                    return await self.admit()
                except StoreUnavailable:
                    await asyncio.sleep(0.02)

    async def use(self, *request_ids: str) -> None:
        """Append the usage of requests, and wait until a replica has it, if there is one."""
        [project], [token] = self.rows.all(Project), self.rows.all(Token)
        event = replace(EVENT, project_id=str(project.id), token_id=str(token.id))
        await self.store.settle([Settlement(replace(event, request_id=request_id)) for request_id in request_ids])

    def republish(self) -> None:
        """Republish what was lost, as soon as it is possible."""

        def is_done() -> bool:
            try:
                return self.publisher.republish_if_lost()
            except PublishError as error:
                raise redis.RedisError(str(error)) from error

        until(is_done)

    def collect(self) -> set[str]:
        """Collect as the jobs process does, until nothing is left; return all requests in SQL."""
        until(lambda: self.collector.collect_once(1) == 0 and lag(self.client) == 0)
        return {request.request_id for request in self.rows.all(Request)}


@asynccontextmanager
async def planes_on(url: str, folder: Path) -> AsyncIterator[Planes]:
    planes = Planes(url, folder)
    try:
        yield planes
    finally:
        await planes.store.done()
        planes.client.close()
        planes.engine.dispose()


async def test_what_one_worker_tells_all_of_a_cluster_hear(nodes: Cluster) -> None:
    store = Store.connect(nodes.url(), 1000)
    message = Revoked("token", "t1")
    try:
        async with asyncio.timeout(10), store.control() as messages:
            for node in nodes.alive:  # Any of them passes it on to all.
                node.client.publish("llmproxy:{v1}:control", encode_control(message))

            heard = [await anext(messages) for _ in nodes.alive]
    finally:
        await store.done()

    assert heard == [message] * len(nodes.alive)


async def test_a_user_needs_few_rights_beyond_our_keys(emptied: Cluster, tmp_path: Path) -> None:
    for node in emptied.alive:
        node.client.execute_command("ACL", "SETUSER", "app", *USER, "+cluster|slots")

    async with planes_on(emptied.url(f"app:{PASSWORD}@"), tmp_path) as planes:
        planes.publisher.republish_all()
        await planes.use("r1")

        assert await planes.admit() == 1
        assert planes.collect() == {"r1"}


@pytest.mark.parametrize(
    ("kind", "change", "query"),
    [
        ("locked", "kill", f"?sentinel_password=of-{PASSWORD}"),
        ("exchangeable", "fail_over", ""),
        ("emptied", "fail_over", ""),
        ("emptied", "kill", ""),
        ("emptied", "migrate", ""),
    ],
    ids=["sentinel, killed", "sentinel, exchanged", "cluster, exchanged", "cluster, killed", "cluster, migrated"],
)
async def test_both_planes_go_on_with_whoever_has_the_data_now(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, change: str, query: str
) -> None:
    servers: Watched | Cluster = request.getfixturevalue(kind)
    async with planes_on(servers.url(f":{PASSWORD}@" if query else "") + query, tmp_path) as planes:
        assert planes.publisher.republish_if_lost()
        assert [await planes.admit(), await planes.admit()] == [1, 2]
        await planes.use("r1")
        assert planes.collect() == {"r1"}
        await planes.use("r2", "r3")
        assert planes.client.wait(0 if change == "migrate" else 1, 5000) >= (change != "migrate")
        await asyncio.sleep(redis_servers.YOUNG_SECONDS)  # Older connections are given up when they are turned away.

        getattr(servers, change)()

        assert await planes.admit_again() == 3
        planes.republish()
        assert not planes.publisher.republish_if_lost()
        await planes.use("r4")
        assert planes.collect() == {"r1", "r2", "r3", "r4"}
        assert await planes.admit() == 4


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_wrong_password_is_told_without_it(nodes: Cluster, scheme: str) -> None:
    client = connect_redis(f"{scheme}://app:wrong-{PASSWORD}@{nodes.owner.address}")

    with pytest.raises(redis.ConnectionError, match="invalid username-password") as told:
        client.ping()

    assert PASSWORD not in str(told.value) and PASSWORD not in repr(client)


def test_a_sentinel_that_knows_no_such_master_leads_nowhere(tmp_path: Path) -> None:
    sentinel = Server(tmp_path / "sentinel", ("--sentinel",))
    try:
        client = connect_redis(f"redis+sentinel://{sentinel.address}/{MASTER}")

        with pytest.raises(redis.ConnectionError, match="knows no such server"):
            client.ping()
    finally:
        sentinel.stop()


def test_a_sentinel_that_still_names_a_demoted_master_leads_nowhere(tmp_path: Path) -> None:
    replica = Server(tmp_path / "replica", ("--replicaof", f"127.0.0.1 {free_port()}"))
    config = f"sentinel monitor {MASTER} 127.0.0.1 {replica.port} 1\n"
    sentinel = Server(tmp_path / "sentinel", ("--sentinel",), config)
    try:
        client = connect_redis(f"redis+sentinel://{sentinel.address}/{MASTER}")

        with pytest.raises(redis.ConnectionError, match="not a master"):
            client.ping()
    finally:
        sentinel.stop()
        replica.stop()


async def test_a_server_that_turns_us_away_for_good_is_not_stormed(tmp_path: Path) -> None:
    server = Server(tmp_path / "replica", ("--replicaof", f"127.0.0.1 {free_port()}"))
    client, store = connect_redis(f"redis://{server.address}"), Store.connect(f"redis://{server.address}", 1000)
    try:
        before = server.client.info("stats")["total_connections_received"]
        for _ in range(50):
            with pytest.raises(redis.ReadOnlyError):
                client.set("key", "value")
            with pytest.raises(StoreUnavailable):
                await store.settle([Settlement(EVENT)])
        assert server.client.info("stats")["total_connections_received"] - before == 2

        await asyncio.sleep(redis_servers.YOUNG_SECONDS)
        with pytest.raises(redis.ConnectionError, match="turned away"):
            client.set("key", "value")
        with pytest.raises(StoreUnavailable):
            await store.settle([Settlement(EVENT)])
        server.client.execute_command("REPLICAOF", "NO", "ONE")

        client.set("key", "value")
        await store.settle([Settlement(EVENT)])
        assert server.client.info("stats")["total_connections_received"] - before == 4
    finally:
        await store.done()
        client.close()
        server.stop()


async def test_tls_covers_whoever_is_asked_and_whoever_has_the_data(tmp_path: Path) -> None:
    relay = TlsRelay(tmp_path)
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-announce-port")
    server = Server(tmp_path / "node", (*options, str(relay.port)))
    relay.start(server.port)
    try:
        server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: server.client.exists(EPOCH) == 0)
        url = f"rediss+cluster://localhost:{relay.port}"

        async with planes_on(f"{url}?ssl_ca_certs={relay.authority}", tmp_path) as planes:
            planes.publisher.republish_all()
            assert await planes.admit() == 1

        with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            connect_redis(url).ping()
    finally:
        relay.stop()
        server.stop()
