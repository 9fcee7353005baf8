"""Rules of how texts may be read: whatever is escaped is undone, level by level, and what is not stays as it is."""

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons import readings


@given(st.text())
def test_any_text_comes_back_from_json_as_it_was(text: str) -> None:
    escaped = json.dumps(text)[1:-1].encode()

    assert readings.unescaped(escaped).decode() == text.replace("\x00", "\\")


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        (rb"\/v1\/", b"/v1/"),
        (rb"\\u0041", rb"\u0041"),
        (rb"C:\u005cnet", rb"C:\net"),
        (rb"C:\\net", rb"C:\net"),
        (rb"\ud83d\ude00", "😀".encode()),
        (rb"\ud83d", "�".encode()),
        ("ä \\u00e4 π".encode(), "ä ä π".encode()),
        (rb"\x41 \q", rb"\x41 \q"),
    ],
)
def test_escapes_are_undone_once(body: bytes, plain: bytes) -> None:
    assert readings.unescaped(body) == plain


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("in_a_form", [False, True])
def test_json_in_json_is_read_as_deep_as_it_is_hidden(depth: int, in_a_form: bool) -> None:
    told = r'{"a":"k\u0065epme"}'
    for _ in range(depth - 1):
        told = json.dumps({"arguments": told})
    body, kind = told.encode(), "application/json"
    if in_a_form:
        body, kind = urlencode({"x": told}).encode(), "application/x-www-form-urlencoded"

    assert not any(b"keepme" in reading for reading in (body, *readings.of_body(body, kind)[:-1]))
    assert b"keepme" in readings.of_body(body, kind)[-1]


def test_reading_ends() -> None:
    assert len(readings.of_body(b"\\" * 1024, "application/json")) == 5
    assert readings.of_body(rb"\q \d", "") == (rb"\q \d",)


@pytest.mark.parametrize("body", [b"plain", b"\\\xff", b""], ids=["nothing escaped", "no text", "empty"])
def test_what_has_one_reading_is_searched_once(body: bytes) -> None:
    assert readings.of_body(body, "application/json") == (body,)
