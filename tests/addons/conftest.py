"""The vocabulary of the data plane's tests: flows, calls, callers, and rooms driven by hand."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from addons.call import Call, Calls
from addons.route_table import RouteTable
from shared import providers, sealing, tokens
from shared.models import Caller, Project, UpstreamKey
from shared.providers import ProviderTable
from tests.ports import free_port

PEPPER = b"a pepper for tests, never used elsewhere"
PROVIDER_KEY = "sk-proj-the-real-provider-key-0123456789"


@pytest.fixture
def unused_tcp_port() -> int:
    """A port for a server."""
    return free_port()


@pytest.fixture
def unused_tcp_port_factory() -> Callable[[], int]:
    """Ports for servers."""
    return free_port


@pytest.fixture(scope="session")
def table() -> ProviderTable:
    return providers.load()


@pytest.fixture(scope="session")
def route_table() -> RouteTable:
    return RouteTable()


@pytest.fixture(scope="session")
def keyring() -> sealing.Keyring:
    return sealing.Keyring.parse(f"test:{sealing.generate_key()}")


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def token() -> str:
    return tokens.generate()


@pytest.fixture
def caller(keyring: sealing.Keyring) -> Caller:
    key = UpstreamKey("key-1", keyring.seal(PROVIDER_KEY, "upstream_keys:key-1"))
    return Caller("token-1", "a label", Project("project-1", "openai", True, "", (key,), 1), 7)


@pytest.fixture
def admitted(calls: Calls, caller: Caller, table: ProviderTable) -> "tuple[http.HTTPFlow, Call]":
    """A chat request as it stands after admission."""
    flow = request("POST", "/v1/chat/completions", body=b'{"model":"gpt-4o"}')
    call = calls.of(flow)
    call.candidates = table.match("POST", "/v1/chat/completions").routes
    call.caller, call.provider, call.route = caller, table.providers["openai"], call.candidates["openai"]
    call.is_admitted = True
    return flow, call


def request(method: str = "GET", path: str = "/v1/models", body: bytes = b"", **headers: str) -> http.HTTPFlow:
    """A flow whose request has come in; underscores in header names stand for dashes."""
    flow = tflow.tflow()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    flow.request = http.Request.make(method, f"http://upstream.invalid{path}", body, named)
    return flow


async def pass_through(hook_name: str, flow: http.HTTPFlow, *rooms: object) -> None:
    """Call one hook of each room in order, as mitmproxy does: whatever raises is not seen by the next."""
    for room in rooms:
        if hook := getattr(room, hook_name, None):
            outcome = hook(flow)
            if inspect.isawaitable(outcome):
                await outcome


@pytest.fixture
def moment() -> datetime:
    return datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_task_is_left_behind() -> Iterator[None]:
    yield
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    assert not [task for task in asyncio.all_tasks(loop) if not task.done()]
