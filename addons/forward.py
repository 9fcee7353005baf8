"""Forward mode, for clients whose base URL cannot be set: they speak to a provider's own address, and come here.

They come by CONNECT (mitmproxy's regular mode), or because the network leads them here (WireGuard, local, transparent).
Only the hosts of providers are offered. Where a request goes is decided by its token's project, as always.
"""

from mitmproxy import ctx, dns, http
from mitmproxy.exceptions import OptionsError
from mitmproxy.net.dns import response_codes, types
from mitmproxy.proxy import layer, mode_specs
from mitmproxy.proxy.layers import ClientTLSLayer, DNSLayer, modes
from mitmproxy.tls import ClientHelloData

from addons import origins, refusal
from addons.call import Calls
from addons.connect_door import ConnectDoor
from addons.one_answer import NoAnswer, OneAnswer
from addons.refusal import Refused, fail_closed, respond
from addons.route_table import RouteTable

# RFC 8446 section 5.1: the type of the record with which a TLS client begins.
HANDSHAKE = b"\x16"
_DNS_PORT = 53
_ADDRESSES = (types.A, types.AAAA)
_MODES = (
    mode_specs.ReverseMode,
    mode_specs.RegularMode,
    mode_specs.WireGuardMode,
    mode_specs.LocalMode,
    mode_specs.TransparentMode,
)


def check_modes(specs: list[str], has_own_certificate: bool) -> None:
    """Raise OptionsError for modes that lead past the rooms, or that need certificates for other hosts than ours."""
    for spec in specs:
        mode = mode_specs.ProxyMode.parse(spec)
        if not isinstance(mode, _MODES):
            raise OptionsError(f"llm-proxy has no {mode.type_name} mode: take reverse, regular, wireguard or local.")
        if has_own_certificate and not isinstance(mode, mode_specs.ReverseMode):
            raise OptionsError(
                f"LLM_PROXY_TLS_FILE cannot be used in {mode.type_name} mode: its clients meet certificates of "
                "mitmproxy's authority, made for the hosts of providers."
            )


class Forward:
    """Lets in what is for a provider's host, and tells the rooms which providers that may be."""

    def __init__(self, calls: Calls, table: RouteTable, has_own_certificate: bool = False) -> None:
        self.calls = calls
        self._table = table
        self._has_own_certificate = has_own_certificate

    def configure(self, updated: set[str]) -> None:
        """Fail at the start if a mode cannot be."""
        if "mode" in updated:
            check_modes(ctx.options.mode, self._has_own_certificate)

    def entrance(self, choice: layer.NextLayer) -> layer.Layer | None:
        """Return what stands before our HTTP layer where clients did not come to our own address; None for nothing."""
        context = choice.context
        host, port = context.server.address or ("", 0)
        if context.client.transport_protocol != "tcp":
            return DNSLayer(context) if port == _DNS_PORT else NoAnswer(context)
        if isinstance(context.layers[0], modes.HttpProxy) and len(context.layers) == 1:
            return ConnectDoor(context, self._is_offered)
        if not context.client.tls:
            is_tls = choice.data_client()[:1] == HANDSHAKE
            return ClientTLSLayer(context) if is_tls else OneAnswer(context, refusal.TLS_ONLY)
        return None if self._is_offered(host, port) else OneAnswer(context, refusal.HOST_NOT_ALLOWED)

    def _is_offered(self, host: str, port: int) -> bool:
        return bool(origins.providers_at(self._table.current, host, port))

    def tls_clienthello(self, hello: ClientHelloData) -> None:
        """Learn the host from TLS where nobody has named it yet. A refusal is written in HTTP/1."""
        context = hello.context
        if isinstance(context.layers[0], modes.ReverseProxy):
            return
        host, port = context.server.address or ("", 0)
        if isinstance(context.layers[0], modes.TransparentProxy):
            host = origins.plain_host(hello.client_hello.sni or host)
            context.server.address = (host, port)
        context.server.tls = True
        if not self._is_offered(host, port):
            context.client.alpn = b"http/1.1"

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Refuse: this is how mitmproxy's own layer asks, which ours stands in for."""
        flow.response = respond(refusal.SERVICE_UNAVAILABLE, self.calls.of(flow))

    def dns_request(self, flow: dns.DNSFlow) -> None:
        """Let the addresses of providers be looked up, and nothing else: names could carry anything out."""
        question = flow.request.question
        is_ours = question is not None and origins.plain_host(question.name) in origins.names(self._table.current)
        if question is None or not is_ours:
            flow.response = flow.request.fail(response_codes.REFUSED)
        elif question.type not in _ADDRESSES:
            flow.response = flow.request.succeed([])

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Note which providers the client may mean by the host that it came for; refuse with 403 if there is none."""
        if isinstance(flow.client_conn.proxy_mode, mode_specs.ReverseMode):
            return
        host, port = flow.server_conn.address or ("", 0)
        there = origins.providers_at(self._table.current, host, port)
        if not there:
            raise Refused(refusal.HOST_NOT_ALLOWED)
        offered, flow.request.path = origins.addressed(self._table.current, there, flow.request.path)
        self.calls.of(flow).offered = offered
