"""What the headers of a message may carry across: nothing for one connection only, nothing about who asks from where.

The provider learns what the client's SDK says about the request. It learns nothing about the network on this side, nor
about a page that a browser runs, and gets no header by which it could read another request than the one checked here.
Cookies cross in neither direction: callers are known by tokens, a browser sends the cookies of every service on this
host (ports do not part them), and a provider's cookie would be set in this host's name for all callers alike. Nor may
a provider lay down rules for this host's name: other addresses (Alt-Svc), HTTPS only, where to send reports.
"""

import re
import time
from collections.abc import Callable
from functools import lru_cache

from mitmproxy import http

from addons.call import Call, Calls
from addons.redaction import KEY_PROTOCOL
from addons.refusal import Refused, fail_closed, invalid_request

# RFC 9110 section 7.6.1. Transfer-Encoding is missing: mitmproxy frames what it sends by it.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-connection te trailer upgrade http2-settings proxy-authenticate proxy-authorization "
    b"proxy-authentication-info".split()
)
# What `Connection` cannot take away: it would change how the message is read.
_NOT_TO_BE_NAMED = frozenset(b"transfer-encoding content-length content-type content-encoding host expect".split())
_PRIVATE = frozenset(
    b"forwarded forwarded-for x-forwarded x-real-ip x-client-ip client-ip true-client-ip x-cluster-client-ip "
    b"x-original-forwarded-for x-originating-ip x-remote-ip x-remote-addr wl-proxy-client-ip fly-client-ip "
    b"fastly-client-ip x-azure-clientip x-azure-socketip x-vercel-forwarded-for x-host x-original-host x-server-name "
    b"x-proxyuser-ip x-varnish x-client-data max-forwards cookie cookie2 origin referer "
    b"x-amzn-trace-id x-amz-cf-id x-request-start baggage traceparent tracestate b3 uber-trace-id "
    # These ask for another method or path than the one that was checked.
    b"x-http-method x-http-method-override x-method-override x-original-url x-rewrite-url".split()
)
_PRIVATE_PREFIXES = (
    *(b"x-forwarded-", b"x-llm-proxy-", b"cf-", b"cloudfront-", b"x-envoy-", b"x-appengine-"),
    *(b"sec-fetch-", b"sec-ch-", b"access-control-", b"proxy-", b"x-b3-"),
)
_FOR_THIS_HOST = frozenset(
    b"alt-svc set-cookie set-cookie2 strict-transport-security public-key-pins expect-ct report-to nel "
    b"reporting-endpoints clear-site-data service-worker-allowed".split()
)
# What is left of our own limits is said by limit_headers.py alone.
_OF_OUR_LIMITS = (b"x-ratelimit-limit-proxy-", b"x-ratelimit-remaining-proxy-", b"x-ratelimit-reset-proxy-")
_NONE: frozenset[bytes] = frozenset()
_HOP = re.compile(r"(?:HTTP/)?(\d(?:\.\d)?)\s+\S")

NO_UPGRADE = invalid_request("This endpoint does not switch protocols.")


@lru_cache(maxsize=512)
def _folded(name: bytes) -> bytes:
    # Servers that hand headers on as variables, as CGI has it, do not tell these apart.
    return name.lower().replace(b"_", b"-")


def named_by_connection(headers: http.Headers) -> frozenset[bytes]:
    """Return the names, folded, that `Connection` declares to be for one connection only."""
    if "connection" not in headers:
        return _NONE
    values = [value for name, value in headers.fields if name.lower() == b"connection"]
    return frozenset(_folded(name.strip()) for value in values for name in value.split(b",")) - _NOT_TO_BE_NAMED


