"""Rules of ports: each can be had alone, or the one that cannot is named with its variable."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from manager import ports
from manager.ports import PortTaken
from shared.settings import Plane, Settings
from tests.manager.conftest import SettingsOf

type Make = Callable[..., Settings]


@pytest.fixture
def held() -> Iterator[ExitStack]:
    """Keeps sockets open until the end of the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def free() -> list[int]:
    """Four different ports on which nobody listens."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(4)]
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture
def settings(settings_of: SettingsOf, free: list[int]) -> Make:
    """Settings on those ports."""
    names = [f"LLM_PROXY_{name}_PORT" for name in ("PROXY", "MANAGER", "METRICS", "INSPECTOR")]
    chosen = dict(zip(names, map(str, free), strict=True))
    return lambda host="127.0.0.1": settings_of(Plane.SUPERVISOR, **chosen, LLM_PROXY_LISTEN_HOST=host)


def listen(held: ExitStack, host: str, port: int, *, shared: bool = False) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    held.enter_context(socket.create_server((host, port), family=family, reuse_port=shared))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", ""])
def test_free_ports_are_free_and_stay_so(settings: Make, free: list[int], held: ExitStack, host: str) -> None:
    ports.check(settings(host))

    for port in free:
        listen(held, "127.0.0.1", port)


@pytest.mark.parametrize("number", [0, 1, 2, 3], ids=["proxy", "manager", "metrics", "inspector"])
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_a_port_that_somebody_listens_on_is_named_with_its_variable(
    settings: Make, free: list[int], held: ExitStack, number: int, shared: bool
) -> None:
    listen(held, "127.0.0.1", free[number], shared=shared)
    variable = f"LLM_PROXY_{('PROXY', 'MANAGER', 'METRICS', 'INSPECTOR')[number]}_PORT"

    with pytest.raises(PortTaken) as taken:
        ports.check(settings())

    assert str(taken.value) == f"port {free[number]} ({variable}) is taken; set another one"


@pytest.mark.parametrize(("ours", "theirs"), [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1"), ("", "127.0.0.1")])
def test_whoever_listens_on_more_or_fewer_addresses_is_in_the_way_too(
    settings: Make, free: list[int], held: ExitStack, ours: str, theirs: str
) -> None:
    listen(held, theirs, free[1])

    with pytest.raises(PortTaken, match="LLM_PROXY_MANAGER_PORT"):
        ports.check(settings(ours))


def test_connections_that_have_ended_are_not_in_the_way(settings: Make, free: list[int]) -> None:
    with socket.create_server(("127.0.0.1", free[1])) as listener:
        with socket.create_connection(("127.0.0.1", free[1])):
            listener.accept()[0].close()  # Who closes first keeps the port in TIME_WAIT.

    ports.check(settings())


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70, "192.0.2.1"], ids=["name", "label", "address"])
def test_a_host_that_is_not_this_machine_is_named_with_its_variable(settings: Make, host: str) -> None:
    with pytest.raises(PortTaken, match=f"'{host}' .LLM_PROXY_LISTEN_HOST. is no address of this machine"):
        ports.check(settings(host))
