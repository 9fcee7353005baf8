"""Everything on one machine: the data folder and its owner, the programs in their order, and the demo's target."""

import fcntl
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from manager import db, local_http, ports, programs, sealed, servers
from manager.demo import Demo, Report, Target
from manager.epoch import Epoch
from manager.publishing import WrongRedis
from manager.stores import connect_redis
from manager.supervisor import Supervisor
from shared import settings as environment
from shared.settings import Settings


class FolderTaken(Exception):
    """A folder is not ours alone: another installation runs on it, or another user can reach it."""


@dataclass(frozen=True)
class Urls:
    """Where the parts of this installation are reached from this machine."""

    proxy: str
    manager: str
    health: str
    inspector: str

    @classmethod
    def of(cls, settings: Settings) -> "Urls":
        """Return the URLs of an installation."""
        base = f"http://{programs.url_host(settings.listen_host)}"
        ports = (settings.proxy_port, settings.manager_port, settings.metrics_port)
        proxy, manager, health = (f"{base}:{port}" for port in ports)
        return cls(proxy, manager, health, settings.inspector_url)


# The demo's project, when the bundled provider answers: each start of `up` puts that one's address and key into it.
MOCK_PROJECT = "demo (mock provider)"
_SERVICES = (programs.manager, programs.jobs, programs.proxy, programs.inspector)


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Make the data folder if need be and keep others off it. Raises FolderTaken, OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderTaken(f"another llm-proxy is running on {folder}") from None
        yield folder


def start_all(supervisor: Supervisor, settings: Settings, secrets: Mapping[str, str]) -> None:
    """Start Valkey (unless REDIS_URL names a server), migrate the database, then start the services side by side.

    Nothing is started unless the ports are free and the servers answer. Raises PortTaken, ServersAway, StartError;
    SQLAlchemyError if the database cannot be migrated, KeysMissing if these keys do not open what is in it, WrongRedis
    if Redis belongs to another database.
    """
    ports.check(settings)
    servers.demand(settings)
    if settings.redis_is_embedded:
        _make_private(environment.embedded_socket(settings.data_dir).parent)
        supervisor.start(programs.valkey(settings))
    db.migrate(settings.database_url, db.Tuning.of(settings))
    sealed.demand(settings)
    _demand_own_redis(settings)
    _forget_metrics(programs.metrics_folder(settings))
    supervisor.start(*[make(settings, secrets) for make in _SERVICES])


def _demand_own_redis(settings: Settings) -> None:
    engine, client = db.open_engine(settings), connect_redis(settings.redis_url)
    try:
        Epoch(client, db.create_sessions(engine)).check_owner()
    except WrongRedis as error:
        if not settings.redis_is_embedded:
            raise
        folder = settings.data_dir / programs.VALKEY_FOLDER
        raise WrongRedis(f"{error} The embedded Redis may be begun anew as well: remove {folder}.") from error
    finally:
        client.close()
        engine.dispose()


def _forget_metrics(folder: Path) -> None:
    # Nobody is running yet. A later process with the number of an earlier one would go on where that one was killed.
    for left in folder.glob("*.db"):
        left.unlink()


def _make_private(folder: Path) -> None:
    # The socket may lie in the system's temporary folder, where somebody else could have made this folder first.
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise FolderTaken(f"{folder} belongs to another user or is open to others; remove it or move the data folder")


def run_demo(supervisor: Supervisor, settings: Settings, model: str) -> Report:
    """Send a streamed chat to the real provider if its key is there, else to the bundled one. Raises DemoError."""
    key = settings.demo_provider_key
    target = Target("demo (OpenAI)", key, "", model) if key else _bundled_provider(supervisor, model)
    urls = Urls.of(settings)
    return Demo(urls.manager, urls.proxy, settings.management_token).run(target)


def _bundled_provider(supervisor: Supervisor, model: str) -> Target:
    port, key = _free_port(), f"sk-mock-{environment.generate_secret()}"
    supervisor.start(programs.mock_provider(port, key))
    url = f"http://127.0.0.1:{port}"

    def seen_keys() -> list[str]:
        with local_http.session() as session:
            recent = session.get(f"{url}/__mock__/ledger", timeout=5).json()["recent"]
        return sorted({entry["key"] for entry in recent})

    return Target(MOCK_PROJECT, key, url, model, seen_keys)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