def _crossing(
    headers: http.Headers, stays: Callable[[bytes], bool], named: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    fields = [field for field in headers.fields if not stays(field[0])]
    return [field for field in fields if _folded(field[0]) not in named] if named else fields


def asks_for_websocket(request: http.Request) -> bool:
    """Tell whether a request wants its connection to become a WebSocket (RFC 6455 section 4.1)."""
    upgrade = request.headers.get("upgrade")
    return upgrade is not None and "websocket" in [protocol.strip().lower() for protocol in upgrade.split(",")]


def via(received: str, http_version: str) -> str:
    """Return `Via` with this proxy in it (RFC 9110 section 7.6.3); the names of earlier ones are not passed on.

    >>> via("1.1 squid.corp.example:3128 (squid/6)", "HTTP/2.0")
    '1.1 hidden, 2 llm-proxy'
    """
    own = f"{http_version.removeprefix('HTTP/').replace('2.0', '2')} llm-proxy"
    if not received:
        return own
    earlier = [f"{hop[1]} hidden" for part in received.split(",") if (hop := _HOP.match(part.strip()))]
    return ", ".join([*earlier, own])


def for_provider(request: http.Request, correlation_id: str) -> http.Headers:
    """Return a request's headers as the provider gets them, but for its key; a WebSocket's handshake is kept."""
    fields = _crossing(request.headers, _stays_from_provider, named_by_connection(request.headers))
    hops = via(request.headers.get("via", ""), request.http_version)
    passed = http.Headers()
    passed.fields = (*fields, (b"x-request-id", correlation_id.encode()), (b"via", hops.encode()))
    if asks_for_websocket(request):
        passed["connection"], passed["upgrade"] = "Upgrade", "websocket"
        _hide_key(passed)
    return passed


@lru_cache(maxsize=512)
def _stays_from_provider(name: bytes) -> bool:
    folded = _folded(name)
    is_private = folded in _PRIVATE or folded.startswith(_PRIVATE_PREFIXES)
    return is_private or folded in _HOP_BY_HOP or name.lower() in (b"x-request-id", b"via")


@lru_cache(maxsize=512)
def _stays_from_client(name: bytes) -> bool:
    folded = _folded(name)
    is_ours = folded.startswith(_OF_OUR_LIMITS) or name.lower() == b"x-llm-proxy-request-id"
    return is_ours or folded in _HOP_BY_HOP or folded in _FOR_THIS_HOST


def _hide_key(headers: http.Headers) -> None:
    offered = [protocol.strip() for protocol in headers.get("sec-websocket-protocol", "").split(",")]
    kept = [protocol for protocol in offered if protocol and not protocol.startswith(KEY_PROTOCOL)]
    headers.pop("sec-websocket-protocol", None)
    if kept:
        headers["sec-websocket-protocol"] = ", ".join(kept)


def for_client(response: http.Response, correlation_id: str, request_id: str) -> http.Headers:
    """Return an answer's headers as the client gets them.

    `Connection: close` stays, because mitmproxy closes the provider's connection by it; client_connection.py writes
    the client's own. The two ids are what to quote: the client's, or the provider's if it has one, and the log's.
    """
    named = named_by_connection(response.headers)
    fields = _crossing(response.headers, _stays_from_client, named)
    if not any(name.lower() == b"x-request-id" for name, _ in fields):
        fields.append((b"x-request-id", correlation_id.encode()))
    passed = http.Headers()
    passed.fields = (*fields, (b"x-llm-proxy-request-id", request_id.encode()))
    if response.status_code == 101:
        passed["connection"], passed["upgrade"] = "Upgrade", response.headers.get("upgrade", "")
    elif b"close" in named:
        passed["connection"] = "close"
    return passed


def timing(call: Call, now: float) -> bytes:
    """Return a `Server-Timing` (W3C): ms until the request was sent, and from then to the head of its answer.

    The former is ours, but for what the client took to send a body and what rules held it; the latter has connecting,
    waiting for a connection and failed attempts in it.
    """
    sent = call.attempts.started
    return b"proxy;dur=%.2f, upstream;dur=%.2f" % ((sent - call.started) * 1000, (now - sent) * 1000)


class Headers:
    """Applies the above to requests that have been admitted, and to answers of providers."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls

    @fail_closed
    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse WebSockets with 400 where the route has none; offers of other protocols are passed over."""
        call, request = self.calls.of(flow), flow.request
        if asks_for_websocket(request) and (call.route is None or call.route.upgrade != "websocket"):
            raise Refused(NO_UPGRADE)
        request.headers = for_provider(request, call.correlation_id or call.request_id)
        if request.http_version == "HTTP/1.0":
            request.http_version = "HTTP/1.1"  # Each hop speaks its own version (RFC 9110 section 2.5).

    @fail_closed
    def request(self, flow: http.HTTPFlow) -> None:
        """Drop trailers, which nothing has checked."""
        flow.request.trailers = None

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Clean a provider's answer; refusals are clean."""
        call = self.calls.of(flow)
        if flow.response is not None and call.refused_with is None:
            own = call.correlation_id or call.request_id
            flow.response.headers = for_client(flow.response, own, call.request_id)
            flow.response.headers.fields += ((b"server-timing", timing(call, time.monotonic())),)
