"""Rules of how texts may be read: whatever is escaped is undone, once, and what is not stays as it is."""

import json

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


@pytest.mark.parametrize("body", [b"plain", b"\\\xff", b""], ids=["nothing escaped", "no text", "empty"])
def test_what_has_one_reading_is_searched_once(body: bytes) -> None:
    assert readings.of_body(body, "application/json") == (body,)
