"""The quick look into headers finds what mitmproxy's own finds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Headers

from addons.engine import quick_headers

NAMES = st.sampled_from([b"Host", b"hOST", b"X-A", b"x-a", b"content-type", b"\xc3\x9f", b"\xff", b""])
VALUES = st.binary(max_size=6)
ASKED: list[str | bytes] = [
    "host",
    "HOST",
    "x-a",
    "content-type",
    "missing",
    "ß",
    "\udcff",
    "",
    b"x-a",
    b"HOST",
    b"\xff",
]


@given(fields=st.lists(st.tuples(NAMES, VALUES), max_size=6))
def test_it_finds_what_mitmproxy_finds(fields: list[tuple[bytes, bytes]]) -> None:
    headers = Headers(fields)

    for name in ASKED:
        assert quick_headers.get_all(headers, name) == Headers.get_all(headers, name)
        assert quick_headers.contains(headers, name) == (name in headers)
        assert quick_headers.get(headers, name, "none") == headers.get(name, "none")
        if name in headers:
            assert quick_headers.get_item(headers, name) == headers[name]


@given(
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=6),
    changes=st.lists(st.tuples(st.sampled_from(ASKED), st.lists(VALUES, max_size=3)), max_size=3),
)
def test_it_changes_what_mitmproxy_changes(
    fields: list[tuple[bytes, bytes]], changes: list[tuple[str | bytes, list[bytes]]]
) -> None:
    quick, usual = Headers(fields), Headers(fields)

    for name, values in changes:
        quick_headers.set_all(quick, name, values)
        usual.set_all(name, list(values))
        assert quick.fields == usual.fields
        for asked in (*ASKED, name):
            assert quick_headers.get_all(quick, asked) == usual.get_all(asked)
            assert quick_headers.get(quick, asked) == usual.get(asked)
            assert quick_headers.contains(quick, asked) == (asked in usual)
        quick.insert(0, b"x-a", b"first")
        usual.insert(0, b"x-a", b"first")
        assert quick_headers.get(quick, "x-a") == usual.get("x-a")
    assert quick_headers.get_all(quick.copy(), "x-a") == usual.get_all("x-a")


def test_it_is_made_as_mitmproxy_makes_it() -> None:
    fields = ([b"a", b"1"], (b"X-B", b"2"))
    quick, usual = Headers.__new__(Headers), Headers(fields, x_b="3", c_d=b"4")  # type: ignore[arg-type]

    quick_headers.init(quick, fields, x_b="3", c_d=b"4")  # type: ignore[arg-type]

    assert quick.fields == usual.fields
    with pytest.raises(TypeError, match="must be bytes"):
        quick_headers.init(Headers.__new__(Headers), [("a", b"1")])  # type: ignore[list-item]


def test_what_is_missing_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="x-b"):
        quick_headers.get_item(Headers([(b"x-a", b"1")]), "x-b")
