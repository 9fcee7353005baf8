"""The quick look into headers finds what mitmproxy's own finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Headers

from addons.engine import quick_headers

NAMES = st.sampled_from([b"Host", b"hOST", b"X-A", b"x-a", b"content-type", b"\xc3\x9f", b"\xff", b""])
VALUES = st.binary(max_size=6)
ASKED = ["host", "HOST", "x-a", "content-type", "missing", "ß", "\udcff", "", b"x-a", b"HOST", b"\xff"]


@given(fields=st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_it_finds_what_mitmproxy_finds(fields: list[tuple[bytes, bytes]]) -> None:
    headers = Headers(fields)

    for name in ASKED:
        assert quick_headers.get_all(headers, name) == Headers.get_all(headers, name)  # type: ignore[arg-type]
        assert quick_headers.contains(headers, name) == (name in headers)
        assert quick_headers.get(headers, name, "none") == headers.get(name, "none")  # type: ignore[call-overload]
        if name in headers:
            assert quick_headers.get_item(headers, name) == headers[name]  # type: ignore[index]


def test_what_is_missing_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="x-b"):
        quick_headers.get_item(Headers([(b"x-a", b"1")]), "x-b")
