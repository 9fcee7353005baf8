"""A whole installation of real processes: Valkey, manager, jobs, proxies with a port each, and the mock provider."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
import redis
import requests
from prometheus_client.parser import text_string_to_metric_families

from manager import db, programs
from manager.stores import connect_redis
from manager.supervisor import Program, Supervisor
from shared import sealing, settings
from shared.flow_schema import FLOWS, STRANGERS
from shared.settings import Plane, Settings
from tests.ports import accepts
from tests.ports import free_port as free_port

ADDONS = Path(__file__).parents[2] / "addons"


def until[T](condition: Callable[[], T], seconds: float = 20.0) -> T:
    """Wait until a condition holds and return what it gave; fail after a bounded time."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s: {condition}"
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Token:
    """A token as an application holds it."""

    id: str
    secret: str
    project_id: str


@dataclass
class Installation:
    """The product, as its users reach it."""

    settings: Settings
    folder: Path
    data_plane: dict[str, str] = field(repr=False)
    proxy_urls: list[str]
    metrics_urls: list[str]
    manager_url: str
    mock_url: str
    provider_key: str
    supervisor: Supervisor = field(repr=False)
    session: requests.Session = field(repr=False)

    def manage(self, method: str, path: str, body: object = None) -> Any:
        answer = self.session.request(method, self.manager_url + path, json=body, timeout=30)
        assert answer.ok, f"{method} {path} was answered {answer.status_code}: {answer.text}"
        return answer.json() if answer.content else None

    def project(self, name: str, **fields: Any) -> str:
        body = {"name": name, "api_key": self.provider_key, "base_url": self.mock_url, **fields}
        return str(self.manage("POST", "/manage/projects", body)["id"])

    def token(self, project_id: str, **fields: Any) -> Token:
        made = self.manage("POST", "/manage/tokens", {"project_id": project_id, "expires_in": 3600, **fields})
        return Token(made["id"], made["token"], project_id)

    def client(self, token: Token | str, worker: int = 0, **options: Any) -> openai.OpenAI:
        secret = token if isinstance(token, str) else token.secret
        url = f"{self.proxy_urls[worker]}/v1"
        return openai.OpenAI(api_key=secret, base_url=url, **{"max_retries": 0, "timeout": 20, **options})

    def send(
        self, token: str, method: str = "GET", path: str = "/v1/models", worker: int = 0, **more: Any
    ) -> requests.Response:
        headers = {"authorization": f"Bearer {token}", **more.pop("headers", {})}
        return requests.request(method, self.proxy_urls[worker] + path, headers=headers, timeout=20, **more)

    def ledger(self) -> dict[str, Any]:
        return dict(requests.get(f"{self.mock_url}/__mock__/ledger", timeout=10).json())

    def answered(self) -> dict[str, tuple[int, int]]:
        """Return tokens of prompt and completion of each whole answer, by the provider's id."""
        told = requests.get(f"{self.mock_url}/__mock__/answered", timeout=10).json()["answered"]
        return {number: (used["prompt_tokens"], used["completion_tokens"]) for number, used in told.items()}

    def forget_ledger(self) -> None:
        requests.delete(f"{self.mock_url}/__mock__/ledger", timeout=10).raise_for_status()

    def release(self, **how: int) -> None:
        requests.post(f"{self.mock_url}/__mock__/release", json=how or None, timeout=10).raise_for_status()

    def usage_of(self, token: Token, count: int) -> list[dict[str, Any]]:
        """Return the requests of a token in SQL, newest first, once there are that many."""
        path = f"/manage/requests?token_id={token.id}&limit=200"
        return until(lambda: rows if len(rows := self.manage("GET", path)["items"]) >= count else None) or []

    def metric(self, name: str, worker: int = 0, **labels: str) -> float:
        """Return the sum of a worker's samples of that name with these labels among theirs."""
        text = requests.get(f"{self.metrics_urls[worker]}/metrics", timeout=10).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return sum(
            sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def redis(self) -> "redis.Redis":
        return connect_redis(self.settings.redis_url)

    def is_published(self) -> bool:
        return requests.get(f"{self.manager_url}/readyz", timeout=10).status_code == 200

    def logs(self, program: str = "*") -> str:
        paths = sorted((self.folder / "logs").glob(f"{program}.log"))
        return "\n".join(path.read_text(errors="replace") for path in paths)


def stock_proxy(configuration: Settings, environment: dict[str, str], number: int, port: int, metrics: int) -> Program:
    """mitmdump as anybody would start it, on a port of its own."""
    command = [str(Path(sys.executable).with_name("mitmdump")), "-q", "-s", str(ADDONS / "main.py")]
    command += ["--mode", "reverse:http://upstream.invalid", "--listen-host", "127.0.0.1", "--listen-port", str(port)]
    command += ["--set", f"confdir={configuration.data_dir / 'mitmproxy' / str(number)}"]
    command += ["--save-stream-file", str(configuration.data_dir / f"flows-{number}.mitm")]
    own = {**environment, "LLM_PROXY_METRICS_PORT": str(metrics)}
    url = f"http://127.0.0.1:{metrics}/healthz"
    return Program(f"proxy-{number}", tuple(command), own, lambda: programs.is_up(url))


def engine_proxy(configuration: Settings, environment: dict[str, str], number: int, port: int, metrics: int) -> Program:
    """One worker of the engine, on a port of its own."""
    command = [sys.executable, "-O", "-m", "addons.engine.worker", "--listen-host", "127.0.0.1"]
    command += ["--listen-port", str(port), "--confdir", str(configuration.data_dir / "mitmproxy" / str(number))]
    own = {**environment, "LLM_PROXY_METRICS_PORT": str(metrics)}
    return Program(f"proxy-{number}", tuple(command), own, lambda: accepts(port))


RUNNERS = {"mitmdump": stock_proxy, "engine": engine_proxy}


@contextmanager
def installed(
    database_url: str = "",
    providers: str = "",
    runner: str = "engine",
    redis_url: str = "",
    workers: int = 2,
    redis_timeout_ms: int = 500,
    **variables: str,
) -> Iterator[Installation]:
    """Start everything on free ports in a new folder; stop everything and remove the folder afterwards.

    Without a `redis_url`, a Valkey of its own is started as well. `variables` are more of the environment.
    `providers` is the text of an own provider table; it stands in the installation's `settings.providers_file`.
    """
    folder = Path(tempfile.mkdtemp(prefix="journey-"))
    table = folder / "providers.toml"
    table.write_text(providers)
    environment = {
        "MANAGEMENT_TOKEN": settings.generate_secret(),
        "ENCRYPTION_KEYS": f"k1:{sealing.generate_key()}",
        "TOKEN_PEPPER": settings.generate_secret(),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "LLM_PROXY_API_RATE": "999999999 per second",
        "LLM_PROXY_DATA_DIR": str(folder),
        "LLM_PROXY_MANAGER_PORT": str(free_port()),
        "LLM_PROXY_METRICS_PORT": str(free_port()),
        # Journeys count sockets: what lies in the engine's pool has to go soon.
        "LLM_PROXY_UPSTREAM_IDLE_SECONDS": "1",
        "LLM_PROXY_REDIS_TIMEOUT_MS": str(redis_timeout_ms),
        "LLM_PROXY_PROVIDERS_FILE": str(table) if providers else "",
        **variables,
    }
    # The environment is read now and handed to each program; other tests of this process must not find it.
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        configuration = settings.load(Plane.SUPERVISOR)
        data_plane = settings.child_environment(Plane.DATA, {})
        mock_port, key = free_port(), f"sk-canary-{settings.generate_secret()}"
        ports, metrics = [free_port() for _ in range(workers)], [free_port() for _ in range(workers)]
        valkey = programs.valkey(configuration)
        others = [
            programs.manager(configuration, {"LLM_PROXY_PUBLIC_URL": f"http://127.0.0.1:{ports[0]}"}),
            programs.jobs(configuration, {}),
            programs.mock_provider(mock_port, key),
            *[RUNNERS[runner](configuration, data_plane, at, ports[at], metrics[at]) for at in range(len(ports))],
        ]
    # Journeys kill more often than anything crashes.
    supervisor = Supervisor(folder / "logs", longest_pause=0.5)
    try:
        if configuration.redis_is_embedded:
            supervisor.start(valkey)
        db.migrate(configuration.database_url)
        supervisor.start(*others)
        session = requests.Session()
        session.headers["authorization"] = f"Bearer {environment['MANAGEMENT_TOKEN']}"
        yield Installation(
            configuration,
            folder,
            data_plane,
            [f"http://127.0.0.1:{port}" for port in ports],
            [f"http://127.0.0.1:{port}" for port in metrics],
            f"http://127.0.0.1:{configuration.manager_port}",
            f"http://127.0.0.1:{mock_port}",
            key,
            supervisor,
            session,
        )
    finally:
        supervisor.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="session", params=list(RUNNERS))
