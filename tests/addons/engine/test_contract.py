"""What the engine replaces, takes over or relies on in mitmproxy, by the hash of its source.

When this fails, mitmproxy has changed something that the engine does in its place. Compare the two versions of the
named function (`git diff` in mitmproxy's repository), carry over to the named room what matters, run the whole suite
with both runners, and only then put the new hash here: the message gives it.
"""

import hashlib
import inspect
from typing import Any

import pytest
from mitmproxy import addonmanager, connection, flow, hooks, http, master, optmanager
from mitmproxy.addons import default_addons, errorcheck, proxyserver, tlsconfig
from mitmproxy.coretypes import multidict
from mitmproxy.net import tls
from mitmproxy.net.http import validate
from mitmproxy.proxy import context, layer, mode_servers, server
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.tools import main
from mitmproxy.utils import asyncio_utils

# Object, the room that has to follow its changes, hash.
CONTRACT: list[tuple[Any, str, str]] = [
    (server.ConnectionHandler.__init__, "handler", "ffb8e6c9e6c6d020"),
    (server.ConnectionHandler.handle_client, "attendance", "01f1b7cc991c4711"),
    (server.ConnectionHandler.open_connection, "provider_dial", "5e0b3cbaf7a4030a"),
    (server.ConnectionHandler.wakeup, "handler", "6e42e075ee5fa3df"),
    (server.ConnectionHandler.handle_connection, "attendance", "95c3f93e9824e527"),
    (server.ConnectionHandler.drain_writers, "attendance", "6b57434604561e3e"),
    (server.ConnectionHandler.on_timeout, "watchdog", "0d1e6b0aa6e41173"),
    (server.ConnectionHandler.hook_task, "handler", "9ac7970160526268"),
    (server.ConnectionHandler.server_event, "handler", "a2b42657ebe8bf6d"),
    (server.ConnectionHandler.close_connection, "handler", "c0d10cc05dd65b80"),
    (server.LiveConnectionHandler, "handler", "7e512dd40fb290b9"),
    (server.TimeoutWatchdog, "watchdog", "95c9f187c70d4d09"),
    (server.ConnectionIO, "handler", "f498a46ab1b0f40f"),
    (mode_servers.ProxyConnectionHandler, "handler", "10e340d70b3f23d9"),
    (mode_servers.ServerInstance.handle_stream, "listener", "21eea06f208c752e"),
    (mode_servers.ReverseInstance, "listener", "13493c3e394a9d7c"),
    (mode_servers.AsyncioServerInstance.listen, "listener", "7670a9038b44170d"),
    (proxyserver.Proxyserver, "listener", "274ee076420757e4"),
    (addonmanager.AddonManager, "hook_table", "6be8dc580f5c66bf"),
    (addonmanager.safecall, "hook_table", "f2052c18340e99b0"),
    (addonmanager.traverse, "hook_table", "bad3d9f88bdf9269"),
    (hooks.Hook.args, "hook_table", "5bab95f7aa358e18"),
    (validate.validate_headers, "quick_validation", "e7647a94704363e7"),
    (validate.parse_content_length, "quick_validation", "27b46f4337ba25c6"),
    (layer.Layer.handle_event, "../routing_layer", "fd88b0fb09ceddbb"),
    (http_layers.HttpLayer._handle_event, "../upstream", "6ba31883cc7a06b3"),
    (http_layers.HttpLayer.event_to_child, "../routing_layer", "1095f6e1581d1780"),
    (http_layers.HttpStream._handle_event, "../stream", "e3cbfef7310ae81f"),
    (_http1.Http1Connection._handle_event, "../client_connection", "2ac8db3e43ae743f"),
    (_http1.Http1Server, "../client_connection", "cc8428d0bb6f79a5"),
    (_http1.Http1Client, "../provider_connection", "706b7a68f2809929"),
    (layer.NextLayer, "handler", "3cbcbafad282cba3"),
    (modes.DestinationKnown, "handler", "d2e8fcf6359c592a"),
    (modes.ReverseProxy, "handler", "42407c2beaa5defc"),
    (http.Headers, "quick_headers", "947aa0298abd4010"),
    (multidict._MultiDict, "quick_headers", "9d8341c83747569d"),
    (tlsconfig.TlsConfig.tls_start_server, "provider_tls", "2e2dc9c25670cf64"),
    (tls.create_proxy_server_context, "provider_tls", "e2d90d71c5744797"),
    (tls._create_ssl_context, "provider_tls", "d322b556bd36254f"),
    (context.Context, "quick_contexts", "dd52bbec90eacace"),
    (connection.Connection, "quick_contexts", "fc9cbe673085d377"),
    (flow.Flow.__init__, "quick_contexts", "7c7b602cfb75bf18"),
    (optmanager._Option.default.fget, "quick_options", "cfc9882b8960757d"),
    (optmanager._Option.current, "quick_options", "6859c2d9c826806e"),
    (master.Master, "master", "e466d3e6ff5956c3"),
    (default_addons, "master", "7eb18893c70be9a4"),
    (errorcheck.ErrorCheck, "master", "bc0b8e23f833d7ac"),
    (main.run, "worker", "bea9540bf91c354a"),
    (asyncio_utils.set_eager_task_factory, "loop", "631e925c6cf1f7e5"),
]


def fingerprint(source_of: Any) -> str:
    """The first 16 digits of the SHA-256 of an object's source."""
    return hashlib.sha256(inspect.getsource(source_of).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("original", "room", "known"), CONTRACT, ids=lambda value: getattr(value, "__qualname__", ""))
def test_mitmproxy_is_as_the_engine_knows_it(original: Any, room: str, known: str) -> None:
    found = fingerprint(original)

    assert found == known, (
        f"mitmproxy's {original.__module__}.{original.__qualname__} has changed: compare it with what "
        f"addons/engine/{room}.py does in its place, then write {found} into this test"
    )
