"""The head of an answer announces no body where there can be none."""

import pytest
from mitmproxy import http

from addons.answer_head import facing
from addons.client_connection_h2 import as_http2

FRAMING = http.Headers([(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked"), (b"x-own", b"1")])


@pytest.mark.parametrize("status", [103, 204])
def test_what_has_no_body_announces_no_length(status: int) -> None:
    said = http.Response(b"HTTP/1.1", status, b"", FRAMING, None, None, 0.0, 0.0)

    for faced in (facing(said, is_http10=False, is_last=False), as_http2(said)):
        assert dict(faced.headers) == {"x-own": "1"}


def test_an_answer_to_head_and_one_that_is_unchanged_may_announce_theirs() -> None:
    for status in (200, 304):
        said = http.Response(b"HTTP/1.1", status, b"", http.Headers(content_length="5"), None, None, 0.0, 0.0)

        assert facing(said, is_http10=False, is_last=False).headers["content-length"] == "5"
        assert as_http2(said).headers["content-length"] == "5"
