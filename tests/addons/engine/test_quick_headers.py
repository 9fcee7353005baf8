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
        assert quick_headers.get_all(quick, name) == usual.get_all(name)
        assert [quick_headers.get_all(quick, each) for each in ASKED] == [usual.get_all(each) for each in ASKED]  # type: ignore[arg-type]
        quick.insert(0, b"x-a", b"first")
        usual.insert(0, b"x-a", b"first")
        assert quick_headers.get(quick, "x-a") == usual.get("x-a")
    assert quick_headers.get_all(quick.copy(), "x-a") == usual.get_all("x-a")


@given(
    fields=st.lists(st.tuples(NAMES, VALUES), max_size=6),
    changes=st.lists(st.tuples(st.sampled_from(ASKED), VALUES), max_size=4),
    looks_first=st.booleans(),
)
def test_one_value_is_set_and_written_as_mitmproxy_does(
    fields: list[tuple[bytes, bytes]], changes: list[tuple[str | bytes, bytes]], looks_first: bool
) -> None:
    quick, usual = Headers(fields), Headers(fields)
    if looks_first:
        quick_headers.contains(quick, "x-a")

    for name, value in changes:
        quick_headers.set_item(quick, name, value)
        usual[name] = value  # type: ignore[index,assignment]

    assert quick.fields == usual.fields
    assert quick_headers.as_bytes(quick) == bytes(usual)
    assert [quick_headers.get_all(quick, each) for each in ASKED] == [usual.get_all(each) for each in ASKED]  # type: ignore[arg-type]


@given(fields=st.lists(st.tuples(NAMES, VALUES), max_size=6), names=st.lists(st.sampled_from(ASKED), max_size=4))
def test_it_deletes_what_mitmproxy_deletes(fields: list[tuple[bytes, bytes]], names: list[str | bytes]) -> None:
    quick, usual = Headers(fields), Headers(fields)

    for name in names:
        if name in usual:
            quick_headers.delete(quick, name)
            del usual[name]  # type: ignore[arg-type]
        else:
            with pytest.raises(KeyError):
                quick_headers.delete(quick, name)
        assert quick.fields == usual.fields
        assert [quick_headers.get_all(quick, each) for each in ASKED] == [usual.get_all(each) for each in ASKED]  # type: ignore[arg-type]


def test_a_copy_keeps_its_fields_when_the_original_changes() -> None:
    headers = Headers([(b"x-a", b"1")])
    assert quick_headers.get(headers, "x-a") == "1"
    copied = headers.copy()

    quick_headers.set_all(headers, "x-a", ["2"])

    assert (quick_headers.get(copied, "x-a"), quick_headers.get(headers, "x-a")) == ("1", "2")


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
