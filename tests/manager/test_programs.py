"""Rules of what each program of a machine is given."""

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from manager import programs
from manager.ready_pipe import ReadyPipe
from manager.supervisor import Program
from shared import sealing, settings
from shared.settings import Plane, Settings, variables


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """The supervisor's settings, taken from the environment as in life."""
    monkeypatch.setenv("ENCRYPTION_KEYS", f"k1:{sealing.generate_key()}")
    monkeypatch.setenv("TOKEN_PEPPER", settings.generate_secret())
    monkeypatch.setenv("MANAGEMENT_TOKEN", settings.generate_secret())
    monkeypatch.setenv("LLM_PROXY_DATA_DIR", str(tmp_path))
    return settings.load(Plane.SUPERVISOR)


@pytest.fixture
def readiness() -> Iterator[ReadyPipe]:
    """A pipe for a worker."""
    made = ReadyPipe()
    yield made
    made.close()


def test_all_proxy_workers_add_up_their_metrics_in_one_folder(
    configuration: Settings, readiness: ReadyPipe, tmp_path: Path
) -> None:
    workers = [programs.worker(configuration, number, [], readiness) for number in (1, 2)]

    assert {worker.environment["PROMETHEUS_MULTIPROC_DIR"] for worker in workers} == {f"{tmp_path}/metrics"}


