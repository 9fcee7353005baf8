"""Rules of estimating tokens: deterministic, rough, and quick whatever the body is."""

import base64
import json
import time
from typing import Any

import pytest

from addons.estimate import ATTACHMENT_TOKENS, estimate_prompt

TEXT = "The quick brown fox jumps over the lazy dog. "


def chat(content: Any, **more: Any) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": content}], **more}).encode()


def test_text_has_a_token_for_each_four_bytes() -> None:
    assert estimate_prompt(chat(TEXT * 20)) == pytest.approx(len(TEXT * 20) / 4, abs=2)
    assert estimate_prompt(chat(TEXT * 20)) == estimate_prompt(chat(TEXT * 20))


def test_names_of_members_are_no_text() -> None:
    assert estimate_prompt(json.dumps({"a" * 400: "b" * 40}).encode()) == 10
    assert estimate_prompt(json.dumps({"a" * 400: {"c" * 40: 1}, "d": ["b" * 40]}, indent=4).encode()) == 10


def test_a_text_with_quotes_is_one_text() -> None:
    assert estimate_prompt(json.dumps({"x": 'say "hi": ' * 40}).encode()) == 100
    assert estimate_prompt(json.dumps({"x": "back\\" * 40}).encode()) == 50


def test_escapes_count_as_what_they_stand_for() -> None:
    assert estimate_prompt(json.dumps({"x": "\n" * 40}).encode()) == 10
    escaped, plain = json.dumps({"x": "中文" * 50}), json.dumps({"x": "中文" * 50}, ensure_ascii=False)

    assert estimate_prompt(escaped.encode()) == estimate_prompt(plain.encode()) == 75


@pytest.mark.parametrize("slash", ["/", "\\/"], ids=["plain", "escaped"])
@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"], ids=["bare", "data_url"])
def test_an_attachment_does_not_count_by_its_bytes(prefix: str, slash: str) -> None:
    image = prefix + base64.b64encode(bytes(range(256)) * 400).decode()
    body = chat([{"type": "text", "text": TEXT}, {"type": "image_url", "image_url": {"url": image}}])

    assert estimate_prompt(body.replace(b"+/", b"+" + slash.encode())) == pytest.approx(ATTACHMENT_TOKENS + 11, abs=10)


def test_long_text_without_spaces_is_no_attachment() -> None:
    assert estimate_prompt(chat("a,b,c," * 1000)) == pytest.approx(1500, abs=2)


def test_tokens_given_as_numbers_are_counted() -> None:
    assert estimate_prompt(json.dumps({"input": list(range(1000))}).encode()) == pytest.approx(1000, abs=3)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"\xff\xfe", b'"', b"not json"], ids=["none", "empty", "binary", "quote", "text"]
)
def test_any_body_has_at_least_a_token(body: bytes) -> None:
    assert estimate_prompt(body) >= 1


@pytest.mark.parametrize(
    "body",
    [
        b'""' * (4 << 20),
        b'"' + b'\\"' * (4 << 20),
        b'"' + b"\\" * (8 << 20),
        b"1," * (4 << 20),
        json.dumps({"messages": [{"role": "user", "content": TEXT}] * 100_000}).encode(),
    ],
    ids=["quotes", "escaped_quotes", "backslashes", "numbers", "messages"],
)
def test_the_largest_body_takes_no_noticeable_time(body: bytes) -> None:
    began = time.process_time()

    estimate_prompt(body)

    assert time.process_time() - began < 1.0  # Some 40 ms; a way that is not linear would take minutes.
