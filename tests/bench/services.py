"""What every subject needs beside itself: the provider, and the product's Valkey, manager and jobs, in a new folder."""

import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from manager import db, local_http, programs
from manager.supervisor import Program, Supervisor
from shared import sealing, settings
from shared.settings import Plane, Settings
from tests.bench import answers
from tests.bench.machine import Cores

ROOT = Path(__file__).parents[2]
MOST_REQUESTS = 10**12


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Tell whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def plain_environment(**more: str) -> dict[str, str]:
    """Return an environment without any variable of the product, in which this package can be imported."""
    return settings.child_environment(None, {"PYTHONPATH": str(ROOT), **more})


@dataclass(frozen=True)
class Services:
    """Running services. `data_plane` is the environment of a worker of the product."""

    cores: Cores
    folder: Path
    configuration: Settings
    provider_port: int
    provider_tls_port: int
    supervisor: Supervisor = field(repr=False)
    session: requests.Session = field(repr=False)
    data_plane: Mapping[str, str] = field(repr=False)

    @property
    def ca_file(self) -> Path:
        """The authority of the provider's certificate."""
        return self.folder / "ca.pem"

    def provider_url(self, tls: bool) -> str:
        """Return where the provider listens."""
        return f"https://127.0.0.1:{self.provider_tls_port}" if tls else f"http://127.0.0.1:{self.provider_port}"

    def answered(self) -> int:
        """Return how many chats the provider has answered."""
        with local_http.session() as session:
            return int(session.get(f"{self.provider_url(tls=False)}/count", timeout=30).text)

    def token(self, tls: bool = False, max_requests: int = MOST_REQUESTS, **more: Any) -> str:
        """Return a new token of a new project that calls the provider."""
        secret = settings.generate_secret()
        body = {"name": secret, "api_key": answers.PROVIDER_KEY, "base_url": self.provider_url(tls)}
        project = self._manage("/manage/projects", body)["id"]
        wanted = {"project_id": project, "expires_in": 86_400, "max_requests": max_requests, **more}
        return str(self._manage("/manage/tokens", wanted)["token"])

    def _manage(self, path: str, body: object) -> Any:
        url = f"http://127.0.0.1:{self.configuration.manager_port}{path}"
        answer = self.session.post(url, json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def running(cores: Cores) -> Iterator[Services]:
    """Start the services; stop them and remove their folder afterwards. Raises StartError."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    supervisor = Supervisor(folder / "logs")
    try:
        _make_certificate(folder)
        with pytest.MonkeyPatch.context() as patch:
            _set_environment(patch, folder)
            configuration = settings.load(Plane.SUPERVISOR)
            data_plane = settings.child_environment(Plane.DATA, {})
            valkey = programs.valkey(configuration)
            planes = [_niced(programs.manager(configuration, {})), _niced(programs.jobs(configuration, {}))]
        ports = free_port(), free_port()
        supervisor.start(valkey)
        db.migrate(configuration.database_url)
        supervisor.start(provider(folder, *ports), *planes)
        session = requests.Session()
        session.headers["authorization"] = f"Bearer {configuration.management_token}"
        with session:
            yield Services(cores, folder, configuration, *ports, supervisor, session, data_plane)
    finally:
        supervisor.stop()
        shutil.rmtree(folder, ignore_errors=True)


def provider(folder: Path, port: int, tls_port: int) -> Program:
    """Return the program of the provider, whose certificate stands in the folder."""
    command = [sys.executable, "-O", "-m", "tests.bench.provider", "--port", str(port), "--tls-port", str(tls_port)]
    command += ["--certificate", str(folder / "provider.pem")]
    return Program("provider", tuple(command), plain_environment(), lambda: accepts(tls_port))


def _make_certificate(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "provider.pem"))


def _set_environment(patch: pytest.MonkeyPatch, folder: Path) -> None:
    for variable in settings.variables():
        patch.delenv(variable.name, raising=False)
        patch.delenv(f"{variable.name}_FILE", raising=False)
    wanted = {
        "MANAGEMENT_TOKEN": settings.generate_secret(),
        "ENCRYPTION_KEYS": f"k1:{sealing.generate_key()}",
        "TOKEN_PEPPER": settings.generate_secret(),
        "LLM_PROXY_DATA_DIR": str(folder),
        "LLM_PROXY_MANAGER_PORT": str(free_port()),
        "LLM_PROXY_METRICS_PORT": str(free_port()),
        "LLM_PROXY_PROXY_PORT": str(free_port()),
        "LLM_PROXY_UPSTREAM_CA_FILE": str(folder / "ca.pem"),
    }
    for name, value in wanted.items():
        patch.setenv(name, value)


def _niced(program: Program) -> Program:
    """What collects usage works behind the workers' backs; it must not take the load's time."""
    return replace(program, command=("nice", "-n", "19", *program.command))