def test_the_operator_may_choose_the_folder_of_the_metrics(
    configuration: Settings, readiness: ReadyPipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", f"{tmp_path}/elsewhere")

    worker = programs.worker(settings.load(Plane.DATA), 1, [], readiness)

    assert worker.environment["PROMETHEUS_MULTIPROC_DIR"] == f"{tmp_path}/elsewhere"


def test_the_manager_does_not_write_into_the_workers_metrics(
    configuration: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    manager, jobs = programs.manager(configuration, {}), programs.jobs(configuration, {})

    assert not {name for each in (manager, jobs) for name in each.environment if name.startswith("PROMETHEUS")}


# Secrets and environments

SECRETS = {name: f"{name}-0123456789-abcdefghij" for name in ("MANAGEMENT_TOKEN", "TOKEN_PEPPER", "ENCRYPTION_KEYS")}
PLANES: dict[str, tuple[Callable[[Settings], Program], Plane | None]] = {
    "valkey": (programs.valkey, None),
    "manager": (lambda configuration: programs.manager(configuration, SECRETS), Plane.CONTROL),
    "jobs": (lambda configuration: programs.jobs(configuration, SECRETS), Plane.CONTROL),
    "proxy": (lambda configuration: programs.proxy(configuration, SECRETS), Plane.DATA),
    "inspector": (lambda configuration: programs.inspector(configuration, SECRETS), Plane.INSPECTOR),
    "mock-provider": (lambda _: programs.mock_provider(8090, "sk-mock-0123456789"), Plane.MOCK),
}


@pytest.mark.parametrize("name", PLANES)
def test_the_environment_of_a_program_holds_the_variables_of_its_plane_only(
    configuration: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make, plane = PLANES[name]
    for variable in variables():
        monkeypatch.setenv(variable.name, "given")
        monkeypatch.setenv(f"{variable.name}_FILE", "given")

    environment = make(configuration).environment

    own = {variable.name for variable in variables() if plane is not None and plane & variable.planes}
    assert {variable.name for variable in variables() if variable.name in environment} == own
    assert {variable.name for variable in variables() if f"{variable.name}_FILE" in environment} == own
    assert environment["PATH"] == os.environ["PATH"]  # noqa: TID251 - what a program inherits


@pytest.mark.parametrize("name", ["manager", "jobs", "proxy"])
def test_a_program_is_given_the_secrets_of_its_plane(configuration: Settings, name: str) -> None:
    make, plane = PLANES[name]

    environment = make(configuration).environment

    assert environment.items() >= {"TOKEN_PEPPER": SECRETS["TOKEN_PEPPER"]}.items()
    assert (environment.get("MANAGEMENT_TOKEN") == SECRETS["MANAGEMENT_TOKEN"]) is (plane == Plane.CONTROL)


@pytest.mark.parametrize("name", PLANES)
def test_no_secret_stands_in_a_command_line(configuration: Settings, name: str) -> None:
    database, store = "postgresql://u:db-password@db/llm", "redis://:redis-password@store"
    loaded = replace(configuration, database_url=database, redis_url=store, demo_provider_key="sk-the-providers-key")
    program = PLANES[name][0](loaded)

    words = " ".join(program.command)

    assert program.name.startswith(name) and program.command[0].startswith("/")
    assert not [secret for secret in [*loaded.secrets(), *SECRETS.values(), "sk-mock-"] if secret in words]
    assert "sk-mock-" not in repr(program) and SECRETS["TOKEN_PEPPER"] not in repr(program)


def test_the_inspector_is_given_no_secret_of_the_others(configuration: Settings) -> None:
    environment = programs.inspector(configuration, SECRETS).environment

    assert not set(SECRETS) & set(environment)


def test_the_mock_provider_takes_its_key_from_the_environment() -> None:
    program = programs.mock_provider(8090, "sk-mock-0123456789")

    assert program.environment["LLM_PROXY_MOCK_KEYS"] == "sk-mock-0123456789"
    assert program.command[-2:] == ("--port", "8090")


def test_a_worker_inherits_its_sockets_and_gets_time_to_finish(configuration: Settings, readiness: ReadyPipe) -> None:
    program = programs.worker(replace(configuration, drain_seconds=7), 1, [41, 42], readiness)

    words = program.command
    assert [words[at + 1] for at, word in enumerate(words) if word == "--socket"] == ["41", "42"]
    assert words[words.index("--drain-seconds") + 1] == "7" and program.stop_seconds > 7
    assert program.descriptors == (readiness.writer, 41, 42)


def test_a_worker_is_ready_when_it_says_so(configuration: Settings, readiness: ReadyPipe) -> None:
    program = programs.worker(configuration, 1, [], readiness)
    before = program.is_ready()

    os.write(readiness.writer, b".")

    assert (before, program.is_ready(), program.is_ready()) == (False, True, True)


# ReadyPipe


@pytest.fixture
def website() -> Iterator[str]:
    """A server whose /healthz and /readyz answer 200; /elsewhere leads there, everything else is missing."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = dict.fromkeys(("/healthz", "/readyz", "/__mock__/ledger"), 200) | {"/elsewhere": 302}
            self.send_response(known.get(self.path, 404))
            self.send_header("location", "/healthz")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens and that nobody else is given."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_url_is_up_when_it_answers_200(website: str, closed_port: int) -> None:
    urls = [f"{website}/healthz", f"{website}/missing", f"http://127.0.0.1:{closed_port}/healthz"]

    assert [programs.is_up(url) for url in urls] == [True, False, False]


def test_no_proxy_of_the_environment_is_asked_for_it(
    website: str, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port}")

    assert programs.is_up(f"{website}/healthz")


def test_a_url_that_leads_elsewhere_is_not_up(website: str) -> None:
    assert not programs.is_up(f"{website}/elsewhere")


def test_a_service_is_ready_when_its_page_is_up(configuration: Settings, website: str, closed_port: int) -> None:
    def states(port: int) -> list[bool]:
        given = replace(configuration, manager_port=port)
        made = [programs.manager(given, {}), programs.jobs(given, {}), programs.mock_provider(port, "sk-mock-01")]
        return [program.is_ready() for program in made]

    assert states(int(website.rpartition(":")[2])) == [True] * 3
    assert states(closed_port) == [False] * 3


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_proxy_is_ready_when_it_accepts_connections(configuration: Settings, host: str, closed_port: int) -> None:
    with socket.create_server((host, 0)) as listener:
        ports = [listener.getsockname()[1], closed_port]
        made = [programs.proxy(replace(configuration, listen_host=host, proxy_port=port), {}) for port in ports]

        assert [program.is_ready() for program in made] == [True, False]


def test_the_embedded_redis_is_ready_when_it_answers_and_open_to_this_user_only(configuration: Settings) -> None:
    program = programs.valkey(configuration)
    before = program.is_ready()

    server = subprocess.Popen(program.command, env=dict(program.environment), stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not program.is_ready():
            assert time.monotonic() < deadline and server.poll() is None, "Valkey did not start"
            time.sleep(0.01)
        mode = settings.embedded_socket(configuration.data_dir).stat().st_mode
    finally:
        server.kill()
        server.wait()

    assert before is False
    assert mode & 0o777 == 0o600
    assert (configuration.data_dir / "valkey").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("listen", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("10.1.2.3", "10.1.2.3"),
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
        ("fd00::7", "[fd00::7]"),
        ("localhost", "localhost"),
    ],
)
def test_a_listener_is_reached_under_its_own_host_or_loopback(listen: str, host: str) -> None:
    assert programs.url_host(listen) == host
