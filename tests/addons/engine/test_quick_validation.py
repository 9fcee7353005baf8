"""The quick check of headers refuses what mitmproxy's own refuses, in the same words."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.net.http import validate

from addons.engine import quick_validation

NAMES = [b"host", b"Content-Length", b"content-length", b"Transfer-Encoding", b"x a", b"", b"x\n", b"accept"]
VALUES = [b"", b"0", b"7", b"07", b"7\n", b"-1", b"7, 7", b"chunked", b"gzip", b"gzip, chunked", b"what"]
FIELDS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=4)


def outcome[T](check: Callable[[T], object], subject: T) -> object:
    try:
        return check(subject)
    except ValueError as error:
        return str(error)


@given(fields=FIELDS, version=st.sampled_from([b"HTTP/1.0", b"HTTP/1.1"]), status=st.sampled_from([None, 200, 204]))
def test_it_refuses_what_mitmproxy_refuses(
    fields: list[tuple[bytes, bytes]], version: bytes, status: int | None
) -> None:
    message: http.Message = http.Request.make("GET", "http://host/") if status is None else http.Response.make(status)
    message.headers = http.Headers(fields)
    message.data.http_version = version

    assert outcome(quick_validation.validate_headers, message) == outcome(validate.validate_headers, message)


@given(value=st.sampled_from(VALUES) | st.binary(max_size=3))
def test_it_reads_lengths_as_mitmproxy_does(value: bytes) -> None:
    for each in (value, value.decode("latin-1")):
        for _ in range(2):
            found = outcome(quick_validation.parse_content_length, each)
            assert found == outcome(validate.parse_content_length, each)
