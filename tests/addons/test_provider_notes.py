"""Rules of what the head of a provider's answer is read for."""

import pytest
from mitmproxy import http

from addons import provider_notes


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-request-id": "req_openai"}, "req_openai"),
        ({"x-request-id": "ours"}, None),
        ({"x-request-id": "ours", "request-id": "req_anthropic"}, "req_anthropic"),
        ({"x-request-id": "r" * 257}, None),
        ({"x-request-id": "a\udcffb"}, None),
    ],
    ids=["none", "openai", "ours", "anthropic", "too_long", "no_text"],
)
def test_the_providers_id_is_told_from_ours(headers: dict[str, str], expected: str | None) -> None:
    assert provider_notes.request_id(http.Headers(**{}), "ours") is None
    fields = [(name.encode(), text.encode("utf-8", "surrogateescape")) for name, text in headers.items()]

    assert provider_notes.request_id(http.Headers(fields), "ours") == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("123", 123.0),
        ("1.5", 1.5),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e99", None),
    ],
)
def test_the_providers_time_is_a_number(said: str, expected: float | None) -> None:
    assert provider_notes.processing_ms(http.Headers([(b"openai-processing-ms", said.encode())])) == expected


def test_no_time_is_none() -> None:
    assert provider_notes.processing_ms(http.Headers()) is None
