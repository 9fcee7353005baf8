"""Bad input: one clear JSON error each, and the provider never hears of it."""

import http.client
import json
import socket
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from shared import redis_schema, tokens
from tests.journeys.conftest import Installation, Token

INVALID = "invalid_request"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def token(installation: Installation) -> Token:
    return installation.token(installation.project("refusals"))


def exchange(installation: Installation, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send raw bytes and return status, headers and body of the one answer."""
    target = urlsplit(installation.proxy_urls[0])
    with socket.create_connection((target.hostname, target.port), timeout=10) as connection:
        connection.sendall(raw)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def heard(installation: Installation) -> int:
    return int(installation.ledger()["requests"])


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "endpoint_not_found"),
        ("GET", "/v1/organization/admin_api_keys", 404, "endpoint_not_found"),
        ("GET", "/v1/models/", 404, "endpoint_not_found"),
        ("GET", "/v1//models", 404, "endpoint_not_found"),
        ("GET", "/V1/models", 404, "endpoint_not_found"),
        ("GET", "/../v1/models", 404, "endpoint_not_found"),
        ("GET", "/v1/models/..", 404, "endpoint_not_found"),
        ("GET", "/v1/models/../files", 404, "endpoint_not_found"),
        ("GET", "/v1/models/%2e%2e/files", 404, "endpoint_not_found"),
        ("GET", "/v1/models/%252e%252e", 404, "endpoint_not_found"),
        ("GET", "/v1/models/a%2ffiles", 404, "endpoint_not_found"),
        ("GET", "/v1/models/a%00", 404, "endpoint_not_found"),
        ("GET", "/v1/%6dodels", 404, "endpoint_not_found"),
        ("GET", "http://evil.example/v1/models", 400, "invalid_request"),
        ("CONNECT", "evil.example:443", 400, "invalid_request"),
        ("PUT", "/v1/models", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/models", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_in_the_route_table_is_refused(
    installation: Installation, token: Token, method: str, path: str, status: int, code: str
) -> None:
    before = heard(installation)
    raw = f"{method} {path} HTTP/1.1\r\nHost: proxy\r\nAuthorization: Bearer {token.secret}\r\n\r\n".encode()

    answered, headers, body = exchange(installation, raw)

    assert (answered, json.loads(body)["error"]["code"]) == (status, code)
    assert headers["content-type"] == "application/json" and headers["x-request-id"]
    assert heard(installation) == before


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        (b"", 401, "missing_token"),
        (b"Authorization: Bearer \r\n", 401, "missing_token"),
        (b"Authorization: Basic dXNlcjpwYXNzd29yZA==\r\n", 401, "missing_token"),
        (b"Authorization: Bearer sk-proj-0123456789abcdef\r\n", 401, "invalid_token"),
        (b"Authorization: Bearer {checksum}\r\n", 401, "invalid_token"),
        (b"Authorization: Bearer {unknown}\r\n", 401, "token_not_found"),
        (b"Authorization: Bearer {good}\r\nAuthorization: Bearer {good}\r\n", 400, "invalid_request"),
        (b"Authorization: Bearer {good}\r\nX-Api-Key: {good}\r\n", 400, "invalid_request"),
        (b"Authorization: Bearer {good}\r\nX-Odd: \xff\xfe\r\n", 400, "invalid_request"),
        (b"Authorization: Bearer \xff\xfe\r\n", 400, "invalid_request"),
        (b"Authorization: Bearer {good}\r\nX-Odd: a\x00b\r\n", 400, "invalid_request"),
        (b"Authorization: Bearer {good}\r\nUpgrade: websocket\r\n", 400, "invalid_request"),
        (b"Authorization: Bearer {good}\r\nX-Big: " + b"a" * 70_000 + b"\r\n", 431, "invalid_request"),
        (b"Authorization: Bearer {good}\r\nContent-Length: 1, 2\r\n", 400, "invalid_request"),
        (b"Authorization: Bearer {good}\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", 400, INVALID),
        (b"Authorization: Bearer {good}\r\nno colon here\r\n", 400, "invalid_request"),
    ],
)
def test_a_faulty_head_is_refused(
    installation: Installation, token: Token, fields: bytes, status: int, code: str
) -> None:
    before = heard(installation)
    for name, value in {
        "good": token.secret,
        "checksum": token.secret[:-1] + ("0" if token.secret[-1] != "0" else "1"),
        "unknown": tokens.generate(),
    }.items():
        fields = fields.replace(b"{%s}" % name.encode(), value.encode())

    answered, headers, body = exchange(installation, b"GET /v1/models HTTP/1.1\r\nHost: proxy\r\n" + fields + b"\r\n")

    assert (answered, json.loads(body)["error"]["code"]) == (status, code)
    assert headers["content-type"] == "application/json" and token.secret.encode() not in body
    assert heard(installation) == before


@pytest.mark.parametrize("raw", [b"rubbish\r\n\r\n", b"GET /v1/models\r\n\r\n", b"\x00\x01\x02\r\n\r\n"])
def test_what_is_not_http_is_refused_in_json(installation: Installation, raw: bytes) -> None:
    status, headers, body = exchange(installation, raw)

    assert (status, headers["content-type"]) == (400, "application/json")
    assert json.loads(body)["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"model": "\xff"}', b'{"model": "m"} more'])
def test_invalid_json_is_refused(installation: Installation, token: Token, body: bytes) -> None:
    before = heard(installation)

    answer = installation.send(token.secret, "POST", "/v1/chat/completions", data=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert heard(installation) == before


@pytest.mark.parametrize("with_token", [True, False])
def test_an_upload_that_is_refused_is_answered_while_it_still_runs(
    installation: Installation, token: Token, with_token: bool
) -> None:
    before, sent = heard(installation), 0
    target = urlsplit(installation.proxy_urls[0])
    credential = f"Authorization: Bearer {token.secret}\r\n" if with_token else ""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\n{credential}Transfer-Encoding: chunked\r\n\r\n"
    answer = b""

    with socket.create_connection((target.hostname, target.port), timeout=10) as connection:
        connection.sendall(head.encode())
        try:
            while sent < 400 << 20:
                connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
                sent += 65536
        except OSError:
            pass  # The proxy has stopped listening, which is what is hoped for.
        while chunk := connection.recv(65536):
            answer += chunk

    expected = (b"413", b"request_too_large") if with_token else (b"401", b"missing_token")
    assert answer.startswith(b"HTTP/1.1 " + expected[0]) and expected[1] in answer
    assert sent < 100 << 20
    assert heard(installation) == before


def test_a_body_announced_too_large_is_refused_without_waiting_for_it(installation: Installation, token: Token) -> None:
    fields = f"Authorization: Bearer {token.secret}\r\nContent-Length: 9000000000\r\nExpect: 100-continue\r\n"

    raw = f"POST /v1/chat/completions HTTP/1.1\r\nHost: proxy\r\n{fields}\r\n".encode()
    status, _, body = exchange(installation, raw)

    assert (status, json.loads(body)["error"]["code"]) == (413, "request_too_large")


def test_a_revoked_token_is_refused_by_the_very_next_request_on_every_worker(installation: Installation) -> None:
    token = installation.token(installation.project("revoking"))
    assert [installation.send(token.secret, worker=worker).status_code for worker in (0, 1)] == [200, 200]
    before = heard(installation)

    installation.manage("DELETE", f"/manage/tokens/{token.id}")

    for worker in (0, 1):
        answer = installation.send(token.secret, worker=worker)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_inactive")
    assert heard(installation) == before


def test_an_expired_token_is_refused(installation: Installation) -> None:
    token = installation.token(installation.project("expiring"))
    installation.redis().hset(
        redis_schema.token_key(tokens.digest(token.secret, installation.settings.token_pepper)),
        "expires_at",
        redis_schema.to_ms(datetime.now(UTC)) - 1,
    )

    answer = installation.send(token.secret)

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_expired")


def test_a_token_of_one_provider_does_not_open_another_ones_routes(installation: Installation, token: Token) -> None:
    before = heard(installation)

    answer = installation.send(token.secret, "POST", "/v1/messages", json={"model": "claude", "messages": []})

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "endpoint_not_found")
    assert heard(installation) == before


def test_refused_requests_do_not_count_against_the_token(installation: Installation) -> None:
    token = installation.token(installation.project("counting"), max_requests=1)

    for path in ("/v1/nothing", "/v1/messages"):
        installation.send(token.secret, path=path)
    installation.send(token.secret, "POST", "/v1/models")

    assert installation.send(token.secret).status_code == 200
    assert installation.send(token.secret).json()["error"]["code"] == "quota_exceeded"
