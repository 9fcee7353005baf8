"""Takes credentials out of a flow the moment it appears, so that nothing that shows or saves flows has any to show.

Logs, mitmweb, HAR and flow files see the mask. The token lives on in the Call; the provider key never enters the flow
at all (see upstream.py).
"""

from collections.abc import Iterable

from mitmproxy import http

from addons.call import Calls
from shared import logs, tokens

# Where clients put credentials, whichever provider they speak to.
COMMON_HEADERS = frozenset({"authorization", "proxy-authorization", "x-api-key", "api-key", "x-goog-api-key"})


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


class Redaction:
    """Moves what the client presented from the headers to the call. Runs on refused and broken flows, too."""

    def __init__(self, calls: Calls, credential_headers: Iterable[str]) -> None:
        self.calls = calls
        self._headers = sorted(COMMON_HEADERS | set(credential_headers))

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Remember and mask every credential header; mask keys in the URL, where they have no business at all."""
        flow.request.path = logs.mask_keys(flow.request.path)
        headers = flow.request.headers
        for name in self._headers:
            if values := headers.get_all(name):
                self.calls.of(flow).presented += [(name, value) for value in values]
                headers.set_all(name, [masked(value) for value in values])
