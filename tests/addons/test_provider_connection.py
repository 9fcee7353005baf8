"""What goes to a provider is HTTP/1.1, whatever the client speaks."""

from mitmproxy import http

from addons.provider_connection import as_http1


def test_an_http2_request_becomes_a_plain_one() -> None:
    fields = http.Headers([(b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-one", b"1")])
    asked = http.Request(
        "", 0, b"GET", b"https", b"api.example", b"/v1/models", b"HTTP/2.0", fields, b"", None, 0.0, 0.0
    )

    made = as_http1(asked)

    assert (made.http_version, made.authority, made.headers["host"]) == ("HTTP/1.1", "", "api.example")
    assert made.headers.get_all("cookie") == ["a=1; b=2"] and made.headers["x-one"] == "1"
    assert asked.http_version == "HTTP/2.0" and asked.authority == "api.example"


def test_a_host_that_is_there_is_kept() -> None:
    asked = http.Request.make("GET", "https://other.example/")
    asked.headers["host"] = "api.example"

    assert as_http1(asked).headers.get_all("host") == ["api.example"]
