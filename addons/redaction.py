"""Takes credentials out of a flow the moment it appears, so that nothing that shows or saves flows has any to show.

Logs, mitmweb, HAR and flow files see the mask. The token lives on in the Call; the provider key never enters the flow
at all (see stream_answers.py).
"""

from functools import lru_cache

from mitmproxy import http

from addons.call import Calls
from addons.route_table import RouteTable
from shared import logs, tokens

# Where clients put credentials, whichever provider they speak to.
COMMON_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key"})


PROTOCOL_HEADER = "sec-websocket-protocol"
# How browsers, which cannot set headers on a WebSocket, hand a key to OpenAI's Realtime API.
KEY_PROTOCOL = "openai-insecure-api-key."


def keys_in_protocols(protocols: str) -> list[str]:
    """Return the keys among the subprotocols that a WebSocket's client offers."""
    offered = [protocol.strip() for protocol in protocols.split(",")]
    return [protocol.removeprefix(KEY_PROTOCOL) for protocol in offered if protocol.startswith(KEY_PROTOCOL)]


def split_scheme(value: str) -> tuple[str, str]:
    """Return scheme and credential of a header value; without a space in it, the whole value is the credential.

    >>> split_scheme("Bearer abc")
    ('Bearer', 'abc')
    """
    scheme, separator, credential = value.strip().partition(" ")
    return (scheme, credential.strip()) if separator else ("", scheme)


def masked(value: str) -> str:
    """Return a header value with its credential masked."""
    scheme, credential = split_scheme(value)
    return f"{scheme} {tokens.mask(credential)}".strip()


@lru_cache(maxsize=64)
def _all_names(own: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(COMMON_HEADERS | own))


class Redaction:
    """Moves what the client presented from the headers to the call. Runs on refused and broken flows, too."""

    def __init__(self, calls: Calls, table: RouteTable) -> None:
        self.calls = calls
        self._table = table

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Remember and mask every credential header; mask keys in the URL, where they have no business at all.

        What the head is then may be shown; on its way to the provider it becomes another one.
        """
        flow.request.path = logs.mask_separate_keys(flow.request.path)
        headers = flow.request.headers
        for name in _all_names(self._table.credential_headers):
            if name in headers:
                values = headers.get_all(name)
                self.calls.of(flow).presented += [(name, value) for value in values]
                headers.set_all(name, [masked(value) for value in values])
        if protocols := headers.get(PROTOCOL_HEADER):
            self.calls.of(flow).presented += [(PROTOCOL_HEADER, key) for key in keys_in_protocols(protocols)]
            headers[PROTOCOL_HEADER] = logs.mask_keys(protocols)
        self.calls.of(flow).head = headers.fields