def runner(request: pytest.FixtureRequest) -> str:
    """What runs the proxies: everything holds under both."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def installation(runner: str) -> Iterator[Installation]:
    """One installation for all journeys that leave it as it was."""
    with installed(runner=runner) as running:
        yield running


@pytest.fixture(scope="session")
def hurried_installation(runner: str) -> Iterator[Installation]:
    """One installation whose table, `providers.toml` beside this file, has little patience, and a provider more."""
    with installed(providers=Path(__file__).with_name("providers.toml").read_text(), runner=runner) as running:
        yield running


@pytest.fixture
def fresh_installation(runner: str) -> Iterator[Installation]:
    """An installation that a journey may break."""
    with installed(runner=runner) as running:
        yield running


@dataclass
class Inspector:
    """A running inspector, and a script's way to its API."""

    url: str
    supervisor: Supervisor = field(repr=False)
    session: requests.Session = field(repr=False)

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=20, **more)

    def flows(self) -> dict[str, dict[str, Any]]:
        return {flow["id"]: flow for flow in self.ask("GET", "/flows").json()}

    def awaits(
        self, request_id: str, condition: Callable[[dict[str, Any]], bool] = lambda flow: True
    ) -> dict[str, Any]:
        """Return a flow once it is there and so."""
        return until(lambda: found if (found := self.flows().get(request_id)) and condition(found) else None) or {}


