"""The head of an answer as an HTTP/1 client gets it: our version, our framing, our `Connection`."""

from mitmproxy import http


def facing(response: http.Response, is_http10: bool, is_last: bool) -> http.Response:
    """Return a copy of an answer's head for this client; `is_last`: the connection ends with it.

    A body without announced length is sent in chunks, so that its end can be told from a break. HTTP/1.0 does not know
    chunks: there the body ends with the connection. Interim answers (RFC 9110 section 15.2) and 101 keep their version
    and `Connection`.
    """
    response = without_needless_framing(response)
    if response.status_code < 200:
        return response
    headers = http.Headers([field for field in response.headers.fields if field[0].lower() != b"connection"])
    if is_http10:
        headers.pop("transfer-encoding", None)
    elif _is_open_ended(response):
        headers["transfer-encoding"] = "chunked"
    if is_last:
        headers["connection"] = "close"
    moments = (response.timestamp_start, response.timestamp_end)
    return http.Response(b"HTTP/1.1", response.status_code, response.data.reason, headers, None, None, *moments)


def without_needless_framing(response: http.Response) -> http.Response:
    """Return an answer's head that frames no body if it can have none: RFC 9110 section 8.6, 9112 6.1."""
    if response.status_code >= 200 and response.status_code != 204:
        return response
    plain = response.copy()
    plain.headers.pop("content-length", None)
    plain.headers.pop("transfer-encoding", None)
    return plain


def _is_open_ended(response: http.Response) -> bool:
    has_length = "content-length" in response.headers or "transfer-encoding" in response.headers
    return not has_length and response.status_code not in (204, 304)
