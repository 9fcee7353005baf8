"""What every subject needs beside itself: the provider, and the product's Valkey, manager and jobs, in a new folder."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from manager import db, programs
from manager.supervisor import Program, Supervisor
from shared import sealing, settings
from shared.settings import Plane, Settings
from tests.bench import answers, provider
from tests.bench.feed_relay import FeedRelay
from tests.bench.machine import Cores
from tests.bench.provider import Provider
from tests.ports import free_port

MOST_REQUESTS = 10**12


@dataclass(frozen=True)
class Services:
    """Running services. `data_plane` is the environment of a worker of the product."""

    cores: Cores
    folder: Path
    configuration: Settings
    provider: Provider
    supervisor: Supervisor = field(repr=False)
    session: requests.Session = field(repr=False)
    data_plane: Mapping[str, str] = field(repr=False)
    relay: FeedRelay = field(repr=False)

    def token(self, tls: bool = False, max_requests: int = MOST_REQUESTS, **more: Any) -> str:
        """Return a new token of a new project that calls the provider."""
        secret = settings.generate_secret()
        body = {"name": secret, "api_key": answers.PROVIDER_KEY, "base_url": self.provider.url(tls)}
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
        upstream = provider.prepared(folder)
        with pytest.MonkeyPatch.context() as patch:
            _set_environment(patch, folder, upstream.ca_file)
            configuration = settings.load(Plane.SUPERVISOR)
            data_plane = settings.child_environment(Plane.DATA, {})
            valkey = programs.valkey(configuration)
            planes = [_niced(programs.manager(configuration, {})), _niced(programs.jobs(configuration, {}))]
        supervisor.start(valkey)
        db.migrate(configuration.database_url)
        supervisor.start(upstream.program, *planes)
        session = requests.Session()
        session.headers["authorization"] = f"Bearer {configuration.management_token}"
        with session, FeedRelay(Path(configuration.redis_url.removeprefix("unix://")), folder) as relay:
            yield Services(cores, folder, configuration, upstream, supervisor, session, data_plane, relay)
    finally:
        supervisor.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _set_environment(patch: pytest.MonkeyPatch, folder: Path, ca_file: Path) -> None:
    for variable in settings.variables():
        patch.delenv(variable.name, raising=False)
        patch.delenv(f"{variable.name}_FILE", raising=False)
    wanted = {
        "MANAGEMENT_TOKEN": settings.generate_secret(),
        "ENCRYPTION_KEYS": f"k1:{sealing.generate_key()}",
        "TOKEN_PEPPER": settings.generate_secret(),
        "LLM_PROXY_API_RATE": "999999999 per second",
        "LLM_PROXY_DATA_DIR": str(folder),
        "LLM_PROXY_MANAGER_PORT": str(free_port()),
        "LLM_PROXY_METRICS_PORT": str(free_port()),
        "LLM_PROXY_PROXY_PORT": str(free_port()),
        "LLM_PROXY_UPSTREAM_CA_FILE": str(ca_file),
    }
    for name, value in wanted.items():
        patch.setenv(name, value)


def _niced(program: Program) -> Program:
    """What collects usage works behind the workers' backs; it must not take the load's time."""
    return replace(program, command=("nice", "-n", "19", *program.command))