type StartInspector = Callable[..., Inspector]


@pytest.fixture
def start(installation: Installation, tmp_path: Path) -> Iterator[StartInspector]:
    """Starts inspectors of the installation, as `up` does."""
    running: list[Supervisor] = []

    def begin(token: str | None = None, product: Installation = installation) -> Inspector:
        port = free_port()
        given = {"REDIS_URL": product.settings.redis_url, "LLM_PROXY_INSPECTOR_PORT": str(port)}
        given |= {"LLM_PROXY_MANAGER_PORT": str(product.settings.manager_port)}
        given |= {"LLM_PROXY_DATA_DIR": str(product.folder)}
        with pytest.MonkeyPatch.context() as patch:
            for variable in settings.variables():
                patch.delenv(variable.name, raising=False)
            for name, value in (
                given | dict.fromkeys(("MANAGEMENT_TOKEN", "TOKEN_PEPPER"), "x" * 20 + "0123456789ab")
            ).items():
                patch.setenv(name, value)
            patch.setenv("ENCRYPTION_KEYS", product.data_plane["ENCRYPTION_KEYS"])
            program = programs.inspector(settings.load(Plane.SUPERVISOR), {})
        running.append(Supervisor(tmp_path / f"logs-{len(running)}"))
        running[-1].start(program)
        session = requests.Session()
        session.headers["authorization"] = f"Bearer {token}" if token else product.session.headers["authorization"]
        return Inspector(f"http://127.0.0.1:{port}", running[-1], session)

    yield begin
    for supervisor in running:
        supervisor.stop()


@pytest.fixture
def inspector(start: StartInspector, installation: Installation) -> Inspector:
    with installation.redis() as client:
        client.delete(FLOWS, STRANGERS)
    return start()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Journeys share one installation, so they stay in one test process; they may take longer than unit tests."""
    for item in items:
        if "journeys" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group("journeys"))
            item.add_marker(pytest.mark.journey)
            item.add_marker(pytest.mark.timeout(180))
