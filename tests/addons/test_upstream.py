"""What mitmproxy's connection handler may still say of a provider's connection that the layer has forgotten."""

import pytest
from mitmproxy import options
from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.test import tflow

from addons.breakers import Breakers
from addons.call import Calls
from addons.interrupts import Interrupts
from addons.recovery import Recovery
from addons.targets import Targets
from addons.upstream import ProxyLayer
from tests.addons.test_credentials import free_probe


@pytest.fixture
def layer(calls: Calls) -> ProxyLayer:
    breakers = Breakers(lambda change: None, free_probe, lambda *change: None)
    recovery = Recovery(calls, breakers, Targets(breakers), lambda *failure: None, lambda provider: None)
    context = Context(tflow.tclient_conn(), options.Options())
    return ProxyLayer(context, calls, recovery, Interrupts(lambda: {}))


@pytest.mark.parametrize(
    ("state", "closes"),
    [(ConnectionState.CAN_WRITE, True), (ConnectionState.CLOSED, False)],
    ids=["by the provider", "by us"],
)
def test_the_end_of_a_forgotten_connection_is_completed_and_nothing_crashes(
    layer: ProxyLayer, state: ConnectionState, closes: bool
) -> None:
    server = Server(address=("127.0.0.1", 9), state=state)

    said = list(layer.handle_event(events.ConnectionClosed(server)))

    assert [
        (type(command), command.connection) for command in said if isinstance(command, commands.ConnectionCommand)
    ] == ([(commands.CloseConnection, server)] if closes else [])
